//! What the clients know: every acknowledged state, every change whose answer is still missing, and every
//! number that was seen. After a crash it is compared with what the server shows.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::message::Token;

/// The mailboxes of a run: the first is where mail is delivered, the next two are shared by all workers, and the
/// rest belong to one worker each.
pub const MAILBOXES: [&str; 6] = ["Inbox", "A", "B", "W0", "W1", "W2"];
/// Where mail is delivered.
pub const INBOX: usize = 0;
/// How many workers there are.
pub const WORKERS: usize = 3;
/// The mailbox that only this worker uses.
pub const fn private_mailbox(worker: usize) -> usize {
    3 + worker
}

const FLAGS: [&str; 8] =
    [r"\Seen", r"\Answered", r"\Flagged", r"\Deleted", r"\Draft", "$Red", "$Blue", "Custom"];

/// Flags and keywords of a message, a bit each.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Flags(pub u8);

impl Flags {
    /// `\Deleted`.
    pub const DELETED: Self = Self(1 << 3);

    /// Whether a message with these flags goes at EXPUNGE.
    pub fn is_deleted(self) -> bool {
        self.0 & Self::DELETED.0 != 0
    }

    /// As IMAP writes them, without the parentheses.
    pub fn list(self) -> String {
        let names: Vec<&str> =
            (0..FLAGS.len()).filter(|bit| self.0 & (1 << bit) != 0).map(|bit| FLAGS[bit]).collect();
        names.join(" ")
    }

    /// From what a FETCH says between the parentheses. An unknown name is given back.
    pub fn parse(list: &str) -> Result<Self, String> {
        let mut flags = Self::default();
        for name in list.split_ascii_whitespace().filter(|name| !name.eq_ignore_ascii_case(r"\Recent")) {
            match FLAGS.iter().position(|known| known.eq_ignore_ascii_case(name)) {
                Some(bit) => flags.0 |= 1 << bit,
                None => return Err(name.to_owned()),
            }
        }
        Ok(flags)
    }
}

/// Where a message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Index in [`MAILBOXES`].
    pub mailbox: usize,
    /// Not known after a delivery, nor for the target of a move that wasn't answered.
    pub uid: Option<u32>,
    /// Its flags.
    pub flags: Flags,
}

/// A change of one message: where it is afterwards.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// The message.
    pub token: Token,
    /// None when it is gone.
    pub after: Option<Place>,
}

/// A message as the server shows it.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Which one.
    pub token: Token,
    /// Its uid.
    pub uid: u32,
    /// Its flags.
    pub flags: Flags,
    /// Its modseq.
    pub modseq: u64,
}

/// The numbers of a mailbox.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Numbers {
    /// UIDVALIDITY.
    pub validity: u64,
    /// UIDNEXT.
    pub next: u64,
    /// HIGHESTMODSEQ.
    pub highest: u64,
}

/// A mailbox as the server shows it.
#[derive(Clone, Default, Debug)]
pub struct View {
    /// Its numbers.
    pub numbers: Numbers,
    /// Its messages.
    pub messages: Vec<Seen>,
    /// What it says vanished since the last check; None when it was not asked.
    pub vanished: Option<BTreeSet<u32>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// The last acknowledged state.
    place: Option<Place>,
    /// The highest modseq seen where it is.
    modseq: u64,
    /// State and modseq at the last check.
    checked: Option<(Place, u64)>,
    /// A client tried to change it since.
    touched: bool,
}

/// All that is known. Its methods put what must not be into `problems`.
#[derive(Default)]
pub struct Model {
    messages: BTreeMap<Token, Known>,
    pending: HashMap<usize, Vec<Change>>,
    uids: HashMap<(usize, u32), Token>,
    seen: [Numbers; MAILBOXES.len()],
    checked: [Numbers; MAILBOXES.len()],
    /// What went wrong.
    pub problems: Vec<String>,
    /// How many changes were acknowledged.
    pub acknowledged: u64,
    /// How many changes were whole although nobody had been told, and how many left no trace.
    pub unanswered: (u64, u64),
}

impl Model {
    /// The client is about to ask for changes that happen together or not at all.
    pub fn begin(&mut self, client: usize, changes: Vec<Change>) {
        for change in &changes {
            self.messages.entry(change.token).or_default().touched = true;
        }
        self.pending.insert(client, changes);
    }

