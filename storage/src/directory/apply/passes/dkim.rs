//! DKIM keys of the domains that the document has; those of other domains go with them.

use postrider_proto::address::Domain;

use super::super::super::change::Change;
use super::super::super::document::{DkimEntry, DkimSource};
use super::super::super::draft::Draft;
use super::super::super::lookup::{Directory, corrupt, damaged};
use super::super::wanted;
use super::super::{Apply, ApplyError};
use crate::engine::Snapshot;

impl Apply {
    pub(super) fn set_dkim_keys(
        &mut self,
        draft: &mut Draft<'_>,
        snapshot: &dyn Snapshot,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), ApplyError> {
        let (line, entry) = wanted::decode_domain(key, value).map_err(corrupt)?;
        let domain = wanted::name(key).and_then(|name| Domain::parse(name).ok());
        let domain = domain.ok_or_else(|| damaged(key))?;
        let Some(wanted) = entry.dkim_keys else { return Ok(()) };
        let before = Directory::new(snapshot).dkim_keys(&domain)?;
        for old in &before {
            let stays = wanted.iter().any(|new| {
                new.selector == old.selector
                    && matches!(&new.source, DkimSource::Known(secret) if *secret == old.secret)
            });
            if !stays {
                let (domain, selector) = (domain.clone(), old.selector.clone());
                self.change(draft, line, &Change::RemoveDkimKey { domain, selector })?;
            }
        }
        for DkimEntry { selector, state, source, line } in wanted {
            let DkimSource::Known(secret) = source else { return Err(damaged(key).into()) };
            let domain = domain.clone();
            match before.iter().find(|old| old.selector == selector && old.secret == secret) {
                Some(old) if old.state == state => {}
                Some(_) => self.change(draft, line, &Change::SetDkimKey { domain, selector, state })?,
                None => {
                    self.change(draft, line, &Change::AddDkimKey { domain, selector, secret, state })?;
                }
            }
        }
        Ok(())
    }
}
