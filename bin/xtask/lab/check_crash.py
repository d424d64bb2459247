"""Attempts over time, and `kill -9` in the midst of deliveries."""

import collections
import json
import random
import re
import smtplib
import sys
import threading
import time

from network import PATIENCE, wait
from ours import PASSWORD, entries_cut_off, message
from world import FOURTH, ONE, POSTFIX, RECORDER, TRANSPORTS

# Users that submit at the same time, and messages of one connection.
SUBMITTERS, MESSAGES = 4, 200
# When the kill comes, in seconds after the users begin.
KILLED_AFTER = (0.2, 2.0)
# What was cut off is tried again after a minute.
DRAINED_WITHIN = 400
# So many that wait are worth more than one session.
BACKLOG = 200
RETRIES = 'first_retry = "60s"\nlongest_retry = "60s"'


def fourth_attempt(world, complain):
    """A route that matches from the fourth attempt on: three come directly, the next by Postfix."""
    one = world.one
    one.configure(f"attempts = 6\n{RETRIES}", TRANSPORTS)
    one.restart()
    recipient = f"someone@{FOURTH.domain}"
    one.submit([recipient], "fourth")
    for number in range(1, 4):
        wait(lambda number=number: re.search(rf" attempt={number} .* to={recipient} ", one.log()), PATIENCE,
             lambda number=number: f"fourth: attempt {number} isn't made: {one.log()[-2000:]}")
        one.command("queue", "schedule", "--at", "now", "--recipient-domain", FOURTH.domain)
    if not wait(lambda: re.search(rf" attempt=4 .* to={recipient} host=(\S+)", one.log()), PATIENCE, "fourth: no fourth attempt"):
        complain("fourth: the fourth attempt failed")
    wait(lambda: f"to=<{recipient}>" in world.postfix.text(), PATIENCE, "fourth: Postfix has nothing")

    def asked():
        """How often each side named the recipient, when all connections have ended."""
        seen = world.seen(FOURTH.mx)
        ends = [one for one in seen if one["kind"] == "connection"]
        if len(ends) < len([one for one in seen if one["kind"] == "connected"]):
            return None
        return collections.Counter(one["peer"] for one in ends for line in one["lines"] if line.startswith("RCPT"))
    counts = wait(asked, PATIENCE, "fourth: connections don't end")
    if counts[ONE] != 3 or not counts[POSTFIX]:
        complain(f"fourth: the host was asked by {counts}")


class Submitter(threading.Thread):
    """Submits messages until the server is gone, and remembers what was acknowledged."""

    def __init__(self, server, label):
        super().__init__(daemon=True)
        self.server, self.label, self.acknowledged = server, label, []

    def run(self):
        try:
            session = smtplib.SMTP_SSL(self.server.address, 465, timeout=PATIENCE, context=self.server.context)
            session.login(self.server.mailbox, PASSWORD)
            for number in range(MESSAGES):
                subject = f"{self.label}-{number}"
                recipient = f"{subject}@{RECORDER.domain}"
                session.sendmail(self.server.mailbox, [recipient], message(self.server.mailbox, [recipient], subject))
                self.acknowledged.append(subject)
        except (OSError, smtplib.SMTPException):
            # It was killed.
            pass


def taken(world):
    """What the recording host took: how often, by the local part of its recipient."""
    lines = [line for seen in world.seen(RECORDER.mx, "message") for line in seen["recipients"]]
    return collections.Counter(re.search(r"<(\S+)@", line)[1] for line in lines)


def unended(world):
    """What connections to the recording host ended in the midst of: how often, by the local part of its recipient."""
    found = collections.Counter()
    for seen in world.seen(RECORDER.mx, "connection"):
        begun = [line for line in seen["lines"] if line.startswith("RCPT")]
        if len(begun) > seen["messages"]:
            found[re.search(r"<(\S+)@", begun[-1])[1]] += 1
    return found


def at_once(connections):
    """How many connections were in use at once, at most, from the connection of each message in order."""
    first = {number: at for at, number in reversed(list(enumerate(connections)))}
    last = {number: at for at, number in enumerate(connections)}
    return max((sum(first[number] <= at <= last[number] for number in first) for at in range(len(connections))), default=0)


