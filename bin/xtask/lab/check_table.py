"""Every row of the table, seen on the wire, and the report or delivery that follows."""

import collections
import time

from network import PATIENCE, wait
from rows import ROWS
from world import CACHED, EXPIRED

SECONDS = 300


def table(world, complain):
    before = world.one.metrics()
    for row in ROWS:
        world.one.submit([f"someone@{row.domain}"], f"table-{row.name}", row.wish)
    wait_for_ends(world, complain)
    # What comes too much would come now.
    time.sleep(1)
    reports = world.one.reports()
    for row in ROWS:
        for what in judge(world, row, reports.get(f"someone@{row.domain}")):
            complain(f"{row.domain}: {what}")
    due = counters()

    def others():
        after = world.one.metrics()
        by = {name: after.get(name, 0) - before.get(name, 0) for name in due}
        return {name: count for name, count in by.items() if count != due[name]}
    deadline = time.monotonic() + PATIENCE
    while (moved := others()) and time.monotonic() < deadline:
        time.sleep(0.3)
    for name, by in sorted(moved.items()):
        complain(f"{name} moved by {by}, and {due[name]} is due")


def wait_for_ends(world, complain):
    """Until each message was taken, or came back, and the connections on which none was taken are recorded."""
    def unfinished():
        taken, reports = {one["host"] for one in world.seen(kind="message")}, world.one.reports()
        return [row.domain for row in ROWS
                if row.mx not in taken and (f"someone@{row.domain}" not in reports or not world.has_ended(row))]
    deadline = time.monotonic() + SECONDS
    while (left := unfinished()) and time.monotonic() < deadline:
        time.sleep(0.3)
    if left:
        complain(f"after {SECONDS} seconds neither taken nor returned: {left}")


def judge(world, row, report):
    """What is other than it has to be."""
    seen = world.seen(row.mx)
    messages = [one for one in seen if one["kind"] == "message"]
    mails = [one for one in seen for line in one["lines"] if line.upper().startswith("MAIL") and not one["tls"]]
    if row.seen in ("tls", "clear"):
        if len(messages) != 1:
            yield f"{len(messages)} messages were taken"
            return
        message = messages[0]
        if f"Subject: table-{row.name}\r\n" not in message["content"]:
            yield f"the content is another: {message['content']}"
        if bool(message["tls"]) != (row.seen == "tls"):
            yield f"TLS was {message['tls']}, and {row.seen} is due"
        if message["tls"] and message["asked"] != row.mx:
            yield f"the certificate of {message['asked']!r} was asked for"
        if (" REQUIRETLS" in message["mail"].upper()) != row.requiretls:
            yield f"the command was {message['mail']}"
    elif messages:
        yield f"it took a message: {messages}"
    elif row.seen == "nothing" and not seen:
        yield "it wasn't connected to"
    elif row.seen == "untouched" and seen:
        yield f"it was connected to: {seen}"
    if row.seen != "clear" and mails:
        yield f"a message began in clear: {mails}"
    if row.tries and not any("STARTTLS" in one["lines"] for one in seen):
        yield f"STARTTLS wasn't tried: {seen}"
    if row.status is None:
        if report:
            yield f"there is a report: {brief(report)}"
    elif report is None:
        yield "there is no report"
    elif report[:2] != ("failed", row.status):
        yield f"the report says {report[0]} {report[1]}, and {row.status} is due: {brief(report)}"
    elif row.wish == "required" and "A message of the laboratory." in report[2]:
        yield "the report brings the content back (RFC 8689 §5)"


def brief(report):
    """What a report says of a recipient."""
    text = report[2]
    return " ".join(text[text.find("\nAction:"):].split("\n\n")[0].split())


def counters():
    """The metrics that rows move, and by how much."""
    due = collections.Counter(name for row in ROWS for name in row.counts)
    due["postrider_queue_destinations_total"] = len(ROWS)
    due["postrider_queue_destinations_authentic_total"] = sum(row.zone != "open" for row in ROWS)
    return due


def cached_and_expired(world, complain):
    """A policy that is kept stands in while no other can be had, until it expires."""
    one = world.one
    for row in (CACHED, EXPIRED):
        one.submit([f"someone@{row.domain}"], f"first-{row.name}")
        message = world.wait_for_message(row, f"first-{row.name}")
        if not message["tls"]:
            complain(f"{row.domain}: without TLS at first")
    # Both announce another policy, which can't be fetched, and lose their certificates.
    for row in (CACHED, EXPIRED):
        world.tree.change(f'_mta-sts.{row.domain}. 1 IN TXT "v=STSv1; id=first;"',
                          f'_mta-sts.{row.domain}. 1 IN TXT "v=STSv1; id=second;"')
        world.policy_file(row).unlink()
    wrong = {"certificate": str(world.wrong[0]), "key": str(world.wrong[1])}
    world.restart_hosts({row.mx: wrong for row in (CACHED, EXPIRED)})
    # The connection of before ended with the hosts. The policy of one expires, and what it was announced by.
    time.sleep(EXPIRED.max_age + 2)
    for row in (CACHED, EXPIRED):
        one.submit([f"someone@{row.domain}"], f"second-{row.name}")
    message = world.wait_for_message(EXPIRED, "second-expired")
    if not message["tls"]:
        complain("expired: without TLS")
    report = wait(lambda: one.reports().get(f"someone@{CACHED.domain}"), PATIENCE, "cached: no report")
    if report[:2] != ("failed", "5.7.5"):
        complain(f"cached: {report}")
    if len(world.seen(CACHED.mx, "message")) != 1:
        complain("cached: a message was taken without the policy's certificate")
    fetches = [seen for seen in world.seen(kind="policy") if seen["host"] == f"mta-sts.{CACHED.domain}"]
    if len(fetches) < 2:
        complain("cached: the new policy wasn't asked for")
