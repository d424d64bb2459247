//! Random servers with fixed seeds: whatever one says and however it comes, every message that was begun ends
//! once, and what is sent is lines. Run with POSTRIDER_FUZZ_ROUNDS to try more.

use super::*;
use crate::smtp::command::Command;

const SAYINGS: [&str; 28] = [
    "220 x\r\n",
    "250 ok\r\n",
    "250 2.1.5 ok\r\n",
    "354 go\r\n",
    "221 bye\r\n",
    "421 4.3.2 later\r\n",
    "450 4.2.1 no\r\n",
    "452 4.5.3 many\r\n",
    "550 5.1.1 who\r\n",
    "552 full\r\n",
    "554 5.7.1 no\r\n",
    "500 what\r\n",
    "334 \r\n",
    "235 in\r\n",
    "250-x\r\n250-PIPELINING\r\n250-SIZE 500\r\n250-8BITMIME\r\n250 DSN\r\n",
    "250-x\r\n250 STARTTLS\r\n",
    "250-x\r\n250-CHUNKING\r\n250-PIPELINING\r\n250-BINARYMIME\r\n250 SMTPUTF8\r\n",
    "250-x\r\n250 CHUNKING\r\n",
    "250-x\r\n250-PIPELINING\r\n250 LIMITS RCPTMAX=2 MAILMAX=3\r\n",
    "250-half",
    "\r\n",
    "\n",
    "HTTP/1.1\r\n",
    "\0",
    "250 ",
    "250-a\r\n550 b\r\n",
    "334 cj1ub25jZXgscz1xLGk9NDA5Ng==\r\n",
    "\u{fc}",
];

/// What fits the last command, so that conversations get far.
fn fitting(command: &[u8], chance: &mut Chance) -> &'static str {
    match command.get(..4).unwrap_or_default() {
        b"EHLO" => SAYINGS[14 + chance.below(5)],
        b"STAR" => "220 go\r\n",
        b"MAIL" | b"RCPT" | b"RSET" | b"HELO" | b"BDAT" => {
            chance.pick(&["250 ok\r\n", "250 ok\r\n", "250 ok\r\n", "550 no\r\n"])
        }
        b"DATA" => chance.pick(&["354 go\r\n", "354 go\r\n", "451 no\r\n"]),
        b"AUTH" => chance.pick(&["235 in\r\n", "334 \r\n", "535 no\r\n"]),
        b"QUIT" => "221 bye\r\n",
        _ => "250 ok\r\n",
    }
}

/// One conversation; gives how many messages were delivered to somebody.
fn converse(seed: u64) -> usize {
    let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut settings = settings();
    settings.starttls =
        chance.pick(&[StartTls::Never, StartTls::IfOffered, StartTls::IfOffered, StartTls::Required]);
    let tls = (chance.below(4) == 0).then(binding);
    let mut client = Client::new(settings, tls);
    let (mut begun, mut finished, mut delivered) = (0, 0, 0);
    let mut pieces = 0;
    // Commands that have no reply, and what the server is about to say.
    let (mut heard, mut says): (VecDeque<Vec<u8>>, Vec<u8>) = (VecDeque::from([Vec::new()]), Vec::new());
    let kindness = 2 + chance.below(60);
    for _ in 0..10_000 {
        match client.next_action() {
            Action::Send { octets, .. } => {
                let lines = octets.split_inclusive(|octet| *octet == b'\n');
                for line in lines.filter(|line| Command::parse(&line[..line.len().saturating_sub(2)]).is_ok())
                {
                    heard.push_back(line.to_vec());
                }
                if octets.ends_with(b".\r\n") {
                    heard.push_back(Vec::new());
                }
                client.reuse(octets);
            }
            Action::Read { .. } => {
                if says.is_empty() {
                    let command = heard.pop_front();
                    says = match command {
                        Some(command) if chance.below(kindness) > 0 => if begun == 0 && command.is_empty() {
                            "220 x\r\n"
                        } else {
                            fitting(&command, &mut chance)
                        }
                        .into(),
                        _ => chance.pick(&SAYINGS).into(),
                    };
                    if chance.below(200) == 0 {
                        client.broken(chance.pick(&[Broken::Closed, Broken::TimedOut, Broken::Io]));
                        continue;
                    }
                }
                let octets = 1 + chance.below(says.len());
                let piece: Vec<u8> = says.drain(..octets).collect();
                client.receive(&piece);
            }
            Action::StartTls => client.started_tls(binding()),
            Action::Content if pieces > 0 => {
                pieces -= 1;
                let unit = chance.pick(&[&b"\r\n.\r\n"[..], b"\n.\n", b"\r", b"x", b"\0"]);
                client.content(&unit.repeat(1 + chance.below(4000)));
            }
            Action::Content => client.content_end(),
            Action::Ready if begun >= 6 => client.quit(),
            Action::Ready => {
                assert_eq!(begun, finished);
                let names = ["b", "c", "d", "e", "f"];
                let mut envelope = envelope(&names[..1 + chance.below(5)]);
                envelope.declared_octets = [None, Some(10), Some(100_000)][chance.below(3)];
                envelope.body =
                    [BodyType::SevenBit, BodyType::EightBitMime, BodyType::BinaryMime][chance.below(3)];
                pieces = chance.below(8);
                match client.begin(envelope) {
                    Ok(()) => begun += 1,
                    Err(Unsendable::NotReady) => panic!("it said that it was"),
                    Err(_) if chance.below(2) == 0 => client.reset(),
                    Err(_) => client.quit(),
                }
            }
            Action::Done(message) => {
                finished += 1;
                assert!(!message.outcomes.is_empty());
                let is_broken = |outcome: &Outcome| matches!(outcome, Outcome::Broken { .. });
                assert!(!message.uncertain || message.outcomes.iter().any(is_broken));
                delivered +=
                    usize::from(message.outcomes.iter().any(|one| matches!(one, Outcome::Delivered(_))));
            }
            Action::Close(end) => {
                assert_eq!(client.next_action(), Action::Close(end));
                assert_eq!(begun, finished, "seed {seed}");
                return delivered;
            }
        }
    }
    panic!("seed {seed} has no end")
}

#[test]
fn every_conversation_ends_and_every_message_once() {
    let rounds =
        std::env::var("POSTRIDER_FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1500);
    let delivered: usize = (1..=rounds).map(converse).sum();
    assert!(delivered as u64 > rounds / 4, "{delivered} of {rounds}");
}
