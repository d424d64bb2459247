//! Random input with fixed seeds: readers against a plain reading of the standard, and sessions against
//! their promises. Run with POSTRIDER_FUZZ_ROUNDS to try more.

use postrider_testing::processor_time;

use super::*;
use crate::smtp::body::{ContentFault, DataProgress};
use crate::smtp::command::Command;

fn rounds(default: u64) -> u64 {
    std::env::var("POSTRIDER_FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What DATA content means, from the text of RFC 5321 §4.5.2 and without any cleverness: content, whether it
/// is faulty, and where it ends.
fn plain_reading(input: &[u8]) -> Option<(Vec<u8>, bool, usize)> {
    let virtual_start = [b"\r\n", input].concat();
    let end = virtual_start.windows(5).position(|window| window == b"\r\n.\r\n")?;
    let content = &virtual_start[..end + 2];
    let mut faulty =
        content.iter().enumerate().any(|(at, byte)| *byte == b'\r' && content.get(at + 1) != Some(&b'\n'));
    let mut out = Vec::new();
    let mut after_cr_lf = false;
    let mut after_lf = false;
    let pieces: Vec<&[u8]> = content[2..].split_inclusive(|byte| *byte == b'\n').collect();
    for (number, piece) in pieces.iter().enumerate() {
        let real_start = number == 0 || after_cr_lf;
        faulty |= after_lf && matches!(*piece, b".\n" | b".\r\n");
        faulty |= real_start && *piece == b".\n";
        let piece = if real_start { piece.strip_prefix(b".").unwrap_or(piece) } else { piece };
        after_cr_lf = piece.ends_with(b"\r\n");
        after_lf = !after_cr_lf && piece.ends_with(b"\n");
        out.extend(piece.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')));
        if piece.ends_with(b"\n") {
            out.extend_from_slice(b"\r\n");
        }
    }
    Some((out, faulty, end + 5 - 2))
}

#[test]
fn data_is_read_as_the_standard_reads() {
    let alphabet: [&[u8]; 10] =
        [b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b".", b".", b"x", b"long enough to be a run", b"\0"];
    let (mut clean, mut faulty) = (0, 0);
    for seed in 1..=rounds(20_000) {
        let mut chance = Chance(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        // Some without bare CR and LF, so that long stretches stay clean.
        let (from, most) = if seed % 2 == 0 { (&alphabet[..], 12) } else { (&alphabet[5..], 40) };
        let mut input = Vec::new();
        for _ in 0..chance.below(most) {
            input.extend_from_slice(chance.pick(from));
            if most == 40 && chance.below(2) == 0 {
                input.extend_from_slice(b"\r\n");
            }
        }
        input.extend_from_slice(b"\r\n.\r\nrest");
        let (content, is_faulty, end) = plain_reading(&input).unwrap();
        let mut reader = DataReader::new();
        let (mut out, mut from, mut ended) = (Vec::new(), 0, None);
        while ended.is_none() {
            let to = (from + 1 + chance.below(input.len())).min(input.len());
            match reader.push(&input[from..to], &mut out) {
                DataProgress::Ended(used) => ended = Some(from + used),
                DataProgress::More => from = to,
            }
        }
        let shown = input.escape_ascii();
        assert_eq!((ended, reader.fault().is_some()), (Some(end), is_faulty), "seed {seed}: {shown}");
        assert_eq!(
            out.escape_ascii().to_string(),
            content.escape_ascii().to_string(),
            "seed {seed}: {shown}"
        );
        if is_faulty {
            faulty += 1;
        } else {
            clean += 1;
        }
    }
    assert!(clean > 1000 && faulty > 1000, "{clean} {faulty}");
}

/// Reading stays linear in the input, whatever stands in it.
#[test]
fn no_content_is_slow_to_read() {
    let size = 1 << 20;
    for unit in [&b"\r\n"[..], b"\n", b"\r", b"\r\r\n", b".\r\n.", b"\r\n..", b"x\r\n", b"x\n", b"x\r", b"x"]
    {
        let mut input = unit.repeat(size / unit.len());
        input.extend_from_slice(b"\r\r\n");
        let (chunk, took) = processor_time(|| {
            let mut data = DataReader::new();
            let _ = data.push(&input, &mut Vec::new());
            let mut chunk = ChunkReader::new(crate::smtp::body::LineEnds::Text);
            chunk.push(&input, &mut Vec::new());
            chunk
        });
        // Some milliseconds; quadratic it would be minutes.
        assert!(took < Duration::from_secs(5), "{}", unit.escape_ascii());
        assert!(chunk.fault().is_none_or(|fault| fault == ContentFault::BareCr));
    }
}

const WORDS: [&[u8]; 48] = [
    b"EHLO x\r\n", b"HELO [192.0.2.1]\r\n", b"MAIL FROM:<a@b>\r\n", b"MAIL FROM:<> SIZE=10\r\n", b"RCPT TO:<c@d>\r\n",
    b"RCPT TO:<nobody@d>\r\n", b"DATA\r\n", b"a: b\r\n\r\nx\r\n.\r\n", b".\r\n", b"\r\n.\r\n", b"BDAT 5\r\nhello",
    b"BDAT 3 LAST\r\n.\r\n", b"BDAT 0 LAST\r\n", b"BDAT 0\r\n", b"BDAT 99\r\n", b"RSET\r\n", b"NOOP\r\n", b"QUIT\r\n",
    b"STARTTLS\r\n", b"AUTH PLAIN\r\n", b"AUTH PLAIN AGZyZWQAc2VjcmV0\r\n", b"AGZyZWQAc2VjcmV0\r\n", b"*\r\n", b"VRFY x\r\n",
    b"EXPN x\r\n", b"HELP\r\n", b"\r\n", b"\n", b"\r", b"\0", b"\xff", b" ", b"MAIL FROM:<", b"\"", b">", b"\xc3\xbc",
    b" SMTPUTF8", b" BODY=BINARYMIME", b" ORCPT=rfc822;", b"+00", b" NOTIFY=NEVER", b" ENVID=x", b"Received: x\r\n",
    b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", b"\n.\n", b"<@a,@b:c@d>",
    b"MAIL FROM:<a@b> SMTPUTF8 BODY=8BITMIME\r\n", b"BDAT x\r\n",
];

/// Longer pieces, so that sessions get far.
const PHRASES: [&[u8]; 5] = [
    b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n",
    b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n",
    b"MAIL FROM:<>\r\nRCPT TO:<c@d>\r\nDATA\r\nx\r\n..\r\n.\r\n",
    b"MAIL FROM:<a@b> BODY=BINARYMIME\r\nRCPT TO:<c@d>\r\nBDAT 2\r\n\n\rBDAT 1 LAST\r\n.",
    b"RSET\r\nMAIL FROM:<a@b>\r\nRCPT TO:<nobody@d>\r\nRCPT TO:<c@d>\r\nBDAT 4\r\nx\r\n.",
];

fn script(chance: &mut Chance) -> Vec<u8> {
    let mut script = b"EHLO x\r\n".to_vec();
    for _ in 0..chance.below(60) {
        let words: &[&[u8]] = if chance.below(3) == 0 { &PHRASES } else { &WORDS };
        let word = chance.pick(words);
        // What ends the conversation is rarer.
        if !matches!(word, b"QUIT\r\n" | b"STARTTLS\r\n") || chance.below(8) == 0 {
            script.extend_from_slice(word);
        }
    }
    script
}

fn tight(role: Role) -> Settings {
    let mut settings = settings(role);
    settings.limits.message_octets_max = 200;
    settings.limits.discard_octets_max = 400;
    settings.limits.content_buffer_octets = 16;
    settings.limits.actions_max = 3;
    settings.limits.received_fields_max = 2;
    settings.limits.recipients_max = 3;
    settings
}

/// The driver of the tests checks the promises at each step; here also that cutting changes nothing.
#[test]
fn random_sessions_keep_their_promises_however_they_are_cut() {
    let (mut delivered, mut discarded) = (0, 0);
    for seed in 1..=rounds(3000) {
        let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let script = script(&mut chance);
        let (role, channel) = chance.pick(&[
            (Role::Incoming, Channel::Clear),
            (Role::Incoming, Channel::Tls),
            (Role::Submission, Channel::Tls),
        ]);
        let new = || Driver::new(tight(role), channel);
        let whole = run(new(), &script, &[]);
        let commands = script.iter().filter(|byte| **byte == b'\n').count();
        let replies = whole.transcript.iter().filter(|line| line.as_bytes().get(3) == Some(&b' ')).count();
        // One for each line at most, one more for the greeting, two for content (354 and the verdict).
        assert!(replies <= 2 * commands + 2, "seed {seed}");
        // Pipelining STARTTLS is the one thing where timing matters, on purpose.
        if channel == Channel::Tls {
            let mut cuts: Vec<usize> = (0..8).map(|_| chance.below(script.len() + 1)).collect();
            cuts.sort_unstable();
            let cut = run(new(), &script, &cuts);
            let shown = script.escape_ascii();
            assert_eq!(cut.transcript, whole.transcript, "seed {seed}: {shown}");
            assert_eq!(cut.delivered, whole.delivered, "seed {seed}");
        }
        for message in &whole.delivered {
            assert!(message.content.len() <= 200 && (1..=3).contains(&message.envelope.recipients.len()));
            assert!(
                message.envelope.recipients.iter().all(|recipient| recipient.path.to_string() != "nobody@d")
            );
        }
        delivered += whole.delivered.len();
        discarded += whole.discards;
    }
    assert!(delivered > 100 && discarded > 20, "{delivered} {discarded}");
}

/// Answers that come late, fit or do not; input that comes at any time; time that passes; a shutdown.
#[test]
fn random_drivers_cannot_break_a_session() {
    for seed in 1..=rounds(3000) {
        let mut chance = Chance(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let role = chance.pick(&[Role::Incoming, Role::Submission]);
        let mut now = Instant::now();
        let mut session = Session::new(Arc::new(tight(role)), Channel::Clear, now, 0);
        let script = script(&mut chance);
        let mut at = 0;
        let mut open = 0_i32;
        for _ in 0..400 {
            now += Duration::from_millis(chance.below(500) as u64);
            match chance.below(16) {
                0 => session.started_tls(now),
                1 => drop(session.take_content(Vec::new(), now)),
                2 if chance.below(20) == 0 => session.shutdown(),
                3 => session.on_deadline(now),
                4 => session.answer(any_answer(&mut chance), now),
                _ => {
                    let to = (at + chance.below(20)).min(script.len());
                    session.receive(&script[at..to], now);
                    at = to;
                }
            }
            while let Some(action) = session.poll() {
                match action {
                    Action::Discard => open -= 1,
                    Action::Close => assert!(session.is_closed()),
                    Action::Ask(question) if chance.below(4) > 0 => {
                        let answer = kind(&question, &session);
                        open += i32::from(question == Question::Content);
                        open -= i32::from(matches!(question, Question::Deliver { .. }));
                        session.answer(answer, now);
                    }
                    Action::Ask(Question::Deliver { .. }) => open -= 1,
                    _ => {}
                }
                assert!((-200..=1).contains(&open));
            }
            assert!(session.input.len() <= script.len() && session.actions.len() <= 8);
            assert!(session.content.len() <= 16 + script.len() * 2);
        }
    }
}

fn any_answer(chance: &mut Chance) -> Answer {
    match chance.below(7) {
        0 => Answer::Proceed,
        1 => Answer::Refuse(Reply::LOCAL_ERROR),
        2 => Answer::Recipient(1),
        3 => Answer::Delivered(Reply::DELIVERED),
        4 => Answer::AuthChallenge(b"x".to_vec()),
        5 => Answer::AuthSucceeded { login: "x".into() },
        _ => Answer::AuthFailed(Reply::BAD_CREDENTIALS),
    }
}

#[test]
fn random_lines_never_break_the_parser() {
    for seed in 1..=rounds(20_000) {
        let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut line = chance.pick(&WORDS).to_vec();
        for _ in 0..chance.below(4) {
            let at = chance.below(line.len() + 1);
            line.splice(at..at, chance.pick(&WORDS).iter().copied());
        }
        for _ in 0..chance.below(3) {
            let at = chance.below(line.len());
            line[at] = chance.below(256) as u8;
        }
        if let Ok(Command::Mail(mail)) = Command::parse(&line) {
            let path = mail.envelope.reverse_path.to_string();
            assert!(path.len() <= 256 && !path.contains(char::is_control), "{path:?}");
            assert_eq!(ReversePath::parse(&path), Ok(mail.envelope.reverse_path));
        }
    }
}
