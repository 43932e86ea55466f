//! What a child cannot get back: rights it gives up, and limits the kernel keeps per process.

use std::fs;

use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};

use crate::limits::Measure;
use crate::process::launch::Setup;

/// How much more readily the kernel kills the child than our init when memory runs out, of 1000.
const KILL_FIRST: &str = "500";

/// Set on init itself, for the child to inherit.
pub(super) fn give_up(setup: &Setup, own_user: bool) -> Vec<Measure> {
    let mut measures: Vec<Measure> = setup.rlimits.iter().map(|(key, most)| limit(key, *most)).collect();
    measures.extend([
        Measure::from_result("no_core_dumps", setrlimit(Resource::RLIMIT_CORE, 0, 0)),
        Measure::from_result("no_new_privileges", prctl::set_no_new_privs()),
        Measure::from_result("capabilities", limit_capabilities(setup)),
    ]);
    if let Some(processes) = setup.processes.filter(|_| own_user) {
        // Init counts as well. Linux 5.14 counts each user namespace by itself.
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

/// What the bounding set does not hold, a program of root does not get (capabilities(7)). Init's own stay for now.
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

/// Gives up init's own rights once the child runs, and closes it to inspection by the child, whose user it shares.
pub(super) fn give_up_own() {
    for set in [CapSet::Effective, CapSet::Permitted] {
        // Fails only for a set that is empty already.
        let _ = caps::set(None, set, &CapsHashSet::new());
    }
    let _ = prctl::set_dumpable(false);
}

/// Runs `start` so that what it starts is killed before us when memory runs out.
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
