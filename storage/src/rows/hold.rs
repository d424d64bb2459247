//! Rows of rules that hold messages of the queue.

use zerocopy::little_endian::{I64, U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{BadRow, Fixed, Tail, bit, length, split};
use crate::ids::AccountId;

/// A rule that holds messages. All that it names must match; one that names nothing holds every message.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HoldRuleRow {
    /// Messages of this account.
    pub account: Option<AccountId>,
    /// Messages whose reverse path has this domain, lower-case ASCII; an empty one is the null path.
    pub sender_domain: Option<Box<str>>,
    /// Messages to this domain, lower-case ASCII.
    pub recipient_domain: Option<Box<str>>,
    /// Since when, in seconds since 1970.
    pub created: i64,
    /// What people wrote about it.
    pub comment: Box<str>,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct HoldRuleLayout {
    version: u8,
    traits: u8,
    sender_domain: u8,
    recipient_domain: u8,
    comment: U16,
    reserved: [u8; 2],
    account: U32,
    created: I64,
}

impl Fixed for HoldRuleLayout {
    const NAME: &'static str = "HOLDRULE";
}

const SENDER_DOMAIN: u8 = 1;
const RECIPIENT_DOMAIN: u8 = 1 << 1;

impl HoldRuleRow {
    /// The longest comment.
    pub const COMMENT_OCTETS_MAX: usize = 1024;

    /// The bytes that are stored; none when a domain is longer than 255 octets or the comment longer than
    /// [`Self::COMMENT_OCTETS_MAX`].
    pub fn encode(&self) -> Option<Vec<u8>> {
        let domain = |domain: &Option<Box<str>>| domain.as_deref().unwrap_or_default().to_owned();
        let (sender, recipient) = (domain(&self.sender_domain), domain(&self.recipient_domain));
        let fixed = HoldRuleLayout {
            version: HoldRuleLayout::VERSION,
            traits: bit(self.sender_domain.is_some(), SENDER_DOMAIN)
                | bit(self.recipient_domain.is_some(), RECIPIENT_DOMAIN),
            sender_domain: u8::try_from(sender.len()).ok()?,
            recipient_domain: u8::try_from(recipient.len()).ok()?,
            comment: length(self.comment.as_bytes(), Self::COMMENT_OCTETS_MAX)?,
            reserved: [0; 2],
            account: self.account.map_or(0, AccountId::get).into(),
            created: self.created.into(),
        };
        Some([fixed.as_bytes(), sender.as_bytes(), recipient.as_bytes(), self.comment.as_bytes()].concat())
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        let (row, tail) = split::<HoldRuleLayout>(bytes)?;
        let mut tail = Tail::of::<HoldRuleLayout>(tail, bytes.len());
        let (sender, recipient) = (tail.text(row.sender_domain)?, tail.text(row.recipient_domain)?);
        let this = Self {
            account: AccountId::new(row.account.get()),
            sender_domain: (row.traits & SENDER_DOMAIN != 0).then_some(sender),
            recipient_domain: (row.traits & RECIPIENT_DOMAIN != 0).then_some(recipient),
            created: row.created.get(),
            comment: tail.text(row.comment.get())?,
        };
        tail.end()?;
        Ok(this)
    }
}
