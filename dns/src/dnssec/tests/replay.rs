//! Reads the scripted resolutions of Unbound's `testbound`, and answers as the servers in them do.
//!
//! The script says what each authoritative server answers, and what a validating resolver then tells its client.
//! Between the two there is an iterative resolver here: no more of one than the scripts need.

use std::cell::{Cell, RefCell};

use hickory_proto::dnssec::rdata::DNSSECRData;
use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::super::canonical::{is_below, labels};
use super::super::{Fetch, FetchError, TrustAnchors};
use super::text;

/// One response of a script, or one that a client expects.
#[derive(Default)]
pub(super) struct Entry {
    matches: Vec<String>,
    pub(super) flags: Vec<String>,
    pub(super) question: Option<(Name, RecordType)>,
    pub(super) answers: Vec<Record>,
    authorities: Vec<Record>,
    additionals: Vec<Record>,
    /// The extended error code that the client is to see.
    pub(super) code: Option<u16>,
}

impl Entry {
    pub(super) fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|own| own == flag)
    }

    pub(super) fn response_code(&self) -> ResponseCode {
        match self {
            _ if self.has("NXDOMAIN") => ResponseCode::NXDomain,
            _ if self.has("SERVFAIL") => ResponseCode::ServFail,
            _ if self.has("REFUSED") => ResponseCode::Refused,
            _ => ResponseCode::NoError,
        }
    }
}

struct Range {
    steps: std::ops::RangeInclusive<u32>,
    addresses: Vec<String>,
    entries: Vec<Entry>,
}

/// A question of a client, and the answer that it is to get.
pub(super) struct Check {
    pub(super) step: u32,
    pub(super) question: Entry,
    pub(super) expected: Entry,
}

/// A whole script.
pub(super) struct Script {
    pub(super) anchors: TrustAnchors,
    pub(super) now: u64,
    /// Zones and their servers: those of the configuration, and those that referrals told.
    servers: RefCell<Vec<(Name, Vec<String>)>>,
    /// What servers said of anything: a cache.
    seen: RefCell<Vec<Record>>,
    ranges: Vec<Range>,
    pub(super) checks: Vec<Check>,
    pub(super) step: Cell<u32>,
}

fn after<'l>(line: &'l str, word: &str) -> Option<&'l str> {
    let line = line.trim();
    line.strip_prefix(word).map(str::trim)
}

impl Script {
    pub(super) fn parse(source: &str) -> Self {
        let (config, rest) = source.split_once("CONFIG_END").unwrap();
        let mut lines = rest.lines().map(|line| line.split(';').next().unwrap_or_default().trim());
        let mut ranges = Vec::new();
        let mut asked: Vec<(u32, Entry)> = Vec::new();
        let mut checks = Vec::new();
        let mut step = 0;
        let mut checking = false;
        while let Some(line) = lines.next() {
            if let Some(range) = after(line, "RANGE_BEGIN") {
                let (from, to) = range.split_once(' ').unwrap();
                let steps = from.trim().parse().unwrap()..=to.trim().parse().unwrap();
                ranges.push(Range { steps, addresses: Vec::new(), entries: Vec::new() });
            } else if let Some(address) = after(line, "ADDRESS") {
                ranges.last_mut().unwrap().addresses.push(address.to_owned());
            } else if let Some(words) = after(line, "STEP") {
                step = words.split_whitespace().next().unwrap().parse().unwrap();
                checking = words.contains("CHECK_ANSWER");
            } else if line.starts_with("ENTRY_BEGIN") {
                let entry = Self::entry(&mut lines);
                match (step, checking) {
                    (0, _) => ranges.last_mut().unwrap().entries.push(entry),
                    (_, false) => asked.push((step, entry)),
                    (_, true) => {
                        let (step, question) = asked.remove(0);
                        checks.push(Check { step, question, expected: entry });
                    }
                }
            }
        }
        let mut script = Self {
            anchors: anchors(config),
            now: 0,
            servers: RefCell::new(hints(config)),
            seen: RefCell::default(),
            ranges,
            checks,
            step: Cell::new(0),
        };
        let date =
            config.lines().find_map(|line| after(line, "val-override-date:")).unwrap().replace('"', "");
        script.now = text::time(&date).unwrap_or_else(|| script.some_time());
        script
    }

