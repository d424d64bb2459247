//! The reader under the grammar: characters, atoms, strings, numbers (RFC 9051 §9).

use std::borrow::Cow;
use std::num::NonZeroU32;

use super::super::sequence::{Counted, MessageSet, ResultRange, SequenceNumber, SequenceRange, SequenceSet};
use super::{Context, Fault, Utf8};

/// What reading yields.
pub(super) type Parsed<T> = Result<T, Fault>;

/// A position in one framed command.
#[derive(Clone)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
    context: Context<'a>,
}

/// RFC 9051 §9, `ATOM-CHAR`.
pub(super) const fn is_atom_octet(octet: u8) -> bool {
    octet.is_ascii_graphic() && !matches!(octet, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']')
}

/// RFC 9051 §9, `ASTRING-CHAR`.
pub(in crate::imap) const fn is_astring_octet(octet: u8) -> bool {
    is_atom_octet(octet) || octet == b']'
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(input: &'a [u8], context: Context<'a>) -> Self {
        Self { rest: input, context }
    }

    pub(super) const fn context(&self) -> &Context<'a> {
        &self.context
    }

    pub(super) fn utf8(&self) -> Utf8 {
        self.context.utf8
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Takes `octet` if it is next.
    pub(super) fn take(&mut self, octet: u8) -> bool {
        let found = self.peek() == Some(octet);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    /// Takes one octet that was peeked at.
    pub(super) fn skip(&mut self) {
        self.rest = self.rest.get(1..).unwrap_or_default();
    }

    /// Takes `text` if it is next, in whatever case.
    pub(super) fn take_text(&mut self, text: &str) -> bool {
        let found =
            self.rest.get(..text.len()).is_some_and(|head| head.eq_ignore_ascii_case(text.as_bytes()));
        if found {
            self.rest = &self.rest[text.len()..];
        }
        found
    }

    pub(super) fn expect(&mut self, octet: u8, fault: &'static str) -> Parsed<()> {
        if self.take(octet) { Ok(()) } else { Err(Fault::Syntax(fault)) }
    }

    pub(super) fn space(&mut self) -> Parsed<()> {
        self.expect(b' ', "space expected")
    }

    pub(super) fn open(&mut self) -> Parsed<()> {
        self.expect(b'(', "( expected")
    }

    pub(super) fn close(&mut self) -> Parsed<()> {
        self.expect(b')', ") expected")
    }

    /// The end of the command.
    pub(super) fn end(&self) -> Parsed<()> {
        match self.rest {
            b"\r\n" => Ok(()),
            b"\n" => Err(Fault::Syntax("a line ends with CRLF")),
            _ => Err(Fault::Syntax("end of command expected")),
        }
    }

    /// Octets while `wanted`; may be none.
    pub(super) fn while_octets(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let length = self.rest.iter().position(|octet| !wanted(*octet)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    /// `atom`
    pub(super) fn atom(&mut self) -> Parsed<&'a str> {
        ascii(self.while_octets(is_atom_octet), "atom expected")
    }

    /// A name in front of which nothing else fits: letters, digits, `.`, `-`, `_`, `=`.
    pub(super) fn label(&mut self) -> Parsed<Label> {
        let label = self.while_octets(|o| o.is_ascii_alphanumeric() || b".-_=".contains(&o));
        Label::new(label).ok_or(Fault::Syntax("name expected"))
    }

    /// `astring` of whatever octets but NUL.
    pub(super) fn astring_octets(&mut self) -> Parsed<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{') => self.literal().map(Cow::Borrowed),
            _ => match self.while_octets(is_astring_octet) {
                [] => Err(Fault::Syntax("string expected")),
                atom => Ok(Cow::Borrowed(atom)),
            },
        }
    }

    /// `astring` of UTF-8.
    pub(super) fn astring(&mut self) -> Parsed<Cow<'a, str>> {
        self.astring_octets().and_then(text)
    }

    /// `string` of UTF-8.
    pub(super) fn string(&mut self) -> Parsed<Cow<'a, str>> {
        match self.peek() {
            Some(b'"') => self.quoted().and_then(text),
            Some(b'{') => self.literal().map(Cow::Borrowed).and_then(text),
            _ => Err(Fault::Syntax("string expected")),
        }
    }

    /// `nstring` of UTF-8.
    pub(super) fn nstring(&mut self) -> Parsed<Option<Cow<'a, str>>> {
        if matches!(self.peek(), Some(b'N' | b'n')) {
            return if self.take_text("NIL") {
                Ok(None)
            } else {
                Err(Fault::Syntax("string or NIL expected"))
            };
        }
        self.string().map(Some)
    }

    /// `nstring / literal8`: whatever octets, NUL in a `literal8` only.
    pub(super) fn nstring8(&mut self) -> Parsed<Option<Cow<'a, [u8]>>> {
        match self.peek() {
            Some(b'"') => self.quoted().map(Some),
            Some(b'{') => self.literal().map(Cow::Borrowed).map(Some),
            Some(b'~') => {
                self.skip();
                self.literal8().map(Cow::Borrowed).map(Some)
            }
            _ if self.take_text("NIL") => Ok(None),
            _ => Err(Fault::Syntax("string or NIL expected")),
        }
    }

    /// `quoted`
    fn quoted(&mut self) -> Parsed<Cow<'a, [u8]>> {
        self.expect(b'"', "quoted string expected")?;
        let plain = self.while_octets(is_plain_in_quotes);
        if self.take(b'"') {
            return Ok(Cow::Borrowed(plain));
        }
        let mut octets = plain.to_vec();
        loop {
            if self.take(b'"') {
                return Ok(Cow::Owned(octets));
            }
            self.expect(b'\\', "quoted string doesn't end")?;
            match self.peek() {
                Some(escaped @ (b'"' | b'\\')) => {
                    self.take(escaped);
                    octets.push(escaped);
                }
                _ => return Err(Fault::Syntax("\\ stands before \" and \\ only")),
            }
            octets.extend_from_slice(self.while_octets(is_plain_in_quotes));
        }
    }

    /// `literal`: whatever octets but NUL.
    fn literal(&mut self) -> Parsed<&'a [u8]> {
        let content = self.literal8()?;
        if memchr::memchr(0, content).is_some() {
            return Err(Fault::Syntax("NUL in a literal"));
        }
        Ok(content)
    }

    /// `literal8` behind its `~`: whatever octets.
    fn literal8(&mut self) -> Parsed<&'a [u8]> {
        self.expect(b'{', "literal expected")?;
        let octets = self.number64()?;
        self.take(b'+');
        self.expect(b'}', "} expected")?;
        if !self.take_text("\r\n") {
            return Err(Fault::Syntax("a literal begins on a new line"));
        }
        let octets = usize::try_from(octets).ok().filter(|octets| *octets <= self.rest.len());
        let (content, rest) = self.rest.split_at(octets.ok_or(Fault::Syntax("literal is cut off"))?);
        self.rest = rest;
        Ok(content)
    }

    /// The header of a message literal, which ends the input: its content streams.
    pub(super) fn message_literal_header(&mut self) -> Parsed<()> {
        self.expect(b'{', "literal expected")?;
        self.while_octets(|octet| octet.is_ascii_digit());
        self.take(b'+');
        self.expect(b'}', "} expected")?;
        self.end()
    }

    /// `number64`: up to 63 bits.
    pub(super) fn number64(&mut self) -> Parsed<u64> {
        let digits = self.while_octets(|octet| octet.is_ascii_digit());
        if digits.is_empty() {
            return Err(Fault::Syntax("number expected"));
        }
        digits
            .iter()
            .try_fold(0u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
            .filter(|number| *number <= i64::MAX as u64)
            .ok_or(Fault::Syntax("number is too large"))
    }

    /// `nz-number`
    pub(super) fn nz_number(&mut self) -> Parsed<NonZeroU32> {
        let number = u32::try_from(self.number64()?).ok();
        number.and_then(NonZeroU32::new).ok_or(Fault::Syntax("number out of range"))
    }

    /// `partial-range` (RFC 9394 §4).
    pub(super) fn result_range(&mut self) -> Parsed<ResultRange> {
        let counted = if self.peek() == Some(b'-') { Counted::FromLast } else { Counted::FromFirst };
        let place = |cursor: &mut Self| {
            if counted == Counted::FromLast {
                cursor.expect(b'-', "both ends count from the last result")?;
            }
            cursor.nz_number()
        };
        let from = place(self)?;
        self.expect(b':', ": expected")?;
        Ok(ResultRange { from, to: place(self)?, counted })
    }

    /// `sequence-set`, also `$`.
    pub(super) fn message_set(&mut self) -> Parsed<MessageSet> {
        if self.take(b'$') {
            return Ok(MessageSet::Saved);
        }
        self.sequence_set().map(MessageSet::Set)
    }

    /// `sequence-set` without `$`.
    pub(super) fn sequence_set(&mut self) -> Parsed<SequenceSet> {
        let mut ranges = Vec::new();
        loop {
            if ranges.len() == self.context.limits.sequence_set_elements_max {
                return Err(Fault::TooBig("sequence set is too long"));
            }
            let from = self.sequence_number()?;
            let to = if self.take(b':') { self.sequence_number()? } else { from };
            ranges.push(SequenceRange { from, to });
            if !self.take(b',') {
                break;
            }
        }
        SequenceSet::new(ranges).ok_or(Fault::Syntax("sequence set expected"))
    }

    /// `seq-number`
    pub(super) fn sequence_number(&mut self) -> Parsed<SequenceNumber> {
        if self.take(b'*') { Ok(SequenceNumber::Last) } else { self.nz_number().map(SequenceNumber::Number) }
    }

    /// One or more of something, separated by spaces, in parentheses that are already open.
    pub(super) fn list(&mut self, mut item: impl FnMut(&mut Self) -> Parsed<()>) -> Parsed<()> {
        loop {
            item(self)?;
            if self.take(b')') {
                return Ok(());
            }
            self.space()?;
        }
    }
}

