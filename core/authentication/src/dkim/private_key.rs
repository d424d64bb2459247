//! Private keys: read, made, and used to sign.

use postrider_proto::dkim::key::Kind;
use postrider_proto::dkim::signature::Algorithm;
use postrider_proto::dkim::write::key_record;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use rsa::pkcs8::EncodePrivateKey as _;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;

use super::sign::SigningKey;

/// Bits of RSA keys that are made: what RFC 8301 §3.2 wants signers to use, and what still fits into an
/// answer over UDP.
pub const RSA_BITS_GENERATED: usize = 2048;

/// Why there is no private key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PrivateKeyError {
    /// Not PEM of a private key.
    #[error("not a private key in PEM")]
    Pem,
    /// Neither an Ed25519 key nor an RSA key of 2048 bits or more.
    #[error("neither an Ed25519 key nor an RSA key of at least 2048 bits")]
    Unusable,
    /// No chance from the system, or no memory.
    #[error("a key could not be made")]
    Generation,
}

/// A key that signs. Its secret is never shown.
pub struct PrivateKey {
    pair: Pair,
    /// RFC 8410 or RFC 5208 form, for those that were made here.
    pkcs8: Option<Vec<u8>>,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ed25519(Ed25519KeyPair),
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PrivateKey({}, secret)", self.algorithm().word())
    }
}

impl PrivateKey {
    /// Reads a key from PEM: PKCS#8 (`PRIVATE KEY`), or PKCS#1 (`RSA PRIVATE KEY`).
    pub fn from_pem(pem: &[u8]) -> Result<Self, PrivateKeyError> {
        match PrivateKeyDer::from_pem_slice(pem).map_err(|_| PrivateKeyError::Pem)? {
            PrivateKeyDer::Pkcs8(der) => Self::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => {
                let pair = RsaKeyPair::from_der(der.secret_pkcs1_der());
                pair.map(Self::rsa).map_err(|_| PrivateKeyError::Unusable)
            }
            _ => Err(PrivateKeyError::Unusable),
        }
    }

    /// Reads a key from DER of PKCS#8.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, PrivateKeyError> {
        // Other software leaves the public key away, which version 1 of the form allows (RFC 8410 §7).
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            return Ok(Self { pair: Pair::Ed25519(pair), pkcs8: None });
        }
        RsaKeyPair::from_pkcs8(der).map(Self::rsa).map_err(|_| PrivateKeyError::Unusable)
    }

    /// An Ed25519 key from its 32 secret octets (RFC 8032 §5.1.5), the form of RFC 8463 Appendix A.
    pub fn from_ed25519_seed(seed: &[u8]) -> Result<Self, PrivateKeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| PrivateKeyError::Unusable)?;
        Ok(Self { pair: Pair::Ed25519(pair), pkcs8: None })
    }

    fn rsa(pair: RsaKeyPair) -> Self {
        Self { pair: Pair::Rsa(Box::new(pair)), pkcs8: None }
    }

    /// Makes an Ed25519 key.
    pub fn generate_ed25519() -> Result<Self, PrivateKeyError> {
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).map_err(|_| PrivateKeyError::Generation)?;
        Self::generated(&[ED25519_START, &seed].concat())
    }

    /// Makes an RSA key of [`RSA_BITS_GENERATED`] bits. Takes a fifth of a second, so never on a shard.
    ///
    /// `ring` makes no RSA keys, so `rsa` does, and does nothing else: all signatures are made by `ring`,
    /// whose time doesn't depend on the secret (RUSTSEC-2023-0071 is about those of `rsa`).
    pub fn generate_rsa() -> Result<Self, PrivateKeyError> {
        let mut random = rsa::rand_core::OsRng;
        let key = rsa::RsaPrivateKey::new(&mut random, RSA_BITS_GENERATED);
        let document = key.map_err(|_| PrivateKeyError::Generation)?.to_pkcs8_der();
        Self::generated(document.map_err(|_| PrivateKeyError::Generation)?.as_bytes())
    }

    fn generated(pkcs8: &[u8]) -> Result<Self, PrivateKeyError> {
        let mut key = Self::from_pkcs8(pkcs8)?;
        key.pkcs8 = Some(pkcs8.to_vec());
        Ok(key)
    }

    /// A key that was made here as PEM of PKCS#8, to be kept in a file.
    #[must_use]
    pub fn to_pem(&self) -> Option<String> {
        const COLUMNS: usize = 64;
        let encoded = postrider_proto::dkim::tags::to_base64(self.pkcs8.as_deref()?);
        let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
        let mut rest = encoded.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(COLUMNS));
            pem.push_str(line);
            pem.push('\n');
            rest = after;
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        Some(pem)
    }

    /// Which kind it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self.pair {
            Pair::Rsa(_) => Kind::Rsa,
            Pair::Ed25519(_) => Kind::Ed25519,
        }
    }

    /// The text of the TXT record with its public key. An RSA key is there in the form of RFC 6376 §3.6.1
    /// wrapped as its Appendix C has it, which every verifier reads.
    #[must_use]
    pub fn record(&self) -> String {
        match &self.pair {
            Pair::Ed25519(pair) => key_record(Kind::Ed25519, pair.public_key().as_ref()),
            Pair::Rsa(pair) => key_record(Kind::Rsa, &public_key_info(pair.public_key().as_ref())),
        }
    }
}

