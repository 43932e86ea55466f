//! One launch of a plugin: its token, its grants, its newest session, and its uses that grants cover. The admin session
//! makes and ends it; `gateway::accept` serves its socket.

pub mod session;
pub(super) mod subscriptions;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{Grants, Origin};
use polypeer_ipc_protocol::ids::{PluginId, Secret};
use polypeer_ipc_protocol::limits::MAX_IDLE_CONNECTIONS;
use tokio::sync::{Semaphore, watch};

use crate::counters::Counters;
use crate::limits::{DATA_CONNECTIONS, OPENING_CONNECTIONS};
use crate::plugins::account::{Account, Slot, WithPeer};
use crate::plugins::grants::Use;
use session::Session;

/// One launch of a plugin.
#[derive(Debug)]
pub struct Launch {
    /// The number that the supervisor gave it.
    pub number: u64,
    pub plugin: PluginId,
    /// The moment at which this netcore learned of the launch.
    pub since: Instant,
    /// The plugin's use of the node, over all its launches.
    pub account: Arc<Account>,
    /// Permits for data connections.
    pub(crate) data: Arc<Semaphore>,
    /// Permits for connections whose first frame has not arrived.
    pub(crate) opening: Arc<Semaphore>,
    /// Permits for data connections that wait for their next opening.
    pub(crate) idle: Arc<Semaphore>,
    token: Secret,
    state: Mutex<State>,
    ended: watch::Sender<bool>,
}

#[derive(Debug)]
struct State {
    grants: Arc<Grants>,
    session: Option<Arc<Session>>,
    uses: HashMap<u64, Held>,
    last_use: u64,
    /// No session may begin any more: the plugin is being stopped.
    closing: bool,
    ended: bool,
}

/// A use that has begun and not ended.
#[derive(Debug)]
struct Held {
    used: Use,
    revoke: watch::Sender<Option<ErrorCode>>,
    on_change: Option<OnChange>,
}

/// A callback for a change of grants: gets the old and the new grants.
type OnRegrant = Arc<dyn Fn(&Grants, &Grants) + Send + Sync>;

/// The callback of a use's holder for a change of grants.
#[derive(Clone)]
enum OnChange {
    /// Called once, when the use is revoked.
    Revoked(Arc<dyn Fn() + Send + Sync>),
    /// Called after each change.
    Regranted(OnRegrant),
}

impl std::fmt::Debug for OnChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Revoked(_) => "Revoked",
            Self::Regranted(_) => "Regranted",
        })
    }
}

