//! Another server that messages leave for. What it replies is decided by localparts: `nobody` is refused for good,
//! `later` for now, `policy` for what was sent; `held` and `slow` are answered when the test lets them, at the end of the
//! content and at RCPT; everybody else gets the message.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustls::crypto::ring::default_provider;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::tls::self_signed;

/// A message as it came.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) mail: String,
    /// RCPT commands that were accepted.
    pub(super) recipients: Vec<String>,
    pub(super) content: String,
}

/// What it has seen.
#[derive(Clone, Default)]
pub(super) struct Record {
    pub(super) messages: Arc<Mutex<Vec<Seen>>>,
    /// Every command.
    pub(super) commands: Arc<Mutex<Vec<String>>>,
    pub(super) connections: Arc<Mutex<usize>>,
    /// Messages that are being taken, and the most of them at a time.
    under_way: Arc<Mutex<(usize, usize)>>,
    /// What waits for the test's permission, and whether it is there.
    held: Arc<(AtomicUsize, AtomicBool)>,
}

impl Record {
    pub(super) fn messages(&self) -> Vec<Seen> {
        self.messages.lock().unwrap().clone()
    }

    pub(super) fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }

    /// The most messages that were being taken at a time.
    pub(super) fn most_under_way(&self) -> usize {
        self.under_way.lock().unwrap().1
    }

    /// Takes a message slowly, so that others would come meanwhile.
    fn take_time(&self) {
        let change = |by: isize| {
            let mut under_way = self.under_way.lock().unwrap();
            under_way.0 = under_way.0.checked_add_signed(by).unwrap();
            under_way.1 = under_way.1.max(under_way.0);
        };
        change(1);
        std::thread::sleep(std::time::Duration::from_millis(50));
        change(-1);
    }

    /// Replies that are held back.
    pub(super) fn held(&self) -> usize {
        self.held.0.load(Ordering::SeqCst)
    }

    /// Lets them go.
    pub(super) fn let_go(&self) {
        self.held.1.store(true, Ordering::SeqCst);
    }

    fn hold(&self) {
        self.held.0.fetch_add(1, Ordering::SeqCst);
        while !self.held.1.load(Ordering::SeqCst) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    pub(super) fn said(&self, command: &str) -> bool {
        self.commands.lock().unwrap().iter().any(|line| line.starts_with(command))
    }
}

/// Starts one; `extensions` is what it announces. It ends with the test's process.
pub(super) fn start(extensions: &'static [&'static str]) -> (u16, Record) {
    start_at(Ipv4Addr::LOCALHOST, extensions)
}

/// The same, at every address of this host.
pub(super) fn start_everywhere(extensions: &'static [&'static str]) -> (u16, Record) {
    start_at(Ipv4Addr::UNSPECIFIED, extensions)
}

fn start_at(address: Ipv4Addr, extensions: &'static [&'static str]) -> (u16, Record) {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let record = Record::default();
    let shared = record.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let record = shared.clone();
            *record.connections.lock().unwrap() += 1;
            // A client that goes away ends the conversation.
            std::thread::spawn(move || drop(converse(stream.unwrap(), extensions, &record)));
        }
    });
    (port, record)
}

/// Shakes hands in TLS 1.3 and hangs up. Who `asks` wants a certificate of the client, and says so in an alert: the client is
/// done with the handshake then.
fn shake_hands_and_leave(mut stream: TcpStream, asks: bool) -> std::io::Result<()> {
    let directory = tempfile::tempdir()?;
    let pair = self_signed(directory.path(), &["mx.remote.example"]).unwrap();
    let chain: Vec<_> = CertificateDer::pem_file_iter(&pair.chain).unwrap().map(Result::unwrap).collect();
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let builder = if asks {
        let mut authorities = RootCertStore::empty();
        authorities.add(chain[0].clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider);
        builder.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        builder.with_no_client_auth()
    };
    let config = builder.with_single_cert(chain, PrivateKeyDer::from_pem_file(&pair.key).unwrap()).unwrap();
    let mut session = ServerConnection::new(Arc::new(config)).unwrap();
    while session.is_handshaking() && session.complete_io(&mut stream).is_ok() {}
    stream.shutdown(std::net::Shutdown::Write)?;
    // What wasn't read would reset the connection before the alert is there.
    std::io::copy(&mut stream, &mut std::io::sink()).map(drop)
}

