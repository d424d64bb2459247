//! The external programs that the tests use, from Debian's or Ubuntu's packages, and one from PyPI.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cargo;

/// A program, how to see that it is there, and the package that brings it.
struct Program {
    package: &'static str,
    /// A file that the package brings.
    file: &'static str,
    used_for: &'static str,
}

const PROGRAMS: &[Program] = &[
    Program {
        package: "swaks",
        file: "/usr/bin/swaks",
        used_for: "delivery and submission with each mechanism",
    },
    Program {
        package: "libauthen-sasl-perl",
        file: "/usr/share/perl5/Authen/SASL.pm",
        used_for: "CRAM-MD5 in swaks",
    },
    Program {
        package: "libdigest-hmac-perl",
        file: "/usr/share/perl5/Digest/HMAC_MD5.pm",
        used_for: "CRAM-MD5 in swaks",
    },
    Program {
        package: "libio-socket-ssl-perl",
        file: "/usr/share/perl5/IO/Socket/SSL.pm",
        used_for: "TLS in swaks",
    },
    Program {
        package: "libnet-ssleay-perl",
        file: "/usr/share/doc/libnet-ssleay-perl/copyright",
        used_for: "TLS in swaks",
    },
    Program { package: "openssl", file: "/usr/bin/openssl", used_for: "client certificates" },
    Program {
        package: "python3-dkim",
        file: "/usr/lib/python3/dist-packages/dkim/__init__.py",
        used_for: "signatures of other software",
    },
    Program {
        package: "python3-authres",
        file: "/usr/lib/python3/dist-packages/authres/__init__.py",
        used_for: "chains in dkimpy",
    },
    Program {
        package: "python3-dnspython",
        file: "/usr/lib/python3/dist-packages/dns/__init__.py",
        used_for: "a server with the keys of signatures",
    },
    Program {
        package: "python3-nacl",
        file: "/usr/lib/python3/dist-packages/nacl/__init__.py",
        used_for: "Ed25519 in dkimpy",
    },
    Program { package: "knot", file: "/usr/sbin/knotd", used_for: "a DNS server with a signed zone" },
    Program {
        package: "opendkim",
        file: "/usr/sbin/opendkim",
        used_for: "signatures of other software, and verifying ours",
    },
    Program { package: "curl", file: "/usr/bin/curl", used_for: "fetching over imaps" },
    Program { package: "isync", file: "/usr/bin/mbsync", used_for: "two-way synchronisation" },
    Program { package: "offlineimap3", file: "/usr/bin/offlineimap", used_for: "two-way synchronisation" },
    Program { package: "neomutt", file: "/usr/bin/neomutt", used_for: "a client with a header cache" },
    Program {
        package: "thunderbird",
        file: "/usr/bin/thunderbird",
        used_for: "a client that people read their mail with",
    },
    Program { package: "valgrind", file: "/usr/bin/valgrind", used_for: "counting instructions" },
    Program { package: "iproute2", file: "/usr/sbin/ip", used_for: "network namespaces" },
    Program { package: "postfix", file: "/usr/sbin/postfix", used_for: "a peer with DANE" },
    Program { package: "faketime", file: "/usr/bin/faketime", used_for: "a server on the next day" },
    Program { package: "dovecot-core", file: "/usr/sbin/dovecot", used_for: "passwords of Postfix" },
    Program { package: "ldnsutils", file: "/usr/bin/ldns-signzone", used_for: "signing zones" },
    Program { package: "bind9-utils", file: "/usr/bin/dnssec-signzone", used_for: "signing the root zone" },
    Program { package: "knot-dnssecutils", file: "/usr/bin/kzonesign", used_for: "signing zones" },
    Program {
        package: "python3-pip",
        file: "/usr/lib/python3/dist-packages/pip/__init__.py",
        used_for: "installing imapclient",
    },
];

