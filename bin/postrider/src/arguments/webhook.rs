//! The arguments of `postrider webhook`.

use argh::FromArgs;

/// Calls of webhooks: the programs that accounts have told of messages that they sent and got.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "webhook", example = "{command_name} list --account anna")]
pub struct Webhook {
    #[argh(subcommand)]
    pub command: WebhookCommand,
}

#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand)]
pub enum WebhookCommand {
    List(WebhookList),
    Show(WebhookShow),
    Retry(WebhookRetry),
    Cancel(WebhookCancel),
    Retired(WebhookRetired),
    Test(WebhookTest),
}

/// Which calls are meant, as it was written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calls {
    pub ids: Vec<String>,
    pub account: Option<String>,
    pub url: Option<String>,
    pub event: Option<String>,
}

/// Defines the arguments of a command about calls, and adds those that say which. (`argh` can't take them from another
/// struct. Types are words here, since `argh` looks at them.)
macro_rules! of_calls {
    (
        $(#[$($outer:tt)*])*
        pub struct $name:ident {
            $($(#[$($inner:tt)*])* pub $field:ident: $kind:ident $(<$of:ident>)?,)*
        }
    ) => {
        #[derive(Debug, FromArgs, PartialEq)]
        $(#[$($outer)*])*
        pub struct $name {
            $($(#[$($inner)*])* pub $field: $kind $(<$of>)?,)*
            /// only those of this account
            #[argh(option)]
            pub account: Option<String>,
            /// only those to this URL
            #[argh(option)]
            pub url: Option<String>,
            /// only those that tell of this: delivered, suppressed, delayed, failed, relayed, expanded, canceled, unrecognized or incoming
            #[argh(option)]
            pub event: Option<String>,
            /// only these
            #[argh(positional)]
            pub ids: Vec<String>,
        }

        impl $name {
            /// Which calls are meant.
            pub fn calls(&self) -> Calls {
                Calls {
                    ids: self.ids.clone(),
                    account: self.account.clone(),
                    url: self.url.clone(),
                    event: self.event.clone(),
                }
            }
        }
    };
}

of_calls! {
    /// List calls that wait, the oldest first; of one URL by their next attempt.
    #[argh(subcommand, name = "list", example = "{command_name} --account anna --limit 20")]
    pub struct WebhookList {
        /// one JSON object in a line for each
        #[argh(switch)]
        pub json: bool,
        /// the most calls (default: 1000)
        #[argh(option, default = "1000")]
        pub limit: u32,
        /// go on where an earlier list ended
        #[argh(option)]
        pub cursor: Option<String>,
    }
}

/// Show a call that waits, with its attempts and what is sent.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "show", example = "{command_name} 1893456000000000000")]
pub struct WebhookShow {
    /// one JSON object
    #[argh(switch)]
    pub json: bool,
    /// the call's id
    #[argh(positional)]
    pub id: String,
}

of_calls! {
    /// Make calls now that wait for their next attempt.
    #[argh(subcommand, name = "retry", example = "{command_name} --account anna")]
    pub struct WebhookRetry {
        /// all calls
        #[argh(switch)]
        pub all: bool,
    }
}

of_calls! {
    /// Make calls no more that wait.
    #[argh(subcommand, name = "cancel", example = "{command_name} 1893456000000000000")]
    pub struct WebhookCancel {
        /// all calls
        #[argh(switch)]
        pub all: bool,
    }
}

of_calls! {
    /// List calls that ended, for as long as their accounts keep them.
    #[argh(subcommand, name = "retired", example = "{command_name} --account anna --limit 20")]
    pub struct WebhookRetired {
        /// one JSON object in a line for each
        #[argh(switch)]
        pub json: bool,
        /// the most calls (default: 1000)
        #[argh(option, default = "1000")]
        pub limit: u32,
        /// go on where an earlier list ended
        #[argh(option)]
        pub cursor: Option<String>,
    }
}

/// Call a webhook of an account once with something made up, and say what came of it.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "test", example = "{command_name} anna --incoming")]
pub struct WebhookTest {
    /// the webhook for messages that come; without it, the one for messages that the account sends
    #[argh(switch)]
    pub incoming: bool,
    /// one JSON object
    #[argh(switch)]
    pub json: bool,
    /// the account
    #[argh(positional)]
    pub account: String,
}
