//! Three network namespaces: two nodes, and what is between them. Links are as good as the kernel makes them; the hops
//! that run in the middle make them a slow relay and a fast, but long, direct path.
//!
//! ```text
//!   a ── 10.77.1.1 ───── .9  relay   10.77.2.9 ───── 10.77.2.2 ── b     packets of 1300 bytes
//!   └─── 10.77.3.1 ───── .9  direct  10.77.4.9 ───── 10.77.4.2 ───┘     packets of 1500 bytes
//! ```

use std::fs::File;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sched::{CloneFlags, setns};

/// Packet size on the links of the relay, so that the direct path also takes larger packets.
const TUNNEL_MTU: &str = "1300";

/// Namespaces that go away with this.
pub(crate) struct World {
    prefix: String,
}

/// One of the three.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    A,
    B,
    Between,
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
        for place in [Place::A, Place::B, Place::Between] {
            run("ip", &["netns", "add", &world.name(place)])?;
            run("ip", &["-n", &world.name(place), "link", "set", "lo", "up"])?;
        }
        for (place, end, middle, name, mtu) in [
            (Place::A, "10.77.1.1/24", "10.77.1.9/24", "relay-a", TUNNEL_MTU),
            (Place::B, "10.77.2.2/24", "10.77.2.9/24", "relay-b", TUNNEL_MTU),
            (Place::A, "10.77.3.1/24", "10.77.3.9/24", "direct-a", "1500"),
            (Place::B, "10.77.4.2/24", "10.77.4.9/24", "direct-b", "1500"),
        ] {
            let (place, between) = (world.name(place), world.name(Place::Between));
            let pair =
                ["link", "add", "name", name, "netns", &place, "type", "veth", "peer", "name", name, "netns", &between];
            run("ip", &pair)?;
            for (place, address) in [(&place, end), (&between, middle)] {
                run("ip", &["-n", place, "address", "add", address, "dev", name])?;
                run("ip", &["-n", place, "link", "set", name, "up", "mtu", mtu])?;
            }
        }
        Ok(world)
    }

    fn name(&self, place: Place) -> String {
        let letter = match place {
            Place::A => "a",
            Place::B => "b",
            Place::Between => "m",
        };
        format!("{}{letter}", self.prefix)
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
        for place in [Place::A, Place::B, Place::Between] {
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
