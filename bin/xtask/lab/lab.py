"""The laboratory: a DNS of its own, two of our servers, Postfix, a proxy, and servers that misbehave, each in a network
namespace with an address of its own.

Arguments: our program; a directory with unpacked programs; a directory for files; how many rounds of `kill -9`; "shell" or
"-"; then, if wanted, parts of names of checks. Runs as the first process of namespaces of its own for networks, mounts and
processes (`unshare --net --mount --pid --fork --kill-child --mount-proc`): whatever happens, nothing of it is left.
"""

import subprocess
import sys
import time

import check_crash
import check_peers
import check_reports
import check_sendmail
import check_table
import check_webhooks
from network import is_init
from world import World

CHECKS = [
    ("every row of the table", check_table.table),
    ("policies that are kept and that expire", check_table.cached_and_expired),
    ("REQUIRETLS to the mailbox", check_peers.require_tls),
    ("swaks to Postfix", check_peers.swaks_to_postfix),
    ("Postfix to ours with DANE", check_peers.from_postfix),
    ("a SOCKS proxy", check_peers.socks),
    ("submission with SASL", check_peers.submission),
    ("held for a mailbox of its own", check_peers.held),
    ("sendmail with setgid", check_sendmail.setgid),
    ("webhooks", check_webhooks.told),
    ("the fourth attempt", check_crash.fourth_attempt),
    ("kill -9", check_crash.kill),
    # The last one, since its clocks are ahead.
    ("reports", check_reports.reports),
]


def main():
    program, programs, directory, rounds, shell, *names = sys.argv[1:]
    if not is_init():
        raise SystemExit("this has to be the first process of a namespace of processes")
    begun = time.monotonic()
    world = World(program, programs, directory)
    world.rounds = int(rounds)
    print(f"the laboratory stands after {time.monotonic() - begun:.1f} s", file=sys.stderr)
    failures = []
    for name, check in CHECKS:
        if names and not any(part in name for part in names):
            continue
        begun, before = time.monotonic(), len(failures)
        try:
            check(world, failures.append)
        except (SystemExit, AssertionError, OSError) as error:
            failures.append(f"{name}: {error}")
        print(f"{name}: {'FAILED' if len(failures) > before else 'ok'} ({time.monotonic() - begun:.1f} s)", file=sys.stderr)
    if shell == "shell":
        subprocess.run(["bash"], cwd=directory, check=False)
    for server in (world.one, world.two):
        try:
            server.stop()
        except (SystemExit, subprocess.TimeoutExpired) as error:
            failures.append(f"{server.name} can't be stopped: {error}")
        if "panicked" in server.log():
            failures.append(f"{server.name} panicked: {server.log()}")
    if failures:
        raise SystemExit(f"{len(failures)} failures:\n" + "\n".join(failures))


if __name__ == "__main__":
    main()
