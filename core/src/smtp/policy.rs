//! Answers to what a session asks: who may log in, send, and be written to.

use std::sync::Arc;
use std::time::Duration;

use postrider_proto::address::{Address, ForwardPath, ReversePath};
use postrider_proto::sasl::{FailureKind, Mechanism};
use postrider_proto::smtp::Reply;
use postrider_proto::smtp::command::SaslOctets;
use postrider_proto::smtp::reply::Class;
use postrider_proto::smtp::server::{Answer, Role};
use postrider_storage::committer::{CommitError, StopReason};
use postrider_storage::directory::{Directory, Recipient, Resolution, SenderVerdict};
use postrider_storage::engine::EngineError;
use postrider_storage::ids::AccountId;
use postrider_storage::maintenance::Refusal as Gated;
use postrider_storage::queue::knows_id;
use postrider_storage::reader::Reader;
use postrider_storage::store::{Refusal, StoreError};
use tracing::{error, info};

use super::checks::{Examination, Signatures};
use super::connection::{Connection, pause};
use super::recipients::{Settings, Target};
use super::rehearsal::{self, Stage, Wish};
use crate::auth::{self, AuthError, Next};
use crate::clock::unix_now;
use crate::config::{Mode, TlsMode};
use crate::intake::{Intake, IntakeError};
use crate::log::ConnectionId;
use crate::metrics;
use crate::shard::Shard;

/// How long an address that asks for silence gets none.
const SILENCE: Duration = Duration::from_secs(60 * 60);

const SENDER_NOT_YOURS: Reply =
    Reply::new(Class::Permanent, 50, (7, 1), "the sender must be an address of the authenticated user");
const DOMAIN_DISABLED_HERE: Reply =
    Reply::new(Class::Transient, 51, (3, 0), "the sender's domain is temporarily disabled");
const RECIPIENT_DOMAIN_DISABLED: Reply =
    Reply::new(Class::Transient, 50, (2, 1), "recipient domain temporarily disabled");
const TLS_NEEDED: Reply = Reply::new(Class::Permanent, 30, (7, 0), "STARTTLS is required to deliver here");
const LOGIN_DISABLED: Reply = Reply::new(Class::Permanent, 25, (7, 13), "login is disabled");
const CHANNEL_BINDING: Reply =
    Reply::new(Class::Permanent, 35, (7, 7), "channel binding does not match: somebody may sit in between");
const NOT_RELAYING: Reply = Reply::new(Class::Permanent, 50, (1, 1), "not a domain of this server");

/// What a client is told when its message can't be stored.
pub(super) fn intake_reply(error: &IntakeError, id: ConnectionId) -> Reply {
    match error {
        IntakeError::Store(error) => store_reply(error, id),
        IntakeError::Commit(error) => commit_reply(error, id),
    }
}

/// What a client is told when a commit failed.
pub(super) fn commit_reply(error: &CommitError, id: ConnectionId) -> Reply {
    match error {
        CommitError::Stopped(StopReason::Full) => Reply::STORAGE_FULL,
        CommitError::Closed => Reply::SHUTTING_DOWN,
        CommitError::Bounds(_) | CommitError::Stale | CommitError::Stopped(StopReason::Failed(_)) => {
            error!(cid = %id, %error, "a message could not be committed");
            Reply::LOCAL_ERROR
        }
    }
}

/// What a client is told when the store refused or failed.
pub(super) fn store_reply(error: &StoreError, id: ConnectionId) -> Reply {
    match error {
        StoreError::Refused(Refusal::OverQuota) => Reply::MAILBOX_FULL,
        StoreError::Refused(Refusal::MessageTooLarge | Refusal::StructureTooLarge) => Reply::MESSAGE_TOO_BIG,
        StoreError::Engine(EngineError::Full) => Reply::STORAGE_FULL,
        error => {
            error!(cid = %id, %error, "a message could not be stored");
            Reply::LOCAL_ERROR
        }
    }
}

impl Connection {
    fn directory_failed(&self, error: &dyn std::fmt::Display) -> Answer {
        error!(cid = %self.id, %error, "the directory could not be read");
        Answer::Refuse(Reply::LOCAL_ERROR)
    }

    /// Fulfils what an address asks of a local instance at this stage.
    async fn rehearse(&self, address: &Address, stage: Stage) -> Option<Reply> {
        if self.service.mode != Mode::Local {
            return None;
        }
        match rehearsal::wish(address.localpart.as_str()) {
            Some((wanted, wish)) if wanted == stage => Some(Self::fulfil(&self.shard, wish).await),
            _ => None,
        }
    }

