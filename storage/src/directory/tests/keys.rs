//! Public keys of TLS.

use super::*;

fn key(octet: u8) -> Fingerprint {
    Fingerprint::new([octet; Fingerprint::OCTETS])
}

fn add(account: &str, octet: u8, called: &str) -> Change {
    Change::AddTlsKey { account: name(account), fingerprint: key(octet), name: called.to_owned() }
}

fn remove(account: &str, octet: u8) -> Change {
    Change::RemoveTlsKey { account: name(account), fingerprint: key(octet) }
}

fn owner(world: &World, octet: u8) -> Option<String> {
    let snapshot = world.0.snapshot();
    let account = Directory::new(&*snapshot).account_of_tls_key(&key(octet)).unwrap();
    account.map(|account| account.name.to_string())
}

fn has_keys(world: &World) -> bool {
    Directory::new(&*world.0.snapshot()).has_tls_keys().unwrap()
}

#[test]
fn fingerprints_are_written_as_base64url() {
    let text = key(0xfb).to_string();
    assert_eq!(text, "-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s");
    assert_eq!(Fingerprint::parse(&text), Some(key(0xfb)));
    for bad in ["", "+/v7", &text[1..], &format!("{text}A"), &text.replace('-', "+"), &format!("{text}=")] {
        assert_eq!(Fingerprint::parse(bad), None, "{bad}");
    }
}

#[test]
fn a_key_belongs_to_one_account() {
    let world = World::usual();
    assert!(!has_keys(&world));
    world.apply(&[add("fred", 1, "laptop"), add("fred", 2, ""), add("mary", 3, "phone")]).unwrap();
    assert!(has_keys(&world));
    assert_eq!((owner(&world, 1).as_deref(), owner(&world, 3).as_deref()), (Some("fred"), Some("mary")));
    assert_eq!(owner(&world, 4), None);
    let snapshot = world.0.snapshot();
    let keys = Directory::new(&*snapshot).tls_keys(world.account("fred")).unwrap();
    let told: Vec<_> = keys.iter().map(|key| (key.fingerprint, key.name.as_str(), key.created)).collect();
    assert_eq!(told, [(key(1), "laptop", 1_790_000_000), (key(2), "", 1_790_000_000)]);
    let taken = world.refused(add("mary", 1, ""));
    assert!(taken.contains("belongs to account fred already"), "{taken}");
    assert!(world.refused(add("fred", 1, "")).contains("belongs to account fred"));
    assert!(world.refused(remove("mary", 1)).contains("account mary has no TLS public key"));
    assert!(world.refused(remove("fred", 9)).contains("has no TLS public key"));
    assert!(world.refused(add("nobody", 9, "")).contains("no account"));
    assert!(world.refused(add("fred", 9, "a\nb")).contains("control characters"));
    let longest = "n".repeat(Limits::DEFAULT.tls_key_name_octets_max);
    world.try_plan(&[add("fred", 9, &longest)]).unwrap();
    assert!(world.refused(add("fred", 9, &format!("{longest}n"))).contains("too long"));
    world.apply(&[remove("fred", 1), add("mary", 1, "")]).unwrap();
    assert_eq!(owner(&world, 1).as_deref(), Some("mary"));
}

#[test]
fn keys_of_an_account_are_counted_and_go_with_it() {
    let world = World::usual();
    let most = u8::try_from(Limits::DEFAULT.tls_keys_max).unwrap();
    let all: Vec<_> = (0..most).map(|octet| add("mary", octet, "")).collect();
    world.apply(&all).unwrap();
    let over = world.refused(add("mary", most, ""));
    assert!(over.contains("100 TLS public keys, which is the most"), "{over}");
    world
        .apply(&[
            Change::RemoveMember {
                alias: address("team@example.org"),
                member: address("mary@other.example"),
            },
            Change::RemoveAccount { name: name("mary"), mail: HeldMail::Erase },
        ])
        .unwrap();
    assert!(!has_keys(&world));
    // The key is free for another account.
    world.apply(&[add("fred", 0, "")]).unwrap();
}

