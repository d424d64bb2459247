"""`postrider dns lookup` and `dane lookup` on a signed tree of zones, beside Unbound.

Root, two top-level domains and some thirty domains are signed by programs of ldns, Knot and BIND, and served by NSD and
Knot. Every question is put to Postrider over three resolvers (Unbound that doesn't validate, Unbound that does, BIND) and
to Unbound's own validator (unbound-host), with the same trust anchor. Both must say the same, and what the zone was made
for; where they differ, DIFFERENCES says why.

Arguments: Postrider's program, a directory with unpacked programs, and a directory for files; then, if wanted, a
directory to record answers in, for benchmarks and fuzzing. Runs as root, in a network namespace of its own, since name
servers listen on port 53.
"""

import json
import pathlib
import re
import subprocess
import sys
import time

import dns.flags
import dns.message
import dns.query
import dns.rcode

import dns_tree_servers as servers
import dns_tree_zones as zones

PROGRAM, PROGRAMS, DIRECTORY = sys.argv[1:4]
# Unbound that doesn't validate, Unbound that does, and BIND.
RESOLVERS = [servers.PLAIN, servers.VALIDATING, servers.BIND]
FAILURES = []
# Seconds that a program may take, and how often something is asked at most until the outcome is the one that is due: a machine
# that is busy may keep servers from their answers for longer than resolvers wait. What is believed and wrong is so at once.
SECONDS, TRIES = 180, 5

# What Unbound 1.17 says otherwise, and why we don't.
DIFFERENCES = {
    # It computes up to 150 iterations. RFC 9276 §3.2 allows to count any above 0 as insecure; we stop after 50, as BIND
    # and later Unbound do.
    ("A", "no.iterated100.tld"): "secure",
    # RFC 9905 §2: RSASHA1 and RSASHA1-NSEC3-SHA1 are to be treated as unsupported.
    ("A", "www.sha1.tld"): "secure",
    ("A", "no.sha1.tld"): "secure",
}


def complain(what):
    print(what, file=sys.stderr)
    FAILURES.append(what)


def postrider(*arguments, resolvers, anchor=True):
    """The exit status of `postrider`, what it prints as JSON, and how many seconds it took."""
    command = [PROGRAM, *arguments[:2], "--json"]
    for resolver in resolvers:
        command += ["--resolver", resolver]
    if anchor:
        command += ["--trust-anchor", f"{DIRECTORY}/root.key"]
    begun = time.monotonic()
    done = subprocess.run(command + list(arguments[2:]), capture_output=True, text=True, timeout=SECONDS)
    took = time.monotonic() - begun
    return done.returncode, json.loads(done.stdout) if done.stdout else {"nothing": done.stderr}, took


def expect(is_due, *arguments, status=0, timed=False, **more):
    """Complains when neither what `postrider` says nor what it says on another try is due, by its JSON and its seconds."""
    for _ in range(TRIES):
        returned, answer, took = postrider(*arguments, **more)
        if returned == status and is_due(answer, took):
            return
        if answer.get("status") in ("secure", "insecure") and not timed:
            # No server that is late makes one believe what is wrong.
            break
    complain(f"{' '.join(arguments)} by {more['resolvers']}: exit status {returned}, {took:.1f} seconds, {answer}")


