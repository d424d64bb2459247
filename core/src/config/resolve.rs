//! From what is written to what is used: defaults, and whether the parts fit together.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use postrider_dns::limits::UPSTREAMS_MAX;
use postrider_dns::resolver::Upstream;
use postrider_proto::address::Domain;
use postrider_proto::imap::mailbox::MailboxName;

use super::limits::Limits;
use super::model::{
    AccountDefaults, CertificateFiles, Certificates, Config, Dns, DnsUpstreams, HostName, InitialMailbox,
    Listener, Log, Mode, Passwords, Postmaster, Protocol, Search, SendingLimits, SpecialUse, Storage, Switch,
    TextIndex, Tls, TlsMode, TlsVersion,
};
use super::problem::{At, Place, Problems, nearest};
use super::raw::{Raw, RawAccounts, RawDns, RawListener, RawLog, RawPostmaster, RawStorage, RawTls};
use crate::log::{Level, Levels, MODULES};

/// Threads for work that would block a shard, when nothing is written.
pub(super) const WORKER_THREADS: NonZeroUsize = NonZeroUsize::new(4).expect("4 is not 0");

/// Whether files that are named in a configuration are looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Files {
    /// They must be there and readable.
    Check,
    /// Only the text is looked at.
    Ignore,
}

pub(super) struct Resolver<'a> {
    pub(super) problems: &'a Problems<'a>,
    /// What relative paths start at: the directory of the file.
    base: &'a Path,
    pub(super) files: Files,
}

/// Resolves `raw`. Where something doesn't fit, it is noted and something else stands in, so the
/// result is only to be used when nothing was noted.
pub(super) fn resolve(raw: Raw, base: &Path, files: Files, problems: &Problems<'_>) -> Config {
    let resolver = Resolver { problems, base, files };
    let hostname = resolver.hostname(raw.hostname);
    let data_dir = resolver.data_dir(raw.data_dir);
    let listeners = resolver.listeners(raw.listeners, &hostname);
    let needs_certificate = listeners.iter().any(|listener| listener.tls != TlsMode::Off);
    Config {
        control_socket: data_dir.join("ctl"),
        data_dir,
        user: raw.user.map(|user| user.value),
        shards: raw.shards.map(|shards| shards.value),
        worker_threads: raw.worker_threads.map_or(WORKER_THREADS, |threads| threads.value),
        log: resolver.log(raw.log),
        tls: resolver.tls(raw.tls, needs_certificate),
        listeners,
        storage: resolver.storage(&raw.storage),
        dns: Some(resolver.dns(raw.dns)),
        delivery: resolver.delivery(raw.delivery, &hostname),
        reports: raw.reports,
        webhooks: raw.webhooks.resolve(|path| resolver.readable(path)),
        share_with_anyone: raw.accounts.share_with_anyone.as_ref().is_some_and(|share| share.value),
        search: Search { text_index: raw.text_index.map_or(TextIndex::default(), |choice| choice.value) },
        accounts: resolver.accounts(raw.accounts),
        postmaster: raw.postmaster.and_then(|postmaster| resolver.postmaster(postmaster)),
        passwords: passwords(raw.iterations, raw.password_min_octets),
        unlimited: raw.unlimited,
        mode: Mode::Serve,
        hostname,
    }
}

fn passwords(iterations: Option<At<u32>>, min_octets: Option<At<u32>>) -> Passwords {
    let default = Passwords::default();
    Passwords {
        iterations: iterations.map_or(default.iterations, |value| value.value),
        min_octets: min_octets.map_or(default.min_octets, |value| value.value),
    }
}

