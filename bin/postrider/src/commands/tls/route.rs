//! What the running server says: by which route and transport a message would go, and what that means for TLS.

use std::net::IpAddr;
use std::path::Path;

use anyhow::Result;
use postrider_core::control::protocol::{
    Answer, DeliveryDetails, DeliveryRelay, DeliveryRoute, DeliveryTls, DeliveryTransport, Request,
};
use postrider_core::resolver::authorities;
use postrider_delivery::transport::{Direct, Families, Relay, RelayHost, RelayTls, Transport};
use postrider_proto::address::Domain;
use rustls::RootCertStore;

use super::sender;
use crate::arguments::{TlsExplain, TlsSender};
use crate::commands::control::unexpected;
use crate::commands::locate::Server;
use crate::commands::show::Raw;
use crate::terminal::with_causes;

/// What the server said, or why it wasn't asked.
pub type Told = Result<Box<DeliveryDetails>, String>;

/// Asks the server, if it can be reached.
pub fn ask(server: &Server, arguments: &TlsExplain) -> Result<Told> {
    let client = match server.connect() {
        Ok(client) => client,
        Err(error) => return Ok(Err(with_causes(&error))),
    };
    let request = Request::DeliveryExplain {
        domain: arguments.domain.to_string(),
        from: arguments.from.as_ref().map(ToString::to_string),
        account: arguments.account.as_ref().map(ToString::to_string),
        attempt: arguments.attempt,
    };
    match client.call(&request, None, &mut Raw) {
        Ok(Answer::Delivery(details)) => Ok(Ok(details)),
        Ok(_) => Err(unexpected()),
        // What a running server can't say isn't guessed.
        Err(error) => Err(error.into()),
    }
}

/// The transport, as decisions know it. A proxy goes where direct delivery does.
pub fn transport(told: &DeliveryTransport) -> Result<Transport> {
    Ok(match told {
        DeliveryTransport::Direct { ipv4, ipv6 } => {
            let families = match (ipv4, ipv6) {
                (true, false) => Families::Four,
                (false, true) => Families::Six,
                _ => Families::Both,
            };
            Transport::Direct(Direct { families, ..Direct::DEFAULT })
        }
        DeliveryTransport::Smtp(to) => Transport::Smtp(relay(to)?),
        DeliveryTransport::Submission(to) => Transport::Submission(relay(to)?),
        DeliveryTransport::Submissions(to) => Transport::Submissions(relay(to)?),
        DeliveryTransport::Socks { .. } | DeliveryTransport::Fail { .. } => Transport::DEFAULT,
    })
}

fn relay(told: &DeliveryRelay) -> Result<Relay> {
    let host = match told.host.parse::<IpAddr>() {
        Ok(address) => RelayHost::Address(address),
        Err(_) => RelayHost::Name(Domain::parse(&told.host).map_err(|_| unexpected())?),
    };
    let tls = match told.tls {
        DeliveryTls::Verified => RelayTls::Verified,
        DeliveryTls::Unverified => RelayTls::Unverified,
        DeliveryTls::None => RelayTls::None,
    };
    Ok(Relay { host, port: Some(told.port), tls, auth: None })
}

/// The file of authorities that hosts are verified by, none being the system's: what deliveries verify them by, unless another
/// one is named.
pub fn roots_file<'a>(arguments: &'a TlsExplain, told: &'a Told) -> Option<&'a Path> {
    let of_server = || told.as_ref().ok().and_then(|details| details.tls_roots.as_deref()).map(Path::new);
    arguments.ca_file.as_deref().or_else(of_server)
}

/// The authorities themselves.
pub fn roots(arguments: &TlsExplain, told: &Told) -> Result<RootCertStore, String> {
    authorities(roots_file(arguments, told)).map_err(|error| {
        let is_of_server = arguments.ca_file.is_none() && roots_file(arguments, told).is_some();
        if is_of_server {
            format!("{error}. The server's configuration names this file (tls_roots in [delivery]): run the command as a user who can read it, \
                or name a copy with --ca-file")
        } else {
            error
        }
    })
}

