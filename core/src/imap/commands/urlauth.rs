//! GENURLAUTH, RESETKEY, URLFETCH (RFC 4467 §7, RFC 5524, RFC 5550 §5.7.1).
//!
//! Content of URLFETCH is read piece by piece on worker threads, as that of FETCH: neither a large message
//! nor a slow client costs memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use postrider_proto::imap::command::{
    Decoded, GenUrlAuth, ResetKey, UrlFetch, UrlFetchItem, UrlFetchParameters, Utf8,
};
use postrider_proto::imap::response::{Code, UrlFetchRow, write_genurlauth};
use postrider_proto::imap::url::{MessageUrl, authorised};
use postrider_proto::mime::decode::{Decoder, TransferEncoding};
use postrider_proto::mime::imap::{self, ClientText};
use postrider_storage::ids::{AccountId, MailboxId};
use postrider_storage::reader::Reader;
use postrider_storage::rows::UrlKeyRow;
use postrider_storage::store::{Store, StoreError};

use crate::imap::answers;
use crate::imap::content::{ContentReader, MessageContent, on_worker};
use crate::imap::places::{self, Deed, Found};
use crate::imap::session::{AccountContext, Completion, CompletionCode, Ended};
use crate::imap::urlauth::{INTERNAL, authorise, key_of, new_key, owns_all, token};
use crate::imap::urls::{Part, PartPlace, cut};
use crate::runtime::yield_if_needed;

const BUSY: Completion = Completion::refused(Code::Unavailable, "too much to do, try again");

/// GENURLAUTH. What is wrong with a URL is told by BAD (RFC 4467 §7).
pub(in crate::imap) async fn generate(
    context: &mut AccountContext<'_>,
    command: GenUrlAuth,
) -> Result<Completion, Ended> {
    let mut places = Vec::with_capacity(command.urls.len());
    let mut users = Vec::with_capacity(command.urls.len());
    for (url, mechanism) in &command.urls {
        if &**mechanism != INTERNAL {
            return Ok(Completion::bad("the only mechanism is INTERNAL"));
        }
        match check(context, url).await {
            Ok((found, user)) => {
                places.push((found.account, found.mailbox));
                users.push(user);
            }
            Err(completion) => return Ok(completion),
        }
    }
    let user = context.asker().user;
    match owns_all(context.shard, users, user, context.id).await {
        Ok(true) => {}
        Ok(false) => return Ok(Completion::bad("a URL isn't of a mailbox of yours")),
        Err(completion) => return Ok(completion),
    }
    let keys = match keys(context, &places).await {
        Ok(keys) => keys,
        Err(completion) => return Ok(completion),
    };
    let keys = places.iter().filter_map(|place| Some(key_of(user, place.0, *keys.get(place)?)));
    let full: Vec<String> =
        command.urls.iter().zip(keys).map(|((url, _), key)| authorised(url, &token(&key, url))).collect();
    write_genurlauth(&mut context.out.buffer, full.iter().map(String::as_str));
    Ok(Completion::ok("authorised"))
}

/// The keys of mailboxes; those that have none get one, all of an account in one transaction.
async fn keys(
    context: &AccountContext<'_>,
    places: &[(AccountId, MailboxId)],
) -> Result<BTreeMap<(AccountId, MailboxId), UrlKeyRow>, Completion> {
    let mut wanted = BTreeMap::<AccountId, BTreeMap<MailboxId, UrlKeyRow>>::new();
    for (account, mailbox) in places {
        wanted.entry(*account).or_default().insert(*mailbox, new_key()?);
    }
    let mut keys = BTreeMap::new();
    for (owner, new) in wanted {
        let (id, origin) = (context.id, context.origin(owner));
        let made = places::at(context.shard, id, owner, move |_, account| {
            Box::pin(async move {
                let made = account.transact(origin, None, move |tx| {
                    let key = |(mailbox, new)| Ok(((owner, mailbox), tx.url_key(mailbox, new)?));
                    new.into_iter().map(key).collect::<Result<Vec<_>, StoreError>>()
                });
                made.await.map_err(|error| answers::write_failed(&error, id))
            })
        });
        keys.extend(made.await?);
    }
    Ok(keys)
}

