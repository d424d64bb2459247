//! The directory: domains, accounts, addresses, aliases and credentials, as rows of the store.
//!
//! [`Directory`] reads a snapshot: finding a recipient takes at most four point reads, however large
//! the directory is. [`plan`] turns [`Change`]s into one batch, or says what is wrong and changes
//! nothing. A document is the whole directory as a text. [`verify`] states what always holds.
//!
//! Rows belong to the system (account 0) in the space `rows`; a name is followed by an octet 0 where
//! more follows, for no name can hold one. Values start with a version; numbers in them are
//! little-endian, texts have their length in 16 bits before them. What only some rows have is at the end of a version 2
//! or 3 of their value, whose layout is in `rows/settings.rs` and `rows/mail.rs`.
//!
//! | table | name | rest of the key | value |
//! |---|---|---|---|
//! | 0x40 | STATE | - | next account id, counts, postmaster |
//! | 0x41 | DOMAIN | domain | settings; in version 2 with routes |
//! | 0x42 | ACCOUNT | account id u32 | name, created, settings; in version 2 with routes, in version 3 with what is set for its mail, too |
//! | 0x43 | ACCOUNTNAME | name | account id |
//! | 0x44 | ADDRESS | domain, 0, canonical localpart (empty: catch-all) | target: account and mailbox, SMTP code, or alias; in version 2, for an account, rules and the like |
//! | 0x45 | ACCOUNTADDRESS | account id u32, domain, 0, localpart | version |
//! | 0x46 | CREDENTIAL | account id u32 | `StoredSecrets` of `proto::sasl` |
//! | 0x47 | MEMBER | alias' domain, 0, localpart, 0, member's account id u32, domain, 0, localpart | version |
//! | 0x48 | MEMBEROF | member's account id u32, domain, 0, localpart, 0, alias' domain, 0, localpart | version |
//! | 0x49 | ACCOUNTDOMAIN | domain, 0, account id u32 | version |
//! | 0x4a | REMOVED | account id u32 | version; a to-do: the account's own rows are to be erased |
//! | 0x4b | TLSKEY | fingerprint, 32 octets | account id u32, created, name |
//! | 0x4c | ACCOUNTTLSKEY | account id u32, fingerprint | version |
//! | 0x4d | DKIMKEY | domain, 0, selector | kind u8 (1 RSA, 2 Ed25519), state u8 (0 published, 1 signs), created, PKCS#8 with its length in 32 bits before it |
//! | 0x5d | PLAN | - | see [`stage`] |
//! | 0x5e | STAGED | a key of the tables above | see [`stage`] |
//! | 0x5f | WANTED | kind u8, name | see [`apply`] |

mod apply;
mod change;
mod destination;
mod document;
mod draft;
mod lookup;
mod mail;
mod plan;
mod remembered;
mod route;
mod rows;
mod senders;
pub(crate) mod stage;
mod types;
mod verify;
mod webhook;
mod write;

pub use apply::{
    Apply, ApplyError, Derive, Finish, Mode, Options, PENDING_OCTETS_MAX, Progress, ReadKey, Step,
};
pub use change::{Change, HeldMail};
pub use destination::{
    BadPattern, BadRule, Destination, HeaderPattern, MailRule, Matcher, Pattern, ReportKinds,
};
pub use document::{Export, Fault, KeyText};
pub use lookup::{Directory, DirectoryStatus, LoginAnswer, Recipient, Resolution};
pub use mail::MailSettings;
pub use plan::{DirectoryError, plan};
pub use remembered::{Learning, Learnt, Remembered};
pub use route::{BadTransportName, Route, RouteDomain, TransportName};
pub(crate) use rows::is_directory_key;
pub use rows::{BadRow, added_accounts, removed_account};
pub use senders::{Owner, SenderVerdict};
pub use stage::{Effect, PlanState, Settled, Settling, effects, effects_of, plan_state};
pub use types::{
    Account, AccountName, AccountSettings, AddressPattern, AliasSettings, BadName, DkimKey, DkimSecret,
    DkimState, DomainSettings, DomainState, Fingerprint, Limits, LocalpartCase, Postmaster, Target, TlsKey,
};
pub use verify::{Rule, Violation, verify};
pub use webhook::{
    BadWebhook, BadWebhookEvent, BadWebhookUrl, OutgoingWebhook, Webhook, WebhookEvent, WebhookEvents,
    WebhookHost, WebhookUrl,
};

#[cfg(test)]
mod tests;
