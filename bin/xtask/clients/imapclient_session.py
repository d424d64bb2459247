"""A session of imapclient: IDLE, MOVE, CONDSTORE, UIDPLUS, folder names beyond ASCII."""

import ssl
import sys
import time

import imapclient

PORT, TLS_PORT, USER, PASSWORD, CERTIFICATE = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:6]
CONTEXT = ssl.create_default_context(cafile=CERTIFICATE)
SECONDS = 120


def connect():
    client = imapclient.IMAPClient("localhost", TLS_PORT, ssl_context=CONTEXT, timeout=SECONDS)
    client.login(USER, PASSWORD)
    return client


def message(number):
    return (
        f"From: Jörg <j{number}@example.org>\r\nTo: {USER}\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe_{number}?=\r\n"
        f"Message-ID: <c{number}@example.org>\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/alternative; boundary=b\r\n\r\n"
        "--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGrüße\r\n"
        "--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>Grüße</p>\r\n--b--\r\n"
    ).encode()


def told(client, wanted):
    """Waits until IDLE tells something that is wanted; a part of it may come first."""
    end, all_told = time.monotonic() + SECONDS, []
    while not any(wanted(entry) for entry in all_told):
        assert time.monotonic() < end, all_told
        all_told += client.idle_check(timeout=10)


def main():
    client = connect()
    for capability in (b"IMAP4REV1", b"IMAP4REV2", b"IDLE", b"MOVE", b"UIDPLUS", b"CONDSTORE", b"QRESYNC", b"ESEARCH"):
        assert client.has_capability(capability.decode()), capability
    client.create_folder("Entwürfe/Größe")
    assert "Entwürfe/Größe" in [name for _, _, name in client.list_folders()]
    assert client.find_special_folder(b"\\Sent") == "Sent"

    for number in range(10):
        client.append("Entwürfe/Größe", message(number), flags=[b"\\Seen"] if number < 5 else [])
    info = client.select_folder("Entwürfe/Größe")
    assert info[b"EXISTS"] == 10, info
    first_modseq = info[b"HIGHESTMODSEQ"]
    uids = client.search("ALL")
    assert len(uids) == 10 and client.search("UNSEEN") == uids[5:]
    assert client.search(["SUBJECT", "Grüße 4"], charset="UTF-8") == [uids[4]]

    fetched = client.fetch(uids, ["ENVELOPE", "BODYSTRUCTURE", "INTERNALDATE", "RFC822.SIZE", "MODSEQ"])
    assert fetched[uids[0]][b"ENVELOPE"].subject == b"=?utf-8?q?Gr=C3=BC=C3=9Fe_0?="
    structure = fetched[uids[0]][b"BODYSTRUCTURE"]
    assert structure.is_multipart and structure[1] == b"alternative", structure
    assert fetched[uids[0]][b"RFC822.SIZE"] == len(message(0))
    assert client.fetch(uids[3], ["BODY[2]"])[uids[3]][b"BODY[2]"] == "<p>Grüße</p>".encode()

    client.add_flags(uids[:2], [b"\\Flagged", b"$Custom"])
    changed = client.fetch(uids, ["FLAGS"], modifiers=[f"CHANGEDSINCE {first_modseq}"])
    assert sorted(changed) == uids[:2], changed

    client.move(uids[:3], "Archive")
    assert client.search("ALL") == uids[3:]
    client.delete_messages(uids[3:4])
    client.uid_expunge(uids[3:4])
    assert client.search("ALL") == uids[4:]
    client.unselect_folder()
    assert client.folder_status("Archive", ["MESSAGES"])[b"MESSAGES"] == 3

    # IDLE tells at once what another session does.
    client.select_folder("INBOX")
    client.idle()
    other = connect()
    other.append("INBOX", message(99))
    told(client, lambda entry: entry == (1, b"EXISTS"))
    other.select_folder("INBOX")
    other.add_flags(other.search("ALL"), [b"\\Answered"])
    told(client, lambda entry: len(entry) > 1 and entry[1] == b"FETCH")
    client.idle_done()
    other.logout()

    client.delete_folder("Entwürfe/Größe")
    client.logout()


main()
