//! `postrider mtasts`: what a domain asks of those who send mail to it, and what the server keeps of that.
//!
//! The JSON is documented in `docs/cli-json.md`.

mod kept;

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures_lite::future::block_on;
use postrider_core::resolver::authorities;
use postrider_dns::{Answer, Lookup, Outcome, RData, RecordType, parse_name};
use postrider_proto::address::Domain;
use postrider_proto::http::Progress;
use postrider_proto::mta_sts::{
    PATH, Policy, Record, RecordError, policy_host, record_name, request, response_reader,
};
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

use super::authentication::Format;
use super::locate::Server;
use super::resolver::open;
use super::wire::Timely;
use crate::arguments::{MtaStsCommand, MtaStsLookup};

/// Time for all of a fetch (RFC 8461 §3.3 suggests it).
const FETCH_TIME: Duration = Duration::from_secs(60);
/// Time for a connection to one of the host's addresses.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Addresses of the host that are tried.
const ADDRESSES_MAX: usize = 4;

/// `postrider mtasts`
pub fn mta_sts(server: &Server, command: MtaStsCommand) -> Result<()> {
    match command {
        MtaStsCommand::Lookup(arguments) => lookup(&arguments),
        MtaStsCommand::Cached(arguments) => kept::cached(server, arguments),
        MtaStsCommand::Forget(arguments) => kept::forget(server, &arguments),
    }
}

fn lookup(arguments: &MtaStsLookup) -> Result<()> {
    let dns = open(arguments.asking())?;
    let domain = &arguments.domain;
    let name = record_name(domain);
    let answer = ask(&dns, &name, RecordType::TXT)?;
    let found = find(&answer);
    let mut shown = json!({
        "domain": domain.to_string(),
        "result": "none",
        "record": found.text,
        "id": found.record.as_ref().ok().map(|record| record.id.to_string()),
        "policy_host": null,
        "url": null,
        "addresses": [],
        "mode": null,
        "max_age": null,
        "mx": [],
        "policy": null,
        "problem": found.record.as_ref().err(),
        "status": answer.authenticity.word(),
        "authentic": answer.authenticity.is_secure(),
    });
    let fetched = match (&found.record, policy_host(domain)) {
        (Err(_), _) | (_, None) => None,
        (Ok(_), Some(host)) => {
            let policy = policy(&dns, arguments, &host, &mut shown);
            shown["result"] = json!(if policy.is_ok() { "policy" } else { "error" });
            shown["problem"] = json!(policy.as_ref().err().map(|error| format!("{error:#}")));
            Some(policy)
        }
    };
    Format::of(arguments.json).print(&shown);
    fetched.unwrap_or(Ok(()))
}

/// The record of a domain, or why it has none that can be used, and its text.
struct Found {
    text: Option<String>,
    record: Result<Record, String>,
}

fn find(answer: &Answer) -> Found {
    let texts = answer.data().filter_map(|data| match data {
        RData::TXT(text) => Some(text.txt_data.concat()),
        _ => None,
    });
    let mut records = texts.filter(|text| Record::is_one(text));
    match (records.next(), records.next()) {
        (None, _) => Found { text: None, record: Err("there is no record".to_owned()) },
        (Some(_), Some(_)) => Found { text: None, record: Err("there is more than one record".to_owned()) },
        (Some(text), None) => Found {
            text: Some(text.escape_ascii().to_string()),
            record: Record::parse(&text).map_err(|error: RecordError| error.to_string()),
        },
    }
}

/// Asks DNS, and fails when there is no usable answer.
fn ask(dns: &impl Lookup, name: &str, kind: RecordType) -> Result<Answer> {
    let parsed = parse_name(name).map_err(|error| anyhow::anyhow!("{name} is no name: {error}"))?;
    let answer = block_on(dns.lookup(&parsed, kind));
    if answer.outcome == Outcome::Failed {
        bail!("looking up {kind} of {name} failed: {}", answer.reason);
    }
    Ok(answer)
}

/// Fetches the policy, and adds what is found to what is shown.
fn policy(dns: &impl Lookup, arguments: &MtaStsLookup, host: &Domain, shown: &mut Value) -> Result<()> {
    let port = arguments.port;
    shown["policy_host"] = json!(host.to_string());
    shown["url"] = json!(if port == 443 {
        format!("https://{host}{PATH}")
    } else {
        format!("https://{host}:{port}{PATH}")
    });
    let addresses = addresses_of(dns, host)?;
    shown["addresses"] = json!(addresses.iter().map(ToString::to_string).collect::<Vec<_>>());
    let text = fetch_text(host, &addresses, port, arguments.ca_file.as_deref())?;
    shown["policy"] = json!(String::from_utf8_lossy(&text));
    let policy = Policy::parse(&text)?;
    shown["mode"] = json!(policy.mode.word());
    shown["max_age"] = json!(policy.max_age);
    shown["mx"] = json!(policy.patterns.iter().map(ToString::to_string).collect::<Vec<_>>());
    Ok(())
}

