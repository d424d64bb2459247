//! Random command sequences against a reference model of the state machine, small enough to be checked by
//! eye. It knows no limits, no timing and no cutting: only which code comes in which state.

use super::*;

/// What a client may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Move {
    Ehlo,
    Helo,
    BadHelo,
    Mail,
    NullMail,
    BadMail,
    RefusedMail,
    BinaryMail,
    Rcpt,
    RefusedRcpt,
    BadRcpt,
    Data(Text),
    Chunk(Text, bool),
    BadChunk,
    Rset,
    Noop,
    Vrfy,
    Unknown,
    NotUtf8,
    BareLf,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Text {
    Good,
    Empty,
    BareCr,
    /// Refused when it is delivered.
    Unwanted,
    TooBig,
}

const TEXTS: [Text; 5] = [Text::Good, Text::Empty, Text::BareCr, Text::Unwanted, Text::TooBig];
const MOVES: [Move; 18] = [
    Move::Ehlo,
    Move::Helo,
    Move::BadHelo,
    Move::Mail,
    Move::Mail,
    Move::NullMail,
    Move::BadMail,
    Move::RefusedMail,
    Move::BinaryMail,
    Move::Rcpt,
    Move::Rcpt,
    Move::RefusedRcpt,
    Move::BadRcpt,
    Move::Rset,
    Move::Noop,
    Move::Vrfy,
    Move::Unknown,
    Move::NotUtf8,
];

impl Text {
    fn octets(self) -> Vec<u8> {
        match self {
            Self::Good => b"a: b\r\n\r\ngood\r\n".to_vec(),
            Self::Empty => Vec::new(),
            Self::BareCr => b"a: b\r\n\r\nNOOP\rRSET\r\nQUIT\r\n".to_vec(),
            Self::Unwanted => b"unwanted\r\n".to_vec(),
            Self::TooBig => b"QUIT\r\n".repeat(400),
        }
    }
}

impl Move {
    fn octets(self) -> Vec<u8> {
        match self {
            Self::Ehlo => b"EHLO x\r\n".to_vec(),
            Self::Helo => b"HELO x\r\n".to_vec(),
            Self::BadHelo => b"EHLO ;\r\n".to_vec(),
            Self::Mail => b"MAIL FROM:<a@b>\r\n".to_vec(),
            Self::NullMail => b"MAIL FROM:<>\r\n".to_vec(),
            Self::BadMail => b"MAIL FROM:<a\r\n".to_vec(),
            Self::RefusedMail => b"MAIL FROM:<nobody@b>\r\n".to_vec(),
            Self::BinaryMail => b"MAIL FROM:<a@b> BODY=BINARYMIME\r\n".to_vec(),
            Self::Rcpt => b"RCPT TO:<c@d>\r\n".to_vec(),
            Self::RefusedRcpt => b"RCPT TO:<nobody@d>\r\n".to_vec(),
            Self::BadRcpt => b"RCPT TO:<c@d> X=Y\r\n".to_vec(),
            Self::Data(_) => b"DATA\r\n".to_vec(),
            Self::Chunk(text, last) => {
                let octets = text.octets();
                let last = if last { " LAST" } else { "" };
                [format!("BDAT {}{last}\r\n", octets.len()).as_bytes(), &octets].concat()
            }
            Self::BadChunk => b"BDAT LAST\r\n".to_vec(),
            Self::Rset => b"RSET\r\n".to_vec(),
            Self::Noop => b"NOOP\r\n".to_vec(),
            Self::Vrfy => b"VRFY x\r\n".to_vec(),
            Self::Unknown => b"BLURB\r\n".to_vec(),
            Self::NotUtf8 => b"NOOP \xff\r\n".to_vec(),
            Self::BareLf => b"RSET\n".to_vec(),
        }
    }
}

/// The reference.
#[derive(Default)]
struct Model {
    hello: bool,
    mail: Option<Transaction>,
    delivered: Vec<(usize, Vec<u8>)>,
}

#[derive(Clone, Default)]
struct Transaction {
    null: bool,
    binary: bool,
    recipients: usize,
    chunks: Option<Vec<u8>>,
}

