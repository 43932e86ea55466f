//! Congestion control that starts anew when a connection's path changes.
//!
//! quinn keeps one controller per connection for as long as its remote address stays. With [`super::path`] that address
//! stays although the path changes. So each connection gets its own factory. It wraps the stock controller and replaces
//! it by a fresh one at the first call after a switch. Acknowledgements and losses of packets on the old path say
//! nothing about the new one and are not passed on. While such packets are in flight they do not count against the new
//! window; otherwise a slow old path would hold up the new one until it drained. `docs/decisions/` has the figures.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};
use quinn_proto::RttEstimator;

use super::path::Switches;

/// Payload of the largest packet on Ethernet, bytes.
const ETHERNET: u16 = 1_472;
/// Packets in the least window of a path that carries larger ones.
const WINDOW_PACKETS: u64 = 10;

/// Makes the controllers of one connection.
pub(super) struct PathAwareConfig {
    stock: Arc<CubicConfig>,
    switches: Arc<Switches>,
}

impl PathAwareConfig {
    pub(super) fn new(switches: Arc<Switches>) -> Self {
        Self { stock: Arc::new(CubicConfig::default()), switches }
    }
}

impl ControllerFactory for PathAwareConfig {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let since = self.switches.last();
        let inner = Arc::clone(&self.stock).build(now, current_mtu);
        Box::new(PathAware { config: self, inner, since, mtu: current_mtu, in_flight: 0, stale: 0, arrived: false })
    }
}

struct PathAware {
    config: Arc<PathAwareConfig>,
    inner: Box<dyn Controller>,
    /// When the connection switched to the present path; `None` if it never switched.
    since: Option<Instant>,
    mtu: u16,
    /// Bytes in flight on all paths, as quinn has reported them.
    in_flight: u64,
    /// Bytes among them that were sent before the switch.
    stale: u64,
    /// Whether a packet sent after the switch was acknowledged in the present batch.
    arrived: bool,
}

impl PathAware {
    fn follow(&mut self, now: Instant) {
        let last = self.config.switches.last();
        if last != self.since {
            self.since = last;
            self.inner = Arc::clone(&self.config.stock).build(now, self.mtu);
            self.stale = self.in_flight;
        }
    }

    /// The least window, bytes. quinn sends nothing, not even the close of a connection, that would fill the window with
    /// one more packet of full size. The stock window begins at ten packets of 1,200 bytes, which are two of those
    /// that loopback and jumbo networks carry; there it is ten of theirs as well.
    fn least(&self) -> u64 {
        if self.mtu > ETHERNET { WINDOW_PACKETS * u64::from(self.mtu) } else { 0 }
    }

    fn is_stale(&self, sent: Instant) -> bool {
        self.since.is_some_and(|since| sent < since)
    }
}

impl Controller for PathAware {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.follow(now);
        self.in_flight += bytes;
        self.inner.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.follow(now);
        self.in_flight = self.in_flight.saturating_sub(bytes);
        if self.is_stale(sent) {
            self.stale = self.stale.saturating_sub(bytes);
        } else {
            self.arrived = true;
            self.inner.on_ack(now, sent, bytes, app_limited, rtt);
        }
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest: Option<u64>) {
        self.follow(now);
        self.in_flight = in_flight;
        // Packets sent before an acknowledged one have arrived or are about to be declared lost.
        if std::mem::take(&mut self.arrived) {
            self.stale = 0;
        }
        self.stale = self.stale.min(in_flight);
        self.inner.on_end_acks(now, in_flight - self.stale, app_limited, largest);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent: bool, lost_bytes: u64) {
        self.follow(now);
        self.in_flight = self.in_flight.saturating_sub(lost_bytes);
        if self.is_stale(sent) {
            self.stale = self.stale.saturating_sub(lost_bytes);
        } else {
            self.inner.on_congestion_event(now, sent, is_persistent, lost_bytes);
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.mtu = new_mtu;
        self.inner.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        let least = self.least();
        if self.config.switches.last() == self.since {
            self.inner.window().max(least) + self.stale
        } else {
            self.inner.initial_window().max(least) + self.in_flight
        }
    }

    fn metrics(&self) -> ControllerMetrics {
        self.inner.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self { config: Arc::clone(&self.config), inner: self.inner.clone_box(), ..*self })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn controller(start: Instant) -> (Arc<Switches>, Box<dyn Controller>) {
        let switches = Arc::new(Switches::new(start));
        let config = Arc::new(PathAwareConfig::new(Arc::clone(&switches)));
        (switches, config.build(start, 1200))
    }

    const STEP: Duration = Duration::from_millis(10);

    #[test]
    fn window_starts_anew_after_a_switch_and_what_is_under_way_does_not_count() {
        let start = Instant::now();
        let (switches, mut control) = controller(start);
        let initial = control.window();
        control.on_sent(start, 8000, 1);
        control.on_congestion_event(start + STEP, start, false, 1000);
        assert!(control.window() < initial);
        switches.switched(start + 2 * STEP);
        assert_eq!(control.window(), initial + 7000, "at once");
        control.on_sent(start + 3 * STEP, 1000, 2);
        assert_eq!(control.window(), initial + 7000, "8000 are in flight, 7000 of them on the old path");
    }

    #[test]
    fn window_has_room_for_ten_packets_also_where_packets_are_large() {
        let start = Instant::now();
        let (_, mut control) = controller(start);
        let initial = control.window();
        control.on_mtu_update(ETHERNET);
        assert_eq!(control.window(), initial);
        control.on_mtu_update(6500);
        assert_eq!(control.window(), 65_000);
        control.on_sent(start, 8000, 1);
        control.on_congestion_event(start + STEP, start, true, 8000);
        assert_eq!(control.window(), 65_000);
        control.on_mtu_update(1200);
        assert!(control.window() < 20_000, "the path carries no large packets any more");
    }

    #[test]
    fn losses_of_the_old_path_do_not_shrink_the_window_and_those_of_the_new_one_do() {
        let start = Instant::now();
        let (switches, mut control) = controller(start);
        let initial = control.window();
        control.on_sent(start, 8000, 1);
        switches.switched(start + STEP);
        control.on_congestion_event(start + 2 * STEP, start, true, 8000);
        assert_eq!(control.window(), initial);
        control.on_sent(start + 2 * STEP, 1000, 2);
        control.on_congestion_event(start + 3 * STEP, start + 2 * STEP, false, 1000);
        assert!(control.window() < initial);
    }

    #[test]
    fn in_flight_of_the_old_path_is_never_more_than_all_in_flight() {
        let start = Instant::now();
        let (switches, mut control) = controller(start);
        let initial = control.window();
        control.on_sent(start, 8000, 1);
        switches.switched(start + STEP);
        control.on_end_acks(start + 2 * STEP, 3000, false, Some(1));
        assert_eq!(control.window(), initial + 3000);
        control.on_end_acks(start + 3 * STEP, 0, false, Some(1));
        assert_eq!(control.window(), initial);
    }

    #[test]
    fn controller_made_after_a_switch_is_no_older_than_it() {
        let start = Instant::now();
        let switches = Arc::new(Switches::new(start));
        switches.switched(start + STEP);
        let mut control = Arc::new(PathAwareConfig::new(Arc::clone(&switches))).build(start + STEP, 1200);
        let initial = control.window();
        control.on_sent(start + 2 * STEP, 5000, 1);
        assert_eq!(control.window(), initial);
        control.on_congestion_event(start + 3 * STEP, start + 2 * STEP, false, 5000);
        assert!(control.clone_box().window() < initial);
    }
}
