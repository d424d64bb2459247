#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
use proptest::prelude::*;

use super::read::clean;
use super::*;

/// A report with everything in it.
fn full() -> Report {
    Report {
        organization_name: "mx.receiver.example".into(),
        email: "postmaster@mx.receiver.example".into(),
        extra_contact_info: Some("https://receiver.example/?a=1&b=2".into()),
        report_id: "20261126.abc@mx.receiver.example".into(),
        begin: 1_795_600_800,
        end: 1_795_687_199,
        errors: vec!["sp: not a value of this tag".into()],
        generator: Some("Postrider".into()),
        policy: PublishedPolicy {
            domain: "example.com".into(),
            policy: Some(Disposition::Reject),
            subdomain_policy: Some(Disposition::Quarantine),
            nonexistent_policy: Some(Disposition::None),
            dkim_alignment: Some(Alignment::Strict),
            spf_alignment: Some(Alignment::Relaxed),
            percent: Some(50),
            failure_options: Some("1:d".into()),
            testing: Some(false),
            discovery_method: Some("treewalk".into()),
        },
        records: vec![Record {
            source: Some("2001:db8::1".parse().unwrap()),
            count: 12,
            disposition: Disposition::None,
            dkim: Outcome::Fail,
            spf: Outcome::Pass,
            reasons: vec![Reason { kind: OverrideType::Unspecified, comment: Some("a <b> & c".into()) }],
            header_from: "example.com".into(),
            envelope_from: Some("".into()),
            envelope_to: Some("receiver.example".into()),
            dkim_results: vec![DkimResult {
                domain: "list.example".into(),
                selector: Some("s1".into()),
                result: AuthResult::Pass,
                human_result: None,
            }],
            spf_results: vec![SpfResult {
                domain: "mail.example.com".into(),
                scope: Some(SpfScope::Helo),
                result: AuthResult::Softfail,
                human_result: Some("~all".into()),
            }],
        }],
    }
}

const FULL: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<feedback>
 <version>1.0</version>
 <report_metadata>
  <org_name>mx.receiver.example</org_name>
  <email>postmaster@mx.receiver.example</email>
  <extra_contact_info>https://receiver.example/?a=1&amp;b=2</extra_contact_info>
  <report_id>20261126.abc@mx.receiver.example</report_id>
  <date_range>
   <begin>1795600800</begin>
   <end>1795687199</end>
  </date_range>
  <error>sp: not a value of this tag</error>
  <generator>Postrider</generator>
 </report_metadata>
 <policy_published>
  <domain>example.com</domain>
  <discovery_method>treewalk</discovery_method>
  <adkim>s</adkim>
  <aspf>r</aspf>
  <p>reject</p>
  <sp>quarantine</sp>
  <np>none</np>
  <pct>50</pct>
  <fo>1:d</fo>
  <testing>n</testing>
 </policy_published>
 <record>
  <row>
   <source_ip>2001:db8:0:0:0:0:0:1</source_ip>
   <count>12</count>
   <policy_evaluated>
    <disposition>none</disposition>
    <dkim>fail</dkim>
    <spf>pass</spf>
    <reason>
     <type>other</type>
     <comment>a &lt;b&gt; &amp; c</comment>
    </reason>
   </policy_evaluated>
  </row>
  <identifiers>
   <envelope_to>receiver.example</envelope_to>
   <envelope_from></envelope_from>
   <header_from>example.com</header_from>
  </identifiers>
  <auth_results>
   <dkim>
    <domain>list.example</domain>
    <selector>s1</selector>
    <result>pass</result>
   </dkim>
   <spf>
    <domain>mail.example.com</domain>
    <scope>helo</scope>
    <result>softfail</result>
    <human_result>~all</human_result>
   </spf>
  </auth_results>
 </record>
</feedback>
"#;

