//! Data connections that are kept when their stream is over, for sessions that asked for it: they wait in
//! [`super::accept`] for their next opening. So a stream costs no new connection.

use std::fmt::Debug;
use std::sync::Weak;

use bytes::BytesMut;
use polypeer_ipc_protocol::limits::MAX_IDLE_CONNECTIONS;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use super::data::{DataReader, DataWriter};
use super::socket::{ReadHalf, WriteHalf};

/// Both halves of a data connection.
#[derive(Debug)]
pub(crate) struct DataConnection {
    pub(crate) reader: DataReader,
    pub(crate) writer: DataWriter,
    pub(crate) home: Home,
}

/// What a data connection asks its session.
pub(super) trait Keeper: Debug + Send + Sync {
    /// A permit to wait for the next opening, if the session still runs and has one left.
    fn idle(&self) -> Option<OwnedSemaphorePermit>;
    /// Becomes true once data connections end with the session.
    fn when_closed(&self) -> watch::Receiver<bool>;
}

/// What a data connection holds, and where it goes when its stream is over.
#[derive(Debug)]
pub(crate) struct Home {
    /// The launch's permit for the connection; released when that is closed.
    permit: OwnedSemaphorePermit,
    /// `None` when the connection was opened before its session asked for kept ones.
    session: Option<Weak<dyn Keeper>>,
    kept: mpsc::Sender<Kept>,
}

/// The permit of a launch for one connection that waits for its next opening.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
}

/// A connection that waits for its next opening.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) reader: ReadHalf,
    pub(super) writer: WriteHalf,
    pub(super) buffer: BytesMut,
    /// As in [`Home`].
    pub(super) permit: OwnedSemaphorePermit,
    /// Dropped when the opening has arrived.
    pub(super) place: Place,
    /// As in [`Keeper::when_closed`].
    pub(super) closed: watch::Receiver<bool>,
}

/// A queue for the kept connections of a launch. It has room for all that have a [`Place`].
pub(super) fn queue() -> (mpsc::Sender<Kept>, mpsc::Receiver<Kept>) {
    mpsc::channel(MAX_IDLE_CONNECTIONS)
}

impl Home {
    pub(super) fn new(
        permit: OwnedSemaphorePermit,
        session: Option<Weak<dyn Keeper>>,
        kept: mpsc::Sender<Kept>,
    ) -> Self {
        Self { permit, session, kept }
    }

    /// A place for the connection to wait in, if its session had asked for that, still runs, and has one left.
    pub(crate) fn place(&self) -> Option<Place> {
        let permit = self.session.as_ref()?.upgrade()?.idle()?;
        Some(Place { _permit: permit })
    }

    /// Lets the connection wait for its next opening. Nothing is pending on it.
    pub(crate) fn keep(self, reader: DataReader, writer: DataWriter, place: Place) {
        let Self { permit, session, kept } = self;
        let Some(closed) = session.and_then(|session| session.upgrade()).map(|session| session.when_closed()) else {
            return;
        };
        let (reader, buffer) = reader.into_parts();
        let writer = writer.into_half();
        // It fails when the launch is over: then the connection is closed.
        let _ = kept.try_send(Kept { reader, writer, buffer, permit, place, closed });
    }
}
