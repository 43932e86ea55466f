//! `polypeer top` on a terminal: draws at each sample and each change of size, until it is told to end.

use std::time::Duration;

use crossterm::event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use futures_util::StreamExt;
use ratatui::DefaultTerminal;

use super::{Source, screen};
use crate::cli_error::CliError;
use crate::daemon::Signals;

/// The terminal while it is the screen's. Given back when dropped; ratatui gives it back at a panic.
struct Screen(DefaultTerminal);

impl Screen {
    fn open() -> std::io::Result<Self> {
        ratatui::try_init().map(Self).inspect_err(|_| ratatui::restore())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Runs until a key or a signal ends it, or the daemon is gone.
pub(super) async fn run(mut source: Source<'_>, every: Duration) -> Result<(), CliError> {
    let failed = |error| CliError::failed(format!("failed to use the terminal: {error}"), "try --json, or into a pipe");
    let mut signals = Signals::listen().map_err(failed)?;
    let mut top = source.first();
    let mut screen = Screen::open().map_err(failed)?;
    let mut events = EventStream::new();
    let mut turns = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        screen.0.draw(|frame| screen::draw(frame, &top)).map_err(failed)?;
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(Event::Key(key))) if ends(&key) => return Ok(()),
                Some(Ok(_)) => {} // Another size is drawn in the next turn of the loop.
                Some(Err(error)) => return Err(failed(error)),
                None => return Ok(()),
            },
            _ = turns.tick() => top = source.now().await?,
            _ = signals.next() => return Ok(()),
        }
    }
}

/// Whether a key ends it: q, Esc, Ctrl-C, Ctrl-D.
fn ends(key: &KeyEvent) -> bool {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind != KeyEventKind::Release
        && matches!((key.code, control), (KeyCode::Char('q') | KeyCode::Esc, _) | (KeyCode::Char('c' | 'd'), true))
}
