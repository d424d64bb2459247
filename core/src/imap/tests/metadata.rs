//! Annotations that are too long for a dialog file: the limits on the wire, and values of any octets.

use super::server::{Peer, Server, Setup};

/// As `Limits::annotation_value_octets_max`.
const VALUE_OCTETS_MAX: usize = 64 * 1024;
/// As `Limits::annotations_max`.
const ANNOTATIONS_MAX: usize = 1000;

fn set(peer: &mut Peer, mailbox: &str, entry: &str, value: &[u8]) -> String {
    let head = format!("a SETMETADATA {mailbox} ({entry} ~{{{}+}}\r\n", value.len());
    peer.send(&[head.as_bytes(), value, b")\r\n"].concat());
    peer.line()
}

#[test]
fn a_value_is_refused_beyond_its_limit_and_beyond_what_is_left_for_all() {
    let server = Server::start(&Setup::default());
    let mut peer = server.log_in();
    let value = vec![b'x'; VALUE_OCTETS_MAX + 1];
    let full = &value[..VALUE_OCTETS_MAX];
    assert_eq!(
        set(&mut peer, "Inbox", "/private/a", &value),
        "a NO [METADATA MAXSIZE 65536] the value is too large"
    );
    // Fifteen of them, each with a path of two or three octets, leave a little.
    let mut used = 0;
    for number in 0..15 {
        let path = format!("/{number}");
        assert_eq!(set(&mut peer, "Inbox", &format!("/shared{path}"), full), "a OK done");
        used += path.len() + full.len();
    }
    let left = 1_000_000 - used - "/z".len();
    let answer = format!("a NO [METADATA MAXSIZE {left}] the value is too large");
    assert_eq!(set(&mut peer, "Sent", "/private/z", &value[..left + 1]), answer);
    assert_eq!(set(&mut peer, "Sent", "/private/z", &value[..left]), "a OK done");
    // What goes makes room.
    peer.send(b"a SETMETADATA Inbox (/shared/0 NIL)\r\n");
    assert_eq!(peer.line(), "a OK done");
    assert_eq!(set(&mut peer, "\"\"", "/private/z", full), "a OK done");
}

#[test]
fn annotations_are_counted_for_the_whole_account() {
    let server = Server::start(&Setup::default());
    let mut peer = server.log_in();
    for number in 0..ANNOTATIONS_MAX {
        let mailbox = ["Inbox", "Sent", "\"\""][number % 3];
        assert_eq!(set(&mut peer, mailbox, &format!("/private/n{number}"), b"v"), "a OK done");
    }
    let refused = "a NO [METADATA TOOMANY] too many annotations";
    assert_eq!(set(&mut peer, "Trash", "/shared/one-more", b"v"), refused);
    // One that is there can be changed, and those of a deleted mailbox count no more.
    assert_eq!(set(&mut peer, "Inbox", "/private/n0", b"w"), "a OK done");
    peer.send(b"a DELETE Sent\r\n");
    assert_eq!(peer.line(), "a OK deleted");
    assert_eq!(set(&mut peer, "Trash", "/shared/one-more", b"v"), "a OK done");
}

#[test]
fn other_users_leave_half_of_the_room_to_the_owner() {
    let server = Server::start(&Setup::default());
    server.add_account("bob");
    let (mut owner, mut guest) = (server.log_in(), server.log_in_as("bob"));
    owner.send(b"a SETACL Inbox bob lr\r\n");
    assert_eq!(owner.line(), "a OK rights are set");
    let shared = "\"Other Users/user/Inbox\"";
    for number in 0..ANNOTATIONS_MAX / 2 {
        assert_eq!(set(&mut guest, shared, &format!("/private/n{number}"), b"v"), "a OK done");
    }
    let refused = "a NO [METADATA TOOMANY] too many annotations";
    assert_eq!(set(&mut guest, shared, "/shared/one-more", b"v"), refused);
    // Several in one command are counted one by one, and nothing of it is done.
    guest.send(
        format!("a SETMETADATA {shared} (/private/n0 NIL /shared/a \"x\" /shared/b \"x\")\r\n").as_bytes(),
    );
    assert_eq!(guest.line(), refused);
    for number in 0..ANNOTATIONS_MAX / 2 {
        assert_eq!(set(&mut owner, "Inbox", &format!("/private/n{number}"), b"v"), "a OK done");
    }
    assert_eq!(set(&mut owner, "Inbox", "/shared/one-more", b"v"), refused);
    // What they have they may remove, and in octets it is half, too.
    guest.send(format!("a SETMETADATA {shared} (/private/n0 NIL)\r\n").as_bytes());
    assert_eq!(guest.line(), "a OK done");
    server.add_account("carol");
    let (mut owner, shared) = (server.log_in_as("carol"), "\"Other Users/carol/Inbox\"");
    owner.send(b"a SETACL Inbox bob lr\r\n");
    assert_eq!(owner.line(), "a OK rights are set");
    let full = vec![b'x'; VALUE_OCTETS_MAX];
    for number in 0..8 {
        assert_eq!(set(&mut guest, shared, &format!("/shared/{number}"), &full), "a OK done");
    }
    assert_eq!(set(&mut guest, shared, "/shared/8", b"v"), refused);
    assert_eq!(set(&mut owner, "Inbox", "/shared/8", &full), "a OK done");
}

#[test]
fn values_have_any_octets() {
    let server = Server::start(&Setup::default());
    let mut peer = server.log_in();
    assert_eq!(set(&mut peer, "Inbox", "/private/a", b"a\0\r\n)b"), "a OK done");
    peer.send(b"b GETMETADATA Inbox /private/a\r\n");
    assert_eq!(peer.line(), "* METADATA Inbox (/private/a ~{6}");
    assert_eq!(peer.octets(6), "a\0\r\n)b");
    assert_eq!(peer.line(), ")");
    assert_eq!(peer.line(), "b OK done");
    // Only a literal8 may have NUL.
    peer.send(b"c SETMETADATA Inbox (/private/a {1+}\r\n\0)\r\n");
    assert_eq!(peer.line(), "c BAD NUL in a literal");
    peer.send(b"d NOOP\r\n");
    assert_eq!(peer.line(), "d OK done");
}
