//! Random changes, compared with a model that is a map of addresses to accounts.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::reference::{Document, diff};
use super::*;

#[derive(Clone, Default)]
struct Model {
    accounts: BTreeSet<u8>,
    addresses: BTreeMap<u8, u8>,
    aliases: BTreeMap<u8, BTreeSet<u8>>,
    /// How many rules addresses have.
    rules: BTreeMap<u8, u8>,
}

#[derive(Clone, Copy, Debug)]
enum Op {
    AddAccount(u8),
    RemoveAccount(u8),
    AddAddress(u8, u8),
    RemoveAddress(u8),
    AddAlias(u8, u8),
    RemoveAlias(u8),
    AddMember(u8, u8),
    RemoveMember(u8, u8),
    SetRules(u8, u8),
}

fn user(n: u8) -> String {
    format!("user{n}")
}

fn spot(n: u8) -> String {
    format!("a{n}@example.org")
}

impl Model {
    fn is_member(&self, spot: u8) -> bool {
        self.aliases.values().any(|members| members.contains(&spot))
    }

    /// Whether it worked.
    fn apply(&mut self, op: Op) -> bool {
        let taken = |model: &Self, at| model.addresses.contains_key(&at) || model.aliases.contains_key(&at);
        match op {
            Op::AddAccount(account) => self.accounts.insert(account),
            Op::RemoveAccount(account) => {
                let owned: Vec<_> = self
                    .addresses
                    .iter()
                    .filter(|(_, owner)| **owner == account)
                    .map(|(at, _)| *at)
                    .collect();
                if !self.accounts.contains(&account) || owned.iter().any(|at| self.is_member(*at)) {
                    return false;
                }
                self.addresses.retain(|_, owner| *owner != account);
                self.rules.retain(|at, _| self.addresses.contains_key(at));
                self.accounts.remove(&account)
            }
            Op::AddAddress(at, account) => {
                let works = self.accounts.contains(&account) && !taken(self, at);
                if works {
                    self.addresses.insert(at, account);
                }
                works
            }
            Op::RemoveAddress(at) => {
                let works = !self.is_member(at) && self.addresses.remove(&at).is_some();
                if works {
                    self.rules.remove(&at);
                }
                works
            }
            Op::SetRules(at, count) => {
                let works = self.addresses.contains_key(&at);
                if works {
                    self.rules.insert(at, count);
                }
                works
            }
            Op::AddAlias(at, member) => {
                let works = !taken(self, at) && self.addresses.contains_key(&member);
                if works {
                    self.aliases.insert(at, BTreeSet::from([member]));
                }
                works
            }
            Op::RemoveAlias(at) => self.aliases.remove(&at).is_some(),
            Op::AddMember(at, member) => {
                self.addresses.contains_key(&member)
                    && self.aliases.get_mut(&at).is_some_and(|members| members.insert(member))
            }
            Op::RemoveMember(at, member) => match self.aliases.get_mut(&at) {
                Some(members) if members.len() > 1 => members.remove(&member),
                _ => false,
            },
        }
    }
}

/// So many rules, each of another name.
fn rules(count: u8) -> Destination {
    let rule = |number: u8| MailRule {
        verified_domain: Some(domain(&format!("{number}.example"))),
        mailbox: Some(MailboxName::new(&format!("Box {number}")).unwrap()),
        ..MailRule::default()
    };
    let auth_required = (count % 2 == 1).then(|| format!("text {count}"));
    let reports = ReportKinds { dmarc: count % 4 == 3, tls: count % 3 == 2 };
    Destination { rules: (0..count).map(rule).collect(), auth_required, reports }
}

fn change(op: Op) -> Change {
    match op {
        Op::AddAccount(account) => add_account(&user(account), "example.org"),
        Op::RemoveAccount(account) => {
            Change::RemoveAccount { name: name(&user(account)), mail: HeldMail::Keep }
        }
        Op::AddAddress(at, account) => add_address(&spot(at).to_uppercase(), &user(account)),
        Op::RemoveAddress(at) => Change::RemoveAddress(pattern(&spot(at))),
        Op::AddAlias(at, member) => add_alias(&spot(at), &[&spot(member)]),
        Op::RemoveAlias(at) => Change::RemoveAlias(address(&spot(at))),
        Op::AddMember(at, member) => {
            Change::AddMember { alias: address(&spot(at)), member: address(&spot(member)) }
        }
        Op::RemoveMember(at, member) => {
            Change::RemoveMember { alias: address(&spot(at)), member: address(&spot(member)) }
        }
        Op::SetRules(at, count) => {
            Change::SetDestination { address: pattern(&spot(at)), destination: rules(count) }
        }
    }
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let n = || 0..5_u8;
    let op = prop_oneof![
        n().prop_map(Op::AddAccount),
        n().prop_map(Op::RemoveAccount),
        (n(), n()).prop_map(|(at, account)| Op::AddAddress(at, account)),
        (n(), n()).prop_map(|(at, account)| Op::AddAddress(at, account)),
        n().prop_map(Op::RemoveAddress),
        (n(), n()).prop_map(|(at, member)| Op::AddAlias(at, member)),
        n().prop_map(Op::RemoveAlias),
        (n(), n()).prop_map(|(at, member)| Op::AddMember(at, member)),
        (n(), n()).prop_map(|(at, member)| Op::RemoveMember(at, member)),
        (n(), n()).prop_map(|(at, count)| Op::SetRules(at, count)),
    ];
    proptest::collection::vec(op, 1..40)
}

