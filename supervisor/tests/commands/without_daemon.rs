//! What needs no daemon: wrong usage, configuration, homes that cannot be used, and that there is none.

use std::fs;

use crate::world::World;

const NODE: &str = "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy";

#[test]
fn commands_say_that_no_daemon_runs_and_how_to_start_one() {
    let world = World::new();
    for arguments in [
        &["status"][..],
        &["id"],
        &["ticket"],
        &["peers"],
        &["peers", "block", NODE],
        &["plugin", "list"],
        &["plugin", "logs", "chat"],
        &["pipe", NODE, "echo/1"],
        &["serve", "echo/1", "--", "cat"],
        &["send", "/dev/null"],
        &["get", &format!("polypeer-file:{}/a", "0".repeat(64))],
        &["chat", NODE],
        &["doctor", NODE],
        &["shutdown"],
    ] {
        world
            .run(arguments)
            .refused(3, &["no daemon runs on FOLDER/home", "polypeer --home FOLDER/home run", "--home DIR"]);
    }
    assert!(!world.home.exists(), "asking creates nothing");
}

#[test]
fn json_errors_are_one_document_too() {
    let world = World::new();
    let done = world.run(&["status", "--json"]);
    assert_eq!(done.code, 3);
    let error = &done.json()["error"];
    assert_eq!(error["exit_code"], 3);
    assert!(error["message"].as_str().is_some_and(|text| text.contains("no daemon")));
    assert!(error["hint"].as_str().is_some_and(|text| text.contains("polypeer --home")));
}

#[test]
fn wrong_usage_ends_with_2() {
    let world = World::new();
    for (arguments, fragment) in [
        (&["peers", "ping", "Bob"][..], "expected a name, a node id or its start, a ticket"),
        (&["pipe", NODE, "echo"], "expected name/version"),
        (&["get", "http://example.com"], "expected a link such as polypeer-file:HASH/NAME"),
        (&["plugin", "info", "Not An Id"], "expected 2 to 40 of a-z"),
        (&["frobnicate"], "unrecognized subcommand"),
        (&["run", "--listen", "localhost"], "expected an IP address and a port such as 127.0.0.1:7470 or [::]:0"),
        (&["plugin"], "Usage: polypeer plugin"),
    ] {
        let done = world.run(arguments);
        assert_eq!(done.code, 2, "{done:?}");
        assert!(done.out.is_empty() && done.err.contains(fragment), "{done:?}");
        let done = world.run(&[&["--json"][..], arguments].concat());
        let error = &done.json()["error"];
        assert_eq!((done.code, &error["exit_code"]), (2, &serde_json::json!(2)), "{done:?}");
        let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
        assert!(text("message").len() > 10 && text("hint").len() > 10, "{done:?}");
    }
    let help = world.run(&["--json", "--help"]);
    assert!(help.code == 0 && help.out.contains("Usage: polypeer") && help.err.is_empty(), "{help:?}");
}

#[test]
fn configuration_is_checked_without_a_daemon() {
    let world = World::new();
    fs::create_dir(&world.home).expect("a folder");
    let done = world.run(&["config", "check"]);
    assert_eq!(done.snapshot(), "0\n--- out\nFOLDER/home/config.toml does not exist: the defaults apply\n--- err\n");
    fs::write(world.home.join("config.toml"), "lan = true\n").expect("written");
    assert_eq!(world.run(&["config", "check"]).snapshot(), "0\n--- out\nFOLDER/home/config.toml is valid\n--- err\n");
    fs::write(world.home.join("config.toml"), "# ours\nlsten = [\"127.0.0.1:0\"]\n").expect("written");
    let done = world.run(&["config", "check"]);
    let expected = "2\n--- out\n--- err\nerror: FOLDER/home/config.toml:2:1: unknown key \"lsten\"; expected one of listen, \
                    lan, discovery, peers, network, bundled_apps, limits, metrics, log\nhint: did you mean \"listen\"?\n";
    assert_eq!(done.snapshot(), expected);
    world.run(&["run"]).refused(2, &["config.toml:2:1"]);
}

#[test]
fn bad_manifest_is_told_before_a_daemon_is_looked_for() {
    let world = World::new();
    let folder = world.plugin("app", "exit", "[permissions]\nserv = []\n");
    let expected = "2\n--- out\n--- err\nerror: FOLDER/source-app/plugin.toml:6:1: unknown key \"serv\"; expected one of serve, \
                    dial, serve_local, peers, topics, dht, routes, groups, mailbox, map_ports, privacy, persona, network, \
                    host_ports, files, gpu\nhint: did you mean \"serve\"?\n";
    assert_eq!(world.run(&["plugin", "install", &folder]).snapshot(), expected);
    world.run(&["plugin", "install", "/nowhere"]).refused(2, &["/nowhere does not exist"]);
    let neither = "neither a folder \"files\" here nor a bundled app";
    world.run(&["plugin", "install", "files"]).refused(2, &[neither, "has no bundled apps"]);
    world.run(&["plugin", "install", "./files"]).refused(2, &["files does not exist"]);
}

#[test]
fn homes_that_cannot_be_used_are_refused_and_left_alone() {
    let world = World::new();
    fs::create_dir(&world.home).expect("a folder");
    fs::write(world.home.join("letter.txt"), "dear").expect("written");
    world.run(&["run"]).refused(2, &["is not empty and is not a Polypeer home"]);
    assert_eq!(fs::read_dir(&world.home).expect("read").count(), 1);

    let world = World::new();
    fs::create_dir(&world.home).expect("a folder");
    fs::write(world.home.join("state.db"), "garbage ".repeat(100)).expect("written");
    world.run(&["run"]).refused(1, &["state.db is damaged", "restore a backup"]);
    assert!(fs::read_to_string(world.home.join("state.db")).expect("read").starts_with("garbage"));

    let world = World::new();
    fs::write(&world.home, "").expect("written");
    world.run(&["run"]).refused(1, &["FOLDER/home"]);
}

#[test]
fn doctor_finds_nothing_wrong_before_the_first_run() {
    let world = World::new();
    let done = world.run(&["doctor"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.out.contains("info     daemon") && done.out.contains("`polypeer run` starts it"), "{done:?}");
    let checks = world.run(&["doctor", "--json"]).json();
    let checks = checks["checks"].as_array().expect("a list").clone();
    assert!(checks.iter().all(|check| check["result"] != "problem"), "{checks:?}");
}

#[test]
fn doctor_without_a_daemon_says_what_is_missing() {
    let world = World::new();
    fs::create_dir(&world.home).expect("a folder");
    fs::write(world.home.join("identity.key"), "of an earlier run").expect("written");
    let done = world.run(&["doctor"]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(
        done.out.contains("PROBLEM  daemon")
            && done.out.contains("-> start one with `polypeer --home FOLDER/home run`"),
        "{done:?}"
    );
    assert!(!done.out.contains('\x1b'), "no colours into a pipe");
    let done = world.run(&["doctor", "--json"]);
    let document = done.json();
    let checks = document["checks"].as_array().expect("a list");
    assert!(checks.iter().any(|check| check["name"] == "daemon" && check["result"] == "problem"));
    assert!(checks.iter().all(
        |check| ["ok", "info"].contains(&check["result"].as_str().expect("a word")) || check["remedy"].is_string()
    ));
}
