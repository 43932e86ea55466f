//! Copies a child's output from its pipe to its log, as printable lines with a maximum length and a rate limit. A flood
//! costs the child, not the daemon: its pipe is read at a limited rate, so that its writes wait, with line breaks or
//! without; lines beyond their own rate limit are dropped and counted.

use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt};

use super::log::{OWN, Sink};
use crate::terminal::clean;

/// Bytes kept of a line.
pub(crate) const MAX_LINE: usize = 8 << 10;
/// Rate limit for a child's log: lines per second, and the burst.
pub(crate) const LINES_A_SECOND: u32 = 500;
pub(crate) const BURST: u32 = 4000;
/// Length at which a line without an end is ended, bytes; what is beyond [`MAX_LINE`] is cut. So it reaches the log,
/// too.
const ENDLESS: usize = 1 << 20;
/// Bytes per read: the capacity of a pipe.
const CHUNK: usize = 64 << 10;
/// Rate limit for reading a pipe, bytes per second, and the burst: [`LINES_A_SECOND`] lines of 512 bytes.
const BYTES_A_SECOND: u32 = 256 << 10;
const BYTES_BURST: u32 = 8 << 20;
/// Time after the last dropped line until their number is logged.
const TELL_AFTER: Duration = Duration::from_secs(1);

/// Copies until the pipe ends.
pub(crate) async fn capture(mut pipe: std::io::Result<impl AsyncRead + Unpin>, sink: Sink, from: &'static str) {
    let pipe = match &mut pipe {
        Ok(pipe) => pipe,
        Err(error) => return sink.line(OWN, &format!("its output cannot be read: {error}")),
    };
    let mut lines = Lines::default();
    let mut allowance = Allowance::new(Instant::now());
    let mut pace = Bucket::new(BYTES_A_SECOND, BYTES_BURST, Instant::now());
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = if allowance.dropped == 0 {
            pipe.read(&mut chunk).await
        } else {
            match tokio::time::timeout(TELL_AFTER, pipe.read(&mut chunk)).await {
                Ok(read) => read,
                Err(_elapsed) => {
                    tell(&mut allowance, &sink);
                    continue;
                }
            }
        };
        let Ok(length @ 1..) = read else { break };
        lines.push(&chunk[..length], |line| keep(line, &mut allowance, &sink, from));
        let wait = pace.owe(length as f64, Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }
    lines.finish(|line| keep(line, &mut allowance, &sink, from));
    tell(&mut allowance, &sink);
}

fn keep(line: Line<'_>, allowance: &mut Allowance, sink: &Sink, from: &str) {
    if !allowance.take(Instant::now()) {
        return;
    }
    tell(allowance, sink);
    sink.line(from, &line.text());
}

fn tell(allowance: &mut Allowance, sink: &Sink) {
    let dropped = std::mem::take(&mut allowance.dropped);
    if dropped > 0 {
        sink.line(OWN, &format!("[{dropped} lines dropped: over {LINES_A_SECOND} a second]"));
    }
}

/// A token bucket.
#[derive(Debug)]
struct Bucket {
    rate: f64,
    burst: f64,
    saved: f64,
    at: Instant,
}

impl Bucket {
    fn new(rate: u32, burst: u32, now: Instant) -> Self {
        Self { rate: rate.into(), burst: burst.into(), saved: burst.into(), at: now }
    }

    fn earn(&mut self, now: Instant) {
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * self.rate;
        self.saved = (self.saved + earned).min(self.burst);
        self.at = now;
    }

    /// Takes a token if there is one.
    fn take(&mut self, now: Instant) -> bool {
        self.earn(now);
        let has_one = self.saved >= 1.0;
        if has_one {
            self.saved -= 1.0;
        }
        has_one
    }

    /// Takes tokens that may be missing; returns the time until they are earned.
    fn owe(&mut self, tokens: f64, now: Instant) -> Duration {
        self.earn(now);
        self.saved -= tokens;
        Duration::from_secs_f64((-self.saved).max(0.0) / self.rate)
    }
}

/// The lines that may be logged.
#[derive(Debug)]
struct Allowance {
    lines: Bucket,
    dropped: u64,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Self { lines: Bucket::new(LINES_A_SECOND, BURST, now), dropped: 0 }
    }

    /// Takes a token for one line; without one, counts the line as dropped.
    fn take(&mut self, now: Instant) -> bool {
        let has_one = self.lines.take(now);
        self.dropped += u64::from(!has_one);
        has_one
    }
}

