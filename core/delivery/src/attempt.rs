//! One attempt to deliver an entry: which host is connected to next and how, and what came of it in the end.
//!
//! The driver calls [`Attempt::next`] until it is [`Step::Done`], connects as each [`Dial`] says, and reports with
//! [`Attempt::ended`]. Then [`Attempt::conclude`] says what becomes of each recipient.
//!
//! Always holds: a recipient that a host has taken is never offered to another; hosts, addresses and connections are
//! bounded; what TLS has to give is decided before a host is connected to.

mod sum;
#[cfg(test)]
mod tests;
mod values;

use std::collections::VecDeque;
use std::net::IpAddr;

use postrider_dns::dane::{Applies, Found, Verification as DaneVerification};
use postrider_dns::lookups::Exchanger;
use postrider_dns::{ExtendedError, Lookup, Name};

use crate::destination::{Destination, Via, text_of};
use crate::limits::{DIALS_MAX, DNS_ERRORS_MAX};
use crate::order;
use crate::outcome::{Class, Failure, HostEnd, RecipientEnd, Signal, Unreachable, Verdict};
use crate::security::{self, AfterTls, Counter, DaneHost, Facts, Ruling, Sts, StsHost};
use sum::{overall, signal};
pub use values::{Conclusion, Dial, Plan, Step, Tlsa, Tried};

/// An attempt under way.
#[derive(Debug)]
pub struct Attempt<'a> {
    plan: Plan<'a>,
    destination: Destination,
    hosts: VecDeque<Exchanger>,
    address: Option<IpAddr>,
    verdicts: Vec<Option<Verdict>>,
    /// The failures of hosts, for those recipients of which nothing else is known.
    failures: Vec<Failure>,
    /// The last failure of each recipient in a transaction.
    own_failures: Vec<Option<Failure>>,
    shared: Option<Failure>,
    current: Option<Current>,
    /// A host to be connected to again: in clear, or for recipients for whom there was no place.
    again: Option<Current>,
    dials: usize,
    counters: Vec<Counter>,
    tried: Vec<Tried>,
    errors: Vec<ExtendedError>,
}

/// The host that is connected to.
#[derive(Clone, Debug)]
struct Current {
    dial: Dial,
    facts: Option<Facts>,
    dane_words: String,
    tlsa: Tlsa,
    softens: bool,
    /// Of the recipients that wait, those that it is for; none for all.
    only: Option<Vec<usize>>,
}

impl<'a> Attempt<'a> {
    /// Begins an attempt.
    #[must_use]
    pub fn new(plan: Plan<'a>, destination: Destination, chance: &mut impl FnMut() -> u64) -> Self {
        let mut attempt = Self {
            hosts: order::hosts(&destination.hosts, chance).into(),
            address: destination.address,
            verdicts: vec![None; plan.recipients],
            failures: Vec::new(),
            own_failures: vec![None; plan.recipients],
            shared: None,
            current: None,
            again: None,
            dials: 0,
            counters: Vec::new(),
            tried: Vec::new(),
            errors: destination.errors.clone(),
            destination,
            plan,
        };
        attempt.look_at_policy();
        attempt
    }

    /// Without knowing whether there is a policy, no host of the domain is looked at.
    fn look_at_policy(&mut self) {
        let has_policy = matches!(self.destination.via, Via::Exchangers | Via::Implicit);
        let Sts::Unknown(reason) = self.plan.sts else { return };
        if !has_policy || security::rule(&self.facts(StsHost::Unknown, DaneHost::No)).rule.is_ok() {
            return;
        }
        let skip = security::Skip::PolicyUnknown;
        let reason = format!("{}: {reason}", skip.sentence());
        self.failures.push(Failure::ours(skip.status(self.plan.requirement), reason));
        self.hosts.clear();
    }

    fn facts(&self, sts: StsHost, dane: DaneHost) -> Facts {
        let Plan { requirement, kind, here, .. } = self.plan;
        Facts { sts, dane, requirement, kind, here }
    }

