//! What is set for the mail of an account, over the control socket.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use postrider_storage::directory::{Change, DomainSettings};
use postrider_storage::engine::Durability;

use crate::control::protocol::{Answer, FailureKind, MailSetting, MailSettings, Request, Secret, Webhook};
use crate::testing::TestServer;

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
        quota: Some(1 << 30),
    });
    server
}

fn set(settings: Vec<MailSetting>) -> Request {
    Request::AccountSettingsSet { account: text("anna"), settings }
}

fn shown(server: &TestServer, secrets: bool) -> MailSettings {
    let (_, answer) = server.ok(&Request::AccountSettingsShow { account: text("anna"), secrets });
    let Answer::MailSettings(settings) = answer else { panic!("{answer:?}") };
    *settings
}

fn hook(events: &[&str]) -> Webhook {
    Webhook {
        url: text("https://hooks.example/x"),
        authorization: Some(Secret(text("Bearer x"))),
        secret: Some(Secret(text("0123456789abcdef"))),
        events: events.iter().map(|event| text(event)).collect(),
    }
}

#[test]
fn settings_are_set_one_by_one_and_secrets_are_shown_on_demand() {
    let server = with_account();
    server.ok(&set(vec![
        MailSetting::RecipientsPerDay(Some(5)),
        MailSetting::KeepRetiredMessages(Some(60)),
        MailSetting::OutgoingWebhook(Some(hook(&["failed"]))),
    ]));
    server.ok(&set(vec![MailSetting::FirstTimeRecipientsPerDay(Some(0))]));
    let found = shown(&server, false);
    assert_eq!((found.recipients_per_day, found.first_time_recipients_per_day), (Some(5), Some(0)));
    assert_eq!(found.keep_retired_messages, Some(60));
    let outgoing = found.outgoing_webhook.unwrap();
    assert_eq!((&*outgoing.url, outgoing.events), ("https://hooks.example/x", vec![text("failed")]));
    assert!(outgoing.is_authorized && outgoing.is_signed);
    assert_eq!((outgoing.authorization, outgoing.secret), (None, None));
    let secrets = shown(&server, true).outgoing_webhook.unwrap();
    assert_eq!(secrets.secret.unwrap().0, "0123456789abcdef");
    assert_eq!(secrets.authorization.unwrap().0, "Bearer x");
    // What else is set stays, and one at a time is taken away.
    server.ok(&set(vec![MailSetting::OutgoingWebhook(None), MailSetting::RecipientsPerDay(None)]));
    let found = shown(&server, true);
    assert_eq!((found.recipients_per_day, found.outgoing_webhook), (None, None));
    assert_eq!(found.first_time_recipients_per_day, Some(0));
    let (_, answer) = server.ok(&Request::AccountShow { account: text("anna") });
    let Answer::Account(details) = answer else { panic!("{answer:?}") };
    assert_eq!((details.row.quota, details.recipients_per_day), (Some(1 << 30), 1000));
    assert_eq!(details.first_time_recipients_per_day, 0);
}

#[test]
fn what_cannot_be_is_refused_as_a_whole() {
    let server = with_account();
    let refused = |setting: MailSetting| {
        let (kind, message) = server.fails(&set(vec![MailSetting::RecipientsPerDay(Some(5)), setting]));
        assert_eq!(kind, FailureKind::Invalid, "{message}");
        message
    };
    let url = |url: &str| Webhook { url: text(url), ..hook(&[]) };
    let said = refused(MailSetting::OutgoingWebhook(Some(url("ftp://x.example"))));
    assert!(said.contains("https://"), "{said}");
    refused(MailSetting::OutgoingWebhook(Some(hook(&["read"]))));
    refused(MailSetting::IncomingWebhook(Some(hook(&["failed"]))));
    let short = Webhook { secret: Some(Secret(text("short"))), ..hook(&[]) };
    refused(MailSetting::IncomingWebhook(Some(short)));
    let logins = |login: &str| MailSetting::FromIdLogins(vec![text(login)]);
    assert!(refused(logins("ben@example.org")).contains("no address with which account anna logs in"));
    assert!(refused(logins("anna@example.org")).contains("has no separators"));
    assert_eq!(shown(&server, false).recipients_per_day, None);
    let reader = server.shared.store.reader();
    let settings = DomainSettings { separators: vec![text("+")], ..DomainSettings::default() };
    let domain = postrider_proto::address::Domain::parse("example.org").unwrap();
    let change = [Change::SetDomain { domain, settings }];
    let limits = postrider_storage::directory::Limits::DEFAULT;
    let plan = postrider_storage::directory::plan(reader.snapshot(), &change, &limits, 0).unwrap();
    server.shared.committer.commit_blocking(plan, Durability::Synced).unwrap();
    server.ok(&set(vec![logins("anna@example.org")]));
    assert_eq!(shown(&server, false).from_id_logins, ["anna@example.org"]);
}
