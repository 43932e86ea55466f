//! The generated parts of `SPEC.md`: the tables of types, codes and limits, and the hex of every message. The last
//! column of a table is prose, written by hand: a row's key column identifies it, and its prose is kept.

use std::collections::HashMap;

use polypeer_ipc_protocol::error::ErrorCode;
use polypeer_ipc_protocol::limits;
use serde_reflection::Format;

use crate::Error;
use crate::schema::{NATURAL, Schema, Shape, Variant, snake};
use crate::vectors::Vector;

/// Path of the specification from the root of the repository.
pub const PATH: &str = "ipc-protocol/SPEC.md";

const BEGIN: &str = "<!-- made by `make generate` -->\n";
const END: &str = "<!-- end -->\n";

/// A table without its prose: the heading above it, the cells of each row, and the column that identifies a row.
struct Table {
    heading: String,
    key: usize,
    rows: Vec<Vec<String>>,
}

/// The text with every generated part.
pub(crate) fn complete(text: &str, schema: &Schema, vectors: &[Vector]) -> Result<String, Error> {
    with_hex(&with_limits(&with_codes(&with_types(text, schema)?)?)?, schema, vectors)
}

/// The text with the tables of all types.
pub fn with_types(text: &str, schema: &Schema) -> Result<String, Error> {
    schema.order().into_iter().try_fold(text.to_owned(), |text, name| {
        let (key, rows) = match schema.shape(&name) {
            Shape::Struct(fields) => {
                (0, fields.iter().map(|(field, format)| vec![format!("`{field}`"), type_text(format)]).collect())
            }
            Shape::Enum(variants) => (
                1,
                variants
                    .iter()
                    .map(|variant| vec![variant.tag.to_string(), format!("`{}`", variant.name), fields_text(variant)])
                    .collect(),
            ),
        };
        with_table(&text, &Table { heading: format!("### {name}"), key, rows })
    })
}

/// The text with the table of error codes.
pub fn with_codes(text: &str) -> Result<String, Error> {
    let row = |code: &ErrorCode| vec![code.number().to_string(), format!("{:#08x}", code.number()), code.text().into()];
    let rows = ErrorCode::ALL.iter().map(row).collect();
    with_table(text, &Table { heading: "## 12. Codes".to_owned(), key: 2, rows })
}

/// The text with the table of limits.
pub fn with_limits(text: &str) -> Result<String, Error> {
    let bytes = |count: usize| format!("{} bytes", thousands(count));
    let seconds = |time: std::time::Duration| format!("{} s", time.as_secs());
    let hours = |seconds: u32| format!("{} h", seconds / 3600);
    let rows = [
        ("body of a frame", bytes(limits::MAX_FRAME)),
        ("first frame", bytes(limits::MAX_OPENING)),
        ("payload of a data frame", bytes(limits::MAX_DATA)),
        ("payload of a call or reply", bytes(limits::MAX_PAYLOAD)),
        ("requests without an answer", limits::MAX_REQUESTS.to_string()),
        ("calls waiting for a session's answer", limits::MAX_CALLS.to_string()),
        ("streams announced and not claimed", limits::MAX_UNCLAIMED.to_string()),
        ("connections of a launch kept for the next opening", limits::MAX_IDLE_CONNECTIONS.to_string()),
        ("connections of a session waiting for a stream", limits::MAX_IDLE_CONNECTIONS.to_string()),
        ("listeners of a session", limits::MAX_LISTENERS.to_string()),
        ("versions in a `Hello`", limits::MAX_VERSIONS.to_string()),
        ("protocol or pattern", bytes(limits::MAX_PROTOCOL)),
        ("name of a topic or record", bytes(limits::MAX_NAME)),
        ("value of a record", bytes(limits::MAX_VALUE)),
        ("life of a record", hours(limits::MAX_RECORD_LIFETIME)),
        ("names a plugin provides", limits::MAX_PROVIDED.to_string()),
        ("providers in an answer", limits::MAX_PROVIDERS.to_string()),
        ("payload of a gossip message", bytes(limits::MAX_GOSSIP)),
        ("topics of a session", limits::MAX_TOPICS.to_string()),
        ("messages waiting for a session's verdict", limits::MAX_UNJUDGED.to_string()),
        ("time for a verdict", seconds(limits::JUDGE_TIMEOUT)),
        ("payload of a datagram", bytes(limits::MAX_DATAGRAM)),
        ("protocols of datagrams of a session", limits::MAX_LISTENERS.to_string()),
        ("text of a failure", bytes(limits::MAX_MESSAGE)),
        ("ticket", bytes(limits::MAX_TICKET)),
        ("addresses in a ticket", limits::MAX_TICKET_ADDRESSES.to_string()),
        ("time for the first frame", seconds(limits::FIRST_FRAME_TIMEOUT)),
        ("time to claim a stream", seconds(limits::CLAIM_TIMEOUT)),
        ("time to end a stopped stream", seconds(limits::FINISH_TIMEOUT)),
        ("hold for a listener that comes back", seconds(limits::RESTART_HOLD)),
        ("`timeout_ms` of 0", seconds(limits::DEFAULT_TIMEOUT)),
    ];
    let rows = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    with_table(text, &Table { heading: "## 13. Limits".to_owned(), key: 0, rows })
}

