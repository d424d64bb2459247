//! Every key of the store, and nowhere else.
//!
//! A key of the space `rows` is `owner u32 ‖ table u8 ‖ rest`, big-endian throughout, so that byte
//! order is the order of the numbers and an account is one contiguous range. The owner is an account,
//! or 0 for the system. Signed times are stored with the sign bit flipped, which keeps their order.
//!
//! | owner | table | name | rest of the key | value |
//! |---|---|---|---|---|
//! | account | 0x01 | HEAD | - | [`HeadRow`](crate::rows::HeadRow) |
//! | account | 0x02 | KEYWORD | keyword id u16 | spelling |
//! | account | 0x03 | MAILBOX | mailbox id u32 | [`MailboxRow`](crate::rows::MailboxRow) ‖ keyword ids ‖ name |
//! | account | 0x04 | SUBSCRIPTION | mailbox name | version |
//! | account | 0x05 | METADATA | mailbox u32 (0: the server) ‖ user u32 (0: shared) ‖ path | [`MetadataRow`](crate::rows::MetadataRow) ‖ value |
//! | account | 0x06 | ACL | mailbox id u32 | [`AclRow`](crate::rows::AclRow) |
//! | account | 0x07 | URLKEY | mailbox id u32 | [`UrlKeyRow`](crate::rows::UrlKeyRow) |
//! | account | 0x10 | MESSAGE | mailbox u32 ‖ uid u32 | [`MessageRow`](crate::rows::MessageRow) ‖ keyword ids |
//! | account | 0x11 | CHANGE | mailbox u32 ‖ kind u8 ‖ modseq u64 ‖ uid u32 | kind 0 (live): nothing; kind 1: [`TombstoneRow`](crate::rows::TombstoneRow) |
//! | account | 0x12 | PACK | mailbox u32 ‖ base uid u32 | [`Block`](crate::rows::pack::Block) |
//! | account | 0x13 | EMAIL | email id u64 | [`EmailRow`](crate::rows::EmailRow) ‖ prefix bytes |
//! | account | 0x16 | EMAILREFS | email id u64 | [`RefsRow`](crate::rows::RefsRow), only when two or more |
//! | account | 0x14 | THREADMSG | hash of Message-ID u64 ‖ email id u64 | [`ThreadRow`](crate::rows::ThreadRow) |
//! | account | 0x15 | THREADSUBJECT | hash of base subject u64 ‖ received i64 ‖ email id u64 | [`ThreadRow`](crate::rows::ThreadRow) |
//! | account | 0x20 | SENDERS | bucket u16 | [`SendersRow`](crate::rows::SendersRow) |
//! | account | 0x21 | TLSKNOWN | recipient domain | [`TlsKnownRow`](crate::rows::TlsKnownRow) |
//! | account | 0x22 | OUTGOING | time i64 ‖ queue id u64 | [`OutgoingRow`](crate::rows::OutgoingRow) |
//! | account | 0x23 | RECIPIENTS | bucket u16 | [`SendersRow`](crate::rows::SendersRow), of whom it sent to |
//! | account | 0x24 | TLSAGE | period u32 ‖ recipient domain | version |
//! | account | 0x30 | TEXT | - | [`TextRow`](crate::rows::TextRow) |
//! | account | 0x31 | TERMS | segment u32 ‖ first term | dictionary block, see [`text`](crate::text) |
//! | account | 0x32 | POSTINGS | segment u32 ‖ chunk u32 | version ‖ octets |
//! | 0 | 0x01 | FORMAT | - | [`FormatRow`](crate::rows::FormatRow) |
//! | 0 | 0x10 | BLOB | blob id u64 | [`BlobRow`](crate::rows::BlobRow) ‖ structure record |
//! | 0 | 0x11 | BLOBREF | blob id u64 ‖ owner u32 ‖ email or queue id u64 | version |
//! | 0 | 0x12 | BLOBGC | blob id u64, owner u32, user u64 | version |
//! | 0 | 0x13 | BLOBPENDING | blob id u64 | version |
//! | 0 | 0x18 | ERASE | account u32 ‖ modseq u64 ‖ email id u64 | [`EraseRow`](crate::rows::EraseRow) |
//! | 0 | 0x19 | DROP | account u32 ‖ mailbox u32 | [`DropRow`](crate::rows::DropRow) |
//! | 0 | 0x1a | SHARED | user's account u32, 0 for anyone ‖ owner's account u32 ‖ mailbox u32 | version |
//! | 0 | 0x20 | QUEUE | queue id u64 | [`QueueRow`](crate::rows::QueueRow) ‖ texts |
//! | 0 | 0x21 | QUEUERCPT | queue id u64 ‖ recipient u32 | [`RecipientRow`](crate::rows::RecipientRow) ‖ texts |
//! | 0 | 0x22 | - | due i64 ‖ queue id u64 ‖ recipient u32 | the schedule of format 1 |
//! | 0 | 0x23 | QUEUEDUE | hash of the domain u64 ‖ due i64 ‖ queue id u64 | version |
//! | 0 | 0x24 | QUEUEOWNER | account u32, 0 for the system ‖ queue id u64 | version |
//! | 0 | 0x25 | CLAIMED | queue id u64 | version |
//! | 0 | 0x26 | QUEUEPREFIX | queue id u64 | version ‖ octets |
//! | 0 | 0x27 | EVALUATION | due i64 ‖ policy domain ‖ 0 ‖ time i64 ‖ blob id u64 ‖ recipient u32 | [`EvaluationRow`](crate::rows::EvaluationRow) |
//! | 0 | 0x28 | - | time i64 ‖ blob id u64 ‖ recipient u32 | the same, before it had a report that it is due for |
//! | 0 | 0x29 | HOLDRULE | rule id u32; 0: | [`HoldRuleRow`](crate::rows::HoldRuleRow) ‖ texts; version ‖ next rule id u32 |
//! | 0 | 0x2a | RETIRED | kept until i64 ‖ queue id u64 ‖ recipient u32 | [`RetiredRow`](crate::rows::RetiredRow) ‖ texts |
//! | 0 | 0x2b | SUPPRESSION | account u32 ‖ base address | [`SuppressionRow`](crate::rows::SuppressionRow) ‖ texts |
//! | 0 | 0x2c | STRIKES | account u32 ‖ hash of the address u64 | [`StrikesRow`](crate::rows::StrikesRow) |
//! | 0 | 0x2d | MTASTS | policy domain | [`MtaStsRow`](crate::rows::MtaStsRow) ‖ texts |
//! | 0 | 0x2e | TLSRESULT | day u32 ‖ order u8 ‖ domain ‖ 0 ‖ whether of a host u8 ‖ domain | [`TlsResultRow`](crate::rows::TlsResultRow) |
//! | 0 | 0x2f | REPORTSUPPRESS | address | [`ReportSuppressionRow`](crate::rows::ReportSuppressionRow) ‖ text |
//! | 0 | 0x30 | HOOK | hook id u64 | [`HookRow`](crate::rows::HookRow) ‖ texts ‖ results |
//! | 0 | 0x31 | HOOKDUE | hash of the URL u64 ‖ due i64 ‖ hook id u64 | version |
//! | 0 | 0x32 | HOOKABOUT | queue id u64 ‖ hash of the recipient u64 ‖ hook id u64 | version |
//! | 0 | 0x33 | HOOKRETIRED | kept until i64 ‖ hook id u64 | [`RetiredHookRow`](crate::rows::RetiredHookRow) |
//! | 0 | 0x34 | FROMID | account u32 ‖ id | [`FromIdRow`](crate::rows::FromIdRow) |
//! | 0 | 0x35 | QUEUEMETA | queue id u64 | [`QueueMeta`](crate::rows::QueueMeta) ‖ texts |
//! | 0 | 0x36 | INCOMINGREPORT | account u32 ‖ email id u64 | version ‖ id |
//! | 0 | 0x38 | REPORT | domain ‖ 0 ‖ report id u64 | [`ReportRow`](crate::rows::ReportRow) ‖ texts |
//! | 0 | 0x39 | REPORTKNOWN | digest, 16 octets | version ‖ report id u64, big-endian |
//! | 0 | 0x3a | REPORTTODO | blob id u64 | [`ReportTodoRow`](crate::rows::ReportTodoRow) ‖ texts |
//! | 0 | 0x3b | REPORTTEXT | report id u64 | version ‖ length of the domain u8 ‖ domain ‖ document in gzip |
//! | 0 | 0x40 ..= 0x5f | directory | owned by the directory | |
//!
//! The space `blobs` has one kind of key: `blob id u64 ‖ chunk u32`.

