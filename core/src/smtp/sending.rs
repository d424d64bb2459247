//! Mail of our own users to other servers: what is set for it, and whether it may be sent now (product 2.4).

use std::rc::Rc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use postrider_proto::address::{Address, Localpart, ReversePath};
use postrider_proto::mime::header::{fields, first, message_id, unfold};
use postrider_proto::mime::words::decode;
use postrider_proto::smtp::Reply;
use postrider_proto::smtp::reply::Class;
use postrider_proto::smtp::trace;
use postrider_storage::account::{Sent, note_recipients, note_sent, recipient_hash};
use postrider_storage::directory::{Directory, DomainSettings, MailSettings};
use postrider_storage::engine::Batch;
use postrider_storage::ids::{AccountId, QueueId};
use postrider_storage::keys;
use postrider_storage::queue::FromId;
use postrider_storage::reader::Reader;
use postrider_storage::rows::{OutgoingRow, QueueMeta};
use postrider_storage::store::StoreError;
use ring::rand::{SecureRandom, SystemRandom};
use tracing::error;

use super::allowance::{self, Exceeded, TakeError};
use super::connection::Connection;
use super::deliver::{Delivery, open_reply};
use super::policy;
use crate::config::SendingLimits;
use crate::log::ConnectionId;
use crate::metrics::Limit;
use crate::shard::Shard;

const ACCOUNT_GONE: Reply = Reply::new(Class::Permanent, 50, (7, 1), "the account is no longer there");

/// What the names of fields begin with whose values are told to programs.
const EXTRA: &str = "X-Postrider-Extra-";
const EXTRA_TWICE: Reply =
    Reply::new(Class::Permanent, 54, (6, 0), "two X-Postrider-Extra fields have one name");
const EXTRA_TOO_LARGE: Reply = Reply::new(
    Class::Permanent,
    54,
    (6, 0),
    "there are at most 32 X-Postrider-Extra fields, of 8 KiB in all",
);
/// The length of an id before it is written, in octets: nobody guesses one.
const ID_OCTETS: usize = 16;
const BAD_ID: Reply =
    Reply::new(Class::Permanent, 54, (1, 7), "the id in the sender was used before; take another one");
const ALONE: Reply =
    Reply::new(Class::Permanent, 54, (5, 3), "a message with an id of yours in its sender has one recipient");

/// What is set for what a user sends.
#[derive(Clone, Debug)]
pub(super) struct Sending {
    limits: SendingLimits,
    ids: Ids,
    /// Programs are told what becomes of it.
    pub(super) is_told: bool,
}

/// Ids in reverse paths (product 2.7).
#[derive(Clone, PartialEq, Eq, Debug)]
enum Ids {
    /// There are none.
    None,
    /// One is made for each recipient, and stands behind this.
    Made(Box<str>),
    /// The client gave this one.
    Given(Box<str>),
}

impl Sending {
    /// To how many the account may send.
    pub(super) const fn limits(&self) -> SendingLimits {
        self.limits
    }

    /// Whether another recipient may be added to one.
    pub(super) fn several(&self) -> Result<(), Reply> {
        if matches!(self.ids, Ids::Given(_)) { Err(ALONE) } else { Ok(()) }
    }

    /// The id of one recipient, with the reverse path that has it; none also where the path would be too long with it.
    pub(super) fn id(&self, reverse_path: Option<&Address>) -> Option<FromId> {
        let from = reverse_path?;
        match &self.ids {
            Ids::None => None,
            Ids::Given(id) => {
                Some(FromId { id: id.clone(), mail_from: from.to_string().into_bytes().into() })
            }
            Ids::Made(begin) => {
                let mut octets = [0; ID_OCTETS];
                SystemRandom::new().fill(&mut octets).ok()?;
                let id = BASE64_URL_SAFE_NO_PAD.encode(octets);
                let localpart = Localpart::from_decoded(&format!("{begin}{id}")).ok()?;
                let address = Address { localpart, domain: from.domain.clone() };
                Some(FromId { id: id.into(), mail_from: address.to_string().into_bytes().into() })
            }
        }
    }

