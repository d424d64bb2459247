//! A message while it passes by, and what is found out about it after its end.

use std::time::{Duration, Instant};

use futures_lite::future::zip;
use postrider_authentication::arc::{self, ArcResult};
use postrider_authentication::content::{Content, Reader};
use postrider_authentication::dkim::{self, BODY_HASH, SignatureResult};
use postrider_authentication::dmarc::{self, Author, Identifier};
use postrider_authentication::{iprev, spf};
use postrider_dns::Lookup;
use postrider_proto::address::{Domain, HeloName};
use postrider_proto::dkim::header::HeaderError;
use postrider_proto::smtp::body::ResultsFilter;
use postrider_proto::smtp::envelope::Envelope;

use std::net::IpAddr;

use super::headers::{Headers, Held};

/// A message while it passes by.
pub(in crate::smtp) struct Examination {
    filter: ResultsFilter,
    /// Sees the message as it came; none for mail that isn't checked. What the filter takes out isn't signed.
    reader: Option<Reader>,
    kept: Vec<u8>,
    held: Held,
    has_room: bool,
}

/// Whether the signatures of a message will be looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::smtp) enum Signatures {
    /// They will.
    Read,
    /// It will get some, for which its body is hashed.
    Made,
    /// They won't.
    Ignored,
}

impl Examination {
    /// Begins a message. Fields that claim to be results of one of `ours` are taken out.
    pub(in crate::smtp) fn new(ours: Vec<Domain>, signatures: Signatures, headers: &Headers) -> Self {
        let reader = match signatures {
            Signatures::Read => Some(Reader::new()),
            Signatures::Made => Some(Reader::signing(BODY_HASH)),
            Signatures::Ignored => None,
        };
        let held = headers.hold();
        Self { filter: ResultsFilter::new(ours), reader, kept: Vec::new(), held, has_room: true }
    }

    /// Whether its header could be kept so far. If not, the message has to come again.
    pub(in crate::smtp) fn has_room(&self) -> bool {
        self.has_room
    }

    /// Looks at some content, and gives what of it is to be stored.
    pub(in crate::smtp) fn push<'a>(&'a mut self, content: &'a [u8]) -> &'a [u8] {
        if let Some(reader) = &mut self.reader {
            reader.push(content);
            self.has_room = self.held.set(reader.header_octets());
            if !self.has_room {
                self.reader = None;
            }
        }
        if self.filter.is_in_body() {
            return content;
        }
        self.kept.clear();
        self.filter.push(content, &mut self.kept);
        &self.kept
    }

    /// What is still to be stored at the end of the content.
    pub(in crate::smtp) fn finish(&mut self) -> &[u8] {
        self.kept.clear();
        self.filter.finish(&mut self.kept);
        &self.kept
    }

    /// Fields that were taken out.
    pub(in crate::smtp) fn removed(&self) -> u32 {
        self.filter.removed()
    }

    /// The message as signatures need it, and the room that its header takes.
    pub(in crate::smtp) fn signed(self) -> (Result<Content, HeaderError>, Held) {
        (self.reader.unwrap_or_default().finish(), self.held)
    }
}

/// A transaction, as far as checks need it.
#[derive(Clone, Copy)]
pub(in crate::smtp) struct Transaction<'a> {
    /// The client.
    pub(in crate::smtp) client: IpAddr,
    /// What it called itself.
    pub(in crate::smtp) hello: &'a HeloName,
    /// What it said of the message.
    pub(in crate::smtp) envelope: &'a Envelope,
    /// Our name.
    pub(in crate::smtp) receiver: &'a Domain,
    /// Seconds since 1970.
    pub(in crate::smtp) now: u64,
}

impl Transaction<'_> {
    /// Runs `work` with the question of SPF.
    pub(in crate::smtp) async fn with_spf_query<T>(&self, work: impl AsyncFnOnce(&spf::Query<'_>) -> T) -> T {
        let sender = spf::Sender::of(&self.envelope.reverse_path, self.hello);
        let (helo, receiver) = (self.hello.to_string(), self.receiver.as_str());
        work(&spf::Query {
            client_ip: self.client,
            identity: sender.identity,
            local_part: &sender.local_part,
            domain: &sender.domain,
            helo: &helo,
            receiver,
            unix_seconds: self.now,
        })
        .await
    }

    /// Whether the client may send for the sender's domain.
    pub(in crate::smtp) async fn spf(&self, dns: &impl Lookup) -> Timed<spf::Verdict> {
        self.with_spf_query(async |query| timed(spf::check(dns, &spf::Limits::default(), query)).await).await
    }
}

/// What a check gave, and how long it took.
#[derive(Clone, Debug)]
pub(in crate::smtp) struct Timed<T> {
    pub(in crate::smtp) value: T,
    pub(in crate::smtp) took: Duration,
}

async fn timed<T>(work: impl Future<Output = T>) -> Timed<T> {
    let began = Instant::now();
    let value = work.await;
    Timed { value, took: began.elapsed() }
}

/// What was found out about a message from its transaction and its signatures.
#[derive(Debug)]
pub(in crate::smtp) struct Evidence {
    pub(in crate::smtp) iprev: Timed<iprev::Verdict>,
    pub(in crate::smtp) spf: Timed<spf::Verdict>,
    pub(in crate::smtp) dkim: Timed<Vec<SignatureResult>>,
    pub(in crate::smtp) arc: Timed<ArcResult>,
}

/// Finds out all that doesn't depend on something else, at the same time. `spf` is what was found before.
pub(in crate::smtp) async fn gather(
    dns: &impl Lookup,
    transaction: Transaction<'_>,
    signed: &Result<Content, HeaderError>,
    spf: Option<Timed<spf::Verdict>>,
) -> Evidence {
    let policy = dkim::Policy::default();
    let spf = async {
        match spf {
            Some(known) => known,
            None => transaction.spf(dns).await,
        }
    };
    let iprev = timed(iprev::check(dns, transaction.client));
    let now = transaction.now;
    let signatures = async {
        match signed {
            Ok(content) => {
                zip(timed(dkim::verify(content, &policy, now, dns)), timed(arc::verify(content, now, dns)))
                    .await
            }
            Err(error) => {
                zip(
                    timed(async { vec![SignatureResult::refused(*error)] }),
                    timed(async { ArcResult::refused(*error) }),
                )
                .await
            }
        }
    };
    let ((iprev, spf), (dkim, arc)) = zip(zip(iprev, spf), signatures).await;
    Evidence { iprev, spf, dkim, arc }
}

/// Whether the author's domain stands for the message. `sample` is a number from 0 to 99 by chance.
pub(in crate::smtp) async fn dmarc(
    dns: &impl Lookup,
    evidence: &Evidence,
    author: &Author,
    sample: u8,
) -> Timed<dmarc::Verdict> {
    let spf = Identifier::of_spf(&evidence.spf.value);
    let dkim: Vec<Identifier> = evidence.dkim.value.iter().filter_map(Identifier::of_signature).collect();
    let request =
        dmarc::Request { author, spf: spf.as_ref(), dkim: &dkim, mode: dmarc::Mode::default(), sample };
    timed(dmarc::evaluate(dns, &request)).await
}