mod evaluations;
mod outgoing;
mod reports;
mod webhooks;

pub use evaluations::*;
pub use outgoing::*;
pub use reports::*;
pub use webhooks::*;

use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::imap::types::{ModSeq, Uid};

use crate::ids::{AccountId, BlobId, EmailId, KeywordId, MailboxId, QueueId};
use crate::rows::Grantee;

/// An encoded key.
pub type Key = Vec<u8>;

/// The owner of rows that belong to no account.
pub const SYSTEM: u32 = 0;

/// Numbers of the tables: the fifth octet of a key.
pub mod table {
    /// Account: counters and next ids.
    pub const HEAD: u8 = 0x01;
    /// Account: the dictionary of keywords.
    pub const KEYWORD: u8 = 0x02;
    /// Account: mailboxes.
    pub const MAILBOX: u8 = 0x03;
    /// Account: subscribed names.
    pub const SUBSCRIPTION: u8 = 0x04;
    /// Account: annotations.
    pub const METADATA: u8 = 0x05;
    /// Account: access control lists of mailboxes.
    pub const ACL: u8 = 0x06;
    /// Account: keys that authorise URLs.
    pub const URLKEY: u8 = 0x07;
    /// Account: messages by uid.
    pub const MESSAGE: u8 = 0x10;
    /// Account: messages and tombstones by modseq.
    pub const CHANGE: u8 = 0x11;
    /// Account: uids and flags, packed.
    pub const PACK: u8 = 0x12;
    /// Account: what the copies of one message share.
    pub const EMAIL: u8 = 0x13;
    /// Account: emails by Message-ID.
    pub const THREADMSG: u8 = 0x14;
    /// Account: emails by base subject and time.
    pub const THREADSUBJECT: u8 = 0x15;
    /// Account: how many refer to an email, when several do.
    pub const EMAILREFS: u8 = 0x16;
    /// Account: whose mail it has had.
    pub const SENDERS: u8 = 0x20;
    /// Account: what is known of the transport security of domains.
    pub const TLSKNOWN: u8 = 0x21;
    /// Account: to how many it sent, and when.
    pub const OUTGOING: u8 = 0x22;
    /// Account: to whom it sent.
    pub const RECIPIENTS: u8 = 0x23;
    /// Account: the domains of TLSKNOWN by their age.
    pub const TLSAGE: u8 = 0x24;
    /// Account: the text index, its segments.
    pub const TEXT: u8 = 0x30;
    /// Account: dictionaries of the text index.
    pub const TERMS: u8 = 0x31;
    /// Account: postings of the text index.
    pub const POSTINGS: u8 = 0x32;
    /// System: version of the format.
    pub const FORMAT: u8 = 0x01;
    /// System: headers of message contents.
    pub const BLOB: u8 = 0x10;
    /// System: who uses a blob.
    pub const BLOBREF: u8 = 0x11;
    /// System: blobs to look at, for they may be unused.
    pub const BLOBGC: u8 = 0x12;
    /// System: blobs whose references are still being written.
    pub const BLOBPENDING: u8 = 0x13;
    /// System: removed messages that a session may still fetch.
    pub const ERASE: u8 = 0x18;
    /// System: deleted mailboxes whose rows are still to be removed.
    pub const DROP: u8 = 0x19;
    /// System: mailboxes by the user to whom they are shared.
    pub const SHARED: u8 = 0x1a;
    /// System: outgoing messages, each for the recipients of one domain.
    pub const QUEUE: u8 = 0x20;
    /// System: recipients of outgoing messages.
    pub const QUEUERCPT: u8 = 0x21;
    /// System: the schedule that format 1 had.
    pub const QUEUEDUE_V1: u8 = 0x22;
    /// System: outgoing messages by domain and by the time of their next attempt.
    pub const QUEUEDUE: u8 = 0x23;
    /// System: outgoing messages by the account that submitted them.
    pub const QUEUEOWNER: u8 = 0x24;
    /// System: outgoing messages that are being delivered.
    pub const CLAIMED: u8 = 0x25;
    /// System: header fields in front of outgoing messages.
    pub const QUEUEPREFIX: u8 = 0x26;
    /// System: evaluations of DMARC, by the report that they are to be in.
    pub const EVALUATION: u8 = 0x27;
    /// System: evaluations of DMARC by time, as they were kept before reports were sent.
    pub const EVALUATION_V1: u8 = 0x28;
    /// System: rules that hold outgoing messages.
    pub const HOLDRULE: u8 = 0x29;
    /// System: what became of recipients.
    pub const RETIRED: u8 = 0x2a;
    /// System: addresses to which mail of an account isn't sent.
    pub const SUPPRESSION: u8 = 0x2b;
    /// System: addresses to which mail of an account failed.
    pub const STRIKES: u8 = 0x2c;
    /// System: policies of MTA-STS.
    pub const MTASTS: u8 = 0x2d;
    /// System: how TLS with other servers went.
    pub const TLSRESULT: u8 = 0x2e;
    /// System: addresses to which no reports are sent.
    pub const REPORTSUPPRESS: u8 = 0x2f;
    /// System: calls of webhooks that wait.
    pub const HOOK: u8 = 0x30;
    /// System: calls of webhooks by URL and by the time of their next attempt.
    pub const HOOKDUE: u8 = 0x31;
    /// System: calls of webhooks by what they tell of.
    pub const HOOKABOUT: u8 = 0x32;
    /// System: what became of calls of webhooks.
    pub const HOOKRETIRED: u8 = 0x33;
    /// System: where messages are by the id in their reverse path.
    pub const FROMID: u8 = 0x34;
    /// System: what programs are told of outgoing messages.
    pub const QUEUEMETA: u8 = 0x35;
    /// System: messages that came for such an id, and are still to be looked at.
    pub const INCOMINGREPORT: u8 = 0x36;
    /// System: reports of other servers by domain.
    pub const REPORT: u8 = 0x38;
    /// System: reports by what they are known again by.
    pub const REPORTKNOWN: u8 = 0x39;
    /// System: messages whose report is still to be read.
    pub const REPORTTODO: u8 = 0x3a;
    /// System: what reports say.
    pub const REPORTTEXT: u8 = 0x3b;
    /// System: the first table of the directory.
    pub const DIRECTORY_FIRST: u8 = 0x40;
    /// System: the last table of the directory.
    pub const DIRECTORY_LAST: u8 = 0x5f;
}

