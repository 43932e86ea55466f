//! The routing of incoming streams and calls to the session that serves their protocol. A node has one listener per
//! protocol and scope. Pure; the node owns it behind one lock and asks it for each incoming stream and call.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{CallMode, Scope};
use polypeer_ipc_protocol::ids::{OPERATOR, PluginId, Protocol};

/// Most protocols remembered as recently served.
pub const RECENT: usize = 1024;

type Key = (Scope, Protocol);

/// The listeners of a node, and the protocols recently served. `S` is a handle to a listener's session.
#[derive(Debug)]
pub struct Router<S> {
    listeners: HashMap<Key, Listener<S>>,
    recent: HashMap<Key, Instant>,
    hold: Duration,
}

#[derive(Debug)]
struct Listener<S> {
    owner: u64,
    plugin: PluginId,
    calls: CallMode,
    session: S,
}

/// The destination of a stream or call.
#[derive(Debug, PartialEq, Eq)]
pub enum Route<S> {
    /// This session.
    To(S, CallMode),
    /// None yet: ask again when a listener is added, at the latest at this moment.
    Hold(Instant),
    /// None: no session serves the protocol.
    NotServed,
}

impl<S: Clone> Router<S> {
    /// Creates a router without listeners. It holds streams and calls for `hold` after their listener's session ended,
    /// or after the launch of a plugin that may serve them.
    pub fn new(hold: Duration) -> Self {
        Self { listeners: HashMap::new(), recent: HashMap::new(), hold }
    }

    /// Adds a listener of session `owner`, or changes the `calls` of the one it has. Fails with `protocol already
    /// served`.
    pub fn listen(
        &mut self,
        key: Key,
        owner: u64,
        plugin: &PluginId,
        calls: CallMode,
        session: S,
    ) -> Result<(), Failure> {
        if let Some(listener) = self.listeners.get(&key).filter(|listener| listener.owner != owner) {
            let by = &listener.plugin;
            let message = match by.as_str() {
                OPERATOR => {
                    format!("{} is served by a `polypeer serve` of this node already; end that to serve it", key.1)
                }
                _ => format!(
                    "{} is served by plugin {by} already; stop that one to serve it: `polypeer plugin stop {by}`",
                    key.1
                ),
            };
            return Err(Failure::new(ErrorCode::AlreadyServed, message));
        }
        self.recent.remove(&key);
        self.listeners.insert(key, Listener { owner, plugin: plugin.clone(), calls, session });
        Ok(())
    }

    /// Removes a listener of `owner` at its own request, so its protocol is not held; returns whether there was one.
    pub fn unlisten(&mut self, key: &Key, owner: u64) -> bool {
        let owned = self.is_of(key, owner);
        if owned {
            self.listeners.remove(key);
        }
        owned
    }

