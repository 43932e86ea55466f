//! The tables of `docs/manifest.md` follow from [`PERMISSIONS`] and [`LIMITS`]. With `POLYPEER_BLESS=1` in the
//! environment the test writes them instead of comparing.

use std::path::Path;

use super::limits::{LIMITS, Limit, Limits};
use super::permissions::PERMISSIONS;

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

#[test]
fn reference_is_that_of_the_tables() {
    let path = Path::new(PAGE);
    let page = std::fs::read_to_string(path).expect("docs/manifest.md");
    let expected = with_table(&with_table(&page, "permissions", &permissions()), "limits", &limits());
    if std::env::var_os("POLYPEER_BLESS").is_some() {
        std::fs::write(path, expected).expect("docs/manifest.md is written");
    } else {
        assert!(page == expected, "docs/manifest.md is stale; run: make generate");
    }
}
