//! A session: what it is made of, and its loop.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use postrider_proto::imap::command::{
    self, BadCommand, Command, Context as Grammar, Fault, Tag, Tagged, Utf8,
};
use postrider_proto::imap::framing::{Frame, Framer, Outcome, Refused};
use postrider_proto::imap::response::{
    Code, Condition, Status, write_bad_command, write_continuation, write_refused,
};

use super::Service;
use super::capability::{self, Certificate, Channel};
use super::commands::append::{Announced, Literal};
use super::notify::Notify;
use super::output::Output;
use super::selected::Selected;
use super::session::{Completion, Enabled, Ended, MessageLimit};
use super::sync::ACCOUNT_BROKEN;
use super::views;
use crate::accounts::{AccountHandle, Watcher};
use crate::admission::Admitted;
use crate::arrival::Open;
use crate::auth::User;
use crate::clock::unix_now;
use crate::log::ConnectionId;
use crate::metrics;
use crate::shard::Shard;

/// What clients are greeted with.
pub(super) const GREETING: &str = "Postrider at your service";

/// Who is at the other end.
pub(super) struct Peer {
    pub(super) id: ConnectionId,
    pub(super) address: IpAddr,
    /// Counts it as open.
    #[expect(dead_code, reason = "counts the connection as open until it is dropped")]
    pub(super) admitted: Admitted,
}

/// A connection with all that belongs to it.
pub(super) struct Connection {
    pub(super) shard: Rc<Shard>,
    pub(super) service: Arc<Service>,
    pub(super) peer: Peer,
    pub(super) framer: Framer,
    pub(super) out: Output,
    /// Until when the client has to send its next command.
    pub(super) deadline: Instant,
    /// The user's part; none before login.
    pub(super) member: Option<Box<Member>>,
    /// Commands so far, up to the second.
    pub(super) commands: u8,
    /// Bad commands.
    pub(super) strikes: u32,
    /// Failed logins.
    pub(super) login_failures: u32,
    pub(super) _open: Open,
}

/// What a session has after login.
pub(super) struct Member {
    pub(super) account: Rc<AccountHandle>,
    pub(super) watcher: Rc<Watcher>,
    pub(super) enabled: Enabled,
    pub(super) selected: Option<Selected>,
    /// What the client asked for by NOTIFY; none before it used that.
    pub(super) notify: Option<Box<Notify>>,
    pub(super) limit: MessageLimit,
}

impl Member {
    pub(super) fn new(account: Rc<AccountHandle>, watcher: Rc<Watcher>, limit: MessageLimit) -> Self {
        Self { account, watcher, enabled: Enabled::default(), selected: None, notify: None, limit }
    }

    /// Leaves the selected mailbox.
    pub(super) fn deselect(&mut self) -> bool {
        let Some(selected) = self.selected.take() else { return false };
        views::remember(&self.account, &selected);
        self.account.hold(&self.watcher, None);
        true
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.deselect();
        self.account.unwatch(&self.watcher);
    }
}

/// A user who logged in, and the command that is to be answered for it.
pub(super) struct LoggedIn {
    pub(super) user: User,
    /// None for a client that its certificate let in.
    pub(super) tag: Option<Tag>,
}

/// What the next frame asks for.
enum Step {
    Command(Result<Tagged, BadCommand>),
    Message(Announced),
    Continue,
    Refused(Refused),
    Starved,
}

/// How a command was dealt with.
pub(super) enum Flow {
    /// It ended.
    Done(Completion),
    /// It was answered already.
    Answered,
    /// Somebody logged in: answered on the home shard.
    LoggedIn(Box<User>),
}

impl Connection {
    /// Greets the client.
    pub(super) fn greet(&mut self) {
        let names = self.capabilities();
        self.out.untagged(Condition::Ok, Some(&Code::Capability(&names)), GREETING);
    }

    /// What the server can do for this client now.
    pub(super) fn capabilities(&mut self) -> String {
        if self.member.is_some() {
            return capability::after_login(&self.service.listener);
        }
        let (channel, certificate) = (self.channel(), self.certificate());
        capability::before_login(&self.service.listener, channel, certificate)
    }

    /// How the connection is protected.
    pub(super) fn channel(&mut self) -> Channel {
        let Ok(transport) = self.out.transport() else { return Channel::Clear };
        match (transport.tls_info(), transport.channel_binding()) {
            (None, _) => Channel::Clear,
            (Some(_), None) => Channel::Tls,
            (Some(_), Some(_)) => Channel::Bound,
        }
    }

