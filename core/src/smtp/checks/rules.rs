//! Which rule of a destination matches a message, and what follows (product 8.6).
//!
//! Pure, and bounded: what is matched and compiled for one message has a budget. When that is used up no further rule
//! matches, so mail goes where it would without rules, and is judged no less strictly.

use postrider_authentication::spf::{self, SpfResult};
use postrider_proto::address::{Address, Domain, HeloName};
use postrider_proto::dkim::header::Header;
use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::smtp::body::ResultsFilter;
use postrider_proto::smtp::envelope::Envelope;
use postrider_storage::directory::{Destination, HeaderPattern, MailRule, Pattern, ReportKinds};

use super::decision::Treatment;
use super::examination::Evidence;

/// Octets of names and values that rules look at: fields beyond them match nothing.
const FIELDS_OCTETS_MAX: usize = 64 << 10;
/// Octets that are searched for one message, for all of its recipients together.
const SEARCHED_OCTETS_MAX: usize = 64 << 20;
/// What compiling an expression counts for, in octets searched.
const COMPILING_OCTETS: usize = 64 << 10;

/// What rules look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::smtp) struct Facts {
    /// The address in MAIL FROM, in Unicode.
    mail_from: Option<String>,
    /// The address in the From field, in Unicode.
    msg_from: Option<String>,
    /// The domain in MAIL FROM, when SPF passed for it.
    sender: Option<Domain>,
    /// The name in HELO, when SPF passed for it.
    hello: Option<Domain>,
    /// Domains whose signatures passed.
    signers: Vec<Domain>,
    /// Names and values of fields, in lower case.
    fields: Vec<(String, String)>,
}

impl Facts {
    /// What is known without any check.
    pub(in crate::smtp) fn new(envelope: &Envelope, from: Option<&Address>) -> Self {
        Self {
            mail_from: envelope.reverse_path.address().map(Address::unicode),
            msg_from: from.map(Address::unicode),
            ..Self::default()
        }
    }

    /// Adds what checks found out.
    pub(in crate::smtp) fn with_evidence(self, hello: &HeloName, evidence: &Evidence) -> Self {
        let spf = &evidence.spf.value;
        let domain = || (spf.result == SpfResult::Pass).then(|| Domain::parse(&spf.domain).ok()).flatten();
        let (sender, hello) = match spf.identity {
            spf::Identity::MailFrom => (domain(), None),
            spf::Identity::Helo => (None, domain().filter(|domain| hello.domain() == Some(domain))),
        };
        let passed = evidence.dkim.value.iter().filter(|one| one.result.word() == "pass");
        Self { sender, hello, signers: passed.filter_map(|one| one.domain.clone()).collect(), ..self }
    }

    /// Adds that the sender, one of our own users, was allowed to use its addresses.
    pub(in crate::smtp) fn of_own_user(self, from: Option<&Address>) -> Self {
        Self { sender: from.map(|from| from.domain.clone()), ..self }
    }

    /// Adds the fields of a header. Results that claim to be of one of `ours` are no more believed than in what is stored.
    pub(in crate::smtp) fn with_header(mut self, header: &Header, ours: &[Domain]) -> Self {
        let mut filter = ResultsFilter::new(ours.to_vec());
        let mut octets = Vec::with_capacity(header.octets().len());
        filter.push(header.octets(), &mut octets);
        filter.finish(&mut octets);
        let Ok(header) = Header::parse(octets) else { return self };
        let mut room = FIELDS_OCTETS_MAX;
        for field in header.fields() {
            let lower = |octets: &[u8]| String::from_utf8_lossy(octets).to_lowercase();
            let value = lower(field.value).replace(['\r', '\n'], "");
            let field = (lower(field.name), value.trim().to_owned());
            let Some(left) = room.checked_sub(field.0.len() + field.1.len()) else { break };
            room = left;
            self.fields.push(field);
        }
        self
    }

    /// Whether a domain, or one below it, is verified.
    fn is_verified(&self, domain: &Domain) -> bool {
        let mut verified = self.sender.iter().chain(&self.hello).chain(&self.signers);
        verified.any(|one| one.is_at_or_below(domain))
    }

    /// Whether just this domain is verified as that of a mailing list.
    fn is_list(&self, domain: &Domain) -> bool {
        self.sender.iter().chain(&self.signers).any(|one| one == domain)
    }
}

/// What may still be searched for a message.
pub(in crate::smtp) struct Budget(usize);

impl Default for Budget {
    fn default() -> Self {
        Self(SEARCHED_OCTETS_MAX)
    }
}

impl Budget {
    /// Whether all of it is gone, so that some rule may not have been tried.
    pub(in crate::smtp) const fn is_used_up(&self) -> bool {
        self.0 == 0
    }

    fn spend(&mut self, octets: usize) -> bool {
        let enough = self.0 > octets;
        self.0 = if enough { self.0 - octets } else { 0 };
        enough
    }

