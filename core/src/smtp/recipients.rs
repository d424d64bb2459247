//! Whom a message goes to: what is behind each recipient (product 1.7), and what all behind it decide (1.12, 1.14).

use std::collections::HashSet;
use std::sync::Arc;

use postrider_proto::address::{Address, Domain};
use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::smtp::Reply;
use postrider_proto::smtp::envelope::Envelope;
use postrider_proto::smtp::reply::Class;
use postrider_storage::directory::{
    AddressPattern, AliasSettings, Destination, Directory, Recipient, ReportKinds, Resolution,
};
use postrider_storage::engine::EngineError;
use postrider_storage::ids::AccountId;
use postrider_storage::reader::Reader;
use tracing::{error, warn};

use super::checks::decision::{Decision, Treatment};
use super::checks::rules::{self, Budget, Facts, Ruled};
use super::connection::Connection;
use super::rehearsal::Wish;
use crate::metrics;

const NOT_A_MEMBER: Reply =
    Reply::new(Class::Permanent, 50, (7, 2), "this list takes messages of its members only");

/// Where an accepted recipient's mail goes.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// Into a mailbox.
    Account {
        /// The account.
        account: AccountId,
        /// Its mailbox.
        mailbox: MailboxName,
        /// The recipient as it was given, for `Delivered-To`.
        delivered_to: Option<Address>,
        /// What else is set for the address. That itself isn't kept: it may be large, and recipients many.
        settings: Settings,
        /// Which reports are read of what comes there.
        reads: ReportKinds,
        /// The id of a message of the account that is in the address.
        from_id: Option<Box<str>>,
    },
    /// To the members of an alias.
    Alias {
        /// The alias.
        address: Address,
        /// Who may write to it.
        settings: AliasSettings,
    },
    /// To another server, by the queue.
    Remote,
    /// To nobody: the sender learns it after the content.
    Unknown,
    /// An address of a local instance that asks for a reply.
    Rehearsal(Wish),
}

/// What is set for an address of an account.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Settings {
    /// Nothing.
    Absent,
    /// Something that looks at addresses and what confirms them.
    OfEnvelope,
    /// Something that looks at the header, too.
    OfHeader,
}

impl Settings {
    pub(super) fn of(destination: &Destination) -> Self {
        match destination {
            destination if destination.decides_nothing() => Self::Absent,
            destination if destination.needs_header() => Self::OfHeader,
            _ => Self::OfEnvelope,
        }
    }
}

impl Target {
    /// Whether the header has to be kept for what is set there. What members of an alias have isn't known yet.
    pub(super) const fn needs_header(&self) -> bool {
        matches!(self, Self::Account { settings: Settings::OfHeader, .. } | Self::Alias { .. })
    }

    /// Whether it may refuse a message that others take.
    pub(super) const fn may_refuse(&self) -> bool {
        matches!(self, Self::Unknown) || self.has_settings()
    }

    const fn has_settings(&self) -> bool {
        match self {
            Self::Account { settings, .. } => !matches!(settings, Settings::Absent),
            Self::Alias { .. } => true,
            Self::Remote | Self::Unknown | Self::Rehearsal(_) => false,
        }
    }
}

/// What is behind a recipient.
#[derive(Debug)]
pub(super) enum Place {
    /// Mailboxes; several for an alias.
    Mailboxes(Vec<Drop>),
    /// The queue.
    Queue,
    /// Nothing, and this is told.
    Refused(Reply),
    /// Nothing, until more is known.
    Waits(Reply),
    /// What a local instance does on demand.
    Rehearsal(Wish),
}

/// One mailbox that gets the message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Drop {
    pub(super) account: AccountId,
    pub(super) delivered_to: Option<Address>,
    /// What the rules there say.
    pub(super) ruled: Ruled,
    /// What was decided there.
    pub(super) reason: metrics::Reason,
    /// Why what DMARC says doesn't count there, where it would.
    pub(super) dmarc_override: Option<&'static str>,
    /// It would have been refused, and goes where such mail is kept, as read.
    pub(super) is_reject: bool,
    /// The id of a message of the account for which it came: it may be a report on it.
    pub(super) from_id: Option<Box<str>>,
}

