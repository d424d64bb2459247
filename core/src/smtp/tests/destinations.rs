//! What addresses of accounts have set: rules, and whether mail must be authenticated.

use postrider_proto::address::Domain;
use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::imap::types::Flags;
use postrider_storage::directory::{AddressPattern, Change, HeaderPattern, MailRule, Pattern};
use postrider_storage::evaluations::all;
use postrider_storage::rows::{Disposition, EvaluationRow};

use super::world::World;
use crate::metrics::{Reason, Verdict};
use crate::testing::wait_until;

const SCRIPT: &str = "
    $SECURE .
    1.0.0.127.in-addr.arpa. PTR client.example.
    $ORIGIN example.
    client        A    127.0.0.1
    client        TXT  \"v=spf1 ip4:127.0.0.1 -all\"
    bank          MX   10 client
    bank          TXT  \"v=spf1 -all\"
    _dmarc.bank   TXT  \"v=DMARC1; p=reject; rua=mailto:reports@bank.example\"
    lax           MX   10 client
    lax           TXT  \"v=spf1 ~all\"
    shaken        A    192.0.2.1
    $SERVFAIL     _dmarc.shaken
    1.0.0.127.bl  A    127.0.0.2
";

const SENDER: &str = "a@client.example";
const FORGED: &str = "From: <boss@bank.example>\r\nSubject: x\r\n\r\nbody";
const HONEST: &str = "From: <a@client.example>\r\nSubject: x\r\n\r\nbody";

fn pattern(text: &str) -> Option<Pattern> {
    Some(Pattern::new(text).unwrap())
}

fn mailbox(name: &str) -> Option<MailboxName> {
    Some(MailboxName::new(name).unwrap())
}

fn of_client() -> MailRule {
    MailRule { verified_domain: Domain::parse("client.example").ok(), ..MailRule::default() }
}

fn list() -> MailRule {
    MailRule { list_allow_domain: Domain::parse("client.example").ok(), ..of_client() }
}

fn forward() -> MailRule {
    MailRule { mail_from: pattern("^a@client"), is_forward: true, ..of_client() }
}

fn header(name: &str, value: &str, to: &str) -> MailRule {
    let header = HeaderPattern { name: Pattern::new(name).unwrap(), value: Pattern::new(value).unwrap() };
    MailRule { headers: vec![header], mailbox: mailbox(to), ..MailRule::default() }
}

fn evaluations(world: &World) -> Vec<EvaluationRow> {
    all(&world.shared.store.reader()).map(|row| row.unwrap().1).collect()
}

fn unfolded(text: &str) -> String {
    text.replace("\r\n\t", " ").replace("\r\n ", " ")
}

#[test]
fn a_rule_says_in_which_mailbox_a_message_goes() {
    // Without DNS nothing is verified, but addresses and fields are known.
    let world = World::new();
    let of_sender = MailRule {
        mail_from: pattern("^x@"),
        msg_from: pattern("@bücher[.]example$"),
        mailbox: mailbox("Books"),
        ..MailRule::default()
    };
    let unverified = MailRule { mailbox: mailbox("Never"), ..of_client() };
    world.set("anna", vec![unverified, of_sender, header("^list-id$", "<news[.]", "Lists/News")], None);
    let mut client = world.smtp();
    for (sender, text) in [
        ("x@client.example", "From: <jo@xn--bcher-kva.example>\r\n\r\nbody"),
        ("y@client.example", "From: <jo@xn--bcher-kva.example>\r\n\r\nbody"),
        ("y@client.example", "From: <a@b.example>\r\nList-ID: News\r\n <NEWS.b.example>\r\n\r\nbody"),
    ] {
        let reply = client.mail(sender, &["anna@example.org"], text);
        assert!(reply.starts_with("250"), "{reply}");
    }
    let counts = ["Books", "Inbox", "Lists/News", "Never"].map(|name| world.mailbox("anna", name).len());
    assert_eq!(counts, [1, 1, 1, 0]);
    // Our own users' mail is sorted, too, and they are who they say.
    world.set(
        "ben",
        vec![MailRule {
            verified_domain: Domain::parse("example.org").ok(),
            mailbox: mailbox("Colleagues"),
            ..MailRule::default()
        }],
        Some("authenticate"),
    );
    let reply =
        world.anna().mail("anna@example.org", &["ben@example.org"], "From: <anna@example.org>\r\n\r\nx");
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(world.mailbox("ben", "Colleagues").len(), 1);
}

