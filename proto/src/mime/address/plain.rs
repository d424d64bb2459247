//! Address lists as most mail has them, read without copying: `Name <local@domain>, ...`, with names of atoms
//! or one quoted string without escapes. Whatever isn't so plain is left to the whole parser, which says the
//! same of what is.

/// One plain address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlainAddress<'a> {
    /// The display name.
    pub name: Option<&'a [u8]>,
    /// The local part.
    pub mailbox: &'a [u8],
    /// The domain.
    pub host: &'a [u8],
}

/// Octets of atoms and dots: printable ASCII that means nothing in an address list.
const fn is_plain(octet: u8) -> bool {
    octet > b' '
        && octet < 0x7f
        && !matches!(
            octet,
            b'(' | b')' | b'<' | b'>' | b'[' | b']' | b':' | b';' | b'@' | b'\\' | b',' | b'"'
        )
}

static PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut octet = 0_u8;
    loop {
        table[octet as usize] = is_plain(octet);
        if octet == u8::MAX {
            break table;
        }
        octet += 1;
    }
};

/// Reads the first address of `list`, which begins with it: the address, and what follows its comma (nothing
/// at the end). None when it isn't plain.
pub fn first(list: &[u8]) -> Option<(PlainAddress<'_>, &[u8])> {
    let (name, rest) = match list.strip_prefix(b"\"") {
        Some(quoted) => {
            let end = quoted.iter().position(|octet| matches!(octet, b'"' | b'\\') || !is_text(*octet))?;
            let (name, rest) = quoted.split_at(end);
            (Some(name), rest.strip_prefix(b"\" ")?)
        }
        None => phrase(list)?,
    };
    let (mailbox, host, rest) = match rest.strip_prefix(b"<") {
        Some(rest) => {
            let (mailbox, rest) = atom(rest)?;
            let (host, rest) = atom(rest.strip_prefix(b"@")?)?;
            (mailbox, host, rest.strip_prefix(b">")?)
        }
        // A bare address has no name before it.
        None if name.is_none() => {
            let (mailbox, rest) = atom(rest)?;
            let (host, rest) = atom(rest.strip_prefix(b"@")?)?;
            (mailbox, host, rest)
        }
        None => return None,
    };
    let name = name.filter(|name| !name.is_empty());
    let address = PlainAddress { name, mailbox, host };
    match rest {
        [] => Some((address, rest)),
        // Something has to follow a comma, or the whole parser decides what that means.
        [b',', b' ', rest @ ..] if !rest.is_empty() => Some((address, rest)),
        _ => None,
    }
}

/// Printable ASCII and spaces.
const fn is_text(octet: u8) -> bool {
    octet >= b' ' && octet < 0x7f
}

/// Words with one space between and behind them, up to `<`; or nothing when an address begins at once.
fn phrase(list: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let mut at = 0;
    loop {
        let word = list[at..].iter().take_while(|octet| PLAIN[usize::from(**octet)]).count();
        match list.get(at + word) {
            Some(b' ') if word > 0 => at += word + 1,
            Some(b'<') if word == 0 && at > 0 => return Some((Some(&list[..at - 1]), &list[at..])),
            Some(b'<') if word == 0 => return Some((None, list)),
            Some(b'@') if at == 0 && word > 0 => return Some((None, list)),
            _ => return None,
        }
    }
}

/// Plain octets, at least one.
fn atom(list: &[u8]) -> Option<(&[u8], &[u8])> {
    let octets = list.iter().take_while(|octet| PLAIN[usize::from(**octet)]).count();
    (octets > 0).then(|| list.split_at(octets))
}

#[cfg(test)]
mod tests {
    use super::super::{Address, parse};
    use super::*;

    /// The whole list, when all of it is plain.
    fn all(mut list: &[u8]) -> Option<Vec<Address>> {
        let mut found = Vec::new();
        while !list.is_empty() {
            let (address, rest) = first(list)?;
            found.push(Address {
                name: address.name.map(<[u8]>::to_vec),
                route: None,
                mailbox: Some(address.mailbox.to_vec()),
                host: Some(address.host.to_vec()),
            });
            list = rest;
        }
        Some(found)
    }

    #[test]
    fn plain_lists_are_read_without_the_whole_parser() {
        for list in [
            "a@example.org",
            "<a@example.org>",
            "Some One <a.b+c@example.org>",
            "\"One, Some\" <a@example.org>, Other <b@example.net>",
            "a@example.org, b@example.org",
        ] {
            let found = all(list.as_bytes()).unwrap_or_else(|| panic!("{list} is plain"));
            assert_eq!(found, parse(list.as_bytes(), 100), "{list}");
        }
    }

    #[test]
    fn what_is_plain_is_what_the_whole_parser_says() {
        // Every list of these pieces up to five.
        const PIECES: [&str; 13] =
            ["a", "b.c", " ", ", ", ",", "<", ">", "@", "\"", "\\", "(x)", "Some One <a@b>", "d@e"];
        let mut plain = 0;
        for number in 0..13_usize.pow(5) {
            let mut rest = number;
            let mut list = String::new();
            while rest > 0 {
                list.push_str(PIECES[rest % 13]);
                rest /= 13;
            }
            if let Some(found) = all(list.as_bytes()) {
                plain += usize::from(!list.is_empty());
                assert_eq!(found, parse(list.as_bytes(), 100), "{list}");
            }
        }
        assert!(plain > 100, "only {plain} plain lists");
    }
}
