//! The file as it is written: each value that is there, with its place.
//!
//! This step knows keys and the form of single values. What values mean together, and which are
//! used when nothing is written, is [`resolve`](super::resolve)'s matter; only limits are filled in
//! here, because those of a listener begin with those of `[limits]`.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::time::Duration;

use postrider_dns::resolver::Mode as Belief;
use postrider_proto::address::Domain;

use super::checks::{Checks, Consequence};
use super::delivery::{self, RawDelivery};
use super::limits::{AuthenticationLimits, ConnectionLimits, ImapLimits, Limits, SmtpLimits};
use super::model::{Network, Protocol, RunAs, Switch, TextIndex, TlsMode, TlsVersion};
use super::problem::{At, Place};
use super::reports::{self, Reports};
use super::section::Section;
use super::webhooks::{self, RawWebhooks};
use crate::log::{Format, Level};

pub(super) struct Raw {
    pub hostname: Option<At<String>>,
    pub data_dir: Option<At<String>>,
    pub user: Option<At<RunAs>>,
    pub shards: Option<At<NonZeroUsize>>,
    pub worker_threads: Option<At<NonZeroUsize>>,
    pub log: RawLog,
    pub listeners: Vec<RawListener>,
    pub tls: RawTls,
    pub storage: RawStorage,
    pub text_index: Option<At<TextIndex>>,
    pub dns: RawDns,
    pub delivery: RawDelivery,
    pub reports: Reports,
    pub webhooks: RawWebhooks,
    pub accounts: RawAccounts,
    pub postmaster: Option<RawPostmaster>,
    pub iterations: Option<At<u32>>,
    pub password_min_octets: Option<At<u32>>,
    pub unlimited: Vec<Network>,
}

pub(super) struct RawLog {
    pub format: Option<At<Format>>,
    pub level: Option<At<Level>>,
    pub modules: Vec<(At<String>, At<String>)>,
}

pub(super) struct RawListener {
    pub place: Place,
    pub name: Option<At<String>>,
    pub protocol: Option<At<Protocol>>,
    pub protocol_missing: bool,
    pub addresses: Vec<At<String>>,
    pub port: Option<At<u16>>,
    pub hostname: Option<At<String>>,
    pub tls: Option<At<TlsMode>>,
    pub requiretls: Option<At<bool>>,
    pub session_tickets: Option<At<bool>>,
    pub preauth: Option<At<bool>>,
    pub disabled_capabilities: Vec<At<String>>,
    pub checks: Checks,
    /// Where the listener's own checks stand.
    pub checks_place: Option<Place>,
    pub limits: Limits,
}

pub(super) struct RawTls {
    pub certificates: Vec<RawCertificate>,
    pub self_signed: Option<At<bool>>,
    pub min_version: Option<At<TlsVersion>>,
}

pub(super) struct RawCertificate {
    pub place: Place,
    pub cert_file: Option<At<String>>,
    pub key_file: Option<At<String>>,
}

pub(super) struct RawDns {
    pub upstreams: Option<Vec<At<String>>>,
    pub resolv_conf: Option<At<String>>,
    pub mode: Option<At<Belief>>,
    pub trusted: Vec<Network>,
    pub trust_anchors: Option<At<String>>,
    pub tls_roots: Option<At<String>>,
    pub cache: Option<At<u64>>,
}

pub(super) struct RawStorage {
    pub cache: Option<At<u64>>,
    pub rows_memtable: Option<At<u64>>,
    pub blobs_memtable: Option<At<u64>>,
    pub journal: Option<At<u64>>,
    pub min_free_space: Option<At<u64>>,
    pub tombstone_retention: Option<At<Duration>>,
}

pub(super) struct RawAccounts {
    pub quota: Option<At<u64>>,
    pub share_with_anyone: Option<At<bool>>,
    pub recipients_per_day: Option<At<u32>>,
    pub first_time_recipients_per_day: Option<At<u32>>,
    pub mailboxes: Option<RawMailboxes>,
    pub submission_servers: Vec<At<String>>,
}

pub(super) struct RawMailboxes {
    /// One for each of `SpecialUse::ALL`.
    pub special: Vec<Option<At<String>>>,
    pub regular: Vec<At<String>>,
}

pub(super) struct RawPostmaster {
    pub place: Place,
    pub account: Option<At<String>>,
    pub mailbox: Option<At<String>>,
}

