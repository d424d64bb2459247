//! The requests about what is recorded for reports to other domains, and about addresses that get none.

use postrider_proto::address::Address;
use postrider_proto::tlsrpt::{Failure, PolicyReport};
use postrider_storage::engine::{Batch, Durability};
use postrider_storage::report_suppressions;
use postrider_storage::rows;
use postrider_storage::store::StoreError;
use postrider_storage::tls_results::{self, DAY_SECONDS, Order, TlsResult, TlsResultId};

use super::{ServerOperations, failure, internal};
use crate::clock::unix_now;
use crate::commit;
use crate::control::protocol::{
    Answer, FailureKind, REPORT_PAGE_MAX, ReportSuppressionRow, Request, TlsResultFailure, TlsResultPolicy,
    TlsResultRow,
};
use crate::control::{Exchange, OperationError, Transport};

/// Rows that are read at a time.
const PAGE: usize = 200;
/// Failures that are shown of a policy.
const FAILURES_MAX: usize = 10;

impl ServerOperations {
    /// Carries out a request about reports to other domains.
    pub(super) async fn reports_sent<T: Transport>(
        &self,
        request: Request,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        match request {
            Request::ReportResults { cursor, limit } => {
                self.list_results(cursor.as_deref(), limit, exchange).await
            }
            Request::ReportSuppressAdd { address, until, comment } => {
                self.suppress_reports(&address, until, comment).await
            }
            Request::ReportSuppressRemove { address } => self.resume_reports(address).await,
            Request::ReportSuppressList => self.list_suppressed_reports(exchange).await,
            // Every other request is carried out elsewhere.
            other => Err(internal(format!("request {} is not known here", other.name()))),
        }
    }

    async fn list_results<T: Transport>(
        &self,
        cursor: Option<&str>,
        limit: Option<u32>,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        let mut after = cursor.map(id_of).transpose()?;
        let mut left = limit.unwrap_or(REPORT_PAGE_MAX).min(REPORT_PAGE_MAX) as usize;
        while left > 0 {
            let (from, count) = (after.take(), left.min(PAGE));
            let rows = self.on_pool(move |shared| {
                let reader = shared.store.reader();
                let rows = tls_results::after(&reader, from.as_ref()).take(count);
                rows.collect::<Result<Vec<TlsResult>, StoreError>>().map_err(internal)
            });
            let rows = rows.await?;
            left -= rows.len();
            for row in &rows {
                exchange.row(&shown(row)).await?;
            }
            if rows.len() < count {
                return Ok(Answer::Page { next: None });
            }
            after = rows.into_iter().last().map(|(id, _)| id);
        }
        Ok(Answer::Page { next: after.as_ref().map(cursor_of) })
    }

    async fn suppress_reports(
        &self,
        address: &str,
        until: Option<i64>,
        comment: String,
    ) -> Result<Answer, OperationError> {
        let address: Address = failure::address(address)?;
        let row = rows::ReportSuppressionRow {
            created: unix_now(),
            until: until.unwrap_or(i64::MAX),
            comment: comment.into(),
        };
        let mut batch = Batch::new();
        report_suppressions::add(&mut batch, &address.to_string(), &row)
            .map_err(|error| OperationError::new(FailureKind::Invalid, error.to_string()))?;
        self.write_synced(batch).await
    }

    async fn resume_reports(&self, address: String) -> Result<Answer, OperationError> {
        let address: Address = failure::address(&address)?;
        let batch = self.on_pool(move |shared| {
            let mut batch = Batch::new();
            let text = address.to_string();
            match report_suppressions::remove(&shared.store.reader(), &mut batch, &text).map_err(internal)? {
                true => Ok(batch),
                false => {
                    let told = format!("reports to {address} are not suppressed");
                    Err(OperationError::new(FailureKind::NotFound, told))
                }
            }
        });
        self.write_synced(batch.await?).await
    }

    async fn write_synced(&self, batch: Batch) -> Result<Answer, OperationError> {
        let committed = commit::commit(&self.shard.shared.committer, batch, Durability::Synced).await;
        committed.map_err(|error| failure::commit(&error))?;
        Ok(Answer::Done)
    }

    async fn list_suppressed_reports<T: Transport>(
        &self,
        exchange: &mut Exchange<T>,
    ) -> Result<Answer, OperationError> {
        let mut after: Option<String> = None;
        loop {
            let from = after.take();
            let rows = self.on_pool(move |shared| {
                let reader = shared.store.reader();
                let rows = report_suppressions::list(&reader, from.as_deref()).take(PAGE);
                rows.collect::<Result<Vec<_>, StoreError>>().map_err(internal)
            });
            let rows = rows.await?;
            let is_last = rows.len() < PAGE;
            for (address, row) in rows {
                let shown = ReportSuppressionRow {
                    address: address.clone(),
                    created: row.created,
                    until: Some(row.until).filter(|until| *until != i64::MAX),
                    comment: row.comment.into(),
                };
                exchange.row(&shown).await?;
                after = Some(address);
            }
            if is_last {
                return Ok(Answer::Done);
            }
        }
    }
}

/// Where a list is continued, as text. Domains have no colon.
fn cursor_of(id: &TlsResultId) -> String {
    let TlsResultId { day, order, recipient, policy_domain, is_host } = id;
    format!("{day}:{}:{}:{recipient}:{policy_domain}", *order as u8, u8::from(*is_host))
}

