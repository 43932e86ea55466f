//! Three network namespaces: two nodes, joined by a direct link and each with a link to a relay in the third.
//!
//! ```text
//!   a ── 10.77.3.1 ══════ direct: fast ══════ 10.77.3.2 ── b
//!   └── 10.77.1.1 ── 10.77.1.9  r  10.77.2.9 ── 10.77.2.2 ──┘
//! ```

use std::fs::File;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sched::{CloneFlags, setns};

/// What the direct link carries: well below what the processor manages, so that the figures are those of the path, and
/// well above the relay's. It queues up to 20 ms of it, then drops.
pub(crate) const DIRECT: [&str; 6] = ["rate", "200mbit", "burst", "64kb", "latency", "20ms"];

/// Namespaces that go away with this.
pub(crate) struct World {
    prefix: String,
}

/// One of the three.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    A,
    B,
    Relay,
}

impl World {
    /// The namespaces, or why this machine cannot have them.
    pub(crate) fn new() -> Result<Self, String> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        if !nix::unistd::geteuid().is_root() {
            return Err("network namespaces need root".into());
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let world = Self { prefix: format!("pp{}-{number}", std::process::id()) };
        for place in [Place::A, Place::B, Place::Relay] {
            run("ip", &["netns", "add", &world.name(place)])?;
            run("ip", &["-n", &world.name(place), "link", "set", "lo", "up"])?;
        }
        world.link(Place::A, "10.77.1.1/24", Place::Relay, "10.77.1.9/24", "left")?;
        world.link(Place::B, "10.77.2.2/24", Place::Relay, "10.77.2.9/24", "right")?;
        world.link(Place::A, "10.77.3.1/24", Place::B, "10.77.3.2/24", "direct")?;
        for place in [Place::A, Place::B] {
            let name = world.name(place);
            let shape = ["-n", &name, "qdisc", "add", "dev", "direct", "root", "tbf"];
            run("tc", &[&shape[..], &DIRECT].concat())?;
        }
        Ok(world)
    }

    fn name(&self, place: Place) -> String {
        let letter = match place {
            Place::A => "a",
            Place::B => "b",
            Place::Relay => "r",
        };
        format!("{}{letter}", self.prefix)
    }

    fn link(&self, one: Place, address: &str, other: Place, other_address: &str, name: &str) -> Result<(), String> {
        let (one, other) = (self.name(one), self.name(other));
        let pair = ["link", "add", "name", name, "netns", &one, "type", "veth", "peer", "name", name, "netns", &other];
        run("ip", &pair)?;
        for (place, address) in [(&one, address), (&other, other_address)] {
            run("ip", &["-n", place, "address", "add", address, "dev", name])?;
            run("ip", &["-n", place, "link", "set", name, "up"])?;
        }
        Ok(())
    }

    /// Runs `task` on a thread in the namespace; sockets and threads it makes stay there.
    pub(crate) fn inside<T: Send>(&self, place: Place, task: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/run/netns/{}", self.name(place))).expect("namespace");
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(namespace, CloneFlags::CLONE_NEWNET).expect("enter namespace");
                task()
            });
            thread.join().expect("task in namespace")
        })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for place in [Place::A, Place::B, Place::Relay] {
            run("ip", &["netns", "del", &self.name(place)]).ok();
        }
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let command = || format!("{program} {}", arguments.join(" "));
    let failed = |error| format!("{}: {error}", command());
    let Output { status, stderr, .. } = Command::new(program).args(arguments).output().map_err(failed)?;
    if status.success() { Ok(()) } else { Err(format!("{}: {}", command(), String::from_utf8_lossy(&stderr).trim())) }
}
