//! What each request does to the running server, over its control socket.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::{IpAddr, Ipv4Addr};

use postrider_proto::address::Address;
use postrider_proto::imap::types::Flags;
use postrider_storage::account::{NewMessage, ThreadInfo};
use postrider_storage::blobs::Sharing;
use postrider_storage::directory::{Directory, Recipient, Resolution};
use postrider_storage::engine::Space;
use postrider_storage::ids::AccountId;
use postrider_storage::keys::{self, SYSTEM, table};
use postrider_storage::store::Refusal;

use crate::accounts::WriteError;
use crate::auth::{AuthError, Connection, User};
use crate::control::protocol::{Answer, FailureKind, Request, Secret, StoreStatus};
use crate::intake::Intake;
use crate::testing::{TestServer, wait_until};

fn text(text: &str) -> String {
    text.to_owned()
}

fn with_account() -> TestServer {
    let server = TestServer::start();
    server.ok(&Request::DomainAdd { domain: text("example.org"), disabled: false });
    server.ok(&Request::AccountAdd {
        account: text("anna"),
        address: text("anna@example.org"),
        password: Secret(text("first password")),
        quota: None,
    });
    server
}

fn log_in(server: &TestServer, login: &str, password: &str) -> Result<User, AuthError> {
    let (login, password) = (text(login), text(password));
    let home = server.account("anna").unwrap();
    server.at_home(home, move |shard| {
        Box::pin(async move {
            let connection = Connection {
                peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
                exporter: None,
                certificate: None,
                hostname: text("localhost"),
                now: 1,
            };
            shard.shared.authenticator.password(connection, &login, &password).await
        })
    })
}

fn resolve(server: &TestServer, address: &str) -> Resolution {
    let reader = server.shared.store.reader();
    let address = Address::parse(address).unwrap();
    Directory::new(reader.snapshot()).resolve(Recipient::Address(&address), &[]).unwrap()
}

/// Adds a message to the inbox.
fn deliver(server: &TestServer, account: AccountId, message: &'static str) -> Result<(), WriteError> {
    server.at_home(account, move |shard| {
        Box::pin(async move {
            let shared = &shard.shared;
            let mut intake = Intake::new(&shared.store, &shared.committer, 1 << 20);
            intake.push(message.as_bytes()).await.unwrap();
            let message = intake.finish(Sharing::One).unwrap();
            let handle = shard.accounts.get(account).await.map_err(|_| WriteError::Reopened)?;
            handle
                .transact(None, message.incarnation, move |tx| {
                    let inbox = tx.mailbox_id(&postrider_proto::imap::mailbox::MailboxName::inbox());
                    tx.attach(message.batch);
                    let new = NewMessage {
                        content: message.content,
                        prefix: Vec::new(),
                        flags: Flags::NONE,
                        keywords: Vec::new(),
                        received: 1,
                        thread: ThreadInfo::default(),
                    };
                    tx.append(inbox.ok_or(Refusal::NoSuchMailbox)?, new).map(drop)
                })
                .await
        })
    })
}

#[test]
fn a_new_account_can_log_in_and_has_its_mailboxes() {
    let server = with_account();
    assert_eq!(log_in(&server, "anna@example.org", "first password").unwrap().name, "anna");
    let (mailboxes, answer) = server.ok(&Request::AccountShow { account: text("anna") });
    let Answer::Account(details) = answer else { panic!("{answer:?}") };
    assert_eq!(details.addresses, ["anna@example.org"]);
    let names: Vec<_> = mailboxes.lines().map(|line| line.split('"').nth(3).unwrap()).collect();
    assert_eq!(names, ["Archive", "Drafts", "Inbox", "Junk", "Sent", "Trash"]);
    let (rows, _) = server.ok(&Request::AccountList);
    assert!(rows.contains("\"account\":\"anna\"") && rows.contains("\"disabled\":false"), "{rows}");
}

