//! Where a mailbox name leads, and what the user may do there (RFC 2342, RFC 4314): the one place that
//! knows, for the user's own mailboxes and for those of others.
//!
//! [`find`] turns a name into an account and a name in it, [`at`] runs work at that account's home shard,
//! and there [`enter`] finds the mailbox and asks [`permit`] whether the user may. A mailbox that the user
//! can't see is answered like one that isn't there.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use postrider_proto::imap::command::MailboxArgument;
use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::imap::response::Code;
use postrider_proto::imap::rights::Rights;
use postrider_storage::account::Account;
use postrider_storage::directory::{AccountName, Directory};
use postrider_storage::ids::{AccountId, MailboxId};
use postrider_storage::keys;
use postrider_storage::reader::Reader;
use postrider_storage::rows::{Grantee, MailboxRow};
use postrider_storage::store::StoreError;
use tracing::error;

use super::answers::{self, NO_SUCH_MAILBOX};
use super::session::Completion;
use crate::accounts::{AccountHandle, LoadError};
use crate::log::ConnectionId;
use crate::shard::{Local, Shard};

/// Mailboxes of others that one LIST looks at.
const SHARED_MAX: usize = 10_000;

const NO_PERMISSION: Completion = Completion::refused(Code::NoPerm, "you have no right to do that");
/// It may be possible later.
pub const UNAVAILABLE: Completion = Completion::refused(Code::Unavailable, "try again later");

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asker {
    /// The user's account.
    pub user: AccountId,
    /// Whether entries for anyone count (`share_with_anyone`).
    pub anyone: bool,
    /// The connection, for logs.
    pub id: ConnectionId,
}

/// Where a mailbox is, or would be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// Whose it is.
    pub account: AccountId,
    /// Its name there.
    pub name: MailboxName,
    /// What the user's names for this account's mailboxes begin with; nothing for the user's own.
    prefix: Box<str>,
}

impl Place {
    /// How the user knows a mailbox of this account.
    pub fn told(&self, name: &MailboxName) -> String {
        format!("{}{name}", self.prefix)
    }

    /// What the user's names for mailboxes of this account begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether it is another user's.
    pub fn is_of_others(&self) -> bool {
        !self.prefix.is_empty()
    }
}

/// What is done with a mailbox, as far as rights tell it apart (RFC 4314 §4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deed {
    /// LIST.
    See,
    /// SELECT, EXAMINE, STATUS.
    Read,
    /// APPEND, and COPY and MOVE to it.
    Insert,
    /// CREATE and RENAME of a mailbox below it.
    CreateBelow,
    /// DELETE and RENAME.
    Delete,
    /// EXPUNGE, and what MOVE does at the source.
    Expunge,
    /// MOVE from it, which sets `\Deleted` and expunges (RFC 6851 §4.2).
    MoveAway,
    /// GETACL, SETACL, DELETEACL, LISTRIGHTS.
    Administer,
    /// MYRIGHTS.
    AskRights,
    /// GETMETADATA, SETMETADATA (RFC 5464 §3.3).
    Annotate,
}

/// Of these, besides `l`, one is needed for annotations.
const ANNOTATING: Rights =
    Rights::READ.with(Rights::SEEN).with(Rights::WRITE).with(Rights::INSERT).with(Rights::POST);

impl Deed {
    fn is_allowed(self, rights: Rights) -> bool {
        match self {
            Self::See => rights.contains(Rights::LOOKUP),
            Self::Read => rights.contains(Rights::READ),
            Self::Insert => rights.contains(Rights::INSERT),
            Self::CreateBelow => rights.contains(Rights::CREATE),
            Self::Delete => rights.contains(Rights::DELETE_MAILBOX),
            Self::Expunge => rights.contains(Rights::EXPUNGE),
            Self::MoveAway => rights.contains(Rights::DELETE.with(Rights::EXPUNGE)),
            Self::Administer => rights.contains(Rights::ADMINISTER),
            Self::AskRights => rights.intersects(Rights::VISIBLE),
            Self::Annotate => rights.contains(Rights::LOOKUP) && rights.intersects(ANNOTATING),
        }
    }
}