#[test]
fn a_report_is_written_as_the_schema_has_it() {
    let report = full();
    assert_eq!(report.to_xml(), FULL);
    assert_eq!(Report::parse(FULL.as_bytes()).unwrap(), report);
    let us = Domain::parse("mx.receiver.example").unwrap();
    assert_eq!(
        report.subject(&us),
        "Report Domain: example.com Submitter: mx.receiver.example Report-ID: <20261126.abc@mx.receiver.example>"
    );
    let name = "mx.receiver.example!example.com!1795600800!1795687199!a1.xml.gz";
    assert_eq!(report.file_name(&us, "a1"), name);
}

#[test]
fn a_report_that_is_cut_anywhere_is_none() {
    let end = FULL.trim_end().len();
    for cut in 0..end {
        assert!(Report::parse(&FULL.as_bytes()[..cut]).is_err(), "{cut}");
    }
    assert!(Report::parse(&FULL.as_bytes()[..end]).is_ok());
}

#[test]
fn what_reporters_make_of_the_schema_is_understood() {
    let odd = r#"

<?xml version="1.0" encoding='utf-8' ?>
<!-- a comment with <feedback> -->
<d:Feedback xmlns:d="http://dmarc.org/dmarc-xml/0.1" a='>'>
  <d:policy_published><domain>
      example.com  </domain><p>Reject</p><sp></sp><pct>all</pct><adkim>relaxed</adkim><domain>evil.example</domain></d:policy_published>
  <record>
    <auth_results>
      <spf><result>error</result></spf><spf/>
      <dkim><domain>a.example</domain><domain>b.example</domain><result>Pass</result><deep><domain>x</domain></deep></dkim>
      <dkim/>
    </auth_results>
    <identities><header_from>Example.COM</header_from></identities>
    <row><count> 3
    </count><source_ip>::ffff:192.0.2.1</source_ip><policy_evaluated><spf>PASS</spf><disposition>Delivered</disposition>
      <reason></reason><reason><type>Local_Policy</type><comment><![CDATA[arc=pass & <more>]]></comment></reason></policy_evaluated></row>
  </record>
  <report_metadata><org_name>AT&T R&#x26;D&nbsp;&#0;&lt;</org_name><date_range><end>1795687199.5</end><begin>1795600800000</begin></date_range></report_metadata>
  <record><row><source_ip>unknown</source_ip><count>many</count></row></record>
</d:Feedback> trailing <nonsense"#;
    let report = Report::parse(odd.as_bytes()).unwrap();
    assert_eq!(&*report.organization_name, "AT&T R&D&nbsp;?<");
    assert_eq!((report.begin, report.end), (1_795_600_800, 1_795_687_199));
    assert_eq!((&*report.email, &*report.report_id), ("", ""));
    assert_eq!(
        report.policy,
        PublishedPolicy {
            domain: "example.com".into(),
            policy: Some(Disposition::Reject),
            dkim_alignment: Some(Alignment::Relaxed),
            ..PublishedPolicy::default()
        }
    );
    let [first, second] = &report.records[..] else { panic!("{:?}", report.records) };
    assert_eq!(first.source, Some("::ffff:192.0.2.1".parse().unwrap()));
    assert_eq!((first.count, &first.spf), (3, &Outcome::Pass));
    assert_eq!(first.dkim, Outcome::Other("".into()));
    assert_eq!(first.disposition, Disposition::Other("delivered".into()));
    assert_eq!(
        first.reasons,
        [Reason { kind: OverrideType::LocalPolicy, comment: Some("arc=pass & <more>".into()) }]
    );
    assert_eq!((&*first.header_from, first.envelope_from.as_deref()), ("Example.COM", None));
    let [dkim] = &first.dkim_results[..] else { panic!("{:?}", first.dkim_results) };
    assert_eq!((&*dkim.domain, &dkim.result), ("a.example", &AuthResult::Pass));
    let [spf] = &first.spf_results[..] else { panic!("{:?}", first.spf_results) };
    assert_eq!((&*spf.domain, &spf.result), ("", &AuthResult::Permerror));
    assert_eq!((second.source, second.count), (None, 0));
}

#[test]
fn what_stands_around_a_report_is_passed_over() {
    let (start, rest) = FULL.split_once('\n').unwrap();
    let within = format!("{start} <xs:schema xmlns:xs=\"http://www.w3.org/2001/XMLSchema\">\n<x/><y>{rest}");
    assert_eq!(Report::parse(within.as_bytes()).unwrap(), full());
}

