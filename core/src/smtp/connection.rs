//! One connection: reads, hands to the session, does what the session asks for, writes.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use postrider_authentication::spf;
use postrider_proto::smtp::Reply;
use postrider_proto::smtp::reply::Class;
use postrider_proto::smtp::server::{Action, Answer, Certificate, Channel, Pace, Question, Session};
use tracing::{debug, trace};

use super::checks::{Examination, Timed};
use super::left::Outgoing;
use super::recipients::Target;
use super::sending::Sending;
use super::{Service, figures, policy};
use crate::admission::Admitted;
use crate::arrival::{Arrived, CLOSING, Open, arrive, start_tls};
use crate::auth::{Conversation, User};
use crate::clock::unix_now;
use crate::intake::Intake;
use crate::log::ConnectionId;
use crate::lookup::Questions;
use crate::metrics;
use crate::runtime::net::Stream;
use crate::runtime::{Shutdown, sleep, timeout_at, yield_if_needed};
use crate::shard::Shard;
use crate::tls::{ClientCertificate, Transport, TransportError};

const HEADERS_FULL: Reply =
    Reply::new(Class::Transient, 52, (3, 1), "too many large headers are looked at now, try again later");

/// Octets of replies that are gathered before they are written.
const OUT_OCTETS: usize = 16 * 1024;
/// With less than this left of the time for a write, a slowed one goes at once.
const SLOW_WRITE_RESERVE: Duration = Duration::from_secs(5);

/// A connection with all that belongs to it.
pub(super) struct Connection {
    pub(super) shard: Rc<Shard>,
    pub(super) service: Rc<Service>,
    pub(super) id: ConnectionId,
    pub(super) peer: IpAddr,
    pub(super) local: Option<IpAddr>,
    pub(super) session: Session,
    pub(super) user: Option<User>,
    pub(super) conversation: Option<Conversation>,
    /// The message that is coming in.
    pub(super) intake: Option<Intake>,
    /// What is looked at of the message that is coming in.
    pub(super) examination: Option<Examination>,
    /// What the transaction may ask DNS.
    pub(super) questions: Option<Rc<Questions>>,
    /// What SPF said of the transaction, once it was asked.
    pub(super) spf: Option<Timed<spf::Verdict>>,
    /// Why the message that is coming in can't be stored, although the session reads it to its end.
    pub(super) intake_failed: Option<Reply>,
    /// What is set for what the user sends, once a transaction has begun.
    pub(super) sending: Option<Sending>,
    /// Its recipients of other servers, which are limited.
    pub(super) outgoing: Outgoing,
    /// Where the accepted recipients' mail goes; a recipient's token is its place here.
    pub(super) targets: Vec<Target>,
    pub(super) tls: Option<TlsFacts>,
    /// What the client asked that is not answered yet, and when it was looked at.
    asked: Option<(metrics::SmtpCommand, Instant)>,
    out: Vec<u8>,
    spare: Vec<u8>,
    pub(super) pace: Pace,
    _admitted: Admitted,
    _open: Open,
}

/// What is told of TLS in trace fields, and what logins are bound to.
pub(super) struct TlsFacts {
    pub(super) version: &'static str,
    pub(super) cipher: &'static str,
    pub(super) exporter: Option<[u8; 32]>,
    pub(super) certificate: Option<ClientCertificate>,
}

/// Why a connection ends.
enum End {
    /// The session closed it, or the peer did.
    Done,
    /// It broke.
    Broken(TransportError),
}

impl<E: Into<TransportError>> From<E> for End {
    fn from(error: E) -> Self {
        Self::Broken(error.into())
    }
}

/// Serves a connection from its acceptance to its end.
pub async fn serve(shard: Rc<Shard>, service: Rc<Service>, stream: Stream) {
    // Boxed, so that what waits between commands is small.
    let arrived = Box::pin(arrive(&shard, service.door(), stream, last_words)).await;
    let Some(Arrived { id, peer, transport, admitted }) = arrived else { return };
    let channel = if service.protocol.implicit_tls() { Channel::Tls } else { Channel::Clear };
    let session = Session::new(service.settings.clone(), channel, Instant::now(), unix_now());
    let local = transport.local_address().ok().flatten().map(|local| SocketAddr::ip(&local).to_canonical());
    let mut connection = Connection {
        id,
        peer,
        local,
        session,
        user: None,
        conversation: None,
        intake: None,
        examination: None,
        questions: None,
        spf: None,
        intake_failed: None,
        sending: None,
        outgoing: Outgoing::default(),
        targets: Vec::new(),
        tls: tls_facts(&transport),
        asked: None,
        out: Vec::new(),
        spare: Vec::new(),
        pace: Pace::Normal,
        _admitted: admitted,
        _open: Open::new(&shard, service.protocol),
        shard,
        service,
    };
    connection.look_at_certificate().await;
    Box::pin(connection.run(transport)).await;
}

