//! The DHT: records, providers, and addresses of peers. A `timeout` of `None` means 30 s.

use std::time::Duration;

use bytes::Bytes;

use super::{Client, ClientError, milliseconds, unexpected};
use crate::gateway::{Payload, Request, Response};
use crate::ids::{Hash, Name, NodeId};
use crate::record::SignedRecord;
use crate::ticket::Ticket;

/// A stored record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// The hash of an immutable value, otherwise the record's place in the DHT.
    pub key: Hash,
    /// The sequence number of a signed record, otherwise 0.
    pub sequence: u64,
    /// Nodes that stored it.
    pub copies: u32,
}

impl Client {
    /// Stores a value of at most 3,072 bytes under a name and the value's hash.
    pub async fn put_immutable(
        &self,
        name: Name,
        value: impl Into<Bytes>,
        timeout: Option<Duration>,
    ) -> Result<Stored, ClientError> {
        let value = Payload(value.into());
        self.stored(Request::PutImmutable { name, value, timeout_ms: milliseconds(timeout) }).await
    }

    /// Finds a value that [`Self::put_immutable`] stored; `None` if no node has it.
    pub async fn get_immutable(
        &self,
        name: Name,
        hash: Hash,
        timeout: Option<Duration>,
    ) -> Result<Option<Bytes>, ClientError> {
        match self.request(Request::GetImmutable { name, hash, timeout_ms: milliseconds(timeout) }).await? {
            Response::Value(value) => Ok(value.map(|value| value.0)),
            other => Err(unexpected(other)),
        }
    }

    /// Stores a value of at most 3,072 bytes under this node's id and a name, replacing an earlier one. It expires
    /// after `lifetime`: at most a day, and a day if `None`.
    pub async fn put_own(
        &self,
        name: Name,
        value: impl Into<Bytes>,
        lifetime: Option<Duration>,
        timeout: Option<Duration>,
    ) -> Result<Stored, ClientError> {
        let lifetime_s = lifetime.map_or(0, |time| u32::try_from(time.as_secs()).unwrap_or(u32::MAX).max(1));
        let value = Payload(value.into());
        self.stored(Request::PutOwn { name, value, lifetime_s, timeout_ms: milliseconds(timeout) }).await
    }

    /// Stores a record that is already signed.
    pub async fn put_signed(&self, record: SignedRecord, timeout: Option<Duration>) -> Result<Stored, ClientError> {
        self.stored(Request::PutSigned { record, timeout_ms: milliseconds(timeout) }).await
    }

    /// Finds the newest record of a key, a node id or any other, under a name.
    pub async fn get_signed(
        &self,
        key: NodeId,
        name: Name,
        timeout: Option<Duration>,
    ) -> Result<Option<SignedRecord>, ClientError> {
        match self.request(Request::GetSigned { key, name, timeout_ms: milliseconds(timeout) }).await? {
            Response::Record(record) => Ok(record),
            other => Err(unexpected(other)),
        }
    }

    /// Publishes this node as a provider of what the name stands for, until [`Self::unprovide`] or the end of the
    /// session. Returns after the first publication.
    pub async fn provide(&self, name: Name, timeout: Option<Duration>) -> Result<Stored, ClientError> {
        self.stored(Request::Provide { name, timeout_ms: milliseconds(timeout) }).await
    }

    /// Ends [`Self::provide`].
    pub async fn unprovide(&self, name: Name) -> Result<(), ClientError> {
        self.done(Request::Unprovide { name }).await
    }

    /// Finds nodes that provide what the name stands for and that the plugin may communicate with. The search ends when
    /// `limit` are found (at most 64; 0: 16), or at the timeout with those found by then.
    pub async fn find_providers(
        &self,
        name: Name,
        limit: u32,
        timeout: Option<Duration>,
    ) -> Result<Vec<NodeId>, ClientError> {
        match self.request(Request::FindProviders { name, limit, timeout_ms: milliseconds(timeout) }).await? {
            Response::Providers(nodes) => Ok(nodes),
            other => Err(unexpected(other)),
        }
    }

    /// Finds a peer's addresses in its own signed record.
    pub async fn find_peer(&self, node: NodeId, timeout: Option<Duration>) -> Result<Ticket, ClientError> {
        match self.request(Request::FindPeer { node, timeout_ms: milliseconds(timeout) }).await? {
            Response::Found(ticket) => Ok(ticket),
            other => Err(unexpected(other)),
        }
    }

    async fn stored(&self, request: Request) -> Result<Stored, ClientError> {
        match self.request(request).await? {
            Response::Stored { key, sequence, copies } => Ok(Stored { key, sequence, copies }),
            other => Err(unexpected(other)),
        }
    }
}
