//! The message on standard input: read into a temporary file, and its header made whole.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, Read as _, Seek as _, SeekFrom, Write as _};

use postrider_proto::address::{
    Address, AddressLiteral, Domain, ForwardPath, LiteralAddress, Localpart, ReversePath,
};
use postrider_proto::mime::{address, header};
use postrider_proto::smtp::client::content::{ContentWriter, Transfer};

use super::config::{Config, RequireTls};
use super::exit::{Code, Failed};
use super::lists;
use super::words::Order;

/// Octets of a header.
pub const HEADER_OCTETS_MAX: usize = 1 << 20;
/// Octets of the body that are read at once.
const PIECE_OCTETS: usize = 64 << 10;
/// Recipients of one message.
pub const RECIPIENTS_MAX: usize = 10_000;
/// What names a recipient of a kept message; see [`super::failures`].
pub const KEPT_PREFIX: &str = "Postrider-Failed-";

/// A message as it was read, with CR LF as line ends.
pub struct Spool {
    /// The fields, without the empty line.
    pub header: Vec<u8>,
    body: File,
    body_octets: u64,
    is_eight_bit: bool,
}

/// A message as it is sent.
pub struct Content {
    /// With the empty line after it.
    pub header: Vec<u8>,
    body: File,
    /// All of it.
    pub octets: u64,
    /// The body or the header has octets beyond ASCII.
    pub is_eight_bit: bool,
    at: u64,
}

/// Who calls, and where and when.
pub struct Caller {
    /// The name of the user.
    pub user: String,
    /// The domain of addresses without one.
    pub domain: Domain,
    /// The time, as in a Date field.
    pub date: String,
    /// Letters and digits that nobody else has.
    pub unique: String,
}

/// The envelope's addresses, and the header that goes with them.
#[derive(Debug)]
pub struct Prepared {
    pub sender: ReversePath,
    pub recipients: Vec<ForwardPath>,
    pub header: Vec<u8>,
}

impl Spool {
    /// Reads a message up to its end, or to a line with one dot unless those don't count.
    pub fn read(input: &mut impl BufRead, ignores_dot: bool, octets_max: u64) -> Result<Self, Failed> {
        let mut head = Vec::new();
        let mut left = octets_max;
        let mut body_start = Vec::new();
        let mut ended;
        loop {
            let line = line_of(input, HEADER_OCTETS_MAX + 1)?;
            ended = line.is_empty() || (!ignores_dot && is_dot(&line));
            if ended || matches!(&line[..], b"\n" | b"\r\n") {
                break;
            }
            if head.is_empty() && line.starts_with(b"From ") {
                // The line that separates messages in a mailbox file.
                continue;
            }
            if !is_field(&line, !head.is_empty()) {
                // A message without a header, or without the empty line after it.
                body_start = line;
                break;
            }
            head.extend_from_slice(&line);
            if head.len() > HEADER_OCTETS_MAX {
                return Err(Failed::new(
                    Code::Data,
                    format!("the header is larger than {HEADER_OCTETS_MAX} octets"),
                ));
            }
        }
        let mut header = Vec::new();
        let mut writer = ContentWriter::new(Transfer::Chunks);
        writer.push(&head, &mut header);
        writer.end(&mut header);
        let mut spool = Self {
            header,
            body: tempfile::tempfile().map_err(|error| Failed::io("can't make a temporary file", &error))?,
            body_octets: 0,
            is_eight_bit: !head.is_ascii(),
        };
        let too_large = || Failed::new(Code::Data, format!("the message is larger than {octets_max} octets"));
        left = left.checked_sub(head.len() as u64).ok_or_else(too_large)?;
        let mut writer = ContentWriter::new(Transfer::Chunks);
        let mut out = Vec::new();
        let mut piece = body_start;
        let mut at_line_start = true;
        while !ended {
            if piece.is_empty() {
                piece = line_of(input, PIECE_OCTETS)?;
                ended = piece.is_empty() || (at_line_start && !ignores_dot && is_dot(&piece));
                if ended {
                    break;
                }
            }
            left = left.checked_sub(piece.len() as u64).ok_or_else(too_large)?;
            at_line_start = piece.ends_with(b"\n");
            writer.push(&piece, &mut out);
            piece.clear();
            if out.len() >= PIECE_OCTETS {
                spool.write(&mut out)?;
            }
        }
        writer.end(&mut out);
        spool.write(&mut out)?;
        Ok(spool)
    }

