//! Commands about what is set for the mail of an account.

use std::io::Read;

use anyhow::{Context, bail};
use postrider_core::control::protocol::{
    Answer, MailSetting, MailSettings, Request, Secret, ShownWebhook, Webhook,
};

use super::control::{call, simple, unexpected};
use super::locate::Server;
use crate::arguments::{SettingsCommand, SettingsSet, SettingsShow, SettingsWebhook, Side};
use crate::terminal;

/// Octets of a file with a secret that are read.
const SECRET_OCTETS_MAX: u64 = 4096;

/// `postrider account settings`
pub fn settings(server: &Server, command: SettingsCommand) -> anyhow::Result<()> {
    match command {
        SettingsCommand::Show(arguments) => show(server, arguments),
        SettingsCommand::Set(arguments) => set(server, arguments),
        SettingsCommand::Webhook(arguments) => webhook(server, arguments),
    }
}

fn show(server: &Server, arguments: SettingsShow) -> anyhow::Result<()> {
    let request = Request::AccountSettingsShow { account: arguments.account, secrets: arguments.secrets };
    let Answer::MailSettings(settings) = call(server, &request)? else { return Err(unexpected()) };
    if arguments.json {
        terminal::print(&serde_json::to_string(&settings)?);
        return Ok(());
    }
    lines(&settings).iter().for_each(|line| terminal::print(line));
    Ok(())
}

fn set(server: &Server, arguments: SettingsSet) -> anyhow::Result<()> {
    if arguments.no_from_id && !arguments.from_id.is_empty() {
        bail!("--from-id and --no-from-id exclude each other");
    }
    let mut settings = Vec::new();
    settings.extend(arguments.recipients_per_day.map(MailSetting::RecipientsPerDay));
    settings.extend(arguments.first_time_per_day.map(MailSetting::FirstTimeRecipientsPerDay));
    settings.extend(arguments.keep_messages.map(MailSetting::KeepRetiredMessages));
    settings.extend(arguments.keep_webhooks.map(MailSetting::KeepRetiredWebhooks));
    if arguments.no_from_id || !arguments.from_id.is_empty() {
        settings.push(MailSetting::FromIdLogins(arguments.from_id));
    }
    if settings.is_empty() {
        bail!("nothing is to be set. `postrider account settings set --help` shows what can be");
    }
    let done = format!("The settings of account {} are changed.", arguments.account);
    simple(server, &Request::AccountSettingsSet { account: arguments.account, settings }, &done)
}

fn webhook(server: &Server, arguments: SettingsWebhook) -> anyhow::Result<()> {
    let SettingsWebhook { off, event, authorization_file, secret_file, side, account, url } = arguments;
    let hook = match (off, url) {
        (true, Some(_)) => bail!("with --off nothing is called; leave out the URL"),
        (false, None) => bail!("write the URL that is called, or --off"),
        (true, None) => None,
        (false, Some(url)) => {
            let read = |file: Option<String>| file.map(|file| secret(&file)).transpose();
            let (authorization, secret) = (read(authorization_file)?, read(secret_file)?);
            Some(Webhook { url, authorization, secret, events: event })
        }
    };
    let done = match (side, off) {
        (Side::Outgoing, false) => format!("A program is told of messages that account {account} sent."),
        (Side::Outgoing, true) => format!("No program is told of messages that account {account} sent."),
        (Side::Incoming, false) => format!("A program is told of messages that account {account} got."),
        (Side::Incoming, true) => format!("No program is told of messages that account {account} got."),
    };
    let setting = match side {
        Side::Outgoing => MailSetting::OutgoingWebhook(hook),
        Side::Incoming => MailSetting::IncomingWebhook(hook),
    };
    simple(server, &Request::AccountSettingsSet { account, settings: vec![setting] }, &done)
}

/// The first line of a file. On the command line, everybody on the host could read it.
fn secret(file: &str) -> anyhow::Result<Secret> {
    let mut text = String::new();
    let read = match file {
        "-" => std::io::stdin().take(SECRET_OCTETS_MAX).read_to_string(&mut text),
        file => std::fs::File::open(file)
            .and_then(|opened| opened.take(SECRET_OCTETS_MAX).read_to_string(&mut text)),
    };
    read.with_context(|| format!("can't read {file}"))?;
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() {
        bail!("{file} holds nothing");
    }
    Ok(Secret(line.to_owned()))
}

fn lines(settings: &MailSettings) -> Vec<String> {
    let number = |number: Option<u32>| number.map_or_else(|| "as configured".to_owned(), |n| n.to_string());
    let time = |seconds: Option<u32>| {
        seconds.map_or_else(|| "as configured".to_owned(), |seconds| format!("{seconds} s"))
    };
    let mut lines = vec![
        format!("recipients in 24 hours\t{}", number(settings.recipients_per_day)),
        format!("of them first-time ones\t{}", number(settings.first_time_recipients_per_day)),
        format!("messages are known for\t{}", time(settings.keep_retired_messages)),
        format!("calls of webhooks are known for\t{} s", settings.keep_retired_webhooks.unwrap_or(0)),
    ];
    lines.extend(settings.from_id_logins.iter().map(|login| format!("ids in messages of\t{login}")));
    for (what, hook) in [("outgoing", &settings.outgoing_webhook), ("incoming", &settings.incoming_webhook)] {
        lines.extend(hook.as_ref().map(|hook| webhook_line(what, hook)));
    }
    lines
}

fn webhook_line(what: &str, hook: &ShownWebhook) -> String {
    let mut line = format!("{what} webhook\t{}", hook.url);
    for (what, is_set, secret) in
        [("authorized", hook.is_authorized, &hook.authorization), ("signed", hook.is_signed, &hook.secret)]
    {
        match secret {
            Some(secret) => line += &format!("\t{what} {}", secret.0),
            None if is_set => line += &format!("\t{what}"),
            None => {}
        }
    }
    if !hook.events.is_empty() {
        line += &format!("\t{}", hook.events.join(" "));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_lines_and_secrets_are_shown_when_they_came() {
        let hook = |secret: Option<&str>| ShownWebhook {
            url: "https://x.example/".to_owned(),
            is_authorized: false,
            is_signed: true,
            authorization: None,
            secret: secret.map(|secret| Secret(secret.to_owned())),
            events: vec!["failed".to_owned(), "delayed".to_owned()],
        };
        let line = webhook_line("outgoing", &hook(None));
        assert_eq!(line, "outgoing webhook\thttps://x.example/\tsigned\tfailed delayed");
        let line = webhook_line("outgoing", &hook(Some("key")));
        assert_eq!(line, "outgoing webhook\thttps://x.example/\tsigned key\tfailed delayed");
        let settings = MailSettings {
            account: "anna".to_owned(),
            recipients_per_day: Some(0),
            first_time_recipients_per_day: None,
            from_id_logins: vec!["a@x.example".to_owned()],
            keep_retired_messages: Some(60),
            keep_retired_webhooks: None,
            outgoing_webhook: None,
            incoming_webhook: None,
        };
        let shown = lines(&settings);
        assert_eq!(
            shown,
            [
                "recipients in 24 hours\t0",
                "of them first-time ones\tas configured",
                "messages are known for\t60 s",
                "calls of webhooks are known for\t0 s",
                "ids in messages of\ta@x.example",
            ]
        );
    }
}
