//! Recipients of one message of whom some can't have it: what is answered, and when.

use postrider_proto::address::Domain;
use postrider_storage::directory::{AccountName, AccountSettings, AliasSettings, Change, HeldMail, MailRule};
use postrider_storage::engine::{Batch, Durability, Engine as _, Space};
use postrider_storage::keys;

use super::world::{World, address};
use crate::config::{Classes, Consequence, Switch};
use crate::testing::{wait_until, within_one};

const SCRIPT: &str = "
    $SECURE .
    1.0.0.127.in-addr.arpa. PTR client.example.
    $ORIGIN example.
    client        A    127.0.0.1
    client        TXT  \"v=spf1 ip4:127.0.0.1 -all\"
    bank          MX   10 client
    bank          TXT  \"v=spf1 -all\"
    _dmarc.bank   TXT  \"v=DMARC1; p=reject\"
    lax           MX   10 client
    lax           TXT  \"v=spf1 ~all\"
    shaken        A    192.0.2.1
    $SERVFAIL     _dmarc.shaken
";

/// The seconds in which messages are counted.
const DAY: i64 = 24 * 60 * 60;
const SENDER: &str = "a@client.example";
const HONEST: &str = "From: <a@client.example>\r\nSubject: x\r\n\r\nbody";

fn large() -> String {
    format!("From: <a@client.example>\r\nSubject: x\r\n\r\n{}", "x".repeat(990))
}

/// What was stored and queued of a message for these accounts.
fn stored(world: &World, accounts: &[&str]) -> (Vec<usize>, u64) {
    (accounts.iter().map(|account| world.inbox(account).len()).collect(), world.counts().queued)
}

#[test]
fn a_message_that_some_cannot_have_now_comes_again_and_then_goes_to_the_others() {
    for world in [World::new(), World::with_script(SCRIPT, |_| {})] {
        let mut client = world.smtp();
        let reply = client.mail(SENDER, &["small@example.org", "ben@example.org"], &large());
        assert!(reply.starts_with("452 4.2.2"), "{reply}");
        assert_eq!(
            stored(&world, &["small", "ben"]),
            (vec![0, 0], 0),
            "nothing is stored, and nobody is told"
        );
        wait_until(|| world.counts().blobs_to_collect == 0 && world.counts().blobs == 0);
        // The second attempt, as the same client says it.
        client.expect(&format!("MAIL FROM:<{SENDER}>"), "250");
        client.expect("RCPT TO:<small@example.org>", "452 4.2.2");
        client.expect("RCPT TO:<ben@example.org>", "250");
        assert!(client.data(&large()).starts_with("250"));
        assert_eq!(stored(&world, &["small", "ben"]), (vec![0, 1], 0));
        // A message that is smaller by its announcement isn't meant.
        client.expect(&format!("MAIL FROM:<{SENDER}> SIZE=100"), "250");
        client.expect("RCPT TO:<small@example.org>", "250");
        assert!(client.data(HONEST).starts_with("250"));
        client.expect(&format!("MAIL FROM:<{SENDER}> SIZE=1000"), "250");
        client.expect("RCPT TO:<small@example.org>", "452 4.2.2");
        client.expect("RSET", "250");
        // Nor is anything when there is room again.
        let settings = AccountSettings::new(Domain::parse("example.org").unwrap());
        world.change(&[Change::SetAccount { name: AccountName::new("small").unwrap(), settings }]);
        client.expect(&format!("MAIL FROM:<{SENDER}> SIZE=1000"), "250");
        client.expect("RCPT TO:<small@example.org>", "250");
    }
}

#[test]
fn an_alias_of_which_nobody_has_room_holds_up_nobody_either() {
    let world = World::with_script(SCRIPT, |_| {});
    world.change(&[Change::AddAlias {
        alias: address("solo@example.org"),
        settings: AliasSettings { post_public: true, ..AliasSettings::default() },
        members: vec![address("small@example.org")],
    }]);
    let mut client = world.smtp();
    let reply = client.mail(SENDER, &["solo@example.org", "ben@example.org"], &large());
    assert!(reply.starts_with("452 4.2.2"), "{reply}");
    assert_eq!(stored(&world, &["small", "ben"]), (vec![0, 0], 0));
    client.expect(&format!("MAIL FROM:<{SENDER}>"), "250");
    client.expect("RCPT TO:<solo@example.org>", "452 4.2.2");
    client.expect("RCPT TO:<open@example.org>", "250");
    assert!(client.data(&large()).starts_with("250"), "a member with room is enough");
    assert_eq!(stored(&world, &["small", "ben"]), (vec![0, 1], 0));
}

