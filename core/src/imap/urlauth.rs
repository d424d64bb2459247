//! Who may use a URL (RFC 4467 §6): the one place that decides it.
//!
//! A URL is worth what its token proves: that the owner of its mailbox authorised just these octets. The
//! key is that of the mailbox, so a new key, or a new mailbox of the old name, ends all of its URLs.
//! Whether the user, the mailbox or the message exists can't be told from the answer, nor from its time:
//! the token is always compared.

use std::rc::Rc;

use postrider_proto::imap::response::Code;
use postrider_proto::imap::url::{Access, MessageUrl};
use postrider_proto::sasl::{Limits, Login};
use postrider_storage::directory::{Directory, LoginAnswer};
use postrider_storage::engine::EngineError;
use postrider_storage::ids::{AccountId, MailboxId};
use postrider_storage::rows::UrlKeyRow;
use postrider_storage::store::{Store, StoreError};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use tracing::error;

use super::content::on_worker;
use super::places::{self, Asker, Deed, Found};
use super::session::Completion;
use super::urls::PartPlace;
use crate::accounts::LoadError;
use crate::clock::unix_now;
use crate::log::ConnectionId;
use crate::shard::{OpenError, Shard};

/// The only mechanism.
pub(super) const INTERNAL: &str = "INTERNAL";
/// The first octet of a token says how it was made: HMAC-SHA-256 (RFC 4467 §2.4.1).
const HMAC_SHA_256: u8 = 1;

const BUSY: Completion = Completion::refused(Code::Unavailable, "too much to do, try again");
const FAILED: Completion = Completion::refused(Code::Unavailable, "the URL can't be checked at the moment");

/// The key by which a user authorises URLs of a mailbox of `owner`: a guest has another than the owner, so that
/// nobody's URLs are worth something with the access of somebody else. A new key of the mailbox ends all of them.
pub(super) fn key_of(user: AccountId, owner: AccountId, key: UrlKeyRow) -> UrlKeyRow {
    if user == owner {
        return key;
    }
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key.key), &user.get().to_be_bytes());
    let mut derived = UrlKeyRow { key: [0; UrlKeyRow::OCTETS] };
    derived.key.iter_mut().zip(tag.as_ref()).for_each(|(octet, one)| *octet = *one);
    derived
}

/// The token of a URL, without the mechanism and the token themselves.
pub(super) fn token(key: &UrlKeyRow, rump: &str) -> Vec<u8> {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key.key), rump.as_bytes());
    [&[HMAC_SHA_256], tag.as_ref()].concat()
}

/// Whether a token is that of a URL; compares in constant time.
fn is_token(key: &UrlKeyRow, rump: &str, token: &[u8]) -> bool {
    let Some((algorithm, tag)) = token.split_first() else { return false };
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key.key);
    let right = hmac::verify(&key, rump.as_bytes(), tag).is_ok();
    right && *algorithm == HMAC_SHA_256
}

/// A new key.
pub(super) fn new_key() -> Result<UrlKeyRow, Completion> {
    let mut key = [0; UrlKeyRow::OCTETS];
    match SystemRandom::new().fill(&mut key) {
        Ok(()) => Ok(UrlKeyRow { key }),
        Err(_) => Err(Completion::refused(Code::ServerBug, "no randomness")),
    }
}

/// What the directory says of a URL's users.
struct Users {
    owner: Box<str>,
    access: Access,
    session: AccountId,
    submission_servers: Vec<String>,
}

impl Users {
    /// The account of the mailbox, and whether the session is one of those for whom the URL is.
    fn look_up(&self, store: &Store) -> Result<(Option<AccountId>, bool), EngineError> {
        let reader = store.reader();
        let directory = Directory::new(reader.snapshot());
        let owner = account_of(&directory, &self.owner)?;
        let permitted = match &self.access {
            Access::User(user) => account_of(&directory, user)? == Some(self.session),
            // Every session that comes here has logged in.
            Access::AuthUser | Access::Anonymous => true,
            Access::Submit(_) => {
                let account = directory.account(self.session)?;
                account.is_some_and(|account| {
                    self.submission_servers.iter().any(|name| name == account.name.as_str())
                })
            }
        };
        Ok((owner, permitted))
    }
}

/// The account that a user logs in to; none when nobody can.
fn account_of(directory: &Directory<'_>, user: &str) -> Result<Option<AccountId>, EngineError> {
    let Ok(login) = Login::new(user.as_bytes(), &Limits::DEFAULT) else { return Ok(None) };
    Ok(match directory.login(&login)? {
        LoginAnswer::Account { account, .. } if account.settings.login_disabled.is_none() => Some(account.id),
        LoginAnswer::Account { .. } | LoginAnswer::Unknown { .. } => None,
    })
}

/// Whether all of these users are that account.
pub(super) async fn owns_all(
    shard: &Rc<Shard>,
    users: Vec<Box<str>>,
    account: AccountId,
    id: ConnectionId,
) -> Result<bool, Completion> {
    let shared = &shard.shared;
    let looked =
        on_worker(&shared.pool, &shared.store, (users, account), |(users, account), store: &Store| {
            let reader = store.reader();
            let directory = Directory::new(reader.snapshot());
            for user in users {
                if account_of(&directory, user)? != Some(*account) {
                    return Ok(false);
                }
            }
            Ok::<_, EngineError>(true)
        })
        .await;
    match looked {
        Ok((_, looked)) => looked.map_err(|error| failed(&error, id)),
        Err(_) => Err(BUSY),
    }
}

