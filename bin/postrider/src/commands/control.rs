//! Commands that are requests to the running server.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use postrider_core::config::parse_octets;
use postrider_core::control::protocol::{Answer, FailureKind, Request, RouteOwner, Secret};
use postrider_core::control::{Client, ClientError, Events};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::account_settings::settings;
use super::locate::Server;
use super::settings::{reports, require_authentication, routes, rules};
use super::show::{Bar, Line, Raw, Rows, status as status_lines};
use crate::arguments::{
    AccountCommand, AddressCommand, AliasCommand, DirectoryCommand, DomainCommand, Export, Import,
    IndexCommand, Loglevels, TlsPubKeyAdd, TlsPubKeyCommand, TlsPubKeyList, TlsPubKeyRm,
};
use crate::{prompt, terminal};

/// How long `stop` waits for the server's end: it gives its connections 3 s, and answers to messages that left up to a minute
/// (`stop_time`).
const STOP_TIME: Duration = Duration::from_secs(75);
/// When `stop` says that it waits.
const SOON: Duration = Duration::from_secs(4);
/// A certificate has a few thousand; a request has to fit in a line.
pub(super) const PEM_OCTETS_MAX: u64 = 32 << 10;

pub(super) fn call(server: &Server, request: &Request) -> anyhow::Result<Answer> {
    Ok(server.connect()?.call(request, None, &mut Raw)?)
}

/// A request that has nothing to say but that it was done.
pub(super) fn simple(server: &Server, request: &Request, done: &str) -> anyhow::Result<()> {
    call(server, request)?;
    terminal::say(done);
    Ok(())
}

pub(super) fn list<L: Line>(server: &Server, request: &Request, json: bool) -> anyhow::Result<()> {
    server.connect()?.call(request, None, &mut Rows::<L>::new(json))?;
    Ok(())
}

pub(super) fn unexpected() -> anyhow::Error {
    anyhow::anyhow!(
        "the server answered something else than was asked. Are the command and the server of one version?"
    )
}

/// `postrider stop`
pub fn stop(server: &Server) -> anyhow::Result<()> {
    let Answer::Status(status) = call(server, &Request::Status)? else { return Err(unexpected()) };
    // Taken while the server runs, so that it is surely its process that is waited for.
    let process = i32::try_from(status.pid).ok().and_then(Pid::from_raw);
    let process = process.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    call(server, &Request::Stop)?;
    if process.as_ref().is_some_and(|process| !ended(process, SOON)) {
        terminal::say("It waits for what is under way, at most a minute.");
    }
    match process.map(|process| ended(&process, STOP_TIME)) {
        Some(true) => terminal::say("The server has stopped."),
        Some(false) => {
            bail!(
                "the server was told to stop, and still runs after {} s. Its log says more",
                STOP_TIME.as_secs()
            )
        }
        // It runs in another container, or the system has no descriptors of processes.
        None => terminal::say("The server was told to stop."),
    }
    Ok(())
}

/// Waits for the process to end, at most so long.
fn ended(process: &OwnedFd, time: Duration) -> bool {
    let start = Instant::now();
    loop {
        let left = time.saturating_sub(start.elapsed());
        let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(_) if left.is_zero() => return false,
            Err(_) => {}
        }
    }
}

/// `postrider status`
pub fn status(server: &Server) -> anyhow::Result<()> {
    let Answer::Status(status) = call(server, &Request::Status)? else { return Err(unexpected()) };
    for line in status_lines(&status) {
        terminal::print(&line);
    }
    Ok(())
}