def recipients(server, entries):
    """The local part of the recipient of each entry that waits."""
    if not entries:
        return []
    rows = [json.loads(line) for line in server.command("queue", "list", "--json", *entries).splitlines()]
    found = [row["to"][0].split("@")[0] for row in rows]
    if len(found) != len(entries):
        raise SystemExit(f"entries that were cut off are not in the queue: {entries}, there are {rows}")
    return found


def kill(world, complain):
    """Nothing that was acknowledged is lost. What the server says may have arrived before, and only that, comes again: the
    server notes what it is about to send the end of, and that is what the host took and whose outcome the server didn't
    write, but for what a kill cuts off right there."""
    one, seed = world.one, random.randrange(1 << 32)
    chance = random.Random(seed)
    one.configure(RETRIES, TRANSPORTS)
    one.restart()
    # It takes a while to acknowledge: attempts are cut off.
    world.restart_hosts({RECORDER.mx: {"pause": 0.03}})
    acknowledged, named, others, counted = [], collections.Counter(), 0, 0
    for number in range(world.rounds):
        submitters = [Submitter(one, f"kill-{seed}-{number}-{user}") for user in range(SUBMITTERS)]
        for submitter in submitters:
            submitter.start()
        time.sleep(chance.uniform(*KILLED_AFTER))
        one.process.kill()
        for submitter in submitters:
            # A thread of which nobody knows what it got would make the rest worthless.
            submitter.join(PATIENCE + 60)
            if submitter.is_alive():
                raise SystemExit(f"{submitter.label} doesn't hear that the server is gone")
            acknowledged += submitter.acknowledged
        length = len(one.log())
        one.start()
        says = one.metrics()["postrider_queue_possible_duplicates_total"]
        # The log is written a little later than the counter counts.
        deadline = time.monotonic() + PATIENCE
        while len((cut_off := entries_cut_off(one.log()[length:]))[0]) < says and time.monotonic() < deadline:
            time.sleep(0.1)
        doubtful, untouched = cut_off
        if says != len(doubtful):
            complain(f"round {number}: {len(doubtful)} entries are named as doubtful, and the counter says {says}")
        named.update(recipients(one, doubtful))
        others, counted = others + len(untouched), counted + says
    before = len(world.seen(RECORDER.mx, "message"))
    deadline = time.monotonic() + DRAINED_WITHIN
    while set(acknowledged) - set(taken(world)) and time.monotonic() < deadline:
        time.sleep(0.2)
    one.wait_until_empty(DRAINED_WITHIN)
    backlog = [seen["number"] for seen in world.seen(RECORDER.mx, "message")[before:]]
    sessions = at_once(backlog)
    if len(backlog) > BACKLOG and sessions < 2:
        complain(f"{len(backlog)} messages that waited went over {sessions} session")
    counted += one.metrics()["postrider_queue_possible_duplicates_total"] - (says if world.rounds else 0)
    copies = taken(world)
    lost = [subject for subject in acknowledged if not copies[subject]]
    if lost:
        complain(f"{len(lost)} of {len(acknowledged)} acknowledged messages are lost: {lost[:5]} (seed {seed})")
    again = collections.Counter({subject: count - 1 for subject, count in copies.items() if count > 1})
    if again - named:
        complain(f"these came again, and were not named: {again - named} (seed {seed})")
    # The kill may come between the note and the end that it is about: then the host has a message without an end.
    once = named - again
    if once - unended(world):
        complain(f"these were named, and the host took them once: {once - unended(world)} (seed {seed})")
    if again.total() + once.total() != counted:
        complain(f"{again.total()} messages came again, {once.total()} had no end, and {counted} are counted (seed {seed})")
    failed = [to for to in one.reports() if to.endswith(RECORDER.domain)]
    if failed:
        complain(f"reports for what has to be delivered: {failed}")
    print(f"{world.rounds} kills: {len(acknowledged)} acknowledged, {len(lost)} lost; {others} attempts cut off before the end of "
          f"the message, {named.total()} behind it, {again.total()} messages came again; {len(backlog)} waited at the end, over "
          f"{sessions} sessions at once", file=sys.stderr)