/// What of a mailbox's change index a query wants (RFC 7162 §3.2.5): nobody gets tombstones, or
/// misses them, by forgetting to say.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Which {
    /// Messages that are there.
    Live = 0,
    /// Messages that were removed.
    Tombstones = 1,
}

/// A key that is not of the form its table has.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("malformed key {0:02x?}")]
pub struct BadKey(pub Vec<u8>);

/// The prefix of all rows of `owner` (an account's number, or [`SYSTEM`]).
pub fn owner(owner: u32) -> Key {
    owner.to_be_bytes().to_vec()
}

/// The prefix of one table of `owner`.
pub fn of_table(owner: u32, table: u8) -> Key {
    build(owner, table, &[])
}

/// HEAD of an account.
pub fn head(account: AccountId) -> Key {
    of_table(account.get(), table::HEAD)
}

/// A keyword's row.
pub fn keyword(account: AccountId, keyword: KeywordId) -> Key {
    build(account.get(), table::KEYWORD, &[&keyword.0.to_be_bytes()])
}

/// A mailbox's row.
pub fn mailbox(account: AccountId, mailbox: MailboxId) -> Key {
    in_mailbox(account, table::MAILBOX, mailbox)
}

/// A subscription's row.
pub fn subscription(account: AccountId, name: &MailboxName) -> Key {
    build(account.get(), table::SUBSCRIPTION, &[name.as_str().as_bytes()])
}

