//! Answers to requests: listeners, streams, calls, and what a plugin asks about its node. The rest is in `services`.

use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{
    CallMode, Event, NodeInfo, Origin, Path, Payload, PeerInfo, Request, Response, Scope, Target,
};
use polypeer_ipc_protocol::ids::{NodeId, Protocol};
use polypeer_ipc_protocol::limits::MAX_PAYLOAD;
use polypeer_ipc_protocol::ticket::Ticket;
use tokio::task::spawn_local;

use crate::state::{Asked, Call, Found, Launch, World, allows, failure, timeout};

/// The same for every node.
const VERSION: &str = "0.1.0";
const UPTIME_MS: u64 = 5000;
const RTT_US: u64 = 1500;
const CONNECTED_MS: u64 = 20;

impl World {
    /// The answer to a request, or none yet.
    pub(crate) fn request(&mut self, asked: Asked, request: Request) -> Option<Response> {
        let (kind, name) = describe(&request);
        let exception = self.exception(asked.launch, &kind, name.as_deref());
        self.launches.get_mut(&asked.launch)?.requests.push(request.clone());
        if let Some(Some(response)) = exception {
            return Some(response);
        }
        let response = self.perform(asked, request).unwrap_or_else(|failure| Some(Response::Failed(failure)));
        response.filter(|_| exception.is_none())
    }

    fn perform(&mut self, asked: Asked, request: Request) -> Result<Option<Response>, Failure> {
        let number = asked.launch;
        match request {
            Request::Listen { protocol, scope, calls } => {
                let launch = &self.launches[&number];
                let patterns = if scope == Scope::Local { &launch.grants.serve_local } else { &launch.grants.serve };
                if !allows(patterns, protocol.as_str()) {
                    return Err(failure(ErrorCode::NotGranted, format!("serve {protocol}")));
                }
                let key = (protocol, scope);
                let serves =
                    |other: &Launch| other.session.as_ref().is_some_and(|other| other.listeners.contains_key(&key));
                let node = launch.node;
                if self.launches.iter().any(|(at, other)| *at != number && other.node == node && serves(other)) {
                    return Err(failure(ErrorCode::AlreadyServed, "by another plugin of this node"));
                }
                self.present(asked)?.listeners.insert(key, calls);
            }
            Request::Unlisten { protocol, scope } => {
                self.present(asked)?.listeners.remove(&(protocol, scope));
            }
            Request::Call { target, protocol, payload, timeout_ms } => {
                self.call(asked, &target, protocol, payload, timeout_ms)?;
                return Ok(None);
            }
            Request::RefuseStream { stream, failure } => {
                if !self.refuse_stream(number, stream, failure) {
                    return Err(ErrorCode::NoSuchStream.into());
                }
            }
            Request::Peers => return Ok(Some(Response::Peers(self.peers(number)))),
            Request::Node => {
                let launch = &self.launches[&number];
                let (node, version) = (launch.node, VERSION.to_owned());
                return Ok(Some(Response::Node(NodeInfo {
                    node,
                    ticket: launch.ticket(),
                    version,
                    uptime_ms: UPTIME_MS,
                })));
            }
            Request::WatchPeers { on } => {
                self.present(asked)?.watches_peers = on;
                let connected = if on { self.peers(number) } else { Vec::new() };
                connected.into_iter().for_each(|peer| self.tell(number, Event::PeerUp(peer)));
            }
            Request::Ready | Request::Ping => {}
            // As a netcore of an earlier version.
            Request::KeepConnections => return Err(failure(ErrorCode::Unsupported, "this netcore keeps none")),
            other => return self.service(asked, other).map(Some),
        }
        Ok(Some(Response::Done))
    }

    /// All other nodes, each connected.
    fn peers(&self, number: usize) -> Vec<PeerInfo> {
        let own = self.launches[&number].node;
        let mut nodes: Vec<NodeId> =
            self.launches.values().map(|launch| launch.node).filter(|node| *node != own).collect();
        nodes.sort();
        nodes.dedup();
        let info = |node| PeerInfo {
            node,
            path: Path::Direct,
            rtt_us: RTT_US,
            connected_ms: CONNECTED_MS,
            protocols: Vec::new(),
        };
        nodes.into_iter().map(info).collect()
    }

    /// Who serves `protocol` at `target`, if the grants of both allow it.
    pub(crate) fn find(&self, number: usize, target: &Target, protocol: &Protocol) -> Result<Found, Failure> {
        let launch = &self.launches[&number];
        if !allows(&launch.grants.dial, protocol.as_str()) {
            return Err(failure(ErrorCode::NotGranted, format!("dial {protocol}")));
        }
        let (node, scope) = match target {
            Target::Local => (launch.node, Scope::Local),
            Target::Node(node) | Target::Ticket(Ticket { node, .. }) => (*node, Scope::Peers),
        };
        if scope == Scope::Peers {
            if node == launch.node {
                return Err(failure(ErrorCode::BadArgument, "that is this node"));
            }
            if !launch.grants.peers.allows(&node) {
                return Err(failure(ErrorCode::PeerNotAllowed, node.to_string()));
            }
        }
        let mut there = self.launches.iter().filter(|(_, other)| other.node == node).peekable();
        if there.peek().is_none() {
            return Err(failure(ErrorCode::UnknownPeer, "no address is known"));
        }
        let key = (protocol.clone(), scope);
        for (acceptor, other) in there {
            let Some(session) = &other.session else { continue };
            let Some(calls) = session.listeners.get(&key) else { continue };
            if scope == Scope::Peers && !other.grants.peers.allows(&launch.node) {
                return Err(failure(ErrorCode::PeerNotAllowed, launch.node.to_string()));
            }
            let origin = |launch: &Launch| match scope {
                Scope::Local => Origin::Local(launch.plugin.clone()),
                Scope::Peers => Origin::Peer(launch.node),
            };
            let (near, far) = (origin(launch), origin(other));
            return Ok(Found { acceptor: *acceptor, session: session.id, near, far, calls: *calls });
        }
        Err(failure(ErrorCode::NotServed, format!("nothing serves {protocol}")))
    }

