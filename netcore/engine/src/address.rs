//! Address records: a node's own signed statements of where it can be reached; and the zones and subnets of addresses.
//!
//! Peers tell each other of third nodes only by these records (peer exchange, the DHT's contacts), so nobody can speak
//! for another node. Limits count the addresses of one [`Subnet`] together.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use polypeer_ipc_protocol::codec;
use polypeer_ipc_protocol::ids::NodeId;
use polypeer_ipc_protocol::record::Signature;
use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::keys::Keys;
use crate::now::Now;

/// Most addresses in a record: IPv4 and IPv6 of a few interfaces.
pub const MAX_RECORD_ADDRESSES: usize = 8;
/// Most public networks (/24 or /48) of each address family in a record: those of two lines, or the old and the new one
/// of a node that moves. A record counts in each network that it names, and everybody who holds it may send packets
/// there; so a record may not name many.
pub const MAX_RECORD_NETWORKS: usize = 2;
/// Seconds for which a record is valid after it was signed; its owner signs a new one well before its expiry.
pub const RECORD_LIFETIME: u64 = 24 * 3600;
/// Seconds by which a record's time may be in the future: clocks differ.
pub const CLOCK_SKEW: u64 = 600;
/// Prefix of the signed bytes, so that a signature for one use is not valid for another.
const SIGNED: &[u8] = b"polypeer/1 address\0";

/// A node's signed statement of where it can be reached: addresses of one [`Zone`], each of which a peer has dialed
/// back. A node signs one record for each zone in which it is reached, so that a record is passed on as a whole or not
/// at all. The record with the highest `sequence` counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressRecord {
    /// The owner, whose key signs the record.
    pub node: NodeId,
    /// Best first. Decoding rejects more than [`MAX_RECORD_ADDRESSES`]: what runs before the signature is checked takes
    /// time in proportion to their number.
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_RECORD_ADDRESSES>")]
    pub addresses: Vec<SocketAddr>,
    /// Grows with every change.
    pub sequence: u64,
    /// When it was signed, Unix seconds.
    pub time: u64,
    /// Covers [`SIGNED`] and all fields before it.
    pub signature: Signature,
}

/// Why a record is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// It has no address, too many, or addresses of several zones or of too many networks, or one that cannot be
    /// dialed.
    #[error(
        "an address record has 1 to {MAX_RECORD_ADDRESSES} addresses of one zone, with a port, and of each family at \
         most {MAX_RECORD_NETWORKS} public networks"
    )]
    Addresses,
    /// It has expired, or its time is in the future.
    #[error("an address record's time is in the future, or more than {RECORD_LIFETIME} s ago")]
    Time,
    /// Its signature is not by its owner.
    #[error("an address record's signature is wrong")]
    Signature,
}

impl AddressRecord {
    /// Creates and signs a record of this node.
    pub fn sign(keys: &dyn Keys, addresses: Vec<SocketAddr>, sequence: u64, now: Now) -> Self {
        let signature = Signature([0; 64]);
        let mut record = Self { node: keys.node(), addresses, sequence, time: now.unix, signature };
        record.signature = keys.sign(&record.signed_bytes());
        record
    }

    /// The bytes that the signature covers: [`SIGNED`], then the fields before the signature, as they are on the wire.
    fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256); // one of a few addresses
        bytes.extend_from_slice(SIGNED);
        let fields = (&self.node, &self.addresses, self.sequence, self.time);
        codec::encode(&fields, &mut bytes).expect("a record is small");
        bytes
    }

    /// Checks addresses, time and signature, the cheap checks first.
    pub fn check(&self, keys: &dyn Keys, now: Now) -> Result<(), BadRecord> {
        self.check_form(now)?;
        if !keys.verify(&self.node, &self.signed_bytes(), &self.signature) {
            return Err(BadRecord::Signature);
        }
        Ok(())
    }

    /// The cheap part of [`Self::check`]: all but the signature.
    pub fn check_form(&self, now: Now) -> Result<(), BadRecord> {
        let count = self.addresses.len();
        let zone = self.zone();
        let fits = |address: &SocketAddr| dialable(*address) && Zone::of(address.ip()) == zone;
        if count == 0 || count > MAX_RECORD_ADDRESSES || !self.addresses.iter().all(fits) {
            return Err(BadRecord::Addresses);
        }
        if !of_few_networks(&self.addresses).all(|few| few) {
            return Err(BadRecord::Addresses);
        }
        if self.time > now.unix.saturating_add(CLOCK_SKEW) || self.is_expired(now) {
            return Err(BadRecord::Time);
        }
        Ok(())
    }

    /// The zone of its addresses.
    pub fn zone(&self) -> Zone {
        self.addresses.first().map_or(Zone::Loopback, |address| Zone::of(address.ip()))
    }

    /// Whether this record fits an owner whose packets come from `ip`. A record of public addresses fits if it has that
    /// IPv4 address, or an address in that IPv6 /64. So an owner cannot send others to somebody else's addresses. The
    /// record also fits where this cannot be known: it has no address of that family, or the record or `ip` is not
    /// public.
    pub fn may_be_at(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let same_family = |address: &&SocketAddr| address.ip().to_canonical().is_ipv4() == ip.is_ipv4();
        let mut known = self.addresses.iter().filter(same_family).peekable();
        let here = |address: &SocketAddr| match (address.ip().to_canonical(), ip) {
            (IpAddr::V6(one), IpAddr::V6(other)) => one.octets()[..8] == other.octets()[..8],
            (one, other) => one == other,
        };
        self.zone() != Zone::Public || Zone::of(ip) != Zone::Public || known.peek().is_none() || known.any(here)
    }

    /// Whether it is too old to be used or passed on.
    pub fn is_expired(&self, now: Now) -> bool {
        now.unix > self.time.saturating_add(RECORD_LIFETIME)
    }
}

