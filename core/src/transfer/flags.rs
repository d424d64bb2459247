//! Flags and keywords as mail programs write them into file names and header fields.

use postrider_proto::imap::types::{Flags, Keyword};

/// Keywords that a Maildir can give letters to.
pub(super) const LETTERS: usize = 26;

/// Flags and keywords of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) flags: Flags,
    pub(super) keywords: Vec<Keyword>,
}

impl Marks {
    fn set(&mut self, flag: Flags) {
        self.flags = self.flags.with(flag);
    }

    fn add(&mut self, keyword: Keyword) {
        if !self.keywords.contains(&keyword) {
            self.keywords.push(keyword);
        }
    }

    /// Reads the part of a Maildir's file name behind `:2,`. `keywords` are those of `dovecot-keywords`.
    pub(super) fn of_file_name(name: &[u8], keywords: &[Option<Keyword>]) -> Self {
        let mut marks = Self::default();
        let Some(at) = name.windows(3).rposition(|part| part == b":2,") else { return marks };
        for octet in name.get(at + 3..).unwrap_or_default() {
            match octet {
                b'D' => marks.set(Flags::DRAFT),
                b'F' => marks.set(Flags::FLAGGED),
                b'R' => marks.set(Flags::ANSWERED),
                b'S' => marks.set(Flags::SEEN),
                b'T' => marks.set(Flags::DELETED),
                b'P' => Keyword::new("$Forwarded").into_iter().for_each(|keyword| marks.add(keyword)),
                b'a'..=b'z' => {
                    let keyword = keywords.get(usize::from(octet - b'a')).cloned().flatten();
                    keyword.into_iter().for_each(|keyword| marks.add(keyword));
                }
                // Another comma begins what single programs add.
                b',' => break,
                _ => {}
            }
        }
        marks
    }

    /// The part of a Maildir's file name behind `:2,`. Keywords get the letters of their places in
    /// `keywords`, which grows up to [`LETTERS`]; gives those that have no letter.
    pub(super) fn to_file_name(&self, keywords: &mut Vec<Keyword>) -> (String, Vec<Keyword>) {
        let letters = [
            (Flags::DRAFT, 'D'),
            (Flags::FLAGGED, 'F'),
            (Flags::ANSWERED, 'R'),
            (Flags::SEEN, 'S'),
            (Flags::DELETED, 'T'),
        ];
        let mut name: String = letters
            .iter()
            .filter(|(flag, _)| self.flags.contains(*flag))
            .map(|(_, letter)| *letter)
            .collect();
        let (mut places, mut lost) = (Vec::new(), Vec::new());
        for keyword in &self.keywords {
            let place = keywords.iter().position(|known| known == keyword);
            match place {
                Some(place) => places.push(place),
                None if keywords.len() < LETTERS => {
                    places.push(keywords.len());
                    keywords.push(keyword.clone());
                }
                None => lost.push(keyword.clone()),
            }
        }
        places.sort_unstable();
        name.extend(
            places.iter().filter_map(|place| u8::try_from(*place).ok()).map(|at| char::from(b'a' + at)),
        );
        (name, lost)
    }

    /// Reads a header field that holds flags; false when it is none.
    pub(super) fn read_field(&mut self, name: &[u8], value: &[u8]) -> bool {
        if name.eq_ignore_ascii_case(b"status") || name.eq_ignore_ascii_case(b"x-status") {
            for octet in value {
                match octet {
                    b'R' => self.set(Flags::SEEN),
                    b'A' => self.set(Flags::ANSWERED),
                    b'F' => self.set(Flags::FLAGGED),
                    b'D' => self.set(Flags::DELETED),
                    b'T' => self.set(Flags::DRAFT),
                    _ => {}
                }
            }
            return true;
        }
        if !name.eq_ignore_ascii_case(b"x-keywords") {
            return false;
        }
        let words = value.split(|octet| octet.is_ascii_whitespace() || *octet == b',');
        for word in words {
            let keyword = std::str::from_utf8(word).ok().and_then(Keyword::new);
            keyword.into_iter().for_each(|keyword| self.add(keyword));
        }
        true
    }

    /// The three header fields, always all three, so that a reader knows where they end.
    pub(super) fn to_fields(&self) -> String {
        let letters = |pairs: &[(Flags, char)]| -> String {
            pairs.iter().filter(|(flag, _)| self.flags.contains(*flag)).map(|(_, letter)| *letter).collect()
        };
        let status = letters(&[(Flags::SEEN, 'R')]);
        let more = letters(&[
            (Flags::ANSWERED, 'A'),
            (Flags::FLAGGED, 'F'),
            (Flags::DELETED, 'D'),
            (Flags::DRAFT, 'T'),
        ]);
        let keywords: Vec<&str> = self.keywords.iter().map(Keyword::as_str).collect();
        format!("Status: {status}O\nX-Status: {more}\nX-Keywords: {}\n", keywords.join(" "))
    }
}

/// Reads a `dovecot-keywords` file: lines of a number and a keyword.
pub(super) fn read_keywords(text: &[u8]) -> Vec<Option<Keyword>> {
    let mut keywords = vec![None; LETTERS];
    for line in text.split(|octet| *octet == b'\n') {
        let Ok(line) = std::str::from_utf8(line) else { continue };
        let Some((number, keyword)) = line.trim_end().split_once(' ') else { continue };
        if let Some(place) = number.parse().ok().and_then(|number: usize| keywords.get_mut(number)) {
            *place = Keyword::new(keyword);
        }
    }
    keywords
}

/// Writes a `dovecot-keywords` file.
pub(super) fn write_keywords(keywords: &[Keyword]) -> String {
    keywords.iter().enumerate().map(|(number, keyword)| format!("{number} {keyword}\n")).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn marks_survive_file_names_and_fields() {
        let keywords = ["$Junk", "work", "x"].map(|text| Keyword::new(text).unwrap());
        let marks = Marks { flags: Flags::SEEN.with(Flags::DRAFT), keywords: keywords.to_vec() };
        let mut known = Vec::new();
        let (name, lost) = marks.to_file_name(&mut known);
        assert_eq!((name.as_str(), lost), ("DSabc", vec![]));
        let read = read_keywords(write_keywords(&known).as_bytes());
        assert_eq!(Marks::of_file_name(b"1.2.host:2,DSabc", &read), marks);
        let mut back = Marks::default();
        for line in marks.to_fields().lines() {
            let (name, value) = line.split_once(':').unwrap();
            assert!(back.read_field(name.as_bytes(), value.as_bytes()));
        }
        assert_eq!(back, marks);
    }

    #[test]
    fn letters_of_a_maildir_run_out_at_26() {
        let keywords = |count: usize| (0..count).map(|at| Keyword::new(&format!("k{at}")).unwrap()).collect();
        let lost = |count| {
            let marks = Marks { flags: Flags::NONE, keywords: keywords(count) };
            marks.to_file_name(&mut Vec::new()).1.len()
        };
        assert_eq!((lost(LETTERS), lost(LETTERS + 1)), (0, 1));
    }
}
