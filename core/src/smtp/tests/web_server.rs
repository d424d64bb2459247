//! A server of the web that does with each request what a test says.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use rustls::{ServerConnection, StreamOwned};

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// The request line and the fields.
    pub(super) head: Vec<String>,
    pub(super) body: String,
}

impl Asked {
    /// The value of a field.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.head.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// What it has seen.
#[derive(Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Vec<Asked>>>);

impl Seen {
    pub(super) fn all(&self) -> Vec<Asked> {
        self.0.lock().unwrap().clone()
    }

    pub(super) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// Starts one that answers each request with a text, by its number from 0. It ends with the test's process.
pub(super) fn start(answer: impl Fn(usize) -> String + Send + Sync + 'static) -> (u16, Seen) {
    serve(None, answer)
}

/// The same with TLS.
pub(super) fn start_tls(
    tls: Arc<rustls::ServerConfig>,
    answer: impl Fn(usize) -> String + Send + Sync + 'static,
) -> (u16, Seen) {
    serve(Some(tls), answer)
}

fn serve(
    tls: Option<Arc<rustls::ServerConfig>>,
    answer: impl Fn(usize) -> String + Send + Sync + 'static,
) -> (u16, Seen) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (seen, answer) = (Seen::default(), Arc::new(answer));
    let shared = seen.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (seen, answer, tls) = (shared.clone(), Arc::clone(&answer), tls.clone());
            std::thread::spawn(move || {
                let stream: TcpStream = stream.unwrap();
                // A client that goes away ends it.
                let _ = match tls {
                    None => converse(stream, &seen, &*answer),
                    Some(tls) => converse(
                        StreamOwned::new(ServerConnection::new(tls).unwrap(), stream),
                        &seen,
                        &*answer,
                    ),
                };
            });
        }
    });
    (port, seen)
}

fn converse(stream: impl Read + Write, seen: &Seen, answer: &dyn Fn(usize) -> String) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream);
    let mut asked = Asked::default();
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        asked.head.push(line.to_owned());
    }
    let octets = asked.field("Content-Length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; octets];
    lines.read_exact(&mut body)?;
    asked.body = String::from_utf8(body).unwrap();
    let number = {
        let mut all = seen.0.lock().unwrap();
        all.push(asked);
        all.len() - 1
    };
    let stream = lines.get_mut();
    stream.write_all(answer(number).as_bytes())?;
    stream.flush()
}

/// A whole response with this status.
pub(super) fn response(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody")
}