/// The text with the hex of every vector.
pub fn with_hex(text: &str, schema: &Schema, vectors: &[Vector]) -> Result<String, Error> {
    let missing = |what: &str| Error::Specification(format!("the line {:?} is missing", what.trim_end()));
    let (before, rest) = text.split_once(BEGIN).ok_or_else(|| missing(BEGIN))?;
    let (_, after) = rest.split_once(END).ok_or_else(|| missing(END))?;
    let mut out = format!("{before}{BEGIN}\n| message | body |\n| --- | --- |\n");
    for vector in vectors {
        let (bytes, mut groups) = (vector.bytes()?, Vec::new());
        let rest = spaced(schema, &Format::TypeName(vector.kind.clone()), &bytes, &mut groups);
        assert!(rest.is_empty(), "{} was walked to its end", vector.name);
        let name = vector.name.replace('_', " ");
        out += &format!("| {}: {name} | `{}` |\n", vector.kind, groups.join(" "));
    }
    Ok(format!("{out}\n{END}{after}"))
}

/// Replaces the rows of a table, keeping the prose of each.
fn with_table(text: &str, Table { heading, key, rows }: &Table) -> Result<String, Error> {
    let problem = |what: &str| Error::Specification(format!("{what} under the heading {heading:?}"));
    let (before, section) =
        text.split_once(&format!("\n{heading}\n")).ok_or_else(|| problem("no section and table"))?;
    let (lead, table) = section.split_once("\n|").ok_or_else(|| problem("no table"))?;
    if lead.contains("\n#") {
        return Err(problem("no table"));
    }
    let (table, after) = table.split_once("\n\n").unwrap_or((table, ""));
    let mut lines = table.split('\n');
    let (Some(head), Some(line)) = (lines.next(), lines.next()) else { return Err(problem("no head of a table")) };
    let columns = head.matches('|').count();
    let mut prose = HashMap::new();
    for row in lines {
        let row = row.trim_start_matches('|').trim_end_matches('|');
        let cells: Vec<_> = row.splitn(columns, '|').map(str::trim).collect();
        if cells.len() == columns {
            prose.insert(cells[*key], cells[columns - 1]);
        }
    }
    let mut out = format!("{before}\n{heading}\n{lead}\n|{head}\n{line}");
    for row in rows {
        let about = &row[*key];
        let meaning = prose
            .get(about.as_str())
            .filter(|meaning| !meaning.is_empty())
            .ok_or_else(|| problem(&format!("add `{}`", blank_row(columns, *key, about))))?;
        out += &format!("\n| {} | {meaning} |", row.join(" | "));
    }
    Ok(format!("{out}\n\n{after}"))
}

/// A row with only its key, for an error.
fn blank_row(columns: usize, key: usize, about: &str) -> String {
    let cell = |column| match column {
        _ if column == key => format!(" {about} |"),
        _ if column == columns - 1 => " its meaning |".to_owned(),
        _ => " |".to_owned(),
    };
    format!("|{}", (0..columns).map(cell).collect::<String>())
}

