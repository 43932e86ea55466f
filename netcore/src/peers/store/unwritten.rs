//! Changes that could not be written, kept to be retried. Owned by the store's thread.

use std::collections::BTreeMap;

use polypeer_ipc_protocol::ids::NodeId;

use super::{Change, MAX_QUEUED};

/// The latest unwritten change of each peer, of at most [`MAX_QUEUED`] peers. Changes of peers that the operator
/// blocked or protected replace others.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    changes: BTreeMap<NodeId, Change>,
}

impl Unwritten {
    /// Keeps a change that failed. Returns `false` if another change was lost for it, or it is lost itself.
    pub(super) fn keep(&mut self, change: Change) -> bool {
        let Some(node) = change.node() else { return true };
        let is_full = self.changes.len() >= MAX_QUEUED && !self.changes.contains_key(&node);
        if is_full {
            let other = self.changes.iter().find(|(_, change)| !change.is_of_operator()).map(|(node, _)| *node);
            match other {
                Some(other) if change.is_of_operator() => self.changes.remove(&other),
                _ => return false,
            };
        }
        self.changes.insert(node, change);
        !is_full
    }

    /// Forgets an older change of the same peer, since a newer `change` is being written.
    pub(super) fn forget(&mut self, change: &Change) {
        if let Some(node) = change.node() {
            self.changes.remove(&node);
        }
    }

    /// Writes the kept changes until one fails.
    pub(super) fn write<E>(&mut self, mut write: impl FnMut(&Change) -> Result<(), E>) -> Result<(), E> {
        while let Some(entry) = self.changes.first_entry() {
            write(entry.get())?;
            entry.remove();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polypeer_engine::peers::book::Entry;

    fn change(number: u32, blocked: bool) -> Change {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        Change::Put(NodeId(id), Entry { blocked, ..Entry::default() })
    }

    fn written(unwritten: &mut Unwritten) -> Vec<Change> {
        let mut all = Vec::new();
        let Ok(()) = unwritten.write::<std::convert::Infallible>(|change| {
            all.push(change.clone());
            Ok(())
        });
        all
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_the_operator_said_stays() {
        let mut unwritten = Unwritten::default();
        for number in 0..MAX_QUEUED as u32 + 9 {
            assert_eq!(unwritten.keep(change(number, false)), number < MAX_QUEUED as u32);
        }
        assert!(!unwritten.keep(change(9_000_000, true)));
        let all = written(&mut unwritten);
        assert_eq!(all.len(), MAX_QUEUED);
        assert_eq!(all.iter().filter(|change| change.is_of_operator()).count(), 1);
        assert!(written(&mut unwritten).is_empty());
    }

    #[test]
    fn latest_change_of_a_peer_counts_and_what_fails_again_stays() {
        let mut unwritten = Unwritten::default();
        unwritten.keep(change(1, true));
        unwritten.keep(change(1, false));
        unwritten.keep(change(2, true));
        let mut tries = 0;
        assert_eq!(unwritten.write(|_| Err(std::mem::replace(&mut tries, 1))), Err(0), "the first failure ends it");
        unwritten.forget(&change(2, false));
        assert_eq!(written(&mut unwritten).len(), 1);
    }
}
