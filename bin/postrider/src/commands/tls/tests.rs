//! What is explained about domains of a script, and about servers of this process.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

use postrider_delivery::transport::{Relay, RelayHost, RelayTls};
use postrider_dns::script::Script;
use postrider_proto::address::Domain;
use postrider_proto::mta_sts::Policy;
use ring::digest::{SHA256, digest};
use rustls::{RootCertStore, ServerConnection, StreamOwned};

use super::*;
use crate::commands::authority::Authority;

/// An authority, and a host `mx.remote.example` with a certificate of it.
pub(super) struct Server {
    pub(super) port: u16,
    roots: RootCertStore,
    /// SHA-256 of the host's public key, as a TLSA record has it.
    key: String,
    pub(super) said: std::thread::JoinHandle<Vec<String>>,
}

/// What the host is like.
#[derive(Clone, Copy, Default)]
struct Like {
    offers_tls: bool,
    refuses_tls: bool,
    /// It hangs up behind the handshake.
    leaves: bool,
    requiretls: bool,
    /// Connections that it takes.
    connections: usize,
}

fn serve(like: Like) -> Server {
    serve_as(like, &Authority::new())
}

/// With TLS, and a certificate of this authority.
pub(super) fn serve_tls(authority: &Authority) -> Server {
    serve_as(Like { offers_tls: true, ..Like::default() }, authority)
}

fn serve_as(like: Like, authority: &Authority) -> Server {
    let host = authority.server("mx.remote.example");
    let (config, roots) = (host.config(None), authority.roots());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let said = std::thread::spawn(move || {
        let mut said = Vec::new();
        for _ in 0..like.connections.max(1) {
            let (stream, _) = listener.accept().unwrap();
            let mut clear = BufReader::with_capacity(1, stream);
            clear.get_mut().write_all(b"220 mx.remote.example\r\n").unwrap();
            if speak(&mut clear, like, false, &mut said) {
                let mut session = ServerConnection::new(Arc::clone(&config)).unwrap();
                if like.leaves {
                    let mut stream = clear.into_inner();
                    while session.is_handshaking() && session.complete_io(&mut stream).is_ok() {}
                    continue;
                }
                let mut secured = BufReader::with_capacity(1, StreamOwned::new(session, clear.into_inner()));
                speak(&mut secured, like, true, &mut said);
            }
        }
        said
    });
    let key = digest(&SHA256, &rcgen::PublicKeyData::subject_public_key_info(&host.key));
    let key = key.as_ref().iter().map(|octet| format!("{octet:02x}")).collect();
    Server { port, roots, key, said }
}

/// One conversation; true when a handshake follows.
fn speak<T: Read + Write>(
    stream: &mut BufReader<T>,
    like: Like,
    secure: bool,
    said: &mut Vec<String>,
) -> bool {
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).unwrap_or(0) == 0 {
            return false;
        }
        let line = line.trim_end().to_owned();
        said.push(line.clone());
        let starttls = if like.offers_tls && !secure { "250-STARTTLS\r\n" } else { "" };
        let requiretls = if like.requiretls && secure { "250-REQUIRETLS\r\n" } else { "" };
        let reply = match line.split(' ').next().unwrap() {
            "EHLO" => format!("250-mx.remote.example\r\n{starttls}{requiretls}250 PIPELINING\r\n"),
            "STARTTLS" if like.refuses_tls => "454 4.7.0 not today\r\n".to_owned(),
            "STARTTLS" => "220 go on\r\n".to_owned(),
            "QUIT" => "221 bye\r\n".to_owned(),
            _ => "500 what?\r\n".to_owned(),
        };
        stream.get_mut().write_all(reply.as_bytes()).unwrap();
        stream.get_mut().flush().unwrap();
        if line == "QUIT" {
            return false;
        }
        if line == "STARTTLS" && !like.refuses_tls {
            return true;
        }
    }
}

pub(super) fn arguments(port: u16, requiretls: QueueWish) -> TlsExplain {
    TlsExplain {
        dial: false,
        from: None,
        account: None,
        attempt: 1,
        requiretls,
        ca_file: None,
        hello: HeloName::parse("client.example").ok(),
        port,
        policy_port: 443,
        domain: Target::parse("remote.example").unwrap(),
        resolver: Vec::new(),
        trust_anchor: None,
        mode: None,
        json: false,
    }
}

pub(super) fn script(text: &str) -> Script {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    Script::parse(&lines.join("\n")).unwrap()
}

fn none() -> Known {
    Known::none("there is no record")
}

