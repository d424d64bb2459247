//! The traps of the library underneath, and what the facade promises instead.
#![expect(clippy::unwrap_used, reason = "tests")]

mod sockets;
mod tasks;

use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream as StdStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::net::{
    AcceptStats, BoundSocket, Gate, LISTEN_BACKLOG, Listener, ServeOptions, Stream, WhenExhausted, bind_tcp,
};
use super::*;
use crate::testing::PATIENCE;
pub(crate) use crate::testing::wait_until;

pub(crate) const LOCAL: &str = "127.0.0.1:0";

/// Tests run side by side on the same cores.
fn unpinned(shards: usize) -> RuntimeOptions {
    RuntimeOptions { pin: false, ..RuntimeOptions::new(shards) }
}

/// Runs `main` on one shard and returns what it returns.
pub(crate) fn on_shard<T, M, F>(main: M) -> T
where
    T: Send + 'static,
    M: FnOnce() -> F + Send + 'static,
    F: Future<Output = T> + 'static,
{
    let result = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&result);
    let main = Arc::new(Mutex::new(Some(main)));
    let runtime = Runtime::start(&unpinned(1), Shutdown::new(), move |_| {
        let (main, slot) = (main.lock().unwrap().take().unwrap(), Arc::clone(&slot));
        async move {
            let output = main().await;
            *slot.lock().unwrap() = Some(output);
        }
    })
    .unwrap();
    runtime.join().unwrap();
    let mut result = result.lock().unwrap();
    result.take().unwrap()
}

pub(crate) fn options(gate: &Gate) -> ServeOptions {
    ServeOptions {
        label: "session",
        gate: gate.clone(),
        busy: b"421 too many connections\r\n",
        exhausted: WhenExhausted::Close,
        stats: Arc::new(AcceptStats::default()),
    }
}

/// A server of `shards` shards that runs `handler` for each connection until dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) runtime: Option<Runtime>,
    pub(crate) accepts: Arc<AcceptStats>,
}

impl Server {
    pub(crate) fn start<H, F>(shards: usize, gate: &Gate, handler: H) -> Self
    where
        H: Fn(Stream) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + 'static,
    {
        Self::start_with(shards, options(gate), handler)
    }

    pub(crate) fn start_with<H, F>(shards: usize, options: ServeOptions, handler: H) -> Self
    where
        H: Fn(Stream) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + 'static,
    {
        let sockets = bind_tcp(LOCAL.parse().unwrap(), shards, LISTEN_BACKLOG).unwrap();
        let address = sockets[0].local_address().unwrap().unwrap();
        let accepts = Arc::clone(&options.stats);
        let runtime = serve_all(sockets, options, handler);
        Self { address, runtime: Some(runtime), accepts }
    }

    pub(crate) fn connect(&self) -> StdStream {
        let stream = StdStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    pub(crate) fn stats(&self, shard: usize) -> StatsSnapshot {
        self.runtime.as_ref().unwrap().stats()[shard].snapshot()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let runtime = self.runtime.take().unwrap();
        runtime.shutdown().begin(Duration::ZERO);
        runtime.join().unwrap();
    }
}

pub(crate) fn serve_all<H, F>(sockets: Vec<BoundSocket>, options: ServeOptions, handler: H) -> Runtime
where
    H: Fn(Stream) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    let runtime_options = unpinned(sockets.len());
    let sockets: Arc<Mutex<Vec<_>>> = Arc::new(Mutex::new(sockets.into_iter().map(Some).collect()));
    let shutdown = Shutdown::new();
    let stop = shutdown.clone();
    Runtime::start(&runtime_options, shutdown, move |shard| {
        let socket = sockets.lock().unwrap()[shard.0].take().unwrap();
        let (options, handler, stop) = (options.clone(), handler.clone(), stop.clone());
        async move {
            Listener::new(socket).unwrap().serve(options, stop.clone(), handler);
            stop.wait().await;
            // The connections that were in the backlog get their turn.
            sleep(Duration::from_millis(20)).await;
        }
    })
    .unwrap()
}

pub(crate) async fn echo(mut stream: Stream) {
    let mut buffer = [0; 4096];
    while let Ok(count) = stream.read(&mut buffer).await {
        if count == 0 || stream.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
}

pub(crate) fn ping(stream: &mut StdStream) {
    stream.write_all(b"ping").unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"ping");
}
