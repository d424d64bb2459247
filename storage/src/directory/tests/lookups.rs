use super::*;

#[test]
fn recipients_are_found_by_the_rules_of_the_product() {
    let world = World::usual();
    let (fred, mary) = (world.account("fred"), world.account("mary"));
    let at_fred = delivered(fred, "fred@example.org");
    assert_eq!(world.resolve("fred@example.org"), at_fred);
    assert_eq!(world.resolve("FRED@Example.ORG"), at_fred);
    assert_eq!(world.resolve("fred+lists@example.org"), at_fred);
    assert_eq!(world.resolve("fred+a+b@example.org"), at_fred);
    assert_eq!(world.resolve("second@example.org"), delivered(fred, "second@example.org"));
    assert_eq!(world.resolve("nobody@example.org"), Resolution::Unknown);
    // Nothing before the separator: never an empty localpart, which would be the catch-all's row.
    assert_eq!(world.resolve("+fred@example.org"), Resolution::Unknown);
    assert_eq!(world.resolve("spam@example.org"), Resolution::Refused(550));
    assert_eq!(world.resolve("anybody+x@other.example"), delivered(mary, "anybody+x@other.example"));
    assert_eq!(world.resolve("fred@elsewhere.example"), Resolution::NotLocal);
    let alias = world.resolve("TEAM+x@example.org");
    assert_eq!(
        alias,
        Resolution::Alias { address: address("team@example.org"), settings: AliasSettings::default() }
    );
    let snapshot = world.0.snapshot();
    let members = Directory::new(&*snapshot).members(&address("team@example.org")).unwrap();
    assert_eq!(members, [(fred, address("fred@example.org")), (mary, address("mary@other.example"))]);
}

#[test]
fn case_matters_where_a_domain_says_so_but_not_for_postmaster() {
    let settings = DomainSettings { case: LocalpartCase::Sensitive, ..DomainSettings::default() };
    let world = World::new(&[
        Change::AddDomain { domain: domain("x.example"), settings },
        add_account("a", "x.example"),
        add_address("Fred@x.example", "a"),
        add_address("postmaster@x.example", "a"),
    ]);
    let a = world.account("a");
    assert_eq!(world.resolve("Fred@x.example"), delivered(a, "Fred@x.example"));
    assert_eq!(world.resolve("fred@x.example"), Resolution::Unknown);
    assert_eq!(world.resolve("PostMaster@x.example"), delivered(a, "postmaster@x.example"));
}

#[test]
fn the_postmaster_gets_what_nobody_else_does() {
    let world = World::usual();
    let snapshot = world.0.snapshot();
    let none = Directory::new(&*snapshot).resolve(Recipient::Postmaster, &[domain("mx.example.org")]);
    assert_eq!(none.unwrap(), Resolution::Unknown);
    assert_eq!(world.resolve("postmaster@example.org"), Resolution::Unknown);
    assert_eq!(world.resolve("postmaster@mx.example.org"), Resolution::NotLocal);

    let mailbox = MailboxName::new("Post").unwrap();
    world.apply(&[Change::SetPostmaster(Some((name("fred"), mailbox.clone())))]).unwrap();
    let fred = world.account("fred");
    let to = |text| Resolution::Account {
        account: fred,
        mailbox: mailbox.clone(),
        address: address(text),
        destination: Destination::default(),
    };
    let snapshot = world.0.snapshot();
    let hostnames = [domain("mx.example.org")];
    let bare = Directory::new(&*snapshot).resolve(Recipient::Postmaster, &hostnames).unwrap();
    assert_eq!(bare, to("postmaster@mx.example.org"));
    assert_eq!(world.resolve("POSTMASTER@mx.example.org"), to("postmaster@mx.example.org"));
    assert_eq!(world.resolve("PostMaster@example.org"), to("postmaster@example.org"));
    assert_eq!(world.resolve("nobody@mx.example.org"), Resolution::NotLocal);
    // An account's catch-all takes it before.
    let mary = world.account("mary");
    assert_eq!(world.resolve("postmaster@other.example"), delivered(mary, "postmaster@other.example"));
}

