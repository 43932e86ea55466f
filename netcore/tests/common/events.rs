//! Waiting for what happens to a node's peers.

use std::time::Duration;

use polypeer_netcore::peers::{PeerEvent, Peers};
use tokio::sync::broadcast::Receiver;

/// Long enough for anything on a busy machine; nothing waits for it to pass.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for something that must happen.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("gave up waiting: {what}"))
}

/// Waits until a condition holds that depends on who is connected.
pub async fn until(peers: &Peers, what: &str, mut condition: impl FnMut() -> bool) {
    let mut events = peers.events();
    let waiting = async {
        while !condition() {
            events.recv().await.expect("the node runs");
        }
    };
    within(what, waiting).await;
}

/// The next event.
pub async fn next(events: &mut Receiver<PeerEvent>) -> PeerEvent {
    within("an event", events.recv()).await.expect("the node runs")
}
