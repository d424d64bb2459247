//! Signing (RFC 6376 §5).

use std::sync::Arc;

use postrider_proto::address::Domain;
use postrider_proto::dkim::canonical::{FieldEnd, write_field};
use postrider_proto::dkim::header::{Header, HeaderError};
use postrider_proto::dkim::limits::SIGNED_FIELDS_MAX;
use postrider_proto::dkim::signature::{Algorithm, Canonicalization};
use postrider_proto::dkim::tags::to_base64;
use postrider_proto::dkim::write::SignatureWriter;
use postrider_proto::dkim::{Identity, Selector};

use crate::content::{BodyHasher, BodyHashes, Wanted};

/// Fields that are signed unless a domain says otherwise, each with one mention more than the message has:
/// nobody can add one later. What readers are shown, and what decides how a body is read.
pub const FIELDS: [&str; 13] = [
    "From",
    "To",
    "Cc",
    "Bcc",
    "Reply-To",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
];

/// Fields that are signed as often as the message has them, unless a domain says otherwise: a list may add its own. Those of
/// RFC 6376 §5.4.1 that aren't among [`FIELDS`], and the one without which receivers offer no unsubscribing by one click
/// (RFC 8058 §4).
pub const PRESENT_FIELDS: [&str; 12] = [
    "Resent-Date",
    "Resent-From",
    "Resent-To",
    "Resent-Cc",
    "List-Id",
    "List-Help",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "List-Subscribe",
    "List-Post",
    "List-Owner",
    "List-Archive",
];

/// What makes a signature of octets.
pub trait SigningKey {
    /// What it makes.
    fn algorithm(&self) -> Algorithm;
    /// Signs what is signed by a field: the canonical fields. None where it can't.
    fn sign(&self, octets: &[u8]) -> Option<Vec<u8>>;
}

impl<K: SigningKey> SigningKey for Arc<K> {
    fn algorithm(&self) -> Algorithm {
        K::algorithm(self)
    }

    fn sign(&self, octets: &[u8]) -> Option<Vec<u8>> {
        K::sign(self, octets)
    }
}

/// The hash of the body that a [`Signer`] with the defaults needs.
pub const BODY_HASH: Wanted = Wanted { algorithm: Canonicalization::RELAXED.body, length: None };

/// Why a message isn't signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SignError {
    /// The header is over a limit.
    #[error("{0}")]
    Header(#[from] HeaderError),
    /// No From field, or more than one.
    #[error("a message has exactly one From field")]
    From,
    /// More fields to be signed than [`SIGNED_FIELDS_MAX`].
    #[error("too many fields to sign")]
    TooManyFields,
    /// The hash of the body isn't there: another signer's hasher was used.
    #[error("the hash of the body is missing")]
    Hash,
    /// The key couldn't sign.
    #[error("the key could not sign")]
    Key,
}

/// A key with its name.
#[derive(Debug)]
pub struct SignerKey<K> {
    /// Where its public key is.
    pub selector: Selector,
    /// The key.
    pub key: K,
}

/// How a domain signs.
#[derive(Debug)]
pub struct Signer<K> {
    /// `d=`.
    pub domain: Domain,
    /// Every key gives one signature, the first on top.
    pub keys: Vec<SignerKey<K>>,
    /// `c=`.
    pub canonicalization: Canonicalization,
    /// Names of the fields that are signed, where the message has them.
    pub fields: Vec<String>,
    /// Whether these fields are named once more than the message has them.
    pub oversign: bool,
    /// Names of further fields that are signed where the message has them, and never named once more.
    pub present_fields: Vec<String>,
    /// Seconds after which a signature expires; never where there is none.
    pub lifetime: Option<u64>,
}

