//! A conversation with a host up to the point at which a message would be begun, over a blocking socket.

use std::io::{ErrorKind, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use postrider_delivery::attempt::Dial;
use postrider_delivery::outcome::{Answer, Broken as How, HostEnd, Stage, Unreachable};
use postrider_delivery::security::{Channel, Starttls, TlsEvent};
use postrider_dns::dane::Verifier;
use postrider_proto::address::HeloName;
use postrider_proto::sasl::ChannelBinding;
use postrider_proto::smtp::client::{
    self, Action, Broken, Client, End, Extension, Failure, Settings, StartTls, TlsState,
};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

use super::words;
use crate::commands::wire::{Timely, Wire};

/// Time for a connection to one address.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Time for all of a conversation.
const DIALOG_TIME: Duration = Duration::from_secs(60);
/// Octets read at once.
const READ_OCTETS: usize = 4096;

/// Connects to hosts.
pub struct Dialer {
    /// Why nothing can be verified by public authorities, otherwise.
    roots: Result<Arc<RootCertStore>, String>,
    hello: HeloName,
}

/// What was found out about a host.
#[derive(Default)]
pub struct Dialed {
    /// Where the connection went.
    address: Option<IpAddr>,
    /// What was said or done, in order.
    notes: Vec<String>,
    starttls: bool,
    requiretls: bool,
    version: Option<String>,
    cipher: Option<String>,
    /// Why the certificate isn't one of a public authority; none without TLS.
    pkix: Option<Result<(), String>>,
    /// Why TLSA records aren't about it; none without TLS, or without records.
    dane: Option<Result<(), String>>,
    /// Whether a message could be begun, and with REQUIRETLS, or why not.
    allowed: Option<Result<bool, &'static str>>,
    /// Why none could be begun; none when one could.
    pub end: Option<HostEnd>,
}

impl Dialer {
    pub fn new(roots: Result<RootCertStore, String>, hello: HeloName) -> Self {
        Self { roots: roots.map(Arc::new), hello }
    }

    /// Speaks with a host, and tells which address that was.
    pub fn dial(&self, dial: &Dial) -> (Dialed, Option<IpAddr>) {
        let mut dialed = Dialed::default();
        let mut last = Unreachable::NoRoute;
        for address in &dial.addresses {
            let socket = SocketAddr::new(*address, dial.port);
            match TcpStream::connect_timeout(&socket, CONNECT_TIME) {
                Ok(stream) => {
                    dialed.address = Some(*address);
                    dialed.notes.push(format!("connected to {socket}"));
                    let until = Instant::now() + DIALOG_TIME;
                    dialed.end = self.converse(dial, Timely { stream, until }, &mut dialed).err();
                    return (dialed, Some(*address));
                }
                Err(error) => {
                    dialed.notes.push(format!("{socket}: {error}"));
                    last = match error.kind() {
                        ErrorKind::ConnectionRefused => Unreachable::Refused,
                        ErrorKind::TimedOut => Unreachable::TimedOut,
                        _ => Unreachable::NoRoute,
                    };
                }
            }
        }
        dialed.end = Some(HostEnd::Unreachable(last));
        (dialed, dial.addresses.last().copied())
    }

    /// Everything before a message, and QUIT.
    fn converse(&self, dial: &Dial, stream: Timely, dialed: &mut Dialed) -> Result<(), HostEnd> {
        let settings = Settings {
            name: self.hello.clone(),
            starttls: match dial.rule.starttls {
                Starttls::Never | Starttls::Implicit => StartTls::Never,
                Starttls::Opportunistic => StartTls::IfOffered,
                Starttls::Mandatory => StartTls::Required,
            },
            authentication: None,
        };
        let binding = ChannelBinding { exporter: None, unique: None };
        let (mut client, mut wire) = match dial.rule.starttls {
            Starttls::Implicit => {
                let (secured, outcome) = self.secure(dial, Wire::Clear(stream), dialed);
                outcome.map_err(HostEnd::Tls)?;
                (Client::new(settings, Some(binding)), secured)
            }
            _ => (Client::new(settings, None), Wire::Clear(stream)),
        };
        let mut judged = Ok(());
        loop {
            match client.next_action() {
                Action::Send { octets, .. } => {
                    let written = wire.write(&octets);
                    client.reuse(octets);
                    if written.is_err() {
                        client.broken(Broken::Io);
                    }
                }
                Action::Read { .. } => {
                    let mut buffer = [0; READ_OCTETS];
                    match wire.read(&mut buffer) {
                        Ok(0) => client.broken(Broken::Closed),
                        Ok(count) => client.receive(&buffer[..count]),
                        Err(error) => client.broken(match error.kind() {
                            ErrorKind::TimedOut | ErrorKind::WouldBlock => Broken::TimedOut,
                            _ => Broken::Io,
                        }),
                    }
                }
                Action::StartTls => {
                    dialed.starttls = client.capabilities().has(Extension::StartTls);
                    let (secured, outcome) = self.secure(dial, wire, dialed);
                    wire = secured;
                    match outcome {
                        Ok(()) => client.started_tls(ChannelBinding { exporter: None, unique: None }),
                        Err(event) => return Err(HostEnd::Tls(event)),
                    }
                }
                Action::Ready => {
                    judged = judge(dial, &client, dialed);
                    client.quit();
                }
                Action::Close(End::Quit) => return judged,
                // After QUIT nothing else counts.
                Action::Close(_) if dialed.allowed.is_some() => return judged,
                Action::Close(End::Failed(failure)) => return Err(ended(&failure)),
                Action::Content | Action::Done(_) => {
                    return Err(HostEnd::Broken { stage: Stage::Mail, how: How::Malformed });
                }
            }
        }
    }

    /// Shakes hands, and judges the certificate. Whatever it is, the handshake is completed, so that it can be told.
    fn secure(&self, dial: &Dial, wire: Wire, dialed: &mut Dialed) -> (Wire, Result<(), TlsEvent>) {
        let Wire::Clear(stream) = wire else { return (Wire::Gone, Err(TlsEvent::Handshake)) };
        let Some(name) = server_name(dial) else { return (Wire::Gone, Err(TlsEvent::Certificate)) };
        let mut secured = match shake_hands(stream, name.clone()) {
            Ok(secured) => secured,
            Err(error) => {
                dialed.notes.push(format!("the handshake failed: {error}"));
                return (Wire::Gone, Err(TlsEvent::Handshake));
            }
        };
        let connection = &secured.conn;
        dialed.version =
            connection.protocol_version().and_then(|version| version.as_str().map(str::to_owned));
        let suite = connection.negotiated_cipher_suite();
        dialed.cipher = suite.and_then(|suite| suite.suite().as_str().map(str::to_owned));
        let shown: Vec<CertificateDer<'static>> = connection
            .peer_certificates()
            .unwrap_or_default()
            .iter()
            .map(|one| one.clone().into_owned())
            .collect();
        let Some((own, others)) = shown.split_first() else {
            return (Wire::Gone, Err(TlsEvent::Certificate));
        };
        let algorithms = ring::default_provider().signature_verification_algorithms;
        let now = UnixTime::now();
        let dane = dial.dane.as_ref().filter(|records| !records.associations.is_empty()).map(|records| {
            records.decide(own, others, now, &algorithms).map(drop).map_err(|mismatch| mismatch.to_string())
        });
        // RFC 8461 §4.2: for the host, whichever name has the TLSA records.
        let pkix = match name_of(&dial.host) {
            Some(host) => self.pkix(own, others, &host, now),
            None => Err("the host has no name that a certificate can have".to_owned()),
        };
        let verification = dial.rule.verification;
        let is_right =
            (!verification.has_dane() || dane == Some(Ok(()))) && (!verification.has_pkix() || pkix.is_ok());
        (dialed.dane, dialed.pkix) = (dane, Some(pkix));
        if is_right {
            return (Wire::Tls(Box::new(secured)), Ok(()));
        }
        secured.conn.send_close_notify();
        let _ = secured.flush();
        (Wire::Gone, Err(TlsEvent::Certificate))
    }

    /// Whether a certificate is one of a public authority for a name.
    fn pkix(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), String> {
        let roots = self.roots.clone()?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots, Arc::new(ring::default_provider())).build();
        let verifier = verifier.map_err(|error| error.to_string())?;
        let verified = verifier.verify_server_cert(own, others, name, &[], now);
        verified.map(drop).map_err(|error| error.to_string())
    }
}

