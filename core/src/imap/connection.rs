//! A session: what it is made of, and its loop.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use postrider_proto::imap::command::{
    self, BadCommand, Command, Context as Grammar, Fault, Select, Tag, Tagged, Utf8,
};
use postrider_proto::imap::framing::{Frame, Framer, Outcome, Refused};
use postrider_proto::imap::response::{
    Code, Condition, Status, write_bad_command, write_continuation, write_refused,
};

use postrider_proto::imap::rights::Rights;
use postrider_storage::ids::AccountId;

use super::Service;
use super::capability::{self, Certificate, Channel};
use super::commands::append::{Announced, Literal};
use super::notify::Notify;
use super::output::Output;
use super::places::{self, Asker};
use super::selected::Selected;
use super::session::{Completion, Enabled, Ended, MessageLimit};
use super::sync::{ACCOUNT_BROKEN, tell_flags_anew};
use super::views;
use crate::accounts::{AccountHandle, Watcher};
use crate::admission::Admitted;
use crate::arrival::Open;
use crate::auth::User;
use crate::clock::unix_now;
use crate::log::ConnectionId;
use crate::metrics;
use crate::runtime::yield_if_needed;
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
    pub(super) asker: Asker,
    /// The user's account. While another user's mailbox is selected the session is away, and this is that
    /// user's; commands that need no selected mailbox then run at the home of their own user.
    pub(super) account: Rc<AccountHandle>,
    pub(super) watcher: Rc<Watcher>,
    pub(super) enabled: Enabled,
    pub(super) selected: Option<Selected>,
    /// What the client asked for by NOTIFY; none before it used that.
    pub(super) notify: Option<Box<Notify>>,
    pub(super) limit: MessageLimit,
}

impl Member {
    pub(super) fn new(
        asker: Asker,
        account: Rc<AccountHandle>,
        enabled: Enabled,
        limit: MessageLimit,
    ) -> Self {
        let watcher = account.watch();
        Self { asker, account, watcher, enabled, selected: None, notify: None, limit }
    }

    /// Whether the session is at another user's account.
    pub(super) fn is_away(&self) -> bool {
        self.account.id() != self.asker.user
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

/// A user on the way to an account: to that of another user in order to select a mailbox there, or back.
pub(super) struct Visit {
    pub(super) asker: Asker,
    pub(super) enabled: Enabled,
    /// What it wants to be told of; waits while the session is away, but for the selected mailbox.
    pub(super) notify: Option<Box<Notify>>,
    /// Where to.
    pub(super) account: AccountId,
    /// What is to be done and answered there.
    pub(super) select: Option<(Tag, Select)>,
    /// Bad commands.
    pub(super) strikes: u32,
}

/// Why a session leaves its shard, or at least its account.
pub(super) enum Departure {
    /// Somebody logged in.
    Login(LoggedIn),
    /// A user goes to another account.
    Visit(Box<Visit>),
}

impl Departure {
    /// The account that it goes to.
    pub(super) fn account(&self) -> AccountId {
        match self {
            Self::Login(login) => login.user.account,
            Self::Visit(visit) => visit.account,
        }
    }
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
    /// It is done and answered at another account.
    Visit(Box<Visit>),
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

    /// The one loop: a frame, its command, the answer, until the session has to go elsewhere or ends.
    pub(super) async fn converse(&mut self) -> Result<Departure, Ended> {
        loop {
            if let Some(visit) = self.way_home() {
                return Ok(Departure::Visit(visit));
            }
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
                    if let Some(departure) = Box::pin(self.execute(tagged)).await? {
                        return Ok(departure);
                    }
                    self.command_ended()?;
                }
            }
            self.out.flush_if_full().await?;
            // One read may hold thousands of commands.
            yield_if_needed().await;
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
    async fn execute(&mut self, tagged: Tagged) -> Result<Option<Departure>, Ended> {
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
                Ok(Some(Departure::Login(LoggedIn::new(*user, Some(tag)))))
            }
            Flow::Visit(visit) => Ok(Some(Departure::Visit(visit))),
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
    pub(super) fn command_ended(&mut self) -> Result<(), Ended> {
        self.commands = self.commands.saturating_add(1);
        self.rest();
        if self.shard.shared.shutdown.is_stopping() {
            return Err(Ended::Bye(None, "the server stops"));
        }
        self.check_account()
    }

    /// A session that has no mailbox of another user selected any more goes back to its own account.
    fn way_home(&mut self) -> Option<Box<Visit>> {
        let member = self.member.as_deref().filter(|member| member.is_away() && member.selected.is_none())?;
        self.visit(member.asker.user, None)
    }

    /// The way of a user to an account.
    pub(super) fn visit(&mut self, account: AccountId, select: Option<(Tag, Select)>) -> Option<Box<Visit>> {
        let member = self.member.as_deref_mut()?;
        let (asker, enabled, notify) = (member.asker, member.enabled, member.notify.take());
        Some(Box::new(Visit { asker, enabled, notify, account, select, strikes: self.strikes }))
    }

    /// Looks up what the user may do with the selected mailbox. What changed is told; who may no longer
    /// read it loses the connection, for clients don't bear a NO for everything (RFC 4314 §5.1.1).
    pub(super) async fn check_rights(&mut self) -> Result<(), Ended> {
        let Some(Member { asker, account, selected: Some(selected), .. }) = self.member.as_deref_mut() else {
            return Ok(());
        };
        if account.id() != asker.user && !places::exists(&self.shard, *asker).await {
            return Err(ACCOUNT_BROKEN);
        }
        let rights = {
            let state = account.state();
            if state.mailbox(selected.mailbox).is_none() {
                // The session hears of that in its turn.
                return Ok(());
            }
            state.rights(selected.mailbox, asker.user, asker.anyone)
        };
        if rights == selected.rights {
            return Ok(());
        }
        selected.rights = rights;
        if !rights.contains(Rights::READ) {
            return Err(Ended::Bye(Some(Code::NoPerm), "you may no longer read the selected mailbox"));
        }
        tell_flags_anew(account, selected, &mut self.out);
        Ok(())
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
        Command::SetAcl(_) => Label::SetAcl,
        Command::DeleteAcl(_) => Label::DeleteAcl,
        Command::GetAcl(_) => Label::GetAcl,
        Command::ListRights(_) => Label::ListRights,
        Command::MyRights(_) => Label::MyRights,
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
        Command::Search(_) | Command::Esearch(_) => Label::Search,
        Command::Sort(_) => Label::Sort,
        Command::Thread(_) => Label::Thread,
        Command::CancelUpdate(_) => Label::CancelUpdate,
        Command::Fetch(_) => Label::Fetch,
        Command::Store(_) => Label::Store,
        Command::Copy(_) => Label::Copy,
        Command::Move(_) => Label::Move,
        Command::Compress | Command::Unauthenticate | Command::UidBatches(_) => Label::Other,
    }
}
