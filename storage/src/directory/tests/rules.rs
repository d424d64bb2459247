//! Golden octets of the rows, and the checker: each rule is broken once, and found.

use std::collections::BTreeSet;

use super::*;
use crate::directory::rows;
use crate::engine::Batch;

fn broken(world: &World, break_it: impl FnOnce(&mut Batch)) -> BTreeSet<Rule> {
    let mut batch = Batch::new();
    break_it(&mut batch);
    world.0.commit(batch, Durability::Buffered).unwrap();
    verify(&*world.0.snapshot()).unwrap().into_iter().map(|violation| violation.rule).collect()
}

fn place(domain_text: &str, localpart: &str) -> rows::Place {
    rows::Place { domain: domain(domain_text), localpart: localpart.into() }
}

#[test]
fn every_rule_is_seen_when_broken() {
    type Break = (Rule, Box<dyn Fn(&mut Batch)>);
    let put = |key: Vec<u8>, value: Vec<u8>| {
        move |batch: &mut Batch| batch.insert(Space::Rows, key.clone(), value.clone())
    };
    let gone = |key: Vec<u8>| move |batch: &mut Batch| batch.remove(Space::Rows, key.clone());
    let fred = AccountId::new(1).unwrap();
    let ghost = AccountId::new(77).unwrap();
    let fred_place = place("example.org", "fred");
    let team = place("example.org", "team");
    let state = |edit: &dyn Fn(&mut rows::StateRow)| {
        let mut row =
            rows::StateRow { next_account: 3, accounts: 2, domains: 2, addresses: 6, postmaster: None };
        edit(&mut row);
        row.encode()
    };
    let cases: Vec<Break> = vec![
        (Rule::Readable, Box::new(put(vec![0, 0, 0, 0, 0x5c], vec![1]))),
        (Rule::Readable, Box::new(put(vec![0, 0, 0, 0, 0x5d], vec![1, 9]))),
        (Rule::Readable, Box::new(put(vec![0, 0, 0, 0, 0x5e, 0x4e, 1], vec![1, 0]))),
        (Rule::Readable, Box::new(put(vec![0, 0, 0, 0, 0x5f, 8], vec![1]))),
        (Rule::Staged, Box::new(put(vec![0, 0, 0, 0, 0x5e, 0x41, b'x'], vec![1, 0]))),
        (Rule::Staged, Box::new(put(vec![0, 0, 0, 0, 0x5f, 3, b'@', b'x'], vec![1, 0, 0, 0, 0, 38, 2]))),
        (Rule::Readable, Box::new(put(rows::domain(&domain("example.org")), vec![9]))),
        (Rule::AccountNamed, Box::new(gone(rows::account_name(&name("fred"))))),
        (Rule::AccountNamed, Box::new(put(rows::account_name(&name("x")), rows::encode_account_id(ghost)))),
        (Rule::AccountIds, Box::new(put(rows::state(), state(&|row| row.next_account = 2)))),
        (Rule::AccountIds, Box::new(put(removed_account(fred), rows::present()))),
        (Rule::DomainExists, Box::new(gone(rows::domain(&domain("example.org"))))),
        (Rule::DomainExists, Box::new(gone(rows::account_domain(&domain("example.org"), fred)))),
        (
            Rule::DomainExists,
            Box::new(put(rows::account_domain(&domain("other.example"), fred), rows::present())),
        ),
        (
            Rule::AddressCanonical,
            Box::new(put(rows::domain(&domain("example.org")), rows::encode_domain(&separated("r")))),
        ),
        (Rule::AddressOwned, Box::new(gone(rows::account_address(fred, &fred_place)))),
        (Rule::AddressOwned, Box::new(gone(rows::address(&fred_place)))),
        (Rule::OwnerExists, Box::new(put(rows::credential(ghost), secrets("g").encode()))),
        (
            Rule::OwnerExists,
            Box::new(put(
                rows::state(),
                state(&|row| {
                    row.postmaster = Some(Postmaster { account: ghost, mailbox: MailboxName::inbox() })
                }),
            )),
        ),
        (Rule::AliasMembers, Box::new(gone(rows::member(&team, fred, &fred_place)))),
        (Rule::AliasMembers, Box::new(gone(rows::member_of(fred, &fred_place, &team)))),
        (Rule::AliasMembers, Box::new(gone(rows::address(&team)))),
        (Rule::Counts, Box::new(put(rows::state(), state(&|row| row.addresses = 7)))),
    ];
    for (at, (rule, break_it)) in cases.iter().enumerate() {
        let world = World::usual();
        let found = broken(&world, |batch| break_it(batch));
        assert!(found.contains(rule), "case {at}: {rule:?} not in {found:?}");
    }
}

