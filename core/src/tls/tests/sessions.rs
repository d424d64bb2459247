//! Sessions that work: versions, sizes, resumption, moving to another shard, ending.

use rustls::HandshakeKind;

use super::*;
use crate::runtime::net::{DetachedStream, LISTEN_BACKLOG, Listener, bind_tcp};
use crate::runtime::tests::{LOCAL, on_shard, options, wait_until};
use crate::runtime::{
    Runtime, RuntimeOptions, ShardId, Shutdown, channel, current_shard, sleep, spawn, timeout,
};

/// What the server saw of a connection.
fn seen_by_server(versions: Versions) -> (TlsInfo, Option<[u8; 32]>, Client) {
    let identity = Identity::new();
    let seen = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&seen);
    let server = serve(identity.service(ServiceOptions::IMAP), move |transport| {
        let slot = Arc::clone(&slot);
        async move {
            *slot.lock().unwrap() = Some((transport.tls_info().unwrap(), transport.channel_binding()));
            echo(transport).await;
        }
    });
    let mut client = dial(&server, &Arc::new(identity.client(versions)), "localhost").unwrap();
    ping(&mut client);
    let (info, binding) = seen.lock().unwrap().take().unwrap();
    (info, binding, client)
}

#[test]
fn tls_1_3_has_a_channel_binding_that_both_sides_agree_on() {
    let (info, binding, client) = seen_by_server(TLS13);
    assert_eq!(info.version, "TLSv1.3");
    assert_eq!(info.cipher, "TLS_AES_256_GCM_SHA384");
    assert_eq!((info.protocol, info.resumed), (None, false));
    let theirs =
        client.conn.export_keying_material([0_u8; 32], b"EXPORTER-Channel-Binding", Some(b"")).unwrap();
    assert_eq!(binding, Some(theirs));
}

#[test]
fn tls_1_2_works_without_channel_binding() {
    let (info, binding, _) = seen_by_server(TLS12);
    assert_eq!(info.version, "TLSv1.2");
    assert_eq!(info.cipher, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384");
    assert_eq!(binding, None);
}

#[test]
fn the_channel_binding_works_with_sha_256_suites_too() {
    let identity = Identity::new();
    let seen = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&seen);
    let server = serve(identity.service(ServiceOptions::IMAP), move |transport| {
        *slot.lock().unwrap() = Some((transport.tls_info().unwrap().cipher, transport.channel_binding()));
        echo(transport)
    });
    let mut provider = default_provider();
    provider.cipher_suites.retain(|suite| suite.suite() == rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&identity.pairs[0].chain).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(TLS13)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut client = dial(&server, &Arc::new(config), "localhost").unwrap();
    ping(&mut client);
    let theirs = client.conn.export_keying_material([0_u8; 32], b"EXPORTER-Channel-Binding", None).unwrap();
    assert_eq!(*seen.lock().unwrap(), Some(("TLS_AES_128_GCM_SHA256", Some(theirs))));
}

#[test]
fn large_transfers_arrive_whole_in_both_directions() {
    const OCTETS: usize = 6_000_001;
    for versions in [TLS12, TLS13] {
        let identity = Identity::new();
        let server = serve(identity.service(ServiceOptions::SMTP), |mut transport| async move {
            let mut all = Vec::new();
            while all.len() < OCTETS {
                assert!(transport.receive(|bytes| all.extend_from_slice(bytes)).await.unwrap() > 0);
            }
            transport.write_all(&all).await.unwrap();
            transport.close(soon()).await;
        });
        let mut client = dial(&server, &Arc::new(identity.client(versions)), "localhost").unwrap();
        let sent: Vec<u8> = (0..OCTETS).map(|index| ((index * 7) >> 3) as u8).collect();
        client.write_all(&sent).unwrap();
        let mut received = Vec::new();
        // An end without close_notify would be an error here.
        client.read_to_end(&mut received).unwrap();
        assert!(received == sent);
    }
}

#[test]
fn a_handshake_that_arrives_octet_by_octet_works() {
    let identity = Identity::new();
    let server = serve(identity.service(ServiceOptions::IMAP), echo);
    let mut socket = server.connect();
    socket.set_nodelay(true).unwrap();
    let config = Arc::new(identity.client(TLS13));
    let mut connection = ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
    while connection.is_handshaking() || connection.wants_write() {
        let mut flight = Vec::new();
        while connection.wants_write() {
            connection.write_tls(&mut flight).unwrap();
        }
        for octet in flight {
            socket.write_all(&[octet]).unwrap();
        }
        if connection.is_handshaking() {
            connection.read_tls(&mut socket).unwrap();
            connection.process_new_packets().unwrap();
        }
    }
    ping(&mut StreamOwned::new(connection, socket));
}