fn enforced(mx: &str) -> Known {
    let text = format!("version: STSv1\nmode: enforce\nmx: {mx}\nmax_age: 86400\n");
    Known { sts: Sts::Policy(Policy::parse(text.as_bytes()).unwrap()), ..Known::none("a policy") }
}

pub(super) const ZONE: &str = "
    $ORIGIN example.
    remote MX 10 mx.remote
    mx.remote A 127.0.0.1
";

/// As without a server.
fn directly(zone: &str, arguments: &TlsExplain, policy: Known, roots: Option<RootCertStore>) -> Explained {
    over(
        &script(zone),
        arguments,
        Err("nobody listens".to_owned()),
        policy,
        &Transport::DEFAULT,
        roots.map(Ok),
    )
}

fn without_dial(zone: &str, policy: Known, wish: QueueWish) -> Explained {
    directly(zone, &arguments(25, wish), policy, None)
}

fn with_dial(zone: &str, policy: Known, wish: QueueWish, server: &Server) -> Explained {
    directly(zone, &arguments(server.port, wish), policy, Some(server.roots.clone()))
}

#[test]
fn what_would_be_done_is_said_without_a_connection() {
    let plain = without_dial(ZONE, none(), QueueWish::Default);
    let json = plain.json();
    assert_eq!((json["result"].as_str(), json["via"].as_str()), (Some("hosts"), Some("mx")));
    assert_eq!(json["mx"][0]["host"], "mx.remote.example");
    let host = &json["hosts"][0];
    assert_eq!(
        (host["tls"].as_str(), host["on_failure"].as_str()),
        (Some("opportunistic"), Some("plaintext"))
    );
    assert_eq!((&host["dial"], &host["reason"]), (&Value::Null, &Value::Null));
    let lines = plain.lines().join("\n");
    assert!(lines.contains("MX: 10 mx.remote.example\nDNSSEC: insecure"), "{lines}");
    assert!(lines.contains("Rule: TLS is used when it is offered; any certificate will do"), "{lines}");

    let listed = without_dial(ZONE, enforced("*.remote.example"), QueueWish::Yes).json();
    let host = &listed["hosts"][0];
    assert_eq!((host["tls"].as_str(), host["certificate"].as_str()), (Some("mandatory"), Some("pkix")));
    assert_eq!(host["requiretls"], "must");
    let other = without_dial(ZONE, enforced("other.example"), QueueWish::Default).json();
    let host = &other["hosts"][0];
    assert_eq!((&host["tls"], host["mta_sts"].as_str()), (&Value::Null, Some("enforce-not-listed")));
    assert!(host["reason"].as_str().unwrap().contains("does not allow this host"), "{host}");
    let relaxed = without_dial(ZONE, enforced("other.example"), QueueWish::No).json();
    assert_eq!(relaxed["hosts"][0]["tls"], "opportunistic");
    let unverifiable = without_dial(ZONE, none(), QueueWish::Yes).json();
    assert!(unverifiable["hosts"][0]["reason"].as_str().unwrap().contains("requires TLS"), "{unverifiable}");
}

#[test]
fn where_nothing_is_delivered_to_is_said() {
    for (zone, reason) in [
        ("$ORIGIN example.\nremote MX 0 .", "takes no mail"),
        ("$ORIGIN example.\nother A 192.0.2.1", "does not exist"),
        ("$ORIGIN example.\n$SERVFAIL remote MX", "failed"),
    ] {
        let explained = without_dial(zone, none(), QueueWish::Default);
        let json = explained.json();
        assert_eq!(json["result"], "undeliverable");
        assert!(json["reason"].as_str().unwrap().contains(reason), "{json}");
        assert!(explained.lines().join(" ").contains(reason));
    }
}

#[test]
fn a_host_is_spoken_to_until_a_message_would_begin() {
    let server = serve(Like { offers_tls: true, requiretls: true, ..Like::default() });
    let explained = with_dial(ZONE, enforced("mx.remote.example"), QueueWish::Yes, &server);
    let json = explained.json();
    let dial = &json["hosts"][0]["dial"];
    assert_eq!((dial["pkix"].as_str(), &dial["dane"]), (Some("yes"), &Value::Null), "{json}");
    assert_eq!((&dial["would_send"], &dial["with_requiretls"]), (&json!(true), &json!(true)));
    assert_eq!((&json["hosts"][0]["reason"], dial["tls_version"].as_str()), (&Value::Null, Some("TLSv1_3")));
    let lines = explained.lines().join("\n");
    assert!(lines.contains("a message would be sent now, with REQUIRETLS"), "{lines}");
    let expected = ["EHLO client.example", "STARTTLS", "EHLO client.example", "QUIT"];
    assert_eq!(server.said.join().unwrap(), expected, "and no MAIL");
}

