//! What a client wants to be told of mailboxes of other users (RFC 5465, RFC 4314).
//!
//! For each account with such mailboxes a task at that account's home reads what came from the account's log, decides
//! by the rights of that moment what of it may be told, and hands it to the session over a bounded channel. While
//! the session takes nothing the task waits, and what the log has forgotten by then is an overflow. The task ends when
//! the session lets go of it.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use futures_lite::future::or;
use postrider_proto::imap::command::{EventGroup, Events, MailboxArgument, MailboxFilter, StatusItems};
use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::imap::metadata::EntryName;
use postrider_proto::imap::response::Code;
use postrider_proto::imap::types::ModSeq;
use postrider_storage::account::{Account, Change};
use postrider_storage::ids::{AccountId, MailboxId};
use postrider_storage::rows::MailboxRow;

use super::{Filter, Group, Happened, SPECIAL_USE, first_items};
use crate::accounts::{AccountHandle, Published, Since, Watcher};
use crate::imap::places::{self, Asker, Deed, permit};
use crate::imap::session::Completion;
use crate::runtime::{channel, oneshot, spawn};
use crate::shard::Shard;

/// Accounts whose mailboxes one session is told of.
const ACCOUNTS_MAX: usize = 32;
/// Batches that wait for the session.
const WAITING_MAX: usize = 4;

const TOO_MANY: Completion =
    Completion::refused(Code::Limit, "too many users, name some mailboxes of theirs");

/// Something to tell, with the name by which this user knows the mailbox.
#[derive(Debug)]
pub(in crate::imap) enum Told {
    /// A mailbox came, went, or has another name.
    Name { name: String, old: Option<String>, is_there: bool, has_children: bool },
    /// It may be seen, and not read.
    NoAccess { name: String, has_children: bool },
    /// Something happened to its messages.
    Messages { name: String, place: (AccountId, MailboxId), row: Arc<MailboxRow>, events: Events },
    /// How it is at first.
    Status { name: String, place: (AccountId, MailboxId), row: Arc<MailboxRow>, items: StatusItems },
    /// Annotations changed.
    Metadata { name: String, entries: BTreeSet<EntryName> },
    /// More happened than can be told.
    Overflow,
}

/// The tasks of a session, and what they found.
pub(in crate::imap) struct Abroad {
    pub(in crate::imap) news: channel::Receiver<Vec<Told>>,
    /// Dropped, it ends its task.
    _held: Vec<oneshot::Sender<()>>,
}

impl fmt::Debug for Abroad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Abroad")
    }
}

/// The groups of each account, by its own names; and how the user's names for them begin.
type Owners = BTreeMap<AccountId, (String, Vec<Group>)>;

/// Begins to watch what `groups` name of other users; `subscribed` are the user's subscriptions. Gives what is to be
/// told at first, too. None when nothing is named.
pub(in crate::imap) async fn watch(
    shard: &Rc<Shard>,
    asker: Asker,
    groups: &[EventGroup],
    subscribed: &[MailboxName],
    status: bool,
) -> Result<Option<(Abroad, Vec<Told>)>, Completion> {
    let owners = owners(shard, asker, groups, subscribed).await?;
    if owners.is_empty() {
        return Ok(None);
    }
    let (out, news) = channel::bounded(WAITING_MAX);
    let (mut held, mut all) = (Vec::new(), Vec::new());
    for (owner, (prefix, groups)) in owners {
        let (hold, held_on) = oneshot::oneshot();
        let out = out.clone();
        let begun = places::at(shard, asker.id, owner, move |_, account| {
            Box::pin(async move {
                let watch = Watch::new(account, asker, prefix, groups);
                let first = watch.first(status);
                spawn("watch mailboxes of another user", watch.run(held_on, out));
                Ok(first)
            })
        });
        // An account that is just being removed has nothing to tell.
        if let Ok(first) = begun.await {
            held.push(hold);
            all.extend(first);
        }
    }
    Ok(Some((Abroad { news, _held: held }, all)))
}

/// Whose mailboxes are named. What isn't there is ignored (RFC 5465 §6).
async fn owners(
    shard: &Rc<Shard>,
    asker: Asker,
    groups: &[EventGroup],
    subscribed: &[MailboxName],
) -> Result<Owners, Completion> {
    let mut owners = Owners::new();
    for group in groups.iter().filter(|group| !group.events.is_empty()) {
        let mut of: BTreeMap<AccountId, (String, Filter)> = BTreeMap::new();
        match &group.filter {
            MailboxFilter::Inboxes | MailboxFilter::Personal => {}
            MailboxFilter::Subscribed => {
                named(shard, asker, subscribed.iter(), Filter::Mailboxes, &mut of).await;
            }
            MailboxFilter::Mailboxes(names) => {
                named(shard, asker, names.iter().filter_map(of_others), Filter::Mailboxes, &mut of).await;
            }
            MailboxFilter::Subtree(names) => {
                for name in names.iter().filter_map(of_others) {
                    match name.as_str().matches(MailboxName::SEPARATOR).count() {
                        0 => {
                            for shared in places::shared_with(shard, asker).await? {
                                whole(shard, asker, &shared.name, &mut of).await;
                            }
                        }
                        1 => {
                            let below = format!("{name}{}x", MailboxName::SEPARATOR);
                            if let Ok(below) = MailboxName::new(&below) {
                                whole(shard, asker, &below, &mut of).await;
                            }
                        }
                        _ => named(shard, asker, [name].into_iter(), Filter::Subtree, &mut of).await,
                    }
                }
            }
        }
        for (owner, (prefix, filter)) in of {
            let (_, groups) = owners.entry(owner).or_insert_with(|| (prefix, Vec::new()));
            groups.push(Group { filter, events: group.events });
        }
        if owners.len() > ACCOUNTS_MAX {
            return Err(TOO_MANY);
        }
    }
    Ok(owners)
}

