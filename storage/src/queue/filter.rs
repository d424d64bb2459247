//! Which entries are meant.

use std::ops::RangeInclusive;

use super::schedule::domain_hash;
use crate::ids::{AccountId, QueueId};
use crate::rows::{Held, HoldRuleRow, QueueRow, RecipientRow};

/// A span of time, in seconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// At this time or later.
    pub from: Option<i64>,
    /// Before this time.
    pub before: Option<i64>,
}

impl Span {
    fn holds(self, time: i64) -> bool {
        self.from.is_none_or(|from| time >= from) && self.before.is_none_or(|before| time < before)
    }
}

/// Which entries are meant: those for which all that is given holds. Without anything, all of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter {
    /// One of these, at most [`IDS_MAX`](super::IDS_MAX).
    pub ids: Option<Vec<QueueId>>,
    /// Submitted by this account; [`SYSTEM`](crate::keys::SYSTEM): by the system.
    pub account: Option<u32>,
    /// This is a part of the reverse path, in whatever case.
    pub from: Option<String>,
    /// This is a part of a recipient's address, in whatever case. Only such recipients are meant.
    pub to: Option<String>,
    /// The reverse path is of this domain; an empty one is the null path.
    pub sender_domain: Option<String>,
    /// The recipients are of this domain.
    pub recipient_domain: Option<String>,
    /// Accepted then.
    pub submitted: Span,
    /// The next attempt is then; what is held, or has one under way, has none.
    pub next_attempt: Span,
    /// Held, or not.
    pub held: Option<bool>,
    /// With this transport set; an empty one: by routes.
    pub transport: Option<String>,
    /// The hash of the recipients' domain is one of these: what a shard owns.
    pub domains: RangeInclusive<u64>,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            ids: None,
            account: None,
            from: None,
            to: None,
            sender_domain: None,
            recipient_domain: None,
            submitted: Span::default(),
            next_attempt: Span::default(),
            held: None,
            transport: None,
            domains: 0..=u64::MAX,
        }
    }
}

impl Filter {
    /// The entries that a rule is to hold: those that it matches and that are not held.
    pub fn of_rule(rule: &HoldRuleRow, domains: RangeInclusive<u64>) -> Self {
        Self {
            account: rule.account.map(AccountId::get),
            sender_domain: rule.sender_domain.as_deref().map(str::to_owned),
            recipient_domain: rule.recipient_domain.as_deref().map(str::to_owned),
            held: Some(false),
            domains,
            ..Self::default()
        }
    }

    /// The hash of the recipient domain that is asked for.
    pub(super) fn domain(&self) -> Option<u64> {
        self.recipient_domain.as_deref().map(|domain| domain_hash(&domain.to_ascii_lowercase()))
    }

    /// Whether an entry is meant, as far as its own row says; that it is one of [`Self::ids`] is for the index.
    pub(super) fn matches(&self, row: &QueueRow) -> bool {
        let is = |wanted: &Option<String>, text: &[u8]| {
            wanted.as_ref().is_none_or(|wanted| wanted.as_bytes().eq_ignore_ascii_case(text))
        };
        self.account.is_none_or(|account| account == row.sender)
            && is(&self.sender_domain, super::domain_of(&row.mail_from))
            && is(&self.recipient_domain, row.domain.as_bytes())
            && self.submitted.holds(row.created)
            && (self.next_attempt == Span::default()
                || row.held == Held::No && !row.claimed && self.next_attempt.holds(row.due))
            && self.held.is_none_or(|held| held == (row.held != Held::No))
            && self.transport.as_deref().is_none_or(|transport| transport == &*row.transport)
            && self.from.as_deref().is_none_or(|part| contains(&row.mail_from, part))
            && (self.domains == (0..=u64::MAX) || self.domains.contains(&domain_hash(&row.domain)))
    }

    /// Whether a recipient is meant, of an entry that is.
    pub(super) fn matches_recipient(&self, row: &RecipientRow) -> bool {
        self.to.as_deref().is_none_or(|part| contains(&row.address, part))
    }
}

/// Whether `part` is in a text, in whatever case.
pub(super) fn contains(text: &[u8], part: &str) -> bool {
    String::from_utf8_lossy(text).to_lowercase().contains(&part.to_lowercase())
}
