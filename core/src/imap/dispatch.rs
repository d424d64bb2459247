//! Which function runs a command, and in which state it may come (RFC 9051 §3).

use std::future::Future;
use std::pin::Pin;

use postrider_proto::imap::command::{Command, Tag};
use postrider_proto::imap::response::Condition;

use super::answers::UID_REQUIRED;
use super::capability::{self, UIDBATCHES};
use super::commands::{
    batches, copy, expunge, fetch, mailboxes, metadata, quota, search, select, session as basics, status,
    store,
};
use super::connection::{Connection, Flow, Member};
use super::session::{AccountContext, Completion, Context, Enabled, Ended};
use super::sync::{Expunges, OwnFlags};

const NOT_HERE: Completion = Completion::no("not allowed in this state");
/// Of UIDBATCHES, which is refused with BAD (RFC 10022).
const NOT_SELECTED: Completion = Completion::bad("no mailbox is selected");

impl Connection {
    /// Runs a command. What the session learns of changes is told before its answer.
    pub(super) async fn dispatch(&mut self, tag: &Tag, command: Command) -> Result<Flow, Ended> {
        self.check_account()?;
        match command {
            Command::Capability => Ok(Flow::Done(self.capability())),
            Command::Id(id) => Ok(Flow::Done(self.id(&id))),
            Command::Logout => Box::pin(self.logout(tag)).await,
            Command::Noop => self.after(tag, Completion::ok("done")).await,
            Command::StartTls => Box::pin(self.starttls(tag)).await,
            Command::Authenticate(command) => Box::pin(self.authenticate(command)).await,
            Command::Login(command) => Box::pin(self.login(command)).await,
            Command::Unauthenticate => Box::pin(self.unauthenticate(tag)).await,
            command if self.member.is_none() => {
                drop(command);
                Ok(Flow::Done(NOT_HERE))
            }
            command if self.enabled().uid_only && command.needs_message_numbers() => {
                drop(command);
                Ok(Flow::Done(UID_REQUIRED))
            }
            Command::SetQuota(_) => self.after(tag, quota::SET_QUOTA).await,
            Command::Notify(command) => Box::pin(self.notify(tag, command)).await,
            Command::Idle => Box::pin(self.idle(tag)).await.map(Flow::Done),
            // With literals it comes another way.
            Command::Append(command) => Box::pin(self.append_urls(tag, command)).await,
            Command::Compress => Box::pin(self.compress(tag)).await,
            Command::UidBatches(_) if capability::is_disabled(&self.service.listener, UIDBATCHES) => {
                Ok(Flow::Done(Completion::bad("unknown command")))
            }
            Command::UidBatches(command) => match &mut self.context(tag) {
                Some(context) => Box::pin(batches::uid_batches(context, command)).await.map(Flow::Done),
                None => Ok(Flow::Done(NOT_SELECTED)),
            },
            Command::Enable(_)
            | Command::Select(_)
            | Command::Create(_)
            | Command::Delete(_)
            | Command::Rename(_)
            | Command::Subscribe(_)
            | Command::Unsubscribe(_)
            | Command::List(_)
            | Command::Lsub(_)
            | Command::Namespace
            | Command::Status(_)
            | Command::GetQuota(_)
            | Command::GetQuotaRoot(_)
            | Command::GetMetadata(_)
            | Command::SetMetadata(_) => {
                let completion = self.with_account(tag, command).await?;
                self.after(tag, completion).await
            }
            command => self.with_mailbox(tag, command).await,
        }
    }

    /// Tells what changed, and then ends the command.
    async fn after(&mut self, tag: &Tag, completion: Completion) -> Result<Flow, Ended> {
        if let Some(mut context) = self.context(tag) {
            Box::pin(context.sync(Expunges::Now, OwnFlags::Tell)).await?;
        }
        Ok(Flow::Done(completion))
    }