/// Installs what is missing when root, otherwise says exactly what is missing and how to get it.
pub fn install_or_explain() -> Result<()> {
    let missing: Vec<&Program> =
        PROGRAMS.iter().filter(|program| !Path::new(program.file).exists()).collect();
    if missing.is_empty() {
        unpack()?;
        return install_from_pypi();
    }
    let packages: Vec<&str> = missing.iter().map(|program| program.package).collect();
    let by_hand = format!("apt-get update && apt-get install --no-install-recommends {}", packages.join(" "));
    let can_install = rustix::process::geteuid().is_root() && Path::new("/usr/bin/apt-get").exists();
    if !can_install {
        let list: Vec<String> =
            missing.iter().map(|p| format!("  {} (package {}): {}", p.file, p.package, p.used_for)).collect();
        bail!(
            "programs that the tests use are missing:\n{}\nInstall them as root: {by_hand}",
            list.join("\n")
        );
    }
    eprintln!("== installing {}", packages.join(" "));
    let _quiet = NoServices::declare()?;
    let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
    arguments.extend(&packages);
    patiently("installing with apt-get", &PAUSES, || {
        apt(&["update", "-qq"])?;
        apt(&arguments)
    })?;
    match missing.iter().find(|program| !Path::new(program.file).exists()) {
        Some(program) => bail!("package {} was installed but {} isn't there", program.package, program.file),
        None => {
            unpack()?;
            install_from_pypi()
        }
    }
}

