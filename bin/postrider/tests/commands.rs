//! The program as it is started: exit codes, and what goes to which stream.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

fn run(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postrider"));
    command.args(arguments).current_dir(env!("CARGO_TARGET_TMPDIR"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A program that has no use for its input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn help_is_a_result_and_wrong_usage_is_none() {
    let help = run(&["account", "--help"], "");
    assert_eq!(help.status.code(), Some(0));
    assert!(text(&help.stdout).contains("set-password") && help.stderr.is_empty());
    let wrong = run(&["acount"], "");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(wrong.stdout.is_empty() && text(&wrong.stderr).contains("acount"));
}

#[test]
fn the_example_of_the_configuration_passes_once_its_files_are_there() {
    let example = run(&["config", "example"], "");
    assert_eq!(example.status.code(), Some(0));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("postrider.toml");
    std::fs::write(&file, &example.stdout).unwrap();
    let tested = run(&["config", "test", file.to_str().unwrap()], "");
    assert_eq!(tested.status.code(), Some(1));
    let said = text(&tested.stderr);
    assert!(said.starts_with(&format!("postrider: {}:", file.display())), "{said}");
    assert!(said.contains("can't read /etc/postrider/mail.example.com.crt"), "{said}");
    let own = text(&example.stdout).replace("/etc/postrider/", "");
    std::fs::write(&file, own).unwrap();
    for name in ["mail.example.com.crt", "mail.example.com.key"] {
        std::fs::write(dir.path().join(name), "").unwrap();
    }
    let tested = run(&["config", "test", file.to_str().unwrap()], "");
    assert_eq!(tested.status.code(), Some(0), "{}", text(&tested.stderr));
    assert!(
        text(&tested.stdout).contains("imaps (imaps) on 0.0.0.0:993 and [::]:993"),
        "{}",
        text(&tested.stdout)
    );
}

#[test]
fn a_server_that_does_not_run_is_a_failure_in_plain_words() {
    for command in [&["stop"][..], &["account", "list"], &["directory", "export"], &["loglevels"]] {
        let failed = run(&[&["--socket", "/nonexistent/ctl"], command].concat(), "");
        assert_eq!(failed.status.code(), Some(1), "{command:?}");
        let said = text(&failed.stderr);
        let expected =
            "postrider: no server listens on the control socket /nonexistent/ctl: No such file or directory";
        assert!(said.starts_with(expected), "{command:?}: {said}");
        assert!(!said.contains('\x1b'), "colours where no terminal is: {said}");
    }
}

#[test]
fn an_argument_that_is_not_text_is_wrong_usage() {
    use std::os::unix::ffi::OsStrExt as _;
    let word = std::ffi::OsStr::from_bytes(b"\xff");
    let failed = Command::new(env!("CARGO_BIN_EXE_postrider")).arg(word).output().unwrap();
    assert_eq!(failed.status.code(), Some(2));
    assert!(text(&failed.stderr).contains("is not UTF-8"));
}