#[test]
fn a_field_that_claims_to_be_our_result_matches_no_rule() {
    let world = World::with_script(SCRIPT, |_| {});
    world.set("anna", vec![header("authentication-results", "dmarc=pass", "Trusted")], None);
    let text = format!("Authentication-Results: localhost; dmarc=pass\r\n{HONEST}");
    assert!(world.smtp().mail(SENDER, &["anna@example.org"], &text).starts_with("250"));
    assert_eq!((world.mailbox("anna", "Trusted").len(), world.inbox("anna").len()), (0, 1));
}

#[test]
fn mail_of_a_verified_list_is_accepted_whatever_its_author_wants() {
    let world = World::with_script(SCRIPT, |config| {
        config.listeners.iter_mut().for_each(|listener| {
            listener.checks.blocklists = vec![Domain::parse("bl.example").unwrap()];
        });
    });
    let mut client = world.smtp();
    let reply = client.mail(SENDER, &["anna@example.org"], FORGED);
    assert!(reply.starts_with("550 5.7.26"), "{reply}");
    world.set("anna", vec![MailRule { mailbox: mailbox("Lists"), ..list() }], Some("authenticate"));
    let reply = client.mail(SENDER, &["anna@example.org"], FORGED);
    assert!(reply.starts_with("250"), "{reply}");
    let (flags, text) = world.mailbox("anna", "Lists").pop().unwrap();
    assert_eq!(flags, Flags::NONE);
    assert!(text.starts_with("X-Postrider-Reason: list-allow\r\n"), "{text}");
    let text = unfolded(&text);
    assert!(text.contains("dmarc=fail (") && text.contains("override mailing_list"), "{text}");
    wait_until(|| evaluations(&world).len() == 2);
    let rows = evaluations(&world);
    let told: Vec<_> = rows.iter().map(|row| (row.disposition, &*row.overrides)).collect();
    assert!(
        told.contains(&(Disposition::Reject, "")) && told.contains(&(Disposition::None, "mailing_list")),
        "{told:?}"
    );
    let known = &world.shared.metrics.checks;
    let listed = known.decisions.at([Verdict::Accepted as usize, Reason::ListAllow as usize]);
    assert_eq!(world.shared.registry.counter(listed), 1);
    // From elsewhere it isn't verified.
    let reply = client.mail("a@lax.example", &["anna@example.org"], FORGED);
    assert!(reply.starts_with("550 5.7.26"), "{reply}");
}

#[test]
fn for_forwarded_mail_dmarc_does_not_count() {
    let world = World::with_script(SCRIPT, |_| {});
    world.set("anna", vec![forward()], None);
    let mut client = world.smtp();
    let reply = client.mail(SENDER, &["anna@example.org"], FORGED);
    assert!(reply.starts_with("250"), "{reply}");
    let text = unfolded(&world.inbox("anna").pop().unwrap());
    assert!(text.starts_with("X-Postrider-Reason: no-bad-signals\r\n"), "{text}");
    assert!(text.contains("override forwarded"), "{text}");
    wait_until(|| evaluations(&world).len() == 1);
    assert_eq!(&*evaluations(&world)[0].overrides, "forwarded");
    let reply = client.mail("b@client.example", &["anna@example.org"], FORGED);
    assert!(reply.starts_with("550 5.7.26"), "another sender: {reply}");
}

#[test]
fn an_address_can_want_an_author_who_is_confirmed() {
    let world = World::with_script(SCRIPT, |_| {});
    world.set("anna", vec![], Some("sign your mail, see https://example.org/mail"));
    let mut client = world.smtp();
    let mut send = |sender: &str, author: &str| {
        let text = format!("From: <{author}>\r\nSubject: x\r\n\r\nbody");
        client.mail(sender, &["anna@example.org"], &text)
    };
    assert!(send(SENDER, SENDER).starts_with("250"));
    let reply = send("a@lax.example", "a@lax.example");
    assert!(reply.starts_with("550 5.7.26 sign your mail, see https://example.org/mail ("), "{reply}");
    let reply = send(SENDER, "a@lax.example");
    assert!(reply.starts_with("550 5.7.26"), "of another domain: {reply}");
    // What DNS doesn't tell now may be told later.
    let reply = send(SENDER, "a@shaken.example");
    assert!(reply.starts_with("451 4.7.26 sign your mail"), "{reply}");
    let known = &world.shared.metrics.checks;
    let refused = known.decisions.at([Verdict::Refused as usize, Reason::AuthRequired as usize]);
    assert_eq!(world.shared.registry.counter(refused), 2);
    assert_eq!(world.inbox("anna").len(), 1);
}