fn check(world: &World, model: &Model) {
    for at in 0..5 {
        let expected = match (model.addresses.get(&at), model.aliases.get(&at)) {
            (Some(account), _) => Resolution::Account {
                account: world.account(&user(*account)),
                mailbox: MailboxName::inbox(),
                address: address(&spot(at)),
                destination: rules(model.rules.get(&at).copied().unwrap_or(0)),
            },
            (None, Some(_)) => {
                Resolution::Alias { address: address(&spot(at)), settings: AliasSettings::default() }
            }
            (None, None) => Resolution::Unknown,
        };
        assert_eq!(world.resolve(&spot(at)), expected);
        let snapshot = world.0.snapshot();
        let members = Directory::new(&*snapshot).members(&address(&spot(at))).unwrap();
        let members: BTreeSet<_> = members.into_iter().map(|(_, member)| member).collect();
        let expected = model.aliases.get(&at).cloned().unwrap_or_default();
        assert_eq!(members, expected.into_iter().map(|member| address(&spot(member))).collect());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// One change a transaction: it works exactly when the model says so, and every rule holds after.
    #[test]
    fn the_directory_is_the_model(ops in ops()) {
        let add = Change::AddDomain { domain: domain("example.org"), settings: DomainSettings::default() };
        let world = World::new(&[add]);
        let mut model = Model::default();
        for op in ops {
            let worked = world.apply(&[change(op)]);
            prop_assert_eq!(worked.is_ok(), model.apply(op), "{:?}: {:?}", op, worked);
        }
        check(&world, &model);
    }

    /// From any directory to any other, in one batch and staged in small ones; what is listed and what comes
    /// of it is the same as that of a plain comparison in memory.
    #[test]
    fn differences_lead_from_any_directory_to_any_other(
        before in ops(), after in ops(), separate in any::<bool>(), cased in any::<bool>(), seed in 0..3_usize,
    ) {
        let build = |ops: &[Op], settings: DomainSettings| {
            let world = World::new(&[Change::AddDomain { domain: domain("example.org"), settings }]);
            for op in ops {
                let _ = world.apply(&[change(*op)]);
            }
            world
        };
        let mut settings = DomainSettings::default();
        let goal = build(&after, settings.clone());
        if separate {
            settings.separators = vec!["+".to_owned()];
        }
        if cased {
            settings.case = LocalpartCase::Sensitive;
        }
        let wanted = goal.text();
        let expected = build(&before, settings.clone());
        let changes = diff(&Document::parse(&expected.text()), &Document::parse(&wanted), HeldMail::Keep).changes;
        let mut lines: Vec<_> = changes.iter().map(ToString::to_string).collect();
        expected.apply(&changes).unwrap();
        lines.sort();
        for pending_octets_max in [PENDING_OCTETS_MAX, 1, 400] {
            let world = build(&before, settings.clone());
            let chunk_octets = [1, 7, 1 << 16][seed];
            let tried = Applying { mode: Mode::Try, pending_octets_max, chunk_octets };
            let rows = world.rows();
            let mut found = tried.run(&world, &wanted).unwrap();
            found.sort();
            prop_assert_eq!(&found, &lines);
            prop_assert!(world.rows() == rows, "only tried");
            let made = Applying { mode: Mode::Make, ..tried };
            let mut found = made.run(&world, &wanted).unwrap();
            found.sort();
            prop_assert_eq!(&found, &lines);
            prop_assert_eq!(world.text(), wanted.clone());
            let own = |row: &(Bytes, Bytes)| row.0.starts_with(&[0, 0, 0, 0]);
            prop_assert!(world.rows().into_iter().filter(own).eq(expected.rows()));
            prop_assert_eq!(made.run(&world, &wanted).unwrap(), Vec::<String>::new());
        }
    }
}
