"""A session of Python's imaplib: every step asserts what the server must answer."""

import imaplib
import re
import ssl
import sys
import time

PORT, TLS_PORT, USER, PASSWORD, CERTIFICATE = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:6]
CONTEXT = ssl.create_default_context(cafile=CERTIFICATE)


def ok(answer):
    status, data = answer
    assert status == "OK", answer
    return data


def message(number):
    return (
        f"From: Someone <s{number}@example.org>\r\nTo: {USER}\r\nSubject: number {number}\r\n"
        f"Message-ID: <{number}@example.org>\r\nDate: Mon, 02 Nov 2026 10:00:{number:02} +0100\r\n\r\n"
        f"Body of {number}, with some text.\r\n"
    ).encode()


def login_is_refused_before_tls():
    plain = imaplib.IMAP4("localhost", PORT)
    assert "LOGINDISABLED" in plain.capabilities, plain.capabilities
    try:
        plain.login(USER, PASSWORD)
        raise AssertionError("LOGIN went through without TLS")
    except imaplib.IMAP4.error as error:
        assert "PRIVACYREQUIRED" in str(error) or "TLS" in str(error), error
    plain.starttls(CONTEXT)
    assert "LOGINDISABLED" not in plain.capabilities
    plain.login(USER, PASSWORD)
    plain.logout()


def wrong_passwords_are_refused():
    for user in (USER, "nobody@localhost.example"):
        session = imaplib.IMAP4_SSL("localhost", TLS_PORT, ssl_context=CONTEXT)
        try:
            session.login(user, "not the password")
            raise AssertionError("a wrong password went through")
        except imaplib.IMAP4.error as error:
            assert "AUTHENTICATIONFAILED" in str(error), error
        session.logout()


def main():
    login_is_refused_before_tls()
    wrong_passwords_are_refused()
    session = imaplib.IMAP4_SSL("localhost", TLS_PORT, ssl_context=CONTEXT)
    ok(session.authenticate("CRAM-MD5", lambda challenge: cram(challenge)))

    ok(session.create("Project/Notes"))
    names = b"\n".join(ok(session.list()))
    assert b"Project/Notes" in names and b"Project\n" in names.replace(b"\r", b"") + b"\n", names
    for number in range(1, 21):
        data = ok(session.append("Project/Notes", r"(\Seen)" if number % 2 else None, None, message(number)))
        assert re.search(rb"APPENDUID \d+ %d\]" % number, data[0]), data
    assert ok(session.select("Project/Notes")) == [b"20"]
    assert ok(session.search(None, "SEEN"))[0].split() == [str(n).encode() for n in range(1, 21, 2)]
    assert ok(session.search(None, "SUBJECT", '"number 7"'))[0] == b"7"
    assert ok(session.uid("SEARCH", "BODY", '"of 13,"'))[0] == b"13"

    parts = ok(session.fetch("3", "(UID FLAGS RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY.PEEK[])"))
    assert parts[0][1] == message(3), parts
    assert b'"number 3"' in parts[0][0] and b"RFC822.SIZE %d" % len(message(3)) in parts[0][0], parts
    assert ok(session.fetch("2", "(FLAGS)"))[0] == b"2 (UID 2 FLAGS ())"
    ok(session.fetch("2", "(BODY[TEXT])"))
    assert b"\\Seen" in ok(session.fetch("2", "(FLAGS)"))[0]

    ok(session.store("1:4", "+FLAGS", r"(\Deleted $Work)"))
    left = list(range(1, 21))
    for number in ok(session.expunge()):
        del left[int(number) - 1]
    assert left == list(range(5, 21)), left
    assert ok(session.search(None, "ALL"))[0].split() == [str(n).encode() for n in range(1, 17)]
    ok(session.copy("1:3", "Trash"))
    assert b"MESSAGES 3" in ok(session.status("Trash", "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN)"))[0]
    status, data = session.copy("1", "Nowhere")
    assert status == "NO" and b"TRYCREATE" in data[0], data
    ok(session.rename("Project/Notes", '"Project/Old notes"'))
    ok(session.close())

    # What another session does is told with the next command.
    ok(session.select("Inbox"))
    other = imaplib.IMAP4_SSL("localhost", TLS_PORT, ssl_context=CONTEXT)
    other.login(USER, PASSWORD)
    ok(other.append("Inbox", None, imaplib.Time2Internaldate(time.time()), message(30)))
    ok(session.noop())
    assert session.response("EXISTS")[1][-1] == b"1"
    other.logout()

    ok(session.unselect())
    ok(session.delete('"Project/Old notes"'))
    ok(session.delete("Project"))
    assert session.delete("Inbox")[0] == "NO"
    session.logout()


def cram(challenge):
    import hmac
    return f"{USER} {hmac.new(PASSWORD.encode(), challenge, 'md5').hexdigest()}"


main()
