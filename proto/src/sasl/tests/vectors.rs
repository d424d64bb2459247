//! The exchanges printed in the RFCs (`suites/sasl/rfc-vectors`), octet for octet.

use serde_json::Value;

use super::*;
use crate::sasl::secrets::{BadSecrets, CramVerifier};

fn suite() -> Option<Value> {
    let file = postrider_testing::suite("sasl/rfc-vectors/vectors.json")?;
    Some(serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap())
}

fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case[key].as_str().unwrap()
}

fn unbase64(text: &str) -> Vec<u8> {
    wire::decode_response(text.as_bytes(), &Limits::DEFAULT).unwrap()
}

#[test]
fn scram_of_the_rfcs() {
    let Some(suite) = suite() else { return };
    let cases = suite["scram"].as_array().unwrap();
    assert_eq!(cases.len(), 2);
    for case in cases {
        let mechanism = Mechanism::parse(text(case, "mech").as_bytes()).unwrap();
        let first = text(case, "client_first");
        let client_nonce = first.rsplit_once("r=").unwrap().1;
        let mut fields = text(case, "server_first").split(',').map(|field| &field[2..]);
        let nonce = fields.next().unwrap();
        let (salt, iterations) = (fields.next().unwrap(), fields.next().unwrap());
        let verifier = format!(
            "{}${iterations}:{salt}${}:{}",
            text(case, "mech"),
            text(case, "stored_key"),
            text(case, "server_key")
        );
        let other = derived("unused").to_texts();
        let sha256 = if mechanism == Mechanism::ScramSha256 { &verifier } else { &other[0] };
        let mut verifiers = vec![sha256.as_str()];
        if mechanism == Mechanism::ScramSha1 {
            verifiers.push(&verifier);
        }
        let secrets = StoredSecrets::from_texts(verifiers).unwrap();
        let mut context = context();
        context.nonce = ServerNonce::new(nonce.strip_prefix(client_nonce).unwrap()).unwrap();

        let (mut exchange, step) = Exchange::start(mechanism, &context, Some(first.as_bytes()));
        assert!(matches!(step, Step::NeedSecrets { login, .. } if login.as_str() == text(case, "username")));
        let credentials = ClientCredentials {
            login: text(case, "username").into(),
            password: Secret::new(text(case, "password").into()),
        };
        let mut client = Client::new(mechanism, credentials, ClientBinding::Incapable, client_nonce);
        assert_eq!(client.initial_response().unwrap(), first.as_bytes());

        let Step::Challenge(server_first) = exchange.secrets(Some(&secrets), &derived("dummy")) else {
            panic!("no challenge")
        };
        assert_eq!(server_first, text(case, "server_first").as_bytes());
        let client_final = client.respond(&server_first).unwrap();
        assert_eq!(client_final, text(case, "client_final").as_bytes());
        let Step::Challenge(server_final) = exchange.respond(&client_final) else { panic!("no proof") };
        assert_eq!(server_final, text(case, "server_final").as_bytes());
        assert_eq!(client.respond(&server_final).unwrap(), b"");
        assert!(client.is_proved());
        assert!(matches!(exchange.respond(b""), Step::Success { .. }));
    }
}

#[test]
fn cram_md5_of_the_rfc() {
    let Some(suite) = suite() else { return };
    let case = &suite["cram_md5"][0];
    let mut context = context();
    context.nonce = ServerNonce::new("1896").unwrap();
    context.unix_seconds = 697_170_952;
    context.hostname = "postoffice.reston.mci.net".into();
    let (mut exchange, step) = Exchange::start(Mechanism::CramMd5, &context, None);
    let Step::Challenge(challenge) = step else { panic!("no challenge") };
    assert_eq!(wire::encode(&challenge), text(case, "challenge_b64"));
    let mut client = client(Mechanism::CramMd5, text(case, "username"), text(case, "password"));
    let response = client.respond(&challenge).unwrap();
    assert_eq!(wire::encode(&response), text(case, "response_b64"));
    let step = exchange.respond(&response);
    let accounts = Accounts::one(text(case, "username"), text(case, "password"));
    assert!(matches!(accounts.settle(&mut exchange, step), Step::Success { .. }));
}

