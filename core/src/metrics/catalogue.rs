//! Every metric of the server, with its name, labels and meaning.
//!
//! `docs/metrics.md` lists the same names; a test compares them.

use super::delivery::QueueMetrics;
use super::received::ReceivedMetrics;
use super::registry::{
    Builder, Counter, Counters, Gauge, Gauges, Histogram, Histograms, Label, OCTETS, SECONDS,
};
use super::reporting::ReportMetrics;
use super::webhooks::WebhookMetrics;
use crate::config::Protocol;

/// Declares an enum whose values are those of a label.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum $name { $($(#[$value_doc])* $value,)+ }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$value,)+];

            /// The value in metrics.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$value => $text,)+ }
            }
        }
    };
}

pub(super) use label;

label! {
    /// Why a connection was not served.
    Refusal {
        /// Too many are open from its network.
        Open = "open",
        /// Too many came from its network in the last minute.
        Rate = "rate",
        /// Too many authentications failed from its network.
        Authentication = "authentication",
        /// Too many are open on the listener.
        Total = "total",
        /// The server stops.
        Stopping = "stopping",
        /// The TLS handshake failed.
        Tls = "tls",
    }
}

label! {
    /// Commands of SMTP.
    SmtpCommand {
        /// `HELO`
        Helo = "helo",
        /// `EHLO`
        Ehlo = "ehlo",
        /// `STARTTLS`
        StartTls = "starttls",
        /// `AUTH`
        Auth = "auth",
        /// `MAIL`
        Mail = "mail",
        /// `RCPT`
        Rcpt = "rcpt",
        /// `DATA`, with its message
        Data = "data",
        /// `BDAT`, with its chunk
        Bdat = "bdat",
        /// `RSET`
        Rset = "rset",
        /// `VRFY`
        Vrfy = "vrfy",
        /// `EXPN`
        Expn = "expn",
        /// `HELP`
        Help = "help",
        /// `NOOP`
        Noop = "noop",
        /// `QUIT`
        Quit = "quit",
        /// Anything else.
        Unknown = "unknown",
    }
}

label! {
    /// Commands of IMAP; `UID` forms count as the command that they are a form of.
    ImapCommand {
        /// `CAPABILITY`
        Capability = "capability",
        /// `NOOP`
        Noop = "noop",
        /// `LOGOUT`
        Logout = "logout",
        /// `STARTTLS`
        StartTls = "starttls",
        /// `AUTHENTICATE`
        Authenticate = "authenticate",
        /// `LOGIN`
        Login = "login",
        /// `ENABLE`
        Enable = "enable",
        /// `SELECT`
        Select = "select",
        /// `EXAMINE`
        Examine = "examine",
        /// `CREATE`
        Create = "create",
        /// `DELETE`
        Delete = "delete",
        /// `RENAME`
        Rename = "rename",
        /// `SUBSCRIBE`
        Subscribe = "subscribe",
        /// `UNSUBSCRIBE`
        Unsubscribe = "unsubscribe",
        /// `LIST`
        List = "list",
        /// `LSUB`
        Lsub = "lsub",
        /// `NAMESPACE`
        Namespace = "namespace",
        /// `STATUS`
        Status = "status",
        /// `SETACL`
        SetAcl = "setacl",
        /// `DELETEACL`
        DeleteAcl = "deleteacl",
        /// `GETACL`
        GetAcl = "getacl",
        /// `LISTRIGHTS`
        ListRights = "listrights",
        /// `MYRIGHTS`
        MyRights = "myrights",
        /// `GETQUOTA`
        GetQuota = "getquota",
        /// `GETQUOTAROOT`
        GetQuotaRoot = "getquotaroot",
        /// `SETQUOTA`
        SetQuota = "setquota",
        /// `GETMETADATA`
        GetMetadata = "getmetadata",
        /// `SETMETADATA`
        SetMetadata = "setmetadata",
        /// `NOTIFY`
        Notify = "notify",
        /// `APPEND`
        Append = "append",
        /// `REPLACE`
        Replace = "replace",
        /// `GENURLAUTH`
        GenUrlAuth = "genurlauth",
        /// `RESETKEY`
        ResetKey = "resetkey",
        /// `URLFETCH`
        UrlFetch = "urlfetch",
        /// `IDLE`
        Idle = "idle",
        /// `CHECK`
        Check = "check",
        /// `CLOSE`
        Close = "close",
        /// `UNSELECT`
        Unselect = "unselect",
        /// `EXPUNGE`
        Expunge = "expunge",
        /// `SEARCH`
        Search = "search",
        /// `SORT`
        Sort = "sort",
        /// `THREAD`
        Thread = "thread",
        /// `CANCELUPDATE`
        CancelUpdate = "cancelupdate",
        /// `FETCH`
        Fetch = "fetch",
        /// `STORE`
        Store = "store",
        /// `COPY`
        Copy = "copy",
        /// `MOVE`
        Move = "move",
        /// `ID`
        Id = "id",
        /// Another extension's command.
        Other = "other",
        /// What isn't a command.
        Unknown = "unknown",
    }
}

