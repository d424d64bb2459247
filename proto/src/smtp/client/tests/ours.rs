//! The client against our own server's session, without a network: what arrives is what was sent.

use std::time::Instant;

use super::*;
use crate::address::Domain;
use crate::smtp::Limits;
use crate::smtp::client::content::{ContentWriter, Transfer};
use crate::smtp::reply::Reply as ServerReply;
use crate::smtp::server;

struct Server {
    session: server::Session,
    now: Instant,
    content: Vec<u8>,
    delivered: Vec<(Envelope, Vec<u8>)>,
    /// What it said and the client did not read.
    said: Vec<u8>,
    is_closed: bool,
    starts_tls: bool,
}

impl Server {
    fn new(recipients_max: usize) -> Self {
        let now = Instant::now();
        let settings = server::Settings {
            hostname: Domain::parse("mx.them.example").unwrap(),
            role: server::Role::Incoming,
            limits: Limits { recipients_max, ..Limits::DEFAULT },
            tls: server::TlsOffer::Optional,
            requiretls: server::RequireTls::Offered,
            clear_auth: server::ClearAuth::Refused,
            mechanisms: Vec::new(),
        };
        let session = server::Session::new(Arc::new(settings), Channel::Clear, now, 1_795_380_000);
        let (content, delivered, said) = (Vec::new(), Vec::new(), Vec::new());
        let mut server = Self { session, now, content, delivered, said, is_closed: false, starts_tls: false };
        server.pump();
        server
    }

    fn hear(&mut self, octets: &[u8], cut: usize) {
        for piece in octets.chunks(cut) {
            self.session.receive(piece, self.now);
            self.pump();
        }
    }

    fn pump(&mut self) {
        while let Some(action) = self.session.poll() {
            match action {
                server::Action::Send(reply) => reply.encode(Some("ref"), &mut self.said),
                server::Action::Ask(question) => self.answer(question),
                server::Action::Discard => self.content.clear(),
                server::Action::StartTls => self.starts_tls = true,
                server::Action::Close => self.is_closed = true,
                server::Action::Pause(_) | server::Action::SetPace(_) => {}
            }
            self.take();
        }
        self.session.flushed(self.now);
        self.take();
    }

    fn take(&mut self) {
        let mut taken = self.session.take_content(Vec::new(), self.now);
        self.content.append(&mut taken);
    }

    fn answer(&mut self, question: server::Question) {
        let answer = match question {
            server::Question::Content => {
                self.content.clear();
                server::Answer::Proceed
            }
            server::Question::Recipient(path) if path.to_string().starts_with("nobody") => {
                server::Answer::Refuse(ServerReply::NO_SUCH_USER)
            }
            server::Question::Recipient(_) => server::Answer::Recipient(0),
            server::Question::Deliver { envelope, .. } => {
                self.take();
                self.delivered.push((*envelope, std::mem::take(&mut self.content)));
                server::Answer::Delivered(ServerReply::DELIVERED)
            }
            _ => server::Answer::Proceed,
        };
        self.session.answer(answer, self.now);
    }
}

/// Sends all messages, those for whom there was no room in further transactions, and gives the server.
fn converse(messages: &[(Envelope, Vec<u8>)], recipients_max: usize, cut: usize) -> (Server, Vec<Finished>) {
    let mut server = Server::new(recipients_max);
    let mut client = Client::new(settings(), None);
    let mut waiting: VecDeque<(Envelope, Vec<u8>)> = messages.to_vec().into();
    let mut current: Option<(Envelope, Vec<u8>)> = None;
    let mut at = 0_usize;
    let mut finished = Vec::new();
    loop {
        match client.next_action() {
            Action::Send { octets, .. } => server.hear(&octets, cut),
            Action::Read { .. } => {
                assert!(!server.said.is_empty(), "both wait for each other: {client:?}");
                let octets = cut.min(server.said.len());
                let piece: Vec<u8> = server.said.drain(..octets).collect();
                client.receive(&piece);
            }
            Action::StartTls => {
                assert!(std::mem::take(&mut server.starts_tls));
                server.session.started_tls(server.now);
                client.started_tls(binding());
            }
            Action::Content => {
                let (_, content) = current.as_ref().unwrap();
                let piece = &content[at..content.len().min(at.saturating_add(cut))];
                at += piece.len();
                if piece.is_empty() { client.content_end() } else { client.content(piece) }
            }
            Action::Ready => match waiting.pop_front() {
                Some(message) => {
                    at = 0;
                    client.begin(message.0.clone()).unwrap();
                    current = Some(message);
                }
                None => client.quit(),
            },
            Action::Done(message) => {
                let (mut envelope, content) = current.take().unwrap();
                let mut outcomes = message.outcomes.iter();
                envelope.recipients.retain(|_| matches!(outcomes.next(), Some(Outcome::NextTransaction)));
                if !envelope.recipients.is_empty() {
                    waiting.push_front((envelope, content));
                }
                finished.push(message);
            }
            Action::Close(end) => {
                assert_eq!(end, End::Quit);
                assert!(server.is_closed);
                return (server, finished);
            }
        }
    }
}

