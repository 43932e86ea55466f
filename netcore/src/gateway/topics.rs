//! Gossip for plugins: the requests of a session about topics, and the delivery of messages to it. [`crate::gossip`]
//! does the rest.

use std::sync::Arc;
use std::time::Duration;

use polypeer_engine::gossip::Message;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{Event, Payload, Response, Validation, Verdict};
use polypeer_ipc_protocol::ids::{Hash, Name};
use tokio::time::timeout;

use super::Hub;
use super::launch::session::Session;
use super::launch::subscriptions::Subscribed;
use crate::gossip::driver::Sink;
use crate::limits::MESSAGE_BACKLOG;
use crate::plugins::grants::Use;

/// The timeout of a request to gossip. It is short, because gossip needs no other node to answer one.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Tells gossip that the session has left a topic, unless it has subscribed again by then.
fn tell(hub: &Arc<Hub>, session: &Arc<Session>, left: Name) {
    let (hub, session) = (Arc::clone(hub), Arc::clone(session));
    tokio::spawn(async move {
        let _telling = session.subscriptions.telling.lock().await;
        if session.subscriptions.check(&left).is_err() {
            // Fails only when the session is over; then its subscriptions are, too.
            let _ = hub.gossip.unsubscribe(session.id, left).await;
        }
    });
}

async fn at_once<T>(asked: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let late = || Failure::new(ErrorCode::Busy, "too much waits for gossip; try again in a moment");
    timeout(AT_ONCE, asked).await.unwrap_or_else(|_| Err(late()))
}

/// Handles [`polypeer_ipc_protocol::gateway::Request::Publish`]. The protocol session has checked its size.
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

/// Handles [`polypeer_ipc_protocol::gateway::Request::Subscribe`].
pub(super) async fn subscribe(
    hub: Arc<Hub>,
    session: Arc<Session>,
    topic: Name,
    validation: Validation,
) -> Result<Response, Failure> {
    hub.node.check_running()?;
    let active = Arc::new(session.launch.begin(&hub.node.counters, Use::Subscribe(topic.clone()))?);
    let _telling = session.subscriptions.telling.lock().await;
    let subscribed = Subscribed { validation, _active: Arc::clone(&active) };
    let before = session.subscriptions.enter(&topic, subscribed.clone())?;
    active.on_revoke(leaving(&hub, &session, topic.clone()));
    let mut entered = Entered { hub: &hub, session: &session, topic: &topic, before };
    let sink = Arc::new(SessionSink { hub: Arc::clone(&hub), session: Arc::clone(&session) });
    let gossip = &hub.gossip;
    let told = at_once(gossip.subscribe(session.id, topic.clone(), validation, sink)).await;
    if told.is_ok() {
        // The session may have ended, or lost the grant, meanwhile.
        session.subscriptions.check(&topic).map_err(|_| Failure::from(ErrorCode::Cancelled))?;
        entered.before = Some(subscribed);
    }
    told.map(|()| Response::Done)
}

/// A callback that ends a subscription when its use is revoked.
fn leaving(hub: &Arc<Hub>, session: &Arc<Session>, topic: Name) -> impl Fn() + Send + Sync + 'static {
    let (hub, session) = (Arc::downgrade(hub), Arc::downgrade(session));
    move || {
        if let (Some(hub), Some(session)) = (hub.upgrade(), session.upgrade())
            && session.subscriptions.leave(&topic)
        {
            tell(&hub, &session, topic.clone());
        }
    }
}

/// A subscription that a request has begun. Dropping it restores `before`; without one, or if the session is no
/// longer subscribed, it leaves the topic. After a success `before` is the new subscription.
struct Entered<'a> {
    hub: &'a Arc<Hub>,
    session: &'a Arc<Session>,
    topic: &'a Name,
    before: Option<Subscribed>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let Self { hub, session, topic, before } = self;
        let subscribed = session.subscriptions.check(topic).is_ok();
        match before.take() {
            Some(before) if subscribed => drop(session.subscriptions.enter(topic, before)),
            _ => {
                session.subscriptions.leave(topic);
                tell(hub, session, topic.clone());
            }
        }
    }
}

/// Handles [`polypeer_ipc_protocol::gateway::Request::Unsubscribe`].
pub(super) async fn unsubscribe(hub: Arc<Hub>, session: Arc<Session>, topic: Name) -> Result<Response, Failure> {
    let _telling = session.subscriptions.telling.lock().await;
    session.subscriptions.check(&topic)?;
    session.subscriptions.leave(&topic);
    at_once(hub.gossip.unsubscribe(session.id, topic)).await?;
    Ok(Response::Done)
}

/// Handles [`polypeer_ipc_protocol::gateway::Request::Judge`].
pub(super) async fn judge(
    hub: Arc<Hub>,
    session: Arc<Session>,
    topic: Name,
    message: Hash,
    verdict: Verdict,
) -> Result<Response, Failure> {
    session.subscriptions.check(&topic)?;
    session.subscriptions.judged(&message);
    at_once(hub.gossip.judge(session.id, topic, message, verdict)).await?;
    Ok(Response::Done)
}

/// Handles [`polypeer_ipc_protocol::gateway::Request::Topic`].
pub(super) async fn info(hub: Arc<Hub>, session: Arc<Session>, topic: Name) -> Result<Response, Failure> {
    session.subscriptions.check(&topic)?;
    at_once(hub.gossip.info(session.id, topic)).await.map(Response::Topic)
}

/// The receiver of a session's messages from gossip.
struct SessionSink {
    hub: Arc<Hub>,
    session: Arc<Session>,
}

impl SessionSink {
    /// Tells gossip to ignore a message that the plugin will not judge.
    fn ignore(&self, topic: Name, message: Hash) {
        let (hub, session) = (Arc::clone(&self.hub), self.session.id);
        tokio::spawn(async move {
            // Fails only when gossip is overloaded or has ended.
            let _ = at_once(hub.gossip.judge(session, topic, message, Verdict::Ignore)).await;
        });
    }
}

impl Sink for SessionSink {
    fn deliver(&self, topic: &Name, message: &Message) -> bool {
        let Self { hub, session } = self;
        let Some(validation) = session.subscriptions.validation(topic) else {
            return true; // the subscription is ending
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
        if judged && let Some((topic, oldest)) = session.subscriptions.wait_for_verdict(topic, id) {
            hub.node.counters.messages_unjudged.count();
            self.ignore(topic, oldest);
        }
        true
    }
}
