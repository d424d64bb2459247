//! What delivery to a domain would do, as far as the server alone knows it: the kept policy of MTA-STS, and the transport,
//! chosen as an attempt chooses it.

use std::path;

use postrider_delivery::destination::Target;
use postrider_delivery::route::{self, Level};
use postrider_delivery::transport::{Families, Relay, RelayHost, RelayTls, Transport as Way};
use postrider_storage::directory::Directory;
use postrider_storage::ids::AccountId;

use super::sender::Sender;
use super::{ServerOperations, failure, internal};
use crate::control::OperationError;
use crate::control::protocol::{
    Answer, DeliveryDetails, DeliveryFailure, DeliveryRelay, DeliveryRoute, DeliveryTls, DeliveryTransport,
    Route,
};
use crate::delivery::{Passage, Routing, configured_keep, transport_named};
use crate::shard::Shared;

impl ServerOperations {
    pub(super) async fn explain_delivery(
        &self,
        domain: &str,
        from: Option<&str>,
        account: Option<&str>,
        attempt: u16,
    ) -> Result<Answer, OperationError> {
        let target = Target::parse(domain)
            .map_err(|error| failure::invalid(format!("{domain:?} is no domain of recipients: {error}")))?;
        let sender = Sender::parse(from, account)?;
        let before = attempt
            .checked_sub(1)
            .ok_or_else(|| failure::invalid("there is no attempt 0. The first one is 1"))?;
        let kept = self.kept_for(&target).await?;
        let (mut details, is_ours) =
            self.on_pool(move |shared| explain(shared, &target, &sender, before)).await?;
        details.kept = kept;
        // Mail for our own domains comes to this server like anybody's.
        if !is_ours {
            let own = self.shard.deliveries.own();
            details.own_names = own.names.iter().map(ToString::to_string).collect();
            details.own_addresses = own.addresses.to_vec();
        }
        Ok(Answer::Delivery(Box::new(details)))
    }
}

/// Without what isn't in the directory or the configuration; and whether the domain is ours.
fn explain(
    shared: &Shared,
    target: &Target,
    sender: &Sender,
    before: u16,
) -> Result<(DeliveryDetails, bool), OperationError> {
    let reader = shared.store.reader();
    let directory = Directory::new(reader.snapshot());
    let found = sender.find(&directory)?;
    let to = match target {
        Target::Domain(domain) => Some(domain.clone()),
        Target::Literal(_) => None,
    };
    let routing = |account: Option<AccountId>| {
        let passage = Passage { account, sender: sender.domain(), to: to.clone() };
        Routing::read(&directory, &passage, configured_keep(&shared.config)).map_err(internal)
    };
    // What stops one that may send with the address stops all; which way it goes may differ.
    let stopped = match found.one_of {
        Some(account) => routing(Some(account))?.stopped(),
        None => None,
    };
    let routing = routing(found.account.as_ref().map(|account| account.id))?;
    let delivery = &shared.config.delivery;
    // The null sender has routes, too; nobody in particular has none.
    let counts = |route: &&route::Route| !sender.is_anybody() || route.from_domains.is_empty();
    let global: Vec<route::Route> = delivery.routes.iter().filter(counts).cloned().collect();
    let chosen = routing.choose(target, &global, before);
    let name = chosen.as_ref().map_or("", |chosen| &chosen.route.transport);
    let way = transport_named(delivery, name);
    let transport = match &way {
        Ok(way) => Some(transport(way)),
        Err(_) => delivery.transports.get(name).map(transport),
    };
    let failure = stopped.or_else(|| routing.stopped()).or_else(|| way.err());
    let details = DeliveryDetails {
        kept: None,
        sender: found.kind,
        account: found.account.map(|account| account.name.to_string()),
        left_out: count(delivery.routes.len() - global.len()),
        route: chosen.map(|chosen| {
            // Its number in the configuration, where nothing is left out.
            let number = match chosen.level {
                Level::Global => {
                    1 + delivery.routes.iter().take_while(|route| *route != chosen.route).count()
                }
                Level::Account | Level::SenderDomain => chosen.number,
            };
            DeliveryRoute {
                level: chosen.level.word().to_owned(),
                number: count(number),
                route: shown(chosen.route),
            }
        }),
        transport,
        failure: failure
            .map(|failure| DeliveryFailure { status: failure.status.to_string(), reason: failure.reason }),
        // Relative to where the server runs, which isn't where the command does.
        tls_roots: delivery
            .tls_roots
            .as_ref()
            .map(|file| path::absolute(file).unwrap_or_else(|_| file.clone()).display().to_string()),
        own_names: Vec::new(),
        own_addresses: Vec::new(),
    };
    Ok((details, routing.is_ours))
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn shown(route: &route::Route) -> Route {
    let texts = |patterns: &[route::Pattern]| patterns.iter().map(ToString::to_string).collect();
    Route {
        from_domains: texts(&route.from_domains),
        to_domains: texts(&route.to_domains),
        minimum_attempts: route.minimum_attempts.into(),
        transport: route.transport.to_string(),
    }
}

fn transport(way: &Way) -> DeliveryTransport {
    let port = way.relay().map_or(0, |(_, port)| port);
    match way {
        Way::Direct(direct) => DeliveryTransport::Direct {
            ipv4: direct.families != Families::Six,
            ipv6: direct.families != Families::Four,
        },
        Way::Smtp(to) => DeliveryTransport::Smtp(relay(to, port)),
        Way::Submission(to) => DeliveryTransport::Submission(relay(to, port)),
        Way::Submissions(to) => DeliveryTransport::Submissions(relay(to, port)),
        Way::Socks(socks) => DeliveryTransport::Socks { proxy: socks.address.to_string() },
        Way::Fail(refusal) => {
            DeliveryTransport::Fail { code: refusal.code(), message: refusal.message().to_owned() }
        }
    }
}

fn relay(relay: &Relay, port: u16) -> DeliveryRelay {
    DeliveryRelay {
        host: match &relay.host {
            RelayHost::Name(domain) => domain.to_string(),
            RelayHost::Address(address) => address.to_string(),
        },
        port,
        tls: match relay.tls {
            RelayTls::Verified => DeliveryTls::Verified,
            RelayTls::Unverified => DeliveryTls::Unverified,
            RelayTls::None => DeliveryTls::None,
        },
    }
}
