//! LIST and LSUB (RFC 9051 §6.3.9, RFC 3501 §6.3.9, RFC 5258, RFC 5819, RFC 6154 §2, RFC 8440, RFC 9590),
//! with the mailboxes of other users that this one sees (RFC 4314 §4).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use postrider_proto::imap::command::{List, Lsub, SpecialUse as Use};
use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::imap::pattern::Pattern;
use postrider_proto::imap::response::{
    ListAttributes, ListRow, write_list, write_list_separator, write_lsub, write_my_rights,
};
use postrider_storage::account::Account;
use postrider_storage::rows::SpecialUse;

use super::metadata::Listed;
use super::status::tell_status;
use crate::imap::places::{self, Deed, Found, Shared, permit};
use crate::imap::session::{AccountContext, Completion, Ended};
use crate::runtime::yield_if_needed;

/// A name that a client may be told.
#[derive(Clone, Default)]
struct Entry {
    /// The mailbox; none for a name that is only subscribed, or has such names below it.
    found: Option<Found>,
    /// Another user's: what it is for to that user means nothing to this one.
    of_others: bool,
    /// There is no mailbox of this name that the user sees, but some below it, which aren't told.
    above: bool,
    subscribed: bool,
    has_children: bool,
    /// Something below meets the selection options and isn't told by itself.
    child_subscribed: bool,
    child_special_use: bool,
}

impl Entry {
    fn special_use(&self) -> SpecialUse {
        let own = self.found.as_ref().filter(|_| !self.of_others);
        own.map_or(SpecialUse::NONE, |found| found.row.special_use)
    }

    fn attributes(&self) -> ListAttributes {
        attributes_of(self.found.is_some(), self.special_use(), self.has_children)
    }
}

/// The attributes of a name as it is now, with whether it is subscribed.
pub(in crate::imap) fn attributes(state: &Account, name: &MailboxName) -> ListAttributes {
    let row = state.mailbox_id(name).and_then(|id| state.mailbox(id));
    let special_use = row.map_or(SpecialUse::NONE, |row| row.special_use);
    let attributes = attributes_of(row.is_some(), special_use, state.has_children(name));
    if state.is_subscribed(name) { attributes.with(ListAttributes::SUBSCRIBED) } else { attributes }
}

/// The attributes of a name of which that is known.
pub(in crate::imap) fn attributes_of(
    exists: bool,
    special_use: SpecialUse,
    has_children: bool,
) -> ListAttributes {
    let mut attributes = match exists {
        true => ListAttributes::NONE,
        false => ListAttributes::NON_EXISTENT,
    };
    attributes = attributes.with(match has_children {
        true => ListAttributes::HAS_CHILDREN,
        false => ListAttributes::HAS_NO_CHILDREN,
    });
    // Always, though not asked for: some clients need it.
    for (one, stored) in Use::ALL.into_iter().zip(SpecialUse::ALL) {
        if special_use.contains(stored.0) {
            attributes = attributes.with(ListAttributes::of_use(one));
        }
    }
    attributes
}

/// LIST in all its forms.
pub(in crate::imap) async fn list(
    context: &mut AccountContext<'_>,
    command: List,
) -> Result<Completion, Ended> {
    if command.asks_separator {
        write_list_separator(&mut context.out.buffer);
        return Ok(Completion::ok("done"));
    }
    let shared = match shared(context, &command).await {
        Ok(shared) => shared,
        Err(refused) => return Ok(refused),
    };
    let accounts = shared.iter().map(|shared| shared.found.account).chain([context.asker().user]);
    let metadata = command.returns.metadata.clone();
    let listed = match Listed::read(context, accounts.collect(), metadata).await {
        Ok(listed) => listed,
        Err(refused) => return Ok(refused),
    };
    let entries = entries(context, &command, shared);
    let tell_subscribed = command.select.subscribed || command.returns.subscribed;
    for (name, entry) in &entries {
        if !is_told(&command, name, entry) {
            continue;
        }
        let mut attributes = entry.attributes();
        if tell_subscribed && entry.subscribed {
            attributes = attributes.with(ListAttributes::SUBSCRIBED);
        }
        let row = ListRow {
            attributes,
            name: name.as_str(),
            child_subscribed: entry.child_subscribed,
            child_special_use: entry.child_special_use,
            old_name: None,
        };
        write_list(&mut context.out.buffer, context.member.enabled.utf8, &row);
        if let Some(found) = &entry.found {
            tell_more(context, &command, name, entry, found);
        }
        if let Some(found) = entry.found.as_ref().filter(|_| !listed.is_empty()) {
            listed.tell(context, name.as_str(), found);
        }
        context.out.flush_if_full().await?;
        yield_if_needed().await;
    }
    Ok(Completion::ok("done"))
}

/// Tells what else is asked for, of what the user may know. A name that is told for those below it only
/// isn't meant (RFC 8440 §4).
fn tell_more(
    context: &mut AccountContext<'_>,
    command: &List,
    name: &MailboxName,
    entry: &Entry,
    found: &Found,
) {
    if command.returns.my_rights && meets(command, entry) {
        let utf8 = context.member.enabled.utf8;
        write_my_rights(&mut context.out.buffer, utf8, name.as_str(), found.rights);
    }
    if !command.returns.status.is_empty() && permit(found.rights, Deed::Read).is_ok() {
        tell_status(context, name.as_str(), found, command.returns.status);
    }
}

