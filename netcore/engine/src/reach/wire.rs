//! The question and the answer of `probe/1`. `PROTOCOL.md`, section 12, specifies the bytes.

use std::net::SocketAddr;

use polypeer_ipc_protocol::codec::{self, CodecError};
use serde::{Deserialize, Serialize};

/// Most ports in one question: those of both families' sockets, and one that is forwarded by hand.
pub const MAX_PORTS: usize = 3;
/// Longest question or answer, bytes: far more than they need, and still cheap.
const MAX_MESSAGE: usize = 256;

/// The question: to dial the asker at the address that its packets come from, and at these ports of the same IP. No
/// other address can be named, so that nobody can make a node send packets to others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// At most [`MAX_PORTS`], none of them 0.
    pub ports: Vec<u16>,
}

/// The answer: the result of a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// The address that the asker's packets come from.
    pub observed: SocketAddr,
    /// The ports of that IP at which the asker, by its node id, answered.
    pub reached: Vec<u16>,
}

/// Why a message is malformed.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// It is longer than [`MAX_MESSAGE`].
    #[error("a probe's message of {length} bytes; the limit is {MAX_MESSAGE}")]
    TooLarge { length: usize },
    /// It names too many ports, or port 0.
    #[error("a probe names at most {MAX_PORTS} ports, none of them 0")]
    Ports,
    /// It cannot be decoded.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

impl Request {
    /// Encodes the message.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Decodes and checks a message from a peer.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let request: Self = decode(bytes)?;
        if request.ports.len() > MAX_PORTS || request.ports.contains(&0) {
            return Err(WireError::Ports);
        }
        Ok(request)
    }
}

impl Probed {
    /// Encodes the message.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Decodes and checks a message from a peer.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let probed: Self = decode(bytes)?;
        if probed.reached.len() > MAX_PORTS + 1 || probed.reached.contains(&0) {
            return Err(WireError::Ports);
        }
        Ok(probed)
    }
}

fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::encode(message, &mut bytes).expect("a few numbers");
    bytes
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    if bytes.len() > MAX_MESSAGE {
        return Err(WireError::TooLarge { length: bytes.len() });
    }
    Ok(codec::decode(bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_few_real_ports_are_taken() {
        let good = Request { ports: vec![7470, 1, 2] };
        assert_eq!(Request::decode(&good.encode()).unwrap(), good);
        for bad in [vec![0], vec![1, 2, 3, 4]] {
            assert!(matches!(Request::decode(&Request { ports: bad }.encode()), Err(WireError::Ports)));
        }
        assert!(matches!(Request::decode(&[0; MAX_MESSAGE + 1]), Err(WireError::TooLarge { .. })));
        let huge = u64::MAX.to_le_bytes();
        assert!(matches!(Request::decode(&huge), Err(WireError::Codec(_))), "a length is not believed");
    }

    #[test]
    fn examples_are_what_the_code_sends() {
        let examples = crate::examples::examples();
        let question = Request { ports: vec![7470] };
        assert_eq!(question.encode(), examples["probe-question"]);
        let answer = Probed { observed: "192.0.2.7:7470".parse().unwrap(), reached: vec![7470] };
        assert_eq!(answer.encode(), examples["probe-answer"]);
    }

    #[test]
    fn an_answer_names_no_more_than_was_asked_for() {
        let observed = "192.0.2.1:7470".parse().unwrap();
        let good = Probed { observed, reached: vec![7470] };
        assert_eq!(Probed::decode(&good.encode()).unwrap(), good);
        let bad = Probed { observed, reached: vec![1; MAX_PORTS + 2] };
        assert!(matches!(Probed::decode(&bad.encode()), Err(WireError::Ports)));
    }
}
