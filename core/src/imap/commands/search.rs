//! SEARCH and UID SEARCH (RFC 9051 §6.4.4, RFC 4731, SAVE: RFC 5182, MODSEQ: RFC 7162 §3.1.5, OLDER and
//! YOUNGER: RFC 5032, SAVEDON and its like: RFC 8514 §4.3, EMAILID and THREADID: RFC 8474 §6, PARTIAL:
//! RFC 9394, UPDATE: RFC 5267).
//!
//! The cheapest facts that decide are read, and no more: sets first, then flags from the packed blocks,
//! rows, the text index, stored structures, headers, and texts last.

mod evaluate;
mod facts;
mod index;
#[cfg(test)]
mod indexed;
mod results;
mod scan;
#[cfg(test)]
mod tests;
mod tree;

use std::sync::Arc;

use postrider_proto::imap::command::{Search, SearchKey, SearchReturn};
use postrider_proto::imap::response::{Correlator, SearchedMailbox, write_search};
use postrider_proto::imap::sequence::Numbering;
use postrider_proto::imap::uidset::UidSet;

use crate::clock::unix_now;
use crate::imap::contexts::{self, LiveResults};
use crate::imap::places;
use crate::imap::progress::telling;
use crate::imap::session::{Completion, Context, Ended};
use crate::imap::sync::{Expunges, OwnFlags};
pub use evaluate::{Failed, Place};
pub(in crate::imap) use evaluate::{Found, Wanted, Workers, find, find_among};
pub(in crate::imap) use results::{Results, saved, write_results};
pub(in crate::imap) use tree::{Names, Tree};

/// How the answer says what it is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    /// With its tag: an answer to SEARCH.
    Tag,
    /// With the mailbox too, and not at all when nothing was found: an answer to ESEARCH (RFC 7377 §2.1).
    Mailbox,
}

/// SEARCH and UID SEARCH.
pub async fn search(context: &mut Context<'_>, command: Search) -> Result<Completion, Ended> {
    run(context, command, Form::Tag).await
}

/// ESEARCH in the selected mailbox alone.
pub async fn esearch(context: &mut Context<'_>, command: Search) -> Result<Completion, Ended> {
    run(context, command, Form::Mailbox).await
}

async fn run(context: &mut Context<'_>, command: Search, form: Form) -> Result<Completion, Ended> {
    let returns = command.returns.or(context.enabled.rev2.then_some(SearchReturn::ALL));
    if contexts::is_tag_taken(context, returns) {
        return Ok(contexts::TAG_TAKEN);
    }
    let tree = Arc::new(tree(context, &command.key));
    let wanted = Wanted::of(returns);
    let (workers, place) = (context.workers(), context.place());
    let finding = find(&workers, tree, &place, wanted);
    let mut found =
        match telling(context.limit.progress, context.out, context.tag, workers.counts(), finding).await? {
            Ok(found) => found,
            Err(failed) => return Ok(refuse(context, returns, &failed)),
        };
    let mut limit = None;
    if wanted == Wanted::Every {
        (found.uids, limit) = context.limit.cut(found.uids);
    }
    answer(context, command.numbering, returns, &found, form).await;
    if let Some(returns) = returns {
        if returns.save {
            context.selected.saved = saved(returns, &Results::Set(&found.uids));
        }
        if returns.update {
            let results = limit.is_none().then_some(LiveResults::Mailbox(found.uids));
            contexts::begin(context, command.numbering, &command.key, results);
        }
    }
    end(context, command.numbering).await?;
    Ok(Completion::ok("SEARCH done").limited(limit, context.out))
}

/// Makes a search of the selected mailbox ready. Looking for MODSEQ enables CONDSTORE.
pub(in crate::imap) fn tree(context: &mut Context<'_>, key: &SearchKey) -> Tree {
    let tree = {
        let state = context.account.state();
        let names = Names {
            account: context.account.id(),
            now: unix_now(),
            view: &context.selected.view,
            saved: &context.selected.saved,
            keyword: &|keyword| state.keyword_id(keyword),
        };
        Tree::new(key, &names)
    };
    if tree.has_modseq {
        context.enable_condstore();
    }
    tree
}

/// Ends a search that failed. It saves nothing (RFC 5182 §2.1).
pub(in crate::imap) fn refuse(
    context: &mut Context<'_>,
    returns: Option<SearchReturn>,
    failed: &Failed,
) -> Completion {
    save_nothing(context, returns);
    failed.completion(context.id)
}

/// What a command that isn't done saves.
pub(in crate::imap) fn save_nothing(context: &mut Context<'_>, returns: Option<SearchReturn>) {
    if returns.is_some_and(|returns| returns.save) {
        context.selected.saved = UidSet::new();
    }
}

/// Tells what changed meanwhile; removals only where numbers don't matter (RFC 9051 §7.5.1).
pub(in crate::imap) async fn end(context: &mut Context<'_>, numbering: Numbering) -> Result<(), Ended> {
    let expunges = match numbering {
        Numbering::Uid => Expunges::Now,
        Numbering::Sequence => Expunges::Later,
    };
    context.sync(expunges, OwnFlags::Tell).await
}

/// Writes SEARCH or ESEARCH.
async fn answer(
    context: &mut Context<'_>,
    numbering: Numbering,
    returns: Option<SearchReturn>,
    found: &Found,
    form: Form,
) {
    let Some(returns) = returns else {
        let numbers = match numbering {
            Numbering::Uid => found.uids.clone(),
            Numbering::Sequence => context.selected.view.sequence_numbers(&found.uids),
        };
        write_search(&mut context.out.buffer, &numbers, found.modseq_of(&found.uids));
        return;
    };
    if form == Form::Mailbox && found.uids.is_empty() {
        return;
    }
    let row = context.account.state().mailbox(context.selected.mailbox).cloned();
    let told = match row.filter(|_| form == Form::Mailbox) {
        Some(row) => {
            let name = places::told(context.shard, context.asker, context.account.id(), &row.name).await;
            Some((name, row.uid_validity))
        }
        None => None,
    };
    let utf8 = context.enabled.utf8;
    let mailbox = told.as_ref().map(|(name, validity)| SearchedMailbox { name, utf8, validity: *validity });
    let correlator = Correlator { tag: context.tag, mailbox };
    let view = &context.selected.view;
    let results = Results::Set(&found.uids);
    write_results(&mut context.out.buffer, correlator, view, numbering, returns, &results, found);
}
