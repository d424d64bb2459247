//! Reads typed values out of one table of the file, and notes what doesn't fit.
//!
//! A value that is missing or wrong reads as `None`; what is wrong is noted, so the caller goes
//! on with a default and the next problem is found too. Keys that nobody asked for are unknown.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use toml_edit::{Item, TableLike, Value};

use super::limits::Classes;
use super::problem::{At, Place, Problems, nearest};

/// One table: the whole file, `[storage]`, an entry of `[[listener]]`.
pub(super) struct Section<'a> {
    table: Option<&'a dyn TableLike>,
    place: Place,
    path: String,
    known: RefCell<Vec<&'static str>>,
    problems: &'a Problems<'a>,
}

impl<'a> Section<'a> {
    pub(super) fn root(table: &'a dyn TableLike, problems: &'a Problems<'a>) -> Self {
        Self::new(Some(table), None, String::new(), problems)
    }

    fn new(table: Option<&'a dyn TableLike>, place: Place, path: String, problems: &'a Problems<'a>) -> Self {
        Self { table, place, path, known: RefCell::default(), problems }
    }

    /// Where the table stands.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Whether the table is written in the file.
    pub(super) fn is_written(&self) -> bool {
        self.table.is_some()
    }

    pub(super) fn problems(&self) -> &'a Problems<'a> {
        self.problems
    }

