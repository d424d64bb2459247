//! Calls of cargo.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The project's root.
pub fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Formatting, lints and documentation, each with warnings as errors.
pub fn check_house() -> Result<()> {
    cargo("formatting", &["fmt", "--all", "--check"], &[])?;
    cargo(
        "lints",
        &["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "-D", "warnings"],
        &[],
    )?;
    cargo(
        "documentation",
        &["doc", "--workspace", "--no-deps", "--locked", "--quiet"],
        &[("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links")],
    )?;
    // They are no members of the workspace, and would be forgotten. Nothing is linked, so that no library is
    // needed, nor the C++ compiler that builds it.
    cargo(
        "fuzz targets",
        &[
            "check",
            "--manifest-path",
            "core/fuzz/Cargo.toml",
            "--target-dir",
            "target/fuzz",
            "--locked",
            "--quiet",
        ],
        &[("CUSTOM_LIBFUZZER_PATH", "/nonexistent/libfuzzer.a"), ("RUSTFLAGS", "-D warnings")],
    )
}

/// The tests that need nothing but Rust. Those that could not run here, each with the reason.
pub fn test_workspace() -> Result<Vec<(String, String)>> {
    let told = tempfile::NamedTempFile::new()?;
    let file = told.path().to_str().context("the name of a temporary file is no text")?;
    cargo("tests", &["test", "--workspace", "--locked"], &[(postrider_testing::SKIPPED, file)])?;
    Ok(postrider_testing::skipped(&std::fs::read_to_string(told.path())?))
}

/// Builds the release binary and returns its path.
pub fn release_binary() -> Result<PathBuf> {
    release_build("postrider", "postrider")
}

/// Builds a binary of a package as released and returns its path.
pub fn release_build(package: &str, binary: &str) -> Result<PathBuf> {
    let arguments = ["build", "--release", "--locked", "--quiet", "--package", package, "--bin", binary];
    cargo("release build", &arguments, &[])?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let path = target.join("release").join(binary);
    if !path.exists() {
        bail!("{} isn't there after a release build", path.display());
    }
    Ok(path)
}

fn cargo(what: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    eprintln!("== {what}: cargo {}", arguments.join(" "));
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(root())
        .status()
        .with_context(|| format!("{what}: cargo could not be started"))?;
    if !status.success() {
        bail!("{what} failed: cargo {}", arguments.join(" "));
    }
    Ok(())
}
