//! Who logs in: SASL exchanges against the directory, for SMTP and IMAP alike.
//!
//! An account that doesn't exist takes the same steps, the same work and the same time as a wrong
//! password: its secrets are made up from its name and a secret of the server. Keys are derived on
//! the worker pool, never on a shard.

mod cache;

use std::net::IpAddr;
use std::sync::Arc;

use postrider_proto::sasl::secrets::StoredSecrets;
use postrider_proto::sasl::{
    ChannelBinding, Context, Exchange, FailureKind, Limits, Login, Mechanism, PlusOffer, Secret, ServerNonce,
    Step, Verdict,
};
use postrider_storage::directory::{Account, Directory, LoginAnswer};
use postrider_storage::engine::EngineError;
use postrider_storage::ids::AccountId;
use postrider_storage::store::Store;
use ring::rand::{SecureRandom, SystemRandom};

use crate::admission::Admission;
use crate::reads::Reads;
use crate::runtime::{Pool, PoolError};
use crate::tls::ClientCertificate;
use cache::Cache;

/// A user who has authenticated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// The account.
    pub account: AccountId,
    /// The account's name.
    pub name: String,
    /// The name that was used to log in.
    pub login: String,
    /// Octets of mail that the account may hold.
    pub quota: Option<u64>,
}

/// Why nobody is logged in.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The exchange failed.
    #[error(transparent)]
    Failed(#[from] FailureKind),
    /// The account exists and the password is right, but logins are off. The text is for the user.
    #[error("{0}")]
    Disabled(String),
    /// Too many failures from this address lately.
    #[error("too many failed authentications")]
    Limited,
    /// Too much work waits: try again.
    #[error(transparent)]
    Busy(#[from] PoolError),
    /// The directory could not be read: try again.
    #[error(transparent)]
    Store(#[from] EngineError),
}

impl AuthError {
    /// What the log says. Operators ban addresses by the first of these lines, so it is only for what a
    /// client did, not for what the server could not do.
    pub const fn log_line(&self) -> &'static str {
        match self {
            Self::Failed(_) | Self::Disabled(_) | Self::Limited => "failed authentication attempt",
            Self::Busy(_) | Self::Store(_) => "nobody can be authenticated at the moment",
        }
    }
}

/// What a conversation does next.
pub enum Next {
    /// Send this in base64 and wait for an answer.
    Challenge(Vec<u8>),
    /// The user is who it says.
    Done(User),
}

struct Inner {
    store: Arc<Store>,
    reads: Reads,
    pool: Pool,
    admission: Admission,
    cache: Cache,
    server_secret: [u8; 32],
    iterations: u32,
    random: SystemRandom,
}

/// Checks who logs in. Clones share everything.
#[derive(Clone)]
pub struct Authenticator(Arc<Inner>);

/// What is known of a connection that somebody logs in on.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The peer.
    pub peer: IpAddr,
    /// The `tls-exporter` binding, when there is one.
    pub exporter: Option<[u8; 32]>,
    /// The client's certificate, when it presented one.
    pub certificate: Option<ClientCertificate>,
    /// The server's name.
    pub hostname: String,
    /// Seconds since 1970.
    pub now: u64,
}

impl Connection {
    fn context(&self, nonce: ServerNonce) -> Context {
        let exporter = self.exporter.map(|octets| Secret::new(octets.to_vec()));
        let plus = if exporter.is_some() { PlusOffer::Offered } else { PlusOffer::NotOffered };
        Context {
            binding: ChannelBinding { exporter, unique: None },
            plus,
            nonce,
            hostname: self.hostname.clone(),
            unix_seconds: self.now,
            limits: Limits::DEFAULT,
        }
    }
}

/// One attempt to log in.
pub struct Conversation {
    authenticator: Authenticator,
    connection: Connection,
    exchange: Exchange,
}

impl Authenticator {
    /// `server_secret` makes up the secrets of accounts that don't exist; it has to stay the same over
    /// restarts, or those accounts could be told by their changing salts. `iterations` are those of
    /// new passwords.
    pub fn new(
        store: Arc<Store>,
        pool: Pool,
        admission: Admission,
        server_secret: [u8; 32],
        iterations: u32,
    ) -> Result<Self, ring::error::Unspecified> {
        let random = SystemRandom::new();
        let mut key = [0; 32];
        random.fill(&mut key)?;
        let cache = Cache::new(&key);
        let reads = Reads::new(Arc::clone(&store), pool.clone());
        Ok(Self(Arc::new(Inner { store, reads, pool, admission, cache, server_secret, iterations, random })))
    }

