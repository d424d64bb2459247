//! Tests against the release binary: with other people's programs, and with our own dialogs and clients.

mod authentication;
mod curl;
mod faults;
pub mod imap;
pub mod lab;
mod load;
mod privileges;
mod python;
mod sendmail;
mod swaks;
mod sync;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::localserve::Localserve;
use crate::program::{run_fed, run_program};
use crate::summary::Summary;
use crate::{cargo, install};

type Test = (&'static str, fn(&Path) -> Result<()>);

/// Tests that make network namespaces, mount or change users.
const NEED_ROOT: &[&str] = &[
    "a_full_disk_is_survived_and_left_behind",
    "dns_answers_are_judged_as_unbound_judges_them",
    "laboratory_shows_what_leaves_and_how",
    "started_as_root_everything_is_the_configured_users",
];

const TESTS: &[Test] = &[
    ("localserve_listens_within_a_second_of_its_start", listens_within_a_second),
    ("imap_dialogs_are_as_written", imap::dialogs),
    ("imap_clients_at_random_know_what_is_there", imap::clients),
    ("swaks_delivers_and_submits_with_each_mechanism", swaks::delivers_and_submits),
    ("swaks_is_refused_where_it_must_be", swaks::is_refused),
    ("swaks_brings_good_and_forged_mail_which_dns_tells_apart", authentication::mail_of_others),
    ("swaks_comes_from_an_address_on_a_blocklist", authentication::listed_clients),
    ("sendmail_submits_with_each_mechanism_and_keeps_what_is_refused", sendmail::submits),
    ("curl_fetches_over_imaps", curl::fetches),
    ("imaplib_runs_a_session", python::imaplib),
    ("imapclient_runs_a_session", python::imapclient),
    ("neomutt_resynchronises_by_its_second_start", python::neomutt),
    ("thunderbird_resynchronises_by_its_second_start", python::thunderbird),
    ("zlib_and_openssl_get_on_with_compression_and_certificates", python::compression_and_certificates),
    ("dkimpy_verifies_our_signatures_and_we_verify_those_of_dkimpy", python::dkimpy),
    ("dns_answers_are_judged_as_unbound_judges_them", python::dns_tree),
    ("laboratory_shows_what_leaves_and_how", lab::laboratory),
    ("mbsync_syncs_both_ways_and_then_finds_nothing_to_do", sync::mbsync),
    ("offlineimap_syncs_both_ways_and_then_finds_nothing_to_do", sync::offlineimap),
    ("a_crash_loses_nothing_that_was_acknowledged", faults::crash_loses_nothing),
    ("a_power_loss_loses_nothing_that_was_acknowledged", faults::power_loss_loses_nothing),
    ("a_full_disk_is_survived_and_left_behind", faults::full_disk),
    ("slow_and_half_open_clients_hold_up_nobody", load::slow_and_half_open_clients),
    ("without_descriptors_the_server_waits_and_recovers", load::without_descriptors),
    ("started_as_root_everything_is_the_configured_users", privileges::started_as_root),
    ("a_slow_disk_delays_and_loses_nothing", faults::slow_disk),
    ("after_a_failing_sync_nothing_is_acknowledged_until_the_restart", faults::failing_sync),
    ("a_disk_on_which_flushes_stand_still_makes_senders_wait", faults::stalled_disk),
];

/// Runs the tests whose names contain one of `names`, or all.
pub fn run(names: &[String]) -> Result<Summary> {
    install::install_or_explain()?;
    let binary = cargo::release_binary()?;
    let mut summary = Summary::default();
    for (name, test) in TESTS {
        if !names.is_empty() && !names.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        let begun = Instant::now();
        eprint!("test {name} ... ");
        if NEED_ROOT.contains(name) && !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: it needs root");
            summary.skipped.push(((*name).to_owned(), "it needs root".to_owned()));
            continue;
        }
        match test(&binary) {
            Ok(()) => {
                eprintln!("ok ({:.1} s)", begun.elapsed().as_secs_f32());
                summary.passed.push((*name).to_owned());
            }
            Err(error) => {
                eprintln!("FAILED");
                summary.failed.push(((*name).to_owned(), format!("{error:#}")));
            }
        }
    }
    Ok(summary)
}

/// The machine may be busy: one start in time shows that it can.
fn listens_within_a_second(binary: &Path) -> Result<()> {
    let mut best = Duration::MAX;
    for _ in 0..10 {
        let server = Localserve::start(binary)?;
        best = best.min(server.started_in);
        server.stop_and_verify()?;
        if best < Duration::from_secs(1) {
            return Ok(());
        }
    }
    bail!("took {best:?}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_needs_root_is_a_test() {
        for name in super::NEED_ROOT {
            assert!(super::TESTS.iter().any(|(test, _)| test == name), "{name}");
        }
    }
}
