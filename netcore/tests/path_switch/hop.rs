//! A stretch of network: passes datagrams on between two sockets as they are, at a rate and after a delay. One plays
//! the relay, whose envelopes it does not look at since there is one tunnel; one the internet between the nodes.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What a stretch is like, in each direction.
#[derive(Clone, Copy)]
pub(crate) struct Quality {
    /// Bytes a second.
    pub(crate) rate: f64,
    /// How long each datagram takes besides.
    pub(crate) delay: Duration,
    /// How long datagrams may queue for the rate; those that would wait longer are dropped.
    pub(crate) queue: Duration,
}

/// How often the threads look whether to end.
const TICK: Duration = Duration::from_millis(100);
/// Datagrams under way; more than any quality here fills.
const MAX_UNDER_WAY: usize = 16384;

/// A running stretch; it ends with this.
pub(crate) struct Hop {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    /// Bytes passed on.
    pub(crate) passed: Arc<AtomicU64>,
}

impl Hop {
    /// Passes what comes to `sockets.0` on to `ends.1` from `sockets.1`, and back.
    pub(crate) fn start(quality: Quality, sockets: (SocketAddr, SocketAddr), ends: (SocketAddr, SocketAddr)) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let passed = Arc::new(AtomicU64::new(0));
        let open = |address| {
            let socket = UdpSocket::bind(address).expect("bind");
            socket.set_read_timeout(Some(TICK)).expect("timeout");
            Arc::new(socket)
        };
        let (one, other) = (open(sockets.0), open(sockets.1));
        let mut threads = Vec::new();
        for (from, to, end) in [(&one, &other, ends.1), (&other, &one, ends.0)] {
            let (queue, queued) = sync_channel(MAX_UNDER_WAY);
            let (from, to) = (Arc::clone(from), Arc::clone(to));
            let (stop, passed) = (Arc::clone(&stop), Arc::clone(&passed));
            threads.push(std::thread::spawn(move || take(&from, quality, &queue, &stop)));
            threads.push(std::thread::spawn(move || give(&to, end, &queued, &passed)));
        }
        Self { stop, threads, passed }
    }
}

impl Drop for Hop {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("thread");
        }
    }
}

type Datagram = (Instant, Vec<u8>);

fn take(from: &UdpSocket, quality: Quality, queue: &SyncSender<Datagram>, stop: &AtomicBool) {
    let mut free_at = Instant::now();
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        let Ok(length) = from.recv(&mut buffer) else { continue };
        let now = Instant::now();
        free_at = free_at.max(now);
        if free_at - now < quality.queue {
            free_at += Duration::from_secs_f64(length as f64 / quality.rate);
            // Full only if the machine stands still; then it is a loss like another.
            queue.try_send((free_at + quality.delay, buffer[..length].to_vec())).ok();
        }
    }
}

fn give(to: &UdpSocket, end: SocketAddr, queued: &Receiver<Datagram>, passed: &AtomicU64) {
    for (at, datagram) in queued {
        let now = Instant::now();
        if at > now {
            std::thread::sleep(at - now);
        }
        // Too large for the link, as a probe may be: lost.
        to.send_to(&datagram, end).ok();
        passed.fetch_add(datagram.len() as u64, Ordering::Relaxed);
    }
}
