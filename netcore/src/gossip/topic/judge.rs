//! Messages that a plugin is asked about before they are passed on.

use polypeer_ipc_protocol::gateway::Verdict;
use polypeer_ipc_protocol::limits::MAX_UNJUDGED;

use super::Topic;
use crate::gossip::common::Common;
use crate::gossip::message::MessageId;
use crate::gossip::output::{Misbehaviour, Output};
use crate::gossip::timers::Work;
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
                self.forward(cx, now, &message, way);
            }
            return;
        }
        let Some(from) = self.change_store(cx, |store| store.refuse(&id)) else { return };
        self.info.dropped += 1;
        if verdict == Verdict::Ignore {
            cx.stats.dropped_ignored += 1;
            return;
        }
        cx.stats.dropped_rejected += 1;
        if let Some(peer) = from {
            cx.output(Output::Blame { peer, why: Misbehaviour::Rejected });
        }
    }
}
