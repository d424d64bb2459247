//! The client's side of SOCKS5 (RFC 1928): a connection to an address through a proxy.
//!
//! Without authentication (method 0). Names aren't sent: who delivers mail resolves them itself, since what DNS says
//! of them decides how it is delivered.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const DOMAIN: u8 = 3;
const IPV6: u8 = 4;

/// Octets of the longest reply: its head, the longest address of type "domain name", and a port.
const REPLY_OCTETS_MAX: usize = 4 + 1 + 255 + 2;

/// Why a proxy connects us to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SocksError {
    /// It speaks another protocol.
    #[error("the proxy doesn't speak SOCKS5")]
    Protocol,
    /// It wants to know who we are.
    #[error("the proxy wants authentication, which isn't supported")]
    Authentication,
    /// It couldn't, or wouldn't, connect (RFC 1928 §6).
    #[error("the proxy answers: {0}")]
    Refused(Refusal),
}

/// The field REP of a reply that isn't 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal(pub u8);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            1 => "general failure",
            2 => "not allowed by its rules",
            3 => "network unreachable",
            4 => "host unreachable",
            5 => "connection refused",
            6 => "TTL expired",
            7 => "command not supported",
            8 => "address type not supported",
            code => return write!(f, "unknown failure {code}"),
        })
    }
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// These octets are to be sent, and more to be received.
    Send(Vec<u8>),
    /// More is to be received.
    Receive,
    /// The connection leads to the address from here on.
    Connected,
}

/// A connection that is being made.
#[derive(Debug)]
pub struct Handshake {
    target: SocketAddr,
    received: Vec<u8>,
    asked: bool,
}

impl Handshake {
    /// A connection to `target`, and the octets to begin with.
    #[must_use]
    pub fn new(target: SocketAddr) -> (Self, [u8; 3]) {
        (Self { target, received: Vec::new(), asked: false }, [VERSION, 1, NO_AUTHENTICATION])
    }

    /// How many octets may be read for the next step: not one more belongs to the proxy.
    #[must_use]
    pub fn wanted(&self) -> usize {
        self.needed().saturating_sub(self.received.len())
    }

    /// Octets of what is being received, as far as its length is known.
    fn needed(&self) -> usize {
        match (self.asked, &*self.received) {
            (false, _) => 2,
            (true, [_, _, _, IPV4, ..]) => 4 + 4 + 2,
            (true, [_, _, _, IPV6, ..]) => 4 + 16 + 2,
            (true, [_, _, _, DOMAIN, length, ..]) => 4 + 1 + usize::from(*length) + 2,
            // Each reply has at least this many, whatever its address is.
            (true, _) => 5,
        }
    }

    /// Takes what was received, at most [`wanted`](Self::wanted) octets.
    pub fn receive(&mut self, octets: &[u8]) -> Result<Step, SocksError> {
        self.received.extend_from_slice(octets);
        if self.received.first().is_some_and(|version| *version != VERSION)
            || self.received.len() > REPLY_OCTETS_MAX
        {
            return Err(SocksError::Protocol);
        }
        // A proxy that fails may send no address and close.
        if let (true, [_, failure, ..]) = (self.asked, &*self.received)
            && *failure != 0
        {
            return Err(SocksError::Refused(Refusal(*failure)));
        }
        if self.received.len() < self.needed() {
            return Ok(Step::Receive);
        }
        if self.asked {
            return match self.received.get(3) {
                Some(&(IPV4 | IPV6 | DOMAIN)) => Ok(Step::Connected),
                _ => Err(SocksError::Protocol),
            };
        }
        match self.received.get(1) {
            Some(&NO_AUTHENTICATION) => {}
            Some(_) => return Err(SocksError::Authentication),
            None => return Ok(Step::Receive),
        }
        self.asked = true;
        self.received.clear();
        Ok(Step::Send(request(self.target)))
    }
}

fn request(target: SocketAddr) -> Vec<u8> {
    let mut request = vec![VERSION, CONNECT, 0];
    match target.ip() {
        IpAddr::V4(address) => {
            request.push(IPV4);
            request.extend_from_slice(&address.octets());
        }
        IpAddr::V6(address) => {
            request.push(IPV6);
            request.extend_from_slice(&address.octets());
        }
    }
    request.extend_from_slice(&target.port().to_be_bytes());
    request
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

    use super::*;

    /// Runs a handshake with a proxy that answers so, in pieces of `piece` octets. What was sent after the greeting,
    /// and what of the answer wasn't read.
    fn run(target: &str, mut answer: &[u8], piece: usize) -> Result<(Vec<u8>, usize), SocksError> {
        let (mut handshake, greeting) = Handshake::new(target.parse().unwrap());
        assert_eq!(greeting, [5, 1, 0]);
        let mut sent = Vec::new();
        loop {
            let count = handshake.wanted().min(piece).min(answer.len());
            assert!(count > 0, "the proxy has said all");
            let (now, later) = answer.split_at(count);
            answer = later;
            match handshake.receive(now)? {
                Step::Send(octets) => sent.extend(octets),
                Step::Receive => {}
                Step::Connected => return Ok((sent, answer.len())),
            }
        }
    }

    #[test]
    fn a_proxy_connects_and_what_follows_is_left_to_the_server() {
        let mut long = vec![5, 0, 5, 0, 0, 3, 255];
        long.extend([b'x'; 255]);
        long.extend([0, 25]);
        let answers: [&[u8]; 3] =
            [&[5, 0, 5, 0, 0, 1, 10, 0, 0, 1, 0, 9], &[&[5, 0, 5, 0, 0, 4][..], &[0; 18]].concat(), &long];
        for answer in answers {
            let answer = [answer, b"220 "].concat();
            for piece in [1, 2, 7, 1000] {
                let (sent, left) = run("192.0.2.7:25", &answer, piece).unwrap();
                assert_eq!(sent, [5, 1, 0, 1, 192, 0, 2, 7, 0, 25]);
                assert_eq!(left, 4, "the greeting of the server");
            }
        }
        let (sent, _) = run("[2001:db8::1]:465", &[5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0], 3).unwrap();
        assert_eq!(sent[..6], [5, 1, 0, 4, 0x20, 0x01]);
        assert_eq!(sent[20..], [1, 209]);
    }

    #[test]
    fn a_proxy_that_does_not_connect_says_why() {
        let refused = |code| SocksError::Refused(Refusal(code));
        let rows: [(&[u8], SocksError); 6] = [
            (&[4, 0], SocksError::Protocol),
            (b"HTTP/1.1 400", SocksError::Protocol),
            (&[5, 255], SocksError::Authentication),
            (&[5, 2], SocksError::Authentication),
            (&[5, 0, 5, 5], refused(5)),
            (&[5, 0, 5, 0, 0, 9, 0], SocksError::Protocol),
        ];
        for (answer, expected) in rows {
            for piece in [1, 1000] {
                assert_eq!(run("192.0.2.7:25", answer, piece), Err(expected), "{answer:?}");
            }
        }
        assert!(refused(5).to_string().contains("connection refused"));
        assert!(refused(77).to_string().contains("unknown failure 77"));
    }
}
