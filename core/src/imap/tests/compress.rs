//! COMPRESS=DEFLATE (RFC 4978), and reuse of a connection (RFC 8437).

use std::time::{Duration, Instant};

use postrider_proto::deflate::{Compressor, Deflater, Inflater, Limits, Scratch};

use super::server::{Peer, Server, Setup};
use super::sessions::resident;

/// A client that compresses.
struct Packed {
    peer: Peer,
    deflater: Deflater,
    compressor: Compressor,
    inflater: Inflater,
    scratch: Scratch,
    text: Vec<u8>,
}

impl Packed {
    fn start(mut peer: Peer) -> Self {
        peer.send(b"c COMPRESS DEFLATE\r\n");
        assert_eq!(peer.line(), "c OK DEFLATE is active");
        Self {
            peer,
            deflater: Deflater::default(),
            compressor: Compressor::default(),
            inflater: Inflater::new(Limits { free_octets: u64::MAX, ..Limits::IMAP }),
            scratch: Scratch::default(),
            text: Vec::new(),
        }
    }

    fn pack(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        self.deflater.deflate(&mut self.compressor, plain, &mut packed);
        packed
    }

    fn send(&mut self, plain: &[u8]) {
        let packed = self.pack(plain);
        self.peer.send(&packed);
    }

    /// The next line; `EOF` at the end.
    fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.text.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8_lossy(&self.text[..end]).into_owned();
                self.text.drain(..end + 2);
                return line;
            }
            let packed = self.peer.some();
            if packed.is_empty() {
                return "EOF".to_owned();
            }
            self.inflater.push(&packed);
            while self.inflater.is_ready() {
                let text = &mut self.text;
                self.inflater.step(&mut self.scratch, |octets| text.extend_from_slice(octets)).unwrap();
            }
        }
    }

    /// The lines up to the answer of a command.
    fn run(&mut self, command: &str) -> Vec<String> {
        self.send(format!("a {command}\r\n").as_bytes());
        let mut lines = vec![self.line()];
        while !lines.last().unwrap().starts_with("a ") {
            assert_ne!(lines.last().unwrap(), "EOF", "{command}: {lines:?}");
            lines.push(self.line());
        }
        lines
    }
}

#[test]
fn a_compressed_session_says_what_another_says() {
    let server = Server::start(&Setup::default());
    let mut packed = Packed::start(server.log_in());
    assert_eq!(packed.run("NOOP"), ["a OK done"]);
    assert_eq!(packed.run("COMPRESS DEFLATE"), ["a BAD [COMPRESSIONACTIVE] DEFLATE is active already"]);
    assert_eq!(packed.run("COMPRESS LZW"), ["a BAD unknown compression"]);
    // A message that compresses to a thousandth is let in as any other.
    let message = "Subject: zeros\r\n\r\n".to_owned() + &"0".repeat(3_000_000);
    packed.send(format!("b APPEND Inbox {{{}}}\r\n", message.len()).as_bytes());
    assert_eq!(packed.line(), "+ send it");
    packed.send(message.as_bytes());
    packed.send(b"\r\n");
    assert!(packed.line().starts_with("b OK [APPENDUID "));
    assert!(packed.run("SELECT Inbox").iter().any(|line| line == "* 1 EXISTS"));
    let lines = packed.run("FETCH 1 BODY.PEEK[TEXT]");
    assert_eq!(lines[0], "* 1 FETCH (UID 1 BODY[TEXT] {3000000}");
    assert_eq!(lines[1].len(), 3_000_001);
    // What others do is told at once.
    packed.send(b"i IDLE\r\n");
    assert_eq!(packed.line(), "+ waiting");
    let mut other = server.log_in();
    other.send(b"x SELECT Inbox\r\ny STORE 1 +FLAGS (\\Seen)\r\n");
    assert_eq!(packed.line(), "* 1 FETCH (UID 1 FLAGS (\\Seen))");
    packed.send(b"DONE\r\n");
    assert_eq!(packed.line(), "i OK done");
    // Octet by octet, and many commands at once.
    for octet in packed.pack(b"s NOOP\r\n") {
        packed.peer.send(&[octet]);
    }
    assert_eq!(packed.line(), "s OK done");
    packed.send("m NOOP\r\n".repeat(3000).as_bytes());
    (0..3000).for_each(|number| assert_eq!(packed.line(), "m OK done", "{number}"));
    assert_eq!(packed.run("LOGOUT"), ["* BYE goodbye", "a OK logged out"]);
    assert_eq!(packed.line(), "EOF");
}

