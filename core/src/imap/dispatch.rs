//! Which function runs a command, and in which state it may come (RFC 9051 §3).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use postrider_proto::imap::command::{Command, Esearch, Select, Tag, UrlFetch};
use postrider_proto::imap::response::{Code, Condition};

use super::answers::UID_REQUIRED;
use super::capability::{self, UIDBATCHES};
use super::commands::{
    acl, batches, copy, esearch, expunge, fetch, list, mailboxes, metadata, quota, search, select,
    session as basics, sort, status, store, thread, urlauth,
};
use super::connection::{Connection, Flow, Member};
use super::contexts;
use super::output::Output;
use super::places::{self, Deed};
use super::session::{AccountContext, Completion, Context, Enabled, Ended, MessageLimit};
use super::sync::{Expunges, OwnFlags};

const NOT_HERE: Completion = Completion::no("not allowed in this state");
/// Of UIDBATCHES and ESEARCH, which are refused with BAD (RFC 10022, RFC 7377 §2.2).
const NOT_SELECTED: Completion = Completion::bad("no mailbox is selected");

impl Connection {
    /// Runs a command. What the session learns of changes is told before its answer.
    pub(super) async fn dispatch(&mut self, tag: &Tag, command: Command) -> Result<Flow, Ended> {
        self.check_account()?;
        self.check_rights().await?;
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
            Command::Esearch(command) if esearch::is_of_selected(&command) => match &mut self.context(tag) {
                Some(context) => Box::pin(search::esearch(context, command.search)).await.map(Flow::Done),
                None => Ok(Flow::Done(NOT_SELECTED)),
            },
            Command::Esearch(command) => Box::pin(self.esearch(tag, command)).await,
            Command::Select(command) => Box::pin(self.select(tag, command)).await,
            Command::UrlFetch(command) => Box::pin(self.url_fetch(tag, command)).await,
            Command::Enable(_)
            | Command::Create(_)
            | Command::Delete(_)
            | Command::Rename(_)
            | Command::Subscribe(_)
            | Command::Unsubscribe(_)
            | Command::List(_)
            | Command::Lsub(_)
            | Command::Namespace
            | Command::Status(_)
            | Command::GenUrlAuth(_)
            | Command::ResetKey(_)
            | Command::SetAcl(_)
            | Command::DeleteAcl(_)
            | Command::GetAcl(_)
            | Command::ListRights(_)
            | Command::MyRights(_)
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
        let Member { asker, account, watcher, enabled, selected, notify, limit } =
            self.member.as_deref_mut()?;
        let limit = *limit;
        let (shard, out, id, asker) = (&self.shard, &mut self.out, self.peer.id, *asker);
        let (selected, notify) = (selected.as_mut()?, notify.as_deref());
        Some(Context { shard, account, watcher, enabled, selected, notify, out, tag, asker, limit, id })
    }

    /// SELECT and EXAMINE (RFC 9051 §6.3.2). A mailbox that was selected before is left in any case. For one
    /// of another account the session goes there first.
    pub(super) async fn select(&mut self, tag: &Tag, command: Select) -> Result<Flow, Ended> {
        let Some(member) = self.member.as_deref_mut() else { return Ok(Flow::Done(NOT_HERE)) };
        if command.qresync.is_some() && !member.enabled.qresync {
            return Ok(Flow::Done(Completion::bad("QRESYNC has to be enabled first")));
        }
        if member.deselect() {
            self.out.untagged(Condition::Ok, Some(&Code::Closed), "the mailbox selected before is closed");
        }
        if command.condstore {
            member.enabled.condstore = true;
        }
        let asker = member.asker;
        let place = match places::find(&self.shard, asker, &command.mailbox).await {
            Ok(place) => place,
            Err(refused) => return Ok(Flow::Done(refused)),
        };
        if place.account == member.account.id() {
            let (shard, out, id) = (&self.shard, &mut self.out, self.peer.id);
            let listener = &self.service.listener;
            let append_octets_max = listener.limits.imap.append_octets;
            let mut context = AccountContext { shard, member, out, tag, id, listener, append_octets_max };
            let completion = Box::pin(select::select(&mut context, command, place)).await?;
            return self.after(tag, completion).await;
        }
        // Asked first, so that nobody moves in vain.
        if let Err(refused) = places::visit(&self.shard, asker, &place, Deed::Read).await {
            return Ok(Flow::Done(refused));
        }
        let visit = self.visit(place.account, Some((tag.clone(), command)));
        Ok(visit.map_or(Flow::Done(NOT_HERE), Flow::Visit))
    }

