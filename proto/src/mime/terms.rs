//! Terms of a text for an index: what a text must have in it when a needle is in it.
//!
//! A folded text ([`fold`](super::text::fold)) is cut into *runs*: letters, their marks and digits without
//! anything between them. A short run is one term, a *word*. A long run, and one in a script that is written without
//! spaces, is indexed by all its pieces of a few characters instead.
//!
//! What always holds: when a needle is in a text, each run of the needle is within one run of the text, and
//! at the same end of it where the needle goes on with something else ([`NeedleRun`]). Folding looks at one
//! character at a time, so a text that is folded piece by piece has the same runs.

/// What a term is. In an index each kind is looked up in its own way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TermKind {
    /// A whole run.
    Word,
    /// Two characters of a run in a script without spaces; all of a run that is shorter.
    Pair,
    /// Three characters of a long run.
    Triple,
}

/// A run of at most so many octets is a word, unless it is in a script without spaces.
pub const WORD_OCTETS_MAX: usize = 32;
/// Octets of a run that is cut into pieces. A text with a longer one can't be indexed.
pub const RUN_OCTETS_MAX: usize = 16 * 1024;
/// The longest term.
pub const TERM_OCTETS_MAX: usize = WORD_OCTETS_MAX;

const _: () = assert!(3 * char::MAX.len_utf8() <= TERM_OCTETS_MAX);

impl TermKind {
    /// The pieces that runs are cut into, in characters; none for words.
    pub const fn characters(self) -> Option<usize> {
        match self {
            Self::Word => None,
            Self::Pair => Some(2),
            Self::Triple => Some(3),
        }
    }
}

/// A text can't be indexed in full: it has a run that is too long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RunTooLong;

/// Cuts folded text into terms while it streams.
#[derive(Debug, Default)]
pub struct TermCutter {
    /// The run at the end of the text so far, which may go on.
    run: String,
    is_too_long: bool,
}

impl TermCutter {
    /// Takes the next part of the text.
    pub fn push(&mut self, folded: &str, each: &mut impl FnMut(TermKind, &str)) {
        let mut rest = folded;
        while !rest.is_empty() {
            let end = rest.find(|character| !is_in_run(character));
            let (run, after) = rest.split_at(end.unwrap_or(rest.len()));
            if end.is_none() {
                self.grow(run);
                return;
            }
            if self.run.is_empty() {
                self.cut(run, each);
            } else {
                self.grow(run);
                self.end(each);
            }
            rest = after.trim_start_matches(|character| !is_in_run(character));
        }
    }

    /// Ends the text.
    pub fn finish(mut self, each: &mut impl FnMut(TermKind, &str)) -> Result<(), RunTooLong> {
        self.end(each);
        if self.is_too_long { Err(RunTooLong) } else { Ok(()) }
    }

    fn grow(&mut self, run: &str) {
        if self.run.len() + run.len() > RUN_OCTETS_MAX {
            self.is_too_long = true;
        } else {
            self.run.push_str(run);
        }
    }

    fn end(&mut self, each: &mut impl FnMut(TermKind, &str)) {
        let run = std::mem::take(&mut self.run);
        self.cut(&run, each);
        self.run = run;
        self.run.clear();
    }

    fn cut(&mut self, run: &str, each: &mut impl FnMut(TermKind, &str)) {
        match kind_of(run) {
            _ if run.is_empty() => {}
            _ if run.len() > RUN_OCTETS_MAX => self.is_too_long = true,
            TermKind::Word => each(TermKind::Word, run),
            kind => pieces(run, kind.characters().unwrap_or(1), &mut |piece| each(kind, piece)),
        }
    }
}

/// Letters and digits, and the marks that folding may have taken off them.
fn is_in_run(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '\u{300}'..='\u{36f}' | '\u{3099}' | '\u{309a}')
}

/// How a run is indexed.
fn kind_of(run: &str) -> TermKind {
    if has_dense(run) {
        TermKind::Pair
    } else if run.len() > WORD_OCTETS_MAX {
        TermKind::Triple
    } else {
        TermKind::Word
    }
}

/// Whether a character is of a script that is written without spaces, so that its runs are sentences.
fn has_dense(run: &str) -> bool {
    let is_dense = |character: char| {
        matches!(character,
            // Thai and Lao, Myanmar, Khmer, and everything from the CJK radicals on.
            '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{2e80}'..)
    };
    !run.is_ascii() && run.chars().any(is_dense)
}