/// For each address: whether it and those before it are within [`MAX_RECORD_NETWORKS`].
fn of_few_networks(addresses: &[SocketAddr]) -> impl Iterator<Item = bool> {
    let mut seen: Vec<Subnet> = Vec::new();
    addresses.iter().map(move |address| {
        let network = Subnet::of(address.ip());
        if Zone::of(address.ip()) != Zone::Public || seen.contains(&network) {
            return true;
        }
        let family = matches!(network, Subnet::V4(_));
        let few = seen.iter().filter(|other| matches!(other, Subnet::V4(_)) == family).count() < MAX_RECORD_NETWORKS;
        if few {
            seen.push(network);
        }
        few
    })
}

/// Those of `addresses`, best first, that fit in one record.
pub fn fitting(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let few = addresses.iter().zip(of_few_networks(addresses)).filter(|(_, few)| *few);
    few.map(|(address, _)| *address).take(MAX_RECORD_ADDRESSES).collect()
}

fn dialable(address: SocketAddr) -> bool {
    let ip = address.ip().to_canonical(); // packets to `::ffff:0.0.0.0` go where those to 0.0.0.0 do
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast()
}

/// The part of the network in which an address is valid. It decides to whom an address is passed on, and which limits
/// apply.
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
    /// The zone of `ip`.
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(v4) if v4.is_loopback() => Self::Loopback,
            IpAddr::V6(v6) if v6.is_loopback() => Self::Loopback,
            IpAddr::V4(v4) if v4.is_private() || v4.is_link_local() || is_shared(v4) => Self::Private,
            IpAddr::V6(v6) if v6.is_unique_local() || v6.is_unicast_link_local() || is_site_local(v6) => Self::Private,
            IpAddr::V6(v6) => translated(v6).map_or(Self::Public, |v4| Self::of(IpAddr::V4(v4))),
            IpAddr::V4(_) => Self::Public,
        }
    }

    /// Whether a peer in zone `peer` may be told an address of this zone. It may not where the address would mean
    /// another machine.
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

/// fec0::/10: site-local, deprecated (RFC 3879), but still in use.
fn is_site_local(ip: Ipv6Addr) -> bool {
    ip.segments()[0] & 0xffc0 == 0xfec0
}

/// The IPv4 address that a translator (64:ff9b::/96, RFC 6052) or a tunnel (2002::/16, RFC 3056) forwards packets for
/// this address to.
fn translated(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, .., w, x, y, z] = ip.octets();
    let of_prefix = ip.octets()[..12] == [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0];
    match [a, b] {
        [0x20, 0x02] => Some(Ipv4Addr::new(c, d, e, f)),
        _ => of_prefix.then(|| Ipv4Addr::new(w, x, y, z)),
    }
}

/// An IPv4 /24 or an IPv6 /48, which likely belongs to one owner as a whole. Limits per subnet count these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subnet {
    /// The first 24 bits, as a number.
    V4(u32),
    /// The first 48 bits, as a number.
    V6(u64),
}

