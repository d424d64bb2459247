//! How the server is, and what it logs.

use super::{ServerOperations, failure};
use crate::config::Protocol;
use crate::control::OperationError;
use crate::control::protocol::{Answer, ListenerStatus, Status, StoreStatus};
use crate::log::Level;

impl ServerOperations {
    pub(super) fn status(&self) -> Answer {
        let shared = &self.shard.shared;
        let queued = u64::try_from(shared.queue_counts.get().entries).unwrap_or(0);
        let open = |protocol: usize| shared.registry.gauge(shared.metrics.connections_open.at([protocol]));
        let connections: i64 = (0..Protocol::ALL.len()).map(open).sum();
        let listeners = shared.config.listeners.iter().flat_map(|listener| {
            listener.addresses.iter().map(|address| ListenerStatus {
                name: listener.name.clone(),
                protocol: listener.protocol.name().to_owned(),
                address: address.to_string(),
            })
        });
        let store = match (shared.committer.stopped(), shared.gate.admits()) {
            (Some(reason), _) => StoreStatus::Stopped { reason: reason.to_string() },
            (None, Err(refusal)) => StoreStatus::Stopped { reason: refusal.to_string() },
            (None, Ok(())) => StoreStatus::Writable,
        };
        Answer::Status(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: self.started.elapsed().as_secs(),
            shards: u32::try_from(shared.shards.len()).unwrap_or(u32::MAX),
            listeners: listeners.collect(),
            connections: u64::try_from(connections).unwrap_or(0),
            queued,
            store,
        })
    }

    pub(super) fn log_levels(&self) -> Answer {
        let levels = self.shard.shared.log.levels();
        let modules = levels.modules().map(|(module, level)| (module.to_owned(), level.name().to_owned()));
        Answer::LogLevels { default: levels.default_level().name().to_owned(), modules: modules.collect() }
    }

    pub(super) fn set_log_level(
        &self,
        module: Option<&str>,
        level: Option<&str>,
    ) -> Result<Answer, OperationError> {
        let level = level.map(str::parse::<Level>).transpose();
        let level = level.map_err(|error| failure::invalid(error.to_string()))?;
        let mut levels = self.shard.shared.log.levels();
        match (module, level) {
            (Some(module), level) => {
                levels.set_module(module, level).map_err(|error| failure::invalid(error.to_string()))?;
            }
            (None, Some(level)) => levels.set_default(level),
            (None, None) => return Err(failure::invalid("a level is missing, or a module to reset")),
        }
        self.shard.shared.log.set_levels(levels);
        tracing::info!(?module, ?level, "log level changed");
        Ok(self.log_levels())
    }
}
