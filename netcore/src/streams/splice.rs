//! A stream between two plugins of this node: what one data connection brings goes out on the other. One task owns both
//! connections and both directions.

use polypeer_ipc_protocol::error::ErrorCode;

use super::Direction;
use crate::counters::Counters;
use crate::gateway::data::{DataConnection, DataReader, DataWriter, Input};
use crate::gateway::launch::ActiveUse;
use crate::limits::SPLICE_BACKLOG;

/// Carries the stream to its end: until both directions are over and both plugins were told.
pub(crate) async fn run(
    counters: &Counters,
    near: DataConnection,
    near_use: ActiveUse,
    far: DataConnection,
    far_use: ActiveUse,
) {
    let DataConnection { reader: near_reader, writer: near_writer, permit: _near } = near;
    let DataConnection { reader: far_reader, writer: far_writer, permit: _far } = far;
    let mut splice = Splice {
        near: End {
            reader: near_reader,
            writer: near_writer,
            sends: Direction::Open,
            deaf: false,
            gone: false,
            finished: false,
        },
        far: End {
            reader: far_reader,
            writer: far_writer,
            sends: Direction::Open,
            deaf: false,
            gone: false,
            finished: false,
        },
    };
    splice.run(counters, near_use, far_use).await;
}

struct Splice {
    near: End,
    far: End,
}

/// One plugin's end.
struct End {
    reader: DataReader,
    writer: DataWriter,
    /// The direction this plugin writes.
    sends: Direction,
    /// It cannot be written to any more; what it sent before it went may still be there.
    deaf: bool,
    /// Nothing more comes from it.
    gone: bool,
    /// It has written everything, and was not yet told that all of it arrived.
    finished: bool,
}

impl Splice {
    async fn run(&mut self, counters: &Counters, mut near_use: ActiveUse, mut far_use: ActiveUse) {
        loop {
            let open = self.is_open();
            let Self { near, far } = self;
            confirm(near, far);
            confirm(far, near);
            let (near_told, far_told) = (near.is_told(), far.is_told());
            if !open && near_told && far_told {
                return;
            }
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

/// Tells `from` that all it wrote has arrived, once `to` has been given the last of it.
fn confirm(from: &mut End, to: &End) {
    if from.finished && to.is_told() {
        let code = if to.deaf { ErrorCode::ConnectionLost } else { ErrorCode::Complete };
        from.writer.stop(code.number());
        from.finished = false;
    }
}

/// Ends what `from` writes, if it has not ended, by neither plugin's doing.
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

    fn may_read(&self, other: &Self) -> bool {
        !self.gone && (other.deaf || self.sends == Direction::Over || other.writer.queued() < SPLICE_BACKLOG)
    }
}

/// What `from` sent goes to `to`.
fn pass(counters: &Counters, from: &mut End, to: &mut End, input: Input) {
    match input {
        Input::Data(bytes) => {
            if from.sends == Direction::Open {
                to.writer.push(bytes);
            }
        }
        Input::Fin => {
            if from.sends == Direction::Open {
                to.writer.finish();
                from.sends = Direction::Over;
                from.finished = true;
            }
        }
        Input::Reset(code) => {
            if from.sends == Direction::Open {
                to.writer.reset(code);
                from.sends = Direction::Over;
            }
        }
        Input::Stop(code) => {
            if to.sends == Direction::Open {
                to.writer.stop(code);
                to.sends = Direction::Over;
            }
        }
        Input::Malformed(error) => {
            tracing::debug!(%error, "data connection closed");
            counters.gateway_malformed.count();
            pass(counters, from, to, Input::Closed);
        }
        Input::Closed => {
            from.gone = true;
            if from.sends == Direction::Open {
                to.writer.reset(ErrorCode::ConnectionLost.number());
                from.sends = Direction::Over;
            }
            deafen(from, to);
        }
    }
}

/// `end` reads no more, since its connection is closed.
fn deafen(end: &mut End, other: &mut End) {
    end.deaf = true;
    if other.sends == Direction::Open {
        other.writer.stop(ErrorCode::ConnectionLost.number());
        other.sends = Direction::Over;
    }
}
