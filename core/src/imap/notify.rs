//! What a client wants to be told at any time (RFC 5465), and the telling.
//!
//! There is no queue: like [`sync`](super::sync), a session reads what came since its last look from the
//! account's log. So NOTIFY costs a session the changes that happen, however many mailboxes it names.
//! What happens in mailboxes of other users comes from [`abroad`].
//! When the log has forgotten what came, the client is told of the overflow, as if it had said NOTIFY NONE.

mod abroad;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::rc::Rc;

use futures_lite::future::or;
use postrider_proto::imap::command::{
    Events, FetchItem, MailboxArgument, MailboxFilter, NotifySet, StatusItem, StatusItems, Tag,
};
use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::imap::metadata::{EntryName, Scope};
use postrider_proto::imap::response::{
    Code, Condition, ListAttributes, ListRow, write_list, write_metadata_changes,
};
use postrider_proto::imap::types::ModSeq;
use postrider_storage::account::{Account, Change};
use postrider_storage::ids::{AccountId, MailboxId};
use postrider_storage::rows::SpecialUse;

use super::commands::list::{attributes, attributes_of};
use super::commands::metadata::SPECIAL_USE;
use super::commands::status::write_row;
use super::connection::{Connection, Member};
use super::reading::Woken;
use super::session::{Enabled, Ended};
use super::sync::{Expunges, OwnFlags};
use crate::accounts::{Published, Since, WatcherId};
use crate::runtime::channel::Closed;
use crate::runtime::yield_if_needed;
pub(in crate::imap) use abroad::{Abroad, Told, watch};

/// Removals that wait for a command that may tell them, of a client that isn't in one; more are an
/// overflow.
const DELAYED_MAX: usize = 10_000;

/// What a client asked for by NOTIFY.
#[derive(Debug)]
pub struct Notify {
    /// Of the selected mailbox.
    pub selected: SelectedEvents,
    groups: Vec<Group>,
    /// Everything up to here was told, or is of no interest, as far as `groups` goes.
    seen: ModSeq,
    /// Of mailboxes of other users.
    pub(in crate::imap) abroad: Option<Abroad>,
}

/// What it wants to be told of the selected mailbox.
#[derive(Debug, Default)]
pub struct SelectedEvents {
    /// Which events; of the others nothing is told, whatever happens.
    pub events: Events,
    /// Whether removals wait for a command.
    pub delayed: bool,
    /// What of new messages is told.
    pub fetch: Vec<FetchItem>,
}

#[derive(Debug)]
struct Group {
    filter: Filter,
    events: Events,
}

/// Which mailboxes; looked at whenever something happens.
#[derive(Debug)]
enum Filter {
    /// All of the user's own. INBOXES are treated as these: which mailboxes get mail is for the directory
    /// to say, and may change at any time (RFC 5465 §6.3).
    Personal,
    Subscribed,
    Subtree(HashSet<MailboxName>),
    Mailboxes(HashSet<MailboxName>),
}

impl Filter {
    fn new(filter: MailboxFilter) -> Self {
        // A name that can't be a mailbox's is one that isn't there: it is ignored (RFC 5465 §3.1).
        let names = |arguments: Vec<MailboxArgument>| {
            arguments.into_iter().filter_map(|argument| argument.name.ok()).collect()
        };
        match filter {
            MailboxFilter::Inboxes | MailboxFilter::Personal => Self::Personal,
            MailboxFilter::Subscribed => Self::Subscribed,
            MailboxFilter::Subtree(mailboxes) => Self::Subtree(names(mailboxes)),
            MailboxFilter::Mailboxes(mailboxes) => Self::Mailboxes(names(mailboxes)),
        }
    }

    fn covers(&self, state: &Account, name: &MailboxName) -> bool {
        match self {
            Self::Personal => true,
            Self::Subscribed => state.is_subscribed(name),
            Self::Mailboxes(names) => names.contains(name),
            Self::Subtree(names) => {
                let above = std::iter::successors(Some(name.clone()), MailboxName::parent);
                above.into_iter().any(|name| names.contains(&name))
            }
        }
    }
}

