//! iroh: the same work, with its defaults but for relays and discovery, which loopback does not need; 2 workers ("mt").
//!
//! `iroh serve`, `iroh drive ID@IP:PORT`; iroh-blobs: `iroh offer FILE`, `iroh fetch ID@IP:PORT/HASH FOLDER FILE`.

mod blobs;

use std::any::Any;

use anyhow::{Context, Result, bail};
use contender::{Link, answer, drive, runtime};
use iroh::endpoint::{Connection, RecvStream, SendStream, presets};
use iroh::{Endpoint, EndpointAddr};

const ALPN: &[u8] = b"bench/1";
const WORKERS: usize = 2;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    runtime(WORKERS)?.block_on(async {
        match words[..] {
            ["serve"] => serve().await,
            ["drive", address] => drive(Peer::connect(address).await?).await,
            ["offer", file] => blobs::offer(file.as_ref()).await,
            ["fetch", from, folder, file] => blobs::fetch(from, folder.as_ref(), file.as_ref()).await,
            _ => bail!("usage: iroh serve | iroh drive ADDRESS | iroh offer FILE | iroh fetch FROM FOLDER FILE"),
        }
    })
}

async fn endpoint(alpn: &[u8]) -> Result<Endpoint> {
    let builder = Endpoint::builder(presets::Minimal).clear_ip_transports().bind_addr("127.0.0.1:0")?;
    Ok(builder.alpns(vec![alpn.to_vec()]).bind().await?)
}

fn address_of(endpoint: &Endpoint) -> Result<String> {
    let socket = endpoint.bound_sockets().into_iter().next().context("it listens nowhere")?;
    Ok(format!("{}@{socket}", endpoint.id()))
}

fn parse(address: &str) -> Result<EndpointAddr> {
    let (id, socket) = address.split_once('@').context("expected ID@IP:PORT")?;
    Ok(EndpointAddr::new(id.parse()?).with_ip_addr(socket.parse()?))
}

async fn serve() -> Result<()> {
    let endpoint = endpoint(ALPN).await?;
    println!("{}", address_of(&endpoint)?);
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

struct Peer {
    endpoint: Endpoint,
    address: EndpointAddr,
    connection: Connection,
}

impl Peer {
    async fn connect(address: &str) -> Result<Self> {
        let (endpoint, address) = (endpoint(ALPN).await?, parse(address)?);
        let connection = endpoint.connect(address.clone(), ALPN).await?;
        Ok(Self { endpoint, address, connection })
    }
}

impl Link for Peer {
    type Write = SendStream;
    type Read = RecvStream;

    async fn open(&self) -> Result<(SendStream, RecvStream)> {
        Ok(self.connection.open_bi().await?)
    }

    async fn connect(&self) -> Result<Box<dyn Any + Send>> {
        Ok(Box::new(self.endpoint.connect(self.address.clone(), ALPN).await?))
    }
}
