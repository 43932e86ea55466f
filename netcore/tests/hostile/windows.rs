//! Peers that write without end what nobody reads: QUIC and netcore together hold a bounded part of it.

use std::time::Duration;

use polypeer_netcore::wire::StreamKind;
use quinn::{Connection, SendStream};

use crate::attacker::{Attacker, greet, header};
use crate::world::World;

/// What the node's process may have resident meanwhile: its 25 MiB, 1.5 MiB for each of 16 links and as much again for
/// what surrounds them, 128 KiB for each of 32 connections that are no links, the node's 16 MiB of payloads.
const MEMORY_WRITTEN: u64 = 128 << 20;
/// A writer that got nothing away for so long is stopped for good.
const STUCK: Duration = Duration::from_secs(2);

/// Writes on `stream` until it takes no more or has taken `most`.
async fn fill(stream: &mut SendStream, mut most: usize) {
    let zeros = vec![0; 64 << 10];
    while most > 0 {
        let part = &zeros[..most.min(zeros.len())];
        match tokio::time::timeout(STUCK, stream.write(part)).await {
            Ok(Ok(written)) => most -= written,
            _ => return,
        }
    }
}

/// Opens all the streams there may be and fills them: of one kind with bytes that nobody expects, of the other with
/// payloads that never end.
async fn write_without_end(connection: &Connection) -> Vec<SendStream> {
    let mut kept = Vec::new();
    while let Ok(Ok(mut stream)) = tokio::time::timeout(STUCK, connection.open_uni()).await {
        fill(&mut stream, 8 << 20).await;
        kept.push(stream);
    }
    while let Ok(Ok((mut stream, _))) = tokio::time::timeout(STUCK, connection.open_bi()).await {
        let begun = [header(StreamKind::Call, "honest/1"), vec![7; 60_000]].concat();
        // Refused when the node has too many of them.
        if !matches!(tokio::time::timeout(STUCK, stream.write_all(&begun)).await, Ok(Ok(()) | Err(_))) {
            break;
        }
        kept.push(stream);
    }
    kept
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_writes_without_end_over_many_connections_fills_no_memory() {
    let world = World::new().await;
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..48 {
        let attacker = Attacker::with([crate::attacker::LINK, b"polypeer-query/1"][usize::from(number >= 32)], None);
        let ticket = world.ticket.clone();
        writers.spawn(async move {
            let (connection, control) = match number {
                0..16 => {
                    let connection = attacker.link(&ticket).await;
                    let control = greet(&connection).await;
                    (connection, Some(control))
                }
                // Those that never settle, and query connections.
                _ => (attacker.dial(&ticket).await.expect("the handshake is right"), None),
            };
            let streams = write_without_end(&connection).await;
            (attacker, connection, control, streams)
        });
    }
    let kept = writers.join_all().await;
    world.counted("peer_payloads_refused", 1).await;
    world.is_well_within(MEMORY_WRITTEN).await;
    drop(kept);
}
