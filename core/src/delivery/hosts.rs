//! One host: connect, secure, and hand the message over.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use postrider_delivery::attempt::Dial;
use postrider_delivery::outcome::{self, HostEnd, RecipientEnd, Signal, Unable, Unreachable};
use postrider_delivery::schedule::{Admission, IfBusy};
use postrider_delivery::security::{AfterTls, Channel, Lacks, Starttls, TlsEvent};
use postrider_delivery::tls_results::{self, Fault};
use postrider_delivery::transport::{Auth, LocalAddresses};
use postrider_proto::address::HeloName;
use postrider_proto::mime::downgrade::Target;
use postrider_proto::smtp::client::{Extension, Outcome, TlsState, Unsendable};
use postrider_proto::smtp::envelope::{Envelope, Recipient};

use super::connection::SendError;
use super::dial::{DialError, Way, dial};
use super::downgrade::{Fit, NotFit, Original};
use super::ends::Noted;
use super::outcome::Written;
use super::session::{Open, Session};
use super::setup::{Came, converse};
use super::ways::LastWay;
use super::{faults, translate};
use crate::runtime::net::Stream;
use crate::runtime::spawn;

/// Time for connecting to all addresses of a host.
const DIAL_TIME: Duration = Duration::from_secs(30);
/// The least time for one of them.
const DIAL_TIME_LEAST: Duration = Duration::from_secs(5);
/// Time for everything before the first message: greeting, EHLO, TLS, authentication.
const SETUP_TIME: Duration = Duration::from_secs(5 * 60);
/// Time for a message, besides a second for each of its mebibytes.
const TRANSACTION_TIME: Duration = Duration::from_secs(30 * 60);

/// How a transport connects.
pub(super) struct Transported<'a> {
    /// Its name; empty for direct delivery without a route.
    pub(super) name: &'a str,
    /// It leads to a relay, whatever the domain.
    pub(super) is_relay: bool,
    /// What we call ourselves.
    pub(super) hello: &'a HeloName,
    pub(super) local: LocalAddresses,
    pub(super) proxy: Option<SocketAddr>,
    pub(super) auth: Option<&'a Auth>,
}

/// A message to hand over.
pub(super) struct Parcel<'a> {
    /// Without recipients.
    pub(super) envelope: Envelope,
    /// The recipients of the entry, by their places.
    pub(super) recipients: &'a [Recipient],
    /// The message.
    pub(super) original: &'a Original,
    pub(super) octets: u64,
    /// What is noted before its end is sent.
    pub(super) noted: Noted,
}

/// What came of a host.
pub(super) struct HostResult {
    pub(super) end: HostEnd,
    /// The addresses that were dialed.
    pub(super) dialed: Vec<IpAddr>,
    /// What was learnt of its TLS; none when it wasn't found out.
    pub(super) offered: Option<Offered>,
    /// What was seen only, and isn't right.
    pub(super) observed: bool,
    /// What reports on TLS say of a connection that was opened.
    pub(super) session: Option<tls_results::Session>,
    /// The other side may have the message although it didn't say so.
    pub(super) uncertain: bool,
}

/// What a host offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Offered {
    pub(super) starttls: bool,
    pub(super) requiretls: bool,
}

/// Whether a host is the first of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tries {
    /// If there are connections enough, the attempt is postponed until there is a place.
    First,
    /// Others were tried before, which counts.
    Another,
}

/// Nothing was tried: there are connections enough.
pub(super) struct Busy(pub(super) i64);

impl HostResult {
    fn of(end: HostEnd, dialed: Vec<IpAddr>) -> Self {
        Self { end, dialed, offered: None, observed: false, session: None, uncertain: false }
    }
}

/// Whether a connection is as good for other domains at the host. A certificate that TLSA records vouch for may be right by the
/// name of the domain.
fn is_shared(dial: &Dial) -> bool {
    !dial.rule.verification.has_dane() && !dial.rule.observed.has_dane()
}

impl Open {
    /// Whether it is a connection for this, as far as this is known of it.
    fn fits(&self, dial: &Dial, way: &Transported<'_>, channel: &Channel) -> bool {
        self.leads_there(dial, way, channel) && self.connection.takes_more()
    }

    /// The same, used up or not.
    fn leads_there(&self, dial: &Dial, way: &Transported<'_>, channel: &Channel) -> bool {
        self.host == dial.host && *self.transport == *way.name && dial.may_use(&self.address, channel)
    }
}

