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
        let connection = UnbufferedServerConnection::new(Arc::clone(&service.0)).unwrap();
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