#[test]
fn bombs_and_garbage_end_the_session_only() {
    // Row D10.
    let server = Server::start(&Setup::default());
    let mut packed = Packed::start(server.log_in());
    packed.send(" ".repeat(20_000_000).as_bytes());
    // The line is too long, and thrown away as far as that is done; then comes the end.
    let mut lines = vec![packed.line()];
    while lines.last().unwrap() != "EOF" {
        lines.push(packed.line());
    }
    assert!(lines.len() <= 3 && lines.iter().any(|line| line.starts_with("* BYE ")), "{lines:?}");
    // Commands that are good each by itself.
    let mut packed = Packed::start(server.log_in());
    packed.send("m NOOP\r\n".repeat(2_000_000).as_bytes());
    let mut last = packed.line();
    while last == "m OK done" {
        last = packed.line();
    }
    assert_eq!(last, "* BYE [LIMIT] compressed input expands too much");
    assert_eq!(packed.line(), "EOF");
    let mut packed = Packed::start(server.log_in());
    packed.peer.send(b"a NOOP in clear\r\n");
    assert_eq!(packed.line(), "* BYE compressed input is malformed");
    assert_eq!(packed.line(), "EOF");
    // The others go on.
    assert_eq!(Packed::start(server.log_in()).run("NOOP"), ["a OK done"]);
}

#[test]
fn nothing_may_come_before_the_answer() {
    let server = Server::start(&Setup::default());
    let mut peer = server.log_in();
    peer.send(b"a COMPRESS DEFLATE\r\nb NOOP\r\n");
    assert_eq!(peer.line(), "a BAD nothing may be sent before the answer to COMPRESS");
    assert_eq!(peer.line(), "b OK done", "in clear");
    let mut peer = server.connect();
    peer.line();
    peer.send(b"a COMPRESS DEFLATE\r\n");
    assert_eq!(peer.line(), "a NO not allowed in this state", "not before the login");
}

#[test]
fn a_connection_is_used_by_one_user_after_the_other() {
    let server = Server::start(&Setup { shards: 2, ..Setup::default() });
    let second = server.add_account("second");
    assert_ne!(server.account.get() % 2, second.get() % 2, "their homes differ");
    let mut peer = server.log_in();
    for round in 0..6 {
        let number = round / 2 + 1;
        peer.send(b"a1 APPEND Inbox {3+}\r\none\r\n");
        while !peer.line().starts_with("a1 OK [APPENDUID ") {}
        peer.send(
            b"a2 ENABLE QRESYNC UIDONLY\r\na3 SELECT Inbox\r\na4 UID STORE 1:* +FLAGS.SILENT (\\Deleted)\r\n",
        );
        let mut line = peer.line();
        while !line.starts_with("a3 ") {
            if line.ends_with(" EXISTS") {
                assert_eq!(line, format!("* {number} EXISTS"), "each user has its own mailbox");
            }
            line = peer.line();
        }
        while !peer.line().starts_with("a4 OK") {}
        // The next login is on its way already.
        let next = if round % 2 == 0 { "second@localhost" } else { "user@localhost" };
        peer.send(b"a5 UNAUTHENTICATE\r\n");
        assert!(peer.line().starts_with("a5 OK [CAPABILITY "));
        peer.authenticate(next, "localserve");
        assert!(peer.line().starts_with("login OK [CAPABILITY "));
        // Nothing of the other is left: no mailbox is selected, nothing enabled; nothing was expunged.
        peer.send(b"b1 UID FETCH 1 FLAGS\r\nb2 SELECT Inbox\r\nb3 FETCH 1:* FLAGS\r\n");
        assert_eq!(peer.line(), "b1 NO not allowed in this state");
        while !peer.line().starts_with("b2 OK") {}
        let mut line = peer.line();
        while !line.starts_with("b3 ") {
            assert!(line.contains(" FETCH (UID ") && !line.contains("MODSEQ"), "{line}");
            line = peer.line();
        }
        assert_eq!(line, "b3 OK FETCH done");
    }
}

