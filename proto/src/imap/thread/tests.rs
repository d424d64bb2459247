#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use super::*;

/// A message: id, what it refers to, when it was sent, subject, whether that of a reply.
type Mail<'a> = (u64, &'a [u64], i64, u64, bool);

fn thread(algorithm: ThreadAlgorithm, mails: &[Mail<'_>]) -> String {
    let mut threads = Threads::new(algorithm);
    for (at, (id, references, sent, subject, is_reply)) in mails.iter().enumerate() {
        let number = Uid::new(u32::try_from(at + 1).unwrap()).unwrap();
        let id = (*id != 0).then_some(*id);
        let (references, sent, subject, is_reply) = (*references, *sent, *subject, *is_reply);
        let received = 1000 - sent;
        threads.push(&Member { number, id, references, sent, received, subject, is_reply });
    }
    written(threads)
}

fn written(threads: Threads) -> String {
    let mut order: Vec<u32> = (0..threads.len()).collect();
    order.sort_unstable_by(|a, b| threads.compare(*a, *b));
    let mut out = Vec::new();
    threads.write(&order, &mut out);
    let out = String::from_utf8(out).unwrap();
    out.strip_prefix("* THREAD").unwrap().strip_suffix("\r\n").unwrap().trim_start().to_owned()
}

fn references(mails: &[Mail<'_>]) -> String {
    thread(ThreadAlgorithm::References, mails)
}

fn refs(mails: &[Mail<'_>]) -> String {
    thread(ThreadAlgorithm::Refs, mails)
}

#[test]
fn nothing_and_one_message() {
    for algorithm in [ThreadAlgorithm::OrderedSubject, ThreadAlgorithm::References, ThreadAlgorithm::Refs] {
        assert_eq!(thread(algorithm, &[]), "");
        assert_eq!(thread(algorithm, &[(0, &[], 1, 0, false)]), "(1)");
    }
}

#[test]
fn ordered_subject_has_two_levels() {
    let mails: &[Mail<'_>] = &[
        (0, &[], 5, 1, false),
        (0, &[], 2, 2, false),
        (0, &[], 3, 1, true),
        (0, &[], 4, 1, true),
        (0, &[], 6, 2, true),
        (0, &[], 1, 3, false),
    ];
    assert_eq!(thread(ThreadAlgorithm::OrderedSubject, mails), "(6)(2 5)(3 (4)(1))");
}

#[test]
fn the_tree_of_rfc_5256() {
    // The example of §4: 3 and 6 above 4 with 23, and 44 with 7 and 96.
    let mut mails: Vec<Mail<'_>> = vec![(0, &[], 0, 0, false); 96];
    for (number, parent) in [(3, 0), (6, 3), (4, 6), (23, 4), (44, 6), (7, 44), (96, 7)] {
        let parents: &[u64] = [&[][..], &[3], &[4], &[6], &[7], &[44]]
            .into_iter()
            .find(|parents| parents.first().copied().unwrap_or(0) == parent)
            .unwrap();
        mails[number - 1] = (number as u64, parents, number as i64, 0, false);
    }
    let told = refs(&mails);
    assert!(told.contains("(3 6 (4 23)(44 7 96))"), "{told}");
    // ((3)(5)): children of a message that isn't there.
    assert_eq!(refs(&[(1, &[9], 1, 0, false), (2, &[9], 2, 0, false)]), "((1)(2))");
}

#[test]
fn references_follow_the_steps_of_rfc_5256() {
    for (mails, told) in [
        // The last reference is the parent, those before it are its ancestors.
        (&[(1, &[][..], 1, 0, false), (2, &[1], 2, 0, false), (3, &[1, 2], 3, 0, false)][..], "(1 2 3)"),
        // Ancestors that aren't there keep nothing together by themselves.
        (&[(3, &[1, 2], 1, 0, false)], "(1)"),
        (&[(3, &[1, 2], 1, 0, false), (4, &[1, 5], 2, 0, false)], "((1)(2))"),
        (&[(1, &[], 1, 0, false), (4, &[1, 8, 9], 2, 0, false), (5, &[1, 8], 3, 0, false)], "(1 (2)(3))"),
        // A link between two ancestors is made where there is none, and kept where there is one.
        (&[(2, &[1], 1, 0, false), (3, &[7, 2], 2, 0, false), (1, &[], 3, 0, false)], "(3 1 2)"),
        // The message itself knows better than those that refer to it.
        (&[(3, &[1, 2], 1, 0, false), (1, &[], 2, 0, false), (2, &[], 3, 0, false)], "(2)(3 1)"),
        // Loops.
        (&[(1, &[1], 1, 0, false)], "(1)"),
        (&[(1, &[2], 1, 0, false), (2, &[1], 2, 0, false)], "(2 1)"),
        (&[(1, &[2, 3], 1, 0, false), (2, &[3, 1], 2, 0, false), (3, &[1, 2], 3, 0, false)], "(2 3 1)"),
        // Of two with the same id the first has it.
        (&[(1, &[], 1, 0, false), (1, &[], 2, 0, false), (3, &[1], 3, 0, false)], "(1 3)(2)"),
        (&[(1, &[], 1, 0, false), (1, &[1], 2, 0, false)], "(1 2)"),
        // Siblings by date, then by number.
        (
            &[(1, &[], 1, 0, false), (2, &[1], 9, 0, false), (3, &[1], 5, 0, false), (4, &[1], 5, 0, false)],
            "(1 (3)(4)(2))",
        ),
    ] {
        assert_eq!(references(mails), told, "{mails:?}");
    }
}

#[test]
fn threads_with_the_same_subject_are_merged() {
    let none: &[u64] = &[];
    for (mails, told) in [
        // A reply goes below the original, whichever came first.
        (&[(1, none, 1, 5, false), (2, none, 2, 5, true)][..], "(1 2)"),
        (&[(1, none, 2, 5, false), (2, none, 1, 5, true)], "(1 2)"),
        // Two of the same kind become siblings below a message that isn't there.
        (&[(1, none, 1, 5, false), (2, none, 2, 5, false)], "((1)(2))"),
        (&[(1, none, 1, 5, true), (2, none, 2, 5, true), (3, none, 3, 5, true)], "((1)(2)(3))"),
        (&[(1, none, 1, 5, false), (2, none, 2, 5, true), (3, none, 3, 5, false)], "((1 2)(3))"),
        // Empty subjects are none.
        (&[(1, none, 1, 0, false), (2, none, 2, 0, false)], "(1)(2)"),
        // Messages that a missing parent keeps together take in others, and one another.
        (&[(1, &[8], 1, 5, true), (2, &[8], 2, 5, true), (3, none, 3, 5, false)], "((1)(2)(3))"),
        (
            &[(1, &[8], 1, 5, true), (2, &[8], 4, 5, true), (3, &[9], 2, 5, true), (4, &[9], 3, 5, true)],
            "((1)(3)(4)(2))",
        ),
        // Only the subject of the first in a thread counts.
        (&[(1, none, 1, 5, false), (2, &[1], 2, 6, true), (3, none, 3, 6, false)], "(1 2)(3)"),
    ] {
        assert_eq!(references(mails), told, "{mails:?}");
    }
}

#[test]
fn refs_ignores_subjects_and_puts_the_newest_thread_last() {
    // Received in the opposite order of sending.
    let mails: &[Mail<'_>] = &[(1, &[], 1, 5, false), (2, &[1], 9, 5, true), (3, &[], 5, 5, true)];
    assert_eq!(refs(mails), "(3)(1 2)");
    let mails: &[Mail<'_>] = &[(1, &[], 4, 5, false), (2, &[1], 2, 5, true), (3, &[], 3, 5, true)];
    assert_eq!(refs(mails), "(3)(1 2)");
    let mails: &[Mail<'_>] = &[(1, &[8], 4, 5, false), (2, &[8], 2, 5, true), (3, &[], 1, 5, true)];
    assert_eq!(refs(mails), "((2)(1))(3)");
}

#[test]
fn depth_costs_no_stack_and_is_told_up_to_a_limit() {
    const COUNT: u32 = 100_000;
    let mail = |threads: &mut Threads, at: u32, parent: u32| {
        let number = Uid::new(at).unwrap();
        let references: &[u64] = &[u64::from(parent)];
        let references = if parent == 0 { &[] } else { references };
        let id = Some(u64::from(at));
        let sent = i64::from(at);
        threads.push(&Member { number, id, references, sent, received: 0, subject: 1, is_reply: false });
    };
    // One chain, from either end.
    for backwards in [false, true] {
        let mut threads = Threads::new(ThreadAlgorithm::References);
        for at in 1..=COUNT {
            mail(&mut threads, at, if backwards { (at + 1) % (COUNT + 1) } else { at - 1 });
        }
        let told = written(threads);
        assert!(!told.contains(") ") && told.matches('(').count() == 1, "one chain");
        assert_eq!(told.split(' ').count(), COUNT as usize);
    }
    // A comb: each has a child without and one with children.
    let mut threads = Threads::new(ThreadAlgorithm::Refs);
    for at in 1..=COUNT {
        mail(&mut threads, at, if at == 1 { 0 } else { (at - 1) / 2 * 2 });
    }
    let told = written(threads);
    let (mut depth, mut deepest) = (0usize, 0);
    for octet in told.bytes() {
        match octet {
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    assert_eq!(depth, 0);
    assert!(deepest <= NESTING_MAX, "{deepest}");
    let mut numbers: Vec<u32> = told
        .split(['(', ')', ' '])
        .filter(|word| !word.is_empty())
        .map(|word| word.parse().unwrap())
        .collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(1..=COUNT), "each once");
}

#[test]
fn the_nesting_is_cut_at_its_limit_and_not_before() {
    // A comb of so many levels: 2k has the children 2k+1, without, and 2k+2, with children.
    let comb = |levels: u64| {
        let mut threads = Threads::new(ThreadAlgorithm::Refs);
        let mut push = |at: u64, parent: u64| {
            let number = Uid::new(u32::try_from(at).unwrap()).unwrap();
            let references: &[u64] = &[parent];
            let references = if parent == 0 { &[] } else { references };
            let sent = i64::try_from(at).unwrap();
            threads.push(&Member {
                number,
                id: Some(at),
                references,
                sent,
                received: 0,
                subject: 0,
                is_reply: false,
            });
        };
        push(1, 0);
        for level in 0..levels {
            let parent = if level == 0 { 1 } else { 2 * level + 1 };
            push(2 * level + 2, parent);
            push(2 * level + 3, parent);
        }
        written(threads)
    };
    assert_eq!(comb(2), "(1 (2)(3 (4)(5)))");
    let deepest = |told: &str| {
        let mut depth = 0i64;
        told.bytes()
            .map(|octet| {
                depth += i64::from(octet == b'(') - i64::from(octet == b')');
                depth
            })
            .max()
    };
    let limit = NESTING_MAX as u64;
    assert_eq!(deepest(&comb(limit - 1)), Some(NESTING_MAX as i64));
    assert_eq!(deepest(&comb(limit)), Some(NESTING_MAX as i64));
    assert!(comb(limit).contains(&format!("({} {} {})", 2 * limit - 1, 2 * limit, 2 * limit + 1)));
}

#[test]
fn loops_are_kept_out_at_a_bounded_cost() {
    // A deep chain, and messages with children that are hung below its end.
    let mut threads = Threads::new(ThreadAlgorithm::Refs);
    let mut push = |id: u64, references: &[u64]| {
        let number = Uid::new(threads.len() + 1).unwrap();
        threads.push(&Member {
            number,
            id: Some(id),
            references,
            sent: 0,
            received: 0,
            subject: 0,
            is_reply: false,
        });
    };
    let ((), took) = postrider_testing::processor_time(|| {
        for at in 1..10_000 {
            push(at, &[at - 1]);
        }
        for at in 20_000..23_000 {
            push(at + 50_000, &[at]);
            push(at, &[9_999]);
        }
    });
    assert!(threads.steps() > 1_000_000, "{}", threads.steps());
    assert!(took < Duration::from_secs(20), "{took:?}");
}

/// The steps of RFC 5256 §3 as they are written: trees of owned nodes, nothing remembered, and recursion.
mod plain {
    use super::*;

    #[derive(Clone, Debug)]
    pub struct Node {
        pub member: Option<usize>,
        pub parent: Option<usize>,
    }

    #[derive(Clone, Debug)]
    pub struct Tree {
        pub member: Option<usize>,
        pub children: Vec<Tree>,
    }

    pub fn references(mails: &[Mail<'_>]) -> String {
        let mut nodes: Vec<(u64, Node)> = Vec::new();
        let empty = Node { member: None, parent: None };
        for (at, (id, references, ..)) in mails.iter().enumerate() {
            let mut chain = Vec::new();
            for reference in *references {
                let known = nodes.iter().position(|(id, _)| id == reference);
                chain.push(known.unwrap_or_else(|| {
                    nodes.push((*reference, empty.clone()));
                    nodes.len() - 1
                }));
            }
            for pair in chain.windows(2) {
                if nodes[pair[1]].1.parent.is_none() && !is_in(&nodes, pair[1], pair[0]) {
                    nodes[pair[1]].1.parent = Some(pair[0]);
                }
            }
            let known =
                nodes.iter().position(|(known, node)| known == id && *id != 0 && node.member.is_none());
            let taken = nodes.iter().any(|(known, node)| known == id && node.member.is_some());
            let own = known.filter(|_| !taken).unwrap_or_else(|| {
                let unique = if taken || *id == 0 { u64::MAX - at as u64 } else { *id };
                nodes.push((unique, empty.clone()));
                nodes.len() - 1
            });
            nodes[own].1.member = Some(at);
            nodes[own].1.parent = None;
            if let Some(last) = chain.last()
                && !is_in(&nodes, own, *last)
            {
                nodes[own].1.parent = Some(*last);
            }
        }
        let mut root: Vec<Tree> = (0..nodes.len())
            .filter(|node| nodes[*node].1.parent.is_none())
            .flat_map(|node| pruned(&nodes, node, true))
            .collect();
        let sort = |trees: &mut Vec<Tree>| trees.sort_by_key(|tree| key(tree, mails));
        root.iter_mut().filter(|tree| tree.member.is_none()).for_each(|tree| sort(&mut tree.children));
        sort(&mut root);
        let mut root = merged(root, mails);
        sort_all(&mut root, mails);
        root.iter().map(told).collect()
    }

    fn is_in(nodes: &[(u64, Node)], above: usize, mut node: usize) -> bool {
        loop {
            if node == above {
                return true;
            }
            match nodes[node].1.parent {
                Some(parent) => node = parent,
                None => return false,
            }
        }
    }

    fn pruned(nodes: &[(u64, Node)], node: usize, is_top: bool) -> Vec<Tree> {
        let children: Vec<Tree> = (0..nodes.len())
            .filter(|child| nodes[*child].1.parent == Some(node))
            .flat_map(|child| pruned(nodes, child, false))
            .collect();
        match nodes[node].1.member {
            None if !is_top || children.len() <= 1 => children,
            member => vec![Tree { member, children }],
        }
    }

    fn key(tree: &Tree, mails: &[Mail<'_>]) -> (i64, usize) {
        let member = tree.member.or_else(|| tree.children.first()?.member).unwrap();
        (mails[member].2, member)
    }

    fn merged(root: Vec<Tree>, mails: &[Mail<'_>]) -> Vec<Tree> {
        let subject = |tree: &Tree| mails[tree.member.or_else(|| tree.children.first()?.member).unwrap()].3;
        let is_reply = |tree: &Tree| tree.member.is_some_and(|member| mails[member].4);
        let mut root: Vec<Option<Tree>> = root.into_iter().map(Some).collect();
        let subjects: Vec<u64> = root.iter().flatten().map(subject).collect();
        let mut table: HashMap<u64, usize> = HashMap::new();
        for at in 0..root.len() {
            if subjects[at] == 0 {
                continue;
            }
            let kept = *table.entry(subjects[at]).or_insert(at);
            let (old, new) = (root[kept].as_ref().unwrap(), root[at].as_ref().unwrap());
            if old.member.is_some() && (new.member.is_none() || (is_reply(old) && !is_reply(new))) {
                table.insert(subjects[at], at);
            }
        }
        for at in 0..root.len() {
            let Some(kept) = table.get(&subjects[at]).copied().filter(|kept| *kept != at) else { continue };
            let current = root[at].take().unwrap();
            let old = root[kept].as_mut().unwrap();
            match (old.member, current.member) {
                (None, None) => old.children.extend(current.children),
                (None, Some(_)) => old.children.push(current),
                _ if is_reply(&current) && !is_reply(old) => old.children.push(current),
                _ => {
                    let old = root[kept].take().unwrap();
                    root[kept] = Some(Tree { member: None, children: vec![old, current] });
                }
            }
        }
        root.into_iter().flatten().collect()
    }

    fn sort_all(trees: &mut [Tree], mails: &[Mail<'_>]) {
        trees.iter_mut().for_each(|tree| sort_all(&mut tree.children, mails));
        trees.sort_by_key(|tree| key(tree, mails));
    }

    fn told(tree: &Tree) -> String {
        fn inner(tree: &Tree) -> String {
            let own = tree.member.map(|member| (member + 1).to_string()).unwrap_or_default();
            let space = if own.is_empty() { "" } else { " " };
            match &tree.children[..] {
                [] => own,
                [only] => format!("{own}{space}{}", inner(only)),
                many => format!("{own}{space}{}", many.iter().map(told).collect::<String>()),
            }
        }
        format!("({})", inner(tree))
    }
}

#[test]
fn references_are_those_of_a_plain_reading_of_the_standard() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for round in 0..3_000 {
        let count = 1 + random(14);
        let (ids, subjects) = (2 + random(14), 1 + random(8));
        let owned: Vec<(u64, Vec<u64>, i64, u64, bool)> = (0..count)
            .map(|_| {
                let references = (0..random(4)).map(|_| 1 + random(ids)).collect();
                (random(ids + 1), references, random(6) as i64, random(subjects), random(2) == 0)
            })
            .collect();
        let mails: Vec<Mail<'_>> = owned
            .iter()
            .map(|(id, references, sent, subject, is_reply)| {
                (*id, &references[..], *sent, *subject, *is_reply)
            })
            .collect();
        assert_eq!(references(&mails), plain::references(&mails), "round {round}: {mails:?}");
    }
}
