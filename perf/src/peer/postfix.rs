//! Postfix with a configuration of its own.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

pub const PROGRAM: &str = "/usr/sbin/postfix";
/// Where it logs, below the directory.
pub(super) const LOG: &str = "postfix.log";

/// What Debian's `master.cf` has and delivery needs, without chroot, which needs files of the system.
const SERVICES: &str = "\
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
proxywrite unix -  -  n  -     1  proxymap
smtp      unix  -  -  n  -     -  smtp
relay     unix  -  -  n  -     -  smtp
showq     unix  n  -  n  -     -  showq
error     unix  -  -  n  -     -  error
retry     unix  -  -  n  -     -  error
discard   unix  -  -  n  -     -  discard
local     unix  -  n  n  -     -  local
virtual   unix  -  n  n  -     -  virtual
lmtp      unix  -  -  n  -     -  lmtp
anvil     unix  -  -  n  -     1  anvil
scache    unix  -  -  n  -     1  scache
postlog   unix-dgram n -  n  -  1  postlogd
";

/// Where it hands mail over to.
pub enum Next<'a> {
    /// The mailboxes of its domain, by LMTP.
    Mailboxes(&'a Path),
    /// A server on this port of loopback, for all mail, which comes over TLS from the start; with so many connections to
    /// it when that is said.
    Relay { port: u16, connections: Option<u16> },
}

/// Starts it in the foreground, on this port of loopback.
pub fn start(dir: &Path, port: u16, domain: &str, next: &Next<'_>) -> Result<Child> {
    let config = dir.join("postfix");
    for folder in ["postfix", "spool", "postfix-data"] {
        fs::create_dir(dir.join(folder))?;
    }
    let (next, options) = match next {
        Next::Mailboxes(lmtp) => {
            let lmtp = lmtp.display();
            (
                format!(
                    "virtual_mailbox_domains = {domain}\nvirtual_mailbox_maps = static:ok\n\
                     virtual_transport = lmtp:unix:{lmtp}\n"
                ),
                "",
            )
        }
        Next::Relay { port, connections } => {
            let file = config.join("certificate.pem");
            write_certificate(&file, domain)?;
            let file = file.display();
            let most = connections.map(|most| format!("smtp_destination_concurrency_limit = {most}\n"));
            let most = most.unwrap_or_default();
            (
                format!(
                    "relayhost = [127.0.0.1]:{port}\nsmtp_tls_security_level = none\n{most}\
                     smtpd_tls_chain_files = {file}\nsmtpd_tls_security_level = may\n"
                ),
                " -o smtpd_tls_wrappermode=yes",
            )
        }
    };
    let at = dir.display();
    let (group, user) = ("postdrop", "postfix");
    std::os::unix::fs::chown(dir.join("postfix-data"), Some(id_of("-u", user)?), None)?;
    fs::write(
        config.join("main.cf"),
        format!(
            "compatibility_level = 3.6\n\
             queue_directory = {at}/spool\n\
             data_directory = {at}/postfix-data\n\
             maillog_file = {at}/{LOG}\n\
             maillog_file_prefixes = {at}\n\
             mail_owner = {user}\n\
             setgid_group = {group}\n\
             inet_interfaces = 127.0.0.1\n\
             inet_protocols = ipv4\n\
             mynetworks = 127.0.0.0/8\n\
             myhostname = mail.{domain}\n\
             mydestination =\n\
             alias_maps =\n\
             {next}\
             smtpd_client_connection_count_limit = 0\n\
             smtpd_client_connection_rate_limit = 0\n\
             message_size_limit = 104857600\n\
             mailbox_size_limit = 0\n"
        ),
    )?;
    let listener = format!("127.0.0.1:{port} inet  n  -  n  -  -  smtpd{options}\n");
    fs::write(config.join("master.cf"), listener + SERVICES)?;
    Command::new(PROGRAM)
        .arg("-c")
        .arg(&config)
        .arg("start-fg")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::options().create(true).append(true).open(dir.join(LOG))?)
        .spawn()
        .context("postfix could not be started")
}

/// Writes a key and a certificate of its own, of the kind that the server makes for itself.
fn write_certificate(file: &Path, domain: &str) -> Result<()> {
    let made = rcgen::generate_simple_self_signed([format!("mail.{domain}")])?;
    Ok(fs::write(file, made.signing_key.serialize_pem() + &made.cert.pem())?)
}

pub fn stop(dir: &Path) -> Result<()> {
    let output = Command::new(PROGRAM).arg("-c").arg(dir.join("postfix")).arg("stop").output()?;
    ensure!(output.status.success(), "postfix stop: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

pub fn version() -> String {
    let output = Command::new("/usr/sbin/postconf").args(["-d", "-h", "mail_version"]).output();
    output.map_or_else(|_| "?".into(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The number of a user.
pub(super) fn id_of(what: &str, name: &str) -> Result<u32> {
    let output = Command::new("id").args([what, name]).output().context("id")?;
    String::from_utf8_lossy(&output.stdout).trim().parse().with_context(|| format!("there is no {name}"))
}
