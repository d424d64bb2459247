//! What the server says that it can do (RFC 9051 §7.2.2); a new extension adds a line here.

use std::fmt::Write;

use crate::auth::Authenticator;
use crate::config::TlsMode;
use postrider_proto::sasl::Mechanism;

/// Announced always.
const ALWAYS: &[&str] = &[
    "IMAP4rev2",
    "IMAP4rev1",
    "ENABLE",
    "LITERAL+",
    "IDLE",
    "SASL-IR",
    "BINARY",
    "UNSELECT",
    "UIDPLUS",
    "ESEARCH",
    "SEARCHRES",
    "WITHIN",
    "MOVE",
    "UTF8=ACCEPT",
    "LIST-EXTENDED",
    "SPECIAL-USE",
    "CREATE-SPECIAL-USE",
    "LIST-STATUS",
    "CHILDREN",
    "ID",
    "NAMESPACE",
    "STATUS=SIZE",
    "CONDSTORE",
    "QRESYNC",
];

/// Whether a connection is encrypted, and whether logins can be bound to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Channel {
    /// In the clear.
    Clear,
    /// TLS without `tls-exporter`.
    Tls,
    /// TLS with `tls-exporter`.
    Bound,
}

/// The mechanisms that a client may use. Where TLS is required, none before it.
pub fn mechanisms(tls: TlsMode, channel: Channel) -> impl Iterator<Item = Mechanism> {
    let encrypted = channel != Channel::Clear;
    let refused = !encrypted && tls == TlsMode::Required;
    Authenticator::mechanisms(encrypted, channel == Channel::Bound).filter(move |_| !refused)
}

/// The capabilities for a client that nobody knows yet.
pub fn before_login(tls: TlsMode, channel: Channel, append_octets_max: u64) -> String {
    let mut names = always(append_octets_max);
    if channel == Channel::Clear {
        if matches!(tls, TlsMode::Optional | TlsMode::Required) {
            names.push_str(" STARTTLS");
        }
        names.push_str(" LOGINDISABLED");
    }
    // LOGIN was never standardised for IMAP: it works, but is not announced.
    for mechanism in mechanisms(tls, channel).filter(|mechanism| *mechanism != Mechanism::Login) {
        names.push_str(" AUTH=");
        names.push_str(mechanism.name());
    }
    names
}

/// The capabilities for a user.
pub fn after_login(append_octets_max: u64) -> String {
    always(append_octets_max)
}

fn always(append_octets_max: u64) -> String {
    let mut names = ALWAYS.join(" ");
    // Writing to a string doesn't fail.
    let _ = write!(names, " APPENDLIMIT={append_octets_max}");
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_asked_for_over_tls_only() {
        let clear = before_login(TlsMode::Required, Channel::Clear, 1000);
        assert!(clear.ends_with("APPENDLIMIT=1000 STARTTLS LOGINDISABLED"), "{clear}");
        let clear = before_login(TlsMode::Off, Channel::Clear, 1000);
        assert!(!clear.contains("STARTTLS") && !clear.contains("AUTH=PLAIN"), "{clear}");
        assert!(clear.contains("AUTH=SCRAM-SHA-256") && clear.contains("LOGINDISABLED"), "{clear}");
        let tls = before_login(TlsMode::Required, Channel::Tls, 1000);
        assert!(tls.contains("AUTH=PLAIN") && !tls.contains("-PLUS") && !tls.contains("LOGIN"), "{tls}");
        assert!(before_login(TlsMode::Implicit, Channel::Bound, 1000).contains("AUTH=SCRAM-SHA-256-PLUS"));
        assert!(!after_login(1000).contains("AUTH="));
    }
}
