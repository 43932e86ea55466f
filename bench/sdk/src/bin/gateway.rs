//! A gateway without a network core behind it, so that a client is measured alone. It believes any token and secret,
//! and does at once what the protocol's name says:
//!
//! ```text
//! call of echo/1                    the reply is the payload
//! call of ask/1, "AMOUNT FLIGHT"    calls the plugin's listener AMOUNT times, FLIGHT at once; then replies
//! stream of sink/1                  read to its end, then answered by one byte
//! stream of source/1                its first 8 bytes are an amount, which is sent
//! ```

use anyhow::{Result, bail};
use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::frame::DataHeader;
use polypeer_ipc_protocol::gateway::{
    ClientFrame, Event, Grants, Opening, Origin, PeerScope, Request, Response, Welcome,
};
use polypeer_ipc_protocol::ids::{NodeId, Protocol, Secret};
use polypeer_ipc_protocol::limits::{MAX_DATA, VERSION};
use polypeer_ipc_protocol::payload::Payload;
use polypeer_ipc_protocol::session::data::{Received, Receiver};
use polypeer_ipc_protocol::session::server::{ServerEvent, ServerSession};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// Bytes asked of the kernel at a time.
const READ: usize = 256 << 10;
/// The plugin's node; also its peer.
const NODE: NodeId = NodeId([7; 32]);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let Some(path) = std::env::args().nth(1) else { bail!("usage: gateway SOCKET") };
    let listener = UnixListener::bind(path)?;
    println!("ready");
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            if let Err(error) = serve(stream).await {
                eprintln!("connection failed: {error:#}");
            }
        });
    }
}

async fn serve(mut stream: UnixStream) -> Result<()> {
    let (mut machine, mut input, mut out) = (ServerSession::default(), Vec::with_capacity(4096), Vec::new());
    let mut asked = None;
    loop {
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
        let mut rest = &input[..];
        while let Some(event) = machine.read(&mut rest, &mut out) {
            match event {
                ServerEvent::Opening(Opening::Hello { .. }) => machine.welcome(welcome(), &mut out)?,
                ServerEvent::Opening(Opening::Open { protocol, .. }) => {
                    machine.opened(origin(), protocol.clone(), &mut out);
                    stream.write_all(&out).await?;
                    let rest = rest.to_vec();
                    return match protocol.as_str() {
                        "sink/1" => sink(stream, rest).await,
                        "source/1" => source(stream, rest).await,
                        other => bail!("no stream is called {other}"),
                    };
                }
                ServerEvent::Frame(frame) => handle(frame, &mut machine, &mut asked, &mut out)?,
                other => bail!("unexpected: {other:?}"),
            }
        }
        let used = input.len() - rest.len();
        input.drain(..used);
        input.reserve(READ);
        stream.write_all(&out).await?;
        out.clear();
    }
}

fn origin() -> Origin {
    Origin::Peer(NODE)
}

fn welcome() -> Welcome {
    let all = || vec!["*".parse().expect("a valid pattern")];
    let grants = Grants { serve: all(), dial: all(), serve_local: all(), peers: PeerScope::Any, ..Grants::default() };
    let plugin = "bench".parse().expect("a valid name");
    Welcome { version: VERSION, node: NODE, plugin, grants, secret: Secret([9; 32]) }
}

/// Calls that the plugin was asked to answer.
struct Asked {
    /// The request that waits for them.
    id: u64,
    protocol: Protocol,
    payload: Payload,
    unsent: u64,
    unanswered: u64,
}

fn handle(frame: ClientFrame, machine: &mut ServerSession, asked: &mut Option<Asked>, out: &mut Vec<u8>) -> Result<()> {
    match frame {
        ClientFrame::Request { id, request: Request::Call { protocol, payload, .. } }
            if protocol.as_str() == "ask/1" =>
        {
            let text = std::str::from_utf8(&payload.0)?;
            let Some((amount, flight)) = text.split_once(' ') else { bail!("ask/1 of {text:?}") };
            let (amount, flight) = (amount.parse::<u64>()?, flight.parse::<u64>()?);
            let (protocol, payload) = ("serve/1".parse()?, Payload(vec![7; 1024].into()));
            let mut new = Asked { id, protocol, payload, unsent: amount, unanswered: amount };
            for _ in 0..flight.min(amount) {
                call(&mut new, machine, out)?;
            }
            *asked = Some(new);
        }
        ClientFrame::Request { id, request: Request::Call { payload, .. } } => {
            machine.respond(id, Response::Reply { payload }, out)?;
        }
        ClientFrame::Request { id, .. } => {
            machine.respond(id, Response::Done, out)?;
        }
        ClientFrame::Answer { .. } => {
            let Some(waiting) = asked else { bail!("an answer that nobody asked for") };
            waiting.unanswered -= 1;
            if waiting.unsent > 0 {
                call(waiting, machine, out)?;
            }
            if waiting.unanswered == 0 {
                machine.respond(waiting.id, Response::Reply { payload: Payload::default() }, out)?;
            }
        }
        other => bail!("unexpected: {other:?}"),
    }
    Ok(())
}

fn call(asked: &mut Asked, machine: &mut ServerSession, out: &mut Vec<u8>) -> Result<()> {
    asked.unsent -= 1;
    let (protocol, payload) = (asked.protocol.clone(), asked.payload.clone());
    Ok(machine.event(Event::Call { call: asked.unsent, origin: origin(), protocol, payload }, out)?)
}

/// Reads a stream to its end, as netcore does: the end is confirmed; here, one byte answers.
async fn sink(mut stream: UnixStream, mut input: Vec<u8>) -> Result<()> {
    let mut receiver = Receiver::default();
    input.reserve(READ);
    loop {
        let mut rest = &input[..];
        while let Some(event) = receiver.next(&mut rest, MAX_DATA)? {
            if event == Received::Fin {
                let mut out = DataHeader::Stop(ErrorCode::Complete.number()).to_bytes().to_vec();
                out.extend_from_slice(&DataHeader::Data(1).to_bytes());
                out.push(b'!');
                out.extend_from_slice(&DataHeader::Fin.to_bytes());
                return Ok(stream.write_all(&out).await?);
            }
        }
        let used = input.len() - rest.len();
        input.drain(..used);
        if stream.read_buf(&mut input).await? == 0 {
            bail!("a stream was cut");
        }
    }
}

/// Sends as much as the stream's first 8 bytes say.
async fn source(mut stream: UnixStream, mut input: Vec<u8>) -> Result<()> {
    const FRAME: usize = 64 << 10;
    while input.len() < 16 {
        // a header, the amount, and the end
        if stream.read_buf(&mut input).await? == 0 {
            bail!("a stream was cut");
        }
    }
    let mut left = u64::from_le_bytes(input[4..12].try_into()?);
    let mut frame = DataHeader::Data(FRAME).to_bytes().to_vec();
    frame.resize(frame.len() + FRAME, 7);
    let frames = frame.repeat(4);
    while left > 0 {
        let now = left.min((4 * FRAME) as u64);
        stream.write_all(&frames[..(now / FRAME as u64) as usize * frame.len()]).await?;
        left -= now;
    }
    stream.write_all(&DataHeader::Fin.to_bytes()).await?;
    Ok(stream.write_all(&DataHeader::Stop(ErrorCode::Complete.number()).to_bytes()).await?)
}
