//! Peers that change their address during a connection that this node dialed. QUIC lets only the dialing side move (RFC
//! 9000, section 9). An accepting side would fall silent when its NAT forgets a mapping or when it changes networks.
//!
//! Each packet carries a connection id that this node gave the peer. Packets from the address at which a peer was
//! dialed show which ids belong to that peer. A packet from another address with one of these ids is passed to QUIC as
//! if it came from the dialed address. A forged source could do the same, and QUIC accepts only packets that it can
//! authenticate. This node sends to the new address only once the move is certain ([`super::PathHandle::follow`]): when
//! authentic packets come from the new address alone. An attacker who copies packets and is faster than the peer gains
//! nothing, because the peer's own packets still arrive.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Length of this node's connection ids, bytes (`quinn_proto::HashedConnectionIdGenerator`).
const ID: usize = 8;
/// Connection ids remembered for one dialed address. QUIC has up to 8 in use and replaces them rarely. About 2 KiB for
/// each connected peer.
const MAX_IDS: usize = 32;
/// Calls of [`Moves::look`] after which an unconfirmed new address is forgotten.
const MAX_LOOKS: u32 = 50;

#[derive(Debug)]
struct Watched {
    users: usize,
    /// The address that this node sends to.
    current: SocketAddr,
    /// Packets from that address since the last look.
    heard: u64,
    elsewhere: Option<Elsewhere>,
    ids: Vec<[u8; ID]>,
}

#[derive(Debug)]
struct Elsewhere {
    address: SocketAddr,
    /// Packets from that address since the last look.
    heard: u64,
    looks: u32,
    /// Frames that the connection had received by the last look.
    frames: Option<u64>,
}

#[derive(Debug, Default)]
struct State {
    watched: HashMap<SocketAddr, Watched>,
    ids: HashMap<[u8; ID], SocketAddr>,
}

/// Detects moves of peers. A `remote` is the address by which quinn knows a peer: the one at which it was dialed.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    /// Whether any peer is watched.
    used: AtomicBool,
    state: Mutex<State>,
    noted: Notify,
}

impl Moves {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches for packets of the peer dialed at `remote`, until [`Self::unwatch`] is called as often.
    pub(super) fn watch(&self, remote: SocketAddr) {
        let mut state = self.state();
        let fresh = || Watched { users: 0, current: remote, heard: 0, elsewhere: None, ids: Vec::new() };
        state.watched.entry(remote).or_insert_with(fresh).users += 1;
        self.used.store(true, Ordering::Release);
    }

    pub(super) fn unwatch(&self, remote: SocketAddr) {
        let mut state = self.state();
        let Some(watched) = state.watched.get_mut(&remote) else { return };
        watched.users -= 1;
        if watched.users == 0
            && let Some(watched) = state.watched.remove(&remote)
        {
            for id in &watched.ids {
                state.ids.remove(id);
            }
        }
        self.used.store(!state.watched.is_empty(), Ordering::Release);
    }

    /// The remote to which a packet from `from` belongs; `remote` is the one by its source address alone.
    pub(super) fn source(&self, packet: &[u8], from: SocketAddr, remote: SocketAddr) -> SocketAddr {
        if !self.used.load(Ordering::Acquire) {
            return remote;
        }
        // Only a short header has the id, which is then ours, at a fixed place.
        let id = match packet.split_first() {
            Some((first, rest)) if first & 0x80 == 0 => rest.first_chunk::<ID>(),
            _ => None,
        };
        let Some(id) = id else { return remote };
        let State { watched, ids } = &mut *self.state();
        if let Some(known) = watched.get_mut(&remote) {
            if from == known.current {
                known.heard += 1;
            }
            if known.ids.len() < MAX_IDS && !ids.contains_key(id) {
                known.ids.push(*id);
                ids.insert(*id, remote);
            }
            return remote;
        }
        let Some(moved) = ids.get(id) else { return remote };
        if let Some(known) = watched.get_mut(moved) {
            match &mut known.elsewhere {
                Some(elsewhere) if elsewhere.address == from => elsewhere.heard += 1,
                elsewhere => *elsewhere = Some(Elsewhere { address: from, heard: 1, looks: 0, frames: None }),
            }
            self.noted.notify_one();
        }
        *moved
    }

