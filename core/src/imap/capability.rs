//! What the server says that it can do (RFC 9051 §7.2.2); a new extension adds a line here.

use std::fmt::Write;

use crate::auth::Authenticator;
use crate::config::{Listener, TlsMode};
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
    "MULTISEARCH",
    "INPROGRESS",
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
    "MULTIAPPEND",
    "CATENATE",
    "URL-PARTIAL",
    "URLAUTH",
    "URLAUTH=BINARY",
    "REPLACE",
    "PREVIEW",
    "OBJECTID",
    "SAVEDATE",
    "CONDSTORE",
    "QRESYNC",
    "ACL",
    "RIGHTS=texk",
    "LIST-MYRIGHTS",
    "QUOTA",
    "QUOTA=RES-STORAGE",
    "QUOTA=RES-MESSAGE",
    "METADATA",
    "LIST-METADATA",
    "NOTIFY",
    "UIDONLY",
    "SORT",
    "SORT=DISPLAY",
    "THREAD=ORDEREDSUBJECT",
    "THREAD=REFERENCES",
    "THREAD=REFS",
    "ESORT",
    "PARTIAL",
    "CONTEXT=SEARCH",
    "CONTEXT=SORT",
    "I18NLEVEL=1",
    UIDBATCHES,
];

/// RFC 4978.
pub const COMPRESS: &str = "COMPRESS=DEFLATE";
/// RFC 8437. An operator has to be able to switch it off (§8).
pub const UNAUTHENTICATE: &str = "UNAUTHENTICATE";
/// RFC 10022.
pub const UIDBATCHES: &str = "UIDBATCHES";

/// Announced to users only.
const AFTER_LOGIN: &[&str] = &[COMPRESS, UNAUTHENTICATE];

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

/// Whether the client presented a certificate that belongs to somebody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Certificate {
    /// None, or one of a stranger, or one that isn't valid.
    Unknown,
    /// It did.
    Known,
}

/// Whether the operator switched a capability off: it isn't announced, and can't be enabled.
pub fn is_disabled(listener: &Listener, name: &str) -> bool {
    listener.disabled_capabilities.iter().any(|disabled| disabled.eq_ignore_ascii_case(name))
}

/// The mechanisms that a client may use. Where TLS is required, none before it.
pub fn mechanisms(
    listener: &Listener,
    channel: Channel,
    certificate: Certificate,
) -> impl Iterator<Item = Mechanism> + '_ {
    let external = (certificate == Certificate::Known).then_some(Mechanism::External);
    let encrypted = channel != Channel::Clear;
    let refused = !encrypted && listener.tls == TlsMode::Required;
    Authenticator::mechanisms(encrypted, channel == Channel::Bound)
        .chain(external)
        .filter(move |mechanism| !refused && !is_disabled(listener, &format!("AUTH={}", mechanism.name())))
}

/// The capabilities for a client that nobody knows yet.
pub fn before_login(listener: &Listener, channel: Channel, certificate: Certificate) -> String {
    let mut names = Names::always(listener);
    if channel == Channel::Clear {
        if matches!(listener.tls, TlsMode::Optional | TlsMode::Required) {
            names.add("STARTTLS");
        }
        names.add("LOGINDISABLED");
    }
    // LOGIN was never standardised for IMAP: it works, but is not announced.
    let mechanisms = mechanisms(listener, channel, certificate);
    for mechanism in mechanisms.filter(|mechanism| *mechanism != Mechanism::Login) {
        names.add(&format!("AUTH={}", mechanism.name()));
    }
    names.text
}

/// The capabilities for a user.
pub fn after_login(listener: &Listener) -> String {
    let mut names = Names::always(listener);
    AFTER_LOGIN.iter().for_each(|name| names.add(name));
    names.text
}

/// Collects those that aren't switched off.
struct Names<'a> {
    listener: &'a Listener,
    text: String,
}

impl<'a> Names<'a> {
    fn always(listener: &'a Listener) -> Self {
        let mut names = Self { listener, text: String::with_capacity(512) };
        ALWAYS.iter().for_each(|name| names.add(name));
        let limits = &listener.limits.imap;
        names.add_number("APPENDLIMIT", limits.append_octets);
        // One of the two (RFC 9738 §3).
        match (limits.messages_per_command, limits.saved_per_command) {
            (0, 0) => {}
            (0, saved) => names.add_number("SAVELIMIT", saved.into()),
            (messages, _) => names.add_number("MESSAGELIMIT", messages.into()),
        }
        names
    }

