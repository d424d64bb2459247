//! SMTP and submission: the pure session of `proto` driven by a connection of a shard.
//!
//! [`connection`] moves octets and time, [`policy`] answers what the session asks, [`recipients`] says where
//! mail goes, [`deliver`] stores what was received. A message is acknowledged only after the commit of all of its local recipients.

mod acceptance;
mod admit;
pub(crate) mod allowance;
mod bounce;
pub mod checks;
mod connection;
mod deliver;
mod figures;
mod first_time;
mod leaving;
mod left;
mod outcomes;
mod policy;
pub(crate) mod rates;
mod recipients;
mod rehearsal;
mod reserve;
mod room;
pub(crate) mod sending;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use postrider_proto::address::Domain;
use postrider_proto::sasl::Mechanism;
use postrider_proto::smtp::server::{ClearAuth, RequireTls, Role, Settings, TlsOffer};
use postrider_proto::smtp::{self};

pub use connection::serve;
pub use first_time::Waits;

use crate::arrival::Door;
use crate::auth::Authenticator;
use crate::config::{Listener, Mode, Protocol, Switch, TlsMode};
use crate::tls::TlsService;

/// What all connections of a listener share.
pub struct Service {
    /// The listener's place in the configuration.
    pub number: usize,
    /// What is spoken.
    pub protocol: Protocol,
    /// What sessions are made with.
    pub settings: Arc<Settings>,
    /// TLS, when the listener has it.
    pub tls: Option<TlsService>,
    /// The listener's configuration.
    pub listener: Listener,
    /// The names of this host.
    pub hostnames: Arc<[Domain]>,
    /// Whether replies can be asked for by the recipient's address.
    pub mode: Mode,
    /// What is known of the listener's blocklists.
    lists: checks::Healths,
}

impl Service {
    /// The service of a listener that speaks SMTP or submission. `hostname` is the one it greets with,
    /// `hostnames` are all of this host.
    pub fn new(
        number: usize,
        listener: &Listener,
        tls: Option<TlsService>,
        hostname: Domain,
        hostnames: Vec<Domain>,
        mode: Mode,
    ) -> Self {
        let role = if listener.protocol == Protocol::Smtp { Role::Incoming } else { Role::Submission };
        let settings = Settings {
            hostname,
            role,
            limits: limits(listener),
            tls: match listener.tls {
                TlsMode::Off => TlsOffer::Absent,
                TlsMode::Optional | TlsMode::Implicit => TlsOffer::Optional,
                TlsMode::Required => TlsOffer::Required,
            },
            requiretls: match listener.requiretls {
                Switch::On => RequireTls::Offered,
                Switch::Off => RequireTls::Disabled,
            },
            clear_auth: ClearAuth::Refused,
            mechanisms: match role {
                Role::Incoming => Vec::new(),
                Role::Submission => Authenticator::mechanisms(true, true)
                    .chain([Mechanism::External])
                    .map(|mechanism| mechanism.name().into())
                    .collect(),
            },
        };
        Self {
            number,
            protocol: listener.protocol,
            settings: Arc::new(settings),
            tls,
            listener: listener.clone(),
            hostnames: hostnames.into(),
            mode,
            lists: checks::Healths::default(),
        }
    }

    /// Where its connections come in.
    pub const fn door(&self) -> Door<'_> {
        Door { number: self.number, listener: &self.listener, tls: self.tls.as_ref() }
    }
}

fn limits(listener: &Listener) -> smtp::Limits {
    let (smtp, authentication) = (&listener.limits.smtp, &listener.limits.authentication);
    smtp::Limits {
        line_octets_max: smtp.line_octets as usize,
        message_octets_max: smtp.message_octets,
        // A message that is too large is read to its end, so that the session goes on.
        discard_octets_max: smtp.message_octets.saturating_mul(2),
        recipients_max: smtp.recipients as usize,
        received_fields_max: smtp.received_fields,
        strikes_max: smtp.bad_commands,
        failed_transactions_max: smtp.failed_transactions,
        auth_failures_free: authentication.slow_after,
        auth_failures_max: authentication.failures_per_connection,
        command_idle: smtp.idle,
        content_idle: smtp.idle,
        content_total: smtp.message,
        ..smtp::Limits::DEFAULT
    }
}
