//! Answers to requests of topics, records, providers, datagrams and network events. All nodes share one table, and a
//! message reaches every subscriber at once.

use std::time::{Duration, SystemTime};

use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{Event, NetworkChange, Payload, Request, Response, TopicInfo};
use polypeer_ipc_protocol::ids::{Hash, Name, NodeId, Protocol};
use polypeer_ipc_protocol::limits::{MAX_PROVIDERS, MAX_RECORD_LIFETIME};
use polypeer_ipc_protocol::record::{Signature, SignedRecord};
use polypeer_ipc_protocol::ticket::Ticket;
use ring::signature::{ED25519, UnparsedPublicKey};

use crate::state::{Asked, Session, World, allows, failure};

/// Nodes that hold each record.
const COPIES: u32 = 20;
/// Default limit of providers in an answer.
const PROVIDERS: usize = 16;
/// The counters of every topic: distinct, so that a test sees when they are swapped.
const TOPIC: TopicInfo = TopicInfo { neighbours: 5, delivered: 4, duplicates: 3, dropped: 2, pulled: 1 };

impl World {
    /// Answers what `requests` does not.
    pub(crate) fn service(&mut self, asked: Asked, request: Request) -> Result<Response, Failure> {
        match request {
            Request::Publish { topic, payload } => {
                self.granted("topics", asked, topic.as_str())?;
                return Ok(self.publish(asked, topic, payload));
            }
            Request::Subscribe { topic, validation } => {
                self.granted("topics", asked, topic.as_str())?;
                self.present(asked)?.topics.insert(topic, validation);
            }
            Request::Unsubscribe { topic } => {
                self.present(asked)?.topics.remove(&topic);
            }
            Request::Topic { topic } => {
                if !self.present(asked)?.topics.contains_key(&topic) {
                    return Err(failure(ErrorCode::BadArgument, "not subscribed"));
                }
                return Ok(Response::Topic(TOPIC));
            }
            Request::ReceiveDatagrams { protocol, on } => {
                self.granted("serve", asked, protocol.as_str())?;
                let datagrams = &mut self.present(asked)?.datagrams;
                if on {
                    datagrams.insert(protocol)
                } else {
                    datagrams.remove(&protocol)
                };
            }
            Request::SendDatagram { node, protocol, payload } => {
                self.granted("dial", asked, protocol.as_str())?;
                self.send_datagram(asked, node, &protocol, &payload)?;
            }
            Request::WatchNetwork { on } => {
                self.present(asked)?.watches_network = on;
                if on {
                    let launch = &self.launches[&asked.launch];
                    let (reach, ticket) = (launch.reach, launch.ticket());
                    self.tell(asked.launch, Event::Network(NetworkChange::Reach(reach)));
                    self.tell(asked.launch, Event::Network(NetworkChange::Addresses(ticket)));
                }
            }
            other => return self.record(asked, other),
        }
        Ok(Response::Done)
    }

    /// The session that asks, which is there while it is answered.
    pub(crate) fn present(&mut self, asked: Asked) -> Result<&mut Session, Failure> {
        self.session(asked.launch, asked.session).ok_or_else(|| ErrorCode::ConnectionLost.into())
    }

    /// Fails unless a grant of the launch allows `name`.
    fn granted(&self, grant: &str, asked: Asked, name: &str) -> Result<(), Failure> {
        let grants = &self.launches[&asked.launch].grants;
        let patterns = match grant {
            "topics" => &grants.topics,
            "dht" => &grants.dht,
            "dial" => &grants.dial,
            _ => &grants.serve,
        };
        if allows(patterns, name) { Ok(()) } else { Err(failure(ErrorCode::NotGranted, format!("{grant} {name}"))) }
    }

