//! The collation i;unicode-casemap (RFC 5051), by which texts are searched, sorted and threaded
//! (RFC 5255 §4.3, I18NLEVEL=1).
//!
//! A text is folded: each character becomes its titlecase form, and that is decomposed as far as the
//! Unicode character database does. Folded texts are compared octet by octet: equal, in order, part of
//! one another. So `é` sorts next to `e`, and `e` is found in it. Each character is folded for itself,
//! so a text may be folded in pieces.

use unicode_normalization::char::decompose_compatible;

/// Folds `text`.
pub fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    fold_into(text, &mut out);
    out
}

/// Appends `text`, folded.
pub fn fold_into(text: &str, out: &mut String) {
    if text.is_ascii() {
        let start = out.len();
        out.push_str(text);
        out[start..].make_ascii_uppercase();
        return;
    }
    for character in text.chars() {
        if character.is_ascii() {
            out.push(character.to_ascii_uppercase());
        } else if is_plain(character) {
            out.push(character);
        } else {
            decompose_compatible(title(character), |part| out.push(part));
        }
    }
}

/// Characters that stay as they are: ideographs, and Hangul syllables, which the database doesn't
/// decompose (their decomposition is a matter of arithmetic).
const fn is_plain(character: char) -> bool {
    matches!(character, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}')
}

/// The simple titlecase mapping. It is the uppercase mapping but for what is named here.
fn title(character: char) -> char {
    match character {
        // Digraphs have a form of their own, with a small second letter.
        '\u{1c4}'..='\u{1c6}' => '\u{1c5}',
        '\u{1c7}'..='\u{1c9}' => '\u{1c8}',
        '\u{1ca}'..='\u{1cc}' => '\u{1cb}',
        '\u{1f1}'..='\u{1f3}' => '\u{1f2}',
        // Georgian capitals are not used at the start of a word.
        '\u{10d0}'..='\u{10fa}' | '\u{10fd}'..='\u{10ff}' => character,
        // Greek with iota below: the uppercase of two letters is not a simple one.
        '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => moved(character, 8),
        '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => moved(character, 9),
        _ => {
            let mut upper = character.to_uppercase();
            match (upper.next(), upper.next()) {
                (Some(upper), None) => upper,
                // Such as that of ß: the database has no simple one.
                _ => character,
            }
        }
    }
}

fn moved(character: char, by: u32) -> char {
    char::from_u32(u32::from(character) + by).unwrap_or(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_titlecased_and_decomposed_as_rfc_5051_says() {
        for (text, folded) in [
            ("", ""),
            ("Hello, World_09", "HELLO, WORLD_09"),
            // The example of RFC 5051 §2: the small letter of a digraph stays small.
            ("\u{1c4}", "Dz\u{30c}"),
            ("\u{1c6}", "Dz\u{30c}"),
            ("\u{1f3}", "Dz"),
            ("é", "E\u{301}"),
            ("Ünïcode", "U\u{308}NI\u{308}CODE"),
            ("ДЕЛЬТА дельта", "ДЕЛЬТА ДЕЛЬТА"),
            ("ё", "Е\u{308}"),
            ("ς σ Σ", "Σ Σ Σ"),
            // No simple titlecase form, and no decomposition.
            ("ß", "ß"),
            ("ẞ", "ẞ"),
            // Decomposed into small letters that stay so.
            ("ﬁ", "fi"),
            ("ŉ", "ʼn"),
            ("ǆx", "Dz\u{30c}X"),
            ("ᾳ", "Α\u{345}"),
            ("ᾀ", "Α\u{313}\u{345}"),
            ("\u{10d0}", "\u{10d0}"),
            ("Å", "A\u{30a}"),
            ("①", "1"),
            ("Ｆｕｌｌ", "FULL"),
            ("漢字", "漢字"),
            ("\u{ac01}", "\u{ac01}"),
            ("が", "か\u{3099}"),
            ("\u{2126}", "Ω"),
            ("\u{b5}", "Μ"),
            ("ı", "I"),
            ("ſ", "S"),
        ] {
            assert_eq!(fold(text), folded, "{text}");
        }
    }

    #[test]
    fn a_text_may_be_folded_in_pieces_and_folding_the_folded_changes_only_small_remainders() {
        let text = "Straße ǆ Ünïcode 漢字 ΣΊΣΥΦΟΣ ﬁ";
        let mut pieces = String::new();
        text.chars().for_each(|character| fold_into(character.encode_utf8(&mut [0; 4]), &mut pieces));
        assert_eq!(pieces, fold(text));
    }

    #[test]
    fn octets_order_folded_texts() {
        let mut texts = ["b", "É", "_", "a", "Z", "e", "f", "1", ""];
        texts.sort_by_key(|text| fold(text));
        assert_eq!(texts, ["", "1", "a", "b", "e", "É", "f", "Z", "_"]);
    }
}