#[test]
fn what_can_not_be_added_is_refused_with_the_reason_and_changes_nothing() {
    let server = with_account();
    let add = |account: &str, address: &str, password: &str| Request::AccountAdd {
        account: text(account),
        address: text(address),
        password: Secret(text(password)),
        quota: None,
    };
    assert_eq!(server.fails(&add("anna", "b@example.org", "long enough")).0, FailureKind::Exists);
    assert_eq!(server.fails(&add("bert", "anna@example.org", "long enough")).0, FailureKind::Exists);
    assert_eq!(server.fails(&add("bert", "bert@example.com", "long enough")).0, FailureKind::NotFound);
    assert_eq!(server.fails(&add("a/b", "b@example.org", "long enough")).0, FailureKind::Invalid);
    let (kind, message) = server.fails(&add("bert", "bert@example.org", "7 octet"));
    assert!(kind == FailureKind::Invalid && message.contains("fewer than 8"), "{message}");
    assert_eq!(server.account("bert"), None);
    server.ok(&add("bert", "bert@example.org", "8 octets"));
    assert!(server.account("bert").is_some());
    assert_eq!(server.fails(&Request::AccountShow { account: text("carl") }).0, FailureKind::NotFound);
}

#[test]
fn a_new_password_replaces_the_old_one() {
    let server = with_account();
    server.ok(&Request::AccountSetPassword {
        account: text("anna"),
        password: Secret(text("second password")),
    });
    assert!(log_in(&server, "anna@example.org", "second password").is_ok());
    assert!(log_in(&server, "anna@example.org", "first password").is_err());
}

#[test]
fn a_disabled_account_tells_why_and_still_gets_mail() {
    let server = with_account();
    let message = text("moved away");
    server.ok(&Request::AccountDisable { account: text("anna"), message });
    let refused = log_in(&server, "anna@example.org", "first password");
    assert!(matches!(refused, Err(AuthError::Disabled(why)) if why == "moved away"));
    assert!(matches!(resolve(&server, "anna@example.org"), Resolution::Account { .. }));
    server.ok(&Request::AccountEnable { account: text("anna") });
    assert!(log_in(&server, "anna@example.org", "first password").is_ok());
}

#[test]
fn a_quota_holds_for_a_loaded_account_and_for_one_that_is_loaded_later() {
    let server = with_account();
    let anna = server.account("anna").unwrap();
    deliver(&server, anna, "Subject: a\r\n\r\nb").unwrap();
    let quota = |octets| server.ok(&Request::AccountSetQuota { account: text("anna"), quota: octets });
    quota(Some(31));
    let refused = deliver(&server, anna, "Subject: a\r\n\r\nbcd");
    assert!(matches!(refused, Err(WriteError::Refused(Refusal::OverQuota))), "{refused:?}");
    server.at_home(anna, move |shard| Box::pin(async move { shard.accounts.forget(anna).await }));
    let refused = deliver(&server, anna, "Subject: a\r\n\r\nbcd");
    assert!(matches!(refused, Err(WriteError::Refused(Refusal::OverQuota))), "{refused:?}");
    deliver(&server, anna, "Subject: a\r\n\r\nbc").unwrap();
    quota(None);
    deliver(&server, anna, "Subject: a\r\n\r\nb").unwrap();
    let messages =
        |messages| server.ok(&Request::AccountSetQuotaMessages { account: text("anna"), messages });
    messages(Some(4));
    deliver(&server, anna, "Subject: a\r\n\r\nb").unwrap();
    let refused = deliver(&server, anna, "Subject: a\r\n\r\nb");
    assert!(matches!(refused, Err(WriteError::Refused(Refusal::OverQuota))), "{refused:?}");
    server.at_home(anna, move |shard| Box::pin(async move { shard.accounts.forget(anna).await }));
    let refused = deliver(&server, anna, "Subject: a\r\n\r\nb");
    assert!(matches!(refused, Err(WriteError::Refused(Refusal::OverQuota))), "{refused:?}");
    messages(None);
    deliver(&server, anna, "Subject: a\r\n\r\nb").unwrap();
}

