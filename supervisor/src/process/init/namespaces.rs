//! Entering new namespaces, each reported as a measure (namespaces(7), user_namespaces(7)).

use std::fs;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use crate::limits::Measure;
use crate::process::launch::Isolation;

/// Returns the names of the namespaces entered, for the second stage, and a measure for each requested one.
pub(super) fn leave(isolation: &Isolation) -> (Vec<&'static str>, Vec<Measure>) {
    let mut standing = Vec::new();
    let mut measures = Vec::new();
    let mut attempt = |name: &'static str, result: Result<(), String>| {
        if result.is_ok() {
            standing.push(name);
        }
        measures.push(Measure::from_result(name, result));
    };
    // First, because it grants the right to create the others.
    if isolation.user {
        attempt(super::second::USER, user());
    }
    if isolation.process {
        attempt(super::second::MOUNT, one(CloneFlags::CLONE_NEWNS));
        attempt(super::second::PID, one(CloneFlags::CLONE_NEWPID));
    }
    if isolation.network {
        attempt(super::second::NETWORK, one(CloneFlags::CLONE_NEWNET));
    }
    (standing, measures)
}

fn one(flag: CloneFlags) -> Result<(), String> {
    unshare(flag).map_err(|error| format!("this system does not allow it: {error}"))
}

/// Enters a user namespace that maps only this user and group, each to itself.
fn user() -> Result<(), String> {
    let (uid, gid) = (geteuid(), getegid());
    one(CloneFlags::CLONE_NEWUSER)?;
    let write = |file: &str, value: String| {
        fs::write(format!("/proc/self/{file}"), value).map_err(|error| format!("cannot write {file}: {error}"))
    };
    write("uid_map", format!("{uid} {uid} 1"))?;
    write("setgroups", "deny".to_owned())?;
    write("gid_map", format!("{gid} {gid} 1"))
}
