//! The measured plugin, `plugin PROTOCOL peers|local`: it serves the protocol to peers, or to plugins of its node. On
//! an order it does the work of the contenders (`contenders/common`) with a twin and reports the time taken. Orders
//! arrive as JSON lines on a Unix socket in its data folder, as in the plugins of `tests/`.

mod early;
mod work;

use anyhow::{Context, Result, bail};
use polypeer_ipc_protocol::client::{Client, Events};
use polypeer_ipc_protocol::gateway::{CallMode, Event, Scope, Target};
use polypeer_ipc_protocol::ids::NodeId;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use work::Twin;

#[derive(Deserialize)]
struct Order {
    op: String,
    /// Node id of the twin's node, or `local`.
    #[serde(default)]
    peer: String,
    /// What the twin serves.
    #[serde(default)]
    protocol: String,
    /// Number of bytes (`bulk`), requests or streams.
    #[serde(default)]
    amount: u64,
    /// How many of them at a time.
    #[serde(default)]
    flight: usize,
    /// Bytes per second that `bulk` is held to; 0: as fast as it goes.
    #[serde(default)]
    rate: u64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let (client, events) = Client::from_environment().await?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [protocol, scope] = &arguments[..] else { bail!("usage: plugin PROTOCOL peers|local") };
    let scope = if scope == "local" { Scope::Local } else { Scope::Peers };
    client.listen(protocol.parse()?, scope, CallMode::Events).await?;
    early::claim(&client, &protocol.parse()?, scope).await?;
    let folder = std::env::var("POLYPEER_DATA").context("no data folder")?;
    std::env::set_current_dir(folder)?;
    let _ = std::fs::remove_file("orders.sock");
    let orders = UnixListener::bind("orders.sock")?;
    tokio::spawn(serve(client.clone(), events));
    loop {
        let (stream, _) = orders.accept().await?;
        let client = client.clone();
        tokio::spawn(async move {
            if let Err(error) = take_order(client, stream).await {
                eprintln!("order failed: {error:#}");
            }
        });
    }
}

async fn serve(client: Client, mut events: Events) {
    while let Some(event) = events.next().await {
        let client = client.clone();
        match event {
            Event::Stream { stream, .. } => {
                tokio::spawn(async move { work::answer(client.accept(stream).await?).await });
            }
            Event::Call { call, payload, .. } => drop(client.answer(call, payload.0).await),
            _ => {}
        }
    }
}

async fn take_order(client: Client, stream: UnixStream) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let answer = match carry_out(client, serde_json::from_str(&line)?).await {
        Ok(result) => serde_json::json!({ "result": result }),
        Err(error) => serde_json::json!({ "error": format!("{error:#}") }),
    };
    stream.write_all(format!("{answer}\n").as_bytes()).await?;
    Ok(())
}

/// Carries out an order. Returns seconds: of the whole work, or of each request or stream.
async fn carry_out(client: Client, order: Order) -> Result<Vec<f64>> {
    if order.op == "pid" {
        return Ok(vec![f64::from(std::process::id())]);
    }
    let target = match order.peer.as_str() {
        "local" => Target::Local,
        peer => Target::Node(peer.parse::<NodeId>()?),
    };
    let twin = Twin { client, target, protocol: order.protocol.parse()? };
    match order.op.as_str() {
        "bulk" => work::bulk(&twin, order.amount, order.rate).await,
        "requests" => work::requests(&twin, order.amount).await,
        "request_rate" => work::request_rate(&twin, order.amount, order.flight).await,
        "streams" => work::streams(&twin, order.amount).await,
        "stream_rate" => work::stream_rate(&twin, order.amount, order.flight).await,
        other => bail!("no order is called {other}"),
    }
}