/// All pieces of `characters` characters, overlapping; a shorter text is one piece.
fn pieces(text: &str, characters: usize, each: &mut impl FnMut(&str)) {
    let starts = text.char_indices().map(|(at, _)| at);
    let ends = text.char_indices().map(|(at, _)| at).skip(characters).chain([text.len()]);
    let mut is_any = false;
    for (start, end) in starts.zip(ends) {
        is_any = true;
        each(&text[start..end]);
        if end == text.len() {
            break;
        }
    }
    debug_assert!(is_any || text.is_empty(), "a text has at least one piece");
}

/// Whether the needle shows where a run ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The run may go on in the text.
    Open,
    /// The needle goes on with something that is in no run.
    Closed,
}

/// A run of a needle: it is within one run of every text that has the needle.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NeedleRun {
    /// The run, folded.
    pub text: Box<str>,
    /// Whether the text's run begins here too.
    pub start: End,
    /// Whether the text's run ends here too.
    pub end: End,
}

/// How the index is asked for one kind of terms.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Lookup {
    /// No text has the run in terms of this kind.
    Nothing,
    /// One term that has this in it, with these ends.
    Within(Box<str>, End, End),
    /// All of these terms.
    Every(Vec<Box<str>>),
}

impl NeedleRun {
    /// The runs of a folded needle, in order.
    pub fn all(folded: &str) -> Vec<Self> {
        let mut runs = Vec::new();
        let mut at = 0;
        while let Some(start) = folded[at..].find(is_in_run).map(|start| at + start) {
            let end = folded[start..].find(|character| !is_in_run(character));
            let end = end.map_or(folded.len(), |end| start + end);
            runs.push(Self {
                text: folded[start..end].into(),
                start: if start == 0 { End::Open } else { End::Closed },
                end: if end == folded.len() { End::Open } else { End::Closed },
            });
            at = end;
        }
        runs
    }

    /// What to look for among the terms of a kind. A text that has this run satisfies the lookup of at
    /// least one kind.
    pub fn lookup(&self, kind: TermKind) -> Lookup {
        let is_dense = has_dense(&self.text);
        match (kind, kind.characters()) {
            // A run that has this in it has those characters too.
            (TermKind::Word | TermKind::Triple, _) if is_dense => Lookup::Nothing,
            (TermKind::Word, _) if self.text.len() > WORD_OCTETS_MAX => Lookup::Nothing,
            (_, None) => Lookup::Within(self.text.clone(), self.start, self.end),
            (TermKind::Triple, _) if self.is_whole() && self.text.len() <= WORD_OCTETS_MAX => Lookup::Nothing,
            (_, Some(characters)) if self.text.chars().count() < characters => {
                Lookup::Within(self.text.clone(), End::Open, End::Open)
            }
            (_, Some(characters)) => {
                let mut every = Vec::new();
                pieces(&self.text, characters, &mut |piece| every.push(piece.into()));
                every.sort_unstable();
                every.dedup();
                Lookup::Every(every)
            }
        }
    }

