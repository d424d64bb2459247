//! Reads DKIM keys of domains.

use postrider_proto::dkim::Selector;
use postrider_proto::sasl::Secret;
use toml_edit::{TableLike, Value};

use super::Reader;
use crate::directory::document::{DkimEntry, DkimSource};
use crate::directory::types::{DkimState, Limits};

impl Reader<'_> {
    /// The keys of a domain; none where nothing is said of them.
    pub(super) fn dkim_keys(&mut self, table: &dyn TableLike) -> Option<Vec<DkimEntry>> {
        table.get("dkim")?;
        let mut keys: Vec<DkimEntry> =
            self.tables(table, "dkim", Limits::DEFAULT.dkim_keys_max, Self::dkim_key);
        keys.sort_by(|one, other| one.selector.cmp(&other.selector).then(one.line.cmp(&other.line)));
        let twice: Vec<_> = keys
            .windows(2)
            .filter_map(|pair| match pair {
                [one, other] if one.selector == other.selector => Some((other.line, other.selector.clone())),
                _ => None,
            })
            .collect();
        for (line, selector) in twice {
            self.fault_at(line, format!("selector {selector} is given twice"));
        }
        Some(keys)
    }

    fn dkim_key(&mut self, value: &Value, table: &dyn TableLike) -> Option<DkimEntry> {
        self.known(table, &["selector", "key", "key_file", "publish_only"]);
        if table.get("selector").is_none() {
            self.fault(value.span(), "selector is missing".into());
        }
        let key = self.string(table, "key");
        let file = self.string(table, "key_file");
        if key.is_some() && file.is_some() {
            self.fault(value.span(), "key and key_file exclude each other".into());
        }
        let state = if self.flag(table, "publish_only") { DkimState::Published } else { DkimState::Signs };
        let parse = |text: &str| Selector::parse(text).ok_or("is no selector");
        let selector = self.value(table, "selector", parse)?;
        let source = match (key, file) {
            (Some(key), _) => DkimSource::Inline(Secret::new(key)),
            (None, Some(file)) => DkimSource::File(file),
            (None, None) => DkimSource::Unsaid,
        };
        Some(DkimEntry { selector, state, source, line: self.line(value.span()) })
    }
}
