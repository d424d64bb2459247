//! A message that was received, up to its delivery: whether it is accepted, and the fields in front of it.

use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_lite::future::{or, pending};
use postrider_authentication::content::Content;
use postrider_proto::address::{Address, Domain};
use postrider_proto::dkim::header::HeaderError;
use postrider_proto::mime::{self, FieldName, header};
use postrider_proto::smtp::Reply;
use postrider_proto::smtp::body::ContentFacts;
use postrider_proto::smtp::envelope::Envelope;
use postrider_proto::smtp::reply::Class;
use postrider_proto::smtp::server::Pace;
use postrider_proto::smtp::trace;
use postrider_storage::blobs::Sharing;
use postrider_storage::directory::SenderVerdict;
use postrider_storage::ids::{AccountId, BlobId};
use postrider_storage::rows::{EvaluationRow, QueueMeta, ReportTodoRow};
use tracing::{error, warn};

use super::checks::{Conclusion, Fields, Received, Reports, evaluation, reported, results};
use super::connection::{Connection, pause};
use super::deliver::{Counted, Delivery};
use super::first_time::{FirstTime, sender_hash};
use super::recipients::{Place, Target};
use super::{policy, sending};
use crate::clock::unix_now;
use crate::intake::{self, Message};
use crate::metrics;
use crate::runtime::oneshot::oneshot;
use crate::runtime::{LocalNotify, sleep, spawn, timeout};
use crate::signing::{self, By, ToSign};
use crate::tls::Transport;
use crate::webhooks::Arrival;

/// How long a client waits for its reply before it is watched whether it is still there. Most messages are stored by then, and
/// to begin and end a watch costs several system calls.
const WATCHED_AFTER: Duration = Duration::from_millis(100);

/// The text that goes with an unknown address after the content.
const NO_SUCH_USERS: Reply = Reply::new(Class::Permanent, 50, (1, 1), "no such user(s)");
const NO_SEPARATOR: Reply =
    Reply::new(Class::Permanent, 54, (6, 0), "the message has no empty line between header and body");
const BAD_FROM: Reply =
    Reply::new(Class::Permanent, 50, (6, 0), "the message needs exactly one address in its From field");
const FROM_NOT_YOURS: Reply =
    Reply::new(Class::Permanent, 50, (7, 1), "the From field must hold an address of the authenticated user");

/// What is known of a message before it is delivered.
struct Front {
    /// `Authentication-Results` and `Received-SPF`.
    results: Fields,
    /// What stands below them.
    trace: String,
    /// Signatures, in front of all when it leaves for other servers.
    signatures: String,
    /// What programs are told of it, where they are.
    meta: Option<QueueMeta>,
    /// The id of a message of our own users, as the log has it.
    message_id: String,
    places: Vec<Place>,
    reports: Reports,
    /// What is kept for reports of DMARC.
    evaluations: Vec<EvaluationRow>,
    /// What is noted of the report that may be in it.
    reported: Option<ReportTodoRow>,
    first_time: Option<FirstTime>,
    /// What programs of its recipients are told besides the message.
    arrival: Arrival,
}

