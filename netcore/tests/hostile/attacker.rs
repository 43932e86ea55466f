//! A QUIC client without manners: any key, any claim of whose it is, any bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::ids::NodeId;
use polypeer_ipc_protocol::ticket::Ticket;
use polypeer_netcore::identity::Identity;
use polypeer_netcore::wire::{self, ControlFrame, StreamHeader, StreamKind};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream, TransportConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

use crate::common::{protocol, within};

/// What links speak.
pub const LINK: &[u8] = b"polypeer/1";
/// Before an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410).
const SPKI: [u8; 12] = [48, 42, 48, 5, 6, 3, 43, 101, 112, 3, 33, 0];
/// Before an Ed25519 seed in PKCS #8 (RFC 8410, section 7).
const PKCS8: [u8; 16] = [48, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 112, 4, 34, 4, 32];

/// A number that no other attacker of this process has.
fn number() -> u8 {
    static NUMBER: AtomicU8 = AtomicU8::new(1);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

/// One attacker: a key and a socket of its own.
pub struct Attacker {
    pub identity: Identity,
    pub endpoint: Endpoint,
    config: ClientConfig,
}

impl Attacker {
    pub fn new() -> Self {
        Self::with(LINK, None)
    }

    /// One that shows the key of `claimed`, which it does not have.
    pub fn pretending(claimed: NodeId) -> Self {
        Self::with(LINK, Some(claimed))
    }

    pub fn with(alpn: &[u8], claimed: Option<NodeId>) -> Self {
        let seed = Identity::generate().node().0; // any 32 bytes are a seed
        let seed = seed.map(|byte| byte ^ number());
        let identity = Identity::from_seed(seed);
        let endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let config = client_config(&seed, claimed.unwrap_or(identity.node()), alpn);
        Self { identity, endpoint, config }
    }

    /// The node may write so many bytes on each stream, and no more.
    pub fn taking(mut self, bytes: u32) -> Self {
        let mut transport = TransportConfig::default();
        transport.stream_receive_window(bytes.into());
        self.config.transport_config(Arc::new(transport));
        self
    }

    pub fn node(&self) -> NodeId {
        self.identity.node()
    }

    /// The handshake alone.
    pub async fn dial(&self, to: &Ticket) -> Result<Connection, ConnectionError> {
        let connecting = self.endpoint.connect_with(self.config.clone(), to.addresses[0], "peer.invalid").unwrap();
        within("the end of a handshake", connecting).await
    }

    /// A link: handshake and settling, nothing more.
    pub async fn link(&self, to: &Ticket) -> Connection {
        self.link_as(to, 7).await
    }

    /// The same as somebody who calls the pair `tag`: with another one than before it takes the earlier link's place.
    pub async fn link_as(&self, to: &Ticket, tag: u64) -> Connection {
        let connection = self.dial(to).await.expect("the handshake is right");
        within("settling", self.settle(&connection, to, tag)).await;
        connection
    }

    /// Takes no more than `bytes` of any stream from now on.
    pub fn take_at_most(&mut self, bytes: u32) {
        let mut transport = quinn::TransportConfig::default();
        transport.stream_receive_window(bytes.into());
        self.config.transport_config(Arc::new(transport));
    }

    async fn settle(&self, connection: &Connection, to: &Ticket, tag: u64) {
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        send.write_all(&tag.to_le_bytes()).await.unwrap();
        recv.read_exact(&mut [0; 8]).await.unwrap();
        if self.node() < to.node {
            send.write_all(&[1]).await.unwrap();
        } else {
            recv.read_exact(&mut [0]).await.unwrap();
        }
        send.finish().unwrap();
    }
}

/// The configuration of somebody who has the key of `seed` and shows that of `claimed`.
pub fn client_config(seed: &[u8; 32], claimed: NodeId, alpn: &[u8]) -> ClientConfig {
    let private = [PKCS8.as_slice(), seed].concat();
    let signer = ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(private)).unwrap();
    let spki = [SPKI.as_slice(), &claimed.0].concat();
    let key = Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki)], signer));
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(key)));
    config.alpn_protocols = vec![alpn.to_vec()];
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()))
}

/// Believes everything.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _key: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// The first frame as it should be.
pub fn hello() -> ControlFrame {
    ControlFrame::Hello {
        version: 1,
        agent: "attacker/1".into(),
        network: "main".into(),
        serving: vec![],
        addresses: vec![],
    }
}

pub fn frame_bytes(frames: &[ControlFrame]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frames.iter().for_each(|frame| wire::write_frame(frame, &mut bytes));
    bytes
}

/// Opens the control stream with these bytes.
pub async fn control(connection: &Connection, bytes: &[u8]) -> SendStream {
    let mut stream = within("a control stream", connection.open_uni()).await.unwrap();
    let _ = within("its first bytes", stream.write_all(bytes)).await; // it may be closed already
    stream
}

/// Opens the control stream as an honest peer does.
pub async fn greet(connection: &Connection) -> SendStream {
    control(connection, &frame_bytes(&[hello()])).await
}

/// Opens a stream with these bytes.
pub async fn stream(connection: &Connection, bytes: &[u8]) -> (SendStream, RecvStream) {
    let (mut send, recv) = within("a stream", connection.open_bi()).await.unwrap();
    let _ = within("its first bytes", send.write_all(bytes)).await;
    (send, recv)
}

pub fn header(kind: StreamKind, name: &str) -> Vec<u8> {
    wire::header_bytes(&StreamHeader { kind, protocol: protocol(name) })
}

/// A whole call, and what comes back: status and reply.
pub async fn call(connection: &Connection, kind: StreamKind, name: &str, payload: &[u8]) -> Option<Vec<u8>> {
    let (mut send, mut recv) = connection.open_bi().await.ok()?;
    send.write_all(&[header(kind, name), payload.to_vec()].concat()).await.ok()?;
    send.finish().ok()?;
    recv.read_to_end(70_000).await.ok()
}

/// Waits until the node has closed the connection: with which code.
pub async fn cut_off(connection: &Connection) -> u64 {
    match within("the end of the connection", connection.closed()).await {
        ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
        other => panic!("{other}"),
    }
}

/// The code of misbehaviour.
pub fn misbehaved() -> u64 {
    ErrorCode::PeerMisbehaved.number().into()
}
