use super::*;

#[test]
fn errors_name_the_object_and_what_to_do() {
    let world = World::usual();
    let inbox = MailboxName::inbox();
    for (change, message) in [
        (
            Change::AddDomain { domain: domain("example.org"), settings: DomainSettings::default() },
            "domain example.org exists already",
        ),
        (Change::RemoveDomain(domain("no.example")), "there is no domain no.example; add it first"),
        (
            Change::RemoveDomain(domain("example.org")),
            "domain example.org is still used, for example by address fred@example.org; remove what uses it first",
        ),
        (add_account("fred", "example.org"), "account fred exists already"),
        (add_account("new", "no.example"), "there is no domain no.example; add it first"),
        (add_address("a@example.org", "nobody"), "there is no account nobody"),
        (add_address("a@no.example", "fred"), "there is no domain no.example; add it first"),
        (
            add_address("fReD@example.org", "mary"),
            "address fReD@example.org exists already, as Fred@example.org",
        ),
        (
            add_address("team@example.org", "mary"),
            "address team@example.org exists already, as team@example.org",
        ),
        (add_address("@other.example", "fred"), "address @other.example exists already, as @other.example"),
        (
            add_address("a+b@example.org", "fred"),
            "address a+b@example.org contains the separator \"+\" of its domain; leave out the separator and what follows it",
        ),
        (
            Change::RemoveAddress(pattern("fred@example.org")),
            "address fred@example.org is a member of alias team@example.org; remove it there first",
        ),
        (Change::RemoveAddress(pattern("no@example.org")), "there is no address no@example.org"),
        (
            Change::RemoveAddress(pattern("team@example.org")),
            "address team@example.org does not belong to an account",
        ),
        (
            Change::SetAddress { address: pattern("spam@example.org"), mailbox: inbox.clone() },
            "address spam@example.org does not belong to an account",
        ),
        (
            Change::AddRefusal { address: pattern("b@example.org"), code: 250 },
            "address b@example.org cannot answer 250; possible are 421, 451 and 550",
        ),
        (
            Change::RemoveAccount { name: name("mary"), mail: HeldMail::Keep },
            "address mary@other.example is a member of alias team@example.org; remove it there first",
        ),
        (Change::SetPostmaster(Some((name("nobody"), inbox))), "there is no account nobody"),
        (Change::RemoveAlias(address("fred@example.org")), "there is no alias fred@example.org"),
        (
            add_alias("list@example.org", &["someone@elsewhere.example"]),
            "someone@elsewhere.example cannot be a member of alias list@example.org: members are addresses of accounts of this server",
        ),
        (
            add_alias("list@example.org", &["caught@other.example"]),
            "caught@other.example cannot be a member of alias list@example.org: members are addresses of accounts of this server",
        ),
        (
            add_alias("list@example.org", &["team@example.org"]),
            "team@example.org cannot be a member of alias list@example.org: members are addresses of accounts of this server",
        ),
        (
            add_alias("list@example.org", &[]),
            "alias list@example.org would have no members; add one, or remove the alias",
        ),
        (
            Change::AddMember { alias: address("team@example.org"), member: address("FRED@example.org") },
            "FRED@example.org is a member of alias team@example.org already",
        ),
        (
            Change::RemoveMember {
                alias: address("team@example.org"),
                member: address("second@example.org"),
            },
            "second@example.org is not a member of alias team@example.org",
        ),
    ] {
        assert_eq!(world.refused(change), message);
    }
}

#[test]
fn a_plan_that_fails_late_leaves_nothing_behind() {
    let world = World::usual();
    let before = world.text();
    let result = world.apply(&[add_account("new", "example.org"), add_address("fred@example.org", "new")]);
    assert!(matches!(result, Err(DirectoryError::AddressExists { .. })));
    assert_eq!(world.text(), before);
}

