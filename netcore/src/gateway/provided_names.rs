//! Names that plugins provide. The node provides each name once: from the first session that asks for it until the last
//! one stops or ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polypeer_engine::dht::Key;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::ids::{Name, PluginId};
use polypeer_ipc_protocol::limits::MAX_PROVIDED;

use super::Hub;
use super::launch::ActiveUse;
use super::launch::session::Session;

type Names = BTreeMap<Name, BTreeMap<u64, Provider>>;

/// A session that provides a name. It holds its use, which counts as long as the entry lives.
#[derive(Debug)]
struct Provider {
    plugin: PluginId,
    _active: Arc<ActiveUse>,
}

/// The provided names, each with the sessions that provide it.
#[derive(Debug, Default)]
pub(crate) struct ProvidedNames {
    names: Mutex<Names>,
    /// Held while a name is added, and while the DHT stops providing names. So a name added in between stays provided.
    telling: tokio::sync::Mutex<()>,
}

impl ProvidedNames {
    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a name of a session. Returns whether it is new. Fails with `busy` beyond [`MAX_PROVIDED`] names of a
    /// plugin, and with `superseded` when the session is over.
    pub(super) async fn enter(&self, name: &Name, session: &Session, active: Arc<ActiveUse>) -> Result<bool, Failure> {
        let _telling = self.telling.lock().await;
        self.add(name, session.id, active, || session.is_over())
    }

    fn add(&self, name: &Name, session: u64, active: Arc<ActiveUse>, over: impl Fn() -> bool) -> Result<bool, Failure> {
        let plugin = active.launch().plugin.clone();
        let mut names = self.names();
        if over() {
            return Err(ErrorCode::Superseded.into());
        }
        let by_plugin = |sessions: &BTreeMap<u64, Provider>| sessions.values().any(|other| other.plugin == plugin);
        let has = names.get(name).is_some_and(by_plugin);
        if !has && names.values().filter(|sessions| by_plugin(sessions)).count() >= MAX_PROVIDED {
            let text = format!("plugin {plugin} provides {MAX_PROVIDED} names, which is the limit: end some");
            return Err(Failure::new(ErrorCode::Busy, text));
        }
        Ok(names.entry(name.clone()).or_default().insert(session, Provider { plugin, _active: active }).is_none())
    }

    /// Whether the session provides the name.
    pub(super) fn has(&self, name: &Name, session: u64) -> bool {
        self.names().get(name).is_some_and(|sessions| sessions.contains_key(&session))
    }

    /// Removes the sessions for which `keep` is false. Returns the names that no session provides any more.
    fn retain(&self, keep: impl Fn(&Name, u64) -> bool) -> BTreeSet<Name> {
        let mut over = BTreeSet::new();
        self.names().retain(|name, sessions| {
            sessions.retain(|session, _| keep(name, *session));
            if sessions.is_empty() {
                over.insert(name.clone());
            }
            !sessions.is_empty()
        });
        over
    }
}

/// Stops providing a name for one session. Returns whether the session provided it.
pub(super) fn leave(hub: &Arc<Hub>, name: &Name, session: u64) -> bool {
    let had = hub.provided_names.has(name, session);
    let over = hub.provided_names.retain(|other, by| other != name || by != session);
    tell(hub, over);
    had
}

/// Stops providing all names for a session that is over.
pub(super) fn handle_session_ended(hub: &Arc<Hub>, session: u64) {
    let over = hub.provided_names.retain(|_, by| by != session);
    tell(hub, over);
}

/// Tells the DHT that names are no longer provided, except those that a session provides again by then.
fn tell(hub: &Arc<Hub>, names: BTreeSet<Name>) {
    if names.is_empty() {
        return;
    }
    let hub = Arc::clone(hub);
    tokio::spawn(async move {
        let _telling = hub.provided_names.telling.lock().await;
        for name in names {
            if !hub.provided_names.names().contains_key(&name)
                && let Err(failure) = hub.dht.unprovide(Key::of_provided(&name)).await
            {
                tracing::warn!(%name, %failure, "cannot end providing");
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::launch::any_use;

    fn name(number: usize) -> Name {
        format!("files/{number}").parse().unwrap()
    }

    #[test]
    fn a_name_is_provided_until_its_last_session_ends() {
        let provided = ProvidedNames::default();
        let (files, chat) = (any_use("files"), any_use("chat"));
        let add =
            |number, session, used: &Arc<ActiveUse>| provided.add(&name(number), session, Arc::clone(used), || false);
        assert_eq!((add(1, 1, &files), add(1, 1, &files), add(1, 2, &chat)), (Ok(true), Ok(false), Ok(true)));
        assert!(provided.retain(|_, session| session != 1).is_empty());
        assert!(!provided.has(&name(1), 1) && provided.has(&name(1), 2));
        assert_eq!(provided.retain(|_, session| session != 2), BTreeSet::from([name(1)]));
        assert!(provided.add(&name(1), 3, files, || true).unwrap_err().is(ErrorCode::Superseded));
    }

    #[test]
    fn a_plugin_provides_so_many_names() {
        let provided = ProvidedNames::default();
        let (files, chat) = (any_use("files"), any_use("chat"));
        for number in 0..MAX_PROVIDED {
            assert!(provided.add(&name(number), number as u64 % 3, Arc::clone(&files), || false).is_ok());
        }
        let over = name(MAX_PROVIDED);
        assert!(provided.add(&over, 9, Arc::clone(&files), || false).unwrap_err().is(ErrorCode::Busy));
        assert!(provided.add(&over, 9, Arc::clone(&chat), || false).is_ok(), "another plugin has room");
        assert!(provided.add(&over, 10, Arc::clone(&files), || false).is_err());
        assert!(provided.add(&name(0), 10, Arc::clone(&files), || false).is_ok(), "a name it has takes no more room");
    }
}
