//! Whether deleted mail gives its disk space back, and how soon.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use argh::FromArgs;

use crate::client::{Client, Login, Security};
use crate::figures::Latencies;
use crate::process::{self, Disk};
use crate::smtp::{self, Load};

/// How often the disk is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Messages that one STORE marks.
const MARKED_TOGETHER: usize = 250;
/// How long writes of what was stored before may take to settle.
const SETTLE: Duration = Duration::from_secs(5);
/// So much of what was deleted counts as all of it: files that hold little that was deleted are left alone.
const ENOUGH: f64 = 0.8;

/// Store messages, delete half of them by STORE and EXPUNGE, and watch the size of the data directory.
#[derive(FromArgs)]
#[argh(subcommand, name = "space")]
pub struct Space {
    /// the server's data directory
    #[argh(option)]
    dir: PathBuf,
    /// where SMTP is (default 127.0.0.1:1025)
    #[argh(option, default = "String::from(\"127.0.0.1:1025\")")]
    smtp: String,
    /// where IMAP with TLS is (default 127.0.0.1:1993)
    #[argh(option, default = "String::from(\"127.0.0.1:1993\")")]
    imap: String,
    /// megabytes that are stored (default 400)
    #[argh(option, default = "400")]
    megabytes: usize,
    /// octets of a message's body (default 40960)
    #[argh(option, default = "40_960")]
    size: usize,
    /// seconds that are waited at most (default 300)
    #[argh(option, default = "300")]
    seconds: u64,
    /// the account's address; its Inbox should be empty (default user@localhost)
    #[argh(option, default = "String::from(\"user@localhost\")")]
    user: String,
    /// its password (default localserve)
    #[argh(option, default = "String::from(\"localserve\")")]
    password: String,
}

/// What is done, and where.
pub struct Plan<'a> {
    /// The server's data directory.
    pub dir: &'a Path,
    /// SMTP.
    pub smtp: &'a str,
    /// IMAP with TLS.
    pub imap: &'a str,
    /// The account.
    pub login: &'a Login,
    /// Messages that are stored.
    pub messages: usize,
    /// Octets of a message's body.
    pub size: usize,
    /// How long it is waited at most.
    pub wait: Duration,
}

/// How the disk use of the data directory went.
pub struct Course {
    /// Octets before, with everything stored, right after deleting, and at the end, without journals.
    pub octets: [u64; 4],
    /// The most octets that journals took.
    pub journals: u64,
    /// Octets of the bodies that were deleted.
    pub deleted: u64,
    /// How long STORE and EXPUNGE took.
    pub deleting: Duration,
    /// From EXPUNGE until most of it was free; none when that didn't come.
    pub free_after: Option<Duration>,
    /// The most octets after the deletion, without journals.
    pub most: u64,
    /// How long reading one message took meanwhile.
    pub reads: Latencies,
}

impl Course {
    /// The share of the deleted octets that came back.
    pub fn share(&self) -> f64 {
        let [_, stored, _, end] = self.octets;
        (stored as f64 - end as f64) / self.deleted as f64
    }
}

pub fn run(scenario: &Space) -> Result<()> {
    let login = Login { user: scenario.user.clone(), password: scenario.password.clone() };
    let course = measure(&Plan {
        dir: &scenario.dir,
        smtp: &scenario.smtp,
        imap: &scenario.imap,
        login: &login,
        messages: scenario.megabytes * 1_000_000 / scenario.size,
        size: scenario.size,
        wait: Duration::from_secs(scenario.seconds),
    })?;
    let [before, stored, expunged, end] = course.octets.map(megabytes);
    println!(
        "space: {before} before, {stored} with all stored, {} deleted in {:.1} s, {expunged} right after, \
         at most {}, {end} at the end: {:.0} % came back{}; journals beside that at most {}; reads \
         meanwhile: {}",
        megabytes(course.deleted),
        course.deleting.as_secs_f64(),
        megabytes(course.most),
        course.share() * 100.0,
        course.free_after.map_or_else(String::new, |after| format!(" after {:.1} s", after.as_secs_f64())),
        megabytes(course.journals),
        course.reads.describe()
    );
    Ok(())
}

/// `12.3 MB`
pub fn megabytes(octets: u64) -> String {
    format!("{:.1} MB", octets as f64 / 1e6)
}

/// Stores, deletes every other message, and waits until most of that space is free.
pub fn measure(plan: &Plan<'_>) -> Result<Course> {
    let before = process::disk(plan.dir).others;
    smtp::deliver(&Load {
        target: plan.smtp.to_owned(),
        connections: 16,
        messages: plan.messages,
        size: plan.size,
        recipient: plan.login.user.clone(),
        accounts: 1,
    })?;
    std::thread::sleep(SETTLE);
    let Disk { journals, others: stored } = process::disk(plan.dir);
    let begun = Instant::now();
    let deleted = delete_half(plan)?;
    let deleting = begun.elapsed();
    let expunged = process::disk(plan.dir).others;

    let mut reader = Client::log_in(plan.imap, Security::Tls, plan.login)?;
    let left = reader.exists("Inbox")?;
    let begun = Instant::now();
    let mut course = Course {
        octets: [before, stored, expunged, expunged],
        journals,
        deleted: (deleted * plan.size) as u64,
        deleting,
        free_after: None,
        most: expunged,
        reads: Latencies::new(),
    };
    let mut at = 0;
    while course.free_after.is_none() && begun.elapsed() < plan.wait {
        let looked = Instant::now();
        while looked.elapsed() < LOOK_EVERY {
            at = (at + 7919) % left;
            let read = Instant::now();
            reader.imap(&format!("FETCH {} (BODY.PEEK[])", at + 1))?;
            course.reads.record(read.elapsed());
            std::thread::sleep(Duration::from_millis(5));
        }
        let Disk { journals, others } = process::disk(plan.dir);
        course.octets[3] = others;
        course.most = course.most.max(others);
        course.journals = course.journals.max(journals);
        if course.share() >= ENOUGH {
            course.free_after = Some(begun.elapsed());
        }
    }
    Ok(course)
}

/// Deletes every other message of Inbox; says how many.
fn delete_half(plan: &Plan<'_>) -> Result<usize> {
    let mut client = Client::log_in(plan.imap, Security::Tls, plan.login)?;
    let messages = client.exists("Inbox")?;
    ensure!(messages >= plan.messages, "only {messages} of {} messages are there", plan.messages);
    let doomed: Vec<String> = (1..=messages).step_by(2).map(|number| number.to_string()).collect();
    for some in doomed.chunks(MARKED_TOGETHER) {
        client.imap(&format!("STORE {} +FLAGS.SILENT (\\Deleted)", some.join(",")))?;
    }
    client.imap("EXPUNGE")?;
    client.imap("LOGOUT").map(drop)?;
    Ok(doomed.len())
}
