//! The gateway protocol without input or output: bytes in, typed events out; commands in, bytes out. The caller owns
//! every buffer. [`client`] is a plugin's end of a control session, [`server`] is netcore's, [`data`] is either end of
//! a data connection, [`decode`] reads single frames and tells apart what a later version may have added.

pub mod client;
pub mod data;
pub mod decode;
pub mod server;
mod variants;
