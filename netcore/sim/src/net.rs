//! The simulated network: how long a packet takes from one node to another, and which are lost.
//!
//! Nodes live in cities on a plane of 1 × 1: the delay one way is [`NEAR`] plus the distance times [`FAR`], plus up to a
//! tenth of jitter. Bandwidth is not modelled: messages are small.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::queue::{MS, Micros};

/// One way within a city.
pub const NEAR: Micros = 5 * MS;
/// One way over a distance of 1, in addition; the plane's diagonal is 1.41, so the longest way is 146 ms.
pub const FAR: Micros = 100 * MS;
/// Cities.
const CITIES: usize = 24;
/// How long QUIC waits for an acknowledgement beyond the round trip before it sends a lost packet again.
const PROBE_TIMEOUT: Micros = 25 * MS;

/// How long QUIC waits before it repeats the first packets of a connection (RFC 9002, section 6.2.2: three times a guess of
/// 333 ms).
const FIRST_TIMEOUT: Micros = 999 * MS;

/// What becomes of lost packets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Loss {
    /// None are lost.
    None,
    /// That part of messages is lost, and sent again by QUIC after a round trip and a bit, until they arrive.
    Repaired(f64),
    /// That part of messages never arrives: harsher than QUIC, whose streams repair what is lost.
    Dropped(f64),
}

/// Where a node is.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    x: f32,
    y: f32,
    /// Which half of the network it is in when that is cut in two.
    pub side: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Net {
    rng: StdRng,
    cities: Vec<(f32, f32)>,
    loss: Loss,
    /// Whether the two sides are cut off from each other.
    pub cut: bool,
}

impl Net {
    /// A network whose cities and losses follow from `seed`.
    pub fn new(seed: [u8; 32], loss: Loss) -> Self {
        let mut rng = StdRng::from_seed(seed);
        let cities = (0..CITIES).map(|_| (rng.random(), rng.random())).collect();
        Self { rng, cities, loss, cut: false }
    }

    /// A place for a new node, in or around one of the cities.
    pub fn place(&mut self) -> Place {
        let (x, y) = self.cities[self.rng.random_range(0..CITIES)];
        let mut around = || self.rng.random_range(-0.03..0.03);
        let (x, y) = (x + around(), y + around());
        Place { x, y, side: self.rng.random() }
    }

    /// One way, without jitter or loss.
    pub fn distance(from: Place, to: Place) -> Micros {
        let (x, y) = (from.x - to.x, from.y - to.y);
        NEAR + (FAR as f32 * (x * x + y * y).sqrt()) as Micros
    }

    /// How long a message takes, or `None` when it never arrives.
    pub fn send(&mut self, from: Place, to: Place) -> Option<Micros> {
        if self.is_cut(from, to) {
            return None;
        }
        let way = Self::distance(from, to);
        let mut delay = way + self.rng.random_range(0..=way / 10);
        match self.loss {
            Loss::None => {}
            Loss::Dropped(part) => {
                if self.rng.random_bool(part) {
                    return None;
                }
            }
            Loss::Repaired(part) => {
                let mut wait = 2 * way + PROBE_TIMEOUT;
                while self.rng.random_bool(part) {
                    delay += wait;
                    wait *= 2;
                }
            }
        }
        Some(delay)
    }

    /// How long a connection takes to be made, two round trips, or `None` when the other side cannot be heard. QUIC repeats
    /// what is lost of it, whatever becomes of messages.
    pub fn handshake(&mut self, from: Place, to: Place) -> Option<Micros> {
        if self.is_cut(from, to) {
            return None;
        }
        let part = match self.loss {
            Loss::None => 0.0,
            Loss::Dropped(part) | Loss::Repaired(part) => part,
        };
        let mut took = 0;
        for _ in 0..4 {
            let way = Self::distance(from, to);
            took += way + self.rng.random_range(0..=way / 10);
            let mut wait = FIRST_TIMEOUT;
            while self.rng.random_bool(part) {
                took += wait;
                wait *= 2;
            }
        }
        Some(took)
    }

    /// Whether nothing gets from one to the other at present.
    pub fn is_cut(&self, from: Place, to: Place) -> bool {
        self.cut && from.side != to.side
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_those_of_a_planet() {
        let mut net = Net::new([7; 32], Loss::None);
        let places: Vec<Place> = (0..100).map(|_| net.place()).collect();
        let mut delays: Vec<Micros> = Vec::new();
        for from in &places {
            delays.extend(places.iter().filter_map(|to| net.send(*from, *to)));
        }
        delays.sort_unstable();
        assert_eq!(delays.len(), 10_000);
        assert!(delays[0] >= NEAR && delays[9_999] <= 165 * MS, "{} to {}", delays[0], delays[9_999]);
        assert!((20 * MS..120 * MS).contains(&delays[5_000]), "half within {}", delays[5_000]);
    }

    #[test]
    fn lost_messages_are_late_or_never_arrive() {
        let arrived = |loss| {
            let mut net = Net::new([7; 32], loss);
            let (from, to) = (net.place(), net.place());
            (0..10_000).filter_map(|_| net.send(from, to)).collect::<Vec<Micros>>()
        };
        assert!((9_300..9_700).contains(&arrived(Loss::Dropped(0.05)).len()));
        let repaired = arrived(Loss::Repaired(0.05));
        let fastest = repaired.iter().min().copied().unwrap_or(0);
        let late = repaired.iter().filter(|delay| **delay > 2 * fastest).count();
        assert!(repaired.len() == 10_000 && (300..700).contains(&late), "{late} were late");
    }

    #[test]
    fn a_cut_stops_what_crosses_it() {
        let mut net = Net::new([7; 32], Loss::None);
        let (one, other) = (Place { x: 0.0, y: 0.0, side: false }, Place { x: 0.5, y: 0.0, side: true });
        net.cut = true;
        assert!(net.send(one, other).is_none() && net.send(one, one).is_some());
        net.cut = false;
        assert!(net.send(one, other).is_some());
    }
}
