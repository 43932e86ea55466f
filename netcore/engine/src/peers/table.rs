//! The connection table: one connection per pair of nodes, kept by the tie-break, and the callers that wait for one.
//! Pure.
//!
//! **The tie-break.** Of two nodes the one with the smaller id *decides*; the other follows. The decider keeps the
//! first connection that works, no matter which side dialed it, and refuses the others as superseded. Since one side
//! alone decides, of two dials that cross exactly one connection survives.
//!
//! **Tags.** Each side gives each peer a random number, its tag, which stays the same until a connection with that peer
//! ends. Both tags are exchanged on every new connection (`tie_break` in netcore). A new connection with the same peer
//! tag as the one that is kept was dialed before the peer knew of that one: it is superfluous. A new connection with
//! another tag is from a peer that has lost the old one (it restarted, or timed out): it replaces the old one.

use std::collections::HashMap;

use polypeer_ipc_protocol::ids::NodeId;

/// Most nodes connected, being dialed or in the tie-break. At about 100 KiB per connection, at most 100 MiB.
pub const MAX_SLOTS: usize = 1024;
/// Most callers that wait for one connection: far more than all plugins can have requests in flight.
const MAX_WAITERS: usize = 4096;

/// The connection that is kept with a node.
#[derive(Debug)]
pub struct Live<C> {
    /// Its number, counted from 1 over all peers.
    pub number: u64,
    pub connection: C,
    /// The peer's tag when it was made.
    peer_tag: u64,
    /// Whether the rest of the node has been told of it.
    pub ready: bool,
}

#[derive(Debug)]
struct Slot<C, W> {
    tag: u64,
    live: Option<Live<C>>,
    dialing: bool,
    /// The number of connections on which tags are being exchanged.
    settling: usize,
    waiters: Vec<W>,
}

/// The outcome of the tie-break for a new connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict<C> {
    /// It is kept; the one that it replaces, if any, is to be closed.
    Kept { number: u64, replaced: Option<C> },
    /// Another connection is kept.
    Superfluous,
}

/// What to do for a caller that wants a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Wanted<C, W> {
    /// Use this connection; the waiter is returned.
    Live(C, W),
    /// A dial is in progress; the waiter is queued.
    Waiting,
    /// Start a dial; the waiter is queued.
    Dial,
    /// [`MAX_SLOTS`] or [`MAX_WAITERS`] is reached; the waiter is returned.
    Full(W),
}

/// The connection table. `C` is a connection, `W` a caller that waits for one.
#[derive(Debug)]
pub struct Table<C, W> {
    slots: HashMap<NodeId, Slot<C, W>>,
    numbers: u64,
}

impl<C, W> Default for Table<C, W> {
    fn default() -> Self {
        Self { slots: HashMap::new(), numbers: 0 }
    }
}

impl<C: Clone, W> Table<C, W> {
    fn slot(&mut self, node: NodeId, fresh: u64) -> Option<&mut Slot<C, W>> {
        if !self.slots.contains_key(&node) && self.slots.len() >= MAX_SLOTS {
            return None;
        }
        let empty = || Slot { tag: fresh, live: None, dialing: false, settling: 0, waiters: Vec::new() };
        Some(self.slots.entry(node).or_insert_with(empty))
    }

    fn prune(&mut self, node: &NodeId) {
        let idle = |slot: &Slot<C, W>| slot.live.is_none() && !slot.dialing && slot.settling == 0;
        if self.slots.get(node).is_some_and(idle) {
            self.slots.remove(node);
        }
    }

    /// The connection in use with `node`.
    pub fn live(&self, node: &NodeId) -> Option<&C> {
        let live = self.slots.get(node)?.live.as_ref()?;
        live.ready.then_some(&live.connection)
    }

    /// All connections in use, each with its node.
    pub fn connected(&self) -> impl Iterator<Item = (&NodeId, &C)> {
        let ready = |slot: &'_ Slot<C, W>| slot.live.as_ref().is_some_and(|live| live.ready);
        self.slots
            .iter()
            .filter(move |(_, slot)| ready(slot))
            .filter_map(|(node, slot)| Some((node, &slot.live.as_ref()?.connection)))
    }

    /// A caller wants a connection with `node`. `fresh` is a random tag, used if the node has none yet.
    pub fn want(&mut self, node: NodeId, waiter: Option<W>, fresh: u64) -> Wanted<C, Option<W>> {
        let Some(slot) = self.slot(node, fresh) else { return Wanted::Full(waiter) };
        if let Some(live) = slot.live.as_ref().filter(|live| live.ready) {
            return Wanted::Live(live.connection.clone(), waiter);
        }
        if slot.waiters.len() >= MAX_WAITERS {
            return Wanted::Full(waiter);
        }
        slot.waiters.extend(waiter);
        if std::mem::replace(&mut slot.dialing, true) { Wanted::Waiting } else { Wanted::Dial }
    }

    /// A dial has ended; returns the callers that still wait for a connection.
    #[must_use]
    pub fn dial_ended(&mut self, node: &NodeId) -> Vec<W> {
        let Some(slot) = self.slots.get_mut(node) else { return Vec::new() };
        slot.dialing = false;
        let waiters = std::mem::take(&mut slot.waiters);
        self.prune(node);
        waiters
    }

    /// Begins the tie-break for a new connection with `node`; returns this side's tag, or `None` if there are too many
    /// nodes.
    pub fn enter(&mut self, node: NodeId, fresh: u64) -> Option<u64> {
        let slot = self.slot(node, fresh)?;
        slot.settling += 1;
        Some(slot.tag)
    }

    /// Ends the tie-break that [`Self::enter`] began, whatever its outcome.
    pub fn leave(&mut self, node: &NodeId) {
        if let Some(slot) = self.slots.get_mut(node) {
            slot.settling -= 1;
        }
        self.prune(node);
    }

