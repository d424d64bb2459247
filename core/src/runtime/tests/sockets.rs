//! Accepting, the cap, exhaustion, moving, reading and writing.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream as StdStream};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::super::net::{
    DetachedStream, Gate, LISTEN_BACKLOG, Listener, Stream, WhenExhausted, bind_tcp, bind_unix,
};
use super::super::*;
use super::*;
use crate::testing::once;

#[test]
fn every_connection_is_accepted_while_timers_fire() {
    let gate = Gate::new(1000);
    let server = Server::start(2, &gate, |stream| async move {
        // A timeout that fires beside the accept task must not disturb it.
        let _ = timeout(Duration::from_micros(100), std::future::pending::<()>()).await;
        echo(stream).await;
    });
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    ping(&mut server.connect());
                }
            });
        }
    });
    assert_eq!(server.accepts.accepted.load(Relaxed), 400);
}

#[test]
fn stop_ends_a_pending_accept_and_frees_the_address() {
    let is_free = |_| {
        let gate = Gate::new(10);
        let server = Server::start(1, &gate, echo);
        let address = server.address;
        ping(&mut server.connect());
        drop(server);
        // The pending accept held the socket open in the kernel; now nobody listens.
        bind_tcp(address, 1, LISTEN_BACKLOG).is_ok()
    };
    // Another process may be given the port just then.
    assert!(once(is_free));
}

#[test]
fn a_second_server_cannot_share_the_port() {
    let first = bind_tcp(LOCAL.parse().unwrap(), 2, LISTEN_BACKLOG).unwrap();
    let address = first[0].local_address().unwrap().unwrap();
    assert_eq!(first[1].local_address().unwrap(), Some(address));
    let refused = bind_tcp(address, 2, LISTEN_BACKLOG).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn ipv6_sockets_leave_ipv4_alone() {
    let six = || bind_tcp("[::]:0".parse().unwrap(), 1, LISTEN_BACKLOG);
    if let Err(error) = six()
        && matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
    {
        return postrider_testing::skip("this host has no IPv6");
    }
    // Something else may have the port of IPv4.
    assert!(once(|_| {
        let six = six().unwrap();
        let port = six[0].local_address().unwrap().unwrap().port();
        bind_tcp(SocketAddr::from(([0, 0, 0, 0], port)), 1, LISTEN_BACKLOG).is_ok()
    }));
}

#[test]
fn a_connection_beyond_the_cap_is_told_and_closed() {
    let gate = Gate::new(2);
    let server = Server::start(1, &gate, echo);
    let (mut first, mut second) = (server.connect(), server.connect());
    ping(&mut first);
    ping(&mut second);
    let mut text = String::new();
    server.connect().read_to_string(&mut text).unwrap();
    assert_eq!(text, "421 too many connections\r\n");
    assert_eq!(server.accepts.refused.load(Relaxed), 1);
    drop(first);
    wait_until(|| gate.open() == 1);
    ping(&mut server.connect());
}

#[test]
fn a_panicking_session_ends_alone() {
    let gate = Gate::new(10);
    let server = Server::start(1, &gate, |mut stream: Stream| async move {
        let mut command = [0; 4];
        while let Ok(count) = stream.read(&mut command).await {
            assert_ne!(&command[..count], b"boom", "asked to");
            if count == 0 || stream.write_all(&command[..count]).await.is_err() {
                break;
            }
        }
    });
    let (mut good, mut bad) = (server.connect(), server.connect());
    ping(&mut good);
    bad.write_all(b"boom").unwrap();
    assert_eq!(bad.read(&mut [0; 1]).unwrap(), 0, "its connection is closed");
    ping(&mut good);
    assert_eq!(server.stats(0).panics, 1);
    wait_until(|| gate.open() == 1);
}

#[test]
fn exhausted_descriptors_make_accepting_pause_and_recover() {
    const CHILD: &str = "POSTRIDER_TEST_EMFILE";
    if std::env::var_os(CHILD).is_some() {
        emfile_child();
    }
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "runtime::tests::sockets::exhausted_descriptors_make_accepting_pause_and_recover",
            "--nocapture",
        ])
        .env(CHILD, "1")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = io::BufReader::new(child.stdout.take().unwrap());
    let mut ask = |word: &str| loop {
        let mut line = String::new();
        assert_ne!(io::BufRead::read_line(&mut output, &mut line).unwrap(), 0, "the child ended");
        if let Some((_, rest)) = line.trim().split_once(word) {
            return rest.to_owned();
        }
    };
    let address: SocketAddr = ask("address ").parse().unwrap();
    let operators: SocketAddr = ask("operators ").parse().unwrap();
    let connect = |address| {
        let stream = StdStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    // An accept that waits has the limit of when it began to.
    ping(&mut connect(operators));
    ping(&mut connect(address));
    let mut stdin = child.stdin.take().unwrap();
    let began = Instant::now();
    let connections: Vec<_> = (0..80).map(|_| StdStream::connect(address).unwrap()).collect();
    let mut pauses = 0;
    while pauses < 3 {
        thread::sleep(Duration::from_millis(20));
        stdin.write_all(b"pauses\n").unwrap();
        pauses = ask("pauses ").parse::<u64>().unwrap();
    }
    // A service that keeps its connections has one to give, and those behind it wait.
    let mut first = connect(operators);
    ping(&mut first);
    let mut second = connect(operators);
    second.write_all(b"ping").unwrap();
    second.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let kind = second.read(&mut [0; 4]).unwrap_err().kind();
    assert!(matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut), "{kind:?}");
    drop(connections);
    second.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut pong = [0; 4];
    second.read_exact(&mut pong).unwrap();
    assert_eq!(&pong, b"ping");
    // The last that are closed may come after the next that connects, which is then closed, too.
    wait_until(|| {
        let mut next = connect(address);
        next.write_all(b"ping").is_ok() && next.read_exact(&mut [0; 4]).is_ok()
    });
    stdin.write_all(b"stop\n").unwrap();
    let pauses: u64 = ask("pauses ").parse().unwrap();
    // 167,000 failed accepts in half a second without the pause. The first pauses of each service are shorter.
    let most = 2 * (began.elapsed().as_millis() as u64 / 200 + 4);
    assert!(pauses <= most, "{pauses} pauses in {:?}", began.elapsed());
    let processor_ms: u64 = ask("processor ").parse().unwrap();
    assert!(processor_ms < 300, "{processor_ms} ms of processor time");
    child.wait().unwrap();
}

