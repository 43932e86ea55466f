//! Frames in byte streams, and the header of data frames. Pure: the caller owns the buffers and does the I/O.

use crate::codec::{self, CodecError};
use crate::error::ErrorCode;
use crate::limits::{MAX_DATA, MAX_FRAME};

/// Length of the header of a control or admin frame: a little-endian `u32`, the length of the body.
pub const HEADER: usize = 4;

/// Appends `message` as one control frame to `out`. A failure leaves `out` unchanged.
pub fn write<T: serde::Serialize>(message: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER]);
    if let Err(error) = codec::encode(message, out) {
        out.truncate(start);
        return Err(error);
    }
    let length = u32::try_from(out.len() - start - HEADER).expect("encode checked the limit");
    out[start..start + HEADER].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// A frame over the limit. The session cannot continue: the start of the next frame is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("frame of {length} bytes; the limit is {MAX_FRAME}")]
pub struct FrameTooLarge {
    /// The announced length, bytes.
    pub length: usize,
}

/// The body of the first frame in `buffer`, or `None` while it is incomplete. The frame takes `HEADER + body.len()`
/// bytes.
pub fn split(buffer: &[u8]) -> Result<Option<&[u8]>, FrameTooLarge> {
    let Some((header, rest)) = buffer.split_first_chunk::<HEADER>() else { return Ok(None) };
    let length = u32::from_le_bytes(*header) as usize;
    if length > MAX_FRAME {
        return Err(FrameTooLarge { length });
    }
    Ok(rest.get(..length))
}

/// The header of a data frame. Four bytes: the value, 24 bits little-endian, then the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataHeader {
    /// Kind 0: this many bytes of the stream follow, 1 to 262,144.
    Data(usize),
    /// Kind 1: the sender has written everything.
    Fin,
    /// Kind 2: the sender aborts; what it sent before may be lost. The value is a code.
    Reset(u32),
    /// Kind 3: the sender of this frame reads no more. The value is a code.
    Stop(u32),
    /// Kind 4, from netcore, last: the stream is over, and the connection waits for its next opening.
    Kept,
}

/// The error of reading a data frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadHeader {
    #[error("data frame of unknown kind {0}")]
    Kind(u8),
    #[error("data frame of {0} bytes; expected 1 to {MAX_DATA}")]
    Length(usize),
    #[error("data frame of kind {0} with a value")]
    Value(u8),
}

impl DataHeader {
    /// The four bytes. A code over 24 bits becomes `internal error`; all of Polypeer's codes fit.
    pub fn to_bytes(self) -> [u8; 4] {
        let code = |code: u32| if code < 1 << 24 { code } else { ErrorCode::Internal.number() };
        let (kind, value) = match self {
            Self::Data(length) => (0, length as u32),
            Self::Fin => (1, 0),
            Self::Reset(number) => (2, code(number)),
            Self::Stop(number) => (3, code(number)),
            Self::Kept => (4, 0),
        };
        (value | kind << 24).to_le_bytes()
    }

    pub fn from_bytes(bytes: [u8; 4]) -> Result<Self, BadHeader> {
        let word = u32::from_le_bytes(bytes);
        let value = word & 0xff_ffff;
        match word >> 24 {
            0 if (1..=MAX_DATA).contains(&(value as usize)) => Ok(Self::Data(value as usize)),
            0 => Err(BadHeader::Length(value as usize)),
            1 if value == 0 => Ok(Self::Fin),
            2 => Ok(Self::Reset(value)),
            3 => Ok(Self::Stop(value)),
            4 if value == 0 => Ok(Self::Kept),
            kind @ (1 | 4) => Err(BadHeader::Value(kind as u8)),
            kind => Err(BadHeader::Kind(kind as u8)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_headers_read_back_and_bad_ones_are_refused() {
        for header in [
            DataHeader::Data(1),
            DataHeader::Data(MAX_DATA),
            DataHeader::Fin,
            DataHeader::Reset(0),
            DataHeader::Stop(0x1_0011),
            DataHeader::Kept,
        ] {
            assert_eq!(DataHeader::from_bytes(header.to_bytes()), Ok(header));
        }
        assert_eq!(DataHeader::from_bytes([0; 4]), Err(BadHeader::Length(0)));
        assert_eq!(DataHeader::from_bytes([1, 0, 4, 0]), Err(BadHeader::Length(MAX_DATA + 1)));
        assert_eq!(DataHeader::from_bytes([1, 0, 0, 1]), Err(BadHeader::Value(1)));
        assert_eq!(DataHeader::from_bytes([1, 0, 0, 4]), Err(BadHeader::Value(4)));
        assert_eq!(DataHeader::from_bytes([0, 0, 0, 5]), Err(BadHeader::Kind(5)));
    }

    #[test]
    fn frame_is_found_only_when_whole_and_never_over_the_limit() {
        let mut bytes = Vec::new();
        write(&7u32, &mut bytes).expect("fits");
        assert_eq!(bytes, [4, 0, 0, 0, 7, 0, 0, 0]);
        for cut in 0..bytes.len() {
            assert_eq!(split(&bytes[..cut]), Ok(None));
        }
        assert_eq!(split(&bytes), Ok(Some(&[7, 0, 0, 0][..])));
        assert!(split(&[1, 0, 0x10, 0]).is_err());
    }
}
