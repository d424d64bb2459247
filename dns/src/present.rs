//! Records in presentation form (RFC 1035 §5.1, RFC 3597 §5), for people and for JSON.

use std::fmt::Write as _;

use hickory_proto::rr::RData;

use crate::names;

/// The data of a record as a master file has it: names with a dot at their end, strings in quotes, octets that
/// are no visible ASCII as `\DDD`.
#[must_use]
pub fn present(data: &RData) -> String {
    let mut text = String::new();
    match data {
        RData::MX(mx) => {
            let _ = write!(text, "{} {}", mx.preference, mx.exchange.to_ascii());
        }
        RData::CNAME(name) => text = name.0.to_ascii(),
        RData::NS(name) => text = name.0.to_ascii(),
        RData::PTR(name) => text = name.0.to_ascii(),
        RData::SRV(srv) => {
            let _ = write!(text, "{} {} {} {}", srv.priority, srv.weight, srv.port, srv.target.to_ascii());
        }
        RData::TXT(strings) => {
            for string in &strings.txt_data {
                if !text.is_empty() {
                    text.push(' ');
                }
                quote(string, &mut text);
            }
        }
        RData::TLSA(tlsa) => text = crate::dane::presented(tlsa),
        RData::CAA(caa) => {
            let flags = caa.reserved_flags | if caa.issuer_critical { 0x80 } else { 0 };
            let _ = write!(text, "{flags} ");
            text.extend(caa.tag.chars().filter(char::is_ascii_alphanumeric));
            text.push(' ');
            quote(&caa.value, &mut text);
        }
        RData::SOA(soa) => {
            let _ = write!(
                text,
                "{} {} {} {} {} {} {}",
                soa.mname.to_ascii(),
                soa.rname.to_ascii(),
                soa.serial,
                soa.refresh,
                soa.retry,
                soa.expire,
                soa.minimum
            );
        }
        RData::Unknown { rdata, .. } => match names::dname_target(data) {
            Some(target) => text = target.to_ascii(),
            None => {
                let _ = write!(text, "\\# {} {}", rdata.anything.len(), hexadecimal(&rdata.anything));
            }
        },
        other => {
            text = other.to_string().chars().map(|one| if one.is_control() { ' ' } else { one }).collect()
        }
    }
    text
}

fn quote(octets: &[u8], text: &mut String) {
    text.push('"');
    for &octet in octets {
        match octet {
            b'"' | b'\\' => {
                text.push('\\');
                text.push(char::from(octet));
            }
            b' '..=b'~' => text.push(char::from(octet)),
            _ => {
                let _ = write!(text, "\\{octet:03}");
            }
        }
    }
    text.push('"');
}

/// Octets as lower-case hexadecimal digits.
#[must_use]
pub fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().fold(String::with_capacity(2 * octets.len()), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use hickory_proto::rr::{Name, RecordType};

    use super::*;
    use crate::script::Script;

    #[test]
    fn what_a_master_file_says_is_shown_as_it_says_it() {
        for (kind, text) in [
            (RecordType::A, "192.0.2.1"),
            (RecordType::AAAA, "2001:db8::1"),
            (RecordType::MX, "10 mx.example."),
            (RecordType::CNAME, "xn--bcher-kva.example."),
            (RecordType::NS, "ns.example."),
            (RecordType::PTR, "host.example."),
            (RecordType::DNAME, "new.example."),
            (RecordType::SRV, "1 2 993 imap.example."),
            (RecordType::TXT, r#""v=spf1 -all" "a \"b\" \\ \000\255" """#),
            (RecordType::TLSA, "3 1 1 00ff"),
            (RecordType::CAA, "128 issue \"ca.example; x=y\""),
            (RecordType::SOA, "ns.example. host.example. 1 2 3 4 5"),
        ] {
            let script = Script::parse(&format!("x. {kind} {text}")).unwrap();
            let answer = script.answer(&Name::from_ascii("x.").unwrap(), kind);
            assert_eq!(answer.data().map(present).collect::<Vec<_>>(), [text], "{kind}");
        }
    }
}
