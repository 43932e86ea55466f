//! The processes, and what is true of all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::admin::{AdminRequest, AdminResponse, PeerState};
use polypeer_ipc_protocol::ids::{Hash, Name, NodeId};
use polypeer_ipc_protocol::ticket::Ticket;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::common::{Netcore, Plugin, all, within};
use crate::names::{Known, Names};

/// For each thing that must come true of all nodes: a debug build on a busy machine takes several times the 30 s that a
/// release build is held to.
const LIMIT: Duration = Duration::from_secs(150);
/// Processes started at once: on a busy machine more of them only keep each other from answering in time.
const STARTS: usize = 4;
/// For one request, however busy the machine is.
const REQUEST: Duration = Duration::from_secs(20);
/// Peers each node must know, at least.
const FEW: usize = 3;

/// A process, its id, and a plugin on it.
struct Member {
    core: Netcore,
    id: NodeId,
    plugin: Plugin,
}

pub(crate) struct World {
    /// Killed ones are `None`; the first is the seed.
    members: Vec<Option<Arc<Member>>>,
    records: BTreeMap<usize, Hash>,
    // Without it the name of the seed is gone.
    _names: Names,
}

fn name() -> Name {
    "test/record".parse().unwrap()
}

fn value(number: usize) -> Vec<u8> {
    format!("record of node {number}").into_bytes()
}

async fn begin(home: Arc<TempDir>, arguments: &[String]) -> Member {
    let core = Netcore::spawn_with(home, "fifty", arguments);
    assert_eq!(core.ask(AdminRequest::Start).await, AdminResponse::Done);
    let plugin = core.plugin("records", all()).await;
    Member { id: plugin.client.node_id(), core, plugin }
}

impl Member {
    async fn connected(&self) -> BTreeSet<NodeId> {
        let AdminResponse::Peers(peers) = self.core.ask(AdminRequest::Peers).await else { panic!("no peers") };
        peers.into_iter().filter(|peer| peer.state == PeerState::Connected).map(|peer| peer.node).collect()
    }
}

impl World {
    /// Starts the seed, a name server that knows it, and the others, who know only the name.
    pub(crate) async fn start(count: usize) -> Self {
        let names = Names::start().await;
        let alone = ["--no-builtin".to_owned()];
        let seed = begin(Arc::new(TempDir::new().unwrap()), &alone).await;
        let port = seed.core.ticket().await.addresses[0].port();
        names.set("seed.test", Known::Records(vec![Ipv4Addr::LOCALHOST.into()], Vec::new()));
        let known = [format!("--dns-seed=seed.test:{port}"), format!("--resolver={}", names.address)];
        let mut members = vec![Some(Arc::new(seed))];
        let mut starting = JoinSet::new();
        for _ in 1..count {
            let arguments = [&alone[..], &known].concat();
            if starting.len() >= STARTS
                && let Some(member) = within("a start", starting.join_next()).await
            {
                members.push(Some(Arc::new(member.unwrap())));
            }
            starting.spawn(async move { begin(Arc::new(TempDir::new().unwrap()), &arguments).await });
        }
        while let Some(member) = within("a start", starting.join_next()).await {
            members.push(Some(Arc::new(member.unwrap())));
        }
        Self { members, records: BTreeMap::new(), _names: names }
    }

    pub(crate) fn say(&self, begun: Instant, what: &str) {
        println!("{:6.1} s: {what} ({} nodes)", begun.elapsed().as_secs_f64(), self.living().len());
    }

    fn living(&self) -> Vec<(usize, Arc<Member>)> {
        let living =
            self.members.iter().enumerate().filter_map(|(number, member)| Some((number, Arc::clone(member.as_ref()?))));
        living.collect()
    }

