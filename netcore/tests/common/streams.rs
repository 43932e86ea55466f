//! Streams between plugins, and how they end.

use polypeer_ipc_protocol::client::{DataStream, StreamError};
use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::gateway::Target;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Plugin, protocol, within};

/// Bytes that differ everywhere, by a seed.
pub fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Opens a stream from one plugin to another, which listens: both ends.
pub async fn stream_between(near: &Plugin, far: &mut Plugin, target: Target, name: &str) -> (DataStream, DataStream) {
    let opened = near.client.open(target, protocol(name), None);
    let (opened, accepted) = within("a stream", async { tokio::join!(opened, far.accept()) }).await;
    (opened.expect("opened"), accepted)
}

/// Reads until the stream fails, which it must: the code it failed with. An end of file is a failed test.
pub async fn read_code(stream: &mut DataStream) -> u32 {
    let mut buffer = vec![0; 64 << 10];
    within("an error at the reader", async {
        loop {
            match stream.read(&mut buffer).await {
                Ok(0) => panic!("an end of file where the stream was cut"),
                Ok(_) => {}
                Err(error) => match StreamError::of(&error) {
                    Some(StreamError::Reset { code }) => return *code,
                    Some(StreamError::Lost) => return ErrorCode::ConnectionLost.number(),
                    other => panic!("{other:?} of {error}"),
                },
            }
        }
    })
    .await
}

/// Writes until the stream fails, which it must: the code it failed with.
pub async fn write_code(stream: &mut DataStream) -> u32 {
    let chunk = vec![0; 16 << 10];
    within("an error at the writer", async {
        loop {
            if let Err(error) = stream.write_all(&chunk).await {
                match StreamError::of(&error) {
                    Some(StreamError::Stopped { code } | StreamError::Reset { code }) => return *code,
                    Some(StreamError::Lost) => return ErrorCode::ConnectionLost.number(),
                    other => panic!("{other:?} of {error}"),
                }
            }
        }
    })
    .await
}
