//! The arguments about the queue.

use argh::FromArgs;

/// Look at the messages that wait to be delivered to other servers, and decide on them. A message waits as one entry for
/// each domain that it goes to.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "queue", example = "{command_name} list --to @example.org")]
pub struct Queue {
    #[argh(subcommand)]
    pub command: QueueCommand,
}

#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand)]
pub enum QueueCommand {
    List(QueueList),
    Show(QueueShow),
    Dump(QueueDump),
    Hold(QueueHold),
    Release(QueueRelease),
    Schedule(QueueSchedule),
    Transport(QueueTransport),
    Requiretls(QueueRequiretls),
    Fail(QueueFail),
    Drop(QueueDrop),
    HoldRules(HoldRules),
    Suppressions(Suppressions),
    Retired(QueueRetired),
}

/// Which entries are meant, as it was written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    pub ids: Vec<String>,
    pub account: Option<String>,
    pub from: Option<String>,
    pub to: Option<String>,
    pub sender_domain: Option<String>,
    pub recipient_domain: Option<String>,
    pub submitted_after: Option<String>,
    pub submitted_before: Option<String>,
    pub next_after: Option<String>,
    pub next_before: Option<String>,
    pub held: bool,
    pub not_held: bool,
    pub transport: Option<String>,
}

/// Defines the arguments of a command about entries, and adds those that say which. (`argh` can't take them from another
/// struct.)
macro_rules! filtered {
    (
        $(#[$($outer:tt)*])*
        pub struct $name:ident { $($own:tt)* }
    ) => {
        #[derive(Debug, FromArgs, PartialEq)]
        $(#[$($outer)*])*
        #[argh(
            note = "What is given has to be so all at once. Times are ages or waits such as 90s, 30m, 2h or '1d 12h', or times such as \
                    2026-11-26T18:00 (of this host's time zone) or 2026-11-26T18:00Z."
        )]
        pub struct $name {
            $($own)*
            /// submitted by this account; '' is the server itself, '#7' one that was removed
            #[argh(option)]
            pub account: Option<String>,
            /// a part of the sender's address
            #[argh(option)]
            pub from: Option<String>,
            /// a part of a recipient's address; only such recipients are meant
            #[argh(option)]
            pub to: Option<String>,
            /// the sender's domain; '' is that of reports
            #[argh(option)]
            pub sender_domain: Option<String>,
            /// the recipients' domain
            #[argh(option)]
            pub recipient_domain: Option<String>,
            /// submitted less than so long ago ("2h"), or at this time or later
            #[argh(option)]
            pub submitted_after: Option<String>,
            /// submitted more than so long ago ("2h"), or before this time
            #[argh(option)]
            pub submitted_before: Option<String>,
            /// the next attempt is after so long ("2h"), or at this time or later
            #[argh(option)]
            pub next_after: Option<String>,
            /// the next attempt is within so long ("2h"), or before this time
            #[argh(option)]
            pub next_before: Option<String>,
            /// only what is held
            #[argh(switch)]
            pub held: bool,
            /// only what is not held
            #[argh(switch)]
            pub not_held: bool,
            /// with this transport set; '' is none set, so that routes say
            #[argh(option)]
            pub transport: Option<String>,
            /// ids of entries
            #[argh(positional)]
            pub ids: Vec<String>,
        }

        impl $name {
            /// Which entries are meant.
            pub fn filter(&self) -> Filter {
                Filter {
                    ids: self.ids.clone(),
                    account: self.account.clone(),
                    from: self.from.clone(),
                    to: self.to.clone(),
                    sender_domain: self.sender_domain.clone(),
                    recipient_domain: self.recipient_domain.clone(),
                    submitted_after: self.submitted_after.clone(),
                    submitted_before: self.submitted_before.clone(),
                    next_after: self.next_after.clone(),
                    next_before: self.next_before.clone(),
                    held: self.held,
                    not_held: self.not_held,
                    transport: self.transport.clone(),
                }
            }
        }
    };
}

filtered! {
    /// List entries, in the order in which they were submitted; those of one --recipient-domain by the next attempt.
    #[argh(
        subcommand,
        name = "list",
        example = "{command_name} --to @example.org --not-held\n{command_name} --account anna --submitted-before 2d",
    )]
    pub struct QueueList {
        /// one JSON object in a line for each
        #[argh(switch)]
        pub json: bool,
        /// the most entries (default: 1000)
        #[argh(option, default = "1000")]
        pub limit: u32,
        /// the last ones first
        #[argh(switch)]
        pub reverse: bool,
        /// go on where an earlier list ended
        #[argh(option)]
        pub cursor: Option<String>,
    }
}

