//! Makes the directory as a document says, however large either is.
//!
//! The text is read piece by piece, and what it wants is put aside as rows ([`wanted`]). Passes over those
//! and over the rows of the directory, each in order, find the changes ([`passes`]) and make them on a draft.
//! What the draft holds goes out as batches of bounded size, into the staging rows of
//! [`stage`](super::stage), and is read from there. What fits one batch isn't staged: it is that batch.
//!
//! All of it goes in steps of bounded time and memory. [`Apply::step`] works on a snapshot and gives a batch
//! that is to be committed before the next step, which gets a later snapshot. Nobody else may change the
//! directory meanwhile.

mod passes;
mod walking;
mod wanted;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use postrider_proto::address::Domain;
use postrider_proto::sasl::secrets::StoredSecrets;
use postrider_proto::sasl::text::prepare_password;
use postrider_proto::sasl::{self, Verdict};

use super::change::Change;
use super::document::{
    Credential, DkimEntry, DkimSource, Entry, Fault, KeyText, Line, Piece, Placed, Splitter, read,
};
use super::draft::{Draft, Pending};
use super::lookup::Directory;
use super::plan::{DirectoryError, apply};
use super::stage::{Overlay, PlanState, encode_plan, plan_key};
use super::types::{DkimSecret, DomainSettings, Limits};
use crate::engine::{Batch, EngineError, Snapshot, Space};
use passes::Pass;
use walking::{Unwalkable, Walking};
pub(super) use wanted::is_readable;

/// Writes that are kept before they are staged, octets. Small, since a few of them wait in the committer and
/// the engine at the same time.
pub const PENDING_OCTETS_MAX: usize = 1 << 20;
/// How long a step goes on, but for one account, alias or password that takes longer.
const STEP_TIME: Duration = Duration::from_millis(20);
/// Faults of a text that are told; the others are counted.
const FAULTS_TOLD_MAX: usize = 50;

/// Derives what is stored of a new password, or says why it won't do.
pub type Derive = Box<dyn Fn(&str) -> Result<StoredSecrets, String> + Send>;

/// Reads a DKIM key that a document gives, or says why it won't do.
pub type ReadKey = Box<dyn Fn(KeyText<'_>) -> Result<DkimSecret, String> + Send>;

/// Whether changes are to be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// They are only looked for; all checks are made.
    Try,
    /// They are made.
    Make,
}

/// How a document is applied.
pub struct Options {
    /// Whether changes are to be made.
    pub mode: Mode,
    /// Bounds of single values.
    pub limits: Limits,
    /// The time, in seconds since 1970.
    pub now: i64,
    /// The first rows of a new account, as they are for whatever account number: the number in their keys
    /// is replaced, and in their values there is none.
    pub first_rows: Batch,
    /// For passwords that are given in clear.
    pub derive: Derive,
    /// For DKIM keys.
    pub read_key: ReadKey,
    /// Usually [`PENDING_OCTETS_MAX`].
    pub pending_octets_max: usize,
}

/// Why a document is not applied. Nothing is changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ApplyError {
    /// The text is no directory.
    #[error("{}", told(faults, *more))]
    Document {
        /// The first faults, by line.
        faults: Vec<Fault>,
        /// How many more there are.
        more: u64,
    },
    /// A change can't be made.
    #[error("{}", Fault { line: *line as usize, problem: error.to_string() })]
    Refused {
        /// The line that wants it; 0 where none does.
        line: u32,
        /// Why.
        error: DirectoryError,
    },
}

impl From<EngineError> for ApplyError {
    fn from(error: EngineError) -> Self {
        Self::Refused { line: 0, error: error.into() }
    }
}

fn told(faults: &[Fault], more: u64) -> String {
    let lines: Vec<_> = faults.iter().map(ToString::to_string).collect();
    let text = lines.join("\n");
    if more > 0 { format!("{text}\nand {more} more") } else { text }
}

/// What a step gives.
#[derive(Debug, Default)]
pub struct Step {
    /// To be committed before the next step, if it isn't empty. Buffered: the seal makes all durable.
    pub batch: Batch,
    /// The changes that were found, a line each.
    pub lines: String,
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// So many entries of the text were read.
    Reading(u64),
    /// So many steps of so many were made; one for each account and address that is looked at.
    Comparing(u64, u64),
}

/// What is left to be committed.
#[derive(Debug)]
pub enum Finish {
    /// Nothing: there are no changes, or they are not to be made.
    Nothing,
    /// All of it, in this batch.
    Whole(Batch),
    /// The batch that seals the plan, to be committed as synced. From then on the changes are there; the
    /// rest is up to [`Settling`](super::Settling).
    Seal(Batch),
}

