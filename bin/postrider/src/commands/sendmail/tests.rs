//! Messages that a server of this process takes or refuses.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread::JoinHandle;

use rustls::{ServerConnection, StreamOwned};
use tempfile::TempDir;

use super::*;
use crate::commands::authority::Authority;

/// How commands begin, and the reply to each.
type Replies = &'static [(&'static str, &'static str)];

/// What the server is like.
#[derive(Clone, Copy, Default)]
struct Like {
    /// After STARTTLS; before it, there is nothing else.
    has_tls: bool,
    extensions: &'static str,
    /// What a command that begins so gets instead of `250`.
    replies: Replies,
}

struct Server {
    port: u16,
    dir: TempDir,
    said: JoinHandle<Vec<String>>,
}

/// A server for one connection, and a home directory with the certificate of its authority.
fn serve(like: Like) -> Server {
    let authority = Authority::new();
    let config = authority.server("127.0.0.1").config(Some(&authority));
    let client = authority.client("client.example");
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
    std::fs::write(dir.path().join("client.pem"), client.certificate.pem()).unwrap();
    std::fs::write(dir.path().join("client.key"), client.key.serialize_pem()).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let said = std::thread::spawn(move || {
        let mut said = Vec::new();
        let (stream, _) = listener.accept().unwrap();
        let mut clear = BufReader::with_capacity(1, stream);
        clear.get_mut().write_all(b"220 here\r\n").unwrap();
        if speak(&mut clear, like, false, &mut said) {
            let session = ServerConnection::new(config).unwrap();
            let mut secured = BufReader::with_capacity(1, StreamOwned::new(session, clear.into_inner()));
            speak(&mut secured, like, true, &mut said);
            if secured.get_ref().conn.peer_certificates().is_some() {
                said.push("showed a certificate".to_owned());
            }
        }
        said
    });
    Server { port, dir, said }
}

/// One conversation; true when a handshake follows.
fn speak<T: Read + Write>(
    stream: &mut BufReader<T>,
    like: Like,
    secure: bool,
    said: &mut Vec<String>,
) -> bool {
    let mut in_content = false;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).unwrap_or(0) == 0 {
            return false;
        }
        let line = line.strip_suffix("\r\n").unwrap().to_owned();
        said.push(line.clone());
        if in_content && line != "." {
            continue;
        }
        let scripted = like.replies.iter().find(|(start, _)| line.starts_with(start));
        let reply = match (scripted, line.split(' ').next().unwrap()) {
            (Some((_, reply)), _) => (*reply).to_owned(),
            (None, "EHLO") if like.has_tls && !secure => "250-here\r\n250 STARTTLS".to_owned(),
            (None, "EHLO") => format!("250-here{}\r\n250 SIZE 1000", like.extensions),
            (None, "STARTTLS") => "220 go on".to_owned(),
            (None, "DATA") => "354 go on".to_owned(),
            (None, "AUTH") => "235 welcome".to_owned(),
            (None, "QUIT") => "221 bye".to_owned(),
            _ => "250 fine".to_owned(),
        };
        in_content = reply.starts_with("354");
        stream.get_mut().write_all(format!("{reply}\r\n").as_bytes()).unwrap();
        stream.get_mut().flush().unwrap();
        if line == "QUIT" || line == "STARTTLS" {
            return line == "STARTTLS";
        }
    }
}

const OFF: &str = "tls = \"off\"\n";
const LOGIN: &str = "ca_file = \"ca.pem\"\nusername = \"a@x.example\"\npassword = \"secret\"\n";
const MESSAGE: &str = "To: b@x.example, c@x.example\nBcc: d@x.example\nFrom: a@x.example\nDate: x\n\
                       Message-ID: <y@z>\n\n.body\n";

/// Who calls from `home`.
fn surroundings(config: Config, home: &Path) -> Surroundings {
    Surroundings {
        config,
        caller: Caller {
            user: "anna".into(),
            domain: Domain::parse("host.example").unwrap(),
            date: "now".into(),
            unique: "u1".into(),
        },
        hello: HeloName::parse("host.example").unwrap(),
        home: Some(home.to_owned()),
    }
}

