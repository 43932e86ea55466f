//! What is due when: at most one time for each kind of work of each topic.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::message::TopicId;

/// Work that waits for its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Work {
    /// Tell neighbours the names of new messages.
    Flush,
    /// Ask for messages that others have.
    Missing,
    /// Ignore messages that were not judged.
    Judge,
    /// Find neighbours.
    Maintain,
    /// Compare what is complete of the recent past.
    Digest,
    /// Tell neighbours that they still are.
    Heartbeat,
    /// Exchange known subscribers.
    Shuffle,
    /// Change a neighbour for another.
    Refresh,
    /// Let go of old messages and names.
    Expire,
    /// Repeat to subscribers what was published without being one.
    Offer,
    /// Tell peers the topics of this node.
    Tell,
    /// Give up on peers that nobody said anything of.
    Dials,
}

/// Of which topic; `None`: of the node.
type Owner = Option<TopicId>;

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Timers {
    queue: BTreeSet<(Instant, Owner, Work)>,
    armed: BTreeMap<(Owner, Work), Instant>,
}

impl Timers {
    /// Sets the time, whatever it was before.
    pub(super) fn set(&mut self, owner: Owner, work: Work, at: Instant) {
        if let Some(before) = self.armed.insert((owner, work), at) {
            if before == at {
                return;
            }
            self.queue.remove(&(before, owner, work));
        }
        self.queue.insert((at, owner, work));
    }

    /// Sets the time, unless there is an earlier one.
    pub(super) fn by(&mut self, owner: Owner, work: Work, at: Instant) {
        if self.armed.get(&(owner, work)).is_none_or(|before| at < *before) {
            self.set(owner, work, at);
        }
    }

    /// Takes everything away that belongs to a topic.
    pub(super) fn clear(&mut self, topic: TopicId) {
        let owner = Some(topic);
        let range = (owner, Work::Flush)..=(owner, Work::Dials);
        let gone: Vec<_> = self.armed.range(range).map(|((_, work), at)| (*at, owner, *work)).collect();
        for (at, owner, work) in gone {
            self.armed.remove(&(owner, work));
            self.queue.remove(&(at, owner, work));
        }
    }

    /// The first time.
    pub(super) fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, ..)| *at)
    }

    /// Takes one thing that is due.
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
        timers.by(topic, Work::Flush, at(9));
        timers.by(topic, Work::Flush, at(3));
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
