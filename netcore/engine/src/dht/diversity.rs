//! Limits per IP address and subnet: an attacker has as many node ids as it likes, but few subnets. For a contact that
//! has answered, the address counts that it answered from. For a node that a lookup has only heard of, all addresses
//! count that its record claims.

use std::net::IpAddr;

use crate::address::{AddressRecord, Subnet, Zone};

/// How many nodes of a group may share an IP address or a subnet. Private addresses are limited per address only,
/// loopback addresses not at all: so local networks work, and tests of many nodes on one machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caps {
    /// Nodes with the same public IP address.
    pub(super) per_ip: usize,
    /// Nodes with public addresses in one /24 or /48.
    pub(super) per_subnet: usize,
}

/// Nodes with the same private address: enough for a machine that runs a test of many nodes.
const PER_PRIVATE_IP: usize = 64;

/// The members of a group, counted per subnet; sorted by subnet.
#[derive(Debug, Default, Clone)]
pub(super) struct Crowd(Vec<(Subnet, u8)>);

/// The subnets that a record names, each once; loopback is left out. The record counts in all of them: only dialing
/// shows which address is real.
fn subnets(record: &AddressRecord) -> impl Iterator<Item = Subnet> {
    let list = &record.addresses;
    list.iter().enumerate().filter_map(move |(at, address)| {
        let subnet = Subnet::of(address.ip());
        let counted = Zone::of(address.ip()) != Zone::Loopback;
        (counted && !list[..at].iter().any(|earlier| Subnet::of(earlier.ip()) == subnet)).then_some(subnet)
    })
}

impl Crowd {
    /// Whether `caps` allow one more node with this record. `others` are the records of the group; they are read only
    /// if some share a subnet with `record`.
    pub(super) fn admits<'a, I: Iterator<Item = &'a AddressRecord>>(
        &self,
        record: &AddressRecord,
        caps: Caps,
        others: impl Fn() -> I,
    ) -> bool {
        let public = record.zone() == Zone::Public;
        let per_ip = if public { caps.per_ip } else { PER_PRIVATE_IP };
        let mut near = false;
        for subnet in subnets(record) {
            let here = self.count(subnet);
            if public && here >= caps.per_subnet {
                return false;
            }
            near |= here > 0;
        }
        let at = |ip: IpAddr| {
            others().filter(|other| other.addresses.iter().any(|a| a.ip().to_canonical() == ip.to_canonical())).count()
        };
        !near || record.addresses.iter().all(|address| at(address.ip()) < per_ip)
    }

    /// Counts a record in each of its subnets.
    pub(super) fn add(&mut self, record: &AddressRecord) {
        subnets(record).for_each(|subnet| self.one_more(subnet));
    }

    /// Takes back [`Self::add`].
    pub(super) fn remove(&mut self, record: &AddressRecord) {
        subnets(record).for_each(|subnet| self.one_less(subnet));
    }

    /// As [`Self::admits`], for a node that answers from `ip`. `others` are the addresses that the members answered
    /// from.
    pub(super) fn admits_at<I: Iterator<Item = IpAddr>>(&self, ip: IpAddr, caps: Caps, others: impl Fn() -> I) -> bool {
        let per_ip = match Zone::of(ip) {
            Zone::Loopback => return true,
            Zone::Private => PER_PRIVATE_IP,
            Zone::Public => caps.per_ip,
        };
        let here = self.count(Subnet::of(ip));
        let full = Zone::of(ip) == Zone::Public && here >= caps.per_subnet;
        let ip = ip.to_canonical();
        !full && (here == 0 || others().filter(|other| other.to_canonical() == ip).count() < per_ip)
    }

    /// Counts a node that answered from `ip`.
    pub(super) fn add_at(&mut self, ip: IpAddr) {
        if Zone::of(ip) != Zone::Loopback {
            self.one_more(Subnet::of(ip));
        }
    }

    /// Takes back [`Self::add_at`].
    pub(super) fn remove_at(&mut self, ip: IpAddr) {
        if Zone::of(ip) != Zone::Loopback {
            self.one_less(Subnet::of(ip));
        }
    }

    fn place(&self, subnet: Subnet) -> Result<usize, usize> {
        self.0.binary_search_by_key(&subnet, |(of, _)| *of)
    }

    fn count(&self, subnet: Subnet) -> usize {
        self.place(subnet).map_or(0, |at| usize::from(self.0[at].1))
    }

