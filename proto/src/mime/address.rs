//! Address lists as IMAP describes them (RFC 5322 §3.4 and §4.4, RFC 9051 §7.5.2).
//!
//! One pass, linear in the value. What is not an address by the grammar still gives an entry, so
//! that a client can show it. Encoded words stay as they are; quoting is taken off.

pub mod plain;

/// One entry of an address list, as in an IMAP envelope.
///
/// The start of a group has a mailbox and no host, its end has neither; a real address has both
/// (the host may be empty).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Address {
    /// The display name, or the comment after a bare address.
    pub name: Option<Vec<u8>>,
    /// The source route of the obsolete form `<@a,@b:c@d>`.
    pub route: Option<Vec<u8>>,
    /// The local part, or the name of the group that starts here.
    pub mailbox: Option<Vec<u8>>,
    /// The domain.
    pub host: Option<Vec<u8>>,
}

impl Address {
    /// Whether this is a mailbox and not the start or end of a group.
    pub fn is_mailbox(&self) -> bool {
        self.host.is_some()
    }
}

/// Reads at most `max` entries of an unfolded address list.
pub fn parse(value: &[u8], max: usize) -> Vec<Address> {
    let mut parser =
        Parser { input: value, at: 0, words: Words::default(), in_group: false, out: Vec::new() };
    while parser.out.len() < max && parser.step() {}
    parser.out.truncate(max);
    parser.out
}

struct Parser<'a> {
    input: &'a [u8],
    at: usize,
    words: Words,
    in_group: bool,
    out: Vec<Address>,
}

/// The words read since the last separator.
#[derive(Default)]
struct Words {
    /// The words with one space between them.
    phrase: Vec<u8>,
    /// The words with nothing between them, for a local part.
    joined: Vec<u8>,
    comment: Option<Vec<u8>>,
    /// Whether white space came after the last word.
    spaced: bool,
    any: bool,
}

impl Words {
    fn add(&mut self, word: &[u8]) {
        if self.any && self.spaced {
            self.phrase.push(b' ');
        }
        self.phrase.extend_from_slice(word);
        self.joined.extend_from_slice(word);
        (self.any, self.spaced) = (true, false);
    }

    fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    /// Reads one token; false at the end.
    fn step(&mut self) -> bool {
        let Some(byte) = self.peek() else {
            self.entry_without_at();
            self.end_group();
            return false;
        };
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {
                self.at += 1;
                self.words.spaced = true;
            }
            b'(' => {
                let comment = self.comment();
                self.words.comment = Some(comment);
                self.words.spaced = true;
            }
            b'"' => {
                let word = self.quoted();
                self.words.add(&word);
            }
            b',' => {
                self.at += 1;
                self.entry_without_at();
            }
            b';' => {
                self.at += 1;
                self.entry_without_at();
                self.end_group();
            }
            b':' if !self.in_group => {
                self.at += 1;
                let words = self.words.take();
                self.in_group = true;
                self.out.push(Address { mailbox: Some(words.phrase), ..Address::default() });
            }
            b'<' => {
                self.at += 1;
                self.angle_address();
            }
            b'@' => {
                self.at += 1;
                self.bare_address();
            }
            b'[' => {
                let word = self.domain_literal();
                self.words.add(&word);
            }
            b'>' | b')' | b']' | b'\\' | b':' => self.at += 1,
            _ => {
                let word = self.atom();
                self.words.add(word);
            }
        }
        true
    }

    fn end_group(&mut self) {
        if std::mem::take(&mut self.in_group) {
            self.out.push(Address::default());
        }
    }

    /// Words that no `@` followed.
    fn entry_without_at(&mut self) {
        let words = self.words.take();
        if words.any {
            self.out.push(Address {
                name: words.comment.filter(|comment| !comment.is_empty()),
                mailbox: Some(words.phrase),
                host: Some(Vec::new()),
                ..Address::default()
            });
        }
    }

    /// What stands between `<` and `>`, after a display name.
    fn angle_address(&mut self) {
        let before = self.words.take();
        let mut route = Vec::new();
        let mut host = None;
        while let Some(byte) = self.peek() {
            match byte {
                b'>' => {
                    self.at += 1;
                    break;
                }
                b'@' if !self.words.any && host.is_none() => self.route(&mut route),
                b'@' if host.is_none() => {
                    self.at += 1;
                    host = Some(self.domain());
                }
                b'"' => {
                    let word = self.quoted();
                    self.words.add(&word);
                }
                b'(' => drop(self.comment()),
                b'[' => {
                    let word = self.domain_literal();
                    self.words.add(&word);
                }
                // The bracket was never closed.
                b',' | b';' => break,
                b' ' | b'\t' | b'\r' | b'\n' | b'<' | b'@' | b')' | b']' | b'\\' => self.at += 1,
                b':' => {
                    self.at += 1;
                    self.words.add(b":");
                }
                _ => {
                    let word = self.atom();
                    self.words.add(word);
                }
            }
        }
        let local = self.words.take();
        let name = if before.any { Some(before.phrase) } else { before.comment };
        self.out.push(Address {
            name: name.filter(|name| !name.is_empty()),
            route: (!route.is_empty()).then_some(route),
            mailbox: Some(local.joined),
            host: Some(host.unwrap_or_default()),
        });
        self.skip_to_separator(true);
    }

    /// `@a,@b:` in angle brackets.
    fn route(&mut self, route: &mut Vec<u8>) {
        while let Some(byte) = self.peek() {
            match byte {
                b':' => {
                    self.at += 1;
                    return;
                }
                b'>' => return,
                b' ' | b'\t' => {}
                _ => route.push(byte),
            }
            self.at += 1;
        }
    }

    /// An address without angle brackets; its `@` was read.
    fn bare_address(&mut self) {
        let words = self.words.take();
        let host = self.domain();
        self.out.push(Address {
            name: words.comment.filter(|comment| !comment.is_empty()),
            route: None,
            mailbox: Some(words.joined),
            host: Some(host),
        });
        self.skip_to_separator(false);
    }

    /// Skips what stands between an address and the next separator. A comment there names a bare
    /// address; before another address in angle brackets a bare one is its display name.
    fn skip_to_separator(&mut self, is_named: bool) {
        while let Some(byte) = self.peek() {
            match byte {
                b',' => {
                    self.at += 1;
                    return;
                }
                b'<' if !is_named => {
                    // An address as the display name of another.
                    if let Some(Address { mailbox: Some(mailbox), host: Some(host), .. }) = self.out.pop() {
                        self.words.add(&[&mailbox, &b"@"[..], &host].concat());
                    }
                    return;
                }
                b';' | b'<' => return,
                b'(' => {
                    let comment = self.comment();
                    let last = self.out.last_mut().filter(|last| last.name.is_none() && !is_named);
                    if let Some(last) = last
                        && !comment.is_empty()
                    {
                        last.name = Some(comment);
                    }
                }
                b'"' => drop(self.quoted()),
                _ => self.at += 1,
            }
        }
    }

    /// A domain up to a separator, without white space and comments.
    fn domain(&mut self) -> Vec<u8> {
        let mut host = Vec::new();
        let mut ended = false;
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => {
                    ended = !host.is_empty() && host.last() != Some(&b'.');
                    self.at += 1;
                }
                b'(' => {
                    let start = self.at;
                    drop(self.comment());
                    if !host.is_empty() && host.last() != Some(&b'.') && !self.is_dot_next() {
                        // A comment after the domain may be the name: leave it to the caller.
                        self.at = start;
                        break;
                    }
                }
                b'[' if host.is_empty() => host = self.domain_literal(),
                b'>' | b',' | b';' | b'<' | b'@' | b'"' | b':' | b')' | b']' | b'\\' | b'[' => break,
                b'.' => {
                    host.push(byte);
                    self.at += 1;
                    ended = false;
                }
                _ if ended => break,
                _ => host.extend_from_slice(self.atom()),
            }
        }
        host
    }

    fn is_dot_next(&self) -> bool {
        self.input[self.at.min(self.input.len())..].trim_ascii_start().starts_with(b".")
    }

    fn domain_literal(&mut self) -> Vec<u8> {
        let rest = &self.input[self.at..];
        let end = rest.iter().position(|byte| matches!(byte, b']' | b'>' | b',' | b';'));
        let end = end.map_or(rest.len(), |end| if rest[end] == b']' { end + 1 } else { end });
        self.at += end.max(1);
        rest[..end.max(1)].to_vec()
    }

    /// A run of octets without special meaning.
    fn atom(&mut self) -> &'a [u8] {
        let rest = &self.input[self.at..];
        let is_special = |byte: &u8| b" \t\r\n()<>[]:;@\\,\"".contains(byte);
        let end = rest.iter().position(is_special).unwrap_or(rest.len()).max(1);
        let end = end.min(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// A quoted string without its quoting.
    fn quoted(&mut self) -> Vec<u8> {
        self.at += 1;
        let mut out = Vec::new();
        while let Some(byte) = self.peek() {
            self.at += 1;
            match byte {
                b'"' => break,
                b'\\' => {
                    out.extend(self.peek());
                    self.at += 1;
                }
                _ => out.push(byte),
            }
        }
        out
    }

    /// The text of a comment, with the parentheses of comments inside it.
    fn comment(&mut self) -> Vec<u8> {
        self.at += 1;
        let mut depth = 1_usize;
        let mut out = Vec::new();
        while let Some(byte) = self.peek() {
            self.at += 1;
            match byte {
                b'\\' => {
                    out.extend(self.peek());
                    self.at += 1;
                    continue;
                }
                b'(' => depth += 1,
                b')' => {
                    depth -= 1;
                    if depth == 0 {
                        break;
                    }
                }
                _ => {}
            }
            out.push(byte);
        }
        out.trim_ascii().to_vec()
    }
}
