//! The simulated network: delay and loss of packets between nodes.
//!
//! Nodes live in cities on a plane of 1 × 1. The one-way delay is [`NEAR`] plus the distance times [`FAR`], plus up to
//! a tenth of that as jitter. Bandwidth is not modelled: messages are small.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::queue::{MS, Micros};

/// One-way delay within a city.
pub const NEAR: Micros = 5 * MS;
/// Additional one-way delay over a distance of 1. The plane's diagonal is 1.41, so that the longest delay is 146 ms.
pub const FAR: Micros = 100 * MS;
const CITIES: usize = 24;
/// Time beyond the round trip that QUIC waits for an acknowledgement before it resends a packet.
const PROBE_TIMEOUT: Micros = 25 * MS;

/// Time after which QUIC resends the first packets of a connection: three times the assumed round trip of 333 ms (RFC
/// 9002, section 6.2.2).
const FIRST_TIMEOUT: Micros = 999 * MS;

/// Loss of messages.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Loss {
    None,
    /// This share of messages is lost; QUIC resends each after a round trip and [`PROBE_TIMEOUT`], until it arrives.
    Repaired(f64),
    /// This share of messages never arrives: harsher than QUIC, whose streams resend what is lost.
    Dropped(f64),
}

/// A node's place on the plane.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    x: f32,
    y: f32,
    /// The half of the network that it is in while the network is cut in two.
    pub side: bool,
}

/// The network's cities, loss and partition.
#[derive(Debug)]
pub struct Net {
    rng: StdRng,
    cities: Vec<(f32, f32)>,
    loss: Loss,
    /// Whether the two halves are cut off from each other.
    pub cut: bool,
}

impl Net {
    /// Makes a network; its cities and losses follow from `seed`.
    pub fn new(seed: [u8; 32], loss: Loss) -> Self {
        let mut rng = StdRng::from_seed(seed);
        let cities = (0..CITIES).map(|_| (rng.random(), rng.random())).collect();
        Self { rng, cities, loss, cut: false }
    }

    /// Picks a place for a new node, in or around a city.
    pub fn place(&mut self) -> Place {
        let (x, y) = self.cities[self.rng.random_range(0..CITIES)];
        let mut around = || self.rng.random_range(-0.03..0.03);
        let (x, y) = (x + around(), y + around());
        Place { x, y, side: self.rng.random() }
    }

    /// One-way delay without jitter or loss.
    pub fn distance(from: Place, to: Place) -> Micros {
        let (x, y) = (from.x - to.x, from.y - to.y);
        NEAR + (FAR as f32 * (x * x + y * y).sqrt()) as Micros
    }

    /// One-way delay of a message; `None` when it never arrives.
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

    /// Time of a handshake, two round trips; `None` when the network is cut between the two. QUIC resends its lost
    /// packets whatever [`Loss`] says about messages.
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

    /// Whether the network is cut between the two.
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
