//! One report: who gets it, what is in it, and its way into the queue.

use std::rc::Rc;
use std::time::{Duration, Instant};

use postrider_authentication::dmarc::{
    Destination, Destinations, DmarcResult, Mode, QUERIES_MAX, destinations, lookup,
};
use postrider_proto::address::{Address, Domain};
use postrider_proto::dmarc::Record;
use postrider_proto::dmarc::report::{PublishedPolicy, Report};
use postrider_proto::gzip;
use postrider_proto::mime::compose::File;
use postrider_proto::smtp::trace::date;
use postrider_storage::engine::Batch;
use postrider_storage::evaluations::{self, Group, RETENTION_SECONDS};
use postrider_storage::reader::Reader;
use postrider_storage::rows::{Kind, RequireTls};
use postrider_storage::store::StoreError;
use tracing::{debug, info};

use super::aggregate::{Aggregate, Limits, aggregate};
use super::{forget, read, write};
use crate::lookup::Questions;
use crate::reporting::addresses::wanted;
use crate::reporting::outgoing::{self, Draft};
use crate::shard::Shard;

/// How long DNS has to say where a report goes.
const TIME: Duration = Duration::from_secs(60);
/// Reports of one interval: so many times what one has.
const PARTS_MAX: usize = 100;

/// What became of a report.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// So many messages were queued, and nothing is left.
    Reports(usize),
    /// DNS doesn't say where it goes.
    Later,
}

/// Sends the report of a domain on an interval, in several parts when it is large, or removes what nobody wants.
pub(super) async fn send(shard: &Rc<Shard>, now: i64, group: &Group) -> Result<Sent, String> {
    let since = now.saturating_sub(RETENTION_SECONDS);
    let has_reason = {
        let group = group.clone();
        read(shard, move |reader| has_reason(reader, &group, since)).await?
    };
    let Some(domain) = Domain::parse(&group.domain).ok().filter(|_| has_reason) else {
        forget(shard, group).await?;
        return Ok(Sent::Reports(0));
    };
    let to = match receivers(shard, &domain, now).await? {
        Receivers::Unclear => return Ok(Sent::Later),
        Receivers::These(to) if to.is_empty() => {
            forget(shard, group).await?;
            return Ok(Sent::Reports(0));
        }
        Receivers::These(to) => to,
    };
    let submitter = shard.shared.config.hostname.domain().clone();
    let mut sent = 0;
    for _ in 0..PARTS_MAX {
        let (group, submitter) = (group.clone(), submitter.clone());
        let made = read(shard, move |reader| make(reader, &group, since, &submitter)).await?;
        let has_more = made.has_more;
        match made.parcel {
            Some(parcel) => {
                queue(shard, now, &to, parcel, made.used).await?;
                sent += 1;
            }
            None => write(shard, made.used).await?,
        }
        if !has_more {
            break;
        }
    }
    Ok(Sent::Reports(sent))
}

