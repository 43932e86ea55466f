//! The numbers QUIC runs with. Everything per connection is made per connection, since each has a congestion controller
//! that follows its own path.

use std::sync::Arc;
use std::time::Duration;

use quinn::{MtuDiscoveryConfig, TransportConfig, VarInt};

use super::congestion::PathAwareConfig;
use super::path::Switches;
use crate::limits::{LINK_SEND_WINDOW, QUERY_IDLE, QUERY_STREAMS, START_WINDOW};

/// How long a connection lives without a sign of the other side.
pub const IDLE: Duration = Duration::from_secs(15);
/// Bytes one stream may have under way: a gigabit over 64 ms. Netcore's own credit per stream ends below it, and so does the
/// window of the connection, which starts at [`START_WINDOW`] and is widened as the link earns it (`crate::link`).
const STREAM_WINDOW: u32 = 8 << 20;
/// Streams a peer may open before netcore grants more, as they are used.
const STREAMS: u32 = 256;
/// Unidirectional streams: the one that carries control. None is ever added, as nobody would read it.
const UNI_STREAMS: u32 = 1;
/// Bytes of received datagrams that QUIC may hold: netcore takes them out at once, and its thread may be a scheduler's turn
/// behind. Beyond, QUIC drops the oldest.
const DATAGRAMS_RECEIVED: usize = 128 << 10;
/// Bytes of datagrams that wait to be sent: they go before the bytes of streams, so few may be ahead of those.
const DATAGRAMS_TO_SEND: usize = 64 << 10;
/// Bytes of one answer on a query connection: all of it.
const QUERY_STREAM_WINDOW: u32 = 80 << 10;
/// How often a larger packet size is tried where the path did not take the largest, and how long after one that used to
/// pass stopped passing. quinn's 10 minutes and 1 minute are for paths that stay; after a move from a tunnel the larger
/// packets of the direct path should come soon. Costs at most a dozen probes each time, and only where something is
/// being sent anyway.
const MTU_INTERVAL: Duration = Duration::from_secs(10);

pub(super) fn transport(switches: Arc<Switches>, idle: Duration) -> TransportConfig {
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.interval(MTU_INTERVAL).black_hole_cooldown(MTU_INTERVAL);
    let mut config = TransportConfig::default();
    config
        // Three chances within the idle time.
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

/// For connections that carry questions between netcores: small, and without signs of life.
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
