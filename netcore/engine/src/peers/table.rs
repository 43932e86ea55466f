//! One connection per pair of nodes: which of several is kept, who waits for one, who is being dialed. Pure.
//!
//! **The rule.** Of two nodes the one with the smaller id *decides*; the other follows. It keeps the first connection
//! that works, whoever dialed it, and refuses the rest as superseded. Since one side alone decides, two dials that cross
//! never both survive and never both die.
//!
//! **Tags.** Each side gives each peer a random number that stays the same until a connection with that peer ends. Both
//! are exchanged on every new connection (`tie_break` in netcore). A further connection that comes with the tag of the one
//! that stands was dialed before its dialer knew of it, and is superfluous; one with another tag comes from a peer that
//! has lost the old connection (it restarted, or timed out), and replaces it.

use std::collections::HashMap;

use polypeer_ipc_protocol::ids::NodeId;

/// Nodes connected, being dialed or settling at once. At some 100 KiB a connection that is 100 MiB at worst.
pub const MAX_SLOTS: usize = 1024;
/// Callers waiting for one connection; far more than all plugins' requests in flight amount to by design.
const MAX_WAITERS: usize = 4096;

/// The connection kept.
#[derive(Debug)]
pub struct Live<C> {
    /// Which one, counted from 1 over all peers.
    pub number: u64,
    /// It.
    pub connection: C,
    /// What the peer called this pair when it was made.
    peer_tag: u64,
    /// Whether the rest of the node knows it already.
    pub ready: bool,
}

#[derive(Debug)]
struct Slot<C, W> {
    tag: u64,
    live: Option<Live<C>>,
    dialing: bool,
    /// Connections on which tags are being exchanged.
    settling: usize,
    waiters: Vec<W>,
}

/// What [`Table::keep`] says of a new connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict<C> {
    /// It is the one now; the one before, if any, is to be closed.
    Kept {
        /// Its number.
        number: u64,
        /// What it replaces.
        replaced: Option<C>,
    },
    /// There is one already.
    Superfluous,
}

/// What there is to do for somebody who wants a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Wanted<C, W> {
    /// Take this one.
    Live(C, W),
    /// A dial is under way; the waiter is told.
    Waiting,
    /// Start a dial; the waiter is told.
    Dial,
    /// `MAX_SLOTS` or `MAX_WAITERS` is reached.
    Full(W),
}

/// See the module. `C` is a connection, `W` somebody who waits for one.
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

    /// All connections in use.
    pub fn connected(&self) -> impl Iterator<Item = (&NodeId, &C)> {
        let ready = |slot: &'_ Slot<C, W>| slot.live.as_ref().is_some_and(|live| live.ready);
        self.slots
            .iter()
            .filter(move |(_, slot)| ready(slot))
            .filter_map(|(node, slot)| Some((node, &slot.live.as_ref()?.connection)))
    }

    /// Somebody wants a connection; `fresh` is a random tag for the case that there is none yet.
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

    /// The dial ended; those who wait for what it did not bring.
    #[must_use]
    pub fn dial_ended(&mut self, node: &NodeId) -> Vec<W> {
        let Some(slot) = self.slots.get_mut(node) else { return Vec::new() };
        slot.dialing = false;
        let waiters = std::mem::take(&mut slot.waiters);
        self.prune(node);
        waiters
    }

    /// Tags are about to be exchanged on a new connection: what to call this pair. `None`: too many peers.
    pub fn enter(&mut self, node: NodeId, fresh: u64) -> Option<u64> {
        let slot = self.slot(node, fresh)?;
        slot.settling += 1;
        Some(slot.tag)
    }

    /// The exchange that [`Self::enter`] began is over, either way.
    pub fn leave(&mut self, node: &NodeId) {
        if let Some(slot) = self.slots.get_mut(node) {
            slot.settling -= 1;
        }
        self.prune(node);
    }

    /// The side that decides: whether to keep a new connection that came with `peer_tag`.
    pub fn decide(&mut self, node: NodeId, peer_tag: u64, connection: C, alive: impl FnOnce(&C) -> bool) -> Verdict<C> {
        let live = self.slots.get(&node).and_then(|slot| slot.live.as_ref());
        if live.is_some_and(|live| live.peer_tag == peer_tag && alive(&live.connection)) {
            return Verdict::Superfluous;
        }
        self.keep(node, peer_tag, connection)
    }

    /// The side that follows: the peer decided to keep this one.
    pub fn keep(&mut self, node: NodeId, peer_tag: u64, connection: C) -> Verdict<C> {
        self.numbers += 1;
        let number = self.numbers;
        // Between `enter` and `leave` there is a slot.
        let Some(slot) = self.slots.get_mut(&node) else { return Verdict::Superfluous };
        let live = Live { number, connection, peer_tag, ready: false };
        let replaced = slot.live.replace(live).map(|live| live.connection);
        Verdict::Kept { number, replaced }
    }

    /// The rest of the node knows the connection; those who waited for it.
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

    /// A connection ended; whether it was the one kept. `fresh` is the random tag for the next one.
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
