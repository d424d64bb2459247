//! To how many recipients of other servers an account may still send (product 2.4): who took over an account doesn't get far
//! with it.
//!
//! Counted on the home shard of the account, whatever shards its sessions are on, before anything of a message is stored. What is
//! counted is a row in the batch that puts the message into the queue; a home that doesn't know an account reads those rows once.
//! In memory, ten minutes are one number, which counts until the last of them is 24 hours ago.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use postrider_storage::account::{SENT_WINDOW, Sent, fold_sent, sent};
use postrider_storage::engine::Durability;
use postrider_storage::ids::AccountId;
use postrider_storage::rows::OutgoingRow;
use postrider_storage::store::StoreError;
use tracing::{error, warn};

use crate::commit;
use crate::config::SendingLimits;
use crate::metrics::Limit;
use crate::runtime::spawn;
use crate::shard::Shard;

/// Seconds that are one number.
const BUCKET: i64 = 10 * 60;
/// Accounts of which a shard knows what they sent, each with at most 145 numbers of 16 octets.
const ACCOUNTS_MAX: usize = 10_000;
/// Seconds after which rows that are over are looked for again, and after which it is logged again that an account has
/// reached a limit.
const PAUSE: i64 = 60 * 60;
/// Rows that are looked at in one step.
const ROWS_MAX: usize = 5000;

/// Why an account may not send a message now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Exceeded {
    /// Which limit.
    pub(crate) limit: Limit,
    /// The number.
    pub(crate) most: u32,
    /// What counts now.
    pub(crate) counted: u64,
    /// From when on the message can be sent, in seconds since 1970, if nothing else is; none is never.
    pub(crate) until: Option<i64>,
}

#[derive(Clone, Copy)]
struct Bucket {
    /// The number of the time.
    number: i64,
    row: OutgoingRow,
}

impl Bucket {
    /// When it no longer counts.
    const fn ends(&self) -> i64 {
        (self.number + 1) * BUCKET + SENT_WINDOW
    }
}

/// What an account sent in the last 24 hours.
#[derive(Default)]
struct Window {
    /// In the order of time.
    buckets: VecDeque<Bucket>,
    recipients: u64,
    first_time: u64,
    /// When it was looked at last.
    used: i64,
    /// When rows that are over were looked for.
    folded: i64,
    /// When it was logged that a limit is reached.
    warned: i64,
}

impl Window {
    fn add(&mut self, sent: Sent) {
        let number = sent.time.div_euclid(BUCKET);
        self.recipients += u64::from(sent.row.recipients);
        self.first_time += u64::from(sent.row.first_time);
        // A clock that was set back doesn't make anything count shorter.
        match self.buckets.back_mut() {
            Some(last) if last.number >= number => {
                last.row.recipients = last.row.recipients.saturating_add(sent.row.recipients);
                last.row.first_time = last.row.first_time.saturating_add(sent.row.first_time);
            }
            _ => self.buckets.push_back(Bucket { number, row: sent.row }),
        }
    }

    fn forget(&mut self, now: i64) {
        while let Some(bucket) = self.buckets.front().filter(|bucket| bucket.ends() <= now) {
            self.recipients = self.recipients.saturating_sub(bucket.row.recipients.into());
            self.first_time = self.first_time.saturating_sub(bucket.row.first_time.into());
            self.buckets.pop_front();
        }
    }

