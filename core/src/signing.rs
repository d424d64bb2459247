//! DKIM signatures of what leaves (RFC 6376): of messages of our users, and of what the server itself writes.
//!
//! Keys are rows of the directory, which each shard remembers until it changes, so a change counts at once; what is kept besides
//! is the key that was made of a row, with the row's own octets. RSA signatures take
//! up to a millisecond, and are made by the worker pool. Whatever fails, the message goes unsigned, and is counted.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use postrider_authentication::content::{BodyHashes, Reader};
use postrider_authentication::dkim::{BODY_HASH, PrivateKey, Signer, SignerKey};
use postrider_proto::address::{Address, Domain};
use postrider_proto::dkim::key::Kind;
use postrider_proto::dkim::{Identity, Selector};
use postrider_proto::mime;
use postrider_storage::directory::{Directory, DkimKey, DkimSecret, DkimState};
use postrider_storage::engine::EngineError;
use postrider_storage::store::StoreError;
use tracing::warn;

use crate::clock::unix_now;
use crate::shard::Shard;

/// Keys that a shard keeps ready, of some 3 KiB each.
const KEYS_MAX: usize = 1024;

/// Fields that are signed besides in what the server writes: they say whom a report on TLS is about (RFC 8460 §5.3).
const OUR_FIELDS: [&str; 2] = ["TLS-Report-Domain", "TLS-Report-Submitter"];

/// Whose keys sign.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum By {
    /// Those of the domain of this address, on whose behalf they sign.
    Author(Address),
    /// Those of the first domain with some, going up from this one, for what the server writes.
    Server(Domain),
}

impl By {
    /// As the From field of a message says, when it has one with one address.
    pub fn author(from: &[u8]) -> Option<Self> {
        only_address(from).map(Self::Author)
    }
}

/// The address of a From field, when it holds exactly one.
pub fn only_address(value: &[u8]) -> Option<Address> {
    let addresses = mime::address::parse(value, 2);
    let [only] = &*addresses else { return None };
    let text = |octets: &Option<Vec<u8>>| String::from_utf8(octets.clone()?).ok();
    Address::parse(&format!("{}@{}", text(&only.mailbox)?, text(&only.host)?)).ok()
}

/// A message as signatures see it.
pub struct ToSign {
    /// Its header.
    pub header: Vec<u8>,
    /// Hashes of its body, that of [`BODY_HASH`] among them.
    pub hashes: BodyHashes,
}

/// Keys that are ready to sign, each beside what it was made of.
#[derive(Default)]
pub struct Keys(RefCell<HashMap<(Domain, Selector), Ready>>);

struct Ready {
    secret: DkimSecret,
    key: Arc<PrivateKey>,
}

impl Keys {
    fn get(&self, domain: &Domain, key: &DkimKey) -> Option<Arc<PrivateKey>> {
        let ready = self.0.borrow();
        let ready = ready.get(&(domain.clone(), key.selector.clone()))?;
        (ready.secret == key.secret).then(|| Arc::clone(&ready.key))
    }

    fn keep(&self, domain: &Domain, selector: Selector, ready: Ready) {
        let mut keys = self.0.borrow_mut();
        if keys.len() >= KEYS_MAX {
            keys.clear();
        }
        keys.insert((domain.clone(), selector), ready);
    }
}

/// What the directory says of a message.
struct Found {
    domain: Domain,
    identity: Option<Identity>,
    keys: Vec<DkimKey>,
}

/// Gives the fields that go in front of a message; nothing where no key signs for it, or when that fails.
pub async fn sign(shard: &Shard, by: By, message: ToSign) -> String {
    let is_ours = matches!(by, By::Server(_));
    let found = match shard.ask_directory(move |directory| find(directory, &by)).await {
        Ok(Some(found)) => found,
        Ok(None) => return String::new(),
        Err(error) => return failed(shard, None, &error),
    };
    let keys = ready(shard, &found).await;
    if keys.is_empty() {
        return String::new();
    }
    let kinds: Vec<Kind> = keys.iter().map(|key| key.key.kind()).collect();
    let Found { domain, identity, .. } = found;
    let mut signer = Signer::new(domain.clone(), keys);
    if is_ours {
        signer.fields.extend(OUR_FIELDS.map(str::to_owned));
    }
    let now = u64::try_from(unix_now()).unwrap_or(0);
    let make = move || signer.sign(message.header, &message.hashes, identity.as_ref(), now);
    let made = if kinds.contains(&Kind::Rsa) { shard.shared.pool.run_anyway(make).await } else { Ok(make()) };
    match made {
        Ok(Ok(fields)) => {
            for kind in kinds {
                shard.recorder.increment(shard.shared.metrics.queue.signatures.at([kind as usize]));
            }
            fields
        }
        Ok(Err(error)) => failed(shard, Some(&domain), &error),
        Err(error) => failed(shard, Some(&domain), &error),
    }
}