/// `postrider account`
pub fn account(server: &Server, command: AccountCommand) -> anyhow::Result<()> {
    match command {
        AccountCommand::Add(arguments) => {
            let quota = arguments.quota.as_deref().map(size).transpose()?;
            // Nobody shall type a password for a server that isn't there. Not kept: the server
            // doesn't wait as long as people type.
            drop(server.connect()?);
            let password = Secret(prompt::new_password(&arguments.account)?);
            let done = format!("Account {} with {} is there.", arguments.account, arguments.address);
            let request = Request::AccountAdd {
                account: arguments.account,
                address: arguments.address,
                password,
                quota,
            };
            simple(server, &request, &done)
        }
        AccountCommand::List(arguments) => list::<postrider_core::control::protocol::AccountRow>(
            server,
            &Request::AccountList,
            arguments.json,
        ),
        AccountCommand::Show(arguments) => account_show(server, arguments.account),
        AccountCommand::Rm(arguments) => {
            let done = format!("Account {} and its mail are removed.", arguments.account);
            simple(server, &Request::AccountRemove { account: arguments.account }, &done)
        }
        AccountCommand::SetPassword(arguments) => {
            let password = Secret(prompt::new_password(&arguments.account)?);
            let done = format!("Account {} has a new password.", arguments.account);
            simple(server, &Request::AccountSetPassword { account: arguments.account, password }, &done)
        }
        AccountCommand::Quota(arguments) => {
            let quota = if arguments.quota == "unlimited" { None } else { Some(size(&arguments.quota)?) };
            let done = format!("The quota of account {} is {}.", arguments.account, arguments.quota);
            simple(server, &Request::AccountSetQuota { account: arguments.account, quota }, &done)
        }
        AccountCommand::QuotaMessages(arguments) => {
            let messages = match arguments.messages.as_str() {
                "unlimited" => None,
                number => Some(number.parse().context("write a number of messages, or \"unlimited\"")?),
            };
            let done = format!("Account {} may have {} messages.", arguments.account, arguments.messages);
            let request = Request::AccountSetQuotaMessages { account: arguments.account, messages };
            simple(server, &request, &done)
        }
        AccountCommand::Disable(arguments) => {
            let done = format!("Logins to account {} are refused.", arguments.account);
            let request = Request::AccountDisable { account: arguments.account, message: arguments.message };
            simple(server, &request, &done)
        }
        AccountCommand::Routes(arguments) => routes(server, RouteOwner::Account, arguments.command),
        AccountCommand::Settings(arguments) => settings(server, arguments.command),
        AccountCommand::TlsPubKey(arguments) => tls_public_key(server, arguments.command),
        AccountCommand::Enable(arguments) => {
            let done = format!("Logins to account {} are allowed.", arguments.account);
            simple(server, &Request::AccountEnable { account: arguments.account }, &done)
        }
    }
}

fn tls_public_key(server: &Server, command: TlsPubKeyCommand) -> anyhow::Result<()> {
    match command {
        TlsPubKeyCommand::Add(TlsPubKeyAdd { name, account, file }) => {
            let size = std::fs::metadata(&file).with_context(|| format!("can't read {file}"))?.len();
            if size > PEM_OCTETS_MAX {
                bail!("{file} is larger than a certificate");
            }
            let pem = std::fs::read_to_string(&file).with_context(|| format!("can't read {file}"))?;
            if pem.contains("PRIVATE KEY") {
                bail!("{file} holds a private key. Name a file with the certificate or the public key alone");
            }
            let request = Request::AccountTlsKeyAdd { account: account.clone(), pem, name };
            let Answer::TlsKey { fingerprint } = call(server, &request)? else { return Err(unexpected()) };
            terminal::say(&format!("TLS public key {fingerprint} logs in to account {account}."));
            Ok(())
        }
        TlsPubKeyCommand::Rm(TlsPubKeyRm { account, fingerprint }) => {
            let done = format!("TLS public key {fingerprint} no longer logs in to account {account}.");
            simple(server, &Request::AccountTlsKeyRemove { account, fingerprint }, &done)
        }
        TlsPubKeyCommand::List(TlsPubKeyList { json, account }) => {
            let request = Request::AccountTlsKeyList { account };
            list::<postrider_core::control::protocol::TlsKeyRow>(server, &request, json)
        }
    }
}

fn size(text: &str) -> anyhow::Result<u64> {
    let octets = parse_octets(text).filter(|octets| *octets > 0);
    octets.with_context(|| format!("{text:?} is not a size. Write one such as \"2 GiB\" or \"500 MiB\""))
}

