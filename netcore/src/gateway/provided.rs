//! What plugins provide: each name once for the node, however many sessions say so, and until the last of them ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polypeer_engine::dht::Key;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::Grants;
use polypeer_ipc_protocol::ids::{Name, PluginId};
use polypeer_ipc_protocol::limits::MAX_PROVIDED;

use super::Hub;
use super::session::Session;
use crate::grants::Use;

/// Which names are provided, and by which sessions.
#[derive(Debug, Default)]
pub(crate) struct Provided {
    names: Mutex<BTreeMap<Name, BTreeMap<u64, PluginId>>>,
    /// Held while the DHT is told that a name is not provided any more, and while one is entered: so that it hears of them in
    /// order.
    telling: tokio::sync::Mutex<()>,
}

impl Provided {
    fn names(&self) -> MutexGuard<'_, BTreeMap<Name, BTreeMap<u64, PluginId>>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a name; whether the session had it not. Fails with `busy` beyond [`MAX_PROVIDED`] names of a plugin.
    pub(super) async fn enter(&self, name: &Name, session: &Session) -> Result<bool, Failure> {
        let _telling = self.telling.lock().await;
        self.add(name, session.id, &session.launch.plugin, || session.is_over())
    }

    fn add(&self, name: &Name, session: u64, plugin: &PluginId, over: impl Fn() -> bool) -> Result<bool, Failure> {
        let mut names = self.names();
        if over() {
            return Err(ErrorCode::Superseded.into());
        }
        let by_plugin = |sessions: &BTreeMap<u64, PluginId>| sessions.values().any(|other| other == plugin);
        let has = names.get(name).is_some_and(by_plugin);
        if !has && names.values().filter(|sessions| by_plugin(sessions)).count() >= MAX_PROVIDED {
            let text = format!("plugin {plugin} provides {MAX_PROVIDED} names, which is the limit: end some");
            return Err(Failure::new(ErrorCode::Busy, text));
        }
        Ok(names.entry(name.clone()).or_default().insert(session, plugin.clone()).is_none())
    }

    /// Whether the session provides it.
    pub(super) fn has(&self, name: &Name, session: u64) -> bool {
        self.names().get(name).is_some_and(|sessions| sessions.contains_key(&session))
    }

    /// Forgets what of each name's sessions is not to be kept; the names that nobody provides any more.
    fn retain(&self, keep: impl Fn(&Name, u64, &PluginId) -> bool) -> BTreeSet<Name> {
        let mut over = BTreeSet::new();
        self.names().retain(|name, sessions| {
            sessions.retain(|session, plugin| keep(name, *session, plugin));
            if sessions.is_empty() {
                over.insert(name.clone());
            }
            !sessions.is_empty()
        });
        over
    }
}

/// A session does not provide a name any more; whether it did.
pub(super) fn leave(hub: &Arc<Hub>, name: &Name, session: u64) -> bool {
    let had = hub.provided.has(name, session);
    let over = hub.provided.retain(|other, by, _| other != name || by != session);
    tell(hub, over);
    had
}

/// A session is over.
pub(super) fn handle_session_ended(hub: &Arc<Hub>, session: u64) {
    let over = hub.provided.retain(|_, by, _| by != session);
    tell(hub, over);
}

/// A plugin's grants are others now: what they do not cover ends.
pub(super) fn handle_grants(hub: &Arc<Hub>, plugin: &PluginId, grants: &Grants) {
    let covers = |name: &Name| Use::Record(name.clone()).check(plugin, grants).is_ok();
    let over = hub.provided.retain(|name, _, by| by != plugin || covers(name));
    tell(hub, over);
}

/// Tells the DHT, unless somebody provides a name again by then.
fn tell(hub: &Arc<Hub>, names: BTreeSet<Name>) {
    if names.is_empty() {
        return;
    }
    let hub = Arc::clone(hub);
    tokio::spawn(async move {
        let _telling = hub.provided.telling.lock().await;
        for name in names {
            if !hub.provided.names().contains_key(&name)
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

    fn name(number: usize) -> Name {
        format!("files/{number}").parse().unwrap()
    }

    #[test]
    fn a_name_is_provided_until_its_last_session_ends() {
        let provided = Provided::default();
        let (files, chat) = ("files".parse().unwrap(), "chat".parse().unwrap());
        let add = |number, session, plugin| provided.add(&name(number), session, plugin, || false);
        assert_eq!((add(1, 1, &files), add(1, 1, &files), add(1, 2, &chat)), (Ok(true), Ok(false), Ok(true)));
        assert!(provided.retain(|_, session, _| session != 1).is_empty());
        assert!(!provided.has(&name(1), 1) && provided.has(&name(1), 2));
        assert_eq!(provided.retain(|_, session, _| session != 2), BTreeSet::from([name(1)]));
        assert!(provided.add(&name(1), 3, &files, || true).unwrap_err().is(ErrorCode::Superseded));
    }

    #[test]
    fn a_plugin_provides_so_many_names() {
        let provided = Provided::default();
        let (files, chat) = ("files".parse().unwrap(), "chat".parse().unwrap());
        for number in 0..MAX_PROVIDED {
            assert!(provided.add(&name(number), number as u64 % 3, &files, || false).is_ok());
        }
        let over = name(MAX_PROVIDED);
        assert!(provided.add(&over, 9, &files, || false).unwrap_err().is(ErrorCode::Busy));
        assert!(provided.add(&over, 9, &chat, || false).is_ok(), "another plugin has room");
        assert!(provided.add(&over, 10, &files, || false).is_err());
        assert!(provided.add(&name(0), 10, &files, || false).is_ok(), "a name it has takes no more room");
    }
}