/// A handshake in which every certificate will do whose key the server has.
fn shake_hands(
    stream: Timely,
    name: ServerName<'static>,
) -> Result<StreamOwned<ClientConnection, Timely>, String> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Verifier::of_anybody(Arc::clone(&provider));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    let session = ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string())?;
    let mut secured = StreamOwned::new(session, stream);
    while secured.conn.is_handshaking() {
        secured.conn.complete_io(&mut secured.sock).map_err(|error| error.to_string())?;
    }
    Ok(secured)
}

/// Whether a message could be begun on the connection as it is.
fn judge(dial: &Dial, client: &Client, dialed: &mut Dialed) -> Result<(), HostEnd> {
    let is_encrypted = *client.tls() == TlsState::Active;
    dialed.starttls |= client.capabilities().has(Extension::StartTls);
    dialed.requiretls = is_encrypted && client.capabilities().has(Extension::RequireTls);
    if let TlsState::Refused(reply) = client.tls() {
        dialed.starttls = true;
        dialed.notes.push(format!("STARTTLS was refused: {} {}", reply.code(), clean(reply.text())));
        dialed.allowed = Some(Err("STARTTLS was refused"));
        return Err(HostEnd::Tls(TlsEvent::Refused));
    }
    let channel = Channel {
        is_encrypted,
        is_fallback: !is_encrypted && dial.rule.starttls == Starttls::Never,
        pkix: dialed.pkix == Some(Ok(())),
        dane: dialed.dane == Some(Ok(())),
        offers_requiretls: dialed.requiretls,
    };
    let allowed = dial.rule.allows(&channel);
    dialed.allowed = Some(allowed.map(|hand| hand.requiretls).map_err(words::lacks));
    match allowed {
        Ok(_) => Ok(()),
        Err(postrider_delivery::security::Lacks::Tls) => Err(HostEnd::Tls(TlsEvent::NotOffered)),
        Err(postrider_delivery::security::Lacks::Verification) => Err(HostEnd::Tls(TlsEvent::Certificate)),
        Err(postrider_delivery::security::Lacks::RequireTls) => Err(HostEnd::Tls(TlsEvent::NoRequireTls)),
    }
}

