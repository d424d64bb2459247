//! `postrider domain dkim`: keys that sign mail of domains.

use anyhow::{Context as _, bail};
use postrider_core::control::protocol::{Answer, DkimKeyRow, Request, Secret};

use super::control::{Collected, PEM_OCTETS_MAX, call, list, simple, unexpected};
use super::locate::Server;
use super::show::Line;
use crate::arguments::{DomainDkimAdd, DomainDkimCommand};
use crate::terminal;

pub(super) fn run(server: &Server, command: DomainDkimCommand) -> anyhow::Result<()> {
    match command {
        DomainDkimCommand::Add(arguments) => add(server, arguments),
        DomainDkimCommand::Rm(arguments) => {
            let done = format!("Key {} of {} is removed.", arguments.selector, arguments.domain);
            let request =
                Request::DomainDkimRemove { domain: arguments.domain, selector: arguments.selector };
            simple(server, &request, &done)
        }
        DomainDkimCommand::List(arguments) => {
            list::<DkimKeyRow>(server, &Request::DomainDkimList { domain: arguments.domain }, arguments.json)
        }
        DomainDkimCommand::Sign(arguments) => {
            let does = if arguments.signs { "signs" } else { "no longer signs" };
            let done = format!("Key {} of {} {does}.", arguments.selector, arguments.domain);
            let request = Request::DomainDkimSign {
                domain: arguments.domain,
                selector: arguments.selector,
                signs: arguments.signs,
            };
            simple(server, &request, &done)
        }
        DomainDkimCommand::Records(arguments) => records(server, arguments.domain),
    }
}

fn add(server: &Server, arguments: DomainDkimAdd) -> anyhow::Result<()> {
    let DomainDkimAdd { selector, algorithm, key_file, publish_only, domain } = arguments;
    if algorithm.is_some() && key_file.is_some() {
        bail!("--algorithm is for a new key, and --key-file names one that is there. Write one of them");
    }
    let key = match key_file {
        Some(file) => {
            let size = std::fs::metadata(&file).with_context(|| format!("can't read {file}"))?.len();
            if size > PEM_OCTETS_MAX {
                bail!("{file} is larger than a key");
            }
            Some(Secret(std::fs::read_to_string(&file).with_context(|| format!("can't read {file}"))?))
        }
        None => None,
    };
    let algorithm = algorithm.unwrap_or_default();
    let request = Request::DomainDkimAdd { domain: domain.clone(), selector, algorithm, key, publish_only };
    let Answer::DkimKey(row) = call(server, &request)? else { return Err(unexpected()) };
    let does = if row.signs { "signs" } else { "will sign when it is told to" };
    terminal::say(&format!("Key {} of {domain} {does}. Its record:", row.selector));
    terminal::print(row.zone.as_deref().context("the key that was added can't be read")?);
    Ok(())
}

fn records(server: &Server, domain: String) -> anyhow::Result<()> {
    let mut rows = Collected::default();
    server.connect()?.call(&Request::DomainDkimList { domain }, None, &mut rows)?;
    for row in serde_json::Deserializer::from_slice(&rows.0).into_iter::<DkimKeyRow>() {
        let row = row?;
        let unreadable = || format!("the stored key {} can't be read", row.selector);
        terminal::print(row.zone.as_deref().with_context(unreadable)?);
    }
    Ok(())
}

impl Line for DkimKeyRow {
    fn line(&self) -> String {
        let does = if self.signs { "signs" } else { "published only" };
        format!("{}\t{}\t{does}", self.selector, self.algorithm)
    }
}
