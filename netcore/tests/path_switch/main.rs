//! Two nodes start on a path tunnelled through a third and move to the direct one while bytes flow: none is lost, and
//! the direct path's throughput is there within a second. Needs root, for network namespaces; says so and passes where
//! there is none. `docs/decisions/` has the figures of several ways to do it.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::print_stderr, reason = "tests")]

mod hop;
mod world;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hop::{Hop, Quality};
use polypeer_ipc_protocol::gateway::Path;
use polypeer_netcore::identity::Identity;
use polypeer_netcore::peers::{Established, Peers, PeersConfig};
use polypeer_netcore::transport::{PathHandle, Route};
use quinn::{RecvStream, SendStream};
use ring::digest::{Context, SHA256};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use world::{Place, World};

const PATIENCE: Duration = Duration::from_secs(60);
const PORT: u16 = 7470;
/// The tunnel: slow, with a queue that fills.
const TUNNEL: Quality = Quality { rate: 0.5e6, delay: Duration::from_millis(20), queue: Duration::from_millis(100) };
/// The direct path: what it holds (a round trip of 50 ms at 40 Mbit/s) is several times what the tunnel holds, so that
/// a window grown in the tunnel is far too small for it. No faster, so that a busy machine can run it.
const DIRECT: Quality = Quality { rate: 5e6, delay: Duration::from_millis(25), queue: Duration::from_millis(50) };
/// Transfers until one shows what is asserted: with nothing to spare the machine itself is the slower path.
const TRIES: usize = 5;
/// What the tunnel has carried when the switch comes.
const BEFORE: u64 = 1_000_000;
/// How long bytes flow after the switch.
const AFTER: Duration = Duration::from_secs(5);

struct Node {
    peers: Peers,
    established: mpsc::UnboundedReceiver<Established>,
    _home: tempfile::TempDir,
}

fn start(world: &World, place: Place) -> Node {
    let handle = Handle::current();
    world.inside(place, move || {
        let home = tempfile::tempdir().expect("temporary folder");
        let mut config = PeersConfig::new(home.path().to_owned(), Arc::new(Identity::generate()));
        config.listen = vec![SocketAddr::from(([0, 0, 0, 0], PORT))];
        config.explicit_listen = true;
        let (sender, established) = mpsc::unbounded_channel();
        let on_established = Arc::new(move |new| {
            sender.send(new).ok();
        });
        // Sockets are made on this thread, in this namespace; tasks run on the test's runtime.
        let peers = handle.block_on(Peers::bind(config, on_established)).expect("bind");
        peers.open();
        Node { peers, established, _home: home }
    })
}

/// Bytes received until a moment.
#[derive(Default)]
struct Progress(Vec<(Instant, u64)>);

impl Progress {
    fn at(&self, when: Instant) -> u64 {
        let index = self.0.partition_point(|(at, _)| *at <= when);
        index.checked_sub(1).map_or(0, |index| self.0[index].1)
    }

    /// Mean rate, bytes a second.
    fn rate(&self, from: Instant, to: Instant) -> f64 {
        (self.at(to) - self.at(from)) as f64 / (to - from).as_secs_f64()
    }
}

/// Sends bytes that repeat nowhere until told to stop; their number and hash.
async fn send_all(mut stream: SendStream, stop: Arc<AtomicBool>) -> (u64, Vec<u8>) {
    let mut context = Context::new(&SHA256);
    let mut block = vec![0; 64 << 10];
    let (mut sent, mut number) = (0, 0x9e37_79b9_7f4a_7c15_u64);
    while !stop.load(Ordering::Relaxed) {
        for word in block.chunks_exact_mut(8) {
            // xorshift64 (Marsaglia, 2003).
            number ^= number << 13;
            number ^= number >> 7;
            number ^= number << 17;
            word.copy_from_slice(&number.to_le_bytes());
        }
        stream.write_all(&block).await.expect("write");
        context.update(&block);
        sent += block.len() as u64;
    }
    stream.finish().expect("finish");
    (sent, context.finish().as_ref().to_vec())
}

async fn receive_all(mut stream: RecvStream, progress: Arc<Mutex<Progress>>) -> (u64, Vec<u8>) {
    let mut context = Context::new(&SHA256);
    let mut received = 0;
    while let Some(chunk) = stream.read_chunk(256 << 10, true).await.expect("read") {
        context.update(&chunk.bytes);
        received += chunk.bytes.len() as u64;
        progress.lock().expect("lock").0.push((Instant::now(), received));
    }
    (received, context.finish().as_ref().to_vec())
}

/// What one transfer showed.
struct Run {
    progress: Arc<Mutex<Progress>>,
    switched: Instant,
    /// Bytes that passed the relay in this direction and back, before the switch and after it.
    relayed: (u64, u64),
}

impl Run {
    fn rate(&self, from: f64, to: f64) -> f64 {
        let at = |seconds: f64| {
            if seconds < 0.0 {
                self.switched - Duration::from_secs_f64(-seconds)
            } else {
                self.switched + Duration::from_secs_f64(seconds)
            }
        };
        self.progress.lock().expect("lock").rate(at(from), at(to))
    }
}