#[test]
fn times_are_read_as_they_are_written() {
    let with = |time: &str| {
        let report = Report::parse(FULL.replace("1795600800", time).as_bytes());
        report.map(|report| report.begin).map_err(|error| error.to_string())
    };
    for (written, time) in [
        (" 0 ", 0),
        ("1795600800.999", 1_795_600_800),
        ("1795600800000", 1_795_600_800),
        ("1795600800000000", 1_795_600_800),
        ("99999999999", 99_999_999_999),
        ("100000000000", 100_000_000),
        ("2026-11-25T10:00:00Z", 1_795_600_800),
        ("2026-11-25 12:00:00+02:00", 1_795_600_800),
        ("2026-11-25 10:00:00", 1_795_600_800),
        ("2026-11-25", 1_795_564_800),
    ] {
        assert_eq!(with(written), Ok(time), "{written}");
    }
    for wrong in ["", "yesterday", "9999-01-01T00:00:00Z", "99999999999999999999"] {
        assert_eq!(with(wrong), Err("the report has no begin of its date range".into()), "{wrong}");
    }
}

#[test]
fn documents_in_other_encodings_are_read() {
    let utf16 = |mark: [u8; 2], swap: fn(u16) -> [u8; 2]| {
        let units = FULL.encode_utf16().flat_map(swap);
        mark.into_iter().chain(units).collect::<Vec<u8>>()
    };
    assert_eq!(Report::parse(&utf16([0xff, 0xfe], u16::to_le_bytes)).unwrap(), full());
    assert_eq!(Report::parse(&utf16([0xfe, 0xff], u16::to_be_bytes)).unwrap(), full());
    assert_eq!(Report::parse(format!("\u{feff}{FULL}").as_bytes()).unwrap(), full());
    let at = FULL.find("mx.receiver").unwrap();
    let latin = [&FULL.as_bytes()[..at], b"M\xfcller ", &FULL.as_bytes()[at..]].concat();
    assert_eq!(&*Report::parse(&latin).unwrap().organization_name, "M\u{fffd}ller mx.receiver.example");
}

