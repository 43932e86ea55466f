//! Targets for frames of the gateway, in both directions, and of the admin session.

use polypeer_ipc_protocol::admin::{AdminCommand, AdminFrame};
use polypeer_ipc_protocol::frame;
use polypeer_ipc_protocol::gateway::{ClientFrame, Opening, OpeningReply, ServerFrame};
use polypeer_ipc_protocol::limits::{MAX_FRAME, MAX_VERSIONS};
use polypeer_ipc_protocol::session::data::{Received, Receiver};
use polypeer_ipc_protocol::session::decode;

use super::reads_back;

/// Decodes the first frame of a connection.
pub fn opening(bytes: &[u8]) {
    if let Ok(Opening::Hello { versions, .. }) = decode::opening(bytes) {
        assert!(versions.len() <= MAX_VERSIONS);
    }
    reads_back::<Opening>(bytes);
}

/// Decodes a plugin's frame.
pub fn client_frame(bytes: &[u8]) {
    let known = decode::client_frame(bytes);
    if let Some(frame) = reads_back::<ClientFrame>(bytes) {
        assert_eq!(known.ok(), Some(frame.clone()));
        if let ClientFrame::Request { request, .. } = frame {
            decode::too_large(&request);
        }
    }
    if let Ok(Some(body)) = frame::split(bytes) {
        assert!(body.len() <= MAX_FRAME);
    }
}

/// Decodes a frame of netcore.
pub fn server_frame(bytes: &[u8]) {
    let known = decode::server_frame(bytes);
    if let Some(frame) = reads_back::<ServerFrame>(bytes) {
        assert_eq!(known.ok(), Some(frame));
    }
    let known = decode::opening_reply(bytes);
    assert_eq!(known.ok(), reads_back::<OpeningReply>(bytes));
}

/// Decodes a data connection; the result does not depend on how the bytes are split.
pub fn data_frames(bytes: &[u8]) {
    let whole = take(bytes, bytes.len().max(1));
    for piece in [1, 3, 7] {
        assert_eq!(take(bytes, piece), whole, "in pieces of {piece}");
    }
}

/// Decodes in pieces of `piece` bytes. Returns all data, the other frames, and whether the input is malformed.
fn take(bytes: &[u8], piece: usize) -> (Vec<u8>, Vec<String>, bool) {
    let (mut receiver, mut data, mut others) = (Receiver::default(), Vec::new(), Vec::new());
    let mut waiting = Vec::new();
    for chunk in bytes.chunks(piece) {
        waiting.extend_from_slice(chunk);
        let mut view = &waiting[..];
        loop {
            match receiver.next(&mut view, usize::MAX) {
                Ok(Some(Received::Data(part))) => data.extend_from_slice(part),
                Ok(Some(other)) => others.push(format!("{other:?} after {}", data.len())),
                Ok(None) => break,
                Err(_) => return (data, others, true),
            }
        }
        waiting = view.to_vec();
    }
    (data, others, false)
}

/// Decodes frames of the session between supervisor and netcore.
pub fn admin(bytes: &[u8]) {
    reads_back::<AdminCommand>(bytes);
    reads_back::<AdminFrame>(bytes);
}