/// A mailbox's access control list.
pub fn acl(account: AccountId, mailbox: MailboxId) -> Key {
    in_mailbox(account, table::ACL, mailbox)
}

/// The key that authorises URLs of a mailbox's messages.
pub fn url_key(account: AccountId, mailbox: MailboxId) -> Key {
    in_mailbox(account, table::URLKEY, mailbox)
}

/// What an annotation is of, and whose it is (RFC 5464 §3.2): the same path has a value for each.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MetadataPlace {
    /// The mailbox; none is the server.
    pub mailbox: Option<MailboxId>,
    /// The user whose private annotation it is; none is a shared one.
    pub user: Option<AccountId>,
}

/// An annotation. `path` is its name without `/private` or `/shared`.
pub fn metadata(account: AccountId, place: MetadataPlace, path: &str) -> Key {
    let mut key = metadata_at(account, place);
    key.extend_from_slice(path.as_bytes());
    key
}

/// The prefix of all annotations of a place.
pub fn metadata_at(account: AccountId, place: MetadataPlace) -> Key {
    let mut key = metadata_of(account, place.mailbox);
    key.extend_from_slice(&place.user.map_or(0, AccountId::get).to_be_bytes());
    key
}

/// The prefix of all annotations of a mailbox, or of the server, of whatever user.
pub fn metadata_of(account: AccountId, mailbox: Option<MailboxId>) -> Key {
    build(account.get(), table::METADATA, &[&mailbox.map_or(0, MailboxId::get).to_be_bytes()])
}

