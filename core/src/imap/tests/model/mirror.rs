//! What a client knows of its mailbox, learnt from responses alone.

use std::collections::{BTreeMap, BTreeSet};

pub(in super::super) type Set = BTreeSet<String>;

/// What a client knows of a mailbox.
#[derive(Default)]
pub(in super::super) struct Mirror {
    /// Which mailbox.
    pub(in super::super) place: usize,
    pub(super) validity: u64,
    /// By message number; without uid until that is told. Under UIDONLY the numbers mean nothing, and those
    /// without uid are the last.
    pub(in super::super) uids: Vec<Option<u32>>,
    pub(in super::super) flags: BTreeMap<u32, Set>,
    /// The last MODSEQ told of each message; none is told a lower one later.
    pub(super) modseqs: BTreeMap<u32, u64>,
    /// The flags that FLAGS told.
    pub(super) told: Set,
    /// As RFC 7162 §6 has clients find it.
    pub(in super::super) highest: u64,
    /// The highest code and item of the command under way.
    pub(super) code: Option<u64>,
    pub(super) items: u64,
}

impl Mirror {
    /// The message of a number is gone; its uid, when that was told.
    pub(super) fn drop_at(&mut self, at: usize) -> Option<u32> {
        let uid = self.uids.remove(at)?;
        self.flags.remove(&uid);
        Some(uid)
    }

    /// A message is gone.
    pub(super) fn vanish(&mut self, uid: u32, uid_only: bool) {
        if let Some(at) = self.uids.iter().position(|known| *known == Some(uid)) {
            self.drop_at(at);
            return;
        }
        if uid_only {
            assert_eq!(self.uids.pop(), Some(None), "{uid} isn't there: {:?}", self.uids);
            return;
        }
        // One whose uid wasn't told yet.
        let behind = self.uids.iter().rposition(|known| known.is_some_and(|known| known < uid));
        let at = behind.map_or(0, |at| at + 1);
        assert_eq!(self.uids.get(at), Some(&None), "{uid} isn't there: {:?}", self.uids);
        self.uids.remove(at);
    }

    /// The row of a message number.
    pub(super) fn row(&mut self, number: usize, text: &str) -> u32 {
        let mut words = text.strip_prefix("(UID ").expect("UID comes first").splitn(2, [' ', ')']);
        let uid: u32 = words.next().unwrap().parse().unwrap();
        let known = &mut self.uids[number - 1];
        assert!(known.is_none_or(|known| known == uid), "{number} is {known:?}, told {uid}");
        *known = Some(uid);
        self.row_of(uid, text);
        uid
    }

    /// The row of a uid, of a client that knows no numbers (RFC 9586 §3.4).
    pub(super) fn row_by_uid(&mut self, uid: u32, text: &str) {
        if !self.uids.contains(&Some(uid)) {
            let last = self.uids.pop();
            assert_eq!(last, Some(None), "{uid} is one more than EXISTS told: {:?}", self.uids);
            let at = self.uids.iter().position(|known| known.is_none_or(|known| known > uid));
            self.uids.insert(at.unwrap_or(self.uids.len()), Some(uid));
        }
        self.row_of(uid, text);
    }

    fn row_of(&mut self, uid: u32, text: &str) {
        let sorted = self.uids.iter().flatten();
        assert!(sorted.is_sorted_by(|one, other| one < other), "{:?}", self.uids);
        if let Some(flags) = between(text, "FLAGS (", ")") {
            let flags: Set = flags.split_whitespace().map(str::to_owned).collect();
            assert!(flags.is_subset(&self.told), "{flags:?} told before FLAGS: {:?}", self.told);
            self.flags.insert(uid, flags);
        }
        if let Some(modseq) = between(text, "MODSEQ (", ")") {
            let modseq = modseq.parse().unwrap();
            let before = self.modseqs.insert(uid, modseq).unwrap_or(0);
            assert!(before <= modseq, "{uid} goes back from {before} to {modseq}");
            self.items = self.items.max(modseq);
        }
    }

    /// A tagged response came.
    pub(super) fn settle(&mut self) {
        let items = std::mem::take(&mut self.items);
        match self.code.take() {
            Some(code) => self.highest = code,
            None => self.highest = self.highest.max(items),
        }
    }
}

pub(in super::super) fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    Some(text.split_once(from)?.1.split_once(to)?.0)
}

/// The numbers of `1:3,5`.
pub(in super::super) fn numbers(set: &str) -> Vec<u32> {
    let one = |part: &str| match part.split_once(':') {
        Some((from, to)) => from.parse().unwrap()..=to.parse::<u32>().unwrap(),
        None => part.parse().unwrap()..=part.parse().unwrap(),
    };
    set.split(',').flat_map(one).collect()
}
