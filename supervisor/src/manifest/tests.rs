use super::*;

const MINIMAL: &str = "[plugin]\nid = \"chat\"\nversion = \"1.0.0\"\ncommand = [\"python3\", \"main.py\"]\n";

fn parse(text: &str) -> Result<Manifest, FileError> {
    Manifest::parse(Path::new("plugin.toml"), text)
}

/// The error of `text` as `line:column: what | hint`.
fn error(text: &str) -> String {
    let error = parse(text).expect_err("the manifest is refused");
    format!("{error} | {}", error.hint())
}

/// The manifest of `docs/design.md`, section 6, without the keys that contradict each other there.
const FULL: &str = r#"
[plugin]
id = "bitcoin"
version = "1.2.0"
name = "Bitcoin"
description = "A full node"
license = "MIT"
command = ["/usr/bin/bitcoind", "-listen"]
mode = "service"
start = "on-demand"
idle_stop = "10m"
requires = ["files"]
[permissions]
serve  = ["bitcoin/8333"]
dial   = ["bitcoin/*"]
serve_local = ["bitcoin-control/1"]
peers  = "any"
topics = ["chat/*"]
dht    = ["chat/*"]
routes = []
groups = false
mailbox = "1MiB"
map_ports = ["udp:51413"]
privacy = "relayed"
persona = true
network = "internet"
host_ports = [5432]
files  = [{ path = "~/Downloads", access = "write" }]
gpu    = ["nvidia:0", "render"]
[limits]
memory = "256MiB"
swap   = "0"
cpu    = "50%"
cpu_weight = 100
io_weight  = 100
pids   = 64
open_files = 256
disk   = "1GiB"
upload = "1MiB/s"
download = "4MiB/s"
traffic_weight = 100
latency = false
quota  = "50GiB/month"
schedule = ["01:00-07:00"]
[restart]
policy = "on-failure"
[health]
ready = "tcp:8333"
live  = ["./check", "now"]
live_every = "10s"
stop_timeout = "1m"
[[tunnel]]
serve = "bitcoin/8333"
to    = "tcp:127.0.0.1:8333"
[[tunnel]]
dial  = "bitcoin/8333"
from  = "tcp:127.0.0.1:18333"
peer  = "any"
[socks5]
listen = "127.0.0.1:1080"
[ui]
path = "ui"
"#;

#[test]
fn every_key_of_the_schema_is_accepted_and_typed() {
    let manifest = parse(FULL).expect("the whole schema");
    assert_eq!(manifest.limits.memory, Some(values::Size(256 << 20)));
    assert_eq!(manifest.health.stop_timeout, Duration::from_secs(60));
    assert_eq!(manifest.ready(), Ready::Tcp(8333));
    assert_eq!(manifest.permissions.peers, Peers::Any);
    let skipped = manifest.not_enforced(&manifest.limits);
    for key in ["permissions.mailbox", "limits.upload", "tunnel", "ui", "plugin.mode = \"service\"", "limits.quota"] {
        assert!(skipped.iter().any(|one| one == key), "{key} in {skipped:?}");
    }
    for key in ["memory", "routes", "topics", "dht"] {
        assert!(!skipped.iter().any(|one| one.contains(key)), "{key} in {skipped:?}");
    }
    let grants = manifest.permissions.grants(&[]);
    let chat = vec!["chat/*".parse().expect("a pattern")];
    assert_eq!((grants.topics, grants.dht), (chat.clone(), chat));
}

#[test]
fn the_example_of_the_design_is_accepted_as_it_stands() {
    let design = include_str!("../../../docs/design.md");
    let example = design.split_once("```toml\n").and_then(|(_, rest)| rest.split_once("```")).expect("an example").0;
    let manifest = parse(example).expect("every choice at once");
    let skipped = manifest.not_enforced(&manifest.limits);
    for key in ["plugin.idle_stop", "tunnel", "socks5"] {
        assert!(skipped.iter().any(|one| one == key), "{key} in {skipped:?}");
    }
}

#[test]
fn minimal_manifest_denies_everything_and_has_the_defaults() {
    let manifest = parse(MINIMAL).expect("a minimal manifest");
    assert_eq!(manifest.permissions, Permissions::default());
    assert_eq!(manifest.permissions.grants(&[]), Default::default());
    assert_eq!(manifest.permissions.in_words(), ["no permissions"]);
    assert_eq!((manifest.plugin.mode, manifest.plugin.start), (Mode::Native, Start::Always));
    assert_eq!(manifest.ready(), Ready::Session);
    assert!(manifest.not_enforced(&manifest.limits).is_empty());
    assert_eq!(Limits::resolve(&[&manifest.limits]), Limits::default());
}

#[test]
fn unknown_keys_are_refused_where_they_stand_with_a_suggestion() {
    let text = format!("{MINIMAL}\n[permissions]\n  sreve = [\"chat/1\"]\n");
    let told = error(&text);
    assert!(told.starts_with("plugin.toml:7:3: unknown key \"sreve\"; expected one of serve, dial"), "{told}");
    assert!(told.ends_with("did you mean \"serve\"?"), "{told}");
    assert!(error(&format!("{MINIMAL}[limit]\n")).contains("did you mean \"limits\"?"));
    assert!(error(&format!("{MINIMAL}mode = \"nativ\"\n")).contains("did you mean \"native\"?"));
}