    /// The server said that they are done. `uids` are those that it named, in the order of the changes.
    pub fn acknowledge(&mut self, client: usize, uids: Option<&[u32]>) {
        self.acknowledged += 1;
        for (at, change) in self.pending.remove(&client).unwrap_or_default().into_iter().enumerate() {
            let mut after = change.after;
            if let (Some(place), Some(uids)) = (&mut after, uids) {
                place.uid = uids.get(at).copied();
                if let Some(uid) = place.uid {
                    self.saw_uid(place.mailbox, uid, change.token);
                }
            }
            let known = self.messages.entry(change.token).or_default();
            if known.place.map(|place| (place.mailbox, place.uid))
                != after.map(|place| (place.mailbox, place.uid))
            {
                known.modseq = 0;
            }
            known.place = after;
        }
    }

    /// The server refused: nothing may have changed.
    pub fn refuse(&mut self, client: usize) {
        self.pending.remove(&client);
    }

    /// Messages that `wanted` picks, among those whose state is certain and whose uid is known.
    pub fn settled(&self, wanted: impl Fn(Token, &Place) -> bool) -> Vec<(Token, Place)> {
        let places = self.messages.iter().filter_map(|(token, known)| Some((*token, known.place?)));
        places.filter(|(token, place)| place.uid.is_some() && wanted(*token, place)).collect()
    }

    /// A mailbox showed its numbers to somebody.
    pub fn saw_numbers(&mut self, mailbox: usize, now: Numbers) {
        let (seen, name) = (&mut self.seen[mailbox], MAILBOXES[mailbox]);
        if seen.validity != 0 && now.validity != 0 && seen.validity != now.validity {
            self.problems.push(format!("{name}: UIDVALIDITY {} became {}", seen.validity, now.validity));
        }
        seen.validity = seen.validity.max(now.validity);
        seen.next = seen.next.max(now.next);
        seen.highest = seen.highest.max(now.highest);
    }

    /// A message's modseq was shown.
    pub fn saw_modseq(&mut self, mailbox: usize, uid: u32, modseq: u64) {
        self.seen[mailbox].highest = self.seen[mailbox].highest.max(modseq);
        if let Some(known) = self.uids.get(&(mailbox, uid)).and_then(|token| self.messages.get_mut(token))
            && known.place.is_some_and(|place| place.mailbox == mailbox && place.uid == Some(uid))
        {
            known.modseq = known.modseq.max(modseq);
        }
    }

    fn saw_uid(&mut self, mailbox: usize, uid: u32, token: Token) {
        let name = MAILBOXES[mailbox];
        let earlier = *self.uids.entry((mailbox, uid)).or_insert(token);
        if earlier != token {
            self.problems.push(format!("{name}: uid {uid} was {earlier:?} and is now {token:?}"));
        } else if u64::from(uid) < self.checked[mailbox].next
            && self
                .messages
                .get(&token)
                .is_none_or(|known| known.checked.is_none_or(|(place, _)| place.uid != Some(uid)))
        {
            let next = self.checked[mailbox].next;
            self.problems.push(format!("{name}: {token:?} got uid {uid} although UIDNEXT had been {next}"));
        }
    }

    /// Compares all of it with what the server shows after a restart, and starts again from that.
    pub fn compare(&mut self, views: &[View]) {
        let mut found: BTreeMap<Token, (usize, Seen)> = BTreeMap::new();
        for (mailbox, view) in views.iter().enumerate() {
            self.compare_numbers(mailbox, view);
            for seen in &view.messages {
                if let Some((other, earlier)) = found.insert(seen.token, (mailbox, *seen)) {
                    self.problems.push(format!(
                        "{:?} is there twice: uid {} of {} and uid {} of {}",
                        seen.token, earlier.uid, MAILBOXES[other], seen.uid, MAILBOXES[mailbox]
                    ));
                }
            }
        }
        self.compare_unanswered(&found);
        let known: Vec<(Token, Known)> =
            self.messages.iter().map(|(token, known)| (*token, *known)).collect();
        for (token, known) in known {
            let now = found.get(&token);
            if !matches(known.place, now) {
                self.problems.push(format!(
                    "{token:?}: acknowledged {:?}, found {}",
                    known.place,
                    describe(now)
                ));
            }
            if let Some((mailbox, seen)) = now {
                self.compare_modseq(&known, *mailbox, seen);
            }
        }
        self.start_again(views, found);
    }

