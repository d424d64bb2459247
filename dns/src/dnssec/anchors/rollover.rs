//! Anchors that follow their zone: automated updates of trust anchors (RFC 5011), as a state machine.
//!
//! Whoever holds the state asks for the DNSKEY records of the zone when [`Rollover::due`] says so, hands the
//! response to [`Rollover::observe`], and keeps what [`Rollover::to_text`] gives. A new key is trusted only after
//! it was seen, signed by a trusted key, for thirty days: so whoever stole a key can't add one unnoticed.

use std::fmt::{self, Write as _};

use data_encoding::BASE64;
use hickory_proto::dnssec::PublicKey;
use hickory_proto::dnssec::rdata::DNSKEY;
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RecordType};

use super::{TrustAnchors, text};
use crate::dnssec::keys::{Verification, Voucher, ZoneKey, keys_in};
use crate::dnssec::limits::{Limits, Work};
use crate::dnssec::reason::Reason;
use crate::dnssec::sets::{Section, Set};
use crate::dnssec::signature::{self, Signed, Signer};

/// Seconds for which a new key must be seen before it is trusted (RFC 5011 §2.4.1), and after which a revoked one is
/// forgotten (§4.2).
const HOLD_DOWN: u64 = 30 * DAY;
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
/// Keys whose state is kept.
const KEYS_MAX: usize = 32;
/// The first line of the state as text.
const HEADER: &str = "; trust anchors that follow their zone (RFC 5011), version 1";

/// What a key of the zone is for us (RFC 5011 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Seen, and not trusted before this time (seconds since 1970).
    AddPend {
        /// When it will be.
        until: u64,
    },
    /// Trusted.
    Valid,
    /// Trusted, though the zone doesn't have it at the moment.
    Missing,
    /// Revoked by itself: never trusted again.
    Revoked {
        /// When it may be forgotten.
        until: u64,
    },
}

/// Something that happened to a key, for logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloverChange {
    /// Its tag, without the REVOKE flag.
    pub tag: u16,
    /// What it was; none when it is new.
    pub before: Option<KeyState>,
    /// What it is; none when it was forgotten.
    pub after: Option<KeyState>,
}

/// What came of a look at the zone's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// What changed. When there is something, the state is to be kept and the anchors are to be renewed.
    pub changes: Vec<RolloverChange>,
    /// When to look next, in seconds since 1970.
    pub next: u64,
}

/// The anchors of one zone, and what is known of its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollover {
    zone: Name,
    keys: Vec<Tracked>,
    /// Anchors that are digests: trusted until a key that they are of is seen, then its key is.
    digests: Vec<Voucher>,
    next: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Tracked {
    key: ZoneKey,
    state: KeyState,
}

/// A state as text that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct StateError {
    /// From 1.
    pub line: usize,
    /// What is missing or wrong.
    pub what: &'static str,
}

impl Rollover {
    /// Starts to follow the keys of a zone, by its anchors; none when there are no anchors of the zone.
    #[must_use]
    pub fn start(zone: &Name, anchors: &TrustAnchors) -> Option<Self> {
        let vouchers = anchors.zones.get(zone)?;
        let mut rollover = Self { zone: zone.clone(), keys: Vec::new(), digests: Vec::new(), next: 0 };
        for voucher in vouchers.iter().take(KEYS_MAX) {
            match voucher {
                Voucher::Key(key) => rollover.keys.push(Tracked { key: key.clone(), state: KeyState::Valid }),
                Voucher::Digest(_) => rollover.digests.push(voucher.clone()),
            }
        }
        Some(rollover)
    }

    /// The zone.
    #[must_use]
    pub fn zone(&self) -> &Name {
        &self.zone
    }

    /// When the keys are to be looked at next, in seconds since 1970.
    #[must_use]
    pub fn due(&self) -> u64 {
        self.next
    }

    /// Tags and states of the keys.
    pub fn keys(&self) -> impl Iterator<Item = (u16, KeyState)> {
        self.keys.iter().map(|tracked| (tracked.key.tag, tracked.state))
    }

    /// Puts what is trusted now in the place of the zone's anchors. When every key was revoked, nothing of the zone
    /// can be validated until an operator says what to trust; it never becomes unsigned by that.
    pub fn apply(&self, anchors: &mut TrustAnchors) {
        let trusted = self.trusted().map(|key| Voucher::Key(key.clone()));
        let vouchers: Vec<_> = self.digests.iter().cloned().chain(trusted).collect();
        anchors.zones.insert(self.zone.clone(), vouchers);
    }

    fn trusted(&self) -> impl Iterator<Item = &ZoneKey> {
        let counts = |state| matches!(state, KeyState::Valid | KeyState::Missing);
        self.keys.iter().filter(move |tracked| counts(tracked.state)).map(|tracked| &tracked.key)
    }

