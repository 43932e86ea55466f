//! Tests of the socket with plain UDP sockets on loopback.

use std::future::poll_fn;
use std::net::UdpSocket;
use std::time::Duration;

use super::*;

const RELAY_TUNNEL: u64 = 7;

struct Fixture {
    socket: Arc<PathSocket>,
    paths: Arc<PathTable>,
    counters: Arc<Counters>,
    /// A plain UDP socket in the role of a peer or relay.
    other: UdpSocket,
}

impl Fixture {
    fn new() -> Self {
        let open = || {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
            socket.set_read_timeout(Some(Duration::from_secs(30))).expect("timeout");
            socket
        };
        let (paths, counters) = (Arc::new(PathTable::default()), Arc::new(Counters::default()));
        let own = open();
        own.set_nonblocking(true).expect("non-blocking");
        let socket = PathSocket::new(vec![own], Arc::clone(&paths), Arc::clone(&counters)).expect("socket");
        Self { socket: Arc::new(socket), paths, counters, other: open() }
    }

    fn other(&self) -> SocketAddr {
        self.other.local_addr().expect("address")
    }

    fn send(&self, datagram: &[u8]) {
        self.other.send_to(datagram, self.socket.local_addresses()[0]).expect("send");
    }

    /// The next datagrams for quinn: the sender's address as quinn sees it, and the contents.
    async fn receive(&self) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut space = vec![[0; 65536]; 4];
        let mut buffers: Vec<_> = space.iter_mut().map(|space| IoSliceMut::new(space)).collect();
        let mut metas = [RecvMeta::default(); 4];
        let receive = poll_fn(|cx| self.socket.poll_recv(cx, &mut buffers, &mut metas));
        let count = tokio::time::timeout(Duration::from_secs(30), receive).await.expect("in time").expect("received");
        let mut datagrams = Vec::new();
        for (buffer, meta) in buffers.iter().zip(metas).take(count) {
            datagrams.extend(buffer[..meta.len].chunks(meta.stride.max(1)).map(|part| (meta.addr, part.to_vec())));
        }
        datagrams
    }

    /// Sends as quinn does: if the socket would block, waits until it is writable.
    async fn transmit(&self, destination: SocketAddr, contents: &[u8], segment: Option<usize>) {
        let transmit = Transmit { destination, ecn: None, contents, segment_size: segment, src_ip: None };
        let mut poller = Arc::clone(&self.socket).create_io_poller();
        loop {
            poll_fn(|cx| poller.as_mut().poll_writable(cx)).await.expect("writable");
            match self.socket.try_send(&transmit) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return sent.expect("sent"),
            }
        }
    }

    fn arrived(&self) -> Vec<u8> {
        let mut buffer = [0; 2048];
        let length = self.other.recv(&mut buffer).expect("received");
        buffer[..length].to_vec()
    }
}

fn enveloped(packet: &[u8], id: u64) -> Vec<u8> {
    let mut wrapped = Vec::new();
    envelope::wrap(packet, packet.len(), id, &mut wrapped);
    wrapped
}

#[tokio::test]
async fn packet_of_a_known_tunnel_comes_from_its_synthetic_address_and_strange_ones_do_not_come() {
    let world = Fixture::new();
    let synthetic = world.paths.open(Route::Tunnel { relay: world.other(), id: RELAY_TUNNEL }).expect("room");
    world.send(&[0x10, 1, 2]);
    world.send(&enveloped(&[0x40, 1], RELAY_TUNNEL + 1));
    world.send(&enveloped(&[0x40, 2], RELAY_TUNNEL));
    assert_eq!(world.receive().await, [(synthetic, vec![0x40, 2])]);
    world.send(&[0x40, 3]);
    assert_eq!(world.receive().await, [(mapped(world.other()), vec![0x40, 3])]);
    assert_eq!(world.counters.strange.load(Ordering::Relaxed), 2);
    assert_eq!(world.counters.received_bytes.load(Ordering::Relaxed), 3 + 11 + 11 + 2);
}

#[tokio::test]
async fn buffer_with_packets_of_several_kinds_is_handed_on_in_parts() {
    let world = Fixture::new();
    let synthetic = world.paths.open(Route::Tunnel { relay: world.other(), id: RELAY_TUNNEL }).expect("room");
    let mut buffer = Vec::new();
    for first in [0x40, 0x41] {
        buffer.extend([[first; 1].as_slice(), &[0; 10]].concat());
    }
    buffer.extend(enveloped(&[0x42, 0], RELAY_TUNNEL));
    buffer.extend([0u8; 11]);
    buffer.extend([0x43, 9]);
    let mut meta = RecvMeta { addr: world.other(), len: buffer.len(), stride: 11, ..RecvMeta::default() };
    assert!(world.socket.admit(&mut buffer, &mut meta));
    assert_eq!((meta.len, meta.stride, meta.addr), (22, 11, mapped(world.other())));
    assert_eq!(world.receive().await, [(synthetic, vec![0x42, 0])]);
    assert_eq!(world.receive().await, [], "the strange one");
    assert_eq!(world.receive().await, [(mapped(world.other()), vec![0x43, 9])]);
    assert_eq!(world.counters.received_bytes.load(Ordering::Relaxed), 46, "each byte counted once");
}

#[tokio::test]
async fn segments_leave_each_in_its_envelope_and_plain_again_after_a_switch() {
    let world = Fixture::new();
    let synthetic = world.paths.open(Route::Tunnel { relay: world.other(), id: RELAY_TUNNEL }).expect("room");
    world.transmit(mapped(synthetic), &[0x40, 1, 0x40, 2, 0x40], Some(2)).await;
    for packet in [&[0x40, 1][..], &[0x40, 2], &[0x40]] {
        assert_eq!(world.arrived(), enveloped(packet, RELAY_TUNNEL));
    }
    world.paths.release(synthetic);
    world.transmit(mapped(synthetic), &[0x40, 4], None).await;
    assert_eq!(world.counters.unroutable.load(Ordering::Relaxed), 1, "it stands for nothing any more");
    world.transmit(mapped(world.other()), &[0x40, 5], None).await;
    assert_eq!(world.arrived(), [0x40, 5]);
}

#[tokio::test]
async fn address_no_socket_can_send_to_never_reaches_the_kernel() {
    let world = Fixture::new();
    for text in
        ["192.0.2.1:9", "[::1]:9", "127.0.0.1:0", "0.0.0.0:9", "224.0.0.1:9", "255.255.255.255:9", "[fe80::1]:9"]
    {
        let address = text.parse().expect("address");
        assert!(!world.socket.reaches(address), "{text}");
        world.transmit(mapped(address), &[0x40], None).await;
    }
    assert_eq!(world.counters.unroutable.load(Ordering::Relaxed), 7);
    assert!(world.socket.reaches(world.other()));
}
