//! rust-libp2p with its defaults, over QUIC, or over TCP with Noise and Yamux; two workers ("mt").
//!
//! `libp2p serve quic|tcp`, `libp2p drive quic|tcp ADDRESS`. `libp2p crowd quic|tcp COUNT` is COUNT nodes in one
//! process; `libp2p app quic|tcp ADDRESS…` is an application with a node of its own that stays connected to all of
//! them, and prints a line once it is; without addresses it has no node.

mod node;

use anyhow::{Context, Result, bail};
use contender::{Link, answer, drive, runtime};
use futures_util::StreamExt;
use libp2p::{Multiaddr, PeerId, Stream};
use libp2p_stream::Control;
use tokio::io::{ReadHalf, WriteHalf, split};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt};

use node::PROTOCOL;

const WORKERS: usize = 2;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    runtime(WORKERS)?.block_on(async {
        match words[..] {
            ["serve", kind] => serve(kind).await,
            ["drive", kind, address] => drive(connect(kind, address).await?).await,
            ["crowd", kind, count] => crowd(kind, count.parse()?).await,
            ["app", kind, ref addresses @ ..] => app(kind, addresses).await,
            _ => bail!("usage: libp2p serve|drive|crowd|app quic|tcp …"),
        }
    })
}

async fn serve(kind: &str) -> Result<()> {
    let (mut control, address) = node::listening(kind).await?;
    let mut incoming = control.accept(PROTOCOL)?;
    println!("{address}");
    while let Some((_, stream)) = incoming.next().await {
        let (read, write) = split(stream.compat());
        tokio::spawn(answer(write, read));
    }
    Ok(())
}

async fn crowd(kind: &str, count: usize) -> Result<()> {
    let mut addresses = Vec::new();
    for _ in 0..count {
        addresses.push(node::listening(kind).await?.1.to_string());
    }
    println!("{}", addresses.join(" "));
    std::future::pending().await
}

async fn app(kind: &str, addresses: &[&str]) -> Result<()> {
    if addresses.is_empty() {
        println!("no node");
        return std::future::pending().await;
    }
    let (_control, connected) =
        node::dialing(kind, addresses.iter().copied().map(str::parse).collect::<Result<_, _>>()?)?;
    connected.await.context("the node ended")?;
    println!("connected");
    std::future::pending().await
}

struct Peer {
    control: Control,
    peer: PeerId,
}

async fn connect(kind: &str, address: &str) -> Result<Peer> {
    let address: Multiaddr = address.parse()?;
    let peer = node::peer_of(&address)?;
    let (control, connected) = node::dialing(kind, vec![address])?;
    connected.await.context("the node ended")?;
    Ok(Peer { control, peer })
}

impl Link for Peer {
    type Write = WriteHalf<Compat<Stream>>;
    type Read = ReadHalf<Compat<Stream>>;

    async fn open(&self) -> Result<(Self::Write, Self::Read)> {
        let stream = self.control.clone().open_stream(self.peer, PROTOCOL).await?;
        let (read, write) = split(stream.compat());
        Ok((write, read))
    }
}