    /// The mechanisms that may be used on a connection, strongest first.
    pub fn mechanisms(encrypted: bool, binding: bool) -> impl Iterator<Item = Mechanism> {
        Mechanism::ALL.into_iter().filter(move |mechanism| {
            (encrypted || !mechanism.sends_password()) && (binding || !mechanism.binds_channel())
        })
    }

    /// Whether any account has a public key of TLS, so that it makes sense to ask for certificates.
    pub fn knows_keys(&self) -> bool {
        let reader = self.0.store.reader();
        Directory::new(reader.snapshot()).has_tls_keys().unwrap_or(false)
    }

    /// The account that the key of a certificate belongs to, unless the certificate isn't valid now.
    pub fn owner(&self, certificate: &ClientCertificate, now: u64) -> Result<Option<Account>, EngineError> {
        if !i64::try_from(now).is_ok_and(|now| certificate.is_valid_at(now)) {
            return Ok(None);
        }
        let reader = self.0.store.reader();
        let owner = Directory::new(reader.snapshot()).account_of_tls_key(&certificate.fingerprint)?;
        Ok(owner.filter(|account| !account.settings.disabled_mechanisms.contains(&Mechanism::External)))
    }

    /// The user of a connection's certificate; as `authzid` when that is a name of the account.
    pub fn external(&self, connection: &Connection, authzid: Option<&Login>) -> Result<User, AuthError> {
        let certificate = connection.certificate.ok_or(FailureKind::BadCredentials)?;
        let account = self.owner(&certificate, connection.now)?.ok_or(FailureKind::BadCredentials)?;
        if let Some(authzid) = authzid
            && authzid.as_str() != account.name.as_str()
        {
            let named = self.look_up(authzid, Mechanism::External)?.account;
            if named.is_none_or(|named| named.id != account.id) {
                return Err(FailureKind::AuthzidDiffers.into());
            }
        }
        if let Some(message) = account.settings.login_disabled {
            return Err(AuthError::Disabled(message));
        }
        let login = authzid.map_or(account.name.as_str(), Login::as_str).to_owned();
        let (name, quota) = (account.name.as_str().to_owned(), account.settings.quota);
        Ok(User { account: account.id, name, login, quota })
    }

    /// Begins a conversation. The first step is done already.
    pub async fn begin(
        &self,
        connection: Connection,
        mechanism: Mechanism,
        initial_response: Option<&[u8]>,
    ) -> Result<(Conversation, Next), AuthError> {
        if !self.0.admission.may_authenticate(connection.peer, connection.now) {
            return Err(AuthError::Limited);
        }
        let mut octets = [0; 18];
        if self.0.random.fill(&mut octets).is_err() {
            return Err(AuthError::Busy(PoolError::Full));
        }
        let context = connection.context(ServerNonce::from_random(&octets));
        let (exchange, step) = Exchange::start(mechanism, &context, initial_response);
        let mut conversation = Conversation { authenticator: self.clone(), connection, exchange };
        let next = conversation.proceed(step).await?;
        Ok((conversation, next))
    }

    /// Checks a name and a password that came together, as with IMAP's LOGIN.
    pub async fn password(
        &self,
        connection: Connection,
        login: &str,
        password: &str,
    ) -> Result<User, AuthError> {
        let message = [b"\0", login.as_bytes(), b"\0", password.as_bytes()].concat();
        match self.begin(connection, Mechanism::Plain, Some(&message)).await? {
            (_, Next::Done(user)) => Ok(user),
            (_, Next::Challenge(_)) => Err(AuthError::Failed(FailureKind::OutOfTurn)),
        }
    }

