//! The requests that change one thing of the directory.

use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::sasl::Limits;
use postrider_proto::sasl::secrets::{Derivation, SALT_OCTETS, StoredSecrets};
use postrider_proto::sasl::text::prepare_password;
use postrider_storage::directory::{
    Account, AccountName, AccountSettings, AddressPattern, AliasSettings, Change, Directory, DomainSettings,
    DomainState, Fingerprint, HeldMail,
};
use postrider_storage::ids::AccountId;
use ring::rand::{SecureRandom, SystemRandom};

use super::{ServerOperations, failure, internal};
use crate::config::Passwords;
use crate::control::OperationError;
use crate::control::protocol::{Answer, FailureKind, Request, Secret};
use crate::tls::fingerprint_of_pem;

impl ServerOperations {
    /// Carries out a request that changes the directory.
    pub(super) async fn edit(&self, request: Request) -> Result<Answer, OperationError> {
        match request {
            Request::AccountAdd { account, address, password, quota } => {
                self.add_account(&account, &address, &password, quota).await?;
            }
            Request::AccountRemove { account } => {
                let name = failure::account(&account)?;
                self.change(move |_| Ok(vec![Change::RemoveAccount { name, mail: HeldMail::Erase }])).await?;
            }
            Request::AccountSetPassword { account, password } => {
                let account = failure::account(&account)?;
                let secrets = Some(self.derive(&password.0).await?);
                self.change(move |_| Ok(vec![Change::SetSecrets { account, secrets }])).await?;
            }
            Request::AccountSetQuota { account, quota } => {
                self.set_account(&account, move |settings| settings.quota = quota).await?;
            }
            Request::AccountSetQuotaMessages { account, messages } => {
                self.set_account(&account, move |settings| settings.quota_messages = messages).await?;
            }
            Request::AccountDisable { account, message } => {
                self.set_account(&account, move |settings| settings.login_disabled = Some(message)).await?;
            }
            Request::AccountEnable { account } => {
                self.set_account(&account, |settings| settings.login_disabled = None).await?;
            }
            Request::AccountTlsKeyAdd { account, pem, name } => {
                return self.add_tls_key(&account, &pem, name).await;
            }
            Request::AccountTlsKeyRemove { account, fingerprint } => {
                let account = failure::account(&account)?;
                let message = "that is no fingerprint; `account tlspubkey list` shows them";
                let fingerprint =
                    Fingerprint::parse(&fingerprint).ok_or_else(|| failure::invalid(message))?;
                self.change(move |_| Ok(vec![Change::RemoveTlsKey { account, fingerprint }])).await?;
            }
            Request::AddressAdd { address, account } => {
                let (address, account) = (failure::pattern(&address)?, failure::account(&account)?);
                let mailbox = MailboxName::inbox();
                self.change(move |_| Ok(vec![Change::AddAddress { address, account, mailbox }])).await?;
            }
            Request::AddressRemove { address } => {
                let address = failure::pattern(&address)?;
                self.change(move |_| Ok(vec![Change::RemoveAddress(address)])).await?;
            }
            other => return self.edit_domain(other).await,
        }
        Ok(Answer::Done)
    }

    async fn edit_domain(&self, request: Request) -> Result<Answer, OperationError> {
        match request {
            Request::DomainAdd { domain, disabled } => {
                let domain = failure::domain(&domain)?;
                let state = if disabled { DomainState::Disabled } else { DomainState::Enabled };
                let settings = DomainSettings { state, ..DomainSettings::default() };
                self.change(move |_| Ok(vec![Change::AddDomain { domain, settings }])).await?;
            }
            Request::DomainRemove { domain } => {
                let domain = failure::domain(&domain)?;
                self.change(move |_| Ok(vec![Change::RemoveDomain(domain)])).await?;
            }
            Request::DomainEnable { domain } => self.set_domain(&domain, DomainState::Enabled).await?,
            Request::DomainDisable { domain } => self.set_domain(&domain, DomainState::Disabled).await?,
            other => return self.edit_alias(other).await,
        }
        Ok(Answer::Done)
    }

    async fn edit_alias(&self, request: Request) -> Result<Answer, OperationError> {
        let (alias, members) = match &request {
            Request::AliasAdd { alias, members }
            | Request::AliasAddMember { alias, members }
            | Request::AliasRemoveMember { alias, members } => (alias, members.as_slice()),
            Request::AliasRemove { alias } => (alias, &[][..]),
            // Every other request is carried out elsewhere.
            other => return Err(internal(format!("request {} is not known here", other.name()))),
        };
        let alias = failure::address(alias)?;
        let members = members.iter().map(|member| failure::address(member));
        let members = members.collect::<Result<Vec<_>, _>>()?;
        let each = |change: fn(_, _) -> Change| {
            members.iter().map(|member| change(alias.clone(), member.clone())).collect()
        };
        let changes = match request {
            Request::AliasRemove { .. } => vec![Change::RemoveAlias(alias)],
            Request::AliasAddMember { .. } => each(|alias, member| Change::AddMember { alias, member }),
            Request::AliasRemoveMember { .. } => each(|alias, member| Change::RemoveMember { alias, member }),
            _ => {
                // As product 8.7 has it: who adds an alias at the command line means one for everybody.
                let settings = AliasSettings { post_public: true, ..AliasSettings::default() };
                vec![Change::AddAlias { alias, settings, members }]
            }
        };
        self.change(move |_| Ok(changes)).await?;
        Ok(Answer::Done)
    }