/// Checks a URL that is to be authorised: its mailbox as this user sees it, and the user whose it is said to be.
async fn check(context: &AccountContext<'_>, text: &str) -> Result<(Found, Box<str>), Completion> {
    let url = MessageUrl::parse(text).map_err(|_| Completion::bad("no URL of a message"))?;
    match &url.authorisation {
        None => return Err(Completion::bad("the URL has no access identifier")),
        Some(authorisation) if authorisation.verifier.is_some() => {
            return Err(Completion::bad("the URL is authorised already"));
        }
        Some(_) => {}
    }
    let user = url.server.and_then(|server| server.user);
    let user = user.ok_or(Completion::bad("the URL has no user"))?;
    let asker = context.asker();
    let found = async {
        let place = places::find_name(context.shard, asker, &url.mailbox).await?;
        places::visit(context.shard, asker, &place, Deed::Read).await
    };
    let found = found.await.ok();
    let found = found.filter(|found| url.uid_validity.is_none_or(|wanted| wanted == found.row.uid_validity));
    Ok((found.ok_or(Completion::bad("the URL has no mailbox that exists"))?, user))
}

/// RESETKEY: URLs that were authorised before are worth nothing any more. The key of another user's mailbox is
/// reset by who administers it, for all users; without mailbox, the keys of the user's own are.
pub(in crate::imap) async fn reset(
    context: &mut AccountContext<'_>,
    command: ResetKey,
) -> Result<Completion, Ended> {
    let (account, origin) = (&context.member.account, Some(context.member.watcher.id()));
    let Some(mailbox) = command.mailbox else {
        return Ok(match account.transact(origin, None, |tx| tx.remove_url_keys()).await {
            Ok(()) => Completion::ok("all keys are removed"),
            Err(error) => answers::write_failed(&error, context.id),
        });
    };
    if command.mechanisms.iter().any(|mechanism| &**mechanism != INTERNAL) {
        return Ok(Completion::no("the only mechanism is INTERNAL"));
    }
    let (asker, id) = (context.asker(), context.id);
    let place = match places::find(context.shard, asker, &mailbox).await {
        Ok(place) => place,
        Err(refused) => return Ok(refused),
    };
    let key = match new_key() {
        Ok(key) => key,
        Err(completion) => return Ok(completion),
    };
    let origin = context.origin(place.account);
    let reset = places::at(context.shard, id, place.account, move |_, account| {
        Box::pin(async move {
            let mailbox = places::enter(&account.state(), asker, &place.name, Deed::Administer)?.mailbox;
            let reset = account.transact(origin, None, move |tx| tx.reset_url_key(mailbox, key));
            reset.await.map_err(|error| answers::write_failed(&error, id))
        })
    });
    Ok(match reset.await {
        Ok(()) => Completion::ok("a new key").with(CompletionCode::Plain(Code::UrlMech)),
        Err(refused) => refused,
    })
}

/// What is told of a URL.
enum Answer {
    /// It isn't valid, or names nothing.
    Nil,
    /// Octets, in the plain form.
    Plain(Source),
    /// The extended form.
    Extended { structure: Option<Vec<u8>>, content: Option<Extended> },
}

/// Content in the extended form.
enum Extended {
    Body(Source),
    Binary(Source),
    /// The transfer encoding isn't known.
    Unknown,
}

/// Octets that are still to be read.
enum Source {
    As(Part),
    /// Without their transfer encoding: some are skipped, some are told.
    Decoded {
        source: ContentReader,
        decoder: Decoder,
        skip: u64,
        left: u64,
    },
}