/// Serves with room for some 30 connections until told to stop, then tells what it cost.
fn emfile_child() -> ! {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let server = Server::start(1, &Gate::new(1000), echo);
    let kept = ServeOptions { exhausted: WhenExhausted::Wait, ..options(&Gate::new(1000)) };
    let operators = Server::start_with(1, kept, echo);
    // What their shards open at their start is open.
    ping(&mut server.connect());
    ping(&mut operators.connect());
    let used = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(used + 30), maximum }).unwrap();
    println!("\naddress {}\noperators {}", server.address, operators.address);
    loop {
        let mut line = String::new();
        io::stdin().read_line(&mut line).unwrap();
        println!("\npauses {}", server.accepts.exhausted.load(Relaxed));
        if line != "pauses\n" {
            break;
        }
    }
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    println!("\nprocessor {}", ticks * 10);
    std::process::exit(0)
}

#[test]
fn five_hundred_sessions_move_to_another_shard() {
    const SESSIONS: usize = 500;
    let (to_home, arrivals) = channel::bounded::<DetachedStream>(64);
    let arrivals = Arc::new(Mutex::new(Some(arrivals)));
    let sockets = bind_tcp(LOCAL.parse().unwrap(), 1, 1024).unwrap();
    let address = sockets[0].local_address().unwrap().unwrap();
    let sockets = Arc::new(Mutex::new(sockets));
    let (shutdown, gate) = (Shutdown::new(), Gate::new(SESSIONS));
    let (stop, shard_gate) = (shutdown.clone(), gate.clone());
    let runtime_options = unpinned(2);
    let runtime = Runtime::start(&runtime_options, shutdown, move |shard| {
        let socket = (shard == ShardId(0)).then(|| sockets.lock().unwrap().pop().unwrap());
        let arrivals = (shard == ShardId(1)).then(|| arrivals.lock().unwrap().take().unwrap());
        let (stop, gate, to_home) = (stop.clone(), shard_gate.clone(), to_home.clone());
        async move {
            if let Some(socket) = socket {
                let handler = move |mut stream: Stream| {
                    let to_home = to_home.clone();
                    async move {
                        // An idle read is dropped at the move; its bytes must not be.
                        let mut login = [0; 1];
                        stream.read(&mut login).await.unwrap();
                        let _ = timeout(Duration::from_millis(1), stream.read(&mut login)).await;
                        to_home.send(stream.detach().unwrap()).await.unwrap();
                    }
                };
                Listener::new(socket).unwrap().serve(options(&gate), stop.clone(), handler);
            }
            if let Some(arrivals) = arrivals {
                spawn("arrivals", async move {
                    while let Ok(stream) = arrivals.recv().await {
                        spawn("moved session", async move {
                            assert_eq!(current_shard(), Some(ShardId(1)));
                            let mut stream = stream.attach();
                            stream.write_all(b"here").await.unwrap();
                            echo(stream).await;
                        });
                    }
                });
            }
            stop.wait().await;
        }
    })
    .unwrap();
    let mut clients: Vec<_> = (0..SESSIONS).map(|_| StdStream::connect(address).unwrap()).collect();
    for client in &mut clients {
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(b"L").unwrap();
    }
    for client in &mut clients {
        let mut greeting = [0; 4];
        client.read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting, b"here");
        ping(client);
    }
    assert_eq!(gate.open(), SESSIONS, "the permits moved along");
    drop(clients);
    wait_until(|| gate.open() == 0);
    runtime.shutdown().begin(Duration::ZERO);
    runtime.join().unwrap();
}