    /// What commands of the selected state work with; none in another.
    pub(super) fn context<'a>(&'a mut self, tag: &'a Tag) -> Option<Context<'a>> {
        let Member { account, watcher, enabled, selected, notify, limit } = self.member.as_deref_mut()?;
        let limit = *limit;
        let (shard, out, id) = (&self.shard, &mut self.out, self.peer.id);
        let (selected, notify) = (selected.as_mut()?, notify.as_deref());
        Some(Context { shard, account, watcher, enabled, selected, notify, out, tag, limit, id })
    }

    /// Commands that need a user.
    async fn with_account(&mut self, tag: &Tag, command: Command) -> Result<Completion, Ended> {
        let Some(member) = self.member.as_deref_mut() else { return Ok(NOT_HERE) };
        let listener = &self.service.listener;
        let append_octets_max = listener.limits.imap.append_octets;
        let (shard, out, id) = (&self.shard, &mut self.out, self.peer.id);
        let mut context = AccountContext { shard, member, out, tag, id, listener, append_octets_max };
        let context = &mut context;
        let running: Pin<Box<dyn Future<Output = Result<Completion, Ended>> + '_>> = match command {
            Command::Enable(command) => Box::pin(basics::enable(context, command)),
            Command::Select(command) => Box::pin(select::select(context, command)),
            Command::Create(command) => Box::pin(mailboxes::create(context, command)),
            Command::Delete(mailbox) => Box::pin(mailboxes::delete(context, mailbox)),
            Command::Rename(command) => Box::pin(mailboxes::rename(context, command)),
            Command::Subscribe(mailbox) => Box::pin(mailboxes::subscribe(context, mailbox)),
            Command::Unsubscribe(mailbox) => Box::pin(mailboxes::unsubscribe(context, mailbox)),
            Command::List(command) => Box::pin(super::commands::list::list(context, command)),
            Command::Lsub(command) => Box::pin(super::commands::list::lsub(context, command)),
            Command::Status(command) => Box::pin(status::status(context, command)),
            Command::GetMetadata(command) => Box::pin(metadata::get(context, command)),
            Command::SetMetadata(command) => Box::pin(metadata::set(context, command)),
            Command::Namespace => return Ok(basics::namespace(context)),
            Command::GetQuota(root) => return Ok(quota::get_quota(context, &root)),
            Command::GetQuotaRoot(mailbox) => return Ok(quota::get_quota_root(context, &mailbox)),
            _ => return Ok(NOT_HERE),
        };
        running.await
    }

    /// Commands that need a selected mailbox.
    async fn with_mailbox(&mut self, tag: &Tag, command: Command) -> Result<Flow, Ended> {
        let Some(mut context) = self.context(tag) else { return Ok(Flow::Done(NOT_HERE)) };
        let context = &mut context;
        let completion = match command {
            Command::Fetch(command) => Box::pin(fetch::fetch(context, command)).await?,
            Command::Search(command) => Box::pin(search::search(context, command)).await?,
            Command::Store(command) => Box::pin(store::store(context, command)).await?,
            Command::Copy(command) => Box::pin(copy::copy(context, command)).await?,
            Command::Move(command) => Box::pin(copy::move_messages(context, command)).await?,
            Command::Expunge(uids) => Box::pin(expunge::expunge(context, uids)).await?,
            Command::Check => return self.after(tag, Completion::ok("done")).await,
            Command::Close => {
                let completion = Box::pin(expunge::close(context)).await?;
                self.deselect();
                completion
            }
            Command::Unselect => {
                self.deselect();
                Completion::ok("unselected")
            }
            _ => NOT_HERE,
        };
        Ok(Flow::Done(completion))
    }

    fn enabled(&self) -> Enabled {
        self.member.as_ref().map(|member| member.enabled).unwrap_or_default()
    }

    fn deselect(&mut self) {
        if let Some(member) = &mut self.member {
            member.deselect();
        }
    }

    /// LOGOUT (RFC 9051 §6.1.3).
    async fn logout(&mut self, tag: &Tag) -> Result<Flow, Ended> {
        self.out.untagged(Condition::Bye, None, "goodbye");
        self.answer(tag, &Completion::ok("logged out"));
        Err(Ended::Gone)
    }
}
