//! The command line: what can be typed, in the words of `docs/design.md`, section 8.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{ArgAction, Args, Parser, Subcommand};
use polypeer_ipc_protocol::ids::{NodeId, PluginId, Protocol};
use polypeer_ipc_protocol::ticket::{PREFIX, Ticket};

use crate::cli::streams::file_link::FileLink;

const EXIT_CODES: &str = "Exit codes: 0 done · 1 failed · 2 wrong usage or bad input · 3 the daemon is not running · \
                          4 refused (grant, limit, block) · 5 peer not reachable";

/// One peer on the machine, many peer-to-peer applications on top of it.
#[derive(Debug, Parser)]
#[command(name = "polypeer", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    /// What applies to every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options before or after any subcommand.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The node's folder [default: POLYPEER_HOME, or the platform's data folder]
    #[arg(long, global = true, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Say nothing beside data and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more; twice for everything
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon in the foreground
    Run(Run),
    /// Show how the node is
    Status,
    /// Print this node's id
    Id,
    /// Print text that lets others reach this node
    Ticket,
    /// List peers, add, ping or block one
    Peers {
        /// What to do [default: list]
        #[command(subcommand)]
        command: Option<Peers>,
    },
    /// Install, start, stop and look at plugins
    Plugin {
        /// What to do.
        #[command(subcommand)]
        command: Plugin,
    },
    /// Connect stdin and stdout to a protocol of a peer
    Pipe {
        /// A node id or a ticket
        peer: Peer,
        /// What is spoken, such as echo/1
        protocol: Protocol,
    },
    /// Run a command for each stream that peers open; it is not confined
    Serve {
        /// What is spoken, such as echo/1
        protocol: Protocol,
        /// The command, after --
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<String>,
    },
    /// Offer files to others; prints a link for each
    Send {
        /// The files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Fetch what a link names, verified
    Get(Get),
    /// Exchange messages with a peer, line by line
    Chat {
        /// A node id or a ticket
        peer: Peer,
    },
    /// Look for what is wrong, and say what to do
    Doctor {
        /// Look at why this peer may not be reachable
        peer: Option<Peer>,
    },
    /// Look at the configuration
    Config {
        /// What to do.
        #[command(subcommand)]
        command: Config,
    },
    /// Stop the daemon and everything it runs
    Shutdown,
}

/// Options of `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// UDP address of the node, repeatable; port 0 means any [default: port 7470 of every interface, or the next free]
    #[arg(long, value_name = "IP:PORT", value_parser = listen_address)]
    pub listen: Vec<SocketAddr>,
    /// Neither announce this node on the local network nor look for others there
    #[arg(long)]
    pub no_lan: bool,
    /// Only help newcomers to find others: start no plugins, take many short connections
    #[arg(long)]
    pub seed_only: bool,
}

/// What to do with peers.
#[derive(Debug, Subcommand)]
pub enum Peers {
    /// List connected, known and blocked peers
    List,
    /// Remember a peer and connect to it
    Add {
        /// From `polypeer ticket` of the other node
        ticket: Ticket,
    },
    /// Measure the round trip to a peer
    Ping {
        /// A node id or a ticket
        peer: Peer,
    },
    /// Cut a peer off until it is unblocked
    Block {
        /// A node id or a ticket
        peer: Peer,
    },
    /// Undo a block, and lift a ban for misbehaving
    Unblock {
        /// A node id or a ticket
        peer: Peer,
    },
    /// Keep a peer connected: it is dialed first and never let go for another
    Protect {
        /// A node id or a ticket
        peer: Peer,
    },
    /// Undo a protection
    Unprotect {
        /// A node id or a ticket
        peer: Peer,
    },
    /// Disconnect a peer and drop what is remembered of it
    Forget {
        /// A node id or a ticket
        peer: Peer,
    },
}

