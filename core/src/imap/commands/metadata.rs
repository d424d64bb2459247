//! GETMETADATA and SETMETADATA (RFC 5464), annotations in LIST (RFC 9590), special use as an annotation
//! (RFC 6154 §4).
//!
//! Private annotations are the user's own, shared ones the mailbox's; all of them are kept in the account of the
//! mailbox, and half of the room for them is for its owner alone. Those of the server are kept in the user's
//! account, shared ones too: nobody leaves notes there for the users of other accounts.

use std::collections::{BTreeMap, BTreeSet};

use postrider_proto::imap::command::{Depth, GetMetadata, MailboxArgument, SetMetadata, SpecialUse as Use};
use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::imap::metadata::{EntryName, Scope};
use postrider_proto::imap::response::{Code, write_metadata};
use postrider_storage::account::Tx;
use postrider_storage::ids::{AccountId, MailboxId};
use postrider_storage::keys::{self, MetadataPlace};
use postrider_storage::reader::Reader;
use postrider_storage::rows::SpecialUse;
use postrider_storage::store::{Refusal, StoreError};

use super::mailboxes::{NOT_ONES_OWN, stored_use};
use crate::accounts::AccountHandle;
use crate::imap::answers;
use crate::imap::places::{self, Asker, Deed, Found, Place, permit};
use crate::imap::session::{AccountContext, Completion, CompletionCode, Ended};
use crate::imap::sync::ACCOUNT_BROKEN;
use crate::shard::Shard;

/// `/private/specialuse` of a mailbox (RFC 6154 §4), without its scope.
pub(in crate::imap) const SPECIAL_USE: &str = "/specialuse";
/// `/shared/admin` of the server (RFC 5464 §6.2.2), without its scope: how to reach the postmaster.
const ADMIN: &str = "/admin";

/// Values by name; none is NIL.
type Values = BTreeMap<EntryName, Option<Vec<u8>>>;

/// Whose mailbox is annotated; none means the server.
async fn find(
    context: &AccountContext<'_>,
    mailbox: Option<&MailboxArgument>,
) -> Result<Option<Place>, Completion> {
    match mailbox {
        Some(mailbox) => places::find(context.shard, context.asker(), mailbox).await.map(Some),
        None => Ok(None),
    }
}

/// The mailbox at its home, when the asker may use its annotations.
fn enter(
    account: &AccountHandle,
    asker: Asker,
    name: Option<&MailboxName>,
) -> Result<Option<MailboxId>, Completion> {
    let found = name.map(|name| places::enter(&account.state(), asker, name, Deed::Annotate));
    Ok(found.transpose()?.map(|found| found.mailbox))
}

/// GETMETADATA.
pub(in crate::imap) async fn get(
    context: &mut AccountContext<'_>,
    command: GetMetadata,
) -> Result<Completion, Ended> {
    let (asker, id) = (context.asker(), context.id);
    let place = match find(context, command.mailbox.as_ref()).await {
        Ok(place) => place,
        Err(refused) => return Ok(refused),
    };
    let account = place.as_ref().map_or(asker.user, |place| place.account);
    let told = place.as_ref().map_or_else(String::new, |place| place.told(&place.name));
    let max_size = command.max_size;
    let read = places::at(context.shard, id, account, move |shard, account| {
        Box::pin(async move {
            let mailbox = enter(&account, asker, place.as_ref().map(|place| &place.name))?;
            account.reads().calm().await;
            let read = {
                let reader = account.reader();
                let (user, admin) = (asker.user, admin(&shard));
                let asked = Asked { account: account.id(), mailbox, user, admin };
                reader.head(account.id()).and_then(|head| Ok((head, asked.read(&reader, &command)?)))
            };
            let (head, values) = match read {
                Ok((Some(head), values)) => (head, values),
                Ok((None, _)) => return Err(answers::NO_SUCH_MAILBOX),
                Err(error) => return Err(answers::store_failed(&error, id)),
            };
            // A commit may be on its way to the disk: nothing is told that a power loss could take back.
            account.installed(head.modseq).await;
            if account.is_broken() { Err(places::UNAVAILABLE) } else { Ok(values) }
        })
    });
    let read = read.await;
    if context.member.account.is_broken() {
        return Err(ACCOUNT_BROKEN);
    }
    let mut values = match read {
        Ok(values) => values,
        Err(refused) => return Ok(refused),
    };
    let longest = leave_out(&mut values, max_size);
    if !values.is_empty() {
        let (out, utf8) = (&mut context.out.buffer, context.member.enabled.utf8);
        write_metadata(out, utf8, &told, values.iter().map(|(entry, value)| (entry, value.as_deref())));
    }
    let completion = Completion::ok("done");
    Ok(match longest {
        Some(octets) => completion.with(CompletionCode::Plain(Code::MetadataLongEntries(octets))),
        None => completion,
    })
}