/// Submits a message; what came of it, what was said to the server, and the files that were kept.
fn send(
    like: Like,
    config: &str,
    words: &[&str],
    text: &str,
) -> (Result<(), Failed>, Vec<String>, Vec<String>) {
    let Server { port, dir, said } = serve(like);
    let config = format!("host = \"127.0.0.1\"\nport = {port}\n{config}");
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let Ok(Job::Submit(order)) = words::read(&words) else { panic!("{words:?}") };
    let config = Config::parse(&config, &dir.path().join("s.toml")).unwrap();
    let surroundings = surroundings(config, dir.path());
    let result = deliver(&order, &surroundings, &mut text.as_bytes());
    let said = said.join().unwrap();
    let kept = dir.path().join("postrider-sendmail.failures");
    let files = kept.read_dir().into_iter().flatten().map(|entry| entry.unwrap().path());
    let files = files.map(|file| {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(kept.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert!(result.as_ref().unwrap_err().text.contains(file.to_str().unwrap()));
        String::from_utf8(std::fs::read(&file).unwrap()).unwrap()
    });
    let files = files.collect();
    (result, said, files)
}

#[test]
fn a_message_is_submitted_over_tls_with_login_and_its_parameters() {
    let like = Like { has_tls: true, extensions: "\r\n250-DSN\r\n250-AUTH PLAIN", ..Like::default() };
    let words = ["-ti", "-f", "s@x.example", "-N", "delay", "-R", "hdrs", "-V", "id1"];
    let (result, said, kept) = send(like, LOGIN, &words, MESSAGE);
    assert_eq!((result, kept), (Ok(()), vec![]));
    let expected = [
        "EHLO host.example",
        "STARTTLS",
        "EHLO host.example",
        "AUTH PLAIN AGFAeC5leGFtcGxlAHNlY3JldA==",
        "MAIL FROM:<s@x.example> SIZE=86 RET=HDRS ENVID=id1",
        "RCPT TO:<b@x.example> NOTIFY=DELAY",
    ];
    assert_eq!(said[..expected.len()], expected);
    let content: Vec<&str> = said.iter().skip_while(|line| *line != "DATA").map(String::as_str).collect();
    let header =
        ["DATA", "To: b@x.example, c@x.example", "From: a@x.example", "Date: x", "Message-ID: <y@z>"];
    assert_eq!(content, [&header[..], &["", "..body", ".", "QUIT"]].concat());
    assert!(said.iter().any(|line| line.starts_with("RCPT TO:<d@x.example>")), "{said:?}");
}

#[test]
fn a_password_is_not_shown_to_a_server_that_proved_nothing() {
    let login = "username = \"a\"\npassword = \"secret\"\n";
    let like = Like { extensions: "\r\n250-AUTH PLAIN LOGIN", ..Like::default() };
    for (like, config) in [
        (like, format!("{OFF}{login}")),
        (Like { has_tls: true, ..like }, format!("insecure = true\n{login}")),
    ] {
        let (result, said, kept) = send(like, &config, &["-t"], MESSAGE);
        assert_eq!(result.unwrap_err().code, Code::NoPermission);
        assert!(!said.iter().any(|line| line.starts_with("AUTH")), "{said:?}");
        assert_eq!(kept.len(), 1);
    }
    // One whose certificate nobody vouches for isn't spoken to.
    let other = serve(Like::default());
    let ca = other.dir.path().join("ca.pem");
    let config = format!("{login}ca_file = {:?}\n", ca.display().to_string());
    let (result, said, kept) = send(Like { has_tls: true, ..like }, &config, &["-t"], MESSAGE);
    let failed = result.unwrap_err();
    assert_eq!((failed.code, kept.len()), (Code::Temporary, 1));
    assert!(failed.text.contains("certificate"), "{failed}");
    assert_eq!(said, ["EHLO host.example", "STARTTLS"]);
    // Without STARTTLS nothing is said in clear.
    let (result, said, _) =
        send(Like { replies: &[("STARTTLS", "502 no")], ..like }, login, &["-t"], MESSAGE);
    assert_eq!(result.unwrap_err().code, Code::Unavailable);
    assert!(!said.iter().any(|line| line.starts_with("MAIL") || line.starts_with("AUTH")), "{said:?}");
}

#[test]
fn a_certificate_logs_in_without_a_password() {
    let like = Like {
        has_tls: true,
        extensions: "\r\n250-AUTH EXTERNAL SCRAM-SHA-256 PLAIN",
        replies: &[("AUTH", "235 welcome")],
    };
    let own = "ca_file = \"ca.pem\"\ncertificate_file = \"client.pem\"\nkey_file = \"client.key\"\n";
    for login in ["", "mechanism = \"external\"\n", "username = \"a\"\npassword = \"secret\"\n"] {
        let (result, said, kept) = send(like, &format!("{own}{login}"), &["-t"], MESSAGE);
        assert_eq!((result, kept), (Ok(()), vec![]), "{login}");
        assert!(said.contains(&"AUTH EXTERNAL =".to_owned()), "{said:?}");
        assert_eq!(said.last().unwrap(), "showed a certificate", "{said:?}");
    }
    // A server that knows nothing of it isn't given a password that nobody configured.
    let like = Like { extensions: "\r\n250-AUTH PLAIN", ..like };
    let (result, said, kept) = send(like, own, &["-t"], MESSAGE);
    assert_eq!((result.unwrap_err().code, kept.len()), (Code::NoPermission, 1));
    assert!(!said.iter().any(|line| line.starts_with("AUTH")), "{said:?}");
}

#[test]
fn what_is_refused_is_kept_and_its_code_is_that_of_the_reason() {
    let some: Replies = &[("RCPT TO:<c@", "550 5.1.1 no c"), ("RCPT TO:<d@", "451 4.2.0 later")];
    let table: [(Replies, Code, &str); 8] = [
        (&[("RCPT TO:<c@", "550 5.1.1 no c")], Code::NoUser, "submitted, but not for all: c@x.example: 550"),
        (&[("RCPT TO:<c@", "451 4.2.0 later")], Code::Unavailable, "c@x.example: 451"),
        (some, Code::Unavailable, "2 of 3 recipients, c@x.example: 550"),
        (&[("RCPT", "550 5.1.1 nobody")], Code::NoUser, "not submitted: 550 5.1.1 nobody"),
        (&[("MAIL", "451 4.3.0 later")], Code::Temporary, "451 4.3.0 later"),
        (&[("MAIL", "550 5.7.1 never")], Code::Unavailable, "550 5.7.1 never"),
        (&[(".", "554 5.6.0 spam")], Code::Unavailable, "554 5.6.0 spam"),
        (&[("EHLO", "nonsense")], Code::Protocol, "does not keep to SMTP"),
    ];
    for (replies, code, text) in table {
        let (result, _, kept) = send(Like { replies, ..Like::default() }, OFF, &["-t"], MESSAGE);
        let failed = result.unwrap_err();
        assert_eq!(failed.code, code, "{failed}");
        assert!(failed.text.contains(text), "{failed}");
        assert_eq!(kept.len(), 1, "{failed}");
        assert!(kept[0].contains("\r\nPostrider-Failed-Sender: <anna@host.example>\r\n"), "{}", kept[0]);
        assert!(kept[0].contains("\r\nPostrider-Failed-Recipient: c@x.example ("), "{}", kept[0]);
        let has_b = kept[0].contains("Recipient: b@x.example");
        assert_eq!(has_b, !replies[0].0.starts_with("RCPT TO"), "{}", kept[0]);
        assert!(
            kept[0].ends_with("Message-ID: <y@z>\r\n\r\n.body\r\n") && !kept[0].contains("Bcc"),
            "{}",
            kept[0]
        );
    }
}

#[test]
fn what_the_server_can_not_take_and_what_has_no_recipients_is_kept() {
    let large = format!("{MESSAGE}{}", "x".repeat(1000));
    let (result, said, kept) = send(Like::default(), OFF, &["-t"], &large);
    let failed = result.unwrap_err();
    assert_eq!((failed.code, kept.len()), (Code::Unavailable, 1), "{failed}");
    assert_eq!(said, ["EHLO host.example", "QUIT"]);

    let dir = tempfile::tempdir().unwrap();
    let surroundings = surroundings(Config::default(), dir.path());
    let text = "Subject: x\nBcc: nobody@-\n\nbody\n";
    let order = Order { from_header: true, ..Order::default() };
    let failed = deliver(&order, &surroundings, &mut text.as_bytes()).unwrap_err();
    assert_eq!(failed.code, Code::Data);
    let kept = std::fs::read_to_string(dir.path().join("postrider-sendmail.failures/u1.eml")).unwrap();
    assert!(kept.ends_with("\r\nSubject: x\r\nBcc: nobody@-\r\n\r\nbody\r\n"), "{kept}");
    // A name that is taken is never written over, and that the message is lost is said.
    let failed = deliver(&order, &surroundings, &mut text.as_bytes()).unwrap_err();
    assert!(failed.text.contains("It is lost"), "{failed}");
}

/// Submits a kept message again; what came of it, what was said to the server, and what is kept now, its file first.
fn send_again(like: Like, text: &str) -> (Result<(), Failed>, Vec<String>, Vec<String>) {
    let Server { port, dir, said } = serve(like);
    let file = dir.path().join("kept.eml");
    std::fs::write(&file, text).unwrap();
    let config = format!("host = \"127.0.0.1\"\nport = {port}\n{OFF}");
    let config = Config::parse(&config, &dir.path().join("s.toml")).unwrap();
    let files = [file.display().to_string()];
    let result = again::run(&files, &mut surroundings(config, dir.path()), false);
    let kept = [file, dir.path().join("postrider-sendmail.failures/u1.0.eml")];
    let kept = kept.iter().filter_map(|file| std::fs::read_to_string(file).ok()).collect();
    // One that never spoke to the server lets it end.
    drop(std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)));
    (result, said.join().unwrap(), kept)
}

