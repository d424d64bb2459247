//! Reports of other servers: a message, from which the report is taken in whatever it comes; and a file alone.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postrider_proto::reports::{self, Report};

fuzz_target!(|input: &[u8]| {
    for found in [reports::find_in(input), reports::read(input)] {
        match found {
            Ok(Report::Dmarc(report)) => {
                let again = reports::read(report.to_xml().as_bytes()).expect("what was written is read");
                assert_eq!(again, Report::Dmarc(report));
            }
            Ok(Report::Tls(report)) => {
                let again = reports::read(report.to_json().as_bytes()).expect("what was written is read");
                assert_eq!(again, Report::Tls(report));
            }
            Err(_) => {}
        }
    }
});