#[test]
fn an_account_that_cannot_be_opened_holds_up_nobody_for_longer_than_one_attempt() {
    let world = World::new();
    let mut client = world.smtp();
    assert!(client.mail(SENDER, &["cleo@example.org"], HONEST).starts_with("250"));
    let cleo = world.account("cleo").unwrap();
    let rows = |value: &dyn Fn(&[u8]) -> Vec<u8>| {
        let mut batch = Batch::new();
        let prefix = keys::of_table(cleo.get(), keys::table::MAILBOX);
        for row in world.engine.snapshot().prefix(Space::Rows, &prefix) {
            let (key, row) = row.unwrap();
            batch.insert(Space::Rows, key.to_vec(), value(&row));
        }
        batch
    };
    let (right, damaged) = (rows(&<[u8]>::to_vec), rows(&|_| vec![9]));
    world.engine.commit(damaged, Durability::Buffered).unwrap();
    world.at_home(cleo, move |shard| Box::pin(async move { shard.accounts.forget(cleo).await }));
    let reply = client.mail(SENDER, &["cleo@example.org", "ben@example.org"], HONEST);
    assert!(reply.starts_with("451 4.3.0"), "{reply}");
    client.expect(&format!("MAIL FROM:<{SENDER}>"), "250");
    client.expect("RCPT TO:<cleo@example.org>", "451 4.3.0");
    client.expect("RCPT TO:<ben@example.org>", "250");
    assert!(client.data(HONEST).starts_with("250"));
    world.engine.commit(right, Durability::Buffered).unwrap();
    assert_eq!(stored(&world, &["ben"]), (vec![1], 0));
}

#[test]
fn who_defers_by_policy_does_not_keep_a_message_from_others() {
    let world = World::with_script(SCRIPT, |config| {
        config.listeners.iter_mut().for_each(|listener| listener.checks.dmarc = Consequence::Defer);
    });
    let domain = || Domain::parse("client.example").ok();
    let list = MailRule { verified_domain: domain(), list_allow_domain: domain(), ..MailRule::default() };
    world.set("anna", vec![list], None);
    let forged = "From: <a@bank.example>\r\nSubject: x\r\n\r\nbody";
    let mut client = world.smtp();
    let reply = client.mail(SENDER, &["ben@example.org"], forged);
    assert!(reply.starts_with("451 4.7.26"), "{reply}");
    let reply = client.mail(SENDER, &["ben@example.org", "anna@example.org"], forged);
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(stored(&world, &["anna", "ben"]), (vec![1, 0], 1));
}

#[test]
fn who_is_full_is_told_so_before_the_content() {
    let world = World::new();
    let mut client = world.smtp();
    let fill = |octets: usize| format!("Subject: x\r\n\r\n{}", "x".repeat(octets));
    let before = client.mail(SENDER, &["small@example.org"], &fill(1));
    assert!(before.starts_with("250"), "{before}");
    let used = world.inbox("small")[0].len();
    let rest = 1000 - 2 * used + 1;
    assert!(client.mail(SENDER, &["small@example.org"], &fill(rest)).starts_with("250"));
    assert_eq!(world.inbox("small").iter().map(String::len).sum::<usize>(), 1000);
    client.expect(&format!("MAIL FROM:<{SENDER}>"), "250");
    client.expect("RCPT TO:<small@example.org>", "452 4.2.2");
    client.expect("RCPT TO:<ben@example.org>", "250");
    assert!(client.data(HONEST).starts_with("250"));
    assert_eq!(stored(&world, &["ben"]), (vec![1], 0));
}

#[test]
fn who_took_enough_from_a_client_is_told_so_before_the_content() {
    within_one(DAY, who_took_enough);
}

