//! From the end of a message's content to the decision about it (product 1.11).

use std::time::{Duration, Instant};

use postrider_authentication::content::Content;
use postrider_authentication::dmarc::{self, Author};
use postrider_authentication::{iprev, spf};
use postrider_proto::address::Domain;
use postrider_proto::dkim::header::HeaderError;
use postrider_proto::mime::{FieldName, Structure};
use postrider_proto::public_suffix::{Division, organizational_domain};
use postrider_proto::smtp::Reply;
use postrider_proto::smtp::body::ContentFacts;
use postrider_proto::smtp::envelope::Envelope;
use postrider_proto::smtp::reply::Class;
use postrider_proto::smtp::trace::Charset;
use postrider_storage::rows::EvaluationRow;
use ring::rand::{SecureRandom, SystemRandom};
use tracing::info;

use super::blocklists::Said;
use super::decision::{Decision, Findings, decide};
use super::examination::{Evidence, Timed, Transaction, dmarc, gather};
use super::{evaluation, results};
use crate::clock::unix_now;
use crate::lookup::Questions;
use crate::metrics::{self, Finding, Method, Reason, Verdict};
use crate::smtp::connection::Connection;
use crate::smtp::first_time::Confirmed;

const HEADER_TOO_LARGE: Reply =
    Reply::new(Class::Permanent, 54, (6, 0), "the header is too large to find out whose message it is");

/// What was found out and decided.
#[derive(Debug)]
pub(in crate::smtp) struct Conclusion {
    /// The client's name, when it is its own.
    pub(in crate::smtp) reverse_name: Option<Domain>,
    /// `Authentication-Results` and `Received-SPF`.
    pub(in crate::smtp) fields: String,
    /// What becomes of the message.
    pub(in crate::smtp) decision: Decision,
    /// Whether it is from whom it says.
    pub(in crate::smtp) confirmed: Confirmed,
    /// What is kept for reports.
    pub(in crate::smtp) evaluation: Option<EvaluationRow>,
}

impl Connection {
    /// Finds out what can be found out about a message from outside, and decides what becomes of it. None when the
    /// server stops meanwhile.
    pub(in crate::smtp) async fn conclude(
        &self,
        envelope: &Envelope,
        signed: Result<Content, HeaderError>,
        facts: &ContentFacts,
        structure: &Structure,
    ) -> Option<Conclusion> {
        let charset = if envelope.smtputf8 { Charset::Utf8 } else { Charset::Ascii };
        let hostname = &self.service.settings.hostname;
        let (Some(questions), Some(hello)) = (self.questions.clone(), self.session.hello()) else {
            let decision = Decision { reason: Reason::Unchecked, refusal: None };
            self.count_decision(&decision);
            let fields = results::field(hostname, &[], charset);
            let (reverse_name, evaluation) = (None, None);
            return Some(Conclusion { reverse_name, fields, decision, confirmed: Confirmed::No, evaluation });
        };
        let transaction = Transaction {
            client: self.peer,
            hello: &hello.name,
            envelope,
            receiver: hostname,
            now: u64::try_from(unix_now()).unwrap_or(0),
        };
        if signed.is_err() {
            self.count_limit(metrics::Limit::HeaderOctets);
        }
        let Some(author) = author(&signed, facts, structure) else {
            let decision = Decision { reason: Reason::HeaderTooLarge, refusal: Some(HEADER_TOO_LARGE) };
            self.count_decision(&decision);
            let (reverse_name, fields, evaluation) = (None, String::new(), None);
            return Some(Conclusion { reverse_name, fields, decision, confirmed: Confirmed::No, evaluation });
        };
        let work = self.examine(&questions, transaction, &signed, &author);
        let (evidence, dmarc, voucher, blocklist) = self.unless_stopping(work).await?;
        let findings = Findings { blocklist, ..findings(&evidence, &dmarc.value, voucher.as_ref()) };
        let decision = decide(&findings, &self.service.listener.checks);
        let fields =
            results::field(hostname, &results::all(&evidence, &dmarc.value, voucher.as_ref()), charset)
                + &received_spf(transaction, &evidence.spf.value, charset).await;
        self.count_questions();
        self.count_findings(&evidence, &dmarc);
        self.count_decision(&decision);
        info!(
            cid = %self.id,
            peer = %self.peer,
            spf = evidence.spf.value.result.word(),
            dkim = evidence.dkim.value.iter().filter(|one| one.result.word() == "pass").count(),
            dmarc = dmarc.value.result.word(),
            author = dmarc.value.domain.as_ref().map_or("", |domain| domain.as_str()),
            reason = decision.reason.name(),
            "checked"
        );
        let is_vouched_for = voucher.is_some();
        Some(Conclusion {
            reverse_name: evidence
                .iprev
                .value
                .name
                .clone()
                .filter(|_| evidence.iprev.value.result == iprev::IprevResult::Pass),
            fields,
            confirmed: confirmed(&author, &evidence),
            evaluation: evaluation::row(
                self.peer,
                envelope,
                &evidence,
                &dmarc.value,
                is_vouched_for,
                &decision,
            ),
            decision,
        })
    }

