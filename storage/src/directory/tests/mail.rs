//! What is set for the mail of accounts.

use super::*;

const SECRET: &str = "0123456789abcdef";

fn hook(url: &str, authorization: Option<&str>, secret: Option<&str>) -> Webhook {
    Webhook::new(WebhookUrl::parse(url).unwrap(), authorization, secret).unwrap()
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// Everything that can be set.
fn full() -> MailSettings {
    MailSettings {
        recipients_per_day: Some(5000),
        first_time_recipients_per_day: Some(0),
        from_id_logins: vec![address("fred@example.org"), address("x@other.example")],
        keep_retired_messages: Some(86_400),
        keep_retired_webhooks: Some(3600),
        outgoing_webhook: Some(OutgoingWebhook {
            hook: hook("https://hooks.example/out?a=\"b\"", Some("Bearer x"), Some(SECRET)),
            events: WebhookEvents::of([WebhookEvent::Failed, WebhookEvent::Delayed]),
        }),
        incoming_webhook: Some(hook("http://[::1]:8080/in", None, None)),
    }
}

fn with(mail: MailSettings) -> Change {
    let settings = AccountSettings { mail, ..AccountSettings::new(domain("example.org")) };
    Change::SetAccount { name: name("fred"), settings }
}

fn there(world: &World) -> MailSettings {
    let snapshot = world.0.snapshot();
    Directory::new(&*snapshot).account(world.account("fred")).unwrap().unwrap().settings.mail
}

fn value_of_fred(world: &World) -> Vec<u8> {
    let key = [&[0, 0, 0, 0, 0x42][..], &world.account("fred").get().to_be_bytes()].concat();
    world.rows().iter().find(|(found, _)| **found == key[..]).unwrap().1.to_vec()
}

#[test]
fn what_is_set_is_read_again_and_nothing_costs_nothing() {
    let world = World::usual();
    let before = value_of_fred(&world);
    world.apply(&[with(full())]).unwrap();
    assert_eq!(there(&world), full());
    assert_eq!(value_of_fred(&world)[0], 3);
    // Each of them alone.
    let none = MailSettings::default;
    for alone in [
        MailSettings { recipients_per_day: Some(0), ..none() },
        MailSettings { first_time_recipients_per_day: Some(1), ..none() },
        MailSettings { from_id_logins: full().from_id_logins, ..none() },
        MailSettings { keep_retired_messages: Some(0), ..none() },
        MailSettings { keep_retired_webhooks: full().keep_retired_webhooks, ..none() },
        MailSettings { outgoing_webhook: full().outgoing_webhook, ..none() },
        MailSettings { incoming_webhook: full().incoming_webhook, ..none() },
    ] {
        world.apply(&[with(alone.clone())]).unwrap();
        assert_eq!(there(&world), alone);
    }
    world.apply(&[with(none())]).unwrap();
    assert_eq!(value_of_fred(&world), before);
}

#[test]
fn what_is_set_is_bounded() {
    let world = World::usual();
    let refused = |mail| world.refused(with(mail));
    let most = MailSettings::FROM_ID_LOGINS_MAX;
    let logins = |count: usize| {
        let logins = (0..count).map(|number| address(&format!("a{number:03}@example.org"))).collect();
        MailSettings { from_id_logins: logins, ..MailSettings::default() }
    };
    world.try_plan(&[with(logins(most))]).unwrap();
    assert!(refused(logins(most + 1)).contains("at most 100"));
    let mut twice = logins(2);
    twice.from_id_logins[1] = twice.from_id_logins[0].clone();
    assert!(refused(twice).contains("in order, each once"));
    let kept = |seconds| {
        [
            MailSettings { keep_retired_messages: Some(seconds), ..MailSettings::default() },
            MailSettings { keep_retired_webhooks: Some(seconds), ..MailSettings::default() },
        ]
    };
    for mail in kept(MailSettings::KEEP_SECONDS_MAX) {
        world.try_plan(&[with(mail)]).unwrap();
    }
    for mail in kept(MailSettings::KEEP_SECONDS_MAX + 1) {
        assert!(refused(mail).contains("at most ten years"));
    }
}

#[test]
fn documents_have_it() {
    let world = World::usual();
    world.apply(&[with(full())]).unwrap();
    let golden = r#"recipients_per_day = 5000
first_time_recipients_per_day = 0
keep_retired_messages = 86400
keep_retired_webhooks = 3600
from_id_logins = ["fred@example.org", "x@other.example"]
outgoing_webhook = { url = "https://hooks.example/out?a=\"b\"", authorization = "Bearer x", secret = "0123456789abcdef", events = ["delayed", "failed"] }
incoming_webhook = { url = "http://[::1]:8080/in" }
"#;
    let text = world.text();
    assert!(text.contains(golden), "{text}");
    assert_eq!(world.apply_text(&text).unwrap(), [""; 0]);
    let copy = World::new(&[]);
    copy.apply_text(&text).unwrap();
    assert_eq!(copy.text(), text);
    assert_eq!(there(&copy), full());
    // What a document doesn't say any more is gone.
    assert_eq!(world.apply_text(&World::usual().text()).unwrap(), ["~ account fred"]);
    assert_eq!(there(&world), MailSettings::default());
}

#[test]
fn faults_are_found_with_their_lines() {
    let many = vec!["\"a@x.example\""; 101].join(",");
    let text = format!(
        r#"version = 1
[domain."x.example"]
[account.a]
domain = "x.example"
recipients_per_day = -1
first_time_recipients_per_day = 4294967296
from_id_logins = ["no address"]
keep_retired_messages = "7d"
outgoing_webhook = {{ url = "ftp://x.example" }}
incoming_webhook = {{ url = "https://x.example", events = ["failed"] }}
[account.b]
domain = "x.example"
from_id_logins = [{many}]
outgoing_webhook = {{ url = "https://x.example", events = ["read"], secret = "topsecret" }}
incoming_webhook = {{ authorization = "x" }}
"#
    );
    let faults = World::usual().faults(&text);
    let lines: Vec<_> = faults.iter().map(|fault| fault.line).collect();
    assert_eq!(lines, [5, 6, 7, 8, 9, 10, 13, 14, 14, 15], "{faults:?}");
    assert!(!faults.iter().any(|fault| fault.problem.contains("topsecret")), "{faults:?}");
}

/// Later versions read what this one wrote: these octets must not change.
#[test]
fn golden_octets_of_an_account_with_everything() {
    let world = World::usual();
    world.apply(&[with(full())]).unwrap();
    let golden = "\\x03\\x00\\x80;\\xb1j\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\
                  \\x00\\x00\\x00\\x00\\x04\\x00fred\\x0b\\x00example.org\\x00\\x00\\x00\\x00\\x00\\x00\\x00\
                  ?\\x88\\x13\\x00\\x00\\x00\\x00\\x00\\x00\\x80Q\\x01\\x00\\x10\\x0e\\x00\\x00\\x02\\x10\\x00fred@example.org\
                  \\x0f\\x00x@other.example\\x1f\\x00https://hooks.example/out?a=\\\"b\\\"\\x08\\x00Bearer x\
                  \\x10\\x000123456789abcdef\\x0c\\x14\\x00http://[::1]:8080/in\\x00\\x00\\x00\\x00";
    assert_eq!(value_of_fred(&world).escape_ascii().to_string(), golden);
}

#[test]
fn ids_stand_behind_the_first_separator() {
    let settings = DomainSettings { separators: vec!["+".into(), "--".into()], ..DomainSettings::default() };
    for (localpart, base, id) in [
        ("fred", "fred", None),
        ("fred+", "fred", None),
        ("fred+x", "fred", Some("x")),
        ("fred+x+y--z", "fred", Some("x+y--z")),
        ("fred--x", "fred--x", None),
        ("+x", "+x", None),
        ("+x+y", "+x", Some("y")),
        ("\u{e4}+y", "\u{e4}", Some("y")),
    ] {
        assert_eq!(settings.id_in(localpart), Some((base, "+", id)), "{localpart}");
    }
    assert_eq!(DomainSettings::default().id_in("fred+x"), None);
}

#[test]
fn damage_is_found() {
    let world = World::usual();
    world.apply(&[with(full())]).unwrap();
    let (rows, value) = (world.rows(), value_of_fred(&world));
    let key = rows.iter().find(|(_, found)| **found == value[..]).unwrap().0.to_vec();
    for cut in 1..value.len() {
        let engine = MemoryEngine::new();
        let mut all = crate::engine::Batch::new();
        rows.iter().for_each(|(key, value)| all.insert(Space::Rows, key.to_vec(), value.to_vec()));
        engine.commit(all, Durability::Buffered).unwrap();
        let mut batch = crate::engine::Batch::new();
        batch.insert(Space::Rows, key.clone(), value[..cut].to_vec());
        engine.commit(batch, Durability::Buffered).unwrap();
        let found = verify(&*engine.snapshot()).unwrap();
        assert!(found.iter().any(|violation| violation.rule == Rule::Readable), "cut at {cut}: {found:?}");
    }
}
