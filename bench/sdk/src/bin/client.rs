//! The Rust client at work: `client WORK AMOUNT FLIGHT` does what `../../client.py` and `../../go/main.go` do, and prints
//! `{"seconds", "cpu"}` as JSON.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use polypeer_ipc_protocol::client::{Client, Events};
use polypeer_ipc_protocol::gateway::{CallMode, Event, Scope, Target};
use polypeer_ipc_protocol::ids::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

/// Bytes per read and write of a stream.
const PIECE: usize = 256 << 10;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [work, amount, flight] = &arguments[..] else { bail!("usage: client WORK AMOUNT FLIGHT") };
    let (amount, flight) = (amount.parse()?, flight.parse()?);
    let (client, events) = Client::from_environment().await?;
    client.listen(protocol("serve/1"), Scope::Peers, CallMode::Events).await?;
    tokio::spawn(serve(client.clone(), events));
    carry_out(&client, work, amount / 20 + 1, flight).await?; // what is done once only
    let (began, used) = (Instant::now(), cpu()?);
    carry_out(&client, work, amount, flight).await?;
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu()? - used);
    println!("{}", serde_json::json!({ "seconds": seconds, "cpu": cpu }));
    Ok(())
}

fn protocol(name: &str) -> Protocol {
    name.parse().expect("a valid name")
}

/// Seconds of processor time that this process has used.
fn cpu() -> Result<f64> {
    let mut nanoseconds = 0.0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        nanoseconds += text.split(' ').next().context("an empty schedstat")?.parse::<f64>()?;
    }
    Ok(nanoseconds / 1e9)
}

async fn serve(client: Client, mut events: Events) {
    while let Some(event) = events.next().await {
        if let Event::Call { call, payload, .. } = event {
            drop(client.answer(call, payload.0).await);
        }
    }
}

async fn carry_out(client: &Client, work: &str, amount: u64, flight: u64) -> Result<()> {
    match work {
        "send" => send(client, amount).await,
        "receive" => receive(client, amount).await,
        "serve" => {
            let asked = format!("{amount} {flight}").into_bytes();
            client.call(Target::Node(client.node_id()), protocol("ask/1"), asked, None).await?;
            Ok(())
        }
        "request" | "stream" => {
            let mut workers = JoinSet::new();
            for worker in 0..flight {
                let (client, stream) = (client.clone(), work == "stream");
                let share = amount / flight + u64::from(worker < amount % flight);
                workers.spawn(async move {
                    for _ in 0..share {
                        if stream { send(&client, 1024).await? } else { request(&client).await? }
                    }
                    anyhow::Ok(())
                });
            }
            workers.join_all().await.into_iter().collect()
        }
        other => bail!("no work is called {other}"),
    }
}

async fn request(client: &Client) -> Result<()> {
    client.call(Target::Node(client.node_id()), protocol("echo/1"), vec![7; 1024], None).await?;
    Ok(())
}

async fn send(client: &Client, bytes: u64) -> Result<()> {
    let mut stream = client.open(Target::Node(client.node_id()), protocol("sink/1"), None).await?;
    let piece = vec![7; PIECE.min(bytes as usize)];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(PIECE as u64);
        stream.write_all(&piece[..now as usize]).await?;
        left -= now;
    }
    stream.finish().await?;
    stream.read_exact(&mut [0; 1]).await?;
    Ok(stream.closed().await?)
}

async fn receive(client: &Client, bytes: u64) -> Result<()> {
    let bytes = bytes.next_multiple_of(PIECE as u64);
    let mut stream = client.open(Target::Node(client.node_id()), protocol("source/1"), None).await?;
    stream.write_all(&bytes.to_le_bytes()).await?;
    stream.finish().await?;
    let (mut buffer, mut received) = (vec![0; PIECE], 0);
    loop {
        match stream.read(&mut buffer).await? {
            0 => break,
            n => received += n as u64,
        }
    }
    if received != bytes {
        bail!("{received} bytes came, not {bytes}");
    }
    Ok(stream.closed().await?)
}