    fn one_more(&mut self, subnet: Subnet) {
        match self.place(subnet) {
            Ok(at) => self.0[at].1 = self.0[at].1.saturating_add(1),
            Err(at) => self.0.insert(at, (subnet, 1)),
        }
    }

    fn one_less(&mut self, subnet: Subnet) {
        let Ok(at) = self.place(subnet) else { return };
        self.0[at].1 -= 1;
        if self.0[at].1 == 0 {
            self.0.remove(at);
        }
    }

    /// Bytes of memory behind the pointer.
    pub(super) fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<(Subnet, u8)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polypeer_ipc_protocol::ids::NodeId;
    use polypeer_ipc_protocol::record::Signature;

    fn record(addresses: &[&str]) -> AddressRecord {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        AddressRecord { node: NodeId([0; 32]), addresses, sequence: 0, time: 0, signature: Signature([0; 64]) }
    }

    fn admitted(records: &[AddressRecord], caps: Caps) -> usize {
        let (mut crowd, mut members) = (Crowd::default(), Vec::<&AddressRecord>::new());
        for record in records {
            if crowd.admits(record, caps, || members.iter().copied()) {
                crowd.add(record);
                members.push(record);
            }
        }
        members.len()
    }

    #[test]
    fn a_public_network_is_limited_and_so_is_an_address() {
        let caps = Caps { per_ip: 1, per_subnet: 2 };
        let of = |texts: &[&str]| admitted(&texts.iter().map(|text| record(&[text])).collect::<Vec<_>>(), caps);
        assert_eq!(of(&["9.0.0.1:1", "9.0.0.2:1", "9.0.0.3:1", "9.0.1.1:1"]), 3, "two of a /24");
        assert_eq!(of(&["9.0.0.1:1", "9.0.0.1:2"]), 1, "one of an address");
        assert_eq!(of(&["9.0.0.1:1", "[::ffff:9.0.0.1]:2"]), 1, "however it is written");
        assert_eq!(of(&["[2001:db8:1::1]:1", "[2001:db8:1:2::2]:1", "[2001:db8:1:3::1]:1"]), 2, "two of a /48");
    }

    #[test]
    fn local_networks_are_not_limited_by_network() {
        let caps = Caps { per_ip: 1, per_subnet: 2 };
        let lan: Vec<_> = (1..200).map(|host| record(&[&format!("192.168.0.{host}:1")])).collect();
        assert_eq!(admitted(&lan, caps), lan.len());
        let machine: Vec<_> = (1..200).map(|port| record(&[&format!("127.0.0.1:{port}")])).collect();
        assert_eq!(admitted(&machine, caps), machine.len());
        let one: Vec<_> = (1..200).map(|port| record(&[&format!("10.0.0.1:{port}")])).collect();
        assert_eq!(admitted(&one, caps), PER_PRIVATE_IP);
    }

    #[test]
    fn those_that_answered_count_where_they_answered_from() {
        let (mut crowd, caps) = (Crowd::default(), Caps { per_ip: 1, per_subnet: 2 });
        let mut here: Vec<IpAddr> = Vec::new();
        let mut enter = |text: &str| {
            let ip = text.parse().unwrap();
            let admitted = crowd.admits_at(ip, caps, || here.iter().copied());
            if admitted {
                crowd.add_at(ip);
                here.push(ip);
            }
            admitted
        };
        assert!(enter("9.0.0.1") && !enter("::ffff:9.0.0.1") && enter("9.0.0.2") && !enter("9.0.0.3"));
        assert!(enter("10.0.0.1") && enter("10.0.0.2") && enter("10.0.0.3"), "a local network is not limited");
        assert_eq!((0..200).filter(|_| enter("10.0.0.9")).count(), PER_PRIVATE_IP);
        assert_eq!((0..200).filter(|_| enter("127.0.0.1")).count(), 200);
        here.iter().for_each(|ip| crowd.remove_at(*ip));
        assert!(crowd.0.is_empty());
    }

    #[test]
    fn a_record_of_many_networks_counts_in_each_and_leaves_each() {
        let caps = Caps { per_ip: 2, per_subnet: 1 };
        let wide = record(&["9.0.0.1:1", "9.0.1.1:1", "9.0.1.2:1"]);
        let mut crowd = Crowd::default();
        crowd.add(&wide);
        let none = || std::iter::empty();
        assert!(!crowd.admits(&record(&["9.0.1.9:1"]), caps, none));
        crowd.remove(&wide);
        assert!(crowd.admits(&record(&["9.0.1.9:1"]), caps, none));
        assert!(crowd.0.is_empty());
    }
}
