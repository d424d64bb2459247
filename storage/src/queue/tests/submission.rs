use postrider_proto::smtp::envelope::Hold;

use super::*;
use crate::blobs;
use crate::ids::BlobId;
use crate::rows::{Held, HoldRuleRow};
use crate::store::Refusal;

#[test]
fn a_message_becomes_one_entry_for_each_domain() {
    let world = World::new();
    let mut message =
        message(world.content(), &["r@one.example", "s@TWO.example", "t@one.example", "u@[192.0.2.1]"]);
    message.require_tls = RequireTls::Required;
    message.hold_until = Some(Hold::Until(900));
    let entries = world.enqueue(message);
    let rows: Vec<_> = entries.iter().map(|entry| world.entry(entry.id)).collect();
    let domains: Vec<_> = rows.iter().map(|row| &*row.domain).collect();
    assert_eq!(domains, ["one.example", "two.example", "[192.0.2.1]"]);
    for (entry, row) in entries.iter().zip(&rows) {
        assert_eq!((entry.domain, entry.due, row.base), (domain_hash(&row.domain), 900, entries[0].id));
        assert_eq!((row.hold_until, row.attempts, row.require_tls), (900, 0, RequireTls::Required));
        assert_eq!((row.size, prefix(&world.reader(), entry.id).unwrap().len()), (20, 13));
        assert_eq!(content(row).size, 7);
    }
    let addresses = world.addresses(entries[0].id);
    assert_eq!(addresses, [(0, "r@one.example".to_owned()), (1, "t@one.example".to_owned())]);
    assert_eq!(world.counts(), (3, 4, 0));
    let value = world.reader().get(&keys::queue_prefix(entries[0].id)).unwrap().unwrap();
    assert_eq!(value[..], *b"\x01Received: x\r\n");

    for entry in entries {
        let end_of =
            End { retirement: crate::rows::Retirement::Dropped, result: said(1, 0, ""), retired_until: None };
        let Changed::Done(done) = end(&world.reader(), entry.id, Chosen::All, &end_of).unwrap() else {
            panic!()
        };
        world.commit(done.edit.batch);
    }
    assert_eq!(world.counts(), (0, 0, 0));
    for batch in blobs::recover_pending(&world.reader(), 10).unwrap() {
        world.commit(batch);
    }
    let collected = blobs::collect(&world.reader(), BlobId(0), 10).unwrap();
    assert_eq!(collected.blobs, 1);
    world.commit(collected.batch);
    assert_eq!(world.reader().prefix(&[]).count(), 1, "only the format is left");
}

#[test]
fn the_entries_of_a_message_share_its_prefix() {
    let content = Content { blob: BlobId(1), size: 0 };
    let mut message = message(content, &["r@one.example", "s@two.example", "t@three.example"]);
    // Short values are kept in place.
    message.prefix = vec![b'x'; 100];
    let mut ids = 0..;
    let enqueued = enqueue(|| QueueId(ids.next().unwrap()), message, &HoldRules::default()).unwrap();
    let writes = enqueued.edit.batch.writes();
    let prefixes: Vec<*const u8> = (enqueued.entries.iter())
        .map(|entry| keys::queue_prefix(entry.id))
        .map(|key| writes.iter().find(|write| write.key[..] == key[..]).unwrap().value.as_ref().unwrap())
        .map(|value| value.as_ptr())
        .collect();
    assert_eq!(prefixes, [prefixes[0]; 3]);
}

