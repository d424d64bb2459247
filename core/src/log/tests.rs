#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io;
use std::sync::mpsc;

use super::*;

#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logged(format: Format, levels: Levels, work: impl FnOnce(&LogHandle)) -> String {
    let output = Output::default();
    let (subscriber, handle) = subscriber(format, levels, Box::new(output.clone())).unwrap();
    tracing::subscriber::with_default(subscriber, || work(&handle));
    handle.flush();
    String::from_utf8(output.0.lock().unwrap().clone()).unwrap()
}

/// The line without its time.
fn after_time(line: &str) -> &str {
    line.split_once(' ').unwrap().1
}

#[test]
fn a_text_line_has_time_level_module_message_and_fields() {
    let cid = ConnectionId::from_number(0xabc);
    let text = logged(Format::Text, Levels::default(), |_| {
        tracing::info!(target: "postrider_core::smtp::driver", %cid, size = 10, from = "a b", "message accepted");
    });
    assert_eq!(after_time(&text), "info smtp: message accepted cid=abc size=10 from=\"a b\"\n");
    text.split_once(' ').unwrap().0.parse::<jiff::Timestamp>().unwrap();
}

#[test]
fn a_json_line_is_an_object_with_the_same_parts() {
    let text = logged(Format::Json, Levels::default(), |_| {
        tracing::warn!(target: "postrider_storage::engine", batch = 3_u64, ok = false, why = "a \"b\"", "slow");
    });
    let line: serde_json::Value = serde_json::from_str(&text).unwrap();
    let expected = serde_json::json!({"level": "warn", "module": "storage", "message": "slow", "batch": 3, "ok": false,
        "why": "a \"b\"", "time": line["time"]});
    assert_eq!(line, expected);
}

#[test]
fn a_peer_cannot_forge_a_line_or_a_field() {
    let evil = "x\n2026-01-01T00:00:00Z error smtp: forged cid=1";
    let text = logged(Format::Text, Levels::default(), |_| {
        tracing::info!(target: "postrider_core::smtp", evil, "{evil}");
    });
    assert_eq!(text.lines().count(), 1);
    assert!(text.ends_with("evil=\"x\\n2026-01-01T00:00:00Z error smtp: forged cid=1\"\n"), "{text}");
}

#[test]
fn the_causes_of_an_error_are_written_with_it() {
    let error = LogError::Thread(io::Error::other("no memory"));
    let text = logged(Format::Text, Levels::default(), |_| {
        let error: &(dyn std::error::Error + 'static) = &error;
        tracing::error!(target: "postrider_core::log", error, "failed");
    });
    assert!(
        text.contains("error=\"can't start the thread that writes log lines: no memory: no memory\""),
        "{text}"
    );
}

#[test]
fn a_module_has_its_own_level_and_levels_change_while_running() {
    let mut levels = Levels::new(Level::Warn);
    levels.set_module("imap", Some(Level::Debug)).unwrap();
    let say = |what: &str| {
        tracing::debug!(target: "postrider_core::imap::fetch", "{what} imap");
        tracing::debug!(target: "postrider_proto::imap", "{what} proto imap");
        tracing::info!(target: "postrider_core::smtp", "{what} smtp");
        tracing::info!(target: "fjall::journal", "{what} fjall");
    };
    let text = logged(Format::Text, levels, |handle| {
        say("before");
        let mut levels = handle.levels();
        levels.set_module("imap", None).unwrap();
        levels.set_default(Level::Info);
        handle.set_levels(levels);
        say("after");
        assert_eq!(handle.levels(), Levels::new(Level::Info));
        assert_eq!(handle.counts().info, 1);
    });
    let messages: Vec<_> = text.lines().map(|line| line.split_once(": ").unwrap().1).collect();
    assert_eq!(messages, ["before imap", "before proto imap", "after smtp"]);
}

#[test]
fn unknown_levels_and_modules_are_named() {
    assert_eq!("loud".parse::<Level>(), Err(LevelsError::NoSuchLevel("loud".to_owned())));
    let error = Levels::default().set_module("smpt", Some(Level::Debug)).unwrap_err();
    assert_eq!(error, LevelsError::NoSuchModule("smpt".to_owned()));
    assert!(error.to_string().contains("smtp, storage"), "{error}");
}

#[test]
fn a_long_line_is_cut_at_the_limit() {
    for (octets, cut) in [(layer::LINE_OCTETS_MAX / 2, false), (layer::LINE_OCTETS_MAX / 2 + 1, true)] {
        let message = "m".repeat(octets);
        let text = logged(Format::Text, Levels::default(), |_| {
            tracing::info!(target: "postrider_core::smtp", "{message}");
        });
        assert_eq!(text.ends_with("…\n"), cut, "{octets}");
    }
}

/// Tells how much each write has, and waits until it may go on.
struct Stuck {
    begun: mpsc::Sender<usize>,
    go: mpsc::Receiver<()>,
}

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.begun.send(bytes.len());
        let _ = self.go.recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Logs so many lines while the writer is stuck with one before them, of which the length is given. What `after` gets is
/// told of each write from then on.
fn behind_a_stuck_line(
    lines: usize,
    after: impl FnOnce(usize, mpsc::Sender<()>, mpsc::Receiver<usize>, &LogHandle),
) {
    let (begun, begins) = mpsc::channel();
    let (go, wait) = mpsc::channel();
    let output = Box::new(Stuck { begun, go: wait });
    let (subscriber, handle) = subscriber(Format::Text, Levels::default(), output).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        let line = || tracing::info!(target: "postrider_core::smtp", "line");
        line();
        let octets = begins.recv().unwrap();
        (0..lines).for_each(|_| line());
        after(octets, go, begins, &handle);
    });
}

#[test]
fn a_full_queue_drops_lines_and_counts_them() {
    behind_a_stuck_line(QUEUE_LINES_MAX, |_, _, _, handle| assert_eq!(handle.counts().lost, 0));
    behind_a_stuck_line(QUEUE_LINES_MAX + 10, |_, _, _, handle| assert_eq!(handle.counts().lost, 10));
}

#[test]
fn lines_that_wait_are_written_together() {
    behind_a_stuck_line(5, |octets, go, begins, _| {
        go.send(()).unwrap();
        assert_eq!(begins.recv().unwrap(), 5 * octets);
        drop(go);
    });
}
