//! Requests to servers of the web: one on a connection of its own, with an end in time.

mod reach;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use postrider_dns::lookups::addresses;
use postrider_dns::{Outcome, parse_name};
use postrider_proto::http::{Host, Progress, ResponseError, ResponseReader};
use rustls_pki_types::ServerName;

use crate::delivery::dial::{DialError, Way, dial};
use crate::delivery::{Connector, Failed, Pkix, Wanted};
use crate::lookup::{Questions, Resolver};
use crate::runtime::timeout_at;
use crate::tls::{Transport, TransportError};

pub use reach::Reach;

/// Time for a connection to one of the host's addresses.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Addresses of the host that are tried.
const ADDRESSES_MAX: usize = 4;
/// Questions to DNS for one request.
const QUESTIONS_MAX: u32 = 30;
/// Octets read at once.
const READ_OCTETS: usize = 4096;

/// Where a request goes.
#[derive(Clone, Debug)]
pub struct Server {
    /// Who.
    pub host: Host,
    /// At which port.
    pub port: u16,
    /// Whether with TLS, and a certificate of a public authority.
    pub is_secure: bool,
}

/// Why there is no whole response.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The host has no address, or DNS doesn't say which.
    #[error("the host {0}")]
    Address(String),
    /// None of its addresses may be connected to.
    #[error("the host's address {0} is not a public one, and the configuration doesn't allow it")]
    Forbidden(IpAddr),
    /// No connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// No TLS, or a certificate that isn't the host's.
    #[error("TLS with the host: {0}")]
    Tls(#[from] Failed),
    /// The connection broke.
    #[error("the connection to the host: {0}")]
    Transport(#[from] TransportError),
    /// It took too long.
    #[error("the host didn't answer in time")]
    Timeout,
    /// It answered something else.
    #[error("the host answered otherwise: {0}")]
    Response(#[from] ResponseError),
}

/// Asks questions of DNS and makes connections.
#[derive(Clone, Copy)]
pub struct Client<'a> {
    /// Who says where a host is; none answers for addresses only.
    pub resolver: Option<&'a Resolver>,
    /// How connections are secured.
    pub connector: &'a Connector,
    /// Which addresses are connected to.
    pub reach: &'a Reach,
}

impl Client<'_> {
    /// Sends a request and reads the response into `reader`, all of it by `deadline`. What came until an error is in the
    /// reader.
    pub async fn exchange(
        &self,
        server: &Server,
        request: &[u8],
        reader: &mut ResponseReader,
        deadline: Instant,
    ) -> Result<(), HttpError> {
        let run = async {
            let mut transport = self.connect(server, deadline).await?;
            transport.write_all(request).await?;
            read(&mut transport, reader).await
        };
        timeout_at(deadline, run).await.unwrap_or(Err(HttpError::Timeout))
    }

    async fn connect(&self, server: &Server, deadline: Instant) -> Result<Transport, HttpError> {
        let found = self.addresses(&server.host, deadline).await?;
        let mut failure = HttpError::Address("has no address".to_owned());
        // What is connected to is what was looked at: no second lookup comes between.
        for address in found.into_iter().take(ADDRESSES_MAX) {
            if !self.reach.allows(address) {
                failure = HttpError::Forbidden(address);
                continue;
            }
            let until = deadline.min(Instant::now() + CONNECT_TIME);
            let stream = match dial(SocketAddr::new(address, server.port), Way::default(), until).await {
                Ok(stream) => stream,
                Err(error) => {
                    failure = error.into();
                    continue;
                }
            };
            if !server.is_secure {
                return Ok(Transport::Plain(stream));
            }
            let name = match &server.host {
                Host::Address(address) => ServerName::from(*address),
                Host::Domain(domain) => ServerName::try_from(domain.to_string())
                    .map_err(|_| HttpError::Address("has no name that a certificate can have".to_owned()))?,
            };
            let wanted = Wanted { pkix: Pkix::Required, ..Wanted::default() };
            let secured = self.connector.secure(stream, name, wanted, deadline).await?;
            return Ok(Transport::Tls(Box::new(secured.stream)));
        }
        Err(failure)
    }

    async fn addresses(&self, host: &Host, deadline: Instant) -> Result<Vec<IpAddr>, HttpError> {
        let domain = match host {
            Host::Address(address) => return Ok(vec![*address]),
            Host::Domain(domain) => domain,
        };
        let unknown = |why: &str| HttpError::Address(format!("can't be looked up: {why}"));
        let name = parse_name(domain.as_str()).map_err(|_| unknown("its name is too long"))?;
        let resolver = self.resolver.ok_or_else(|| unknown("there is no resolver"))?;
        let questions = Questions::new(resolver.clone(), QUESTIONS_MAX);
        questions.limit_time(deadline);
        let found = addresses(&questions, &name).await;
        match found.outcome() {
            Outcome::Found => Ok(found.values),
            Outcome::Failed => Err(unknown(found.reason())),
            Outcome::NoName | Outcome::NoData => Err(HttpError::Address("has no address".to_owned())),
        }
    }
}

async fn read(transport: &mut Transport, reader: &mut ResponseReader) -> Result<(), HttpError> {
    let mut buffer = [0; READ_OCTETS];
    loop {
        // A connection that was cut is an error of TLS: what came may be a part of the response.
        let count = transport.read(&mut buffer).await?;
        if count == 0 {
            return reader.end().map_err(HttpError::Response);
        }
        if reader.push(&buffer[..count])? == Progress::Complete {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::io::Write as _;
    use std::net::{Ipv4Addr, TcpListener};

    use postrider_proto::http::{Accept, Longer, Statuses};

    use super::*;
    use crate::runtime::tests::on_shard;

    /// A server that sends a text at once, and then an octet now and then.
    fn trickle(at_once: &'static str) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.write_all(at_once.as_bytes());
            while stream.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        port
    }

    #[test]
    fn a_server_that_trickles_is_left_in_time() {
        for (at_once, status) in [
            ("HTTP/1.1 200 ", None),
            ("HTTP/1.1 200 OK\r\nX: ", None),
            ("HTTP/1.1 200 OK\r\n\r\n", Some(200)),
        ] {
            let port = trickle(at_once);
            let (result, seen, took) = on_shard(move || async move {
                let connector = Connector::new(None);
                let client = Client { resolver: None, connector: &connector, reach: &Reach::All };
                let host = Host::Address(Ipv4Addr::LOCALHOST.into());
                let server = Server { host, port, is_secure: false };
                let mut reader = ResponseReader::new(Accept {
                    statuses: Statuses::All,
                    media_type: None,
                    body_octets_max: 1 << 20,
                    longer: Longer::Cut,
                });
                let began = Instant::now();
                let deadline = began + Duration::from_millis(300);
                let result = client.exchange(&server, b"GET / HTTP/1.1\r\n\r\n", &mut reader, deadline).await;
                (result, reader.status(), began.elapsed())
            });
            assert!(matches!(result, Err(HttpError::Timeout)), "{at_once:?}: {result:?}");
            assert_eq!(seen, status, "{at_once:?}");
            assert!(took < Duration::from_secs(5), "{took:?}");
        }
    }
}