fn converse(mut stream: TcpStream, extensions: &[&str], record: &Record) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?);
    stream.write_all(b"220 other.example\r\n")?;
    let (mut seen, mut taken) = (Seen::default(), 0);
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim_end().to_owned();
        record.commands.lock().unwrap().push(line.clone());
        let reply = match line.split([' ', ':']).next().unwrap_or_default() {
            "EHLO" => {
                let mut reply = String::from("250-other.example\r\n");
                extensions.iter().for_each(|extension| reply += &format!("250-{extension}\r\n"));
                reply + "250 ENHANCEDSTATUSCODES"
            }
            "MAIL" if taken == 3 && extensions.contains(&"X-FEW") => {
                return stream.write_all(b"421 4.7.0 too many messages on this connection\r\n");
            }
            "MAIL" if taken == 3 && extensions.contains(&"X-FEW-SILENTLY") => return Ok(()),
            "MAIL" => {
                seen = Seen { mail: line.clone(), ..Seen::default() };
                "250 2.1.0 ok".to_owned()
            }
            "RCPT" if line.contains("<nobody@") => "550 5.1.1 there is nobody".to_owned(),
            "RCPT" if line.contains("<later@") => "451 4.2.0 come back".to_owned(),
            "RCPT" => {
                if line.contains("<slow@") {
                    record.hold();
                }
                seen.recipients.push(line.clone());
                "250 2.1.5 ok".to_owned()
            }
            "DATA" if seen.recipients.is_empty() => "554 5.5.1 no recipients".to_owned(),
            "DATA" => {
                stream.write_all(b"354 go on\r\n")?;
                loop {
                    let mut line = String::new();
                    if lines.read_line(&mut line)? == 0 {
                        return Ok(());
                    }
                    if line == ".\r\n" {
                        break;
                    }
                    seen.content += line.strip_prefix('.').unwrap_or(&line);
                }
                if seen.recipients.iter().any(|line| line.contains("<held@")) {
                    record.hold();
                }
                if seen.recipients.iter().any(|line| line.contains("<policy@")) {
                    "550 5.7.1 not such a message".to_owned()
                } else {
                    if extensions.contains(&"X-SLOW") {
                        record.take_time();
                    }
                    record.messages.lock().unwrap().push(std::mem::take(&mut seen));
                    taken += 1;
                    "250 2.0.0 taken".to_owned()
                }
            }
            "BDAT" => {
                let mut words = line.split(' ').skip(1);
                let octets = words.next().and_then(|word| word.parse().ok()).unwrap();
                let mut chunk = vec![0; octets];
                lines.read_exact(&mut chunk)?;
                seen.content += std::str::from_utf8(&chunk).unwrap();
                if words.next() == Some("LAST") {
                    record.messages.lock().unwrap().push(std::mem::take(&mut seen));
                }
                "250 2.0.0 taken".to_owned()
            }
            "QUIT" => {
                stream.write_all(b"221 2.0.0 bye\r\n")?;
                return Ok(());
            }
            "STARTTLS" if extensions.contains(&"X-LEAVES") || extensions.contains(&"X-ASKS") => {
                stream.write_all(b"220 2.0.0 go on\r\n")?;
                return shake_hands_and_leave(stream, extensions.contains(&"X-ASKS"));
            }
            "STARTTLS" if extensions.contains(&"X-CLOSES") => {
                stream.write_all(b"421 4.7.0 never\r\n")?;
                return Ok(());
            }
            "STARTTLS" => "454 4.7.0 not now".to_owned(),
            _ => "250 2.0.0 ok".to_owned(),
        };
        stream.write_all(reply.as_bytes())?;
        stream.write_all(b"\r\n")?;
    }
}
