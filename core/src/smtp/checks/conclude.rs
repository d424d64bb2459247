//! From the end of a message's content to the decision about it (product 1.11).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use postrider_authentication::content::Content;
use postrider_authentication::dmarc::{self, Author};
use postrider_authentication::{iprev, spf};
use postrider_proto::address::{Address, Domain};
use postrider_proto::dkim::header::HeaderError;
use postrider_proto::mime::{FieldName, Structure};
use postrider_proto::public_suffix::{Division, organizational_domain};
use postrider_proto::smtp::Reply;
use postrider_proto::smtp::body::ContentFacts;
use postrider_proto::smtp::envelope::Envelope;
use postrider_proto::smtp::reply::Class;
use postrider_proto::smtp::trace::Charset;
use postrider_storage::rows::{EvaluationRow, ReportTodoRow};
use ring::rand::{SecureRandom, SystemRandom};
use tracing::info;

use super::blocklists::Said;
use super::decision::{Decision, Findings, Treatment, decide, fails_dmarc};
use super::examination::{Evidence, Timed, Transaction, dmarc, gather};
use super::rules::Facts;
use super::{evaluation, reported, results};
use crate::clock::unix_now;
use crate::lookup::Questions;
use crate::metrics::{self, Finding, Method, Reason, Verdict};
use crate::smtp::connection::Connection;
use crate::smtp::first_time::Confirmed;
use crate::smtp::recipients::{Judgement, Place, Target};
use crate::webhooks::Arrival;

const HEADER_TOO_LARGE: Reply =
    Reply::new(Class::Permanent, 54, (6, 0), "the header is too large to find out whose message it is");

/// A message at its end.
pub(in crate::smtp) struct Received<'a> {
    /// What was said of it.
    pub(in crate::smtp) envelope: &'a Envelope,
    /// Its header as it came, and what its signatures need.
    pub(in crate::smtp) signed: &'a Result<Content, HeaderError>,
    /// What was seen of its form.
    pub(in crate::smtp) facts: &'a ContentFacts,
    /// Its parts.
    pub(in crate::smtp) structure: &'a Structure,
    /// Its author, when it has exactly one.
    pub(in crate::smtp) from: Option<&'a Address>,
}

/// What was found out and decided.
#[derive(Debug)]
pub(in crate::smtp) struct Conclusion {
    /// The client's name, when it is its own.
    pub(in crate::smtp) reverse_name: Option<Domain>,
    /// `Authentication-Results` and `Received-SPF`, by why what DMARC says doesn't count.
    pub(in crate::smtp) fields: Fields,
    /// What is behind each recipient, where it was decided that it takes the message.
    pub(in crate::smtp) places: Vec<Place>,
    /// Whether the message is from whom it says.
    pub(in crate::smtp) confirmed: Confirmed,
    /// Whether a report to its sender reaches who sent it.
    pub(in crate::smtp) reports: Reports,
    /// What is kept for reports of DMARC.
    pub(in crate::smtp) evaluations: Vec<EvaluationRow>,
    /// What programs of its recipients are told besides the message.
    pub(in crate::smtp) arrival: Arrival,
    /// What is noted of the report that may be in it.
    pub(in crate::smtp) reported: Option<ReportTodoRow>,
}

/// Fields of results; those of most messages are the same for all recipients.
pub(in crate::smtp) type Fields = BTreeMap<Option<&'static str>, String>;

/// Whether the sender of a message may be told that some of its recipients didn't get it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::smtp) enum Reports {
    /// It is the real one.
    ToSender,
    /// It may be anybody, who never sent the message.
    ToNobody,
}

/// One way in which recipients decide.
struct Way {
    decision: Decision,
    dmarc_override: Option<&'static str>,
    /// Refused, and kept where such mail goes.
    is_kept: bool,
    /// It comes to where reports of others are read.
    is_reported_to: bool,
}

