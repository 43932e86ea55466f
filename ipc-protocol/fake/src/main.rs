//! A network core without a network, for the tests of the SDKs: all nodes of a test's world in one process. It obeys
//! the gateway protocol (`SPEC.md`) with the state machines of `polypeer-ipc-protocol`, so both SDKs meet the same
//! netcore, and it fails on command.
//!
//! ```text
//!   test ── one JSON command per line ──► stdin ─► command ─► state ◄── connection ◄── gateway socket of a launch ◄── SDK
//!        ◄─ one JSON reply per line ──── stdout               │                └─► splice: a stream between two plugins
//!                                                             └─► world: sessions; requests, services: the answers
//! ```
//!
//! The first reply follows the first command; a command is done when its reply is written. Events and frames are in the
//! form that the gateway types have in JSON. The process ends with its standard input.

mod command;
mod connection;
mod requests;
mod services;
mod splice;
mod state;
mod world;

use std::io::{BufRead, Write};

use tokio::sync::mpsc;
use tokio::task::LocalSet;

use command::Command;
use state::World;

fn main() -> anyhow::Result<()> {
    let (sender, mut lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let world = World::new();
        while let Some(line) = lines.recv().await {
            let reply = match serde_json::from_str::<Command>(&line) {
                Ok(command) => command::run(&world, command).await,
                Err(error) => Err(error.into()),
            };
            let reply = reply.unwrap_or_else(|error| serde_json::json!({ "error": format!("{error:#}: {line}") }));
            let mut stdout = std::io::stdout().lock();
            writeln!(stdout, "{reply}")?;
            stdout.flush()?;
        }
        Ok(())
    })
}
