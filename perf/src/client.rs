//! A plain blocking client for line protocols, in the clear or over TLS.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use postrider_proto::sasl::client::{self as sasl, ClientBinding, ClientCredentials};
use postrider_proto::sasl::{Limits, Mechanism, Secret, wire};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

/// A connection that is read by lines.
pub struct Client {
    stream: BufReader<Box<dyn ReadWrite>>,
    /// The same socket, for those who wait on several.
    socket: TcpStream,
    line: String,
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

trait ReadWrite: Read + Write + Send {}
impl<T: Read + Write + Send> ReadWrite for T {}

/// How long a read may take at first.
const PATIENCE: Duration = Duration::from_secs(60);
/// Octets that a connection reads at a time.
const BUFFER_OCTETS: usize = 16 << 10;

/// Who logs in.
#[derive(Clone, Debug)]
pub struct Login {
    pub user: String,
    pub password: String,
}

/// Whether a connection is encrypted from its start.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Security {
    Plain,
    Tls,
}

impl Client {
    pub fn connect(address: &str, security: Security) -> Result<Self> {
        let socket = TcpStream::connect(address).with_context(|| format!("no connection to {address}"))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let kept = socket.try_clone()?;
        let stream: Box<dyn ReadWrite> = match security {
            Security::Plain => Box::new(socket),
            Security::Tls => {
                // By an address no name is asked for, and the server shows its first certificate.
                let name = ServerName::from(socket.peer_addr()?.ip());
                Box::new(StreamOwned::new(ClientConnection::new(tls_config()?, name)?, socket))
            }
        };
        Ok(Self {
            stream: BufReader::with_capacity(BUFFER_OCTETS, stream),
            socket: kept,
            line: String::new(),
        })
    }

    /// Connects to an IMAP server and logs in, over TLS or, in the clear, without sending the password.
    pub fn log_in(address: &str, security: Security, login: &Login) -> Result<Self> {
        let mut client = Self::connect(address, security)?;
        client.line()?;
        match security {
            Security::Tls => drop(client.imap(&format!("LOGIN {} {}", login.user, login.password))?),
            Security::Plain => client.log_in_by_cram_md5(&login.user, &login.password)?,
        }
        Ok(client)
    }

    /// How long a read may take.
    pub fn set_patience(&mut self, patience: Duration) -> Result<()> {
        Ok(self.socket.set_read_timeout(Some(patience))?)
    }

    /// Whether a line, or a part of one, was read already: then waiting on the socket could be for ever.
    pub fn has_more(&self) -> bool {
        !self.stream.buffer().is_empty()
    }

    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes)?;
        Ok(stream.flush()?)
    }

    /// The next line, without its end.
    pub fn line(&mut self) -> Result<&str> {
        self.line.clear();
        if self.stream.read_line(&mut self.line)? == 0 {
            bail!("the server closed the connection");
        }
        Ok(self.line.trim_end_matches(['\r', '\n']))
    }

    /// Reads an SMTP reply, all of its lines, and checks its code.
    pub fn expect_reply(&mut self, code: &str) -> Result<()> {
        loop {
            let line = self.line()?;
            if !line.starts_with(code) {
                bail!("expected {code}, got {line:?}");
            }
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(());
            }
        }
    }

    /// Greets an SMTP server.
    pub fn say_hello(&mut self) -> Result<()> {
        self.expect_reply("220")?;
        self.send(b"EHLO client.example\r\n")?;
        self.expect_reply("250")
    }

    /// Logs in to a submission server without sending the password.
    pub fn log_in_to_submit(&mut self, login: &Login) -> Result<()> {
        let credentials =
            ClientCredentials { login: login.user.clone(), password: Secret::new(login.password.clone()) };
        let mut exchange = sasl::Client::new(Mechanism::CramMd5, credentials, ClientBinding::Incapable, "");
        self.send(b"AUTH CRAM-MD5\r\n")?;
        let answer = self.line()?;
        let challenge =
            answer.strip_prefix("334 ").with_context(|| format!("no challenge: {answer}"))?.to_owned();
        let challenge = wire::decode_response(challenge.as_bytes(), &Limits::DEFAULT)
            .map_err(|_| anyhow!("bad challenge"))?;
        let response = exchange.respond(&challenge)?;
        self.send(format!("{}\r\n", wire::encode(&response)).as_bytes())?;
        self.expect_reply("235")
    }

    /// Logs in over IMAP without sending the password, as has to be where there is no TLS.
    fn log_in_by_cram_md5(&mut self, user: &str, password: &str) -> Result<()> {
        let credentials =
            ClientCredentials { login: user.to_owned(), password: Secret::new(password.to_owned()) };
        let mut exchange = sasl::Client::new(Mechanism::CramMd5, credentials, ClientBinding::Incapable, "");
        self.send(b"a AUTHENTICATE CRAM-MD5\r\n")?;
        let answer = self.line()?;
        let challenge =
            answer.strip_prefix("+ ").with_context(|| format!("no challenge: {answer}"))?.to_owned();
        let challenge = wire::decode_response(challenge.as_bytes(), &Limits::DEFAULT)
            .map_err(|_| anyhow!("bad challenge"))?;
        let response = exchange.respond(&challenge)?;
        self.send(format!("{}\r\n", wire::encode(&response)).as_bytes())?;
        let answer = self.line()?;
        if !answer.starts_with("a OK") {
            bail!("AUTHENTICATE: {answer}");
        }
        Ok(())
    }

    /// Opens a mailbox for reading and writing; the number of its messages.
    pub fn exists(&mut self, mailbox: &str) -> Result<usize> {
        self.send(format!("t SELECT {mailbox}\r\n").as_bytes())?;
        let mut exists = None;
        loop {
            let line = self.line()?;
            if let Some(number) = line.strip_prefix("* ").and_then(|line| line.strip_suffix(" EXISTS")) {
                exists = Some(number.parse().context("a number of messages")?);
            }
            if let Some(answer) = line.strip_prefix("t ") {
                if !answer.starts_with("OK") {
                    bail!("SELECT {mailbox}: {answer}");
                }
                return exists.context("SELECT told no number of messages");
            }
        }
    }

    /// Sends an IMAP command and reads up to its tagged answer; the number of lines and octets before it.
    pub fn imap(&mut self, command: &str) -> Result<(usize, usize)> {
        self.send(format!("t {command}\r\n").as_bytes())?;
        let (mut lines, mut octets) = (0, 0);
        loop {
            let line = self.line()?;
            if let Some(answer) = line.strip_prefix("t ") {
                if !answer.starts_with("OK") {
                    bail!("{command}: {answer}");
                }
                return Ok((lines, octets));
            }
            lines += 1;
            octets += line.len() + 2;
            let literal = line
                .strip_suffix('}')
                .and_then(|line| line.rsplit_once('{'))
                .and_then(|(_, n)| n.parse::<u64>().ok());
            if let Some(length) = literal {
                let copied = std::io::copy(&mut self.stream.by_ref().take(length), &mut std::io::sink())?;
                octets += usize::try_from(copied)?;
            }
        }
    }
}

/// A configuration that takes any certificate: the drivers only talk to loopback.
fn tls_config() -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct AnyCertificate(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
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
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
