//! The messages of a run: their whole content follows from their number, so it need not be kept.

use std::fmt::Write as _;

use super::random::Random;

/// Tells one message of a run from all others.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Token(u64);

/// Behind the number in a Message-ID.
const DOMAIN: &str = "@crash.example>";

impl Token {
    /// The message with this number, of this client, in this round.
    pub fn new(round: u64, client: u64, number: u64) -> Self {
        Self((round << 32) | (client << 24) | number)
    }

    /// The client that made it.
    pub fn client(self) -> usize {
        usize::from((self.0 >> 24) as u8)
    }

    /// Which of so many workers it belongs to, when it was delivered by SMTP.
    pub fn share(self, workers: usize) -> usize {
        Random::new(self.0).index(workers)
    }

    /// The message.
    pub fn content(self) -> Vec<u8> {
        let mut random = Random::new(self.0);
        let octets = match random.below(100) {
            0..60 => random.between(200, 4000),
            60..92 => random.between(4000, 40_000),
            _ => random.between(40_000, 300_000),
        };
        let mut text = format!(
            "From: crash@example.org\r\nTo: user@localhost\r\nSubject: crash\r\nMessage-ID: <{:016x}{DOMAIN}\r\n\r\n",
            self.0
        );
        while (text.len() as u64) < octets {
            for _ in 0..4 {
                // Writing to a String can't fail.
                let _ = write!(text, "{:016x}", random.next());
            }
            text.push_str("\r\n");
        }
        text.into_bytes()
    }

    /// The message that a text with a Message-ID speaks of.
    pub fn find(text: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(text);
        let end = text.find(DOMAIN)?;
        u64::from_str_radix(text.get(end.checked_sub(16)?..end)?, 16).ok().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_itself() {
        for number in 0..50 {
            let token = Token::new(3, 2, number);
            assert_eq!(Token::find(&token.content()), Some(token));
            assert_eq!(token.content(), token.content());
        }
        assert_eq!(Token::find(b"Message-ID: <other@example.org>"), None);
    }
}