#[test]
fn plain_of_the_rfc() {
    let Some(suite) = suite() else { return };
    for case in suite["plain"].as_array().unwrap() {
        let message = unbase64(text(case, "message_b64"));
        let (_, step) = Exchange::start(Mechanism::Plain, &context(), Some(&message));
        if text(case, "authzid").is_empty() {
            let Step::VerifyPassword { login, password } = step else { panic!("{step:?}") };
            assert_eq!(login.as_str(), text(case, "authcid"));
            assert_eq!(password.expose(), text(case, "password"));
        } else {
            assert!(matches!(step, Step::Failure(FailureKind::AuthzidDiffers)));
        }
    }
}

#[test]
fn passwords_of_rfc_8265() {
    let Some(suite) = suite() else { return };
    for case in suite["precis_rfc8265"]["password_ok"].as_array().unwrap() {
        let prepared = text::prepare_password(case[0].as_str().unwrap().as_bytes(), &Limits::DEFAULT);
        assert_eq!(prepared.unwrap().expose(), case[1].as_str().unwrap());
    }
    for case in suite["precis_rfc8265"]["password_bad"].as_array().unwrap() {
        let password = case.as_str().unwrap();
        assert!(text::prepare_password(password.as_bytes(), &Limits::DEFAULT).is_err(), "{password:?}");
    }
}

#[test]
fn cram_verifiers_equal_the_crate_for_keys_of_every_length() {
    for length in [1, 8, 63, 64, 65, 200] {
        let password = "k".repeat(length);
        let mut client = client(Mechanism::CramMd5, "u", &password);
        let response = client.respond(b"<1.2@x>").unwrap();
        let digest = CramVerifier::derive(&password).respond(b"<1.2@x>");
        assert_eq!(response, format!("u {}", data_encoding::HEXLOWER.encode(&digest)).into_bytes());
    }
}

/// The stored form is read by later versions: these octets must not change.
#[test]
fn golden_octets_of_stored_secrets() {
    let secrets = derived("correct horse");
    let golden = concat!(
        "0103001000001003030303030303030303030303030303083d6200d47ab899ca93a4a75d594807d3",
        "bdd7d1e7707f5faf6edca69cb1e2d68aa8c4c87939dd0ccf8cd9950afca1ae17fb630517e27d9eb1",
        "43dc452c796656001000001004040404040404040404040404040404ef83f466512d853c1a886da6",
        "384d21f0d0209e104ed5b0ab1a4be3034e429f972e509ed792196ecc71c455380655f2c0ac35c5b3",
        "59528d2938b57fd1a0c4b46c814aa05f20318edd",
    );
    assert_eq!(data_encoding::HEXLOWER.encode(&secrets.encode()), golden);
    assert_eq!(StoredSecrets::decode(&secrets.encode()).unwrap(), secrets);
}

#[test]
fn stored_secrets_survive_both_forms_and_refuse_damage() {
    let mut secrets = derived("correct horse");
    for step in 0..3 {
        let octets = secrets.encode();
        assert_eq!(StoredSecrets::decode(&octets).unwrap(), secrets);
        for end in 0..octets.len() {
            assert_eq!(StoredSecrets::decode(&octets[..end]), Err(BadSecrets::Damaged), "{end}");
        }
        let mut longer = octets.clone();
        longer.push(0);
        assert_eq!(StoredSecrets::decode(&longer), Err(BadSecrets::Damaged));
        let texts = secrets.to_texts();
        assert_eq!(StoredSecrets::from_texts(texts.iter().rev().map(String::as_str)).unwrap(), secrets);
        if step == 0 { secrets.cram_md5 = None } else { secrets.scram_sha_1 = None }
    }
    assert_eq!(StoredSecrets::decode(&[2, 0]), Err(BadSecrets::Version(2)));
    let texts = derived("correct horse").to_texts();
    let read = |texts: &[&str]| StoredSecrets::from_texts(texts.iter().copied()).map(|_| ());
    assert_eq!(read(&[&texts[1]]), Err(BadSecrets::Incomplete));
    assert_eq!(read(&[&texts[0], &texts[0]]), Err(BadSecrets::Incomplete));
    assert_eq!(read(&[&texts[0].replace("$4096:", "$4095:")]), Err(BadSecrets::Text));
    assert_eq!(read(&[&texts[0].replace("$4096:", "$10000000:")]), Ok(()));
    assert_eq!(read(&[&texts[0].replace("$4096:", "$10000001:")]), Err(BadSecrets::Text));
}
