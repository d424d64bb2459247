//! Logins with client certificates (RFC 4422 §A), with a real TLS client of both versions.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postrider_storage::directory::{AccountName, AccountSettings, Change, Fingerprint};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, date_time_ymd};
use rustls::client::ResolvesClientCert;
use rustls::crypto::ring::default_provider;
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, SignatureScheme, StreamOwned,
    SupportedProtocolVersion,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::server::{Server, Setup};
use crate::config::{Listener, Protocol, Switch, TlsMode};
use crate::testing::PATIENCE;
use crate::tls::fingerprint_of_pem;

type Version = &'static SupportedProtocolVersion;

const VERSIONS: [Version; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// A client's key with a certificate that it signed itself.
struct Identity {
    fingerprint: Fingerprint,
    key: Arc<CertifiedKey>,
}

impl Identity {
    fn new() -> Self {
        Self::valid(2020, 2070)
    }

    /// Valid between the first days of two years.
    fn valid(from: i32, until: i32) -> Self {
        // Both kinds of key that clients use in one suite; the year decides which.
        let algorithm = if from % 2 == 0 { &PKCS_ECDSA_P256_SHA256 } else { &PKCS_ED25519 };
        let key = KeyPair::generate_for(algorithm).unwrap();
        let mut parameters = CertificateParams::new(vec!["client.example".to_owned()]).unwrap();
        (parameters.not_before, parameters.not_after) =
            (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
        let certificate = parameters.self_signed(&key).unwrap();
        let fingerprint = fingerprint_of_pem(&certificate.pem()).unwrap();
        let secret = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let key =
            CertifiedKey::from_der(vec![certificate.der().clone()], secret, &default_provider()).unwrap();
        Self { fingerprint, key: Arc::new(key) }
    }
}

/// Presents a certificate, and counts how often it was asked for one.
#[derive(Debug)]
struct Presents(Option<Arc<CertifiedKey>>, AtomicU32);

impl ResolvesClientCert for Presents {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

struct Client {
    config: Arc<ClientConfig>,
    presents: Arc<Presents>,
}

impl Client {
    fn new(server: &Server, identity: Option<&Identity>, version: Version) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(server.certificate()).unwrap()).unwrap();
        let presents =
            Arc::new(Presents(identity.map(|identity| Arc::clone(&identity.key)), AtomicU32::new(0)));
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_cert_resolver(Arc::clone(&presents) as _);
        Self { config: Arc::new(config), presents }
    }

    fn connect(&self, server: &Server) -> Peer {
        let stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::clone(&self.config), name).unwrap();
        Peer(BufReader::new(StreamOwned::new(connection, stream)))
    }
}

struct Peer(BufReader<StreamOwned<ClientConnection, TcpStream>>);

impl Peer {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end_matches(['\r', '\n']).to_owned()
    }

    fn run(&mut self, command: &str) -> String {
        self.0.get_mut().write_all(format!("{command}\r\n").as_bytes()).unwrap();
        self.line()
    }
}

fn imaps(listener: &mut Listener) {
    listener.protocol = Protocol::Imaps;
}

fn start(change: fn(&mut Listener), shards: usize) -> Server {
    Server::start(&Setup { tls: TlsMode::Implicit, change, shards, ..Setup::default() })
}

fn register(server: &Server, account: &str, identity: &Identity) {
    let (account, fingerprint) = (AccountName::new(account).unwrap(), identity.fingerprint);
    server.change(&[Change::AddTlsKey { account, fingerprint, name: String::new() }]);
}

fn with_authzid(authzid: &str) -> String {
    format!("a AUTHENTICATE EXTERNAL {}", STANDARD.encode(authzid))
}

const OFFERS: &str = " AUTH=EXTERNAL]";

#[test]
fn the_owner_of_a_key_logs_in_with_its_certificate() {
    let server = start(imaps, 2);
    server.add_account("second");
    // Both kinds of keys.
    for (identity, account) in
        [(Identity::valid(2020, 2070), "user"), (Identity::valid(2021, 2070), "second")]
    {
        register(&server, account, &identity);
        let address = format!("{account}@localhost");
        for version in VERSIONS {
            let client = Client::new(&server, Some(&identity), version);
            let connect = || {
                let mut peer = client.connect(&server);
                let greeting = peer.line();
                assert!(greeting.starts_with("* OK [CAPABILITY ") && greeting.contains(OFFERS), "{greeting}");
                peer
            };
            for login in ["a AUTHENTICATE EXTERNAL =", &with_authzid(&address), &with_authzid(account)] {
                let mut peer = connect();
                let answer = peer.run(login);
                assert!(answer.starts_with("a OK [CAPABILITY "), "{login}: {answer}");
                assert!(peer.run("b CREATE Mine").starts_with("b "));
            }
            // Without an initial response: a challenge of nothing is answered with nothing.
            let mut peer = connect();
            assert_eq!(peer.run("a AUTHENTICATE EXTERNAL"), "+ ");
            assert!(peer.run("").starts_with("a OK "));
            // RFC 8437 §4.2: the certificate outlives the user.
            let answer = peer.run("b UNAUTHENTICATE");
            assert!(answer.starts_with("b OK ") && answer.contains(OFFERS), "{answer}");
            assert!(peer.run("a AUTHENTICATE EXTERNAL =").starts_with("a OK "));
        }
    }
}

