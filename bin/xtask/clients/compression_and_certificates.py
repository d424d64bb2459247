"""IMAP compressed by Python's zlib, and logins with client certificates made by openssl."""

import base64
import imaplib
import re
import smtplib
import ssl
import subprocess
import sys
import zlib
from pathlib import Path

TLS_PORT, SUBMISSIONS_PORT, USER, PASSWORD, CERTIFICATE, POSTRIDER, SOCKET, DIR = (
    int(sys.argv[1]),
    int(sys.argv[2]),
    *sys.argv[3:9],
)


def context(version=None, identity=None):
    made = ssl.create_default_context(cafile=CERTIFICATE)
    if version:
        made.minimum_version = made.maximum_version = version
    if identity:
        made.load_cert_chain(f"{DIR}/{identity}.crt", f"{DIR}/{identity}.key")
    return made


class Compressed(imaplib.IMAP4_SSL):
    """imaplib under COMPRESS=DEFLATE; every command is flushed in the way given."""

    def start_compression(self, flush):
        self._command_compress()
        self.flush_mode = flush
        self.packer = zlib.compressobj(6, zlib.DEFLATED, -15)
        self.unpacker = zlib.decompressobj(-15)
        self.text = b""

    def _command_compress(self):
        imaplib.Commands.setdefault("COMPRESS", ("AUTH", "SELECTED"))
        status, data = self._simple_command("COMPRESS", "DEFLATE")
        assert status == "OK", data
        self.packed = True

    def send(self, data):
        if getattr(self, "packed", False) and hasattr(self, "packer"):
            data = self.packer.compress(data) + self.packer.flush(self.flush_mode)
        super().send(data)

    def _more(self):
        data = self.sock.recv(65536)
        assert data, "the connection ended"
        self.text += self.unpacker.decompress(data)

    def read(self, size):
        if not hasattr(self, "unpacker"):
            return super().read(size)
        while len(self.text) < size:
            self._more()
        data, self.text = self.text[:size], self.text[size:]
        return data

    def readline(self):
        if not hasattr(self, "unpacker"):
            return super().readline()
        while b"\n" not in self.text:
            self._more()
        return self.read(self.text.index(b"\n") + 1)


def compressed(flush):
    session = Compressed("localhost", TLS_PORT, ssl_context=context())
    assert "COMPRESS=DEFLATE" not in session.capabilities, "only after the login"
    session.login(USER, PASSWORD)
    session.start_compression(flush)
    message = b"Subject: large\r\n\r\n" + b"0123456789 a line of text\r\n" * 20000
    status, data = session.append("Inbox", None, None, message)
    assert status == "OK", data
    count = int(session.select("Inbox")[1][0])
    for number in range(1, count + 1):
        assert session.fetch(str(number), "(FLAGS)")[0] == "OK"
    status, data = session.fetch(str(count), "(BODY.PEEK[])")
    assert data[0][1] == message, len(data[0][1])
    status, data = session.xatom("COMPRESS", "DEFLATE")
    raise AssertionError("compressed twice")


def run_compressed(name):
    try:
        compressed(getattr(zlib, name))
    except imaplib.IMAP4.error as error:
        assert "COMPRESSIONACTIVE" in str(error), error


def a_bomb_ends_its_session_only():
    session = imaplib.IMAP4_SSL("localhost", TLS_PORT, ssl_context=context())
    session.login(USER, PASSWORD)
    session.sock.sendall(b"x COMPRESS DEFLATE\r\n")
    assert session.readline().startswith(b"x OK")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(b"m NOOP\r\n" * 4_000_000) + packer.flush(zlib.Z_SYNC_FLUSH)
    unpacker, text = zlib.decompressobj(-15), b""
    try:
        session.sock.sendall(bomb)
        while data := session.sock.recv(65536):
            text = (text + unpacker.decompress(data))[-4096:]
    except (ConnectionError, ssl.SSLError):
        pass
    assert b"* BYE [LIMIT]" in text, text[-200:]


