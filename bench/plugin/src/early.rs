//! What the client does early: streams claimed before they come, connections kept for the next stream, first bytes sent
//! with the opening. The baseline's client has none of it; the plugin is built for it without the feature `early`.

use anyhow::Result;
use polypeer_ipc_protocol::client::{Client, DataStream};
#[cfg(feature = "early")]
use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::gateway::{Scope, Target};
use polypeer_ipc_protocol::ids::Protocol;

/// Streams that wait to be claimed at a time.
#[cfg(feature = "early")]
const CLAIMS: usize = 32;

/// Opens a stream that begins with `first`.
#[cfg(feature = "early")]
pub(crate) async fn open(client: &Client, target: Target, protocol: Protocol, first: &[u8]) -> Result<DataStream> {
    Ok(client.open_with(target, protocol, first, None).await?)
}

#[cfg(not(feature = "early"))]
pub(crate) async fn open(client: &Client, target: Target, protocol: Protocol, first: &[u8]) -> Result<DataStream> {
    let mut stream = client.open(target, protocol, None).await?;
    tokio::io::AsyncWriteExt::write_all(&mut stream, first).await?;
    Ok(stream)
}

/// Serves streams as they come, beside those that events announce.
#[cfg(feature = "early")]
pub(crate) async fn claim(client: &Client, protocol: &Protocol, scope: Scope) -> Result<()> {
    client.keep_connections().await?;
    for _ in 0..CLAIMS {
        let (client, protocol) = (client.clone(), protocol.clone());
        tokio::spawn(async move {
            loop {
                match client.accept_next(protocol.clone(), scope).await {
                    Ok(stream) => drop(tokio::spawn(crate::work::answer(stream))),
                    // Its opener has given it up.
                    Err(error) if error.failure().is(ErrorCode::Cancelled) => {}
                    Err(error) => return eprintln!("waits for no more streams: {error:#}"),
                }
            }
        });
    }
    Ok(())
}

#[cfg(not(feature = "early"))]
pub(crate) async fn claim(_: &Client, _: &Protocol, _: Scope) -> Result<()> {
    Ok(())
}
