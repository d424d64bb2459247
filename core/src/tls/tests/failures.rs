//! Peers that do it wrong, and the reasons under which they are counted.

use super::*;
use crate::runtime::tests::wait_until;

fn only(outcomes: &Outcomes) -> String {
    wait_until(|| !outcomes.lock().unwrap().is_empty());
    let mut outcomes = outcomes.lock().unwrap();
    assert_eq!(outcomes.len(), 1);
    outcomes.pop().unwrap()
}

/// What the server makes of raw octets, and what it answers.
fn reason_for(octets: &[u8]) -> (String, Vec<u8>) {
    let (server, outcomes) = serve_outcomes(Identity::new().service(ServiceOptions::SMTP), PATIENCE, echo);
    let mut socket = server.connect();
    socket.write_all(octets).unwrap();
    let reason = only(&outcomes);
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    assert_eq!(server.stats(0).panics, 0);
    (reason, answer)
}

#[test]
fn what_is_not_tls_is_told_from_tls_that_is_too_old() {
    assert_eq!(reason_for(b"EHLO client.example\r\n").0, "nottls");
    assert_eq!(reason_for(b"GET / HTTP/1.1\r\n\r\n").0, "nottls");
    assert_eq!(reason_for(&[0; 100]).0, "nottls");
    assert_eq!(reason_for(&[0x80, 0x2e, 0x01, 0x00, 0x02, 0x00, 0x15, 0, 0, 0, 0x10]).0, "sslv2");
}

#[test]
fn tls_1_1_is_refused_with_an_alert() {
    let mut hello = vec![0x03, 0x02];
    hello.extend_from_slice(&[7; 32]); // random
    hello.extend_from_slice(&[0, 0, 2, 0xc0, 0x13, 1, 0]); // no session, one suite, no compression
    hello.extend_from_slice(&[0, 0]); // no extensions
    let mut record = vec![22, 3, 1, 0, hello.len() as u8 + 4, 1, 0, 0, hello.len() as u8];
    record.extend_from_slice(&hello);
    let (reason, answer) = reason_for(&record);
    assert_eq!(reason, "unsupportedversions");
    // A fatal alert (RFC 8446 §6): rustls sends handshake_failure, or protocol_version if the hello
    // has the extension that it looks for first.
    assert_eq!((answer[0], &answer[answer.len() - 2..]), (21, &[2, 40][..]));
}

#[test]
fn a_peer_that_hangs_up_is_counted_as_eof() {
    let (server, outcomes) = serve_outcomes(Identity::new().service(ServiceOptions::SMTP), PATIENCE, echo);
    drop(server.connect());
    assert_eq!(only(&outcomes), "eof");
}

#[test]
fn a_stalled_handshake_ends_at_its_deadline() {
    let time = Duration::from_millis(500);
    let (server, outcomes) = serve_outcomes(Identity::new().service(ServiceOptions::SMTP), time, echo);
    let began = Instant::now();
    let mut socket = server.connect();
    socket.write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
    assert_eq!(only(&outcomes), "timeout");
    assert!(began.elapsed() >= time);
}

#[test]
fn an_oversized_handshake_message_is_refused() {
    // A hello announced as 60,000 octets, in records of 16,384.
    let mut octets = Vec::new();
    for number in 0..4 {
        octets.extend_from_slice(&[22, 3, 1, 0x40, 0]);
        let start = octets.len();
        if number == 0 {
            octets.extend_from_slice(&[1, 0, 0xea, 0x60, 3, 3]);
        }
        octets.resize(start + 0x4000, 0);
    }
    let (reason, _) = reason_for(&octets[..50_000]);
    assert_eq!(reason, "toolarge");
}

#[test]
fn injected_plaintext_that_reaches_the_handshake_fails_it() {
    let identity = Identity::new();
    let (server, outcomes) = serve_outcomes(identity.service(ServiceOptions::SMTP), PATIENCE, echo);
    let mut socket = server.connect();
    socket.write_all(b"MAIL FROM:<injected@example>\r\n").unwrap();
    let config = Arc::new(identity.client(TLS13));
    let connection = ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
    let mut client = StreamOwned::new(connection, socket);
    assert!(client.write_all(b"x").is_err() || client.read(&mut [0; 1]).is_err());
    assert_eq!(only(&outcomes), "nottls");
}

#[test]
fn the_wrong_alpn_protocol_is_refused_and_none_is_welcome() {
    let identity = Identity::new();
    let (server, outcomes) = serve_outcomes(identity.service(ServiceOptions::IMAP), PATIENCE, echo);
    for versions in [TLS12, TLS13] {
        let mut config = identity.client(versions);
        config.alpn_protocols = vec![b"http/1.1".to_vec(), b"smtp".to_vec()];
        let refused = dial(&server, &Arc::new(config.clone()), "localhost").err().unwrap();
        assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
        assert_eq!(only(&outcomes), "alpn");
        config.alpn_protocols = vec![b"http/1.1".to_vec(), b"imap".to_vec()];
        let mut client = dial(&server, &Arc::new(config.clone()), "localhost").unwrap();
        ping(&mut client);
        assert_eq!(client.conn.alpn_protocol(), Some(&b"imap"[..]));
        config.alpn_protocols.clear();
        ping(&mut dial(&server, &Arc::new(config), "localhost").unwrap());
    }
}

