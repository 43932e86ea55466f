//! Rules about several keys of a manifest, and about the length of lists and texts.

use std::path::Path;

use polypeer_ipc_protocol::ids::OPERATOR;

use super::{Live, Manifest, Mode, Privacy, Ready, Tunnel, allowed, stays_inside};
use crate::toml_file::Contradiction;

/// Most entries of a list. Honest manifests have short lists, since patterns replace many entries.
const MAX_LIST: usize = 64;
/// Most bytes of the command, all words together.
const MAX_COMMAND: usize = 4096;

fn wrong(place: &str, what: impl Into<String>, hint: impl Into<String>) -> Contradiction {
    Contradiction { place: place.split('.').map(Into::into).collect(), what: what.into(), hint: hint.into() }
}

/// The first rule that `manifest` violates.
pub(super) fn contradiction(manifest: &Manifest) -> Option<Contradiction> {
    identity(manifest)
        .or_else(|| command(manifest))
        .or_else(|| texts(manifest))
        .or_else(|| lists(manifest))
        .or_else(|| permissions(manifest))
        .or_else(|| limits(manifest))
        .or_else(|| mode(manifest))
        .or_else(|| manifest.tunnel.iter().find_map(|tunnel| broken_tunnel(manifest, tunnel)))
}

fn identity(manifest: &Manifest) -> Option<Contradiction> {
    let taken = manifest.plugin.id.as_str() == OPERATOR;
    taken.then(|| wrong("plugin.id", format!("{OPERATOR:?} is what your own commands are called"), "choose another id"))
}

fn command(manifest: &Manifest) -> Option<Contradiction> {
    let plugin = &manifest.plugin;
    let place = "plugin.command";
    let Some(program) = plugin.command.first().filter(|program| !program.is_empty()) else {
        return Some(wrong(
            place,
            "the command is empty",
            "expected a program and its arguments: [\"python3\", \"main.py\"]",
        ));
    };
    if plugin.command.iter().map(String::len).sum::<usize>() > MAX_COMMAND
        || plugin.command.iter().any(|w| w.contains('\0'))
    {
        return Some(wrong(place, "the command is too long or holds a zero byte", "shorten it, or put it in a script"));
    }
    let path = Path::new(program);
    let fits = !program.contains('/') || stays_inside(path) || (path.is_absolute() && plugin.mode == Mode::Service);
    if fits && !program.split('/').any(|part| part == "..") {
        return None;
    }
    Some(wrong(
        place,
        format!("the program {program:?} is outside the plugin's folder"),
        "expected a name found in PATH, such as \"python3\", or a relative path without \"..\", such as \"./bin/app\"",
    ))
}

fn texts(manifest: &Manifest) -> Option<Contradiction> {
    let plugin = &manifest.plugin;
    let texts =
        [("name", plugin.name.as_deref().unwrap_or("x"), 80), ("description", plugin.description.as_str(), 500)];
    for (key, text, most) in texts {
        if text.chars().count() > most || text.chars().any(char::is_control) {
            let what = format!("{key} is over {most} characters or holds control characters");
            return Some(wrong(&format!("plugin.{key}"), what, "expected a short text on one line"));
        }
    }
    plugin
        .name
        .as_ref()
        .filter(|name| name.trim().is_empty())
        .map(|_| wrong("plugin.name", "name is empty", "expected a name for people, or no key at all"))
}

fn lists(manifest: &Manifest) -> Option<Contradiction> {
    let permissions = manifest.permissions.entries().map(|(key, length)| (format!("permissions.{key}"), length));
    let others = [("plugin.requires".into(), manifest.plugin.requires.len()), ("tunnel".into(), manifest.tunnel.len())];
    let (place, length) = permissions.chain(others).find(|(_, length)| *length > MAX_LIST)?;
    Some(wrong(&place, format!("{length} entries; expected at most {MAX_LIST}"), "use patterns such as \"chat/*\""))
}

