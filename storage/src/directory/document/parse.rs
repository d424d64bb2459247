//! Reads the pieces of a document. Every fault of a piece is found in one go, each with its line.

mod dkim;
mod mail;
mod settings;

use std::cell::Cell;
use std::ops::Range;

use postrider_proto::address::{Address, Domain};
use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::sasl::secrets::StoredSecrets;
use postrider_proto::sasl::text::prepare_new_password;
use postrider_proto::sasl::{Limits, Mechanism};
use toml_edit::{Array, Item, TableLike, Value};

use super::split::Piece;
use super::{
    AccountEntry, AddressEntry, AliasEntry, Credential, DomainEntry, Entry, Fault, Line, Placed, VERSION,
};
use crate::directory::destination::Destination;
use crate::directory::types::{
    AccountName, AccountSettings, AddressPattern, AliasSettings, DomainSettings, DomainState, Fingerprint,
    LocalpartCase,
};
use crate::toml;

/// What a piece has, and what is wrong in it. What is wrong with an entry is a fault, and the entry is left
/// out or has less.
pub(in super::super) fn read(piece: &Piece) -> (Vec<Placed>, Vec<Fault>) {
    let fault = |offset, problem: &str| {
        (Vec::new(), vec![Fault { line: piece.line_at(offset), problem: problem.to_owned() }])
    };
    let text = match str::from_utf8(&piece.text) {
        Ok(text) => text,
        Err(error) => return fault(error.valid_up_to(), "the text is not UTF-8"),
    };
    let root = match toml::parse(text) {
        Ok(root) => root,
        Err(bad) => return fault(bad.at.start, &bad.problem),
    };
    let mut reader =
        Reader { piece, last: Cell::new((0, piece.line_at(0))), entries: Vec::new(), faults: Vec::new() };
    reader.document(root.as_table());
    reader.faults.sort_by_key(|fault| fault.line);
    (reader.entries, reader.faults)
}