#[test]
fn documents_have_the_keys() {
    let world = World::usual();
    world.apply(&[add("fred", 1, "lap \"top\""), add("fred", 2, ""), add("mary", 3, "phone")]).unwrap();
    let text = world.text();
    assert!(text.contains("tls_public_keys = [\n    { fingerprint = "), "{text}");
    assert_eq!(world.apply_text(&text).unwrap(), [""; 0]);
    // Key 2 goes, 3 changes hands, 1 gets another name.
    let (one, two, three) = (key(1).to_string(), key(2).to_string(), key(3).to_string());
    let wanted = text
        .replace("lap \\\"top\\\"", "desktop")
        .replace(&two, &three)
        .replace(&format!("tls_public_keys = [{{ fingerprint = \"{three}\", name = \"phone\" }}]\n"), "");
    assert_eq!(
        world.apply_text(&wanted).unwrap(),
        [
            format!("- TLS public key {one} of account fred"),
            format!("- TLS public key {two} of account fred"),
            format!("- TLS public key {three} of account mary"),
            format!("+ TLS public key {one} of account fred"),
            format!("+ TLS public key {three} of account fred"),
        ]
    );
    assert_eq!(world.text(), wanted);
    // An account that goes leaves its keys to others in the same step.
    let keys = format!("tls_public_keys = [\"{one}\"]\n");
    let without = "version = 1\n[domain.\"other.example\"]\n[account.mary]\ndomain = \"other.example\"\n";
    world.apply_text(&format!("{without}{keys}")).unwrap();
    assert_eq!(owner(&world, 1).as_deref(), Some("mary"));
}

#[test]
fn faults_of_keys_are_found_with_their_lines() {
    let one = key(1).to_string();
    let text = format!(
        "version = 1\n[domain.\"x.example\"]\n[account.a]\ndomain = \"x.example\"\n\
         tls_public_keys = [\n\"{one}\",\n\"abc\",\n{{ name = \"n\" }},\n7,\n{{ fingerprint = \"{one}\" }}\n]\n"
    );
    let faults = World::usual().faults(&text);
    let lines: Vec<_> = faults.iter().map(|fault| fault.line).collect();
    assert_eq!(lines, [7, 8, 9, 10], "{faults:?}");
    assert!(faults[3].problem.contains("given twice"), "{faults:?}");
}

#[test]
fn broken_rows_are_found() {
    use super::super::rows;
    let fred = World::usual().account("fred");
    let cases: [(Vec<u8>, Option<Vec<u8>>); 4] = [
        (rows::tls_key(&key(1)), None),
        (rows::account_tls_key(fred, &key(1)), None),
        (rows::account(fred), None),
        (rows::tls_key(&key(1)), Some(vec![1, 2])),
    ];
    for (at, (row, value)) in cases.into_iter().enumerate() {
        let world = World::usual();
        world.apply(&[add("fred", 1, "")]).unwrap();
        let mut batch = crate::engine::Batch::new();
        match value {
            Some(value) => batch.insert(Space::Rows, row, value),
            None => batch.remove(Space::Rows, row),
        }
        world.0.commit(batch, Durability::Buffered).unwrap();
        let found = verify(&*world.0.snapshot()).unwrap();
        let rule = |wanted| found.iter().any(|violation| violation.rule == wanted);
        assert!(rule(Rule::OwnerExists) || rule(Rule::Readable), "case {at}: {found:?}");
    }
}

/// Later versions read what this one wrote: these octets must not change.
#[test]
fn golden_octets_of_the_keys() {
    let world = World::usual();
    world.apply(&[add("mary", 0x61, "phone")]).unwrap();
    let mut rows = Vec::new();
    for table in [0x4b, 0x4c] {
        for row in world.0.snapshot().prefix(Space::Rows, &[0, 0, 0, 0, table]) {
            let (key, value) = row.unwrap();
            rows.push(format!("{} = {}", key.escape_ascii(), value.escape_ascii()));
        }
    }
    let name = "a".repeat(32);
    assert_eq!(
        rows,
        [
            format!(
                "\\x00\\x00\\x00\\x00K{name} = \\x01\\x02\\x00\\x00\\x00\\x80;\\xb1j\\x00\\x00\\x00\\x00\\x05\\x00phone"
            ),
            format!("\\x00\\x00\\x00\\x00L\\x00\\x00\\x00\\x02{name} = \\x01"),
        ]
    );
}