    /// The id that the client gave.
    fn given(&self) -> Option<Box<str>> {
        match &self.ids {
            Ids::Given(id) => Some(id.clone()),
            Ids::None | Ids::Made(_) => None,
        }
    }
}

/// The id of an address of a domain with these settings, or what is in front of those that are made; none where it has no
/// separators.
fn ids(settings: &DomainSettings, address: &Address) -> Ids {
    match settings.id_in(address.localpart.as_str()) {
        None => Ids::None,
        Some((_, _, Some(id))) => Ids::Given(id.into()),
        Some((base, separator, None)) => Ids::Made(format!("{base}{separator}").into()),
    }
}

/// A message whose recipients are counted. It is to be put into the queue, or given back.
#[derive(Debug)]
pub(super) struct Allowed {
    account: AccountId,
    sent: Sent,
    /// To whom it goes.
    notes: Batch,
    /// The id that the client gave, which nobody else uses meanwhile.
    id: Option<Box<str>>,
}

impl Allowed {
    /// Adds to the batch of a submission what counts, under the id of its first entry.
    pub(super) fn note(mut self, batch: &mut Batch, id: QueueId) -> Self {
        batch.append(std::mem::take(&mut self.notes));
        note_sent(batch, self.account, id, self.sent);
        self
    }
}

impl Connection {
    /// Finds out what is set for what the user sends.
    pub(super) async fn begin_sending(&mut self, path: &ReversePath) -> Result<(), Reply> {
        let Some(user) = &self.user else { return Ok(()) };
        let (account, login, address) = (user.account, user.login.clone(), path.address().cloned());
        let usual = self.shard.shared.config.accounts.sending;
        let ask = move |directory: &Directory<'_>| {
            let Some(found) = directory.account(account)? else { return Ok(Err(ACCOUNT_GONE)) };
            let mail = &found.settings.mail;
            let ids = match address.as_ref().filter(|_| mail.has_from_id(&login)) {
                None => Ids::None,
                Some(address) => {
                    let domain = directory.domain(&address.domain)?;
                    domain.map_or(Ids::None, |settings| ids(&settings, address))
                }
            };
            let is_told = mail.outgoing_webhook.is_some() || ids != Ids::None;
            Ok(Ok(Sending { limits: limits(mail, usual), ids, is_told }))
        };
        let failed = |error| policy::store_reply(&error, self.id);
        let sending: Sending = self.shard.ask_directory(ask).await.map_err(failed)??;
        if let Ids::Given(id) = &sending.ids {
            let key = keys::from_id(account.get(), id);
            let is_known = self.shard.shared.reads.run(move |reader| Ok(reader.get(&key)?.is_some()));
            if is_known.await.map_err(failed)? {
                return Err(BAD_ID);
            }
        }
        self.sending = Some(sending);
        Ok(())
    }
}

/// What holds for an account for which `usual` is configured.
pub(crate) fn limits(mail: &MailSettings, usual: SendingLimits) -> SendingLimits {
    SendingLimits {
        recipients_per_day: mail.recipients_per_day.unwrap_or(usual.recipients_per_day),
        first_time_recipients_per_day: mail
            .first_time_recipients_per_day
            .unwrap_or(usual.first_time_recipients_per_day),
    }
}

