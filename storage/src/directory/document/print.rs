//! Writes a document as text; the same document always gives the same text.

use std::fmt::{self, Write as _};

use postrider_proto::imap::mailbox::MailboxName;

use super::{AccountEntry, Credential, Document, VERSION};
use crate::directory::types::{DomainState, LocalpartCase};

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "version = {VERSION}")?;
        if let Some((account, mailbox)) = &self.postmaster {
            let (account, mailbox) = (quoted(account.as_str()), quoted(mailbox.as_str()));
            writeln!(f, "postmaster = {{ account = {account}, mailbox = {mailbox} }}")?;
        }
        for (domain, settings) in &self.domains {
            writeln!(f, "\n[domain.{}]", quoted(domain.as_str()))?;
            flag(f, "disabled", settings.state == DomainState::Disabled)?;
            flag(f, "case_sensitive", settings.case == LocalpartCase::Sensitive)?;
            list(f, "separators", &settings.separators)?;
            text(f, "description", &settings.description)?;
        }
        for (name, entry) in &self.accounts {
            writeln!(f, "\n[account.{}]", quoted(name.as_str()))?;
            account(f, entry)?;
        }
        if !self.refusals.is_empty() {
            writeln!(f, "\n[refusal]")?;
        }
        for (address, code) in &self.refusals {
            writeln!(f, "{} = {code}", quoted(&address.to_string()))?;
        }
        for (alias, entry) in &self.aliases {
            writeln!(f, "\n[alias.{}]", quoted(&alias.to_string()))?;
            flag(f, "post_public", entry.settings.post_public)?;
            flag(f, "list_members", entry.settings.list_members)?;
            flag(f, "allow_msg_from", entry.settings.allow_msg_from)?;
            let members: Vec<_> = entry.members.iter().map(ToString::to_string).collect();
            list(f, "members", &members)?;
        }
        Ok(())
    }
}

fn account(f: &mut fmt::Formatter<'_>, entry: &AccountEntry) -> fmt::Result {
    let settings = &entry.settings;
    writeln!(f, "domain = {}", quoted(settings.domain.as_str()))?;
    text(f, "full_name", &settings.full_name)?;
    if let Some(quota) = settings.quota {
        writeln!(f, "quota = {quota}")?;
    }
    if let Some(messages) = settings.quota_messages {
        writeln!(f, "quota_messages = {messages}")?;
    }
    text(f, "login_disabled", settings.login_disabled.as_deref().unwrap_or(""))?;
    let mechanisms: Vec<_> = settings.disabled_mechanisms.iter().map(ToString::to_string).collect();
    list(f, "disabled_mechanisms", &mechanisms)?;
    match &entry.credential {
        Credential::Unsaid => {}
        Credential::Nothing => writeln!(f, "credentials = []")?,
        Credential::Verifiers(secrets) => list(f, "credentials", &secrets.to_texts())?,
        Credential::Password(password) => text(f, "password", password.expose())?,
    }
    let addresses: Vec<_> = entry
        .addresses
        .iter()
        .map(|(address, mailbox)| {
            let address = quoted(&address.to_string());
            if *mailbox == MailboxName::inbox() {
                address
            } else {
                format!("{{ address = {address}, mailbox = {} }}", quoted(mailbox.as_str()))
            }
        })
        .collect();
    items(f, "addresses", &addresses)?;
    let keys: Vec<_> = entry
        .tls_keys
        .iter()
        .map(|(fingerprint, name)| match &**name {
            "" => quoted(&fingerprint.to_string()),
            name => {
                let fingerprint = quoted(&fingerprint.to_string());
                format!("{{ fingerprint = {fingerprint}, name = {} }}", quoted(name))
            }
        })
        .collect();
    items(f, "tls_public_keys", &keys)
}

fn flag(f: &mut fmt::Formatter<'_>, key: &str, value: bool) -> fmt::Result {
    if value { writeln!(f, "{key} = true") } else { Ok(()) }
}

fn text(f: &mut fmt::Formatter<'_>, key: &str, value: &str) -> fmt::Result {
    if value.is_empty() { Ok(()) } else { writeln!(f, "{key} = {}", quoted(value)) }
}

fn list(f: &mut fmt::Formatter<'_>, key: &str, values: &[String]) -> fmt::Result {
    let values: Vec<_> = values.iter().map(|value| quoted(value)).collect();
    items(f, key, &values)
}

/// One line for one item, else a line each.
fn items(f: &mut fmt::Formatter<'_>, key: &str, values: &[String]) -> fmt::Result {
    match values {
        [] => Ok(()),
        [value] => writeln!(f, "{key} = [{value}]"),
        values => {
            writeln!(f, "{key} = [")?;
            for value in values {
                writeln!(f, "    {value},")?;
            }
            writeln!(f, "]")
        }
    }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => {
                // Writing to a `String` cannot fail.
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
