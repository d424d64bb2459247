//! Aggregate reports of DMARC, as XML.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postrider_proto::dmarc::report::Report;

fuzz_target!(|input: &[u8]| {
    let Ok(report) = Report::parse(input) else { return };
    let xml = report.to_xml();
    assert_eq!(Report::parse(xml.as_bytes()).expect("what was written is read"), report);
});