/// A message's row.
pub fn message(account: AccountId, mailbox: MailboxId, uid: Uid) -> Key {
    build(account.get(), table::MESSAGE, &[&mailbox.get().to_be_bytes(), &uid.get().to_be_bytes()])
}

/// The prefix of all messages of a mailbox.
pub fn messages(account: AccountId, mailbox: MailboxId) -> Key {
    in_mailbox(account, table::MESSAGE, mailbox)
}

/// An entry of the change index.
pub fn change(account: AccountId, mailbox: MailboxId, which: Which, modseq: ModSeq, uid: Uid) -> Key {
    build(
        account.get(),
        table::CHANGE,
        &[
            &mailbox.get().to_be_bytes(),
            &[which as u8],
            &modseq.get().to_be_bytes(),
            &uid.get().to_be_bytes(),
        ],
    )
}

/// The prefix of one kind of entries of a mailbox's change index.
pub fn changes(account: AccountId, mailbox: MailboxId, which: Which) -> Key {
    build(account.get(), table::CHANGE, &[&mailbox.get().to_be_bytes(), &[which as u8]])
}

/// The prefix of a mailbox's whole change index.
pub fn changes_all(account: AccountId, mailbox: MailboxId) -> Key {
    in_mailbox(account, table::CHANGE, mailbox)
}

/// The first possible key of entries with a modseq above `since`.
pub fn changes_after(account: AccountId, mailbox: MailboxId, which: Which, since: ModSeq) -> Key {
    let mut key = changes(account, mailbox, which);
    key.extend_from_slice(&(since.get() + 1).to_be_bytes());
    key
}

/// A block of packed uids and flags.
pub fn pack(account: AccountId, mailbox: MailboxId, base: Uid) -> Key {
    build(account.get(), table::PACK, &[&mailbox.get().to_be_bytes(), &base.get().to_be_bytes()])
}

/// The prefix of a mailbox's blocks.
pub fn packs(account: AccountId, mailbox: MailboxId) -> Key {
    in_mailbox(account, table::PACK, mailbox)
}

/// An email's row.
pub fn email(account: AccountId, email: EmailId) -> Key {
    build(account.get(), table::EMAIL, &[&email.0.to_be_bytes()])
}

/// How many refer to an email.
pub fn email_refs(account: AccountId, email: EmailId) -> Key {
    build(account.get(), table::EMAILREFS, &[&email.0.to_be_bytes()])
}

/// An email found by the hash of its Message-ID.
pub fn thread_message(account: AccountId, message_id: u64, email: EmailId) -> Key {
    build(account.get(), table::THREADMSG, &[&message_id.to_be_bytes(), &email.0.to_be_bytes()])
}

/// The prefix of all emails with a Message-ID of that hash.
pub fn thread_messages(account: AccountId, message_id: u64) -> Key {
    build(account.get(), table::THREADMSG, &[&message_id.to_be_bytes()])
}

/// An email found by the hash of its base subject and the time it was received.
pub fn thread_subject(account: AccountId, subject: u64, received: i64, email: EmailId) -> Key {
    build(
        account.get(),
        table::THREADSUBJECT,
        &[&subject.to_be_bytes(), &time(received), &email.0.to_be_bytes()],
    )
}

