//! ESEARCH in several mailboxes (RFC 7377), selected or not.
//!
//! Mailboxes are searched one after the other: the user's own in the order of their names, then those of
//! others that are named or subscribed, and that the user may look up and read (RFC 7377 §2.2, RFC 4314).
//! Each answer is of a moment of its own. Only the store is read, so a session that is at another user's
//! account needn't go home.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, OnceLock};

use postrider_proto::imap::command::{Esearch, MailboxArgument, SearchKey, SearchReturn, Source};
use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::imap::response::{Code, Condition, Correlator, SearchedMailbox};
use postrider_proto::imap::sequence::Numbering;
use postrider_proto::imap::types::{Keyword, UidValidity};
use postrider_proto::imap::uidset::UidSet;
use postrider_storage::ids::{AccountId, KeywordId, MailboxId};
use postrider_storage::keys::{self, table};
use postrider_storage::reader::Reader;
use postrider_storage::rows::{AclRow, MailboxRow};
use postrider_storage::store::{Store, StoreError};
use postrider_storage::text::Hits;

use super::search::{Failed, Found, Names, Place, Results, Tree, Wanted, Workers, find, write_results};
use crate::clock::unix_now;
use crate::imap::content::on_worker;
use crate::imap::places::{self, Deed, Shared, permit};
use crate::imap::progress::telling;
use crate::imap::session::{AccountContext, Completion, Ended};
use crate::runtime::yield_if_needed;

const NOT_SELECTED: Completion = Completion::bad("no mailbox is selected");
const NO_UPDATES: &str = "only the selected mailbox alone is watched";

/// Whether nothing but the selected mailbox is searched: that is a search like any other.
pub(in crate::imap) fn is_of_selected(command: &Esearch) -> bool {
    command.sources.iter().all(|source| *source == Source::Selected)
}

/// Searches several mailboxes.
pub(in crate::imap) async fn esearch(
    context: &mut AccountContext<'_>,
    command: Esearch,
) -> Result<Completion, Ended> {
    let Esearch { sources, search } = command;
    let returns = search.returns.unwrap_or(SearchReturn::ALL);
    let with_selected = sources.contains(&Source::Selected);
    if (with_selected || returns.update) && context.member.selected.is_none() {
        return Ok(NOT_SELECTED);
    }
    if returns.update {
        // RFC 5267 §4.3.1: the search is done all the same.
        let code = Code::NoUpdate(context.tag.as_str());
        context.out.untagged(Condition::No, Some(&code), NO_UPDATES);
    }
    let workers = Workers::new(context.shard, context.member.account.store());
    let targets = match list(&workers, context, &sources).await {
        Ok(listed) => listed,
        Err(Unlisted::Failed(failed)) => return Ok(failed.completion(context.id)),
        Err(Unlisted::Refused(refused)) => return Ok(refused),
    };
    let mut known = None;
    for target in &targets {
        let done = search_one(context, &workers, target, (&search.key, returns), &mut known).await?;
        if let Err(failed) = done {
            return Ok(failed.completion(context.id));
        }
        context.out.flush_if_full().await?;
        yield_if_needed().await;
    }
    Ok(Completion::ok("ESEARCH done"))
}

/// A mailbox to be searched.
struct Target {
    account: AccountId,
    mailbox: MailboxId,
    /// The user's name for it.
    name: String,
    validity: UidValidity,
    is_selected: bool,
}

/// What the text index said of the terms of the search: it holds in all mailboxes of the account.
type Known = Option<(AccountId, Arc<[Option<Hits>]>)>;