/// Says whether somebody with `rights` may do it. Without `l` the answer doesn't tell that there is such a
/// mailbox (RFC 4314 §6).
pub fn permit(rights: Rights, deed: Deed) -> Result<(), Completion> {
    if deed.is_allowed(rights) {
        Ok(())
    } else if Deed::See.is_allowed(rights) {
        Err(NO_PERMISSION)
    } else {
        Err(NO_SUCH_MAILBOX)
    }
}

/// Finds out whose mailbox a name means; whether there is one isn't looked at.
pub async fn find(shard: &Shard, asker: Asker, argument: &MailboxArgument) -> Result<Place, Completion> {
    match &argument.name {
        Ok(name) => find_name(shard, asker, name).await,
        Err(_) => Err(NO_SUCH_MAILBOX),
    }
}

/// As [`find`], for a name.
pub async fn find_name(shard: &Shard, asker: Asker, name: &MailboxName) -> Result<Place, Completion> {
    if !name.is_of_others() {
        return Ok(Place { account: asker.user, name: name.clone(), prefix: "".into() });
    }
    let mut parts = name.as_str().splitn(3, MailboxName::SEPARATOR).skip(1);
    let (Some(owner), Some(rest)) = (parts.next(), parts.next()) else { return Err(NO_SUCH_MAILBOX) };
    let (Ok(owner), Ok(name)) = (AccountName::new(owner), MailboxName::new(rest)) else {
        return Err(NO_SUCH_MAILBOX);
    };
    shard.shared.reads.calm().await;
    let reader = shard.shared.store.reader();
    let account = Directory::new(reader.snapshot())
        .account_by_name(&owner)
        .map_err(|error| answers::store_failed(&StoreError::Engine(error), asker.id))?;
    match account {
        // The own mailboxes have their plain names only.
        Some(account) if account.id != asker.user => {
            Ok(Place { account: account.id, name, prefix: prefix(&account.name) })
        }
        _ => Err(NO_SUCH_MAILBOX),
    }
}

/// Whether the asker's account is still in the directory. At its home an account that is removed ends its
/// sessions; one that is away asks before each command.
pub async fn exists(shard: &Shard, asker: Asker) -> bool {
    shard.shared.reads.calm().await;
    let reader = shard.shared.store.reader();
    match Directory::new(reader.snapshot()).account(asker.user) {
        Ok(account) => account.is_some(),
        Err(failed) => {
            error!(cid = %asker.id, error = %failed, "the directory could not be read");
            false
        }
    }
}

/// How the asker knows a mailbox of some account.
pub async fn told(shard: &Shard, asker: Asker, account: AccountId, name: &MailboxName) -> String {
    if account == asker.user {
        return name.to_string();
    }
    shard.shared.reads.calm().await;
    let reader = shard.shared.store.reader();
    // One that was just removed from the directory has no name any more.
    let owner = Directory::new(reader.snapshot()).account(account).ok().flatten();
    owner.map_or_else(|| name.to_string(), |owner| format!("{}{name}", prefix(&owner.name)))
}

fn prefix(owner: &AccountName) -> Box<str> {
    let separator = MailboxName::SEPARATOR;
    format!("{}{separator}{owner}{separator}", MailboxName::OTHER_USERS).into()
}

/// Runs work at the home of an account and waits for what it gives.
pub async fn at<T: Send + 'static>(
    shard: &Rc<Shard>,
    id: ConnectionId,
    account: AccountId,
    work: impl FnOnce(Rc<Shard>, Rc<AccountHandle>) -> Local<Result<T, Completion>> + Send + 'static,
) -> Result<T, Completion> {
    if shard.home_of(account) == shard.id {
        let handle = open(shard, id, account).await?;
        return work(Rc::clone(shard), handle).await;
    }
    let there = shard.at_home(account, move |shard| {
        Box::pin(async move {
            let handle = open(&shard, id, account).await?;
            work(shard, handle).await
        })
    });
    // A shard that has ended: the server stops.
    there.await.unwrap_or(Err(UNAVAILABLE))
}