#[test]
fn what_is_kept_is_submitted_again_for_those_who_do_not_have_it() {
    // What a server says names no recipient.
    let replies: Replies =
        &[("RCPT TO:<c@", "550 5.1.1 (no) e@x.example) ("), ("RCPT TO:<d@", "451 later \\")];
    let words = ["-ti", "-f", "s@x.example", "-N", "delay", "-V", "id1"];
    let like = Like { extensions: "\r\n250-DSN", ..Like::default() };
    let (_, _, kept) = send(Like { replies, ..like }, OFF, &words, MESSAGE);
    let [kept] = &kept[..] else { panic!("{kept:?}") };

    let (result, said, left) = send_again(like, kept);
    assert_eq!((result, left), (Ok(()), vec![]));
    let envelope: Vec<&str> =
        said.iter().filter(|line| line.contains(':')).take(3).map(String::as_str).collect();
    let [mail, first, second] = envelope[..] else { panic!("{said:?}") };
    assert!(mail.starts_with("MAIL FROM:<s@x.example>") && mail.contains("ENVID=id1"), "{mail}");
    assert_eq!([first, second], ["RCPT TO:<c@x.example> NOTIFY=DELAY", "RCPT TO:<d@x.example> NOTIFY=DELAY"]);
    let content: Vec<&str> = said.iter().skip_while(|line| *line != "DATA").map(String::as_str).collect();
    assert_eq!(content[1], "To: b@x.example, c@x.example", "{content:?}");
    assert_eq!(content[content.len() - 3..], ["..body", ".", "QUIT"]);

    // While nobody has it, the file stays; once some have it, there is one for the others.
    let (result, _, left) = send_again(Like { replies: &[("MAIL", "451 4.3.0 later")], ..like }, kept);
    assert_eq!((result.unwrap_err().code, &left[..]), (Code::Temporary, &[kept.clone()][..]));
    let (result, _, left) = send_again(Like { replies: &[("RCPT TO:<c@", "550 no")], ..like }, kept);
    let failed = result.unwrap_err();
    assert!(failed.text.contains("not for all") && failed.text.contains("u1.0.eml"), "{failed}");
    let [left] = &left[..] else { panic!("{left:?}") };
    assert!(left.contains("Recipient: c@x.example (550 no)") && !left.contains("Recipient: d@"), "{left}");
    assert!(left.contains("-Ndelay") && left.contains("-Vid1"), "{left}");
}

