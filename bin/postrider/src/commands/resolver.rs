//! The resolver of commands that ask DNS themselves, without the server.

use std::path::PathBuf;
use std::rc::Rc;

use postrider_core::config::{Dns, DnsUpstreams};
use postrider_core::resolver::{Blocking, Plan};
use postrider_dns::resolver::{Mode, Resolver};

use crate::arguments::{Asking, Belief};

/// Makes a resolver by what the arguments say. Those of the system are asked when none is named.
///
/// Without a word on it, answers are validated here; except that a resolver on loopback which was named without
/// an anchor is believed: it is this host's own, or one made for a test.
pub fn open(asking: Asking<'_>) -> anyhow::Result<Resolver<Blocking>> {
    let dns = configure(asking);
    Ok(Plan::new(&dns)?.start_blocking(Rc::new(|_| ())))
}

/// What the arguments say as configuration.
pub fn configure(asking: Asking<'_>) -> Dns {
    let Asking { resolvers, trust_anchor, belief } = asking;
    let default = Dns::default();
    let local = !resolvers.is_empty() && resolvers.iter().all(|upstream| upstream.address.ip().is_loopback());
    let mode = match belief {
        Some(Belief::Trust) => Mode::Trust,
        Some(Belief::Validate) => Mode::Validate,
        None if local && trust_anchor.is_none() => Mode::Trust,
        None => Mode::Validate,
    };
    let upstreams = if resolvers.is_empty() {
        default.upstreams.clone()
    } else {
        DnsUpstreams::Listed(resolvers.to_vec())
    };
    Dns { upstreams, mode, trust_anchors: trust_anchor.map(PathBuf::from), ..default }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use super::*;
    use postrider_dns::resolver::Upstream;

    #[test]
    fn answers_are_validated_unless_the_resolver_is_on_this_host() {
        let mode = |resolver: &str, anchor: Option<&str>, belief| {
            let resolvers: Vec<Upstream> =
                resolver.split_whitespace().map(|text| Upstream::parse(text).unwrap()).collect();
            let anchor = anchor.map(str::to_owned);
            configure(Asking { resolvers: &resolvers, trust_anchor: anchor.as_ref(), belief }).mode
        };
        assert_eq!(mode("", None, None), Mode::Validate);
        assert_eq!(mode("192.0.2.1", None, None), Mode::Validate);
        assert_eq!(mode("127.0.0.1:5353", None, None), Mode::Trust);
        assert_eq!(mode("127.0.0.1:5353 192.0.2.1", None, None), Mode::Validate);
        assert_eq!(mode("127.0.0.1:5353", Some("root.key"), None), Mode::Validate);
        assert_eq!(mode("127.0.0.1:5353", None, Some(Belief::Validate)), Mode::Validate);
        assert_eq!(mode("192.0.2.1", None, Some(Belief::Trust)), Mode::Trust);
    }
}