/// What to do with plugins.
#[derive(Debug, Subcommand)]
pub enum Plugin {
    /// Install a plugin from its folder, enable and start it
    Install {
        /// The folder that holds its plugin.toml
        folder: PathBuf,
        /// Allow what it asks for without asking
        #[arg(short, long)]
        yes: bool,
        /// Neither enable nor start it
        #[arg(long)]
        no_start: bool,
    },
    /// List installed plugins
    List,
    /// Show everything about a plugin
    Info {
        /// Which
        id: PluginId,
    },
    /// Start a plugin; succeeds when it runs already
    Start {
        /// Which
        id: PluginId,
    },
    /// Stop a plugin until it is started or the daemon is
    Stop {
        /// Which
        id: PluginId,
    },
    /// Stop and start a plugin
    Restart {
        /// Which
        id: PluginId,
    },
    /// Start a plugin now and with the daemon
    Enable {
        /// Which
        id: PluginId,
    },
    /// Stop a plugin now and leave it stopped
    Disable {
        /// Which
        id: PluginId,
    },
    /// Uninstall a plugin; its data stays
    Remove {
        /// Which
        id: PluginId,
        /// Delete its data too
        #[arg(long)]
        data: bool,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// Show what a plugin wrote
    Logs {
        /// Which
        id: PluginId,
        /// Go on with new lines
        #[arg(short, long, conflicts_with = "json")]
        follow: bool,
        /// How many of the latest lines
        #[arg(short = 'n', long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=10_000))]
        lines: u32,
    },
    /// Show or change what a plugin may use
    Limit {
        /// Which
        id: PluginId,
        /// Such as memory=512MiB; KEY=default undoes it
        #[arg(value_name = "KEY=VALUE")]
        limits: Vec<String>,
    },
    /// Show what a plugin is allowed, or change its list of peers
    Grants {
        /// Which
        id: PluginId,
        /// Put a peer on its list (for peers = "list")
        #[arg(long, value_name = "PEER")]
        add_peer: Vec<Peer>,
        /// Take a peer from its list
        #[arg(long, value_name = "PEER")]
        remove_peer: Vec<Peer>,
    },
}

/// Options of `get`.
#[derive(Debug, Args)]
pub struct Get {
    /// What `polypeer send` printed
    pub link: FileLink,
    /// Where to store it [default: its name, here]
    #[arg(short, long, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// Replace a file that is there already
    #[arg(short, long)]
    pub force: bool,
}

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Check config.toml
    Check,
}

fn listen_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "expected an IP address and a port such as 127.0.0.1:7470 or [::]:0")
}

/// A peer as typed: a node id, or a ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer(pub Ticket);

impl Peer {
    /// Who.
    pub fn node(&self) -> NodeId {
        self.0.node
    }
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with(PREFIX) {
            return text
                .parse()
                .map(Self)
                .map_err(|error: polypeer_ipc_protocol::ticket::InvalidTicket| error.to_string());
        }
        let node = text.trim().parse().map_err(|_| "expected a node id (52 characters) or a ticket (polypeer:…)")?;
        Ok(Self(Ticket { node, addresses: Vec::new() }))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn definitions_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_stand_before_or_after() {
        for line in [
            &["polypeer", "--home", "/x", "--json", "status"][..],
            &["polypeer", "status", "--json", "--home", "/x"],
            &["polypeer", "--json", "plugin", "list", "--home", "/x"],
            &["polypeer", "plugin", "list", "--json", "--home=/x"],
        ] {
            let cli = Cli::try_parse_from(line).expect("it is understood");
            assert!(cli.global.json && cli.global.home.as_deref() == Some("/x".as_ref()), "{line:?}");
        }
    }

    #[test]
    fn peers_are_ids_or_tickets() {
        let node = NodeId([3; 32]);
        assert_eq!(node.to_string().parse::<Peer>().expect("an id").node(), node);
        assert_eq!(format!("polypeer:{node}@1.2.3.4:5").parse::<Peer>().expect("a ticket").0.addresses.len(), 1);
        assert!("bob".parse::<Peer>().expect_err("neither").contains("node id"));
    }
}
