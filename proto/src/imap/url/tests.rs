#![expect(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;

use super::super::command::SectionText;
use super::*;

fn url(text: &str) -> MessageUrl {
    MessageUrl::parse(text).unwrap_or_else(|bad| panic!("{text}: {bad}"))
}

#[test]
fn messages_and_parts_are_named() {
    let found = url("/Drafts;UIDVALIDITY=385759045/;UID=20/;section=1.5.MIME");
    assert_eq!((found.server, found.mailbox.as_str()), (None, "Drafts"));
    assert_eq!(found.uid_validity.unwrap().0.get(), 385_759_045);
    assert_eq!(found.uid, Uid::new(20).unwrap());
    let section = found.section.unwrap();
    assert_eq!(section.part.iter().map(|number| number.get()).collect::<Vec<_>>(), [1, 5]);
    assert_eq!(section.text, Some(SectionText::Mime));

    let found =
        url("imap://fred%40example.org;AUTH=*@[::1]:143/Ablage/%C3%BC%2Fx@y:z/;uid=7/;PARTIAL=0.1024");
    let server = found.server.unwrap();
    assert_eq!((server.user.as_deref(), &*server.host), (Some("fred@example.org"), "[::1]"));
    assert_eq!(found.mailbox.as_str(), "Ablage/ü/x@y:z");
    assert_eq!(found.partial, Some(UrlPartial { offset: 0, length: NonZeroU64::new(1024) }));
    assert_eq!(found.section, None);

    let found = url("//host/inbox/;UID=1/;SECTION=HEADER.FIELDS%20(To%20%22Cc%22)/;PARTIAL=5");
    assert!(found.mailbox.is_inbox());
    assert_eq!(found.section.unwrap().text, Some(SectionText::HeaderFields(vec!["To".into(), "Cc".into()])));
    assert_eq!(found.partial, Some(UrlPartial { offset: 5, length: None }));
    assert_eq!(found.server.unwrap().user, None);
}

#[test]
fn authorisations_are_read() {
    let token = "91354a473744909de610943775f92038";
    let rump = "imap://joe@example.com/INBOX/;uid=20/;section=1.2;expire=2026-01-01T00:00:00-01:00;urlauth=submit+fr%65d";
    let found = url(&format!("{rump}:internal:{token}")).authorisation.unwrap();
    assert_eq!(found.expires, Some(1_767_229_200));
    assert_eq!(found.access, Access::Submit("fred".into()));
    let verifier = found.verifier.unwrap();
    assert_eq!(
        (verifier.rump_octets, &*verifier.mechanism, verifier.token.len()),
        (rump.len(), "INTERNAL", 16)
    );
    assert_eq!(url(rump).authorisation.unwrap().verifier, None);
    for (written, access) in [
        ("user+a", Access::User("a".into())),
        ("AuthUser", Access::AuthUser),
        ("anonymous", Access::Anonymous),
    ] {
        let found = url(&format!("imap://j@h/a/;UID=1;URLAUTH={written}")).authorisation.unwrap();
        assert_eq!((found.access, found.expires), (access, None));
    }
    let base = "imap://j@h/a/;UID=1";
    for bad in [
        ";URLAUTH=",
        ";URLAUTH=submit+",
        ";URLAUTH=user+",
        ";URLAUTH=nobody",
        ";URLAUTH=user+a;x",
        ";EXPIRE=2026-01-01T00:00:00Z",
        ";EXPIRE=tomorrow;URLAUTH=anonymous",
        ";EXPIRE=2026-01-01;URLAUTH=anonymous",
        ";EXPIRE=2026-01-01T00:00:00;URLAUTH=anonymous",
        ";URLAUTH=anonymous:internal",
        ";URLAUTH=anonymous:internal:",
        ";URLAUTH=anonymous::91354a473744909de610943775f92038",
        // Odd, short, no digits, something behind.
        ";URLAUTH=anonymous:internal:91354a473744909de610943775f920381",
        ";URLAUTH=anonymous:internal:91354a473744909de610943775f920",
        ";URLAUTH=anonymous:internal:91354a473744909de610943775f9203x",
        ";URLAUTH=anonymous:internal:91354a473744909de610943775f92038/",
    ] {
        assert_eq!(MessageUrl::parse(&format!("{base}{bad}")), Err(BadUrl::Syntax), "{bad}");
    }
    let long = |digits| MessageUrl::parse(&format!("{base};URLAUTH=anonymous:x:{}", "a".repeat(digits)));
    assert!(long(TOKEN_DIGITS_MAX).is_ok() && long(TOKEN_DIGITS_MAX + 2).is_err());
}

