//! What a server says to our client: each message ends once, with an outcome for each recipient, and nothing that
//! is sent has a bare line end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postrider_proto::address::{ForwardPath, HeloName, ReversePath};
use postrider_proto::sasl::client::ClientCredentials;
use postrider_proto::sasl::{ChannelBinding, Mechanism, Secret};
use postrider_proto::smtp::client::{
    Action, Authentication, Broken, Client, Outcome, Settings, StartTls, Unsendable,
};
use postrider_proto::smtp::envelope::{BodyType, Envelope, Recipient};

fn settings(choice: u8) -> Settings {
    let mut mechanisms = Authentication::MECHANISMS.to_vec();
    mechanisms.push(Mechanism::Plain);
    let credentials = ClientCredentials { login: "fred".into(), password: Secret::new("secret".into()) };
    Settings {
        name: HeloName::parse("us.example").expect("a name"),
        starttls: [StartTls::Never, StartTls::IfOffered, StartTls::Required][usize::from(choice % 3)],
        authentication: (choice & 4 > 0).then(|| Authentication {
            credentials,
            mechanisms,
            nonce: "nonce".into(),
        }),
    }
}

fn envelope(choice: u8, recipients: usize) -> Envelope {
    let mut envelope = Envelope::new(ReversePath::Null);
    envelope.recipients = (0..recipients)
        .map(|number| Recipient {
            path: ForwardPath::parse(&format!("<r{number}@them.example>")).expect("an address"),
            notify: None,
            original: None,
            token: 0,
        })
        .collect();
    envelope.body =
        [BodyType::SevenBit, BodyType::EightBitMime, BodyType::BinaryMime][usize::from(choice % 3)];
    envelope.declared_octets = (choice & 8 > 0).then_some(100);
    envelope.requiretls = choice & 16 > 0;
    envelope
}

fuzz_target!(|input: &[u8]| {
    let [choice, cut, octets @ ..] = input else { return };
    let mut pieces = octets.chunks(usize::from(*cut) + 1);
    let tls = (choice & 32 > 0).then(ChannelBinding::default);
    let mut client = Client::new(settings(*choice), tls);
    let (mut begun, mut finished, mut contents, mut recipients) = (0_u8, 0_u8, 0, 0);
    loop {
        match client.next_action() {
            Action::Send { octets, .. } => {
                assert!(octets.ends_with(b"\n") || begun > finished, "half a command");
                client.reuse(octets);
            }
            Action::Read { .. } => match pieces.next() {
                Some(piece) => client.receive(piece),
                None => client.broken(Broken::Closed),
            },
            Action::StartTls => client.started_tls(ChannelBinding::default()),
            Action::Content if contents > 0 => {
                contents -= 1;
                client.content(&b"x\n.\r\n.\r".repeat(5000));
            }
            Action::Content => client.content_end(),
            Action::Ready if begun >= 4 => client.quit(),
            Action::Ready => {
                (contents, recipients) = (begun, 1 + usize::from(begun) * 2);
                match client.begin(envelope(choice.wrapping_add(begun), recipients)) {
                    Ok(()) => begun += 1,
                    Err(Unsendable::NotReady) => panic!("it said that it was"),
                    Err(_) => client.quit(),
                }
            }
            Action::Done(message) => {
                finished += 1;
                assert_eq!(message.outcomes.len(), recipients);
                let is_broken = |outcome: &Outcome| matches!(outcome, Outcome::Broken { .. });
                assert!(!message.uncertain || message.outcomes.iter().any(is_broken));
            }
            Action::Close(_) => break,
        }
    }
    assert_eq!(begun, finished, "a message has no end");
});
