//! The accepting vectors, `messages.json`. An entry's JSON form is written by hand, or generated for a variant without
//! an entry; its hex is generated. Files of vectors only grow: an entry whose bytes would change is an error.

use serde::Deserialize;
use serde_json::Value;

use crate::Error;
use crate::message::Message;
use crate::schema::{Schema, snake};

/// Path of the vectors from the root of the repository.
pub const PATH: &str = "ipc-protocol/vectors/v1/messages.json";

/// One accepting vector.
#[derive(Debug, Clone, Deserialize)]
pub struct Vector {
    /// Unique among the vectors.
    pub name: String,
    /// The message type, one of [`ROOTS`](crate::message::ROOTS).
    #[serde(rename = "type")]
    pub kind: String,
    /// The body of a frame, hexadecimal; absent in a new entry.
    pub hex: Option<String>,
    /// The JSON form.
    pub json: Value,
}

impl Vector {
    /// Decodes the JSON form.
    pub fn message(&self) -> Result<Message, Error> {
        Message::from_json(&self.kind, &self.json).map_err(|error| self.error(&error))
    }

    /// Encodes the message: the body of a frame.
    pub fn bytes(&self) -> Result<Vec<u8>, Error> {
        self.message()?.to_bytes().map_err(|error| self.error(&error))
    }

    fn error(&self, what: &str) -> Error {
        Error::Vectors(format!("{}: {what}", self.name))
    }
}

/// The vectors of a file, each with its hex, and one more for each variant without a vector.
pub fn complete(text: &str, schema: &Schema) -> Result<Vec<Vector>, Error> {
    let mut vectors: Vec<Vector> = serde_json::from_str(text).map_err(|error| Error::Vectors(error.to_string()))?;
    let mut seen = seen(&vectors)?;
    for missing in schema.variants() {
        if seen.has(&missing) {
            continue;
        }
        let (kind, json) = schema.sample_of(&missing);
        let mut name = snake(&missing.variant);
        if vectors.iter().any(|vector| vector.name == name) {
            name = format!("{name}_{}", snake(&missing.container));
        }
        vectors.push(Vector { name, kind: kind.to_owned(), hex: None, json });
        seen = self::seen(&vectors)?;
    }
    for vector in &mut vectors {
        let hex = data_encoding::HEXLOWER.encode(&vector.bytes()?);
        if vector.hex.as_ref().is_some_and(|before| *before != hex) {
            return Err(vector.error(
                "its bytes would change, which breaks every program in use. Before the first release, delete its hex to \
                 allow that",
            ));
        }
        vector.hex = Some(hex);
    }
    Ok(vectors)
}

/// The types and variants that the vectors contain.
fn seen(vectors: &[Vector]) -> Result<Schema, Error> {
    let messages = vectors.iter().map(Vector::message).collect::<Result<Vec<_>, _>>()?;
    Ok(Schema::of(&messages))
}

/// The file, one line for each member of an entry.
pub fn to_text(vectors: &[Vector]) -> String {
    let entry = |Vector { name, kind, hex, json }: &Vector| {
        let hex = hex.as_deref().unwrap_or_default();
        format!(
            "  {{\n    \"name\": \"{name}\",\n    \"type\": \"{kind}\",\n    \"hex\": \"{hex}\",\n    \"json\": {json}\n  }}"
        )
    };
    let entries: Vec<_> = vectors.iter().map(entry).collect();
    format!("[\n{}\n]\n", entries.join(",\n"))
}
