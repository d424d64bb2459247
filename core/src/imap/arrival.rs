//! How connections begin, move to their home shard, and end.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postrider_proto::imap::command::{Access, Select, Tag};
use postrider_proto::imap::framing::Framer;
use postrider_proto::imap::response::{Code, Condition, write_untagged};
use tracing::{debug, error};

use super::Service;
use super::answers::NO_SUCH_MAILBOX;
use super::capability;
use super::compression::Compression;
use super::connection::{Connection, Departure, Flow, GREETING, LoggedIn, Member, Peer, Visit};
use super::output::Output;
use super::places::Asker;
use super::session::{Completion, CompletionCode, Enabled, Ended, MessageLimit};
use crate::arrival::{self, Arrived, CLOSING, Open};
use crate::auth::User;
use crate::metrics;
use crate::runtime::net::Stream;
use crate::runtime::{spawn, timeout_at};
use crate::shard::{Shard, Work};
use crate::tls::{SessionPacket, Transport};

/// How long the last responses may take to be written.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// Serves a connection from its acceptance to its end, or until it moves to its home shard.
pub async fn serve(shard: Rc<Shard>, service: Arc<Service>, stream: Stream) {
    // Boxed, so that what waits between commands is small.
    let arrived = Box::pin(arrival::arrive(&shard, service.door(), stream, last_words)).await;
    let Some(Arrived { id, peer, transport, admitted }) = arrived else { return };
    let peer = Peer { id, address: peer, admitted };
    let framer = Framer::new(Arc::clone(&service.unauthenticated));
    let mut connection = Connection::new(shard, service, peer, transport, framer);
    let login = connection.preauthenticated().map(|user| LoggedIn::new(user, None));
    if login.is_none() {
        connection.greet();
    }
    Box::pin(connection.run(login)).await;
}

/// What a refused connection is told.
fn last_words(refusal: metrics::Refusal) -> Vec<u8> {
    let text = match refusal {
        metrics::Refusal::Stopping => "the server stops",
        metrics::Refusal::Authentication => "too many failed logins from your network",
        _ => "too many connections from your network",
    };
    let mut out = Vec::new();
    write_untagged(&mut out, Condition::Bye, Some(&Code::Unavailable), text);
    out
}

/// A session on its way to the home shard of an account. The command that made it go is answered there.
struct Moving {
    service: Arc<Service>,
    peer: Peer,
    packet: SessionPacket,
    compression: Option<Box<Compression>>,
    /// What the client sent behind that command.
    unread: Vec<u8>,
    departure: Departure,
}

/// Proves that a session may cross threads.
const fn assert_send<T: Send>() {}
const _: () = assert_send::<Moving>();

impl Connection {
    /// Runs the session to its end, or until it moves. `login` is one that isn't answered yet.
    pub(super) async fn run(mut self, mut login: Option<LoggedIn>) {
        loop {
            let next = match login.take() {
                Some(login) => Ok(Departure::Login(login)),
                None => Box::pin(self.converse()).await,
            };
            match next {
                Ok(departure) if self.shard.home_of(departure.account()) == self.shard.id => {
                    if let Err(ended) = Box::pin(self.arrive(departure)).await {
                        return Box::pin(self.end(ended)).await;
                    }
                }
                Ok(departure) => return Box::pin(self.depart(departure)).await,
                Err(ended) => return Box::pin(self.end(ended)).await,
            }
        }
    }

    async fn depart(mut self, departure: Departure) {
        let home = self.shard.home_of(departure.account());
        if let Err(ended) = self.out.flush().await {
            return self.end(ended).await;
        }
        let unread = self.framer.unread().to_vec();
        // What the session holds of an account here ends now.
        let Self { shard, service, peer, mut out, member, .. } = self;
        drop(member);
        let compression = out.take_compression();
        let packet = match out.take_transport().map(Transport::into_packet) {
            Ok(Ok(packet)) => packet,
            _ => return,
        };
        let moving = Moving { service, peer, packet, compression, unread, departure };
        let work: Work = Box::new(move |shard| spawn("imap session", go_on(shard, moving)));
        if shard.send(home, work).await.is_err() {
            debug!("the home shard has ended");
        }
    }

    /// Goes on at the account that the session came for.
    async fn arrive(&mut self, departure: Departure) -> Result<(), Ended> {
        match departure {
            Departure::Login(login) => self.enter(login).await,
            Departure::Visit(visit) => self.stay(*visit).await,
        }
    }

    /// Becomes the session of a user at an account, and does there what it came for.
    async fn stay(&mut self, visit: Visit) -> Result<(), Ended> {
        let Visit { asker, enabled, notify, account, select, strikes } = visit;
        let account = self.shard.open_account(account).await.map_err(|failed| {
            error!(cid = %self.peer.id, %account, error = %failed, "an account could not be loaded");
            Ended::Bye(Some(Code::Unavailable), "try again later")
        })?;
        let limit = MessageLimit::of(&self.service.listener);
        let mut member = Member::new(asker, account, enabled, limit);
        member.notify = notify;
        self.member = Some(Box::new(member));
        // It has spoken IMAP before.
        self.commands = self.commands.max(1);
        self.strikes = strikes;
        if let Some((tag, command)) = select {
            self.select_here(&tag, command).await?;
        }
        self.rest();
        Ok(())
    }

    /// Selects a mailbox of the account that the session came to, and answers.
    async fn select_here(&mut self, tag: &Tag, command: Select) -> Result<(), Ended> {
        let label = match command.access {
            Access::ReadWrite => metrics::ImapCommand::Select,
            Access::ReadOnly => metrics::ImapCommand::Examine,
        };
        let completion = match Box::pin(self.select(tag, command)).await? {
            Flow::Done(completion) => completion,
            // The name means another account by now.
            _ => NO_SUCH_MAILBOX,
        };
        self.count_completion(label, completion.status);
        self.answer(tag, &completion);
        self.command_ended()
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
                if let Some(tag) = &tag {
                    answer.write(&mut self.out.buffer, tag);
                }
                return Err(Ended::Bye(Some(Code::Unavailable), "try again later"));
            }
        };
        let anyone = self.shard.shared.config.share_with_anyone;
        let asker = Asker { user: user.account, anyone, id: self.peer.id };
        let limit = MessageLimit::of(&self.service.listener);
        self.member = Some(Box::new(Member::new(asker, account, Enabled::default(), limit)));
        let names = capability::after_login(&self.service.listener);
        match tag {
            Some(tag) => {
                let answer = Completion::ok("logged in").with(CompletionCode::Capability(names));
                self.answer(&tag, &answer);
            }
            None => self.out.untagged(Condition::PreAuth, Some(&Code::Capability(&names)), GREETING),
        }
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

async fn go_on(shard: Rc<Shard>, moving: Moving) {
    let Moving { service, peer, packet, compression, unread, departure } = moving;
    let mut framer = Framer::new(Arc::clone(&service.authenticated));
    framer.push(&unread);
    drop(unread);
    let transport = Transport::from_packet(packet);
    let mut connection = Connection::new(shard, service, peer, transport, framer);
    connection.out.put_compression(compression);
    match Box::pin(connection.arrive(departure)).await {
        Ok(()) => Box::pin(connection.run(None)).await,
        Err(ended) => Box::pin(connection.end(ended)).await,
    }
}

/// What a login leads to.
impl LoggedIn {
    /// Answers `tag` once the session is at home.
    pub(super) const fn new(user: User, tag: Option<Tag>) -> Self {
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