#[test]
fn what_would_be_refused_can_be_kept_as_read() {
    let world = World::with_script(SCRIPT, |_| {});
    let keep = MailRule { accept_rejects_to: mailbox("Rejects"), mailbox: mailbox("Other"), ..of_client() };
    world.set("anna", vec![keep], Some("authenticate"));
    let mut client = world.smtp();
    for text in [FORGED, HONEST] {
        let reply = client.mail(SENDER, &["anna@example.org"], text);
        assert!(reply.starts_with("250"), "{reply}");
    }
    let kept = world.mailbox("anna", "Rejects");
    assert_eq!((kept.len(), world.mailbox("anna", "Other").len()), (1, 1));
    assert_eq!(kept[0].0, Flags::SEEN);
    assert!(kept[0].1.starts_with("X-Postrider-Reason: dmarc-policy\r\n"), "{}", kept[0].1);
    wait_until(|| evaluations(&world).len() == 1);
    let row = evaluations(&world).pop().unwrap();
    assert_eq!((row.disposition, &*row.overrides), (Disposition::Quarantine, "local_policy"));
    // What isn't known yet comes again.
    let unknown = "From: <a@shaken.example>\r\nSubject: x\r\n\r\nbody";
    let reply = client.mail(SENDER, &["anna@example.org"], unknown);
    assert!(reply.starts_with("451 4.7.26"), "{reply}");
    assert_eq!(world.mailbox("anna", "Rejects").len(), 1);
}

#[test]
fn recipients_of_one_message_decide_for_themselves() {
    let world = World::with_script(SCRIPT, |_| {});
    world.set("anna", vec![list()], None);
    world.set("cleo", vec![forward()], None);
    let to = ["anna@example.org", "ben@example.org", "cleo@example.org"];
    let reply = world.smtp().mail(SENDER, &to, FORGED);
    assert!(reply.starts_with("250"), "{reply}");
    let (anna, cleo) = (world.inbox("anna"), world.inbox("cleo"));
    assert_eq!((anna.len(), world.inbox("ben").len(), cleo.len()), (1, 0, 1));
    assert!(anna[0].starts_with("X-Postrider-Reason: list-allow\r\n"), "{}", anna[0]);
    assert!(unfolded(&anna[0]).contains("override mailing_list"), "{}", anna[0]);
    assert!(cleo[0].starts_with("X-Postrider-Reason: no-bad-signals\r\n"), "{}", cleo[0]);
    assert!(unfolded(&cleo[0]).contains("override forwarded"), "{}", cleo[0]);
    // SPF says who the sender is, so that it may be told of who didn't get it.
    assert_eq!(world.counts().queued, 1);
    wait_until(|| evaluations(&world).len() == 3);
    let mut overrides: Vec<_> = evaluations(&world).into_iter().map(|row| row.overrides).collect();
    overrides.sort();
    assert_eq!(overrides.iter().map(|word| &**word).collect::<Vec<_>>(), ["", "forwarded", "mailing_list"]);
}

#[test]
fn an_alias_takes_what_one_of_its_members_takes() {
    let world = World::with_script(SCRIPT, |_| {});
    let mut client = world.smtp();
    let reply = client.mail(SENDER, &["open@example.org"], FORGED);
    assert!(reply.starts_with("550 5.7.26"), "{reply}");
    let sorted = MailRule { mailbox: mailbox("Team"), ..list() };
    world.set("ben", vec![sorted], None);
    let reply = client.mail(SENDER, &["open@example.org"], FORGED);
    assert!(reply.starts_with("250"), "{reply}");
    let (_, ben) = world.mailbox("ben", "Team").pop().unwrap();
    let small = world.inbox("small").pop().unwrap();
    assert!(ben.starts_with("X-Postrider-Reason: list-allow\r\nDelivered-To: ben@example.org\r\n"), "{ben}");
    assert!(small.starts_with("X-Postrider-Reason: dmarc-policy\r\n"), "{small}");
}

#[test]
fn rules_of_a_catch_all_are_those_of_whoever_it_gets() {
    let world = World::new();
    let all = AddressPattern::parse("@example.org").unwrap();
    let account = postrider_storage::directory::AccountName::new("cleo").unwrap();
    let rule = MailRule { msg_from: pattern("."), mailbox: mailbox("Strays"), ..MailRule::default() };
    world.change(&[
        Change::AddAddress { address: all.clone(), account, mailbox: MailboxName::inbox() },
        Change::SetDestination {
            address: all,
            destination: postrider_storage::directory::Destination {
                rules: vec![rule],
                ..Default::default()
            },
        },
    ]);
    let reply = world.smtp().mail(SENDER, &["whoever@example.org"], HONEST);
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(world.mailbox("cleo", "Strays").len(), 1);
}
