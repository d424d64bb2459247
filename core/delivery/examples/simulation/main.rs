//! Two weeks of a queue in seconds: every decision of delivery and the schedules of shards as they are, with a
//! scripted clock, resolver and servers, of which a tenth fail in every way.
//!
//! `cargo run --release -p postrider-delivery --example simulation -- --messages 1000000 --domains 100000 --seed 1
//! --shards 2`

mod attempts;
mod engine;
mod servers;
mod world;

use std::process::ExitCode;
use std::time::Instant;

use engine::{Engine, Options};

fn main() -> ExitCode {
    let mut options = Options { messages: 1_000_000, domains: 100_000, seed: 1, shards: 2 };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().and_then(|value| value.parse::<u32>().ok());
        match (name.as_str(), value) {
            ("--messages", Some(value)) => options.messages = value,
            ("--domains", Some(value @ 1..)) => options.domains = value,
            ("--seed", Some(value)) => options.seed = value.into(),
            ("--shards", Some(value @ 1..)) => options.shards = value as usize,
            _ => {
                eprintln!("usage: simulation [--messages N] [--domains N] [--seed N] [--shards N]");
                return ExitCode::FAILURE;
            }
        }
    }
    let started = Instant::now();
    let summary = Engine::new(options).run();
    println!("{summary:#?}");
    println!("{:.1} s", started.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}