#[test]
fn disabled_domains_take_and_send_nothing_but_log_in() {
    let world = World::usual();
    let disabled = DomainSettings { state: DomainState::Disabled, ..separated("+") };
    world.apply(&[Change::SetDomain { domain: domain("example.org"), settings: disabled }]).unwrap();
    assert_eq!(world.resolve("fred@example.org"), Resolution::DomainDisabled);
    assert_eq!(world.resolve("nobody@example.org"), Resolution::DomainDisabled);
    assert_eq!(world.may_send("fred", "fred@example.org"), SenderVerdict::DomainDisabled);
    assert_eq!(world.may_send("mary", "fred@example.org"), SenderVerdict::Refused);
    assert!(matches!(world.login("fred@example.org"), LoginAnswer::Account { .. }));
}

#[test]
fn logins_are_addresses_and_never_aliases() {
    let world = World::usual();
    world.apply(&[Change::SetSecrets { account: name("fred"), secrets: Some(secrets("f")) }]).unwrap();
    for (login, account) in [
        ("fred@example.org", "fred"),
        ("FRED+x@example.org", "fred"),
        ("mary@other.example", "mary"),
        ("whoever@other.example", "mary"),
    ] {
        let LoginAnswer::Account { account: found, secrets: stored, .. } = world.login(login) else {
            panic!("{login}")
        };
        assert_eq!(found.name, name(account), "{login}");
        assert_eq!(stored.map(|stored| *stored), (account == "fred").then(|| secrets("f")), "{login}");
    }
    for login in [
        "team@example.org",
        "spam@example.org",
        "postmaster",
        "postmaster@example.org",
        "fred",
        "fred@elsewhere.example",
        "%u",
        "@example.org",
        "@",
        "a b@example.org",
        "*@example.org",
    ] {
        assert!(matches!(world.login(login), LoginAnswer::Unknown { .. }), "{login}");
    }
}

#[test]
fn spellings_of_one_unknown_login_share_a_dummy() {
    let world = World::usual();
    let dummy = |login: &str| match world.login(login) {
        LoginAnswer::Unknown { dummy_login } | LoginAnswer::Account { dummy_login, .. } => dummy_login,
    };
    assert_eq!(dummy("nobody@example.org"), dummy("NoBody+x@EXAMPLE.org"));
    assert_eq!(dummy("fred@example.org"), dummy("FRED+x@example.org"));
    assert_eq!(dummy("a@elsewhere.example"), dummy("A@Elsewhere.example"));
    assert_ne!(dummy("nobody@example.org"), dummy("somebody@example.org"));
}

#[test]
fn accounts_send_as_their_own_addresses_and_allowed_aliases() {
    use SenderVerdict::{Allowed, Refused};
    let world = World::usual();
    assert_eq!(world.may_send("fred", "fred+x@example.org"), Allowed);
    assert_eq!(world.may_send("fred", "mary@other.example"), Refused);
    assert_eq!(world.may_send("mary", "anything@other.example"), Allowed);
    assert_eq!(world.may_send("fred", "nobody@example.org"), Refused);
    assert_eq!(world.may_send("fred", "spam@example.org"), Refused);
    assert_eq!(world.may_send("fred", "fred@elsewhere.example"), Refused);
    assert_eq!(world.may_send("fred", "team@example.org"), Refused);
    let alias = address("team@example.org");
    let settings = AliasSettings { allow_msg_from: true, ..AliasSettings::default() };
    world.apply(&[Change::SetAlias { alias: alias.clone(), settings }]).unwrap();
    assert_eq!(world.may_send("fred", "team@example.org"), Allowed);
    let member = address("fred@example.org");
    world.apply(&[Change::RemoveMember { alias, member }]).unwrap();
    assert_eq!(world.may_send("fred", "team@example.org"), Refused);
    assert_eq!(world.may_send("mary", "team@example.org"), Allowed);
}

