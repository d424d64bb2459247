"""A session of neomutt in batch mode, with CONDSTORE, QRESYNC and a header cache: it reads, flags, copies and
deletes; a second start resynchronises with what another client did meanwhile.

neomutt wants a terminal, so it gets a pseudo-terminal, and its keys from a file of commands.
"""

import imaplib
import os
import pty
import select
import ssl
import sys
import tempfile
import time

PORT, TLS_PORT, USER, PASSWORD, CERTIFICATE = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:6]
CONTEXT = ssl.create_default_context(cafile=CERTIFICATE)
HOME = tempfile.mkdtemp()
SECONDS = 180

SETTINGS = f"""
set folder="imaps://localhost:{TLS_PORT}/"
set spoolfile="imaps://localhost:{TLS_PORT}/INBOX"
set imap_user="{USER}"
set imap_pass="{PASSWORD}"
set imap_condstore=yes
set imap_qresync=yes
set certificate_file="{CERTIFICATE}"
set ssl_ca_certificates_file="{CERTIFICATE}"
set ssl_verify_host=yes
set header_cache="{HOME}/cache"
set message_cachedir="{HOME}/bodies"
set confirmappend=no
set confirmcreate=no
set delete=yes
set quit=yes
set wait_key=no
set sort=mailbox-order
set move=no
set mail_check=1
set pager_stop=yes
set charset=utf-8
set debug_level=2
set debug_file="{HOME}/debug"
"""


def connect():
    client = imaplib.IMAP4_SSL("localhost", TLS_PORT, ssl_context=CONTEXT, timeout=SECONDS)
    client.login(USER, PASSWORD)
    return client


def neomutt(keys):
    """Runs neomutt with `keys`; what it drew, when it doesn't end by itself."""
    path = os.path.join(HOME, "neomuttrc")
    with open(path, "w") as file:
        file.write(SETTINGS + f'push "{keys}"\n')
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(HOME=HOME, TERM="xterm", LANG="C.UTF-8", LINES="40", COLUMNS="120")
        os.execv("/usr/bin/neomutt", ["neomutt", "-n", "-F", path])
    drawn, until = b"", time.monotonic() + SECONDS
    while time.monotonic() < until:
        ready, _, _ = select.select([terminal], [], [], 0.2)
        if ready:
            try:
                octets = os.read(terminal, 65536)
            except OSError:
                octets = b""
            drawn += octets
            if not octets:
                break
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        raise AssertionError(f"neomutt didn't end: {drawn[-3000:]!r}")
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, (status, drawn[-3000:])


def spoken():
    """What neomutt said to the server."""
    path = os.path.join(HOME, "debug0")
    with open(path, errors="replace") as file:
        return file.read()


def flags(client, mailbox):
    """Subject and flags of each message."""
    client.select(mailbox, readonly=True)
    _, rows = client.fetch("1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (Subject)])")
    found = {}
    for row in rows:
        if isinstance(row, tuple):
            subject = row[1].decode().split(":", 1)[1].strip()
            found[subject] = set(imaplib.ParseFlags(row[0]))
    return found


def main():
    client = connect()
    for number in range(1, 6):
        text = f"From: a@example.org\r\nSubject: message {number}\r\nMessage-ID: <n{number}@example.org>\r\n\r\nText {number}.\r\n"
        assert client.append("INBOX", None, None, text.encode())[0] == "OK"

    # Reads the first, flags the second, copies the third to Archive, deletes the fourth.
    neomutt(
        "<jump>1<enter><display-message><exit>"
        "<jump>2<enter><flag-message>"
        f"<jump>3<enter><copy-message><kill-line>imaps://localhost:{TLS_PORT}/Archive<enter>"
        "<jump>4<enter><delete-message>"
        "<sync-mailbox><quit>"
    )
    inbox, archive = flags(client, "INBOX"), flags(client, "Archive")
    assert set(inbox) == {"message 1", "message 2", "message 3", "message 5"}, inbox
    assert b"\\Seen" in inbox["message 1"], inbox
    assert b"\\Flagged" in inbox["message 2"], inbox
    assert b"\\Seen" not in inbox["message 5"], inbox
    assert set(archive) == {"message 3"}, archive
    said = spoken()
    assert "ENABLE QRESYNC" in said, "neomutt enables QRESYNC"

    # Another client changes things; the second start has to see them, and asks for the changes only.
    client.select("INBOX")
    client.store("1", "+FLAGS", "(\\Deleted)")
    client.expunge()
    text = "From: a@example.org\r\nSubject: message 6\r\n\r\nText.\r\n"
    client.append("INBOX", None, None, text.encode())
    client.close()
    os.remove(os.path.join(HOME, "debug0"))
    neomutt("<last-entry><flag-message><first-entry><delete-message><sync-mailbox><quit>")
    inbox = flags(client, "INBOX")
    assert set(inbox) == {"message 3", "message 5", "message 6"}, inbox
    assert b"\\Flagged" in inbox["message 6"], inbox
    said = spoken()
    assert "CHANGEDSINCE" in said and "cmd_parse_vanished" in said, "the second start resynchronises"
    client.logout()


main()
