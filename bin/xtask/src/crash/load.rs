//! The load: deliveries by SMTP, and workers that append, flag, move and expunge over IMAP, until the server is
//! killed under them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::client::{Answer, Imap, Smtp};
use super::message::Token;
use super::model::{Change, Flags, INBOX, MAILBOXES, Model, Numbers, Place, WORKERS, private_mailbox};
use super::random::Random;
use crate::localserve::USER;

/// Clients that deliver. The workers have the numbers before them.
const DELIVERERS: usize = 3;
/// Messages that a worker has before it rather removes than adds.
const OWN_MAX: usize = 120;
/// Messages that one command changes, at most.
const TOGETHER_MAX: u64 = 8;

/// One round's load.
pub struct Load<'a> {
    /// What the clients know.
    pub model: &'a Mutex<Model>,
    /// Set just before the kill: what breaks afterwards is no problem.
    pub killed: &'a AtomicBool,
    /// The run's seed.
    pub seed: u64,
    /// The round, from 1.
    pub round: u64,
}

/// Whether a message came by SMTP, and so has trace fields before it.
pub fn is_delivered(client: usize) -> bool {
    client >= WORKERS
}

impl Load<'_> {
    /// Runs all clients; `meanwhile` kills the server.
    pub fn run(&self, meanwhile: impl FnOnce() -> Result<()>) -> Result<()> {
        std::thread::scope(|scope| {
            for client in 0..WORKERS + DELIVERERS {
                scope.spawn(move || {
                    let result =
                        if is_delivered(client) { self.deliver(client) } else { Worker::run(self, client) };
                    if let Err(error) = result
                        && !self.killed.load(Ordering::SeqCst)
                    {
                        self.problem(format!("client {client}, before the kill: {error:#}"));
                    }
                });
            }
            let result = meanwhile();
            self.killed.store(true, Ordering::SeqCst);
            result
        })
    }

    fn random(&self, client: usize) -> Random {
        Random::at(self.seed, &[self.round, client as u64])
    }

    fn goes_on(&self) -> bool {
        !self.killed.load(Ordering::SeqCst)
    }

    fn model<T>(&self, work: impl FnOnce(&mut Model) -> T) -> T {
        work(&mut self.model.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn problem(&self, text: String) {
        self.model(|model| model.problems.push(text));
    }

    fn deliver(&self, client: usize) -> Result<()> {
        let mut random = self.random(client);
        let mut smtp = Smtp::connect()?;
        for number in 0.. {
            if !self.goes_on() {
                break;
            }
            let token = Token::new(self.round, client as u64, number);
            let place = Place { mailbox: INBOX, uid: None, flags: Flags::default() };
            self.model(|model| model.begin(client, vec![Change { token, after: Some(place) }]));
            let reply = smtp.deliver(USER, &token.content())?;
            if reply.starts_with("250") {
                self.model(|model| model.acknowledge(client, None));
            } else {
                self.model(|model| model.refuse(client));
                self.problem(format!("client {client}: a delivery was refused: {reply}"));
            }
            std::thread::sleep(Duration::from_millis(random.below(12)));
        }
        Ok(())
    }
}

struct Worker<'a> {
    load: &'a Load<'a>,
    client: usize,
    random: Random,
    imap: Imap,
    selected: Option<usize>,
    number: u64,
}

impl<'a> Worker<'a> {
    fn run(load: &'a Load<'a>, client: usize) -> Result<()> {
        let mut imap = Imap::login()?;
        imap.done("ENABLE CONDSTORE")?;
        let mut worker = Self { load, client, random: load.random(client), imap, selected: None, number: 0 };
        while load.goes_on() {
            worker.step()?;
            std::thread::sleep(Duration::from_millis(worker.random.below(4)));
        }
        Ok(())
    }

    fn step(&mut self) -> Result<()> {
        let own = self.own(|_| true).len();
        let adding = if own < 20 { 70 } else { 30 };
        let removing = if own > OWN_MAX { 45 } else { 10 };
        match self.random.below(100) {
            roll if roll < adding => self.append(),
            roll if roll < adding + removing => self.expunge(),
            roll if roll < adding + removing + (100 - adding - removing) / 2 => self.store(),
            _ => self.relocate(),
        }
    }

