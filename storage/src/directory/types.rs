//! What the directory holds, as values.

use std::fmt;

use postrider_proto::address::{Address, AddressError, Domain, Localpart};
use postrider_proto::dkim::Selector;
use postrider_proto::dkim::key::Kind;
use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::sasl::{Mechanism, Secret};
use unicode_normalization::UnicodeNormalization;

use super::destination::Destination;
use super::mail::MailSettings;
use super::route::Route;
use crate::ids::AccountId;

/// What bounds single values of the directory. The number of rows is not bounded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The longest account name.
    pub account_name_octets_max: usize,
    /// The longest description and full name.
    pub text_octets_max: usize,
    /// The longest message to a user whose login is disabled.
    pub login_disabled_octets_max: usize,
    /// The most separators of a domain.
    pub separators_max: usize,
    /// The longest separator.
    pub separator_octets_max: usize,
    /// The most members of an alias.
    pub alias_members_max: usize,
    /// The most public keys of TLS of an account.
    pub tls_keys_max: usize,
    /// The longest name of such a key.
    pub tls_key_name_octets_max: usize,
    /// The most rules of an address.
    pub rules_max: usize,
    /// The most routes of an account or a domain, and the most domains on one side of a route.
    pub routes_max: usize,
    /// Octets that all rules of an address, or all routes of an account or a domain, take in their row.
    pub settings_octets_max: usize,
    /// The most DKIM keys of a domain: each that signs makes a signature of each message.
    pub dkim_keys_max: usize,
    /// The longest secret of such a key, octets of PKCS#8; one of RSA with 8192 bits has 4.7 KiB.
    pub dkim_secret_octets_max: usize,
}

impl Limits {
    /// What is used when nothing else is configured.
    pub const DEFAULT: Self = Self {
        account_name_octets_max: 128,
        text_octets_max: 1024,
        login_disabled_octets_max: 256,
        separators_max: 8,
        separator_octets_max: 16,
        alias_members_max: 10_000,
        tls_keys_max: 100,
        tls_key_name_octets_max: 256,
        rules_max: 100,
        routes_max: 100,
        settings_octets_max: 64 << 10,
        dkim_keys_max: 16,
        dkim_secret_octets_max: 8 << 10,
    };
}

// Texts are stored with 16 bits of length.
const _: () = assert!(Limits::DEFAULT.text_octets_max <= 0xffff);
// Their numbers are stored in 8 bits.
const _: () = assert!(Limits::DEFAULT.rules_max <= 0xff && Limits::DEFAULT.routes_max <= 0xff);
const _: () = assert!(Limits::DEFAULT.dkim_keys_max <= 0xff);
const _: () = assert!(Limits::DEFAULT.login_disabled_octets_max <= Limits::DEFAULT.text_octets_max);

/// Why a text is no account name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadName {
    /// Nothing at all.
    #[error("an account name must not be empty")]
    Empty,
    /// Longer than [`Limits::account_name_octets_max`].
    #[error("an account name has at most 128 octets")]
    TooLong,
    /// Control characters, `/`, or `.` at the start, which would not do as a directory's name.
    #[error("an account name has no control characters and no /, and does not start with .")]
    Character,
}

/// An account's name for operators: normal form C, fit to be a directory's name in exports.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AccountName(Box<str>);