fn account_show(server: &Server, account: String) -> anyhow::Result<()> {
    let mut mailboxes = Collected::default();
    let answer = server.connect()?.call(&Request::AccountShow { account }, None, &mut mailboxes)?;
    let Answer::Account(details) = answer else { return Err(unexpected()) };
    terminal::print(&details.row.line());
    if let Some(message) = &details.disabled_message {
        terminal::print(&format!("Clients are told at login: {message}"));
    }
    let allowed = details.row.quota_messages.map_or_else(|| "unlimited".to_owned(), |max| max.to_string());
    terminal::print(&format!("{} of {allowed} messages", details.messages));
    terminal::print(&format!(
        "{} of {} recipients in 24 hours, {} of {} of them for the first time",
        details.sent_recipients,
        details.recipients_per_day,
        details.sent_first_time_recipients,
        details.first_time_recipients_per_day,
    ));
    terminal::print("Addresses:");
    for address in &details.addresses {
        terminal::print(&format!("  {address}"));
    }
    terminal::print("Mailboxes:");
    mailboxes.show::<postrider_core::control::protocol::MailboxRow>(false)?;
    Ok(())
}

/// Keeps streamed data until the answer came.
#[derive(Default)]
pub(super) struct Collected(pub(super) Vec<u8>);

impl Collected {
    /// Shows it as rows.
    pub(super) fn show<L: Line>(&self, json: bool) -> std::io::Result<()> {
        Rows::<L>::new(json).data(&self.0)
    }
}

