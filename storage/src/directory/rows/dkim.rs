//! Keys and values of DKIMKEY.

use postrider_proto::address::Domain;
use postrider_proto::dkim::Selector;
use postrider_proto::dkim::key::Kind;

use super::{BadRow, DKIM_KEY, Reader, VERSION, Writer, named, until_zero};
use crate::directory::types::{DkimKey, DkimSecret, DkimState};

/// The start of the keys of all DKIM keys of a domain.
pub(in crate::directory) fn dkim_keys(domain: &Domain) -> Vec<u8> {
    let mut key = named(DKIM_KEY, domain.as_str());
    key.push(0);
    key
}

pub(in crate::directory) fn dkim_key(domain: &Domain, selector: &Selector) -> Vec<u8> {
    let mut key = dkim_keys(domain);
    key.extend_from_slice(selector.as_str().as_bytes());
    key
}

/// Reads `domain, 0, selector`, to the end.
pub(in crate::directory) fn domain_and_selector(rest: &[u8]) -> Option<(Domain, Selector)> {
    let (domain, selector) = until_zero(rest)?;
    let text = str::from_utf8(selector).ok()?;
    let selector = Selector::parse(text).filter(|selector| selector.as_str() == text)?;
    Some((Domain::parse(str::from_utf8(domain).ok()?).ok()?, selector))
}

const RSA: u8 = 1;
const ED25519: u8 = 2;
const PUBLISHED: u8 = 0;
const SIGNS: u8 = 1;

/// A row of DKIMKEY.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::directory) struct DkimKeyRow {
    pub(in crate::directory) state: DkimState,
    pub(in crate::directory) created: i64,
    pub(in crate::directory) secret: DkimSecret,
}

impl DkimKeyRow {
    pub(in crate::directory) fn encode(&self) -> Vec<u8> {
        let mut out = Writer(vec![VERSION]);
        out.dkim_secret(self.state, &self.secret, Some(self.created));
        out.0
    }

    pub(in crate::directory) fn decode(key: &[u8], value: &[u8]) -> Result<Self, BadRow> {
        Reader::read(key, value, |reader| {
            let (kind, state) = reader.dkim_kind()?;
            let created = i64::from_le_bytes(reader.array()?);
            Some(Self { state, created, secret: DkimSecret::new(kind, reader.value()?.into()) })
        })
    }

    pub(in crate::directory) fn into_key(self, selector: Selector) -> DkimKey {
        let Self { state, created, secret } = self;
        DkimKey { selector, state, created, secret }
    }
}

impl Writer {
    /// What is stored of a key besides its name; a document doesn't know when it was created.
    pub(in crate::directory) fn dkim_secret(
        &mut self,
        state: DkimState,
        secret: &DkimSecret,
        created: Option<i64>,
    ) {
        self.0.push(match secret.kind() {
            Kind::Rsa => RSA,
            Kind::Ed25519 => ED25519,
        });
        self.0.push(match state {
            DkimState::Published => PUBLISHED,
            DkimState::Signs => SIGNS,
        });
        if let Some(created) = created {
            self.0.extend_from_slice(&created.to_le_bytes());
        }
        self.value(secret.expose());
    }
}

impl Reader<'_> {
    pub(in crate::directory) fn dkim_kind(&mut self) -> Option<(Kind, DkimState)> {
        let kind = match self.u8()? {
            RSA => Kind::Rsa,
            ED25519 => Kind::Ed25519,
            _ => return None,
        };
        let state = match self.u8()? {
            PUBLISHED => DkimState::Published,
            SIGNS => DkimState::Signs,
            _ => return None,
        };
        Some((kind, state))
    }
}
