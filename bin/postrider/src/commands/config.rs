//! `postrider config`: an example, and the check of a file.

use std::path::Path;

use postrider_core::config::{Config, EXAMPLE};

use crate::arguments::ConfigCommand;
use crate::terminal;

/// `postrider config`
pub fn run(command: ConfigCommand) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Example(_) => terminal::write_out(EXAMPLE.as_bytes()),
        ConfigCommand::Test(arguments) => {
            let config = Config::load(Path::new(&arguments.file))?;
            terminal::print(&format!("{} is right.", arguments.file));
            for listener in &config.listeners {
                let addresses: Vec<_> = listener.addresses.iter().map(ToString::to_string).collect();
                terminal::print(&format!(
                    "  {} ({}) on {}",
                    listener.name,
                    listener.protocol.name(),
                    addresses.join(" and ")
                ));
            }
        }
    }
    Ok(())
}