struct Reader<'a> {
    piece: &'a Piece,
    /// An offset and its line; most that are asked for come after it.
    last: Cell<(usize, usize)>,
    entries: Vec<Placed>,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn document(&mut self, root: &dyn TableLike) {
        self.known(root, &["version", "postmaster", "domain", "account", "refusal", "alias"]);
        match root.get("version") {
            Some(item) if item.as_integer() == Some(VERSION) && self.piece.is_root() => {}
            Some(item) => {
                self.fault(item.span(), format!("version must be {VERSION}, the only one there is"))
            }
            None if self.piece.is_root() => self.fault(None, format!("version = {VERSION} is missing")),
            None => {}
        }
        if let Some(item) = root.get("postmaster")
            && let Some((account, mailbox)) = self.postmaster(item)
        {
            self.entry(item.span(), Entry::Postmaster(account, mailbox));
        }
        for (name, item, span) in self.entries(root, "domain") {
            let Some(domain) = self.parsed(span.clone(), name, Domain::parse) else { continue };
            if let Some(table) = self.table(item) {
                let entry = self.domain(table);
                self.entry(span, Entry::Domain(domain, entry));
            }
        }
        for (name, item, span) in self.entries(root, "account") {
            let Some(name) = self.parsed(span.clone(), name, AccountName::new) else { continue };
            if let Some(table) = self.table(item)
                && let Some(entry) = self.account(item, table)
            {
                self.entry(span, Entry::Account(name, Box::new(entry)));
            }
        }
        for (name, item, span) in self.entries(root, "refusal") {
            let Some(address) = self.parsed(span.clone(), name, AddressPattern::parse) else { continue };
            match item.as_integer().and_then(|code| u16::try_from(code).ok()) {
                // 421 is stored as 451.
                Some(421 | 451) => self.entry(span, Entry::Refusal(address, 451)),
                Some(550) => self.entry(span, Entry::Refusal(address, 550)),
                _ => self.fault(item.span(), "must be 421, 451 or 550".into()),
            }
        }
        for (name, item, span) in self.entries(root, "alias") {
            let Some(alias) = self.parsed(span.clone(), name, Address::parse) else { continue };
            if let Some(table) = self.table(item) {
                let entry = self.alias(item, table);
                self.entry(span, Entry::Alias(alias, entry));
            }
        }
    }

    fn entry(&mut self, span: Option<Range<usize>>, entry: Entry) {
        let line = self.line(span);
        self.entries.push(Placed { line, entry });
    }

    fn postmaster(&mut self, item: &Item) -> Option<(AccountName, MailboxName)> {
        let table = self.table(item)?;
        self.known(table, &["account", "mailbox"]);
        let mailbox = self.value(table, "mailbox", MailboxName::new).unwrap_or_else(MailboxName::inbox);
        let account = self.value(table, "account", AccountName::new);
        if table.get("account").is_none() {
            self.fault(item.span(), "account is missing".into());
        }
        Some((account?, mailbox))
    }

    fn domain(&mut self, table: &dyn TableLike) -> DomainEntry {
        let keys = ["disabled", "case_sensitive", "separators", "description", "routes", "dkim"];
        self.known(table, &keys);
        let state = if self.flag(table, "disabled") { DomainState::Disabled } else { DomainState::Enabled };
        let case = if self.flag(table, "case_sensitive") {
            LocalpartCase::Sensitive
        } else {
            LocalpartCase::Insensitive
        };
        let separators = self.strings(table, "separators");
        let separators = separators.into_iter().map(|(text, _)| text).collect();
        let description = self.string(table, "description").unwrap_or_default();
        let routes = self.routes(table);
        let settings = DomainSettings { state, case, separators, description, routes };
        DomainEntry { settings, dkim_keys: self.dkim_keys(table) }
    }

    fn account(&mut self, item: &Item, table: &dyn TableLike) -> Option<AccountEntry> {
        self.known(
            table,
            &[
                "domain",
                "full_name",
                "quota",
                "quota_messages",
                "login_disabled",
                "disabled_mechanisms",
                "credentials",
                "password",
                "addresses",
                "tls_public_keys",
                "routes",
                "recipients_per_day",
                "first_time_recipients_per_day",
                "from_id_logins",
                "keep_retired_messages",
                "keep_retired_webhooks",
                "outgoing_webhook",
                "incoming_webhook",
            ],
        );
        let credential = self.credential(table);
        let addresses = self.addresses(table);
        let tls_keys = self.tls_keys(table);
        let routes = self.routes(table);
        let mail = self.mail(table);
        let full_name = self.string(table, "full_name").unwrap_or_default();
        let login_disabled = self.string(table, "login_disabled");
        let quota = self.count(table, "quota", "octets");
        let quota_messages = self.count(table, "quota_messages", "messages");
        let mut disabled_mechanisms = Vec::new();
        for (name, span) in self.strings(table, "disabled_mechanisms") {
            match Mechanism::parse(name.as_bytes()) {
                Some(mechanism) => disabled_mechanisms.push(mechanism),
                None => self.fault(span, format!("{name} is no mechanism of this server")),
            }
        }
        disabled_mechanisms.sort_unstable();
        disabled_mechanisms.dedup();
        if table.get("domain").is_none() {
            self.fault(item.span(), "domain is missing".into());
        }
        let domain = self.value(table, "domain", Domain::parse)?;
        let settings = AccountSettings {
            domain,
            full_name,
            quota,
            quota_messages,
            login_disabled,
            disabled_mechanisms,
            routes,
            mail,
        };
        Some(AccountEntry { settings, credential, addresses, tls_keys })
    }

    fn count<N: TryFrom<i64>>(&mut self, table: &dyn TableLike, key: &str, of: &str) -> Option<N> {
        let item = table.get(key)?;
        let count = item.as_integer().and_then(|count| N::try_from(count).ok());
        if count.is_none() {
            self.fault(item.span(), format!("{key} must be a number of {of}"));
        }
        count
    }

    fn credential(&mut self, table: &dyn TableLike) -> Credential {
        let verifiers = table.get("credentials");
        let Some(password) = table.get("password") else {
            let Some(item) = verifiers else { return Credential::Unsaid };
            let texts = self.strings(table, "credentials");
            if texts.is_empty() {
                return Credential::Nothing;
            }
            return match StoredSecrets::from_texts(texts.iter().map(|(text, _)| text.as_str())) {
                Ok(secrets) => Credential::Verifiers(Box::new(secrets)),
                Err(error) => {
                    self.fault(item.span(), error.to_string());
                    Credential::Unsaid
                }
            };
        };
        if verifiers.is_some() {
            self.fault(password.span(), "password and credentials exclude each other".into());
        }
        let prepare = |text: &str| prepare_new_password(text.as_bytes(), &Limits::DEFAULT);
        self.value(table, "password", prepare).map_or(Credential::Unsaid, Credential::Password)
    }

    fn addresses(&mut self, table: &dyn TableLike) -> Vec<AddressEntry> {
        let mut addresses = Vec::new();
        let Some(array) = self.array(table, "addresses") else { return addresses };
        for value in array {
            let (address, mailbox, destination) = match value {
                Value::InlineTable(entry) => {
                    self.known(entry, &["address", "mailbox", "rules", "auth_required", "reports"]);
                    if entry.get("address").is_none() {
                        self.fault(value.span(), "address is missing".into());
                    }
                    let address = self.value(entry, "address", AddressPattern::parse);
                    (address, self.value(entry, "mailbox", MailboxName::new), self.destination(entry))
                }
                _ => match value.as_str() {
                    Some(text) => {
                        let address = self.parsed(value.span(), text, AddressPattern::parse);
                        (address, None, Destination::default())
                    }
                    None => {
                        self.fault(value.span(), "must be a text, or { address = , mailbox = }".into());
                        continue;
                    }
                },
            };
            let Some(address) = address else { continue };
            let (mailbox, line) = (mailbox.unwrap_or_else(MailboxName::inbox), self.line(value.span()));
            addresses.push(AddressEntry { address, mailbox, destination, line });
        }
        addresses
    }

    fn tls_keys(&mut self, table: &dyn TableLike) -> Vec<(Fingerprint, String, Line)> {
        let parse = |text: &str| Fingerprint::parse(text).ok_or("is no SHA-256 in base64url without padding");
        let mut keys = Vec::new();
        let Some(array) = self.array(table, "tls_public_keys") else { return keys };
        for value in array {
            let (fingerprint, name) = match value {
                Value::InlineTable(entry) => {
                    self.known(entry, &["fingerprint", "name"]);
                    if entry.get("fingerprint").is_none() {
                        self.fault(value.span(), "fingerprint is missing".into());
                    }
                    (self.value(entry, "fingerprint", parse), self.string(entry, "name"))
                }
                _ => match value.as_str() {
                    Some(text) => (self.parsed(value.span(), text, parse), None),
                    None => {
                        self.fault(value.span(), "must be a text, or { fingerprint = , name = }".into());
                        continue;
                    }
                },
            };
            let Some(fingerprint) = fingerprint else { continue };
            keys.push((fingerprint, name.unwrap_or_default(), self.line(value.span())));
        }
        keys
    }

    fn alias(&mut self, item: &Item, table: &dyn TableLike) -> AliasEntry {
        self.known(table, &["post_public", "list_members", "allow_msg_from", "members"]);
        let settings = AliasSettings {
            post_public: self.flag(table, "post_public"),
            list_members: self.flag(table, "list_members"),
            allow_msg_from: self.flag(table, "allow_msg_from"),
        };
        let mut members = Vec::new();
        for (text, span) in self.strings(table, "members") {
            members.extend(self.parsed(span, &text, Address::parse));
        }
        if members.is_empty() {
            self.fault(item.span(), "an alias needs members".into());
        }
        members.sort();
        members.dedup();
        AliasEntry { settings, members }
    }

    /// The entries of the table `key`, with the place of each name.
    fn entries<'t>(
        &mut self,
        root: &'t dyn TableLike,
        key: &str,
    ) -> Vec<(&'t str, &'t Item, Option<Range<usize>>)> {
        let Some(item) = root.get(key) else { return Vec::new() };
        let Some(table) = self.table(item) else { return Vec::new() };
        let place =
            |name: &str, item: &Item| table.key(name).and_then(toml_edit::Key::span).or_else(|| item.span());
        table.iter().map(|(name, item)| (name, item, place(name, item))).collect()
    }

    /// Complains of keys that nobody reads, most likely misspelt.
    fn known(&mut self, table: &dyn TableLike, keys: &[&str]) {
        for (key, item) in table.iter() {
            if !keys.contains(&key) {
                let span = table.key(key).and_then(toml_edit::Key::span).or_else(|| item.span());
                self.fault(span, format!("{key} is not known here; possible are {}", keys.join(", ")));
            }
        }
    }

    fn table<'t>(&mut self, item: &'t Item) -> Option<&'t dyn TableLike> {
        let table = item.as_table_like();
        if table.is_none() {
            self.fault(item.span(), "must be a table".into());
        }
        table
    }

    fn array<'t>(&mut self, table: &'t dyn TableLike, key: &str) -> Option<&'t Array> {
        let item = table.get(key)?;
        let array = item.as_array();
        if array.is_none() {
            self.fault(item.span(), format!("{key} must be a list, in [ and ]"));
        }
        array
    }

    fn strings(&mut self, table: &dyn TableLike, key: &str) -> Vec<(String, Option<Range<usize>>)> {
        let Some(array) = self.array(table, key) else { return Vec::new() };
        let mut texts = Vec::new();
        for value in array {
            match value.as_str() {
                Some(text) => texts.push((text.to_owned(), value.span())),
                None => self.fault(value.span(), format!("{key} must be a list of texts")),
            }
        }
        texts
    }

    fn string(&mut self, table: &dyn TableLike, key: &str) -> Option<String> {
        let item = table.get(key)?;
        let text = item.as_str();
        if text.is_none() {
            self.fault(item.span(), format!("{key} must be a text, in quotes"));
        }
        text.map(str::to_owned)
    }

    fn flag(&mut self, table: &dyn TableLike, key: &str) -> bool {
        let Some(item) = table.get(key) else { return false };
        let flag = item.as_bool();
        if flag.is_none() {
            self.fault(item.span(), format!("{key} must be true or false"));
        }
        flag.unwrap_or(false)
    }

    fn value<T, E: std::fmt::Display>(
        &mut self,
        table: &dyn TableLike,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.string(table, key)?;
        let span = table.get(key).and_then(Item::span);
        match parse(&text) {
            Ok(value) => Some(value),
            // The text is not repeated: it may be a password.
            Err(error) => {
                self.fault(span, format!("{key}: {error}"));
                None
            }
        }
    }

    fn parsed<T, E: std::fmt::Display>(
        &mut self,
        span: Option<Range<usize>>,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let parsed = parse(text);
        if let Err(error) = &parsed {
            self.fault(span, format!("{text:?}: {error}"));
        }
        parsed.ok()
    }

    fn fault(&mut self, span: Option<Range<usize>>, problem: String) {
        let line = self.line(span);
        self.fault_at(line, problem);
    }

    fn fault_at(&mut self, line: Line, problem: String) {
        self.faults.push(Fault { line: line as usize, problem });
    }

    /// The line where something stands, in the whole text; 0 where none can be told.
    fn line(&self, span: Option<Range<usize>>) -> Line {
        let Some(Range { start, .. }) = span else { return 0 };
        let (offset, line) = self.last.get();
        // Within what is below the header, lines are counted from where they were counted before.
        let line = match self.piece.text.get(offset..start) {
            Some(between) if !self.piece.crosses_header(offset, start) => {
                line + memchr::memchr_iter(b'\n', between).count()
            }
            _ => self.piece.line_at(start),
        };
        self.last.set((start, line));
        Line::try_from(line).unwrap_or(Line::MAX)
    }
}
