//! Lists of nodes: the built-in one and the operator's.

use polypeer_ipc_protocol::seeds::{Entry, InvalidEntry};
use polypeer_ipc_protocol::settings::DiscoverySettings;

/// One ticket or address a line; `#` begins a comment.
const BUILTIN: &str = include_str!("builtin.txt");

/// The built-in list, unless it is off, and the configured one. A test makes sure that each built-in line can be read.
pub(super) fn entries(settings: &DiscoverySettings) -> Vec<Entry> {
    let builtin = if settings.builtin { BUILTIN } else { "" };
    read(builtin).flatten().chain(settings.list.iter().cloned()).collect()
}

fn read(text: &str) -> impl Iterator<Item = Result<Entry, InvalidEntry>> {
    let content = |line: &'_ str| line.split('#').next().unwrap_or_default().trim().to_owned();
    text.lines().map(content).filter(|line| !line.is_empty()).map(|line| line.parse())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_builtin_list_can_be_read() {
        assert!(read(BUILTIN).count() <= polypeer_ipc_protocol::seeds::MAX_ENTRIES);
        for entry in read(BUILTIN) {
            entry.expect("a ticket or an address");
        }
    }

    #[test]
    fn comments_and_empty_lines_are_skipped() {
        let entries: Vec<_> = read("# nodes\n\n 192.0.2.1:7470 # one\nnonsense\n").collect();
        assert!(matches!(entries[..], [Ok(Entry::Address(_)), Err(_)]));
    }
}
