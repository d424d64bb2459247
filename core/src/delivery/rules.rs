//! The rules that hold messages, kept in memory, since every submission asks for them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use postrider_storage::queue::HoldRules;
use postrider_storage::store::{Store, StoreError};

/// The rules of all shards.
#[derive(Debug, Default)]
pub struct Rules(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// How often they changed.
    changes: u64,
    /// None when they have to be read.
    rules: Option<Arc<HoldRules>>,
}

impl Rules {
    /// The rules as they are now.
    pub fn get(&self, store: &Store) -> Result<Arc<HoldRules>, StoreError> {
        let changes = {
            let kept = self.lock();
            if let Some(rules) = &kept.rules {
                return Ok(Arc::clone(rules));
            }
            kept.changes
        };
        // What is read here is no older than the last change that was counted.
        let rules = Arc::new(HoldRules::load(&store.reader())?);
        let mut kept = self.lock();
        if kept.changes == changes {
            kept.rules = Some(Arc::clone(&rules));
        }
        Ok(rules)
    }

    /// Takes that a change of the rules was committed.
    pub fn changed(&self) {
        let mut kept = self.lock();
        kept.changes += 1;
        kept.rules = None;
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use postrider_storage::engine::Durability;
    use postrider_storage::engine::memory::MemoryEngine;
    use postrider_storage::queue;
    use postrider_storage::rows::HoldRuleRow;

    use super::*;

    #[test]
    fn rules_are_read_once_after_each_change() {
        let store = Store::open(Arc::new(MemoryEngine::new())).unwrap();
        let rules = Rules::default();
        let before = rules.get(&store).unwrap();
        assert_eq!(*before, HoldRules::default());
        assert!(Arc::ptr_eq(&before, &rules.get(&store).unwrap()));
        let (_, batch) = queue::add_hold_rule(&store.reader(), &HoldRuleRow::default()).unwrap();
        store.engine().commit(batch, Durability::Synced).unwrap();
        rules.changed();
        let after = rules.get(&store).unwrap();
        assert_ne!(*after, *before);
        assert!(Arc::ptr_eq(&after, &rules.get(&store).unwrap()));
    }
}