impl Source {
    fn octets(&self) -> u64 {
        match self {
            Self::As(part) => part.octets(),
            Self::Decoded { left, .. } => *left,
        }
    }

    /// The next octets; none at the end.
    fn read(&mut self, reader: &Reader) -> Result<Option<Vec<u8>>, StoreError> {
        let Self::Decoded { source, decoder, skip, left } = self else {
            let Self::As(part) = self else { return Ok(None) };
            return part.read(reader);
        };
        if *left == 0 {
            return Ok(None);
        }
        let mut octets = Vec::new();
        if !source.read(reader, |piece| decoder.push(piece, &mut octets))? {
            decoder.finish(&mut octets);
            if (octets.len() as u64) < *skip + *left {
                return Err(StoreError::Inconsistent("content is shorter than it was measured"));
            }
        }
        // Both are at most the length of `octets`.
        let skipped = (*skip).min(octets.len() as u64);
        let taken = (*left).min(octets.len() as u64 - skipped);
        *skip -= skipped;
        *left -= taken;
        octets.truncate((skipped + taken) as usize);
        octets.drain(..skipped as usize);
        Ok(Some(octets))
    }
}

/// URLFETCH. What can't be had is NIL; the command itself succeeds.
pub(in crate::imap) async fn fetch(
    context: &mut AccountContext<'_>,
    command: UrlFetch,
) -> Result<Completion, Ended> {
    for item in command.urls {
        match answer(context, &item).await {
            Ok(answer) => tell(context, &item.url, answer).await?,
            Err(completion) => return Ok(completion),
        }
        context.out.flush_if_full().await?;
        yield_if_needed().await;
    }
    Ok(Completion::ok("done"))
}

async fn answer(context: &AccountContext<'_>, item: &UrlFetchItem) -> Result<Answer, Completion> {
    let Ok(url) = MessageUrl::parse(&item.url) else { return Ok(Answer::Nil) };
    let session = context.member.asker.user;
    let place = authorise(context.shard, session, &item.url, url, context.id).await?;
    let Some(place) = place else { return Ok(Answer::Nil) };
    let client = match context.member.enabled.utf8 {
        Utf8::Off => ClientText::SevenBit,
        Utf8::Rev2 | Utf8::Accept => ClientText::Utf8,
    };
    let shared = &context.shard.shared;
    let state = (place, item.extended, client);
    let prepared =
        on_worker(&shared.pool, &shared.store, state, |(place, extended, client), store: &Store| {
            prepare(place, *extended, *client, &store.reader())
        })
        .await;
    match prepared {
        Ok((_, Ok(answer))) => Ok(answer),
        Ok((_, Err(error))) => Err(answers::store_failed(&error, context.id)),
        Err(_) => Err(BUSY),
    }
}

fn prepare(
    place: &PartPlace,
    extended: Option<UrlFetchParameters>,
    client: ClientText,
    reader: &Reader,
) -> Result<Answer, StoreError> {
    let Some(message) = place.message(reader)? else { return Ok(Answer::Nil) };
    let Some(part) = place.part(reader, &message)? else { return Ok(Answer::Nil) };
    let Some(parameters) = extended else { return Ok(Answer::Plain(Source::As(part))) };
    let structure = match parameters.structure {
        true => structure(place, &message, client)?,
        false => None,
    };
    let content = match parameters.content {
        None => None,
        Some(Decoded::No) => Some(Extended::Body(Source::As(part))),
        Some(Decoded::Yes) => Some(decoded(place, &message, part, reader)?),
    };
    if structure.is_none() && content.is_none() {
        return Ok(Answer::Nil);
    }
    Ok(Answer::Extended { structure, content })
}

/// The numbers of the part that a URL names as a whole; none when it names a header or the like.
fn path(place: &PartPlace) -> Option<Vec<u32>> {
    match &place.url.section {
        None => Some(Vec::new()),
        Some(section) if section.text.is_none() => {
            Some(section.part.iter().map(|number| number.get()).collect())
        }
        Some(_) => None,
    }
}

