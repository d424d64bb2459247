//! One attempt to deliver an entry.

use std::net::IpAddr;
use std::rc::Rc;

use postrider_delivery::attempt::{self, Attempt, Plan, Step};
use postrider_delivery::destination::{self, Destination, Own, Target, Unfound};
use postrider_delivery::order::Dialed;
use postrider_delivery::outcome::{Failure, Signal, Status, Verdict};
use postrider_delivery::security::{Begins, Counter, DaneHost, Here, Sts, TlsEvent};
use postrider_delivery::sts::Found;
use postrider_delivery::tls_results::{self, Attempted};
use postrider_delivery::transport::{LocalAddresses, RelayTls, Transport};
use postrider_proto::address::{Domain, ForwardPath, HeloName, ReversePath};
use postrider_proto::smtp::envelope::{BodyType, Envelope, OriginalRecipient, Recipient, Return};
use postrider_storage::directory::Directory;
use postrider_storage::ids::{AccountId, QueueId};
use postrider_storage::queue::{self, Claimed, suppression};
use postrider_storage::reader::Reader;
use postrider_storage::rows::{Kind, QueueRow, RecipientRow, Ret, SuppressionRow};
use postrider_storage::store::StoreError;

use super::downgrade::Original;
use super::hosts::{Busy, Offered, Parcel, Transported, Tries};
use super::outcome::{Tried, configured_keep};
use super::routing::{Passage, Routing, transport_named};
use super::session::{Session, chance};
use super::{learned, sts, translate};
use crate::clock::unix_now;
use crate::lookup::{Questions, Resolver};
use crate::metrics::{AttemptResult, AttemptTls};
use crate::reporting;
use crate::resolver::unanswered;
use crate::shard::Shard;

/// Questions to DNS for one attempt.
const QUESTIONS_MAX: u32 = 200;

/// How an attempt ended.
pub(super) enum Ended {
    /// With this learnt of the domain.
    Tried(Signal),
    /// Before it began: not before this.
    Busy(i64),
    /// It is over; but the outcome of the message before can't be written, so that nothing more is to be begun.
    Stuck,
}

/// What is known of an entry besides its rows.
struct Known {
    prefix: Vec<u8>,
    /// Places of recipients to whom the account sends no more.
    suppressed: Vec<(usize, SuppressionRow)>,
    routing: Routing,
}

/// Attempts to deliver an entry, and has the outcome written.
pub(super) async fn run(session: &mut Session, id: QueueId, claimed: Claimed) -> Ended {
    let began = std::time::Instant::now();
    let now = unix_now();
    let Claimed { entry, recipients, .. } = claimed;
    let made = u16::try_from(entry.attempts).unwrap_or(u16::MAX);
    let backoff = super::outcome::backoff_of(session.shard.shared.config.delivery.backoff, &entry);
    let attempts_max = backoff.attempts_max;
    session.shared = None;
    let mut tried = Tried::new(id, entry, recipients, now);
    match prepare(session, &tried).await {
        Err(error) => {
            let failure =
                Failure::untried(Status::temporary(3, 0), format!("the queue can't be read: {error}"));
            tried.all(&Verdict::of(failure, made, attempts_max));
        }
        Ok(known) => {
            tried.keep = Some(known.routing.keep);
            for (place, row) in &known.suppressed {
                let failure = Failure::untried(Status::permanent(1, 0), suppressed_words(row));
                tried.verdicts[*place] = Some(Verdict::Failed { failure, is_expired: false });
                tried.suppressed.push(*place);
            }
            if let Some(failure) = known.routing.stopped() {
                tried.all(&Verdict::of(failure, made, attempts_max));
            } else if known.suppressed.len() < tried.recipients.len()
                && let Err(Busy(until)) = by_transport(session, &mut tried, known, made, attempts_max).await
            {
                return Ended::Busy(until);
            }
        }
    }
    let signal = tried.signal;
    let (known, recorder) = (&session.shard.shared.metrics.queue, &session.shard.recorder);
    let result = AttemptResult::of(&tried.verdicts);
    recorder.increment(known.attempts(tried.entry.attempts, result));
    recorder.observe_duration(known.attempt_duration(tried.tls, result), began.elapsed());
    let is_written = session.written().await;
    session.conclude(tried, backoff);
    if is_written { Ended::Tried(signal) } else { Ended::Stuck }
}

