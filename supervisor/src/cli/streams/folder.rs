//! What the archive of a folder may have, for `send` and `get` alike.

use std::path::{Component, Path};

/// Most files, folders and links in a folder that is sent. Their paths are held in memory: some 200 MB of them.
pub(super) const MAX_ENTRIES: usize = 1_000_000;

/// Whether the target of a symbolic link lies in a folder, whatever other links are there. `link` is the path of the
/// link below that folder. `..` may stand at the beginning of the target only, as often as there are folders above the
/// link.
pub(super) fn stays_inside(link: &Path, target: &Path) -> bool {
    let folders_above = link.components().count().saturating_sub(1);
    let mut components = target.components().peekable();
    let mut up = 0;
    while components.next_if_eq(&Component::ParentDir).is_some() {
        up += 1;
    }
    up <= folders_above && components.all(|component| matches!(component, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_stay_inside_are_told_from_those_that_lead_out() {
        for (link, target, inside) in [
            ("a", "b", true),
            ("a", "b/c", true),
            ("d/a", "../b", true),
            ("d/e/a", "../../b/c", true),
            ("a", "../b", false),
            ("d/a", "../../b", false),
            ("a", "/b", false),
            ("a", "b/../c", false),
            ("d/a", "../b/..", false),
            ("a", "..", false),
            ("a", ".", false),
        ] {
            assert_eq!(stays_inside(Path::new(link), Path::new(target)), inside, "{link} -> {target}");
        }
    }
}
