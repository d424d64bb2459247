//! The turn of a URL: its first call is made, and what came of it written.

use std::rc::Rc;

use postrider_storage::directory::Webhook;
use postrider_storage::engine::{Batch, Durability};
use postrider_storage::ids::HookId;
use postrider_storage::rows::{HookEnd, HookResult, HookRow, HookSubject};
use postrider_storage::webhooks::{self, DueHook, Ending, Next, ScheduledHook};
use tracing::{error, info};

use super::attempt::{self, Attempted};
use super::schedule::{After, Pace};
use super::{Hooks, announce, backoff, count_end, of};
use crate::clock::unix_now;
use crate::commit;
use crate::runtime::spawn;
use crate::shard::Shard;

/// Calls that are looked at in one turn before one is made: others wait for theirs.
const LOOKED_MAX: usize = 100;
/// Whose call takes so long is slow.
const SLOW_MILLISECONDS: u32 = 5000;
/// Seconds until a URL has its next turn whose rows can't be read or written.
const AFTER_FAILURE: i64 = 10;

/// Gives a URL its turn.
pub(super) fn spawn_one(shard: &Rc<Shard>, url: u64) {
    let running = Running { shard: Rc::clone(shard), url, after: None };
    spawn("call a webhook", async move {
        let mut running = running;
        let outcome = turn(&running.shard, url).await;
        running.after = Some(outcome.unwrap_or_else(|error| {
            error!(%error, "a call of a webhook can't be read, or its result not be written; it is tried again");
            After { due: Some(unix_now().saturating_add(AFTER_FAILURE)), pace: None }
        }));
    });
}

/// A turn, which ends when this is dropped, however that comes.
struct Running {
    shard: Rc<Shard>,
    url: u64,
    after: Option<After>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let (webhooks, now) = (&self.shard.webhooks, unix_now());
        webhooks.underway.borrow_mut().remove(&self.url);
        let panicked = After { due: Some(now.saturating_add(AFTER_FAILURE)), pace: Some(Pace::Slow) };
        webhooks.schedule.borrow_mut().finished(self.url, self.after.unwrap_or(panicked), now);
        webhooks.changed.notify();
    }
}

