//! What is refused at RCPT, so that it makes no trouble for other recipients: after the content there is one reply for all.

use postrider_proto::address::Address;
use postrider_proto::smtp::Reply;
use postrider_proto::smtp::reply::Class;
use postrider_storage::directory::Directory;
use postrider_storage::ids::AccountId;
use postrider_storage::reader::Reader;
use postrider_storage::store::StoreError;
use tracing::error;

use super::connection::Connection;
use super::recipients::Target;
use super::room::Lack;
use crate::accounts::quota_of;
use crate::clock::unix_now;

/// Members of an alias that are asked whether they have room, before mail for it is accepted.
const MEMBERS_ASKED_MAX: usize = 16;

const ALONE: Reply =
    Reply::new(Class::Transient, 52, (5, 3), "one of these recipients has to be sent this message alone");

impl Connection {
    /// Refuses now what would make trouble for others after the content, which has one reply for all recipients.
    pub(super) async fn admit(&mut self, target: Target) -> Result<Target, Reply> {
        if !self.is_incoming() {
            return Ok(target);
        }
        // Nobody would be told who doesn't get the message after all: who may refuse it has to be alone, so that the reply
        // is about nobody else.
        if !self.targets.is_empty() && !self.is_sender_confirmed() {
            if matches!(target, Target::Unknown) {
                return Err(Reply::NO_SUCH_USER);
            }
            if target.may_refuse() || self.targets.iter().any(Target::may_refuse) {
                return Err(ALONE);
            }
        }
        let checked = match &target {
            Target::Account { account, .. } => self.check_room(*account).await,
            Target::Alias { address, .. } => self.check_members(address.clone()).await,
            Target::Remote | Target::Unknown | Target::Rehearsal(_) => Ok(()),
        };
        if checked == Err(Reply::TOO_MUCH_MAIL) {
            self.slow_down();
        }
        checked.map(|()| target)
    }

    /// Whether any member of an alias can take mail now. Of a large one, that is supposed.
    async fn check_members(&self, alias: Address) -> Result<(), Reply> {
        let read = move |reader: &Reader| {
            Ok(Directory::new(reader.snapshot()).some_members(&alias, MEMBERS_ASKED_MAX + 1)?)
        };
        let members = match self.shard.shared.reads.run(read).await {
            Ok(members) if members.len() > MEMBERS_ASKED_MAX => return Ok(()),
            Ok(members) => members,
            Err(error) => {
                error!(cid = %self.id, %error, "the directory could not be read");
                return Err(Reply::LOCAL_ERROR);
            }
        };
        let mut outcome = Ok(());
        for (account, _) in members {
            outcome = self.check_room(account).await;
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    /// Whether an account can take mail of this client now, as far as that is known without the message. Its quota is
    /// not compared with the announced size, which would tell of any address whether there is one: only with what it
    /// had no room for before.
    async fn check_room(&self, account: AccountId) -> Result<(), Reply> {
        let (peer, now) = (self.peer, unix_now());
        let limits = self.is_counted().then_some(self.service.listener.limits.smtp.deliveries);
        let announced = self.session.envelope().and_then(|envelope| envelope.declared_octets);
        let asked = self.shard.at_home(account, move |home| {
            Box::pin(async move {
                let rates = &home.rates;
                let is_used_up = limits.is_some_and(|limits| rates.is_used_up(account, peer, &limits, now));
                (is_used_up, rates.no_room.of(account, announced, now))
            })
        });
        let Ok((is_used_up, lack)) = asked.await else { return Err(Reply::SHUTTING_DOWN) };
        if is_used_up {
            return Err(Reply::TOO_MUCH_MAIL);
        }
        let octets = match lack {
            None => 1,
            Some(Lack::Room(octets)) => octets,
            Some(Lack::Trouble) => return Err(Reply::LOCAL_ERROR),
        };
        let read = async {
            let known = self.shard.ask_directory(move |directory| directory.account(account)).await?;
            let head = self.shard.shared.reads.run(move |reader| reader.head(account)).await?;
            Ok::<_, StoreError>(head.zip(known))
        };
        match read.await {
            Ok(Some((head, known))) if !quota_of(&known.settings).admits(&head, octets, 1) => {
                Err(Reply::MAILBOX_FULL)
            }
            // An account without rows is empty.
            Ok(_) => Ok(()),
            Err(error) => {
                error!(cid = %self.id, %account, %error, "the quota of an account could not be read");
                Err(Reply::LOCAL_ERROR)
            }
        }
    }
}
