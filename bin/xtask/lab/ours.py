"""Our server in a namespace: its configuration, its command line, and users who write and read mail."""

import email
import email.policy
import imaplib
import pathlib
import re
import smtplib
import ssl
import subprocess
import time
import urllib.request

from network import PATIENCE, START, Host, Process, listening, listens, wait

PASSWORD = "a word of the laboratory"
PORTS = (25, 465, 587, 993, 8010)


class Server:
    """`user` is the account's name, with an address in `domain`."""

    def __init__(self, program, directory, domain, address, user, authority, resolver, anchor):
        self.program, self.domain, self.address, self.user = program, domain, address, user
        self.name, self.mailbox = f"mx.{domain}", f"{user}@{domain}"
        self.host = Host(domain.split(".")[0], address)
        self.directory = directory / domain
        self.directory.mkdir()
        self.config, self.data = self.directory / "postrider.toml", self.directory / "data"
        self.resolver, self.anchor = resolver, anchor
        self.certificate, self.key = authority.make(domain, [self.name])
        self.authority = authority
        self.context = ssl.create_default_context(cafile=authority.file)
        self.context.check_hostname = False
        self.process = None

    def configure(self, delivery="", rest=""):
        listeners = "".join(
            f'[[listener]]\nname = "{name}"\nprotocol = "{protocol}"\naddresses = ["{self.address}:{port}"]\n'
            for name, protocol, port in [("mx", "smtp", 25), ("submissions", "submissions", 465),
                                         ("submission", "submission", 587), ("imaps", "imaps", 993),
                                         ("metrics", "metrics", 8010)])
        self.config.write_text(f"""
hostname = "{self.name}"
data_dir = "{self.data}"
shards = 2
[[tls.certificate]]
cert_file = "{self.certificate}"
key_file = "{self.key}"
{listeners}
[dns]
upstreams = ["{self.resolver}"]
trust_anchors = "{self.anchor}"
[postmaster]
account = "{self.user}"
[admission]
unlimited = ["10.0.0.0/8"]
[accounts]
recipients_per_day = 1000000
first_time_recipients_per_day = 1000000
[limits.smtp]
first_time_sender_delay = "0s"
[delivery]
tls_roots = "{self.authority.file}"
ipv6 = false
{delivery}
{rest}
""")

    def start(self, clock=None):
        """With a clock that begins at a time (as `date` reads it, in UTC) if one is given."""
        # The kernel lets go of the sockets of a killed process a little later than of the process.
        for port in PORTS:
            wait(lambda port=port: not listening(self.address, port), START, f"port {port} of {self.name} isn't free")
        # Durations stay those of the system.
        moved = ["env", "TZ=UTC", "DONT_FAKE_MONOTONIC=1", "faketime", clock] if clock else []
        self.process = Process(self.host, self.name, self.directory / "log", *moved, self.program, "serve", "--config",
                               self.config)
        for port in PORTS:
            self.process.wait_for(listens(self.address, port))

    def stop(self):
        self.command("stop")
        self.process.process.wait(PATIENCE)

    def restart(self):
        self.stop()
        self.start()

    def set_up(self):
        """Makes the domain and the account of an empty store."""
        self.start()
        self.command("domain", "add", self.domain)
        self.command("account", "add", self.user, self.mailbox, text=f"{PASSWORD}\n")

    def command(self, *arguments, text=""):
        done = subprocess.run([self.program, "--config", str(self.config), *arguments], input=text, capture_output=True,
                              text=True, timeout=PATIENCE)
        if done.returncode != 0:
            raise SystemExit(f"postrider {arguments}: exit status {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def log(self):
        return self.process.text()

    def submit(self, recipients, subject, wish=None, sender=None, options=(), recipient_options=(), lines=()):
        """Submits a message as a user's program does. Gives it."""
        session = smtplib.SMTP_SSL(self.address, 465, timeout=PATIENCE, context=self.context)
        session.login(self.mailbox, PASSWORD)
        text = message(sender or self.mailbox, recipients, subject, [*lines, *(["TLS-Required: No"] if wish == "no" else [])])
        options = [*options, *(["REQUIRETLS"] if wish == "required" else [])]
        session.sendmail(sender or self.mailbox, recipients, text, options, recipient_options)
        session.quit()
        return text

    def messages(self):
        """All messages in the inbox, and the text of each."""
        session = imaplib.IMAP4_SSL(self.address, 993, ssl_context=self.context, timeout=PATIENCE)
        session.login(self.mailbox, PASSWORD)
        session.select("Inbox", readonly=True)
        _, answer = session.fetch("1:*", "(BODY.PEEK[])")
        session.logout()
        return [email.message_from_bytes(part[1], policy=email.policy.default) for part in answer if isinstance(part, tuple)]

    def reports(self):
        """The reports in the inbox, by recipient: action, status, and all of the text."""
        found = {}
        for one in self.messages():
            if one.get_content_type() != "multipart/report":
                continue
            parts = list(one.iter_parts())
            for fields in parts[1].get_payload()[1:]:
                recipient = fields["Final-Recipient"].split(";")[1].strip()
                found[recipient] = (fields["Action"], fields["Status"].split()[0], one.as_string())
        return found

    def metrics(self):
        """The metrics, by name with labels."""
        with urllib.request.urlopen(f"http://{self.address}:8010/metrics", timeout=PATIENCE) as answer:
            lines = answer.read().decode().splitlines()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if not line.startswith("#")}

    def wait_for_mail(self, subject, seconds=PATIENCE):
        """The message with a subject in the inbox."""
        def check():
            return next((one for one in self.messages() if one["Subject"] == subject), None)
        return wait(check, seconds, lambda: f"{subject!r} didn't come to {self.mailbox}: {self.log()[-3000:]}", pause=0.2)

    def wait_until_empty(self, seconds):
        """Until nothing is queued."""
        def check():
            return self.metrics().get("postrider_queue_entries") == 0
        wait(check, seconds, lambda: f"the queue isn't empty: {self.log()[-3000:]}", pause=0.2)


def message(sender, recipients, subject, lines=(), octets=0):
    head = [f"From: <{sender}>", f"To: <{recipients[0]}>", f"Subject: {subject}", f"Message-ID: <{subject}@lab>",
            time.strftime("Date: %a, %d %b %Y %H:%M:%S +0000", time.gmtime()), *lines]
    body = ["A message of the laboratory."] + ["x" * 70] * (octets // 72)
    return "\r\n".join(head + ["", *body]) + "\r\n"


def swaks(*arguments):
    """Runs swaks from the laboratory's own place."""
    done = subprocess.run(["swaks", "--timeout", str(PATIENCE // 2), *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode != 0:
        raise SystemExit(f"swaks {arguments}: exit status {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def entries_cut_off(log):
    """The entries whose attempts were cut off, as a server named them at its start: those that may have arrived, and the
    others."""
    return re.findall(r"may have arrived.*? entry=(\d+)", log), re.findall(r"cut off before the end.*? entry=(\d+)", log)


def exists(path):
    return pathlib.Path(path).exists()