/// Why a turn came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error(transparent)]
    Store(#[from] postrider_storage::store::StoreError),
    #[error(transparent)]
    Commit(#[from] postrider_storage::committer::CommitError),
    #[error(transparent)]
    Pool(#[from] crate::runtime::PoolError),
    #[error("the server stops")]
    Stopping,
}

/// What is to be done with a call that is due.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    /// It ends.
    End(HookEnd),
    /// The webhook is somewhere else now.
    Move(Box<str>),
    /// It is made.
    Call(Webhook),
}

fn plan(hooks: &Hooks, due: &DueHook, now: i64) -> Plan {
    if let Some(newer) = due.newer {
        return Plan::End(HookEnd::Superseded(newer));
    }
    if backoff::is_over(due.row.created, now) {
        return Plan::End(HookEnd::Expired);
    }
    match webhook(hooks, due.row.subject) {
        None => Plan::End(HookEnd::Unwanted),
        Some(webhook) if webhook.url().as_str() != &*due.row.url => Plan::Move(webhook.url().as_str().into()),
        Some(webhook) => Plan::Call(webhook.clone()),
    }
}

/// The webhook that a call is for.
fn webhook(hooks: &Hooks, subject: HookSubject) -> Option<&Webhook> {
    match subject {
        HookSubject::Outgoing { .. } => hooks.outgoing.as_ref().map(|webhook| &webhook.hook),
        HookSubject::Incoming { .. } => hooks.incoming.as_ref(),
    }
}

async fn turn(shard: &Rc<Shard>, url: u64) -> Result<After, Trouble> {
    let shared = &shard.shared;
    for _ in 0..LOOKED_MAX {
        if shared.shutdown.is_stopping() {
            break;
        }
        let changing = shard.webhooks.turns.take().await;
        let now = unix_now();
        let next = shared.reads.run(move |reader| webhooks::next(reader, url, now)).await?;
        let due = match next {
            Next::Nothing => return Ok(After { due: None, pace: None }),
            Next::Later(time) => return Ok(After { due: Some(time), pace: None }),
            Next::Due(due) => due,
        };
        let hooks = of(shard, due.row.account).await?;
        let mut batch = Batch::new();
        let (mut moved, mut ended) = (None, None);
        match plan(&hooks, &due, now) {
            Plan::End(end) => {
                ended = Some(end);
                let ending = Ending { end, now, until: hooks.until(now) };
                webhooks::end(&mut batch, due.id, &due.row, due.row.clone(), ending)?;
            }
            Plan::Move(url) => {
                let row = HookRow { url, ..due.row.clone() };
                moved = Some(webhooks::replace(&mut batch, due.id, &due.row, &row)?);
            }
            Plan::Call(webhook) => {
                for (id, row) in &due.older {
                    let ending = Ending { end: HookEnd::Superseded(due.id), now, until: hooks.until(now) };
                    webhooks::end(&mut batch, *id, row, row.clone(), ending)?;
                }
                if !batch.is_empty() {
                    commit::commit(&shared.committer, batch, Durability::Buffered).await?;
                }
                shard.webhooks.underway.borrow_mut().insert(url, due.id);
                drop(changing);
                let attempted = attempt::run(shard, due.id, &due.row, &webhook).await?;
                return conclude(shard, url, due.id, attempted).await;
            }
        }
        commit::commit(&shared.committer, batch, Durability::Buffered).await?;
        drop(changing);
        if let Some(end) = ended {
            count_end(shard, end);
        }
        announce(shard, moved).await;
    }
    let first = shared.reads.run(move |reader| webhooks::first(reader, url)).await?;
    Ok(After { due: first.map(|first| first.due), pace: None })
}

/// Writes what came of an attempt. A power loss may forget it, and then the call is made once more: it is made at least once
/// in any case, and who is called knows it by its id.
async fn conclude(shard: &Rc<Shard>, url: u64, id: HookId, attempted: Attempted) -> Result<After, Trouble> {
    let shared = &shard.shared;
    let _changing = shard.webhooks.turns.take().await;
    let read = shared.reads.run(move |reader| {
        let Some(row) = webhooks::hook(reader, id)? else { return Ok(None) };
        let newer = webhooks::newer(reader, id, &row)?;
        Ok(Some((row, newer)))
    });
    let failed = attempted.status != attempt::TAKEN;
    let pace = if attempted.milliseconds < SLOW_MILLISECONDS { Pace::Quick } else { Pace::Slow };
    if let Some((old, newer)) = read.await? {
        let now = unix_now();
        let hooks = of(shard, old.account).await?;
        let mut batch = Batch::new();
        let mut row = old.clone();
        row.attempts = row.attempts.saturating_add(1);
        row.note(attempted.result());
        let chance = postrider_storage::account::hash(&id.0.to_le_bytes());
        let next = match (failed, newer) {
            (false, _) => Err(HookEnd::Delivered),
            (true, Some(newer)) => Err(HookEnd::Superseded(newer)),
            (true, None) => backoff::next(row.attempts, row.created, now, chance),
        };
        log(id, &row, &attempted, next.err());
        match next {
            Err(end) => {
                let ending = Ending { end, now, until: hooks.until(now) };
                webhooks::end(&mut batch, id, &old, row, ending)?;
            }
            Ok(due) => {
                row.due = due;
                let _: ScheduledHook = webhooks::replace(&mut batch, id, &old, &row)?;
            }
        }
        commit::commit(&shared.committer, batch, Durability::Buffered).await?;
        if let Err(end) = next {
            count_end(shard, end);
        }
    }
    let first = shared.reads.run(move |reader| webhooks::first(reader, url)).await?;
    Ok(After { due: first.map(|first| first.due), pace: Some(pace) })
}

fn log(id: HookId, row: &HookRow, attempted: &Attempted, end: Option<HookEnd>) {
    let (hook, account, attempt) = (id.0, row.account, row.attempts);
    let outcome = match end {
        Some(HookEnd::Delivered) => "taken",
        Some(HookEnd::Failed | HookEnd::Expired) => "given up",
        Some(_) => "superseded",
        None => "tried again",
    };
    let Attempted { status, milliseconds, error, .. } = attempted;
    info!(hook, %account, attempt, status, milliseconds, %error, outcome, "a webhook was called");
}

impl Attempted {
    fn result(&self) -> HookResult {
        HookResult::new(self.time, self.milliseconds, self.status, &self.error, &self.response)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use postrider_storage::directory::{OutgoingWebhook, WebhookEvent, WebhookEvents, WebhookUrl};
    use postrider_storage::ids::{AccountId, EmailId, QueueId};

    use super::super::new_row;
    use super::*;
    use crate::control::protocol::{Request, Secret};
    use crate::metrics::GivenUp;
    use crate::testing::TestServer;

    #[test]
    fn a_call_follows_the_settings_of_its_account() {
        let webhook = |url: &str| Webhook::new(WebhookUrl::parse(url).unwrap(), None, None).unwrap();
        let (a, b) = ("https://a.example/", "https://b.example/");
        let outgoing = Some(OutgoingWebhook { hook: webhook(a), events: WebhookEvents::ALL });
        let hooks = Hooks { outgoing, incoming: Some(webhook(b)), keep: None };
        let event = WebhookEvent::Failed;
        let sent = HookSubject::Outgoing { event, base: QueueId(1), recipient: 1 };
        let came = HookSubject::Incoming { email: EmailId(1) };
        let account = AccountId::new(1).unwrap();
        let over = backoff::LIFE;
        let due = |subject, url: &str, newer| DueHook {
            id: HookId(5),
            row: new_row(account, subject, url, Vec::new(), 0),
            newer,
            older: Vec::new(),
        };
        let superseded = Plan::End(HookEnd::Superseded(HookId(6)));
        let newer = Some(HookId(6));
        for (subject, url, newer, hooks, now, expected) in [
            (sent, a, None, &hooks, over - 1, Plan::Call(webhook(a))),
            (sent, b, None, &hooks, over - 1, Plan::Move(a.into())),
            (sent, a, newer, &hooks, over, superseded),
            (sent, a, None, &hooks, over, Plan::End(HookEnd::Expired)),
            (came, b, None, &hooks, over - 1, Plan::Call(webhook(b))),
            (came, a, None, &hooks, over - 1, Plan::Move(b.into())),
            (came, a, None, &hooks, over, Plan::End(HookEnd::Expired)),
            (sent, a, None, &Hooks::default(), 0, Plan::End(HookEnd::Unwanted)),
            (came, a, None, &Hooks::default(), 0, Plan::End(HookEnd::Unwanted)),
        ] {
            assert_eq!(plan(hooks, &due(subject, url, newer), now), expected, "{subject:?} {url} {now}");
        }
    }

    /// What is kept of a call says how many attempts it had, and the one that just failed is counted.
    #[test]
    fn the_twelfth_attempt_that_fails_is_the_last() {
        let server = TestServer::start();
        server.ok(&Request::DomainAdd { domain: "example.org".to_owned(), disabled: false });
        server.ok(&Request::AccountAdd {
            account: "anna".to_owned(),
            address: "anna@example.org".to_owned(),
            password: Secret("a password".to_owned()),
            quota: None,
        });
        let account = server.account("anna").unwrap();
        let ids = [10, 11].map(|made| {
            let id = HookId(u64::from(made));
            let subject = HookSubject::Incoming { email: EmailId(1) };
            // Nobody is told of it, so that it has no turn.
            let row = new_row(account, subject, "http://127.0.0.1:9/", Vec::new(), unix_now());
            let mut batch = Batch::new();
            webhooks::add(&mut batch, id, &HookRow { attempts: made, ..row }).unwrap();
            server.shared.committer.commit_blocking(batch, Durability::Synced).unwrap();
            id
        });
        let before = unix_now();
        server.at_home(account, move |shard| {
            Box::pin(async move {
                for id in ids {
                    let (error, response) = (String::new(), "Later".to_owned());
                    let attempted =
                        Attempted { time: unix_now(), milliseconds: 5, status: 503, error, response };
                    conclude(&shard, 0, id, attempted).await.unwrap();
                }
            })
        });
        let [eleventh, twelfth] = ids.map(|id| webhooks::hook(&server.shared.store.reader(), id).unwrap());
        let eleventh = eleventh.unwrap();
        assert_eq!(eleventh.attempts, 11);
        let pause = 16 * 60 * 60;
        assert!((before + pause * 99 / 100..=unix_now() + pause * 101 / 100).contains(&eleventh.due));
        assert_eq!(twelfth, None);
        let given_up = |why: GivenUp| {
            server.shared.registry.counter(server.shared.metrics.webhooks.given_up.at([why as usize]))
        };
        assert_eq!((given_up(GivenUp::Attempts), given_up(GivenUp::Age)), (1, 0));
        server.verify();
    }
}