/// The addresses of the policy's host.
pub(super) fn addresses_of(dns: &impl Lookup, host: &Domain) -> Result<Vec<IpAddr>> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    let mut failure = None;
    for kind in [RecordType::AAAA, RecordType::A] {
        match ask(dns, host.as_str(), kind) {
            Ok(answer) => addresses.extend(answer.data().filter_map(|data| match data {
                RData::A(address) => Some(IpAddr::V4(address.0)),
                RData::AAAA(address) => Some(IpAddr::V6(address.0)),
                _ => None,
            })),
            Err(error) => failure = Some(error),
        }
    }
    if addresses.is_empty() {
        return Err(failure.unwrap_or_else(|| anyhow::anyhow!("{host} has no address")));
    }
    Ok(addresses)
}

/// Gets the text of the policy from its host, for which an authority of a file, or of the system, vouches.
pub(super) fn fetch_text(
    host: &Domain,
    addresses: &[IpAddr],
    port: u16,
    ca_file: Option<&Path>,
) -> Result<Vec<u8>> {
    let roots = authorities(ca_file).map_err(anyhow::Error::msg)?;
    fetch(host, addresses, port, roots, Instant::now() + FETCH_TIME)
}

/// Gets the text of the policy (RFC 8461 §3.3).
fn fetch(
    host: &Domain,
    addresses: &[IpAddr],
    port: u16,
    roots: RootCertStore,
    until: Instant,
) -> Result<Vec<u8>> {
    let stream = connect(addresses, port, until)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_string())?;
    let session = ClientConnection::new(Arc::new(config), name)?;
    let mut secured = StreamOwned::new(session, Timely { stream, until });
    while secured.conn.is_handshaking() {
        secured.conn.complete_io(&mut secured.sock).context("the handshake failed")?;
    }
    secured.write_all(request(host).as_bytes())?;
    let mut reader = response_reader();
    let mut buffer = [0; 4096];
    loop {
        match secured.read(&mut buffer) {
            Ok(0) => break,
            Ok(octets) => {
                if reader.push(&buffer[..octets])? == Progress::Complete {
                    break;
                }
            }
            // A connection that was cut ends nothing: without its end, what came may be a part of the policy.
            Err(error) => return Err(error).context("the connection broke"),
        }
    }
    secured.conn.send_close_notify();
    let _ = secured.flush();
    Ok(reader.finish()?)
}

