//! Splicing of a stream between the data connections of two plugins (section 7 of `SPEC.md`).

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use polypeer_ipc_protocol::error::{ErrorCode, Failure, from_plugin};
use polypeer_ipc_protocol::frame::DataHeader;
use polypeer_ipc_protocol::gateway::Origin;
use polypeer_ipc_protocol::ids::Protocol;
use polypeer_ipc_protocol::limits::MAX_DATA;
use polypeer_ipc_protocol::session::data::{Received, Receiver};
use polypeer_ipc_protocol::session::server::ServerSession;
use polypeer_ipc_protocol::transport::{FrameReader, ReadHalf, WriteHalf};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Mutex, watch};

/// Bytes asked of the kernel at a time.
const READ: usize = 64 << 10;

/// The run of a node, between two kills, in which something started.
#[derive(Clone)]
pub(crate) struct Life {
    node: watch::Receiver<u64>,
    began: u64,
}

impl Life {
    /// The present run of a node: `node` counts its kills and starts.
    pub(crate) fn new(node: watch::Receiver<u64>, began: u64) -> Self {
        Self { node, began }
    }

    /// Waits until the node is killed or the launch is removed.
    pub(crate) async fn ended(&mut self) {
        let began = self.began;
        let _removed = self.node.wait_for(|life| *life != began).await;
    }
}

/// One plugin's connection of a stream.
pub(crate) struct End {
    read: ReadHalf,
    /// Received and not parsed.
    rest: Vec<u8>,
    pub(crate) output: Rc<Output>,
    machine: ServerSession,
    life: Life,
}

/// Writes to a data connection, whole frames at a time.
pub(crate) struct Output {
    half: Mutex<WriteHalf>,
    /// Whether a frame is partly written.
    partial: Cell<bool>,
}

impl Output {
    /// Writes frames. A closed connection is no error: its reader sees it.
    pub(crate) async fn write(&self, frames: &[u8]) {
        if !frames.is_empty() {
            let mut half = self.half.lock().await;
            self.partial.set(true);
            let _closed = half.write_all(frames).await;
            self.partial.set(false);
        }
    }
}

impl End {
    pub(crate) fn new(reader: FrameReader<ReadHalf>, write: WriteHalf, machine: ServerSession, life: Life) -> Self {
        let (read, rest) = reader.into_parts();
        let output = Rc::new(Output { half: Mutex::new(write), partial: Cell::new(false) });
        Self { read, rest, output, machine, life }
    }

    /// Refuses the opening.
    pub(crate) async fn refuse(&mut self, failure: Failure) {
        let mut out = Vec::new();
        self.machine.refuse(failure, &mut out);
        self.output.write(&out).await;
    }

    /// Accepts the opening.
    pub(crate) async fn open(&mut self, far: Origin, protocol: Protocol) {
        let mut out = Vec::new();
        self.machine.opened(far, protocol, &mut out);
        self.output.write(&out).await;
    }

    /// Waits until the plugin closes the connection, and buffers what it sends meanwhile, up to `most` bytes.
    pub(crate) async fn closed(&mut self, most: usize) {
        while self.rest.len() < most {
            if !matches!(self.read.read_buf(&mut self.rest).await, Ok(1..)) {
                return;
            }
        }
        std::future::pending().await
    }

    /// Sends `payload` and the end, and reads the reply to its end, at most `most` bytes: a call to a listener of
    /// streams.
    pub(crate) async fn ask(mut self, payload: &[u8], most: usize) -> Result<Vec<u8>, Failure> {
        let mut out = Vec::new();
        for chunk in payload.chunks(MAX_DATA) {
            out.extend_from_slice(&DataHeader::Data(chunk.len()).to_bytes());
            out.extend_from_slice(chunk);
        }
        out.extend_from_slice(&DataHeader::Fin.to_bytes());
        let output = self.output.clone();
        let written = async {
            output.write(&out).await;
            std::future::pending().await
        };
        tokio::select! {
            () = written => unreachable!("it waits for ever"),
            () = self.life.ended() => Err(ErrorCode::ConnectionLost.into()),
            reply = reply(&mut self.read, self.rest, most) => reply,
        }
    }
}

