//! Leaving namespaces, each reported (namespaces(7), user_namespaces(7)).

use std::fs;

use caps::CapSet;
use caps::errors::CapsError;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use crate::limits::Measure;
use crate::process::launch::Isolation;

/// Names of those that stand, as given to the second stage, and a measure for each that was asked for.
pub(super) fn leave(isolation: Isolation) -> (Vec<&'static str>, Vec<Measure>) {
    let mut standing = Vec::new();
    let mut measures = Vec::new();
    let mut attempt = |name: &'static str, result: Result<(), String>| {
        if result.is_ok() {
            standing.push(name);
        }
        measures.push(Measure::from_result(name, result));
    };
    // First, as it brings the right to make the others.
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

/// A user namespace in which we are who we were, and nobody else exists.
fn user() -> Result<(), String> {
    let (uid, gid) = (geteuid(), getegid());
    one(CloneFlags::CLONE_NEWUSER)?;
    let write = |file: &str, value: String| {
        fs::write(format!("/proc/self/{file}"), value).map_err(|error| format!("cannot write {file}: {error}"))
    };
    write("uid_map", format!("{uid} {uid} 1"))?;
    write("setgroups", "deny".to_owned())?;
    write("gid_map", format!("{gid} {gid} 1"))?;
    keep_rights().map_err(|error| format!("cannot keep the rights over it: {error}"))
}

/// Lets the second stage have what we may do in the new namespace: for an ordinary user, exec keeps only what is
/// ambient. It is taken from the child again.
fn keep_rights() -> Result<(), CapsError> {
    let held = caps::read(None, CapSet::Permitted)?;
    caps::set(None, CapSet::Inheritable, &held)?;
    caps::set(None, CapSet::Ambient, &held)
}