/// Whether any evaluation is a reason for a report.
fn has_reason(reader: &Reader, group: &Group, since: i64) -> Result<bool, StoreError> {
    for row in evaluations::of(reader, group) {
        let (id, row) = row?;
        if !row.optional && id.time >= since {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Who gets a report.
enum Receivers {
    /// DNS doesn't say.
    Unclear,
    /// These; nobody when there are none.
    These(Vec<Destination>),
}

/// Asks the domain's record, as it is now, and those to whom it wants reports to go.
async fn receivers(shard: &Shard, domain: &Domain, now: i64) -> Result<Receivers, String> {
    let Some(resolver) = &shard.resolver else { return Ok(Receivers::Unclear) };
    let questions = Questions::new(Rc::clone(resolver), QUERIES_MAX + Destinations::QUERIES_MAX);
    questions.limit_time(Instant::now() + TIME);
    let verdict = lookup(&questions, domain, Mode::default()).await;
    if verdict.result == DmarcResult::Temperror {
        debug!(%domain, problem = verdict.problem, "no report on DMARC now: its record isn't known");
        return Ok(Receivers::Unclear);
    }
    // A record above it is another one's.
    let Some(policies) = verdict.policies.filter(|policies| policies.domain == *domain) else {
        return Ok(Receivers::These(Vec::new()));
    };
    let Destinations { mut found, refused, is_unclear } =
        destinations(&questions, domain, &policies.record, Mode::default()).await;
    for (uri, reason) in refused {
        debug!(%domain, uri, reason, "no report on DMARC goes there");
    }
    if found.is_empty() && is_unclear {
        return Ok(Receivers::Unclear);
    }
    let addresses = found.iter().map(|one| one.address.clone()).collect();
    let wanted = wanted(shard, addresses, now).await.map_err(|error| error.to_string())?;
    found.retain(|one| wanted.contains(&one.address));
    Ok(Receivers::These(found))
}

/// A report as a file.
pub(super) struct Parcel {
    report_id: Box<str>,
    domain: Box<str>,
    subject: String,
    file_name: String,
    octets: Vec<u8>,
    messages: u64,
}

/// What was made of evaluations.
struct Made {
    /// None when all are too old.
    parcel: Option<Parcel>,
    /// Removes them.
    used: Batch,
    /// Whether there are others.
    has_more: bool,
}

/// Makes a report of the first evaluations.
fn make(reader: &Reader, group: &Group, since: i64, submitter: &Domain) -> Result<Made, StoreError> {
    let Aggregate { records, ids, begin, policy, has_more } =
        aggregate(evaluations::of(reader, group), since, Limits::DEFAULT)?;
    let mut used = Batch::new();
    ids.iter().for_each(|id| evaluations::remove(&mut used, group, *id));
    let Some(first) = ids.first().filter(|_| !records.is_empty()) else {
        return Ok(Made { parcel: None, used, has_more });
    };
    // The same evaluations make the same report, however often they are tried.
    let seed = format!("{} {} {} {} {}", group.domain, group.due, first.time, first.blob.0, first.recipient);
    let digest = ring::digest::digest(&ring::digest::SHA256, seed.as_bytes());
    let unique: String = digest.as_ref().iter().take(8).map(|octet| format!("{octet:02x}")).collect();
    let policy = Record::parse(policy.as_bytes()).unwrap_or_default();
    let messages = records.iter().map(|record| record.count).sum();
    let report = Report {
        organization_name: submitter.as_str().into(),
        email: format!("postmaster@{submitter}").into(),
        extra_contact_info: None,
        report_id: format!("{}.{unique}", hour(begin)).into(),
        begin,
        end: group.due - 1,
        // One element for all: RFC 9990 has no more.
        errors: (!policy.faults.is_empty()).then(|| faults(&policy).into()).into_iter().collect(),
        generator: None,
        policy: PublishedPolicy::new(&group.domain, &policy),
        records,
    };
    let parcel = Parcel {
        subject: report.subject(submitter),
        file_name: report.file_name(submitter, &unique),
        octets: gzip::compress(report.to_xml().as_bytes()),
        report_id: report.report_id,
        domain: report.policy.domain,
        messages,
    };
    Ok(Made { parcel: Some(parcel), used, has_more })
}

/// What is wrong with a record.
fn faults(record: &Record) -> String {
    record.faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Day and hour of a time, as `20261126.00`.
fn hour(time: i64) -> String {
    let time = jiff::Timestamp::from_second(time).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y%m%d.%H").to_string()
}

/// Octets of a file in a message: in lines of 76, each with its CR LF.
fn encoded(octets: usize) -> u64 {
    let encoded = octets.div_ceil(3) * 4;
    (encoded + encoded.div_ceil(76) * 2) as u64
}

/// Queues a report for those who take one of its size; when nobody does, tells them that there is one (RFC 7489
/// §7.2.2).
async fn queue(
    shard: &Rc<Shard>,
    now: i64,
    to: &[Destination],
    parcel: Parcel,
    used: Batch,
) -> Result<(), String> {
    let size = encoded(parcel.octets.len());
    let takes = |one: &&Destination| one.octets_max.is_none_or(|max| size <= max);
    let mut receivers: Vec<Address> = to.iter().filter(takes).map(|one| one.address.clone()).collect();
    let is_too_large = receivers.is_empty();
    if is_too_large {
        receivers = to.iter().map(|one| one.address.clone()).collect();
    }
    let submitter = shard.shared.config.hostname.domain();
    let Parcel { report_id, domain, subject, file_name, octets, messages } = &parcel;
    let text = if is_too_large {
        let uris: Vec<String> = receivers.iter().map(|address| format!("mailto:{address}")).collect();
        format!(
            "Report-Date: {}\nReport-Domain: {domain}\nReport-ID: {report_id}\nReport-Size: {size}\nSubmitter: {submitter}\n\
             Submitting-URI: {}\n\nThis aggregate report of DMARC is not sent, since it is larger than all its receivers take.\n",
            date(now),
            uris.join(","),
        )
    } else {
        format!(
            "This is an aggregate report of DMARC about mail from {domain} (RFC 7489).\n\nIt is sent by {submitter}, \
             since the record at _dmarc.{domain} asks for it.\n"
        )
    };
    let file = File { media_type: "application/gzip", name: file_name, octets };
    let draft = Draft {
        kind: Kind::DmarcReport,
        to: &receivers,
        subject: subject.clone(),
        message_id: format!("dmarc.{report_id}@{submitter}"),
        fields: Vec::new(),
        report_type: None,
        text,
        file: (!is_too_large).then_some(file),
        require_tls: RequireTls::Unset,
        now,
    };
    outgoing::send(shard, draft, used).await.map_err(|error| error.to_string())?;
    let metrics = &shard.shared.metrics.reporting;
    shard.recorder.increment(if is_too_large { metrics.dmarc_errors } else { metrics.dmarc_queued });
    info!(%domain, %report_id, messages, size, too_large = is_too_large, "queued an aggregate report of DMARC");
    Ok(())
}
