//! How a line of the log looks.

use std::fmt::{self, Write};
use std::time::SystemTime;

use anstyle::AnsiColor;
use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::stderr;
use crate::config::{CORE, Format};
use crate::log_files::timestamp;
use crate::process::log::MODULE;
use crate::terminal::{push_clean, shows_colors};

/// Target of the daemon's own lines.
const DAEMON: &str = "daemon";
/// The crate whose lines these are.
const OWN_CRATE: &str = "polypeer_supervisor";

/// A form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// With the time of day, UTC.
    Terminal { color: bool },
    /// With date and time, UTC.
    Text,
    /// With a priority in front (sd-daemon(3)) and no time, which the journal has itself.
    Journal,
    /// One object a line.
    Json,
}

impl Form {
    /// The form on stderr.
    pub(super) fn of_stderr(format: Format) -> Self {
        match format {
            Format::Json => Self::Json,
            Format::Text if stderr::is_journal() => Self::Journal,
            Format::Text if stderr::is_terminal() => Self::Terminal { color: shows_colors(&std::io::stderr()) },
            Format::Text => Self::Text,
        }
    }
}

/// One event.
#[derive(Debug)]
pub(super) struct Record {
    time: SystemTime,
    level: Level,
    /// `daemon` or `netcore`, then the module.
    target: String,
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Record {
    /// A line that was said to the operator.
    pub(super) fn said(level: Level, message: &str) -> Self {
        let (target, message) = (DAEMON.to_owned(), message.to_owned());
        Self { time: SystemTime::now(), level, target, message, fields: Vec::new() }
    }

    pub(super) fn of(event: &Event<'_>) -> Self {
        let metadata = event.metadata();
        let target = match metadata.target().strip_prefix(OWN_CRATE) {
            Some(module) => format!("{DAEMON}{module}"),
            None => metadata.target().to_owned(),
        };
        let mut record = Self { target, ..Self::said(*metadata.level(), "") };
        event.record(&mut record);
        record
    }

    /// The line, with its end.
    pub(super) fn line(&self, form: Form) -> String {
        let level = self.level.as_str();
        match form {
            Form::Terminal { color } => {
                let style = match self.level {
                    Level::ERROR => AnsiColor::Red.on_default().bold(),
                    Level::WARN => AnsiColor::Yellow.on_default(),
                    _ => anstyle::Style::new(),
                };
                let (on, off) =
                    if color { (style.render().to_string(), style.render_reset().to_string()) } else { <_>::default() };
                let time = timestamp(self.time);
                format!("{} {on}{level:<5}{off} {}\n", &time[11..19], self.text())
            }
            Form::Text => format!("{} {level:<5} {}\n", timestamp(self.time), self.text()),
            Form::Journal => format!("<{}>{}\n", priority(self.level), self.text()),
            Form::Json => {
                let fields: Map<String, Value> =
                    self.fields.iter().map(|(name, value)| ((*name).to_owned(), value.as_str().into())).collect();
                let mut object = json!({
                    "time": timestamp(self.time),
                    "level": level.to_lowercase(),
                    "target": self.target,
                    "message": self.message,
                });
                if !fields.is_empty() {
                    object["fields"] = fields.into();
                }
                format!("{object}\n")
            }
        }
    }

    /// Message and fields on one line. Lines of the network core say so; the module is shown to whoever debugs.
    fn text(&self) -> String {
        let mut text = match self.level {
            Level::DEBUG | Level::TRACE => format!("{}: ", self.target),
            _ if self.target.starts_with(CORE) => format!("{CORE}: "),
            _ => String::new(),
        };
        push_clean(&mut text, &self.message);
        for (name, value) in &self.fields {
            text.push(' ');
            text.push_str(name);
            text.push('=');
            push_clean(&mut text, value);
        }
        text
    }
}

impl Visit for Record {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(value),
            MODULE if self.target == CORE => {
                if !value.is_empty() {
                    self.target = format!("{CORE}::{value}");
                }
            }
            name => self.fields.push((name, value.to_owned())),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        let _ = write!(text, "{value:?}"); // Writing to a text does not fail.
        self.record_str(field, &text);
    }
}

/// The level as a priority of syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(level: Level, target: &str, message: &str) -> Record {
        Record { target: target.into(), time: SystemTime::UNIX_EPOCH, ..Record::said(level, message) }
    }

    #[test]
    fn each_form_has_one_time_at_most_and_the_level_once() {
        let mut warning = record(Level::WARN, "daemon::supervise", "two\nlines");
        warning.fields.push(("plugin", "chat".into()));
        for (form, line) in [
            (Form::Text, "1970-01-01T00:00:00.000Z WARN  two\\nlines plugin=chat\n"),
            (Form::Terminal { color: false }, "00:00:00 WARN  two\\nlines plugin=chat\n"),
            (Form::Terminal { color: true }, "00:00:00 \u{1b}[33mWARN \u{1b}[0m two\\nlines plugin=chat\n"),
            (Form::Journal, "<4>two\\nlines plugin=chat\n"),
        ] {
            assert_eq!(warning.line(form), line);
        }
        let json: Value = serde_json::from_str(&warning.line(Form::Json)).expect("an object");
        let expected = json!({
            "time": "1970-01-01T00:00:00.000Z", "level": "warn", "target": "daemon::supervise", "message": "two\nlines",
            "fields": { "plugin": "chat" },
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn lines_of_the_network_core_are_marked_and_modules_shown_for_debugging() {
        let text = |level, target| record(level, target, "up").line(Form::Journal);
        assert_eq!(text(Level::INFO, "netcore::peers"), "<6>netcore: up\n");
        assert_eq!(text(Level::DEBUG, "netcore::peers"), "<7>netcore::peers: up\n");
        assert_eq!(text(Level::TRACE, "daemon::store"), "<7>daemon::store: up\n");
        assert_eq!(text(Level::ERROR, "daemon::store"), "<3>up\n");
    }
}