    /// Waits until each node has a few living peers and every node can be reached from every other over them.
    pub(crate) async fn all_connected(&self) {
        let deadline = Instant::now() + LIMIT;
        let living = self.living();
        let ids: BTreeSet<NodeId> = living.iter().map(|(_, member)| member.id).collect();
        loop {
            let mut links: BTreeMap<NodeId, BTreeSet<NodeId>> = BTreeMap::new();
            let mut asked = JoinSet::new();
            for (_, member) in living.iter().cloned() {
                asked.spawn(async move { (member.id, member.connected().await) });
            }
            while let Some(peers) = asked.join_next().await {
                let (id, peers) = peers.unwrap();
                links.insert(id, peers.intersection(&ids).copied().collect());
            }
            let fewest = links.values().map(BTreeSet::len).min().unwrap_or(0);
            let reached = reached(&links);
            if fewest >= FEW.min(ids.len() - 1) && reached == ids.len() {
                return;
            }
            if Instant::now() > deadline {
                for (_, member) in living.iter().take(3) {
                    println!("{:?}", member.core.status().await);
                }
                panic!("somebody has {fewest} peers; {reached} of {} nodes hang together", ids.len());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Every node puts a record of its own, which must be taken by somebody.
    pub(crate) async fn put_records(&mut self) {
        let mut puts = JoinSet::new();
        for (number, member) in self.living() {
            puts.spawn(async move {
                let deadline = Instant::now() + LIMIT;
                loop {
                    match member.plugin.client.put_immutable(name(), value(number), Some(REQUEST)).await {
                        Ok(stored) if stored.copies > 0 => return (number, stored.key),
                        other => assert!(Instant::now() < deadline, "node {number} cannot put its record: {other:?}"),
                    }
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            });
        }
        while let Some(put) = puts.join_next().await {
            let (number, hash) = put.unwrap();
            self.records.insert(number, hash);
        }
    }

    /// Waits until every record is found by a node that did not put it.
    pub(crate) async fn every_record_is_found(&self) {
        let living = self.living();
        let find = |index: usize| {
            let (number, hash) = self.records.iter().nth(index).map(|(number, hash)| (*number, *hash)).unwrap();
            let (_, finder) = living.iter().cycle().skip(index + 7).find(|(finder, _)| *finder != number).unwrap();
            (number, hash, Arc::clone(finder))
        };
        self.find((0..self.records.len()).map(find).collect()).await;
    }

    async fn find(&self, wanted: Vec<(usize, Hash, Arc<Member>)>) {
        let mut finds = JoinSet::new();
        for (number, hash, finder) in wanted {
            finds.spawn(async move {
                let deadline = Instant::now() + LIMIT;
                loop {
                    match finder.plugin.client.get_immutable(name(), hash, Some(REQUEST)).await {
                        Ok(Some(found)) => return assert_eq!(found, value(number)),
                        other => assert!(Instant::now() < deadline, "the record of node {number}: {other:?}"),
                    }
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            });
        }
        while let Some(found) = finds.join_next().await {
            found.unwrap();
        }
    }

    /// `kill -9` for the seed and every second of the others; the numbers of those who live.
    pub(crate) fn kill_seed_and_half(&mut self) -> Vec<usize> {
        for number in (0..self.members.len()).filter(|number| *number == 0 || number % 2 == 1) {
            // Its process is killed when the last handle goes, without a goodbye.
            self.members[number] = None;
            self.records.remove(&number);
        }
        self.living().into_iter().map(|(number, _)| number).collect()
    }

    /// Records that survivors put are found by other survivors, and each connects to another by its bare id.
    pub(crate) async fn survivors_find_each_other(&self, survivors: &[usize]) {
        self.every_record_is_found().await;
        let mut pairs = JoinSet::new();
        for (index, number) in survivors.iter().enumerate() {
            let other = survivors[(index + survivors.len() / 2) % survivors.len()];
            let (from, to) = (self.member(*number), self.member(other).id);
            pairs.spawn(async move {
                let deadline = Instant::now() + LIMIT;
                loop {
                    let found = from.plugin.client.find_peer(to, Some(REQUEST)).await;
                    if let Ok(ticket) = &found {
                        assert_eq!(ticket.node, to);
                        let answer = from.core.ask(ping(ticket.clone())).await;
                        if matches!(answer, AdminResponse::Pong { .. }) {
                            return;
                        }
                    }
                    assert!(Instant::now() < deadline, "not found: {found:?}");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            });
        }
        while let Some(pair) = pairs.join_next().await {
            pair.unwrap();
        }
    }

    fn member(&self, number: usize) -> Arc<Member> {
        Arc::clone(self.members[number].as_ref().unwrap())
    }

    /// Kills a node and starts it in its home, without the name server, the list or the local network.
    pub(crate) async fn restart_from_store(&mut self, number: usize) -> usize {
        let member = self.members[number].take().unwrap();
        let (id, home) = (member.id, Arc::clone(&member.core.home));
        drop(member);
        let member = within("a restart", begin(home, &["--no-builtin".to_owned()])).await;
        assert_eq!(member.id, id);
        self.members[number] = Some(Arc::new(member));
        number
    }

    /// Waits until a node has peers again and finds the others' records.
    pub(crate) async fn rejoined(&self, number: usize) {
        self.all_connected().await;
        let finder = self.member(number);
        let others = self.records.iter().filter(|(other, _)| **other != number).take(5);
        self.find(others.map(|(other, hash)| (*other, *hash, Arc::clone(&finder))).collect()).await;
    }
}

fn ping(ticket: Ticket) -> AdminRequest {
    AdminRequest::Ping { ticket, timeout_ms: 20_000 }
}

/// Nodes that can be reached from the first.
fn reached(links: &BTreeMap<NodeId, BTreeSet<NodeId>>) -> usize {
    let mut seen = BTreeSet::new();
    let mut next: Vec<NodeId> = links.keys().next().copied().into_iter().collect();
    while let Some(node) = next.pop() {
        if seen.insert(node) {
            next.extend(links.get(&node).into_iter().flatten());
            // A link counts for both, whichever was asked first.
            next.extend(links.iter().filter(|(_, peers)| peers.contains(&node)).map(|(other, _)| *other));
        }
    }
    seen.len()
}
