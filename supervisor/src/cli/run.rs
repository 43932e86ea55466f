//! `polypeer run`: the daemon in the foreground, with the options of the command line over `config.toml`.

use std::net::SocketAddr;

use clap::Args;
use polypeer_ipc_protocol::settings::MAX_LISTEN;

use super::Context;
use crate::cli_error::CliError;
use crate::config::{Configuration, Flags};
use crate::{daemon, logging};

/// Run the daemon in the foreground
#[derive(Debug, Args)]
pub(super) struct Run {
    /// UDP address to listen on, repeatable; port 0 means any [default: port 7470 of every interface, or the next free]
    #[arg(long, value_name = "IP:PORT", value_parser = listen_address)]
    listen: Vec<SocketAddr>,
    /// Do not announce this node on the local network or look for peers there
    #[arg(long)]
    no_lan: bool,
    /// Serve as a seed only: help new nodes to find peers, accept many short connections, start no plugins
    #[arg(long)]
    seed_only: bool,
    /// `--quiet`, which every command has.
    #[arg(skip)]
    pub(super) quiet: bool,
    /// How often `--verbose` was given.
    #[arg(skip)]
    pub(super) verbose: u8,
}

fn listen_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "expected an IP address and a port such as 127.0.0.1:7470 or [::]:0")
}

impl Run {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        context.home.prepare()?;
        if self.listen.len() > MAX_LISTEN {
            return Err(CliError::usage("too many addresses to listen on", "use 0.0.0.0 and [::] for every interface"));
        }
        let Self { listen, no_lan, seed_only, quiet, verbose } = self;
        let flags = Flags { listen, no_lan, seed_only, quiet, verbose };
        let configuration = Configuration::load(&context.home, &flags)?;
        logging::change(&configuration.config.log);
        daemon::run(context.home.clone(), configuration, flags, &context.printer).await
    }
}