async fn open(shard: &Shard, id: ConnectionId, account: AccountId) -> Result<Rc<AccountHandle>, Completion> {
    match shard.accounts.get(account).await {
        Ok(handle) => Ok(handle),
        Err(LoadError::Removed) => Err(NO_SUCH_MAILBOX),
        Err(failed) => {
            error!(cid = %id, %account, error = %failed, "an account could not be loaded");
            Err(UNAVAILABLE)
        }
    }
}

/// A mailbox, and what the asker may do with it.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its owner.
    pub account: AccountId,
    /// The mailbox.
    pub mailbox: MailboxId,
    /// Its row.
    pub row: Arc<MailboxRow>,
    /// The asker's rights.
    pub rights: Rights,
}

/// Finds a mailbox in its account, if the asker may do this with it.
pub fn enter(state: &Account, asker: Asker, name: &MailboxName, deed: Deed) -> Result<Found, Completion> {
    let mailbox = state.mailbox_id(name).ok_or(NO_SUCH_MAILBOX)?;
    let row = state.mailbox(mailbox).ok_or(NO_SUCH_MAILBOX)?;
    let rights = state.rights(mailbox, asker.user, asker.anyone);
    permit(rights, deed)?;
    Ok(Found { account: state.id(), mailbox, row: Arc::clone(row), rights })
}

/// [`enter`] at the home of the place.
pub async fn visit(shard: &Rc<Shard>, asker: Asker, place: &Place, deed: Deed) -> Result<Found, Completion> {
    let name = place.name.clone();
    at(shard, asker.id, place.account, move |_, account| {
        Box::pin(async move { enter(&account.state(), asker, &name, deed) })
    })
    .await
}

/// Whether the asker may make a mailbox of that name: that takes `k` on the nearest one above that exists
/// (RFC 4314 §4, CREATE), and at the top the account has to be the asker's.
pub fn permit_create(state: &Account, asker: Asker, name: &MailboxName) -> Result<(), Completion> {
    let mut above = name.parent();
    while let Some(parent) = above {
        if let Some(mailbox) = state.mailbox_id(&parent) {
            let rights = state.rights(mailbox, asker.user, asker.anyone);
            return if Deed::CreateBelow.is_allowed(rights) { Ok(()) } else { Err(NO_PERMISSION) };
        }
        above = parent.parent();
    }
    if state.id() == asker.user { Ok(()) } else { Err(NO_PERMISSION) }
}

/// A mailbox of another user that the asker sees.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The asker's name for it.
    pub name: MailboxName,
    /// The mailbox.
    pub found: Found,
}

/// All mailboxes of others that the asker sees. Costs what is shared with it, and one row when nothing is.
pub async fn shared_with(shard: &Rc<Shard>, asker: Asker) -> Result<Vec<Shared>, Completion> {
    shard.shared.reads.calm().await;
    let listed = {
        let reader = shard.shared.store.reader();
        if is_shared_with(&reader, asker).map_err(|error| answers::store_failed(&error, asker.id))? {
            let store = Arc::clone(&shard.shared.store);
            Some(shard.shared.pool.run(move || listed(&store.reader(), asker)))
        } else {
            None
        }
    };
    let Some(listed) = listed else { return Ok(Vec::new()) };
    let listed = listed.await.map_err(|_| UNAVAILABLE)?;
    let listed = listed.map_err(|error| answers::store_failed(&error, asker.id))?;
    let mut shared = Vec::new();
    for (owner, (prefix, mailboxes)) in listed {
        let found = at(shard, asker.id, owner, move |_, account| {
            Box::pin(async move {
                let state = account.state();
                let seen = |mailbox| {
                    let row = state.mailbox(mailbox)?;
                    enter(&state, asker, &row.name, Deed::See).ok()
                };
                Ok(mailboxes.into_iter().filter_map(seen).collect::<Vec<_>>())
            })
        });
        // An account that is just being removed has no mailboxes any more.
        for found in found.await.unwrap_or_default() {
            // A name that is too long with the owner's before it can't be told.
            if let Ok(name) = MailboxName::new(&format!("{prefix}{}", found.row.name)) {
                shared.push(Shared { name, found });
            }
        }
    }
    Ok(shared)
}

