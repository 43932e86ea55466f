//! Version 1: a folder below this process's group in each controller's hierarchy.

use super::discover::Found;
use super::{Controller, Tree, Version, files, folder_name};

pub(super) fn set_up(found: &Found, tag: &str) -> Tree {
    let mut tree = Tree { version: Version::V1, folders: Vec::new(), bare: None, why_not: Vec::new() };
    for controller in Controller::ALL {
        let Some((_, own)) = found.own.iter().find(|(of, _)| *of == controller) else {
            tree.why_not.push((controller, format!("this machine has no {} controller mounted", controller.name())));
            continue;
        };
        match files::make_folder(&own.join(folder_name(tag))) {
            Ok(path) => tree.folders.push((controller, path)),
            Err(error) => tree.why_not.push((controller, error.to_string())),
        }
    }
    tree
}