    /// Whether a pattern matches one of some texts; none does when there is no text.
    fn finds<'a>(
        &mut self,
        pattern: &Pattern,
        texts: impl IntoIterator<Item = &'a str>,
    ) -> Option<Vec<bool>> {
        if !self.spend(COMPILING_OCTETS) {
            return None;
        }
        // It was right when it was set.
        let matcher = pattern.compile().ok()?;
        texts.into_iter().map(|text| self.spend(text.len()).then(|| matcher.is_match(text))).collect()
    }

    fn is_match(&mut self, pattern: Option<&Pattern>, text: Option<&String>) -> bool {
        match (pattern, text) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(pattern), Some(text)) => self.finds(pattern, [text.as_str()]) == Some(vec![true]),
        }
    }

    fn has_field(&mut self, pattern: &HeaderPattern, fields: &[(String, String)]) -> bool {
        let Some(names) = self.finds(&pattern.name, fields.iter().map(|(name, _)| name.as_str())) else {
            return false;
        };
        let named = fields.iter().zip(names).filter(|(_, is_named)| *is_named);
        let values: Vec<_> = named.map(|((_, value), _)| value.as_str()).collect();
        !values.is_empty() && self.finds(&pattern.value, values).is_some_and(|found| found.contains(&true))
    }
}

/// Whether all conditions of a rule hold; those that cost nothing are looked at first.
fn matches(rule: &MailRule, facts: &Facts, budget: &mut Budget) -> bool {
    rule.verified_domain.as_ref().is_none_or(|domain| facts.is_verified(domain))
        && budget.is_match(rule.mail_from.as_ref(), facts.mail_from.as_ref())
        && budget.is_match(rule.msg_from.as_ref(), facts.msg_from.as_ref())
        && rule.headers.iter().all(|header| budget.has_field(header, &facts.fields))
}

/// Whether a rule says something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::smtp) enum ByRule {
    /// It does.
    Yes,
    /// It doesn't.
    No,
}

/// Where a message goes, and how it is treated there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::smtp) struct Ruled {
    /// The mailbox.
    pub(in crate::smtp) mailbox: MailboxName,
    /// Whether a rule names it, so that it is made when it is missing.
    pub(in crate::smtp) by_rule: ByRule,
    /// Where it goes when it would be refused.
    pub(in crate::smtp) accept_rejects_to: Option<MailboxName>,
    /// What counts for and against it.
    pub(in crate::smtp) treatment: Treatment,
    /// Which reports are read of what comes here.
    pub(in crate::smtp) reads: ReportKinds,
}

impl Ruled {
    /// What becomes of mail where nothing is set.
    pub(in crate::smtp) fn plain(mailbox: MailboxName) -> Self {
        Self {
            mailbox,
            by_rule: ByRule::No,
            accept_rejects_to: None,
            treatment: Treatment::default(),
            reads: ReportKinds::default(),
        }
    }
}

