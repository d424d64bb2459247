//! A search made ready for a mailbox: sets resolved, keywords looked up, terms folded; and what can be
//! decided without looking at a message.

use std::sync::{Arc, OnceLock};

use postrider_proto::imap::command::{DateTest, SearchKey, TextTarget};
use postrider_proto::imap::objectid::{ObjectId, ObjectKind};
use postrider_proto::imap::sequence::MessageSet;
use postrider_proto::imap::types::{Flags, Keyword};
use postrider_proto::imap::uidset::UidSet;
use postrider_proto::mime::FieldName;
use postrider_proto::mime::text::Needle;
use postrider_storage::ids::{AccountId, EmailId, KeywordId, ThreadId};
use postrider_storage::reader::FlagQuery;
use postrider_storage::text::Hits;

/// A condition on one message.
pub enum Test {
    /// Known beforehand.
    Constant(bool),
    /// All of these.
    All(Vec<Self>),
    /// One of these.
    Any(Vec<Self>),
    /// Not this.
    Not(Box<Self>),
    /// One of these messages.
    In(UidSet),
    /// Has the flags.
    Flags(Flags),
    /// Has the keyword.
    Keyword(KeywordId),
    /// The day of the internal date.
    Received(DateTest, i64),
    /// An internal date of this second or earlier.
    ReceivedUpTo(i64),
    /// An internal date of this second or later.
    ReceivedFrom(i64),
    /// The day on which it came into the mailbox.
    Saved(DateTest, i64),
    /// This email.
    Email(EmailId),
    /// An email of this thread.
    Thread(ThreadId),
    /// The day of the Date field.
    Sent(DateTest, i64),
    /// More octets.
    Larger(u64),
    /// Fewer octets.
    Smaller(u64),
    /// A modification sequence of at least this.
    ModSeq(u64),
    /// The term in a field that the structure record has.
    Field(FieldName, Needle),
    /// The term in a field that only the header has.
    Header(Box<str>, Needle),
    /// The term with this index somewhere in the text.
    Text(usize),
}

/// Where a term is looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// In texts, and in headers of messages inside the message.
    Body,
    /// In all headers too.
    Everything,
}

/// A term that is looked for in texts.
pub struct Term {
    /// Where.
    pub scope: Scope,
    /// What.
    pub needle: Needle,
}

/// A search of one mailbox.
///
/// What the text index says is known later than the rest: the cheaper facts may make it needless.
pub struct Tree {
    /// The condition.
    pub test: Test,
    /// The terms of its `Text` tests.
    pub terms: Vec<Term>,
    /// Whether modification sequences are asked for (RFC 7162 §3.1.5).
    pub has_modseq: bool,
    /// What the text index says of each term, once it was asked.
    pub hits: OnceLock<Arc<[Option<Hits>]>>,
}

/// What a search refers to.
pub struct Names<'a> {
    /// The account that owns the mailbox.
    pub account: AccountId,
    /// The time, in seconds since 1970.
    pub now: i64,
    /// The messages by number.
    pub view: &'a UidSet,
    /// `$`
    pub saved: &'a UidSet,
    /// Looks up a keyword.
    pub keyword: &'a dyn Fn(&Keyword) -> Option<KeywordId>,
}

impl Tree {
    /// Makes a search ready.
    pub fn new(key: &SearchKey, names: &Names<'_>) -> Self {
        let mut tree =
            Self { test: Test::Constant(true), terms: Vec::new(), has_modseq: false, hits: OnceLock::new() };
        tree.test = tree.test_of(key, names);
        tree
    }

    fn test_of(&mut self, key: &SearchKey, names: &Names<'_>) -> Test {
        match key {
            SearchKey::All => Test::Constant(true),
            SearchKey::Nothing => Test::Constant(false),
            SearchKey::And(keys) => {
                all(keys.iter().map(|key| self.test_of(key, names)).collect(), true, Test::All)
            }
            SearchKey::Or(keys) => {
                let tests = vec![self.test_of(&keys.0, names), self.test_of(&keys.1, names)];
                all(tests, false, Test::Any)
            }
            SearchKey::Not(key) => match self.test_of(key, names) {
                Test::Constant(value) => Test::Constant(!value),
                Test::Not(test) => *test,
                test => Test::Not(Box::new(test)),
            },
            SearchKey::Flag(flags) => Test::Flags(*flags),
            SearchKey::Keyword(keyword) => {
                (names.keyword)(keyword).map_or(Test::Constant(false), Test::Keyword)
            }
            SearchKey::Sequence(MessageSet::Set(set)) => Test::In(names.view.resolve_sequence_leniently(set)),
            SearchKey::Sequence(MessageSet::Saved) => Test::In(names.view.intersection(names.saved)),
            SearchKey::Uid(set) => Test::In(names.view.resolve_uid_argument(set, names.saved)),
            SearchKey::Text(target, text) => self.text(target, text),
            SearchKey::InternalDate(test, date) => Test::Received(*test, date.days()),
            SearchKey::SentDate(test, date) => Test::Sent(*test, date.days()),
            SearchKey::SavedDate(test, date) => Test::Saved(*test, date.days()),
            SearchKey::Older(seconds) => Test::ReceivedUpTo(names.now.saturating_sub(seconds.get().into())),
            SearchKey::Younger(seconds) => Test::ReceivedFrom(names.now.saturating_sub(seconds.get().into())),
            SearchKey::EmailId(id) => {
                let email = number(*id, ObjectKind::Email, names.account).map(EmailId);
                email.map_or(Test::Constant(false), Test::Email)
            }
            SearchKey::ThreadId(id) => {
                let thread = number(*id, ObjectKind::Thread, names.account).map(ThreadId);
                thread.map_or(Test::Constant(false), Test::Thread)
            }
            SearchKey::Larger(octets) => Test::Larger(*octets),
            SearchKey::Smaller(octets) => Test::Smaller(*octets),
            SearchKey::ModSeq(modseq) => {
                self.has_modseq = true;
                Test::ModSeq(*modseq)
            }
        }
    }