async fn prepare(session: &Session, tried: &Tried) -> Result<Known, StoreError> {
    let (id, account) = (tried.id, AccountId::new(tried.entry.sender));
    let addresses: Vec<String> = tried.recipients.iter().map(|(_, row)| text(&row.address)).collect();
    let (passage, configured) = (Passage::of(&tried.entry), configured_keep(&session.shard.shared.config));
    let ask = move |directory: &Directory<'_>| Routing::read(directory, &passage, configured);
    let routing = session.shard.ask_directory(ask).await?;
    let read = move |reader: &Reader| {
        let mut suppressed = Vec::new();
        if let Some(account) = account {
            for (place, address) in addresses.iter().enumerate() {
                let row = suppression::lookup(reader, account, address)?;
                suppressed.extend(row.map(|row| (place, row)));
            }
        }
        Ok(Known { prefix: queue::prefix(reader, id)?, suppressed, routing })
    };
    session.shard.shared.reads.run(read).await
}

/// Why nothing is sent to an address.
fn suppressed_words(row: &SuppressionRow) -> String {
    let list = "the address is on the suppression list of the account that sent the message";
    match (row.automatic, &*row.reason) {
        (true, "") => format!("{list}, since mail to it failed before"),
        (true, said) => format!("{list}, since mail to it failed before: {said}"),
        (false, "") => list.to_owned(),
        (false, why) => format!("{list}: {why}"),
    }
}

/// Chooses the transport, and goes its way.
async fn by_transport(
    session: &mut Session,
    tried: &mut Tried,
    known: Known,
    made: u16,
    attempts_max: u16,
) -> Result<(), Busy> {
    let shared = std::sync::Arc::clone(&session.shard.shared);
    let delivery = &shared.config.delivery;
    let target = match Target::parse(&tried.entry.domain) {
        Ok(target) => target,
        Err(error) => {
            let failure =
                Failure::untried(Status::permanent(1, 2), format!("the recipient's domain: {error}"));
            tried.all(&Verdict::of(failure, made, attempts_max));
            return Ok(());
        }
    };
    let name = known.routing.transport(&tried.entry, &target, &delivery.routes, made.saturating_sub(1));
    let transport = match transport_named(delivery, &name) {
        Ok(transport) => transport,
        Err(failure) => {
            tried.all(&Verdict::of(failure, made, attempts_max));
            return Ok(());
        }
    };
    over(session, tried, known, &target, (&name, &transport), made, attempts_max).await
}

/// Where a message goes over a transport.
struct Way {
    destination: Destination,
    /// What is known of the domain's policy.
    policy: Found,
    port: u16,
    /// Of a relay, its TLS.
    relay: Option<(RelayTls, Begins)>,
}

/// Finds out where a message goes over a transport that connects to somebody.
async fn find(
    shard: &Rc<Shard>,
    resolver: &Resolver,
    questions: &Questions,
    target: &Target,
    transport: &Transport,
    own: Own<'_>,
) -> Result<Way, Unfound> {
    let delivery = &shard.shared.config.delivery;
    if let Some((relay, port)) = transport.relay() {
        let destination = Destination::relay(target.clone(), &relay.host);
        return Ok(Way { destination, policy: Sts::None.into(), port, relay: transport.relay_tls() });
    }
    let policy = match target {
        Target::Domain(domain) => sts::policy(shard, resolver, domain, delivery.policy_port).await,
        Target::Literal(_) => Sts::None.into(),
    };
    let known = &shard.shared.metrics.queue;
    shard.recorder.increment(known.destinations);
    let destination = destination::find(questions, target, own).await?;
    if destination.original.is_secure() {
        shard.recorder.increment(known.destinations_authentic);
    }
    Ok(Way { destination, policy, port: delivery.port, relay: None })
}