/// All of it in words.
pub fn lines(told: &Told, from: Option<&TlsSender>) -> Vec<String> {
    let details = match told {
        Ok(details) => details,
        Err(problem) => {
            return vec![format!("Kept policies and routes were not looked at, without a server: {problem}")];
        }
    };
    let mut lines = Vec::new();
    lines.extend(sender::reason(details, from).map(|reason| format!("Sender: {reason}")));
    lines.extend(details.account.as_ref().map(|account| format!("Account: {account}")));
    lines.push(route(details.route.as_ref()));
    if details.left_out > 0 {
        let routes = if details.left_out == 1 {
            "1 route is".to_owned()
        } else {
            format!("{} routes are", details.left_out)
        };
        lines.push(format!("  {routes} left out, since for certain senders only: name one with --from"));
    }
    lines.extend(
        details.transport.as_ref().and_then(transport_words).map(|words| format!("Transport: {words}")),
    );
    lines.extend(
        details
            .tls_roots
            .as_ref()
            .map(|file| format!("Authorities for deliveries: those in {file} (tls_roots in [delivery])")),
    );
    lines
}

fn route(chosen: Option<&DeliveryRoute>) -> String {
    let Some(DeliveryRoute { level, number, route }) = chosen else {
        return "Route: none matches, so that delivery is direct".to_owned();
    };
    let of = match level.as_str() {
        "account" => "the account",
        "domain" => "the sender's domain",
        _ => "the server",
    };
    let list = |domains: &[String], any: &str| {
        if domains.is_empty() { any.to_owned() } else { domains.join(", ") }
    };
    let attempts = match route.minimum_attempts {
        0 => String::new(),
        before => format!(", from attempt {} on", before.saturating_add(1)),
    };
    format!(
        "Route: number {number} of {of} (from {}, to {}{attempts}), by transport {}",
        list(&route.from_domains, "anybody"),
        list(&route.to_domains, "anywhere"),
        route.transport
    )
}

/// What isn't plain direct delivery.
fn transport_words(transport: &DeliveryTransport) -> Option<String> {
    Some(match transport {
        DeliveryTransport::Direct { ipv4: true, ipv6: true } => return None,
        DeliveryTransport::Direct { ipv4, .. } => {
            format!("to hosts of the domain, by IPv{} alone", if *ipv4 { 4 } else { 6 })
        }
        DeliveryTransport::Smtp(to) => relay_words("relay", to, false),
        DeliveryTransport::Submission(to) => relay_words("submission server", to, false),
        DeliveryTransport::Submissions(to) => relay_words("submission server", to, true),
        DeliveryTransport::Socks { proxy } => format!(
            "to hosts of the domain through the SOCKS5 proxy {proxy}; TLS is that of direct delivery. --dial connects from here, \
             not through the proxy"
        ),
        DeliveryTransport::Fail { code, message } => {
            format!("every attempt fails with {code} {message}; nobody is connected to, so there is no TLS")
        }
    })
}

fn relay_words(what: &str, to: &DeliveryRelay, at_once: bool) -> String {
    let begins = if at_once { "from the start" } else { "by STARTTLS" };
    let tls = match to.tls {
        DeliveryTls::Verified => format!("TLS {begins}, with a certificate for its name"),
        DeliveryTls::Unverified => format!("TLS {begins}, with any certificate"),
        DeliveryTls::None if at_once => "TLS from the start, with any certificate".to_owned(),
        DeliveryTls::None => "without TLS".to_owned(),
    };
    format!(
        "{what} {}, port {}, {tls}, as configured: what the domain publishes doesn't count, neither does TLS-Required: No. --dial \
         doesn't log in there",
        to.host, to.port
    )
}
