//! The commented example of `config.toml`: every key with its meaning and its default.

use serde_json::Value;

use super::{DaemonConfig, Flags, Keys, shown, table};

const HEAD: &str = "\
# Settings of a Polypeer node: config.toml in its home. Every key may be left out; here all are, with their defaults.
# `polypeer config check` checks the file, `polypeer config show` shows what applies and where it comes from.
# A key marked with (restart) applies from the next start of the daemon, the others with `polypeer reload`.
";
/// Widest line of a comment, characters.
const WIDTH: usize = 110;

/// The text of the example.
pub fn text() -> String {
    let values = serde_json::to_value(Keys::default()).expect("settings are plain data");
    let defaults = shown::settings(&toml::Table::new(), &values, &DaemonConfig::default(), &Flags::default());
    let mut text = HEAD.to_owned();
    let mut section = String::new();
    for ((key, row), setting) in table::rows().zip(&defaults) {
        let (of, name) = key.rsplit_once('.').unwrap_or(("", &key));
        if of != section {
            text += &format!("\n[{of}]\n{}", about(of));
            section = of.to_owned();
        }
        let restart = if row.is_live { "" } else { " (restart)" };
        text.push('\n');
        for line in wrapped(&format!("{}{restart}", row.meaning)) {
            text += &format!("# {line}\n");
        }
        let is_none = match &setting.value {
            Value::Null => true,
            Value::Array(values) => values.is_empty(),
            Value::Object(values) => values.is_empty(),
            _ => false,
        };
        match is_none {
            true => text += &format!("# Default: none. For example:\n#{name} = {}\n", row.example),
            // JSON's texts, numbers, booleans and lists are TOML's, too.
            false => text += &format!("#{name} = {}\n", setting.value),
        }
    }
    text
}

fn about(section: &str) -> &'static str {
    match section {
        "limits" => "# Limits of plugins that set none themselves; `polypeer plugin limit` sets those of one plugin.\n",
        "discovery" => "# Sources of peers; docs/discovery.md says what each one does and what it tells others.\n",
        _ => "",
    }
}

fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("one at least");
        match last.is_empty() || last.len() + 1 + word.len() <= WIDTH {
            true if last.is_empty() => last.push_str(word),
            true => *last += &format!(" {word}"),
            false => lines.push(word.to_owned()),
        }
    }
    lines
}