impl AccountName {
    /// Checks and normalises a name.
    pub fn new(text: &str) -> Result<Self, BadName> {
        // Bounded before normalising; what becomes longer by it is refused below.
        if text.len() > 4 * Limits::DEFAULT.account_name_octets_max {
            return Err(BadName::TooLong);
        }
        let name: String = text.nfc().collect();
        if name.is_empty() {
            return Err(BadName::Empty);
        }
        if name.len() > Limits::DEFAULT.account_name_octets_max {
            return Err(BadName::TooLong);
        }
        if name.starts_with('.') || name.contains('/') || name.chars().any(char::is_control) {
            return Err(BadName::Character);
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a domain takes and sends mail.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DomainState {
    /// It does.
    #[default]
    Enabled,
    /// It does not for now; logins with its addresses work.
    Disabled,
}

/// Whether `Fred` and `fred` are one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LocalpartCase {
    /// They are.
    #[default]
    Insensitive,
    /// They are not.
    Sensitive,
}

/// What is set for a domain.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DomainSettings {
    /// Whether it takes and sends mail.
    pub state: DomainState,
    /// Whether case matters before the `@`.
    pub case: LocalpartCase,
    /// What ends the part of a localpart that counts: with `+`, `fred+lists` is `fred`.
    pub separators: Vec<String>,
    /// For operators.
    pub description: String,
    /// By which transports mail of its addresses leaves, where no route of the account matches.
    pub routes: Vec<Route>,
}

impl DomainSettings {
    /// The localpart that is looked up for `localpart` (product 8.5): its case folded unless case
    /// matters, then cut at each separator in turn. Never empty, so never the catch-all.
    pub fn canonical(&self, localpart: &str) -> String {
        let mut canonical = self.fold(localpart);
        for separator in &self.separators {
            // At the very start there would be nothing left.
            if let Some(at) = canonical.find(self.fold(separator).as_str())
                && at > 0
            {
                canonical.truncate(at);
            }
        }
        canonical
    }

    /// Takes a localpart apart into what it is without an id, the separator, which is the first of the domain's, and the id of a
    /// message behind it (product 2.7), if there is one. None where there are no separators.
    pub fn id_in<'a>(&'a self, localpart: &'a str) -> Option<(&'a str, &'a str, Option<&'a str>)> {
        let separator = self.separators.first()?.as_str();
        // At the very start there would be nothing left.
        let start = localpart.chars().next().map_or(0, char::len_utf8);
        let found = localpart.get(start..).and_then(|rest| rest.split_once(separator));
        Some(match found {
            Some((before, id)) => {
                let base = localpart.get(..start + before.len()).unwrap_or(localpart);
                (base, separator, Some(id).filter(|id| !id.is_empty()))
            }
            None => (localpart, separator, None),
        })
    }

    /// Whether a localpart contains a separator, so that it could never be looked up.
    pub fn separator_in(&self, localpart: &str) -> Option<&str> {
        let folded = self.fold(localpart);
        self.separators.iter().map(String::as_str).find(|separator| folded.contains(&self.fold(separator)))
    }

    /// The localpart with its case folded, if it is to be. `postmaster` never depends on case
    /// (RFC 5321 §4.5.1).
    pub fn fold(&self, localpart: &str) -> String {
        match self.case {
            LocalpartCase::Sensitive if !is_postmaster(localpart) => localpart.to_owned(),
            // Lower-casing can leave normal form C.
            _ => localpart.to_lowercase().nfc().collect(),
        }
    }
}

/// Whether a localpart is `postmaster`, in whatever case.
pub(super) fn is_postmaster(localpart: &str) -> bool {
    localpart.eq_ignore_ascii_case("postmaster")
}

/// What is set for an account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccountSettings {
    /// The domain that it belongs to.
    pub domain: Domain,
    /// The person's name.
    pub full_name: String,
    /// The most octets of mail; none is no limit.
    pub quota: Option<u64>,
    /// The most messages; none is no limit.
    pub quota_messages: Option<u64>,
    /// When set, nobody can log in and is told this; mail still comes in.
    pub login_disabled: Option<String>,
    /// Mechanisms that this account does not use, in order.
    pub disabled_mechanisms: Vec<Mechanism>,
    /// By which transports its mail leaves.
    pub routes: Vec<Route>,
    /// What else is set for its mail.
    pub mail: MailSettings,
}

impl AccountSettings {
    /// An account of `domain` with nothing special.
    pub const fn new(domain: Domain) -> Self {
        Self {
            domain,
            full_name: String::new(),
            quota: None,
            quota_messages: None,
            login_disabled: None,
            disabled_mechanisms: Vec::new(),
            routes: Vec::new(),
            mail: MailSettings::NONE,
        }
    }
}

/// An account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// Its number, which no other account ever gets.
    pub id: AccountId,
    /// Its name.
    pub name: AccountName,
    /// When it was added, in seconds since 1970.
    pub created: i64,
    /// What is set for it.
    pub settings: AccountSettings,
}

/// An address, or `@domain` for all that have none of their own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum AddressPattern {
    /// All other addresses of the domain.
    CatchAll(Domain),
    /// This address.
    Exact(Address),
}