    fn item(&self, key: &'static str) -> Option<&'a Item> {
        self.known.borrow_mut().push(key);
        self.table?.get(key).filter(|item| !item.is_none())
    }

    /// Whether there is such a key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Notes that `key` has a value of the wrong type or form.
    fn wrong(&self, key: &str, place: &Place, expected: &str) {
        self.problems.add(place, format!("the value of {:?} can't be used", self.name(key)), expected);
    }

    /// A text.
    pub(super) fn text(&self, key: &'static str) -> Option<At<String>> {
        let item = self.item(key)?;
        match item.as_str() {
            Some(text) => Some(At { value: text.to_owned(), place: item.span() }),
            None => {
                self.wrong(key, &item.span(), "Write a text in quotes");
                None
            }
        }
    }

    /// A text of a form of its own; `expected` says what to write.
    pub(super) fn parsed<T>(
        &self,
        key: &'static str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<At<T>> {
        let text = self.text(key)?;
        match parse(&text.value) {
            Some(value) => Some(At { value, place: text.place }),
            None => {
                self.wrong(key, &text.place, expected);
                None
            }
        }
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(&self, key: &'static str, choices: &[(&str, T)]) -> Option<At<T>> {
        let text = self.text(key)?;
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text.value) {
            return Some(At { value: *value, place: text.place });
        }
        let words: Vec<_> = choices.iter().map(|(word, _)| format!("{word:?}")).collect();
        let advice = match nearest(&text.value, choices.iter().map(|(word, _)| *word)) {
            Some(near) => format!("Did you mean {near:?}? The values are {}", words.join(", ")),
            None => format!("The values are {}", words.join(", ")),
        };
        self.problems.add(&text.place, format!("{:?} can't be {:?}", self.name(key), text.value), advice);
        None
    }

    /// Several texts.
    pub(super) fn texts(&self, key: &'static str) -> Option<Vec<At<String>>> {
        let item = self.item(key)?;
        let Some(array) = item.as_array() else {
            self.wrong(key, &item.span(), "Write a list of texts in square brackets");
            return None;
        };
        let mut texts = Vec::new();
        for value in array {
            match value.as_str() {
                Some(text) => texts.push(At { value: text.to_owned(), place: value.span() }),
                None => self.wrong(key, &value.span(), "Write a list of texts in square brackets"),
            }
        }
        Some(texts)
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, key: &'static str) -> Option<At<bool>> {
        let item = self.item(key)?;
        match item.as_bool() {
            Some(value) => Some(At { value, place: item.span() }),
            None => {
                self.wrong(key, &item.span(), "Write true or false");
                None
            }
        }
    }

    /// A whole number.
    pub(super) fn number<T>(&self, key: &'static str, range: RangeInclusive<T>) -> Option<At<T>>
    where
        T: TryFrom<i64> + PartialOrd + std::fmt::Display,
    {
        let item = self.item(key)?;
        match item
            .as_integer()
            .and_then(|value| T::try_from(value).ok())
            .filter(|value| range.contains(value))
        {
            Some(value) => Some(At { value, place: item.span() }),
            None => {
                let expected = format!("Write a whole number from {} to {}", range.start(), range.end());
                self.wrong(key, &item.span(), &expected);
                None
            }
        }
    }

    /// A number of octets: a number, or a text such as `"100 MiB"`.
    pub(super) fn octets(&self, key: &'static str, range: RangeInclusive<u64>) -> Option<At<u64>> {
        let item = self.item(key)?;
        let value = match item.as_integer() {
            Some(number) => u64::try_from(number).ok(),
            None => item.as_str().and_then(parse_octets),
        };
        match value.filter(|value| range.contains(value)) {
            Some(value) => Some(At { value, place: item.span() }),
            None => {
                let expected = format!(
                    "Write a size from {} to {}, for example \"64 MiB\"",
                    show_octets(*range.start()),
                    show_octets(*range.end())
                );
                self.wrong(key, &item.span(), &expected);
                None
            }
        }
    }

    /// A time such as `"30s"` or `"1h 30m"`.
    pub(super) fn duration(
        &self,
        key: &'static str,
        range: RangeInclusive<Duration>,
    ) -> Option<At<Duration>> {
        let item = self.item(key)?;
        match item.as_str().and_then(parse_duration).filter(|value| range.contains(value)) {
            Some(value) => Some(At { value, place: item.span() }),
            None => {
                let examples = [30, 5 * 60, 90 * 60, 60 * 24 * 3600].map(Duration::from_secs);
                let examples: Vec<String> = examples
                    .into_iter()
                    .filter(|example| range.contains(example))
                    .map(|example| format!("\"{}\"", show_duration(example)))
                    .collect();
                let mut expected = format!(
                    "Write a time from {} to {}",
                    show_duration(*range.start()),
                    show_duration(*range.end())
                );
                if !examples.is_empty() {
                    expected += &format!(", for example {}", examples.join(", "));
                }
                self.wrong(key, &item.span(), &expected);
                None
            }
        }
    }

    /// Three numbers, one for each class of network, none lower than the one before.
    pub(super) fn classes(&self, key: &'static str) -> Option<At<Classes>> {
        let item = self.item(key)?;
        let numbers: Option<Vec<u32>> = item.as_array().and_then(|array| {
            array
                .iter()
                .map(|value| value.as_integer().and_then(|number| u32::try_from(number).ok()))
                .collect()
        });
        match numbers.as_deref() {
            Some(&[host, site, range]) if 1 <= host && host <= site && site <= range => {
                Some(At { value: Classes::new(host, site, range), place: item.span() })
            }
            _ => {
                let expected = "Write three numbers in square brackets, for one host, its site and its provider, each \
                                at least as high as the one before: [30, 90, 270]";
                self.wrong(key, &item.span(), expected);
                None
            }
        }
    }

    /// A table; one that isn't written reads as empty.
    pub(super) fn section(&self, key: &'static str) -> Section<'a> {
        let path = self.name(key);
        let Some(item) = self.item(key) else { return Section::new(None, None, path, self.problems) };
        let table = item.as_table_like();
        if table.is_none() {
            self.wrong(key, &item.span(), &format!("Write a table: [{path}] and its keys below it"));
        }
        Section::new(table, item.span(), path, self.problems)
    }

    /// An array of tables.
    pub(super) fn sections(&self, key: &'static str) -> Vec<Section<'a>> {
        let path = self.name(key);
        let new = |table, place| Section::new(Some(table), place, path.clone(), self.problems);
        let Some(item) = self.item(key) else { return Vec::new() };
        match item {
            Item::ArrayOfTables(tables) => {
                return tables.iter().map(|table| new(table as &dyn TableLike, table.span())).collect();
            }
            Item::Value(Value::Array(array)) => {
                let inline = array.iter().map(|value| {
                    value.as_inline_table().map(|table| new(table as &dyn TableLike, value.span()))
                });
                if let Some(sections) = inline.collect() {
                    return sections;
                }
            }
            _ => {}
        }
        self.wrong(key, &item.span(), &format!("Write [[{path}]] above each one"));
        Vec::new()
    }

    /// Every key of the table with its text, for tables whose keys aren't fixed.
    pub(super) fn entries(&self) -> Vec<(At<String>, At<String>)> {
        let mut entries = Vec::new();
        for (key, item) in self.table.into_iter().flat_map(TableLike::iter) {
            let place = self.key_place(key, item);
            match item.as_str() {
                Some(text) => entries.push((
                    At { value: key.to_owned(), place },
                    At { value: text.to_owned(), place: item.span() },
                )),
                None => self.wrong(key, &item.span(), "Write a text in quotes"),
            }
        }
        entries
    }

    /// Notes every key that was never asked for.
    pub(super) fn finish(self) {
        let known = self.known.borrow();
        for (key, item) in self.table.into_iter().flat_map(TableLike::iter) {
            if known.contains(&key) {
                continue;
            }
            let advice = match nearest(key, known.iter().copied()) {
                Some(near) => format!("Did you mean {near:?}?"),
                None => format!("The keys here are {}", known.join(", ")),
            };
            self.problems.add(
                &self.key_place(key, item),
                format!("unknown key {:?}", self.name(key)),
                advice,
            );
        }
    }

    fn key_place(&self, key: &str, item: &Item) -> Place {
        self.table.and_then(|table| table.key(key)).and_then(toml_edit::Key::span).or_else(|| item.span())
    }
}

/// Parses `"100 MiB"`, `"1GiB"`, `"512"`.
pub fn parse_octets(text: &str) -> Option<u64> {
    let (number, unit) = split_number(text.trim())?;
    let unit = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1_u64 << 40,
        _ => return None,
    };
    number.checked_mul(unit)
}

/// Parses `"30s"`, `"250ms"`, `"1h 30m"`, `"60d"`; `"0s"` is no time.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, after) = split_number(rest)?;
        let after = after.trim_start();
        let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let part = match &after[..end] {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number.checked_mul(60)?),
            "h" => Duration::from_secs(number.checked_mul(60 * 60)?),
            "d" => Duration::from_secs(number.checked_mul(24 * 60 * 60)?),
            _ => return None,
        };
        total = total.checked_add(part)?;
        rest = after[end..].trim_start();
    }
    Some(total)
}