/// Show an entry: its recipients with what the last attempt gave, and what happens next.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "show", example = "{command_name} 1874919424000000000")]
pub struct QueueShow {
    /// print JSON: the entry, then a line for each recipient
    #[argh(switch)]
    pub json: bool,
    /// the id of the entry
    #[argh(positional)]
    pub id: String,
}

/// Write the message of an entry to standard output, as it is in the queue: what is signed or changed for the other
/// server is so when it is sent.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "dump", example = "{command_name} 1874919424000000000 > message.eml")]
pub struct QueueDump {
    /// the id of the entry
    #[argh(positional)]
    pub id: String,
}

filtered! {
    /// Hold entries: they are not delivered until they are released.
    #[argh(
        subcommand,
        name = "hold",
        example = "{command_name} 1874919424000000000\n{command_name} --from @example.com --recipient-domain example.org"
    )]
    pub struct QueueHold {
        /// all entries, when nothing else is said
        #[argh(switch)]
        pub all: bool,
    }
}

filtered! {
    /// Release held entries. They are due when they were; an attempt at once is what schedule is for.
    #[argh(subcommand, name = "release", example = "{command_name} --account anna")]
    pub struct QueueRelease {
        /// all entries, when nothing else is said
        #[argh(switch)]
        pub all: bool,
    }
}

filtered! {
    /// Set the time of the next attempt. What is held stays held.
    #[argh(
        subcommand,
        name = "schedule",
        example = "{command_name} --at now --recipient-domain example.org\n{command_name} --at 2h 1874919424000000000\n\
                   {command_name} --at 2026-11-27T06:00 --all"
    )]
    pub struct QueueSchedule {
        /// now, in so long ("2h"), or a time
        #[argh(option)]
        pub at: String,
        /// all entries, when nothing else is said
        #[argh(switch)]
        pub all: bool,
    }
}

filtered! {
    /// Have entries delivered by a transport, whatever routes say.
    #[argh(
        subcommand,
        name = "transport",
        example = "{command_name} --set relay --to @example.org\n{command_name} --set '' --transport relay"
    )]
    pub struct QueueTransport {
        /// the transport; '' is by routes again
        #[argh(option)]
        pub set: String,
        /// all entries, when nothing else is said
        #[argh(switch)]
        pub all: bool,
    }
}

filtered! {
    /// Say what entries need of transport security: yes (every hop is verified, as with REQUIRETLS), no (delivery comes
    /// before policies, as with TLS-Required: No) or default (what the recipient's domain asks for).
    #[argh(subcommand, name = "requiretls", example = "{command_name} --set no 1874919424000000000")]
    pub struct QueueRequiretls {
        /// yes, no or default
        #[argh(option, from_str_fn(wish))]
        pub set: Wish,
        /// all entries, when nothing else is said
        #[argh(switch)]
        pub all: bool,
    }
}

filtered! {
    /// Give up, and tell the senders. There is no way back.
    #[argh(
        subcommand,
        name = "fail",
        example = "{command_name} --reason 'the domain is gone' --recipient-domain example.org"
    )]
    pub struct QueueFail {
        /// what senders are told
        #[argh(option, default = "String::from(\"an administrator of this server gave up the delivery\")")]
        pub reason: String,
        /// all entries, when nothing else is said
        #[argh(switch)]
        pub all: bool,
    }
}

filtered! {
    /// Give up, and tell nobody. There is no way back. With nothing but ids, this removes damaged entries, too.
    #[argh(subcommand, name = "drop", example = "{command_name} --sender-domain spam.example")]
    pub struct QueueDrop {
        /// all entries, when nothing else is said
        #[argh(switch)]
        pub all: bool,
    }
}

/// What is wanted of transport security.
pub type Wish = postrider_core::control::protocol::QueueRequireTls;

pub fn wish(text: &str) -> Result<Wish, String> {
    [Wish::Yes, Wish::No, Wish::Default]
        .into_iter()
        .find(|wish| wish.name() == text)
        .ok_or_else(|| format!("there is no {text:?}; write yes, no or default"))
}

/// Rules that hold messages, new ones and those that wait. Everything that a rule says has to be so.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "hold-rules", example = "{command_name} add --account anna")]
pub struct HoldRules {
    #[argh(subcommand)]
    pub command: HoldRulesCommand,
}

