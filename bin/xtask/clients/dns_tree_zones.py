"""The zones of `dns_tree.py`: what is in them, who signs them, and how some are broken afterwards.

Three signers are used, and each zone that is to be secure has all that a resolver may be asked for. What is broken is
broken by hand in the signed file, so the servers give it out as they would anything.
"""

import hashlib
import pathlib
import re
import subprocess
import time

import dns.dnssec
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype

ROOT_SERVER, TOP_SERVER, DOMAIN_SERVER = "127.0.0.10", "127.0.0.20", "127.0.0.30"
# Nobody listens at the one, and the other refuses everything.
DEAD_SERVER, REFUSING_SERVER = "127.0.0.99", "127.0.0.45"
DAY = 86_400


class Zone:
    """A zone. Its name has a dot at its end, `above` is the name of the one that delegates it.

    `signer`: ldns, knot, bind or None. `proof`: None for NSEC, otherwise NSEC3 with (iterations, opt-out).
    `times`: days from now at which signatures begin and end. `ds`: what becomes of the DS records that are due.
    `breaks`: what is done to the lines of the signed file.
    """

    def __init__(self, name, signer="ldns", algorithm="ECDSAP256SHA256", proof=None, times=(-2, 20), ds=None,
                 breaks=None, server=DOMAIN_SERVER, servers=None, more=()):
        self.name, self.signer, self.algorithm, self.proof, self.times = name, signer, algorithm, proof, times
        self.ds, self.breaks, self.server, self.more = ds, breaks, server, list(more)
        self.servers = servers or [server]
        self.keys, self.file = [], None

    @property
    def above(self):
        return self.name.split(".", 1)[1] or "."

    def under(self, label):
        return f"{label}.{self.name}" if self.name != "." else f"{label}."

    def base(self):
        """SOA and NS records, with the addresses of the servers."""
        lines = [f"{self.name} 3600 IN SOA {self.under('ns1')} {self.under('host')} 1 7200 3600 1209600 600"]
        return lines + self.delegation()

    def delegation(self):
        lines = []
        for number, server in enumerate(self.servers, 1):
            host = self.under(f"ns{number}")
            lines += [f"{self.name} 3600 IN NS {host}", f"{host} 3600 IN A {server}"]
        return lines


def contents(zone):
    """What a domain has."""
    def at(label):
        return zone.under(label)
    key = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
    large = [f'{at("large")} 3600 IN TXT "{number:02}{"x" * 200}"' for number in range(20)]
    return [
        f"{zone.name} 3600 IN MX 10 {at('mx')}",
        f"{at('mx')} 3600 IN A 192.0.2.25",
        f"_25._tcp.{at('mx')} 3600 IN TLSA 3 1 1 {key}",
        f"_25._tcp.{at('mx')} 3600 IN TLSA 0 0 1 {key}",
        f"{at('www')} 3600 IN A 192.0.2.1",
        f"{at('www')} 3600 IN AAAA 2001:db8::1",
        f"{at('alias')} 3600 IN CNAME {at('www')}",
        f'{at("*.wild")} 3600 IN TXT "from the wildcard"',
        f"{at('*.star')} 3600 IN CNAME {at('www')}",
        f"{at('old')} 3600 IN DNAME {at('wild')}",
        f"{at('below.empty')} 3600 IN A 192.0.2.2",
        f"{at('nowhere')} 3600 IN CNAME {at('no')}",
        f"{at('out')} 3600 IN CNAME www.plain.tld.",
        f"{at('over')} 3600 IN CNAME www.hashed.tld.",
        f"{at('bad')} 3600 IN CNAME www.forged.tld.",
        f"{at('mx-alias')} 3600 IN CNAME mx.plain.tld.",
        f"_25._tcp.{at('mx-alias')} 3600 IN TLSA 3 1 1 {key}",
    ] + large


def fields(line):
    """Owner, type, and the rest, of a line with a whole record."""
    owner, _, _, kind, *rest = line.split()
    return owner.lower(), kind, rest


def is_signature_of(line, kind, owner=None):
    own, own_kind, rest = fields(line)
    return own_kind == "RRSIG" and rest[0] == kind and owner in (None, own)


def flipped(kind, owner=None):
    """Breaks the signatures of a type."""
    def change(line):
        if not is_signature_of(line, kind, owner):
            return line
        head, signature = line.rsplit(None, 1)
        letter = "A" if signature[20] != "A" else "B"
        return f"{head} {signature[:20]}{letter}{signature[21:]}"
    return lambda lines: [change(line) for line in lines]


