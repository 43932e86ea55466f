//! Plain quinn, as one would write it for a single protocol between two programs, on one thread ("ct"): the network
//! core's crypto and windows and, unless told otherwise, packets of at most the size that it uses over Ethernet.
//!
//! `quinn serve [--packet BYTES]`, `quinn drive [--packet BYTES] ADDRESS`: `--packet` fixes the size of packets, and
//! takes socket buffers of 4 MiB, below which packets of that size are lost.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use contender::{Anybody, Link, answer, drive, own_certificate, provider, runtime};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, RecvStream, SendStream, ServerConfig, TokioRuntime,
    TransportConfig,
};
use socket2::{Domain, Protocol, Socket, Type};

/// Window of a stream, bytes: as large as the network core's. quinn's default is meant for 100 Mbit/s over 100 ms.
const WINDOW: u32 = 8 << 20;
/// Socket buffers for large packets, bytes.
const BUFFER: usize = 4 << 20;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (work, rest) = words.split_first().context("serve or drive?")?;
    let (packet, rest) = match rest {
        ["--packet", bytes, rest @ ..] => (Some(bytes.parse()?), rest),
        rest => (None, rest),
    };
    match (*work, rest) {
        ("serve", []) => runtime(0)?.block_on(serve(packet)),
        ("drive", [address]) => {
            runtime(0)?.block_on(async { drive(Peer::connect(packet, address.parse()?).await?).await })
        }
        _ => bail!("usage: quinn serve [--packet BYTES] | quinn drive [--packet BYTES] ADDRESS"),
    }
}

fn transport(packet: Option<u16>) -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport
        .stream_receive_window(WINDOW.into())
        .receive_window((2 * WINDOW).into())
        .send_window(2 * u64::from(WINDOW));
    if let Some(packet) = packet {
        transport.initial_mtu(packet).mtu_discovery_config(None);
    }
    Arc::new(transport)
}

fn endpoint(packet: Option<u16>, server: Option<ServerConfig>) -> Result<Endpoint> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    let mut config = EndpointConfig::default();
    if let Some(packet) = packet {
        socket.set_recv_buffer_size(BUFFER)?;
        socket.set_send_buffer_size(BUFFER)?;
        config.max_udp_payload_size(packet)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    Ok(Endpoint::new(config, server, socket.into(), Arc::new(TokioRuntime))?)
}

async fn serve(packet: Option<u16>) -> Result<()> {
    let (certificate, key) = own_certificate()?;
    let tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(transport(packet));
    let endpoint = endpoint(packet, Some(config))?;
    println!("{}", endpoint.local_addr()?);
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let connection = incoming.await?;
            loop {
                let (write, read) = connection.accept_bi().await?;
                tokio::spawn(answer(write, read));
            }
            #[allow(unreachable_code, reason = "it gives the block its type")]
            anyhow::Ok(())
        });
    }
    Ok(())
}

/// A connection, and what it takes to make another.
struct Peer {
    endpoint: Endpoint,
    config: ClientConfig,
    address: SocketAddr,
    connection: Connection,
}

impl Peer {
    async fn connect(packet: Option<u16>, address: SocketAddr) -> Result<Self> {
        let tls = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider())))
            .with_no_client_auth();
        let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
        config.transport_config(transport(packet));
        let endpoint = endpoint(packet, None)?;
        let connection = endpoint.connect_with(config.clone(), address, "bench")?.await?;
        Ok(Self { endpoint, config, address, connection })
    }
}

impl Link for Peer {
    type Write = SendStream;
    type Read = RecvStream;

    async fn open(&self) -> Result<(SendStream, RecvStream)> {
        Ok(self.connection.open_bi().await?)
    }

    async fn connect(&self) -> Result<Box<dyn Any + Send>> {
        Ok(Box::new(self.endpoint.connect_with(self.config.clone(), self.address, "bench")?.await?))
    }
}
