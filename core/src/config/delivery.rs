//! How messages leave: `[delivery]`, `[[transport]]` and `[[route]]`.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use postrider_delivery::backoff::Backoff;
use postrider_delivery::route::Route;
use postrider_delivery::transport::{
    Auth, Direct, Families, LocalAddresses, Refusal, Relay, RelayHost, RelayTls, Socks, Transport,
};
use postrider_proto::address::Domain;
use postrider_proto::sasl::{Mechanism, Secret};

use super::model::HostName;
use super::problem::{At, Place};
use super::resolve::{Files, Resolver, parse_host_name};
use super::section::Section;

/// The longest file with a password.
const PASSWORD_OCTETS_MAX: usize = 1024;
/// The longest name of a transport.
const NAME_OCTETS_MAX: usize = 64;
/// Routes of a server.
const ROUTES_MAX: usize = 1000;
/// Connections to other servers at a time.
const SESSIONS_MAX: u32 = 200;
/// Transports of a server.
const TRANSPORTS_MAX: usize = 1000;

const HOUR: Duration = Duration::from_secs(3600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
const MINUTE: Duration = Duration::from_secs(60);
/// What `stop_time` is, when nothing is said: docs/containers.md.
const STOP_TIME: Duration = Duration::from_secs(25);

/// How messages leave.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delivery {
    /// The name to greet other servers with.
    pub hostname: HostName,
    /// Certificates of authorities that other servers, relays and hosts of policies are verified by; none for the
    /// system's.
    pub tls_roots: Option<PathBuf>,
    /// The port of other servers: 25 but in a laboratory.
    pub port: u16,
    /// The port of hosts of MTA-STS policies: 443 but in a laboratory.
    pub policy_port: u16,
    /// When messages are tried again, and given up.
    pub backoff: Backoff,
    /// Connections at a time, of all shards, those included that wait for a next message.
    pub sessions_max: u32,
    /// Of these, to one host.
    pub host_sessions_max: u32,
    /// And from one local address.
    pub source_sessions_max: u32,
    /// How long a stop waits for answers of servers that may have a message.
    pub stop_time: Duration,
    /// For how long it is kept what became of messages; none is not at all.
    pub keep_retired: Option<Duration>,
    /// What is done without a route.
    pub direct: Direct,
    /// The transports that routes name.
    pub transports: BTreeMap<Box<str>, Transport>,
    /// The routes of the server, after those of accounts and domains.
    pub routes: Vec<Route>,
}

impl Delivery {
    /// Everything at its default.
    pub(super) fn new(hostname: HostName) -> Self {
        Self {
            hostname,
            tls_roots: None,
            port: 25,
            policy_port: 443,
            backoff: Backoff::MESSAGES,
            sessions_max: SESSIONS_MAX,
            host_sessions_max: 20,
            source_sessions_max: SESSIONS_MAX,
            stop_time: STOP_TIME,
            keep_retired: None,
            direct: Direct::DEFAULT,
            transports: BTreeMap::new(),
            routes: Vec::new(),
        }
    }

    /// That of a test, whose other servers are at one port.
    #[cfg(test)]
    pub(crate) fn to_port(hostname: HostName, port: u16) -> Self {
        // The end of a test is that of its server, as if it had been killed.
        Self { port, stop_time: Duration::ZERO, ..Self::new(hostname) }
    }

    /// That of a local instance: everything goes to its own listener.
    pub(super) fn to_itself(hostname: HostName, listener: SocketAddr) -> Self {
        let relay = Relay {
            host: RelayHost::Address(listener.ip()),
            port: Some(listener.port()),
            tls: RelayTls::None,
            auth: None,
        };
        let route = Route {
            from_domains: Vec::new(),
            to_domains: Vec::new(),
            minimum_attempts: 0,
            transport: "itself".into(),
        };
        Self {
            transports: [("itself".into(), Transport::Smtp(relay))].into(),
            routes: vec![route],
            ..Self::new(hostname)
        }
    }
}