impl Connection {
    /// Finds out what can be found out about a message from outside, and lets its recipients decide. Refused when that
    /// can't be done; also when the server stops meanwhile.
    pub(in crate::smtp) async fn conclude(
        &self,
        received: Received<'_>,
        targets: Vec<Target>,
    ) -> Result<Conclusion, Reply> {
        let Received { envelope, signed, facts, structure, from } = received;
        let hostname = &self.service.settings.hostname;
        let known = self.known_facts(&received, &targets);
        let (Some(questions), Some(hello)) = (self.questions.clone(), self.session.hello()) else {
            self.count_decision(&Decision { reason: Reason::Unchecked, refusal: None });
            let places = self.places(targets, envelope, from, known).await?;
            let kinds = reported::kinds(&places);
            return Ok(Conclusion {
                reverse_name: None,
                fields: [(None, results::field(hostname, &[], charset(envelope)))].into(),
                places,
                confirmed: Confirmed::No,
                reports: Reports::ToNobody,
                evaluations: Vec::new(),
                arrival: self.arrival(envelope),
                reported: (!kinds.is_empty()).then(|| reported::unconfirmed(kinds, from, unix_now())),
            });
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
        let Some(author) = author(signed, facts, structure) else {
            let refusal = Some(HEADER_TOO_LARGE);
            self.count_decision(&Decision { reason: Reason::HeaderTooLarge, refusal });
            return Err(HEADER_TOO_LARGE);
        };
        let work = self.examine(&questions, transaction, signed, &author);
        let (evidence, dmarc, voucher) = self.unless_stopping(work).await.ok_or(Reply::SHUTTING_DOWN)?;
        self.count_findings(&evidence, &dmarc);
        let confirmed = confirmed(&author, &evidence);
        let findings = findings(&evidence, &dmarc.value, voucher.as_ref(), confirmed);
        let facts = known.with_evidence(&hello.name, &evidence);
        let places = self.places(targets, envelope, from, facts).await?;
        let asked = self.unless_stopping(self.ask_lists(&questions, findings, &places)).await;
        let findings = asked.ok_or(Reply::SHUTTING_DOWN)?;
        self.count_questions();
        let (places, ways) = self.decide(&findings, places);
        info!(
            cid = %self.id,
            peer = %self.peer,
            spf = evidence.spf.value.result.word(),
            dkim = evidence.dkim.value.iter().filter(|one| one.result.word() == "pass").count(),
            dmarc = dmarc.value.result.word(),
            author = dmarc.value.domain.as_ref().map_or("", |domain| domain.as_str()),
            reason = ways.iter().map(|way| way.decision.reason.name()).collect::<Vec<_>>().join(" "),
            "checked"
        );
        let spf_field = received_spf(transaction, &evidence.spf.value, charset(envelope)).await;
        let fields_of = |dmarc_override| {
            let results = results::all(&evidence, &dmarc.value, voucher.as_ref(), dmarc_override);
            results::field(hostname, &results, charset(envelope)) + &spf_field
        };
        let is_report = dmarc.value.result == dmarc::DmarcResult::Pass && is_report(structure);
        let evaluated = |way: &Way| {
            let Way { decision, dmarc_override, is_kept, is_reported_to } = way;
            let treatment = evaluation::Treated {
                decision,
                dmarc_override: *dmarc_override,
                is_kept: *is_kept,
                is_about_reports: *is_reported_to || is_report,
            };
            evaluation::row(self.peer, envelope, &evidence, &dmarc.value, voucher.is_some(), &treatment)
        };
        let mut evaluations: Vec<EvaluationRow> = Vec::new();
        for row in ways.iter().filter_map(evaluated) {
            if !evaluations.contains(&row) {
                evaluations.push(row);
            }
        }
        let reported =
            self.reported(&questions, (signed, transaction.now), from, &places, (&evidence, &dmarc.value));
        let reported = self.unless_stopping(reported).await.ok_or(Reply::SHUTTING_DOWN)?;
        Ok(Conclusion {
            reverse_name: evidence
                .iprev
                .value
                .name
                .clone()
                .filter(|_| evidence.iprev.value.result == iprev::IprevResult::Pass),
            fields: ways.iter().map(|way| (way.dmarc_override, fields_of(way.dmarc_override))).collect(),
            places,
            confirmed,
            reports: reports(envelope, &evidence, &dmarc.value),
            evaluations,
            arrival: with_evidence(self.arrival(envelope), &evidence, confirmed),
            reported,
        })
    }

    /// What is told of where a message came from, as long as nothing is found out.
    pub(in crate::smtp) fn arrival(&self, envelope: &Envelope) -> Arrival {
        Arrival {
            mail_from: envelope.reverse_path.address().map(Address::to_string).unwrap_or_default(),
            remote: Some(self.peer),
            received: unix_now(),
            ..Arrival::default()
        }
    }

    /// What is noted of the report that may be in a message; none where no reports are read.
    async fn reported(
        &self,
        questions: &Questions,
        (signed, now): (&Result<Content, HeaderError>, u64),
        from: Option<&Address>,
        places: &[Place],
        (evidence, dmarc): (&Evidence, &dmarc::Verdict),
    ) -> Option<ReportTodoRow> {
        let kinds = reported::kinds(places);
        if kinds.is_empty() {
            return None;
        }
        let todo = reported::unconfirmed(kinds, from, now.cast_signed());
        let mut todo = reported::confirm(todo, evidence, dmarc);
        if let Ok(content) = signed
            && kinds.tls
            && reported::has_key_for_reports(evidence)
        {
            // The keys were asked for before; these are answers that are remembered.
            let again = questions.afresh(reported::SIGNATURES_MAX);
            again.limit_time(Instant::now() + self.service.listener.checks.time);
            todo.tls_signers = reported::tls_signers(content, now, &again).await;
        }
        Some(todo)
    }

    /// What rules look at, as far as it is known without checks.
    pub(in crate::smtp) fn known_facts(&self, received: &Received<'_>, targets: &[Target]) -> Facts {
        let known = Facts::new(received.envelope, received.from);
        match received.signed {
            Ok(content) if targets.iter().any(Target::needs_header) => {
                known.with_header(&content.header, &self.service.hostnames)
            }
            _ => known,
        }
    }

    async fn examine(
        &self,
        questions: &Questions,
        transaction: Transaction<'_>,
        signed: &Result<Content, HeaderError>,
        author: &Author,
    ) -> (Evidence, Timed<dmarc::Verdict>, Option<Domain>) {
        let checks = &self.service.listener.checks;
        questions.limit_time(Instant::now() + checks.time);
        let evidence = gather(questions, transaction, signed, self.spf.clone()).await;
        // Questions of its own: a message that used up the others must not get around the policy of its author.
        let of_dmarc = questions.afresh(dmarc::QUERIES_MAX);
        of_dmarc.limit_time(Instant::now() + checks.time);
        let dmarc = dmarc(&of_dmarc, &evidence, author, sample()).await;
        let voucher = results::voucher(&evidence.arc.value, &checks.trusted_sealers, author);
        (evidence, dmarc, voucher)
    }

    /// Asks blocklists, when any recipient would accept the message without them and not with them. They learn only of
    /// such clients.
    async fn ask_lists(&self, questions: &Questions, findings: Findings, places: &[Place]) -> Findings {
        let checks = &self.service.listener.checks;
        questions.limit_time(Instant::now() + checks.time);
        let depends = |treatment: &Treatment| {
            !treatment.is_list && decide(&findings, checks, treatment).refusal.is_none()
        };
        let mut treatments = places.iter().flat_map(Place::treatments);
        if !treatments.any(depends) {
            return findings;
        }
        for list in &checks.blocklists {
            let began = Instant::now();
            let said = self.service.lists.ask(questions, list, self.peer).await;
            self.count_finding(Method::Blocklist, blocklist_finding(said), began.elapsed());
            if said == Said::Listed {
                return Findings { blocklist: Some(list.clone()), ..findings };
            }
        }
        findings
    }

    /// Lets all recipients decide, and gives in which ways they do.
    fn decide(&self, findings: &Findings, places: Vec<Place>) -> (Vec<Place>, Vec<Way>) {
        let checks = &self.service.listener.checks;
        let fails_dmarc = fails_dmarc(findings);
        let mut ways: Vec<Way> = Vec::new();
        let judge = |place: Place| {
            place.judge(|drop| {
                let decision = decide(findings, checks, &drop.ruled.treatment);
                let dmarc_override = drop.ruled.treatment.dmarc_override().filter(|_| fails_dmarc);
                let is_kept = drop.keeps(&decision);
                let is_reported_to = !drop.ruled.reads.is_empty();
                let known = |way: &Way| {
                    way.decision.reason == decision.reason
                        && (way.dmarc_override, way.is_kept) == (dmarc_override, is_kept)
                        && way.is_reported_to == is_reported_to
                };
                if !ways.iter().any(known) {
                    self.count_decision(&decision);
                    let decision = decision.clone();
                    ways.push(Way { decision, dmarc_override, is_kept, is_reported_to });
                }
                Judgement { decision, dmarc_override }
            })
        };
        let places = places.into_iter().map(judge).collect();
        if ways.is_empty() {
            // Nobody is there who decides, such as when the queue gets it, or an alias whose only member wrote it.
            let decision = decide(findings, checks, &Treatment::default());
            self.count_decision(&decision);
            ways.push(Way { decision, dmarc_override: None, is_kept: false, is_reported_to: false });
        }
        (places, ways)
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
        if self.is_sender_confirmed() { Ok(()) } else { Err(ONE_RECIPIENT) }
    }

    /// Whether SPF passed for MAIL FROM, as far as it was asked yet.
    pub(in crate::smtp) fn is_sender_confirmed(&self) -> bool {
        self.spf.as_ref().is_some_and(|spf| is_confirmed_by(&spf.value))
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

/// Whether a message says that it is a report of another server: what the subjects of both kinds have in common (RFC 7489
/// §7.2.1.1, RFC 8460 §5.3).
fn is_report(structure: &Structure) -> bool {
    const SUBJECT: &[u8] = b"Report Domain:";
    let subject = structure.root().field(FieldName::Subject).map(<[u8]>::trim_ascii);
    subject
        .and_then(|subject| subject.get(..SUBJECT.len()))
        .is_some_and(|start| start.eq_ignore_ascii_case(SUBJECT))
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

fn findings(
    evidence: &Evidence,
    dmarc: &dmarc::Verdict,
    voucher: Option<&Domain>,
    confirmed: Confirmed,
) -> Findings {
    Findings {
        author_confirmed: confirmed == Confirmed::Yes,
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

fn charset(envelope: &Envelope) -> Charset {
    if envelope.smtputf8 { Charset::Utf8 } else { Charset::Ascii }
}

/// Whether SPF says that the client may send for the domain in MAIL FROM.
fn is_confirmed_by(spf: &spf::Verdict) -> bool {
    spf.result == spf::SpfResult::Pass && spf.identity == spf::Identity::MailFrom
}

/// Whether a report would come to who sent the message. That DMARC passes for the author says nothing about MAIL FROM,
/// unless that is of the same organization: whoever signs for a domain of its own could name any victim there.
fn reports(envelope: &Envelope, evidence: &Evidence, dmarc: &dmarc::Verdict) -> Reports {
    let organization = |domain: &Domain| organizational_domain(domain, Division::Icann);
    let sender = envelope.reverse_path.address().map(|address| &address.domain);
    let is_of_author = match (sender, &dmarc.domain) {
        (Some(sender), Some(author)) => {
            sender == author
                || organization(sender).is_some_and(|domain| organization(author) == Some(domain))
        }
        _ => false,
    };
    let by_dmarc = dmarc.result == dmarc::DmarcResult::Pass && is_of_author;
    if is_confirmed_by(&evidence.spf.value) || by_dmarc { Reports::ToSender } else { Reports::ToNobody }
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
/// Adds what was found out.
fn with_evidence(arrival: Arrival, evidence: &Evidence, confirmed: Confirmed) -> Arrival {
    let spf = &evidence.spf.value;
    let passed = evidence.dkim.value.iter().filter(|one| one.result.word() == "pass");
    Arrival {
        mail_from_validated: spf.result == spf::SpfResult::Pass && spf.identity == spf::Identity::MailFrom,
        msg_from_validated: confirmed == Confirmed::Yes,
        dkim_domains: passed.filter_map(|one| one.domain.as_ref().map(ToString::to_string)).collect(),
        ..arrival
    }
}
