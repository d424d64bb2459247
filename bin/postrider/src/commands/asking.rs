//! The resolver of the command line: without the server, and without what it remembers.

use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Context as _, Result};
use futures_lite::future::block_on;
use postrider_core::config::{Dns, DnsUpstreams};
use postrider_core::resolver::{Blocking, Plan};
use postrider_dns::dnssec::TrustAnchors;
use postrider_dns::resolver::{Resolver, Upstream};
use postrider_dns::{Lookup as _, Name, RecordType};

use crate::terminal;

/// A resolver that asks `upstreams`, or those of the system when there are none, and validates from the anchors in a
/// file, or from those that are built in.
///
/// Who names an upstream and no anchors may mean a private tree with a root of its own, which the built-in anchors
/// don't know: all of it would be bogus. Then nothing is validated, nothing is called secure, and standard error
/// says so.
pub fn resolver(upstreams: &[String], trust_anchor: Option<&str>) -> Result<Resolver<Blocking>> {
    let mut dns = Dns { trust_anchors: trust_anchor.map(PathBuf::from), ..Dns::default() };
    if !upstreams.is_empty() {
        let parsed: Result<Vec<Upstream>, _> = upstreams.iter().map(|text| Upstream::parse(text)).collect();
        dns.upstreams = DnsUpstreams::Listed(parsed.context("--resolver")?);
    }
    let mut plan = Plan::new(&dns)?;
    let resolver = start(&plan);
    if upstreams.is_empty() || trust_anchor.is_some() {
        return Ok(resolver);
    }
    // Any validation asks for these keys first, so this costs no question more.
    if block_on(resolver.lookup(&Name::root(), RecordType::DNSKEY)).authenticity.is_secure() {
        return Ok(resolver);
    }
    terminal::say(
        "The keys of the root there aren't those that are known: nothing is validated (--trust-anchor)",
    );
    plan.options.anchors = TrustAnchors::none();
    Ok(start(&plan))
}

fn start(plan: &Plan) -> Resolver<Blocking> {
    plan.start_blocking(Rc::new(|_| {}))
}