impl Notify {
    /// Of nothing: NOTIFY NONE, and what follows an overflow.
    pub fn none() -> Self {
        Self { selected: SelectedEvents::default(), groups: Vec::new(), seen: ModSeq::MIN, abroad: None }
    }

    /// Of what is asked for, from the change after `now` on.
    pub fn new(set: NotifySet, now: ModSeq) -> Self {
        let selected = set.selected.map_or_else(SelectedEvents::default, |group| SelectedEvents {
            events: group.events,
            delayed: group.delayed,
            fetch: group.fetch,
        });
        let groups = set.groups.into_iter().filter(|group| !group.events.is_empty());
        let groups = groups.map(|group| Group { filter: Filter::new(group.filter), events: group.events });
        Self { selected, groups: groups.collect(), seen: now, abroad: None }
    }

    /// The events of a mailbox that isn't selected.
    fn events(&self, state: &Account, name: &MailboxName) -> Events {
        events(&self.groups, state, name)
    }

    fn wants_server_metadata(&self) -> bool {
        self.groups.iter().any(|group| group.events.contains(Events::SERVER_METADATA_CHANGE))
    }

    /// Whether anything may be told while no command runs.
    fn is_active(&self) -> bool {
        !self.groups.is_empty() || !self.selected.events.is_empty() || self.abroad.is_some()
    }

    /// Mailboxes of whose messages something is told, with what NOTIFY SET STATUS tells of each
    /// (RFC 5465 §3.1).
    pub fn at_first(&self, state: &Account, selected: Option<MailboxId>) -> Vec<(MailboxId, StatusItems)> {
        let mailboxes = state.mailboxes().filter(|(_, id, _)| Some(*id) != selected);
        let told = mailboxes.map(|(name, id, _)| (id, first_items(self.events(state, name))));
        told.filter(|(_, items)| !items.is_empty()).collect()
    }
}

/// The events of a mailbox.
fn events(groups: &[Group], state: &Account, name: &MailboxName) -> Events {
    let groups = groups.iter().filter(|group| group.filter.covers(state, name));
    groups.fold(Events::NONE, |all, group| all.with(group.events))
}

/// Whether the subscription of a name is to be told. One that just lost it was among those subscribed.
fn wants_subscription(groups: &[Group], state: &Account, name: &MailboxName) -> bool {
    groups.iter().any(|group| {
        let covers = matches!(group.filter, Filter::Subscribed) || group.filter.covers(state, name);
        group.events.contains(Events::SUBSCRIPTION_CHANGE) && covers
    })
}

/// What NOTIFY SET STATUS tells of a mailbox with these events (RFC 5465 §3.1).
fn first_items(events: Events) -> StatusItems {
    let mut items = StatusItems::NONE;
    if events.contains(Events::MESSAGE_NEW) {
        items = items.with(StatusItem::Messages).with(StatusItem::UidNext);
        items = items.with(StatusItem::UidValidity);
    }
    if events.contains(Events::FLAG_CHANGE) {
        items = items.with(StatusItem::UidValidity).with(StatusItem::HighestModSeq);
    }
    items
}

/// What STATUS tells of events in a mailbox that isn't selected (RFC 5465 §5.1 to §5.3).
fn status_items(events: Events, condstore: bool) -> StatusItems {
    let mut items = StatusItems::NONE;
    if !events.and(Events::MESSAGE_NEW.with(Events::MESSAGE_EXPUNGE)).is_empty() {
        items = items.with(StatusItem::Messages).with(StatusItem::UidNext);
    }
    if events.contains(Events::FLAG_CHANGE) {
        items = items.with(StatusItem::UidValidity).with(StatusItem::Unseen);
    }
    if condstore && !items.is_empty() {
        items = items.with(StatusItem::HighestModSeq);
    }
    items
}

/// What happened, as far as NOTIFY goes.
#[derive(Default)]
struct Happened {
    /// Names that came, went, or changed, in the order of their first change, with the name before.
    names: Vec<(MailboxName, Option<MailboxName>)>,
    /// Mailboxes with changes of messages.
    messages: BTreeMap<MailboxId, Events>,
    /// Annotations.
    metadata: BTreeMap<Option<MailboxId>, BTreeSet<EntryName>>,
}

