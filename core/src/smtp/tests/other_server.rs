//! Another server that messages leave for. What it replies is decided by localparts: `nobody` is refused for good,
//! `later` for now, `policy` for what was sent; everybody else gets the message.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A message as it came.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) mail: String,
    /// RCPT commands that were accepted.
    pub(super) recipients: Vec<String>,
    pub(super) content: String,
}

/// What it has seen.
#[derive(Clone, Default)]
pub(super) struct Record {
    pub(super) messages: Arc<Mutex<Vec<Seen>>>,
    /// Every command.
    pub(super) commands: Arc<Mutex<Vec<String>>>,
    pub(super) connections: Arc<Mutex<usize>>,
}

impl Record {
    pub(super) fn messages(&self) -> Vec<Seen> {
        self.messages.lock().unwrap().clone()
    }

    pub(super) fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }

    pub(super) fn said(&self, command: &str) -> bool {
        self.commands.lock().unwrap().iter().any(|line| line.starts_with(command))
    }
}

/// Starts one; `extensions` is what it announces. It ends with the test's process.
pub(super) fn start(extensions: &'static [&'static str]) -> (u16, Record) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let record = Record::default();
    let shared = record.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let record = shared.clone();
            *record.connections.lock().unwrap() += 1;
            // A client that goes away ends the conversation.
            std::thread::spawn(move || drop(converse(stream.unwrap(), extensions, &record)));
        }
    });
    (port, record)
}

fn converse(mut stream: TcpStream, extensions: &[&str], record: &Record) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?);
    stream.write_all(b"220 other.example\r\n")?;
    let mut seen = Seen::default();
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim_end().to_owned();
        record.commands.lock().unwrap().push(line.clone());
        let reply = match line.split([' ', ':']).next().unwrap_or_default() {
            "EHLO" => {
                let mut reply = String::from("250-other.example\r\n");
                extensions.iter().for_each(|extension| reply += &format!("250-{extension}\r\n"));
                reply + "250 ENHANCEDSTATUSCODES"
            }
            "MAIL" => {
                seen = Seen { mail: line.clone(), ..Seen::default() };
                "250 2.1.0 ok".to_owned()
            }
            "RCPT" if line.contains("<nobody@") => "550 5.1.1 there is nobody".to_owned(),
            "RCPT" if line.contains("<later@") => "451 4.2.0 come back".to_owned(),
            "RCPT" => {
                seen.recipients.push(line.clone());
                "250 2.1.5 ok".to_owned()
            }
            "DATA" if seen.recipients.is_empty() => "554 5.5.1 no recipients".to_owned(),
            "DATA" => {
                stream.write_all(b"354 go on\r\n")?;
                loop {
                    let mut line = String::new();
                    if lines.read_line(&mut line)? == 0 {
                        return Ok(());
                    }
                    if line == ".\r\n" {
                        break;
                    }
                    seen.content += line.strip_prefix('.').unwrap_or(&line);
                }
                if seen.recipients.iter().any(|line| line.contains("<policy@")) {
                    "550 5.7.1 not such a message".to_owned()
                } else {
                    record.messages.lock().unwrap().push(std::mem::take(&mut seen));
                    "250 2.0.0 taken".to_owned()
                }
            }
            "BDAT" => {
                let mut words = line.split(' ').skip(1);
                let octets = words.next().and_then(|word| word.parse().ok()).unwrap();
                let mut chunk = vec![0; octets];
                lines.read_exact(&mut chunk)?;
                seen.content += std::str::from_utf8(&chunk).unwrap();
                if words.next() == Some("LAST") {
                    record.messages.lock().unwrap().push(std::mem::take(&mut seen));
                }
                "250 2.0.0 taken".to_owned()
            }
            "QUIT" => {
                stream.write_all(b"221 2.0.0 bye\r\n")?;
                return Ok(());
            }
            "STARTTLS" if extensions.contains(&"X-CLOSES") => {
                stream.write_all(b"421 4.7.0 never\r\n")?;
                return Ok(());
            }
            "STARTTLS" => "454 4.7.0 not now".to_owned(),
            _ => "250 2.0.0 ok".to_owned(),
        };
        stream.write_all(reply.as_bytes())?;
        stream.write_all(b"\r\n")?;
    }
}