    /// Whether so much may be sent besides what counts.
    fn check(&self, wanted: OutgoingRow, limits: SendingLimits) -> Result<(), Exceeded> {
        let SendingLimits { recipients_per_day, first_time_recipients_per_day } = limits;
        let recipients: fn(&OutgoingRow) -> u32 = |row| row.recipients;
        let first_time: fn(&OutgoingRow) -> u32 = |row| row.first_time;
        for (limit, most, counted, of) in [
            (Limit::OutgoingRecipients, recipients_per_day, self.recipients, recipients),
            (Limit::OutgoingFirstTimeRecipients, first_time_recipients_per_day, self.first_time, first_time),
        ] {
            let wants = of(&wanted);
            if wants > 0 && counted + u64::from(wants) > u64::from(most) {
                let mut left = counted;
                let fits = self.buckets.iter().find(|bucket| {
                    left = left.saturating_sub(of(&bucket.row).into());
                    left + u64::from(wants) <= u64::from(most)
                });
                return Err(Exceeded { limit, most, counted, until: fits.map(Bucket::ends) });
            }
        }
        Ok(())
    }

    /// What may be sent besides what counts.
    fn left(&self, limits: SendingLimits) -> OutgoingRow {
        let left = |most: u32, counted: u64| most.saturating_sub(u32::try_from(counted).unwrap_or(u32::MAX));
        OutgoingRow {
            recipients: left(limits.recipients_per_day, self.recipients),
            first_time: left(limits.first_time_recipients_per_day, self.first_time),
        }
    }

    fn take(&mut self, wanted: Sent, limits: SendingLimits) -> Result<(), Exceeded> {
        self.check(wanted.row, limits)?;
        self.add(wanted);
        Ok(())
    }

    fn give_back(&mut self, sent: Sent) {
        let number = sent.time.div_euclid(BUCKET);
        let Some(bucket) = self.buckets.iter_mut().rev().find(|bucket| bucket.number <= number) else {
            return;
        };
        let OutgoingRow { recipients, first_time } = sent.row;
        bucket.row.recipients = bucket.row.recipients.saturating_sub(recipients);
        bucket.row.first_time = bucket.row.first_time.saturating_sub(first_time);
        self.recipients = self.recipients.saturating_sub(recipients.into());
        self.first_time = self.first_time.saturating_sub(first_time.into());
    }
}

/// What the accounts that live on a shard may still send.
#[derive(Default)]
pub(crate) struct Allowances {
    windows: RefCell<HashMap<AccountId, Window>>,
    /// Ids that clients gave, of messages on their way into the queue.
    ids: RefCell<HashSet<(AccountId, Box<str>)>>,
}

impl Allowances {
    fn knows(&self, account: AccountId) -> bool {
        self.windows.borrow().contains_key(&account)
    }

    /// Keeps what was read of an account, unless that is known meanwhile.
    fn learn(&self, account: AccountId, window: Window) {
        let mut windows = self.windows.borrow_mut();
        if windows.len() >= ACCOUNTS_MAX && !windows.contains_key(&account) {
            forget_the_silent(&mut windows);
        }
        windows.entry(account).or_insert(window);
    }

    /// Claims an id that a client gave for a message; false when another message has it.
    pub(crate) fn claim(&self, account: AccountId, id: &str) -> bool {
        self.ids.borrow_mut().insert((account, id.into()))
    }

    /// The message with the id is in the queue, or isn't sent.
    pub(crate) fn release(&self, account: AccountId, id: &str) {
        self.ids.borrow_mut().remove(&(account, id.into()));
    }

    /// Takes back what [`take`] counted, of a message that isn't in the queue after all.
    pub(crate) fn give_back(&self, account: AccountId, sent: Sent) {
        if let Some(window) = self.windows.borrow_mut().get_mut(&account) {
            window.give_back(sent);
        }
    }
}

/// Makes room: half of the table at least. What is forgotten is read again when it is needed.
fn forget_the_silent(windows: &mut HashMap<AccountId, Window>) {
    let mut used: Vec<i64> = windows.values().map(|window| window.used).collect();
    let middle = used.len() / 2;
    let (_, median, _) = used.select_nth_unstable(middle);
    let median = *median;
    windows.retain(|_, window| window.used > median);
}

/// Why nothing is known of an account.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeError {
    /// A limit is reached.
    #[error("a limit of outgoing mail is reached")]
    Exceeded(Exceeded),
    /// What it sent can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No worker is free to read it.
    #[error("too much is to be done")]
    Busy,
}

