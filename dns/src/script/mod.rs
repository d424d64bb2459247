//! A resolver that answers from a script, for every test above the resolver.
//!
//! A script is written like a master file (RFC 1035 §5.1), with directives for what a master file can't say:
//! servers that fail, and what can be believed.
//!
//! ```text
//! $ORIGIN example.              ; names without a dot at their end lie below it
//! $TTL 300
//! @       MX    10 mx
//! mx      A     192.0.2.1
//! *.wild  TXT   "one string" "another, \"quoted\", \059 \255"
//! www     CNAME mx.example.org.
//! old     DNAME new.example.
//!
//! $SECURE        @              ; this name and all below it; the closest directive wins
//! $INSECURE      sub            ; what everything is without a directive
//! $INDETERMINATE island.
//! $BOGUS         @ TXT          ; only these types: no answer, and why
//! $SERVFAIL      broken A AAAA  ; these types of this name fail
//! $TIMEOUT       slow           ; every type of which the script has no record
//! $SERVFAIL      *.deep         ; names below
//! $TIMEOUT       error.*        ; names that start with a label, anywhere
//! $ERROR         broken 22 "no reachable authority" ; an extended error (RFC 8914) for a name and all below
//! ```
//!
//! Names of which nothing is said don't exist. Wildcards (RFC 4592), aliases (CNAME and DNAME) and names
//! that exist only because of names below them are as in DNS. What was asked is counted and kept in order.

mod text;

use std::cell::RefCell;
use std::collections::BTreeMap;

use hickory_proto::rr::rdata::{CNAME, NULL};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::answer::{Answer, Authenticity, ExtendedError, Lookup, Outcome, Step};
use crate::names;

pub use text::ScriptError;

/// Aliases that an answer may go through; the resolver's own limit.
const ALIASES_MAX: usize = crate::limits::ALIASES_MAX;

/// What goes wrong with a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Every upstream answers SERVFAIL.
    ServerFailure,
    /// No upstream answers in time.
    Timeout,
}

/// Which names a failure is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// This name alone.
    Name(Name),
    /// The names below this one, which isn't meant itself.
    Below(Name),
    /// The names whose first label is this.
    Starting(Vec<u8>),
}

impl Scope {
    fn has(&self, name: &Name) -> bool {
        match self {
            Self::Name(this) => this == name,
            Self::Below(this) => this != name && this.zone_of(name),
            Self::Starting(label) => {
                name.iter().next().is_some_and(|first| first.eq_ignore_ascii_case(label))
            }
        }
    }
}

/// A directive for a part of the names, and for some types or for all.
#[derive(Clone, Debug)]
struct Rule<S, T> {
    scope: S,
    /// Empty: all types.
    kinds: Vec<RecordType>,
    what: T,
}

/// A question that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The name, as it was asked.
    pub name: Name,
    /// The type.
    pub kind: RecordType,
}

/// A resolver that answers from zones in text form. See the module.
#[derive(Debug, Default)]
pub struct Script {
    records: BTreeMap<Name, Vec<Record>>,
    failures: Vec<Rule<Scope, Failure>>,
    beliefs: Vec<Rule<Name, Authenticity>>,
    errors: Vec<Rule<Name, ExtendedError>>,
    asked: RefCell<Vec<Question>>,
}

impl Script {
    /// A script in which no name exists.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a script.
    pub fn parse(text: &str) -> Result<Self, ScriptError> {
        let mut script = Self::new();
        text::read(&mut script, text)?;
        Ok(script)
    }

    /// Adds what `text` says to the script.
    pub fn add(&mut self, text: &str) -> Result<(), ScriptError> {
        text::read(self, text)
    }

    /// Adds a record, for data that a text form would hide.
    pub fn add_record(&mut self, mut record: Record) {
        record.name.set_fqdn(true);
        let records = self.records.entry(record.name.clone()).or_default();
        if !records.iter().any(|known| known.data == record.data) {
            records.push(record);
        }
    }

