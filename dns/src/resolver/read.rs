//! What a response says of a question: aliases, records, or that there are none.

use std::collections::HashSet;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use crate::limits::{ALIASES_MAX, NEGATIVE_TTL_MAX, RECORDS_MAX, TTL_MAX};
use crate::names;

/// What is at the end of the aliases of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Found(Vec<Record>),
    NoData,
    NoName,
    /// The response stops at an alias: its target has to be asked for.
    Alias,
}

/// A response, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Owner and target of each alias.
    pub aliases: Vec<(Name, Name)>,
    /// What is at the last target, or at the name itself.
    pub end: End,
    /// Seconds for which all of it may be kept.
    pub ttl: u32,
}

/// Why a response can't be used, in words.
pub(crate) type Unusable = &'static str;

/// Reads what `message` says of `name` and `kind`. Only records of the names on the way are looked at
/// (RFC 5452 §6: nothing else is taken from a response).
pub(crate) fn read(message: &Message, name: &Name, kind: RecordType) -> Result<Reading, Unusable> {
    let mut aliases: Vec<(Name, Name)> = Vec::new();
    let mut here = name.clone();
    let mut ttl = TTL_MAX;
    loop {
        let at_here = |record: &&Record| record.dns_class == DNSClass::IN && record.name == here;
        let is_kind = |record: &&Record| record.record_type() == kind;
        let mut found: Vec<Record> =
            message.answers.iter().filter(at_here).filter(is_kind).take(RECORDS_MAX + 1).cloned().collect();
        if found.len() > RECORDS_MAX {
            return Err("there are too many records");
        }
        if !found.is_empty() {
            for record in &mut found {
                record.name.clone_from(&here);
                lower(&mut record.data);
            }
            keep_one_of_each(&mut found);
            ttl = found.iter().map(|record| record.ttl).min().unwrap_or(0).min(ttl);
            return Ok(Reading { aliases, end: End::Found(found), ttl });
        }
        let Some((target, lasts)) = alias(message, &here)? else { break };
        ttl = ttl.min(lasts);
        if target == *name || aliases.iter().any(|(from, to)| *from == target || *to == target) {
            return Err("the aliases form a loop");
        }
        if aliases.len() == ALIASES_MAX {
            return Err("there are too many aliases");
        }
        aliases.push((here, target.clone()));
        here = target;
    }
    let (end, lasts) = negative(message, &here, !aliases.is_empty())?;
    Ok(Reading { aliases, end, ttl: ttl.min(lasts) })
}

/// Drops records that are there already (RFC 2181 §5). A signature holds with and without them, so whoever is on
/// the way can add some; and a second null MX, or a second policy, would say something else than one.
fn keep_one_of_each(records: &mut Vec<Record>) {
    let mut seen = HashSet::with_capacity(records.len());
    let first: Vec<bool> = records.iter().map(|record| seen.insert(&record.data)).collect();
    if first.contains(&false) {
        let mut first = first.into_iter();
        records.retain(|_| first.next().unwrap_or(true));
    }
}

/// Lowers the names in data. Servers write names as parts of the question, whose letters we sent in random case.
fn lower(data: &mut RData) {
    match data {
        RData::MX(mx) => mx.exchange = mx.exchange.to_lowercase(),
        RData::CNAME(name) => name.0 = name.0.to_lowercase(),
        RData::NS(name) => name.0 = name.0.to_lowercase(),
        RData::PTR(name) => name.0 = name.0.to_lowercase(),
        RData::SRV(srv) => srv.target = srv.target.to_lowercase(),
        RData::SOA(soa) => {
            soa.mname = soa.mname.to_lowercase();
            soa.rname = soa.rname.to_lowercase();
        }
        _ => {}
    }
}

/// Where the alias at `here` leads, and for how long.
fn alias(message: &Message, here: &Name) -> Result<Option<(Name, u32)>, Unusable> {
    let mut own: Option<(Name, u32)> = None;
    for record in of_class_in(message) {
        let RData::CNAME(target) = &record.data else { continue };
        if record.name != *here {
            continue;
        }
        let mut target = target.0.to_lowercase();
        target.set_fqdn(true);
        match &own {
            // RFC 2181 §10.1: an alias has one canonical name.
            Some((other, _)) if *other != target => return Err("an alias has two targets"),
            _ => own = Some((target, record.ttl)),
        }
    }
    // A DNAME comes with the CNAME that was made of it (RFC 6672 §3.1), which must say the same.
    match (own, rewritten(message, here)?) {
        (Some((own, _)), Some((made, _))) if own != made => Err("a CNAME contradicts a DNAME above it"),
        (Some((target, own)), Some((_, above))) => Ok(Some((target, own.min(above)))),
        (own, above) => Ok(own.or(above)),
    }
}

/// The name that the DNAME closest above `here` makes of it, and for how long. Only the closest counts, as it does
/// for who judges the response: what was judged must be what is read.
fn rewritten(message: &Message, here: &Name) -> Result<Option<(Name, u32)>, Unusable> {
    let is_dname = |data: &RData| matches!(data, RData::Unknown { code: RecordType::DNAME, .. });
    let above = of_class_in(message)
        .filter(|record| is_dname(&record.data) && record.name != *here && record.name.zone_of(here));
    let mut closest: Option<&Record> = None;
    for record in above {
        match closest {
            Some(other) if other.name == record.name && other.data != record.data => {
                return Err("a DNAME has two targets");
            }
            Some(other) if names::wire_labels(&other.name) >= names::wire_labels(&record.name) => {}
            _ => closest = Some(record),
        }
    }
    let Some(dname) = closest else { return Ok(None) };
    let target = names::dname_target(&dname.data).ok_or("a DNAME can't be read")?;
    let made = names::replace_end(here, &dname.name, &target)
        .ok_or("a DNAME makes a name that is too long")?
        .to_lowercase();
    Ok(Some((made, dname.ttl)))
}

fn of_class_in(message: &Message) -> impl Iterator<Item = &Record> {
    message.answers.iter().filter(|record| record.dns_class == DNSClass::IN)
}

/// What it means that there are no records at `here`, and for how long (RFC 2308 §2 and §5).
fn negative(message: &Message, here: &Name, after_alias: bool) -> Result<(End, u32), Unusable> {
    let lasts = message.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) if record.name.zone_of(here) => {
            Some(record.ttl.min(soa.minimum).min(NEGATIVE_TTL_MAX))
        }
        _ => None,
    });
    match message.metadata.response_code {
        ResponseCode::NXDomain => Ok((End::NoName, lasts.unwrap_or(0))),
        ResponseCode::NoError => match lasts {
            Some(lasts) => Ok((End::NoData, lasts)),
            None if after_alias => Ok((End::Alias, TTL_MAX)),
            None => {
                let refers = message.authorities.iter().any(|record| record.record_type() == RecordType::NS);
                if refers && !message.metadata.recursion_available {
                    return Err("it refers to other servers, and doesn't resolve");
                }
                Ok((End::NoData, 0))
            }
        },
        _ => Err("its response code says neither that there are records nor that there are none"),
    }
}
