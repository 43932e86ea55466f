//! Tests of each decision of the manager in virtual time, and of its invariants under random sequences.

mod dials;
mod places;
mod random;
mod standing;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use polypeer_ipc_protocol::ids::NodeId;

use super::super::book::Book;
use super::super::watermarks::Marks;
use super::{Action, CloseReason, Ending, Manager, Refusal};
use crate::now::Now;
use crate::source::Source;
use crate::testing::{self, node};

const MINUTE: Duration = Duration::from_secs(60);

/// A public address, of a host and subnet of its own for each number.
fn address(number: u32) -> SocketAddr {
    let [_, a, b, c] = number.to_be_bytes();
    SocketAddr::from(([20 + a, b, c, 1], 7470))
}

/// A node's manager and its clock. The test decides which dials succeed.
struct World {
    manager: Manager,
    now: Now,
    dialed: Vec<NodeId>,
    closed: Vec<(NodeId, CloseReason)>,
}

impl World {
    fn new(low: usize, high: usize) -> Self {
        Self::with(Marks::new(low, high), Book::default())
    }

    fn with(marks: Marks, book: Book) -> Self {
        let now = testing::now();
        let manager = Manager::new(node(u32::MAX), marks, book, [7; 32], now);
        Self { manager, now, dialed: Vec::new(), closed: Vec::new() }
    }

    /// Performs all actions that are due now; a connection that is closed ends at once.
    fn settle(&mut self) -> &mut Self {
        while let Some(action) = self.manager.poll(self.now) {
            match action {
                Action::Dial { node, .. } => self.dialed.push(node),
                Action::Close { node, why } => {
                    self.closed.push((node, why));
                    self.manager.down(self.now, &node, Ending::Deliberate);
                }
            }
        }
        self
    }

    fn pass(&mut self, time: Duration) -> &mut Self {
        let end = self.now.after(time);
        // Polls at each timeout, like a driver.
        while let Some(at) = self.manager.next_timeout().filter(|at| *at <= end.at) {
            let later = at.saturating_duration_since(self.now.at);
            self.now = self.now.after(later);
            self.settle();
        }
        self.now = end;
        self.settle()
    }

    fn found(&mut self, numbers: std::ops::Range<u32>, source: Source) -> &mut Self {
        for number in numbers {
            self.manager.found(self.now, node(number), &[address(number)], source);
        }
        self
    }

    fn connected(&mut self, number: u32, outgoing: bool) -> &mut Self {
        self.manager.dial_ended(self.now, &node(number), true);
        let (at, source) = (address(number), if outgoing { Source::Exchange } else { Source::Incoming });
        self.manager.up(self.now, node(number), at.ip(), Some(at), source, outgoing);
        self
    }

    /// A peer dials this node; the connection is kept if it is admitted.
    fn incoming(&mut self, number: u32, ip: IpAddr) -> Result<(), Refusal> {
        let admission = self.manager.admit(self.now, node(number), ip)?;
        self.manager.up(self.now, node(number), ip, None, Source::Incoming, false);
        self.manager.settled(admission);
        self.settle();
        Ok(())
    }

    /// All dials in progress succeed.
    fn answer_all(&mut self) -> &mut Self {
        for dialed in std::mem::take(&mut self.dialed) {
            let number = u32::from_be_bytes(dialed.0[..4].try_into().expect("4 bytes"));
            self.connected(number, true);
        }
        self.settle()
    }
}
