//! What is stored of a password: verifiers, never the password.
//!
//! SCRAM verifiers are salt, iteration count, StoredKey and ServerKey (RFC 5802 §3); PLAIN and LOGIN
//! check a password against the SCRAM-SHA-256 one. The CRAM-MD5 verifier is the pair of HMAC states
//! that RFC 2195 §3 describes: who reads it can log in with CRAM-MD5, so it may be left out.
//!
//! Stored form (version 1), integers little-endian:
//!
//! | octets | meaning |
//! |---|---|
//! | 1 | version, 1 |
//! | 1 | bits: 1 SCRAM-SHA-1 follows, 2 CRAM-MD5 follows |
//! | 4 + 1 + n + 32 + 32 | SCRAM-SHA-256: iterations, salt length, salt, StoredKey, ServerKey |
//! | 4 + 1 + n + 20 + 20 | SCRAM-SHA-1, likewise |
//! | 16 + 16 | CRAM-MD5: inner and outer state |

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};
use subtle::ConstantTimeEq;

use super::exchange::Verdict;
use super::md5;

/// The least iteration count that is stored (RFC 7677 §4).
pub const ITERATIONS_MIN: u32 = 4096;
/// The most, so that a hand-written verifier cannot stop a worker for minutes.
pub const ITERATIONS_MAX: u32 = 10_000_000;
/// The count for new passwords, unless configured.
pub const ITERATIONS_DEFAULT: u32 = 16_384;
/// The octets of a salt that we draw.
pub const SALT_OCTETS: usize = 16;
const SALT_OCTETS_MIN: usize = 4;
const SALT_OCTETS_MAX: usize = 64;

const VERSION: u8 = 1;
const HAS_SCRAM_SHA_1: u8 = 1;
const HAS_CRAM_MD5: u8 = 2;

/// A SCRAM verifier (RFC 5802 §3) with keys of `N` octets.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramVerifier<const N: usize> {
    iterations: u32,
    salt: Box<[u8]>,
    stored_key: [u8; N],
    server_key: [u8; N],
}

/// A CRAM-MD5 verifier: the states of HMAC-MD5 after its key.
#[derive(Clone, PartialEq, Eq)]
pub struct CramVerifier {
    inner: md5::State,
    outer: md5::State,
}

/// All that is stored of one password.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredSecrets {
    /// For SCRAM-SHA-256, PLAIN and LOGIN.
    pub scram_sha_256: ScramVerifier<32>,
    /// For SCRAM-SHA-1.
    pub scram_sha_1: Option<ScramVerifier<20>>,
    /// For CRAM-MD5.
    pub cram_md5: Option<CramVerifier>,
}

/// What a derivation needs besides the password.
#[derive(Clone, Copy, Debug)]
pub struct Derivation {
    /// Iterations, clamped to [`ITERATIONS_MIN`] and [`ITERATIONS_MAX`].
    pub iterations: u32,
    /// Random octets for SCRAM-SHA-256.
    pub salt_sha_256: [u8; SALT_OCTETS],
    /// Random octets for SCRAM-SHA-1.
    pub salt_sha_1: [u8; SALT_OCTETS],
}

/// Why stored or written secrets cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadSecrets {
    /// A version that this program does not know.
    #[error("stored secrets have version {0}, which this program does not know")]
    Version(u8),
    /// Too short, too long, or out of bounds.
    #[error("stored secrets are damaged")]
    Damaged,
    /// A text that is no verifier.
    #[error(
        "no verifier of the form SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey, SCRAM-SHA-1$... or CRAM-MD5$inner:outer"
    )]
    Text,
    /// A mechanism given twice, or SCRAM-SHA-256 not given.
    #[error("verifiers must include SCRAM-SHA-256, and none twice")]
    Incomplete,
}

impl StoredSecrets {
    /// Derives verifiers from a prepared password. Takes milliseconds: run it on a worker.
    pub fn derive(password: &str, derivation: &Derivation) -> Self {
        let iterations = derivation.iterations.clamp(ITERATIONS_MIN, ITERATIONS_MAX);
        Self {
            scram_sha_256: ScramVerifier::derive(password, &derivation.salt_sha_256, iterations),
            scram_sha_1: Some(ScramVerifier::derive(password, &derivation.salt_sha_1, iterations)),
            cram_md5: Some(CramVerifier::derive(password)),
        }
    }

