//! The grammar of the responses that the clients get (RFC 9051 §9, RFC 7162 §7, RFC 9586 §3), strictly: what isn't
//! expected is a failure. Literals are cut out of lines, and only their counts are left.

/// What is left of a line.
struct Rest<'a>(&'a str);

type Parsed<T = ()> = Option<T>;

/// Panics when a response is none.
pub(super) fn check(line: &str) {
    if let Err(rest) = parse(line) {
        panic!("no response: {line:?}, from {rest:?} on");
    }
}

/// What wasn't understood, otherwise.
fn parse(line: &str) -> Result<(), &str> {
    let mut rest = Rest(line);
    let parsed = if rest.eat("+ ").is_some() {
        rest.0 = "";
        Some(())
    } else if rest.eat("* ").is_some() {
        rest.untagged()
    } else {
        rest.tagged()
    };
    if parsed.is_some() && rest.0.is_empty() { Ok(()) } else { Err(rest.0) }
}

impl<'a> Rest<'a> {
    fn eat(&mut self, text: &str) -> Parsed {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }

    fn word(&mut self) -> Parsed<&'a str> {
        let end = self.0.find([' ', '(', ')', ']', '"']).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }

    fn number(&mut self) -> Parsed<u64> {
        let word = self.word()?;
        let canonical = word == "0" || !word.starts_with('0');
        word.parse().ok().filter(|_| canonical && word.bytes().all(|octet| octet.is_ascii_digit()))
    }

    fn nz_number(&mut self) -> Parsed {
        self.number().filter(|number| *number > 0).map(drop)
    }

    /// A set of numbers, ascending and without overlaps, as servers should write it.
    fn set(&mut self) -> Parsed {
        let mut last = 0;
        for part in self.word()?.split(',') {
            let (from, to) = part.split_once(':').unwrap_or((part, part));
            let (from, to): (u32, u32) = (from.parse().ok()?, to.parse().ok()?);
            if from <= last || to < from || (part.contains(':') && from == to) {
                return None;
            }
            last = to;
        }
        Some(())
    }

    fn quoted(&mut self) -> Parsed<&'a str> {
        self.eat("\"")?;
        let mut escaped = false;
        let end = self.0.bytes().position(|octet| {
            let ends = octet == b'"' && !escaped;
            escaped = octet == b'\\' && !escaped;
            ends
        })?;
        let text = &self.0[..end];
        self.0 = &self.0[end + 1..];
        Some(text)
    }

    fn literal(&mut self) -> Parsed {
        self.eat("{")?;
        let (count, rest) = self.0.split_once('}')?;
        self.0 = rest;
        count.parse::<u64>().ok().map(drop)
    }

    fn astring(&mut self) -> Parsed {
        if self.0.starts_with('"') { self.quoted().map(drop) } else { self.word().map(drop) }
    }

    /// `(one two)`, of parts that `one` parses.
    fn list(&mut self, mut one: impl FnMut(&mut Self) -> Parsed) -> Parsed {
        self.eat("(")?;
        if self.eat(")").is_some() {
            return Some(());
        }
        loop {
            one(self)?;
            if self.eat(")").is_some() {
                return Some(());
            }
            self.eat(" ")?;
        }
    }

    fn flag(&mut self) -> Parsed {
        let word = self.word()?;
        let keyword = word.strip_prefix('\\').unwrap_or(word);
        let known = ["Answered", "Flagged", "Deleted", "Seen", "Draft", "*"].contains(&keyword);
        (known || !word.starts_with('\\')).then_some(())
    }

    fn tagged(&mut self) -> Parsed {
        let tag = self.word()?;
        tag.strip_prefix('t')?.parse::<u32>().ok()?;
        self.eat(" ")?;
        let condition = self.word()?;
        ["OK", "NO", "BAD"].contains(&condition).then_some(())?;
        self.text()
    }

    /// ` [CODE] text`
    fn text(&mut self) -> Parsed {
        self.eat(" ")?;
        if self.eat("[").is_some() {
            self.code()?;
            self.eat("] ")?;
        }
        let text = std::mem::take(&mut self.0);
        (!text.is_empty() && !text.starts_with('[')).then_some(())
    }

    fn code(&mut self) -> Parsed {
        match self.word()? {
            "CLOSED" | "READ-ONLY" | "READ-WRITE" | "EXPUNGEISSUED" | "NOMODSEQ" => Some(()),
            "PERMANENTFLAGS" => self.eat(" ").and_then(|()| self.list(Self::flag)),
            "UNSEEN" | "UIDNEXT" | "UIDVALIDITY" | "HIGHESTMODSEQ" => {
                self.eat(" ").and_then(|()| self.nz_number())
            }
            "MAILBOXID" => self.eat(" ").and_then(|()| self.list(|rest| rest.word().map(drop))),
            "URLMECH" => self.eat(" INTERNAL"),
            "NOPERM" => Some(()),
            "BADURL" => self.eat(" ").and_then(|()| self.astring()),
            "MODIFIED" => self.eat(" ").and_then(|()| self.set()),
            "APPENDUID" => {
                self.eat(" ")?;
                self.nz_number()?;
                self.eat(" ").and_then(|()| self.set())
            }
            "COPYUID" => {
                self.eat(" ")?;
                self.nz_number()?;
                self.eat(" ")?;
                self.set()?;
                self.eat(" ").and_then(|()| self.set())
            }
            "CAPABILITY" => {
                while self.eat(" ").is_some() {
                    self.word()?;
                }
                Some(())
            }
            _ => None,
        }
    }

    fn untagged(&mut self) -> Parsed {
        if self.0.starts_with(|first: char| first.is_ascii_digit()) {
            let number = self.number()?;
            self.eat(" ")?;
            return match self.word()? {
                "EXISTS" | "RECENT" => Some(()),
                "EXPUNGE" => (number > 0).then_some(()),
                "FETCH" | "UIDFETCH" if number > 0 => self.eat(" ").and_then(|()| self.fetched()),
                _ => None,
            };
        }
        match self.word()? {
            "OK" => self.text(),
            "FLAGS" => self.eat(" ").and_then(|()| self.list(Self::flag)),
            "VANISHED" => {
                self.eat(" ")?;
                let _ = self.eat("(EARLIER) ");
                self.set()
            }
            "SEARCH" => {
                while self.eat(" ").is_some() {
                    if self.eat("(MODSEQ ").is_some() {
                        self.nz_number()?;
                        return self.eat(")");
                    }
                    self.nz_number()?;
                }
                Some(())
            }
            "ESEARCH" => {
                self.eat(" (TAG ")?;
                self.quoted()?;
                self.eat(")")?;
                let _ = self.eat(" UID");
                while self.eat(" ").is_some() {
                    let item = self.word()?;
                    self.eat(" ")?;
                    match item {
                        "ALL" => self.set()?,
                        "COUNT" => self.number().map(drop)?,
                        "MIN" | "MAX" | "MODSEQ" => self.nz_number()?,
                        _ => return None,
                    }
                }
                Some(())
            }
            "STATUS" => {
                self.eat(" ")?;
                self.astring()?;
                self.eat(" ")?;
                self.list(|rest| {
                    let item = rest.word()?;
                    let known =
                        ["MESSAGES", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "DELETED", "SIZE", "HIGHESTMODSEQ"];
                    known.contains(&item).then_some(())?;
                    rest.eat(" ")?;
                    rest.number().map(drop)
                })
            }
            "QUOTAROOT" => {
                self.eat(" ")?;
                self.astring()?;
                self.eat(" \"\"")
            }
            "QUOTA" => {
                self.eat(" \"\" ")?;
                let mut resource = |rest: &mut Self| {
                    // Three words for each, of one list.
                    rest.word().map(drop)
                };
                self.list(&mut resource)
            }
            "ENABLED" => {
                while self.eat(" ").is_some() {
                    self.word()?;
                }
                Some(())
            }
            _ => None,
        }
    }

    /// `(UID 1 FLAGS (\Seen))`, each item once.
    fn fetched(&mut self) -> Parsed {
        let mut seen = Vec::new();
        self.list(|rest| {
            let item = match rest.0.strip_prefix("BODY[") {
                Some(behind) => {
                    let (section, behind) = behind.split_once(']')?;
                    rest.0 = behind;
                    section
                }
                None => rest.word()?,
            };
            if seen.contains(&item) {
                return None;
            }
            seen.push(item);
            rest.eat(" ")?;
            match item {
                "UID" => rest.nz_number(),
                "MODSEQ" => rest.list(Self::nz_number),
                "FLAGS" => rest.list(Self::flag),
                "RFC822.SIZE" => rest.number().map(drop),
                "INTERNALDATE" => {
                    let date = rest.quoted()?.as_bytes();
                    let form = b"dd-aaa-dddd dd:dd:dd +dddd";
                    let fits = |(octet, form): (&u8, &u8)| match form {
                        b'd' => octet.is_ascii_digit() || *octet == b' ',
                        b'a' => octet.is_ascii_alphabetic(),
                        b'+' => b"+-".contains(octet),
                        other => octet == other,
                    };
                    (date.len() == form.len() && date.iter().zip(form).all(fits)).then_some(())
                }
                "" | "HEADER.FIELDS (SUBJECT)" => rest.literal(),
                _ => None,
            }
        })
    }
}