label! {
    /// How an IMAP command ended.
    Completion {
        /// `OK`
        Ok = "ok",
        /// `NO`
        No = "no",
        /// `BAD`
        Bad = "bad",
    }
}

label! {
    /// The first digit of an SMTP reply.
    ReplyClass {
        /// Done.
        Positive = "2",
        /// More is expected.
        Intermediate = "3",
        /// Not now.
        Temporary = "4",
        /// Not ever.
        Permanent = "5",
    }
}

label! {
    /// Mechanisms of SASL, and IMAP's `LOGIN`.
    Mechanism {
        /// `PLAIN`
        Plain = "plain",
        /// `LOGIN`, of SASL or IMAP
        Login = "login",
        /// `CRAM-MD5`
        CramMd5 = "cram-md5",
        /// `SCRAM-SHA-1`
        ScramSha1 = "scram-sha-1",
        /// `SCRAM-SHA-1-PLUS`
        ScramSha1Plus = "scram-sha-1-plus",
        /// `SCRAM-SHA-256`
        ScramSha256 = "scram-sha-256",
        /// `SCRAM-SHA-256-PLUS`
        ScramSha256Plus = "scram-sha-256-plus",
        /// `EXTERNAL`, and IMAP's PREAUTH
        External = "external",
        /// Anything else.
        Unknown = "unknown",
    }
}

label! {
    /// How an authentication ended.
    Authentication {
        /// It succeeded.
        Ok = "ok",
        /// No such account, or a wrong password; these aren't told apart.
        BadCredentials = "badcreds",
        /// The client's channel binding doesn't fit: someone may sit in between.
        BadChannelBinding = "badchanbind",
        /// The client broke the mechanism's protocol.
        BadProtocol = "badprotocol",
        /// The account's logins are disabled.
        LoginDisabled = "logindisabled",
        /// The client gave up.
        Aborted = "aborted",
        /// Ours is the fault.
        Error = "error",
    }
}

label! {
    /// What became of a message for one recipient.
    Delivery {
        /// Stored in a mailbox.
        Stored = "stored",
        /// Waits to be delivered elsewhere.
        Queued = "queued",
        /// Refused for now.
        Deferred = "deferred",
        /// Refused.
        Refused = "refused",
    }
}

label! {
    /// Why a message from outside was accepted or not.
    Reason {
        /// Nothing spoke against it.
        NoBadSignals = "no-bad-signals",
        /// It comes from a mailing list whose mail the recipient takes.
        ListAllow = "list-allow",
        /// The author's domain wants such mail refused.
        DmarcPolicy = "dmarc-policy",
        /// The author's domain wants such mail refused, unless what DNS doesn't tell now confirms it.
        DmarcUnknown = "dmarc-unknown",
        /// Nothing confirms its author, which the recipient wants.
        AuthRequired = "msg-auth-required",
        /// The sender's domain says that it isn't from there.
        SpfPolicy = "spf-policy",
        /// The client's address is on a blocklist.
        Blocklisted = "dns-blocklisted",
        /// Its header is so large that it can't be told whose message it is.
        HeaderTooLarge = "header-too-large",
        /// Nothing was checked: there is no DNS.
        Unchecked = "unchecked",
    }
}