    /// Whether the client's certificate belongs to somebody, as of now.
    pub(super) fn certificate(&mut self) -> Certificate {
        let presented = self.out.transport().ok().and_then(|transport| transport.client_certificate());
        let now = u64::try_from(unix_now()).unwrap_or(0);
        let authenticator = &self.shard.shared.authenticator;
        match presented.map(|certificate| authenticator.owner(&certificate, now)) {
            Some(Ok(Some(_))) => Certificate::Known,
            _ => Certificate::Unknown,
        }
    }

    pub(super) fn count_limit(&self, limit: metrics::Limit) {
        self.shard.recorder.increment(self.shard.shared.metrics.limit(limit));
    }

    /// Gives the client its time for the next command.
    pub(super) fn rest(&mut self) {
        let limits = self.service.limits();
        let time =
            if self.member.is_some() { limits.authenticated_idle } else { limits.unauthenticated_idle };
        self.deadline = Instant::now() + time;
    }

    fn utf8(&self) -> Utf8 {
        self.member.as_ref().map_or(Utf8::Off, |member| member.enabled.utf8)
    }

    /// The one loop: a frame, its command, the answer, until somebody logs in or it ends.
    pub(super) async fn converse(&mut self) -> Result<LoggedIn, Ended> {
        loop {
            match self.next_step() {
                Step::Starved => self.wait().await?,
                Step::Continue => write_continuation(&mut self.out.buffer, "go on"),
                Step::Refused(refused) => self.refused(&refused)?,
                Step::Message(announced) => {
                    Box::pin(self.append(announced)).await?;
                    self.command_ended()?;
                }
                Step::Command(Err(bad)) => self.bad_command(&bad)?,
                Step::Command(Ok(tagged)) => {
                    if let Some(login) = Box::pin(self.execute(tagged)).await? {
                        return Ok(login);
                    }
                    self.command_ended()?;
                }
            }
            self.out.flush_if_full().await?;
        }
    }

    fn next_step(&mut self) -> Step {
        let limits = if self.member.is_some() {
            Arc::clone(&self.service.authenticated)
        } else {
            Arc::clone(&self.service.unauthenticated)
        };
        let grammar = Grammar { utf8: self.utf8(), limits: &limits };
        match self.framer.next_frame() {
            None => Step::Starved,
            Some(Frame::Command(input)) => Step::Command(command::parse(input, grammar)),
            Some(Frame::Message(literal)) => Step::Message(Announced {
                command: command::parse(literal.head, grammar),
                literal: Literal { octets: literal.octets, synchronising: literal.synchronising },
                order: literal.order,
            }),
            Some(Frame::NeedContinuation) => Step::Continue,
            Some(Frame::Refused(refused)) => Step::Refused(refused),
            // Frames of exchanges that are over: nobody waits for them.
            Some(Frame::Line(_) | Frame::MessageData(_) | Frame::MessageEnd(_)) => Step::Starved,
        }
    }

    /// Runs a command and answers it.
    async fn execute(&mut self, tagged: Tagged) -> Result<Option<LoggedIn>, Ended> {
        let Tagged { tag, command } = tagged;
        let label = label(&command);
        let began = Instant::now();
        let flow = self.dispatch(&tag, command).await?;
        let known = &self.shard.shared.metrics;
        self.shard.recorder.observe_duration(known.imap_command.at([label as usize]), began.elapsed());
        match flow {
            Flow::Done(completion) => {
                self.count_completion(label, completion.status);
                self.answer(&tag, &completion);
                if completion.status == Status::Bad {
                    self.strike()?;
                }
                Ok(None)
            }
            Flow::Answered => Ok(None),
            Flow::LoggedIn(user) => {
                self.count_completion(label, Status::Ok);
                Ok(Some(LoggedIn::new(*user, Some(tag))))
            }
        }
    }

    pub(super) fn count_completion(&self, label: metrics::ImapCommand, status: Status) {
        let outcome = match status {
            Status::Ok => metrics::Completion::Ok,
            Status::No => metrics::Completion::No,
            Status::Bad => metrics::Completion::Bad,
        };
        let known = &self.shard.shared.metrics;
        self.shard.recorder.increment(known.imap_completions.at([label as usize, outcome as usize]));
    }

    /// The one place that writes tagged responses of commands that were understood.
    pub(super) fn answer(&mut self, tag: &Tag, completion: &Completion) {
        completion.write(&mut self.out.buffer, tag);
        if completion.status == Status::Ok && self.member.is_some() {
            self.strikes = 0;
        }
    }

