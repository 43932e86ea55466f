//! The generator of everything that repeats the Rust types of the gateway protocol for somebody else. `make generate`
//! runs it; a test fails when a file is not what it would write now.
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
//! written by hand. How values travel (integers, texts, names, lists) is not generated: it is `codec.go` and `names.go`
//! of the Go SDK, `_codec.py` and `_names.py` of the Python SDK.

mod go;
mod python;
pub mod schema;
pub mod spec;
pub mod vectors;

use std::io;
use std::path::{Path, PathBuf};

use schema::Schema;

/// Why a file cannot be generated.
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
    /// Where it is, from the root of the repository.
    pub path: &'static str,
    /// What it should hold, if that can be said: the other files do not depend on it.
    pub text: Result<String, Error>,
}

/// The root of the repository that this crate was compiled in.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the crate lies two folders deep").to_owned()
}

/// The text of a file of the repository.
pub fn read(path: &str) -> Result<String, Error> {
    let path = repository().join(path);
    std::fs::read_to_string(&path).map_err(|source| Error::Io { path, source })
}

/// All generated files, as they should be now.
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