/// Delivers over a transport that connects to somebody.
async fn over(
    session: &mut Session,
    tried: &mut Tried,
    known: Known,
    target: &Target,
    (name, transport): (&str, &Transport),
    made: u16,
    attempts_max: u16,
) -> Result<(), Busy> {
    let shard = Rc::clone(&session.shard);
    let resolver: Resolver = shard.resolver.clone().unwrap_or_else(unanswered);
    let questions = Questions::new(Rc::clone(&resolver), QUESTIONS_MAX);
    // Mail for our own domains comes to this server like anybody's.
    let own = if known.routing.is_ours { Own::default() } else { shard.deliveries.own() };
    let Way { destination, policy, port, relay } =
        match find(&shard, &resolver, &questions, target, transport, own).await {
            Ok(way) => way,
            Err(unfound) => {
                tried.signal = Signal::from(&unfound);
                if let (Unfound::Failed { errors, .. }, Target::Domain(domain)) = (&unfound, target) {
                    let result = tls_results::unfound(domain.as_str(), errors);
                    reporting::tls::record(&shard, domain, tried.entry.kind, result.into_iter().collect());
                }
                let failure = Failure::from(&unfound);
                session.shared = (tried.signal == Signal::Down).then(|| (name.into(), failure.clone()));
                tried.all(&Verdict::of(failure, made, attempts_max));
                return Ok(());
            }
        };
    let is_secure = destination.original.is_secure();
    let waiting: Vec<usize> =
        (0..tried.verdicts.len()).filter(|place| tried.verdicts[*place].is_none()).collect();
    let recipients: Vec<Recipient> =
        waiting.iter().filter_map(|place| recipient(&tried.recipients.get(*place)?.1)).collect();
    if recipients.len() != waiting.len() {
        let failure = Failure::untried(Status::permanent(1, 3), "the recipient's address can't be read");
        tried.all(&Verdict::of(failure, made, attempts_max));
        return Ok(());
    }
    let plan = Plan {
        kind: translate::kind(&tried.entry),
        requirement: translate::requirement(&tried.entry),
        attempts_before: made.saturating_sub(1),
        recipients: waiting.len(),
        sts: &policy.sts,
        dialed: dialed(&destination, &tried.entry.dialed),
        families: transport.families(),
        port,
        here: Here::Tls,
        relay,
        own,
    };
    let hello = match transport {
        Transport::Socks(socks) => HeloName::Domain(socks.hostname.clone()),
        _ => HeloName::Domain(shard.shared.config.delivery.hostname.domain().clone()),
    };
    let way = transported(name, transport, &hello);
    let original = Original::new(known.prefix, &tried.entry);
    let parcel = Parcel {
        envelope: envelope(&tried.entry),
        recipients: &recipients,
        original: &original,
        octets: tried.entry.size,
        noted: (tried.id, tried.entry.attempts),
    };
    let mut drawn = chance(tried.id) ^ u64::from(made);
    let mut attempt = Attempt::new(plan, destination, &mut || {
        drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        drawn >> 33
    });
    let Driven { offered, sessions } = drive(session, &mut attempt, &questions, &way, &parcel).await?;
    let conclusion = attempt.conclude(made, attempts_max);
    for counter in &conclusion.counters {
        count(&shard, *counter);
    }
    tried.signal = conclusion.signal;
    tried.tls = AttemptTls::of(&conclusion.tried);
    session.shared = conclusion.shared.map(|failure| (name.into(), failure));
    tried.dialed = conclusion.tried.iter().flat_map(|host| host.addresses.iter().copied()).collect();
    for (place, verdict) in waiting.iter().zip(conclusion.verdicts) {
        tried.verdicts[*place] = Some(verdict);
    }
    if let (Some(offered), Some(account), None, Target::Domain(domain)) =
        (offered, AccountId::new(tried.entry.sender), relay, target)
    {
        let has_dane = conclusion
            .tried
            .iter()
            .any(|host| host.facts.is_some_and(|facts| facts.dane == DaneHost::Usable));
        let row = learned::row(unix_now(), offered, is_secure, has_dane, &policy.sts);
        learned::note(&shard, account, domain, row);
    }
    if let (None, Target::Domain(domain)) = (relay, target) {
        note_tls(&shard, domain, tried.entry.kind, &policy, conclusion.tried, sessions);
    }
    Ok(())
}

/// Records what reports on TLS say of an attempt.
fn note_tls(
    shard: &Shard,
    domain: &Domain,
    kind: Kind,
    policy: &Found,
    tried: Vec<attempt::Tried>,
    sessions: Vec<Option<tls_results::Session>>,
) {
    // A message over an open connection is no session of its own.
    let has_news = sessions.iter().any(Option::is_some)
        || tried.iter().any(|host| host.rule.is_none())
        || policy.fault.is_some();
    if !has_news {
        return;
    }
    let mut sessions = sessions.into_iter();
    // There is one for each host with a rule: those that were gone to.
    let hosts = tried.into_iter().map(|host| {
        let session = host.rule.and_then(|_| sessions.next().flatten());
        (host, session)
    });
    let attempted = Attempted {
        domain: domain.as_str(),
        sts: &policy.sts,
        sts_fault: policy.fault.as_ref(),
        hosts: &hosts.collect::<Vec<_>>(),
    };
    reporting::tls::record(shard, domain, kind, tls_results::results(&attempted));
}

