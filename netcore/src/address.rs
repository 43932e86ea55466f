//! Address records: a node's own signed statement of where it can be reached. They are what peers tell each other of
//! third nodes (peer exchange, the DHT's contacts), so that nobody can put words into another's mouth; and what makes
//! addresses count as one for limits.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use polypeer_ipc_protocol::codec;
use polypeer_ipc_protocol::ids::NodeId;
use polypeer_ipc_protocol::record::Signature;
use serde::{Deserialize, Serialize};

use crate::keys::Keys;
use crate::now::Now;

/// Addresses in a record: IPv4 and IPv6 of a few interfaces.
pub const MAX_RECORD_ADDRESSES: usize = 8;
/// How long a record is good after it was signed, seconds; its owner signs a new one well before.
pub const RECORD_LIFETIME: u64 = 24 * 3600;
/// How far in the future a record's time may be: clocks differ.
pub const CLOCK_SKEW: u64 = 600;
/// Before what is signed, so that a signature for one use is none for another.
const SIGNED: &[u8] = b"polypeer/1 address\0";

/// Where `node` says it can be reached: addresses of one [`Zone`], each of which a peer has dialed back. A node signs one for
/// each zone it is reached in, so that a record can be told, or not, as a whole. The newest `sequence` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressRecord {
    /// Whose.
    pub node: NodeId,
    /// Best first; at most [`MAX_RECORD_ADDRESSES`].
    pub addresses: Vec<SocketAddr>,
    /// Grows with every change.
    pub sequence: u64,
    /// When it was signed, Unix seconds.
    pub time: u64,
    /// Of all before it.
    pub signature: Signature,
}

/// Why a record is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// No address, or too many, or of several zones, or one nobody can be dialed at.
    #[error("an address record has 1 to {MAX_RECORD_ADDRESSES} addresses of one zone, with a port")]
    Addresses,
    /// Too old, or from the future.
    #[error("an address record's time is out of its {RECORD_LIFETIME} s")]
    Time,
    /// Not signed by its node.
    #[error("an address record's signature is wrong")]
    Signature,
}

impl AddressRecord {
    /// Makes and signs this node's record.
    pub fn sign(keys: &dyn Keys, addresses: Vec<SocketAddr>, sequence: u64, now: Now) -> Self {
        let signature = Signature([0; 64]);
        let mut record = Self { node: keys.node(), addresses, sequence, time: now.unix, signature };
        record.signature = keys.sign(&record.signed_bytes());
        record
    }

    /// What the signature covers: [`SIGNED`], then the fields before it as they are on the wire.
    fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256); // one of a few addresses
        bytes.extend_from_slice(SIGNED);
        let fields = (&self.node, &self.addresses, self.sequence, self.time);
        codec::encode(&fields, &mut bytes).expect("a record is small");
        bytes
    }

    /// Fails unless everything about it is right at this moment. Does the cheap checks first.
    pub fn check(&self, keys: &dyn Keys, now: Now) -> Result<(), BadRecord> {
        let count = self.addresses.len();
        let zone = self.zone();
        let fits = |address: &SocketAddr| dialable(*address) && Zone::of(address.ip()) == zone;
        if count == 0 || count > MAX_RECORD_ADDRESSES || !self.addresses.iter().all(fits) {
            return Err(BadRecord::Addresses);
        }
        if self.time > now.unix + CLOCK_SKEW || self.is_expired(now) {
            return Err(BadRecord::Time);
        }
        if !keys.verify(&self.node, &self.signed_bytes(), &self.signature) {
            return Err(BadRecord::Signature);
        }
        Ok(())
    }

    /// Where its addresses mean something.
    pub fn zone(&self) -> Zone {
        self.addresses.first().map_or(Zone::Loopback, |address| Zone::of(address.ip()))
    }

    /// Whether it is too old to be believed or passed on.
    pub fn is_expired(&self, now: Now) -> bool {
        now.unix > self.time.saturating_add(RECORD_LIFETIME)
    }
}

fn dialable(address: SocketAddr) -> bool {
    address.port() != 0 && !address.ip().is_unspecified() && !address.ip().is_multicast()
}

