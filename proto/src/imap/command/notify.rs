//! NOTIFY (RFC 5465 §3.1 and §8).

use super::cursor::{Cursor, Parsed};
use super::fetch::{FetchItem, take_item};
use super::{Fault, MailboxArgument};

/// NOTIFY.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notify {
    /// NONE: of nothing.
    None,
    /// SET: of these events, instead of those before.
    Set(NotifySet),
}

/// NOTIFY SET.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotifySet {
    /// STATUS: the client wants to know how the mailboxes are now.
    pub status: bool,
    /// For the selected mailbox; none is the same as no events.
    pub selected: Option<SelectedGroup>,
    /// For other mailboxes; a mailbox may be in several.
    pub groups: Vec<EventGroup>,
}

/// Events of the selected mailbox (RFC 5465 §6.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SelectedGroup {
    /// SELECTED-DELAYED: removals wait for a command that may tell them.
    pub delayed: bool,
    /// Which; message events only.
    pub events: Events,
    /// What of a new message is to be told; may be empty.
    pub fetch: Vec<FetchItem>,
}

/// Events of other mailboxes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventGroup {
    /// Of which mailboxes.
    pub filter: MailboxFilter,
    /// Which.
    pub events: Events,
}

/// Mailboxes other than the selected one (RFC 5465 §6.2 to §6.6).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MailboxFilter {
    /// INBOXES: those to which mail may be delivered.
    Inboxes,
    /// PERSONAL: the user's own.
    Personal,
    /// SUBSCRIBED, whenever it is looked at.
    Subscribed,
    /// SUBTREE: these and those below them.
    Subtree(Vec<MailboxArgument>),
    /// MAILBOXES: these.
    Mailboxes(Vec<MailboxArgument>),
}

/// A set of events (RFC 5465 §5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Events(u8);

impl Events {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// MessageNew
    pub const MESSAGE_NEW: Self = Self(1);
    /// MessageExpunge
    pub const MESSAGE_EXPUNGE: Self = Self(1 << 1);
    /// FlagChange
    pub const FLAG_CHANGE: Self = Self(1 << 2);
    /// MailboxName
    pub const MAILBOX_NAME: Self = Self(1 << 3);
    /// SubscriptionChange
    pub const SUBSCRIPTION_CHANGE: Self = Self(1 << 4);
    /// MailboxMetadataChange
    pub const MAILBOX_METADATA_CHANGE: Self = Self(1 << 5);
    /// ServerMetadataChange
    pub const SERVER_METADATA_CHANGE: Self = Self(1 << 6);
    /// All events of messages.
    pub const MESSAGES: Self = Self::MESSAGE_NEW.with(Self::MESSAGE_EXPUNGE).with(Self::FLAG_CHANGE);

    /// All events that are supported, with their names.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::MESSAGE_NEW, "MessageNew"),
        (Self::MESSAGE_EXPUNGE, "MessageExpunge"),
        (Self::FLAG_CHANGE, "FlagChange"),
        (Self::MAILBOX_NAME, "MailboxName"),
        (Self::SUBSCRIPTION_CHANGE, "SubscriptionChange"),
        (Self::MAILBOX_METADATA_CHANGE, "MailboxMetadataChange"),
        (Self::SERVER_METADATA_CHANGE, "ServerMetadataChange"),
    ];

    /// These and `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether all of `other` are here.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl Notify {
    /// Takes the arguments, from the space on.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        cursor.space()?;
        match cursor.label()?.as_str() {
            "NONE" => Ok(Self::None),
            "SET" => NotifySet::parse(cursor).map(Self::Set),
            _ => Err(Fault::Syntax("SET or NONE expected")),
        }
    }
}

/// What parsing of the groups gathers.
#[derive(Default)]
struct Groups {
    selected: Option<SelectedGroup>,
    others: Vec<EventGroup>,
    /// How many mailboxes are named.
    names: usize,
    /// Whether an event isn't supported.
    unknown: bool,
}