impl AddressPattern {
    /// Parses `localpart@domain` or `@domain`.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        match text.strip_prefix('@') {
            Some(domain) => Ok(Self::CatchAll(Domain::parse(domain)?)),
            None => Ok(Self::Exact(Address::parse(text)?)),
        }
    }

    /// The domain.
    pub const fn domain(&self) -> &Domain {
        match self {
            Self::CatchAll(domain) => domain,
            Self::Exact(address) => &address.domain,
        }
    }

    /// The localpart, empty for a catch-all.
    pub fn localpart(&self) -> &str {
        match self {
            Self::CatchAll(_) => "",
            Self::Exact(address) => address.localpart.as_str(),
        }
    }

    /// Puts a domain and a decoded localpart together.
    pub(super) fn of(domain: &Domain, localpart: &str) -> Result<Self, AddressError> {
        if localpart.is_empty() {
            return Ok(Self::CatchAll(domain.clone()));
        }
        Ok(Self::Exact(Address { localpart: Localpart::from_decoded(localpart)?, domain: domain.clone() }))
    }
}

impl fmt::Display for AddressPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CatchAll(domain) => write!(f, "@{domain}"),
            Self::Exact(address) => address.fmt(f),
        }
    }
}

/// Where mail to an address goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// Into a mailbox of an account.
    Account {
        /// The account.
        account: AccountId,
        /// The mailbox.
        mailbox: MailboxName,
        /// What else is set.
        destination: Destination,
    },
    /// Nowhere: the sender is answered with this SMTP code, 451 or 550 (product 8.2).
    Refused(u16),
    /// To the members of an alias.
    Alias(AliasSettings),
}

/// What is set for an alias.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AliasSettings {
    /// Everybody may post, not only members.
    pub post_public: bool,
    /// Members may see who else is one.
    pub list_members: bool,
    /// Members may send with the alias as their address.
    pub allow_msg_from: bool,
}

/// Who gets the mail for `postmaster`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Postmaster {
    /// The account.
    pub account: AccountId,
    /// Its mailbox.
    pub mailbox: MailboxName,
}

/// What names a public key: SHA-256 of its SubjectPublicKeyInfo (RFC 5280 §4.1.2.7).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; Self::OCTETS]);

impl Fingerprint {
    /// Octets of one.
    pub const OCTETS: usize = 32;

    /// The fingerprint of these octets.
    pub const fn new(octets: [u8; Self::OCTETS]) -> Self {
        Self(octets)
    }

    /// Reads the form in which it is written: base64url without padding (RFC 4648 §5).
    pub fn parse(text: &str) -> Option<Self> {
        let octets = data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        octets.try_into().ok().map(Self)
    }

    /// The octets.
    pub const fn as_octets(&self) -> &[u8; Self::OCTETS] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::BASE64URL_NOPAD.encode(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A public key that logs in to an account, in a client certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsKey {
    /// Which key.
    pub fingerprint: Fingerprint,
    /// What its owner calls it.
    pub name: String,
    /// When it was added, in seconds since 1970.
    pub created: i64,
}

/// Whether a DKIM key signs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DkimState {
    /// It does.
    #[default]
    Signs,
    /// Its record may be in the DNS, nothing is signed with it: it is to sign later, or did before.
    Published,
}

/// The private part of a DKIM key, in the form of PKCS#8 (RFC 5208, RFC 8410). It isn't shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DkimSecret {
    kind: Kind,
    pkcs8: Secret<Box<[u8]>>,
}

impl DkimSecret {
    /// A secret of that kind, as DER. It isn't looked into.
    pub const fn new(kind: Kind, pkcs8: Box<[u8]>) -> Self {
        Self { kind, pkcs8: Secret::new(pkcs8) }
    }

    /// Which algorithm it is for.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Its octets, at places that can be searched for.
    pub const fn expose(&self) -> &[u8] {
        self.pkcs8.expose()
    }
}

/// A key with which mail of a domain is signed (RFC 6376).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DkimKey {
    /// Under which its record is in the DNS.
    pub selector: Selector,
    /// Whether it signs.
    pub state: DkimState,
    /// When it was added, in seconds since 1970.
    pub created: i64,
    /// What signs.
    pub secret: DkimSecret,
}
