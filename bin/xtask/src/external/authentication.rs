//! Mail of other servers with a real DNS server, whose one zone is signed: `swaks` brings good and forged messages that
//! dkimpy and OpenDKIM signed, and what became of them is read back over IMAP.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::run_program;
use crate::localserve::{Localserve, PASSWORD, USER, port, tail};
use crate::{cargo, install};

const LIMIT: Duration = Duration::from_secs(600);
/// How long the DNS server and ours may take to be there.
const START_MAX: Duration = Duration::from_secs(60);

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn script(arguments: &[&str]) -> Command {
    let mut command = Command::new("/usr/bin/python3");
    command.arg(cargo::root().join("bin/xtask/clients/mail_authentication.py")).args(arguments);
    command.env("PYTHONPATH", install::python_packages());
    command
}

/// Waits until `ready` says so.
fn wait_for(what: &str, log: &Path, mut ready: impl FnMut() -> bool) -> Result<()> {
    let begun = Instant::now();
    while !ready() {
        if begun.elapsed() > START_MAX {
            let log = std::fs::read_to_string(log).unwrap_or_default();
            bail!("{what} isn't there after {START_MAX:?}:\n{}", tail(&log));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Knot with the zone, and where its key is.
struct Dns {
    _server: Running,
    resolver: String,
    anchor: PathBuf,
}

impl Dns {
    fn start(binary: &Path, dir: &Path) -> Result<Self> {
        let (program, place) = (text(binary)?, text(dir)?);
        run_program(&mut script(&["prepare", program, place, &port::DNS.to_string()]), LIMIT)?;
        let configuration = dir.join("knot.conf");
        let log = dir.join("knot.log");
        let file = std::fs::File::create(&log)?;
        let server = Command::new("/usr/sbin/knotd")
            .arg("-c")
            .arg(&configuration)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .context("knotd could not be started")?;
        let server = Running(server);
        let resolver = format!("127.0.0.1:{}", port::DNS);
        let answers = || {
            let mut command = Command::new(binary);
            command.args(["dns", "lookup", "--resolver", &resolver, "--mode", "trust", "DNSKEY", "."]);
            command.output().is_ok_and(|output| output.status.success() && !output.stdout.is_empty())
        };
        wait_for("knotd", &log, answers)?;
        let keys = run_program(
            Command::new("/usr/sbin/keymgr").arg("-c").arg(&configuration).args([".", "dnskey"]),
            LIMIT,
        )?;
        let anchor = dir.join("anchor.key");
        std::fs::write(&anchor, keys.stdout)?;
        Ok(Self { _server: server, resolver, anchor })
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is no text", path.display()))
}

pub fn mail_of_others(binary: &Path) -> Result<()> {
    let files = tempfile::tempdir()?;
    let dns = Dns::start(binary, files.path())?;
    let anchor = text(&dns.anchor)?;
    let server = Localserve::start_with(binary, &["--resolver", &dns.resolver, "--trust-anchor", anchor])?;
    let certificate = server.certificate();
    let mut command = script(&["deliver", text(binary)?, text(files.path())?, &dns.resolver, anchor]);
    command.args([port::SMTP.to_string(), port::IMAPS.to_string()]).args([USER, PASSWORD]).arg(certificate);
    run_program(&mut command, LIMIT).with_context(|| tail(&server.log()))?;
    server.stop_and_verify()
}

/// The same with a server that asks a blocklist, which `localserve` can't be told to.
pub fn listed_clients(binary: &Path) -> Result<()> {
    let files = tempfile::tempdir()?;
    let dns = Dns::start(binary, files.path())?;
    let dir = files.path().join("server");
    std::fs::create_dir(&dir)?;
    let configuration = dir.join("postrider.toml");
    std::fs::write(&configuration, configuration_of(&dns)?)?;
    let log = dir.join("log");
    let file = std::fs::File::create(&log)?;
    let server = Command::new(binary)
        .arg("--config")
        .arg(&configuration)
        .arg("serve")
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .context("the server could not be started")?;
    let server = Running(server);
    let command = |arguments: &[&str], input: Option<&str>| -> Result<()> {
        let mut command = Command::new(binary);
        command.arg("--config").arg(&configuration).args(arguments);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("postrider could not be started")?;
        if let Some(mut stdin) = child.stdin.take() {
            std::io::Write::write_all(&mut stdin, input.unwrap_or_default().as_bytes())?;
        }
        let status = child.wait()?;
        if status.success() { Ok(()) } else { bail!("postrider {arguments:?} ended with {status}") }
    };
    wait_for("the server", &log, || command(&["status"], None).is_ok())?;
    command(&["domain", "add", "localhost.example"], None)?;
    command(&["account", "add", "user", "user@localhost.example"], Some(&format!("{PASSWORD}\n")))?;
    let mut delivery = script(&["listed", text(files.path())?]);
    delivery.args([port::SMTP.to_string(), port::IMAPS.to_string()]);
    delivery.args(["user@localhost.example", PASSWORD]).arg(dir.join("data/selfsigned.pem"));
    run_program(&mut delivery, LIMIT)
        .with_context(|| tail(&std::fs::read_to_string(&log).unwrap_or_default()))?;
    command(&["stop"], None)?;
    drop(server);
    Ok(())
}

fn configuration_of(dns: &Dns) -> Result<String> {
    let listener = |name: &str, protocol: &str, port: u16| {
        format!(
            "[[listener]]\nname = \"{name}\"\nprotocol = \"{protocol}\"\naddresses = [\"127.0.0.1:{port}\"]\n"
        )
    };
    Ok(format!(
        "hostname = \"mail.localhost.example\"\ndata_dir = \"data\"\n\
         [tls]\nself_signed = true\n\
         [dns]\nupstreams = [\"{}\"]\nmode = \"validate\"\ntrust_anchors = \"{}\"\n\
         [checks]\nblocklists = [\"bl.example\"]\n\
         [limits.smtp]\nfirst_time_sender_delay = \"0s\"\n\
         {}{}",
        dns.resolver,
        text(&dns.anchor)?,
        listener("mx", "smtp", port::SMTP),
        listener("imaps", "imaps", port::IMAPS),
    ))
}
