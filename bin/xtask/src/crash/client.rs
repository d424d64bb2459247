//! Small blocking clients for SMTP, and for IMAP over TLS.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use crate::localserve::{PASSWORD, USER, port};

const PATIENCE: Duration = Duration::from_secs(120);

fn connect(port: u16) -> Result<TcpStream> {
    let socket =
        TcpStream::connect(("127.0.0.1", port)).with_context(|| format!("connecting to port {port}"))?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// A session of SMTP.
pub struct Smtp {
    stream: BufReader<TcpStream>,
}

impl Smtp {
    /// Connects and says hello.
    pub fn connect() -> Result<Self> {
        let mut smtp = Self { stream: BufReader::new(connect(port::SMTP)?) };
        expect(&smtp.reply()?, "220")?;
        expect(&smtp.command("EHLO crash.example\r\n")?, "250")?;
        Ok(smtp)
    }

    /// Sends a message and returns the final reply: to DATA's end, or the first one that was a refusal.
    /// An error means that nothing is known.
    pub fn deliver(&mut self, recipient: &str, message: &[u8]) -> Result<String> {
        let envelope = [
            ("MAIL FROM:<crash@example.org>\r\n".to_owned(), "250"),
            (format!("RCPT TO:<{recipient}>\r\n"), "250"),
            ("DATA\r\n".to_owned(), "354"),
        ];
        for (command, code) in envelope {
            let reply = self.command(&command)?;
            if !reply.starts_with(code) {
                self.command("RSET\r\n")?;
                return Ok(reply);
            }
        }
        self.stream.get_mut().write_all(message)?;
        self.command(".\r\n")
    }

    fn command(&mut self, line: &str) -> Result<String> {
        self.stream.get_mut().write_all(line.as_bytes())?;
        self.reply()
    }

    /// The last line of a reply.
    fn reply(&mut self) -> Result<String> {
        loop {
            let mut line = String::new();
            ensure!(self.stream.read_line(&mut line)? > 0, "the server closed the connection");
            ensure!(line.ends_with('\n'), "half a reply: {line:?}");
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(line.trim_end().to_owned());
            }
        }
    }
}

fn expect(reply: &str, code: &str) -> Result<()> {
    ensure!(reply.starts_with(code), "expected {code}, got {reply:?}");
    Ok(())
}

/// One response of IMAP.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// All of it but the content of literals.
    pub text: String,
    /// The content of its literals, in order.
    pub literals: Vec<Vec<u8>>,
}

impl Response {
    /// The number that follows `name` and a space or an opening parenthesis.
    pub fn number(&self, name: &str) -> Option<u64> {
        let at = self.text.find(name)? + name.len();
        let rest = self.text[at..].trim_start_matches([' ', '(']);
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..digits].parse().ok()
    }

    /// True for an untagged FETCH.
    pub fn is_fetch(&self) -> bool {
        self.text.starts_with("* ") && self.text.split(' ').nth(2) == Some("FETCH")
    }
}

/// The answer to a command.
pub struct Answer {
    /// What came before the tagged line.
    pub untagged: Vec<Response>,
    /// The tagged line without its tag.
    pub tagged: Response,
}

impl Answer {
    /// True when the command was done.
    pub fn is_ok(&self) -> bool {
        self.tagged.text.starts_with("OK")
    }

    /// The first response with this response code, and all of that code's text.
    pub fn code(&self, name: &str) -> Option<&str> {
        let opening = format!("[{name} ");
        self.untagged.iter().chain([&self.tagged]).find_map(|response| {
            let from = response.text.find(&opening)? + opening.len();
            let length = response.text[from..].find(']')?;
            Some(&response.text[from..from + length])
        })
    }
}

/// A session of IMAP.
pub struct Imap {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
    number: u64,
}

impl Imap {
    /// Connects over TLS and logs in.
    pub fn login() -> Result<Self> {
        let socket = connect(port::IMAPS)?;
        // An address, so that no name is asked for: the server's name is that of its configuration.
        let connection = ClientConnection::new(tls_config()?, ServerName::try_from("127.0.0.1")?)?;
        let mut imap = Self { stream: BufReader::new(StreamOwned::new(connection, socket)), number: 0 };
        let greeting = imap.response()?;
        ensure!(greeting.text.starts_with("* OK"), "greeting: {}", greeting.text);
        imap.done(&format!("LOGIN {USER} {PASSWORD}"))?;
        Ok(imap)
    }

    /// Runs a command. An error means that nothing is known of its effect.
    pub fn command(&mut self, command: &str) -> Result<Answer> {
        self.send(command, None)
    }

    /// Runs a command that must be done.
    pub fn done(&mut self, command: &str) -> Result<Answer> {
        let answer = self.command(command)?;
        if !answer.is_ok() {
            bail!("{command}: {}", answer.tagged.text);
        }
        Ok(answer)
    }

    /// Appends a message.
    pub fn append(&mut self, mailbox: &str, flags: &str, message: &[u8]) -> Result<Answer> {
        self.send(&format!("APPEND {mailbox} ({flags}) {{{}+}}", message.len()), Some(message))
    }

    fn send(&mut self, command: &str, literal: Option<&[u8]>) -> Result<Answer> {
        self.number += 1;
        let tag = format!("c{}", self.number);
        let stream = self.stream.get_mut();
        stream.write_all(format!("{tag} {command}\r\n").as_bytes())?;
        if let Some(literal) = literal {
            stream.write_all(literal)?;
            stream.write_all(b"\r\n")?;
        }
        stream.flush()?;
        let mut untagged = Vec::new();
        loop {
            let mut response = self.response()?;
            if let Some(text) = response.text.strip_prefix(&format!("{tag} ")) {
                response.text = text.to_owned();
                return Ok(Answer { untagged, tagged: response });
            }
            ensure!(!response.text.starts_with("* BYE"), "{}", response.text);
            untagged.push(response);
        }
    }

    fn response(&mut self) -> Result<Response> {
        let mut response = Response::default();
        loop {
            let mut line = Vec::new();
            ensure!(self.stream.read_until(b'\n', &mut line)? > 0, "the server closed the connection");
            ensure!(line.ends_with(b"\r\n"), "half a response: {:?}", String::from_utf8_lossy(&line));
            line.truncate(line.len() - 2);
            let line = String::from_utf8_lossy(&line);
            response.text.push_str(&line);
            let length = line
                .strip_suffix('}')
                .and_then(|line| line.rsplit_once('{'))
                .and_then(|(_, length)| length.parse::<usize>().ok());
            let Some(length) = length else { return Ok(response) };
            let mut literal = vec![0; length];
            self.stream.read_exact(&mut literal)?;
            response.literals.push(literal);
        }
    }
}

/// A configuration that takes any certificate: these clients only talk to loopback.
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
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
