"""The DNS of the laboratory: a signed tree on NSD and Knot, and two resolvers, one of which validates."""

import os
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "clients"))

import dns_tree_zones as zones  # noqa: E402
from dns_tree_servers import Servers  # noqa: E402
from dns_tree_zones import Signers, Zone, digests, flipped  # noqa: E402

import dns.message  # noqa: E402
import dns.query  # noqa: E402
import dns.rrset  # noqa: E402

from network import PATIENCE, Host, wait  # noqa: E402

ROOT, TOP, DOMAINS = "10.53.0.1", "10.53.0.2", "10.53.0.3"
# Peers ask the one that validates; ours validates itself.
PLAIN, VALIDATING = "10.53.0.4", "10.53.0.5"


def broken(lines):
    """Without good signatures of TLSA and TXT records."""
    for kind in ("TLSA", "TXT"):
        lines = flipped(kind)(lines)
    return lines


class Tree:
    """`records` has lists of lines by domain, without the dot at its end; `open.lab` isn't signed."""

    def __init__(self, programs, directory, records):
        self.directory = directory
        self.host = Host("dns", ROOT, TOP, DOMAINS, PLAIN, VALIDATING)
        signers = Signers(programs, directory)
        self.domains = []
        for domain, lines in records.items():
            zone = Zone(f"{domain}.", signer=None if domain == "open.lab" else "ldns", server=DOMAINS, more=lines,
                        breaks=broken if domain == "bogus.lab" else None)
            signers.write(zone, [])
            self.domains.append(zone)
        top = Zone("lab.", signer="bind", server=TOP)
        signers.write(top, self.domains)
        root = Zone(".", signer="bind", algorithm="RSASHA256", server=ROOT)
        signers.write(root, [top])
        self.anchor = directory / "root.key"
        self.anchor.write_text("\n".join(digests(root, "sha256")) + "\n")
        (directory / "root.hints").write_text(f". 3600000 NS ns1.\nns1. 3600000 A {ROOT}\n")
        self.servers = Servers(programs, directory, prefix=self.host.command(), clients="10.0.0.0/8")
        self.servers.nsd(ROOT, [root])
        self.servers.knot(TOP, [top])
        self.servers.nsd(DOMAINS, self.domains)
        self.servers.unbound("plain", PLAIN, validates=False)
        self.servers.unbound("validating", VALIDATING, validates=True)

    def change(self, old, new):
        """Changes a record of the zone that isn't signed, and waits until that is what is served."""
        zone = next(zone for zone in self.domains if zone.name == "open.lab.")
        text = zone.file.read_text()
        assert old in text, old
        zone.file.write_text(text.replace(old, new))
        pid = int((self.directory / f"nsd-{DOMAINS}" / "nsd.pid").read_text())
        os.kill(pid, signal.SIGHUP)
        name, life, _, kind, data = new.split(" ", 4)
        due = dns.rrset.from_text(name, int(life), "IN", kind, data)

        def served():
            try:
                return due in dns.query.udp(dns.message.make_query(name, kind), DOMAINS, timeout=5).answer
            except dns.exception.Timeout:
                return False
        wait(served, PATIENCE, f"{DOMAINS} doesn't serve {new}")
