#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use super::*;
use crate::blobs::{self, BlobWriter, Sharing};
use crate::engine::Durability;
use crate::engine::memory::MemoryEngine;
use crate::ids::BlobId;
use crate::store::Store;
use crate::verify::verify;

fn queued(content: Content, recipients: usize) -> NewQueued {
    NewQueued {
        content,
        prefix: b"Received: x\r\n".to_vec(),
        created: 100,
        sender: AccountId::new(3),
        mail_from: b"a@example.org".to_vec(),
        require_tls: true,
        smtputf8: true,
        eight_bit: false,
        binary: false,
        ret: Ret::Full,
        envelope_id: b"id".to_vec(),
        hold_until: None,
        recipients: (0..recipients)
            .map(|number| NewRecipient {
                address: format!("r{number}@example.net").into_bytes(),
                domain: 77,
                notify: 2,
                original: b"rfc822;r@example.net".to_vec(),
            })
            .collect(),
    }
}

#[test]
fn messages_wait_with_all_they_came_with_and_go_without_trace() {
    let store = Store::open(Arc::new(MemoryEngine::new())).unwrap();
    let clean = || {
        let report = verify(store.reader(), None, &mut |_| {}).unwrap();
        assert!(report.is_clean(), "{:?}", report.violations);
    };
    let mut writer = BlobWriter::new(store.new_blob(), u64::MAX);
    writer.push(b"content").unwrap();
    let blob = writer.finish(b"", Sharing::One).unwrap();
    let (first, second) = (store.new_queue_id(), store.new_queue_id());
    let mut held = queued(blob.content, 1);
    held.hold_until = Some(900);
    let mut batch = blob.batch;
    batch.append(enqueue(first, held).unwrap());
    batch.append(enqueue(second, queued(blob.content, 3)).unwrap());
    store.engine().commit(batch, Durability::Synced).unwrap();
    clean();

    let reader = store.reader();
    assert_eq!(count(&reader).unwrap(), QueueCounts { messages: 2, recipients: 4 });
    let row = message(&reader, second).unwrap().unwrap();
    assert_eq!((row.sender, row.require_tls, row.smtputf8, row.ret), (3, true, true, Ret::Full));
    assert_eq!((&*row.mail_from, &*row.envelope_id, row.size), (&b"a@example.org"[..], &b"id"[..], 20));
    assert_eq!(content(&row), blob.content);
    let due: Vec<_> = schedule(&reader).map(|due| due.unwrap()).collect();
    assert_eq!(
        due.iter().map(|due| (due.due, due.id)).collect::<Vec<_>>(),
        [(100, second), (100, second), (100, second), (900, first)]
    );
    let (number, recipient) = recipients(&reader, first).next().unwrap().unwrap();
    assert_eq!((number, recipient.hold_until, recipient.attempts, recipient.notify), (0, 900, 0, 2));
    assert_eq!((&*recipient.address, recipient.domain), (&b"r0@example.net"[..], 77));

    for id in [first, second] {
        store.engine().commit(remove(&store.reader(), id).unwrap(), Durability::Synced).unwrap();
        clean();
    }
    let collected = blobs::collect(&store.reader(), BlobId(0), 10).unwrap();
    assert_eq!(collected.blobs, 1);
    store.engine().commit(collected.batch, Durability::Synced).unwrap();
    clean();
    assert_eq!(store.reader().prefix(&[]).count(), 1, "only the format is left");
}

#[test]
fn recipients_and_prefixes_are_limited() {
    let content = Content { blob: BlobId(1), size: 0 };
    assert!(enqueue(QueueId(1), queued(content, RECIPIENTS_MAX)).is_ok());
    let refused = enqueue(QueueId(1), queued(content, RECIPIENTS_MAX + 1));
    assert!(matches!(refused, Err(StoreError::Refused(Refusal::TooManyRecipients))));
    let mut long = queued(content, 1);
    long.prefix = vec![b'x'; PREFIX_OCTETS_MAX];
    assert!(enqueue(QueueId(1), long.clone()).is_ok());
    long.prefix.push(b'x');
    assert!(matches!(enqueue(QueueId(1), long), Err(StoreError::Refused(Refusal::PrefixTooLong))));
}
