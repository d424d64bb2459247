//! Live searches (RFC 5267): what a client makes of ADDTO and REMOVEFROM is what a new search finds.

use super::server::{Peer, Server, Setup};

/// What a client knows of a live search.
struct View {
    tag: String,
    /// The command that finds the same.
    again: String,
    sorted: bool,
    numbers: bool,
    results: Vec<u32>,
}

/// Reads lines up to the answer to `tag`; keeps the views up to date, and tells the answer's numbers.
fn follow(peer: &mut Peer, tag: &str, views: &mut [View]) -> Vec<u32> {
    let mut found = Vec::new();
    loop {
        let line = peer.line();
        if let Some(answer) = line.strip_prefix(&format!("{tag} ")) {
            assert!(answer.starts_with("OK"), "{line}");
            return found;
        }
        if let Some(numbers) = line.strip_prefix("* SEARCH").or_else(|| line.strip_prefix("* SORT")) {
            found = numbers.split_whitespace().map(|number| number.parse().unwrap()).collect();
        } else if let Some(gone) = line.strip_suffix(" EXPUNGE") {
            let gone: u32 = gone.trim_start_matches("* ").parse().unwrap();
            for view in views.iter_mut().filter(|view| view.numbers) {
                assert!(
                    !view.results.contains(&gone),
                    "{}: {gone} is removed from the results first",
                    view.tag
                );
                view.results.iter_mut().filter(|number| **number > gone).for_each(|number| *number -= 1);
            }
        } else if line.starts_with("* ESEARCH") {
            let tag = line.split('"').nth(1).unwrap();
            if let Some(view) = views.iter_mut().find(|view| view.tag == tag) {
                apply(view, &line);
            }
        } else {
            assert!(!line.contains("NOUPDATE") && !line.starts_with("EOF"), "{line}");
        }
    }
}

fn apply(view: &mut View, line: &str) {
    let (what, pairs) = line.split_once(" (").and_then(|(_, rest)| rest.split_once(" (")).unwrap();
    let pairs: Vec<&str> = pairs.strip_suffix(')').unwrap().split(' ').collect();
    for pair in pairs.chunks(2) {
        let position: usize = pair[0].parse().unwrap();
        let numbers = expanded(pair[1]);
        assert_eq!(position == 0, !view.sorted, "{line}");
        if what.ends_with("ADDTO") {
            if view.sorted {
                let rest = view.results.split_off(position - 1);
                view.results.extend(numbers);
                view.results.extend(rest);
            } else {
                view.results.extend(numbers);
                view.results.sort_unstable();
            }
        } else {
            assert!(what.ends_with("REMOVEFROM"), "{line}");
            for number in numbers {
                if view.sorted {
                    assert_eq!(view.results.remove(position - 1), number, "{line}");
                } else {
                    let at = view.results.iter().position(|known| *known == number);
                    view.results.remove(at.unwrap_or_else(|| panic!("{line}: {:?}", view.results)));
                }
            }
        }
        let mut unique = view.results.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), view.results.len(), "no result twice: {line}");
    }
}

fn expanded(set: &str) -> Vec<u32> {
    let number = |text: &str| text.parse::<u32>().unwrap();
    set.split(',')
        .flat_map(|range| match range.split_once(':') {
            Some((from, to)) => number(from)..=number(to),
            None => number(range)..=number(range),
        })
        .collect()
}

fn ask(peer: &mut Peer, tag: &str, command: &str, views: &mut [View]) -> Vec<u32> {
    peer.send(format!("{tag} {command}\r\n").as_bytes());
    follow(peer, tag, views)
}

#[test]
fn live_searches_find_what_a_new_search_finds() {
    for seed in 1..=4_u64 {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed);
        let mut random = |below: u32| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            u32::try_from(state % u64::from(below)).unwrap()
        };
        let server = Server::start(&Setup::default());
        let (mut client, mut other) = (server.log_in(), server.log_in());
        let append = |peer: &mut Peer, tag: &str, subject: u32, views: &mut [View]| {
            let message = format!("Subject: {}\r\n\r\n", "cabed".get(subject as usize..).unwrap());
            ask(peer, tag, &format!("APPEND Inbox {{{}+}}\r\n{message}", message.len()), views);
        };
        for at in 0..8 {
            append(&mut other, &format!("i{at}"), random(5), &mut []);
        }
        ask(&mut client, "s", "SELECT Inbox", &mut []);
        ask(&mut other, "s", "SELECT Inbox", &mut []);
        let mut views: Vec<View> = Vec::new();
        for (at, (name, criteria, key)) in [
            ("UID SEARCH", "", "UNDELETED"),
            ("SEARCH", "", "OR FLAGGED SUBJECT a"),
            ("UID SORT", "(SUBJECT) UTF-8 ", "UNSEEN"),
            ("SORT", "(REVERSE SUBJECT ARRIVAL) UTF-8 ", "NOT KEYWORD $k"),
            ("UID SORT", "(REVERSE SIZE) UTF-8 ", "FLAGGED UNDELETED"),
        ]
        .into_iter()
        .enumerate()
        {
            let again = format!("{name} {criteria}{key}");
            let results = ask(&mut client, &format!("f{at}"), &again, &mut []);
            let tag = format!("live{at}");
            ask(&mut client, &tag, &format!("{name} RETURN (UPDATE) {criteria}{key}"), &mut []);
            let (sorted, numbers) = (name.ends_with("SORT"), !name.starts_with("UID"));
            views.push(View { tag, again, sorted, numbers, results });
        }
        for step in 0..60 {
            let tag = format!("t{step}");
            let flags = ["\\Seen", "\\Flagged", "\\Deleted", "$k"][random(4) as usize];
            let sign = ["+", "-"][random(2) as usize];
            let uids = format!("{}:{}", 1 + random(30), 1 + random(30));
            let store = format!("UID STORE {uids} {sign}FLAGS.SILENT ({flags})");
            match random(8) {
                0 | 1 => append(&mut other, &tag, random(5), &mut []),
                2 => append(&mut client, &tag, random(5), &mut views),
                3 => {
                    ask(&mut other, &tag, "EXPUNGE", &mut []);
                }
                4 => {
                    ask(&mut client, &tag, ["EXPUNGE", "FETCH 1:* (UID)"][random(2) as usize], &mut views);
                }
                5 => {
                    ask(&mut client, &tag, &store, &mut views);
                }
                _ => {
                    ask(&mut other, &tag, &store, &mut []);
                }
            }
            if random(3) == 0 {
                ask(&mut client, &format!("n{step}"), "NOOP", &mut views);
                for at in 0..views.len() {
                    let again = views[at].again.clone();
                    let found = ask(&mut client, &format!("a{step}.{at}"), &again, &mut views);
                    assert_eq!(views[at].results, found, "seed {seed}, step {step}: {again}");
                }
            }
        }
    }
}