/// `[delivery]` as it is written.
pub(super) struct RawDelivery {
    hostname: Option<At<String>>,
    tls_roots: Option<At<String>>,
    port: Option<At<u16>>,
    policy_port: Option<At<u16>>,
    first_retry: Option<At<Duration>>,
    longest_retry: Option<At<Duration>>,
    attempts: Option<At<u16>>,
    delay_report: Option<At<u16>>,
    connections: Option<At<u32>>,
    host_connections: Option<At<u32>>,
    source_connections: Option<At<u32>>,
    stop_time: Option<At<Duration>>,
    keep_retired: Option<At<Duration>>,
    direct: RawDirect,
    transports: Vec<RawTransport>,
    routes: Vec<RawRoute>,
}

/// Where direct connections come from, and go to.
struct RawDirect {
    ipv4: Option<At<bool>>,
    ipv6: Option<At<bool>>,
    local: Vec<At<String>>,
}

struct RawTransport {
    place: Place,
    name: Option<At<String>>,
    kind: Option<At<Kind>>,
    host: Option<At<String>>,
    port: Option<At<u16>>,
    tls: Option<At<RelayTls>>,
    username: Option<At<String>>,
    password: Option<At<String>>,
    password_file: Option<At<String>>,
    mechanisms: Option<Vec<At<String>>>,
    address: Option<At<String>>,
    hostname: Option<At<String>>,
    remote: Vec<At<String>>,
    direct: RawDirect,
    code: Option<At<u16>>,
    message: Option<At<String>>,
}

struct RawRoute {
    place: Place,
    from: Vec<At<String>>,
    to: Vec<At<String>>,
    minimum_attempts: Option<At<u16>>,
    transport: Option<At<String>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Direct,
    Smtp,
    Submission,
    Submissions,
    Socks,
    Fail,
}