#[test]
fn a_removed_account_is_gone_with_its_mail() {
    let server = with_account();
    let anna = server.account("anna").unwrap();
    deliver(&server, anna, "Subject: a\r\n\r\nb").unwrap();
    let handle_broken = {
        server.ok(&Request::AddressAdd { address: text("@example.org"), account: text("anna") });
        server.ok(&Request::AccountRemove { account: text("anna") });
        deliver(&server, anna, "Subject: late\r\n\r\n").is_err()
    };
    assert!(handle_broken);
    assert_eq!(resolve(&server, "anna@example.org"), Resolution::Unknown);
    assert_eq!(server.account("anna"), None);
    let empty = |space, prefix: &[u8]| {
        let reader = server.shared.store.reader();
        reader.snapshot().prefix(space, prefix).next().is_none()
    };
    wait_until(|| empty(Space::Rows, &keys::owner(anna.get())));
    wait_until(|| empty(Space::Rows, &keys::of_table(SYSTEM, table::BLOB)));
    wait_until(|| empty(Space::Blobs, &[]));
    let reader = server.shared.store.reader();
    wait_until(|| {
        let reader = server.shared.store.reader();
        Directory::new(reader.snapshot()).removed_accounts(9).unwrap().is_empty()
    });
    drop(reader);
    assert_eq!(server.fails(&Request::AccountRemove { account: text("anna") }).0, FailureKind::NotFound);
}

#[test]
fn addresses_and_catch_alls_lead_where_they_are_told_to() {
    let server = with_account();
    let add = |address: &str| Request::AddressAdd { address: text(address), account: text("anna") };
    server.ok(&add("@example.org"));
    server.ok(&add("sales@example.org"));
    assert!(matches!(resolve(&server, "other@example.org"), Resolution::Account { .. }));
    let (rows, _) = server.ok(&Request::AddressList { account: None });
    assert_eq!(rows.lines().count(), 3, "{rows}");
    let (same, _) = server.ok(&Request::AddressList { account: Some(text("anna")) });
    assert_eq!(same.lines().count(), 3, "{same}");
    server.ok(&Request::AddressRemove { address: text("@example.org") });
    assert_eq!(resolve(&server, "other@example.org"), Resolution::Unknown);
    assert_eq!(
        server.fails(&Request::AddressRemove { address: text("@example.org") }).0,
        FailureKind::NotFound
    );
    assert_eq!(server.fails(&add("no address")).0, FailureKind::Invalid);
}

#[test]
fn domains_are_switched_off_and_on_and_go_when_unused() {
    let server = with_account();
    let domain = || text("example.org");
    server.ok(&Request::DomainDisable { domain: domain() });
    assert_eq!(resolve(&server, "anna@example.org"), Resolution::DomainDisabled);
    let (rows, _) = server.ok(&Request::DomainList);
    assert_eq!(rows, "{\"domain\":\"example.org\",\"disabled\":true}\n");
    server.ok(&Request::DomainEnable { domain: domain() });
    assert!(matches!(resolve(&server, "anna@example.org"), Resolution::Account { .. }));
    assert_eq!(server.fails(&Request::DomainRemove { domain: domain() }).0, FailureKind::InUse);
    server.ok(&Request::AccountRemove { account: text("anna") });
    server.ok(&Request::DomainRemove { domain: domain() });
    assert_eq!(resolve(&server, "anna@example.org"), Resolution::NotLocal);
    assert_eq!(server.fails(&Request::DomainEnable { domain: domain() }).0, FailureKind::NotFound);
}