/// Whether there are keys for what the server, whose name is `hostname`, writes.
pub async fn has_keys(shard: &Shard, hostname: &Domain) -> Result<bool, StoreError> {
    let by = By::Server(hostname.clone());
    Ok(shard.ask_directory(move |directory| find(directory, &by)).await?.is_some())
}

/// Signs a whole message that the server wrote, whose name is `hostname`.
pub async fn sign_ours(shard: &Shard, hostname: &Domain, message: &[u8]) -> Vec<u8> {
    let mut reader = Reader::signing(BODY_HASH);
    reader.push(message);
    match reader.finish() {
        Ok(content) => {
            let message = ToSign { header: content.header.octets().to_vec(), hashes: content.hashes };
            sign(shard, By::Server(hostname.clone()), message).await.into_bytes()
        }
        Err(error) => failed(shard, Some(hostname), &error).into_bytes(),
    }
}

/// A message goes unsigned that should be signed.
pub fn failed(shard: &Shard, domain: Option<&Domain>, error: &dyn std::fmt::Display) -> String {
    let domain = domain.map_or("", Domain::as_str);
    warn!(domain, %error, "a message leaves without a DKIM signature");
    shard.recorder.increment(shard.shared.metrics.queue.signing_failures);
    String::new()
}

fn find(directory: &Directory<'_>, by: &By) -> Result<Option<Found>, EngineError> {
    let signing = |domain: &Domain| {
        let mut keys = directory.dkim_keys(domain)?;
        keys.retain(|key| key.state == DkimState::Signs);
        Ok::<_, EngineError>(keys)
    };
    match by {
        By::Author(address) => {
            let keys = signing(&address.domain)?;
            if keys.is_empty() {
                return Ok(None);
            }
            let Some(settings) = directory.domain(&address.domain)? else { return Ok(None) };
            let localpart = settings.canonical(address.localpart.as_str());
            let domain = address.domain.clone();
            let identity = Some(Identity { localpart, domain: domain.clone() });
            Ok(Some(Found { domain, identity, keys }))
        }
        By::Server(hostname) => {
            let mut above = Some(hostname.clone());
            while let Some(domain) = above {
                let keys = signing(&domain)?;
                if !keys.is_empty() {
                    return Ok(Some(Found { domain, identity: None, keys }));
                }
                above = domain.as_str().split_once('.').and_then(|(_, rest)| Domain::parse(rest).ok());
            }
            Ok(None)
        }
    }
}

/// The keys that sign. Those of RSA are made by the worker pool, when they are new.
async fn ready(shard: &Shard, found: &Found) -> Vec<SignerKey<Arc<PrivateKey>>> {
    let mut keys = Vec::with_capacity(found.keys.len());
    for key in &found.keys {
        let selector = key.selector.clone();
        let made = match shard.signing_keys.get(&found.domain, key) {
            Some(key) => Ok(key),
            None => {
                let secret = key.secret.clone();
                let make = move || PrivateKey::from_pkcs8(secret.expose()).map(Arc::new);
                let made = match key.secret.kind() {
                    Kind::Rsa => shard.shared.pool.run_anyway(make).await.map_err(|error| error.to_string()),
                    Kind::Ed25519 => Ok(make()),
                };
                made.and_then(|made| made.map_err(|error| error.to_string())).inspect(|made| {
                    let ready = Ready { secret: key.secret.clone(), key: Arc::clone(made) };
                    shard.signing_keys.keep(&found.domain, selector.clone(), ready);
                })
            }
        };
        match made {
            Ok(key) => keys.push(SignerKey { selector, key }),
            Err(error) => drop(failed(shard, Some(&found.domain), &format!("key {selector}: {error}"))),
        }
    }
    keys
}
