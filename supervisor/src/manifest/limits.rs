//! Limits of plugins: the keys of `[limits]`, each declared once in the table below. Parsing, checking, merging, the
//! names in `--json`, the words at install and the reference in `docs/manifest.md` follow from it.
//!
//! Three sources set limits: the plugin's author in `plugin.toml`, the operator for all plugins in `config.toml`, and
//! the operator for one plugin with `polypeer plugin limit`. Each is a [`LimitSettings`]; [`Limits::resolve`] merges
//! them over the defaults. [`crate::limits`] and [`crate::process`] enforce the result.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::limit_value::{Bounds, LimitValue};
use super::values::{Percent, Quota, Rate, Size, Window};
use crate::toml_file::closest;

/// Least memory of a plugin, bytes: its init does not start with less.
pub const MIN_MEMORY: u64 = 8 << 20;

/// One limit: what is the same for every plugin.
#[derive(Debug)]
pub struct Limit {
    /// Its key in `[limits]` and for `polypeer plugin limit`.
    pub key: &'static str,
    /// Its name in `--json`, with the unit.
    pub json: &'static str,
    /// One sentence for the reference.
    pub meaning: &'static str,
    /// How its value is written.
    pub form: &'static str,
    /// The numbers it takes.
    pub bounds: Bounds,
    /// Whether this version enforces it, or only stores it.
    pub is_enforced: bool,
    /// The words at install; `{}` stands for the value. Empty for limits that are not shown there.
    words: &'static str,
    to_toml: fn(&str) -> Result<toml::Value, String>,
    shown: fn(&Value) -> String,
}

impl Limit {
    /// A value of [`Limits::to_json`] as the phrase of the install; key and value for a limit that is not shown there.
    pub fn phrase(&self, value: Option<&Value>) -> String {
        match self.words {
            "" => format!("{} {}", self.key, self.shown(value)),
            words => words.replace("{}", &self.shown(value)),
        }
    }

    /// Whether it is among those shown at install.
    pub fn is_shown_at_install(&self) -> bool {
        !self.words.is_empty()
    }

    /// A value of [`Limits::to_json`] as text for people; what is absent there is unlimited.
    pub fn shown(&self, value: Option<&Value>) -> String {
        value.map_or_else(|| "unlimited".into(), self.shown)
    }
}

