//! Collects the field values of a header block that are kept, unfolded and within the limits.

use super::super::{Field, FieldName, Limits};

/// Collects the fields of one header after the other.
pub(super) struct Fields {
    field_octets_max: usize,
    addresses_max: usize,
    parameters_max: usize,
    /// Octets that may still be kept, of all headers together.
    octets_left: usize,
    is_message: bool,
    is_first_header: bool,
    current: Current,
    value: Vec<u8>,
    /// Whether octets of the current value were left out.
    is_cut: bool,
    fields: Vec<Field>,
    references: Option<Vec<u8>>,
    /// Elements kept of the fields that add up, in this header.
    recipients: [usize; 4],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Current {
    Ignored,
    Kept(FieldName),
    References,
}

impl Fields {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            field_octets_max: limits.field_octets_max,
            addresses_max: limits.addresses_max,
            parameters_max: limits.parameters_max,
            octets_left: limits.fields_octets_max,
            is_message: true,
            is_first_header: true,
            current: Current::Ignored,
            value: Vec::new(),
            is_cut: false,
            fields: Vec::new(),
            references: None,
            recipients: [0; 4],
        }
    }

    /// Starts a header, of a message or of a body part.
    pub(super) fn start(&mut self, is_message: bool) {
        self.is_message = is_message;
        self.current = Current::Ignored;
        self.value.clear();
        self.fields.clear();
        self.recipients = [0; 4];
    }

    /// Takes one line, without its line break and not empty; `is_cut` when its end is missing.
    pub(super) fn line(&mut self, line: &[u8], is_cut: bool) {
        if matches!(line.first(), Some(b' ' | b'\t')) {
            if self.current != Current::Ignored {
                self.append(line);
                self.is_cut |= is_cut;
            }
            return;
        }
        self.end_field();
        let Some(colon) = memchr::memchr(b':', line) else { return };
        let name = line[..colon].trim_ascii_end();
        self.current = match FieldName::from_name(name) {
            Some(FieldName::References) if self.is_first_header && self.references.is_none() => {
                Current::References
            }
            Some(FieldName::References) => Current::Ignored,
            Some(name) if name.is_envelope() && !self.is_message => Current::Ignored,
            // Of a repeated field the first counts, but recipients add up.
            Some(name) if !adds_up(name) && self.has(name) => Current::Ignored,
            Some(name) => Current::Kept(name),
            None => Current::Ignored,
        };
        if self.current != Current::Ignored {
            self.append(line[colon + 1..].trim_ascii_start());
            self.is_cut |= is_cut;
        }
    }

    /// Ends the header; gives its fields.
    pub(super) fn finish(&mut self) -> Vec<Field> {
        self.end_field();
        self.is_first_header = false;
        let mut fields = std::mem::take(&mut self.fields);
        fields.sort_by_key(|field| field.name);
        fields
    }

    pub(super) fn take_references(&mut self) -> Option<Vec<u8>> {
        self.references.take()
    }

    pub(super) fn octets_held(&self) -> usize {
        let values: usize = self.fields.iter().map(|field| field.value.len()).sum();
        values + self.value.len() + self.references.as_ref().map_or(0, Vec::len)
    }

    fn has(&self, name: FieldName) -> bool {
        self.fields.iter().any(|field| field.name == name)
    }

    fn append(&mut self, octets: &[u8]) {
        let room = self.field_octets_max - self.value.len();
        let kept = &octets[..octets.len().min(room)];
        self.is_cut |= kept.len() < octets.len();
        self.value.extend_from_slice(kept);
    }

    fn end_field(&mut self) {
        let current = std::mem::replace(&mut self.current, Current::Ignored);
        let mut value = std::mem::take(&mut self.value);
        let is_cut = std::mem::replace(&mut self.is_cut, false);
        match current {
            Current::Ignored => {}
            Current::References => {
                if is_cut {
                    cut_at_space(&mut value);
                }
                self.references = Some(value.trim_ascii().to_vec());
            }
            Current::Kept(name) => self.keep(name, &mut value, is_cut),
        }
        value.clear();
        self.value = value;
    }

    fn keep(&mut self, name: FieldName, value: &mut Vec<u8>, mut is_cut: bool) {
        let earlier = self.fields.iter().position(|field| field.name == name);
        let octets_before = earlier.map_or(0, |at| self.fields[at].value.len() + SEPARATOR.len());
        let room = self.octets_left.min(self.field_octets_max.saturating_sub(octets_before));
        if value.len() > room {
            value.truncate(room);
            is_cut = true;
        }
        let mut elements = 0;
        if name.is_addresses() {
            let before = earlier.map_or(0, |_| self.recipients[recipients_at(name)]);
            elements = before + bound(value, b',', self.addresses_max.saturating_sub(before), is_cut);
        } else if name.has_parameters() {
            bound(value, b';', self.parameters_max.saturating_add(1), is_cut);
        } else if is_cut {
            cut_at_space(value);
        }
        self.recipients[recipients_at(name)] = elements;
        let value = value.trim_ascii();
        if value.is_empty() && (is_cut || earlier.is_some()) {
            return;
        }
        self.octets_left = self.octets_left.saturating_sub(value.len() + SEPARATOR.len());
        match earlier.map(|at| &mut self.fields[at]) {
            Some(field) => {
                if !field.value.is_empty() {
                    field.value.extend_from_slice(SEPARATOR);
                }
                field.value.extend_from_slice(value);
            }
            None => self.fields.push(Field { name, value: value.to_vec() }),
        }
    }
}

/// Stands between the lists of two fields of one name.
const SEPARATOR: &[u8] = b", ";

/// Fields that may stand more than once in mail as found; their lists are put together.
fn adds_up(name: FieldName) -> bool {
    recipients_at(name) != 0
}

/// Index into `recipients`; 0 for fields that are not counted over several fields.
fn recipients_at(name: FieldName) -> usize {
    match name {
        FieldName::To => 1,
        FieldName::Cc => 2,
        FieldName::Bcc => 3,
        _ => 0,
    }
}

/// Cuts a list to `max` elements, and a list whose end was left out to its whole elements.
/// Separators in quotes, comments and angle brackets are none. Gives the number of elements.
fn bound(value: &mut Vec<u8>, separator: u8, max: usize, is_cut: bool) -> usize {
    let separators = memchr::memchr_iter(separator, value).count();
    if !is_cut && separators < max {
        return separators + 1;
    }
    let (mut elements, mut last, mut at) = (0, 0, 0);
    let (mut in_quotes, mut comments) = (false, 0_usize);
    while let Some(&byte) = value.get(at) {
        match byte {
            b'\\' => at += 1,
            b'"' if comments == 0 => in_quotes = !in_quotes,
            b'(' if !in_quotes => comments += 1,
            b')' if !in_quotes => comments = comments.saturating_sub(1),
            _ if byte == separator && !in_quotes && comments == 0 => {
                if elements == max {
                    break;
                }
                (elements, last) = (elements + 1, at);
            }
            _ => {}
        }
        at += 1;
    }
    // The loop ended at the end of the value or after `max` whole elements.
    if at >= value.len() && !is_cut && elements < max {
        return elements + 1;
    }
    value.truncate(last);
    elements
}

/// Cuts a value whose end was left out before its last word.
fn cut_at_space(value: &mut Vec<u8>) {
    if let Some(space) = memchr::memrchr(b' ', value) {
        value.truncate(space);
    } else if let Err(error) = std::str::from_utf8(value)
        && error.error_len().is_none()
    {
        value.truncate(error.valid_up_to());
    }
}
