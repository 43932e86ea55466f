//! A stream between a plugin of this node and a plugin of a peer. Bytes from the data connection are sent to the peer
//! within its credit. Bytes from the peer are taken from QUIC at once and written to the plugin as fast as it reads.
//! One task owns both directions.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use polypeer_engine::link::credit::{INITIAL_WINDOW, OverCredit, ReceiveWindow};
use polypeer_ipc_protocol::error::ErrorCode;
use quinn::{ReadError, SendStream, StoppedError, VarInt, WriteError};

use super::Direction;
use crate::gateway::data::{DataConnection, DataReader, DataWriter, Input};
use crate::gateway::launch::ActiveUse;
use crate::limits::LINK_SEND_WINDOW;
use crate::link::{PeerLink, PeerStream};
use crate::node::Node;
use crate::plugins::account::Account;
use crate::wire::{Halves, code_of};

/// Most pieces taken from QUIC at a time.
const PIECES: usize = 64;

/// Carries a stream to its end: until both directions are over, the peer has acknowledged everything, and everything
/// for the plugin is written. Then it closes the data connection.
pub(crate) async fn pump(node: Arc<Node>, stream: PeerStream, data: DataConnection, mut active: ActiveUse) {
    let DataConnection { reader, writer, permit: _permit } = data;
    let account = Arc::clone(&active.launch().account);
    let link = Arc::clone(&stream.link);
    let mut pump = Pump {
        node: Arc::clone(&node),
        stream,
        reader,
        writer,
        chunk: Bytes::new(),
        sent: 0,
        up: Up::Open,
        down: Direction::Open,
        deaf: false,
        gone: false,
        window: Window::new(Arc::clone(&account), link),
        account,
        sends_much: false,
    };
    if let Err(over) = pump.run(&mut active).await {
        pump.stream.link.misbehaved(&node, &over.to_string());
        pump.lost();
        while !pump.is_told() && pump.writer.flush_some().await.is_ok() {}
    }
}

/// The direction from the plugin to the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Up {
    /// Bytes may follow.
    Open,
    /// Ended by the plugin; the peer has not acknowledged everything yet.
    Ending,
    /// Acknowledged, reset, or stopped.
    Over,
}

struct Pump {
    node: Arc<Node>,
    stream: PeerStream,
    reader: DataReader,
    writer: DataWriter,
    /// Bytes from the plugin that are not sent yet, e.g. for lack of credit.
    chunk: Bytes,
    sent: u64,
    up: Up,
    down: Direction,
    /// The plugin cannot be written to any more. Bytes that it sent before may still be unread.
    deaf: bool,
    /// The data connection has been read to its end.
    gone: bool,
    window: Window,
    account: Arc<Account>,
    /// At least [`LINK_SEND_WINDOW`] bytes were sent, so the stream asks for a wider send window of its link.
    sends_much: bool,
}

impl Drop for Pump {
    fn drop(&mut self) {
        if self.sends_much {
            let link = &self.stream.link;
            link.set_send_window(link.windows.sent_much());
        }
    }
}

impl Pump {
    async fn run(&mut self, active: &mut ActiveUse) -> Result<(), OverCredit> {
        let stopped = self.stream.halves.send.stopped();
        tokio::pin!(stopped);
        let mut stop_seen = false;
        let mut pieces = [const { Bytes::new() }; PIECES];
        while !self.is_done() {
            let allowed = self.stream.credit.limit().saturating_sub(self.sent);
            let waiting = !self.chunk.is_empty();
            let pending = !self.is_told();
            let open = self.up == Up::Open || self.down == Direction::Open;
            let Self { stream, reader, writer, chunk, .. } = self;
            let PeerStream { halves: Halves { send, recv, .. }, credit, .. } = stream;
            tokio::select! {
                flushed = writer.flush_some(), if pending => match flushed {
                    Ok(bytes) => self.consumed(bytes),
                    Err(_) => self.deafen(),
                },
                read = recv.read_chunks(&mut pieces), if self.down == Direction::Open => {
                    self.received(read, &mut pieces)?;
                }
                written = write(send, chunk, allowed), if waiting && allowed > 0 => self.written(written),
                () = credit.beyond(self.sent), if waiting && allowed == 0 => {}
                input = reader.next(), if !waiting && !self.gone => self.handle(input),
                stop = &mut stopped, if !stop_seen => {
                    stop_seen = true;
                    self.stopped(stop);
                }
                code = active.revoked(), if open => self.cut(code),
            }
            tokio::task::coop::consume_budget().await;
        }
        Ok(())
    }

    fn is_told(&self) -> bool {
        self.deaf || !self.writer.is_pending()
    }

    fn is_done(&self) -> bool {
        let up = self.up == Up::Over || (self.up == Up::Ending && self.gone);
        up && self.down == Direction::Over && self.is_told()
    }

    /// Handles one input from the plugin.
    fn handle(&mut self, input: Input) {
        match input {
            Input::Data(bytes) => {
                if self.up == Up::Open {
                    self.chunk = bytes;
                }
            }
            Input::Fin => {
                if self.up == Up::Open {
                    self.stream.halves.finish();
                    self.up = Up::Ending;
                }
            }
            Input::Reset(code) => self.reset(code),
            Input::Stop(code) => self.stop(code),
            Input::Malformed(error) => {
                tracing::debug!(%error, "data connection closed");
                self.node.counters.gateway_malformed.count();
                self.handle(Input::Closed);
            }
            Input::Closed => {
                self.gone = true;
                self.reset(ErrorCode::ConnectionLost.number());
                self.deafen();
            }
        }
    }

