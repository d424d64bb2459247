//! Keys and signatures that are printed in RFCs.

use hickory_proto::dnssec::rdata::DNSSECRData;
use hickory_proto::rr::{RData, Record};

use super::super::keys::{Verification, Voucher, ZoneKey, usable, vouched};
use super::super::limits::{Limits, Work};
use super::super::reason::Reason;
use super::super::sets::Section;
use super::super::signature::{self, Signer};
use super::text;

/// A key, a DS record of it, data, and the signature of the data.
struct Vector {
    key: &'static str,
    ds: Option<&'static str>,
    data: &'static str,
    signature: &'static str,
}

const VECTORS: [Vector; 5] = [
    // RFC 5702 §6.2. RFC 5702 §6.1 has a key of 512 bits, which isn't believed.
    Vector {
        key: "example.net. 3600 IN DNSKEY 256 3 10 AwEAAdHoNTOW+et86KuJOWRD p1pndvwb6Y83nSVXXyLA3DLroROUkN6X0O6pnWnjJQuj\
              X/AyhqFD xj13tOnD9u/1kTg7cV6rklMrZDtJCQ5PCl/D7QNPsgVsMu1J2Q8g pMpztNFLpPBz1bWXjDtaR7ZQBlZ3PFY12ZTSncor\
              ffcGmhOL",
        ds: None,
        data: "www.example.net. 3600 IN A 192.0.2.91",
        signature: "www.example.net. 3600 IN RRSIG A 10 3 3600 20300101000000 20000101000000 3740 example.net. \
                    tsb4wnjRUDnB1BUi+t6TMTXThjVnG+eCkWqjvvjhzQL1d0YRoOe0CbxrVDYd0xDtsuJRaeUw1ep94PzEWzr0iGYgZBWm/zpq\
                    +9fOuagYJRfDqfReKBzMweOLDiNa8iP5g9vMhpuv6OPlvpXwm9Sa9ZXIbNl1MBGk0fthPgxdDLw=",
    },
    // RFC 6605 §6.1.
    Vector {
        key: "example.net. 3600 IN DNSKEY 257 3 13 GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+e+MA\
              nLr+Wi9xMWyQLc8NAA==",
        ds: Some(
            "example.net. 3600 IN DS 55648 13 2 b4c8c1fe2e7477127b27115656ad6256f424625bf5c1e2770ce6d6e37df61d17",
        ),
        data: "www.example.net. 3600 IN A 192.0.2.1",
        signature: "www.example.net. 3600 IN RRSIG A 13 3 3600 20100909100439 20100812100439 55648 example.net. \
                    qx6wLYqmh+l9oCKTN6qIc+bw6ya+KJ8oMz0YP107epXAyGmt+3SNruPFKG7tZoLBLlUzGGus7ZwmwWep666VCw==",
    },
    // RFC 6605 §6.2.
    Vector {
        key: "example.net. 3600 IN DNSKEY 257 3 14 xKYaNhWdGOfJ+nPrL8/arkwf2EY3MDJ+SErKivBVSum1w/egsXvSADtNJhyem5RCOpgQ\
              6K8X1DRSEkrbYQ+OB+v8/uX45NBwY8rp65F6Glur8I/mlVNgF6W/qTI37m40",
        ds: Some(
            "example.net. 3600 IN DS 10771 14 4 72d7b62976ce06438e9c0bf319013cf801f09ecc84b8d7e9495f27e305c6a9b0563a9b5f\
             4d288405c3008a946df983d6",
        ),
        data: "www.example.net. 3600 IN A 192.0.2.1",
        signature: "www.example.net. 3600 IN RRSIG A 14 3 3600 20100909102025 20100812102025 10771 example.net. \
                    /L5hDKIvGDyI1fcARX3z65qrmPsVz73QD1Mr5CEqOiLP95hxQouuroGCeZOvzFaxsT8Glr74hbavRKayJNuydCuzWTSSPdz7\
                    wnqXL5bdcJzusdnI0RSMROxxwGipWcJm",
    },
    // RFC 8080 §6.1, both.
    Vector {
        key: "example.com. 3600 IN DNSKEY 257 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=",
        ds: Some(
            "example.com. 3600 IN DS 3613 15 2 3aa5ab37efce57f737fc1627013fee07bdf241bd10f3b1964ab55c78e79a304b",
        ),
        data: "example.com. 3600 IN MX 10 mail.example.com.",
        signature: "example.com. 3600 IN RRSIG MX 15 2 3600 20150819220000 20150729220000 3613 example.com. \
                    oL9krJun7xfBOIWcGHi7mag5/hdZrKWw15jPGrHpjQeRAvTdszaPD+QLs3fx8A4M3e23mRZ9VrbpMngwcrqNAg==",
    },
    Vector {
        key: "example.com. 3600 IN DNSKEY 257 3 15 zPnZ/QwEe7S8C5SPz2OfS5RR40ATk2/rYnE9xHIEijs=",
        ds: Some(
            "example.com. 3600 IN DS 35217 15 2 401781b934e392de492ec77ae2e15d70f6575a1c0bc59c5275c04ebe80c6614c",
        ),
        data: "example.com. 3600 IN MX 10 mail.example.com.",
        signature: "example.com. 3600 IN RRSIG MX 15 2 3600 20150819220000 20150729220000 35217 example.com. \
                    zXQ0bkYgQTEFyfLyi9QoiY6D8ZdYo4wyUhVioYZXFdT410QPRITQSqJSnzQoSm5poJ7gD7AQR0O7KuI5k2pcBg==",
    },
];

