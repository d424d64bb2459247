//! Whose mail a message says it is: the domain of its From field (RFC 9989 §4.2, §5.3.1, §11.5).
//!
//! What a mail program shows must be what was checked, so everything that a program might take for a From field
//! counts, and a message with more than one, or with several domains in one, has no single author.

use crate::address::Domain;
use crate::mime::address;
use crate::mime::header::{fields, unfold};

/// Why a message has no single author domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorProblem {
    /// No From field.
    #[error("the message has no From field")]
    Missing,
    /// More than one From field.
    #[error("the message has more than one From field")]
    Repeated,
    /// The field has no address, or one whose domain is none.
    #[error("the From field has no valid address")]
    Malformed,
    /// Addresses of more than one domain.
    #[error("the From field has addresses of more than one domain")]
    Several,
}

/// Whose mail it says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Author {
    /// Of this domain, and of no other.
    Domain(Domain),
    /// Not to be told.
    Unclear {
        /// Why.
        problem: AuthorProblem,
        /// Domains that it might be, each once, at most [`Author::DOMAINS_MAX`].
        domains: Vec<Domain>,
    },
}

impl Author {
    /// Domains of an unclear author that are looked at: policies are asked for each (RFC 9989 §11.5).
    pub const DOMAINS_MAX: usize = 4;
    /// Addresses of the From fields that are looked at.
    pub const ADDRESSES_MAX: usize = 100;

    /// Finds the author in the header of a message, up to its empty line or the end.
    #[must_use]
    pub fn of_header(header: &[u8]) -> Self {
        let mut domains: Vec<Domain> = Vec::new();
        let (mut count, mut has_problem, mut has_more) = (0, false, false);
        // ` From`, `From ` and `From` without a colon are no fields, and some programs show them as one.
        let is_from = |name: &[u8]| name.trim_ascii().eq_ignore_ascii_case(b"from");
        for field in fields(header).filter(|field| is_from(field.name)) {
            count += 1;
            // A name whose colon is on the next line has its value there.
            let colon = memchr::memchr(b':', field.octets);
            let value = colon.map_or(field.value, |colon| &field.octets[colon + 1..]);
            let addresses = address::parse(&unfold(value), Self::ADDRESSES_MAX + 1);
            has_more |= addresses.len() > Self::ADDRESSES_MAX;
            let mut has_address = false;
            for host in addresses.iter().filter_map(|address| address.host.as_deref()) {
                has_address = true;
                let domain = std::str::from_utf8(host).ok().and_then(|host| Domain::parse(host).ok());
                match domain {
                    None => has_problem = true,
                    Some(domain) if domains.contains(&domain) => {}
                    Some(_) if domains.len() == Self::DOMAINS_MAX => has_more = true,
                    Some(domain) => domains.push(domain),
                }
            }
            has_problem |= !has_address;
        }
        let problem = match (count, domains.len()) {
            (0, _) => AuthorProblem::Missing,
            (2.., _) => AuthorProblem::Repeated,
            _ if has_problem => AuthorProblem::Malformed,
            (_, 2..) => AuthorProblem::Several,
            _ if has_more => AuthorProblem::Malformed,
            _ => match domains.pop() {
                Some(domain) => return Self::Domain(domain),
                None => AuthorProblem::Malformed,
            },
        };
        Self::Unclear { problem, domains }
    }
}
