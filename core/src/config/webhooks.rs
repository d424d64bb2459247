//! Calls of webhooks: `[webhooks]`.

use std::path::PathBuf;

use super::model::Network;
use super::problem::At;
use super::raw::read_networks;
use super::section::Section;
use crate::http::Reach;

/// How webhooks of accounts are called.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Webhooks {
    /// Calls under way at a time.
    pub calls_max: usize,
    /// Which addresses are called.
    pub reach: Reach,
    /// Certificates of authorities that those who are called are verified by; none for the system's.
    pub tls_roots: Option<PathBuf>,
}

impl Default for Webhooks {
    fn default() -> Self {
        Self { calls_max: 10, reach: Reach::Public, tls_roots: None }
    }
}

impl Webhooks {
    /// Those of a local instance: programs under test are on the same machine.
    pub(super) fn anywhere() -> Self {
        Self { reach: Reach::All, ..Self::default() }
    }
}

/// `[webhooks]` as it is written.
pub(super) struct RawWebhooks {
    calls: Option<At<usize>>,
    private_addresses: Option<At<bool>>,
    networks: Vec<Network>,
    tls_roots: Option<At<String>>,
}

pub(super) fn read(section: Section<'_>) -> RawWebhooks {
    let raw = RawWebhooks {
        calls: section.number("calls", 1..=100),
        private_addresses: section.flag("private_addresses"),
        networks: read_networks(&section, "networks"),
        tls_roots: section.text("tls_roots"),
    };
    section.finish();
    raw
}

impl RawWebhooks {
    /// What it comes to; `readable` makes the path of a file that is named.
    pub(super) fn resolve(self, readable: impl FnOnce(&At<String>) -> PathBuf) -> Webhooks {
        let default = Webhooks::default();
        let reach = match (self.private_addresses.is_some_and(|flag| flag.value), self.networks.is_empty()) {
            (true, _) => Reach::All,
            (false, true) => Reach::Public,
            (false, false) => Reach::PublicAnd(self.networks),
        };
        Webhooks {
            calls_max: self.calls.map_or(default.calls_max, |at| at.value),
            reach,
            tls_roots: self.tls_roots.as_ref().map(readable),
        }
    }
}