    /// What is to be done next.
    pub async fn next(&mut self, lookup: &impl Lookup) -> Step {
        loop {
            let recipients = self.pending();
            if recipients.is_empty() || self.dials >= DIALS_MAX {
                return Step::Done;
            }
            let current = if let Some(again) = self.again.take() {
                Some(again)
            } else if let Some(address) = self.address.take() {
                self.at_address(address)
            } else if let Some(host) = self.hosts.pop_front() {
                self.at_host(lookup, &host).await
            } else {
                return Step::Done;
            };
            let Some(mut current) = current else { continue };
            current.dial.recipients = current.only.clone().unwrap_or(recipients);
            current.dial.addresses.truncate(DIALS_MAX - self.dials);
            let dial = current.dial.clone();
            self.current = Some(current);
            return Step::Dial(Box::new(dial));
        }
    }

    fn pending(&self) -> Vec<usize> {
        (0..self.verdicts.len()).filter(|index| self.verdicts[*index].is_none()).collect()
    }

    fn at_address(&mut self, address: IpAddr) -> Option<Current> {
        let host = format!("[{address}]");
        if self.plan.own.addresses.contains(&address) {
            self.host_ended(&host, None, HostEnd::Ourselves);
            return None;
        }
        let facts = self.facts(StsHost::None, DaneHost::No);
        self.decide(host, None, vec![address], facts, None, ("there is no name", Tlsa::default()))
    }

    async fn at_host(&mut self, lookup: &impl Lookup, host: &Exchanger) -> Option<Current> {
        let text = text_of(&host.host);
        let found = if self.plan.relay.is_some() {
            let addresses = postrider_dns::lookups::addresses(lookup, &host.host).await;
            let applies = match addresses.outcome() {
                postrider_dns::Outcome::Found => Applies::No("it is a configured relay".into()),
                postrider_dns::Outcome::Failed => Applies::Unknown(addresses.reason().to_owned()),
                _ => Applies::NoAddresses("it has no addresses".into()),
            };
            Found { addresses, applies, answers: Vec::new() }
        } else {
            self.destination.host(lookup, &host.host, self.plan.port).await
        };
        self.keep_errors(&found);
        if found.addresses.values.is_empty() {
            let end = match found.applies {
                Applies::NoAddresses(_) => HostEnd::NoAddresses,
                _ => HostEnd::LookupFailed,
            };
            self.host_ended(&text, None, end);
            return None;
        }
        if found.addresses.values.iter().any(|address| self.plan.own.addresses.contains(address)) {
            self.at_ourselves(&text, host.preference);
            return None;
        }
        let sts = self.plan.sts.of_host(&text);
        let facts = self.facts(sts, DaneHost::from(&found.applies));
        let tlsa = Tlsa::of(&found);
        let (verification, words) = match found.applies {
            Applies::Records { verification, base, .. } => {
                (Some(verification), format!("{base} has TLSA records"))
            }
            Applies::No(why) | Applies::Unknown(why) | Applies::NoAddresses(why) => (None, why),
        };
        self.decide(
            text,
            Some(host.host.clone()),
            found.addresses.values,
            facts,
            verification,
            (&words, tlsa),
        )
    }

    /// RFC 5321 §5.1: this host, and all that aren't preferred to it, would send the message in circles.
    fn at_ourselves(&mut self, host: &str, preference: u16) {
        self.hosts.retain(|other| other.preference < preference);
        if self.tried.is_empty() {
            self.host_ended(host, None, HostEnd::Ourselves);
            self.hosts.clear();
        }
    }

    fn keep_errors(&mut self, found: &Found) {
        for error in found.addresses.errors().chain(found.errors()) {
            if self.errors.len() < DNS_ERRORS_MAX && !self.errors.contains(error) {
                self.errors.push(error.clone());
            }
        }
    }