impl Session {
    /// Hands a message to a host, over the open connection if that will do.
    pub(super) async fn at_host(
        &mut self,
        dial: &Dial,
        way: &Transported<'_>,
        parcel: &Parcel<'_>,
        tries: Tries,
    ) -> Result<HostResult, Busy> {
        let mut is_used_up = false;
        if let Some(open) = &mut self.open {
            let fits = open.fits(dial, way, &open.channel);
            // One that lay idle may be closed on the other side.
            let is_there = match open.rested.take() {
                Some(rested) if fits => open.connection.is_alive(rested).await,
                _ => true,
            };
            if fits && is_there {
                if let Some(result) = self.over_used(dial, parcel).await {
                    return Ok(result);
                }
                is_used_up = true;
            } else if is_there && open.leads_there(dial, way, &open.channel) {
                // It is used up. The one that follows has its place: others that wait don't pass it.
                self.say_good_bye();
            } else {
                self.hang_up(Signal::Good);
            }
        }
        self.note_way(dial, way);
        if !is_used_up && self.adopt(dial, way).await {
            // For this domain it is a session of its own.
            let session = self.open.as_ref().and_then(|open| open.seen.clone());
            if let Some(result) = self.over_used(dial, parcel).await {
                return Ok(HostResult { session, ..result });
            }
        }
        let mut dialed = Vec::new();
        let (stream, address) = match self.connect(dial, way, &mut dialed, tries).await? {
            Ok(connected) => connected,
            Err(why) => return Ok(HostResult::of(HostEnd::Unreachable(why), dialed)),
        };
        let sending = stream.local_address().ok().flatten().filter(|_| way.proxy.is_none());
        let mut came = Came::default();
        let ready = self.set_up(dial, way, stream, address, &mut came).await;
        self.count_dane(dial, &came);
        let session = self.watched(dial, sending, address, came);
        let mut result = match ready {
            Ok(ready) => {
                self.open = Some(Open { seen: session.clone(), ..ready.open });
                if is_shared(dial) {
                    self.schedule(|schedule, id, _| schedule.share(id));
                }
                let mut result = self.hand_over(dial, parcel, dialed).await;
                result.offered = Some(ready.offered);
                result.observed = ready.observed;
                result
            }
            Err((end, offered)) => HostResult { offered, ..HostResult::of(end, dialed) },
        };
        result.session = session;
        // The connection in clear that follows has the place of this one: others that wait don't pass it.
        let is_followed =
            matches!(&result.end, HostEnd::Tls(event) if dial.rule.after(*event).0 == AfterTls::Plaintext);
        if self.open.is_none() && !is_followed {
            let signal = result.end.signal();
            self.schedule(|schedule, id, now| schedule.disconnected(id, signal, now));
        }
        Ok(result)
    }

    /// Hands the message over the open connection, over which others went. None when the host ended it before it said yes or no
    /// to anything of this message: many servers take some messages on one connection only, and say so by 421, or by
    /// nothing. That is no word on this message and none on how busy the host is; another connection follows, and has the
    /// place of this one.
    async fn over_used(&mut self, dial: &Dial, parcel: &Parcel<'_>) -> Option<HostResult> {
        let address = self.open.as_ref()?.address;
        let result = self.hand_over(dial, parcel, vec![address]).await;
        if self.open.is_none() {
            if !result.uncertain && result.end.is_before_any_word() {
                tracing::debug!(host = %dial.host, %address, "a connection that was used before has ended");
                return None;
            }
            let signal = result.end.signal();
            self.schedule(|schedule, id, now| schedule.disconnected(id, signal, now));
        }
        Some(result)
    }

    /// Counts the comparison of a certificate with TLSA records.
    fn count_dane(&self, dial: &Dial, came: &Came) {
        let (known, recorder) = (&self.shard.shared.metrics.queue, &self.shard.recorder);
        if came.seen.is_compared {
            recorder.increment(known.dane_verified);
        }
        if came.seen.dane.is_some() {
            recorder.increment(known.dane_mismatches);
            if dial.rule.is_relaxed {
                recorder.increment(known.ignored_at_host.at([0]));
            }
        }
    }