#[test]
fn what_names_no_message_is_told_apart() {
    for text in [
        "imap://host",
        "imap://host/",
        "/",
        "imap://h/INBOX",
        "/INBOX/",
        "/a;UIDVALIDITY=1",
        "/a;UIDVALIDITY=1/",
        "/a?SUBJECT%20x",
        "//h",
    ] {
        assert_eq!(MessageUrl::parse(text), Err(BadUrl::NoMessage), "{text}");
    }
    for text in [
        "",
        "http://h/a/;UID=1",
        ";UID=1",
        "INBOX/;UID=1",
        "/;UID=1 ",
        "imap:/a/;UID=1",
        "?",
        "/\u{fc}/;UID=1",
    ] {
        assert!(MessageUrl::parse(text).is_err(), "{text}");
    }
    for text in [
        "/a;UID=1",
        "/a/;UID=0",
        "/a/;UID=",
        "/a/;UID=4294967296",
        "/a/;UID=1/",
        "/a/;UID=1/;SECTION=",
        "/a/;UID=1/;SECTION=MIME",
        "/a/;UID=1/;SECTION=1%2",
        "/a/;UID=1/;SECTION=%ff",
        "/a/;UID=1/;PARTIAL=1.0",
        "/a/;UID=1/;PARTIAL=",
        "/a/;UID=1/;PARTIAL=1/;SECTION=1",
        "/a b/;UID=1",
        "/a%00/;UID=1",
        "/a%zz/;UID=1",
        "/a/../b/;UID=1",
        "/a;UIDVALIDITY=0/;UID=1",
        "/a;UIDVALIDITY=1;UID=1",
        "imap://@/a/;UID=1",
        "imap://u@/a/;UID=1",
        "imap://u@h:x/a/;UID=1",
        "imap://u;AUTH=@h/a/;UID=1",
        "imap:///a/;UID=1",
        "/a/;UID=1;X=1",
        "/a/;UID=1?x",
    ] {
        assert_eq!(MessageUrl::parse(text), Err(BadUrl::Syntax), "{text}");
    }
    let long = |octets: usize| MessageUrl::parse(&format!("/{}%61/;UID=1", "%61".repeat(octets)));
    assert!(long(500).is_ok());
    assert_eq!(
        MessageUrl::parse(&format!("imap://{}/a/;UID=1", "h".repeat(URL_OCTETS_MAX - 16))).map(drop),
        Ok(())
    );
    assert_eq!(
        MessageUrl::parse(&format!("imap://{}/a/;UID=1", "h".repeat(URL_OCTETS_MAX - 15))),
        Err(BadUrl::Syntax)
    );
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,60}") {
        let _ = MessageUrl::parse(&text);
    }

    #[test]
    fn texts_near_the_grammar_are_read_or_refused(
        words in prop::collection::vec(prop::sample::select(vec![
            "imap://", "u", "@", "h", "/", "a", ";UID=", "1", ";SECTION=", ";PARTIAL=", ".", ";UIDVALIDITY=",
            ";EXPIRE=", "2026-01-01T00:00:00Z", ";URLAUTH=", "user+", "anonymous", ":", "internal", "%", "%41", "é",
            "91354a473744909de610943775f92038",
        ]), 0..16),
    ) {
        let text = words.concat();
        if let Ok(url) = MessageUrl::parse(&text) {
            // Whatever is read can be echoed in a response code.
            prop_assert!(text.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'"'), "{url:?}");
        }
    }
}
