//! Any message, made fit for seven bits: the same parts with the same content.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postrider_proto::mime::decode::{TransferEncoding, decode};
use postrider_proto::mime::downgrade::{Converter, Survey, Target};
use postrider_proto::mime::scan::Scanner;
use postrider_proto::mime::{FieldName, Kind, Limits, Structure};

fn scan(message: &[u8]) -> Structure {
    let mut scanner = Scanner::new(Limits::DEFAULT);
    scanner.push(message);
    scanner.finish()
}

fn content(message: &[u8], structure: &Structure, number: usize) -> Vec<u8> {
    let part = &structure.parts[number];
    let encoding = part.field(FieldName::ContentTransferEncoding).unwrap_or_default();
    let body = &message[part.body_start as usize..part.end as usize];
    decode(TransferEncoding::parse(encoding), body).unwrap_or(body.to_vec())
}

fuzz_target!(|input: &[u8]| {
    let [cut, message @ ..] = input else { return };
    let cut = usize::from(*cut) + 1;
    let structure = scan(message);
    let mut survey = Survey::new(&structure, &Limits::DEFAULT, Target::SevenBit);
    message.chunks(cut).for_each(|piece| survey.push(piece));
    let Ok(plan) = survey.finish() else { return };
    let mut converter = Converter::new(plan);
    let mut result = Vec::new();
    message.chunks(cut).for_each(|piece| converter.push(piece, &mut result));
    converter.finish(&mut result);
    assert!(result.is_ascii(), "eight bits");
    let after = scan(&result);
    assert_eq!(structure.parts.len(), after.parts.len());
    for (number, part) in structure.parts.iter().enumerate().filter(|(_, part)| part.kind == Kind::Leaf) {
        let (old, new) = (content(message, &structure, number), content(&result, &after, number));
        // A message has a line end at its end, whether there was one or not.
        assert!(new == old || (part.end == structure.size && new.starts_with(&old)), "part {number}");
    }
});
