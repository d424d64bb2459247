//! The engine without a socket: whatever octets come, it fails with an error and not with a panic,
//! and however they are cut, the result is the same.

use rustls::ClientConnection;
use rustls::server::UnbufferedServerConnection;

use super::super::engine::{Engine, Progress, Side};
use super::*;

/// What the driver does between engine and socket.
struct Endpoint {
    engine: Engine,
    input: Vec<u8>,
    plain: Vec<u8>,
    failed: bool,
}

impl Endpoint {
    fn new(service: &TlsService) -> Self {
        let connection = UnbufferedServerConnection::new(service.config(Ask::Nothing)).unwrap();
        Self {
            engine: Engine::new(Side::Server(connection)),
            input: Vec::new(),
            plain: Vec::new(),
            failed: false,
        }
    }

    fn feed(&mut self, octets: &[u8]) {
        self.input.extend_from_slice(octets);
        let (done, progress) =
            self.engine.advance(&mut self.input, &mut |bytes| self.plain.extend_from_slice(bytes));
        self.input.drain(..done);
        self.failed |= matches!(progress, Progress::Failed(_));
    }

    fn take_output(&mut self) -> Vec<u8> {
        let output = self.engine.outgoing().to_vec();
        self.engine.outgoing_written();
        output
    }

    /// What a session may do at any time, after failures too.
    fn use_everything(&mut self) {
        let _ = self.engine.encrypt(&mut self.input, b"reply");
        self.feed(b"");
        let _ = self.engine.close(&mut self.input);
        self.feed(b"");
        self.feed(&[0x16, 3, 3, 0, 1, 0]);
        let _ = self.engine.encrypt(&mut self.input, b"reply");
        let _ = self.take_output();
    }
}

/// Runs a conversation; `change` may alter what the client sends, by flight (0, 1, then data).
fn converse(
    service: &TlsService,
    config: &Arc<ClientConfig>,
    change: impl Fn(usize, &mut Vec<u8>),
) -> Endpoint {
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut server = Endpoint::new(service);
    for flight in 0..4 {
        if flight == 2 {
            let _ = client.writer().write_all(b"data of the client");
        }
        if flight == 3 {
            client.send_close_notify();
        }
        let mut octets = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut octets).unwrap();
        }
        change(flight, &mut octets);
        server.feed(&octets);
        let output = server.take_output();
        if flight == 3 {
            // This client has closed; more input could make it panic.
            break;
        }
        if client.read_tls(&mut &output[..]).is_err() || client.process_new_packets().is_err() {
            break;
        }
    }
    server
}

#[test]
fn changed_octets_never_panic() {
    let identity = Identity::new();
    let service = identity.service(ServiceOptions::IMAP);
    for versions in [TLS12, TLS13] {
        let config = Arc::new(identity.client(versions));
        let mut whole = converse(&service, &config, |_, _| {});
        assert_eq!((&whole.plain[..], whole.failed), (&b"data of the client"[..], false));
        assert!(whole.engine.peer_closed());
        whole.use_everything();
        for flight in 0..4 {
            for position in 0..400 {
                for mask in [0x01, 0x80, 0xff] {
                    let mut server = converse(&service, &config, |number, octets| {
                        if number == flight && position < octets.len() {
                            octets[position] ^= mask;
                        }
                    });
                    server.use_everything();
                }
                if position > 40 && flight > 0 {
                    break;
                }
            }
        }
    }
}

#[test]
fn lost_doubled_and_cut_octets_never_panic() {
    let identity = Identity::new();
    let service = identity.service(ServiceOptions::IMAP);
    for versions in [TLS12, TLS13] {
        let config = Arc::new(identity.client(versions));
        for flight in 0..4 {
            for position in (0..300).step_by(7) {
                let truncate = |octets: &mut Vec<u8>| octets.truncate(position);
                let double = |octets: &mut Vec<u8>| octets.extend(octets.clone());
                let remove = |octets: &mut Vec<u8>| {
                    octets.drain(position.min(octets.len())..octets.len().min(position + 1));
                };
                for change in [&truncate as &dyn Fn(&mut Vec<u8>), &double, &remove] {
                    converse(&service, &config, |number, octets| {
                        if number == flight {
                            change(octets);
                        }
                    })
                    .use_everything();
                }
            }
        }
    }
}

#[test]
fn a_reply_written_in_mid_record_leaves_the_record_alone() {
    let identity = Identity::new();
    let service = identity.service(ServiceOptions::IMAP);
    for versions in [TLS12, TLS13] {
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(Arc::new(identity.client(versions)), name).unwrap();
        let mut server = Endpoint::new(&service);
        while client.is_handshaking() || client.wants_write() {
            let mut octets = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut octets).unwrap();
            }
            server.feed(&octets);
            client.read_tls(&mut &server.take_output()[..]).unwrap();
            client.process_new_packets().unwrap();
        }
        client.writer().write_all(b"one octet at a time").unwrap();
        let mut octets = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut octets).unwrap();
        }
        for octet in octets {
            server.feed(&[octet]);
            server.engine.encrypt(&mut server.input, b".").unwrap();
        }
        assert_eq!(server.plain, b"one octet at a time");
    }
}

/// A small generator: the same octets each time.
fn octets(seed: &mut u64, count: usize) -> Vec<u8> {
    let next = || {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        (*seed >> 24) as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}

#[test]
fn garbage_instead_of_a_hello_never_panics() {
    let identity = Identity::new();
    let service = identity.service(ServiceOptions::SMTP);
    let mut seed = 0x9e37_79b9_7f4a_7c15;
    let starts: [&[u8]; 9] = [
        b"",
        b"EHLO client.example\r\nMAIL FROM:<a@example>\r\n",
        b"\x16",
        b"\x16\x03\x01",
        b"\x16\x03\x01\x00\x05hello",
        b"\x16\x03\x01\x00\x20\x01\x00\x00",
        b"\x15\x03\x03\x00\x02",
        b"\x17\x03\x03\x00\x10",
        b"\x14\x03\x03\x00\x01\x01",
    ];
    for start in starts {
        for count in [0, 1, 2, 5, 50, 500, 20_000] {
            for cut in [usize::MAX, 1, 7] {
                let garbage = [start, &octets(&mut seed, count)].concat();
                let mut server = Endpoint::new(&service);
                for piece in garbage.chunks(cut.min(garbage.len().max(1))) {
                    server.feed(piece);
                    let _ = server.take_output();
                }
                server.use_everything();
            }
        }
    }
}

#[test]
fn records_without_sense_never_panic() {
    let identity = Identity::new();
    let service = identity.service(ServiceOptions::SMTP);
    let mut seed = 0x9e37_79b9_7f4a_7c15;
    for _ in 0..20_000 {
        let mut server = Endpoint::new(&service);
        let mut said = Vec::new();
        for _ in 0..4 {
            let dice = octets(&mut seed, 8);
            let length = usize::from(dice[1] % 12);
            let mut body = octets(&mut seed, length);
            if dice[2] & 1 == 0 {
                // The header of a handshake message, or an alert.
                for (octet, value) in body.iter_mut().zip([dice[3] % 3, 0, 0, dice[4] % 12]) {
                    *octet = value;
                }
            }
            let record = [&[20 + dice[0] % 5, 3, 3, 0, length as u8], &body[..]].concat();
            said.push(record.clone());
            for piece in record.chunks(1 + usize::from(dice[5] % 20)) {
                let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    server.feed(piece);
                    let _ = server.take_output();
                }));
                assert!(result.is_ok(), "{said:?}");
            }
        }
        server.use_everything();
    }
}
