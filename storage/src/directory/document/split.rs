//! Cuts a text into pieces that can be read one by one, while it arrives.
//!
//! A piece is a table with its header. What comes before the first header is a piece of its own. A table of
//! many entries, as `[refusal]`, is cut between two of them, and each piece gets the header again. Nothing
//! is understood here but where a statement of TOML ends: strings, brackets and comments. Where a text is
//! wrong there, whoever reads the pieces says so.

use super::Fault;

/// The longest piece: an account with some 90,000 addresses. About twelve times as much memory is needed to
/// read it.
pub(in super::super) const PIECE_OCTETS_MAX: usize = 4 << 20;
/// Where a table of many entries is cut.
const PIECE_OCTETS_USUAL: usize = 64 << 10;

/// A part of a text that can be read without the rest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in super::super) struct Piece {
    /// The header, if there is one, and what is below it.
    pub(in super::super) text: Vec<u8>,
    /// Octets of the header.
    header_octets: usize,
    /// The line of the header, from 1.
    header_line: usize,
    /// The line of what is below it.
    line: usize,
}

impl Piece {
    /// Whether it is the one before the first header.
    pub(in super::super) const fn is_root(&self) -> bool {
        self.header_octets == 0
    }

    /// The line of an octet of the piece, in the whole text.
    pub(in super::super) fn line_at(&self, offset: usize) -> usize {
        let lines = |from: usize, to: usize| {
            self.text.get(from..to).map_or(0, |text| memchr::memchr_iter(b'\n', text).count())
        };
        if offset < self.header_octets {
            return self.header_line + lines(0, offset);
        }
        self.line + lines(self.header_octets, offset.min(self.text.len()))
    }

    /// Whether one of two octets is of the header, and the other isn't.
    pub(in super::super) const fn crosses_header(&self, offset: usize, other: usize) -> bool {
        (offset < self.header_octets) != (other < self.header_octets)
    }

    /// The line that it begins at.
    pub(in super::super) const fn first_line(&self) -> usize {
        if self.is_root() { self.line } else { self.header_line }
    }
}

/// What the octets so far are in the middle of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Blanks before a statement.
    Between,
    /// A statement, outside of strings.
    Plain,
    Comment,
    /// A string that ends with this quote, or with the line.
    String(u8),
    /// The octet after `\` in such a string.
    Escaped,
    /// A string that ends with three of this quote.
    Long(u8),
    LongEscaped,
    /// So many quotes in a row, that begin a string or end a long one.
    Quotes {
        quote: u8,
        count: u8,
        inside: bool,
    },
}

/// Cuts a text that comes in chunks.
#[derive(Debug)]
pub(in super::super) struct Splitter {
    state: State,
    /// Brackets and braces that are open.
    depth: usize,
    /// The statement that is being read is a header.
    in_header: bool,
    /// The key of the present statement has a dot: it may belong to the same entry as the next one.
    dotted: bool,
    /// An `=` was seen in the present statement.
    valued: bool,
    piece: Piece,
    /// The present table can be cut between statements.
    can_cut: bool,
    line: usize,
}

impl Default for Splitter {
    fn default() -> Self {
        let piece = Piece { text: Vec::new(), header_octets: 0, header_line: 1, line: 1 };
        Self {
            state: State::Between,
            depth: 0,
            in_header: false,
            dotted: false,
            valued: false,
            piece,
            can_cut: false,
            line: 1,
        }
    }
}

impl Splitter {
    /// Takes the next octets, and gives the pieces that are whole to `each`.
    pub(in super::super) fn push(&mut self, chunk: &[u8], each: &mut dyn FnMut(Piece)) -> Result<(), Fault> {
        for &octet in chunk {
            self.octet(octet, each);
            if self.piece.text.len() > PIECE_OCTETS_MAX {
                let mib = PIECE_OCTETS_MAX >> 20;
                let problem = format!("this table is longer than {mib} MiB, which is the most");
                return Err(Fault { line: self.piece.first_line(), problem });
            }
        }
        Ok(())
    }

