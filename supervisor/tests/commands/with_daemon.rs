//! Commands that a daemon answers.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use polypeer_ipc_protocol::admin::{AdminRequest, AdminResponse};
use polypeer_ipc_protocol::gateway::Grants;
use polypeer_ipc_protocol::ids::{NodeId, Secret};
use polypeer_supervisor::cli_error::Exit;
use polypeer_supervisor::control::client::Control;
use polypeer_supervisor::control::{Answer, Request};
use polypeer_supervisor::home::Home;
use serde_json::Value;

use crate::world::World;

/// Node id of the fake network core: 32 zero bytes.
const NODE: &str = "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy";
/// Node id of a peer, which begins as the fake one.
const PEER: &str = "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyndrfg8ejkmcy";
/// A plugin that is ready at once and runs until it is told to end.
const SLEEPER: &str = "echo hello from the plugin\nexec sleep 1000\n";
const READY: &str = "[health]\nready = \"none\"\n";

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn node_is_described_as_text_and_as_documented_json() {
    let mut world = World::new();
    world.start();
    assert_eq!(world.run(&["id"]).snapshot(), format!("0\n--- out\n{NODE}\n--- err\n"));
    assert_eq!(world.run(&["ticket"]).snapshot(), format!("0\n--- out\npolypeer:{NODE}\n--- err\n"));
    let done = world.run(&["peers"]);
    assert_eq!(done.snapshot(), "0\n--- out\n--- err\nno peers yet; add one with `polypeer peers add TICKET`\n");
    assert_eq!(world.run(&["peers", "--json"]).out, "[]\n");

    let done = world.run(&["status"]);
    let mut firsts = done.out.lines().map(|line| line.split("  ").next().unwrap_or_default());
    let health = "all is well, but no peer is connected yet; add one with `polypeer peers add TICKET`";
    assert_eq!(firsts.next(), Some(health), "{done:?}");
    let firsts: Vec<_> = firsts.collect();
    let expected = [
        "node",
        "home",
        "version",
        "uptime",
        "network core",
        "listens on",
        "reach",
        "peers",
        "sources",
        "traffic",
        "plugins",
        "offenders",
    ];
    assert_eq!((done.code, firsts), (0, expected.to_vec()), "{done:?}");
    assert!(!done.out.contains('\x1b'), "no colours into a pipe");

    let status = world.run(&["--json", "status"]).json();
    let expected = [
        "listen",
        "netcore",
        "node_id",
        "offenders",
        "peers",
        "plugins",
        "problems",
        "reach",
        "sources",
        "traffic",
        "uptime_s",
        "version",
    ];
    assert_eq!(keys(&status), expected);
    let lie =
        serde_json::json!({ "node_id": NODE, "address": "192.0.2.9:7470", "reason": "lie", "count": 3, "ago_s": 60 });
    assert_eq!(status["offenders"], serde_json::json!([lie]));
    for (verb, done) in [("protect", "protected"), ("unprotect", "unprotected"), ("unblock", "unblocked")] {
        let told = world.run(&["peers", verb, PEER]);
        assert_eq!((told.code, told.err.trim()), (0, format!("{done} {PEER}").as_str()), "{told:?}");
    }
    assert_eq!(keys(&status["netcore"]), ["pid", "restarts", "rss_bytes", "state"]);
    assert_eq!(status["traffic"], serde_json::json!({ "sent_bytes": 5, "received_bytes": 7 }));
    assert_eq!(status["listen"], serde_json::json!(["127.0.0.1:7470"]));
}