    fn text(&mut self, target: &TextTarget, text: &str) -> Test {
        let needle = Needle::new(text);
        let scope = match target {
            TextTarget::Bcc => return Test::Field(FieldName::Bcc, needle),
            TextTarget::Cc => return Test::Field(FieldName::Cc, needle),
            TextTarget::From => return Test::Field(FieldName::From, needle),
            TextTarget::Subject => return Test::Field(FieldName::Subject, needle),
            TextTarget::To => return Test::Field(FieldName::To, needle),
            TextTarget::Header(name) => {
                let kept = FieldName::from_name(name.as_bytes()).filter(|field| field.is_envelope());
                return match kept {
                    Some(field) => Test::Field(field, needle),
                    None => Test::Header(name.clone(), needle),
                };
            }
            TextTarget::Body => Scope::Body,
            TextTarget::Text => Scope::Everything,
        };
        // The empty text is in every text.
        if text.is_empty() {
            return Test::Constant(true);
        }
        self.terms.push(Term { scope, needle });
        Test::Text(self.terms.len() - 1)
    }
}

/// The number of an object of `account`; none when the identifier is of something else.
fn number(id: Option<ObjectId>, kind: ObjectKind, account: AccountId) -> Option<u64> {
    id.filter(|id| id.kind == kind && id.account == account.0).map(|id| id.number)
}

/// Joins tests; `neutral` is the constant that says nothing, the other one decides.
fn all(tests: Vec<Test>, neutral: bool, join: fn(Vec<Test>) -> Test) -> Test {
    let decided = |test: &Test| matches!(test, Test::Constant(value) if *value != neutral);
    if tests.iter().any(decided) {
        return Test::Constant(!neutral);
    }
    let mut tests: Vec<Test> = tests.into_iter().filter(|test| !matches!(test, Test::Constant(_))).collect();
    match tests.len() {
        0 => Test::Constant(neutral),
        1 => tests.swap_remove(0),
        _ => join(tests),
    }
}

impl Test {
    /// The messages that satisfy this, when sets alone decide.
    pub fn set(&self, view: &UidSet) -> Option<UidSet> {
        match self {
            Self::Constant(true) => Some(view.clone()),
            Self::Constant(false) => Some(UidSet::new()),
            Self::In(uids) => Some(uids.clone()),
            Self::Not(test) => Some(view.difference(&test.set(view)?)),
            Self::All(tests) => {
                tests.iter().try_fold(view.clone(), |found, test| Some(found.intersection(&test.set(view)?)))
            }
            Self::Any(tests) => {
                tests.iter().try_fold(UidSet::new(), |found, test| Some(found.union(&test.set(view)?)))
            }
            _ => None,
        }
    }

    /// Messages outside of this don't satisfy the test.
    pub fn bound(&self, view: &UidSet) -> UidSet {
        match self {
            Self::All(tests) => {
                tests.iter().fold(view.clone(), |found, test| found.intersection(&test.bound(view)))
            }
            Self::Any(tests) => {
                tests.iter().fold(UidSet::new(), |found, test| found.union(&test.bound(view)))
            }
            test => test.set(view).unwrap_or_else(|| view.clone()),
        }
    }

    /// Messages whose flags are otherwise don't satisfy the test.
    pub fn flag_query(&self) -> FlagQuery {
        let none = FlagQuery { set: Flags::NONE, unset: Flags::NONE };
        match self {
            Self::Flags(flags) => FlagQuery { set: *flags, ..none },
            Self::Not(test) => match **test {
                // Of several flags one may be missing, whichever.
                Self::Flags(flags) if flags.bits().is_power_of_two() => FlagQuery { unset: flags, ..none },
                _ => none,
            },
            Self::All(tests) => tests
                .iter()
                .map(Self::flag_query)
                .fold(none, |a, b| FlagQuery { set: a.set.with(b.set), unset: a.unset.with(b.unset) }),
            _ => none,
        }
    }

    /// Whether any test is `wanted`.
    pub fn has(&self, wanted: fn(&Self) -> bool) -> bool {
        wanted(self)
            || match self {
                Self::All(tests) | Self::Any(tests) => tests.iter().any(|test| test.has(wanted)),
                Self::Not(test) => test.has(wanted),
                _ => false,
            }
    }
}
