//! Queries over real sockets on loopback, from a shard and from a plain thread.
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures_lite::future::block_on;
use postrider_dns::{Answer, Authenticity, Lookup, Name, Outcome, RecordType};

use super::*;
use crate::config::Network;
use crate::runtime::tests::on_shard;
use crate::testing::{ClosedPort, PATIENCE, once};

/// What a server does over UDP.
#[derive(Clone, Copy, PartialEq)]
enum Udp {
    Answer,
    Cut,
    ForgeThenAnswer,
    Silence,
}

/// A server with one address for every name, 192.0.2.7, over UDP, TCP and TLS.
struct Server {
    address: SocketAddr,
    tls_address: SocketAddr,
    certificate: String,
    tls_connections: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// The response to a query: one A record, AD set.
fn respond(query: &[u8]) -> Vec<u8> {
    let end = 12 + query[12..].iter().position(|octet| *octet == 0).unwrap() + 5;
    let mut response = query[..end].to_vec();
    response[2] |= 0x80;
    response[3] = 0xa0;
    response[6..12].copy_from_slice(&[0, 1, 0, 0, 0, 0]);
    response.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 192, 0, 2, 7]);
    response
}

fn serve_stream(stream: &mut (impl Read + Write)) {
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
        if stream.read_exact(&mut query).is_err() {
            break;
        }
        // In pieces, as a network may.
        for part in sockets::framed(&respond(&query)).chunks(7) {
            if stream.write_all(part).and_then(|()| stream.flush()).is_err() {
                return;
            }
        }
    }
}

/// A certificate for `dns.example` that is its own authority, and its key.
fn tls_config() -> (Arc<rustls::ServerConfig>, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["dns.example".into()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap())
        .unwrap();
    (Arc::new(config), certificate.pem())
}

impl Server {
    fn start(behaviour: Udp) -> Self {
        // UDP and TCP share the port.
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        let tls = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (config, certificate) = tls_config();
        let stop = Arc::new(AtomicBool::new(false));
        let tls_connections = Arc::new(AtomicUsize::new(0));
        let (address, tls_address) = (tcp.local_addr().unwrap(), tls.local_addr().unwrap());
        let counted = Arc::clone(&tls_connections);
        let stops = [Arc::clone(&stop), Arc::clone(&stop), Arc::clone(&stop)];
        let [stop_udp, stop_tcp, stop_tls] = stops;
        let threads = vec![
            thread::spawn(move || serve_udp(&udp, behaviour, &stop_udp)),
            thread::spawn(move || {
                accept(&tcp, &stop_tcp, |mut stream| serve_stream(&mut stream));
            }),
            thread::spawn(move || {
                accept(&tls, &stop_tls, |stream| {
                    counted.fetch_add(1, Relaxed);
                    let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
                    serve_stream(&mut rustls::StreamOwned::new(session, stream));
                });
            }),
        ];
        Self { address, tls_address, certificate, tls_connections, stop, threads }
    }

    fn plain(&self) -> Dns {
        Dns {
            upstreams: DnsUpstreams::Listed(vec![self.address.to_string().parse_upstream()]),
            mode: Mode::Trust,
            ..Dns::default()
        }
    }