impl Kind {
    const ALL: [(&'static str, Self); 6] = [
        ("direct", Self::Direct),
        ("smtp", Self::Smtp),
        ("submission", Self::Submission),
        ("submissions", Self::Submissions),
        ("socks", Self::Socks),
        ("fail", Self::Fail),
    ];

    fn is_relay(self) -> bool {
        matches!(self, Self::Smtp | Self::Submission | Self::Submissions)
    }
}

pub(super) fn read(
    section: Section<'_>,
    transports: Vec<Section<'_>>,
    routes: Vec<Section<'_>>,
) -> RawDelivery {
    let raw = RawDelivery {
        hostname: section.text("hostname"),
        tls_roots: section.text("tls_roots"),
        port: section.number("port", 1..=u16::MAX),
        policy_port: section.number("policy_port", 1..=u16::MAX),
        first_retry: section.duration("first_retry", MINUTE..=WEEK),
        longest_retry: section.duration("longest_retry", MINUTE..=WEEK),
        attempts: section.number("attempts", 1..=Backoff::ATTEMPTS_MAX),
        delay_report: section.number("delay_report_after", 0..=Backoff::ATTEMPTS_MAX),
        connections: section.number("connections", 1..=100_000),
        host_connections: section.number("connections_to_a_host", 1..=10_000),
        source_connections: section.number("connections_from_an_address", 1..=100_000),
        stop_time: section.duration("stop_time", Duration::ZERO..=MINUTE),
        keep_retired: section.duration("keep_retired", Duration::ZERO..=HOUR * 24 * 3650),
        direct: read_direct(&section),
        transports: transports.into_iter().map(read_transport).collect(),
        routes: routes.into_iter().map(read_route).collect(),
    };
    section.finish();
    raw
}

fn read_direct(section: &Section<'_>) -> RawDirect {
    RawDirect {
        ipv4: section.flag("ipv4"),
        ipv6: section.flag("ipv6"),
        local: section.texts("local_addresses").unwrap_or_default(),
    }
}

fn read_transport(section: Section<'_>) -> RawTransport {
    const TLS: [(&str, RelayTls); 3] =
        [("verified", RelayTls::Verified), ("unverified", RelayTls::Unverified), ("off", RelayTls::None)];
    let raw = RawTransport {
        place: section.place().clone(),
        name: section.text("name"),
        kind: section.choice("kind", &Kind::ALL),
        host: section.text("host"),
        port: section.number("port", 1..=u16::MAX),
        tls: section.choice("tls", &TLS),
        username: section.text("username"),
        password: section.text("password"),
        password_file: section.text("password_file"),
        mechanisms: section.texts("mechanisms"),
        address: section.text("address"),
        hostname: section.text("hostname"),
        remote: section.texts("remote_addresses").unwrap_or_default(),
        direct: read_direct(&section),
        code: section.number("code", 400..=599),
        message: section.text("message"),
    };
    section.finish();
    raw
}

fn read_route(section: Section<'_>) -> RawRoute {
    let raw = RawRoute {
        place: section.place().clone(),
        from: section.texts("from").unwrap_or_default(),
        to: section.texts("to").unwrap_or_default(),
        minimum_attempts: section
            .number("minimum_attempts", 0..=postrider_delivery::limits::MINIMUM_ATTEMPTS_MAX),
        transport: section.text("transport"),
    };
    section.finish();
    raw
}

impl Resolver<'_> {
    pub(super) fn delivery(&self, raw: RawDelivery, hostname: &HostName) -> Delivery {
        let default = Delivery::new(hostname.clone());
        let seconds = |at: &Option<At<Duration>>, default: u32| {
            at.as_ref().map_or(default, |at| u32::try_from(at.value.as_secs()).unwrap_or(u32::MAX))
        };
        let first = seconds(&raw.first_retry, default.backoff.first);
        let backoff = Backoff {
            first,
            jitter: default.backoff.jitter.min(first / 2),
            longest: seconds(&raw.longest_retry, default.backoff.longest.max(first)),
            attempts_max: raw.attempts.as_ref().map_or(default.backoff.attempts_max, |at| at.value),
            delayed_after: raw.delay_report.as_ref().map_or(default.backoff.delayed_after, |at| at.value),
        };
        if let Err(error) = backoff.check() {
            let written = raw.longest_retry.as_ref().or(raw.first_retry.as_ref());
            let place = written.and_then(|at| at.place.clone());
            let advice = "Set \"longest_retry\" to at least \"first_retry\"";
            self.problems.add(&place, format!("delivery: {error}"), advice);
        }
        let sessions_max = raw.connections.map_or(default.sessions_max, |at| at.value);
        let transports = self.transports(raw.transports);
        let routes = self.routes(raw.routes, &transports);
        Delivery {
            hostname: raw.hostname.as_ref().map_or_else(|| hostname.clone(), |text| self.host_name(text)),
            tls_roots: raw.tls_roots.as_ref().map(|path| self.readable(path)),
            port: raw.port.map_or(default.port, |at| at.value),
            policy_port: raw.policy_port.map_or(default.policy_port, |at| at.value),
            backoff,
            sessions_max,
            stop_time: raw.stop_time.map_or(default.stop_time, |at| at.value),
            host_sessions_max: raw.host_connections.map_or(default.host_sessions_max, |at| at.value),
            source_sessions_max: raw.source_connections.map_or(sessions_max, |at| at.value),
            keep_retired: raw.keep_retired.map(|at| at.value).filter(|time| !time.is_zero()),
            direct: self.direct(&raw.direct),
            transports,
            routes,
        }
    }

    fn direct(&self, raw: &RawDirect) -> Direct {
        let on = |flag: &Option<At<bool>>| flag.as_ref().is_none_or(|flag| flag.value);
        let families = match (on(&raw.ipv4), on(&raw.ipv6)) {
            (true, false) => Families::Four,
            (false, true) => Families::Six,
            (true, true) => Families::Both,
            (false, false) => {
                let place = raw.ipv6.as_ref().and_then(|at| at.place.clone());
                let what = "without \"ipv4\" and \"ipv6\" nothing can be connected to";
                self.problems.add(&place, what, "Remove one of them");
                Families::Both
            }
        };
        let mut local = LocalAddresses::default();
        for text in &raw.local {
            let taken = match text.value.parse() {
                Ok(IpAddr::V4(address)) => local.four.replace(address).is_some(),
                Ok(IpAddr::V6(address)) => local.six.replace(address).is_some(),
                Err(_) => {
                    let what = format!("{:?} is not an address", text.value);
                    self.problems.add(
                        &text.place,
                        what,
                        "Write an address of this host, such as \"192.0.2.1\"",
                    );
                    false
                }
            };
            if taken {
                let what = "there are two local addresses of one family";
                self.problems.add(&text.place, what, "Name at most one with IPv4 and one with IPv6");
            }
        }
        Direct { families, local }
    }

