//! Signed zones made in the test, and a resolver that answers from them without validating.

use std::cell::RefCell;
use std::collections::BTreeSet;

use futures_lite::future::block_on;
use hickory_proto::dnssec::crypto::{EcdsaSigningKey, Ed25519SigningKey};
use hickory_proto::dnssec::rdata::sig::SigInput;
use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData, DS, NSEC, NSEC3, RRSIG};
use hickory_proto::dnssec::{Algorithm, DigestType, Nsec3HashAlgorithm, SigningKey, TBS};
use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType, SerialNumber};

use super::super::canonical::{is_below, labels, wildcard_of};
use super::super::{Fetch, FetchError, Limits, TrustAnchors, Validator, Verdict};
use super::text;

pub(super) const NOW: u64 = 1_800_000_000;
pub(super) const TTL: u32 = 3600;
/// What is left of signatures.
pub(super) const LEFT: u64 = 10 * 86_400;

/// How a zone denies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    Unsigned,
    Nsec,
    Nsec3 { iterations: u16, opt_out: bool },
}

pub(super) const HASHED: Mode = Mode::Nsec3 { iterations: 0, opt_out: false };
pub(super) const OPT_OUT: Mode = Mode::Nsec3 { iterations: 0, opt_out: true };

/// A key that signs.
pub(super) struct Key {
    pub(super) signing: Box<dyn SigningKey>,
    pub(super) dnskey: DNSKEY,
}

impl Key {
    pub(super) fn ed25519() -> Self {
        let pkcs8 = Ed25519SigningKey::generate_pkcs8().unwrap();
        Self::of(Box::new(Ed25519SigningKey::from_pkcs8(&pkcs8).unwrap()))
    }

    pub(super) fn p256() -> Self {
        let algorithm = Algorithm::ECDSAP256SHA256;
        let pkcs8 = EcdsaSigningKey::generate_pkcs8(algorithm).unwrap();
        Self::of(Box::new(EcdsaSigningKey::from_pkcs8(&pkcs8, algorithm).unwrap()))
    }

    fn of(signing: Box<dyn SigningKey>) -> Self {
        let dnskey = DNSKEY::with_flags(257, signing.to_public_key().unwrap());
        Self { signing, dnskey }
    }

    pub(super) fn tag(&self) -> u16 {
        self.dnskey.calculate_key_tag().unwrap()
    }

    pub(super) fn ds(&self, zone: &Name, digest: DigestType) -> DS {
        let octets = self.dnskey.to_digest(zone, digest).unwrap().as_ref().to_vec();
        DS::new(self.tag(), self.dnskey_algorithm(), digest, octets)
    }

    fn dnskey_algorithm(&self) -> Algorithm {
        self.signing.algorithm()
    }

    /// Signs records of one name and type, as those of `owner`, which may be a wildcard.
    pub(super) fn sign(
        &self,
        zone: &Name,
        owner: &Name,
        records: &[Record],
        begins: u64,
        expires: u64,
    ) -> Record {
        self.sign_as(&self.dnskey, zone, owner, records, begins, expires)
    }

    /// The same, as a key whose record has other flags, and so another tag.
    pub(super) fn sign_as(
        &self,
        dnskey: &DNSKEY,
        zone: &Name,
        owner: &Name,
        records: &[Record],
        begins: u64,
        expires: u64,
    ) -> Record {
        let input = SigInput {
            type_covered: records[0].record_type(),
            algorithm: self.dnskey_algorithm(),
            num_labels: owner.num_labels(),
            original_ttl: records[0].ttl,
            sig_expiration: SerialNumber::new(expires as u32),
            sig_inception: SerialNumber::new(begins as u32),
            key_tag: dnskey.calculate_key_tag().unwrap(),
            signer_name: zone.clone(),
        };
        let tbs = TBS::from_input(&records[0].name, DNSClass::IN, &input, records.iter()).unwrap();
        let signature = RRSIG::from_sig(input, self.signing.sign(&tbs).unwrap());
        dnssec(&records[0].name, records[0].ttl, DNSSECRData::RRSIG(signature))
    }
}

pub(super) fn dnssec(name: &Name, ttl: u32, data: DNSSECRData) -> Record {
    Record::from_rdata(name.clone(), ttl, RData::DNSSEC(data))
}

/// A zone.
pub(super) struct TestZone {
    pub(super) name: Name,
    pub(super) mode: Mode,
    pub(super) key: Key,
    records: Vec<Record>,
    /// Times of its signatures.
    pub(super) begins: u64,
    pub(super) expires: u64,
}

