//! DKIM keys of domains.

use postrider_proto::dkim::Selector;
use postrider_proto::dkim::key::Kind;

use super::*;

/// Stands for what the server does: a file named `file N` has an RSA key, and a text is octets in hexadecimal.
pub(super) fn read_key(text: KeyText<'_>) -> Result<DkimSecret, String> {
    let octet = |text: &str| u8::from_str_radix(text, 16).map_err(|error| error.to_string());
    match text {
        KeyText::File(name) => {
            let number = name.strip_prefix("file ").ok_or("there is no such file")?;
            Ok(DkimSecret::new(Kind::Rsa, [octet(number)?; 4].into()))
        }
        // What is exported: base64 of four times the octet.
        KeyText::Inline(text) => {
            let octets = postrider_proto::dkim::tags::base64(text).ok_or("no base64")?;
            Ok(DkimSecret::new(Kind::Ed25519, octets.into()))
        }
    }
}

fn selector(text: &str) -> Selector {
    Selector::parse(text).unwrap()
}

fn secret(octet: u8) -> DkimSecret {
    DkimSecret::new(Kind::Ed25519, [octet; 4].into())
}

pub(super) fn add(of: &str, called: &str, octet: u8) -> Change {
    let (domain, selector) = (domain(of), selector(called));
    Change::AddDkimKey { domain, selector, secret: secret(octet), state: DkimState::Signs }
}

fn set(of: &str, called: &str, state: DkimState) -> Change {
    Change::SetDkimKey { domain: domain(of), selector: selector(called), state }
}

fn remove(of: &str, called: &str) -> Change {
    Change::RemoveDkimKey { domain: domain(of), selector: selector(called) }
}

fn keys(world: &World, of: &str) -> Vec<(String, DkimState, u8)> {
    let snapshot = stage::reading(world.0.snapshot());
    let keys = Directory::new(&*snapshot).dkim_keys(&domain(of)).unwrap();
    keys.into_iter().map(|key| (key.selector.to_string(), key.state, key.secret.expose()[0])).collect()
}

#[test]
fn a_domain_has_keys_of_its_own_until_it_goes() {
    let world = World::usual();
    world
        .apply(&[add("example.org", "b", 2), add("example.org", "A", 1), add("other.example", "a", 3)])
        .unwrap();
    let signs = DkimState::Signs;
    assert_eq!(keys(&world, "example.org"), [("a".into(), signs, 1), ("b".into(), signs, 2)]);
    assert_eq!(keys(&world, "org"), []);
    world.apply(&[set("example.org", "a", DkimState::Published)]).unwrap();
    assert_eq!(keys(&world, "example.org")[0], ("a".into(), DkimState::Published, 1));
    let snapshot = world.0.snapshot();
    let key = Directory::new(&*snapshot).dkim_key(&domain("example.org"), &selector("a")).unwrap().unwrap();
    assert_eq!((key.created, key.secret.kind()), (1_790_000_000, Kind::Ed25519));
    assert!(!format!("{key:?}").contains("[1, 1"), "{key:?}");
    assert!(world.refused(add("example.org", "a", 9)).contains("has a DKIM key a already"));
    for change in [remove("other.example", "b"), set("other.example", "b", signs)] {
        assert_eq!(world.refused(change), "domain other.example has no DKIM key b");
    }
    for change in [add("else.example", "a", 1), remove("else.example", "a")] {
        assert!(world.refused(change).contains("no domain else.example"));
    }
    world.apply(&[remove("example.org", "b")]).unwrap();
    assert_eq!(keys(&world, "example.org").len(), 1);
    let new = Change::AddDomain { domain: domain("new.example"), settings: DomainSettings::default() };
    world.apply(&[new.clone(), add("new.example", "a", 4)]).unwrap();
    world.apply(&[Change::RemoveDomain(domain("new.example"))]).unwrap();
    world.apply(&[new]).unwrap();
    assert_eq!(keys(&world, "new.example"), []);
}

#[test]
fn keys_are_bounded() {
    let world = World::usual();
    let most = Limits::DEFAULT.dkim_keys_max;
    let all: Vec<_> = (0..most).map(|at| add("example.org", &format!("s{at}"), 1)).collect();
    world.apply(&all).unwrap();
    let over = world.refused(add("example.org", "more", 1));
    assert!(over.contains("16 DKIM keys, which is the most"), "{over}");
    let of = |octets: usize| Change::AddDkimKey {
        domain: domain("other.example"),
        selector: selector("a"),
        secret: DkimSecret::new(Kind::Rsa, vec![1; octets].into()),
        state: DkimState::Signs,
    };
    world.try_plan(&[of(Limits::DEFAULT.dkim_secret_octets_max)]).unwrap();
    for octets in [0, Limits::DEFAULT.dkim_secret_octets_max + 1] {
        assert!(world.refused(of(octets)).contains("1 to 8192 octets"));
    }
    // The name of the record: `._domainkey.other.example` has 25 octets, and a name 253.
    let long = |last: &str| add("other.example", &format!("{}{last}", "aaaaaaaaa.".repeat(22)), 1);
    world.try_plan(&[long("aaaaaaaa")]).unwrap();
    assert!(world.refused(long("aaaaaaaaa")).contains("too long for the DNS"));
}