impl Happened {
    fn name(&mut self, name: &MailboxName, old: Option<&MailboxName>) {
        match self.names.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) if known.is_none() => *known = old.cloned(),
            Some(_) => {}
            None => self.names.push((name.clone(), old.cloned())),
        }
    }

    fn message(&mut self, mailbox: MailboxId, event: Events) {
        let events = self.messages.entry(mailbox).or_default();
        *events = events.with(event);
    }

    /// Of what others changed.
    fn of(changes: &[Rc<Published>], me: (AccountId, WatcherId), groups: &[Group], state: &Account) -> Self {
        let mut happened = Self::default();
        let named = |name: &MailboxName| events(groups, state, name).contains(Events::MAILBOX_NAME);
        // A mailbox renamed with the one above it isn't told by itself (RFC 5465 §5.4).
        let mut renamed: Option<(ModSeq, &MailboxName)> = None;
        for published in changes.iter().filter(|published| published.origin != Some(me.1)) {
            match &published.change {
                Change::Added { mailbox, .. } => happened.message(*mailbox, Events::MESSAGE_NEW),
                Change::Removed { mailbox, .. } => happened.message(*mailbox, Events::MESSAGE_EXPUNGE),
                Change::Flags { mailbox, .. } => happened.message(*mailbox, Events::FLAG_CHANGE),
                Change::MailboxKeyword { .. } | Change::Acl { .. } | Change::UrlKey { .. } => {}
                Change::MailboxCreated { mailbox, name, .. } => {
                    // Its name has another UIDVALIDITY now.
                    happened.message(*mailbox, Events::FLAG_CHANGE);
                    let affected = std::iter::once(name.clone()).chain(name.parent());
                    affected.filter(named).for_each(|name| happened.name(&name, None));
                }
                Change::MailboxDeleted { mailbox, name, .. } => {
                    happened.messages.remove(mailbox);
                    let affected = std::iter::once(name.clone()).chain(name.parent());
                    affected.filter(named).for_each(|name| happened.name(&name, None));
                }
                Change::MailboxRenamed { mailbox, from, to, modseq } => {
                    happened.message(*mailbox, Events::FLAG_CHANGE);
                    let with = renamed.is_some_and(|(at, top)| at == *modseq && from.is_below(top));
                    if !with {
                        renamed = Some((*modseq, from));
                        if named(to) || named(from) {
                            happened.name(to, Some(from));
                        }
                    }
                }
                Change::SpecialUse { mailbox, .. } => {
                    let entry = EntryName::of(Scope::Private, SPECIAL_USE);
                    happened.metadata.entry(Some(*mailbox)).or_default().insert(entry);
                }
                Change::Metadata { place, path, .. } => {
                    let scope = match place.user {
                        None => Scope::Shared,
                        Some(user) if user == me.0 => Scope::Private,
                        Some(_) => continue,
                    };
                    let entry = EntryName::of(scope, path);
                    happened.metadata.entry(place.mailbox).or_default().insert(entry);
                }
                Change::Subscribed { name, .. } | Change::Unsubscribed { name, .. } => {
                    if wants_subscription(groups, state, name) {
                        happened.name(name, None);
                    }
                }
            }
        }
        happened
    }
}

impl Connection {
    /// Waits for more input. Meanwhile tells what the client asked for by NOTIFY.
    pub(super) async fn wait(&mut self) -> Result<(), Ended> {
        let active = |member: &Member| member.notify.as_ref().is_some_and(|notify| notify.is_active());
        loop {
            let Some(member) = self.member.as_ref().filter(|member| active(member)) else {
                return self.fill().await;
            };
            let changed = member.account.changed().clone();
            // Before looking: a change meanwhile ends the wait at once.
            let version = changed.version();
            self.check_account()?;
            self.check_rights().await?;
            Box::pin(self.tell_selected()).await?;
            Box::pin(self.tell_others()).await?;
            let change = changed.changed(version);
            let woken = Box::pin(self.fill_or_hear(async {
                change.await;
            }));
            if woken.await? == Woken::Input {
                return Ok(());
            }
        }
    }

