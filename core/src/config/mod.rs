//! `postrider.toml`: what needs a restart to change.
//!
//! Read in two steps. [`raw`] takes the file as it is written and keeps where each value stands;
//! [`resolve`] fills in defaults and checks that the parts fit together. Both collect every
//! problem before they give up, so that one run tells everything that is to be mended. The result
//! is a [`Config`], which can only hold what passed.

mod limits;
mod model;

pub use limits::{AuthenticationLimits, Classes, ConnectionLimits, ImapLimits, Limits, SmtpLimits};
pub use model::{
    AccountDefaults, CertificateFiles, Certificates, Config, HostName, InitialMailbox, Listener, Log, Mode,
    Network, Passwords, Postmaster, Protocol, RunAs, SpecialUse, Storage, Switch, Tls, TlsMode, TlsVersion,
};
