//! Finds a peer by its name or the start of its id, and says what is wrong with a text that fits none.

use polypeer_ipc_protocol::ids::NodeId;

use crate::cli_error::CliError;
use crate::control::known::KnownPeers;

/// Fewest characters of an id that are looked up.
const SHORTEST: usize = 4;
/// Length of a whole id.
const ID_LENGTH: usize = 52;
/// Length from which a text is taken for a mistyped id; no name is that long.
const LIKE_AN_ID: usize = 41;
/// What occurs in an id: z-base-32.
const ALPHABET: &str = "ybndrfg8ejkmcpqxot1uwisza345h769";
/// Most typing errors for which a known id or name is suggested. Ids that close by chance do not exist.
const MOST_ERRORS: usize = 2;
/// Most candidates listed.
const LISTED: usize = 5;

/// The peer with this name, or else the one whose id starts with `text`.
///
/// # Errors
/// When there is none, or several.
pub(super) fn find(text: &str, known: &KnownPeers) -> Result<NodeId, CliError> {
    if let Some((node, _)) = known.names.iter().find(|(_, name)| name.as_str() == text) {
        return Ok(*node);
    }
    let all = || known.nodes.iter().chain([&known.own]);
    let starting: Vec<&NodeId> = all().filter(|node| node.to_string().starts_with(text)).collect();
    match starting[..] {
        [node] if text.len() >= SHORTEST => Ok(*node),
        [] => Err(unknown(text, known)),
        [_] => Err(CliError::usage(
            format!("{text:?} is too short for the start of a node id"),
            format!("type at least {SHORTEST} characters of it, or a name"),
        )),
        _ => {
            let mut candidates: Vec<_> = starting.iter().take(LISTED).map(|node| candidate(node, known)).collect();
            if starting.len() > LISTED {
                candidates.push("…".into());
            }
            let message = format!("{text:?} fits {} peers: {}", starting.len(), candidates.join(", "));
            Err(CliError::usage(message, "type more characters of the one you mean, or its name"))
        }
    }
}

/// Checks a whole id that was typed: one that differs from a known id by a typing error is not another peer's.
///
/// # Errors
/// When it is that close to a known one.
pub(super) fn check(node: &NodeId, known: &KnownPeers) -> Result<(), CliError> {
    if *node == known.own || known.nodes.binary_search(node).is_ok() {
        return Ok(());
    }
    let text = node.to_string();
    match nearest(&text, known) {
        Some(meant) => Err(CliError::usage(
            format!("the node id {text} has a typing error: only a few characters differ from a peer you know"),
            format!("did you mean {}?", full(&meant, known)),
        )),
        None => Ok(()),
    }
}

/// Why a text is no whole node id, if it was meant as one.
pub(super) fn fault(text: &str) -> Option<String> {
    let length = text.chars().count();
    if length < LIKE_AN_ID {
        return None;
    }
    if let Some((at, c)) = text.chars().enumerate().find(|(_, c)| !ALPHABET.contains(*c)) {
        return Some(format!("{text} is no node id: {c:?}, character {}, does not occur in one", at + 1));
    }
    Some(match length {
        // 52 characters have 4 bits more than 32 bytes; these are 0.
        ID_LENGTH => format!("{text} is no node id: its last character is not 'y' or 'o', so it has a typing error"),
        _ => format!("{text} is no node id: it has {length} characters, and a node id has {ID_LENGTH}"),
    })
}

fn unknown(text: &str, known: &KnownPeers) -> CliError {
    let hint = nearest(text, known).map(|meant| format!("did you mean {}?", full(&meant, known)));
    if let Some(fault) = fault(text) {
        return CliError::usage(fault, hint.unwrap_or_else(|| "copy the whole id; `polypeer peers` lists them".into()));
    }
    let near =
        known.names.values().find(|name| strsim::osa_distance(name.as_str(), text) <= MOST_ERRORS.min(text.len() / 2));
    let hint = match near {
        Some(name) => format!("did you mean {name}?"),
        None => format!("`polypeer peers` lists them; name one with `polypeer peers name NODE-ID {text}`"),
    };
    CliError::usage(format!("no peer has the name {text:?} or an id that starts with it"), hint)
}

