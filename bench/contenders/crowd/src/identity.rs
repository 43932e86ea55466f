//! A peer's key and its TLS: raw public keys on both sides (`netcore/PROTOCOL.md`, section 2).

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use contender::provider;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, TransportConfig};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, ring::sign::any_eddsa_type, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

/// Before an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410).
const SPKI: [u8; 12] = [48, 42, 48, 5, 6, 3, 43, 101, 112, 3, 33, 0];
/// Interval of keepalives, and the idle timeout: those of the network core (`netcore/src/transport/config.rs`).
const KEEPALIVE: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(15);

pub(crate) struct Identity {
    pkcs8: Vec<u8>,
    id: [u8; 32],
}

impl Identity {
    pub(crate) fn new() -> Result<Self> {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| anyhow!("no randomness"))?;
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).map_err(|_| anyhow!("the key is not one"))?;
        let id = pair.public_key().as_ref().try_into().context("a key of 32 bytes")?;
        Ok(Self { pkcs8: pkcs8.as_ref().to_vec(), id })
    }

    pub(crate) fn id(&self) -> [u8; 32] {
        self.id
    }

    pub(crate) fn config(&self) -> Result<ClientConfig> {
        let signer = any_eddsa_type(&PrivatePkcs8KeyDer::from(self.pkcs8.as_slice()))?;
        let spki = [SPKI.as_slice(), &self.id].concat();
        let key = Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki)], signer));
        let mut tls = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyNode(provider())))
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(key)));
        tls.alpn_protocols = vec![b"polypeer/1".to_vec()];
        tls.enable_sni = false;
        tls.resumption = Resumption::disabled();
        let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
        let mut transport = TransportConfig::default();
        transport.keep_alive_interval(Some(KEEPALIVE)).max_idle_timeout(Some(IDLE.try_into()?));
        config.transport_config(Arc::new(transport));
        Ok(config)
    }
}

/// Accepts the key of any node; its signature is verified.
#[derive(Debug)]
struct AnyNode(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyNode {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not offered".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(key.as_ref());
        verify_tls13_signature_with_raw_key(message, &key, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
