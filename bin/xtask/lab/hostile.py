"""An SMTP server that does what it is told to, and a host of MTA-STS policies: both write down what they see.

Arguments: a file with JSON, and a file to which a line of JSON is added for each message that was taken, before it is
acknowledged, and for each connection at its beginning and at its end. The JSON has `hosts`, each with `name`, `address`, and
what it does:

- `certificate`, `key`: files; without them STARTTLS isn't offered
- `offers_starttls`: false to take the command without offering it
- `tls`: "refuse" answers 454 to STARTTLS, "garbage" answers the handshake with what is none, "injected" sends another reply
  together with that to STARTTLS, "hangs up" closes instead of a reply, "wants a certificate" ends TLS 1.3 with an alert behind
  the handshake, since clients show none, "leaves" ends it there in order
- `clear_extensions`, `tls_extensions`: what EHLO says besides, in clear and under TLS
- `pause`: seconds before it acknowledges a message
- `replies`: replies other than usual, by verb (`END` is the end of the content)

and `policies`: `address`, `certificate`, `key`, and `directory`, in which a file for each host holds its policy.
"""

import asyncio
import itertools
import json
import pathlib
import ssl
import sys
import time

LINE_MAX = 1 << 16


class Seen:
    """What was seen of a connection, and its number among all of this process."""

    numbers = itertools.count(1)

    def __init__(self, host, peer, record):
        self.record = record
        self.data = {"host": host, "peer": peer, "number": next(self.numbers), "tls": None, "asked": None, "starttls": False, "lines": [],
                     "messages": 0, "end": "closed"}

    def write(self, kind, **more):
        line = json.dumps({"kind": kind, **self.data, **more})
        with open(self.record, "a") as out:
            out.write(line + "\n")


class Session:
    def __init__(self, host, record, reader, writer):
        self.host, self.reader, self.writer = host, reader, writer
        self.seen = Seen(host["name"], writer.get_extra_info("peername")[0], record)
        self.replies = host.get("replies", {})
        self.mail, self.recipients = None, []

    async def run(self):
        self.seen.write("connected")
        try:
            await self.say(self.replies.get("GREETING", f"220 {self.host['name']} ESMTP"))
            while await self.command():
                pass
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError, ValueError) as error:
            self.seen.data["end"] = f"{type(error).__name__}: {error}"
        finally:
            self.seen.write("connection")
            self.writer.close()

    async def say(self, line):
        self.writer.write(line.encode() + b"\r\n")
        await self.writer.drain()

    async def command(self):
        line = await self.reader.readline()
        if not line:
            return False
        line = line.decode(errors="replace").rstrip("\r\n")
        self.seen.data["lines"].append(line)
        verb = line.split(" ")[0].upper()
        if verb in self.replies:
            await self.say(self.replies[verb])
            return not self.replies[verb].startswith("421")
        act = getattr(self, f"on_{verb.lower()}", None)
        if act is None:
            await self.say("502 5.5.1 what is that")
            return True
        return await act(line)

    async def on_ehlo(self, _line):
        extensions = ["PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"]
        extensions += self.host.get("tls_extensions" if self.seen.data["tls"] else "clear_extensions", [])
        if not self.seen.data["tls"] and "certificate" in self.host and self.host.get("offers_starttls", True):
            extensions.append("STARTTLS")
        lines = [self.host["name"], *extensions]
        for number, line in enumerate(lines, 1):
            self.writer.write(f"250{' ' if number == len(lines) else '-'}{line}\r\n".encode())
        await self.writer.drain()
        return True

    async def on_helo(self, _line):
        await self.say(f"250 {self.host['name']}")
        return True

    async def on_starttls(self, _line):
        self.seen.data["starttls"] = True
        how = self.host.get("tls")
        if how == "refuse" or "certificate" not in self.host:
            await self.say("454 4.7.0 no TLS today")
            return True
        if how == "hangs up":
            return False
        if how == "injected":
            self.writer.write(b"220 2.0.0 go ahead\r\n250 2.0.0 and more\r\n")
            await asyncio.wait_for(self.reader.read(LINE_MAX), 10)
            return False
        await self.say("220 2.0.0 go ahead")
        if how == "garbage":
            await asyncio.wait_for(self.reader.read(LINE_MAX), 10)
            self.writer.write(b"\x00\x01\x02 what a handshake\r\n" * 10)
            await self.writer.drain()
            return False
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.host["certificate"], self.host["key"])

        def asked(_socket, name, _context):
            self.seen.data["asked"] = name

        context.sni_callback = asked
        if how in ("wants a certificate", "leaves"):
            # Before that version the client isn't done with the handshake yet.
            context.minimum_version = ssl.TLSVersion.TLSv1_3
        if how == "wants a certificate":
            context.verify_mode = ssl.CERT_REQUIRED
        await self.writer.start_tls(context)
        if how == "leaves":
            return False
        self.seen.data["tls"] = self.writer.get_extra_info("ssl_object").version()
        return True

    async def on_mail(self, line):
        self.mail, self.recipients = line, []
        await self.say("250 2.1.0 ok")
        return True

    async def on_rcpt(self, line):
        self.recipients.append(line)
        await self.say("250 2.1.5 ok")
        return True

    async def on_data(self, _line):
        if not self.recipients:
            await self.say("503 5.5.1 to whom")
            return True
        await self.say("354 go ahead")
        content = []
        while (line := await self.reader.readline()) != b".\r\n":
            if not line:
                return False
            content.append(line)
        if "END" in self.replies:
            await self.say(self.replies["END"])
            return True
        self.seen.data["messages"] += 1
        self.seen.write("message", mail=self.mail, recipients=self.recipients, at=time.time(),
                        content=b"".join(content).decode("latin-1"))
        await asyncio.sleep(self.host.get("pause", 0))
        await self.say("250 2.0.0 taken")
        return True

    async def on_rset(self, _line):
        await self.say("250 2.0.0 ok")
        return True

    on_noop = on_rset

    async def on_quit(self, _line):
        await self.say("221 2.0.0 bye")
        self.seen.data["end"] = "quit"
        return False


def serve_policy(policies, record):
    """One request for a policy (RFC 8461 §3.3)."""
    async def serve(reader, writer):
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            host = next((line[6:].strip() for line in head.decode().split("\r\n") if line.lower().startswith("host: ")), "")
            Seen(host, writer.get_extra_info("peername")[0], record).write("policy", request=head.decode())
            file = pathlib.Path(policies["directory"]) / host.replace("/", "")
            if head.startswith(b"GET /.well-known/mta-sts.txt HTTP/1.1\r\n") and file.is_file():
                body, status = file.read_bytes(), "200 OK"
            else:
                body, status = b"none here\r\n", "404 Not Found"
            writer.write(f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
                         f"Connection: close\r\n\r\n".encode() + body)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError, ValueError):
            pass
        finally:
            writer.close()
    return serve


async def main():
    settings = json.loads(pathlib.Path(sys.argv[1]).read_text())
    record = sys.argv[2]
    servers = []
    for host in settings.get("hosts", []):
        async def handle(reader, writer, host=host):
            await Session(host, record, reader, writer).run()
        servers.append(await asyncio.start_server(handle, host["address"], 25, limit=LINE_MAX))
    if policies := settings.get("policies"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(policies["certificate"], policies["key"])
        servers.append(await asyncio.start_server(serve_policy(policies, record), policies["address"], 443, ssl=context))
    pathlib.Path(record + ".ready").touch()
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(main())
