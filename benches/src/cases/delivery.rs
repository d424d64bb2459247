//! Mail that leaves: its entries, the schedule, the conversation with the other server, and reports.

use std::collections::VecDeque;
use std::hint::black_box;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use postrider_delivery::destination::Target;
use postrider_delivery::outcome::Signal;
use postrider_delivery::route::{Asked, Route, choose};
use postrider_delivery::schedule::{Command, Ended, Notice, Schedule, Settings};
use postrider_proto::address::{Address, Domain, ForwardPath, HeloName, ReversePath};
use postrider_proto::dsn::{self, Diagnostic, Letter, Report, Returned};
use postrider_proto::smtp::client::content::{ContentWriter, Transfer};
use postrider_proto::smtp::client::{self, Client, EnhancedCode, Outcome, Reply, ReplyReader, StartTls};
use postrider_proto::smtp::envelope::{Envelope, Recipient};
use postrider_storage::account::Content;
use postrider_storage::ids::{AccountId, BlobId};
use postrider_storage::queue::{self, Attempt, Fate, HoldRules, NewQueued, NewRecipient};
use postrider_storage::rows::AttemptResult;

use super::Case;
use crate::World;

/// Seconds since 1970.
const NOW: i64 = 1_780_000_000;
/// Domains that wait.
const DOMAINS: u64 = 100_000;

/// A message of 10 KiB to so many recipients, each in a domain of its own.
fn queued(recipients: usize) -> NewQueued {
    let recipient = |number| NewRecipient::new(format!("r@d{number}.example"));
    NewQueued {
        prefix: b"Received: from [192.0.2.1] by mx.example.org with ESMTPSA;\r\n\tMon, 2 Nov 2026 10:00:00 +0000\r\n".to_vec(),
        sender: AccountId::new(1),
        mail_from: b"sender@example.org".to_vec(),
        ..NewQueued::new(Content { blob: BlobId(1), size: 10_240 }, NOW, (0..recipients).map(recipient).collect())
    }
}

fn storing() -> Vec<Case> {
    let submission = |domains: usize| {
        Case::new(format!("queue_submission_to_{domains}_domains"), None, domains, move |world| {
            let message = queued(domains);
            Ok(Box::new(move || {
                let rules = HoldRules::load(&world.reader())?;
                let enqueued = queue::enqueue(|| world.queue_id(), black_box(message.clone()), &rules)?;
                Ok(enqueued.entries.len())
            }))
        })
    };
    let times = Attempt { now: NOW, next: NOW + 450 };
    vec![
        submission(1),
        submission(100),
        Case::new("queue_claim", None, 1, move |world| {
            let entry = world.enqueue(queued(1))?;
            Ok(Box::new(move || {
                let reader = world.reader();
                let due = queue::due(&reader, queue::Scheduled::start(entry.domain), NOW, 80)?;
                ensure!(due.entries.iter().any(|due| due.id == entry.id), "it isn't due");
                let claimed = queue::claim(&reader, entry.id, times)?.context("it can't be claimed")?;
                Ok(claimed.recipients.len())
            }))
        }),
        Case::new("queue_outcome_delivered", None, 1, move |world| {
            let entry = world.enqueue(queued(1))?;
            let claimed = queue::claim(&world.reader(), entry.id, times)?.context("it can't be claimed")?;
            world.commit(claimed.edit.batch)?;
            let result = AttemptResult::new(NOW, 250, Some([2, 0, 0]), "mx.example", "taken");
            let outcome = queue::Outcome {
                attempt: claimed.entry.attempts,
                now: NOW,
                due: NOW + 450,
                recipients: vec![(0, Fate::Delivered(result))],
                ..queue::Outcome::default()
            };
            Ok(Box::new(move || {
                let concluded = queue::outcome(&world.reader(), entry.id, black_box(&outcome))?;
                let concluded = concluded.context("it is gone")?;
                Ok(usize::from(concluded.left.is_none()))
            }))
        }),
    ]
}

