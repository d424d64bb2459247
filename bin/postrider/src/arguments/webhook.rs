//! The arguments of `postrider webhook`.

use argh::FromArgs;
use postrider_core::control::protocol::WebhookFilter;

/// Look at the calls by which programs of accounts are told of messages that these sent and got, and decide on them. (Which
/// program is told, says postrider account settings webhook.)
#[derive(Debug, FromArgs, PartialEq)]
#[argh(
    subcommand,
    name = "webhook",
    example = "{command_name} list --account anna\n{command_name} retry --url https://app.example.com/hook",
    note = "A call that isn't answered with status 200 within 60 seconds is made again, after 1 minute first and 16 hours last. After 12 \
            attempts, or three days, it is given up."
)]
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

/// Defines the arguments of a command about calls, and adds those that say which. (`argh` can't take them from another
/// struct.)
macro_rules! of_calls {
    (
        $(#[$($outer:tt)*])*
        pub struct $name:ident { $($own:tt)* }
    ) => {
        #[derive(Debug, FromArgs, PartialEq)]
        $(#[$($outer)*])*
        pub struct $name {
            $($own)*
            /// only those of this account
            #[argh(option)]
            pub account: Option<String>,
            /// only those to this URL
            #[argh(option)]
            pub url: Option<String>,
            /// only those that tell of this: delivered, suppressed, delayed, failed, relayed, expanded, canceled, unrecognized or incoming
            #[argh(option)]
            pub event: Option<String>,
            /// ids of calls
            #[argh(positional)]
            pub ids: Vec<String>,
        }

        impl $name {
            /// Which calls are meant.
            pub fn filter(&self) -> WebhookFilter {
                WebhookFilter {
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
    /// Make calls now that wait for their next attempt. They get no more attempts, and no more time, by that.
    #[argh(subcommand, name = "retry", example = "{command_name} --account anna")]
    pub struct WebhookRetry {
        /// all calls, when nothing else is said
        #[argh(switch)]
        pub all: bool,
    }
}

of_calls! {
    /// Make calls no more that wait.
    #[argh(subcommand, name = "cancel", example = "{command_name} 1893456000000000000")]
    pub struct WebhookCancel {
        /// all calls, when nothing else is said
        #[argh(switch)]
        pub all: bool,
    }
}

of_calls! {
    /// List calls that ended, for as long as their accounts keep them.
    #[argh(
        subcommand,
        name = "retired",
        example = "{command_name} --account anna --limit 20",
        note = "An account keeps none unless that is set, as with: postrider account settings set --keep-webhooks 7d anna. Outcomes: \
                delivered; failed, after 12 attempts; expired, after three days; superseded by a later call about the same message; canceled \
                by an operator; unwanted, since the account has no such webhook any more."
    )]
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
