//! The subscriptions of one session, and the messages that wait for its verdict. `gateway::topics` passes changes on to
//! gossip.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::Validation;
use polypeer_ipc_protocol::ids::{Hash, Name};
use polypeer_ipc_protocol::limits::{MAX_TOPICS, MAX_UNJUDGED};

use super::ActiveUse;

/// The subscriptions of one session.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    state: Mutex<State>,
    /// Held while gossip is told of a change, so that changes reach it in order.
    pub(in crate::gateway) telling: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    ended: bool,
    /// At most [`MAX_TOPICS`].
    subscribed: BTreeMap<Name, Subscribed>,
    /// Messages that wait for a verdict, oldest first; at most [`MAX_UNJUDGED`].
    unjudged: VecDeque<(Name, Hash)>,
}

/// A subscription. It holds its use, which counts as long as the subscription lives.
#[derive(Debug, Clone)]
pub(in crate::gateway) struct Subscribed {
    pub(in crate::gateway) validation: Validation,
    pub(in crate::gateway) _active: Arc<ActiveUse>,
}

impl Subscriptions {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a subscription. Returns the one that it replaces. Fails with `superseded` when the session is over, and
    /// with `busy` beyond [`MAX_TOPICS`].
    pub(in crate::gateway) fn enter(
        &self,
        topic: &Name,
        subscribed: Subscribed,
    ) -> Result<Option<Subscribed>, Failure> {
        let mut state = self.state();
        if state.ended {
            return Err(ErrorCode::Superseded.into());
        }
        if state.subscribed.len() >= MAX_TOPICS && !state.subscribed.contains_key(topic) {
            let text =
                format!("this session is subscribed to {MAX_TOPICS} topics, which is the limit: unsubscribe some");
            return Err(Failure::new(ErrorCode::Busy, text));
        }
        if subscribed.validation == Validation::Signature {
            state.unjudged.retain(|(of, _)| of != topic);
        }
        Ok(state.subscribed.insert(topic.clone(), subscribed))
    }

    pub(in crate::gateway) fn leave(&self, topic: &Name) -> bool {
        let mut state = self.state();
        state.unjudged.retain(|(of, _)| of != topic);
        state.subscribed.remove(topic).is_some()
    }

    pub(in crate::gateway) fn check(&self, topic: &Name) -> Result<(), Failure> {
        if self.state().subscribed.contains_key(topic) {
            return Ok(());
        }
        Err(Failure::new(ErrorCode::BadArgument, format!("this session is not subscribed to {topic}")))
    }

    /// How messages of a topic are validated; `None` without a subscription.
    pub(in crate::gateway) fn validation(&self, topic: &Name) -> Option<Validation> {
        self.state().subscribed.get(topic).map(|subscribed| subscribed.validation)
    }

    /// Removes a message that the plugin has judged.
    pub(in crate::gateway) fn judged(&self, message: &Hash) {
        self.state().unjudged.retain(|(_, waiting)| waiting != message);
    }

    /// Adds a message that was handed to the plugin. Returns the oldest one if [`MAX_UNJUDGED`] is exceeded.
    pub(in crate::gateway) fn wait_for_verdict(&self, topic: &Name, message: Hash) -> Option<(Name, Hash)> {
        let mut state = self.state();
        state.unjudged.push_back((topic.clone(), message));
        if state.unjudged.len() > MAX_UNJUDGED { state.unjudged.pop_front() } else { None }
    }

    /// Ends all subscriptions, because the session is over.
    pub(super) fn end(&self) {
        let mut state = self.state();
        *state = State { ended: true, ..State::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::launch::any_use;

    fn name(number: usize) -> Name {
        format!("topic/{number}").parse().unwrap()
    }

    /// Subscribes to a topic. Returns how its messages were validated before.
    fn enter(topics: &Subscriptions, number: usize, validation: Validation) -> Result<Option<Validation>, Failure> {
        let before = topics.enter(&name(number), Subscribed { validation, _active: any_use("chat") })?;
        Ok(before.map(|before| before.validation))
    }

    #[test]
    fn a_session_has_so_many_topics_and_none_when_it_is_over() {
        let topics = Subscriptions::default();
        for number in 0..MAX_TOPICS {
            assert_eq!(enter(&topics, number, Validation::Signature), Ok(None));
        }
        assert!(enter(&topics, MAX_TOPICS, Validation::Signature).unwrap_err().is(ErrorCode::Busy));
        let before = enter(&topics, 0, Validation::Plugin);
        assert_eq!(before, Ok(Some(Validation::Signature)), "asking again needs no room");
        assert!(topics.leave(&name(0)) && !topics.leave(&name(0)));
        assert_eq!(enter(&topics, MAX_TOPICS, Validation::Signature), Ok(None));
        topics.end();
        assert!(topics.check(&name(1)).is_err());
        assert!(enter(&topics, 1, Validation::Signature).unwrap_err().is(ErrorCode::Superseded));
    }

    #[test]
    fn the_oldest_message_without_a_verdict_makes_room() {
        let topics = Subscriptions::default();
        enter(&topics, 0, Validation::Plugin).unwrap();
        let hash = |number: usize| Hash([number as u8; 32]);
        for number in 0..MAX_UNJUDGED {
            assert_eq!(topics.wait_for_verdict(&name(0), hash(number)), None);
        }
        assert_eq!(topics.wait_for_verdict(&name(0), hash(0)), Some((name(0), hash(0))));
        topics.leave(&name(0));
        assert!(topics.state().unjudged.is_empty());
    }
}
