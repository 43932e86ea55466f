//! Gossip: publishing, and subscriptions whose messages come on a queue of their own.

use bytes::Bytes;
use tokio::sync::mpsc;

use super::command::{Command, Message, Route};
use super::{Client, ClientError, unexpected};
use crate::gateway::{Payload, Request, Response, TopicInfo, Validation, Verdict};
use crate::ids::{Hash, Name};

/// Messages of a topic that the plugin has not taken yet, at most; as many as netcore lets wait for a verdict.
const MESSAGES: usize = 256;

/// A topic's messages; ends the subscription when dropped.
#[derive(Debug)]
pub struct Subscription {
    client: Client,
    topic: Name,
    number: u64,
    messages: mpsc::Receiver<Message>,
}

impl Client {
    /// Sends a message of at most 64 KiB to all who are subscribed to a topic: its name, and the number of peers that it is
    /// sent to at once.
    pub async fn publish(&self, topic: Name, payload: impl Into<Bytes>) -> Result<(Hash, u32), ClientError> {
        match self.request(Request::Publish { topic, payload: Payload(payload.into()) }).await? {
            Response::Published { message, peers } => Ok((message, peers)),
            other => Err(unexpected(other)),
        }
    }

    /// Subscribes to a topic. With [`Validation::Plugin`] every message must be judged within 10 s. Asking again ends the
    /// earlier subscription of this client; at most 256 messages wait to be taken, those beyond are counted as dropped events.
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
    /// Of which topic.
    pub fn topic(&self) -> &Name {
        &self.topic
    }

    /// The next message; `None` when the session is over or a newer subscription took the topic. May be cancelled
    /// without losing messages.
    pub async fn next(&mut self) -> Option<Message> {
        self.messages.recv().await
    }

    /// Decides on a message, when the plugin validates.
    pub async fn judge(&self, message: &Message, verdict: Verdict) -> Result<(), ClientError> {
        self.client.done(Request::Judge { topic: self.topic.clone(), message: message.id, verdict }).await
    }

    /// How the topic fares.
    pub async fn info(&self) -> Result<TopicInfo, ClientError> {
        match self.client.request(Request::Topic { topic: self.topic.clone() }).await? {
            Response::Topic(info) => Ok(info),
            other => Err(unexpected(other)),
        }
    }

    /// Ends the subscription and waits until it has ended. A newer subscription of the topic goes on: this one has ended.
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
        // When commands queue up, or requests, the driver ends it with the next message, which it finds nobody to take.
        let command = Command::Unsubscribed { topic: self.topic.clone(), number: self.number };
        let _ = self.client.commands.try_send(command);
    }
}