impl Connection {
    /// Stores a received message, and says what the client is told.
    pub(super) async fn deliver(
        &mut self,
        envelope: Envelope,
        facts: ContentFacts,
        transport: &mut Option<Transport>,
    ) -> Reply {
        let intake = self.intake.take();
        let examination = self.examination.take();
        if let Some(reply) = self.intake_failed.take() {
            return reply;
        }
        let (Some(mut intake), Some(mut examination)) = (intake, examination) else {
            return Reply::LOCAL_ERROR;
        };
        let targets: Vec<Target> = envelope
            .recipients
            .iter()
            .map(|recipient| self.targets.get(recipient.token as usize).cloned().unwrap_or(Target::Unknown))
            .collect();
        if targets.iter().all(|target| matches!(target, Target::Unknown)) {
            pause(&self.shard.shared.shutdown, self.service.listener.limits.smtp.unknown_recipients_delay)
                .await;
            self.count_deliveries(targets.len(), metrics::Delivery::Refused);
            return NO_SUCH_USERS;
        }
        if let Err(error) = intake.push(examination.finish()).await {
            return policy::intake_reply(&error, self.id);
        }
        self.note_forged(examination.removed());
        let single = envelope.recipients.len() == 1 && !matches!(targets.first(), Some(Target::Alias { .. }));
        let sharing = if single { Sharing::One } else { Sharing::Several };
        let message = match intake.finish(sharing) {
            Ok(message) => message,
            Err(error) => return policy::intake_reply(&error, self.id),
        };
        self.shard.recorder.observe(self.shard.shared.metrics.message_octets, message.content.size);
        let from = from_address(&message.structure);
        let gone = LocalNotify::new();
        let front = {
            // The room is given back when the checks are done.
            let (signed, _held) = examination.signed();
            let received = Received {
                envelope: &envelope,
                signed: &signed,
                facts: &facts,
                structure: &message.structure,
                from: from.as_ref(),
            };
            match self.user.is_some() {
                true => self.front_of_submission(received, targets, &message).await,
                false => self.front_of_incoming(received, targets, &gone).await,
            }
        };
        let front = match front {
            Ok(front) => front,
            Err(reply) => {
                let outcome = match reply.class() {
                    Class::Permanent => metrics::Delivery::Refused,
                    _ => metrics::Delivery::Deferred,
                };
                self.count_deliveries(envelope.recipients.len(), outcome);
                intake::abandon(&self.shard.shared.committer, message.content);
                self.slow_down();
                return reply;
            }
        };
        self.hand_over(front, (envelope, facts, message, sharing), transport, gone).await
    }

    /// Gives a message to its recipients, and waits for what comes of it.
    async fn hand_over(
        &mut self,
        front: Front,
        (envelope, facts, message, sharing): (Envelope, ContentFacts, Message, Sharing),
        transport: &mut Option<Transport>,
        gone: LocalNotify,
    ) -> Reply {
        let blob = message.content.blob;
        let (places, evaluations) = (front.places, front.evaluations);
        let is_refused = places.iter().all(|place| matches!(place, Place::Refused(_) | Place::Waits(_)));
        let limits = &self.service.listener.limits.smtp;
        let delivery = Delivery {
            shard: Rc::clone(&self.shard),
            id: self.id,
            sender: self.user.as_ref().map(|user| user.account),
            sending: self.sending.take(),
            results: front.results,
            trace: front.trace,
            signatures: front.signatures,
            meta: front.meta,
            message_id: front.message_id,
            reports: front.reports,
            now: unix_now(),
            hostname: self.service.settings.hostname.to_string(),
            content: message.content,
            thread: message.thread,
            incarnation: message.incarnation,
            first_time: front.first_time,
            arrival: front.arrival,
            reported: front.reported,
            counted: self.is_counted().then_some(Counted { peer: self.peer, limits: limits.deliveries }),
            envelope,
            facts,
        };
        // A task of its own: what was handed to the committer is settled also when nobody waits any more.
        let (tell, told) = oneshot();
        spawn("deliver", async move {
            let _ = tell.send(delivery.run(places, message.batch, sharing).await);
        });
        let limit = limits.store + limits.first_time_sender_delay;
        match timeout(limit, self.or_gone(told, transport, &gone)).await {
            Ok(reply) => {
                let reply = reply.unwrap_or(Reply::LOCAL_ERROR);
                if is_refused || reply == Reply::TOO_MUCH_MAIL {
                    self.slow_down();
                }
                // One that comes again is evaluated again.
                if reply.class() != Class::Transient {
                    self.keep_evaluations(blob, &evaluations);
                }
                reply
            }
            Err(_) => {
                warn!(cid = %self.id, ?limit, "a message was not stored in time; its sender tries again");
                self.count_limit(metrics::Limit::CommitQueue);
                Reply::NOT_STORED_IN_TIME
            }
        }
    }

    fn keep_evaluations(&self, blob: BlobId, rows: &[EvaluationRow]) {
        for (number, row) in (0..).zip(rows) {
            evaluation::keep(&self.shard, unix_now(), (blob, number), row);
        }
    }

