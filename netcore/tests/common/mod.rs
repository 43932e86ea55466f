//! Plays the supervisor for a real network core: starts it with its admin session, mints launches with their sockets,
//! and hands out plugins that speak to it through the gateway's client.

mod deaf;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use polypeer_ipc_protocol::admin::{AdminCommand, AdminEvent, AdminFrame, AdminRequest, AdminResponse, NetStatus};
use polypeer_ipc_protocol::client::{Client, ClientError, DataStream, Events, StreamError};
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{Event, Grants, Origin, PeerScope, Target};
use polypeer_ipc_protocol::ids::{Name, NodeId, PluginId, Protocol, Secret};
use polypeer_ipc_protocol::ticket::Ticket;
use polypeer_ipc_protocol::transport::unix::{AdminChannel, AdminSender};
use polypeer_netcore::Options;
use polypeer_netcore::limits::Timings;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::{oneshot, watch};

#[allow(unused_imports, reason = "not every test program has a deaf plugin")]
pub use deaf::Deaf;

/// How long anything may take before a test has failed.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Waits for something that must happen.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(result) => result,
        Err(_) => panic!("{what} did not happen within {DEADLINE:?}"),
    }
}

/// Polls until `check` gives something.
pub async fn until<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    within(what, async {
        loop {
            if let Some(result) = check().await {
                return result;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

enum Running {
    Process(Child),
    Task(tokio::task::JoinHandle<()>),
}

/// A network core and this test's end of its admin session.
pub struct Netcore {
    running: Running,
    sender: tokio::sync::Mutex<Option<AdminSender>>,
    receiving: tokio::task::JoinHandle<()>,
    answers: Arc<Answers>,
    pub home: Arc<TempDir>,
    next: AtomicU64,
}

#[derive(Default)]
struct Answers {
    waiting: Mutex<HashMap<u64, oneshot::Sender<AdminResponse>>>,
    events: watch::Sender<Vec<AdminEvent>>,
    ended: watch::Sender<bool>,
}

impl Netcore {
    /// A process in a home of its own, started.
    pub async fn start() -> Self {
        let netcore = Self::spawn(Arc::new(TempDir::new().unwrap()), "main");
        assert_eq!(netcore.ask(AdminRequest::Start).await, AdminResponse::Done);
        netcore
    }

    /// A process in `home` that waits for `Start`.
    pub fn spawn(home: Arc<TempDir>, network: &str) -> Self {
        Self::spawn_with(home, network, &[])
    }

    /// The same, with more options.
    pub fn spawn_with(home: Arc<TempDir>, network: &str, options: &[String]) -> Self {
        let alone = ["--no-lan", "--listen", "127.0.0.1:0", "--network", network].map(str::to_owned);
        Self::spawn_by(&[], home, &[&alone, options].concat())
    }

    /// A process that the command `by` starts, with these options alone.
    pub fn spawn_by(by: &[&str], home: Arc<TempDir>, options: &[String]) -> Self {
        let (channel, far) = AdminChannel::pair().unwrap();
        // The shell moves the socket from its standard input to descriptor 3.
        let child = Command::new("sh")
            .args(["-c", "exec 3<&0 </dev/null; exec \"$@\"", "sh"])
            .args(by)
            .args([env!("CARGO_BIN_EXE_polypeer-netcore"), "--home"])
            .arg(home.path())
            .args(options)
            .stdin(Stdio::from(far))
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self::new(Running::Process(child), channel, home)
    }

    /// A network core inside the test, for times shorter than the real ones.
    pub async fn inside(timings: Timings, idle: Duration) -> Self {
        let log = tracing_subscriber::fmt().with_test_writer().with_ansi(false).with_max_level(tracing::Level::WARN);
        let _ = log.try_init(); // another test of this process may have been first
        let home = Arc::new(TempDir::new().unwrap());
        let (channel, far) = AdminChannel::pair().unwrap();
        let options = Options {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            lan: false,
            idle,
            timings,
            ..Options::new(home.path().to_owned())
        };
        let task = tokio::spawn(async move {
            if let Err(error) = polypeer_netcore::run(options, far).await {
                eprintln!("netcore inside the test: {error}");
            }
        });
        let netcore = Self::new(Running::Task(task), channel, home);
        assert_eq!(netcore.ask(AdminRequest::Start).await, AdminResponse::Done);
        netcore
    }

    fn new(running: Running, channel: AdminChannel, home: Arc<TempDir>) -> Self {
        let (sender, mut receiver) = channel.split();
        let answers = Arc::new(Answers::default());
        let shared = Arc::clone(&answers);
        let receiving = tokio::spawn(async move {
            while let Ok(Some((frame, _))) = receiver.recv::<AdminFrame>().await {
                match frame {
                    AdminFrame::Response { id, response } => {
                        if let Some(waiting) = shared.waiting.lock().unwrap().remove(&id) {
                            let _ = waiting.send(response);
                        }
                    }
                    AdminFrame::Event(event) => shared.events.send_modify(|events| events.push(event)),
                }
            }
            shared.waiting.lock().unwrap().clear();
            shared.ended.send_replace(true);
        });
        Self {
            running,
            sender: tokio::sync::Mutex::new(Some(sender)),
            receiving,
            answers,
            home,
            next: AtomicU64::new(1),
        }
    }

    pub async fn ask(&self, request: AdminRequest) -> AdminResponse {
        self.ask_with(request, None).await
    }

    pub async fn ask_with(&self, request: AdminRequest, descriptor: Option<&OwnedFd>) -> AdminResponse {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (answered, answer) = oneshot::channel();
        self.answers.waiting.lock().unwrap().insert(id, answered);
        let command = AdminCommand { id, request };
        let mut sender = self.sender.lock().await;
        let sent = sender.as_mut().expect("the session stands").send(&command, descriptor.map(AsFd::as_fd));
        sent.await.unwrap();
        drop(sender);
        within("an admin answer", answer).await.expect("the admin session stands")
    }

    pub async fn ticket(&self) -> Ticket {
        match self.ask(AdminRequest::Ticket).await {
            AdminResponse::Ticket(ticket) => ticket,
            other => panic!("{other:?}"),
        }
    }

    pub async fn status(&self) -> NetStatus {
        match self.ask(AdminRequest::Status).await {
            AdminResponse::Status(status) => status,
            other => panic!("{other:?}"),
        }
    }

    /// A counter of `Status`; 0 when it is not there.
    pub async fn counter(&self, name: &str) -> u64 {
        self.status().await.counters.into_iter().find(|(found, _)| found == name).map_or(0, |(_, value)| value)
    }

    /// Waits for an event.
    pub async fn event(&self, expected: &AdminEvent) {
        let mut events = self.events();
        within("an admin event", events.wait_for(|events| events.contains(expected))).await.expect("it is kept");
    }

    /// All events so far, and every new one.
    pub fn events(&self) -> watch::Receiver<Vec<AdminEvent>> {
        self.answers.events.subscribe()
    }

    /// Waits until the admin session has ended.
    pub async fn ended(&self) {
        let mut ended = self.answers.ended.subscribe();
        within("the end of the admin session", ended.wait_for(|ended| *ended)).await.expect("it is kept");
    }

    /// A launch with its own socket.
    pub async fn launch(&self, plugin: &str, grants: Grants) -> Launch {
        let launch = Launch::new(plugin, grants);
        launch.add_to(self).await;
        launch
    }

    /// A launch and its session.
    pub async fn plugin(&self, plugin: &str, grants: Grants) -> Plugin {
        self.launch(plugin, grants).await.connect().await
    }

    pub fn pid(&self) -> u32 {
        match &self.running {
            Running::Process(child) => child.id().expect("it runs"),
            Running::Task(_) => panic!("no process"),
        }
    }

    /// The supervisor goes.
    pub fn close_admin(&mut self) {
        self.receiving.abort();
        *self.sender.get_mut() = None;
    }

    /// `kill -9`.
    pub async fn kill(&mut self) {
        match &mut self.running {
            Running::Process(child) => within("the end of netcore", child.kill()).await.unwrap(),
            Running::Task(_) => panic!("no process"),
        }
    }

    /// Waits for the process to exit by itself.
    pub async fn exit(&mut self) -> std::process::ExitStatus {
        let Running::Process(child) = &mut self.running else { panic!("no process") };
        within("the exit of netcore", child.wait()).await.unwrap()
    }
}

impl Drop for Netcore {
    fn drop(&mut self) {
        // A process is killed with its handle.
        if let Running::Task(task) = &self.running {
            task.abort();
        }
    }
}

/// What the supervisor knows of a launch: it keeps the listening descriptor.
pub struct Launch {
    pub number: u64,
    pub id: PluginId,
    pub token: Secret,
    pub grants: Grants,
    pub socket: PathBuf,
    pub listener: OwnedFd,
    _folder: TempDir,
}

impl Launch {
    pub fn new(plugin: &str, grants: Grants) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = TempDir::new().unwrap();
        let socket = folder.path().join("gateway.sock");
        let listener = UnixListener::bind(&socket).unwrap().into();
        let mut token = [7; 32];
        token[..8].copy_from_slice(&number.to_le_bytes());
        Self { number, id: plugin.parse().unwrap(), token: Secret(token), grants, socket, listener, _folder: folder }
    }

    pub async fn add_to(&self, netcore: &Netcore) {
        let request = AdminRequest::AddLaunch {
            launch: self.number,
            plugin: self.id.clone(),
            token: self.token.clone(),
            grants: self.grants.clone(),
        };
        assert_eq!(netcore.ask_with(request, Some(&self.listener)).await, AdminResponse::Done);
    }

    pub async fn connect(self) -> Plugin {
        let (client, events) =
            within("a session", Client::connect(&self.socket, self.token.clone())).await.expect("a session");
        Plugin { client, events, launch: self }
    }
}

/// A plugin with its session.
pub struct Plugin {
    pub client: Client,
    pub events: Events,
    pub launch: Launch,
}

impl Plugin {
    /// The next event.
    pub async fn event(&mut self) -> Event {
        within("an event", self.events.next()).await.expect("the session stands")
    }

    /// The next announced stream, claimed.
    pub async fn accept(&mut self) -> DataStream {
        match self.event().await {
            Event::Stream { stream, .. } => within("a claim", self.client.accept(stream)).await.expect("claimed"),
            other => panic!("{other:?}"),
        }
    }
}

pub fn protocol(name: &str) -> Protocol {
    name.parse().unwrap()
}

/// Everything, with every peer.
pub fn all() -> Grants {
    Grants {
        serve: vec!["*".parse().unwrap()],
        dial: vec!["*".parse().unwrap()],
        serve_local: vec!["*".parse().unwrap()],
        peers: PeerScope::Any,
        topics: vec!["*".parse().unwrap()],
        dht: vec!["*".parse().unwrap()],
        ..Grants::default()
    }
}

/// The target for a netcore of this test.
pub async fn target(netcore: &Netcore) -> Target {
    Target::Ticket(netcore.ticket().await)
}

pub fn peer_of(origin: &Origin) -> NodeId {
    match origin {
        Origin::Peer(node) => *node,
        Origin::Local(_) => panic!("a local origin"),
    }
}

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// The request must be refused with this code.
pub async fn refused<T: std::fmt::Debug>(
    asked: impl Future<Output = Result<T, ClientError>>,
    code: ErrorCode,
) -> Failure {
    let failure = refusal(within("an answer", asked).await);
    assert!(failure.is(code), "expected {code}, got {failure}");
    failure
}

/// Gives a plugin's launch other grants, and waits until it is told.
pub async fn regrant(netcore: &Netcore, plugin: &mut Plugin, grants: Grants) {
    let request = AdminRequest::SetGrants { plugin: plugin.launch.id.clone(), grants: grants.clone() };
    assert_eq!(netcore.ask(request).await, AdminResponse::Done);
    assert_eq!(plugin.event().await, Event::GrantsChanged(grants));
}

/// Bytes that differ everywhere, by a seed.
pub fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Opens a stream from one plugin to another, which listens: both ends.
pub async fn stream_between(near: &Plugin, far: &mut Plugin, target: Target, name: &str) -> (DataStream, DataStream) {
    let opened = near.client.open(target, protocol(name), None);
    let (opened, accepted) = within("a stream", async { tokio::join!(opened, far.accept()) }).await;
    (opened.expect("opened"), accepted)
}

/// Reads until the stream fails, which it must: the code it failed with. An end of file is a failed test.
pub async fn read_code(stream: &mut DataStream) -> u32 {
    let mut buffer = vec![0; 64 << 10];
    within("an error at the reader", async {
        loop {
            match stream.read(&mut buffer).await {
                Ok(0) => panic!("an end of file where the stream was cut"),
                Ok(_) => {}
                Err(error) => match StreamError::of(&error) {
                    Some(StreamError::Reset { code }) => return *code,
                    Some(StreamError::Lost) => return ErrorCode::ConnectionLost.number(),
                    other => panic!("{other:?} of {error}"),
                },
            }
        }
    })
    .await
}

/// Writes until the stream fails, which it must: the code it failed with.
pub async fn write_code(stream: &mut DataStream) -> u32 {
    let chunk = vec![0; 16 << 10];
    within("an error at the writer", async {
        loop {
            if let Err(error) = stream.write_all(&chunk).await {
                match StreamError::of(&error) {
                    Some(StreamError::Stopped { code } | StreamError::Reset { code }) => return *code,
                    Some(StreamError::Lost) => return ErrorCode::ConnectionLost.number(),
                    other => panic!("{other:?} of {error}"),
                }
            }
        }
    })
    .await
}

/// The code a request was refused with.
pub fn refusal<T: std::fmt::Debug>(result: Result<T, ClientError>) -> Failure {
    result.expect_err("it had to be refused").failure()
}

/// Connects two netcores, `one` dialing, and waits until both say so.
pub async fn connected(one: &Netcore, two: &Netcore) {
    let answer = one.ask(AdminRequest::Ping { ticket: two.ticket().await, timeout_ms: 30_000 }).await;
    assert!(matches!(answer, AdminResponse::Pong { .. }), "{answer:?}");
    two.event(&AdminEvent::PeerUp { node: one.ticket().await.node }).await;
}
