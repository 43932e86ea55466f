//! The Rust client at work; `../../client.py` says what it does, and `../../go/main.go` does the same.

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
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (client, events) = Client::from_environment().await?;
    for name in ["serve/1", "echo/1", "sink/1", "source/1"] {
        client.listen(protocol(name), Scope::Peers, CallMode::Events).await?;
    }
    let (work, amount, flight, peer, ticket) = match arguments[..] {
        ["attend"] => {
            println!("{} {}", client.node_id(), client.node().await?.ticket);
            serve(client, events).await;
            return Ok(());
        }
        [work, amount, flight] => {
            let own = Target::Node(client.node_id());
            (work, amount, flight, own.clone(), own)
        }
        [work, amount, flight, peer, ticket] => {
            (work, amount, flight, Target::Node(peer.parse()?), Target::Ticket(ticket.parse()?))
        }
        _ => bail!("usage: client attend, or client WORK AMOUNT FLIGHT [PEER TICKET]"),
    };
    let (amount, flight) = (amount.parse()?, flight.parse()?);
    tokio::spawn(serve(client.clone(), events));
    request(&client, &ticket).await?;
    carry_out(&client, &peer, work, amount / 20 + 1, flight).await?; // what is done once only
    let (began, used) = (Instant::now(), cpu()?);
    carry_out(&client, &peer, work, amount, flight).await?;
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
        match event {
            Event::Call { call, payload, .. } => drop(client.answer(call, payload.0).await),
            Event::Stream { stream, .. } => drop(tokio::spawn(attend(client.clone(), stream))),
            _ => {}
        }
    }
}

/// Reads a stream to its end and answers with a byte, or writes as much as its first 8 bytes say.
async fn attend(client: Client, stream: u64) -> Result<()> {
    let mut stream = client.accept(stream).await?;
    let mut piece = vec![7; PIECE];
    if stream.protocol().as_str() == "sink/1" {
        while stream.read(&mut piece).await? != 0 {}
        stream.write_all(b"!").await?;
    } else {
        for _ in 0..stream.read_u64_le().await? / PIECE as u64 {
            stream.write_all(&piece).await?;
        }
    }
    Ok(stream.closed().await?)
}

async fn carry_out(client: &Client, peer: &Target, work: &str, amount: u64, flight: u64) -> Result<()> {
    match work {
        "send" => send(client, peer, amount).await,
        "receive" => receive(client, peer, amount).await,
        "serve" => {
            let asked = format!("{amount} {flight}").into_bytes();
            client.call(peer.clone(), protocol("ask/1"), asked, None).await?;
            Ok(())
        }
        "request" | "stream" => {
            let mut workers = JoinSet::new();
            for worker in 0..flight {
                let (client, peer, stream) = (client.clone(), peer.clone(), work == "stream");
                let share = amount / flight + u64::from(worker < amount % flight);
                workers.spawn(async move {
                    for _ in 0..share {
                        if stream { send(&client, &peer, 1024).await? } else { request(&client, &peer).await? }
                    }
                    anyhow::Ok(())
                });
            }
            workers.join_all().await.into_iter().collect()
        }
        other => bail!("no work is called {other}"),
    }
}

async fn request(client: &Client, peer: &Target) -> Result<()> {
    client.call(peer.clone(), protocol("echo/1"), vec![7; 1024], None).await?;
    Ok(())
}

async fn send(client: &Client, peer: &Target, bytes: u64) -> Result<()> {
    let mut stream = client.open(peer.clone(), protocol("sink/1"), None).await?;
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

async fn receive(client: &Client, peer: &Target, bytes: u64) -> Result<()> {
    let bytes = bytes.next_multiple_of(PIECE as u64);
    let mut stream = client.open(peer.clone(), protocol("source/1"), None).await?;
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
