//! What a server of the web says to our client: what is read of it doesn't depend on how it was cut, and is bounded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postrider_proto::http::{Accept, Longer, Progress, ResponseError, ResponseReader, Statuses};

/// How a response ends that comes in pieces of so many octets, with its status and its body.
fn read(accept: Accept, octets: &[u8], cut: usize) -> (Result<(), ResponseError>, Option<u16>, Vec<u8>) {
    let mut reader = ResponseReader::new(accept);
    let mut result = Ok(Progress::More);
    for piece in octets.chunks(cut) {
        result = reader.push(piece);
        if result != Ok(Progress::More) {
            break;
        }
    }
    let result = result.and_then(|_| reader.end());
    (result, reader.status(), reader.body().to_vec())
}

fuzz_target!(|input: &[u8]| {
    let [choice, cut, octets @ ..] = input else { return };
    let accept = Accept {
        statuses: if choice & 1 > 0 { Statuses::Ok } else { Statuses::All },
        media_type: (choice & 2 > 0).then_some("text/plain"),
        body_octets_max: [0, 8, 512, 1 << 16][usize::from(choice >> 2 & 3)],
        longer: if choice & 16 > 0 { Longer::Refused } else { Longer::Cut },
    };
    let (result, status, body) = read(accept, octets, octets.len().max(1));
    assert!(body.len() <= accept.body_octets_max, "a body of {} octets", body.len());
    assert!(status.is_none_or(|status| (100..1000).contains(&status)), "{status:?}");
    assert!(status == Some(200) || body.is_empty() || accept.statuses == Statuses::All, "{status:?}");
    assert!(!matches!(status, Some(204 | 304)) || body.is_empty(), "a body where none can be");
    let again = read(accept, octets, usize::from(*cut) + 1);
    assert_eq!((again.0, again.1), (result, status), "in pieces of {}", usize::from(*cut) + 1);
    assert!(result.is_err() || again.2 == body, "in pieces of {}", usize::from(*cut) + 1);
});
