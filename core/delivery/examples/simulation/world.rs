//! The world outside: domains by number, and their DNS, with everything that goes wrong.

use std::cell::Cell;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::LazyLock;

use hickory_proto::rr::rdata::tlsa::{CertUsage, Matching, Selector};
use hickory_proto::rr::rdata::{A, AAAA, MX, TLSA};
use postrider_delivery::security::{Kind, Requirement, Sts};
use postrider_dns::{Answer, Authenticity, Lookup, Name, Outcome, RData, Record, RecordType};
use postrider_proto::mta_sts::Policy;

pub const DAY: i64 = 86_400;
/// Domains that share the hosts of one provider, of the healthy ones.
const PROVIDERS: u32 = 5;
/// The address of the server that sends.
pub const OWN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));

/// Where connections to an address come from; none is the system's choice. All with IPv4 come from one, which has the fewest
/// places.
pub fn source(address: IpAddr) -> Option<IpAddr> {
    address.is_ipv4().then_some(OWN)
}

/// How a domain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    // Nine of ten.
    Provider,
    Dane,
    Enforced,
    WithoutTls,
    TwoHosts,
    BothFamilies,
    Implicit,
    // One of ten.
    NoSuchDomain,
    TakesNoMail,
    NoAddresses,
    OurOwnHost,
    DnsFails,
    DnsFailsForADay,
    PolicyUnknownForADay,
    Refuses,
    Stalls,
    DownForTwoDays,
    FirstHostDown,
    Says421,
    Says421ToTheSecond,
    Greylists,
    Says4,
    KnowsHalf,
    BlocksSix,
    BreaksTls,
    BreaksTlsEnforced,
    NotInPolicy,
    NotInTestedPolicy,
    BogusTlsa,
    WrongCertificateAtFirst,
    NoRequireTls,
    DropsTheFirst,
}

const ILL: [Sort; 24] = [
    Sort::NoSuchDomain,
    Sort::TakesNoMail,
    Sort::NoAddresses,
    Sort::OurOwnHost,
    Sort::DnsFails,
    Sort::DnsFailsForADay,
    Sort::PolicyUnknownForADay,
    Sort::Refuses,
    Sort::Stalls,
    Sort::DownForTwoDays,
    Sort::FirstHostDown,
    Sort::Says421,
    Sort::Says421ToTheSecond,
    Sort::Greylists,
    Sort::Says4,
    Sort::KnowsHalf,
    Sort::BlocksSix,
    Sort::BreaksTls,
    Sort::BreaksTlsEnforced,
    Sort::NotInPolicy,
    Sort::NotInTestedPolicy,
    Sort::BogusTlsa,
    Sort::WrongCertificateAtFirst,
    Sort::NoRequireTls,
];

impl Sort {
    pub fn of(domain: u32) -> Self {
        match domain % 10 {
            0 if domain / 10 % 25 == 24 => Self::DropsTheFirst,
            0 => ILL[domain as usize / 10 % 25],
            1..=3 => Self::Provider,
            4 => Self::Dane,
            5 => Self::Enforced,
            6 => Self::WithoutTls,
            7 => Self::TwoHosts,
            8 => Self::BothFamilies,
            _ => Self::Implicit,
        }
    }

    fn is_secure(self) -> bool {
        matches!(self, Self::Dane | Self::BogusTlsa | Self::WrongCertificateAtFirst)
    }

    fn has_both_families(self) -> bool {
        matches!(self, Self::BothFamilies | Self::Greylists | Self::BlocksSix)
    }

    fn hosts(self) -> u32 {
        match self {
            Self::TwoHosts | Self::FirstHostDown | Self::WrongCertificateAtFirst => 2,
            _ => 1,
        }
    }