/// What was seen of the hosts of an attempt.
struct Driven {
    /// What the last of them offers.
    offered: Option<Offered>,
    /// Of each that was gone to, what reports say of a new connection.
    sessions: Vec<Option<tls_results::Session>>,
}

/// Goes to the hosts of an attempt, until it has come to its end.
async fn drive(
    session: &mut Session,
    attempt: &mut Attempt<'_>,
    questions: &Questions,
    way: &Transported<'_>,
    parcel: &Parcel<'_>,
) -> Result<Driven, Busy> {
    let shard = Rc::clone(&session.shard);
    let mut offered = None;
    let mut sessions = Vec::new();
    let mut tries = Tries::First;
    while let Step::Dial(dial) = attempt.next(questions).await {
        let result = match session.at_host(&dial, way, parcel, tries).await {
            Ok(result) => result,
            Err(Busy(until)) if tries == Tries::First => return Err(Busy(until)),
            // What was tried already counts.
            Err(Busy(_)) => break,
        };
        tries = Tries::Another;
        if result.observed {
            for counter in dial.rule.after(TlsEvent::Observed).1 {
                count(&shard, counter);
            }
        }
        if result.uncertain {
            shard.recorder.increment(shard.shared.metrics.queue.possible_duplicates);
        }
        offered = result.offered.or(offered);
        sessions.push(result.session);
        attempt.ended(result.end, &result.dialed);
    }
    Ok(Driven { offered, sessions })
}

/// How a transport connects.
fn transported<'a>(name: &'a str, transport: &'a Transport, hello: &'a HeloName) -> Transported<'a> {
    Transported {
        name,
        is_relay: transport.relay().is_some(),
        hello,
        local: match transport {
            Transport::Direct(direct) => direct.local,
            _ => LocalAddresses::default(),
        },
        proxy: match transport {
            Transport::Socks(socks) => Some(socks.address),
            _ => None,
        },
        auth: transport.relay().and_then(|(relay, _)| relay.auth.as_ref()),
    }
}

/// Counts what a decision on TLS wants counted.
fn count(shard: &Shard, counter: Counter) {
    let known = &shard.shared.metrics.queue;
    let counter = match counter {
        Counter::DaneRequired => known.dane_required,
        Counter::DaneUnverified => known.dane_unverified,
        Counter::TlsaFailed => known.tlsa_errors,
        Counter::Ignored(what) => known.ignored.at([what as usize]),
        Counter::RequireTlsUnsupported(why) => known.requiretls.at([why as usize]),
        Counter::PlaintextFallback => known.plaintext_fallback,
    };
    shard.recorder.increment(counter);
}

/// The addresses that an entry was dialed to, whichever hosts had them: those of a host are found among them.
fn dialed(destination: &Destination, addresses: &[IpAddr]) -> Dialed {
    let mut dialed = Dialed::default();
    let literal = destination.address.map(|address| format!("[{address}]"));
    let hosts = destination.hosts.iter().map(|host| destination::text_of(&host.host)).chain(literal);
    for host in hosts {
        addresses.iter().for_each(|address| dialed.add(&host, *address));
    }
    dialed
}

pub(super) fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// What MAIL says of an entry.
fn envelope(entry: &QueueRow) -> Envelope {
    let address = postrider_proto::address::Address::parse(&text(&entry.mail_from)).ok();
    let reverse_path = address.map_or(ReversePath::Null, ReversePath::Address);
    Envelope {
        body: match (entry.binary, entry.eight_bit) {
            (true, _) => BodyType::BinaryMime,
            (false, true) => BodyType::EightBitMime,
            (false, false) => BodyType::SevenBit,
        },
        smtputf8: entry.smtputf8,
        ret: match entry.ret {
            Ret::Unspecified => None,
            Ret::Full => Some(Return::Full),
            Ret::Headers => Some(Return::Headers),
        },
        envelope_id: (!entry.envelope_id.is_empty()).then(|| text(&entry.envelope_id).into()),
        declared_octets: Some(entry.size),
        ..Envelope::new(reverse_path)
    }
}

fn recipient(row: &RecipientRow) -> Option<Recipient> {
    let path = ForwardPath::parse(&format!("<{}>", text(&row.address))).ok()?;
    let original = text(&row.original);
    let original = original.split_once(';').map(|(address_type, address)| OriginalRecipient {
        address_type: address_type.into(),
        address: address.into(),
    });
    Some(Recipient { path, notify: row.notify, original, token: 0 })
}