impl Launch {
    /// A launch without a session.
    pub fn new(number: u64, account: Arc<Account>, token: Secret, grants: Grants) -> Self {
        let state = State {
            grants: Arc::new(grants),
            session: None,
            uses: HashMap::new(),
            last_use: 0,
            closing: false,
            ended: false,
        };
        Self {
            number,
            plugin: account.plugin.clone(),
            since: Instant::now(),
            account,
            data: Arc::new(Semaphore::new(DATA_CONNECTIONS)),
            opening: Arc::new(Semaphore::new(OPENING_CONNECTIONS)),
            idle: Arc::new(Semaphore::new(MAX_IDLE_CONNECTIONS)),
            token,
            state: Mutex::new(state),
            ended: watch::Sender::new(false),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The current grants.
    pub fn grants(&self) -> Arc<Grants> {
        Arc::clone(&self.state().grants)
    }

    /// Whether `token` is the one that the plugin was launched with.
    pub fn is_token(&self, token: &Secret) -> bool {
        self.token.matches(token)
    }

    /// The newest session, if it has not ended.
    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        self.state().session.clone()
    }

    /// Makes `session` the newest and returns the one that it supersedes. Fails with `shutting down` if the launch is
    /// over.
    pub(crate) fn begin_session(&self, session: Arc<Session>) -> Result<Option<Arc<Session>>, Failure> {
        let mut state = self.state();
        if state.ended || state.closing {
            return Err(over());
        }
        Ok(state.session.replace(session))
    }

    /// Ends the session, and refuses another, because the plugin is being stopped; streams go on. Returns the session.
    pub(in crate::gateway) fn close(&self) -> Option<Arc<Session>> {
        let mut state = self.state();
        state.closing = true;
        let session = state.session.clone()?;
        session.end(Failure::new(ErrorCode::ShuttingDown, "the plugin is being stopped"));
        Some(session)
    }

    /// Removes `session` if it is the newest. Returns whether it was.
    pub(crate) fn end_session(&self, session: &Arc<Session>) -> bool {
        let mut state = self.state();
        let newest = state.session.as_ref().is_some_and(|newest| Arc::ptr_eq(newest, session));
        if newest {
            state.session = None;
        }
        newest
    }

    /// Checks that the grants cover `used`, and records the use until the result is dropped. A stream or call takes a
    /// slot of the plugin's account. The task or object that performs the use holds the result.
    pub(crate) fn begin(self: &Arc<Self>, counters: &Counters, used: Use) -> Result<ActiveUse, Failure> {
        let state = self.state();
        if state.ended {
            return Err(over());
        }
        self.counted(counters, used.check(&self.plugin, &state.grants))?;
        let peer = match &used {
            Use::Dial(node, _) => Some(WithPeer::Opened(*node)),
            Use::Serve(Origin::Peer(node), _) => Some(WithPeer::Served(*node)),
            Use::DialLocal(_) | Use::Serve(Origin::Local(_), _) | Use::ServeOperator(_) => None,
            // Other uses have limits of their own.
            _ => return Ok(self.enter(state, used, None)),
        };
        let slot = self.account.slot(peer).inspect_err(|_| counters.refused_too_many.count())?;
        Ok(self.enter(state, used, Some(slot)))
    }

    fn enter(self: &Arc<Self>, mut state: MutexGuard<'_, State>, used: Use, slot: Option<Slot>) -> ActiveUse {
        let (revoke, revoked) = watch::channel(None);
        state.last_use += 1;
        let number = state.last_use;
        state.uses.insert(number, Held { used, revoke, on_change: None });
        ActiveUse { launch: Arc::clone(self), number, revoked, _slot: slot }
    }

    /// Checks that the grants cover `used`, without recording the use.
    pub(crate) fn check(&self, counters: &Counters, used: &Use) -> Result<(), Failure> {
        self.counted(counters, used.check(&self.plugin, &self.grants()))
    }

    fn counted(&self, counters: &Counters, checked: Result<(), Failure>) -> Result<(), Failure> {
        checked.inspect_err(|_| {
            self.account.refused.count();
            counters.refused_not_granted.count();
        })
    }

    /// Replaces the grants and revokes the uses that they no longer cover.
    pub(crate) fn set_grants(&self, grants: Grants) {
        let grants = Arc::new(grants);
        let mut state = self.state();
        let before = std::mem::replace(&mut state.grants, Arc::clone(&grants));
        if let Some(session) = &state.session {
            session.outbox.grants_changed(Grants::clone(&grants));
        }
        let regranted: Vec<_> = state.uses.values().filter_map(|held| held.on_change.clone()).collect();
        self.revoke(state, |used| {
            let failure = used.check(&self.plugin, &grants).err()?;
            Some(ErrorCode::from_number(failure.code).unwrap_or(ErrorCode::NotGranted))
        });
        for on_change in regranted {
            if let OnChange::Regranted(told) = on_change {
                told(&before, &grants);
            }
        }
    }

    /// Revokes the uses for which `code` returns a reason.
    fn revoke(&self, mut state: MutexGuard<'_, State>, code: impl Fn(&Use) -> Option<ErrorCode>) {
        let mut holders = Vec::new();
        for held in state.uses.values_mut() {
            if let Some(code) = code(&held.used) {
                held.revoke.send_replace(Some(code));
                holders.extend(held.on_change.take());
            }
        }
        drop(state); // a holder drops its use, which takes this lock
        for holder in holders {
            if let OnChange::Revoked(end) = holder {
                end();
            }
        }
    }

    /// Ends the launch: ends its streams, calls and requests, and its session with all that the session holds.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        state.ended = true;
        if let Some(session) = &state.session {
            session.end(over());
        }
        self.revoke(state, |used| (!used.is_standing()).then_some(ErrorCode::ConnectionLost));
        self.ended.send_replace(true);
    }

    /// Ends streams, calls and requests with `code`, because the node stops.
    pub(crate) fn revoke_all(&self, code: ErrorCode) {
        self.revoke(self.state(), |used| (!used.is_standing()).then_some(code));
    }

    /// The number of streams, calls and requests in progress.
    pub(crate) fn active(&self) -> usize {
        self.state().uses.values().filter(|held| !held.used.is_standing()).count()
    }

    /// The uses in progress.
    #[cfg(test)]
    pub(crate) fn uses(&self) -> Vec<Use> {
        self.state().uses.values().map(|held| held.used.clone()).collect()
    }

    /// Waits until the launch is over.
    pub(crate) async fn ended(&self) {
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }
}

fn over() -> Failure {
    Failure::new(ErrorCode::ShuttingDown, "this launch of the plugin is over")
}

