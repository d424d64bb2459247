//! The cases of the benchmarks in time: `cargo bench --package postrider-benches`.
#![expect(clippy::unwrap_used, reason = "benchmarks")]

use std::sync::LazyLock;

use divan::Bencher;
use divan::counter::ItemsCount;
use postrider_benches::{Case, World, all};

/// Mailboxes of up to so many messages; set POSTRIDER_BENCH_MESSAGES for larger or smaller ones.
const MESSAGES_MAX: u32 = 100_000;

static MESSAGES: LazyLock<u32> = LazyLock::new(|| {
    std::env::var("POSTRIDER_BENCH_MESSAGES").map_or(MESSAGES_MAX, |text| text.parse().unwrap())
});

thread_local! {
    // Never dropped: the process ends with it.
    static WORLD: &'static World = {
        let directory = tempfile::tempdir().unwrap().keep();
        Box::leak(Box::new(World::prepare(&directory, *MESSAGES).unwrap()))
    };
}

fn main() {
    divan::main();
}

fn cases() -> Vec<String> {
    let fits = |case: &Case| case.mailbox.is_none_or(|messages| messages <= *MESSAGES);
    all().into_iter().filter(fits).map(|case| case.name).collect()
}

#[divan::bench(args = cases())]
fn case(bencher: Bencher<'_, '_>, name: &String) {
    let case = all().into_iter().find(|case| case.name == *name).unwrap();
    let world = WORLD.with(|world| *world);
    let mut run = case.ready(world).unwrap();
    case.check(run().unwrap()).unwrap();
    bencher.counter(ItemsCount::new(case.things)).bench_local(|| run().unwrap());
}
