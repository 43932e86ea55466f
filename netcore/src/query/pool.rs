//! Pool of this node's query connections: one for each node asked, shared by all callers, made by one dial, and closed
//! soon after its last use. Pure; `C` is a connection, `W` a waiter for one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::ids::NodeId;

use crate::limits::{QUERY_CONNECTIONS_OUT, QUERY_WAITERS};

/// Longest use of a connection. It is below the other side's limit, so that no question is sent while that side closes
/// the connection.
const LIFETIME: Duration = Duration::from_secs(25);
/// How long an unused connection is kept; below the other side's limit for the same reason.
const IDLE: Duration = Duration::from_secs(8);

#[derive(Debug)]
enum Slot<C, W> {
    Dialing(Vec<W>),
    Open { number: u64, connection: C, opened: Instant, used: Instant, asking: usize },
}

/// What a caller does to get a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted<C> {
    /// Use this connection, until [`Pool::release`] with its number.
    Use(u64, C),
    /// Wait: a dial is pending; its result goes to the waiter.
    Waiting,
    /// Dial, and pass the result to [`Pool::dialed`], which returns the waiters. Close the connection given here, if
    /// any, which had to make room.
    Dial(Option<C>),
    /// Give up: [`QUERY_CONNECTIONS_OUT`] connections are in use, or [`QUERY_WAITERS`] wait for this one.
    Full,
}

#[derive(Debug)]
pub(super) struct Pool<C, W> {
    slots: BTreeMap<NodeId, Slot<C, W>>,
    numbers: u64,
}

impl<C, W> Default for Pool<C, W> {
    fn default() -> Self {
        Self { slots: BTreeMap::new(), numbers: 0 }
    }
}

impl<C: Clone, W> Pool<C, W> {
    /// Requests a connection with `node`.
    pub(super) fn want(&mut self, now: Instant, node: NodeId, waiter: W) -> Wanted<C> {
        match self.slots.get_mut(&node) {
            Some(Slot::Dialing(waiters)) if waiters.len() < QUERY_WAITERS => {
                waiters.push(waiter);
                return Wanted::Waiting;
            }
            Some(Slot::Dialing(_)) => return Wanted::Full,
            Some(Slot::Open { number, connection, opened, used, asking })
                if *asking > 0 || (now < *opened + LIFETIME && now < *used + IDLE) =>
            {
                *used = now;
                *asking += 1;
                return Wanted::Use(*number, connection.clone());
            }
            Some(Slot::Open { .. }) | None => {}
        }
        let mut closed = self.remove(&node);
        if self.slots.len() >= QUERY_CONNECTIONS_OUT {
            let Some(oldest) = self.least_recently_used() else { return Wanted::Full };
            closed = self.remove(&oldest);
        }
        self.slots.insert(node, Slot::Dialing(vec![waiter]));
        Wanted::Dial(closed)
    }

    /// The least recently used among connections without a pending question.
    fn least_recently_used(&self) -> Option<NodeId> {
        let unused = self.slots.iter().filter_map(|(node, slot)| match slot {
            Slot::Open { used, asking: 0, .. } => Some((*used, *node)),
            _ => None,
        });
        unused.min().map(|(_, node)| node)
    }

    fn remove(&mut self, node: &NodeId) -> Option<C> {
        match self.slots.remove(node) {
            Some(Slot::Open { connection, .. }) => Some(connection),
            _ => None,
        }
    }

    /// Takes the result of a dial. Returns the connection's number and the waiters: each of them uses the connection,
    /// if there is one, until it calls [`Self::release`] with the number.
    #[must_use]
    pub(super) fn dialed(&mut self, now: Instant, node: NodeId, connection: Option<C>) -> (u64, Vec<W>) {
        let Some(Slot::Dialing(waiters)) = self.slots.remove(&node) else { return (0, Vec::new()) };
        self.numbers += 1;
        if let Some(connection) = connection {
            let asking = waiters.len();
            let slot = Slot::Open { number: self.numbers, connection, opened: now, used: now, asking };
            self.slots.insert(node, slot);
        }
        (self.numbers, waiters)
    }

    /// Releases a connection after a question. `works`: it can be used for more questions. Returns the connection if it
    /// is to be closed.
    pub(super) fn release(&mut self, now: Instant, node: NodeId, of: u64, works: bool) -> Option<C> {
        match self.slots.get_mut(&node) {
            Some(Slot::Open { number, used, asking, .. }) if *number == of => {
                *asking -= 1;
                *used = now;
            }
            _ => return None,
        }
        if works { None } else { self.remove(&node) }
    }