    async fn examine(
        &self,
        questions: &Questions,
        transaction: Transaction<'_>,
        signed: &Result<Content, HeaderError>,
        author: &Author,
    ) -> (Evidence, Timed<dmarc::Verdict>, Option<Domain>, Option<Domain>) {
        let checks = &self.service.listener.checks;
        questions.limit_time(Instant::now() + checks.time);
        let evidence = gather(questions, transaction, signed, self.spf.clone()).await;
        // Questions of its own: a message that used up the others must not get around the policy of its author.
        let of_dmarc = questions.afresh(dmarc::QUERIES_MAX);
        of_dmarc.limit_time(Instant::now() + checks.time);
        let dmarc = dmarc(&of_dmarc, &evidence, author, sample()).await;
        questions.limit_time(Instant::now() + checks.time);
        let voucher = results::voucher(&evidence.arc.value, &checks.trusted_sealers, author);
        // Lists learn only of clients that would be accepted without them.
        let so_far = decide(&findings(&evidence, &dmarc.value, voucher.as_ref()), checks);
        let mut listed = None;
        if so_far.refusal.is_none() {
            for list in &checks.blocklists {
                let began = Instant::now();
                let said = self.service.lists.ask(questions, list, self.peer).await;
                self.count_finding(Method::Blocklist, blocklist_finding(said), began.elapsed());
                if said == Said::Listed {
                    listed = Some(list.clone());
                    break;
                }
            }
        }
        (evidence, dmarc, voucher, listed)
    }

    /// Whether a message may have several recipients: what fails is told to the sender, who must be the real one
    /// (product 1.7). SPF is asked once for a message.
    pub(in crate::smtp) async fn several_recipients(&mut self) -> Result<(), Reply> {
        const ONE_RECIPIENT: Reply =
            Reply::new(Class::Transient, 52, (5, 3), "only one recipient is allowed without SPF pass");
        let checks = &self.service.listener.checks;
        let (Some(questions), Some(hello)) = (self.questions.clone(), self.session.hello()) else {
            return Ok(());
        };
        let Some(envelope) = self.session.envelope().filter(|envelope| !envelope.recipients.is_empty())
        else {
            return Ok(());
        };
        if checks.several_recipients_need_spf == crate::config::Switch::Off {
            return Ok(());
        }
        if self.spf.is_none() {
            let transaction = Transaction {
                client: self.peer,
                hello: &hello.name,
                envelope,
                receiver: &self.service.settings.hostname,
                now: u64::try_from(unix_now()).unwrap_or(0),
            };
            questions.limit_time(Instant::now() + checks.time);
            let spf = self.unless_stopping(transaction.spf(&*questions)).await.ok_or(Reply::SHUTTING_DOWN)?;
            self.spf = Some(spf);
        }
        let passed = self.spf.as_ref().is_some_and(|spf| {
            spf.value.result == spf::SpfResult::Pass && spf.value.identity == spf::Identity::MailFrom
        });
        if passed { Ok(()) } else { Err(ONE_RECIPIENT) }
    }

    fn count_finding(&self, method: Method, finding: Finding, took: Duration) {
        let known = &self.shard.shared.metrics;
        self.shard.recorder.increment(known.checks.findings.at([method as usize, finding as usize]));
        self.shard.recorder.observe_duration(known.checks.verify.at([method as usize]), took);
    }

