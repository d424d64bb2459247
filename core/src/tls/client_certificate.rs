//! Certificates of clients: any is taken whose key signed the handshake (RFC 8446 §4.4.2 and §4.4.3).
//!
//! Whom a key belongs to is looked up when somebody wants to log in with it, so a key that is removed is
//! worth nothing at once, and a stranger's certificate is no reason to end a connection. What always holds:
//! the certificate that a connection has is one whose private key its client has.

use jiff::civil::DateTime;
use postrider_storage::directory::Fingerprint;
use ring::digest::{SHA256, digest};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring::default_provider;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};

/// Whether a client is asked for a certificate. It may always come without.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ask {
    /// It isn't asked: some clients bother their users with the question.
    Nothing,
    /// It is.
    Certificate,
}

/// What a client certificate says of its owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClientCertificate {
    /// Its public key.
    pub fingerprint: Fingerprint,
    /// From when on it is valid, in seconds since 1970.
    pub not_before: i64,
    /// Up to when it is, that second included.
    pub not_after: i64,
}

impl ClientCertificate {
    /// Reads a certificate; none when it is malformed.
    pub fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let parsed = ParsedCertificate::try_from(certificate).ok()?;
        let fingerprint = fingerprint(&parsed.subject_public_key_info());
        let (not_before, not_after) = validity(certificate)?;
        Some(Self { fingerprint, not_before, not_after })
    }

    /// Whether it is valid at `now`, in seconds since 1970.
    pub const fn is_valid_at(&self, now: i64) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

/// The fingerprint of the key of a certificate, or of a public key alone, in PEM form.
pub fn fingerprint_of_pem(text: &str) -> Option<Fingerprint> {
    if let Ok(certificate) = CertificateDer::from_pem_slice(text.as_bytes()) {
        return ClientCertificate::read(&certificate).map(|certificate| certificate.fingerprint);
    }
    let key = SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes()).ok()?;
    // One element, and nothing behind it.
    let mut input = Der(&key);
    matches!(input.next(), Some((SEQUENCE, _)) if input.0.is_empty()).then(|| fingerprint(&key))
}

fn fingerprint(key: &SubjectPublicKeyInfoDer<'_>) -> Fingerprint {
    let mut octets = [0; Fingerprint::OCTETS];
    octets.copy_from_slice(digest(&SHA256, key).as_ref());
    Fingerprint::new(octets)
}

/// Takes every certificate that the client has the key of.
#[derive(Debug)]
pub(super) struct AnyClient(WebPkiSupportedAlgorithms);

impl AnyClient {
    pub(super) fn new() -> Self {
        Self(default_provider().signature_verification_algorithms)
    }
}

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        ParsedCertificate::try_from(end_entity).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// Octets in DER (X.690 §10), element by element.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The tag and the content of the next element.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, mut rest) = rest.split_first()?;
        let mut length = usize::from(*first);
        if length >= 0x80 {
            // Certificates are far below 16 MiB; the indefinite form isn't DER.
            let octets = length - 0x80;
            if !(1..=3).contains(&octets) {
                return None;
            }
            let (number, after) = rest.split_at_checked(octets)?;
            length = number.iter().fold(0, |length, octet| length << 8 | usize::from(*octet));
            rest = after;
        }
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, content))
    }

    fn expect(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next().filter(|(tag, _)| *tag == wanted).map(|(_, content)| content)
    }
}

/// From when and up to when a certificate is valid (RFC 5280 §4.1.2.5). The TLS library checks that only
/// together with a chain of issuers, and a client's certificate needs none.
fn validity(certificate: &[u8]) -> Option<(i64, i64)> {
    let mut signed = Der(Der(certificate).expect(SEQUENCE)?);
    let mut fields = Der(signed.expect(SEQUENCE)?);
    if fields.0.first() == Some(&VERSION) {
        fields.next()?;
    }
    fields.expect(INTEGER)?;
    // The algorithm and the issuer.
    fields.expect(SEQUENCE)?;
    fields.expect(SEQUENCE)?;
    let mut times = Der(fields.expect(SEQUENCE)?);
    Some((time(times.next()?)?, time(times.next()?)?))
}