def without(kind, owner=None, and_signatures=True):
    """Takes records of a type away, and their signatures; or these alone."""
    def goes(line):
        own, own_kind, _ = fields(line)
        record = own_kind == kind and owner in (None, own)
        return (record and and_signatures != "alone") or is_signature_of(line, kind, owner)
    return lambda lines: [line for line in lines if not goes(line)]


def lying(owner):
    """The proof says that there is a TXT record, and there isn't any more."""
    return without("TXT", owner)


OPT_OUT, HASHED = (0, True), (0, False)


def other_ds(zone, ds):
    """The digest is of nothing."""
    return [re.sub(r"[0-9a-fA-F]{8}$", "deadbeef", one) for one in ds]


def zones():
    """All zones, those below before those above."""
    def broken(label, breaks, **more):
        extra = [f'www.{label}.tld. 3600 IN TXT "here"'] if label.startswith("lying") else []
        return Zone(f"{label}.tld.", breaks=breaks, more=extra, **more)
    good = [
        Zone("good.tld."),
        Zone("hashed.tld.", algorithm="RSASHA256", proof=HASHED),
        Zone("opted.tld.", signer="bind", algorithm="ED25519", proof=OPT_OUT),
        Zone("automatic.tld.", signer="knot"),
        Zone("good.top."),
        Zone("hashed.top.", proof=(10, False)),
        Zone("plain.tld.", signer=None, more=[
            "in.plain.tld. 3600 IN CNAME www.good.tld.", "badly.plain.tld. 3600 IN CNAME www.forged.tld."]),
        Zone("plain.top.", signer=None),
        Zone("sub.opted.tld.", signer=None),
        Zone("island.tld.", ds=lambda zone, ds: []),
        Zone("iterated.tld.", proof=(200, False)),
        Zone("iterated100.tld.", proof=(100, False)),
        Zone("sha1.tld.", algorithm="RSASHA1-NSEC3-SHA1", proof=HASHED),
        Zone("ed448.tld.", algorithm="ED448"),
        Zone("digest1.tld.", ds=lambda zone, ds: digests(zone, "sha1")),
        Zone("digest384.tld.", ds=lambda zone, ds: digests(zone, "sha384")),
        Zone("digest200.tld.", ds=lambda zone, ds: [re.sub(r" DS (\d+) (\d+) 2 ", r" DS \1 \2 200 ", one) for one in ds]),
        Zone("algorithm200.tld.", ds=lambda zone, ds: [re.sub(r" DS (\d+) 13 ", r" DS \1 200 ", one) for one in ds]),
        Zone("lame.tld.", servers=[DEAD_SERVER, REFUSING_SERVER, DOMAIN_SERVER]),
        Zone("dead.tld.", signer=None, servers=[DEAD_SERVER]),
    ]
    bad = [
        broken("forged", flipped("A", "www.forged.tld.")),
        broken("expired", None, times=(-40, -10)),
        broken("early", None, times=(10, 40)),
        broken("otherds", None, ds=other_ds),
        broken("keyless", without("DNSKEY")),
        broken("bare", without("A", "www.bare.tld.", and_signatures="alone")),
        broken("keys", flipped("DNSKEY")),
        broken("noproof", without("NSEC")),
        broken("brokenproof", flipped("NSEC")),
        broken("lying", lying("www.lying.tld.")),
        broken("noproof3", without("NSEC3"), proof=HASHED),
        broken("brokenproof3", flipped("NSEC3"), proof=HASHED),
        broken("lying3", lying("www.lying3.tld."), proof=HASHED),
    ]
    tops = [
        Zone("tld.", signer="bind", proof=OPT_OUT, server=TOP_SERVER),
        Zone("top.", algorithm="ED25519", server=TOP_SERVER),
    ]
    return good + bad + tops + [Zone(".", signer="bind", algorithm="RSASHA256", server=ROOT_SERVER)]


def run(*command, **more):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=180, **more)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}: exit status {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def date(days):
    return time.strftime("%Y%m%d%H%M%S", time.gmtime(time.time() + days * DAY))


def digests(zone, kind):
    """DS records of the keys of a zone that are for it, as lines."""
    lines = []
    for key in zone.keys:
        data = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.DNSKEY, key)
        if data.flags & 1:
            octets = dns.name.from_text(zone.name).to_digestable() + data.to_digestable()
            digest = hashlib.new(kind, octets).hexdigest()
            number = {"sha1": 1, "sha256": 2, "sha384": 4}[kind]
            lines.append(f"{zone.name} 3600 IN DS {dns.dnssec.key_id(data)} {int(data.algorithm)} {number} {digest}")
    return lines


