//! QUIC's parameters. Each connection gets a configuration of its own, since its congestion controller follows its own
//! path.

use std::sync::Arc;
use std::time::Duration;

use quinn::{MtuDiscoveryConfig, TransportConfig, VarInt};

use super::congestion::PathAwareConfig;
use super::path::Switches;
use crate::limits::{LINK_SEND_WINDOW, QUERY_IDLE, QUERY_STREAMS, START_WINDOW};

/// Idle timeout: how long a connection stands without a packet from the peer.
pub const IDLE: Duration = Duration::from_secs(15);
/// Window of one stream, bytes: 1 Gbit/s over 64 ms. Netcore's own credit per stream ends below it, and so does the
/// window of the connection, which starts at [`START_WINDOW`] and is widened as the link earns it (`crate::link`).
const STREAM_WINDOW: u32 = 8 << 20;
/// Bidirectional streams that a peer may open at first. Netcore allows more as they are used.
const STREAMS: u32 = 256;
/// Unidirectional streams that a peer may open: its control stream.
const UNI_STREAMS: u32 = 1;
/// Bytes of received datagrams that QUIC may hold. Netcore takes them out at once, but its thread may have to wait for
/// the scheduler. Beyond this, QUIC drops the oldest.
const DATAGRAMS_RECEIVED: usize = 128 << 10;
/// Bytes of datagrams that wait to be sent. Datagrams are sent before stream bytes, so only few may wait.
const DATAGRAMS_TO_SEND: usize = 64 << 10;
/// Window of a stream on a query connection that this node dialed, bytes: a whole answer fits in it.
const QUERY_STREAM_WINDOW: u32 = 80 << 10;
/// Interval of MTU discovery: when to try larger packets again after the path did not carry the largest, and after it
/// stopped carrying a size. quinn's defaults, 10 minutes and 1 minute, suit paths that stay; after a switch from a
/// tunnel, the larger packets of the direct path should be used soon. Costs at most a dozen probes each time, and only
/// while data is being sent.
const MTU_INTERVAL: Duration = Duration::from_secs(10);

/// The parameters of a connection that may become a link. `largest`: the largest packet that its path may carry, bytes.
pub(super) fn transport(switches: Arc<Switches>, idle: Duration, largest: u16) -> TransportConfig {
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(largest).interval(MTU_INTERVAL).black_hole_cooldown(MTU_INTERVAL);
    let mut config = TransportConfig::default();
    config
        // Three keep-alives within the idle timeout.
        .keep_alive_interval(Some(idle / 3))
        .max_idle_timeout(Some(idle.try_into().expect("idle times are minutes at most")))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(START_WINDOW))
        .send_window(LINK_SEND_WINDOW)
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(UNI_STREAMS))
        .datagram_receive_buffer_size(Some(DATAGRAMS_RECEIVED))
        .datagram_send_buffer_size(DATAGRAMS_TO_SEND)
        .mtu_discovery_config(Some(mtu))
        .congestion_controller_factory(Arc::new(PathAwareConfig::new(switches)));
    config
}

/// Parameters of query connections that this node dials: small windows, and no keep-alives.
pub(super) fn query() -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_idle_timeout(Some(QUERY_IDLE.try_into().expect("some seconds")))
        .stream_receive_window(VarInt::from_u32(QUERY_STREAM_WINDOW))
        .receive_window(VarInt::from_u32(QUERY_STREAMS * QUERY_STREAM_WINDOW))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .mtu_discovery_config(None);
    config
}
