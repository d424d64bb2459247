//! The policy record (RFC 9989 §4.7, §4.8; RFC 7489 §6.3 for what went away).
//!
//! Old records are read kindly: a tag that is wrong counts as if it weren't there, tags of RFC 7489 keep their
//! meaning, and what was wrong is told.

use std::fmt;

/// What is to be done with mail that fails (RFC 9989 §4.7, `p`). The order is that of severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Policy {
    /// Nothing.
    #[default]
    None,
    /// It is suspicious.
    Quarantine,
    /// It is forged.
    Reject,
}

impl Policy {
    fn parse(value: &str) -> Option<Self> {
        [Self::None, Self::Quarantine, Self::Reject]
            .into_iter()
            .find(|policy| policy.word().eq_ignore_ascii_case(value))
    }

    /// The word for it in records, reports and JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quarantine => "quarantine",
            Self::Reject => "reject",
        }
    }

    /// What is done while the policy is being tested (RFC 9989 §4.7, `t`), and with messages that `pct` leaves out
    /// (RFC 7489 §6.6.4).
    #[must_use]
    pub fn one_below(self) -> Self {
        match self {
            Self::Reject => Self::Quarantine,
            Self::Quarantine | Self::None => Self::None,
        }
    }
}

/// How close an identifier must be to the author's domain (`adkim`, `aspf`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Alignment {
    /// Both have the same organizational domain.
    #[default]
    Relaxed,
    /// Both are the same.
    Strict,
}

/// Whether names below are of other organisations (`psd`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum PublicSuffixFlag {
    /// `y`: a public suffix.
    Yes,
    /// `n`: an organizational domain.
    No,
    /// `u`: not said.
    #[default]
    Unknown,
}

/// When failure reports are wanted (`fo`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FailureOptions {
    /// `0`: when nothing gave an aligned pass.
    pub all_failed: bool,
    /// `1`: when anything gave no aligned pass.
    pub any_failed: bool,
    /// `d`: when a signature failed.
    pub dkim_failed: bool,
    /// `s`: when SPF failed.
    pub spf_failed: bool,
}

impl Default for FailureOptions {
    fn default() -> Self {
        Self { all_failed: true, any_failed: false, dkim_failed: false, spf_failed: false }
    }
}

/// Where reports go (`rua`, `ruf`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportUri {
    /// The URI without the size after it. Printable ASCII.
    pub uri: String,
    /// The largest report that is wanted, in octets (RFC 7489 §6.2; the successor ignores it).
    pub octets_max: Option<u64>,
}

impl ReportUri {
    fn parse(text: &str) -> Option<Self> {
        let (uri, size) = match text.split_once('!') {
            Some((uri, size)) => (uri, Some(size)),
            None => (text, None),
        };
        let (scheme, rest) = uri.split_once(':')?;
        let is_known = ["mailto", "http", "https"].iter().any(|known| known.eq_ignore_ascii_case(scheme));
        let is_mailto = scheme.eq_ignore_ascii_case("mailto");
        let is_whole = !is_mailto
            || rest.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
        if !is_known || !is_whole || !uri.bytes().all(|octet| octet.is_ascii_graphic()) {
            return None;
        }
        let octets_max = match size {
            Some(size) => Some(parse_size(size)?),
            None => None,
        };
        Some(Self { uri: uri.into(), octets_max })
    }
}

/// `1*DIGIT [ "k" / "m" / "g" / "t" ]`
fn parse_size(text: &str) -> Option<u64> {
    let end = text.bytes().position(|octet| !octet.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    // More than fits is no limit that matters.
    let number: u64 = if digits.is_empty() { return None } else { digits.parse().unwrap_or(u64::MAX) };
    Some(number.saturating_mul(1 << shift))
}

/// What is wrong with a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// No `=`, or no name before it.
    #[error("not name=value")]
    NotATag,
    /// The value is none that the tag may have.
    #[error("not a value of this tag")]
    Value,
    /// The tag stood there before; the first counts.
    #[error("given twice")]
    Twice,
    /// Over [`Record::TAGS_MAX`]; the rest isn't read.
    #[error("too many tags")]
    TooMany,
}

/// A tag that has no effect because something is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The tag's name in lower case, or the start of what should be a tag. Printable.
    pub tag: String,
    /// What is wrong.
    pub error: TagError,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tag \"{}\": {}", self.tag, self.error)
    }
}

/// What a record is good for (RFC 9989 §4.10.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its policies apply.
    Applies,
    /// Its policies are missing or broken; since reports are wanted, it counts as `p=none`.
    ReportsAlone,
    /// Its policies are missing or broken, and no reports are wanted: it is of no use.
    Unusable,
}