    /// Waits when silence is wanted, and gives the reply.
    pub(super) async fn fulfil(shard: &Shard, wish: Wish) -> Reply {
        match wish {
            Wish::Reply(reply) => reply,
            Wish::Silence => {
                pause(&shard.shared.shutdown, SILENCE).await;
                Reply::TIMEOUT
            }
        }
    }

    /// What a client is told while the store takes no mail.
    fn no_mail_now(&self) -> Option<Reply> {
        let shared = &self.shard.shared;
        let refusal = shared.gate.admits().err()?;
        info!(cid = %self.id, %refusal, "no mail is taken at the moment");
        let (limit, reply) = match refusal {
            Gated::DiskLow => (metrics::Limit::FreeSpace, Reply::STORAGE_FULL),
            Gated::Congested | Gated::Stuck => (metrics::Limit::CommitQueue, Reply::CONGESTED),
            Gated::Stopped => match shared.committer.stopped() {
                Some(StopReason::Full) => (metrics::Limit::FreeSpace, Reply::STORAGE_FULL),
                _ => return Some(Reply::LOCAL_ERROR),
            },
        };
        self.count_limit(limit);
        Some(reply)
    }

    pub(super) async fn sender(&mut self, path: &ReversePath) -> Answer {
        self.targets.clear();
        self.sending = None;
        self.outgoing.begin();
        self.begin_questions();
        if let Some(reply) = self.no_mail_now() {
            return Answer::Refuse(reply);
        }
        let Some(address) = path.address() else {
            return match self.begin_sending(path).await {
                Ok(()) => Answer::Proceed,
                Err(reply) => Answer::Refuse(reply),
            };
        };
        if let Some(reply) = self.rehearse(address, Stage::Sender).await {
            return Answer::Refuse(reply);
        }
        let Some(user) = &self.user else {
            return match self.sender_domain(path).await {
                Ok(()) => Answer::Proceed,
                Err(reply) => Answer::Refuse(reply),
            };
        };
        match self.may_send_as(user.account, address).await {
            Ok(SenderVerdict::Allowed) => match self.begin_sending(path).await {
                Ok(()) => Answer::Proceed,
                Err(reply) => Answer::Refuse(reply),
            },
            Ok(SenderVerdict::Refused) => Answer::Refuse(SENDER_NOT_YOURS),
            Ok(SenderVerdict::DomainDisabled) => Answer::Refuse(DOMAIN_DISABLED_HERE),
            Err(error) => self.directory_failed(&error),
        }
    }

    /// Whether an account may use an address as its own (product 2.3).
    pub(super) async fn may_send_as(
        &self,
        account: AccountId,
        address: &Address,
    ) -> Result<SenderVerdict, StoreError> {
        let address = address.clone();
        self.shard.ask_directory(move |directory| directory.may_send_as(account, &address)).await
    }

    pub(super) async fn recipient(&mut self, path: &ForwardPath) -> Answer {
        let incoming = self.service.settings.role == Role::Incoming;
        if incoming && self.service.listener.tls == TlsMode::Required && self.tls.is_none() {
            return Answer::Refuse(TLS_NEEDED);
        }
        if let Err(reply) = self.several_recipients().await {
            return Answer::Refuse(reply);
        }
        if let Some(sending) = self.sending.as_ref().filter(|_| !self.targets.is_empty())
            && let Err(reply) = sending.several()
        {
            return Answer::Refuse(reply);
        }
        let recipient = match path {
            ForwardPath::Postmaster => Recipient::Postmaster,
            ForwardPath::Address(address) => {
                if let Some(reply) = self.rehearse(address, Stage::Recipient).await {
                    return Answer::Refuse(reply);
                }
                Recipient::Address(address)
            }
            ForwardPath::Literal(_) => return Answer::Refuse(Reply::LITERAL_RECIPIENT),
        };
        let target = match self.resolve(recipient).await {
            Ok(resolution) => self.target(path, resolution).await,
            Err(error) => return self.directory_failed(&error),
        };
        let target = match target {
            Ok(target) => self.admit(target).await,
            refused @ Err(_) => refused,
        };
        match target {
            Ok(target) => {
                let target = self.later(path, target);
                if matches!(target, Target::Remote)
                    && let Some(address) = path.address()
                    && let Err(reply) = self.add_outgoing(address).await
                {
                    return Answer::Refuse(reply);
                }
                let token = u32::try_from(self.targets.len()).unwrap_or(u32::MAX);
                self.targets.push(target);
                Answer::Recipient(token)
            }
            Err(reply) => Answer::Refuse(reply),
        }
    }