/// One line, before it is made printable: a dropped one never is.
#[derive(Debug, Clone, Copy)]
struct Line<'a> {
    bytes: &'a [u8],
    /// Bytes beyond the limit.
    cut: usize,
}

impl Line<'_> {
    fn text(self) -> String {
        let mut text = clean(&String::from_utf8_lossy(self.bytes));
        if self.cut > 0 {
            text.push_str(&format!("… [{} bytes cut]", self.cut));
        }
        text
    }
}

/// Cuts bytes into printable lines of at most [`MAX_LINE`] bytes.
#[derive(Debug, Default)]
struct Lines {
    begun: Vec<u8>,
    /// Bytes of the present line beyond the limit.
    cut: usize,
}

impl Lines {
    fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(Line<'_>)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.add(&bytes[..end], &mut each);
            bytes = &bytes[end + 1..];
            self.end(&mut each);
        }
        self.add(bytes, &mut each);
    }

    fn finish(&mut self, mut each: impl FnMut(Line<'_>)) {
        if !self.begun.is_empty() {
            self.end(&mut each);
        }
    }

    fn add(&mut self, mut bytes: &[u8], each: &mut impl FnMut(Line<'_>)) {
        while self.begun.len() + self.cut + bytes.len() > ENDLESS {
            let (now, later) = bytes.split_at(ENDLESS - self.begun.len() - self.cut);
            self.keep(now);
            self.end(each);
            bytes = later;
        }
        self.keep(bytes);
    }

    fn keep(&mut self, bytes: &[u8]) {
        let kept = bytes.len().min(MAX_LINE - self.begun.len());
        self.begun.extend_from_slice(&bytes[..kept]);
        self.cut += bytes.len() - kept;
    }

    fn end(&mut self, each: &mut impl FnMut(Line<'_>)) {
        each(Line { bytes: self.begun.strip_suffix(b"\r").unwrap_or(&self.begun), cut: self.cut });
        self.begun.clear();
        self.cut = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(chunks: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::default();
        let mut out = Vec::new();
        for chunk in chunks {
            lines.push(chunk, |line| out.push(line.text()));
        }
        lines.finish(|line| out.push(line.text()));
        out
    }

    #[test]
    fn lines_are_cut_joined_and_made_printable() {
        assert_eq!(lines_of(&[b"one\ntw", b"o\r\n\x1b[2J\xff\tx"]), ["one", "two", "\\u{1b}[2J\u{fffd}\tx"]);
    }

    #[test]
    fn endless_line_takes_no_more_memory_than_its_limit() {
        let mut lines = Lines::default();
        for _ in 0..100 {
            lines.push(&[b'x'; 1 << 10], |_| panic!("no line ended"));
            assert!(lines.begun.len() <= MAX_LINE);
        }
        lines.push(b"\nnext\n", |line| {
            assert!(line.bytes == b"next" || line.text().ends_with("… [94208 bytes cut]"), "{line:?}");
        });
    }

    #[test]
    fn line_that_never_ends_reaches_the_log_in_pieces() {
        let mut lines = Lines::default();
        let mut pieces = Vec::new();
        for _ in 0..3 * ENDLESS / CHUNK + 1 {
            lines.push(&[0; CHUNK], |line| pieces.push((line.bytes.len(), line.cut)));
        }
        assert_eq!(pieces, [(MAX_LINE, ENDLESS - MAX_LINE); 3]);
    }

    #[test]
    fn flood_is_read_no_faster_than_its_rate() {
        let start = Instant::now();
        let mut pace = Bucket::new(BYTES_A_SECOND, BYTES_BURST, start);
        assert_eq!(pace.owe(BYTES_BURST.into(), start), Duration::ZERO, "a burst is free");
        assert_eq!(pace.owe(BYTES_A_SECOND.into(), start), Duration::from_secs(1));
        assert_eq!(pace.owe(BYTES_A_SECOND.into(), start + Duration::from_secs(1)), Duration::from_secs(1));
    }

    #[test]
    fn flood_is_limited_and_counted() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        let kept = (0..BURST + 100).filter(|_| allowance.take(start)).count();
        assert_eq!((kept, allowance.dropped), (BURST as usize, 100));
        assert!(allowance.take(start + Duration::from_secs(1)));
    }
}
