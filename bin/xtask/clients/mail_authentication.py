"""Mail that is from whom it says, and mail that isn't, delivered by swaks and read back over IMAP.

Usage: prepare PROGRAM DIRECTORY PORT      keys, the zone, and the configuration of knotd on that port
       deliver PROGRAM DIRECTORY RESOLVER ANCHOR SMTP IMAPS USER PASSWORD CERTIFICATE
       listed DIRECTORY SMTP IMAPS USER PASSWORD CERTIFICATE
"""

import base64
import http.server
import imaplib
import json
import pathlib
import re
import ssl
import subprocess
import sys
import threading

SIGNER, LIST = "good.example", "list.example"
KINDS = ("rsa", "ed25519")
# Clients: one whose name in DNS is its own, and one that a blocklist has.
CLIENT, LISTED = "127.0.0.1", "127.0.0.9"

ZONE = """$ORIGIN .
$TTL 300
@ SOA a.root. hostmaster.root. 1 3600 600 86400 300
@ NS a.root.
a.root. A 127.0.0.1
1.0.0.127.in-addr.arpa. PTR client.example.
9.0.0.127.in-addr.arpa. PTR elsewhere.example.
$ORIGIN example.
client     A    127.0.0.1
elsewhere  A    192.0.2.1
good       MX   10 client
good       TXT  "v=spf1 a:client.example -all"
_dmarc.good TXT "v=DMARC1; p=reject"
bank       MX   10 client
bank       TXT  "v=spf1 ip4:192.0.2.0/24 -all"
_dmarc.bank TXT "v=DMARC1; p=reject"
plain      MX   10 client
plain      TXT  "v=spf1 ip4:192.0.2.0/24 -all"
lax        MX   10 client
lax        TXT  "v=spf1 ?all"
_dmarc.lax TXT  "v=DMARC1; p=none"
null       MX   0 .
_mta-sts.good TXT "v=STSv1; id=20261101;"
mta-sts.good  A   127.0.0.1
2.0.0.127.bl A  127.0.0.2
9.0.0.127.bl A  127.0.0.4
9.0.0.127.bl TXT "sent to nobody who asked"
"""


def check(condition, *said):
    if not condition:
        raise SystemExit(" ".join(str(part) for part in said))


def run(*arguments, message=b"", status=0):
    done = subprocess.run(arguments, input=message, capture_output=True, timeout=180)
    check(done.returncode == status, arguments, done.returncode, done.stdout.decode(), done.stderr.decode())
    return done.stdout


def prepare(program, directory, port):
    zone = ZONE
    for kind, domain in (("rsa", SIGNER), ("ed25519", SIGNER), ("rsa", LIST)):
        path = directory / f"{domain}.{kind}.pem"
        path.write_bytes(run(program, "dkim", "gen", kind))
        told = json.loads(run(program, "dkim", "txt", "--selector", kind, "--domain", domain, "--json", str(path)))
        zone += told["zone"] + "\n"
        (directory / f"{domain}.{kind}.record").write_text(f"{told['name']} {told['record']}\n")
    (directory / "root.zone").write_text(zone)
    (directory / "knot.conf").write_text(
        f"""
server:
    rundir: "{directory}"
    listen: 127.0.0.1@{port}
database:
    storage: "{directory}"
log:
  - target: stderr
    any: warning
policy:
  - id: tests
    algorithm: ecdsap256sha256
    single-type-signing: on
zone:
  - domain: .
    file: "{directory}/root.zone"
    storage: "{directory}"
    zonefile-sync: -1
    zonefile-load: whole
    journal-content: none
    dnssec-signing: on
    dnssec-policy: tests
"""
    )