/// Leaves out values that are too long; the longest of them.
fn leave_out(values: &mut Values, max_size: Option<u64>) -> Option<u64> {
    let max_size = max_size?;
    let mut longest = None;
    values.retain(|_, value| {
        let octets = value.as_ref().map_or(0, Vec::len) as u64;
        if octets > max_size {
            longest = longest.max(Some(octets));
        }
        octets <= max_size
    });
    longest
}

/// Whose annotations are asked for.
struct Asked {
    account: AccountId,
    mailbox: Option<MailboxId>,
    /// Who asks: private annotations are those of this user.
    user: AccountId,
    admin: Option<String>,
}

impl Asked {
    /// The entries that a command asks for. An entry that is named and has no value is NIL; with a DEPTH
    /// only those that are there are told.
    fn read(&self, reader: &Reader, command: &GetMetadata) -> Result<Values, StoreError> {
        let mut values = Values::new();
        let computed = self.computed(reader)?;
        let levels_max = match command.depth {
            Depth::Zero => {
                for entry in &command.entries {
                    let value = match computed.get(entry) {
                        Some(value) => Some(value.clone()),
                        None => {
                            let place = place(self.user, self.mailbox, entry.scope());
                            let row = reader.metadata(self.account, place, entry.path())?;
                            row.map(|row| row.value.into_vec())
                        }
                    };
                    values.insert(entry.clone(), value);
                }
                return Ok(values);
            }
            Depth::One => 1,
            Depth::Infinity => usize::MAX,
        };
        let is_asked = |found: &EntryName| {
            command.entries.iter().any(|entry| {
                let levels = entry.levels_above(found.path());
                entry.scope() == found.scope() && levels.is_some_and(|levels| levels <= levels_max)
            })
        };
        for scope in [Scope::Private, Scope::Shared] {
            let place = place(self.user, self.mailbox, scope);
            // An account has at most a thousand of them.
            for row in reader.metadata_in(&keys::metadata_at(self.account, place)) {
                let (_, path, row) = row?;
                let entry = EntryName::of(scope, &path);
                if is_asked(&entry) {
                    values.insert(entry, Some(row.value.into_vec()));
                }
            }
        }
        let computed = computed.into_iter().filter(|(entry, _)| is_asked(entry));
        values.extend(computed.map(|(entry, value)| (entry, Some(value))));
        Ok(values)
    }

    /// Entries that no row holds.
    fn computed(&self, reader: &Reader) -> Result<BTreeMap<EntryName, Vec<u8>>, StoreError> {
        let mut computed = BTreeMap::new();
        match self.mailbox {
            Some(mailbox) => {
                let row = reader.mailbox(self.account, mailbox)?.ok_or(Refusal::NoSuchMailbox)?;
                // To others it is a mailbox like any other.
                if let Some(uses) = special_use(row.special_use).filter(|_| self.user == self.account) {
                    computed.insert(EntryName::of(Scope::Private, SPECIAL_USE), uses);
                }
            }
            None => {
                let admin = self.admin.as_ref().map(|admin| admin.clone().into_bytes());
                computed.extend(admin.map(|admin| (EntryName::of(Scope::Shared, ADMIN), admin)));
            }
        }
        Ok(computed)
    }
}

/// How the postmaster is reached, when somebody reads that mail.
fn admin(shard: &Shard) -> Option<String> {
    let config = &shard.shared.config;
    config.postmaster.as_ref().map(|_| format!("mailto:postmaster@{}", config.hostname))
}

/// The annotations of a scope, for a user.
const fn place(user: AccountId, mailbox: Option<MailboxId>, scope: Scope) -> MetadataPlace {
    let user = match scope {
        Scope::Private => Some(user),
        Scope::Shared => None,
    };
    MetadataPlace { mailbox, user }
}

