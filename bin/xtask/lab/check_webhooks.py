"""Webhooks: a program hears of messages that were sent and that came, whatever happens to it and to the server meanwhile."""

import http.server
import json
import pathlib
import re
import threading

from network import HERE, PATIENCE, wait

PORT = 8080
SECRET = "a secret of the laboratory"


def documented():
    """The check of signatures that the documentation shows."""
    page = pathlib.Path(__file__).parents[3] / "docs/webhooks.md"
    scope = {}
    exec(re.search(r"```python\n(.*?)```", page.read_text(), re.DOTALL)[1], scope)
    return scope["verify"]


class Program:
    """What is called: remembers all calls, and answers with `status`."""

    def __init__(self):
        program, self.calls, self.status = self, [], 200

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                program.calls.append((self.path, self.headers, body))
                self.send_response(program.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer((HERE, PORT), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def found(self, path, **members):
        """Calls of a path whose JSON has these members."""
        found = []
        for called, headers, body in list(self.calls):
            told = json.loads(body)
            if called == path and all(told.get(name) == value for name, value in members.items()):
                found.append((headers, body, told))
        return found

    def wait_for(self, server, path, **members):
        return wait(lambda: self.found(path, **members), PATIENCE,
                    lambda: f"{path} {members} isn't called: {self.calls} {server.log()[-3000:]}")


def told(world, complain):
    one, two, program, verify = world.one, world.two, Program(), documented()
    secret = world.directory / "webhook.secret"
    secret.write_text(f"{SECRET}\n")
    for server, side, path in ((one, "outgoing", "/out"), (two, "incoming", "/in")):
        server.configure("attempts = 1", "[webhooks]\nprivate_addresses = true\n")
        server.restart()
        server.command("account", "settings", "webhook", "--secret-file", secret, side, server.user, f"http://{HERE}:{PORT}{path}")

    one.submit([two.mailbox], "told", lines=["X-Postrider-Extra-Order: 7"])
    _, _, sent = program.wait_for(one, "/out", Event="delivered", Subject="told")[0]
    if sent["Recipient"] != two.mailbox or sent["Extra"] != {"Order": "7"} or sent["SMTPCode"] != 250:
        complain(f"delivered: {sent}")
    _, _, came = program.wait_for(two, "/in", Subject="told")[0]
    if came["Meta"]["MailFrom"] != one.mailbox or "A message of the laboratory." not in came["Text"]:
        complain(f"incoming: {came}")
    one.submit([f"nobody@{two.domain}"], "unknown")
    _, _, failed = program.wait_for(one, "/out", Event="failed", Subject="unknown")[0]
    if failed["SMTPCode"] != 550 or not failed["Suppressing"]:
        complain(f"failed: {failed}")

    # A program that is out of order; and then the server dies. Nothing is forgotten.
    program.status = 503
    one.submit([two.mailbox], "refused")
    refused, _, _ = program.wait_for(one, "/out", Event="delivered", Subject="refused")[0]

    # Only what it was answered with makes it wait for the next attempt; the call itself is in the list before.
    def waiting():
        return [json.loads(line) for line in one.command("webhook", "list", "--json").splitlines()]
    wait(lambda: [call["attempts"] for call in waiting()] == [1], PATIENCE, lambda: f"no call waits: {waiting()}")
    one.process.kill()
    one.start()
    program.status = 200
    one.command("webhook", "retry", "--account", one.user)
    again, _, _ = wait(lambda: program.found("/out", Event="delivered", Subject="refused")[1:], PATIENCE,
                       lambda: f"it isn't called again: {one.log()[-3000:]}")[0]
    ids = [headers["X-Postrider-Webhook-ID"] for headers in (refused, again)]
    attempts = [headers["X-Postrider-Webhook-Attempt"] for headers in (refused, again)]
    if ids[0] != ids[1] or attempts != ["1", "2"]:
        complain(f"the same call again: {ids} {attempts}")
    wait(lambda: not waiting(), PATIENCE, lambda: f"a call waits that was taken: {waiting()}")

    for path, headers, body in program.calls:
        if not verify(SECRET.encode(), headers, body):
            complain(f"{path}: the signature isn't right: {headers} {body}")
        if verify(SECRET.encode(), headers, body + b" ") or verify(b"another secret", headers, body):
            complain(f"{path}: anything is a good signature")
    for server, side in ((one, "outgoing"), (two, "incoming")):
        server.command("account", "settings", "webhook", "--off", side, server.user)
    program.server.shutdown()
