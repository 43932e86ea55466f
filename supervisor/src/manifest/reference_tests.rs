//! `docs/manifest.md` against the code. The tables of permissions and limits are generated from [`PERMISSIONS`] and
//! [`LIMITS`]. The others are written by hand: their rows must be the keys that the parser takes, and their examples
//! must be valid.

use std::path::Path;

use super::limits::{LIMITS, Limit, Limits};
use super::permissions::PERMISSIONS;
use super::{FileError, Manifest};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/manifest.md");

fn yes(enforced: bool) -> &'static str {
    if enforced { "yes" } else { "not yet" }
}

fn permissions() -> String {
    let row = |permission: &super::permissions::Permission| {
        format!("| `{}` | {} | {} |\n", permission.key, permission.meaning, yes(permission.is_enforced))
    };
    let rows: String = PERMISSIONS.iter().map(row).collect();
    format!("| key | meaning | enforced |\n| --- | --- | --- |\n{rows}")
}

fn range(limit: &Limit) -> String {
    let shown = |number: u64| limit.shown(Some(&number.into()));
    match (limit.bounds.low, limit.bounds.high) {
        (0, u64::MAX) => String::new(),
        (low, u64::MAX) => format!("at least {}", shown(low)),
        (low, high) => format!("{} to {}", shown(low), shown(high)),
    }
}

fn limits() -> String {
    let defaults = Limits::default().to_json();
    let row = |limit: &Limit| {
        let (default, enforced) = (limit.shown(defaults.get(limit.json)), yes(limit.is_enforced));
        let Limit { key, json, meaning, form, .. } = limit;
        format!("| `{key}` | {meaning} | {form} | {default} | {} | {enforced} | `{json}` |\n", range(limit))
    };
    let rows: String = LIMITS.iter().map(row).collect();
    format!(
        "| key | meaning | value | default | range | enforced | name in `--json` |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n{rows}"
    )
}

/// The page with the text between the marks of `name` replaced.
fn with_table(page: &str, name: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- {name}: generated -->\n"), format!("<!-- {name}: end -->"));
    let (before, rest) = page.split_once(&begin).expect("the mark before the table");
    let (_, after) = rest.split_once(&end).expect("the mark after the table");
    format!("{before}{begin}\n{table}\n{end}{after}")
}

/// The page as it is, and as the tables make it.
fn pages() -> (String, String) {
    let page = std::fs::read_to_string(PAGE).expect("docs/manifest.md");
    let made = with_table(&with_table(&page, "permissions", &permissions()), "limits", &limits());
    (page, made)
}

#[test]
fn reference_is_that_of_the_tables() {
    let (page, made) = pages();
    assert!(page == made, "docs/manifest.md is stale; run: make generate");
}

#[test]
#[ignore = "writes the page; make generate runs it"]
fn reference_is_written() {
    std::fs::write(PAGE, pages().1).expect("docs/manifest.md is written");
}

/// The rows of a hand-written table: key, example, and whether the row says that it is enforced.
fn rows(page: &str, section: &str) -> Vec<(String, String, bool)> {
    let begin = format!("<!-- keys: {section} -->");
    let (_, rest) = page.split_once(&begin).expect("the mark before the table");
    let (table, _) = rest.split_once("<!-- keys: end -->").expect("the mark after the table");
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 5, "{row}");
        (cells[0].trim_matches('`').into(), cells[2].trim_matches('`').into(), cells[4] == "yes")
    })
    .collect()
}

/// A small manifest with `line` in a section, in place of the line with its key.
fn manifest(section: &str, line: &str) -> Result<Manifest, FileError> {
    let key = line.split(' ').next().unwrap_or_default();
    let required = ["id = \"chat\"", "version = \"1.0.0\"", "command = [\"x\"]"];
    let mut text = String::from("[plugin]\n");
    for other in required.iter().filter(|other| section != "plugin" || other.split(' ').next() != Some(key)) {
        text += &format!("{other}\n");
    }
    text += &match section {
        "plugin" => line.to_owned(),
        "tunnel" => format!("[[tunnel]]\n{line}"),
        section => format!("[{section}]\n{line}"),
    };
    Manifest::parse(Path::new("plugin.toml"), &text)
}

#[test]
fn hand_written_tables_have_the_keys_that_are_parsed() {
    let page = std::fs::read_to_string(PAGE).expect("docs/manifest.md");
    for section in ["plugin", "restart", "health", "tunnel", "socks5", "ui"] {
        let told = manifest(section, "nonsense = 1").expect_err("an unknown key").to_string();
        let keys: Vec<_> = rows(&page, section).into_iter().map(|(key, ..)| key).collect();
        let expected = told.split_once("expected one of ").expect("the keys").1;
        assert_eq!(keys.join(", "), expected, "[{section}]");
    }
}

#[test]
fn examples_of_the_reference_are_valid_and_enforced_as_it_says() {
    let page = std::fs::read_to_string(PAGE).expect("docs/manifest.md");
    for section in ["plugin", "restart", "health", "tunnel", "socks5", "ui"] {
        for (key, example, enforced) in rows(&page, section) {
            let other = match (section, key.as_str()) {
                ("tunnel", "serve") => "\nto = \"tcp:127.0.0.1:1\"",
                ("tunnel", "to") => "\nserve = \"a/1\"",
                ("tunnel", "dial") => "\nfrom = \"tcp:127.0.0.1:1\"",
                ("tunnel", "from") => "\ndial = \"a/1\"",
                ("tunnel", "peer") => "\ndial = \"a/1\"\nfrom = \"tcp:127.0.0.1:1\"",
                _ => "",
            };
            let parsed = manifest(section, &format!("{key} = {example}{other}"));
            let parsed = parsed.unwrap_or_else(|error| panic!("[{section}] {key} = {example}: {error}"));
            let skipped = parsed.not_enforced(&parsed.limits);
            assert_eq!(skipped.is_empty(), enforced, "[{section}] {key}: {skipped:?}");
        }
    }
}
