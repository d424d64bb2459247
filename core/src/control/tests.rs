//! Conversations over a real socket, with operations that only pretend.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::exchange::{Exchange, ExchangeLimits, Gone, Transport};
use super::operations::{LocalFuture, OperationError, Operations};
use super::protocol::{
    ANSWER_OCTETS_MAX, Answer, CHUNK_OCTETS_MAX, DomainRow, Failure, FailureKind, Format, Frame, Greeting,
    LINE_OCTETS_MAX, MailRule, MailSetting, Progress, Request, RouteOwner, Secret, VERSION, Webhook,
};
use super::server::converse;
use super::{Client, ClientError, Events};
use crate::log::ConnectionId;
use crate::runtime::net::PeerCredentials;
use crate::testing::{PATIENCE, once};

/// A blocking socket as a transport: each future is ready when it is polled.
struct Blocking(UnixStream);

impl Transport for Blocking {
    async fn read(&mut self, buffer: &mut [u8], patience: Duration) -> io::Result<usize> {
        self.0.set_read_timeout(Some(patience))?;
        Read::read(&mut self.0, buffer)
    }

    async fn write_all(&mut self, bytes: &[u8], patience: Duration) -> io::Result<()> {
        self.0.set_write_timeout(Some(patience))?;
        Write::write_all(&mut self.0, bytes)
    }
}

/// Carries out requests in ways that tests look at.
#[derive(Default)]
struct Pretend {
    applied: RefCell<Vec<u8>>,
    progressed: RefCell<u64>,
}

impl Pretend {
    async fn answer<T: Transport>(
        &self,
        request: Request,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        match request {
            Request::DomainList => {
                for number in 0..10_000 {
                    let domain = format!("domain-{number}.example.com");
                    exchange.row(&DomainRow { domain, disabled: number % 2 == 1 }).await?;
                }
                Ok(Answer::Done)
            }
            Request::DirectoryApply { dry_run, .. } => {
                while let Some(chunk) = exchange.read().await? {
                    self.applied.borrow_mut().extend_from_slice(&chunk);
                    if dry_run {
                        return Err(OperationError::new(FailureKind::Invalid, "line 1 is not understood"));
                    }
                }
                assert_eq!(exchange.read().await?, None, "the end stays the end");
                exchange.write(b"+ domain example.com\n").await?;
                Ok(Answer::Applied { changes: 1 })
            }
            Request::Import { .. } => {
                // More than a socket's buffers hold: a client that doesn't read stops this.
                for done in 0..100_000 {
                    *self.progressed.borrow_mut() = done;
                    let what = Some("Inbox".to_owned());
                    exchange.progress(Progress { done, total: Some(100_000), what }).await?;
                }
                Ok(Answer::Done)
            }
            Request::Status => Ok(Answer::Applied { changes: 0 }),
            Request::AccountShow { account } => {
                let octets = account.parse().unwrap();
                Err(OperationError::new(FailureKind::NotFound, "x".repeat(octets)))
            }
            _ => Err(OperationError::new(FailureKind::NotFound, "there is no account \"anna\"")),
        }
    }
}

impl Operations for Pretend {
    fn run<'a, T: Transport>(
        &'a self,
        request: Request,
        exchange: &'a mut Exchange<T>,
    ) -> LocalFuture<'a, Result<Answer, OperationError>> {
        Box::pin(self.answer(request, exchange))
    }
}

/// For clients that do what they should, however late.
const PATIENT: ExchangeLimits =
    ExchangeLimits { request: PATIENCE, io: PATIENCE, input_octets: 4 * CHUNK_OCTETS_MAX as u64 };
/// For those that don't.
const QUICK: Duration = Duration::from_millis(200);

/// How a conversation ended, and what it left.
type Ended = (Result<(), Gone>, Pretend);

/// Serves one conversation on a thread; gives the client's end, and how it ended.
fn serve(limits: ExchangeLimits) -> (UnixStream, thread::JoinHandle<Ended>) {
    let (client, server) = UnixStream::pair().unwrap();
    let peer = PeerCredentials { pid: 1, uid: 0, gid: 0 };
    let thread = thread::spawn(move || {
        let operations = Pretend::default();
        let conversation = converse(Blocking(server), &operations, limits, (ConnectionId::next(), peer));
        (futures_lite::future::block_on(conversation), operations)
    });
    (client, thread)
}

