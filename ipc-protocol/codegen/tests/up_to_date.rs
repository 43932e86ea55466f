//! Every generated file is up to date.

use polypeer_codegen::schema::Schema;
use polypeer_codegen::{generate, read, spec, vectors};

fn check(path: &str) {
    let file = generate().into_iter().find(|file| file.path == path).expect("it is a generated file");
    let text = file.text.expect("the file can be generated");
    assert!(read(path).is_ok_and(|found| found == text), "{path} is stale: run make generate");
}

/// Checks one generated part of `SPEC.md`.
fn check_specification(part: impl FnOnce(&str) -> Result<String, polypeer_codegen::Error>) {
    let text = read(spec::PATH).expect("SPEC.md is there");
    let expected = part(&text).expect("SPEC.md can be generated");
    assert!(text == expected, "{} is stale: run make generate", spec::PATH);
}

fn vectors_now() -> Vec<vectors::Vector> {
    let text = read(vectors::PATH).expect("the vectors are there");
    serde_json::from_str(&text).expect("the vectors are entries")
}

#[test]
fn schema_is_that_of_the_types() {
    check("ipc-protocol/schema.json");
}

#[test]
fn python_messages_are_those_of_the_schema() {
    check("sdk-python/polypeer/_messages.py");
}

#[test]
fn go_messages_are_those_of_the_schema() {
    check("sdk-go/messages_generated.go");
}

#[test]
fn vectors_are_those_of_the_messages() {
    check(vectors::PATH);
}

#[test]
fn vectors_hold_every_variant() {
    let messages: Vec<_> = vectors_now().iter().map(|vector| vector.message().expect("valid")).collect();
    assert!(Schema::of(&messages) == Schema::trace(), "a variant has no vector: run make generate");
}

#[test]
fn hex_in_the_specification_is_that_of_the_messages() {
    check_specification(|text| spec::with_hex(text, &Schema::trace(), &vectors_now()));
}

#[test]
fn tables_of_types_are_those_of_the_schema() {
    check_specification(|text| spec::with_types(text, &Schema::trace()));
}

#[test]
fn table_of_codes_is_that_of_the_code() {
    check_specification(spec::with_codes);
}

#[test]
fn table_of_limits_is_that_of_the_code() {
    check_specification(spec::with_limits);
    let title = format!("# The gateway protocol, version {}\n", polypeer_ipc_protocol::limits::VERSION);
    assert!(read(spec::PATH).is_ok_and(|text| text.starts_with(&title)));
}

#[test]
fn every_file_is_checked() {
    let checked = [
        "ipc-protocol/schema.json",
        "sdk-python/polypeer/_messages.py",
        "sdk-go/messages_generated.go",
        spec::PATH,
        vectors::PATH,
    ];
    let generated: Vec<_> = generate().into_iter().map(|file| file.path).collect();
    assert_eq!(generated, checked);
}
