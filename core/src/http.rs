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

pub use reach::{Forbidden, Reach};

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

/// What is sent, and how long the answer may take.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The request line and the fields.
    pub head: &'a [u8],
    /// What follows them.
    pub body: &'a [u8],
    /// When all of it ends.
    pub deadline: Instant,
    /// For how long the rest of a response is waited for once its head came; what came until then is the response. None:
    /// until the deadline, and all of it has to come.
    pub rest: Option<Duration>,
}

/// Why there is no whole response.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The host has no address, or DNS doesn't say which.
    #[error("the host {0}")]
    Address(String),
    /// None of its addresses may be connected to.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
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
    /// Sends a request and reads the response into `reader`. What came until an error is in the reader.
    pub async fn exchange(
        &self,
        server: &Server,
        asked: Asked<'_>,
        reader: &mut ResponseReader,
    ) -> Result<(), HttpError> {
        let run = async {
            let mut transport = self.connect(server, asked.deadline).await?;
            let sent = send(&mut transport, asked).await;
            let read = read(&mut transport, reader, asked.rest).await;
            match sent {
                // Who refuses a request may answer before all of it came, and read no more: that is the answer then.
                Err(error) if reader.status().is_none() => Err(error.into()),
                _ => read,
            }
        };
        timeout_at(asked.deadline, run).await.unwrap_or(Err(HttpError::Timeout))
    }

    async fn connect(&self, server: &Server, deadline: Instant) -> Result<Transport, HttpError> {
        let found = self.addresses(&server.host, deadline).await?;
        let mut failure = HttpError::Address("has no address".to_owned());
        // What is connected to is what was looked at: no second lookup comes between.
        for address in found.into_iter().take(ADDRESSES_MAX) {
            let address = SocketAddr::new(address, server.port);
            if let Err(forbidden) = self.reach.check(address) {
                failure = forbidden.into();
                continue;
            }
            let until = deadline.min(Instant::now() + CONNECT_TIME);
            let stream = match dial(address, Way::default(), until).await {
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

async fn send(transport: &mut Transport, asked: Asked<'_>) -> Result<(), TransportError> {
    transport.write_all(asked.head).await?;
    transport.write_all(asked.body).await
}

async fn read(
    transport: &mut Transport,
    reader: &mut ResponseReader,
    rest: Option<Duration>,
) -> Result<(), HttpError> {
    let mut buffer = [0; READ_OCTETS];
    let mut until = None;
    loop {
        let read = transport.read(&mut buffer);
        // A connection that was cut is an error of TLS: what came may be a part of the response.
        let count = match until {
            None => read.await?,
            Some(until) => match timeout_at(until, read).await {
                Ok(count) => count?,
                Err(_) => return Ok(()),
            },
        };
        if count == 0 {
            return reader.end().map_err(HttpError::Response);
        }
        if reader.push(&buffer[..count])? == Progress::Complete {
            return Ok(());
        }
        if let (None, Some(rest), Some(_)) = (until, rest, reader.status()) {
            until = Some(Instant::now() + rest);
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::io::{Read as _, Write as _};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    use postrider_proto::http::{Accept, Longer, Statuses};

    use super::*;
    use crate::runtime::tests::on_shard;
    use crate::testing::{PATIENCE, once};

    /// A server that does with its first connection what a test says.
    fn serve(work: impl FnOnce(TcpStream) + Send + 'static) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || work(listener.accept().unwrap().0));
        port
    }

    /// A server that sends a text at once, and then an octet now and then.
    fn trickle(at_once: &'static str) -> u16 {
        serve(move |mut stream| {
            let _ = stream.write_all(at_once.as_bytes());
            while stream.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(10));
            }
        })
    }

    /// Posts something to a port of this host: the outcome, the status, and the time that it took.
    fn post(
        port: u16,
        body: Vec<u8>,
        time: Duration,
        rest: Option<Duration>,
    ) -> (Result<(), HttpError>, Option<u16>, Duration) {
        on_shard(move || async move {
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
            let head = b"POST / HTTP/1.1\r\n\r\n";
            let asked = Asked { head, body: &body, deadline: began + time, rest };
            let result = client.exchange(&server, asked, &mut reader).await;
            (result, reader.status(), began.elapsed())
        })
    }

    #[test]
    fn a_server_that_trickles_is_left_in_time() {
        for (at_once, status) in [
            ("HTTP/1.1 200 ", None),
            ("HTTP/1.1 200 OK\r\nX: ", None),
            ("HTTP/1.1 200 OK\r\n\r\n", Some(200)),
        ] {
            // On a busy machine, the time may be over before all is there that came at once.
            let is_seen = once(|number| {
                let time = Duration::from_millis(300) * 4_u32.pow(number as u32);
                let (result, seen, took) = post(trickle(at_once), Vec::new(), time, None);
                assert!(matches!(result, Err(HttpError::Timeout)), "{at_once:?}: {result:?}");
                assert!(took >= time && took < time + PATIENCE, "{took:?}");
                seen == status
            });
            assert!(is_seen, "{at_once:?}");
        }
    }

    #[test]
    fn who_wants_the_head_does_not_wait_for_the_rest() {
        // One that goes on for ever, and one that says nothing more and keeps the connection.
        let silent = serve(|mut stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        });
        for port in [trickle("HTTP/1.1 200 OK\r\n\r\n"), silent] {
            let rest = Some(Duration::from_millis(200));
            let (result, seen, took) = post(port, Vec::new(), 2 * PATIENCE, rest);
            assert!(result.is_ok(), "{result:?}");
            assert_eq!(seen, Some(200));
            assert!(took < PATIENCE, "{took:?}");
        }
    }

    #[test]
    fn an_answer_that_comes_before_all_was_sent_counts() {
        // It closes with something unread, so that what is sent then fails.
        let port = serve(|mut stream| {
            stream.read_exact(&mut [0; 10]).unwrap();
            stream.write_all(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n").unwrap();
        });
        // More than the kernel takes without a reader.
        let (_, seen, took) = post(port, vec![b'x'; 64 << 20], 2 * PATIENCE, None);
        assert_eq!(seen, Some(413));
        assert!(took < PATIENCE, "{took:?}");
        // One that closes without a word is an error, as ever.
        let port = serve(|mut stream| stream.read_exact(&mut [0; 10]).unwrap());
        let (result, seen, _) = post(port, vec![b'x'; 64 << 20], 2 * PATIENCE, None);
        assert!(matches!(result, Err(HttpError::Transport(_))), "{result:?}");
        assert_eq!(seen, None);
    }
}