/// Counts a message of an account, unless it may not be sent now. To be called on the home shard of the account.
pub(crate) async fn take(
    home: &Rc<Shard>,
    account: AccountId,
    wanted: Sent,
    limits: SendingLimits,
) -> Result<(), TakeError> {
    let (now, mut folds) = (wanted.time, false);
    let taken = within(home, account, now, |window| {
        folds = now >= window.folded + PAUSE;
        if folds {
            window.folded = now;
        }
        window.take(wanted, limits)
    });
    let taken = taken.await;
    if folds {
        let home = Rc::clone(home);
        spawn("fold what an account sent", async move { fold(&home, account, now).await });
    }
    taken
}

/// What an account may still send, unless so much is too much already. Nothing is counted by it. To be called on the home
/// shard of the account.
pub(crate) async fn left(
    home: &Rc<Shard>,
    account: AccountId,
    wanted: Sent,
    limits: SendingLimits,
) -> Result<OutgoingRow, TakeError> {
    let look = |window: &mut Window| window.check(wanted.row, limits).map(|()| window.left(limits));
    within(home, account, wanted.time, look).await
}

/// Does something with what an account sent, which is read where it isn't known. A limit that is reached is counted, and
/// logged now and then.
async fn within<T>(
    home: &Rc<Shard>,
    account: AccountId,
    now: i64,
    work: impl FnOnce(&mut Window) -> Result<T, Exceeded>,
) -> Result<T, TakeError> {
    if !home.allowances.knows(account) {
        let store = Arc::clone(&home.shared.store);
        let read = move || -> Result<Window, StoreError> {
            let mut window = Window { used: now, ..Window::default() };
            for row in sent(&store.reader(), account, now) {
                window.add(row?);
            }
            Ok(window)
        };
        let window = home.shared.pool.run(read).await.map_err(|_| TakeError::Busy)??;
        home.allowances.learn(account, window);
    }
    let mut windows = home.allowances.windows.borrow_mut();
    // It is there; if it were not, it would be as one that sent nothing.
    let window = windows.entry(account).or_default();
    window.used = now;
    window.forget(now);
    let done = work(window);
    if let Err(exceeded) = &done {
        home.recorder.increment(home.shared.metrics.limit(exceeded.limit));
        if now >= window.warned + PAUSE {
            window.warned = now;
            let (limit, most, counted) = (exceeded.limit.name(), exceeded.most, exceeded.counted);
            warn!(%account, limit, most, counted, "an account may send no more now; look whether it is still its owner's");
        }
    }
    done.map_err(TakeError::Exceeded)
}

