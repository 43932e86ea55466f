use super::*;
use crate::testing;

struct World {
    schedule: Schedule,
    now: Now,
    start: Now,
}

impl World {
    fn new(enabled: &[Source]) -> Self {
        let now = testing::now();
        let config = ScheduleConfig { enabled: enabled.to_vec(), low: 8 };
        Self { schedule: Schedule::new(config, now, [1; 32]), now, start: now }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
    }

    /// Advances to the next question; returns its source and the time since the start.
    fn next(&mut self) -> (Source, Duration) {
        for _ in 0..100 {
            if let Some(source) = self.schedule.poll(self.now) {
                return (source, self.now.at - self.start.at);
            }
            let at = self.schedule.next_timeout().expect("some source is on");
            assert!(at > self.now.at, "a timeout that is over, and nothing to do");
            self.pass(at - self.now.at);
        }
        panic!("no source is asked");
    }

    fn state(&self, source: Source) -> SourceState {
        self.schedule.report().iter().find(|report| report.source == source).expect("every source is reported").state
    }
}

#[test]
fn sources_are_asked_in_order_each_soon_after_one_that_found_nobody() {
    let mut world = World::new(&Source::ASKED);
    for (index, expected) in Source::ASKED.into_iter().enumerate() {
        let (source, at) = world.next();
        assert_eq!((source, at), (expected, SETTLE * index as u32));
        assert_eq!(world.schedule.poll(world.now), None, "one at a time");
        world.schedule.answered(world.now, source, Ok(0));
    }
}

#[test]
fn source_that_is_off_is_never_asked_and_says_so() {
    let mut world = World::new(&[Source::List, Source::Exchange]);
    for _ in 0..20 {
        let (source, _) = world.next();
        assert!(source == Source::List || source == Source::Exchange);
        world.schedule.answered(world.now, source, Ok(0));
    }
    assert_eq!(world.state(Source::Mainline), SourceState::Off);
    let mut nothing = World::new(&[]);
    assert_eq!((nothing.schedule.poll(nothing.now), nothing.schedule.next_timeout()), (None, None));
}

#[test]
fn silent_source_does_not_hold_up_the_next_one() {
    let mut world = World::new(&[Source::Dns, Source::List]);
    assert_eq!(world.next().0, Source::Dns);
    assert_eq!(world.next(), (Source::List, PATIENCE));
    world.schedule.answered(world.now, Source::List, Ok(1));
    world.schedule.peers(world.now, 8);
    assert_eq!(world.state(Source::Dns), SourceState::Asking);
    world.pass(GIVE_UP);
    world.schedule.poll(world.now);
    assert_eq!(world.state(Source::Dns), SourceState::Failing);
    world.schedule.answered(world.now, Source::Dns, Ok(5));
    assert_eq!(world.state(Source::Dns), SourceState::Failing, "an answer after giving up is none");
}

#[test]
fn waits_grow_while_nothing_is_found_and_shrink_when_something_is() {
    let mut world = World::new(&[Source::Dns]);
    let mut waits = Vec::new();
    let mut before = Duration::ZERO;
    for _ in 0..8 {
        let (source, at) = world.next();
        waits.push((at - before).as_secs_f64());
        before = at;
        world.schedule.answered(world.now, source, Err("no such name".into()));
    }
    for (wait, middle) in waits.iter().skip(1).zip([30.0, 60.0, 120.0, 240.0, 300.0, 300.0, 300.0]) {
        assert!((middle * 0.75..middle * 1.25).contains(wait), "{waits:?}");
    }
    let (source, at) = world.next();
    world.schedule.answered(world.now, source, Ok(1));
    let wait = (world.next().1 - at).as_secs_f64();
    assert!((15.0 * 0.75..15.0 * 1.25).contains(&wait), "{wait}");
}

#[test]
fn node_with_enough_peers_asks_rarely_and_at_once_when_it_loses_them() {
    let mut world = World::new(&[Source::Remembered, Source::Exchange]);
    for _ in 0..2 {
        let (source, _) = world.next();
        world.schedule.peers(world.now, 8);
        world.schedule.answered(world.now, source, Ok(4));
    }
    let since = world.now.at;
    let (_, at) = world.next();
    assert!(at > Duration::from_secs(400), "{at:?}");
    world.now.at = since + Duration::from_secs(60);
    world.schedule.start_over(world.now);
    for _ in 0..2 {
        let (source, _) = world.next();
        world.schedule.answered(world.now, source, Ok(0));
    }
    world.pass(Duration::from_secs(120));
    world.schedule.peers(world.now, 7);
    assert_eq!(world.schedule.poll(world.now), Some(Source::Remembered), "it lost one too many");
}

#[test]
fn state_tells_what_came_of_the_last_question() {
    let mut world = World::new(&[Source::Lan, Source::Dns]);
    assert_eq!(world.state(Source::Lan), SourceState::Idle);
    assert_eq!(world.next().0, Source::Lan);
    assert_eq!(world.state(Source::Lan), SourceState::Asking);
    world.schedule.answered(world.now, Source::Lan, Ok(0));
    assert_eq!(world.state(Source::Lan), SourceState::Idle);
    world.schedule.problem(Source::Lan, Some("no multicast".into()));
    assert_eq!(world.state(Source::Lan), SourceState::Failing);
    world.schedule.named(world.now, Source::Lan, 2);
    assert_eq!(world.state(Source::Lan), SourceState::Working);
    world.schedule.problem(Source::Lan, Some("é".repeat(1000)));
    let report = &world.schedule.report()[1];
    assert_eq!((report.source, report.state, report.named), (Source::Lan, SourceState::Working, 2), "in part");
    assert_eq!(report.problem.as_ref().map(|text| text.chars().count()), Some(MAX_PROBLEM));
    assert_eq!(report.last, Some(world.now.at));
}

#[test]
fn same_seed_gives_the_same_times() {
    let times = |seed| {
        let mut world = World::new(&Source::ASKED);
        world.schedule.random = StdRng::from_seed([seed; 32]);
        let step = |_| {
            let (source, at) = world.next();
            world.schedule.answered(world.now, source, Ok(0));
            (source, at)
        };
        (0..50).map(step).collect::<Vec<_>>()
    };
    assert_eq!(times(1), times(1));
    assert_ne!(times(1), times(2));
}

#[test]
fn source_with_new_settings_is_due_in_its_place_or_off() {
    let mut world = World::new(&[Source::Lan, Source::Exchange]);
    for expected in [Source::Lan, Source::Exchange] {
        assert_eq!(world.next().0, expected);
        world.schedule.answered(world.now, expected, Ok(1));
    }
    world.schedule.peers(world.now, 8);
    world.pass(SETTLE);
    assert_eq!(world.schedule.poll(world.now), None, "there are enough peers");
    world.schedule.renew(world.now, Source::List, true);
    world.schedule.renew(world.now, Source::Dns, true);
    assert_eq!(world.schedule.poll(world.now), Some(Source::Dns));
    world.schedule.renew(world.now, Source::Dns, false);
    world.schedule.answered(world.now, Source::Dns, Ok(1));
    assert_eq!(world.state(Source::Dns), SourceState::Off, "the answer is to an old question");
    assert_eq!(world.next().0, Source::List);
}