#[test]
fn what_is_too_much_is_refused_and_what_is_not_is_taken() {
    let content = Content { blob: BlobId(1), size: 0 };
    let mut ids = 0..;
    let mut refused = |message| {
        let new_id = || QueueId(ids.next().unwrap());
        match enqueue(new_id, message, &HoldRules::default()) {
            Ok(_) => None,
            Err(StoreError::Refused(refusal)) => Some(refusal),
            Err(error) => panic!("{error}"),
        }
    };
    let many = |count: usize| {
        let addresses: Vec<_> = (0..count).map(|number| format!("r@d{number}.example")).collect();
        message(content, &addresses.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert_eq!(refused(many(RECIPIENTS_MAX)), None, "5000 domains");
    assert_eq!(refused(many(RECIPIENTS_MAX + 1)), Some(Refusal::TooManyRecipients));
    let long = |count, octets| NewQueued { prefix: vec![b'x'; octets], ..many(count) };
    assert_eq!(refused(long(1, PREFIX_OCTETS_MAX)), None);
    assert_eq!(refused(long(1, PREFIX_OCTETS_MAX + 1)), Some(Refusal::PrefixTooLong));
    assert_eq!(refused(long(700, PREFIX_OCTETS_MAX)), None);
    assert_eq!(refused(long(800, PREFIX_OCTETS_MAX)), Some(Refusal::TooLarge));
    let domain = |octets: usize| message(content, &[&format!("r@{}", "x".repeat(octets))]);
    assert_eq!(refused(domain(255)), None);
    assert_eq!(refused(domain(256)), Some(Refusal::EnvelopeTooLong));
}

#[test]
fn all_fields_of_a_hold_rule_must_match() {
    let world = World::new();
    let rule = |account: u32, sender: Option<&str>, recipient: Option<&str>| HoldRuleRow {
        account: AccountId::new(account),
        sender_domain: sender.map(Into::into),
        recipient_domain: recipient.map(Into::into),
        created: 1,
        comment: "c".into(),
    };
    let held_by = |rule: &HoldRuleRow, from: &str, to: &str| {
        let (id, batch) = add_hold_rule(&world.reader(), rule).unwrap();
        world.commit(batch);
        let mut new = message(world.content(), &[to]);
        new.mail_from = from.as_bytes().to_vec();
        let entry = world.enqueue(new)[0];
        let row = world.entry(entry.id);
        assert_eq!(entry.due == i64::MAX, row.held != Held::No);
        world.commit(remove_hold_rule(&world.reader(), id).unwrap().unwrap());
        row.held == Held::Rule(id)
    };
    let (from, to) = ("a@Sender.example", "b@their.example");
    for (rule, holds) in [
        (rule(0, None, None), true),
        (rule(3, None, None), true),
        (rule(4, None, None), false),
        (rule(0, Some("sender.example"), None), true),
        (rule(0, Some("their.example"), None), false),
        (rule(0, Some(""), None), false),
        (rule(3, Some("sender.example"), Some("their.example")), true),
        (rule(3, Some("sender.example"), Some("other.example")), false),
        (rule(4, Some("sender.example"), Some("their.example")), false),
        (rule(0, None, Some("their.example")), true),
    ] {
        assert_eq!(held_by(&rule, from, to), holds, "{rule:?}");
    }
    assert!(held_by(&rule(0, Some(""), None), "", to), "the null path");
    assert!(remove_hold_rule(&world.reader(), crate::ids::RuleId(0)).unwrap().is_none());
    let (id, _) = add_hold_rule(&world.reader(), &rule(0, None, None)).unwrap();
    assert_eq!(id.0, 12, "ids are never given out again");
    let next = world.reader().get(&keys::hold_rule(crate::ids::RuleId(0))).unwrap().unwrap();
    assert_eq!(next[..], [1, 12, 0, 0, 0]);
    assert!(hold_rules(&world.reader()).unwrap().is_empty());
}

#[test]
fn there_are_only_so_many_hold_rules() {
    let world = World::new();
    for _ in 0..HOLD_RULES_MAX {
        let (_, batch) = add_hold_rule(&world.reader(), &HoldRuleRow::default()).unwrap();
        world.engine.commit(batch, Durability::Synced).unwrap();
    }
    world.verify();
    let refused = add_hold_rule(&world.reader(), &HoldRuleRow::default());
    assert!(matches!(refused, Err(StoreError::Refused(Refusal::TooManyHoldRules))));
}

#[test]
fn shards_own_all_hashes_between_them() {
    for shards in [1, 2, 3, 7, 64] {
        let ranges: Vec<_> = (0..shards).map(|shard| range_of(shard, shards)).collect();
        assert_eq!((*ranges[0].start(), *ranges[shards - 1].end()), (0, u64::MAX));
        for (shard, range) in ranges.iter().enumerate() {
            assert_eq!((shard_of(*range.start(), shards), shard_of(*range.end(), shards)), (shard, shard));
            let next = ranges.get(shard + 1).map(|next| *next.start());
            assert_eq!(range.end().checked_add(1), next);
        }
    }
}