label! {
    /// What was decided of a message from outside.
    Verdict {
        /// It may be stored.
        Accepted = "accepted",
        /// Not now.
        Deferred = "deferred",
        /// Not ever.
        Refused = "refused",
    }
}

label! {
    /// How it is found out whether a message is from whom it says.
    Method {
        /// The name of the client's address.
        Iprev = "iprev",
        /// SPF.
        Spf = "spf",
        /// DKIM, each signature.
        Dkim = "dkim",
        /// DMARC.
        Dmarc = "dmarc",
        /// ARC.
        Arc = "arc",
        /// Blocklists, each.
        Blocklist = "dnsbl",
    }
}

label! {
    /// What a method says.
    Finding {
        /// Nothing to check.
        None = "none",
        /// It is so.
        Pass = "pass",
        /// It isn't.
        Fail = "fail",
        /// It probably isn't.
        Softfail = "softfail",
        /// Nothing is said.
        Neutral = "neutral",
        /// Our policy doesn't take it.
        Policy = "policy",
        /// Not to be found out now.
        Temperror = "temperror",
        /// Not to be found out.
        Permerror = "permerror",
    }
}

label! {
    /// Limits, each counted when it is met.
    Limit {
        /// Open connections of a network.
        OpenConnections = "open_connections",
        /// Connections of a network in a minute.
        ConnectionRate = "connection_rate",
        /// Open connections of a listener.
        TotalConnections = "total_connections",
        /// Failed authentications of a network.
        AuthenticationFailures = "authentication_failures",
        /// Failed authentications on one connection.
        ConnectionAuthenticationFailures = "connection_authentication_failures",
        /// Time for a TLS handshake.
        TlsHandshakeTime = "tls_handshake_time",
        /// Octets of an SMTP line.
        SmtpLineOctets = "smtp_line_octets",
        /// Octets of a message.
        MessageOctets = "message_octets",
        /// Recipients of a message.
        Recipients = "recipients",
        /// Time of an idle SMTP connection.
        SmtpIdleTime = "smtp_idle_time",
        /// Time for a message.
        MessageTime = "message_time",
        /// Time for an SMTP connection.
        SmtpSessionTime = "smtp_session_time",
        /// Failed transactions on one connection.
        FailedTransactions = "failed_transactions",
        /// Bad SMTP commands on one connection.
        SmtpBadCommands = "smtp_bad_commands",
        /// `Received` fields: a loop.
        ReceivedFields = "received_fields",
        /// Octets of an IMAP line.
        ImapLineOctets = "imap_line_octets",
        /// Octets of an IMAP literal.
        ImapLiteralOctets = "imap_literal_octets",
        /// Octets of an IMAP command with its literals.
        ImapCommandOctets = "imap_command_octets",
        /// Literals of an IMAP command.
        ImapLiterals = "imap_literals",
        /// Octets of an appended message.
        AppendOctets = "append_octets",
        /// Time of an idle IMAP connection.
        ImapIdleTime = "imap_idle_time",
        /// How much compressed input of IMAP expands.
        ImapCompression = "imap_compression",
        /// Bad IMAP commands on one connection.
        ImapBadCommands = "imap_bad_commands",
        /// Messages of first-time senders that wait at once.
        FirstTimeWaits = "first_time_waits",
        /// Recipients of other servers that an account has in a day.
        OutgoingRecipients = "outgoing_recipients",
        /// Those of them to whom it never sent before.
        OutgoingFirstTimeRecipients = "outgoing_first_time_recipients",
        /// Questions to DNS for one message.
        Questions = "dns_questions",
        /// Octets of a message's header that are looked at.
        HeaderOctets = "header_octets",
        /// Octets of all headers that are looked at on a shard at once.
        HeadersOctets = "headers_octets",
        /// Evaluations of DMARC that are kept for reports.
        Evaluations = "evaluations",
        /// Domains of which is kept how TLS with them went.
        TlsResults = "tls_results",
        /// Octets of an account.
        Quota = "quota",
        /// Keywords of an account.
        Keywords = "keywords",
        /// Mailboxes of an account.
        Mailboxes = "mailboxes",
        /// Free octets on the disk.
        FreeSpace = "free_space",
        /// Jobs that wait for the worker threads.
        WorkerQueue = "worker_queue",
        /// Batches that wait for the committer.
        CommitQueue = "commit_queue",
        /// Mail that one account takes from one part of the network.
        DeliveryRate = "delivery_rate",
        /// Messages between shards.
        ShardQueue = "shard_queue",
        /// Connections to the control socket.
        ControlConnections = "control_connections",
        /// Connections that ask for metrics.
        MetricsConnections = "metrics_connections",
        /// Queries to upstreams for one DNS lookup.
        DnsQueriesPerLookup = "dns_queries_per_lookup",
        /// DNS lookups under way at once.
        DnsLookupsUnderWay = "dns_lookups_under_way",
        /// Datagrams that are no answer to a DNS query.
        DnsDatagramsWrong = "dns_datagrams_wrong",
        /// Aliases of one DNS answer.
        DnsAliases = "dns_aliases",
    }
}