#[derive(Default)]
struct Seen {
    data: Vec<u8>,
    progress: Vec<Progress>,
}

impl Events for Seen {
    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.data.extend_from_slice(bytes);
        Ok(())
    }

    fn progress(&mut self, progress: &Progress) {
        self.progress.push(progress.clone());
    }
}

fn ask(request: &Request, input: Option<&mut dyn Read>) -> (Result<Answer, ClientError>, Seen, Pretend) {
    let (stream, server) = serve(ExchangeLimits { input_octets: 1 << 30, ..PATIENT });
    let mut seen = Seen::default();
    let answer = Client::greeted(stream).unwrap().call(request, input, &mut seen);
    (answer, seen, server.join().unwrap().1)
}

fn import() -> Request {
    let (account, mailbox) = ("anna".to_owned(), "Inbox".to_owned());
    Request::Import { format: Format::Mbox, account, mailbox, path: "/tmp/x".into() }
}

#[test]
fn every_request_is_read_as_it_was_written() {
    let text = || "x".to_owned();
    let list = || vec!["a".to_owned(), "b".to_owned()];
    let requests = [
        Request::Status,
        Request::SetLogLevel { module: Some(text()), level: None },
        Request::AccountSetQuotaMessages { account: text(), messages: Some(1) },
        Request::AccountAdd { account: text(), address: text(), password: Secret(text()), quota: Some(1) },
        Request::AddressList { account: None },
        Request::AliasAdd { alias: text(), members: list() },
        Request::AddressRuleAdd {
            address: text(),
            at: Some(1),
            rule: Box::new(MailRule { headers: vec![(text(), text())], ..MailRule::default() }),
        },
        Request::RouteMove { of: RouteOwner::Domain(text()), number: 1, to: 2 },
        Request::AccountSettingsSet {
            account: text(),
            settings: vec![
                MailSetting::RecipientsPerDay(None),
                MailSetting::OutgoingWebhook(Some(Webhook {
                    url: text(),
                    authorization: None,
                    secret: Some(Secret(text())),
                    events: list(),
                })),
            ],
        },
        Request::DirectoryApply { dry_run: true, files: None },
        Request::DeliveryExplain { domain: text(), from: Some(text()), account: Some(text()), attempt: 2 },
        Request::MtaStsList { domain: None, cursor: Some(text()), limit: Some(1) },
        Request::MtaStsForget { domain: text() },
        import(),
    ];
    for request in requests {
        let json = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<Request>(&json).unwrap(), request, "{json}");
        assert!(json.trim_start_matches('{').starts_with(&format!("\"{}\"", request.name())), "{json}");
    }
}

#[test]
fn passwords_are_not_shown() {
    let request = Request::AccountSetPassword {
        account: "anna".to_owned(),
        password: Secret("very secret".to_owned()),
    };
    let shown = format!("{request:?} {request:#?}");
    assert!(!shown.contains("very secret") && shown.contains("[secret]"), "{shown}");
}

#[test]
fn an_answer_comes_back() {
    let (answer, ..) = ask(&Request::Status, None);
    assert_eq!(answer.unwrap(), Answer::Applied { changes: 0 });
}

#[test]
fn a_failure_comes_back_as_what_the_server_said() {
    let (answer, ..) = ask(&Request::Stop, None);
    let Err(ClientError::Failed(failure)) = answer else { panic!("{answer:?}") };
    assert_eq!(failure, Failure::new(FailureKind::NotFound, "there is no account \"anna\""));
}

#[test]
fn rows_are_streamed_in_order_and_completely() {
    let (answer, seen, _) = ask(&Request::DomainList, None);
    assert_eq!(answer.unwrap(), Answer::Done);
    let rows: Vec<DomainRow> = seen
        .data
        .split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect();
    assert_eq!(rows.len(), 10_000);
    assert_eq!(rows[9_999], DomainRow { domain: "domain-9999.example.com".to_owned(), disabled: true });
}