class Mail:
    """Swaks on one side, IMAP on the other."""

    def __init__(self, directory, smtp, imaps, user, password, certificate):
        self.directory, self.smtp, self.user = directory, smtp, user
        context = ssl.create_default_context(cafile=certificate)
        context.check_hostname = False
        self.imap = imaplib.IMAP4_SSL("127.0.0.1", int(imaps), ssl_context=context)
        self.imap.login(user, password)

    def swaks(self, sender, message, client=CLIENT, helo="client.example"):
        """The last reply of the server, and whether it took the message."""
        path = self.directory / "message"
        path.write_bytes(message)
        done = subprocess.run(
            ["/usr/bin/swaks", "--server", "127.0.0.1", "--port", self.smtp, "--helo", helo, "--timeout", "120",
             "--local-interface", client, "--from", sender, "--to", self.user, "--tls", "--data", f"@{path}"],
            capture_output=True, timeout=180,
        )
        said = done.stdout.decode() + done.stderr.decode()
        replies = [line for line in said.splitlines() if re.match(r"^<[-~*]*[ ~*]*\s*[245]\d\d ", line)]
        # Without the reply to QUIT.
        replies = [re.sub(r"^<\S*\s+", "", line) for line in replies]
        replies = [line for line in replies if not line.startswith("221")]
        check(replies, "no replies", said)
        return replies[-1], done.returncode == 0

    def accepted(self, *arguments, **named):
        reply, taken = self.swaks(*arguments, **named)
        check(taken and reply.startswith("250 2."), "not accepted:", reply)
        return self.newest()

    def refused(self, expected, *arguments, **named):
        before = self.count()
        reply, taken = self.swaks(*arguments, **named)
        check(not taken and reply.startswith(expected), "not refused with", expected, "but", reply)
        check(self.count() == before, "refused and stored")

    def count(self):
        return int(self.imap.select("Inbox")[1][0])

    def newest(self):
        """The fields of the newest message, unfolded, and the whole of it."""
        text = self.imap.fetch(str(self.count()), "(BODY.PEEK[])")[1][0][1]
        header = re.sub(r"\r\n[ \t]", " ", text.split(b"\r\n\r\n")[0].decode())
        return [tuple(line.split(": ", 1)) for line in header.split("\r\n")], text


def value(fields, name):
    values = [value for other, value in fields if other == name]
    check(len(values) == 1, name, "is there", len(values), "times in", fields)
    return values[0]


def signed(directory, message, kinds, domain=SIGNER):
    """With a signature of dkimpy for each kind of key."""
    import dkim

    for kind in kinds:
        signature = dkim.sign(message, kind.encode(), domain.encode(), secret(directory, domain, kind),
                              canonicalize=(b"relaxed", b"relaxed"), include_headers=[b"From", b"To", b"Subject"],
                              signature_algorithm=b"rsa-sha256" if kind == "rsa" else b"ed25519-sha256")
        message = signature + message
    return message


def secret(directory, domain, kind):
    path = directory / f"{domain}.{kind}.pem"
    if kind == "rsa":
        return path.read_bytes()
    # dkimpy reads the 32 secret octets, which stand behind a fixed start (RFC 8410 section 7).
    return base64.b64encode(base64.b64decode("".join(path.read_text().splitlines()[1:-1]))[16:48])


def sealed(directory, message, results):
    """With a set of ARC of dkimpy, as a mailing list adds it."""
    import dkim

    message = b"Authentication-Results: list.example; " + results + b"\r\n" + message
    fields = dkim.arc_sign(message, b"rsa", LIST.encode(), secret(directory, LIST, "rsa"), b"list.example",
                           include_headers=[b"From", b"To", b"Subject"])
    check(len(fields) == 3, "dkimpy makes no set", fields)
    return b"".join(fields) + message


def message(author, more=b""):
    return (b"From: Someone <" + author + b">\r\nTo: user@localhost\r\nSubject: hello\r\n" + more
            + b"Date: Thu, 26 Nov 2026 11:00:00 +0000\r\nMessage-ID: <1@example>\r\n\r\nHi.\r\n\r\nThis is a test.\r\n")


IPREV = "iprev=pass (with dnssec) policy.iprev=127.0.0.1"


def deliver(program, directory, resolver, anchor, *server):
    mail = Mail(directory, *server)

    def verify(*command, text=b"", status=0):
        done = run(program, *command, "--resolver", resolver, "--trust-anchor", anchor, "--json", message=text, status=status)
        return json.loads(done)

    good_is_taken(mail, directory, verify)
    forgeries_are_refused(mail, directory)
    failures_are_told(mail)
    chains_are_told(mail, directory, verify)
    forged_results_go(mail)
    opendkim_agrees(program, directory, verify)
    policies_are_fetched(program, directory, verify)