fn permissions(manifest: &Manifest) -> Option<Contradiction> {
    let asked = &manifest.permissions;
    if asked.persona && asked.privacy == Privacy::Direct {
        let what = "persona = true with privacy = \"direct\": one address would link both node ids";
        return Some(wrong("permissions.persona", what, "expected privacy = \"relayed\" or \"private\""));
    }
    if asked.host_ports.contains(&0) {
        return Some(wrong("permissions.host_ports", "0 is not a port", "expected ports from 1 to 65535"));
    }
    manifest
        .plugin
        .requires
        .contains(&manifest.plugin.id)
        .then(|| wrong("plugin.requires", "the plugin requires itself", "remove its own id from the list"))
}

fn limits(manifest: &Manifest) -> Option<Contradiction> {
    let (key, what) = manifest.limits.check().err()?;
    Some(wrong(&format!("limits.{key}"), what, "correct the value"))
}

fn mode(manifest: &Manifest) -> Option<Contradiction> {
    let Manifest { plugin, health, .. } = manifest;
    let service = plugin.mode == Mode::Service;
    if service && manifest.tunnel.is_empty() && manifest.socks5.is_none() {
        let what = "mode = \"service\" without a [[tunnel]] or [socks5]: the program could not reach a peer";
        return Some(wrong("plugin.mode", what, "add a [[tunnel]] or [socks5], or use mode = \"native\""));
    }
    if manifest.socks5.as_ref().is_some_and(|proxy| !proxy.listen.ip().is_loopback() || proxy.listen.port() == 0) {
        return Some(wrong("socks5.listen", "not a loopback address", "expected one such as \"127.0.0.1:1080\""));
    }
    let native = plugin.mode == Mode::Native;
    if !native && matches!(health.ready, Some(Ready::Session | Ready::Notify)) {
        let what = "only mode = \"native\" has a session to be ready by";
        return Some(wrong("health.ready", what, "expected \"tcp:PORT\" or \"none\""));
    }
    match &health.live {
        Some(Live::Session) if !native => {
            let what = "only mode = \"native\" has a session to live by";
            Some(wrong("health.live", what, "expected \"tcp:PORT\" or a command"))
        }
        Some(Live::Command(words))
            if words.first().is_none_or(|program| {
                program.is_empty() || (program.contains('/') && !stays_inside(Path::new(program)))
            }) =>
        {
            let what = "the command is empty or its program is outside the plugin's folder";
            Some(wrong("health.live", what, "expected a program and its arguments, such as [\"./check\"]"))
        }
        _ => None,
    }
}

fn broken_tunnel(manifest: &Manifest, tunnel: &Tunnel) -> Option<Contradiction> {
    let Tunnel { serve, to, dial, from, peer } = tunnel;
    let asked = &manifest.permissions;
    let used = manifest.plugin.mode == Mode::Service; // elsewhere it is accepted, and said not to be enforced
    match (serve, to, dial, from) {
        (Some(protocol), Some(_), None, None) => {
            if peer.is_some() {
                let what = "peer belongs to a [[tunnel]] with dial";
                return Some(wrong("tunnel", what, "remove peer; who may reach it is permissions.peers"));
            }
            (used && !allowed(&asked.serve.0, protocol)).then(|| {
                let what = format!("the [[tunnel]] serves {protocol}, which permissions.serve does not ask for");
                wrong("tunnel", what, format!("add {protocol:?} to serve in [permissions]"))
            })
        }
        (None, None, Some(protocol), Some(_)) => (used && !allowed(&asked.dial.0, protocol)).then(|| {
            let what = format!("the [[tunnel]] dials {protocol}, which permissions.dial does not ask for");
            wrong("tunnel", what, format!("add {protocol:?} to dial in [permissions]"))
        }),
        _ => Some(wrong(
            "tunnel",
            "a [[tunnel]] has either serve and to, or dial and from",
            "split it in two, or add the missing key",
        )),
    }
}
