//! What goes wrong, as the operator is told it.

use postrider_proto::address::{Address, Domain};
use postrider_proto::imap::mailbox::MailboxName;
use postrider_storage::committer::CommitError;
use postrider_storage::directory::{AccountName, AddressPattern, ApplyError, DirectoryError};

use crate::control::OperationError;
use crate::control::protocol::FailureKind;
use crate::runtime::PoolError;

pub(crate) fn invalid(message: impl Into<String>) -> OperationError {
    OperationError::new(FailureKind::Invalid, message)
}

/// A fault of the server, which is logged here.
pub(crate) fn internal(error: impl std::fmt::Display) -> OperationError {
    tracing::error!(%error, "a control request failed");
    OperationError::new(FailureKind::Internal, error.to_string())
}

pub(crate) fn busy(error: PoolError) -> OperationError {
    match error {
        PoolError::Full => OperationError::new(
            FailureKind::Unavailable,
            "the server has too much to do at the moment; try again later",
        ),
        PoolError::Panicked => {
            OperationError::new(FailureKind::Internal, "the server failed; its log says more")
        }
    }
}

/// Something goes on that can't be waited for.
pub(crate) fn long(what: &'static str) -> OperationError {
    OperationError::new(FailureKind::Unavailable, format!("{what}; try again when that is done"))
}

pub(crate) fn commit(error: &CommitError) -> OperationError {
    let message = format!("the store takes no writes: {error}; its log says more");
    OperationError::new(FailureKind::Unavailable, message)
}

/// Who can do something about what the directory refuses.
pub(super) fn directory(error: DirectoryError) -> OperationError {
    match kind(&error) {
        Some(kind) => OperationError::new(kind, error.to_string()),
        None => internal(error),
    }
}

/// Who can do something about a document that isn't applied.
pub(super) fn apply(error: ApplyError) -> OperationError {
    let kind = match &error {
        ApplyError::Document { .. } => Some(FailureKind::Invalid),
        ApplyError::Refused { error, .. } => kind(error),
    };
    match kind {
        Some(kind) => OperationError::new(kind, error.to_string()),
        None => internal(error),
    }
}

/// None is a fault of the server.
fn kind(error: &DirectoryError) -> Option<FailureKind> {
    use DirectoryError as E;
    Some(match error {
        E::Engine(_) => return None,
        E::NoDomain(_)
        | E::NoAccount(_)
        | E::NoAddress(_)
        | E::NoAlias(_)
        | E::NoMember { .. }
        | E::NoTlsKey { .. }
        | E::NoDkimKey { .. } => FailureKind::NotFound,
        E::DomainExists(_)
        | E::AccountExists(_)
        | E::AddressExists { .. }
        | E::MemberExists { .. }
        | E::TlsKeyExists { .. }
        | E::DkimKeyExists { .. } => FailureKind::Exists,
        E::DomainInUse { .. }
        | E::AccountHoldsMail(_)
        | E::AccountIsPostmaster(_)
        | E::AddressIsMember { .. }
        | E::AliasEmpty(_) => FailureKind::InUse,
        _ => FailureKind::Invalid,
    })
}

pub(super) fn domain(text: &str) -> Result<Domain, OperationError> {
    Domain::parse(text).map_err(|error| invalid(format!("{text:?} is no domain: {error}")))
}

pub(super) fn address(text: &str) -> Result<Address, OperationError> {
    Address::parse(text).map_err(|error| invalid(format!("{text:?} is no address: {error}")))
}

pub(super) fn pattern(text: &str) -> Result<AddressPattern, OperationError> {
    AddressPattern::parse(text).map_err(|error| invalid(format!("{text:?} is no address: {error}")))
}

pub(super) fn account(text: &str) -> Result<AccountName, OperationError> {
    AccountName::new(text).map_err(|error| invalid(format!("{text:?} is no account name: {error}")))
}

pub(super) fn mailbox(text: &str) -> Result<MailboxName, OperationError> {
    MailboxName::new(text).map_err(|error| invalid(format!("{text:?} is no mailbox: {error}")))
}