    fn decide(
        &mut self,
        host: String,
        name: Option<Name>,
        found: Vec<IpAddr>,
        facts: Facts,
        dane: Option<DaneVerification>,
        (dane_words, tlsa): (&str, Tlsa),
    ) -> Option<Current> {
        let Plan { requirement, kind, families, .. } = self.plan;
        let Ruling { rule, counters } = match self.plan.relay {
            Some((tls, begins)) => security::relay(tls, begins, requirement, kind),
            None => security::rule(&facts),
        };
        self.counters.extend(counters);
        let rule = match rule {
            Ok(rule) => rule,
            Err(skip) => {
                self.host_ended(&host, Some((facts, dane_words, tlsa)), HostEnd::Skipped(skip));
                return None;
            }
        };
        let is_retry = !self.plan.dialed.of(&host).is_empty();
        let addresses = order::addresses(&found, families, self.plan.dialed.of(&host));
        if addresses.is_empty() {
            let end = HostEnd::Unreachable(Unreachable::NoRoute);
            self.host_ended(&host, Some((facts, dane_words, tlsa)), end);
            return None;
        }
        let has = |six: bool| addresses.iter().any(|address| address.is_ipv6() == six);
        let softens = self.plan.attempts_before == 0 && has(true) && has(false);
        let dial = Dial {
            host,
            name,
            addresses,
            port: self.plan.port,
            rule,
            dane,
            recipients: Vec::new(),
            is_retry,
        };
        let dane_words = dane_words.to_owned();
        Some(Current { dial, facts: Some(facts), dane_words, tlsa, softens, only: None })
    }

    /// A host that wasn't connected to.
    fn host_ended(&mut self, host: &str, known: Option<(Facts, &str, Tlsa)>, end: HostEnd) {
        let failure = Failure::of_host(host, &end, self.plan.requirement, false);
        self.keep_shared(&end, failure.as_ref());
        self.failures.extend(failure);
        let (facts, dane, tlsa) = match known {
            Some((facts, words, tlsa)) => (Some(facts), words.to_owned(), tlsa),
            None => Default::default(),
        };
        self.tried.push(Tried {
            host: host.to_owned(),
            facts,
            rule: None,
            dane,
            tlsa,
            addresses: Vec::new(),
            end,
        });
    }

    /// Takes what came of the host of the last [`Step::Dial`]; without one, nothing happens. `dialed` are the
    /// addresses that connections were made or tried to, in order. In a transaction, a recipient of which nothing is
    /// said counts as one at which the conversation broke off.
    pub fn ended(&mut self, end: HostEnd, dialed: &[IpAddr]) {
        let Some(current) = self.current.take() else { return };
        let (host, softens) = (current.dial.host.clone(), current.softens);
        self.dials += dialed.len().max(1);
        for address in dialed {
            self.plan.dialed.add(&host, *address);
        }
        if let HostEnd::Tls(event) = &end {
            let (after, counters) = current.dial.rule.after(*event);
            self.counters.extend(counters);
            if after == AfterTls::Plaintext {
                self.again = Some(in_clear(&current, dialed));
            }
        }
        if let HostEnd::Transaction(ends) = &end {
            self.take_recipients(&host, &current.dial.recipients, ends, softens);
            self.again = on_another_connection(&current, ends, dialed);
            // What was said there was said of this message, and is nobody else's to know.
            self.keep_shared(&end, Some(&Failure::wants_no_more(&host)));
        } else if self.again.is_none() {
            let failure = Failure::of_host(&host, &end, self.plan.requirement, softens);
            self.keep_shared(&end, failure.as_ref());
            if let (false, Some(failure)) = (end.goes_on(softens), &failure) {
                self.settle(failure);
            }
            self.failures.extend(failure);
        }
        self.tried.push(Tried {
            host,
            facts: current.facts,
            rule: Some(current.dial.rule),
            dane: current.dane_words,
            tlsa: current.tlsa,
            addresses: dialed.to_vec(),
            end,
        });
    }