#[test]
fn certificates_are_judged_as_the_rule_wants() {
    // One of another authority.
    let server = serve(Like { offers_tls: true, ..Like::default() });
    let stranger = Server { roots: serve(Like::default()).roots, ..server };
    let json = with_dial(ZONE, enforced("mx.remote.example"), QueueWish::Default, &stranger).json();
    let host = &json["hosts"][0];
    assert_eq!((&host["dial"]["would_send"], json["hosts"].as_array().unwrap().len()), (&json!(false), 1));
    assert!(host["dial"]["pkix"].as_str().unwrap().contains("invalid peer certificate"), "{json}");
    assert!(host["reason"].is_string(), "{json}");
    // Records of DANE that are about its key, whoever signed it; and others.
    for is_right in [true, false] {
        let server = serve(Like { offers_tls: true, ..Like::default() });
        let key = if is_right { server.key.clone() } else { "00".repeat(32) };
        let zone = format!("{ZONE}\n_{}._tcp.mx.remote TLSA 3 1 1 {key}\n$SECURE remote", server.port);
        let json = with_dial(&zone, none(), QueueWish::Default, &server).json();
        let host = &json["hosts"][0];
        assert_eq!(
            (host["dane"].as_str(), host["certificate"].as_str()),
            (Some("usable"), Some("dane")),
            "{json}"
        );
        assert_eq!(host["dial"]["would_send"], json!(is_right), "{json}");
        assert_eq!(host["dial"]["dane"] == "yes", is_right, "{json}");
    }
}

#[test]
fn a_connection_without_tls_follows_where_it_may() {
    let fails = Like { offers_tls: true, connections: 2, ..Like::default() };
    for like in [Like { refuses_tls: true, ..fails }, Like { leaves: true, ..fails }] {
        a_connection_without_tls_follows(like);
    }
}

fn a_connection_without_tls_follows(like: Like) {
    let server = serve(like);
    let json = with_dial(ZONE, none(), QueueWish::Default, &server).json();
    let hosts = json["hosts"].as_array().unwrap();
    assert_eq!(hosts.len(), 2, "{json}");
    assert_eq!(
        (&hosts[0]["dial"]["would_send"], &hosts[1]["dial"]["would_send"]),
        (&json!(false), &json!(true))
    );
    assert_eq!((&hosts[0]["in_clear"], &hosts[1]["in_clear"]), (&json!(false), &json!(true)));
    let said = server.said.join().unwrap();
    assert_eq!(said.iter().filter(|line| *line == "STARTTLS").count(), 1, "{said:?}");
}

#[test]
fn a_submission_server_is_spoken_to_under_tls_from_the_start() {
    let authority = Authority::new();
    let config = authority.server("mx.remote.example").config(None);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let said = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let session = ServerConnection::new(config).unwrap();
        let mut secured = BufReader::with_capacity(1, StreamOwned::new(session, stream));
        secured.get_mut().write_all(b"220 mx.remote.example\r\n").unwrap();
        let mut said = Vec::new();
        speak(&mut secured, Like::default(), true, &mut said);
        said
    });
    let host = RelayHost::Name(Domain::parse("mx.remote.example").unwrap());
    let relay = Relay { host, port: Some(port), tls: RelayTls::Verified, auth: None };
    let (arguments, roots) = (arguments(25, QueueWish::Default), Some(Ok(authority.roots())));
    let transport = Transport::Submissions(relay);
    let explained = over(&script(ZONE), &arguments, Err("nobody".to_owned()), none(), &transport, roots);
    let json = explained.json();
    assert_eq!(
        (&json["hosts"][0]["dial"]["would_send"], &json["hosts"][0]["tls"]),
        (&json!(true), &json!("implicit"))
    );
    assert_eq!(said.join().unwrap(), ["EHLO client.example", "QUIT"]);
}

#[test]
fn a_host_at_which_nobody_listens_is_said() {
    let nobody = serve(Like { connections: 1, ..Like::default() });
    drop(std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, nobody.port)).unwrap());
    let (port, roots) = (nobody.port, nobody.roots);
    nobody.said.join().unwrap();
    let closed = directly(ZONE, &arguments(port, QueueWish::Default), none(), Some(roots)).json();
    assert!(closed["hosts"][0]["reason"].as_str().unwrap().contains("refused"), "{closed}");
}