/// Each row: key => name in `--json`: type = default, bounds, whether enforced, words at install.
macro_rules! limits {
    ($($(#[doc = $meaning:literal])+ $key:ident => $json:ident: $type:ty = $default:expr,
       $bounds:expr, $status:ident, $words:literal;)+) => {
        /// Every limit, in the order of the reference.
        pub const LIMITS: &[Limit] = &[$(Limit {
            key: stringify!($key),
            json: stringify!($json),
            meaning: concat!($($meaning),+).trim_ascii(),
            form: <$type as LimitValue>::FORM,
            bounds: $bounds,
            is_enforced: matches!(Status::$status, Status::Enforced),
            words: $words,
            to_toml: <$type as LimitValue>::to_toml,
            shown: <$type as LimitValue>::shown,
        }),+];

        /// The keys of all limits.
        pub const KEYS: &[&str] = &[$(stringify!($key)),+];

        /// Limits from one source; an absent one is left to the source below.
        #[derive(Debug, Clone, PartialEq, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct LimitSettings {
            $($(#[doc = $meaning])+ pub $key: Option<$type>,)+
        }

        impl LimitSettings {
            /// These settings with those of `over` in their place.
            pub fn overlaid(self, over: &Self) -> Self {
                let over = over.clone();
                Self { $($key: over.$key.or(self.$key)),+ }
            }

            /// Checks every value against its bounds.
            ///
            /// # Errors
            /// The key, and what is wrong with its value.
            pub fn check(&self) -> Result<(), (&'static str, String)> {
                $(if let Some(value) = &self.$key {
                    value.check($bounds).map_err(|what| (stringify!($key), what))?;
                })+
                Ok(())
            }

            /// The keys that restrict something and that this version does not enforce.
            pub fn not_enforced(&self) -> Vec<&'static str> {
                let restricts = [$(self.$key.as_ref().is_some_and(LimitValue::restricts)),+];
                let rows = LIMITS.iter().zip(restricts);
                rows.filter(|(limit, restricts)| *restricts && !limit.is_enforced).map(|(limit, _)| limit.key).collect()
            }
        }

        /// The limits in force: every one has a value.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Limits {
            $($(#[doc = $meaning])+ pub $json: <$type as LimitValue>::InForce,)+
        }

        impl Limits {
            /// Merges `layers`, later ones over earlier ones, all over the defaults.
            pub fn resolve(layers: &[&LimitSettings]) -> Self {
                let set = layers.iter().fold(LimitSettings::default(), |below, above| below.overlaid(above));
                Self { $($json: set.$key.map_or_else(|| $default, Into::into)),+ }
            }

            /// The object `limits` of `--json`; what is unlimited is absent.
            pub fn to_json(&self) -> Map<String, Value> {
                let mut object = Map::new();
                $(if let Some(value) = <$type as LimitValue>::to_json(&self.$json) {
                    object.insert(stringify!($json).into(), value);
                })+
                object
            }
        }
    };
}

/// Whether this version acts on a limit.
enum Status {
    Enforced,
    NotEnforced,
}

limits! {
    /// Memory of the whole process tree.
    memory => memory_bytes: Size = 256 << 20, Bounds::at_least(MIN_MEMORY), Enforced, "{} of memory";
    /// Swap space beside the memory.
    swap => swap_bytes: Size = 0, Bounds::ANY, Enforced, "{} of swap";
    /// Ceiling on processor time.
    cpu => cpu_percent: Percent = 100, Bounds::ANY, Enforced, "{} of one processor core";
    /// Share of processor time under contention.
    cpu_weight => cpu_weight: u32 = 100, Bounds::between(1, 10_000), Enforced, "";
    /// Share of disk bandwidth under contention.
    io_weight => io_weight: u32 = 100, Bounds::between(1, 10_000), NotEnforced, "";
    /// Processes and threads.
    pids => pids: u32 = 64, Bounds::between(1, 100_000), Enforced, "{} processes and threads";
    /// Open files of each process; a change applies from the next start.
    open_files => open_files: u32 = 256, Bounds::between(16, 1_048_576), Enforced, "{} open files";
    /// Size of the data folder, which the plugin is told.
    disk => disk_bytes: Size = 1 << 30, Bounds::ANY, NotEnforced, "{} on disk";
    /// Rate limit for bytes sent to peers.
    upload => upload_bytes_per_s: Rate = Rate::Unlimited, Bounds::ANY, NotEnforced, "upload {}";
    /// Rate limit for bytes received from peers.
    download => download_bytes_per_s: Rate = Rate::Unlimited, Bounds::ANY, NotEnforced, "download {}";
    /// Share of the traffic under contention.
    traffic_weight => traffic_weight: u32 = 100, Bounds::between(1, 10_000), NotEnforced, "";
    /// Whether its packets are sent first, within a small share.
    latency => latency: bool = false, Bounds::ANY, NotEnforced, "";
    /// Bytes sent and received per day, week or month.
    quota => quota: Quota = None, Bounds::ANY, NotEnforced, "";
    /// Times of day it may run in.
    schedule => schedule: Vec<Window> = Vec::new(), Bounds::ANY, NotEnforced, "";
}

impl LimitSettings {
    /// Parses one setting as the operator typed it, such as `memory=512MiB`: key, value, and settings with only that
    /// key.
    ///
    /// # Errors
    /// What is wrong and what was expected, as text.
    pub fn from_argument(argument: &str) -> Result<(String, String, Self), String> {
        let (key, value) = argument
            .split_once('=')
            .ok_or_else(|| format!("{argument:?} is not a limit; expected KEY=VALUE such as memory=512MiB"))?;
        let (key, value) = (key.trim(), value.trim());
        Ok((key.into(), value.into(), Self::from_text(key, value)?))
    }

    /// Parses the value of one key: settings with only that key.
    ///
    /// # Errors
    /// What is wrong and what was expected, as text.
    pub fn from_text(key: &str, value: &str) -> Result<Self, String> {
        let Some(limit) = LIMITS.iter().find(|limit| limit.key == key) else {
            let meant = closest(key, KEYS).map(|name| format!("; did you mean {name:?}?")).unwrap_or_default();
            return Err(format!("there is no limit {key:?}; expected one of {}{meant}", KEYS.join(", ")));
        };
        let value = (limit.to_toml)(value).map_err(|what| format!("{key}: {what}"))?;
        let table = toml::Table::from_iter([(key.to_owned(), value)]);
        let settings: Self =
            table.try_into().map_err(|error: toml::de::Error| format!("{key}: {}", error.message()))?;
        settings.check().map_err(|(key, what)| format!("{key}: {what}"))?;
        Ok(settings)
    }
}

impl Limits {
    /// The limits that are shown at install, each as a phrase with its value.
    pub fn in_words(&self) -> Vec<String> {
        let values = self.to_json();
        let shown = LIMITS.iter().filter(|limit| limit.is_shown_at_install());
        shown.map(|limit| limit.phrase(values.get(limit.json))).collect()
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::resolve(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_layers_win_and_absent_ones_fall_through() {
        let author = LimitSettings { memory: Some(Size(64 << 20)), pids: Some(10), ..Default::default() };
        let (_, _, operator) = LimitSettings::from_argument("memory=512MiB").expect("a limit");
        let limits = Limits::resolve(&[&author, &operator]);
        assert_eq!((limits.memory_bytes, limits.pids, limits.swap_bytes), (512 << 20, 10, 0));
    }

    #[test]
    fn every_key_can_be_set_by_argument_and_bad_ones_say_why() {
        let good = [
            "memory=16MiB",
            "swap=0",
            "cpu=50%",
            "cpu_weight=5",
            "io_weight=5",
            "pids=3",
            "open_files=64",
            "disk=1GiB",
            "upload=1MiB/s",
            "download=unlimited",
            "traffic_weight=1",
            "latency=true",
            "quota=1GiB/day",
            "schedule=01:00-02:00,03:00-04:00",
        ];
        for good in good {
            let (key, _, settings) = LimitSettings::from_argument(good).expect(good);
            assert!(KEYS.contains(&key.as_str()) && settings != LimitSettings::default(), "{good}");
        }
        assert_eq!(good.len(), LIMITS.len(), "one argument for each limit");
        let error = |argument| LimitSettings::from_argument(argument).expect_err("refused");
        assert!(error("memry=1MiB").contains("did you mean \"memory\""));
        assert!(error("memory=lots").contains("256MiB"));
        assert!(error("memory=1KiB").contains("at least 8MiB"));
        assert!(error("pids=0").contains("1 to 100000"));
        assert!(error("memory").contains("KEY=VALUE"));
    }

    #[test]
    fn json_has_the_unit_in_each_name_and_leaves_out_what_is_unlimited() {
        let text = |limits: &Limits| Value::from(limits.to_json()).to_string();
        assert_eq!(
            text(&Limits::default()),
            "{\"cpu_percent\":100,\"cpu_weight\":100,\"disk_bytes\":1073741824,\"io_weight\":100,\"latency\":false,\
             \"memory_bytes\":268435456,\"open_files\":256,\"pids\":64,\"schedule\":[],\"swap_bytes\":0,\
             \"traffic_weight\":100}"
        );
        let set: LimitSettings = toml::from_str(
            "upload = \"1KiB/s\"\ndownload = \"unlimited\"\nquota = \"1KiB/week\"\nschedule = [\"01:00-02:00\"]",
        )
        .expect("settings");
        let limits = Limits::resolve(&[&set]);
        for part in [
            "\"upload_bytes_per_s\":1024",
            "\"quota\":{\"bytes\":1024,\"period\":\"week\"}",
            "\"schedule\":[\"01:00-02:00\"]",
        ] {
            assert!(text(&limits).contains(part), "{part} in {}", text(&limits));
        }
        assert!(!text(&limits).contains("download"));
        assert_eq!(set.not_enforced(), ["upload", "quota", "schedule"]);
    }

    #[test]
    fn words_hold_the_values_with_their_units() {
        let words = Limits::default().in_words().join(", ");
        assert!(
            words.starts_with("256 MiB of memory, 0 B of swap, 100 % of one processor core, 64 processes"),
            "{words}"
        );
        assert!(words.ends_with("1 GiB on disk, upload unlimited, download unlimited"), "{words}");
    }
}