/// Finds the mailbox of a URL, when the session may use it now.
pub(super) async fn authorise(
    shard: &Rc<Shard>,
    session: AccountId,
    text: &str,
    url: MessageUrl,
    id: ConnectionId,
) -> Result<Option<PartPlace>, Completion> {
    let owner = url.server.as_ref().and_then(|server| server.user.clone());
    let authorisation = url.authorisation.as_ref();
    let (Some(owner), Some(authorisation)) = (owner, authorisation) else { return Ok(None) };
    let Some(verifier) = &authorisation.verifier else { return Ok(None) };
    let users = Users {
        owner,
        access: authorisation.access.clone(),
        session,
        submission_servers: shard.shared.config.accounts.submission_servers.clone(),
    };
    let shared = &shard.shared;
    let looked =
        on_worker(&shared.pool, &shared.store, users, |users, store: &Store| users.look_up(store)).await;
    let Ok((_, looked)) = looked else { return Err(BUSY) };
    let (owner, permitted) = looked.map_err(|error| failed(&error, id))?;
    let found = match owner {
        Some(user) => find(shard, user, &url, id).await?,
        None => None,
    };
    let key = match &found {
        Some(found) => found.key,
        None => new_key()?,
    };
    // The length that was read is within the text.
    let rump = text.get(..verifier.rump_octets).unwrap_or_default();
    let proven = is_token(&key, rump, &verifier.token);
    let expired = authorisation.expires.is_some_and(|last| unix_now() > last);
    let valid = proven && permitted && !expired && &*verifier.mechanism == INTERNAL;
    let found = found.filter(|_| valid);
    Ok(found.map(|Keyed { account, mailbox, .. }| PartPlace { account, mailbox, url }))
}

/// A mailbox that the user of a URL may read, and that user's key of it.
struct Keyed {
    account: AccountId,
    mailbox: MailboxId,
    key: UrlKeyRow,
}

/// The mailbox of a URL as its user sees it, at the mailbox's home: a URL gives no more access than its user has now
/// (RFC 4467 §7, URLFETCH). None without mailbox or key.
async fn find(
    shard: &Rc<Shard>,
    user: AccountId,
    url: &MessageUrl,
    id: ConnectionId,
) -> Result<Option<Keyed>, Completion> {
    let asker = Asker { user, anyone: shard.shared.config.share_with_anyone, id };
    let Ok(place) = places::find_name(shard, asker, &url.mailbox).await else { return Ok(None) };
    let (owner, validity) = (place.account, url.uid_validity);
    let found = shard.at_home(owner, move |home| {
        Box::pin(async move {
            let account = match home.open_account(owner).await {
                Ok(account) => account,
                Err(OpenError::Load(LoadError::Removed)) => return Ok(None),
                Err(error) => {
                    error!(cid = %id, account = %owner, %error, "the account of a URL can't be opened");
                    return Err(FAILED);
                }
            };
            let found = places::enter(&account.state(), asker, &place.name, Deed::Read);
            let found =
                found.ok().filter(|found| validity.is_none_or(|wanted| found.row.uid_validity == wanted));
            let Some(Found { mailbox, .. }) = found else { return Ok(None) };
            let key = account.reader().url_key(owner, mailbox);
            let key = key.map_err(|error: StoreError| failed(&error, id))?;
            Ok(key.map(|key| Keyed { account: owner, mailbox, key: key_of(user, owner, key) }))
        })
    });
    found.await.unwrap_or(Err(BUSY))
}

fn failed(error: &dyn std::fmt::Display, id: ConnectionId) -> Completion {
    error!(cid = %id, %error, "a URL can't be checked");
    FAILED
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn each_user_has_a_key_of_its_own_for_a_mailbox() {
        let [owner, guest, other] = [1, 2, 3].map(|number| AccountId::new(number).unwrap());
        let key = UrlKeyRow { key: [7; 32] };
        assert_eq!(key_of(owner, owner, key).key, key.key);
        let keys = [owner, guest, other].map(|user| key_of(user, owner, key).key);
        assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2]);
        assert_eq!(key_of(guest, owner, key).key, keys[1]);
        assert_ne!(key_of(guest, owner, UrlKeyRow { key: [8; 32] }).key, keys[1]);
    }

    #[test]
    fn tokens_are_worth_something_for_their_key_and_url_only() {
        let (key, other) = (UrlKeyRow { key: [1; 32] }, UrlKeyRow { key: [2; 32] });
        let rump = "imap://joe@host/INBOX/;UID=20;URLAUTH=anonymous";
        let right = token(&key, rump);
        assert!(right.len() * 2 >= 32);
        assert!(is_token(&key, rump, &right));
        assert!(!is_token(&other, rump, &right));
        assert!(!is_token(&key, &rump.to_lowercase(), &right));
        assert!(!is_token(&key, rump, &right[..32]));
        assert!(!is_token(&key, rump, &right[1..]));
        assert!(!is_token(&key, rump, &[]));
        for at in 0..right.len() {
            let mut wrong = right.clone();
            wrong[at] ^= 1;
            assert!(!is_token(&key, rump, &wrong), "octet {at}");
        }
    }
}
