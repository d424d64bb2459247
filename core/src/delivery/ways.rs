//! To which relay the mail of a domain went last.
//!
//! Many domains may share a relay, which has few connections: most sessions find all of them taken. So a session that knows
//! the relay takes its place there before it claims anything, and one for which there is none writes nothing to the store.
//! What is here only says where to ask first: where an entry really goes is decided at its attempt.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

use postrider_delivery::schedule::{Admission, IfBusy};

use super::hosts::Busy;
use super::session::{Open, Session};

/// Domains that are remembered, about 20 octets each. When there are more, all are forgotten.
const DOMAINS_MAX: usize = 8192;

/// A relay, and the way there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct LastWay {
    pub(super) transport: Box<str>,
    pub(super) host: String,
    /// The address that is dialed first, and the local one.
    pub(super) address: IpAddr,
    pub(super) source: Option<IpAddr>,
}

/// The ways of a shard's domains.
#[derive(Default)]
pub(super) struct Ways(RefCell<HashMap<u64, Rc<LastWay>>>);

impl Ways {
    /// The way of a domain.
    pub(super) fn of(&self, domain: u64) -> Option<Rc<LastWay>> {
        self.0.borrow().get(&domain).cloned()
    }

    /// Takes which way a domain's mail goes; none when it goes to no relay.
    pub(super) fn note(&self, domain: u64, way: Option<LastWay>) {
        let mut ways = self.0.borrow_mut();
        let Some(way) = way else {
            ways.remove(&domain);
            return;
        };
        if ways.get(&domain).is_some_and(|known| **known == way) {
            return;
        }
        if ways.len() >= DOMAINS_MAX {
            ways.clear();
        }
        // Most domains go the same way as some other.
        let same = ways.values().next().filter(|known| ***known == way).cloned();
        ways.insert(domain, same.unwrap_or_else(|| Rc::new(way)));
    }
}

impl Session {
    /// Takes its place at the relay where the mail of its domain went last: a connection that lies idle, or the place for a
    /// new one, which its end gives back when there is nothing to send. Where the way isn't known, that is left for later.
    pub(super) fn take_place(&mut self) -> Result<(), Busy> {
        let way = if self.open.is_none() { self.shard.deliveries.ways.of(self.domain) } else { None };
        let Some(way) = way else { return Ok(()) };
        let leads_there = |open: &Open| {
            open.host == way.host && open.transport == way.transport && open.connection.takes_more()
        };
        if self.take_over(leads_there) {
            return Ok(());
        }
        match self
            .schedule(|schedule, id, now| schedule.connect(id, way.address, way.source, IfBusy::Leave, now))
        {
            Admission::Busy { until } => Err(Busy(until)),
            // What can't be reached is for the attempt to say.
            Admission::Go | Admission::Down { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn to(address: [u8; 4]) -> LastWay {
        LastWay {
            transport: "relay".into(),
            host: "relay.example".to_owned(),
            address: address.into(),
            source: None,
        }
    }

    #[test]
    fn the_way_of_the_last_message_is_known() {
        let ways = Ways::default();
        assert_eq!(ways.of(7), None);
        ways.note(7, Some(to([127, 0, 0, 1])));
        ways.note(8, Some(to([127, 0, 0, 1])));
        assert!(Rc::ptr_eq(&ways.of(7).unwrap(), &ways.of(8).unwrap()), "kept once");
        ways.note(7, Some(to([127, 0, 0, 2])));
        assert_eq!(*ways.of(7).unwrap(), to([127, 0, 0, 2]));
        ways.note(7, None);
        assert_eq!(ways.of(7), None, "it goes to no relay any more");
        assert_eq!(*ways.of(8).unwrap(), to([127, 0, 0, 1]));
    }

    #[test]
    fn as_many_domains_are_remembered_as_there_is_room_for() {
        let ways = Ways::default();
        for domain in 0..=DOMAINS_MAX as u64 {
            ways.note(domain, Some(to([127, 0, 0, 1])));
        }
        assert_eq!((ways.of(0), ways.0.borrow().len()), (None, 1), "all are forgotten");
    }
}