    /// What must become of a recipient: none is delivered, otherwise the status.
    pub fn expected(self, kind: Kind, requirement: Requirement, recipient: usize) -> Option<&'static str> {
        let is_required = requirement == Requirement::Required && kind != Kind::Notification;
        let is_relaxed =
            requirement == Requirement::No || (kind == Kind::TlsReport && requirement == Requirement::Unset);
        let is_short = kind.is_service_report();
        let verifiable = matches!(
            self,
            Self::Dane
                | Self::Enforced
                | Self::BreaksTlsEnforced
                | Self::WrongCertificateAtFirst
                | Self::NotInPolicy
        );
        match self {
            Self::NoSuchDomain => Some("5.1.2"),
            Self::TakesNoMail => Some("5.1.10"),
            Self::NoAddresses => Some("5.4.4"),
            Self::OurOwnHost => Some("5.4.6"),
            Self::DnsFails => Some("5.4.3"),
            Self::DnsFailsForADay if is_short => Some("5.4.3"),
            Self::PolicyUnknownForADay if is_short && !is_relaxed => Some("5.7.5"),
            Self::BogusTlsa if !is_relaxed => Some("5.7.5"),
            Self::NoRequireTls if is_required => Some("5.7.30"),
            _ if is_required && !verifiable => Some("5.7.30"),
            Self::Refuses | Self::Stalls => Some("5.4.1"),
            Self::DownForTwoDays if is_short => Some("5.4.1"),
            Self::Says421 => Some("5.3.2"),
            Self::Says4 => Some("5.2.1"),
            Self::KnowsHalf if recipient % 2 == 1 => Some("5.1.1"),
            Self::BreaksTls if kind == Kind::DmarcReport && !is_relaxed => Some("5.7.5"),
            Self::BreaksTlsEnforced if requirement == Requirement::Required => Some("5.7.10"),
            Self::BreaksTlsEnforced | Self::NotInPolicy if !is_relaxed => Some("5.7.5"),
            _ => None,
        }
    }
}

static NONE: Sts = Sts::None;
static UNKNOWN: LazyLock<Sts> = LazyLock::new(|| Sts::Unknown("SERVFAIL".into()));
static ENFORCED: LazyLock<Sts> = LazyLock::new(|| policy("enforce", "*.hosts.test"));
static MISMATCH: LazyLock<Sts> = LazyLock::new(|| policy("enforce", "*.elsewhere.test"));
static TESTING: LazyLock<Sts> = LazyLock::new(|| policy("testing", "*.elsewhere.test"));

fn policy(mode: &str, host: &str) -> Sts {
    let text = format!("version: STSv1\nmode: {mode}\nmx: {host}\nmax_age: 604800\n");
    Sts::Policy(Policy::parse(text.as_bytes()).expect("a policy"))
}

/// The policy of a domain.
pub fn sts(domain: u32, now: i64) -> &'static Sts {
    match Sort::of(domain) {
        Sort::Enforced | Sort::BreaksTlsEnforced | Sort::NoRequireTls => &ENFORCED,
        Sort::NotInPolicy => &MISMATCH,
        Sort::NotInTestedPolicy => &TESTING,
        Sort::PolicyUnknownForADay if now < DAY => &UNKNOWN,
        _ => &NONE,
    }
}

/// DNS.
pub struct Dns {
    pub now: Cell<i64>,
}

/// What a name is about.
enum Owner {
    Domain(u32),
    Host { number: u32, of: u32, is_provider: bool },
    Tlsa { of: u32 },
    Other,
}

fn owner(name: &Name) -> Owner {
    let mut labels = name.iter().map(|label| std::str::from_utf8(label).unwrap_or(""));
    let first = labels.next().unwrap_or("");
    match first.as_bytes().first() {
        Some(b'd') => first[1..].parse().map_or(Owner::Other, Owner::Domain),
        Some(b'h') => host_of(first),
        Some(b'_') => match labels.nth(1).map(host_of) {
            Some(Owner::Host { of, is_provider: false, .. }) => Owner::Tlsa { of },
            _ => Owner::Other,
        },
        _ => Owner::Other,
    }
}

/// `h1-5` is the first host of domain 5, `h1-p5` that of provider 5.
fn host_of(label: &str) -> Owner {
    let Some((number, of)) = label.strip_prefix('h').and_then(|rest| rest.split_once('-')) else {
        return Owner::Other;
    };
    let (is_provider, of) = match of.strip_prefix('p') {
        Some(of) => (true, of),
        None => (false, of),
    };
    match (number.parse(), of.parse()) {
        (Ok(number), Ok(of)) => Owner::Host { number, of, is_provider },
        _ => Owner::Other,
    }
}

fn four(number: u32, of: u32, is_provider: bool) -> [u8; 4] {
    let [_, b, c, d] = of.to_be_bytes();
    let base = if is_provider { 20 } else { 10 };
    [base + number as u8, b, c, d]
}

fn six(number: u32, of: u32) -> Ipv6Addr {
    let [high, low] = [(of >> 16) as u16, of as u16];
    Ipv6Addr::new(0x2001, 0xdb8, number as u16, 0, 0, 0, high, low)
}

