//! Queries as octets, and which responses answer them (RFC 1035 §4, RFC 5452, RFC 6891).

use hickory_proto::rr::{Name, RecordType};

use crate::limits::UDP_OCTETS;

/// Octets of a message's header (RFC 1035 §4.1.1).
const HEADER_OCTETS: usize = 12;
/// FORMERR, NOTIMP: a server that didn't understand the query may leave the question out.
const RCODES_WITHOUT_QUESTION: [u8; 2] = [1, 4];

/// How a query is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Manner {
    /// With an OPT record: room for larger responses, signatures, extended errors.
    pub edns: bool,
    /// The CD bit: whoever is asked needn't validate, since we do (RFC 4035 §3.2.2).
    pub checking_disabled: bool,
    /// Letters in random case, which the response must repeat (a way to make forging harder).
    pub mixed_case: bool,
}

/// A query, ready to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    octets: Vec<u8>,
    question_end: usize,
}

impl Query {
    /// Builds a query of class IN. `chance` gives the id, and the case of letters.
    pub fn new(name: &Name, kind: RecordType, manner: Manner, chance: &mut impl FnMut() -> u8) -> Self {
        let mut octets = Vec::with_capacity(HEADER_OCTETS + name.len() + 4 + 11);
        octets.extend([chance(), chance()]);
        // RD; AD says that we understand the AD bit of the response (RFC 6840 §5.7).
        octets.extend([0x01, if manner.checking_disabled { 0x30 } else { 0x20 }]);
        octets.extend([0, 1, 0, 0, 0, 0, 0, u8::from(manner.edns)]);
        for label in name.iter() {
            // A name can't hold longer labels than 63 octets.
            octets.push(u8::try_from(label.len()).unwrap_or(0));
            for &octet in label {
                let toggle = manner.mixed_case && octet.is_ascii_alphabetic() && chance() & 1 == 1;
                octets.push(if toggle { octet ^ 0x20 } else { octet });
            }
        }
        octets.push(0);
        octets.extend(u16::from(kind).to_be_bytes());
        octets.extend([0, 1]);
        let question_end = octets.len();
        if manner.edns {
            // The root, OPT, the size, extended code and version 0, DO, no options (RFC 6891 §6.1.2).
            octets.extend([0, 0, 41]);
            octets.extend(UDP_OCTETS.to_be_bytes());
            octets.extend([0, 0, 0x80, 0, 0, 0]);
        }
        Self { octets, question_end }
    }

    /// What is sent.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Whether `response` answers this query, the case of letters aside.
    pub fn is_answered_by(&self, response: &[u8]) -> bool {
        let Some(header) = response.get(..HEADER_OCTETS) else { return false };
        let is_response = header[2] & 0x80 != 0;
        let is_query = header[2] & 0x78 == 0;
        if header[..2] != self.octets[..2] || !is_response || !is_query {
            return false;
        }
        match [header[4], header[5]] {
            [0, 0] => RCODES_WITHOUT_QUESTION.contains(&(header[3] & 0x0f)),
            [0, 1] => {
                let asked = &self.octets[HEADER_OCTETS..self.question_end];
                let (name, kind_and_class) = asked.split_at(asked.len() - 4);
                response.get(HEADER_OCTETS..self.question_end).is_some_and(|question| {
                    question[..name.len()].eq_ignore_ascii_case(name) && question.ends_with(kind_and_class)
                })
            }
            _ => false,
        }
    }

    /// Whether the response repeats the letters in the case in which they were sent. Asked only of one that
    /// answers this query.
    pub fn has_case_of(&self, response: &[u8]) -> bool {
        let asked = &self.octets[HEADER_OCTETS..self.question_end];
        let without_question = response.get(4..6) == Some(&[0, 0]);
        without_question || response.get(HEADER_OCTETS..self.question_end) == Some(asked)
    }
}

/// Whether the response was cut to fit a datagram (the TC bit).
pub(crate) fn is_truncated(response: &[u8]) -> bool {
    response.get(2).is_some_and(|octet| octet & 0x02 != 0)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use hickory_proto::op::Message;

    use super::*;

    const MANNER: Manner = Manner { edns: true, checking_disabled: true, mixed_case: true };

    fn query(manner: Manner) -> Query {
        let mut state = 0_u8;
        Query::new(&Name::from_ascii("Mail.example.").unwrap(), RecordType::MX, manner, &mut || {
            state = state.wrapping_mul(73).wrapping_add(41);
            state >> 3
        })
    }

    /// The query as a response, with changes.
    fn response(query: &Query, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut octets = query.octets().to_vec();
        octets[2] |= 0x80;
        change(&mut octets);
        octets
    }

    #[test]
    fn another_implementation_reads_what_is_sent() {
        let query = query(MANNER);
        let message = Message::from_vec(query.octets()).unwrap();
        assert_eq!(message.queries[0].name, Name::from_ascii("mail.example.").unwrap());
        assert!(!message.queries[0].name.eq_case(&Name::from_ascii("mail.example.").unwrap()));
        assert_eq!(message.queries[0].query_type, RecordType::MX);
        assert!(message.metadata.recursion_desired && message.metadata.checking_disabled);
        let edns = message.edns.unwrap();
        assert!(edns.flags().dnssec_ok);
        assert_eq!((edns.version(), edns.max_payload()), (0, 1232));

        let plain = Manner { edns: false, checking_disabled: false, mixed_case: false };
        let message = Message::from_vec(self::query(plain).octets()).unwrap();
        assert!(message.edns.is_none() && !message.metadata.checking_disabled);
        assert!(message.queries[0].name.eq_case(&Name::from_ascii("Mail.example.").unwrap()));
    }

    #[test]
    fn only_a_response_to_the_question_is_an_answer() {
        let query = query(MANNER);
        let answers = |change: &dyn Fn(&mut Vec<u8>)| query.is_answered_by(&response(&query, change));
        assert!(answers(&|_| ()));
        assert!(!answers(&|octets| octets[0] ^= 1), "another id");
        assert!(!answers(&|octets| octets[2] &= 0x7f), "a query");
        assert!(!answers(&|octets| octets[2] |= 0x28), "an update");
        assert!(!answers(&|octets| octets[14] ^= 1), "another name");
        assert!(!answers(&|octets| octets[query.question_end - 3] ^= 1), "another type");
        assert!(!answers(&|octets| octets[query.question_end - 1] ^= 2), "another class");
        assert!(!answers(&|octets| octets[5] = 2), "two questions");
        assert!(!answers(&|octets| octets.truncate(20)));
        assert!(!query.is_answered_by(&[]));
        assert!(!answers(&|octets| octets[5] = 0), "no question without an error");
        assert!(answers(&|octets| {
            octets[5] = 0;
            octets[3] = 1;
        }));
    }

    #[test]
    fn the_case_of_letters_is_compared() {
        let query = query(MANNER);
        assert!(query.has_case_of(&response(&query, |_| ())));
        let other = response(&query, |octets| octets[13] ^= 0x20);
        assert!(query.is_answered_by(&other));
        assert!(!query.has_case_of(&other));
    }
}
