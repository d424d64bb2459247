//! Hands a message to the server: one connection, and as many transactions as the server's limits ask for.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use postrider_core::resolver::authorities;
use postrider_dns::dane::Verifier;
use postrider_proto::address::HeloName;
use postrider_proto::sasl::client::ClientCredentials;
use postrider_proto::sasl::{ChannelBinding, Mechanism, Secret};
use postrider_proto::smtp::client::{
    Action, Authentication, Broken, Client, End, Failure, Finished, Outcome, Settings, Stage, StartTls,
    Unsendable,
};
use postrider_proto::smtp::envelope::Envelope;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, StreamOwned};

use super::config::{Config, Encryption, Identity, Trust};
use super::exit::{Code, Failed};
use super::message::Content;
use crate::commands::wire::{Timely, Wire};

/// Time for a connection to one address.
const CONNECT_TIME: Duration = Duration::from_secs(30);
/// Addresses of the server that are tried.
const ADDRESSES_MAX: usize = 8;
/// Time for the handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(60);
/// Time to read why the server doesn't read any more.
const LAST_WORDS_TIME: Duration = Duration::from_secs(1);
/// Octets that are read of the server at once.
const READ_OCTETS: usize = 4096;
/// Octets of the message that are sent at once.
const PIECE_OCTETS: usize = 32 << 10;

/// What became of one recipient: what the server said, or why it doesn't get the message.
pub type Verdict = Result<String, Failed>;

/// Submits a message; a verdict for each recipient of the envelope, in its order.
pub fn submit(
    config: &Config,
    name: HeloName,
    nonce: String,
    envelope: &Envelope,
    content: &mut Content,
) -> Vec<Verdict> {
    let mut submission = Submission {
        envelope,
        pending: (0..envelope.recipients.len()).collect(),
        verdicts: vec![None; envelope.recipients.len()],
        content,
        tls_failure: None,
    };
    let outcome = submission.run(config, name, nonce);
    let rest = outcome
        .err()
        .unwrap_or_else(|| Failed::new(Code::Temporary, "the connection ended before the message was taken"));
    submission.verdicts.into_iter().map(|verdict| verdict.unwrap_or_else(|| Err(rest.clone()))).collect()
}

struct Submission<'a> {
    envelope: &'a Envelope,
    /// The numbers of the recipients that have no verdict.
    pending: Vec<usize>,
    verdicts: Vec<Option<Verdict>>,
    content: &'a mut Content,
    tls_failure: Option<Failed>,
}

