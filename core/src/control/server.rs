//! The server's side of the control socket: who may use it, and the loop of one conversation.

use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::exchange::{Exchange, ExchangeLimits, Gone, Transport};
use super::operations::{OperationError, Operations};
use super::protocol::{Answer, Failure, FailureKind, Frame};
use crate::log::ConnectionId;
use crate::metrics::{Counter, Recorder};
use crate::runtime::net::{
    AcceptStats, BoundSocket, Gate, Listener, PeerCredentials, ServeOptions, Stream, WhenExhausted, bind_unix,
};
use crate::runtime::{Shutdown, timeout};

/// Conversations at once; more are closed when they come.
pub const CONNECTIONS_MAX: usize = 16;

const BACKLOG: i32 = 16;

/// How the control socket is served.
pub struct ControlOptions {
    /// Bounds of a conversation.
    pub limits: ExchangeLimits,
    /// Where requests are counted, and as what.
    pub recorder: Recorder,
    /// `Metrics::control_requests`.
    pub requests: Counter,
}

/// Makes the control socket with mode 0600.
pub fn bind(path: &Path) -> io::Result<BoundSocket> {
    bind_unix(path, 0o600, BACKLOG)
}

/// Serves the control socket on the current shard until `shutdown` begins. Conversations that are under way then
/// go on, so that a client that asked for the stop is told of it: the gate that is returned counts them.
pub fn serve<O: Operations + 'static>(
    socket: BoundSocket,
    operations: Rc<O>,
    options: ControlOptions,
    shutdown: Shutdown,
) -> io::Result<Gate> {
    let gate = Gate::new(CONNECTIONS_MAX);
    let serve = ServeOptions {
        label: "control",
        gate: gate.clone(),
        busy: b"{\"failed\":{\"kind\":\"unavailable\",\"message\":\"too many commands run at once; try again later\"}}\n",
        exhausted: WhenExhausted::Wait,
        stats: Arc::new(AcceptStats::default()),
    };
    let options = Rc::new(options);
    Listener::new(socket)?.serve(serve, shutdown, move |stream| {
        let (operations, options) = (Rc::clone(&operations), Rc::clone(&options));
        async move { connection(stream, &*operations, &options).await }
    });
    Ok(gate)
}

async fn connection<O: Operations>(stream: Stream, operations: &O, options: &ControlOptions) {
    let cid = ConnectionId::next();
    let peer = match stream.peer_credentials() {
        Ok(peer) => peer,
        Err(error) => {
            tracing::warn!(%cid, %error, "can't tell whose control connection this is, so it is closed");
            return;
        }
    };
    if !may_control(peer, rustix::process::geteuid().as_raw()) {
        tracing::warn!(%cid, uid = peer.uid, pid = peer.pid, "control connection of another user refused");
        refuse(stream, options.limits.io).await;
        return;
    }
    options.recorder.increment(options.requests);
    match converse(stream, operations, options.limits, (cid, peer)).await {
        Ok(()) => {}
        Err(gone) => tracing::info!(%cid, %gone, "control connection ended early"),
    }
}

/// Only root and the user that the server runs as may control it.
fn may_control(peer: PeerCredentials, own_uid: u32) -> bool {
    peer.uid == 0 || peer.uid == own_uid
}

async fn refuse(mut stream: Stream, patience: Duration) {
    let message = "only root and the user that the server runs as may control it";
    let frame = Frame::Failed(Failure::new(FailureKind::Invalid, message));
    if let Ok(mut line) = serde_json::to_vec(&frame) {
        line.push(b'\n');
        // The peer is refused, whether it learns why or not.
        let _ = Transport::write_all(&mut stream, &line, patience).await;
    }
}

/// One conversation: greeting, request, answer.
pub(super) async fn converse<T: Transport, O: Operations>(
    transport: T,
    operations: &O,
    limits: ExchangeLimits,
    (cid, peer): (ConnectionId, PeerCredentials),
) -> Result<(), Gone> {
    let mut exchange = Exchange::new(transport, limits);
    let request = exchange.begin().await?;
    let name = request.name();
    tracing::info!(%cid, request = name, uid = peer.uid, pid = peer.pid, "control request");
    let outcome: Result<Answer, Failure> = match operations.run(request, &mut exchange).await {
        Ok(answer) => Ok(answer),
        Err(OperationError::Failed(failure)) => Err(failure),
        // What broke the protocol is still told why, if it listens.
        Err(OperationError::Gone(Gone::Protocol(what))) => Err(Failure::new(FailureKind::Protocol, what)),
        Err(OperationError::Gone(gone)) => return Err(gone),
    };
    match &outcome {
        Ok(_) => tracing::debug!(%cid, request = name, "control request done"),
        Err(failure) => {
            tracing::info!(%cid, request = name, kind = ?failure.kind, %failure, "control request failed");
        }
    }
    exchange.end(outcome).await
}

impl Transport for Stream {
    async fn read(&mut self, buffer: &mut [u8], patience: Duration) -> io::Result<usize> {
        timeout(patience, Stream::read(self, buffer))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn write_all(&mut self, bytes: &[u8], patience: Duration) -> io::Result<()> {
        timeout(patience, Stream::write_all(self, bytes))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_and_the_own_user_may_control() {
        let peer = |uid| PeerCredentials { pid: 1, uid, gid: 1000 };
        assert!(may_control(peer(1000), 1000));
        assert!(may_control(peer(0), 1000));
        assert!(!may_control(peer(1001), 1000));
        assert!(!may_control(peer(1001), 0), "a server of root isn't everyone's");
    }

    #[test]
    fn what_a_client_too_many_is_told_is_a_frame() {
        // `serve` needs a constant; here it is compared with what the encoder makes.
        let message = "too many commands run at once; try again later";
        let frame = Frame::Failed(Failure::new(FailureKind::Unavailable, message));
        let expected = "{\"failed\":{\"kind\":\"unavailable\",\"message\":\"too many commands run at once; try again later\"}}";
        assert_eq!(serde_json::to_string(&frame).ok().as_deref(), Some(expected));
    }
}
