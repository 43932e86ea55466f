//! Targets for requests, responses and frames between netcores.

use std::net::Ipv4Addr;
use std::sync::Arc;

use polypeer_engine::address::AddressRecord;
use polypeer_engine::dht::{Request, Response};
use polypeer_engine::discovery::exchange::{Exchange, MAX_RECORDS};
use polypeer_engine::gossip::wire::{Frame, read_body};
use polypeer_engine::reach::wire::{Probed, Request as ProbeRequest};

use super::reads_back;
use crate::keys::{CheapKeys, node};
use crate::samples::now;

/// Decodes requests and responses of `kad/1`.
pub fn kad(bytes: &[u8]) {
    if let Ok(request) = Request::decode(bytes) {
        assert_eq!(Request::decode(&request.encode()).ok(), Some(request));
    }
    if let Ok(response) = Response::decode(bytes) {
        assert_eq!(Response::decode(&response.encode()).ok(), Some(response));
    }
}

/// Decodes a request and a response of `exchange/1`.
pub fn exchange(bytes: &[u8]) {
    let (now, peer, ip) = (now(), node(1), Ipv4Addr::new(203, 0, 113, 9).into());
    let mut exchange = Exchange::new(Arc::new(CheapKeys(node(0))), [0; 32]);
    for record in exchange.take(now, &peer, ip, bytes).records {
        assert!(record.check(&CheapKeys(node(0)), now).is_ok());
        exchange.learn(now, record);
    }
    if let Ok(wanted) = exchange.admit(now, &node(2), bytes) {
        let answer = exchange.reply(now, &node(2), ip, wanted, &[]);
        let taken = Exchange::new(Arc::new(CheapKeys(node(2))), [0; 32]).take(now, &node(0), ip, &answer);
        assert!(taken.lies == 0 && taken.records.len() <= MAX_RECORDS, "own answers are no lies");
    }
}

/// Decodes requests and responses of `probe/1`.
pub fn probe(bytes: &[u8]) {
    if let Ok(request) = ProbeRequest::decode(bytes) {
        assert_eq!(ProbeRequest::decode(&request.encode()).ok(), Some(request));
    }
    if let Ok(probed) = Probed::decode(bytes) {
        assert_eq!(Probed::decode(&probed.encode()).ok(), Some(probed));
    }
}

/// Decodes a frame of `gossip/1`.
pub fn gossip(bytes: &[u8]) {
    if let Some(frame) = reads_back::<Frame>(bytes) {
        assert!(frame.payload() <= frame.size());
        assert_eq!(read_body(bytes).ok().flatten(), Some(frame));
    }
}

/// Decodes and checks an address record.
pub fn address_record(bytes: &[u8]) {
    if let Some(record) = reads_back::<AddressRecord>(bytes) {
        let _ = record.check(&CheapKeys(node(0)), now());
        record.zone();
        record.is_expired(now());
    }
}
