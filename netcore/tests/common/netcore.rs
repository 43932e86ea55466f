//! A network core, and this test's end of its admin session.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use polypeer_ipc_protocol::admin::{AdminCommand, AdminEvent, AdminFrame, AdminRequest, AdminResponse, NetStatus};
use polypeer_ipc_protocol::gateway::Grants;
use polypeer_ipc_protocol::settings::{DiscoverySettings, NetSettings};
use polypeer_ipc_protocol::ticket::Ticket;
use polypeer_ipc_protocol::transport::admin::{AdminChannel, AdminSender};
use polypeer_netcore::Options;
use polypeer_netcore::limits::Timings;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::{oneshot, watch};

use super::{Launch, Plugin, within};

/// Settings of a node on a loopback port of its own that does not look at the local network.
pub fn alone() -> NetSettings {
    NetSettings {
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        discovery: DiscoverySettings { lan: false, ..DiscoverySettings::default() },
        ..NetSettings::default()
    }
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
        let netcore = Self::spawn(Arc::new(TempDir::new().unwrap()), "main").await;
        assert_eq!(netcore.ask(AdminRequest::Start).await, AdminResponse::Done);
        netcore
    }

    /// A process in `home` that waits for `Start`.
    pub async fn spawn(home: Arc<TempDir>, network: &str) -> Self {
        Self::spawn_by(&[], home, NetSettings { network: network.parse().unwrap(), ..alone() }).await
    }

    /// A process that the command `by` starts, with these settings; it waits for `Start`.
    pub async fn spawn_by(by: &[&str], home: Arc<TempDir>, settings: NetSettings) -> Self {
        let netcore = Self::unconfigured(by, home);
        netcore.configure(settings).await;
        netcore
    }

    /// A process that waits for its settings.
    pub fn unconfigured(by: &[&str], home: Arc<TempDir>) -> Self {
        let (channel, far) = AdminChannel::pair().unwrap();
        // The shell moves the socket from its standard input to descriptor 3.
        let child = Command::new("sh")
            .args(["-c", "exec 3<&0 </dev/null; exec \"$@\"", "sh"])
            .args(by)
            .args([env!("CARGO_BIN_EXE_polypeer-netcore"), "--home"])
            .arg(home.path())
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
        let options = Options { home: home.path().to_owned(), idle, timings };
        let task = tokio::spawn(async move {
            if let Err(error) = polypeer_netcore::run(options, far).await {
                eprintln!("netcore inside the test: {error}");
            }
        });
        let netcore = Self::new(Running::Task(task), channel, home);
        netcore.configure(alone()).await;
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

    async fn configure(&self, settings: NetSettings) {
        assert_eq!(self.ask(AdminRequest::Configure(Box::new(settings))).await, AdminResponse::Done);
    }

    pub async fn ask(&self, request: AdminRequest) -> AdminResponse {
        self.ask_with(request, None).await
    }

    pub async fn ask_with(&self, request: AdminRequest, descriptor: Option<&OwnedFd>) -> AdminResponse {
        let answer = self.send(request, descriptor).await;
        within("an admin answer", answer).await.expect("the admin session stands")
    }

    /// Sends a request whose answer may never come.
    pub async fn tell(&self, request: AdminRequest) {
        drop(self.send(request, None).await);
    }

    async fn send(&self, request: AdminRequest, descriptor: Option<&OwnedFd>) -> oneshot::Receiver<AdminResponse> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (answered, answer) = oneshot::channel();
        self.answers.waiting.lock().unwrap().insert(id, answered);
        let command = AdminCommand { id, request };
        let mut sender = self.sender.lock().await;
        let sent = sender.as_mut().expect("the session stands").send(&command, descriptor);
        sent.await.unwrap();
        answer
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