#[test]
fn what_is_no_report_says_why() {
    let why = |xml: &str| Report::parse(xml.as_bytes()).unwrap_err().to_string();
    assert_eq!(why(""), "the report has no feedback");
    assert_eq!(why("just words"), "the report has no feedback");
    assert_eq!(why("<feedback>"), "the report is cut off");
    assert_eq!(why("<feedback/>"), "the report has no policy domain");
    assert_eq!(why("<html><body/></html>"), "the report has no feedback");
    assert_eq!(why("<xs:schema><feedback>"), "the report is cut off");
    assert_eq!(why(&FULL.replace("<domain>example.com</domain>", "")), "the report has no policy domain");
    assert_eq!(why(&FULL.replace("<end>1795687199</end>", "")), "the report has no end of its date range");
    assert!(why("<feedback></report>").starts_with("the report is not XML: "));
    assert!(why("</feedback>").starts_with("the report is not XML: "));
    let bomb = r#"<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>"#;
    assert_eq!(why(&format!("{bomb}{FULL}")), "the report has a document type");
    assert_eq!(
        why(&FULL.replace("<feedback>", r#"<!doctype feedback SYSTEM "file:///etc/passwd"><feedback>"#)),
        "the report has a document type"
    );
}

#[test]
fn a_report_has_so_much_and_no_more() {
    let repeated = |part: &str, count: usize| FULL.replace(part, &part.repeat(count));
    let error = |xml: &str| Report::parse(xml.as_bytes()).unwrap_err().to_string();
    let (start, end) = (FULL.find(" <record>").unwrap(), FULL.find("</feedback>").unwrap());
    let without = |records: String| format!("{}{records}</feedback>", &FULL[..start]);
    assert_eq!(
        Report::parse(without("<record/>".repeat(RECORDS_MAX)).as_bytes()).unwrap().records.len(),
        RECORDS_MAX
    );
    assert_eq!(error(&without("<record/>".repeat(RECORDS_MAX + 1))), "the report is too large");
    // An error, and the reason and the results of the first record, count, too.
    let errors = |count: usize| repeated("<error>sp: not a value of this tag</error>", count);
    assert_eq!(Report::parse(errors(PARTS_MAX - 3).as_bytes()).unwrap().errors.len(), 100);
    assert_eq!(error(&errors(PARTS_MAX - 2)), "the report is too large");
    let octets = |count: usize| format!("{FULL}{}", " ".repeat(count - FULL.len()));
    assert!(Report::parse(octets(REPORT_OCTETS_MAX).as_bytes()).is_ok());
    assert_eq!(error(&octets(REPORT_OCTETS_MAX + 1)), "the report is too large");
    let nested = |depth: usize| {
        let elements = format!("{}{}", "<x>".repeat(depth), "</x>".repeat(depth));
        format!("{}{elements}{}", &FULL[..end], &FULL[end..])
    };
    assert!(Report::parse(nested(23).as_bytes()).is_ok());
    assert_eq!(error(&nested(24)), "the report is nested too deeply");
    assert_eq!(error(&"<x>".repeat(25)), "the report is nested too deeply");
    assert_eq!(error(&"<x>".repeat(24)), "the report has no feedback");
    let long = FULL.replace("Postrider", &"\u{e9}".repeat(100_000));
    assert_eq!(Report::parse(long.as_bytes()).unwrap().generator.unwrap().len(), TEXT_OCTETS_MAX);
}

#[test]
fn intervals_divide_the_days() {
    const DAY: i64 = 86_400;
    let of = |time: i64, ri: &str| {
        let record = PolicyRecord::parse(format!("v=DMARC1; p=none; {ri}").as_bytes()).unwrap();
        let Interval { begin, end } = Interval::of(time, &record);
        (begin, end)
    };
    let noon = 20_000 * DAY + 12 * 3600 + 1;
    for (ri, hours) in [
        ("", 24),
        ("ri=86400", 24),
        ("ri=4294967295", 24),
        ("ri=82801", 24),
        ("ri=82800", 12),
        ("ri=43200", 12),
        ("ri=39601", 12),
        ("ri=39600", 8),
        ("ri=25200", 6),
        ("ri=18000", 4),
        ("ri=10800", 3),
        ("ri=7201", 3),
        ("ri=7200", 2),
        ("ri=3600", 1),
        ("ri=1", 1),
        ("ri=0", 1),
    ] {
        let (begin, end) = of(noon, ri);
        assert_eq!(end - begin, hours * 3600, "{ri}");
        assert_eq!(begin % DAY % (hours * 3600), 0, "{ri}");
        assert!(begin <= noon && noon < end, "{ri}");
        assert_eq!(of(begin, ri), (begin, end), "{ri}");
        assert_eq!(of(end, ri).0, end, "{ri}");
    }
    assert_eq!(of(-1, ""), (-DAY, 0));
    assert!(of(i64::MAX, "").1 == i64::MAX && of(i64::MIN, "").0 == i64::MIN);
}

#[test]
fn a_record_is_published_with_what_it_leaves_to_be_understood() {
    let of = |text: &str| PublishedPolicy::new("a.example", &PolicyRecord::parse(text.as_bytes()).unwrap());
    let plain = PublishedPolicy {
        domain: "a.example".into(),
        policy: Some(Disposition::Reject),
        subdomain_policy: Some(Disposition::Reject),
        nonexistent_policy: None,
        dkim_alignment: Some(Alignment::Relaxed),
        spf_alignment: Some(Alignment::Relaxed),
        percent: Some(100),
        failure_options: Some("0".into()),
        testing: None,
        discovery_method: None,
    };
    assert_eq!(of("v=DMARC1; p=reject"), plain);
    let full = PublishedPolicy {
        subdomain_policy: Some(Disposition::None),
        nonexistent_policy: Some(Disposition::Quarantine),
        dkim_alignment: Some(Alignment::Strict),
        percent: Some(20),
        failure_options: Some("1:d:s".into()),
        testing: Some(true),
        ..plain
    };
    assert_eq!(of("v=DMARC1; p=reject; sp=none; np=quarantine; adkim=s; pct=20; fo=1:d:s; t=y"), full);
    assert_eq!(of("v=DMARC1; rua=mailto:a@b.example").policy, Some(Disposition::None));
}

fn text() -> impl Strategy<Value = Box<str>> {
    prop_oneof!["[a-z0-9.-]{1,20}", "\\PC{1,20}", ".{1,10}", "[<>&;\"' \t\r\n#x]{1,9}"]
        .prop_map(|text| clean(&format!("{text}.")))
}

fn word() -> impl Strategy<Value = Box<str>> {
    "[a-z_]{1,8}".prop_map(Into::into)
}

fn result() -> impl Strategy<Value = AuthResult> {
    prop_oneof![Just("pass".into()), Just("softfail".into()), word()].prop_map(|word| match &*word {
        "unknown" | "error" | "hardfail" => AuthResult::Fail,
        word => AuthResult::parse(word),
    })
}

prop_compose! {
    fn record()(
        source in any::<Option<IpAddr>>(),
        count in any::<u64>(),
        words in (word(), word(), word()),
        reasons in prop::collection::vec((word(), prop::option::of(text())), 0..3),
        identifiers in (text(), prop::option::of(prop_oneof![Just("".into()), text()]), prop::option::of(text())),
        dkim in prop::collection::vec((text(), prop::option::of(text()), result(), prop::option::of(text())), 0..3),
        spf in prop::collection::vec((text(), prop::option::of(word()), result(), prop::option::of(text())), 0..3),
    ) -> Record {
        let (header_from, envelope_from, envelope_to) = identifiers;
        Record {
            source, count, header_from, envelope_from, envelope_to,
            disposition: Disposition::parse(&words.0),
            dkim: Outcome::parse(&words.1),
            spf: Outcome::parse(&words.2),
            reasons: reasons
                .into_iter()
                .map(|(kind, comment)| Reason { kind: OverrideType::parse(&kind), comment })
                .collect(),
            dkim_results: dkim
                .into_iter()
                .map(|(domain, selector, result, human_result)| DkimResult { domain, selector, result, human_result })
                .collect(),
            spf_results: spf
                .into_iter()
                .map(|(domain, scope, result, human_result)| {
                    SpfResult { domain, scope: scope.map(|scope| SpfScope::parse(&scope)), result, human_result }
                })
                .collect(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_is_written_is_read(
        texts in (text(), text(), text(), text()),
        options in (prop::option::of(text()), prop::option::of(text()), prop::option::of(text())),
        times in (-1_000_000..99_999_999_999i64, -1_000_000..99_999_999_999i64),
        errors in prop::collection::vec(text(), 0..3),
        policies in prop::collection::vec(prop::option::of(word()), 3),
        percent in any::<Option<u8>>(),
        testing in any::<Option<bool>>(),
        records in prop::collection::vec(record(), 0..4),
    ) {
        let disposition = |at: usize| policies[at].as_deref().map(Disposition::parse);
        let report = Report {
            organization_name: texts.0, email: texts.1, report_id: texts.2,
            extra_contact_info: options.0, generator: options.1,
            begin: times.0, end: times.1, errors, records,
            policy: PublishedPolicy {
                domain: texts.3,
                policy: disposition(0), subdomain_policy: disposition(1), nonexistent_policy: disposition(2),
                dkim_alignment: None, spf_alignment: Some(Alignment::Strict),
                percent, failure_options: options.2, testing, discovery_method: None,
            },
        };
        prop_assert_eq!(Report::parse(report.to_xml().as_bytes()).unwrap(), report);
    }

    #[test]
    fn no_damage_is_a_surprise(at in 0..FULL.len(), octets in prop::collection::vec(any::<u8>(), 0..6)) {
        let damaged = [&FULL.as_bytes()[..at], &octets, &FULL.as_bytes()[(at + 1)..]].concat();
        if let Ok(report) = Report::parse(&damaged) {
            prop_assert_eq!(Report::parse(report.to_xml().as_bytes()).unwrap(), report);
        }
    }
}
