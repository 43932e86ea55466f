//! The processes, and what is true of all of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::admin::{AdminEvent, AdminRequest, AdminResponse};
use polypeer_ipc_protocol::ids::{Hash, Name, NodeId};
use polypeer_ipc_protocol::seeds::Host;
use polypeer_ipc_protocol::settings::{DiscoverySettings, NetSettings};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::common::{Netcore, Plugin, all, alone, within};
use crate::names::{Known, Names};

/// For each thing that must come true of all nodes. A release build on an idle machine is held to 30 s for all of them
/// together, which the printed times show; a debug build on a machine that is slow and busy may take many times that.
const LIMIT: Duration = Duration::from_secs(600);
/// Processes started at once: on a busy machine more of them only keep each other from answering in time.
const STARTS: usize = 4;
/// For one request, however busy the machine is.
const REQUEST: Duration = Duration::from_secs(30);
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

/// Begins a node that knows no other, but may know names of seeds.
async fn begin(home: Arc<TempDir>, dns_seeds: Vec<Host>, resolver: Option<SocketAddr>) -> Member {
    let discovery = DiscoverySettings { builtin: false, dns_seeds, resolver, ..alone().discovery };
    let settings = NetSettings { network: "fifty".parse().unwrap(), discovery, ..alone() };
    let core = Netcore::spawn_by(&[], home, settings).await;
    assert_eq!(core.ask(AdminRequest::Start).await, AdminResponse::Done);
    let plugin = core.plugin("records", all()).await;
    Member { id: plugin.client.node_id(), core, plugin }
}

impl Member {
    /// Peers connected now, by what the node told so far.
    fn connected(&self) -> BTreeSet<NodeId> {
        let mut connected = BTreeSet::new();
        for event in self.core.events().borrow().iter() {
            match event {
                AdminEvent::PeerUp { node } => drop(connected.insert(*node)),
                AdminEvent::PeerDown { node } => drop(connected.remove(node)),
                _ => {}
            }
        }
        connected
    }

    /// Puts a record that somebody must take.
    async fn puts(&self, number: usize) -> Result<(usize, Hash), String> {
        match self.plugin.client.put_immutable(name(), value(number), Some(REQUEST)).await {
            Ok(stored) if stored.copies > 0 => Ok((number, stored.key)),
            other => Err(format!("node {number} cannot put its record: {other:?}")),
        }
    }

    async fn finds(&self, number: usize, hash: Hash) -> Result<(), String> {
        match self.plugin.client.get_immutable(name(), hash, Some(REQUEST)).await {
            Ok(Some(found)) if found == value(number) => Ok(()),
            other => Err(format!("the record of node {number}: {other:?}")),
        }
    }

    /// Connects to another by its bare id.
    async fn meets(&self, other: NodeId) -> Result<(), String> {
        let found = self.plugin.client.find_peer(other, Some(REQUEST)).await;
        let ticket = found.map_err(|error| format!("{other} is not found: {error}"))?;
        assert_eq!(ticket.node, other);
        match self
            .core
            .ask(AdminRequest::Ping { ticket, timeout_ms: u32::try_from(REQUEST.as_millis()).unwrap() })
            .await
        {
            AdminResponse::Pong { .. } => Ok(()),
            answer => Err(format!("{other} does not answer: {answer:?}")),
        }
    }
}

/// Does all the jobs at once. Those that fail are tried again one after another, each when the one before is over, so
/// that a busy machine is not made busier.
async fn all_of<J, F, T>(jobs: Vec<J>, attempt: impl Fn(J) -> F) -> Vec<T>
where
    J: Clone + Send + 'static,
    F: Future<Output = Result<T, String>> + Send + 'static,
    T: Send + 'static,
{
    let deadline = Instant::now() + LIMIT;
    let (mut done, mut failed) = (Vec::new(), VecDeque::new());
    let mut attempts = JoinSet::new();
    for job in jobs {
        let attempt = attempt(job.clone());
        attempts.spawn(async move { (job, attempt.await) });
    }
    while let Some(ended) = attempts.join_next().await {
        match ended.unwrap() {
            (_, Ok(result)) => done.push(result),
            (job, Err(_)) => failed.push_back(job),
        }
    }
    while let Some(job) = failed.pop_front() {
        match attempt(job.clone()).await {
            Ok(result) => done.push(result),
            Err(error) => {
                assert!(Instant::now() < deadline, "{error}");
                failed.push_back(job);
            }
        }
    }
    done
}

