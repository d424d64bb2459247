//! The whole directory as a text: written out, and applied as one transaction.

use std::fmt::Write as _;

use postrider_proto::sasl::Limits;
use postrider_proto::sasl::Verdict;
use postrider_proto::sasl::text::prepare_password;
use postrider_storage::directory::{Change, Diff, Document, DocumentError, HeldMail, NewPassword, diff};

use super::changes::plan;
use super::{ServerOperations, failure, internal};
use crate::control::protocol::Answer;
use crate::control::{Exchange, OperationError, Transport};

/// The longest text that is applied.
const TEXT_OCTETS_MAX: usize = 64 << 20;
/// Faults of a text that are told.
const FAULTS_TOLD_MAX: usize = 50;

impl ServerOperations {
    pub(super) async fn export_directory<T: Transport>(
        &self,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        let text = self.on_pool(|shared| {
            let reader = shared.store.reader();
            Ok(Document::export(reader.snapshot()).map_err(internal)?.to_string())
        });
        exchange.write(text.await?.as_bytes()).await?;
        Ok(Answer::Done)
    }

    pub(super) async fn apply_directory<T: Transport>(
        &self,
        dry_run: bool,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        let mut text = Vec::new();
        while let Some(chunk) = exchange.read().await? {
            if text.len() + chunk.len() > TEXT_OCTETS_MAX {
                return Err(failure::invalid(format!("the text is longer than {TEXT_OCTETS_MAX} octets")));
            }
            text.extend_from_slice(&chunk);
        }
        let wanted = self.on_pool(move |_| {
            let text = String::from_utf8(text).map_err(|_| failure::invalid("the text is not UTF-8"))?;
            Document::parse(&text).map_err(|error| failure::invalid(told(error)))
        });
        let wanted = wanted.await?;
        // The lock is free again before the client is written to: it may be slow.
        let changes = self.apply(wanted, dry_run).await?;
        let mut lines = String::new();
        for change in &changes {
            // Writing into a text can't fail.
            let _ = writeln!(lines, "{change}");
        }
        exchange.write(lines.as_bytes()).await?;
        Ok(Answer::Applied { changes: changes.len() as u64 })
    }

    /// Makes the directory as wanted, unless it shall only be tried. Gives the changes.
    async fn apply(&self, wanted: Document, dry_run: bool) -> Result<Vec<Change>, OperationError> {
        let held = self.directory.take().await;
        let difference = self.on_pool(move |shared| {
            let reader = shared.store.reader();
            let current = Document::export(reader.snapshot()).map_err(internal)?;
            Ok(diff(&current, &wanted, HeldMail::Keep))
        });
        let Diff { mut changes, passwords } = difference.await?;
        for NewPassword { account, password, current } in passwords {
            let prepared = prepare_password(password.expose().as_bytes(), &Limits::DEFAULT)
                .map_err(|error| failure::invalid(format!("account {account}: {error}")))?;
            let same = match current {
                None => false,
                Some(current) => {
                    let matches = move |_: &_| Ok(current.verify_password(prepared.expose()));
                    self.on_pool(matches).await? == Verdict::Matches
                }
            };
            if !same {
                let secrets = Some(self.derive(password.expose()).await?);
                changes.push(Change::SetSecrets { account, secrets });
            }
        }
        let defaults = self.shard.shared.config.accounts.clone();
        let planned = self.on_pool(move |shared| plan(&shared.store.reader(), changes, &defaults)).await?;
        let changes = planned.changes.clone();
        if !dry_run {
            self.commit(planned).await?;
        }
        drop(held);
        Ok(changes)
    }
}

/// The first faults of a text.
fn told(mut error: DocumentError) -> String {
    let more = error.0.len().saturating_sub(FAULTS_TOLD_MAX);
    error.0.truncate(FAULTS_TOLD_MAX);
    if more > 0 { format!("{error}\nand {more} more") } else { error.to_string() }
}