def unbound(config, kind, name):
    """The status that Unbound's validator gives, and the response code of the resolver that uses it."""
    command = [f"{PROGRAMS}/usr/bin/unbound-host", "-C", config, "-v", "-t", kind, name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    words = re.findall(r"\((secure|insecure|BOGUS)", done.stdout)
    query = dns.message.make_query(name, kind, want_dnssec=True)
    try:
        code = dns.rcode.to_text(dns.query.tcp(query, servers.VALIDATING, timeout=60).rcode())
    except (dns.exception.Timeout, EOFError, ConnectionError):
        # Unbound closes a connection on which it has nothing to say for half a minute.
        code = "nothing"
    return (words[-1].lower() if words else f"nothing: {done.stdout} {done.stderr}"), code


# Status of each question, and response code, of domains that are what they should be; {} is the domain.
WHOLE = [
    ("A", "www.{}", "NOERROR"), ("AAAA", "www.{}", "NOERROR"), ("MX", "{}", "NOERROR"), ("SOA", "{}", "NOERROR"),
    ("NS", "{}", "NOERROR"), ("DS", "{}", "NOERROR"), ("TXT", "www.{}", "NOERROR"), ("A", "no.{}", "NXDOMAIN"),
    ("A", "no.such.www.{}", "NXDOMAIN"), ("A", "empty.{}", "NOERROR"), ("TXT", "x.wild.{}", "NOERROR"),
    ("TXT", "x.y.wild.{}", "NOERROR"), ("A", "x.wild.{}", "NOERROR"), ("A", "x.star.{}", "NOERROR"),
    ("A", "alias.{}", "NOERROR"), ("TXT", "alias.{}", "NOERROR"), ("CNAME", "alias.{}", "NOERROR"),
    ("TXT", "x.old.{}", "NOERROR"), ("A", "nowhere.{}", "NXDOMAIN"), ("TXT", "large.{}", "NOERROR"),
    ("A", "over.{}", "NOERROR"), ("TLSA", "_25._tcp.mx.{}", "NOERROR"), ("TLSA", "_26._tcp.mx.{}", "NXDOMAIN"),
    ("TLSA", "_25._tcp.www.{}", "NXDOMAIN"),
]


def questions():
    """Type, name, status and response code that are due."""
    for domain in ["good.tld", "hashed.tld", "automatic.tld", "good.top", "hashed.top", "digest384.tld", "lame.tld"]:
        for kind, name, code in WHOLE:
            yield kind, name.format(domain), "secure", code
        yield "A", f"out.{domain}", "insecure", "NOERROR"
        # Unbound asks the servers that are of no use again and again for what is bogus.
        if domain != "lame.tld":
            yield "A", f"bad.{domain}", "bogus", "SERVFAIL"
    for domain in ["plain.tld", "plain.top", "sub.opted.tld", "island.tld", "iterated.tld", "digest200.tld",
                   "algorithm200.tld"]:
        for kind, name, code in WHOLE:
            # Of these the zone above is the one that answers; and a signature of its own is one.
            own = kind in ("DS",) or (domain == "iterated.tld")
            if not own:
                yield kind, name.format(domain), "insecure", code
    yield from [
        ("DS", "plain.tld", "insecure", "NOERROR"),
        ("DS", "plain.top", "secure", "NOERROR"),
        ("DS", "sub.opted.tld", "insecure", "NOERROR"),
        ("A", "www.iterated.tld", "secure", "NOERROR"),
        ("TXT", "www.iterated.tld", "insecure", "NOERROR"),
        ("A", "no.iterated.tld", "insecure", "NXDOMAIN"),
        ("TXT", "x.wild.iterated.tld", "insecure", "NOERROR"),
        ("A", "www.iterated100.tld", "secure", "NOERROR"),
        ("A", "no.iterated100.tld", "insecure", "NXDOMAIN"),
        ("A", "www.sha1.tld", "insecure", "NOERROR"),
        ("A", "no.sha1.tld", "insecure", "NXDOMAIN"),
        # Algorithm 16 is one that neither of them has.
        ("A", "www.ed448.tld", "insecure", "NOERROR"),
        ("A", "www.digest1.tld", "secure", "NOERROR"),
        ("A", "in.plain.tld", "insecure", "NOERROR"),
        ("A", "badly.plain.tld", "bogus", "SERVFAIL"),
        ("A", "no.tld", "insecure", "NXDOMAIN"),
        ("A", "no.top", "secure", "NXDOMAIN"),
        ("A", "no", "secure", "NXDOMAIN"),
        # What has a record of its own or is proven by one is secure also with opt-out.
        ("A", "www.opted.tld", "secure", "NOERROR"),
        ("MX", "opted.tld", "secure", "NOERROR"),
        ("TXT", "www.opted.tld", "secure", "NOERROR"),
        ("A", "empty.opted.tld", "secure", "NOERROR"),
        ("A", "no.opted.tld", "insecure", "NXDOMAIN"),
        ("TXT", "x.wild.opted.tld", "insecure", "NOERROR"),
        ("A", "x.wild.opted.tld", "insecure", "NOERROR"),
        ("TLSA", "_25._tcp.mx.opted.tld", "secure", "NOERROR"),
        ("TLSA", "_26._tcp.mx.opted.tld", "insecure", "NXDOMAIN"),
    ]
    for domain in ["expired", "early", "otherds", "keyless", "keys"]:
        for kind, name in [("A", "www"), ("TXT", "www"), ("A", "no"), ("TXT", "x.wild"), ("TLSA", "_25._tcp.mx")]:
            yield kind, f"{name}.{domain}.tld", "bogus", "SERVFAIL"
        yield "DS", f"{domain}.tld", "secure", "NOERROR"
    for domain in ["forged", "bare"]:
        yield "A", f"www.{domain}.tld", "bogus", "SERVFAIL"
        yield "AAAA", f"www.{domain}.tld", "secure", "NOERROR"
        yield "A", f"alias.{domain}.tld", "bogus", "SERVFAIL"
        yield "TLSA", f"_25._tcp.mx.{domain}.tld", "secure", "NOERROR"
    for domain in ["noproof", "brokenproof", "noproof3", "brokenproof3"]:
        yield "A", f"www.{domain}.tld", "secure", "NOERROR"
        for kind, name in [("TXT", "www"), ("A", "no"), ("TXT", "x.wild"), ("A", "x.star"), ("TLSA", "_26._tcp.mx")]:
            yield kind, f"{name}.{domain}.tld", "bogus", "SERVFAIL"
    for domain in ["lying", "lying3"]:
        yield "A", f"www.{domain}.tld", "secure", "NOERROR"
        yield "TXT", f"www.{domain}.tld", "bogus", "SERVFAIL"


def judge_all(config):
    """Every question by everyone."""
    count = 0
    for kind, name, status, code in questions():
        wanted = DIFFERENCES.get((kind, name), status)
        due = wanted, "SERVFAIL" if wanted == "bogus" else code
        for _ in range(TRIES):
            peer = unbound(config, kind, name)
            if peer == due:
                break
        else:
            complain(f"{kind} {name}: Unbound says {peer}, and {due} was expected")

        def is_due(answer, _took):
            explained = not answer.get("records") and any(6 <= one["code"] <= 12 for one in answer.get("extended_errors", []))
            return (answer.get("status"), answer.get("rcode")) == (status, code) and (status != "bogus" or explained)
        for resolver in RESOLVERS:
            expect(is_due, "dns", "lookup", kind, name, resolvers=[resolver])
            count += 1
    print(f"{count} answers", file=sys.stderr)


def by_another():
    """Who believes its resolver: what it says by its AD bit and by extended errors."""
    for kind, name, status, outcome in [
        ("A", "www.good.tld", "secure", "found"), ("A", "no.hashed.tld", "secure", "noname"),
        ("TXT", "www.good.top", "secure", "nodata"), ("A", "www.plain.tld", "insecure", "found"),
        ("A", "out.good.tld", "insecure", "found"), ("A", "www.forged.tld", "bogus", "failed"),
        ("A", "www.expired.tld", "bogus", "failed"), ("A", "no.noproof.tld", "bogus", "failed"),
    ]:
        def is_due(answer, _took):
            explained = any(6 <= one["code"] <= 12 for one in answer.get("extended_errors", []))
            return (answer.get("status"), answer.get("outcome")) == (status, outcome) and (status != "bogus" or explained)
        expect(is_due, "dns", "lookup", "--mode", "trust", kind, name, resolvers=[servers.VALIDATING], anchor=False)
    # BIND fails as well, and doesn't say why.
    expect(lambda answer, _: (answer.get("status"), answer.get("outcome")) == ("indeterminate", "failed"),
           "dns", "lookup", "--mode", "trust", "A", "www.forged.tld", resolvers=[servers.BIND], anchor=False)


def dane():
    for host, port, applies, tls, base, usable in [
        ("mx.good.tld", 25, "records", "authenticated", "mx.good.tld.", [False, True]),
        ("mx.hashed.tld", 25, "records", "authenticated", "mx.hashed.tld.", [False, True]),
        # A secure alias of a host in a zone that isn't signed (RFC 7672 §2.2.2).
        ("mx-alias.good.tld", 25, "records", "authenticated", "mx-alias.good.tld.", [True]),
        ("mx.good.tld", 26, "no", "opportunistic", None, []),
        ("www.good.tld", 25, "no", "opportunistic", None, []),
        # There are records, and they don't count.
        ("mx.plain.tld", 25, "no", "opportunistic", None, [False, True]),
        ("mx.forged.tld", 25, "records", "authenticated", "mx.forged.tld.", [False, True]),
        # The A records are bogus, so nobody connects there. The AAAA records are secure, and so is that nothing applies.
        ("www.forged.tld", 25, "no", "opportunistic", None, []),
        ("mx.otherds.tld", 25, "unknown", "unreachable", None, []),
        # Whether there are records can't be proven: it isn't as if there were none.
        ("mx.brokenproof.tld", 26, "unknown", "unreachable", None, []),
        ("no.good.tld", 25, "no-addresses", "unreachable", None, []),
    ]:
        def is_due(found, _took):
            said = [found.get(key) for key in ("applies", "tls", "base")]
            return said == [applies, tls, base] and sorted(one["usable"] for one in found["records"]) == usable
        for resolver in RESOLVERS:
            expect(is_due, "dane", "lookup", "--port", str(port), host, resolvers=[resolver])


def faults():
    """Resolvers that are of no use, alone and before one that is: what comes of it, and within how many seconds."""
    good, name = servers.PLAIN, "www.good.tld"
    for resolvers, status, exit_status, least, most in [
        ([zones.DEAD_SERVER, good], "secure", 0, 0, 3),
        ([servers.SILENT, good], "secure", 0, 0, 8),
        ([servers.GARBAGE, good], "secure", 0, 0, 8),
        # A server that knows the root alone, and refers to others.
        ([zones.ROOT_SERVER, good], "secure", 0, 0, 3),
        ([zones.DEAD_SERVER, servers.SILENT, zones.REFUSING_SERVER, zones.DOMAIN_SERVER, servers.STRIPPING, good], "secure", 0, 0, 20),
        ([servers.TRUNCATING], "secure", 0, 0, 3),
        ([servers.SLOW], "secure", 0, servers.SLOW_SECONDS, 20),
        ([servers.STRIPPING, good], "secure", 0, 0, 3),
        ([good, servers.STRIPPING], "secure", 0, 0, 3),
        ([servers.STRIPPING], "bogus", 0, 0, 3),
        ([servers.STRIPPING, servers.SILENT], "bogus", 0, 0, 12),
        ([zones.DEAD_SERVER], "indeterminate", 1, 0, 3),
        ([servers.SILENT], "indeterminate", 1, 8, 22),
    ]:
        expect(lambda answer, took: answer.get("status") == status and least <= took <= most,
               "dns", "lookup", "A", name, resolvers=resolvers, status=exit_status, timed=True)
    # A domain whose servers are all down.
    expect(lambda answer, took: (answer.get("status"), answer.get("rcode")) == ("indeterminate", "SERVFAIL") and took <= 22,
           "dns", "lookup", "A", "www.dead.tld", resolvers=[servers.BIND], timed=True)


# What is recorded: the chains of trust to three domains, and answers of them.
RECORDED = [("DNSKEY", "."), ("DS", "tld"), ("DNSKEY", "tld"), ("DS", "plain.tld")] + [
    (kind, name.format(domain)) for domain in ("good.tld", "hashed.tld")
    for kind, name in [
        ("DS", "{}"), ("DNSKEY", "{}"), ("A", "www.{}"), ("MX", "{}"), ("TXT", "www.{}"), ("A", "no.{}"),
        ("TXT", "x.wild.{}"), ("A", "x.star.{}"), ("A", "alias.{}"), ("TXT", "x.old.{}"), ("A", "empty.{}"),
        ("TLSA", "_25._tcp.mx.{}"), ("TLSA", "_26._tcp.mx.{}"), ("A", "out.{}"),
    ]
] + [("A", "www.plain.tld")]


def record(directory):
    """Writes the anchor with the time, and the answers as they are over TCP."""
    anchor = (pathlib.Path(DIRECTORY) / "root.key").read_text()
    (directory / "root.key").write_text(f"; {int(time.time())}\n{anchor}")
    with open(directory / "answers", "wb") as out:
        for kind, name in RECORDED:
            query = dns.message.make_query(name, kind, want_dnssec=True, flags=dns.flags.RD | dns.flags.CD)
            query.id = 0
            octets = dns.query.tcp(query, servers.PLAIN, timeout=60).to_wire()
            out.write(len(octets).to_bytes(2, "big") + octets)


def main():
    servers.loopback_up()
    made = zones.make(PROGRAMS, DIRECTORY)
    running = servers.Servers(PROGRAMS, DIRECTORY)
    try:
        root = made[-1]
        (running.directory / "root.key").write_text("\n".join(zones.digests(root, "sha256")) + "\n")
        running.tree(made)
        running.unbound("plain", servers.PLAIN, validates=False)
        config = running.unbound("validating", servers.VALIDATING, validates=True)
        running.bind(servers.BIND, zones.digests(root, "sha256"))
        servers.misbehaving()
        if sys.argv[4:]:
            return record(pathlib.Path(sys.argv[4]))
        judge_all(config)
        by_another()
        dane()
        faults()
    finally:
        running.stop()
    if FAILURES:
        raise SystemExit(f"{len(FAILURES)} failures:\n" + "\n".join(FAILURES))


if __name__ == "__main__":
    main()
