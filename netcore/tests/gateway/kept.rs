//! Data connections that a plugin has netcore keep: one stream after another on each, and streams that are claimed
//! without an event.

use polypeer_ipc_protocol::admin::{AdminRequest, AdminResponse};
use polypeer_ipc_protocol::client::Client;
use polypeer_ipc_protocol::codec;
use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::frame::{self, DataHeader};
use polypeer_ipc_protocol::gateway::{CallMode, Event, Grants, Opening, OpeningReply, Scope, Target};
use polypeer_ipc_protocol::ids::{Protocol, Secret};
use polypeer_ipc_protocol::limits::MAX_IDLE_CONNECTIONS;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::{JoinHandle, JoinSet};

use crate::common::{Netcore, Plugin, all, protocol, refusal, stream_between, target, until, within};

fn echo() -> Protocol {
    protocol("echo/1")
}

/// A plugin that echoes each stream it serves to `scope`, and claims them by events.
async fn echoing(node: &Netcore, scope: Scope) -> (Client, JoinHandle<()>) {
    let plugin = node.plugin("echoing", all()).await;
    plugin.client.listen(echo(), scope, CallMode::Events).await.unwrap();
    let client = plugin.client.clone();
    let task = tokio::spawn(async move {
        let mut plugin = plugin; // all of it: its socket is in a folder that it owns
        while let Some(event) = plugin.events.next().await {
            if let Event::Stream { stream, .. } = event {
                let mut stream = plugin.client.accept(stream).await.unwrap();
                tokio::spawn(async move {
                    let mut all = Vec::new();
                    stream.read_to_end(&mut all).await.unwrap();
                    stream.write_all(&all).await.unwrap();
                    stream.closed().await.unwrap();
                });
            }
        }
    });
    (client, task)
}

/// A data connection written and read by hand.
struct Raw(UnixStream);

impl Raw {
    async fn connect(plugin: &Plugin) -> Self {
        Self(UnixStream::connect(&plugin.launch.socket).await.unwrap())
    }

    async fn send(&mut self, opening: &Opening) {
        let mut bytes = Vec::new();
        frame::write(opening, &mut bytes).unwrap();
        self.0.write_all(&bytes).await.unwrap();
    }

    async fn reply(&mut self) -> OpeningReply {
        let length = within("an answer", self.0.read_u32_le()).await.unwrap();
        let mut body = vec![0; length as usize];
        within("an answer", self.0.read_exact(&mut body)).await.unwrap();
        codec::decode(&body).unwrap()
    }

    async fn refused(&mut self) -> ErrorCode {
        let OpeningReply::Refused(failure) = self.reply().await else { panic!("not refused") };
        ErrorCode::from_number(failure.code).expect("one of Polypeer's")
    }

    async fn header(&mut self) -> DataHeader {
        let mut bytes = [0; 4];
        within("a header", self.0.read_exact(&mut bytes)).await.unwrap();
        DataHeader::from_bytes(bytes).unwrap()
    }

    /// Sends `text` and the end, reads it back, and what netcore says last.
    async fn echo(&mut self, text: &[u8]) -> Vec<DataHeader> {
        assert!(matches!(self.reply().await, OpeningReply::Opened { .. }));
        self.0.write_all(&[&DataHeader::Data(text.len()).to_bytes(), text].concat()).await.unwrap();
        self.0.write_all(&DataHeader::Fin.to_bytes()).await.unwrap();
        let (mut echoed, mut ends) = (Vec::new(), Vec::new());
        while !matches!(ends.last(), Some(DataHeader::Kept)) && ends.len() < 3 {
            match self.header().await {
                DataHeader::Data(length) => {
                    let start = echoed.len();
                    echoed.resize(start + length, 0);
                    within("data", self.0.read_exact(&mut echoed[start..])).await.unwrap();
                }
                end => ends.push(end),
            }
        }
        assert_eq!(echoed, text);
        ends
    }

    async fn is_closed(&mut self) {
        assert_eq!(within("the end", self.0.read(&mut [0])).await.unwrap_or(0), 0);
    }
}

fn secret(plugin: &Plugin) -> Secret {
    plugin.client.welcome().secret.clone()
}

fn open(plugin: &Plugin, target: &Target) -> Opening {
    Opening::Open { secret: secret(plugin), target: target.clone(), protocol: echo(), timeout_ms: 0 }
}

fn accept_next(plugin: &Plugin) -> Opening {
    Opening::AcceptNext { secret: secret(plugin), protocol: echo(), scope: Scope::Local }
}