impl Delivery {
    /// Counts the recipients of other servers, unless the message may not be sent now.
    pub(super) async fn allow(&self, remote: &[usize]) -> Result<Option<Allowed>, Reply> {
        let (Some(account), Some(sending)) = (self.sender, &self.sending) else { return Ok(None) };
        if remote.is_empty() {
            return Ok(None);
        }
        let recipients = remote.iter().filter_map(|number| self.envelope.recipients.get(*number));
        let mut hashes: Vec<u64> = recipients
            .filter_map(|recipient| Some(recipient_hash(&recipient.path.address()?.to_string())))
            .collect();
        hashes.sort_unstable();
        hashes.dedup();
        let (count, now) = (u32::try_from(hashes.len()).unwrap_or(u32::MAX), self.now);
        let read = move |reader: &Reader| {
            let mut notes = Batch::new();
            let first_time = note_recipients(reader, &mut notes, account, &hashes, now)?;
            Ok((notes, first_time))
        };
        let found = self.shard.shared.reads.run(read).await;
        let (notes, first_time) = found.map_err(|error| policy::store_reply(&error, self.id))?;
        let sent = Sent { time: now, row: OutgoingRow { recipients: count, first_time } };
        let (limits, given, id) = (sending.limits, sending.given(), self.id);
        let claimed = given.clone();
        let taken = self.shard.at_home(account, move |home| {
            Box::pin(async move {
                // What is counted are rows of the account, which needs its first ones.
                home.open_account(account).await.map_err(|error| open_reply(&error, account, id))?;
                if let Some(given) = claimed.clone()
                    && !claim(&home, account, given).await.map_err(|error| policy::store_reply(&error, id))?
                {
                    return Err(BAD_ID);
                }
                let taken = allowance::take(&home, account, sent, limits).await;
                taken.map_err(|error| {
                    // The client may come again with it.
                    if let Some(given) = &claimed {
                        home.allowances.release(account, given);
                    }
                    refusal(&error, sent, id)
                })
            })
        });
        taken.await.unwrap_or(Err(Reply::SHUTTING_DOWN))?;
        Ok(Some(Allowed { account, sent, notes, id: given }))
    }

    /// The message is in the queue, where its id is found from now on; or it isn't, and nothing of it counts.
    pub(super) async fn settle(&self, allowed: Option<Allowed>, end: End) {
        let Some(Allowed { account, sent, id, .. }) = allowed else { return };
        if end == End::Queued && id.is_none() {
            return;
        }
        let settled = self.shard.at_home(account, move |home| {
            if end == End::Refused {
                home.allowances.give_back(account, sent);
            }
            if let Some(id) = id {
                home.allowances.release(account, &id);
            }
            Box::pin(async {})
        });
        // Who stops forgets it anyway.
        let _ = settled.await;
    }
}

/// What became of a message that was allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// It is in the queue.
    Queued,
    /// It isn't.
    Refused,
}

/// Claims an id that a client gave, unless it is used; on the home shard of its account.
async fn claim(home: &Rc<Shard>, account: AccountId, id: Box<str>) -> Result<bool, StoreError> {
    if !home.allowances.claim(account, &id) {
        return Ok(false);
    }
    // Claimed first: who was faster is in the store, or still holds it.
    let key = keys::from_id(account.get(), &id);
    let found = home.shared.reads.run(move |reader: &Reader| Ok(reader.get(&key)?.is_some())).await;
    if !matches!(found, Ok(false)) {
        home.allowances.release(account, &id);
    }
    Ok(!found?)
}

/// What programs are told of a message with this header, below the fields that were added (product 2.3); or why it isn't
/// sent.
pub(super) fn meta(added: &str, header: &[u8]) -> Result<QueueMeta, Reply> {
    let cut = |text: &str| text[..text.floor_char_boundary(QueueMeta::TEXT_OCTETS_MAX)].into();
    let first = |name| first(added.as_bytes(), name).or_else(|| first(header, name));
    let message_id = first("Message-ID").and_then(message_id).unwrap_or_default();
    let subject = first("Subject").map(|value| decode(&unfold(value)).trim().to_owned()).unwrap_or_default();
    let mut extra: Vec<(Box<str>, Box<str>)> = Vec::new();
    for field in fields(header) {
        let Some((prefix, key)) = field.name.split_at_checked(EXTRA.len()) else { continue };
        if !prefix.eq_ignore_ascii_case(EXTRA.as_bytes()) || key.is_empty() {
            continue;
        }
        let key = String::from_utf8_lossy(key.trim_ascii()).to_string();
        if extra.iter().any(|(known, _)| known.eq_ignore_ascii_case(&key)) {
            return Err(EXTRA_TWICE);
        }
        extra.push((key.into(), decode(&unfold(field.value)).trim().into()));
        let octets: usize = extra.iter().map(|(key, value)| key.len() + value.len()).sum();
        if extra.len() > QueueMeta::EXTRA_MAX || octets > QueueMeta::EXTRA_OCTETS_MAX {
            return Err(EXTRA_TOO_LARGE);
        }
    }
    Ok(QueueMeta {
        from_id: "".into(),
        message_id: cut(&String::from_utf8_lossy(&message_id)),
        subject: cut(&subject),
        extra,
    })
}