/// Of every damage of one row the walk knows what looking up each row finds.
#[test]
fn what_is_found_by_looking_up_is_found_by_walking() {
    let world = World::usual();
    let key = Fingerprint::new([7; Fingerprint::OCTETS]);
    let add_key = Change::AddTlsKey { account: name("mary"), fingerprint: key, name: "phone".into() };
    let postmaster = Change::SetPostmaster(Some((name("fred"), MailboxName::inbox())));
    let secrets = Change::SetSecrets { account: name("fred"), secrets: Some(secrets("f")) };
    let gone = Change::RemoveAccount { name: name("gone"), mail: HeldMail::Keep };
    let dkim = dkim::add("example.org", "2026a", 7);
    world.apply(&[add_key, dkim, postmaster, secrets, add_account("gone", "example.org")]).unwrap();
    world.apply(&[gone]).unwrap();
    let all = world.rows();
    let tables: BTreeSet<u8> = all.iter().map(|(key, _)| key[4]).collect();
    assert_eq!(tables.len(), usize::from(rows::LAST - rows::STATE) + 1, "a row in each table");
    let mut damaged = 0;
    let mut damage = |batch: Batch, back: Batch| {
        world.0.commit(batch, Durability::Buffered).unwrap();
        let snapshot = world.0.snapshot();
        let found = violations(&*snapshot).unwrap();
        assert_eq!(quick::holds(&*snapshot).unwrap(), found.is_empty(), "{found:?}");
        damaged += usize::from(!found.is_empty());
        world.0.commit(back, Durability::Buffered).unwrap();
    };
    let put = |key: &Bytes, value: &Bytes| {
        let mut batch = Batch::new();
        batch.insert(Space::Rows, key.clone(), value.clone());
        batch
    };
    let without = |key: &Bytes| {
        let mut batch = Batch::new();
        batch.remove(Space::Rows, key.clone());
        batch
    };
    for (at, (key, value)) in all.iter().enumerate() {
        damage(without(key), put(key, value));
        // The value of its neighbour, and its own with another number or letter.
        let next = &all[(at + 1) % all.len()].1;
        damage(put(key, next), put(key, value));
        for octet in 0..value.len() {
            let mut other = value.to_vec();
            other[octet] ^= 1;
            damage(put(key, &Bytes::from(other)), put(key, value));
        }
        for octet in 5..key.len() {
            let mut other = key.to_vec();
            other[octet] ^= 1;
            let other = Bytes::from(other);
            if !all.iter().any(|(key, _)| *key == other) {
                damage(put(&other, value), without(&other));
            }
        }
    }
    assert!(damaged > 500, "{damaged}");
    world.check();
}

/// Later versions read what this one wrote: these octets must not change.
#[test]
fn golden_octets_of_the_rows() {
    let world = World::usual();
    let settings = AccountSettings { quota: Some(7), ..AccountSettings::new(domain("example.org")) };
    world.apply(&[Change::SetAccount { name: name("fred"), settings }]).unwrap();
    let mut rows = Vec::new();
    for row in world.0.snapshot().prefix(Space::Rows, &[]) {
        let (key, value) = row.unwrap();
        rows.push(format!("{} = {}", key.escape_ascii(), value.escape_ascii()));
    }
    let golden = include_str!("golden.txt");
    assert_eq!(rows.join("\n"), golden.trim_end());
}