/// The prefix of all emails with a base subject of that hash.
pub fn thread_subjects(account: AccountId, subject: u64) -> Key {
    build(account.get(), table::THREADSUBJECT, &[&subject.to_be_bytes()])
}

/// A bucket of senders whose mail an account has had.
pub fn senders(account: AccountId, bucket: u16) -> Key {
    build(account.get(), table::SENDERS, &[&bucket.to_be_bytes()])
}

/// A bucket of recipients to whom an account has sent.
pub fn recipients(account: AccountId, bucket: u16) -> Key {
    build(account.get(), table::RECIPIENTS, &[&bucket.to_be_bytes()])
}

/// What an account sent at a time; the entry of the queue tells apart what it sent at once.
pub fn outgoing(account: AccountId, sent: i64, id: QueueId) -> Key {
    build(account.get(), table::OUTGOING, &[&time(sent), &id.0.to_be_bytes()])
}

/// Time and entry of a key of OUTGOING.
pub fn outgoing_parts(key: &[u8]) -> Result<(i64, QueueId), BadKey> {
    let [sent, id] = numbers(key, [8, 8])?;
    Ok((to_time(sent), QueueId(id)))
}

/// What is known of the transport security of a recipient domain.
pub fn tls_known(account: AccountId, domain: &str) -> Key {
    build(account.get(), table::TLSKNOWN, &[domain.as_bytes()])
}

/// That a domain of TLSKNOWN was last updated in a period.
pub fn tls_age(account: AccountId, period: u32, domain: &str) -> Key {
    build(account.get(), table::TLSAGE, &[&period.to_be_bytes(), domain.as_bytes()])
}

/// Period and domain of a key of TLSAGE.
pub fn tls_age_parts(key: &[u8]) -> Result<(u32, &str), BadKey> {
    let (_, _, rest) = split(key)?;
    let (period, domain) = rest.split_first_chunk::<4>().ok_or_else(|| bad(key))?;
    Ok((u32::from_be_bytes(*period), std::str::from_utf8(domain).map_err(|_| bad(key))?))
}

/// The text index of an account.
pub fn text(account: AccountId) -> Key {
    of_table(account.get(), table::TEXT)
}

/// A block of a segment's dictionary: its key has the first term of the block.
pub fn terms(account: AccountId, segment: u32, first: &[u8]) -> Key {
    build(account.get(), table::TERMS, &[&segment.to_be_bytes(), first])
}

/// A chunk of a segment's postings.
pub fn postings(account: AccountId, segment: u32, chunk: u32) -> Key {
    build(account.get(), table::POSTINGS, &[&segment.to_be_bytes(), &chunk.to_be_bytes()])
}

/// The prefix of a segment's rows in [`table::TERMS`] or [`table::POSTINGS`].
pub fn of_segment(account: AccountId, table: u8, segment: u32) -> Key {
    build(account.get(), table, &[&segment.to_be_bytes()])
}

/// The segment and the rest of a key of a text index.
pub fn segment_parts(key: &[u8]) -> Result<(u32, &[u8]), BadKey> {
    let (_, _, rest) = split(key)?;
    let (segment, rest) = rest.split_first_chunk::<4>().ok_or_else(|| bad(key))?;
    Ok((u32::from_be_bytes(*segment), rest))
}

/// The one FORMAT row.
pub fn format() -> Key {
    of_table(SYSTEM, table::FORMAT)
}

/// A blob's header.
pub fn blob(blob: BlobId) -> Key {
    of_blob(table::BLOB, blob)
}

/// One use of a blob: by an account's email, or (owner [`SYSTEM`]) by a message of the queue.
pub fn blob_ref(blob: BlobId, owner: u32, user: u64) -> Key {
    build(SYSTEM, table::BLOBREF, &[&blob.0.to_be_bytes(), &owner.to_be_bytes(), &user.to_be_bytes()])
}

/// The prefix of all uses of a blob.
pub fn blob_refs(blob: BlobId) -> Key {
    of_blob(table::BLOBREF, blob)
}

/// The to-do row of a blob that may be unused, left by a use that ended. Each has a row of its own: the collector,
/// which removes those that it has looked at, must not remove one that comes meanwhile.
pub fn blob_gc(blob: BlobId, owner: u32, user: u64) -> Key {
    build(SYSTEM, table::BLOBGC, &[&blob.0.to_be_bytes(), &owner.to_be_bytes(), &user.to_be_bytes()])
}