    /// Whether the text's run is this one.
    fn is_whole(&self) -> bool {
        (self.start, self.end) == (End::Closed, End::Closed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::text::fold;
    use super::*;

    fn terms(text: &str) -> Result<Vec<(TermKind, String)>, RunTooLong> {
        terms_of(&[text])
    }

    fn terms_of(pieces: &[&str]) -> Result<Vec<(TermKind, String)>, RunTooLong> {
        let mut terms = Vec::new();
        let mut each = |kind, term: &str| terms.push((kind, term.to_owned()));
        let mut cutter = TermCutter::default();
        pieces.iter().for_each(|piece| cutter.push(piece, &mut each));
        cutter.finish(&mut each)?;
        Ok(terms)
    }

    /// Whether a lookup finds something among the terms of a text.
    fn finds(terms: &[(TermKind, String)], kind: TermKind, lookup: &Lookup) -> bool {
        let mut of_kind = terms.iter().filter(|(found, _)| *found == kind).map(|(_, term)| term.as_str());
        match lookup {
            Lookup::Nothing => false,
            Lookup::Within(text, start, end) => of_kind.any(|term| match (start, end) {
                (End::Open, End::Open) => term.contains(&**text),
                (End::Open, End::Closed) => term.ends_with(&**text),
                (End::Closed, End::Open) => term.starts_with(&**text),
                (End::Closed, End::Closed) => term == &**text,
            }),
            Lookup::Every(every) => every.iter().all(|wanted| of_kind.clone().any(|term| term == &**wanted)),
        }
    }

    #[test]
    fn runs_are_words_pairs_or_triples() {
        let word = |text: &str| (TermKind::Word, text.to_owned());
        assert_eq!(terms("a-b1, x"), Ok(vec![word("a"), word("b1"), word("x")]));
        assert_eq!(terms(""), Ok(vec![]));
        assert_eq!(terms(" .. "), Ok(vec![]));
        let longest = "x".repeat(WORD_OCTETS_MAX);
        assert_eq!(terms(&longest), Ok(vec![word(&longest)]));
        let triples = terms(&(longest + "y")).unwrap_or_default();
        assert_eq!(triples.len(), WORD_OCTETS_MAX - 1);
        assert_eq!(triples.last(), Some(&(TermKind::Triple, "xxy".to_owned())));
        let pair = |text: &str| (TermKind::Pair, text.to_owned());
        assert_eq!(terms("日本語 人"), Ok(vec![pair("日本"), pair("本語"), pair("人")]));
    }

    #[test]
    fn a_run_beyond_the_limit_is_told() {
        let longest = "x".repeat(RUN_OCTETS_MAX);
        assert!(terms(&longest).is_ok());
        assert_eq!(terms(&format!("{longest}x")), Err(RunTooLong));
        assert_eq!(terms(&format!("{longest}x ")), Err(RunTooLong));
        assert_eq!(terms_of(&[&longest, "x", " a"]), Err(RunTooLong));
    }

    #[test]
    fn runs_of_a_needle_know_their_ends() {
        let run = |text: &str, start, end| NeedleRun { text: text.into(), start, end };
        use End::{Closed, Open};
        assert_eq!(NeedleRun::all("abc"), [run("abc", Open, Open)]);
        assert_eq!(
            NeedleRun::all("ab-c d"),
            [run("ab", Open, Closed), run("c", Closed, Closed), run("d", Closed, Open)]
        );
        assert_eq!(NeedleRun::all(" a."), [run("a", Closed, Closed)]);
        assert_eq!(NeedleRun::all("-- "), []);
    }

    /// Texts that meet all kinds of runs and their borders.
    fn text() -> impl Strategy<Value = String> {
        let word = prop_oneof![
            4 => "[a-cß0İ]{1,4}",
            1 => "[ab]{30,36}",
            1 => "[ab]{60,90}",
            2 => "[日本ก가a]{1,4}",
            1 => "[éж]{14,18}",
        ];
        let gap =
            prop_oneof![4 => Just(" "), 1 => Just(""), 1 => Just(", "), 1 => Just("\u{301}"), 1 => Just("_")];
        proptest::collection::vec((word, gap), 0..6)
            .prop_map(|parts| parts.into_iter().map(|(word, gap)| word + gap).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn no_text_that_has_a_needle_is_missed(text in text(), a in 0usize..200, length in 1usize..40, cut in 0usize..200) {
            let folded = fold(&text);
            let characters: Vec<char> = folded.chars().collect();
            if characters.is_empty() {
                return Ok(());
            }
            let start = a % characters.len();
            let needle: String = characters[start..(start + length).min(characters.len())].iter().collect();
            // The text may come in any pieces.
            let cut = folded.floor_char_boundary(cut % (folded.len() + 1));
            let terms = terms_of(&[&folded[..cut], &folded[cut..]]).unwrap_or_default();
            for run in NeedleRun::all(&needle) {
                let kinds = [TermKind::Word, TermKind::Pair, TermKind::Triple];
                let found = kinds.into_iter().any(|kind| finds(&terms, kind, &run.lookup(kind)));
                prop_assert!(found, "{run:?} of {needle:?} in {folded:?}: {terms:?}");
            }
        }

        #[test]
        fn a_word_with_a_run_in_it_has_the_needle(text in text(), needle in "[a-c0]{1,3}") {
            let folded = fold(&text);
            let terms = terms(&folded).unwrap_or_default();
            let [run] = &NeedleRun::all(&needle)[..] else { panic!("{needle} is one run") };
            if finds(&terms, TermKind::Word, &run.lookup(TermKind::Word)) {
                prop_assert!(folded.contains(&needle));
            }
        }
    }
}
