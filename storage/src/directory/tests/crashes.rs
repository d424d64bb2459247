//! A process that dies, a disk that is full or fails, at every commit of a large change: afterwards all of it
//! is there, or nothing.

use super::applied::many;
use super::*;
use crate::engine::memory::{Crash, Fault};

const PENDING: usize = 6 << 10;

fn start() -> World {
    let world = World::new(&[]);
    world.apply_text(&many(20, "old")).unwrap();
    world.0.sync().unwrap();
    world
}

/// What is there after a crash, and that it stays so when it is settled.
fn all_or_nothing(world: &World, old: &str, new: &str, case: &str) -> bool {
    world.check();
    let seen = world.text();
    assert!(seen == old || seen == new, "{case}: half of it is there");
    let settled = world.settle().unwrap();
    assert_eq!(settled == Some(PlanState::Sealed), settled.is_some() && seen == new, "{case}");
    assert_eq!(world.text(), seen, "{case}: settling changed what is there");
    assert_eq!(plan_state(&*world.0.snapshot()).unwrap(), None);
    let snapshot = world.0.snapshot();
    let known = |id: u32| {
        let id = AccountId::new(id).unwrap();
        Directory::new(&*snapshot).account(id).unwrap().is_some()
            || snapshot.contains(Space::Rows, &removed_account(id)).unwrap()
    };
    for (key, _) in world.rows() {
        let owner = u32::from_be_bytes(*key.first_chunk::<4>().unwrap());
        assert!(owner == 0 || known(owner), "{case}: rows of account {owner} are left");
        assert!(owner != 0 || !(0x5d..=0x5f).contains(&key[4]), "{case}: rows of the plan are left");
    }
    seen == new
}

/// Numbers of accounts that were handed to rows once are never given to others.
fn numbers_are_fresh(world: &World, used_up_to: u32, case: &str) {
    let head = "version = 1\n[domain.\"n.example\"]\n[account.newest]\ndomain = \"n.example\"\n";
    world.apply_text(head).unwrap();
    assert!(world.account("newest").get() > used_up_to, "{case}");
}

#[test]
fn a_crash_at_any_commit_leaves_all_or_nothing() {
    let (old, new) = (start().text(), {
        let world = start();
        world.apply_text(&many(40, "new")).unwrap();
        world.text()
    });
    let wanted = many(40, "new");
    let applying = Applying::new(Mode::Make, PENDING);
    let mut outcomes = [0, 0];
    let mut whole = false;
    for nth in 1.. {
        let mut kinds = vec![None];
        for fault in [Fault::Full, Fault::Write, Fault::Sync] {
            for kept in [0, 1, 5, usize::MAX] {
                kinds.push(Some((fault, kept)));
            }
        }
        for kind in kinds.into_iter().flatten() {
            let (fault, kept) = kind;
            let case = format!("commit {nth}, {fault:?}, {kept} kept");
            let world = start();
            let mut apply = applying.begin();
            world.0.fail_commit(nth, fault);
            let done = applying.steps(&world, &wanted, &mut apply).is_ok();
            let settled = done && world.settle().is_ok();
            let acknowledged = done;
            world.0.crash(Crash::KeepUnsynced(kept));
            let there = all_or_nothing(&world, &old, &new, &case);
            assert!(there || !acknowledged, "{case}: it was acknowledged, and is not there");
            outcomes[usize::from(there)] += 1;
            if !there && kept == usize::MAX && fault == Fault::Sync {
                numbers_are_fresh(&world, 20, &case);
            }
            whole = settled;
        }
        if whole {
            break;
        }
    }
    assert!(outcomes.iter().all(|count| *count > 10), "{outcomes:?}");
}

#[test]
fn numbers_of_accounts_that_never_came_to_be_are_not_given_out_again() {
    let world = start();
    let text = many(60, "new").replace("members = [\"user50@d5.example\"]", "members = [\"x@d5.example\"]");
    Applying::new(Mode::Make, PENDING).run(&world, &text).unwrap_err();
    numbers_are_fresh(&world, 60, "made");
    let world = start();
    Applying::new(Mode::Try, PENDING).run(&world, &text).unwrap_err();
    let head = "version = 1\n[domain.\"n.example\"]\n[account.newest]\ndomain = \"n.example\"\n";
    world.apply_text(head).unwrap();
    assert_eq!(world.account("newest").get(), 21, "only tried");
}

#[test]
fn a_crash_while_a_plan_is_thrown_away_is_gone_on_with() {
    let bad = many(60, "new").replace("members = [\"user50@d5.example\"]", "members = [\"x@d5.example\"]");
    let applying = Applying::new(Mode::Make, PENDING);
    let old = start().text();
    for nth in 1..40 {
        let world = start();
        let mut apply = applying.begin();
        applying.steps(&world, &bad, &mut apply).unwrap_err();
        world.0.fail_commit(nth, Fault::Write);
        let settled = world.settle();
        world.0.crash(Crash::KeepUnsynced(usize::MAX));
        assert!(!all_or_nothing(&world, &old, "", &format!("commit {nth}")));
        if settled.is_ok() {
            return;
        }
    }
    panic!("it never ended");
}
