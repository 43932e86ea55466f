//! Parser of the TOML files that people write: strict and bounded; errors have the place, what was expected and a hint.
//! Used by [`crate::manifest`] and [`crate::config`].

use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

/// Largest file read, bytes: a manifest of every key is under 4 KiB.
pub const MAX_FILE: u64 = 256 << 10;

/// Errors of [`read`] and [`parse`].
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{} does not exist", path.display())]
    Missing { path: PathBuf, hint: String },
    #[error("{} cannot be read: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    /// Over [`MAX_FILE`].
    #[error("{} has {size} bytes; the limit is {MAX_FILE}", path.display())]
    TooLarge {
        path: PathBuf,
        /// Its size, bytes.
        size: u64,
    },
    /// Invalid content.
    #[error("{}:{line}:{column}: {what}", path.display())]
    Bad {
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// The problem, and what was expected.
        what: String,
        hint: String,
    },
}

impl FileError {
    /// What to try next.
    pub fn hint(&self) -> String {
        match self {
            Self::Missing { hint, .. } | Self::Bad { hint, .. } => hint.clone(),
            Self::Read { source, .. } => match source.kind() {
                ErrorKind::InvalidData => "save it as UTF-8 text".into(),
                ErrorKind::NotADirectory => "give a folder, not a file".into(),
                _ => "check the owner and the permissions of the file and of the folders above it".into(),
            },
            Self::TooLarge { .. } => "check that this is the right file".into(),
        }
    }
}

/// A rule about several keys that the file violates.
#[derive(Debug)]
pub struct Contradiction {
    /// Path of keys to the place to point at; where a key is missing, the last existing one is used.
    pub place: Vec<String>,
    /// The problem, and what was expected.
    pub what: String,
    pub hint: String,
}

/// Reads a file of at most [`MAX_FILE`] bytes. `missing` is the hint when it does not exist.
pub fn read(path: &Path, missing: &str) -> Result<String, FileError> {
    let read_error = |source: std::io::Error| match source.kind() {
        ErrorKind::NotFound => FileError::Missing { path: path.into(), hint: missing.into() },
        _ => FileError::Read { path: path.into(), source },
    };
    let metadata = std::fs::metadata(path).map_err(read_error)?;
    if !metadata.is_file() {
        return Err(read_error(std::io::Error::other("it is not a regular file")));
    }
    if metadata.len() > MAX_FILE {
        return Err(FileError::TooLarge { path: path.into(), size: metadata.len() });
    }
    std::fs::read_to_string(path).map_err(read_error)
}

/// Parses `text`; `path` is only for messages. `reference` says where every key is explained.
pub fn parse<T: DeserializeOwned>(path: &Path, text: &str, reference: &str) -> Result<T, FileError> {
    toml::from_str(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        let (what, hint) = match wrong_type(error.message()) {
            Some(what) => {
                let key = key_at(text, span.start).map(|key| format!("{key}: ")).unwrap_or_default();
                (format!("{key}{what}"), "correct the value".into())
            }
            None => explain(error.message(), reference),
        };
        bad(path, text, span, what, hint)
    })
}

/// The error for a rule about several keys, with the place of the key in question.
pub fn contradiction(path: &Path, text: &str, found: Contradiction) -> FileError {
    bad(path, text, locate(text, &found.place), found.what, found.hint)
}

fn bad(path: &Path, text: &str, span: Range<usize>, what: String, hint: String) -> FileError {
    let before = &text[..text.floor_char_boundary(span.start)];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    FileError::Bad { path: path.into(), line, column, what, hint }
}

/// The span in `text` of the deepest existing key of `place`.
fn locate(text: &str, place: &[String]) -> Range<usize> {
    let mut found = 0..0;
    let Ok(root) = DeTable::parse(text) else { return found };
    let mut table = root.get_ref();
    for name in place {
        let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == name) else { break };
        found = key.span();
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    found
}

