//! The record with which a domain asks for reports on TLS.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postrider_proto::address::Address;
use postrider_proto::tlsrpt::{Destination, Record};

fuzz_target!(|input: &[u8]| {
    let Ok(record) = Record::parse(input) else { return };
    assert!(Record::is_one(input));
    assert!((1..=10).contains(&record.destinations.len()));
    for destination in record.destinations {
        match destination {
            Destination::Mail(address) => {
                let text = address.to_string();
                assert_eq!(Address::parse(&text), Ok(address), "{text}");
            }
            Destination::Https(uri) => assert!(uri.starts_with("https://"), "{uri}"),
        }
    }
});