impl TestZone {
    pub(super) fn new(name: &str, mode: Mode, records: &[&str]) -> Self {
        let name = text::name(name);
        let soa = format!("{name} {TTL} SOA ns.test. host.test. 1 3600 600 86400 {TTL}");
        let lines = records.iter().map(|line| text::record(line));
        let records = std::iter::once(text::record(&soa)).chain(lines).collect();
        let key = if labels(&name) == 2 { Key::p256() } else { Key::ed25519() };
        Self { name, mode, key, records, begins: NOW - 86_400, expires: NOW + LEFT }
    }

    fn sign(&self, owner: &Name, records: &[Record]) -> Vec<Record> {
        let mut signed = records.to_vec();
        if self.mode != Mode::Unsigned && !records.is_empty() {
            signed.push(self.key.sign(&self.name, owner, records, self.begins, self.expires));
        }
        signed
    }

    fn of(&self, name: &Name, kind: RecordType) -> Vec<Record> {
        self.records
            .iter()
            .filter(|record| record.name == *name && record.record_type() == kind)
            .cloned()
            .collect()
    }

    fn cut(&self, name: &Name) -> Option<Name> {
        let cuts = self
            .records
            .iter()
            .filter(|record| record.record_type() == RecordType::NS && record.name != self.name);
        cuts.map(|record| &record.name).find(|cut| cut.zone_of(name)).cloned()
    }

    fn exists(&self, name: &Name) -> bool {
        self.records.iter().any(|record| name.zone_of(&record.name))
    }

    fn types(&self, name: &Name) -> BTreeSet<RecordType> {
        self.records.iter().filter(|record| record.name == *name).map(Record::record_type).collect()
    }

    fn is_unsigned_cut(&self, name: &Name) -> bool {
        let types = self.types(name);
        types.contains(&RecordType::NS) && !types.contains(&RecordType::DS) && *name != self.name
    }

    /// Owners of NSEC, or, with those between that have no records, of NSEC3.
    fn owners(&self, all: bool) -> Vec<Name> {
        let own = self.records.iter().map(|record| record.name.clone()).collect::<BTreeSet<_>>();
        let mut owners = own.clone();
        if all {
            for name in &own {
                owners.extend((labels(&self.name)..labels(name)).map(|count| name.trim_to(count)));
            }
        }
        owners.into_iter().collect()
    }

    pub(super) fn encloser(&self, name: &Name) -> Name {
        (0..=labels(name)).rev().map(|count| name.trim_to(count)).find(|name| self.exists(name)).unwrap()
    }

    /// The NSEC that is of a name or spans it.
    pub(super) fn nsec(&self, name: &Name) -> Vec<Record> {
        let owners = self.owners(false);
        let at = owners.iter().rposition(|owner| owner <= name).unwrap();
        let next = owners[(at + 1) % owners.len()].clone();
        let mut types = self.types(&owners[at]);
        types.extend([RecordType::NSEC, RecordType::RRSIG]);
        let nsec = dnssec(&owners[at], TTL, DNSSECRData::NSEC(NSEC::new(next, types)));
        self.sign(&owners[at], &[nsec])
    }

    /// The NSEC3 that is of a name or spans it.
    pub(super) fn nsec3(&self, name: &Name, iterations: u16, opt_out: bool) -> Vec<Record> {
        let hash =
            |name: &Name| Nsec3HashAlgorithm::SHA1.hash(b"salt", name, iterations).unwrap().as_ref().to_vec();
        let unsigned = |name: &Name| self.is_unsigned_cut(name);
        let names = self.owners(true).into_iter().filter(|name| !(opt_out && unsigned(name)));
        let mut owners: Vec<_> = names.map(|name| (hash(&name), name)).collect();
        owners.sort();
        let hash = hash(name);
        let at = owners.iter().rposition(|(own, _)| *own <= hash).unwrap_or(owners.len() - 1);
        let next = owners[(at + 1) % owners.len()].0.clone();
        let mut types = self.types(&owners[at].1);
        if !types.is_empty() && !unsigned(&owners[at].1) {
            types.insert(RecordType::RRSIG);
        }
        let label = data_encoding::BASE32_DNSSEC.encode(&owners[at].0);
        let owner = self.name.prepend_label(label.as_str()).unwrap();
        let data = NSEC3::new(Nsec3HashAlgorithm::SHA1, opt_out, iterations, b"salt".to_vec(), next, types);
        self.sign(&owner, &[dnssec(&owner, TTL, DNSSECRData::NSEC3(data))])
    }

