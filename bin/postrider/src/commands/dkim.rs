//! `postrider dkim` and `postrider arc`: signatures of messages, and their keys.
//!
//! The JSON is documented in `docs/cli-json.md`.

use std::fs::File;
use std::io::{Read, stdin};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use futures_lite::future::block_on;
use postrider_authentication::arc::{self, ArcResult, SetResult, trusted_results};
use postrider_authentication::content::{Content, Reader};
use postrider_authentication::dkim::{Policy, PrivateKey, SignatureResult, Signer, SignerKey, verify};
use postrider_authentication::keys::{Keys, PublicKey};
use postrider_dns::Authenticity;
use postrider_proto::dkim::canonical::Crlf;
use postrider_proto::dkim::header::HeaderError;
use postrider_proto::dkim::key::{KeyError, KeyRecord, Kind};
use postrider_proto::dkim::write::zone_line;
use serde_json::{Value, json};

use super::resolver::open as open_resolver;
use crate::arguments::{
    ArcCommand, ArcVerify, DkimCommand, DkimGen, DkimLookup, DkimSign, DkimTxt, DkimVerify,
};
use crate::terminal;

/// Runs a command about signatures.
pub fn run(command: DkimCommand) -> Result<()> {
    match command {
        DkimCommand::Lookup(arguments) => look_up(&arguments),
        DkimCommand::Verify(arguments) => verify_message(&arguments),
        DkimCommand::Sign(arguments) => sign(&arguments),
        DkimCommand::Txt(arguments) => txt(&arguments),
        DkimCommand::Gen(arguments) => generate(&arguments),
    }
}

