//! Announced messages of one topic that have not arrived: whom to request each from, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use polypeer_ipc_protocol::ids::NodeId;

use crate::gossip::message::MessageId;

/// Missing messages of one topic: several seconds of the fastest one.
pub(super) const MAX_MISSING: usize = 4096;
/// Holders remembered for each missing message.
const MAX_HOLDERS: usize = 8;

/// A message that was announced and has not arrived.
#[derive(Debug)]
pub(super) struct Missing {
    /// The peer that announced it first, which counts as a promise.
    pub(super) first: NodeId,
    /// Peers that announced it and were not asked, in the order of their announcements.
    pub(super) holders: Vec<NodeId>,
    /// The peer that was asked last and has not sent it.
    pub(super) asked: Option<NodeId>,
    /// When `asked` was asked.
    pub(super) asked_at: Instant,
    /// Number of requests sent.
    pub(super) tries: u8,
    /// Whether it may still be pushed without a request.
    pub(super) live: bool,
    due: Instant,
}

/// All missing messages of one topic, ordered by their next request.
#[derive(Debug, Default)]
pub(super) struct AllMissing {
    messages: BTreeMap<MessageId, Missing>,
    due: BTreeSet<(Instant, MessageId)>,
}

/// Result of a peer's announcement.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// The message is missing; this was its first announcement.
    First,
    /// The message was missing before.
    Again,
    /// There is no room for another missing message.
    Full,
}

impl AllMissing {
    /// Notes that `holder` announced a message. The first announcement schedules a request at `due`. `live`: the
    /// message may still be pushed.
    pub(super) fn name(&mut self, id: MessageId, holder: NodeId, live: bool, due: Instant) -> Named {
        if let Some(missing) = self.messages.get_mut(&id) {
            if missing.holders.len() < MAX_HOLDERS
                && missing.asked != Some(holder)
                && !missing.holders.contains(&holder)
            {
                missing.holders.push(holder);
            }
            return Named::Again;
        }
        if self.messages.len() == MAX_MISSING {
            return Named::Full;
        }
        let holders = vec![holder];
        self.messages.insert(id, Missing { first: holder, holders, asked: None, asked_at: due, tries: 0, live, due });
        self.due.insert((due, id));
        Named::First
    }

    /// Whether half of [`MAX_MISSING`] is in use.
    pub(super) fn is_half_full(&self) -> bool {
        2 * self.messages.len() >= MAX_MISSING
    }

    /// Removes a message that arrived or is given up.
    pub(super) fn remove(&mut self, id: &MessageId) -> Option<Missing> {
        let missing = self.messages.remove(id)?;
        self.due.remove(&(missing.due, *id));
        Some(missing)
    }

    /// The first message whose request is due.
    pub(super) fn first_due(&self, now: Instant) -> Option<MessageId> {
        self.due.first().filter(|(due, _)| *due <= now).map(|(_, id)| *id)
    }

    pub(super) fn get_mut(&mut self, id: &MessageId) -> Option<&mut Missing> {
        self.messages.get_mut(id)
    }

    /// Schedules the next request of a message.
    pub(super) fn postpone(&mut self, id: MessageId, due: Instant) {
        if let Some(missing) = self.messages.get_mut(&id) {
            self.due.remove(&(missing.due, id));
            missing.due = due;
            self.due.insert((due, id));
        }
    }

    /// When the first request is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    pub(super) fn drain(&mut self) -> Vec<Missing> {
        self.due.clear();
        std::mem::take(&mut self.messages).into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn id(number: u32) -> MessageId {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        MessageId(bytes)
    }

    #[test]
    fn the_first_to_name_a_message_is_asked_first_and_nobody_twice() {
        let start = testing::start();
        let [one, two] = [NodeId([1; 32]), NodeId([2; 32])];
        let mut missing = AllMissing::default();
        assert_eq!(missing.name(id(1), one, true, start), Named::First);
        assert_eq!(missing.name(id(1), two, true, start), Named::Again);
        assert_eq!(missing.name(id(1), two, true, start), Named::Again);
        assert_eq!(missing.first_due(start), Some(id(1)));
        assert_eq!(missing.get_mut(&id(1)).unwrap().holders, [one, two]);
        missing.postpone(id(1), start + std::time::Duration::from_secs(1));
        assert_eq!(missing.first_due(start), None);
        assert!(missing.remove(&id(1)).is_some() && missing.next().is_none());
    }

    #[test]
    fn neither_messages_nor_holders_are_without_end() {
        let start = testing::start();
        let mut missing = AllMissing::default();
        for number in 0..MAX_MISSING as u32 {
            assert_eq!(missing.name(id(number), NodeId([1; 32]), true, start), Named::First);
        }
        assert_eq!(missing.name(id(u32::MAX), NodeId([1; 32]), true, start), Named::Full);
        for holder in 0..50 {
            missing.name(id(0), NodeId([holder; 32]), true, start);
        }
        assert_eq!(missing.get_mut(&id(0)).unwrap().holders.len(), MAX_HOLDERS);
        assert_eq!(missing.drain().len(), MAX_MISSING);
        assert!(missing.messages.is_empty() && missing.next().is_none());
    }
}
