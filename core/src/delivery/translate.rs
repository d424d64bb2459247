//! Between what `postrider_delivery` decides on, what SMTP says, and what the store keeps.

use postrider_delivery::outcome::{self, Answer, Failure, HostEnd, RecipientEnd, Stage, Unable};
use postrider_delivery::security::{Kind, Requirement};
use postrider_proto::smtp::client::{self, Outcome, Reply};
use postrider_storage::rows::{self, AttemptResult, QueueRow, RequireTls};

/// A reply as decisions know it.
pub(super) fn answer(reply: &Reply) -> Answer {
    let enhanced = reply.enhanced().map(|code| (u16::from(code.class), code.subject, code.detail));
    Answer::new(reply.code(), enhanced, reply.text())
}

/// What a reply was about. What comes while nothing was asked is about the connection.
pub(super) fn stage(stage: client::Stage) -> Stage {
    match stage {
        client::Stage::Greeting | client::Stage::Idle | client::Stage::Quit => Stage::Greeting,
        client::Stage::Hello | client::Stage::StartTls => Stage::Hello,
        client::Stage::Auth => Stage::Auth,
        client::Stage::Mail => Stage::Mail,
        client::Stage::Recipient => Stage::Recipient,
        client::Stage::Data => Stage::Data,
        client::Stage::Content => Stage::Content,
    }
}

/// How a conversation broke off.
pub(super) fn broken(reason: client::Broken) -> outcome::Broken {
    match reason {
        client::Broken::TimedOut => outcome::Broken::TimedOut,
        client::Broken::Fault(_) => outcome::Broken::Malformed,
        client::Broken::Closed | client::Broken::Io => outcome::Broken::Closed,
        client::Broken::Local => outcome::Broken::Here,
    }
}

/// What came of a host whose conversation ended before a message.
pub(super) fn host_end(failure: &client::Failure) -> HostEnd {
    match failure {
        client::Failure::Refused { stage: at, reply } => {
            HostEnd::Refused { stage: stage(*at), answer: answer(reply) }
        }
        client::Failure::Broken { stage: at, reason } => {
            HostEnd::Broken { stage: stage(*at), how: broken(*reason) }
        }
        client::Failure::NoMechanism => HostEnd::Unable(Unable::Mechanism),
        client::Failure::Authentication(_) => {
            HostEnd::Broken { stage: Stage::Auth, how: outcome::Broken::Malformed }
        }
    }
}

/// What came of a recipient; none for one that is to be in the next transaction.
pub(super) fn recipient_end(end: &Outcome, has_dsn: bool) -> Option<RecipientEnd> {
    Some(match end {
        Outcome::Delivered(reply) => RecipientEnd::Delivered { answer: answer(reply), has_dsn },
        Outcome::Refused { stage: at, reply } => {
            RecipientEnd::Refused { stage: stage(*at), answer: answer(reply) }
        }
        Outcome::Broken { stage: at, said: Some(reply), .. } if reply.code() >= 400 => {
            RecipientEnd::Refused { stage: stage(*at), answer: answer(reply) }
        }
        Outcome::Broken { stage: at, reason, .. } => {
            RecipientEnd::Broken { stage: stage(*at), how: broken(*reason) }
        }
        Outcome::NextTransaction => return None,
    })
}

/// The kind of a message.
pub(super) fn kind(row: &QueueRow) -> Kind {
    match row.kind {
        rows::Kind::DmarcReport => Kind::DmarcReport,
        rows::Kind::TlsReport => Kind::TlsReport,
        rows::Kind::Report => Kind::Notification,
        rows::Kind::Ordinary if row.mail_from.is_empty() => Kind::Notification,
        rows::Kind::Ordinary => Kind::Message,
    }
}

/// What the sender wants of TLS.
pub(super) fn requirement(row: &QueueRow) -> Requirement {
    match row.require_tls {
        RequireTls::Unset => Requirement::Unset,
        RequireTls::Required => Requirement::Required,
        RequireTls::No => Requirement::No,
    }
}

/// A failure as it is kept.
pub(super) fn failed(failure: &Failure, now: i64) -> AttemptResult {
    let host = failure.host.as_deref().unwrap_or_default();
    match &failure.answer {
        Some(answer) => replied(answer, host, now),
        None => {
            let class = if failure.status.class == outcome::Class::Permanent { 5 } else { 4 };
            let enhanced = [class, failure.status.subject, failure.status.detail];
            AttemptResult::new(now, 0, Some(enhanced), host, &failure.reason)
        }
    }
}

/// A reply as it is kept.
pub(super) fn replied(answer: &Answer, host: &str, now: i64) -> AttemptResult {
    let enhanced = answer.enhanced.map(|(class, subject, detail)| [class, subject, detail]);
    AttemptResult::new(now, answer.code, enhanced, host, answer.text())
}