    /// Makes lookups fail: of the types, or, with none named, of every type of which there is no record.
    /// What was said last counts.
    pub fn fail(&mut self, scope: Scope, kinds: &[RecordType], failure: Failure) {
        self.failures.push(Rule { scope, kinds: kinds.to_vec(), what: failure });
    }

    /// Says whether what is at `name` and below can be believed: of the types, or of all. The closest name
    /// counts; there, named types before all, and what was said last.
    pub fn believe(&mut self, name: Name, kinds: &[RecordType], authenticity: Authenticity) {
        self.beliefs.push(Rule { scope: name, kinds: kinds.to_vec(), what: authenticity });
    }

    /// Adds an extended error to all answers at `name` and below.
    pub fn report(&mut self, name: Name, error: ExtendedError) {
        self.errors.push(Rule { scope: name, kinds: Vec::new(), what: error });
    }

    /// What was asked, in order.
    #[must_use]
    pub fn questions(&self) -> Vec<Question> {
        self.asked.borrow().clone()
    }

    /// How many lookups were made.
    #[must_use]
    pub fn lookups(&self) -> usize {
        self.asked.borrow().len()
    }

    /// Forgets what was asked.
    pub fn forget(&self) {
        self.asked.borrow_mut().clear();
    }

    /// The answer to a question, without counting it.
    #[must_use]
    pub fn answer(&self, name: &Name, kind: RecordType) -> Answer {
        let mut name = name.clone();
        name.set_fqdn(true);
        let mut walk = Walk {
            answer: Answer {
                name: name.clone(),
                kind,
                outcome: Outcome::NoName,
                records: Vec::new(),
                aliases: Vec::new(),
                authenticity: Authenticity::Secure,
                reason: String::new(),
                errors: Vec::new(),
                ttl: text::TTL_DEFAULT,
            },
            here: name,
        };
        while self.step(&mut walk) {}
        walk.answer
    }

    /// Looks at one name; whether the answer goes on at another.
    fn step(&self, walk: &mut Walk) -> bool {
        let (here, kind) = (walk.here.clone(), walk.answer.kind);
        let errors = self.errors.iter().filter(|rule| rule.scope.zone_of(&here)).map(|rule| &rule.what);
        for error in errors {
            if !walk.answer.errors.contains(error) {
                walk.answer.errors.push(error.clone());
            }
        }
        let (records, exists) = self.at(&here);
        let belief = self.belief(&here, kind);
        if let Some(failure) = self.failure(&here, kind, &records) {
            // A failure isn't data: nothing can be said of it.
            return walk.fail(failure.reason(), Authenticity::Indeterminate);
        }
        if belief == Authenticity::Bogus {
            let reason = format!("the script says that {here} {kind} is bogus");
            return walk.fail(reason, Authenticity::Bogus);
        }
        let found: Vec<Record> = records.iter().filter(|one| one.record_type() == kind).cloned().collect();
        if found.is_empty()
            && let Some((target, ttl)) = self.alias(&here, &records)
        {
            return walk.follow(target, belief, ttl);
        }
        walk.answer.authenticity = walk.answer.authenticity.and(belief);
        walk.answer.outcome = match (found.is_empty(), exists) {
            (false, _) => Outcome::Found,
            (true, true) => Outcome::NoData,
            (true, false) => Outcome::NoName,
        };
        let least = found.iter().map(|record| record.ttl).min();
        walk.answer.ttl = walk.answer.ttl.min(least.unwrap_or(text::TTL_DEFAULT));
        walk.answer.records = found;
        walk.explain();
        false
    }

    /// The records at a name, by a wildcard when there is none (RFC 4592 §3.3.1), and whether it exists.
    fn at(&self, name: &Name) -> (Vec<Record>, bool) {
        let is_there = |name: &Name| self.records.keys().any(|known| name.zone_of(known));
        if is_there(name) {
            return (self.records.get(name).cloned().unwrap_or_default(), true);
        }
        let mut encloser = name.base_name();
        while !encloser.is_root() && !is_there(&encloser) {
            encloser = encloser.base_name();
        }
        let wildcard = encloser.prepend_label("*").ok().and_then(|source| self.records.get(&source));
        let Some(records) = wildcard else { return (Vec::new(), false) };
        let made = records.iter().map(|record| {
            let mut record = record.clone();
            record.name = name.clone();
            record
        });
        (made.collect(), true)
    }