    /// What denies each of the names.
    pub(super) fn proof(&self, names: &[&Name]) -> Vec<Record> {
        let mut proof = Vec::new();
        for name in names {
            let part = match self.mode {
                Mode::Unsigned => Vec::new(),
                Mode::Nsec => self.nsec(name),
                Mode::Nsec3 { iterations, opt_out } => self.nsec3(name, iterations, opt_out),
            };
            for record in part {
                // Signatures of P-256 are never the same twice: one of a record is enough.
                let there =
                    |known: &Record| known.name == record.name && known.record_type() == record.record_type();
                if !proof.iter().any(there) {
                    proof.push(record);
                }
            }
        }
        proof
    }

    /// Names whose NSEC or NSEC3 deny a name and the wildcard that might be used for it.
    fn deny(&self, name: &Name) -> Vec<Record> {
        let encloser = self.encloser(name);
        if encloser == *name {
            let opt_out = matches!(self.mode, Mode::Nsec3 { opt_out: true, .. });
            return match opt_out && self.is_unsigned_cut(name) {
                // It has no NSEC3 of its own.
                true => self.proof(&[&name.base_name(), name]),
                false => self.proof(&[name]),
            };
        }
        let wildcard = wildcard_of(&encloser).unwrap();
        match self.mode {
            Mode::Nsec3 { .. } => {
                let next_closer = name.trim_to(labels(&encloser) + 1);
                self.proof(&[&encloser, &next_closer, &wildcard])
            }
            _ => self.proof(&[name, &wildcard]),
        }
    }

    fn answer(&self, name: &Name, kind: RecordType, response: &mut Message) -> Option<Name> {
        let soa = |response: &mut Message| {
            let soa = self.of(&self.name, RecordType::SOA);
            response.authorities.extend(self.sign(&self.name, &soa));
        };
        let encloser = self.encloser(name);
        let wildcard = wildcard_of(&encloser).unwrap();
        let expanded = encloser != *name && self.exists(&wildcard);
        let owner = if expanded { &wildcard } else { name };
        for found in [kind, RecordType::CNAME] {
            let mut records = self.of(owner, found);
            records.iter_mut().for_each(|record| record.name = name.clone());
            if records.is_empty() {
                continue;
            }
            let target = match &records[0].data {
                RData::CNAME(CNAME(target)) if kind != RecordType::CNAME => Some(target.clone()),
                _ => None,
            };
            response.answers.extend(self.sign(owner, &records));
            if expanded {
                let next_closer = name.trim_to(labels(&encloser) + 1);
                let denied = if matches!(self.mode, Mode::Nsec) { name } else { &next_closer };
                response.authorities.extend(self.proof(&[denied]));
            }
            return target;
        }
        for count in labels(&self.name)..labels(name) {
            let owner = name.trim_to(count);
            let dname = self.of(&owner, RecordType::DNAME);
            if let Some(record) = dname.first() {
                let target = crate::names::dname_target(&record.data).unwrap();
                let made =
                    Name::from_labels(name.iter().take(labels(name) - count).chain(target.iter())).unwrap();
                response.answers.extend(self.sign(&owner, &dname));
                response.answers.push(Record::from_rdata(
                    name.clone(),
                    TTL,
                    RData::CNAME(CNAME(made.clone())),
                ));
                return Some(made);
            }
        }
        if !self.exists(name) && !expanded {
            response.metadata.response_code = ResponseCode::NXDomain;
        }
        soa(response);
        response.authorities.extend(self.deny(name));
        None
    }
}

type Tamper = Box<dyn Fn(&Name, RecordType, &mut Message)>;

/// Zones, the root first, and what is done to their answers on the way.
pub(super) struct World {
    pub(super) zones: Vec<TestZone>,
    pub(super) tamper: RefCell<Option<Tamper>>,
    pub(super) asked: RefCell<Vec<(Name, RecordType)>>,
    pub(super) limits: Limits,
}

impl World {
    /// Each zone but the first gets NS records in the one above it, and DS records if it is signed.
    pub(super) fn new(mut zones: Vec<TestZone>) -> Self {
        for at in 1..zones.len() {
            let name = zones[at].name.clone();
            let mut cut = vec![text::record(&format!("{name} {TTL} NS ns.test."))];
            if zones[at].mode != Mode::Unsigned {
                cut.push(dnssec(&name, TTL, DNSSECRData::DS(zones[at].key.ds(&name, DigestType::SHA256))));
            }
            let parent = zones
                .iter_mut()
                .filter(|zone| is_below(&name, &zone.name))
                .max_by_key(|zone| labels(&zone.name));
            parent.unwrap().records.extend(cut);
            let dnskey = dnssec(&name, TTL, DNSSECRData::DNSKEY(zones[at].key.dnskey.clone()));
            zones[at].records.push(dnskey);
            zones[at].records.push(text::record(&format!("{name} {TTL} NS ns.test.")));
        }
        let root = dnssec(&zones[0].name, TTL, DNSSECRData::DNSKEY(zones[0].key.dnskey.clone()));
        zones[0].records.push(root);
        Self { zones, tamper: RefCell::default(), asked: RefCell::default(), limits: Limits::DEFAULT }
    }