#[test]
fn nobody_becomes_another() {
    let (server, identity) = (start(imaps, 1), Identity::new());
    server.add_account("second");
    register(&server, "user", &identity);
    for version in VERSIONS {
        let mut peer = Client::new(&server, Some(&identity), version).connect(&server);
        peer.line();
        for other in ["second@localhost", "second", "nobody@localhost", "User"] {
            let answer = peer.run(&with_authzid(other));
            assert_eq!(answer, "a NO [AUTHENTICATIONFAILED] authentication failed", "{other}");
        }
        assert_eq!(peer.run("a AUTHENTICATE EXTERNAL AA=="), "a BAD malformed message");
    }
}

/// Asserts that a client isn't known by its certificate, and may use a password.
fn is_a_stranger(server: &Server, identity: Option<&Identity>, version: Version) {
    let mut peer = Client::new(server, identity, version).connect(server);
    let greeting = peer.line();
    assert!(greeting.starts_with("* OK ") && !greeting.contains("EXTERNAL"), "{greeting}");
    assert!(peer.run("a AUTHENTICATE EXTERNAL =").starts_with("a NO "));
    assert!(peer.run("a LOGIN user@localhost localserve").starts_with("a OK "));
}

#[test]
fn strangers_and_old_certificates_are_worth_nothing() {
    let server = start(imaps, 1);
    let (known, wrong) = (Identity::new(), Identity::new());
    let (expired, early) = (Identity::valid(2001, 2002), Identity::valid(2068, 2070));
    register(&server, "user", &known);
    register(&server, "user", &expired);
    register(&server, "user", &early);
    for version in VERSIONS {
        for identity in [None, Some(&wrong), Some(&expired), Some(&early)] {
            is_a_stranger(&server, identity, version);
        }
    }
}

#[test]
fn a_key_that_is_removed_is_worth_nothing_at_once() {
    let (server, identity, other) = (start(imaps, 1), Identity::new(), Identity::new());
    let account = AccountName::new("user").unwrap();
    register(&server, "user", &other);
    for version in VERSIONS {
        register(&server, "user", &identity);
        let client = Client::new(&server, Some(&identity), version);
        let mut peer = client.connect(&server);
        assert!(peer.line().contains(OFFERS));
        assert!(peer.run("a NOOP").starts_with("a OK"));
        server
            .change(&[Change::RemoveTlsKey { account: account.clone(), fingerprint: identity.fingerprint }]);
        assert!(!peer.run("a CAPABILITY").contains("EXTERNAL"));
        assert_eq!(peer.line(), "a OK done");
        assert!(peer.run("a AUTHENTICATE EXTERNAL =").starts_with("a NO "));
        // Also of a session that is resumed.
        let mut peer = client.connect(&server);
        assert!(!peer.line().contains("EXTERNAL"));
    }
}

#[test]
fn a_resumed_session_knows_its_certificate() {
    let (server, identity) = (start(imaps, 1), Identity::new());
    register(&server, "user", &identity);
    for version in VERSIONS {
        let client = Client::new(&server, Some(&identity), version);
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let mut peer = client.connect(&server);
            assert!(peer.line().contains(OFFERS));
            assert!(peer.run("a AUTHENTICATE EXTERNAL =").starts_with("a OK "));
            kinds.push(peer.0.get_ref().conn.handshake_kind());
        }
        assert_eq!(kinds, [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)], "{version:?}");
    }
}

#[test]
fn nobody_is_asked_while_no_account_has_a_key() {
    let (server, identity) = (start(imaps, 1), Identity::new());
    for version in VERSIONS {
        let client = Client::new(&server, Some(&identity), version);
        client.connect(&server).line();
        assert_eq!(client.presents.1.load(Ordering::Relaxed), 0);
        register(&server, "user", &identity);
        // A ticket of before doesn't keep it from being asked.
        assert!(client.connect(&server).line().contains(OFFERS));
        assert!(client.presents.1.load(Ordering::Relaxed) > 0);
        let account = AccountName::new("user").unwrap();
        server.change(&[Change::RemoveTlsKey { account, fingerprint: identity.fingerprint }]);
    }
}

#[test]
fn a_listener_can_let_certificates_in_by_themselves() {
    let server = start(
        |listener| {
            imaps(listener);
            listener.preauth = Switch::On;
        },
        2,
    );
    let (identity, other) = (Identity::new(), Identity::new());
    server.add_account("second");
    register(&server, "user", &identity);
    register(&server, "second", &other);
    for version in VERSIONS {
        for identity in [&identity, &other] {
            let mut peer = Client::new(&server, Some(identity), version).connect(&server);
            let greeting = peer.line();
            assert!(greeting.starts_with("* PREAUTH [CAPABILITY IMAP4rev2 "), "{greeting}");
            assert!(greeting.contains(" UNAUTHENTICATE]") && !greeting.contains(" AUTH="), "{greeting}");
            assert_eq!(peer.run("a LOGIN user@localhost localserve"), "a BAD logged in already");
            assert!(peer.run("a UNAUTHENTICATE").contains(OFFERS));
        }
        is_a_stranger(&server, None, version);
        is_a_stranger(&server, Some(&Identity::new()), version);
    }
    // Who may not log in is greeted as everybody else, and told why when it tries.
    let domain = postrider_proto::address::Domain::parse("localhost").unwrap();
    let settings =
        AccountSettings { login_disabled: Some("ask Anna".to_owned()), ..AccountSettings::new(domain) };
    server.change(&[Change::SetAccount { name: AccountName::new("user").unwrap(), settings }]);
    let mut peer = Client::new(&server, Some(&identity), VERSIONS[1]).connect(&server);
    assert!(peer.line().starts_with("* OK "));
    assert_eq!(peer.run("a AUTHENTICATE EXTERNAL ="), "a NO [AUTHORIZATIONFAILED] ask Anna");
}
