//! Waiting for what happens to a node's peers.

mod patience;

use polypeer_netcore::peers::{PeerEvent, Peers};
use tokio::sync::broadcast::Receiver;

pub use patience::{PATIENCE, within};

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
