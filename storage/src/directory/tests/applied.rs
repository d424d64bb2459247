//! Documents that are applied in steps, with a plan that is staged.

use super::*;
use crate::directory::rows;

/// A directory of accounts with addresses and credentials, in several domains, with aliases and refusals.
pub(super) fn many(accounts: usize, mark: &str) -> String {
    let mut text = "version = 1\npostmaster = { account = \"user0\" }\n".to_owned();
    for number in 0..accounts.div_ceil(10) {
        text.push_str(&format!("[domain.\"d{number}.example\"]\nseparators = [\"+\"]\n"));
    }
    for number in 0..accounts {
        let domain = number / 10;
        text.push_str(&format!(
            "[account.user{number}]\ndomain = \"d{domain}.example\"\nfull_name = \"{mark}\"\n\
             credentials = {:?}\naddresses = [\"User{number}@d{domain}.example\", \"{mark}{number}@d{domain}.example\"]\n",
            secrets("all").to_texts()
        ));
    }
    text.push_str("[refusal]\n");
    for number in 0..accounts.div_ceil(10) {
        text.push_str(&format!("\"@d{number}.example\" = 550\n"));
    }
    for number in 0..accounts.div_ceil(10) {
        let first = number * 10;
        text.push_str(&format!(
            "[alias.\"team@d{number}.example\"]\nmembers = [\"user{first}@d{number}.example\"]\n"
        ));
    }
    text
}

#[test]
fn many_accounts_are_one_transaction() {
    let world = World::usual();
    let wanted = many(300, "first");
    let applying = Applying::new(Mode::Make, 16 << 10);
    let mut apply = applying.begin();
    let before = world.text();
    let lines = applying.steps(&world, &wanted, &mut apply).unwrap();
    assert!(apply.is_staged());
    assert!(
        lines.contains(&"+ account user299".to_owned())
            && lines.contains(&"- account fred, with its addresses".to_owned())
    );
    // It is there, and nothing of it is in its place.
    assert_ne!(world.text(), before);
    assert_eq!(Directory::new(&*world.0.snapshot()).status().unwrap().accounts, 2);
    let reading = stage::reading(world.0.snapshot());
    assert_eq!(Directory::new(&*reading).status().unwrap().accounts, 300);
    let hostnames = [domain("mx.example.org")];
    let to = address("USER70+lists@d7.example");
    let resolve = |snapshot: &dyn Snapshot| {
        Directory::new(snapshot).resolve(Recipient::Address(&to), &hostnames).unwrap()
    };
    let there = resolve(&*reading);
    assert!(matches!(there, Resolution::Account { .. }));
    // While it is moved, readers see no difference.
    let text = world.text();
    let (mut steps, mut settling) = (0, Settling::default());
    while let Settled::Step { batch, .. } = settling.step(&*world.0.snapshot()).unwrap() {
        world.0.commit(batch, Durability::Buffered).unwrap();
        assert_eq!(world.text(), text);
        assert_eq!(resolve(&*stage::reading(world.0.snapshot())), there);
        world.check();
        steps += 1;
    }
    assert!(steps > 1, "{steps}");
    assert_eq!(world.settle().unwrap(), Some(PlanState::Sealed));
    assert_eq!((world.text(), resolve(&*world.0.snapshot())), (text, there));
    // Each account has its own rows.
    for account in 3..303_u32 {
        let own = world.0.snapshot().prefix(Space::Rows, &account.to_be_bytes()).count();
        assert_eq!(own, 2, "account {account}");
    }
    // The same again changes nothing, whether it is staged or not.
    assert_eq!(applying.run(&world, &wanted).unwrap(), [""; 0]);
    assert_eq!(world.apply_text(&wanted).unwrap(), [""; 0]);
}

#[test]
fn effects_of_a_plan_are_told() {
    let world = World::usual();
    let text = world.text();
    let wanted = text.replace("[account.\"mary\"]", "[account.\"mary\"]\nquota = 7");
    let fred = wanted.find("[account.\"fred\"]").unwrap();
    let mary = wanted.find("[account.\"mary\"]").unwrap();
    let alias = wanted.find("[alias").unwrap();
    let wanted = format!("{}{}", &wanted[..fred], &wanted[mary..alias]);
    let (fred, mary) = (world.account("fred"), world.account("mary"));
    let settings = AccountSettings { quota: Some(7), ..AccountSettings::new(domain("other.example")) };
    let expected = [Effect::Removed(fred), Effect::Set(mary, Box::new(settings))];

    let staged = Applying::new(Mode::Make, 1);
    let mut apply = staged.begin();
    staged.steps(&world, &wanted, &mut apply).unwrap();
    assert_eq!(effects(&*world.0.snapshot(), None).unwrap(), (expected.to_vec(), None));

    let world = World::usual();
    let whole = Applying::new(Mode::Make, PENDING_OCTETS_MAX);
    let mut apply = whole.begin();
    apply.text(Some(wanted.as_bytes()));
    apply.text(None);
    while !apply.is_done() {
        apply.step(&*world.0.snapshot()).unwrap();
    }
    let Finish::Whole(batch) = apply.finish(&*world.0.snapshot()).unwrap() else { panic!("it was staged") };
    assert_eq!(effects_of(&*world.0.snapshot(), &batch).unwrap(), expected);
}

