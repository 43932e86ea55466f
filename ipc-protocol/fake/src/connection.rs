//! Connections to the gateway sockets: a task per launch accepts them, a task each serves them.

use std::io;
use std::path::Path;
use std::time::Duration;

use interprocess::local_socket::tokio::prelude::*;
use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use polypeer_ipc_protocol::gateway::{Event, Opening, Target};
use polypeer_ipc_protocol::ids::{Protocol, Secret};
use polypeer_ipc_protocol::session::server::{ServerEvent, ServerSession};
use polypeer_ipc_protocol::transport::{
    self, FrameReader, LocalListener, LocalStream, ReadHalf, TransportError, WriteHalf,
};
use tokio::io::AsyncWriteExt;
use tokio::sync::{oneshot, watch};
use tokio::task::spawn_local;

use crate::splice::{self, End, Life};
use crate::state::{Announced, Found, Shared, Unclaimed, World, failure, timeout};

/// Data that a plugin may send before its stream is open (`SPEC.md`, section 5), bytes.
const EARLY: usize = 64 << 10;

/// Listens at `path` for a launch.
pub(crate) fn listen(shared: &Shared, launch: usize, world: &mut World, path: &Path) -> io::Result<()> {
    let listener = transport::listen(path)?;
    let life = world.launches[&launch].life();
    spawn_local(accept(shared.clone(), launch, listener, life));
    Ok(())
}

/// Accepts connections while the launch's node runs, until the launch is removed.
async fn accept(shared: Shared, launch: usize, listener: LocalListener, mut life: watch::Receiver<u64>) {
    loop {
        let Ok(began) = life.wait_for(|life| life % 2 == 0).await.map(|life| *life) else { return };
        tokio::select! {
            biased;
            changed = life.changed() => if changed.is_err() { return },
            accepted = listener.accept() => {
                let Ok(stream) = accepted else { continue };
                let (shared, mut life) = (shared.clone(), Life::new(life.clone(), began));
                spawn_local(async move {
                    let ended = life.clone();
                    tokio::select! {
                        () = serve(shared, launch, stream, ended) => {}
                        () = life.ended() => {}
                    }
                });
            }
        }
    }
}

async fn serve(shared: Shared, launch: usize, stream: LocalStream, life: Life) {
    let (read, mut write) = transport::split(stream);
    let mut reader = FrameReader::new(read);
    let (mut machine, mut out) = (ServerSession::default(), Vec::new());
    let Ok(Some(body)) = reader.next().await else { return };
    match machine.handle_frame(body, &mut out) {
        Some(ServerEvent::Opening(Opening::Hello { token, .. })) => {
            let session = shared.borrow_mut().hello(launch, &token, machine);
            match session {
                Ok((id, frames)) => return control(shared, launch, id, frames, reader, write).await,
                Err(refusal) => out = refusal,
            }
        }
        Some(ServerEvent::Opening(Opening::Open { secret, target, protocol, timeout_ms })) => {
            let end = End::new(reader, write, machine, life);
            let timeout = timeout(timeout_ms);
            return open(shared, launch, end, &secret, &target, protocol, timeout).await;
        }
        Some(ServerEvent::Opening(Opening::Accept { secret, stream })) => {
            return claim(&shared, launch, End::new(reader, write, machine, life), &secret, stream).await;
        }
        _ => {}
    }
    let _closed = write.write_all(&out).await;
}