/// Searches a mailbox, and tells what was found in it.
async fn search_one(
    context: &mut AccountContext<'_>,
    workers: &Workers,
    target: &Target,
    (key, returns): (&SearchKey, SearchReturn),
    known: &mut Known,
) -> Result<Result<(), Failed>, Ended> {
    let selected = context.member.selected.as_ref().filter(|_| target.is_selected);
    let selected = selected.map(|selected| (selected.view.clone(), selected.saved.clone()));
    let (stored, keywords) = match stored(workers, target).await {
        Ok(stored) => stored,
        Err(failed) => return Ok(Err(failed)),
    };
    let (view, saved) = selected.unwrap_or((stored, UidSet::new()));
    if view.is_empty() {
        return Ok(Ok(()));
    }
    let mut tree = {
        let keyword = |keyword: &Keyword| {
            // The dictionary has at most u16::MAX keywords.
            let at = keywords.iter().position(|known| known == keyword)?;
            u16::try_from(at).ok().map(KeywordId)
        };
        let names =
            Names { account: target.account, now: unix_now(), view: &view, saved: &saved, keyword: &keyword };
        Tree::new(key, &names)
    };
    if let Some((_, hits)) = known.as_ref().filter(|(account, _)| *account == target.account) {
        tree.hits = OnceLock::from(Arc::clone(hits));
    }
    if tree.has_modseq {
        context.enable_condstore();
    }
    let tree = Arc::new(tree);
    let place = Place { account: target.account, mailbox: target.mailbox, view };
    let finding = find(workers, Arc::clone(&tree), &place, Wanted::of(Some(returns)));
    let found =
        match telling(context.member.limit.progress, context.out, context.tag, workers.counts(), finding)
            .await?
        {
            Ok(found) => found,
            Err(failed) => return Ok(Err(failed)),
        };
    if let Some(hits) = tree.hits.get() {
        *known = Some((target.account, Arc::clone(hits)));
    }
    tell(context, target, &place.view, returns, &found);
    Ok(Ok(()))
}

/// Tells what was found in a mailbox; nothing of one where nothing was found (RFC 7377 §2.1).
fn tell(
    context: &mut AccountContext<'_>,
    target: &Target,
    view: &UidSet,
    returns: SearchReturn,
    found: &Found,
) {
    if found.uids.is_empty() {
        return;
    }
    let utf8 = context.member.enabled.utf8;
    let mailbox = SearchedMailbox { name: &target.name, utf8, validity: target.validity };
    let correlator = Correlator { tag: context.tag, mailbox: Some(mailbox) };
    // What isn't watched has no updates to come.
    let returns = SearchReturn { update: false, ..returns };
    let results = Results::Set(&found.uids);
    write_results(&mut context.out.buffer, correlator, view, Numbering::Uid, returns, &results, found);
}

/// The messages of a mailbox, and the keywords of its account.
async fn stored(workers: &Workers, target: &Target) -> Result<(UidSet, Vec<Keyword>), Failed> {
    let place = (target.account, target.mailbox);
    let read = |(account, mailbox): &mut (AccountId, MailboxId), store: &Store| {
        let reader = store.reader();
        // Of one that was deleted meanwhile some rows may be left.
        let view = match reader.mailbox(*account, *mailbox)? {
            Some(_) => reader.uid_set(*account, *mailbox)?,
            None => UidSet::new(),
        };
        Ok::<_, StoreError>((view, reader.keywords(*account)?))
    };
    Ok(on_worker(workers.pool(), &workers.store, place, read).await?.1?)
}

/// What is listed of the user's own.
struct Listing {
    account: AccountId,
    /// Whether entries for anyone count.
    anyone: bool,
    filter: Arc<Filter>,
    /// The mailbox that is searched as SELECTED, and whose it is.
    selected: Option<(AccountId, MailboxId)>,
}

/// The user's own mailboxes that are to be searched, and what is subscribed when that is asked for.
type Own = (Vec<(MailboxId, MailboxRow)>, HashSet<MailboxName>);

/// Finds the mailboxes that are to be searched, each once.
async fn list(
    workers: &Workers,
    context: &AccountContext<'_>,
    sources: &[Source],
) -> Result<Vec<Target>, Unlisted> {
    let (member, asker) = (&context.member, context.asker());
    let selected = member.selected.as_ref().map(|selected| (member.account.id(), selected.mailbox));
    let as_selected = selected.filter(|_| sources.contains(&Source::Selected));
    let filter = Arc::new(Filter::new(sources));
    let listing = Listing {
        account: asker.user,
        anyone: asker.anyone,
        filter: Arc::clone(&filter),
        selected: as_selected,
    };
    let read = |listing: &mut Listing, store: &Store| listing.read(store);
    let (own, subscribed): Own = on_worker(workers.pool(), &workers.store, listing, read)
        .await
        .map_err(Failed::from)?
        .1
        .map_err(Failed::from)?;
    let target = |place: (AccountId, MailboxId), name: String, validity| Target {
        account: place.0,
        mailbox: place.1,
        name,
        validity,
        is_selected: selected == Some(place),
    };
    let own = own
        .into_iter()
        .map(|(mailbox, row)| target((asker.user, mailbox), row.name.to_string(), row.uid_validity));
    let mut targets: Vec<Target> = own.collect();
    if filter.may_name_others() {
        for Shared { name, found } in places::shared_with(context.shard, asker).await? {
            let is_meant = filter.names(&name) || subscribed.contains(&name);
            if is_meant && permit(found.rights, Deed::Read).is_ok() {
                let place = (found.account, found.mailbox);
                targets.push(target(place, name.to_string(), found.row.uid_validity));
            }
        }
    }
    let unlisted = as_selected.filter(|_| !targets.iter().any(|target| target.is_selected));
    // Copied: the state isn't held while the name is looked up.
    let unlisted =
        unlisted.and_then(|place| Some((place, member.account.state().mailbox(place.1).cloned()?)));
    if let Some(((account, mailbox), row)) = unlisted {
        let name = places::told(context.shard, asker, account, &row.name).await;
        targets.push(target((account, mailbox), name, row.uid_validity));
    }
    Ok(targets)
}

