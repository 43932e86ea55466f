//! A stand-in for a relay: passes envelopes on as they are, slowly. The tunnel id is not looked at: there is one tunnel.

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What it passes on, bytes a second in each direction.
pub(crate) const RATE: f64 = 1_000_000.0;
/// How long each datagram takes besides.
const DELAY: Duration = Duration::from_millis(20);
/// How much may wait, as time.
const QUEUE: Duration = Duration::from_millis(100);
/// How often the threads look whether to end.
const TICK: Duration = Duration::from_millis(50);

/// A running relay; it ends with this.
pub(crate) struct Relay {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    /// Bytes passed on.
    pub(crate) passed: Arc<AtomicU64>,
}

impl Relay {
    /// Passes what `ends.0` sends to `sockets.0` on to `ends.1` from `sockets.1`, and back.
    pub(crate) fn start(sockets: (SocketAddr, SocketAddr), ends: (SocketAddr, SocketAddr)) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let passed = Arc::new(AtomicU64::new(0));
        let open = |address| {
            let socket = UdpSocket::bind(address).expect("bind relay");
            socket.set_read_timeout(Some(Duration::from_micros(200))).expect("timeout");
            Arc::new(socket)
        };
        let (one, other) = (open(sockets.0), open(sockets.1));
        let threads = [(&one, &other, ends.1), (&other, &one, ends.0)]
            .into_iter()
            .map(|(from, to, end)| {
                let (from, to, stop, passed) =
                    (Arc::clone(from), Arc::clone(to), Arc::clone(&stop), Arc::clone(&passed));
                std::thread::spawn(move || pass(&from, &to, end, &stop, &passed))
            })
            .collect();
        Self { stop, threads, passed }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("relay thread");
        }
    }
}

fn pass(from: &UdpSocket, to: &UdpSocket, end: SocketAddr, stop: &AtomicBool, passed: &AtomicU64) {
    let mut queue: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut free_at = Instant::now();
    let mut buffer = [0; 2048];
    let mut looked = Instant::now();
    loop {
        let now = Instant::now();
        if now > looked + TICK {
            looked = now;
            if stop.load(Ordering::Relaxed) {
                return;
            }
        }
        while queue.front().is_some_and(|(at, _)| *at <= now) {
            let (_, datagram) = queue.pop_front().expect("looked at");
            to.send_to(&datagram, end).ok();
            passed.fetch_add(datagram.len() as u64, Ordering::Relaxed);
        }
        let Ok(length) = from.recv(&mut buffer) else { continue };
        let now = Instant::now();
        free_at = free_at.max(now);
        if free_at - now < QUEUE {
            free_at += Duration::from_secs_f64(length as f64 / RATE);
            queue.push_back((free_at + DELAY, buffer[..length].to_vec()));
        }
    }
}