/// The path of the key whose value is at a position of `text`.
fn key_at(text: &str, position: usize) -> Option<String> {
    let root = DeTable::parse(text).ok()?;
    let mut table = root.get_ref();
    let mut path: Vec<String> = Vec::new();
    loop {
        let found = table.iter().find(|(key, value)| {
            // A section's span is its header; what is in it comes later.
            let within = value.span().contains(&position) || key.span().contains(&position);
            within || matches!(value.get_ref(), DeValue::Table(inner) if holds(inner, position))
        });
        let Some((key, value)) = found else { break };
        path.push(key.get_ref().to_string());
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    (!path.is_empty()).then(|| path.join("."))
}

/// Whether a value of the table, or below it, is at a position.
fn holds(table: &DeTable<'_>, position: usize) -> bool {
    table.iter().any(|(_, value)| {
        value.span().contains(&position) || matches!(value.get_ref(), DeValue::Table(inner) if holds(inner, position))
    })
}

/// Rewords a message about a value of another type than expected; `None` for other messages.
fn wrong_type(message: &str) -> Option<String> {
    let (found, expected) = message.trim().strip_prefix("invalid type: ")?.split_once(", expected ")?;
    let found = match found.split_once(' ') {
        Some(("string", text)) => format!("the text {text}"),
        Some(("integer" | "floating", rest)) => {
            format!("the number {}", rest.trim_start_matches("point ").trim_matches('`'))
        }
        Some(("boolean", value)) => value.trim_matches('`').to_owned(),
        _ if found == "map" => "a section".into(),
        _ if found == "sequence" => "a list".into(),
        _ => found.to_owned(),
    };
    let expected = match expected {
        "a boolean" => "true or false",
        "a sequence" => "a list such as [\"one\", \"two\"]",
        "a map" => "a section",
        "a string" => "a text in quotes",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number",
        other => other.strip_prefix("struct ").map_or(other, |_| "a section"),
    };
    Some(format!("expected {expected}, not {found}"))
}

/// Rewords a parser's message, with a suggestion when it looks like a typing error.
fn explain(message: &str, reference: &str) -> (String, String) {
    for (kind, ours) in [("unknown field `", "unknown key"), ("unknown variant `", "unknown value")] {
        let Some(rest) = message.strip_prefix(kind) else { continue };
        let Some((given, expected)) = rest.split_once('`') else { continue };
        let names: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
        let what = format!("{ours} {given:?}; expected one of {}", names.join(", "));
        let hint = match closest(given, &names) {
            Some(name) => format!("did you mean {name:?}?"),
            None => format!("remove it; {reference}"),
        };
        return (what, hint);
    }
    if let Some(key) = message.strip_prefix("missing field `") {
        let key = key.trim_end_matches('`');
        if key == "plugin" {
            return ("the section [plugin] is missing".into(), "begin the file with [plugin]".into());
        }
        return (format!("the key {key:?} is missing"), format!("add {key} = …"));
    }
    (message.trim().replace('\n', "; "), "correct the file and try again".into())
}

/// The name closest to `given`, if it is close enough to be a typing error.
pub fn closest<'a>(given: &str, names: &[&'a str]) -> Option<&'a str> {
    let ranked = names.iter().map(|name| (strsim::damerau_levenshtein(given, name), *name));
    ranked.min().filter(|(distance, name)| *distance <= 1 + name.len().min(given.len()) / 4).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closest_offers_a_near_name_and_nothing_far() {
        assert_eq!(closest("sreve", &["serve", "dial"]), Some("serve"));
        assert_eq!(closest("memry", &["memory", "swap"]), Some("memory"));
        assert_eq!(closest("colour", &["serve", "dial"]), None);
    }

    #[test]
    fn wrong_type_is_told_without_the_parsers_words() {
        #[derive(Debug, serde::Deserialize)]
        struct File {
            #[expect(dead_code, reason = "only its type matters")]
            names: Vec<String>,
        }
        let error = parse::<File>(Path::new("f"), "names = \"one\"", "").expect_err("no list");
        let told = "f:1:9: names: expected a list such as [\"one\", \"two\"], not the text \"one\"";
        assert_eq!(error.to_string(), told);
    }

    #[test]
    fn hint_fits_why_a_file_cannot_be_read() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("file");
        std::fs::write(&file, b"\xff").expect("writable");
        assert_eq!(read(&file, "").expect_err("no text").hint(), "save it as UTF-8 text");
        assert_eq!(read(&file.join("inside"), "").expect_err("no folder").hint(), "give a folder, not a file");
    }

    #[test]
    fn place_is_counted_in_characters_from_one() {
        let text = "# é\n[a]\n\"é\" = 1\nb = 2\n";
        let place = vec!["a".to_owned(), "b".to_owned(), "c".to_owned()];
        let found = Contradiction { place, what: "wrong".into(), hint: String::new() };
        assert_eq!(contradiction(Path::new("f"), text, found).to_string(), "f:4:1: wrong");
        let error = parse::<toml::Table>(Path::new("f"), "a = \"é\" b", "").expect_err("two values");
        assert!(error.to_string().starts_with("f:1:9: "), "{error}");
    }
}