impl<K: SigningKey> Signer<K> {
    /// One with the defaults: relaxed in both, [`FIELDS`] oversigned, [`PRESENT_FIELDS`], no expiration.
    #[must_use]
    pub fn new(domain: Domain, keys: Vec<SignerKey<K>>) -> Self {
        let owned = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
        let (fields, present_fields) = (owned(&FIELDS), owned(&PRESENT_FIELDS));
        Self {
            domain,
            keys,
            canonicalization: Canonicalization::RELAXED,
            fields,
            oversign: true,
            present_fields,
            lifetime: None,
        }
    }

    /// What hashes the body, before or after its header is known.
    #[must_use]
    pub fn body_hasher(&self) -> BodyHasher {
        BodyHasher::new([self.wanted()])
    }

    fn wanted(&self) -> Wanted {
        Wanted { algorithm: self.canonicalization.body, length: None }
    }

    /// Signs a message at a time in seconds since 1970: its header, and the hash of its body. Gives the
    /// fields that go before the header, with their line breaks. The same input gives the same output.
    pub fn sign(
        &self,
        header: Vec<u8>,
        hashes: &BodyHashes,
        identity: Option<&Identity>,
        now: u64,
    ) -> Result<String, SignError> {
        let header = Header::parse(header)?;
        if header.named("From").len() != 1 {
            return Err(SignError::From);
        }
        let mut names = signed_names(&header, &self.fields, self.oversign)?;
        for name in &self.present_fields {
            mention(&mut names, name, header.named(name).len())?;
        }
        let algorithm = self.canonicalization.header;
        let mut fields = Vec::with_capacity(4096);
        for field in header.select(&names) {
            write_field(&mut fields, field, algorithm, FieldEnd::LineBreak);
        }
        let hash = hashes.get(self.wanted()).ok_or(SignError::Hash)?;
        let mut out = String::new();
        for key in &self.keys {
            let mut writer = SignatureWriter::new("DKIM-Signature")
                .tag("v", 1)
                .tag("a", key.key.algorithm().word())
                .tag("c", format_args!("{}/{}", algorithm.word(), self.canonicalization.body.word()))
                .tag("d", &self.domain)
                .tag("s", &key.selector);
            if let Some(identity) = identity {
                writer = writer.tag("i", quoted(identity));
            }
            writer = writer.tag("t", now);
            if let Some(lifetime) = self.lifetime {
                writer = writer.tag("x", now.saturating_add(lifetime.max(1)));
            }
            let unsigned = writer.list("h", &names).tag("bh", to_base64(&hash.digest)).unsigned();
            let mut signed = fields.clone();
            unsigned.write_canonical(&mut signed, algorithm);
            out.push_str(&unsigned.signed(&key.key.sign(&signed).ok_or(SignError::Key)?));
        }
        Ok(out)
    }
}

/// Names for `h=`: each as often as the message has it, and once more with oversigning. From is always there.
pub(crate) fn signed_names<'a>(
    header: &Header,
    fields: &'a [String],
    oversign: bool,
) -> Result<Vec<&'a str>, SignError> {
    let mut names: Vec<&str> = Vec::with_capacity(2 * fields.len());
    let from = fields.iter().any(|name| name.eq_ignore_ascii_case("From"));
    let missing = (!from).then_some("From");
    for name in missing.into_iter().chain(fields.iter().map(String::as_str)) {
        mention(&mut names, name, header.named(name).len() + usize::from(oversign))?;
    }
    Ok(names)
}

fn mention<'a>(names: &mut Vec<&'a str>, name: &'a str, mentions: usize) -> Result<(), SignError> {
    if names.len() + mentions > SIGNED_FIELDS_MAX {
        return Err(SignError::TooManyFields);
    }
    names.extend(std::iter::repeat_n(name, mentions));
    Ok(())
}

/// An identity in dkim-quoted-printable (RFC 6376 §2.11).
fn quoted(identity: &Identity) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for byte in identity.localpart.bytes() {
        match byte {
            b'=' | b';' | 0..=b' ' | 0x7f.. => {
                // Writing to a string can't fail.
                let _ = write!(out, "={byte:02X}");
            }
            byte => out.push(char::from(byte)),
        }
    }
    let _ = write!(out, "@{}", identity.domain);
    out
}
