//! Gossip for plugins: what one session is subscribed to, and how messages reach it. [`crate::gossip`] does the rest.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use polypeer_engine::gossip::Message;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{Event, Payload, Response, Validation, Verdict};
use polypeer_ipc_protocol::ids::{Hash, Name};
use polypeer_ipc_protocol::limits::{MAX_TOPICS, MAX_UNJUDGED};
use tokio::time::timeout;

use super::Hub;
use super::launch::ActiveUse;
use super::session::Session;
use crate::gossip::driver::Sink;
use crate::limits::MESSAGE_BACKLOG;
use crate::plugins::grants::Use;

/// How long gossip may take to take something: it needs no other node for any of it.
const AT_ONCE: Duration = Duration::from_secs(5);

/// What one session is subscribed to.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    state: Mutex<State>,
    /// Held while gossip is told of a change, so that it hears of them in order.
    telling: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    ended: bool,
    /// At most [`MAX_TOPICS`].
    subscribed: BTreeMap<Name, Subscribed>,
    /// What waits for a verdict, oldest first; at most [`MAX_UNJUDGED`].
    unjudged: VecDeque<(Name, Hash)>,
}

/// A subscription, for as long as its use lives.
#[derive(Debug, Clone)]
struct Subscribed {
    validation: Validation,
    _active: Arc<ActiveUse>,
}

impl Topics {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a topic; what was there before.
    fn enter(&self, topic: &Name, subscribed: Subscribed) -> Result<Option<Subscribed>, Failure> {
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

    fn leave(&self, topic: &Name) -> bool {
        let mut state = self.state();
        state.unjudged.retain(|(of, _)| of != topic);
        state.subscribed.remove(topic).is_some()
    }

    fn check(&self, topic: &Name) -> Result<(), Failure> {
        if self.state().subscribed.contains_key(topic) {
            return Ok(());
        }
        Err(Failure::new(ErrorCode::BadArgument, format!("this session is not subscribed to {topic}")))
    }

    /// A message is with the plugin. What waits too long for its verdict by that.
    fn wait_for_verdict(&self, topic: &Name, message: Hash) -> Option<(Name, Hash)> {
        let mut state = self.state();
        state.unjudged.push_back((topic.clone(), message));
        if state.unjudged.len() > MAX_UNJUDGED { state.unjudged.pop_front() } else { None }
    }

    /// The session is over.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        *state = State { ended: true, ..State::default() };
    }
}

/// Tells gossip of a topic the session has left, unless it is subscribed again by then.
fn tell(hub: &Arc<Hub>, session: &Arc<Session>, left: Name) {
    let (hub, session) = (Arc::clone(hub), Arc::clone(session));
    tokio::spawn(async move {
        let _telling = session.topics.telling.lock().await;
        if session.topics.check(&left).is_err() {
            // Fails only when the session is over, and its subscriptions with it.
            let _ = hub.gossip.unsubscribe(session.id, left).await;
        }
    });
}

async fn at_once<T>(asked: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let late = || Failure::new(ErrorCode::Busy, "too much waits for gossip; try again in a moment");
    timeout(AT_ONCE, asked).await.unwrap_or_else(|_| Err(late()))
}

/// [`polypeer_ipc_protocol::gateway::Request::Publish`]; the session has checked its size.
pub(super) async fn publish(
    hub: Arc<Hub>,
    session: Arc<Session>,
    topic: Name,
    payload: Payload,
) -> Result<Response, Failure> {
    hub.node.check_running()?;
    session.launch.check(&hub.node.counters, &Use::Publish(topic.clone()))?;
    let length = payload.0.len() as u64;
    let (message, peers) = at_once(hub.gossip.publish(session.id, topic, payload.0)).await?;
    session.launch.account.sent.add(length * u64::from(peers));
    Ok(Response::Published { message, peers })
}

/// [`polypeer_ipc_protocol::gateway::Request::Subscribe`].
pub(super) async fn subscribe(
    hub: Arc<Hub>,
    session: Arc<Session>,
    topic: Name,
    validation: Validation,
) -> Result<Response, Failure> {
    hub.node.check_running()?;
    let active = Arc::new(session.launch.begin(&hub.node.counters, Use::Subscribe(topic.clone()))?);
    let _telling = session.topics.telling.lock().await;
    let subscribed = Subscribed { validation, _active: Arc::clone(&active) };
    let before = session.topics.enter(&topic, subscribed.clone())?;
    active.on_revoke(leaving(&hub, &session, topic.clone()));
    let mut entered = Entered { hub: &hub, session: &session, topic: &topic, before };
    let sink = Arc::new(SessionSink { hub: Arc::clone(&hub), session: Arc::clone(&session) });
    let gossip = &hub.gossip;
    let told = at_once(gossip.subscribe(session.id, topic.clone(), validation, sink)).await;
    if told.is_ok() {
        // The session may have ended, or lost the grant, meanwhile.
        session.topics.check(&topic).map_err(|_| Failure::from(ErrorCode::Cancelled))?;
        entered.before = Some(subscribed);
    }
    told.map(|()| Response::Done)
}

