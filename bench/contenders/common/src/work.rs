//! The work itself, over any [`Link`]. Every function returns seconds: of the whole, or of each one.

use std::any::Any;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::{COUNT, ECHO, Link, MESSAGE, PIECE};

/// No single request, stream or handshake may take longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Serves one stream: reads it to its end, then replies with the same bytes, or with one byte, as its first byte says.
pub async fn answer(mut write: impl AsyncWrite + Unpin, mut read: impl AsyncRead + Unpin) -> Result<()> {
    let (mut buffer, mut kept) = (Vec::new(), Vec::new());
    let mut first = [0; MESSAGE];
    loop {
        // Most streams are short: the large buffer comes with the first full read.
        let piece = if buffer.is_empty() { &mut first[..] } else { &mut buffer[..] };
        let count = read.read(piece).await?;
        if count == 0 {
            break;
        }
        if kept.len() <= MESSAGE {
            kept.extend_from_slice(&piece[..count.min(MESSAGE + 1)]);
        } else if buffer.is_empty() {
            buffer = vec![0; PIECE];
        }
    }
    write.write_all(if kept.first() == Some(&ECHO) { &kept } else { b"!" }).await?;
    write.shutdown().await?;
    Ok(())
}

pub(crate) async fn bulk<L: Link>(link: &L, bytes: u64) -> Result<Vec<f64>> {
    let started = Instant::now();
    let (mut write, mut read) = link.open().await?;
    let piece = vec![COUNT; PIECE];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(PIECE as u64);
        write.write_all(&piece[..now as usize]).await?;
        left -= now;
    }
    write.shutdown().await?;
    read.read_exact(&mut [0; 1]).await.context("no answer")?;
    Ok(vec![started.elapsed().as_secs_f64()])
}

/// One message in a fresh stream, and `reply` bytes back.
async fn exchange<L: Link>(link: &L, kind: u8, reply: usize) -> Result<()> {
    timeout(PATIENCE, async {
        let (mut write, mut read) = link.open().await?;
        write.write_all(&[kind; MESSAGE]).await?;
        write.shutdown().await?;
        let mut back = Vec::with_capacity(reply + 1);
        read.read_to_end(&mut back).await?;
        ensure!(back.len() == reply, "{} bytes came back, not {reply}", back.len());
        Ok(())
    })
    .await?
}

async fn each<F: Future<Output = Result<()>>>(amount: u64, mut one: impl FnMut() -> F) -> Result<Vec<f64>> {
    let mut took = Vec::new();
    for _ in 0..amount {
        let started = Instant::now();
        one().await?;
        took.push(started.elapsed().as_secs_f64());
    }
    Ok(took)
}

pub(crate) async fn requests<L: Link>(link: &L, amount: u64) -> Result<Vec<f64>> {
    each(amount, || exchange(link, ECHO, MESSAGE)).await
}

pub(crate) async fn streams<L: Link>(link: &L, amount: u64) -> Result<Vec<f64>> {
    each(amount, || exchange(link, COUNT, 1)).await
}

/// Repeats `one` until it was done `amount` times, `flight` at a time.
async fn together<L: Link, F>(link: Arc<L>, amount: u64, flight: usize, one: fn(Arc<L>) -> F) -> Result<Vec<f64>>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let started = Instant::now();
    let begun = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..flight.max(1) {
        let (link, begun) = (link.clone(), begun.clone());
        workers.spawn(async move {
            while begun.fetch_add(1, Ordering::Relaxed) < amount {
                one(link.clone()).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended??;
    }
    Ok(vec![started.elapsed().as_secs_f64()])
}

pub(crate) async fn request_rate<L: Link>(link: Arc<L>, amount: u64, flight: usize) -> Result<Vec<f64>> {
    together(link, amount, flight, |link| async move { exchange(&*link, ECHO, MESSAGE).await }).await
}

pub(crate) async fn stream_rate<L: Link>(link: Arc<L>, amount: u64, flight: usize) -> Result<Vec<f64>> {
    together(link, amount, flight, |link| async move { exchange(&*link, COUNT, 1).await }).await
}

pub(crate) async fn handshakes<L: Link>(link: Arc<L>, amount: u64, flight: usize) -> Result<Vec<f64>> {
    together(link, amount, flight, |link| async move { timeout(PATIENCE, link.connect()).await?.map(drop) }).await
}

/// Adds connections to `held`, where they stand until the driver ends.
pub(crate) async fn hold<L: Link>(link: &L, amount: u64, held: &mut Vec<Box<dyn Any + Send>>) -> Result<Vec<f64>> {
    let started = Instant::now();
    for _ in 0..amount {
        held.push(timeout(PATIENCE, link.connect()).await??);
    }
    Ok(vec![started.elapsed().as_secs_f64()])
}
