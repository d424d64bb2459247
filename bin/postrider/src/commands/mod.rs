//! What each command does.

mod account_settings;
mod authentication;
#[cfg(test)]
mod authority;
mod config;
mod control;
mod dial;
mod dkim;
mod dns;
mod domain_dkim;
mod locate;
mod mta_sts;
mod queue;
mod reports;
mod resolver;
pub mod sendmail;
mod serve;
mod settings;
mod show;
mod tls;
mod webhook;
mod wire;

use crate::arguments::{Command, Top};
use crate::terminal;

pub use locate::Server;

/// Runs the command.
pub fn run(top: Top) -> anyhow::Result<()> {
    let server = Server { socket: top.socket, data: top.data, config: top.config };
    match top.command {
        Command::Serve(arguments) => serve::serve(arguments.config.or(server.config)),
        Command::Localserve(arguments) => serve::localserve(arguments),
        Command::Verifydata(arguments) => serve::verifydata(&arguments.dir),
        Command::Repair(arguments) => serve::repair(&arguments.dir, arguments.force),
        Command::Config(arguments) => config::run(arguments.command),
        Command::Version(_) => {
            terminal::print(&format!("postrider {}", env!("CARGO_PKG_VERSION")));
            Ok(())
        }
        Command::Dns(arguments) => dns::dns(arguments.command),
        Command::Dnssec(arguments) => dns::dnssec(arguments.command),
        Command::Dane(arguments) => dns::dane(arguments.command),
        Command::Stop(_) => control::stop(&server),
        Command::Status(_) => control::status(&server),
        Command::Account(arguments) => control::account(&server, arguments.command),
        Command::Address(arguments) => control::address(&server, arguments.command),
        Command::Domain(arguments) => control::domain(&server, arguments.command),
        Command::Alias(arguments) => control::alias(&server, arguments.command),
        Command::Directory(arguments) => control::directory(&server, arguments.command),
        Command::Loglevels(arguments) => control::loglevels(&server, &arguments),
        Command::Import(arguments) => control::import(&server, arguments),
        Command::Export(arguments) => control::export(&server, arguments),
        Command::Index(arguments) => control::index(&server, arguments.command),
        Command::Spf(arguments) => authentication::spf(arguments.command),
        Command::Dkim(arguments) => dkim::run(arguments.command),
        Command::Arc(arguments) => dkim::run_arc(arguments.command),
        Command::Dmarc(arguments) => authentication::dmarc(arguments.command),
        Command::Iprev(arguments) => authentication::iprev(arguments.command),
        Command::Dnsbl(arguments) => authentication::dnsbl(arguments.command),
        Command::Queue(arguments) => queue::queue(&server, arguments.command),
        Command::Webhook(arguments) => webhook::webhook(&server, arguments.command),
        Command::Reports(arguments) => reports::reports(&server, arguments.command),
        // `main` takes the words before argh does; here they stand after an option for all commands.
        Command::Sendmail(_) => anyhow::bail!("write `postrider sendmail --config FILE ...`"),
        Command::Tls(arguments) => tls::tls(&server, arguments.command),
        Command::MtaSts(arguments) => mta_sts::mta_sts(&server, arguments.command),
    }
}
