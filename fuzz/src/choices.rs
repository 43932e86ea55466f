//! Input bytes read as choices: which operation, by which peer, with which values. A used-up input gives the first
//! choice.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use arbitrary::Unstructured;
use polypeer_engine::now::Now;
use polypeer_ipc_protocol::ids::{Hash, Name, NodeId, Protocol};

/// Most operations of one input; libFuzzer's inputs are short anyway.
const STEPS: usize = 2000;

/// Choices read from an input, with a virtual clock.
pub struct Choices<'a> {
    input: Unstructured<'a>,
    steps: usize,
    now: Now,
}

impl<'a> Choices<'a> {
    /// Reads choices from `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        let now = Now { at: Instant::now() + Duration::from_secs(3600), unix: 1_900_000_000 };
        Self { input: Unstructured::new(bytes), steps: 0, now }
    }

    /// Whether to run one more operation.
    pub fn go_on(&mut self) -> bool {
        self.steps += 1;
        self.steps <= STEPS && !self.input.is_empty()
    }

    /// A number below `end`, which must not be 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.input.int_in_range(0..=end - 1).unwrap_or(0)
    }

    pub fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    pub fn number(&mut self) -> u64 {
        self.input.arbitrary().unwrap_or(0)
    }

    /// Up to `most` bytes.
    pub fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = self.below(most + 1).min(self.input.len());
        self.input.bytes(length).map(<[u8]>::to_vec).unwrap_or_default()
    }

    /// An element of `list`, which must not be empty.
    pub fn of<'b, T>(&mut self, list: &'b [T]) -> &'b T {
        &list[self.below(list.len())]
    }

    /// The present virtual time.
    pub fn now(&self) -> Now {
        self.now
    }

    /// Advances the clock by 0 s to 55 hours, and returns its time.
    pub fn pass_time(&mut self) -> Now {
        let wait = match self.below(6) {
            0 => Duration::ZERO,
            1 => Duration::from_millis(self.below(100) as u64),
            2 => Duration::from_millis(self.below(10_000) as u64),
            3 => Duration::from_secs(self.below(600) as u64),
            4 => Duration::from_secs(self.below(10_000) as u64),
            _ => Duration::from_secs(self.below(200_000) as u64),
        };
        self.now = self.now.after(wait);
        self.now
    }

    /// One of `most` node ids.
    pub fn node(&mut self, most: usize) -> NodeId {
        crate::keys::node(self.below(most))
    }

    /// One of a few protocols.
    pub fn protocol(&mut self) -> Protocol {
        let name = format!("p{}/1", self.below(6));
        name.parse().expect("a protocol")
    }

    /// One of a few names.
    pub fn name(&mut self) -> Name {
        let name = format!("a/{}", self.below(6));
        name.parse().expect("a name")
    }

    /// One of a few hashes.
    pub fn hash(&mut self) -> Hash {
        Hash([self.below(8) as u8; 32])
    }

    /// An IP address of any kind; often one of a few.
    pub fn ip(&mut self) -> IpAddr {
        match self.below(8) {
            0 => Ipv4Addr::LOCALHOST.into(),
            1 => Ipv4Addr::new(10, 0, 0, self.below(256) as u8).into(),
            2 => Ipv4Addr::from(self.number() as u32).into(),
            3 => Ipv6Addr::LOCALHOST.into(),
            4 => Ipv6Addr::from(u128::from(self.number()) << 64 | 1).into(),
            5 => Ipv4Addr::new(203, 0, self.below(4) as u8, self.below(8) as u8).to_ipv6_mapped().into(),
            _ => Ipv4Addr::new(203, 0, self.below(4) as u8, self.below(8) as u8).into(),
        }
    }

    /// An IP address with a port, sometimes 0.
    pub fn address(&mut self) -> SocketAddr {
        let port = if self.below(16) == 0 { 0 } else { 7470 + self.below(4) as u16 };
        SocketAddr::new(self.ip(), port)
    }

    /// Up to `most` addresses.
    pub fn addresses(&mut self, most: usize) -> Vec<SocketAddr> {
        (0..self.below(most + 1)).map(|_| self.address()).collect()
    }

    /// A random seed for a state machine.
    pub fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.number().to_le_bytes());
        seed
    }
}
