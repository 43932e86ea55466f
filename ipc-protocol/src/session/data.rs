//! Either end of a data connection after `Opened`: [`Receiver`] decodes the incoming frames, [`Sender`] decides which
//! frames may still be sent. Each direction carries data frames, then `FIN` or `RESET`. A `STOP` is about the opposite
//! direction: its sender reads no more. It may be sent once, at any time.
//!
//! Used by [`crate::client::DataStream`] and by netcore's gateway.

use crate::frame::{BadHeader, DataHeader};

/// What arrived on a data connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received<'a> {
    /// The next bytes of the stream; never empty.
    Data(&'a [u8]),
    /// The other side has written everything.
    Fin,
    /// The other side aborted, with this code.
    Reset(u32),
    /// The other side reads no more, with this code.
    Stop(u32),
    /// The stream is over, and netcore waits for the next opening on the connection. Nothing follows.
    Kept,
}

/// A violation of the rules of a data connection. The connection cannot continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    #[error(transparent)]
    Header(#[from] BadHeader),
    /// `DATA`, `FIN` or `RESET` after the stream had ended.
    #[error("data frame after the end of the stream")]
    AfterEnd,
    #[error("second request to stop")]
    SecondStop,
}

/// The incoming direction.
#[derive(Debug, Default, Clone)]
pub struct Receiver {
    /// Bytes of the current data frame still to come.
    remaining: usize,
    ended: bool,
    stopped: bool,
    keeps: bool,
    over: bool,
}

impl Receiver {
    /// A plugin's, of a session that asked netcore to keep connections. Others take `KEPT` for malformed.
    pub fn keeping() -> Self {
        Self { keeps: true, ..Self::default() }
    }

    /// Takes the next event off the front of `input`. Data is returned as it arrives, at most `limit` (≥ 1) bytes at a
    /// time. `None`: more bytes are needed; the rest of `input` (under 4 bytes) must be passed again in front of them.
    pub fn next<'a>(&mut self, input: &mut &'a [u8], limit: usize) -> Result<Option<Received<'a>>, DataError> {
        if self.over {
            return Ok(None);
        }
        if self.remaining == 0 {
            let Some((header, rest)) = input.split_first_chunk::<4>() else { return Ok(None) };
            let header = DataHeader::from_bytes(*header)?;
            *input = rest;
            if matches!(header, DataHeader::Data(_) | DataHeader::Fin | DataHeader::Reset(_)) && self.ended {
                return Err(DataError::AfterEnd);
            }
            match header {
                DataHeader::Data(length) => self.remaining = length,
                DataHeader::Fin => {
                    self.ended = true;
                    return Ok(Some(Received::Fin));
                }
                DataHeader::Reset(code) => {
                    self.ended = true;
                    return Ok(Some(Received::Reset(code)));
                }
                DataHeader::Stop(code) => {
                    if std::mem::replace(&mut self.stopped, true) {
                        return Err(DataError::SecondStop);
                    }
                    return Ok(Some(Received::Stop(code)));
                }
                DataHeader::Kept if self.keeps => {
                    self.over = true;
                    return Ok(Some(Received::Kept));
                }
                DataHeader::Kept => return Err(BadHeader::Kind(4).into()),
            }
        }
        let length = self.remaining.min(input.len()).min(limit.max(1));
        if length == 0 {
            return Ok(None);
        }
        let (data, rest) = input.split_at(length);
        *input = rest;
        self.remaining -= length;
        Ok(Some(Received::Data(data)))
    }

    /// Whether `FIN` or `RESET` has arrived. If the connection ends before that, the stream was cut.
    pub fn is_ended(&self) -> bool {
        self.ended
    }
}

/// The outgoing direction.
#[derive(Debug, Default)]
pub struct Sender {
    ended: bool,
    stopped: bool,
}

impl Sender {
    /// The header to send, before the payload if the frame has one. `None`: the frame is no longer allowed (the stream
    /// has ended, or was stopped before) and must not be sent.
    pub fn header(&mut self, header: DataHeader) -> Option<[u8; 4]> {
        let allowed = match header {
            DataHeader::Stop(_) => !std::mem::replace(&mut self.stopped, true),
            DataHeader::Data(_) => !self.ended,
            DataHeader::Fin | DataHeader::Reset(_) => !std::mem::replace(&mut self.ended, true),
            DataHeader::Kept => true,
        };
        allowed.then(|| header.to_bytes())
    }