    fn write(&mut self, out: &mut Vec<u8>) -> Result<(), Failed> {
        self.is_eight_bit |= !out.is_ascii();
        self.body_octets += out.len() as u64;
        self.body.write_all(out).map_err(|error| Failed::io("can't write a temporary file", &error))?;
        out.clear();
        Ok(())
    }

    /// The message with another header.
    pub fn with_header(self, mut header: Vec<u8>) -> Content {
        header.extend_from_slice(b"\r\n");
        let octets = header.len() as u64 + self.body_octets;
        let is_eight_bit = self.is_eight_bit || !header.is_ascii();
        Content { header, body: self.body, octets, is_eight_bit, at: 0 }
    }
}

impl Content {
    /// Begins anew.
    pub fn rewind(&mut self) -> std::io::Result<()> {
        self.at = 0;
        self.body.seek(SeekFrom::Start(0)).map(drop)
    }

    /// The next piece; 0 at the end.
    pub fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let rest = usize::try_from(self.at).ok().and_then(|at| self.header.get(at..)).unwrap_or_default();
        let octets = if rest.is_empty() {
            self.body.read(buffer)?
        } else {
            let octets = rest.len().min(buffer.len());
            buffer[..octets].copy_from_slice(&rest[..octets]);
            octets
        };
        self.at += octets as u64;
        Ok(octets)
    }
}

/// A line, or a piece of it of `max` octets; empty at the end.
fn line_of(input: &mut impl BufRead, max: usize) -> Result<Vec<u8>, Failed> {
    let mut line = Vec::new();
    let read = input.take(max as u64).read_until(b'\n', &mut line);
    read.map_err(|error| Failed::io("can't read the message from standard input", &error))?;
    Ok(line)
}

fn is_dot(line: &[u8]) -> bool {
    matches!(line, b"." | b".\n" | b".\r\n")
}

/// Whether a line is a field of a header, or goes on with one (RFC 5322 §2.2).
fn is_field(line: &[u8], has_field_before: bool) -> bool {
    if has_field_before && matches!(line.first(), Some(b' ' | b'\t')) {
        return true;
    }
    let Some(colon) = line.iter().position(|octet| *octet == b':') else { return false };
    let name = line[..colon].trim_ascii_end();
    !name.is_empty() && name.iter().all(u8::is_ascii_graphic)
}

/// Finds sender and recipients, and makes the header whole.
pub fn prepare(head: &[u8], order: &Order, config: &Config, caller: &Caller) -> Result<Prepared, Failed> {
    let own = || -> Result<Address, Failed> {
        let localpart = Localpart::from_decoded(&caller.user).map_err(|error| {
            Failed::new(Code::Usage, format!("the user's name is no address ({error}): give one with -f"))
        })?;
        Ok(Address { localpart, domain: caller.domain.clone() })
    };
    let given = match order.sender.as_deref().map(str::trim) {
        None => None,
        Some("" | "<>") => Some(ReversePath::Null),
        Some(text) => Some(one_sender(text, config, caller)?),
    };
    let sender = match (&config.from, given) {
        (_, Some(ReversePath::Null)) => ReversePath::Null,
        (Some(from), _) => ReversePath::Address(from.clone()),
        (None, Some(given)) => given,
        (None, None) => ReversePath::Address(own()?),
    };
    let author = match (&config.from, &sender) {
        (Some(from), _) => from.clone(),
        (None, ReversePath::Address(sender)) => sender.clone(),
        (None, ReversePath::Null) => own()?,
    };
    let recipients = recipients(head, order, config, caller)?;
    let name = header::first(head, "from")
        .and_then(|value| address::parse(&header::unfold(value), 1).pop())
        .and_then(|address| address.name)
        .or_else(|| order.full_name.clone().map(String::into_bytes));
    let mut out = Vec::with_capacity(head.len() + 256);
    for field in header::fields(head) {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name.as_bytes());
        let is_replaced = config.from.is_some() && is("from");
        if !(is("bcc") || is("resent-bcc") || is("return-path") || is_kept(field.name) || is_replaced) {
            out.extend_from_slice(field.octets);
        }
    }
    let mut add = |field: &str, value: &[u8]| {
        if header::first(&out, field).is_none() {
            out.extend_from_slice(field.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
    };
    add("From", &mailbox(name.as_deref(), &author));
    add("Date", caller.date.as_bytes());
    add("Message-ID", format!("<{}@{}>", caller.unique, caller.domain).as_bytes());
    if config.requiretls == RequireTls::No {
        add("TLS-Required", b"No");
    }
    Ok(Prepared { sender, recipients, header: out })
}

/// Whether a field is one of a kept message.
fn is_kept(name: &[u8]) -> bool {
    let prefix = name.get(..KEPT_PREFIX.len());
    prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(KEPT_PREFIX.as_bytes()))
}

