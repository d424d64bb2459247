//! Where policies are, and whose domains belong together (RFC 9989 §4.10, RFC 7489 §3.2 and §6.6.3).

use postrider_dns::{Authenticity, Lookup, Outcome, RecordType};
use postrider_proto::address::Domain;
use postrider_proto::dmarc::{Alignment, PublicSuffixFlag, Record};
use postrider_proto::public_suffix::{Division, organizational_domain};

use super::{Mode, QUERIES_MAX};
use crate::names;

/// Labels of the longest name that the tree walk asks for after the first (RFC 9989 §4.10).
const WALK_LABELS_MAX: usize = 7;

/// Where the policy was found, seen from the author's domain (RFC 9989 §4.10.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// At the domain itself.
    AuthorDomain,
    /// At its organizational domain.
    OrganizationalDomain,
    /// At the public suffix above that.
    PublicSuffixDomain,
}

impl Source {
    /// The word for it in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::AuthorDomain => "author",
            Self::OrganizationalDomain => "organizational",
            Self::PublicSuffixDomain => "public-suffix",
        }
    }
}

/// The policy record that counts for a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policies {
    /// The record.
    pub record: Record,
    /// Its text as it is published; octets that aren't printable are replaced.
    pub text: String,
    /// The domain that publishes it.
    pub domain: Domain,
    /// What that is to the author's domain.
    pub source: Source,
}

/// What looking for a policy gave.
pub(super) enum Discovery {
    /// There is none: DMARC doesn't apply.
    None,
    /// DNS failed, and how.
    Failed(String),
    /// This one.
    Found(Policies),
}

/// What a domain publishes.
#[derive(Clone, Debug)]
enum Published {
    Nothing,
    /// More than one record, which are none (RFC 9989 §4.10).
    Several,
    Record(Record, String),
}

/// What the tree walk from a domain found.
struct Walk {
    organizational: Domain,
    /// The domains with records, from the longest.
    found: Vec<(Domain, Record, String)>,
}

/// Why a lookup gives no answer.
enum Trouble {
    /// DNS failed, and how.
    Failed(String),
    /// No question is left.
    Exhausted,
}

/// Looks for records, each once.
pub(super) struct Walker<'a, L> {
    dns: &'a L,
    mode: Mode,
    pub(super) queries: u32,
    authenticity: Option<Authenticity>,
    known: Vec<(String, Published)>,
}

impl<'a, L: Lookup> Walker<'a, L> {
    pub(super) fn new(dns: &'a L, mode: Mode) -> Self {
        Self { dns, mode, queries: 0, authenticity: None, known: Vec::new() }
    }

    /// The least of all answers. Indeterminate when nothing was asked.
    pub(super) fn authenticity(&self) -> Authenticity {
        self.authenticity.unwrap_or(Authenticity::Indeterminate)
    }

    async fn ask(
        &mut self,
        name: &postrider_dns::Name,
        kind: RecordType,
    ) -> Result<postrider_dns::Answer, Trouble> {
        if self.queries == QUERIES_MAX {
            return Err(Trouble::Exhausted);
        }
        self.queries += 1;
        let answer = self.dns.lookup(name, kind).await;
        let known = self.authenticity.unwrap_or(Authenticity::Secure);
        self.authenticity = Some(known.and(answer.authenticity));
        if answer.outcome == Outcome::Failed {
            Err(Trouble::Failed(names::failure(&answer)))
        } else {
            Ok(answer)
        }
    }

    /// What a domain publishes at `_dmarc` below it.
    async fn published(&mut self, domain: &str) -> Result<Published, Trouble> {
        if let Some((_, known)) = self.known.iter().find(|(name, _)| name == domain) {
            return Ok(known.clone());
        }
        let mut published = Published::Nothing;
        // Where the name is too long, nothing can be published.
        if let Some(name) = names::below("_dmarc", domain) {
            let answer = self.ask(&name, RecordType::TXT).await?;
            for text in answer.data().filter_map(names::text_of) {
                let Some(record) = Record::parse(&text) else { continue };
                published = match published {
                    Published::Nothing => Published::Record(record, names::printable(&text)),
                    Published::Several | Published::Record(..) => Published::Several,
                };
            }
        }
        self.known.push((domain.to_owned(), published.clone()));
        Ok(published)
    }

    /// Whether a domain exists: RFC 9989 §3.2.13 means an answer other than NXDOMAIN.
    pub(super) async fn exists(&mut self, domain: &Domain) -> Result<bool, String> {
        let Some(name) = names::of_domain(domain) else { return Ok(false) };
        match self.ask(&name, RecordType::A).await {
            Ok(answer) => Ok(answer.outcome != Outcome::NoName),
            Err(Trouble::Failed(problem)) => Err(problem),
            // The author's domain comes first: there is always a question left for it.
            Err(Trouble::Exhausted) => Ok(true),
        }
    }

    /// Finds the policy for mail of a domain.
    pub(super) async fn discover(&mut self, author: &Domain) -> Discovery {
        let found = match self.mode {
            Mode::TreeWalk => self.discover_by_walk(author).await,
            Mode::PublicSuffixList => self.discover_by_list(author).await,
        };
        match found {
            Ok(Some(policies)) => Discovery::Found(policies),
            Ok(None) => Discovery::None,
            Err(Trouble::Failed(problem)) => Discovery::Failed(problem),
            Err(Trouble::Exhausted) => Discovery::Failed(format!("more than {QUERIES_MAX} questions to DNS")),
        }
    }

