//! A time limit as typed on the command line: a number of seconds, or one with a unit.

use std::time::Duration;

use crate::manifest::values::parse_duration;

/// Parses `30`, `500ms`, `10s` or `5m`; nothing shorter than a millisecond.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let bare = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let limit = parse_duration(&if bare { format!("{text}s") } else { text.to_owned() })?;
    if limit.is_zero() { Err("a time limit is longer than zero".to_owned()) } else { Ok(limit) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_need_no_unit() {
        assert_eq!(parse("30"), Ok(Duration::from_secs(30)));
        assert_eq!(parse("5m"), Ok(Duration::from_secs(300)));
        assert!(parse("0").is_err() && parse("").is_err() && parse("soon").is_err());
    }
}