    /// What reports say of a connection to a host. Nothing of one that is to have no TLS, of one that broke off before,
    /// and where nothing here can verify anything.
    fn watched(
        &self,
        dial: &Dial,
        sending: Option<SocketAddr>,
        receiving: IpAddr,
        came: Came,
    ) -> Option<tls_results::Session> {
        let has_authorities = self.shard.deliveries.connector().problem().is_none();
        let is_wanted = dial.rule.starttls != Starttls::Never && has_authorities;
        let Came { tls, seen, helo } = came;
        Some(tls_results::Session {
            sending: sending.map(|address| address.ip().to_canonical()),
            receiving,
            helo: Some(helo).filter(|helo| !helo.is_empty()),
            tls: tls.filter(|_| is_wanted)?,
            pkix: seen.pkix.as_ref().map(faults::of_certificate),
            dane: seen.dane.as_ref().map(Fault::from),
        })
    }

    /// Notes where the mail of the domain goes, for the session that comes next.
    fn note_way(&self, dial: &Dial, way: &Transported<'_>) {
        let address = dial.addresses.first().filter(|_| way.is_relay && is_shared(dial));
        let known = address.map(|address| LastWay {
            transport: way.name.into(),
            host: dial.host.clone(),
            address: *address,
            source: way.local.to(address),
        });
        self.shard.deliveries.ways.note(self.domain, known);
    }

    /// Takes over a connection to the host that lies idle after a message to another domain; whether there was one.
    ///
    /// Not where TLSA records count: a certificate may be right for them by the name of that other domain.
    async fn adopt(&mut self, dial: &Dial, way: &Transported<'_>) -> bool {
        let is_right = |open: &Open| open.fits(dial, way, &Channel { dane: false, ..open.channel });
        if !is_shared(dial) || !self.take_over(is_right) {
            return false;
        }
        let Some(open) = &mut self.open else { return false };
        let is_alive = match open.rested.take() {
            Some(rested) => open.connection.is_alive(rested).await,
            None => true,
        };
        if !is_alive {
            self.hang_up(Signal::Good);
        }
        is_alive
    }

    /// Takes over a connection that lies idle and is as it is wanted, whoever it was of; whether there was one.
    pub(super) fn take_over(&mut self, is_right: impl Fn(&Open) -> bool) -> bool {
        let found = {
            let mut idle = self.shard.deliveries.idle.borrow_mut();
            let found = idle.iter().find(|(_, open)| is_right(open)).map(|(session, _)| *session);
            found.and_then(|session| Some((session, idle.remove(&session)?)))
        };
        let Some((idle, open)) = found else { return false };
        if !self.schedule(|schedule, id, now| schedule.take_over(id, idle, now)) {
            spawn("say good-bye", open.connection.quit());
            return false;
        }
        self.open = Some(Open { channel: Channel { dane: false, ..open.channel }, ..open });
        true
    }

    /// Connects to the first address that takes the connection.
    async fn connect(
        &self,
        dial_to: &Dial,
        way: &Transported<'_>,
        dialed: &mut Vec<IpAddr>,
        tries: Tries,
    ) -> Result<Result<(Stream, IpAddr), Unreachable>, Busy> {
        let until = Instant::now() + DIAL_TIME;
        let mut failure = Unreachable::NoRoute;
        let mut left = u32::try_from(dial_to.addresses.len()).unwrap_or(u32::MAX);
        for address in &dial_to.addresses {
            let source = way.local.to(address);
            let is_first = tries == Tries::First && dialed.is_empty();
            let if_busy = if is_first { IfBusy::Leave } else { IfBusy::GoOn };
            let admission =
                self.schedule(|schedule, id, now| schedule.connect(id, *address, source, if_busy, now));
            match admission {
                Admission::Go => {}
                Admission::Down { until } => {
                    failure = Unreachable::Known { until };
                    left -= 1;
                    continue;
                }
                Admission::Busy { until } if dialed.is_empty() => return Err(Busy(until)),
                Admission::Busy { .. } => break,
            }
            dialed.push(*address);
            let share = until.saturating_duration_since(Instant::now()) / left.max(1);
            let deadline = Instant::now() + share.max(DIAL_TIME_LEAST);
            let local = way.proxy.is_none().then_some(source).flatten();
            let to = SocketAddr::new(*address, dial_to.port);
            match dial(to, Way { local, proxy: way.proxy }, deadline).await {
                Ok(stream) => return Ok(Ok((stream, *address))),
                Err(error) => {
                    tracing::debug!(host = %dial_to.host, %error, "no connection");
                    failure = match &error {
                        DialError::Timeout { .. } => Unreachable::TimedOut,
                        DialError::Proxy { .. } => Unreachable::Proxy,
                        DialError::Connect { .. } if way.proxy.is_some() => Unreachable::Proxy,
                        DialError::Connect { error, .. } => match error.kind() {
                            std::io::ErrorKind::ConnectionRefused => Unreachable::Refused,
                            std::io::ErrorKind::TimedOut => Unreachable::TimedOut,
                            _ => Unreachable::NoRoute,
                        },
                    };
                    // What goes wrong at a proxy, or behind it, says nothing of the host for those that don't go there.
                    if way.proxy.is_none() {
                        self.schedule(|schedule, id, now| schedule.disconnected(id, Signal::Down, now));
                    }
                    left -= 1;
                }
            }
        }
        Ok(Err(failure))
    }