/// A header without the fields of a kept message: whoever wrote the message says nothing there.
pub fn without_kept(head: &[u8]) -> Vec<u8> {
    let fields = header::fields(head).filter(|field| !is_kept(field.name));
    fields.flat_map(|field| field.octets).copied().collect()
}

fn one_sender(text: &str, config: &Config, caller: &Caller) -> Result<ReversePath, Failed> {
    let bad = |why: &str| Failed::new(Code::Usage, format!("the sender {text:?} is no address: {why}"));
    let found = lists::mailboxes(text.as_bytes()).take(2).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|why| bad(&why))?;
    let [address] = &found[..] else { return Err(bad("one address is needed")) };
    // A sender without a domain is one of this machine, whoever gets mail for such.
    let config = Config { default_recipient: None, ..config.clone() };
    match path(address, &config, caller).map_err(|why| bad(&why))? {
        ForwardPath::Address(address) => Ok(ReversePath::Address(address)),
        _ => Err(bad("a domain is needed")),
    }
}

/// Those of the command line, and with `-t` those of the header, each once. Those of a message that was sent on are
/// in its Resent fields (RFC 5322 §3.6.6).
fn recipients(
    head: &[u8],
    order: &Order,
    config: &Config,
    caller: &Caller,
) -> Result<Vec<ForwardPath>, Failed> {
    let mut lists: Vec<Vec<u8>> = order.addresses.iter().map(|list| list.clone().into_bytes()).collect();
    if order.from_header {
        let all = |names: [&str; 3]| -> Vec<Vec<u8>> {
            names.iter().flat_map(|name| header::all(head, name).map(header::unfold)).collect()
        };
        let resent = all(["resent-to", "resent-cc", "resent-bcc"]);
        lists.extend(if resent.is_empty() { all(["to", "cc", "bcc"]) } else { resent });
    }
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    for list in lists {
        for mailbox in lists::mailboxes(&list) {
            let path = mailbox.and_then(|mailbox| path(&mailbox, config, caller)).map_err(|why| {
                let shown: String = String::from_utf8_lossy(&list).chars().take(200).collect();
                Failed::new(Code::Data, format!("{shown:?} has a recipient that is no address: {why}"))
            })?;
            if found.len() > RECIPIENTS_MAX {
                break;
            }
            if seen.insert(path.clone()) {
                found.push(path);
            }
        }
        if found.len() > RECIPIENTS_MAX {
            let problem = format!("the message has more than {RECIPIENTS_MAX} recipients");
            return Err(Failed::new(Code::Data, problem));
        }
    }
    if found.is_empty() {
        let (code, problem) = if order.from_header {
            (Code::Data, "the message has no recipients in To, Cc and Bcc")
        } else {
            (Code::Usage, "the addresses name no recipient")
        };
        return Err(Failed::new(code, problem));
    }
    Ok(found)
}

/// An entry of a list as a recipient.
fn path(entry: &address::Address, config: &Config, caller: &Caller) -> Result<ForwardPath, String> {
    let text = |part: &Option<Vec<u8>>| {
        String::from_utf8(part.clone().unwrap_or_default()).map_err(|_| "it is not UTF-8".to_owned())
    };
    let (local, host) = (text(&entry.mailbox)?, text(&entry.host)?);
    if local.is_empty() {
        return Err("there is nothing before the @".to_owned());
    }
    let words = |error: postrider_proto::address::AddressError| error.to_string();
    if host.is_empty() {
        if local.starts_with('-') || local.contains(char::is_whitespace) {
            return Err(format!("{local:?} is a name without a domain"));
        }
        let default = config.default_recipient.clone().map(ForwardPath::Address);
        return match default {
            Some(default) => Ok(default),
            None => {
                let localpart = Localpart::from_decoded(&local).map_err(words)?;
                Ok(ForwardPath::Address(Address { localpart, domain: caller.domain.clone() }))
            }
        };
    }
    let localpart = Localpart::from_decoded(&local).map_err(words)?;
    if host.starts_with('[') {
        let literal = AddressLiteral::parse(&host).map_err(words)?;
        return Ok(ForwardPath::Literal(LiteralAddress { localpart, literal }));
    }
    let domain = Domain::parse(&host).map_err(words)?;
    Ok(ForwardPath::Address(Address { localpart, domain }))
}

