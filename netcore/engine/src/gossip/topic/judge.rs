//! Messages that a plugin is asked about before they are passed on.

use polypeer_ipc_protocol::gateway::Verdict;
use polypeer_ipc_protocol::ids::NodeId;
use polypeer_ipc_protocol::limits::MAX_UNJUDGED;

use super::Topic;
use super::overlay::BANNED;
use crate::gossip::common::Common;
use crate::gossip::message::MessageId;
use crate::gossip::output::{Misbehaviour, Output};
use crate::gossip::timers::Work;
use crate::gossip::wire::Frame;
use crate::now::Now;

impl Topic {
    /// A message was delivered that waits for a verdict; the oldest is ignored when too many do.
    pub(super) fn wait_for_verdict(&mut self, cx: &mut Common, now: Now, id: MessageId) {
        let until = now.at + cx.config.judge;
        self.unjudged.push_back((until, id));
        cx.timers.by(Some(self.id), Work::Judge, until);
        if self.unjudged.len() > MAX_UNJUDGED
            && let Some((_, oldest)) = self.unjudged.pop_front()
        {
            self.judge(cx, now, oldest, Verdict::Ignore);
        }
    }

    /// Ignores what was not judged in time.
    pub(super) fn judge_timeout(&mut self, cx: &mut Common, now: Now) {
        while let Some(&(until, id)) = self.unjudged.front() {
            if until > now.at {
                cx.timers.by(Some(self.id), Work::Judge, until);
                return;
            }
            self.unjudged.pop_front();
            self.judge(cx, now, id, Verdict::Ignore);
        }
    }

    /// The verdict on a message; without effect unless it waits for one.
    pub(in crate::gossip) fn judge(&mut self, cx: &mut Common, now: Now, id: MessageId, verdict: Verdict) {
        if verdict == Verdict::Accept {
            if let Some((message, way)) = self.store.accept(&id) {
                if let Some(from) = way.from {
                    cx.credit(from, now);
                    if let Some(neighbour) = self.neighbours.get_mut(&from) {
                        neighbour.accepted();
                    }
                }
                self.forward(cx, now, &message, way);
            }
            return;
        }
        let Some((message, way)) = self.change_store(cx, |store| store.refuse(&id)) else { return };
        self.info.dropped += 1;
        if verdict == Verdict::Ignore {
            cx.stats.dropped_ignored += 1;
            return;
        }
        cx.stats.dropped_rejected += 1;
        if let Some(from) = way.from {
            self.rejected(cx, now, from, message.author() == from);
        }
    }

    /// A plugin rejected a message that came from a peer. Whoever passes on what others publish may know no better, as it
    /// may not validate: it is let go as a neighbour if there is too much of it, and that is all.
    fn rejected(&mut self, cx: &mut Common, now: Now, peer: NodeId, is_author: bool) {
        if is_author && cx.peers.get_mut(&peer).is_some_and(|known| known.is_blamed(now.at)) {
            cx.output(Output::Blame { peer, why: Misbehaviour::Rejected });
        }
        if self.neighbours.get_mut(&peer).is_some_and(|neighbour| neighbour.rejected(is_author)) {
            cx.send(peer, Frame::Leave { topic: self.id });
            self.unlink(cx, now, peer, BANNED);
        }
    }
}
