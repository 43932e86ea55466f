//! Metrics in OpenMetrics' text form, over HTTP: at `run/metrics.sock`, for the node's operator alone, and at a
//! loopback address if the configuration names one. `table` has every metric, `page` writes them.

mod page;
mod table;

use std::convert::Infallible;
use std::fmt::Display;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::Daemon;
use crate::control::server::{Handler, LOOK};
use crate::control::{caller, socket};
use crate::home::Home;
use crate::ticks::ticks;

/// Most connections at a time on each of the two sockets; further ones are closed at once. A collector uses one.
const MAX_CONNECTIONS: usize = 16;
/// Time limit for a request's head.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// Time limit for a connection, which is for one request.
const CONNECTION_TIME: Duration = Duration::from_secs(30);
/// Most bytes of a request's head.
const MAX_HEAD: usize = 16 << 10;
/// Pause after a connection that could not be accepted, when there may be no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// The form of the answer.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The listening sockets.
pub(super) struct Sockets {
    local: socket::Listener,
    loopback: Option<TcpListener>,
    /// Replace `loopback`.
    listeners: mpsc::Receiver<Option<TcpListener>>,
}

/// Listens at the socket in the home, which must be locked, so that an existing one is a leftover. Without sockets, the
/// other value says why.
pub(super) fn bind(home: &Home) -> (Option<Sockets>, Loopback) {
    let (sender, listeners) = mpsc::channel(1);
    let path = home.metrics_socket();
    let local = socket::listen(&path).map_err(failed(path.display()));
    let state = local.as_ref().map_or_else(|problem| Err(problem.clone()), |_| Ok(None));
    let sockets = local.ok().map(|local| Sockets { local, loopback: None, listeners });
    (sockets, Loopback { state: Mutex::new(state), listeners: sender })
}

fn failed(place: impl Display) -> impl FnOnce(io::Error) -> String {
    move |error| format!("metrics cannot be read at {place}: {error}")
}

/// The loopback address where metrics are read, which may change.
pub(super) struct Loopback {
    /// The address, if there is one; or why they cannot be read.
    state: Mutex<Result<Option<SocketAddr>, String>>,
    listeners: mpsc::Sender<Option<TcpListener>>,
}

impl Loopback {
    /// Listens at `address` in place of the present one, or at none.
    ///
    /// # Errors
    /// The reason, for people, when metrics cannot be read there; then they are read at no address.
    pub(super) async fn listen_at(&self, address: Option<SocketAddr>) -> Result<(), String> {
        let bound = match address {
            Some(address) => TcpListener::bind(address).await.map(Some).map_err(failed(address)),
            None => Ok(None),
        };
        let at = |listener: &Option<TcpListener>| listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let state = bound.as_ref().map(at).map_err(Clone::clone);
        // Without a socket in the home nobody takes it, and that stays the problem.
        if self.listeners.send(bound.ok().flatten()).await.is_ok() {
            *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        }
        self.address().map(drop)
    }