    /// Waits for more input, for `other`, or for what happens in mailboxes of other users, which is told. While the
    /// session is away that waits.
    pub(super) async fn fill_or_hear(&mut self, other: impl Future<Output = ()>) -> Result<Woken, Ended> {
        let member = self.member.as_ref().filter(|member| !member.is_away());
        let notify = member.and_then(|member| member.notify.as_ref());
        let Some(news) = notify.and_then(|notify| Some(notify.abroad.as_ref()?.news.clone())) else {
            return self.fill_or(other).await;
        };
        let heard = Cell::new(None);
        let hear = async { heard.set(Some(news.recv().await)) };
        let woken = self.fill_or(or(other, hear)).await;
        match heard.take() {
            None => {}
            Some(Ok(told)) => self.tell_abroad(told).await?,
            Some(Err(Closed)) => {
                if let Some(notify) = self.member.as_mut().and_then(|member| member.notify.as_mut()) {
                    notify.abroad = None;
                }
            }
        }
        woken
    }

    /// Tells of mailboxes of other users.
    pub(super) async fn tell_abroad(&mut self, told: Vec<Told>) -> Result<(), Ended> {
        for told in told {
            let Some(member) = &self.member else { return Ok(()) };
            let (out, Enabled { utf8, condstore, .. }) = (&mut self.out.buffer, member.enabled);
            match told {
                Told::Name { name, old, is_there, has_children } => {
                    let attributes =
                        attributes_abroad(&member.account.state(), &name, is_there, has_children);
                    write_list(out, utf8, &plain_row(attributes, &name, old.as_deref()));
                }
                Told::NoAccess { name, has_children } => {
                    let attributes = attributes_abroad(&member.account.state(), &name, true, has_children);
                    let attributes = attributes.with(ListAttributes::NO_ACCESS);
                    write_list(out, utf8, &plain_row(attributes, &name, None));
                }
                Told::Status { name, place, row, items } => {
                    write_row(out, utf8, &name, place, &row, items, 0)
                }
                Told::Messages { name, place, row, events } => {
                    let items = status_items(events, condstore);
                    write_row(out, utf8, &name, place, &row, items, 0);
                }
                Told::Metadata { name, entries } => write_metadata_changes(out, utf8, &name, &entries),
                Told::Overflow => {
                    self.overflow();
                    return Ok(());
                }
            }
            self.out.flush_if_full().await?;
            yield_if_needed().await;
        }
        Ok(())
    }

    /// Tells changes of the selected mailbox while no command runs.
    async fn tell_selected(&mut self) -> Result<(), Ended> {
        let tag = Tag::untagged();
        let Some(mut context) = self.context(&tag) else { return Ok(()) };
        let Some(notify) = context.notify.filter(|notify| !notify.selected.events.is_empty()) else {
            return Ok(());
        };
        let expunges = if notify.selected.delayed { Expunges::Later } else { Expunges::Now };
        context.sync(expunges, OwnFlags::Pushed).await?;
        if context.selected.deferred.len() > DELAYED_MAX {
            self.overflow();
        }
        Ok(())
    }

    /// Tells changes of everything else.
    pub(super) async fn tell_others(&mut self) -> Result<(), Ended> {
        let Some(happened) = self.happened() else { return Ok(()) };
        let Happened { names, messages, metadata } = happened;
        for (name, old_name) in names {
            let Some(member) = &self.member else { return Ok(()) };
            let attributes = attributes(&member.account.state(), &name);
            let row = plain_row(attributes, name.as_str(), old_name.as_ref().map(MailboxName::as_str));
            write_list(&mut self.out.buffer, member.enabled.utf8, &row);
            self.out.flush_if_full().await?;
        }
        for (mailbox, events) in messages {
            self.tell_messages(mailbox, events);
            self.out.flush_if_full().await?;
            yield_if_needed().await;
        }
        for (mailbox, entries) in metadata {
            self.tell_metadata(mailbox, &entries);
            self.out.flush_if_full().await?;
        }
        Ok(())
    }

