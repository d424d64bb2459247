//! Routes: which transport a message takes.
//!
//! The lists of the account, of the sender's domain and of the server are looked at in this order; the first route
//! that matches decides, and without one the message goes directly to the recipient's domain. Routes are evaluated
//! anew for each attempt, so that a message may change its way.

use std::fmt;

use postrider_proto::address::Domain;

use crate::destination::Target;
use crate::limits::{MINIMUM_ATTEMPTS_MAX, PATTERNS_MAX};

/// Which domains a side of a route is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// `example.com`: this domain alone.
    Exactly(Domain),
    /// `.example.com`: this domain and all below it.
    AtOrBelow(Domain),
    /// `.`: no domain, which is the null sender.
    Nothing,
}

/// Why a text is no pattern, or values are no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// Neither a domain, nor a domain behind a dot, nor a dot.
    #[error("neither a domain, nor a dot and a domain, nor a dot alone")]
    Pattern,
    /// Over [`PATTERNS_MAX`].
    #[error("over {PATTERNS_MAX} domains")]
    TooMany,
    /// Over [`MINIMUM_ATTEMPTS_MAX`].
    #[error("the number of attempts is over {MINIMUM_ATTEMPTS_MAX}")]
    Attempts,
    /// The transport has no name.
    #[error("no transport is named")]
    Transport,
}

impl Pattern {
    /// Parses a pattern; domains in A-label or U-label form.
    pub fn parse(text: &str) -> Result<Self, RouteError> {
        let domain = |text| Domain::parse(text).map_err(|_| RouteError::Pattern);
        match text.strip_prefix('.') {
            Some("") => Ok(Self::Nothing),
            Some(above) => domain(above).map(Self::AtOrBelow),
            None => domain(text).map(Self::Exactly),
        }
    }

    /// Whether it is for this domain; none is that of the null sender, and that of a recipient at an address literal.
    #[must_use]
    pub fn matches(&self, domain: Option<&Domain>) -> bool {
        match (self, domain) {
            (Self::Exactly(this), Some(domain)) => this == domain,
            (Self::AtOrBelow(this), Some(domain)) => domain.is_at_or_below(this),
            (Self::Nothing, None) => true,
            _ => false,
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(domain) => write!(f, "{domain}"),
            Self::AtOrBelow(domain) => write!(f, ".{domain}"),
            Self::Nothing => f.write_str("."),
        }
    }
}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Domains of senders; empty for all of them.
    pub from_domains: Vec<Pattern>,
    /// Domains of recipients; empty for all of them, address literals included.
    pub to_domains: Vec<Pattern>,
    /// Attempts that were made before, at least.
    pub minimum_attempts: u16,
    /// The name of the transport.
    pub transport: Box<str>,
}

impl Route {
    /// A route of texts.
    pub fn parse(
        from: &[&str],
        to: &[&str],
        minimum_attempts: u16,
        transport: &str,
    ) -> Result<Self, RouteError> {
        if from.len() > PATTERNS_MAX || to.len() > PATTERNS_MAX {
            return Err(RouteError::TooMany);
        }
        if minimum_attempts > MINIMUM_ATTEMPTS_MAX {
            return Err(RouteError::Attempts);
        }
        if transport.is_empty() {
            return Err(RouteError::Transport);
        }
        let patterns = |texts: &[&str]| -> Result<Vec<Pattern>, RouteError> {
            texts.iter().map(|text| Pattern::parse(text)).collect()
        };
        Ok(Self {
            from_domains: patterns(from)?,
            to_domains: patterns(to)?,
            minimum_attempts,
            transport: transport.into(),
        })
    }

    fn matches(&self, message: &Asked<'_>) -> bool {
        let recipient = match message.recipient {
            Target::Domain(domain) => Some(domain),
            Target::Literal(_) => None,
        };
        let any = |patterns: &[Pattern], domain: Option<&Domain>| {
            patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(domain))
        };
        // "." is the null sender; a recipient at an address is no match for it.
        let to = self.to_domains.is_empty() || (recipient.is_some() && any(&self.to_domains, recipient));
        message.attempts >= self.minimum_attempts && any(&self.from_domains, message.sender) && to
    }
}

/// What is asked of routes.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The domain of MAIL FROM; none for the null sender.
    pub sender: Option<&'a Domain>,
    /// Where the message goes.
    pub recipient: &'a Target,
    /// Attempts that were made before this one.
    pub attempts: u16,
}