label! {
    /// What came of a DNS lookup.
    DnsOutcome {
        /// Records.
        Found = "found",
        /// The name has none of the type.
        NoData = "nodata",
        /// The name doesn't exist.
        NoName = "noname",
        /// No usable answer.
        Failed = "failed",
    }
}

label! {
    /// Whether a DNS answer can be believed.
    DnsAuthenticity {
        /// A chain of trust leads to it.
        Secure = "secure",
        /// It is proven that none does.
        Insecure = "insecure",
        /// The chain of trust is broken.
        Bogus = "bogus",
        /// It isn't known.
        Indeterminate = "indeterminate",
    }
}

label! {
    /// Where a DNS answer came from.
    DnsSource {
        /// Upstreams were asked.
        Upstream = "upstream",
        /// It was remembered.
        Cache = "cache",
        /// Another lookup of the same was under way.
        Shared = "shared",
        /// An expired one stood in.
        Stale = "stale",
    }
}

label! {
    /// How an upstream is asked.
    DnsWay {
        /// UDP or TCP.
        Plain = "plain",
        /// TLS.
        Tls = "tls",
    }
}

label! {
    /// Why an upstream gave nothing that can be used.
    DnsFault {
        /// It was silent.
        Timeout = "timeout",
        /// It can't be reached, or closed the connection.
        Network = "network",
        /// TLS failed.
        Tls = "tls",
        /// SERVFAIL.
        ServerFailure = "servfail",
        /// REFUSED.
        Refused = "refused",
        /// Another response code.
        Code = "code",
        /// What it sent can't be read.
        Garbage = "garbage",
        /// It doesn't resolve.
        Referral = "referral",
        /// What it gave is bogus, and another gave what isn't.
        Bogus = "bogus",
    }
}

label! {
    /// Queues whose length is shown.
    Queue {
        /// Batches for the committer.
        Commit = "commit",
        /// Jobs for the worker threads.
        Worker = "worker",
        /// Messages between shards.
        Shard = "shard",
    }
}

label! {
    /// Work that gives back what was removed.
    Upkeep {
        /// Contents that nothing refers to, and their chunks.
        Contents = "contents",
        /// Messages that were removed from a mailbox, once no session can fetch them.
        Messages = "messages",
        /// Rows of deleted mailboxes.
        Mailboxes = "mailboxes",
        /// Rows of removed accounts.
        Accounts = "accounts",
        /// What is remembered of removed messages for clients that synchronise.
        Tombstones = "tombstones",
        /// Evaluations of DMARC that are too old to be reported.
        Evaluations = "evaluations",
        /// Reports of other servers that are older than they are kept.
        Reports = "reports",
        /// What became of recipients that left the queue.
        Retired = "retired",
        /// Calls of webhooks that wait for too long, and what became of others.
        Webhooks = "webhooks",
        /// Failures of addresses that nothing was sent to for long.
        Strikes = "strikes",
        /// Policies of MTA-STS that weren't used for long.
        Policies = "policies",
        /// What is known of the TLS of domains that an account sent nothing to for long.
        TlsKnown = "tls_known",
        /// How TLS with other servers went on days that are too long ago to be reported.
        TlsResults = "tls_results",
        /// Disk space.
        Space = "space",
    }
}