/// Applies the first rule that matches.
pub(in crate::smtp) fn apply(
    mailbox: MailboxName,
    destination: Destination,
    facts: &Facts,
    budget: &mut Budget,
) -> Ruled {
    let Destination { rules, auth_required, reports } = destination;
    let mut ruled = Ruled { reads: reports, ..Ruled::plain(mailbox) };
    ruled.treatment.auth_required = auth_required;
    let Some(rule) = rules.into_iter().find(|rule| matches(rule, facts, budget)) else { return ruled };
    ruled.treatment.is_list = rule.list_allow_domain.is_some_and(|domain| facts.is_list(&domain));
    ruled.treatment.is_forward = rule.is_forward;
    ruled.accept_rejects_to = rule.accept_rejects_to;
    if let Some(mailbox) = rule.mailbox {
        (ruled.mailbox, ruled.by_rule) = (mailbox, ByRule::Yes);
    }
    ruled
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn domain(text: &str) -> Domain {
        Domain::parse(text).unwrap()
    }

    fn pattern(text: &str) -> Option<Pattern> {
        Some(Pattern::new(text).unwrap())
    }

    fn header(name: &str, value: &str) -> HeaderPattern {
        HeaderPattern { name: Pattern::new(name).unwrap(), value: Pattern::new(value).unwrap() }
    }

    fn facts() -> Facts {
        let facts = Facts {
            mail_from: Some("bounce+1@lists.example".into()),
            msg_from: Some("jörg@bücher.example".into()),
            sender: Some(domain("lists.example")),
            hello: None,
            signers: vec![domain("mail.other.example")],
            fields: Vec::new(),
        };
        let fields = "List-ID: News\r\n <News.Lists.Example>\r\nX-A: 1\r\nX-B: 2\r\n\
                      Authentication-Results: us.example; dmarc=pass\r\nX-A: 3\r\n\r\n";
        facts.with_header(&Header::parse(fields.into()).unwrap(), &[domain("us.example")])
    }

    #[test]
    fn all_conditions_of_a_rule_must_hold() {
        let verified = |name| MailRule { verified_domain: Some(domain(name)), ..MailRule::default() };
        let mail_from = |text| MailRule { mail_from: pattern(text), ..MailRule::default() };
        let msg_from = |text| MailRule { msg_from: pattern(text), ..MailRule::default() };
        let headers = |pairs: &[(&str, &str)]| MailRule {
            headers: pairs.iter().map(|(name, value)| header(name, value)).collect(),
            ..MailRule::default()
        };
        let (usual, anonymous) = (facts(), Facts { mail_from: None, sender: None, ..facts() });
        let greeted = Facts { hello: Some(domain("mx.greeter.example")), ..Facts::default() };
        for (rule, facts, expected) in [
            (verified("lists.example"), &usual, true),
            (verified("example"), &usual, true),
            (verified("other.example"), &usual, true),
            (verified("mail.other.example"), &usual, true),
            (verified("x.mail.other.example"), &usual, false),
            (verified("lists.example"), &anonymous, false),
            (verified("greeter.example"), &greeted, true),
            (mail_from("^bounce[+].*@lists[.]example$"), &usual, true),
            (mail_from("^bounce$"), &usual, false),
            (mail_from(".*"), &anonymous, false),
            (msg_from("@bücher[.]example$"), &usual, true),
            (msg_from("xn--"), &usual, false),
            (headers(&[("^list-id$", "<news[.]lists[.]example>$")]), &usual, true),
            (headers(&[("^list-id$", "^news <")]), &usual, true),
            (headers(&[("^List-Id$", "News")]), &usual, false),
            (headers(&[("^x-a$", "3"), ("^x-b$", "2")]), &usual, true),
            (headers(&[("^x-a$", "3"), ("^x-b$", "3")]), &usual, false),
            (headers(&[("^x-b$", "1")]), &usual, false),
            (headers(&[("^x-c$", ".*")]), &usual, false),
            // Whoever sends it could claim anything.
            (headers(&[("authentication-results", "dmarc=pass")]), &usual, false),
            (MailRule { mail_from: pattern("lists"), ..verified("lists.example") }, &usual, true),
            (MailRule { mail_from: pattern("lists"), ..verified("else.example") }, &usual, false),
        ] {
            let found = matches(&rule, facts, &mut Budget::default());
            assert_eq!(found, expected, "{rule:?} {facts:?}");
        }
    }

    #[test]
    fn the_first_rule_that_matches_counts() {
        let mailbox = |text: &str| MailboxName::new(text).unwrap();
        let to = |text, name| MailRule {
            msg_from: pattern(text),
            mailbox: Some(mailbox(name)),
            ..MailRule::default()
        };
        let stop = MailRule { msg_from: pattern("jörg"), ..MailRule::default() };
        for (rules, expected) in [
            (vec![], "Own"),
            (vec![to("nobody", "A"), to("jörg", "B"), to("jörg", "C")], "B"),
            (vec![stop, to("jörg", "B")], "Own"),
        ] {
            let auth_required = Some("who".into());
            let destination = Destination { rules, auth_required, ..Destination::default() };
            let ruled = apply(mailbox("Own"), destination, &facts(), &mut Budget::default());
            assert_eq!(ruled.mailbox.as_str(), expected);
            assert_eq!(ruled.treatment.auth_required.as_deref(), Some("who"));
        }
    }

    #[test]
    fn a_list_is_verified_by_just_its_domain() {
        let rule = |list| MailRule {
            verified_domain: Some(domain("example")),
            list_allow_domain: Some(domain(list)),
            ..MailRule::default()
        };
        let greeted = Facts { hello: Some(domain("lists.example")), sender: None, ..facts() };
        for (list, facts, expected) in [
            ("lists.example", facts(), true),
            ("mail.other.example", facts(), true),
            ("other.example", facts(), false),
            ("example", facts(), false),
            ("lists.example", greeted, false),
        ] {
            let destination = Destination { rules: vec![rule(list)], ..Destination::default() };
            let ruled = apply(MailboxName::inbox(), destination, &facts, &mut Budget::default());
            assert_eq!(ruled.treatment.is_list, expected, "{list}");
        }
    }

    #[test]
    fn what_is_searched_is_bounded_and_so_are_fields() {
        let rule = MailRule { headers: vec![header("^x$", "b$")], ..MailRule::default() };
        let field = format!("X: {}b\r\n", "a".repeat(30_000));
        let of = |count: usize| {
            let header = Header::parse(format!("{}\r\n", field.repeat(count)).into()).unwrap();
            Facts::default().with_header(&header, &[])
        };
        assert_eq!(of(2).fields.len(), 2);
        assert_eq!(of(3).fields.len(), 2, "what is beyond the room for fields is not looked at");
        let mut budget = Budget::default();
        let facts = of(2);
        let each = 2 * COMPILING_OCTETS + 2 + 2 * 30_001;
        let most = SEARCHED_OCTETS_MAX / each;
        assert!((0..most).all(|_| matches(&rule, &facts, &mut budget)));
        assert!(!matches(&rule, &facts, &mut budget) && budget.is_used_up());
        let cheap = MailRule { msg_from: pattern("a"), ..MailRule::default() };
        assert!(!matches(&cheap, &facts, &mut budget));
    }
}
