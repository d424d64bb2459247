"""Messages through other people's servers, and between two of ours."""

import re
import time

from network import PATIENCE, wait
from ours import PASSWORD, swaks
from world import ONE, POSTFIX, PROXY, RELAYED, SOCKS

# Seconds for which a message is held.
HELD = 3


def require_tls(world, complain):
    """REQUIRETLS from submission to the mailbox of another server of ours; and refused by Postfix, which lacks it."""
    world.one.submit(["bob@two.lab"], "required", "required")
    message = world.two.wait_for_mail("required")
    received = " ".join(message["Received"].split())
    if "mx.one.lab" not in received or "ESMTPS" not in received:
        complain(f"required: Received: {received}")
    # What logs say is written a little later than what it is about has happened.
    wait(lambda: "dane=true" in world.one.log(), PATIENCE, "required: no connection was verified by DANE")
    before = len(world.postfix.mail())
    world.one.submit(["carol@postfix.lab"], "lacking", "required")
    report = wait(lambda: world.one.reports().get("carol@postfix.lab"), PATIENCE, "lacking: no report")
    if report[:2] != ("failed", "5.7.30") or "mx.postfix.lab" not in report[2]:
        complain(f"lacking: {report}")
    if len(world.postfix.mail()) != before:
        complain("lacking: Postfix took it")


def swaks_to_postfix(world, complain):
    """From swaks by our submission to Postfix, with DANE."""
    swaks("--server", ONE, "--port", 587, "--tls", "--auth", "PLAIN", "--auth-user", "alice@one.lab", "--auth-password",
          PASSWORD, "--from", "alice@one.lab", "--to", "dave@postfix.lab", "--h-Subject", "by swaks")
    mail = wait(lambda: [one for one in world.postfix.mail() if "Subject: by swaks" in one], PATIENCE,
                lambda: f"Postfix has nothing: {world.one.log()[-2000:]} {world.postfix.text()[-2000:]}")
    if not re.search(r"with ESMTPS", mail[0]):
        complain(f"Postfix took it without TLS: {mail[0]}")


def from_postfix(world, complain):
    """From Postfix to ours, which it verifies by DANE."""
    swaks("--server", POSTFIX, "--port", 25, "--from", "erin@postfix.lab", "--to", "bob@two.lab", "--h-Subject", "by Postfix")
    world.two.wait_for_mail("by Postfix")
    wait(lambda: re.search(r"Verified TLS connection established to mx\.two\.lab\[", world.postfix.text()), PATIENCE,
         lambda: f"Postfix verified nothing: {world.postfix.text()[-3000:]}")


def socks(world, complain):
    """Through Dante: the other side sees its address, and the name that belongs to it."""
    world.one.submit([f"someone@{SOCKS.domain}"], "proxied")
    message = world.wait_for_message(SOCKS, "proxied")
    if message["peer"] != PROXY or "EHLO proxied.one.lab" not in message["lines"]:
        complain(f"socks: {message}")
    wait(lambda: re.search(rf"pass.*{re.escape(ONE)}", world.proxy.text()), PATIENCE,
         lambda: f"socks: Dante says nothing of it: {world.proxy.text()}")


def submission(world, complain):
    """Through Postfix with a password: by the strongest mechanism that both have."""
    world.one.submit([f"someone@{RELAYED.domain}"], "relayed")
    message = world.wait_for_message(RELAYED, "relayed")
    if message["peer"] != POSTFIX:
        complain(f"relayed: it came from {message['peer']}")
    wait(lambda: re.search(r"sasl_method=SCRAM-SHA-256, sasl_username=ours", world.postfix.text()), PATIENCE,
         lambda: f"relayed: Postfix knows no user: {world.postfix.text()[-3000:]}")


def held(world, complain):
    """Held until a time, for a mailbox of the same server: it comes to that by its own MX record."""
    begun = time.monotonic()
    world.one.submit([world.one.mailbox], "held", options=[f"HOLDFOR={HELD}"])
    there = any(one["Subject"] == "held" for one in world.one.messages())
    # The server counts in whole seconds.
    if there and time.monotonic() < begun + HELD - 1:
        complain("held: it was there at once")
    message = world.one.wait_for_mail("held")
    if "mx.one.lab" not in " ".join(message["Received"].split()):
        complain(f"held: Received: {message['Received']}")