/// While it lives, services of packages that are installed are not started: Postfix would take the machine's port 25.
struct NoServices(Option<&'static Path>);

impl NoServices {
    fn declare() -> Result<Self> {
        // Who has a policy (as images of containers do) keeps it.
        let policy = Path::new("/usr/sbin/policy-rc.d");
        if policy.exists() {
            return Ok(Self(None));
        }
        let declared = Self(Some(policy));
        std::fs::write(policy, "#!/bin/sh\nexit 101\n")?;
        std::fs::set_permissions(policy, std::fs::Permissions::from_mode(0o755))?;
        Ok(declared)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Some(policy) = self.0
            && let Err(error) = std::fs::remove_file(policy)
        {
            eprintln!("{} is to be removed by hand: {error}", policy.display());
        }
    }
}

/// Servers, which would begin to serve if they were installed, and take port 53 of the machine. Their packages are
/// only unpacked, into the target directory; what they depend on is installed.
const UNPACKED: [(&str, &str); 6] = [
    ("nsd", "usr/sbin/nsd"),
    ("knot", "usr/sbin/knotd"),
    ("unbound", "usr/sbin/unbound"),
    ("bind9", "usr/sbin/named"),
    ("unbound-host", "usr/bin/unbound-host"),
    ("dante-server", "usr/sbin/danted"),
];

/// Where packages are unpacked.
pub fn unpacked_programs() -> PathBuf {
    cargo::root().join("target/programs")
}

fn unpack() -> Result<()> {
    let target = unpacked_programs();
    for (package, file) in UNPACKED {
        if target.join(file).exists() {
            continue;
        }
        if !rustix::process::geteuid().is_root() {
            // What needs it needs root as well, and says so.
            eprintln!("{package} isn't unpacked, which takes root");
            continue;
        }
        eprintln!("== unpacking {package}");
        let downloads = tempfile::tempdir()?;
        let mut is_first = true;
        patiently(&format!("downloading {package}"), &PAUSES, || {
            // What apt knows of its mirrors may be too old, or nothing.
            if !std::mem::take(&mut is_first) {
                apt(&["update", "-qq"])?;
            }
            // apt downloads as a user of its own where it can.
            apt_in(downloads.path(), &["-o", "APT::Sandbox::User=root", "download", "-qq", package])
        })?;
        let file_of = |entry: std::io::Result<std::fs::DirEntry>| entry.map(|entry| entry.path());
        let Some(downloaded) = std::fs::read_dir(downloads.path())?.map(file_of).next().transpose()? else {
            bail!("package {package} can't be downloaded");
        };
        let depends = Command::new("dpkg-deb").arg("-f").arg(&downloaded).arg("Depends").output()?;
        let depends = String::from_utf8_lossy(&depends.stdout).trim().to_owned();
        patiently(&format!("installing what {package} needs"), &PAUSES, || {
            apt(&["satisfy", "-y", "-qq", "--no-install-recommends", &depends])
        })?;
        std::fs::create_dir_all(&target)?;
        let status = Command::new("dpkg-deb").arg("-x").arg(&downloaded).arg(&target).status()?;
        if !status.success() || !target.join(file).exists() {
            bail!("package {package} was unpacked but {file} isn't there");
        }
    }
    Ok(())
}

/// Where Python packages that Debian has not are put.
pub fn python_packages() -> PathBuf {
    cargo::root().join("target/python")
}

/// Packages that are on PyPI only, and a file of each. They go into the target directory, not into the system.
const FROM_PYPI: [(&str, &str); 2] =
    [("imapclient", "imapclient/__init__.py"), ("marionette_driver", "marionette_driver/__init__.py")];

fn install_from_pypi() -> Result<()> {
    let target = python_packages();
    if FROM_PYPI.iter().all(|(_, file)| target.join(file).exists()) {
        return Ok(());
    }
    let packages = FROM_PYPI.map(|(package, _)| package);
    eprintln!("== installing {} from PyPI", packages.join(" "));
    // All of them into a new folder, so that what was cut off is never taken for complete.
    let new = target.with_extension("new");
    patiently("installing from PyPI", &PAUSES, || {
        if new.exists() {
            std::fs::remove_dir_all(&new)?;
        }
        let status = Command::new("/usr/bin/python3")
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(["--retries", "5", "--timeout", "60", "--target"])
            .arg(&new)
            .args(packages)
            .status()
            .context("/usr/bin/python3 could not be started")?;
        if !status.success() {
            bail!(
                "{0} could not be installed. By hand: python3 -m pip install --target {1} {0}",
                packages.join(" "),
                target.display()
            );
        }
        Ok(())
    })?;
    if target.exists() {
        std::fs::remove_dir_all(&target)?;
    }
    std::fs::rename(&new, &target)?;
    match FROM_PYPI.iter().find(|(_, file)| !target.join(file).exists()) {
        Some((package, file)) => bail!("{package} was installed from PyPI but {file} isn't there"),
        None => Ok(()),
    }
}

/// The pauses before what needs a mirror is tried again.
const PAUSES: [Duration; 3] = [Duration::from_secs(5), Duration::from_secs(20), Duration::from_secs(60)];

/// Does what needs a mirror, and after each of `pauses` again when it failed: a mirror may be slow for a while, or answer
/// with an error once.
fn patiently(what: &str, pauses: &[Duration], mut act: impl FnMut() -> Result<()>) -> Result<()> {
    for pause in pauses {
        let Err(error) = act() else { return Ok(()) };
        eprintln!("{what} failed, and is tried again in {} s: {error:#}", pause.as_secs());
        std::thread::sleep(*pause);
    }
    act().with_context(|| format!("{what} failed {} times", pauses.len() + 1))
}

fn apt(arguments: &[&str]) -> Result<()> {
    apt_in(Path::new("."), arguments)
}

fn apt_in(directory: &Path, arguments: &[&str]) -> Result<()> {
    let status = Command::new("apt-get")
        // apt waits two minutes for a mirror that says nothing, and asks it once. Another apt may be at work.
        .args([
            "-o",
            "Acquire::Retries=3",
            "-o",
            "Acquire::http::Timeout=30",
            "-o",
            "Acquire::https::Timeout=30",
        ])
        .args(["-o", "DPkg::Lock::Timeout=300"])
        .args(arguments)
        .current_dir(directory)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(std::process::Stdio::null())
        .status()
        .context("apt-get could not be started")?;
    if !status.success() {
        bail!("apt-get {} failed", arguments.join(" "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_once_is_tried_again_and_what_fails_always_says_why() {
        let pauses = [Duration::ZERO; 2];
        let mut tries = 0;
        let mut fails_before = |count: u32| {
            tries = 0;
            let result = patiently("fetching", &pauses, || {
                tries += 1;
                if tries < count { bail!("mirror {tries} is gone") } else { Ok(()) }
            });
            (tries, result.err().map(|error| format!("{error:#}")))
        };
        assert_eq!(fails_before(1), (1, None));
        assert_eq!(fails_before(3), (3, None));
        let failed = "fetching failed 3 times: mirror 3 is gone".to_owned();
        assert_eq!(fails_before(4), (3, Some(failed)));
    }
}