    /// What is to be held (RFC 4865) waits in the queue, whoever gets it.
    fn later(&self, path: &ForwardPath, target: Target) -> Target {
        let is_held = self.session.envelope().is_some_and(|envelope| envelope.hold.is_some());
        match target {
            Target::Account { .. } | Target::Alias { .. } if is_held && path.address().is_some() => {
                Target::Remote
            }
            target => target,
        }
    }

    async fn resolve(&self, recipient: Recipient<'_>) -> Result<Resolution, StoreError> {
        let hostnames = Arc::clone(&self.service.hostnames);
        let address = match recipient {
            Recipient::Postmaster => None,
            Recipient::Address(address) => Some(address.clone()),
        };
        let resolve = move |directory: &Directory<'_>| {
            let recipient = address.as_ref().map_or(Recipient::Postmaster, Recipient::Address);
            directory.resolve(recipient, &hostnames)
        };
        self.shard.ask_directory(resolve).await
    }

    /// The id in the address of a recipient whose canonical one is `canonical`, if the account sent a message with it.
    async fn known_id(
        &self,
        account: AccountId,
        given: &Address,
        canonical: &Address,
    ) -> Result<Option<Box<str>>, Reply> {
        // Nothing is cut off of most.
        if given.localpart.as_str().chars().count() == canonical.localpart.as_str().chars().count() {
            return Ok(None);
        }
        let given = given.clone();
        let read = move |reader: &Reader| {
            let settings = Directory::new(reader.snapshot()).domain(&given.domain)?;
            let parts = settings.as_ref().and_then(|settings| settings.id_in(given.localpart.as_str()));
            match parts {
                Some((_, _, Some(id))) if knows_id(reader, account, id)? => Ok(Some(id.into())),
                _ => Ok(None),
            }
        };
        let found = self.shard.shared.reads.run(read).await;
        found.map_err(|error| store_reply(&error, self.id))
    }

    /// What becomes of mail for a recipient (product 1.7, 2.3).
    async fn target(&self, path: &ForwardPath, resolution: Resolution) -> Result<Target, Reply> {
        let submission = self.user.is_some();
        if self.service.mode == Mode::Local
            && let Some(address) = path.address()
            && let Some((Stage::Content, wish)) = rehearsal::wish(address.localpart.as_str())
        {
            return Ok(Target::Rehearsal(wish));
        }
        // A local instance takes mail for everybody: it is all for its one account (product 11.2).
        let resolution = match resolution {
            Resolution::NotLocal | Resolution::Unknown if self.service.mode == Mode::Local && !submission => {
                match self.resolve(Recipient::Postmaster).await {
                    Ok(resolution) => resolution,
                    Err(_) => return Err(Reply::LOCAL_ERROR),
                }
            }
            resolution => resolution,
        };
        match resolution {
            Resolution::Account { account, mailbox, destination, address } => {
                let from_id = match path.address() {
                    Some(given) => self.known_id(account, given, &address).await?,
                    None => None,
                };
                Ok(Target::Account {
                    account,
                    mailbox,
                    delivered_to: path.address().cloned(),
                    settings: Settings::of(&destination),
                    reads: destination.reports,
                    from_id,
                })
            }
            Resolution::Alias { address, settings } => Ok(Target::Alias { address, settings }),
            Resolution::NotLocal if submission => match path.address() {
                Some(_) => Ok(Target::Remote),
                None => Err(Reply::NO_SUCH_USER),
            },
            Resolution::NotLocal => Err(NOT_RELAYING),
            Resolution::DomainDisabled => Err(RECIPIENT_DOMAIN_DISABLED),
            // Who delivers mail learns only after the content which addresses exist, so that guessing
            // costs a message each; our own users are told at once (product 1.7).
            Resolution::Unknown if submission => Err(Reply::NO_SUCH_USER),
            Resolution::Unknown => Ok(Target::Unknown),
            Resolution::Refused(code) => {
                Err(rehearsal::reply_of(code, "not accepted at this address").unwrap_or(Reply::NO_SUCH_USER))
            }
        }
    }

    pub(super) fn begin_content(&mut self) -> Answer {
        if let Some(reply) = self.no_mail_now() {
            return Answer::Refuse(reply);
        }
        let shared = &self.shard.shared;
        let octets_max = self.service.listener.limits.smtp.message_octets;
        self.intake = Some(Intake::new(&shared.store, &shared.committer, octets_max));
        // Rules may look at the header, too.
        let is_read = self.questions.is_some() || self.targets.iter().any(Target::needs_header);
        let leaves =
            self.user.is_some() && self.targets.iter().any(|target| matches!(target, Target::Remote));
        let signatures = match (leaves, is_read) {
            (true, _) => Signatures::Made,
            (false, true) => Signatures::Read,
            (false, false) => Signatures::Ignored,
        };
        self.examination =
            Some(Examination::new(self.service.hostnames.to_vec(), signatures, &self.shard.headers));
        self.intake_failed = None;
        Answer::Proceed
    }

    pub(super) async fn begin_auth(&mut self, mechanism: &str, initial: Option<SaslOctets>) -> Answer {
        let Some(mechanism) = Mechanism::parse(mechanism.as_bytes()) else {
            return Answer::Refuse(Reply::UNKNOWN_MECHANISM);
        };
        let connection = auth::Connection {
            peer: self.peer,
            exporter: self.tls.as_ref().and_then(|tls| tls.exporter),
            certificate: self.tls.as_ref().and_then(|tls| tls.certificate),
            hostname: self.service.settings.hostname.to_string(),
            now: u64::try_from(unix_now()).unwrap_or(0),
        };
        self.conversation = None;
        let authenticator = self.shard.shared.authenticator.clone();
        let begun =
            authenticator.begin(connection, mechanism, initial.as_ref().map(|octets| &*octets.0)).await;
        match begun {
            Ok((conversation, next)) => {
                self.conversation = Some(conversation);
                self.auth_step(mechanism, Ok(next))
            }
            Err(error) => self.auth_step(mechanism, Err(error)),
        }
    }

    pub(super) async fn respond_auth(&mut self, response: SaslOctets) -> Answer {
        let Some(mut conversation) = self.conversation.take() else {
            return Answer::Refuse(Reply::BAD_SEQUENCE);
        };
        let next = conversation.respond(&response.0).await;
        let mechanism = conversation.mechanism();
        self.conversation = Some(conversation);
        self.auth_step(mechanism, next)
    }

    fn auth_step(&mut self, mechanism: Mechanism, next: Result<Next, AuthError>) -> Answer {
        let (answer, outcome) = match next {
            Ok(Next::Challenge(challenge)) => return Answer::AuthChallenge(challenge),
            Ok(Next::Done(user)) => {
                info!(cid = %self.id, peer = %self.peer, account = %user.name, %mechanism, "authenticated");
                let login = user.login.clone().into();
                self.user = Some(user);
                (Answer::AuthSucceeded { login }, metrics::Authentication::Ok)
            }
            Err(error) => {
                info!(cid = %self.id, remote = %self.peer, %mechanism, %error, "{}", error.log_line());
                auth_refusal(&error)
            }
        };
        self.conversation = None;
        let known = &self.shard.shared.metrics;
        let labels =
            [self.service.protocol as usize, metrics::mechanism(mechanism) as usize, outcome as usize];
        self.shard.recorder.increment(known.authentications.at(labels));
        answer
    }
}

