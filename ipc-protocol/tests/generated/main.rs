//! `schema.json`, the accepting vectors, the hex in `SPEC.md` and the message types of the Python and Go SDKs, made from the Rust types.
//! Fails when a file is not what would be made now; `POLYPEER_BLESS=1 cargo test -p polypeer-ipc-protocol --test generated` makes them anew.

mod go;
mod python;
mod schema;
mod services;
mod spec;
mod vectors;

use std::path::{Path, PathBuf};

use schema::Schema;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the repository").to_owned()
}

/// Compares a file with what it should be, or writes it.
fn check(path: &str, expected: &str) {
    let file = repository().join(path);
    if std::env::var_os("POLYPEER_BLESS").is_some() {
        std::fs::create_dir_all(file.parent().expect("it is in a folder")).expect("the folder can be made");
        std::fs::write(&file, expected).expect("the file can be written");
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == expected,
        "{path} is stale: run POLYPEER_BLESS=1 cargo test -p polypeer-ipc-protocol --test generated"
    );
}

#[test]
fn schema_is_that_of_the_types() {
    check("ipc-protocol/schema.json", &Schema::trace().to_json());
}

#[test]
fn python_messages_are_those_of_the_schema() {
    check("sdk-python/polypeer/_messages.py", &python::generate(&Schema::trace()));
}

#[test]
fn go_messages_are_those_of_the_schema() {
    check("sdk-go/messages_generated.go", &go::generate(&Schema::trace()));
}

#[test]
fn vectors_are_those_of_the_messages() {
    check("ipc-protocol/vectors/v1/messages.json", &vectors::file());
}

#[test]
fn vectors_hold_every_variant() {
    assert!(Schema::of(&vectors::messages()) == Schema::trace(), "a variant has no vector");
}

#[test]
fn hex_in_the_specification_is_that_of_the_messages() {
    check("ipc-protocol/SPEC.md", &spec::with_hex(&Schema::trace()));
}
