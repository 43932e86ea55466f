//! Values of a manifest with a syntax of their own: sizes, rates, durations, percentages, times of day, addresses. Each
//! is parsed here and nowhere else; errors say what was expected.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::{Serialize, Serializer};

/// Units of a size, bytes.
const SIZE_UNITS: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("kB", 1_000),
    ("B", 1),
];

/// Units of a duration, in milliseconds.
const TIME_UNITS: &[(&str, u64)] = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

fn number_with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(split);
    let factor = units.iter().find(|(name, _)| *name == unit.trim_start()).map(|(_, factor)| *factor)?;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Parses a size such as `256MiB`, `1GB` or `0`: bytes.
pub fn parse_size(text: &str) -> Result<u64, String> {
    if text == "0" {
        return Ok(0);
    }
    number_with_unit(text, SIZE_UNITS)
        .ok_or_else(|| format!("{text:?} is not a size; expected a whole number and a unit, such as \"256MiB\""))
}

/// Parses a duration such as `500ms`, `10s`, `5m`, `2h` or `1d`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    number_with_unit(text, TIME_UNITS).map(Duration::from_millis).ok_or_else(|| {
        format!("{text:?} is not a duration; expected a whole number and ms, s, m, h or d, such as \"10s\"")
    })
}

/// Parses a share of one core such as `50%`: percent, 1 to 100,000.
pub fn parse_percent(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix('%').and_then(|number| number.trim_end().parse().ok());
    number.filter(|percent| (1..=100_000).contains(percent)).ok_or_else(|| {
        format!("{text:?} is not a share of the processor; expected percent of one core, such as \"50%\"")
    })
}

/// Formats a number of bytes for people, such as `1.5 GiB`.
pub fn shown_size(bytes: u64) -> String {
    let (unit, factor) = *SIZE_UNITS[..4].iter().find(|(_, factor)| bytes >= *factor).unwrap_or(&("B", 1));
    let whole = bytes / factor;
    let tenth = bytes % factor * 10 / factor;
    if tenth == 0 { format!("{whole} {unit}") } else { format!("{whole}.{tenth} {unit}") }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_size(text).map(Self)
    }
}

impl From<Size> for u64 {
    fn from(size: Size) -> Self {
        size.0
    }
}

/// A share of one processor core, percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percent(pub u32);

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_percent(text).map(Self)
    }
}

impl From<Percent> for u32 {
    fn from(percent: Percent) -> Self {
        percent.0
    }
}

/// A rate limit for one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    Unlimited,
    /// Bytes per second.
    PerSecond(u64),
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "unlimited" {
            return Ok(Self::Unlimited);
        }
        let bytes = text.strip_suffix("/s").and_then(|size| parse_size(size.trim_end()).ok());
        bytes.filter(|bytes| *bytes > 0).map(Self::PerSecond).ok_or_else(|| {
            format!("{text:?} is not a rate; expected a size a second, such as \"1MiB/s\", or \"unlimited\"")
        })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => f.write_str("unlimited"),
            Self::PerSecond(bytes) => write!(f, "{}/s", shown_size(*bytes)),
        }
    }
}

/// The period of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Period {
    Day,
    Week,
    Month,
}

/// Bytes in both directions together per calendar period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Quota {
    pub bytes: u64,
    pub period: Period,
}

impl FromStr for Quota {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (size, period) = text.split_once('/')?;
            let period = match period {
                "day" => Period::Day,
                "week" => Period::Week,
                "month" => Period::Month,
                _ => return None,
            };
            parse_size(size).ok().map(|bytes| Self { bytes, period })
        };
        parse().ok_or_else(|| {
            format!("{text:?} is not a quota; expected a size a day, week or month, such as \"50GiB/month\"")
        })
    }
}

/// A time of day in which a plugin may run, minutes since midnight, local time; it may include midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First minute.
    pub from: u16,
    /// First minute after the window.
    pub until: u16,
}

impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let minute = |time: &str| {
            let (hour, minute) = time.split_once(':')?;
            let two_digits = |text: &str| (text.len() == 2).then(|| text.parse::<u16>().ok()).flatten();
            let (hour, minute) = (two_digits(hour)?, two_digits(minute)?);
            (hour < 24 && minute < 60).then_some(hour * 60 + minute)
        };
        let parsed = text.split_once('-').and_then(|(from, until)| Some((minute(from)?, minute(until)?)));
        parsed
            .filter(|(from, until)| from != until)
            .map(|(from, until)| Self { from, until })
            .ok_or_else(|| format!("{text:?} is not a time of day; expected from and until, such as \"01:00-07:00\""))
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, until } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, until / 60, until % 60)
    }
}

/// A TCP address on the loopback of the plugin's own network namespace: `tcp:127.0.0.1:8333`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpAddress(pub SocketAddr);

impl FromStr for TcpAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = text.strip_prefix("tcp:").and_then(|address| address.parse::<SocketAddr>().ok());
        address.filter(|address| address.ip().is_loopback() && address.port() != 0).map(Self).ok_or_else(|| {
            format!("{text:?} is not a loopback TCP address; expected one such as \"tcp:127.0.0.1:8333\"")
        })
    }
}

/// A port to map on the router: `udp:51413`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MappedPort {
    /// Whether it is UDP; otherwise TCP.
    pub udp: bool,
    pub port: u16,
}

impl FromStr for MappedPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once(':').and_then(|(kind, port)| {
            let port = port.parse::<u16>().ok().filter(|port| *port != 0)?;
            matches!(kind, "udp" | "tcp").then_some(Self { udp: kind == "udp", port })
        });
        parsed.ok_or_else(|| format!("{text:?} is not a port to map; expected one such as \"udp:51413\""))
    }
}

impl fmt::Display for MappedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", if self.udp { "udp" } else { "tcp" }, self.port)
    }
}

/// Deserialises types from text by their `FromStr`.
macro_rules! from_text {
    ($($name:ty),*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    )*};
}

from_text!(Size, Percent, Rate, Quota, Window, TcpAddress, MappedPort);

macro_rules! to_text {
    ($($name:ty),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}

to_text!(Window, MappedPort);

/// For `deserialize_with`: an optional duration.
pub fn optional_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    parse_duration(&String::deserialize(deserializer)?).map(Some).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_rates_are_whole_numbers_with_a_unit() {
        assert_eq!(parse_size("256MiB"), Ok(256 << 20));
        assert_eq!(parse_size("5 GB"), Ok(5_000_000_000));
        assert_eq!(parse_size("0"), Ok(0));
        assert_eq!("1MiB/s".parse(), Ok(Rate::PerSecond(1 << 20)));
        assert_eq!("unlimited".parse(), Ok(Rate::Unlimited));
        for bad in ["", "256", "MiB", "-1B", "1.5GiB", "1XiB", "99999999999999TiB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        for bad in ["1MiB", "0/s", "1MiB/m"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }

    #[test]
    fn other_values_follow_their_forms() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(parse_percent("250%"), Ok(250));
        assert_eq!("50GiB/month".parse(), Ok(Quota { bytes: 50 << 30, period: Period::Month }));
        assert_eq!("01:00-07:30".parse::<Window>().map(|window| window.to_string()), Ok("01:00-07:30".into()));
        assert!("tcp:127.0.0.1:80".parse::<TcpAddress>().is_ok() && "udp:1".parse::<MappedPort>().is_ok());
        assert!(parse_duration("10").is_err() && parse_percent("0%").is_err() && parse_percent("50").is_err());
        assert!("25:00-01:00".parse::<Window>().is_err() && "1:00-2:00".parse::<Window>().is_err());
        assert!("tcp:192.0.2.1:80".parse::<TcpAddress>().is_err(), "not a loopback address");
        assert!("tcp:0".parse::<MappedPort>().is_err());
    }

    #[test]
    fn sizes_are_shown_with_one_decimal_at_most() {
        assert_eq!(shown_size(256 << 20), "256 MiB");
        assert_eq!(shown_size(1536), "1.5 KiB");
        assert_eq!(shown_size(12), "12 B");
    }
}