/// A record that starts with `v=DMARC1`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Record {
    /// `p`
    pub policy: Option<Policy>,
    /// `sp`: for existing names below.
    pub subdomain_policy: Option<Policy>,
    /// `np`: for names below that don't exist.
    pub nonexistent_policy: Option<Policy>,
    /// `psd`
    pub public_suffix: PublicSuffixFlag,
    /// `t`: whether the policy is only being tested; none when it isn't said.
    pub testing: Option<bool>,
    /// `adkim`
    pub dkim_alignment: Alignment,
    /// `aspf`
    pub spf_alignment: Alignment,
    /// `fo`
    pub failure_options: FailureOptions,
    /// `rua`
    pub aggregate_reports: Vec<ReportUri>,
    /// `ruf`
    pub failure_reports: Vec<ReportUri>,
    /// `pct` of RFC 7489: to how many of a hundred messages the policy applies.
    pub percent: Option<u8>,
    /// `ri` of RFC 7489: seconds between aggregate reports.
    pub interval_seconds: Option<u32>,
    /// Tags without effect because something is wrong with them.
    pub faults: Vec<Fault>,
    /// Which tags were seen, as bits.
    seen: u16,
}

const TAGS: [&str; 14] =
    ["v", "p", "sp", "np", "psd", "t", "adkim", "aspf", "fo", "rua", "ruf", "pct", "ri", "rf"];

impl Record {
    /// Tags that are read, known or not.
    pub const TAGS_MAX: usize = 64;
    /// Addresses of `rua` and of `ruf` that are kept.
    pub const REPORT_URIS_MAX: usize = 10;
    /// Faults that are kept.
    pub const FAULTS_MAX: usize = 16;
    /// `ri` when it isn't given.
    pub const INTERVAL_SECONDS_DEFAULT: u32 = 86_400;

    /// Whether the text of a TXT record is a DMARC record: its first tag is `v`, with exactly `DMARC1` (RFC 9989
    /// §4.7). All others are ignored.
    #[must_use]
    pub fn is_one(text: &[u8]) -> bool {
        let first = text.split(|octet| *octet == b';').next().unwrap_or_default();
        let Some(at) = first.iter().position(|octet| *octet == b'=') else { return false };
        first[..at].trim_ascii().eq_ignore_ascii_case(b"v") && first[at + 1..].trim_ascii() == b"DMARC1"
    }

    /// Parses the text of a TXT record; none when it is no DMARC record.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        if !Self::is_one(text) {
            return None;
        }
        let mut record = Self::default();
        let tags = text.split(|octet| *octet == b';').map(<[u8]>::trim_ascii).filter(|tag| !tag.is_empty());
        for (number, tag) in tags.enumerate() {
            let tag = String::from_utf8_lossy(tag);
            if number == Self::TAGS_MAX {
                record.add_fault(&tag, TagError::TooMany);
                break;
            }
            record.add_tag(&tag);
        }
        Some(record)
    }

    fn add_fault(&mut self, tag: &str, error: TagError) {
        if self.faults.len() < Self::FAULTS_MAX {
            let printable = |c: char| if c.is_ascii_graphic() { c } else { '?' };
            self.faults.push(Fault { tag: tag.chars().take(20).map(printable).collect(), error });
        }
    }

    fn add_tag(&mut self, tag: &str) {
        let (name, value) = match tag.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => (name.trim(), value.trim()),
            _ => return self.add_fault(tag, TagError::NotATag),
        };
        let name = name.to_ascii_lowercase();
        let Some(at) = TAGS.iter().position(|known| *known == name) else { return };
        if self.seen & (1 << at) != 0 {
            return self.add_fault(&name, TagError::Twice);
        }
        self.seen |= 1 << at;
        if self.set(&name, value).is_none() {
            self.add_fault(&name, TagError::Value);
        }
    }

    /// Sets what a known tag says; none when its value is wrong.
    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        match name {
            "p" => self.policy = Some(Policy::parse(value)?),
            "sp" => self.subdomain_policy = Some(Policy::parse(value)?),
            "np" => self.nonexistent_policy = Some(Policy::parse(value)?),
            "psd" => {
                self.public_suffix = match value.to_ascii_lowercase().as_str() {
                    "y" => PublicSuffixFlag::Yes,
                    "n" => PublicSuffixFlag::No,
                    "u" => PublicSuffixFlag::Unknown,
                    _ => return None,
                }
            }
            "t" => self.testing = Some(parse_either(value, 'y', 'n')?),
            "adkim" => self.dkim_alignment = parse_alignment(value)?,
            "aspf" => self.spf_alignment = parse_alignment(value)?,
            "fo" => self.failure_options = parse_failure_options(value)?,
            "rua" => return Self::set_uris(&mut self.aggregate_reports, value),
            "ruf" => return Self::set_uris(&mut self.failure_reports, value),
            "pct" => {
                let percent = value.parse().ok().filter(|percent| *percent <= 100);
                self.percent = Some(percent.filter(|_| is_number(value))?);
            }
            "ri" => self.interval_seconds = Some(value.parse().ok().filter(|_| is_number(value))?),
            "rf" => {
                // One format was ever used; the others change nothing.
                let is_known = |format: &str| ["afrf", "iodef"].contains(&format.trim());
                return value.to_ascii_lowercase().split([':', ',']).all(is_known).then_some(());
            }
            _ => {}
        }
        Some(())
    }

    /// Keeps the URIs that are; none when one isn't.
    fn set_uris(into: &mut Vec<ReportUri>, value: &str) -> Option<()> {
        let mut are_all = true;
        for text in value.split(',').map(str::trim) {
            match ReportUri::parse(text) {
                Some(uri) if into.len() < Self::REPORT_URIS_MAX => into.push(uri),
                Some(_) => {}
                None => are_all = false,
            }
        }
        are_all.then_some(())
    }

    /// What the record is good for.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let is_broken =
            |tag: &str| self.faults.iter().any(|fault| fault.tag == tag && fault.error == TagError::Value);
        if self.policy.is_some() && !is_broken("sp") && !is_broken("np") {
            Standing::Applies
        } else if self.aggregate_reports.is_empty() {
            Standing::Unusable
        } else {
            Standing::ReportsAlone
        }
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit())
}