#[test]
fn later_changes_see_earlier_ones() {
    let world = World::usual();
    world
        .apply(&[
            Change::RemoveMember { alias: address("team@example.org"), member: address("fred@example.org") },
            Change::RemoveMember {
                alias: address("team@example.org"),
                member: address("mary@other.example"),
            },
            Change::AddMember { alias: address("team@example.org"), member: address("second@example.org") },
            Change::RemoveAddress(pattern("fred@example.org")),
            add_address("FRED@example.org", "mary"),
        ])
        .unwrap();
    assert_eq!(world.resolve("fred@example.org"), delivered(world.account("mary"), "fred@example.org"));
    let emptied =
        Change::RemoveMember { alias: address("team@example.org"), member: address("second@example.org") };
    assert!(matches!(world.try_plan(&[emptied]), Err(DirectoryError::AliasEmpty(_))));
}

#[test]
fn account_numbers_are_never_used_again() {
    let world = World::usual();
    let mary = world.account("mary");
    let remove = Change::RemoveAccount { name: name("mary"), mail: HeldMail::Keep };
    world.apply(&[Change::RemoveAlias(address("team@example.org")), remove]).unwrap();
    assert_eq!(world.resolve("mary@other.example"), Resolution::Unknown, "its addresses went with it");
    let snapshot = world.0.snapshot();
    assert_eq!(Directory::new(&*snapshot).removed_accounts(10).unwrap(), [mary]);
    world.apply(&[add_account("mary", "other.example")]).unwrap();
    assert!(world.account("mary") > mary);
}

#[test]
fn an_account_with_mail_is_removed_on_request_only() {
    let world = World::usual();
    world.apply(&[Change::RemoveAlias(address("team@example.org"))]).unwrap();
    let mary = world.account("mary");
    let mut mail = crate::engine::Batch::new();
    let mut key = mary.get().to_be_bytes().to_vec();
    key.extend_from_slice(&[0x10, 0, 0, 0, 1, 0, 0, 0, 1]);
    mail.insert(Space::Rows, key, [1]);
    world.0.commit(mail, Durability::Buffered).unwrap();
    let remove = |mail| Change::RemoveAccount { name: name("mary"), mail };
    assert!(matches!(world.apply(&[remove(HeldMail::Keep)]), Err(DirectoryError::AccountHoldsMail(_))));
    world.apply(&[remove(HeldMail::Erase)]).unwrap();
}

#[test]
fn the_postmasters_account_stays() {
    let world = World::usual();
    let change = Change::SetPostmaster(Some((name("fred"), MailboxName::inbox())));
    world.apply(&[change, Change::RemoveAlias(address("team@example.org"))]).unwrap();
    let remove = Change::RemoveAccount { name: name("fred"), mail: HeldMail::Keep };
    assert!(matches!(
        world.try_plan(std::slice::from_ref(&remove)),
        Err(DirectoryError::AccountIsPostmaster(_))
    ));
    world.apply(&[Change::SetPostmaster(None), remove]).unwrap();
}

#[test]
fn a_domain_in_use_by_an_account_stays() {
    let world = World::new(&[
        Change::AddDomain { domain: domain("a.example"), settings: DomainSettings::default() },
        Change::AddDomain { domain: domain("b.example"), settings: DomainSettings::default() },
        add_account("u", "a.example"),
    ]);
    let remove = Change::RemoveDomain(domain("a.example"));
    let error = world.try_plan(std::slice::from_ref(&remove)).unwrap_err().to_string();
    assert!(error.contains("account u"), "{error}");
    let settings = AccountSettings::new(domain("b.example"));
    world.apply(&[Change::SetAccount { name: name("u"), settings }, remove]).unwrap();
}

