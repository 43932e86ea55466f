//! Messages that wait for a plugin's verdict before they are passed on.

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
    /// Adds a delivered message that waits for a verdict; the oldest one is ignored when there are too many.
    pub(super) fn wait_for_verdict(&mut self, cx: &mut Common, now: Now, id: MessageId) {
        let until = now.at + cx.config.judge;
        self.unjudged.push_back((until, id));
        cx.timers.set_earliest(Some(self.id), Work::Judge, until);
        if self.unjudged.len() > MAX_UNJUDGED
            && let Some((_, oldest)) = self.unjudged.pop_front()
        {
            self.judge(cx, now, oldest, Verdict::Ignore);
        }
    }

    /// Ignores messages that were not judged in time.
    pub(super) fn judge_timeout(&mut self, cx: &mut Common, now: Now) {
        while let Some(&(until, id)) = self.unjudged.front() {
            if until > now.at {
                cx.timers.set_earliest(Some(self.id), Work::Judge, until);
                return;
            }
            self.unjudged.pop_front();
            self.judge(cx, now, id, Verdict::Ignore);
        }
    }

    /// Applies a verdict on a message; has no effect unless the message waits for one.
    pub(in crate::gossip) fn judge(&mut self, cx: &mut Common, now: Now, id: MessageId, verdict: Verdict) {
        if verdict == Verdict::Accept {
            if let Some((message, arrival)) = self.store.accept(&id) {
                if let Some(from) = arrival.from {
                    cx.credit(from, now);
                    if let Some(neighbour) = self.neighbours.get_mut(&from) {
                        neighbour.accepted();
                    }
                }
                self.forward(cx, now, &message, arrival);
            }
            return;
        }
        let Some((message, arrival)) = self.change_store(cx, |store| store.refuse(&id)) else { return };
        self.info.dropped += 1;
        if verdict == Verdict::Ignore {
            cx.stats.dropped_ignored += 1;
            return;
        }
        cx.stats.dropped_rejected += 1;
        if let Some(from) = arrival.from {
            self.rejected(cx, now, from, message.author() == from);
        }
    }

    /// Handles the rejection of a message that `peer` sent. A peer that passes on messages of others may not validate
    /// and know no better: after too many it is dropped as a neighbour, and nothing else.
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