#[test]
fn peer_is_named_found_by_its_name_and_by_the_start_of_its_id() {
    let mut world = World::new();
    world.start();
    let done = world.run(&["peers", "name", PEER, "ann"]);
    assert_eq!(done.snapshot(), format!("0\n--- out\n--- err\n{PEER} is now ann\n"));
    for text in ["ann", PEER, &PEER[..51]] {
        let done = world.run(&["peers", "protect", text]);
        assert_eq!(done.snapshot(), "0\n--- out\n--- err\nprotected ann (yyyyyyyy)\n", "{text}");
    }
    let peers = world.run(&["peers", "--json"]).json();
    assert_eq!(
        (&peers[0]["node_id"], &peers[0]["name"], &peers[0]["state"]),
        (&PEER.into(), &"ann".into(), &"named".into())
    );
    let renamed = world.run(&["peers", "name", "ann", "anna"]);
    assert_eq!(renamed.err, format!("{PEER} is now anna; it was ann\n"));
    world.run(&["peers", "ping", "ann"]).refused(2, &["no peer has the name \"ann\"", "did you mean anna?"]);
    world.run(&["peers", "ping", &PEER[..20]]).refused(2, &["fits 2 peers", "your own node", "anna"]);
    for arguments in [["peers", "forget", NODE], ["peers", "block", "local"], ["peers", "ping", NODE]] {
        world.run(&arguments).refused(2, &["your own node"]);
    }
    let reserved = world.run(&["peers", "name", PEER, "local"]);
    assert!(reserved.code == 2 && reserved.err.contains("always stands for your own node"), "{reserved:?}");

    assert_eq!(world.run(&["shutdown"]).code, 0);
    world.wait();
    world.start();
    let done = world.run(&["peers", "name", "anna", "--remove"]);
    assert_eq!(done.err, format!("{PEER} is no longer anna\n"), "names survive a restart");
    assert_eq!(world.run(&["peers", "--json"]).out, "[]\n");
}

#[test]
fn plugin_is_installed_run_changed_and_removed() {
    let mut world = World::new();
    world.start();
    let folder = world.plugin(
        "app",
        SLEEPER,
        &format!("{READY}[permissions]\ndial = [\"echo/*\"]\ndht = [\"a/*\"]\ngroups = true\n"),
    );

    let asked = world.run(&["plugin", "install", &folder]);
    asked.refused(4, &["--yes"]);
    for line in [
        "open connections to plugins of this node: echo/*",
        "256 MiB of memory",
        "store and look up public records: a/*",
        "Not enforced by this version: permissions.groups",
    ] {
        assert!(asked.err.contains(line), "{line} in {asked:?}");
    }
    assert_eq!(world.run(&["plugin", "list", "--json"]).json(), serde_json::json!([]), "nothing was installed");

    let done = world.run(&["plugin", "install", &folder, "--yes"]);
    assert_eq!((done.code, done.err.lines().last()), (0, Some("app is ready")), "{done:?}");
    let again = world.run(&["plugin", "install", &folder]);
    assert_eq!(again.snapshot(), "0\n--- out\n--- err\napp 1.2.3 is already installed\napp is ready\n");

    let info = world.run(&["plugin", "info", "app", "--json"]).json();
    for key in ["id", "version", "state", "pid", "restarts", "grants", "limits", "usage", "confinement"] {
        assert!(info.get(key).is_some(), "{key} in {info}");
    }
    assert_eq!((&info["version"], &info["state"]), (&"1.2.3".into(), &"ready".into()));
    assert_eq!(info["not_enforced"], serde_json::json!(["permissions.groups"]));
    assert_eq!(info["grants"]["dial"], serde_json::json!(["echo/*"]));
    assert_eq!(info["limits"]["memory_bytes"], 256 << 20);
    assert!(info["confinement"].as_array().is_some_and(|measures| {
        measures.iter().all(|measure| measure["applied"] == true || measure["why_not"].is_string())
    }));

    // It is ready as soon as it is started, which may be before it has said anything.
    let logs = world.until(&["plugin", "logs", "app"], |logs| logs.out.contains("out | hello from the plugin\n"));
    assert!(logs.out.contains("polypeer | started"), "{logs:?}");
    assert_eq!(world.run(&["plugin", "logs", "app", "-n", "1"]).out.lines().count(), 1);

    for (verb, state) in
        [("start", "ready"), ("stop", "stopped"), ("stop", "stopped"), ("start", "ready"), ("restart", "ready")]
    {
        let done = world.run(&["plugin", verb, "app"]);
        assert_eq!(done.snapshot(), format!("0\n--- out\n--- err\napp is {state}\n"), "{verb}");
    }

    let limits = world.run(&["plugin", "limit", "app", "memory=512MiB", "pids=9", "--json"]).json();
    assert_eq!((&limits["limits"]["memory_bytes"], &limits["limits"]["pids"]), (&(512 << 20).into(), &9.into()));
    let limits = world.run(&["plugin", "limit", "app", "pids=default", "--json"]).json();
    assert_eq!(limits["overrides"], serde_json::json!({ "memory": "512MiB" }));
    world.run(&["plugin", "limit", "app", "memry=1MiB"]).refused(2, &["did you mean \"memory\"?"]);
    world.run(&["plugin", "grants", "app", "--add-peer", PEER]).refused(2, &["peers = \"list\""]);

    world.run(&["plugin", "remove", "app"]).refused(4, &["--yes"]);
    let done = world.run(&["plugin", "remove", "app", "-y"]);
    assert!(done.code == 0 && done.err.starts_with("removed app\nits data ("), "{done:?}");
    world.run(&["plugin", "info", "app"]).refused(2, &["no plugin app is installed", "polypeer plugin list"]);
    assert!(!world.home.join("plugins/app").exists() && world.home.join("data/app").exists());
}