/// Runs a command about chains.
pub fn run_arc(command: ArcCommand) -> Result<()> {
    let ArcCommand::Verify(arguments) = command;
    validate(&arguments)
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn open(file: Option<&PathBuf>) -> Result<Box<dyn Read>> {
    Ok(match file {
        None => Box::new(stdin().lock()),
        Some(path) => Box::new(File::open(path).with_context(|| format!("can't open {}", path.display()))?),
    })
}

/// Takes a message, whose lines may end in any way, piece by piece.
pub(super) fn read_message(file: Option<&PathBuf>) -> Result<Result<Content, HeaderError>> {
    const PIECE_OCTETS: usize = 64 * 1024;
    let mut input = open(file)?;
    let (mut reader, mut lines) = (Reader::new(), Crlf::default());
    let (mut piece, mut out) = (vec![0; PIECE_OCTETS], Vec::with_capacity(2 * PIECE_OCTETS));
    loop {
        let length = input.read(&mut piece).context("can't read the message")?;
        out.clear();
        if length == 0 {
            lines.finish(&mut out);
            reader.push(&out);
            return Ok(reader.finish());
        }
        lines.push(&piece[..length], &mut out);
        reader.push(&out);
    }
}

fn private_key(path: &Path) -> Result<PrivateKey> {
    let pem = std::fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
    PrivateKey::from_pem(&pem).with_context(|| path.display().to_string())
}

fn print_json(value: &Value) {
    terminal::print(&value.to_string());
}

fn is_authentic(authenticity: Option<Authenticity>) -> bool {
    authenticity.is_some_and(Authenticity::is_secure)
}

fn verify_message(arguments: &DkimVerify) -> Result<()> {
    let message = read_message(arguments.file.as_ref())?;
    let time = arguments.time.unwrap_or_else(now);
    let results = match message {
        Err(error) => vec![SignatureResult::refused(error)],
        Ok(content) => {
            let lookup = open_resolver(arguments.asking())?;
            block_on(verify(&content, &Policy::default(), time, &lookup))
        }
    };
    if arguments.json {
        print_json(&results.iter().map(signature_json).collect());
    } else if results.is_empty() {
        terminal::print("none: the message is not signed");
    } else {
        results.iter().for_each(|result| terminal::print(&signature_line(result)));
    }
    Ok(())
}

fn signature_json(result: &SignatureResult) -> Value {
    json!({
        "result": result.result.word(),
        "reason": result.reason.as_ref().map(ToString::to_string),
        "domain": result.domain.as_ref().map(|domain| domain.as_str()),
        "selector": result.selector.as_ref().map(|selector| selector.as_str()),
        "algorithm": result.algorithm,
        "key_bits": result.key_bits,
        "identity": result.identity.as_ref().map(ToString::to_string),
        "testing": result.testing,
        "authentic": is_authentic(result.authenticity),
        "status": result.authenticity.map(Authenticity::word),
        "timestamp": result.timestamp,
        "expiration": result.expiration,
        "body_length": result.body_length,
    })
}

fn signature_line(result: &SignatureResult) -> String {
    let mut line = result.result.word().to_owned();
    let mut add = |text: String| {
        line.push('\t');
        line.push_str(&text);
    };
    if let (Some(domain), Some(selector)) = (&result.domain, &result.selector) {
        add(format!("{domain}, selector {selector}"));
    }
    if let Some(algorithm) = &result.algorithm {
        let bits = result.key_bits.map(|bits| format!(", {bits} bits")).unwrap_or_default();
        add(format!("{algorithm}{bits}"));
    }
    if let Some(authenticity) = result.authenticity {
        add(authenticity.word().to_owned());
    }
    if result.testing {
        add("testing".to_owned());
    }
    if let Some(reason) = &result.reason {
        add(reason.to_string());
    }
    line
}

fn look_up(arguments: &DkimLookup) -> Result<()> {
    let name = arguments.selector.key_name(&arguments.domain);
    let keys = {
        let lookup = open_resolver(arguments.asking())?;
        block_on(Keys::lookup_name(&name, &lookup))
    };
    let (records, reason) = match &keys.records {
        Ok(records) => (records.as_slice(), None),
        Err(fault) => (&[][..], Some(fault.to_string())),
    };
    if arguments.json {
        print_json(&json!({
            "name": name,
            "reason": reason,
            "records": records.iter().map(record_json).collect::<Value>(),
            "authentic": is_authentic(keys.authenticity),
            "status": keys.authenticity.map(Authenticity::word),
        }));
    } else {
        let status = keys.authenticity.map_or("not looked up", Authenticity::word);
        terminal::print(&format!(
            "{name}\t{status}{}",
            reason.map(|text| format!("\t{text}")).unwrap_or_default()
        ));
        records.iter().for_each(|record| terminal::print(&record_line(record)));
    }
    if keys.is_unavailable() { bail!("the key could not be looked up") } else { Ok(()) }
}

/// What is wrong with a record, if anything is, and the bits of its key.
fn usability(record: &Result<KeyRecord, KeyError>) -> (Option<String>, Option<u32>) {
    match record {
        Err(error) => (Some(error.to_string()), None),
        Ok(record) => match PublicKey::of(record) {
            Ok(key) => (None, Some(key.bits())),
            Err(fault) => (Some(fault.to_string()), None),
        },
    }
}

fn record_json(record: &Result<KeyRecord, KeyError>) -> Value {
    let (reason, bits) = usability(record);
    let record = record.as_ref().ok();
    json!({
        "usable": reason.is_none(),
        "reason": reason,
        "kind": record.map(|record| record.kind.word()),
        "key_bits": bits,
        "testing": record.map(|record| record.testing),
        "strict": record.map(|record| record.strict),
        "email": record.map(|record| record.email),
    })
}

fn record_line(record: &Result<KeyRecord, KeyError>) -> String {
    let (reason, bits) = usability(record);
    let kind = record.as_ref().map_or("no key", |record| record.kind.word());
    let bits = bits.map(|bits| format!(", {bits} bits")).unwrap_or_default();
    let flag = |flag: fn(&KeyRecord) -> bool, text| if record.as_ref().is_ok_and(flag) { text } else { "" };
    let testing = flag(|record| record.testing, ", testing");
    let strict = flag(|record| record.strict, ", not for subdomains");
    let other = flag(|record| !record.email, ", not for mail");
    let reason = reason.map(|text| format!("\t{text}")).unwrap_or_default();
    format!("{kind}{bits}{testing}{strict}{other}{reason}")
}

fn sign(arguments: &DkimSign) -> Result<()> {
    if arguments.key.is_empty() {
        bail!("--key SELECTOR=FILE says what to sign with");
    }
    if let Some(identity) = &arguments.identity
        && !identity.domain.is_at_or_below(&arguments.domain)
    {
        bail!("the identity is not of {} or below it", arguments.domain);
    }
    let mut keys = Vec::new();
    for named in &arguments.key {
        keys.push(SignerKey { selector: named.selector.clone(), key: private_key(&named.file)? });
    }
    let mut signer = Signer::new(arguments.domain.clone(), keys);
    signer.canonicalization = arguments.canonicalization;
    signer.lifetime = arguments.lifetime;
    let mut message = Vec::new();
    open(arguments.file.as_ref())?.read_to_end(&mut message).context("can't read the message")?;
    let message = Crlf::whole(&message);
    let (header, body) = split(&message);
    let mut hasher = signer.body_hasher();
    hasher.push(body);
    let time = arguments.time.unwrap_or_else(now);
    let fields = signer.sign(header.to_vec(), &hasher.finish(), arguments.identity.as_ref(), time)?;
    if arguments.json {
        print_json(&json!({ "fields": fields }));
    } else {
        terminal::write_out(fields.as_bytes());
        terminal::write_out(&message);
    }
    Ok(())
}

/// Header, with the empty line that ends it, and body.
fn split(message: &[u8]) -> (&[u8], &[u8]) {
    if message.starts_with(b"\r\n") {
        return message.split_at(2);
    }
    let end = message.windows(4).position(|octets| octets == b"\r\n\r\n");
    message.split_at(end.map_or(message.len(), |end| end + 4))
}

fn txt(arguments: &DkimTxt) -> Result<()> {
    let record = private_key(&arguments.key)?.record();
    let zone = zone_line(&arguments.selector, &arguments.domain, &record);
    if arguments.json {
        let name = arguments.selector.key_name(&arguments.domain);
        print_json(&json!({ "name": name, "record": record, "zone": zone }));
    } else {
        terminal::print(&zone);
    }
    Ok(())
}

fn generate(arguments: &DkimGen) -> Result<()> {
    let key = match arguments.kind {
        Kind::Ed25519 => PrivateKey::generate_ed25519()?,
        Kind::Rsa => PrivateKey::generate_rsa()?,
    };
    let pem = key.to_pem().context("the key that was made can't be kept")?;
    if arguments.json {
        print_json(&json!({ "private_key": pem, "record": key.record() }));
    } else {
        terminal::write_out(pem.as_bytes());
    }
    Ok(())
}

fn validate(arguments: &ArcVerify) -> Result<()> {
    let message = read_message(arguments.file.as_ref())?;
    let time = arguments.time.unwrap_or_else(now);
    let result = match message {
        Err(error) => ArcResult::refused(error),
        Ok(content) => {
            let lookup = open_resolver(arguments.asking())?;
            block_on(arc::verify(&content, time, &lookup))
        }
    };
    let trusted = trusted_results(&result, &arguments.trusted);
    if arguments.json {
        print_json(&json!({
            "result": result.status.word(),
            "reason": result.reason.as_ref().map(ToString::to_string),
            "oldest_pass": result.oldest_pass,
            "sealers": result.sets.iter().map(sealer_json).collect::<Value>(),
            "trusted_instance": trusted.map(|instance| instance.number()),
            "authentic": is_authentic(result.authenticity),
            "status": result.authenticity.map(Authenticity::word),
        }));
        return Ok(());
    }
    let reason = result.reason.as_ref().map(|reason| format!("\t{reason}")).unwrap_or_default();
    terminal::print(&format!("{}{reason}", result.status.word()));
    for set in &result.sets {
        let verified = |signature: Option<bool>| match signature {
            Some(true) => "verified",
            Some(false) => "not verified",
            None => "not tried",
        };
        let trust = if trusted == Some(set.instance) { "\ttrusted" } else { "" };
        terminal::print(&format!(
            "{}\t{}\tseal {}\tmessage {}{trust}",
            set.instance.number(),
            set.domain,
            verified(set.seal),
            verified(set.signature)
        ));
    }
    Ok(())
}

fn sealer_json(set: &SetResult) -> Value {
    let results = String::from_utf8_lossy(&set.results);
    json!({
        "instance": set.instance.number(),
        "domain": set.domain.as_str(),
        "selector": set.selector.as_ref().map(|selector| selector.as_str()),
        "algorithm": set.algorithm.map(|algorithm| algorithm.word()),
        "timestamp": set.timestamp,
        "seal_verified": set.seal,
        "message_verified": set.signature,
        "results": results.split_whitespace().collect::<Vec<_>>().join(" "),
        "authentic": is_authentic(set.authenticity),
        "status": set.authenticity.map(Authenticity::word),
    })
}