/// The value of `/private/specialuse`.
fn special_use(uses: SpecialUse) -> Option<Vec<u8>> {
    let names = SpecialUse::ALL.iter().filter(|(one, _)| uses.contains(*one)).map(|(_, name)| *name);
    let names = names.collect::<Vec<_>>();
    (!names.is_empty()).then(|| names.join(" ").into_bytes())
}

/// Reads a new value of `/private/specialuse`; none when it names a use that isn't known.
fn read_special_use(value: Option<&[u8]>) -> Option<SpecialUse> {
    let text = std::str::from_utf8(value.unwrap_or_default()).ok()?;
    text.split_ascii_whitespace().try_fold(SpecialUse::NONE, |all, name| {
        let known = Use::ALL.into_iter().find(|known| known.attribute().eq_ignore_ascii_case(name))?;
        Some(all.with(stored_use(known)))
    })
}

/// A value that is to be set.
enum Wanted {
    Row(EntryName, Option<Box<[u8]>>),
    SpecialUse(SpecialUse),
}

/// SETMETADATA: all of it, or nothing.
pub(in crate::imap) async fn set(
    context: &mut AccountContext<'_>,
    command: SetMetadata,
) -> Result<Completion, Ended> {
    let SetMetadata { mailbox, values } = command;
    let (asker, id) = (context.asker(), context.id);
    let place = match find(context, mailbox.as_ref()).await {
        Ok(place) => place,
        Err(refused) => return Ok(refused),
    };
    let is_guest = place.as_ref().is_some_and(Place::is_of_others);
    let mut wanted = Vec::with_capacity(values.len());
    for (entry, value) in values {
        wanted.push(match (entry.scope(), entry.path(), &place) {
            (Scope::Private, SPECIAL_USE, Some(_)) if is_guest => return Ok(NOT_ONES_OWN),
            (Scope::Private, SPECIAL_USE, Some(_)) => match read_special_use(value.as_deref()) {
                Some(uses) => Wanted::SpecialUse(uses),
                None => {
                    return Ok(Completion::refused(Code::UseAttr, "special use is not supported"));
                }
            },
            (Scope::Shared, ADMIN, None) => {
                return Ok(Completion::refused(Code::NoPerm, "this entry is read-only"));
            }
            _ => Wanted::Row(entry, value),
        });
    }
    let account = place.as_ref().map_or(asker.user, |place| place.account);
    let origin = context.origin(account);
    let set = places::at(context.shard, id, account, move |_, account| {
        Box::pin(async move {
            let mailbox = enter(&account, asker, place.as_ref().map(|place| &place.name))?;
            let set = account.transact(origin, None, move |tx| {
                wanted.into_iter().try_for_each(|wanted| {
                    let adds = matches!(wanted, Wanted::Row(_, Some(_)));
                    if is_guest && adds && !tx.has_room_for_guests()? {
                        return Err(Refusal::TooManyAnnotations.into());
                    }
                    apply(tx, asker.user, mailbox, wanted)
                })
            });
            set.await.map_err(|error| answers::write_failed(&error, id))
        })
    });
    Ok(set.await.err().unwrap_or(Completion::ok("done")))
}

fn apply(
    tx: &mut Tx<'_, '_>,
    user: AccountId,
    mailbox: Option<MailboxId>,
    wanted: Wanted,
) -> Result<(), StoreError> {
    match (wanted, mailbox) {
        (Wanted::Row(entry, value), _) => {
            tx.set_metadata(place(user, mailbox, entry.scope()), entry.path(), value.as_deref())
        }
        (Wanted::SpecialUse(uses), Some(mailbox)) => tx.set_special_use(mailbox, uses),
        // Of the server it is an entry like any other.
        (Wanted::SpecialUse(_), None) => Ok(()),
    }
}

/// Annotations of the mailboxes of some accounts, for LIST.
pub(super) struct Listed {
    entries: Vec<EntryName>,
    values: BTreeMap<(AccountId, MailboxId), Values>,
}

