//! Links to files: `polypeer-file:HASH/NAME/size=N/from=TICKET`, or `…/as=folder` for a folder, whose content is a tar
//! archive. The hash is BLAKE3 of the content, 64 hex digits; name and tickets are percent-encoded; `from` may be
//! repeated. No character has a meaning to a shell, so that a link needs no quotes. Unknown parts are skipped, so that
//! later versions can add some. Links of earlier versions, `HASH/NAME?size=N&from=TICKET`, are read as well.

use std::fmt;
use std::path::{Component, Path};
use std::str::FromStr;

use polypeer_ipc_protocol::ticket::Ticket;

/// The scheme of a link.
pub const PREFIX: &str = "polypeer-file:";
/// Longest link, bytes.
const MAX_LINK: usize = 16 << 10;
/// Longest name, bytes: the limit of file systems, with room for `.part`.
const MAX_NAME: usize = 240;
/// Ending of the name of a folder's content.
pub const ARCHIVE: &str = ".tar";
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
    /// Whether the content is a folder's, as a tar archive.
    pub is_folder: bool,
}

impl FileLink {
    /// The name of the file or folder that `get` makes.
    pub fn output_name(&self) -> &str {
        match self.name.strip_suffix(ARCHIVE) {
            Some(name) if self.is_folder && is_safe_name(name) => name,
            _ => &self.name,
        }
    }
}

/// `text` with everything but letters, digits, `-`, `.`, `_`, `:` and `@` as `%XX`: what RFC 3986 (section 3.3) allows
/// in a path, less what a shell would change.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b':' | b'@' => out.push(char::from(byte)),
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
    name.len() <= MAX_NAME && is_plain_name(name)
}

/// Whether `name` is one component of a path, without control characters.
pub fn is_plain_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    components.next() == Some(Component::Normal(name.as_ref()))
        && components.next().is_none()
        && !name.contains('\\')
        && !name.chars().any(char::is_control)
}

impl fmt::Display for FileLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}/{}", self.hash, encoded(&self.name))?;
        if let Some(size) = self.size {
            write!(f, "/size={size}")?;
        }
        if self.is_folder {
            f.write_str("/as=folder")?;
        }
        for ticket in &self.from {
            write!(f, "/from={}", encoded(&ticket.to_string()))?;
        }
        Ok(())
    }
}

impl FromStr for FileLink {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let shape = || format!("expected a link such as {PREFIX}HASH/NAME/from=TICKET");
        if text.len() > MAX_LINK {
            return Err(format!("a link has at most {MAX_LINK} bytes"));
        }
        let body = text.strip_prefix(PREFIX).ok_or_else(shape)?;
        let (hash, rest) = body.split_once('/').ok_or_else(shape)?;
        // What separates the parts in the form of earlier versions, and in the present one.
        let (name, parts, separator) = match rest.split_once('?') {
            Some((name, parts)) => (name, parts, '&'),
            None => rest.split_once('/').map_or((rest, "", '/'), |(name, parts)| (name, parts, '/')),
        };
        if hash.len() != 64 || !hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err("the hash in the link is not 64 hexadecimal digits: is the link whole?".into());
        }
        let name = decoded(name).filter(|name| is_safe_name(name)).ok_or("the name in the link is not a file name")?;
        let mut link = Self { hash: hash.into(), name, size: None, from: Vec::new(), is_folder: false };
        for part in parts.split(separator) {
            match part.split_once('=') {
                Some(("size", size)) => {
                    link.size = Some(size.parse().map_err(|_| "the size in the link is not a number")?)
                }
                Some(("as", "folder")) => link.is_folder = true,
                Some(("from", ticket)) if link.from.len() < MAX_FROM => {
                    let ticket = decoded(ticket).ok_or("a ticket in the link is not correctly encoded")?;
                    let cut = |error| format!("a ticket in the link is wrong ({error}): is the link whole?");
                    link.from.push(ticket.parse().map_err(cut)?);
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

    fn ticket() -> Ticket {
        let addresses = vec!["[::1]:7".parse().expect("an address"), "1.2.3.4:5".parse().expect("an address")];
        Ticket { node: NodeId([5; 32]), addresses }
    }

    #[test]
    fn link_reads_back_whatever_the_name_is() {
        for name in ["a.txt", "mit Leerzeichen & Umläuten?.txt", "100%.pdf", "...", "~a[1]*$(b)=c;'d'"] {
            for is_folder in [true, false] {
                let from = vec![ticket(); 2];
                let link = FileLink { hash: HASH.into(), name: name.into(), size: Some(12), from, is_folder };
                let text = link.to_string();
                let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:@%/=".contains(&b);
                assert!(text.bytes().all(is_plain), "a shell leaves it alone: {text}");
                assert_eq!(text.parse(), Ok(link));
            }
        }
        let bare = format!("{PREFIX}{HASH}/a").parse::<FileLink>().expect("enough");
        assert_eq!((bare.size, bare.from.len()), (None, 0));
        assert!(format!("{PREFIX}{HASH}/a/later=1/size=3").parse::<FileLink>().is_ok_and(|link| link.size == Some(3)));
    }

    #[test]
    fn links_of_earlier_versions_are_read() {
        let text = format!("{PREFIX}{HASH}/a%20b?size=3&from={}&later=1", encoded(&ticket().to_string()));
        let link = text.parse::<FileLink>().expect("it is read");
        assert_eq!((link.name.as_str(), link.size, link.from), ("a b", Some(3), vec![ticket()]));
        let cut = text.split('&').next().expect("a part").parse::<FileLink>().expect("what a shell leaves of it");
        assert!(cut.from.is_empty());
    }

    #[test]
    fn folder_has_its_name_without_the_ending_of_the_archive() {
        let name = |text: &str| text.parse::<FileLink>().expect("a link").output_name().to_owned();
        assert_eq!(name(&format!("{PREFIX}{HASH}/photos.tar/as=folder")), "photos");
        assert_eq!(name(&format!("{PREFIX}{HASH}/photos.tar")), "photos.tar");
        assert_eq!(name(&format!("{PREFIX}{HASH}/...tar/as=folder")), "...tar", "`..` is no name");
    }

    #[test]
    fn names_that_leave_the_folder_and_broken_links_are_refused() {
        for name in ["..", ".", "", "a%2Fb", "%2e%2e", "a%5Cb", "a%00", "a%0Ab", "%ff", "%4", "%+1"] {
            for rest in ["", "/size=1", "?size=1"] {
                assert!(format!("{PREFIX}{HASH}/{name}{rest}").parse::<FileLink>().is_err(), "{name}");
            }
        }
        let bad =
            ["http://x", &format!("{PREFIX}{HASH}"), &format!("{PREFIX}abc/a"), &format!("{PREFIX}{HASH}/a/size=x")];
        for text in bad {
            assert!(text.parse::<FileLink>().is_err(), "{text}");
        }
        let cut = format!("{PREFIX}{HASH}/a/from=polypeer:nobo").parse::<FileLink>().expect_err("cut");
        assert!(cut.contains("whole"), "{cut}");
    }
}
