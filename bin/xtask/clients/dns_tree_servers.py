"""The servers of `dns_tree.py`: NSD and Knot with the zones, Unbound and BIND as resolvers, and some that misbehave."""

import fcntl
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

import dns.flags
import dns.message
import dns.query
import dns.rdatatype

from dns_tree_zones import DOMAIN_SERVER, REFUSING_SERVER, ROOT_SERVER, TOP_SERVER

# Resolvers: one that doesn't validate, one that does, and BIND, which does.
PLAIN, VALIDATING, BIND = "127.0.0.2", "127.0.0.3", "127.0.0.4"
SILENT, SLOW, GARBAGE, TRUNCATING, STRIPPING = "127.0.0.40", "127.0.0.41", "127.0.0.42", "127.0.0.43", "127.0.0.44"
SLOW_SECONDS = 1.5


def loopback_up():
    """A new network namespace has its loopback interface down. BIND listens on addresses of interfaces alone."""
    up_loopback_running, set_flags, set_address = 0x1 | 0x8 | 0x40, 0x8914, 0x8916
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sH14x", b"lo", up_loopback_running))
        address = struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(BIND))
        fcntl.ioctl(any_socket, set_address, struct.pack("16s16s", b"lo:1", address))


class Servers:
    """Starts programs and ends them again. `prefix` is a command that starts a command elsewhere, and `clients` is the
    network that resolvers are for."""

    def __init__(self, programs, directory, prefix=(), clients="127.0.0.0/8"):
        self.programs, self.directory = pathlib.Path(programs), pathlib.Path(directory)
        self.prefix, self.clients = list(prefix), clients
        self.running = []

    def start(self, name, program, arguments, address):
        log = open(self.directory / f"{name}.log", "w")
        # A profile of AppArmor belongs to a path, and lets no server read files that are anywhere but in /etc.
        copy = self.directory / pathlib.Path(program).name
        if not copy.exists():
            shutil.copy(self.programs / program, copy)
        process = subprocess.Popen([*self.prefix, copy, *arguments], stdout=log, stderr=log, cwd=self.directory)
        self.running.append((name, process))
        deadline = time.monotonic() + 60
        query = dns.message.make_query(".", "SOA")
        while True:
            try:
                dns.query.udp(query, address, timeout=1)
                return
            except (dns.exception.Timeout, OSError):
                if process.poll() is not None or time.monotonic() > deadline:
                    text = (self.directory / f"{name}.log").read_text()
                    raise SystemExit(f"{name} doesn't answer (exit status {process.poll()}): {text[-4000:]}")
                time.sleep(0.05)

    def stop(self):
        for _, process in self.running:
            process.send_signal(signal.SIGTERM)
        for _, process in self.running:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def nsd(self, address, zones):
        name = f"nsd-{address}"
        own = self.directory / name
        own.mkdir()
        blocks = "".join(f'zone:\n  name: "{zone.name}"\n  zonefile: "{zone.file}"\n' for zone in zones)
        config = own / "nsd.conf"
        config.write_text(f"""
server:
  ip-address: {address}
  username: ""
  chroot: ""
  zonesdir: "{own}"
  database: ""
  zonelistfile: "{own}/zone.list"
  xfrdfile: "{own}/xfrd.state"
  xfrdir: "{own}"
  pidfile: "{own}/nsd.pid"
  logfile: "{own}/nsd.log"
  server-count: 1
  rrl-ratelimit: 0
  minimal-responses: yes
remote-control:
  control-enable: no
{blocks}""")
        self.start(name, "usr/sbin/nsd", ["-d", "-c", str(config)], address)

    def knot(self, address, zones):
        own = self.directory / "knot"
        own.mkdir()
        blocks = "".join(f"  - domain: {zone.name}\n    file: {zone.file}\n" for zone in zones)
        config = own / "knot.conf"
        config.write_text(f"""
server:
    rundir: {own}
    listen: {address}@53
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: {own}
template:
  - id: default
    storage: {own}
    semantic-checks: off
    zonefile-load: whole
    journal-content: none
zone:
{blocks}""")
        self.start("knot", "usr/sbin/knotd", ["-c", str(config), "-s", str(own / "sock")], address)

    def unbound(self, name, address, validates):
        own = self.directory / name
        own.mkdir()
        config = own / "unbound.conf"
        config.write_text(f"""
server:
  interface: {address}
  access-control: {self.clients} allow
  do-not-query-localhost: no
  do-ip6: no
  directory: "{own}"
  username: ""
  chroot: ""
  pidfile: "{own}/pid"
  use-syslog: no
  logfile: ""
  num-threads: 1
  root-hints: "{self.directory}/root.hints"
  module-config: "{'validator ' if validates else ''}iterator"
  {f'trust-anchor-file: "{self.directory}/root.key"' if validates else ''}
  ede: yes
  target-fetch-policy: "0 0 0 0 0"
remote-control:
  control-enable: no
""")
        self.start(name, "usr/sbin/unbound", ["-d", "-p", "-c", str(config)], address)
        return config

    def bind(self, address, digests):
        own = self.directory / "bind"
        own.mkdir()
        anchors = ""
        for line in digests:
            tag, algorithm, kind, digest = line.split(" DS ")[1].split()
            anchors += f'  "." static-ds {tag} {algorithm} {kind} "{digest}";\n'
        config = own / "named.conf"
        config.write_text(f"""
options {{
  directory "{own}";
  listen-on port 53 {{ {address}; }};
  listen-on-v6 {{ none; }};
  pid-file "{own}/pid";
  session-keyfile "{own}/session.key";
  managed-keys-directory "{own}";
  recursion yes;
  allow-query {{ any; }};
  empty-zones-enable no;
  dnssec-validation yes;
}};
controls {{ }};
trust-anchors {{
{anchors}}};
zone "." {{ type hint; file "{self.directory}/root.hints"; }};
""")
        self.start("bind", "usr/sbin/named", ["-g", "-4", "-n", "1", "-c", str(config)], address)

    def tree(self, zones):
        """Serves all zones, and writes what resolvers start from: hints and the trust anchor."""
        served = {address: [zone for zone in zones if zone.server == address]
                  for address in (ROOT_SERVER, TOP_SERVER, DOMAIN_SERVER)}
        (self.directory / "root.hints").write_text(f". 3600000 NS ns1.\nns1. 3600000 A {ROOT_SERVER}\n")
        self.nsd(ROOT_SERVER, served[ROOT_SERVER])
        self.knot(TOP_SERVER, served[TOP_SERVER])
        self.nsd(DOMAIN_SERVER, served[DOMAIN_SERVER])