impl Listed {
    /// Reads those of `entries` that any mailbox of the accounts has for a user: an account has at most a
    /// thousand annotations.
    pub(super) async fn read(
        context: &AccountContext<'_>,
        accounts: BTreeSet<AccountId>,
        entries: Vec<EntryName>,
    ) -> Result<Self, Completion> {
        let mut listed = Self { entries, values: BTreeMap::new() };
        if listed.entries.is_empty() {
            return Ok(listed);
        }
        let (user, id) = (context.asker().user, context.id);
        for account in accounts {
            let entries = listed.entries.clone();
            let read = places::at(context.shard, id, account, move |_, account| {
                Box::pin(async move {
                    account.reads().calm().await;
                    let read = {
                        let reader = account.reader();
                        let head = reader.head(account.id());
                        head.and_then(|head| Ok((head, read(&reader, account.id(), user, &entries)?)))
                    };
                    let (head, values) = read.map_err(|error| answers::store_failed(&error, id))?;
                    if let Some(head) = head {
                        // A commit may be on its way to the disk: nothing is told that a power loss could
                        // take back.
                        account.installed(head.modseq).await;
                    }
                    Ok(values)
                })
            });
            match read.await {
                Ok(values) => {
                    listed.values.extend(values.into_iter().map(|(at, values)| ((account, at), values)));
                }
                // What is just being removed has none any more.
                Err(_) if account != user => {}
                Err(refused) => return Err(refused),
            }
        }
        Ok(listed)
    }

    /// Whether there is anything to tell.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Appends METADATA of a mailbox, after its LIST (RFC 9590 §3), when the asker may know it.
    pub(super) fn tell(&self, context: &mut AccountContext<'_>, name: &str, found: &Found) {
        if permit(found.rights, Deed::Annotate).is_err() {
            return;
        }
        let is_own = found.account == context.asker().user;
        let uses = special_use(found.row.special_use).filter(|_| is_own);
        let known = self.values.get(&(found.account, found.mailbox));
        let values = self.entries.iter().map(|entry| {
            let value = match (entry.scope(), entry.path()) {
                (Scope::Private, SPECIAL_USE) => uses.as_deref(),
                _ => known.and_then(|known| known.get(entry)?.as_deref()),
            };
            (entry, value)
        });
        write_metadata(&mut context.out.buffer, context.member.enabled.utf8, name, values);
    }
}

/// Those of `entries` that mailboxes of an account have for a user.
fn read(
    reader: &Reader,
    account: AccountId,
    user: AccountId,
    entries: &[EntryName],
) -> Result<BTreeMap<MailboxId, Values>, StoreError> {
    let mut values = BTreeMap::<MailboxId, Values>::new();
    for row in reader.metadata_in(&keys::of_table(account.get(), keys::table::METADATA)) {
        let (place, path, row) = row?;
        let scope = match place.user {
            None => Scope::Shared,
            Some(whose) if whose == user => Scope::Private,
            Some(_) => continue,
        };
        let entry = EntryName::of(scope, &path);
        if let Some(mailbox) = place.mailbox
            && entries.contains(&entry)
        {
            values.entry(mailbox).or_default().insert(entry, Some(row.value.into_vec()));
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_uses_are_written_and_read() {
        let uses = SpecialUse::SENT.with(SpecialUse::ARCHIVE);
        assert_eq!(special_use(uses).as_deref(), Some(b"\\Archive \\Sent".as_slice()));
        assert_eq!(read_special_use(Some(b"\\sent  \\Archive")), Some(uses));
        assert_eq!(special_use(SpecialUse::NONE), None);
        assert_eq!(read_special_use(None), Some(SpecialUse::NONE));
        assert_eq!(read_special_use(Some(b"")), Some(SpecialUse::NONE));
        for bad in [b"\\Nonsense".as_slice(), b"Sent", b"\xff"] {
            assert_eq!(read_special_use(Some(bad)), None);
        }
    }

    #[test]
    fn what_is_too_long_is_left_out_and_told() {
        let entry = |path| EntryName::of(Scope::Shared, path);
        let value = |octets| Some(vec![b'x'; octets]);
        let all: Values =
            [(entry("/a"), value(3)), (entry("/b"), value(5)), (entry("/c"), value(4)), (entry("/d"), None)]
                .into();
        let left = |max_size| {
            let mut values = all.clone();
            let longest = leave_out(&mut values, max_size);
            (values.len(), longest)
        };
        assert_eq!(left(None), (4, None));
        assert_eq!(left(Some(5)), (4, None));
        assert_eq!(left(Some(4)), (3, Some(5)));
        assert_eq!(left(Some(0)), (1, Some(5)));
    }
}