    fn transports(&self, raw: Vec<RawTransport>) -> BTreeMap<Box<str>, Transport> {
        let mut transports = BTreeMap::new();
        for raw in raw {
            let Some(name) = raw.name.as_ref().filter(|name| !name.value.is_empty()) else {
                let advice = "Give each [[transport]] a name, which routes then name";
                self.problems.add(&raw.place, "a transport has no name", advice);
                continue;
            };
            if name.value.len() > NAME_OCTETS_MAX || name.value.contains(char::is_control) {
                let what = format!("{:?} can't name a transport", name.value);
                self.problems.add(&name.place, what, "Use a short word, such as \"smarthost\"");
            }
            let Some(transport) = self.transport(&raw, &name.value) else { continue };
            if transports.len() == TRANSPORTS_MAX {
                let what = format!("there are over {TRANSPORTS_MAX} transports");
                self.problems.add(&raw.place, what, "Remove those that no route names");
                break;
            }
            if transports.insert(name.value.as_str().into(), transport).is_some() {
                let what = format!("there are two transports {:?}", name.value);
                self.problems.add(&name.place, what, "Give one of them another name");
            }
        }
        transports
    }

    fn transport(&self, raw: &RawTransport, name: &str) -> Option<Transport> {
        let Some(kind) = raw.kind.as_ref().map(|kind| kind.value) else {
            let advice =
                "Write kind = \"direct\", \"smtp\", \"submission\", \"submissions\", \"socks\" or \"fail\"";
            self.problems.add(&raw.place, format!("transport {name:?} has no kind"), advice);
            return None;
        };
        self.only_for(raw, kind);
        match kind {
            Kind::Direct => Some(Transport::Direct(self.direct(&raw.direct))),
            Kind::Smtp => self.relay(raw, name).map(Transport::Smtp),
            Kind::Submission => self.relay(raw, name).map(Transport::Submission),
            Kind::Submissions => self.relay(raw, name).map(Transport::Submissions),
            Kind::Socks => self.socks(raw, name).map(Transport::Socks),
            Kind::Fail => {
                let code = raw.code.as_ref().map_or(Refusal::CODE_DEFAULT, |at| at.value);
                let text = raw.message.as_ref().map_or("delivery is switched off by a route", |at| &at.value);
                match Refusal::new(code, text) {
                    Ok(refusal) => Some(Transport::Fail(refusal)),
                    Err(error) => {
                        let written = raw.message.as_ref().and_then(|at| at.place.clone());
                        let place = written.or_else(|| raw.code.as_ref().and_then(|at| at.place.clone()));
                        let what = format!("transport {name:?}: {error}");
                        self.problems.add(
                            &place,
                            what,
                            "Write code = 554, and a message of a line in printable ASCII",
                        );
                        None
                    }
                }
            }
        }
    }

    /// Notes keys that mean nothing with this kind of transport.
    fn only_for(&self, raw: &RawTransport, kind: Kind) {
        let place = |at: Option<&At<String>>| at.map(|at| at.place.clone());
        let direct = raw.direct.ipv4.as_ref().or(raw.direct.ipv6.as_ref()).map(|at| at.place.clone());
        let direct = direct.or_else(|| raw.direct.local.first().map(|at| at.place.clone()));
        let mechanisms = raw.mechanisms.as_ref().map(|list| list.first().and_then(|at| at.place.clone()));
        let (relay, socks) = (kind.is_relay(), kind == Kind::Socks);
        let rows = [
            ("host", relay, place(raw.host.as_ref())),
            ("port", relay, raw.port.as_ref().map(|at| at.place.clone())),
            ("tls", relay, raw.tls.as_ref().map(|at| at.place.clone())),
            ("username", relay, place(raw.username.as_ref())),
            ("password", relay, place(raw.password.as_ref())),
            ("password_file", relay, place(raw.password_file.as_ref())),
            ("mechanisms", relay, mechanisms),
            ("address", socks, place(raw.address.as_ref())),
            ("hostname", socks, place(raw.hostname.as_ref())),
            ("remote_addresses", socks, place(raw.remote.first())),
            ("ipv4, ipv6 and local_addresses", kind == Kind::Direct, direct),
            ("code", kind == Kind::Fail, raw.code.as_ref().map(|at| at.place.clone())),
            ("message", kind == Kind::Fail, place(raw.message.as_ref())),
        ];
        for (key, fits, written) in rows {
            if let (false, Some(place)) = (fits, written) {
                let what = format!("{key} means nothing with this kind of transport");
                self.problems.add(&place, what, "Remove it, or choose another kind");
            }
        }
    }

