//! What goes wrong with TLS, and the short reasons under which it is counted.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

use rustls::{InvalidMessage, PeerIncompatible};

/// A TLS connection that failed.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The peer closed during the handshake.
    #[error("the peer closed the connection during the TLS handshake")]
    Eof,
    /// The peer closed later, without a close_notify: what came before may be cut short.
    #[error("the peer closed the connection without ending TLS")]
    Truncated,
    /// The handshake took too long.
    #[error("the TLS handshake took too long")]
    Timeout,
    /// The peer spoke something else.
    #[error("the peer does not speak TLS")]
    NotTls,
    /// The peer spoke SSL 2.0.
    #[error("the peer speaks SSL 2.0")]
    SslV2,
    /// The peer has no version in common with us.
    #[error("the peer offers no TLS version from 1.2 on")]
    UnsupportedVersion,
    /// A handshake message is larger than the read buffer.
    #[error("the peer sent a TLS handshake message that is too large")]
    TooLarge,
    /// The peer ended the connection with an alert.
    #[error("the peer sent the TLS alert {name} ({number})")]
    Alert {
        /// Number of RFC 8446 §6.
        number: u8,
        /// Its name.
        name: String,
    },
    /// The socket failed.
    #[error("TLS: {0}")]
    Io(#[from] io::Error),
    /// The peer broke the protocol, or nothing in common was found.
    #[error("TLS: {0}")]
    Protocol(#[source] rustls::Error),
}

/// The first octets that a peer sent: record header (5), message header (4), version (2).
#[derive(Clone, Copy)]
pub(super) struct HelloStart([u8; 11]);

impl HelloStart {
    pub(super) fn of(input: &[u8]) -> Self {
        Self(std::array::from_fn(|index| input.get(index).copied().unwrap_or(0)))
    }

    /// The hello of SSL 2.0 begins with a length whose top bit is set, and message type 1.
    fn is_ssl2(self) -> bool {
        self.0[0] & 0x80 != 0 && self.0[2] == 1
    }

    /// A ClientHello in the form of SSL 3.0 and later, of a version before TLS 1.2.
    fn is_old(self) -> bool {
        self.0[0] == 22 && self.0[5] == 1 && self.0[9..] < [3, 3][..]
    }
}

impl TlsError {
    /// Sorts an error of rustls. During the handshake `hello` is what the peer began with.
    pub(super) fn from_rustls(error: rustls::Error, hello: Option<HelloStart>) -> Self {
        match error {
            rustls::Error::InvalidMessage(_) if hello.is_some_and(HelloStart::is_ssl2) => Self::SslV2,
            // rustls misses an extension before it looks at the version.
            rustls::Error::PeerIncompatible(PeerIncompatible::SignatureAlgorithmsExtensionRequired)
                if hello.is_some_and(HelloStart::is_old) =>
            {
                Self::UnsupportedVersion
            }
            rustls::Error::InvalidMessage(
                InvalidMessage::InvalidContentType
                | InvalidMessage::UnknownProtocolVersion
                | InvalidMessage::MessageTooLarge,
            ) if hello.is_some() => Self::NotTls,
            rustls::Error::PeerIncompatible(
                PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            ) => Self::UnsupportedVersion,
            rustls::Error::AlertReceived(alert) => {
                Self::Alert { number: u8::from(alert), name: format!("{alert:?}") }
            }
            other => Self::Protocol(other),
        }
    }

    /// A short, stable name for metrics.
    pub fn reason(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Eof => "eof",
            Self::Truncated => "truncated",
            Self::Timeout => "timeout",
            Self::NotTls => "nottls",
            Self::SslV2 => "sslv2",
            Self::UnsupportedVersion => "unsupportedversions",
            Self::TooLarge => "toolarge",
            Self::Io(_) => "io",
            Self::Protocol(rustls::Error::NoApplicationProtocol) => "alpn",
            Self::Protocol(_) => "other",
            Self::Alert { number, name } => return Cow::Owned(format!("alert-{number}-{name}")),
        })
    }
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsConfigError {
    /// A file cannot be read, or is not PEM.
    #[error("cannot read {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file holds no certificate.
    #[error("{} holds no certificate", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key do not fit.
    #[error("the key in {} cannot be used with the certificate in {}: {source}", key.display(), chain.display())]
    Mismatch {
        /// File of the certificate chain.
        chain: PathBuf,
        /// File of the key.
        key: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// No certificate was given.
    #[error("no certificate is configured")]
    Empty,
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Generate(#[from] rcgen::Error),
    /// A generated file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// rustls refuses the configuration.
    #[error("TLS configuration: {0}")]
    Rustls(#[from] rustls::Error),
}