impl NotifySet {
    /// Takes ` [STATUS] (group) ...`.
    fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        cursor.space()?;
        let mut status = false;
        if cursor.peek() != Some(b'(') {
            if cursor.label()?.as_str() != "STATUS" {
                return Err(Fault::Syntax("STATUS or ( expected"));
            }
            status = true;
            cursor.space()?;
        }
        let mut groups = Groups::default();
        loop {
            if groups.others.len() == cursor.context().limits.notify_groups_max {
                return Err(Fault::Limit("too many groups of events"));
            }
            groups.take(cursor)?;
            if !cursor.take(b' ') {
                break;
            }
        }
        if groups.unknown {
            return Err(Fault::Event);
        }
        Ok(Self { status, selected: groups.selected, groups: groups.others })
    }
}

impl Groups {
    /// Takes `(filter events)`.
    fn take(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        cursor.open()?;
        let filter = match cursor.label()?.as_str() {
            delayed @ ("SELECTED" | "SELECTED-DELAYED") => {
                let delayed = delayed != "SELECTED";
                cursor.space()?;
                let mut fetch = Vec::new();
                let events = self.events(cursor, Some(&mut fetch))?;
                if events.and(Events::MESSAGES) != events {
                    return Err(Fault::Syntax("only message events are of the selected mailbox"));
                }
                if self.selected.replace(SelectedGroup { delayed, events, fetch }).is_some() {
                    return Err(Fault::Syntax("the selected mailbox is named twice"));
                }
                return cursor.close();
            }
            "INBOXES" => MailboxFilter::Inboxes,
            "PERSONAL" => MailboxFilter::Personal,
            "SUBSCRIBED" => MailboxFilter::Subscribed,
            "SUBTREE" => MailboxFilter::Subtree(self.mailboxes(cursor)?),
            "MAILBOXES" => MailboxFilter::Mailboxes(self.mailboxes(cursor)?),
            _ => return Err(Fault::Syntax("unknown kind of mailboxes")),
        };
        cursor.space()?;
        let events = self.events(cursor, None)?;
        self.others.push(EventGroup { filter, events });
        cursor.close()
    }

    /// Takes a mailbox, or several in parentheses.
    fn mailboxes(&mut self, cursor: &mut Cursor<'_>) -> Parsed<Vec<MailboxArgument>> {
        cursor.space()?;
        let mut mailboxes = Vec::new();
        let mut take = |cursor: &mut Cursor<'_>| {
            if self.names == cursor.context().limits.notify_mailboxes_max {
                return Err(Fault::Limit("too many mailboxes"));
            }
            self.names += 1;
            mailboxes.push(MailboxArgument::parse(cursor)?);
            Ok(())
        };
        if cursor.take(b'(') {
            cursor.list(take)?;
        } else {
            take(cursor)?;
        }
        Ok(mailboxes)
    }

    /// Takes `NONE` or `(event ...)`. What of new messages is to be told goes to `fetch`, where that
    /// may be asked.
    fn events(&mut self, cursor: &mut Cursor<'_>, mut fetch: Option<&mut Vec<FetchItem>>) -> Parsed<Events> {
        let mut events = Events::NONE;
        if !cursor.take(b'(') {
            return match cursor.label()?.as_str() {
                "NONE" => Ok(events),
                _ => Err(Fault::Syntax("NONE or ( expected")),
            };
        }
        cursor.list(|cursor| {
            let name = cursor.atom()?;
            let known = Events::ALL.into_iter().find(|(_, known)| known.eq_ignore_ascii_case(name));
            let Some((event, _)) = known else {
                self.unknown = true;
                return Ok(());
            };
            events = events.with(event);
            let mut ahead = cursor.clone();
            if event == Events::MESSAGE_NEW && ahead.take(b' ') && ahead.take(b'(') {
                *cursor = ahead;
                let Some(items) = &mut fetch else {
                    return Err(Fault::Syntax("only of the selected mailbox new messages are fetched"));
                };
                cursor.list(|cursor| take_item(cursor, items))?;
            }
            Ok(())
        })?;
        // RFC 5465 §5: one without the other makes no sense of sequence numbers.
        let both = Events::MESSAGE_NEW.with(Events::MESSAGE_EXPUNGE);
        if !events.and(Events::MESSAGES).is_empty() && !events.contains(both) && !self.unknown {
            return Err(Fault::Syntax("MessageNew and MessageExpunge go together, and before FlagChange"));
        }
        Ok(events)
    }
}