#[test]
fn aliases_have_members() {
    let server = with_account();
    for address in ["b@example.org", "c@example.org"] {
        server.ok(&Request::AddressAdd { address: text(address), account: text("anna") });
    }
    let members = |names: &[&str]| names.iter().map(|name| text(name)).collect::<Vec<_>>();
    let alias = || text("team@example.org");
    server.ok(&Request::AliasAdd { alias: alias(), members: members(&["anna@example.org"]) });
    let more = members(&["b@example.org", "c@example.org"]);
    server.ok(&Request::AliasAddMember { alias: alias(), members: more });
    server.ok(&Request::AliasRemoveMember { alias: alias(), members: members(&["b@example.org"]) });
    assert!(
        matches!(resolve(&server, "team@example.org"), Resolution::Alias { settings, .. } if settings.post_public)
    );
    let (rows, _) = server.ok(&Request::AliasList { domain: Some(text("example.org")) });
    let expected = "{\"alias\":\"team@example.org\",\"members\":[\"anna@example.org\",\"c@example.org\"]}\n";
    assert_eq!(rows, expected);
    let all = members(&["anna@example.org", "c@example.org"]);
    let emptied = server.fails(&Request::AliasRemoveMember { alias: alias(), members: all });
    assert_eq!(emptied.0, FailureKind::InUse);
    server.ok(&Request::AliasRemove { alias: alias() });
    assert_eq!(resolve(&server, "team@example.org"), Resolution::Unknown);
    assert_eq!(
        server.fails(&Request::AliasList { domain: Some(text("example.com")) }).0,
        FailureKind::NotFound
    );
}

#[test]
fn the_directory_is_exported_and_applied_as_one_transaction() {
    let server = with_account();
    let (exported, _) = server.ok(&Request::DirectoryExport);
    let apply =
        |text: &str, dry_run| server.call_with(&Request::DirectoryApply { dry_run, files: None }, Some(text));
    let (came, answer) = apply(&exported, false);
    assert_eq!((came.data.as_slice(), answer.unwrap()), (&b""[..], Answer::Applied { changes: 0 }));
    let wanted = format!(
        "{exported}\n[domain.\"example.com\"]\n\n[account.bert]\ndomain = \"example.com\"\n\
         password = \"password of bert\"\naddresses = [\"bert@example.com\"]\n"
    );
    let (tried, answer) = apply(&wanted, true);
    let Ok(Answer::Applied { changes }) = answer else { panic!("{answer:?}") };
    let lines = String::from_utf8(tried.data).unwrap();
    assert_eq!(lines.lines().count() as u64, changes);
    assert!(lines.contains("+ account bert\n") && !lines.contains("password of bert\n+"), "{lines}");
    assert_eq!(server.account("bert"), None, "only tried");
    let (made, answer) = apply(&wanted, false);
    assert_eq!(
        (String::from_utf8(made.data).unwrap(), answer.unwrap()),
        (lines, Answer::Applied { changes })
    );
    assert_eq!(log_in(&server, "bert@example.com", "password of bert").unwrap().name, "bert");
    let bert = server.account("bert").unwrap();
    deliver(&server, bert, "Subject: a\r\n\r\nb").unwrap();
    assert_eq!(apply(&wanted, false).1.unwrap(), Answer::Applied { changes: 0 }, "the password matches");

    // One fault, and nothing is done.
    let faulty =
        wanted.replace("[account.bert]", "[account.carl]\ndomain = \"nowhere.example\"\n\n[account.bert]");
    assert!(apply(&faulty, false).1.is_err());
    assert_eq!(server.account("carl"), None);
    // An account that holds mail isn't removed by leaving it out.
    let (_, answer) = apply(&exported, false);
    assert!(answer.is_err_and(|error| error.to_string().contains("holds mail")));
    assert!(server.account("bert").is_some());
}

#[test]
fn an_account_is_let_in_by_the_mechanisms_that_it_uses_alone() {
    let server = with_account();
    let (exported, _) = server.ok(&Request::DirectoryExport);
    let disabled = |mechanisms: &str| {
        let wanted = exported
            .replace("domain = \"example.org\"\n", &format!("domain = \"example.org\"\n{mechanisms}"));
        server.call_with(&Request::DirectoryApply { dry_run: false, files: None }, Some(&wanted)).1.unwrap();
        log_in(&server, "anna@example.org", "first password").map(|user| user.name)
    };
    assert_eq!(disabled("disabled_mechanisms = [\"LOGIN\", \"CRAM-MD5\"]\n").unwrap(), "anna");
    assert!(matches!(disabled("disabled_mechanisms = [\"PLAIN\"]\n"), Err(AuthError::Failed(_))));
    assert_eq!(disabled("").unwrap(), "anna");
}