#[test]
fn effects_come_in_parts() {
    const ACCOUNTS: u32 = 1100;
    let world = World::new(&[]);
    world.apply_text(&many(ACCOUNTS as usize, "x")).unwrap();
    let staged = Applying::new(Mode::Make, 64 << 10);
    staged.steps(&world, "version = 1\n", &mut staged.begin()).unwrap();
    let (mut removed, mut after, mut parts) = (Vec::new(), None, 0);
    loop {
        let (part, next) = effects(&*world.0.snapshot(), after.as_deref()).unwrap();
        removed.extend(part);
        parts += 1;
        after = next;
        if after.is_none() {
            break;
        }
    }
    let expected = (1..=ACCOUNTS).map(|id| Effect::Removed(AccountId::new(id).unwrap()));
    assert!(removed.into_iter().eq(expected) && parts == 2);
}

#[test]
fn conflicts_are_found_wherever_the_two_stand() {
    let text = many(200, "x");
    let world = World::new(&[]);
    let applying = Applying::new(Mode::Make, 4 << 10);
    let last = text.replace("\"x199@d19.example\"", "\"USER0@d0.example\"");
    let fault = |text: &str| applying.run(&world, text).unwrap_err().to_string();
    let line = |text: &str, part: &str| 1 + text[..text.find(part).unwrap()].matches('\n').count();
    let at = line(&last, "\"USER0@d0.example\"");
    assert_eq!(fault(&last), format!("line {at}: USER0@d0.example is given twice"));
    let alias = text.replace("[alias.\"team@d0.example\"]", "[alias.\"x150@d15.example\"]");
    let at = line(&alias, "[alias.\"x150@d15.example\"]");
    assert_eq!(fault(&alias), format!("line {at}: x150@d15.example is given twice"));
    let account = format!("{text}[account.user7]\ndomain = \"d0.example\"\n");
    let at = line(&text, "[account.user7]") + account.matches('\n').count() - text.matches('\n').count();
    assert!(fault(&account).ends_with(": given twice") && at > 0);
    let member = text.replace("members = [\"user190@d19.example\"]", "members = [\"nobody@d19.example\"]");
    let at = line(&member, "[alias.\"team@d19.example\"]");
    assert!(fault(&member).starts_with(&format!("line {at}: nobody@d19.example cannot be a member")));
    let domain = text.replace("[domain.\"d19.example\"]", "[domain.\"d190.example\"]");
    let at = line(&domain, "[account.user190]");
    assert_eq!(fault(&domain), format!("line {at}: there is no domain d19.example; add it first"));
    assert_eq!(world.text(), "version = 1\n", "nothing is there of any");
    // Only that some numbers of accounts stay unused.
    assert_eq!(world.rows().len(), 1);
}

#[test]
fn faults_are_told_up_to_a_bound_and_counted_beyond() {
    assert_eq!(World::new(&[]).faults("version = 1\n[refusal]\n\"@\" = 550\n").len(), 1);
    let mut text = "version = 1\n[refusal]\n".to_owned();
    for number in 0..60 {
        text.push_str(&format!("\"a{number}@example.org\" = 1\n"));
    }
    let error = World::new(&[]).apply_text(&text).unwrap_err();
    let ApplyError::Document { faults, more } = &error else { panic!("{error}") };
    assert_eq!((faults.len(), *more), (50, 10));
    assert!(error.to_string().ends_with("and 10 more"));
}