    /// Makes what stands in for an account that does not exist: the same for the same `login` as
    /// long as the server keeps its secret, of the shape of real secrets, and matched by no
    /// password. `login` is to be the canonical name, so that spellings which would mean the same
    /// account get the same salt; `iterations` is to be what new passwords get.
    pub fn dummy(server_secret: &[u8], login: &str, iterations: u32) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, server_secret);
        let draw = |purpose: &str| {
            let mut context = hmac::Context::with_key(&key);
            context.update(purpose.as_bytes());
            context.update(&[0]);
            context.update(login.as_bytes());
            let tag = context.sign();
            let mut octets = [0; 32];
            octets.copy_from_slice(tag.as_ref());
            octets
        };
        let iterations = iterations.clamp(ITERATIONS_MIN, ITERATIONS_MAX);
        Self {
            scram_sha_256: ScramVerifier {
                iterations,
                salt: draw("sha-256 salt")[..SALT_OCTETS].into(),
                stored_key: draw("sha-256 stored key"),
                server_key: draw("sha-256 server key"),
            },
            scram_sha_1: Some(ScramVerifier {
                iterations,
                salt: draw("sha-1 salt")[..SALT_OCTETS].into(),
                stored_key: first(draw("sha-1 stored key")),
                server_key: first(draw("sha-1 server key")),
            }),
            cram_md5: Some(CramVerifier { inner: first(draw("md5 inner")), outer: first(draw("md5 outer")) }),
        }
    }

    /// Checks a prepared password. Takes milliseconds: run it on a worker. For an account that does
    /// not exist it is to be called on the dummy, for the same work.
    pub fn verify_password(&self, password: &str) -> Verdict {
        let verifier = &self.scram_sha_256;
        let derived = ScramVerifier::<32>::derive(password, &verifier.salt, verifier.iterations);
        if bool::from(derived.stored_key.ct_eq(&verifier.stored_key)) {
            Verdict::Matches
        } else {
            Verdict::Differs
        }
    }

    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let bits = if self.scram_sha_1.is_some() { HAS_SCRAM_SHA_1 } else { 0 }
            | if self.cram_md5.is_some() { HAS_CRAM_MD5 } else { 0 };
        let mut out = vec![VERSION, bits];
        self.scram_sha_256.encode(&mut out);
        if let Some(verifier) = &self.scram_sha_1 {
            verifier.encode(&mut out);
        }
        if let Some(verifier) = &self.cram_md5 {
            out.extend_from_slice(&verifier.inner);
            out.extend_from_slice(&verifier.outer);
        }
        out
    }

    /// Reads the stored form.
    pub fn decode(octets: &[u8]) -> Result<Self, BadSecrets> {
        let (&[version], rest) = octets.split_first_chunk().ok_or(BadSecrets::Damaged)?;
        if version != VERSION {
            return Err(BadSecrets::Version(version));
        }
        let mut reader = Reader(rest);
        let [bits] = reader.take()?;
        if bits & !(HAS_SCRAM_SHA_1 | HAS_CRAM_MD5) != 0 {
            return Err(BadSecrets::Damaged);
        }
        let scram_sha_256 = ScramVerifier::decode(&mut reader)?;
        let scram_sha_1 =
            if bits & HAS_SCRAM_SHA_1 == 0 { None } else { Some(ScramVerifier::decode(&mut reader)?) };
        let cram_md5 = if bits & HAS_CRAM_MD5 == 0 {
            None
        } else {
            Some(CramVerifier { inner: reader.take()?, outer: reader.take()? })
        };
        if reader.0.is_empty() {
            Ok(Self { scram_sha_256, scram_sha_1, cram_md5 })
        } else {
            Err(BadSecrets::Damaged)
        }
    }

    /// The verifiers as texts, one each, in the form that RFC 5803 gave to SCRAM.
    pub fn to_texts(&self) -> Vec<String> {
        let mut texts = vec![format!("SCRAM-SHA-256${}", self.scram_sha_256.to_text())];
        texts.extend(self.scram_sha_1.as_ref().map(|verifier| format!("SCRAM-SHA-1${}", verifier.to_text())));
        texts.extend(self.cram_md5.as_ref().map(|verifier| {
            format!("CRAM-MD5${}:{}", STANDARD.encode(verifier.inner), STANDARD.encode(verifier.outer))
        }));
        texts
    }

    /// Reads verifiers as [`to_texts`](Self::to_texts) writes them, in any order.
    pub fn from_texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, BadSecrets> {
        let (mut scram_sha_256, mut scram_sha_1, mut cram_md5) = (None, None, None);
        for text in texts {
            let (name, rest) = text.split_once('$').ok_or(BadSecrets::Text)?;
            let twice = match name {
                "SCRAM-SHA-256" => scram_sha_256.replace(ScramVerifier::from_text(rest)?).is_some(),
                "SCRAM-SHA-1" => scram_sha_1.replace(ScramVerifier::from_text(rest)?).is_some(),
                "CRAM-MD5" => {
                    let (inner, outer) = rest.split_once(':').ok_or(BadSecrets::Text)?;
                    let verifier = CramVerifier { inner: key_text(inner)?, outer: key_text(outer)? };
                    cram_md5.replace(verifier).is_some()
                }
                _ => return Err(BadSecrets::Text),
            };
            if twice {
                return Err(BadSecrets::Incomplete);
            }
        }
        let scram_sha_256 = scram_sha_256.ok_or(BadSecrets::Incomplete)?;
        Ok(Self { scram_sha_256, scram_sha_1, cram_md5 })
    }
}