#[test]
fn whose_an_address_is_is_told_to_those_who_send_with_it() {
    let world = World::usual();
    let owner = |text: &str| {
        let snapshot = world.0.snapshot();
        Directory::new(&*snapshot).owner(&address(text)).unwrap()
    };
    let fred = Owner::Account(world.account("fred"));
    for own in ["fred@example.org", "FRED+x@example.org"] {
        assert_eq!(owner(own), fred, "{own}");
    }
    assert_eq!(owner("anything@other.example"), Owner::Account(world.account("mary")), "by the catch-all");
    assert_eq!(owner("nobody@example.org"), Owner::Nobody);
    // Though it gets that mail, it doesn't send with it.
    assert_eq!(owner("postmaster@example.org"), Owner::Nobody);
    assert_eq!(owner("fred@elsewhere.example"), Owner::NotOurs);
    assert_eq!(owner("spam@example.org"), Owner::Refused(550));
    let Owner::Alias { address: alias, settings } = owner("Team+x@example.org") else { panic!("no alias") };
    assert_eq!((alias.to_string().as_str(), settings.allow_msg_from), ("team@example.org", false));
    let senders = |count| {
        let snapshot = world.0.snapshot();
        Directory::new(&*snapshot).senders(&alias, count).unwrap()
    };
    let mut both = vec![world.account("fred"), world.account("mary")];
    both.sort_unstable();
    assert_eq!(senders(10), both);
    // Two addresses of one account are one sender.
    let member = address("second@example.org");
    world.apply(&[Change::AddMember { alias: alias.clone(), member }]).unwrap();
    assert_eq!((senders(10), senders(2)), (both.clone(), both.clone()));
    assert_eq!((senders(1), senders(0)), (both[..1].to_vec(), Vec::new()));
}

/// 200,000 accounts: a recipient takes at most four point reads, and no range.
#[test]
fn lookups_are_point_reads_however_many_accounts_there_are() {
    const ACCOUNTS: usize = 200_000;
    const STEP: usize = 20_000;
    let engine = MemoryEngine::new();
    let commit = |changes: &[Change]| {
        let batch = plan(&*engine.snapshot(), changes, &Limits::DEFAULT, 0).unwrap();
        engine.commit(batch, Durability::Buffered).unwrap();
    };
    commit(&[
        Change::AddDomain { domain: domain("big.example"), settings: separated("+") },
        add_account("root", "big.example"),
        Change::SetPostmaster(Some((name("root"), MailboxName::inbox()))),
    ]);
    for start in (0..ACCOUNTS).step_by(STEP) {
        let changes: Vec<_> = (start..start + STEP)
            .flat_map(|n| {
                let user = format!("u{n}");
                [add_account(&user, "big.example"), add_address(&format!("{user}@big.example"), &user)]
            })
            .collect();
        commit(&changes);
    }
    let snapshot = Counting::new(engine.snapshot());
    let hostnames = [domain("mx.big.example")];
    for (to, most) in [
        ("u123456@big.example", 2),
        ("U199999+x@big.example", 2),
        ("nobody@big.example", 3),
        ("postmaster@big.example", 4),
        ("postmaster@mx.big.example", 1),
        ("a@elsewhere.example", 1),
    ] {
        let address = address(to);
        let (resolution, gets, ranges) =
            snapshot.of(|directory| directory.resolve(Recipient::Address(&address), &hostnames));
        assert_eq!((gets, ranges), (most, 0), "{to}");
        let known = to.to_lowercase().starts_with('u') || to.starts_with("postmaster");
        assert_eq!(matches!(resolution.unwrap(), Resolution::Account { .. }), known, "{to}");
    }
    let login = Login::new(b"u7@big.example", &postrider_proto::sasl::Limits::DEFAULT).unwrap();
    let (answer, gets, ranges) = snapshot.of(|directory| directory.login(&login));
    assert!(matches!(answer.unwrap(), LoginAnswer::Account { .. }));
    assert_eq!((gets, ranges), (4, 0));
    let (status, gets, ranges) = snapshot.of(|directory| directory.status());
    assert_eq!(status.unwrap().accounts as usize, ACCOUNTS + 1);
    assert_eq!((gets, ranges), (1, 0), "counting scans nothing");

    // A page is one range; the pages together are everything, once.
    let (page, gets, ranges) = snapshot.of(|directory| directory.accounts(None, 100));
    assert_eq!((page.unwrap().len(), gets, ranges), (100, 0, 1));
    let directory = Directory::new(&snapshot);
    let (mut after, mut seen) = (None, 0);
    loop {
        let page = directory.accounts(after, 9999).unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        seen += page.len();
    }
    assert_eq!(seen, ACCOUNTS + 1);
    let after = directory.domain_addresses(&domain("big.example"), Some("u199998"), 5).unwrap();
    assert_eq!(after.iter().map(|(at, _, _)| at.as_str()).collect::<Vec<_>>()[0], "u199999");
}
