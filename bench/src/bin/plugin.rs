//! The measured plugin: it serves `bench/1`, and on an order sends to the same plugin on another node and reports the
//! time taken. Orders arrive as JSON lines on a Unix socket in its data folder, as in the plugins of `tests/`.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use polypeer_ipc_protocol::client::{Client, Events};
use polypeer_ipc_protocol::gateway::{CallMode, Event, Scope, Target};
use polypeer_ipc_protocol::ids::{NodeId, Protocol};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

/// Bytes per write; the same as on plain quinn.
const PIECE: usize = 256 << 10;

#[derive(Deserialize)]
struct Order {
    op: String,
    #[serde(default)]
    peer: String,
    /// Number of bytes (`bulk`) or requests (`requests`).
    #[serde(default)]
    amount: u64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let (client, events) = Client::from_environment().await?;
    client.listen(protocol(), Scope::Peers, CallMode::Events).await?;
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

fn protocol() -> Protocol {
    "bench/1".parse().expect("a valid name")
}

async fn serve(client: Client, mut events: Events) {
    while let Some(event) = events.next().await {
        let client = client.clone();
        match event {
            Event::Stream { stream, .. } => drop(tokio::spawn(drain(client, stream))),
            Event::Call { call, payload, .. } => drop(client.answer(call, payload.0).await),
            _ => {}
        }
    }
}

/// Reads a stream to its end, then replies with one byte.
async fn drain(client: Client, stream: u64) -> Result<()> {
    let mut stream = client.accept(stream).await?;
    let mut buffer = vec![0; PIECE];
    while stream.read(&mut buffer).await? != 0 {}
    stream.write_all(b"!").await?;
    stream.closed().await?;
    Ok(())
}

async fn take_order(client: Client, stream: UnixStream) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let answer = match carry_out(&client, serde_json::from_str(&line)?).await {
        Ok(result) => serde_json::json!({ "result": result }),
        Err(error) => serde_json::json!({ "error": format!("{error:#}") }),
    };
    stream.write_all(format!("{answer}\n").as_bytes()).await?;
    Ok(())
}

/// Carries out an order. Returns seconds: of the whole transfer, or of each request.
async fn carry_out(client: &Client, order: Order) -> Result<Vec<f64>> {
    if order.op == "pid" {
        return Ok(vec![f64::from(std::process::id())]);
    }
    let target = Target::Node(order.peer.parse::<NodeId>()?);
    match order.op.as_str() {
        "bulk" => Ok(vec![bulk(client, target, order.amount).await?]),
        "requests" => {
            let mut took = Vec::new();
            for _ in 0..order.amount {
                let started = Instant::now();
                client.call(target.clone(), protocol(), vec![7; 32], None).await?;
                took.push(started.elapsed().as_secs_f64());
            }
            Ok(took)
        }
        other => bail!("no order is called {other}"),
    }
}

async fn bulk(client: &Client, target: Target, bytes: u64) -> Result<f64> {
    let started = Instant::now();
    let mut stream = client.open(target, protocol(), None).await?;
    let piece = vec![7; PIECE];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(PIECE as u64);
        stream.write_all(&piece[..now as usize]).await?;
        left -= now;
    }
    stream.finish().await?;
    stream.read_exact(&mut [0; 1]).await?;
    Ok(started.elapsed().as_secs_f64())
}
