//! Response codes (RFC 9051 §7.1, RFC 5530, RFC 7162 §6, RFC 4315, RFC 5267, RFC 6154, RFC 4467, RFC 4469,
//! RFC 4978, RFC 5464, RFC 5465, RFC 8474, RFC 9585, RFC 9586, RFC 9738, RFC 10022).

use super::super::command::{Events, Tag};
use super::super::objectid::ObjectId;
use super::super::types::{Flags, Keyword, ModSeq, Uid, UidValidity};
use super::super::uidset::UidSet;
use super::fetch::write_flag_list;
use super::write_number;

/// What stands in brackets before the text of a status response.
#[derive(Clone, Copy, Debug)]
pub enum Code<'a> {
    /// ALERT: the user has to see the text.
    Alert,
    /// ALREADYEXISTS
    AlreadyExists,
    /// APPENDUID: the uids of appended messages (RFC 4315 §3)
    AppendUid(UidValidity, &'a UidSet),
    /// AUTHENTICATIONFAILED
    AuthenticationFailed,
    /// AUTHORIZATIONFAILED
    AuthorizationFailed,
    /// BADURL: the URL that can't be used (RFC 4469 §4.1)
    BadUrl(&'a str),
    /// BADCHARSET, with those that are supported
    BadCharset,
    /// BADEVENT, with those that are supported (RFC 5465 §3.1)
    BadEvent,
    /// CANNOT
    Cannot,
    /// CAPABILITY, the names separated by spaces
    Capability(&'a str),
    /// CLIENTBUG
    ClientBug,
    /// CLOSED: the mailbox selected before is (RFC 7162 §3.2.11)
    Closed,
    /// COMPRESSIONACTIVE (RFC 4978 §3)
    CompressionActive,
    /// CONTACTADMIN
    ContactAdmin,
    /// COPYUID: uid validity of the target, the uids copied, their new uids (RFC 4315 §3)
    CopyUid(UidValidity, &'a UidSet, &'a UidSet),
    /// CORRUPTION
    Corruption,
    /// EXPIRED
    Expired,
    /// EXPUNGEISSUED
    ExpungeIssued,
    /// HASCHILDREN
    HasChildren,
    /// HIGHESTMODSEQ (RFC 7162 §3.1.2.1)
    HighestModSeq(ModSeq),
    /// INPROGRESS: a command that goes on (RFC 9585 §4)
    InProgress {
        /// Its tag.
        tag: &'a Tag,
        /// How many messages it has dealt with.
        done: u32,
        /// How many it deals with in all, when that is known; more than `done`.
        goal: Option<u32>,
    },
    /// INUSE
    InUse,
    /// LIMIT
    Limit,
    /// METADATA LONGENTRIES: the longest value that was left out (RFC 5464 §4.2.1)
    MetadataLongEntries(u64),
    /// METADATA MAXSIZE: what a value may have (RFC 5464 §4.3)
    MetadataMaxSize(u64),
    /// METADATA TOOMANY (RFC 5464 §4.3)
    MetadataTooMany,
    /// MAILBOXID (RFC 8474 §4)
    MailboxId(ObjectId),
    /// MESSAGELIMIT: the limit, and the lowest uid that was dealt with (RFC 9738 §3.1)
    MessageLimit(u32, Option<Uid>),
    /// MODIFIED: the numbers or uids that failed UNCHANGEDSINCE (RFC 7162 §3.1.3)
    Modified(&'a UidSet),
    /// NOMODSEQ (RFC 7162 §3.1.2.2)
    NoModSeq,
    /// NONEXISTENT
    NonExistent,
    /// NOPERM
    NoPerm,
    /// NOTIFICATIONOVERFLOW: no more events are told (RFC 5465 §5.8)
    NotificationOverflow,
    /// NOTSAVED: `$` is empty (RFC 5182 §2.1)
    NotSaved,
    /// NOUPDATE: the tag of the search whose results aren't told on (RFC 5267 §4.3.1)
    NoUpdate(&'a str),
    /// OVERQUOTA
    OverQuota,
    /// PERMANENTFLAGS; with `true`, new keywords can be made (`\*`)
    PermanentFlags(Flags, &'a [Keyword], bool),
    /// PRIVACYREQUIRED
    PrivacyRequired,
    /// READ-ONLY
    ReadOnly,
    /// READ-WRITE
    ReadWrite,
    /// SERVERBUG
    ServerBug,
    /// TOOBIG (RFC 7889 §4, RFC 4469)
    TooBig,
    /// TOOFEW: batches of so few messages aren't told (RFC 10022)
    TooFew,
    /// TOOMANY: batches of so many messages aren't told (RFC 10022)
    TooMany,
    /// TRYCREATE
    TryCreate,
    /// UIDNEXT
    UidNext(Uid),
    /// UIDNOTSTICKY
    UidNotSticky,
    /// UIDREQUIRED: message numbers can't be used (RFC 9586 §3)
    UidRequired,
    /// UIDVALIDITY
    UidValidity(UidValidity),
    /// UNAVAILABLE
    Unavailable,
    /// UNKNOWN-CTE (RFC 3516 §4.3)
    UnknownCte,
    /// UNSEEN: the number of the first message without `\Seen` (RFC 3501 §7.1)
    Unseen(u32),
    /// URLMECH: URLs are authorised by INTERNAL (RFC 4467 §8)
    UrlMech,
    /// USEATTR (RFC 6154 §3)
    UseAttr,
}

impl Code<'_> {
    /// Appends the code without brackets.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.name().as_bytes());
        match *self {
            Self::Capability(names) => {
                out.push(b' ');
                out.extend_from_slice(names.as_bytes());
            }
            Self::AppendUid(validity, uids) => {
                number(out, validity.0.get().into());
                set(out, uids);
            }
            Self::CopyUid(validity, from, to) => {
                number(out, validity.0.get().into());
                set(out, from);
                set(out, to);
            }
            Self::BadCharset => out.extend_from_slice(b" (US-ASCII UTF-8)"),
            Self::BadEvent => {
                for (index, (_, name)) in Events::ALL.into_iter().enumerate() {
                    out.extend_from_slice(if index == 0 { b" (" } else { b" " });
                    out.extend_from_slice(name.as_bytes());
                }
                out.push(b')');
            }
            Self::HighestModSeq(modseq) => number(out, modseq.get()),
            Self::MetadataLongEntries(octets) | Self::MetadataMaxSize(octets) => number(out, octets),
            Self::BadUrl(url) => write_url(out, url),
            Self::UrlMech => out.extend_from_slice(b" INTERNAL"),
            Self::InProgress { tag, done, goal } => {
                // A tag has no character that quotes would need escaped.
                out.extend_from_slice(b" (\"");
                out.extend_from_slice(tag.as_str().as_bytes());
                out.push(b'"');
                number(out, done.into());
                match goal {
                    Some(goal) => number(out, goal.into()),
                    None => out.extend_from_slice(b" NIL"),
                }
                out.push(b')');
            }
            Self::MailboxId(id) => {
                out.extend_from_slice(b" (");
                id.write(out);
                out.push(b')');
            }
            Self::MessageLimit(limit, lowest) => {
                number(out, limit.into());
                if let Some(lowest) = lowest {
                    number(out, lowest.get().into());
                }
            }
            Self::Modified(numbers) => set(out, numbers),
            Self::PermanentFlags(flags, keywords, any) => {
                out.push(b' ');
                let keywords = keywords.iter().map(Keyword::as_str);
                write_flag_list(out, flags, keywords.chain(any.then_some("\\*")));
            }
            Self::NoUpdate(tag) => {
                // A tag has no character that quotes would need escaped.
                out.extend_from_slice(b" \"");
                out.extend_from_slice(tag.as_bytes());
                out.push(b'"');
            }
            Self::UidNext(uid) => number(out, uid.get().into()),
            Self::UidValidity(validity) => number(out, validity.0.get().into()),
            Self::Unseen(sequence) => number(out, sequence.into()),
            _ => {}
        }
    }

    /// The name as registered.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Alert => "ALERT",
            Self::AlreadyExists => "ALREADYEXISTS",
            Self::AppendUid(..) => "APPENDUID",
            Self::AuthenticationFailed => "AUTHENTICATIONFAILED",
            Self::AuthorizationFailed => "AUTHORIZATIONFAILED",
            Self::BadCharset => "BADCHARSET",
            Self::BadEvent => "BADEVENT",
            Self::BadUrl(_) => "BADURL",
            Self::Cannot => "CANNOT",
            Self::Capability(_) => "CAPABILITY",
            Self::ClientBug => "CLIENTBUG",
            Self::Closed => "CLOSED",
            Self::CompressionActive => "COMPRESSIONACTIVE",
            Self::ContactAdmin => "CONTACTADMIN",
            Self::CopyUid(..) => "COPYUID",
            Self::Corruption => "CORRUPTION",
            Self::Expired => "EXPIRED",
            Self::ExpungeIssued => "EXPUNGEISSUED",
            Self::HasChildren => "HASCHILDREN",
            Self::HighestModSeq(_) => "HIGHESTMODSEQ",
            Self::InProgress { .. } => "INPROGRESS",
            Self::InUse => "INUSE",
            Self::Limit => "LIMIT",
            Self::MetadataLongEntries(_) => "METADATA LONGENTRIES",
            Self::MetadataMaxSize(_) => "METADATA MAXSIZE",
            Self::MetadataTooMany => "METADATA TOOMANY",
            Self::MailboxId(_) => "MAILBOXID",
            Self::MessageLimit(..) => "MESSAGELIMIT",
            Self::Modified(_) => "MODIFIED",
            Self::NoModSeq => "NOMODSEQ",
            Self::NonExistent => "NONEXISTENT",
            Self::NoPerm => "NOPERM",
            Self::NotificationOverflow => "NOTIFICATIONOVERFLOW",
            Self::NotSaved => "NOTSAVED",
            Self::NoUpdate(_) => "NOUPDATE",
            Self::OverQuota => "OVERQUOTA",
            Self::PermanentFlags(..) => "PERMANENTFLAGS",
            Self::PrivacyRequired => "PRIVACYREQUIRED",
            Self::ReadOnly => "READ-ONLY",
            Self::ReadWrite => "READ-WRITE",
            Self::ServerBug => "SERVERBUG",
            Self::TooBig => "TOOBIG",
            Self::TooFew => "TOOFEW",
            Self::TooMany => "TOOMANY",
            Self::TryCreate => "TRYCREATE",
            Self::UidNext(_) => "UIDNEXT",
            Self::UidNotSticky => "UIDNOTSTICKY",
            Self::UidRequired => "UIDREQUIRED",
            Self::UidValidity(_) => "UIDVALIDITY",
            Self::Unavailable => "UNAVAILABLE",
            Self::UnknownCte => "UNKNOWN-CTE",
            Self::Unseen(_) => "UNSEEN",
            Self::UrlMech => "URLMECH",
            Self::UseAttr => "USEATTR",
        }
    }
}

/// Octets of a URL that are repeated to its client.
const URL_OCTETS_TOLD_MAX: usize = 1000;

/// Appends a URL. What no response code may hold is percent-encoded, and a long one is cut.
fn write_url(out: &mut Vec<u8>, url: &str) {
    out.push(b' ');
    if url.is_empty() {
        out.extend_from_slice(b"\"\"");
    }
    for octet in url.bytes().take(URL_OCTETS_TOLD_MAX) {
        if octet.is_ascii_graphic() && octet != b']' {
            out.push(octet);
        } else {
            out.extend_from_slice(format!("%{octet:02X}").as_bytes());
        }
    }
}

fn number(out: &mut Vec<u8>, number: u64) {
    out.push(b' ');
    write_number(out, number);
}

fn set(out: &mut Vec<u8>, uids: &UidSet) {
    out.push(b' ');
    uids.write(out);
}
