//! Decoding of a frame's body. A message of a later version (answered or skipped) is told apart from a malformed one
//! (ends the session). Within a version only requests, responses and events grow, and the frames that a plugin sends in
//! answer to an event of a later version; see [`crate::gateway`].

use std::sync::LazyLock;

use super::variants;
use crate::codec::{self, CodecError};
use crate::error::{ErrorCode, Failure};
use crate::gateway::{ClientFrame, Event, Opening, OpeningReply, Request, Response, ServerFrame};
use crate::limits::{MAX_DATAGRAM, MAX_GOSSIP, MAX_OPENING, MAX_PAYLOAD, MAX_VALUE, MAX_VERSIONS};

/// The lowest unknown tags.
static REQUESTS: LazyLock<u32> = LazyLock::new(variants::count::<Request>);
static RESPONSES: LazyLock<u32> = LazyLock::new(variants::count::<Response>);
static EVENTS: LazyLock<u32> = LazyLock::new(variants::count::<Event>);

/// The error of decoding a frame's body.
#[derive(Debug, thiserror::Error)]
pub enum Undecodable {
    /// A request of a later version: answer it with `unsupported` and continue.
    #[error("request {id} is of unknown kind {tag}")]
    UnknownRequest { id: u64, tag: u32 },
    /// A response of a later version: its request has failed, the session continues.
    #[error("response to request {id} is of unknown kind {tag}")]
    UnknownResponse { id: u64, tag: u32 },
    /// An event of a later version: skip and count it.
    #[error("event of unknown kind {tag}")]
    UnknownEvent { tag: u32 },
    /// A name, protocol or ticket in a request breaks its rule: answer it with `bad argument` and continue.
    #[error("{reason}")]
    BadArgument { id: u64, reason: String },
    /// Breaks the specification: the session ends.
    #[error(transparent)]
    Malformed(#[from] CodecError),
    #[error("Hello offers no version of the protocol")]
    NoVersion,
    /// Well formed, but over a limit of the specification: the session ends.
    #[error("{what} of {size}; the limit is {limit}")]
    OverLimit { what: &'static str, size: usize, limit: usize },
}

impl From<Undecodable> for Failure {
    fn from(error: Undecodable) -> Self {
        let code = match &error {
            Undecodable::UnknownRequest { .. }
            | Undecodable::UnknownResponse { .. }
            | Undecodable::UnknownEvent { .. } => ErrorCode::Unsupported,
            Undecodable::BadArgument { .. } => ErrorCode::BadArgument,
            Undecodable::Malformed(_) | Undecodable::NoVersion | Undecodable::OverLimit { .. } => ErrorCode::Malformed,
        };
        Self::new(code, error.to_string())
    }
}

/// Decodes the first frame of a connection to the gateway.
pub fn opening(body: &[u8]) -> Result<Opening, Undecodable> {
    if body.len() > MAX_OPENING {
        return Err(Undecodable::OverLimit { what: "first frame", size: body.len(), limit: MAX_OPENING });
    }
    let opening = codec::decode(body)?;
    match &opening {
        Opening::Hello { versions, .. } if versions.is_empty() => Err(Undecodable::NoVersion),
        Opening::Hello { versions, .. } if versions.len() > MAX_VERSIONS => {
            Err(Undecodable::OverLimit { what: "list of versions", size: versions.len(), limit: MAX_VERSIONS })
        }
        _ => Ok(opening),
    }
}

/// Decodes netcore's answer to an [`Opening`].
pub fn opening_reply(body: &[u8]) -> Result<OpeningReply, Undecodable> {
    Ok(codec::decode(body)?)
}

/// Decodes a plugin's frame on its control session. The caller checks payloads against their limits ([`too_large`],
/// [`payload_fits`]), since those concern one request only.
pub fn client_frame(body: &[u8]) -> Result<ClientFrame, Undecodable> {
    if let Some(Numbered { frame: 0, id, tag }) = numbered(body)
        && tag >= *REQUESTS
    {
        return Err(Undecodable::UnknownRequest { id, tag });
    }
    codec::decode(body).map_err(|error| match (error, numbered(body)) {
        (CodecError::BadText { reason }, Some(Numbered { frame: 0, id, .. })) => {
            Undecodable::BadArgument { id, reason }
        }
        (error, _) => error.into(),
    })
}

/// Decodes netcore's frame on a control session.
pub fn server_frame(body: &[u8]) -> Result<ServerFrame, Undecodable> {
    if let Some(Numbered { frame: 0, id, tag }) = numbered(body)
        && tag >= *RESPONSES
    {
        return Err(Undecodable::UnknownResponse { id, tag });
    }
    if let (Some(1), Some(tag)) = (word(body, 0), word(body, 4))
        && tag >= *EVENTS
    {
        return Err(Undecodable::UnknownEvent { tag });
    }
    Ok(codec::decode(body)?)
}

/// Whether a payload is within the limit for calls.
pub fn payload_fits(payload: &[u8]) -> bool {
    payload.len() <= MAX_PAYLOAD
}

/// Why a request fails with `too large`, if what it carries is over its limit.
pub fn too_large(request: &Request) -> Option<String> {
    let (what, payload, limit, instead) = match request {
        Request::Call { payload, .. } => ("the payload of a call", payload, MAX_PAYLOAD, "use a stream"),
        Request::Publish { payload, .. } => {
            ("a gossip message", payload, MAX_GOSSIP, "publish where it can be had instead")
        }
        Request::PutImmutable { value, .. } | Request::PutOwn { value, .. } => {
            ("the value of a record", value, MAX_VALUE, "put where it can be had instead")
        }
        Request::PutSigned { record, .. } => {
            ("the value of a record", &record.value, MAX_VALUE, "put where it can be had instead")
        }
        Request::SendDatagram { payload, .. } => ("a datagram", payload, MAX_DATAGRAM, "use a stream or a call"),
        _ => return None,
    };
    let length = payload.0.len();
    (length > limit).then(|| format!("{what} has at most {limit} bytes, this one {length}: {instead}"))
}

/// The start of a `Request` or `Response` frame: the frame's tag, the id, the tag of the request or response.
struct Numbered {
    frame: u32,
    id: u64,
    tag: u32,
}

fn numbered(body: &[u8]) -> Option<Numbered> {
    let id = u64::from_le_bytes(*body.get(4..)?.first_chunk()?);
    Some(Numbered { frame: word(body, 0)?, id, tag: word(body, 12)? })
}

fn word(body: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*body.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `Request` or `Response` frame that ends after the tag of the request or response.
    fn numbered_frame(id: u64, tag: u32) -> Vec<u8> {
        [&0u32.to_le_bytes()[..], &id.to_le_bytes(), &tag.to_le_bytes()].concat()
    }

    fn event_frame(tag: u32) -> Vec<u8> {
        [1u32.to_le_bytes(), tag.to_le_bytes()].concat()
    }

    #[test]
    fn unknown_request_keeps_its_id_and_is_not_malformed() {
        let body = [&numbered_frame(77, *REQUESTS), &b"anything"[..]].concat();
        assert!(matches!(client_frame(&body), Err(Undecodable::UnknownRequest { id: 77, tag }) if tag == *REQUESTS));
        let last = client_frame(&numbered_frame(1, *REQUESTS - 1));
        assert!(!matches!(last, Err(Undecodable::UnknownRequest { .. })), "the last kind of the enum is known");
    }

    #[test]
    fn unknown_response_and_event_are_told_apart_from_broken_ones() {
        let body = numbered_frame(5, *RESPONSES);
        assert!(matches!(server_frame(&body), Err(Undecodable::UnknownResponse { id: 5, .. })));
        let body = [&event_frame(*EVENTS), &b"later"[..]].concat();
        assert!(matches!(server_frame(&body), Err(Undecodable::UnknownEvent { tag }) if tag == *EVENTS));
        let body = [2u32.to_le_bytes(), 0u32.to_le_bytes()].concat();
        assert!(matches!(server_frame(&body), Err(Undecodable::Malformed(_))));
        assert!(matches!(client_frame(&[]), Err(Undecodable::Malformed(_))));

        let last = server_frame(&numbered_frame(5, *RESPONSES - 1));
        assert!(!matches!(last, Err(Undecodable::UnknownResponse { .. })), "the last kind of the enum is known");
        let last = server_frame(&event_frame(*EVENTS - 1));
        assert!(!matches!(last, Err(Undecodable::UnknownEvent { .. })), "the last kind of the enum is known");
    }

    #[test]
    fn hello_offers_1_to_32_versions() {
        let token = crate::ids::Secret([3; 32]);
        for (count, fits) in [(0, false), (1, true), (32, true), (33, false)] {
            let mut body = Vec::new();
            codec::encode(&Opening::Hello { versions: vec![1; count], token: token.clone() }, &mut body).expect("fits");
            let opening = opening(&body);
            assert_eq!(opening.is_ok(), fits);
            assert!(opening.err().is_none_or(|error| Failure::from(error).is(ErrorCode::Malformed)));
        }
    }

    #[test]
    fn bad_text_is_told_apart_from_a_broken_message_and_both_are_in_words() {
        let ticket = |text: &str| {
            let text = [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
            [&numbered_frame(9, 2)[..], &1u32.to_le_bytes(), &text].concat()
        };
        match client_frame(&ticket("polypeer:oops")) {
            Err(Undecodable::BadArgument { id: 9, reason }) => assert!(reason.contains("not a node id"), "{reason}"),
            other => panic!("{other:?}"),
        }
        let watch = |bytes: &[u8]| client_frame(&[&numbered_frame(1, 6)[..], bytes].concat());
        let target = client_frame(&[&numbered_frame(1, 2)[..], &9u32.to_le_bytes()].concat());
        let not_utf8 = client_frame(&[&numbered_frame(1, 9)[..], &1u64.to_le_bytes(), &[0xff]].concat());
        let long = client_frame(&[&numbered_frame(1, 9)[..], &u64::MAX.to_le_bytes()].concat());
        for (broken, words) in [
            (watch(&[]), "it ends in the middle of a field"),
            (watch(&[2]), "a bool in it is neither 0 nor 1"),
            (target, "a tag in it is unknown"),
            (not_utf8, "a string in it is not UTF-8"),
            (long, "a length in it exceeds the message"),
        ] {
            match broken {
                Err(Undecodable::Malformed(error)) => {
                    assert_eq!(error.to_string(), format!("the message is malformed: {words}"));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