/// Ends a subscription whose use is revoked.
fn leaving(hub: &Arc<Hub>, session: &Arc<Session>, topic: Name) -> impl Fn() + Send + Sync + 'static {
    let (hub, session) = (Arc::downgrade(hub), Arc::downgrade(session));
    move || {
        if let (Some(hub), Some(session)) = (hub.upgrade(), session.upgrade())
            && session.topics.leave(&topic)
        {
            tell(&hub, &session, topic.clone());
        }
    }
}

/// A topic that is being subscribed to; as it was before when nothing comes of it, whatever the reason.
struct Entered<'a> {
    hub: &'a Arc<Hub>,
    session: &'a Arc<Session>,
    topic: &'a Name,
    before: Option<Subscribed>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let Self { hub, session, topic, before } = self;
        let subscribed = session.topics.check(topic).is_ok();
        match before.take() {
            Some(before) if subscribed => drop(session.topics.enter(topic, before)),
            _ => {
                session.topics.leave(topic);
                tell(hub, session, topic.clone());
            }
        }
    }
}

/// [`polypeer_ipc_protocol::gateway::Request::Unsubscribe`].
pub(super) async fn unsubscribe(hub: Arc<Hub>, session: Arc<Session>, topic: Name) -> Result<Response, Failure> {
    let _telling = session.topics.telling.lock().await;
    session.topics.check(&topic)?;
    session.topics.leave(&topic);
    at_once(hub.gossip.unsubscribe(session.id, topic)).await?;
    Ok(Response::Done)
}

/// [`polypeer_ipc_protocol::gateway::Request::Judge`].
pub(super) async fn judge(
    hub: Arc<Hub>,
    session: Arc<Session>,
    topic: Name,
    message: Hash,
    verdict: Verdict,
) -> Result<Response, Failure> {
    session.topics.check(&topic)?;
    session.topics.state().unjudged.retain(|(_, waiting)| *waiting != message);
    at_once(hub.gossip.judge(session.id, topic, message, verdict)).await?;
    Ok(Response::Done)
}

/// [`polypeer_ipc_protocol::gateway::Request::Topic`].
pub(super) async fn info(hub: Arc<Hub>, session: Arc<Session>, topic: Name) -> Result<Response, Failure> {
    session.topics.check(&topic)?;
    at_once(hub.gossip.info(session.id, topic)).await.map(Response::Topic)
}

/// Where gossip leaves a session's messages.
struct SessionSink {
    hub: Arc<Hub>,
    session: Arc<Session>,
}

impl SessionSink {
    /// Nobody will judge it.
    fn ignore(&self, topic: Name, message: Hash) {
        let (hub, session) = (Arc::clone(&self.hub), self.session.id);
        tokio::spawn(async move {
            // Fails only when gossip is over.
            let _ = at_once(hub.gossip.judge(session, topic, message, Verdict::Ignore)).await;
        });
    }
}

impl Sink for SessionSink {
    fn deliver(&self, topic: &Name, message: &Message) -> bool {
        let Self { hub, session } = self;
        let Some(validation) = session.topics.state().subscribed.get(topic).map(|subscribed| subscribed.validation)
        else {
            return true; // it is ending
        };
        let (id, author) = (message.id(), message.author());
        let own = author == hub.node.id;
        let judged = validation == Validation::Plugin && !own;
        if !own && !session.launch.grants().peers.allows(&author) {
            hub.node.counters.messages_not_allowed.count();
            if judged {
                self.ignore(topic.clone(), id);
            }
            return true;
        }
        let payload = message.payload().clone();
        let length = payload.0.len() as u64;
        let event = Event::Message { topic: topic.clone(), message: id, author, payload };
        if !session.outbox.offer_below(MESSAGE_BACKLOG, event) {
            hub.node.counters.messages_unread.count();
            if judged {
                self.ignore(topic.clone(), id);
            }
            return false;
        }
        if !own {
            session.launch.account.received.add(length);
        }
        if judged && let Some((topic, oldest)) = session.topics.wait_for_verdict(topic, id) {
            hub.node.counters.messages_unjudged.count();
            self.ignore(topic, oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::launch::any_use;

    fn name(number: usize) -> Name {
        format!("topic/{number}").parse().unwrap()
    }

    /// Enters a topic; how it was validated before.
    fn enter(topics: &Topics, number: usize, validation: Validation) -> Result<Option<Validation>, Failure> {
        let before = topics.enter(&name(number), Subscribed { validation, _active: any_use("chat") })?;
        Ok(before.map(|before| before.validation))
    }

    #[test]
    fn a_session_has_so_many_topics_and_none_when_it_is_over() {
        let topics = Topics::default();
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
        let topics = Topics::default();
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
