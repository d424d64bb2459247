//! Giving up the rights of root, once the ports are bound.
//!
//! The C library's calls are used, for they change every thread of the process; the bare system
//! calls would leave others root.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::unistd::{Gid, Uid, User, geteuid, setgroups, setresgid, setresuid};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, chownat, fstat, openat};
use rustix::io::Errno;

use crate::config::RunAs;

/// What the server keeps in its data directory.
const KEPT: [&CStr; 9] = [
    c"store",
    c"secret",
    c"secret.new",
    c"ctl",
    c"ends-sent",
    c"selfsigned.pem",
    c"selfsigned.key.pem",
    c"selfsigned.new",
    c"selfsigned.key.new",
];
/// How deep directories are below the data directory: the store's are fewer.
const DEPTH_MAX: u32 = 8;

fn ids(user: &RunAs) -> Result<(Uid, Gid), String> {
    match user {
        RunAs::Ids { uid, gid } => Ok((Uid::from_raw(*uid), Gid::from_raw(*gid))),
        RunAs::Name(name) => match User::from_name(name) {
            Ok(Some(user)) => Ok((user.uid, user.gid)),
            Ok(None) => Err(format!("there is no user {name}. Make one with: useradd --system {name}")),
            Err(error) => Err(format!("user {name} can't be looked up: {error}")),
        },
    }
}

/// Becomes the configured user for good. The reason is a sentence for the operator.
pub fn become_user(user: &RunAs) -> Result<(), String> {
    let (uid, gid) = ids(user)?;
    if geteuid() == uid {
        return Ok(());
    }
    if !geteuid().is_root() {
        return Err(format!(
            "only root can become another user, and this runs as {}. Start it as root, or take `user` out of the configuration",
            geteuid()
        ));
    }
    // Groups first: afterwards there would be no right to.
    setgroups(&[gid]).map_err(|error| format!("groups can't be changed: {error}"))?;
    setresgid(gid, gid, gid).map_err(|error| format!("the group can't be changed to {gid}: {error}"))?;
    setresuid(uid, uid, uid).map_err(|error| format!("the user can't be changed to {uid}: {error}"))?;
    if setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_ok() {
        return Err("the rights of root came back after they were given up".to_owned());
    }
    Ok(())
}

/// Gives the configured user the data directory and what the server keeps in it, as far as it is root's.
/// Does nothing without the rights of root.
///
/// The user may be up to no good, and root must not be led elsewhere: links are neither followed nor given,
/// and what is given is the very file that was looked at.
pub fn give(user: &RunAs, dir: &Path) -> Result<(), String> {
    let (uid, gid) = ids(user)?;
    if !geteuid().is_root() || uid.is_root() {
        return Ok(());
    }
    let failed = |error: Errno| format!("{} can't be given to the user: {error}", dir.display());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = openat(CWD, dir, flags, Mode::empty()).map_err(failed)?;
    let owner = Owner { uid: uid.as_raw(), gid: gid.as_raw() };
    if fstat(&top).map_err(failed)?.st_uid == 0 {
        let other = names(&top).map_err(failed)?.into_iter().find(|name| !KEPT.contains(&name.as_c_str()));
        if let Some(other) = other {
            return Err(format!(
                "{0} is root's and holds {1}, which is not the server's. Take a directory of its own as data_dir, or give it to the user: chown {uid}:{gid} {0}",
                dir.display(),
                other.to_string_lossy()
            ));
        }
        owner.take(&top).map_err(failed)?;
    }
    for name in KEPT {
        owner.give(&top, name, DEPTH_MAX).map_err(failed)?;
    }
    Ok(())
}

/// Who gets files.
#[derive(Clone, Copy)]
struct Owner {
    uid: u32,
    gid: u32,
}

impl Owner {
    fn take(self, file: &OwnedFd) -> Result<(), Errno> {
        let (uid, gid) = (rustix::fs::Uid::from_raw(self.uid), rustix::fs::Gid::from_raw(self.gid));
        chownat(file, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
    }

    /// Gives an entry of `parent`, with all below it.
    fn give(self, parent: &OwnedFd, name: &CStr, depth: u32) -> Result<(), Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let entry = match openat(parent, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(()),
            entry => entry?,
        };
        let stat = fstat(&entry)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let depth = depth.checked_sub(1).ok_or(Errno::LOOP)?;
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let directory = openat(parent, name, flags, Mode::empty())?;
                for name in names(&directory)? {
                    self.give(&directory, &name, depth)?;
                }
            }
            // With a second name it could be any file of root's.
            FileType::RegularFile if stat.st_nlink == 1 => {}
            FileType::Socket => {}
            _ => return Ok(()),
        }
        if stat.st_uid == 0 { self.take(&entry) } else { Ok(()) }
    }
}

/// The names in a directory.
fn names(directory: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_owned();
        if name.as_c_str() != c"." && name.as_c_str() != c".." {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    const NOBODY: RunAs = RunAs::Ids { uid: 65_534, gid: 65_534 };

    fn owner(path: &Path) -> (u32, u32) {
        let metadata = fs::symlink_metadata(path).unwrap();
        (metadata.uid(), metadata.gid())
    }

    #[test]
    fn what_root_made_is_given_to_the_user_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (data, outside) = (dir.path().join("data"), dir.path().join("outside"));
        fs::create_dir_all(data.join("store/tables")).unwrap();
        fs::create_dir(&outside).unwrap();
        for file in ["data/secret", "data/store/tables/1", "outside/shadow", "outside/passwd"] {
            fs::write(dir.path().join(file), "x").unwrap();
        }
        symlink(&outside, data.join("store/link")).unwrap();
        symlink(outside.join("shadow"), data.join("selfsigned.pem")).unwrap();
        fs::hard_link(outside.join("passwd"), data.join("store/passwd")).unwrap();
        let before = owner(&data);
        give(&NOBODY, &data).unwrap();
        if !geteuid().is_root() {
            assert_eq!(owner(&data), before);
            return;
        }
        for given in ["", "secret", "store", "store/tables", "store/tables/1"] {
            assert_eq!(owner(&data.join(given)), (65_534, 65_534), "{given}");
        }
        for kept in ["data/store/link", "data/selfsigned.pem", "outside", "outside/shadow", "outside/passwd"]
        {
            assert_eq!(owner(&dir.path().join(kept)), (0, 0), "{kept}");
        }
        // A directory that others use is not taken from root.
        let shared = dir.path().join("shared");
        fs::create_dir_all(shared.join("other")).unwrap();
        fs::create_dir_all(shared.join("store")).unwrap();
        let refused = give(&NOBODY, &shared).unwrap_err();
        assert!(refused.contains("holds other") && refused.contains("chown 65534:65534"), "{refused}");
        assert_eq!((owner(&shared), owner(&shared.join("store"))), ((0, 0), (0, 0)));
        // What another user has stays that user's.
        std::os::unix::fs::chown(data.join("secret"), Some(1), Some(1)).unwrap();
        give(&NOBODY, &data).unwrap();
        assert_eq!(owner(&data.join("secret")), (1, 1));
    }
}
