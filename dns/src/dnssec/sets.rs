//! Sections of a response as RRsets, each with its signatures.

use std::collections::HashMap;

use hickory_proto::dnssec::rdata::{DNSSECRData, RRSIG};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

/// Records of one name and type, and the signatures that cover them.
pub(super) struct Set<'m> {
    pub(super) name: &'m Name,
    pub(super) kind: RecordType,
    pub(super) records: Vec<&'m Record>,
    pub(super) signatures: Vec<Signature<'m>>,
}

/// A signature, and the TTL of its record.
#[derive(Clone, Copy)]
pub(super) struct Signature<'m> {
    pub(super) data: &'m RRSIG,
    pub(super) ttl: u32,
}

impl Set<'_> {
    /// The least TTL of the records.
    pub(super) fn ttl(&self) -> u32 {
        self.records.iter().map(|record| record.ttl).min().unwrap_or(0)
    }
}

/// A section as RRsets, in the order of their first records.
pub(super) struct Section<'m> {
    pub(super) sets: Vec<Set<'m>>,
    index: HashMap<(&'m Name, RecordType), usize>,
}

impl<'m> Section<'m> {
    /// Sorts the records of class IN. What a signature covers may come before or after it.
    pub(super) fn of(records: &'m [Record]) -> Self {
        let mut section = Self { sets: Vec::new(), index: HashMap::new() };
        for record in records.iter().filter(|record| record.dns_class == DNSClass::IN) {
            match &record.data {
                RData::DNSSEC(DNSSECRData::RRSIG(data)) => {
                    let set = section.entry(&record.name, data.input().type_covered);
                    set.signatures.push(Signature { data, ttl: record.ttl });
                }
                data => {
                    let set = section.entry(&record.name, data.record_type());
                    // Of these a name has one; that it is there twice means nothing (RFC 2181 §5).
                    let one = matches!(
                        set.kind,
                        RecordType::CNAME | RecordType::DNAME | RecordType::NSEC | RecordType::NSEC3
                    );
                    if !(one && set.records.first().is_some_and(|first| first.data == record.data)) {
                        set.records.push(record);
                    }
                }
            }
        }
        section
    }

    fn entry(&mut self, name: &'m Name, kind: RecordType) -> &mut Set<'m> {
        let at = *self.index.entry((name, kind)).or_insert_with(|| {
            self.sets.push(Set { name, kind, records: Vec::new(), signatures: Vec::new() });
            self.sets.len() - 1
        });
        &mut self.sets[at]
    }

    /// The RRset of a name and type, if it has records.
    pub(super) fn find(&self, name: &Name, kind: RecordType) -> Option<&Set<'m>> {
        let at = *self.index.get(&(name, kind))?;
        Some(&self.sets[at]).filter(|set| !set.records.is_empty())
    }

    /// The RRsets that have records.
    pub(super) fn with_records(&self) -> impl Iterator<Item = &Set<'m>> {
        self.sets.iter().filter(|set| !set.records.is_empty())
    }
}