/// Every metric of the server.
#[derive(Clone, Copy, Debug)]
pub struct Metrics {
    /// Connections accepted, by listener (its place in the configuration).
    pub connections: Counters<1>,
    /// Connections open, by protocol.
    pub connections_open: Gauges<1>,
    /// Connections refused, by protocol and [`Refusal`].
    pub connections_refused: Counters<2>,
    /// TLS handshakes completed, by protocol.
    pub tls_handshakes: Counters<1>,
    /// Time of SMTP commands, by [`SmtpCommand`].
    pub smtp_command: Histograms<1>,
    /// SMTP replies, by [`SmtpCommand`] and [`ReplyClass`].
    pub smtp_replies: Counters<2>,
    /// Recipients of messages over SMTP and submission, by [`Delivery`].
    pub deliveries: Counters<1>,
    /// What the checks of messages from outside found.
    pub checks: CheckMetrics,
    /// Octets of messages received.
    pub message_octets: Histogram,
    /// Time of IMAP commands, by [`ImapCommand`].
    pub imap_command: Histograms<1>,
    /// IMAP commands, by [`ImapCommand`] and [`Completion`].
    pub imap_completions: Counters<2>,
    /// Authentications, by protocol, [`Mechanism`] and [`Authentication`].
    pub authentications: Counters<3>,
    /// Limits met, by [`Limit`].
    pub limit_hits: Counters<1>,
    /// Length of queues, by [`Queue`].
    pub queue_length: Gauges<1>,
    /// Requests over the control socket.
    pub control_requests: Counter,
    /// What happens to messages on their way to other servers.
    pub queue: QueueMetrics,
    /// Reports to other domains.
    pub reporting: ReportMetrics,
    /// Calls of webhooks.
    pub webhooks: WebhookMetrics,
    /// Reports that other servers send.
    pub received: ReceivedMetrics,
    /// What maintenance does.
    pub upkeep: UpkeepMetrics,
    /// What the resolver does.
    pub dns: DnsMetrics,
    /// Threads that serve connections.
    pub shards: Gauge,
}

/// What the resolver does.
#[derive(Clone, Copy, Debug)]
pub struct DnsMetrics {
    /// Lookups, by [`DnsOutcome`] and [`DnsAuthenticity`].
    pub lookups: Counters<2>,
    /// Lookups, by [`DnsSource`].
    pub sources: Counters<1>,
    /// Queries to upstreams, by [`DnsWay`].
    pub queries: Counters<1>,
    /// Queries that gave nothing, by [`DnsFault`].
    pub faults: Counters<1>,
    /// Limits met, by [`Limit`].
    pub limits: Counters<1>,
    /// Answers that had to make room for others.
    pub evicted: Counter,
    /// Memory of answers.
    pub cache_octets: Gauge,
    /// Answers in memory.
    pub cache_entries: Gauge,
}

