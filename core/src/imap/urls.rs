//! What IMAP URLs name (RFC 5092, RFC 4469 §3): found in a mailbox, and read piece by piece.
//!
//! A part holds neither a snapshot nor content. When its message is removed and erased meanwhile, the
//! next read fails, and the URL is told to be bad.

use postrider_proto::imap::command::Section;
use postrider_proto::imap::response::Code;
use postrider_proto::imap::url::{MessageUrl, UrlPartial};
use postrider_storage::ids::{AccountId, MailboxId};
use postrider_storage::reader::Reader;
use postrider_storage::store::{Store, StoreError};

use super::answers;
use super::commands::fetch::items::Found;
use super::commands::fetch::plan::Octets;
use super::connection::Connection;
use super::content::{ContentReader, MessageContent, on_worker};
use super::places::{self, Deed};
use super::session::{Completion, CompletionCode};
use super::urlauth;

const BUSY: Completion = Completion::refused(Code::Unavailable, "too much to do, try again");

/// A message and what of it, in a mailbox that is found already.
#[derive(Clone)]
pub(super) struct PartPlace {
    pub(super) account: AccountId,
    pub(super) mailbox: MailboxId,
    pub(super) url: MessageUrl,
}

/// Octets that a URL names and that are still to be read.
pub(super) enum Part {
    /// A range of a message.
    Stored(ContentReader),
    /// Fields that were picked from a header.
    Fields(Vec<u8>),
}

impl Part {
    /// Octets that are left.
    pub(super) fn octets(&self) -> u64 {
        match self {
            Self::Stored(reader) => reader.left(),
            Self::Fields(octets) => octets.len() as u64,
        }
    }

    /// The next octets, at most 64 KiB; none at the end.
    pub(super) fn read(&mut self, reader: &Reader) -> Result<Option<Vec<u8>>, StoreError> {
        match self {
            Self::Stored(source) => {
                let mut piece = Vec::new();
                let more = source.read(reader, |octets| piece.extend_from_slice(octets))?;
                Ok(more.then_some(piece))
            }
            Self::Fields(octets) => Ok((!octets.is_empty()).then(|| std::mem::take(octets))),
        }
    }
}

impl PartPlace {
    /// Looks the message up; none when it isn't there.
    pub(super) fn message(&self, reader: &Reader) -> Result<Option<MessageContent>, StoreError> {
        match reader.message(self.account, self.mailbox, self.url.uid)? {
            Some(row) => MessageContent::load(reader, self.account, row.email),
            None => Ok(None),
        }
    }

    /// Finds the part of the message; none when there is none.
    pub(super) fn part(&self, reader: &Reader, message: &MessageContent) -> Result<Option<Part>, StoreError> {
        let whole = Section { part: Box::default(), text: None };
        let section = self.url.section.clone().unwrap_or(whole);
        Ok(match Octets::section(section, None).find(message, reader)? {
            None => None,
            Some(Found::Range(range)) => {
                let (skip, length) = cut(self.url.partial, range.end - range.start);
                let start = range.start + skip;
                Some(Part::Stored(message.range(start..start + length)))
            }
            Some(Found::Fields(mut picked)) => {
                let (skip, length) = cut(self.url.partial, picked.len() as u64);
                // Both were cut to the length of `picked`.
                picked.truncate((skip + length) as usize);
                picked.drain(..skip as usize);
                Some(Part::Fields(picked))
            }
        })
    }

    fn find(&self, reader: &Reader) -> Result<Option<Part>, StoreError> {
        match self.message(reader)? {
            Some(message) => self.part(reader, &message),
            None => Ok(None),
        }
    }
}

/// How many octets to skip, and how many to take, of `octets` (RFC 5092 §4).
pub(super) fn cut(partial: Option<UrlPartial>, octets: u64) -> (u64, u64) {
    match partial {
        None => (0, octets),
        Some(UrlPartial { offset, length }) => {
            let skip = offset.min(octets);
            let left = octets - skip;
            (skip, length.map_or(left, |length| left.min(length.get())))
        }
    }
}

impl Connection {
    /// Finds what a URL of CATENATE names.
    pub(super) async fn open_url(&mut self, text: &str) -> Result<Part, Completion> {
        let Ok(url) = MessageUrl::parse(text) else { return Err(bad_url(text, "no URL of a message")) };
        let place = self.place(text, url).await?;
        let place = place.ok_or_else(|| bad_url(text, "the URL leads elsewhere"))?;
        let shared = &self.shard.shared;
        let found =
            on_worker(&shared.pool, &shared.store, place, |place, store: &Store| place.find(&store.reader()))
                .await;
        let Ok((_, found)) = found else { return Err(BUSY) };
        let found = found.map_err(|error| answers::store_failed(&error, self.peer.id))?;
        found.ok_or_else(|| bad_url(text, "no such message, or no such part of it"))
    }

    /// The next octets of a part; none at its end.
    pub(super) async fn read_part(
        &mut self,
        part: &mut Part,
        text: &str,
    ) -> Result<Option<Vec<u8>>, Completion> {
        if let Part::Fields(octets) = part {
            return Ok((!octets.is_empty()).then(|| std::mem::take(octets)));
        }
        let shared = &self.shard.shared;
        let state = std::mem::replace(part, Part::Fields(Vec::new()));
        let read =
            on_worker(&shared.pool, &shared.store, state, |part, store: &Store| part.read(&store.reader()))
                .await;
        let Ok((state, read)) = read else { return Err(BUSY) };
        *part = state;
        match read {
            Ok(piece) => Ok(piece),
            // It was removed and erased while it was read.
            Err(StoreError::Inconsistent(_)) => Err(bad_url(text, "the message is gone")),
            Err(error) => Err(answers::store_failed(&error, self.peer.id)),
        }
    }

    /// Where a URL leads: into a mailbox that the user may read, or, when it was authorised, into any.
    async fn place(&self, text: &str, url: MessageUrl) -> Result<Option<PartPlace>, Completion> {
        let Some(member) = &self.member else { return Ok(None) };
        let user = member.asker.user;
        match (&url.server, &url.authorisation) {
            (None, None) => Ok(self.readable_place(url).await),
            (Some(_), Some(_)) => urlauth::authorise(&self.shard, user, text, url, self.peer.id).await,
            (Some(server), None) => {
                let here = server.host.eq_ignore_ascii_case(self.service.listener.hostname.as_str());
                let Some(name) = server.user.clone().filter(|_| here) else { return Ok(None) };
                let owns = urlauth::owns_all(&self.shard, vec![name], user, self.peer.id);
                Ok(if owns.await? { self.readable_place(url).await } else { None })
            }
            (None, Some(_)) => Ok(None),
        }
    }

    /// The message that a URL means, in a mailbox that the user may read.
    async fn readable_place(&self, url: MessageUrl) -> Option<PartPlace> {
        let asker = self.member.as_ref()?.asker;
        let place = places::find_name(&self.shard, asker, &url.mailbox).await.ok()?;
        let found = places::visit(&self.shard, asker, &place, Deed::Read).await.ok()?;
        if url.uid_validity.is_some_and(|wanted| wanted != found.row.uid_validity) {
            return None;
        }
        Some(PartPlace { account: found.account, mailbox: found.mailbox, url })
    }
}

/// RFC 4469 §4.1.
pub(super) fn bad_url(url: &str, text: &'static str) -> Completion {
    Completion::no(text).with(CompletionCode::BadUrl(url.to_owned()))
}
