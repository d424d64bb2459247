//! How connections begin, move to their home shard, and end.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postrider_proto::imap::command::Tag;
use postrider_proto::imap::framing::Framer;
use postrider_proto::imap::response::{Code, Condition, write_untagged};
use tracing::{debug, error, info};

use super::Service;
use super::capability;
use super::connection::{Connection, LoggedIn, Member, Open, Peer};
use super::output::Output;
use super::session::{Completion, CompletionCode, Ended, MessageLimit};
use crate::admission::{Admitted, Purpose, Refusal};
use crate::auth::User;
use crate::clock::unix_now;
use crate::log::ConnectionId;
use crate::metrics;
use crate::runtime::net::Stream;
use crate::runtime::{spawn, timeout_at};
use crate::shard::{Shard, Work};
use crate::tls::{SessionPacket, Transport};

/// How long a refused or ended connection may take to read its last response.
const CLOSING: Duration = Duration::from_secs(2);
/// How long the last responses may take to be written.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// Serves a connection from its acceptance to its end, or until it moves to its home shard.
pub async fn serve(shard: Rc<Shard>, service: Arc<Service>, stream: Stream) {
    let id = ConnectionId::next();
    let Ok(Some(address)) = stream.peer_address() else { return };
    let mut transport = Transport::Plain(stream);
    if service.protocol.implicit_tls() {
        match start_tls(&shard, &service, id, transport).await {
            Some(tls) => transport = tls,
            None => return,
        }
    }
    let known = &shard.shared.metrics;
    let admitted = match admit(&shard, address) {
        Ok(admitted) => admitted,
        Err(label) => {
            info!(cid = %id, peer = %address, reason = label.name(), "connection refused");
            let labels = [service.protocol as usize, label as usize];
            shard.recorder.increment(known.connections_refused.at(labels));
            return refuse(transport, label).await;
        }
    };
    shard.recorder.increment(known.connections.at([service.number]));
    debug!(cid = %id, peer = %address, listener = %service.listener.name, "connected");
    let peer = Peer { id, address: address.ip().to_canonical(), admitted };
    let framer = Framer::new(Arc::clone(&service.unauthenticated));
    let mut connection = Connection::new(shard, service, peer, transport, framer);
    connection.greet();
    // Boxed, so that what waits between commands is small.
    Box::pin(connection.run()).await;
}

fn admit(shard: &Shard, address: SocketAddr) -> Result<Admitted, metrics::Refusal> {
    let now = u64::try_from(unix_now()).unwrap_or(0);
    let admitted = shard.shared.admission.connect(address.ip().to_canonical(), Purpose::Login, now);
    match admitted {
        Ok(_) if shard.shared.shutdown.is_stopping() => Err(metrics::Refusal::Stopping),
        Ok(admitted) => Ok(admitted),
        Err(Refusal::Rate) => Err(metrics::Refusal::Rate),
        Err(Refusal::Open) => Err(metrics::Refusal::Open),
        Err(Refusal::Failures) => Err(metrics::Refusal::Authentication),
    }
}

async fn refuse(mut transport: Transport, label: metrics::Refusal) {
    let text = match label {
        metrics::Refusal::Stopping => "the server stops",
        metrics::Refusal::Authentication => "too many failed logins from your network",
        _ => "too many connections from your network",
    };
    let mut out = Vec::new();
    write_untagged(&mut out, Condition::Bye, Some(&Code::Unavailable), text);
    let until = Instant::now() + CLOSING;
    if matches!(timeout_at(until, transport.write_all(&out)).await, Ok(Ok(()))) {
        transport.close(until).await;
    }
}

/// The TLS handshake; none when it failed, which ends the connection.
pub(super) async fn start_tls(
    shard: &Rc<Shard>,
    service: &Service,
    id: ConnectionId,
    transport: Transport,
) -> Option<Transport> {
    let tls = service.tls.as_ref()?;
    let deadline = Instant::now() + service.listener.limits.connections.tls_handshake;
    let known = &shard.shared.metrics;
    match transport.start_tls(tls, deadline).await {
        Ok(transport) => {
            shard.recorder.increment(known.tls_handshakes.at([service.protocol as usize]));
            Some(transport)
        }
        Err(error) => {
            debug!(cid = %id, %error, "TLS handshake failed");
            let labels = [service.protocol as usize, metrics::Refusal::Tls as usize];
            shard.recorder.increment(known.connections_refused.at(labels));
            None
        }
    }
}

/// A session on its way to its home shard. The login command is answered there.
struct Moving {
    service: Arc<Service>,
    peer: Peer,
    packet: SessionPacket,
    /// What the client sent behind its login.
    unread: Vec<u8>,
    login: LoggedIn,
}

