//! The messages that vectors and the schema describe: one type for each kind of frame.

use polypeer_ipc_protocol::codec;
use polypeer_ipc_protocol::gateway::{ClientFrame, Opening, OpeningReply, ServerFrame};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Types that are the body of a frame.
pub const ROOTS: [&str; 4] = ["Opening", "OpeningReply", "ClientFrame", "ServerFrame"];

/// A message of one of the types in [`ROOTS`].
#[derive(Debug)]
pub enum Message {
    Opening(Opening),
    Reply(OpeningReply),
    Client(ClientFrame),
    Server(ServerFrame),
}

impl Message {
    pub(crate) fn from_json(kind: &str, json: &Value) -> Result<Self, String> {
        fn read<T: DeserializeOwned>(json: &Value) -> Result<T, String> {
            T::deserialize(json).map_err(|error| error.to_string())
        }
        match kind {
            "Opening" => read(json).map(Self::Opening),
            "OpeningReply" => read(json).map(Self::Reply),
            "ClientFrame" => read(json).map(Self::Client),
            "ServerFrame" => read(json).map(Self::Server),
            other => Err(format!("{other:?} is not a message type: expected one of {ROOTS:?}")),
        }
    }

    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, String> {
        fn write(message: &impl Serialize) -> Result<Vec<u8>, String> {
            let mut bytes = Vec::new();
            codec::encode(message, &mut bytes).map_err(|error| error.to_string())?;
            Ok(bytes)
        }
        match self {
            Self::Opening(message) => write(message),
            Self::Reply(message) => write(message),
            Self::Client(message) => write(message),
            Self::Server(message) => write(message),
        }
    }
}