    fn secured(&self, name: &str, roots: &Path) -> Dns {
        let upstream = format!("tls://{}{name}", self.tls_address).parse_upstream();
        Dns {
            upstreams: DnsUpstreams::Listed(vec![upstream]),
            tls_roots: Some(roots.to_owned()),
            mode: Mode::Trust,
            ..Dns::default()
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        for address in [self.address, self.tls_address] {
            drop(TcpStream::connect(address));
        }
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

trait ParseUpstream {
    fn parse_upstream(&self) -> postrider_dns::resolver::Upstream;
}

impl ParseUpstream for str {
    fn parse_upstream(&self) -> postrider_dns::resolver::Upstream {
        postrider_dns::resolver::Upstream::parse(self).unwrap()
    }
}

fn serve_udp(socket: &UdpSocket, behaviour: Udp, stop: &AtomicBool) {
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut buffer = [0; 2048];
    while !stop.load(Relaxed) {
        let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
        let response = respond(&buffer[..length]);
        let send = |octets: &[u8]| {
            socket.send_to(octets, peer).unwrap();
        };
        match behaviour {
            Udp::Silence => {}
            Udp::Answer => send(&response),
            Udp::Cut => {
                let mut cut = response[..response.len() - 16].to_vec();
                cut[2] |= 2;
                cut[7] = 0;
                send(&cut);
            }
            Udp::ForgeThenAnswer => {
                let mut forged = response.clone();
                forged[0] ^= 1;
                *forged.last_mut().unwrap() = 66;
                send(&forged);
                send(&[]);
                thread::sleep(Duration::from_millis(20));
                send(&response);
            }
        }
    }
}

fn accept(listener: &TcpListener, stop: &AtomicBool, serve: impl Fn(TcpStream) + Sync) {
    thread::scope(|scope| {
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept() {
            if stop.load(Relaxed) {
                break;
            }
            open.push(stream.try_clone().unwrap());
            let serve = &serve;
            scope.spawn(move || serve(stream));
        }
        // A client that keeps its connection must not keep the test. Most are gone already.
        open.iter().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
    });
}

/// One that waits for late answers as long as tests do.
fn patient(dns: &Dns) -> Plan {
    let mut plan = Plan::new(dns).unwrap();
    (plan.options.first_wait, plan.options.total) = (PATIENCE, 4 * PATIENCE);
    plan
}

/// Looks up names one after the other, on a shard.
fn on_a_shard(dns: &Dns, names: &'static [&'static str]) -> Vec<Answer> {
    by_a_shard(patient(dns), names)
}

fn by_a_shard(plan: Plan, names: &'static [&'static str]) -> Vec<Answer> {
    on_shard(move || async move {
        let resolver = plan.start(Rc::new(|_| ()));
        let mut answers = Vec::new();
        for name in names {
            answers.push(resolver.lookup(&Name::from_ascii(name).unwrap(), RecordType::A).await);
        }
        answers
    })
}

/// The same from a plain thread.
fn blocking(dns: &Dns, names: &'static [&'static str]) -> Vec<Answer> {
    blocking_by(&patient(dns), names)
}

fn blocking_by(plan: &Plan, names: &'static [&'static str]) -> Vec<Answer> {
    let resolver = plan.start_blocking(Rc::new(|_| ()));
    let ask = |name: &&str| block_on(resolver.lookup(&Name::from_ascii(name).unwrap(), RecordType::A));
    names.iter().map(ask).collect()
}

type Way = fn(&Dns, &'static [&'static str]) -> Vec<Answer>;
const WAYS: [Way; 2] = [on_a_shard, blocking];

fn is_good(answer: &Answer) {
    let shown: Vec<String> = answer.data().map(ToString::to_string).collect();
    assert_eq!((answer.outcome, shown.join(" ").as_str()), (Outcome::Found, "192.0.2.7"), "{answer:?}");
    assert_eq!(answer.authenticity, Authenticity::Secure, "the server is on loopback, and says so");
}

#[test]
fn an_upstream_is_asked_over_udp_and_over_tcp_where_that_is_cut() {
    for behaviour in [Udp::Answer, Udp::Cut, Udp::ForgeThenAnswer] {
        let server = Server::start(behaviour);
        for ask in WAYS {
            ask(&server.plain(), &["a.example.", "b.example."]).iter().for_each(is_good);
        }
    }
}

#[test]
fn where_nobody_listens_the_lookup_fails_at_once() {
    let closed = ClosedPort::of(Ipv4Addr::LOCALHOST);
    let upstreams = DnsUpstreams::Listed(vec![closed.address().to_string().parse_upstream()]);
    let dns = Dns { upstreams, mode: Mode::Trust, ..Dns::default() };
    for ask in WAYS {
        let began = std::time::Instant::now();
        let answers = ask(&dns, &["a.example."]);
        assert_eq!(answers[0].outcome, Outcome::Failed);
        assert!(answers[0].reason.contains("efused"), "{:?}", answers[0]);
        assert!(began.elapsed() < PATIENCE);
    }
}

