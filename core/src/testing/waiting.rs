//! What keeps the outcome of a test from the speed of the machine, from the time of day and from other processes.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::clock::unix_now;

/// How long a test waits for what has to come. Only what never comes takes so long, however busy the machine is.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Tries of what a busy machine may spoil.
const TRIES: usize = 5;

/// Waits for something that happens in the background.
pub fn wait_until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether something is so in one of some tries, which are numbered. For what has an upper limit of time: a machine that is busy
/// may exceed it now and then, a server that is wrong does each time.
pub fn once(is_so: impl FnMut(usize) -> bool) -> bool {
    (0..TRIES).any(is_so)
}

/// Runs a test that has to begin and end in one minute, day or the like of the calendar: again, when it failed and did not.
pub fn within_one(seconds: i64, test: impl Fn()) {
    for _ in 0..TRIES {
        let begun = unix_now().div_euclid(seconds);
        let Err(panic) = catch_unwind(AssertUnwindSafe(&test)) else { return };
        if unix_now().div_euclid(seconds) == begun {
            resume_unwind(panic);
        }
    }
    panic!("the test takes longer than {seconds} seconds");
}

/// A port of this host at which nobody listens, and nobody else will as long as this is kept: neither for TCP nor for UDP.
pub struct ClosedPort {
    _tcp: Socket,
    _udp: UdpSocket,
    address: SocketAddr,
}

impl ClosedPort {
    /// One of this address.
    pub fn of(ip: Ipv4Addr) -> Self {
        loop {
            let udp = UdpSocket::bind((ip, 0)).unwrap();
            let address = udp.local_addr().unwrap();
            // It takes datagrams of itself alone.
            udp.connect(address).unwrap();
            let tcp = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            if tcp.bind(&address.into()).is_ok() {
                return Self { _tcp: tcp, _udp: udp, address };
            }
        }
    }

    /// Where nobody listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

#[test]
fn a_closed_port_refuses() {
    let closed = ClosedPort::of(Ipv4Addr::LOCALHOST);
    let refused = std::net::TcpStream::connect(closed.address()).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let asking = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    asking.connect(closed.address()).unwrap();
    asking.send(b"x").unwrap();
    asking.set_read_timeout(Some(PATIENCE)).unwrap();
    let refused = asking.recv(&mut [0]).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_test_that_was_not_within_one_minute_is_run_again_and_a_wrong_one_fails() {
    let runs = std::cell::Cell::new(0);
    // The minute number of a clock that is at its end when the first run ends.
    within_one(1, || {
        runs.set(runs.get() + 1);
        let now = unix_now();
        while runs.get() == 1 && unix_now() == now {
            thread::sleep(Duration::from_millis(5));
        }
        assert_ne!(runs.get(), 1, "a second began");
    });
    assert_eq!(runs.get(), 2);
    let wrong = catch_unwind(|| within_one(i64::MAX, || panic!("wrong")));
    assert!(wrong.is_err());
}
