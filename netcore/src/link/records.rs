//! Address records on the control stream: each side tells the other where it can be dialed, by its own signature.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use polypeer_engine::address::{AddressRecord, BadRecord, Zone};
use polypeer_engine::rate::{Bucket, Rate};

use super::{LinkHandler, PeerLink};
use crate::clock;
use crate::node::Node;
use crate::wire::{ControlFrame, write_frame};

/// Records one peer may tell of: it has one for each of three zones at most, and changes them when its addresses change.
const RATE: Rate = Rate { burst: 16, per_second: 1 };

/// What a peer told of itself.
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

/// Why a record is a breach of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Lie {
    #[error("an address record of another node")]
    OtherNode,
    #[error(transparent)]
    Bad(#[from] BadRecord),
}

/// Appends frames with those of `own` that the peer may be told.
pub(super) fn write(link: &PeerLink, own: &[Arc<AddressRecord>], out: &mut Vec<u8>) {
    let peer = Zone::of(link.judged_ip());
    // As the peer sees this node, where that is known: it must not be told what it cannot use.
    let here = link.own_ip().map_or(peer, Zone::of);
    for record in own.iter().filter(|record| record.zone().is_told_to(peer) && record.zone().is_told_to(here)) {
        write_frame(&ControlFrame::Record { record: AddressRecord::clone(record) }, out);
    }
}

/// Takes a record from the peer: it is its own and signed. Too many are dropped, and those out of
/// time or of a zone that means nothing here.
pub(super) fn take(node: &Node, handler: &dyn LinkHandler, link: &PeerLink, record: AddressRecord) -> Result<(), Lie> {
    if !link.state().records.rate.take(1, Instant::now()) {
        node.counters.peer_records_dropped.count();
        return Ok(());
    }
    if record.node != link.peer {
        return Err(Lie::OtherNode);
    }
    // Useless here, and nobody's fault: with something between the two that rewrites addresses (a router that turns packets
    // to its own public address around, a port proxy, a VPN) each sees the other elsewhere than it is.
    if !record.zone().is_told_to(Zone::of(link.judged_ip())) {
        node.counters.peer_records_dropped.count();
        return Ok(());
    }
    match record.check(node.keys.as_ref(), clock::now()) {
        // Clocks differ, and frames are old when they come through a slow peer.
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