def misbehaving():
    """Servers of this process that are silent, slow, send garbage, cut all datagrams, or drop signatures."""
    def slow(octets, reply):
        time.sleep(SLOW_SECONDS)
        reply(forward(octets))

    def garbage(octets, reply):
        reply(b"\0\0" + octets[2:])
        reply(octets[:2] + b"\x81\x80" + b"\xff" * 40)

    def refusing(octets, reply):
        reply(octets[:2] + bytes([octets[2] | 0x80, 5]) + octets[4:])

    def truncating(octets, reply):
        reply(octets[:2] + bytes([octets[2] | 0x82]) + octets[3:])

    def stripping(octets, reply):
        query = dns.message.from_wire(octets)
        query.want_dnssec(False)
        response = dns.message.from_wire(forward(query.to_wire()))
        response.id = query.id
        reply(response.to_wire())

    for address, act in [(SILENT, lambda octets, reply: None), (SLOW, slow), (GARBAGE, garbage),
                         (REFUSING_SERVER, refusing), (TRUNCATING, truncating), (STRIPPING, stripping)]:
        serve(address, act)
    threading.Thread(target=streams, args=(TRUNCATING,), daemon=True).start()


def forward(octets):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as upstream:
        upstream.settimeout(60)
        upstream.connect((PLAIN, 53))
        upstream.send(octets)
        return upstream.recv(65535)


def serve(address, act):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address, 53))

    def loop():
        while True:
            octets, peer = server.recvfrom(65535)
            reply = lambda response: server.sendto(response, peer)
            threading.Thread(target=act, args=(octets, reply), daemon=True).start()

    threading.Thread(target=loop, daemon=True).start()


def streams(address):
    """The same server over TCP answers whole."""
    listener = socket.create_server((address, 53))
    while True:
        stream, _ = listener.accept()
        with stream, socket.create_connection((PLAIN, 53), timeout=60) as upstream:
            def whole(source):
                head = source.recv(2, socket.MSG_WAITALL)
                return head + source.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)
            upstream.sendall(whole(stream))
            stream.sendall(whole(upstream))