fn connect(addresses: &[IpAddr], port: u16, until: Instant) -> Result<TcpStream> {
    let mut last = None;
    for address in addresses.iter().take(ADDRESSES_MAX) {
        let address = SocketAddr::new(*address, port);
        let time = until.saturating_duration_since(Instant::now()).min(CONNECT_TIME);
        if time.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(&address, time) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some((address, error)),
        }
    }
    match last {
        Some((address, error)) => Err(error).context(format!("can't connect to {address}")),
        None => bail!("there was no time to connect"),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use std::io::ErrorKind;
    use std::net::{Ipv4Addr, TcpListener};
    use std::thread::JoinHandle;

    use postrider_dns::script::Script;
    use rustls::ServerConnection;

    use super::*;
    use crate::commands::authority::Authority;

    const POLICY: &str = "version: STSv1\nmode: enforce\nmx: *.example.org\nmax_age: 86400\n";

    fn ok(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    /// What a host does after its answer.
    #[derive(Clone, Copy)]
    enum Then {
        Closes,
        /// It waits until the client has gone.
        Hangs,
    }

    /// A host with a certificate for `name`, which gives one answer.
    fn host(name: &str, answer: String, then: Then) -> (u16, RootCertStore, JoinHandle<String>) {
        let authority = Authority::new();
        let config = authority.server(name).config(None);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let serve = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let session = ServerConnection::new(config).unwrap();
            let mut secured = StreamOwned::new(session, stream);
            let mut asked = Vec::new();
            let mut buffer = [0; 1024];
            while !asked.ends_with(b"\r\n\r\n") {
                match secured.read(&mut buffer) {
                    Ok(octets @ 1..) => asked.extend_from_slice(&buffer[..octets]),
                    _ => return String::new(),
                }
            }
            let _ = secured.write_all(answer.as_bytes());
            let _ = secured.flush();
            if let Then::Hangs = then {
                // A client that waits for ever is one that the test fails for.
                secured.sock.set_read_timeout(Some(4 * LONG)).unwrap();
                let end = secured.read(&mut buffer).map_err(|error| error.kind());
                assert!(
                    !matches!(end, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)),
                    "it waits for ever"
                );
            }
            secured.conn.send_close_notify();
            let _ = secured.flush();
            String::from_utf8(asked).unwrap()
        });
        (port, authority.roots(), serve)
    }

    fn fetched(name: &str, answer: String, then: Then, time: Duration) -> Result<Vec<u8>> {
        let (port, roots, serve) = host(name, answer, then);
        let domain = Domain::parse("mta-sts.example.org").unwrap();
        let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
        let result = fetch(&domain, &addresses, port, roots, Instant::now() + time);
        let asked = serve.join().unwrap();
        if result.is_ok() {
            assert!(asked.starts_with("GET /.well-known/mta-sts.txt HTTP/1.1\r\n"), "{asked}");
        }
        result
    }

    const NAME: &str = "mta-sts.example.org";
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_policy_is_fetched_from_the_host_that_its_certificate_names() {
        for name in [NAME, "*.example.org"] {
            let text = fetched(name, ok(POLICY), Then::Closes, LONG).unwrap();
            assert_eq!(text, POLICY.as_bytes(), "{name}");
        }
        // Its end is that of the connection.
        let until_end = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n{POLICY}");
        assert_eq!(fetched(NAME, until_end, Then::Closes, LONG).unwrap(), POLICY.as_bytes());
        for name in ["example.org", "*.sub.example.org", "mta-sts.example.com"] {
            let error = fetched(name, ok(POLICY), Then::Closes, LONG).unwrap_err();
            assert!(format!("{error:#}").contains("certificate"), "{name}: {error:#}");
        }
        // One of an authority that nobody knows.
        let (port, _, serve) = host(NAME, ok(POLICY), Then::Closes);
        let roots = Authority::new().roots();
        let domain = Domain::parse(NAME).unwrap();
        let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
        let error = fetch(&domain, &addresses, port, roots, Instant::now() + LONG).unwrap_err();
        assert!(format!("{error:#}").contains("certificate"), "{error:#}");
        serve.join().unwrap();
    }

    #[test]
    fn other_answers_bring_no_policy() {
        let moved = "HTTP/1.1 302 Found\r\nLocation: https://elsewhere.example/\r\nContent-Length: 0\r\n\r\n";
        for (answer, problem) in [
            (moved.to_owned(), "status 302"),
            ("HTTP/1.1 404 Not Found\r\n\r\n".to_owned(), "status 404"),
            (ok(POLICY).replace("plain", "html"), "text/plain"),
            (ok(&"x".repeat(Policy::OCTETS_MAX + 1)), "over 65536 octets"),
            (ok(POLICY).replace(&format!(": {}", POLICY.len()), ": 99"), "not complete"),
        ] {
            let error = fetched(NAME, answer, Then::Closes, LONG).unwrap_err();
            assert!(format!("{error:#}").contains(problem), "{problem}: {error:#}");
        }
    }

    #[test]
    fn a_host_that_hangs_is_not_waited_for() {
        let half = ok(POLICY).replace("max_age", "");
        let mut time = Duration::from_millis(500);
        loop {
            let error = format!("{:#}", fetched(NAME, half.clone(), Then::Hangs, time).unwrap_err());
            if error.contains("the connection broke") {
                break;
            }
            // On a busy machine the time is over before the answer has begun.
            assert!(time < LONG, "{error}");
            time *= 2;
        }
    }

    #[test]
    fn only_one_good_record_is_one() {
        let found = |zone: &str| {
            let script = Script::parse(zone).unwrap();
            let found = find(&ask(&script, "_mta-sts.example.org", RecordType::TXT).unwrap());
            (found.text, found.record.map(|record| record.id.to_string()))
        };
        let record = "_mta-sts.example.org. TXT \"v=STSv1; id=1;\"\n";
        assert_eq!(found(record), (Some("v=STSv1; id=1;".to_owned()), Ok("1".to_owned())));
        let other = format!("{record}_mta-sts.example.org. TXT \"v=spf1 -all\"\n");
        assert_eq!(found(&other).1, Ok("1".to_owned()));
        assert_eq!(found("").1, Err("there is no record".to_owned()));
        let two = format!("{record}_mta-sts.example.org. TXT \"v=STSv1; id=2;\"\n");
        assert_eq!(found(&two).1, Err("there is more than one record".to_owned()));
        let bad = found("_mta-sts.example.org. TXT \"v=STSv1; id=\\009;\"\n");
        assert_eq!(bad.0.as_deref(), Some("v=STSv1; id=\\t;"));
        assert!(bad.1.is_err());
        let failing = Script::parse("$SERVFAIL _mta-sts.example.org.\n").unwrap();
        assert!(ask(&failing, "_mta-sts.example.org", RecordType::TXT).is_err());
    }
}