/// Removes rows that no longer count, and makes few of those of hours that are over. What isn't done is done again.
async fn fold(home: &Rc<Shard>, account: AccountId, now: i64) {
    loop {
        let store = Arc::clone(&home.shared.store);
        let built = home.shared.pool.run(move || fold_sent(&store.reader(), account, now, ROWS_MAX));
        let (batch, more) = match built.await {
            Ok(Ok(built)) => built,
            Ok(Err(error)) => return error!(%account, %error, "what an account sent can't be read"),
            Err(_) => return,
        };
        if batch.is_empty() || home.shared.shutdown.is_stopping() {
            return;
        }
        if commit::commit(&home.shared.committer, batch, Durability::Buffered).await.is_err() || !more {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const NOW: i64 = 20_000 * 24 * 60 * 60;
    const LIMITS: SendingLimits = SendingLimits { recipients_per_day: 10, first_time_recipients_per_day: 3 };

    /// As [`within`] does it.
    fn take(window: &mut Window, wanted: Sent) -> Result<(), Exceeded> {
        window.forget(wanted.time);
        window.take(wanted, LIMITS)
    }

    fn sent(time: i64, recipients: u32, first_time: u32) -> Sent {
        Sent { time, row: OutgoingRow { recipients, first_time } }
    }

    #[test]
    fn what_was_sent_counts_for_a_day_and_at_most_ten_minutes_more() {
        let mut window = Window::default();
        assert_eq!(take(&mut window, sent(NOW, 10, 0)), Ok(()));
        let exceeded = |window: &mut Window, now| take(window, sent(now, 1, 0)).unwrap_err();
        let ends = NOW + SENT_WINDOW + BUCKET;
        let expected =
            Exceeded { limit: Limit::OutgoingRecipients, most: 10, counted: 10, until: Some(ends) };
        assert_eq!(exceeded(&mut window, NOW), expected);
        assert_eq!(exceeded(&mut window, NOW + SENT_WINDOW), expected);
        assert_eq!(exceeded(&mut window, ends - 1), expected);
        assert_eq!(take(&mut window, sent(ends, 10, 0)), Ok(()));
        assert_eq!((window.recipients, window.buckets.len()), (10, 1));
    }

    #[test]
    fn it_is_said_when_enough_is_over() {
        let mut window = Window::default();
        for (hour, recipients) in [(0, 4), (1, 4), (2, 2)] {
            assert_eq!(take(&mut window, sent(NOW + hour * 3600, recipients, 0)), Ok(()));
        }
        let now = NOW + 3 * 3600;
        for (wanted, hours) in
            [(1, Some(0)), (4, Some(0)), (5, Some(1)), (8, Some(1)), (10, Some(2)), (11, None)]
        {
            let until = hours.map(|hours| NOW + hours * 3600 + SENT_WINDOW + BUCKET);
            assert_eq!(take(&mut window, sent(now, wanted, 0)).unwrap_err().until, until, "{wanted}");
        }
        assert_eq!(window.recipients, 10, "what is refused doesn't count");
    }

    #[test]
    fn first_time_recipients_have_a_number_of_their_own() {
        let mut window = Window::default();
        assert_eq!(take(&mut window, sent(NOW, 3, 3)), Ok(()));
        let exceeded = take(&mut window, sent(NOW, 2, 1)).unwrap_err();
        assert_eq!((exceeded.limit, exceeded.counted), (Limit::OutgoingFirstTimeRecipients, 3));
        assert_eq!(take(&mut window, sent(NOW, 7, 0)), Ok(()));
        window.give_back(sent(NOW, 3, 3));
        assert_eq!((window.recipients, window.first_time), (7, 0));
        assert_eq!(take(&mut window, sent(NOW + 5, 3, 3)), Ok(()));
    }

    #[test]
    fn a_clock_that_goes_back_makes_nothing_count_shorter() {
        let mut window = Window::default();
        window.add(sent(NOW + SENT_WINDOW, 4, 0));
        assert_eq!(take(&mut window, sent(NOW, 4, 0)), Ok(()));
        assert!(take(&mut window, sent(NOW + SENT_WINDOW + BUCKET, 4, 0)).is_err());
        window.give_back(sent(NOW, 4, 0));
        assert_eq!(window.recipients, 8, "what isn't known where it was counted stays");
    }

    #[test]
    fn a_full_table_forgets_who_was_silent_longest() {
        let allowances = Allowances::default();
        let account = |number: usize| AccountId::new(u32::try_from(number).unwrap()).unwrap();
        for number in 1..=ACCOUNTS_MAX {
            let used = NOW + i64::try_from(number).unwrap();
            allowances.learn(account(number), Window { used, ..Window::default() });
        }
        allowances.learn(account(ACCOUNTS_MAX + 1), Window { used: NOW, ..Window::default() });
        assert!(allowances.knows(account(ACCOUNTS_MAX)) && !allowances.knows(account(1)));
        assert!(allowances.knows(account(ACCOUNTS_MAX + 1)));
        assert!(allowances.windows.borrow().len() <= ACCOUNTS_MAX / 2 + 1);
    }
}