    /// For the side that decides: whether to keep a new connection whose peer sent `peer_tag`.
    pub fn decide(&mut self, node: NodeId, peer_tag: u64, connection: C, alive: impl FnOnce(&C) -> bool) -> Verdict<C> {
        let live = self.slots.get(&node).and_then(|slot| slot.live.as_ref());
        if live.is_some_and(|live| live.peer_tag == peer_tag && alive(&live.connection)) {
            return Verdict::Superfluous;
        }
        self.keep(node, peer_tag, connection)
    }

    /// For the side that follows: the peer has decided to keep this connection.
    pub fn keep(&mut self, node: NodeId, peer_tag: u64, connection: C) -> Verdict<C> {
        self.numbers += 1;
        let number = self.numbers;
        // There is a slot between `enter` and `leave`.
        let Some(slot) = self.slots.get_mut(&node) else { return Verdict::Superfluous };
        let live = Live { number, connection, peer_tag, ready: false };
        let replaced = slot.live.replace(live).map(|live| live.connection);
        Verdict::Kept { number, replaced }
    }

    /// The rest of the node has been told of connection `number`; returns the callers that waited for it.
    #[must_use]
    pub fn ready(&mut self, node: &NodeId, number: u64) -> Vec<W> {
        let Some(slot) = self.slots.get_mut(node) else { return Vec::new() };
        match slot.live.as_mut().filter(|live| live.number == number) {
            Some(live) => {
                live.ready = true;
                std::mem::take(&mut slot.waiters)
            }
            None => Vec::new(),
        }
    }

    /// Connection `number` has ended; returns whether it was the one kept. `fresh` is a random tag for the next one.
    pub fn ended(&mut self, node: &NodeId, number: u64, fresh: u64) -> bool {
        let Some(slot) = self.slots.get_mut(node) else { return false };
        if slot.live.as_ref().is_none_or(|live| live.number != number) {
            return false;
        }
        slot.live = None;
        slot.tag = fresh;
        self.prune(node);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeId = NodeId([1; 32]);
    type Test = Table<u32, &'static str>;

    fn settled(table: &mut Test, peer_tag: u64, connection: u32) -> Verdict<u32> {
        table.enter(PEER, 7).expect("room");
        let verdict = table.decide(PEER, peer_tag, connection, |_| true);
        table.leave(&PEER);
        verdict
    }

    #[test]
    fn crossing_dials_leave_the_first_that_works() {
        let mut table = Test::default();
        assert_eq!(table.want(PEER, Some("me"), 7), Wanted::Dial);
        assert_eq!((table.enter(PEER, 8), table.enter(PEER, 9)), (Some(7), Some(7)), "one tag for both");
        assert_eq!(table.decide(PEER, 5, 100, |_| true), Verdict::Kept { number: 1, replaced: None });
        assert_eq!(table.decide(PEER, 5, 200, |_| true), Verdict::Superfluous);
        assert_eq!(table.live(&PEER), None, "nobody else knows it yet");
        assert_eq!(table.ready(&PEER, 1), ["me"]);
        assert_eq!(table.live(&PEER), Some(&100));
        assert_eq!(table.dial_ended(&PEER), [""; 0]);
    }

    #[test]
    fn late_dial_is_superfluous_and_one_of_a_restarted_peer_is_not() {
        let mut table = Test::default();
        settled(&mut table, 5, 100);
        assert_eq!(settled(&mut table, 5, 200), Verdict::Superfluous);
        assert_eq!(settled(&mut table, 6, 300), Verdict::Kept { number: 2, replaced: Some(100) });
        assert!(!table.ended(&PEER, 1, 0), "the replaced one is not the one kept");
        assert!(table.ended(&PEER, 2, 0));
    }

    #[test]
    fn dead_connection_does_not_stand_in_the_way() {
        let mut table = Test::default();
        settled(&mut table, 5, 100);
        table.enter(PEER, 7).expect("room");
        assert_eq!(table.decide(PEER, 5, 200, |_| false), Verdict::Kept { number: 2, replaced: Some(100) });
    }

    #[test]
    fn tag_changes_when_a_connection_ends() {
        let mut table = Test::default();
        assert_eq!(table.want(PEER, None, 1), Wanted::Dial);
        table.enter(PEER, 2).expect("room");
        table.keep(PEER, 5, 100);
        table.leave(&PEER);
        assert!(table.ended(&PEER, 1, 3));
        assert_eq!(table.enter(PEER, 4), Some(3));
    }

    #[test]
    fn many_callers_share_one_dial_and_hear_of_its_end() {
        let mut table = Test::default();
        assert_eq!(table.want(PEER, Some("a"), 1), Wanted::Dial);
        assert_eq!(table.want(PEER, Some("b"), 1), Wanted::Waiting);
        assert_eq!(table.dial_ended(&PEER), ["a", "b"]);
        assert!(table.slots.is_empty(), "nothing is left of it");
        assert_eq!(table.want(PEER, Some("c"), 1), Wanted::Dial);
    }

    #[test]
    fn peers_and_waiters_are_bounded() {
        let mut table = Test::default();
        for _ in 0..MAX_WAITERS {
            table.want(PEER, Some("w"), 1);
        }
        assert_eq!(table.want(PEER, Some("more"), 1), Wanted::Full(Some("more")));
        for number in 0..MAX_SLOTS as u16 - 1 {
            let mut id = [0; 32];
            id[..2].copy_from_slice(&number.to_be_bytes());
            assert!(table.enter(NodeId(id), 1).is_some());
        }
        assert_eq!(table.enter(NodeId([9; 32]), 1), None);
    }
}
