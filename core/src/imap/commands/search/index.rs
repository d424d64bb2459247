//! Asks the text index about the terms of a search.

use std::sync::Arc;

use postrider_proto::imap::uidset::UidSet;
use postrider_storage::ids::AccountId;
use postrider_storage::store::Store;

use super::Failed;
use super::tree::{Scope, Tree};
use crate::runtime::Pool;
use crate::textindex::Demand;
use crate::textindex::lookup::{self, Wanted, look_up};

/// Fewer messages are looked at without asking.
const ASK_MIN: u32 = 32;

/// Asks about the terms of `tree`, when `open`, the messages that are to be looked at, are enough for it.
/// `texts` is none where there are no indexes. What the index said of an account holds in each of its
/// mailboxes, and is asked for once.
pub async fn ask(
    pool: &Pool,
    store: &Arc<Store>,
    texts: Option<&Demand>,
    account: AccountId,
    (tree, open): (&Tree, &UidSet),
) -> Result<(), Failed> {
    let Some(texts) = texts else { return Ok(()) };
    if tree.terms.is_empty() || tree.hits.get().is_some() || open.len() < ASK_MIN {
        return Ok(());
    }
    let wanted = tree.terms.iter().map(|term| Wanted {
        needle: &term.needle,
        places: match term.scope {
            Scope::Body => lookup::BODY,
            Scope::Everything => lookup::TEXT,
        },
    });
    let hits = look_up(pool, store, texts, account, wanted).await.map_err(|trouble| match trouble {
        lookup::Trouble::Store(error) => Failed::Store(error),
        lookup::Trouble::Busy => Failed::Busy,
    })?;
    // Nobody else asks for this search.
    let _ = tree.hits.set(hits.into());
    Ok(())
}