    fn compare_numbers(&mut self, mailbox: usize, view: &View) {
        let (name, now, seen) = (MAILBOXES[mailbox], view.numbers, self.seen[mailbox]);
        for (what, now, seen) in
            [("UIDNEXT", now.next, seen.next), ("HIGHESTMODSEQ", now.highest, seen.highest)]
        {
            if now < seen {
                self.problems.push(format!("{name}: {what} is {now}, and {seen} had been seen"));
            }
        }
        for message in &view.messages {
            if u64::from(message.uid) >= now.next || message.modseq > now.highest {
                self.problems.push(format!("{name}: {message:?} is beyond {now:?}"));
            }
        }
        let uids: HashSet<u32> = view.messages.iter().map(|message| message.uid).collect();
        let before = self.messages.values().filter_map(|known| known.checked);
        let gone = before.filter(|(place, _)| place.mailbox == mailbox).filter_map(|(place, _)| place.uid);
        let untold: Vec<u32> = match &view.vanished {
            Some(vanished) => gone.filter(|uid| !uids.contains(uid) && !vanished.contains(uid)).collect(),
            None => Vec::new(),
        };
        if !untold.is_empty() {
            self.problems.push(format!("{name}: QRESYNC doesn't tell that {untold:?} vanished"));
        }
    }

    /// What nobody was told about is there as a whole or not at all.
    fn compare_unanswered(&mut self, found: &BTreeMap<Token, (usize, Seen)>) {
        for (client, changes) in std::mem::take(&mut self.pending) {
            let place = |change: &Change| self.messages.get(&change.token).and_then(|known| known.place);
            let undone = changes.iter().all(|change| matches(place(change), found.get(&change.token)));
            let done = changes.iter().all(|change| matches(change.after, found.get(&change.token)));
            if undone {
                self.unanswered.1 += 1;
            } else if done {
                self.unanswered.0 += 1;
                for change in &changes {
                    self.messages.entry(change.token).or_default().place = change.after;
                }
            } else {
                let mut text =
                    format!("client {client}: a change of {} messages is half done:", changes.len());
                for change in &changes {
                    let now = describe(found.get(&change.token));
                    text += &format!(
                        "\n    {:?}: {:?} -> {:?}, found {now}",
                        change.token,
                        place(change),
                        change.after
                    );
                }
                self.problems.push(text);
                for change in &changes {
                    // Said once is enough.
                    let now = found.get(&change.token).map(|(mailbox, seen)| placed(*mailbox, seen));
                    self.messages.entry(change.token).or_default().place = now;
                }
            }
        }
    }

    fn compare_modseq(&mut self, known: &Known, mailbox: usize, seen: &Seen) {
        let (token, modseq, now) = (seen.token, seen.modseq, placed(mailbox, seen));
        let same_place =
            known.place.is_some_and(|place| place.mailbox == mailbox && place.uid == Some(seen.uid));
        if same_place && modseq < known.modseq {
            self.problems
                .push(format!("{token:?}: its modseq is {modseq}, and {} had been seen", known.modseq));
        }
        match known.checked {
            Some((before, earlier)) if before == now && !known.touched && earlier != modseq => {
                self.problems
                    .push(format!("{token:?}: modseq {earlier} became {modseq}, and nobody changed it"));
            }
            Some((before, _)) if before == now => {}
            _ if modseq <= self.checked[mailbox].highest => {
                let highest = self.checked[mailbox].highest;
                self.problems.push(format!(
                    "{token:?}: changed with modseq {modseq}; {highest} had been reached before"
                ));
            }
            _ => {}
        }
    }

    fn start_again(&mut self, views: &[View], found: BTreeMap<Token, (usize, Seen)>) {
        let old = std::mem::take(&mut self.messages);
        for (token, (mailbox, seen)) in found {
            if !old.contains_key(&token) {
                self.problems
                    .push(format!("{token:?}: uid {} of {} came from nowhere", seen.uid, MAILBOXES[mailbox]));
            }
            let place = placed(mailbox, &seen);
            let checked = old.get(&token).and_then(|known| known.checked);
            self.messages.insert(token, Known { checked, ..Known::default() });
            self.saw_uid(mailbox, seen.uid, token);
            let known = Known {
                place: Some(place),
                modseq: seen.modseq,
                checked: Some((place, seen.modseq)),
                touched: false,
            };
            self.messages.insert(token, known);
        }
        for (mailbox, view) in views.iter().enumerate() {
            self.saw_numbers(mailbox, view.numbers);
            self.checked[mailbox] = view.numbers;
        }
    }

    /// The numbers at the last check.
    pub fn checked_numbers(&self, mailbox: usize) -> Numbers {
        self.checked[mailbox]
    }

    /// Whether the content of a message is to be read: somebody tried to change it since the last check.
    pub fn is_touched(&self, token: Token) -> bool {
        self.messages.get(&token).is_none_or(|known| known.touched)
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.messages.values().filter(|known| known.place.is_some()).count()
    }
}

fn placed(mailbox: usize, seen: &Seen) -> Place {
    Place { mailbox, uid: Some(seen.uid), flags: seen.flags }
}

