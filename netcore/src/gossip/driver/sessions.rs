//! Subscriptions of this node's sessions, and their joint verdict on each message. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use polypeer_engine::gossip::Message;
use polypeer_engine::rate::{Bucket, Rate};
use polypeer_ipc_protocol::gateway::{Validation, Verdict};
use polypeer_ipc_protocol::ids::{Hash, Name};

use super::handle::Sink;

/// Time that a session has to judge a message.
pub(super) const JUDGE: Duration = Duration::from_secs(10);
/// Messages waiting for verdicts on the whole node: all that sixteen sessions may have.
const MAX_PENDING: usize = 4096;
/// Messages that one session may publish: half of the node's limit, so that no plugin takes it all.
const PUBLISHED: Rate = Rate { burst: 1000, per_second: 125 };
/// Sessions whose rate limit is remembered: several times as many as exist at a time.
const MAX_PUBLISHERS: usize = 1024;

struct Subscriber {
    validation: Validation,
    sink: Arc<dyn Sink>,
}

/// A message that still waits for verdicts of sessions.
struct Pending {
    waiting: BTreeSet<u64>,
    accepted: bool,
}

impl Pending {
    /// The joint verdict, once all sessions have judged and none rejected.
    fn verdict(&self) -> Verdict {
        if self.accepted { Verdict::Accept } else { Verdict::Ignore }
    }
}

/// The node's verdict on a message.
pub(super) type Judged = (Name, Hash, Verdict);

/// Subscriptions, pending verdicts and rate limits of all sessions.
#[derive(Default)]
pub(super) struct Sessions {
    topics: BTreeMap<Name, BTreeMap<u64, Subscriber>>,
    pending: BTreeMap<(Name, Hash), Pending>,
    /// Deadlines of pending messages; may still list judged ones.
    due: VecDeque<(Instant, Name, Hash)>,
    /// Rate limits of publishing, by session.
    published: BTreeMap<u64, Bucket>,
}

impl Sessions {
    /// Takes one message from a session's rate limit; `false` if it is exhausted.
    pub(super) fn may_publish(&mut self, session: u64, now: Instant) -> bool {
        while self.published.len() >= MAX_PUBLISHERS && !self.published.contains_key(&session) {
            self.published.pop_first(); // the oldest session, the likeliest to have ended
        }
        self.published.entry(session).or_insert_with(|| Bucket::new(PUBLISHED)).take(1, now)
    }

    /// Forgets a session's rate limit.
    pub(super) fn ended(&mut self, session: u64) {
        self.published.remove(&session);
    }

    /// Adds or changes a subscription. Returns who validates the topic now, and verdicts that waited for this session
    /// only.
    pub(super) fn subscribe(
        &mut self,
        session: u64,
        topic: &Name,
        validation: Validation,
        sink: Arc<dyn Sink>,
    ) -> (Validation, Vec<Judged>) {
        let subscribers = self.topics.entry(topic.clone()).or_default();
        subscribers.insert(session, Subscriber { validation, sink });
        let decides = decides(subscribers);
        let judged = if validation == Validation::Signature { self.abstain(session, Some(topic)) } else { Vec::new() };
        (decides, judged)
    }

    /// Ends a subscription. Returns who validates the topic now, `None` when no subscription is left, and verdicts that
    /// waited for this session only.
    pub(super) fn unsubscribe(&mut self, session: u64, topic: &Name) -> (Option<Validation>, Vec<Judged>) {
        let Some(subscribers) = self.topics.get_mut(topic) else { return (None, Vec::new()) };
        subscribers.remove(&session);
        let left = (!subscribers.is_empty()).then(|| decides(subscribers));
        if left.is_none() {
            self.topics.remove(topic);
        }
        (left, self.abstain(session, Some(topic)))
    }

    /// Topics that a session is subscribed to.
    pub(super) fn topics_of(&self, session: u64) -> Vec<Name> {
        let topics = self.topics.iter().filter(|(_, subscribers)| subscribers.contains_key(&session));
        topics.map(|(topic, _)| topic.clone()).collect()
    }

