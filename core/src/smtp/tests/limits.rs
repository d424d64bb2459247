//! To how many recipients of other servers an account may send.

use std::thread;

use postrider_storage::account::sent_in_window;
use postrider_storage::directory::{AccountName, AccountSettings, Change, MailSettings};

use super::world::World;
use crate::clock::unix_now;
use crate::config::SendingLimits;
use crate::control::protocol::{Answer, Request};

const MESSAGE: &str = "From: anna@example.org\r\nSubject: hello\r\n\r\nbody";

fn limited(recipients_per_day: u32, first_time_recipients_per_day: u32) -> World {
    World::with(|config| {
        config.accounts.sending = SendingLimits { recipients_per_day, first_time_recipients_per_day };
    })
}

impl World {
    /// What is set for Anna's mail.
    pub(super) fn set_mail(&self, mail: MailSettings) {
        let domain = postrider_proto::address::Domain::parse("example.org").unwrap();
        let settings = AccountSettings { mail, ..AccountSettings::new(domain) };
        self.change(&[Change::SetAccount { name: AccountName::new("anna").unwrap(), settings }]);
    }

    fn sent_by_anna(&self) -> (u64, u64) {
        let anna = self.account("anna").unwrap();
        sent_in_window(&self.shared.store.reader(), anna, unix_now()).unwrap()
    }
}

#[test]
fn parallel_sessions_of_an_account_do_not_exceed_its_limit_together() {
    let world = limited(10, 200);
    let accepted: usize = thread::scope(|scope| {
        let sessions: Vec<_> = (0..6)
            .map(|session| {
                let mut client = world.anna();
                scope.spawn(move || {
                    let mut accepted = 0;
                    for number in 0..4 {
                        let to = format!("r{session}{number}@remote{number}.example");
                        let reply = client.try_mail("anna@example.org", &[&to], MESSAGE);
                        let is_refused =
                            reply.starts_with("451 4.7.1 recipients_per_day of the account is 10");
                        assert!(is_refused || reply.starts_with("250"), "{reply}");
                        accepted += usize::from(!is_refused);
                    }
                    accepted
                })
            })
            .collect();
        sessions.into_iter().map(|session| session.join().unwrap()).sum()
    });
    assert_eq!((accepted, world.counts().queued), (10, 10));
    assert_eq!(world.sent_by_anna(), (10, 10));
    let (_, answer) = world.ok(&Request::AccountShow { account: "anna".to_owned() });
    let Answer::Account(details) = answer else { panic!("{answer:?}") };
    assert_eq!((details.sent_recipients, details.recipients_per_day), (10, 10));
    // Recipients of this server are none of those, and another account has its own number.
    let mut client = world.anna();
    assert!(client.mail("anna@example.org", &["ben@example.org"], MESSAGE).starts_with("250"));
    assert_eq!(world.inbox("ben").len(), 1);
    // What is set for the account comes before what is configured.
    world.set_mail(MailSettings { recipients_per_day: Some(11), ..MailSettings::default() });
    assert!(client.mail("anna@example.org", &["x@remote.example"], MESSAGE).starts_with("250"));
    assert!(client.try_mail("anna@example.org", &["x@remote.example"], MESSAGE).starts_with("451 4.7.1"));
}

#[test]
fn who_may_send_no_more_learns_it_before_the_content() {
    let world = limited(3, 200);
    let mut client = world.anna();
    assert!(client.mail("anna@example.org", &["a@x.example"], MESSAGE).starts_with("250"));
    let mut other = world.anna();
    other.expect("MAIL FROM:<anna@example.org>", "250");
    other.expect("RCPT TO:<b@x.example>", "250");
    other.expect("RCPT TO:<c@x.example>", "250");
    // The other one has sent nothing yet, so only what this message has counts.
    client.expect("MAIL FROM:<anna@example.org>", "250");
    client.expect("RCPT TO:<d@x.example>", "250");
    client.expect("RCPT TO:<e@x.example>", "250");
    client.expect("RCPT TO:<D@x.example>", "250");
    let reply = client.expect("RCPT TO:<f@x.example>", "451 4.7.1 recipients_per_day of the account is 3");
    assert!(reply.contains("with 3, can be sent from "), "{reply}");
    client.expect("RCPT TO:<ben@example.org>", "250");
    assert!(client.data(MESSAGE).starts_with("250"), "a recipient that is refused holds up no others");
    assert_eq!((world.sent_by_anna(), world.inbox("ben").len()), ((3, 3), 1));
    // What was looked at before it was used up is refused at the end, and then nobody gets it.
    other.expect("RCPT TO:<ben@example.org>", "250");
    let reply = other.data(MESSAGE);
    assert!(reply.starts_with("451 4.7.1 recipients_per_day of the account is 3"), "{reply}");
    assert_eq!((world.sent_by_anna(), world.inbox("ben").len()), ((3, 3), 1));
    // Now both know.
    for client in [&mut client, &mut other] {
        client.expect("MAIL FROM:<anna@example.org>", "250");
        client.expect("RCPT TO:<g@x.example>", "451 4.7.1");
        client.expect("RCPT TO:<ben@example.org>", "250");
        client.expect("RSET", "250");
    }
    // Who may send nothing at all need not come again.
    world.set_mail(MailSettings { recipients_per_day: Some(0), ..MailSettings::default() });
    client.expect("MAIL FROM:<anna@example.org>", "250");
    client.expect("RCPT TO:<g@x.example>", "550 5.7.1 recipients_per_day of the account is 0");
}

