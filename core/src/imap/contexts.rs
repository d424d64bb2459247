//! Searches whose results are told on: RETURN (UPDATE) (RFC 5267 §4.3).
//!
//! A live search knows the uids of its results, nothing else. Whenever changes are told, those messages
//! alone are searched again, and what differs is told as ADDTO and REMOVEFROM: so the cost is the number
//! of changes. What always holds after [`Context::sync`]: what a client made of the first results by all
//! ADDTO and REMOVEFROM is what the same search would find.

use std::sync::Arc;

use postrider_proto::imap::command::{SearchKey, SearchReturn, SortCriterion, Tag};
use postrider_proto::imap::response::{Code, Condition, Numbers, Update, write_update};
use postrider_proto::imap::sequence::{MessageSet, Numbering, SequenceNumber, SequenceRange, SequenceSet};
use postrider_proto::imap::types::Uid;
use postrider_proto::imap::uidset::UidSet;

use super::commands::search::{self, Failed};
use super::commands::sort;
use super::output::Output;
use super::session::{Completion, Context};

/// Live searches of a session.
const LIVE_MAX: usize = 16;
/// Octets that they take. One of any mailbox of 1,000,000 messages fits.
const LIVE_OCTETS_MAX: usize = 8 * 1024 * 1024;

/// UPDATE with the tag of a search that is live (RFC 5267 §4.3).
pub(super) const TAG_TAKEN: Completion = Completion::bad("updates with this tag are being told");

/// The live searches of a session.
#[derive(Default)]
pub(super) struct Contexts {
    live: Vec<Live>,
}

struct Live {
    tag: Tag,
    numbering: Numbering,
    /// Message numbers in it are replaced by the uids that they meant.
    key: SearchKey,
    /// The last message when it was searched: what `*` means among uids.
    last: Option<Uid>,
    results: LiveResults,
}

/// The results of a live search.
pub(super) enum LiveResults {
    /// In the order of the mailbox.
    Mailbox(UidSet),
    /// In the order of a sort.
    Sorted(Arc<[SortCriterion]>, Vec<Uid>),
}

/// What happened to messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Happened {
    /// They are new.
    Added,
    /// Their flags changed.
    Flagged,
}

impl Contexts {
    /// Whether no search is live.
    pub(super) fn is_empty(&self) -> bool {
        self.live.is_empty()
    }
}

/// Whether UPDATE is asked for under a tag that is taken.
pub(super) fn is_tag_taken(context: &Context<'_>, returns: Option<SearchReturn>) -> bool {
    returns.is_some_and(|returns| returns.update)
        && context.selected.contexts.live.iter().any(|live| live.tag == *context.tag)
}

/// Tells on from `results`, those of a search that was just answered; or says that there are too many.
/// None are results that weren't told whole.
pub(super) fn begin(
    context: &mut Context<'_>,
    numbering: Numbering,
    key: &SearchKey,
    results: Option<LiveResults>,
) {
    let selected = &mut *context.selected;
    if let Some(results) = results.filter(|_| selected.contexts.live.len() < LIVE_MAX) {
        let key = without_numbers(key, &selected.view, &selected.saved);
        let live = Live { tag: context.tag.clone(), numbering, key, last: selected.view.last(), results };
        let octets: usize = selected.contexts.live.iter().chain([&live]).map(Live::octets).sum();
        if octets <= LIVE_OCTETS_MAX {
            selected.contexts.live.push(live);
            return;
        }
    }
    refuse(context.out, context.tag);
}

fn refuse(out: &mut Output, tag: &Tag) {
    out.untagged(Condition::No, Some(&Code::NoUpdate(tag.as_str())), "updates aren't told");
}

/// CANCELUPDATE (RFC 5267 §4.3.5): all of the tags or none.
pub(super) fn cancel(context: &mut Context<'_>, tags: &[Box<str>]) -> Completion {
    let live = &mut context.selected.contexts.live;
    if tags.iter().any(|tag| live.iter().all(|live| live.tag.as_str() != &**tag)) {
        return Completion::no("no updates with this tag are told");
    }
    live.retain(|live| tags.iter().all(|tag| live.tag.as_str() != &**tag));
    Completion::ok("no further updates")
}