/// The known id that a text differs from by typing errors.
fn nearest(text: &str, known: &KnownPeers) -> Option<NodeId> {
    if text.len().abs_diff(ID_LENGTH) > MOST_ERRORS {
        return None;
    }
    let distance = |node: &NodeId| strsim::osa_distance(&node.to_string(), text);
    let (errors, node) = known.nodes.iter().chain([&known.own]).map(|node| (distance(node), *node)).min()?;
    (errors <= MOST_ERRORS).then_some(node)
}

/// A peer among others that its text must be told from.
fn candidate(node: &NodeId, known: &KnownPeers) -> String {
    match known.name(node) {
        _ if *node == known.own => format!("{node} (your own node)"),
        Some(name) => format!("{name} ({node})"),
        None => node.to_string(),
    }
}

/// A whole id to be copied, with its name.
fn full(node: &NodeId, known: &KnownPeers) -> String {
    candidate(node, known)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const ANN: NodeId = NodeId([0xa1; 32]);
    const OWN: NodeId = NodeId([0; 32]);

    fn known(more: &[NodeId]) -> KnownPeers {
        let mut nodes = vec![ANN];
        nodes.extend(more);
        nodes.sort_unstable();
        KnownPeers { own: OWN, names: BTreeMap::from([(ANN, "ann".parse().expect("a name"))]), nodes }
    }

    #[track_caller]
    fn refused(text: &str, known: &KnownPeers, message: &str, hint: &str) {
        let error = find(text, known).expect_err("refused");
        assert_eq!(error.exit, crate::cli_error::Exit::Usage);
        assert!(error.message.contains(message) && error.hint.contains(hint), "{text}: {error:?}");
    }

    #[test]
    fn peer_is_found_by_its_name_and_by_the_start_of_its_id() {
        let id = ANN.to_string();
        for text in ["ann", &id, &id[..SHORTEST], &id[..51]] {
            assert_eq!(find(text, &known(&[])).expect("found"), ANN, "{text}");
        }
        refused(&id[..SHORTEST - 1], &known(&[]), "too short", "at least 4 characters");
        refused("anne", &known(&[]), "no peer has the name \"anne\"", "did you mean ann?");
        refused("bob", &known(&[]), "no peer has the name", "peers name NODE-ID bob");
    }

    #[test]
    fn start_that_fits_several_lists_them() {
        let mut other = ANN;
        other.0[31] = 0;
        let id = ANN.to_string();
        refused(&id[..6], &known(&[other]), &format!("fits 2 peers: {other}, ann ({id})"), "more characters");
        let many: Vec<_> =
            (0..9).map(|last| NodeId([[0xa1; 31].as_slice(), &[last]].concat().try_into().expect("32"))).collect();
        refused(&id[..6], &known(&many), "fits 10 peers", "more characters");
        assert!(find(&id[..6], &known(&many)).expect_err("ambiguous").message.ends_with(", …"));
    }

    #[test]
    fn name_is_stronger_than_the_start_of_an_id() {
        let mut peers = known(&[]);
        let other = NodeId([9; 32]);
        peers.nodes.insert(0, other);
        let start = ANN.to_string()[..6].to_owned();
        peers.names.insert(other, start.parse().expect("a name"));
        assert_eq!(find(&start, &peers).expect("the named one"), other);
    }

    #[test]
    fn mistyped_id_is_told_from_one_of_the_wrong_length() {
        let id = ANN.to_string();
        let close = format!("did you mean ann ({id})?");
        refused(&format!("{}l{}", &id[..6], &id[7..]), &known(&[]), "'l', character 7, does not occur", &close);
        refused(
            &format!("{}{}", &id[..20], &id[21..]),
            &known(&[]),
            "it has 51 characters, and a node id has 52",
            &close,
        );
        refused(&format!("{id}y"), &known(&[]), "it has 53 characters", &close);
        refused(&format!("{}b", &id[..51]), &known(&[]), "its last character is not 'y' or 'o'", &close);
        refused(&"b".repeat(45), &known(&[]), "it has 45 characters", "copy the whole id");
        let mut typo = ANN;
        typo.0[3] ^= 1;
        let error = check(&typo, &known(&[])).expect_err("a typing error");
        assert!(error.message.contains("typing error") && error.hint == close, "{error:?}");
        for right in [ANN, OWN, NodeId([0x55; 32])] {
            check(&right, &known(&[])).expect("a known one, or quite another");
        }
    }
}