pub(super) fn read(root: Section<'_>) -> Raw {
    let mut limits = Limits::default();
    read_limits(root.section("limits"), &mut limits);
    let mut checks = Checks::default();
    read_checks(root.section("checks"), &mut checks);
    let (iterations, password_min_octets) = read_passwords(root.section("passwords"));
    let raw = Raw {
        hostname: root.text("hostname"),
        data_dir: root.text("data_dir"),
        user: root.parsed("user", "Write the name of a user, or numbers as \"uid:gid\"", run_as),
        shards: root.number("shards", 1..=1024).and_then(non_zero),
        worker_threads: root.number("worker_threads", 1..=1024).and_then(non_zero),
        log: read_log(root.section("log")),
        listeners: root
            .sections("listener")
            .into_iter()
            .map(|section| read_listener(section, &limits, &checks))
            .collect(),
        tls: read_tls(root.section("tls")),
        storage: read_storage(root.section("storage")),
        text_index: read_search(root.section("search")),
        dns: read_dns(root.section("dns")),
        delivery: delivery::read(
            root.section("delivery"),
            root.sections("transport"),
            root.sections("route"),
        ),
        reports: reports::read(root.section("reports")),
        webhooks: webhooks::read(root.section("webhooks")),
        accounts: read_accounts(root.section("accounts")),
        postmaster: read_postmaster(root.section("postmaster")),
        iterations,
        password_min_octets,
        unlimited: read_admission(root.section("admission")),
    };
    root.finish();
    raw
}

fn non_zero(number: At<usize>) -> Option<At<NonZeroUsize>> {
    Some(At { value: NonZeroUsize::new(number.value)?, place: number.place })
}

fn run_as(text: &str) -> Option<RunAs> {
    match text.split_once(':') {
        Some((uid, gid)) => Some(RunAs::Ids { uid: uid.parse().ok()?, gid: gid.parse().ok()? }),
        None => (!text.is_empty()).then(|| RunAs::Name(text.to_owned())),
    }
}

fn read_log(section: Section<'_>) -> RawLog {
    let levels = Level::ALL.map(|level| (level.name(), level));
    let raw = RawLog {
        format: section.choice("format", &[("text", Format::Text), ("json", Format::Json)]),
        level: section.choice("level", &levels),
        modules: section.section("modules").entries(),
    };
    section.finish();
    raw
}

fn read_listener(section: Section<'_>, limits: &Limits, checks: &Checks) -> RawListener {
    let protocols = Protocol::ALL.map(|protocol| (protocol.name(), protocol));
    let modes = [("off", TlsMode::Off), ("optional", TlsMode::Optional), ("required", TlsMode::Required)];
    let mut checks = checks.clone();
    let own = section.section("checks");
    let checks_place = own.is_written().then(|| own.place().clone());
    read_checks(own, &mut checks);
    let mut limits = limits.clone();
    read_limits(section.section("limits"), &mut limits);
    let raw = RawListener {
        place: section.place().clone(),
        name: section.text("name"),
        protocol: section.choice("protocol", &protocols),
        protocol_missing: !section.has("protocol"),
        addresses: section.texts("addresses").unwrap_or_default(),
        port: section.number("port", 1..=u16::MAX),
        hostname: section.text("hostname"),
        tls: section.choice("tls", &modes),
        requiretls: section.flag("requiretls"),
        session_tickets: section.flag("session_tickets"),
        preauth: section.flag("preauth"),
        disabled_capabilities: section.texts("disabled_capabilities").unwrap_or_default(),
        checks,
        checks_place,
        limits,
    };
    section.finish();
    raw
}

