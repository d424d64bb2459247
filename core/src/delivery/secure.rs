//! TLS towards other servers: what of a certificate counts for a connection, and what was seen of it.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use postrider_dns::dane::{self, Mismatch};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::resolver::authorities;
use crate::runtime::net::Stream;
use crate::tls::{TlsError, TlsStream};

/// What a server has to show.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// A certificate of a public authority.
    pub pkix: Pkix,
    /// The name that the certificate of an authority has to be for, where it isn't the one that is asked for: TLSA records
    /// may be at another name than that of the host.
    pub host: Option<ServerName<'static>>,
    /// A certificate that TLSA records are about. Records of which none can be used ask for nothing
    /// (RFC 7672 §2.2.2).
    pub dane: Option<dane::Verification>,
    /// What these say is noted and changes nothing.
    pub dane_is_noted: bool,
}

/// Whether authorities count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pkix {
    /// Nobody looks.
    #[default]
    Ignored,
    /// What they say is noted and changes nothing.
    Noted,
    /// Without them there is no connection.
    Required,
}

/// What was seen of a certificate.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Why it isn't one of a public authority for this name. None when it is, or nobody looked.
    pub pkix: Option<Error>,
    /// Why TLSA records aren't about it. None when they are, or there are none.
    pub dane: Option<Mismatch>,
    /// Whether the certificate was compared with TLSA records.
    pub is_compared: bool,
    /// Whether one of these was reason enough to end the handshake.
    pub is_refused: bool,
}

/// A connection, with what was seen of its certificate.
pub struct Secured {
    /// The connection.
    pub stream: TlsStream,
    /// What was seen.
    pub seen: Seen,
}

impl fmt::Debug for Secured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secured").field("info", &self.stream.info()).field("seen", &self.seen).finish()
    }
}

/// A handshake that failed.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Failed {
    /// Why.
    #[source]
    pub error: TlsError,
    /// What was seen of the certificate before.
    pub seen: Seen,
}

/// Why no connection can be secured.
#[derive(Clone, Debug, thiserror::Error)]
#[error("certificates of other servers can't be verified: {0}")]
pub struct NoAuthorities(pub String);

/// Makes connections secure.
#[derive(Clone, Debug)]
pub struct Connector {
    provider: Arc<CryptoProvider>,
    /// What authorities say. Without any, nothing that needs them can be done; all else can.
    pkix: Result<Arc<WebPkiServerVerifier>, NoAuthorities>,
}

impl Connector {
    /// With the authorities of a file in PEM form, or of the system.
    #[must_use]
    pub fn new(roots: Option<&Path>) -> Self {
        let provider = Arc::new(ring::default_provider());
        let pkix = authorities(roots).map_err(NoAuthorities).and_then(|roots| {
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .map_err(|error| NoAuthorities(error.to_string()))
        });
        Self { provider, pkix }
    }

    /// Why nothing can be verified by public authorities, if that is so.
    #[must_use]
    pub fn problem(&self) -> Option<&NoAuthorities> {
        self.pkix.as_ref().err()
    }

    /// Shakes hands as the client with a server that is asked for by `name`.
    pub async fn secure(
        &self,
        stream: Stream,
        name: ServerName<'static>,
        wanted: Wanted,
        deadline: Instant,
    ) -> Result<Secured, Failed> {
        let none = |error| Failed { error, seen: Seen::default() };
        let judge = Arc::new(Judge::new(self, wanted).map_err(|error| none(TlsError::Protocol(error)))?);
        let verifier: Arc<dyn ServerCertVerifier> = Arc::clone(&judge) as _;
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| none(TlsError::Protocol(error)))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        // A resumed session shows no certificate: nothing would be verified.
        config.resumption = Resumption::disabled();
        match TlsStream::connect(stream, Arc::new(config), name, deadline).await {
            Ok(stream) => Ok(Secured { stream, seen: judge.seen() }),
            Err(error) => Err(Failed { error, seen: judge.seen() }),
        }
    }
}

/// Judges the certificate of one connection.
#[derive(Debug)]
struct Judge {
    wanted: Wanted,
    pkix: Option<Arc<WebPkiServerVerifier>>,
    /// Verifies that a server has the key of its certificate, whatever else is wrong with that.
    possession: dane::Verifier,
    provider: Arc<CryptoProvider>,
    seen: OnceLock<Seen>,
}

impl Judge {
    fn new(connector: &Connector, wanted: Wanted) -> Result<Self, Error> {
        let pkix = match (wanted.pkix, &connector.pkix) {
            (Pkix::Ignored, _) | (Pkix::Noted, Err(_)) => None,
            (_, Ok(verifier)) => Some(Arc::clone(verifier)),
            (Pkix::Required, Err(problem)) => return Err(Error::General(problem.to_string())),
        };
        let provider = Arc::clone(&connector.provider);
        Ok(Self {
            wanted,
            pkix,
            possession: dane::Verifier::of_anybody(Arc::clone(&provider)),
            provider,
            seen: OnceLock::new(),
        })
    }