#[test]
fn a_dropped_read_loses_nothing() {
    let server = Server::start(1, &Gate::new(2), |mut stream: Stream| async move {
        let mut answer = Vec::new();
        while answer.len() < 100 {
            let mut octet = [0; 1];
            if let Ok(read) = timeout(Duration::from_micros(300), stream.read(&mut octet)).await {
                assert_eq!(read.unwrap(), 1);
                answer.push(octet[0]);
            }
        }
        stream.write_all(&answer).await.unwrap();
    });
    let mut client = server.connect();
    let sent: Vec<u8> = (0..100).collect();
    for octet in &sent {
        client.write_all(&[*octet]).unwrap();
        thread::sleep(Duration::from_micros(200));
    }
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    assert_eq!(received, sent);
}

#[test]
fn a_slow_reader_holds_the_writer_up_and_gets_all() {
    const OCTETS: usize = 20_000_000;
    let server = Server::start(1, &Gate::new(2), |mut stream: Stream| async move {
        let text: Vec<u8> = (0..OCTETS).map(|index| index as u8).collect();
        stream.write_all(&text).await.unwrap();
    });
    let mut client = server.connect();
    thread::sleep(Duration::from_millis(100));
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    assert_eq!(received.len(), OCTETS);
    assert!(received.iter().enumerate().all(|(index, octet)| *octet == index as u8));
}

#[test]
fn half_closed_streams_still_answer() {
    let server = Server::start(1, &Gate::new(2), |mut stream: Stream| async move {
        let mut all = Vec::new();
        while stream.read_with(&[], |input, count| (all.extend_from_slice(input), count).1).await.unwrap() > 0
        {
        }
        stream.write_all(&all).await.unwrap();
    });
    let mut client = server.connect();
    client.write_all(b"question").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "question");
}