fn who_took_enough() {
    let world = World::with(|config| {
        config.unlimited.clear();
        for listener in &mut config.listeners {
            let limits = &mut listener.limits.smtp;
            limits.deliveries.messages_per_day = Classes::new(2, 100, 100);
            limits.slow_read = std::time::Duration::from_millis(1);
        }
    });
    let mut client = world.smtp();
    // What comes again isn't counted for who could have had it.
    for _ in 0..3 {
        client.expect(&format!("MAIL FROM:<{SENDER}> SIZE=1"), "250");
        client.expect("RCPT TO:<small@example.org>", "250");
        client.expect("RCPT TO:<ben@example.org>", "250");
        assert!(client.data(&large()).starts_with("452 4.2.2"));
    }
    for _ in 0..2 {
        assert!(client.mail(SENDER, &["ben@example.org"], HONEST).starts_with("250"));
    }
    client.expect(&format!("MAIL FROM:<{SENDER}>"), "250");
    client.expect("RCPT TO:<anna@example.org>", "250");
    let reply = client.ask("RCPT TO:<ben@example.org>");
    assert!(reply.starts_with("452 4.2.2 too much mail"), "{reply}");
    assert_eq!(stored(&world, &["ben"]), (vec![2], 0));
}

#[test]
fn while_dns_keeps_some_from_deciding_all_wait() {
    let world = World::with_script(SCRIPT, |_| {});
    world.set("anna", vec![], Some("authenticate"));
    let text = "From: <a@shaken.example>\r\nSubject: x\r\n\r\nbody";
    let reply = world.smtp().mail(SENDER, &["anna@example.org", "ben@example.org"], text);
    assert!(reply.starts_with("451 4.7.26"), "{reply}");
    assert_eq!(stored(&world, &["anna", "ben"]), (vec![0, 0], 0));
}

#[test]
fn a_sender_who_is_real_is_told_who_did_not_get_it() {
    let world = World::with_script(SCRIPT, |_| {});
    let mut client = world.smtp();
    let reply = client.mail(SENDER, &["anna@example.org", "nobody@example.org"], HONEST);
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(stored(&world, &["anna"]), (vec![1], 1));
    // All fail, each in another way: the client tells its user.
    let reply = client.mail(SENDER, &["team@example.org", "nobody@example.org"], HONEST);
    assert!(reply.starts_with("550 5.7.2"), "{reply}");
    world.set("anna", vec![], Some("authenticate"));
    let forged = "From: <a@bank.example>\r\nSubject: x\r\n\r\nbody";
    let list = MailRule {
        verified_domain: Domain::parse("client.example").ok(),
        list_allow_domain: Domain::parse("client.example").ok(),
        ..MailRule::default()
    };
    world.set("ben", vec![list], None);
    let reply = client.mail(SENDER, &["anna@example.org", "ben@example.org"], forged);
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(stored(&world, &["anna", "ben"]), (vec![1, 1], 2));
}

#[test]
fn where_nothing_confirms_the_sender_unknown_recipients_are_told_at_once_and_nobody_gets_reports() {
    let unchecked = World::new();
    let unconfirmed = World::with_script(SCRIPT, |config| {
        config
            .listeners
            .iter_mut()
            .for_each(|listener| listener.checks.several_recipients_need_spf = Switch::Off);
    });
    for (world, sender) in [(unchecked, SENDER), (unconfirmed, "a@lax.example")] {
        let mut client = world.smtp();
        client.expect(&format!("MAIL FROM:<{sender}>"), "250");
        client.expect("RCPT TO:<anna@example.org>", "250");
        client.expect("RCPT TO:<nobody@example.org>", "550 5.1.1");
        client.expect("RCPT TO:<ben@example.org>", "250");
        assert!(client.data(HONEST).starts_with("250"));
        assert_eq!(stored(&world, &["anna", "ben"]), (vec![1, 1], 0));
        // One that was accepted is alone, so that the reply is about it.
        client.expect(&format!("MAIL FROM:<{sender}>"), "250");
        client.expect("RCPT TO:<nobody@example.org>", "250");
        client.expect("RCPT TO:<anna@example.org>", "452 4.5.3");
        client.expect("RCPT TO:<ben@example.org>", "452 4.5.3");
        assert!(client.data(HONEST).starts_with("550 5.1.1"));
        // So is one that may refuse what it sees.
        world.set("cleo", vec![], Some("authenticate"));
        for (first, second) in [("team", "ben"), ("ben", "team"), ("cleo", "ben"), ("ben", "cleo")] {
            client.expect(&format!("MAIL FROM:<{sender}>"), "250");
            client.expect(&format!("RCPT TO:<{first}@example.org>"), "250");
            client.expect(&format!("RCPT TO:<{second}@example.org>"), "452 4.5.3");
            client.expect("RSET", "250");
        }
        // An account that is removed meanwhile is told to nobody: the sender may be anybody.
        client.expect(&format!("MAIL FROM:<{sender}>"), "250");
        client.expect("RCPT TO:<anna@example.org>", "250");
        client.expect("RCPT TO:<small@example.org>", "250");
        world.change(&[
            Change::RemoveAlias(address("open@example.org")),
            Change::RemoveAccount { name: AccountName::new("small").unwrap(), mail: HeldMail::Erase },
        ]);
        assert!(client.data(HONEST).starts_with("250"));
        assert_eq!(stored(&world, &["anna", "ben"]), (vec![2, 1], 0));
    }
}