    fn count_findings(&self, evidence: &Evidence, dmarc: &Timed<dmarc::Verdict>) {
        let count = |method, word, took| self.count_finding(method, finding(word), took);
        count(Method::Iprev, evidence.iprev.value.result.word(), evidence.iprev.took);
        count(Method::Spf, evidence.spf.value.result.word(), evidence.spf.took);
        count(Method::Arc, evidence.arc.value.status.word(), evidence.arc.took);
        count(Method::Dmarc, dmarc.value.result.word(), dmarc.took);
        for signature in &evidence.dkim.value {
            count(Method::Dkim, signature.result.word(), evidence.dkim.took);
        }
    }

    fn count_decision(&self, decision: &Decision) {
        let verdict = match &decision.refusal {
            None => Verdict::Accepted,
            Some(reply) if reply.class() == Class::Transient => Verdict::Deferred,
            Some(_) => Verdict::Refused,
        };
        let counter =
            self.shard.shared.metrics.checks.decisions.at([verdict as usize, decision.reason as usize]);
        self.shard.recorder.increment(counter);
    }
}

fn blocklist_finding(said: Said) -> Finding {
    match said {
        Said::Listed => Finding::Fail,
        Said::NotListed => Finding::Pass,
        Said::Nothing => Finding::Temperror,
    }
}

/// A result's word as a label.
fn finding(word: &str) -> Finding {
    let known = Finding::ALL.iter().find(|finding| finding.name() == word);
    known.copied().unwrap_or(Finding::None)
}

fn findings(evidence: &Evidence, dmarc: &dmarc::Verdict, voucher: Option<&Domain>) -> Findings {
    Findings {
        spf: evidence.spf.value.result,
        dkim_passed: evidence.dkim.value.iter().any(|one| one.result.word() == "pass"),
        dmarc: dmarc.result,
        policy: dmarc.applied,
        at_stake: dmarc.at_stake,
        vouched_for: voucher.is_some(),
        blocklist: None,
    }
}

/// Whose mail it says it is. Of a header that is too large, only what the structure has of it is known: one From field.
/// None when that isn't enough: such a header must be no way around what the author's domain wants.
fn author(
    signed: &Result<Content, HeaderError>,
    facts: &ContentFacts,
    structure: &Structure,
) -> Option<Author> {
    if let Ok(content) = signed {
        return Some(Author::of_header(content.header.octets()));
    }
    let value = structure.root().field(FieldName::From).filter(|_| facts.from_fields == 1)?;
    Some(Author::of_header(&[b"From:", value].concat()))
}

async fn received_spf(transaction: Transaction<'_>, spf: &spf::Verdict, charset: Charset) -> String {
    let sender = transaction.envelope.reverse_path.address().map(ToString::to_string);
    transaction.with_spf_query(async |query| spf.received_field(query, sender.as_deref(), charset)).await
}

/// Whether SPF or a signature stands for the author's domain, or one of the same organization, whatever that domain
/// says of DMARC.
fn confirmed(author: &Author, evidence: &Evidence) -> Confirmed {
    let Author::Domain(author) = author else { return Confirmed::No };
    let organization = |domain: &Domain| organizational_domain(domain, Division::Icann);
    let of_author = organization(author);
    let stands_for_it =
        |domain: &Domain| domain == author || (of_author.is_some() && organization(domain) == of_author);
    let spf = &evidence.spf.value;
    let by_spf = spf.result == spf::SpfResult::Pass
        && Domain::parse(&spf.domain).is_ok_and(|domain| stands_for_it(&domain));
    let by_signature = evidence
        .dkim
        .value
        .iter()
        .any(|one| one.result.word() == "pass" && one.domain.as_ref().is_some_and(&stands_for_it));
    if by_spf || by_signature { Confirmed::Yes } else { Confirmed::No }
}

/// A number from 0 to 99 by chance. Without chance, one to which every policy applies.
fn sample() -> u8 {
    let mut octets = [0; 4];
    match SystemRandom::new().fill(&mut octets) {
        // The bias of the remainder is less than one in ten million.
        Ok(()) => (u32::from_ne_bytes(octets) % 100) as u8,
        Err(_) => 0,
    }
}
