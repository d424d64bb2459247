//! Checks, before any shard starts, that the host lets the runtime work, and says what to change
//! when it does not.

use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::sys;

/// The library underneath refuses less lockable memory than this.
const MEMLOCK_MIN: u64 = 512 * 1024;
/// Operations known to Linux 5.8, the oldest kernel with all that the runtime uses.
const OPERATIONS_MIN: u8 = 34;

/// What the host offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preflight {
    /// Open files this process may have; none means no limit.
    pub files_max: Option<u64>,
    /// Octets of memory this process may lock; none means no limit.
    pub memlock_max: Option<u64>,
}

/// Why the runtime cannot work on this host, with the remedy in its text.
#[derive(Debug, thiserror::Error)]
pub enum PreflightError {
    /// `kernel.io_uring_disabled` is set.
    #[error(
        "io_uring is switched off on this host (sysctl kernel.io_uring_disabled = {value}); \
         set it to 0: sysctl -w kernel.io_uring_disabled=0"
    )]
    Disabled {
        /// The value found.
        value: u8,
    },
    /// A seccomp filter refuses the system calls.
    #[error(
        "a seccomp filter refuses io_uring ({errno}). In a container, run it with the profile of Postrider's source, \
         docs/containers/seccomp.json, which allows io_uring_setup, io_uring_enter and io_uring_register: \
         docker run --security-opt seccomp=docs/containers/seccomp.json. Under systemd, add \
         SystemCallFilter=io_uring_setup io_uring_enter io_uring_register to the unit. docs/containers.md says more"
    )]
    Seccomp {
        /// What the kernel answered.
        errno: io::Error,
    },
    /// The kernel has no or too little io_uring.
    #[error("Linux {release} is too old: io_uring as of Linux 5.8 is needed")]
    KernelTooOld {
        /// The release of the running kernel.
        release: String,
    },
    /// RLIMIT_MEMLOCK is too small.
    #[error(
        "this process may lock {limit} octets of memory, {MEMLOCK_MIN} are needed; set LimitMEMLOCK=8M in the \
         systemd unit, or docker run --ulimit memlock=8388608:8388608, or raise ulimit -l"
    )]
    MemlockTooLow {
        /// The hard limit.
        limit: u64,
    },
    /// Something else went wrong.
    #[error("cannot set up io_uring: {0}")]
    Other(#[source] io::Error),
}

/// Raises the soft limits of open files and lockable memory to the hard ones, and tries `io_uring`.
pub fn preflight() -> Result<Preflight, PreflightError> {
    let files_max = raise(Resource::Nofile);
    let memlock_max = raise(Resource::Memlock);
    check_memlock(memlock_max)?;
    let facts = Facts::read();
    match sys::probe_io_uring() {
        Ok(operations) if operations >= OPERATIONS_MIN => Ok(Preflight { files_max, memlock_max }),
        Ok(_) => Err(PreflightError::KernelTooOld { release: facts.release }),
        Err(error) => Err(explain(error, facts)),
    }
}

/// Raising a soft limit to its hard limit needs no privilege; should it fail, the old one stays.
fn raise(resource: Resource) -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(resource);
    if current == maximum {
        return current;
    }
    match setrlimit(resource, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(_) => current,
    }
}

fn check_memlock(limit: Option<u64>) -> Result<(), PreflightError> {
    match limit {
        Some(limit) if limit < MEMLOCK_MIN => Err(PreflightError::MemlockTooLow { limit }),
        _ => Ok(()),
    }
}

/// What explains a refusal.
struct Facts {
    disabled: u8,
    release: String,
}

impl Facts {
    fn read() -> Self {
        // Kernels before 6.6 do not have the file.
        let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0);
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        Self { disabled, release }
    }

    fn is_old(&self) -> bool {
        let mut numbers =
            self.release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse::<u32>().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < (5, 8)
    }
}

