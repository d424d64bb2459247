//! A directory of any size as a text, and how quickly its addresses are found.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use postrider_proto::sasl::wire;

use crate::client::{Client, Security};
use crate::figures::Latencies;

/// Accounts of one domain.
const PER_DOMAIN: usize = 300;
/// Members of the alias that each domain has.
const MEMBERS: usize = 5;
/// The pause between two recipients that are asked for.
const PAUSE: Duration = Duration::from_millis(2);
/// Recipients that one connection asks for.
const RECIPIENTS: usize = 500;

/// Numbers that look random, and are the same each time.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 16
    }

    /// So many octets in base64.
    fn base64(&mut self, octets: usize) -> String {
        let octets: Vec<u8> = (0..octets).map(|_| self.next() as u8).collect();
        wire::encode(&octets)
    }
}

fn domain(number: usize) -> String {
    format!("d{number:05}.example")
}

/// An address of an account; each has two.
fn address(account: usize, which: usize) -> String {
    let name = ["person", "p"][which % 2];
    format!("{name}{account:07}@{}", domain(account / PER_DOMAIN))
}

/// Writes a directory with so many accounts: two addresses, a quota and verifiers of a password each, 300 in a
/// domain, which has an alias. Verifiers are random, so nobody can log in.
pub fn write(file: &Path, accounts: usize) -> Result<u64> {
    let mut out = BufWriter::new(File::create(file)?);
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    writeln!(out, "version = 1")?;
    for number in 0..accounts.div_ceil(PER_DOMAIN) {
        writeln!(out, "\n[domain.\"{}\"]\nseparators = [\"+\"]", domain(number))?;
    }
    for number in 0..accounts {
        let domain_of = domain(number / PER_DOMAIN);
        let salts = [chance.base64(16), chance.base64(16)];
        let [stored, server] = [chance.base64(32), chance.base64(32)];
        let [stored_1, server_1] = [chance.base64(20), chance.base64(20)];
        let [inner, outer] = [chance.base64(16), chance.base64(16)];
        writeln!(
            out,
            "\n[account.person{number:07}]\ndomain = \"{domain_of}\"\nfull_name = \"Person {number}\"\n\
             quota = 1000000000\ncredentials = [\n  \"SCRAM-SHA-256$4096:{}${stored}:{server}\",\n  \
             \"SCRAM-SHA-1$4096:{}${stored_1}:{server_1}\",\n  \"CRAM-MD5${inner}:{outer}\",\n]\n\
             addresses = [\"{}\", \"{}\"]",
            salts[0],
            salts[1],
            address(number, 0),
            address(number, 1)
        )?;
    }
    for number in 0..accounts.div_ceil(PER_DOMAIN) {
        let first = number * PER_DOMAIN;
        let members: Vec<String> = (first..accounts.min(first + MEMBERS))
            .map(|account| format!("\"{}\"", address(account, 0)))
            .collect();
        writeln!(out, "\n[alias.\"all@{}\"]\nmembers = [{}]", domain(number), members.join(", "))?;
    }
    Ok(out.into_inner()?.metadata()?.len())
}

/// Asks for recipients, half of them addresses of the directory above, while `work` runs.
pub fn look_up<T>(target: &str, accounts: usize, work: impl FnOnce() -> Result<T>) -> Result<(T, Latencies)> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| -> Result<Latencies> {
            let mut latencies = Latencies::new();
            let mut chance = Chance(1);
            while !done.load(Ordering::Acquire) {
                let before = latencies.count();
                let asked = ask(target, accounts, &mut chance, &mut latencies, &done);
                // Who asks for nobody again and again is sent away; that is no matter when it was answered.
                if latencies.count() == before {
                    asked?;
                }
            }
            Ok(latencies)
        });
        let worked = work();
        done.store(true, Ordering::Release);
        let latencies = asking.join().map_err(|_| anyhow::anyhow!("the client that asks panicked"))??;
        Ok((worked?, latencies))
    })
}

/// One connection. Whether there is such an address depends on how far the directory is: both are answers.
fn ask(
    target: &str,
    accounts: usize,
    chance: &mut Chance,
    latencies: &mut Latencies,
    done: &AtomicBool,
) -> Result<()> {
    let mut client = Client::connect(target, Security::Plain)?;
    client.say_hello()?;
    for number in 0..RECIPIENTS {
        if done.load(Ordering::Acquire) {
            break;
        }
        let account = chance.next() as usize % accounts;
        let address = if number.is_multiple_of(2) {
            address(account, number / 2)
        } else {
            format!("nobody{account}@{}", domain(account / PER_DOMAIN))
        };
        client.send(b"MAIL FROM:<>\r\n")?;
        client.expect_reply("250")?;
        let begun = Instant::now();
        client.send(format!("RCPT TO:<{address}>\r\n").as_bytes())?;
        client.expect_reply("")?;
        latencies.record(begun.elapsed());
        client.send(b"RSET\r\n")?;
        client.expect_reply("250")?;
        std::thread::sleep(PAUSE);
    }
    client.send(b"QUIT\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_all_that_was_asked_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("directory");
        let octets = write(&file, PER_DOMAIN + 2).expect("a file");
        let text = std::fs::read_to_string(&file).expect("a text");
        assert_eq!(octets, text.len() as u64);
        let count = |what: &str| text.lines().filter(|line| line.starts_with(what)).count();
        assert_eq!((count("[domain"), count("[account"), count("[alias")), (2, PER_DOMAIN + 2, 2));
        let last = format!("members = [\"{}\", \"{}\"]", address(PER_DOMAIN, 0), address(PER_DOMAIN + 1, 0));
        assert!(text.ends_with(&format!("{last}\n")), "{last}");
    }
}