/// An address with a name, as in a header field (RFC 5322 §3.4).
fn mailbox(name: Option<&[u8]>, address: &Address) -> Vec<u8> {
    let name: Vec<u8> =
        name.unwrap_or_default().iter().copied().filter(|octet| !octet.is_ascii_control()).collect();
    if name.trim_ascii().is_empty() {
        return address.to_string().into_bytes();
    }
    let is_plain = |octet: &u8| octet.is_ascii_alphanumeric() || b" !#$%&'*+-/=?^_`{|}~".contains(octet);
    let mut out = Vec::with_capacity(name.len() + 64);
    if name.iter().all(is_plain) {
        out.extend_from_slice(name.trim_ascii());
    } else {
        out.push(b'"');
        for octet in name {
            if matches!(octet, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(octet);
        }
        out.push(b'"');
    }
    out.extend_from_slice(format!(" <{address}>").as_bytes());
    out
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use super::*;

    fn spool(text: &[u8], ignores_dot: bool, max: u64) -> Result<(Vec<u8>, Vec<u8>, bool), Failed> {
        let spool = Spool::read(&mut &*text, ignores_dot, max)?;
        let header = spool.header.clone();
        let mut content = spool.with_header(Vec::new());
        content.rewind().unwrap();
        let (mut all, mut buffer) = (Vec::new(), [0; 7]);
        loop {
            match content.read(&mut buffer).unwrap() {
                0 => break,
                octets => all.extend_from_slice(&buffer[..octets]),
            }
        }
        assert_eq!(all.len() as u64, content.octets);
        Ok((header, all[2..].to_vec(), content.is_eight_bit))
    }

    #[test]
    fn a_lone_dot_ends_the_message_unless_it_is_ignored() {
        let text = b"Subject: x\n\na\n..\n.b\n.\nc";
        let (header, body, _) = spool(text, false, 1000).unwrap();
        assert_eq!(header, b"Subject: x\r\n");
        assert_eq!(body, b"a\r\n..\r\n.b\r\n");
        assert_eq!(spool(text, true, 1000).unwrap().1, b"a\r\n..\r\n.b\r\n.\r\nc\r\n");
        assert_eq!(spool(b"Subject: x\n.\nTo: y\n", false, 1000).unwrap().1, b"");
        // A dot at the start of a piece of a long line ends nothing.
        let long = [b"\n", &vec![b'x'; PIECE_OCTETS][..], b".\nend\n"].concat();
        assert!(spool(&long, false, 1 << 20).unwrap().1.ends_with(b"x.\r\nend\r\n"));
    }

    #[test]
    fn headers_are_told_from_bodies() {
        let read = |text: &str| spool(text.as_bytes(), true, 1000).unwrap();
        for (text, header, body) in [
            ("A: b\n c\nD : e\r\n\nf", "A: b\r\n c\r\nD : e\r\n", "f\r\n"),
            ("From a@b Mon\nA: b\n\nf", "A: b\r\n", "f\r\n"),
            ("no header: at all\nx", "", "no header: at all\r\nx\r\n"),
            ("A: b\nbody at once", "A: b\r\n", "body at once\r\n"),
            (" A: b\n", "", " A: b\r\n"),
            ("", "", ""),
        ] {
            assert_eq!(read(text), (header.into(), body.into(), false), "{text:?}");
        }
        assert!(read("A: \u{e9}\n\n").2 && read("A: e\n\n\u{e9}").2);
    }

    #[test]
    fn sizes_are_bounded() {
        let text = b"A: b\n\n12345";
        assert!(spool(text, true, 10).is_ok());
        assert_eq!(spool(text, true, 9).err().unwrap().code, Code::Data);
        let header = |octets: usize| [b"A: ", &vec![b'x'; octets - 4][..], b"\n\n"].concat();
        assert!(spool(&header(HEADER_OCTETS_MAX), true, 1 << 30).is_ok());
        assert_eq!(spool(&header(HEADER_OCTETS_MAX + 1), true, 1 << 30).err().unwrap().code, Code::Data);
    }

    fn prepared(head: &str, order: Order, config: &Config) -> Result<(String, String, String), Failed> {
        let caller = Caller {
            user: "anna".into(),
            domain: Domain::parse("host.example").unwrap(),
            date: "Thu, 1 Jan 1970 00:00:00 +0000".into(),
            unique: "u1".into(),
        };
        let head = head.replace('\n', "\r\n");
        let found = prepare(head.as_bytes(), &order, config, &caller)?;
        let recipients: Vec<String> = found.recipients.iter().map(ToString::to_string).collect();
        Ok((found.sender.to_string(), recipients.join(" "), String::from_utf8(found.header).unwrap()))
    }

    fn with(text: &str) -> Config {
        Config::parse(text, std::path::Path::new("s.toml")).unwrap()
    }

    #[test]
    fn what_is_missing_is_added_and_bcc_never_sent() {
        let order = Order { from_header: true, full_name: Some("A, B".into()), ..Order::default() };
        let head = "To: a@x.example, \"b b\"@x.example\nCc: G: c@x.example, A@X.example;, a@x.example\nBcc: d@x.example,\n e\nReturn-Path: <z@z.example>\n";
        let (sender, recipients, header) = prepared(head, order.clone(), &Config::default()).unwrap();
        assert_eq!(sender, "<anna@host.example>");
        assert_eq!(
            recipients,
            "a@x.example \"b b\"@x.example c@x.example A@x.example d@x.example e@host.example"
        );
        let (kept, added) = head.split_once("Bcc").unwrap();
        assert!(added.contains("d@x.example"));
        assert_eq!(
            header,
            format!(
                "{}From: \"A, B\" <anna@host.example>\r\nDate: Thu, 1 Jan 1970 00:00:00 +0000\r\nMessage-ID: \
                 <u1@host.example>\r\n",
                kept.replace('\n', "\r\n")
            )
        );
        let whole = "From: me <me@x.example>\nDate: x\nMessage-ID: <y@z>\nTo: a@x.example\n";
        let (_, _, header) = prepared(whole, order, &with("requiretls = \"no\"")).unwrap();
        assert_eq!(header, format!("{whole}TLS-Required: No\n").replace('\n', "\r\n"));
    }

    #[test]
    fn senders_and_recipients_are_those_that_were_asked_for() {
        let from = |sender: &str| Order { sender: Some(sender.into()), ..Order::default() };
        let to = |order: Order, addresses: &[&str]| Order {
            addresses: addresses.iter().map(|one| (*one).to_owned()).collect(),
            ..order
        };
        let none = Config::default();
        let own = with("from = \"own@x.example\"\ndefault_recipient = \"root@x.example\"");
        let table = [
            (from("b@y.example"), &none, "<b@y.example>", "t@x.example bob@host.example"),
            (from("b"), &none, "<b@host.example>", "t@x.example bob@host.example"),
            (from("<>"), &none, "<>", "t@x.example bob@host.example"),
            (from(""), &own, "<>", "t@x.example root@x.example"),
            (from("b@y.example"), &own, "<own@x.example>", "t@x.example root@x.example"),
        ];
        for (order, config, sender, recipients) in table {
            let found =
                prepared("From: Bo B <z@z>\n", to(order, &["t@x.example,bob", "bob"]), config).unwrap();
            assert_eq!((found.0.as_str(), found.1.as_str()), (sender, recipients));
            let author =
                if config.from.is_some() { "From: Bo B <own@x.example>\r\n" } else { "From: Bo B <z@z>\r\n" };
            assert!(found.2.contains(author), "{}", found.2);
        }
        let resent = Order { from_header: true, ..Order::default() };
        let head = "To: a@x.example\nResent-To: b@x.example\nResent-Bcc: c@x.example\n";
        let found = prepared(head, to(resent.clone(), &["d@x.example"]), &none).unwrap();
        assert_eq!(found.1, "d@x.example b@x.example c@x.example");
        assert!(!found.2.contains("c@x.example"));
        for (order, head, code) in [
            (Order::default(), "To: a@x.example\n", Code::Usage),
            (resent.clone(), "Subject: x\n", Code::Data),
            (resent.clone(), "To: undisclosed-recipients:;\n", Code::Data),
            (resent.clone(), "To: a@-\n", Code::Data),
            (resent.clone(), "To: a@x.example b@x.example\n", Code::Data),
            (resent.clone(), "To: a@x.example\nCc: b@@x.example\n", Code::Data),
            (to(Order::default(), &["-x"]), "", Code::Data),
            (to(from("a@x.example, b@x.example"), &["a@x.example"]), "", Code::Usage),
        ] {
            assert_eq!(prepared(head, order.clone(), &none).unwrap_err().code, code, "{order:?} {head}");
        }
    }

    #[test]
    fn recipients_are_bounded() {
        let order = |count: usize| Order {
            addresses: (0..count).map(|at| format!("{at}@x.example")).collect(),
            ..Order::default()
        };
        assert!(prepared("", order(RECIPIENTS_MAX), &Config::default()).is_ok());
        let failed = prepared("", order(RECIPIENTS_MAX + 1), &Config::default()).unwrap_err();
        assert_eq!(failed.code, Code::Data);
    }
}
