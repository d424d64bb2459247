//! A report as a message: composed, signed, and queued.

use std::rc::Rc;

use postrider_proto::address::Address;
use postrider_proto::mime::compose::{File, Letter, compose};
use postrider_proto::smtp::envelope::Notify;
use postrider_storage::blobs::Sharing;
use postrider_storage::engine::Batch;
use postrider_storage::queue::{NewQueued, NewRecipient};
use postrider_storage::rows::{Kind, RequireTls, Ret};
use tracing::warn;

use crate::clock::unix_now;
use crate::delivery;
use crate::intake::{self, Intake};
use crate::shard::Shard;
use crate::signing;

/// Attempts to deliver a report.
const ATTEMPTS_MAX: u32 = 5;

/// A report to be sent.
pub(crate) struct Draft<'a> {
    /// What it is about.
    pub(crate) kind: Kind,
    /// All who get it, in one message; at least one.
    pub(crate) to: &'a [Address],
    /// Its subject.
    pub(crate) subject: String,
    /// Its Message-ID, without angle brackets.
    pub(crate) message_id: String,
    /// Further fields.
    pub(crate) fields: Vec<(&'static str, String)>,
    /// Which kind of report it is as `multipart/report`; none is `multipart/mixed`.
    pub(crate) report_type: Option<&'static str>,
    /// For people.
    pub(crate) text: String,
    /// The report; none is a text alone.
    pub(crate) file: Option<File<'a>>,
    /// What is wanted of transport security. [`RequireTls::No`] is said in the message, too (RFC 8689 §3).
    pub(crate) require_tls: RequireTls,
    /// When it is written, in seconds since 1970.
    pub(crate) now: i64,
}

/// Why a report isn't sent. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unsent {
    /// It can't be signed, and nobody has to believe reports without signature (RFC 8460 §3).
    #[error("it can't be signed")]
    Unsigned,
    /// The store doesn't take it.
    #[error("{0}")]
    Failed(String),
}

/// The address that reports come from: its domain is the one that they name as their submitter (RFC 8460 §5.3).
pub(crate) fn sender(shard: &Shard) -> Option<Address> {
    Address::parse(&format!("postmaster@{}", shard.shared.config.hostname.domain())).ok()
}

/// Whether reports can be signed: there are keys for a domain that this host's name is in. Says what to do otherwise,
/// so it is to be asked once for all reports.
pub(crate) async fn can_sign(shard: &Shard) -> bool {
    let hostname = shard.shared.config.hostname.domain();
    match signing::has_keys(shard, hostname).await {
        Ok(true) => true,
        Ok(false) => {
            warn!(
                %hostname,
                "no reports are sent to other domains, since nothing signs them: add the domain of this host's name \
                 with `postrider domain add` and a key with `postrider domain dkim add`, or switch reports off in \
                 [reports]"
            );
            false
        }
        Err(error) => {
            warn!(%error, "no reports are sent to other domains now: the keys that sign them can't be read");
            false
        }
    }
}

/// Signs a report and queues it, and waits for the disk. `also` is in the same batch: what the report is made of goes
/// when it is queued, and not otherwise.
///
/// The reverse path is that of its author: only notifications about messages have none (RFC 5321 §4.5.5). Nobody is
/// to answer it nevertheless (NOTIFY=NEVER).
pub(crate) async fn send(shard: &Rc<Shard>, draft: Draft<'_>, also: Batch) -> Result<(), Unsent> {
    let shared = &shard.shared;
    let from = sender(shard).ok_or(Unsent::Unsigned)?;
    let mut fields = draft.fields;
    if draft.require_tls == RequireTls::No {
        fields.push(("TLS-Required", "No".to_owned()));
    }
    let text = compose(&Letter {
        from: &from,
        to: draft.to,
        subject: &draft.subject,
        now: draft.now,
        message_id: &draft.message_id,
        unique: &delivery::nonce(),
        fields: &fields,
        report_type: draft.report_type,
        text: &draft.text,
        file: draft.file,
    });
    let prefix = signing::sign_ours(shard, shared.config.hostname.domain(), &text).await;
    if prefix.is_empty() {
        return Err(Unsent::Unsigned);
    }
    let failed = |error: intake::IntakeError| Unsent::Failed(error.to_string());
    let mut taken = Intake::new(&shared.store, &shared.committer, u64::MAX);
    taken.push(&text).await.map_err(failed)?;
    let message = taken.finish(Sharing::One).map_err(failed)?;
    let content = message.content;
    let recipient = |address: &Address| NewRecipient {
        notify: Some(Notify::default()),
        ..NewRecipient::new(address.to_string())
    };
    let queued = NewQueued {
        prefix,
        mail_from: from.to_string().into(),
        kind: draft.kind,
        require_tls: draft.require_tls,
        ret: Ret::Headers,
        max_attempts: ATTEMPTS_MAX,
        ..NewQueued::new(content, unix_now(), draft.to.iter().map(recipient).collect())
    };
    let queued = delivery::enqueue(shard, queued, message, also).await.map_err(Unsent::Failed);
    if queued.is_err() {
        intake::abandon(&shared.committer, content);
    }
    queued
}