    /// Looks at a response to a question for the zone's DNSKEY records.
    ///
    /// # Errors
    /// When no trusted key signed them, and none revoked itself. Nothing changes then but the time of the next look.
    pub fn observe(&mut self, response: &Message, now: u64) -> Result<Observation, Reason> {
        let limits = Limits::DEFAULT;
        let work = Work::new(&limits);
        let answers = Section::of(&response.answers);
        // RFC 5011 §2.3: at least an hour, at most a day, when it didn't work.
        self.next = now + HOUR;
        let missing = || Reason::KeysMissing { zone: self.zone.clone() };
        let set = answers.find(&self.zone, RecordType::DNSKEY).ok_or_else(missing)?;
        let seen: Vec<_> = keys_in(set.records.iter().copied()).filter_map(ZoneKey::of).collect();
        let mut changes = Vec::new();
        // A key revokes itself by its own signature, whoever else signs (RFC 5011 §2.1).
        self.revoke(set, &seen, now, &work, &mut changes)?;
        let signed = match self.verify(set, &seen, now, &work) {
            Ok(signed) => signed,
            Err(_) if !changes.is_empty() => return Ok(Observation { changes, next: self.next }),
            Err(reason) => return Err(reason),
        };
        self.adopt(&seen, &work, &mut changes)?;
        self.step(&seen, now, signed.ttl, &mut changes);

        // RFC 5011 §2.3: half of the TTL or of what the signature has left, whichever is less.
        let left = signed.signature.expiration.saturating_sub(now);
        self.next = now + (u64::from(signed.ttl) / 2).min(left / 2).clamp(HOUR, 15 * DAY);
        Ok(Observation { changes, next: self.next })
    }

    /// Verifies the keys by those that are trusted.
    fn verify(&self, set: &Set<'_>, seen: &[ZoneKey], now: u64, work: &Work<'_>) -> Result<Signed, Reason> {
        let mut trusted: Vec<_> = self.trusted().cloned().collect();
        for voucher in &self.digests {
            for key in seen.iter().filter(|key| key.data.zone_key() && !key.data.revoke()) {
                if voucher.vouches(&self.zone, key, work)? {
                    trusted.push(key.clone());
                }
            }
        }
        let verification = Verification::default();
        signature::verify(set, Signer { zone: &self.zone, keys: &trusted, verification, now }, work)
    }

    /// Puts keys in the place of digests that are of them.
    fn adopt(
        &mut self,
        seen: &[ZoneKey],
        work: &Work<'_>,
        changes: &mut Vec<RolloverChange>,
    ) -> Result<(), Reason> {
        let mut found = Vec::new();
        let mut kept = Vec::new();
        for voucher in &self.digests {
            let mut of = None;
            for key in seen.iter().filter(|key| key.data.zone_key() && !key.data.revoke()) {
                if voucher.vouches(&self.zone, key, work)? {
                    of = Some(key.clone());
                    break;
                }
            }
            match of {
                Some(key) => found.push(key),
                None => kept.push(voucher.clone()),
            }
        }
        self.digests = kept;
        for key in found {
            if self.keys.iter().all(|tracked| !is_same(&tracked.key, &key)) {
                changes.push(RolloverChange { tag: key.tag, before: None, after: Some(KeyState::Valid) });
                self.keys.push(Tracked { key, state: KeyState::Valid });
            }
        }
        Ok(())
    }

    /// A key that signed the set with its REVOKE flag set is revoked (RFC 5011 §2.1).
    fn revoke(
        &mut self,
        set: &Set<'_>,
        seen: &[ZoneKey],
        now: u64,
        work: &Work<'_>,
        changes: &mut Vec<RolloverChange>,
    ) -> Result<(), Reason> {
        for key in seen.iter().filter(|key| key.data.revoke()) {
            let Some(at) = self.keys.iter().position(|tracked| is_same(&tracked.key, key)) else { continue };
            let before = self.keys[at].state;
            if matches!(before, KeyState::Revoked { .. }) {
                continue;
            }
            let verification = Verification::default();
            let alone = std::slice::from_ref(key);
            match signature::verify(set, Signer { zone: &self.zone, keys: alone, verification, now }, work) {
                Err(limit @ Reason::Limit { .. }) => return Err(limit),
                Err(_) => continue,
                Ok(_) => {}
            }
            let tag = self.keys[at].key.tag;
            if let KeyState::AddPend { .. } = before {
                self.keys.remove(at);
                changes.push(RolloverChange { tag, before: Some(before), after: None });
            } else {
                self.keys[at].state = KeyState::Revoked { until: now + HOLD_DOWN };
                changes.push(RolloverChange { tag, before: Some(before), after: Some(self.keys[at].state) });
            }
        }
        Ok(())
    }