/// Why mailboxes could not be listed.
enum Unlisted {
    Failed(Failed),
    Refused(Completion),
}

impl From<Failed> for Unlisted {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

impl From<Completion> for Unlisted {
    fn from(refused: Completion) -> Self {
        Self::Refused(refused)
    }
}

impl Listing {
    fn read(&self, store: &Store) -> Result<Own, StoreError> {
        let reader = store.reader();
        let mut subscribed = HashSet::new();
        if self.filter.subscribed {
            let prefix = keys::of_table(self.account.get(), table::SUBSCRIPTION);
            for row in reader.prefix(&prefix) {
                let (key, _) = row?;
                let (_, _, name) = keys::split(&key)?;
                let name = std::str::from_utf8(name).ok().and_then(|name| MailboxName::new(name).ok());
                subscribed.extend(name);
            }
        }
        let mut found = BTreeMap::new();
        for mailbox in reader.mailboxes(self.account) {
            let (mailbox, row) = mailbox?;
            let is_selected = self.selected == Some((self.account, mailbox));
            let is_meant = self.filter.all || self.filter.names(&row.name) || subscribed.contains(&row.name);
            if is_selected || (is_meant && self.may_read(&reader, mailbox)?) {
                found.insert(row.name.clone(), (mailbox, row));
            }
        }
        Ok((found.into_values().collect(), subscribed))
    }

    /// Users may take the right to read from themselves (RFC 4314 §3).
    fn may_read(&self, reader: &Reader, mailbox: MailboxId) -> Result<bool, StoreError> {
        let Some(row) = reader.get(&keys::acl(self.account, mailbox))? else { return Ok(true) };
        let rights = AclRow::decode(&row)?.rights(self.account, self.account, self.anyone);
        Ok(permit(rights, Deed::Read).is_ok())
    }
}

/// Which mailboxes are meant, besides the selected one.
#[derive(Default)]
struct Filter {
    /// All of the user's own. INBOXES are treated as these: which mailboxes get mail is for the directory to say
    /// (RFC 5465 §6.3).
    all: bool,
    subscribed: bool,
    these: HashSet<MailboxName>,
    /// And those directly below.
    children: HashSet<MailboxName>,
    /// And all below.
    trees: HashSet<MailboxName>,
}

impl Filter {
    fn new(sources: &[Source]) -> Self {
        let mut filter = Self::default();
        // A name that can't be a mailbox's is one that isn't there.
        let names = |arguments: &[MailboxArgument]| -> Vec<MailboxName> {
            arguments.iter().filter_map(|argument| argument.name.clone().ok()).collect()
        };
        for source in sources {
            match source {
                Source::Selected => {}
                Source::Inboxes | Source::Personal => filter.all = true,
                Source::Subscribed => filter.subscribed = true,
                Source::Subtree(mailboxes) => filter.trees.extend(names(mailboxes)),
                Source::SubtreeOne(mailboxes) => filter.children.extend(names(mailboxes)),
                Source::Mailboxes(mailboxes) => filter.these.extend(names(mailboxes)),
            }
        }
        filter
    }

    /// Whether a mailbox is named, or below one that is.
    fn names(&self, name: &MailboxName) -> bool {
        let mut above = std::iter::successors(Some(name.clone()), MailboxName::parent);
        self.these.contains(name)
            || self.children.contains(name)
            || name.parent().is_some_and(|parent| self.children.contains(&parent))
            || (!self.trees.is_empty() && above.any(|name| self.trees.contains(&name)))
    }

    /// Whether mailboxes of others may be meant.
    fn may_name_others(&self) -> bool {
        self.subscribed || !(self.these.is_empty() && self.children.is_empty() && self.trees.is_empty())
    }
}
