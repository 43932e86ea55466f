//! What a plugin can see, use and do, with real processes.

mod support;

use std::path::{Path, PathBuf};

use polypeer_supervisor::manifest::values::{Percent, Size};
use polypeer_supervisor::manifest::{LimitSettings, Limits};
use polypeer_supervisor::supervise::{PluginStatus, State};
use support::{Script, World, id, until};

fn applied(status: &PluginStatus, measure: &str) -> bool {
    let found = status.confinement.iter().find(|one| one.measure == measure);
    assert!(found.is_some(), "{measure} is not reported: {:?}", status.confinement);
    found.is_some_and(|found| found.applied)
}

/// A plugin that runs this Python and stays.
fn python(name: &str, code: &str) -> Script {
    Script::new(
        name,
        &format!("cat > \"$POLYPEER_DATA/code.py\" <<'END'\n{code}\nEND\nexec python3 \"$POLYPEER_DATA/code.py\"\n"),
    )
}

const HOG: &str =
    "import time\nblocks = []\nwhile True:\n    blocks.append(bytearray(b'x' * (4 << 20)))\n    time.sleep(0.01)\n";

#[tokio::test(flavor = "multi_thread")]
async fn memory_hog_is_stopped_with_words_and_others_are_undisturbed() {
    let limits = "[limits]\nmemory = \"48MiB\"\n[restart]\npolicy = \"never\"\n[health]\nready = \"none\"\n";
    let world = World::start(&[python("hog", HOG).manifest(limits), Script::new("calm", "exec sleep 1000\n")]).await;
    let calm = world.reaches("calm", State::Ready).await.pid;
    let status = world.reaches("hog", State::Failed).await;
    let reason = status.exit_reason.clone().expect("it ended");
    match applied(&status, "memory") {
        true => assert_eq!(reason, "killed: out of memory, limit 48 MiB"),
        false => assert!(reason.ends_with("in use when sampled, limit 48 MiB"), "{reason}"),
    }
    assert_eq!(world.status("calm").await.pid, calm);
    assert_eq!(world.status("calm").await.state, State::Ready);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fork_bomb_is_bounded_by_the_number_of_processes() {
    let code = "import os, time\n\
        children = 0\n\
        try:\n    while children < 500:\n        if os.fork() == 0: time.sleep(1000)\n        children += 1\n\
        except OSError: pass\n\
        open(os.environ['POLYPEER_DATA'] + '/count', 'w').write(f'{children}\\n')\n\
        time.sleep(1000)\n";
    let world =
        World::start(&[python("bomb", code).manifest("[limits]\npids = 16\n[health]\nready = \"none\"\n")]).await;
    let count: usize = world.file("bomb", "count").await.trim().parse().expect("a number");
    let status = world.status("bomb").await;
    if applied(&status, "pids") {
        // The plugin itself is one of the 16.
        assert_eq!(count, 15);
    }
    world.supervisor.stop_plugin(id("bomb")).await.expect("all of it stops");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn environment_and_descriptors_are_those_we_gave() {
    let script = "tr '\\0' '\\n' < /proc/$$/environ | cut -d= -f1 > \"$HOME/env\"\n\
        grep -E 'Sig(Blk|Ign)' /proc/self/status > \"$HOME/signals\"\n\
        exec python3 -c 'import os, time\n\
fds = sorted(int(fd) for fd in os.listdir(\"/proc/self/fd\"))\n\
open(os.environ[\"HOME\"] + \"/fds\", \"w\").write(repr([os.readlink(f\"/proc/self/fd/{fd}\") for fd in fds[:-1]]) + \"\\n\")\n\
time.sleep(1000)'\n";
    // One that is open here and not closed on exec must not get through.
    let leak = std::fs::File::open("/dev/zero").expect("there");
    nix::fcntl::fcntl(&leak, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).expect("open");
    let world = World::start(&[Script::new("look", script)]).await;
    let names = world.file("look", "env").await;
    let allowed = [
        "HOME",
        "LANG",
        "PATH",
        "POLYPEER_DATA",
        "POLYPEER_DISK_LIMIT",
        "POLYPEER_GATEWAY",
        "POLYPEER_PLUGIN",
        "POLYPEER_TOKEN",
        "PYTHONPATH",
        "PYTHONUNBUFFERED",
        "TMPDIR",
        "TZ",
    ];
    let names: Vec<&str> = names.split_whitespace().collect();
    assert!(names.iter().all(|name| allowed.contains(name)), "{names:?}");
    assert!(names.contains(&"POLYPEER_TOKEN") && names.contains(&"POLYPEER_GATEWAY"));
    let signals = world.file("look", "signals").await;
    for line in signals.lines() {
        let bits = line.split('\t').nth(1).and_then(|bits| u64::from_str_radix(bits, 16).ok()).expect("hex");
        // From 32 on are those the C library keeps for itself.
        assert_eq!(bits & 0x7fff_ffff, 0, "{signals}");
    }
    let links = world.file("look", "fds").await;
    assert!(!links.contains("/dev/zero") && !links.contains("socket:"), "{links}");
    assert!(links.starts_with("['/dev/null', 'pipe:") && links.matches(',').count() == 2, "{links}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plugin_has_no_rights_and_sees_nothing_of_the_node() {
    let code = r#"
import os
home = os.path.dirname(os.path.dirname(os.environ['POLYPEER_DATA']))
def attempt(name, action):
    try:
        result = action()
    except OSError as error:
        result = error.strerror
    out.write(f'{name}: {result}\n')
out = open(os.environ['POLYPEER_DATA'] + '/report.tmp', 'w')
status = dict(line.split(':\t', 1) for line in open('/proc/self/status').read().splitlines() if ':\t' in line)
out.write(f"no_new_privs: {status['NoNewPrivs']}\nbounding: {status['CapBnd']}\neffective: {status['CapEff']}\n")
out.write(f"session is init's: {os.getsid(0) != os.getpid()}\nleads its group: {os.getpgrp() == os.getpid()}\n")
out.write(f"pids: {sorted(int(name) for name in os.listdir('/proc') if name.isdigit())[:2]}\n")
for path in ('identity.key', 'run/control.key', 'data/other', 'plugins/other', 'run/control.sock'):
    attempt(path, lambda: open(os.path.join(home, path)).read())
attempt('home', lambda: sorted(os.listdir(home)))
attempt('gateways', lambda: len(os.listdir(os.path.dirname(os.path.dirname(os.environ['POLYPEER_GATEWAY'])))))
attempt('own folder', lambda: open('new', 'w'))
attempt('own data', lambda: open(os.environ['HOME'] + '/new', 'w').write('x'))
attempt('temporary', lambda: open(os.environ['TMPDIR'] + '/new', 'w').write('x'))
attempt('uncover', lambda: os.system(f'umount {home} 2>/dev/null') != 0)
attempt('sysctl', lambda: open('/proc/sys/kernel/core_pattern', 'w'))
attempt('init', lambda: os.readlink('/proc/1/fd/0'))
group = [line.split() for line in open('/proc/self/mounts') if line.split()[2] in ('cgroup', 'cgroup2')]
out.write(f"groups writable: {[mount[1] for mount in group if 'rw' in mount[3].split(',')]}\n")
import socket
attempt('loopback', lambda: socket.create_server(('127.0.0.1', 0)) and 'up')
interfaces = [name for _, name in socket.if_nameindex()]
out.write(f"interfaces: {[name for name in interfaces if name != 'lo' and open(f'/proc/net/dev').read().count(name + ':')]}\n")
out.close()
os.rename(os.environ['POLYPEER_DATA'] + '/report.tmp', os.environ['POLYPEER_DATA'] + '/report')
import time; time.sleep(1000)
"#;
    let world = World::start(&[]).await;
    std::fs::write(world.home.identity_key(), "secret").expect("writable");
    std::fs::write(world.home.control_key(), "secret").expect("writable");
    Script::new("other", "").install(&world.home);
    std::fs::create_dir_all(world.home.data(&id("other"))).expect("writable");
    world.supervisor.add(python("look", code).install(&world.home)).await.expect("added");
    let report = world.file("look", "report").await;
    let status = world.status("look").await;
    assert!(world.supervisor.is_confined(status.pid.expect("it runs")));
    assert!(!world.supervisor.is_confined(i32::try_from(std::process::id()).expect("a pid fits")));
    let line = |name: &str| {
        report
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}: ")))
            .unwrap_or_else(|| panic!("{name}\n{report}"))
    };
    assert_eq!(line("no_new_privs"), "1");
    if nix::unistd::geteuid().is_root() {
        assert_eq!(line("bounding"), "0000000000000000");
    }
    assert_eq!(line("effective"), "0000000000000000");
    assert_eq!(line("session is init's"), "True");
    assert_eq!(line("leads its group"), "True");
    assert!(applied(&status, "no_new_privileges") && applied(&status, "open_files"));
    if !applied(&status, "mount_namespace") || !applied(&status, "hidden_home") {
        eprintln!("this machine allows no mount namespace: {:?}", status.confinement);
        return world.end().await;
    }
    assert!(line("pids").starts_with("[1, "), "{report}");
    let nothing = "No such file or directory";
    for hidden in ["identity.key", "run/control.key", "data/other", "plugins/other", "run/control.sock"] {
        assert_eq!(line(hidden), nothing, "{hidden}");
    }
    assert_eq!(line("home"), "['data', 'plugins', 'run']");
    assert_eq!(line("gateways"), "1");
    assert_eq!(line("own folder"), "Read-only file system");
    assert_eq!((line("own data"), line("temporary")), ("1", "1"));
    assert_eq!(line("uncover"), "True");
    assert_eq!(line("sysctl"), "Read-only file system");
    assert_eq!(line("init"), "Permission denied");
    assert_eq!(line("groups writable"), "[]");
    assert_eq!(line("loopback"), "up");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_change_while_it_runs() {
    let world = World::start(&[Script::new("chat", "exec sleep 1000\n")]).await;
    let before = world.reaches("chat", State::Ready).await;
    let settings = LimitSettings {
        memory: Some(Size(32 << 20)),
        pids: Some(7),
        cpu: Some(Percent(20)),
        ..LimitSettings::default()
    };
    let limits = Limits::resolve(&[&settings]);
    let earlier = Limits { pids: 9, ..limits.clone() };
    let (first, result) =
        tokio::join!(world.supervisor.set_limits(id("chat"), earlier), world.supervisor.set_limits(id("chat"), limits));
    let after = world.status("chat").await;
    assert_eq!(after.pid, before.pid, "without a restart");
    assert_eq!(first.is_ok(), result.is_ok(), "one after another: {first:?}");
    let names = ["memory", "cpu", "cpu_weight", "pids"];
    assert_eq!(result.is_ok(), names.iter().all(|name| applied(&after, name)), "{result:?}");
    if result.is_ok()
        && let Some(group) = unified_group(after.pid.expect("it runs"))
    {
        let value = |file: &str| std::fs::read_to_string(group.join(file)).expect("a limit that is applied is there");
        assert_eq!((value("memory.max").trim(), value("memory.swap.max").trim()), ("33554432", "0"));
        // One process more than it may have: our init.
        assert_eq!((value("pids.max").trim(), value("cpu.max").trim()), ("8", "20000 100000"));
    }
    world.end().await;
}

/// The group of a process, where version 2 is all there is.
fn unified_group(pid: i32) -> Option<PathBuf> {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let group = groups.trim_end().strip_prefix("0::/").filter(|group| !group.contains('\n'))?;
    Some(Path::new("/sys/fs/cgroup").join(group))
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_known_after_a_while() {
    let world = World::start(&[Script::new("chat", "while :; do :; done\n")]).await;
    let mut usage = world.reaches("chat", State::Ready).await.usage;
    let deadline = std::time::Instant::now() + support::PATIENCE;
    while usage.cpu_percent.is_none_or(|percent| percent < 1.0) || usage.disk_bytes.is_none() {
        assert!(std::time::Instant::now() < deadline, "{usage:?}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        usage = world.status("chat").await.usage;
    }
    assert!(usage.memory_bytes.is_some_and(|bytes| bytes > 0 && bytes < 256 << 20), "{usage:?}");
    assert!(usage.pids.is_some_and(|pids| (1..10).contains(&pids)), "{usage:?}");
    assert_eq!(usage.sent_bytes, Some(0));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flood_of_output_is_dropped_and_counted() {
    let world =
        World::start(&[Script::new("loud", "yes | head -n 100000\nwhile :; do echo end; sleep 0.1; done\n")]).await;
    until("it is told", || world.log("loud").contains("lines dropped: over 500 a second]")).await;
    until("the end is there", || world.log("loud").contains("out | end\n")).await;
    assert!(world.log("loud").lines().count() < 20_000);
    world.end().await;
}

/// The spike: user (where not root), mount, pid and network namespaces, and a gateway that outlives netcore.
#[tokio::test(flavor = "multi_thread")]
async fn plugin_in_all_namespaces_keeps_its_gateway_over_a_killed_netcore() {
    let code = r#"
import os, socket, time
seen = []
while len(seen) < 2:
    gateway = socket.socket(socket.AF_UNIX)
    gateway.connect(os.environ['POLYPEER_GATEWAY'])
    line = gateway.makefile().readline()
    if line:
        seen.append(line.split()[-1])
        open(os.environ['POLYPEER_DATA'] + '/seen', 'w').write(' '.join(seen) + '\n')
    gateway.recv(1)
time.sleep(1000)
"#;
    let world = World::start(&[python("spike", code).manifest("[health]\nready = \"session\"\n")]).await;
    let status = world.reaches("spike", State::Ready).await;
    let pid = status.pid.expect("it runs");
    for namespace in ["pid", "mnt", "net"] {
        let of = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/{namespace}")).ok();
        if applied(&status, "mount_namespace") {
            assert_ne!(of(&pid.to_string()), of("self"), "{namespace}");
        }
    }
    let first = world.file("spike", "seen").await;
    let netcore = world.supervisor.netcore().await.pid.expect("it runs");
    assert_eq!(first.trim(), netcore.to_string());
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(netcore), nix::sys::signal::Signal::SIGKILL).expect("killed");
    let path = world.home.data(&id("spike")).join("seen");
    until("it reaches the next netcore", || {
        std::fs::read_to_string(&path).is_ok_and(|text| text.split_whitespace().count() == 2)
    })
    .await;
    assert_eq!(world.status("spike").await.pid, Some(pid), "it was not restarted");
    world.end().await;
}
