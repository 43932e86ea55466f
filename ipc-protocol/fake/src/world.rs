//! What happens to launches and their sessions: kills and starts, frames that arrive, frames to send.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use anyhow::Context;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{ClientFrame, Event, Grants, PeerScope, Reach, Response, Welcome};
use polypeer_ipc_protocol::ids::{NodeId, Pattern, PluginId, Secret};
use polypeer_ipc_protocol::limits::VERSION;
use polypeer_ipc_protocol::session::server::{ServerEvent, ServerSession};
use tokio::sync::{mpsc, watch};

use crate::splice::Output;
use crate::state::{Asked, Launch, OUTBOX, Rule, Session, Shared, Table, World, failure};

impl World {
    pub(crate) fn new() -> Shared {
        Rc::new_cyclic(|this| {
            RefCell::new(Self {
                launches: BTreeMap::new(),
                rules: Vec::new(),
                table: Table::default(),
                unclaimed: BTreeMap::new(),
                calls: BTreeMap::new(),
                numbers: 0,
                this: this.clone(),
            })
        })
    }

    /// The world, for a new task.
    pub(crate) fn shared(&self) -> Shared {
        self.this.upgrade().expect("it is borrowed from there")
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Unique, but not random: no test guesses.
    fn secret(&mut self) -> Secret {
        let mut bytes = [0xa5; 32];
        bytes[..8].copy_from_slice(&self.number().to_be_bytes());
        Secret(bytes)
    }

    // Commands.

    pub(crate) fn launch(&mut self, number: usize) -> anyhow::Result<&mut Launch> {
        self.launches.get_mut(&number).with_context(|| format!("there is no launch {number}"))
    }

    pub(crate) fn add_launch(&mut self, node: NodeId, plugin: PluginId) -> (usize, Secret) {
        let everything: Vec<Pattern> = vec!["*".parse().expect("a pattern")];
        let grants = Grants {
            serve: everything.clone(),
            dial: everything.clone(),
            serve_local: everything.clone(),
            peers: PeerScope::Any,
            topics: everything.clone(),
            dht: everything,
            routes: Vec::new(),
        };
        let (number, token) = (self.launches.last_key_value().map_or(0, |(last, _)| last + 1), self.secret());
        let launch = Launch {
            node,
            plugin,
            grants,
            reach: Reach::Unknown,
            addresses: Vec::new(),
            hellos: 0,
            heartbeats: 0,
            requests: Vec::new(),
            session: None,
            token: token.clone(),
            streams: Vec::new(),
            life: watch::Sender::new(0),
        };
        self.launches.insert(number, launch);
        (number, token)
    }

    pub(crate) fn remove_launch(&mut self, number: usize) -> anyhow::Result<()> {
        self.end_session(number);
        self.launches.remove(&number).with_context(|| format!("there is no launch {number}"))?;
        Ok(())
    }

    pub(crate) fn kill(&mut self, node: NodeId) {
        self.live(node, 1);
        let killed: Vec<usize> =
            self.launches.iter().filter(|(_, launch)| launch.node == node).map(|(n, _)| *n).collect();
        for number in killed {
            self.end_session(number);
        }
    }

    pub(crate) fn start(&mut self, node: NodeId) {
        self.live(node, 0);
    }

    fn live(&mut self, node: NodeId, parity: u64) {
        for launch in self.launches.values().filter(|launch| launch.node == node) {
            launch.life.send_if_modified(|life| {
                let changes = *life % 2 != parity;
                *life += u64::from(changes);
                changes
            });
        }
    }

    // Sessions.

    /// Starts a session: its number, and the queue of frames to send, the reply to `Hello` first. Fails with the reply
    /// that refuses it.
    pub(crate) fn hello(
        &mut self,
        number: usize,
        token: &Secret,
        mut machine: ServerSession,
    ) -> Result<(u64, mpsc::Receiver<Vec<u8>>), Vec<u8>> {
        let mut out = Vec::new();
        let refusal = self.exception(number, "Hello", None);
        let (id, secret) = (self.number(), self.secret());
        let Some(launch) = self.launches.get_mut(&number) else { return Err(out) };
        launch.hellos += 1;
        let refused = match refusal {
            Some(Some(Response::Failed(failure))) => Some(failure),
            _ if !launch.token.matches(token) => Some(failure(ErrorCode::Unauthorised, "wrong token")),
            _ => None,
        };
        if let Some(failure) = refused {
            machine.refuse(failure, &mut out);
            return Err(out);
        }
        let welcome = Welcome {
            version: VERSION,
            node: launch.node,
            plugin: launch.plugin.clone(),
            grants: launch.grants.clone(),
            secret: secret.clone(),
        };
        machine.welcome(welcome, &mut out).expect("a welcome is small");
        self.close(number, failure(ErrorCode::Superseded, "a newer session of this launch"));
        let (outbox, frames) = mpsc::channel(OUTBOX);
        let mut session = Session {
            id,
            secret,
            listeners: HashMap::new(),
            topics: BTreeMap::new(),
            datagrams: BTreeSet::new(),
            watches_peers: false,
            watches_network: false,
            machine,
            outbox,
        };
        session.push(out);
        self.launches.get_mut(&number).expect("found above").session = Some(session);
        Ok((id, frames))
    }

    /// The session with this number, if it is still the launch's.
    pub(crate) fn session(&mut self, number: usize, id: u64) -> Option<&mut Session> {
        self.launches.get_mut(&number)?.session.as_mut().filter(|session| session.id == id)
    }

    /// Takes one frame of a control session.
    pub(crate) fn frame(&mut self, number: usize, id: u64, body: &[u8]) {
        let Some(session) = self.session(number, id) else { return };
        let mut out = Vec::new();
        let event = session.machine.handle_frame(body, &mut out);
        session.push(out);
        match event {
            Some(ServerEvent::Frame(frame)) => self.handle(number, id, frame),
            Some(ServerEvent::Ended(_)) => self.end_session(number),
            Some(ServerEvent::Opening(_)) | None => {}
        }
    }

    fn handle(&mut self, launch: usize, session: u64, frame: ClientFrame) {
        match frame {
            ClientFrame::Request { id, request } => {
                let asked = Asked { launch, session, id };
                if let Some(response) = self.request(asked, request) {
                    self.respond(asked, response);
                }
            }
            ClientFrame::Cancel { id } => self.cancel(Asked { launch, session, id }),
            ClientFrame::Answer { call, payload } => self.answer(launch, call, Response::Reply { payload }),
            ClientFrame::Decline { call, failure } => self.answer(launch, call, Response::Failed(failure)),
            ClientFrame::Alive => {
                if let Some(launch) = self.launches.get_mut(&launch) {
                    launch.heartbeats += 1;
                }
            }
        }
    }

    /// Answers a request, unless its session has ended or it was answered before.
    pub(crate) fn respond(&mut self, asked: Asked, response: Response) {
        let Some(session) = self.session(asked.launch, asked.session) else { return };
        let mut out = Vec::new();
        session.machine.respond(asked.id, response, &mut out).expect("a response is small");
        session.push(out);
    }

    /// Sends an event to a launch's session, if it has one.
    pub(crate) fn tell(&mut self, number: usize, event: Event) {
        let Some(session) = self.launches.get_mut(&number).and_then(|launch| launch.session.as_mut()) else { return };
        let mut out = Vec::new();
        session.machine.event(event, &mut out).expect("an event is small");
        session.push(out);
    }

    /// Ends a launch's session with a reason, if it has one.
    pub(crate) fn close(&mut self, number: usize, failure: Failure) {
        let Some(session) = self.launches.get_mut(&number).and_then(|launch| launch.session.as_mut()) else { return };
        let mut out = Vec::new();
        session.machine.close(failure, &mut out);
        session.push(out);
        self.end_session(number);
    }

    /// Removes a launch's session; its connection closes when the queued frames are written. Calls and streams that
    /// wait for it fail.
    pub(crate) fn end_session(&mut self, number: usize) {
        let Some(launch) = self.launches.get_mut(&number) else { return };
        let Some(session) = launch.session.take() else { return };
        self.abandon(number, session.id);
    }

    // Streams.

    /// Registers an open stream of a launch, for `send`.
    pub(crate) fn add_stream(&mut self, number: usize, output: &Rc<Output>) {
        if let Some(launch) = self.launches.get_mut(&number) {
            launch.streams.retain(|each| each.strong_count() > 0);
            launch.streams.push(Rc::downgrade(output));
        }
    }

    /// The response that a rule sets for a request; `Some(None)`: no response at all.
    pub(crate) fn exception(&mut self, number: usize, request: &str, name: Option<&str>) -> Option<Option<Response>> {
        let applies = |rule: &&mut Rule| {
            rule.times > 0
                && rule.launch.is_none_or(|launch| launch == number)
                && rule.requests.iter().any(|each| each == request)
                && (rule.name.is_none() || rule.name.as_deref() == name)
        };
        let rule = self.rules.iter_mut().find(applies)?;
        rule.times -= 1;
        Some(rule.with.clone())
    }
}
