//! What the recipients of a message came to, and whether it has to come again.

use std::collections::{BTreeMap, HashSet};

use postrider_proto::smtp::Reply;
use postrider_proto::smtp::reply::Class;

use crate::metrics;

/// What one recipient came to.
pub(super) type Outcome = Result<metrics::Delivery, Reply>;

/// What the recipients came to, by their place in the envelope.
#[derive(Default)]
pub(super) struct Outcomes {
    pub(super) by_number: BTreeMap<usize, Outcome>,
    /// Those who refused the message for what it is: they would do so again, whatever the class of their reply.
    pub(super) settled: HashSet<usize>,
}

impl Outcomes {
    /// What is told when a message should come again as a whole. Those who refused it for what it is don't keep it from
    /// others, if there are any.
    pub(super) fn deferral(&self, is_nobodys: bool) -> Option<Reply> {
        let waits = |number: &usize| is_nobodys || !self.settled.contains(number);
        let replies = self.by_number.iter().filter(|(number, _)| waits(number));
        let mut replies = replies.filter_map(|(_, outcome)| outcome.as_ref().err());
        replies.find(|reply| reply.class() == Class::Transient).cloned()
    }

    /// An alias got the message when any of its members did (product 1.14).
    pub(super) fn note(&mut self, number: usize, outcome: Outcome) {
        let known = self.by_number.entry(number).or_insert_with(|| outcome.clone());
        if known.is_err() && outcome.is_ok() {
            *known = outcome;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_again_for_whom_that_may_help() {
        let stored = || Ok(metrics::Delivery::Stored);
        let (full, unknown) = (|| Err(Reply::MAILBOX_FULL), || Err(Reply::NO_SUCH_USER));
        // Outcomes by number, numbers that are settled, and what is told when others get the message, and when nobody does.
        type Row = (Vec<(usize, Outcome)>, Vec<usize>, [Option<Reply>; 2]);
        let later = Some(Reply::MAILBOX_FULL);
        let rows: [Row; 6] = [
            (vec![], vec![], [None, None]),
            (vec![(0, stored()), (1, unknown())], vec![1], [None, None]),
            (vec![(0, stored()), (1, full())], vec![], [later.clone(), later.clone()]),
            (vec![(0, stored()), (1, full())], vec![1], [None, later.clone()]),
            (vec![(0, unknown()), (1, full()), (2, full())], vec![0, 1], [later.clone(), later]),
            // An alias, of which one member has room.
            (vec![(0, full()), (0, stored()), (0, full())], vec![], [None, None]),
        ];
        for (noted, settled, expected) in rows {
            let mut outcomes = Outcomes { settled: settled.into_iter().collect(), ..Outcomes::default() };
            for (number, outcome) in noted.clone() {
                outcomes.note(number, outcome);
            }
            assert_eq!([false, true].map(|is_nobodys| outcomes.deferral(is_nobodys)), expected, "{noted:?}");
        }
    }
}