#[test]
fn state_survives_the_end_of_the_daemon_however_it_ends() {
    let mut world = World::new();
    world.start();
    let (on, off) = (world.plugin("on", SLEEPER, READY), world.plugin("off", SLEEPER, READY));
    assert_eq!(world.run(&["plugin", "install", &on, "--yes"]).code, 0);
    assert_eq!(world.run(&["plugin", "install", &off, "--yes", "--no-start"]).code, 0);
    assert_eq!(world.run(&["plugin", "limit", "on", "pids=20"]).code, 0);
    for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGINT] {
        kill(Pid::from_raw(world.pid()), signal).expect("it runs");
        let code = world.wait();
        assert_eq!(code, if signal == Signal::SIGKILL { None } else { Some(0) }, "{}", world.log());
        assert!(!world.log().contains("WARN"), "nothing is wrong with an ordinary stop: {}", world.log());
        world.start();
        let plugins = world.run(&["plugin", "list", "--json"]).json();
        let states: Vec<_> =
            plugins.as_array().expect("a list").iter().map(|plugin| (&plugin["id"], &plugin["enabled"])).collect();
        assert_eq!(states, [(&"off".into(), &false.into()), (&"on".into(), &true.into())]);
        assert_eq!(world.run(&["plugin", "info", "on", "--json"]).json()["limits"]["pids"], 20);
        assert_eq!(world.run(&["plugin", "start", "on"]).code, 0);
        assert_eq!(world.run(&["plugin", "info", "off", "--json"]).json()["state"], "stopped");
    }
    let done = world.run(&["shutdown"]);
    assert_eq!(done.snapshot(), "0\n--- out\n--- err\nthe daemon has stopped\n");
    assert_eq!(world.wait(), Some(0));
    world.run(&["status"]).refused(3, &["no daemon runs"]);
}

#[test]
fn second_daemon_on_a_home_names_the_first() {
    let mut world = World::new();
    world.start();
    let pid = format!("(pid {})", world.pid());
    world.run(&["run"]).refused(1, &["already runs on FOLDER/home", &pid, "polypeer --home FOLDER/home shutdown"]);
    assert_eq!(world.run(&["id"]).code, 0, "the first goes on");
}

#[test]
fn plugin_that_ends_at_once_is_told_with_its_reason() {
    let mut world = World::new();
    world.start();
    let folder = world.plugin("app", "exit 7\n", "[restart]\npolicy = \"never\"\n");
    let done = world.run(&["plugin", "install", &folder, "--yes"]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.err.contains("app did not start: exited with status 7"), "{done:?}");
    let hint = "hint: see its output with `polypeer plugin logs app`; it is installed, and it starts with the daemon; \
                `polypeer plugin remove app` removes it\n";
    assert!(done.err.ends_with(hint), "{done:?}");
    let info = world.run(&["plugin", "info", "app", "--json"]).json();
    assert_eq!((&info["state"], info["enabled"].as_bool()), (&"failed".into(), Some(true)));
}

#[test]
fn new_version_replaces_the_old_one_and_keeps_what_the_operator_set() {
    let mut world = World::new();
    world.start();
    let folder = world.plugin("app", SLEEPER, READY);
    assert_eq!(world.run(&["plugin", "install", &folder, "--yes"]).code, 0);
    assert_eq!(world.run(&["plugin", "limit", "app", "pids=20"]).code, 0);
    let before = world.run(&["plugin", "info", "app", "--json"]).json();
    fs::write(format!("{folder}/more"), "more").expect("written");
    let done = world.run(&["plugin", "install", &folder, "--yes"]);
    assert!(done.code == 0 && done.err.starts_with("This replaces app 1.2.3 with 1.2.3."), "{done:?}");
    let after = world.run(&["plugin", "info", "app", "--json"]).json();
    assert_ne!((&before["pid"], &before["digest"]), (&after["pid"], &after["digest"]));
    assert_eq!(after["limits"]["pids"], 20);
    assert!(world.home.join("plugins/app/more").exists());
}

