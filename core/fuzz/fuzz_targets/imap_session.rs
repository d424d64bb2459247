//! A client that sends anything to a whole server: shards, store and sessions of this process.
//!
//! Every panic ends the run, also one that a server would survive by ending the session alone. What comes back
//! must be responses, and the connection must end soon after the client's side did.
#![no_main]

use std::io::{Read, Write};
use std::num::NonZeroUsize;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use postrider_core::config::{Config, Protocol, TlsMode};
use postrider_core::control::protocol::{Request, Secret};
use postrider_core::control::{Client, Events};
use postrider_core::log::Level;
use postrider_fuzz::check_responses;

/// Inputs that one account gets. Its mailboxes grow, and a crash depends on all of them.
const INPUTS_OF_AN_ACCOUNT: u32 = 300;
/// Octets that an account may store.
const QUOTA: u64 = 2 << 20;
/// What no session takes: it hangs.
const PATIENCE: Duration = Duration::from_secs(30);
const PASSWORD: &str = "a password";

struct Server {
    dir: tempfile::TempDir,
    address: SocketAddr,
    socket: PathBuf,
    accounts: u32,
    inputs: u32,
}

static SERVER: Mutex<Option<Server>> = Mutex::new(None);

struct Quiet;

impl Events for Quiet {
    fn data(&mut self, _: &[u8]) -> std::io::Result<()> {
        Ok(())
    }
}

impl Server {
    fn start() -> Self {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            before(panic);
            std::process::abort();
        }));
        let shm = std::path::Path::new("/dev/shm");
        let dir = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() }.expect("a directory");
        let port = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .expect("a port")
            .port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut config = Config::localserve(dir.path());
        config.listeners.retain(|listener| listener.protocol == Protocol::Imap);
        for listener in &mut config.listeners {
            listener.addresses = vec![address];
            listener.tls = TlsMode::Off;
            // What follows it isn't lines.
            listener.disabled_capabilities = vec!["COMPRESS=DEFLATE".to_owned()];
        }
        config.shards = NonZeroUsize::new(2);
        config.log.levels.set_default(Level::Off);
        let socket = config.control_socket.clone();
        std::thread::spawn(move || {
            let ended = postrider_core::server::serve(config);
            eprintln!("the server ended: {ended:?}");
            std::process::abort();
        });
        let server = Self { dir, address, socket, accounts: 0, inputs: INPUTS_OF_AN_ACCOUNT };
        while TcpStream::connect(server.address).is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    fn ask(&self, request: &Request) {
        let client = Client::connect(&self.socket).expect("the control socket");
        client.call(request, None, &mut Quiet).expect("the control socket's answer");
    }

    /// Another account from time to time, with some messages.
    fn turn(&mut self) {
        self.inputs += 1;
        if self.inputs < INPUTS_OF_AN_ACCOUNT {
            return;
        }
        assert!(self.dir.path().is_dir());
        self.inputs = 0;
        if self.accounts > 0 {
            self.ask(&Request::AccountRemove { account: self.account() });
        }
        self.accounts += 1;
        self.ask(&Request::AccountAdd {
            account: self.account(),
            address: format!("{}@localhost", self.account()),
            password: Secret(PASSWORD.to_owned()),
            quota: Some(QUOTA),
        });
        let mut messages = Vec::new();
        for (number, message) in MESSAGES.iter().enumerate() {
            let octets = message.len();
            messages.extend_from_slice(format!("z{number} APPEND Inbox (k{number}) {{{octets}+}}\r\n").as_bytes());
            messages.extend_from_slice(message.as_bytes());
            messages.extend_from_slice(b"\r\n");
        }
        self.play(&messages, usize::MAX);
    }

    fn account(&self) -> String {
        format!("fuzz{}", self.accounts)
    }

    /// Logs in, sends `input` cut in pieces and ends. Gives what came back.
    fn play(&self, input: &[u8], cut: usize) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        let login = format!("0 LOGIN {}@localhost \"{PASSWORD}\"\r\n", self.account());
        stream.write_all(login.as_bytes()).expect("the login");
        let mut reading = stream.try_clone().expect("a socket");
        let reader = std::thread::spawn(move || {
            let mut answers = Vec::new();
            match reading.read_to_end(&mut answers) {
                Ok(_) => answers,
                // Closed with input unread.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Vec::new(),
                Err(error) => panic!("{error} after {}", answers.escape_ascii()),
            }
        });
        for piece in input.chunks(cut) {
            if stream.write_all(piece).is_err() {
                break;
            }
        }
        let _ = stream.shutdown(Shutdown::Write);
        reader.join().expect("the reader")
    }
}

const MESSAGES: [&str; 4] = [
    "From: a@b.example\r\nTo: \"C, d\" <c@d.example>\r\nSubject: one\r\nMessage-ID: <1@b>\r\n\r\nhello there\r\n",
    "Subject: Re: one\r\nIn-Reply-To: <1@b>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\
     \r\n--x\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n\
     --x\r\nContent-Type: message/rfc822\r\n\r\nSubject: within\r\n\r\ntext\r\n--x--\r\n",
    "From: =?utf-8?q?J=C3=B6?= <j@x.example>\r\nSubject: =?iso-8859-1?q?=E4?=\r\nDate: Fri, 21 Nov 1997 09:55:06 -0600\r\n\r\nx",
    "\r\n",
];

fuzz_target!(|input: &[u8]| {
    let [first, input @ ..] = input else { return };
    let mut server = SERVER.lock().expect("the server");
    let server = server.get_or_insert_with(Server::start);
    server.turn();
    let mut text = Vec::new();
    if first & 1 == 0 {
        text.extend_from_slice(b"1 SELECT Inbox\r\n");
    }
    text.extend_from_slice(input);
    let cut = if first & 2 == 0 { usize::MAX } else { usize::from(*first) + 1 };
    let upper = input.to_ascii_uppercase();
    // Who enabled UTF-8 gets it; who asks for octets gets these.
    let eight_bit = ["ENABLE", "BINARY", "BODY", "RFC822"]
        .iter()
        .any(|word| upper.windows(word.len()).any(|found| found == word.as_bytes()));
    check_responses(&server.play(&text, cut), !eight_bit);
});