/// A document that is being applied.
pub struct Apply {
    options: Options,
    splitter: Splitter,
    pieces: VecDeque<Piece>,
    ended: bool,
    pass: Pass,
    /// The key that the pass has come to.
    after: Option<Vec<u8>>,
    pending: Pending,
    spilled: bool,
    /// Tables that are looked up row by row for the rest of this pass.
    unwalkable: Unwalkable,
    faults: Vec<Fault>,
    faults_more: u64,
    lines: String,
    changes: u64,
    entries: u64,
    accounts: u64,
    done: u64,
    total: u64,
    /// A domain of the document that was looked up, and what it found.
    domain: Option<(Domain, Option<DomainSettings>)>,
}

impl Apply {
    /// Begins.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            splitter: Splitter::default(),
            pieces: VecDeque::new(),
            ended: false,
            pass: Pass::Reading,
            after: None,
            pending: Pending::default(),
            spilled: false,
            unwalkable: Unwalkable::default(),
            faults: Vec::new(),
            faults_more: 0,
            lines: String::new(),
            changes: 0,
            entries: 0,
            accounts: 0,
            done: 0,
            total: 0,
            domain: None,
        }
    }

    /// Takes the next octets of the text; none at its end. To be called when [`Apply::wants_text`] says so.
    pub fn text(&mut self, chunk: Option<&[u8]>) {
        let Self { splitter, pieces, .. } = self;
        let each = &mut |piece| pieces.push_back(piece);
        match chunk {
            Some(chunk) => {
                if let Err(fault) = splitter.push(chunk, each) {
                    self.fault(fault.line, fault.problem);
                    // What follows can't be told apart any more.
                    self.ended = true;
                }
            }
            None => {
                splitter.finish(each);
                self.ended = true;
            }
        }
    }

    /// Whether the next step needs more of the text.
    pub fn wants_text(&self) -> bool {
        self.pass == Pass::Reading && self.pieces.is_empty() && !self.ended
    }

    /// Whether all changes are found and [`Apply::finish`] is next.
    pub fn is_done(&self) -> bool {
        self.pass == Pass::Done
    }

    /// Changes that were found.
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// Whether there is a plan in the store, which has to be settled, whatever comes.
    pub const fn is_staged(&self) -> bool {
        self.spilled
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        match self.pass {
            Pass::Reading => Progress::Reading(self.entries),
            _ => Progress::Comparing(self.done.min(self.total), self.total),
        }
    }

    /// Goes on for a while. `snapshot` is the engine's own, and later than the commit of the step before.
    pub fn step(&mut self, snapshot: &dyn Snapshot) -> Result<Step, ApplyError> {
        let snapshot = Walking::new(snapshot, std::mem::take(&mut self.unwalkable));
        let planned = Overlay(&snapshot);
        // While nothing is staged, the snapshot is the directory, and needs no second look for each row.
        let planned: &dyn Snapshot = if self.pending.is_staged() { &planned } else { &snapshot };
        let mut draft = Draft::resume(planned, std::mem::take(&mut self.pending))?;
        let (begun, pass) = (Instant::now(), self.pass.clone());
        while !self.is_done()
            && !self.wants_text()
            && draft.octets() < self.options.pending_octets_max
            && begun.elapsed() < STEP_TIME
        {
            self.page(&mut draft, &snapshot)?;
        }
        self.pending = draft.pause();
        if self.pass == pass {
            self.unwalkable = snapshot.unwalkable();
        }
        let batch = if self.pending.octets() >= self.options.pending_octets_max {
            self.spill(match self.options.mode {
                Mode::Try => PlanState::Trying,
                Mode::Make => PlanState::Writing,
            })
        } else {
            Batch::new()
        };
        Ok(Step { batch, lines: std::mem::take(&mut self.lines) })
    }

    /// Says what is left to be committed, when [`Apply::is_done`].
    pub fn finish(&mut self, snapshot: &dyn Snapshot) -> Result<Finish, ApplyError> {
        if self.changes == 0 || self.options.mode == Mode::Try {
            return Ok(Finish::Nothing);
        }
        if self.spilled {
            return Ok(Finish::Seal(self.spill(PlanState::Sealed)));
        }
        let planned = Overlay(snapshot);
        let draft = Draft::resume(&planned, std::mem::take(&mut self.pending))?;
        Ok(Finish::Whole(draft.into_batch()?))
    }

    fn spill(&mut self, state: PlanState) -> Batch {
        let mut batch = self.pending.spill();
        if !std::mem::replace(&mut self.spilled, true) || state == PlanState::Sealed {
            batch.insert(Space::Rows, plan_key(), encode_plan(state));
        }
        batch
    }

    /// Reads the next piece of the text.
    fn piece(&mut self, draft: &mut Draft<'_>, snapshot: &dyn Snapshot) -> Result<(), ApplyError> {
        let Some(piece) = self.pieces.pop_front() else {
            self.next_pass(Pass::CheckAccounts);
            let status = Directory::new(snapshot).status()?;
            self.total = 3 * self.accounts + u64::from(status.accounts) + u64::from(status.addresses);
            return Ok(());
        };
        let (entries, faults) = read(&piece);
        for fault in faults {
            self.fault(fault.line, fault.problem);
        }
        for Placed { line, entry } in entries {
            self.entry(draft, snapshot, line, entry)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        draft: &mut Draft<'_>,
        snapshot: &dyn Snapshot,
        line: Line,
        entry: Entry,
    ) -> Result<(), ApplyError> {
        self.entries += 1;
        let (key, value) = match entry {
            Entry::Postmaster(account, mailbox) => {
                (wanted::all(wanted::POSTMASTER), wanted::encode_postmaster(line, &account, &mailbox))
            }
            Entry::Domain(domain, mut entry) => {
                for key in entry.dkim_keys.iter_mut().flatten() {
                    self.read_key(&domain, key, snapshot)?;
                }
                (wanted::key(wanted::DOMAIN, domain.as_str()), wanted::encode_domain(line, &entry))
            }
            Entry::Account(name, mut entry) => {
                self.accounts += 1;
                entry.addresses.sort_by(|a, b| (&a.address, a.line).cmp(&(&b.address, b.line)));
                entry.tls_keys.sort();
                if let Credential::Password(password) = &entry.credential {
                    let directory = Directory::new(snapshot);
                    let known = match directory.account_by_name(&name)? {
                        Some(account) => directory.secrets(account.id)?,
                        None => None,
                    };
                    entry.credential = match self.password(password.expose(), known.as_ref()) {
                        Ok(credential) => credential,
                        Err(problem) => {
                            self.fault(line as usize, format!("password of account {name}: {problem}"));
                            Credential::Unsaid
                        }
                    };
                }
                (wanted::key(wanted::ACCOUNT, name.as_str()), wanted::encode_account(line, &name, &entry))
            }
            Entry::Refusal(address, code) => {
                (wanted::key(wanted::REFUSAL, &address.to_string()), wanted::encode_refusal(line, code))
            }
            Entry::Alias(alias, entry) => {
                (wanted::key(wanted::ALIAS, &alias.to_string()), wanted::encode_alias(line, &entry))
            }
        };
        if draft.contains(&key)? {
            self.fault(line as usize, "given twice".to_owned());
        } else {
            draft.put(key, value);
        }
        Ok(())
    }

    /// Reads the key of an entry, or complains of it.
    fn read_key(
        &mut self,
        domain: &Domain,
        key: &mut DkimEntry,
        snapshot: &dyn Snapshot,
    ) -> Result<(), EngineError> {
        let read = match &key.source {
            DkimSource::Known(_) => return Ok(()),
            DkimSource::Inline(text) => (self.options.read_key)(KeyText::Inline(text.expose())),
            DkimSource::File(name) => (self.options.read_key)(KeyText::File(name)),
            DkimSource::Unsaid => Directory::new(snapshot)
                .dkim_key(domain, &key.selector)?
                .map(|known| known.secret)
                .ok_or_else(|| "there is no such key to keep; say key or key_file".to_owned()),
        };
        match read {
            Ok(secret) => key.source = DkimSource::Known(secret),
            Err(problem) => {
                self.fault(key.line as usize, format!("DKIM key {} of {domain}: {problem}", key.selector));
            }
        }
        Ok(())
    }

    /// A password that is the present one changes nothing.
    fn password(&self, password: &str, known: Option<&StoredSecrets>) -> Result<Credential, String> {
        if let Some(known) = known {
            let prepared = prepare_password(password.as_bytes(), &sasl::Limits::DEFAULT)
                .map_err(|error| error.to_string())?;
            if known.verify_password(prepared.expose()) == Verdict::Matches {
                return Ok(Credential::Unsaid);
            }
        }
        Ok(Credential::Verifiers(Box::new((self.options.derive)(password)?)))
    }

    /// Makes a change on the draft, and lists it.
    fn change(&mut self, draft: &mut Draft<'_>, line: Line, change: &Change) -> Result<(), ApplyError> {
        apply(draft, change, &self.options.limits, self.options.now)
            .map_err(|error| ApplyError::Refused { line, error })?;
        self.list(change);
        Ok(())
    }

    fn list(&mut self, change: &Change) {
        // Writing to a `String` cannot fail.
        let _ = writeln!(self.lines, "{change}");
        self.changes += 1;
    }

    fn fault(&mut self, line: usize, problem: String) {
        if self.faults.len() < FAULTS_TOLD_MAX {
            self.faults.push(Fault { line, problem });
        } else {
            self.faults_more += 1;
        }
    }

    fn next_pass(&mut self, pass: Pass) {
        self.pass = pass;
        self.after = None;
    }

    /// Fails when the document has faults.
    fn refuse_faults(&mut self) -> Result<(), ApplyError> {
        if self.faults.is_empty() {
            return Ok(());
        }
        let mut faults = std::mem::take(&mut self.faults);
        faults.sort_by_key(|fault| fault.line);
        Err(ApplyError::Document { faults, more: self.faults_more })
    }
}