    /// Moves each key on by whether it is there and by the time (RFC 5011 §4).
    fn step(&mut self, seen: &[ZoneKey], now: u64, ttl: u32, changes: &mut Vec<RolloverChange>) {
        self.keys.retain_mut(|tracked| {
            let present = seen.iter().any(|key| is_same(key, &tracked.key) && !key.data.revoke());
            let before = tracked.state;
            let after = match (before, present) {
                (KeyState::AddPend { .. }, false) => None,
                (KeyState::AddPend { until }, true) if now >= until => Some(KeyState::Valid),
                (KeyState::Valid | KeyState::Missing, true) => Some(KeyState::Valid),
                (KeyState::Valid | KeyState::Missing, false) => Some(KeyState::Missing),
                (KeyState::Revoked { until }, _) if now >= until => None,
                (state, _) => Some(state),
            };
            if after != Some(before) {
                changes.push(RolloverChange { tag: tracked.key.tag, before: Some(before), after });
            }
            if let Some(state) = after {
                tracked.state = state;
            }
            after.is_some()
        });
        let candidate = |key: &&ZoneKey| {
            key.data.zone_key()
                && key.data.secure_entry_point()
                && !key.data.revoke()
                && Verification::default().supports_key(&key.data)
        };
        for key in seen.iter().filter(candidate) {
            let known = self.keys.iter().any(|tracked| is_same(&tracked.key, key));
            if known || self.keys.len() >= KEYS_MAX {
                continue;
            }
            // RFC 5011 §2.4.1: thirty days, or as long as the key may be in caches.
            let state = KeyState::AddPend { until: now + HOLD_DOWN.max(u64::from(ttl)) };
            changes.push(RolloverChange { tag: key.tag, before: None, after: Some(state) });
            self.keys.push(Tracked { key: key.clone(), state });
        }
    }

    /// The state as text, to be kept in a file: a key a line.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = format!("{HEADER}\n; next {}\n", self.next);
        for voucher in &self.digests {
            if let Voucher::Digest(ds) = voucher {
                let _ = writeln!(out, "{} DS {ds}", self.zone);
            }
        }
        for Tracked { key, state } in &self.keys {
            let (flags, octets) = (key.data.flags(), BASE64.encode(key.data.public_key().public_bytes()));
            let _ = writeln!(out, "{} DNSKEY {flags} 3 {} {octets} ; {state}", self.zone, key.algorithm);
        }
        out
    }

    /// Reads what [`Self::to_text`] wrote.
    ///
    /// # Errors
    /// Says the line and what is wrong.
    pub fn from_text(text: &str) -> Result<Self, StateError> {
        let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line));
        let header = lines.next();
        if header.is_none_or(|(_, line)| line != HEADER) {
            return Err(StateError { line: 1, what: "not a file of anchors of this version" });
        }
        let next = lines.next().and_then(|(_, line)| line.strip_prefix("; next ")?.parse().ok());
        let next = next.ok_or(StateError { line: 2, what: "no time of the next look" })?;
        let mut rollover: Option<Self> = None;
        for (line, record) in lines {
            let fail = |what| StateError { line, what };
            let (record, state) =
                record.split_once(" ; ").map_or((record, None), |(record, state)| (record, Some(state)));
            let anchors = text::parse(record).map_err(|_| fail("not a DS or DNSKEY record"))?;
            let one = anchors
                .zones
                .into_iter()
                .next()
                .and_then(|(zone, vouchers)| Some((zone, vouchers.into_iter().next()?)));
            let (zone, voucher) = one.ok_or(fail("not a DS or DNSKEY record"))?;
            let of = || Self { zone: zone.clone(), keys: Vec::new(), digests: Vec::new(), next };
            let rollover = rollover.get_or_insert_with(of);
            if rollover.zone != zone {
                return Err(fail("a record of another zone"));
            }
            if rollover.keys.len() + rollover.digests.len() >= 2 * KEYS_MAX {
                return Err(fail("too many records"));
            }
            match (voucher, state) {
                (voucher @ Voucher::Digest(_), None) => rollover.digests.push(voucher),
                (Voucher::Key(key), Some(state)) => {
                    let state = KeyState::parse(state).ok_or(fail("not a state"))?;
                    rollover.keys.push(Tracked { key, state });
                }
                _ => return Err(fail("a key without a state, or a digest with one")),
            }
        }
        rollover.ok_or(StateError { line: 2, what: "no record" })
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddPend { until } => write!(out, "addpend {until}"),
            Self::Valid => write!(out, "valid"),
            Self::Missing => write!(out, "missing"),
            Self::Revoked { until } => write!(out, "revoked {until}"),
        }
    }
}

impl KeyState {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (state, until) = (words.next()?, words.next().map(str::parse));
        let state = match (state, until) {
            ("addpend", Some(Ok(until))) => Self::AddPend { until },
            ("revoked", Some(Ok(until))) => Self::Revoked { until },
            ("valid", None) => Self::Valid,
            ("missing", None) => Self::Missing,
            _ => return None,
        };
        words.next().is_none().then_some(state)
    }
}

/// Whether two are one key, the REVOKE flag aside, which changes the tag (RFC 5011 §2.1).
fn is_same(one: &ZoneKey, other: &ZoneKey) -> bool {
    const REVOKE: u16 = 0x0080;
    let flags = |key: &DNSKEY| key.flags() & !REVOKE;
    one.data.public_key() == other.data.public_key() && flags(&one.data) == flags(&other.data)
}
