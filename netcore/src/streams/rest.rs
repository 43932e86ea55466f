//! The rest of a data connection whose stream is over for the other side: the plugin gets what it has not read yet, and
//! may still end its own direction. `pump` and `splice` hand their data connections over to it.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::gateway::data::{DataReader, DataWriter, Input};
use crate::gateway::keep::Home;

/// A data connection whose stream is over for the other side.
pub(super) struct Rest {
    pub(super) reader: DataReader,
    pub(super) writer: DataWriter,
    /// The plugin has ended or reset its direction, or its connection has been read to its end.
    pub(super) ended: bool,
    /// Nothing more can be read from the connection.
    pub(super) gone: bool,
    /// The plugin cannot be written to any more.
    pub(super) deaf: bool,
    pub(super) home: Home,
}

impl Rest {
    /// Writes what is left and discards what the plugin still sends, until the plugin has taken everything and ended its
    /// direction, or has closed the connection. Bytes and ends that the other side wrote wait for the plugin as long as
    /// it takes to read them; once there are none, it has `limit` to take the codes and to end its direction. Calls
    /// `taken` with the number of bytes that the plugin took, and once with `None` when there are no more for it. A
    /// connection that a plugin wants kept, and whose frames have all been read, then waits for its next opening.
    pub(super) async fn run(mut self, limit: Duration, mut taken: impl FnMut(Option<usize>)) {
        let (mut deadline, mut place) = (None, None);
        loop {
            if place.is_none() && self.ended && !self.gone && self.writer.queued() == 0 {
                place = self.home.place();
                if place.is_some() {
                    self.writer.keep();
                }
            }
            let is_told = self.deaf || !self.writer.is_pending();
            if self.deaf || (is_told && self.ended) {
                if let Some(place) = place.filter(|_| !self.deaf) {
                    self.home.keep(self.reader, self.writer, place);
                }
                return taken(None);
            }
            if deadline.is_none() && !self.writer.delivers() {
                taken(None);
                deadline = Some(Instant::now() + limit);
            }
            tokio::select! {
                flushed = self.writer.flush_some(), if !is_told => match flushed {
                    Ok(bytes) => taken(Some(bytes)),
                    Err(_) => self.deaf = true,
                },
                // What a plugin sends once it knows that the connection is kept is the next opening.
                input = self.reader.next(), if !self.gone && place.is_none() => self.handle(input),
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => return,
            }
            tokio::task::coop::consume_budget().await;
        }
    }

    fn handle(&mut self, input: Input) {
        match input {
            Input::Data(_) => {} // nobody reads it any more
            Input::Fin | Input::Reset(_) => self.ended = true,
            Input::Stop(_) => self.writer.discard(),
            Input::Closed | Input::Malformed(_) => (self.gone, self.ended) = (true, true),
        }
    }
}