    /// Delivers a message to all sessions but `publisher`, which published it. Returns how many had no room for it, and
    /// the verdict if no session that judges took it.
    pub(super) fn deliver(
        &mut self,
        now: Instant,
        topic: &Name,
        message: &Message,
        publisher: Option<u64>,
        own: bool,
    ) -> (u64, Option<Judged>) {
        let Some(subscribers) = self.topics.get(topic) else { return (0, None) };
        let (mut waiting, mut lost, mut judged) = (BTreeSet::new(), 0, false);
        for (&session, subscriber) in subscribers.iter().filter(|(session, _)| Some(**session) != publisher) {
            let judges = subscriber.validation == Validation::Plugin && !own;
            judged |= judges;
            if !subscriber.sink.deliver(topic, message) {
                lost += 1;
            } else if judges {
                waiting.insert(session);
            }
        }
        let id = message.id();
        if waiting.is_empty() {
            return (lost, judged.then(|| (topic.clone(), id, Verdict::Ignore)));
        }
        self.pending.insert((topic.clone(), id), Pending { waiting, accepted: false });
        self.due.push_back((now + JUDGE, topic.clone(), id));
        let oldest = if self.due.len() > MAX_PENDING { self.due.pop_front() } else { None };
        (lost, oldest.and_then(|(_, topic, id)| self.end(topic, id)))
    }

    /// Applies a session's verdict on a message. Returns the node's verdict if that decides it.
    pub(super) fn judge(&mut self, session: u64, topic: Name, message: Hash, verdict: Verdict) -> Option<Judged> {
        let key = (topic, message);
        let pending = self.pending.get_mut(&key)?;
        if !pending.waiting.remove(&session) {
            return None;
        }
        pending.accepted |= verdict == Verdict::Accept;
        if verdict == Verdict::Reject {
            self.pending.remove(&key);
            return Some((key.0, message, Verdict::Reject));
        }
        if pending.waiting.is_empty() { self.end(key.0, message) } else { None }
    }

    fn end(&mut self, topic: Name, message: Hash) -> Option<Judged> {
        let key = (topic, message);
        let pending = self.pending.remove(&key)?;
        Some((key.0, message, pending.verdict()))
    }

    /// Withdraws a session as a judge, of one topic or of all (`None`).
    fn abstain(&mut self, session: u64, topic: Option<&Name>) -> Vec<Judged> {
        let of = |key: &(Name, Hash)| topic.is_none_or(|topic| *topic == key.0);
        let waiting = self.pending.iter().filter(|(key, pending)| of(key) && pending.waiting.contains(&session));
        let keys: Vec<_> = waiting.map(|(key, _)| key.clone()).collect();
        keys.into_iter().filter_map(|(topic, id)| self.judge(session, topic, id, Verdict::Ignore)).collect()
    }

    /// The next deadline at which [`Self::expire`] is to be called.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.due.front().map(|(due, ..)| *due)
    }

    /// Ends messages that were not judged in time: a silent session counts as ignoring.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Judged> {
        let mut judged = Vec::new();
        while let Some((due, topic, id)) = self.due.pop_front() {
            if due > now {
                self.due.push_front((due, topic, id));
                break;
            }
            judged.extend(self.end(topic, id));
        }
        judged
    }
}

