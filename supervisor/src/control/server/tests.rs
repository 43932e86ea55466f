use std::os::unix::fs::PermissionsExt;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{oneshot, watch};

use super::*;
use crate::cli_error::Exit;
use crate::control::client::Control;
use crate::control::frames::MAX_DOCUMENT;
use crate::control::places::{MAX_LASTING, MAX_SHORT, MAX_SILENT};

/// Takes every caller for the operator. Answers `Id` with a text, `Operator` with one for as long as its caller wants,
/// and `PluginList` never, but tells when that is dropped.
struct Fake {
    dropped: std::sync::Mutex<Option<oneshot::Sender<()>>>,
    confines: Option<i32>,
    /// Whether another daemon has the home.
    lost_home: bool,
    /// How often it was asked whether the home is kept.
    looks: watch::Sender<u32>,
}

impl Handler for Fake {
    async fn handle(&self, request: Request, answers: mpsc::Sender<Answer>) {
        match request {
            Request::PluginList => {
                let _held = self.dropped.lock().expect("not poisoned").take();
                std::future::pending::<()>().await;
            }
            Request::Status => {
                for line in 0..200 {
                    let _ = answers.send(Answer::Line(line.to_string())).await;
                }
                let _ = answers.send(Answer::Done).await;
            }
            Request::Operator => {
                let _ = answers.send(Answer::Text("lasts".into())).await;
                std::future::pending::<()>().await;
            }
            _ => {
                let _ = answers.send(Answer::Text("me".into())).await;
                // The caller is quicker than what is left to do here.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }

    fn is_confined(&self, pid: i32) -> bool {
        self.confines == Some(pid)
    }

    fn keeps_home(&self) -> bool {
        self.looks.send_modify(|looks| *looks += 1);
        !self.lost_home
    }
}

struct World {
    _folder: tempfile::TempDir,
    home: Home,
    dropped: oneshot::Receiver<()>,
    looks: watch::Receiver<u32>,
}

fn world() -> World {
    world_that_confines(None)
}

fn world_that_confines(confines: Option<i32>) -> World {
    world_with(confines, false)
}

fn world_with(confines: Option<i32>, lost_home: bool) -> World {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let home = Home::at(folder.path());
    home.prepare().expect("a home");
    let (sender, dropped) = oneshot::channel();
    let server = Server::bind(&home).expect("a server");
    let (looks, looked) = watch::channel(0);
    let fake = Fake { dropped: std::sync::Mutex::new(Some(sender)), confines, lost_home, looks };
    tokio::spawn(server.run(Arc::new(fake)));
    World { _folder: folder, home, dropped, looks: looked }
}

impl World {
    async fn raw(&self) -> UnixStream {
        UnixStream::connect(self.home.control_socket()).await.expect("it listens")
    }

    async fn works(&self) {
        let mut control = Control::connect(&self.home).await.expect("let in");
        assert_eq!(control.request(&Request::Id).await.expect("answered"), Answer::Text("me".into()));
    }
}

async fn told(stream: &mut UnixStream) -> String {
    match frames::read::<Answer>(stream, MAX_DOCUMENT).await {
        Ok(Some(Answer::Trouble(error))) => error.message,
        other => panic!("expected an error, got {other:?}"),
    }
}

#[tokio::test]
async fn requests_are_answered_one_after_the_other() {
    let world = world();
    let mut control = Control::connect(&world.home).await.expect("let in");
    for _ in 0..50 {
        assert_eq!(control.request(&Request::Id).await.expect("answered"), Answer::Text("me".into()));
    }
    let mut lines = 0;
    let mut answer = control.request(&Request::Status).await.expect("answered");
    while let Answer::Line(line) = answer {
        assert_eq!(line, lines.to_string());
        lines += 1;
        answer = control.next().await.expect("more");
    }
    assert_eq!((lines, answer), (200, Answer::Done));
    assert_eq!(control.request(&Request::Id).await.expect("answered"), Answer::Text("me".into()));
}

#[tokio::test]
async fn wrong_secret_and_other_version_are_refused() {
    let world = world();
    let mut stream = world.raw().await;
    frames::write(&mut stream, &Hello { secret: Secret([0; 32]), version: VERSION }).await.expect("sent");
    assert!(told(&mut stream).await.contains("secret is wrong"));
    let secret = std::fs::read_to_string(world.home.control_key()).expect("a key").trim().parse().expect("a secret");
    let mut stream = world.raw().await;
    frames::write(&mut stream, &Hello { secret, version: VERSION + 1 }).await.expect("sent");
    assert!(told(&mut stream).await.contains("another version"));
}

#[tokio::test]
async fn process_of_a_plugin_is_refused_although_it_knows_the_secret() {
    let world = world_that_confines(i32::try_from(std::process::id()).ok());
    let error = Control::connect(&world.home).await.expect_err("refused");
    assert!(error.message.contains("may not use the control socket"), "{error}");
    assert!(error.hint.contains("not from inside a plugin"));
}

#[tokio::test]
async fn garbage_ends_its_connection_and_no_other() {
    let world = world();
    let mut good = Control::connect(&world.home).await.expect("let in");
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[4, 0, 0, 0, b'n', b'o', b'n', b'e'], &[0xff; 64], &[0; 4]] {
        let mut stream = world.raw().await;
        stream.write_all(garbage).await.expect("sent");
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await; // Ended, or reset when garbage was left unread.
        assert!(rest.is_empty(), "{garbage:?}");
    }
    let mut half = world.raw().await;
    half.write_all(&[200, 0, 0]).await.expect("sent");
    drop(half);
    assert_eq!(good.request(&Request::Id).await.expect("answered"), Answer::Text("me".into()));
    world.works().await;
}

#[tokio::test]
async fn request_in_progress_is_dropped_when_its_caller_goes() {
    let world = world();
    let mut control = Control::connect(&world.home).await.expect("let in");
    let asking = tokio::time::timeout(Duration::from_millis(50), control.request(&Request::PluginList)).await;
    assert!(asking.is_err(), "it is never answered");
    drop(control);
    assert!(world.dropped.await.is_err(), "its sender is dropped with the request");
}

#[tokio::test]
async fn caller_that_floods_requests_is_cut_off() {
    let world = world();
    let mut control = Control::connect(&world.home).await.expect("let in");
    let flood = async {
        for _ in 0..5 {
            let _ = control.send(&Request::PluginList).await; // The connection may be gone already.
        }
    };
    flood.await;
    control.ended().await;
    assert!(world.dropped.await.is_err(), "the first request went with it");
    let mut control = Control::connect(&world.home).await.expect("others are let in");
    assert_eq!(control.request(&Request::Id).await.expect("answered"), Answer::Text("me".into()));
}

#[tokio::test]
async fn key_is_private_and_new_at_each_start() {
    let world = world();
    let first = std::fs::read_to_string(world.home.control_key()).expect("a key");
    let mode = std::fs::metadata(world.home.control_key()).expect("a key").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let _second = Server::bind(&world.home).expect("another server");
    assert_ne!(std::fs::read_to_string(world.home.control_key()).expect("a key"), first);
}

#[tokio::test]
async fn without_a_daemon_commands_say_so() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let error = Control::connect(&Home::at(folder.path())).await.expect_err("nobody there");
    assert_eq!(error.exit.code(), 3);
    assert!(error.hint.contains(&format!("polypeer --home {} run", folder.path().display())), "{}", error.hint);
}

#[tokio::test]
async fn daemon_that_runs_without_a_socket_is_told_from_none() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let home = Home::at(folder.path());
    home.prepare().expect("a home");
    let lock = home.lock().expect("a daemon's");
    let error = Control::connect(&home).await.expect_err("nobody listens");
    assert_eq!(error.exit, Exit::Failed);
    let pid = format!("the daemon (pid {}) runs", std::process::id());
    assert!(error.message.contains(&pid) && error.hint.contains("kill"), "{error:?}");
    drop(lock);
    assert_eq!(Control::connect(&home).await.expect_err("nobody there").exit, Exit::NotRunning);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let world = world();
    let mut held = Vec::new();
    for _ in 0..MAX_SHORT {
        held.push(Control::connect(&world.home).await.expect("let in"));
    }
    let waiting = world.raw();
    let mut waiting = waiting.await;
    let secret = std::fs::read_to_string(world.home.control_key()).expect("a key").trim().parse().expect("a secret");
    frames::write(&mut waiting, &Hello { secret, version: VERSION }).await.expect("sent");
    let early = tokio::time::timeout(Duration::from_millis(100), waiting.readable()).await;
    assert!(early.is_err(), "not served yet");
    held.pop();
    assert_eq!(frames::read::<Answer>(&mut waiting, MAX_DOCUMENT).await.expect("served"), Some(Answer::Done));
}