fn id_of(cursor: &str) -> Result<TlsResultId, OperationError> {
    let read = || {
        let parts: Vec<&str> = cursor.split(':').collect();
        let [day, order, is_host, recipient, policy_domain] = parts[..] else { return None };
        Some(TlsResultId {
            day: day.parse().ok()?,
            order: match order {
                "0" => Order::ByRecipient,
                "1" => Order::ByPolicy,
                _ => return None,
            },
            recipient: recipient.into(),
            policy_domain: policy_domain.into(),
            is_host: is_host == "1",
        })
    };
    let wrong = || OperationError::new(FailureKind::Invalid, format!("{cursor:?} is no place in this list"));
    read().ok_or_else(wrong)
}

fn shown((id, row): &TlsResult) -> TlsResultRow {
    let day = jiff::Timestamp::from_second(i64::from(id.day) * DAY_SECONDS);
    TlsResultRow {
        day: day.unwrap_or(jiff::Timestamp::UNIX_EPOCH).strftime("%Y-%m-%d").to_string(),
        recipient_domain: id.recipient.to_string(),
        policy_domain: id.policy_domain.to_string(),
        host: id.is_host,
        no_reason: !row.is_reason,
        policies: row.policies.iter().map(policy).collect(),
    }
}

fn policy(policy: &PolicyReport) -> TlsResultPolicy {
    TlsResultPolicy {
        policy_type: policy.policy_type.name().to_owned(),
        successful: policy.successful_sessions,
        failed: policy.failed_sessions,
        failures: policy.failures.iter().take(FAILURES_MAX).map(failed).collect(),
    }
}

fn failed(failure: &Failure) -> TlsResultFailure {
    let owned = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
    TlsResultFailure {
        result_type: failure.result_type.name().to_owned(),
        sessions: failure.sessions,
        host: owned(&failure.receiving_mx_hostname),
        address: failure.receiving_ip.map(|address| address.to_string()),
        reason: owned(&failure.reason_code),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::sync::Arc;

    use postrider_proto::tlsrpt::{PolicyType, ResultType};
    use postrider_storage::engine::memory::MemoryEngine;

    use super::*;
    use crate::testing::TestServer;

    fn lines<L: serde::de::DeserializeOwned>(data: &str) -> Vec<L> {
        data.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn results_are_listed_by_page() {
        let server = TestServer::on(Arc::new(MemoryEngine::new()));
        let mut batch = Batch::new();
        for number in 0..3 {
            let recipient: Box<str> = format!("d{number}.example").into();
            let policy = PolicyReport {
                policy_type: PolicyType::Sts,
                policy_strings: Vec::new(),
                policy_domain: recipient.clone(),
                mx_hosts: Vec::new(),
                successful_sessions: 1,
                failed_sessions: 1,
                failures: vec![Failure::new(ResultType::StsPolicyInvalid)],
            };
            let row = rows::TlsResultRow { is_reason: true, told: Vec::new(), policies: vec![policy] };
            let (policy_domain, order) = (recipient.clone(), Order::ByRecipient);
            let id = TlsResultId { day: 20_783, order, recipient, policy_domain, is_host: false };
            tls_results::put(&mut batch, &id, &row);
        }
        server.shared.committer.commit_blocking(batch, Durability::Synced).unwrap();
        let (data, answer) = server.ok(&Request::ReportResults { cursor: None, limit: Some(2) });
        let first: Vec<TlsResultRow> = lines(&data);
        assert_eq!(first.len(), 2);
        assert_eq!((&*first[0].day, &*first[0].recipient_domain), ("2026-11-26", "d0.example"));
        assert_eq!(first[0].policies[0].failures[0].result_type, "sts-policy-invalid");
        let Answer::Page { next } = answer else { panic!("{answer:?}") };
        let (data, answer) = server.ok(&Request::ReportResults { cursor: next, limit: None });
        assert_eq!(lines::<TlsResultRow>(&data).len(), 1);
        assert_eq!(answer, Answer::Page { next: None });
        let wrong = Request::ReportResults { cursor: Some("x:y".to_owned()), limit: None };
        assert_eq!(server.fails(&wrong).0, FailureKind::Invalid);
    }

    #[test]
    fn reports_to_an_address_are_stopped_and_resumed() {
        let server = TestServer::on(Arc::new(MemoryEngine::new()));
        let add = |address: &str, until| Request::ReportSuppressAdd {
            address: address.to_owned(),
            until,
            comment: "it bounces".to_owned(),
        };
        server.ok(&add("Reports@them.example", Some(5)));
        server.ok(&add("b@them.example", None));
        assert_eq!(server.fails(&add("nobody", None)).0, FailureKind::Invalid);
        let list = || lines::<ReportSuppressionRow>(&server.ok(&Request::ReportSuppressList).0);
        let shown: Vec<_> = list().into_iter().map(|row| (row.address, row.until)).collect();
        let expected = [("b@them.example".to_owned(), None), ("reports@them.example".to_owned(), Some(5))];
        assert_eq!(shown, expected);
        let remove = Request::ReportSuppressRemove { address: "reports@them.example".to_owned() };
        server.ok(&remove);
        assert_eq!(server.fails(&remove).0, FailureKind::NotFound);
        assert_eq!(list().len(), 1);
    }
}