fn of_others(argument: &MailboxArgument) -> Option<&MailboxName> {
    argument.name.as_ref().ok().filter(|name| name.is_of_others())
}

/// All of an account, of which `name` is a mailbox.
async fn whole(
    shard: &Shard,
    asker: Asker,
    name: &MailboxName,
    of: &mut BTreeMap<AccountId, (String, Filter)>,
) {
    if let Ok(place) = places::find_name(shard, asker, name).await {
        of.insert(place.account, (place.prefix().to_owned(), Filter::Personal));
    }
}

/// Some mailboxes by name.
async fn named<'a>(
    shard: &Shard,
    asker: Asker,
    names: impl Iterator<Item = &'a MailboxName>,
    filter: fn(HashSet<MailboxName>) -> Filter,
    of: &mut BTreeMap<AccountId, (String, Filter)>,
) {
    for name in names.filter(|name| name.is_of_others()) {
        let Ok(place) = places::find_name(shard, asker, name).await else { continue };
        let (_, known) =
            of.entry(place.account).or_insert_with(|| (place.prefix().to_owned(), filter(HashSet::new())));
        if let Filter::Mailboxes(names) | Filter::Subtree(names) = known {
            names.insert(place.name);
        }
    }
}

/// Reads the log of an account for a session of another user.
struct Watch {
    account: Rc<AccountHandle>,
    watcher: Rc<Watcher>,
    asker: Asker,
    prefix: String,
    groups: Vec<Group>,
    /// Everything up to here was told, or may not be.
    seen: ModSeq,
    /// What the user sees.
    visible: BTreeMap<MailboxId, MailboxName>,
}

impl Watch {
    fn new(account: Rc<AccountHandle>, asker: Asker, prefix: String, groups: Vec<Group>) -> Self {
        let watcher = account.watch();
        let seen = account.state().head().map_or(ModSeq::MIN, |head| head.modseq);
        let mut watch = Self { account, watcher, asker, prefix, groups, seen, visible: BTreeMap::new() };
        watch.visible = watch.look();
        watch
    }

    /// Hands over what happens until the session lets go.
    async fn run(mut self, held: oneshot::Receiver<()>, out: channel::Sender<Vec<Told>>) {
        let mut held = pin!(held);
        let ended = Cell::new(false);
        let changed = self.account.changed().clone();
        while !ended.get() {
            // Before looking: a change meanwhile ends the wait at once.
            let version = changed.version();
            let told = self.news();
            let is_last = matches!(told.last(), Some(Told::Overflow));
            let go_on = async {
                if told.is_empty() {
                    changed.changed(version).await;
                } else if out.send(told).await.is_err() || is_last {
                    ended.set(true);
                }
            };
            let let_go = async {
                let _ = held.as_mut().await;
                ended.set(true);
            };
            or(let_go, go_on).await;
        }
    }

    fn told(&self, name: &MailboxName) -> String {
        format!("{}{name}", self.prefix)
    }

    fn may(&self, state: &Account, mailbox: MailboxId, deed: Deed) -> bool {
        permit(state.rights(mailbox, self.asker.user, self.asker.anyone), deed).is_ok()
    }

    /// Whether the user may see and read it, which events take (RFC 5465 §5).
    fn may_follow(&self, state: &Account, mailbox: MailboxId) -> bool {
        self.may(state, mailbox, Deed::See) && self.may(state, mailbox, Deed::Read)
    }

    fn events(&self, state: &Account, name: &MailboxName) -> Events {
        let groups = self.groups.iter().filter(|group| group.filter.covers(state, name));
        groups.fold(Events::NONE, |all, group| all.with(group.events))
    }

    fn look(&self) -> BTreeMap<MailboxId, MailboxName> {
        let state = self.account.state();
        let seen = state.mailboxes().filter(|(_, id, _)| self.may(&state, *id, Deed::See));
        seen.map(|(name, id, _)| (id, name.clone())).collect()
    }

    fn has_children(&self, name: &MailboxName) -> bool {
        self.visible.values().any(|other| other.is_below(name))
    }

