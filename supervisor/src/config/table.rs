//! Every key of `config.toml`, once: what it means, how its value is written, when a change of it applies. The limits
//! of plugins come from their own table ([`crate::manifest::LIMITS`]).

use crate::manifest::LIMITS;

/// One key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    /// With its sections: `discovery.lan`.
    pub(super) key: &'static str,
    /// Sentences for the reference.
    pub(super) meaning: &'static str,
    /// A value, for keys whose default is none.
    pub(super) example: &'static str,
    /// Whether a reload applies it; otherwise it takes a restart of the daemon.
    pub(super) is_live: bool,
}

const fn restart(key: &'static str, meaning: &'static str, example: &'static str) -> Setting {
    Setting { key, meaning, example, is_live: false }
}

const fn live(key: &'static str, meaning: &'static str, example: &'static str) -> Setting {
    Setting { key, meaning, example, is_live: true }
}

/// All but the limits: keys without a section first.
const OWN: &[Setting] = &[
    restart(
        "listen",
        "UDP addresses to listen on; port 0 means any. Without one: port 7470 of every interface, or the next free port.",
        "[\"0.0.0.0:7470\", \"[::]:7470\"]",
    ),
    restart("network", "Name of the network, 1 to 32 of a-z 0-9 -. Nodes of other networks are refused.", ""),
    restart("bundled_apps", "Whether chat and files are installed into a new home.", ""),
    restart("lan", "Older name of `lan` in [discovery]; the local network is used if neither is false.", ""),
    live("log.level", "How much is logged: error, warn, info, debug or trace.", ""),
    live(
        "log.format",
        "Lines on stderr: text, as it suits a terminal, a file or the journal of systemd; or json, an object a line.",
        "",
    ),
    live(
        "log.targets",
        "Levels of parts of the node: daemon, netcore, or a module of one such as netcore::peers.",
        "{ netcore = \"debug\" }",
    ),
    restart("discovery.remembered", "Whether to dial peers known from earlier runs.", ""),
    restart("discovery.lan", "Whether to announce this node on the local network and to look for peers there.", ""),
    live(
        "discovery.dns_seeds",
        "Names whose A and AAAA records are addresses of nodes and whose TXT records are tickets: NAME or NAME:PORT.",
        "[\"seed.example.org\"]",
    ),
    restart(
        "discovery.resolver",
        "Resolver to ask for these names, IP:PORT, instead of the system's.",
        "\"192.0.2.53:53\"",
    ),
    live("discovery.builtin", "Whether to use the list of nodes that comes with the program.", ""),
    live("discovery.list", "More nodes to begin with: tickets, or addresses IP:PORT.", "[\"192.0.2.1:7470\"]"),
    restart("discovery.exchange", "Whether to ask peers for others, and to answer when they ask.", ""),
    restart("discovery.dht", "Whether to look for peers in the DHT.", ""),
    restart(
        "discovery.mainline.enabled",
        "Whether to announce this node in the BitTorrent Mainline DHT and look for others there. It publishes the node's \
         address.",
        "",
    ),
    restart("discovery.mainline.port", "UDP port of the IPv4 socket for Mainline; 0 means any.", ""),
    restart(
        "discovery.mainline.bootstrap",
        "Bootstrap nodes of Mainline, NAME:PORT. Without one: well-known ones.",
        "[\"router.example.org:6881\"]",
    ),
    restart("peers.low", "Low watermark: below this many connections, more peers are dialed. 1 to 768.", ""),
    restart("peers.high", "High watermark: above this many connections, the least useful are closed. 1 to 768.", ""),
    live(
        "metrics.listen",
        "A loopback address IP:PORT where metrics can be read, besides the socket in the home.",
        "\"127.0.0.1:9470\"",
    ),
];

/// Every key with its section, in the order of the example. The name of a limit is `limits.KEY`.
pub(super) fn rows() -> impl Iterator<Item = (String, Setting)> {
    let own = OWN.iter().map(|row| (row.key.to_owned(), *row));
    let limits = LIMITS.iter().map(|limit| {
        let row = live(limit.key, limit.meaning, limit_example(limit.key));
        (format!("limits.{}", limit.key), row)
    });
    own.chain(limits)
}

fn limit_example(key: &str) -> &'static str {
    match key {
        "quota" => "\"50GiB/month\"",
        "schedule" => "[\"01:00-07:00\"]",
        _ => "",
    }
}