    /// Messages that only this worker changes. Deliveries are shared out.
    fn own(&self, wanted: impl Fn(&Place) -> bool) -> Vec<(Token, Place)> {
        let client = self.client;
        self.load.model(|model| model.settled(|token, place| token.share(WORKERS) == client && wanted(place)))
    }

    /// A few messages of one mailbox, which is then selected.
    fn some(&mut self, wanted: impl Fn(&Place) -> bool) -> Result<Vec<(Token, Place)>> {
        let all = self.own(&wanted);
        if all.is_empty() {
            return Ok(all);
        }
        let mailbox = all[self.random.index(all.len())].1.mailbox;
        let mut some: Vec<_> = all.into_iter().filter(|(_, place)| place.mailbox == mailbox).collect();
        let keep = usize::try_from(self.random.between(1, TOGETHER_MAX))?;
        while some.len() > keep {
            some.swap_remove(self.random.index(some.len()));
        }
        some.sort_by_key(|(_, place)| place.uid);
        self.select(mailbox)?;
        Ok(some)
    }

    fn mailbox(&mut self) -> usize {
        [INBOX, 1, 2, private_mailbox(self.client)][self.random.index(4)]
    }

    fn select(&mut self, mailbox: usize) -> Result<()> {
        if self.selected == Some(mailbox) {
            return Ok(());
        }
        self.selected = None;
        let answer = self.imap.done(&format!("SELECT {} (CONDSTORE)", MAILBOXES[mailbox]))?;
        self.load.model(|model| model.saw_numbers(mailbox, numbers(&answer)));
        self.selected = Some(mailbox);
        Ok(())
    }

    /// Asks for `changes` by `command`; `uids` finds those that the answer names.
    fn change(
        &mut self,
        changes: Vec<Change>,
        ask: impl FnOnce(&mut Imap) -> Result<Answer>,
        uids: impl FnOnce(&Answer) -> Result<Option<Vec<u32>>>,
    ) -> Result<()> {
        let client = self.client;
        self.load.model(|model| model.begin(client, changes));
        let answer = ask(&mut self.imap)?;
        if !answer.is_ok() {
            self.load.model(|model| model.refuse(client));
            self.load.problem(format!("client {client} was refused: {}", answer.tagged.text));
            return Ok(());
        }
        let uids = uids(&answer)?;
        let selected = self.selected;
        self.load.model(|model| {
            model.acknowledge(client, uids.as_deref());
            if let Some(mailbox) = selected {
                note_modseqs(model, mailbox, &answer);
            }
        });
        Ok(())
    }

    fn append(&mut self) -> Result<()> {
        let mailbox = self.mailbox();
        let flags = Flags(u8::try_from(self.random.below(256))?);
        // A message whose share is another worker's would change owner, so it gets another number.
        let token = loop {
            self.number += 1;
            let token = Token::new(self.load.round, self.client as u64, self.number);
            if token.share(WORKERS) == self.client {
                break token;
            }
        };
        let after = Some(Place { mailbox, uid: None, flags });
        self.change(
            vec![Change { token, after }],
            |imap| imap.append(MAILBOXES[mailbox], &flags.list(), &token.content()),
            |answer| {
                let code = answer.code("APPENDUID").context("APPEND without APPENDUID")?;
                let uid = code.split(' ').nth(1).context("APPENDUID without uid")?;
                Ok(Some(vec![uid.parse()?]))
            },
        )
    }

    fn store(&mut self) -> Result<()> {
        let some = self.some(|_| true)?;
        if some.is_empty() {
            return Ok(());
        }
        let named = Flags(u8::try_from(self.random.below(256))?);
        let (sign, effect): (&str, fn(u8, u8) -> u8) = match self.random.below(3) {
            0 => ("+", |old, named| old | named),
            1 => ("-", |old, named| old & !named),
            _ => ("", |_, named| named),
        };
        let silent = if self.random.percent(30) { ".SILENT" } else { "" };
        let changes = with_places(&some, |place| {
            Some(Place { flags: Flags(effect(place.flags.0, named.0)), ..*place })
        });
        let command = format!("UID STORE {} {sign}FLAGS{silent} ({})", set(&some), named.list());
        self.change(changes, |imap| imap.command(&command), |_| Ok(None))
    }

