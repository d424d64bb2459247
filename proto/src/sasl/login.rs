//! LOGIN: the server asks for the name, then for the password. Described only by the expired
//! draft-murchison-sasl-login; the prompts are the ones that clients look for.

use super::exchange::{FailureKind, Step};
use super::text::Login;
use super::{Limits, plain};

#[derive(Debug)]
pub(super) enum LoginExchange {
    Name,
    Password(Login),
}

impl LoginExchange {
    /// The prompt for the name.
    pub(super) const USERNAME: &'static [u8] = b"Username:";
    /// The prompt for the password.
    pub(super) const PASSWORD: &'static [u8] = b"Password:";

    pub(super) const fn new() -> Self {
        Self::Name
    }

    pub(super) fn respond(&mut self, message: &[u8], limits: &Limits) -> Result<Step, FailureKind> {
        match self {
            Self::Name => {
                *self = Self::Password(Login::new(message, limits).map_err(plain::login_failure)?);
                Ok(Step::Challenge(Self::PASSWORD.to_vec()))
            }
            Self::Password(login) => {
                let password = plain::received_password(message, limits)?;
                Ok(Step::VerifyPassword { login: login.clone(), password })
            }
        }
    }
}
