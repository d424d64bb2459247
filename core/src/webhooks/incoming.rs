//! What is sent of messages that an account got (product 10.6).
//!
//! With the message a row is written that has what the message itself doesn't: from where it came, and what was found out then.
//! The rest is read from the message when the call is made. One that was removed meanwhile is told of without it: nobody who
//! removes a message wants a copy of it to stay.

use std::net::IpAddr;
use std::rc::Rc;

use postrider_proto::mime::address::{self, Address};
use postrider_proto::mime::header::{self, SentDate};
use postrider_proto::mime::parameter::MediaType;
use postrider_proto::mime::record::{PartRef, StructureRef};
use postrider_proto::mime::text::{TextDecoder, TextPart, text_parts};
use postrider_proto::mime::{FieldName, Kind, parameter, words};
use postrider_storage::engine::Batch;
use postrider_storage::ids::{AccountId, EmailId};
use postrider_storage::reader::Reader;
use postrider_storage::rows::HookSubject;
use postrider_storage::store::{Store, StoreError};
use postrider_storage::webhooks::ScheduledHook;
use serde_json::{Value, json};

use super::payload::{cut, time};
use super::turn::Trouble;
use super::{Hooks, insert, new_row};
use crate::imap::commands::fetch::HEADER_OCTETS_MAX;
use crate::imap::content::{MessageContent, on_worker};
use crate::shard::Shard;

/// The longest text of a message that is sent, of each of both kinds.
const TEXT_OCTETS_MAX: usize = 1 << 20;
/// Addresses of a field, references, parts of a message, and parameters of a part that are sent.
const ADDRESSES_MAX: usize = 1000;
const REFERENCES_MAX: usize = 100;
const PARTS_MAX: usize = 1000;
const PARAMETERS_MAX: usize = 20;
/// Domains whose signatures passed that are sent.
const DOMAINS_MAX: usize = 20;

/// What is known of a message that came, and isn't in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// The address in MAIL FROM; empty for the null path.
    pub mail_from: String,
    /// Whether SPF passed for it, or one of our users sent it.
    pub mail_from_validated: bool,
    /// Whether the author in From is surely that.
    pub msg_from_validated: bool,
    /// Domains whose signatures passed.
    pub dkim_domains: Vec<String>,
    /// Who sent it to us.
    pub remote: Option<IpAddr>,
    /// When it came, in seconds since 1970.
    pub received: i64,
}

impl Arrival {
    /// What is kept of it for one recipient.
    fn meta(&self, recipient: &str, mailbox: &str, email: EmailId) -> Vec<u8> {
        let domains: Vec<&str> = self.dkim_domains.iter().take(DOMAINS_MAX).map(|text| cut(text)).collect();
        let meta = json!({
            "MsgID": email.0.to_string(),
            "MailFrom": cut(&self.mail_from),
            "MailFromValidated": self.mail_from_validated,
            "MsgFromValidated": self.msg_from_validated,
            "RcptTo": cut(recipient),
            "DKIMVerifiedDomains": domains,
            "RemoteIP": self.remote.map(|address| address.to_canonical().to_string()).unwrap_or_default(),
            "Received": time(self.received),
            "MailboxName": cut(mailbox),
        });
        meta.to_string().into_bytes()
    }

    /// Adds the call that tells of a message to the change that stores it; none when nobody wants to know.
    pub fn add(
        &self,
        store: &Store,
        account: AccountId,
        hooks: &Hooks,
        stored: Stored<'_>,
        batch: &mut Batch,
    ) -> Option<ScheduledHook> {
        let webhook = hooks.incoming.as_ref()?;
        let meta = self.meta(stored.recipient, stored.mailbox, stored.email);
        let subject = HookSubject::Incoming { email: stored.email };
        insert(store, batch, new_row(account, subject, webhook.url().as_str(), meta, self.received))
    }
}

/// Where a message was stored.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    /// The address that it was for; empty when that isn't known.
    pub recipient: &'a str,
    /// The mailbox.
    pub mailbox: &'a str,
    /// The message.
    pub email: EmailId,
}

/// What is sent of a message that came.
pub(super) async fn body(
    shard: &Rc<Shard>,
    account: AccountId,
    email: EmailId,
    meta: Box<[u8]>,
) -> Result<Vec<u8>, Trouble> {
    let shared = &shard.shared;
    let work = |(account, email, meta): &mut (AccountId, EmailId, Box<[u8]>), store: &Store| {
        made(&store.reader(), *account, *email, meta)
    };
    let (_, body) = on_worker(&shared.pool, &shared.store, (account, email, meta), work).await?;
    Ok(body?)
}

fn made(reader: &Reader, account: AccountId, email: EmailId, meta: &[u8]) -> Result<Vec<u8>, StoreError> {
    let meta: Value = serde_json::from_slice(meta)
        .map_err(|_| StoreError::Inconsistent("what a call of a webhook says of a message is no JSON"))?;
    let Some(message) = MessageContent::load(reader, account, email)? else { return Ok(removed(meta)) };
    let structure = message.structure()?;
    let root = structure.root();
    let header = message.read(reader, 0..root.body_start + message.prefix_octets(), HEADER_OCTETS_MAX)?;
    let [text, html] = texts(reader, &message, &structure)?;
    Ok(told(meta, &structure, &header, text, html).to_string().into_bytes())
}