    /// What others did since the last look; none when nothing.
    fn happened(&mut self) -> Option<Happened> {
        // The groups are of the user's own mailboxes: what came while the session is away is told when it
        // is back, or that there was too much.
        let member = self.member.as_deref_mut().filter(|member| !member.is_away())?;
        let notify = member.notify.as_deref_mut().filter(|notify| !notify.groups.is_empty())?;
        let since = {
            let log = member.account.log();
            if !log.has_since(notify.seen) {
                return None;
            }
            log.since(notify.seen)
        };
        let Since::Changes(changes) = since else {
            self.overflow();
            return None;
        };
        notify.seen = changes.last().map_or(notify.seen, |last| last.modseq);
        let me = (member.account.id(), member.watcher.id());
        Some(Happened::of(&changes, me, &notify.groups, &member.account.state()))
    }

    /// Gives up: the client is told, and then nothing more (RFC 5465 §5.8).
    fn overflow(&mut self) {
        if let Some(member) = &mut self.member {
            member.notify = Some(Box::new(Notify::none()));
            let code = Code::NotificationOverflow;
            self.out.untagged(Condition::Ok, Some(&code), "too much happened to be told");
        }
    }

    fn tell_messages(&mut self, mailbox: MailboxId, events: Events) {
        let Some(member) = &self.member else { return };
        let selected = member.selected.as_ref().is_some_and(|selected| selected.mailbox == mailbox);
        let (Some(notify), false) = (&member.notify, selected) else { return };
        let state = member.account.state();
        let Some(row) = state.mailbox(mailbox) else { return };
        let items = status_items(notify.events(&state, &row.name).and(events), member.enabled.condstore);
        if !items.is_empty() {
            let place = (member.account.id(), mailbox);
            let (out, utf8) = (&mut self.out.buffer, member.enabled.utf8);
            write_row(out, utf8, row.name.as_str(), place, row, items, 0);
        }
    }

    fn tell_metadata(&mut self, mailbox: Option<MailboxId>, entries: &BTreeSet<EntryName>) {
        let Some(member) = &self.member else { return };
        let Some(notify) = &member.notify else { return };
        let state = member.account.state();
        let name = match mailbox {
            None if notify.wants_server_metadata() => "",
            None => return,
            Some(mailbox) => match state.mailbox(mailbox) {
                Some(row) if notify.events(&state, &row.name).contains(Events::MAILBOX_METADATA_CHANGE) => {
                    row.name.as_str()
                }
                _ => return,
            },
        };
        write_metadata_changes(&mut self.out.buffer, member.enabled.utf8, name, entries);
    }
}

const fn plain_row<'a>(attributes: ListAttributes, name: &'a str, old_name: Option<&'a str>) -> ListRow<'a> {
    ListRow { attributes, name, child_subscribed: false, child_special_use: false, old_name }
}

/// The attributes of a name of another user's mailbox; `own` is the user's account.
fn attributes_abroad(own: &Account, name: &str, is_there: bool, has_children: bool) -> ListAttributes {
    let attributes = attributes_of(is_there, SpecialUse::NONE, has_children);
    let subscribed = MailboxName::new(name).is_ok_and(|name| own.is_subscribed(&name));
    if subscribed { attributes.with(ListAttributes::SUBSCRIBED) } else { attributes }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(events: Events, condstore: bool) -> Vec<&'static str> {
        status_items(events, condstore).iter().map(StatusItem::name).collect()
    }

    #[test]
    fn status_tells_what_each_event_needs() {
        let new = Events::MESSAGE_NEW;
        assert_eq!(names(new, false), ["MESSAGES", "UIDNEXT"]);
        assert_eq!(names(Events::MESSAGE_EXPUNGE, true), ["MESSAGES", "UIDNEXT", "HIGHESTMODSEQ"]);
        assert_eq!(names(Events::FLAG_CHANGE, false), ["UIDVALIDITY", "UNSEEN"]);
        assert_eq!(names(Events::FLAG_CHANGE, true), ["UIDVALIDITY", "UNSEEN", "HIGHESTMODSEQ"]);
        assert_eq!(
            names(new.with(Events::FLAG_CHANGE), false),
            ["MESSAGES", "UIDNEXT", "UIDVALIDITY", "UNSEEN"]
        );
        assert!(names(Events::MAILBOX_NAME, true).is_empty());
    }
}
