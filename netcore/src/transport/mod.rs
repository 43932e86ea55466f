//! QUIC between nodes: one endpoint, raw public keys, and paths that can change under a connection.
//!
//! [`crate::peers`] creates the [`Transport`] and decides which peers to dial and to keep; here a dial is one attempt
//! at one address. Packets go from quinn through `socket`, with the route from [`path`] and the form from [`envelope`],
//! to UDP.
//!
//! ```text
//!  peers ── dial, accept ──► Transport ──► quinn ──► PathSocket ──► UDP sockets (one per listen address)
//!                                            │           │
//!                        controllers ◄───── Switches ◄── PathTable ◄── PathHandle::switch_to
//! ```

mod bind;
mod config;
mod congestion;
pub mod envelope;
pub(crate) mod moves;
pub mod path;
mod route_mtu;
mod socket;
mod tls;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use polypeer_engine::peers::dial_error::{ALPN, DialError};
use polypeer_engine::socket_address::plain;
use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::ids::NodeId;
use quinn::{ClientConfig, ConnectError, Connecting, ConnectionError, Endpoint, EndpointConfig, ServerConfig, VarInt};

use crate::identity::Identity;
pub use bind::{BindError, Choice};
pub use config::IDLE;
pub use path::{PathError, PathHandle, Route};
pub use socket::Counters;
pub use tls::QUERY_ALPN;

use moves::Moves;
use path::{PathTable, Switches};
use socket::PathSocket;
use tls::Credentials;

/// An authenticated connection with `node`.
#[derive(Debug, Clone)]
pub struct Connection {
    pub node: NodeId,
    pub quic: quinn::Connection,
    pub path: PathHandle,
    pub purpose: Purpose,
    /// The peer's address in the handshake, which proved that the peer receives packets there. QUIC follows a peer to
    /// another address before that one is proved.
    pub proved: SocketAddr,
}

/// Purpose of a connection; the dialer chooses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A connection that can become a link.
    Peer,
    /// A query connection.
    Query,
}

/// Converts the error of a failed connection to that of a dial.
pub(crate) fn dial_error(error: ConnectionError) -> DialError {
    match error {
        ConnectionError::TimedOut | ConnectionError::Reset => DialError::NoAnswer,
        ConnectionError::LocallyClosed | ConnectionError::CidsExhausted => DialError::Stopping,
        ConnectionError::ApplicationClosed(close) => DialError::Refused { code: close.error_code.into_inner() },
        ConnectionError::ConnectionClosed(close)
            if close.error_code == quinn::TransportErrorCode::CONNECTION_REFUSED =>
        {
            DialError::Refused { code: u64::from(close.error_code) }
        }
        other => DialError::OtherProtocol { reason: other.to_string() },
    }
}

/// Shortest time for which a probe's connection stands.
const PROBE_LINGER: Duration = Duration::from_millis(50);

/// The QUIC endpoint of a node. Its tasks run on the runtime that [`Self::bind`] was called in.
pub struct Transport {
    endpoint: Endpoint,
    socket: Arc<PathSocket>,
    paths: Arc<PathTable>,
    counters: Arc<Counters>,
    credentials: Credentials,
    server: ServerConfig,
    query_alpn: Vec<u8>,
    idle: Duration,
    open: AtomicBool,
}

impl Transport {
    /// Binds the sockets, within a runtime. Nothing is accepted before [`Self::open`]. The second value has warnings for
    /// the operator, such as a busy port.
    pub fn bind(
        identity: &Identity,
        listen: &[SocketAddr],
        choice: Choice,
        idle: Duration,
    ) -> Result<(Self, Vec<String>), BindError> {
        let bound = bind::bind(listen, choice)?;
        let paths = Arc::new(PathTable::default());
        let counters = Arc::new(Counters::default());
        let credentials = Credentials::new(identity);
        let mut server = ServerConfig::with_crypto(credentials.server(QUERY_ALPN));
        // Backlog of incoming connections; beyond it they are refused.
        server.max_incoming(1024);
        let socket = PathSocket::new(bound.sockets, Arc::clone(&paths), Arc::clone(&counters));
        let socket = Arc::new(socket.map_err(BindError::Endpoint)?);
        let abstract_socket = Arc::clone(&socket) as Arc<dyn quinn::AsyncUdpSocket>;
        let runtime = Arc::new(quinn::TokioRuntime);
        let endpoint = Endpoint::new_with_abstract_socket(endpoint_config(identity), None, abstract_socket, runtime)
            .map_err(BindError::Endpoint)?;
        let open = AtomicBool::new(false);
        let query_alpn = QUERY_ALPN.to_vec();
        let transport = Self { endpoint, socket, paths, counters, credentials, server, query_alpn, idle, open };
        Ok((transport, bound.warnings))
    }