/// What is told of a message that was removed.
fn removed(mut meta: Value) -> Vec<u8> {
    meta["Automated"] = Value::Bool(false);
    meta["Removed"] = Value::Bool(true);
    json!({ "Version": 0, "Structure": Value::Null, "Meta": meta }).to_string().into_bytes()
}

/// What is sent to see whether a webhook for messages that come works.
pub(super) fn test_body(now: i64) -> Vec<u8> {
    let header = b"From: Somebody <somebody@example.org>\r\nTo: <you@example.org>\r\nSubject: A test of the webhook\r\n\r\n";
    let mut scanner = postrider_proto::mime::scan::Scanner::new(postrider_proto::mime::Limits::DEFAULT);
    scanner.push(header);
    let mut record = Vec::new();
    postrider_proto::mime::record::encode(&scanner.finish(), &mut record);
    let arrival =
        Arrival { mail_from: "somebody@example.org".to_owned(), received: now, ..Arrival::default() };
    let meta =
        serde_json::from_slice(&arrival.meta("you@example.org", "Inbox", EmailId(0))).unwrap_or_default();
    match StructureRef::decode(&record) {
        Ok(structure) => told(meta, &structure, header, "This is a test.".to_owned(), String::new())
            .to_string()
            .into_bytes(),
        Err(_) => removed(meta),
    }
}

fn told(mut meta: Value, structure: &StructureRef<'_>, header: &[u8], text: String, html: String) -> Value {
    let root = structure.root();
    meta["Automated"] = Value::Bool(is_automated(&meta, root, header));
    meta["Removed"] = Value::Bool(false);
    let value = |name| root.field(name).unwrap_or_default();
    let addresses = |name| addresses(value(name));
    let id = |octets: Vec<u8>| cut(&String::from_utf8_lossy(&octets)).to_owned();
    let references: Vec<String> = header::first(header, "References")
        .map(|value| {
            header::message_ids(&header::unfold(value), REFERENCES_MAX).into_iter().map(id).collect()
        })
        .unwrap_or_default();
    let date = header::date(value(FieldName::Date)).map(|SentDate { unix_seconds, .. }| time(unix_seconds));
    json!({
        "Version": 0,
        "From": addresses(FieldName::From),
        "To": addresses(FieldName::To),
        "CC": addresses(FieldName::Cc),
        "BCC": addresses(FieldName::Bcc),
        "ReplyTo": addresses(FieldName::ReplyTo),
        "Subject": cut(&words::decode(&header::unfold(value(FieldName::Subject)))),
        "MessageID": header::message_id(value(FieldName::MessageId)).map(id).unwrap_or_default(),
        "InReplyTo": header::message_id(value(FieldName::InReplyTo)).map(id).unwrap_or_default(),
        "References": references,
        "Date": date,
        "Text": text,
        "HTML": html,
        "Structure": Parts { structure, left: PARTS_MAX }.part(0),
        "Meta": meta,
    })
}

/// Whether nobody waits for an answer to a message: a report, mail of a list, an answer of a program (RFC 3834 §2).
fn is_automated(meta: &Value, root: &PartRef<'_>, header: &[u8]) -> bool {
    let media = root.field(FieldName::ContentType).and_then(MediaType::parse);
    let has = |name: &str| header::first(header, name).is_some();
    let is_auto = header::first(header, "Auto-Submitted").is_some_and(|value| {
        let value = header::unfold(value);
        !parameter::leading_token(value.trim_ascii()).0.eq_ignore_ascii_case(b"no")
    });
    meta["MailFrom"] == ""
        || ["List-Id", "List-Unsubscribe", "List-Unsubscribe-Post", "Precedence"].into_iter().any(has)
        || is_auto
        || media.is_some_and(|media| media.is("multipart", "report"))
}

fn addresses(value: &[u8]) -> Vec<Value> {
    let text = |octets: &Option<Vec<u8>>| {
        octets.as_deref().map(|octets| String::from_utf8_lossy(octets).into_owned())
    };
    let one = |address: &Address| {
        let host = text(&address.host)?;
        let mailbox = text(&address.mailbox).unwrap_or_default();
        let name = address.name.as_deref().map(words::decode).unwrap_or_default();
        Some(json!({ "Name": cut(&name), "Address": cut(&format!("{mailbox}@{host}")) }))
    };
    address::parse(&header::unfold(value), ADDRESSES_MAX).iter().filter_map(one).collect()
}

/// The first text, and the first HTML, that is no attachment; each as far as [`TEXT_OCTETS_MAX`].
fn texts(
    reader: &Reader,
    message: &MessageContent,
    structure: &StructureRef<'_>,
) -> Result<[String; 2], StoreError> {
    let mut found = [None, None];
    for part in text_parts(structure, message.prefix_octets()) {
        let Some(kind) = shown_as(&structure.parts()[part.index]) else { continue };
        if found[kind].is_none() {
            found[kind] = Some(text(reader, message, part)?);
        }
    }
    Ok(found.map(Option::unwrap_or_default))
}

