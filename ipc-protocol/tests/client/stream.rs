//! Streams: clean ends, cuts, resets and stops, and bounded buffers.

use std::pin::Pin;
use std::task::Poll;

use polypeer_ipc_protocol::client::{ClientError, StreamError};
use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::frame::DataHeader;
use polypeer_ipc_protocol::gateway::{Opening, OpeningReply, Origin, Request, Response, Target};
use polypeer_ipc_protocol::ids::NodeId;
use polypeer_ipc_protocol::limits::MAX_DATA;
use polypeer_ipc_protocol::session::decode;
use polypeer_ipc_protocol::transport::{FrameReader, FrameWriter, LocalStream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::world::{World, header, protocol, send};

fn stream_error(error: &std::io::Error) -> &StreamError {
    StreamError::of(error).unwrap_or_else(|| panic!("not a stream error: {error}"))
}

#[tokio::test]
async fn stream_carries_both_directions_and_ends_cleanly() {
    let world = World::new();
    let (client, _events, _session) = world.session().await;
    let (mut stream, mut io) = world.stream(&client).await;
    assert_eq!(stream.origin(), &Origin::Peer(NodeId([8; 32])));
    let bytes: Vec<u8> = (0..3_000_000u32).map(|i| ((i * 7) >> 3) as u8).collect();
    // Netcore's end echoes, frame by frame.
    let echo = tokio::spawn(async move {
        loop {
            match header(&mut io).await {
                DataHeader::Data(length) => {
                    let mut payload = vec![0; length];
                    io.read_exact(&mut payload).await.expect("payload");
                    send(&mut io, DataHeader::Data(length), &payload).await;
                }
                DataHeader::Fin => {
                    send(&mut io, DataHeader::Stop(ErrorCode::Complete.number()), b"").await;
                    return send(&mut io, DataHeader::Fin, b"").await;
                }
                other => panic!("unexpected {other:?}"),
            }
        }
    });
    let (mut read, mut write) = tokio::io::split(stream);
    let writing = async {
        write.write_all(&bytes).await.expect("written");
        write.shutdown().await.expect("finished");
        write
    };
    let reading = async {
        let mut back = Vec::new();
        read.read_to_end(&mut back).await.expect("a clean end");
        (read, back)
    };
    let (write, (read, back)) = tokio::join!(writing, reading);
    assert!(back == bytes, "what comes back is what was sent");
    stream = read.unsplit(write);
    echo.await.expect("echo is done, its connection closed");
    stream.closed().await.expect("acknowledged");
}

#[tokio::test]
async fn cut_stream_is_an_error_never_an_end() {
    for part in [0, 2, 4, 7] {
        let world = World::new();
        let (client, _events, _session) = world.session().await;
        let (mut stream, mut io) = world.stream(&client).await;
        send(&mut io, DataHeader::Data(3), b"abc").await;
        let next = [&DataHeader::Data(5).to_bytes()[..], b"xyz"].concat();
        io.write_all(&next[..part]).await.expect("written");
        drop(io);
        let mut text = Vec::new();
        let error = stream.read_to_end(&mut text).await.expect_err("cut");
        assert_eq!(stream_error(&error), &StreamError::Lost);
        assert!(text.starts_with(b"abc"), "what came before the cut is there: {text:?}");
        let error = stream.finish().await.expect_err("nobody there");
        assert_eq!(stream_error(&error), &StreamError::Lost);
        assert_eq!(stream.closed().await, Err(StreamError::Lost));
    }
}

#[tokio::test]
async fn end_of_connection_before_everything_is_acknowledged_is_an_error() {
    let lost = ErrorCode::ConnectionLost.number();
    for (last_word, expected) in [(Some(lost), StreamError::Stopped { code: lost }), (None, StreamError::Lost)] {
        let world = World::new();
        let (client, _events, _session) = world.session().await;
        let (mut stream, mut io) = world.stream(&client).await;
        stream.finish().await.expect("sent");
        assert_eq!(header(&mut io).await, DataHeader::Fin);
        send(&mut io, DataHeader::Fin, b"").await;
        if let Some(code) = last_word {
            send(&mut io, DataHeader::Stop(code), b"").await;
        }
        drop(io);
        assert_eq!(stream.read(&mut [0; 8]).await.expect("clean end"), 0);
        assert_eq!(stream.closed().await, Err(expected));
    }
}

#[tokio::test]
async fn reset_and_stop_show_their_codes() {
    let world = World::new();
    let (client, _events, _session) = world.session().await;
    let (mut stream, mut io) = world.stream(&client).await;
    send(&mut io, DataHeader::Data(2), b"hi").await;
    send(&mut io, DataHeader::Reset(41), b"").await;
    send(&mut io, DataHeader::Stop(42), b"").await;
    let mut text = Vec::new();
    let error = stream.read_to_end(&mut text).await.expect_err("reset");
    assert_eq!((stream_error(&error), &text[..]), (&StreamError::Reset { code: 41 }, &b"hi"[..]));
    let error = stream.write_all(&[0; 10]).await.expect_err("stopped");
    assert_eq!(stream_error(&error), &StreamError::Stopped { code: 42 });
    // Its own RESET and STOP are still sent.
    stream.stop(7).await.expect("sent");
    stream.reset(8).await.expect("sent");
    assert_eq!((header(&mut io).await, header(&mut io).await), (DataHeader::Stop(7), DataHeader::Reset(8)));
    assert_eq!(stream.closed().await, Err(StreamError::Ended));
}

#[tokio::test]
async fn blocked_writer_is_woken_by_a_stop_behind_unread_data() {
    let world = World::new();
    let (client, _events, _session) = world.session().await;
    let (mut stream, mut io) = world.stream(&client).await;
    let writing = async {
        let error = loop {
            if let Err(error) = stream.write_all(&[1; 100_000]).await {
                break error;
            }
        };
        assert_eq!(stream_error(&error), &StreamError::Stopped { code: 3 });
    };
    let stopping = async {
        send(&mut io, DataHeader::Data(4), b"data").await;
        send(&mut io, DataHeader::Stop(3), b"").await;
    };
    tokio::join!(writing, stopping);
    let mut data = [0; 4];
    stream.read_exact(&mut data).await.expect("data before the stop is kept");
    assert_eq!(&data, b"data");
}

#[tokio::test]
async fn malformed_data_connection_is_an_error() {
    for bytes in [&[0, 0, 0, 9][..], &[0, 0, 0, 0], &[0, 0, 0, 1, 1, 0, 0, 0, b'x']] {
        let world = World::new();
        let (client, _events, _session) = world.session().await;
        let (mut stream, mut io) = world.stream(&client).await;
        io.write_all(bytes).await.expect("written");
        let closed = stream.closed().await;
        assert!(matches!(closed, Err(StreamError::Malformed(_))), "{bytes:?}: {closed:?}");
    }
}

/// Polls once, without waiting.
async fn once<T>(mut poll: impl FnMut(&mut std::task::Context<'_>) -> Poll<T>) -> Poll<T> {
    std::future::poll_fn(|cx| Poll::Ready(poll(cx))).await
}

#[tokio::test]
async fn neither_side_buffers_without_bound() {
    let world = World::new();
    let (client, _events, _session) = world.session().await;
    let (mut stream, mut io) = world.stream(&client).await;
    // Netcore's end does not read: the client accepts what the sockets hold and one frame more.
    let (chunk, mut accepted) = (vec![0; MAX_DATA], 0);
    while let Poll::Ready(written) = once(|cx| Pin::new(&mut stream).poll_write(cx, &chunk)).await {
        accepted += written.expect("written");
        assert!(accepted < 8 << 20, "the client buffers without bound");
    }
    // The client's end does not read: the sockets and one read-ahead buffer stop netcore.
    let mut sent = 0;
    let mut frame = DataHeader::Data(MAX_DATA).to_bytes().to_vec();
    frame.resize(4 + MAX_DATA, 0);
    loop {
        let at = sent % frame.len();
        match once(|cx| Pin::new(&mut io).poll_write(cx, &frame[at..])).await {
            Poll::Ready(written) => sent += written.expect("written"),
            Poll::Pending => {
                let before = sent;
                // A writer that looks for STOP reads ahead within its buffer.
                let _ = once(|cx| Pin::new(&mut stream).poll_flush(cx)).await;
                tokio::task::yield_now().await;
                if let Poll::Ready(written) = once(|cx| Pin::new(&mut io).poll_write(cx, &frame[at..])).await {
                    sent += written.expect("written");
                }
                if sent == before {
                    break;
                }
            }
        }
        assert!(sent < 8 << 20, "the client reads ahead without bound");
    }
    let mut buffer = [0; 16];
    let mut out = ReadBuf::new(&mut buffer);
    let read = once(|cx| Pin::new(&mut stream).poll_read(cx, &mut out)).await;
    assert!(matches!(read, Poll::Ready(Ok(()))) && out.filled().len() == 16);
}

#[tokio::test]
async fn reader_also_sends_what_a_write_left_behind() {
    let world = World::new();
    let (client, _events, _session) = world.session().await;
    let (mut stream, mut io) = world.stream(&client).await;
    let chunk = vec![3; MAX_DATA];
    let mut accepted = 0;
    while let Poll::Ready(written) = once(|cx| Pin::new(&mut stream).poll_write(cx, &chunk)).await {
        accepted += written.expect("written");
    }
    // Without a flush: only a read is pending while netcore takes everything and then answers.
    let mut answer = [0; 1];
    let (read, ()) = tokio::join!(stream.read_exact(&mut answer), async {
        let mut taken = 0;
        while taken < accepted {
            let DataHeader::Data(length) = header(&mut io).await else { panic!("only data") };
            io.read_exact(&mut vec![0; length]).await.expect("payload");
            taken += length;
        }
        send(&mut io, DataHeader::Data(1), b"!").await;
    });
    read.expect("answered");
    assert_eq!(&answer, b"!");
}

#[tokio::test]
async fn reader_that_needs_no_more_is_no_failure_whoever_is_quicker() {
    let done = DataHeader::Stop(0);
    for (first, closes) in [(true, true), (true, false), (false, true), (false, false)] {
        let world = World::new();
        let (client, _events, _session) = world.session().await;
        let (mut stream, mut io) = world.stream(&client).await;
        stream.write_all(b"question").await.expect("written");
        stream.flush().await.expect("flushed");
        if first {
            stream.finish().await.expect("ended before it is stopped");
        }
        for (header, payload) in [(DataHeader::Data(2), &b"ok"[..]), (DataHeader::Fin, b""), (done, b"")] {
            send(&mut io, header, payload).await;
        }
        let held = (!closes).then_some(io);
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("the answer");
        assert_eq!(answer, b"ok");
        if !first {
            let error = stream.write_all(b"more").await.expect_err("nobody reads it");
            assert_eq!(stream_error(&error), &StreamError::Stopped { code: 0 });
            stream.flush().await.expect("what was written is out of hand");
        }
        stream.finish().await.expect("to end is no failure");
        assert_eq!(stream.closed().await, Ok(()));
        drop(held);
    }
}

#[tokio::test]
async fn code_is_heard_even_if_the_connection_is_closed_behind_it() {
    for round in 0..100 {
        let world = World::new();
        let (client, _events, _session) = world.session().await;
        let (mut stream, mut io) = world.stream(&client).await;
        send(&mut io, DataHeader::Stop(42), b"").await;
        drop(io);
        let error = stream.finish().await.expect_err("stopped");
        assert_eq!(stream_error(&error), &StreamError::Stopped { code: 42 }, "round {round}");
    }
}

#[tokio::test]
async fn stop_is_seen_by_who_waits_for_something_else() {
    let world = World::new();
    let (client, _events, _session) = world.session().await;
    let (stream, mut io) = world.stream(&client).await;
    let (mut reader, mut writer) = stream.split();
    let watch = writer.watch();
    let waiting = tokio::spawn(async move { watch.stopped().await });
    send(&mut io, DataHeader::Fin, b"").await;
    assert_eq!(reader.read(&mut [0; 8]).await.expect("the end"), 0);
    send(&mut io, DataHeader::Stop(0), b"").await;
    assert_eq!(waiting.await.expect("it ended"), StreamError::Stopped { code: 0 });
    writer.closed().await.expect("both directions are over");
    let gone = writer.watch();
    drop((reader, writer));
    assert_eq!(gone.stopped().await, StreamError::Lost);
}

#[tokio::test]
async fn kept_connection_serves_the_next_stream_and_one_that_is_not_kept_is_left() {
    let world = World::new();
    let (client, _events, mut session) = world.session().await;
    let (asked, ()) = tokio::join!(client.keep_connections(), async {
        let (id, request) = session.request().await;
        assert_eq!(request, Request::KeepConnections);
        session.respond(id, Response::Done).await;
    });
    asked.expect("done");
    let opened = OpeningReply::Opened { origin: Origin::Peer(NodeId([8; 32])), protocol: protocol() };
    let (mut stream, mut io) = world.stream(&client).await;
    for round in 0..3u8 {
        // Netcore's report may come before or after the stream is dropped.
        let report = async |io: &mut LocalStream| {
            send(io, DataHeader::Stop(ErrorCode::Complete.number()), b"").await;
            send(io, DataHeader::Kept, b"").await;
        };
        send(&mut io, DataHeader::Fin, b"").await;
        stream.finish().await.expect("finished");
        assert_eq!(stream.read(&mut [0]).await.expect("the end"), 0);
        assert_eq!(header(&mut io).await, DataHeader::Fin);
        if round == 1 {
            report(&mut io).await;
            stream.closed().await.expect("all has arrived");
            drop(stream);
        } else {
            drop(stream);
            report(&mut io).await;
        }
        for _ in 0..8 {
            tokio::task::yield_now().await; // the runtime learns what has arrived
        }
        let (next, ()) = tokio::join!(client.open_with(Target::Local, protocol(), b"first", None), async {
            let mut reader = FrameReader::new(&mut io);
            let body = reader.next().await.expect("read").expect("the next opening on the same connection");
            assert!(matches!(decode::opening(body), Ok(Opening::Open { .. })));
            let (_, rest) = reader.into_parts();
            assert_eq!(rest, [&DataHeader::Data(5).to_bytes()[..], b"first"].concat());
            FrameWriter::new(&mut io).send(&opened).await.expect("written");
        });
        stream = next.expect("opened");
    }
    // Closed by netcore instead: the next stream has a new connection.
    send(&mut io, DataHeader::Fin, b"").await;
    stream.finish().await.expect("finished");
    assert_eq!(stream.read(&mut [0]).await.expect("the end"), 0);
    drop((stream, io));
    let (_stream, _io) = world.stream(&client).await;
}

#[tokio::test]
async fn connection_of_a_stream_that_was_cut_is_not_kept() {
    let world = World::new();
    let (client, _events, mut session) = world.session().await;
    let (asked, ()) = tokio::join!(client.keep_connections(), async {
        let (id, _) = session.request().await;
        session.respond(id, Response::Failed(ErrorCode::Unsupported.into())).await;
    });
    assert!(matches!(asked, Err(ClientError::Refused(failure)) if failure.is(ErrorCode::Unsupported)));
    // A netcore of an earlier version: streams work, and none leaves its connection for another.
    let (stream, mut io) = world.stream(&client).await;
    drop(stream);
    assert_eq!(io.read(&mut [0]).await.expect("the end"), 0);
    let (mut stream, _io) = world.stream(&client).await;
    stream.write_all(b"hello").await.expect("written");
}