    async fn discover_by_walk(&mut self, author: &Domain) -> Result<Option<Policies>, Trouble> {
        if let Published::Record(record, text) = self.published(author.as_str()).await? {
            return Ok(Some(policies(record, text, author, Source::AuthorDomain)));
        }
        let mut walk = self.walk(author).await?;
        if let Some(at) = walk.found.iter().position(|(domain, ..)| *domain == walk.organizational) {
            let (domain, record, text) = walk.found.swap_remove(at);
            return Ok(Some(policies(record, text, &domain, Source::OrganizationalDomain)));
        }
        let above = walk.found.pop().filter(|(_, record, _)| record.public_suffix == PublicSuffixFlag::Yes);
        Ok(above.map(|(domain, record, text)| policies(record, text, &domain, Source::PublicSuffixDomain)))
    }

    /// RFC 7489 §6.6.3. A domain with several records has no policy, and the one above isn't asked.
    async fn discover_by_list(&mut self, author: &Domain) -> Result<Option<Policies>, Trouble> {
        match self.published(author.as_str()).await? {
            Published::Record(record, text) => {
                return Ok(Some(policies(record, text, author, Source::AuthorDomain)));
            }
            Published::Several => return Ok(None),
            Published::Nothing => {}
        }
        let Some(above) = organizational_domain(author, Division::IcannAndPrivate) else { return Ok(None) };
        Ok(match self.published(above.as_str()).await? {
            Published::Record(record, text) => {
                Some(policies(record, text, &above, Source::OrganizationalDomain))
            }
            Published::Several | Published::Nothing => None,
        })
    }

    /// Walks up from a domain (RFC 9989 §4.10), and finds its organizational domain (§4.10.2).
    async fn walk(&mut self, start: &Domain) -> Result<Walk, Trouble> {
        let mut found: Vec<(Domain, Record, String)> = Vec::new();
        let mut flag = PublicSuffixFlag::Unknown;
        for target in targets(start.as_str()) {
            let Published::Record(record, text) = self.published(target).await? else { continue };
            let Ok(domain) = Domain::parse(target) else { continue };
            flag = record.public_suffix;
            found.push((domain, record, text));
            if flag != PublicSuffixFlag::Unknown {
                break;
            }
        }
        let last = found.last().map(|(domain, ..)| domain);
        let organizational = match (last, flag) {
            (None, _) => start.clone(),
            (Some(suffix), PublicSuffixFlag::Yes) if suffix != start => one_below(suffix, start),
            // With `psd=n` it is the last because the walk stopped there; otherwise it has the fewest labels.
            (Some(last), _) => last.clone(),
        };
        Ok(Walk { organizational, found })
    }

    async fn organizational(&mut self, domain: &Domain) -> Result<Domain, Trouble> {
        match self.mode {
            Mode::TreeWalk => Ok(self.walk(domain).await?.organizational),
            // A public suffix is nobody's: it belongs to itself alone.
            Mode::PublicSuffixList => {
                Ok(organizational_domain(domain, Division::IcannAndPrivate).unwrap_or_else(|| domain.clone()))
            }
        }
    }

    /// Whether an identifier is aligned with the author's domain (RFC 9989 §4.4).
    pub(super) async fn is_aligned(
        &mut self,
        author: &Domain,
        identifier: &Domain,
        alignment: Alignment,
    ) -> Result<bool, String> {
        if author == identifier {
            return Ok(true);
        }
        if alignment == Alignment::Strict || top_label(author) != top_label(identifier) {
            return Ok(false);
        }
        let is_aligned = async {
            let ours = self.organizational(author).await?;
            // Strangers cause no questions.
            Ok(identifier.is_at_or_below(&ours) && self.organizational(identifier).await? == ours)
        };
        match is_aligned.await {
            Ok(is_aligned) => Ok(is_aligned),
            Err(Trouble::Failed(problem)) => Err(problem),
            Err(Trouble::Exhausted) => Ok(false),
        }
    }
}

fn policies(record: Record, text: String, domain: &Domain, source: Source) -> Policies {
    Policies { record, text, domain: domain.clone(), source }
}

fn top_label(domain: &Domain) -> &str {
    domain.as_str().rsplit('.').next().unwrap_or_default()
}

/// The names at which the walk from `start` looks: itself, and then those above, of seven labels at most.
pub(super) fn targets(start: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(start);
    std::iter::from_fn(move || {
        let here = rest?;
        let mut above = here.split_once('.').map(|(_, above)| above);
        while let Some(name) = above
            && name.split('.').count() > WALK_LABELS_MAX
        {
            above = name.split_once('.').map(|(_, above)| above);
        }
        rest = above;
        Some(here)
    })
}

/// The domain one label below `above`, on the way to `start`.
pub(super) fn one_below(above: &Domain, start: &Domain) -> Domain {
    let text = start.as_str();
    let kept = text.len().saturating_sub(above.as_str().len() + 1);
    let from = text[..kept].rfind('.').map_or(0, |at| at + 1);
    Domain::parse(&text[from..]).unwrap_or_else(|_| start.clone())
}
