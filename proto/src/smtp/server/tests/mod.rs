//! Tests of the session, through a driver that keeps a transcript and checks the promises of the module's
//! header at each step.
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod content;
mod dialogs;
mod fuzz;
mod limits;
mod model;
mod suites;

use super::*;
use crate::smtp::envelope::*;

/// A delivered message.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Delivered {
    envelope: Envelope,
    facts: ContentFacts,
    content: Vec<u8>,
}

type Policy = Box<dyn FnMut(&Question, &Session) -> Answer>;

struct Driver {
    session: Session,
    now: Instant,
    /// Replies and marks, a line each.
    transcript: Vec<String>,
    delivered: Vec<Delivered>,
    questions: Vec<Question>,
    paused: Duration,
    discards: usize,
    policy: Policy,
    content: Vec<u8>,
    open: bool,
    closed: bool,
}

fn settings(role: Role) -> Settings {
    Settings {
        hostname: Domain::parse("mx.us.example").unwrap(),
        role,
        limits: Limits::DEFAULT,
        tls: TlsOffer::Optional,
        requiretls: RequireTls::Offered,
        clear_auth: ClearAuth::Refused,
        mechanisms: ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"].map(Into::into).to_vec(),
    }
}

/// Accepts everything but recipients of `nobody`.
fn kind(question: &Question, _: &Session) -> Answer {
    match question {
        Question::Hello(_) | Question::Sender(_) | Question::Content => Answer::Proceed,
        Question::Recipient(path) if path.to_string().starts_with("nobody@") => {
            Answer::Refuse(Reply::NO_SUCH_USER)
        }
        Question::Recipient(_) => Answer::Recipient(7),
        Question::Deliver { .. } => Answer::Delivered(Reply::DELIVERED),
        Question::AuthBegin { initial_response: None, .. } => Answer::AuthChallenge(Vec::new()),
        Question::AuthBegin { initial_response: Some(octets), .. } | Question::AuthRespond(octets) => {
            if octets.0 == b"\0fred\0secret" {
                Answer::AuthSucceeded { login: "fred".into() }
            } else {
                Answer::AuthFailed(Reply::BAD_CREDENTIALS)
            }
        }
    }
}

impl Driver {
    fn new(settings: Settings, channel: Channel) -> Self {
        Self::with_policy(settings, channel, kind)
    }

    fn with_policy(
        settings: Settings,
        channel: Channel,
        policy: impl FnMut(&Question, &Session) -> Answer + 'static,
    ) -> Self {
        let now = Instant::now();
        let mut driver = Self {
            session: Session::new(Arc::new(settings), channel, now, 1_795_380_000),
            now,
            transcript: Vec::new(),
            delivered: Vec::new(),
            questions: Vec::new(),
            paused: Duration::ZERO,
            discards: 0,
            policy: Box::new(policy),
            content: Vec::new(),
            open: false,
            closed: false,
        };
        driver.pump();
        driver
    }

    fn incoming() -> Self {
        Self::new(settings(Role::Incoming), Channel::Clear)
    }

    /// Past EHLO.
    fn greeted() -> Self {
        let mut driver = Self::incoming();
        driver.say("EHLO them.example");
        driver.transcript.clear();
        driver
    }

    fn pump(&mut self) {
        while let Some(action) = self.session.poll() {
            assert!(!self.closed, "{action:?} after Close");
            match action {
                Action::Send(reply) => {
                    let wire = reply.to_wire();
                    self.transcript.extend(wire.trim_end_matches("\r\n").split("\r\n").map(str::to_owned));
                }
                Action::Ask(question) => self.ask(question),
                Action::Discard => {
                    assert!(self.open, "Discard without an open message");
                    self.open = false;
                    self.discards += 1;
                    self.content.clear();
                }
                Action::Pause(time) => self.paused += time,
                Action::SetPace(pace) => self.transcript.push(format!("({pace:?})")),
                Action::StartTls => self.transcript.push("(TLS)".into()),
                Action::Close => {
                    assert!(!self.open, "closed with an open message");
                    assert!(self.session.is_closed());
                    self.closed = true;
                    self.transcript.push("(closed)".into());
                }
            }
            let mut taken = self.session.take_content(Vec::new(), self.now);
            self.content.append(&mut taken);
        }
        self.session.flushed(self.now);
        let mut taken = self.session.take_content(Vec::new(), self.now);
        if self.session.is_closed() {
            assert!(taken.is_empty() && self.session.input.capacity() == 0);
        }
        self.content.append(&mut taken);
    }

    fn ask(&mut self, question: Question) {
        assert!(!self.session.wants_input());
        assert_eq!(self.session.deadline(), None);
        let mut answer = (self.policy)(&question, &self.session);
        if question == Question::Content {
            assert!(!self.open, "two messages open");
            self.open = matches!(answer, Answer::Proceed);
            self.content.clear();
        }
        if let Question::Deliver { envelope, facts } = &question {
            assert!(self.open, "Deliver without an open message");
            self.open = false;
            self.content.extend_from_slice(&self.session.take_content(Vec::new(), self.now));
            assert_eq!(facts.octets, self.content.len() as u64);
            if self.content.starts_with(b"unwanted") {
                answer = Answer::Refuse(Reply::LOCAL_ERROR);
            }
            if let Answer::Delivered(_) = answer {
                let content = std::mem::take(&mut self.content);
                self.delivered.push(Delivered { envelope: (**envelope).clone(), facts: *facts, content });
            }
        }
        self.questions.push(question);
        self.session.answer(answer, self.now);
    }

    /// As a network would: what the session does not want is not lost, but not read either.
    fn feed(&mut self, bytes: &[u8]) {
        if self.session.wants_input() {
            self.session.receive(bytes, self.now);
        }
        self.pump();
    }

    /// Sends a line; gives what came back.
    fn say(&mut self, line: &str) -> String {
        let before = self.transcript.len();
        self.feed(format!("{line}\r\n").as_bytes());
        self.transcript[before..].join("|")
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.session.on_deadline(self.now);
        self.pump();
    }
}

/// Xorshift: the same numbers for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// Runs a script cut at the given places.
fn run(mut driver: Driver, script: &[u8], cuts: &[usize]) -> Driver {
    let mut from = 0;
    for to in cuts.iter().copied().chain([script.len()]) {
        driver.feed(&script[from..to]);
        from = to;
    }
    driver
}
