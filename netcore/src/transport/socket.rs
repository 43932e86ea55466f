//! The one socket under the QUIC endpoint: direct packets and packets in tunnels, over one or more UDP sockets.
//!
//! quinn calls it through [`AsyncUdpSocket`]. [`super::path`] translates each destination and source, and
//! [`super::envelope`] each datagram. Segmentation and receive offload (GSO, GRO) of `quinn-udp` stay in use on both
//! kinds of path. Datagrams of neither kind are dropped and counted: on an open port they are ordinary.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use polypeer_engine::socket_address::plain;
use quinn::{AsyncUdpSocket, UdpPoller};
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use tokio::io::Interest;

use super::envelope::{self, Kind};
use super::path::{PathTable, Route, mapped};
use super::route_mtu::LARGEST;

/// Consecutive errors of one socket before the endpoint gets one. Single errors concern one datagram or a passing lack
/// of memory, but the endpoint ends at the first error that it gets.
const MAX_ERRORS: usize = 16;

/// One bound UDP socket.
struct Lane {
    io: tokio::net::UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    /// Whether the last send found the buffer full.
    blocked: AtomicBool,
}

/// Traffic counters of the socket.
#[derive(Debug, Default)]
pub struct Counters {
    /// UDP payload bytes sent.
    pub sent_bytes: AtomicU64,
    /// UDP payload bytes received.
    pub received_bytes: AtomicU64,
    /// Received datagrams that are neither QUIC nor of a known tunnel; dropped.
    pub strange: AtomicU64,
    /// Datagrams that no socket can send, such as IPv6 on an IPv4 node; dropped.
    pub unroutable: AtomicU64,
}

/// The socket that quinn uses: all bound UDP sockets, and the path table.
pub(crate) struct PathSocket {
    lanes: Vec<Lane>,
    paths: Arc<PathTable>,
    counters: Arc<Counters>,
    /// The lane to poll first. It rotates, so that a busy lane does not starve another.
    turn: AtomicUsize,
    /// Datagrams that were received in one buffer with others of another kind; at most what one receive call returns.
    set_aside: Mutex<VecDeque<(RecvMeta, Vec<u8>)>>,
    has_set_aside: AtomicBool,
    /// Buffer in which packets get their envelopes.
    wrapped: Mutex<Vec<u8>>,
}

impl fmt::Debug for PathSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PathSocket").field("local", &self.local_addresses()).finish_non_exhaustive()
    }
}

impl PathSocket {
    /// Wraps bound sockets, at least one. Call it within the runtime that drives the endpoint.
    pub(crate) fn new(
        sockets: Vec<std::net::UdpSocket>,
        paths: Arc<PathTable>,
        counters: Arc<Counters>,
    ) -> io::Result<Self> {
        let lane = |socket: std::net::UdpSocket| {
            let state = UdpSocketState::new((&socket).into())?;
            let local = socket.local_addr()?;
            let io = tokio::net::UdpSocket::from_std(socket)?;
            Ok(Lane { io, state, local, blocked: AtomicBool::new(false) })
        };
        Ok(Self {
            lanes: sockets.into_iter().map(lane).collect::<io::Result<_>>()?,
            paths,
            counters,
            turn: AtomicUsize::new(0),
            set_aside: Mutex::default(),
            has_set_aside: AtomicBool::new(false),
            wrapped: Mutex::default(),
        })
    }

    /// The addresses that the sockets are bound to.
    pub(crate) fn local_addresses(&self) -> Vec<SocketAddr> {
        self.lanes.iter().map(|lane| lane.local).collect()
    }

    /// Whether some socket can send to `to`.
    pub(crate) fn reaches(&self, to: SocketAddr) -> bool {
        self.lane(to).is_some()
    }