#[tokio::test]
async fn silent_connections_keep_no_command_waiting() {
    let world = world();
    let mut silent = Vec::new();
    for _ in 0..10 * MAX_SILENT {
        silent.push(world.raw().await);
    }
    // All places are taken by then, and each of them for 10 s; a command waits for its place as long at most.
    world.works().await;
    // Whoever has said who they are keep their places.
    let mut held = Vec::new();
    for _ in 0..MAX_SHORT - 1 {
        held.push(Control::connect(&world.home).await.expect("let in"));
    }
    silent.clear();
    for _ in 0..2 * MAX_SILENT {
        silent.push(world.raw().await);
    }
    for control in &mut held {
        assert_eq!(control.request(&Request::Id).await.expect("answered"), Answer::Text("me".into()));
    }
}

#[tokio::test]
async fn commands_that_last_keep_no_other_waiting_and_their_limit_is_told() {
    let world = world();
    let mut held = Vec::new();
    for _ in 0..MAX_LASTING {
        let mut control = Control::connect(&world.home).await.expect("let in");
        assert_eq!(control.request(&Request::Operator).await.expect("answered"), Answer::Text("lasts".into()));
        held.push(control);
    }
    world.works().await;
    let mut control = Control::connect(&world.home).await.expect("let in");
    let error = control.request(&Request::Operator).await.expect_err("one too many");
    assert_eq!((error.exit, error.message.contains("64 commands that last")), (Exit::Refused, true), "{error}");
    assert_eq!(control.request(&Request::Id).await.expect("still let in"), Answer::Text("me".into()));
    held.pop();
    // The server notices the end of the other connection in its own time.
    while control.request(&Request::Operator).await.is_err() {}
}