    /// Sets the node's network. Call it before [`Self::open`]. Query connections have no `Hello`: only the ALPN keeps
    /// nodes of other networks out.
    pub fn set_network(&mut self, network: &str) {
        self.query_alpn = tls::query_alpn(network);
        self.server.crypto = self.credentials.server(&self.query_alpn);
    }

    /// Starts accepting connections.
    pub fn open(&self) {
        if !self.open.swap(true, Ordering::AcqRel) {
            self.endpoint.set_server_config(Some(self.server.clone()));
        }
    }

    /// The addresses that the sockets are bound to.
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        self.socket.local_addresses()
    }

    /// Traffic counters of the sockets.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Whether some socket can send to `address`.
    pub fn reaches(&self, address: SocketAddr) -> bool {
        self.socket.reaches(address)
    }

    /// The detector of peers that change their address.
    pub(crate) fn moves(&self) -> &Moves {
        &self.paths.moves
    }

    /// The address to dial to reach a peer through a tunnel. From now on, packets from the tunnel are accepted.
    pub fn tunnel(&self, relay: SocketAddr, id: u64) -> Result<SocketAddr, PathError> {
        self.paths.open(Route::Tunnel { relay, id })
    }

    /// Dials `node` at `address`, once. If another node answers, it does not learn this node's id.
    ///
    /// When this returns, the handshake is done on this side; the peer may still refuse.
    pub async fn dial(&self, address: SocketAddr, node: NodeId) -> Result<Connection, DialError> {
        self.attempt(address, Some(node)).await
    }

    /// Dials any node at `address`, once; [`Connection::node`] is its id. It learns this node's id.
    pub async fn dial_anybody(&self, address: SocketAddr) -> Result<Connection, DialError> {
        self.attempt(address, None).await
    }

    async fn attempt(&self, address: SocketAddr, node: Option<NodeId>) -> Result<Connection, DialError> {
        let direct = self.paths.route(address) == Some(Route::Direct(address));
        if direct && !self.reaches(address) {
            return Err(DialError::NoSocket);
        }
        let switches = Arc::new(Switches::new(Instant::now()));
        let (crypto, other) = self.credentials.client(node, ALPN);
        let mut config = ClientConfig::new(crypto);
        config.transport_config(Arc::new(config::transport(Arc::clone(&switches), self.idle, self.largest(address))));
        match self.connect(config, address)?.await {
            Ok(connection) => {
                let node = tls::node_of(&connection).expect("the handshake requires a key and checks its form");
                Ok(self.connection(connection, node, switches, Purpose::Peer, address))
            }
            Err(error) => Err(who_answered(&other, error)),
        }
    }

    /// As [`Self::dial`], for a query connection.
    pub async fn dial_query(&self, address: SocketAddr, node: NodeId) -> Result<quinn::Connection, DialError> {
        if !self.reaches(address) {
            return Err(DialError::NoSocket);
        }
        let (crypto, other) = self.credentials.client(Some(node), &self.query_alpn);
        let mut config = ClientConfig::new(crypto);
        config.transport_config(Arc::new(config::query()));
        self.connect(config, address)?.await.map_err(|error| who_answered(&other, error))
    }

    fn connect(&self, config: ClientConfig, address: SocketAddr) -> Result<Connecting, DialError> {
        self.endpoint.connect_with(config, address, tls::SERVER_NAME).map_err(|error| match error {
            ConnectError::EndpointStopping | ConnectError::CidsExhausted => DialError::Stopping,
            ConnectError::InvalidRemoteAddress(_) => DialError::NoSocket,
            other => DialError::OtherProtocol { reason: other.to_string() },
        })
    }

    /// Probes `address`: does one handshake with `node` from a new socket and closes the connection. It succeeds if a
    /// stranger can reach the node there.
    pub async fn probe(&self, address: SocketAddr, node: NodeId) -> Result<(), DialError> {
        let local: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let other = |error: &dyn std::fmt::Display| DialError::OtherProtocol { reason: error.to_string() };
        let socket = UdpSocket::bind((local, 0)).map_err(|_| DialError::NoSocket)?;
        let mut config = EndpointConfig::default();
        config.grease_quic_bit(false);
        let endpoint = Endpoint::new(config, None, socket, Arc::new(quinn::TokioRuntime));
        let endpoint = endpoint.map_err(|error| other(&error))?;
        let (crypto, answered) = self.credentials.client(Some(node), ALPN);
        let connecting = endpoint.connect_with(ClientConfig::new(crypto), address, tls::SERVER_NAME);
        match connecting.map_err(|error| other(&error))?.await {
            Ok(connection) => {
                // Wait until the last packets of the handshake have arrived. An earlier close would look like a failed
                // handshake to the peer.
                let arrived = (2 * connection.rtt()).clamp(PROBE_LINGER, PROBE_LINGER * 20);
                tokio::time::timeout(arrived, connection.closed()).await.ok();
                let code = ErrorCode::Complete;
                connection.close(VarInt::from_u32(code.number()), b"probed");
                Ok(())
            }
            Err(error) => Err(who_answered(&answered, error)),
        }
    }

    /// The largest packet worth trying on the path to `remote`, bytes.
    fn largest(&self, remote: SocketAddr) -> u16 {
        match self.paths.route(plain(remote)) {
            Some(Route::Direct(to)) => route_mtu::payload(to),
            Some(Route::Tunnel { relay, .. }) => route_mtu::payload(relay),
            None => route_mtu::payload(remote),
        }
    }

    fn connection(
        &self,
        connection: quinn::Connection,
        node: NodeId,
        switches: Arc<Switches>,
        purpose: Purpose,
        proved: SocketAddr,
    ) -> Connection {
        let path = PathHandle::new(Arc::clone(&self.paths), connection.clone(), switches);
        Connection { node, quic: connection, path, purpose, proved: plain(proved) }
    }

    /// The next incoming connection; `None` once the endpoint is closed.
    pub async fn incoming(&self) -> Option<quinn::Incoming> {
        self.endpoint.accept().await
    }

    /// Does the handshake of an incoming connection.
    pub async fn accept(&self, incoming: quinn::Incoming) -> Result<Connection, DialError> {
        let switches = Arc::new(Switches::new(Instant::now()));
        let mut server = self.server.clone();
        let from = incoming.remote_address();
        server.transport_config(Arc::new(config::transport(Arc::clone(&switches), self.idle, self.largest(from))));
        let connection = incoming.accept_with(Arc::new(server)).map_err(dial_error)?.await.map_err(dial_error)?;
        let node = tls::node_of(&connection).expect("the handshake requires a key and checks its form");
        let purpose = match tls::alpn_of(&connection) {
            Some(alpn) if alpn == self.query_alpn => Purpose::Query,
            _ => Purpose::Peer,
        };
        Ok(self.connection(connection, node, switches, purpose, from))
    }

    /// Refuses new connections and closes all present ones with `code`. Returns once that is done, or after `limit`.
    pub async fn close(&self, code: u32, reason: &[u8], limit: Duration) {
        self.endpoint.close(VarInt::from_u32(code), reason);
        tokio::time::timeout(limit, self.endpoint.wait_idle()).await.ok();
    }
}

/// The error of a failed handshake; it names the node that answered in place of the dialed one, if one did.
fn who_answered(other: &OnceLock<NodeId>, error: ConnectionError) -> DialError {
    other.get().map_or_else(|| dial_error(error), |node| DialError::OtherNode(*node))
}

/// Configuration of the endpoint. Connection ids and reset tokens are derived from the identity, so that a restarted
/// node can end its former connections by stateless resets (RFC 9000, section 10.3).
fn endpoint_config(identity: &Identity) -> EndpointConfig {
    let reset = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &identity.derive("polypeer/1 stateless reset"));
    let ids = identity.derive("polypeer/1 connection ids");
    let ids = u64::from_le_bytes(ids[..8].try_into().expect("8 bytes"));
    let mut config = EndpointConfig::new(Arc::new(reset));
    config
        .cid_generator(move || Box::new(quinn_proto::HashedConnectionIdGenerator::from_key(ids)))
        // This bit distinguishes QUIC packets from envelopes.
        .grease_quic_bit(false)
        .max_udp_payload_size(route_mtu::LARGEST)
        .expect("above the 1,200 bytes that QUIC requires");
    config
}