    async fn add_tls_key(&self, account: &str, pem: &str, name: String) -> Result<Answer, OperationError> {
        let account = failure::account(account)?;
        let message = "that is neither a certificate (of X.509 version 3) nor a public key in PEM form";
        let fingerprint = fingerprint_of_pem(pem).ok_or_else(|| failure::invalid(message))?;
        self.change(move |_| Ok(vec![Change::AddTlsKey { account, fingerprint, name }])).await?;
        Ok(Answer::TlsKey { fingerprint: fingerprint.to_string() })
    }

    async fn add_account(
        &self,
        account: &str,
        address: &str,
        password: &Secret,
        quota: Option<u64>,
    ) -> Result<(), OperationError> {
        let name = failure::account(account)?;
        let address = failure::address(address)?;
        let settings = AccountSettings {
            quota: quota.or(self.shard.shared.config.accounts.quota_octets),
            ..AccountSettings::new(address.domain.clone())
        };
        let secrets = Some(self.derive(&password.0).await?);
        let changes = vec![
            Change::AddAccount { name: name.clone(), settings },
            Change::AddAddress {
                address: AddressPattern::Exact(address),
                account: name.clone(),
                mailbox: MailboxName::inbox(),
            },
            Change::SetSecrets { account: name, secrets },
        ];
        self.change(move |_| Ok(changes)).await
    }

    async fn set_account(
        &self,
        account: &str,
        set: impl FnOnce(&mut AccountSettings) + Send + 'static,
    ) -> Result<(), OperationError> {
        let name = failure::account(account)?;
        self.change(move |directory| {
            let mut settings = find(directory, &name)?.settings;
            set(&mut settings);
            Ok(vec![Change::SetAccount { name, settings }])
        })
        .await
    }

    async fn set_domain(&self, domain: &str, state: DomainState) -> Result<(), OperationError> {
        let domain = failure::domain(domain)?;
        self.change(move |directory| {
            let settings = directory.domain(&domain).map_err(internal)?;
            let Some(mut settings) = settings else {
                let message = format!("there is no domain {domain}");
                return Err(OperationError::new(FailureKind::NotFound, message));
            };
            settings.state = state;
            Ok(vec![Change::SetDomain { domain, settings }])
        })
        .await
    }

    /// The number of the account of that name.
    pub(super) async fn account_id(&self, account: &str) -> Result<AccountId, OperationError> {
        let name = failure::account(account)?;
        self.on_pool(move |shared| {
            let reader = shared.store.reader();
            find(&Directory::new(reader.snapshot()), &name).map(|account| account.id)
        })
        .await
    }

    /// Derives what is stored of a new password.
    pub(super) async fn derive(&self, password: &str) -> Result<StoredSecrets, OperationError> {
        let password = password.to_owned();
        self.on_pool(move |shared| derive(&shared.config.passwords, &password)).await
    }
}

/// Derives what is stored of a new password, which takes milliseconds.
pub(super) fn derive(config: &Passwords, password: &str) -> Result<StoredSecrets, OperationError> {
    let password = prepare_password(password.as_bytes(), &Limits::DEFAULT)
        .map_err(|error| failure::invalid(error.to_string()))?;
    if password.expose().len() < config.min_octets as usize {
        let message = format!("the password has fewer than {} octets; take a longer one", config.min_octets);
        return Err(failure::invalid(message));
    }
    let (mut salt_sha_256, mut salt_sha_1) = ([0; SALT_OCTETS], [0; SALT_OCTETS]);
    let random = SystemRandom::new();
    random
        .fill(&mut salt_sha_256)
        .and_then(|()| random.fill(&mut salt_sha_1))
        .map_err(|_| internal("the system gives no random numbers"))?;
    let derivation = Derivation { iterations: config.iterations, salt_sha_256, salt_sha_1 };
    Ok(StoredSecrets::derive(password.expose(), &derivation))
}

/// The account of that name.
pub(super) fn find(directory: &Directory<'_>, name: &AccountName) -> Result<Account, OperationError> {
    let account = directory.account_by_name(name).map_err(internal)?;
    account.ok_or_else(|| OperationError::new(FailureKind::NotFound, format!("there is no account {name}")))
}