#[test]
fn what_was_kept_as_it_was_read_is_submitted_to_nobody_else() {
    let text =
        "Postrider-Failed-Recipient: e@x.example\nFrom: a@x.example\nBcc: b@x.example, nobody@-\n\n.\nx\n";
    let dir = tempfile::tempdir().unwrap();
    let surroundings = surroundings(Config::default(), dir.path());
    let order = Order { from_header: true, ignores_dot: true, ..Order::default() };
    deliver(&order, &surroundings, &mut text.as_bytes()).unwrap_err();
    let kept = std::fs::read_to_string(dir.path().join("postrider-sendmail.failures/u1.eml")).unwrap();
    let (result, said, left) = send_again(Like::default(), &kept);
    assert_eq!((result.unwrap_err().code, said.len(), left.len()), (Code::Data, 0, 1));
    // Whoever mends the address has it submitted.
    let (result, said, left) = send_again(Like::default(), &kept.replace(", nobody@-", ""));
    assert_eq!((result, left.len()), (Ok(()), 0));
    let recipients: Vec<_> = said.iter().filter(|line| line.starts_with("RCPT")).collect();
    assert_eq!(recipients, ["RCPT TO:<b@x.example>"]);
    assert!(said.ends_with(&["..", "x", ".", "QUIT"].map(str::to_owned)), "{said:?}");
    // What isn't a kept message is left alone.
    for text in [MESSAGE, "", "Postrider-Failed-Reason: x\r\nPostrider-Failed-Option: -bp\r\n\r\nx"] {
        let (result, said, left) = send_again(Like::default(), text);
        assert_eq!((result.unwrap_err().code, said.len(), left.len()), (Code::Data, 0, 1), "{text:?}");
    }
}

#[test]
fn recipients_beyond_the_limit_of_the_server_go_in_further_transactions() {
    let like = Like { extensions: "\r\n250-LIMITS RCPTMAX=2", ..Like::default() };
    let (result, said, kept) = send(like, OFF, &["-t"], MESSAGE);
    assert_eq!((result, kept), (Ok(()), vec![]));
    let count = |start: &str| said.iter().filter(|line| line.starts_with(start)).count();
    assert_eq!((count("MAIL"), count("RCPT"), count("..body")), (2, 3, 2), "{said:?}");
}