/// Serves a control session until the plugin closes it or the world removes it.
async fn control(
    shared: Shared,
    launch: usize,
    id: u64,
    mut frames: tokio::sync::mpsc::Receiver<Vec<u8>>,
    mut reader: FrameReader<ReadHalf>,
    mut write: WriteHalf,
) {
    let read = async {
        loop {
            match reader.next().await {
                Ok(Some(body)) => shared.borrow_mut().frame(launch, id, body),
                Err(TransportError::TooLarge(error)) => {
                    let mut world = shared.borrow_mut();
                    if world.session(launch, id).is_some() {
                        world.close(launch, failure(ErrorCode::Malformed, error.to_string()));
                    }
                    break;
                }
                Ok(None) | Err(_) => return,
            }
        }
        std::future::pending::<()>().await; // the last frames are written first
    };
    let written = async {
        while let Some(bytes) = frames.recv().await {
            if write.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = read => {}
        () = written => {}
    }
    let mut world = shared.borrow_mut();
    if world.session(launch, id).is_some() {
        world.end_session(launch);
    }
}

/// Opens a stream and carries it.
async fn open(
    shared: Shared,
    launch: usize,
    mut near: End,
    secret: &Secret,
    target: &Target,
    protocol: Protocol,
    timeout: Duration,
) {
    let announced = shared.borrow_mut().announce(launch, Some(secret), target, &protocol);
    let mut announced = match announced {
        Ok(announced) => announced,
        Err(failure) => return near.refuse(failure).await,
    };
    let gave_up = tokio::select! {
        biased;
        claimed = &mut announced.claimed => {
            let mut far = match claimed.unwrap_or_else(|_| Err(ErrorCode::ConnectionLost.into())) {
                Ok(end) => end,
                Err(failure) => return near.refuse(failure).await,
            };
            far.open(announced.near, protocol.clone()).await; // first: the opener's stream is open once the acceptor's is
            near.open(announced.far, protocol).await;
            shared.borrow_mut().add_stream(launch, &near.output);
            shared.borrow_mut().add_stream(announced.acceptor, &far.output);
            return splice::run(near, far).await;
        }
        () = tokio::time::sleep(timeout) => failure(ErrorCode::TimedOut, "the stream was not claimed"),
        () = near.closed(EARLY) => failure(ErrorCode::Cancelled, "the opener cancelled"),
    };
    shared.borrow_mut().withdraw(announced.number, gave_up.clone());
    near.refuse(gave_up).await;
}

/// Passes a connection that claims a stream to the opener's task.
async fn claim(shared: &Shared, launch: usize, mut end: End, secret: &Secret, stream: u64) {
    let claimed = shared.borrow_mut().claim(launch, secret, stream);
    match claimed {
        Ok(opener) => {
            if let Err(Ok(mut end)) = opener.send(Ok(end)) {
                end.refuse(ErrorCode::NoSuchStream.into()).await;
            }
        }
        Err(failure) => end.refuse(failure).await,
    }
}

impl World {
    /// Announces a stream to the plugin that serves it. `secret` is checked if there is one.
    pub(crate) fn announce(
        &mut self,
        launch: usize,
        secret: Option<&Secret>,
        target: &Target,
        protocol: &Protocol,
    ) -> Result<Announced, Failure> {
        if let Some(secret) = secret {
            self.check_secret(launch, secret)?;
        }
        let Found { acceptor, session, near, far, .. } = self.find(launch, target, protocol)?;
        let (claim, claimed) = oneshot::channel();
        let number = self.number();
        self.unclaimed.insert(number, Unclaimed { acceptor, session, claim });
        let event = Event::Stream { stream: number, origin: near.clone(), protocol: protocol.clone() };
        self.tell(acceptor, event);
        Ok(Announced { number, acceptor, near, far, claimed })
    }

    /// Refuses the streams announced to a session.
    pub(crate) fn refuse_unclaimed(&mut self, launch: usize, session: u64) {
        let theirs = |unclaimed: &Unclaimed| unclaimed.acceptor == launch && unclaimed.session == session;
        let numbers: Vec<u64> = self.unclaimed.iter().filter(|(_, each)| theirs(each)).map(|(n, _)| *n).collect();
        for number in numbers {
            self.refuse_stream(launch, number, ErrorCode::ConnectionLost.into());
        }
    }

    /// Refuses a stream announced to a launch; false when there is none with this number.
    pub(crate) fn refuse_stream(&mut self, launch: usize, number: u64, failure: Failure) -> bool {
        match self.unclaimed.remove(&number) {
            Some(unclaimed) if unclaimed.acceptor == launch => unclaimed.claim.send(Err(failure)).is_ok(),
            Some(other) => self.unclaimed.insert(number, other).is_some(),
            None => false,
        }
    }

    /// Withdraws an announced stream that is still unclaimed.
    pub(crate) fn withdraw(&mut self, number: u64, failure: Failure) {
        if let Some(unclaimed) = self.unclaimed.remove(&number) {
            self.tell(unclaimed.acceptor, Event::StreamGone { stream: number, failure });
        }
    }

    fn claim(
        &mut self,
        launch: usize,
        secret: &Secret,
        stream: u64,
    ) -> Result<oneshot::Sender<Result<End, Failure>>, Failure> {
        self.check_secret(launch, secret)?;
        match self.unclaimed.remove(&stream) {
            Some(unclaimed) if unclaimed.acceptor == launch => Ok(unclaimed.claim),
            Some(other) => {
                self.unclaimed.insert(stream, other);
                Err(ErrorCode::NoSuchStream.into())
            }
            None => Err(ErrorCode::NoSuchStream.into()),
        }
    }

    fn check_secret(&self, launch: usize, secret: &Secret) -> Result<(), Failure> {
        let session = self.launches.get(&launch).and_then(|launch| launch.session.as_ref());
        match session {
            Some(session) if session.secret.matches(secret) => Ok(()),
            _ => Err(failure(ErrorCode::Unauthorised, "not the secret of this launch's session")),
        }
    }
}
