"""Signatures of `postrider dkim` verified by dkimpy, those of dkimpy by `postrider dkim`, and chains by both.

Arguments: the program, and a directory for files.
"""

import base64
import json
import pathlib
import subprocess
import sys
import threading

import dkim
import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset
import nacl.signing
import socket

PROGRAM, DIRECTORY = sys.argv[1], pathlib.Path(sys.argv[2])
DOMAIN = "example.com"
CANONICAL = [f"{header}/{body}" for header in ("simple", "relaxed") for body in ("simple", "relaxed")]
MESSAGES = {
    "plain": b"From: Joe <joe@example.com>\r\nTo: Suzie <suzie@example.net>\r\nSubject: dinner\r\n"
    b"Message-ID: <1@example.com>\r\n\r\nHi.\r\n\r\nWe lost the game.\r\n",
    "white space": b"From: joe@example.com\r\nTo:  a@example.net,\r\n\tb@example.net\r\nSUBJECT:  two   words \r\n"
    b"X-Empty:\r\n\r\n  leading\r\ntrailing \t \r\ntwo  spaces\tand tab\r\n\r\n \r\n\r\n\r\n",
    "no body": b"From: joe@example.com\r\nSubject: nothing\r\n\r\n",
    "empty lines": b"From: joe@example.com\r\nSubject: lines\r\n\r\n\r\n\r\n\r\n",
    "long": b"From: joe@example.com\r\nSubject: long\r\nReceived: a\r\nReceived: b\r\n\r\n"
    + b"A line of text, as  mail has many. \r\n" * 5000,
}
RECORDS = {}


def serve():
    """A DNS server with the TXT records that are known."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))

    def answer():
        while True:
            octets, peer = server.recvfrom(4096)
            query = dns.message.from_wire(octets)
            response = dns.message.make_response(query, recursion_available=True)
            question = query.question[0]
            text = RECORDS.get(question.name.to_text(omit_final_dot=True).lower())
            if text is None:
                response.set_rcode(3)
            elif question.rdtype == dns.rdatatype.TXT:
                strings = [text[at : at + 200] for at in range(0, len(text), 200)]
                data = " ".join(f'"{string}"' for string in strings)
                response.answer.append(dns.rrset.from_text(question.name, 60, "IN", "TXT", data))
            server.sendto(response.to_wire(), peer)

    threading.Thread(target=answer, daemon=True).start()
    return f"127.0.0.1:{server.getsockname()[1]}"


RESOLVER = serve()


def lookup(name, timeout=5):
    name = name.decode() if isinstance(name, bytes) else name
    text = RECORDS.get(name.rstrip(".").lower())
    return text.encode() if text else None


def postrider(*arguments, message=b""):
    done = subprocess.run([PROGRAM, *arguments], input=message, capture_output=True, timeout=180)
    if done.returncode != 0:
        raise SystemExit(f"{arguments}: exit status {done.returncode}: {done.stderr.decode()}")
    return done.stdout


def results(message):
    return json.loads(postrider("dkim", "verify", "--resolver", RESOLVER, "--json", message=message))


def check(condition, *said):
    if not condition:
        raise SystemExit(" ".join(str(part) for part in said))


def make_keys():
    """A key of each kind; dkimpy reads RSA keys in PEM and the 32 secret octets of an Ed25519 key."""
    keys = {}
    for kind in ("rsa", "ed25519"):
        path = DIRECTORY / f"{kind}.pem"
        path.write_bytes(postrider("dkim", "gen", kind))
        told = json.loads(postrider("dkim", "txt", "--selector", kind, "--domain", DOMAIN, "--json", str(path)))
        RECORDS[told["name"]] = told["record"]
        der = base64.b64decode("".join(path.read_text().splitlines()[1:-1]))
        # The secret octets stand behind a fixed start (RFC 8410 section 7).
        keys[kind] = path.read_bytes() if kind == "rsa" else base64.b64encode(der[16:48])
    secret = nacl.signing.SigningKey(base64.b64decode(keys["ed25519"]))
    check(base64.b64encode(bytes(secret.verify_key)).decode() in RECORDS[f"ed25519._domainkey.{DOMAIN}"], "public key")
    return keys


def ours_by_dkimpy():
    count = 0
    for canonical in CANONICAL:
        for name, message in MESSAGES.items():
            both = ["--key", f"rsa={DIRECTORY / 'rsa.pem'}", "--key", f"ed25519={DIRECTORY / 'ed25519.pem'}"]
            signed = postrider(
                "dkim", "sign", "--domain", DOMAIN, *both, "--canonicalization", canonical, message=message
            )
            for at in range(2):
                check(dkim.DKIM(signed).verify(idx=at, dnsfunc=lookup), "dkimpy refuses", name, canonical, at)
                changed = signed.replace(b"Subject: ", b"Subject: Re: ").replace(b"SUBJECT: ", b"SUBJECT: Re: ")
                check(not dkim.DKIM(changed).verify(idx=at, dnsfunc=lookup), "dkimpy takes a change", name)
                count += 1
    return count


def theirs_by_us(keys):
    count = 0
    for kind, key in keys.items():
        for canonical in CANONICAL:
            for name, message in MESSAGES.items():
                header, body = (part.encode() for part in canonical.split("/"))
                field = dkim.sign(
                    message,
                    kind.encode(),
                    DOMAIN.encode(),
                    key,
                    canonicalize=(header, body),
                    signature_algorithm=b"rsa-sha256" if kind == "rsa" else b"ed25519-sha256",
                )
                told = results(field + message)
                check([one["result"] for one in told] == ["pass"], name, canonical, told)
                check(told[0]["domain"] == DOMAIN and told[0]["selector"] == kind, told)
                changed = results(field + message.replace(b"joe@", b"eve@"))
                check([one["result"] for one in changed] == ["fail"], name, canonical, changed)
                count += 1
    return count


def chains(keys):
    """dkimpy seals, twice; we validate."""
    message = MESSAGES["white space"]
    host = b"mx.example.com"
    sealed = b"Authentication-Results: mx.example.com; spf=pass smtp.mailfrom=joe@example.com\r\n" + message
    for length in (1, 2):
        status = None if length == 1 else b"pass"
        if status:
            sealed = b"Authentication-Results: mx.example.com; arc=pass; spf=fail\r\n" + sealed
        fields = dkim.arc_sign(sealed, b"rsa", DOMAIN.encode(), keys["rsa"], host)
        sealed = b"".join(fields) + sealed
        told = json.loads(postrider("arc", "verify", "--resolver", RESOLVER, "--json", message=sealed))
        check(told["result"] == "pass" and len(told["sealers"]) == length, told)
    changed = sealed.replace(b"two  spaces", b"three spaces")
    told = json.loads(postrider("arc", "verify", "--resolver", RESOLVER, "--json", message=changed))
    check(told["result"] == "fail", told)
    return 2


def main():
    keys = make_keys()
    counts = ours_by_dkimpy(), theirs_by_us(keys), chains(keys)
    print(f"{counts[0]} signatures verified by dkimpy, {counts[1]} of dkimpy verified, {counts[2]} chains")


main()
