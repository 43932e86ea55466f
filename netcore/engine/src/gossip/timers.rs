//! Timers: at most one deadline for each kind of work of each topic.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::message::TopicId;

/// A kind of work that waits for its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Work {
    /// Announce new messages to neighbours.
    Flush,
    /// Request messages that neighbours announced.
    Missing,
    /// Ignore messages that were not judged in time.
    Judge,
    /// Find neighbours.
    Maintain,
    /// Compare complete buckets of the recent past with neighbours.
    Digest,
    /// Send a keepalive to neighbours.
    Heartbeat,
    /// Exchange known subscribers with a neighbour.
    Shuffle,
    /// Replace a neighbour.
    Refresh,
    /// Drop old messages and ids.
    Expire,
    /// Announce again what this node published without a subscription.
    Offer,
    /// Tell peers the topics of this node.
    Tell,
    /// Fail dials that timed out.
    Dials,
}

/// The topic that the work belongs to; `None`: the node.
type Owner = Option<TopicId>;

/// Deadlines of all topics and of the node.
#[derive(Debug, Default)]
pub(super) struct Timers {
    queue: BTreeSet<(Instant, Owner, Work)>,
    armed: BTreeMap<(Owner, Work), Instant>,
}

impl Timers {
    /// Sets the deadline, whatever it was before.
    pub(super) fn set(&mut self, owner: Owner, work: Work, at: Instant) {
        if let Some(before) = self.armed.insert((owner, work), at) {
            if before == at {
                return;
            }
            self.queue.remove(&(before, owner, work));
        }
        self.queue.insert((at, owner, work));
    }

    /// Sets the deadline, unless there is an earlier one.
    pub(super) fn set_earliest(&mut self, owner: Owner, work: Work, at: Instant) {
        if self.armed.get(&(owner, work)).is_none_or(|before| at < *before) {
            self.set(owner, work, at);
        }
    }

    /// Removes all deadlines of a topic.
    pub(super) fn clear(&mut self, topic: TopicId) {
        let owner = Some(topic);
        let range = (owner, Work::Flush)..=(owner, Work::Dials);
        let gone: Vec<_> = self.armed.range(range).map(|((_, work), at)| (*at, owner, *work)).collect();
        for (at, owner, work) in gone {
            self.armed.remove(&(owner, work));
            self.queue.remove(&(at, owner, work));
        }
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, ..)| *at)
    }

    /// Takes the earliest work, if it is due.
    pub(super) fn due(&mut self, now: Instant) -> Option<(Owner, Work)> {
        let (at, owner, work) = *self.queue.first()?;
        if at > now {
            return None;
        }
        self.queue.pop_first();
        self.armed.remove(&(owner, work));
        Some((owner, work))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing;

    #[test]
    fn each_work_has_one_time_and_comes_in_order() {
        let (start, topic) = (testing::start(), Some(TopicId([1; 16])));
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut timers = Timers::default();
        timers.set(topic, Work::Flush, at(5));
        timers.set_earliest(topic, Work::Flush, at(9));
        timers.set_earliest(topic, Work::Flush, at(3));
        timers.set(None, Work::Tell, at(4));
        assert_eq!(timers.next(), Some(at(3)));
        assert_eq!(timers.due(at(2)), None);
        assert_eq!(timers.due(at(9)), Some((topic, Work::Flush)));
        assert_eq!(timers.due(at(9)), Some((None, Work::Tell)));
        assert_eq!(timers.due(at(9)), None);
    }

    #[test]
    fn a_topic_that_is_left_leaves_nothing_behind() {
        let start = testing::start();
        let mut timers = Timers::default();
        timers.set(Some(TopicId([1; 16])), Work::Shuffle, start);
        timers.set(Some(TopicId([1; 16])), Work::Flush, start);
        timers.set(Some(TopicId([2; 16])), Work::Flush, start);
        timers.clear(TopicId([1; 16]));
        assert_eq!((timers.queue.len(), timers.armed.len()), (1, 1));
    }
}
