//! What every command takes that asks DNS itself, without the server.

use postrider_dns::resolver::Upstream;

/// Who decides what can be believed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Belief {
    Validate,
    Trust,
}

pub fn upstream(text: &str) -> Result<Upstream, String> {
    Upstream::parse(text).map_err(|error| error.to_string())
}

pub fn belief(text: &str) -> Result<Belief, String> {
    match text {
        "validate" => Ok(Belief::Validate),
        "trust" => Ok(Belief::Trust),
        _ => Err(format!("there is no mode {text:?}; write validate or trust")),
    }
}

/// Whom a command asks, and who decides what of it can be believed.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    pub resolvers: &'a [Upstream],
    pub trust_anchor: Option<&'a String>,
    pub belief: Option<Belief>,
}

/// Defines the arguments of a command, and adds those that such commands share. `argh` can't take them from another
/// struct, and they come with each command, not before it.
macro_rules! asking {
    (
        $(#[$($outer:tt)*])*
        pub struct $name:ident { $($own:tt)* }
    ) => {
        #[derive(Debug, FromArgs, PartialEq)]
        $(#[$($outer)*])*
        pub struct $name {
            $($own)*
            /// a resolver to ask: ADDRESS, ADDRESS:PORT or tls://ADDRESS#NAME (repeatable)
            #[argh(option, from_str_fn(upstream))]
            pub resolver: Vec<postrider_dns::resolver::Upstream>,
            /// a file of DS or DNSKEY records to begin validation at
            #[argh(option)]
            pub trust_anchor: Option<String>,
            /// who decides what can be believed: validate or trust
            #[argh(option, from_str_fn(belief))]
            pub mode: Option<$crate::arguments::Belief>,
            /// print JSON
            #[argh(switch)]
            pub json: bool,
        }

        impl $name {
            /// Whom it asks.
            pub fn asking(&self) -> $crate::arguments::Asking<'_> {
                $crate::arguments::Asking {
                    resolvers: &self.resolver,
                    trust_anchor: self.trust_anchor.as_ref(),
                    belief: self.mode,
                }
            }
        }
    };
}