/// The answer to a failed authentication (product 2.2). Only what a client did counts against it.
fn auth_refusal(error: &AuthError) -> (Answer, metrics::Authentication) {
    use metrics::Authentication as Outcome;
    match error {
        AuthError::Failed(kind) => match kind {
            FailureKind::BadCredentials | FailureKind::AuthzidDiffers => {
                (Answer::AuthFailed(Reply::BAD_CREDENTIALS), Outcome::BadCredentials)
            }
            FailureKind::ChannelBinding => (Answer::AuthFailed(CHANNEL_BINDING), Outcome::BadChannelBinding),
            FailureKind::Aborted => (Answer::Refuse(Reply::AUTH_ABORTED), Outcome::Aborted),
            FailureKind::BadBase64 => (Answer::Refuse(Reply::BAD_BASE64), Outcome::BadProtocol),
            FailureKind::BadSyntax | FailureKind::TooLong | FailureKind::Unsupported => {
                (Answer::AuthFailed(Reply::SYNTAX), Outcome::BadProtocol)
            }
            FailureKind::OutOfTurn => (Answer::Refuse(Reply::LOCAL_ERROR), Outcome::Error),
        },
        AuthError::Disabled(message) => {
            (Answer::Refuse(LOGIN_DISABLED.with_text(message.clone())), Outcome::LoginDisabled)
        }
        AuthError::Limited => (Answer::AuthFailed(Reply::TOO_MANY_AUTH_FAILURES), Outcome::BadCredentials),
        AuthError::Busy(_) | AuthError::Store(_) => (Answer::Refuse(Reply::AUTH_NOT_NOW), Outcome::Error),
    }
}
