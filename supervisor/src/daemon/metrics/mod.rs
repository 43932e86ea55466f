//! Metrics in OpenMetrics' text form, over HTTP: at `run/metrics.sock`, for the node's operator alone, and at a loopback
//! address if the configuration names one. `table` has every metric, `page` writes them.

mod page;
mod table;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::Daemon;
use crate::control::server::LOOK;
use crate::control::{caller, socket};

/// Most connections at a time, on both sockets together; further ones are closed at once. A collector uses one.
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
}

impl Sockets {
    /// Listens. The home must be locked, so that an existing socket is a leftover.
    ///
    /// # Errors
    /// When an address cannot be listened on; the text names it.
    pub(super) async fn bind(home: &crate::home::Home, address: Option<SocketAddr>) -> Result<Self, String> {
        let path = home.metrics_socket();
        let failed = |place: String| move |error: io::Error| format!("metrics cannot be read at {place}: {error}");
        let local = socket::listen(&path).map_err(failed(path.display().to_string()))?;
        let loopback = match address {
            Some(address) => Some(TcpListener::bind(address).await.map_err(failed(address.to_string()))?),
            None => None,
        };
        Ok(Self { local, loopback })
    }

    /// Listens again at the socket in the home, if somebody has removed it.
    fn put_back(&mut self, home: &crate::home::Home) {
        let path = home.metrics_socket();
        if socket::is_at(&self.local, &path) {
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

    /// The loopback address that is listened on.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.loopback.as_ref()?.local_addr().ok()
    }
}

/// Serves until dropped.
pub(super) async fn run(mut sockets: Sockets, daemon: Arc<Daemon>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let accepted = tokio::select! {
            _ = look.tick(), if socket::CAN_BE_REMOVED => {
                sockets.put_back(&daemon.home);
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
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let daemon = Arc::clone(&daemon);
        connections.spawn(async move {
            let _place = place;
            match stream {
                Stream::Local(stream) => {
                    if let Err(refused) = caller::check(&stream, |pid| daemon.supervisor.is_confined(pid)) {
                        return tracing::warn!(%refused, "refused to show metrics");
                    }
                    serve(stream, daemon).await;
                }
                Stream::Loopback(stream) => serve(stream, daemon).await,
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

/// Answers one request.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, daemon: Arc<Daemon>) {
    let service = service_fn(|request| {
        let daemon = Arc::clone(&daemon);
        async move { Ok::<_, Infallible>(respond(&request, &daemon).await) }
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

async fn respond(request: &Request<Incoming>, daemon: &Daemon) -> Response<Full<Bytes>> {
    let answer = |status, text: String| {
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        response
    };
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
