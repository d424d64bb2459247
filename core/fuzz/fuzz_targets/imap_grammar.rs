//! What an IMAP client sends: the framer, whatever the cuts, and the parser in each context.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use postrider_proto::imap::command::{AppendNext, AppendPieces, Command, Context, Utf8, parse};
use postrider_proto::imap::framing::{Frame, Framer, Outcome};
use postrider_proto::imap::limits::Limits;

const CONTEXTS: [Utf8; 3] = [Utf8::Off, Utf8::Rev2, Utf8::Accept];

/// All that came out of the framer, for comparison; commands are parsed on the way.
fn frames(input: &[u8], cut: usize, limits: &Arc<Limits>) -> Vec<u8> {
    let mut framer = Framer::new(limits.clone());
    let mut seen = Vec::new();
    let mut pieces: Option<AppendPieces> = None;
    'input: for chunk in input.chunks(cut) {
        framer.push(chunk);
        while let Some(frame) = framer.next_frame() {
            match frame {
                Frame::Command(command) => {
                    seen.push(b'C');
                    seen.extend_from_slice(command);
                    let command = command.to_vec();
                    if parsed(&command, limits) == Wants::Line {
                        framer.expect_line();
                    }
                }
                Frame::NeedContinuation => seen.push(b'+'),
                Frame::Message(message) => {
                    seen.push(b'M');
                    seen.extend_from_slice(message.head);
                    seen.extend_from_slice(&message.octets.to_le_bytes());
                    let context = Context { utf8: Utf8::Off, limits };
                    pieces = match pieces.take() {
                        Some(before) => before.go_on(message.head, context).ok(),
                        None => match parse(message.head, context).map(|tagged| tagged.command) {
                            Ok(Command::Append(append)) => Some(append.pieces),
                            _ => None,
                        },
                    };
                    let fits = pieces.as_ref().is_some_and(|pieces| pieces.next != AppendNext::End);
                    if fits {
                        framer.accept_message();
                    } else if framer.refuse_message() == Outcome::Closes {
                        break 'input;
                    }
                }
                Frame::MessageData(data) => {
                    // How it is cut depends on the input's cuts; its octets don't.
                    seen.extend_from_slice(data);
                }
                Frame::MessageEnd(rest) => {
                    seen.push(b'E');
                    seen.extend_from_slice(rest);
                    if let Some(before) = pieces.take() {
                        let _ = before.go_on(rest, Context { utf8: Utf8::Off, limits });
                    }
                }
                Frame::Line(line) => {
                    seen.push(b'L');
                    seen.extend_from_slice(line);
                }
                Frame::Refused(refused) => {
                    seen.push(b'R');
                    seen.extend_from_slice(format!("{refused:?}").as_bytes());
                    pieces = None;
                    if refused.outcome == Outcome::Closes {
                        assert!(framer.next_frame().is_none(), "a frame after the end");
                        break 'input;
                    }
                }
            }
        }
    }
    seen
}

#[derive(PartialEq)]
enum Wants {
    Nothing,
    Line,
}

fn parsed(command: &[u8], limits: &Limits) -> Wants {
    let mut wants = Wants::Nothing;
    for utf8 in CONTEXTS {
        match parse(command, Context { utf8, limits }).map(|tagged| tagged.command) {
            Ok(Command::Idle | Command::Authenticate(_)) => wants = Wants::Line,
            Ok(_) | Err(_) => {}
        }
    }
    wants
}

fuzz_target!(|input: &[u8]| {
    let Some((first, input)) = input.split_first() else { return };
    let cut = usize::from(*first) + 1;
    for limits in [Limits::AUTHENTICATED, Limits::UNAUTHENTICATED] {
        let limits = Arc::new(limits);
        let whole = frames(input, usize::MAX, &limits);
        assert_eq!(frames(input, cut, &limits), whole, "what is read depends on how it was cut");
    }
});