impl Events for Collected {
    fn data(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// `postrider address`
pub fn address(server: &Server, command: AddressCommand) -> anyhow::Result<()> {
    match command {
        AddressCommand::Add(arguments) => {
            let done = format!("Mail to {} goes to account {}.", arguments.address, arguments.account);
            simple(
                server,
                &Request::AddressAdd { address: arguments.address, account: arguments.account },
                &done,
            )
        }
        AddressCommand::Rm(arguments) => {
            let done = format!("Address {} is removed.", arguments.address);
            simple(server, &Request::AddressRemove { address: arguments.address }, &done)
        }
        AddressCommand::List(arguments) => {
            let request = Request::AddressList { account: arguments.account };
            list::<postrider_core::control::protocol::AddressRow>(server, &request, arguments.json)
        }
        AddressCommand::Rules(arguments) => rules(server, arguments.command),
        AddressCommand::RequireAuthentication(arguments) => require_authentication(server, arguments),
        AddressCommand::Reports(arguments) => reports(server, arguments),
    }
}

/// `postrider domain`
pub fn domain(server: &Server, command: DomainCommand) -> anyhow::Result<()> {
    match command {
        DomainCommand::Add(arguments) => {
            let done = format!("Domain {} is there.", arguments.domain);
            simple(
                server,
                &Request::DomainAdd { domain: arguments.domain, disabled: arguments.disabled },
                &done,
            )
        }
        DomainCommand::Dkim(arguments) => super::domain_dkim::run(server, arguments.command),
        DomainCommand::Routes(arguments) => routes(server, RouteOwner::Domain, arguments.command),
        DomainCommand::Rm(arguments) => {
            let done = format!("Domain {} is removed.", arguments.domain);
            simple(server, &Request::DomainRemove { domain: arguments.domain }, &done)
        }
        DomainCommand::List(arguments) => {
            list::<postrider_core::control::protocol::DomainRow>(server, &Request::DomainList, arguments.json)
        }
        DomainCommand::Enable(arguments) => {
            let done = format!("Mail for {} is taken.", arguments.domain);
            simple(server, &Request::DomainEnable { domain: arguments.domain }, &done)
        }
        DomainCommand::Disable(arguments) => {
            let done = format!("Mail for {} is refused for now.", arguments.domain);
            simple(server, &Request::DomainDisable { domain: arguments.domain }, &done)
        }
    }
}

/// `postrider alias`
pub fn alias(server: &Server, command: AliasCommand) -> anyhow::Result<()> {
    match command {
        AliasCommand::Add(arguments) => {
            let members = some_members(arguments.members)?;
            let done = format!("Alias {} is there.", arguments.alias);
            simple(server, &Request::AliasAdd { alias: arguments.alias, members }, &done)
        }
        AliasCommand::Rm(arguments) => {
            let done = format!("Alias {} is removed.", arguments.alias);
            simple(server, &Request::AliasRemove { alias: arguments.alias }, &done)
        }
        AliasCommand::List(arguments) => {
            let request = Request::AliasList { domain: arguments.domain };
            list::<postrider_core::control::protocol::AliasRow>(server, &request, arguments.json)
        }
        AliasCommand::AddMember(arguments) => {
            let members = some_members(arguments.members)?;
            let done = format!("Alias {} has {} more.", arguments.alias, members.join(", "));
            simple(server, &Request::AliasAddMember { alias: arguments.alias, members }, &done)
        }
        AliasCommand::RmMember(arguments) => {
            let members = some_members(arguments.members)?;
            let done = format!("Alias {} no longer has {}.", arguments.alias, members.join(", "));
            simple(server, &Request::AliasRemoveMember { alias: arguments.alias, members }, &done)
        }
    }
}

fn some_members(members: Vec<String>) -> anyhow::Result<Vec<String>> {
    if members.is_empty() {
        bail!("no member is named. Write at least one address after that of the alias");
    }
    Ok(members)
}

/// `postrider directory`
pub fn directory(server: &Server, command: DirectoryCommand) -> anyhow::Result<()> {
    let mut bar = Bar::of("entries");
    let arguments = match command {
        DirectoryCommand::Export(_) => {
            let answer = server.connect()?.call(&Request::DirectoryExport, None, &mut bar);
            bar.finish();
            return Ok(answer.map(drop)?);
        }
        DirectoryCommand::Apply(arguments) => arguments,
    };
    let mut input: Box<dyn Read> = match &arguments.file {
        Some(file) => Box::new(File::open(file).with_context(|| format!("can't read {file}"))?),
        None => Box::new(std::io::stdin()),
    };
    // The files that a document names are told from its own place.
    let place = arguments.file.as_deref().map(absolute).transpose()?;
    let files = place.and_then(|path| path.parent().map(Path::to_path_buf));
    let request = Request::DirectoryApply { dry_run: arguments.dry_run, files };
    let answer = server.connect()?.call(&request, Some(&mut *input), &mut bar);
    bar.finish();
    let answer = answer.map_err(|error| match error {
        ClientError::Failed(failure) => {
            let file = arguments.file.as_deref().unwrap_or("standard input");
            let told = located(&failure.message, file);
            match failure.kind {
                // What became of the change is not certain, and the message says what is.
                FailureKind::Internal | FailureKind::Unavailable | FailureKind::Protocol => {
                    anyhow::anyhow!(told)
                }
                _ => anyhow::anyhow!("{told}\nNothing was changed."),
            }
        }
        other => other.into(),
    });
    let Answer::Applied { changes } = answer? else { return Err(unexpected()) };
    terminal::say(&match (changes, arguments.dry_run) {
        (0, _) => "The directory is already like this.".to_owned(),
        (changes, true) => format!("{changes} changes would be made."),
        (changes, false) => format!("{changes} changes were made."),
    });
    Ok(())
}

/// Names the file before the lines in which something is wrong, in the form that editors know.
fn located(message: &str, file: &str) -> String {
    let lines = message.lines().map(|text| {
        let located = text.strip_prefix("line ").and_then(|rest| rest.split_once(": "));
        match located.filter(|(line, _)| line.bytes().all(|octet| octet.is_ascii_digit())) {
            Some((line, problem)) => format!("{file}:{line}: {problem}"),
            None => text.to_owned(),
        }
    });
    let lines: Vec<_> = lines.collect();
    lines.join("\n")
}

/// `postrider loglevels`
pub fn loglevels(server: &Server, arguments: &Loglevels) -> anyhow::Result<()> {
    let words: Vec<&str> = arguments.level_and_module.iter().map(String::as_str).collect();
    let request = level_request(&words)?;
    let Answer::LogLevels { default, modules } = call(server, &request)? else { return Err(unexpected()) };
    terminal::print(&default);
    for (module, level) in modules {
        terminal::print(&format!("{module}\t{level}"));
    }
    Ok(())
}

fn level_request(words: &[&str]) -> anyhow::Result<Request> {
    let (level, module) = match *words {
        [] => return Ok(Request::LogLevels),
        ["default"] => bail!("\"default\" is for a module. Name one: postrider loglevels default smtp"),
        [level] => (level, None),
        [level, module] => (level, Some(module.to_owned())),
        _ => bail!("there are more words than a level and a module. Run `postrider loglevels --help`"),
    };
    let level = (level != "default").then(|| level.to_owned());
    Ok(Request::SetLogLevel { module, level })
}

/// `postrider import`
pub fn import(server: &Server, arguments: Import) -> anyhow::Result<()> {
    let Import { format, account, mailbox, path } = arguments;
    let path = absolute(&path)?;
    transfer(server.connect()?, &Request::Import { format, account, mailbox, path }, "imported")
}

/// `postrider export`
pub fn export(server: &Server, arguments: Export) -> anyhow::Result<()> {
    let Export { format, account, mailbox, dir } = arguments;
    let path = absolute(&dir)?;
    transfer(server.connect()?, &Request::Export { format, account, mailbox, path }, "exported")
}

/// `postrider index`
pub fn index(server: &Server, command: IndexCommand) -> anyhow::Result<()> {
    let answer = match command {
        IndexCommand::Status(arguments) => {
            call(server, &Request::IndexStatus { account: arguments.account })?
        }
        IndexCommand::Rebuild(arguments) => {
            let mut bar = Bar::new();
            let request = Request::IndexRebuild { account: arguments.account };
            let answer = server.connect()?.call(&request, None, &mut bar);
            bar.finish();
            answer?
        }
    };
    let Answer::TextIndex(index) = answer else { return Err(unexpected()) };
    if !index.exists {
        terminal::print("There is no text index: no search of texts has asked for one yet.");
        return Ok(());
    }
    terminal::print(&format!("{} messages are indexed.", index.emails));
    if index.covered < index.next {
        terminal::print(&format!("At most {} messages are still to be indexed.", index.next - index.covered));
    }
    terminal::print(&format!(
        "{} terms in {} segments take {}.",
        index.terms,
        index.segments,
        terminal::octets(index.octets)
    ));
    Ok(())
}

/// The server has another current directory, so it gets whole paths.
fn absolute(path: &str) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("{path:?} is not a path"))
}

