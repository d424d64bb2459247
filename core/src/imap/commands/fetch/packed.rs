//! Rows of which only the flags are asked for, written from the packed blocks: a few octets are read for each
//! message instead of its row.

use std::ops::Bound;

use postrider_proto::imap::response::FetchRow;
use postrider_proto::imap::types::{Flags, Uid};
use postrider_proto::imap::uidset::UidSet;
use postrider_storage::engine::Space;
use postrider_storage::ids::{AccountId, MailboxId};
use postrider_storage::keys;
use postrider_storage::reader::Reader;
use postrider_storage::rows::pack::{Block, HAS_KEYWORDS};
use postrider_storage::store::StoreError;

use super::rows::Rows;

/// Uids with the octet that their block has of them, ascending.
type Octets = Vec<(Uid, u8)>;

impl Rows {
    /// Appends rows of `group`, the next wanted messages, as long as blocks know enough: up to a message with
    /// keywords, whose names its row has. Says whether it came to the end of the group, or of `full`.
    pub(super) fn packed_rows(
        &mut self,
        reader: &Reader,
        group: &UidSet,
        out: &mut Vec<u8>,
        full: usize,
    ) -> Result<bool, StoreError> {
        let (account, mailbox) = self.place();
        let numbering = self.numbering();
        // Rows of this moment aren't younger than their mailbox.
        let Some(mailbox_row) = reader.mailbox(account, mailbox)? else { return Ok(false) };
        self.highest = self.highest.max(mailbox_row.modseq);
        let octets = octets(reader, (account, mailbox), group)?;
        let mut octets = octets.into_iter().peekable();
        for run in group.runs() {
            let first = self.sequence_of(*run.start());
            for (uid, sequence) in (run.start().get()..=run.end().get()).filter_map(Uid::new).zip(first..) {
                let known = octets.next_if(|(known, _)| *known == uid);
                if known.is_some_and(|(_, octet)| octet & HAS_KEYWORDS != 0) {
                    return Ok(false);
                }
                match known {
                    Some((_, octet)) => {
                        let mut row = FetchRow::of(out, numbering, sequence, uid);
                        row.flags(out, Flags::from_bits(octet), std::iter::empty());
                        row.end(out);
                    }
                    None => self.add_missing(uid),
                }
                self.advance();
                if out.len() >= full {
                    return Ok(true);
                }
            }
        }
        Ok(true)
    }
}

/// What the blocks have of the messages in `group` that are there.
fn octets(
    reader: &Reader,
    (account, mailbox): (AccountId, MailboxId),
    group: &UidSet,
) -> Result<Octets, StoreError> {
    let (Some(first), Some(last)) = (group.first(), group.last()) else { return Ok(Octets::new()) };
    // The block that the first one is in begins at or before it.
    let (all, at) = (keys::packs(account, mailbox), keys::pack(account, mailbox, first));
    let before = (Bound::Included(&all[..]), Bound::Included(&at[..]));
    let block = reader.snapshot().range(Space::Rows, before.0, before.1).next_back().transpose()?;
    let start = block.map_or_else(|| all.to_vec(), |(key, _)| key.to_vec());
    let mut octets = Octets::with_capacity(group.len() as usize);
    let mut runs = group.runs().peekable();
    for row in reader.from(&start, &all) {
        let (key, value) = row?;
        let base = keys::mailbox_and_uid(&key)?.1;
        if base > last {
            break;
        }
        let block = Block::decode(base, &value)?;
        for (uid, octet) in block.uids().iter().zip(block.octets()) {
            while runs.next_if(|run| run.end() < uid).is_some() {}
            match runs.peek() {
                Some(run) if run.contains(uid) => octets.push((*uid, *octet)),
                Some(_) => {}
                None => return Ok(octets),
            }
        }
    }
    Ok(octets)
}