    /// Where a CNAME at the name or a DNAME above it leads to, and for how long.
    fn alias(&self, name: &Name, records: &[Record]) -> Option<(Name, u32)> {
        let own = records.iter().find_map(|record| match &record.data {
            RData::CNAME(CNAME(target)) => Some((target.clone(), record.ttl)),
            _ => None,
        });
        own.or_else(|| {
            let mut above = name.base_name();
            loop {
                let made = self.records.get(&above).into_iter().flatten().find_map(|record| {
                    let target = names::dname_target(&record.data)?;
                    Some((names::replace_end(name, &above, &target)?, record.ttl))
                });
                if made.is_some() || above.is_root() {
                    return made;
                }
                above = above.base_name();
            }
        })
    }

    fn failure(&self, name: &Name, kind: RecordType, records: &[Record]) -> Option<Failure> {
        let has_records = records.iter().any(|record| record.record_type() == kind);
        let applies = |rule: &&Rule<Scope, Failure>| {
            let kinds = if rule.kinds.is_empty() { !has_records } else { rule.kinds.contains(&kind) };
            kinds && rule.scope.has(name)
        };
        self.failures.iter().rev().find(applies).map(|rule| rule.what)
    }

    fn belief(&self, name: &Name, kind: RecordType) -> Authenticity {
        self.beliefs
            .iter()
            .filter(|rule| rule.scope.zone_of(name) && (rule.kinds.is_empty() || rule.kinds.contains(&kind)))
            // The last of the greatest.
            .max_by_key(|rule| (rule.scope.num_labels(), !rule.kinds.is_empty()))
            .map_or(Authenticity::Insecure, |rule| rule.what)
    }
}

impl Lookup for Script {
    async fn lookup(&self, name: &Name, kind: RecordType) -> Answer {
        self.asked.borrow_mut().push(Question { name: name.clone(), kind });
        self.answer(name, kind)
    }
}

impl Failure {
    fn reason(self) -> String {
        match self {
            Self::ServerFailure => "every upstream failed: SERVFAIL".into(),
            Self::Timeout => "no upstream answered in time".into(),
        }
    }
}

/// An answer in the making.
struct Walk {
    answer: Answer,
    here: Name,
}

impl Walk {
    fn fail(&mut self, reason: String, authenticity: Authenticity) -> bool {
        let answer = &mut self.answer;
        answer.outcome = Outcome::Failed;
        answer.authenticity = answer.authenticity.and(authenticity);
        answer.reason = reason;
        answer.ttl = 0;
        false
    }

    fn follow(&mut self, target: Name, authenticity: Authenticity, ttl: u32) -> bool {
        let answer = &mut self.answer;
        let seen = target == answer.name || answer.aliases.iter().any(|step| step.to == target);
        answer.authenticity = answer.authenticity.and(authenticity);
        answer.ttl = answer.ttl.min(ttl);
        answer.aliases.push(Step { from: self.here.clone(), to: target.clone(), authenticity });
        if seen {
            return self.fail(format!("aliases of {} form a loop", self.answer.name), Authenticity::Secure);
        }
        if answer.aliases.len() > ALIASES_MAX {
            return self.fail(format!("over {ALIASES_MAX} aliases"), Authenticity::Secure);
        }
        self.here = target;
        true
    }

    fn explain(&mut self) {
        self.answer.reason = match self.answer.authenticity {
            Authenticity::Secure => String::new(),
            other => format!("the script says {}", other.word()),
        };
    }
}

/// A DNAME, which the library has no type for.
fn dname(target: &Name) -> RData {
    let mut octets = Vec::with_capacity(target.len());
    for label in target.iter() {
        octets.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
        octets.extend_from_slice(label);
    }
    octets.push(0);
    RData::Unknown { code: RecordType::DNAME, rdata: NULL::with(octets) }
}

#[cfg(test)]
mod tests;
