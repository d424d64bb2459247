//! GETMETADATA and SETMETADATA (RFC 5464), annotations in LIST (RFC 9590), special use as an annotation
//! (RFC 6154 §4).
//!
//! Private annotations are the user's own, shared ones the mailbox's. Those of the server are kept in the
//! account, shared ones too: nobody leaves notes for the users of other accounts.

use std::collections::BTreeMap;

use postrider_proto::imap::command::{Depth, GetMetadata, MailboxArgument, SetMetadata, SpecialUse as Use};
use postrider_proto::imap::metadata::{EntryName, Scope};
use postrider_proto::imap::response::{Code, write_metadata};
use postrider_proto::imap::types::ModSeq;
use postrider_storage::account::Tx;
use postrider_storage::ids::{AccountId, MailboxId};
use postrider_storage::keys::{self, MetadataPlace};
use postrider_storage::reader::Reader;
use postrider_storage::rows::SpecialUse;
use postrider_storage::store::{Refusal, StoreError};

use super::mailboxes::stored_use;
use crate::imap::answers;
use crate::imap::session::{AccountContext, Completion, CompletionCode, Ended};
use crate::imap::sync::ACCOUNT_BROKEN;
use crate::shard::Shard;

/// `/private/specialuse` of a mailbox (RFC 6154 §4), without its scope.
pub(in crate::imap) const SPECIAL_USE: &str = "/specialuse";
/// `/shared/admin` of the server (RFC 5464 §6.2.2), without its scope: how to reach the postmaster.
const ADMIN: &str = "/admin";

/// Values by name; none is NIL.
type Values = BTreeMap<EntryName, Option<Vec<u8>>>;

/// GETMETADATA.
pub(in crate::imap) async fn get(
    context: &mut AccountContext<'_>,
    command: GetMetadata,
) -> Result<Completion, Ended> {
    let name = match &command.mailbox {
        None => None,
        Some(MailboxArgument { name: Ok(name), .. }) => Some(name),
        Some(_) => return Ok(answers::NO_SUCH_MAILBOX),
    };
    let account = &context.member.account;
    let mailbox = match name {
        None => None,
        Some(name) => match account.state().mailbox_id(name) {
            Some(mailbox) => Some(mailbox),
            None => return Ok(answers::NO_SUCH_MAILBOX),
        },
    };
    account.reads().calm().await;
    let read = {
        let reader = account.reader();
        let asked = Asked { account: account.id(), mailbox, admin: admin(context.shard) };
        reader.head(account.id()).and_then(|head| Ok((head, asked.read(&reader, &command)?)))
    };
    let (head, mut values) = match read {
        Ok((Some(head), values)) => (head, values),
        Ok((None, _)) => return Ok(answers::NO_SUCH_MAILBOX),
        Err(error) => return Ok(answers::store_failed(&error, context.id)),
    };
    // A commit may be on its way to the disk: nothing is told that a power loss could take back.
    account.installed(head.modseq).await;
    if account.is_broken() {
        return Err(ACCOUNT_BROKEN);
    }
    let longest = leave_out(&mut values, command.max_size);
    if !values.is_empty() {
        let (out, utf8) = (&mut context.out.buffer, context.member.enabled.utf8);
        let name = name.map_or("", |name| name.as_str());
        write_metadata(out, utf8, name, values.iter().map(|(entry, value)| (entry, value.as_deref())));
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
                            let place = place(self.account, self.mailbox, entry.scope());
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
            let place = place(self.account, self.mailbox, scope);
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
                if let Some(uses) = special_use(row.special_use) {
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

/// The annotations of a scope, for the user of an account.
const fn place(account: AccountId, mailbox: Option<MailboxId>, scope: Scope) -> MetadataPlace {
    let user = match scope {
        Scope::Private => Some(account),
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
    let name = match mailbox {
        None => None,
        Some(MailboxArgument { name: Ok(name), .. }) => Some(name),
        Some(_) => return Ok(answers::NO_SUCH_MAILBOX),
    };
    let mut wanted = Vec::with_capacity(values.len());
    for (entry, value) in values {
        wanted.push(match (entry.scope(), entry.path(), &name) {
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
    let account = context.member.account.id();
    let set = context.transact(move |tx| {
        let mailbox = match &name {
            None => None,
            Some(name) => Some(tx.mailbox_id(name).ok_or(Refusal::NoSuchMailbox)?),
        };
        wanted.into_iter().try_for_each(|wanted| apply(tx, account, mailbox, wanted))
    });
    let outcome = set.await;
    Ok(context.outcome(outcome, "done"))
}

fn apply(
    tx: &mut Tx<'_, '_>,
    account: AccountId,
    mailbox: Option<MailboxId>,
    wanted: Wanted,
) -> Result<(), StoreError> {
    match (wanted, mailbox) {
        (Wanted::Row(entry, value), _) => {
            tx.set_metadata(place(account, mailbox, entry.scope()), entry.path(), value.as_deref())
        }
        (Wanted::SpecialUse(uses), Some(mailbox)) => tx.set_special_use(mailbox, uses),
        // Of the server it is an entry like any other.
        (Wanted::SpecialUse(_), None) => Ok(()),
    }
}

/// Annotations of all mailboxes, for LIST.
pub(super) struct Listed {
    entries: Vec<EntryName>,
    values: BTreeMap<MailboxId, Values>,
    /// The moment of reading; none when nothing was read.
    pub(super) moment: Option<ModSeq>,
}

impl Listed {
    /// Reads those of `entries` that any mailbox has: an account has at most a thousand.
    pub(super) fn read(
        reader: &Reader,
        account: AccountId,
        entries: Vec<EntryName>,
    ) -> Result<Self, StoreError> {
        let mut values = BTreeMap::<MailboxId, Values>::new();
        if entries.is_empty() {
            return Ok(Self { entries, values, moment: None });
        }
        let moment = reader.head(account)?.map(|head| head.modseq);
        for row in reader.metadata_in(&keys::of_table(account.get(), keys::table::METADATA)) {
            let (place, path, row) = row?;
            let scope = match place.user {
                None => Scope::Shared,
                Some(user) if user == account => Scope::Private,
                Some(_) => continue,
            };
            let entry = EntryName::of(scope, &path);
            if let Some(mailbox) = place.mailbox
                && entries.contains(&entry)
            {
                values.entry(mailbox).or_default().insert(entry, Some(row.value.into_vec()));
            }
        }
        Ok(Self { entries, values, moment })
    }

    /// Whether there is anything to tell.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Appends METADATA of a mailbox, after its LIST (RFC 9590 §3).
    pub(super) fn tell(
        &self,
        context: &mut AccountContext<'_>,
        (mailbox, name): (MailboxId, &str),
        uses: SpecialUse,
    ) {
        let uses = special_use(uses);
        let found = self.values.get(&mailbox);
        let values = self.entries.iter().map(|entry| {
            let value = match (entry.scope(), entry.path()) {
                (Scope::Private, SPECIAL_USE) => uses.as_deref(),
                _ => found.and_then(|found| found.get(entry)?.as_deref()),
            };
            (entry, value)
        });
        write_metadata(&mut context.out.buffer, context.member.enabled.utf8, name, values);
    }
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
