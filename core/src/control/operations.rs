//! What the control socket needs of the server.

use std::future::Future;
use std::pin::Pin;

use super::exchange::{Exchange, Gone, Transport};
use super::protocol::{Answer, Failure, FailureKind, Request};

/// A future that stays on its thread.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Carries out what the control socket is asked for.
pub trait Operations {
    /// Carries out `request` and says what it gave.
    ///
    /// Streams go through `exchange`: [`Exchange::read`] for what the client sends (requests with
    /// [`Request::has_input`] only), [`Exchange::write`] and [`Exchange::row`] for what it gets.
    /// What takes longer than a second calls [`Exchange::progress`] at least that often: it is
    /// how a client that went away is noticed. On [`Gone`] return it at once; what was already
    /// committed stays.
    fn run<'a, T: Transport>(
        &'a self,
        request: Request,
        exchange: &'a mut Exchange<T>,
    ) -> LocalFuture<'a, Result<Answer, OperationError>>;
}

/// Why an operation ended without an answer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum OperationError {
    /// The client is told why.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// There is no client any more.
    #[error(transparent)]
    Gone(#[from] Gone),
}

impl OperationError {
    /// A failure of this kind; see [`Failure::message`].
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self::Failed(Failure::new(kind, message))
    }
}