    /// Waits until a watched peer's id was seen from another address, which may have been a while ago.
    pub(crate) async fn noted(&self) {
        self.noted.notified().await;
    }

    /// The new address of the peer dialed at `remote`; `None` if it has not moved or that is not certain yet. Call it
    /// repeatedly, with the number of frames that its connection has received so far.
    pub(super) fn look(&self, remote: SocketAddr, frames: u64) -> Option<SocketAddr> {
        let mut state = self.state();
        let watched = state.watched.get_mut(&remote)?;
        let heard = std::mem::take(&mut watched.heard);
        let elsewhere = watched.elsewhere.as_mut()?;
        let moved = std::mem::take(&mut elsewhere.heard) > 0 && elsewhere.frames.is_some_and(|before| before < frames);
        let address = elsewhere.address;
        elsewhere.frames = Some(frames);
        elsewhere.looks += 1;
        if heard > 0 || elsewhere.looks > MAX_LOOKS {
            watched.elsewhere = None;
            return None;
        }
        if moved {
            watched.elsewhere = None;
            watched.current = address;
        }
        moved.then_some(address)
    }

    /// Whether a watched peer may have moved and that is not decided yet.
    pub(crate) fn is_pending(&self) -> bool {
        self.state().watched.values().any(|watched| watched.elsewhere.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 7470))
    }

    fn packet(id: u8) -> [u8; 20] {
        let mut packet = [id; 20];
        packet[0] = 0x40;
        packet
    }

    /// A peer at address 1 with the known id 7.
    fn watched() -> Moves {
        let moves = Moves::default();
        moves.watch(address(1));
        assert_eq!(moves.source(&packet(7), address(1), address(1)), address(1));
        moves.look(address(1), 10);
        moves
    }

    #[test]
    fn a_peer_heard_elsewhere_alone_and_understood_has_moved() {
        let moves = watched();
        assert_eq!(moves.source(&packet(7), address(2), address(2)), address(1));
        assert!(moves.is_pending());
        assert_eq!(moves.look(address(1), 10), None, "nothing to compare with yet");
        moves.source(&packet(7), address(2), address(2));
        assert_eq!(moves.look(address(1), 10), None, "nothing it sent was understood");
        moves.source(&packet(7), address(2), address(2));
        assert_eq!(moves.look(address(1), 11), Some(address(2)));
        assert!(!moves.is_pending());
        // It can move on from there, and back.
        moves.source(&packet(7), address(2), address(1));
        moves.look(address(1), 12);
        for (frames, expected) in [(12, None), (13, Some(address(1)))] {
            moves.source(&packet(7), address(1), address(9));
            assert_eq!(moves.look(address(1), frames), expected);
        }
    }

    #[test]
    fn somebody_who_copies_packets_gains_nothing_while_the_peer_is_heard() {
        let moves = watched();
        for frames in 10..100 {
            moves.source(&packet(7), address(66), address(66));
            moves.source(&packet(7), address(1), address(1));
            assert_eq!(moves.look(address(1), frames), None);
        }
        for _ in 0..=MAX_LOOKS {
            moves.source(&packet(7), address(66), address(66));
            assert_eq!(moves.look(address(1), 100), None, "never understood");
        }
    }

    #[test]
    fn packets_of_others_stay_theirs() {
        let moves = watched();
        assert_eq!(moves.source(&packet(8), address(2), address(2)), address(2), "an id of somebody else's");
        let mut long = packet(7);
        long[0] = 0xc0;
        assert_eq!(moves.source(&long, address(2), address(2)), address(2), "a handshake");
        assert_eq!(moves.source(&[0x40, 7], address(2), address(2)), address(2), "no id");
        moves.watch(address(1));
        moves.unwatch(address(1));
        assert_eq!(moves.source(&packet(7), address(2), address(2)), address(1), "one of two connections is left");
        moves.unwatch(address(1));
        assert_eq!(moves.source(&packet(7), address(2), address(2)), address(2));
        assert!(moves.state().ids.is_empty() && !moves.used.load(Ordering::Relaxed));
    }

    #[test]
    fn ids_of_one_peer_are_bounded() {
        let moves = watched();
        for id in 0..=255 {
            moves.source(&packet(id), address(1), address(1));
        }
        assert_eq!(moves.state().ids.len(), MAX_IDS);
    }
}
