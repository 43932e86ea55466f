//! The table has every key, and `docs/config.example.toml` is the example that it makes.

use serde_json::Value;

use super::{Configuration, DaemonConfig, Flags, Keys, example, table};
use crate::home::Home;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/config.example.toml");

fn load(text: &str) -> DaemonConfig {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let home = Home::at(folder.path());
    std::fs::write(home.config_file(), text).expect("written");
    Configuration::load(&home, &Flags::default()).unwrap_or_else(|error| panic!("{error}")).config
}

/// The paths of all values but those of tables that people fill themselves.
fn keys_of(values: &Value, below: &str, keys: &mut Vec<String>) {
    for (name, value) in values.as_object().expect("a section") {
        let key = if below.is_empty() { name.clone() } else { format!("{below}.{name}") };
        match value {
            Value::Object(_) if key != "log.targets" => keys_of(value, &key, keys),
            _ => keys.push(key),
        }
    }
}

#[test]
fn every_key_is_in_the_table_once() {
    let mut expected = Vec::new();
    keys_of(&serde_json::to_value(Keys::default()).expect("plain data"), "", &mut expected);
    expected.extend(crate::manifest::LIMITS.iter().map(|limit| format!("limits.{}", limit.key)));
    let mut keys: Vec<String> = table::rows().map(|(key, _)| key).collect();
    expected.sort();
    keys.sort();
    assert_eq!(keys, expected);
}

#[test]
fn example_means_the_defaults_and_each_of_its_keys_can_be_used() {
    let text = example::text();
    assert_eq!(load(&text), DaemonConfig::default());
    let is_key = |line: &str| line.starts_with('#') && !line.starts_with("# ");
    let used: Vec<&str> = text.lines().map(|line| if is_key(line) { &line[1..] } else { line }).collect();
    load(&used.join("\n"));
    assert_eq!(text.lines().filter(|line| is_key(line)).count(), table::rows().count());
}

#[test]
fn example_in_the_docs_is_that_of_the_table() {
    let page = std::fs::read_to_string(PAGE).expect("docs/config.example.toml");
    assert!(page == example::text(), "docs/config.example.toml is stale; run: make generate");
}

#[test]
#[ignore = "writes the file; make generate runs it"]
fn reference_is_written() {
    std::fs::write(PAGE, example::text()).expect("docs/config.example.toml is written");
}
