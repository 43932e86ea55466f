//! Targets for credit, routing and rate limits.

use std::collections::BTreeMap;
use std::time::Duration;

use polypeer_engine::gateway::router::{RECENT, Route, Router};
use polypeer_engine::link::credit::{INITIAL_WINDOW, MAX_WINDOW, ReceiveWindow, SendLimit};
use polypeer_engine::rate::{Bucket, Rate};
use polypeer_ipc_protocol::gateway::{CallMode, Scope};

use crate::choices::Choices;

/// Runs a stream's credit: a sender within its credit is never refused, and at most one window is unread.
pub fn credit(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let (credit, mut window) = (SendLimit::default(), ReceiveWindow::default());
    let (mut sent, mut consumed) = (0_u64, 0_u64);
    while choices.go_on() {
        match choices.below(4) {
            0 => {
                let room = credit.bytes() - sent;
                let part = (choices.number() % (room + 1)) as usize;
                window.handle_received(part).expect("within the credit");
                sent += part as u64;
            }
            1 => {
                let part = choices.number() % (sent - consumed + 1);
                window.handle_consumed(part as usize);
                consumed += part;
            }
            2 => {
                let room = choices.flag();
                if let Some(limit) = window.poll_credit(|_| room) {
                    credit.raise(limit);
                }
            }
            _ => {
                let late = choices.number() % (credit.bytes() + 1);
                assert!(!credit.raise(late), "one that comes late, or twice");
            }
        }
        assert!((INITIAL_WINDOW..=MAX_WINDOW).contains(&window.window()));
        assert!(credit.bytes() - consumed <= MAX_WINDOW, "granted and unread");
    }
    let over = (credit.bytes() - sent + 1) as usize;
    assert!(window.handle_received(over).is_err());
}

/// Runs the router: one listener for each protocol and scope, whichever session asks.
pub fn router(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let mut router = Router::new(Duration::from_secs(3));
    let mut model: BTreeMap<(bool, String), u64> = BTreeMap::new();
    while choices.go_on() {
        let (local, protocol) = (choices.flag(), choices.protocol());
        let key = (if local { Scope::Local } else { Scope::Peers }, protocol.clone());
        let entry = (local, protocol.to_string());
        let owner = choices.below(4) as u64;
        match choices.below(4) {
            0 => {
                let plugin = format!("plugin-{owner}").parse().expect("an id");
                let taken = model.get(&entry).is_some_and(|other| *other != owner);
                let listened = router.listen(key, owner, &plugin, CallMode::Events, owner);
                assert_eq!(listened.is_err(), taken);
                model.entry(entry).or_insert(owner);
            }
            1 => {
                let owned = model.get(&entry) == Some(&owner);
                assert_eq!(router.unlisten(&key, owner), owned);
                if owned {
                    model.remove(&entry);
                }
            }
            2 => {
                let now = choices.pass_time();
                router.handle_session_ended(owner, now.at);
                model.retain(|_, other| *other != owner);
            }
            _ => {
                let now = choices.pass_time();
                let launched = choices.flag().then_some(now.at);
                match (router.route(&key, launched, now.at), model.get(&entry)) {
                    (Route::To(owner, _), expected) => assert_eq!(Some(&owner), expected),
                    (Route::Hold(until), None) => assert!(until > now.at),
                    (Route::NotServed, None) => {}
                    (other, expected) => panic!("{other:?} where {expected:?} listens"),
                }
            }
        }
        let count = model.values().filter(|other| **other == owner).count();
        assert!(router.count(owner) == count && router.of(owner).len() == count && count <= RECENT);
    }
}

/// Runs a token bucket: it never gives more than the burst plus the refill.
pub fn rate(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let rate = Rate { burst: 1 + choices.below(20) as u32, per_second: choices.below(20) as u32 };
    let mut bucket = Bucket::new(rate);
    let start = choices.now();
    assert!(bucket.take(0, start.at), "nothing costs nothing"); // it counts from here
    let mut taken = 0_u64;
    while choices.go_on() {
        let now = choices.pass_time();
        let before = now.at.checked_sub(Duration::from_secs(choices.below(3) as u64)).unwrap_or(now.at);
        for (cost, at) in [(1 + choices.below(4), before), (1, now.at)] {
            if bucket.take(cost, at) {
                taken += cost as u64;
            }
        }
        let most = f64::from(rate.burst) + (now.at - start.at).as_secs_f64() * f64::from(rate.per_second);
        assert!(taken as f64 <= most + 1e-6, "{taken} of {most}");
    }
}
