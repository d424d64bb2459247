#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

#[test]
fn urls_are_read_in_one_form() {
    for (text, shown, host, port, target) in [
        ("https://Example.COM", "https://example.com/", "example.com", 443, "/"),
        ("HTTPS://example.com:443/a?b=c", "https://example.com/a?b=c", "example.com", 443, "/a?b=c"),
        ("http://example.com:8080?x", "http://example.com:8080/?x", "example.com:8080", 8080, "/?x"),
        ("http://192.0.2.1/%41", "http://192.0.2.1/%41", "192.0.2.1", 80, "/%41"),
        ("https://[2001:DB8::1]:1/", "https://[2001:db8::1]:1/", "[2001:db8::1]:1", 1, "/"),
        (
            "https://xn--bcher-kva.example/",
            "https://xn--bcher-kva.example/",
            "xn--bcher-kva.example",
            443,
            "/",
        ),
    ] {
        let url = Url::parse(text).unwrap();
        assert_eq!(
            (url.as_str(), url.authority(), url.port(), url.target()),
            (shown, host, port, target),
            "{text}"
        );
        assert_eq!(Url::parse(url.as_str()), Ok(url.clone()), "{text}");
        assert_eq!(url.is_secure(), shown.starts_with("https:"));
    }
}

#[test]
fn what_is_no_url_is_told_why() {
    use UrlError::{Character, Fragment, Host, Port, Scheme, UserInfo};
    for (text, error) in [
        ("", Scheme),
        ("example.com", Scheme),
        ("ftp://example.com/", Scheme),
        ("file:///etc/passwd", Scheme),
        ("https://", Host),
        ("https:///x", Host),
        ("https://user@example.com/", UserInfo),
        ("https://a:b@example.com/", UserInfo),
        ("https://example.com\\@x/", UserInfo),
        ("https://example.com\\x/", Host),
        ("https://exa mple.com/", Host),
        ("https://b\u{fc}cher.example/", Host),
        ("https://127.1/", Host),
        ("https://2130706433/", Host),
        ("https://0x7f000001/", Host),
        ("https://a.0x1/", Host),
        ("https://[::1/", Host),
        ("https://[::1%25lo]/", Host),
        ("https://[::1]x/", Host),
        ("https://example.com:/", Port),
        ("https://example.com:0/", Port),
        ("https://example.com:65536/", Port),
        ("https://example.com:+1/", Port),
        ("https://example.com:1:2/", Port),
        ("https://example.com/a b", Character),
        ("https://example.com/\r\nX: y", Character),
        ("https://example.com/%4", Character),
        ("https://example.com/%zz", Character),
        ("https://example.com/\u{e9}", Character),
        ("https://example.com/#x", Fragment),
        ("https://example.com#x", Fragment),
    ] {
        assert_eq!(Url::parse(text), Err(error), "{text}");
    }
    let of = |octets: usize| Url::parse(&format!("https://a.example/{}", "x".repeat(octets - 18)));
    assert!(of(URL_OCTETS_MAX).is_ok());
    assert_eq!(of(URL_OCTETS_MAX + 1), Err(UrlError::TooLong));
    let bare = format!("https://a.example?{}", "x".repeat(URL_OCTETS_MAX - 18));
    assert_eq!(Url::parse(&bare), Err(UrlError::TooLong), "the slash that is added counts");
}

#[test]
fn a_request_can_not_be_split() {
    let url = Url::parse("http://example.com:8080/hook?x=y").unwrap();
    let made = request(&url, Method::Post(b"{}"), &[("Content-Type", "application/json")]).unwrap();
    let text = "POST /hook?x=y HTTP/1.1\r\nHost: example.com:8080\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    assert_eq!(String::from_utf8(made).unwrap(), text);
    let made = request(&url, Method::Get, &[]).unwrap();
    let text = "GET /hook?x=y HTTP/1.1\r\nHost: example.com:8080\r\nConnection: close\r\n\r\n";
    assert_eq!(String::from_utf8(made).unwrap(), text);
    for value in ["a\r\nX: y", "a\nb", "a\0", " a", "a\t", "\u{e9}", "\u{7f}"] {
        assert_eq!(request(&url, Method::Get, &[("Authorization", value)]), None, "{value:?}");
    }
    for name in ["", "a b", "a:", "a\r\n"] {
        assert_eq!(request(&url, Method::Get, &[(name, "x")]), None, "{name:?}");
    }
    assert!(request(&url, Method::Get, &[("Authorization", "Bearer a\tb c"), ("X", "")]).is_some());
}

const ANY: Accept =
    Accept { statuses: Statuses::All, media_type: None, body_octets_max: 8, longer: Longer::Cut };

/// The status and the body of a response that comes in pieces of so many octets.
fn read(response: &str, piece: usize) -> Result<(Option<u16>, String), ResponseError> {
    let mut reader = ResponseReader::new(ANY);
    for piece in response.as_bytes().chunks(piece) {
        if reader.push(piece)? == Progress::Complete {
            break;
        }
    }
    Ok((reader.status(), String::from_utf8(reader.body().to_vec()).unwrap()))
}

#[test]
fn any_status_is_read_and_a_long_body_is_cut() {
    let long = "x".repeat(100_000);
    for (response, status, body) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok".to_owned(),
            Some(200),
            "ok",
        ),
        ("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\nmoved".to_owned(), Some(302), "moved"),
        ("HTTP/1.1 204 No Content\r\n\r\nnone".to_owned(), Some(204), ""),
        ("HTTP/1.1 101 Switching\r\n\r\nnone".to_owned(), Some(101), ""),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 Oops\r\n\r\nno".to_owned(), Some(500), "no"),
        (format!("HTTP/1.1 200 OK\r\n\r\n{long}"), Some(200), "xxxxxxxx"),
        (
            format!("HTTP/1.1 200 OK\r\nContent-Length: 999999999999999999999\r\n\r\n{long}"),
            Some(200),
            "xxxxxxxx",
        ),
        (
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\nffff\r\n{long}"),
            Some(200),
            "abcdxxxx",
        ),
        // A head that isn't whole has no status.
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n".to_owned(), None, ""),
    ] {
        for piece in [usize::MAX, 1, 7, 4096] {
            let read = read(&response, piece);
            assert_eq!(read, Ok((status, body.to_owned())), "{response:.80} {piece}");
        }
    }
    let wrong = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab";
    assert_eq!(read(wrong, 3), Err(ResponseError::Grammar));
}