fn transfer(client: Client, request: &Request, done: &str) -> anyhow::Result<()> {
    let mut bar = Bar::new();
    let answer = client.call(request, None, &mut bar);
    bar.finish();
    let Answer::Transferred { messages, octets, skipped, skipped_count } = answer? else {
        return Err(unexpected());
    };
    for skipped in &skipped {
        terminal::complain(&format!("left out {skipped}"));
    }
    terminal::say(&format!("{messages} messages of {} {done}.", terminal::octets(octets)));
    if skipped_count > 0 {
        bail!("{skipped_count} messages were left out");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_process_is_waited_for() {
        use std::process::{Command, Stdio};
        use std::sync::atomic::{AtomicBool, Ordering};
        // It ends when its input does.
        let child = Command::new("cat").stdin(Stdio::piped()).spawn();
        let Ok(mut child) = child else { panic!("cat can't be started") };
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let process = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        let Some(process) = process else { panic!("a process has no descriptor") };
        let told = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| (ended(&process, STOP_TIME), told.load(Ordering::SeqCst)));
            // A wait that doesn't wait is over within this time, most often.
            std::thread::sleep(Duration::from_millis(100));
            assert!(!waiting.is_finished(), "the end of a process that runs");
            told.store(true, Ordering::SeqCst);
            drop(child.stdin.take());
            assert_eq!(waiting.join().ok(), Some((true, true)));
        });
        assert!(child.wait().is_ok());
    }

    #[test]
    fn words_become_levels() {
        let set = |module: Option<&str>, level: Option<&str>| Request::SetLogLevel {
            module: module.map(str::to_owned),
            level: level.map(str::to_owned),
        };
        assert_eq!(level_request(&[]).ok(), Some(Request::LogLevels));
        assert_eq!(level_request(&["debug"]).ok(), Some(set(None, Some("debug"))));
        assert_eq!(level_request(&["debug", "smtp"]).ok(), Some(set(Some("smtp"), Some("debug"))));
        assert_eq!(level_request(&["default", "smtp"]).ok(), Some(set(Some("smtp"), None)));
        assert!(level_request(&["default"]).is_err() && level_request(&["a", "b", "c"]).is_err());
    }

    #[test]
    fn faults_are_told_with_file_and_line() {
        let told = located("line 3: no\nline up: x\nline 14: y: z\nand 2 more", "a/b.toml");
        let expected = "a/b.toml:3: no\nline up: x\na/b.toml:14: y: z\nand 2 more";
        assert_eq!(told, expected);
    }

    #[test]
    fn sizes_are_more_than_nothing() {
        assert_eq!(size("2 GiB").ok(), Some(2 << 30));
        for wrong in ["0", "two", "-1", "2 GB"] {
            assert!(size(wrong).is_err_and(|error| error.to_string().contains("is not a size")), "{wrong}");
        }
    }
}