    /// The account of a login name with its secrets, and what stands in for those that are missing. An
    /// account that doesn't use a mechanism has no secrets for it: nobody can tell that from a wrong password.
    fn look_up(&self, login: &Login, mechanism: Mechanism) -> Result<Found, EngineError> {
        let reader = self.0.store.reader();
        let (account, secrets, dummy_login) = match Directory::new(reader.snapshot()).login(login)? {
            LoginAnswer::Account { account, secrets, dummy_login } => (Some(*account), secrets, dummy_login),
            LoginAnswer::Unknown { dummy_login } => (None, None, dummy_login),
        };
        let dummy = StoredSecrets::dummy(&self.0.server_secret, &dummy_login, self.0.iterations);
        let uses = |account: &Account| !account.settings.disabled_mechanisms.contains(&mechanism);
        let secrets = secrets.filter(|_| account.as_ref().is_some_and(uses));
        Ok(Found { account, secrets: secrets.map(|secrets| *secrets), dummy })
    }

    async fn verify(
        &self,
        login: &Login,
        mechanism: Mechanism,
        password: Secret<String>,
        now: u64,
    ) -> Result<Verdict, AuthError> {
        let Found { secrets, dummy, .. } = self.look_up(login, mechanism)?;
        let exists = secrets.is_some();
        let secrets = secrets.unwrap_or(dummy);
        let digest = self.0.cache.digest(login.as_str(), password.expose(), &secrets.encode());
        if exists && self.0.cache.knows(&digest, now) {
            return Ok(Verdict::Matches);
        }
        let verdict = self.0.pool.run(move || secrets.verify_password(password.expose())).await?;
        match verdict {
            Verdict::Matches if exists => {
                self.0.cache.remember(digest, now);
                Ok(Verdict::Matches)
            }
            _ => Ok(Verdict::Differs),
        }
    }

    fn user(&self, login: &Login, mechanism: Mechanism) -> Result<User, AuthError> {
        let account = self.look_up(login, mechanism)?.account.ok_or(FailureKind::BadCredentials)?;
        if let Some(message) = account.settings.login_disabled {
            return Err(AuthError::Disabled(message));
        }
        Ok(User {
            account: account.id,
            name: account.name.as_str().to_owned(),
            login: login.as_str().to_owned(),
            quota: account.settings.quota,
        })
    }
}

/// What the directory has for a login name.
struct Found {
    account: Option<Account>,
    secrets: Option<StoredSecrets>,
    dummy: StoredSecrets,
}

impl Conversation {
    /// Takes the client's answer to a challenge, decoded.
    pub async fn respond(&mut self, message: &[u8]) -> Result<Next, AuthError> {
        let step = self.exchange.respond(message);
        self.proceed(step).await
    }

    /// The mechanism in use.
    pub const fn mechanism(&self) -> Mechanism {
        self.exchange.mechanism()
    }

    async fn proceed(&mut self, mut step: Step) -> Result<Next, AuthError> {
        loop {
            self.authenticator.0.reads.calm().await;
            step = match step {
                Step::Challenge(challenge) => return Ok(Next::Challenge(challenge)),
                Step::NeedSecrets { login, .. } => {
                    let found = self.authenticator.look_up(&login, self.mechanism())?;
                    self.exchange.secrets(found.secrets.as_ref(), &found.dummy)
                }
                Step::VerifyPassword { login, password } => {
                    let (mechanism, now) = (self.mechanism(), self.connection.now);
                    let verdict = self.authenticator.verify(&login, mechanism, password, now).await?;
                    self.exchange.verified(verdict)
                }
                Step::Certificate { authzid } => {
                    let authenticator = &self.authenticator;
                    let user = authenticator.external(&self.connection, authzid.as_ref());
                    let admission = &authenticator.0.admission;
                    match &user {
                        Ok(_) => admission.succeeded(self.connection.peer, self.connection.now),
                        Err(AuthError::Failed(_)) => {
                            admission.failed(self.connection.peer, self.connection.now)
                        }
                        Err(_) => {}
                    }
                    return user.map(Next::Done);
                }
                Step::Success { login } => {
                    let user = self.authenticator.user(&login, self.mechanism())?;
                    self.authenticator.0.admission.succeeded(self.connection.peer, self.connection.now);
                    return Ok(Next::Done(user));
                }
                Step::Failure(kind) => {
                    if matches!(kind, FailureKind::BadCredentials | FailureKind::ChannelBinding) {
                        self.authenticator.0.admission.failed(self.connection.peer, self.connection.now);
                    }
                    return Err(kind.into());
                }
            }
        }
    }
}