/// A use that the grants cover. It is recorded until this is dropped. Streams, calls and requests wait for
/// [`Self::revoked`]; standing uses register with [`Self::on_revoke`] what ends them.
#[derive(Debug)]
pub struct ActiveUse {
    launch: Arc<Launch>,
    number: u64,
    revoked: watch::Receiver<Option<ErrorCode>>,
    _slot: Option<Slot>,
}

impl ActiveUse {
    /// The launch that the use belongs to.
    pub fn launch(&self) -> &Arc<Launch> {
        &self.launch
    }

    /// Waits until the use is revoked. Returns the reason.
    pub async fn revoked(&mut self) -> ErrorCode {
        match self.revoked.wait_for(Option::is_some).await {
            Ok(code) => code.unwrap_or(ErrorCode::Internal),
            Err(_) => ErrorCode::Internal,
        }
    }
}

impl ActiveUse {
    /// The failure for those who wait for a use that was revoked with `code`.
    pub(crate) fn failure(&self, code: ErrorCode) -> Failure {
        let plugin = &self.launch.plugin;
        match code {
            ErrorCode::ConnectionLost => Failure::new(code, format!("plugin {plugin} ended")),
            ErrorCode::NotGranted | ErrorCode::PeerNotAllowed => {
                let text =
                    format!("the grants of plugin {plugin} were changed; see: `polypeer plugin grants {plugin}`");
                Failure::new(code, text)
            }
            other => other.into(),
        }
    }

    /// Registers `end` to be called when the use is revoked. Calls it at once if the use was revoked already.
    pub(crate) fn on_revoke(&self, end: impl Fn() + Send + Sync + 'static) {
        let end = {
            let mut state = self.launch.state();
            match state.uses.get_mut(&self.number) {
                Some(held) if held.revoke.borrow().is_none() => {
                    held.on_change = Some(OnChange::Revoked(Arc::new(end)));
                    return;
                }
                _ => end,
            }
        };
        end();
    }

    /// Registers `told` to be called after each change of the grants, with the old and the new ones.
    pub(crate) fn on_regrant(&self, told: impl Fn(&Grants, &Grants) + Send + Sync + 'static) {
        if let Some(held) = self.launch.state().uses.get_mut(&self.number) {
            held.on_change = Some(OnChange::Regranted(Arc::new(told)));
        }
    }
}

impl Drop for ActiveUse {
    fn drop(&mut self) {
        let held = self.launch.state().uses.remove(&self.number);
        drop(held); // not under the lock: its callback may own objects that take the lock when dropped
    }
}

/// A use of `plugin`, for tests of what holds one.
#[cfg(test)]
pub(super) fn any_use(plugin: &str) -> Arc<ActiveUse> {
    let account = Arc::new(Account::new(plugin.parse().expect("a plugin's name")));
    let launch = Arc::new(Launch::new(1, account, Secret([0; 32]), Grants::default()));
    Arc::new(launch.begin(&Counters::default(), Use::WatchPeers).expect("it needs no grant"))
}

#[cfg(test)]
mod tests {
    use polypeer_ipc_protocol::gateway::PeerScope;
    use polypeer_ipc_protocol::ids::NodeId;

    use super::*;

    #[tokio::test]
    async fn a_change_of_grants_revokes_what_they_cover_no_more() {
        let all = Grants { dial: vec!["*".parse().unwrap()], peers: PeerScope::Any, ..Grants::default() };
        let account = Arc::new(Account::new("chat".parse().unwrap()));
        let launch = Arc::new(Launch::new(1, account, Secret([0; 32]), all));
        let counters = Counters::default();
        let dial = |name: &str| Use::Dial(NodeId([1; 32]), name.parse().unwrap());
        let mut chat = launch.begin(&counters, dial("chat/1")).unwrap();
        let files = launch.begin(&counters, dial("files/1")).unwrap();
        let only = Grants { dial: vec!["files/*".parse().unwrap()], peers: PeerScope::Any, ..Grants::default() };
        launch.set_grants(only);
        assert_eq!(chat.revoked().await, ErrorCode::NotGranted);
        assert!(files.revoked.borrow().is_none());
        assert!(launch.begin(&counters, dial("chat/1")).unwrap_err().is(ErrorCode::NotGranted));
        assert_eq!((counters.refused_not_granted.value(), launch.account.refused.value()), (1, 1));
        drop(chat);
        assert_eq!(launch.active(), 1);
        launch.end();
        let mut files = files;
        let code = files.revoked().await;
        assert_eq!(code, ErrorCode::ConnectionLost);
        assert_eq!(files.failure(code).message, "plugin chat ended");
        assert!(launch.begin(&counters, dial("files/1")).unwrap_err().is(ErrorCode::ShuttingDown));
    }
}
