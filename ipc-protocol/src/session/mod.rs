//! The rules of the gateway's sessions, sans-IO: bytes in, typed events out; commands in, bytes out. The caller owns
//! the buffers. [`client`] is a plugin's end of a control session, [`server`] is netcore's, [`data`] is either end of a
//! data connection, [`decode`] decodes single frames and recognises messages of a later version.

pub mod client;
pub mod data;
pub mod decode;
pub mod server;
mod variants;
