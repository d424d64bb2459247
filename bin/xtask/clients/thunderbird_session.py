"""Two starts of Thunderbird: it sets an account up, reads, flags, moves and deletes, and its second start
resynchronises with what another client did meanwhile.

Thunderbird runs headless and is driven by Marionette: scripts in its own code's context.
"""

import imaplib
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time

from marionette_driver.marionette import Marionette

PORT, TLS_PORT, USER, PASSWORD, CERTIFICATE = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:6]
CONTEXT = ssl.create_default_context(cafile=CERTIFICATE)
HOME = tempfile.mkdtemp()
PROFILE = os.path.join(HOME, "profile")
MARIONETTE_PORT = 2829
SECONDS = 180

PREFERENCES = {
    "app.update.enabled": False,
    "app.donation.eoy.version.viewed": 999,
    "browser.dom.window.dump.enabled": True,
    "datareporting.policy.dataSubmissionEnabled": False,
    "mail.provider.suppress_dialog_on_startup": True,
    "mail.spotlight.firstRunDone": True,
    "mail.winsearch.firstRunDone": True,
    "mail.shell.checkDefaultClient": False,
    "mail.startup.enabledMailCheckOnce": True,
    "mailnews.start_page.enabled": False,
    "mailnews.database.global.indexer.enabled": False,
    "marionette.port": MARIONETTE_PORT,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "toolkit.telemetry.enabled": False,
    "mail.server.default.use_condstore": True,
    "mail.imap.use_condstore": True,
}

ACCOUNT = """
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const [user, password, port, certificate] = arguments;
const database = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB);
const body = certificate.replace(/-----[A-Z ]+-----/g, "").replace(/\\s/g, "");
const override = Cc["@mozilla.org/security/certoverride;1"].getService(Ci.nsICertOverrideService);
override.rememberValidityOverride("localhost", port, {}, database.constructX509FromBase64(body), false);
const server = MailServices.accounts.createIncomingServer(user, "localhost", "imap");
server.port = port;
server.socketType = Ci.nsMsgSocketType.SSL;
server.authMethod = Ci.nsMsgAuthMethod.passwordCleartext;
server.password = password;
server.valid = true;
server.loginAtStartUp = true;
const identity = MailServices.accounts.createIdentity();
identity.email = user;
identity.valid = true;
const account = MailServices.accounts.createAccount();
account.addIdentity(identity);
account.incomingServer = server;
MailServices.accounts.defaultAccount = account;
const login = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
login.init("imap://localhost", null, "imap://localhost", user, password, "", "");
Services.logins.addLoginAsync(login);
server.performExpand(null);
"""

# Runs `work` with the inbox, and tells what it gives.
INBOX = """
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const server = MailServices.accounts.allServers.find(server => server.type == "imap");
const root = server.rootFolder;
const inbox = root.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox);
const headers = folder => [...folder.messages];
const named = (folder, subject) => headers(folder).find(header => header.subject == subject);
"""

FOLDERS = INBOX + "return [...root.descendants].map(folder => folder.name);"
UPDATE = INBOX + "inbox?.updateFolder(null);"
SUBJECTS = INBOX + (
    "return inbox ? headers(inbox).map(header => [header.subject, header.isRead, header.isFlagged]) : [];"
)
READ = INBOX + """
const resolve = arguments[arguments.length - 1];
const header = named(inbox, "message 1");
const uri = inbox.getUriForMsg(header);
const service = MailServices.messageServiceFromURI(uri);
let text = "";
service.streamMessage(uri, {
  onStartRequest() {},
  onDataAvailable(request, input, offset, count) {
    const scriptable = Cc["@mozilla.org/scriptableinputstream;1"].createInstance(Ci.nsIScriptableInputStream);
    scriptable.init(input);
    text += scriptable.read(count);
  },
  onStopRequest(request, status) { header.folder.markMessagesRead([header], true); resolve(text); },
  QueryInterface: ChromeUtils.generateQI(["nsIStreamListener"]),
}, null, null, false, "", false);
"""
FLAG = INBOX + 'inbox.markMessagesFlagged([named(inbox, "message 2")], true);'
MOVE = INBOX + """
const archive = [...root.descendants].find(folder => folder.name == "Archive");
MailServices.copy.copyMessages(inbox, [named(inbox, "message 3")], archive, true, null, null, false);
"""
DELETE = INBOX + 'inbox.deleteMessages([named(inbox, "message 4")], null, false, false, null, false);'
QUIT = "Services.startup.quit(Ci.nsIAppStartup.eAttemptQuit);"


