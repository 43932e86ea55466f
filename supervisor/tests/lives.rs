//! Plugins' lives with real processes: start, readiness, crash, stop, order; and netcore's.

mod support;

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use polypeer_ipc_protocol::admin::{AdminRequest, AdminResponse};
use polypeer_supervisor::supervise::{PluginStatus, StartError, State, SupervisorEvent};
use support::{Script, World, id, is_alive, marked_processes, new_home, start, until};

fn kill_9(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn plugin_starts_is_ready_and_stops_whole() {
    let world = World::start(&[Script::new("chat", "echo hello\nsleep 1000 & sleep 1000\n")]).await;
    let status = world.reaches("chat", State::Ready).await;
    let pid = status.pid.expect("it runs");
    assert!(is_alive(pid));
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let parent = stat[stat.rfind(')').expect("a name")..].split(' ').nth(2).expect("a parent");
    let line = std::fs::read_to_string(format!("/proc/{parent}/cmdline")).expect("its init");
    assert!(line.starts_with("polypeer: init of chat\0"), "{line}");
    until("its output is logged", || world.log("chat").contains("out | hello\n")).await;
    world.supervisor.start_plugin(id("chat")).await.expect("start of a running plugin succeeds");
    assert_eq!(world.status("chat").await.pid, Some(pid), "and leaves it alone");
    world.supervisor.stop_plugin(id("chat")).await.expect("it stops");
    let status = world.status("chat").await;
    assert_eq!((status.state, status.pid), (State::Stopped, None));
    assert_eq!(status.exit_reason.as_deref(), Some("stopped by the operator"));
    assert!(!is_alive(pid));
    world.supervisor.start_plugin(id("chat")).await.expect("it starts again");
    assert_eq!(world.reaches("chat", State::Ready).await.restarts, 0);
    world.supervisor.remove(id("chat")).await.expect("it can be removed");
    assert_eq!(world.supervisor.plugin(&id("chat")).await, None);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_demand_runs_always_and_manual_waits_for_the_operator() {
    let script = |id, start| {
        let mut script = Script::new(id, "exec sleep 1000\n");
        script.manifest = format!("start = \"{start}\"\n{}", script.manifest);
        script
    };
    let world = World::start(&[script("later", "on-demand"), script("asked", "manual")]).await;
    world.reaches("later", State::Ready).await;
    assert_eq!(world.status("asked").await.state, State::Stopped);
    let added = script("added", "on-demand").install(&world.home);
    world.supervisor.add(added).await.expect("added");
    world.reaches("added", State::Ready).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_plugin_is_started_again_and_others_are_undisturbed() {
    let world = World::start(&[Script::new("aa", "exec sleep 1000\n"), Script::new("bb", "exec sleep 1000\n")]).await;
    let aa = world.reaches("aa", State::Ready).await.pid.expect("it runs");
    let bb = world.reaches("bb", State::Ready).await.pid.expect("it runs");
    kill_9(aa);
    let is_another = |status: &PluginStatus| status.state == State::Ready && status.pid != Some(aa);
    let again = world.becomes("aa", "another process", is_another).await;
    until("the crash is logged", || world.log("aa").contains("killed by signal 9 (SIGKILL)")).await;
    assert_eq!(again.exit_reason.as_deref(), Some("killed by signal 9 (SIGKILL)"));
    assert_eq!(again.restarts, 1);
    assert_eq!(world.status("bb").await.pid, Some(bb));
    world.end().await;
}

/// Ends the fork server by `signal` and a plugin with it; another fork server starts the plugin again.
async fn replaces_the_fork_server(signal: Signal) {
    let world = World::start(&[Script::new("aa", "exec sleep 1000\n"), Script::new("bb", "exec sleep 1000\n")]).await;
    let aa = world.reaches("aa", State::Ready).await.pid.expect("it runs");
    let bb = world.reaches("bb", State::Ready).await.pid.expect("it runs");
    let gateways = world.home.sockets().join("gateway");
    let servers = marked_processes(&format!("polypeer: fork server\0internal-init\0{}\0", gateways.display()));
    assert_eq!(servers.len(), 1);
    kill(Pid::from_raw(servers[0]), signal).expect("it runs");
    kill_9(aa);
    let is_another = |status: &PluginStatus| status.state == State::Ready && status.pid != Some(aa);
    world.becomes("aa", "another process", is_another).await;
    assert_eq!(world.status("bb").await.pid, Some(bb));
    world.end().await;
    assert_eq!(marked_processes(&gateways.display().to_string()), Vec::<i32>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn fork_server_that_is_killed_is_replaced_and_what_runs_lives_on() {
    replaces_the_fork_server(Signal::SIGKILL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fork_server_that_does_nothing_is_replaced_and_what_runs_lives_on() {
    replaces_the_fork_server(Signal::SIGSTOP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_loop_is_given_up_with_the_reason() {
    let world = World::start(&[Script::new("chat", "exit 3\n")]).await;
    let status = world.reaches("chat", State::Failed).await;
    assert_eq!(status.exit_reason.as_deref(), Some("gave up: 5 crashes in 60 s, last: exited with status 3"));
    assert_eq!(status.restarts, 4);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn program_that_is_not_there_is_told_to_who_starts_it() {
    let script = Script::new("chat", "").manifest("[health]\nready = \"none\"\n[restart]\npolicy = \"never\"\n");
    let world = World::start(&[]).await;
    let mut spec = script.install(&world.home);
    spec.manifest.plugin.command = vec!["./no-such-program".to_owned()];
    spec.enabled = false;
    world.supervisor.add(spec).await.expect("added");
    let failure = world.supervisor.start_plugin(id("chat")).await.expect_err("it cannot run");
    assert!(failure.message.contains("cannot run ./no-such-program: No such file"), "{failure}");
    assert_eq!(world.status("chat").await.state, State::Failed);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stubborn_plugin_is_killed_after_its_time() {
    let script = Script::new("chat", "trap '' TERM\necho up > \"$POLYPEER_DATA/up\"\nwhile :; do sleep 1; done\n")
        .manifest("[health]\nready = \"none\"\nstop_timeout = \"1s\"\n");
    let world = World::start(&[script]).await;
    world.file("chat", "up").await;
    world.supervisor.stop_plugin(id("chat")).await.expect("it stops");
    let status = world.status("chat").await;
    let expected = "stopped by the operator; did not stop within 1 s of SIGTERM: killed";
    assert_eq!(status.exit_reason.as_deref(), Some(expected));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_start_after_what_they_require_and_stop_before() {
    let script = "trap 'echo bye; exit 0' TERM\necho up\nwhile :; do sleep 0.05; done\n";
    let requires = |what: &str| format!("requires = [{what}]\n[health]\nready = \"none\"\n");
    let world = World::start(&[
        Script::new("aa", script).manifest(&requires("\"bb\"")),
        Script::new("bb", script).manifest(&requires("\"cc\"")),
        Script::new("cc", script).manifest(&requires("")),
        Script::new("dd", script).manifest(&requires("\"gone\"")),
    ])
    .await;
    let mut events = world.supervisor.subscribe();
    world.reaches("aa", State::Ready).await;
    assert_eq!(world.status("bb").await.state, State::Ready);
    let orphan = world.reaches("dd", State::Failed).await;
    assert_eq!(orphan.exit_reason.as_deref(), Some("it requires gone, which is not installed"));
    world.end().await;
    let mut stopped = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let SupervisorEvent::Plugin { id, state: State::Stopped, reason: Some(_) } = event {
            stopped.push(id.to_string());
        }
    }
    assert_eq!(stopped, ["aa", "bb", "cc"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn port_that_answers_makes_a_plugin_ready() {
    let serve = "import os, socket, time\n\
        while not os.path.exists(os.environ['POLYPEER_DATA'] + '/go'): time.sleep(0.02)\n\
        s = socket.create_server(('127.0.0.1', 8333))\n\
        while True: s.accept()\n";
    let script =
        Script::new("chat", &format!("exec python3 -c \"{serve}\"\n")).manifest("[health]\nready = \"tcp:8333\"\n");
    let world = World::start(&[script]).await;
    until("it runs", || world.log("chat").contains("started, pid")).await;
    assert_eq!(world.status("chat").await.state, State::Starting);
    std::fs::write(world.home.data(&id("chat")).join("go"), "").expect("writable");
    world.reaches("chat", State::Ready).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn netcore_that_cannot_start_is_told_with_its_last_words() {
    let (_folder, home) = new_home();
    std::fs::write(home.root().join("netcore.broken"), "").expect("writable");
    let error = start(&home, Vec::new()).await.expect_err("it cannot start");
    let StartError::Netcore { how, lines } = &error else { panic!("{error}") };
    assert_eq!(how, "exited with status 4");
    assert_eq!(lines, &["the port is taken"]);
    assert!(!error.to_string().contains("the port is taken"), "it is in the log: {error}");
    assert_eq!(error.in_full(), format!("{error}\n  the port is taken"));
}

/// Says what the fake netcore on the other end of a plugin's gateway says.
fn greeting(world: &World, launch: u64) -> (String, BufReader<UnixStream>) {
    let path = world.home.sockets().join(format!("gateway/{launch}/gateway.sock"));
    let mut stream = BufReader::new(UnixStream::connect(path).expect("a connect is never refused"));
    let mut line = String::new();
    stream.read_line(&mut line).expect("netcore speaks");
    (line, stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_netcore_is_started_again_and_learns_every_launch() {
    let world = World::start(&[Script::new("chat", "exec sleep 1000\n")]).await;
    let plugin = world.reaches("chat", State::Ready).await.pid;
    let before = world.supervisor.netcore().await;
    assert_eq!((before.state.as_str(), before.restarts), ("ready", 0));
    assert!(before.rss_bytes.is_some_and(|bytes| bytes > 0));
    let operator = world.supervisor.operator().await.expect("a session");
    let first = before.pid.expect("it runs");
    kill_9(first);
    // The session waits in the listener for the next netcore.
    let number: u64 =
        operator.gateway.parent().and_then(|folder| folder.file_name()?.to_str()?.parse().ok()).expect("N");
    let (line, _stream) = tokio::task::block_in_place(|| greeting(&world, number));
    let after = world.supervisor.netcore().await;
    let second = after.pid.expect("it runs again");
    assert_eq!(line, format!("launch {number} pid {second}\n"));
    assert_ne!(first, second);
    assert_eq!((after.restarts, after.exit_reason.as_deref()), (1, Some("killed by signal 9 (SIGKILL)")));
    assert_eq!(world.status("chat").await.pid, plugin, "plugins keep running");
    let answer = world.supervisor.admin(AdminRequest::Peers).await.expect("it answers again");
    assert_eq!(answer, AdminResponse::Peers(Vec::new()));
    let events = std::fs::read_to_string(world.home.root().join("netcore.events")).expect("it records");
    let settings: Vec<&str> = events.lines().filter(|line| line.contains("\"configure\"")).collect();
    assert!(settings[0].contains("\"listen\": []"), "{settings:?}");
    assert!(settings[1].contains("\"listen\": [\"127.0.0.1:7470\"]"), "{settings:?}");
    drop(operator);
    until("the operator's launch is over", || {
        let events = std::fs::read_to_string(world.home.root().join("netcore.events")).unwrap_or_default();
        events.lines().any(|line| line.contains("\"remove\"") && line.contains(&format!("\"launch\": {number}")))
    })
    .await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn netcore_finds_its_session_at_3_and_no_other_descriptor() {
    let world = World::start(&[]).await;
    let events = std::fs::read_to_string(world.home.root().join("netcore.events")).expect("it records");
    let begin = events.lines().next().expect("it began");
    // The highest is the listing itself.
    assert!(begin.contains("\"descriptors\": [0, 1, 2, 3, 4]"), "{begin}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn netcore_gets_its_settings_first_and_then_starts() {
    let world = World::start(&[]).await;
    let events = std::fs::read_to_string(world.home.root().join("netcore.events")).expect("it records");
    let events: Vec<serde_json::Value> =
        events.lines().map(|line| serde_json::from_str(line).expect("a document")).collect();
    let names: Vec<_> = events.iter().filter_map(|event| event["event"].as_str()).collect();
    assert_eq!(names, ["begin", "configure", "start"]);
    // What it logs is the only one of them that it needs before its session begins.
    let log = "warn,polypeer_netcore=info,polypeer_engine=info,polypeer_ipc_protocol=info";
    assert_eq!(events[0]["arguments"], serde_json::json!(["--home", world.home.root(), "--log", log]));
    assert_eq!((&events[1]["network"], &events[1]["lan"]), (&"main".into(), &false.into()));
    world.end().await;
}
