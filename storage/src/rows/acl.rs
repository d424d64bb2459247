//! Who may do what with a mailbox (RFC 4314 §2).

use postrider_proto::imap::rights::Rights;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{BadRow, Fixed, field, split};
use crate::ids::AccountId;

/// Whom an entry is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Grantee {
    /// Every user.
    Anyone,
    /// An account; one that was removed since is nobody, for its number is never given out again.
    Account(AccountId),
}

impl Grantee {
    /// The number that stands for it in keys and rows: an account's, or 0.
    pub fn number(self) -> u32 {
        match self {
            Self::Anyone => 0,
            Self::Account(account) => account.get(),
        }
    }

    /// Whom a stored number stands for.
    pub fn of(number: u32) -> Self {
        AccountId::new(number).map_or(Self::Anyone, Self::Account)
    }
}

/// Whether an entry gives rights or takes them away.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Sign {
    /// It gives them.
    Grants,
    /// It takes away what others give: an identifier with `-` before it.
    Denies,
}

/// An entry of an access control list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AclEntry {
    /// Whom it is about.
    pub who: Grantee,
    /// What it does.
    pub sign: Sign,
    /// The rights.
    pub rights: Rights,
}

/// The access control list of a mailbox: entries in the order of whom they are about, each once. Without
/// a list the owner has all rights, and nobody else any.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AclRow {
    entries: Vec<AclEntry>,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct AclLayout {
    version: u8,
    reserved: u8,
    entries: U16,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct EntryLayout {
    who: U32,
    rights: U16,
    sign: u8,
    reserved: u8,
}

impl Fixed for AclLayout {
    const NAME: &'static str = "ACL";
}

impl AclRow {
    /// The most entries of one mailbox.
    pub const ENTRIES_MAX: usize = 256;

    /// The entries.
    pub fn entries(&self) -> &[AclEntry] {
        &self.entries
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The rights of one entry.
    pub fn get(&self, who: Grantee, sign: Sign) -> Option<Rights> {
        self.find(who, sign).ok().map(|at| self.entries[at].rights)
    }

    /// Sets an entry, or removes it.
    pub fn set(&mut self, who: Grantee, sign: Sign, rights: Option<Rights>) {
        match (self.find(who, sign), rights) {
            (Ok(at), Some(rights)) => self.entries[at].rights = rights,
            (Ok(at), None) => drop(self.entries.remove(at)),
            (Err(at), Some(rights)) => self.entries.insert(at, AclEntry { who, sign, rights }),
            (Err(_), None) => {}
        }
    }

    fn find(&self, who: Grantee, sign: Sign) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&(who, sign), |entry| (entry.who, entry.sign))
    }

    /// What `user` may do with a mailbox of `owner`. Others have what their own entry and that of anyone
    /// give, less what such entries take away; entries of anyone count only where `anyone` says so. An owner
    /// has all rights but those that its own entries withhold, and [`Rights::OF_OWNER`] in any case.
    pub fn rights(&self, owner: AccountId, user: AccountId, anyone: bool) -> Rights {
        let me = Grantee::Account(user);
        if owner == user {
            let granted = self.get(me, Sign::Grants).unwrap_or(Rights::ALL);
            let denied = self.get(me, Sign::Denies).unwrap_or_default();
            return granted.without(denied).with(Rights::OF_OWNER);
        }
        let both = |sign| {
            let all = if anyone { self.get(Grantee::Anyone, sign) } else { None };
            self.get(me, sign).unwrap_or_default().with(all.unwrap_or_default())
        };
        both(Sign::Grants).without(both(Sign::Denies))
    }

    /// To whom others than `owner` the mailbox is shared.
    pub fn shared_with(&self, owner: AccountId) -> impl Iterator<Item = Grantee> {
        let granting = self.entries.iter().filter(|entry| entry.sign == Sign::Grants);
        granting.map(|entry| entry.who).filter(move |who| *who != Grantee::Account(owner))
    }

    /// The bytes that are stored.
    pub fn encode(&self) -> Vec<u8> {
        let count = u16::try_from(self.entries.len()).unwrap_or(u16::MAX);
        let fixed = AclLayout { version: AclLayout::VERSION, reserved: 0, entries: count.into() };
        let mut bytes = fixed.as_bytes().to_vec();
        for entry in &self.entries {
            let entry = EntryLayout {
                who: entry.who.number().into(),
                rights: entry.rights.bits().into(),
                sign: entry.sign as u8,
                reserved: 0,
            };
            bytes.extend_from_slice(entry.as_bytes());
        }
        bytes
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        type Layout = AclLayout;
        let (row, tail) = split::<Layout>(bytes)?;
        let length = BadRow::Length { row: Layout::NAME, octets: bytes.len() };
        let stored = <[EntryLayout]>::ref_from_bytes(tail).map_err(|_| length)?;
        if stored.len() != usize::from(row.entries.get()) || stored.is_empty() {
            return Err(length);
        }
        let mut entries = Vec::with_capacity(stored.len());
        for entry in stored {
            entries.push(AclEntry {
                who: Grantee::of(entry.who.get()),
                sign: match entry.sign {
                    0 => Sign::Grants,
                    1 => Sign::Denies,
                    _ => return Err(field::<Layout>("sign")),
                },
                rights: Rights::from_bits(entry.rights.get()).ok_or(field::<Layout>("set of rights"))?,
            });
        }
        if !entries.is_sorted_by(|one, next| (one.who, one.sign) < (next.who, next.sign)) {
            return Err(field::<Layout>("order of entries"));
        }
        Ok(Self { entries })
    }
}
