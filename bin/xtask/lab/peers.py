"""Other people's servers: Postfix with DANE and SASL (Dovecot's), and Dante as a SOCKS proxy."""

import os
import pathlib
import pwd
import shutil

from network import Host, Process, listens, run

SERVICES = """\
smtp      inet  n  -  n  -     -  smtpd
submission inet n  -  n  -     -  smtpd
  -o smtpd_tls_security_level=encrypt
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_relay_restrictions=permit_sasl_authenticated,reject
  -o mynetworks=127.0.0.1
pickup    unix  n  -  n  60    1  pickup
cleanup   unix  n  -  n  -     0  cleanup
qmgr      unix  n  -  n  300   1  qmgr
tlsmgr    unix  -  -  n  1000? 1  tlsmgr
rewrite   unix  -  -  n  -     -  trivial-rewrite
bounce    unix  -  -  n  -     0  bounce
defer     unix  -  -  n  -     0  bounce
trace     unix  -  -  n  -     0  bounce
verify    unix  -  -  n  -     1  verify
flush     unix  n  -  n  1000? 0  flush
proxymap  unix  -  -  n  -     -  proxymap
smtp      unix  -  -  n  -     -  smtp
relay     unix  -  -  n  -     -  smtp
showq     unix  n  -  n  -     -  showq
error     unix  -  -  n  -     -  error
retry     unix  -  -  n  -     -  error
virtual   unix  -  n  n  -     -  virtual
anvil     unix  -  -  n  -     1  anvil
scache    unix  -  -  n  -     1  scache
postlog   unix-dgram n -  n  -  1  postlogd
"""


class Postfix:
    """Takes mail for its domain into maildirs, relays for the laboratory with DANE, and for users with a password."""

    def __init__(self, directory, domain, address, certificate, key, user, password):
        self.domain, self.address, self.name = domain, address, f"mx.{domain}"
        self.host = Host("postfix", address)
        self.directory = directory / "postfix"
        self.log = self.directory / "log"
        ids = pwd.getpwnam("postfix")
        for folder in ["", "etc", "spool", "data", "mail"]:
            (self.directory / folder).mkdir()
        os.chown(self.directory / "data", ids.pw_uid, -1)
        os.chown(self.directory / "mail", ids.pw_uid, ids.pw_gid)
        self.dovecot(user, password, ids)
        (self.directory / "etc/main.cf").write_text(f"""
compatibility_level = 3.6
queue_directory = {self.directory}/spool
data_directory = {self.directory}/data
maillog_file = {self.log}
maillog_file_prefixes = {self.directory}
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = {address}
inet_protocols = ipv4
mynetworks = 10.53.255.0/24
myhostname = {self.name}
mydestination =
alias_maps =
virtual_mailbox_domains = {domain}
virtual_mailbox_maps = static:all/
virtual_mailbox_base = {self.directory}/mail
virtual_uid_maps = static:{ids.pw_uid}
virtual_gid_maps = static:{ids.pw_gid}
virtual_minimum_uid = 1
smtp_dns_support_level = dnssec
smtp_tls_security_level = dane
smtp_tls_loglevel = 1
smtpd_tls_security_level = may
smtpd_tls_loglevel = 1
smtpd_tls_received_header = yes
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_sasl_type = dovecot
smtpd_sasl_path = {self.directory}/spool/auth
""")
        (self.directory / "etc/master.cf").write_text(SERVICES)
        self.process = Process(self.host, "postfix", self.directory / "output", "/usr/sbin/postfix", "-c",
                               self.directory / "etc", "start-fg")
        self.process.wait_for(listens(address, 25))
        self.process.wait_for(listens(address, 587))

    def dovecot(self, user, password, ids):
        """Its authentication alone."""
        own = self.directory / "dovecot"
        own.mkdir()
        (own / "users").write_text(f"{user}:{{PLAIN}}{password}::::::\n")
        (own / "dovecot.conf").write_text(f"""
protocols =
base_dir = {own}/run
state_dir = {own}/state
instance_name = lab
log_path = {own}/log
ssl = no
auth_mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256
passdb {{
  driver = passwd-file
  args = {own}/users
}}
userdb {{
  driver = static
  args = uid={ids.pw_uid} gid={ids.pw_gid} home=/nonexistent
}}
service auth {{
  unix_listener {self.directory}/spool/auth {{
    mode = 0600
    user = postfix
  }}
}}
""")
        process = Process(self.host, "dovecot", own / "output", "/usr/sbin/dovecot", "-F", "-c", own / "dovecot.conf")
        process.wait_for((self.directory / "spool/auth").is_socket)

    def text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def mail(self):
        """The messages that it delivered to its own mailboxes."""
        return [file.read_text(errors="replace") for file in sorted((self.directory / "mail").glob("**/new/*"))]


class Dante:
    """A SOCKS5 proxy."""

    def __init__(self, programs, directory, address):
        self.address = address
        self.host = Host("proxy", address)
        own = directory / "dante"
        own.mkdir()
        program = own / "danted"
        shutil.copy(pathlib.Path(programs) / "usr/sbin/danted", program)
        (own / "danted.conf").write_text(f"""
logoutput: {own}/log
internal: {address} port = 1080
external: {address}
socksmethod: none
clientmethod: none
user.privileged: root
user.unprivileged: nobody
client pass {{
  from: 10.0.0.0/8 to: 0.0.0.0/0
  log: connect
}}
socks pass {{
  from: 10.0.0.0/8 to: 0.0.0.0/0
  protocol: tcp
  command: connect
  log: connect disconnect
}}
""")
        self.log = own / "log"
        self.process = Process(self.host, "danted", own / "output", program, "-f", own / "danted.conf", "-p", own / "pid")
        self.process.wait_for(listens(address, 1080))

    def text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""


def postfix_version():
    return run("/usr/sbin/postconf", "-d", "-h", "mail_version").strip()
