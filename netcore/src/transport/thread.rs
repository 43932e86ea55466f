//! The thread of the QUIC endpoint. All packets are encrypted, decrypted and timed there, so a busy plugin cannot delay
//! an acknowledgement.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use quinn::{AsyncTimer, AsyncUdpSocket};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// A running thread with a runtime of its own. It ends when this is dropped.
pub(super) struct EndpointThread {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl EndpointThread {
    pub(super) fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("quic".into()).spawn(move || {
            // Returns on a message or once the sender is dropped.
            runtime.block_on(stopped).ok();
        })?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The runtime on which quinn spawns its tasks.
    pub(super) fn runtime(&self) -> Arc<dyn quinn::Runtime> {
        Arc::new(OnThread(self.handle.clone()))
    }
}

impl Drop for EndpointThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A task of this very thread may be the last owner; joining would then wait for itself.
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            thread.join().ok();
        }
    }
}

struct OnThread(Handle);

impl fmt::Debug for OnThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnThread")
    }
}

impl quinn::Runtime for OnThread {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        let _context = self.0.enter();
        Box::pin(tokio::time::sleep_until(at.into()))
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.0.spawn(future);
    }

    fn wrap_udp_socket(&self, _socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "the endpoint is given its socket"))
    }
}