    /// Removes and returns the connections that are to be closed: unused for [`IDLE`], or older than [`LIFETIME`].
    pub(super) fn expired(&mut self, now: Instant) -> Vec<C> {
        let over = self.slots.iter().filter(|(_, slot)| match slot {
            Slot::Open { opened, used, asking: 0, .. } => now >= *used + IDLE || now >= *opened + LIFETIME,
            _ => false,
        });
        let over: Vec<NodeId> = over.map(|(node, _)| *node).collect();
        over.iter().filter_map(|node| self.remove(node)).collect()
    }

    /// Number of connections, pending dials included.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::node;

    type Test = Pool<u32, u32>;

    /// Adds an unused connection to `node(number)`.
    fn opened(pool: &mut Test, now: Instant, number: u32) {
        assert!(matches!(pool.want(now, node(number), 0), Wanted::Dial(_)));
        let (of, _) = pool.dialed(now, node(number), Some(number));
        assert_eq!(pool.release(now, node(number), of, true), None);
    }

    #[test]
    fn all_who_ask_a_node_share_one_dial_and_one_connection() {
        let (mut pool, now) = (Test::default(), Instant::now());
        assert_eq!(pool.want(now, node(1), 10), Wanted::Dial(None));
        assert_eq!(pool.want(now, node(1), 11), Wanted::Waiting);
        let (number, waiters) = pool.dialed(now, node(1), Some(100));
        assert_eq!(waiters, [10, 11]);
        assert_eq!(pool.want(now, node(1), 12), Wanted::Use(number, 100));
    }

    #[test]
    fn a_failed_dial_is_told_to_all_and_the_next_one_starts_anew() {
        let (mut pool, now) = (Test::default(), Instant::now());
        assert_eq!(pool.want(now, node(1), 10), Wanted::Dial(None));
        assert_eq!(pool.want(now, node(1), 11), Wanted::Waiting);
        assert_eq!(pool.dialed(now, node(1), None).1, [10, 11]);
        assert_eq!(pool.len(), 0);
        assert_eq!(pool.want(now, node(1), 12), Wanted::Dial(None));
    }

    #[test]
    fn old_and_unused_connections_are_let_go_and_those_in_use_are_not() {
        let (mut pool, start) = (Test::default(), Instant::now());
        opened(&mut pool, start, 1);
        assert_eq!(pool.expired(start + IDLE / 2), [0; 0]);
        assert_eq!(pool.expired(start + IDLE), [1]);
        opened(&mut pool, start, 2);
        let Wanted::Use(number, 2) = pool.want(start, node(2), 0) else { panic!("it is there") };
        assert_eq!(pool.expired(start + 2 * LIFETIME), [0; 0], "somebody asks on it");
        pool.release(start + LIFETIME, node(2), number, true);
        assert_eq!(pool.expired(start + LIFETIME), [2], "it is old");
    }

    #[test]
    fn a_broken_connection_is_not_used_again() {
        let (mut pool, now) = (Test::default(), Instant::now());
        opened(&mut pool, now, 1);
        let Wanted::Use(number, 1) = pool.want(now, node(1), 0) else { panic!("it is there") };
        assert_eq!(pool.release(now, node(1), number, false), Some(1));
        assert_eq!(pool.release(now, node(1), number, false), None, "of one that is gone already");
        assert_eq!(pool.want(now, node(1), 0), Wanted::Dial(None));
    }

    #[test]
    fn the_least_recently_used_makes_room_and_without_one_there_is_none() {
        let (mut pool, start) = (Test::default(), Instant::now());
        for number in 0..QUERY_CONNECTIONS_OUT as u32 {
            opened(&mut pool, start + Duration::from_millis(number.into()), number);
        }
        let now = start + Duration::from_secs(1);
        let Wanted::Use(first, 0) = pool.want(now, node(0), 0) else { panic!("it is there") };
        assert_eq!(pool.want(now, node(1000), 0), Wanted::Dial(Some(1)), "the first is in use");
        pool.release(now, node(0), first, true);
        for number in 2..QUERY_CONNECTIONS_OUT as u32 {
            assert!(matches!(pool.want(now, node(number), 0), Wanted::Use(..)));
        }
        assert!(matches!(pool.want(now, node(0), 0), Wanted::Use(..)));
        assert_eq!(pool.want(now, node(2000), 0), Wanted::Full);
        assert_eq!(pool.len(), QUERY_CONNECTIONS_OUT);
    }

    #[test]
    fn those_who_wait_for_one_dial_are_limited() {
        let (mut pool, now) = (Test::default(), Instant::now());
        assert_eq!(pool.want(now, node(1), 0), Wanted::Dial(None));
        for waiter in 1..QUERY_WAITERS as u32 {
            assert_eq!(pool.want(now, node(1), waiter), Wanted::Waiting);
        }
        assert_eq!(pool.want(now, node(1), 0), Wanted::Full);
    }
}
