"""Everything that the laboratory consists of, started and ready."""

import json
import pathlib

from certificates import Authority, dkim, tlsa
from network import PATIENCE, Host, Process, listens, prepare, resolve_by, wait
from ours import PASSWORD, Server
from peers import Dante, Postfix
from rows import ROWS, Row
from tree import PLAIN, VALIDATING, Tree

ONE, TWO, POSTFIX, POLICIES, PROXY = "10.53.1.1", "10.53.1.2", "10.53.2.1", "10.53.3.1", "10.53.5.1"
HOSTS = "10.53.4"

# Hosts of checks besides the table.
CACHED = Row("cached", "open", "tls", certificate="right", policy=("enforce", True), max_age=86_400)
EXPIRED = Row("expired", "open", "tls", certificate="right", policy=("enforce", True), max_age=4)
SOCKS = Row("socks", "open", "tls")
RELAYED = Row("relayed", "open", "tls")
FOURTH = Row("fourth", "open", "nothing", host={"replies": {"RCPT": "451 4.3.0 not now"}})
LATE = Row("late", "open", "tls")
RECORDER = Row("recorder", "open", "clear", certificate=None)
OTHERS = [CACHED, EXPIRED, SOCKS, RELAYED, FOURTH, LATE, RECORDER]

TRANSPORTS = f"""
[[transport]]
name = "proxy"
kind = "socks"
address = "{PROXY}:1080"
hostname = "proxied.one.lab"
remote_addresses = ["{PROXY}"]
[[transport]]
name = "postfix"
kind = "submission"
host = "mx.postfix.lab"
username = "ours"
password = "{PASSWORD}"
[[route]]
to = ["{SOCKS.domain}"]
transport = "proxy"
[[route]]
to = ["{RELAYED.domain}"]
transport = "postfix"
[[route]]
to = ["{FOURTH.domain}"]
minimum_attempts = 3
transport = "postfix"
"""