#[test]
fn recipients_that_are_new_are_counted_before_the_content() {
    let world = limited(100, 2);
    let mut client = world.anna();
    assert!(client.mail("anna@example.org", &["a@x.example"], MESSAGE).starts_with("250"));
    client.expect("MAIL FROM:<anna@example.org>", "250");
    for (to, reply) in [
        ("a@x.example", "250"),
        ("b@x.example", "250"),
        ("c@x.example", "451 4.7.1 first_time_recipients_per_day of the account is 2"),
        ("a@x.example", "250"),
        ("d@x.example", "451 4.7.1"),
    ] {
        client.expect(&format!("RCPT TO:<{to}>"), reply);
    }
    assert!(client.data(MESSAGE).starts_with("250"));
    assert_eq!(world.sent_by_anna(), (3, 2));
    // A session that was told long before it was used up by itself finds out.
    client.expect("MAIL FROM:<anna@example.org>", "250");
    client.expect("RCPT TO:<b@x.example>", "250");
    client.expect("RCPT TO:<c@x.example>", "451 4.7.1");
    assert!(client.data(MESSAGE).starts_with("250"));
    assert_eq!(world.sent_by_anna(), (4, 2));
}

#[test]
fn recipients_are_counted_and_not_messages() {
    let world = limited(3, 200);
    let mut client = world.anna();
    let to = ["a@x.example", "b@x.example", "A@X.example", "c@y.example", "d@y.example"];
    let reply = client.try_mail("anna@example.org", &to, MESSAGE);
    assert!(
        reply.starts_with("451 4.7.1") && reply.contains("goes to as many recipients already"),
        "{reply}"
    );
    assert!(client.mail("anna@example.org", &to[..4], MESSAGE).starts_with("250"));
    // An empty reverse path is nothing to hide behind.
    assert!(client.try_mail("", &["a@x.example"], MESSAGE).starts_with("451 4.7.1"));
    assert_eq!(world.sent_by_anna(), (3, 3));
}

#[test]
fn recipients_that_are_known_are_not_new_again() {
    let world = limited(100, 2);
    let mut client = world.anna();
    let mut send = |to: &str| client.try_mail("anna@example.org", &[to], MESSAGE);
    for to in ["a@x.example", "b@x.example", "a@x.example", "B@x.example"] {
        assert!(send(to).starts_with("250"), "{to}");
    }
    let reply = send("c@x.example");
    assert!(reply.starts_with("451 4.7.1"), "{reply}");
    assert!(reply.contains("first_time_recipients_per_day of the account is 2"), "{reply}");
    assert!(send("a@x.example").starts_with("250"));
    assert_eq!(world.sent_by_anna(), (5, 2));
}

#[test]
fn a_message_that_is_not_queued_does_not_count() {
    let world = limited(3, 200);
    let mut client = world.anna();
    assert!(client.mail("anna@example.org", &["a@x.example"], MESSAGE).starts_with("250"));
    // Whatever commit it is that fails: nothing of the message is there, and nothing of it counts.
    world.engine.fail_commit(1, postrider_storage::engine::memory::Fault::Full);
    let reply = client.mail("anna@example.org", &["b@x.example", "c@y.example"], MESSAGE);
    assert!(reply.starts_with('4') && !reply.contains("recipients_per_day"), "{reply}");
    assert_eq!((world.sent_by_anna(), world.counts().queued), ((1, 1), 1));
}

#[test]
fn what_was_sent_counts_after_a_restart() {
    let world = limited(2, 200);
    let mut client = world.anna();
    assert!(client.mail("anna@example.org", &["a@x.example", "b@y.example"], MESSAGE).starts_with("250"));
    drop(client);
    let world = world.restarted_with(|config| {
        config.accounts.sending = SendingLimits { recipients_per_day: 3, first_time_recipients_per_day: 3 };
    });
    let mut client = world.anna();
    assert!(client.try_mail("anna@example.org", &["a@x.example", "b@x.example"], MESSAGE).starts_with("451"));
    assert!(client.mail("anna@example.org", &["a@x.example"], MESSAGE).starts_with("250"));
    assert!(client.try_mail("anna@example.org", &["a@x.example"], MESSAGE).starts_with("451"));
}