/// The prefix of all to-do rows of a blob.
pub fn blob_gcs(blob: BlobId) -> Key {
    of_blob(table::BLOBGC, blob)
}

/// The row that protects a blob while its uses are being written.
pub fn blob_pending(blob: BlobId) -> Key {
    of_blob(table::BLOBPENDING, blob)
}

/// A chunk, in the space of blobs.
pub fn chunk(blob: BlobId, chunk: u32) -> Key {
    let mut key = blob.0.to_be_bytes().to_vec();
    key.extend_from_slice(&chunk.to_be_bytes());
    key
}

/// The prefix of a blob's chunks, in the space of blobs.
pub fn chunks(blob: BlobId) -> Key {
    blob.0.to_be_bytes().to_vec()
}

/// A removed message that a session may still fetch.
pub fn erase(account: AccountId, modseq: ModSeq, email: EmailId) -> Key {
    build(
        SYSTEM,
        table::ERASE,
        &[&account.get().to_be_bytes(), &modseq.get().to_be_bytes(), &email.0.to_be_bytes()],
    )
}

/// The prefix of an account's removed messages.
pub fn erases(account: AccountId) -> Key {
    build(SYSTEM, table::ERASE, &[&account.get().to_be_bytes()])
}

/// A deleted mailbox whose rows are still to be removed.
pub fn dropped(account: AccountId, mailbox: MailboxId) -> Key {
    build(SYSTEM, table::DROP, &[&account.get().to_be_bytes(), &mailbox.get().to_be_bytes()])
}

/// The prefix of an account's deleted mailboxes.
pub fn drops(account: AccountId) -> Key {
    build(SYSTEM, table::DROP, &[&account.get().to_be_bytes()])
}

/// A mailbox of `owner` that is shared to `who`.
pub fn shared(who: Grantee, owner: AccountId, mailbox: MailboxId) -> Key {
    let parts = [who.number(), owner.get(), mailbox.get()].map(u32::to_be_bytes);
    build(SYSTEM, table::SHARED, &[&parts[0], &parts[1], &parts[2]])
}

/// The prefix of all that is shared to `who`.
pub fn shared_with(who: Grantee) -> Key {
    build(SYSTEM, table::SHARED, &[&who.number().to_be_bytes()])
}

/// The owner and the mailbox that a SHARED key names, and to whom it is shared.
pub fn shared_parts(key: &[u8]) -> Result<(Grantee, AccountId, MailboxId), BadKey> {
    let (_, _, rest) = split(key)?;
    let rest: &[u8; 12] = rest.try_into().map_err(|_| bad(key))?;
    let owner = AccountId::new(be32(rest, 4)).ok_or_else(|| bad(key))?;
    let mailbox = MailboxId::new(be32(rest, 8)).ok_or_else(|| bad(key))?;
    Ok((Grantee::of(be32(rest, 0)), owner, mailbox))
}

/// The smallest key that no key with `prefix` reaches; none when `prefix` is all ones.
pub fn after(prefix: &[u8]) -> Option<Key> {
    let last = prefix.iter().rposition(|&octet| octet != u8::MAX)?;
    let mut key = prefix.get(..=last)?.to_vec();
    *key.last_mut()? += 1;
    Some(key)
}

/// Owner, table and rest of a key of the space `rows`.
pub fn split(key: &[u8]) -> Result<(u32, u8, &[u8]), BadKey> {
    let (owner, rest) = key.split_first_chunk::<4>().ok_or_else(|| bad(key))?;
    let (table, rest) = rest.split_first().ok_or_else(|| bad(key))?;
    Ok((u32::from_be_bytes(*owner), *table, rest))
}

/// All emails of an account.
pub fn emails(account: AccountId) -> Key {
    build(account.get(), table::EMAIL, &[])
}

/// The headers of all blobs.
pub fn blobs() -> Key {
    build(SYSTEM, table::BLOB, &[])
}

/// The number that ends a key.
pub fn last_number(key: &[u8]) -> Result<u64, BadKey> {
    let number = key.last_chunk::<8>().ok_or_else(|| bad(key))?;
    Ok(u64::from_be_bytes(*number))
}