    fn entry<'l>(lines: &mut impl Iterator<Item = &'l str>) -> Entry {
        let mut entry = Entry::default();
        let mut section = "";
        for line in lines.by_ref().take_while(|line| !line.starts_with("ENTRY_END")) {
            if let Some(words) = after(line, "MATCH") {
                entry.matches.extend(words.split_whitespace().map(str::to_owned));
                entry.code = words.split_once("ede=").map(|(_, code)| code.trim().parse().unwrap());
            } else if let Some(words) = after(line, "REPLY") {
                entry.flags.extend(words.split_whitespace().map(str::to_owned));
            } else if let Some(word) = after(line, "SECTION") {
                section = word;
            } else if !line.is_empty() && !line.starts_with("ADJUST") {
                match section {
                    "QUESTION" => {
                        let mut words = line.split_whitespace();
                        let name = text::name(words.next().unwrap());
                        let kind = text::kind(words.find(|word| *word != "IN").unwrap()).unwrap();
                        entry.question = Some((name, kind));
                    }
                    "ANSWER" => entry.answers.push(text::record(line)),
                    "AUTHORITY" => entry.authorities.push(text::record(line)),
                    "ADDITIONAL" => entry.additionals.push(text::record(line)),
                    _ => panic!("{line}"),
                }
            }
        }
        // Signatures may be in any section: a server of the script has them with what they are of.
        let is_signature = |record: &&Record| record.record_type() == RecordType::RRSIG;
        let all: Vec<_> = [&entry.answers, &entry.authorities, &entry.additionals]
            .into_iter()
            .flatten()
            .filter(is_signature)
            .cloned()
            .collect();
        for section in [&mut entry.answers, &mut entry.authorities] {
            for signature in &all {
                let of = |record: &Record| {
                    record.name == signature.name && record.record_type() == covered(signature)
                };
                if section.iter().any(of) && !section.contains(signature) {
                    section.push(signature.clone());
                }
            }
        }
        entry
    }

    /// The time at which the last signature of the script begins, where times are not to matter.
    fn some_time(&self) -> u64 {
        let entries = self.ranges.iter().flat_map(|range| &range.entries);
        let records = entries.flat_map(|entry| &entry.answers);
        let times = records.filter_map(|record| match &record.data {
            RData::DNSSEC(DNSSECRData::RRSIG(signature)) => {
                Some(u64::from(signature.input().sig_inception.get()) + 1)
            }
            _ => None,
        });
        times.max().unwrap()
    }

    /// What a server of the script says.
    fn ask(&self, address: &str, name: &Name, kind: RecordType) -> Option<&Entry> {
        let now = self.step.get();
        let ranges = self.ranges.iter().filter(|range| range.steps.contains(&now));
        let mut entries = ranges
            .filter(|range| range.addresses.iter().any(|own| own == address))
            .flat_map(|range| &range.entries);
        entries.find(|entry| {
            let (own, of) = entry.question.as_ref().unwrap();
            entry.matches.iter().all(|word| match word.as_str() {
                "qname" => own == name,
                "subdomain" => own.zone_of(name),
                "qtype" => *of == kind,
                _ => true,
            })
        })
    }

    /// Goes from the closest servers that are known down to those that know; the response, and the zone that it
    /// comes from.
    fn iterate(&self, name: &Name, kind: RecordType, depth: usize) -> Option<(&Entry, Name)> {
        let holder = if kind == RecordType::DS { name.base_name() } else { name.clone() };
        let mut starts: Vec<_> =
            self.servers.borrow().iter().filter(|(zone, _)| zone.zone_of(&holder)).cloned().collect();
        starts.sort_by_key(|(zone, _)| std::cmp::Reverse(labels(zone)));
        starts.into_iter().find_map(|(zone, servers)| self.iterate_from(zone, servers, name, kind, depth))
    }

    fn iterate_from(
        &self,
        mut zone: Name,
        mut servers: Vec<String>,
        name: &Name,
        kind: RecordType,
        depth: usize,
    ) -> Option<(&Entry, Name)> {
        let holder = if kind == RecordType::DS { name.base_name() } else { name.clone() };
        for _ in 0..16 {
            let mut asked = servers.iter().filter_map(|server| self.ask(server, name, kind));
            let entry = asked.find(|entry| {
                !matches!(entry.response_code(), ResponseCode::Refused | ResponseCode::ServFail)
            })?;
            let cut = entry.authorities.iter().find(|record| {
                record.record_type() == RecordType::NS
                    && is_below(&record.name, &zone)
                    && record.name.zone_of(&holder)
            });
            self.remember(entry);
            let Some(cut) = cut.filter(|_| entry.answers.is_empty()) else { return Some((entry, zone)) };
            zone = cut.name.clone();
            servers = self.glue(entry, &zone, depth);
            self.servers.borrow_mut().push((zone.clone(), servers.clone()));
        }
        None
    }

    /// The addresses of the servers of a referral.
    fn glue(&self, entry: &Entry, zone: &Name, depth: usize) -> Vec<String> {
        let hosts =
            entry.authorities.iter().filter(|record| record.name == *zone).filter_map(|record| match &record
                .data
            {
                RData::NS(host) => Some(host.0.clone()),
                _ => None,
            });
        let mut servers = Vec::new();
        for host in hosts {
            let before = servers.len();
            servers.extend(entry.additionals.iter().filter(|record| record.name == host).filter_map(address));
            if servers.len() == before && depth > 0 {
                let found = self.resolve_at(&host, RecordType::A, depth - 1);
                servers.extend(found.iter().flat_map(|response| &response.answers).filter_map(address));
            }
        }
        servers
    }

    /// The response that a resolver gives that doesn't validate.
    pub(super) fn resolve(&self, name: &Name, kind: RecordType) -> Option<Message> {
        self.resolve_at(name, kind, 3)
    }

    /// What the cache says: records of the type, an alias that a DNAME makes, or the proofs of a negative answer.
    fn cached(&self, name: &Name, kind: RecordType) -> Option<Entry> {
        let seen = self.seen.borrow();
        let of = |owner: &Name, kind| {
            let own = |record: &&Record| record.name == *owner && covered(record) == kind;
            seen.iter().filter(own).cloned().collect::<Vec<_>>()
        };
        let own = of(name, kind);
        let has_data =
            |records: &[Record]| records.iter().any(|record| record.record_type() != RecordType::RRSIG);
        if has_data(&own) {
            return Some(Entry { answers: own, ..Entry::default() });
        }
        for count in 0..labels(name) {
            let owner = name.trim_to(count);
            let mut answers = of(&owner, RecordType::DNAME);
            if let Some(record) = answers.first() {
                let target = crate::names::dname_target(&record.data)?;
                let made =
                    Name::from_labels(name.iter().take(labels(name) - count).chain(target.iter())).ok()?;
                answers.push(Record::from_rdata(name.clone(), 3600, RData::CNAME(CNAME(made))));
                return Some(Entry { answers, ..Entry::default() });
            }
        }
        let answers = of(name, RecordType::CNAME);
        if has_data(&answers) {
            return Some(Entry { answers, ..Entry::default() });
        }
        let negative = [RecordType::SOA, RecordType::NSEC, RecordType::NSEC3];
        let authorities: Vec<_> =
            seen.iter().filter(|record| negative.contains(&covered(record))).cloned().collect();
        (!authorities.is_empty()).then(|| Entry { authorities, ..Entry::default() })
    }

    fn remember(&self, entry: &Entry) {
        let mut seen = self.seen.borrow_mut();
        for record in entry.answers.iter().chain(&entry.authorities).chain(&entry.additionals) {
            if !seen.contains(record) {
                seen.push(record.clone());
            }
        }
    }

    fn resolve_at(&self, name: &Name, kind: RecordType, depth: usize) -> Option<Message> {
        let mut response = Message::new(0, MessageType::Response, OpCode::Query);
        let mut name = name.clone();
        for _ in 0..12 {
            let cached;
            let (entry, zone) = match self.iterate(&name, kind, depth) {
                Some(found) => found,
                None => {
                    cached = self.cached(&name, kind)?;
                    (&cached, Name::root())
                }
            };
            response.metadata.response_code = entry.response_code();
            // What is not of the answering zone is asked for again.
            let mut within = Vec::from([name.clone()]);
            let mut end = name.clone();
            let is_there = |name: &Name| {
                entry.answers.iter().any(|record| record.name == *name && record.record_type() == kind)
            };
            while kind != RecordType::CNAME && kind != RecordType::ANY && !is_there(&end) {
                let Some(target) = alias(&entry.answers, &end) else { break };
                if within.contains(&target) {
                    return Some(loops(response, entry));
                }
                end = target.clone();
                if !zone.zone_of(&target) || !entry.answers.iter().any(|record| record.name == target) {
                    break;
                }
                within.push(target);
            }
            let done = within.contains(&end);
            let wanted = |record: &&Record| {
                within.contains(&record.name)
                    || within
                        .iter()
                        .any(|name| covered(record) == RecordType::DNAME && is_below(name, &record.name))
            };
            add(&mut response.answers, entry.answers.iter().filter(wanted));
            if !done
                && response
                    .answers
                    .iter()
                    .any(|record| record.name == end && record.record_type() == RecordType::CNAME)
            {
                return Some(loops(response, entry));
            }
            response.authorities.retain(|record| record.record_type() != RecordType::SOA);
            add(&mut response.authorities, entry.authorities.iter());
            if done {
                return Some(response);
            }
            name = end;
        }
        None
    }
}

