//! Finding the policy of a domain for those who send mail to it (RFC 8461 §3): its record in DNS, and the policy itself
//! over HTTPS.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use postrider_dns::lookups::addresses;
use postrider_dns::{Answer, Lookup, Outcome, RData, RecordType, parse_name};
use postrider_proto::address::Domain;
use postrider_proto::mta_sts::{
    Policy, PolicyError, Progress, Record, RecordError, ResponseError, ResponseReader, policy_host,
    record_name, request,
};
use rustls_pki_types::ServerName;

use super::dial::{DialError, Way, dial};
use super::secure::{Connector, Pkix, Wanted};
use crate::lookup::{Questions, Resolver};
use crate::runtime::timeout_at;
use crate::tls::{Transport, TransportError};

/// Time for all of a fetch (RFC 8461 §3.3 suggests it).
const FETCH_TIME: Duration = Duration::from_secs(60);
/// Time for a connection to one of the host's addresses.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Addresses of the host that are tried.
const ADDRESSES_MAX: usize = 4;
/// Questions to DNS for one policy.
const QUESTIONS_MAX: u32 = 30;
/// Octets read at once.
const READ_OCTETS: usize = 4096;

/// What DNS says of a domain's policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Announced {
    /// There is one, and this is its id.
    Yes(Record),
    /// There is none, or nothing that could be one; why.
    No(NoRecord),
    /// DNS doesn't say; why.
    Unknown(String),
}

/// Why a domain counts as one without a policy (RFC 8461 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRecord {
    /// None there.
    #[error("there is no record")]
    Absent,
    /// Several of them.
    #[error("there is more than one record")]
    Several,
    /// It can't be read.
    #[error(transparent)]
    Syntax(#[from] RecordError),
}

/// Why a policy that is announced couldn't be fetched (RFC 8461 §3.3).
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The policy host can't exist: its name is too long.
    #[error("the name of the policy host is too long")]
    NoHost,
    /// The policy host has no address, or DNS doesn't say which.
    #[error("the policy host {0}")]
    Address(String),
    /// No connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// No TLS, or a certificate that isn't the host's.
    #[error("the policy host's TLS: {0}")]
    Tls(#[from] super::secure::Failed),
    /// The connection broke.
    #[error("the policy host: {0}")]
    Transport(#[from] TransportError),
    /// It took too long.
    #[error("the policy host didn't answer in time")]
    Timeout,
    /// It answered something else.
    #[error("the policy host answered otherwise: {0}")]
    Response(#[from] ResponseError),
    /// What it answered is no policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

impl FetchError {
    /// The type of failure in reports (RFC 8460 §4.3.2).
    #[must_use]
    pub fn result_type(&self) -> &'static str {
        match self {
            Self::Policy(_) => "sts-policy-invalid",
            Self::Tls(_) => "sts-webpki-invalid",
            _ => "sts-policy-fetch-error",
        }
    }
}

/// A policy that was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// What it says.
    pub policy: Policy,
    /// How it is written, at most [`Policy::OCTETS_MAX`] octets.
    pub text: Vec<u8>,
}

/// Asks DNS whether a domain announces a policy (RFC 8461 §3.1).
pub async fn announced(lookup: &impl Lookup, domain: &Domain) -> Announced {
    let Ok(name) = parse_name(&record_name(domain)) else { return Announced::No(NoRecord::Absent) };
    let answer = lookup.lookup(&name, RecordType::TXT).await;
    match answer.outcome {
        Outcome::Failed => Announced::Unknown(answer.reason),
        Outcome::NoName | Outcome::NoData => Announced::No(NoRecord::Absent),
        Outcome::Found => read(&answer),
    }
}

fn read(answer: &Answer) -> Announced {
    let texts = answer.data().filter_map(|data| match data {
        RData::TXT(text) => Some(text.txt_data.concat()),
        _ => None,
    });
    let mut records = texts.filter(|text| Record::is_one(text));
    match (records.next(), records.next()) {
        (None, _) => Announced::No(NoRecord::Absent),
        (Some(_), Some(_)) => Announced::No(NoRecord::Several),
        (Some(text), None) => match Record::parse(&text) {
            Ok(record) => Announced::Yes(record),
            Err(error) => Announced::No(NoRecord::Syntax(error)),
        },
    }
}

/// Fetches the policy of a domain. `port` is 443 but in tests.
pub async fn fetch(
    resolver: &Resolver,
    connector: &Connector,
    domain: &Domain,
    port: u16,
) -> Result<Fetched, FetchError> {
    let deadline = Instant::now() + FETCH_TIME;
    timeout_at(deadline, run(resolver, connector, domain, port, deadline))
        .await
        .unwrap_or(Err(FetchError::Timeout))
}

async fn run(
    resolver: &Resolver,
    connector: &Connector,
    domain: &Domain,
    port: u16,
    deadline: Instant,
) -> Result<Fetched, FetchError> {
    let host = policy_host(domain).ok_or(FetchError::NoHost)?;
    let name = parse_name(host.as_str()).map_err(|_| FetchError::NoHost)?;
    let questions = Questions::new(resolver.clone(), QUESTIONS_MAX);
    questions.limit_time(deadline);
    let found = addresses(&questions, &name).await;
    let mut failure = match found.outcome() {
        Outcome::Found => FetchError::Timeout,
        Outcome::Failed => FetchError::Address(format!("can't be looked up: {}", found.reason())),
        Outcome::NoName | Outcome::NoData => FetchError::Address("has no address".to_owned()),
    };
    let server = ServerName::try_from(host.to_string()).map_err(|_| FetchError::NoHost)?;
    for address in found.values.into_iter().take(ADDRESSES_MAX) {
        let address = SocketAddr::new(address, port);
        let stream =
            match dial(address, Way::default(), deadline.min(Instant::now() + CONNECT_TIME)).await {
                Ok(stream) => stream,
                Err(error) => {
                    failure = error.into();
                    continue;
                }
            };
        let wanted = Wanted { pkix: Pkix::Required, dane: None };
        let secured = connector.secure(stream, server.clone(), wanted, deadline).await?;
        return ask(Transport::Tls(Box::new(secured.stream)), &host).await;
    }
    Err(failure)
}

/// Asks for the policy and reads it.
async fn ask(mut transport: Transport, host: &Domain) -> Result<Fetched, FetchError> {
    transport.write_all(request(host).as_bytes()).await?;
    let mut reader = ResponseReader::new();
    let mut buffer = [0; READ_OCTETS];
    loop {
        // A connection that was cut is an error of TLS: what came may be a part of the policy.
        let count = transport.read(&mut buffer).await?;
        if count == 0 || reader.push(&buffer[..count])? == Progress::Complete {
            break;
        }
    }
    let text = reader.finish()?;
    Ok(Fetched { policy: Policy::parse(&text)?, text })
}
