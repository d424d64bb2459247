//! What is looked at before mail of other servers is accepted.

use super::world::World;
use crate::config::Switch;

const SCRIPT: &str = "
    $ORIGIN example.
    client   A    127.0.0.1
    good     A    192.0.2.1
    null     MX   0 .
    dead     MX   10 gone
    text     TXT  \"no address\"
    $SERVFAIL broken
";

#[test]
fn a_name_in_helo_must_have_an_address() {
    let world = World::with_script(SCRIPT, |_| {});
    let mut client = world.smtp();
    for (command, code) in [
        ("HELO gone.example", "550 5.5.0"),
        ("HELO text.example", "550 5.5.0"),
        ("HELO good.example", "250"),
        ("HELO broken.example", "250"),
        ("HELO [192.0.2.1]", "250"),
        ("HELO some_host", "250"),
        // EHLO isn't looked up: mail programs and devices say anything.
        ("EHLO gone.example", "250"),
    ] {
        let reply = client.ask(command);
        assert!(reply.starts_with(code), "{command}: {reply}");
    }
    let off = World::with_script(SCRIPT, |config| {
        config.listeners.iter_mut().for_each(|listener| listener.checks.helo_name = Switch::Off);
    });
    off.smtp().expect("HELO gone.example", "250");
    // Where there is no DNS, nothing is refused for it.
    World::new().smtp().expect("HELO gone.example", "250");
}

#[test]
fn a_senders_domain_must_take_mail() {
    let world = World::with_script(SCRIPT, |_| {});
    let mut client = world.smtp();
    for (sender, code) in [
        ("<a@good.example>", "250"),
        ("<>", "250"),
        ("<a@null.example>", "550 5.7.27"),
        ("<a@dead.example>", "550 5.7.27"),
        ("<a@gone.example>", "550 5.7.27"),
        ("<a@text.example>", "550 5.7.27"),
        ("<a@broken.example>", "451 4.4.0"),
    ] {
        let reply = client.ask(&format!("MAIL FROM:{sender}"));
        assert!(reply.starts_with(code), "{sender}: {reply}");
        client.expect("RSET", "250");
    }
    let off = World::with_script(SCRIPT, |config| {
        config.listeners.iter_mut().for_each(|listener| listener.checks.sender_domain = Switch::Off);
    });
    off.smtp().expect("MAIL FROM:<a@gone.example>", "250");
    World::new().smtp().expect("MAIL FROM:<a@gone.example>", "250");
}

#[test]
fn our_own_users_send_from_a_domain_of_ours_whatever_dns_says() {
    let world = World::with_script(SCRIPT, |_| {});
    world.anna().expect("MAIL FROM:<anna@example.org>", "250");
}

#[test]
fn results_that_claim_to_be_ours_do_not_get_in() {
    // Row C3.
    let world = World::new();
    let forged = "Authentication-Results: localhost; dmarc=pass header.from=bank.example\r\n\
                  authentication-results :\r\n\tLOCALHOST (really);\r\n\tdkim=pass\r\n\
                  Authentication-Results: spf=pass\r\n";
    let kept = "Authentication-Results: other.example; none\r\nFrom: a@client.example\r\n";
    let body = "\r\nAuthentication-Results: localhost; in the body\r\n";
    let mut clients = [world.smtp(), world.anna()];
    for (client, sender) in clients.iter_mut().zip(["a@client.example", "anna@example.org"]) {
        let kept = kept.replace("a@client.example", sender);
        let message = format!("{forged}{kept}{forged}{body}");
        let reply = client.mail(sender, &["ben@example.org"], message.trim_end());
        assert!(reply.starts_with("250"), "{reply}");
        let text = world.inbox("ben").pop().unwrap();
        assert!(text.contains(&format!("{kept}{body}")), "{text}");
        let claims = text.to_lowercase().matches("\nauthentication-results: localhost").count();
        // The one in the body, and in front at most our own.
        assert!(claims <= 2 && !text.contains("bank.example") && !text.contains("spf=pass"), "{text}");
    }
}
