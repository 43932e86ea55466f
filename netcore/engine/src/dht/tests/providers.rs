//! Providers in answers: those listed here, and the asked node itself.

use std::time::Duration;

use super::one::{address, agree, ask, asker, befriend, keys, now, server};
use crate::dht::limits::{K, MAX_PROVIDERS_OF_KEY, PROVIDED_FOR};
use crate::dht::{Ask, Dht, DhtConfig, Job, Key, Outcome, Output, ProviderRecord, Response};
use crate::keys::Keys;
use crate::now::Now;

const SONG: Key = Key([7; 32]);

/// The keys of the server in these tests.
fn own() -> super::world::Cheap {
    keys(1_000_000)
}

fn told(dht: &mut Dht, now: Now, ip: &str, key: Key) -> Vec<ProviderRecord> {
    match ask(dht, now, &asker(9, ip), Ask::Providers { key }) {
        Response::Providers { providers, .. } => providers,
        other => panic!("{other:?}"),
    }
}

/// A node's own provider record.
fn of(number: u32, ip: &str, now: Now) -> ProviderRecord {
    let node = keys(number);
    ProviderRecord::sign(&node, SONG, now.unix + 600, address(node, &format!("{ip}:7470"), now))
}

#[test]
fn node_that_nobody_lists_says_itself_what_it_provides() {
    let now = now();
    let mut dht = server(now, DhtConfig::default());
    assert_eq!(told(&mut dht, now, "8.0.0.1", SONG), []);
    dht.start(now, Job::Provide(SONG)).unwrap();
    agree(&mut dht, now); // it knows nobody who could list it
    let later = now.after(Duration::from_secs(100_000));
    for at in [now, later] {
        let [provider] = &told(&mut dht, at, "8.0.0.1", SONG)[..] else { panic!("it alone is told") };
        assert_eq!((provider.address.node, provider.expires), (own().node(), at.unix + PROVIDED_FOR));
        assert_eq!(provider.key, SONG);
    }
    let provider = told(&mut dht, now, "8.0.0.1", SONG).remove(0);
    assert_eq!(provider.check(&own(), now), Ok(()));
    assert_eq!(told(&mut dht, now, "8.0.0.1", Key([8; 32])), [], "another key");
    dht.start(now, Job::Unprovide(SONG)).unwrap();
    assert_eq!(told(&mut dht, now, "8.0.0.1", SONG), []);
}

#[test]
fn it_tells_of_itself_only_where_it_can_be_dialed() {
    let now = now();
    let mut dht = server(now, DhtConfig::default());
    dht.set_own(now, vec![address(own(), "10.0.0.1:7470", now)]);
    dht.start(now, Job::Provide(SONG)).unwrap();
    agree(&mut dht, now);
    assert_eq!(told(&mut dht, now, "8.0.0.1", SONG), [], "private places mean nothing there");
    assert_eq!(told(&mut dht, now, "10.0.0.9", SONG).len(), 1);
}

#[test]
fn a_full_list_makes_room_for_the_node_itself() {
    let now = now();
    let mut dht = server(now, DhtConfig::default());
    for number in 0..MAX_PROVIDERS_OF_KEY as u32 {
        let ip = format!("9.{number}.0.1");
        let provider = of(number, &ip, now);
        assert_eq!(ask(&mut dht, now, &asker(number, &ip), Ask::Provide { provider }), Response::Done);
    }
    let nodes = |told: Vec<ProviderRecord>| told.into_iter().map(|provider| provider.address.node).collect::<Vec<_>>();
    let others = nodes(told(&mut dht, now, "8.0.0.1", SONG));
    assert_eq!(others.len(), MAX_PROVIDERS_OF_KEY);
    dht.start(now, Job::Provide(SONG)).unwrap();
    agree(&mut dht, now);
    let all = nodes(told(&mut dht, now, "8.0.0.1", SONG));
    assert_eq!(all[0], own().node());
    assert_eq!(all[1..], others[..MAX_PROVIDERS_OF_KEY - 1], "who came first is left out");
}

/// Searches among `K` contacts, each of which answers with what `list` returns for its number. Returns how many
/// providers were found, and how many contacts were asked.
fn search(list: impl Fn(u32, &str, Now) -> Vec<ProviderRecord>) -> (usize, usize) {
    let now = now();
    let mut dht = server(now, DhtConfig::default());
    befriend(&mut dht, now, K as u32);
    dht.start(now, Job::Providers { key: SONG, limit: MAX_PROVIDERS_OF_KEY }).unwrap();
    let (mut found, mut asked) = (0, 0);
    while let Some(output) = dht.poll(now) {
        match output {
            Output::Call { call, to, request } => {
                asked += usize::from(matches!(request.ask, Ask::Providers { .. }));
                let number = (0..K as u32).find(|number| keys(*number).node() == to.node).unwrap();
                let ip = to.addresses[0].ip().to_string();
                let answer = Response::Providers { providers: list(number, &ip, now), contacts: Vec::new() };
                dht.handle_answer(now, call, Some(to.addresses[0].ip()), Ok(answer));
            }
            Output::Done { outcome: Outcome::Providers(providers), .. } => found = providers.len(),
            other => panic!("{other:?}"),
        }
    }
    (found, asked)
}

#[test]
fn those_that_name_only_themselves_do_not_end_a_search() {
    assert_eq!(search(|number, ip, now| vec![of(number, ip, now)]), (K, K), "all are found");
    let (found, asked) = search(|_, _, now| vec![of(99, "60.0.0.1", now)]);
    assert!(found == 1 && asked < K, "four that list the same are enough, and {asked} were asked");
}