    /// ESEARCH in several mailboxes (RFC 7377), wherever the session is.
    async fn esearch(&mut self, tag: &Tag, command: Esearch) -> Result<Flow, Ended> {
        let Some(member) = self.member.as_deref_mut() else { return Ok(Flow::Done(NOT_HERE)) };
        let (shard, out, id) = (&self.shard, &mut self.out, self.peer.id);
        let listener = &self.service.listener;
        let append_octets_max = listener.limits.imap.append_octets;
        let mut context = AccountContext { shard, member, out, tag, id, listener, append_octets_max };
        let completion = Box::pin(esearch::esearch(&mut context, command)).await?;
        self.after(tag, completion).await
    }

    /// Commands that need a user.
    async fn with_account(&mut self, tag: &Tag, command: Command) -> Result<Completion, Ended> {
        let Some(member) = self.member.as_deref_mut() else { return Ok(NOT_HERE) };
        let deletes = matches!(command, Command::Delete(_));
        let completion = if member.is_away() {
            Box::pin(self.at_home(tag, command)).await?
        } else {
            let (shard, out, id) = (&self.shard, &mut self.out, self.peer.id);
            let listener = &self.service.listener;
            let append_octets_max = listener.limits.imap.append_octets;
            let mut context = AccountContext { shard, member, out, tag, id, listener, append_octets_max };
            for_account(&mut context, command).await?
        };
        if deletes {
            self.leave_deleted();
        }
        Ok(completion)
    }

    /// Runs a command that needs a user at the user's home, while the session is at another account. So such
    /// commands always work with their own user's account.
    async fn at_home(&mut self, tag: &Tag, command: Command) -> Result<Completion, Ended> {
        let Some(Member { asker, enabled, .. }) = self.member.as_deref() else { return Ok(NOT_HERE) };
        let (asker, enabled, id, told_tag) = (*asker, *enabled, self.peer.id, tag.clone());
        let service = Arc::clone(&self.service);
        let ran = places::at(&self.shard, id, asker.user, move |shard, account| {
            Box::pin(async move {
                let mut member = Member::new(asker, account, enabled, MessageLimit::of(&service.listener));
                let mut out = Output::detached();
                let ended = {
                    let (shard, member, out, tag) = (&shard, &mut member, &mut out, &told_tag);
                    let listener = &service.listener;
                    let append_octets_max = listener.limits.imap.append_octets;
                    let mut context =
                        AccountContext { shard, member, out, tag, id, listener, append_octets_max };
                    for_account(&mut context, command).await
                };
                Ok((ended, out.buffer, member.enabled))
            })
        });
        let (ended, written, enabled) = match ran.await {
            Ok(ran) => ran,
            Err(refused) => return Ok(refused),
        };
        self.out.buffer.extend_from_slice(&written);
        if let Some(member) = self.member.as_deref_mut() {
            let condstore = member.enabled.condstore;
            member.enabled = Enabled { condstore, ..enabled };
        }
        if enabled.condstore
            && let Some(mut context) = self.context(tag)
        {
            context.enable_condstore();
        }
        self.out.flush_if_full().await?;
        ended
    }