#[test]
fn modes_of_later_versions_are_installed_only_for_later() {
    let mut world = World::new();
    world.start();
    let folder = world.plugin("app", SLEEPER, "mode = \"stdio\"\n");
    let done = world.run(&["plugin", "install", &folder, "--yes"]);
    assert!(done.code == 1 && done.err.contains("mode = \"stdio\", which this version cannot run"), "{done:?}");
    world.run(&["plugin", "info", "app"]).refused(2, &["no plugin app is installed"]);
    assert_eq!(world.run(&["plugin", "install", &folder, "--yes", "--no-start"]).code, 0);
    for _ in 0..2 {
        assert_eq!(world.run(&["plugin", "info", "app", "--json"]).json()["state"], "stopped");
        assert_eq!(world.run(&["shutdown"]).code, 0);
        world.wait();
        world.start();
    }
}

#[test]
fn service_manager_is_told_when_the_daemon_is_ready_and_when_it_stops() {
    let mut world = World::new();
    let path = world.folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    world.start_with(|command| {
        command.env("NOTIFY_SOCKET", &path);
    });
    let mut buffer = [0; 64];
    let mut told = || {
        let length = socket.recv(&mut buffer).expect("a datagram");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    assert_eq!(told(), "READY=1");
    assert_eq!(world.run(&["shutdown", "--quiet"]).snapshot(), "0\n--- out\n--- err\n");
    assert_eq!(told(), "STOPPING=1");
}

#[test]
fn service_manager_with_a_watchdog_is_told_again_and_again_that_all_is_well() {
    let mut world = World::new();
    let path = world.folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    world.start_with(|command| {
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "100000").env_remove("WATCHDOG_PID");
    });
    let mut buffer = [0; 64];
    let mut told = || {
        let length = socket.recv(&mut buffer).expect("a datagram");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    assert_eq!([told(), told(), told()], ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]);
}

#[test]
fn plugin_that_crashes_once_it_is_ready_fails_the_install_with_its_last_words() {
    let mut world = World::new();
    world.start();
    let script = "echo started\nsleep 0.1\necho not granted: app/1 >&2\nexit 3\n";
    let folder = world.plugin("app", script, READY);
    let done = world.run(&["plugin", "install", &folder, "--yes"]);
    let text = "app did not start: exited with status 3; its last line: not granted: app/1";
    assert!(done.code == 1 && done.err.contains(text), "{done:?}");
}

#[test]
fn plugin_that_never_connects_has_a_reason() {
    let mut world = World::new();
    world.start();
    let folder = world.plugin("app", SLEEPER, "[health]\nready = \"session\"\nready_timeout = \"1s\"\n");
    let done = world.run(&["plugin", "install", &folder, "--yes"]);
    let text = "app did not start: not connected for 1 s: does it call connect()?";
    assert!(done.code == 1 && done.err.contains(text), "{done:?}");
    let log = world.run(&["plugin", "logs", "app"]).out;
    assert!(log.contains("polypeer | not connected for 1 s"), "{log}");
    assert_eq!(world.run(&["plugin", "disable", "app"]).err, "app is disabled and stopped\n");
}

#[test]
fn plugin_that_ignores_its_end_is_told_of_while_the_command_waits() {
    let mut world = World::new();
    world.start();
    let more = "[health]\nready = \"none\"\nstop_timeout = \"4s\"\n";
    let folder = world.plugin("app", "trap '' TERM\necho deaf\nwhile :; do sleep 1; done\n", more);
    assert_eq!(world.run(&["plugin", "install", &folder, "--yes"]).code, 0);
    world.until(&["plugin", "logs", "app"], |logs| logs.out.contains("out | deaf\n"));
    let done = world.run(&["plugin", "stop", "app"]);
    assert!(done.err.starts_with("app is stopping: it was told to end; killed in "), "{done:?}");
    assert!(done.code == 0 && done.err.ends_with("app is stopped\n"), "{done:?}");
    let log = world.run(&["plugin", "logs", "app", "-n", "1"]).out;
    assert!(log.ends_with("polypeer | did not stop within 4 s of SIGTERM: killed\n"), "{log}");
}