/// The body structure of the part, encoded (RFC 5524 §3.2).
fn structure(
    place: &PartPlace,
    message: &MessageContent,
    client: ClientText,
) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(path) = path(place) else { return Ok(None) };
    let structure = message.structure()?;
    let index = if path.is_empty() { Some(0) } else { imap::part_at(&structure, &path) };
    Ok(index.map(|index| {
        let mut encoded = Vec::with_capacity(256);
        imap::body_of_part(&mut encoded, &structure, index, client);
        encoded
    }))
}

/// The part without its transfer encoding; what has none, such as a header, as it is.
fn decoded(
    place: &PartPlace,
    message: &MessageContent,
    part: Part,
    reader: &Reader,
) -> Result<Extended, StoreError> {
    let Some(path) = path(place) else { return Ok(Extended::Binary(Source::As(part))) };
    let structure = message.structure()?;
    let Some(body) = imap::binary(&structure, &path, message.prefix_octets()) else {
        return Ok(Extended::Binary(Source::As(part)));
    };
    if body.encoding == TransferEncoding::Identity {
        return Ok(Extended::Binary(Source::As(part)));
    }
    let (Some(mut measure), Some(decoder)) = (Decoder::new(body.encoding), Decoder::new(body.encoding))
    else {
        return Ok(Extended::Unknown);
    };
    // The length stands in front, so the content is decoded twice.
    let mut source = message.range(body.range.clone());
    let (mut octets, mut scratch) = (0, Vec::new());
    while source.read(reader, |piece| measure.push(piece, &mut scratch))? {
        octets += scratch.len() as u64;
        scratch.clear();
    }
    measure.finish(&mut scratch);
    let (skip, left) = cut(place.url.partial, octets + scratch.len() as u64);
    let source = message.range(body.range);
    Ok(Extended::Binary(Source::Decoded { source, decoder, skip, left }))
}

async fn tell(context: &mut AccountContext<'_>, url: &str, answer: Answer) -> Result<(), Ended> {
    let row = UrlFetchRow::begin(&mut context.out.buffer, url);
    match answer {
        Answer::Nil => row.nil(&mut context.out.buffer),
        Answer::Plain(source) => {
            row.content(&mut context.out.buffer, source.octets());
            copy(context, source).await?;
        }
        Answer::Extended { structure, content } => {
            if let Some(encoded) = structure {
                row.structure(&mut context.out.buffer, &encoded);
            }
            match content {
                None => {}
                Some(Extended::Unknown) => row.binary_nil(&mut context.out.buffer),
                Some(Extended::Body(source)) => {
                    row.body(&mut context.out.buffer, source.octets());
                    copy(context, source).await?;
                    context.out.buffer.push(b')');
                }
                Some(Extended::Binary(source)) => {
                    row.binary(&mut context.out.buffer, source.octets());
                    copy(context, source).await?;
                    context.out.buffer.push(b')');
                }
            }
        }
    }
    row.end(&mut context.out.buffer);
    Ok(())
}

/// Writes the octets that a literal's header announced. When they can't be read any more, only closing the
/// connection is left.
async fn copy(context: &mut AccountContext<'_>, mut source: Source) -> Result<(), Ended> {
    loop {
        let (pool, store) = (&context.shard.shared.pool, Arc::clone(&context.shard.shared.store));
        let read =
            on_worker(pool, &store, source, |source, store: &Store| source.read(&store.reader())).await;
        let Ok((state, read)) = read else { return Err(Ended::Gone) };
        match read {
            Ok(Some(piece)) => context.out.buffer.extend_from_slice(&piece),
            Ok(None) => return Ok(()),
            Err(error) => {
                let _ = answers::store_failed(&error, context.id);
                return Err(Ended::Gone);
            }
        }
        source = state;
        context.out.flush_if_full().await?;
    }
}
