//! TLS 1.3 with raw public keys (RFC 7250) on both sides. The key *is* the node id, so the handshake authenticates the
//! node. There are no names, no certificates and no resumption (a session ticket would outlive a block).

use std::sync::{Arc, OnceLock};

use polypeer_engine::peers::dial_error::ALPN;
use polypeer_ipc_protocol::ids::NodeId;
use quinn::crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, SignatureScheme};

use crate::identity::Identity;

/// ALPN of query connections.
pub const QUERY_ALPN: &[u8] = b"polypeer-query/1";
/// The network whose name is not part of the ALPN.
const MAIN: &str = "main";
/// A server name, as the TLS client requires one; never sent.
pub(super) const SERVER_NAME: &str = "peer.invalid";
/// An Ed25519 SubjectPublicKeyInfo up to the key itself (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [48, 42, 48, 5, 6, 3, 43, 101, 112, 3, 33, 0];

/// The node's key for handshakes.
pub(super) struct Credentials {
    key: Arc<CertifiedKey>,
    provider: Arc<CryptoProvider>,
}

impl Credentials {
    pub(super) fn new(identity: &Identity) -> Self {
        let spki = [SPKI_PREFIX.as_slice(), &identity.node().0].concat();
        let private = PrivatePkcs8KeyDer::from(identity.pkcs8());
        let signer = rustls::crypto::ring::sign::any_eddsa_type(&private).expect("a seed in PKCS #8 is a key");
        let key = Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki)], signer));
        Self { key, provider: Arc::new(rustls::crypto::ring::default_provider()) }
    }

    pub(super) fn server(&self, query_alpn: &[u8]) -> Arc<QuicServerConfig> {
        let verifier = Arc::new(AnyNode(Arc::clone(&self.provider)));
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])
            .expect("the provider has TLS 1.3")
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::clone(&self.key))));
        config.alpn_protocols = vec![ALPN.to_vec(), query_alpn.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Arc::new(config.try_into().expect("the provider has the cipher suite of initial packets"))
    }

    /// Configuration for one dial. `expected` must answer; with `None`, any node may. If another node answers, its id
    /// is left in the second value; that id is unverified.
    pub(super) fn client(
        &self,
        expected: Option<NodeId>,
        alpn: &[u8],
    ) -> (Arc<QuicClientConfig>, Arc<OnceLock<NodeId>>) {
        let other = Arc::new(OnceLock::new());
        let verifier = OneNode { expected, other: Arc::clone(&other), provider: Arc::clone(&self.provider) };
        let mut config = rustls::ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])
            .expect("the provider has TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::clone(&self.key))));
        config.alpn_protocols = vec![alpn.to_vec()];
        config.enable_sni = false;
        config.resumption = Resumption::disabled();
        let config = config.try_into().expect("the provider has the cipher suite of initial packets");
        (Arc::new(config), other)
    }
}

/// The node that the handshake authenticated. `None` only before the handshake is done.
pub(super) fn node_of(connection: &quinn::Connection) -> Option<NodeId> {
    let identity = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    node_of_key(identity.first()?)
}

/// [`QUERY_ALPN`] for nodes of `network`. For another network than `main` it ends in the BLAKE3 hash of the name, since
/// the length of an ALPN is limited.
pub(super) fn query_alpn(network: &str) -> Vec<u8> {
    let mut alpn = QUERY_ALPN.to_vec();
    if network != MAIN {
        alpn.push(b' ');
        alpn.extend_from_slice(blake3::hash(network.as_bytes()).to_hex().as_bytes());
    }
    alpn
}

/// The ALPN that the dialer chose. `None` only before the handshake is done.
pub(super) fn alpn_of(connection: &quinn::Connection) -> Option<Vec<u8>> {
    connection.handshake_data()?.downcast::<HandshakeData>().ok()?.protocol
}

fn node_of_key(spki: &[u8]) -> Option<NodeId> {
    spki.strip_prefix(&SPKI_PREFIX)?.try_into().ok().map(NodeId)
}

fn read_key(key: &CertificateDer<'_>) -> Result<NodeId, Error> {
    node_of_key(key).ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))
}

fn check_signature(
    provider: &CryptoProvider,
    message: &[u8],
    key: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let spki = SubjectPublicKeyInfoDer::from(key.as_ref());
    verify_tls13_signature_with_raw_key(message, &spki, signature, &provider.signature_verification_algorithms)
}

fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::PeerIncompatible(PeerIncompatible::Tls13RequiredForQuic))
}

/// Verifier of a dial: accepts the node that was dialed, or any node if none was named.
#[derive(Debug)]
struct OneNode {
    expected: Option<NodeId>,
    other: Arc<OnceLock<NodeId>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for OneNode {
    fn verify_server_cert(
        &self,
        key: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let node = read_key(key)?;
        if self.expected.is_none_or(|expected| expected == node) {
            return Ok(ServerCertVerified::assertion());
        }
        self.other.set(node).ok();
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        check_signature(&self.provider, message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Verifier of incoming connections: accepts any node that proves its key. Whether it is refused is decided by its node
/// id, after the handshake.
#[derive(Debug)]
struct AnyNode(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyNode {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        key: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        read_key(key).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        check_signature(&self.0, message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