    /// Everything before the first message.
    async fn set_up(
        &self,
        dial: &Dial,
        way: &Transported<'_>,
        stream: Stream,
        address: IpAddr,
        came: &mut Came,
    ) -> Result<Ready, (HostEnd, Option<Offered>)> {
        let deadline = Instant::now() + SETUP_TIME;
        let connector = self.shard.deliveries.connector();
        let pool = self.shard.shared.pool.clone();
        let (connection, mut offered) = converse(connector, dial, way, stream, pool, deadline, came).await?;
        let seen = &came.seen;
        let is_encrypted = *connection.tls() == TlsState::Active;
        // A connection in clear after TLS failed doesn't mean that there is none.
        offered.starttls |= connection.capabilities().has(Extension::StartTls);
        if let TlsState::Refused(_) = connection.tls() {
            // What follows is decided by the rule: another connection, or another host.
            return Err((HostEnd::Tls(TlsEvent::Refused), Some(Offered { starttls: true, ..offered })));
        }
        let looked = |wants: bool| is_encrypted && wants;
        let channel = Channel {
            is_encrypted,
            is_fallback: !is_encrypted && dial.rule.starttls == Starttls::Never,
            pkix: looked(dial.rule.verification.has_pkix() || dial.rule.observed.has_pkix())
                && seen.pkix.is_none()
                && connector.problem().is_none(),
            dane: looked(dial.rule.verification.has_dane()) && seen.dane.is_none(),
            offers_requiretls: is_encrypted && connection.capabilities().has(Extension::RequireTls),
        };
        offered.requiretls = channel.offers_requiretls;
        let lacks = match dial.rule.allows(&channel) {
            Ok(_) => None,
            Err(Lacks::Tls) => Some(TlsEvent::NotOffered),
            Err(Lacks::Verification) => Some(TlsEvent::Certificate),
            Err(Lacks::RequireTls) => Some(TlsEvent::NoRequireTls),
        };
        if let Some(event) = lacks {
            spawn("say good-bye", connection.quit());
            return Err((HostEnd::Tls(event), Some(offered)));
        }
        tracing::info!(
            host = %dial.host,
            %address,
            tls = connection.tls_info().map_or("none", |info| info.version),
            cipher = connection.tls_info().map_or("none", |info| info.cipher),
            pkix = channel.pkix,
            dane = channel.dane,
            "connected to another server"
        );
        let observed = is_encrypted && (seen.pkix.is_some() || seen.dane.is_some());
        let open = Open {
            connection,
            transport: way.name.into(),
            host: dial.host.clone(),
            address,
            channel,
            seen: None,
            rested: None,
        };
        Ok(Ready { open, offered, observed })
    }

