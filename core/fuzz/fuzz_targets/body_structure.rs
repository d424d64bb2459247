//! Any message: its structure whatever the cuts, its record, and what FETCH says of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postrider_fuzz::skip_values;
use postrider_proto::mime::imap::{self, ClientText, SectionText};
use postrider_proto::mime::record::{StructureRef, encode};
use postrider_proto::mime::scan::Scanner;
use postrider_proto::mime::{Limits, Structure};

fn scan(message: &[u8], cut: usize) -> Structure {
    let mut scanner = Scanner::new(Limits::DEFAULT);
    message.chunks(cut).for_each(|chunk| scanner.push(chunk));
    scanner.finish()
}

fuzz_target!(|input: &[u8]| {
    let Some((first, message)) = input.split_first() else { return };
    let structure = scan(message, usize::MAX);
    assert_eq!(scan(message, usize::from(*first) + 1), structure, "the structure depends on the cuts");
    assert_eq!(structure.size, message.len() as u64);
    for (index, part) in structure.parts.iter().enumerate() {
        assert!(part.header_start <= part.body_start && part.body_start <= part.end);
        assert!(part.end <= structure.size && part.parent.is_none() == (index == 0));
    }

    let mut record = Vec::new();
    encode(&structure, &mut record);
    let read = StructureRef::decode(&record).expect("our own record");
    assert_eq!(read.to_structure(), structure, "the record says something else");

    for (client, seven_bit) in [(ClientText::SevenBit, true), (ClientText::Utf8, false)] {
        let mut out = Vec::new();
        imap::body_structure(&mut out, &read, client);
        skip_values(&out, seven_bit);
        out.clear();
        imap::body(&mut out, &read, client);
        skip_values(&out, seven_bit);
        for part in read.parts() {
            out.clear();
            imap::envelope(&mut out, part, client);
            skip_values(&out, seven_bit);
            assert!(std::str::from_utf8(&out).is_ok() || out.contains(&b'{'), "not UTF-8, and no literal");
        }
    }
    for path in [&[][..], &[1], &[2], &[1, 1], &[1, 2, 1], &[u32::from(*first)]] {
        for text in [SectionText::Whole, SectionText::Header, SectionText::Text, SectionText::Mime] {
            if let Some(range) = imap::section(&read, path, text, 7) {
                assert!(range.start <= range.end && range.end <= structure.size + 7);
            }
        }
    }
});