#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand)]
pub enum HoldRulesCommand {
    List(HoldRulesList),
    Add(HoldRulesAdd),
    Rm(HoldRulesRm),
}

/// List the rules.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "list", example = "{command_name}")]
pub struct HoldRulesList {
    /// one JSON object in a line for each
    #[argh(switch)]
    pub json: bool,
}

/// Add a rule, and hold what waits and matches.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(
    subcommand,
    name = "add",
    example = "{command_name} --account anna --recipient-domain example.org --comment 'until the list is checked'\n\
               {command_name} --all"
)]
pub struct HoldRulesAdd {
    /// submitted by this account
    #[argh(option)]
    pub account: Option<String>,
    /// the sender's domain; '' is that of reports
    #[argh(option)]
    pub sender_domain: Option<String>,
    /// the recipients' domain
    #[argh(option)]
    pub recipient_domain: Option<String>,
    /// what it is for
    #[argh(option, default = "String::new()")]
    pub comment: String,
    /// everything, when nothing else is said
    #[argh(switch)]
    pub all: bool,
}

/// Remove a rule. What it holds stays held: release it.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "rm", example = "{command_name} 3")]
pub struct HoldRulesRm {
    /// the number of the rule
    #[argh(positional)]
    pub id: u32,
}

/// The addresses that mail of an account isn't sent to: those that failed, and those that were added.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "suppressions", example = "{command_name} lookup anna bo@example.org")]
pub struct Suppressions {
    #[argh(subcommand)]
    pub command: SuppressionsCommand,
}

#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand)]
pub enum SuppressionsCommand {
    List(SuppressionsList),
    Lookup(SuppressionsLookup),
    Add(SuppressionsAdd),
    Rm(SuppressionsRm),
}

/// List addresses that aren't sent to.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "list", example = "{command_name} --limit 20 anna")]
pub struct SuppressionsList {
    /// one JSON object in a line for each
    #[argh(switch)]
    pub json: bool,
    /// the most addresses (default: 1000)
    #[argh(option, default = "1000")]
    pub limit: u32,
    /// go on where an earlier list ended
    #[argh(option)]
    pub cursor: Option<String>,
    /// only those of this account
    #[argh(positional)]
    pub account: Option<String>,
}

/// Say whether, and why, an account doesn't send to an address.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "lookup", example = "{command_name} anna bo@example.org")]
pub struct SuppressionsLookup {
    /// print JSON
    #[argh(switch)]
    pub json: bool,
    /// the account
    #[argh(positional)]
    pub account: String,
    /// the address
    #[argh(positional)]
    pub address: String,
}

/// Have mail of an account not sent to an address, nor to its variants with dots, + or - in front of the @.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(
    subcommand,
    name = "add",
    example = "{command_name} --reason 'asked to be left alone' anna bo@example.org"
)]
pub struct SuppressionsAdd {
    /// why
    #[argh(option, default = "String::from(\"added by an operator\")")]
    pub reason: String,
    /// the account
    #[argh(positional)]
    pub account: String,
    /// the address
    #[argh(positional)]
    pub address: String,
}

/// Have mail of an account sent to an address again.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "rm", example = "{command_name} anna bo@example.org")]
pub struct SuppressionsRm {
    /// the account
    #[argh(positional)]
    pub account: String,
    /// the address
    #[argh(positional)]
    pub address: String,
}

/// List recipients that have left the queue, the last ones first, for as long as the configuration or the account keeps
/// them.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(subcommand, name = "retired", example = "{command_name} --account anna --limit 20")]
pub struct QueueRetired {
    /// one JSON object in a line for each
    #[argh(switch)]
    pub json: bool,
    /// the most recipients (default: 1000)
    #[argh(option, default = "1000")]
    pub limit: u32,
    /// go on where an earlier list ended
    #[argh(option)]
    pub cursor: Option<String>,
    /// only what this account submitted; '' is the server itself
    #[argh(option)]
    pub account: Option<String>,
    /// only of this entry, or of entries of the same submission
    #[argh(option)]
    pub entry: Option<String>,
    /// only with this in the sender's address, in whatever case
    #[argh(option)]
    pub from: Option<String>,
    /// only with this in the recipient's address, in whatever case
    #[argh(option)]
    pub to: Option<String>,
    /// only delivered, failed or dropped ones
    #[argh(option)]
    pub outcome: Option<String>,
}