#[test]
fn a_domain_of_many_addresses_changes_what_counts_in_them() {
    let world = World::new(&[]);
    let applying = Applying::new(Mode::Make, 2 << 10);
    let text = |head: &str| {
        let mut text = format!(
            "version = 1\n[domain.\"d.example\"]\n{head}\n[account.a]\ndomain = \"d.example\"\naddresses = [\n"
        );
        for number in 0..700 {
            text.push_str(&format!("\"Some{number}@d.example\",\n"));
        }
        text.push_str(
            "]\n[alias.\"Team@d.example\"]\nmembers = [\"Some1@d.example\", \"Some699@d.example\"]\n",
        );
        text
    };
    applying.run(&world, &text("")).unwrap();
    assert!(matches!(world.resolve("some5@d.example"), Resolution::Account { .. }));
    applying.run(&world, &text("case_sensitive = true")).unwrap();
    assert_eq!(world.resolve("some5@d.example"), Resolution::Unknown);
    assert!(matches!(world.resolve("Some5@d.example"), Resolution::Account { .. }));
    assert!(matches!(world.resolve("Team@d.example"), Resolution::Alias { .. }));
    // As a change by itself, in one batch.
    let settings = separated("-");
    world.apply(&[Change::SetDomain { domain: domain("d.example"), settings }]).unwrap();
    assert!(matches!(world.resolve("SOME5-x@d.example"), Resolution::Account { .. }));
    let snapshot = world.0.snapshot();
    assert_eq!(Directory::new(&*snapshot).members(&address("team@d.example")).unwrap().len(), 2);
}

/// Later versions find what this one left: these octets must not change.
#[test]
fn golden_octets_of_a_plan() {
    let world = World::usual();
    // What is said of DKIM keys is in a version of its own.
    let text = world
        .text()
        .replace("dkim = []\n", "")
        .replace("[refusal]\n", "[refusal]\n\"no@example.org\" = 451\n");
    let text = text.replace("version = 1\n", "version = 1\npostmaster = { account = \"mary\" }\n");
    let text = text.replace(
        "\n[account.\"mary\"]\n",
        &format!("tls_public_keys = [\"{}\"]\n[account.\"mary\"]\n", Fingerprint::new([b'k'; 32])),
    );
    let applying = Applying::new(Mode::Make, 1);
    applying.steps(&world, &text, &mut applying.begin()).unwrap();
    let mut found = Vec::new();
    for table in [rows::PLAN, rows::STAGED, rows::WANTED] {
        for row in world.0.snapshot().prefix(Space::Rows, &rows::table(table)) {
            let (key, value) = row.unwrap();
            found.push(format!("{} = {}", key.escape_ascii(), value.escape_ascii()));
        }
    }
    assert_eq!(found.join("\n"), include_str!("plan.txt").trim_end());
}

/// Any part of a directory reads the same through a plan, from either end.
#[test]
fn an_overlay_is_read_as_the_rows_that_it_leads_to() {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    let world = World::usual();
    let wanted = many(12, "y");
    let applying = Applying::new(Mode::Make, 1);
    applying.steps(&world, &wanted, &mut applying.begin()).unwrap();
    let sealed = stage::reading(world.0.snapshot());
    world.settle().unwrap();
    let settled = world.0.snapshot();
    let of_plan =
        |key: &[u8]| key.starts_with(&[0, 0, 0, 0]) && key.get(4).is_some_and(|table| *table > rows::LAST);
    let mut keys: Vec<_> = sealed.prefix(Space::Rows, &[]).map(|row| row.unwrap().0.to_vec()).collect();
    keys.retain(|key| !of_plan(key));
    assert!(keys.len() > 100);
    keys.push(vec![0, 0, 0, 0]);
    keys.push(rows::table(0x44));
    let read = |snapshot: &dyn Snapshot, from, to, turns: usize| {
        let mut range = snapshot.range(Space::Rows, from, to);
        let (mut front, mut back) = (Vec::new(), Vec::new());
        for turn in 0.. {
            let row = if turn % turns == 0 { range.next_back() } else { range.next() };
            let Some(row) = row.transpose().unwrap() else { break };
            if turn % turns == 0 { back.push(row) } else { front.push(row) }
        }
        back.reverse();
        front.extend(back);
        front.retain(|(key, _)| !of_plan(key));
        front
    };
    for (at, first) in keys.iter().enumerate().step_by(7) {
        for second in keys.iter().skip(at % 5).step_by(11) {
            let bounds = [
                (Included(&first[..]), Excluded(&second[..])),
                (Excluded(&first[..]), Included(&second[..])),
                (Unbounded, Included(&second[..])),
                (Included(&first[..]), Unbounded),
            ];
            for (from, to) in bounds {
                for turns in 1..4 {
                    let through = read(&*sealed, from, to, turns);
                    assert!(through == read(&*settled, from, to, usize::MAX), "{from:?} {to:?}");
                }
            }
        }
        assert_eq!(
            sealed.get(Space::Rows, first).unwrap(),
            settled.get(Space::Rows, first).unwrap(),
            "{first:?}"
        );
    }
}
