//! The log: lines `LEVEL MODULE: MESSAGE` on stderr, without a time, which the supervisor adds. Its filter is changed
//! while the network core runs. A line that cannot be written is dropped.

use std::io::{self, Write};
use std::sync::OnceLock;

use polypeer_ipc_protocol::error::{ErrorCode, Failure};
use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

/// The filter without `--log`.
pub const USUAL: &str = "warn,polypeer_netcore=info,polypeer_engine=info,polypeer_ipc_protocol=info";
/// Longest filter, bytes: the supervisor's have a level for a few dozen modules.
const MAX_FILTER: usize = 16 << 10;

static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Parses a filter such as `warn,polypeer_netcore=info`.
///
/// # Errors
/// When it is malformed or too long.
pub fn filter(text: &str) -> Result<Targets, String> {
    if text.len() > MAX_FILTER {
        return Err(format!("a filter of {} bytes; expected at most {MAX_FILTER}", text.len()));
    }
    text.parse().map_err(|error: ParseError| error.to_string())
}

/// Begins to log, once per process.
pub fn start(filter: Targets) {
    let (filter, handle) = reload::Layer::new(filter);
    if FILTER.set(handle).is_ok() {
        let lines = fmt::layer().without_time().with_ansi(false).with_writer(|| Careful).log_internal_errors(false);
        let _ = tracing_subscriber::registry().with(filter).with(lines.with_filter(LevelFilter::TRACE)).try_init();
    }
}

/// Uses another filter from now on.
pub(crate) fn change(text: &str) -> Result<(), Failure> {
    let wrong = |what: String| Failure::new(ErrorCode::BadArgument, format!("the log's filter: {what}"));
    let new = filter(text).map_err(wrong)?;
    FILTER.get().map_or(Ok(()), |handle| handle.reload(new)).map_err(|error| wrong(error.to_string()))
}

/// Stderr, without errors: there is nowhere to report them.
struct Careful;

impl Write for Careful {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().lock().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_checked() {
        assert!(filter(USUAL).is_ok() && filter("warn,polypeer_netcore::peers=debug").is_ok());
        assert!(filter("polypeer_netcore=loud").is_err() && filter(&"x".repeat(MAX_FILTER + 1)).is_err());
    }
}