    /// A root, a top-level domain and `a.test`, which denies by `mode`; and `plain.test`, which isn't signed.
    pub(super) fn usual(mode: Mode) -> Self {
        Self::new(vec![
            TestZone::new(".", Mode::Nsec, &[]),
            TestZone::new("test.", mode, &[]),
            TestZone::new("a.test.", mode, &A_TEST),
            TestZone::new("plain.test.", Mode::Unsigned, &["www.plain.test. 3600 A 192.0.2.9"]),
            TestZone::new("b.test.", mode, &["www.b.test. 3600 A 192.0.2.7"]),
        ])
    }

    pub(super) fn zone(&self, name: &str) -> &TestZone {
        self.zones.iter().find(|zone| zone.name == text::name(name)).unwrap()
    }

    pub(super) fn zone_mut(&mut self, name: &str) -> &mut TestZone {
        self.zones.iter_mut().find(|zone| zone.name == text::name(name)).unwrap()
    }

    /// Replaces the records of a name and type in a zone.
    pub(super) fn put(&mut self, zone: &str, name: &str, kind: RecordType, records: Vec<Record>) {
        let name = text::name(name);
        let zone = self.zone_mut(zone);
        zone.records.retain(|record| record.name != name || record.record_type() != kind);
        zone.records.extend(records);
    }

    pub(super) fn tamper(&self, with: impl Fn(&Name, RecordType, &mut Message) + 'static) {
        *self.tamper.borrow_mut() = Some(Box::new(with));
    }

    pub(super) fn anchors(&self) -> TrustAnchors {
        let root = &self.zones[0];
        TrustAnchors::parse(&format!("{} DS {}", root.name, root.key.ds(&root.name, DigestType::SHA256)))
            .unwrap()
    }

    pub(super) fn validator(&self) -> Validator {
        Validator::new(self.anchors(), self.limits.clone())
    }

    /// What a resolver says that doesn't validate.
    pub(super) fn resolve(&self, name: &Name, kind: RecordType) -> Message {
        let mut response = Message::new(0, MessageType::Response, OpCode::Query);
        let mut at = name.clone();
        for _ in 0..40 {
            let holder = if kind == RecordType::DS && !at.is_root() { at.base_name() } else { at.clone() };
            let zone = self
                .zones
                .iter()
                .filter(|zone| zone.name.zone_of(&holder))
                .max_by_key(|zone| labels(&zone.name));
            let zone = zone.unwrap();
            assert!(kind == RecordType::DS || zone.cut(&at).is_none());
            match zone.answer(&at, kind, &mut response) {
                Some(target) => at = target,
                None => break,
            }
        }
        if let Some(tamper) = &*self.tamper.borrow() {
            tamper(name, kind, &mut response);
        }
        response
    }

    pub(super) fn ask_with(&self, validator: &Validator, name: &str, kind: RecordType) -> Verdict {
        let name = text::name(name);
        let response = self.resolve(&name, kind);
        block_on(validator.validate(self, NOW, &name, kind, &response))
    }

    pub(super) fn ask(&self, name: &str, kind: RecordType) -> Verdict {
        self.ask_with(&self.validator(), name, kind)
    }
}

const A_TEST: [&str; 14] = [
    "a.test. 3600 MX 10 Mail.A.test.",
    "a.test. 3600 MX 20 mail2.a.test.",
    "mail.a.test. 3600 A 192.0.2.1",
    "mail.a.test. 3600 A 192.0.2.2",
    "_25._tcp.mail.a.test. 3600 TLSA 3 1 1 0000000000000000000000000000000000000000000000000000000000000000",
    "www.a.test. 3600 CNAME mail.a.test.",
    "out.a.test. 3600 CNAME www.plain.test.",
    "over.a.test. 3600 CNAME www.b.test.",
    "*.wild.a.test. 3600 TXT \"from the wildcard\"",
    "*.alias.a.test. 3600 CNAME mail.a.test.",
    "old.a.test. 3600 DNAME wild.a.test.",
    "below.empty.a.test. 3600 A 192.0.2.3",
    "ns.a.test. 3600 A 192.0.2.4",
    "zz.a.test. 3600 A 192.0.2.5",
];

impl Fetch for World {
    async fn fetch(&self, name: &Name, kind: RecordType) -> Result<Message, FetchError> {
        self.asked.borrow_mut().push((name.clone(), kind));
        Ok(self.resolve(name, kind))
    }
}