/// Which domain and host an address is of; none for that of a provider.
pub fn place(address: IpAddr) -> Option<(u32, u32)> {
    match address {
        IpAddr::V4(four) => {
            let [a, b, c, d] = four.octets();
            (a < 20).then(|| (u32::from_be_bytes([0, b, c, d]), u32::from(a) - 10))
        }
        IpAddr::V6(six) => {
            let s = six.segments();
            Some((u32::from(s[6]) << 16 | u32::from(s[7]), u32::from(s[2])))
        }
    }
}

fn absolute(labels: &[&str]) -> Name {
    let mut name = Name::from_labels(labels.iter().map(|label| label.as_bytes())).expect("a name");
    name.set_fqdn(true);
    name
}

impl Dns {
    fn data(&self, name: &Name, kind: RecordType) -> Result<Vec<RData>, Outcome> {
        match owner(name) {
            Owner::Domain(domain) => self.of_domain(domain, kind),
            Owner::Host { number, of, is_provider } => Ok(host_data(number, of, is_provider, kind)),
            Owner::Tlsa { of } => match Sort::of(of) {
                Sort::BogusTlsa => Err(Outcome::Failed),
                sort if sort.is_secure() && kind == RecordType::TLSA => {
                    let (usage, selector, matching) = (CertUsage::DaneEe, Selector::Spki, Matching::Sha256);
                    Ok(vec![RData::TLSA(TLSA::new(usage, selector, matching, vec![7; 32]))])
                }
                _ => Err(Outcome::NoName),
            },
            Owner::Other => Err(Outcome::NoName),
        }
    }

    fn of_domain(&self, domain: u32, kind: RecordType) -> Result<Vec<RData>, Outcome> {
        let sort = Sort::of(domain);
        match sort {
            Sort::NoSuchDomain => return Err(Outcome::NoName),
            Sort::DnsFails => return Err(Outcome::Failed),
            Sort::DnsFailsForADay if self.now.get() < DAY => return Err(Outcome::Failed),
            Sort::Implicit => return Ok(host_data(1, domain, false, kind)),
            _ => {}
        }
        if kind != RecordType::MX {
            return Ok(Vec::new());
        }
        let hosts = match sort {
            Sort::TakesNoMail => return Ok(vec![RData::MX(MX::new(0, Name::root()))]),
            Sort::Provider => {
                let host = format!("h1-p{}", domain % PROVIDERS);
                return Ok(vec![RData::MX(MX::new(10, absolute(&[&host, "hosts", "test"])))]);
            }
            sort => sort.hosts(),
        };
        let host = |number: u32| {
            let host = format!("h{number}-{domain}");
            RData::MX(MX::new(number as u16 * 10, absolute(&[&host, "hosts", "test"])))
        };
        Ok((1..=hosts).map(host).collect())
    }
}

fn host_data(number: u32, of: u32, is_provider: bool, kind: RecordType) -> Vec<RData> {
    let sort = if is_provider { Sort::Provider } else { Sort::of(of) };
    match (sort, kind) {
        (Sort::NoAddresses, _) => Vec::new(),
        (Sort::OurOwnHost, RecordType::A) => match OWN {
            IpAddr::V4(own) => vec![RData::A(A(own))],
            IpAddr::V6(_) => Vec::new(),
        },
        (_, RecordType::A) => vec![RData::A(A(four(number, of, is_provider).into()))],
        (sort, RecordType::AAAA) if sort.has_both_families() => vec![RData::AAAA(AAAA(six(number, of)))],
        _ => Vec::new(),
    }
}

impl Lookup for Dns {
    async fn lookup(&self, name: &Name, kind: RecordType) -> Answer {
        let secure = match owner(name) {
            Owner::Domain(of) | Owner::Host { of, is_provider: false, .. } | Owner::Tlsa { of } => {
                Sort::of(of).is_secure()
            }
            _ => false,
        };
        let (outcome, data) = match self.data(name, kind) {
            Err(outcome) => (outcome, Vec::new()),
            Ok(data) if data.is_empty() => (Outcome::NoData, data),
            Ok(data) => (Outcome::Found, data),
        };
        Answer {
            name: name.clone(),
            kind,
            outcome,
            records: data.into_iter().map(|data| Record::from_rdata(name.clone(), 300, data)).collect(),
            aliases: Vec::new(),
            authenticity: match (outcome, secure) {
                (Outcome::Failed, true) => Authenticity::Bogus,
                (_, true) => Authenticity::Secure,
                (_, false) => Authenticity::Insecure,
            },
            reason: String::new(),
            errors: Vec::new(),
            ttl: 300,
        }
    }
}
