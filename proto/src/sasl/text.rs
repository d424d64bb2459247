//! Names and passwords as texts: login names in normal form C, passwords by PRECIS OpaqueString
//! (RFC 8265 §4.2).
//!
//! Deviation: RFC 5802 §5.1 asks for SASLprep (RFC 4013); RFC 8265 replaces it. Both give the same
//! for ASCII and nearly all else; SASLprep additionally folds compatibility characters.

use std::borrow::Borrow;
use std::fmt;

use precis_profiles::OpaqueString;
use precis_profiles::precis_core::profile::PrecisFastInvocation;
use unicode_normalization::UnicodeNormalization;

use super::{Limits, Secret};

/// The name that a client logs in with: UTF-8 in normal form C, not empty, no control characters.
/// Everything else (`%`, `*`, quotes, spaces) is plain data. Who it stands for, the directory says.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Login(Box<str>);

/// Why octets are no login name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadLogin {
    /// Nothing at all.
    #[error("login name is empty")]
    Empty,
    /// Longer than [`Limits::login_octets_max`].
    #[error("login name is too long")]
    TooLong,
    /// Not UTF-8.
    #[error("login name is not UTF-8")]
    NotUtf8,
    /// A control character, NUL among them.
    #[error("login name has a control character")]
    Control,
}

impl Login {
    /// Checks and normalises a name.
    pub fn new(octets: &[u8], limits: &Limits) -> Result<Self, BadLogin> {
        if octets.is_empty() {
            return Err(BadLogin::Empty);
        }
        if octets.len() > limits.login_octets_max {
            return Err(BadLogin::TooLong);
        }
        let text = str::from_utf8(octets).map_err(|_| BadLogin::NotUtf8)?;
        if text.chars().any(char::is_control) {
            return Err(BadLogin::Control);
        }
        let normal: String = text.nfc().collect();
        // Normal form C can be longer than what it came from.
        if normal.len() > limits.login_octets_max {
            return Err(BadLogin::TooLong);
        }
        Ok(Self(normal.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Login {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text cannot become somebody's password.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadPassword {
    /// Shorter than [`NEW_PASSWORD_OCTETS_MIN`].
    #[error("password has less than 8 octets")]
    TooShort,
    /// Longer than [`Limits::password_octets_max`].
    #[error("password is too long")]
    TooLong,
    /// Control characters and others that RFC 8265 §4.2 does not allow.
    #[error("password has a character that clients cannot send, such as a control character")]
    Disallowed,
}

/// The shortest password that can be set.
pub const NEW_PASSWORD_OCTETS_MIN: usize = 8;

/// Prepares a password that somebody sends or types (PRECIS OpaqueString).
pub fn prepare_password(octets: &[u8], limits: &Limits) -> Result<Secret<String>, BadPassword> {
    if octets.len() > limits.password_octets_max {
        return Err(BadPassword::TooLong);
    }
    let text = str::from_utf8(octets).map_err(|_| BadPassword::Disallowed)?;
    let prepared = OpaqueString::enforce(text).map_err(|_| BadPassword::Disallowed)?;
    Ok(Secret::new(prepared.into_owned()))
}

/// Prepares a password that is to be set: as [`prepare_password`], and not too short.
pub fn prepare_new_password(octets: &[u8], limits: &Limits) -> Result<Secret<String>, BadPassword> {
    let password = prepare_password(octets, limits)?;
    if password.expose().len() < NEW_PASSWORD_OCTETS_MIN {
        return Err(BadPassword::TooShort);
    }
    Ok(password)
}
