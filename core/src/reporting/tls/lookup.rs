//! Whether a domain wants reports, and where (RFC 8460 §3).

use std::rc::Rc;

use postrider_dns::{Lookup as _, Outcome, RData, RecordType, parse_name};
use postrider_proto::address::{Address, Domain};
use postrider_proto::tlsrpt::{Destination, Record, record_name};
use tracing::debug;

use crate::lookup::Questions;
use crate::shard::Shard;

/// Questions to DNS for a record.
const QUESTIONS_MAX: u32 = 20;

/// The mailboxes to which a domain wants reports; none without a record. An error is that DNS doesn't say.
pub(super) async fn mailboxes(shard: &Shard, domain: &Domain) -> Result<Vec<Address>, String> {
    let Some(resolver) = &shard.resolver else { return Ok(Vec::new()) };
    let Ok(name) = parse_name(&record_name(domain)) else { return Ok(Vec::new()) };
    let questions = Questions::new(Rc::clone(resolver), QUESTIONS_MAX);
    let answer = questions.lookup(&name, RecordType::TXT).await;
    match answer.outcome {
        Outcome::Failed => return Err(answer.reason),
        Outcome::NoName | Outcome::NoData => return Ok(Vec::new()),
        Outcome::Found => {}
    }
    let texts = answer.data().filter_map(|data| match data {
        RData::TXT(text) => Some(text.txt_data.concat()),
        _ => None,
    });
    let mut records = texts.filter(|text| Record::is_one(text));
    let (Some(text), None) = (records.next(), records.next()) else { return Ok(Vec::new()) };
    let record = match Record::parse(&text) {
        Ok(record) => record,
        Err(error) => {
            debug!(%domain, %error, "a record that asks for reports on TLS can't be used");
            return Ok(Vec::new());
        }
    };
    let mailboxes = record.destinations.into_iter().filter_map(|destination| match destination {
        Destination::Mail(address) => Some(address),
        Destination::Https(uri) => {
            debug!(%domain, %uri, "reports on TLS are sent by mail only");
            None
        }
    });
    Ok(mailboxes.collect())
}
