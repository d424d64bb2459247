//! A resolver that answers everything, with texts of the input.

use std::cell::Cell;
use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::rdata::{A, AAAA, MX, PTR, TXT};
use postrider_dns::{Answer, Authenticity, Lookup, Name, Outcome, RData, Record, RecordType};

/// Octets of one string of a TXT record.
const STRING_OCTETS_MAX: usize = 255;
/// Mail hosts, and names of a client: more than any check looks at.
const NAMES: u32 = 12;

/// Answers that depend on the name alone: some names don't exist, have nothing or fail; every other one has all.
pub struct Answers {
    texts: Vec<Vec<u8>>,
    asked: Cell<u32>,
}

impl Answers {
    /// One whose names have these texts in turns.
    pub fn new(texts: Vec<Vec<u8>>) -> Self {
        Self { texts, asked: Cell::new(0) }
    }

    /// Questions so far.
    pub fn asked(&self) -> u32 {
        self.asked.get()
    }

    fn data(&self, kind: RecordType, number: usize) -> Vec<RData> {
        let last = (number % 4) as u8;
        let name = |host: u32| Name::from_ascii(format!("n{host}.h{number}.example.")).expect("a name");
        match kind {
            RecordType::TXT if !self.texts.is_empty() => {
                let text = &self.texts[number % self.texts.len()];
                let strings: Vec<&[u8]> = text.chunks(STRING_OCTETS_MAX).collect();
                vec![RData::TXT(TXT::from_bytes(strings))]
            }
            RecordType::A => vec![RData::A(A(Ipv4Addr::new(192, 0, 2, last)))],
            RecordType::AAAA => {
                vec![RData::AAAA(AAAA(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into())))]
            }
            RecordType::MX => (0..NAMES).map(|host| RData::MX(MX::new(1, name(host)))).collect(),
            RecordType::PTR => (0..NAMES).map(|host| RData::PTR(PTR(name(host)))).collect(),
            _ => Vec::new(),
        }
    }
}

impl Lookup for Answers {
    async fn lookup(&self, name: &Name, kind: RecordType) -> Answer {
        self.asked.set(self.asked.get() + 1);
        assert!(name.is_fqdn(), "a name that depends on who asks");
        let text = name.to_ascii().to_ascii_lowercase();
        let number =
            text.bytes().fold(7_usize, |number, octet| number.wrapping_mul(31).wrapping_add(octet.into()));
        let data = if number % 16 > 2 { self.data(kind, number / 16) } else { Vec::new() };
        let outcome = match number % 16 {
            0 => Outcome::Failed,
            1 => Outcome::NoName,
            _ if data.is_empty() => Outcome::NoData,
            _ => Outcome::Found,
        };
        Answer {
            name: name.clone(),
            kind,
            outcome,
            records: data.into_iter().map(|data| Record::from_rdata(name.clone(), 60, data)).collect(),
            aliases: Vec::new(),
            authenticity: if number % 3 == 0 { Authenticity::Secure } else { Authenticity::Insecure },
            reason: String::new(),
            errors: Vec::new(),
            ttl: 60,
        }
    }
}