    fn relocate(&mut self) -> Result<()> {
        let some = self.some(|_| true)?;
        let target = self.mailbox();
        if some.is_empty() || self.selected == Some(target) {
            return Ok(());
        }
        let changes = with_places(&some, |place| Some(Place { mailbox: target, uid: None, ..*place }));
        let command = format!("UID MOVE {} {}", set(&some), MAILBOXES[target]);
        let from: Vec<u32> = some.iter().filter_map(|(_, place)| place.uid).collect();
        self.change(
            changes,
            |imap| imap.command(&command),
            |answer| {
                let code = answer.code("COPYUID").context("MOVE without COPYUID")?;
                let parts: Vec<&str> = code.split(' ').collect();
                ensure!(parts.len() == 3, "COPYUID {code}");
                ensure!(expand(parts[1])? == from, "MOVE of {from:?} moved {}", parts[1]);
                let to = expand(parts[2])?;
                ensure!(to.len() == from.len(), "COPYUID {code}");
                Ok(Some(to))
            },
        )
    }

    /// Marks some messages and expunges them: all marked ones of the own mailbox, or named ones elsewhere.
    fn expunge(&mut self) -> Result<()> {
        let some = self.some(|_| true)?;
        let Some(mailbox) = self.selected.filter(|_| !some.is_empty()) else { return Ok(()) };
        let changes = with_places(&some, |place| {
            Some(Place { flags: Flags(place.flags.0 | Flags::DELETED.0), ..*place })
        });
        let command = format!("UID STORE {} +FLAGS (\\Deleted)", set(&some));
        self.change(changes, |imap| imap.command(&command), |_| Ok(None))?;
        let (gone, command) = if mailbox == private_mailbox(self.client) {
            (self.own(|place| place.mailbox == mailbox && place.flags.is_deleted()), "EXPUNGE".to_owned())
        } else {
            let command = format!("UID EXPUNGE {}", set(&some));
            (some, command)
        };
        self.change(with_places(&gone, |_| None), |imap| imap.command(&command), |_| Ok(None))
    }
}

fn with_places(messages: &[(Token, Place)], after: impl Fn(&Place) -> Option<Place>) -> Vec<Change> {
    messages.iter().map(|(token, place)| Change { token: *token, after: after(place) }).collect()
}

fn set(messages: &[(Token, Place)]) -> String {
    let uids: Vec<String> =
        messages.iter().filter_map(|(_, place)| place.uid).map(|uid| uid.to_string()).collect();
    uids.join(",")
}

/// The uids of a set without `*`.
pub fn expand(set: &str) -> Result<Vec<u32>> {
    let mut uids = Vec::new();
    for part in set.split(',') {
        let (from, to) = part.split_once(':').unwrap_or((part, part));
        let (from, to): (u32, u32) = (from.parse()?, to.parse()?);
        uids.extend(from.min(to)..=from.max(to));
    }
    Ok(uids)
}

/// The numbers that a SELECT says.
pub fn numbers(answer: &Answer) -> Numbers {
    let number = |name| answer.code(name).and_then(|code| code.parse().ok()).unwrap_or(0);
    Numbers { validity: number("UIDVALIDITY"), next: number("UIDNEXT"), highest: number("HIGHESTMODSEQ") }
}

fn note_modseqs(model: &mut Model, mailbox: usize, answer: &Answer) {
    for response in answer.untagged.iter().filter(|response| response.is_fetch()) {
        if let (Some(uid), Some(modseq)) = (response.number("UID "), response.number("MODSEQ")) {
            model.saw_modseq(mailbox, u32::try_from(uid).unwrap_or(0), modseq);
        }
    }
    if let Some(highest) = answer.code("HIGHESTMODSEQ").and_then(|code| code.parse().ok()) {
        model.saw_numbers(mailbox, Numbers { highest, ..Numbers::default() });
    }
}
