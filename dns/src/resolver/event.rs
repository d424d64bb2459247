//! What a resolver tells of its work, for figures and logs.

use std::rc::Rc;

use super::upstream::Upstream;
use crate::answer::Answer;

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Upstreams were asked.
    Upstream,
    /// It was remembered.
    Cache,
    /// Another lookup of the same was under way.
    Shared,
    /// Every upstream failed, and an expired answer stood in (RFC 8767).
    Stale,
}

/// Something that a resolver did.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A lookup was answered.
    Lookup(&'a Answer, Source),
    /// A query was sent.
    Query(&'a Upstream),
    /// An upstream gave nothing that can be used, for this reason: `timeout`, `network`, `tls`, `servfail`,
    /// `refused`, `code`, `garbage`, `referral`; or what it gave is bogus, and another gave what isn't: `bogus`.
    Upstream(&'a Upstream, &'static str),
    /// A limit was hit, by its name.
    Limit(&'static str),
    /// So many entries had to make room in the cache.
    Evicted(usize),
}

/// Who is told.
pub type Watch = Rc<dyn Fn(Event<'_>)>;
