//! `polypeer-netcore`, the network core's process. Started by `polypeer`, which speaks to it on descriptor 3
//! (on stdin and stdout under Windows); it writes
//! its log to stderr and exits when the supervisor goes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use polypeer_ipc_protocol::seeds::{Entry, Host};
use polypeer_ipc_protocol::transport::admin::{AdminEnd, inherited};
use polypeer_netcore::discovery::config::{DiscoveryConfig, MainlineConfig};
use polypeer_netcore::peers::marks::Marks;
use polypeer_netcore::{Options, open_files};
use tracing_subscriber::EnvFilter;

/// The network core of Polypeer. Not for use by hand: `polypeer run` starts it.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The node's folder
    #[arg(long, value_name = "DIR")]
    home: PathBuf,
    /// Where to listen, IP:PORT; port 0 takes any. Without it: the default port, or the next free one
    #[arg(long, value_name = "ADDR")]
    listen: Vec<SocketAddr>,
    /// Do not look for peers on the local network
    #[arg(long)]
    no_lan: bool,
    /// Do not dial peers known from earlier runs
    #[arg(long)]
    no_remembered: bool,
    /// Do not use the built-in list of nodes
    #[arg(long)]
    no_builtin: bool,
    /// Neither ask peers for others nor answer when they ask
    #[arg(long)]
    no_exchange: bool,
    /// Do not look for peers in the DHT
    #[arg(long)]
    no_dht: bool,
    /// A name in the domain name system that leads to nodes
    #[arg(long, value_name = "HOST")]
    dns_seed: Vec<Host>,
    /// The resolver to ask instead of the system's
    #[arg(long, value_name = "IP:PORT")]
    resolver: Option<SocketAddr>,
    /// A node to begin with: a ticket or an address
    #[arg(long, value_name = "ENTRY")]
    seed: Vec<Entry>,
    /// Announce this node in the BitTorrent Mainline DHT and look for others there, from this UDP port
    #[arg(long, value_name = "PORT")]
    mainline: Option<u16>,
    /// Where to enter Mainline [default: well-known nodes]
    #[arg(long, value_name = "HOST", requires = "mainline")]
    mainline_bootstrap: Vec<Host>,
    /// Peers to be connected to at least
    #[arg(long, value_name = "N")]
    low: Option<usize>,
    /// Peers to be connected to at most
    #[arg(long, value_name = "N")]
    high: Option<usize>,
    /// Serve newcomers: take many short connections, make few
    #[arg(long)]
    seed_only: bool,
    /// The network's name; nodes of others are not talked to
    #[arg(long, value_name = "NAME", default_value = "main")]
    network: String,
}

fn main() -> ExitCode {
    // First of all, while nothing else can have opened a descriptor of that number.
    let admin = inherited();
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("POLYPEER_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    match admin.context("there is no admin session: this program is started by polypeer; run: polypeer run") {
        Ok(admin) => match run(arguments, admin) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error, 1),
        },
        Err(error) => failed(&error, 2),
    }
}

fn failed(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("polypeer-netcore: {error:#}");
    ExitCode::from(code)
}

fn run(arguments: Arguments, admin: AdminEnd) -> anyhow::Result<()> {
    open_files::raise();
    let usual = if arguments.seed_only { Marks::for_newcomers() } else { Marks::default() };
    let (low, high) = (arguments.low.unwrap_or(usual.low), arguments.high.unwrap_or(usual.high));
    let bootstrap = arguments.mainline_bootstrap;
    let options = Options {
        listen: arguments.listen,
        lan: !arguments.no_lan,
        discovery: DiscoveryConfig {
            remembered: !arguments.no_remembered,
            lan: !arguments.no_lan,
            dns_seeds: arguments.dns_seed,
            resolver: arguments.resolver,
            builtin: !arguments.no_builtin,
            list: arguments.seed,
            exchange: !arguments.no_exchange,
            dht: !arguments.no_dht,
            mainline: arguments.mainline.map(|port| MainlineConfig { port, bootstrap }),
        },
        marks: Marks { low, high: high.max(low), ..usual },
        network: arguments.network,
        ..Options::new(arguments.home)
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("gateway").build()?;
    let ended = runtime.block_on(polypeer_netcore::run(options, admin));
    runtime.shutdown_background();
    Ok(ended?)
}