/// The mailboxes of others, when any of them could be told.
async fn shared(context: &AccountContext<'_>, command: &List) -> Result<Vec<Shared>, Completion> {
    if command.patterns.iter().any(|pattern| pattern.may_begin_with(MailboxName::OTHER_USERS)) {
        places::shared_with(context.shard, context.asker()).await
    } else {
        Ok(Vec::new())
    }
}

fn matches(patterns: &[Pattern], name: &MailboxName) -> bool {
    patterns.iter().any(|pattern| pattern.matches(name))
}

/// Whether a name meets the selection options.
fn meets(command: &List, entry: &Entry) -> bool {
    let select = &command.select;
    (!select.subscribed || entry.subscribed)
        && (!select.special_use || !entry.special_use().is_empty())
        // A name without mailbox is told to those who ask for subscriptions only.
        && (select.subscribed || entry.found.is_some() || entry.above)
}

fn is_told(command: &List, name: &MailboxName, entry: &Entry) -> bool {
    let below = entry.child_subscribed || entry.child_special_use;
    matches(&command.patterns, name) && (meets(command, entry) || below)
}

/// Every name that may be told, by name, with what RECURSIVEMATCH adds.
fn entries(
    context: &AccountContext<'_>,
    command: &List,
    shared: Vec<Shared>,
) -> BTreeMap<MailboxName, Entry> {
    let user = context.asker().user;
    let state = context.member.account.state();
    let mut entries = BTreeMap::<MailboxName, Entry>::new();
    for (name, mailbox, row) in state.mailboxes() {
        let has_children = state.has_children(name);
        let subscribed = state.is_subscribed(name);
        let rights = state.rights(mailbox, user, false);
        let found = Some(Found { account: user, mailbox, row: Arc::clone(row), rights });
        entries.insert(name.clone(), Entry { found, subscribed, has_children, ..Entry::default() });
    }
    for Shared { name, found } in shared {
        let (found, subscribed) = (Some(found), state.is_subscribed(&name));
        entries.insert(name, Entry { found, subscribed, of_others: true, ..Entry::default() });
    }
    note_levels(&mut entries, command);
    if !command.select.subscribed {
        if command.select.recursive_match {
            note_parents(&mut entries, command);
        }
        return entries;
    }
    for name in state.subscriptions() {
        entries.entry(name.clone()).or_default().subscribed = true;
    }
    if command.select.recursive_match {
        note_parents(&mut entries, command);
    }
    entries
}

/// Notes at names of others what lies below. Names above that are no mailboxes to this user are told where
/// nothing below is, so that clients find it level by level; else as if they weren't there (RFC 4314 §4).
fn note_levels(entries: &mut BTreeMap<MailboxName, Entry>, command: &List) {
    let others: Vec<(MailboxName, bool)> = entries
        .iter()
        .filter(|(_, entry)| entry.of_others)
        .map(|(name, _)| (name.clone(), matches(&command.patterns, name)))
        .collect();
    let mut shown = BTreeSet::new();
    for (name, told) in &others {
        let mut above = name.parent();
        while let Some(parent) = above {
            above = parent.parent();
            if *told {
                shown.insert(parent.clone());
            }
            let entry = entries.entry(parent).or_default();
            entry.of_others = true;
            entry.above = entry.found.is_none();
            entry.has_children = true;
        }
    }
    entries.retain(|name, entry| !(entry.above && shown.contains(name)));
}

/// Notes at every name what lies below that meets the options but isn't told by itself
/// (RFC 5258 §3.5).
fn note_parents(entries: &mut BTreeMap<MailboxName, Entry>, command: &List) {
    let hidden: Vec<MailboxName> = entries
        .iter()
        .filter(|(name, entry)| meets(command, entry) && !matches(&command.patterns, name))
        .map(|(name, _)| name.clone())
        .collect();
    for name in hidden {
        let mut above = name.parent();
        while let Some(parent) = above {
            above = parent.parent();
            let entry = entries.entry(parent).or_default();
            entry.child_subscribed |= command.select.subscribed;
            entry.child_special_use |= command.select.special_use;
        }
    }
}

/// LSUB. A name above a subscribed one that doesn't match is told as `\Noselect`.
pub(in crate::imap) async fn lsub(
    context: &mut AccountContext<'_>,
    command: Lsub,
) -> Result<Completion, Ended> {
    let mut told = BTreeMap::<MailboxName, ListAttributes>::new();
    {
        let state = context.member.account.state();
        for name in state.subscriptions() {
            if command.pattern.matches(name) {
                told.insert(name.clone(), ListAttributes::NONE);
                continue;
            }
            let mut above = name.parent();
            while let Some(parent) = above {
                above = parent.parent();
                if command.pattern.matches(&parent) && !state.is_subscribed(&parent) {
                    told.insert(parent, ListAttributes::NO_SELECT);
                }
            }
        }
    }
    for (name, attributes) in told {
        write_lsub(&mut context.out.buffer, context.member.enabled.utf8, attributes, name.as_str());
        context.out.flush_if_full().await?;
    }
    Ok(Completion::ok("done"))
}
