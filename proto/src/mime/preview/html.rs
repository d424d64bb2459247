//! The visible text of HTML: no parser, but a reader of tags that keeps no tree.

use mail_parser::decoders::html::add_html_token;

use super::Words;

/// Octets of a tag's name and of a character reference.
const NAME_OCTETS_MAX: usize = 32;
/// Quotations in each other that are told apart.
const QUOTE_DEPTH_MAX: u32 = 1000;

/// Elements whose content isn't shown.
const HIDDEN: [&str; 6] = ["style", "script", "title", "template", "textarea", "noscript"];

/// Elements that don't end a word.
const INLINE: [&str; 21] = [
    "a", "abbr", "b", "big", "cite", "code", "em", "font", "i", "ins", "kbd", "mark", "s", "small", "span",
    "strong", "sub", "sup", "tt", "u", "wbr",
];

/// Reads HTML piece by piece.
#[derive(Default)]
pub(super) struct Html {
    state: State,
    /// The tag's name, the reference, or the last octets of hidden content.
    name: String,
    /// The hidden element inside which this is.
    hidden: Option<&'static str>,
    quotes: u32,
    own: Words,
    quoted: Words,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// After `&`.
    Reference,
    /// After `<`, in the name.
    Name,
    /// In a tag behind its name; in quotes when some are open.
    Tag(Option<char>),
    /// In a comment or a declaration; how many hyphens were read just before.
    Comment(u8),
    Declaration,
    /// In hidden content: outside of anything that may end it.
    Hidden,
}

impl Html {
    /// Takes more text; true when no more is needed.
    pub(super) fn push(&mut self, text: &str) -> bool {
        for character in text.chars() {
            if self.own.is_full() {
                return true;
            }
            self.take(character);
        }
        self.own.is_full()
    }

    pub(super) fn finish(mut self) -> String {
        if self.state == State::Reference {
            self.end_reference(None);
        }
        if self.own.is_empty() { self.quoted.finish() } else { self.own.finish() }
    }

    fn words(&mut self) -> &mut Words {
        if self.quotes > 0 { &mut self.quoted } else { &mut self.own }
    }

    fn show(&mut self, character: char) {
        self.words().push(character.encode_utf8(&mut [0; 4]));
    }

    fn take(&mut self, character: char) {
        match self.state {
            State::Text => match character {
                '<' => self.begin(State::Name),
                '&' => self.begin(State::Reference),
                _ => self.show(character),
            },
            State::Reference => match character {
                ';' => self.end_reference(Some(';')),
                'a'..='z' | 'A'..='Z' | '0'..='9' | '#' if self.name.len() < NAME_OCTETS_MAX => {
                    self.name.push(character);
                }
                _ => {
                    self.end_reference(None);
                    self.take(character);
                }
            },
            State::Name => self.name(character),
            State::Tag(None) => match character {
                '>' => self.end_tag(),
                '"' | '\'' => self.state = State::Tag(Some(character)),
                _ => {}
            },
            State::Tag(Some(quote)) => {
                if character == quote {
                    self.state = State::Tag(None);
                }
            }
            State::Comment(hyphens) => {
                self.state = match character {
                    '-' => State::Comment(hyphens.saturating_add(1).min(2)),
                    '>' if hyphens == 2 => self.outside(),
                    _ => State::Comment(0),
                };
            }
            State::Declaration if character == '>' => self.state = self.outside(),
            State::Declaration => {}
            State::Hidden if character == '<' => self.begin(State::Name),
            State::Hidden => {}
        }
    }

    fn begin(&mut self, state: State) {
        self.name.clear();
        self.state = state;
    }

    fn outside(&self) -> State {
        if self.hidden.is_some() { State::Hidden } else { State::Text }
    }

    /// A character of what follows `<`.
    fn name(&mut self, character: char) {
        match character {
            '/' if self.name.is_empty() => self.name.push('/'),
            'a'..='z' | 'A'..='Z' | '0'..='9' if self.name.len() < NAME_OCTETS_MAX => {
                self.name.push(character.to_ascii_lowercase());
            }
            '!' | '?' if self.name.is_empty() => self.name.push(character),
            '-' if self.name == "!" || self.name == "!-" => {
                self.name.push('-');
                if self.name == "!--" {
                    // `<!-->` is a whole comment.
                    self.begin(State::Comment(2));
                }
            }
            '<' if self.hidden.is_some() => self.begin(State::Name),
            _ if self.name.is_empty() => {
                // No tag: `a < b`.
                self.state = self.outside();
                if self.hidden.is_none() {
                    self.show('<');
                    self.take(character);
                }
            }
            _ if self.name.starts_with(['!', '?']) => {
                self.state = if character == '>' { self.outside() } else { State::Declaration };
            }
            '>' => self.end_tag(),
            // In hidden content only its own end tag is one: others may hold quotes that never end.
            _ if self.hidden.is_some_and(|hidden| self.name.strip_prefix('/') != Some(hidden)) => {
                self.state = State::Hidden;
            }
            _ => self.state = State::Tag(None),
        }
    }

    fn end_tag(&mut self) {
        let name = std::mem::take(&mut self.name);
        let (name, is_end) = match name.strip_prefix('/') {
            Some(name) => (name, true),
            None => (name.as_str(), false),
        };
        if self.hidden.is_some() {
            if is_end && self.hidden == Some(name) {
                self.hidden = None;
            }
        } else if !is_end && let Some(hidden) = HIDDEN.into_iter().find(|hidden| *hidden == name) {
            self.hidden = Some(hidden);
        } else if name == "blockquote" {
            self.quotes = match is_end {
                true => self.quotes.saturating_sub(1),
                false => (self.quotes + 1).min(QUOTE_DEPTH_MAX),
            };
        }
        if !INLINE.contains(&name) {
            self.words().space();
        }
        self.state = self.outside();
    }

    /// Shows the character that a reference means; what is none is shown as written.
    fn end_reference(&mut self, end: Option<char>) {
        let name = std::mem::take(&mut self.name);
        self.state = State::Text;
        let mut text = String::new();
        add_html_token(&mut text, format!("&{name};").as_bytes(), false);
        if text.len() == name.len() + 2 && text.starts_with('&') && text.ends_with(';') {
            text.pop();
            text.extend(end);
        }
        self.words().push(&text);
    }
}