#[test]
fn input_is_streamed_at_every_size_around_a_chunk() {
    for octets in [0, 1, CHUNK_OCTETS_MAX - 1, CHUNK_OCTETS_MAX, CHUNK_OCTETS_MAX + 1, 1 << 20] {
        let input: Vec<u8> = (0..octets).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let (answer, seen, operations) =
            ask(&Request::DirectoryApply { dry_run: false, files: None }, Some(&mut &*input));
        assert_eq!(answer.unwrap(), Answer::Applied { changes: 1 }, "{octets} octets");
        assert!(operations.applied.into_inner() == input, "{octets} octets");
        assert_eq!(seen.data, b"+ domain example.com\n");
    }
}

#[test]
fn a_failure_in_the_middle_of_the_input_is_told() {
    let input = vec![b'x'; 1 << 20];
    let (answer, ..) = ask(&Request::DirectoryApply { dry_run: true, files: None }, Some(&mut &*input));
    let Err(ClientError::Failed(failure)) = answer else { panic!("{answer:?}") };
    assert_eq!(failure.message, "line 1 is not understood");
}

#[test]
fn progress_comes_while_it_is_made() {
    let (answer, seen, _) = ask(&import(), None);
    assert_eq!(answer.unwrap(), Answer::Done);
    assert_eq!(seen.progress.len(), 100_000);
}

#[test]
fn work_ends_when_the_client_goes_away() {
    let (mut stream, server) = serve(PATIENT);
    send(&mut stream, &import());
    let mut some = [0; 1000];
    stream.read_exact(&mut some).unwrap();
    drop(stream);
    let (ended, operations) = server.join().unwrap();
    assert_eq!(ended, Err(Gone::Closed));
    assert!(*operations.progressed.borrow() < 99_999);
}

#[test]
fn work_ends_when_the_client_stops_reading() {
    let (mut stream, server) = serve(ExchangeLimits { io: QUICK, ..PATIENT });
    send(&mut stream, &import());
    let (ended, operations) = server.join().unwrap();
    assert_eq!(ended, Err(Gone::Silent));
    assert!(*operations.progressed.borrow() < 99_999);
    drop(stream);
}

#[test]
fn a_client_that_says_nothing_or_drips_is_left() {
    let limits = ExchangeLimits { request: QUICK, ..PATIENT };
    let (stream, server) = serve(limits);
    assert_eq!(server.join().unwrap().0, Err(Gone::Silent));
    drop(stream);
    let (mut stream, server) = serve(limits);
    let started = Instant::now();
    while stream.write_all(b"{").is_ok() {
        thread::sleep(Duration::from_millis(20));
        assert!(started.elapsed() < PATIENCE, "the server still listens");
    }
    assert_eq!(server.join().unwrap().0, Err(Gone::Silent));
}

#[test]
fn an_acknowledgement_that_never_comes_ends_the_conversation() {
    let (mut stream, server) = serve(ExchangeLimits { io: QUICK, ..PATIENT });
    send(&mut stream, &Request::DomainList);
    assert_eq!(server.join().unwrap().0, Err(Gone::Silent));
    let (mut stream, server) = serve(PATIENT);
    send(&mut stream, &Request::DomainList);
    send(&mut stream, &Frame::Ack(1));
    assert!(rest(&stream).contains("an acknowledgement was expected"));
    assert_eq!(server.join().unwrap().0, Ok(()));
}

fn send(stream: &mut UnixStream, value: &impl Serialize) {
    let mut line = serde_json::to_vec(value).unwrap();
    line.push(b'\n');
    stream.write_all(&line).unwrap();
}

/// All that the server sends until it closes.
fn rest(mut stream: &UnixStream) -> String {
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    text
}

#[test]
fn a_line_at_the_limit_is_read_and_one_past_it_is_not() {
    let padded = |octets: usize| {
        let json = "\"status\"";
        format!("{json}{}\n", " ".repeat(octets - json.len() - 1))
    };
    let (mut stream, server) = serve(PATIENT);
    stream.write_all(padded(LINE_OCTETS_MAX).as_bytes()).unwrap();
    assert!(rest(&stream).ends_with("{\"done\":{\"applied\":{\"changes\":0}}}\n"));
    assert_eq!(server.join().unwrap().0, Ok(()));
    let (mut stream, server) = serve(PATIENT);
    let _ = stream.write_all(padded(LINE_OCTETS_MAX + 1).as_bytes());
    assert_eq!(server.join().unwrap().0, Err(Gone::Protocol("a line is too long")));
}

