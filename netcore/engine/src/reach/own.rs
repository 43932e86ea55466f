//! This node's own address records: one for each zone in which it can be dialed. They are signed again when the
//! addresses change, long before they expire, and when the clock was set. Pure.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::address::{AddressRecord, RECORD_LIFETIME, Zone, fitting};
use crate::keys::SharedKeys;
use crate::now::Now;

/// Age at which a record is signed again: most of its lifetime is left for those that hold it and do not ask again.
const RENEWAL: Duration = Duration::from_secs(RECORD_LIFETIME / 4);
/// Seconds by which the clock may have changed since a record was signed: far less than makes others reject the record,
/// and more than a clock is slewed by.
const CLOCK_STEP: u64 = 60;

/// This node's own address records.
pub struct OwnRecords {
    keys: SharedKeys,
    records: BTreeMap<Zone, Arc<AddressRecord>>,
    sequence: u64,
    signed: Option<Now>,
}

impl OwnRecords {
    /// Creates one without records.
    pub fn new(keys: SharedKeys) -> Self {
        Self { keys, records: BTreeMap::new(), sequence: 0, signed: None }
    }

    /// Sets the addresses at which the node can be dialed now; returns the records if they were signed again.
    pub fn set(&mut self, now: Now, confirmed: &BTreeMap<Zone, Vec<SocketAddr>>) -> Option<Vec<Arc<AddressRecord>>> {
        let due = self.next_timeout().is_some_and(|due| due <= now.at) || self.was_clock_set(now);
        let same = confirmed.len() == self.records.len()
            && confirmed.iter().all(|(zone, addresses)| {
                self.records.get(zone).is_some_and(|record| record.addresses == fitting(addresses))
            });
        if same && !due {
            return None;
        }
        self.signed = Some(now);
        // Milliseconds grow over restarts without a file. After a clock was set back, peers keep the older record until
        // this node itself sends them the new one, or until it expires.
        self.sequence = (self.sequence + 1).max(now.unix.saturating_mul(1000));
        let sign = |addresses: &Vec<SocketAddr>| {
            AddressRecord::sign(self.keys.as_ref(), fitting(addresses), self.sequence, now)
        };
        self.records = confirmed.iter().map(|(zone, addresses)| (*zone, Arc::new(sign(addresses)))).collect();
        Some(self.records.values().cloned().collect())
    }

    /// When [`Self::set`] is to sign the records again.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.signed.filter(|_| !self.records.is_empty()).map(|signed| signed.at + RENEWAL)
    }

    /// Whether the clock was wrong when the records were signed, or is now: others would reject their time.
    fn was_clock_set(&self, now: Now) -> bool {
        self.signed.filter(|_| !self.records.is_empty()).is_some_and(|signed| {
            let expected = signed.unix.saturating_add(now.at.saturating_duration_since(signed.at).as_secs());
            expected.abs_diff(now.unix) > CLOCK_STEP
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Signer};

    fn zones(texts: &[&str]) -> BTreeMap<Zone, Vec<SocketAddr>> {
        let mut zones: BTreeMap<Zone, Vec<SocketAddr>> = BTreeMap::new();
        for text in texts {
            let address: SocketAddr = text.parse().unwrap();
            zones.entry(Zone::of(address.ip())).or_default().push(address);
        }
        zones
    }

    #[test]
    fn each_zone_has_a_record_and_a_change_has_a_higher_sequence() {
        let identity = Arc::new(Signer::generate());
        let mut own = OwnRecords::new(identity.clone());
        let now = testing::now();
        let both = zones(&["10.0.0.1:7470", "203.0.113.9:7470"]);
        let first = own.set(now, &both).unwrap();
        assert_eq!(first.iter().map(|record| record.zone()).collect::<Vec<_>>(), [Zone::Private, Zone::Public]);
        assert!(first.iter().all(|record| record.check(identity.as_ref(), now).is_ok()));
        assert_eq!(own.set(now, &both), None, "nothing changed");
        let second = own.set(now, &zones(&["203.0.113.9:7471"])).unwrap();
        assert!(second.len() == 1 && second[0].sequence > first[1].sequence);
        assert_eq!(own.set(now, &BTreeMap::new()).unwrap(), []);
        assert_eq!(own.next_timeout(), None, "there is nothing to renew");
    }

    #[test]
    fn records_are_renewed_long_before_they_expire_also_by_a_restarted_node() {
        let identity = Arc::new(Signer::generate());
        let now = testing::now();
        let address = zones(&["203.0.113.9:7470"]);
        let mut own = OwnRecords::new(identity.clone());
        let first = own.set(now, &address).unwrap();
        let due = now.after(own.next_timeout().unwrap() - now.at);
        assert!(!first[0].is_expired(due));
        let renewed = own.set(due, &address).unwrap();
        assert!(renewed[0].time > first[0].time && renewed[0].sequence > first[0].sequence);
        let restarted = OwnRecords::new(identity).set(now.after(Duration::from_secs(1)), &address).unwrap();
        assert!(restarted[0].sequence > first[0].sequence);
    }

    #[test]
    fn records_signed_by_a_wrong_clock_are_signed_anew_once_it_is_set() {
        let identity = Arc::new(Signer::generate());
        let address = zones(&["203.0.113.9:7470"]);
        let real = testing::now();
        for wrong in [real.unix + 900, real.unix - 2 * RECORD_LIFETIME] {
            let mut own = OwnRecords::new(identity.clone());
            let first = own.set(Now { unix: wrong, ..real }, &address).unwrap();
            assert!(first[0].check(identity.as_ref(), real).is_err());
            let second = own.set(real, &address).expect("signed anew");
            assert_eq!(second[0].check(identity.as_ref(), real), Ok(()));
            assert!(second[0].sequence > first[0].sequence);
            assert_eq!(own.set(real.after(Duration::from_secs(600)), &address), None);
            let slewed = Now { unix: real.unix + 600 + CLOCK_STEP, ..real.after(Duration::from_secs(600)) };
            assert_eq!(own.set(slewed, &address), None);
        }
    }

    #[test]
    fn a_record_holds_no_more_addresses_than_it_may() {
        let identity = Arc::new(Signer::generate());
        let mut many: Vec<String> = (1..20).map(|last| format!("203.0.113.{last}:1")).collect();
        many.extend((1..20).map(|network| format!("198.51.{network}.1:1")));
        let many = zones(&many.iter().map(String::as_str).collect::<Vec<_>>());
        let records = OwnRecords::new(identity.clone()).set(testing::now(), &many).unwrap();
        assert_eq!(records[0].check(identity.as_ref(), testing::now()), Ok(()));
    }
}