/// The name to ask for in the handshake. That of an address literal is the address.
fn server_name(dial: &Dial) -> Option<ServerName<'static>> {
    name_of(&dial.server_name())
}

fn name_of(name: &str) -> Option<ServerName<'static>> {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Some(ServerName::IpAddress(address.into()));
    }
    ServerName::try_from(name.to_owned()).ok()
}

/// What came of a host whose conversation ended.
fn ended(failure: &Failure) -> HostEnd {
    let stage = |stage: client::Stage| match stage {
        client::Stage::Hello => Stage::Hello,
        _ => Stage::Greeting,
    };
    match failure {
        Failure::Refused { stage: client::Stage::StartTls, .. } => HostEnd::Tls(TlsEvent::Refused),
        Failure::Broken { stage: client::Stage::StartTls, .. } => HostEnd::Tls(TlsEvent::Handshake),
        Failure::Refused { stage: at, reply } => {
            let enhanced = reply.enhanced().map(|code| (u16::from(code.class), code.subject, code.detail));
            let answer = Answer::new(reply.code(), enhanced, reply.text());
            HostEnd::Refused { stage: stage(*at), answer }
        }
        Failure::Broken { stage: at, reason } => HostEnd::Broken {
            stage: stage(*at),
            how: match reason {
                Broken::TimedOut => How::TimedOut,
                Broken::Fault(_) => How::Malformed,
                Broken::Closed | Broken::Io | Broken::Local => How::Closed,
            },
        },
        Failure::NoMechanism | Failure::Authentication(_) => {
            HostEnd::Broken { stage: Stage::Auth, how: How::Malformed }
        }
    }
}

fn clean(text: &str) -> String {
    text.chars().map(|one| if one.is_control() { ' ' } else { one }).collect()
}

/// What a check gave: `yes`, why not, or nothing when there was none.
fn checked(check: Option<&Result<(), String>>) -> Option<String> {
    check.map(|check| check.as_ref().err().cloned().unwrap_or_else(|| "yes".to_owned()))
}

impl Dialed {
    pub fn json(&self) -> Value {
        json!({
            "address": self.address.map(|address| address.to_string()),
            "notes": self.notes,
            "starttls_offered": self.starttls,
            "tls_version": self.version,
            "cipher": self.cipher,
            "pkix": checked(self.pkix.as_ref()),
            "dane": checked(self.dane.as_ref()),
            "requiretls_offered": self.requiretls,
            "would_send": self.allowed.as_ref().is_some_and(Result::is_ok),
            "with_requiretls": self.allowed == Some(Ok(true)),
        })
    }

    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.notes.iter().map(|note| format!("Dial: {note}")).collect();
        if self.address.is_none() {
            return lines;
        }
        let how: Vec<&str> =
            [&self.version, &self.cipher].into_iter().flatten().map(String::as_str).collect();
        lines.push(match (how.is_empty(), self.starttls) {
            (false, _) => format!("Dial: TLS with {}", how.join(", ")),
            (true, true) => "Dial: STARTTLS is offered; there is no TLS".to_owned(),
            (true, false) => "Dial: STARTTLS isn't offered; there is no TLS".to_owned(),
        });
        let certificate = |what: &str, check: Option<&Result<(), String>>| {
            check.map(|check| match check {
                Ok(()) => format!("Dial: the certificate is {what}"),
                Err(why) => format!("Dial: the certificate isn't {what}: {}", clean(why)),
            })
        };
        lines.extend(certificate("one that the TLSA records are about", self.dane.as_ref()));
        lines.extend(certificate("one of a public authority for the host", self.pkix.as_ref()));
        let offered = if self.requiretls { "is" } else { "isn't" };
        if self.allowed.is_some() {
            lines.push(format!("Dial: REQUIRETLS {offered} offered"));
        }
        match &self.allowed {
            Some(Ok(true)) => lines.push("Dial: a message would be sent now, with REQUIRETLS".to_owned()),
            Some(Ok(false)) => lines.push("Dial: a message would be sent now".to_owned()),
            Some(Err(_)) | None => {}
        }
        lines
    }
}