/// What stands before the secret octets of an Ed25519 key in version 1 of PKCS#8 (RFC 8410 §7). `ring` makes version 2,
/// with the public key, and OpenSSL and what uses it read only this one.
const ED25519_START: &[u8] =
    &[0x30, 0x2e, 0x02, 1, 0, 0x30, 5, 0x06, 3, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// A key in PEM, in either form that [`PrivateKey::from_pem`] reads, as DER of PKCS#8 (RFC 5208 §5): how it is stored.
pub fn pkcs8_of_pem(pem: &[u8]) -> Result<Vec<u8>, PrivateKeyError> {
    let der = match PrivateKeyDer::from_pem_slice(pem).map_err(|_| PrivateKeyError::Pem)? {
        PrivateKeyDer::Pkcs8(der) => der.secret_pkcs8_der().to_vec(),
        PrivateKeyDer::Pkcs1(der) => {
            let key = value(0x04, der.secret_pkcs1_der());
            value(0x30, &[&[0x02, 1, 0], RSA_ALGORITHM, &key].concat())
        }
        _ => return Err(PrivateKeyError::Unusable),
    };
    PrivateKey::from_pkcs8(&der).map(|_| der)
}

/// AlgorithmIdentifier of rsaEncryption (RFC 3279 §2.3.1).
const RSA_ALGORITHM: &[u8] =
    &[0x30, 13, 0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// Wraps an RSAPublicKey as SubjectPublicKeyInfo (RFC 3279 §2.3.1).
fn public_key_info(key: &[u8]) -> Vec<u8> {
    // A bit string with no unused bits.
    let key = value(0x03, &[&[0], key].concat());
    value(0x30, &[RSA_ALGORITHM, &key].concat())
}

/// A DER value of up to 65,535 octets; keys have a few hundred.
fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let start = match content.len() {
        0..=0x7f => vec![tag, length[7]],
        0x80..=0xff => vec![tag, 0x81, length[7]],
        _ => vec![tag, 0x82, length[6], length[7]],
    };
    [&start, content].concat()
}

impl SigningKey for PrivateKey {
    fn algorithm(&self) -> Algorithm {
        match self.pair {
            Pair::Rsa(_) => Algorithm::RsaSha256,
            Pair::Ed25519(_) => Algorithm::Ed25519Sha256,
        }
    }

    fn sign(&self, octets: &[u8]) -> Option<Vec<u8>> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                // The chance is for blinding; the signature doesn't depend on it.
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), octets, &mut signature).ok()?;
                Some(signature)
            }
            // RFC 8463 §3: what is signed is the hash.
            Pair::Ed25519(pair) => Some(pair.sign(digest(&SHA256, octets).as_ref()).as_ref().to_vec()),
        }
    }
}