/// Whether anything of others is shared with the asker.
pub fn is_shared_with(reader: &Reader, asker: Asker) -> Result<bool, StoreError> {
    for who in grantees(asker) {
        for row in reader.prefix(&keys::shared_with(who)) {
            if keys::shared_parts(&row?.0)?.1 != asker.user {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn grantees(asker: Asker) -> impl Iterator<Item = Grantee> {
    let me = Grantee::Account(asker.user);
    [Some(me), asker.anyone.then_some(Grantee::Anyone)].into_iter().flatten()
}

type Listed = BTreeMap<AccountId, (Box<str>, BTreeSet<MailboxId>)>;

/// What the index says: owners, how names of their mailboxes begin, and the mailboxes.
fn listed(reader: &Reader, asker: Asker) -> Result<Listed, StoreError> {
    let directory = Directory::new(reader.snapshot());
    let mut listed = Listed::new();
    let rows = grantees(asker).flat_map(|who| reader.prefix(&keys::shared_with(who)));
    for row in rows.take(SHARED_MAX) {
        let (_, owner, mailbox) = keys::shared_parts(&row?.0)?;
        if owner == asker.user {
            continue;
        }
        if let Some((_, mailboxes)) = listed.get_mut(&owner) {
            mailboxes.insert(mailbox);
        } else if let Some(account) = directory.account(owner)? {
            listed.insert(owner, (prefix(&account.name), BTreeSet::from([mailbox])));
        }
    }
    Ok(listed)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const DEEDS: [(Deed, &str); 9] = [
        (Deed::See, "l"),
        (Deed::Read, "r"),
        (Deed::Insert, "i"),
        (Deed::CreateBelow, "k"),
        (Deed::Delete, "x"),
        (Deed::Expunge, "e"),
        (Deed::MoveAway, "te"),
        (Deed::Administer, "a"),
        (Deed::AskRights, "l"),
    ];

    #[test]
    fn each_deed_needs_its_rights_and_no_others() {
        for (deed, needed) in DEEDS {
            let needed = Rights::parse(needed).unwrap();
            assert!(permit(needed, deed).is_ok(), "{deed:?}");
            for right in needed.iter() {
                let lacking = permit(Rights::ALL.without(right), deed);
                assert_eq!(lacking.is_ok(), deed == Deed::AskRights, "{deed:?} without {right}");
            }
        }
        for right in Rights::ALL.iter() {
            let asks = "lrikxa".contains(&right.to_string()[..1]);
            assert_eq!(permit(right, Deed::AskRights).is_ok(), asks, "{right}");
            let annotates = "rswip".contains(&right.to_string()[..1]);
            assert_eq!(permit(right.with(Rights::LOOKUP), Deed::Annotate).is_ok(), annotates, "{right}");
            assert!(permit(right.without(Rights::LOOKUP), Deed::Annotate).is_err(), "{right}");
        }
    }

    #[test]
    fn who_may_not_see_a_mailbox_is_not_told_of_it() {
        for (deed, needed) in DEEDS {
            let refused = |rights| permit(rights, deed).unwrap_err().text;
            let lacking = Rights::ALL.without(Rights::parse(needed).unwrap());
            if deed != Deed::AskRights {
                let hidden = refused(lacking.without(Rights::LOOKUP));
                assert_eq!(hidden, NO_SUCH_MAILBOX.text, "{deed:?}");
            }
            if lacking.contains(Rights::LOOKUP) {
                assert_eq!(refused(lacking), NO_PERMISSION.text, "{deed:?}");
            }
        }
    }
}