    /// The socket to send to `to` from. An address that no socket can send to must not reach the kernel: the resulting
    /// error makes `quinn-udp` turn off segmentation offload for good.
    fn lane(&self, to: SocketAddr) -> Option<&Lane> {
        let scopeless = matches!(to, SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() && v6.scope_id() == 0);
        let broadcast = matches!(to, SocketAddr::V4(v4) if v4.ip().is_broadcast());
        if to.port() == 0 || to.ip().is_unspecified() || to.ip().is_multicast() || scopeless || broadcast {
            return None;
        }
        let fits = |lane: &&Lane| {
            let local = lane.local.ip();
            local.is_ipv4() == to.is_ipv4() && (local.is_unspecified() || local.is_loopback() == to.ip().is_loopback())
        };
        // Where both fit, the socket bound to a certain address is preferred.
        self.lanes.iter().filter(fits).min_by_key(|lane| lane.local.ip().is_unspecified())
    }

    fn send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let Some(lane) = self.lane(transmit.destination) else {
            self.counters.unroutable.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        };
        let sent = lane.io.try_io(Interest::WRITABLE, || lane.state.send((&lane.io).into(), transmit));
        match &sent {
            Ok(()) => {
                self.counters.sent_bytes.fetch_add(transmit.contents.len() as u64, Ordering::Relaxed);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => lane.blocked.store(true, Ordering::Release),
            Err(_) => {}
        }
        sent
    }

    /// Translates received datagrams for quinn: removes envelopes and sets the sender's address to the one that quinn
    /// knows. Drops unknown ones. Returns whether anything is left in the buffer.
    fn admit(&self, buffer: &mut [u8], meta: &mut RecvMeta) -> bool {
        self.counters.received_bytes.fetch_add(meta.len as u64, Ordering::Relaxed);
        let from = plain(meta.addr);
        let (kind, run) = envelope::first_run(&buffer[..meta.len], meta.stride);
        if run < meta.len {
            self.put_aside(&buffer[run..meta.len], RecvMeta { len: meta.len - run, ..*meta });
            meta.len = run;
        }
        let source = match kind {
            Kind::Quic => {
                let source = self.paths.source(Route::Direct(from));
                source.map(|remote| self.paths.moves.source(&buffer[..run], from, remote))
            }
            Kind::Tunnel(id) => self.paths.source(Route::Tunnel { relay: from, id }),
            Kind::Strange => None,
        };
        let Some(source) = source else {
            self.counters.strange.fetch_add(run.div_ceil(meta.stride.max(1)) as u64, Ordering::Relaxed);
            meta.len = 0;
            return false;
        };
        if matches!(kind, Kind::Tunnel(_)) {
            meta.len = envelope::unwrap(&mut buffer[..meta.len], meta.stride);
            meta.stride -= envelope::OVERHEAD;
        }
        if source != from {
            // The local address belongs to this path. quinn would send from it even after the path has changed.
            meta.dst_ip = None;
        }
        meta.addr = mapped(source);
        true
    }

    fn put_aside(&self, datagrams: &[u8], meta: RecvMeta) {
        self.lock_aside().push_back((meta, datagrams.to_vec()));
        self.has_set_aside.store(true, Ordering::Release);
    }

    fn lock_aside(&self) -> MutexGuard<'_, VecDeque<(RecvMeta, Vec<u8>)>> {
        self.set_aside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_aside(&self, buffer: &mut [u8], meta: &mut RecvMeta) -> bool {
        let next = self.lock_aside().pop_front();
        let Some((aside, datagrams)) = next else {
            self.has_set_aside.store(false, Ordering::Release);
            return false;
        };
        // It was received in a buffer of this size.
        let length = datagrams.len().min(buffer.len());
        buffer[..length].copy_from_slice(&datagrams[..length]);
        *meta = RecvMeta { len: length, ..aside };
        // Counted when it was received.
        self.counters.received_bytes.fetch_sub(length as u64, Ordering::Relaxed);
        self.admit(buffer, meta);
        true
    }
}

impl Lane {
    /// Receives datagrams. Returns the number of buffers filled.
    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut errors = 0;
        loop {
            ready!(self.io.poll_recv_ready(cx))?;
            let mut last = None;
            let received = self.io.try_io(Interest::READABLE, || {
                let received = self.state.recv((&self.io).into(), buffers, metas)?;
                if received == buffers.len() {
                    return Ok(received);
                }
                // That was all there is. Said so, tokio waits for the next packet before it asks the system again.
                last = Some(received);
                Err(io::ErrorKind::WouldBlock.into())
            });
            match received.or_else(|error| last.ok_or(error)) {
                Ok(received) => return Poll::Ready(Ok(received)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    errors += 1;
                    tracing::debug!(%error, local = %self.local, "receive failed");
                    if errors == MAX_ERRORS {
                        return Poll::Ready(Err(error));
                    }
                }
            }
        }
    }
}

