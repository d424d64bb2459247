//! The arguments of `sendmail`, which are parsed elsewhere: argh knows no clustered letters.

use argh::FromArgs;

/// Submit a message from standard input, as programs expect of /usr/sbin/sendmail. Also when called as sendmail.
#[derive(Debug, FromArgs, PartialEq)]
#[argh(
    subcommand,
    name = "sendmail",
    example = "To the recipients in To, Cc and Bcc:\n  {command_name} -t < message.eml\nTo one, from an \
               address:\n  {command_name} -i -f anna@example.com -- bob@example.org < message.eml\nWhat \
               could not be submitted, once more:\n  {command_name} --again ~/postrider-sendmail.failures/*.eml\nAs the \
               system's:\n  ln -s /usr/local/bin/postrider /usr/sbin/sendmail",
    note = "Options, before the addresses:\n  -t              take recipients from the header as well; Bcc is not \
            sent\n  -f, -r ADDRESS  the sender; <> for none\n  -F NAME         the sender's name, where From is \
            missing\n  -i, -oi         a line with one dot doesn't end the message\n  -N DSN          report on \
            success, failure, delay, or never\n  -R full|hdrs    what reports bring back\n  -V ID           the \
            envelope's id, for reports\n  -v              say what the server said about each recipient\n  --config \
            FILE   instead of /etc/postrider-sendmail.toml and POSTRIDER_SENDMAIL_CONFIG\n  --again FILE... \
            submit kept messages, each for who doesn't have it; a file goes when its message went\n  --              only \
            addresses follow\nOther options of sendmail are taken and change nothing, or are refused in words. What can't \
            be submitted is kept in ~/postrider-sendmail.failures, a file for each. Exit codes are those of sysexits.h."
)]
pub struct Sendmail {
    /// options and addresses
    #[argh(positional, greedy)]
    pub words: Vec<String>,
}