    /// The rest, which may be two pieces where the text ends in a header.
    pub(in super::super) fn finish(&mut self, each: &mut dyn FnMut(Piece)) {
        if self.piece.text.last().is_some_and(|octet| *octet != b'\n') {
            self.octet(b'\n', each);
        }
        each(std::mem::take(self).piece);
    }

    fn octet(&mut self, octet: u8, each: &mut dyn FnMut(Piece)) {
        if let State::Quotes { quote, count, inside } = self.state
            && (octet != quote || count == 8)
        {
            self.state = match (inside, count) {
                // Two are an empty string, six and more a long one that is empty or full of quotes.
                (false, 1) => State::String(quote),
                (false, 3..=5) | (true, 0..=2) => State::Long(quote),
                _ => State::Plain,
            };
        }
        if self.state == State::Between && !matches!(octet, b' ' | b'\t' | b'\r' | b'\n' | b'#') {
            self.begin(octet, each);
        }
        self.piece.text.push(octet);
        self.state = match (self.state, octet) {
            (State::Quotes { quote, count, inside }, _) if octet == quote => {
                State::Quotes { quote, count: count + 1, inside }
            }
            (State::String(_) | State::Escaped, b'\n') => State::Plain,
            (State::String(b'"'), b'\\') => State::Escaped,
            (State::Escaped, _) => State::String(b'"'),
            (State::String(quote), _) if octet == quote => State::Plain,
            (State::Long(b'"'), b'\\') => State::LongEscaped,
            (State::LongEscaped, _) => State::Long(b'"'),
            (State::Long(quote), _) if octet == quote => State::Quotes { quote, count: 1, inside: true },
            (State::Comment, b'\n') => State::Plain,
            (State::Plain | State::Between, b'#') => State::Comment,
            (State::Plain, b'"' | b'\'') => State::Quotes { quote: octet, count: 1, inside: false },
            (State::Plain, _) => {
                self.plain(octet);
                State::Plain
            }
            (state, _) => state,
        };
        if octet == b'\n' {
            self.line += 1;
            if self.state == State::Plain && (self.depth == 0 || self.in_header) {
                self.end(each);
            }
        }
    }

    fn plain(&mut self, octet: u8) {
        match octet {
            b'[' | b'{' => self.depth += 1,
            b']' | b'}' => self.depth = self.depth.saturating_sub(1),
            b'=' => self.valued = true,
            b'.' if !self.valued => self.dotted = true,
            _ => {}
        }
    }

    /// A statement begins.
    fn begin(&mut self, octet: u8, each: &mut dyn FnMut(Piece)) {
        self.state = State::Plain;
        self.depth = 0;
        self.dotted = false;
        self.valued = false;
        self.in_header = octet == b'[';
        if !self.in_header {
            return;
        }
        // The blanks and comments above a header go with what is above.
        let next = Piece { text: Vec::new(), header_octets: 0, header_line: self.line, line: self.line };
        each(std::mem::replace(&mut self.piece, next));
    }

    /// A line ended that ends a statement, or has only a comment.
    fn end(&mut self, each: &mut dyn FnMut(Piece)) {
        self.state = State::Between;
        self.depth = 0;
        if self.in_header {
            self.in_header = false;
            self.piece.header_octets = self.piece.text.len();
            self.piece.line = self.line;
            let name: Vec<u8> =
                self.piece.text.iter().copied().filter(|octet| !octet.is_ascii_whitespace()).collect();
            self.can_cut = [&b"[refusal]"[..], b"[account]", b"[domain]", b"[alias]"].contains(&&name[..]);
        } else if self.can_cut && !self.dotted && self.piece.text.len() > PIECE_OCTETS_USUAL {
            let header = self.piece.text.get(..self.piece.header_octets).unwrap_or_default().to_vec();
            let next = Piece { text: header, line: self.line, ..self.piece };
            each(std::mem::replace(&mut self.piece, next));
        }
    }
}
