//! Types of limits: how a value is written, checked, shown to people and put into `--json`. The table of
//! [`super::limits`] is the only user.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::values::{Percent, Quota, Rate, Size, Window, shown_size};

/// The numbers that a limit takes.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The least.
    pub low: u64,
    /// The most.
    pub high: u64,
}

impl Bounds {
    /// Every value of the type.
    pub const ANY: Self = Self { low: 0, high: u64::MAX };

    /// `low` or more.
    pub const fn at_least(low: u64) -> Self {
        Self { low, high: u64::MAX }
    }

    /// `low` to `high`, both included.
    pub const fn between(low: u64, high: u64) -> Self {
        Self { low, high }
    }
}

/// The type of a limit's value.
pub trait LimitValue: DeserializeOwned {
    /// The value with "unlimited" as one of its cases.
    type InForce: From<Self>;
    /// How a value is written in `plugin.toml`, for the reference.
    const FORM: &'static str;

    /// A value as typed on the command line, as the value of a TOML file.
    ///
    /// # Errors
    /// What was expected.
    fn to_toml(text: &str) -> Result<toml::Value, String> {
        Ok(text.into())
    }

    /// Whether the value is within `bounds`.
    ///
    /// # Errors
    /// What is wrong, and what was expected.
    fn check(&self, _bounds: Bounds) -> Result<(), String> {
        Ok(())
    }

    /// Whether there is anything to enforce.
    fn restricts(&self) -> bool {
        true
    }

    /// The value in `--json`; none for what is unlimited.
    fn to_json(in_force: &Self::InForce) -> Option<Value>;

    /// A value of [`Self::to_json`] as text for people.
    fn shown(json: &Value) -> String {
        json.to_string()
    }
}

impl LimitValue for Size {
    type InForce = u64;
    const FORM: &'static str = "a size such as `\"256MiB\"`";

    fn check(&self, bounds: Bounds) -> Result<(), String> {
        match self.0 >= bounds.low {
            true => Ok(()),
            false => {
                let least = shown_size(bounds.low).replace(' ', "");
                Err(format!("{} is too little; expected at least {least}", shown_size(self.0)))
            }
        }
    }

    fn to_json(in_force: &u64) -> Option<Value> {
        Some((*in_force).into())
    }

    fn shown(json: &Value) -> String {
        json.as_u64().map_or_else(|| json.to_string(), shown_size)
    }
}

impl LimitValue for Percent {
    type InForce = u32;
    const FORM: &'static str = "percent of one core such as `\"50%\"`";

    fn to_json(in_force: &u32) -> Option<Value> {
        Some((*in_force).into())
    }

    fn shown(json: &Value) -> String {
        format!("{json} %")
    }
}

impl LimitValue for u32 {
    type InForce = Self;
    const FORM: &'static str = "a whole number";

    fn to_toml(text: &str) -> Result<toml::Value, String> {
        text.parse().map(toml::Value::Integer).map_err(|_| "expected a whole number".into())
    }

    fn check(&self, bounds: Bounds) -> Result<(), String> {
        let Bounds { low, high } = bounds;
        match (low..=high).contains(&u64::from(*self)) {
            true => Ok(()),
            false => Err(format!("{self} is out of range; expected {low} to {high}")),
        }
    }

    fn to_json(in_force: &Self) -> Option<Value> {
        Some((*in_force).into())
    }
}

impl LimitValue for bool {
    type InForce = Self;
    const FORM: &'static str = "`true` or `false`";

    fn to_toml(text: &str) -> Result<toml::Value, String> {
        text.parse().map(toml::Value::Boolean).map_err(|_| "expected true or false".into())
    }

    fn restricts(&self) -> bool {
        *self
    }

    fn to_json(in_force: &Self) -> Option<Value> {
        Some((*in_force).into())
    }
}

impl LimitValue for Rate {
    type InForce = Self;
    const FORM: &'static str = "a rate such as `\"1MiB/s\"`, or `\"unlimited\"`";

    fn restricts(&self) -> bool {
        *self != Self::Unlimited
    }

    fn to_json(in_force: &Self) -> Option<Value> {
        match in_force {
            Self::Unlimited => None,
            Self::PerSecond(bytes) => Some((*bytes).into()),
        }
    }

    fn shown(json: &Value) -> String {
        format!("{}/s", Size::shown(json))
    }
}

impl LimitValue for Quota {
    type InForce = Option<Self>;
    const FORM: &'static str = "a size per `day`, `week` or `month` such as `\"50GiB/month\"`";

    fn to_json(in_force: &Option<Self>) -> Option<Value> {
        in_force.map(|quota| serde_json::to_value(quota).expect("a quota is plain data"))
    }

    fn shown(json: &Value) -> String {
        format!("{} per {}", Size::shown(&json["bytes"]), json["period"].as_str().unwrap_or("period"))
    }
}

impl LimitValue for Vec<Window> {
    type InForce = Self;
    const FORM: &'static str = "a list such as `[\"01:00-07:00\"]`, local time";

    fn to_toml(text: &str) -> Result<toml::Value, String> {
        Ok(text.split(',').filter(|part| !part.is_empty()).collect::<Vec<_>>().into())
    }

    fn restricts(&self) -> bool {
        !self.is_empty()
    }

    fn to_json(in_force: &Self) -> Option<Value> {
        Some(serde_json::to_value(in_force).expect("times of day are text"))
    }

    fn shown(json: &Value) -> String {
        let windows: Vec<&str> = json.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if windows.is_empty() { "always".into() } else { windows.join(", ") }
    }
}
