//! What is wrong with a configuration, and where.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One thing that is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The line, from 1; none when it concerns the whole file.
    pub line: Option<usize>,
    /// The character in the line, from 1.
    pub column: usize,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub advice: String,
}

/// Everything that is wrong with a configuration file, in the order of the file.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong; never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{}", self.file.display())?;
            if let Some(line) = problem.line {
                write!(f, ":{line}:{}", problem.column)?;
            }
            write!(f, ": {}. {}", problem.what, problem.advice)?;
        }
        Ok(())
    }
}

/// Where something stands in the text; none when it isn't written there.
pub(super) type Place = Option<Range<usize>>;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub value: T,
    pub place: Place,
}

/// Collects problems while a text is read.
pub(super) struct Problems<'a> {
    text: &'a str,
    found: RefCell<Vec<Problem>>,
}

impl<'a> Problems<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, found: RefCell::default() }
    }

    /// Notes a problem. Neither sentence ends in a full stop that isn't there to separate two.
    pub(super) fn add(&self, place: &Place, what: impl Into<String>, advice: impl Into<String>) {
        let (line, column) = match place {
            Some(range) => {
                let (line, column) = position(self.text, range.start);
                (Some(line), column)
            }
            None => (None, 1),
        };
        let problem = Problem { line, column, what: what.into(), advice: advice.into() };
        self.found.borrow_mut().push(problem);
    }

    /// The error with everything that was found, when something was.
    pub(super) fn error(&self, file: &Path) -> Option<ConfigError> {
        let mut problems = self.found.borrow().clone();
        problems.sort_by_key(|problem| (problem.line, problem.column));
        (!problems.is_empty()).then(|| ConfigError { file: file.to_owned(), problems })
    }
}

/// Line and character of an octet's place.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(offset)];
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The known word that is most like `word`, when one is like it at all.
pub(super) fn nearest<'w>(word: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let near = known.into_iter().map(|known| (distance(word, known), known)).min()?;
    (near.0 <= (word.chars().count() / 3).max(1)).then_some(near.1)
}

/// Insertions, deletions, replacements and swaps of neighbours that make one word the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for (i, from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let replaced = rows[i][j] + usize::from(from != to);
            let mut best = replaced.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *from == b[j - 1] && a[i - 1] == *to {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_lines_and_characters() {
        let text = "a\nbé = 1\n";
        assert_eq!(position(text, 0), (1, 1));
        assert_eq!(position(text, 2), (2, 1));
        assert_eq!(position(text, 6), (2, 4));
    }

    #[test]
    fn the_nearest_word_is_found_unless_nothing_is_like_it() {
        let known = ["hostname", "listener", "limits", "log"];
        assert_eq!(nearest("hostnmae", known), Some("hostname"));
        assert_eq!(nearest("listeners", known), Some("listener"));
        assert_eq!(nearest("lgo", known), Some("log"));
        assert_eq!(nearest("weather", known), None);
    }
}
