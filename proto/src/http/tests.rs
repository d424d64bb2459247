#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

#[test]
fn a_request_can_not_be_split() {
    let host = Host::Domain(Domain::parse("example.com").unwrap());
    let hook = Resource { host: &host, port: Some(8080), target: "/hook?x=y" };
    let made = request(hook, Method::Post { octets: 2 }, &[("Content-Type", "application/json")]).unwrap();
    let text = "POST /hook?x=y HTTP/1.1\r\nHost: example.com:8080\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n";
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

#[test]
fn what_is_not_http_is_refused() {
    for (response, expected) in [
        ("HTTP/1.1 000 No\r\n\r\n", ResponseError::Grammar),
        ("HTTP/1.1 099 No\r\n\r\n", ResponseError::Grammar),
        ("HTTP/1.1 20 No\r\n\r\n", ResponseError::Grammar),
        ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", ResponseError::Grammar),
        ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", ResponseError::Grammar),
        ("HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n", ResponseError::Grammar),
        // A message of HTTP/1.0 can't be so (RFC 9112 §6.1).
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", ResponseError::Coding),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n 1\r\na\r\n0\r\n\r\n", ResponseError::Grammar),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1 1\r\na\r\n0\r\n\r\n",
            ResponseError::Grammar,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
            ResponseError::Grammar,
        ),
    ] {
        for piece in [usize::MAX, 1, 7] {
            assert_eq!(read(response, piece), Err(expected), "{response:?} {piece}");
        }
    }
    // What comes before the response is bounded together with it.
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000);
    assert_eq!(read(&interim, 4096), Err(ResponseError::HeadTooLarge));
    let fields = |count: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(count));
    assert!(read(&fields(64), 7).is_ok());
    assert_eq!(read(&fields(65), 7), Err(ResponseError::HeadTooLarge));
}

/// How a response ends that comes in pieces of so many octets, with its status and its body.
fn whole(accept: Accept, octets: &[u8], cut: usize) -> (Result<(), ResponseError>, Option<u16>, Vec<u8>) {
    let mut reader = ResponseReader::new(accept);
    let mut result = Ok(Progress::More);
    for piece in octets.chunks(cut) {
        result = reader.push(piece);
        if result != Ok(Progress::More) {
            break;
        }
    }
    (result.and_then(|_| reader.end()), reader.status(), reader.body().to_vec())
}

#[test]
fn responses_at_random_are_read_the_same_however_they_are_cut() {
    const LINES: [&str; 8] = [
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 204 None\r\n",
        "HTTP/1.1 103 Early\r\n",
        "HTTP/1.0 200 OK\r\n",
        "HTTP/1.1 503 Later\r\n",
        "HTTP/1.1 304\r\n",
        "HTTP/1.1 101 Other\r\n",
        "\r\nHTTP/1.1 200 \r\n",
    ];
    const FIELDS: [&str; 8] = [
        "Content-Length: 5\r\n",
        "content-length:0\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: chunked\r\n",
        "transfer-encoding: Chunked \r\n",
        "Content-Type: text/plain; charset=x\r\n",
        "Content-Encoding: gzip\r\n",
        "X:\r\n",
    ];
    const BODIES: [&str; 9] = [
        "5\r\nhello\r\n",
        "0\r\n\r\n",
        "a;x=y\r\n0123456789\r\n",
        "0\r\nA: b\r\n\r\n",
        "hello",
        "ffff\r\n",
        "\r\n",
        "x",
        "",
    ];
    let rounds =
        std::env::var("POSTRIDER_FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |end: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % (end as u64)).unwrap()
    };
    let mut good = 0;
    for _ in 0..rounds {
        let mut octets = Vec::new();
        for _ in 0..=below(2) {
            octets.extend_from_slice(LINES[below(LINES.len())].as_bytes());
            for _ in 0..below(4) {
                octets.extend_from_slice(FIELDS[below(FIELDS.len())].as_bytes());
            }
            octets.extend_from_slice(b"\r\n");
        }
        for _ in 0..below(5) {
            octets.extend_from_slice(BODIES[below(BODIES.len())].as_bytes());
        }
        for _ in 0..below(3) {
            let at = below(octets.len());
            match below(3) {
                0 => octets[at] = u8::try_from(below(256)).unwrap(),
                1 => octets[at] = b":; \r\n0af"[below(8)],
                _ => drop(octets.remove(at)),
            }
        }
        let accept = Accept {
            statuses: [Statuses::All, Statuses::Ok][below(2)],
            media_type: [None, Some("text/plain")][below(2)],
            body_octets_max: [0, 4, 8, 512][below(4)],
            longer: [Longer::Cut, Longer::Refused][below(2)],
        };
        let (result, status, body) = whole(accept, &octets, octets.len());
        assert!(body.len() <= accept.body_octets_max);
        assert!(status.is_none_or(|status| status >= 100 && (status == 101 || status >= 200)), "{status:?}");
        assert!(!matches!(status, Some(101 | 204 | 304)) || body.is_empty(), "{status:?}");
        good += usize::from(result.is_ok());
        let cut = 1 + below(octets.len());
        let again = whole(accept, &octets, cut);
        let shown = octets.escape_ascii();
        assert_eq!((again.0, again.1), (result, status), "{shown} in pieces of {cut}");
        assert!(result.is_err() || again.2 == body, "{shown} in pieces of {cut}");
    }
    assert!(good > rounds / 10, "{good} of {rounds}");
}
