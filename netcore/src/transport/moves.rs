//! Peers that change their address under a connection this node dialed. QUIC lets only the dialing side move (RFC 9000,
//! section 9): an accepting one whose NAT forgets a mapping, or that changes networks, would fall silent.
//!
//! A packet carries the connection id that this node gave the peer, wherever it comes from. Those that come from the
//! address a peer was dialed at say which ids are whose; a packet from elsewhere with one of them is handed to QUIC as if
//! it had come from there. That is no more than a forged source would do, and QUIC believes only what is sealed right. What
//! this node sends goes there too only once it is sure ([`super::PathHandle::follow`]): when sealed packets come from
//! the new address alone. Somebody who copies packets and is faster than the peer thereby gains nothing, as the peer's own
//! still come.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Length of the ids this node gives (`quinn_proto::HashedConnectionIdGenerator`).
const ID: usize = 8;
/// Ids remembered of one peer's address: QUIC has up to 8 in use, and replaces them rarely. 2 KiB a peer; the peers are
/// those connected.
const MAX_IDS: usize = 32;
/// Looks after which a peer that is heard elsewhere and not believed is waited for anew.
const MAX_LOOKS: u32 = 50;

#[derive(Debug)]
struct Watched {
    users: usize,
    /// Where it is sent to.
    current: SocketAddr,
    /// Packets from there since the last look.
    heard: u64,
    elsewhere: Option<Elsewhere>,
    ids: Vec<[u8; ID]>,
}

#[derive(Debug)]
struct Elsewhere {
    address: SocketAddr,
    /// Packets from there since the last look.
    heard: u64,
    looks: u32,
    /// What the connection had understood at the last look.
    frames: Option<u64>,
}

#[derive(Debug, Default)]
struct State {
    watched: HashMap<SocketAddr, Watched>,
    ids: HashMap<[u8; ID], SocketAddr>,
}

/// See the module. A remote is what quinn calls the peer: the address it was dialed at.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    /// Whether anybody is watched.
    used: AtomicBool,
    state: Mutex<State>,
    noted: Notify,
}

impl Moves {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks out for packets of the peer dialed at `remote`, until [`Self::unwatch`] is called as often.
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

    /// A packet came from `from`, which so far counts as `remote`: what it counts as.
    pub(super) fn source(&self, packet: &[u8], from: SocketAddr, remote: SocketAddr) -> SocketAddr {
        if !self.used.load(Ordering::Acquire) {
            return remote;
        }
        // Only packets with a short header carry nothing but an id of ours.
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

    /// Returns when somebody was heard elsewhere, maybe a while ago.
    pub(crate) async fn noted(&self) {
        self.noted.notified().await;
    }

    /// Whether the peer dialed at `remote` has moved, and whereto: to be asked again and again, with how much its
    /// connection has understood so far. `None`: it has not, or that is not sure yet.
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

    /// Whether anybody was heard elsewhere and it is not known yet what that means.
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

    /// A peer at address 1 whose id 7 is known.
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
        // From there it can move on, and back.
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