/// What a refused connection is told.
fn last_words(refusal: metrics::Refusal) -> Vec<u8> {
    let reply = match refusal {
        metrics::Refusal::Stopping => Reply::SHUTTING_DOWN,
        metrics::Refusal::Authentication => Reply::TOO_MANY_AUTH_FAILURES,
        _ => Reply::TOO_MANY_CONNECTIONS,
    };
    let mut out = Vec::new();
    reply.encode(None, &mut out);
    out
}

fn tls_facts(transport: &Transport) -> Option<TlsFacts> {
    let info = transport.tls_info()?;
    Some(TlsFacts {
        version: info.version,
        cipher: info.cipher,
        exporter: transport.channel_binding(),
        certificate: transport.client_certificate(),
    })
}

impl Connection {
    async fn run(mut self, transport: Transport) {
        let mut transport = Some(transport);
        let until = Instant::now() + self.service.listener.limits.smtp.session;
        let end = self.converse(&mut transport, until).await;
        // What came of a message that was not finished is given back.
        self.intake = None;
        match end {
            Err(End::Broken(error)) => debug!(cid = %self.id, %error, "connection broke"),
            Ok(()) | Err(End::Done) => {
                debug!(cid = %self.id, "connection ends");
                if let Some(transport) = transport {
                    transport.close(Instant::now() + CLOSING).await;
                }
            }
        }
    }

    /// The one loop: do what the session wants, write, read, until the end.
    async fn converse(&mut self, transport: &mut Option<Transport>, until: Instant) -> Result<(), End> {
        let shutdown = self.shard.shared.shutdown.clone();
        loop {
            self.work(transport).await?;
            self.flush(transport).await?;
            self.session.flushed(Instant::now());
            if self.session.is_closed() {
                return Err(End::Done);
            }
            if shutdown.is_stopping() {
                self.session.shutdown();
                continue;
            }
            let Some(deadline) = self.session.deadline() else {
                // Nothing to do and nothing to wait for: a defect, and better ended than hung.
                return Err(End::Done);
            };
            if self.pace == Pace::Slow {
                pause(&shutdown, self.service.listener.limits.smtp.slow_read).await;
            }
            self.read(transport, deadline.min(until)).await?;
            if Instant::now() >= until {
                self.count_limit(metrics::Limit::SmtpSessionTime);
                self.session.shutdown();
            }
        }
    }

    async fn read(&mut self, transport: &mut Option<Transport>, deadline: Instant) -> Result<(), End> {
        let shutdown = self.shard.shared.shutdown.clone();
        let Some(stream) = transport.as_mut() else { return Err(End::Done) };
        let count = Cell::new(None);
        let session = &mut self.session;
        let reading = async {
            let read = stream.receive(|input| session.receive(input, Instant::now())).await;
            count.set(Some(read));
        };
        let stopping = async {
            shutdown.wait().await;
        };
        // Dropping the read loses nothing: it takes octets only when it is ready.
        let _ = timeout_at(deadline, futures_lite::future::or(reading, stopping)).await;
        match count.take() {
            Some(Ok(0)) => Err(End::Done),
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(End::Broken(error)),
            None => {
                self.session.on_deadline(Instant::now());
                Ok(())
            }
        }
    }

    /// Offers EXTERNAL to a client whose certificate belongs to somebody.
    async fn look_at_certificate(&mut self) {
        let presented = self.tls.as_ref().and_then(|tls| tls.certificate);
        if presented.is_some() {
            self.shard.shared.reads.calm().await;
        }
        let now = u64::try_from(unix_now()).unwrap_or(0);
        let authenticator = &self.shard.shared.authenticator;
        let known = match presented.map(|certificate| authenticator.owner(&certificate, now)) {
            Some(Ok(Some(_))) => Certificate::Known,
            _ => Certificate::Unknown,
        };
        self.session.set_certificate(known);
    }

    /// Does everything that the session wants done now.
    async fn work(&mut self, transport: &mut Option<Transport>) -> Result<(), End> {
        loop {
            // One read may hold thousands of commands.
            yield_if_needed().await;
            self.take_content().await;
            let action = self.session.poll();
            // It may have gone on with a chunk that came together with its command, and that belongs before the action.
            let gathered = !self.session.content().is_empty();
            self.take_content().await;
            let Some(action) = action else {
                if gathered {
                    continue;
                }
                return Ok(());
            };
            match action {
                Action::Send(reply) => self.say(&reply, transport).await?,
                Action::Ask(question) => {
                    self.asked = Some((figures::command(&question), Instant::now()));
                    let answer = self.answer(question, transport).await;
                    self.session.answer(answer, Instant::now());
                }
                Action::Discard => {
                    self.intake = None;
                    self.examination = None;
                    self.intake_failed = None;
                }
                Action::Pause(time) => {
                    self.flush(transport).await?;
                    pause(&self.shard.shared.shutdown, time).await;
                }
                Action::SetPace(pace) => self.pace = pace,
                Action::StartTls => {
                    self.flush(transport).await?;
                    let Some(plain) = transport.take() else { return Err(End::Done) };
                    let tls =
                        start_tls(&self.shard, self.service.door(), self.id, plain).await.ok_or(End::Done)?;
                    self.tls = tls_facts(&tls);
                    self.look_at_certificate().await;
                    (self.user, self.conversation) = (None, None);
                    *transport = Some(tls);
                    self.session.started_tls(Instant::now());
                }
                Action::Close => {
                    self.flush(transport).await?;
                    return Err(End::Done);
                }
            }
        }
    }