/// Hashes of domains are spread over all numbers.
const fn domain(number: u64) -> u64 {
    (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A schedule for which all domains wait since then.
fn full(due: i64) -> Schedule {
    let mut schedule = Schedule::new(Settings::DEFAULT);
    for number in 0..DOMAINS {
        schedule.notify(Notice { domain: domain(number), due, entry: Some((number, 1)) }, NOW);
    }
    schedule
}

/// A domain's whole turn: it is chosen, claims nothing, and ends.
fn turn(schedule: &mut Schedule, now: i64, first_due: i64) -> Result<()> {
    let Some(Command::Start(turn)) = schedule.poll(now) else { bail!("no turn") };
    schedule.claimed(turn.session, 0, Some(first_due), now);
    let ended = Ended { signal: Signal::Neutral, postponed: None, first_due: Some(first_due) };
    let _ = schedule.finished(turn.session, ended, now);
    Ok(())
}

fn scheduling() -> Vec<Case> {
    vec![
        Case::new("schedule_insert_100000_domains", None, 100_000, |_| {
            Ok(Box::new(|| {
                let schedule = full(NOW + 1000);
                ensure!(schedule.next_wake() == Some(NOW + 1000), "nothing waits");
                Ok(usize::try_from(DOMAINS)?)
            }))
        }),
        // After a turn the domain stands at the end of those that are due.
        Case::new("schedule_turn_of_100000_domains", None, 1, |_| {
            let mut schedule = full(NOW - 1);
            turn(&mut schedule, NOW, NOW - 1)?;
            Ok(Box::new(move || turn(&mut schedule, NOW, NOW - 1).map(|()| 1)))
        }),
        Case::new("schedule_notify_of_100000_domains", None, 1, |_| {
            let mut schedule = full(NOW + 1_000_000);
            let mut number = 0;
            Ok(Box::new(move || {
                number += 1;
                // Earlier each time, of a domain that waits.
                let due = NOW + 1_000_000 - i64::try_from(number)?;
                schedule.notify(Notice { domain: domain(number * 7), due, entry: Some((number, 1)) }, NOW);
                Ok(usize::from(schedule.next_wake() == Some(due)))
            }))
        }),
    ]
}

/// A server that takes everything, and answers one command at a time.
#[derive(Default)]
struct Sink {
    owes: VecDeque<&'static [u8]>,
    is_data: bool,
}

impl Sink {
    fn hear(&mut self, octets: &[u8]) {
        if self.is_data {
            if octets.ends_with(b"\r\n.\r\n") {
                self.is_data = false;
                self.owes.push_back(b"250 2.0.0 taken\r\n");
            }
            return;
        }
        for line in octets.split_inclusive(|octet| *octet == b'\n') {
            self.is_data = line.starts_with(b"DATA");
            self.owes.push_back(if self.is_data { b"354 go ahead\r\n" } else { b"250 2.1.0 fine\r\n" });
            if self.is_data || line.starts_with(b"BDAT") {
                return;
            }
        }
    }
}

/// A conversation that goes on.
struct Conversation {
    client: Client,
    sink: Sink,
    message: Vec<u8>,
    envelope: Envelope,
}

impl Conversation {
    fn new(extensions: &'static [u8]) -> Result<Self> {
        let settings = client::Settings {
            name: HeloName::parse("mx.example.org").map_err(|error| anyhow!("{error}"))?,
            starttls: StartTls::Never,
            authentication: None,
        };
        let message = super::message();
        let path = |text: &str| ForwardPath::parse(text).map_err(|error| anyhow!("{error}"));
        let from = ReversePath::parse("<sender@example.org>").map_err(|error| anyhow!("{error}"))?;
        let recipient = Recipient { path: path("<r@d1.example>")?, notify: None, original: None, token: 0 };
        let envelope = Envelope {
            recipients: vec![recipient],
            declared_octets: Some(u64::try_from(message.len())?),
            ..Envelope::new(from)
        };
        let sink = Sink { owes: [&b"220 mx.d1.example ESMTP\r\n"[..], extensions].into(), is_data: false };
        let mut conversation = Self { client: Client::new(settings, None), sink, message, envelope };
        // The greeting and EHLO, of which the answers are known before.
        loop {
            match conversation.client.next_action() {
                client::Action::Send { octets, .. } => conversation.client.reuse(octets),
                client::Action::Read { .. } => conversation.answer()?,
                client::Action::Ready => return Ok(conversation),
                other => bail!("{other:?}"),
            }
        }
    }

    fn answer(&mut self) -> Result<()> {
        let reply = self.sink.owes.pop_front().context("nothing is to be answered")?;
        self.client.receive(reply);
        Ok(())
    }

    /// Sends the message, and gives how many took it.
    fn deliver(&mut self) -> Result<usize> {
        self.client.begin(self.envelope.clone())?;
        let mut given = false;
        loop {
            match self.client.next_action() {
                client::Action::Send { octets, .. } => {
                    self.sink.hear(black_box(&octets));
                    self.client.reuse(octets);
                }
                client::Action::Read { .. } => self.answer()?,
                client::Action::Content if given => self.client.content_end(),
                client::Action::Content => {
                    self.client.content(&self.message);
                    given = true;
                }
                client::Action::Done(finished) => {
                    ensure!(self.client.next_action() == client::Action::Ready, "it isn't ready");
                    let is_taken = |outcome: &&Outcome| matches!(outcome, Outcome::Delivered(_));
                    return Ok(finished.outcomes.iter().filter(is_taken).count());
                }
                other => bail!("{other:?}"),
            }
        }
    }
}

fn conversing() -> Vec<Case> {
    let message = |name: &str, extensions: &'static [u8]| {
        Case::new(name, None, 1, move |_| {
            let mut conversation = Conversation::new(extensions)?;
            Ok(Box::new(move || conversation.deliver()))
        })
    };
    vec![
        message(
            "client_message_of_10_kib_pipelining",
            b"250-mx.d1.example\r\n250-8BITMIME\r\n250 PIPELINING\r\n",
        ),
        message(
            "client_message_of_10_kib_chunking",
            b"250-mx.d1.example\r\n250-8BITMIME\r\n250-CHUNKING\r\n250 PIPELINING\r\n",
        ),
        Case::new("client_stuff_dots_of_10_kib", None, super::message().len() + 3, |_| {
            let message = super::message();
            let mut out = Vec::with_capacity(2 * message.len());
            Ok(Box::new(move || {
                out.clear();
                let mut writer = ContentWriter::new(Transfer::Data);
                writer.push(black_box(&message), &mut out);
                writer.end(&mut out);
                Ok(out.len())
            }))
        }),
        Case::new("client_parse_reply", None, 3, |_| {
            const REPLIES: &[u8] =
                b"250 2.1.0 Ok\r\n250-2.1.5 Recipient\r\n250 2.1.5 accepted\r\n550 5.1.1 <r@d1.example>: no such user\r\n";
            Ok(Box::new(|| {
                let mut reader = ReplyReader::new();
                reader.push(black_box(REPLIES));
                let mut count = 0;
                while let Some(reply) = reader.next_reply()? {
                    black_box(reply);
                    count += 1;
                }
                Ok(count)
            }))
        }),
    ]
}

fn deciding() -> Vec<Case> {
    vec![
        Case::new("route_choice_of_100", None, 99, |_| {
            let route = |number| {
                Route::parse(&["example.org"], &[&format!(".d{number}.example")], 0, &format!("t{number}"))
            };
            let routes = (0..100).map(route).collect::<Result<Vec<_>, _>>()?;
            let sender = Domain::parse("example.org").map_err(|error| anyhow!("{error}"))?;
            let recipient = Target::parse("mx.d99.example").map_err(|error| anyhow!("{error}"))?;
            Ok(Box::new(move || {
                let asked = Asked { sender: Some(&sender), recipient: black_box(&recipient), attempts: 0 };
                let (_, route) = choose([&[], &[], &routes], &asked).context("no route")?;
                Ok(route.transport[1..].parse()?)
            }))
        }),
        Case::new("dsn_of_a_failure", None, 1, |_| {
            let status = EnhancedCode::parse("5.1.1").context("a code")?;
            let reply = Reply::new(550, Some(status), "<r@d1.example>: no such user").context("a reply")?;
            let recipient = dsn::Recipient {
                remote_mta: Some("mx.d1.example".into()),
                diagnostic: Some(Diagnostic::smtp(&reply)),
                attempts: 1,
                last_attempt: Some(NOW),
                ..dsn::Recipient::new("r@d1.example", dsn::Action::Failed, status)
            };
            let report = Report {
                reporting_mta: "mx.example.org".into(),
                arrival: Some(NOW - 60),
                envelope_id: None,
                future_release: None,
                recipients: vec![recipient],
                utf8: false,
            };
            let to = Address::parse("sender@example.org").map_err(|error| anyhow!("{error}"))?;
            Ok(Box::new(move || {
                let letter = Letter {
                    to: &to,
                    sender: None,
                    now: NOW,
                    unique: "0123456789abcdef",
                    about: Some("<1@example.org>"),
                    subject: Some("a message"),
                    returned: Returned::Headers,
                };
                let composed = dsn::compose(black_box(&report), &letter);
                Ok(composed.before.matches("Final-Recipient:").count())
            }))
        }),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = storing();
    cases.extend(scheduling());
    cases.extend(conversing());
    cases.extend(deciding());
    cases
}

/// What [`World`] has of the queue.
impl World {
    /// Puts a message with one recipient into the queue.
    fn enqueue(&self, message: NewQueued) -> Result<queue::Scheduled> {
        let enqueued = queue::enqueue(|| self.queue_id(), message, &HoldRules::default())?;
        self.commit(enqueued.edit.batch)?;
        enqueued.entries.first().copied().context("it has a recipient")
    }
}
