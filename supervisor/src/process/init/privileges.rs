//! Rights that a child gives up for good, and the limits that the kernel enforces per process.

use std::fs;

use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};

use crate::limits::Measure;
use crate::process::launch::Setup;

/// `oom_score_adj` of the child, up to 1000: when memory runs out the kernel kills it before the init.
const KILL_FIRST: &str = "500";

/// Applies the limits and drops the rights of the init; the child inherits both.
pub(super) fn give_up(setup: &Setup, own_user: bool) -> Vec<Measure> {
    let mut measures: Vec<Measure> = setup.rlimits.iter().map(|(key, most)| limit(key, *most)).collect();
    measures.extend([
        Measure::from_result("no_core_dumps", setrlimit(Resource::RLIMIT_CORE, 0, 0)),
        Measure::from_result("no_new_privileges", prctl::set_no_new_privs()),
        Measure::from_result("capabilities", limit_capabilities(setup)),
    ]);
    if let Some(processes) = setup.processes.filter(|_| own_user) {
        // The init counts, too. Since Linux 5.14 each user namespace is counted by itself.
        let most = u64::from(processes) + 1;
        let limited = setrlimit(Resource::RLIMIT_NPROC, most, most);
        measures.push(Measure::from_result("pids", limited));
    }
    measures
}

/// Sets the limit of one key of the manifest.
fn limit(key: &str, most: u64) -> Measure {
    let resource = match key {
        "open_files" => Resource::RLIMIT_NOFILE,
        _ => return Measure::missing(key, "no limit of a process"),
    };
    Measure::from_result(key, setrlimit(resource, most, most))
}

/// Drops capabilities from the bounding set, so that not even a program of root gets them (capabilities(7)). The init
/// keeps its own for now.
fn limit_capabilities(setup: &Setup) -> Result<(), String> {
    let held = caps::read(None, CapSet::Permitted).map_err(|error| error.to_string())?;
    if held.is_empty() {
        return Ok(());
    }
    let clear = |set| caps::clear(None, set).map_err(|error| error.to_string());
    clear(CapSet::Ambient)?;
    clear(CapSet::Inheritable)?;
    let keep = |capability: &Capability| setup.low_ports && *capability == Capability::CAP_NET_BIND_SERVICE;
    let bounding = caps::read(None, CapSet::Bounding).map_err(|error| error.to_string())?;
    for capability in bounding.into_iter().filter(|capability| !keep(capability)) {
        caps::drop(None, CapSet::Bounding, capability).map_err(|error| format!("cannot drop {capability}: {error}"))?;
    }
    Ok(())
}

/// Drops the init's own rights once the child runs, and denies inspection of it to the child, which has the same user.
pub(super) fn give_up_own() {
    for set in [CapSet::Effective, CapSet::Permitted] {
        // Fails only if the set is empty already.
        let _ = caps::set(None, set, &CapsHashSet::new());
    }
    let _ = prctl::set_dumpable(false);
}

/// Runs `start` so that the process it starts is killed before this one when memory runs out.
pub(super) fn with_kill_order<T>(start: impl FnOnce() -> T) -> T {
    const FILE: &str = "/proc/self/oom_score_adj";
    let own = fs::read_to_string(FILE).unwrap_or_default();
    let raise = own.trim().parse::<i32>().is_ok_and(|own| own < 500);
    if raise {
        let _ = fs::write(FILE, KILL_FIRST);
    }
    let result = start();
    if raise {
        let _ = fs::write(FILE, own.trim());
    }
    result
}
