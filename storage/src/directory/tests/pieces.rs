//! Texts are cut into pieces that mean together what the whole does.

use super::super::document::{PIECE_OCTETS_MAX, Piece, Splitter, read};
use super::*;

fn pieces(text: &str, chunk_octets: usize) -> Result<Vec<Piece>, Fault> {
    let (mut splitter, mut pieces) = (Splitter::default(), Vec::new());
    for chunk in text.as_bytes().chunks(chunk_octets) {
        splitter.push(chunk, &mut |piece| pieces.push(piece))?;
    }
    splitter.finish(&mut |piece| pieces.push(piece));
    Ok(pieces)
}

fn texts(pieces: &[Piece]) -> Vec<&str> {
    pieces.iter().map(|piece| str::from_utf8(&piece.text).unwrap()).collect()
}

const TRICKY: &str = r##"# [no.header]
version = 1 # ["""
text = """
[no.header]
\""" \\""""
lines = '''
[no.header] ''''
empty = "" # [
six = """""" # [
seven = """"""" # [
  [ "a.b" . 'c]' ] # comment
list = [
  "[", # [no.header]
  [ '''
[no.header]
''' ],
[7]
]
inline = { a = "]", b = '\' }
[x]
"##;

#[test]
fn headers_are_told_from_what_looks_like_one() {
    let whole = pieces(TRICKY, usize::MAX).unwrap();
    assert_eq!(whole.len(), 3);
    assert_eq!(texts(&whole).concat(), TRICKY);
    assert!(texts(&whole)[1].starts_with("[ \"a.b\"") || texts(&whole)[1].starts_with("  [ \"a.b\""));
    assert_eq!(texts(&whole)[2], "[x]\n");
    assert_eq!(whole[2].line_at(1), 20);
    for octets in 1..9 {
        assert_eq!(pieces(TRICKY, octets).unwrap(), whole, "chunks of {octets}");
    }
    for piece in &whole {
        assert!(toml_edit::Document::parse(texts(std::slice::from_ref(piece))[0]).is_ok(), "{piece:?}");
    }
}

#[test]
fn a_text_without_a_last_line_feed_is_whole() {
    for (text, count) in [("", 1), ("version = 1", 1), ("[refusal]", 2), ("[refusal]\n\"@x.org\" = 550", 2)] {
        let pieces = pieces(text, 3).unwrap();
        assert_eq!((pieces.len(), texts(&pieces).concat().trim_end()), (count, text));
        assert!(pieces[1..].iter().all(|piece| !piece.is_root()));
    }
}

#[test]
fn tables_of_many_entries_are_cut_between_them_with_their_lines() {
    let mut text = "version = 1\n[refusal] \n# what follows\n".to_owned();
    for number in 0..10_000 {
        text.push_str(&format!("\"a{number}@example.org\" = 550\n"));
    }
    text.push_str("\"@example.org\" = 1\n[account]\nfred = { domain = 7 }\n");
    let pieces = pieces(&text, 1000).unwrap();
    assert!((5..9).contains(&pieces.len()), "{}", pieces.len());
    assert!(pieces.iter().all(|piece| piece.text.len() < 70_000));
    let mut lines = Vec::new();
    let mut faults = Vec::new();
    for piece in &pieces {
        let (entries, found) = read(piece);
        lines.extend(entries.iter().map(|placed| placed.line as usize));
        faults.extend(found.iter().map(|fault| fault.line));
    }
    assert!(lines.into_iter().eq(4..10_004));
    assert_eq!(faults, [10_004, 10_006]);
}

#[test]
fn keys_with_dots_stay_together() {
    let mut text = "version = 1\n[account]\n".to_owned();
    for number in 0..3000 {
        text.push_str(&format!("a{number}.domain = \"example.org\"\na{number}.full_name = \"A\"\n"));
    }
    let pieces = pieces(&text, 1 << 16).unwrap();
    assert_eq!(pieces.len(), 2);
    assert_eq!(read(&pieces[1]).0.len(), 3000);
}

#[test]
fn a_piece_is_taken_up_to_its_bound_and_not_beyond() {
    let head = "version = 1\n[alias.\"a@example.org\"]\n#";
    let fits = PIECE_OCTETS_MAX - (head.len() - "version = 1\n".len());
    let text = |octets: usize| format!("{head}{}\n", "x".repeat(octets - 1));
    assert_eq!(pieces(&text(fits), 1 << 16).unwrap().len(), 2);
    let fault = pieces(&text(fits + 1), 1 << 16).unwrap_err();
    assert_eq!(
        (fault.line, fault.problem.as_str()),
        (2, "this table is longer than 4 MiB, which is the most")
    );
    let world = World::usual();
    assert_eq!(world.faults(&text(fits + 1))[0].line, 2);
}

#[test]
fn octets_that_are_no_text_are_a_fault_of_their_line() {
    let mut splitter = Splitter::default();
    let mut pieces = Vec::new();
    splitter
        .push(b"version = 1\n[account.a]\nfull_name = \"\xff\"\n", &mut |piece| pieces.push(piece))
        .unwrap();
    splitter.finish(&mut |piece| pieces.push(piece));
    let (_, faults) = read(&pieces[1]);
    assert_eq!((faults[0].line, faults[0].problem.as_str()), (3, "the text is not UTF-8"));
}

/// Whatever comes: no octet is lost, chunks make no difference, and what is read is read with a line.
#[test]
fn fuzz_of_pieces() {
    let parts: [&str; 17] = [
        "[", "]", "\"", "'", "\"\"\"", "'''", "\n", "#", "=", ".", "\\", "{", "}", ",", "account", " a ", "1",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..3000 {
        let mut text = String::new();
        for _ in 0..40 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.push_str(parts[(state >> 33) as usize % parts.len()]);
        }
        let whole = pieces(&text, usize::MAX).unwrap();
        assert_eq!(whole, pieces(&text, 1).unwrap(), "{text:?}");
        assert_eq!(texts(&whole).concat().trim_end_matches('\n'), text.trim_end_matches('\n'), "{text:?}");
        let lines = text.lines().count() + 1;
        for piece in &whole {
            assert!(read(piece).1.iter().all(|fault| fault.line <= lines), "{text:?}");
        }
        // A text that is whole as it stands has only pieces that are. (The library panics at some others.)
        if std::panic::catch_unwind(|| toml_edit::Document::parse(text.as_str()).is_ok()).unwrap_or(false) {
            for piece in texts(&whole) {
                assert!(toml_edit::Document::parse(piece).is_ok(), "{text:?} {piece:?}");
            }
        }
    }
}