def good_is_taken(mail, directory, verify):
    text = signed(directory, message(b"a@good.example"), ["rsa", "ed25519"])
    fields, stored = mail.accepted("a@good.example", text)
    names = [name for name, _ in fields]
    check(names[:9] == ["X-Postrider-Reason", "Delivered-To", "Return-Path", "Authentication-Results", "Received-SPF",
                        "Received", "DKIM-Signature", "DKIM-Signature", "From"], "fields", names)
    check(value(fields, "X-Postrider-Reason") == "no-bad-signals", fields)
    check(value(fields, "Return-Path") == "<a@good.example>", fields)
    # The last one that was added stands on top.
    found = [re.sub(r"\s", "", field.split("; b=")[-1])[:12] for name, field in fields if name == "DKIM-Signature"]
    # A signature with a slash or a plus among its first signs is quoted.
    quoted = [f'"{tag}"' if re.search(r"[/=]", tag) else tag for tag in found]
    expected = (f"localhost; {IPREV}; "
                f"dkim=pass (256 bit ed25519, with dnssec) header.d=good.example header.s=ed25519 "
                f"header.a=ed25519-sha256 header.b={quoted[0]}; "
                f"dkim=pass (2048 bit rsa, with dnssec) header.d=good.example header.s=rsa "
                f"header.a=rsa-sha256 header.b={quoted[1]}; "
                f"spf=pass (with dnssec) smtp.mailfrom=good.example; "
                f"dmarc=pass (with dnssec) header.from=good.example policy.dmarc=none")
    check(value(fields, "Authentication-Results") == expected, value(fields, "Authentication-Results"), "is not", expected)
    expected = ('pass (domain good.example) client-ip=127.0.0.1; envelope-from="a@good.example"; helo=client.example; '
                'mechanism="a:client.example"; receiver=localhost; identity=mailfrom')
    check(value(fields, "Received-SPF") == expected, value(fields, "Received-SPF"), "is not", expected)
    expected = (r"from client\.example \(\[127\.0\.0\.1\]\) by localhost \(\[127\.0\.0\.1\]\) via tcp with ESMTPS id "
                r"[0-9a-f]+ \(TLSv1\.3 TLS_[A-Z0-9_]+\) for <user@localhost>; \w{3}, \d\d? \w{3} \d{4} \d\d:\d\d:\d\d \+0000")
    received = value(fields, "Received")
    check(re.fullmatch(expected, received), received, "is not", expected)
    # The command line says the same of what was sent.
    results = verify("dkim", "verify", text=text)
    check([one["result"] for one in results] == ["pass", "pass"] and all(one["authentic"] for one in results), results)
    result = verify("dmarc", "verify", "--ip", CLIENT, "--helo", "client.example", "--mail-from", "a@good.example", text=text)
    check(result["result"] == "pass" and result["aligned_spf"] and result["aligned_dkim"] and result["authentic"], result)


def forgeries_are_refused(mail, directory):
    refused = lambda text, sender="a@lax.example": mail.refused("550 5.7.26", sender, text)
    refused(message(b"boss@bank.example"))
    refused(message(b"boss@bank.example"), sender="boss@bank.example")
    refused(message(b"boss@sub.bank.example"))
    refused(message(b"a@lax.example", b"From: <boss@bank.example>\r\n"))
    # A signature of somebody else, and one over another body.
    refused(signed(directory, message(b"boss@bank.example"), ["rsa"]))
    refused(signed(directory, message(b"a@good.example"), ["rsa", "ed25519"]).replace(b"a test", b"no test"))
    # A sender who doesn't take mail (RFC 7505), and one who doesn't exist.
    mail.refused("550 5.7.27", "a@null.example", message(b"a@null.example"))
    mail.refused("550 5.7.27", "a@gone.example", message(b"a@gone.example"))