#[test]
fn compression_ends_with_the_user() {
    let server = Server::start(&Setup::default());
    let mut packed = Packed::start(server.log_in());
    // The client goes on in clear at once (RFC 8437 §4.1).
    let mut octets = packed.pack(b"a UNAUTHENTICATE\r\n");
    octets.extend_from_slice(b"b NOOP\r\n");
    packed.peer.send(&octets);
    let all = packed.peer.octets_until(b"b OK done\r\n");
    let clear = all.windows(4).rposition(|mark| mark == [0, 0, 0xff, 0xff]).unwrap() + 4;
    packed.inflater.push(&all[..clear]);
    let text = packed.line_of_input();
    assert!(text.starts_with("a OK [CAPABILITY ") && !text.contains("COMPRESS"), "{text}");
    assert_eq!(all[clear..], *b"b OK done\r\n");
    let mut peer = packed.peer;
    peer.authenticate("user@localhost", "localserve");
    assert!(peer.line().starts_with("login OK [CAPABILITY "));
    assert_eq!(Packed::start(peer).run("NOOP"), ["a OK done"]);
}

impl Packed {
    /// The line that is in what was read already.
    fn line_of_input(&mut self) -> String {
        while self.inflater.is_ready() {
            let text = &mut self.text;
            self.inflater.step(&mut self.scratch, |octets| text.extend_from_slice(octets)).unwrap();
        }
        String::from_utf8(std::mem::take(&mut self.text)).unwrap().trim_end().to_owned()
    }
}

/// In a process of its own, whose memory nobody else uses meanwhile.
#[test]
fn idle_compressed_sessions_take_little_memory() {
    let child = "imap::tests::compress::memory_of_idle_compressed_sessions";
    let done = std::process::Command::new(std::env::current_exe().unwrap())
        .args([child, "--exact", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&done.stderr)
    );
}

#[test]
#[ignore = "runs as a child of another test"]
fn memory_of_idle_compressed_sessions() {
    const SESSIONS: u64 = 400;
    const MORE_MAX: u64 = 8 * 1024;
    let server = Server::start(&Setup::default());
    let compress = |peer: Peer| {
        // The test's own end is as small as the server's: its engine is dropped.
        let mut packed = Packed::start(peer);
        packed.run("SELECT Inbox");
        packed.send(b"i IDLE\r\n");
        assert_eq!(packed.line(), "+ waiting");
        packed.peer
    };
    let plain = |mut peer: Peer| {
        peer.send(b"a SELECT Inbox\r\ni IDLE\r\n");
        while peer.line() != "+ waiting" {}
        peer
    };
    let mut peers: Vec<Peer> = (0..50).map(|_| compress(server.log_in())).collect();
    let before = resident();
    peers.extend((0..SESSIONS).map(|_| plain(server.log_in())));
    let between = resident();
    peers.extend((0..SESSIONS).map(|_| compress(server.log_in())));
    // The server may have to put the state of the last ones away.
    let taken = || resident().saturating_sub(between) / SESSIONS;
    let plain = between.saturating_sub(before) / SESSIONS;
    let until = Instant::now() + Duration::from_secs(5);
    while taken() >= plain + MORE_MAX && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    let packed = taken();
    println!(
        "{plain} octets for an idle session, {packed} for a compressed one, the test's client with them"
    );
    assert!(packed < plain + MORE_MAX, "{packed}");
}
