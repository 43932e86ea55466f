//! Calls for a listener that takes calls as streams. The message and the reply travel over a data connection.

use std::time::Duration;

use bytes::BytesMut;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{Origin, Payload};
use polypeer_ipc_protocol::ids::Protocol;
use polypeer_ipc_protocol::limits::MAX_PAYLOAD;

use super::Claimed;
use crate::gateway::data::Input;
use crate::gateway::keep::DataConnection;

/// Delivers a call over a claimed stream: sends the payload and ends that direction, then reads the reply to its end.
pub(super) async fn call(
    claimed: Claimed,
    origin: &Origin,
    protocol: &Protocol,
    payload: Payload,
) -> Result<Payload, Failure> {
    let Claimed { opening, mut active } = claimed;
    let mut data = opening.opened(origin.clone(), protocol.clone());
    data.writer.push(payload.0);
    data.writer.finish();
    let mut reply = BytesMut::new();
    let outcome = loop {
        tokio::select! {
            input = data.reader.next() => match input {
                Input::Data(bytes) if reply.len() + bytes.len() > MAX_PAYLOAD => {
                    break Err(Failure::new(ErrorCode::TooLarge, "the reply is over 64 KiB: use a stream"));
                }
                Input::Data(bytes) => reply.extend_from_slice(&bytes),
                Input::Fin => break Ok(Payload(reply.freeze())),
                Input::Reset(code) => break Err(Failure { code, message: "the other plugin reset the stream".to_owned() }),
                Input::Stop(_) => {}
                Input::Closed | Input::Malformed(_) => {
                    break Err(Failure::new(ErrorCode::ConnectionLost, "the plugin that was asked went away"));
                }
            },
            flushed = data.writer.flush_some(), if data.writer.is_pending() => if flushed.is_err() {
                break Err(Failure::new(ErrorCode::ConnectionLost, "the plugin that was asked went away"));
            },
            code = active.revoked() => break Err(active.failure(code)),
        }
    };
    if let Err(failure) = &outcome {
        abandon(&mut data, failure.code).await;
    }
    outcome
}

/// Ends both directions of the stream with `code`. Waits at most 100 ms for the plugin to accept that.
async fn abandon(data: &mut DataConnection, code: u32) {
    data.writer.reset(code);
    data.writer.stop(code);
    let _ = tokio::time::timeout(Duration::from_millis(100), data.writer.flush()).await;
}