/// The hash of a SCRAM mechanism, known by the size of its keys.
pub(super) trait ScramHash<const N: usize> {
    fn pbkdf2() -> pbkdf2::Algorithm;
    fn hmac() -> hmac::Algorithm;
    fn digest() -> &'static digest::Algorithm;

    /// RFC 5802 §3: SaltedPassword, ClientKey, StoredKey, ServerKey.
    fn keys(password: &str, salt: &[u8], iterations: u32) -> ScramKeys<N> {
        let mut salted = [0; N];
        let count = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
        pbkdf2::derive(Self::pbkdf2(), count, salt, password.as_bytes(), &mut salted);
        let client_key = Self::sign(&salted, b"Client Key");
        ScramKeys {
            client_key,
            stored_key: Self::hash(&client_key),
            server_key: Self::sign(&salted, b"Server Key"),
        }
    }

    /// A verifier made anew.
    fn derive(password: &str, salt: &[u8], iterations: u32) -> ScramVerifier<N> {
        let ScramKeys { stored_key, server_key, .. } = Self::keys(password, salt, iterations);
        ScramVerifier { iterations, salt: salt.into(), stored_key, server_key }
    }

    /// HMAC with the mechanism's hash.
    fn sign(key: &[u8; N], message: &[u8]) -> [u8; N] {
        let mut out = [0; N];
        out.copy_from_slice(hmac::sign(&hmac::Key::new(Self::hmac(), key), message).as_ref());
        out
    }

    /// The mechanism's hash.
    fn hash(message: &[u8]) -> [u8; N] {
        let mut out = [0; N];
        out.copy_from_slice(digest::digest(Self::digest(), message).as_ref());
        out
    }
}

impl ScramHash<32> for ScramVerifier<32> {
    fn pbkdf2() -> pbkdf2::Algorithm {
        pbkdf2::PBKDF2_HMAC_SHA256
    }
    fn hmac() -> hmac::Algorithm {
        hmac::HMAC_SHA256
    }
    fn digest() -> &'static digest::Algorithm {
        &digest::SHA256
    }
}

impl ScramHash<20> for ScramVerifier<20> {
    fn pbkdf2() -> pbkdf2::Algorithm {
        pbkdf2::PBKDF2_HMAC_SHA1
    }
    fn hmac() -> hmac::Algorithm {
        hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY
    }
    fn digest() -> &'static digest::Algorithm {
        &digest::SHA1_FOR_LEGACY_USE_ONLY
    }
}