fn key_of(vector: &Vector) -> (Record, ZoneKey) {
    let record = text::record(vector.key);
    let RData::DNSSEC(DNSSECRData::DNSKEY(key)) = &record.data else { panic!("no key") };
    let key = ZoneKey::of(key).unwrap();
    (record, key)
}

#[test]
fn signatures_that_are_printed_in_rfcs_hold() {
    let limits = Limits::DEFAULT;
    for vector in &VECTORS {
        let (record, key) = key_of(vector);
        let records = [text::record(vector.data), text::record(vector.signature)];
        let verify = |records: &[Record], now: &str| {
            let section = Section::of(records);
            let work = Work::new(&limits);
            let keys = std::slice::from_ref(&key);
            let now = text::time(now).unwrap();
            let signer = Signer { zone: &record.name, keys, verification: Verification::default(), now };
            signature::verify(&section.sets[0], signer, &work)
        };
        let times: Vec<_> = vector.signature.split_whitespace().skip(8).take(2).collect();
        let [expires, begins] = times[..] else { panic!("no times") };
        verify(&records, begins).unwrap();
        let signed = verify(&records, expires).unwrap();
        assert_eq!(signed.signature.tag, key.tag);
        let mut other = records.clone();
        other[0].data = text::record("www.example.net. A 192.0.2.99").data;
        assert!(matches!(
            verify(&other, begins),
            Err(Reason::SignatureMissing { .. } | Reason::SignatureWrong { .. })
        ));
        let mut other = records.clone();
        other.iter_mut().for_each(|record| record.name = text::name(&format!("x{}", record.name)));
        assert!(verify(&other, begins).is_err());
    }
}

#[test]
fn ds_records_that_are_printed_in_rfcs_are_of_their_keys() {
    let limits = Limits::DEFAULT;
    for vector in &VECTORS {
        let Some(ds) = vector.ds else { continue };
        let (record, key) = key_of(vector);
        let RData::DNSSEC(DNSSECRData::DS(ds)) = text::record(ds).data else { panic!("no DS") };
        let vouchers = usable(&record.name, &[Voucher::Digest(ds)], Verification::default(), 8).unwrap();
        let work = Work::new(&limits);
        let keys = [key];
        let found = vouched(&record.name, &keys, &vouchers, "its DS records", Verification::default(), &work);
        assert_eq!(found.unwrap(), [&keys[0]]);
    }
}
