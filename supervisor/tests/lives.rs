//! Plugins' lives with real processes: start, readiness, crash, stop, order.

mod support;

use polypeer_supervisor::supervise::State;
use support::{Script, World, id, is_alive, until};

#[tokio::test(flavor = "multi_thread")]
async fn plugin_starts_is_ready_and_stops_whole() {
    let world = World::start(&[Script::new("chat", "echo hello\nsleep 1000 & sleep 1000\n")]).await;
    let status = world.reaches("chat", State::Ready).await;
    let pid = status.pid.expect("it runs");
    assert!(is_alive(pid));
    until("its output is logged", || world.log("chat").contains("out | hello\n")).await;
    world.supervisor.stop_plugin(id("chat")).await.expect("it stops");
    let status = world.status("chat").await;
    assert_eq!((status.state, status.pid), (State::Stopped, None));
    assert_eq!(status.exit_reason.as_deref(), Some("stopped by the operator"));
    assert!(!is_alive(pid));
    world.supervisor.start_plugin(id("chat")).await.expect("it starts again");
    assert_eq!(world.reaches("chat", State::Ready).await.restarts, 0);
    world.end().await;
}
