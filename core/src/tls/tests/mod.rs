//! A real rustls client against the server side, over sockets.
#![expect(clippy::unwrap_used, reason = "tests")]

mod certificates;
mod failures;
mod mutations;
mod sessions;

use std::future::Future;
use std::io::{Read, Write};
use std::net::TcpStream as StdStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::crypto::ring::default_provider;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};

use super::*;
use crate::runtime::net::{Gate, Stream};
use crate::runtime::tests::Server;
use crate::testing::PATIENCE;

type Versions = &'static [&'static SupportedProtocolVersion];

const TLS12: Versions = &[&rustls::version::TLS12];
const TLS13: Versions = &[&rustls::version::TLS13];
const BOTH: Versions = &[&rustls::version::TLS12, &rustls::version::TLS13];

type Client = StreamOwned<ClientConnection, StdStream>;

/// Certificates for `localhost` and `mail.example`, in this order, each in a file of its own.
struct Identity {
    _directory: tempfile::TempDir,
    pairs: Vec<PemPair>,
    certificates: Certificates,
}

impl Identity {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let pairs: Vec<_> = ["localhost", "mail.example"]
            .iter()
            .map(|name| self_signed(&directory.path().join(name), &[name]).unwrap())
            .collect();
        let certificates = Certificates::load(&pairs).unwrap();
        Self { _directory: directory, pairs, certificates }
    }

    fn service(&self, options: ServiceOptions) -> TlsService {
        TlsService::new(&self.certificates, options, crate::config::TlsVersion::Tls12).unwrap()
    }

    /// A client that trusts these certificates and no others.
    fn client(&self, versions: Versions) -> ClientConfig {
        Self::client_trusting(&self.pairs, versions)
    }

    fn client_trusting(pairs: &[PemPair], versions: Versions) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        for pair in pairs {
            roots.add(CertificateDer::from_pem_file(&pair.chain).unwrap()).unwrap();
        }
        ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }
}

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// Serves TLS on one shard.
fn serve<H, F>(service: TlsService, handler: H) -> Server
where
    H: Fn(Transport) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    serve_outcomes(service, PATIENCE, handler).0
}

type Outcomes = Arc<Mutex<Vec<String>>>;

/// Serves TLS on one shard and notes the reasons of failed handshakes. They may take so much `time`.
fn serve_outcomes<H, F>(service: TlsService, time: Duration, handler: H) -> (Server, Outcomes)
where
    H: Fn(Transport) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    let outcomes = Outcomes::default();
    let notes = Arc::clone(&outcomes);
    let server = Server::start(1, &Gate::new(1000), move |stream: Stream| {
        let (service, handler, notes) = (service.clone(), handler.clone(), Arc::clone(&notes));
        async move {
            let deadline = Instant::now() + time;
            match Transport::Plain(stream).start_tls(&service, Ask::Nothing, deadline).await {
                Ok(transport) => handler(transport).await,
                Err(TransportError::Tls(error)) => notes.lock().unwrap().push(error.reason().into_owned()),
                Err(TransportError::Io(error)) => notes.lock().unwrap().push(error.to_string()),
            }
        }
    });
    (server, outcomes)
}

/// Handshakes with a server; the name asked for is `name`.
fn dial(server: &Server, config: &Arc<ClientConfig>, name: &'static str) -> std::io::Result<Client> {
    let mut socket = server.connect();
    let mut connection =
        ClientConnection::new(Arc::clone(config), ServerName::try_from(name).unwrap()).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut socket)?;
    }
    Ok(StreamOwned::new(connection, socket))
}

async fn echo(mut transport: Transport) {
    let mut buffer = [0; 1000];
    while let Ok(count) = transport.read(&mut buffer).await {
        if count == 0 || transport.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

fn ping(client: &mut (impl Read + Write)) {
    client.write_all(b"ping").unwrap();
    let mut answer = [0; 4];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"ping");
}
