//! What deliveries learn of the TLS of recipient domains, and how it goes.

use postrider_storage::account::tls_known;
use postrider_storage::ids::AccountId;
use postrider_storage::rows::TlsKnownRow;

use super::other_server;
use super::world::World;
use crate::clock::unix_now;
use crate::maintenance::{TLS_KNOWN_KEPT, forget_tls_known};
use crate::metrics::Upkeep;
use crate::testing::wait_until;

const SCRIPT: &str = "
    $ORIGIN example.
    remote  MX 10 mx.remote
    mx.remote A 127.0.0.1
";
const MESSAGE: &str = "From: anna@example.org\r\nSubject: hello\r\n\r\nbody";

/// Does the upkeep of an account's home, as at a time.
fn keep_up(world: &World, account: AccountId, now: i64) -> usize {
    let time = now - TLS_KNOWN_KEPT;
    world.at_home(account, move |home| Box::pin(async move { forget_tls_known(&home, time).await })).unwrap()
}

#[test]
fn what_nobody_renewed_for_half_a_year_is_forgotten_and_learnt_again() {
    // Each message has a connection of its own, by which it learns.
    let (port, record) = other_server::start(&["PIPELINING", "LIMITS MAILMAX=1"]);
    let world = World::delivering(SCRIPT, port, |_| {});
    let anna = world.account("anna").unwrap();
    // The first mail of an account makes its mailboxes.
    assert!(world.smtp().mail("", &["anna@example.org"], MESSAGE).starts_with("250"));
    let known = || tls_known(&world.shared.store.reader(), anna, "remote.example").unwrap();
    let send = |count| {
        assert!(world.anna().mail("anna@example.org", &["b@remote.example"], MESSAGE).starts_with("250"));
        wait_until(|| record.messages().len() == count && known().is_some());
    };
    send(1);
    let learnt = known().unwrap().updated;
    assert_eq!(keep_up(&world, anna, learnt + TLS_KNOWN_KEPT), 0, "it is kept for so long");
    assert!(known().is_some());
    // Days later than any clock of this test says, and not the days at which it would be noted again anyway.
    assert_eq!(keep_up(&world, anna, unix_now() + TLS_KNOWN_KEPT + TlsKnownRow::PERIOD), 1);
    assert_eq!(known(), None);
    let removed = world.shared.metrics.upkeep.removed.at([Upkeep::TlsKnown as usize]);
    assert_eq!(world.shared.registry.counter(removed), 1);
    // No shard believes that the store has it.
    send(2);
}