def postrider(*arguments):
    done = subprocess.run([POSTRIDER, "--socket", SOCKET, *arguments], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def make(identity, algorithm, *more):
    command = ["openssl", "req", "-x509", "-nodes", "-subj", "/CN=client", *algorithm]
    command += ["-keyout", f"{DIR}/{identity}.key", "-out", f"{DIR}/{identity}.crt", *more]
    subprocess.run(command, check=True, capture_output=True)


def make_expired(identity):
    """Older versions of `openssl req` take no dates."""
    files = f"{DIR}/{identity}"
    Path(f"{files}.index").write_text("")
    Path(f"{files}.cnf").write_text(
        f"[ca]\ndefault_ca = d\n[d]\ndatabase = {files}.index\nserial = {files}.serial\nrand_serial = yes\n"
        f"new_certs_dir = {DIR}\npolicy = p\ndefault_md = sha256\nx509_extensions = e\n"
        "[p]\ncommonName = supplied\n[e]\nsubjectKeyIdentifier = hash\n"
    )
    request = ["openssl", "req", "-new", "-nodes", "-newkey", "rsa:2048", "-subj", "/CN=client"]
    request += ["-keyout", f"{files}.key", "-out", f"{files}.csr"]
    sign = ["openssl", "ca", "-batch", "-selfsign", "-notext", "-config", f"{files}.cnf"]
    sign += ["-keyfile", f"{files}.key", "-in", f"{files}.csr", "-out", f"{files}.crt"]
    sign += ["-startdate", "20200101000000Z", "-enddate", "20210101000000Z"]
    for command in (request, sign):
        subprocess.run(command, check=True, capture_output=True)


def fingerprint(identity):
    """SHA-256 of the SubjectPublicKeyInfo, as openssl sees it."""
    key = subprocess.run(
        ["openssl", "x509", "-in", f"{DIR}/{identity}.crt", "-noout", "-pubkey"], check=True, capture_output=True
    ).stdout
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-outform", "der"], input=key, check=True, capture_output=True
    ).stdout
    digest = subprocess.run(
        ["openssl", "dgst", "-sha256", "-binary"], input=der, check=True, capture_output=True
    ).stdout
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def imap_login(identity, version, authzid=b""):
    session = imaplib.IMAP4_SSL("localhost", TLS_PORT, ssl_context=context(version, identity))
    if "AUTH=EXTERNAL" not in session.capabilities:
        session.logout()
        return False
    status, data = session.authenticate("EXTERNAL", lambda _: authzid)
    assert status == "OK", data
    assert session.select("Inbox")[0] == "OK"
    session.logout()
    return True


def submission_login(identity, version):
    session = smtplib.SMTP_SSL("localhost", SUBMISSIONS_PORT, context=context(version, identity))
    session.ehlo()
    offered = "EXTERNAL" in session.esmtp_features.get("auth", "").split()
    code, text = session.docmd("AUTH", "EXTERNAL =")
    assert (code == 235) == offered, (code, text)
    session.quit()
    return offered


def certificates():
    rsa = ("-newkey", "rsa:2048")
    kinds = {
        "rsa": rsa,
        "p256": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        "ed25519": ("-newkey", "ed25519"),
    }
    for kind, algorithm in kinds.items():
        make(kind, algorithm, "-days", "30")
        said = postrider("account", "tlspubkey", "add", "--name", kind, "user", f"{DIR}/{kind}.crt")
        assert fingerprint(kind) in said, said
    make("wrong", rsa, "-days", "30")
    make_expired("expired")
    postrider("account", "tlspubkey", "add", "user", f"{DIR}/expired.crt")
    rows = postrider("account", "tlspubkey", "list", "user").splitlines()
    assert len(rows) == 4 and f"{fingerprint('p256')}\tp256" in rows, rows
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        for kind in kinds:
            assert imap_login(kind, version) and imap_login(kind, version, USER.encode()), (kind, version)
            assert submission_login(kind, version), (kind, version)
        for stranger in ("wrong", "expired", None):
            assert not imap_login(stranger, version), (stranger, version)
            assert not submission_login(stranger, version), (stranger, version)
    exported = postrider("directory", "export")
    assert re.search(r"tls_public_keys = \[\n(    .*\n){4}\]", exported), exported
    Path(f"{DIR}/directory.toml").write_text(exported)
    postrider("account", "tlspubkey", "rm", "user", "--", fingerprint("rsa"))
    assert not imap_login("rsa", ssl.TLSVersion.TLSv1_3)
    postrider("directory", "apply", f"{DIR}/directory.toml")
    assert imap_login("rsa", ssl.TLSVersion.TLSv1_3)


def main():
    for flush in ("Z_SYNC_FLUSH", "Z_PARTIAL_FLUSH", "Z_FULL_FLUSH"):
        run_compressed(flush)
    a_bomb_ends_its_session_only()
    certificates()


main()
