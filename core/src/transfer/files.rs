//! Names of mailboxes as names of files.
//!
//! A Maildir++ folder is `.` and the parts of the name with `.` between them. What would be mistaken
//! (`.`, `%`, `&`, `/`) is written as `%` and two hexadecimal digits; `&` because other programs write
//! modified UTF-7, which is read, too.

use std::fmt::Write as _;

use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::imap::utf7;
use postrider_storage::ids::MailboxId;

/// The longest name, below what file systems allow, with room for an extension.
const NAME_OCTETS_MAX: usize = 200;

/// The name of a mailbox's file, without a leading dot.
pub(super) fn encode(name: &MailboxName, id: MailboxId) -> String {
    let mut file = String::new();
    for c in name.as_str().chars() {
        match c {
            MailboxName::SEPARATOR => file.push('.'),
            // Writing into a text can't fail.
            '.' | '%' | '&' => drop(write!(file, "%{:02X}", u32::from(c))),
            other => file.push(other),
        }
    }
    if file.len() > NAME_OCTETS_MAX {
        file.truncate(file.floor_char_boundary(NAME_OCTETS_MAX));
        let _ = write!(file, "~{id}");
    }
    file
}

/// The mailbox that a folder's name, without its leading dot, stands for; none when it can't be one.
pub(super) fn decode(file: &str, below: &MailboxName) -> Option<MailboxName> {
    let foreign = if file.contains('&') { utf7::decode(file.as_bytes()) } else { None };
    let name = match foreign {
        Some(name) => name.replace('.', "/"),
        None => {
            let parts: Option<Vec<String>> = file.split('.').map(unescape).collect();
            parts?.join("/")
        }
    };
    let name = if below.is_inbox() { name } else { format!("{below}/{name}") };
    MailboxName::new(&name).ok()
}

fn unescape(part: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped =
            digits.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escaped {
            // A separator in a part would make another mailbox of it.
            Some(b'/') => return None,
            Some(octet) => {
                octets.push(octet);
                rest = after.get(2..).unwrap_or_default();
            }
            None => octets.push(*first),
        }
    }
    String::from_utf8(octets).ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn names_come_back() {
        let inbox = MailboxName::inbox();
        let id = MailboxId::new(7).unwrap();
        for name in ["Sent", "A/B", "v1.2/x", "50%", "R&D", "Entw\u{fc}rfe", "a b/\u{65e5}\u{672c}"] {
            let name = MailboxName::new(name).unwrap();
            let file = encode(&name, id);
            assert!(!file.contains('/'), "{file}");
            assert_eq!(decode(&file, &inbox), Some(name), "{file}");
        }
        assert_eq!(decode("Entw&APw-rfe.x", &inbox), MailboxName::new("Entw\u{fc}rfe/x").ok());
        assert_eq!(decode("x", &MailboxName::new("Old").unwrap()), MailboxName::new("Old/x").ok());
        assert_eq!(decode("a%2Fb", &inbox), None);
        assert_eq!(decode("a..b", &inbox), None);
    }

    #[test]
    fn long_names_are_cut_and_stay_different() {
        let id = |number| MailboxId::new(number).unwrap();
        let name = |count| MailboxName::new(&"\u{e4}".repeat(count)).unwrap();
        assert_eq!(encode(&name(NAME_OCTETS_MAX / 2), id(1)).len(), NAME_OCTETS_MAX);
        let (one, two) = (encode(&name(NAME_OCTETS_MAX / 2 + 1), id(1)), encode(&name(250), id(2)));
        assert!(one.len() < 255 && one != two && one.ends_with("~1"));
    }
}