/// The mailbox and the uid that end a MESSAGE or PACK key.
pub fn mailbox_and_uid(key: &[u8]) -> Result<(MailboxId, Uid), BadKey> {
    let (_, _, rest) = split(key)?;
    let (mailbox, uid) = rest.split_first_chunk::<4>().ok_or_else(|| bad(key))?;
    let uid: [u8; 4] = uid.try_into().map_err(|_| bad(key))?;
    let mailbox = MailboxId::new(u32::from_be_bytes(*mailbox)).ok_or_else(|| bad(key))?;
    Ok((mailbox, Uid::new(u32::from_be_bytes(uid)).ok_or_else(|| bad(key))?))
}

/// The parts of a METADATA key.
pub fn metadata_parts(key: &[u8]) -> Result<(MetadataPlace, &str), BadKey> {
    let (_, _, rest) = split(key)?;
    let (mailbox, rest) = rest.split_first_chunk::<4>().ok_or_else(|| bad(key))?;
    let (user, path) = rest.split_first_chunk::<4>().ok_or_else(|| bad(key))?;
    let place = MetadataPlace {
        mailbox: MailboxId::new(u32::from_be_bytes(*mailbox)),
        user: AccountId::new(u32::from_be_bytes(*user)),
    };
    Ok((place, std::str::from_utf8(path).map_err(|_| bad(key))?))
}

/// The parts of a CHANGE key.
pub fn change_parts(key: &[u8]) -> Result<(MailboxId, Which, ModSeq, Uid), BadKey> {
    let (_, _, rest) = split(key)?;
    let rest: &[u8; 17] = rest.try_into().map_err(|_| bad(key))?;
    let mailbox = MailboxId::new(be32(rest, 0)).ok_or_else(|| bad(key))?;
    let which = match rest[4] {
        0 => Which::Live,
        1 => Which::Tombstones,
        _ => return Err(bad(key)),
    };
    let modseq = ModSeq::new(be64(rest, 5)).ok_or_else(|| bad(key))?;
    Ok((mailbox, which, modseq, Uid::new(be32(rest, 13)).ok_or_else(|| bad(key))?))
}

/// The numbers that make up the rest of a key whose parts are 4 and 8 octets long, as said by
/// `widths`; times come back with their sign bit still flipped.
pub fn numbers<const N: usize>(key: &[u8], widths: [usize; N]) -> Result<[u64; N], BadKey> {
    let (_, _, mut rest) = split(key)?;
    let mut numbers = [0; N];
    for (number, width) in numbers.iter_mut().zip(widths) {
        let (part, tail) = rest.split_at_checked(width).ok_or_else(|| bad(key))?;
        *number = part.iter().fold(0, |value, octet| value << 8 | u64::from(*octet));
        rest = tail;
    }
    if rest.is_empty() { Ok(numbers) } else { Err(bad(key)) }
}

/// The blob and the number of a chunk's key.
pub fn chunk_parts(key: &[u8]) -> Result<(BlobId, u32), BadKey> {
    let key: &[u8; 12] = key.try_into().map_err(|_| bad(key))?;
    Ok((BlobId(be64(key, 0)), be32(key, 8)))
}

/// The time that [`numbers`] read.
pub fn to_time(number: u64) -> i64 {
    (number ^ SIGN).cast_signed()
}

const SIGN: u64 = 1 << 63;

fn time(seconds: i64) -> [u8; 8] {
    (seconds.cast_unsigned() ^ SIGN).to_be_bytes()
}

fn in_mailbox(account: AccountId, table: u8, mailbox: MailboxId) -> Key {
    build(account.get(), table, &[&mailbox.get().to_be_bytes()])
}

fn of_blob(table: u8, blob: BlobId) -> Key {
    build(SYSTEM, table, &[&blob.0.to_be_bytes()])
}

fn build(owner: u32, table: u8, parts: &[&[u8]]) -> Key {
    let mut key = Vec::with_capacity(5 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.extend_from_slice(&owner.to_be_bytes());
    key.push(table);
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

fn be32<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    bytes[at..at + 4].iter().fold(0, |value, octet| value << 8 | u32::from(*octet))
}

fn be64<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    bytes[at..at + 8].iter().fold(0, |value, octet| value << 8 | u64::from(*octet))
}

fn bad(key: &[u8]) -> BadKey {
    BadKey(key.to_vec())
}

#[cfg(test)]
mod tests;