#[test]
fn an_alert_of_the_client_is_named() {
    let identity = Identity::new();
    let (server, outcomes) = serve_outcomes(identity.service(ServiceOptions::SMTP), PATIENCE, echo);
    let stranger = Arc::new(Identity::client_trusting(&identity.pairs[1..], TLS12));
    assert!(dial(&server, &stranger, "localhost").is_err());
    assert_eq!(only(&outcomes), "alert-48-UnknownCA");
}

#[test]
fn an_end_without_close_notify_is_an_error_and_with_it_is_not() {
    let identity = Identity::new();
    let ends: Arc<Mutex<Vec<String>>> = Arc::default();
    let notes = Arc::clone(&ends);
    let server = serve(identity.service(ServiceOptions::SMTP), move |mut transport| {
        let notes = Arc::clone(&notes);
        async move {
            let end = loop {
                match transport.receive(|_| {}).await {
                    Ok(0) => break "orderly".to_owned(),
                    Ok(_) => {}
                    Err(TransportError::Tls(error)) => break error.reason().into_owned(),
                    Err(error) => break error.to_string(),
                }
            };
            notes.lock().unwrap().push(end);
        }
    });
    let config = Arc::new(identity.client(TLS13));
    let mut client = dial(&server, &config, "localhost").unwrap();
    client.write_all(b"cut").unwrap();
    client.sock.shutdown(std::net::Shutdown::Write).unwrap();
    wait_until(|| ends.lock().unwrap().len() == 1);
    let mut client = dial(&server, &config, "localhost").unwrap();
    client.write_all(b"whole").unwrap();
    client.conn.send_close_notify();
    client.flush().unwrap();
    wait_until(|| ends.lock().unwrap().len() == 2);
    assert_eq!(*ends.lock().unwrap(), ["truncated", "orderly"]);
}

/// Who refuses a request may answer before all of it came, and read no more.
#[test]
fn what_was_said_before_writing_failed_is_read() {
    let identity = Identity::new();
    let heard = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&heard);
    let server = serve(identity.service(ServiceOptions::SMTP), move |mut transport| {
        let slot = Arc::clone(&slot);
        async move {
            // More than the kernel takes without a reader.
            assert!(transport.write_all(&vec![b'x'; 64 << 20]).await.is_err());
            let mut said = [0; 10];
            let read = transport.read(&mut said).await;
            let read = read.map(|octets| said[..octets].to_vec()).map_err(|error| error.to_string());
            *slot.lock().unwrap() = Some(read);
        }
    });
    let mut client = dial(&server, &Arc::new(identity.client(TLS13)), "localhost").unwrap();
    client.read_exact(&mut [0; 1]).unwrap();
    client.write_all(b"enough").unwrap();
    client.flush().unwrap();
    // It closes with something unread, so that what is sent then fails.
    drop(client);
    wait_until(|| heard.lock().unwrap().is_some());
    assert_eq!(heard.lock().unwrap().take().unwrap(), Ok(b"enough".to_vec()));
}

#[test]
fn a_record_changed_on_the_way_ends_the_session() {
    let identity = Identity::new();
    let failed = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&failed);
    let server = serve(identity.service(ServiceOptions::SMTP), move |mut transport| {
        let slot = Arc::clone(&slot);
        async move {
            transport.write_all(b"+").await.unwrap();
            let error = transport.read(&mut [0; 10]).await.unwrap_err();
            // What a driver may do after an error must be harmless.
            assert!(transport.read(&mut [0; 10]).await.is_err());
            assert!(transport.write_all(b"more").await.is_err());
            assert!(transport.shutdown().await.is_err());
            *slot.lock().unwrap() = Some(error.to_string());
        }
    });
    let mut client = dial(&server, &Arc::new(identity.client(TLS13)), "localhost").unwrap();
    // The client is done with the handshake before the server is: a record that comes at once would be a part of it.
    client.read_exact(&mut [0; 1]).unwrap();
    let mut record = Vec::new();
    client.conn.writer().write_all(b"secret").unwrap();
    client.conn.write_tls(&mut record).unwrap();
    *record.last_mut().unwrap() ^= 1;
    client.sock.write_all(&record).unwrap();
    wait_until(|| failed.lock().unwrap().is_some());
    assert!(failed.lock().unwrap().take().unwrap().contains("decrypt"));
    let told = client.read(&mut [0; 1]).unwrap_err();
    assert!(told.to_string().contains("BadRecordMac"), "{told}");
    assert_eq!(server.stats(0).panics, 0);
}
