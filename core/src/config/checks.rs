//! What is looked at before mail of other servers is accepted.
//!
//! `[checks]` says it for every listener; `[listener.checks]` changes it for one.

use std::time::Duration;

use postrider_proto::address::Domain;

use super::model::Switch;

/// What becomes of mail that fails a check.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Consequence {
    /// It is accepted; what was found stands in its header.
    Accept,
    /// Its sender is told to try again later.
    Defer,
    /// It is refused.
    Reject,
}

/// The checks of a listener.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Checks {
    /// Whether anything is looked at.
    pub enabled: Switch,
    /// Whether the name that HELO gives must have an address.
    pub helo_name: Switch,
    /// Whether a sender's domain must be one that takes mail.
    pub sender_domain: Switch,
    /// Whether SPF must pass for a message to several recipients, as those that fail are told to the sender.
    pub several_recipients_need_spf: Switch,
    /// Mail that fails DMARC, of a domain that wants such mail quarantined or refused.
    pub dmarc: Consequence,
    /// Mail that fails SPF and isn't confirmed by anything else.
    pub spf_fail: Consequence,
    /// Mail from an address that a blocklist has.
    pub blocklisted: Consequence,
    /// The zones of blocklists (RFC 5782), in the order in which they are asked.
    pub blocklists: Vec<Domain>,
    /// Sealers of ARC (RFC 8617) whose word counts when DMARC fails.
    pub trusted_sealers: Vec<Domain>,
    /// Time for each check.
    pub time: Duration,
    /// Questions to DNS for one message.
    pub questions: u32,
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            enabled: Switch::On,
            helo_name: Switch::On,
            sender_domain: Switch::On,
            several_recipients_need_spf: Switch::On,
            dmarc: Consequence::Reject,
            spf_fail: Consequence::Accept,
            blocklisted: Consequence::Reject,
            blocklists: Vec::new(),
            trusted_sealers: Vec::new(),
            time: Duration::from_secs(60),
            questions: 200,
        }
    }
}
