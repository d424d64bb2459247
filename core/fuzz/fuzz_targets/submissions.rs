//! What a client of SMTP sends, a user's program or another server: what comes of it doesn't depend on how it was cut, each
//! message ends once, and replies are lines.
#![no_main]

use std::sync::Arc;
use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use postrider_proto::address::Domain;
use postrider_proto::smtp::server::{
    Action, Answer, Channel, ClearAuth, Question, RequireTls, Role, Session, Settings, TlsOffer,
};
use postrider_proto::smtp::{Limits, Reply};

/// What came of it.
#[derive(PartialEq, Debug, Default)]
struct Done {
    replies: String,
    messages: Vec<String>,
    is_closed: bool,
}

fn settings(choice: u8) -> Settings {
    Settings {
        hostname: Domain::parse("us.example").expect("a domain"),
        role: if choice & 1 > 0 { Role::Submission } else { Role::Incoming },
        limits: Limits { message_octets_max: 2000, recipients_max: 5, ..Limits::DEFAULT },
        // What follows STARTTLS too early is refused, and whether it does depends on the cuts.
        tls: TlsOffer::Absent,
        requiretls: RequireTls::Offered,
        clear_auth: if choice & 2 > 0 { ClearAuth::Allowed } else { ClearAuth::Refused },
        mechanisms: ["PLAIN", "LOGIN"].map(Into::into).to_vec(),
    }
}

/// Knows everybody but `nobody`, and believes every second response.
fn answer(question: &Question) -> Answer {
    match question {
        Question::Recipient(path) if path.to_string().starts_with("nobody@") => {
            Answer::Refuse(Reply::NO_SUCH_USER)
        }
        Question::Recipient(_) => Answer::Recipient(7),
        Question::Deliver { .. } => Answer::Delivered(Reply::DELIVERED),
        Question::AuthBegin { initial_response: None, .. } => Answer::AuthChallenge(Vec::new()),
        Question::AuthBegin { initial_response: Some(octets), .. } | Question::AuthRespond(octets) => {
            match octets.0.len() % 2 {
                0 => Answer::AuthSucceeded { login: "fred".into() },
                _ => Answer::AuthFailed(Reply::BAD_CREDENTIALS),
            }
        }
        _ => Answer::Proceed,
    }
}

/// A whole session, whose octets come in pieces of so many.
fn run(choice: u8, octets: &[u8], cut: usize) -> Done {
    let now = Instant::now();
    let channel = if choice & 4 > 0 { Channel::Tls } else { Channel::Clear };
    let mut session = Session::new(Arc::new(settings(choice)), channel, now, 1_795_380_000);
    let (mut done, mut open, mut content) = (Done::default(), false, Vec::new());
    let mut pieces = octets.chunks(cut);
    loop {
        while let Some(action) = session.poll() {
            assert!(!done.is_closed, "{action:?} after the end");
            match action {
                Action::Send(reply) => {
                    let wire = reply.to_wire();
                    assert!(wire.ends_with("\r\n"), "{wire:?}");
                    assert!(wire.lines().all(|line| line.len() <= 510 && !line.contains('\r')), "{wire:?}");
                    done.replies += &wire;
                }
                Action::Ask(question) => {
                    assert!(question != Question::Content || !open, "two messages at once");
                    open |= question == Question::Content;
                    if let Question::Deliver { envelope, facts } = &question {
                        assert!(std::mem::take(&mut open), "a message that didn't begin");
                        content.extend(session.take_content(Vec::new(), now));
                        assert_eq!(facts.octets, content.len() as u64);
                        assert!(content.len() <= 2000 && (1..=5).contains(&envelope.recipients.len()));
                        done.messages.push(format!("{envelope:?} {facts:?} {content:?}"));
                    }
                    session.answer(answer(&question), now);
                }
                Action::Discard => assert!(std::mem::take(&mut open), "a message that didn't begin"),
                Action::StartTls => panic!("TLS that isn't offered"),
                Action::Close => done.is_closed = true,
                Action::Pause(_) | Action::SetPace(_) => {}
            }
            match open {
                true => content.extend(session.take_content(Vec::new(), now)),
                false => content.clear(),
            }
        }
        session.flushed(now);
        let taken = session.take_content(Vec::new(), now);
        content.extend(taken.into_iter().filter(|_| open));
        if done.is_closed {
            return done;
        }
        if session.wants_input() {
            let Some(piece) = pieces.next() else { return done };
            session.receive(piece, now);
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let [choice, cut, octets @ ..] = input else { return };
    let whole = run(*choice, octets, octets.len().max(1));
    assert_eq!(run(*choice, octets, usize::from(*cut) + 1), whole, "in pieces of {}", usize::from(*cut) + 1);
});