#[tokio::test]
async fn burst_of_commands_is_answered() {
    let world = world();
    let mut burst = JoinSet::new();
    for _ in 0..4 * MAX_SHORT {
        let home = world.home.clone();
        burst.spawn(async move { Control::connect(&home).await?.request(&Request::Id).await });
    }
    let mut answered = 0;
    while let Some(done) = burst.join_next().await {
        assert_eq!(done.expect("no panic").expect("answered"), Answer::Text("me".into()));
        answered += 1;
    }
    assert_eq!(answered, 4 * MAX_SHORT);
}

#[tokio::test]
async fn command_that_gets_no_place_in_time_is_told_the_limit() {
    let world = world();
    let mut held = Vec::new();
    for _ in 0..MAX_SHORT {
        let mut control = Control::connect(&world.home).await.expect("let in");
        control.send(&Request::PluginList).await.expect("sent");
        held.push(control);
    }
    let error = Control::connect(&world.home).await.expect_err("no place");
    assert_eq!((error.exit, error.message.contains("64 other commands")), (Exit::Refused, true), "{error}");
}

#[tokio::test]
async fn socket_and_key_of_another_daemon_are_left_alone() {
    let mut world = world_with(None, true);
    let paths = [world.home.control_socket(), world.home.control_key()];
    for path in &paths {
        std::fs::remove_file(path).expect("removed");
        std::fs::write(path, "another's").expect("replaced");
    }
    // The second look begins when the first is done.
    world.looks.wait_for(|looks| *looks >= 2).await.expect("it looks");
    for path in &paths {
        assert_eq!(std::fs::read_to_string(path).expect("a file"), "another's");
    }
}

#[tokio::test]
async fn socket_and_key_that_were_removed_are_put_back() {
    let world = world();
    let mut held = Control::connect(&world.home).await.expect("let in");
    let lock = world.home.lock().expect("a daemon's");
    for path in [world.home.control_socket(), world.home.control_key()] {
        std::fs::remove_file(path).expect("removed");
        world.works().await;
        // A connection that is silent for long is closed.
        assert_eq!(held.request(&Request::Id).await.expect("answered"), Answer::Text("me".into()));
    }
    std::fs::remove_dir_all(world.home.run()).expect("removed");
    let mut looking = tokio::time::interval(Duration::from_millis(20));
    let back = async {
        while !(world.home.control_socket().exists() && world.home.control_key().exists()) {
            looking.tick().await;
        }
    };
    tokio::time::timeout(4 * LOOK, back).await.expect("both are put back");
    assert_eq!(held.request(&Request::Id).await.expect("answered"), Answer::Text("me".into()));
    drop(lock);
}
