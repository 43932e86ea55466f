//! Copies a child's output from its pipe to its log, as printable lines with a maximum length and a rate limit. The
//! pipe is always read, so a plugin that writes too much is slowed down but never blocked.

use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt};

use super::log::{OWN, Sink};

/// Bytes kept of a line.
pub(crate) const MAX_LINE: usize = 8 << 10;
/// Rate limit for a child's log: lines per second, and the burst.
pub(crate) const LINES_A_SECOND: u32 = 500;
pub(crate) const BURST: u32 = 4000;
/// Bytes per read: the capacity of a pipe.
const CHUNK: usize = 64 << 10;
/// Pause after a chunk with dropped lines: bounds the cost of reading a flood.
const PAUSE: Duration = Duration::from_millis(5);
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
        let before = allowance.dropped;
        lines.push(&chunk[..length], |line| keep(line, &mut allowance, &sink, from));
        if allowance.dropped > before {
            tokio::time::sleep(PAUSE).await;
        }
    }
    lines.finish(|line| keep(line, &mut allowance, &sink, from));
    tell(&mut allowance, &sink);
}

fn keep(line: &str, allowance: &mut Allowance, sink: &Sink, from: &str) {
    if !allowance.take(Instant::now()) {
        return;
    }
    tell(allowance, sink);
    sink.line(from, line);
}

fn tell(allowance: &mut Allowance, sink: &Sink) {
    let dropped = std::mem::take(&mut allowance.dropped);
    if dropped > 0 {
        sink.line(OWN, &format!("[{dropped} lines dropped: over {LINES_A_SECOND} a second]"));
    }
}

/// A token bucket, in lines.
#[derive(Debug)]
struct Allowance {
    saved: f64,
    at: Instant,
    dropped: u64,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Self { saved: f64::from(BURST), at: now, dropped: 0 }
    }

    /// Takes a token for one line; without one, counts the line as dropped.
    fn take(&mut self, now: Instant) -> bool {
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * f64::from(LINES_A_SECOND);
        self.saved = (self.saved + earned).min(f64::from(BURST));
        self.at = now;
        if self.saved < 1.0 {
            self.dropped += 1;
            return false;
        }
        self.saved -= 1.0;
        true
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
    fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(&str)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.add(&bytes[..end]);
            bytes = &bytes[end + 1..];
            self.end(&mut each);
        }
        self.add(bytes);
    }

    fn finish(&mut self, mut each: impl FnMut(&str)) {
        if !self.begun.is_empty() {
            self.end(&mut each);
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        let kept = bytes.len().min(MAX_LINE - self.begun.len());
        self.begun.extend_from_slice(&bytes[..kept]);
        self.cut += bytes.len() - kept;
    }

    fn end(&mut self, each: &mut impl FnMut(&str)) {
        let begun = self.begun.strip_suffix(b"\r").unwrap_or(&self.begun);
        let mut text = printable(begun);
        if self.cut > 0 {
            text.push_str(&format!("… [{} bytes cut]", self.cut));
        }
        each(&text);
        self.begun.clear();
        self.cut = 0;
    }
}

/// Replaces invalid UTF-8 with U+FFFD and control characters with escapes, so that a log cannot control a terminal.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' => out.push(character),
            control if control.is_control() => out.extend(control.escape_default()),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(chunks: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::default();
        let mut out = Vec::new();
        for chunk in chunks {
            lines.push(chunk, |line| out.push(line.to_owned()));
        }
        lines.finish(|line| out.push(line.to_owned()));
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
        lines.push(b"\nnext\n", |line| assert!(line == "next" || line.ends_with("… [94208 bytes cut]"), "{line}"));
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