#[test]
fn our_own_users_get_reports() {
    let world = World::new();
    let mut client = world.anna();
    let text = large().replace("a@client.example", "anna@example.org");
    let reply = client.mail("anna@example.org", &["small@example.org", "ben@example.org"], &text);
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(stored(&world, &["small", "ben", "anna"]), (vec![0, 1, 1], 0));
}

/// RFC 3461 §4.3: the whole message with a failure when that is asked for, and otherwise its header.
#[test]
fn the_whole_message_comes_back_of_what_failed_when_its_sender_asks_for_it() {
    let world = World::new();
    let text = |octets: usize| {
        let lines = format!("{}\r\n", "line ".repeat(15)).repeat(octets / 77 + 1);
        format!(
            "From: anna@example.org\r\nMessage-ID: <one@example.org>\r\nSubject: hello\r\n\r\n{lines}the end\r\n"
        )
    };
    let huge = (1 << 20) + 1;
    for (parameters, octets, notify, is_whole) in [
        (" RET=FULL", 1000, "", true),
        (" RET=FULL", 500_000, "", true),
        (" RET=FULL", huge, "", false),
        (" RET=HDRS", 1000, "", false),
        ("", 1000, "", false),
        (" RET=FULL REQUIRETLS", 1000, "", false),
        (" RET=FULL BODY=BINARYMIME", 1000, "", false),
        (" RET=FULL SMTPUTF8", 1000, "", true),
        // Of what went well there is never more than the header.
        (" RET=FULL", 1000, " NOTIFY=SUCCESS", false),
    ] {
        let case = format!("{parameters}{notify} {octets}");
        let (text, before) = (text(octets), world.inbox("anna").len());
        let mut client = world.anna();
        client.expect(&format!("MAIL FROM:<anna@example.org>{parameters}"), "250");
        client.expect(&format!("RCPT TO:<ben@example.org>{notify}"), "250");
        if notify.is_empty() {
            client.expect("RCPT TO:<small@example.org>", "250");
        }
        let reply = match parameters.contains("BINARYMIME") {
            true => {
                client.send(format!("BDAT {} LAST\r\n{text}", text.len()).as_bytes());
                client.reply()
            }
            false => client.data(text.strip_suffix("\r\n").unwrap()),
        };
        assert!(reply.starts_with("250"), "{case}: {reply}");
        let reports = world.inbox("anna");
        assert_eq!(reports.len(), before + 1, "{case}");
        let report = reports.last().unwrap();
        let kind = match (is_whole, parameters.contains("SMTPUTF8")) {
            (true, false) => "message/rfc822",
            (true, true) => "message/global",
            (false, _) => "text/rfc822-headers",
        };
        assert!(report.contains(&format!("\r\nContent-Type: {kind}\r\n")), "{case}");
        assert!(report.contains("\r\nIn-Reply-To: <one@example.org>\r\n"), "{case}");
        let returned = match is_whole {
            true => text.clone(),
            false => text.split_inclusive("\r\n\r\n").next().unwrap().to_owned(),
        };
        let (_, from) = report.split_once("\r\n\r\nFrom: anna@").unwrap();
        let (shown, _) = from.rsplit_once("\r\n--=_report_").unwrap();
        assert!(format!("From: anna@{shown}") == returned, "{case}: {} octets came back", shown.len());
    }
}
