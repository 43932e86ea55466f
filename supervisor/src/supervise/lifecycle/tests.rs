use super::*;

const READY_TIME: Duration = Duration::from_secs(30);

/// One child and a clock that only moves when told.
struct World {
    life: Lifecycle,
    now: Instant,
}

impl World {
    fn new(ready: Ready, policy: RestartPolicy) -> Self {
        let habits =
            Habits { policy, gives_up: true, stop_timeout: Duration::from_secs(10), ready, ready_timeout: READY_TIME };
        Self { life: Lifecycle::new(habits), now: Instant::now() }
    }

    fn input(&mut self, input: Input) -> Option<Action> {
        self.life.handle(self.now, 0.5, input)
    }

    fn crash(&mut self) -> Option<Action> {
        self.input(Input::Ended { how: "exited with status 3".to_owned(), success: false })
    }

    /// Moves on to the deadline.
    fn wait(&mut self) -> Option<Action> {
        self.now = self.life.deadline().expect("something is due");
        self.input(Input::Tick)
    }
}

#[test]
fn ready_comes_with_the_sign_that_was_asked_for_and_no_other() {
    for (ready, sign) in [
        (Ready::None, Input::Running),
        (Ready::Session, Input::Session),
        (Ready::Notify, Input::Notified),
        (Ready::Tcp(80), Input::Port),
    ] {
        let mut world = World::new(ready, RestartPolicy::OnFailure);
        assert_eq!(world.input(Input::Start), Some(Action::Spawn));
        for other in [Input::Running, Input::Session, Input::Notified, Input::Port] {
            if other != sign {
                world.input(other);
                assert_eq!(world.life.state(), State::Starting, "{ready:?}");
            }
        }
        world.input(sign);
        assert_eq!(world.life.state(), State::Ready, "{ready:?}");
    }
}

#[test]
fn stop_terminates_then_kills_and_says_so() {
    let mut world = World::new(Ready::None, RestartPolicy::Always);
    world.input(Input::Start);
    world.input(Input::Running);
    assert_eq!(world.input(Input::Stop), Some(Action::Terminate));
    assert_eq!(world.input(Input::Stop), None, "only once");
    assert_eq!(world.wait(), Some(Action::Kill));
    world.crash();
    assert_eq!(world.life.state(), State::Stopped);
    assert_eq!(world.life.reason(), Some("stopped by the operator; did not stop within 10 s of SIGTERM: killed"));
}

#[test]
fn child_that_is_never_ready_is_killed_and_counts_as_crashed_with_what_it_lacked() {
    let mut world = World::new(Ready::Session, RestartPolicy::OnFailure);
    world.input(Input::Start);
    for failed in 1..=5 {
        world.input(Input::Running);
        assert_eq!(
            world.life.waiting(world.now).as_deref(),
            Some("it has not connected yet; counts as a crash in 30 s")
        );
        assert_eq!(world.wait(), Some(Action::Kill));
        world.input(Input::Session);
        assert_eq!(world.life.state(), State::Starting, "too late");
        world.crash();
        if failed < 5 {
            assert_eq!(world.life.state(), State::Backoff);
            assert_eq!(world.life.reason(), Some("not connected for 30 s: does it call connect()?"));
            assert_eq!(world.wait(), Some(Action::Spawn));
        }
    }
    assert_eq!(world.life.state(), State::Failed);
    let reason = "gave up: 5 starts in a row failed, last: not connected for 30 s: does it call connect()?";
    assert_eq!(world.life.reason(), Some(reason));
    assert_eq!(world.input(Input::Stop), None);
    assert_eq!(
        (world.life.state(), world.life.reason()),
        (State::Stopped, Some(reason)),
        "stopped, and still known why"
    );
}

