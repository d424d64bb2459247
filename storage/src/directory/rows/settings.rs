//! Rules of addresses, and routes, as parts of values: from the second version of ADDRESS, ACCOUNT and DOMAIN on.
//!
//! What isn't set is an empty text.
//!
//! | part | fields |
//! |---|---|
//! | destination | auth_required, number of rules u8, rules; from version 3 of ADDRESS on reports u8 (1 DMARC, 2 TLS) |
//! | rule | bits u8 (1 is_forward), mail_from, msg_from, verified_domain, mailbox, list_allow_domain, accept_rejects_to, comment, number of headers u8, of each the patterns of name and value |
//! | routes | number u8, of each: number of from_domains u8, these, number of to_domains u8, these, minimum_attempts u32, transport |

use postrider_proto::address::Domain;
use postrider_proto::imap::mailbox::MailboxName;

use super::{Reader, Writer};
use crate::directory::destination::{Destination, HeaderPattern, MailRule, Pattern, ReportKinds};
use crate::directory::route::{Route, RouteDomain, TransportName};

const IS_FORWARD: u8 = 1;

impl Writer {
    /// Numbers of entries are bounded below 256 by `Limits`, and checked before anything is written.
    fn count(&mut self, count: usize) {
        self.0.push(count as u8);
    }

    pub(in crate::directory) fn destination(&mut self, destination: &Destination) {
        self.text(destination.auth_required.as_deref().unwrap_or(""));
        self.count(destination.rules.len());
        for rule in &destination.rules {
            self.rule(rule);
        }
    }

    pub(in crate::directory) fn destination_with_reports(&mut self, destination: &Destination) {
        self.destination(destination);
        self.0.push(destination.reports.bits());
    }

    fn rule(&mut self, rule: &MailRule) {
        self.0.push(if rule.is_forward { IS_FORWARD } else { 0 });
        for text in [
            rule.mail_from.as_ref().map(Pattern::as_str),
            rule.msg_from.as_ref().map(Pattern::as_str),
            rule.verified_domain.as_ref().map(Domain::as_str),
            rule.mailbox.as_ref().map(MailboxName::as_str),
            rule.list_allow_domain.as_ref().map(Domain::as_str),
            rule.accept_rejects_to.as_ref().map(MailboxName::as_str),
            Some(&*rule.comment),
        ] {
            self.text(text.unwrap_or(""));
        }
        self.count(rule.headers.len());
        for header in &rule.headers {
            self.text(header.name.as_str());
            self.text(header.value.as_str());
        }
    }

    pub(super) fn routes(&mut self, routes: &[Route]) {
        self.count(routes.len());
        for route in routes {
            for domains in [&route.from_domains, &route.to_domains] {
                self.count(domains.len());
                domains.iter().for_each(|domain| self.text(&domain.to_string()));
            }
            self.u32(route.minimum_attempts);
            self.text(route.transport.as_str());
        }
    }
}

impl<'a> Reader<'a> {
    /// A text, if there is one. The outer none is damage.
    fn set<T>(&mut self, read: impl FnOnce(&'a str) -> Option<T>) -> Option<Option<T>> {
        match self.text()? {
            "" => Some(None),
            text => read(text).map(Some),
        }
    }

    fn list<T>(&mut self, mut each: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.u8()?;
        (0..count).map(|_| each(self)).collect()
    }

    pub(in crate::directory) fn destination(&mut self) -> Option<Destination> {
        let auth_required = self.set(|text| Some(text.to_owned()))?;
        Some(Destination { auth_required, rules: self.list(Self::rule)?, reports: ReportKinds::default() })
    }

    pub(in crate::directory) fn destination_with_reports(&mut self) -> Option<Destination> {
        let destination = self.destination()?;
        Some(Destination { reports: ReportKinds::from_bits(self.u8()?)?, ..destination })
    }

    fn rule(&mut self) -> Option<MailRule> {
        let is_forward = self.u8()? & IS_FORWARD != 0;
        Some(MailRule {
            is_forward,
            mail_from: self.set(Pattern::stored)?,
            msg_from: self.set(Pattern::stored)?,
            verified_domain: self.set(|text| Domain::parse(text).ok())?,
            mailbox: self.set(|text| MailboxName::new(text).ok())?,
            list_allow_domain: self.set(|text| Domain::parse(text).ok())?,
            accept_rejects_to: self.set(|text| MailboxName::new(text).ok())?,
            comment: self.text()?.to_owned(),
            headers: self.list(|reader| {
                let name = Pattern::stored(reader.text()?)?;
                Some(HeaderPattern { name, value: Pattern::stored(reader.text()?)? })
            })?,
        })
    }

    pub(super) fn routes(&mut self) -> Option<Vec<Route>> {
        let domain = |reader: &mut Self| RouteDomain::parse(reader.text()?).ok();
        self.list(|reader| {
            Some(Route {
                from_domains: reader.list(domain)?,
                to_domains: reader.list(domain)?,
                minimum_attempts: reader.u32()?,
                transport: TransportName::new(reader.text()?).ok()?,
            })
        })
    }
}

/// Octets that a destination takes in a row.
pub(in crate::directory) fn destination_octets(destination: &Destination) -> usize {
    let mut out = Writer(Vec::new());
    out.destination(destination);
    out.0.len()
}

/// Octets that routes take in a row.
pub(in crate::directory) fn routes_octets(routes: &[Route]) -> usize {
    let mut out = Writer(Vec::new());
    out.routes(routes);
    out.0.len()
}