    /// Waits for what a delivery comes to. A client that goes meanwhile is noticed, so that nothing waits for it;
    /// what it sends already is kept.
    async fn or_gone<T>(
        &mut self,
        told: impl Future<Output = T>,
        transport: &mut Option<Transport>,
        gone: &LocalNotify,
    ) -> T {
        let Some(stream) = transport.as_mut() else { return told.await };
        let session = &mut self.session;
        let watch = async {
            sleep(WATCHED_AFTER).await;
            let read = stream.receive(|input| session.receive(input, Instant::now())).await;
            if !matches!(read, Ok(1..)) {
                gone.notify();
            }
            pending().await
        };
        or(told, watch).await
    }

    /// Whether mail of this client is limited: others' servers, but for networks that never are.
    pub(super) fn is_counted(&self) -> bool {
        self.user.is_none() && !self.shard.shared.admission.is_allowed(self.peer)
    }

    /// Lets a client whose message was refused for what it is wait for every octet from now on (product 1.2).
    pub(super) fn slow_down(&mut self) {
        if self.is_counted() {
            self.pace = Pace::Slow;
        }
    }

    fn count_deliveries(&self, count: usize, outcome: metrics::Delivery) {
        let counter = self.shard.shared.metrics.deliveries.at([outcome as usize]);
        self.shard.recorder.add(counter, u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// What was concluded of a message from outside, or why it isn't accepted.
    async fn front_of_incoming(
        &self,
        received: Received<'_>,
        targets: Vec<Target>,
        gone: &LocalNotify,
    ) -> Result<Front, Reply> {
        let (envelope, facts, from) = (received.envelope, *received.facts, received.from);
        let Conclusion { reverse_name, fields, places, confirmed, reports, evaluations, arrival, reported } =
            self.conclude(received, targets).await?;
        let trace = self.received(envelope, facts, reverse_name.as_ref())?;
        let first_time = FirstTime {
            sender: from.map(|from| sender_hash(from, confirmed)),
            delay: self.service.listener.limits.smtp.first_time_sender_delay,
            gone: gone.clone(),
        };
        let signatures = String::new();
        Ok(Front {
            results: fields,
            trace,
            signatures,
            meta: None,
            message_id: String::new(),
            places,
            reports,
            evaluations,
            reported,
            first_time: Some(first_time),
            arrival,
        })
    }

    /// The fields in front of a message of one of our own users, with what is missing of its header. What the user's
    /// domain would say of it is known: it may send so.
    async fn front_of_submission(
        &self,
        received: Received<'_>,
        targets: Vec<Target>,
        message: &Message,
    ) -> Result<Front, Reply> {
        let Some(user) = &self.user else { return Err(Reply::LOCAL_ERROR) };
        let Received { envelope, facts, from, signed, .. } = received;
        self.check_submission(user.account, envelope, facts, message).await?;
        let hostname = &self.service.settings.hostname;
        let results =
            results::of_submission(hostname, envelope.reverse_path.address(), charset(envelope, *facts));
        let received_field = self.received(envelope, *facts, None)?;
        let mut added = String::new();
        let (root, now) = (message.structure.root(), unix_now());
        let message_id = match root.field(FieldName::MessageId) {
            Some(value) => header::message_id(value).unwrap_or_default(),
            None => {
                let made = format!("{}.{now}@{hostname}", self.id);
                added += &format!("Message-ID: <{made}>\r\n");
                made.into_bytes()
            }
        };
        let message_id = String::from_utf8_lossy(&message_id).into_owned();
        if root.field(FieldName::Date).is_none() {
            added += &format!("Date: {}\r\n", trace::date(now));
        }
        let known = self.known_facts(&received, &targets).of_own_user(from);
        let places = self.places(targets, envelope, from, known).await?;
        let leaves = places.iter().any(|place| matches!(place, Place::Queue));
        let meta = match self.sending.as_ref().filter(|sending| leaves && sending.is_told) {
            Some(_) => {
                Some(sending::meta(&added, signed.as_ref().map_or(&[], |content| content.header.octets()))?)
            }
            None => None,
        };
        let signatures = match from.filter(|_| leaves) {
            Some(from) => self.sign(from, &added, signed).await,
            None => String::new(),
        };
        let results = [(None, results)].into();
        let trace = received_field + &added;
        let kinds = reported::kinds(&places);
        let reported = (!kinds.is_empty()).then(|| {
            let unconfirmed = reported::unconfirmed(kinds, from, now);
            ReportTodoRow { submitted: true, ..unconfirmed }
        });
        let (reports, evaluations) = (Reports::ToSender, Vec::new());
        let own = Arrival { mail_from_validated: true, msg_from_validated: true, ..self.arrival(envelope) };
        Ok(Front {
            results,
            trace,
            signatures,
            meta,
            message_id,
            places,
            reports,
            evaluations,
            reported,
            first_time: None,
            arrival: own,
        })
    }

    /// Signatures of a message with the fields that were added to it, below which other servers add theirs.
    async fn sign(&self, from: &Address, added: &str, signed: &Result<Content, HeaderError>) -> String {
        match signed {
            Ok(content) => {
                let header = [added.as_bytes(), content.header.octets()].concat();
                let message = ToSign { header, hashes: content.hashes.clone() };
                signing::sign(&self.shard, By::Author(from.clone()), message).await
            }
            Err(error) => signing::failed(&self.shard, Some(&from.domain), error),
        }
    }

    fn received(
        &self,
        envelope: &Envelope,
        facts: ContentFacts,
        reverse_name: Option<&Domain>,
    ) -> Result<String, Reply> {
        let Some(hello) = self.session.hello() else { return Err(Reply::LOCAL_ERROR) };
        let is_ours = self.user.is_some();
        let received = trace::Received {
            from: match is_ours {
                true => trace::From::OurUser,
                false => trace::From::Client { hello: &hello.name, reverse_name, address: self.peer },
            },
            by: &self.service.settings.hostname,
            local_address: self.local.filter(|_| !is_ours),
            dialect: hello.dialect,
            charset: charset(envelope, facts),
            smtputf8: envelope.smtputf8,
            tls: self
                .tls
                .as_ref()
                .map(|tls| trace::TlsFacts { version: tls.version, cipher_suite: tls.cipher }),
            authenticated: if is_ours { trace::Authenticated::Yes } else { trace::Authenticated::No },
            requiretls: envelope.requiretls,
            id: &self.id.to_string(),
            recipient: match &*envelope.recipients {
                [only] => Some(&only.path),
                _ => None,
            },
            unix_seconds: unix_now(),
        };
        Ok(received.field())
    }

    /// What a message of our own users must be like (product 2.3).
    async fn check_submission(
        &self,
        account: AccountId,
        envelope: &Envelope,
        facts: &ContentFacts,
        message: &Message,
    ) -> Result<(), Reply> {
        if !facts.has_separator {
            return Err(NO_SEPARATOR);
        }
        // Of several fields each reader shows another one.
        let from = from_address(&message.structure).filter(|_| facts.from_fields == 1);
        let Some(from) = from else { return Err(BAD_FROM) };
        // What is in MAIL FROM too was found to be the user's there.
        if envelope.reverse_path.address() == Some(&from) {
            return Ok(());
        }
        match self.may_send_as(account, &from).await {
            Ok(SenderVerdict::Allowed) => Ok(()),
            Ok(SenderVerdict::Refused | SenderVerdict::DomainDisabled) => Err(FROM_NOT_YOURS),
            Err(error) => {
                error!(cid = %self.id, %error, "the directory could not be read");
                Err(Reply::LOCAL_ERROR)
            }
        }
    }
}

fn charset(envelope: &Envelope, facts: ContentFacts) -> trace::Charset {
    if needs_utf8(envelope, facts) { trace::Charset::Utf8 } else { trace::Charset::Ascii }
}

/// Whether a message can only go with SMTPUTF8 (RFC 6531 §3.2): that it came so doesn't say so, since many programs give the
/// parameter whenever it is offered.
pub(super) fn needs_utf8(envelope: &Envelope, facts: ContentFacts) -> bool {
    envelope.smtputf8 && (facts.has_eight_bit_header || envelope.has_utf8_address())
}

/// The address of the From field, when it holds exactly one.
fn from_address(structure: &mime::Structure) -> Option<Address> {
    signing::only_address(structure.root().field(FieldName::From)?)
}
