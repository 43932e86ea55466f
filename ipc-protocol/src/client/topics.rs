//! Gossip: publishing, and subscriptions with a queue of messages each.

use bytes::Bytes;
use tokio::sync::mpsc;

use super::command::{Command, Message, Route};
use super::{Client, ClientError, unexpected};
use crate::gateway::{Payload, Request, Response, TopicInfo, Validation, Verdict};
use crate::ids::{Hash, Name};

/// Queued messages of a topic: as many as may be pending a verdict at netcore.
const MESSAGES: usize = 256;

/// A subscription and its queue of messages. Dropping it unsubscribes.
#[derive(Debug)]
pub struct Subscription {
    client: Client,
    topic: Name,
    number: u64,
    messages: mpsc::Receiver<Message>,
}

impl Client {
    /// Sends a message of at most 64 KiB to all subscribers of a topic. Returns its id, and the number of peers that it
    /// is sent to at once.
    pub async fn publish(&self, topic: Name, payload: impl Into<Bytes>) -> Result<(Hash, u32), ClientError> {
        match self.request(Request::Publish { topic, payload: Payload(payload.into()) }).await? {
            Response::Published { message, peers } => Ok((message, peers)),
            other => Err(unexpected(other)),
        }
    }

    /// Subscribes to a topic. With [`Validation::Plugin`] every message needs a verdict within 10 s. A repeated call
    /// ends this client's earlier subscription. At most 256 messages are queued; further ones are counted as dropped
    /// events.
    pub async fn subscribe(&self, topic: Name, validation: Validation) -> Result<Subscription, ClientError> {
        let (sender, messages) = mpsc::channel(MESSAGES);
        let number = self.shared.tickets.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let route = Route { number, messages: sender };
        self.command(Command::Subscribed { topic: topic.clone(), route }).await?;
        let subscription = Subscription { client: self.clone(), topic: topic.clone(), number, messages };
        self.done(Request::Subscribe { topic, validation }).await?;
        Ok(subscription)
    }
}

impl Subscription {
    pub fn topic(&self) -> &Name {
        &self.topic
    }

    /// The next message; `None` when the session is over or a newer subscription has taken the topic. Cancel-safe.
    pub async fn next(&mut self) -> Option<Message> {
        self.messages.recv().await
    }

    /// Gives the verdict on a message, with [`Validation::Plugin`].
    pub async fn judge(&self, message: &Message, verdict: Verdict) -> Result<(), ClientError> {
        self.client.done(Request::Judge { topic: self.topic.clone(), message: message.id, verdict }).await
    }

    /// The topic's statistics.
    pub async fn info(&self) -> Result<TopicInfo, ClientError> {
        match self.client.request(Request::Topic { topic: self.topic.clone() }).await? {
            Response::Topic(info) => Ok(info),
            other => Err(unexpected(other)),
        }
    }

    /// Ends the subscription, and waits until it has ended. A newer subscription of the topic continues.
    pub async fn end(self) -> Result<(), ClientError> {
        let request = Request::Unsubscribe { topic: self.topic.clone() };
        match self.client.request_of(request, Some((self.topic.clone(), self.number))).await? {
            Response::Done => Ok(()),
            other => Err(unexpected(other)),
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        // If the queue of commands is full, the driver unsubscribes at the next message, whose queue is closed.
        let command = Command::Unsubscribed { topic: self.topic.clone(), number: self.number };
        let _ = self.client.commands.try_send(command);
    }
}