    fn relay(&self, raw: &RawTransport, name: &str) -> Option<Relay> {
        let Some(host) = &raw.host else {
            let advice = "Write host = \"mail.example.com\"";
            self.problems.add(&raw.place, format!("transport {name:?} has no host"), advice);
            return None;
        };
        let host = match host.value.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(address) => RelayHost::Address(address),
            Err(_) => RelayHost::Name(self.host_name(host).domain().clone()),
        };
        let tls = raw.tls.as_ref().map_or(RelayTls::default(), |at| at.value);
        if let (RelayTls::None, Some(kind)) = (tls, &raw.kind)
            && kind.value == Kind::Submissions
        {
            let place = raw.tls.as_ref().and_then(|at| at.place.clone());
            let advice = "Choose \"submission\" or \"smtp\", or remove \"tls\"";
            self.problems.add(&place, "\"submissions\" is TLS from the start", advice);
        }
        let auth = self.auth(raw, name);
        let listed = auth.as_ref().and_then(|auth| auth.mechanisms.as_deref()).unwrap_or_default();
        if tls != RelayTls::Verified
            && !listed.is_empty()
            && listed.iter().all(|known| *known == Mechanism::Plain)
        {
            let place = raw.tls.as_ref().and_then(|at| at.place.clone());
            let what = format!(
                "transport {name:?} can't log in: PLAIN is for servers whose certificate is verified"
            );
            self.problems.add(&place, what, "Remove \"tls\", or list another mechanism as well");
        }
        Some(Relay { host, port: raw.port.as_ref().map(|at| at.value), tls, auth })
    }

    fn auth(&self, raw: &RawTransport, name: &str) -> Option<Auth> {
        let Some(username) = &raw.username else {
            for at in [&raw.password, &raw.password_file].into_iter().flatten() {
                let what = format!("transport {name:?} has a password and no username");
                self.problems.add(&at.place, what, "Write username = \"...\" as well");
            }
            for text in raw.mechanisms.iter().flatten() {
                let what = format!("transport {name:?} has a mechanism and no username");
                self.problems.add(&text.place, what, "Write username = \"...\" as well");
            }
            return None;
        };
        let password = match (&raw.password, &raw.password_file) {
            (Some(text), None) => text.value.clone(),
            (None, Some(file)) => self.password(file),
            (Some(_), Some(file)) => {
                let what = "there is a password as well as a file with one";
                self.problems.add(&file.place, what, "Remove one of them");
                String::new()
            }
            (None, None) => {
                let what = format!("transport {name:?} has a username and no password");
                let advice = "Write password_file = with the path of a file that only the server can read";
                self.problems.add(&username.place, what, advice);
                String::new()
            }
        };
        let mechanisms = raw
            .mechanisms
            .as_ref()
            .map(|list| list.iter().filter_map(|text| self.mechanism(text)).collect::<Vec<_>>());
        Some(Auth {
            username: username.value.as_str().into(),
            password: Secret::new(password.into()),
            mechanisms,
        })
    }

    fn mechanism(&self, text: &At<String>) -> Option<Mechanism> {
        let known = Mechanism::parse(text.value.as_bytes())
            .filter(|known| !matches!(known, Mechanism::Login | Mechanism::External));
        if known.is_none() {
            let names: Vec<&str> = Mechanism::ALL
                .into_iter()
                .filter(|known| *known != Mechanism::Login)
                .map(Mechanism::name)
                .collect();
            let what = format!("{:?} is no mechanism that is used with relays", text.value);
            self.problems.add(&text.place, what, format!("The mechanisms are {}", names.join(", ")));
        }
        known
    }

    /// The first line of a file.
    fn password(&self, file: &At<String>) -> String {
        let path = self.readable(file);
        if self.files == Files::Ignore {
            return String::new();
        }
        let Ok(text) = std::fs::read_to_string(&path) else { return String::new() };
        let line = text.lines().next().unwrap_or_default();
        if line.is_empty() || line.len() > PASSWORD_OCTETS_MAX {
            let what = format!("the first line of {} is no password", path.display());
            self.problems.add(&file.place, what, "Write the password alone into its first line");
        }
        line.to_owned()
    }

    fn socks(&self, raw: &RawTransport, name: &str) -> Option<Socks> {
        let Some(address) = &raw.address else {
            let advice = "Write address = \"127.0.0.1:1080\"";
            self.problems.add(&raw.place, format!("transport {name:?} has no address"), advice);
            return None;
        };
        let Ok(proxy) = address.value.parse::<SocketAddr>() else {
            let what = format!("{:?} is not an address with a port", address.value);
            self.problems.add(&address.place, what, "Write \"127.0.0.1:1080\" or \"[::1]:1080\"");
            return None;
        };
        let Some(hostname) = &raw.hostname else {
            let advice = "Write hostname = with the name of the address from which the proxy connects";
            self.problems.add(&raw.place, format!("transport {name:?} has no hostname"), advice);
            return None;
        };
        let mut remote_addresses = Vec::new();
        for text in &raw.remote {
            match text.value.parse() {
                Ok(address) => remote_addresses.push(address),
                Err(_) => {
                    let what = format!("{:?} is not an address", text.value);
                    let advice = "Write the addresses from which the proxy connects";
                    self.problems.add(&text.place, what, advice);
                }
            }
        }
        let hostname: Domain = match parse_host_name(&hostname.value) {
            Some(name) => name.domain().clone(),
            None => self.host_name(hostname).domain().clone(),
        };
        Some(Socks { address: proxy, hostname, remote_addresses })
    }

    fn routes(&self, raw: Vec<RawRoute>, transports: &BTreeMap<Box<str>, Transport>) -> Vec<Route> {
        if let Some(surplus) = raw.get(ROUTES_MAX) {
            let what = format!("there are over {ROUTES_MAX} routes");
            self.problems.add(&surplus.place, what, "One route can name many domains");
        }
        let mut routes = Vec::new();
        for raw in raw {
            let Some(transport) = &raw.transport else {
                let advice = "Write transport = with the name of a [[transport]]";
                self.problems.add(&raw.place, "a route has no transport", advice);
                continue;
            };
            if !transports.contains_key(transport.value.as_str()) {
                let what = format!("there is no transport {:?}", transport.value);
                let known: Vec<&str> = transports.keys().map(|name| &**name).collect();
                let advice = match super::problem::nearest(&transport.value, known.iter().copied()) {
                    Some(near) => format!("Did you mean {near:?}?"),
                    None => "Add a [[transport]] with this name".to_owned(),
                };
                self.problems.add(&transport.place, what, advice);
            }
            let attempts = raw.minimum_attempts.as_ref().map_or(0, |at| at.value);
            match Route::parse(&texts(&raw.from), &texts(&raw.to), attempts, &transport.value) {
                Ok(route) => routes.push(route),
                Err(error) => {
                    let place = raw.from.first().or(raw.to.first()).map_or(raw.place, |at| at.place.clone());
                    let advice =
                        "Write \"example.com\", \".example.com\" for it and all below, or \".\" for reports";
                    self.problems.add(&place, format!("a route can't be used: {error}"), advice);
                }
            }
        }
        routes
    }
}

fn texts(list: &[At<String>]) -> Vec<&str> {
    list.iter().map(|at| at.value.as_str()).collect()
}