class Thunderbird:
    """A running Thunderbird."""

    def __init__(self):
        os.makedirs(PROFILE, exist_ok=True)
        with open(os.path.join(PROFILE, "user.js"), "w") as file:
            for name, value in PREFERENCES.items():
                text = {True: "true", False: "false"}.get(value, value) if isinstance(value, bool) else value
                file.write(f'user_pref("{name}", {text});\n')
        environment = {**os.environ, "HOME": HOME, "MOZ_HEADLESS": "1", "MOZ_LOG": "IMAP:4,sync", "MOZ_LOG_FILE": os.path.join(HOME, "log")}
        # However this one ends, that doesn't stay.
        self.process = subprocess.Popen(
            ["/usr/bin/setpriv", "--pdeathsig", "KILL", "/usr/bin/thunderbird", "--headless", "--no-remote", "--marionette", "--remote-allow-system-access", "--profile", PROFILE],
            env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        self.marionette = Marionette(host="127.0.0.1", port=MARIONETTE_PORT, socket_timeout=SECONDS, startup_timeout=SECONDS)
        self.marionette.raise_for_port(timeout=SECONDS)
        self.marionette.start_session()
        self.marionette.set_context("chrome")
        self.marionette.timeout.script = SECONDS

    def run(self, script, *arguments):
        return self.marionette.execute_script(script, script_args=arguments)

    def run_to_end(self, script, *arguments):
        return self.marionette.execute_async_script(script, script_args=arguments)

    def wait(self, script, until, what):
        """Runs a script until its result is as wanted."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            found = self.run(script)
            if until(found):
                return found
            time.sleep(0.5)
        raise AssertionError(f"{what}: {found}")

    def quit(self):
        try:
            self.run(QUIT)
        except Exception:
            # It may be gone before it answers.
            pass
        self.process.wait(timeout=SECONDS)


def connect():
    client = imaplib.IMAP4_SSL("localhost", TLS_PORT, ssl_context=CONTEXT, timeout=SECONDS)
    client.login(USER, PASSWORD)
    return client


def flags(client, mailbox):
    """Subject and flags of each message that isn't marked as deleted."""
    client.select(mailbox, readonly=True)
    _, rows = client.fetch("1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (Subject)])")
    found = {}
    for row in rows:
        if isinstance(row, tuple):
            subject = row[1].decode().split(":", 1)[1].strip()
            found[subject] = set(imaplib.ParseFlags(row[0]))
    return {subject: flags for subject, flags in found.items() if b"\\Deleted" not in flags}


def wait_for(client, mailbox, until, what):
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        found = flags(client, mailbox)
        if until(found):
            return
        time.sleep(0.5)
    raise AssertionError(f"{what}: {found}")


def spoken():
    """What Thunderbird said to the server."""
    text = ""
    for name in os.listdir(HOME):
        if name.startswith("log"):
            with open(os.path.join(HOME, name), errors="replace") as file:
                text += file.read()
    return text


def main():
    client = connect()
    for number in range(1, 6):
        text = f"From: a@example.org\r\nTo: {USER}\r\nSubject: message {number}\r\nMessage-ID: <t{number}@example.org>\r\n\r\nText {number}.\r\n"
        assert client.append("INBOX", None, None, text.encode())[0] == "OK"
    with open(CERTIFICATE) as file:
        certificate = file.read()

    thunderbird = Thunderbird()
    try:
        thunderbird.run(ACCOUNT, USER, PASSWORD, TLS_PORT, certificate)
        thunderbird.wait(FOLDERS, lambda names: {"INBOX", "Archive", "Trash"} <= set(names), "folders")
        thunderbird.run(UPDATE)
        thunderbird.wait(SUBJECTS, lambda rows: len(rows) == 5, "five messages")
        text = thunderbird.run_to_end(READ)
        assert "Text 1." in text, text
        thunderbird.run(FLAG)
        thunderbird.run(MOVE)
        thunderbird.run(DELETE)
        wait_for(client, "INBOX", lambda found: set(found) == {"message 1", "message 2", "message 5"}, "moved and deleted")
        wait_for(client, "INBOX", lambda found: b"\\Seen" in found["message 1"], "read")
        wait_for(client, "INBOX", lambda found: b"\\Flagged" in found["message 2"], "flagged")
        wait_for(client, "Archive", lambda found: set(found) == {"message 3"}, "in Archive")
        wait_for(client, "Trash", lambda found: set(found) == {"message 4"}, "in Trash")
    finally:
        thunderbird.quit()

    # Another client goes on while Thunderbird is away.
    client.select("INBOX")
    client.store("1", "+FLAGS", "(\\Deleted)")
    client.expunge()
    client.store("1", "-FLAGS", "(\\Flagged)")
    text = f"From: a@example.org\r\nTo: {USER}\r\nSubject: message 6\r\n\r\nText.\r\n"
    client.append("INBOX", None, None, text.encode())
    client.close()

    thunderbird = Thunderbird()
    try:
        thunderbird.run(UPDATE)
        subjects = lambda rows: {row[0] for row in rows} == {"message 2", "message 5", "message 6"}
        rows = thunderbird.wait(SUBJECTS, subjects, "what is there after the second start")
        thunderbird.wait(SUBJECTS, lambda rows: not any(row[2] for row in rows), "no flagged message")
    finally:
        thunderbird.quit()
    said = spoken()
    assert "(CHANGEDSINCE " in said, "the second start asks for changes only"
    client.logout()
    shutil.rmtree(HOME, ignore_errors=True)


main()