    /// Hands the message to the host of the open connection, which is gone afterwards if it can't be used any more.
    async fn hand_over(&mut self, dial: &Dial, parcel: &Parcel<'_>, dialed: Vec<IpAddr>) -> HostResult {
        let (writing, slot) = (RefCell::new(self.writing.take()), &self.slot);
        let Some(open) = &mut self.open else {
            return HostResult::of(HostEnd::Unreachable(Unreachable::NoRoute), dialed);
        };
        let hand = dial.rule.allows(&open.channel);
        let mebibytes = parcel.octets >> 20;
        let deadline = Instant::now() + TRANSACTION_TIME + Duration::from_secs(mebibytes);
        let has_dsn = open.connection.capabilities().has(Extension::Dsn);
        let mut ends: Vec<Option<RecipientEnd>> = vec![None; dial.recipients.len()];
        let mut uncertain = false;
        let has_eight_bit = open.connection.capabilities().has(Extension::EightBitMime);
        let target = if has_eight_bit { Target::EightBit } else { Target::SevenBit };
        let mut narrow: Option<Rc<Fit>> = None;
        let mut is_too_wide = parcel.original.has_long_lines();
        let end = loop {
            let pending: Vec<usize> = (0..ends.len()).filter(|place| ends[*place].is_none()).collect();
            if pending.is_empty() {
                break None;
            }
            if std::mem::take(&mut is_too_wide) {
                match parcel.original.shortened(&self.shard, target).await {
                    Ok(fit) => narrow = fit,
                    Err(error) => break Some(unreadable(&error)),
                }
            }
            let mut envelope = parcel.envelope.clone();
            envelope.requiretls = hand.as_ref().is_ok_and(|hand| hand.requiretls);
            envelope.recipients = pending
                .iter()
                .filter_map(|place| parcel.recipients.get(*dial.recipients.get(*place)?).cloned())
                .collect();
            let mut source = match &narrow {
                Some(fit) => {
                    envelope.body = fit.body();
                    envelope.declared_octets = Some(fit.octets);
                    parcel.original.converted(fit)
                }
                None => parcel.original.source(),
            };
            let noted = async {
                // At most one message is on its way whose outcome isn't on the disk.
                let earlier = writing.borrow_mut().take();
                if let Some(mut earlier) = earlier {
                    match earlier.done().await {
                        Some(Written::Synced) => slot.settle(),
                        Some(Written::No) => {}
                        None => {
                            *writing.borrow_mut() = Some(earlier);
                            return Err("the outcome of the message before can't be written".to_owned());
                        }
                    }
                }
                slot.note(parcel.noted).map_err(|error| error.to_string())
            };
            let reads = &self.shard.shared.reads;
            match open.connection.deliver(envelope, &mut source, reads, noted, deadline).await {
                Ok(finished) => {
                    uncertain |= finished.uncertain;
                    for (place, outcome) in pending.iter().zip(&finished.outcomes) {
                        ends[*place] = translate::recipient_end(outcome, has_dsn);
                    }
                    let goes_on = finished.outcomes.contains(&Outcome::NextTransaction);
                    if goes_on && !open.connection.takes_more() {
                        break None;
                    }
                }
                Err(SendError::Unsendable(why @ (Unsendable::EightBit | Unsendable::Binary)))
                    if narrow.is_none() =>
                {
                    match parcel.original.fit(&self.shard, target).await {
                        Ok(fit) => narrow = Some(fit),
                        Err(NotFit::Obstacle(obstacle)) => {
                            tracing::info!(host = %dial.host, %obstacle, "a message can't be made fit");
                            break Some(unable(&why));
                        }
                        Err(NotFit::Store(error)) => break Some(unreadable(&error)),
                    }
                }
                Err(SendError::Unsendable(why)) => break Some(unable(&why)),
                Err(error) => break Some(unreadable(&error)),
            }
        };
        self.writing = writing.into_inner();
        let is_any = ends.iter().any(Option::is_some);
        // Recipients of which nothing is said wait for another connection, or count as broken off.
        let rest = match &end {
            None => RecipientEnd::Later,
            Some(_) => {
                RecipientEnd::Broken { stage: outcome::Stage::Recipient, how: outcome::Broken::Closed }
            }
        };
        let end = match end {
            Some(end) if !is_any => end,
            _ => HostEnd::Transaction(
                ends.into_iter().map(|end| end.unwrap_or_else(|| rest.clone())).collect(),
            ),
        };
        self.open = self.open.take().filter(|open| open.connection.is_ready());
        HostResult { uncertain, ..HostResult::of(end, dialed) }
    }
}

/// A connection that is ready for a message.
struct Ready {
    open: Open,
    offered: Offered,
    observed: bool,
}

fn unreadable(error: &dyn std::fmt::Display) -> HostEnd {
    tracing::error!(%error, "a message could not be read for delivery");
    HostEnd::Broken { stage: outcome::Stage::Content, how: outcome::Broken::Here }
}

fn unable(why: &Unsendable) -> HostEnd {
    match why {
        Unsendable::TooLarge { .. } => HostEnd::Unable(Unable::TooLarge),
        Unsendable::EightBit | Unsendable::Binary => HostEnd::Unable(Unable::EightBit),
        Unsendable::Utf8 => HostEnd::Unable(Unable::Utf8),
        Unsendable::RequireTls => HostEnd::Unable(Unable::RequireTls),
        Unsendable::UsedUp | Unsendable::NoRecipients | Unsendable::NotReady => {
            HostEnd::Broken { stage: outcome::Stage::Mail, how: outcome::Broken::Closed }
        }
    }
}
