//! The thread-per-core runtime: one executor (*shard*) per core, nothing shared.
//!
//! Only this folder names the library underneath. The rest of the server uses the names exported
//! here, so a second backend (epoll, for hosts that refuse `io_uring`) can be added as one file.
//!
//! What always holds:
//! - A task that panics ends alone ([`spawn`]); a shard that dies ends the process in an orderly
//!   way ([`Runtime::join`]).
//! - A pending accept is never dropped, because the kernel's connection would be lost with it.
//! - Wakers cross threads only through [`channel`], [`oneshot`], [`Shutdown`] and [`Pool`].
//! - One task never has more than 32,767 live wakers (the task header counts them in an `i16`):
//!   never wait for tens of thousands of things in one task; spawn one task for each.

pub mod channel;
pub mod net;
pub mod oneshot;

mod notify;
mod pool;
mod preflight;
mod shards;
mod shutdown;
mod stats;
mod task;
mod time;
mod turns;

pub use notify::LocalNotify;
pub use pool::{Pool, PoolError, PoolLimits, PoolStats, Priority};
pub use preflight::{Preflight, PreflightError, preflight};
pub use shards::{Runtime, RuntimeError, RuntimeOptions, ShardDeath, ShardId, current_shard};
pub use shutdown::Shutdown;
pub use stats::{AllStats, ShardStats, StatsSnapshot};
pub use task::{Task, TaskPanicked, spawn, spawn_task, yield_if_needed, yield_now};
pub use time::{Elapsed, now, sleep, sleep_until, timeout, timeout_at};
pub use turns::{SharedTurn, Turn, Turns};

#[cfg(test)]
pub(crate) mod tests;