/// Whose list a route is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// The account that submitted the message.
    Account,
    /// The domain of the sender.
    SenderDomain,
    /// The server.
    Global,
}

impl Level {
    /// All of them, in the order in which they are looked at.
    pub const ALL: [Self; 3] = [Self::Account, Self::SenderDomain, Self::Global];

    /// The word for it in explanations and JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::SenderDomain => "domain",
            Self::Global => "global",
        }
    }
}

/// The route of a message: the first that matches, of the lists in the order of [`Level::ALL`]. None is direct
/// delivery.
#[must_use]
pub fn choose<'a>(lists: [&'a [Route]; 3], message: &Asked<'_>) -> Option<(Level, &'a Route)> {
    Level::ALL.into_iter().zip(lists).find_map(|(level, list)| {
        list.iter().find(|route| route.matches(message)).map(|route| (level, route))
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use super::*;

    fn route(from: &[&str], to: &[&str], attempts: u16, transport: &str) -> Route {
        Route::parse(from, to, attempts, transport).unwrap()
    }

    #[test]
    fn the_first_route_that_matches_decides() {
        let account = [route(&[], &["big.example"], 0, "account")];
        let domain = [
            route(&["sender.example"], &[".sub.example"], 0, "below"),
            route(&[], &["late.example"], 3, "late"),
        ];
        let global = [
            route(&["."], &[], 0, "null"),
            route(&[], &[".example"], 0, "all"),
            route(&[".other.test"], &[], 0, "from"),
        ];
        let choose = |sender: &str, recipient: &str, attempts| {
            let sender = (!sender.is_empty()).then(|| Domain::parse(sender).unwrap());
            let recipient = Target::parse(recipient).unwrap();
            let asked = Asked { sender: sender.as_ref(), recipient: &recipient, attempts };
            choose([&account, &domain, &global], &asked)
                .map_or("direct".to_owned(), |(level, route)| format!("{} {}", level.word(), route.transport))
        };
        for (sender, recipient, attempts, expected) in [
            ("sender.example", "big.example", 0, "account account"),
            ("sender.example", "BIG.example", 0, "account account"),
            ("sender.example", "x.big.example", 0, "global all"),
            ("sender.example", "sub.example", 0, "domain below"),
            ("sender.example", "a.b.sub.example", 0, "domain below"),
            ("sender.example", "notsub.example", 0, "global all"),
            ("x.sender.example", "sub.example", 0, "global all"),
            ("sender.example", "late.example", 2, "global all"),
            ("sender.example", "late.example", 3, "domain late"),
            ("sender.example", "late.example", 9, "domain late"),
            ("", "late.example", 0, "global null"),
            ("", "big.example", 0, "account account"),
            ("sender.example", "example", 0, "global all"),
            ("sender.example", "test", 0, "direct"),
            ("a.other.test", "test", 0, "global from"),
            ("a.other.test", "[192.0.2.1]", 0, "global from"),
            ("sender.example", "[192.0.2.1]", 0, "direct"),
            ("", "[IPv6:2001:db8::1]", 0, "global null"),
        ] {
            assert_eq!(choose(sender, recipient, attempts), expected, "{sender} {recipient} {attempts}");
        }
    }

    #[test]
    fn a_dot_is_for_the_null_sender_alone() {
        let routes = [route(&[], &["."], 0, "odd")];
        let recipient = Target::parse("[192.0.2.1]").unwrap();
        let asked = Asked { sender: None, recipient: &recipient, attempts: 0 };
        assert_eq!(choose([&[], &[], &routes], &asked), None);
    }

    #[test]
    fn patterns_come_back_as_written() {
        for text in ["example.com", ".example.com", "."] {
            assert_eq!(Pattern::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Pattern::parse(".Bücher.example").unwrap().to_string(), ".xn--bcher-kva.example");
        for text in ["", "..", "..a", "a..b", "*.a", "[192.0.2.1]", "a b"] {
            assert_eq!(Pattern::parse(text), Err(RouteError::Pattern), "{text}");
        }
        let many = vec!["a.example"; PATTERNS_MAX + 1];
        assert_eq!(Route::parse(&many, &[], 0, "x"), Err(RouteError::TooMany));
        assert!(Route::parse(&many[1..], &[], 0, "x").is_ok());
        assert_eq!(Route::parse(&[], &[], 1001, "x"), Err(RouteError::Attempts));
        assert_eq!(Route::parse(&[], &[], 0, ""), Err(RouteError::Transport));
    }
}