impl Model {
    fn code(&mut self, this: Move) -> u16 {
        match this {
            Move::Ehlo | Move::Helo => {
                (self.hello, self.mail) = (true, None);
                250
            }
            Move::BadHelo | Move::BadMail | Move::NotUtf8 => 501,
            Move::BadRcpt => 555,
            Move::Unknown | Move::BareLf => 500,
            Move::Rset => {
                self.mail = None;
                250
            }
            Move::Noop => 250,
            Move::Vrfy => 252,
            Move::BadChunk => {
                self.mail = None;
                501
            }
            _ if !self.hello => {
                self.mail = None;
                503
            }
            Move::Mail | Move::NullMail | Move::BinaryMail | Move::RefusedMail if self.mail.is_some() => 503,
            Move::RefusedMail => 550,
            Move::Mail | Move::NullMail | Move::BinaryMail => {
                let (null, binary) = (this == Move::NullMail, this == Move::BinaryMail);
                self.mail = Some(Transaction { null, binary, ..Transaction::default() });
                250
            }
            Move::Rcpt | Move::RefusedRcpt => match &mut self.mail {
                Some(mail) if mail.chunks.is_some() => 503,
                Some(mail) if mail.null && mail.recipients > 0 => 452,
                Some(_) if this == Move::RefusedRcpt => 550,
                Some(mail) => {
                    mail.recipients += 1;
                    250
                }
                None => 503,
            },
            Move::Data(text) => match self.mail.take() {
                Some(mail) if mail.chunks.is_none() && !mail.binary && mail.recipients > 0 => {
                    self.end(&mail, text.octets(), text)
                }
                mail => {
                    self.mail = mail;
                    503
                }
            },
            Move::Chunk(text, last) => self.chunk(text, last),
        }
    }

    fn chunk(&mut self, text: Text, last: bool) -> u16 {
        let Some(mut mail) = self.mail.take().filter(|mail| mail.recipients > 0) else { return 503 };
        let mut content = mail.chunks.take().unwrap_or_default();
        content.extend(text.octets());
        if content.len() > 2000 {
            return 552;
        }
        if text == Text::BareCr && !mail.binary {
            return 500;
        }
        if last {
            return self.end(&mail, content, text);
        }
        self.mail = Some(Transaction { chunks: Some(content), ..mail });
        250
    }

    fn end(&mut self, mail: &Transaction, content: Vec<u8>, text: Text) -> u16 {
        match text {
            Text::BareCr if !mail.binary => 500,
            Text::TooBig => 552,
            _ if content.starts_with(b"unwanted") => 451,
            _ => {
                self.delivered.push((mail.recipients, content));
                250
            }
        }
    }
}

fn driver() -> Driver {
    let mut settings = settings(Role::Incoming);
    settings.limits.message_octets_max = 2000;
    settings.limits.strikes_max = u32::MAX;
    settings.limits.refused_recipients_max = u32::MAX;
    settings.limits.failed_transactions_max = u32::MAX;
    let mut driver = Driver::with_policy(settings, Channel::Clear, move |question, session| match question {
        Question::Sender(path) if path.to_string().starts_with("<nobody") => {
            Answer::Refuse(Reply::NO_SUCH_USER)
        }
        other => kind(other, session),
    });
    driver.transcript.clear();
    driver
}

fn codes(driver: &Driver) -> Vec<u16> {
    let last_lines = driver.transcript.iter().filter(|line| line.as_bytes()[3] == b' ');
    last_lines.map(|line| line[..3].parse().unwrap()).filter(|code| *code != 354).collect()
}

#[test]
fn random_conversations_follow_the_model() {
    for seed in 1..=400_u64 {
        let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (mut driver, mut model) = (driver(), Model::default());
        let mut expected = vec![model.code(Move::Noop)];
        driver.feed(&Move::Noop.octets());
        let mut moves = Vec::new();
        for _ in 0..60 {
            let this = match chance.below(10) {
                0 | 1 => Move::Data(chance.pick(&TEXTS)),
                2 | 3 => Move::Chunk(chance.pick(&TEXTS), chance.below(2) == 0),
                4 => chance.pick(&[Move::BadChunk, Move::BareLf]),
                _ => chance.pick(&MOVES),
            };
            moves.push(this);
            expected.push(model.code(this));
            driver.feed(&this.octets());
            // Content is sent by a client only when it is asked for.
            if let Move::Data(text) = this
                && driver.transcript.last().unwrap().starts_with("354")
            {
                driver.feed(&[&text.octets()[..], b".\r\n"].concat());
            }
            assert_eq!(codes(&driver), expected, "seed {seed}: {moves:?}");
        }
        let delivered = driver
            .delivered
            .iter()
            .map(|message| (message.envelope.recipients.len(), message.content.clone()));
        assert_eq!(delivered.collect::<Vec<_>>(), model.delivered, "seed {seed}");
    }
}