fn canonical(content: &[u8]) -> Vec<u8> {
    let mut writer = ContentWriter::new(Transfer::Chunks);
    let mut out = Vec::new();
    writer.push(content, &mut out);
    writer.end(&mut out);
    out
}

#[test]
fn what_arrives_is_what_was_sent() {
    let units: [&[u8]; 9] =
        [b"\r\n", b"\n", b"\r", b".", b"\r\n.\r\n", b"\n.\n", b"some words", b"\xc3\xbc\0", b"\r\n..x\r\n"];
    for seed in 1..200_u64 {
        let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut messages = Vec::new();
        for _ in 0..3 {
            let mut content = b"From: a@us.example\r\n\r\n".to_vec();
            let length = chance.pick(&[10, 300, 3000]);
            (0..chance.below(length)).for_each(|_| content.extend_from_slice(chance.pick(&units)));
            content.extend_from_slice(&b"0123456789\r\n".repeat(chance.pick(&[0, 10, 8000])));
            let mut envelope = envelope(&["b", "c", "d", "e", "f"][..1 + chance.below(5)]);
            envelope.declared_octets = (chance.below(3) > 0).then_some(content.len() as u64);
            envelope.body =
                chance.pick(&[BodyType::EightBitMime, BodyType::EightBitMime, BodyType::BinaryMime]);
            envelope.requiretls = chance.below(4) == 0;
            messages.push((envelope, content));
        }
        let cut = chance.pick(&[7, 100, 5000, usize::MAX]);
        let (server, finished) = converse(&messages, usize::MAX, cut);
        assert_eq!(server.delivered.len(), messages.len(), "seed {seed}");
        for (((sent, content), (arrived, stored)), message) in
            messages.iter().zip(&server.delivered).zip(&finished)
        {
            let expected =
                if sent.body == BodyType::BinaryMime { content.clone() } else { canonical(content) };
            assert!(expected == *stored, "seed {seed}");
            assert_eq!((arrived.body, arrived.requiretls), (sent.body, sent.requiretls));
            let paths = |envelope: &Envelope| -> Vec<String> {
                envelope.recipients.iter().map(|recipient| recipient.path.to_string()).collect()
            };
            assert_eq!(paths(sent), paths(arrived));
            assert!(message.outcomes.iter().all(|outcome| matches!(outcome, Outcome::Delivered(_))));
        }
    }
}

#[test]
fn recipients_beyond_the_limit_of_the_server_get_the_message_too() {
    for (count, recipients_max, transactions) in [(5, 2, 3), (6, 2, 3), (2, 2, 1), (250, 100, 3)] {
        let names: Vec<String> = (0..count).map(|number| format!("r{number}")).collect();
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        names[0] = "nobody";
        let content = b"From: a@us.example\r\n\r\nx\r\n".to_vec();
        let (server, finished) = converse(&[(envelope(&names), content)], recipients_max, 1000);
        let arrived: usize = server.delivered.iter().map(|(envelope, _)| envelope.recipients.len()).sum();
        assert_eq!(arrived, count - 1);
        assert!(finished.len() >= transactions && finished.len() <= transactions + 1, "{}", finished.len());
    }
}