#[test]
fn status_levels_and_stop() {
    let server = TestServer::start();
    let (_, Answer::Status(status)) = server.ok(&Request::Status) else { panic!("no status") };
    assert_eq!((status.shards, status.store, status.pid), (2, StoreStatus::Writable, std::process::id()));
    assert!(status.listeners.iter().any(|listener| listener.address == "127.0.0.1:1025"));
    let set = |module: Option<&str>, level: Option<&str>| Request::SetLogLevel {
        module: module.map(text),
        level: level.map(text),
    };
    server.ok(&set(None, Some("warn")));
    server.ok(&set(Some("smtp"), Some("debug")));
    let expected = Answer::LogLevels { default: text("warn"), modules: vec![(text("smtp"), text("debug"))] };
    assert_eq!(server.ok(&Request::LogLevels).1, expected);
    assert_eq!(server.shared.log.levels().default_level().name(), "warn");
    server.ok(&set(Some("smtp"), None));
    let expected = Answer::LogLevels { default: text("warn"), modules: Vec::new() };
    assert_eq!(server.ok(&Request::LogLevels).1, expected);
    assert_eq!(server.fails(&set(Some("smpt"), Some("debug"))).0, FailureKind::Invalid);
    assert_eq!(server.fails(&set(None, Some("loud"))).0, FailureKind::Invalid);
    assert!(!server.shared.shutdown.is_stopping());
    server.ok(&Request::Stop);
    assert!(server.shared.shutdown.is_stopping());
}

#[test]
fn changes_at_the_same_time_do_not_undo_each_other() {
    let server = with_account();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let server = &server;
            scope.spawn(move || {
                for number in 0..10 {
                    let address = format!("a{worker}-{number}@example.org");
                    server.ok(&Request::AddressAdd { address, account: text("anna") });
                }
            });
        }
    });
    let (rows, _) = server.ok(&Request::AddressList { account: Some(text("anna")) });
    assert_eq!(rows.lines().count(), 41);
}

#[test]
fn public_keys_of_tls_are_added_listed_and_removed() {
    let server = with_account();
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let certificate = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
    let add = |account: &str, pem: String| Request::AccountTlsKeyAdd {
        account: text(account),
        pem,
        name: text("laptop"),
    };
    let list = Request::AccountTlsKeyList { account: text("anna") };
    assert_eq!(server.ok(&list).0, "");
    let (_, answer) = server.ok(&add("anna", certificate.pem()));
    let Answer::TlsKey { fingerprint } = answer else { panic!("{answer:?}") };
    let (rows, _) = server.ok(&list);
    assert!(rows.contains(&format!("{{\"fingerprint\":\"{fingerprint}\",\"name\":\"laptop\"")), "{rows}");
    // The same key without a certificate.
    assert_eq!(server.fails(&add("anna", key.public_key_pem())).0, FailureKind::Exists);
    assert_eq!(server.fails(&add("bert", key.public_key_pem())).0, FailureKind::NotFound);
    assert_eq!(server.fails(&add("anna", text("nonsense"))).0, FailureKind::Invalid);
    let remove = |fingerprint: &str| Request::AccountTlsKeyRemove {
        account: text("anna"),
        fingerprint: text(fingerprint),
    };
    assert_eq!(server.fails(&remove("nonsense")).0, FailureKind::Invalid);
    server.ok(&remove(&fingerprint));
    assert_eq!(server.fails(&remove(&fingerprint)).0, FailureKind::NotFound);
    assert_eq!(server.ok(&list).0, "");
    assert_eq!(server.fails(&Request::AccountTlsKeyList { account: text("bert") }).0, FailureKind::NotFound);
}
