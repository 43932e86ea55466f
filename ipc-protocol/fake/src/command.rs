//! The commands of a test and the replies to them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use data_encoding::HEXLOWER;
use polypeer_ipc_protocol::error::Failure;
use polypeer_ipc_protocol::gateway::{CallMode, Event, Grants, Reach, Request, Response, Scope, Validation};
use polypeer_ipc_protocol::ids::{Name, NodeId, PluginId, Protocol, Secret};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::connection;
use crate::state::{Launch, Rule, Shared, World};

/// One line of standard input, such as `{"kill": {"node": "y…"}}`. Launches go by the number that `launch` replied.
/// Bytes are hex. Each reply is an object: the result, `{}`, or `{"error": text}`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Command {
    /// Adds a plugin launch on `node`, allowed everything, and listens at `path`. → `{"launch", "token"}`
    Launch { node: NodeId, plugin: PluginId, path: PathBuf },
    /// Removes a launch, with its socket and its connections.
    Remove { launch: usize },
    /// Ends a node as `kill -9` does: its connections break. Its sockets stay, and what connects to them waits.
    Kill { node: NodeId },
    /// Runs a node again after `kill`.
    Start { node: NodeId },
    /// Changes what a launch may do, without telling it.
    Grants { launch: usize, grants: Grants },
    /// Changes what a launch is told of its node's reach and addresses when it begins to watch the network.
    Network { launch: usize, reach: Reach, addresses: Vec<SocketAddr> },
    /// Sends an event to a launch's session.
    Event { launch: usize, event: Event },
    /// Sends bytes on a launch's session, or on each of its open streams.
    Send { launch: usize, to: To, bytes: String },
    /// Ends a launch's session with a reason.
    Close { launch: usize, failure: Failure },
    /// Answers the next requests of these kinds (`Hello` is one) with a response instead of doing what they ask, or,
    /// with `null`, does it and never answers.
    Answer {
        /// `null`: any launch.
        launch: Option<usize>,
        requests: Vec<String>,
        /// The name, topic or protocol that the request must have; `null`: any.
        name: Option<String>,
        times: u64,
        with: Option<Response>,
    },
    /// Forgets every `answer`.
    AnswerAll,
    /// Forgets every provider in the DHT.
    ForgetProviders,
    /// Signs bytes with the Ed25519 key of a seed of 32 bytes. → `{"key", "signature"}`
    Sign { seed: Secret, bytes: String },
    /// → [`State`]
    State,
    /// The requests that a launch made in all its sessions, from number `from` on. → `{"requests": [Request…]}`
    Requests { launch: usize, from: usize },
}

/// Where `send` writes.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum To {
    Session,
    Streams,
}

/// What a test may look at.
#[derive(Serialize)]
struct State<'a> {
    launches: BTreeMap<usize, LaunchState<'a>>,
    /// Streams announced and not yet claimed.
    unclaimed: usize,
    /// Calls that wait for a plugin's answer.
    calls: usize,
    /// How often each `answer` still applies, in the order given.
    answers: Vec<u64>,
    providers: &'a BTreeMap<Name, Vec<NodeId>>,
}

/// A launch; all but the first three fields are of its present session.
#[derive(Serialize)]
struct LaunchState<'a> {
    session: bool,
    /// Control sessions asked for, refused ones included.
    hellos: u64,
    heartbeats: u64,
    listeners: Vec<(&'a Protocol, Scope, CallMode)>,
    topics: Vec<(&'a Name, Validation)>,
    datagrams: Vec<&'a Protocol>,
    watches_peers: bool,
    watches_network: bool,
}

/// Does what a test asks; fails with what is wrong with the command.
pub(crate) async fn run(shared: &Shared, command: Command) -> anyhow::Result<Value> {
    if let Command::Send { launch, to: To::Streams, bytes } = &command {
        let bytes = HEXLOWER.decode(bytes.as_bytes())?;
        let streams = shared.borrow_mut().launch(*launch)?.open_streams();
        for stream in streams {
            stream.write(&bytes).await;
        }
        return Ok(json!({}));
    }
    let mut world = shared.borrow_mut();
    match command {
        Command::Launch { node, plugin, path } => {
            let (number, token) = world.add_launch(node, plugin);
            let listener = connection::listen(shared, number, &mut world, &path);
            listener.with_context(|| format!("cannot listen on {}", path.display()))?;
            return Ok(json!({ "launch": number, "token": token.to_text() }));
        }
        Command::Remove { launch } => world.remove_launch(launch)?,
        Command::Kill { node } => world.kill(node),
        Command::Start { node } => world.start(node),
        Command::Grants { launch, grants } => world.launch(launch)?.grants = grants,
        Command::Network { launch, reach, addresses } => {
            let launch = world.launch(launch)?;
            (launch.reach, launch.addresses) = (reach, addresses);
        }
        Command::Event { launch, event } => {
            world.launch(launch)?.session.as_ref().context("the launch has no session")?;
            world.tell(launch, event);
        }
        Command::Send { launch, bytes, .. } => {
            let session = world.launch(launch)?.session.as_mut().context("the launch has no session")?;
            session.push(HEXLOWER.decode(bytes.as_bytes())?);
        }
        Command::Close { launch, failure } => {
            world.launch(launch)?.session.as_ref().context("the launch has no session")?;
            world.close(launch, failure);
        }
        Command::Answer { launch, requests, name, times, with } => {
            world.rules.push(Rule { launch, requests, name, times, with });
        }
        Command::AnswerAll => world.rules.clear(),
        Command::ForgetProviders => world.table.providers.clear(),
        Command::Sign { seed, bytes } => {
            let key = Ed25519KeyPair::from_seed_unchecked(&seed.0).ok().context("not a seed")?;
            let signature = key.sign(&HEXLOWER.decode(bytes.as_bytes())?);
            let text = |bytes: &[u8]| HEXLOWER.encode(bytes);
            return Ok(json!({ "key": text(key.public_key().as_ref()), "signature": text(signature.as_ref()) }));
        }
        Command::State => return Ok(serde_json::to_value(state(&world))?),
        Command::Requests { launch, from } => {
            let requests: &[Request] = world.launch(launch)?.requests.get(from..).unwrap_or_default();
            return Ok(json!({ "requests": requests }));
        }
    }
    Ok(json!({}))
}

fn state(world: &World) -> State<'_> {
    State {
        launches: world.launches.iter().map(|(number, each)| (*number, launch_state(each))).collect(),
        unclaimed: world.unclaimed.len(),
        calls: world.calls.len(),
        answers: world.rules.iter().map(|rule| rule.times).collect(),
        providers: &world.table.providers,
    }
}

fn launch_state(launch: &Launch) -> LaunchState<'_> {
    let session = launch.session.as_ref();
    let listeners = session.map(|session| &session.listeners).into_iter().flatten();
    LaunchState {
        session: session.is_some(),
        hellos: launch.hellos,
        heartbeats: launch.heartbeats,
        listeners: listeners.map(|((protocol, scope), calls)| (protocol, *scope, *calls)).collect(),
        topics: session.map(|session| &session.topics).into_iter().flatten().map(|(name, by)| (name, *by)).collect(),
        datagrams: session.map(|session| &session.datagrams).into_iter().flatten().collect(),
        watches_peers: session.is_some_and(|session| session.watches_peers),
        watches_network: session.is_some_and(|session| session.watches_network),
    }
}
