//! What waits to be told to one plugin: bounded, whatever the plugin does. The session's task takes from it; everybody
//! else only adds.

use std::sync::{Mutex, PoisonError};

use polypeer_ipc_protocol::frame;
use polypeer_ipc_protocol::gateway::{Event, Grants, ServerFrame};
use tokio::sync::Notify;

use crate::limits::EVENT_BACKLOG;

/// Events for one session, encoded.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Mutex<Waiting>,
    added: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: Vec<u8>,
    dropped: u64,
    grants: Option<Grants>,
}

impl Outbox {
    fn with<T>(&self, change: impl FnOnce(&mut Waiting) -> T) -> T {
        let result = change(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        self.added.notify_one();
        result
    }

    /// Adds an event if there is room; whether there was.
    pub(crate) fn offer(&self, event: Event) -> bool {
        self.with(|waiting| waiting.frames.len() < EVENT_BACKLOG && waiting.add(event))
    }

    /// Adds an event if there is room; if not, drops it and counts it, and the plugin is told how many once it reads.
    pub(crate) fn offer_or_drop(&self, event: Event) -> bool {
        self.offer_below(EVENT_BACKLOG, event)
    }

    /// As [`Self::offer_or_drop`], where there is room only while less than `backlog` bytes wait.
    pub(crate) fn offer_below(&self, backlog: usize, event: Event) -> bool {
        self.with(|waiting| {
            let added = waiting.frames.len() < backlog && waiting.add(event);
            waiting.dropped += u64::from(!added);
            added
        })
    }

    /// Adds an event that takes back an earlier one, of which there is at most one for each.
    pub(crate) fn withdraw(&self, event: Event) {
        self.with(|waiting| waiting.add(event));
    }

    /// Tells the newest grants; older ones not told yet are forgotten.
    pub(crate) fn grants_changed(&self, grants: Grants) {
        self.with(|waiting| waiting.grants = Some(grants));
    }

    /// Waits until something was added. Nothing is lost when dropped.
    pub(crate) async fn added(&self) {
        self.added.notified().await;
    }

    /// Moves everything to `out`.
    pub(crate) fn take(&self, out: &mut Vec<u8>) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).move_to(out);
    }
}

impl Waiting {
    fn add(&mut self, event: Event) -> bool {
        frame::write(&ServerFrame::Event(event), &mut self.frames).is_ok()
    }

    fn move_to(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.frames);
        self.frames.shrink_to(4096);
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
    use polypeer_ipc_protocol::codec;
    use polypeer_ipc_protocol::gateway::{Origin, Payload};

    use super::*;

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
