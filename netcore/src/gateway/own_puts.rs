//! The order of a node's puts of its own signed records. Puts of one name run one at a time, the newest first: an older
//! one that waits is answered with the newest one's result, since its value is superseded by then. So all succeed,
//! however many plugins and tasks put at once, and the value put last is the one that stays.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polypeer_ipc_protocol::gateway::Response;
use polypeer_ipc_protocol::ids::Name;
use tokio::sync::Notify;

/// The puts in progress, by name. There are no more than requests of plugins are pending, which are limited.
#[derive(Debug, Default)]
pub(super) struct OwnPuts {
    names: Mutex<BTreeMap<Name, Puts>>,
    changed: Notify,
}

/// The puts of one name, by number; a higher number is that of a later put.
#[derive(Debug, Default)]
struct Puts {
    last: u64,
    waiting: BTreeSet<u64>,
    /// Whether one is being stored.
    is_storing: bool,
    /// The newest one that was stored while others waited, with its answer.
    stored: Option<(u64, Response)>,
}

/// One put's place in the order; it leaves when dropped.
#[derive(Debug)]
pub(super) struct Turn {
    puts: Arc<OwnPuts>,
    name: Name,
    number: u64,
    is_storing: bool,
}

impl OwnPuts {
    fn names(&self) -> MutexGuard<'_, BTreeMap<Name, Puts>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a put, later than all before it.
    pub(super) fn enter(self: &Arc<Self>, name: &Name) -> Turn {
        let mut names = self.names();
        let puts = names.entry(name.clone()).or_default();
        puts.last += 1;
        puts.waiting.insert(puts.last);
        Turn { puts: Arc::clone(self), name: name.clone(), number: puts.last, is_storing: false }
    }
}

impl Turn {
    /// Waits until this put may be stored (`None`), or until a later one was; then returns that one's answer. Cancel
    /// safe.
    pub(super) async fn begin(&mut self) -> Option<Response> {
        let all = Arc::clone(&self.puts);
        loop {
            let changed = all.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(puts) = all.names().get_mut(&self.name) {
                if let Some((_, answer)) = puts.stored.as_ref().filter(|(number, _)| *number > self.number) {
                    return Some(answer.clone());
                }
                if !puts.is_storing && puts.waiting.last() == Some(&self.number) {
                    (puts.is_storing, self.is_storing) = (true, true);
                    return None;
                }
            }
            changed.await;
        }
    }

    /// Reports that this put was stored: older ones that wait get the same answer.
    pub(super) fn stored(&self, answer: &Response) {
        if let Some(puts) = self.puts.names().get_mut(&self.name) {
            puts.stored = Some((self.number, answer.clone()));
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut names = self.puts.names();
        if let Some(puts) = names.get_mut(&self.name) {
            puts.waiting.remove(&self.number);
            puts.is_storing &= !self.is_storing;
            if puts.waiting.is_empty() {
                names.remove(&self.name);
            }
        }
        drop(names);
        self.puts.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(sequence: u64) -> Response {
        Response::Stored { key: polypeer_ipc_protocol::ids::Hash([0; 32]), sequence, copies: 1 }
    }

    fn is_waiting(turn: &mut Turn) -> bool {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        std::pin::pin!(turn.begin()).poll(&mut context).is_pending()
    }

    #[tokio::test]
    async fn newest_is_stored_next_and_answers_those_that_it_overtook() {
        let puts = Arc::new(OwnPuts::default());
        let name: Name = "a/b".parse().unwrap();
        let [mut first, mut second, mut third] = [(); 3].map(|()| puts.enter(&name));
        let mut other = puts.enter(&"a/c".parse().unwrap());
        assert_eq!(other.begin().await, None, "names do not wait for each other");
        assert!(is_waiting(&mut first) && is_waiting(&mut second));
        assert_eq!(third.begin().await, None);
        let mut fourth = puts.enter(&name);
        assert!(is_waiting(&mut fourth), "one at a time");
        third.stored(&answer(3));
        drop(third);
        assert_eq!(first.begin().await, Some(answer(3)));
        assert_eq!(fourth.begin().await, None);
        drop(fourth); // it failed: the next one in the order is asked
        assert_eq!(second.begin().await, Some(answer(3)));
        drop((first, second, other));
        assert!(puts.names().is_empty());
    }

    #[tokio::test]
    async fn when_the_newest_fails_the_one_before_it_is_stored() {
        let puts = Arc::new(OwnPuts::default());
        let name: Name = "a/b".parse().unwrap();
        let [mut first, mut second] = [(); 2].map(|()| puts.enter(&name));
        assert_eq!(second.begin().await, None);
        assert!(is_waiting(&mut first));
        drop(second);
        assert_eq!(first.begin().await, None);
    }
}
