//! Orders on the standard input of a driver.

use std::sync::Arc;

use anyhow::{Result, bail};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::{Link, work};

#[derive(Deserialize)]
struct Order {
    op: String,
    /// Number of bytes (`bulk`), requests, streams or connections.
    #[serde(default)]
    amount: u64,
    /// How many of them at a time.
    #[serde(default)]
    flight: usize,
}

/// Carries out orders until the input ends.
pub async fn drive<L: Link>(link: L) -> Result<()> {
    let link = Arc::new(link);
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut out = tokio::io::stdout();
    let mut held = Vec::new();
    while let Some(line) = lines.next_line().await? {
        let order: Order = serde_json::from_str(&line)?;
        let result = match order.op.as_str() {
            "bulk" => work::bulk(&*link, order.amount).await,
            "requests" => work::requests(&*link, order.amount).await,
            "request_rate" => work::request_rate(link.clone(), order.amount, order.flight).await,
            "streams" => work::streams(&*link, order.amount).await,
            "stream_rate" => work::stream_rate(link.clone(), order.amount, order.flight).await,
            "handshakes" => work::handshakes(link.clone(), order.amount, order.flight).await,
            "hold" => work::hold(&*link, order.amount, &mut held).await,
            "packets" => Ok(vec![held.iter().map(|connection| L::packets(&**connection) as f64).sum()]),
            other => bail!("no order is called {other}"),
        };
        let answer = match result {
            Ok(seconds) => serde_json::json!({ "result": seconds }),
            Err(error) => serde_json::json!({ "error": format!("{error:#}") }),
        };
        out.write_all(format!("{answer}\n").as_bytes()).await?;
        out.flush().await?;
    }
    Ok(())
}