#[test]
fn limit_that_cannot_work_is_refused_and_one_that_does_nothing_is_told() {
    let mut world = World::new();
    world.start();
    let script = "exec python3 -c \"x = bytearray(b'x' * (40 << 20)); print('has it', flush=True); \
                  import time; time.sleep(1000)\"\n";
    let folder = world.plugin("app", script, READY);
    assert_eq!(world.run(&["plugin", "install", &folder, "--yes"]).code, 0);
    world.until(&["plugin", "info", "app", "--json"], |info| {
        info.json()["usage"]["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 40 << 20)
    });
    let before = world.run(&["plugin", "info", "app", "--json"]).json();
    world.run(&["plugin", "limit", "app", "memory=20MiB"]).refused(4, &["app uses 4", "its limit stays at 256 MiB"]);
    world.run(&["plugin", "limit", "app", "memory=999TiB"]).refused(2, &["of this machine"]);
    let after = world.run(&["plugin", "info", "app", "--json"]).json();
    for key in ["limits", "overrides", "confinement", "pid", "not_enforced"] {
        assert_eq!(before[key], after[key], "nothing changed");
    }
    assert_eq!(world.run(&["plugin", "stop", "app"]).code, 0);
    let done = world.run(&["plugin", "limit", "app", "memory=20MiB"]);
    assert!(done.code == 0 && done.err.contains(" of memory before: with less it may not start"), "{done:?}");
    assert_eq!(world.run(&["plugin", "limit", "app", "memory=default"]).err, "");
    let done = world.run(&["plugin", "limit", "app", "upload=1MiB/s", "--json"]);
    assert_eq!(done.json()["not_enforced"], serde_json::json!(["upload"]));
    assert!(done.err.contains("upload is stored, and not enforced by this version"), "{done:?}");
    let info = world.run(&["plugin", "info", "app", "--json"]).json();
    assert_eq!(info["not_enforced"], serde_json::json!(["limits.upload"]));
}

#[test]
fn what_a_removed_plugin_left_is_listed_and_deleted_later() {
    let mut world = World::new();
    world.start();
    let folder = world.plugin("app", SLEEPER, READY);
    assert_eq!(world.run(&["plugin", "install", &folder, "--yes"]).code, 0);
    world.until(&["plugin", "logs", "app"], |logs| logs.out.contains("hello from the plugin"));
    let mut following = world.command(&["plugin", "logs", "app", "-f"]);
    let following = following.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let left = world.run(&["plugin", "remove", "app", "--yes", "--json"]).json()["left"].clone();
    assert_eq!(left[0]["id"], "app");
    let followed = world.finish(following.wait_with_output().expect("it ends"));
    let closed_early = followed.err.contains("no plugin app is installed");
    assert!(closed_early || followed.err.contains("app was removed: its log ends here"), "{followed:?}");
    assert_eq!(world.run(&["plugin", "list", "--removed", "--json"]).json(), left);
    assert!(world.run(&["plugin", "logs", "app"]).out.contains("hello from the plugin"), "it can still be read");
    assert_eq!(world.run(&["plugin", "remove", "app", "--data", "--yes"]).code, 0);
    assert_eq!(world.run(&["plugin", "list", "--removed", "--json"]).out, "[]\n");
    assert!(!world.home.join("data/app").exists() && !world.home.join("logs/app.log").exists());
    world.run(&["plugin", "remove", "app", "--data", "--yes"]).refused(2, &["no plugin app is installed"]);
}

#[test]
fn home_of_200_characters_just_works() {
    let mut world = World::new();
    world.home = world.folder.path().join("x".repeat(200));
    world.start();
    assert_eq!(world.run(&["id"]).code, 0);
    // The daemon's environment and a later command's may differ.
    let output = world.command(&["id"]).env("XDG_RUNTIME_DIR", "/nowhere").output().expect("it runs");
    assert_eq!(world.finish(output).code, 0);
    let sockets = fs::read_to_string(world.home.join("run/sockets.path")).expect("a pointer");
    assert_eq!(world.run(&["shutdown"]).code, 0);
    let _ = fs::remove_dir_all(sockets); // The daemon does so itself, a moment after its last answer.
}

#[test]
fn request_to_netcore_that_is_not_an_operators_is_refused() {
    let mut world = World::new();
    world.start();
    let (launch, plugin) = (1, "operator".parse().expect("an id"));
    let others = [
        AdminRequest::Configure(Box::default()),
        AdminRequest::AddLaunch { launch, plugin, token: Secret([7; 32]), grants: Grants::default() },
        AdminRequest::RemoveLaunch { launch },
        AdminRequest::SetGrants { plugin: "operator".parse().expect("an id"), grants: Grants::default() },
        AdminRequest::Start,
        AdminRequest::Shutdown { grace_ms: 0 },
        AdminRequest::SetLog { filter: String::new() },
        AdminRequest::SetSeeds(Box::default()),
        AdminRequest::Status,
        AdminRequest::Explain { node: NodeId([0; 32]) },
        AdminRequest::Traffic,
    ];
    let asking = async {
        let mut control = Control::connect(&Home::at(&world.home)).await.expect("let in");
        for request in others {
            let shown = format!("{request:?}");
            let refused = control.request(&Request::Net { request }).await.expect_err(&shown);
            assert_eq!((refused.exit, refused.hint.is_empty()), (Exit::Refused, false), "{shown}: {refused}");
        }
        let answer = control.request(&Request::Net { request: AdminRequest::Peers }).await.expect("an operator's");
        assert_eq!(answer, Answer::Net(Box::new(AdminResponse::Peers(Vec::new()))));
    };
    tokio::runtime::Runtime::new().expect("a runtime").block_on(asking);
    let events = fs::read_to_string(world.home.join("netcore.events")).expect("it records");
    assert_eq!(events.matches("\"event\": \"configure\"").count(), 1, "{events}");
    assert!(!events.contains("\"remove\"") && !events.contains("\"shutdown\""), "{events}");
}

#[test]
fn change_that_the_next_start_would_not_know_is_refused_and_the_loss_is_a_problem() {
    let mut world = World::new();
    world.start();
    let folder = world.plugin("app", SLEEPER, READY);
    assert_eq!(world.run(&["plugin", "install", &folder, "--yes"]).code, 0);
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        fs::remove_file(world.home.join(name)).expect("it was there");
    }
    for arguments in [
        &["plugin", "disable", "app"][..],
        &["plugin", "limit", "app", "pids=20"],
        &["plugin", "remove", "app", "--yes"],
        &["peers", "name", PEER, "ann"],
    ] {
        world.run(arguments).refused(1, &["state.db was removed or replaced", "nothing was changed", "shutdown`"]);
    }
    assert_eq!(world.run(&["plugin", "info", "app", "--json"]).json()["state"], "ready", "it is left alone");
    let status = world.run(&["status", "--json"]).json();
    let problem = status["problems"][0]["problem"].as_str().unwrap_or_default();
    assert!(problem.contains("lost at its next start: state.db (installed plugins"), "{status}");
    let doctor = world.run(&["doctor"]);
    assert!(doctor.code == 1 && doctor.out.contains("PROBLEM  files in use"), "{doctor:?}");
    assert!(!doctor.out.contains("does not exist yet"), "{doctor:?}");
}

#[test]
fn plugin_that_is_killed_is_a_warning_in_the_log_and_one_that_is_restarted_is_not() {
    let mut world = World::new();
    world.start();
    let folder = world.plugin("app", SLEEPER, READY);
    assert_eq!(world.run(&["plugin", "install", &folder, "--yes"]).code, 0);
    assert_eq!(world.run(&["plugin", "restart", "app"]).code, 0);
    let logs = world.run(&["plugin", "logs", "app"]).out;
    assert!(logs.contains("polypeer | stopped\n") && !logs.contains("SIGTERM"), "{logs}");
    assert!(!world.log().contains("WARN"), "{}", world.log());
    let pid = world.run(&["plugin", "info", "app", "--json"]).json()["pid"].as_i64().expect("it runs");
    kill(Pid::from_raw(pid.try_into().expect("a pid")), Signal::SIGKILL).expect("it runs");
    world.until(&["logs"], |logs| logs.out.contains("plugin app ended: killed by signal 9 (SIGKILL)"));
    let told = world.log();
    let line = told.lines().find(|line| line.contains("plugin app ended: killed")).unwrap_or_default();
    assert!(line.contains("WARN"), "{told}");
}
