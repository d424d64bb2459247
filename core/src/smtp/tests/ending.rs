//! Connections and servers that end or stall while messages leave: nothing is lost by that or comes twice, and nobody else has to wait.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use postrider_storage::engine::Engine;
use postrider_storage::ids::QueueId;
use postrider_storage::queue::{self, Scheduled};
use postrider_storage::rows::QueueRow;
use postrider_storage::store::Store;

use super::other_server::{self, Record};
use super::world::World;
use crate::clock::unix_now;
use crate::delivery::announce;
use crate::testing::wait_until;

const SCRIPT: &str = "
    $ORIGIN example.
    remote  MX 10 mx.remote
    mx.remote A 127.0.0.1
";
const MESSAGE: &str = "From: anna@example.org\r\nSubject: hello\r\n\r\nbody\r\n";

fn start(extensions: &'static [&'static str], stop_time: Duration) -> (World, Record) {
    let (port, record) = other_server::start(extensions);
    (World::delivering(SCRIPT, port, |config| config.delivery.stop_time = stop_time), record)
}

fn send(world: &World, to: &str) {
    let reply = world.anna().mail("anna@example.org", &[to], MESSAGE);
    assert!(reply.starts_with("250"), "{reply}");
}

/// Tells the shard that owns it of an entry.
fn tell_of(world: &World, account: &str, id: QueueId) {
    let row = queue::entry(&world.shared.store.reader(), id).unwrap().unwrap();
    let (entry, account) = (Scheduled::of(id, &row), world.account(account).unwrap());
    world.at_home(account, move |home| {
        Box::pin(async move { announce(&home, vec![entry], account.get()).await })
    });
}

fn entries(store: &Store) -> Vec<(QueueId, QueueRow)> {
    queue::entries(&store.reader(), QueueId(0)).map(Result::unwrap).collect()
}

/// What the store has when the server is gone.
fn left(world: World) -> Vec<(QueueId, QueueRow)> {
    let engine = Arc::clone(&world.engine) as Arc<dyn Engine>;
    drop(world);
    entries(&Store::open(engine).unwrap())
}

#[test]
fn a_server_that_takes_some_messages_on_a_connection_gets_all_of_them_at_once() {
    for extensions in
        [&["PIPELINING", "X-FEW"][..], &["X-FEW"], &["PIPELINING", "X-FEW-SILENTLY"], &["X-FEW-SILENTLY"]]
    {
        let (world, record) = start(extensions, Duration::ZERO);
        for count in 1..=8 {
            send(&world, "b@remote.example");
            // One that has to wait for another attempt would do so for minutes.
            wait_until(|| record.messages().len() == count && entries(&world.shared.store).is_empty());
        }
        assert!(record.connections() >= 3, "{extensions:?}");
        assert_eq!(record.messages().len(), 8, "none came twice");
    }
}

#[test]
fn what_another_server_may_have_is_waited_for_when_the_server_stops() {
    let (world, record) = start(&["PIPELINING"], Duration::from_secs(60));
    send(&world, "held@remote.example");
    wait_until(|| record.held() == 1);
    let (shutdown, letting) = (world.shared.shutdown.clone(), record.clone());
    let answer = thread::spawn(move || {
        wait_until(|| shutdown.is_stopping());
        // Longer than a server takes to stop that doesn't wait.
        thread::sleep(Duration::from_millis(500));
        letting.let_go();
    });
    let left = left(world);
    answer.join().unwrap();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(record.messages().len(), 1);
}

#[test]
fn what_no_other_server_has_is_given_back_when_the_server_stops() {
    let (world, record) = start(&["PIPELINING"], Duration::from_secs(60));
    send(&world, "slow@remote.example");
    wait_until(|| record.held() == 1);
    let left = left(world);
    let [(_, row)] = &left[..] else { panic!("{left:?}") };
    assert_eq!((row.attempts, row.claimed), (0, false), "{row:?}");
    assert!(row.due <= unix_now(), "{row:?}");
    assert!(record.messages().is_empty());
}

#[test]
fn an_answer_that_never_comes_is_not_waited_for_without_end() {
    let (world, record) = start(&["PIPELINING"], Duration::from_millis(200));
    send(&world, "held@remote.example");
    wait_until(|| record.held() == 1);
    let left = left(world);
    let [(_, row)] = &left[..] else { panic!("{left:?}") };
    assert!(row.claimed && row.attempts == 1, "it may have arrived: {row:?}");
}

#[test]
fn messages_do_not_wait_behind_one_that_stalls() {
    let (world, record) = start(&["PIPELINING"], Duration::ZERO);
    // They are due together, when all are there: the shard, which has just begun, also looks for what waits by itself.
    let due = unix_now() + 2;
    let ids = ["slow", "b", "c", "d"]
        .into_iter()
        .flat_map(|to| world.enqueue("anna", MESSAGE, &[&format!("{to}@remote.example")], due));
    // On a machine so slow that they aren't, each comes as any message does.
    ids.for_each(|id| tell_of(&world, "anna", id));
    wait_until(|| record.held() == 1 && record.messages().len() == 3);
    record.let_go();
    wait_until(|| entries(&world.shared.store).is_empty());
    assert_eq!(record.messages().len(), 4, "none came twice");
}

#[test]
fn an_account_whose_messages_stall_leaves_sessions_to_others() {
    let (port, record) = other_server::start_everywhere(&["PIPELINING"]);
    let mut script = String::from("$ORIGIN example.\n");
    for number in 1..=24 {
        script += &format!("d{number} MX 10 m{number}.d{number}\nm{number}.d{number} A 127.0.1.{number}\n");
    }
    let world = World::delivering(&script, port, |config| config.delivery.sessions_max = 4);
    for number in 1..=20 {
        send(&world, &format!("slow@d{number}.example"));
    }
    // Three of the four sessions that all shards have together.
    wait_until(|| record.held() == 3);
    // More of the first account's than are looked at for one turn stand in front of the other's.
    for _ in 0..90 {
        world.enqueue("anna", MESSAGE, &["b@d24.example"], unix_now() - 10);
    }
    for number in 21..=24 {
        let ids = world.enqueue("ben", MESSAGE, &[&format!("b@d{number}.example")], unix_now());
        tell_of(&world, "ben", ids[0]);
    }
    wait_until(|| record.messages().len() == 4);
    assert_eq!(record.held(), 3);
    record.let_go();
    wait_until(|| record.messages().len() == 24 + 90);
}
