//! The distributed hash table: Kademlia over authenticated connections.