impl Drop {
    fn new(account: AccountId, delivered_to: Option<Address>, ruled: Ruled) -> Self {
        let reason = metrics::Reason::Unchecked;
        Self { account, delivered_to, ruled, reason, dmarc_override: None, is_reject: false, from_id: None }
    }

    /// Which reports are read of what comes here. What would be refused isn't read.
    pub(super) fn reads(&self) -> ReportKinds {
        if self.is_reject { ReportKinds::default() } else { self.ruled.reads }
    }

    /// Whether a message is kept for which this was decided, although it is refused. What may be accepted when DNS says
    /// more comes again instead.
    pub(super) fn keeps(&self, decision: &Decision) -> bool {
        decision.refusal.is_some() && self.ruled.accept_rejects_to.is_some() && !decision.waits_for_dns()
    }
}

/// What was decided for one mailbox.
pub(super) struct Judgement {
    pub(super) decision: Decision,
    /// Why what DMARC says doesn't count there, where it would.
    pub(super) dmarc_override: Option<&'static str>,
}

impl Place {
    /// Lets all mailboxes behind a recipient decide. A message for several is accepted when one of them accepts it, and
    /// then goes to all of them (product 1.14): an alias is one recipient, which gets what is sent to it or doesn't.
    pub(super) fn judge(self, mut decide: impl FnMut(&Drop) -> Judgement) -> Self {
        let Self::Mailboxes(mut drops) = self else { return self };
        let mut accepted = drops.is_empty();
        let mut refused: Option<Reply> = None;
        let mut waits = false;
        for drop in &mut drops {
            let Judgement { decision, dmarc_override } = decide(drop);
            let decision_waits = decision.waits_for_dns();
            drop.is_reject = drop.keeps(&decision);
            (drop.reason, drop.dmarc_override) = (decision.reason, dmarc_override);
            match decision.refusal {
                None => accepted = true,
                Some(_) if drop.is_reject => accepted = true,
                // What may yet be accepted comes again.
                Some(reply) => {
                    if refused.is_none() || decision_waits || (reply.class() == Class::Transient && !waits) {
                        refused = Some(reply);
                    }
                    waits |= decision_waits;
                }
            }
        }
        match refused {
            Some(reply) if !accepted && waits => Self::Waits(reply),
            Some(reply) if !accepted => Self::Refused(reply),
            _ => Self::Mailboxes(drops),
        }
    }

    /// Which reports are read of what comes to the mailboxes behind it.
    pub(super) fn reads(&self) -> impl Iterator<Item = ReportKinds> {
        let drops = match self {
            Self::Mailboxes(drops) => drops.as_slice(),
            Self::Queue | Self::Refused(_) | Self::Waits(_) | Self::Rehearsal(_) => &[],
        };
        drops.iter().map(Drop::reads)
    }

    /// What the mailboxes behind it want.
    pub(super) fn treatments(&self) -> impl Iterator<Item = &Treatment> {
        let drops = match self {
            Self::Mailboxes(drops) => drops.as_slice(),
            Self::Queue | Self::Refused(_) | Self::Waits(_) | Self::Rehearsal(_) => &[],
        };
        drops.iter().map(|drop| &drop.ruled.treatment)
    }
}

/// What is looked up of the recipients of a message at its end.
struct Search {
    targets: Vec<Target>,
    facts: Facts,
    /// The author.
    from: Option<Address>,
    /// Who is addressed directly.
    direct: HashSet<Address>,
    hostnames: Arc<[Domain]>,
    budget: Budget,
}