#[test]
fn data_right_behind_the_handshake_is_kept() {
    let identity = Identity::new();
    let server = serve(identity.service(ServiceOptions::IMAP), |transport| async move {
        // The data arrives with the client's last handshake message, before the first read.
        sleep(Duration::from_millis(20)).await;
        echo(transport).await;
    });
    let mut socket = server.connect();
    let config = Arc::new(identity.client(TLS13));
    let mut connection = ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
    connection.writer().write_all(b"early").unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).unwrap();
    }
    let mut answer = [0; 5];
    StreamOwned::new(connection, socket).read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"early");
}

#[test]
fn a_dropped_read_loses_nothing_under_tls() {
    let identity = Identity::new();
    let server = serve(identity.service(ServiceOptions::IMAP), |mut transport| async move {
        let mut answer = Vec::new();
        while answer.len() < 50 {
            let mut octet = [0; 1];
            if let Ok(read) = timeout(Duration::from_micros(300), transport.read(&mut octet)).await {
                assert_eq!(read.unwrap(), 1);
                answer.push(octet[0]);
            }
        }
        transport.write_all(&answer).await.unwrap();
    });
    let mut client = dial(&server, &Arc::new(identity.client(TLS13)), "localhost").unwrap();
    let sent: Vec<u8> = (0..50).collect();
    for pair in sent.chunks(2) {
        client.write_all(pair).unwrap();
        std::thread::sleep(Duration::from_micros(300));
    }
    let mut received = vec![0; 50];
    client.read_exact(&mut received).unwrap();
    assert_eq!(received, sent);
}

fn kind_of_second(
    versions: Versions,
    identity: &Identity,
    first: ServiceOptions,
    second: Option<ServiceOptions>,
) -> HandshakeKind {
    let first = serve(identity.service(first), echo);
    let second = second.map(|options| serve(identity.service(options), echo));
    // One configuration, so one store of tickets, keyed by server name.
    let config = Arc::new(identity.client(versions));
    ping(&mut dial(&first, &config, "localhost").unwrap());
    let mut client = dial(second.as_ref().unwrap_or(&first), &config, "localhost").unwrap();
    ping(&mut client);
    client.conn.handshake_kind().unwrap()
}

#[test]
fn tickets_resume_within_a_service_only() {
    let identity = Identity::new();
    for versions in [TLS12, TLS13] {
        let same = kind_of_second(versions, &identity, ServiceOptions::IMAP, None);
        assert_eq!(same, HandshakeKind::Resumed);
        let (first, second) = (ServiceOptions::SUBMISSION, Some(ServiceOptions::IMAP));
        assert_ne!(kind_of_second(versions, &identity, first, second), HandshakeKind::Resumed);
    }
}

#[test]
fn port_25_gives_no_tickets() {
    for versions in [TLS12, TLS13] {
        let second = kind_of_second(versions, &Identity::new(), ServiceOptions::SMTP, None);
        assert_ne!(second, HandshakeKind::Resumed);
    }
}

#[test]
fn sessions_move_to_another_shard_in_the_middle_of_a_record() {
    const SESSIONS: usize = 100;
    let identity = Identity::new();
    let service = identity.service(ServiceOptions::IMAP);
    let sockets = Arc::new(Mutex::new(bind_tcp(LOCAL.parse().unwrap(), 1, LISTEN_BACKLOG).unwrap()));
    let address = sockets.lock().unwrap()[0].local_address().unwrap().unwrap();
    let (to_home, arrivals) = channel::bounded::<SessionPacket>(16);
    let (shutdown, gate) = (Shutdown::new(), Gate::new(1000));
    let (stop, watched) = (shutdown.clone(), gate.clone());
    let two = RuntimeOptions { pin: false, ..RuntimeOptions::new(2) };
    let runtime = Runtime::start(&two, shutdown, move |shard| {
        let socket = (shard == ShardId(0)).then(|| sockets.lock().unwrap().pop().unwrap());
        let (service, to_home, arrivals) = (service.clone(), to_home.clone(), arrivals.clone());
        let (stop, gate) = (stop.clone(), gate.clone());
        async move {
            if let Some(socket) = socket {
                Listener::new(socket).unwrap().serve(options(&gate), stop.clone(), move |stream| {
                    let (service, to_home) = (service.clone(), to_home.clone());
                    async move {
                        let mut transport =
                            Transport::Plain(stream).start_tls(&service, Ask::Nothing, soon()).await.unwrap();
                        let mut login = [0; 4];
                        assert_eq!(transport.read(&mut login).await.unwrap(), 4);
                        assert_eq!(&login, b"move");
                        to_home.send(transport.into_packet().unwrap()).await.unwrap();
                    }
                });
            } else {
                spawn("arrivals", async move {
                    while let Ok(packet) = arrivals.recv().await {
                        spawn("moved", async move {
                            assert_eq!(current_shard(), Some(ShardId(1)));
                            let mut transport = Transport::from_packet(packet);
                            transport.write_all(b"here").await.unwrap();
                            echo(transport).await;
                        });
                    }
                });
            }
            stop.wait().await;
        }
    })
    .unwrap();
    let config = Arc::new(identity.client(BOTH));
    let mut clients = Vec::new();
    for _ in 0..SESSIONS {
        let mut socket = StdStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut connection = ClientConnection::new(Arc::clone(&config), name).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut socket).unwrap();
        }
        clients.push(move_in_mid_record(connection, socket));
    }
    for client in &mut clients {
        ping(client);
    }
    drop(clients);
    wait_until(|| watched.open() == 0);
    runtime.shutdown().begin(Duration::ZERO);
    runtime.join().unwrap();
}

