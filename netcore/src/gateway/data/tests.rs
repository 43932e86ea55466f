use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::limits::MAX_DATA;
use tokio::io::AsyncReadExt;

use super::writer::COPY_FROM;
use super::*;
use tokio::net::UnixStream as Stream;

fn halves() -> (DataReader, DataWriter) {
    let (near, far) = Stream::pair().expect("a pair of sockets");
    let (reader, _) = near.into_split();
    let (kept, writer) = far.into_split();
    std::mem::forget(kept); // both ends stay open
    (DataReader::new(reader, BytesMut::new()), DataWriter::new(writer))
}

#[tokio::test]
async fn bytes_of_all_sizes_arrive_in_order_with_their_end() {
    let (mut reader, mut writer) = halves();
    let sent: Vec<u8> = (0..3_000_000u32).map(|n| (n * 7 + n / 251) as u8).collect();
    let expected = sent.clone();
    let writing = tokio::spawn(async move {
        let (mut rest, mut size) = (&sent[..], 1);
        while !rest.is_empty() {
            let (piece, left) = rest.split_at(size.min(rest.len()));
            writer.push(Bytes::copy_from_slice(piece));
            (rest, size) = (left, size % 40_000 * 2 + 1);
            while writer.queued() > COPY_FROM + 10_000 {
                writer.flush_some().await.unwrap();
            }
        }
        writer.finish();
        writer.flush().await.unwrap();
    });
    let mut received = Vec::new();
    loop {
        match reader.next().await {
            Input::Data(bytes) => received.extend_from_slice(&bytes),
            Input::Fin => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(received == expected);
    writing.await.unwrap();
}

#[tokio::test]
async fn a_reset_drops_what_is_queued_but_ends_the_frame_begun() {
    let (mut reader, mut writer) = halves();
    writer.push(Bytes::from(vec![1; 4 << 20]));
    let written = writer.flush_some().await.unwrap();
    assert!(written > 0 && written < MAX_DATA, "the socket's buffer is smaller than a frame: {written}");
    writer.stop(5);
    writer.reset(9);
    let flushing = tokio::spawn(async move { writer.flush().await });
    let (mut bytes, mut stop) = (0, None);
    let code = loop {
        match reader.next().await {
            Input::Data(data) => bytes += data.len(),
            Input::Stop(code) => stop = Some(code),
            Input::Reset(code) => break code,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((bytes, stop, code), (MAX_DATA, Some(5), 9));
    flushing.await.unwrap().unwrap();
}

#[tokio::test]
async fn codes_of_polypeer_are_not_a_plugins_to_send() {
    let (mut reader, mut writer) = halves();
    writer.stop(ErrorCode::NotGranted.number());
    writer.reset(ErrorCode::ConnectionLost.number());
    writer.flush().await.unwrap();
    assert!(matches!(reader.next().await, Input::Stop(code) if code == ErrorCode::Refused.number()));
    assert!(matches!(reader.next().await, Input::Reset(code) if code == ErrorCode::Refused.number()));
}

#[tokio::test]
async fn a_plugin_may_say_that_its_handler_failed() {
    let (mut reader, mut writer) = halves();
    let failed = ErrorCode::HandlerFailed.number();
    writer.reset(failed);
    writer.flush().await.unwrap();
    assert!(matches!(reader.next().await, Input::Reset(code) if code == failed));
}

#[tokio::test]
async fn broken_frames_and_the_end_of_the_connection_are_told_apart() {
    let (near, mut far) = Stream::pair().expect("a pair of sockets");
    let (half, _kept) = near.into_split();
    let mut reader = DataReader::new(half, BytesMut::from(&[1, 0, 0, 0, b'x', 0, 0, 0, 9][..]));
    assert!(matches!(reader.next().await, Input::Data(bytes) if bytes == b"x"[..]));
    assert!(matches!(reader.next().await, Input::Malformed(_)));
    let (near, _) = Stream::pair().expect("a pair of sockets");
    let mut reader = DataReader::new(near.into_split().0, BytesMut::new());
    assert!(matches!(reader.next().await, Input::Closed));
    drop(reader);
    let mut rest = Vec::new();
    drop(_kept);
    far.read_to_end(&mut rest).await.ok();
    assert!(rest.is_empty());
}
