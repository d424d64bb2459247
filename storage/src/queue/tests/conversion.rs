//! Stores that format 1 wrote.

use std::collections::{BTreeMap, BTreeSet};

use postrider_proto::smtp::envelope::Notify;

use super::*;
use crate::engine::Space;
use crate::engine::memory::{Crash, Fault};
use crate::ids::BlobId;
use crate::rows::FormatRow;
use crate::rows::queue_v1::{QueueV1, RecipientV1, written};
use crate::store::FORMAT;

/// What format 1 wrote for a message.
fn enqueue_v1(batch: &mut Batch, id: QueueId, row: &QueueV1, recipients: &[RecipientV1]) {
    batch.insert(Space::Rows, keys::blob_ref(row.blob, SYSTEM, id.0), MARK);
    batch.insert(Space::Rows, keys::queue(id), written::queue(row));
    for (number, recipient) in (0..).zip(recipients) {
        batch.insert(Space::Rows, keys::queue_recipient(id, number), written::recipient(recipient));
        let due = keys::queue_due_v1(recipient.due, id, number);
        batch.insert(Space::Rows, due, written::due(recipient.domain));
    }
}

fn recipient_v1(address: &str, due: i64) -> RecipientV1 {
    RecipientV1 {
        due,
        hold_until: if due > 100 { due } else { 0 },
        domain: domain_hash(address.rsplit_once('@').unwrap().1),
        attempts: 0,
        notify: Some(Notify { success: true, failure: false, delay: false }),
        address: address.as_bytes().into(),
        original: (*b"rfc822;o@example.net").into(),
    }
}

fn message_v1(content: Content, prefix: &[u8], recipients: usize) -> QueueV1 {
    QueueV1 {
        blob: content.blob,
        size: content.size + prefix.len() as u64,
        created: 100,
        sender: 3,
        recipients: recipients as u32,
        require_tls: true,
        smtputf8: true,
        eight_bit: false,
        binary: false,
        ret: Ret::Full,
        envelope_id: (*b"id").into(),
        mail_from: (*b"a@sender.example").into(),
        prefix: prefix.into(),
    }
}

impl World {
    fn write_v1(&self, mut batch: Batch) {
        batch.insert(Space::Rows, keys::format(), FormatRow { format: 1, converting: 0 }.encode());
        self.engine.commit(batch, Durability::Synced).unwrap();
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        self.store = Store::open(Arc::clone(&self.engine) as Arc<dyn Engine>)?;
        Ok(())
    }

    /// All recipients, by base and address.
    fn all(&self) -> BTreeMap<(QueueId, String), RecipientRow> {
        let reader = self.reader();
        let mut all = BTreeMap::new();
        for found in entries(&reader, QueueId(0)) {
            let (id, row) = found.unwrap();
            for recipient in recipients(&reader, id) {
                let recipient = recipient.unwrap().1;
                let address = String::from_utf8(recipient.address.to_vec()).unwrap();
                assert!(all.insert((row.base, address), recipient).is_none(), "twice");
            }
        }
        all
    }
}

#[test]
fn messages_of_format_1_are_parted_by_domain_and_nothing_is_lost() {
    let mut world = World::new();
    let (content, id) = (world.content(), world.store.new_queue_id());
    let addresses = ["r@one.example", "s@two.example", "t@one.example", "u@three.example"];
    let rows: Vec<_> = addresses.iter().map(|address| recipient_v1(address, 700)).collect();
    let mut batch = Batch::new();
    enqueue_v1(&mut batch, id, &message_v1(content, b"P: x\r\n", 4), &rows);
    // A report, and a row of the schedule that nobody has.
    let report = world.store.new_queue_id();
    let row =
        QueueV1 { mail_from: Box::default(), sender: 0, require_tls: false, ..message_v1(content, b"", 1) };
    enqueue_v1(
        &mut batch,
        report,
        &row,
        &[RecipientV1 { notify: None, ..recipient_v1("v@one.example", 100) }],
    );
    batch.insert(Space::Rows, keys::queue_due_v1(5, QueueId(5), 5), written::due(5));
    world.write_v1(batch);
    world.reopen().unwrap();
    world.verify();

    assert_eq!(world.counts(), (4, 5, 0));
    let found: Vec<_> = entries(&world.reader(), QueueId(0)).map(Result::unwrap).collect();
    let domains: BTreeSet<_> =
        found.iter().filter(|(_, row)| row.base == id).map(|(_, row)| &*row.domain).collect();
    assert_eq!(domains, BTreeSet::from(["one.example", "two.example", "three.example"]));
    for (at, row) in found.iter().filter(|(_, row)| row.base == id) {
        assert_eq!((row.due, row.hold_until, row.created, row.sender), (700, 700, 100, 3));
        assert_eq!(
            (row.require_tls, row.smtputf8, row.ret, row.kind),
            (RequireTls::Required, true, Ret::Full, Kind::Ordinary)
        );
        assert_eq!((&*row.mail_from, &*row.envelope_id), (&b"a@sender.example"[..], &b"id"[..]));
        assert_eq!(prefix(&world.reader(), *at).unwrap(), b"P: x\r\n");
        assert_eq!(super::content(row), content);
    }
    let row = world.entry(report);
    assert_eq!(
        (row.kind, row.require_tls, row.due, row.base),
        (Kind::Report, RequireTls::Unset, 100, report)
    );
    let all = world.all();
    let recipient = &all[&(id, "s@two.example".to_owned())];
    assert_eq!(recipient.notify, Some(Notify { success: true, failure: false, delay: false }));
    assert_eq!((&*recipient.original, &recipient.result), (&b"rfc822;o@example.net"[..], &None));
    assert_eq!(all[&(report, "v@one.example".to_owned())].notify, None);

    // Once is enough: another start finds nothing to do, and an older program would refuse.
    let commits = world.engine.commits();
    world.reopen().unwrap();
    assert_eq!(world.engine.commits(), commits);
    let row = FormatRow::decode(&world.reader().get(&keys::format()).unwrap().unwrap()).unwrap();
    assert_eq!(row, FormatRow { format: FORMAT, converting: 0 });
}

