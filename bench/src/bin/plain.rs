//! The benchmark's work on plain quinn, as one would write it for a single protocol between two programs.
//!
//! `plain serve` prints its address and serves until killed. `plain bulk ADDRESS BYTES` prints the seconds of the whole
//! transfer, `plain requests ADDRESS COUNT` the seconds of each request, as a JSON array.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use quinn::{ClientConfig, Connection, Endpoint, ServerConfig, TransportConfig};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};

/// Bytes per write; the same as in the plugin.
const PIECE: usize = 256 << 10;
/// Window of a stream, bytes: as large as Polypeer's. quinn's default is meant for 100 Mbit/s over 100 ms.
const WINDOW: u32 = 8 << 20;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["serve"] => serve().await,
        [work @ ("bulk" | "requests"), address, amount] => {
            let seconds = run(work, address.parse()?, amount.parse()?).await?;
            println!("{}", serde_json::to_string(&seconds)?);
            Ok(())
        }
        _ => bail!("usage: plain serve | plain bulk ADDRESS BYTES | plain requests ADDRESS COUNT"),
    }
}

fn transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport
        .stream_receive_window(WINDOW.into())
        .receive_window((2 * WINDOW).into())
        .send_window(2 * u64::from(WINDOW));
    Arc::new(transport)
}

async fn serve() -> Result<()> {
    let own = rcgen::generate_simple_self_signed(["bench".to_owned()])?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()));
    let mut config = ServerConfig::with_single_cert(vec![own.cert.der().clone()], key)?;
    config.transport_config(transport());
    let endpoint = Endpoint::server(config, SocketAddr::from(([127, 0, 0, 1], 0)))?;
    println!("{}", endpoint.local_addr()?);
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move { answer(incoming.await?).await });
    }
    Ok(())
}

/// Reads each stream to its end, then replies: with the same bytes if they are at most 32, else with one byte.
async fn answer(connection: Connection) -> Result<()> {
    loop {
        let (mut send, mut receive) = connection.accept_bi().await?;
        tokio::spawn(async move {
            let (mut buffer, mut kept) = (vec![0; PIECE], Vec::new());
            while let Some(read) = receive.read(&mut buffer).await? {
                if kept.len() <= 32 {
                    kept.extend_from_slice(&buffer[..read.min(33)]);
                }
            }
            send.write_all(if kept.len() <= 32 { &kept } else { b"!" }).await?;
            send.finish()?;
            anyhow::Ok(())
        });
    }
}

async fn run(work: &str, address: SocketAddr, amount: u64) -> Result<Vec<f64>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    let mut config = ClientConfig::new(Arc::new(quinn::crypto::rustls::QuicClientConfig::try_from(tls)?));
    config.transport_config(transport());
    let endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let connection = endpoint.connect_with(config, address, "bench")?.await?;
    if work == "requests" {
        let mut took = Vec::new();
        for _ in 0..amount {
            let started = Instant::now();
            let (mut send, mut receive) = connection.open_bi().await?;
            send.write_all(&[7; 32]).await?;
            send.finish()?;
            let reply = tokio::time::timeout(Duration::from_secs(10), receive.read_to_end(32)).await??;
            took.push(started.elapsed().as_secs_f64());
            anyhow::ensure!(reply.len() == 32, "a short reply");
        }
        return Ok(took);
    }
    let started = Instant::now();
    let (mut send, mut receive) = connection.open_bi().await?;
    let piece = vec![7; PIECE];
    let mut left = amount;
    while left > 0 {
        let now = left.min(PIECE as u64);
        send.write_all(&piece[..now as usize]).await?;
        left -= now;
    }
    send.finish()?;
    receive.read_to_end(1).await.context("no answer")?;
    Ok(vec![started.elapsed().as_secs_f64()])
}

/// Certificate verifier that accepts every certificate: both ends are this program.
#[derive(Debug)]
struct Anybody;

impl rustls::client::danger::ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        vec![rustls::SignatureScheme::ED25519, rustls::SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
