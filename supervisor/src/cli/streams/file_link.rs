//! Links to files: `polypeer-file:HASH/NAME?size=N&from=TICKET`. The hash is BLAKE3 of the content, 64 hex digits; name
//! and tickets are percent-encoded; `from` may be repeated. Unknown parts are skipped, so that later versions can add
//! some. The app `files` has its own code for the same format.

use std::fmt;
use std::str::FromStr;

use polypeer_ipc_protocol::ticket::Ticket;

/// The scheme of a link.
pub const PREFIX: &str = "polypeer-file:";
/// Longest link, bytes.
const MAX_LINK: usize = 16 << 10;
/// Longest name, bytes: the limit of file systems, with room for `.part`.
const MAX_NAME: usize = 240;
/// Most tickets in a link; further ones are skipped.
const MAX_FROM: usize = 8;

/// A file, named by its hash, and nodes that offer it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLink {
    /// BLAKE3 of the content, 64 hex digits.
    pub hash: String,
    /// File name: one path component without control characters.
    pub name: String,
    /// Size, bytes, if known.
    pub size: Option<u64>,
    /// Nodes that offer it.
    pub from: Vec<Ticket>,
}

/// `text` with everything but letters, digits, `-`, `.`, `_` and `~` as `%XX` (RFC 3986, section 2.3).
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = after;
            continue;
        }
        let (digits, after) = after.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

/// Whether `name` can be a file in the working folder and nothing else.
pub fn is_safe_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_NAME
        && name != "."
        && name != ".."
        && !name.contains(['/', '\\'])
        && !name.chars().any(char::is_control)
}

impl fmt::Display for FileLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}/{}", self.hash, encoded(&self.name))?;
        let mut mark = '?';
        if let Some(size) = self.size {
            write!(f, "{mark}size={size}")?;
            mark = '&';
        }
        for ticket in &self.from {
            write!(f, "{mark}from={}", encoded(&ticket.to_string()))?;
            mark = '&';
        }
        Ok(())
    }
}

impl FromStr for FileLink {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let shape = || format!("expected a link such as {PREFIX}HASH/NAME?from=TICKET");
        if text.len() > MAX_LINK {
            return Err(format!("a link has at most {MAX_LINK} bytes"));
        }
        let body = text.strip_prefix(PREFIX).ok_or_else(shape)?;
        let (path, query) = body.split_once('?').unwrap_or((body, ""));
        let (hash, name) = path.split_once('/').ok_or_else(shape)?;
        if hash.len() != 64 || !hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err("the hash in the link is not 64 hexadecimal digits".into());
        }
        let name = decoded(name).filter(|name| is_safe_name(name)).ok_or("the name in the link is not a file name")?;
        let mut link = Self { hash: hash.into(), name, size: None, from: Vec::new() };
        for part in query.split('&') {
            match part.split_once('=') {
                Some(("size", size)) => {
                    link.size = Some(size.parse().map_err(|_| "the size in the link is not a number")?)
                }
                Some(("from", ticket)) if link.from.len() < MAX_FROM => {
                    let ticket = decoded(ticket).ok_or("a ticket in the link is not correctly encoded")?;
                    link.from.push(ticket.parse().map_err(|error| format!("a ticket in the link is wrong: {error}"))?);
                }
                _ => {}
            }
        }
        Ok(link)
    }
}

#[cfg(test)]
mod tests {
    use polypeer_ipc_protocol::ids::NodeId;

    use super::*;

    const HASH: &str = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";

    #[test]
    fn link_reads_back_whatever_the_name_is() {
        let ticket = Ticket { node: NodeId([5; 32]), addresses: vec!["[::1]:7".parse().expect("an address")] };
        for name in ["a.txt", "mit Leerzeichen & Umläuten?.txt", "100%.pdf", "..."] {
            let link = FileLink { hash: HASH.into(), name: name.into(), size: Some(12), from: vec![ticket.clone(); 2] };
            assert_eq!(link.to_string().parse(), Ok(link));
        }
        let bare = format!("{PREFIX}{HASH}/a").parse::<FileLink>().expect("enough");
        assert_eq!((bare.size, bare.from.len()), (None, 0));
        assert!(format!("{PREFIX}{HASH}/a?later=1&size=3").parse::<FileLink>().is_ok_and(|link| link.size == Some(3)));
    }

    #[test]
    fn names_that_leave_the_folder_and_broken_links_are_refused() {
        for name in ["..", ".", "", "a%2Fb", "%2e%2e", "a%5Cb", "a%00", "a%0Ab", "%ff", "%4", "%+1"] {
            assert!(format!("{PREFIX}{HASH}/{name}").parse::<FileLink>().is_err(), "{name}");
        }
        let bad =
            ["http://x", &format!("{PREFIX}{HASH}"), &format!("{PREFIX}abc/a"), &format!("{PREFIX}{HASH}/a?size=x")];
        for text in bad {
            assert!(text.parse::<FileLink>().is_err(), "{text}");
        }
        assert!(format!("{PREFIX}{HASH}/a?from=nobody").parse::<FileLink>().is_err());
    }
}