impl Connection {
    /// What is behind each of the recipients, and what rules say there of a message with these facts.
    pub(super) async fn places(
        &self,
        targets: Vec<Target>,
        envelope: &Envelope,
        from: Option<&Address>,
        facts: Facts,
    ) -> Result<Vec<Place>, Reply> {
        if !targets.iter().any(Target::has_settings) {
            return Ok(targets.into_iter().map(plain).collect());
        }
        let search = Search {
            targets,
            facts,
            from: from.cloned(),
            direct: envelope.recipients.iter().filter_map(|one| one.path.address().cloned()).collect(),
            hostnames: Arc::clone(&self.service.hostnames),
            budget: Budget::default(),
        };
        let shared = Arc::clone(&self.shard.shared);
        // Expressions may take long to compile and to search for, and an alias has many members.
        let found = self.shard.shared.pool.run(move || search.run(&shared.store.reader())).await;
        match found {
            Ok(Ok((places, budget))) => {
                if budget.is_used_up() {
                    warn!(cid = %self.id, "the rules of the recipients are too many to try them all on one message");
                }
                Ok(places)
            }
            Ok(Err(error)) => {
                error!(cid = %self.id, %error, "the directory could not be read");
                Err(Reply::LOCAL_ERROR)
            }
            Err(error) => {
                warn!(cid = %self.id, %error, "rules of recipients can't be tried now");
                Err(Reply::LOCAL_ERROR)
            }
        }
    }
}

/// What is behind a recipient for which nothing is set.
fn plain(target: Target) -> Place {
    match target {
        Target::Account { account, mailbox, delivered_to, reads, from_id, .. } => {
            let ruled = Ruled { reads, ..Ruled::plain(mailbox) };
            let drop = Drop::new(account, delivered_to, ruled);
            Place::Mailboxes(vec![Drop { from_id, ..drop }])
        }
        Target::Remote => Place::Queue,
        // An alias has settings.
        Target::Unknown | Target::Alias { .. } => Place::Refused(Reply::NO_SUCH_USER),
        Target::Rehearsal(wish) => Place::Rehearsal(wish),
    }
}

impl Search {
    fn run(mut self, reader: &Reader) -> Result<(Vec<Place>, Budget), EngineError> {
        let directory = Directory::new(reader.snapshot());
        let targets = std::mem::take(&mut self.targets);
        let places = targets.into_iter().map(|target| self.place(&directory, target));
        let places = places.collect::<Result<_, _>>()?;
        Ok((places, self.budget))
    }

    fn place(&mut self, directory: &Directory<'_>, target: Target) -> Result<Place, EngineError> {
        if !target.has_settings() {
            return Ok(plain(target));
        }
        match target {
            Target::Account { account, mailbox, delivered_to: Some(address), from_id, .. } => {
                let recipient = Recipient::Address(&address);
                let ruled = match directory.resolve(recipient, &self.hostnames)? {
                    Resolution::Account { account: now, mailbox, destination, .. } if now == account => {
                        rules::apply(mailbox, destination, &self.facts, &mut self.budget)
                    }
                    // It has changed hands since it was accepted.
                    _ => Ruled::plain(mailbox),
                };
                let drop = Drop::new(account, Some(address), ruled);
                Ok(Place::Mailboxes(vec![Drop { from_id, ..drop }]))
            }
            Target::Alias { address, settings } => self.members(directory, &address, settings),
            other => Ok(plain(other)),
        }
    }

