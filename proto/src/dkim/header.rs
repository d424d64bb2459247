//! A header block, and which of its fields a signature covers (RFC 6376 §3.5 `h=`, §5.4.2).

use crate::mime::header::fields;

use super::limits::{HEADER_FIELDS_MAX, HEADER_OCTETS_MAX};

/// Why a header is not looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HeaderError {
    /// Over [`HEADER_OCTETS_MAX`].
    #[error("the header is too large")]
    TooLarge,
    /// More than [`HEADER_FIELDS_MAX`] fields.
    #[error("the header has too many fields")]
    TooManyFields,
}

/// One field as it stands in the message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field<'a> {
    /// The name without the white space that may stand before the colon.
    pub name: &'a [u8],
    /// Everything after the colon, line breaks included.
    pub value: &'a [u8],
    /// The whole field with its line breaks.
    pub octets: &'a [u8],
}

/// Which field of a header it is, in the order of the message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FieldNumber(u32);

/// A header block with its fields found, so that a field is looked up by its name without a walk over all.
#[derive(Clone, Debug)]
pub struct Header {
    octets: Vec<u8>,
    /// In the order of the message.
    places: Vec<Place>,
    /// Numbers of fields, by name regardless of case, then in the order of the message.
    by_name: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    start: u32,
    name_end: u32,
    value_start: u32,
    end: u32,
}

impl Header {
    /// Finds the fields of a block, up to the empty line or the end. A line without a colon is a field whose
    /// name is its content and whose value is empty: some readers take `From` alone for one.
    pub fn parse(octets: Vec<u8>) -> Result<Self, HeaderError> {
        if octets.len() > HEADER_OCTETS_MAX {
            return Err(HeaderError::TooLarge);
        }
        let mut places = Vec::with_capacity(32);
        let mut start: u32 = 0;
        for field in fields(&octets) {
            if places.len() == HEADER_FIELDS_MAX {
                return Err(HeaderError::TooManyFields);
            }
            // Lengths fit: they are below HEADER_OCTETS_MAX.
            let end = start + field.octets.len() as u32;
            let value_start = end - field.value.len() as u32;
            let name_end = start + field.name.len() as u32;
            places.push(Place { start, name_end, value_start, end });
            start = end;
        }
        let mut header = Self { octets, places, by_name: Vec::new() };
        let mut by_name: Vec<u32> = (0..header.places.len() as u32).collect();
        by_name.sort_by(|one, other| compare(header.name(*one), header.name(*other)));
        header.by_name = by_name;
        Ok(header)
    }

    /// The field of a number that this header gave.
    #[must_use]
    pub fn get(&self, number: FieldNumber) -> Field<'_> {
        self.field(number.0)
    }

    /// Numbers of the fields of one name, in the order of the message.
    pub fn numbers(&self, name: &str) -> impl DoubleEndedIterator<Item = FieldNumber> + ExactSizeIterator {
        self.group(name).iter().copied().map(FieldNumber)
    }

    fn name(&self, number: u32) -> &[u8] {
        self.field(number).name
    }

    fn field(&self, number: u32) -> Field<'_> {
        let Place { start, name_end, value_start, end } = self.places[number as usize];
        let octets = |from: u32, to: u32| &self.octets[from as usize..to as usize];
        Field { name: octets(start, name_end), value: octets(value_start, end), octets: octets(start, end) }
    }

    /// All fields in the order of the message.
    pub fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        (0..self.places.len() as u32).map(|number| self.field(number))
    }

    /// Fields of one name in the order of the message.
    pub fn named(&self, name: &str) -> impl DoubleEndedIterator<Item = Field<'_>> + ExactSizeIterator {
        self.group(name).iter().map(|number| self.field(*number))
    }

    fn group(&self, name: &str) -> &[u32] {
        let name = name.as_bytes();
        let start = self.by_name.partition_point(|number| compare(self.name(*number), name).is_lt());
        let length =
            self.by_name[start..].partition_point(|number| compare(self.name(*number), name).is_eq());
        &self.by_name[start..start + length]
    }

    /// The fields that the names of `h=` stand for, in that order: the first mention of a name is the
    /// lowest field of that name, each further one the next above. A mention beyond the fields there are is
    /// nothing at all.
    pub fn select<'a, S: AsRef<str>>(&'a self, names: &'a [S]) -> impl Iterator<Item = Field<'a>> {
        names.iter().enumerate().filter_map(|(at, name)| {
            let name = name.as_ref();
            let group = self.group(name);
            let before = names[..at].iter().filter(|other| other.as_ref().eq_ignore_ascii_case(name)).count();
            let number = group.len().checked_sub(before + 1)?;
            Some(self.field(group[number]))
        })
    }

    /// The block as it was given.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }
}

/// Compares names regardless of the case of ASCII letters.
fn compare(one: &[u8], other: &[u8]) -> std::cmp::Ordering {
    let lower = |octets: &'_ [u8], at: usize| octets[at].to_ascii_lowercase();
    let shared = one.len().min(other.len());
    for at in 0..shared {
        let order = lower(one, at).cmp(&lower(other, at));
        if order.is_ne() {
            return order;
        }
    }
    one.len().cmp(&other.len())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use super::*;

    fn header(text: &str) -> Header {
        Header::parse(text.as_bytes().to_vec()).unwrap()
    }

    fn selected(header: &Header, names: &[&str]) -> Vec<String> {
        let text = |field: Field<'_>| String::from_utf8(field.octets.to_vec()).unwrap();
        header.select(names).map(text).collect()
    }

    #[test]
    fn fields_are_taken_from_the_bottom_of_the_header() {
        // The example of RFC 6376 §5.4.2.
        let header =
            header("Received: <A>\r\nReceived: <B>\r\nReceived: <C>\r\nFrom: x\r\n\r\nFrom: body\r\n");
        assert_eq!(
            selected(&header, &["Received", "from", "RECEIVED"]),
            ["Received: <C>\r\n", "From: x\r\n", "Received: <B>\r\n"]
        );
        // Mentions beyond the last are nothing.
        assert_eq!(selected(&header, &["from", "from", "subject", "from"]), ["From: x\r\n"]);
        assert_eq!(selected(&header, &["received"; 5]).len(), 3);
    }

    #[test]
    fn names_are_found_in_every_spelling_and_in_the_order_of_the_message() {
        let header = header("a: 1\r\nFROM : 2\r\n folded\r\nfrom: 3\r\nFromage: 4\r\nno field\r\n");
        let values: Vec<&[u8]> = header.named("From").map(|field| field.value).collect();
        assert_eq!(values, [&b" 2\r\n folded\r\n"[..], b" 3\r\n"]);
        assert_eq!(header.named("from").len(), 2);
        assert_eq!(header.named("fro").len(), 0);
        assert_eq!(header.fields().count(), 5);
    }

    #[test]
    fn a_header_over_a_limit_is_refused() {
        let fields = |count: usize| b"a: b\r\n".repeat(count);
        assert_eq!(Header::parse(fields(HEADER_FIELDS_MAX)).unwrap().fields().count(), HEADER_FIELDS_MAX);
        assert_eq!(Header::parse(fields(HEADER_FIELDS_MAX + 1)).unwrap_err(), HeaderError::TooManyFields);
        let long = |octets: usize| [b"a: ".as_slice(), &vec![b'x'; octets - 5], b"\r\n"].concat();
        assert!(Header::parse(long(HEADER_OCTETS_MAX)).is_ok());
        assert_eq!(Header::parse(long(HEADER_OCTETS_MAX + 1)).unwrap_err(), HeaderError::TooLarge);
    }
}