    fn add(&mut self, name: &str) {
        if !is_disabled(self.listener, name) {
            self.separate();
            self.text.push_str(name);
        }
    }

    fn add_number(&mut self, name: &str, number: u64) {
        if !is_disabled(self.listener, name) {
            self.separate();
            // Writing to a string doesn't fail.
            let _ = write!(self.text, "{name}={number}");
        }
    }

    fn separate(&mut self) {
        if !self.text.is_empty() {
            self.text.push(' ');
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::config::{Config, Protocol};

    fn listener(tls: TlsMode) -> Listener {
        let config = Config::localserve(std::path::Path::new("/nonexistent"));
        let mut listener = config.listeners.iter().find(|l| l.protocol == Protocol::Imap).unwrap().clone();
        listener.tls = tls;
        listener.limits.imap.append_octets = 1000;
        listener
    }

    #[test]
    fn passwords_are_asked_for_over_tls_only() {
        let required = listener(TlsMode::Required);
        let clear = before_login(&required, Channel::Clear, Certificate::Unknown);
        assert!(clear.ends_with("APPENDLIMIT=1000 STARTTLS LOGINDISABLED"), "{clear}");
        let clear = before_login(&listener(TlsMode::Off), Channel::Clear, Certificate::Unknown);
        assert!(!clear.contains("STARTTLS") && !clear.contains("AUTH=PLAIN"), "{clear}");
        assert!(clear.contains("AUTH=SCRAM-SHA-256") && clear.contains("LOGINDISABLED"), "{clear}");
        let tls = before_login(&required, Channel::Tls, Certificate::Unknown);
        assert!(tls.contains("AUTH=PLAIN") && !tls.contains("-PLUS") && !tls.contains("LOGIN"), "{tls}");
        let bound = before_login(&listener(TlsMode::Implicit), Channel::Bound, Certificate::Unknown);
        assert!(bound.contains("AUTH=SCRAM-SHA-256-PLUS"));
        assert!(!after_login(&required).contains(" AUTH="));
    }

    #[test]
    fn external_is_for_known_certificates_only() {
        let mut listener = listener(TlsMode::Implicit);
        let names = |listener: &Listener, certificate| before_login(listener, Channel::Bound, certificate);
        assert!(!names(&listener, Certificate::Unknown).contains("EXTERNAL"));
        assert!(names(&listener, Certificate::Known).ends_with(" AUTH=EXTERNAL"));
        listener.disabled_capabilities = vec!["AUTH=EXTERNAL".to_owned()];
        assert!(!names(&listener, Certificate::Known).contains("EXTERNAL"));
    }

    #[test]
    fn compression_is_for_users_only() {
        let listener = listener(TlsMode::Implicit);
        assert!(!before_login(&listener, Channel::Bound, Certificate::Unknown).contains("COMPRESS"));
        assert!(after_login(&listener).ends_with("APPENDLIMIT=1000 COMPRESS=DEFLATE UNAUTHENTICATE"));
    }

    #[test]
    fn what_is_switched_off_is_not_announced() {
        let mut listener = listener(TlsMode::Implicit);
        let names = ["imap4rev2", "COMPRESS=DEFLATE", "AUTH=PLAIN", "APPENDLIMIT", "QRESYNC"];
        listener.disabled_capabilities = names.map(str::to_owned).to_vec();
        let all = format!(
            "{} {}",
            before_login(&listener, Channel::Bound, Certificate::Unknown),
            after_login(&listener)
        );
        for name in names {
            assert!(!all.to_lowercase().contains(&name.to_lowercase()), "{all}");
        }
        assert!(all.starts_with("IMAP4rev1 ENABLE ") && all.contains("AUTH=SCRAM-SHA-256"), "{all}");
        assert!(
            !mechanisms(&listener, Channel::Bound, Certificate::Known)
                .any(|mechanism| mechanism == Mechanism::Plain)
        );
    }

    #[test]
    fn one_limit_of_messages_is_announced() {
        let mut listener = listener(TlsMode::Implicit);
        assert!(!after_login(&listener).contains("LIMIT=1 "));
        listener.limits.imap.saved_per_command = 5000;
        assert!(after_login(&listener).contains(" SAVELIMIT=5000 "));
        listener.limits.imap.messages_per_command = 1000;
        let names = after_login(&listener);
        assert!(names.contains(" MESSAGELIMIT=1000 ") && !names.contains("SAVELIMIT"), "{names}");
    }
}
