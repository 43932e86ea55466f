//! Address records on the control stream: each side sends signed records of where it can be dialed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use polypeer_engine::address::{AddressRecord, BadRecord, Zone};
use polypeer_engine::rate::{Bucket, Rate};

use super::{LinkHandler, PeerLink};
use crate::clock;
use crate::node::Node;
use crate::wire::{ControlFrame, write_frame};

/// Rate limit for records from one peer. It has at most one for each of three zones, and changes them when its
/// addresses change.
const RATE: Rate = Rate { burst: 16, per_second: 1 };

/// The newest address record of a peer for each zone, and the rate limit for further ones.
#[derive(Debug)]
pub(super) struct Records {
    newest: BTreeMap<Zone, Arc<AddressRecord>>,
    rate: Bucket,
}

impl Default for Records {
    fn default() -> Self {
        Self { newest: BTreeMap::new(), rate: Bucket::new(RATE) }
    }
}

/// A breach of the protocol by an address record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Lie {
    #[error("an address record of another node")]
    OtherNode,
    #[error(transparent)]
    Bad(#[from] BadRecord),
}

/// Appends `Record` frames with those of `own` that the peer may be told.
pub(super) fn write(link: &PeerLink, own: &[Arc<AddressRecord>], out: &mut Vec<u8>) {
    let peer = Zone::of(link.judged_ip());
    // The zone in which the peer sees this node, if that is known: it must not be told addresses that it cannot use.
    let here = link.own_ip().map_or(peer, Zone::of);
    for record in own.iter().filter(|record| record.zone().is_told_to(peer) && record.zone().is_told_to(here)) {
        write_frame(&ControlFrame::Record { record: AddressRecord::clone(record) }, out);
    }
}

/// Handles a record from the peer, which must be the peer's own and signed. Drops and counts records beyond the rate
/// limit, those out of date, those of a zone that is not valid here, and those whose addresses cannot be the peer's.
pub(super) fn take(node: &Node, handler: &dyn LinkHandler, link: &PeerLink, record: AddressRecord) -> Result<(), Lie> {
    if !link.state().records.rate.take(1, Instant::now()) {
        node.counters.peer_records_dropped.count();
        return Ok(());
    }
    if record.node != link.peer {
        return Err(Lie::OtherNode);
    }
    // Useless here, but no breach: with a NAT between the two (a router that sends packets for its own public address
    // back inside, a port proxy, a VPN), each sees the other at an address that is not the other's own.
    if !record.zone().is_told_to(Zone::of(link.judged_ip())) {
        node.counters.peer_records_dropped.count();
        return Ok(());
    }
    match record.check(node.keys.as_ref(), clock::now()) {
        // No breach: clocks differ, and a frame may be old when it arrives from a slow peer.
        Err(BadRecord::Time) => {
            node.counters.peer_records_dropped.count();
            return Ok(());
        }
        checked => checked?,
    }
    if !record.may_be_at(link.judged_ip()) {
        node.counters.peer_records_elsewhere.count();
        return Ok(());
    }
    let record = Arc::new(record);
    let newer = {
        let newest = &mut link.state().records.newest;
        let newer = newest.get(&record.zone()).is_none_or(|known| known.sequence < record.sequence);
        if newer {
            newest.insert(record.zone(), Arc::clone(&record));
        }
        newer
    };
    if newer {
        if let Ok(peers) = node.peers() {
            peers.learned(link.peer, link.judged_ip(), &record.addresses);
        }
        handler.record(link, record);
    }
    Ok(())
}