fn add<'r>(to: &mut Vec<Record>, records: impl Iterator<Item = &'r Record>) {
    for record in records {
        if !to.contains(record) {
            to.push(record.clone());
        }
    }
}

fn loops(mut response: Message, entry: &Entry) -> Message {
    response.answers.extend(entry.answers.iter().cloned());
    response
}

/// The type of a record, or the one that it signs.
pub(super) fn covered(record: &Record) -> RecordType {
    match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(signature)) => signature.input().type_covered,
        data => data.record_type(),
    }
}

fn alias(answers: &[Record], name: &Name) -> Option<Name> {
    answers.iter().find_map(|record| match &record.data {
        RData::CNAME(CNAME(target)) if record.name == *name => Some(target.clone()),
        _ => None,
    })
}

fn address(record: &Record) -> Option<String> {
    record.data.ip_addr().map(|address| address.to_string())
}

fn anchors(config: &str) -> TrustAnchors {
    let lines = config.lines().filter_map(|line| after(line, "trust-anchor:"));
    let texts: Vec<_> = lines.map(|line| line.replace('"', "")).collect();
    TrustAnchors::parse(&texts.join("\n")).unwrap()
}

/// Where to begin, by the stub and forward zones of the configuration.
fn hints(config: &str) -> Vec<(Name, Vec<String>)> {
    let mut hints = Vec::new();
    for line in config.lines() {
        if let Some(zone) = after(line, "name:") {
            hints.push((text::name(zone.trim_matches('"')), Vec::new()));
        } else if let Some(address) = after(line, "stub-addr:").or_else(|| after(line, "forward-addr:")) {
            let address = address.split_whitespace().next().unwrap();
            hints.last_mut().unwrap().1.push(address.to_owned());
        }
    }
    hints
}

impl Fetch for Script {
    async fn fetch(&self, name: &Name, kind: RecordType) -> Result<Message, FetchError> {
        self.resolve(name, kind).ok_or_else(|| FetchError { why: "no server answered".to_owned() })
    }
}