impl Submission<'_> {
    /// All of the conversation. An error is for the recipients that have no verdict.
    fn run(&mut self, config: &Config, name: HeloName, nonce: String) -> Result<(), Failed> {
        let stream = connect(config)?;
        let stream = Timely { stream, until: Instant::now() + HANDSHAKE_TIME };
        let (mut wire, binding) = if config.tls == Encryption::Implicit {
            let (wire, binding) = secure(config, stream)?;
            (wire, Some(binding))
        } else {
            (Wire::Clear(stream), None)
        };
        let starttls = if config.tls == Encryption::StartTls { StartTls::Required } else { StartTls::Never };
        let settings = Settings { name, starttls, authentication: authentication(config, nonce) };
        let mut client = Client::new(settings, binding);
        loop {
            match client.next_action() {
                Action::Send { octets, wait } => {
                    wire.until(Instant::now() + wait.timeout());
                    let written = wire.write(&octets);
                    client.reuse(octets);
                    if let Err(error) = written {
                        // What it said may be why it stopped reading.
                        read(&mut wire, &mut client, LAST_WORDS_TIME);
                        client.broken(how(&error));
                    }
                }
                Action::Read { wait } => read(&mut wire, &mut client, wait.timeout()),
                Action::StartTls => wire = self.start_tls(config, wire, &mut client),
                Action::Ready => self.next(&mut client),
                Action::Content => self.piece(&mut client),
                Action::Done(finished) => self.done(finished),
                Action::Close(End::Quit) => return Ok(()),
                Action::Close(End::Failed(failure)) => {
                    return Err(self.tls_failure.take().unwrap_or_else(|| of_failure(&failure)));
                }
            }
        }
    }

    fn start_tls(&mut self, config: &Config, wire: Wire, client: &mut Client) -> Wire {
        let secured = match wire {
            Wire::Clear(mut stream) => {
                stream.until = Instant::now() + HANDSHAKE_TIME;
                secure(config, stream)
            }
            Wire::Tls(_) | Wire::Gone => Err(Failed::new(Code::Protocol, "TLS was started twice")),
        };
        match secured {
            Ok((wire, binding)) => {
                client.started_tls(binding);
                wire
            }
            Err(failed) => {
                self.tls_failure = Some(failed);
                client.broken(Broken::Io);
                Wire::Gone
            }
        }
    }

    /// Begins a transaction with those that have no verdict, or ends.
    fn next(&mut self, client: &mut Client) {
        if self.pending.is_empty() {
            return client.quit();
        }
        let all = &self.envelope.recipients;
        let recipients = self.pending.iter().filter_map(|at| all.get(*at).cloned()).collect();
        let begun = self
            .content
            .rewind()
            .map_err(|error| Failed::io("can't read the message again", &error))
            .and_then(|()| {
                client.begin(Envelope { recipients, ..self.envelope.clone() }).map_err(|why| {
                    let code = if why == Unsendable::UsedUp { Code::Temporary } else { Code::Unavailable };
                    Failed::new(code, why.to_string())
                })
            });
        if let Err(failed) = begun {
            for at in self.pending.drain(..) {
                self.verdicts[at] = Some(Err(failed.clone()));
            }
            client.quit();
        }
    }

    fn piece(&mut self, client: &mut Client) {
        let mut buffer = vec![0; PIECE_OCTETS];
        match self.content.read(&mut buffer) {
            Ok(0) => client.content_end(),
            Ok(octets) => client.content(&buffer[..octets]),
            Err(_) => client.broken(Broken::Local),
        }
    }

    fn done(&mut self, finished: Finished) {
        let were = std::mem::take(&mut self.pending);
        for (at, outcome) in were.into_iter().zip(finished.outcomes) {
            let verdict = match outcome {
                Outcome::NextTransaction => {
                    self.pending.push(at);
                    continue;
                }
                Outcome::Delivered(reply) => Ok(said(&reply)),
                Outcome::Refused { stage, ref reply } => {
                    let code = match (outcome.is_permanent(), stage) {
                        (false, _) => Code::Temporary,
                        (true, Stage::Recipient) => Code::NoUser,
                        (true, _) => Code::Unavailable,
                    };
                    Err(Failed::new(code, said(reply)))
                }
                Outcome::Broken { reason, .. } if finished.uncertain => {
                    Err(Failed::new(Code::Temporary, format!("{reason}; the server may have the message")))
                }
                Outcome::Broken { reason, .. } => Err(of_broken(reason)),
            };
            self.verdicts[at] = Some(verdict);
        }
    }
}

fn connect(config: &Config) -> Result<TcpStream, Failed> {
    let Config { host, port, .. } = config;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<SocketAddr> = (bare, *port)
        .to_socket_addrs()
        .map_err(|error| Failed::new(Code::NoHost, format!("can't find {host}: {error}")))?
        .take(ADDRESSES_MAX)
        .collect();
    let mut last = Failed::new(Code::NoHost, format!("{host} has no address"));
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT_TIME) {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                last = Failed::new(Code::Temporary, format!("can't connect to {host} ({address}): {error}"));
            }
        }
    }
    Err(last)
}

