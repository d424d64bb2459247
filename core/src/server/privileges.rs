//! Giving up the rights of root, once the ports are bound.
//!
//! The C library's calls are used, for they change every thread of the process; the bare system
//! calls would leave others root.

use nix::unistd::{Gid, Uid, User, geteuid, setgroups, setresgid, setresuid};

use crate::config::RunAs;

/// Becomes the configured user for good. The reason is a sentence for the operator.
pub fn become_user(user: &RunAs) -> Result<(), String> {
    let (uid, gid) = match user {
        RunAs::Ids { uid, gid } => (Uid::from_raw(*uid), Gid::from_raw(*gid)),
        RunAs::Name(name) => match User::from_name(name) {
            Ok(Some(user)) => (user.uid, user.gid),
            Ok(None) => {
                return Err(format!("there is no user {name}. Make one with: useradd --system {name}"));
            }
            Err(error) => return Err(format!("user {name} can't be looked up: {error}")),
        },
    };
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
