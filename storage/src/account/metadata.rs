//! Annotations of mailboxes and of the server (RFC 5464).

use super::{Change, Tx};
use crate::ids::MailboxId;
use crate::keys::{self, MetadataPlace};
use crate::rows::MetadataRow;
use crate::store::{Refusal, StoreError};

impl Tx<'_, '_> {
    /// Sets an annotation, or removes it. `path` is its name without `/private` or `/shared`. What has
    /// that value already, or none, isn't changed.
    pub fn set_metadata(
        &mut self,
        place: MetadataPlace,
        path: &str,
        value: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        if let Some(mailbox) = place.mailbox {
            self.mailbox(mailbox)?;
        }
        let key = keys::metadata(self.account(), place, path);
        let before = self.get(&key)?.map(|row| MetadataRow::decode(&row)).transpose()?;
        if before.as_ref().map(|row| &*row.value) == value {
            return Ok(());
        }
        let limits = self.batch.account.limits;
        let head = self.head()?;
        let (mut entries, mut octets) = (head.annotations, head.annotation_octets);
        if let Some(before) = &before {
            entries -= 1;
            octets -= octets_of(path, &before.value);
        }
        if let Some(value) = value {
            let left = limits.annotation_octets_max.saturating_sub(octets as usize + path.len());
            let octets_max = left.min(limits.annotation_value_octets_max);
            if value.len() > octets_max {
                return Err(Refusal::AnnotationTooLarge { octets_max }.into());
            }
            if entries as usize >= limits.annotations_max {
                return Err(Refusal::TooManyAnnotations.into());
            }
            entries += 1;
            octets += octets_of(path, value);
        }
        let head = self.head_mut()?;
        (head.annotations, head.annotation_octets) = (entries, octets);
        let modseq = self.modseq()?;
        if let Some(mailbox) = place.mailbox {
            // RFC 7162 §3.2.
            self.mailbox_mut(mailbox)?.modseq = modseq;
        }
        match value {
            Some(value) => self.insert(key, MetadataRow { modseq, value: value.into() }.encode()),
            None => self.remove(key),
        }
        self.changes.push(Change::Metadata { place, path: path.into(), modseq });
        Ok(())
    }

    /// Whether other users may add annotations: half of what there may be is for the owner alone.
    pub fn has_room_for_guests(&self) -> Result<bool, StoreError> {
        let (head, limits) = (self.head()?, self.batch.account.limits);
        let octets = head.annotation_octets as usize;
        let entries = head.annotations as usize;
        Ok(entries < limits.annotations_max / 2 && octets < limits.annotation_octets_max / 2)
    }

    /// Copies all annotations of a mailbox, of every user. How many there were.
    pub(super) fn copy_metadata(&mut self, from: MailboxId, to: MailboxId) -> Result<usize, StoreError> {
        let rows = self.first_rows(&keys::metadata_of(self.account(), Some(from)), usize::MAX)?;
        for (key, value) in &rows {
            let (place, path) = keys::metadata_parts(key)?;
            let place = MetadataPlace { mailbox: Some(to), ..place };
            self.set_metadata(place, path, Some(&MetadataRow::decode(value)?.value))?;
        }
        Ok(rows.len())
    }

    /// Removes all annotations of a mailbox that is being deleted. There are at most
    /// [`Limits::annotations_max`](super::Limits::annotations_max).
    pub(super) fn remove_metadata(&mut self, mailbox: MailboxId) -> Result<(), StoreError> {
        for (key, value) in self.first_rows(&keys::metadata_of(self.account(), Some(mailbox)), usize::MAX)? {
            let (_, path) = keys::metadata_parts(&key)?;
            let octets = octets_of(path, &MetadataRow::decode(&value)?.value);
            let head = self.head_mut()?;
            head.annotations -= 1;
            head.annotation_octets -= octets;
            self.remove(key);
        }
        Ok(())
    }
}

/// What an annotation counts for. Both parts are bounded.
pub(crate) fn octets_of(path: &str, value: &[u8]) -> u32 {
    u32::try_from(path.len() + value.len()).unwrap_or(u32::MAX)
}
