//! Whether a chain of certificates is one that the records are about.

use hickory_proto::rr::Name;
use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::server::ParsedCertificate;
use rustls_pki_types::{CertificateDer, Der, TrustAnchor, UnixTime};

use super::CERTIFICATES_MAX;
use super::certificate::{Certificate, without_tag};
use super::names::is_for;
use super::record::{Association, Associations, Matching, Part, Usage};

/// What a server has to show.
#[derive(Clone, Debug)]
pub struct Verification {
    /// The records that count.
    pub associations: Associations,
    /// The names that a certificate of an authority may be for: the TLSA base domain first, which is also the
    /// name to ask for in the handshake (SNI), then what else identifies the destination (RFC 7672 §3.2.2).
    pub names: Vec<Name>,
}

/// The record that authenticates a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matched {
    /// The record.
    pub association: Association,
    /// The place in the chain of the certificate that it is about, 0 for the server's own; none when it is of
    /// an authority that isn't in the chain.
    pub depth: Option<usize>,
}

/// Why a server isn't authenticated. All of them mean that nothing may be delivered to it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// No record is about the certificate or an authority of its chain.
    #[error("none of the certificates is one of the TLSA records")]
    NoMatch,
    /// An authority is one of the records, and the certificate isn't for any of the names.
    #[error("the certificate is issued by an authority of the TLSA records, and is for none of the names")]
    Name,
    /// An authority is one of the records, and the chain to it doesn't hold.
    #[error("the chain to the authority of the TLSA records doesn't hold: {0}")]
    Chain(String),
    /// The server's certificate can't be read.
    #[error("the certificate can't be read")]
    Unreadable,
    /// More than [`CERTIFICATES_MAX`] certificates.
    #[error("there are over {CERTIFICATES_MAX} certificates")]
    TooMany,
}

impl Verification {
    /// Decides on a chain, the server's certificate first. One record that matches is enough; what is wrong
    /// with others doesn't count.
    pub fn decide(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<Matched, Mismatch> {
        if intermediates.len() >= CERTIFICATES_MAX {
            return Err(Mismatch::TooMany);
        }
        let own = Certificate::parse(certificate).ok_or(Mismatch::Unreadable)?;
        // DANE-EE: the record binds the key to the name, so neither names nor times count (RFC 7671 §5.1).
        for association in self.associations.iter().filter(|one| one.usage == Usage::EndEntity) {
            if association.is_about(certificate, own.key) {
                return Ok(Matched { association: association.clone(), depth: Some(0) });
            }
        }
        let chain = Chain { certificate, own, intermediates, now, algorithms };
        let mut best = Mismatch::NoMatch;
        for association in self.associations.iter().filter(|one| one.usage == Usage::Authority) {
            for anchor in chain.anchors(association) {
                match chain.holds(&anchor) {
                    Ok(()) if !self.is_for_a_name(&own) => best = Mismatch::Name,
                    Ok(()) => return Ok(Matched { association: association.clone(), depth: anchor.depth }),
                    Err(why) if best == Mismatch::NoMatch => best = Mismatch::Chain(why),
                    Err(_) => {}
                }
            }
        }
        Err(best)
    }

    fn is_for_a_name(&self, certificate: &Certificate<'_>) -> bool {
        let presented = certificate.names();
        self.names.iter().any(|name| presented.iter().any(|presented| is_for(presented, name)))
    }
}

struct Chain<'a> {
    certificate: &'a CertificateDer<'a>,
    own: Certificate<'a>,
    intermediates: &'a [CertificateDer<'a>],
    now: UnixTime,
    algorithms: &'a WebPkiSupportedAlgorithms,
}

/// An authority that a record is about.
struct Anchor<'a> {
    trusted: TrustAnchor<'a>,
    /// Its place in the chain.
    depth: Option<usize>,
    /// When it is valid, where it is a certificate.
    valid: Option<(i64, i64)>,
    /// Authorities that may stand below it.
    path_length_max: Option<usize>,
}

impl<'a> Chain<'a> {
    /// The authorities that a record is about: certificates of the chain, and what the record holds in full.
    fn anchors(&self, association: &'a Association) -> Vec<Anchor<'a>> {
        let mut anchors = Vec::new();
        for (index, der) in self.intermediates.iter().enumerate() {
            if let Some(read) = Certificate::parse(der)
                && association.is_about(der, read.key)
            {
                anchors.extend(Anchor::of(der, read, Some(index + 1)));
            }
        }
        match (association.part, association.matching) {
            (Part::Certificate, Matching::Full) if anchors.is_empty() => {
                if let Some(read) = Certificate::parse(&association.data) {
                    anchors.extend(Anchor::of(&association.data, read, None));
                }
            }
            // A bare key has no name; it may have signed the topmost certificate (RFC 7671 §5.2.3).
            (Part::Key, Matching::Full) if anchors.is_empty() => {
                let top =
                    self.intermediates.last().and_then(|der| Certificate::parse(der)).unwrap_or(self.own);
                anchors.extend(without_tag(&association.data).map(|key| Anchor {
                    trusted: TrustAnchor {
                        subject: Der::from(top.issuer),
                        subject_public_key_info: Der::from(key),
                        name_constraints: None,
                    },
                    depth: None,
                    valid: None,
                    path_length_max: None,
                }));
            }
            _ => {}
        }
        anchors
    }

    /// Whether a chain of signatures leads from the authority to the certificate, with the constraints and
    /// times of RFC 5280 §6, those of the authority included (RFC 7671 §5.2.1).
    fn holds(&self, anchor: &Anchor<'_>) -> Result<(), String> {
        let now = i64::try_from(self.now.as_secs()).unwrap_or(i64::MAX);
        if anchor.valid.is_some_and(|(from, until)| now < from || now > until) {
            return Err("the authority's certificate has expired, or isn't valid yet".into());
        }
        // TLS has the chain in order, so those below the authority come before it.
        let below = anchor.depth.map_or(self.intermediates.len(), |depth| depth - 1);
        let intermediates = match anchor.path_length_max {
            Some(most) => &self.intermediates[..below.min(most)],
            None => self.intermediates,
        };
        let parsed = ParsedCertificate::try_from(self.certificate).map_err(|error| error.to_string())?;
        let roots = RootCertStore { roots: vec![anchor.trusted.to_owned()] };
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &roots,
            intermediates,
            self.now,
            self.algorithms.all,
        )
        .map_err(|error| error.to_string())
    }
}

impl<'a> Anchor<'a> {
    /// An authority by its certificate. None when it is none.
    fn of(der: &[u8], read: Certificate<'a>, depth: Option<usize>) -> Option<Self> {
        let mut store = RootCertStore::empty();
        store.add(CertificateDer::from(der)).ok()?;
        Some(Self {
            trusted: store.roots.pop()?,
            depth,
            valid: Some(read.valid),
            path_length_max: read.path_length_max(),
        })
    }
}
