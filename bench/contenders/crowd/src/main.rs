//! Many peers of one node of this project, in one process: each has a key of its own and does the whole set-up of
//! `netcore/PROTOCOL.md` (handshake with both keys, tie-break, `Hello` both ways), then stays idle.
//!
//! `crowd drive TICKET` takes the orders `handshakes`, `hold` and `packets`.

mod identity;
mod link;

use std::any::Any;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use contender::{Link, drive, runtime};
use polypeer_ipc_protocol::ticket::Ticket;
use quinn::{Endpoint, RecvStream, SendStream};

use identity::Identity;
use link::Established;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [_, ticket] = &arguments[..] else { bail!("usage: crowd drive TICKET") };
    let ticket: Ticket = ticket.parse()?;
    let address = *ticket.addresses.first().context("the ticket has no address")?;
    runtime(0)?.block_on(async {
        let endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        drive(Crowd { endpoint, node: ticket.node.0, address }).await
    })
}

struct Crowd {
    endpoint: Endpoint,
    node: [u8; 32],
    address: SocketAddr,
}

impl Link for Crowd {
    type Write = SendStream;
    type Read = RecvStream;

    async fn open(&self) -> Result<(SendStream, RecvStream)> {
        bail!("the crowd is idle")
    }

    async fn connect(&self) -> Result<Box<dyn Any + Send>> {
        let identity = Identity::new()?;
        let connecting = self.endpoint.connect_with(identity.config()?, self.address, "peer.invalid")?;
        Ok(Box::new(Established::new(connecting.await?, identity.id(), self.node).await?))
    }

    fn packets(connection: &(dyn Any + Send)) -> u64 {
        connection.downcast_ref().map_or(0, Established::packets)
    }
}