impl DnsMetrics {
    fn register(b: &mut Builder, limits: Counters<1>) -> Self {
        let label = |name, values| Label::new(name, values);
        Self {
            lookups: b.counters(
                "postrider_dns_lookups_total",
                "DNS lookups, by what came of them and whether it can be believed.",
                [
                    label("outcome", names(DnsOutcome::ALL, DnsOutcome::name)),
                    label("authenticity", names(DnsAuthenticity::ALL, DnsAuthenticity::name)),
                ],
            ),
            sources: b.counters(
                "postrider_dns_answers_total",
                "Answers to DNS lookups, by where they came from.",
                [label("source", names(DnsSource::ALL, DnsSource::name))],
            ),
            queries: b.counters(
                "postrider_dns_queries_total",
                "Queries to upstreams.",
                [label("way", names(DnsWay::ALL, DnsWay::name))],
            ),
            faults: b.counters(
                "postrider_dns_upstream_errors_total",
                "Queries to upstreams that gave nothing, by reason.",
                [label("reason", names(DnsFault::ALL, DnsFault::name))],
            ),
            limits,
            evicted: b.counter(
                "postrider_dns_cache_evicted_total",
                "DNS answers that had to make room for others.",
            ),
            cache_octets: b.gauge("postrider_dns_cache_bytes", "Memory of DNS answers."),
            cache_entries: b.gauge("postrider_dns_cache_entries", "DNS answers in memory."),
        }
    }
}

/// What the checks of messages from outside found.
#[derive(Clone, Copy, Debug)]
pub struct CheckMetrics {
    /// Messages from outside, by [`Verdict`] and [`Reason`].
    pub decisions: Counters<2>,
    /// Time of a check, by [`Method`].
    pub verify: Histograms<1>,
    /// What checks found, by [`Method`] and [`Finding`].
    pub findings: Counters<2>,
}

impl CheckMetrics {
    fn register(b: &mut Builder) -> Self {
        Self {
            decisions: b.counters(
                "postrider_smtpserver_decisions_total",
                "Messages from outside, by what was decided and why: once for each way in which their recipients decide.",
                [
                    Label::new("verdict", names(Verdict::ALL, Verdict::name)),
                    Label::new("reason", names(Reason::ALL, Reason::name)),
                ],
            ),
            verify: b.histograms(
                "postrider_verify_duration_seconds",
                "Time to find out whether a message is from whom it says, by method; lookups in DNS included.",
                &SECONDS,
                [Label::new("method", names(Method::ALL, Method::name))],
            ),
            findings: b.counters(
                "postrider_verify_results_total",
                "What was found out about messages from outside.",
                [
                    Label::new("method", names(Method::ALL, Method::name)),
                    Label::new("result", names(Finding::ALL, Finding::name)),
                ],
            ),
        }
    }
}

/// What maintenance does.
#[derive(Clone, Copy, Debug)]
pub struct UpkeepMetrics {
    /// What it removed, by [`Upkeep`].
    pub removed: Counters<1>,
    /// Steps that failed and are done again, by [`Upkeep`].
    pub failures: Counters<1>,
    /// Octets of contents that it removed.
    pub content_octets: Counter,
    /// Octets of disk space that it gave back.
    pub disk_octets: Counter,
}

impl UpkeepMetrics {
    fn register(b: &mut Builder) -> Self {
        let work = || Label::new("work", names(Upkeep::ALL, Upkeep::name));
        Self {
            removed: b.counters(
                "postrider_maintenance_removed_total",
                "Contents, messages, rows and tombstones that maintenance removed; runs that gave disk space back.",
                [work()],
            ),
            failures: b.counters(
                "postrider_maintenance_failures_total",
                "Steps of maintenance that failed and are done again.",
                [work()],
            ),
            content_octets: b.counter(
                "postrider_maintenance_content_bytes_total",
                "Size of contents that maintenance removed.",
            ),
            disk_octets: b.counter(
                "postrider_maintenance_disk_bytes_total",
                "Disk space that maintenance gave back.",
            ),
        }
    }
}