impl Run {
    /// All figures, for people.
    fn report(&self, connection: &quinn::Connection) -> String {
        let rate = |from, to| format!("{:.1}", self.rate(from, to) * 8.0 / 1e6);
        let tenths: Vec<_> = (0..10).map(|i| f64::from(i) / 10.0).map(|from| rate(from, from + 0.1)).collect();
        let path = connection.stats().path;
        format!(
            "tunnel {}, [1 s, 2 s] {}, steady {} Mbit/s; first second by tenths {}; packets of {}, {} lost",
            rate(-1.0, 0.0),
            rate(1.0, 2.0),
            rate(3.0, 5.0),
            tenths.join(" "),
            path.current_mtu,
            path.lost_packets,
        )
    }
}

/// Moves both ends, each when the other already listens on the new path.
fn switch(a: &PathHandle, b: &PathHandle) {
    let (to_b, to_a) = (SocketAddr::from(([10, 77, 3, 9], PORT)), SocketAddr::from(([10, 77, 4, 9], PORT)));
    a.accept_from(Route::Direct(to_b)).expect("room");
    b.accept_from(Route::Direct(to_a)).expect("room");
    a.switch_to(Route::Direct(to_b)).expect("room");
    b.switch_to(Route::Direct(to_a)).expect("room");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_moves_to_the_direct_path_under_load() {
    let world = match World::new() {
        Ok(world) => world,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let at = |text: &str| -> SocketAddr { format!("{text}:{PORT}").parse().expect("address") };
    let (relay_a, relay_b) = (at("10.77.1.9"), at("10.77.2.9"));
    let (relay, _direct) = world.inside(Place::Between, || {
        (
            Hop::start(TUNNEL, (relay_a, relay_b), (at("10.77.1.1"), at("10.77.2.2"))),
            Hop::start(DIRECT, (at("10.77.3.9"), at("10.77.4.9")), (at("10.77.3.1"), at("10.77.4.2"))),
        )
    });
    let (a, mut b) = (start(&world, Place::A), start(&world, Place::B));

    b.peers.transport().tunnel(relay_b, 7).expect("tunnel");
    let through = a.peers.transport().tunnel(relay_a, 7).expect("tunnel");
    let mut a = a;
    a.peers.connect(b.peers.node(), &[through], Instant::now() + PATIENCE).await.expect("connected");
    let at_a = a.established.recv().await.expect("established");
    let at_b = b.established.recv().await.expect("established");
    assert_eq!(at_a.path.route(), Route::Tunnel { relay: relay_a, id: 7 });

    for (name, from, to) in [("dialer sends", &at_a, &at_b), ("acceptor sends", &at_b, &at_a)] {
        let mut shown = false;
        for _ in 0..TRIES {
            at_a.path.switch_to(Route::Tunnel { relay: relay_a, id: 7 }).expect("room");
            at_b.path.switch_to(Route::Tunnel { relay: relay_b, id: 7 }).expect("room");
            let run = transfer(&relay, from, to, || switch(&at_a.path, &at_b.path)).await;
            let (through_relay, after_switch) = run.relayed;
            assert!(through_relay >= BEFORE, "{name}: the tunnel was in use: {through_relay}");
            // What it held: rate times delay and queue, and once more for what was on its way there.
            assert!(after_switch < BEFORE / 4, "{name}: the tunnel was left: {after_switch}");
            assert_eq!(from.path.route().kind(), Path::Direct);
            let (tunnel, second, steady) = (run.rate(-1.0, 0.0), run.rate(1.0, 2.0), run.rate(3.0, 5.0));
            eprintln!("{name}: {}", run.report(&from.connection));
            // Several times the tunnel's, and as good as it ever gets.
            shown = second > 4.0 * tunnel && second > 0.5 * steady;
            if shown {
                break;
            }
        }
        assert!(shown, "{name}: the direct path's throughput is not there after a second");
    }
}

async fn transfer(relay: &Hop, from: &Established, to: &Established, switch: impl FnOnce()) -> Run {
    let passed = || relay.passed.load(Ordering::Relaxed);
    let start = passed();
    let (sending, _) = from.connection.open_bi().await.expect("stream");
    let stop = Arc::new(AtomicBool::new(false));
    let sender = tokio::spawn(send_all(sending, Arc::clone(&stop)));
    let (_, receiving) = to.connection.accept_bi().await.expect("accept");
    let progress = Arc::new(Mutex::new(Progress::default()));
    let receiver = tokio::spawn(receive_all(receiving, Arc::clone(&progress)));
    let deadline = Instant::now() + PATIENCE;
    while progress.lock().expect("lock").at(Instant::now()) < BEFORE {
        assert!(Instant::now() < deadline, "the tunnel carries nothing");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (switched, middle) = (Instant::now(), passed());
    switch();
    // The measurement itself: bytes flow for this long.
    tokio::time::sleep(AFTER).await;
    stop.store(true, Ordering::Relaxed);
    let (sent, received) = (sender.await.expect("sender"), receiver.await.expect("receiver"));
    assert_eq!(sent, received, "bytes lost or changed");
    Run { progress, switched, relayed: (middle - start, passed() - middle) }
}