/// What a user is told of a recipient with whom the message has one too many; `wanted` is with it.
pub(super) fn early_refusal(error: &TakeError, wanted: Sent, id: ConnectionId) -> Reply {
    match error {
        TakeError::Exceeded(exceeded) if exceeded.until.is_none() && exceeded.most > 0 => {
            // Another message may go to it.
            let Exceeded { limit, most, .. } = *exceeded;
            let (setting, what, _) = words(limit, wanted.row);
            let text = format!(
                "{setting} of the account is {most}: this message goes to as many {what} already; send to this one in another \
                 message, when 24 hours are over"
            );
            Reply::new(Class::Transient, 51, (7, 1), "").with_text(text)
        }
        error => refusal(error, wanted, id),
    }
}

fn refusal(error: &TakeError, sent: Sent, id: ConnectionId) -> Reply {
    match error {
        TakeError::Exceeded(exceeded) => exceeded_reply(*exceeded, sent.row),
        TakeError::Store(error) => policy::store_reply(error, id),
        TakeError::Busy => {
            error!(cid = %id, "no worker is free to find out what an account sent");
            Reply::LOCAL_ERROR
        }
    }
}

/// The setting of a limit, what is counted, and how many of that are wanted.
const fn words(limit: Limit, wanted: OutgoingRow) -> (&'static str, &'static str, u32) {
    match limit {
        Limit::OutgoingFirstTimeRecipients => {
            ("first_time_recipients_per_day", "recipients to whom it never sent before", wanted.first_time)
        }
        _ => ("recipients_per_day", "recipients", wanted.recipients),
    }
}

/// What a user is told who may send no more now.
fn exceeded_reply(exceeded: Exceeded, wanted: OutgoingRow) -> Reply {
    let Exceeded { limit, most, counted, until } = exceeded;
    let (setting, what, wanted) = words(limit, wanted);
    let (class, basic, when) = match until {
        Some(until) => (Class::Transient, 51, format!("can be sent from {} on", trace::date(until))),
        None => (Class::Permanent, 50, "has more than that by itself".to_owned()),
    };
    let text = format!(
        "{setting} of the account is {most}: it sent to {counted} {what} in the last 24 hours, and this message, with {wanted}, \
         {when}"
    );
    Reply::new(class, basic, (7, 1), "").with_text(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_name_the_setting_and_the_time() {
        let exceeded = |limit, until| {
            exceeded_reply(
                Exceeded { limit, most: 10, counted: 8, until },
                OutgoingRow { recipients: 5, first_time: 3 },
            )
        };
        let reply = exceeded(Limit::OutgoingRecipients, Some(0));
        assert_eq!(reply.code(), 451);
        assert_eq!(
            reply.text(),
            "recipients_per_day of the account is 10: it sent to 8 recipients in the last 24 hours, and this message, with 5, \
             can be sent from Thu, 01 Jan 1970 00:00:00 +0000 on"
        );
        let reply = exceeded(Limit::OutgoingFirstTimeRecipients, None);
        assert_eq!(reply.code(), 550);
        assert!(
            reply.text().starts_with(
                "first_time_recipients_per_day of the account is 10: it sent to 8 recipients to"
            )
        );
        assert!(reply.text().ends_with("with 3, has more than that by itself"), "{}", reply.text());
    }
}
