//! A stream between two plugins of this node: bytes from one data connection are written to the other. One task owns
//! both connections and both directions; `rest` ends each connection when both directions are over.

use std::time::Duration;

use polypeer_ipc_protocol::error::ErrorCode;

use super::Direction;
use super::rest::Rest;
use crate::counters::Counters;
use crate::gateway::data::{DataReader, DataWriter, Input};
use crate::gateway::keep::{DataConnection, Home};
use crate::gateway::launch::ActiveUse;
use crate::limits::SPLICE_BACKLOG;

/// Carries the stream to its end: until both directions are over, each plugin knows whether what it wrote has arrived, and
/// both connections have ended. `finish` is the time that a plugin has for the last step.
pub(crate) async fn run(
    counters: &Counters,
    near: DataConnection,
    near_use: ActiveUse,
    far: DataConnection,
    far_use: ActiveUse,
    finish: Duration,
) {
    let DataConnection { reader: near_reader, writer: near_writer, home: near_home } = near;
    let DataConnection { reader: far_reader, writer: far_writer, home: far_home } = far;
    let mut splice = Splice {
        near: End {
            reader: near_reader,
            writer: near_writer,
            sends: Direction::Open,
            ended: false,
            deaf: false,
            gone: false,
            finished: false,
        },
        far: End {
            reader: far_reader,
            writer: far_writer,
            sends: Direction::Open,
            ended: false,
            deaf: false,
            gone: false,
            finished: false,
        },
    };
    let (near_use, far_use) = splice.run(counters, near_use, far_use).await;
    let Splice { near, far } = splice;
    tokio::join!(near.finish(near_home, near_use, finish), far.finish(far_home, far_use, finish));
}

struct Splice {
    near: End,
    far: End,
}

/// One plugin's end of the stream.
struct End {
    reader: DataReader,
    writer: DataWriter,
    /// The direction that this plugin writes.
    sends: Direction,
    /// The plugin has ended or reset that direction, or its connection has been read to its end.
    ended: bool,
    /// The plugin cannot be written to any more. Bytes that it sent before may still be unread.
    deaf: bool,
    /// The connection has been read to its end.
    gone: bool,
    /// The plugin has written everything and was not yet told that all of it arrived.
    finished: bool,
}

impl Splice {
    async fn run(
        &mut self,
        counters: &Counters,
        mut near_use: ActiveUse,
        mut far_use: ActiveUse,
    ) -> (ActiveUse, ActiveUse) {
        loop {
            let open = self.is_open();
            let Self { near, far } = self;
            confirm(near, far);
            confirm(far, near);
            if !open && !near.finished && !far.finished {
                return (near_use, far_use);
            }
            let (near_told, far_told) = (near.is_told(), far.is_told());
            let (read_near, read_far) = (near.may_read(far), far.may_read(near));
            tokio::select! {
                flushed = near.writer.flush_some(), if !near_told => if flushed.is_err() { deafen(near, far) },
                flushed = far.writer.flush_some(), if !far_told => if flushed.is_err() { deafen(far, near) },
                input = near.reader.next(), if read_near => pass(counters, near, far, input),
                input = far.reader.next(), if read_far => pass(counters, far, near, input),
                code = near_use.revoked(), if open => self.cut(code),
                code = far_use.revoked(), if open => self.cut(code),
            }
            tokio::task::coop::consume_budget().await;
        }
    }

    fn is_open(&self) -> bool {
        self.near.sends == Direction::Open || self.far.sends == Direction::Open
    }

    fn cut(&mut self, code: ErrorCode) {
        end(&mut self.near, &mut self.far, code);
        end(&mut self.far, &mut self.near, code);
    }
}

/// Tells `from` that everything it wrote has arrived, once the last of it is written to `to`.
fn confirm(from: &mut End, to: &End) {
    if from.finished && to.is_told() {
        let code = if to.deaf { ErrorCode::ConnectionLost } else { ErrorCode::Complete };
        from.writer.stop(code.number());
        from.finished = false;
    }
}

/// Ends the direction that `from` writes, if it is open, for a reason outside both plugins.
fn end(from: &mut End, to: &mut End, code: ErrorCode) {
    if from.sends == Direction::Open {
        to.writer.reset(code.number());
        from.writer.stop(code.number());
        from.sends = Direction::Over;
    }
}

impl End {
    /// Whether there is nothing left to write to this plugin.
    fn is_told(&self) -> bool {
        self.deaf || !self.writer.is_pending()
    }

    async fn finish(self, home: Home, active: ActiveUse, limit: Duration) {
        let Self { reader, writer, ended, deaf, gone, .. } = self;
        let mut active = Some(active);
        let taken = |bytes: Option<usize>| {
            if bytes.is_none() {
                drop(active.take());
            }
        };
        Rest { reader, writer, ended, gone, deaf, home }.run(limit, taken).await;
    }

    fn may_read(&self, other: &Self) -> bool {
        !self.gone && (other.deaf || self.sends == Direction::Over || other.writer.queued() < SPLICE_BACKLOG)
    }
}

/// Passes an input from `from` on to `to`.
fn pass(counters: &Counters, from: &mut End, to: &mut End, input: Input) {
    match input {
        Input::Data(bytes) => {
            if from.sends == Direction::Open {
                to.writer.push(bytes);
            }
        }
        Input::Fin => {
            from.ended = true;
            if from.sends == Direction::Open {
                to.writer.finish();
                from.sends = Direction::Over;
                from.finished = true;
            }
        }
        Input::Reset(code) => {
            from.ended = true;
            if from.sends == Direction::Open {
                to.writer.reset(code);
                from.sends = Direction::Over;
            }
        }
        Input::Stop(code) => {
            from.writer.discard();
            if to.sends == Direction::Open || std::mem::take(&mut to.finished) {
                to.writer.stop(code);
                to.sends = Direction::Over;
            }
        }
        Input::Malformed(error) => {
            tracing::debug!(%error, "data connection closed");
            counters.gateway_malformed.count();
            (from.gone, from.ended) = (true, true);
            let lost = ErrorCode::ConnectionLost.number();
            if std::mem::replace(&mut from.sends, Direction::Over) == Direction::Open {
                to.writer.reset(lost);
            }
            if std::mem::replace(&mut to.sends, Direction::Over) == Direction::Open {
                to.writer.stop(lost);
            }
            from.writer.stop(ErrorCode::Malformed.number());
            from.writer.reset(ErrorCode::Malformed.number());
        }
        Input::Closed => {
            (from.gone, from.ended) = (true, true);
            if from.sends == Direction::Open {
                to.writer.reset(ErrorCode::ConnectionLost.number());
                from.sends = Direction::Over;
            }
            deafen(from, to);
        }
    }
}

/// Marks `end` as not writable, because its connection is closed, and stops the direction that `other` writes.
fn deafen(end: &mut End, other: &mut End) {
    end.deaf = true;
    if other.sends == Direction::Open {
        other.writer.stop(ErrorCode::ConnectionLost.number());
        other.sends = Direction::Over;
    }
}