/// Seconds since 1970 of `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`.
fn time((tag, text): (u8, &[u8])) -> Option<i64> {
    let text = str::from_utf8(text).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|octet| octet.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = match (tag, text.len()) {
        (UTC_TIME, 12) => {
            let (year, rest) = text.split_at(2);
            let year: i16 = year.parse().ok()?;
            // RFC 5280 §4.1.2.5.1.
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        (GENERALIZED_TIME, 14) => {
            let (year, rest) = text.split_at(4);
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let number = |at: usize| rest.get(at..at + 2)?.parse::<i8>().ok();
    let time = DateTime::new(year, number(0)?, number(2)?, number(4)?, number(6)?, number(8)?, 0).ok()?;
    let seconds = i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second());
    Some(days_since_1970(time.year().into(), time.month().into(), time.day().into()) * 86_400 + seconds)
}

/// Certificates without an end are valid up to the end of the year 9999 (RFC 5280 §4.1.2.5), which is more
/// than a time stamp of the calendar's library holds.
const fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March, so that the day which leap years have more is their last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let before_year = 365 * year + year / 4 - year / 100 + year / 400;
    let before_month = (153 * month + 2) / 5;
    before_year + before_month + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn times_are_read_in_both_forms() {
        let utc = |text: &str| time((UTC_TIME, text.as_bytes()));
        let general = |text: &str| time((GENERALIZED_TIME, text.as_bytes()));
        assert_eq!(utc("700101000000Z"), Some(0));
        assert_eq!(utc("491231235959Z"), general("20491231235959Z"));
        assert_eq!(utc("500101000000Z"), general("19500101000000Z"));
        assert_eq!(general("99991231235959Z"), Some(253_402_300_799));
        for bad in ["", "Z", "7001010000Z", "700101000000", "701301000000Z", "700100000000Z", "70010100000+Z"]
        {
            assert_eq!(utc(bad), None, "{bad}");
        }
        assert_eq!(general("700101000000Z"), None);
        assert_eq!(time((INTEGER, b"700101000000Z")), None);
    }

    #[test]
    fn a_certificate_is_valid_from_its_first_to_its_last_second() {
        let fingerprint = Fingerprint::new([0; 32]);
        let certificate = ClientCertificate { fingerprint, not_before: 10, not_after: 20 };
        let valid: Vec<_> = [9, 10, 20, 21].map(|now| certificate.is_valid_at(now)).into();
        assert_eq!(valid, [false, true, true, false]);
    }

    #[test]
    fn certificates_and_their_keys_have_one_fingerprint() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let mut parameters = rcgen::CertificateParams::new(vec!["client.example".to_owned()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(2020, 2, 29);
        parameters.not_after = rcgen::date_time_ymd(2060, 1, 2);
        let certificate = parameters.self_signed(&key).unwrap();
        let read = ClientCertificate::read(certificate.der()).unwrap();
        assert_eq!((read.not_before, read.not_after), (1_582_934_400, 2_840_227_200));
        assert_eq!(fingerprint_of_pem(&certificate.pem()), Some(read.fingerprint));
        assert_eq!(fingerprint_of_pem(&key.public_key_pem()), Some(read.fingerprint));
        for bad in ["", "nonsense", &key.serialize_pem(), "-----BEGIN PUBLIC KEY-----\nMAA=\n"] {
            assert_eq!(fingerprint_of_pem(bad), None, "{bad}");
        }
    }

    #[test]
    fn no_certificate_is_a_surprise() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
        let whole = certificate.der().to_vec();
        assert!(validity(&whole).is_some());
        for end in 0..whole.len() {
            let _ = validity(&whole[..end]);
            let mut changed = whole.clone();
            changed[end] = changed[end].wrapping_add(0x7f);
            let _ = validity(&changed);
        }
        // Lengths in the long form, cut off, indefinite, too long.
        for bad in [&[0x30, 0x80][..], &[0x30, 0x84, 1, 0, 0, 0], &[0x30, 0x82, 1], &[0x30, 5, 0]] {
            assert_eq!(Der(bad).next(), None, "{bad:?}");
        }
    }
}
