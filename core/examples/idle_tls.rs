//! What an idle connection costs in memory, in the clear and with TLS.
//!
//! `cargo run --release -p postrider-core --example idle_tls -- [CONNECTIONS]`
//!
//! Connections come from a second process, so the resident memory measured is the server's alone.
//! Kernel socket memory comes on top.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use postrider_core::config::TlsVersion;
use postrider_core::runtime::net::{
    AcceptStats, Gate, LISTEN_BACKLOG, Listener, ServeOptions, Stream, WhenExhausted, bind_tcp,
};
use postrider_core::runtime::{Runtime, RuntimeOptions, Shutdown, now, preflight, timeout};
use postrider_core::tls::{Ask, Certificates, PemPair, ServiceOptions, TlsService, Transport, self_signed};
use rustls::crypto::ring::default_provider;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    match &arguments[1..] {
        [word, address, count, chain] if word == "client" => client(address.parse()?, count.parse()?, chain),
        [] => measure(5000),
        [count] => measure(count.parse()?),
        _ => Err("usage: idle_tls [CONNECTIONS]".into()),
    }
}

fn measure(connections: usize) -> Result<(), Failure> {
    preflight()?;
    let directory = std::env::temp_dir().join(format!("postrider-idle-{}", std::process::id()));
    let pair = self_signed(&directory, &["localhost"])?;
    println!("resident before the runtime starts: {} kB", resident_kb()?);
    for tls in [false, true] {
        let service = TlsService::new(
            &Certificates::load(std::slice::from_ref(&pair))?,
            ServiceOptions::IMAP,
            TlsVersion::Tls12,
        )?;
        measure_one(connections, tls.then_some(service), &pair)?;
    }
    std::fs::remove_dir_all(directory)?;
    Ok(())
}

fn measure_one(connections: usize, service: Option<TlsService>, pair: &PemPair) -> Result<(), Failure> {
    let name = if service.is_some() { "TLS" } else { "plain" };
    let chain = service.as_ref().map_or(String::new(), |_| pair.chain.display().to_string());
    let mut sockets = bind_tcp("127.0.0.1:0".parse()?, 1, LISTEN_BACKLOG)?;
    let address = sockets[0].local_address()?.ok_or("no address")?;
    let socket = std::sync::Mutex::new(sockets.pop());
    let socket = Arc::new(socket);
    let shutdown = Shutdown::new();
    let stop = shutdown.clone();
    let runtime = Runtime::start(&RuntimeOptions::new(1), shutdown, move |_| {
        let (stop, service) = (stop.clone(), service.clone());
        let socket = socket.lock().ok().and_then(|mut socket| socket.take());
        async move {
            let options = ServeOptions {
                label: "session",
                gate: Gate::new(usize::MAX),
                busy: b"",
                exhausted: WhenExhausted::Close,
                stats: Arc::new(AcceptStats::default()),
            };
            let Some(Ok(listener)) = socket.map(Listener::new) else { return };
            listener.serve(options, stop.clone(), move |stream| session(stream, service.clone()));
            stop.wait().await;
        }
    })?;
    // The first connections fill caches and shared buffers.
    drop(start_client(address, 50, &chain)?);
    std::thread::sleep(Duration::from_millis(300));
    let before = resident_kb()?;
    let began = Instant::now();
    let client = start_client(address, connections, &chain)?;
    let elapsed = began.elapsed();
    std::thread::sleep(Duration::from_millis(500));
    let after = resident_kb()?;
    let processor = processor_ms()?;
    std::thread::sleep(Duration::from_secs(1));
    println!(
        "{name}: {connections} idle connections, {} kB before, {} kB with them: {:.2} kB each; set up in {:.1} s; \
         idle processor time {} ms in 1 s",
        before,
        after,
        (after - before) as f64 / connections as f64,
        elapsed.as_secs_f64(),
        processor_ms()? - processor,
    );
    drop(client);
    runtime.shutdown().begin(Duration::from_secs(1));
    runtime.join()?;
    Ok(())
}

/// What a session does at its barest: waits for input with a deadline, holding no buffer.
async fn session(stream: Stream, service: Option<TlsService>) {
    let mut transport = Transport::Plain(stream);
    if let Some(service) = &service {
        match transport.start_tls(service, Ask::Nothing, now() + Duration::from_secs(30)).await {
            Ok(secured) => transport = secured,
            Err(error) => return eprintln!("handshake: {error}"),
        }
    }
    let mut input = Vec::new();
    loop {
        input.clear();
        input.shrink_to(0);
        let received =
            timeout(Duration::from_secs(1800), transport.receive(|bytes| input.extend_from_slice(bytes)));
        match received.await {
            Ok(Ok(count)) if count > 0 => {}
            _ => return,
        }
        if transport.write_all(&input).await.is_err() {
            return;
        }
    }
}

struct Client(Child);

impl Drop for Client {
    fn drop(&mut self) {
        // The client ends when its input does.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Starts the second process and waits until all its connections have had one echo.
fn start_client(address: SocketAddr, count: usize, chain: &str) -> Result<Client, Failure> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["client", &address.to_string(), &count.to_string(), chain])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().ok_or("no output")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    if line.trim() != "ready" {
        return Err("the client failed".into());
    }
    Ok(Client(child))
}

trait Connection: Read + Write {}
impl<T: Read + Write> Connection for T {}

fn client(address: SocketAddr, count: usize, chain: &str) -> Result<(), Failure> {
    preflight()?;
    let config = if chain.is_empty() { None } else { Some(Arc::new(client_config(chain)?)) };
    let mut connections: Vec<Box<dyn Connection>> = Vec::new();
    for _ in 0..count {
        let socket = TcpStream::connect(address)?;
        let mut connection: Box<dyn Connection> = match &config {
            None => Box::new(socket),
            Some(config) => {
                let tls = ClientConnection::new(Arc::clone(config), ServerName::try_from("localhost")?)?;
                Box::new(StreamOwned::new(tls, socket))
            }
        };
        connection.write_all(b"a1 NOOP\r\n")?;
        connection.read_exact(&mut [0; 9])?;
        connections.push(connection);
    }
    println!("ready");
    std::io::stdin().read_line(&mut String::new())?;
    Ok(())
}

fn client_config(chain: &str) -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(chain)?)?;
    Ok(ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

fn resident_kb() -> Result<u64, Failure> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    Ok(statm.split(' ').nth(1).ok_or("no resident size")?.parse::<u64>()? * 4)
}

/// User and system time of this process.
fn processor_ms() -> Result<u64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    Ok((fields[11].parse::<u64>()? + fields[12].parse::<u64>()?) * 10)
}
