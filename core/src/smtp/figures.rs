//! Under which labels commands, replies and limits are counted. The session knows of no metrics; what it
//! asks and says tells enough.

use postrider_proto::smtp::Reply;
use postrider_proto::smtp::reply::Class;
use postrider_proto::smtp::server::{Dialect, Question};

use crate::metrics::{Limit, ReplyClass, SmtpCommand};

/// The command that a question comes from. The end of the content counts as `DATA`, also with `BDAT`.
pub(super) fn command(question: &Question) -> SmtpCommand {
    match question {
        Question::Hello(hello) if hello.dialect == Dialect::Smtp => SmtpCommand::Helo,
        Question::Hello(_) => SmtpCommand::Ehlo,
        Question::AuthBegin { .. } | Question::AuthRespond(_) => SmtpCommand::Auth,
        Question::Sender(_) => SmtpCommand::Mail,
        Question::Recipient(_) => SmtpCommand::Rcpt,
        Question::Content | Question::Deliver { .. } => SmtpCommand::Data,
    }
}

/// The class of a reply.
pub(super) fn class(reply: &Reply) -> ReplyClass {
    match reply.class() {
        Class::Positive => ReplyClass::Positive,
        Class::Intermediate => ReplyClass::Intermediate,
        Class::Transient => ReplyClass::Temporary,
        Class::Permanent => ReplyClass::Permanent,
    }
}

/// The limit that a reply tells of.
pub(super) fn limit(reply: &Reply) -> Option<Limit> {
    if !reply.is_refusal() {
        return None;
    }
    let limits = [
        (Reply::LINE_TOO_LONG, Limit::SmtpLineOctets),
        (Reply::MESSAGE_TOO_BIG, Limit::MessageOctets),
        (Reply::MESSAGE_OVER_LIMIT, Limit::MessageOctets),
        (Reply::TOO_MANY_RECIPIENTS, Limit::Recipients),
        (Reply::TIMEOUT, Limit::SmtpIdleTime),
        (Reply::TOO_MANY_FAILURES, Limit::FailedTransactions),
        (Reply::TOO_MANY_ERRORS, Limit::SmtpBadCommands),
        (Reply::MAIL_LOOP, Limit::ReceivedFields),
        (Reply::MAILBOX_FULL, Limit::Quota),
        (Reply::TOO_MUCH_MAIL, Limit::DeliveryRate),
        (Reply::TOO_MANY_AUTH_FAILURES, Limit::ConnectionAuthenticationFailures),
    ];
    limits.into_iter().find(|(known, _)| known == reply).map(|(_, limit)| limit)
}