    /// URLFETCH. It needs nothing of its user's account, and streams: so it runs wherever the session is.
    async fn url_fetch(&mut self, tag: &Tag, command: UrlFetch) -> Result<Flow, Ended> {
        let Some(member) = self.member.as_deref_mut() else { return Ok(Flow::Done(NOT_HERE)) };
        let (shard, out, id) = (&self.shard, &mut self.out, self.peer.id);
        let listener = &self.service.listener;
        let append_octets_max = listener.limits.imap.append_octets;
        let mut context = AccountContext { shard, member, out, tag, id, listener, append_octets_max };
        let completion = urlauth::fetch(&mut context, command).await?;
        self.after(tag, completion).await
    }

    /// Leaves the selected mailbox when this client has just deleted it.
    fn leave_deleted(&mut self) {
        let Some(member) = self.member.as_deref_mut() else { return };
        let selected = member.selected.as_ref().map(|selected| selected.mailbox);
        if selected.is_some_and(|mailbox| member.account.state().mailbox(mailbox).is_none()) {
            member.deselect();
            self.out.untagged(Condition::Ok, Some(&Code::Closed), "the selected mailbox was deleted");
        }
    }

    /// Commands that need a selected mailbox.
    async fn with_mailbox(&mut self, tag: &Tag, command: Command) -> Result<Flow, Ended> {
        let Some(mut context) = self.context(tag) else { return Ok(Flow::Done(NOT_HERE)) };
        let context = &mut context;
        let completion = match command {
            Command::Fetch(command) => Box::pin(fetch::fetch(context, command)).await?,
            Command::Search(command) => Box::pin(search::search(context, command)).await?,
            Command::Sort(command) => Box::pin(sort::sort(context, command)).await?,
            Command::Thread(command) => Box::pin(thread::thread(context, command)).await?,
            Command::CancelUpdate(command) => {
                let completion = contexts::cancel(context, &command.tags);
                return self.after(tag, completion).await;
            }
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

/// Runs a command that needs a user. The context's account is that of the user.
async fn for_account(context: &mut AccountContext<'_>, command: Command) -> Result<Completion, Ended> {
    let running: Pin<Box<dyn Future<Output = Result<Completion, Ended>> + '_>> = match command {
        Command::Enable(command) => Box::pin(basics::enable(context, command)),
        Command::Create(command) => Box::pin(mailboxes::create(context, command)),
        Command::Delete(mailbox) => Box::pin(mailboxes::delete(context, mailbox)),
        Command::Rename(command) => Box::pin(mailboxes::rename(context, command)),
        Command::Subscribe(mailbox) => Box::pin(mailboxes::subscribe(context, mailbox)),
        Command::Unsubscribe(mailbox) => Box::pin(mailboxes::unsubscribe(context, mailbox)),
        Command::List(command) => Box::pin(list::list(context, command)),
        Command::Lsub(command) => Box::pin(list::lsub(context, command)),
        Command::Status(command) => Box::pin(status::status(context, command)),
        Command::SetAcl(command) => Box::pin(acl::set_acl(context, command)),
        Command::DeleteAcl(command) => Box::pin(acl::delete_acl(context, command)),
        Command::GetAcl(mailbox) => Box::pin(acl::get_acl(context, mailbox)),
        Command::ListRights(command) => Box::pin(acl::list_rights(context, command)),
        Command::MyRights(mailbox) => Box::pin(acl::my_rights(context, mailbox)),
        Command::GetMetadata(command) => Box::pin(metadata::get(context, command)),
        Command::SetMetadata(command) => Box::pin(metadata::set(context, command)),
        Command::GenUrlAuth(command) => Box::pin(urlauth::generate(context, command)),
        Command::ResetKey(command) => Box::pin(urlauth::reset(context, command)),
        Command::GetQuota(root) => return quota::get_quota(context, &root).await,
        Command::GetQuotaRoot(mailbox) => Box::pin(quota::get_quota_root(context, mailbox)),
        Command::Namespace => return Ok(basics::namespace(context).await),
        _ => return Ok(NOT_HERE),
    };
    running.await
}
