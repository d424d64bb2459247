//! Writing the field.

use crate::field::{FieldWriter, is_token_octet, token_or_quoted};
use crate::smtp::trace::Charset;

/// What was checked (registry "Email Authentication Methods").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// RFC 8601 §3
    Iprev,
    /// RFC 7208
    Spf,
    /// RFC 6376
    Dkim,
    /// RFC 7489 and its successor
    Dmarc,
    /// RFC 8617
    Arc,
    /// RFC 4954
    Auth,
    /// RFC 8904: a list of who is welcome. For blocklists there is no method.
    DnsList,
}

impl Method {
    /// Its keyword.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Iprev => "iprev",
            Self::Spf => "spf",
            Self::Dkim => "dkim",
            Self::Dmarc => "dmarc",
            Self::Arc => "arc",
            Self::Auth => "auth",
            Self::DnsList => "dnswl",
        }
    }
}

/// Whether all that a result rests on in DNS is authentic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dnssec {
    /// All of it was validated.
    With,
    /// Something was not.
    Without,
}

impl Dnssec {
    /// The words for it in comments.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::With => "with dnssec",
            Self::Without => "without dnssec",
        }
    }
}

/// The result of one check. Texts may come from a peer: they are quoted, and cut when long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodResult {
    method: Method,
    /// A keyword of the method's registry.
    result: &'static str,
    comments: Vec<String>,
    reason: Option<String>,
    properties: Vec<(&'static str, &'static str, String)>,
}

impl MethodResult {
    /// A result without anything else; `result` is a keyword of the method's registry.
    #[must_use]
    pub fn new(method: Method, result: &'static str) -> Self {
        debug_assert!(!result.is_empty() && result.bytes().all(is_token_octet), "{result:?}");
        Self { method, result, comments: Vec::new(), reason: None, properties: Vec::new() }
    }

    /// Adds to the comment; parts are set apart by commas.
    #[must_use]
    pub fn comment(mut self, text: impl Into<String>) -> Self {
        self.comments.push(text.into());
        self
    }

    /// Adds the status of DNS to the comment.
    #[must_use]
    pub fn dnssec(self, dnssec: Dnssec) -> Self {
        self.comment(dnssec.words())
    }

    /// Says why.
    #[must_use]
    pub fn reason(mut self, text: impl Into<String>) -> Self {
        self.reason = Some(text.into());
        self
    }

    /// Adds what was checked: a property type and a property of the registry (`header`, `from`), and its value.
    #[must_use]
    pub fn property(mut self, kind: &'static str, name: &'static str, value: impl Into<String>) -> Self {
        self.properties.push((kind, name, value.into()));
        self
    }
}

/// The field.
#[derive(Clone, Copy, Debug)]
pub struct AuthenticationResults<'a> {
    /// Who says this: our name.
    pub authserv_id: &'a str,
    /// Whether the message may have fields in UTF-8.
    pub charset: Charset,
    /// The results in their order.
    pub results: &'a [MethodResult],
}

impl AuthenticationResults<'_> {
    /// The field with its line breaks.
    #[must_use]
    pub fn field(&self) -> String {
        const NAME: &str = "Authentication-Results";
        format!("{NAME}:{}\r\n", self.folded(NAME.len() + 1))
    }

    /// What follows the colon, folded, without the line break at its end: for a field of ARC, too.
    #[must_use]
    pub fn payload(&self) -> String {
        // Room for the longer name and the number of the set.
        self.folded("ARC-Authentication-Results: i=50;".len()).trim_start().into()
    }

    fn folded(&self, column: usize) -> String {
        let mut writer = FieldWriter::at(column);
        writer.piece(&token_or_quoted(self.authserv_id, self.charset));
        if self.results.is_empty() {
            writer.glue(";");
            writer.piece("none");
        }
        for result in self.results {
            writer.glue(";");
            writer.piece(&format!("{}={}", result.method.word(), result.result));
            writer.comment(&result.comments.join(", "), self.charset);
            if let Some(reason) = &result.reason {
                writer.piece(&format!("reason={}", token_or_quoted(reason, self.charset)));
            }
            for (kind, name, value) in &result.properties {
                writer.piece(&format!("{kind}.{name}={}", property_value(value, self.charset)));
            }
        }
        writer.finish()
    }
}

/// `pvalue`: addresses stay as they are where they can, as RFC 8601 §2.2 demands of them.
fn property_value(value: &str, charset: Charset) -> String {
    let is_plain = |text: &str| !text.is_empty() && text.bytes().all(is_token_octet);
    match value.rsplit_once('@') {
        Some((local, domain)) if (local.is_empty() || is_plain(local)) && is_plain(domain) => value.into(),
        _ => token_or_quoted(value, charset),
    }
}
