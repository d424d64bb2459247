//! The requests about rules of addresses, and about routes: each changes one entry of an ordered list.

use postrider_proto::address::Domain;
use postrider_storage::directory::{
    AddressPattern, Change, Destination, Directory, HeaderPattern, MailRule, Pattern, ReportKinds, Route,
    RouteDomain, TransportName,
};

use super::edit::find;
use super::{ServerOperations, failure, internal};
use crate::control::protocol::{self, Answer, FailureKind, Request, RouteOwner, RouteRow, RuleRow};
use crate::control::{Exchange, OperationError, Transport};

/// What becomes of an ordered list. Numbers are those that people see, from 1.
enum Edit<T> {
    Add { at: Option<u32>, entry: T },
    Remove { number: u32 },
    Move { number: u32, to: u32 },
}

impl<T> Edit<T> {
    fn apply(self, list: &mut Vec<T>, what: &str) -> Result<(), OperationError> {
        let place = |number: u32, most: usize| {
            let place = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
            place.filter(|place| *place < most).ok_or_else(|| {
                let message = match most {
                    0 => format!("there is no {what}"),
                    most => format!("there is no place {number}; write a number from 1 to {most}"),
                };
                OperationError::new(FailureKind::NotFound, message)
            })
        };
        match self {
            Self::Add { at: None, entry } => list.push(entry),
            Self::Add { at: Some(at), entry } => {
                let at = place(at, list.len() + 1)?;
                list.insert(at, entry);
            }
            Self::Remove { number } => drop(list.remove(place(number, list.len())?)),
            Self::Move { number, to } => {
                let (from, to) = (place(number, list.len())?, place(to, list.len())?);
                let entry = list.remove(from);
                list.insert(to, entry);
            }
        }
        Ok(())
    }
}

/// Whose routes, checked.
#[derive(Clone)]
enum Owner {
    Account(postrider_storage::directory::AccountName),
    Domain(Domain),
}

impl Owner {
    fn parse(of: &RouteOwner) -> Result<Self, OperationError> {
        Ok(match of {
            RouteOwner::Account(name) => Self::Account(failure::account(name)?),
            RouteOwner::Domain(name) => Self::Domain(failure::domain(name)?),
        })
    }

    /// Its routes, and what sets others.
    fn change(
        &self,
        directory: &Directory<'_>,
        edit: impl FnOnce(&mut Vec<Route>) -> Result<(), OperationError>,
    ) -> Result<Change, OperationError> {
        match self {
            Self::Account(name) => {
                let mut settings = find(directory, name)?.settings;
                edit(&mut settings.routes)?;
                Ok(Change::SetAccount { name: name.clone(), settings })
            }
            Self::Domain(domain) => {
                let settings = directory.domain(domain).map_err(internal)?;
                let mut settings = settings.ok_or_else(|| {
                    OperationError::new(FailureKind::NotFound, format!("there is no domain {domain}"))
                })?;
                edit(&mut settings.routes)?;
                Ok(Change::SetDomain { domain: domain.clone(), settings })
            }
        }
    }
}

impl ServerOperations {
    /// Carries out a request that changes rules or routes.
    pub(super) async fn edit_settings(&self, request: Request) -> Result<Answer, OperationError> {
        match request {
            Request::AddressRuleAdd { address, at, rule } => {
                let entry = self.on_pool(move |_| rule_of(&rule)).await?;
                self.edit_rules(&address, Edit::Add { at, entry }).await
            }
            Request::AddressRuleRemove { address, number } => {
                self.edit_rules(&address, Edit::Remove { number }).await
            }
            Request::AddressRuleMove { address, number, to } => {
                self.edit_rules(&address, Edit::Move { number, to }).await
            }
            Request::AddressRequireAuthentication { address, text } => {
                let set = |destination: &mut Destination| {
                    destination.auth_required = text;
                    Ok(())
                };
                self.edit_destination(&address, set).await
            }
            Request::AddressReports { address, kinds } => {
                let reports = ReportKinds::parse(kinds).map_err(|name| {
                    let known = ReportKinds::NAMES.join(" and ");
                    let message = format!("{name} is no kind of reports; there are {known}");
                    OperationError::new(FailureKind::Invalid, message)
                })?;
                let set = move |destination: &mut Destination| {
                    destination.reports = reports;
                    Ok(())
                };
                self.edit_destination(&address, set).await
            }
            Request::RouteAdd { of, at, route } => {
                let entry = route_of(&route)?;
                self.edit_routes(&of, Edit::Add { at, entry }).await
            }
            Request::RouteRemove { of, number } => self.edit_routes(&of, Edit::Remove { number }).await,
            Request::RouteMove { of, number, to } => self.edit_routes(&of, Edit::Move { number, to }).await,
            // Every other request is carried out elsewhere.
            other => Err(internal(format!("request {} is not known here", other.name()))),
        }
    }

    async fn edit_rules(&self, address: &str, edit: Edit<MailRule>) -> Result<Answer, OperationError> {
        self.edit_destination(address, move |destination| edit.apply(&mut destination.rules, "rule")).await
    }

    async fn edit_destination(
        &self,
        address: &str,
        edit: impl FnOnce(&mut Destination) -> Result<(), OperationError> + Send + 'static,
    ) -> Result<Answer, OperationError> {
        let address = failure::pattern(address)?;
        let change = self.change(move |directory| {
            let mut destination = destination_of(directory, &address)?;
            edit(&mut destination)?;
            Ok(vec![Change::SetDestination { address, destination }])
        });
        change.await?;
        Ok(Answer::Done)
    }