    /// What holds after every command: the client has its time again, unless the session has to end.
    fn command_ended(&mut self) -> Result<(), Ended> {
        self.commands = self.commands.saturating_add(1);
        self.rest();
        if self.shard.shared.shutdown.is_stopping() {
            return Err(Ended::Bye(None, "the server stops"));
        }
        self.check_account()
    }

    /// Ends the session of a broken account.
    pub(super) fn check_account(&self) -> Result<(), Ended> {
        match &self.member {
            Some(member) if member.account.is_broken() => Err(ACCOUNT_BROKEN),
            _ => Ok(()),
        }
    }

    fn refused(&mut self, refused: &Refused) -> Result<(), Ended> {
        if self.commands == 0 && refused.outcome == Outcome::Continues {
            return Err(Ended::Bye(None, "please speak IMAP"));
        }
        write_refused(&mut self.out.buffer, refused);
        self.count_limit(metrics::Limit::ImapCommandOctets);
        if refused.outcome == Outcome::Closes {
            return Err(Ended::Gone);
        }
        self.strike()?;
        self.command_ended()
    }

    /// Answers and counts a command that wasn't understood. One at the very beginning isn't IMAP.
    fn bad_command(&mut self, bad: &BadCommand) -> Result<(), Ended> {
        let bounded =
            matches!(bad.fault, Fault::Limit(_) | Fault::Charset | Fault::SpecialUse | Fault::Event);
        if self.commands == 0 && !bounded {
            return Err(Ended::Bye(None, "please speak IMAP"));
        }
        write_bad_command(&mut self.out.buffer, bad);
        let status = if bounded { Status::No } else { Status::Bad };
        self.count_completion(metrics::ImapCommand::Unknown, status);
        if !bounded {
            self.strike()?;
        }
        self.command_ended()
    }

    pub(super) fn strike(&mut self) -> Result<(), Ended> {
        self.strikes += 1;
        if self.strikes < self.service.limits().bad_commands {
            return Ok(());
        }
        self.count_limit(metrics::Limit::ImapBadCommands);
        Err(Ended::Bye(None, "too many bad commands"))
    }
}

/// The name under which a command is counted.
fn label(command: &Command) -> metrics::ImapCommand {
    use metrics::ImapCommand as Label;
    use postrider_proto::imap::command::Access;
    match command {
        Command::Capability => Label::Capability,
        Command::Noop => Label::Noop,
        Command::Logout => Label::Logout,
        Command::Id(_) => Label::Id,
        Command::StartTls => Label::StartTls,
        Command::Authenticate(_) => Label::Authenticate,
        Command::Login(_) => Label::Login,
        Command::Enable(_) => Label::Enable,
        Command::Select(select) if select.access == Access::ReadWrite => Label::Select,
        Command::Select(_) => Label::Examine,
        Command::Create(_) => Label::Create,
        Command::Delete(_) => Label::Delete,
        Command::Rename(_) => Label::Rename,
        Command::Subscribe(_) => Label::Subscribe,
        Command::Unsubscribe(_) => Label::Unsubscribe,
        Command::List(_) => Label::List,
        Command::Lsub(_) => Label::Lsub,
        Command::Namespace => Label::Namespace,
        Command::Status(_) => Label::Status,
        Command::Append(append) if append.replaces.is_some() => Label::Replace,
        Command::GetQuota(_) => Label::GetQuota,
        Command::GetQuotaRoot(_) => Label::GetQuotaRoot,
        Command::SetQuota(_) => Label::SetQuota,
        Command::GetMetadata(_) => Label::GetMetadata,
        Command::SetMetadata(_) => Label::SetMetadata,
        Command::Notify(_) => Label::Notify,
        Command::Append(_) => Label::Append,
        Command::GenUrlAuth(_) => Label::GenUrlAuth,
        Command::ResetKey(_) => Label::ResetKey,
        Command::UrlFetch(_) => Label::UrlFetch,
        Command::Idle => Label::Idle,
        Command::Check => Label::Check,
        Command::Close => Label::Close,
        Command::Unselect => Label::Unselect,
        Command::Expunge(_) => Label::Expunge,
        Command::Search(_) => Label::Search,
        Command::Fetch(_) => Label::Fetch,
        Command::Store(_) => Label::Store,
        Command::Copy(_) => Label::Copy,
        Command::Move(_) => Label::Move,
        Command::Compress | Command::Unauthenticate | Command::UidBatches(_) => Label::Other,
    }
}