    fn publish(&mut self, asked: Asked, topic: Name, payload: Payload) -> Response {
        let author = self.launches[&asked.launch].node;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&author.0).update(&self.number().to_le_bytes()).update(&payload.0);
        let message = Hash(*hasher.finalize().as_bytes());
        let subscribed = |session: &Session| session.topics.contains_key(&topic);
        let others = self.launches.iter().filter(|(number, _)| **number != asked.launch);
        let subscribers: Vec<usize> = others
            .filter(|(_, other)| other.session.as_ref().is_some_and(subscribed))
            .map(|(number, _)| *number)
            .collect();
        for subscriber in &subscribers {
            let event = Event::Message { topic: topic.clone(), message, author, payload: payload.clone() };
            self.tell(*subscriber, event);
        }
        Response::Published { message, peers: subscribers.len().try_into().expect("a few launches") }
    }

    fn send_datagram(
        &mut self,
        asked: Asked,
        node: NodeId,
        protocol: &Protocol,
        payload: &Payload,
    ) -> Result<(), Failure> {
        let own = self.launches[&asked.launch].node;
        let there = self.launches.iter().filter(|(_, other)| other.node == node && node != own);
        let there: Vec<usize> = there.map(|(number, _)| *number).collect();
        if there.is_empty() {
            return Err(failure(ErrorCode::Unreachable, "the peer is not connected"));
        }
        for number in there {
            if self.launches[&number].session.as_ref().is_some_and(|session| session.datagrams.contains(protocol)) {
                let event = Event::Datagram { node: own, protocol: protocol.clone(), payload: payload.clone() };
                self.tell(number, event);
            }
        }
        Ok(())
    }

    // Records and providers.

    fn record(&mut self, asked: Asked, request: Request) -> Result<Response, Failure> {
        let node = self.launches[&asked.launch].node;
        Ok(match request {
            Request::PutImmutable { name, value, .. } => {
                self.granted("dht", asked, name.as_str())?;
                let key = Hash(*blake3::hash(&value.0).as_bytes());
                self.table.values.insert(key, value);
                Response::Stored { key, sequence: 0, copies: COPIES }
            }
            Request::GetImmutable { name, hash, .. } => {
                self.granted("dht", asked, name.as_str())?;
                Response::Value(self.table.values.get(&hash).cloned())
            }
            Request::PutOwn { name, value, lifetime_s, .. } => {
                self.granted("dht", asked, name.as_str())?;
                let lifetime = if lifetime_s == 0 { MAX_RECORD_LIFETIME } else { lifetime_s };
                let before = self.table.records.get(&(node, name.clone())).map_or(0, |record| record.sequence);
                // Netcore's own signature, which the SDKs do not check.
                let signature = Signature([0; 64]);
                let (sequence, expires) = (before + 1, unix_now() + u64::from(lifetime));
                self.put(SignedRecord { key: node, name, sequence, expires, value, signature })
            }
            Request::PutSigned { record, .. } => {
                self.granted("dht", asked, record.name.as_str())?;
                let key = UnparsedPublicKey::new(&ED25519, &record.key.0);
                if key.verify(&record.signed_bytes(), &record.signature.0).is_err() {
                    return Err(failure(ErrorCode::BadArgument, "the signature is wrong"));
                }
                self.put(record)
            }
            Request::GetSigned { key, name, .. } => {
                self.granted("dht", asked, name.as_str())?;
                Response::Record(self.table.records.get(&(key, name)).cloned())
            }
            Request::Provide { name, .. } => {
                self.granted("dht", asked, name.as_str())?;
                let key = place(&node, &name);
                let providers = self.table.providers.entry(name).or_default();
                if !providers.contains(&node) {
                    providers.push(node);
                }
                Response::Stored { key, sequence: 0, copies: COPIES }
            }
            Request::Unprovide { name } => {
                if let Some(providers) = self.table.providers.get_mut(&name) {
                    providers.retain(|provider| *provider != node);
                }
                Response::Done
            }
            Request::FindProviders { name, limit, .. } => {
                self.granted("dht", asked, name.as_str())?;
                let limit = if limit == 0 { PROVIDERS } else { (limit as usize).min(MAX_PROVIDERS) };
                let providers = self.table.providers.get(&name).into_iter().flatten();
                Response::Providers(providers.take(limit).copied().collect())
            }
            Request::FindPeer { node, .. } if self.launches.values().any(|launch| launch.node == node) => {
                Response::Found(Ticket { node, addresses: vec![([127, 0, 0, 1], 1).into()] })
            }
            Request::FindPeer { .. } => return Err(failure(ErrorCode::UnknownPeer, "nothing was found")),
            _ => Response::Done, // `Judge`: a verdict changes nothing here, the test looks at it
        })
    }

    fn put(&mut self, record: SignedRecord) -> Response {
        let (key, sequence) = (place(&record.key, &record.name), record.sequence);
        self.table.records.insert((record.key, record.name.clone()), record);
        Response::Stored { key, sequence, copies: COPIES }
    }
}

/// A record's place in the DHT.
fn place(key: &NodeId, name: &Name) -> Hash {
    Hash(*blake3::Hasher::new().update(&key.0).update(name.as_str().as_bytes()).finalize().as_bytes())
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}