impl Subnet {
    /// The subnet of `ip`.
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.to_bits() >> 8),
            IpAddr::V6(v6) => Self::V6((v6.to_bits() >> 80) as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Signer};

    fn record(identity: &Signer, address: &str, now: Now) -> AddressRecord {
        AddressRecord::sign(identity, vec![address.parse().expect("an address")], 1, now)
    }

    #[test]
    fn only_the_owner_can_sign_and_only_for_a_day() {
        let (owner, now) = (Signer::generate(), testing::now());
        let good = record(&owner, "192.0.2.1:7470", now);
        assert_eq!(good.check(&owner, now), Ok(()));
        let moved = AddressRecord { addresses: vec!["192.0.2.2:7470".parse().expect("an address")], ..good.clone() };
        assert_eq!(moved.check(&owner, now), Err(BadRecord::Signature));
        let other = AddressRecord { node: Signer::generate().node(), ..good.clone() };
        assert_eq!(other.check(&owner, now), Err(BadRecord::Signature));
        let later = Now { unix: now.unix + RECORD_LIFETIME + 1, ..now };
        assert_eq!(good.check(&owner, later), Err(BadRecord::Time));
        assert_eq!(good.check(&owner, Now { unix: now.unix - CLOCK_SKEW - 1, ..now }), Err(BadRecord::Time));
        let addresses = ["192.0.2.1:1", "10.0.0.1:1"].map(|text| text.parse().expect("an address")).to_vec();
        assert_eq!(AddressRecord::sign(&owner, addresses, 1, now).check(&owner, now), Err(BadRecord::Addresses));
        let nowhere = record(&owner, "0.0.0.0:1", now);
        assert_eq!(nowhere.check(&owner, now), Err(BadRecord::Addresses));
        for mapped in ["[::ffff:0.0.0.0]:1", "[::ffff:224.0.0.1]:1"] {
            assert_eq!(record(&owner, mapped, now).check(&owner, now), Err(BadRecord::Addresses), "{mapped}");
        }
    }

    #[test]
    fn a_record_names_few_public_networks() {
        let (owner, now) = (Signer::generate(), testing::now());
        let check = |texts: &[&str]| {
            let addresses: Vec<SocketAddr> = texts.iter().map(|text| text.parse().expect("an address")).collect();
            let fits = AddressRecord::sign(&owner, fitting(&addresses), 1, now).check(&owner, now);
            assert_eq!(fits, Ok(()), "{texts:?}");
            AddressRecord::sign(&owner, addresses, 1, now).check(&owner, now)
        };
        let both = ["9.0.0.1:1", "9.0.1.1:1", "9.0.0.2:1", "[2a00:0:1::1]:1", "[2a00:0:2::1]:1", "[2a00:0:1::2]:1"];
        assert_eq!(check(&both), Ok(()));
        assert_eq!(check(&["9.0.0.1:1", "9.0.1.1:1", "9.0.2.1:1"]), Err(BadRecord::Addresses));
        assert_eq!(check(&["9.0.0.1:1", "9.0.1.1:1", "[::ffff:9.0.2.1]:1"]), Err(BadRecord::Addresses));
        assert_eq!(check(&["10.0.0.1:1", "10.0.1.1:1", "10.0.2.1:1"]), Ok(()), "only public ones count");
    }

    #[test]
    fn who_comes_from_elsewhere_is_not_believed_where_that_can_be_known() {
        let owner = Signer::generate();
        let at = |address: &str, ip: &str| {
            record(&owner, address, testing::now()).may_be_at(ip.parse().expect("an IP address"))
        };
        assert!(at("9.0.0.1:1", "9.0.0.1") && at("9.0.0.1:1", "::ffff:9.0.0.1") && at("[2a00::1]:1", "2a00::2"));
        assert!(!at("9.0.0.1:1", "9.0.0.2") && !at("[2a00::1]:1", "2a00:0:0:1::1"));
        assert!(at("9.0.0.1:1", "2a00::1"), "the other family's address is not known");
        assert!(at("9.0.0.1:1", "192.168.0.7") && at("10.0.0.1:1", "10.0.0.2"));
    }

    #[test]
    fn a_record_of_more_addresses_than_it_may_have_is_not_even_read() {
        let (owner, now) = (Signer::generate(), testing::now());
        let encoded = |count: u8| {
            let addresses = (0..count).map(|last| SocketAddr::from(([192, 0, 2, last], 1))).collect();
            let mut bytes = Vec::new();
            codec::encode(&AddressRecord::sign(&owner, addresses, 1, now), &mut bytes).expect("it is small");
            bytes
        };
        assert!(codec::decode::<AddressRecord>(&encoded(8)).is_ok());
        assert!(codec::decode::<AddressRecord>(&encoded(9)).is_err());
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
            ("fec0::1", Zone::Private),
            ("64:ff9b::10.0.0.1", Zone::Private),
            ("2002:7f00:1::1", Zone::Loopback),
            ("64:ff9b::9.0.0.1", Zone::Public),
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
