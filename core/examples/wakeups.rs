//! What crossing threads and measuring polls costs.
//!
//! `cargo run --release -p postrider-core --example wakeups`

use std::future::Future;
use std::time::{Duration, Instant};

use postrider_core::runtime::{
    Pool, PoolLimits, Priority, Runtime, RuntimeOptions, ShardId, Shutdown, channel, oneshot, preflight,
    sleep, spawn_task, yield_now,
};

const ROUNDS: usize = 3000;
const YIELDS: u32 = 1_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    preflight()?;
    let (there, hither) = (channel::bounded::<usize>(16), channel::bounded::<usize>(16));
    let pool = Pool::start("worker", PoolLimits { threads: 2, queue_max: 16 }, Priority::Usual)?;
    let (to_thread, requests) = channel::bounded::<oneshot::Sender<()>>(16);
    std::thread::spawn(move || {
        while let Ok(request) = requests.recv_blocking() {
            let _ = request.send(());
        }
    });
    let runtime = Runtime::start(&RuntimeOptions::new(2), Shutdown::new(), move |shard| {
        let (there, hither) = (there.clone(), hither.clone());
        let (pool, to_thread) = (pool.clone(), to_thread.clone());
        async move {
            if shard == ShardId(1) {
                while let Ok(round) = there.1.recv().await {
                    if hither.0.send(round).await.is_err() || round == ROUNDS - 1 {
                        return;
                    }
                }
                return;
            }
            sleep(Duration::from_millis(50)).await;
            rounds("shard to shard and back, both parked", async |round| {
                let _ = there.0.send(round).await;
                let _ = hither.1.recv().await;
            })
            .await;
            rounds("oneshot by a thread and back", async |_| {
                let (sender, receiver) = oneshot::oneshot();
                let _ = to_thread.send(sender).await;
                let _ = receiver.await;
            })
            .await;
            rounds("worker pool round trip", async |_| {
                let _ = pool.run(|| ()).await;
            })
            .await;
            rounds("sleep(1 ms)", async |_| sleep(Duration::from_millis(1)).await).await;
            polls().await;
        }
    })?;
    runtime.join()?;
    Ok(())
}

async fn rounds<F: Future<Output = ()>>(name: &str, mut round: impl FnMut(usize) -> F) {
    let mut times = Vec::with_capacity(ROUNDS);
    for number in 0..ROUNDS {
        let began = Instant::now();
        round(number).await;
        times.push(began.elapsed());
    }
    times.sort();
    println!("{name}: {:?} median, {:?} at 99 %", times[ROUNDS / 2], times[ROUNDS * 99 / 100]);
}

/// A poll includes two looks at the clock and the figures kept of it.
async fn polls() {
    let began = Instant::now();
    let task = spawn_task("measured", async {
        for _ in 0..YIELDS {
            yield_now().await;
        }
    });
    let _ = task.await;
    println!("wake-up and poll of a task: {:?}", began.elapsed() / YIELDS);
}