    fn seen(&self) -> Seen {
        self.seen.get().cloned().unwrap_or_default()
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let host = self.wanted.host.as_ref().unwrap_or(server_name);
        let pkix = self.pkix.as_ref().and_then(|verifier| {
            verifier.verify_server_cert(end_entity, intermediates, host, ocsp_response, now).err()
        });
        let algorithms = &self.provider.signature_verification_algorithms;
        let records = self.wanted.dane.as_ref().filter(|records| !records.associations.is_empty());
        let dane =
            records.and_then(|records| records.decide(end_entity, intermediates, now, algorithms).err());
        let refusal = match (&dane, &pkix) {
            (Some(mismatch), _) if !self.wanted.dane_is_noted => {
                Some(dane::Verifier::refusal(mismatch.clone()))
            }
            (_, Some(error)) if self.wanted.pkix == Pkix::Required => Some(error.clone()),
            _ => None,
        };
        let (is_compared, is_refused) = (records.is_some(), refusal.is_some());
        self.seen.get_or_init(|| Seen { pkix, dane, is_compared, is_refused });
        refusal.map_or_else(|| Ok(ServerCertVerified::assertion()), Err)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.possession.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.possession.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.possession.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::net::{Ipv4Addr, SocketAddr, TcpListener};

    use ::ring::digest::{SHA256, digest};
    use postrider_dns::RData;
    use postrider_dns::dane::{Associations, Verification};
    use postrider_dns::script::Script;
    use postrider_dns::{Lookup as _, RecordType, parse_name};
    use rustls::{ServerConfig, ServerConnection};
    use rustls_pki_types::PrivateKeyDer;
    use rustls_pki_types::pem::PemObject as _;

    use super::*;
    use crate::runtime::tests::on_shard;
    use crate::testing::PATIENCE;
    use crate::tls::{PemPair, self_signed};

    /// Shows any chain, also with a key that isn't its own.
    #[derive(Debug)]
    struct Shown(Arc<rustls::sign::CertifiedKey>);

    impl rustls::server::ResolvesServerCert for Shown {
        fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<rustls::sign::CertifiedKey>> {
            Some(Arc::clone(&self.0))
        }
    }

    /// A server that shakes hands with everybody.
    fn serve(pair: &PemPair) -> SocketAddr {
        let chain: Vec<_> = CertificateDer::pem_file_iter(&pair.chain).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(&pair.key).unwrap();
        let key = ring::sign::any_supported_type(&key).unwrap();
        let shown = Shown(Arc::new(rustls::sign::CertifiedKey::new(chain, key)));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(shown));
        let (config, listener) = (Arc::new(config), TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, mut session) =
                    (stream.unwrap(), ServerConnection::new(Arc::clone(&config)).unwrap());
                // A client that refuses the certificate ends it with an alert.
                while session.is_handshaking() && session.complete_io(&mut stream).is_ok() {}
            }
        });
        address
    }

    fn dane(record: &str) -> Verification {
        let script = Script::parse(&format!("_25._tcp.mx.example. TLSA {record}\n")).unwrap();
        let name = parse_name("_25._tcp.mx.example").unwrap();
        let answer = futures_lite::future::block_on(script.lookup(&name, RecordType::TLSA));
        let records: Vec<_> = answer
            .data()
            .filter_map(|data| if let RData::TLSA(record) = data { Some(record.clone()) } else { None })
            .collect();
        assert_eq!(records.len(), 1, "{record}");
        Verification {
            associations: Associations::of(&records),
            names: vec![parse_name("mx.example").unwrap()],
        }
    }

    #[test]
    fn what_is_wanted_decides_and_what_was_seen_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let pair = self_signed(directory.path(), &["mx.example"]).unwrap();
        let stranger = self_signed(&directory.path().join("other"), &["mx.example"]).unwrap();
        let address = serve(&pair);
        let certificate = CertificateDer::from_pem_file(&pair.chain).unwrap();
        let hash: String =
            digest(&SHA256, &certificate).as_ref().iter().map(|octet| format!("{octet:02x}")).collect();
        let right = format!("3 0 1 {hash}");
        let wrong = format!("3 0 1 {}", "00".repeat(32));
        // The authorities, the name asked for, what is wanted, whether records are only noted; whether it is secured, and what
        // was seen to be wrong.
        let rows = [
            (&pair, "mx.example", Pkix::Required, None, false, true, [false, false]),
            (&pair, "other.example", Pkix::Required, None, false, false, [true, false]),
            (&pair, "other.example", Pkix::Noted, None, false, true, [true, false]),
            (&pair, "other.example", Pkix::Ignored, None, false, true, [false, false]),
            (&stranger, "mx.example", Pkix::Required, None, false, false, [true, false]),
            (&stranger, "mx.example", Pkix::Noted, None, false, true, [true, false]),
            // DANE-EE counts whatever the name is, and whoever the authority.
            (&stranger, "other.example", Pkix::Noted, Some(&right), false, true, [true, false]),
            (&pair, "mx.example", Pkix::Noted, Some(&wrong), false, false, [false, true]),
            (&pair, "mx.example", Pkix::Required, Some(&right), false, true, [false, false]),
            (&stranger, "mx.example", Pkix::Required, Some(&right), false, false, [true, false]),
            // The sender's wish sets records aside, and nothing else.
            (&pair, "mx.example", Pkix::Noted, Some(&wrong), true, true, [false, true]),
            (&pair, "mx.example", Pkix::Noted, Some(&right), true, true, [false, false]),
            (&stranger, "mx.example", Pkix::Required, Some(&wrong), true, false, [true, true]),
        ];
        for (authorities, name, pkix, record, dane_is_noted, secured, seen_wrong) in rows {
            let connector = Connector::new(Some(&authorities.chain));
            let wanted = Wanted { pkix, dane: record.map(|record| dane(record)), dane_is_noted, host: None };
            let what = format!("{name} {pkix:?} {record:?} {dane_is_noted}");
            let (result, seen) = on_shard(move || async move {
                let stream = Stream::connect(address).await.unwrap();
                let deadline = Instant::now() + PATIENCE;
                let name = ServerName::try_from(name).unwrap();
                match connector.secure(stream, name, wanted, deadline).await {
                    Ok(secured) => (true, secured.seen),
                    Err(failed) => (false, failed.seen),
                }
            });
            assert_eq!(result, secured, "{what}");
            assert_eq!([seen.pkix.is_some(), seen.dane.is_some()], seen_wrong, "{what}: {seen:?}");
            assert_eq!(seen.is_compared, record.is_some(), "{what}");
        }
    }

    /// RFC 8461 §4.2 asks for the name of the host, RFC 7672 §8.1 for that of the TLSA records in the handshake.
    #[test]
    fn authorities_are_asked_for_the_host_whatever_the_handshake_asks_for() {
        let directory = tempfile::tempdir().unwrap();
        let pair = self_signed(directory.path(), &["mx.example"]).unwrap();
        let address = serve(&pair);
        for (asked, host, is_right) in [
            ("base.example", Some("mx.example"), true),
            ("mx.example", Some("base.example"), false),
            ("mx.example", None, true),
        ] {
            let connector = Connector::new(Some(&pair.chain));
            let name = |text: &'static str| ServerName::try_from(text).unwrap();
            let wanted = Wanted { pkix: Pkix::Required, host: host.map(name), ..Wanted::default() };
            let seen = on_shard(move || async move {
                let stream = Stream::connect(address).await.unwrap();
                let deadline = Instant::now() + PATIENCE;
                match connector.secure(stream, name(asked), wanted, deadline).await {
                    Ok(secured) => secured.seen,
                    Err(failed) => failed.seen,
                }
            });
            assert_eq!((seen.pkix.is_none(), !seen.is_refused), (is_right, is_right), "{asked} {host:?}");
        }
    }

    /// What ends a handshake beside the certificate's names and authorities isn't a refusal of ours.
    #[test]
    fn a_server_without_its_key_is_a_handshake_that_failed() {
        let directory = tempfile::tempdir().unwrap();
        let pair = self_signed(directory.path(), &["mx.example"]).unwrap();
        let other = self_signed(&directory.path().join("other"), &["mx.example"]).unwrap();
        let address = serve(&PemPair { chain: pair.chain.clone(), key: other.key });
        let connector = Connector::new(Some(&pair.chain));
        let failed = on_shard(move || async move {
            let stream = Stream::connect(address).await.unwrap();
            let name = ServerName::try_from("other.example").unwrap();
            let wanted = Wanted { pkix: Pkix::Noted, ..Wanted::default() };
            connector.secure(stream, name, wanted, Instant::now() + PATIENCE).await.err()
        });
        let failed = failed.unwrap();
        assert!(failed.seen.pkix.is_some() && !failed.seen.is_refused, "{failed:?}");
    }

    #[test]
    fn without_authorities_only_what_needs_them_fails() {
        let directory = tempfile::tempdir().unwrap();
        let pair = self_signed(directory.path(), &["mx.example"]).unwrap();
        let address = serve(&pair);
        let connector = Connector::new(Some(&directory.path().join("nothing")));
        assert!(connector.problem().is_some());
        for (pkix, secured) in [(Pkix::Required, false), (Pkix::Noted, true), (Pkix::Ignored, true)] {
            let connector = connector.clone();
            let result = on_shard(move || async move {
                let stream = Stream::connect(address).await.unwrap();
                let wanted = Wanted { pkix, ..Wanted::default() };
                let name = ServerName::try_from("mx.example").unwrap();
                connector.secure(stream, name, wanted, Instant::now() + PATIENCE).await.is_ok()
            });
            assert_eq!(result, secured, "{pkix:?}");
        }
    }
}