/// Sends `move` with the first half of the next record, and the second half after the move.
fn move_in_mid_record(mut connection: ClientConnection, mut socket: StdStream) -> Client {
    let mut records = Vec::new();
    connection.writer().write_all(b"move").unwrap();
    while connection.wants_write() {
        connection.write_tls(&mut records).unwrap();
    }
    let cut = records.len() + 9;
    connection.writer().write_all(b"after the move").unwrap();
    while connection.wants_write() {
        connection.write_tls(&mut records).unwrap();
    }
    socket.write_all(&records[..cut]).unwrap();
    let mut client = StreamOwned::new(connection, socket);
    let mut answer = [0; 4];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"here");
    client.sock.write_all(&records[cut..]).unwrap();
    let mut answer = [0; 14];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"after the move");
    client
}

#[test]
fn plaintext_behind_starttls_is_not_interpreted() {
    let identity = Identity::new();
    let service = identity.service(ServiceOptions::SMTP);
    let server = Server::start(1, &Gate::new(10), move |stream| {
        let service = service.clone();
        async move {
            let mut transport = Transport::Plain(stream);
            let mut input = Vec::new();
            transport.receive(|bytes| input.extend_from_slice(bytes)).await.unwrap();
            assert_eq!(input, b"STARTTLS\r\nMAIL FROM:<injected@example>\r\n");
            transport.write_all(b"220 go\r\n").await.unwrap();
            // What a session does at this point (RFC 3207 §4.2).
            input.clear();
            let mut transport = transport.start_tls(&service, Ask::Nothing, soon()).await.unwrap();
            transport.receive(|bytes| input.extend_from_slice(bytes)).await.unwrap();
            transport.write_all(&input).await.unwrap();
        }
    });
    let mut socket = server.connect();
    socket.write_all(b"STARTTLS\r\nMAIL FROM:<injected@example>\r\n").unwrap();
    socket.read_exact(&mut [0; 8]).unwrap();
    let config = Arc::new(identity.client(TLS13));
    let connection = ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
    let mut client = StreamOwned::new(connection, socket);
    ping(&mut client);
}

#[test]
fn the_last_reply_arrives_although_input_was_not_read() {
    let identity = Identity::new();
    let server = serve(identity.service(ServiceOptions::SMTP), |mut transport| async move {
        transport.read(&mut [0; 1]).await.unwrap();
        transport.write_all(b"421 too much\r\n").await.unwrap();
        transport.close(soon()).await;
    });
    let mut client = dial(&server, &Arc::new(identity.client(TLS13)), "localhost").unwrap();
    client.write_all(&[b'x'; 300_000]).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    let mut reply = String::new();
    client.read_to_string(&mut reply).unwrap();
    assert_eq!(reply, "421 too much\r\n");
}

#[test]
fn our_client_side_talks_to_our_server_side() {
    let identity = Identity::new();
    let server = serve(identity.service(ServiceOptions::SMTP), echo);
    let (config, socket) = (Arc::new(identity.client(TLS13)), server.connect());
    on_shard(move || async move {
        let stream = DetachedStream::from_fd(socket.into()).attach();
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = TlsStream::connect(stream, config, name, soon()).await.unwrap();
        let text = vec![b'y'; 200_000];
        let mut received = Vec::new();
        for chunk in text.chunks(10_000) {
            client.write_all(chunk).await.unwrap();
            let end = received.len() + chunk.len();
            while received.len() < end {
                client.receive(&mut |bytes| received.extend_from_slice(bytes)).await.unwrap();
            }
        }
        assert_eq!(received, text);
        client.shutdown().await.unwrap();
    });
}