    /// What is of the host and not of the message.
    fn keep_shared(&mut self, end: &HostEnd, failure: Option<&Failure>) {
        let of_host = matches!(end, HostEnd::Unreachable(_) | HostEnd::LookupFailed);
        let is_temporary = failure.is_some_and(|failure| failure.status.class == Class::Temporary);
        if is_temporary && (of_host || end.signal() == Signal::Slower) {
            self.shared = failure.cloned();
        }
    }

    /// A failure that no other host would change, for all recipients that are left.
    fn settle(&mut self, failure: &Failure) {
        if failure.status.class == Class::Permanent {
            for index in self.pending() {
                self.verdicts[index] = Some(Verdict::Failed { failure: failure.clone(), is_expired: false });
            }
        }
        self.hosts.clear();
    }

    fn take_recipients(&mut self, host: &str, recipients: &[usize], ends: &[RecipientEnd], softens: bool) {
        let broken = RecipientEnd::Broken {
            stage: crate::outcome::Stage::Recipient,
            how: crate::outcome::Broken::Malformed,
        };
        for (place, index) in recipients.iter().enumerate() {
            let end = ends.get(place).unwrap_or(&broken);
            let failure = Failure::of_recipient(host, end, softens);
            match (end, failure) {
                (RecipientEnd::Delivered { answer, has_dsn }, _) => {
                    self.verdicts[*index] = Some(Verdict::Delivered {
                        host: host.to_owned(),
                        answer: answer.clone(),
                        has_dsn: *has_dsn,
                    });
                }
                (_, Some(failure)) if failure.status.class == Class::Permanent => {
                    self.verdicts[*index] = Some(Verdict::Failed { failure, is_expired: false });
                }
                (_, failure) => self.own_failures[*index] = failure,
            }
        }
    }

    /// What becomes of each recipient, after `made` attempts, this one included, of `attempts_max`.
    #[must_use]
    pub fn conclude(mut self, made: u16, attempts_max: u16) -> Conclusion {
        let overall = overall(&self.failures);
        let verdicts = std::mem::take(&mut self.verdicts)
            .into_iter()
            .zip(std::mem::take(&mut self.own_failures))
            .map(|(verdict, own)| {
                verdict.unwrap_or_else(|| {
                    Verdict::of(own.unwrap_or_else(|| overall.clone()), made, attempts_max)
                })
            })
            .collect();
        Conclusion {
            verdicts,
            dialed: self.plan.dialed,
            counters: self.counters,
            signal: signal(&self.tried),
            shared: self.shared,
            tried: self.tried,
            errors: self.errors,
        }
    }
}

/// The same host and the address that was connected to, for those of whom it took no more on one connection. One of them at
/// least has to be out of the way, so that this comes to an end; and one that broke off, or wants to be left alone, is not
/// connected to again at once.
fn on_another_connection(current: &Current, ends: &[RecipientEnd], dialed: &[IpAddr]) -> Option<Current> {
    let places = current.dial.recipients.iter().zip(ends);
    let later: Vec<usize> =
        places.filter(|(_, end)| **end == RecipientEnd::Later).map(|(index, _)| *index).collect();
    let is_in_trouble = |end: &RecipientEnd| match end {
        RecipientEnd::Broken { .. } => true,
        RecipientEnd::Refused { answer, .. } => answer.code == 421,
        RecipientEnd::Delivered { .. } | RecipientEnd::Later => false,
    };
    if later.is_empty() || later.len() == current.dial.recipients.len() || ends.iter().any(is_in_trouble) {
        return None;
    }
    let mut again = Current { only: Some(later), ..current.clone() };
    again.dial.addresses = dialed.last().map_or_else(|| again.dial.addresses, |address| vec![*address]);
    Some(again)
}

/// The same host and the address that was connected to, without TLS.
fn in_clear(current: &Current, dialed: &[IpAddr]) -> Current {
    let mut again = current.clone();
    again.dial.rule = again.dial.rule.in_clear();
    again.dial.dane = None;
    if let Some(address) = dialed.last() {
        again.dial.addresses = vec![*address];
    }
    again
}
