//! The arguments about what is set for the mail of an account.

use argh::FromArgs;

/// Limits of the mail that an account sends, how long it is known what became of it, and programs that are told of it.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "settings", example = "{command_name} set --recipients-per-day 5000 anna")]
pub struct AccountSettings {
    #[argh(subcommand)]
    pub command: SettingsCommand,
}

#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand)]
pub enum SettingsCommand {
    Show(SettingsShow),
    Set(SettingsSet),
    Webhook(SettingsWebhook),
}

/// Show what is set.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "show", example = "{command_name} anna\n{command_name} --json --secrets anna")]
pub struct SettingsShow {
    /// one JSON object
    #[argh(switch)]
    pub json: bool,
    /// show what is sent with calls of webhooks, and signs them
    #[argh(switch)]
    pub secrets: bool,
    /// the name of the account
    #[argh(positional)]
    pub account: String,
}

/// Set what is given; all else stays. "default" is what the configuration says.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(
    subcommand,
    name = "set",
    example = "{command_name} --recipients-per-day 5000 --first-time-per-day 1000 anna\nMessages sent by a program, with \
               ids by which reports on them are known:\n  {command_name} --from-id shop@example.com --keep-messages 30d \
               shop\n  {command_name} --no-from-id shop"
)]
pub struct SettingsSet {
    /// to how many recipients of other servers it may send in 24 hours, or "default"
    #[argh(option, from_str_fn(number))]
    pub recipients_per_day: Option<Option<u32>>,
    /// to how many in 24 hours to whom it never wrote before, or "default"
    #[argh(option, from_str_fn(number))]
    pub first_time_per_day: Option<Option<u32>>,
    /// an address; messages of who logs in with it have ids of their own in their reverse path; repeatable, and replaces
    /// those that were set
    #[argh(option)]
    pub from_id: Vec<String>,
    /// no message has an id
    #[argh(switch)]
    pub no_from_id: bool,
    /// how long it is known what became of messages: a time such as 7d, "0s" for not at all, or "default"
    #[argh(option, from_str_fn(time))]
    pub keep_messages: Option<Option<u32>>,
    /// how long it is known what became of calls of webhooks: a time, or "default" for not at all
    #[argh(option, from_str_fn(time))]
    pub keep_webhooks: Option<Option<u32>>,
    /// the name of the account
    #[argh(positional)]
    pub account: String,
}

/// Have a program told of mail: "outgoing", what became of messages that the account sent, or "incoming", of what came. What
/// was set before is replaced as a whole. Files end before their first line break; "-" is standard input.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(
    subcommand,
    name = "webhook",
    example = "{command_name} --secret-file hook.key --event failed --event delayed outgoing shop \
               https://shop.example.com/mail\n{command_name} --off incoming shop"
)]
pub struct SettingsWebhook {
    /// tell it no longer
    #[argh(switch)]
    pub off: bool,
    /// of what it is told (default: everything): delivered, suppressed, delayed, failed, relayed, expanded, canceled or
    /// unrecognized; repeatable, for outgoing mail only
    #[argh(option)]
    pub event: Vec<String>,
    /// a file with the value of the field Authorization
    #[argh(option)]
    pub authorization_file: Option<String>,
    /// a file with the key that signs bodies, 16 to 256 characters
    #[argh(option)]
    pub secret_file: Option<String>,
    /// outgoing or incoming
    #[argh(positional, from_str_fn(side))]
    pub side: Side,
    /// the name of the account
    #[argh(positional)]
    pub account: String,
    /// where it is called
    #[argh(positional)]
    pub url: Option<String>,
}

/// Of which mail a program is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// What the account sent.
    Outgoing,
    /// What it got.
    Incoming,
}

fn side(text: &str) -> Result<Side, String> {
    match text {
        "outgoing" => Ok(Side::Outgoing),
        "incoming" => Ok(Side::Incoming),
        _ => Err("write outgoing or incoming".to_owned()),
    }
}

fn number(text: &str) -> Result<Option<u32>, String> {
    match text {
        "default" => Ok(None),
        number => number.parse().map(Some).map_err(|_| "write a number, or default".to_owned()),
    }
}

fn time(text: &str) -> Result<Option<u32>, String> {
    if text == "default" {
        return Ok(None);
    }
    let seconds =
        postrider_core::config::parse_duration(text).and_then(|time| time.as_secs().try_into().ok());
    seconds.map(Some).ok_or_else(|| "write a time such as 7d or 12h, or default".to_owned())
}
