//! By which transport an entry leaves: what the directory and the configuration say of it at the moment.

use postrider_delivery::destination::Target;
use postrider_delivery::route::{Asked, Pattern, Route, choose};
use postrider_proto::address::{Address, Domain};
use postrider_storage::directory::{self, Directory, DomainState};
use postrider_storage::ids::AccountId;
use postrider_storage::reader::Reader;
use postrider_storage::rows::QueueRow;
use postrider_storage::store::StoreError;

use super::outcome::Keep;

/// What the directory says of an entry's way.
pub(super) struct Routing {
    /// The sender's domain is disabled here.
    pub(super) disabled: bool,
    /// The recipients' domain has its mailboxes here, so that it is no circle when its mail comes to this server.
    pub(super) is_ours: bool,
    /// How long it is known what becomes of the entry.
    pub(super) keep: Keep,
    /// The routes of the account, and of the sender's domain.
    routes: [Vec<Route>; 2],
}

impl Routing {
    /// Reads it. An account that sets nothing about what becomes of its messages has what is `configured`.
    pub(super) fn read(reader: &Reader, entry: &QueueRow, configured: Keep) -> Result<Self, StoreError> {
        let directory = Directory::new(reader.snapshot());
        let account = AccountId::new(entry.sender);
        let of_account = account.map(|account| directory.account(account)).transpose()?.flatten();
        let domain = sender_domain(entry);
        let of_domain = domain.as_ref().map(|domain| directory.domain(domain)).transpose()?.flatten();
        let to = Domain::parse(&entry.domain).ok();
        let of_recipients = to.as_ref().map(|domain| directory.domain(domain)).transpose()?.flatten();
        Ok(Self {
            is_ours: of_recipients.is_some(),
            disabled: account.is_some()
                && of_domain.as_ref().is_some_and(|settings| settings.state == DomainState::Disabled),
            keep: of_account
                .as_ref()
                .map_or(configured, |account| account.settings.mail.keep_messages(configured)),
            routes: [
                routes(of_account.iter().flat_map(|account| &account.settings.routes)),
                routes(of_domain.iter().flat_map(|settings| &settings.routes)),
            ],
        })
    }

    /// The name of the transport for the next attempt, after `before` others: that of the entry, or else of the first
    /// route that matches; empty when there is none. `global` are the routes of the server.
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
        let sender = sender_domain(entry);
        let asked = Asked { sender: sender.as_ref(), recipient: target, attempts: before };
        let [account, domain] = &self.routes;
        choose([account, domain, global], &asked)
            .map_or_else(Box::default, |(_, route)| route.transport.clone())
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