fn matches(place: Option<Place>, found: Option<&(usize, Seen)>) -> bool {
    match (place, found) {
        (None, None) => true,
        (Some(place), Some((mailbox, seen))) => {
            place.mailbox == *mailbox
                && place.flags == seen.flags
                && place.uid.is_none_or(|uid| uid == seen.uid)
        }
        _ => false,
    }
}

fn describe(found: Option<&(usize, Seen)>) -> String {
    match found {
        None => "nothing".to_owned(),
        Some((mailbox, seen)) => {
            format!("uid {} of {} with ({})", seen.uid, MAILBOXES[*mailbox], seen.flags.list())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: u64 = 5;

    fn token(number: u64) -> Token {
        Token::new(1, 0, number)
    }

    fn place(mailbox: usize, uid: Option<u32>) -> Place {
        Place { mailbox, uid, flags: Flags(1) }
    }

    fn views(messages: &[(usize, Seen)]) -> Vec<View> {
        let mut views = vec![View::default(); MAILBOXES.len()];
        for view in &mut views {
            view.numbers = Numbers { validity: 1, next: 100, highest: 100 };
        }
        for (mailbox, seen) in messages {
            views[*mailbox].messages.push(*seen);
        }
        views
    }

    fn seen(number: u64, uid: u32) -> Seen {
        Seen { token: token(number), uid, flags: Flags(1), modseq: 9 }
    }

    fn appended(numbers: &[u64]) -> Model {
        let mut model = Model::default();
        for number in numbers {
            model.begin(0, vec![Change { token: token(*number), after: Some(place(1, None)) }]);
            model.acknowledge(0, Some(&[u32::try_from(*number).unwrap_or(0)]));
        }
        model
    }

    #[test]
    fn what_is_as_it_was_acknowledged_is_no_problem() {
        let mut model = appended(&[5]);
        model.compare(&views(&[(1, seen(TOKEN, 5))]));
        assert_eq!(model.problems, Vec::<String>::new());
    }

    #[test]
    fn a_lost_message_a_duplicate_and_another_uid_are_problems() {
        for found in [vec![], vec![(1, seen(TOKEN, 5)), (2, seen(TOKEN, 7))], vec![(1, seen(TOKEN, 6))]] {
            let mut model = appended(&[5]);
            model.compare(&views(&found));
            assert!(!model.problems.is_empty(), "{found:?}");
        }
    }

    #[test]
    fn an_unanswered_move_is_whole_or_absent() {
        let begin = || {
            let mut model = appended(&[5, 6]);
            let after = Some(place(2, None));
            model.begin(0, vec![Change { token: token(5), after }, Change { token: token(6), after }]);
            model
        };
        for (found, fine) in [
            (vec![(1, seen(5, 5)), (1, seen(6, 6))], true),
            (vec![(2, seen(5, 1)), (2, seen(6, 2))], true),
            (vec![(2, seen(5, 1)), (1, seen(6, 6))], false),
            (vec![(2, seen(5, 1))], false),
        ] {
            let mut model = begin();
            model.compare(&views(&found));
            assert_eq!(model.problems.is_empty(), fine, "{found:?} {:?}", model.problems);
        }
    }

    #[test]
    fn numbers_that_go_back_are_problems() {
        for numbers in [
            Numbers { validity: 1, next: 99, highest: 100 },
            Numbers { validity: 1, next: 100, highest: 99 },
            Numbers { validity: 2, next: 100, highest: 100 },
        ] {
            let mut model = appended(&[5]);
            model.compare(&views(&[(1, seen(5, 5))]));
            let mut later = views(&[(1, seen(5, 5))]);
            later[1].numbers = numbers;
            model.compare(&later);
            assert_eq!(model.problems.len(), 1, "{:?}", model.problems);
        }
    }

    #[test]
    fn a_uid_and_a_modseq_are_not_used_again() {
        let mut model = appended(&[5]);
        model.compare(&views(&[(1, seen(5, 5))]));
        model.begin(0, vec![Change { token: token(5), after: None }]);
        model.acknowledge(0, None);
        model.compare(&views(&[]));
        assert_eq!(model.problems, Vec::<String>::new());
        model.begin(0, vec![Change { token: token(6), after: Some(place(1, None)) }]);
        model.compare(&views(&[(1, seen(6, 5))]));
        // The uid was another message's, and the modseq had been reached.
        assert_eq!(model.problems.len(), 2, "{:?}", model.problems);
    }

    #[test]
    fn flags_are_read_as_they_are_written() {
        for bits in 0..=255 {
            assert_eq!(Flags::parse(&Flags(bits).list()), Ok(Flags(bits)));
        }
        assert_eq!(Flags::parse(r"\Seen other"), Err("other".to_owned()));
    }
}