#[test]
fn documents_have_the_keys() {
    let world = World::usual();
    world
        .apply(&[
            add("example.org", "a", 1),
            add("example.org", "b", 2),
            set("example.org", "b", DkimState::Published),
        ])
        .unwrap();
    let text = world.text();
    let golden = "separators = [\"+\"]\ndkim = [\n    { selector = \"a\", key = \"AQEBAQ==\" },\n    \
                  { selector = \"b\", key = \"AgICAg==\", publish_only = true },\n]\n";
    assert!(text.contains(golden), "{text}");
    assert_eq!(world.apply_text(&text).unwrap(), [""; 0]);
    let copy = World::new(&[]);
    copy.apply_text(&text).unwrap();
    assert_eq!(copy.text(), text);
    // Nothing said: they stay. Without a key: that one stays.
    let start = text.find("dkim = [").unwrap();
    let end = start + text[start..].find("]\n").unwrap() + 2;
    let with = |keys: &str| format!("{}{keys}{}", &text[..start], &text[end..]);
    assert_eq!(world.apply_text(&with("")).unwrap(), [""; 0]);
    let wanted = with(
        "dkim = [{ selector = \"c\", key_file = \"file 7\" }, { selector = \"b\" }, \
         { selector = \"a\", key = \"AwMDAw==\", publish_only = true }]\n",
    );
    assert_eq!(
        world.apply_text(&wanted).unwrap(),
        [
            "- DKIM key a of domain example.org",
            "+ DKIM key a (ed25519) of domain example.org, which is published only",
            "~ DKIM key b of domain example.org signs",
            "+ DKIM key c (rsa) of domain example.org, which signs",
        ]
    );
    let (signs, published) = (DkimState::Signs, DkimState::Published);
    let found = keys(&world, "example.org");
    assert_eq!(found, [("a".into(), published, 3), ("b".into(), signs, 2), ("c".into(), signs, 7)]);
    world.apply_text(&with("dkim = []\n")).unwrap();
    assert_eq!(keys(&world, "example.org"), []);
}

#[test]
fn large_changes_have_the_keys_too() {
    let world = World::usual();
    world.apply(&[add("example.org", "a", 1), add("other.example", "b", 2)]).unwrap();
    let text = world.text();
    let copy = World::new(&[]);
    Applying::new(Mode::Make, 64).run(&copy, &text).unwrap();
    copy.settle().unwrap();
    assert_eq!(copy.text(), text);
    let rest = "version = 1\n[domain.\"example.org\"]\ndkim = []\n";
    Applying::new(Mode::Make, 64).run(&copy, rest).unwrap();
    copy.settle().unwrap();
    assert_eq!((keys(&copy, "example.org"), keys(&copy, "other.example")), (vec![], vec![]));
}

#[test]
fn faults_of_keys_are_found_with_their_lines() {
    let text = "version = 1\n[domain.\"x.example\"]\ndkim = [\n{ selector = \"a\" },\n{ key = \"AQ==\" },\n\
                { selector = \"b c\", key = \"AQ==\" },\n{ selector = \"d\", key = \"!\" },\n\
                { selector = \"e\", key = \"AQ==\", key_file = \"x\" },\n{ selector = \"f\", key_file = \"x\" },\n\
                { selector = \"g\", key = \"AQ==\" },\n{ selector = \"G\", key = \"Ag==\" },\n]\n";
    let faults = World::usual().faults(text);
    let lines: Vec<_> = faults.iter().map(|fault| fault.line).collect();
    assert_eq!(lines, [4, 5, 6, 7, 8, 9, 11], "{faults:?}");
    assert!(faults.iter().all(|fault| !fault.problem.contains("AQ==")), "keys are not repeated: {faults:?}");
    let many = format!("version = 1\n[domain.\"x.example\"]\ndkim = [{}]\n", "{},".repeat(17));
    assert!(World::usual().faults(&many)[0].problem.contains("more than 16"));
}

/// Later versions read what this one wrote: these octets must not change.
#[test]
fn golden_octets_of_the_keys() {
    let world = World::usual();
    let rsa = Change::AddDkimKey {
        domain: domain("other.example"),
        selector: selector("x.y"),
        secret: DkimSecret::new(Kind::Rsa, b"rsa".as_slice().into()),
        state: DkimState::Published,
    };
    world.apply(&[add("example.org", "2026a", 0x61), rsa]).unwrap();
    let rows: Vec<_> = world
        .rows()
        .iter()
        .filter(|(key, _)| key[4] == 0x4d)
        .map(|(key, value)| format!("{} = {}", key.escape_ascii(), value.escape_ascii()))
        .collect();
    let created = r"\x80;\xb1j\x00\x00\x00\x00";
    assert_eq!(
        rows,
        [
            format!(r"\x00\x00\x00\x00Mexample.org\x002026a = \x01\x02\x01{created}\x04\x00\x00\x00aaaa"),
            format!(r"\x00\x00\x00\x00Mother.example\x00x.y = \x01\x01\x00{created}\x03\x00\x00\x00rsa"),
        ]
    );
    // As a document's keys are noted.
    let applying = Applying::new(Mode::Make, 1);
    applying.steps(&world, &world.text(), &mut applying.begin()).unwrap();
    let noted = world.rows().into_iter().find(|(key, _)| key.starts_with(b"\0\0\0\0\x5f\x01example.org"));
    assert_eq!(
        noted.unwrap().1.escape_ascii().to_string(),
        r"\x02\x03\x00\x00\x00\x08\x00\x00\x00\x01\x00\x00\x00\x01\x01\x00+\x01\x05\x00\x00\x00\x05\x002026a\x02\x01\x04\x00\x00\x00aaaa"
    );
}