    async fn edit_routes(&self, of: &RouteOwner, edit: Edit<Route>) -> Result<Answer, OperationError> {
        let owner = Owner::parse(of)?;
        let change = self.change(move |directory| {
            Ok(vec![owner.change(directory, |routes| edit.apply(routes, "route"))?])
        });
        change.await?;
        Ok(Answer::Done)
    }

    pub(super) async fn list_rules<T: Transport>(
        &self,
        address: &str,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        let address = failure::pattern(address)?;
        let found = self.on_pool(move |shared| {
            let reader = shared.store.reader();
            destination_of(&Directory::new(reader.snapshot()), &address)
        });
        for (number, rule) in (1..).zip(found.await?.rules) {
            exchange.row(&RuleRow { number, rule: shown_rule(rule) }).await?;
        }
        Ok(Answer::Done)
    }

    pub(super) async fn list_routes<T: Transport>(
        &self,
        of: &RouteOwner,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        let owner = Owner::parse(of)?;
        let found = self.on_pool(move |shared| {
            let reader = shared.store.reader();
            let mut found = Vec::new();
            owner.change(&Directory::new(reader.snapshot()), |routes| {
                found = std::mem::take(routes);
                Ok(())
            })?;
            Ok(found)
        });
        for (number, route) in (1..).zip(found.await?) {
            exchange.row(&RouteRow { number, route: shown_route(&route) }).await?;
        }
        Ok(Answer::Done)
    }
}

fn destination_of(
    directory: &Directory<'_>,
    address: &AddressPattern,
) -> Result<Destination, OperationError> {
    let found = directory.destination(address).map_err(internal)?;
    let (_, _, destination) = found.ok_or_else(|| {
        OperationError::new(FailureKind::NotFound, format!("there is no address {address} of an account"))
    })?;
    Ok(destination)
}

fn rule_of(rule: &protocol::MailRule) -> Result<MailRule, OperationError> {
    fn set<T, E: std::fmt::Display>(
        what: &str,
        text: Option<&String>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, OperationError> {
        text.map(|text| parse(text).map_err(|error| failure::invalid(format!("{what} {text:?}: {error}"))))
            .transpose()
    }
    let mut headers = Vec::new();
    for (name, value) in &rule.headers {
        let pattern = |text: &str| {
            Pattern::new(text).map_err(|error| failure::invalid(format!("header {text:?}: {error}")))
        };
        headers.push(HeaderPattern { name: pattern(name)?, value: pattern(value)? });
    }
    let mailbox = |text: Option<&String>| text.map(|text| failure::mailbox(text)).transpose();
    Ok(MailRule {
        mail_from: set("mail_from", rule.mail_from.as_ref(), Pattern::new)?,
        msg_from: set("msg_from", rule.msg_from.as_ref(), Pattern::new)?,
        verified_domain: set("verified_domain", rule.verified_domain.as_ref(), Domain::parse)?,
        headers,
        mailbox: mailbox(rule.mailbox.as_ref())?,
        is_forward: rule.is_forward,
        list_allow_domain: set("list_allow_domain", rule.list_allow_domain.as_ref(), Domain::parse)?,
        accept_rejects_to: mailbox(rule.accept_rejects_to.as_ref())?,
        comment: rule.comment.clone(),
    })
}

fn shown_rule(rule: MailRule) -> protocol::MailRule {
    let headers = rule.headers.iter();
    protocol::MailRule {
        mail_from: rule.mail_from.map(|pattern| pattern.to_string()),
        msg_from: rule.msg_from.map(|pattern| pattern.to_string()),
        verified_domain: rule.verified_domain.map(|domain| domain.to_string()),
        headers: headers.map(|header| (header.name.to_string(), header.value.to_string())).collect(),
        mailbox: rule.mailbox.map(|mailbox| mailbox.to_string()),
        is_forward: rule.is_forward,
        list_allow_domain: rule.list_allow_domain.map(|domain| domain.to_string()),
        accept_rejects_to: rule.accept_rejects_to.map(|mailbox| mailbox.to_string()),
        comment: rule.comment,
    }
}

fn route_of(route: &protocol::Route) -> Result<Route, OperationError> {
    let domains = |texts: &[String]| {
        let parse = |text: &String| {
            RouteDomain::parse(text).map_err(|error| {
                let form = "write example.com, .example.com or .";
                failure::invalid(format!("{text:?} is no domain of a route: {error}; {form}"))
            })
        };
        texts.iter().map(parse).collect::<Result<Vec<_>, _>>()
    };
    Ok(Route {
        from_domains: domains(&route.from_domains)?,
        to_domains: domains(&route.to_domains)?,
        minimum_attempts: route.minimum_attempts,
        transport: TransportName::new(&route.transport)
            .map_err(|error| failure::invalid(format!("{:?}: {error}", route.transport)))?,
    })
}

fn shown_route(route: &Route) -> protocol::Route {
    let texts = |domains: &[RouteDomain]| domains.iter().map(ToString::to_string).collect();
    protocol::Route {
        from_domains: texts(&route.from_domains),
        to_domains: texts(&route.to_domains),
        minimum_attempts: route.minimum_attempts,
        transport: route.transport.to_string(),
    }
}