def failures_are_told(mail):
    fields, _ = mail.accepted("a@plain.example", message(b"a@plain.example"))
    expected = (f"localhost; {IPREV}; dkim=none; spf=fail (with dnssec) smtp.mailfrom=plain.example; "
                f"dmarc=none (with dnssec) header.from=plain.example")
    check(value(fields, "Authentication-Results") == expected, value(fields, "Authentication-Results"), "is not", expected)
    expected = ('fail (domain plain.example) client-ip=127.0.0.1; envelope-from="a@plain.example"; helo=client.example; '
                'mechanism=-all; receiver=localhost; identity=mailfrom')
    check(value(fields, "Received-SPF") == expected, value(fields, "Received-SPF"), "is not", expected)
    # Without a sender, by the name of the client; from a client whose name isn't its own.
    fields, _ = mail.accepted("<>", message(b"a@lax.example"), client=LISTED, helo="lax.example")
    expected = ('localhost; iprev=fail (with dnssec) reason="no name of 127.0.0.9 has this address" policy.iprev=127.0.0.9; '
                'dkim=none; spf=neutral (with dnssec) smtp.helo=lax.example; '
                'dmarc=fail (with dnssec) header.from=lax.example policy.dmarc=none')
    check(value(fields, "Authentication-Results") == expected, value(fields, "Authentication-Results"), "is not", expected)
    received = value(fields, "Received")
    check(received.startswith("from lax.example ([127.0.0.9]) by localhost "), received)


def chains_are_told(mail, directory, verify):
    text = sealed(directory, message(b"a@lax.example"), b"dmarc=pass header.from=lax.example")
    result = verify("arc", "verify", "--trusted", LIST, text=text)
    check(result["result"] == "pass" and result["trusted_instance"] == 1 and result["authentic"], result)
    fields, _ = mail.accepted("a@lax.example", text)
    results = value([pair for pair in fields if not pair[1].startswith("list.example")], "Authentication-Results")
    check(results.endswith("; arc=pass (1 sets, with dnssec) header.oldest-pass=0"), results)
    fields, _ = mail.accepted("a@lax.example", text.replace(b"a test", b"no test"))
    results = value([pair for pair in fields if not pair[1].startswith("list.example")], "Authentication-Results")
    check(results.endswith('; arc=fail (with dnssec) reason="message signature 1: the body was changed"'), results)
    # Nobody is trusted here: a chain saves no forgery.
    text = sealed(directory, message(b"boss@bank.example"), b"dmarc=pass header.from=bank.example")
    mail.refused("550 5.7.26", "a@lax.example", text)


def forged_results_go(mail):
    forged = (b"Authentication-Results: localhost; dmarc=pass header.from=bank.example\r\n"
              b"AUTHENTICATION-results\r\n : (a comment)\r\n\tLOCALHOST 1; dkim=pass header.d=bank.example\r\n"
              b"Authentication-Results: spf=pass smtp.mailfrom=bank.example\r\n")
    kept = b"Authentication-Results: other.example; none\r\n"
    fields, stored = mail.accepted("a@lax.example", message(b"a@lax.example", forged + kept))
    results = [value for name, value in fields if name.lower() == "authentication-results"]
    check(len(results) == 2 and results[0].startswith("localhost; iprev=") and results[1] == "other.example; none", results)
    check(b"bank.example" not in stored, stored)


def opendkim_agrees(program, directory, verify):
    """OpenDKIM verifies what we sign, with the keys of a file, and we verify what it signs."""
    keys, configuration, path = (directory / name for name in ("opendkim.keys", "opendkim.conf", "for-opendkim"))
    keys.write_text("".join((directory / f"{SIGNER}.{kind}.record").read_text() for kind in KINDS))
    configuration.write_text(f"TestPublicKeys {keys}\nSyslog no\nMode v\n")
    for kind in KINDS:
        for header in ("simple", "relaxed"):
            for body in ("simple", "relaxed"):
                key = f"{kind}={directory / f'{SIGNER}.{kind}.pem'}"
                ours = run(program, "dkim", "sign", "--domain", SIGNER, "--key", key, "--canonicalization",
                           f"{header}/{body}", message=message(b"a@good.example"))
                for text, verdict in ((ours, "key) succeeded"), (ours.replace(b"a test", b"no test"), ") failed: ")):
                    path.write_bytes(text)
                    done = subprocess.run(["/usr/sbin/opendkim", "-t", str(path), "-x", str(configuration)],
                                          capture_output=True, timeout=180)
                    said = done.stdout.decode() + done.stderr.decode()
                    check(verdict in said and f"s={kind}" in said, "OpenDKIM says", said, "and not", verdict)
                # Its short signatures change how it folds its own field, and then it doesn't verify them, either.
                if (kind, header) != ("ed25519", "simple"):
                    theirs = by_opendkim(directory, message(b"a@good.example"), kind, f"{header}/{body}")
                    for text, result in ((theirs, "pass"), (theirs.replace(b"a test", b"no test"), "fail")):
                        results = verify("dkim", "verify", text=text)
                        check([one["result"] for one in results] == [result], results, text)


