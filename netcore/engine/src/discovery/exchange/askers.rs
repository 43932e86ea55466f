//! The rate limit on questions of each asker of `exchange/1`. One question a minute is answered. A node that was
//! restarted does not know that it asked just before, so a few early questions are answered, too. Pure; owned by
//! [`super::Exchange`].

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::ids::NodeId;

use super::{INTERVAL, MAX_REMEMBERED, Refusal, TOLERANCE};
use crate::now::Now;

/// The time over which early questions of a node are counted.
const EARLY_WINDOW: Duration = Duration::from_secs(3600);
/// Early questions of a node in an [`EARLY_WINDOW`] that are answered: its netcore or computer may have restarted. Each
/// costs at most one reply of 16 KiB.
pub(super) const FORGETFUL: u32 = 5;
/// More early questions than this in an [`EARLY_WINDOW`] are a flood: to be honest, the node would have to restart
/// every two minutes.
pub(super) const FLOOD: u32 = 30;

/// The questions of one asker.
#[derive(Debug)]
struct Asker {
    answered: Instant,
    /// Questions since `counted_since` that arrived less than [`INTERVAL`] after an answered one.
    early: u32,
    counted_since: Instant,
}

/// At most [`MAX_REMEMBERED`] askers; a further one replaces the one answered least recently.
#[derive(Debug, Default)]
pub(super) struct Askers(BTreeMap<NodeId, Asker>);

impl Askers {
    /// Decides whether a question of `node` is answered now; if so, it counts as answered.
    pub(super) fn enter(&mut self, now: Now, node: NodeId) -> Result<(), Refusal> {
        let Some(asker) = self.0.get_mut(&node) else {
            self.make_room(now);
            self.0.insert(node, Asker { answered: now.at, early: 0, counted_since: now.at });
            return Ok(());
        };
        if asker.counted_since + EARLY_WINDOW <= now.at {
            (asker.early, asker.counted_since) = (0, now.at);
        }
        if asker.answered + (INTERVAL - TOLERANCE) > now.at {
            asker.early = asker.early.saturating_add(1);
            if asker.early > FORGETFUL {
                return Err(if asker.early > FLOOD { Refusal::Flood } else { Refusal::TooSoon });
            }
        }
        asker.answered = now.at;
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn make_room(&mut self, now: Now) {
        if self.0.len() < MAX_REMEMBERED {
            return;
        }
        self.0.retain(|_, asker| asker.answered + EARLY_WINDOW > now.at);
        if self.0.len() >= MAX_REMEMBERED
            && let Some(oldest) = self.0.iter().min_by_key(|(_, asker)| asker.answered).map(|(node, _)| *node)
        {
            self.0.remove(&oldest);
        }
    }
}
