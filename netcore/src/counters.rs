//! What happened, as numbers: things that go wrong too often or too cheaply to be logged each time. They are read by
//! the admin session's `Status`; each is counted where it happens.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn count(&self) {
        self.add(1);
    }

    /// `n` more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// How many so far.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// The network core's counters, since it started.
        #[derive(Debug, Default)]
        pub struct Counters { $($(#[doc = $doc])* pub $name: Counter,)* }

        impl Counters {
            /// Every counter that is not zero, by name.
            pub fn list(&self) -> Vec<(String, u64)> {
                [$((stringify!($name), self.$name.value()),)*]
                    .into_iter()
                    .filter(|(_, value)| *value > 0)
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect()
            }
        }
    };
}

counters! {
    /// Questions for other nodes' records that were refused: too many of one peer, or none.
    exchange_refused,
    /// Things in answers of peer exchange that are not true.
    exchange_lies,
    /// Records in answers of peer exchange that mean nothing where this node is.
    exchange_misplaced,
    /// Nodes that had no place for a connection and were asked for others.
    full_nodes_asked,
    /// Gateway connections with a wrong token or session secret.
    gateway_unauthorised,
    /// Gateway connections ended for bytes that break the specification.
    gateway_malformed,
    /// Gateway connections whose first frame did not arrive in time.
    gateway_silent,
    /// Requests of kinds this netcore does not know.
    gateway_unsupported,
    /// Events dropped because a plugin did not read.
    events_dropped,
    /// Gossip messages not given to a subscribed plugin, since it may not deal with their author.
    messages_not_allowed,
    /// Gossip messages dropped because the plugin that is subscribed did not read.
    messages_unread,
    /// Gossip messages ignored because a plugin left too many without a verdict.
    messages_unjudged,
    /// Gossip frames dropped because a peer did not take them fast enough, or takes none.
    gossip_frames_dropped,
    /// Gossip messages that a session of this node had no room for.
    gossip_undelivered,
    /// Deeds in gossip that counted against a peer.
    gossip_blames,
    /// Datagrams from peers for protocols that no plugin receives, or not from them.
    datagrams_unwanted,
    /// Datagrams from peers dropped unread, for coming faster than they are looked at.
    datagrams_over_rate,
    /// Datagrams dropped because the plugin that receives them did not read.
    datagrams_unread,
    /// Datagrams of plugins refused because the path to the peer, or their rate, did not allow them.
    datagrams_not_sent,
    /// Streams and calls refused because their plugin had too much waiting.
    refused_busy,
    /// Calls refused because their caller has its share of what waits for the plugin; part of those above.
    refused_over_share,
    /// Streams refused for the limits on streams.
    refused_too_many,
    /// Requests and incoming streams refused for lack of a grant.
    refused_not_granted,
    /// Announced streams nobody claimed in time.
    streams_unclaimed,
    /// Connections closed because the peer broke the protocol.
    peers_misbehaved,
    /// Connections closed because the peer is of another network.
    peers_other_network,
    /// Frames of unknown kind from peers, skipped.
    peer_frames_unknown,
    /// Streams of peers refused unseen, because too many before came to nothing.
    peer_streams_over_rate,
    /// Streams whose header or payload did not arrive in time.
    peer_headers_late,
    /// Answers to streams, calls and questions that a peer left no room for; given up.
    peer_answers_untaken,
    /// Calls and questions of peers refused because too many payloads were on their way.
    peer_payloads_refused,
    /// Questions of peers refused because they came too fast, or too many at once.
    questions_refused_busy,
    /// Questions of peers that took too long to answer.
    questions_late,
    /// Datagrams on query connections, which have none.
    query_datagrams_dropped,
    /// Query connections made.
    query_connections_dialed,
    /// Query connections let go early to make room for others.
    query_connections_made_room,
    /// Questions not asked because all query connections were in use.
    query_connections_short,
    /// Query connections of others refused because too many stood.
    query_connections_refused,
    /// Peers not dialed back because too many asked, or one asked too often.
    probes_refused_busy,
    /// Address records from peers dropped because they came too fast, out of time, or for another zone.
    peer_records_dropped,
    /// Address records from peers dropped because they name no address that the peer's packets come from.
    peer_records_elsewhere,
    /// Nodes caught lying by the hash table: forged records, answers that fit no question.
    dht_lies,
    /// Questions the hash table wanted asked while too many were in flight.
    dht_calls_dropped,
    /// Events for the supervisor dropped because it did not read.
    admin_events_dropped,
    /// Admin requests answered `busy`.
    admin_busy,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_happened_is_listed() {
        let counters = Counters::default();
        counters.refused_busy.count();
        counters.refused_busy.add(2);
        assert_eq!(counters.list(), [("refused_busy".to_owned(), 3)]);
    }
}