#[test]
fn bad_values_say_what_was_expected() {
    for (extra, expected) in [
        ("[limits]\nmemory = 5", "7:10"),
        ("[limits]\nmemory = \"many\"", "256MiB"),
        ("[limits]\ncpu = \"half\"", "50%"),
        ("[limits]\nmemory = \"1B\"", "at least 8MiB"),
        ("[limits]\npids = 0", "1 to 100000"),
        ("[limits]\nquota = \"1GiB\"", "50GiB/month"),
        ("[health]\nready = \"soon\"", "session, notify, tcp:PORT or none"),
        ("[health]\nstop_timeout = \"1\"", "10s"),
        ("[health]\nlive_every = \"999ms\"", "7:14"),
        ("[health]\nlive_every = \"0s\"", "expected at least \"1s\""),
        ("[restart]\npolicy = \"sometimes\"", "on-failure"),
        ("[permissions]\nserve = [\"Chat\"]", "name/version"),
        ("[permissions]\nserve = [\"chat\"]\npeers = \"any\"", "name/version"),
        ("[permissions]\npeers = \"some\"", "any, list or group:ID"),
        ("[permissions]\nserve = \"chat/1\"", "expected a list"),
        ("[permissions]\nfiles = [{ path = \"Downloads\", access = \"read\" }]", "/… or ~/…"),
    ] {
        let told = error(&format!("{MINIMAL}\n{extra}\n"));
        assert!(told.contains(expected), "{extra}: {told}");
    }
    assert!(
        error(&MINIMAL.replace("\"1.0.0\"", "1"))
            .contains("plugin.version: expected a text in quotes, not the number 1")
    );
    assert!(error(&MINIMAL.replace("1.0.0", "one")).contains("three numbers"));
    assert!(error("[plugin]\nid = \"x\"\n").contains("2 to 40"));
    assert!(error("[plugin]\nid = \"chat\"\n").contains("\"version\" is missing"));
    assert!(error("[plugin\n").starts_with("plugin.toml:1:"));
    assert!(error("").contains("[plugin] is missing"));
}

#[test]
fn paths_that_leave_the_folder_are_refused() {
    let with_command = |command: &str| MINIMAL.replace("[\"python3\", \"main.py\"]", command);
    for bad in ["[\"/bin/sh\"]", "[\"../run\"]", "[\"bin/../../run\"]", "[]", "[\"\"]"] {
        assert!(error(&with_command(bad)).starts_with("plugin.toml:4:1: the "), "{bad}");
    }
    for good in ["[\"./run\"]", "[\"bin/run\", \"/etc/app.conf\"]"] {
        assert!(parse(&with_command(good)).is_ok(), "{good}");
    }
    for bad in ["/srv/ui", "../ui", "ui/../../x", ""] {
        assert!(error(&format!("{MINIMAL}[ui]\npath = {bad:?}\n")).contains("leaves the plugin's folder"), "{bad}");
    }
}

#[test]
fn contradictions_are_refused() {
    for (extra, expected) in [
        ("mode = \"service\"", "without a [[tunnel]] or [socks5]"),
        ("requires = [\"chat\"]", "requires itself"),
        ("mode = \"service\"\n[[tunnel]]\nserve = \"a/1\"\nto = \"tcp:127.0.0.1:1\"", "does not ask for"),
        ("mode = \"service\"\n[[tunnel]]\nserve = \"a/1\"", "either serve and to, or dial and from"),
        ("mode = \"stdio\"\n[health]\nready = \"session\"", "only mode = \"native\""),
        ("[permissions]\npersona = true", "privacy = \"direct\""),
        ("[health]\nlive = [\"/bin/true\"]", "outside the plugin's folder"),
    ] {
        let told = error(&format!("{MINIMAL}{extra}\n"));
        assert!(told.contains(expected), "{extra}: {told}");
    }
}

#[test]
fn missing_manifest_and_missing_folder_are_told_apart() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let error = Manifest::load(folder.path()).expect_err("no manifest");
    assert!(error.to_string().ends_with("plugin.toml does not exist"), "{error}");
    let error = Manifest::load(&folder.path().join("nowhere")).expect_err("no folder");
    assert!(error.to_string().ends_with("nowhere does not exist"), "{error}");
    assert!(error.hint().contains("plugin's folder"));
}

#[test]
fn plugin_that_serves_nobody_is_pointed_out() {
    let warnings = |permissions: &str| {
        parse(&format!("{MINIMAL}[permissions]\n{permissions}")).expect("valid").warnings().concat()
    };
    let told = warnings("serve = [\"chat/1\", \"talk/*\"]");
    assert!(told.contains("serves chat/1, talk/* and no peer can reach it"), "{told}");
    for peers in ["any", "list"] {
        assert_eq!(warnings(&format!("serve = [\"chat/1\"]\npeers = \"{peers}\"")), "");
    }
    assert_eq!(warnings("serve_local = [\"chat/1\"]"), "");
}