/// The handshake.
fn secure(config: &Config, stream: Timely) -> Result<(Wire, ChannelBinding), Failed> {
    let failed = |error: &dyn std::fmt::Display| {
        Failed::new(Code::Temporary, format!("TLS with {} failed: {error}", config.host))
    };
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?;
    let builder = match &config.trust {
        Trust::Verify(file) => {
            let roots = authorities(file.as_deref()).map_err(|error| Failed::new(Code::Config, error))?;
            builder.with_root_certificates(roots)
        }
        Trust::Anything => {
            let verifier = Arc::new(Verifier::of_anybody(provider));
            builder.dangerous().with_custom_certificate_verifier(verifier)
        }
    };
    let tls = match &config.identity {
        None => builder.with_no_client_auth(),
        Some(Identity { chain, key }) => builder
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(|error| Failed::new(Code::Config, format!("certificate_file and key_file: {error}")))?,
    };
    let bare = config.host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(bare).map_err(|error| failed(&error))?;
    let session = ClientConnection::new(Arc::new(tls), name).map_err(|error| failed(&error))?;
    let mut secured = StreamOwned::new(session, stream);
    while secured.conn.is_handshaking() {
        secured.conn.complete_io(&mut secured.sock).map_err(|error| failed(&error))?;
    }
    // RFC 9266 §4.2: only TLS 1.3 always has what makes it unique.
    let exporter = if secured.conn.protocol_version() == Some(ProtocolVersion::TLSv1_3) {
        let exported = secured.conn.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b""));
        exported.ok().map(|octets: [u8; 32]| Secret::new(octets.to_vec()))
    } else {
        None
    };
    Ok((Wire::Tls(Box::new(secured)), ChannelBinding { exporter, unique: None }))
}

/// How to log in: with the mechanism that is configured, or with a certificate, or any that doesn't show the password, or
/// PLAIN to a server that proved who it is.
fn authentication(config: &Config, nonce: String) -> Option<Authentication> {
    let external = config.identity.is_some().then_some(Mechanism::External);
    let Some(login) = &config.login else {
        let credentials = ClientCredentials { login: String::new(), password: Secret::new(String::new()) };
        return Some(Authentication { credentials, mechanisms: vec![external?], nonce });
    };
    let is_verified = config.tls != Encryption::Off && config.trust != Trust::Anything;
    let mechanisms = match login.mechanism {
        Some(mechanism) => vec![mechanism],
        None => {
            let plain = is_verified.then_some(Mechanism::Plain);
            Authentication::MECHANISMS.into_iter().chain(plain).chain(external).collect()
        }
    };
    let credentials = ClientCredentials { login: login.username.clone(), password: login.password.clone() };
    Some(Authentication { credentials, mechanisms, nonce })
}

fn read(wire: &mut Wire, client: &mut Client, time: Duration) {
    wire.until(Instant::now() + time);
    let mut buffer = [0; READ_OCTETS];
    match wire.read(&mut buffer) {
        Ok(0) => client.broken(Broken::Closed),
        Ok(octets) => client.receive(&buffer[..octets]),
        Err(error) => client.broken(how(&error)),
    }
}

fn how(error: &std::io::Error) -> Broken {
    match error.kind() {
        std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock => Broken::TimedOut,
        _ => Broken::Io,
    }
}

/// A reply on one line.
fn said(reply: &postrider_proto::smtp::client::Reply) -> String {
    reply.to_string().chars().map(|one| if one.is_control() { ' ' } else { one }).collect()
}

fn of_broken(reason: Broken) -> Failed {
    let code = if matches!(reason, Broken::Fault(_)) { Code::Protocol } else { Code::Temporary };
    Failed::new(code, reason.to_string())
}

fn of_failure(failure: &Failure) -> Failed {
    match failure {
        Failure::Refused { stage: Stage::Auth, reply } if failure.is_permanent() => {
            Failed::new(Code::NoPermission, format!("the login was refused: {}", said(reply)))
        }
        Failure::Refused { reply, .. } => {
            let code = if failure.is_permanent() { Code::Unavailable } else { Code::Temporary };
            Failed::new(code, said(reply))
        }
        Failure::Broken { reason, .. } => of_broken(*reason),
        Failure::NoMechanism => Failed::new(Code::NoPermission, failure.to_string()),
        Failure::Authentication(_) => Failed::new(Code::NoPermission, failure.to_string()),
    }
}
