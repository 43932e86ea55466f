//! What turns a connection into a link: tie-break and control streams (`netcore/PROTOCOL.md`, sections 2 and 4).

use anyhow::{Result, bail, ensure};
use quinn::{Connection, RecvStream, SendStream};
use tokio::task::JoinHandle;

/// Tags of control messages.
const HELLO: u32 = 0;
const PING: u32 = 3;
const PONG: u32 = 4;
/// Largest body of a control frame, bytes.
const MAX_BODY: usize = 32_768;
/// The network of nodes that are not configured otherwise.
const NETWORK: &str = "main";

/// A link whose `Hello`s are exchanged. It answers pings until it is dropped, which closes the connection.
pub(crate) struct Established {
    connection: Connection,
    control: JoinHandle<Result<()>>,
}

impl Established {
    pub(crate) async fn new(connection: Connection, own: [u8; 32], node: [u8; 32]) -> Result<Self> {
        let (mut send, mut receive) = connection.open_bi().await?;
        send.write_all(&own[..8]).await?;
        receive.read_exact(&mut [0; 8]).await?;
        if own < node {
            send.write_all(&[1]).await?;
        } else {
            let mut kept = [0];
            receive.read_exact(&mut kept).await?;
            ensure!(kept == [1], "the node did not keep the connection");
        }
        send.finish()?;
        let mut send = connection.open_uni().await?;
        send.write_all(&frame(HELLO, &hello())).await?;
        let mut receive = connection.accept_uni().await?;
        let (tag, _) = read_frame(&mut receive).await?;
        ensure!(tag == HELLO, "the node did not begin with Hello");
        let control = tokio::spawn(answer_pings(send, receive));
        Ok(Self { connection, control })
    }

    /// Packets sent and received so far.
    pub(crate) fn packets(&self) -> u64 {
        let stats = self.connection.stats();
        stats.udp_tx.datagrams + stats.udp_rx.datagrams
    }
}

impl Drop for Established {
    fn drop(&mut self) {
        self.control.abort();
        self.connection.close(0u32.into(), b"");
    }
}

async fn answer_pings(mut send: SendStream, mut receive: RecvStream) -> Result<()> {
    loop {
        let (tag, fields) = read_frame(&mut receive).await?;
        if tag == PING {
            send.write_all(&frame(PONG, &fields)).await?;
        }
    }
}

/// version 1, an agent, the network, nothing served, no addresses.
fn hello() -> Vec<u8> {
    let mut fields = 1u32.to_le_bytes().to_vec();
    for text in ["polypeer-bench", NETWORK] {
        fields.extend_from_slice(&(text.len() as u64).to_le_bytes());
        fields.extend_from_slice(text.as_bytes());
    }
    fields.extend_from_slice(&[0; 16]);
    fields
}

fn frame(tag: u32, fields: &[u8]) -> Vec<u8> {
    let length = (4 + fields.len()) as u32;
    [&length.to_le_bytes(), &tag.to_le_bytes(), fields].concat()
}

async fn read_frame(receive: &mut RecvStream) -> Result<(u32, Vec<u8>)> {
    let mut length = [0; 4];
    receive.read_exact(&mut length).await?;
    let length = u32::from_le_bytes(length) as usize;
    if !(4..=MAX_BODY).contains(&length) {
        bail!("a frame of {length} bytes");
    }
    let mut body = vec![0; length];
    receive.read_exact(&mut body).await?;
    let fields = body.split_off(4);
    Ok((u32::from_le_bytes([body[0], body[1], body[2], body[3]]), fields))
}
