//! A message with Authentication-Results: what claims to be ours goes, whatever the cuts, and nothing else.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postrider_proto::address::Domain;
use postrider_proto::authentication_results::parse;
use postrider_proto::dkim::header::Header;
use postrider_proto::smtp::body::ResultsFilter;

fn filter(message: &[u8], cut: usize) -> (Vec<u8>, u32) {
    let ours = ["mx.us.example", "b\u{fc}cher.example"].map(|name| Domain::parse(name).expect("a domain"));
    let mut filter = ResultsFilter::new(ours.to_vec());
    let mut out = Vec::new();
    message.chunks(cut).for_each(|piece| filter.push(piece, &mut out));
    filter.finish(&mut out);
    (out, filter.removed())
}

fuzz_target!(|input: &[u8]| {
    let Some((first, message)) = input.split_first() else { return };
    let (whole, removed) = filter(message, usize::MAX);
    assert_eq!(
        filter(message, usize::from(*first) + 1),
        (whole.clone(), removed),
        "what stays depends on the cuts"
    );
    assert_eq!(removed == 0, whole.len() == message.len());
    assert_eq!(filter(&whole, usize::MAX), (whole.clone(), 0), "what was left would be removed");
    let Ok(header) = Header::parse(whole) else { return };
    for field in header.named("Authentication-Results") {
        let Ok(parsed) = parse(field.value) else { continue };
        let id = parsed.authserv_id.trim_end_matches('.');
        let is_ours = Domain::parse(id)
            .is_ok_and(|domain| ["mx.us.example", "xn--bcher-kva.example"].contains(&domain.as_str()));
        assert!(!is_ours, "a field that is ours to a reader stays: {}", field.octets.escape_ascii());
    }
});