/// The three keys of RFC 5802 §3 that come from a password.
pub(super) struct ScramKeys<const N: usize> {
    pub(super) client_key: [u8; N],
    pub(super) stored_key: [u8; N],
    pub(super) server_key: [u8; N],
}

impl<const N: usize> ScramVerifier<N> {
    /// The salt.
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// The iteration count.
    pub const fn iterations(&self) -> u32 {
        self.iterations
    }

    pub(super) const fn stored_key(&self) -> &[u8; N] {
        &self.stored_key
    }

    pub(super) const fn server_key(&self) -> &[u8; N] {
        &self.server_key
    }

    fn checked(iterations: u32, salt: Box<[u8]>, stored_key: [u8; N], server_key: [u8; N]) -> Option<Self> {
        let valid = (ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations)
            && (SALT_OCTETS_MIN..=SALT_OCTETS_MAX).contains(&salt.len());
        valid.then_some(Self { iterations, salt, stored_key, server_key })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.iterations.to_le_bytes());
        // At most SALT_OCTETS_MAX by every way to make one.
        out.push(self.salt.len() as u8);
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(&self.stored_key);
        out.extend_from_slice(&self.server_key);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, BadSecrets> {
        let iterations = u32::from_le_bytes(reader.take()?);
        let [salt_octets] = reader.take()?;
        let salt = reader.slice(usize::from(salt_octets))?.into();
        Self::checked(iterations, salt, reader.take()?, reader.take()?).ok_or(BadSecrets::Damaged)
    }

    fn to_text(&self) -> String {
        let [salt, stored, server] =
            [&self.salt[..], &self.stored_key, &self.server_key].map(|octets| STANDARD.encode(octets));
        format!("{}:{salt}${stored}:{server}", self.iterations)
    }

    fn from_text(text: &str) -> Result<Self, BadSecrets> {
        let (head, keys) = text.split_once('$').ok_or(BadSecrets::Text)?;
        let (iterations, salt) = head.split_once(':').ok_or(BadSecrets::Text)?;
        let (stored, server) = keys.split_once(':').ok_or(BadSecrets::Text)?;
        let iterations = iterations.parse().map_err(|_| BadSecrets::Text)?;
        let salt = STANDARD.decode(salt).map_err(|_| BadSecrets::Text)?;
        Self::checked(iterations, salt.into(), key_text(stored)?, key_text(server)?).ok_or(BadSecrets::Text)
    }
}

impl CramVerifier {
    /// The two HMAC states of a password (RFC 2104 §2).
    pub fn derive(password: &str) -> Self {
        let mut key = [0; md5::BLOCK];
        if password.len() <= md5::BLOCK {
            key[..password.len()].copy_from_slice(password.as_bytes());
        } else {
            use ::md5::Digest as _;
            key[..16].copy_from_slice(&::md5::Md5::digest(password.as_bytes()));
        }
        Self {
            inner: md5::after_block(&key.map(|octet| octet ^ 0x36)),
            outer: md5::after_block(&key.map(|octet| octet ^ 0x5c)),
        }
    }

    /// The digest that the right client gives for `challenge`.
    pub(super) fn respond(&self, challenge: &[u8]) -> [u8; 16] {
        md5::finish(&self.outer, &md5::finish(&self.inner, challenge))
    }
}

macro_rules! hide {
    ($($name:ty),*) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("Secret(..)")
            }
        }
    )*};
}
hide!(StoredSecrets, ScramVerifier<32>, ScramVerifier<20>, CramVerifier);

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], BadSecrets> {
        let (octets, rest) = self.0.split_first_chunk().ok_or(BadSecrets::Damaged)?;
        self.0 = rest;
        Ok(*octets)
    }

    fn slice(&mut self, length: usize) -> Result<&'a [u8], BadSecrets> {
        let (octets, rest) = self.0.split_at_checked(length).ok_or(BadSecrets::Damaged)?;
        self.0 = rest;
        Ok(octets)
    }
}

fn key_text<const N: usize>(text: &str) -> Result<[u8; N], BadSecrets> {
    let octets = STANDARD.decode(text).map_err(|_| BadSecrets::Text)?;
    octets.try_into().map_err(|_| BadSecrets::Text)
}

fn first<const N: usize>(octets: [u8; 32]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&octets[..N]);
    out
}
