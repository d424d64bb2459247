//! Addresses that mail isn't sent to.

use super::*;

fn add(account: &str, address: &str) -> Request {
    Request::SuppressionAdd { account: text(account), address: text(address), reason: text("asked for it") }
}

#[test]
fn addresses_are_suppressed_for_one_account() {
    let server = start();
    server.ok(&add("anna", "To.m+list@one.example"));
    let lookup = |account: &str, address: &str| Request::SuppressionLookup {
        account: text(account),
        address: text(address),
    };
    let (rows, _) = server.ok(&lookup("anna", "tom@one.example"));
    assert!(
        rows.contains("\"address\":\"To.m+list@one.example\"") && rows.contains("asked for it"),
        "{rows}"
    );
    assert_eq!(server.ok(&lookup("bo", "tom@one.example")).0, "");
    server.ok(&Request::SuppressionAdd {
        account: text("bo"),
        address: text("x@y.example"),
        reason: text(""),
    });
    let listed = |account: Option<&str>| {
        let request = Request::SuppressionList { account: account.map(text), cursor: None, limit: None };
        server.ok(&request).0.lines().count()
    };
    assert_eq!((listed(None), listed(Some("anna"))), (2, 1));
    let remove = Request::SuppressionRemove { account: text("anna"), address: text("tom@one.example") };
    server.ok(&remove);
    assert_eq!(server.fails(&remove).0, FailureKind::NotFound);
    assert_eq!((listed(None), listed(Some("anna"))), (1, 0));
    assert_eq!(server.fails(&add("anna", "no address")).0, FailureKind::Invalid);
}

#[test]
fn the_list_comes_in_pages() {
    let server = start();
    server.ok(&add("bo", "a@many.example"));
    for number in 0..7 {
        server.ok(&add("anna", &format!("x{number}@many.example")));
    }
    let page = |account: Option<&str>, cursor: Option<String>, limit: Option<u32>| {
        let account = account.map(text);
        let (rows, answer) = server.ok(&Request::SuppressionList { account, cursor, limit });
        let Answer::Page { next } = answer else { panic!("{answer:?}") };
        (rows.lines().map(text).collect::<Vec<String>>(), next)
    };
    for (account, count) in [(None, 8), (Some("anna"), 7), (Some("bo"), 1)] {
        let all = page(account, None, None);
        assert_eq!((all.0.len(), &all.1), (count, &None));
        for limit in [1, 3, 7, 8] {
            let (mut rows, mut cursor) = (Vec::new(), None);
            loop {
                let (some, next) = page(account, cursor, Some(limit));
                assert!(some.len() == limit as usize || next.is_none());
                rows.extend(some);
                cursor = next;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(rows, all.0, "{account:?} {limit}");
        }
    }
    let next = page(Some("anna"), None, Some(1)).1;
    for (account, cursor) in [("bo", next), ("anna", Some(text("0g")))] {
        let request = Request::SuppressionList { account: Some(text(account)), cursor, limit: None };
        assert_eq!(server.fails(&request).0, FailureKind::Invalid, "a cursor of another list, or none");
    }
}