impl World {
    /// Starts the seed, a name server that knows it, and the others, who know only the name.
    pub(crate) async fn start(count: usize) -> Self {
        let names = Names::start().await;
        let seed = begin(Arc::new(TempDir::new().unwrap()), Vec::new(), None).await;
        let port = seed.core.ticket().await.addresses[0].port();
        names.set("seed.test", Known::Records(vec![Ipv4Addr::LOCALHOST.into()], Vec::new()));
        let known: Vec<Host> = vec![format!("seed.test:{port}").parse().unwrap()];
        let mut members = vec![Some(Arc::new(seed))];
        let mut starting = JoinSet::new();
        for _ in 1..count {
            let (known, resolver) = (known.clone(), Some(names.address));
            if starting.len() >= STARTS
                && let Some(member) = within("a start", starting.join_next()).await
            {
                members.push(Some(Arc::new(member.unwrap())));
            }
            starting.spawn(async move { begin(Arc::new(TempDir::new().unwrap()), known, resolver).await });
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
        let living = self.living();
        let ids: BTreeSet<NodeId> = living.iter().map(|(_, member)| member.id).collect();
        let mut news = JoinSet::new();
        for (_, member) in &living {
            let mut events = member.core.events();
            news.spawn(async move { events.changed().await.map(|()| events) });
        }
        let (mut fewest, mut hang_together) = (0, 0);
        let waiting = async {
            loop {
                let links: BTreeMap<NodeId, BTreeSet<NodeId>> = living
                    .iter()
                    .map(|(_, member)| (member.id, member.connected().intersection(&ids).copied().collect()))
                    .collect();
                fewest = links.values().map(BTreeSet::len).min().unwrap_or(0);
                hang_together = reached(&links);
                if fewest >= FEW.min(ids.len() - 1) && hang_together == ids.len() {
                    return;
                }
                let mut events = news.join_next().await.unwrap().unwrap().expect("every node lives");
                news.spawn(async move { events.changed().await.map(|()| events) });
            }
        };
        if tokio::time::timeout(LIMIT, waiting).await.is_err() {
            for (_, member) in living.iter().take(3) {
                println!("{:?}", member.core.status().await);
            }
            panic!("somebody has {fewest} peers; {hang_together} of {} nodes hang together", ids.len());
        }
    }

    /// Every node puts a record of its own, which must be taken by somebody.
    pub(crate) async fn put_records(&mut self) {
        let put = |(number, member): (usize, Arc<Member>)| async move { member.puts(number).await };
        self.records = all_of(self.living(), put).await.into_iter().collect();
    }

    /// Waits until every record is found by a node that did not put it.
    pub(crate) async fn every_record_is_found(&self) {
        let living = self.living();
        let find = |index: usize| {
            let (number, hash) = self.records.iter().nth(index).map(|(number, hash)| (*number, *hash)).unwrap();
            let (_, finder) = living.iter().cycle().skip(index + 7).find(|(finder, _)| *finder != number).unwrap();
            (number, hash, Arc::clone(finder))
        };
        find_all((0..self.records.len()).map(find).collect()).await;
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
        let pair = |(index, number): (usize, &usize)| {
            let other = survivors[(index + survivors.len() / 2) % survivors.len()];
            (self.member(*number), self.member(other).id)
        };
        let pairs = survivors.iter().enumerate().map(pair).collect();
        all_of(pairs, |(from, to): (Arc<Member>, NodeId)| async move { from.meets(to).await }).await;
    }

    fn member(&self, number: usize) -> Arc<Member> {
        Arc::clone(self.members[number].as_ref().unwrap())
    }

    /// Kills a node and starts it in its home, without the name server, the list or the local network.
    pub(crate) async fn restart_from_store(&mut self, number: usize) -> usize {
        let member = self.members[number].take().unwrap();
        let Member { mut core, id, plugin } = Arc::into_inner(member).expect("nothing is asked of it any more");
        let home = Arc::clone(&core.home);
        core.kill().await;
        drop(plugin);
        let member = within("a restart", begin(home, Vec::new(), None)).await;
        assert_eq!(member.id, id);
        self.members[number] = Some(Arc::new(member));
        number
    }

    /// Waits until a node has peers again and finds the others' records.
    pub(crate) async fn rejoined(&self, number: usize) {
        self.all_connected().await;
        let finder = self.member(number);
        let others = self.records.iter().filter(|(other, _)| **other != number).take(5);
        find_all(others.map(|(other, hash)| (*other, *hash, Arc::clone(&finder))).collect()).await;
    }
}

async fn find_all(wanted: Vec<(usize, Hash, Arc<Member>)>) {
    let find = |(number, hash, finder): (usize, Hash, Arc<Member>)| async move { finder.finds(number, hash).await };
    all_of(wanted, find).await;
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