    /// Hands the content that has gathered to the store.
    async fn take_content(&mut self) {
        if self.session.content().is_empty() {
            return;
        }
        let content = self.session.take_content(std::mem::take(&mut self.spare), Instant::now());
        let stored = match &mut self.examination {
            Some(examination) => examination.push(&content),
            None => &content,
        };
        if let Some(intake) = &mut self.intake
            && let Err(error) = intake.push(stored).await
        {
            self.intake = None;
            self.intake_failed = Some(policy::intake_reply(&error, self.id));
        }
        if self.intake.is_some() && self.examination.as_ref().is_some_and(|one| !one.has_room()) {
            self.intake = None;
            self.intake_failed = Some(HEADERS_FULL);
            self.count_limit(metrics::Limit::HeadersOctets);
        }
        // A large buffer is not kept by an idle connection.
        self.spare = if content.capacity() <= OUT_OCTETS { content } else { Vec::new() };
    }

    async fn say(&mut self, reply: &Reply, transport: &mut Option<Transport>) -> Result<(), End> {
        trace!(cid = %self.id, code = reply.code(), text = reply.text(), "reply");
        self.count_reply(reply);
        let reference = reply.is_refusal().then(|| self.id.to_string());
        reply.encode(reference.as_deref(), &mut self.out);
        if self.out.len() >= OUT_OCTETS { self.flush(transport).await } else { Ok(()) }
    }

    async fn flush(&mut self, transport: &mut Option<Transport>) -> Result<(), End> {
        if self.out.is_empty() {
            return Ok(());
        }
        let Some(stream) = transport.as_mut() else { return Err(End::Done) };
        let out = std::mem::take(&mut self.out);
        let deadline = Instant::now() + self.service.listener.limits.smtp.idle;
        let written = match self.pace {
            Pace::Normal => timeout_at(deadline, stream.write_all(&out)).await,
            Pace::Slow => {
                timeout_at(deadline, write_slowly(stream, &out, deadline, &self.shard.shared.shutdown)).await
            }
        };
        match written {
            Ok(Ok(())) => {
                self.out = out;
                self.out.clear();
                self.out.shrink_to(1024);
                Ok(())
            }
            Ok(Err(error)) => Err(End::Broken(error)),
            Err(_) => Err(End::Done),
        }
    }

    async fn answer(&mut self, question: Question, transport: &mut Option<Transport>) -> Answer {
        let answer = match question {
            Question::Hello(hello) => self.hello(&hello).await,
            Question::AuthBegin { mechanism, initial_response } => {
                self.begin_auth(&mechanism, initial_response).await
            }
            Question::AuthRespond(response) => self.respond_auth(response).await,
            Question::Sender(path) => self.sender(&path).await,
            Question::Recipient(path) => self.recipient(&path).await,
            Question::Content => self.begin_content(),
            Question::Deliver { envelope, facts } => {
                Answer::Delivered(self.deliver(*envelope, facts, transport).await)
            }
        };
        if let Answer::Refuse(reply) | Answer::AuthFailed(reply) = &answer {
            debug!(cid = %self.id, peer = %self.peer, code = reply.code(), text = reply.text(), "refused");
        }
        answer
    }

    fn count_reply(&mut self, reply: &Reply) {
        let known = &self.shard.shared.metrics;
        let (command, began) = self.asked.take().unzip();
        let command = command.unwrap_or(metrics::SmtpCommand::Unknown) as usize;
        self.shard.recorder.increment(known.smtp_replies.at([command, figures::class(reply) as usize]));
        if let Some(began) = began {
            self.shard.recorder.observe_duration(known.smtp_command.at([command]), began.elapsed());
        }
        if let Some(limit) = figures::limit(reply) {
            self.count_limit(limit);
        }
    }

    pub(super) fn count_limit(&self, limit: metrics::Limit) {
        self.shard.recorder.increment(self.shard.shared.metrics.limit(limit));
    }
}

/// Waits, but not while the server stops: nobody should miss its good-bye for a pause.
pub(super) async fn pause(shutdown: &Shutdown, time: Duration) {
    let stopping = async {
        shutdown.wait().await;
    };
    futures_lite::future::or(sleep(time), stopping).await;
}

/// An octet a second, the rest at once when time runs out or the server stops.
async fn write_slowly(
    stream: &mut Transport,
    out: &[u8],
    deadline: Instant,
    shutdown: &Shutdown,
) -> Result<(), TransportError> {
    for (at, octet) in out.iter().enumerate() {
        if Instant::now() + SLOW_WRITE_RESERVE >= deadline || shutdown.is_stopping() {
            return stream.write_all(&out[at..]).await;
        }
        stream.write_all(std::slice::from_ref(octet)).await?;
        pause(shutdown, Duration::from_secs(1)).await;
    }
    Ok(())
}
