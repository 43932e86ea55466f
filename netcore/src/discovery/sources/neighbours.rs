//! Nodes of the local network, which [`lan`] finds and loses.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use polypeer_engine::source::Source;
use polypeer_ipc_protocol::ids::NodeId;

use super::{Answer, Sources};
use crate::clock;
use crate::discovery::Discovery;
use crate::discovery::lan::{self, LanConfig, LanEvent};

/// Most nodes of the local network that are counted.
const MAX_NEIGHBOURS: usize = 1024;

impl Sources {
    /// Starts browsing, or restarts it after a failure; names the nodes found so far.
    pub(super) fn lan(&mut self) -> Answer {
        while self.lan.try_join_next().is_some() {}
        if self.lan.is_empty() {
            let node = &self.discovery.node;
            let Ok(peers) = node.peers() else { return Answer::default() };
            let bound = peers.transport().local_addresses();
            let config = LanConfig { node: node.id, network: node.network.clone(), bound, run: self.run };
            let (discovery, neighbours) = (Arc::clone(&self.discovery), Arc::clone(&self.neighbours));
            let problem = Arc::clone(&self.lan_problem);
            self.lan.spawn(lan::run(config, move |event| on_lan(&discovery, &neighbours, &problem, event)));
        }
        let count = self.neighbours.lock().unwrap_or_else(PoisonError::into_inner).len();
        let problem = self.lan_problem.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Answer { named: count as u64, problem }
    }
}

fn on_lan(
    discovery: &Discovery,
    neighbours: &Mutex<BTreeSet<NodeId>>,
    present_problem: &Mutex<Option<String>>,
    event: LanEvent,
) {
    let set_problem = |problem: Option<String>| {
        (*present_problem.lock().unwrap_or_else(PoisonError::into_inner)).clone_from(&problem);
        discovery.state().schedule.problem(Source::Lan, problem);
    };
    match event {
        LanEvent::Found(found, addresses) => {
            let is_new = {
                let mut neighbours = neighbours.lock().unwrap_or_else(PoisonError::into_inner);
                neighbours.len() < MAX_NEIGHBOURS && neighbours.insert(found)
            };
            if is_new {
                discovery.state().schedule.named(clock::now(), Source::Lan, 1);
            }
            if let Ok(peers) = discovery.node.peers() {
                peers.found(found, &addresses, Source::Lan);
            }
        }
        LanEvent::Lost(lost) => {
            neighbours.lock().unwrap_or_else(PoisonError::into_inner).remove(&lost);
        }
        LanEvent::Problem(problem) => {
            tracing::debug!(source = Source::Lan.name(), problem, "looking for peers");
            discovery.state().schedule.problem(Source::Lan, Some(problem));
        }
        LanEvent::Failing(problem) => set_problem(Some(problem)),
        LanEvent::Working => set_problem(None),
        LanEvent::Twin(addresses) => {
            if let Ok(peers) = discovery.node.peers() {
                let own = peers.ticket().addresses;
                let theirs = addresses.iter().find(|address| !own.contains(address)).or(addresses.first());
                theirs.iter().for_each(|address| peers.twin_announced(**address));
            }
        }
    }
    discovery.has_changed();
}
