//! The value of every key and where it comes from, as `polypeer config show` prints it.

use polypeer_ipc_protocol::settings::{HIGH, LOW};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{DaemonConfig, Flags, table};
use crate::manifest::{LIMITS, Limits};

/// One element of `polypeer config show`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SettingDocument {
    /// With its sections: `discovery.lan`.
    pub key: String,
    /// As in the file; null when there is none.
    pub value: Value,
    pub source: SettingSource,
}

/// Where the value of a setting comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettingSource {
    Default,
    /// `config.toml`.
    File,
    /// An option of `polypeer run`, or a level set with `polypeer log-level`.
    Flag,
}

/// Every key. `file` is the file as it is, `values` are its keys with their defaults, `config` is the result.
pub(super) fn settings(
    file: &toml::Table,
    values: &Value,
    config: &DaemonConfig,
    flags: &Flags,
) -> Vec<SettingDocument> {
    let file = serde_json::to_value(file).expect("a file's values are plain data");
    let limits = limits();
    let setting = |(key, _): (String, table::Setting)| {
        let in_file = at(&file, &key);
        let mut source = if in_file.is_some() { SettingSource::File } else { SettingSource::Default };
        let mut value = match key.strip_prefix("limits.") {
            Some(limit) => in_file.or_else(|| limits.get(limit)).cloned(),
            None => at(values, &key).cloned(),
        }
        .unwrap_or_default();
        let mut flag = |is_set: bool, of_flag: Value| {
            if is_set {
                (value, source) = (of_flag, SettingSource::Flag);
            }
        };
        match key.as_str() {
            "listen" => flag(!flags.listen.is_empty(), flags.listen.iter().map(ToString::to_string).collect()),
            "discovery.lan" => flag(flags.no_lan, false.into()),
            "log.level" => flag(flags.quiet || flags.verbose > 0, config.log.level.to_string().into()),
            _ => {}
        }
        match key.as_str() {
            "discovery.lan" if !config.net.discovery.lan && value == true => {
                (value, source) = (false.into(), SettingSource::File); // By its older name.
            }
            "peers.low" if value.is_null() => value = LOW.into(),
            "peers.high" if value.is_null() => value = HIGH.into(),
            _ => {}
        }
        SettingDocument { key, value, source }
    };
    table::rows().map(setting).collect()
}

/// The value at a path of keys such as `discovery.lan`.
fn at<'a>(values: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').try_fold(values, |value, part| value.get(part))
}

/// The defaults of the limits, as they are written in the file.
fn limits() -> Map<String, Value> {
    let in_force = Limits::default().to_json();
    let written = |limit: &crate::manifest::Limit| {
        let shown = limit.shown(in_force.get(limit.json));
        match in_force.get(limit.json) {
            Some(Value::Number(number)) if shown != number.to_string() => shown.replace(' ', "").into(),
            Some(value) => value.clone(),
            None if limit.form.contains(&shown) => shown.into(),
            None => Value::Null,
        }
    };
    LIMITS.iter().map(|limit| (limit.key.to_owned(), written(limit))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Configuration;
    use crate::home::Home;

    fn shown(text: &str, flags: &Flags) -> Vec<SettingDocument> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let home = Home::at(folder.path());
        std::fs::write(home.config_file(), text).expect("written");
        Configuration::load(&home, flags).expect("valid").settings
    }

    fn of(settings: &[SettingDocument], key: &str) -> (Value, SettingSource) {
        let found = settings.iter().find(|setting| setting.key == key).expect(key);
        (found.value.clone(), found.source)
    }

    #[test]
    fn value_and_source_of_every_key_are_told() {
        let flags = Flags { listen: vec!["127.0.0.1:0".parse().expect("an address")], verbose: 1, ..Flags::default() };
        let settings = shown("lan = false\n[limits]\nmemory = \"1GiB\"\n[log]\nlevel = \"warn\"\n", &flags);
        for (key, value, source) in [
            ("listen", serde_json::json!(["127.0.0.1:0"]), SettingSource::Flag),
            ("lan", false.into(), SettingSource::File),
            ("discovery.lan", false.into(), SettingSource::File),
            ("discovery.dht", true.into(), SettingSource::Default),
            ("discovery.resolver", Value::Null, SettingSource::Default),
            ("log.level", "info".into(), SettingSource::Flag),
            ("peers.low", 16.into(), SettingSource::Default),
            ("limits.memory", "1GiB".into(), SettingSource::File),
            ("limits.disk", "1GiB".into(), SettingSource::Default),
            ("limits.upload", "unlimited".into(), SettingSource::Default),
            ("limits.quota", Value::Null, SettingSource::Default),
        ] {
            assert_eq!(of(&settings, key), (value, source), "{key}");
        }
    }
}
