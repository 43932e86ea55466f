//! Counters of events that are too frequent, or too cheap to provoke, for a log line each. The admin session's `Status`
//! reads them.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds 1.
    pub fn count(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The count so far.
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
    /// Questions of peer exchange that were refused: too frequent, or malformed.
    exchange_refused,
    /// False records in answers of peer exchange.
    exchange_lies,
    /// Records in answers of peer exchange from a zone that is not valid here.
    exchange_misplaced,
    /// Full nodes that were asked for other peers.
    full_nodes_asked,
    /// Gateway connections with a wrong token or session secret.
    gateway_unauthorised,
    /// Gateway connections closed because of malformed bytes.
    gateway_malformed,
    /// Gateway connections whose first frame did not arrive in time.
    gateway_silent,
    /// Gateway requests of unknown kind.
    gateway_unsupported,
    /// Events dropped because a plugin did not read.
    events_dropped,
    /// Gossip messages not delivered to a subscribed plugin, since its grants do not allow their author.
    messages_not_allowed,
    /// Gossip messages dropped because the subscribed plugin did not read.
    messages_unread,
    /// Gossip messages ignored because a plugin left too many without a verdict of its validator.
    messages_unjudged,
    /// Gossip frames dropped because a peer was too slow to read them, or accepts none.
    gossip_frames_dropped,
    /// Gossip messages dropped because a session's queue was full.
    gossip_undelivered,
    /// Breaches in gossip that lowered a peer's score.
    gossip_blames,
    /// Datagrams from peers dropped because no plugin receives their protocol, or not from that peer.
    datagrams_unwanted,
    /// Datagrams from peers dropped unread, because they exceeded the rate limit.
    datagrams_over_rate,
    /// Datagrams dropped because the plugin that receives them did not read.
    datagrams_unread,
    /// Datagrams of plugins refused because of the path to the peer, or of the rate limit.
    datagrams_not_sent,
    /// Streams and calls refused because their plugin's backlog was full.
    refused_busy,
    /// Calls refused because their caller had used up its share of the plugin's backlog; also counted in
    /// `refused_busy`.
    refused_over_share,
    /// Streams and data connections refused because of a limit on their number.
    refused_too_many,
    /// Requests and incoming streams refused for lack of a grant.
    refused_not_granted,
    /// Announced streams that the plugin did not claim in time.
    streams_unclaimed,
    /// Connections closed because the peer broke the protocol.
    peers_misbehaved,
    /// Connections closed because the peer is of another network.
    peers_other_network,
    /// Frames of unknown kind from peers; skipped.
    peer_frames_unknown,
    /// Clocks of peers that were ignored, most of them because they came too often.
    peer_clocks_ignored,
    /// Streams of peers refused unread, because too many before were useless.
    peer_streams_over_rate,
    /// Streams whose header or payload did not arrive in time.
    peer_headers_late,
    /// Answers to streams, calls and questions that the peer did not read in time.
    peer_answers_untaken,
    /// Calls, questions and streams of peers refused because the budget for incomplete payloads, or that for first bytes,
    /// was used up.
    peer_payloads_refused,
    /// Questions of peers refused because they were too frequent, or too many at once.
    questions_refused_busy,
    /// Questions of peers that took too long to answer.
    questions_late,
    /// Datagrams on query connections, where none are allowed; dropped.
    query_datagrams_dropped,
    /// Query connections made.
    query_connections_dialed,
    /// Query connections closed early to make room for others.
    query_connections_made_room,
    /// Questions not asked because all query connections were in use.
    query_connections_short,
    /// Query connections from other nodes refused because too many stood.
    query_connections_refused,
    /// Probes refused because too many were asked for, or one peer asked too often.
    probes_refused_busy,
    /// Address records from peers dropped because they were too frequent, out of date, or of another zone.
    peer_records_dropped,
    /// Address records from peers dropped because they do not have the address that the peer's packets come from.
    peer_records_elsewhere,
    /// Breaches of the protocol that the DHT found: forged records, answers that fit no question.
    dht_lies,
    /// Questions of the DHT dropped because too many were in flight.
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
