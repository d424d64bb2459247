//! LIST and LSUB (RFC 9051 §6.3.9, RFC 3501 §6.3.9, RFC 5258, RFC 5819, RFC 6154 §2, RFC 9590).

use std::collections::BTreeMap;
use std::sync::Arc;

use postrider_proto::imap::command::{List, Lsub, SpecialUse as Use};
use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::imap::pattern::Pattern;
use postrider_proto::imap::response::{
    ListAttributes, ListRow, write_list, write_list_separator, write_lsub,
};
use postrider_storage::account::Account;
use postrider_storage::ids::MailboxId;
use postrider_storage::rows::{MailboxRow, SpecialUse};

use super::metadata::Listed;
use super::status::tell_status;
use crate::imap::answers;
use crate::imap::session::{AccountContext, Completion, Ended};
use crate::runtime::yield_if_needed;

/// A name that a client may be told.
#[derive(Clone, Default)]
struct Entry {
    /// The mailbox; none for a name that is only subscribed, or has such names below it.
    row: Option<(MailboxId, Arc<MailboxRow>)>,
    subscribed: bool,
    has_children: bool,
    /// Something below meets the selection options and isn't told by itself.
    child_subscribed: bool,
    child_special_use: bool,
}

impl Entry {
    fn special_use(&self) -> SpecialUse {
        self.row.as_ref().map_or(SpecialUse::NONE, |(_, row)| row.special_use)
    }

    fn attributes(&self) -> ListAttributes {
        attributes_of(self.row.as_ref().map(|(_, row)| &**row), self.has_children)
    }
}

/// The attributes of a name as it is now, with whether it is subscribed.
pub(in crate::imap) fn attributes(state: &Account, name: &MailboxName) -> ListAttributes {
    let row = state.mailbox_id(name).and_then(|id| state.mailbox(id));
    let attributes = attributes_of(row.map(|row| &**row), state.has_children(name));
    if state.is_subscribed(name) { attributes.with(ListAttributes::SUBSCRIBED) } else { attributes }
}

fn attributes_of(row: Option<&MailboxRow>, has_children: bool) -> ListAttributes {
    let mut attributes = match row {
        Some(_) => ListAttributes::NONE,
        None => ListAttributes::NON_EXISTENT,
    };
    attributes = attributes.with(match has_children {
        true => ListAttributes::HAS_CHILDREN,
        false => ListAttributes::HAS_NO_CHILDREN,
    });
    // Always, though not asked for: some clients need it.
    let special_use = row.map_or(SpecialUse::NONE, |row| row.special_use);
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
    let listed = {
        let account = &context.member.account;
        Listed::read(&account.reader(), account.id(), command.returns.metadata.clone())
    };
    let listed = match listed {
        Ok(listed) => listed,
        Err(error) => return Ok(answers::store_failed(&error, context.id)),
    };
    if let Some(moment) = listed.moment {
        // A commit may be on its way to the disk: nothing is told that a power loss could take back.
        context.member.account.installed(moment).await;
    }
    let entries = entries(context, &command);
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
        if let Some((mailbox, row)) = entry.row.as_ref().filter(|_| !command.returns.status.is_empty()) {
            tell_status(context, *mailbox, row, command.returns.status);
        }
        if let Some((mailbox, row)) = entry.row.as_ref().filter(|_| !listed.is_empty()) {
            listed.tell(context, (*mailbox, name.as_str()), row.special_use);
        }
        context.out.flush_if_full().await?;
        yield_if_needed().await;
    }
    Ok(Completion::ok("done"))
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
        && (select.subscribed || entry.row.is_some())
}

fn is_told(command: &List, name: &MailboxName, entry: &Entry) -> bool {
    let below = entry.child_subscribed || entry.child_special_use;
    matches(&command.patterns, name) && (meets(command, entry) || below)
}

/// Every name that may be told, by name, with what RECURSIVEMATCH adds.
fn entries(context: &AccountContext<'_>, command: &List) -> BTreeMap<MailboxName, Entry> {
    let state = context.member.account.state();
    let mut entries = BTreeMap::<MailboxName, Entry>::new();
    for (name, mailbox, row) in state.mailboxes() {
        let has_children = state.has_children(name);
        let subscribed = state.is_subscribed(name);
        let row = Some((mailbox, Arc::clone(row)));
        entries.insert(name.clone(), Entry { row, subscribed, has_children, ..Entry::default() });
    }
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
