//! How the server and its text indexes are.

use serde::{Deserialize, Serialize};

/// How the server is.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// The version of the server.
    pub version: String,
    /// The number of its process.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// Threads that serve connections.
    pub shards: u32,
    /// Where it listens: name, protocol and address of each.
    pub listeners: Vec<ListenerStatus>,
    /// Connections that are open.
    pub connections: u64,
    /// Messages that wait to be delivered elsewhere.
    pub queued: u64,
    /// Whether the store takes writes; otherwise why it doesn't.
    pub store: StoreStatus,
}

/// Whether the store takes writes.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreStatus {
    /// It does.
    #[default]
    Writable,
    /// It doesn't.
    Stopped {
        /// Why, and what to do.
        reason: String,
    },
}

/// Where the server listens.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerStatus {
    /// The name in the configuration.
    pub name: String,
    /// What is spoken.
    pub protocol: String,
    /// Address and port.
    pub address: String,
}

/// How a text index is.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TextIndexStatus {
    /// Whether there is one.
    pub exists: bool,
    /// Emails that are in it, some of which may be removed since.
    pub emails: u64,
    /// Numbers of emails up to which the account is indexed, and up to which it has some.
    pub covered: u64,
    /// The number behind the last email's.
    pub next: u64,
    /// Segments that searches look at.
    pub segments: u64,
    /// Different terms of all segments together.
    pub terms: u64,
    /// Octets of dictionaries and postings.
    pub octets: u64,
}