#[test]
fn where_udp_is_silent_tcp_is_tried() {
    let server = Server::start(Udp::Silence);
    // What it waits for the datagram is half of what it waits for TCP.
    let asked = |wait| {
        let mut plan = patient(&server.plain());
        (plan.options.first_wait, plan.options.rounds) = (wait, 2);
        [blocking_by(&plan, &["a.example."]), by_a_shard(plan, &["a.example."])].concat()
    };
    let waits = |number: usize| Duration::from_millis(200) * 4_u32.pow(number as u32);
    let is_found = |answer: &Answer| answer.outcome == Outcome::Found;
    assert!(once(|number| {
        let answers = asked(waits(number));
        answers.iter().filter(|answer| is_found(answer)).for_each(is_good);
        answers.iter().all(is_found)
    }));
}

#[test]
fn tls_is_verified_by_name_and_a_connection_is_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let roots = dir.path().join("roots.pem");
    // What comes late is asked for once more, over another connection.
    assert!(once(|_| {
        let server = Server::start(Udp::Silence);
        std::fs::write(&roots, &server.certificate).unwrap();
        on_a_shard(&server.secured("#dns.example", &roots), &["a.example.", "b.example."])
            .iter()
            .for_each(is_good);
        server.tls_connections.load(Relaxed) == 1
    }));
    let server = Server::start(Udp::Silence);
    std::fs::write(&roots, &server.certificate).unwrap();
    blocking(&server.secured("#dns.example", &roots), &["a.example."]).iter().for_each(is_good);
    // Without a name anybody will do.
    for ask in WAYS {
        ask(&server.secured("", &roots), &["a.example."]).iter().for_each(is_good);
        let answers = ask(&server.secured("#other.example", &roots), &["a.example."]);
        assert_eq!(answers[0].outcome, Outcome::Failed);
        assert!(answers[0].reason.contains("TLS: "), "{:?}", answers[0]);
    }
}

#[test]
fn networks_that_are_trusted_are_believed() {
    let upstreams =
        DnsUpstreams::Listed(["192.0.2.1", "198.51.100.1", "::1"].map(ParseUpstream::parse_upstream).into());
    let trusted = vec![Network::parse("192.0.2.0/24").unwrap()];
    let plan = Plan::new(&Dns { upstreams, trusted, ..Dns::default() }).unwrap();
    let trusted: Vec<bool> = plan.options.upstreams.iter().map(|upstream| upstream.trusted).collect();
    assert_eq!(trusted, [true, false, true]);
}

#[test]
fn the_systems_resolvers_are_read_from_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("resolv.conf");
    std::fs::write(&file, "nameserver 192.0.2.1\noptions timeout:7 attempts:2\n").unwrap();
    let of =
        |path: &Path| Plan::new(&Dns { upstreams: DnsUpstreams::System(path.to_owned()), ..Dns::default() });
    let options = of(&file).unwrap().options;
    assert_eq!(options.upstreams, ["192.0.2.1".parse_upstream()]);
    assert_eq!((options.first_wait, options.rounds), (Duration::from_secs(7), 2));
    let options = of(&dir.path().join("absent")).unwrap().options;
    assert_eq!(options.upstreams, ["127.0.0.1".parse_upstream()]);
    assert!(matches!(of(dir.path()), Err(ResolverError::File { .. })));
}

#[test]
fn answers_without_signatures_are_bogus_when_they_are_validated() {
    let server = Server::start(Udp::Answer);
    let dns = Dns { mode: Mode::Validate, ..server.plain() };
    for ask in WAYS {
        let answers = ask(&dns, &["a.example."]);
        assert_eq!(answers[0].outcome, Outcome::Failed, "{:?}", answers[0]);
        assert!(answers[0].authenticity <= Authenticity::Indeterminate, "{:?}", answers[0]);
    }
}

#[test]
fn anchors_are_read_from_a_file_or_refused_with_why() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("root.key");
    let plan = |text: &str| {
        std::fs::write(&file, text).unwrap();
        Plan::new(&Dns { trust_anchors: Some(file.clone()), ..Dns::default() })
    };
    let digest = "00".repeat(32);
    let read = plan(&format!("test. IN DS 1 13 2 {digest}\n")).unwrap();
    assert_eq!(read.options.anchors.zones().map(Name::to_ascii).collect::<Vec<_>>(), ["test."]);
    let error = plan("nothing").unwrap_err().to_string();
    assert!(error.contains("root.key: "), "{error}");
    assert!(Plan::new(&Dns { trust_anchors: Some(dir.path().join("x")), ..Dns::default() }).is_err());
}