#[test]
fn a_chunk_past_the_limit_is_refused() {
    let (mut stream, server) = serve(PATIENT);
    send(&mut stream, &Request::DirectoryApply { dry_run: false, files: None });
    send(&mut stream, &Frame::Data(u32::try_from(CHUNK_OCTETS_MAX).unwrap() + 1));
    assert!(rest(&stream).contains("a chunk is too long"));
    server.join().unwrap().0.unwrap();
}

#[test]
fn input_at_the_limit_is_taken_and_one_chunk_past_it_is_not() {
    let chunk = vec![b'x'; CHUNK_OCTETS_MAX];
    for (more, expected) in [(0_u32, "\"applied\""), (1, "the data is too long")] {
        let (mut stream, server) = serve(PATIENT);
        send(&mut stream, &Request::DirectoryApply { dry_run: false, files: None });
        for _ in 0..4 {
            send(&mut stream, &Frame::Data(u32::try_from(chunk.len()).unwrap()));
            stream.write_all(&chunk).unwrap();
        }
        send(&mut stream, &Frame::Data(more));
        stream.write_all(&chunk[..more as usize]).unwrap();
        send(&mut stream, &Frame::Ack(21));
        assert!(rest(&stream).contains(expected), "{more} octets more");
        server.join().unwrap().0.unwrap();
    }
}

#[test]
fn an_answer_at_the_limit_is_sent_and_a_longer_one_is_not() {
    let frame = Frame::Failed(Failure::new(FailureKind::NotFound, ""));
    let around = serde_json::to_string(&frame).unwrap().len() + 1;
    for (octets, kind) in [
        (ANSWER_OCTETS_MAX - around, FailureKind::NotFound),
        (ANSWER_OCTETS_MAX - around + 1, FailureKind::Internal),
    ] {
        let (answer, ..) = ask(&Request::AccountShow { account: octets.to_string() }, None);
        let Err(ClientError::Failed(failure)) = answer else { panic!("{octets}: {answer:?}") };
        assert_eq!(failure.kind, kind, "{octets}");
    }
}

#[test]
fn a_request_that_cannot_be_understood_is_answered() {
    for line in [
        "nonsense",
        "{}",
        "\"fly\"",
        "{\"stop\":{\"now\":true}}",
        "{\"domain-remove\":{\"domain\":\"x\",\"now\":true}}",
    ] {
        let (mut stream, server) = serve(PATIENT);
        stream.write_all(format!("{line}\n").as_bytes()).unwrap();
        let text = rest(&stream);
        assert!(
            text.contains("\"kind\":\"protocol\"") && text.contains("doesn't understand"),
            "{line}: {text}"
        );
        assert!(matches!(server.join().unwrap().0, Err(Gone::Protocol(_))), "{line}");
    }
}

#[test]
fn a_client_of_another_version_says_so() {
    let (stream, mut server) = UnixStream::pair().unwrap();
    send(&mut server, &Greeting { version: VERSION + 1, server: "9.9".to_owned() });
    let error = Client::greeted(stream).unwrap_err();
    assert!(matches!(error, ClientError::Version { .. }), "{error}");
    assert!(error.to_string().contains("runs version 9.9"), "{error}");
}

#[test]
fn a_client_that_is_refused_says_why() {
    let (stream, mut server) = UnixStream::pair().unwrap();
    send(&mut server, &Frame::Failed(Failure::new(FailureKind::Invalid, "not you")));
    assert_eq!(Client::greeted(stream).unwrap_err().to_string(), "not you");
}

#[test]
fn a_server_that_is_not_there_is_told_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let error = Client::connect(&dir.path().join("ctl")).unwrap_err();
    assert!(matches!(error, ClientError::NotRunning { .. }));
    assert!(error.to_string().contains("Start it with `postrider serve`"), "{error}");
}