fn read_tls(section: Section<'_>) -> RawTls {
    let certificates = section.sections("certificate").into_iter().map(|section| {
        let raw = RawCertificate {
            place: section.place().clone(),
            cert_file: section.text("cert_file"),
            key_file: section.text("key_file"),
        };
        section.finish();
        raw
    });
    let raw = RawTls {
        certificates: certificates.collect(),
        self_signed: section.flag("self_signed"),
        min_version: section.choice("min_version", &[("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)]),
    };
    section.finish();
    raw
}

fn read_storage(section: Section<'_>) -> RawStorage {
    const GIB: u64 = 1 << 30;
    const MIB: u64 = 1 << 20;
    let raw = RawStorage {
        cache: section.octets("cache", MIB..=1024 * GIB),
        rows_memtable: section.octets("rows_memtable", MIB..=GIB),
        blobs_memtable: section.octets("blobs_memtable", MIB..=GIB),
        journal: section.octets("journal", 64 * MIB..=64 * GIB),
        min_free_space: section.octets("min_free_space", 16 * MIB..=1024 * GIB),
        tombstone_retention: section.duration("tombstone_retention", DAY..=DAY * 3650),
    };
    section.finish();
    raw
}

fn read_search(section: Section<'_>) -> Option<At<TextIndex>> {
    let choices = [("used", TextIndex::Used), ("always", TextIndex::Always), ("off", TextIndex::Off)];
    let text_index = section.choice("text_index", &choices);
    section.finish();
    text_index
}

fn read_dns(section: Section<'_>) -> RawDns {
    const MODES: &[(&str, Belief)] = &[("validate", Belief::Validate), ("trust", Belief::Trust)];
    let raw = RawDns {
        upstreams: section.texts("upstreams"),
        resolv_conf: section.text("resolv_conf"),
        mode: section.choice("mode", MODES),
        trusted: read_networks(&section, "trusted"),
        trust_anchors: section.text("trust_anchors"),
        tls_roots: section.text("tls_roots"),
        cache: section.octets("cache", 64 << 10..=1 << 30),
    };
    section.finish();
    raw
}

fn read_accounts(section: Section<'_>) -> RawAccounts {
    let mailboxes = section.section("mailboxes");
    let raw = RawAccounts {
        quota: section.octets("quota", 0..=1 << 60),
        share_with_anyone: section.flag("share_with_anyone"),
        recipients_per_day: section.number("recipients_per_day", 0..=u32::MAX),
        first_time_recipients_per_day: section.number("first_time_recipients_per_day", 0..=u32::MAX),
        mailboxes: read_mailboxes(mailboxes),
        submission_servers: section.texts("submission_servers").unwrap_or_default(),
    };
    section.finish();
    raw
}

fn read_mailboxes(section: Section<'_>) -> Option<RawMailboxes> {
    let special = super::model::SpecialUse::ALL.map(|(_, key, _)| section.text(key));
    let raw = RawMailboxes { special: special.into(), regular: section.texts("regular").unwrap_or_default() };
    let written = section.is_written();
    section.finish();
    written.then_some(raw)
}

fn read_postmaster(section: Section<'_>) -> Option<RawPostmaster> {
    let raw = RawPostmaster {
        place: section.place().clone(),
        account: section.text("account"),
        mailbox: section.text("mailbox"),
    };
    let written = section.is_written();
    section.finish();
    written.then_some(raw)
}

fn read_passwords(section: Section<'_>) -> (Option<At<u32>>, Option<At<u32>>) {
    // RFC 7677 §4 wants 4096 iterations at least.
    let raw = (section.number("iterations", 4096..=10_000_000), section.number("min_length", 1..=255));
    section.finish();
    raw
}

fn read_admission(section: Section<'_>) -> Vec<Network> {
    let networks = read_networks(&section, "unlimited");
    section.finish();
    networks
}

pub(super) fn read_networks(section: &Section<'_>, key: &'static str) -> Vec<Network> {
    let mut networks = Vec::new();
    for text in section.texts(key).unwrap_or_default() {
        match Network::parse(&text.value) {
            Some(network) => networks.push(network),
            None => section.problems().add(
                &text.place,
                format!("{:?} is not a network", text.value),
                "Write an address, or address/bits with no bit set after the first bits, such as \"192.0.2.0/24\"",
            ),
        }
    }
    networks
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MILLISECOND: Duration = Duration::from_millis(1);
const TIME: RangeInclusive<Duration> = Duration::from_secs(1)..=DAY;
/// RFC 5321 §4.5.3.2.6 lets clients wait for 10 minutes.
const STORE_TIME: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(9 * 60);
const DELAY: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(10 * 60);

fn set<T>(field: &mut T, value: Option<At<T>>) {
    if let Some(value) = value {
        *field = value.value;
    }
}

fn read_checks(section: Section<'_>, checks: &mut Checks) {
    const CONSEQUENCES: [(&str, Consequence); 3] =
        [("accept", Consequence::Accept), ("defer", Consequence::Defer), ("reject", Consequence::Reject)];
    let flag = |field: &mut Switch, value: Option<At<bool>>| {
        if let Some(value) = value {
            *field = if value.value { Switch::On } else { Switch::Off };
        }
    };
    flag(&mut checks.enabled, section.flag("enabled"));
    flag(&mut checks.helo_name, section.flag("helo_name"));
    flag(&mut checks.sender_domain, section.flag("sender_domain"));
    flag(&mut checks.several_recipients_need_spf, section.flag("several_recipients_need_spf"));
    set(&mut checks.dmarc, section.choice("dmarc", &CONSEQUENCES));
    set(&mut checks.spf_fail, section.choice("spf_fail", &CONSEQUENCES));
    set(&mut checks.blocklisted, section.choice("blocklisted", &CONSEQUENCES));
    for (field, key) in
        [(&mut checks.blocklists, "blocklists"), (&mut checks.trusted_sealers, "trusted_sealers")]
    {
        let Some(names) = section.texts(key) else { continue };
        *field = domains(&section, names);
    }
    set(&mut checks.time, section.duration("time", Duration::from_secs(1)..=Duration::from_secs(120)));
    set(&mut checks.questions, section.number("questions", 20..=10_000));
    section.finish();
}

fn domains(section: &Section<'_>, names: Vec<At<String>>) -> Vec<Domain> {
    let mut domains = Vec::new();
    for name in names {
        match Domain::parse(&name.value) {
            Ok(domain) => domains.push(domain),
            Err(error) => section.problems().add(
                &name.place,
                format!("{:?} is not a domain: {error}", name.value),
                "Write letters, digits and hyphens with dots between, such as \"bl.example.com\"",
            ),
        }
    }
    domains
}

fn read_limits(section: Section<'_>, limits: &mut Limits) {
    read_connections(&section, &mut limits.connections);
    read_authentication(&section, &mut limits.authentication);
    read_smtp(section.section("smtp"), &mut limits.smtp);
    read_imap(section.section("imap"), &mut limits.imap);
    section.finish();
}

fn read_connections(section: &Section<'_>, limits: &mut ConnectionLimits) {
    set(&mut limits.open, section.classes("connections_open"));
    set(&mut limits.per_minute, section.classes("connections_per_minute"));
    set(&mut limits.total, section.number("connections_total", 1..=10_000_000));
    set(&mut limits.tls_handshake, section.duration("tls_handshake_time", TIME));
}

fn read_authentication(section: &Section<'_>, limits: &mut AuthenticationLimits) {
    set(&mut limits.failures_per_minute, section.classes("authentication_failures_per_minute"));
    set(&mut limits.failures_per_day, section.classes("authentication_failures_per_day"));
    set(&mut limits.slow_after, section.number("authentication_failures_until_slow", 1..=1000));
    set(
        &mut limits.failures_per_connection,
        section.number("authentication_failures_per_connection", 1..=1000),
    );
}

fn read_smtp(section: Section<'_>, limits: &mut SmtpLimits) {
    set(&mut limits.message_octets, section.octets("message_size", 64 << 10..=4 << 30));
    // RFC 5321 §4.5.3.1.8 wants 100 recipients at least, §4.5.3.1.4 512 octets of a line.
    set(&mut limits.recipients, section.number("recipients", 100..=100_000));
    set(&mut limits.line_octets, section.number("line_length", 512..=65_536));
    set(&mut limits.idle, section.duration("idle_time", TIME));
    set(&mut limits.message, section.duration("message_time", TIME));
    set(&mut limits.session, section.duration("session_time", TIME));
    set(&mut limits.store, section.duration("store_time", STORE_TIME));
    set(&mut limits.failed_transactions, section.number("failed_transactions", 1..=100_000));
    set(&mut limits.bad_commands, section.number("bad_commands", 1..=100_000));
    set(&mut limits.received_fields, section.number("received_fields", 30..=1000));
    set(&mut limits.unknown_recipients_delay, section.duration("unknown_recipients_delay", DELAY));
    set(&mut limits.first_time_sender_delay, section.duration("first_time_sender_delay", DELAY));
    set(&mut limits.slow_read, section.duration("slow_read_delay", MILLISECOND..=Duration::from_secs(60)));
    let deliveries = &mut limits.deliveries;
    set(&mut deliveries.messages_per_minute, section.classes("messages_per_minute"));
    set(&mut deliveries.messages_per_day, section.classes("messages_per_day"));
    set(&mut deliveries.mebibytes_per_minute, section.classes("mebibytes_per_minute"));
    set(&mut deliveries.mebibytes_per_day, section.classes("mebibytes_per_day"));
    section.finish();
}

fn read_imap(section: Section<'_>, limits: &mut ImapLimits) {
    set(&mut limits.append_octets, section.octets("append_size", 64 << 10..=4 << 30));
    // RFC 7162 §4 asks for lines of 8192 octets at least.
    set(&mut limits.line_octets, section.number("line_length", 8192..=1 << 20));
    set(&mut limits.literal_octets, section.octets("literal_size", 1 << 10..=16 << 20));
    set(&mut limits.command_octets, section.octets("command_size", 16 << 10..=64 << 20));
    set(&mut limits.literals, section.number("literals", 1..=100_000));
    set(&mut limits.unauthenticated_idle, section.duration("unauthenticated_idle_time", TIME));
    // RFC 9051 §5.4: at least 30 minutes.
    set(
        &mut limits.authenticated_idle,
        section.duration("authenticated_idle_time", Duration::from_secs(1800)..=DAY),
    );
    set(&mut limits.write, section.duration("write_time", TIME));
    set(&mut limits.bad_commands, section.number("bad_commands", 1..=100_000));
    set(&mut limits.messages_per_command, section.number("messages_per_command", 0..=u32::MAX));
    set(&mut limits.saved_per_command, section.number("saved_per_command", 0..=u32::MAX));
    set(&mut limits.progress, section.duration("progress_time", MILLISECOND..=Duration::from_secs(600)));
    section.finish();
}