async fn reply(read: &mut ReadHalf, mut rest: Vec<u8>, most: usize) -> Result<Vec<u8>, Failure> {
    let (mut receiver, mut reply) = (Receiver::default(), Vec::new());
    loop {
        let mut input = &rest[..];
        while let Some(event) = receiver.next(&mut input, MAX_DATA).map_err(|_| ErrorCode::ConnectionLost)? {
            match event {
                Received::Data(bytes) if reply.len() + bytes.len() > most => return Err(ErrorCode::TooLarge.into()),
                Received::Data(bytes) => reply.extend_from_slice(bytes),
                Received::Fin => return Ok(reply),
                Received::Reset(code) => return Err(Failure { code: from_plugin(code), message: String::new() }),
                Received::Stop(_) | Received::Kept => {}
            }
        }
        rest = input.to_vec();
        if !matches!(read.read_buf(&mut rest).await, Ok(1..)) {
            return Err(ErrorCode::ConnectionLost.into());
        }
    }
}

/// State of both directions; direction 0 is written by end 0.
#[derive(Default)]
struct Progress {
    /// It has ended, or its reader has stopped.
    over: [bool; 2],
    /// The other plugin was sent that.
    told: [bool; 2],
}

/// Carries the stream between its ends until both directions are over, or one of the plugins is gone.
pub(crate) async fn run(mut near: End, mut far: End) {
    let progress = RefCell::new(Progress::default());
    let outputs = [near.output.clone(), far.output.clone()];
    let lost = tokio::select! {
        () = carry(0, &mut near.read, near.rest, &outputs, &progress) => 0,
        () = carry(1, &mut far.read, far.rest, &outputs, &progress) => 1,
        () = near.life.ended() => 0,
        () = far.life.ended() => 1,
    };
    let Progress { over, .. } = progress.into_inner();
    let left = 1 - lost;
    let (mut last, code) = (Vec::new(), ErrorCode::ConnectionLost.number());
    if !over[lost] {
        last.extend_from_slice(&DataHeader::Reset(code).to_bytes());
    }
    if !over[left] {
        last.extend_from_slice(&DataHeader::Stop(code).to_bytes());
    }
    // After a partial frame no other frame may follow; the end of the connection means the same.
    let [near_output, far_output] = outputs;
    let output = if lost == 0 {
        drop((near.read, near.output, near_output));
        far_output
    } else {
        drop((far.read, far.output, far_output));
        near_output
    };
    if !output.partial.get() {
        output.write(&last).await;
    }
}

/// Forwards what end `from` sends, until its connection ends, or both directions are over and both plugins were told.
async fn carry(
    from: usize,
    read: &mut ReadHalf,
    mut rest: Vec<u8>,
    outputs: &[Rc<Output>; 2],
    progress: &RefCell<Progress>,
) {
    let (to, mut receiver) = (1 - from, Receiver::default());
    loop {
        let mut input = &rest[..];
        let (mut onward, mut back, mut ended) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            let event = match receiver.next(&mut input, MAX_DATA) {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(_) => return outputs[to].write(&onward).await,
            };
            let over = &mut progress.borrow_mut().over;
            let direction = if matches!(event, Received::Stop(_)) { to } else { from };
            if over[direction] {
                continue;
            }
            let header = match event {
                Received::Data(bytes) => {
                    onward.extend_from_slice(&DataHeader::Data(bytes.len()).to_bytes());
                    onward.extend_from_slice(bytes);
                    continue;
                }
                Received::Fin => {
                    back.extend_from_slice(&DataHeader::Stop(ErrorCode::Complete.number()).to_bytes());
                    DataHeader::Fin
                }
                Received::Reset(code) => DataHeader::Reset(from_plugin(code)),
                Received::Stop(code) => DataHeader::Stop(from_plugin(code)),
                Received::Kept => continue,
            };
            onward.extend_from_slice(&header.to_bytes());
            over[direction] = true;
            ended.push(direction);
        }
        rest = input.to_vec();
        outputs[to].write(&onward).await;
        outputs[from].write(&back).await;
        for direction in ended {
            progress.borrow_mut().told[direction] = true;
        }
        if progress.borrow().told == [true; 2] {
            return;
        }
        rest.reserve(READ);
        if !matches!(read.read_buf(&mut rest).await, Ok(1..)) {
            return;
        }
    }
}
