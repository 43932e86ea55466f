//! Code generator: writes every file that repeats the Rust types of the gateway protocol. `make generate` runs it; a
//! test fails if a file is stale.
//!
//! ```text
//! ipc-protocol/src/gateway ──serde──► schema ──┬──► ipc-protocol/schema.json
//!                                              ├──► sdk-python/polypeer/_messages.py       (python)
//!                                              ├──► sdk-go/messages_generated.go           (go)
//! ipc-protocol/vectors/v1/messages.json ───────┼──► the same, with hex and a vector for each new message (vectors)
//! ipc-protocol/SPEC.md ────────────────────────┴──► the same, with its tables and its hex (spec)
//! ```
//!
//! The last two are read before they are written: the JSON forms of the vectors and the prose of the specification are
//! written by hand. The encoding of values (integers, texts, names, lists) is not generated: it is in `codec.go` and
//! `names.go` of the Go SDK, in `_codec.py` and `_names.py` of the Python SDK.

mod go;
pub mod message;
mod python;
pub mod schema;
pub mod spec;
pub mod vectors;

use std::io;
use std::path::{Path, PathBuf};

use schema::Schema;

/// The error of generating a file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path}: {0}", path = vectors::PATH)]
    Vectors(String),
    #[error("{path}: {0}", path = spec::PATH)]
    Specification(String),
}

/// A generated file.
#[derive(Debug)]
pub struct File {
    /// Path from the root of the repository.
    pub path: &'static str,
    /// The content, or why it cannot be generated. The other files do not depend on it.
    pub text: Result<String, Error>,
}

/// The root of the repository in which this crate was compiled.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the crate lies two folders deep").to_owned()
}

/// The content of a file of the repository.
pub fn read(path: &str) -> Result<String, Error> {
    let path = repository().join(path);
    std::fs::read_to_string(&path).map_err(|source| Error::Io { path, source })
}

/// All generated files, as they should be.
pub fn generate() -> Vec<File> {
    let schema = Schema::trace();
    let vectors = || vectors::complete(&read(vectors::PATH)?, &schema);
    let specification = || spec::complete(&read(spec::PATH)?, &schema, &vectors()?);
    vec![
        File { path: "ipc-protocol/schema.json", text: Ok(schema.to_json()) },
        File { path: "sdk-python/polypeer/_messages.py", text: Ok(python::generate(&schema)) },
        File { path: "sdk-go/messages_generated.go", text: Ok(go::generate(&schema)) },
        File { path: spec::PATH, text: specification() },
        File { path: vectors::PATH, text: vectors().map(|vectors| vectors::to_text(&vectors)) },
    ]
}
