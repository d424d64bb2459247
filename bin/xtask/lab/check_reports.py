"""Reports between two of ours: what one saw of the other's TLS and mail is sent when the day is over, verified and kept."""

import datetime
import json

from network import wait

# What the clocks say on the next day when the servers are started again: before the time for reports on TLS, which is 4 to
# 6 minutes after midnight, and before a whole hour, up to 90 s after which reports on DMARC leave. What is between is for a
# slow start: who begins after the hour waits for the next one.
FOR_TLS, FOR_DMARC = "00:03:30", "00:58:30"
# Seconds until each report has to be there.
REPORTED_WITHIN = 600


def today():
    """The day by which the servers count."""
    return datetime.datetime.now(datetime.timezone.utc).date()


def reports(world, complain):
    one, two = world.one, world.two
    for server, kind in ((one, "dmarc"), (two, "tls")):
        server.command("domain", "dkim", "add", "--selector", "lab", "--key-file", world.signing_keys[server.domain],
                       server.domain)
        # An address of their own: mail that comes there is no reason for a report.
        server.command("address", "add", f"reports@{server.domain}", server.user)
        server.command("address", "reports", f"reports@{server.domain}", kind)
        server.configure("attempts = 1", "[reports]\ntls_when_all_succeed = true\n")
        server.restart()
    # The day of all that is reported is the one before that of the clocks, also when midnight comes meanwhile.
    day = None
    while day != today():
        day = today()
        one.submit([two.mailbox], f"reported on {day}")
        two.wait_for_mail(f"reported on {day}")
    one.stop()
    two.stop()
    tomorrow = day + datetime.timedelta(days=1)
    one.start(clock=f"{tomorrow} {FOR_TLS}")
    two.start(clock=f"{tomorrow} {FOR_DMARC}")

    def there(server, kind):
        """The report of a kind, which is there in the time of the server, if not in ours."""
        lines = server.command("reports", "list", "--kind", kind, "--until", "2100-01-01T00:00Z", "--json").splitlines()
        return json.loads(lines[0]) if lines else None

    def log():
        return f"{one.log()[-3000:]}\n{two.log()[-3000:]}"
    of_mail = wait(lambda: there(one, "dmarc"), REPORTED_WITHIN, lambda: f"no report of DMARC: {log()}", pause=1)
    of_tls = wait(lambda: there(two, "tls"), REPORTED_WITHIN, lambda: f"no report of TLS: {log()}", pause=1)
    for report, about, by in ((of_mail, one, two), (of_tls, two, one)):
        if report["domain"] != about.domain or report["submitter"] != by.name or not report["confirmed_by"]:
            complain(f"reports: {report}")
        if not report["total"] or report["failed"]:
            complain(f"reports: {report['total']} in all, {report['failed']} failed: {report}")
    # Back in the time of all others.
    for server in (one, two):
        server.stop()
        server.start()
