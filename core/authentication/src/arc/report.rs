//! A chain as Authentication-Results tells it (RFC 8617 §10.2).

use postrider_proto::arc::ChainStatus;
use postrider_proto::authentication_results::{Method, MethodResult};

use super::verify::ArcResult;
use crate::dnssec;

/// The result of a message.
#[must_use]
pub fn method_result(arc: &ArcResult) -> MethodResult {
    let mut told = MethodResult::new(Method::Arc, arc.status.word());
    if arc.status == ChainStatus::Pass {
        told = told.comment(format!("{} sets", arc.sets.len()));
    }
    if let Some(authenticity) = arc.authenticity {
        told = told.dnssec(dnssec(authenticity));
    }
    if let Some(reason) = &arc.reason {
        told = told.reason(reason.to_string());
    }
    if let Some(oldest) = arc.oldest_pass {
        told = told.property("header", "oldest-pass", oldest.to_string());
    }
    told
}
