//! Pending calls to one plugin, shared out among their callers. Pure; netcore's `gateway::launch::session` owns one.
//!
//! **Shares.** A caller may have a further call pending while it has fewer pending calls than there are free places
//! ([`allows`]). So a single caller gets half of all places, two callers a third each, and so on. Callers that flood a
//! plugin are refused while there is still room for others, however many flood it at once; and a caller that is alone
//! is not limited to a small fixed share. (Choudhury and Hahne, *Dynamic queue length thresholds for shared-memory
//! packet switches*, 1998, with a factor of 1.)

use std::collections::HashMap;

use polypeer_ipc_protocol::gateway::Origin;
use polypeer_ipc_protocol::limits::MAX_CALLS;

/// Whether a user that holds `held` units may take one more, when all users together hold `total` of at most `limit`.
pub fn allows(held: usize, total: usize, limit: usize) -> bool {
    held < limit.saturating_sub(total)
}

/// Why a call is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crowded {
    /// [`MAX_CALLS`] calls are pending.
    Full,
    /// The caller has used up its share: this many of its calls are pending.
    Share(usize),
}

/// The pending calls of one plugin. `A` is the sender for a call's answer.
#[derive(Debug)]
pub struct Calls<A> {
    waiting: HashMap<u64, (Origin, A)>,
    /// Number of pending calls of each caller that has any.
    callers: HashMap<Origin, usize>,
}

impl<A> Default for Calls<A> {
    fn default() -> Self {
        Self { waiting: HashMap::new(), callers: HashMap::new() }
    }
}

impl<A> Calls<A> {
    /// Checks whether one more call of `origin` may be pending.
    pub fn check(&self, origin: &Origin) -> Result<(), Crowded> {
        let held = self.callers.get(origin).copied().unwrap_or_default();
        match (self.waiting.len(), held) {
            (total, _) if total >= MAX_CALLS => Err(Crowded::Full),
            (total, held) if !allows(held, total, MAX_CALLS) => Err(Crowded::Share(held)),
            _ => Ok(()),
        }
    }

    /// Adds a call under `call`, a number not used before.
    pub fn insert(&mut self, call: u64, origin: Origin, answer: A) {
        *self.callers.entry(origin.clone()).or_default() += 1;
        self.waiting.insert(call, (origin, answer));
    }

    /// Removes a call; `None` if it is not pending.
    pub fn remove(&mut self, call: u64) -> Option<A> {
        let (origin, answer) = self.waiting.remove(&call)?;
        if let Some(count) = self.callers.get_mut(&origin) {
            *count -= 1;
            if *count == 0 {
                self.callers.remove(&origin);
            }
        }
        Some(answer)
    }

    /// The number of pending calls.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether no call is pending.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use polypeer_ipc_protocol::ids::NodeId;

    use super::*;

    fn caller(number: u8) -> Origin {
        Origin::Peer(NodeId([number; 32]))
    }

    /// Adds calls of caller `of` until one is refused; returns how many were added, and why that one was refused.
    fn flood(calls: &mut Calls<()>, of: u8, first: u64) -> (usize, Crowded) {
        let mut taken = 0;
        loop {
            match calls.check(&caller(of)) {
                Ok(()) => calls.insert(first + taken as u64, caller(of), ()),
                Err(crowded) => return (taken, crowded),
            }
            taken += 1;
        }
    }

    #[test]
    fn one_caller_gets_half_and_many_at_once_leave_room_for_another() {
        let mut calls = Calls::default();
        assert_eq!(flood(&mut calls, 0, 0), (MAX_CALLS / 2, Crowded::Share(MAX_CALLS / 2)));
        for flooder in 1..6 {
            let (taken, crowded) = flood(&mut calls, flooder, 1000 * u64::from(flooder));
            assert!(taken > 0, "flooder {flooder} among {} calls", calls.len());
            assert_eq!(crowded, Crowded::Share(taken));
        }
        assert_eq!(calls.check(&caller(99)), Ok(()), "there is room for one who calls now and then");
    }

    #[test]
    fn what_is_answered_makes_room_for_its_caller_and_nothing_is_kept() {
        let mut calls = Calls::default();
        let (taken, _) = flood(&mut calls, 0, 0);
        assert_eq!(calls.remove(0), Some(()));
        assert_eq!((calls.remove(0), calls.remove(5000)), (None, None));
        assert_eq!(calls.check(&caller(0)), Ok(()));
        for call in 1..taken as u64 {
            calls.remove(call);
        }
        assert_eq!((calls.len(), calls.callers.len()), (0, 0));
    }

    #[test]
    fn many_callers_with_one_call_each_fill_all_the_places() {
        let mut calls = Calls::default();
        for number in 0..=u8::MAX {
            assert_eq!(calls.check(&caller(number)), Ok(()));
            calls.insert(number.into(), caller(number), ());
        }
        assert_eq!(calls.len(), MAX_CALLS);
        assert_eq!(calls.check(&Origin::Local("late".parse().unwrap())), Err(Crowded::Full));
    }
}