#[test]
fn responses_are_told_from_other_lines() {
    for good in [
        "* 1 FETCH (UID 1 FLAGS (\\Seen one) MODSEQ (12) BODY[] {12})",
        "* 3 UIDFETCH (FLAGS ())",
        "* VANISHED (EARLIER) 1:3,5",
        "* SEARCH",
        "* SEARCH 1 2 (MODSEQ 3)",
        "* ESEARCH (TAG \"t1\") UID COUNT 0",
        "t1 OK [MODIFIED 1,3] STORE done",
        "t1 NO [BADURL \"/Inbox/;UID=1\"] the message is gone",
        "* OK [COPYUID 1 1:2 3:4] moved",
        "* STATUS \"Other Users/bob/Inbox\" (MESSAGES 0 UIDNEXT 1)",
        "* 1 FETCH (INTERNALDATE \" 1-Jan-2020 10:00:00 +0000\" RFC822.SIZE 19)",
    ] {
        assert_eq!(parse(good), Ok(()), "{good}");
    }
    for bad in [
        "* 0 EXPUNGE",
        "* 1 FETCH (UID 1 UID 1)",
        "* 1 FETCH (UID 1 FLAGS (\\Seen))x",
        "* 1 FETCH (UID 1  FLAGS ())",
        "* 1 FETCH (MODSEQ (0))",
        "* VANISHED 3:1",
        "* VANISHED 1,1",
        "* SEARCH ",
        "* SEARCH 01",
        "* BYE",
        "t1 OK",
        "t1 OK [MODIFIED] text",
        "* OK [NONSENSE] text",
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}
