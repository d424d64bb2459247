//! The TLS side of one service: which certificate, which ALPN protocol, tickets or not.

use std::sync::Arc;

use rustls::SupportedProtocolVersion;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use super::binding::ExporterTap;
use super::certificates::Certificates;
use super::client_certificate::{AnyClient, Ask};
use super::error::TlsConfigError;
use crate::config::TlsVersion;

/// What a client gets that asks for a name no certificate is valid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownNames {
    /// The default certificate. For port 25, where senders rarely check it and a refusal would
    /// only mean delivery in the clear.
    UseDefault,
    /// A fatal alert.
    Refuse,
}

/// Whether sessions can be resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tickets {
    /// With tickets under keys of this service alone, changed every 6 hours.
    On,
    /// Not at all. The default for port 25: some large senders fail with tickets.
    Off,
}

/// How a service speaks TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceOptions {
    /// The ALPN protocol: `imap`, `smtp`.
    pub protocol: &'static str,
    /// Session tickets.
    pub tickets: Tickets,
    /// Names without certificate. A client that asks for no name always gets the default.
    pub unknown_names: UnknownNames,
    /// Whether clients can be asked for a certificate.
    pub certificates: Ask,
}

impl ServiceOptions {
    /// For mail from other servers, port 25.
    pub const SMTP: Self = Self {
        protocol: "smtp",
        tickets: Tickets::Off,
        unknown_names: UnknownNames::UseDefault,
        certificates: Ask::Nothing,
    };
    /// For mail from users, ports 587 and 465.
    pub const SUBMISSION: Self = Self {
        protocol: "smtp",
        tickets: Tickets::On,
        unknown_names: UnknownNames::Refuse,
        certificates: Ask::Certificate,
    };
    /// For ports 143 and 993.
    pub const IMAP: Self = Self {
        protocol: "imap",
        tickets: Tickets::On,
        unknown_names: UnknownNames::Refuse,
        certificates: Ask::Certificate,
    };
}

/// What is needed to accept TLS for one service. Clones are the same service.
#[derive(Clone, Debug)]
pub struct TlsService {
    plain: Arc<ServerConfig>,
    /// Asks the client for a certificate.
    asking: Option<Arc<ServerConfig>>,
}

impl TlsService {
    /// Makes the configuration of one service. Call it once for each service: what is made here
    /// has ticket keys of its own.
    pub fn new(
        certificates: &Certificates,
        options: ServiceOptions,
        min_version: TlsVersion,
    ) -> Result<Self, TlsConfigError> {
        let versions: &[&SupportedProtocolVersion] = match min_version {
            TlsVersion::Tls12 => &[&TLS13, &TLS12],
            TlsVersion::Tls13 => &[&TLS13],
        };
        let resolver = Resolver { certificates: certificates.clone(), unknown_names: options.unknown_names };
        let resolver: Arc<dyn ResolvesServerCert> = Arc::new(resolver);
        let make = |ask: Ask| -> Result<Arc<ServerConfig>, TlsConfigError> {
            let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
                .with_protocol_versions(versions)?;
            let builder = match ask {
                Ask::Nothing => builder.with_no_client_auth(),
                Ask::Certificate => builder.with_client_cert_verifier(Arc::new(AnyClient::new())),
            };
            let mut config = builder.with_cert_resolver(Arc::clone(&resolver));
            config.alpn_protocols = vec![options.protocol.as_bytes().to_vec()];
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.max_early_data_size = 0;
            config.key_log = Arc::new(ExporterTap);
            match options.tickets {
                Tickets::On => config.ticketer = Ticketer::new()?,
                Tickets::Off => config.send_tls13_tickets = 0,
            }
            Ok(Arc::new(config))
        };
        let asking = match options.certificates {
            Ask::Nothing => None,
            Ask::Certificate => Some(make(Ask::Certificate)?),
        };
        Ok(Self { plain: make(Ask::Nothing)?, asking })
    }

    /// What a connection is accepted with.
    pub(super) fn config(&self, ask: Ask) -> Arc<ServerConfig> {
        let asking = self.asking.as_ref().filter(|_| ask == Ask::Certificate);
        Arc::clone(asking.unwrap_or(&self.plain))
    }
}

#[derive(Debug)]
struct Resolver {
    certificates: Certificates,
    unknown_names: UnknownNames,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let Some(name) = hello.server_name() else { return self.certificates.default_key() };
        match self.unknown_names {
            UnknownNames::UseDefault => {
                self.certificates.for_name(name).or_else(|| self.certificates.default_key())
            }
            UnknownNames::Refuse => self.certificates.for_name(name),
        }
    }
}
