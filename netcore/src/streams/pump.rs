//! A stream between a plugin of this node and a plugin of a peer. Bytes from the data connection are sent to the peer
//! within its credit. Bytes from the peer are taken from QUIC at once and written to the plugin as fast as it reads.
//! One task owns both directions. When both are over for the peer, everything booked for the stream is given back but
//! what the plugin has not read, and `rest` ends the data connection.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use polypeer_engine::link::credit::{INITIAL_WINDOW, OverCredit, ReceiveWindow};
use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::ids::NodeId;
use quinn::{ReadError, SendStream, StoppedError, VarInt, WriteError};

use super::Direction;
use super::rest::Rest;
use crate::gateway::data::{DataReader, DataWriter, Input};
use crate::gateway::keep::DataConnection;
use crate::gateway::launch::ActiveUse;
use crate::limits::LINK_SEND_WINDOW;
use crate::link::{PeerLink, PeerStream};
use crate::node::Node;
use crate::plugins::account::Account;
use crate::wire::{Early, Halves, code_of};

/// Most pieces taken from QUIC at a time.
const PIECES: usize = 64;

/// Carries a stream to its end: until both directions are over and the peer has acknowledged everything. Then it ends
/// the data connection.
pub(crate) async fn pump(node: Arc<Node>, mut stream: PeerStream, data: DataConnection, mut active: ActiveUse) {
    let DataConnection { reader, writer, home } = data;
    let unread = Unread::new(Arc::clone(&active.launch().account), stream.peer());
    let window = Window::new(Arc::clone(&stream.link));
    let (sent, early) = (stream.sent, std::mem::take(&mut stream.early));
    let mut pump = Pump {
        node: Arc::clone(&node),
        bulk: Bulk { link: Arc::clone(&stream.link), counted: false },
        stream,
        reader,
        writer,
        chunk: Bytes::new(),
        sent,
        up: Up::Open,
        down: Direction::Open,
        ended: false,
        deaf: false,
        gone: false,
        window: Some(window),
        unread,
    };
    let carried = match pump.take_early(early) {
        Ok(()) => pump.run(&mut active).await,
        Err(over) => Err(over),
    };
    if let Err(over) = carried {
        pump.stream.link.misbehaved(&node, &over.to_string());
        pump.lost();
    }
    // The stream and its link end here, whatever the plugin does.
    let Pump { reader, writer, ended, deaf, gone, mut unread, stream, window, bulk, chunk, .. } = pump;
    drop((stream, window, bulk, chunk));
    let mut active = Some(active);
    let rest = Rest { reader, writer, ended, gone, deaf, home };
    let taken = |bytes| match bytes {
        Some(bytes) => unread.taken(bytes),
        None => drop(active.take()),
    };
    rest.run(node.timings.finish, taken).await;
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
    /// The plugin has ended or reset its direction, or its connection has been read to its end.
    ended: bool,
    /// The plugin cannot be written to any more. Bytes that it sent before may still be unread.
    deaf: bool,
    /// The data connection has been read to its end.
    gone: bool,
    /// While the direction from the peer is open.
    window: Option<Window>,
    unread: Unread,
    bulk: Bulk,
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

    /// Passes on what the peer sent before the stream was accepted.
    fn take_early(&mut self, Early(bytes): Early) -> Result<(), OverCredit> {
        if !bytes.is_empty() {
            self.received(Ok(Some(1)), &mut [bytes.freeze()])?;
        }
        if self.stream.halves.received {
            self.received(Ok(None), &mut [])?;
        }
        Ok(())
    }

    fn is_told(&self) -> bool {
        self.deaf || !self.writer.is_pending()
    }

    fn is_done(&self) -> bool {
        let up = self.up == Up::Over || (self.up == Up::Ending && self.gone);
        up && self.down == Direction::Over
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
                self.ended = true;
                if self.up == Up::Open {
                    self.stream.halves.finish();
                    self.up = Up::Ending;
                }
            }
            Input::Reset(code) => {
                self.ended = true;
                self.reset(code);
            }
            Input::Stop(code) => {
                self.writer.discard();
                self.stop(code);
            }
            Input::Malformed(error) => {
                tracing::debug!(%error, "data connection closed");
                self.node.counters.gateway_malformed.count();
                (self.gone, self.ended) = (true, true);
                self.reset(ErrorCode::ConnectionLost.number());
                self.writer.stop(ErrorCode::Malformed.number());
                self.writer.reset(ErrorCode::Malformed.number());
                self.stop(ErrorCode::ConnectionLost.number());
            }
            Input::Closed => {
                (self.gone, self.ended) = (true, true);
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
            self.end_down();
        }
    }

    /// Ends the direction from the peer. What is booked for it shrinks to what the plugin has not read.
    fn end_down(&mut self) {
        self.down = Direction::Over;
        self.window = None;
        self.unread.keep(self.writer.queued() as u64);
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
                self.unread.account.sent.add(bytes as u64);
                self.stream.link.sent.add(bytes as u64);
                if self.sent >= LINK_SEND_WINDOW {
                    self.bulk.begin();
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
                let Some(window) = &mut self.window else { return Ok(()) };
                for piece in &mut pieces[..count] {
                    window.flow.handle_received(piece.len())?;
                    self.unread.account.received.add(piece.len() as u64);
                    self.stream.link.received.add(piece.len() as u64);
                    self.writer.push(std::mem::take(piece));
                }
            }
            Ok(None) => {
                self.writer.finish();
                self.stream.halves.received = true;
                self.end_down();
            }
            Err(ReadError::Reset(code)) => {
                self.writer.reset(code_of(code));
                self.stream.halves.received = true;
                self.end_down();
            }
            Err(_) => self.lost(),
        }
        Ok(())
    }

    /// Grants the peer more credit after bytes were written to the plugin.
    fn consumed(&mut self, bytes: usize) {
        match &mut self.window {
            None => self.unread.taken(bytes),
            Some(_) if bytes == 0 => {}
            Some(window) => {
                if let Some(limit) = window.consumed(bytes, &mut self.unread) {
                    self.stream.link.grant(self.stream.id, limit);
                }
            }
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
            self.end_down();
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
            self.writer.reset(number);
            self.stop(number);
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

/// The bytes booked in the plugin's pool for what the peer may send on the stream, and later for what of it the plugin
/// has not read. They are given back as it reads, and all of them when this is dropped.
struct Unread {
    account: Arc<Account>,
    peer: NodeId,
    booked: u64,
}

impl Unread {
    fn new(account: Arc<Account>, peer: NodeId) -> Self {
        account.window_opened(peer, INITIAL_WINDOW);
        Self { account, peer, booked: INITIAL_WINDOW }
    }

    fn grow(&mut self, more: u64) -> bool {
        let grown = self.account.window_grown(self.peer, more);
        if grown {
            self.booked += more;
        }
        grown
    }

    /// Gives back all but `bytes`.
    fn keep(&mut self, bytes: u64) {
        let freed = self.booked.saturating_sub(bytes);
        self.account.window_closed(self.peer, freed);
        self.booked -= freed;
    }

    fn taken(&mut self, bytes: usize) {
        self.keep(self.booked.saturating_sub(bytes as u64));
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        self.keep(0);
    }
}

/// The receive window of the stream. It counts at the link until it is dropped.
struct Window {
    flow: ReceiveWindow,
    link: Arc<PeerLink>,
    /// Bytes counted at the link. They include the initial window only if the node had room for it; otherwise that is
    /// part of the window that every link has.
    entered: u64,
}

impl Window {
    fn new(link: Arc<PeerLink>) -> Self {
        let entered = if link.widen(INITIAL_WINDOW) { INITIAL_WINDOW } else { 0 };
        Self { flow: ReceiveWindow::default(), link, entered }
    }

    fn consumed(&mut self, bytes: usize, unread: &mut Unread) -> Option<u64> {
        self.flow.handle_consumed(bytes);
        let Self { flow, link, entered } = self;
        flow.poll_credit(|more| {
            if !unread.grow(more) {
                return false;
            }
            let widened = link.widen(more);
            if widened {
                *entered += more;
            } else {
                unread.taken(more as usize);
            }
            widened
        })
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.link.windows.shrink(self.entered);
    }
}

/// Whether the stream has sent [`LINK_SEND_WINDOW`] bytes, so that it asks for a wider send window of its link until
/// this is dropped.
struct Bulk {
    link: Arc<PeerLink>,
    counted: bool,
}

impl Bulk {
    fn begin(&mut self) {
        if !std::mem::replace(&mut self.counted, true) {
            self.link.set_send_window(self.link.windows.sends_much());
        }
    }
}

impl Drop for Bulk {
    fn drop(&mut self) {
        if self.counted {
            self.link.set_send_window(self.link.windows.sent_much());
        }
    }
}