    fn reset(&mut self, code: u32) {
        if self.up == Up::Open {
            self.stream.halves.reset(code);
            self.chunk.clear();
            self.up = Up::Over;
        }
    }

    fn stop(&mut self, code: u32) {
        if self.down == Direction::Open {
            self.stream.halves.stop(code);
            self.down = Direction::Over;
        }
    }

    /// Marks the plugin as not writable: its connection is closed. Bytes that it sent before may still be unread.
    fn deafen(&mut self) {
        self.deaf = true;
        self.stop(ErrorCode::ConnectionLost.number());
    }

    fn written(&mut self, written: Result<usize, WriteError>) {
        match written {
            Ok(bytes) => {
                self.sent += bytes as u64;
                self.account.sent.add(bytes as u64);
                let link = &self.stream.link;
                link.sent.add(bytes as u64);
                if self.sent >= LINK_SEND_WINDOW && !std::mem::replace(&mut self.sends_much, true) {
                    link.set_send_window(link.windows.sends_much());
                }
            }
            Err(WriteError::Stopped(code)) => self.stopped(Ok(Some(code))),
            Err(_) => self.lost(),
        }
    }

    /// Handles the end of the sending direction at the peer: everything acknowledged, stopped, or connection lost.
    fn stopped(&mut self, stop: Result<Option<VarInt>, StoppedError>) {
        match stop {
            Ok(None) if self.up == Up::Ending => {
                self.writer.stop(ErrorCode::Complete.number());
                self.up = Up::Over;
            }
            Ok(None) => {}
            Ok(Some(code)) if self.up != Up::Over => {
                self.stream.halves.reset(code_of(code));
                self.writer.stop(code_of(code));
                self.chunk.clear();
                self.up = Up::Over;
            }
            Ok(Some(_)) => {}
            Err(_) => self.lost(),
        }
    }

    fn received(&mut self, read: Result<Option<usize>, ReadError>, pieces: &mut [Bytes]) -> Result<(), OverCredit> {
        match read {
            Ok(Some(count)) => {
                for piece in &mut pieces[..count] {
                    self.window.flow.handle_received(piece.len())?;
                    self.account.received.add(piece.len() as u64);
                    self.stream.link.received.add(piece.len() as u64);
                    self.writer.push(std::mem::take(piece));
                }
            }
            Ok(None) => {
                self.writer.finish();
                self.stream.halves.received = true;
                self.down = Direction::Over;
            }
            Err(ReadError::Reset(code)) => {
                self.writer.reset(code_of(code));
                self.stream.halves.received = true;
                self.down = Direction::Over;
            }
            Err(_) => self.lost(),
        }
        Ok(())
    }

    /// Grants the peer more credit after bytes were written to the plugin.
    fn consumed(&mut self, bytes: usize) {
        if bytes == 0 || self.down == Direction::Over {
            return;
        }
        if let Some(limit) = self.window.consumed(bytes) {
            self.stream.link.grant(self.stream.id, limit);
        }
    }

    /// Ends both directions because the connection to the peer is lost.
    fn lost(&mut self) {
        let lost = ErrorCode::ConnectionLost.number();
        if self.up != Up::Over {
            self.writer.stop(lost);
            self.chunk.clear();
            self.up = Up::Over;
        }
        if self.down == Direction::Open {
            self.writer.reset(lost);
            self.down = Direction::Over;
        }
    }

    /// Ends both directions with `code`, because the use was revoked.
    fn cut(&mut self, code: ErrorCode) {
        let number = code.number();
        if self.up == Up::Open {
            self.reset(number);
            self.writer.stop(number);
        }
        if self.down == Direction::Open {
            self.stop(number);
            self.writer.reset(number);
        }
    }
}

async fn write(send: &mut SendStream, chunk: &mut Bytes, allowed: u64) -> Result<usize, WriteError> {
    let length = usize::try_from(allowed).unwrap_or(usize::MAX).min(chunk.len());
    let mut part = [chunk.slice(..length)];
    let written = send.write_chunks(&mut part).await?;
    chunk.advance(written.bytes);
    Ok(written.bytes)
}

/// The receive window of the stream. It counts in the plugin's pool and at the link until it is dropped.
struct Window {
    flow: ReceiveWindow,
    account: Arc<Account>,
    link: Arc<PeerLink>,
    /// Bytes counted at the link. They include the initial window only if the node had room for it; otherwise that is
    /// part of the window that every link has.
    entered: u64,
}

impl Window {
    fn new(account: Arc<Account>, link: Arc<PeerLink>) -> Self {
        account.window_opened(INITIAL_WINDOW);
        let entered = if link.widen(INITIAL_WINDOW) { INITIAL_WINDOW } else { 0 };
        Self { flow: ReceiveWindow::default(), account, link, entered }
    }

    fn consumed(&mut self, bytes: usize) -> Option<u64> {
        self.flow.handle_consumed(bytes);
        let Self { flow, account, link, entered } = self;
        flow.poll_credit(|more| {
            if !account.window_grown(more) {
                return false;
            }
            let widened = link.widen(more);
            if widened {
                *entered += more;
            } else {
                account.window_closed(more);
            }
            widened
        })
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.account.window_closed(self.flow.window());
        self.link.windows.shrink(self.entered);
    }
}