#[test]
fn a_conversion_that_is_cut_off_anywhere_goes_on() {
    let converted = |world: &World| {
        let all: Vec<_> = world.all().into_keys().collect();
        assert_eq!(all.len(), 40 * 3 + 60);
        all
    };
    // The n-th commit fails, and of those that were not synced some are lost.
    let mut cut = 0;
    for nth in 1.. {
        let mut world = prepared();
        world.engine.fail_commit(nth, Fault::Write);
        if world.reopen().is_ok() {
            converted(&world);
            break;
        }
        cut += 1;
        let kept = world.engine.unsynced() / 2;
        world.engine.crash(Crash::KeepUnsynced(kept));
        let format = world.engine.snapshot().get(Space::Rows, &keys::format()).unwrap().unwrap();
        let expected = FormatRow { format: if nth == 1 { 1 } else { FORMAT }, converting: u8::from(nth > 1) };
        assert_eq!(
            FormatRow::decode(&format).unwrap(),
            expected,
            "an older program sees at once that it can't"
        );
        world.reopen().unwrap();
        world.verify();
        converted(&world);
    }
    assert!(cut > 4, "there were several batches: {cut}");
}

/// A store of format 1 whose conversion needs several batches, some of them for one message.
fn prepared() -> World {
    let world = World::new();
    let content = world.content();
    let prefix = vec![b'x'; PREFIX_OCTETS_MAX];
    let mut batch = Batch::new();
    for number in 0..40 {
        let id = world.store.new_queue_id();
        let rows: Vec<_> = ["r@one.example", "s@two.example", "t@one.example"]
            .map(|address| recipient_v1(address, number))
            .into();
        enqueue_v1(&mut batch, id, &message_v1(content, &prefix, 3), &rows);
    }
    let rows: Vec<_> = (0..60).map(|number| recipient_v1(&format!("r@d{number}.example"), 5)).collect();
    enqueue_v1(&mut batch, world.store.new_queue_id(), &message_v1(content, &prefix, 60), &rows);
    world.write_v1(batch);
    world
}

#[test]
fn a_damaged_message_of_format_1_does_not_keep_the_store_closed() {
    let mut world = World::new();
    let content = world.content();
    let mut batch = Batch::new();
    let id = world.store.new_queue_id();
    enqueue_v1(&mut batch, id, &message_v1(content, b"", 0), &[]);
    world.write_v1(batch);
    world.reopen().unwrap();
    world.verify();
    assert!(world.is_gone(id), "it was for nobody");
    let collected = world.reader().prefix(&keys::blob_gcs(BlobId(content.blob.0))).count();
    assert_eq!(collected, 1);
}

#[test]
fn a_message_of_format_1_that_cannot_be_read_is_left_and_told_of() {
    let mut world = World::new();
    let content = world.content();
    let mut batch = Batch::new();
    let ids = [world.store.new_queue_id(), world.store.new_queue_id()];
    for id in ids {
        let rows = [recipient_v1("r@one.example", 5), recipient_v1("s@two.example", 5)];
        enqueue_v1(&mut batch, id, &message_v1(content, b"", 2), &rows);
    }
    batch.insert(Space::Rows, keys::queue_recipient(ids[0], 1), [1, 2, 3]);
    world.write_v1(batch);
    world.reopen().unwrap();
    let row = |key: keys::Key| world.reader().get(&key).unwrap().unwrap();
    assert!(QueueRow::is_v1(&row(keys::queue(ids[0]))));
    assert_eq!(row(keys::queue_recipient(ids[0], 0))[0], 1);
    assert_eq!(world.entry(ids[1]).base, ids[1]);
    assert!(!verify(world.reader(), None, &mut |_| {}).unwrap().is_clean());
}

/// Format 2 had an entry under way where its next attempt was due.
#[test]
fn what_format_2_had_under_way_is_put_behind_all_others_and_released() {
    let mut world = World::new();
    let id = world.send(&["r@one.example"])[0];
    let row = world.claim(id, 1000).entry;
    let place = Scheduled { domain: domain_hash("one.example"), due: row.due, id };
    let mut batch = Batch::new();
    batch.remove(Space::Rows, keys::queue_due(place.domain, UNDERWAY, id));
    batch.insert(Space::Rows, keys::queue_due(place.domain, place.due, id), MARK);
    batch.insert(Space::Rows, keys::format(), FormatRow { format: 2, converting: 0 }.encode());
    world.engine.commit(batch, Durability::Synced).unwrap();
    world.reopen().unwrap();
    let format = FormatRow::decode(&world.reader().get(&keys::format()).unwrap().unwrap()).unwrap();
    assert_eq!(format, FormatRow { format: FORMAT, converting: 0 });
    world.verify();
    let released = release_claims(&world.reader(), QueueId(0), 10).unwrap();
    assert_eq!(released.entries, [(id, 1)]);
    world.commit(released.edit.batch);
    world.verify();
    assert_eq!(first(&world.reader(), Scheduled::start(place.domain)).unwrap(), Some(place));
}
