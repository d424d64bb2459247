//! A message made fit for a server that doesn't take what it holds (RFC 6152 §3, RFC 3030 §3), or for all, since its lines
//! are too long (RFC 5321 §4.5.3.1.6), and signed as it is then.
//!
//! The stored message goes by three times: to find out what is to be done, to hash what will be sent, and to send it. So
//! memory doesn't depend on its size. Signatures that were made of it before are left away.

use std::cell::RefCell;
use std::rc::Rc;

use postrider_authentication::content::Reader;
use postrider_authentication::dkim::BODY_HASH;
use postrider_proto::mime;
use postrider_proto::mime::downgrade::{Converter, Obstacle, Plan, Survey, Target};
use postrider_proto::mime::scan::Scanner;
use postrider_proto::smtp::envelope::BodyType;
use postrider_storage::account::Content;
use postrider_storage::rows::{Kind, QueueRow};
use postrider_storage::store::StoreError;

use super::content::{Source, Stored};
use crate::runtime::yield_if_needed;
use crate::shard::Shard;
use crate::signing::{self, By, ToSign};

/// What is sent of an entry.
pub(super) struct Original {
    prefix: Vec<u8>,
    /// Octets at the start of the prefix that are our signatures.
    signatures: usize,
    content: Content,
    signer: Signer,
    /// It is ours, and has lines that no server has to take.
    has_long_lines: bool,
    /// As the last host took it that took less, for the next.
    kept: RefCell<Option<Rc<Fit>>>,
}

/// Who signs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Signer {
    /// The author's domain.
    Author,
    /// The server's.
    Server,
    /// Nobody: it isn't ours.
    Nobody,
}

/// Why there is no such message.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotFit {
    #[error(transparent)]
    Obstacle(#[from] Obstacle),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A message that was made fit.
pub(super) struct Fit {
    target: Target,
    plan: Plan,
    signatures: Vec<u8>,
    /// What it has.
    pub(super) octets: u64,
}

impl Original {
    pub(super) fn new(prefix: Vec<u8>, entry: &QueueRow) -> Self {
        let signer = match entry.kind {
            Kind::Ordinary if entry.sender == 0 => Signer::Nobody,
            Kind::Ordinary => Signer::Author,
            _ => Signer::Server,
        };
        let content = postrider_storage::queue::content(entry);
        // Binary content goes to servers that take it as it is.
        let has_long_lines = entry.long_lines && !entry.binary && signer != Signer::Nobody;
        let kept = RefCell::default();
        Self { signatures: signatures(&prefix), prefix, content, signer, has_long_lines, kept }
    }

    /// Whether its lines are to be made shorter, where they may be.
    pub(super) const fn has_long_lines(&self) -> bool {
        self.has_long_lines
    }

    /// With shorter lines. None when these may not be touched: it goes as it came, since many servers take it.
    pub(super) async fn shortened(
        &self,
        shard: &Shard,
        target: Target,
    ) -> Result<Option<Rc<Fit>>, StoreError> {
        match self.fit(shard, target).await {
            Ok(fit) => Ok(Some(fit).filter(|fit| !fit.plan.is_empty())),
            Err(NotFit::Obstacle(obstacle)) => {
                tracing::debug!(%obstacle, "long lines stay as they are");
                Ok(None)
            }
            Err(NotFit::Store(error)) => Err(error),
        }
    }

    /// As it is.
    pub(super) fn source(&self) -> Source {
        Source::stored(self.prefix.clone(), self.content)
    }

    fn unsigned(&self) -> Stored {
        let prefix = self.prefix.get(self.signatures..).unwrap_or_default();
        Stored::new(prefix.to_vec(), self.content)
    }

    /// Made fit, after [`Self::fit`].
    pub(super) fn converted(&self, fit: &Fit) -> Source {
        Source::Converted {
            signatures: fit.signatures.clone(),
            stored: self.unsigned(),
            converter: Some(Box::new(Converter::new(fit.plan.clone()))),
        }
    }

    /// Finds out how to make it fit, and signs what comes of it.
    pub(super) async fn fit(&self, shard: &Shard, target: Target) -> Result<Rc<Fit>, NotFit> {
        let kept = self.kept.borrow().clone().filter(|fit| fit.target == target);
        if let Some(fit) = kept {
            return Ok(fit);
        }
        let plan = self.plan(shard, target).await?;
        let mut fit = Fit { target, plan, signatures: Vec::new(), octets: 0 };
        let mut source = self.converted(&fit);
        let mut reader = Reader::signing(BODY_HASH);
        while let Some(part) = source.next(&shard.shared.reads).await? {
            fit.octets += part.as_ref().len() as u64;
            if self.signer != Signer::Nobody {
                reader.push(part.as_ref());
            }
            yield_if_needed().await;
        }
        fit.signatures = self.sign(shard, reader).await.into_bytes();
        fit.octets += fit.signatures.len() as u64;
        let fit = Rc::new(fit);
        *self.kept.borrow_mut() = Some(Rc::clone(&fit));
        Ok(fit)
    }

    async fn plan(&self, shard: &Shard, target: Target) -> Result<Plan, NotFit> {
        let reads = &shard.shared.reads;
        let mut scanner = Scanner::new(mime::Limits::DEFAULT);
        let mut stored = self.unsigned();
        while let Some(part) = stored.next(reads).await? {
            scanner.push(part.as_ref());
            yield_if_needed().await;
        }
        let structure = scanner.finish();
        let mut survey = Survey::new(&structure, &mime::Limits::DEFAULT, target);
        let mut stored = self.unsigned();
        while let Some(part) = stored.next(reads).await? {
            survey.push(part.as_ref());
            yield_if_needed().await;
        }
        Ok(survey.finish()?)
    }

    async fn sign(&self, shard: &Shard, reader: Reader) -> String {
        if self.signer == Signer::Nobody {
            return String::new();
        }
        let content = match reader.finish() {
            Ok(content) => content,
            Err(error) => return signing::failed(shard, None, &error),
        };
        let by = match self.signer {
            Signer::Server => Some(By::Server(shard.shared.config.hostname.domain().clone())),
            _ => content.header.named("From").next().and_then(|field| By::author(field.value)),
        };
        let message = ToSign { header: content.header.octets().to_vec(), hashes: content.hashes };
        match by {
            Some(by) => signing::sign(shard, by, message).await,
            None => String::new(),
        }
    }
}

impl Fit {
    /// What MAIL says of it.
    pub(super) const fn body(&self) -> BodyType {
        match self.target {
            Target::SevenBit => BodyType::SevenBit,
            Target::EightBit => BodyType::EightBitMime,
        }
    }
}

/// Octets of the signatures that a prefix begins with. All of a prefix is ours, so these are, too.
fn signatures(prefix: &[u8]) -> usize {
    mime::header::fields(prefix)
        .take_while(|field| field.name.eq_ignore_ascii_case(b"DKIM-Signature"))
        .map(|field| field.octets.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_in_front_are_found_and_others_are_not() {
        let own = b"DKIM-Signature: a=1;\r\n b=2\r\nDKIM-Signature: c\r\n";
        for rest in ["", "Received: x\r\n", "Received: x\r\nDKIM-Signature: theirs\r\n"] {
            assert_eq!(signatures(&[own, rest.as_bytes()].concat()), own.len());
            assert_eq!(signatures(rest.as_bytes()), 0);
        }
    }
}