#[test]
fn child_that_does_not_answer_is_killed_and_started_again_by_its_policy() {
    let mut world = World::new(Ready::Session, RestartPolicy::OnFailure);
    let unresponsive = Input::Unresponsive(Duration::from_secs(30));
    world.input(Input::Start);
    assert_eq!(world.input(unresponsive.clone()), None, "it is not expected to answer yet");
    world.input(Input::Session);
    assert_eq!(world.life.deadline(), None);
    world.now += Duration::from_secs(60);
    assert_eq!(world.input(unresponsive.clone()), Some(Action::Kill));
    assert_eq!(world.input(unresponsive), None, "only once");
    assert_eq!(world.crash(), Some(Action::Spawn));
    assert_eq!(world.life.reason(), Some("did not answer for 30 s: killed; is its event loop blocked?"));
}

#[test]
fn crash_loop_backs_off_and_is_given_up_with_the_last_reason() {
    let mut world = World::new(Ready::None, RestartPolicy::OnFailure);
    world.input(Input::Start);
    for _ in 0..4 {
        assert_eq!(world.crash(), None);
        assert_eq!(world.life.state(), State::Backoff);
        assert_eq!(world.life.reason(), Some("exited with status 3"));
        assert_eq!(world.wait(), Some(Action::Spawn));
    }
    assert_eq!(world.crash(), None);
    assert_eq!(world.life.state(), State::Failed);
    assert_eq!(world.life.reason(), Some("gave up: 5 crashes in 60 s, last: exited with status 3"));
    assert_eq!(world.life.restarts(), 4);
    assert_eq!(world.input(Input::Start), Some(Action::Spawn), "the operator may try again");
    assert_eq!(world.crash(), None);
    assert_eq!(world.life.state(), State::Backoff, "with a clean history");
}

#[test]
fn crash_after_a_long_life_restarts_at_once() {
    let mut world = World::new(Ready::None, RestartPolicy::OnFailure);
    world.input(Input::Start);
    world.input(Input::Running);
    world.now += Duration::from_secs(10);
    assert_eq!(world.crash(), Some(Action::Spawn));
    assert_eq!((world.life.state(), world.life.restarts()), (State::Starting, 1));
}

#[test]
fn restart_waits_for_the_end_of_the_old_one() {
    let mut world = World::new(Ready::None, RestartPolicy::Never);
    world.input(Input::Start);
    assert_eq!(world.input(Input::Stop), Some(Action::Terminate));
    assert_eq!(world.input(Input::Start), None);
    assert_eq!(world.crash(), Some(Action::Spawn));
    assert_eq!(world.life.restarts(), 0, "what the operator did is not a restart by itself");
}

#[test]
fn start_while_stopping_starts_afterwards_and_stop_takes_it_back() {
    let mut world = World::new(Ready::None, RestartPolicy::Never);
    world.input(Input::Start);
    world.input(Input::Stop);
    assert_eq!(world.input(Input::Start), None);
    world.input(Input::Stop);
    assert_eq!(world.crash(), None);
    assert_eq!(world.life.state(), State::Stopped);
}

#[test]
fn stop_during_backoff_is_at_once() {
    let mut world = World::new(Ready::None, RestartPolicy::Always);
    world.input(Input::Start);
    world.crash();
    assert_eq!(world.input(Input::Stop), None);
    assert_eq!((world.life.state(), world.life.deadline()), (State::Stopped, None));
}

#[test]
fn success_rests_where_the_policy_says_so() {
    let mut world = World::new(Ready::None, RestartPolicy::OnFailure);
    world.input(Input::Start);
    world.input(Input::Ended { how: "exited with status 0".to_owned(), success: true });
    assert_eq!(world.life.state(), State::Stopped);
    assert_eq!(world.life.reason(), Some("exited with status 0"));
}

#[test]
fn end_of_a_child_that_was_told_to_is_no_fault_in_the_log() {
    let mut world = World::new(Ready::None, RestartPolicy::Always);
    world.input(Input::Start);
    let sigterm = "killed by signal 15 (SIGTERM)";
    assert_eq!(world.life.told_end(sigterm, true), sigterm, "somebody else sent it");
    world.input(Input::Stop);
    assert_eq!(world.life.told_end(sigterm, true), "stopped");
    assert_eq!(world.life.told_end("exited with status 3", false), "stopped: exited with status 3");
    world.wait();
    assert_eq!(world.life.told_end("killed", false), "did not stop within 10 s of SIGTERM: killed");
}
