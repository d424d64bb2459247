//! Replies that a local instance gives on demand, so that senders can try how they cope.
//!
//! A localpart that ends in `temperror`, `permerror`, `timeout` or the three digits of a refusal (400 to
//! 459, 500 to 559: RFC 5321 §4.2.1 has no others) is answered so: with the prefix `mailfrom` at MAIL, with `rcptto` at RCPT, else after the content.

use postrider_proto::smtp::Reply;
use postrider_proto::smtp::reply::Class;

/// When an address wants its reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// At MAIL.
    Sender,
    /// At RCPT.
    Recipient,
    /// After the content.
    Content,
}

/// What an address wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wish {
    /// This refusal.
    Reply(Reply),
    /// No answer for an hour.
    Silence,
}

/// What the localpart of an address wants, and when.
pub fn wish(localpart: &str) -> Option<(Stage, Wish)> {
    let localpart = localpart.to_ascii_lowercase();
    let stage = if localpart.starts_with("mailfrom") {
        Stage::Sender
    } else if localpart.starts_with("rcptto") {
        Stage::Recipient
    } else {
        Stage::Content
    };
    let digits = localpart.len().checked_sub(3).and_then(|at| localpart.get(at..));
    let wish = if localpart.ends_with("temperror") {
        Wish::Reply(Reply::LOCAL_ERROR)
    } else if localpart.ends_with("permerror") {
        Wish::Reply(Reply::NO_SUCH_USER)
    } else if localpart.ends_with("timeout") {
        Wish::Silence
    } else {
        let code = digits.filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?.parse::<u16>().ok()?;
        Wish::Reply(reply_of(code, "as you wish")?)
    };
    Some((stage, wish))
}

/// A refusal with this code; none when it isn't the code of a refusal (RFC 5321 §4.2.1).
pub fn reply_of(code: u16, text: &'static str) -> Option<Reply> {
    let class = match code / 100 {
        4 => Class::Transient,
        5 => Class::Permanent,
        _ => return None,
    };
    let basic = u8::try_from(code % 100).ok().filter(|basic| *basic < 60)?;
    Some(Reply::new(class, basic, (0, 0), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_ask_for_their_replies() {
        let code = |localpart| match wish(localpart) {
            Some((stage, Wish::Reply(reply))) => Some((stage, reply.code())),
            _ => None,
        };
        assert_eq!(code("mailfromtemperror"), Some((Stage::Sender, 451)));
        assert_eq!(code("rcptto.permerror"), Some((Stage::Recipient, 550)));
        assert_eq!(code("X-452"), Some((Stage::Content, 452)));
        assert_eq!(wish("rcpttotimeout"), Some((Stage::Recipient, Wish::Silence)));
        for other in ["user", "x-250", "x-399", "x-600", "55", "", "\u{e9}50"] {
            assert_eq!(wish(other), None, "{other}");
        }
    }
}
