"""Network namespaces on one bridge, and processes in them.

The whole laboratory runs in namespaces of its own (see `lab.py`), so nothing of it is seen outside, and all of it ends with
the first process.
"""

import os
import pathlib
import signal
import socket
import subprocess
import time

# The place of the laboratory itself, from which users write and read mail.
HERE = "10.53.255.1"
# Seconds until something that was started has to be there, and for everything else that has to happen: more than a busy
# machine needs.
START = 60
PATIENCE = 180


def run(*command, **more):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=PATIENCE, **more)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}: exit status {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def prepare():
    """A bridge, and a private directory for names of namespaces."""
    pathlib.Path("/run/netns").mkdir(exist_ok=True)
    run("mount", "-t", "tmpfs", "none", "/run/netns")
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "lab", "type", "bridge")
    run("ip", "addr", "add", f"{HERE}/8", "dev", "lab")
    run("ip", "link", "set", "lab", "up")


def resolve_by(directory, resolver):
    """Has all of the laboratory ask a resolver, and believe it."""
    file = directory / "resolv.conf"
    file.write_text(f"nameserver {resolver}\noptions edns0 trust-ad\n")
    run("mount", "--bind", file, "/etc/resolv.conf")


class Host:
    """A network namespace with addresses of its own."""

    def __init__(self, name, *addresses):
        self.name, self.addresses = name, addresses
        run("ip", "netns", "add", name)
        run("ip", "link", "add", f"to-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "link", "set", f"to-{name}", "master", "lab", "up")
        run("ip", "-n", name, "link", "set", "lo", "up")
        for address in addresses:
            run("ip", "-n", name, "addr", "add", f"{address}/8", "dev", "eth0")
        run("ip", "-n", name, "link", "set", "eth0", "up")

    def command(self, *command):
        return ["ip", "netns", "exec", self.name, *map(str, command)]


class Process:
    """A program in a namespace, which ends with the laboratory at the latest. Its output goes to a file."""

    def __init__(self, host, name, log, *command):
        self.name, self.log = name, pathlib.Path(log)
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(host.command(*command), stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def text(self):
        return self.log.read_text(errors="replace")

    def wait_for(self, ready, seconds=START):
        """Waits until it is of use."""
        def check():
            if self.process.poll() is not None:
                raise SystemExit(f"{self.name} ended with {self.process.returncode}: {self.text()[-4000:]}")
            return ready()
        wait(check, seconds, lambda: f"{self.name} is not there: {self.text()[-4000:]}")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self, seconds=START):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()


def wait(check, seconds, complaint, pause=0.05):
    """Waits until `check` gives something, and gives it."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = check()
        except OSError:
            found = None
        if found:
            return found
        if time.monotonic() > deadline:
            raise SystemExit(complaint() if callable(complaint) else complaint)
        time.sleep(pause)


def listens(address, port):
    """A check whether somebody listens there."""
    return lambda: listening(address, port)


def listening(address, port):
    """Whether somebody listens there."""
    try:
        with socket.create_connection((address, port), timeout=10):
            return True
    except OSError:
        return False


def is_init():
    """Whether this is the first process of a namespace of processes, with which all others end."""
    return os.getpid() == 1
