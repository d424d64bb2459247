//! `postrider dane dial`: connects to a host as a sender would, and says whether its certificate is one of its TLSA
//! records.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_lite::future::block_on;
use postrider_dns::dane::{Applies, NextHop, Verification, Verifier, find};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::json;

use super::resolver::open;
use crate::arguments::DaneDial;
use crate::terminal;

/// The longest wait for a connection, and for each answer.
const WAIT: Duration = Duration::from_secs(30);
/// Octets of one reply of a server.
const REPLY_OCTETS_MAX: u64 = 64 << 10;

/// What came of a handshake.
struct Shown {
    version: Option<String>,
    cipher: Option<String>,
    certificates: Vec<CertificateDer<'static>>,
}

/// `postrider dane dial`
pub fn dial(arguments: &DaneDial) -> anyhow::Result<()> {
    let resolver = open(arguments.asking())?;
    let found = block_on(find(&resolver, &arguments.host, arguments.port, &NextHop::Host));
    let (base, verification) = match found.applies {
        Applies::Records { base, verification, .. } => (base, verification),
        Applies::No(why) | Applies::Unknown(why) | Applies::NoAddresses(why) => {
            bail!("there is nothing to verify by: {why}")
        }
    };
    let (stream, address) = connect(&found.addresses.values, arguments.port)?;
    let name = base.to_ascii();
    let name = name.trim_end_matches('.');
    let shown = handshake(stream, name, !arguments.implicit, verification.clone())?;
    let provider = ring::default_provider();
    let decided = match shown.certificates.split_first() {
        None => Err("the server showed no certificate".to_owned()),
        Some(_) if verification.associations.is_empty() => Ok("none, since no record can be used".to_owned()),
        Some((own, others)) => verification
            .decide(own, others, UnixTime::now(), &provider.signature_verification_algorithms)
            .map(|matched| matched.association.to_string())
            .map_err(|mismatch| mismatch.to_string()),
    };
    let usable = !verification.associations.is_empty();
    let result = match (&decided, usable) {
        (Ok(_), true) => "authenticated",
        (Ok(_), false) => "encrypted",
        (Err(_), _) => "mismatch",
    };
    if arguments.json {
        let shown = json!({
            "host": arguments.host.to_ascii(),
            "port": arguments.port,
            "address": address.to_string(),
            "base": base.to_ascii(),
            "result": result,
            "record": decided.as_ref().ok().filter(|_| usable),
            "reason": decided.as_ref().err().cloned().unwrap_or_default(),
            "tls_version": shown.version,
            "cipher": shown.cipher,
            "certificates": shown.certificates.len(),
        });
        terminal::print(&shown.to_string());
    } else {
        let how = [shown.version, shown.cipher].into_iter().flatten().collect::<Vec<_>>().join(", ");
        terminal::print(&format!("{address} ({base}): {how}, {} certificates", shown.certificates.len()));
        terminal::print(&match decided {
            Ok(record) => format!("Result: {result}, record {record}"),
            Err(why) => format!("Result: {result}: {why}"),
        });
    }
    Ok(())
}

fn connect(addresses: &[IpAddr], port: u16) -> anyhow::Result<(TcpStream, SocketAddr)> {
    let mut last = None;
    for address in addresses {
        let address = SocketAddr::new(*address, port);
        match TcpStream::connect_timeout(&address, WAIT) {
            Ok(stream) => {
                stream.set_read_timeout(Some(WAIT))?;
                stream.set_write_timeout(Some(WAIT))?;
                return Ok((stream, address));
            }
            Err(error) => last = Some((address, error)),
        }
    }
    match last {
        Some((address, error)) => Err(error).context(format!("can't connect to {address}")),
        None => bail!("there is no address to connect to"),
    }
}

/// Shakes hands. A mismatch is no failure here: the certificates are shown either way.
fn handshake(
    mut stream: TcpStream,
    name: &str,
    starttls: bool,
    verification: Verification,
) -> anyhow::Result<Shown> {
    if starttls {
        ask_for_tls(&mut stream)?;
    }
    let provider = Arc::new(ring::default_provider());
    // The decision is made again outside, where what was shown is at hand; so here everything is let through
    // whose key signed the handshake.
    let verifier = Verifier::new(verification, Arc::clone(&provider)).showing_mismatches();
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    let session = ClientConnection::new(Arc::new(config), ServerName::try_from(name.to_owned())?)?;
    let mut secured = StreamOwned::new(session, stream);
    while secured.conn.is_handshaking() {
        secured.conn.complete_io(&mut secured.sock).context("the handshake failed")?;
    }
    let shown = Shown {
        version: secured.conn.protocol_version().and_then(|version| version.as_str().map(str::to_owned)),
        cipher: secured
            .conn
            .negotiated_cipher_suite()
            .and_then(|suite| suite.suite().as_str().map(str::to_owned)),
        certificates: secured
            .conn
            .peer_certificates()
            .unwrap_or_default()
            .iter()
            .map(|one| one.clone().into_owned())
            .collect(),
    };
    if starttls {
        // Whoever was spoken to is told that nothing more comes.
        let _ = secured.write_all(b"QUIT\r\n");
    }
    secured.conn.send_close_notify();
    let _ = secured.flush();
    Ok(shown)
}

/// STARTTLS of SMTP (RFC 3207).
fn ask_for_tls(stream: &mut TcpStream) -> anyhow::Result<()> {
    expect(stream, "220")?;
    stream.write_all(b"EHLO postrider.invalid\r\n")?;
    let offers = expect(stream, "250")?;
    let has_tls =
        offers.lines().any(|line| line.get(4..).is_some_and(|word| word.eq_ignore_ascii_case("STARTTLS")));
    if !has_tls {
        bail!("the server doesn't offer STARTTLS");
    }
    stream.write_all(b"STARTTLS\r\n")?;
    expect(stream, "220")?;
    Ok(())
}

/// Reads one reply, octet by octet: what follows belongs to the handshake.
fn expect(stream: &mut TcpStream, code: &str) -> anyhow::Result<String> {
    let mut reply = String::new();
    loop {
        let mut line = Vec::new();
        let room = REPLY_OCTETS_MAX.saturating_sub(reply.len() as u64);
        BufReader::with_capacity(1, (&mut *stream).take(room)).read_until(b'\n', &mut line)?;
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        if line.is_empty() {
            bail!("the server ended the conversation");
        }
        let is_last = line.as_bytes().get(3) != Some(&b'-');
        let clean: String = line.chars().filter(|one| !one.is_control()).collect();
        if !line.starts_with(code) {
            bail!("the server said {clean:?}");
        }
        reply.push_str(&clean);
        reply.push('\n');
        if is_last {
            return Ok(reply);
        }
    }
}
