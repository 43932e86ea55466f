//! A node under attack, and an honest peer whose calls must go on meanwhile.

use std::fs;

use polypeer_ipc_protocol::admin::Offender;
use polypeer_ipc_protocol::client::ClientError;
use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::gateway::{CallMode, Event, Scope};
use polypeer_ipc_protocol::ids::NodeId;
use polypeer_ipc_protocol::ticket::Ticket;
use polypeer_netcore::wire::{ACCEPTED, StreamKind};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::attacker::{Attacker, call, greet};
use crate::common::{Netcore, all, protocol, target, until, within};

/// What a node's process may have resident under an attack, at its peak: some 25 MiB of a debug build at rest, and as
/// much again for what attackers make it hold.
pub const MEMORY: u64 = 64 << 20;
/// The same while eight peers have all the streams they may, with 60 KB in each direction, and read nothing.
pub const MEMORY_UNREAD: u64 = 192 << 20;

pub struct World {
    pub node: Netcore,
    pub ticket: Ticket,
    _honest: Netcore,
    calls: watch::Receiver<u64>,
    tasks: Vec<JoinHandle<()>>,
}

impl World {
    /// A node that serves `honest/1`, an echo, and takes streams of `lazy/1` that it never reads; and a peer that calls
    /// the first without pause.
    pub async fn new() -> Self {
        let (node, honest) = (Netcore::start().await, Netcore::start().await);
        let mut server = node.plugin("server", all()).await;
        for name in ["honest/1", "lazy/1"] {
            server.client.listen(protocol(name), Scope::Peers, CallMode::Events).await.unwrap();
        }
        let serving = tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Some(event) = server.events.next().await {
                match event {
                    // Whoever asked may be gone.
                    Event::Call { call, payload, .. } => drop(server.client.answer(call, payload.0).await),
                    Event::Stream { stream, .. } => kept.push(server.client.accept(stream).await),
                    _ => {}
                }
            }
        });
        let (caller, target) = (honest.plugin("caller", all()).await, target(&node).await);
        let (counted, calls) = watch::channel(0);
        let calling = tokio::spawn(async move {
            for n in 0u64.. {
                let payload = vec![n as u8; 500];
                let answer = caller.client.call(target.clone(), protocol("honest/1"), payload.clone(), None);
                match within("an honest call", answer).await.map_err(|error: ClientError| error.failure()) {
                    Ok(answer) => assert_eq!(answer, payload),
                    // The plugin that serves has as many calls waiting as it may, from whomever: it is asked again.
                    Err(failure) if failure.is(ErrorCode::Busy) => continue,
                    Err(failure) => panic!("an honest call: {failure}"),
                }
                counted.send_modify(|calls| *calls += 1);
            }
        });
        let ticket = node.ticket().await;
        let world = Self { node, ticket, _honest: honest, calls, tasks: vec![serving, calling] };
        world.goes_on().await;
        world
    }

    /// The honest peer's calls go on, and a newcomer gets in and is served.
    pub async fn goes_on(&self) {
        let mut calls = self.calls.clone();
        let before = *calls.borrow();
        within("honest calls", calls.wait_for(|calls| *calls >= before + 5)).await.expect("the peer goes on calling");
        let newcomer = Attacker::new();
        let connection = newcomer.link(&self.ticket).await;
        let _control = greet(&connection).await;
        let served = [&[ACCEPTED], b"hi".as_slice()].concat();
        until("a newcomer's call", async || {
            let answer = call(&connection, StreamKind::Call, "honest/1", b"hi").await.expect("an answer");
            (answer == served).then_some(())
        })
        .await;
        connection.close(0u32.into(), b"");
    }

    /// What the node's process had resident at its peak, bytes.
    pub fn peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.node.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Service goes on, and memory stayed under its bound.
    pub async fn is_well(&self) {
        self.is_well_within(MEMORY).await;
    }

    pub async fn is_well_within(&self, memory: u64) {
        self.goes_on().await;
        let peak = self.peak();
        assert!(peak < memory, "{} MiB at the peak", peak >> 20);
        println!("peak: {} MiB", peak >> 20);
    }

    /// Waits until the status names `node` among the offenders.
    pub async fn named(&self, node: NodeId) -> Offender {
        let named = async || self.node.status().await.offenders.into_iter().find(|named| named.node == Some(node));
        until("the offender's name", named).await
    }

    /// Waits until a counter is at least this.
    pub async fn counted(&self, name: &str, least: u64) -> u64 {
        until(name, async || Some(self.node.counter(name).await).filter(|count| *count >= least)).await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
