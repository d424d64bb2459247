//! IMAP4rev1 and IMAP4rev2 sessions (RFC 3501, RFC 9051) on the shards.
//!
//! [`connection`] reads, writes and ends; [`dispatch`](connection) hands each command to its function in
//! [`commands`]; [`sync`] tells what changed in the selected mailbox, [`notify`] what changed elsewhere. After login a session lives on its account's home shard.
//!
//! What always holds: every command gets one tagged response, written in one place; a session tells
//! what was committed, in order; an idle session holds no buffer.

mod arrival;
mod capability;
mod compression;
mod connection;
mod contexts;
mod dispatch;
mod notify;
mod reading;
mod urlauth;
mod urls;
mod views;

pub mod answers;
pub mod commands;
pub mod content;
pub mod output;
pub mod places;
pub mod progress;
pub mod selected;
pub mod session;
pub mod sync;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use postrider_proto::imap::limits::Limits;

pub use arrival::serve;

use crate::arrival::Door;
use crate::config::{ImapLimits, Listener, Protocol};
use crate::tls::TlsService;

/// What all connections of a listener share, on every shard.
pub struct Service {
    /// The listener's place in the configuration.
    pub number: usize,
    /// What is spoken.
    pub protocol: Protocol,
    /// TLS, when the listener has it.
    pub tls: Option<TlsService>,
    /// The listener's configuration.
    pub listener: Listener,
    /// What a client may send before it has logged in.
    pub unauthenticated: Arc<Limits>,
    /// What it may send then.
    pub authenticated: Arc<Limits>,
}

impl Service {
    /// The service of a listener that speaks IMAP.
    pub fn new(number: usize, listener: &Listener, tls: Option<TlsService>) -> Self {
        let imap = &listener.limits.imap;
        Self {
            number,
            protocol: listener.protocol,
            tls,
            listener: listener.clone(),
            unauthenticated: Arc::new(unauthenticated(imap)),
            authenticated: Arc::new(authenticated(imap)),
        }
    }

    /// Where its connections come in.
    pub const fn door(&self) -> Door<'_> {
        Door { number: self.number, listener: &self.listener, tls: self.tls.as_ref() }
    }

    /// The limits of IMAP.
    pub fn limits(&self) -> &ImapLimits {
        &self.listener.limits.imap
    }
}

fn authenticated(imap: &ImapLimits) -> Limits {
    let known = Limits::AUTHENTICATED;
    let line_octets_max = imap.line_octets as usize;
    Limits {
        line_octets_max,
        text_octets_max: known.text_octets_max.max(line_octets_max),
        literal_octets_max: imap.literal_octets,
        literals_octets_max: imap.command_octets,
        literals_max: imap.literals as usize,
        discard_octets_max: known.discard_octets_max.max(imap.command_octets),
        // A message a little too large is refused without losing the connection.
        message_discard_octets_max: imap.append_octets.saturating_add(imap.append_octets / 4),
        ..known
    }
}

fn unauthenticated(imap: &ImapLimits) -> Limits {
    let unknown = Limits::UNAUTHENTICATED;
    Limits {
        line_octets_max: unknown.line_octets_max.min(imap.line_octets as usize),
        literal_octets_max: unknown.literal_octets_max.min(imap.literal_octets),
        literals_octets_max: unknown.literals_octets_max.min(imap.command_octets),
        literals_max: unknown.literals_max.min(imap.literals as usize),
        ..unknown
    }
}