    /// Removes all listeners of `owner`, whose session ended, and holds their protocols for a while.
    pub fn handle_session_ended(&mut self, owner: u64, now: Instant) {
        self.recent.retain(|_, until| *until > now);
        let keys: Vec<Key> =
            self.listeners.iter().filter(|(_, listener)| listener.owner == owner).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.listeners.remove(&key);
            if self.recent.len() < RECENT {
                self.recent.insert(key, now + self.hold);
            }
        }
    }

    /// Whether `owner` serves `key`.
    pub fn is_of(&self, key: &Key, owner: u64) -> bool {
        self.listeners.get(key).is_some_and(|listener| listener.owner == owner)
    }

    /// The number of protocols that `owner` serves.
    pub fn count(&self, owner: u64) -> usize {
        self.listeners.values().filter(|listener| listener.owner == owner).count()
    }

    /// The protocols that `owner` serves, with their scopes.
    pub fn of(&self, owner: u64) -> Vec<Key> {
        self.listeners.iter().filter(|(_, listener)| listener.owner == owner).map(|(key, _)| key.clone()).collect()
    }

    /// The destination of a stream or call for `key`. `launched` is the time of the newest launch of a plugin that may
    /// serve it: the plugin may not listen yet. After a restart of netcore, all launches are new.
    pub fn route(&self, key: &Key, launched: Option<Instant>, now: Instant) -> Route<S> {
        if let Some(listener) = self.listeners.get(key) {
            return Route::To(listener.session.clone(), listener.calls);
        }
        let recent = self.recent.get(key).copied();
        let starting = launched.map(|launched| launched + self.hold);
        match recent.max(starting).filter(|until| *until > now) {
            Some(until) => Route::Hold(until),
            None => Route::NotServed,
        }
    }

    /// The protocols served to peers, each with its session, sorted by name.
    pub fn serving(&self) -> Vec<(Protocol, S)> {
        let mut all: Vec<_> = self
            .listeners
            .iter()
            .filter(|((scope, _), _)| *scope == Scope::Peers)
            .map(|((_, protocol), listener)| (protocol.clone(), listener.session.clone()))
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    const HOLD: Duration = Duration::from_secs(3);

    fn key(name: &str) -> Key {
        (Scope::Peers, name.parse().unwrap())
    }

    fn listen(router: &mut Router<u64>, name: &str, owner: u64) -> Result<(), Failure> {
        router.listen(key(name), owner, &format!("plugin-{owner}").parse().unwrap(), CallMode::Streams, owner)
    }

    #[test]
    fn a_protocol_has_one_listener_per_scope() {
        let mut router = Router::new(HOLD);
        listen(&mut router, "chat/1", 1).unwrap();
        let refused = listen(&mut router, "chat/1", 2).unwrap_err();
        assert!(refused.is(ErrorCode::AlreadyServed) && refused.message.contains("plugin-1"), "{refused}");
        let local = (Scope::Local, "chat/1".parse().unwrap());
        router.listen(local, 2, &"other".parse().unwrap(), CallMode::Streams, 2).unwrap();
        let now = testing::start();
        assert_eq!(router.route(&key("chat/1"), None, now), Route::To(1, CallMode::Streams));
        router.listen(key("chat/1"), 1, &"plugin-1".parse().unwrap(), CallMode::Events, 1).unwrap();
        assert_eq!(router.route(&key("chat/1"), None, now), Route::To(1, CallMode::Events));
        assert_eq!(router.serving(), [("chat/1".parse().unwrap(), 1)]);
    }

    #[test]
    fn who_serves_already_is_named_by_what_can_be_done_about_it() {
        let mut router = Router::new(HOLD);
        router.listen(key("chat/1"), 1, &OPERATOR.parse().unwrap(), CallMode::Streams, 1).unwrap();
        let refused = listen(&mut router, "chat/1", 2).unwrap_err();
        assert!(refused.message.contains("`polypeer serve`") && !refused.message.contains("stop"), "{refused}");
    }

    #[test]
    fn what_was_served_a_moment_ago_is_held_unless_unlistened() {
        let mut router = Router::new(HOLD);
        let now = testing::start();
        listen(&mut router, "chat/1", 1).unwrap();
        listen(&mut router, "files/1", 1).unwrap();
        assert!(router.unlisten(&key("files/1"), 1) && !router.unlisten(&key("files/1"), 1));
        router.handle_session_ended(1, now);
        assert_eq!(router.route(&key("chat/1"), None, now), Route::Hold(now + HOLD));
        assert_eq!(router.route(&key("files/1"), None, now), Route::NotServed);
        assert_eq!(router.route(&key("chat/1"), None, now + HOLD), Route::NotServed);
        listen(&mut router, "chat/1", 2).unwrap();
        assert_eq!(router.route(&key("chat/1"), None, now), Route::To(2, CallMode::Streams));
        assert_eq!((router.count(1), router.count(2)), (0, 1));
    }

    #[test]
    fn what_a_new_launch_may_serve_is_held() {
        let router = Router::<u64>::new(HOLD);
        let now = testing::start();
        assert_eq!(router.route(&key("chat/1"), None, now), Route::NotServed);
        assert_eq!(router.route(&key("chat/1"), Some(now), now), Route::Hold(now + HOLD));
        assert_eq!(router.route(&key("chat/1"), Some(now), now + HOLD), Route::NotServed);
    }

    #[test]
    fn memory_of_what_was_served_is_bounded() {
        let mut router = Router::new(HOLD);
        let now = testing::start();
        for n in 0..RECENT + 5 {
            listen(&mut router, &format!("p{n}/1"), 1).unwrap();
        }
        router.handle_session_ended(1, now);
        assert_eq!(router.recent.len(), RECENT);
        router.handle_session_ended(1, now + HOLD);
        assert!(router.recent.is_empty());
    }
}
