//! Tests of the client, through a driver as a runtime would have it, against servers that follow a script.
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod auth;
mod content;
mod dialogs;
mod fuzz;
mod ours;
mod replies;
mod trouble;

use std::collections::VecDeque;

use super::*;
use crate::address::{ForwardPath, ReversePath};
use crate::sasl::Secret;
use crate::smtp::envelope::{BodyType, Envelope, Recipient};

/// An envelope from `<a@us.example>` for `recipients`, each at `them.example`.
pub(super) fn envelope(recipients: &[&str]) -> Envelope {
    let mut envelope = Envelope::new(ReversePath::parse("<a@us.example>").unwrap());
    envelope.recipients = recipients
        .iter()
        .map(|name| Recipient {
            path: ForwardPath::parse(&format!("<{name}@them.example>")).unwrap(),
            notify: None,
            original: None,
            token: 0,
        })
        .collect();
    envelope
}

pub(super) fn settings() -> Settings {
    Settings {
        name: HeloName::parse("us.example").unwrap(),
        starttls: StartTls::IfOffered,
        authentication: None,
    }
}

pub(super) fn binding() -> ChannelBinding {
    ChannelBinding { exporter: Some(Secret::new(vec![7; 32])), unique: None }
}

/// A server that follows a script of lines: `S: ` it says, `C: ` it waits for, `TLS` a handshake, `EOF` it closes,
/// `LATE` it says nothing any more. Lines of content are like commands.
pub(super) struct Script {
    lines: VecDeque<String>,
    /// What it says next.
    says: VecDeque<u8>,
    /// What came from the client and was not looked at.
    heard: Vec<u8>,
}

impl Script {
    pub(super) fn new(text: &str) -> Self {
        let lines = text.lines().map(|line| line.trim_start().to_owned());
        let lines = lines.filter(|line| !line.is_empty()).collect();
        Self { lines, says: VecDeque::new(), heard: Vec::new() }
    }

    /// What a read brings; an empty piece is the end.
    fn read(&mut self, cut: usize) -> Result<Vec<u8>, Broken> {
        while self.says.is_empty() {
            let Some(line) = self.lines.front() else { return Err(Broken::Closed) };
            if let Some(expected) = line.strip_prefix("C: ").or_else(|| line.strip_prefix("C:")) {
                let expected = format!("{expected}\r\n");
                let shown = self.heard.escape_ascii().to_string();
                assert!(
                    self.heard.starts_with(expected.as_bytes()),
                    "{expected:?} is not the start of {shown}"
                );
                self.heard.drain(..expected.len());
                self.lines.pop_front();
            } else if line.starts_with("S: ") {
                while let Some(said) = self.lines.front().and_then(|line| line.strip_prefix("S: ")) {
                    self.says.extend(said.replace("\\n", "\n").bytes());
                    self.says.extend(b"\r\n");
                    self.lines.pop_front();
                }
            } else {
                let reason = if line == "LATE" { Broken::TimedOut } else { Broken::Closed };
                assert!(matches!(&**line, "LATE" | "EOF"), "{line} is not what was expected");
                self.lines.pop_front();
                return Err(reason);
            }
        }
        let octets = cut.min(self.says.len());
        Ok(self.says.drain(..octets).collect())
    }

    fn handshake(&mut self) {
        assert_eq!(self.lines.pop_front().as_deref(), Some("TLS"));
    }

    /// Looks at what the client said last, after which the script must be at its end. What the client didn't stay
    /// to hear doesn't matter.
    fn finish(mut self) {
        self.says.clear();
        while self.lines.front().is_some_and(|line| line.starts_with("S: ")) {
            self.lines.pop_front();
        }
        assert_eq!(self.read(1), Err(Broken::Closed));
        assert!(self.lines.is_empty(), "{:?} did not come", self.lines);
        assert!(self.heard.is_empty(), "{} was said too", self.heard.escape_ascii());
    }
}

/// What came of a conversation.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Ended {
    pub(super) finished: Vec<Finished>,
    pub(super) unsendable: Vec<Unsendable>,
    pub(super) end: End,
    /// What was sent of each kind, in order, without repetitions: for timeouts.
    pub(super) waits: Vec<Wait>,
}

/// Leads a conversation as a runtime would, reads giving `cut` octets at most, and content coming in pieces of
/// so many.
pub(super) fn drive(
    mut client: Client,
    script: &str,
    messages: &[(Envelope, &[u8])],
    cut: usize,
) -> (Ended, Client) {
    let mut server = Script::new(script);
    let (mut finished, mut unsendable, mut waits) = (Vec::new(), Vec::new(), Vec::new());
    let mut waiting = messages.iter();
    let mut content: Option<std::slice::Chunks<'_, u8>> = None;
    loop {
        match client.next_action() {
            Action::Send { octets, wait } => {
                assert!(!octets.is_empty());
                waits.push(wait);
                server.heard.extend_from_slice(&octets);
                client.reuse(octets);
            }
            Action::Read { wait } => {
                waits.push(wait);
                match server.read(cut) {
                    Ok(octets) => client.receive(&octets),
                    Err(reason) => client.broken(reason),
                }
            }
            Action::StartTls => {
                server.handshake();
                client.started_tls(binding());
            }
            Action::Content => match content.as_mut().and_then(Iterator::next) {
                Some(piece) => client.content(piece),
                None => client.content_end(),
            },
            Action::Ready => match waiting.next() {
                Some((envelope, octets)) => {
                    content = Some(octets.chunks(cut));
                    unsendable.extend(client.begin(envelope.clone()).err());
                }
                None => client.quit(),
            },
            Action::Done(message) => finished.push(message),
            Action::Close(end) => {
                server.finish();
                waits.dedup();
                return (Ended { finished, unsendable, end, waits }, client);
            }
        }
    }
}

/// What came of each recipient, in short.
pub(super) fn outcomes(finished: &Finished) -> Vec<String> {
    let outcome = |outcome: &Outcome| match outcome {
        Outcome::Delivered(reply) => format!("delivered: {reply}"),
        Outcome::Refused { stage, reply } => {
            let kind = if outcome.is_permanent() { "refused" } else { "deferred" };
            format!("{kind} at {stage:?}: {reply}")
        }
        Outcome::NextTransaction => "next".to_owned(),
        Outcome::Broken { stage, reason, said: None } => format!("broken at {stage:?}: {reason:?}"),
        Outcome::Broken { stage, reason, said: Some(said) } => {
            format!("broken at {stage:?}: {reason:?}, {said}")
        }
    };
    finished.outcomes.iter().map(outcome).collect()
}

/// Runs a script with reads of several sizes, each of which must end in the same way.
pub(super) fn run(settings: &Settings, script: &str, messages: &[(Envelope, &[u8])]) -> Ended {
    let whole = drive(Client::new(settings.clone(), None), script, messages, usize::MAX).0;
    for cut in [1, 2, 3, 5, 8, 13, 50] {
        let mut ended = drive(Client::new(settings.clone(), None), script, messages, cut).0;
        // How often content is sent depends on how it comes.
        ended.waits.clone_from(&whole.waits);
        assert_eq!(ended, whole, "pieces of {cut}");
    }
    whole
}

/// Xorshift: the same numbers for the same seed.
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % bound
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}