fn decides(subscribers: &BTreeMap<u64, Subscriber>) -> Validation {
    let judged = subscribers.values().any(|subscriber| subscriber.validation == Validation::Plugin);
    if judged { Validation::Plugin } else { Validation::Signature }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use polypeer_ipc_protocol::gateway::Payload;

    use super::*;
    use crate::clock;
    use crate::identity::Identity;

    struct Count(AtomicU64, bool);

    impl Sink for Count {
        fn deliver(&self, _topic: &Name, _message: &Message) -> bool {
            self.0.fetch_add(1, Ordering::Relaxed);
            self.1
        }
    }

    fn sink(takes: bool) -> Arc<Count> {
        Arc::new(Count(AtomicU64::new(0), takes))
    }

    fn topic() -> Name {
        "news".parse().unwrap()
    }

    fn message(number: u64) -> Message {
        Message::sign(&Identity::generate(), topic(), number, Payload::default(), clock::now())
    }

    /// Sessions 1 and 2 judge; session 3 does not.
    fn sessions() -> Sessions {
        let mut sessions = Sessions::default();
        for (session, validation) in [(1, Validation::Plugin), (2, Validation::Plugin), (3, Validation::Signature)] {
            let (decides, judged) = sessions.subscribe(session, &topic(), validation, sink(true));
            assert_eq!((decides, judged.len()), (Validation::Plugin, 0));
        }
        sessions
    }

    #[test]
    fn all_judges_decide_together() {
        use Verdict::{Accept, Ignore, Reject};
        let now = Instant::now();
        for (first, second, expected) in [
            (Accept, Accept, Accept),
            (Ignore, Accept, Accept),
            (Accept, Ignore, Accept),
            (Ignore, Ignore, Ignore),
            (Accept, Reject, Reject),
        ] {
            let (mut sessions, message) = (sessions(), message(1));
            assert_eq!(sessions.deliver(now, &topic(), &message, None, false), (0, None));
            assert_eq!(sessions.judge(3, topic(), message.id(), Reject), None, "it does not judge");
            assert_eq!(sessions.judge(1, topic(), message.id(), first), None);
            assert_eq!(sessions.judge(1, topic(), message.id(), Reject), None, "it has judged");
            let last = sessions.judge(2, topic(), message.id(), second);
            assert_eq!(last, Some((topic(), message.id(), expected)), "{first:?} {second:?}");
            assert_eq!(sessions.expire(now + JUDGE), []);
        }
        let (mut sessions, message) = (sessions(), message(1));
        sessions.deliver(now, &topic(), &message, None, false);
        assert_eq!(sessions.judge(1, topic(), message.id(), Reject), Some((topic(), message.id(), Reject)));
    }

    #[test]
    fn who_is_silent_or_gone_or_full_ignores() {
        let (mut sessions, now) = (sessions(), Instant::now());
        let messages: Vec<_> = (0..2).map(message).collect();
        messages.iter().for_each(|message| drop(sessions.deliver(now, &topic(), message, None, false)));
        assert_eq!(sessions.judge(1, topic(), messages[0].id(), Verdict::Accept), None);
        assert_eq!(sessions.expire(now), []);
        let (left, judged) = sessions.unsubscribe(2, &topic());
        assert_eq!(left, Some(Validation::Plugin));
        assert_eq!(judged, [(topic(), messages[0].id(), Verdict::Accept)]);
        assert_eq!(sessions.expire(now + JUDGE), [(topic(), messages[1].id(), Verdict::Ignore)]);
        sessions.subscribe(1, &topic(), Validation::Plugin, sink(false));
        let full = message(3);
        let ignored = Some((topic(), full.id(), Verdict::Ignore));
        assert_eq!(sessions.deliver(now, &topic(), &full, None, false), (1, ignored));
        assert_eq!(sessions.unsubscribe(1, &topic()).0, Some(Validation::Signature));
        assert_eq!(sessions.unsubscribe(3, &topic()).0, None);
        assert!(sessions.topics_of(3).is_empty());
    }

    #[test]
    fn a_publisher_does_not_hear_itself_and_others_do_not_judge_it() {
        let mut sessions = Sessions::default();
        let (mine, other) = (sink(true), sink(true));
        sessions.subscribe(1, &topic(), Validation::Plugin, Arc::clone(&mine) as Arc<dyn Sink>);
        sessions.subscribe(2, &topic(), Validation::Plugin, Arc::clone(&other) as Arc<dyn Sink>);
        assert_eq!(sessions.deliver(Instant::now(), &topic(), &message(1), Some(1), true), (0, None));
        assert_eq!((mine.0.load(Ordering::Relaxed), other.0.load(Ordering::Relaxed)), (0, 1));
        assert!(sessions.pending.is_empty());
    }

    #[test]
    fn a_session_that_publishes_without_pause_leaves_room_for_others() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let published = (0..5000).filter(|_| sessions.may_publish(1, now)).count();
        assert_eq!(published, 1000);
        assert!(sessions.may_publish(2, now), "another one may");
        assert!(sessions.may_publish(1, now + Duration::from_secs(1)), "a second later so may the first");
        for session in 0..2 * MAX_PUBLISHERS as u64 {
            sessions.may_publish(session, now);
        }
        assert_eq!(sessions.published.len(), MAX_PUBLISHERS);
        sessions.ended(2 * MAX_PUBLISHERS as u64 - 1);
        assert_eq!(sessions.published.len(), MAX_PUBLISHERS - 1);
    }

    #[test]
    fn the_oldest_verdict_is_not_waited_for_when_too_many_are() {
        let (mut sessions, now) = (sessions(), Instant::now());
        let author = Identity::generate();
        let message = |number| Message::sign(&author, topic(), number, Payload::default(), clock::now());
        let first = message(0);
        sessions.deliver(now, &topic(), &first, None, false);
        for number in 1..MAX_PENDING as u64 {
            assert_eq!(sessions.deliver(now, &topic(), &message(number), None, false), (0, None));
        }
        let (_, judged) = sessions.deliver(now, &topic(), &message(u64::MAX), None, false);
        assert_eq!(judged, Some((topic(), first.id(), Verdict::Ignore)));
    }
}