fn sorted(mut ends: Vec<DataHeader>) -> String {
    ends.sort_by_key(|end| end.to_bytes()[3]);
    format!("{ends:?}")
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_carries_one_stream_after_another_to_a_peer_and_on_this_node() {
    let (one, two) = (Netcore::start().await, Netcore::start().await);
    let (_there, _) = echoing(&two, Scope::Peers).await;
    let (_here, _) = echoing(&one, Scope::Local).await;
    let near = one.plugin("near", all()).await;
    near.client.keep_connections().await.unwrap();
    let mut raw = Raw::connect(&near).await;
    let complete = DataHeader::Stop(ErrorCode::Complete.number());
    for (round, to) in [target(&two).await, Target::Local, target(&two).await].iter().enumerate() {
        raw.send(&open(&near, to)).await;
        let ends = raw.echo(format!("round {round}").as_bytes()).await;
        assert_eq!(ends.last(), Some(&DataHeader::Kept), "{ends:?}");
        assert_eq!(sorted(ends), sorted(vec![DataHeader::Fin, complete, DataHeader::Kept]));
    }
    // A STOP that was sent before the end was known comes before the next opening.
    raw.0.write_all(&DataHeader::Stop(7).to_bytes()).await.unwrap();
    raw.send(&open(&near, &Target::Local)).await;
    assert_eq!(raw.echo(b"after a STOP").await.last(), Some(&DataHeader::Kept));
    // A refused opening ends it, as it ends a new one.
    let opening =
        Opening::Open { secret: secret(&near), target: Target::Local, protocol: protocol("none/1"), timeout_ms: 0 };
    raw.send(&opening).await;
    assert_eq!(raw.refused().await, ErrorCode::NotServed);
    raw.is_closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_of_a_plugin_that_did_not_ask_ends_with_its_stream() {
    let node = Netcore::start().await;
    let (_here, _) = echoing(&node, Scope::Local).await;
    let near = node.plugin("near", all()).await;
    let mut raw = Raw::connect(&near).await;
    raw.send(&open(&near, &Target::Local)).await;
    assert!(matches!(raw.reply().await, OpeningReply::Opened { .. }));
    raw.0.write_all(&DataHeader::Fin.to_bytes()).await.unwrap();
    for _ in 0..2 {
        assert!(matches!(raw.header().await, DataHeader::Fin | DataHeader::Stop(_)));
    }
    raw.is_closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_wrong_secrets_end_a_kept_connection_and_so_does_its_session() {
    let node = Netcore::start().await;
    let (_here, _) = echoing(&node, Scope::Local).await;
    let near = node.plugin("near", all()).await;
    near.client.keep_connections().await.unwrap();
    let kept = async || {
        let mut raw = Raw::connect(&near).await;
        raw.send(&open(&near, &Target::Local)).await;
        assert_eq!(raw.echo(b"x").await.last(), Some(&DataHeader::Kept));
        raw
    };
    let mut raw = kept().await;
    raw.0.write_all(&[0xff; 64]).await.unwrap();
    assert_eq!(raw.refused().await, ErrorCode::Malformed);
    let mut raw = kept().await;
    raw.send(&Opening::Hello { versions: vec![1], token: near.launch.token.clone() }).await;
    assert_eq!(raw.refused().await, ErrorCode::Malformed);
    for opening in [
        Opening::Open { secret: Secret([1; 32]), target: Target::Local, protocol: echo(), timeout_ms: 0 },
        Opening::AcceptNext { secret: Secret([1; 32]), protocol: echo(), scope: Scope::Local },
    ] {
        let mut raw = kept().await;
        raw.send(&opening).await;
        assert_eq!(raw.refused().await, ErrorCode::Unauthorised);
        raw.is_closed().await;
    }
    assert_eq!(node.counter("gateway_malformed").await, 2);
    assert_eq!(node.counter("gateway_unauthorised").await, 2);
    let mut raw = kept().await;
    let _newer = Client::connect(&near.launch.socket, near.launch.token.clone()).await.unwrap();
    raw.is_closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_connections_are_kept() {
    let node = Netcore::start().await;
    let (_here, _) = echoing(&node, Scope::Local).await;
    let near = node.plugin("near", all()).await;
    near.client.keep_connections().await.unwrap();
    let mut kept = Vec::new();
    for _ in 0..MAX_IDLE_CONNECTIONS {
        let mut raw = Raw::connect(&near).await;
        raw.send(&open(&near, &Target::Local)).await;
        assert_eq!(raw.echo(b"x").await.last(), Some(&DataHeader::Kept));
        kept.push(raw);
    }
    let round = async |raw: &mut Raw| {
        raw.send(&open(&near, &Target::Local)).await;
        assert!(matches!(raw.reply().await, OpeningReply::Opened { .. }));
        raw.0.write_all(&DataHeader::Fin.to_bytes()).await.unwrap();
        for _ in 0..2 {
            raw.header().await;
        }
    };
    let mut beyond = Raw::connect(&near).await;
    round(&mut beyond).await;
    beyond.is_closed().await;
    // One that carries a stream leaves its place to another.
    let mut busy = kept.pop().expect("one");
    busy.send(&open(&near, &Target::Local)).await;
    assert!(matches!(busy.reply().await, OpeningReply::Opened { .. }));
    let mut next = Raw::connect(&near).await;
    round(&mut next).await;
    assert_eq!(next.header().await, DataHeader::Kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_connection_claims_a_stream_and_no_event_tells_of_it() {
    let (one, two) = (Netcore::start().await, Netcore::start().await);
    let near = one.plugin("near", all()).await;
    let mut far = two.plugin("far", all()).await;
    for plugin in [&near, &far] {
        plugin.client.keep_connections().await.unwrap();
    }
    far.client.listen(echo(), Scope::Peers, CallMode::Events).await.unwrap();
    let to = target(&two).await;
    for round in 0..3u8 {
        let accepting = tokio::spawn({
            let client = far.client.clone();
            async move { client.accept_next(echo(), Scope::Peers).await }
        });
        until("the connection to wait", async || {
            // It waits once netcore has read its opening, which nothing tells: the first stream may be announced.
            let first = [round; 1000];
            let opened = near.client.open_with(to.clone(), echo(), &first, None);
            tokio::pin!(opened);
            let mut stream = tokio::select! {
                opened = &mut opened => opened.unwrap(),
                Some(Event::Stream { stream, .. }) = far.events.next() => {
                    drop(far.client.accept(stream).await.unwrap());
                    return None;
                }
            };
            stream.finish().await.unwrap();
            Some(stream)
        })
        .await;
        let mut accepted = within("a stream", accepting).await.unwrap().unwrap();
        let mut all = Vec::new();
        within("the first bytes", accepted.read_to_end(&mut all)).await.unwrap();
        assert_eq!(all, [round; 1000]);
    }
    // None waits now: the next one is announced.
    let (_opened, _accepted) = stream_between(&near, &mut far, to, "echo/1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_wait_only_for_what_is_served_and_not_too_many() {
    let node = Netcore::start().await;
    let far = node.plugin("far", all()).await;
    far.client.keep_connections().await.unwrap();
    assert!(refusal(far.client.accept_next(echo(), Scope::Local).await).is(ErrorCode::BadArgument));
    far.client.listen(echo(), Scope::Local, CallMode::Events).await.unwrap();
    assert!(refusal(far.client.accept_next(echo(), Scope::Peers).await).is(ErrorCode::BadArgument));

    // One more than may wait, less the one that is refused, each in a task that ends when it is refused.
    let full = async || {
        let mut waiting = JoinSet::new();
        for _ in 0..=MAX_IDLE_CONNECTIONS {
            let mut raw = Raw::connect(&far).await;
            raw.send(&accept_next(&far)).await;
            waiting.spawn(async move {
                let code = raw.refused().await;
                raw.is_closed().await;
                code
            });
        }
        assert_eq!(waiting.join_next().await.expect("a task").unwrap(), ErrorCode::Busy);
        waiting
    };
    // Those that the plugin has closed make room.
    full().await.shutdown().await;
    let mut waiting = full().await;
    // Those that wait when the plugin stops serving are told; so are they when it may serve no more.
    far.client.unlisten(echo(), Scope::Local).await.unwrap();
    while let Some(code) = waiting.join_next().await {
        assert_eq!(code.unwrap(), ErrorCode::BadArgument);
    }
    far.client.listen(echo(), Scope::Local, CallMode::Events).await.unwrap();
    let mut raw = Raw::connect(&far).await;
    raw.send(&accept_next(&far)).await;
    let grants = AdminRequest::SetGrants { plugin: far.launch.id.clone(), grants: Grants::default() };
    assert_eq!(node.ask(grants).await, AdminResponse::Done);
    assert_eq!(raw.refused().await, ErrorCode::BadArgument);
    raw.is_closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_connection_ends_with_its_session() {
    let node = Netcore::start().await;
    let far = node.plugin("far", all()).await;
    far.client.keep_connections().await.unwrap();
    far.client.listen(echo(), Scope::Local, CallMode::Events).await.unwrap();
    let mut raw = Raw::connect(&far).await;
    raw.send(&accept_next(&far)).await;
    let _newer = Client::connect(&far.launch.socket, far.launch.token.clone()).await.unwrap();
    // Netcore may have read the opening only now: then it says that the secret is old.
    let mut bytes = Vec::new();
    within("the end", raw.0.read_to_end(&mut bytes)).await.unwrap();
    if let Some(body) = frame::split(&bytes).unwrap() {
        let reply: OpeningReply = codec::decode(body).unwrap();
        assert!(matches!(reply, OpeningReply::Refused(failure) if failure.is(ErrorCode::Unauthorised)));
    }
}
