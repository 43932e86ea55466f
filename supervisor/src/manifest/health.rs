//! `[health]`: how it is known that a plugin is ready and alive, and how long it may take.

use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::values;

/// Shortest time between two liveness checks: each costs messages, and a busy plugin needs time to answer.
const SHORTEST_LIVE_EVERY: Duration = Duration::from_secs(1);

/// `[health]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Health {
    /// Readiness check. Default: `session` for `mode = "native"`, else `none`.
    pub ready: Option<Ready>,
    /// How long it may take to be ready; then it is killed, which counts as a crash. Default 30 s.
    #[serde(deserialize_with = "duration")]
    pub ready_timeout: Duration,
    /// Liveness check. Default: none.
    pub live: Option<Live>,
    /// Interval of the liveness check, at least 1 s. Default 10 s.
    #[serde(deserialize_with = "live_every")]
    pub live_every: Duration,
    /// Time between SIGTERM and SIGKILL. Default 10 s.
    #[serde(deserialize_with = "duration")]
    pub stop_timeout: Duration,
}

impl Default for Health {
    fn default() -> Self {
        let (ten_seconds, ready_timeout) = (Duration::from_secs(10), Duration::from_secs(30));
        Self { ready: None, ready_timeout, live: None, live_every: ten_seconds, stop_timeout: ten_seconds }
    }
}

/// Readiness check of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    /// It has a control session.
    Session,
    /// It reported ready on its control session.
    Notify,
    /// This port of its own loopback interface accepts connections.
    Tcp(u16),
    /// It is ready once started.
    None,
}

/// Liveness check of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Live {
    /// It has a control session.
    Session,
    /// This port of its own loopback interface accepts connections.
    Tcp(u16),
    /// This command, run beside it, exits with status 0.
    Command(Vec<String>),
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    values::parse_duration(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

fn live_every<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let asked = duration(deserializer)?;
    if asked < SHORTEST_LIVE_EVERY {
        return Err(D::Error::custom(format!("{asked:?} between two checks is too short; expected at least \"1s\"")));
    }
    Ok(asked)
}

fn tcp_port(text: &str) -> Option<u16> {
    text.strip_prefix("tcp:")?.parse().ok().filter(|port| *port != 0)
}

impl<'de> Deserialize<'de> for Ready {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match (text.as_str(), tcp_port(&text)) {
            ("session", _) => Ok(Self::Session),
            ("notify", _) => Ok(Self::Notify),
            ("none", _) => Ok(Self::None),
            (_, Some(port)) => Ok(Self::Tcp(port)),
            _ => Err(D::Error::custom(format!("unknown value {text:?}; expected session, notify, tcp:PORT or none"))),
        }
    }
}

impl<'de> Deserialize<'de> for Live {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) if text == "session" => Ok(Self::Session),
            toml::Value::String(text) if tcp_port(&text).is_some() => {
                Ok(Self::Tcp(tcp_port(&text).expect("just parsed")))
            }
            value @ toml::Value::Array(_) => value.try_into().map(Self::Command).map_err(D::Error::custom),
            other => Err(D::Error::custom(format!(
                "unknown value {other}; expected \"session\", \"tcp:PORT\" or a command such as [\"./check\"]"
            ))),
        }
    }
}
