//! Fetching the policy of a domain for those who send mail to it (RFC 8461 §3.3), over HTTPS.

use std::time::{Duration, Instant};

use postrider_proto::address::Domain;
use postrider_proto::http::Host;
use postrider_proto::mta_sts::{Policy, PolicyError, policy_host, request, response_reader};

use super::secure::Connector;
use crate::http::{Asked, Client, HttpError, Reach, Server};
use crate::lookup::Resolver;

/// Time for all of a fetch (RFC 8461 §3.3 suggests it).
const FETCH_TIME: Duration = Duration::from_secs(60);

/// Why a policy that is announced couldn't be fetched (RFC 8461 §3.3).
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The policy host can't exist: its name is too long.
    #[error("the name of the policy host is too long")]
    NoHost,
    /// It can't be asked, or answers something else.
    #[error("the policy host: {0}")]
    Http(#[from] HttpError),
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
            Self::Http(HttpError::Tls(failed)) if failed.seen.is_refused => "sts-webpki-invalid",
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

/// Fetches the policy of a domain. `port` is 443 but in tests.
pub async fn fetch(
    resolver: &Resolver,
    connector: &Connector,
    domain: &Domain,
    port: u16,
) -> Result<Fetched, FetchError> {
    let host = policy_host(domain).ok_or(FetchError::NoHost)?;
    let request = request(&host);
    let server = Server { host: Host::Domain(host), port, is_secure: true };
    // A domain says where its policy is, as it does for its mail.
    let client = Client { resolver: Some(resolver), connector, reach: &Reach::All };
    let mut reader = response_reader();
    let (head, deadline) = (request.as_bytes(), Instant::now() + FETCH_TIME);
    client.exchange(&server, Asked { head, body: b"", deadline, rest: None }, &mut reader).await?;
    let text = reader.finish().map_err(HttpError::Response)?;
    Ok(Fetched { policy: Policy::parse(&text)?, text })
}