/// 0 for plain text, 1 for HTML; none for other texts and for attachments.
fn shown_as(part: &PartRef<'_>) -> Option<usize> {
    let disposition =
        part.field(FieldName::ContentDisposition).map(|value| parameter::leading_token(value).0);
    if disposition.is_some_and(|word| word.eq_ignore_ascii_case(b"attachment")) {
        return None;
    }
    let media = part.field(FieldName::ContentType).and_then(MediaType::parse);
    match media {
        None => Some(0),
        Some(media) if media.is("text", "plain") => Some(0),
        Some(media) if media.is("text", "html") => Some(1),
        Some(_) => None,
    }
}

fn text(reader: &Reader, message: &MessageContent, part: TextPart) -> Result<String, StoreError> {
    let Some(mut decoder) = TextDecoder::new(part.encoding, part.charset) else { return Ok(String::new()) };
    let (mut source, mut text) = (message.range(part.range), String::new());
    while text.len() <= TEXT_OCTETS_MAX {
        if !source.read(reader, |piece| decoder.push(piece, &mut text))? {
            decoder.finish(&mut text);
            break;
        }
    }
    text.truncate(text.floor_char_boundary(TEXT_OCTETS_MAX));
    Ok(text.replace("\r\n", "\n"))
}

/// The parts of a message as they are told.
struct Parts<'a, 'b> {
    structure: &'a StructureRef<'b>,
    left: usize,
}

impl Parts<'_, '_> {
    /// A part with those in it. How deep parts lie in one another is bounded when a message is scanned.
    fn part(&mut self, index: usize) -> Value {
        self.left = self.left.saturating_sub(1);
        let part = &self.structure.parts()[index];
        let media = part.field(FieldName::ContentType);
        let (kind, parameters) = media.map_or_else(Default::default, typed);
        let (disposition, of_disposition) =
            part.field(FieldName::ContentDisposition).map_or_else(Default::default, typed);
        let name = |parameters: &serde_json::Map<String, Value>, key: &str| {
            let extended = parameters.get(&format!("{key}*")).and_then(Value::as_str).and_then(extended);
            extended.or_else(|| parameters.get(key).and_then(Value::as_str).map(words_of))
        };
        let file_name = name(&of_disposition, "filename").or_else(|| name(&parameters, "name"));
        let id = part
            .field(FieldName::ContentId)
            .map(|value| String::from_utf8_lossy(value.trim_ascii()).into_owned());
        let children: Vec<usize> = self.structure.children(index).collect();
        let mut parts = Vec::new();
        for child in children {
            if self.left == 0 {
                break;
            }
            parts.push(self.part(child));
        }
        json!({
            "ContentType": kind,
            "ContentTypeParams": parameters,
            "ContentID": id.as_deref().map(|id| cut(id.trim_matches(['<', '>']))).unwrap_or_default(),
            "ContentDisposition": disposition,
            "Filename": file_name.unwrap_or_default(),
            "DecodedSize": decoded_size(part),
            "Parts": parts,
        })
    }
}

fn words_of(text: &str) -> String {
    cut(&words::decode(text.as_bytes())).to_owned()
}

/// An extended value: a charset, a language, and octets that are percent-encoded (RFC 2231 §4).
fn extended(text: &str) -> Option<String> {
    let (charset, rest) = text.split_once('\'')?;
    let (_, value) = rest.split_once('\'')?;
    let octets = parameter::percent_decode(value.as_bytes());
    Some(
        cut(&words::Charset::new(charset.as_bytes()).unwrap_or(words::Charset::UTF_8).decode(&octets))
            .to_owned(),
    )
}

/// The first word of a value in lower case (of a media type both), and its parameters.
fn typed(value: &[u8]) -> (String, serde_json::Map<String, Value>) {
    let value = header::unfold(value);
    let (first, rest) = match value.iter().position(|octet| *octet == b';') {
        Some(at) => value.split_at(at),
        None => (&value[..], &[][..]),
    };
    let text = |octets: &[u8]| cut(&String::from_utf8_lossy(octets)).to_owned();
    let parameters = parameter::joined(rest, PARAMETERS_MAX);
    let parameters = parameters.iter().map(|(name, value)| (text(name).to_lowercase(), text(value).into()));
    (text(first.trim_ascii()).to_lowercase(), parameters.collect())
}

/// Octets of a part's content without its transfer encoding: exact without one, and near with one.
fn decoded_size(part: &PartRef<'_>) -> u64 {
    if part.kind != Kind::Leaf {
        return 0;
    }
    let (octets, lines) = (part.body_octets(), part.lines);
    let encoding = part.field(FieldName::ContentTransferEncoding).unwrap_or_default().trim_ascii();
    if encoding.eq_ignore_ascii_case(b"base64") { octets.saturating_sub(2 * lines) / 4 * 3 } else { octets }
}