impl Context<'_> {
    /// Tells what removed messages mean for live searches. Call it while they have their numbers.
    pub(super) fn tell_removed_results(&mut self, gone: &UidSet) {
        let view = &self.selected.view;
        for live in &mut self.selected.contexts.live {
            live.remove(gone, view, &mut self.out.buffer);
        }
    }

    /// Tells what changed messages, all of which have numbers, mean for live searches.
    pub(super) async fn tell_changed_results(&mut self, changed: &UidSet, happened: Happened) {
        if changed.is_empty() || self.selected.contexts.is_empty() {
            return;
        }
        let changed = |live: &mut Live| {
            (happened == Happened::Added || depends_on_flags(&live.key)).then(|| changed.clone())
        };
        self.look_again(changed).await;
    }

    /// Tells what another last message means for live searches that name uids up to `*`, or `*` alone. Call it
    /// when new messages and removals are told.
    pub(super) async fn tell_last_results(&mut self) {
        let view = self.selected.view.clone();
        let last = view.last();
        if self.selected.contexts.live.iter().all(|live| live.last == last) {
            return;
        }
        let moved = |live: &mut Live| {
            let before = std::mem::replace(&mut live.last, last);
            let mut moved = UidSet::new();
            each_uid_set(&live.key, &mut |set| {
                let meant = before.map(|before| view.resolve_uids(&up_to(set, before))).unwrap_or_default();
                let means = view.resolve_uids(set);
                moved = moved.union(&meant.difference(&means)).union(&means.difference(&meant));
            });
            Some(moved).filter(|moved| !moved.is_empty())
        };
        self.look_again(moved).await;
    }

    /// Searches the messages again that `changed` gives for each live search.
    async fn look_again(&mut self, mut changed: impl FnMut(&mut Live) -> Option<UidSet>) {
        let all = std::mem::take(&mut self.selected.contexts.live);
        let mut kept = Vec::with_capacity(all.len());
        for mut live in all {
            let Some(changed) = changed(&mut live) else {
                kept.push(live);
                continue;
            };
            match live.look_again(self, &changed).await {
                Ok(()) => kept.push(live),
                Err(failed) => {
                    let _ = failed.completion(self.id);
                    refuse(self.out, &live.tag);
                }
            }
        }
        self.selected.contexts.live = kept;
    }
}

impl Live {
    /// Searches `changed` again.
    async fn look_again(&mut self, context: &mut Context<'_>, changed: &UidSet) -> Result<(), Failed> {
        let (workers, place) = (context.workers(), context.place());
        let tree = Arc::new(search::tree(context, &self.key));
        let matching = search::find_among(&workers, tree, &place, changed).await?;
        let unmatched = changed.difference(&matching);
        self.remove(&unmatched, &place.view, &mut context.out.buffer);
        match &mut self.results {
            LiveResults::Mailbox(uids) => {
                let new = matching.difference(uids);
                *uids = uids.union(&new);
                if !new.is_empty() {
                    let numbers = numbers(&new, &place.view, self.numbering);
                    let pairs = std::iter::once((0, Numbers::Set(&numbers)));
                    write_update(&mut context.out.buffer, &self.tag, self.numbering, Update::Add, pairs);
                }
            }
            LiveResults::Sorted(criteria, uids) => {
                let known = set_of(uids);
                let new: Vec<Uid> = matching.difference(&known).iter().collect();
                let sorted = std::mem::take(uids);
                let criteria = Arc::clone(criteria);
                let (sorted, places) = sort::insert(&workers, &place, criteria, sorted, new).await?;
                *uids = sorted;
                self.tell_places(&places, &place.view, Update::Add, &mut context.out.buffer);
            }
        }
        Ok(())
    }

    /// Takes out of the results those of `gone` that are in it.
    fn remove(&mut self, gone: &UidSet, view: &UidSet, out: &mut Vec<u8>) {
        match &mut self.results {
            LiveResults::Mailbox(uids) => {
                let gone = uids.intersection(gone);
                if gone.is_empty() {
                    return;
                }
                uids.remove_all(&gone);
                let numbers = numbers(&gone, view, self.numbering);
                let pairs = std::iter::once((0, Numbers::Set(&numbers)));
                write_update(out, &self.tag, self.numbering, Update::Remove, pairs);
            }
            LiveResults::Sorted(_, uids) => {
                let mut places = Vec::new();
                let mut place = 0;
                uids.retain(|uid| {
                    let is_gone = gone.contains(*uid);
                    if is_gone {
                        // The places of those before it are taken by then.
                        places.push((place, *uid));
                    } else {
                        place += 1;
                    }
                    !is_gone
                });
                self.tell_places(&places, view, Update::Remove, out);
            }
        }
    }

    /// Tells results of a sort with their places, counted from 0, one after the other.
    fn tell_places(&self, places: &[(u32, Uid)], view: &UidSet, update: Update, out: &mut Vec<u8>) {
        // Neighbours go together: added they stand one after the other, removed all at one place.
        let mut groups: Vec<(u32, Vec<Uid>)> = Vec::new();
        for (place, uid) in places {
            let Some(number) = number(*uid, view, self.numbering) else { continue };
            match groups.last_mut() {
                Some((first, group)) if *place == next_place(*first, group, update) => group.push(number),
                _ => groups.push((*place, vec![number])),
            }
        }
        if !groups.is_empty() {
            let pairs = groups.iter().map(|(place, group)| (place + 1, Numbers::Sorted(group)));
            write_update(out, &self.tag, self.numbering, update, pairs);
        }
    }

    fn octets(&self) -> usize {
        let results = match &self.results {
            LiveResults::Mailbox(uids) => uids.memory_octets(),
            LiveResults::Sorted(_, uids) => uids.len() * size_of::<Uid>(),
        };
        results + key_octets(&self.key)
    }
}