fn split_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((u64::from_str(&text[..end]).ok()?, &text[end..]))
}

fn show_octets(octets: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let fits = units.iter().find(|(_, bits)| octets > 0 && octets.trailing_zeros() >= *bits);
    fits.map_or_else(|| format!("{octets} B"), |(unit, bits)| format!("{} {unit}", octets >> bits))
}

fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 if !duration.is_zero() => format!("{}ms", duration.as_millis()),
        0 => "0s".to_owned(),
        s if s % 86_400 == 0 => format!("{}d", s / 86_400),
        s if s % 3600 == 0 => format!("{}h", s / 3600),
        s if s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_read() {
        assert_eq!(parse_octets("100 MiB"), Some(100 << 20));
        assert_eq!(parse_octets("512"), Some(512));
        assert_eq!(parse_octets("1MB"), None);
        assert_eq!(parse_octets("99999999999 TiB"), None);
        assert_eq!(parse_duration("1h 30m"), Some(Duration::from_secs(5400)));
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("0s"), Some(Duration::ZERO));
        for wrong in ["", "30", "s", "1 week", "-1s", "99999999999999999999s"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn bounds_are_shown_as_they_would_be_written() {
        assert_eq!([show_octets(0), show_octets(100 << 20), show_octets(1000)], ["0 B", "100 MiB", "1000 B"]);
        let shown = [0, 1, 90, 120, 7200, 86_400].map(|seconds| show_duration(Duration::from_secs(seconds)));
        assert_eq!(shown, ["0s", "1s", "90s", "2m", "2h", "1d"]);
    }
}
