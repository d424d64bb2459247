//! What comes before the first message on a connection: greeting, TLS and authentication.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use postrider_delivery::attempt::Dial;
use postrider_delivery::outcome::{self, HostEnd};
use postrider_delivery::security::{Starttls, TlsEvent};
use postrider_delivery::tls_results::Tls;
use postrider_delivery::transport::Auth;
use postrider_proto::sasl::client::ClientCredentials;
use postrider_proto::sasl::text::prepare_password;
use postrider_proto::sasl::{Limits, Secret};
use postrider_proto::smtp::client::{Authentication, End, Extension, Failure, Settings, Stage, StartTls};
use rustls_pki_types::ServerName;

use super::connection::{Connection, Reached};
use super::hosts::{Offered, Transported};
use super::secure::{Connector, Failed, Pkix, Seen, Wanted};
use super::{faults, start, translate};
use crate::runtime::Pool;
use crate::runtime::net::Stream;

/// Time for a handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(60);

/// What came of TLS on a connection.
#[derive(Default)]
pub(super) struct Came {
    /// None before it came to that.
    pub(super) tls: Option<Tls>,
    pub(super) seen: Seen,
    /// What the other side calls itself.
    pub(super) helo: Box<str>,
}

/// Greets, secures and logs in, as the rule and the transport say.
pub(super) async fn converse(
    connector: &Connector,
    dial: &Dial,
    way: &Transported<'_>,
    stream: Stream,
    pool: Pool,
    deadline: Instant,
    came: &mut Came,
) -> Result<(Connection, Offered), (HostEnd, Option<Offered>)> {
    let rule = &dial.rule;
    let wanted = || Wanted {
        pkix: match (rule.verification.has_pkix(), rule.observed.has_pkix()) {
            (true, _) => Pkix::Required,
            (false, true) => Pkix::Noted,
            (false, false) => Pkix::Ignored,
        },
        // RFC 8461 §4.2: of the host, whichever name has the TLSA records.
        host: name_of(&dial.host),
        dane: dial.dane.clone().filter(|_| rule.verification.has_dane() || rule.observed.has_dane()),
        dane_is_noted: !rule.verification.has_dane(),
    };
    let settings = Settings {
        name: way.hello.clone(),
        starttls: match rule.starttls {
            Starttls::Never | Starttls::Implicit => StartTls::Never,
            Starttls::Opportunistic => StartTls::IfOffered,
            Starttls::Mandatory => StartTls::Required,
        },
        authentication: way.auth.map(|auth| authentication(auth, rule.verification.has_pkix())),
    };
    let until = || deadline.min(Instant::now() + HANDSHAKE_TIME);
    let bad_name = || (HostEnd::Tls(TlsEvent::Certificate), None);
    let mut connection = if rule.starttls == Starttls::Implicit {
        let name = server_name(dial).ok_or_else(bad_name)?;
        let secured = connector.secure(stream, name, wanted(), until()).await;
        let secured = secured.map_err(|failed| (tls_failed(dial, &failed, came), None))?;
        (came.tls, came.seen) = (Some(Tls::Established), secured.seen);
        Connection::secured(secured.stream, settings, pool)
    } else {
        Connection::clear(stream, settings, pool)
    };
    let mut offered = Offered::default();
    loop {
        let reached = connection.proceed(deadline).await;
        if &*came.helo != connection.greeting_name() {
            came.helo = connection.greeting_name().into();
        }
        match reached {
            Reached::Ready => {
                // What wasn't refused, and isn't there, wasn't offered.
                came.tls.get_or_insert(Tls::NotOffered);
                return Ok((connection, offered));
            }
            Reached::StartTls => {
                offered.starttls = connection.capabilities().has(Extension::StartTls);
                let name = server_name(dial).ok_or_else(bad_name)?;
                match connection.secure(connector, name, wanted(), until()).await {
                    Ok(seen) => (came.tls, came.seen) = (Some(Tls::Established), seen),
                    Err(failed) => return Err((tls_failed(dial, &failed, came), Some(offered))),
                }
            }
            Reached::Closed(End::Failed(Failure::Refused { stage: Stage::StartTls, .. })) => {
                came.tls = Some(Tls::NotOffered);
                return Err((HostEnd::Tls(TlsEvent::Refused), None));
            }
            // It hangs up, says more than that it is ready, or is gone right behind the handshake: that is TLS that fails, too.
            Reached::Closed(End::Failed(Failure::Broken { stage: Stage::StartTls, .. })) => {
                let fault = match came.tls {
                    Some(_) => faults::behind_handshake(connection.take_tls_error().as_ref()),
                    None => faults::of_starttls(),
                };
                tracing::info!(host = %dial.host, reason = ?fault.reason, "TLS failed");
                came.tls = Some(Tls::Failed(fault));
                return Err((HostEnd::Tls(TlsEvent::Handshake), Some(offered)));
            }
            Reached::Closed(End::Failed(failure)) => return Err((translate::host_end(&failure), None)),
            Reached::Closed(End::Quit) | Reached::Content | Reached::Finished(_) => {
                let (stage, how) = (outcome::Stage::Hello, outcome::Broken::Malformed);
                return Err((HostEnd::Broken { stage, how }, None));
            }
        }
    }
}

/// A handshake that failed.
fn tls_failed(dial: &Dial, failed: &Failed, came: &mut Came) -> HostEnd {
    tracing::info!(host = %dial.host, error = %failed, "TLS failed");
    let (event, tls) = if failed.seen.is_refused {
        (TlsEvent::Certificate, Tls::Refused)
    } else {
        (TlsEvent::Handshake, Tls::Failed(faults::of_handshake(&failed.error)))
    };
    (came.tls, came.seen) = (Some(tls), failed.seen.clone());
    HostEnd::Tls(event)
}

/// The name to ask for in the handshake. That of an address literal is the address.
fn server_name(dial: &Dial) -> Option<ServerName<'static>> {
    name_of(&dial.server_name())
}

fn name_of(name: &str) -> Option<ServerName<'static>> {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Some(ServerName::IpAddress(address.into()));
    }
    ServerName::try_from(name.to_owned()).ok()
}

fn authentication(auth: &Auth, is_verified: bool) -> Authentication {
    Authentication {
        credentials: ClientCredentials {
            login: auth.username.to_string(),
            // What can't be prepared is used as it is: the other side decides.
            password: prepare_password(auth.password.expose().as_bytes(), &Limits::DEFAULT)
                .unwrap_or_else(|_| Secret::new(auth.password.expose().to_string())),
        },
        mechanisms: auth.allowed(is_verified),
        nonce: start::nonce(),
    }
}