    // Calls.

    fn call(
        &mut self,
        asked: Asked,
        target: &Target,
        protocol: Protocol,
        payload: Payload,
        timeout_ms: u32,
    ) -> Result<(), Failure> {
        let Found { acceptor, session, near, calls: mode, .. } = self.find(asked.launch, target, &protocol)?;
        let (number, answer) = match mode {
            CallMode::Events => {
                let call = self.number();
                self.tell(acceptor, Event::Call { call, origin: near, protocol, payload });
                (call, None)
            }
            CallMode::Streams => {
                let announced = self.announce(asked.launch, None, target, &protocol)?;
                (announced.number, Some((announced, protocol, payload)))
            }
        };
        let shared = self.shared();
        let task = spawn_local(async move {
            let reply = async {
                let Some((announced, protocol, payload)) = answer else { return std::future::pending().await };
                let mut end = announced.claimed.await.unwrap_or_else(|_| Err(ErrorCode::ConnectionLost.into()))?;
                end.open(announced.near, protocol).await;
                end.ask(&payload.0, MAX_PAYLOAD).await
            };
            let (response, gone) = match tokio::time::timeout(timeout(timeout_ms), reply).await {
                Ok(Ok(reply)) => (Response::Reply { payload: Payload(reply.into()) }, false),
                Ok(Err(failure)) => (Response::Failed(failure), false),
                Err(_) => (Response::Failed(failure(ErrorCode::TimedOut, "the call was not answered")), true),
            };
            shared.borrow_mut().end_call(number, response, gone);
        });
        let task = task.abort_handle();
        self.calls.insert(number, Call { caller: asked, acceptor, session, mode, task });
        Ok(())
    }

    /// A plugin's answer to a call.
    pub(crate) fn answer(&mut self, launch: usize, call: u64, response: Response) {
        if self.calls.get(&call).is_some_and(|call| call.acceptor == launch) {
            self.end_call(call, response, false);
        }
    }

    /// Answers `Cancel`.
    pub(crate) fn cancel(&mut self, asked: Asked) {
        let theirs = |call: &Call| (call.caller.session, call.caller.id) == (asked.session, asked.id);
        let number = self.calls.iter().find(|(_, call)| theirs(call)).map(|(number, _)| *number);
        let cancelled = Response::Failed(ErrorCode::Cancelled.into());
        match number {
            Some(number) => self.end_call(number, cancelled, true),
            None => self.respond(asked, cancelled),
        }
    }

    /// Answers a call; `gone`: the plugin that serves it is told that the caller has gone.
    fn end_call(&mut self, number: u64, response: Response, gone: bool) {
        let Some(call) = self.calls.remove(&number) else { return };
        call.task.abort();
        match call.mode {
            CallMode::Events if gone => self.tell(call.acceptor, Event::CallGone { call: number }),
            CallMode::Streams if gone => self.withdraw(number, ErrorCode::Cancelled.into()),
            CallMode::Events | CallMode::Streams => {}
        }
        self.respond(call.caller, response);
    }

    /// Fails the streams announced to an ended session, and the calls by it and to it.
    pub(crate) fn abandon(&mut self, launch: usize, session: u64) {
        self.refuse_unclaimed(launch, session);
        let calls = |to_it: bool| {
            let of_it = |call: &Call| if to_it { call.session == session } else { call.caller.session == session };
            let numbers = self.calls.iter().filter(|(_, call)| of_it(call)).map(|(number, _)| *number);
            numbers.collect::<Vec<u64>>()
        };
        let (by_it, to_it) = (calls(false), calls(true));
        let lost = || Response::Failed(ErrorCode::ConnectionLost.into());
        by_it.into_iter().for_each(|number| self.end_call(number, lost(), true));
        to_it.into_iter().for_each(|number| self.end_call(number, lost(), false));
    }
}

impl Launch {
    /// The node's ticket.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket { node: self.node, addresses: self.addresses.clone() }
    }
}

/// The kind of a request, as in JSON, and the name, topic or protocol it has.
fn describe(request: &Request) -> (String, Option<String>) {
    match serde_json::to_value(request).expect("a request has a form in JSON") {
        serde_json::Value::Object(fields) => {
            let (kind, fields) = fields.into_iter().next().expect("one variant");
            let name = ["name", "topic", "protocol"].iter().find_map(|field| fields[field].as_str());
            (kind, name.map(str::to_owned))
        }
        kind => (kind.as_str().unwrap_or_default().to_owned(), None),
    }
}