class World:
    def __init__(self, program, programs, directory):
        self.directory = pathlib.Path(directory).resolve()
        self.directory.chmod(0o755)
        prepare()
        self.authority = Authority(self.directory)
        rows = ROWS + OTHERS
        self.right = self.authority.make("hosts", [row.mx for row in rows])
        self.wrong = self.authority.make("others", ["elsewhere.lab"], signed=False)
        policy_names = [f"mta-sts.{row.domain}" for row in rows if row.policy]
        self.for_policies = self.authority.make("policies", policy_names)
        postfix_certificate = self.authority.make("postfix", ["mx.postfix.lab"])
        self.hosts, records = [], {"dane.lab": [], "open.lab": [], "bogus.lab": []}
        self.policies = self.directory / "policies"
        self.policies.mkdir()
        for number, row in enumerate(rows, 1):
            self.add(row, f"{HOSTS}.{number}", records[f"{row.zone}.lab"])
        anchor = self.directory / "root.key"
        self.one = Server(program, self.directory, "one.lab", ONE, "alice", self.authority, PLAIN, anchor)
        self.two = Server(program, self.directory, "two.lab", TWO, "bob", self.authority, PLAIN, anchor)
        for domain, address, certificate in [("one.lab", ONE, self.one.certificate), ("two.lab", TWO, self.two.certificate),
                                             ("postfix.lab", POSTFIX, postfix_certificate[0])]:
            records[domain] = [
                f"{domain}. 60 IN MX 10 mx.{domain}.",
                f"mx.{domain}. 60 IN A {address}",
                f"_25._tcp.mx.{domain}. 60 IN TLSA {tlsa(certificate)}",
                f'{domain}. 60 IN TXT "v=spf1 mx -all"',
            ]
        self.signing_keys = {}
        for domain, reporting in [("one.lab", '_dmarc.one.lab. 60 IN TXT "v=DMARC1; p=none; rua=mailto:reports@one.lab"'),
                                  ("two.lab", '_smtp._tls.two.lab. 60 IN TXT "v=TLSRPTv1; rua=mailto:reports@two.lab"')]:
            self.signing_keys[domain], text = dkim(self.directory, domain)
            records[domain] += [f"lab._domainkey.{domain}. 60 IN TXT {text}", reporting]
        self.tree = Tree(programs, self.directory, records)
        resolve_by(self.directory, VALIDATING)
        self.record = self.directory / "record"
        self.start_hosts()
        self.one.configure("attempts = 1", TRANSPORTS)
        self.two.configure("attempts = 1")
        self.one.set_up()
        self.two.set_up()
        self.postfix = Postfix(self.directory, "postfix.lab", POSTFIX, *postfix_certificate, "ours", PASSWORD)
        self.proxy = Dante(programs, self.directory, PROXY)

    def add(self, row, address, lines):
        """A domain of the table: its host, its records, its policy."""
        files = {"right": self.right, "wrong": self.wrong}.get(row.certificate)
        host = {"name": row.mx, "address": address, **row.host}
        if files:
            host |= {"certificate": str(files[0]), "key": str(files[1])}
        self.hosts.append(host)
        lines += [f"{row.domain}. 60 IN MX 10 {row.mx}.", f"{row.mx}. 60 IN A {address}"]
        digest = "00112233445566778899aabbccddeeff" * 2
        if row.tlsa:
            data = {"right": tlsa((files or self.wrong)[0]), "wrong": f"3 1 1 {digest}", "unusable": f"0 0 1 {digest}"}
            lines.append(f"_25._tcp.{row.mx}. 60 IN TLSA {data[row.tlsa]}")
        if row.policy:
            lines += [f'_mta-sts.{row.domain}. 1 IN TXT "v=STSv1; id=first;"', f"mta-sts.{row.domain}. 60 IN A {POLICIES}"]
            mode, listed = row.policy
            if row.fetched:
                self.policy_file(row).write_bytes(
                    f"version: STSv1\r\nmode: {mode}\r\nmx: {row.mx if listed else 'mx.elsewhere.lab'}\r\n"
                    f"max_age: {row.max_age}\r\n".encode())

    def policy_file(self, row):
        return self.policies / f"mta-sts.{row.domain}"

    def start_hosts(self):
        program = pathlib.Path(__file__).parent / "hostile.py"
        self.hostile = Host("hostile", *(host["address"] for host in self.hosts), POLICIES)
        settings = self.directory / "hosts.json"
        settings.write_text(json.dumps({"hosts": self.hosts, "policies": {
            "address": POLICIES, "directory": str(self.policies), "certificate": str(self.for_policies[0]),
            "key": str(self.for_policies[1])}}))
        self.hosts_settings = settings
        self.hostile_process = Process(self.hostile, "hostile", self.directory / "hostile.log", "/usr/bin/python3", program,
                                       settings, self.record)
        ready = pathlib.Path(f"{self.record}.ready")
        self.hostile_process.wait_for(ready.exists)
        self.hostile_process.wait_for(listens(POLICIES, 443))

    def restart_hosts(self, changed):
        """With other behaviour: `changed` has what is other, by host."""
        for host in self.hosts:
            for key, value in changed.get(host["name"], {}).items():
                host[key] = value
        self.hostile_process.kill()
        pathlib.Path(f"{self.record}.ready").unlink()
        self.hosts_settings.write_text(json.dumps({**json.loads(self.hosts_settings.read_text()), "hosts": self.hosts}))
        program = pathlib.Path(__file__).parent / "hostile.py"
        self.hostile_process = Process(self.hostile, "hostile", self.directory / "hostile.log", "/usr/bin/python3", program,
                                       self.hosts_settings, self.record)
        self.hostile_process.wait_for(pathlib.Path(f"{self.record}.ready").exists)

    def seen(self, name=None, kind=None):
        """What the hosts wrote down, all or of one host, of one kind."""
        if not self.record.exists():
            return []
        # The last line may still be written.
        text = self.record.read_text()
        lines = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        return [one for one in lines if name in (None, one["host"]) and kind in (None, one["kind"])]

    def has_ended(self, row):
        """Whether every connection to a host was recorded with all that was said on it, which is done at its end."""
        seen = self.seen(row.mx)
        return sum(one["kind"] == "connected" for one in seen) == sum(one["kind"] == "connection" for one in seen)

    def wait_for_message(self, row, subject, seconds=PATIENCE):
        """The message with a subject that a host took."""
        def check():
            found = [one for one in self.seen(row.mx, "message") if f"Subject: {subject}\r\n" in one["content"]]
            return found[0] if found else None
        return wait(check, seconds, lambda: f"{subject!r} didn't come to {row.mx}: {self.one.log()[-3000:]}")