/// Whether `value` is `yes` and not `no`.
fn parse_either(value: &str, yes: char, no: char) -> Option<bool> {
    let mut chars = value.chars();
    let first = chars.next()?.to_ascii_lowercase();
    (chars.next().is_none() && (first == yes || first == no)).then_some(first == yes)
}

fn parse_alignment(value: &str) -> Option<Alignment> {
    let is_strict = parse_either(value, 's', 'r')?;
    Some(if is_strict { Alignment::Strict } else { Alignment::Relaxed })
}

/// A list with colons. RFC 7489 allowed `0` and `1` together, which is `1`.
fn parse_failure_options(value: &str) -> Option<FailureOptions> {
    let mut options =
        FailureOptions { all_failed: false, any_failed: false, dkim_failed: false, spf_failed: false };
    for option in value.split(':').map(str::trim) {
        match option {
            "0" => options.all_failed = true,
            "1" => options.any_failed = true,
            "d" | "D" => options.dkim_failed = true,
            "s" | "S" => options.spf_failed = true,
            _ => return None,
        }
    }
    Some(options)
}

impl fmt::Display for FailureOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { all_failed, any_failed, dkim_failed, spf_failed } = *self;
        let options = [(all_failed, "0"), (any_failed, "1"), (dkim_failed, "d"), (spf_failed, "s")];
        let options: Vec<&str> = options.iter().filter(|(is, _)| *is).map(|(_, option)| *option).collect();
        f.write_str(&options.join(":"))
    }
}

impl fmt::Display for ReportUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri)?;
        self.octets_max.map_or(Ok(()), |max| write!(f, "!{max}"))
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("v=DMARC1")?;
        for (tag, policy) in
            [("p", self.policy), ("sp", self.subdomain_policy), ("np", self.nonexistent_policy)]
        {
            if let Some(policy) = policy {
                write!(f, "; {tag}={}", policy.word())?;
            }
        }
        match self.public_suffix {
            PublicSuffixFlag::Yes => f.write_str("; psd=y")?,
            PublicSuffixFlag::No => f.write_str("; psd=n")?,
            PublicSuffixFlag::Unknown => {}
        }
        if let Some(testing) = self.testing {
            write!(f, "; t={}", if testing { 'y' } else { 'n' })?;
        }
        for (tag, alignment) in [("adkim", self.dkim_alignment), ("aspf", self.spf_alignment)] {
            if alignment == Alignment::Strict {
                write!(f, "; {tag}=s")?;
            }
        }
        if self.failure_options != FailureOptions::default() {
            write!(f, "; fo={}", self.failure_options)?;
        }
        for (tag, uris) in [("rua", &self.aggregate_reports), ("ruf", &self.failure_reports)] {
            if !uris.is_empty() {
                let uris: Vec<String> = uris.iter().map(ToString::to_string).collect();
                write!(f, "; {tag}={}", uris.join(","))?;
            }
        }
        if let Some(percent) = self.percent {
            write!(f, "; pct={percent}")?;
        }
        self.interval_seconds.map_or(Ok(()), |seconds| write!(f, "; ri={seconds}"))
    }
}