def policies_are_fetched(program, directory, verify):
    """A policy of MTA-STS from Python's web server, and that redirects aren't followed."""
    key, certificate = directory / "sts.key", directory / "sts.pem"
    run("/usr/bin/openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=sts", "-addext",
        "subjectAltName=DNS:mta-sts.good.example", "-addext", "basicConstraints=critical,CA:FALSE")
    policy = "version: STSv1\r\nmode: enforce\r\nmx: *.example\r\nmax_age: 86400\r\n"

    class Handler(http.server.BaseHTTPRequestHandler):
        status = 200

        def do_GET(self):
            self.send_response(self.status)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(policy)))
            self.send_header("Location", "/.well-known/mta-sts.txt")
            self.end_headers()
            self.wfile.write(policy.encode())

        def log_message(self, *_):
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    lookup = ("mtasts", "lookup", "--ca-file", str(certificate), "--port", str(server.server_address[1]))
    result = verify(*lookup, "good.example")
    check((result["result"], result["id"], result["mode"], result["max_age"], result["mx"], result["policy"])
          == ("policy", "20261101", "enforce", 86400, ["*.example"], policy), result)
    check(result["authentic"] and result["addresses"] == ["127.0.0.1"] and result["problem"] is None, result)
    result = verify(*lookup, "lax.example")
    check((result["result"], result["problem"]) == ("none", "there is no record"), result)
    Handler.status = 302
    result = verify(*lookup, "good.example", status=1)
    check(result["result"] == "error" and "302" in result["problem"], result)


def by_opendkim(directory, text, kind, canonicalization):
    """With a signature of OpenDKIM, which prints what it would have a mail server insert."""
    (directory / "hosts").write_text("127.0.0.1\n0.0.0.0/0\n::1\nlocalhost\n")
    configuration = directory / "opendkim-signs.conf"
    configuration.write_text(
        f"Mode s\nSyslog no\nDomain {SIGNER}\nSelector {kind}\nKeyFile {directory / f'{SIGNER}.{kind}.pem'}\n"
        f"SignatureAlgorithm {kind}-sha256\nCanonicalization {canonicalization}\nInternalHosts {directory / 'hosts'}\n"
        "RequireSafeKeys no\n"
    )
    path = directory / "for-opendkim"
    path.write_bytes(text)
    said = run("/usr/sbin/opendkim", "-t", str(path), "-x", str(configuration), "-vv").decode()
    inserted = re.search(r"hname='DKIM-Signature' hvalue='([^']*)'", said)
    check(inserted, "OpenDKIM doesn't sign:", said)
    return b"DKIM-Signature: " + inserted.group(1).replace("\n", "\r\n").encode() + b"\r\n" + text


def listed(directory, *server):
    mail = Mail(directory, *server)
    mail.accepted("a@lax.example", message(b"a@lax.example"))
    mail.refused("550 5.7.1", "a@lax.example", message(b"a@lax.example"), client=LISTED)
    # What is refused for something else isn't asked about.
    mail.refused("550 5.7.26", "a@lax.example", message(b"boss@bank.example"), client=LISTED)


command, arguments = sys.argv[1], sys.argv[2:]
if command == "prepare":
    prepare(arguments[0], pathlib.Path(arguments[1]), arguments[2])
elif command == "deliver":
    deliver(arguments[0], pathlib.Path(arguments[1]), *arguments[2:])
elif command == "listed":
    listed(pathlib.Path(arguments[0]), *arguments[1:])
else:
    raise SystemExit(__doc__)