#[test]
fn changing_what_a_domain_looks_up_moves_its_addresses() {
    let world = World::usual();
    let set = |settings| Change::SetDomain { domain: domain("example.org"), settings };
    let sensitive = DomainSettings { case: LocalpartCase::Sensitive, ..separated("+") };
    world.apply(&[set(sensitive)]).unwrap();
    let fred = world.account("fred");
    assert_eq!(world.resolve("Fred@example.org"), delivered(fred, "Fred@example.org"), "as it was added");
    assert_eq!(world.resolve("fred@example.org"), Resolution::Unknown);
    // The alias follows.
    let snapshot = world.0.snapshot();
    let members = Directory::new(&*snapshot).members(&address("team@example.org")).unwrap();
    assert_eq!(members[0], (fred, address("Fred@example.org")));
    world.apply(&[add_address("fred@example.org", "mary"), add_address("a-b@example.org", "mary")]).unwrap();
    let error = world.try_plan(&[set(separated("+"))]).unwrap_err();
    assert!(matches!(error, DirectoryError::AddressExists { .. }), "{error}");
    let dashed = DomainSettings { case: LocalpartCase::Sensitive, ..separated("-") };
    assert!(matches!(world.try_plan(&[set(dashed)]), Err(DirectoryError::Separator { .. })));
}

#[test]
fn limits_hold_at_one_past_them() {
    let world = World::usual();
    let limits = Limits::DEFAULT;
    let fits = |change: Change| world.try_plan(&[change]).is_ok();
    let account = |edit: &dyn Fn(&mut AccountSettings)| {
        let mut settings = AccountSettings::new(domain("example.org"));
        edit(&mut settings);
        Change::AddAccount { name: name("new"), settings }
    };
    let text = |octets| "x".repeat(octets);
    assert!(fits(account(&|settings| settings.full_name = text(limits.text_octets_max))));
    assert!(!fits(account(&|settings| settings.full_name = text(limits.text_octets_max + 1))));
    assert!(!fits(account(&|settings| settings.full_name = "a\nb".into())));
    let message = limits.login_disabled_octets_max;
    assert!(fits(account(&|settings| settings.login_disabled = Some(text(message)))));
    assert!(!fits(account(&|settings| settings.login_disabled = Some(text(message + 1)))));
    assert!(!fits(account(&|settings| settings.login_disabled = Some("caf\u{e9}".into()))));
    let separators = |list: Vec<String>| Change::AddDomain {
        domain: domain("new.example"),
        settings: DomainSettings { separators: list, ..DomainSettings::default() },
    };
    let several = |count: usize| (1..=count).map(|n| "+".repeat(n)).collect();
    assert!(fits(separators(several(limits.separators_max))));
    assert!(!fits(separators(several(limits.separators_max + 1))));
    assert!(fits(separators(vec!["+".repeat(limits.separator_octets_max)])));
    assert!(!fits(separators(vec!["+".repeat(limits.separator_octets_max + 1)])));
    for bad in ["", "@", "a", "\n"] {
        assert!(!fits(separators(vec![bad.into()])), "{bad:?}");
    }
    assert!(AccountName::new(&text(limits.account_name_octets_max)).is_ok());
    assert_eq!(AccountName::new(&text(limits.account_name_octets_max + 1)), Err(BadName::TooLong));
    for bad in ["", ".", "../x", "a/b", "a\0"] {
        assert!(AccountName::new(bad).is_err(), "{bad:?}");
    }
    let few = Limits { alias_members_max: 2, ..limits };
    let with = |change| plan(&*world.0.snapshot(), &[change], &few, 0);
    let members = ["fred@example.org", "second@example.org", "mary@other.example"];
    assert!(with(add_alias("l@example.org", &members[..2])).is_ok());
    assert!(with(add_alias("l@example.org", &members)).is_err());
    let more =
        Change::AddMember { alias: address("team@example.org"), member: address("second@example.org") };
    assert!(with(more).is_err());
}

#[test]
fn more_than_a_batch_is_refused_as_a_whole() {
    let world = World::usual();
    let long = "x".repeat(1024);
    let changes: Vec<_> = (0..30_000)
        .map(|n| {
            let mut settings = AccountSettings::new(domain("example.org"));
            settings.full_name.clone_from(&long);
            Change::AddAccount { name: name(&format!("n{n}")), settings }
        })
        .collect();
    assert!(matches!(world.try_plan(&changes), Err(DirectoryError::TooMany { changes: 30_000, .. })));
}