    /// The members of an alias that get the message (product 1.14).
    fn members(
        &mut self,
        directory: &Directory<'_>,
        alias: &Address,
        settings: AliasSettings,
    ) -> Result<Place, EngineError> {
        let members = directory.members(alias)?;
        let from = self.from.as_ref();
        let is_member = members.iter().any(|(_, address)| Some(address) == from);
        let is_alias = settings.allow_msg_from && from == Some(alias);
        if !(settings.post_public || is_member || is_alias) {
            return Ok(Place::Refused(NOT_A_MEMBER));
        }
        let mut drops = Vec::new();
        for (account, address) in members {
            // The author has the message already; who is addressed directly gets it that way.
            if Some(&address) == self.from.as_ref() || self.direct.contains(&address) {
                continue;
            }
            let pattern = AddressPattern::Exact(address.clone());
            let ruled = match directory.destination(&pattern)? {
                Some((_, mailbox, destination)) => {
                    rules::apply(mailbox, destination, &self.facts, &mut self.budget)
                }
                None => Ruled::plain(MailboxName::inbox()),
            };
            drops.push(Drop::new(account, Some(address), ruled));
        }
        Ok(Place::Mailboxes(drops))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::metrics::Reason;

    #[derive(Clone, Copy)]
    enum Says {
        Accept,
        Refuse,
        Defer,
        /// Defers because DNS says nothing.
        Wait,
    }

    /// What is decided behind a recipient with a mailbox for each of these; the second of a pair is whether a rule
    /// keeps what is refused.
    fn judged(members: &[(Says, bool)]) -> Place {
        let mailbox = |name: &str| MailboxName::new(name).unwrap();
        let drops = (1..).zip(members).map(|(number, (_, keeps))| {
            let kept = keeps.then(|| mailbox("Rejects"));
            let ruled = Ruled { accept_rejects_to: kept, ..Ruled::plain(mailbox("Own")) };
            Drop::new(AccountId::new(number).unwrap(), None, ruled)
        });
        Place::Mailboxes(drops.collect()).judge(|drop| {
            let refuse = |reason, reply: Reply| Decision { reason, refusal: Some(reply) };
            let decision = match members[drop.account.get() as usize - 1].0 {
                Says::Accept => Decision { reason: Reason::NoBadSignals, refusal: None },
                Says::Refuse => refuse(Reason::DmarcPolicy, Reply::NO_SUCH_USER),
                Says::Defer => refuse(Reason::SpfPolicy, Reply::MAILBOX_FULL),
                Says::Wait => refuse(Reason::DmarcUnknown, Reply::LOCAL_ERROR),
            };
            Judgement { decision, dmarc_override: None }
        })
    }

    #[test]
    fn an_alias_accepts_when_one_of_its_members_does() {
        use Says::{Accept, Defer, Refuse, Wait};
        for (members, expected) in [
            (&[][..], None),
            (&[(Accept, false)], None),
            (&[(Refuse, false)], Some(Reply::NO_SUCH_USER)),
            (&[(Defer, false)], Some(Reply::MAILBOX_FULL)),
            (&[(Refuse, false), (Accept, false), (Defer, false)], None),
            (&[(Refuse, false), (Refuse, false)], Some(Reply::NO_SUCH_USER)),
            (&[(Refuse, false), (Defer, false), (Refuse, false)], Some(Reply::MAILBOX_FULL)),
            // What is kept where refused mail goes is accepted, but for what nobody knows yet.
            (&[(Refuse, true)], None),
            (&[(Defer, true)], None),
            (&[(Wait, true)], Some(Reply::LOCAL_ERROR)),
            (&[(Wait, false), (Refuse, true)], None),
            (&[(Refuse, false), (Wait, false), (Defer, false)], Some(Reply::LOCAL_ERROR)),
        ] {
            match (judged(members), expected) {
                (Place::Mailboxes(drops), None) => assert_eq!(drops.len(), members.len()),
                (Place::Waits(reply), Some(expected)) => {
                    assert_eq!((&reply, expected), (&Reply::LOCAL_ERROR, Reply::LOCAL_ERROR));
                }
                (Place::Refused(reply), Some(expected)) => {
                    assert!(reply == expected && reply != Reply::LOCAL_ERROR, "{reply:?}");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn each_member_of_an_alias_keeps_its_own_reason() {
        let members = [(Says::Accept, true), (Says::Refuse, true), (Says::Refuse, false)];
        let Place::Mailboxes(drops) = judged(&members) else { panic!("refused") };
        let found: Vec<_> = drops.iter().map(|drop| (drop.reason, drop.is_reject)).collect();
        assert_eq!(
            found,
            [(Reason::NoBadSignals, false), (Reason::DmarcPolicy, true), (Reason::DmarcPolicy, false)]
        );
    }
}