    /// What is told when NOTIFY is set: which of the mailboxes may not be read, and how the others are.
    fn first(&self, status: bool) -> Vec<Told> {
        let state = self.account.state();
        let mut told = Vec::new();
        for (id, name) in &self.visible {
            let events = self.events(&state, name);
            if events.is_empty() {
                continue;
            }
            if !self.may_follow(&state, *id) {
                told.push(Told::NoAccess { name: self.told(name), has_children: self.has_children(name) });
                continue;
            }
            let items = first_items(events);
            if let Some(row) = state.mailbox(*id).filter(|_| status && !items.is_empty()) {
                let (place, row) = ((state.id(), *id), Arc::clone(row));
                told.push(Told::Status { name: self.told(name), place, row, items });
            }
        }
        told
    }

    /// What happened since the last look.
    fn news(&mut self) -> Vec<Told> {
        if self.account.is_broken() {
            return vec![Told::Overflow];
        }
        let changes = {
            let log = self.account.log();
            if !log.has_since(self.seen) {
                return Vec::new();
            }
            match log.since(self.seen) {
                Since::Changes(changes) => changes,
                Since::Forgotten => return vec![Told::Overflow],
            }
        };
        self.seen = changes.last().map_or(self.seen, |last| last.modseq);
        let mut told = self.names(&changes);
        let state = self.account.state();
        let me = (self.asker.user, self.watcher.id());
        let happened = Happened::of(&changes, me, &self.groups, &state);
        for (mailbox, events) in happened.messages {
            let Some(row) = state.mailbox(mailbox).filter(|_| self.may_follow(&state, mailbox)) else {
                continue;
            };
            let events = self.events(&state, &row.name).and(events);
            if !events.is_empty() {
                let (place, row) = ((state.id(), mailbox), Arc::clone(row));
                told.push(Told::Messages { name: self.told(&row.name), place, row, events });
            }
        }
        for (mailbox, mut entries) in happened.metadata {
            // Those of the server are each user's own, and so is what a mailbox is for.
            entries.retain(|entry| entry.path() != SPECIAL_USE);
            let Some((mailbox, false)) = mailbox.map(|mailbox| (mailbox, entries.is_empty())) else {
                continue;
            };
            let Some(row) = state.mailbox(mailbox) else { continue };
            let wants = self.events(&state, &row.name).contains(Events::MAILBOX_METADATA_CHANGE);
            if wants && self.may_follow(&state, mailbox) {
                told.push(Told::Metadata { name: self.told(&row.name), entries });
            }
        }
        told
    }

    /// Mailboxes that came, went or have another name. To be given the right to see one is as if it were created, and
    /// to lose it as if it were deleted (RFC 5465 §5.4).
    fn names(&mut self, changes: &[Rc<Published>]) -> Vec<Told> {
        let concerns = |change: &Change| {
            matches!(
                change,
                Change::MailboxCreated { .. }
                    | Change::MailboxDeleted { .. }
                    | Change::MailboxRenamed { .. }
                    | Change::Acl { .. }
            )
        };
        if !changes.iter().any(|published| concerns(&published.change)) {
            return Vec::new();
        }
        let now = self.look();
        let before = std::mem::replace(&mut self.visible, now);
        // Each name once, with the one before.
        let mut affected = BTreeMap::<MailboxName, Option<MailboxName>>::new();
        let mut above = Vec::new();
        for (id, name) in &self.visible {
            match before.get(id) {
                Some(old) if old == name => {}
                // One that was renamed with the one above it isn't told by itself.
                Some(old) if is_renamed_above(old, &before, &self.visible) => {}
                Some(old) => {
                    affected.insert(name.clone(), Some(old.clone()));
                }
                None => {
                    affected.insert(name.clone(), None);
                    above.extend(name.parent());
                }
            }
        }
        for (_, name) in before.iter().filter(|(id, _)| !self.visible.contains_key(id)) {
            affected.entry(name.clone()).or_default();
            above.extend(name.parent());
        }
        for name in above {
            affected.entry(name).or_default();
        }
        let state = self.account.state();
        let known: HashSet<&MailboxName> = before.values().chain(self.visible.values()).collect();
        let wants = |name: &MailboxName| self.events(&state, name).contains(Events::MAILBOX_NAME);
        let told = affected.iter().filter(|(name, old)| {
            // Of a name above that the user never saw nothing is told.
            known.contains(name) && (wants(name) || old.as_ref().is_some_and(&wants))
        });
        told.map(|(name, old)| Told::Name {
            name: self.told(name),
            old: old.as_ref().map(|old| self.told(old)),
            is_there: self.visible.values().any(|other| other == name),
            has_children: self.has_children(name),
        })
        .collect()
    }
}

/// Whether a mailbox above `old` was renamed, too.
fn is_renamed_above(
    old: &MailboxName,
    before: &BTreeMap<MailboxId, MailboxName>,
    now: &BTreeMap<MailboxId, MailboxName>,
) -> bool {
    let mut above = before.iter().filter(|(_, name)| old.is_below(name));
    above.any(|(id, name)| now.get(id).is_some_and(|now| now != name))
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.account.unwatch(&self.watcher);
    }
}