impl Resolver<'_> {
    fn hostname(&self, text: Option<At<String>>) -> HostName {
        let Some(text) = text else {
            self.problems.add(
                &None,
                "\"hostname\" is missing",
                "Write the full name of this host at the top, such as hostname = \"mail.example.com\"",
            );
            return HostName::localhost();
        };
        let name = self.host_name(&text);
        if !name.as_str().is_empty() && !name.as_str().contains('.') {
            let what = format!("{:?} is not the full name of a host", text.value);
            self.problems.add(&text.place, what, "Write it with its domain, such as \"mail.example.com\"");
        }
        name
    }

    pub(super) fn host_name(&self, text: &At<String>) -> HostName {
        parse_host_name(&text.value).unwrap_or_else(|| {
            self.problems.add(
                &text.place,
                format!("{:?} is not a valid name of a host", text.value),
                "Write letters, digits and hyphens with dots between, such as \"mail.example.com\"",
            );
            HostName::localhost()
        })
    }

    fn data_dir(&self, text: Option<At<String>>) -> PathBuf {
        let Some(text) = text.filter(|text| !text.value.is_empty()) else {
            let advice =
                "Write the directory that mail is kept in, such as data_dir = \"/var/lib/postrider\"";
            self.problems.add(&None, "\"data_dir\" is missing", advice);
            return PathBuf::new();
        };
        let path = self.base.join(&text.value);
        if self.files == Files::Check && path.exists() && !path.is_dir() {
            let advice = "Name a directory, or one that doesn't exist yet";
            self.problems.add(&text.place, format!("{} is not a directory", path.display()), advice);
        }
        path
    }

    fn log(&self, raw: RawLog) -> Log {
        let mut levels = Levels::new(raw.level.map(|level| level.value).unwrap_or_default());
        for (module, level) in raw.modules {
            let parsed = match level.value.parse::<Level>() {
                Ok(parsed) => parsed,
                Err(error) => {
                    self.problems.add(&level.place, error.to_string(), "Write one of them");
                    continue;
                }
            };
            if let Err(error) = levels.set_module(&module.value, Some(parsed)) {
                let advice = match nearest(&module.value, MODULES) {
                    Some(near) => format!("Did you mean {near:?}?"),
                    None => "Write one of them".to_owned(),
                };
                self.problems.add(&module.place, error.to_string(), advice);
            }
        }
        Log { format: raw.format.map(|format| format.value).unwrap_or_default(), levels }
    }

    fn listeners(&self, raw: Vec<RawListener>, hostname: &HostName) -> Vec<Listener> {
        if raw.is_empty() {
            let advice = "Add at least one [[listener]] with a name and a protocol";
            self.problems.add(&None, "there is no listener", advice);
        }
        let mut names = BTreeSet::new();
        let mut taken: Vec<(SocketAddr, String)> = Vec::new();
        let mut listeners = Vec::new();
        for raw in raw {
            let name = self.listener_name(&raw, &mut names);
            let Some(protocol) = raw.protocol.as_ref().map(|protocol| protocol.value) else {
                // One that doesn't exist was noted when it was read.
                if raw.protocol_missing {
                    self.missing_protocol(&raw, &name);
                }
                continue;
            };
            let addresses = self.addresses(&raw, protocol);
            for (address, place) in &addresses {
                if let Some((_, other)) = taken.iter().find(|(other, _)| clash(*other, *address)) {
                    let advice = "Give one of them another address or port";
                    self.problems.add(
                        place,
                        format!("{address} is already used by listener {other:?}"),
                        advice,
                    );
                }
                taken.push((*address, name.clone()));
            }
            self.check_limits(&raw.limits, &raw.place, protocol);
            let preauth = self.preauth(&raw, protocol);
            let disabled_capabilities = self.disabled_capabilities(&raw, protocol);
            if let Some(place) = raw.checks_place.as_ref().filter(|_| protocol != Protocol::Smtp) {
                let what = "checks are for \"smtp\" only: mail of our users is not checked like that of other servers";
                self.problems.add(place, what, "Remove [listener.checks] here");
            }
            listeners.push(Listener {
                name,
                protocol,
                addresses: addresses.into_iter().map(|(address, _)| address).collect(),
                hostname: raw.hostname.as_ref().map_or_else(|| hostname.clone(), |text| self.host_name(text)),
                tls: self.tls_mode(&raw, protocol),
                requiretls: switch(raw.requiretls, Switch::On),
                // Some large senders fail to deliver when tickets are used on port 25.
                session_tickets: switch(
                    raw.session_tickets,
                    if protocol == Protocol::Smtp { Switch::Off } else { Switch::On },
                ),
                preauth,
                disabled_capabilities,
                checks: raw.checks,
                limits: raw.limits,
            });
        }
        listeners
    }

    fn missing_protocol(&self, raw: &RawListener, name: &str) {
        let names: Vec<_> = Protocol::ALL.iter().map(|protocol| format!("{:?}", protocol.name())).collect();
        let advice = format!("Write protocol = and one of {}", names.join(", "));
        self.problems.add(&raw.place, format!("listener {name:?} has no protocol"), advice);
    }

    fn listener_name(&self, raw: &RawListener, names: &mut BTreeSet<String>) -> String {
        let Some(name) = &raw.name else {
            let advice = "Give it a name, which logs and metrics will show: name = \"mx\"";
            self.problems.add(&raw.place, "a listener has no name", advice);
            return String::new();
        };
        let valid = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.value.is_empty() || name.value.len() > 64 || !name.value.chars().all(valid) {
            let advice = "Use up to 64 letters, digits, \"-\" and \"_\"";
            self.problems.add(&name.place, format!("{:?} can't name a listener", name.value), advice);
        } else if !names.insert(name.value.clone()) {
            let what = format!("there are two listeners named {:?}", name.value);
            self.problems.add(&name.place, what, "Give one of them another name");
        }
        name.value.clone()
    }

    fn addresses(&self, raw: &RawListener, protocol: Protocol) -> Vec<(SocketAddr, Place)> {
        let port = raw.port.as_ref().map_or(protocol.default_port(), |port| port.value);
        if raw.addresses.is_empty() {
            // Metrics tell about the host, so they aren't shown to everyone unless asked for.
            let everywhere: [IpAddr; 2] = if protocol == Protocol::Metrics {
                [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
            } else {
                [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]
            };
            let place = raw.port.as_ref().map_or(&raw.place, |port| &port.place);
            return everywhere.map(|address| (SocketAddr::new(address, port), place.clone())).into();
        }
        let mut addresses = Vec::new();
        for text in &raw.addresses {
            let address = match text.value.parse::<IpAddr>() {
                Ok(address) => Some(SocketAddr::new(address, port)),
                Err(_) => text.value.parse().ok().filter(|address: &SocketAddr| address.port() != 0),
            };
            match address {
                Some(address) => addresses.push((address, text.place.clone())),
                None => self.problems.add(
                    &text.place,
                    format!("{:?} is not an address to listen on", text.value),
                    "Write an IP address, or one with a port such as \"192.0.2.1:25\" or \"[2001:db8::1]:25\"",
                ),
            }
        }
        addresses
    }

    fn tls_mode(&self, raw: &RawListener, protocol: Protocol) -> TlsMode {
        let default = match protocol {
            Protocol::Smtp => TlsMode::Optional,
            Protocol::Submission | Protocol::Imap => TlsMode::Required,
            Protocol::Submissions | Protocol::Imaps => TlsMode::Implicit,
            Protocol::Metrics => TlsMode::Off,
        };
        let Some(written) = &raw.tls else { return default };
        if protocol.implicit_tls() {
            let what = format!("{:?} is always encrypted from its first byte", protocol.name());
            self.problems.add(&written.place, what, "Remove \"tls\" here");
            return default;
        }
        if protocol == Protocol::Metrics && written.value != TlsMode::Off {
            let advice = "Remove \"tls\" here, and listen on loopback or behind a proxy";
            self.problems.add(&written.place, "metrics are served without TLS", advice);
            return default;
        }
        written.value
    }

    fn preauth(&self, raw: &RawListener, protocol: Protocol) -> Switch {
        let Some(written) = raw.preauth.as_ref().filter(|flag| flag.value) else { return Switch::Off };
        if protocol != Protocol::Imaps {
            let what = "\"preauth\" is for \"imaps\" only: elsewhere the greeting comes before TLS";
            self.problems.add(&written.place, what, "Remove \"preauth\" here");
        }
        Switch::On
    }

    fn disabled_capabilities(&self, raw: &RawListener, protocol: Protocol) -> Vec<String> {
        let mut names = Vec::new();
        for text in &raw.disabled_capabilities {
            let valid = |octet: u8| octet.is_ascii_alphanumeric() || b"-=+._".contains(&octet);
            if !matches!(protocol, Protocol::Imap | Protocol::Imaps) {
                let what = "\"disabled_capabilities\" is for \"imap\" and \"imaps\" only";
                self.problems.add(&text.place, what, "Remove it here");
            } else if text.value.is_empty() || !text.value.bytes().all(valid) {
                let what = format!("{:?} can't be a capability of IMAP", text.value);
                self.problems.add(
                    &text.place,
                    what,
                    "Write it as it is announced, such as \"COMPRESS=DEFLATE\"",
                );
            }
            names.push(text.value.to_ascii_uppercase());
        }
        names
    }

    /// Relations between limits that one bound alone can't show.
    fn check_limits(&self, limits: &Limits, place: &Place, protocol: Protocol) {
        let smtp = matches!(protocol, Protocol::Smtp | Protocol::Submission | Protocol::Submissions);
        let imap = matches!(protocol, Protocol::Imap | Protocol::Imaps);
        if smtp && limits.smtp.message > limits.smtp.session {
            let what = "limits.smtp: \"message_time\" is longer than \"session_time\"";
            self.problems.add(place, what, "Raise \"session_time\" to at least \"message_time\"");
        }
        if imap && limits.imap.literal_octets > limits.imap.command_octets {
            let what = "limits.imap: \"literal_size\" is more than \"command_size\"";
            self.problems.add(place, what, "Raise \"command_size\" to at least \"literal_size\"");
        }
        let authentication = &limits.authentication;
        if authentication.slow_after > authentication.failures_per_connection {
            let what = "limits: \"authentication_failures_until_slow\" is more than \
                        \"authentication_failures_per_connection\"";
            self.problems.add(place, what, "Lower the first, or raise the second");
        }
    }

    fn tls(&self, raw: RawTls, needed: bool) -> Tls {
        let mut files = Vec::new();
        for certificate in &raw.certificates {
            if let (Some(cert), Some(key)) = (&certificate.cert_file, &certificate.key_file) {
                files.push(CertificateFiles { cert_file: self.readable(cert), key_file: self.readable(key) });
            } else {
                let advice = "Write both cert_file = and key_file =, each the path of a PEM file";
                self.problems.add(&certificate.place, "a certificate or its key is missing", advice);
            }
        }
        let self_signed = raw.self_signed.filter(|flag| flag.value);
        let certificates = match self_signed {
            Some(flag) if !raw.certificates.is_empty() => {
                let advice = "Remove \"self_signed\", or the certificates";
                self.problems.add(&flag.place, "there are certificates as well as \"self_signed\"", advice);
                Certificates::SelfSigned
            }
            Some(_) => Certificates::SelfSigned,
            None => Certificates::Files(files),
        };
        if needed && raw.certificates.is_empty() && certificates != Certificates::SelfSigned {
            let advice = "Add [[tls.certificate]] with cert_file and key_file, or set self_signed = true in [tls], or \
                          tls = \"off\" in the listeners";
            self.problems.add(&None, "listeners use TLS, and there is no certificate", advice);
        }
        Tls { certificates, min_version: raw.min_version.map_or(TlsVersion::Tls12, |version| version.value) }
    }

    pub(super) fn readable(&self, text: &At<String>) -> PathBuf {
        let path = self.base.join(&text.value);
        if self.files == Files::Check
            && let Err(error) = File::open(&path).and_then(|file| file.metadata()).and_then(|metadata| {
                if metadata.is_file() { Ok(()) } else { Err(std::io::Error::other("it is not a file")) }
            })
        {
            let advice = "Check the path, and that the file can be read by the user who starts the server";
            self.problems.add(&text.place, format!("can't read {}: {error}", path.display()), advice);
        }
        path
    }

    fn storage(&self, raw: &RawStorage) -> Storage {
        let default = Storage::default();
        let octets = |value: &Option<At<u64>>, default| value.as_ref().map_or(default, |value| value.value);
        let storage = Storage {
            cache_octets: octets(&raw.cache, default.cache_octets),
            rows_memtable_octets: octets(&raw.rows_memtable, default.rows_memtable_octets),
            blobs_memtable_octets: octets(&raw.blobs_memtable, default.blobs_memtable_octets),
            journal_octets: octets(&raw.journal, default.journal_octets),
            min_free_octets: octets(&raw.min_free_space, default.min_free_octets),
            tombstone_retention: raw
                .tombstone_retention
                .as_ref()
                .map_or(default.tombstone_retention, |value| value.value),
        };
        // The journal holds what the memtables hold, and must outlast a rotation of both.
        let memtables = storage.rows_memtable_octets + storage.blobs_memtable_octets;
        if storage.journal_octets < 2 * memtables {
            let written = [&raw.journal, &raw.rows_memtable, &raw.blobs_memtable];
            let place = written.into_iter().flatten().next().and_then(|value| value.place.clone());
            let what =
                "storage: \"journal\" is less than twice \"rows_memtable\" and \"blobs_memtable\" together";
            self.problems.add(&place, what, "Raise \"journal\", or lower the memtables");
        }
        storage
    }

    fn dns(&self, raw: RawDns) -> Dns {
        let default = Dns::default();
        let upstreams = match (&raw.upstreams, &raw.resolv_conf) {
            (Some(list), None) => DnsUpstreams::Listed(self.upstreams(list)),
            (None, Some(path)) => DnsUpstreams::System(self.readable(path)),
            (None, None) => default.upstreams,
            (Some(_), Some(path)) => {
                let what = "dns: there are \"upstreams\" as well as \"resolv_conf\"";
                self.problems.add(&path.place, what, "Remove one of them");
                default.upstreams
            }
        };
        let cache = raw.cache.and_then(|cache| usize::try_from(cache.value).ok());
        Dns {
            upstreams,
            mode: raw.mode.map_or(default.mode, |mode| mode.value),
            trusted: raw.trusted,
            trust_anchors: raw.trust_anchors.map(|path| self.readable(&path)),
            tls_roots: raw.tls_roots.map(|path| self.readable(&path)),
            cache_octets: cache.unwrap_or(default.cache_octets),
        }
    }

    fn upstreams(&self, list: &[At<String>]) -> Vec<Upstream> {
        let mut upstreams = Vec::new();
        for text in list {
            match Upstream::parse(&text.value) {
                Ok(upstream) => upstreams.push(upstream),
                Err(error) => self.problems.add(
                    &text.place,
                    format!("{:?} is not an upstream: {}", text.value, error.what()),
                    "Write \"192.0.2.1\", \"192.0.2.1:5353\", \"[2001:db8::1]:53\" or \"tls://192.0.2.1#dns.example\"",
                ),
            }
        }
        let place = list.first().and_then(|text| text.place.clone());
        if list.is_empty() {
            let advice = "Remove the key to use those of the system, or name one";
            self.problems.add(&place, "dns: \"upstreams\" is empty", advice);
        }
        if list.len() > UPSTREAMS_MAX {
            let what = format!("dns: there are over {UPSTREAMS_MAX} upstreams");
            self.problems.add(&place, what, "Name fewer");
        }
        upstreams
    }

    fn accounts(&self, raw: RawAccounts) -> AccountDefaults {
        let quota_octets = raw.quota.map(|quota| quota.value).filter(|quota| *quota > 0);
        let submission_servers = raw.submission_servers.into_iter().map(|name| name.value).collect();
        let usual = SendingLimits::default();
        let number = |set: Option<At<u32>>, usual| set.map_or(usual, |set| set.value);
        let sending = SendingLimits {
            recipients_per_day: number(raw.recipients_per_day, usual.recipients_per_day),
            first_time_recipients_per_day: number(
                raw.first_time_recipients_per_day,
                usual.first_time_recipients_per_day,
            ),
        };
        let mut defaults =
            AccountDefaults { quota_octets, submission_servers, sending, ..AccountDefaults::default() };
        let Some(mailboxes) = raw.mailboxes else { return defaults };
        defaults.mailboxes.clear();
        let special = SpecialUse::ALL.iter().zip(mailboxes.special);
        let special = special.filter_map(|((special_use, ..), name)| Some((Some(*special_use), name?)));
        let regular = mailboxes.regular.into_iter().map(|name| (None, name));
        let mut seen = BTreeSet::new();
        for (special_use, name) in special.chain(regular) {
            let Some(valid) = self.mailbox(&name) else { continue };
            if valid.is_inbox() || !seen.insert(valid.clone()) {
                let what = format!("the mailbox {:?} is there already", valid.as_str());
                self.problems.add(&name.place, what, "Remove it here: Inbox is always made, others once");
            }
            defaults.mailboxes.push(InitialMailbox { name: valid, special_use });
        }
        defaults
    }

    fn mailbox(&self, name: &At<String>) -> Option<MailboxName> {
        match MailboxName::new(&name.value) {
            Ok(valid) => Some(valid),
            Err(error) => {
                let what = format!("{:?} can't name a mailbox: {error}", name.value);
                self.problems.add(
                    &name.place,
                    what,
                    "Use letters, digits and spaces, with \"/\" for mailboxes inside",
                );
                None
            }
        }
    }

    fn postmaster(&self, raw: RawPostmaster) -> Option<Postmaster> {
        let mailbox = match &raw.mailbox {
            Some(name) => self.mailbox(name)?,
            None => MailboxName::inbox(),
        };
        match raw.account.filter(|account| !account.value.is_empty()) {
            Some(account) => Some(Postmaster { account: account.value, mailbox }),
            None => {
                let advice =
                    "Write the name of the account that reads mail to postmaster: account = \"admin\"";
                self.problems.add(&raw.place, "\"postmaster.account\" is missing", advice);
                None
            }
        }
    }
}

fn switch(flag: Option<At<bool>>, default: Switch) -> Switch {
    match flag.map(|flag| flag.value) {
        Some(true) => Switch::On,
        Some(false) => Switch::Off,
        None => default,
    }
}

/// Whether two listeners can't have these addresses both. `[::]` doesn't take IPv4 connections.
fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port()
        && a.is_ipv4() == b.is_ipv4()
        && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

/// Parses the name of a host; one that looks like an address is none (RFC 1123 §2.1).
pub(super) fn parse_host_name(text: &str) -> Option<HostName> {
    let numeric = text.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if numeric { None } else { Domain::parse(text).ok().map(HostName) }
}
