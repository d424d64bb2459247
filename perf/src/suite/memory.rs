//! Memory, and disk space.

use std::time::Duration;

use anyhow::Result;

use super::Bench;
use super::server::Server;
use crate::client::{Login, Security};
use crate::idle::{self, Left};
use crate::space::{self, Plan, megabytes};
use crate::table::Row;
use crate::{large, process};

/// The store that mail is delivered to.
const STORE: &str = "mail";
/// How long the memory of a server that has just started may take to settle.
const SETTLE: Duration = Duration::from_secs(1);
/// How long it is waited for the space of deleted mail.
const SPACE_MAX: Duration = Duration::from_secs(300);

/// KiB as MiB.
pub fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// The resident memory of a server that has nothing to do.
pub fn at_start(bench: &mut Bench) -> Result<()> {
    // The first start makes keys, accounts and the store.
    bench.server(STORE)?;
    let pid = bench.restart(STORE)?.pid();
    std::thread::sleep(SETTLE);
    let (resident, _) = process::resident_kib(pid)?;
    let row = Row::new("resident after start", format!("{:.1} MiB", mib(resident)));
    bench.row(row.floor("under 40 MiB", resident < 40 * 1024));
    Ok(())
}

/// What idle connections hold.
pub fn idle(bench: &mut Bench) -> Result<()> {
    let connections = bench.sizes.idle;
    for (security, name, floor) in [(Security::Plain, "", 10.0), (Security::Tls, " with TLS", 18.0)] {
        // Memory that was freed before would hide what is taken.
        let server = bench.restart(STORE)?;
        let (pid, ports) = (server.pid(), server.ports());
        let target = if security == Security::Tls { ports.imaps() } else { ports.imap() };
        let login: Login = Server::login(0);
        let cost = idle::measure(pid, connections, || idle::open(&target, security, &login, Left::Silent))?;
        let title = format!("each of {connections} idle connections{name}");
        let row =
            Row::new(title, format!("{:.1} KiB, {:.2} % of a core together", cost.each, cost.core * 100.0));
        bench.row(row.floor(format!("under {floor} KiB"), cost.each < floor));
    }
    Ok(())
}

/// The most memory while very large messages come and go.
pub fn large_messages(bench: &mut Bench) -> Result<()> {
    let (size, at_once) = (bench.sizes.large, bench.sizes.large_at_once);
    let server = bench.restart("large")?;
    let (pid, ports) = (server.pid(), server.ports());
    let login = Server::login(0);
    let received = large::receive(&ports.smtp(), &login.user, at_once, size, pid)?;
    let fetched = large::fetch(&ports.imaps(), &login, at_once, size, pid)?;
    for (what, moved) in [("received", received), ("fetched", fetched)] {
        let title = format!("{at_once} messages of {} {what} at once", megabytes(size as u64));
        let rate = (at_once * size) as f64 / 1e6 / moved.seconds;
        let row = Row::new(title, format!("{:.1} MiB resident, {rate:.0} MB/s", mib(moved.peak_kib)));
        bench.row(row.floor("under 96 MiB", moved.peak_kib < 96 * 1024));
    }
    Ok(())
}

/// Whether the space of deleted mail comes back.
pub fn space(bench: &mut Bench) -> Result<()> {
    let (total, size) = (bench.sizes.megabytes, bench.sizes.body * 4);
    let server = bench.restart("space")?;
    let ports = server.ports();
    let course = space::measure(&Plan {
        dir: &server.data(),
        smtp: &ports.smtp(),
        imap: &ports.imaps(),
        login: &Server::login(0),
        messages: total * 1_000_000 / size,
        size,
        wait: SPACE_MAX,
    })?;
    let [_, stored, expunged, end] = course.octets.map(megabytes);
    let title = format!(
        "disk of {total} MB of mail without journals, half deleted in {:.1} s",
        course.deleting.as_secs_f64()
    );
    bench.row(Row::new(title, format!("{stored}, then {expunged}, then {end}")));
    let after =
        course.free_after.map_or_else(String::new, |after| format!(" after {:.0} s", after.as_secs_f64()));
    let row = Row::new("deleted octets that came back", format!("{:.0} %{after}", course.share() * 100.0));
    bench.row(row.floor("80 %", course.free_after.is_some()));
    let figure = format!("{}, and journals {}", megabytes(course.most), megabytes(course.journals));
    bench.row(Row::new("most disk meanwhile", figure));
    bench.row(Row::new("reading one message meanwhile, p50 / p99 / max", course.reads.cell()));
    Ok(())
}
