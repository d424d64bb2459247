//! A killed process loses nothing that it acknowledged.

use crate::{Random, child, has_message, message, small};
use postrider_storage::committer::{Committer, Limits};
use postrider_storage::engine::Durability;
use postrider_storage::engine::fjall::FjallEngine;
use std::io::{BufRead, BufReader, Write};
use std::sync::Arc;

const KILLS: u64 = 8;

#[test]
fn a_killed_process_loses_nothing_that_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random(7);
    let mut acknowledged: u64 = 0;
    for _ in 0..KILLS {
        let mut child = child::command("crash::writes_until_killed", dir.path()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let patience = 40 + random.below(400);
        let mut seen = 0;
        for line in lines {
            let Ok(line) = line else { break };
            if let Some(number) = line.strip_prefix("acknowledged ") {
                acknowledged = acknowledged.max(number.parse().unwrap());
                seen += 1;
            }
            if seen == patience {
                child.kill().unwrap();
            }
        }
        assert!(!child.wait().unwrap().success(), "the child ended by itself");
        let store = FjallEngine::open(small(dir.path())).unwrap();
        let snapshot = postrider_storage::engine::Engine::snapshot(&store);
        for number in 1..=acknowledged {
            assert!(has_message(&*snapshot, number), "message {number} of {acknowledged} is lost");
        }
        // What was written but not seen as acknowledged is there whole or not at all.
        for number in acknowledged + 1..acknowledged + 200 {
            if has_message(&*snapshot, number) {
                acknowledged = number;
            }
        }
    }
    assert!(acknowledged > KILLS * 40);
}

#[test]
#[ignore = "runs as a child of another test"]
fn writes_until_killed() {
    let Some(dir) = child::dir() else { return };
    let engine = FjallEngine::open(small(&dir)).unwrap();
    let snapshot = postrider_storage::engine::Engine::snapshot(&engine);
    let mut number = 1;
    while has_message(&*snapshot, number) {
        number += 1;
    }
    drop(snapshot);
    let committer = Committer::start(Arc::new(engine), Limits::default(), |_| {}).unwrap();
    let mut random = Random(number);
    loop {
        let length = random.below(30_000) as usize;
        let content = random.octets(length);
        let durability = if random.below(3) == 0 { Durability::Buffered } else { Durability::Synced };
        committer.commit_blocking(message(number, &content), durability).unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "acknowledged {number}").and_then(|()| out.flush()).unwrap();
        number += 1;
    }
}