/// Who is told of an address, and who counts as a neighbour of whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Zone {
    /// This machine.
    Loopback,
    /// A private network.
    Private,
    /// The internet.
    Public,
}

impl Zone {
    /// Where `ip` means something.
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(v4) if v4.is_loopback() => Self::Loopback,
            IpAddr::V6(v6) if v6.is_loopback() => Self::Loopback,
            IpAddr::V4(v4) if v4.is_private() || v4.is_link_local() || is_shared(v4) => Self::Private,
            IpAddr::V6(v6) if v6.is_unique_local() || v6.is_unicast_link_local() => Self::Private,
            _ => Self::Public,
        }
    }

    /// Whether an address in zone `self` may be told to a peer in zone `peer`: nobody learns of addresses that mean
    /// something else where it is.
    pub fn is_told_to(self, peer: Self) -> bool {
        match self {
            Self::Public => peer == Self::Public || peer == Self::Private,
            same => same == peer,
        }
    }
}

/// 100.64.0.0/10, carrier-grade NAT (RFC 6598).
fn is_shared(ip: Ipv4Addr) -> bool {
    let [first, second, ..] = ip.octets();
    first == 100 && second & 0xc0 == 64
}

/// What one owner likely holds all of: an IPv4 /24 or an IPv6 /48. Limits per subnet count these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subnet {
    /// The first 24 bits.
    V4([u8; 3]),
    /// The first 48 bits.
    V6([u8; 6]),
}

impl Subnet {
    /// The one `ip` is in.
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, ..] = Ipv6Addr::octets(&v6);
                Self::V6([a, b, c, d, e, f])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    fn record(identity: &Identity, address: &str, now: Now) -> AddressRecord {
        AddressRecord::sign(identity, vec![address.parse().expect("an address")], 1, now)
    }

    #[test]
    fn only_the_owner_can_sign_and_only_for_a_day() {
        let (owner, now) = (Identity::generate(), Now::real());
        let good = record(&owner, "192.0.2.1:7470", now);
        assert_eq!(good.check(&owner, now), Ok(()));
        let moved = AddressRecord { addresses: vec!["192.0.2.2:7470".parse().expect("an address")], ..good.clone() };
        assert_eq!(moved.check(&owner, now), Err(BadRecord::Signature));
        let other = AddressRecord { node: Identity::generate().node(), ..good.clone() };
        assert_eq!(other.check(&owner, now), Err(BadRecord::Signature));
        let later = Now { unix: now.unix + RECORD_LIFETIME + 1, ..now };
        assert_eq!(good.check(&owner, later), Err(BadRecord::Time));
        assert_eq!(good.check(&owner, Now { unix: now.unix - CLOCK_SKEW - 1, ..now }), Err(BadRecord::Time));
        let addresses = ["192.0.2.1:1", "10.0.0.1:1"].map(|text| text.parse().expect("an address")).to_vec();
        assert_eq!(AddressRecord::sign(&owner, addresses, 1, now).check(&owner, now), Err(BadRecord::Addresses));
        let nowhere = record(&owner, "0.0.0.0:1", now);
        assert_eq!(nowhere.check(&owner, now), Err(BadRecord::Addresses));
    }

    #[test]
    fn private_addresses_are_not_told_to_public_peers() {
        let zone = |text: &str| Zone::of(text.parse().expect("an address"));
        for (text, expected) in [
            ("127.0.0.1", Zone::Loopback),
            ("::1", Zone::Loopback),
            ("::ffff:10.0.0.1", Zone::Private),
            ("192.168.1.1", Zone::Private),
            ("169.254.1.1", Zone::Private),
            ("100.64.0.1", Zone::Private),
            ("fd00::1", Zone::Private),
            ("fe80::1", Zone::Private),
            ("100.128.0.1", Zone::Public),
            ("203.0.114.1", Zone::Public),
            ("2001:4860::1", Zone::Public),
        ] {
            assert_eq!(zone(text), expected, "{text}");
        }
        assert!(!Zone::Private.is_told_to(Zone::Public) && !Zone::Loopback.is_told_to(Zone::Private));
        assert!(Zone::Public.is_told_to(Zone::Private) && Zone::Loopback.is_told_to(Zone::Loopback));
    }
}
