//! What happens to TLS at a host, and what a connection is good for.

use super::{Announce, Counter, Ignored, OnFailure, Rule, Starttls, Unsupported, Verification};

/// What happened to TLS at a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsEvent {
    /// STARTTLS isn't among the extensions.
    NotOffered,
    /// STARTTLS was refused.
    Refused,
    /// The handshake failed, for another reason than the certificate.
    Handshake,
    /// The certificate isn't what `verification` wants.
    Certificate,
    /// The certificate isn't what `observed` looks at; TLS is there.
    Observed,
    /// After TLS, REQUIRETLS isn't among the extensions.
    NoRequireTls,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AfterTls {
    /// The conversation goes on as it is.
    Continue,
    /// STARTTLS is sent all the same.
    SendAnyway,
    /// A new connection to the same address, with [`Rule::in_clear`].
    Plaintext,
    /// Nothing is handed to this host.
    NextHost,
}

impl Rule {
    /// Decides what follows, and what is counted.
    #[must_use]
    pub fn after(&self, event: TlsEvent) -> (AfterTls, Vec<Counter>) {
        let bad = self.is_relaxed.then_some(Counter::Ignored(Ignored::BadTls));
        match event {
            TlsEvent::NotOffered => match self.starttls {
                Starttls::Mandatory => (AfterTls::SendAnyway, Vec::new()),
                // Policies that promise TLS were set aside only where there are some.
                _ => (AfterTls::Continue, Vec::new()),
            },
            TlsEvent::Refused | TlsEvent::Handshake | TlsEvent::Certificate => match self.on_failure {
                OnFailure::Plaintext => {
                    (AfterTls::Plaintext, bad.into_iter().chain([Counter::PlaintextFallback]).collect())
                }
                OnFailure::NextHost => (AfterTls::NextHost, Vec::new()),
            },
            TlsEvent::Observed => (AfterTls::Continue, bad.into_iter().collect()),
            TlsEvent::NoRequireTls if self.requiretls == Announce::Must => {
                let counter = Counter::RequireTlsUnsupported(Unsupported::NoRequireTls);
                (AfterTls::NextHost, vec![counter])
            }
            TlsEvent::NoRequireTls => (AfterTls::Continue, Vec::new()),
        }
    }

    /// Whether a message with this rule may be handed over on a connection: also on one that was opened for another
    /// message. `requiretls` of the result is whether to send the parameter.
    pub fn allows(&self, channel: &Channel) -> Result<Hand, Lacks> {
        let Channel { is_encrypted, is_fallback, pkix, dane, offers_requiretls } = *channel;
        let needs_tls = matches!(self.starttls, Starttls::Mandatory | Starttls::Implicit)
            || self.verification != Verification::None
            || self.requiretls == Announce::Must;
        let may_fall_back = self.starttls == Starttls::Never || self.on_failure == OnFailure::Plaintext;
        if needs_tls && !is_encrypted || is_fallback && !may_fall_back {
            return Err(Lacks::Tls);
        }
        if self.verification.has_dane() && !dane || self.verification.has_pkix() && !pkix {
            return Err(Lacks::Verification);
        }
        let may_announce = is_encrypted && offers_requiretls;
        match self.requiretls {
            Announce::Must if !may_announce => Err(Lacks::RequireTls),
            // RFC 8689 §2: only in a session that meets its needs.
            Announce::IfOffered => Ok(Hand { requiretls: may_announce && (pkix || dane) }),
            Announce::Must => Ok(Hand { requiretls: true }),
            Announce::No => Ok(Hand { requiretls: false }),
        }
    }
}

/// A connection as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Channel {
    /// TLS is there.
    pub is_encrypted: bool,
    /// It isn't, because TLS failed: not everything that may go to a host without TLS may go to one whose TLS fails.
    pub is_fallback: bool,
    /// The certificate is one of a public authority for the host's name.
    pub pkix: bool,
    /// The certificate is one of the TLSA records.
    pub dane: bool,
    /// REQUIRETLS is among the extensions that the server named under TLS.
    pub offers_requiretls: bool,
}

/// How a message is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hand {
    /// Whether with REQUIRETLS.
    pub requiretls: bool,
}

/// What a connection lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lacks {
    /// TLS.
    Tls,
    /// A certificate that was verified as the rule wants.
    Verification,
    /// REQUIRETLS.
    RequireTls,
}
