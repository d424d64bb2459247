//! Keys of domains, over the control socket.
#![expect(clippy::unwrap_used, reason = "tests")]

use postrider_proto::address::Domain;
use postrider_storage::directory::{Directory, DkimState};

use crate::control::protocol::{Answer, DkimAlgorithm, DkimKeyRow, FailureKind, Request, Secret};
use crate::testing::{TestServer, within_one};

const RSA: &str = include_str!("../../authentication/src/dkim/tests/rsa2048.pem");

fn text(text: &str) -> String {
    text.to_owned()
}

fn server() -> TestServer {
    let server = TestServer::start();
    server.ok(&Request::DomainAdd { domain: text("example.org"), disabled: false });
    server
}

fn add(selector: Option<&str>, key: Option<&str>, publish_only: bool) -> Request {
    Request::DomainDkimAdd {
        domain: text("example.org"),
        selector: selector.map(text),
        algorithm: DkimAlgorithm::Ed25519,
        key: key.map(|key| Secret(text(key))),
        publish_only,
    }
}

fn added(server: &TestServer, request: &Request) -> DkimKeyRow {
    match server.ok(request).1 {
        Answer::DkimKey(row) => row,
        other => panic!("{other:?}"),
    }
}

fn keys(server: &TestServer) -> Vec<(String, bool)> {
    let reader = server.shared.store.reader();
    let domain = Domain::parse("example.org").unwrap();
    let keys = Directory::new(reader.snapshot()).dkim_keys(&domain).unwrap();
    keys.iter().map(|key| (key.selector.to_string(), key.state == DkimState::Signs)).collect()
}

#[test]
fn keys_are_made_switched_listed_and_removed() {
    // Selectors have the year in them.
    within_one(24 * 60 * 60, keys_are_managed);
}

fn keys_are_managed() {
    let server = server();
    let first = added(&server, &add(None, None, false));
    let year = first.selector.strip_suffix('a').unwrap();
    assert!(year.len() == 4 && year.parse::<u32>().unwrap() > 2020, "{year}");
    assert_eq!(first.name, format!("{year}a._domainkey.example.org"));
    assert!(first.record.as_ref().unwrap().contains("k=ed25519;"), "{first:?}");
    assert!(first.zone.as_ref().unwrap().starts_with(&format!("{}. ", first.name)), "{first:?}");
    let second = added(&server, &add(None, Some(RSA), true));
    assert_eq!((second.selector, second.algorithm), (format!("{year}b"), text("rsa")));
    assert_eq!(keys(&server), [(format!("{year}a"), true), (format!("{year}b"), false)]);
    let (rows, _) = server.ok(&Request::DomainDkimList { domain: text("example.org") });
    let listed: DkimKeyRow = serde_json::from_str(rows.lines().next().unwrap()).unwrap();
    assert_eq!(listed, first);
    assert_eq!(rows.lines().count(), 2);
    // The rotation: the new one signs, the old one doesn't, and goes.
    let sign = |letter: char, signs| Request::DomainDkimSign {
        domain: text("example.org"),
        selector: format!("{year}{letter}"),
        signs,
    };
    server.ok(&sign('b', true));
    server.ok(&sign('a', false));
    assert_eq!(keys(&server), [(format!("{year}a"), false), (format!("{year}b"), true)]);
    let remove = Request::DomainDkimRemove { domain: text("example.org"), selector: format!("{year}a") };
    server.ok(&remove);
    assert_eq!(keys(&server), [(format!("{year}b"), true)]);
    assert_eq!(server.fails(&remove).0, FailureKind::NotFound);
    assert_eq!(server.fails(&sign('c', true)).0, FailureKind::NotFound);
    assert_eq!(server.fails(&add(Some(&format!("{year}b")), None, false)).0, FailureKind::Exists);
    assert_eq!(server.fails(&add(Some("a b"), None, false)).0, FailureKind::Invalid);
    let (kind, said) = server.fails(&add(None, Some("-----BEGIN nonsense"), false));
    assert_eq!(kind, FailureKind::Invalid, "{said}");
    let nowhere = Request::DomainDkimList { domain: text("example.com") };
    assert_eq!(server.fails(&nowhere).0, FailureKind::NotFound);
}

#[test]
fn documents_name_key_files_beside_them() {
    let server = server();
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("dkim")).unwrap();
    std::fs::write(directory.path().join("dkim/a.pem"), RSA).unwrap();
    std::fs::write(directory.path().join("large.pem"), vec![b'x'; 70_000]).unwrap();
    let document = |file: &str| {
        format!(
            "version = 1\n[domain.\"example.org\"]\ndkim = [{{ selector = \"a\", key_file = \"{file}\" }}]\n"
        )
    };
    let apply = |file: &str, files: Option<&std::path::Path>| {
        let request = Request::DirectoryApply { dry_run: false, files: files.map(Into::into) };
        server.call_with(&request, Some(&document(file))).1
    };
    for (file, files, said) in [
        ("dkim/a.pem", None, "absolute path"),
        ("dkim/b.pem", Some(directory.path()), "No such file"),
        ("dkim", Some(directory.path()), "is no file"),
        ("large.pem", Some(directory.path()), "larger than a key"),
    ] {
        let error = apply(file, files).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains("line 3"), "{error}");
    }
    assert_eq!(apply("dkim/a.pem", Some(directory.path())).unwrap(), Answer::Applied { changes: 1 });
    assert_eq!(keys(&server), [(text("a"), true)]);
    let absolute = directory.path().join("dkim/a.pem");
    assert_eq!(apply(absolute.to_str().unwrap(), None).unwrap(), Answer::Applied { changes: 0 });
    // What is exported has the key itself.
    let (exported, _) = server.ok(&Request::DirectoryExport);
    server.ok(&Request::DomainDkimRemove { domain: text("example.org"), selector: text("a") });
    let request = Request::DirectoryApply { dry_run: false, files: None };
    assert_eq!(server.call_with(&request, Some(&exported)).1.unwrap(), Answer::Applied { changes: 1 });
    assert_eq!(server.ok(&Request::DirectoryExport).0, exported);
}
