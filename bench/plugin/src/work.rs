//! The work on streams and calls of the gateway; `contenders/common/src/work.rs` has the same for the contenders.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use polypeer_ipc_protocol::client::{Client, DataStream};
use polypeer_ipc_protocol::gateway::Target;
use polypeer_ipc_protocol::ids::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use crate::early;

/// Bytes per write of a bulk transfer; the same as in the contenders.
const PIECE: usize = 256 << 10;
/// Bytes of a request, and of its reply.
const MESSAGE: usize = 1 << 10;

/// The same plugin somewhere else.
#[derive(Clone)]
pub(crate) struct Twin {
    pub(crate) client: Client,
    pub(crate) target: Target,
    pub(crate) protocol: Protocol,
}

/// Serves one stream: reads it to its end, then replies with one byte.
pub(crate) async fn answer(mut stream: DataStream) -> Result<()> {
    let (mut first, mut buffer) = ([0; MESSAGE], Vec::new());
    // Most streams are short: the large buffer comes with the first full read.
    let mut count = stream.read(&mut first).await?;
    while count != 0 {
        if count == MESSAGE && buffer.is_empty() {
            buffer = vec![0; PIECE];
        }
        let piece = if buffer.is_empty() { &mut first[..] } else { &mut buffer[..] };
        count = stream.read(piece).await?;
    }
    stream.write_all(b"!").await?;
    stream.closed().await?;
    Ok(())
}

pub(crate) async fn bulk(twin: &Twin, bytes: u64, rate: u64) -> Result<Vec<f64>> {
    let started = Instant::now();
    let mut stream = twin.client.open(twin.target.clone(), twin.protocol.clone(), None).await?;
    let piece = vec![7; PIECE];
    let mut sent = 0;
    while sent < bytes {
        let now = (bytes - sent).min(PIECE as u64);
        stream.write_all(&piece[..now as usize]).await?;
        sent += now;
        if rate > 0 {
            let due = started + Duration::from_secs_f64(sent as f64 / rate as f64);
            tokio::time::sleep_until(due.into()).await;
        }
    }
    stream.finish().await?;
    stream.read_exact(&mut [0; 1]).await?;
    Ok(vec![started.elapsed().as_secs_f64()])
}

async fn request(twin: Twin) -> Result<()> {
    let Twin { client, target, protocol } = twin;
    let reply = client.call(target, protocol, vec![7; MESSAGE], None).await?;
    ensure!(reply.len() == MESSAGE, "{} bytes came back", reply.len());
    Ok(())
}

async fn stream(twin: Twin) -> Result<()> {
    let Twin { client, target, protocol } = twin;
    let mut stream = early::open(&client, target, protocol, &[7; MESSAGE]).await?;
    stream.finish().await?;
    let mut back = Vec::with_capacity(2);
    stream.read_to_end(&mut back).await?;
    ensure!(back.len() == 1, "{} bytes came back", back.len());
    Ok(())
}

pub(crate) async fn requests(twin: &Twin, amount: u64) -> Result<Vec<f64>> {
    each(twin, amount, request).await
}

pub(crate) async fn streams(twin: &Twin, amount: u64) -> Result<Vec<f64>> {
    each(twin, amount, stream).await
}

pub(crate) async fn request_rate(twin: &Twin, amount: u64, flight: usize) -> Result<Vec<f64>> {
    together(twin, amount, flight, request).await
}

pub(crate) async fn stream_rate(twin: &Twin, amount: u64, flight: usize) -> Result<Vec<f64>> {
    together(twin, amount, flight, stream).await
}

/// Seconds of each, one after another.
async fn each<F: Future<Output = Result<()>>>(twin: &Twin, amount: u64, one: fn(Twin) -> F) -> Result<Vec<f64>> {
    let mut took = Vec::new();
    for _ in 0..amount {
        let started = Instant::now();
        one(twin.clone()).await?;
        took.push(started.elapsed().as_secs_f64());
    }
    Ok(took)
}

/// Seconds of all, `flight` at a time.
async fn together<F>(twin: &Twin, amount: u64, flight: usize, one: fn(Twin) -> F) -> Result<Vec<f64>>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let started = Instant::now();
    let begun = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..flight.max(1) {
        let (twin, begun) = (twin.clone(), begun.clone());
        workers.spawn(async move {
            while begun.fetch_add(1, Ordering::Relaxed) < amount {
                one(twin.clone()).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended??;
    }
    Ok(vec![started.elapsed().as_secs_f64()])
}