class Signers:
    """Signs zones with programs of `programs` (unpacked) and of the system."""

    def __init__(self, programs, directory):
        self.programs, self.directory = pathlib.Path(programs), pathlib.Path(directory)

    def write(self, zone, below):
        """Makes the file of a zone; `below` are those that it delegates."""
        lines = zone.base() + zone.more
        if zone.server == DOMAIN_SERVER:
            lines += contents(zone)
        for child in below:
            lines += child.delegation()
            if child.signer:
                due = digests(child, "sha256")
                lines += child.ds(child, due) if child.ds else due
        label = zone.name.rstrip(".") or "root"
        plain = self.directory / f"{label}.zone"
        plain.write_text("\n".join(lines) + "\n")
        zone.file = plain
        if zone.signer:
            zone.file = getattr(self, f"by_{zone.signer}")(zone, label, plain)
        if zone.breaks:
            good = [line for line in zone.file.read_text().splitlines() if line and not line.startswith(";")]
            zone.file = self.directory / f"{label}.broken"
            zone.file.write_text("\n".join(zone.breaks(good)) + "\n")

    def by_ldns(self, zone, label, plain):
        made = []
        for flags in (["-k"], []):
            size = ["-b", "2048"] if zone.algorithm.startswith("RSA") else []
            made.append(run("ldns-keygen", *flags, "-a", zone.algorithm, *size, zone.name, cwd=self.directory).strip())
        for name in made:
            text = (self.directory / f"{name}.key").read_text()
            zone.keys.append(text.split(";")[0].split("DNSKEY", 1)[1].strip())
        signed = self.directory / f"{label}.signed"
        proof = []
        if zone.proof:
            iterations, opt_out = zone.proof
            proof = ["-n", "-s", "5a17", "-t", str(iterations)] + (["-p"] if opt_out else [])
        run("ldns-signzone", *proof, "-i", date(zone.times[0]), "-e", date(zone.times[1]), "-o", zone.name, "-f", signed,
            plain, *made, cwd=self.directory)
        return signed

    def by_knot(self, zone, label, plain):
        config = self.directory / f"{label}.knot"
        config.write_text(f"""
database:
    storage: {self.directory}/kasp
policy:
  - id: own
    nsec3: on
    nsec3-iterations: 0
    single-type-signing: on
    algorithm: ecdsap256sha256
template:
  - id: default
    storage: {self.directory}
    dnssec-policy: own
zone:
  - domain: {zone.name}
    file: {plain.name}
""")
        out = self.directory / "by-knot"
        out.mkdir()
        (self.directory / "kasp").mkdir()
        run(self.programs / "usr/sbin/keymgr", "-c", config, zone.name, "generate", "algorithm=13", "ksk=yes", "zsk=yes")
        run("kzonesign", "-c", config, "-o", out, zone.name)
        signed = next(out.iterdir())
        for line in signed.read_text().splitlines():
            words = line.split()
            if "DNSKEY" in words[1:4] and "RRSIG" not in words:
                zone.keys.append(line.split("DNSKEY", 1)[1].strip())
        return signed

    def by_bind(self, zone, label, plain):
        """BIND's signer leaves unsigned delegations out of a chain with opt-out, which that of ldns doesn't."""
        keys = self.directory / f"keys-{label}"
        keys.mkdir()
        size = ["-b", "2048"] if zone.algorithm.startswith("RSA") else []
        for flags in (["-f", "KSK"], []):
            run("dnssec-keygen", "-K", keys, "-a", zone.algorithm, *size, *flags, zone.name)
        for file in keys.glob("*.key"):
            lines = [line for line in file.read_text().splitlines() if not line.startswith(";")]
            zone.keys.append(lines[0].split("DNSKEY", 1)[1].strip())
        proof = []
        if zone.proof:
            iterations, opt_out = zone.proof
            proof = ["-3", "5a17", "-H", str(iterations)] + (["-A"] if opt_out else [])
        signed = self.directory / f"{label}.signed"
        run("dnssec-signzone", "-S", "-O", "full", *proof, "-K", keys, "-d", self.directory, "-o", zone.name, "-f", signed,
            plain)
        return signed


def make(programs, directory):
    """Makes and signs all zones. Gives them, the root last."""
    signers = Signers(programs, directory)
    made = zones()
    for zone in made:
        signers.write(zone, [below for below in made if below is not zone and below.above == zone.name])
    return made
