#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

#[test]
fn a_request_can_not_be_split() {
    let host = Host::Domain(Domain::parse("example.com").unwrap());
    let hook = Resource { host: &host, port: Some(8080), target: "/hook?x=y" };
    let made = request(hook, Method::Post(b"{}"), &[("Content-Type", "application/json")]).unwrap();
    let text = "POST /hook?x=y HTTP/1.1\r\nHost: example.com:8080\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    assert_eq!(String::from_utf8(made).unwrap(), text);
    let address = Host::Address("2001:db8::1".parse().unwrap());
    let made = request(Resource { host: &address, port: None, target: "/" }, Method::Get, &[]).unwrap();
    let text = "GET / HTTP/1.1\r\nHost: [2001:db8::1]\r\nConnection: close\r\n\r\n";
    assert_eq!(String::from_utf8(made).unwrap(), text);
    for target in ["", "x", "/a b", "/\r\nX: y", "/\u{e9}", "/\u{7f}"] {
        assert_eq!(request(Resource { target, ..hook }, Method::Get, &[]), None, "{target:?}");
    }
    for value in ["a\r\nX: y", "a\nb", "a\0", " a", "a\t", "\u{e9}", "\u{7f}"] {
        assert_eq!(request(hook, Method::Get, &[("Authorization", value)]), None, "{value:?}");
    }
    for name in ["", "a b", "a:", "a\r\n"] {
        assert_eq!(request(hook, Method::Get, &[(name, "x")]), None, "{name:?}");
    }
    assert!(request(hook, Method::Get, &[("Authorization", "Bearer a\tb c"), ("X", "")]).is_some());
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
