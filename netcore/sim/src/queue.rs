//! The queue of events in virtual time. Events of the same microsecond are taken in the order in which they were
//! pushed, so that every run of a seed is the same. The heap orders small entries; the events themselves, hundreds of
//! thousands, stay in place.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Virtual time, or a span of it, in microseconds; the world starts at 0.
pub type Micros = u64;

pub const MS: Micros = 1_000;
pub const SECOND: Micros = 1_000 * MS;
pub const MINUTE: Micros = 60 * SECOND;
pub const HOUR: Micros = 60 * MINUTE;

/// A queue of events, earliest first.
#[derive(Debug)]
pub struct Queue<E> {
    heap: BinaryHeap<Entry>,
    events: Vec<Option<E>>,
    free: Vec<u32>,
    pushed: u64,
    popped: u64,
    now: Micros,
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    at: Micros,
    order: u64,
    /// Index of the event in `events`.
    place: u32,
}

impl<E> Queue<E> {
    /// Makes an empty queue at time 0.
    pub fn new() -> Self {
        Self { heap: BinaryHeap::new(), events: Vec::new(), free: Vec::new(), pushed: 0, popped: 0, now: 0 }
    }

    /// The time of the last event taken, or what [`Self::advance`] set.
    pub fn now(&self) -> Micros {
        self.now
    }

    /// Number of events taken so far.
    pub fn popped(&self) -> u64 {
        self.popped
    }

    /// Schedules `event` at `at`, or now if that has passed.
    pub fn push(&mut self, at: Micros, event: E) {
        self.pushed += 1;
        let place = self.free.pop().unwrap_or_else(|| {
            self.events.push(None);
            self.events.len() as u32 - 1
        });
        self.events[place as usize] = Some(event);
        self.heap.push(Entry { at: at.max(self.now), order: self.pushed, place });
    }

    /// Takes the next event up to `limit` and advances the time to it.
    pub fn pop(&mut self, limit: Micros) -> Option<E> {
        if self.heap.peek()?.at > limit {
            return None;
        }
        let entry = self.heap.pop()?;
        self.now = entry.at;
        self.popped += 1;
        self.free.push(entry.place);
        self.events[entry.place as usize].take()
    }

    /// Advances the time to `at`; the caller has taken all events before.
    pub fn advance(&mut self, at: Micros) {
        self.now = self.now.max(at);
    }
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl Ord for Entry {
    /// Reversed, as the heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soonest_first_and_equals_in_the_order_of_pushing() {
        let mut queue = Queue::new();
        for (at, event) in [(5, 'c'), (1, 'a'), (5, 'd'), (2, 'b'), (9, 'e')] {
            queue.push(at, event);
        }
        let taken: Vec<char> = std::iter::from_fn(|| queue.pop(8)).collect();
        assert_eq!((taken, queue.now()), (vec!['a', 'b', 'c', 'd'], 5));
        queue.advance(8);
        queue.push(3, 'f');
        assert_eq!((queue.pop(8), queue.now()), (Some('f'), 8), "the past happens at once");
    }
}