#[test]
fn a_server_that_dies_is_told() {
    let (stream, mut server) = UnixStream::pair().unwrap();
    send(&mut server, &Greeting::ours());
    drop(server);
    let error =
        Client::greeted(stream).unwrap().call(&Request::Status, None, &mut Seen::default()).unwrap_err();
    assert!(matches!(error, ClientError::Lost(_)), "{error:?}");
}

mod on_the_runtime {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::rc::Rc;
    use std::sync::Arc;

    use super::*;
    use crate::control::{ControlOptions, bind, serve as serve_socket};
    use crate::metrics::{Builder, Counter, Registry};
    use crate::runtime::{Runtime, RuntimeOptions, Shutdown};

    /// A server at `path`, and the switch that makes it listen no more. The runtime ends by its own: a shard that
    /// ended may leave the socket open, as its tasks are dropped or leaked where they stand.
    fn start(path: &Path, limits: ExchangeLimits) -> (Runtime, Shutdown, Arc<Registry>, Counter) {
        let mut builder = Builder::new();
        let requests = builder.counter("postrider_control_requests_total", "Requests.");
        let registry = builder.build(1);
        let (listening, shutdown) = (Shutdown::new(), Shutdown::new());
        let socket = std::sync::Mutex::new(Some(bind(path).unwrap()));
        let (counted, stop, end) = (Arc::clone(&registry), listening.clone(), shutdown.clone());
        let main = Arc::new(move || {
            let options = ControlOptions { limits, recorder: counted.recorder(0), requests };
            let socket = socket.lock().unwrap().take().unwrap();
            serve_socket(socket, Rc::new(Pretend::default()), options, stop.clone()).unwrap();
            end.wait()
        });
        let options = RuntimeOptions { pin: false, ..RuntimeOptions::new(1) };
        let runtime = Runtime::start(&options, shutdown, move |_| {
            let main = Arc::clone(&main);
            async move {
                main().await;
            }
        });
        (runtime.unwrap(), listening, registry, requests)
    }

    #[test]
    fn requests_go_through_a_socket_that_only_its_owner_can_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ctl");
        let (runtime, listening, registry, requests) = start(&path, PATIENT);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut seen = Seen::default();
        let answer = Client::connect(&path).unwrap().call(&Request::DomainList, None, &mut seen).unwrap();
        assert_eq!((answer, seen.data.split(|b| *b == b'\n').count()), (Answer::Done, 10_001));
        let input = vec![b'x'; 3 * CHUNK_OCTETS_MAX + 1];
        let request = Request::DirectoryApply { dry_run: false, files: None };
        let answer = Client::connect(&path).unwrap().call(&request, Some(&mut &*input), &mut Seen::default());
        assert_eq!(answer.unwrap(), Answer::Applied { changes: 1 });
        assert_eq!(registry.counter(requests), 2);
        listening.begin(Duration::from_secs(1));
        crate::testing::wait_until(|| matches!(Client::connect(&path), Err(ClientError::NotRunning { .. })));
        runtime.shutdown().begin(Duration::from_secs(1));
        runtime.join().unwrap();
    }

    #[test]
    fn a_silent_client_holds_up_nobody_and_too_many_are_told() {
        assert!(once(|number| are_told(QUICK * 4_u32.pow(number as u32))));
    }

    /// False when it took so long that silent clients may have been left before the last one came.
    fn are_told(request: Duration) -> bool {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ctl");
        let (runtime, ..) = start(&path, ExchangeLimits { request, ..PATIENT });
        let begun = Instant::now();
        let silent: Vec<_> =
            (0..crate::control::CONNECTIONS_MAX - 1).map(|_| UnixStream::connect(&path).unwrap()).collect();
        // The last place is free.
        let last = Client::connect(&path).unwrap();
        let refused = Client::connect(&path).map(drop);
        let answer = last.call(&Request::Status, None, &mut Seen::default());
        let is_in_time = begun.elapsed() < request;
        if is_in_time {
            let error = refused.unwrap_err();
            assert!(error.to_string().contains("too many commands"), "{error}");
            assert!(answer.is_ok());
        }
        for stream in silent {
            assert!(rest(&stream).ends_with('\n'), "greeted, and left after a while");
        }
        runtime.shutdown().begin(Duration::from_secs(1));
        runtime.join().unwrap();
        is_in_time
    }
}
