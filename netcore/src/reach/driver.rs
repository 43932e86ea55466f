//! The driver of a node's [`Finder`]: one task owns it and the node's [`OwnRecords`], asks peers for probes, and
//! publishes the signed records.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_engine::address::Zone;
use polypeer_engine::reach::finder::{Finder, NoAnswer, Output};
use polypeer_engine::reach::own::OwnRecords;
use polypeer_engine::reach::wire::{Probed, Request};
use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::ids::{NodeId, Protocol};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use super::{Command, PROBE, ReachHandle};
use crate::clock;
use crate::dht::DhtHandle;
use crate::node::{Node, Phase};
use crate::query::{Queries, Unanswered};

/// Timeout of one answer: the peer's own handshakes and a round trip.
const ANSWER: Duration = Duration::from_secs(8);
/// Interval at which this machine's addresses are read.
const INTERFACE_CHECK: Duration = Duration::from_secs(15);

type Answered = (NodeId, Result<Probed, NoAnswer>);

struct Driver {
    node: Arc<Node>,
    queries: Arc<Queries>,
    reach: Arc<ReachHandle>,
    dht: Arc<DhtHandle>,
    finder: Finder,
    own: OwnRecords,
    protocol: Protocol,
    asking: JoinSet<Answered>,
}

/// Runs the driver until it is dropped.
pub(crate) async fn run(
    node: Arc<Node>,
    queries: Arc<Queries>,
    reach: Arc<ReachHandle>,
    dht: Arc<DhtHandle>,
    seed: [u8; 32],
) {
    let Some(mut inbox) = reach.inbox() else { return };
    // Before that there is no peer to ask.
    if node.phase().wait_for(|phase| *phase >= Phase::Open).await.is_err() {
        return;
    }
    let protocol = PROBE.parse().expect("a protocol's name");
    let (finder, own) = (Finder::new(seed), OwnRecords::new(Arc::clone(&node.keys)));
    let mut driver = Driver { node, queries, reach, dht, finder, own, protocol, asking: JoinSet::new() };
    let mut look = interval(INTERFACE_CHECK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while driver.step(&mut inbox, &mut look).await {}
}

impl Driver {
    async fn step(&mut self, inbox: &mut mpsc::Receiver<Command>, look: &mut tokio::time::Interval) -> bool {
        let due = [self.finder.next_timeout(), self.own.next_timeout()].into_iter().flatten().min();
        tokio::select! {
            command = inbox.recv() => match command {
                Some(Command::Up(peer, ip)) => self.finder.peer_up(Instant::now(), peer, ip),
                Some(Command::Down(peer)) => self.finder.peer_down(Instant::now(), &peer),
                None => return false,
            },
            Some(answered) = self.asking.join_next() => {
                // A question does not panic and is not aborted.
                if let Ok((peer, answer)) = answered {
                    self.finder.handle_answer(Instant::now(), peer, answer);
                }
            }
            () = sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {
                self.finder.handle_timeout(Instant::now());
                self.sign();
            }
            _ = look.tick() => self.check_interfaces(),
        }
        self.perform();
        true
    }

    /// Reads this machine's addresses.
    fn check_interfaces(&mut self) {
        let Ok(peers) = self.node.peers() else { return };
        let local: Vec<IpAddr> = match if_addrs::get_if_addrs() {
            Ok(interfaces) => interfaces.into_iter().map(|interface| interface.ip()).collect(),
            Err(error) => {
                tracing::debug!(%error, "cannot list this machine's addresses");
                return;
            }
        };
        self.finder.set_local(Instant::now(), &peers.transport().local_addresses(), local);
        self.sign(); // in case the clock was set
    }

    fn perform(&mut self) {
        while let Some(output) = self.finder.poll(Instant::now()) {
            match output {
                Output::Ask { peer, ports } => self.ask(peer, ports),
                Output::Changed => self.sign(),
            }
        }
        self.reach.reach.send_replace(self.finder.reach());
    }

    fn ask(&mut self, peer: NodeId, ports: Vec<u16>) {
        let (queries, protocol) = (Arc::clone(&self.queries), self.protocol.clone());
        self.asking.spawn(async move {
            let payload = Request { ports }.encode();
            let asked = queries.question_on_link(peer, &protocol, payload, Instant::now() + ANSWER).await;
            let answer = match asked {
                Ok(reply) => Probed::decode(&reply).map_err(|error| {
                    tracing::debug!(%peer, %error, "a malformed answer to a probe");
                    NoAnswer::Useless
                }),
                Err(Unanswered::Refused(failure)) if !failure.is(ErrorCode::Busy) => Err(NoAnswer::Useless),
                Err(_) => Err(NoAnswer::Busy),
            };
            tracing::debug!(%peer, ?answer, "probed");
            (peer, answer)
        });
    }

    /// Signs the records again if the addresses have changed or a renewal is due, and publishes them.
    fn sign(&mut self) {
        let confirmed = self.finder.confirmed();
        let Some(records) = self.own.set(clock::now(), &confirmed) else { return };
        let addresses: Vec<_> = confirmed.values().flatten().map(ToString::to_string).collect();
        match addresses[..] {
            [] => tracing::info!("no address of this node is confirmed by peers any more"),
            _ => tracing::info!("peers reach this node at {}", addresses.join(", ")),
        }
        self.dht.set_own(records.clone());
        self.reach.own.send_replace(records);
        if let Ok(peers) = self.node.peers() {
            peers.set_confirmed(confirmed.get(&Zone::Public).cloned().unwrap_or_default());
        }
    }
}