#[test]
fn unix_streams_know_their_peer() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ctl");
    let socket = bind_unix(&path, 0o600, 16).unwrap();
    assert!(bind_unix(&path, 0o600, 16).is_err(), "somebody listens there");
    let gate = Gate::new(4);
    let runtime = serve_all(vec![socket], options(&gate), |mut stream: Stream| async move {
        let peer = stream.peer_credentials().unwrap();
        assert_eq!(stream.peer_address().unwrap(), None);
        stream.write_all(format!("{} {}", peer.pid, peer.uid).as_bytes()).await.unwrap();
    });
    let mut text = String::new();
    StdUnixStream::connect(&path).unwrap().read_to_string(&mut text).unwrap();
    let uid = rustix::process::getuid().as_raw();
    assert_eq!(text, format!("{} {uid}", std::process::id()));
    runtime.shutdown().begin(Duration::ZERO);
    runtime.join().unwrap();
    // What a crash leaves behind is replaced, other files are not.
    drop(bind_unix(&path, 0o600, 16).unwrap());
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "precious").unwrap();
    assert!(bind_unix(&path, 0o600, 16).is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_busy_task_that_yields_lets_timers_and_sockets_through() {
    let server = Server::start(1, &Gate::new(4), |stream: Stream| async move {
        spawn("busy", async {
            let end = now() + Duration::from_secs(1);
            while now() < end {
                std::hint::black_box((0..1000).sum::<u64>());
                yield_if_needed().await;
            }
        });
        echo(stream).await;
    });
    let trips = |_| {
        let mut client = server.connect();
        let mut trips: Vec<_> = (0..9)
            .map(|_| {
                let began = Instant::now();
                ping(&mut client);
                began.elapsed()
            })
            .collect();
        trips.sort();
        trips[2]
    };
    // If who gives way stayed ready, a round trip would take some 250 ms. Some of them may be slow because others use the
    // machine.
    assert!(once(|number| trips(number) < Duration::from_millis(60)));
}

#[test]
fn a_task_whose_stream_always_has_more_gives_way() {
    const OCTETS: usize = 100_000;
    let (mut theirs, ours) = StdUnixStream::pair().unwrap();
    theirs.write_all(&vec![b'x'; OCTETS]).unwrap();
    let turns = on_shard(async move || {
        let is_read = Rc::new(Cell::new(false));
        let all_read = Rc::clone(&is_read);
        spawn("reads", async move {
            let mut stream = DetachedStream::from_fd(ours.into()).attach();
            let mut octet = [0];
            for _ in 0..OCTETS {
                // What is asked for is there each time, and fills the buffer: this never waits.
                assert_eq!(stream.read(&mut octet).await.unwrap(), 1);
            }
            all_read.set(true);
        });
        let mut turns = 0;
        while !is_read.get() {
            yield_now().await;
            turns += 1;
        }
        turns
    });
    // So many system calls take some ten times the 2 ms of a run. One turn comes before the first run.
    assert!(turns > 3, "{turns} turns");
}

#[test]
fn who_gives_way_again_and_again_keeps_nobody_from_sockets() {
    const TRIPS: usize = 50;
    let (here, there) = StdUnixStream::pair().unwrap();
    let turns = on_shard(async move || {
        let is_done = Rc::new(Cell::new(false));
        let done = Rc::clone(&is_done);
        spawn("answers", async move {
            let (mut stream, mut octet) = (DetachedStream::from_fd(there.into()).attach(), [0]);
            while let Ok(1) = stream.read(&mut octet).await {
                stream.write(&octet).await.unwrap();
            }
        });
        spawn("asks", async move {
            let (mut stream, mut octet) = (DetachedStream::from_fd(here.into()).attach(), [0]);
            for _ in 0..TRIPS {
                stream.write(&octet).await.unwrap();
                assert_eq!(stream.read(&mut octet).await.unwrap(), 1);
            }
            done.set(true);
        });
        let mut turns = 0;
        while !is_done.get() {
            let began = Instant::now();
            while began.elapsed() < Duration::from_micros(200) {}
            yield_now().await;
            turns += 1;
        }
        turns
    });
    // Two sockets for each trip, and a turn for each look at them: not the hundreds of the longest run.
    assert!(turns < TRIPS * 10, "{turns} turns");
}