    /// The address that is listened on, if one is asked for; or why metrics cannot be read.
    pub(super) fn address(&self) -> Result<Option<SocketAddr>, String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Sockets {
    /// Listens again at the socket in the home, if somebody has removed it and the home is this daemon's still.
    fn put_back(&mut self, daemon: &Daemon) {
        let path = daemon.home.metrics_socket();
        if socket::is_at(&self.local, &path) || !daemon.keeps_home() {
            return;
        }
        match socket::listen(&path) {
            Ok(local) => {
                self.local = local;
                tracing::warn!("the socket of metrics was removed by somebody; it is there again");
            }
            // The control socket beside it has told so.
            Err(error) => tracing::debug!("the socket of metrics cannot be made again: {error}"),
        }
    }
}

/// Serves until dropped.
pub(super) async fn run(mut sockets: Sockets, daemon: Arc<Daemon>) {
    // Whoever fills the loopback address, which every user can reach, does not shut out the operator.
    let local_places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let loopback_places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut look = ticks(LOOK);
    loop {
        let accepted = tokio::select! {
            _ = look.tick(), if socket::CAN_BE_REMOVED => {
                sockets.put_back(&daemon);
                continue;
            }
            Some(listener) = sockets.listeners.recv() => {
                sockets.loopback = listener;
                continue;
            }
            stream = socket::accept(&sockets.local) => stream.map(Stream::Local),
            stream = accept(sockets.loopback.as_ref()) => stream.map(Stream::Loopback),
        };
        while connections.try_join_next().is_some() {}
        let Ok(stream) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let places = match &stream {
            Stream::Local(_) => &local_places,
            Stream::Loopback(_) => &loopback_places,
        };
        let Ok(place) = Arc::clone(places).try_acquire_owned() else { continue };
        let daemon = Arc::clone(&daemon);
        connections.spawn(async move {
            let _place = place;
            match stream {
                Stream::Local(stream) => {
                    if let Err(refused) = caller::check(&stream, |pid| daemon.supervisor.is_confined(pid)) {
                        return tracing::warn!(%refused, "refused to show metrics");
                    }
                    serve(stream, daemon, false).await;
                }
                Stream::Loopback(stream) => serve(stream, daemon, true).await,
            }
        });
    }
}

enum Stream {
    Local(socket::Stream),
    Loopback(tokio::net::TcpStream),
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<tokio::net::TcpStream> {
    match listener {
        Some(listener) => Ok(listener.accept().await?.0),
        None => std::future::pending().await,
    }
}

/// Answers one request. `is_loopback`: it came to the loopback address.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, daemon: Arc<Daemon>, is_loopback: bool) {
    let service = service_fn(|request| {
        let daemon = Arc::clone(&daemon);
        async move { Ok::<_, Infallible>(respond(&request, &daemon, is_loopback).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION_TIME, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection for metrics failed"),
        Err(_elapsed) => tracing::debug!("a connection for metrics took too long"),
    }
}

async fn respond(request: &Request<Incoming>, daemon: &Daemon, is_loopback: bool) -> Response<Full<Bytes>> {
    let answer = |status, text: String| {
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        response
    };
    if is_loopback && !names_this_machine(request.version(), request.headers()) {
        let text = "metrics are for this machine: ask by a loopback address or by localhost\n";
        return answer(StatusCode::MISDIRECTED_REQUEST, text.into());
    }
    if request.uri().path() != "/metrics" {
        return answer(StatusCode::NOT_FOUND, "metrics are at /metrics\n".into());
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = answer(StatusCode::METHOD_NOT_ALLOWED, "metrics are only read\n".into());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match page::write(daemon.sample().await) {
        Ok(text) => {
            let mut response = answer(StatusCode::OK, text);
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(OPEN_METRICS));
            response
        }
        Err(error) => answer(StatusCode::INTERNAL_SERVER_ERROR, format!("failed to write the metrics: {error}\n")),
    }
}

/// Whether a request asks for this machine by a name that only this machine has. A web page of somebody else can make a
/// browser connect to a loopback address under the page's own name, and then read the answer. Only HTTP/1.0 knows
/// requests without a name.
fn names_this_machine(version: Version, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter().peekable();
    if hosts.peek().is_none() {
        return version == Version::HTTP_10;
    }
    hosts.all(|host| host.to_str().is_ok_and(is_loopback_name))
}

/// Whether a `Host`, with or without a port, is a loopback address or `localhost`.
fn is_loopback_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(address, _port)| address),
        None => host.split_once(':').map_or(host, |(name, _port)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_answered() {
        for good in ["127.0.0.1", "127.0.0.1:9470", "127.1.2.3:1", "[::1]", "[::1]:9470", "localhost", "LocalHost:1"] {
            assert!(is_loopback_name(good), "{good}");
        }
        for bad in ["", ":1", "example.org:1", "localhost.example.org", "192.0.2.1:1", "0.0.0.0", "[::]:1", "[::1"] {
            assert!(!is_loopback_name(bad), "{bad}");
        }
    }

    #[test]
    fn request_without_a_host_is_one_of_http_1_0() {
        let mut headers = HeaderMap::new();
        assert!(names_this_machine(Version::HTTP_10, &headers));
        assert!(!names_this_machine(Version::HTTP_11, &headers));
        headers.append(HOST, HeaderValue::from_static("localhost"));
        assert!(names_this_machine(Version::HTTP_11, &headers));
        headers.append(HOST, HeaderValue::from_static("example.org"));
        assert!(!names_this_machine(Version::HTTP_11, &headers), "all of several count");
    }
}