pub(super) fn names<T: Copy>(all: &[T], name: impl Fn(T) -> &'static str) -> Vec<&'static str> {
    all.iter().map(|value| name(*value)).collect()
}

impl Metrics {
    /// Registers every metric. `listeners` are the names of the configured listeners, in order.
    pub fn register(builder: &mut Builder, listeners: &[&str]) -> Self {
        let protocol = || Label::new("protocol", Protocol::ALL.map(Protocol::name));
        let listeners = if listeners.is_empty() { &["none"][..] } else { listeners };
        let smtp_command = || Label::new("command", names(SmtpCommand::ALL, SmtpCommand::name));
        let imap_command = || Label::new("command", names(ImapCommand::ALL, ImapCommand::name));
        let b = builder;
        let limit_hits = b.counters(
            "postrider_limit_hits_total",
            "Times that a limit was met.",
            [Label::new("limit", names(Limit::ALL, Limit::name))],
        );
        Self {
            connections: b.counters(
                "postrider_connections_total",
                "Connections accepted, by listener.",
                [Label::new("listener", listeners.iter().copied())],
            ),
            connections_open: b.gauges("postrider_connections_open", "Connections open.", [protocol()]),
            connections_refused: b.counters(
                "postrider_connections_refused_total",
                "Connections that were not served, by reason.",
                [protocol(), Label::new("reason", names(Refusal::ALL, Refusal::name))],
            ),
            tls_handshakes: b.counters(
                "postrider_tls_handshakes_total",
                "TLS handshakes completed.",
                [protocol()],
            ),
            smtp_command: b.histograms(
                "postrider_smtpserver_command_duration_seconds",
                "Time from an SMTP command to its reply.",
                &SECONDS,
                [smtp_command()],
            ),
            smtp_replies: b.counters(
                "postrider_smtpserver_replies_total",
                "SMTP replies, by command and first digit.",
                [smtp_command(), Label::new("class", names(ReplyClass::ALL, ReplyClass::name))],
            ),
            deliveries: b.counters(
                "postrider_smtpserver_delivery_total",
                "Recipients of messages received, by what became of them.",
                [Label::new("result", names(Delivery::ALL, Delivery::name))],
            ),
            checks: CheckMetrics::register(b),
            message_octets: b.histogram(
                "postrider_message_size_bytes",
                "Size of messages received.",
                &OCTETS,
            ),
            imap_command: b.histograms(
                "postrider_imap_command_duration_seconds",
                "Time from an IMAP command to its completion.",
                &SECONDS,
                [imap_command()],
            ),
            imap_completions: b.counters(
                "postrider_imap_commands_total",
                "IMAP commands, by how they ended.",
                [imap_command(), Label::new("result", names(Completion::ALL, Completion::name))],
            ),
            authentications: b.counters(
                "postrider_authentication_total",
                "Authentications, by how they ended.",
                [
                    protocol(),
                    Label::new("mechanism", names(Mechanism::ALL, Mechanism::name)),
                    Label::new("result", names(Authentication::ALL, Authentication::name)),
                ],
            ),
            limit_hits,
            queue_length: b.gauges(
                "postrider_queue_length",
                "Entries waiting, by queue.",
                [Label::new("queue", names(Queue::ALL, Queue::name))],
            ),
            control_requests: b
                .counter("postrider_control_requests_total", "Requests over the control socket."),
            queue: QueueMetrics::register(b),
            reporting: ReportMetrics::register(b),
            webhooks: WebhookMetrics::register(b),
            received: ReceivedMetrics::register(b),
            upkeep: UpkeepMetrics::register(b),
            dns: DnsMetrics::register(b, limit_hits),
            shards: b.gauge("postrider_shards", "Threads that serve connections."),
        }
    }

    /// The counter of times that `limit` was met.
    pub fn limit(&self, limit: Limit) -> Counter {
        self.limit_hits.at([limit as usize])
    }
}

/// The label of a SASL mechanism.
pub const fn mechanism(mechanism: postrider_proto::sasl::Mechanism) -> Mechanism {
    use postrider_proto::sasl::Mechanism as Sasl;
    match mechanism {
        Sasl::Plain => Mechanism::Plain,
        Sasl::Login => Mechanism::Login,
        Sasl::CramMd5 => Mechanism::CramMd5,
        Sasl::ScramSha1 => Mechanism::ScramSha1,
        Sasl::ScramSha1Plus => Mechanism::ScramSha1Plus,
        Sasl::ScramSha256 => Mechanism::ScramSha256,
        Sasl::ScramSha256Plus => Mechanism::ScramSha256Plus,
        Sasl::External => Mechanism::External,
    }
}
