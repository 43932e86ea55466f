//! The queue of events for one plugin. It is bounded, whatever the plugin does. The session's task takes from it; all
//! other tasks only add. Calls take the most room; their callers share it by the rule of
//! [`polypeer_engine::gateway::calls`].

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use polypeer_engine::gateway::calls::allows;
use polypeer_ipc_protocol::frame;
use polypeer_ipc_protocol::gateway::{Event, Grants, Origin, Payload, ServerFrame};
use polypeer_ipc_protocol::ids::Protocol;
use tokio::sync::Notify;

use crate::limits::EVENT_BACKLOG;

/// Bytes of an empty queue's memory that are kept for what comes next: a full batch of small calls.
pub(super) const KEPT: usize = 64 << 10;
/// Callers for whom an empty queue keeps memory.
const KEPT_CALLERS: usize = 16;

/// The encoded events for one session.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Mutex<Waiting>,
    added: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: Vec<u8>,
    /// Bytes of calls in `frames`, by caller.
    callers: HashMap<Origin, usize>,
    dropped: u64,
    grants: Option<Grants>,
}

/// The reason why a call could not be queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// [`EVENT_BACKLOG`] bytes are queued.
    Full,
    /// The caller has used up its share; the number is its bytes in the queue.
    Share(usize),
}

impl Outbox {
    fn with<T>(&self, change: impl FnOnce(&mut Waiting) -> T) -> T {
        let result = change(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        self.added.notify_one();
        result
    }

    /// Adds an event if there is room. Returns whether there was.
    pub(crate) fn offer(&self, event: Event) -> bool {
        self.with(|waiting| waiting.frames.len() < EVENT_BACKLOG && waiting.add(event))
    }

    /// Adds a call if there is room and its caller has not used up its share.
    pub(crate) fn offer_call(
        &self,
        call: u64,
        origin: Origin,
        protocol: Protocol,
        payload: Payload,
    ) -> Result<(), NoRoom> {
        self.with(|waiting| {
            let (total, held) = (waiting.frames.len(), waiting.callers.get(&origin).copied().unwrap_or_default());
            if total >= EVENT_BACKLOG {
                return Err(NoRoom::Full);
            }
            if !allows(held, total, EVENT_BACKLOG) {
                return Err(NoRoom::Share(held));
            }
            if !waiting.add(Event::Call { call, origin: origin.clone(), protocol, payload }) {
                return Err(NoRoom::Full);
            }
            *waiting.callers.entry(origin).or_default() += waiting.frames.len() - total;
            Ok(())
        })
    }

    /// Adds an event if there is room; otherwise drops and counts it. The plugin learns the count once it reads again.
    /// Returns whether the event was added.
    pub(crate) fn offer_or_drop(&self, event: Event) -> bool {
        self.offer_below(EVENT_BACKLOG, event)
    }

    /// Like [`Self::offer_or_drop`], but with room only while less than `backlog` bytes are queued.
    pub(crate) fn offer_below(&self, backlog: usize, event: Event) -> bool {
        self.with(|waiting| {
            let added = waiting.frames.len() < backlog && waiting.add(event);
            waiting.dropped += u64::from(!added);
            added
        })
    }

    /// Adds an event that withdraws an earlier one, room or not: there is at most one for each earlier event.
    pub(crate) fn withdraw(&self, event: Event) {
        self.with(|waiting| waiting.add(event));
    }

    /// Queues the newest grants. They replace older ones that are still queued.
    pub(crate) fn grants_changed(&self, grants: Grants) {
        self.with(|waiting| waiting.grants = Some(grants));
    }

    /// Waits until an event was added. Safe to cancel: no wake-up is lost.
    pub(crate) async fn added(&self) {
        self.added.notified().await;
    }

    /// Moves all queued events to the end of `out`.
    pub(crate) fn take(&self, out: &mut Vec<u8>) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).move_to(out);
    }
}

impl Waiting {
    fn add(&mut self, event: Event) -> bool {
        frame::write(&ServerFrame::Event(event), &mut self.frames).is_ok()
    }

    fn move_to(&mut self, out: &mut Vec<u8>) {
        if out.is_empty() {
            std::mem::swap(out, &mut self.frames);
        } else {
            out.append(&mut self.frames);
        }
        self.frames.shrink_to(KEPT);
        self.callers.clear();
        self.callers.shrink_to(KEPT_CALLERS);
        if let Some(grants) = self.grants.take() {
            self.add(Event::GrantsChanged(grants));
        }
        if self.dropped > 0 {
            let count = std::mem::take(&mut self.dropped);
            self.add(Event::Dropped { count });
        }
        out.append(&mut self.frames);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polypeer_ipc_protocol::codec;

    fn events(mut bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(body) = frame::split(bytes).unwrap() {
            match codec::decode(body).unwrap() {
                ServerFrame::Event(event) => events.push(event),
                other => panic!("{other:?}"),
            }
            bytes = &bytes[frame::HEADER + body.len()..];
        }
        events
    }

    fn call(number: u64) -> Event {
        let origin = Origin::Local("chat".parse().unwrap());
        let payload = Payload(vec![0; 64 << 10].into());
        Event::Call { call: number, origin, protocol: "chat/1".parse().unwrap(), payload }
    }

    #[test]
    fn unread_calls_of_one_caller_leave_room_for_those_of_others() {
        let outbox = Outbox::default();
        let offer = |caller: &str, number| {
            let payload = Payload(vec![0; 64 << 10].into());
            outbox.offer_call(number, Origin::Local(caller.parse().unwrap()), "chat/1".parse().unwrap(), payload)
        };
        let mut told = 0;
        let refused = loop {
            match offer("flooder", told) {
                Ok(()) => told += 1,
                Err(no_room) => break no_room,
            }
        };
        assert_eq!(told, 8, "half of a mebibyte");
        assert!(matches!(refused, NoRoom::Share(bytes) if bytes > 8 * (64 << 10)), "{refused:?}");
        assert_eq!(offer("honest", 100), Ok(()));
        assert_eq!(offer("honest", 101), Ok(()));
        let mut out = Vec::new();
        outbox.take(&mut out);
        assert_eq!(events(&out).len(), 10);
        assert_eq!(offer("flooder", 200), Ok(()), "what was read does not count");
    }

    #[tokio::test]
    async fn a_plugin_that_does_not_read_is_told_how_much_it_missed() {
        let outbox = Outbox::default();
        let mut told = 0;
        while outbox.offer(call(told)) {
            told += 1;
        }
        assert_eq!(told, 16, "a mebibyte of calls");
        assert!(!outbox.offer_or_drop(call(99)) && !outbox.offer_or_drop(call(100)));
        outbox.withdraw(Event::CallGone { call: 3 });
        outbox.grants_changed(Grants::default());
        outbox.grants_changed(Grants::default());
        let mut out = Vec::new();
        outbox.added().await;
        outbox.take(&mut out);
        let events = events(&out);
        assert_eq!(events.len(), 19);
        assert_eq!(events[16], Event::CallGone { call: 3 });
        assert_eq!(events[17..], [Event::GrantsChanged(Grants::default()), Event::Dropped { count: 2 }]);
        assert!(outbox.offer(call(1)), "there is room again");
    }
}
