//! What failed with TLS, as reports have it (RFC 8460 §4.3).

use postrider_delivery::tls_results::Fault;
use postrider_proto::tlsrpt::ResultType;
use rustls::{CertificateError, Error};

use crate::tls::TlsError;

/// Why public authorities don't vouch for a certificate.
pub(super) fn of_certificate(error: &Error) -> Fault {
    let result_type = match error {
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            ResultType::CertificateExpired
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => ResultType::CertificateHostMismatch,
        _ => ResultType::CertificateNotTrusted,
    };
    Fault::new(result_type, Some(&error.to_string()))
}

/// Why a handshake failed, but for the certificate.
pub(super) fn of_handshake(error: &TlsError) -> Fault {
    let reason = match error {
        TlsError::Alert { number, name } => format!("tls-remote-alert-{number}-{name}"),
        other => other.to_string(),
    };
    Fault::new(ResultType::ValidationFailure, Some(&reason))
}

/// The other side went away right behind the handshake, with this or without a word.
pub(super) fn behind_handshake(error: Option<&TlsError>) -> Fault {
    match error {
        Some(error @ TlsError::Alert { .. }) => of_handshake(error),
        _ => Fault::new(
            ResultType::ValidationFailure,
            Some("the connection ended right behind the TLS handshake"),
        ),
    }
}

/// The other side broke off, or said more than that it is ready.
pub(super) fn of_starttls() -> Fault {
    Fault::new(ResultType::ValidationFailure, Some("the conversation ended at STARTTLS"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_have_the_types_of_the_standard() {
        let rows = [
            (CertificateError::Expired, "certificate-expired"),
            (CertificateError::NotValidForName, "certificate-host-mismatch"),
            (CertificateError::UnknownIssuer, "certificate-not-trusted"),
            (CertificateError::NotValidYet, "certificate-not-trusted"),
        ];
        for (error, expected) in rows {
            assert_eq!(of_certificate(&Error::InvalidCertificate(error)).result_type.name(), expected);
        }
        let alert = TlsError::Alert { number: 40, name: "handshake_failure".to_owned() };
        let fault = of_handshake(&alert);
        assert_eq!(fault.result_type, ResultType::ValidationFailure);
        assert_eq!(fault.reason.as_deref(), Some("tls-remote-alert-40-handshake_failure"));
        assert!(of_handshake(&TlsError::NotTls).reason.is_some() && of_starttls().reason.is_some());
    }
}
