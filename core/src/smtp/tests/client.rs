//! A client that says what the tests want.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postrider_proto::sasl::client::{Client as Sasl, ClientBinding, ClientCredentials};
use postrider_proto::sasl::{Mechanism, Secret};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::testing::PATIENCE;

pub(super) enum Wire {
    Clear(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.read(into),
            Self::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.write(octets),
            Self::Tls(stream) => stream.write(octets),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Clear(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// The certificate is made for the test; what is tested lies elsewhere.
#[derive(Debug)]
struct TrustAll;

impl ServerCertVerifier for TrustAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

fn config() -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.dangerous().with_custom_certificate_verifier(Arc::new(TrustAll)).with_no_client_auth())
}

/// A client; every answer is given with its lines joined by `\n`, without line ends.
pub(super) struct Client {
    wire: BufReader<Wire>,
    pub(super) exporter: Option<Vec<u8>>,
}

impl Client {
    /// Connects, and reads nothing.
    pub(super) fn dial(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { wire: BufReader::new(Wire::Clear(stream)), exporter: None }
    }

    /// Goes on with TLS.
    pub(super) fn tls(self) -> Self {
        assert!(self.wire.buffer().is_empty());
        let Wire::Clear(stream) = self.wire.into_inner() else { panic!("TLS twice") };
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = StreamOwned::new(ClientConnection::new(config(), name).unwrap(), stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        let exporter =
            stream.conn.export_keying_material(vec![0; 32], b"EXPORTER-Channel-Binding", None).unwrap();
        Self { wire: BufReader::new(Wire::Tls(Box::new(stream))), exporter: Some(exporter) }
    }

    pub(super) fn send(&mut self, octets: &[u8]) {
        self.wire.get_mut().write_all(octets).unwrap();
        self.wire.get_mut().flush().unwrap();
    }

    /// Waits a little for a reply. For a client without TLS.
    pub(super) fn has_reply(&mut self) -> bool {
        let Wire::Clear(stream) = self.wire.get_ref() else { panic!("TLS") };
        let patience = stream.read_timeout().unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(25))).unwrap();
        // The end of the connection is one, too.
        let came = !self.wire.buffer().is_empty() || stream.peek(&mut [0]).is_ok();
        stream.set_read_timeout(patience).unwrap();
        came
    }

    /// The next reply; empty at the end of the connection.
    pub(super) fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let mut line = String::new();
            match self.wire.read_line(&mut line) {
                Ok(0) => return reply,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return reply,
                Err(error) => panic!("{error} after {reply:?}"),
            }
            let line = line.strip_suffix("\r\n").unwrap_or_else(|| panic!("no CRLF: {line:?}"));
            if !reply.is_empty() {
                reply.push('\n');
            }
            reply += line;
            if line.as_bytes().get(3) != Some(&b'-') {
                return reply;
            }
        }
    }

    /// Sends a line, and gives the reply.
    pub(super) fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes());
        self.reply()
    }

    /// Sends a line whose reply must begin so.
    pub(super) fn expect(&mut self, line: &str, begin: &str) -> String {
        let reply = self.ask(line);
        assert!(reply.starts_with(begin), "{line}: wanted {begin}, got {reply}");
        reply
    }

    /// Everything up to the end of the connection.
    pub(super) fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let _ = self.wire.read_to_end(&mut rest);
        String::from_utf8_lossy(&rest).into_owned()
    }

    /// Sends a message; gives the reply after the content.
    pub(super) fn mail(&mut self, from: &str, to: &[&str], content: &str) -> String {
        self.expect(&format!("MAIL FROM:<{from}>"), "250");
        for to in to {
            self.expect(&format!("RCPT TO:<{to}>"), "250");
        }
        self.data(content)
    }

    /// As [`Self::mail`], but gives the reply to the first recipient that is refused, and sends nothing then.
    pub(super) fn try_mail(&mut self, from: &str, to: &[&str], content: &str) -> String {
        self.expect(&format!("MAIL FROM:<{from}>"), "250");
        for to in to {
            let reply = self.ask(&format!("RCPT TO:<{to}>"));
            if !reply.starts_with("250") {
                self.expect("RSET", "250");
                return reply;
            }
        }
        self.data(content)
    }

    /// Sends content.
    pub(super) fn data(&mut self, content: &str) -> String {
        self.expect("DATA", "354");
        self.send(format!("{content}\r\n.\r\n").as_bytes());
        self.reply()
    }

    /// Logs in; gives the last reply.
    pub(super) fn log_in(&mut self, mechanism: Mechanism, login: &str, password: &str) -> String {
        let credentials =
            ClientCredentials { login: login.to_owned(), password: Secret::new(password.to_owned()) };
        let binding = match &self.exporter {
            Some(exporter) if mechanism.binds_channel() => {
                ClientBinding::Exporter(Secret::new(exporter.clone()))
            }
            _ => ClientBinding::Incapable,
        };
        let mut sasl = Sasl::new(mechanism, credentials, binding, "fyko+d2lbbFgONRv9qkxdawL");
        let mut line = format!("AUTH {}", mechanism.name());
        if let Some(first) = sasl.initial_response() {
            line += " ";
            line += &STANDARD.encode(first);
        }
        let mut reply = self.ask(&line);
        while let Some(challenge) = reply.strip_prefix("334 ") {
            let answer = sasl.respond(&STANDARD.decode(challenge).unwrap()).unwrap();
            reply = self.ask(&STANDARD.encode(answer));
        }
        if reply.starts_with("235") {
            assert!(sasl.is_proved(), "{mechanism} without the server's proof");
        }
        reply
    }
}