impl AsyncUdpSocket for PathSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Writable { socket: self, waiting: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let remote = plain(transmit.destination);
        match self.paths.route(remote) {
            Some(Route::Direct(to)) if to == remote => self.send(&Transmit { destination: to, ..*transmit }),
            Some(Route::Direct(to)) => self.send(&Transmit { destination: to, src_ip: None, ..*transmit }),
            Some(Route::Tunnel { relay, id }) => {
                let mut wrapped = self.wrapped.lock().unwrap_or_else(PoisonError::into_inner);
                let segment = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
                envelope::wrap(transmit.contents, segment, id, &mut wrapped);
                self.send(&Transmit {
                    destination: relay,
                    ecn: transmit.ecn,
                    contents: &wrapped,
                    segment_size: transmit.segment_size.map(|size| size + envelope::OVERHEAD),
                    src_ip: None,
                })
            }
            None => {
                self.counters.unroutable.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        if self.has_set_aside.load(Ordering::Acquire) && self.take_aside(&mut buffers[0], &mut metas[0]) {
            return Poll::Ready(Ok(1));
        }
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        for index in 0..self.lanes.len() {
            let lane = &self.lanes[(first.wrapping_add(index)) % self.lanes.len()];
            // A lane that gave only strange datagrams is polled again; tokio's budget for a task bounds that under a
            // flood.
            while let Poll::Ready(received) = lane.poll_recv(cx, buffers, metas) {
                let received = received?;
                let mut admitted = false;
                for (buffer, meta) in buffers.iter_mut().zip(metas.iter_mut()).take(received) {
                    admitted |= self.admit(buffer, meta);
                }
                if admitted {
                    return Poll::Ready(Ok(received));
                }
            }
        }
        Poll::Pending
    }

    /// Always IPv6, so that quinn accepts destinations of either family.
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok((Ipv6Addr::UNSPECIFIED, self.lanes[0].local.port()).into())
    }

    fn max_transmit_segments(&self) -> usize {
        self.lanes.iter().map(|lane| lane.state.max_gso_segments()).min().unwrap_or(1)
    }

    /// quinn makes its buffers as large as this many packets of the largest size. One receive call returns at most 64
    /// KiB, of whatever size.
    fn max_receive_segments(&self) -> usize {
        let most = self.lanes.iter().map(|lane| lane.state.gro_segments()).max().unwrap_or(1);
        most.min(usize::from(u16::MAX).div_ceil(usize::from(LARGEST)))
    }

    fn may_fragment(&self) -> bool {
        self.lanes.iter().any(|lane| lane.state.may_fragment())
    }
}

type Waiting = Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>;

/// Waits, for one connection, until no lane is blocked.
struct Writable {
    socket: Arc<PathSocket>,
    waiting: Option<Waiting>,
}

impl fmt::Debug for Writable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writable").finish_non_exhaustive()
    }
}

impl UdpPoller for Writable {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.waiting.is_none() {
            if !self.socket.lanes.iter().any(|lane| lane.blocked.load(Ordering::Acquire)) {
                return Poll::Ready(Ok(()));
            }
            let socket = Arc::clone(&self.socket);
            self.waiting = Some(Box::pin(async move {
                for lane in socket.lanes.iter().filter(|lane| lane.blocked.load(Ordering::Acquire)) {
                    lane.io.writable().await?;
                    lane.blocked.store(false, Ordering::Release);
                }
                Ok(())
            }));
        }
        let waiting = self.waiting.as_mut().expect("set above").as_mut();
        let result = ready!(waiting.poll(cx));
        self.waiting = None;
        Poll::Ready(result)
    }
}

#[cfg(test)]
#[path = "socket/tests.rs"]
mod tests;