/// Walks one value of `bytes` and adds the hex of each primitive to `groups`. Returns the bytes after the value.
fn spaced<'a>(schema: &Schema, format: &Format, bytes: &'a [u8], groups: &mut Vec<String>) -> &'a [u8] {
    let mut take = |bytes: &'a [u8], count: usize| {
        let (taken, rest) = bytes.split_at(count);
        if count > 0 {
            groups.push(data_encoding::HEXLOWER.encode(taken));
        }
        (taken, rest)
    };
    let number = |bytes: &[u8]| usize::try_from(u64::from_le_bytes(bytes.try_into().expect("8 bytes"))).expect("small");
    match format {
        Format::Bool => take(bytes, 1).1,
        Format::U32 => take(bytes, 4).1,
        Format::U64 => take(bytes, 8).1,
        Format::Str => {
            let (length, rest) = take(bytes, 8);
            take(rest, number(length)).1
        }
        Format::Seq(item) => {
            let (count, mut rest) = take(bytes, 8);
            for _ in 0..number(count) {
                rest = spaced(schema, item, rest, groups);
            }
            rest
        }
        Format::Option(item) => match take(bytes, 1) {
            ([0], rest) => rest,
            (_, rest) => spaced(schema, item, rest, groups),
        },
        Format::TypeName(name) if ["NodeId", "Secret", "Hash"].contains(&name.as_str()) => take(bytes, 32).1,
        Format::TypeName(name) if name == "Signature" => take(bytes, 64).1,
        Format::TypeName(name) if NATURAL.contains(&name.as_str()) => spaced(schema, &Format::Str, bytes, groups),
        Format::TypeName(name) => {
            let (fields, mut rest) = match schema.shape(name) {
                Shape::Struct(fields) => (fields, bytes),
                Shape::Enum(variants) => {
                    let (tag, rest) = take(bytes, 4);
                    let tag = u32::from_le_bytes(tag.try_into().expect("4 bytes"));
                    let found = variants.into_iter().find(|variant| variant.tag == tag).expect("a known tag");
                    (found.fields, rest)
                }
            };
            for (_, format) in &fields {
                rest = spaced(schema, format, rest, groups);
            }
            rest
        }
        other => unreachable!("no message has {other:?}"),
    }
}

fn type_text(format: &Format) -> String {
    match format {
        Format::Bool => "bool".into(),
        Format::U32 => "u32".into(),
        Format::U64 => "u64".into(),
        Format::Str => "string".into(),
        Format::Seq(item) => format!("list of {}", type_text(item)),
        Format::Option(item) => format!("option of {}", type_text(item)),
        Format::TypeName(name) if NATURAL.contains(&name.as_str()) => snake(name).replace('_', " "),
        Format::TypeName(name) => name.clone(),
        other => unreachable!("no message has {other:?}"),
    }
}

fn fields_text(variant: &Variant) -> String {
    match &variant.fields[..] {
        [] => "—".into(),
        [(_, format)] if variant.unnamed => type_text(format),
        fields => {
            let text = |(name, format): &(String, Format)| format!("`{name}`: {}", type_text(format));
            fields.iter().map(text).collect::<Vec<_>>().join(", ")
        }
    }
}

fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[[&str; 2]]) -> Table {
        let rows = rows.iter().map(|row| row.map(str::to_owned).to_vec()).collect();
        Table { heading: "### Path".to_owned(), key: 1, rows }
    }

    const TEXT: &str = "\n### Path\n\n| tag | variant | meaning |\n| --- | --- | --- |\n| 0 | `A` | first |\n\nmore\n";

    #[test]
    fn rows_are_those_of_the_code_and_keep_their_prose() {
        assert_eq!(with_table(TEXT, &table(&[["0", "`A`"]])).expect("as it is"), TEXT);
        let text = TEXT.replace("| 0 | `A` |", "| 7 | `A` |").replace("first |", "first |\n| 8 | `Gone` | old |");
        assert_eq!(with_table(&text, &table(&[["0", "`A`"]])).expect("made right"), TEXT);
    }

    #[test]
    fn variant_without_prose_is_an_error_that_names_it() {
        let rows = table(&[["0", "`A`"], ["1", "`B`"]]);
        let error = with_table(TEXT, &rows).expect_err("nobody says what B means");
        assert!(error.to_string().contains("| | `B` | its meaning |"), "{error}");
        let text = TEXT.replace("first |", "first |\n| | `B` | second |");
        let made = with_table(&text, &rows).expect("it says so now");
        assert!(made.contains("\n| 1 | `B` | second |\n"), "{made}");
        assert!(with_table(&TEXT.replace("Path", "Road"), &table(&[])).is_err());
    }
}
