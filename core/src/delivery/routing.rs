//! By which transport an entry leaves: what the directory and the configuration say of it at the moment. The one place
//! that decides, for attempts and for those who ask what an attempt would do.

use std::borrow::Cow;

use postrider_delivery::destination::Target;
use postrider_delivery::outcome::{Failure, Status};
use postrider_delivery::route::{Asked, Level, Pattern, Route, choose};
use postrider_delivery::transport::Transport;
use postrider_proto::address::{Address, Domain};
use postrider_storage::directory::{self, Directory, DomainState};
use postrider_storage::engine::EngineError;
use postrider_storage::ids::AccountId;
use postrider_storage::rows::QueueRow;

use super::outcome::Keep;
use crate::config::Delivery;

/// Whose messages they are, and where they go.
pub(crate) struct Passage {
    /// Who submitted them; none is the server.
    pub(crate) account: Option<AccountId>,
    /// The domain of their sender; none for the null sender.
    pub(crate) sender: Option<Domain>,
    /// The recipients' domain; none for one at an address literal.
    pub(crate) to: Option<Domain>,
}

impl Passage {
    /// Of an entry.
    pub(super) fn of(entry: &QueueRow) -> Self {
        Self {
            account: AccountId::new(entry.sender),
            sender: sender_domain(entry),
            to: Domain::parse(&entry.domain).ok(),
        }
    }
}

/// What the directory says of the way of messages.
pub(crate) struct Routing {
    /// The sender's domain is disabled here.
    pub(super) disabled: bool,
    /// The recipients' domain has its mailboxes here, so that it is no circle when its mail comes to this server.
    pub(crate) is_ours: bool,
    /// How long it is known what becomes of the entry.
    pub(super) keep: Keep,
    sender: Option<Domain>,
    /// The routes of the account, and of the sender's domain.
    routes: [Vec<Route>; 2],
}

/// A route that was chosen.
pub(crate) struct Chosen<'a> {
    /// Whose it is.
    pub(crate) level: Level,
    /// Which one it is there, from 1.
    pub(crate) number: usize,
    /// It.
    pub(crate) route: &'a Route,
}

impl Routing {
    /// Reads it for an entry. An account that sets nothing about what becomes of its messages has what is `configured`.
    pub(super) fn of_entry(
        directory: &Directory<'_>,
        entry: &QueueRow,
        configured: Keep,
    ) -> Result<Self, EngineError> {
        Self::read(directory, &Passage::of(entry), configured)
    }

    /// Reads it.
    pub(crate) fn read(
        directory: &Directory<'_>,
        passage: &Passage,
        configured: Keep,
    ) -> Result<Self, EngineError> {
        let Passage { account, sender, to } = passage;
        let of_account = account.map(|account| directory.account(account)).transpose()?.flatten();
        let of_domain = sender.as_ref().map(|domain| directory.domain(domain)).transpose()?.flatten();
        let of_recipients = to.as_ref().map(|domain| directory.domain(domain)).transpose()?.flatten();
        Ok(Self {
            is_ours: of_recipients.is_some(),
            disabled: account.is_some()
                && of_domain.as_ref().is_some_and(|settings| settings.state == DomainState::Disabled),
            keep: of_account
                .as_ref()
                .map_or(configured, |account| account.settings.mail.keep_messages(configured)),
            sender: sender.clone(),
            routes: [
                routes(of_account.iter().flat_map(|account| &account.settings.routes)),
                routes(of_domain.iter().flat_map(|settings| &settings.routes)),
            ],
        })
    }

    /// The first route that matches for an attempt after `before` others; none when there is none. `global` are the
    /// routes of the server.
    pub(crate) fn choose<'a>(
        &'a self,
        target: &Target,
        global: &'a [Route],
        before: u16,
    ) -> Option<Chosen<'a>> {
        let asked = Asked { sender: self.sender.as_ref(), recipient: target, attempts: before };
        let [account, domain] = &self.routes;
        let (level, route) = choose([account, domain, global], &asked)?;
        let list = match level {
            Level::Account => account,
            Level::SenderDomain => domain,
            Level::Global => global,
        };
        // One before it that is the same would have matched, too.
        let number = 1 + list.iter().take_while(|one| *one != route).count();
        Some(Chosen { level, number, route })
    }

    /// The name of the transport for the next attempt: that of the entry, or else of the route; empty without one.
    pub(super) fn transport(
        &self,
        entry: &QueueRow,
        target: &Target,
        global: &[Route],
        before: u16,
    ) -> Box<str> {
        if !entry.transport.is_empty() {
            return entry.transport.clone();
        }
        self.choose(target, global, before).map_or_else(Box::default, |chosen| chosen.route.transport.clone())
    }

    /// Why nothing of the sender's leaves now.
    pub(crate) fn stopped(&self) -> Option<Failure> {
        let failure = || Failure::untried(Status::temporary(7, 1), "the sender's domain is disabled");
        self.disabled.then(failure)
    }
}

/// The transport of a name, which is direct delivery without one; or why attempts fail before anybody is connected to.
pub(crate) fn transport_named<'a>(delivery: &'a Delivery, name: &str) -> Result<Cow<'a, Transport>, Failure> {
    if name.is_empty() {
        return Ok(Cow::Owned(Transport::Direct(delivery.direct.clone())));
    }
    match delivery.transports.get(name) {
        None => {
            let reason = format!("there is no transport {name:?} in the configuration");
            Err(Failure::untried(Status::temporary(3, 5), reason))
        }
        Some(Transport::Fail(refusal)) => Err(Failure::refused(refusal)),
        Some(transport) => Ok(Cow::Borrowed(transport)),
    }
}

/// Routes of the directory as decisions know them.
fn routes<'a>(kept: impl Iterator<Item = &'a directory::Route>) -> Vec<Route> {
    let patterns = |domains: &[directory::RouteDomain]| {
        domains.iter().filter_map(|domain| Pattern::parse(&domain.to_string()).ok()).collect()
    };
    kept.map(|route| Route {
        from_domains: patterns(&route.from_domains),
        to_domains: patterns(&route.to_domains),
        minimum_attempts: u16::try_from(route.minimum_attempts).unwrap_or(u16::MAX),
        transport: route.transport.to_string().into(),
    })
    .collect()
}

fn sender_domain(entry: &QueueRow) -> Option<Domain> {
    let text = std::str::from_utf8(&entry.mail_from).ok()?;
    Address::parse(text).ok().map(|address| address.domain)
}