/// A short name in upper case.
#[derive(Clone, Copy)]
pub(super) struct Label {
    octets: [u8; Self::OCTETS_MAX],
    length: usize,
}

impl Label {
    const OCTETS_MAX: usize = 24;

    /// Makes a label; an overlong one is cut, which no known name equals. None when empty.
    fn new(text: &[u8]) -> Option<Self> {
        if text.is_empty() {
            return None;
        }
        let mut octets = [0; Self::OCTETS_MAX];
        let length = text.len().min(Self::OCTETS_MAX);
        for (to, from) in octets.iter_mut().zip(text) {
            *to = from.to_ascii_uppercase();
        }
        Some(Self { octets, length })
    }

    /// The name; never longer than any name that is known plus one.
    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.octets[..self.length]).unwrap_or_default()
    }
}

fn is_plain_in_quotes(octet: u8) -> bool {
    !matches!(octet, b'"' | b'\\' | b'\r' | b'\n' | 0)
}

fn ascii<'a>(octets: &'a [u8], fault: &'static str) -> Parsed<&'a str> {
    std::str::from_utf8(octets).ok().filter(|text| !text.is_empty()).ok_or(Fault::Syntax(fault))
}

fn text(octets: Cow<'_, [u8]>) -> Parsed<Cow<'_, str>> {
    match octets {
        Cow::Borrowed(octets) => std::str::from_utf8(octets).ok().map(Cow::Borrowed),
        Cow::Owned(octets) => String::from_utf8(octets).ok().map(Cow::Owned),
    }
    .ok_or(Fault::Syntax("string isn't UTF-8"))
}
