//! Passwords that were found right lately.
//!
//! Clients that poll log in every minute; deriving a key each time would cost more than their whole
//! session. What is kept is a keyed hash under a key that never leaves the process, together with the
//! stored secrets it was checked against, so that a changed password counts at once.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ring::hmac;

/// Entries that are kept at most.
const ENTRIES_MAX: usize = 50_000;
/// How long an entry counts, in seconds.
const LIFETIME: u64 = 15 * 60;

/// The keyed hash of a name, a password and the secrets that it fits.
type Digest = [u8; 32];

pub struct Cache {
    key: hmac::Key,
    entries: Mutex<HashMap<Digest, u64>>,
}

impl Cache {
    pub fn new(key: &[u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), entries: Mutex::default() }
    }

    /// What stands for a password that fits `secrets`, encoded.
    pub fn digest(&self, login: &str, password: &str, secrets: &[u8]) -> Digest {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [login.as_bytes(), password.as_bytes(), secrets] {
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(part);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }

    /// Whether this was found right in the last quarter of an hour. `now` is in seconds.
    pub fn knows(&self, digest: &Digest, now: u64) -> bool {
        self.entries().get(digest).is_some_and(|since| now.saturating_sub(*since) < LIFETIME)
    }

    /// Remembers that it was found right.
    pub fn remember(&self, digest: Digest, now: u64) {
        let mut entries = self.entries();
        if entries.len() >= ENTRIES_MAX {
            entries.retain(|_, since| now.saturating_sub(*since) < LIFETIME);
        }
        if entries.len() < ENTRIES_MAX {
            entries.insert(digest, now);
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Digest, u64>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn entries_end_and_depend_on_name_password_and_secrets() {
        let cache = Cache::new(&[1; 32]);
        let digest = cache.digest("a@b", "password", b"secrets");
        assert!(!cache.knows(&digest, 0));
        cache.remember(digest, 0);
        assert!(cache.knows(&digest, LIFETIME - 1));
        assert!(!cache.knows(&digest, LIFETIME));
        for other in [
            cache.digest("a@", "bpassword", b"secrets"),
            cache.digest("a@b", "Password", b"secrets"),
            cache.digest("a@b", "password", b"other"),
            Cache::new(&[2; 32]).digest("a@b", "password", b"secrets"),
        ] {
            assert!(!cache.knows(&other, 0));
        }
    }

    #[test]
    fn the_cache_is_bounded() {
        let cache = Cache::new(&[1; 32]);
        for number in 0..ENTRIES_MAX + 1 {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&number.to_be_bytes());
            cache.remember(digest, 0);
        }
        assert_eq!(cache.entries().len(), ENTRIES_MAX);
        cache.remember([255; 32], LIFETIME);
        assert!(cache.knows(&[255; 32], LIFETIME));
        assert_eq!(cache.entries.lock().unwrap().len(), 1);
    }
}