    /// Whether `FIN` or `RESET` was sent.
    pub fn is_ended(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_comes_apart_the_same_wherever_it_is_cut() {
        let mut wire = Vec::new();
        for (header, payload) in [
            (DataHeader::Data(5), &b"hello"[..]),
            (DataHeader::Stop(9), b""),
            (DataHeader::Data(1), b"!"),
            (DataHeader::Fin, b""),
        ] {
            wire.extend_from_slice(&header.to_bytes());
            wire.extend_from_slice(payload);
        }
        for cut in 0..=wire.len() {
            let (mut receiver, mut data, mut ends) = (Receiver::default(), Vec::new(), Vec::new());
            let mut held = Vec::new();
            for part in [&wire[..cut], &wire[cut..]] {
                held.extend_from_slice(part);
                let mut input = &held[..];
                while let Some(event) = receiver.next(&mut input, 3).expect("valid") {
                    match event {
                        Received::Data(bytes) => data.extend_from_slice(bytes),
                        Received::Fin => ends.push("fin".to_owned()),
                        Received::Stop(code) => ends.push(format!("stop {code}")),
                        Received::Reset(code) => ends.push(format!("reset {code}")),
                        Received::Kept => ends.push("kept".to_owned()),
                    }
                }
                held = input.to_vec();
            }
            assert_eq!((&data[..], ends.join(", ").as_str()), (&b"hello!"[..], "stop 9, fin"), "cut at {cut}");
            assert!(receiver.is_ended() && held.is_empty());
        }
    }

    #[test]
    fn frames_after_the_end_and_second_stops_are_refused() {
        let wire = |headers: &[DataHeader]| headers.iter().flat_map(|header| header.to_bytes()).collect::<Vec<_>>();
        let outcome = |headers: &[DataHeader]| {
            let (bytes, mut receiver) = (wire(headers), Receiver::default());
            let mut input = &bytes[..];
            while receiver.next(&mut input, 1)?.is_some() {}
            Ok::<_, DataError>(())
        };
        assert_eq!(outcome(&[DataHeader::Fin, DataHeader::Stop(1)]), Ok(()));
        assert_eq!(outcome(&[DataHeader::Fin, DataHeader::Fin]), Err(DataError::AfterEnd));
        assert_eq!(outcome(&[DataHeader::Reset(1), DataHeader::Data(1)]), Err(DataError::AfterEnd));
        assert_eq!(outcome(&[DataHeader::Stop(1), DataHeader::Stop(1)]), Err(DataError::SecondStop));
    }

    #[test]
    fn a_connection_is_kept_only_where_that_was_asked_for_and_nothing_follows_it() {
        let wire: Vec<u8> = [DataHeader::Fin, DataHeader::Stop(1), DataHeader::Kept, DataHeader::Fin]
            .iter()
            .flat_map(|header| header.to_bytes())
            .collect();
        let (mut input, mut receiver) = (&wire[..], Receiver::keeping());
        for expected in [Received::Fin, Received::Stop(1), Received::Kept] {
            assert_eq!(receiver.next(&mut input, 1), Ok(Some(expected)));
        }
        assert_eq!((receiver.next(&mut input, 1), input.len()), (Ok(None), 4));
        let kept = DataHeader::Kept.to_bytes();
        assert_eq!(Receiver::default().next(&mut &kept[..], 1), Err(BadHeader::Kind(4).into()));
    }

    #[test]
    fn sender_leaves_out_what_the_receiver_would_refuse() {
        let mut sender = Sender::default();
        assert!(sender.header(DataHeader::Data(1)).is_some());
        assert!(sender.header(DataHeader::Fin).is_some());
        assert!(sender.header(DataHeader::Fin).is_none() && sender.header(DataHeader::Reset(1)).is_none());
        assert!(sender.header(DataHeader::Data(1)).is_none());
        assert!(sender.header(DataHeader::Stop(1)).is_some() && sender.header(DataHeader::Stop(1)).is_none());
    }
}
