//! The URL that a user has called: a request for it is one request, to the host that the URL names, whoever reads it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postrider_proto::http::{Method, Resource, request};
use postrider_storage::directory::WebhookUrl;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(url) = WebhookUrl::parse(text) else { return };
    assert_eq!(url.as_str(), text);
    let scheme = if url.is_secure() { "https" } else { "http" };
    let (host, port, target) = (url.host(), url.port(), url.target());
    let resource = Resource { host, port: Some(port), target };
    let octets = request(resource, Method::Post { octets: 1 }, &[]).expect("each URL can be asked for");
    let lines: Vec<_> = std::str::from_utf8(&octets).expect("ASCII").split("\r\n").collect();
    assert_eq!(lines[0], format!("POST {target} HTTP/1.1"));
    assert_eq!(lines[0].split(' ').count(), 3);
    assert_eq!(lines[1], format!("Host: {host}:{port}"));
    assert_eq!(lines[2..], ["Content-Length: 1", "Connection: close", "", ""]);
    // Written anew it is the same.
    let again = WebhookUrl::parse(&format!("{scheme}://{host}:{port}{target}")).expect("a URL");
    assert_eq!((again.host(), again.port(), again.target()), (host, port, target));
    assert_eq!(again.is_secure(), url.is_secure());
});