/// Proves that a session may cross threads.
const fn assert_send<T: Send>() {}
const _: () = assert_send::<Moving>();

impl Connection {
    /// Runs the session to its end, or until it moves.
    pub(super) async fn run(mut self) {
        loop {
            match Box::pin(self.converse()).await {
                Ok(login) if self.shard.home_of(login.user.account) == self.shard.id => {
                    if let Err(ended) = Box::pin(self.enter(login)).await {
                        return Box::pin(self.end(ended)).await;
                    }
                }
                Ok(login) => return Box::pin(self.move_home(login)).await,
                Err(ended) => return Box::pin(self.end(ended)).await,
            }
        }
    }

    async fn move_home(mut self, login: LoggedIn) {
        let home = self.shard.home_of(login.user.account);
        if let Err(ended) = self.out.flush().await {
            return self.end(ended).await;
        }
        let unread = self.framer.unread().to_vec();
        let Self { shard, service, peer, mut out, .. } = self;
        let packet = match out.take_transport().map(Transport::into_packet) {
            Ok(Ok(packet)) => packet,
            _ => return,
        };
        let moving = Moving { service, peer, packet, unread, login };
        let work: Work = Box::new(move |shard| spawn("imap session", arrive(shard, moving)));
        if shard.send(home, work).await.is_err() {
            debug!("the home shard has ended");
        }
    }

    /// Becomes the session of a user, and answers the login.
    async fn enter(&mut self, login: LoggedIn) -> Result<(), Ended> {
        let LoggedIn { user, tag } = login;
        self.framer.set_limits(Arc::clone(&self.service.authenticated));
        let account = match self.shard.open_account(user.account).await {
            Ok(account) => account,
            Err(failed) => {
                error!(cid = %self.peer.id, account = %user.name, error = %failed, "an account could not be loaded");
                let answer = Completion::refused(Code::Unavailable, "the account can't be opened now");
                answer.write(&mut self.out.buffer, &tag);
                return Err(Ended::Bye(Some(Code::Unavailable), "try again later"));
            }
        };
        let watcher = account.watch();
        self.member = Some(Box::new(Member::new(account, watcher, MessageLimit::of(&self.service.listener))));
        let names = capability::after_login(&self.service.listener);
        let answer = Completion::ok("logged in").with(CompletionCode::Capability(names));
        self.answer(&tag, &answer);
        self.rest();
        Ok(())
    }

    /// Tells the client, and closes the connection.
    async fn end(mut self, ended: Ended) {
        match ended {
            Ended::Broken(error) => {
                debug!(cid = %self.peer.id, %error, "connection broke");
                return;
            }
            Ended::Bye(code, text) => {
                debug!(cid = %self.peer.id, text, "connection ends");
                self.out.untagged(Condition::Bye, code.as_ref(), text);
            }
            Ended::Gone => debug!(cid = %self.peer.id, "connection ends"),
        }
        // What the session holds of its account ends now, not after the client has read its last line.
        self.member = None;
        let written = timeout_at(Instant::now() + LAST_WRITE, self.out.flush()).await;
        if let (Ok(Ok(())), Ok(transport)) = (written, self.out.take_transport()) {
            transport.close(Instant::now() + CLOSING).await;
        }
    }
}

async fn arrive(shard: Rc<Shard>, moving: Moving) {
    let Moving { service, peer, packet, unread, login } = moving;
    let mut framer = Framer::new(Arc::clone(&service.authenticated));
    framer.push(&unread);
    drop(unread);
    let transport = Transport::from_packet(packet);
    let mut connection = Connection::new(shard, service, peer, transport, framer);
    match Box::pin(connection.enter(login)).await {
        Ok(()) => Box::pin(connection.run()).await,
        Err(ended) => Box::pin(connection.end(ended)).await,
    }
}

/// What a login leads to.
impl LoggedIn {
    /// Answers `tag` once the session is at home.
    pub(super) const fn new(user: User, tag: Tag) -> Self {
        Self { user, tag }
    }
}

impl Connection {
    pub(super) fn new(
        shard: Rc<Shard>,
        service: Arc<Service>,
        peer: Peer,
        transport: Transport,
        framer: Framer,
    ) -> Self {
        let limits = service.limits();
        let out = Output::new(transport, limits.write);
        let deadline = Instant::now() + limits.unauthenticated_idle;
        let open = Open::new(&shard, service.protocol);
        Self {
            shard,
            service,
            peer,
            framer,
            out,
            deadline,
            member: None,
            commands: 0,
            strikes: 0,
            login_failures: 0,
            _open: open,
        }
    }
}