/// Where the next member of a group has to be.
fn next_place(first: u32, group: &[Uid], update: Update) -> u32 {
    match update {
        Update::Add => u32::try_from(group.len()).map_or(u32::MAX, |length| first.saturating_add(length)),
        Update::Remove => first,
    }
}

fn number(uid: Uid, view: &UidSet, numbering: Numbering) -> Option<Uid> {
    match numbering {
        Numbering::Uid => Some(uid),
        Numbering::Sequence => view.sequence_of(uid).and_then(Uid::new),
    }
}

fn numbers(uids: &UidSet, view: &UidSet, numbering: Numbering) -> UidSet {
    match numbering {
        Numbering::Uid => uids.clone(),
        Numbering::Sequence => view.sequence_numbers(uids),
    }
}

fn set_of(uids: &[Uid]) -> UidSet {
    uids.iter().copied().collect()
}

/// Whether a change of flags, and with it of MODSEQ, may change what a key says of a message.
fn depends_on_flags(key: &SearchKey) -> bool {
    match key {
        SearchKey::And(keys) => keys.iter().any(depends_on_flags),
        SearchKey::Or(keys) => depends_on_flags(&keys.0) || depends_on_flags(&keys.1),
        SearchKey::Not(key) => depends_on_flags(key),
        SearchKey::All
        | SearchKey::Nothing
        | SearchKey::Sequence(_)
        | SearchKey::Uid(_)
        | SearchKey::Text(..)
        | SearchKey::InternalDate(..)
        | SearchKey::SentDate(..)
        | SearchKey::SavedDate(..)
        | SearchKey::EmailId(_)
        | SearchKey::ThreadId(_)
        | SearchKey::Larger(_)
        | SearchKey::Smaller(_) => false,
        SearchKey::Flag(_) | SearchKey::Keyword(_) | SearchKey::ModSeq(_) => true,
        // Time alone changes these; whatever happens is an occasion to look.
        SearchKey::Older(_) | SearchKey::Younger(_) => true,
    }
}

/// Calls `each` with the sets of uids of a key.
fn each_uid_set(key: &SearchKey, each: &mut impl FnMut(&SequenceSet)) {
    match key {
        SearchKey::And(keys) => keys.iter().for_each(|key| each_uid_set(key, each)),
        SearchKey::Or(keys) => {
            each_uid_set(&keys.0, each);
            each_uid_set(&keys.1, each);
        }
        SearchKey::Not(key) => each_uid_set(key, each),
        SearchKey::Uid(MessageSet::Set(set)) => each(set),
        _ => {}
    }
}

/// A set with a uid for `*`.
fn up_to(set: &SequenceSet, last: Uid) -> SequenceSet {
    let number = |number| match number {
        SequenceNumber::Last => SequenceNumber::Number(last.0),
        number => number,
    };
    let ranges = set.ranges().iter();
    let ranges = ranges.map(|range| SequenceRange { from: number(range.from), to: number(range.to) });
    // It has as many ranges as before.
    SequenceSet::new(ranges.collect()).unwrap_or_else(|| set.clone())
}

/// A key with uids for message numbers and `$`: those mean what they meant when the command came
/// (RFC 5267 §4.3). Uids that a client wrote stay, since new messages may get them.
fn without_numbers(key: &SearchKey, view: &UidSet, saved: &UidSet) -> SearchKey {
    let fixed = |uids: &UidSet| {
        let number = |uid: Uid| SequenceNumber::Number(uid.0);
        let range = |run: std::ops::RangeInclusive<Uid>| SequenceRange {
            from: number(*run.start()),
            to: number(*run.end()),
        };
        let set = SequenceSet::new(uids.runs().map(range).collect());
        set.map_or(SearchKey::Nothing, |set| SearchKey::Uid(MessageSet::Set(set)))
    };
    match key {
        SearchKey::And(keys) => {
            SearchKey::And(keys.iter().map(|key| without_numbers(key, view, saved)).collect())
        }
        SearchKey::Or(keys) => SearchKey::Or(Box::new((
            without_numbers(&keys.0, view, saved),
            without_numbers(&keys.1, view, saved),
        ))),
        SearchKey::Not(key) => SearchKey::Not(Box::new(without_numbers(key, view, saved))),
        SearchKey::Sequence(MessageSet::Set(set)) => fixed(&view.resolve_sequence_leniently(set)),
        SearchKey::Sequence(MessageSet::Saved) | SearchKey::Uid(MessageSet::Saved) => {
            fixed(&view.intersection(saved))
        }
        other => other.clone(),
    }
}

fn key_octets(key: &SearchKey) -> usize {
    size_of::<SearchKey>()
        + match key {
            SearchKey::And(keys) => keys.iter().map(key_octets).sum(),
            SearchKey::Or(keys) => key_octets(&keys.0) + key_octets(&keys.1),
            SearchKey::Not(key) => key_octets(key),
            SearchKey::Sequence(MessageSet::Set(set)) | SearchKey::Uid(MessageSet::Set(set)) => {
                size_of_val(set.ranges())
            }
            SearchKey::Text(_, text) => text.len(),
            _ => 0,
        }
}
