//! Servers, with everything that goes wrong.

use std::net::IpAddr;

use postrider_delivery::attempt::Dial;
use postrider_delivery::outcome::{Answer as Reply, Broken, HostEnd, RecipientEnd, Stage, Unreachable};
use postrider_delivery::security::{Channel, Starttls, TlsEvent};

use crate::world::{DAY, Sort, place};

/// One meeting of a client with a server.
pub struct Visit<'a> {
    pub dial: &'a Dial,
    pub address: IpAddr,
    pub now: i64,
    /// Connections to the address, this one included.
    pub connections: u32,
    /// An open connection.
    pub open: Option<Channel>,
    /// Attempts for the entry, this one included.
    pub made: u16,
    /// When and from where the server saw the entry for the first time, where it keeps a list of such.
    pub grey: &'a mut Option<(i64, IpAddr)>,
}

pub struct Meeting {
    pub seconds: i64,
    pub end: HostEnd,
    /// The connection, when it can be used again.
    pub channel: Option<Channel>,
}

fn broken(stage: Stage) -> RecipientEnd {
    RecipientEnd::Broken { stage, how: Broken::Closed }
}

fn refused(stage: Stage, code: u16, enhanced: (u16, u16, u16)) -> RecipientEnd {
    RecipientEnd::Refused { stage, answer: Reply::new(code, Some(enhanced), "no") }
}

fn ended(seconds: i64, end: HostEnd) -> Meeting {
    Meeting { seconds, end, channel: None }
}

/// What a server does with a client.
pub fn meet(visit: Visit<'_>) -> Meeting {
    let (sort, number) = match place(visit.address) {
        Some((domain, number)) => (Sort::of(domain), number),
        None => (Sort::Provider, 1),
    };
    let unreachable = match sort {
        Sort::Refuses => Some((1, Unreachable::Refused)),
        Sort::Stalls => Some((30, Unreachable::TimedOut)),
        Sort::DownForTwoDays if visit.now < 2 * DAY => Some((30, Unreachable::TimedOut)),
        Sort::FirstHostDown if number == 1 => Some((1, Unreachable::Refused)),
        _ => None,
    };
    if let Some((seconds, why)) = unreachable {
        return ended(seconds, HostEnd::Unreachable(why));
    }
    let is_busy = sort == Sort::Says421 || sort == Sort::Says421ToTheSecond && visit.connections > 1;
    if is_busy {
        let answer = Reply::new(421, Some((4, 3, 2)), "too many");
        return ended(1, HostEnd::Refused { stage: Stage::Greeting, answer });
    }
    let channel = match visit.open.map_or_else(|| greet(sort, number, visit.dial), Ok) {
        Ok(channel) => channel,
        Err(event) => return ended(1, HostEnd::Tls(event)),
    };
    visit.dial.rule.allows(&channel).expect("the rule is kept");
    let ends = transaction(sort, visit);
    let is_good = !ends.iter().any(|end| matches!(end, RecipientEnd::Broken { .. }));
    Meeting { seconds: 1, end: HostEnd::Transaction(ends), channel: is_good.then_some(channel) }
}

/// EHLO, and TLS as the rule says.
fn greet(sort: Sort, number: u32, dial: &Dial) -> Result<Channel, TlsEvent> {
    let rule = dial.rule;
    let offers_tls = sort != Sort::WithoutTls;
    match (rule.starttls, offers_tls) {
        (Starttls::Never, _) => return Ok(Channel { is_fallback: true, ..Channel::default() }),
        (Starttls::Opportunistic, false) => return Ok(Channel::default()),
        (_, false) => return Err(TlsEvent::Refused),
        _ => {}
    }
    if matches!(sort, Sort::BreaksTls | Sort::BreaksTlsEnforced) {
        return Err(TlsEvent::Handshake);
    }
    let channel = Channel {
        is_encrypted: true,
        is_fallback: false,
        pkix: matches!(sort, Sort::Enforced | Sort::NoRequireTls | Sort::Provider),
        dane: sort == Sort::Dane || sort == Sort::WrongCertificateAtFirst && number == 2,
        offers_requiretls: sort != Sort::NoRequireTls,
    };
    let is_wrong =
        rule.verification.has_dane() && !channel.dane || rule.verification.has_pkix() && !channel.pkix;
    if is_wrong {
        return Err(TlsEvent::Certificate);
    }
    match rule.allows(&channel) {
        Ok(_) => Ok(channel),
        Err(_) => Err(TlsEvent::NoRequireTls),
    }
}

fn transaction(sort: Sort, visit: Visit<'_>) -> Vec<RecipientEnd> {
    let taken = || RecipientEnd::Delivered {
        answer: Reply::new(250, Some((2, 0, 0)), "taken"),
        has_dsn: visit.address.is_ipv6(),
    };
    let is_known = match *visit.grey {
        Some((since, from)) => from == visit.address && visit.now >= since + 300,
        None => false,
    };
    if sort == Sort::Greylists && !is_known && visit.grey.is_none_or(|(_, from)| from != visit.address) {
        *visit.grey = visit.grey.or(Some((visit.now, visit.address)));
    }
    let of = |recipient: usize| match sort {
        Sort::Says4 => refused(Stage::Recipient, 450, (4, 2, 1)),
        Sort::KnowsHalf if recipient % 2 == 1 => refused(Stage::Recipient, 550, (5, 1, 1)),
        Sort::BlocksSix if visit.address.is_ipv6() => refused(Stage::Recipient, 550, (5, 7, 1)),
        Sort::Greylists if !is_known => refused(Stage::Recipient, 450, (4, 7, 0)),
        Sort::DropsTheFirst if visit.made == 1 => broken(Stage::Content),
        _ => taken(),
    };
    visit.dial.recipients.iter().map(|recipient| of(*recipient)).collect()
}