fn explain(error: io::Error, facts: Facts) -> PreflightError {
    match Errno::from_io_error(&error) {
        Some(Errno::PERM | Errno::ACCESS) if facts.disabled > 0 => {
            PreflightError::Disabled { value: facts.disabled }
        }
        Some(Errno::NOSYS | Errno::INVAL) if facts.is_old() => {
            PreflightError::KernelTooOld { release: facts.release }
        }
        Some(Errno::PERM | Errno::ACCESS | Errno::NOSYS) => PreflightError::Seccomp { errno: error },
        // Kernels before 5.12 charge rings to the lockable memory of the user.
        Some(Errno::NOMEM) => {
            PreflightError::MemlockTooLow { limit: getrlimit(Resource::Memlock).current.unwrap_or(u64::MAX) }
        }
        _ => PreflightError::Other(error),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn facts(disabled: u8, release: &str) -> Facts {
        Facts { disabled, release: release.to_owned() }
    }

    fn text(errno: i32, facts: Facts) -> String {
        explain(io::Error::from_raw_os_error(errno), facts).to_string()
    }

    #[test]
    fn each_refusal_names_its_remedy() {
        assert!(text(libc::EPERM, facts(2, "6.8.0")).contains("sysctl -w kernel.io_uring_disabled=0"));
        assert!(
            text(libc::EPERM, facts(0, "6.8.0"))
                .contains("--security-opt seccomp=docs/containers/seccomp.json")
        );
        assert!(
            text(libc::ENOSYS, facts(0, "6.8.0-31-generic"))
                .contains("--security-opt seccomp=docs/containers/seccomp.json")
        );
        assert!(text(libc::ENOSYS, facts(0, "4.19.0")).contains("Linux 4.19.0 is too old"));
        assert!(text(libc::EINVAL, facts(0, "5.7.19")).contains("too old"));
        assert!(text(libc::EINVAL, facts(0, "5.8.0")).contains("cannot set up io_uring"));
        assert!(text(libc::ENOMEM, facts(0, "5.10.0")).contains("LimitMEMLOCK=8M"));
    }

    #[test]
    fn the_containers_profile_allows_what_is_needed_and_no_more_than_it_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/containers/seccomp.json");
        let profile: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
        let names = |action: &str| -> Vec<String> {
            let rules = profile["syscalls"].as_array().unwrap().iter();
            let names = rules
                .filter(|rule| rule["action"] == action)
                .flat_map(|rule| rule["names"].as_array().unwrap());
            names.map(|name| name.as_str().unwrap().to_owned()).collect()
        };
        let allowed = names("SCMP_ACT_ALLOW");
        // The server's own, as strace shows them.
        for call in [
            "io_uring_setup",
            "io_uring_enter",
            "io_uring_register",
            "accept",
            "bind",
            "clock_nanosleep",
            "clone",
            "eventfd2",
            "execve",
            "exit_group",
            "fchown",
            "fdatasync",
            "flock",
            "fsync",
            "ftruncate",
            "futex",
            "getdents64",
            "getrandom",
            "ioctl",
            "listen",
            "lseek",
            "madvise",
            "membarrier",
            "mkdir",
            "mmap",
            "mprotect",
            "openat",
            "pread64",
            "prlimit64",
            "recvfrom",
            "rename",
            "renameat",
            "rseq",
            "rt_sigaction",
            "sched_setaffinity",
            "sendto",
            "setgroups",
            "setresgid",
            "setresuid",
            "setsockopt",
            "shutdown",
            "sigaltstack",
            "socket",
            "socketpair",
            "statfs",
            "statx",
            "unlink",
            "write",
        ] {
            assert!(allowed.iter().any(|name| name == call), "{call} isn't allowed");
        }
        for call in [
            "bpf",
            "keyctl",
            "kexec_load",
            "mount",
            "perf_event_open",
            "ptrace",
            "setns",
            "unshare",
            "userfaultfd",
        ] {
            assert!(!allowed.iter().any(|name| name == call), "{call} is allowed");
        }
        assert_eq!(names("SCMP_ACT_ERRNO"), ["clone3"]);
    }

    #[test]
    fn memlock_of_512_kib_is_enough_and_one_octet_less_is_not() {
        assert!(check_memlock(Some(512 * 1024)).is_ok());
        assert!(check_memlock(None).is_ok());
        let refused = check_memlock(Some(512 * 1024 - 1)).unwrap_err();
        assert!(refused.to_string().contains("LimitMEMLOCK"));
    }

    #[test]
    fn this_host_passes_and_soft_limits_are_raised() {
        preflight().unwrap();
        for resource in [Resource::Nofile, Resource::Memlock] {
            let limit = getrlimit(resource);
            assert_eq!(limit.current, limit.maximum);
        }
    }

    #[test]
    fn a_seccomp_filter_is_recognised() {
        for errno in [libc::EPERM, libc::ENOSYS] {
            for call in [libc::SYS_io_uring_setup, libc::SYS_io_uring_register, libc::SYS_io_uring_enter] {
                // The filter stays on its thread for good.
                let refused = std::thread::spawn(move || {
                    sys::testing::deny_syscall(call, errno).unwrap();
                    preflight().unwrap_err()
                });
                let refused = refused.join().unwrap();
                assert!(matches!(refused, PreflightError::Seccomp { .. }), "{refused}");
            }
        }
    }
}
