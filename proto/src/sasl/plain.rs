//! PLAIN (RFC 4616): `[authzid] NUL authcid NUL passwd` in one message.

use super::exchange::FailureKind;
use super::text::{self, BadLogin, BadPassword, Login};
use super::{Limits, Secret};

/// Reads the message.
pub(super) fn parse(message: &[u8], limits: &Limits) -> Result<(Login, Secret<String>), FailureKind> {
    let mut parts = message.split(|&octet| octet == 0);
    let (Some(authzid), Some(authcid), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(FailureKind::BadSyntax);
    };
    let login = Login::new(authcid, limits).map_err(login_failure)?;
    check_authzid(authzid, &login, limits)?;
    Ok((login, received_password(password, limits)?))
}

/// Allows no identity but the login's own.
pub(super) fn check_authzid(authzid: &[u8], login: &Login, limits: &Limits) -> Result<(), FailureKind> {
    if authzid.is_empty() || Login::new(authzid, limits).map_err(login_failure)? == *login {
        Ok(())
    } else {
        Err(FailureKind::AuthzidDiffers)
    }
}

/// Prepares a password as received. One that could never have been set is a wrong one.
pub(super) fn received_password(octets: &[u8], limits: &Limits) -> Result<Secret<String>, FailureKind> {
    if octets.is_empty() {
        return Err(FailureKind::BadSyntax);
    }
    text::prepare_password(octets, limits).map_err(|bad| match bad {
        BadPassword::TooLong => FailureKind::TooLong,
        BadPassword::TooShort | BadPassword::Disallowed => FailureKind::BadCredentials,
    })
}

/// What is said of a bad name.
pub(super) const fn login_failure(bad: BadLogin) -> FailureKind {
    match bad {
        BadLogin::TooLong => FailureKind::TooLong,
        BadLogin::Empty | BadLogin::NotUtf8 | BadLogin::Control => FailureKind::BadSyntax,
    }
}
