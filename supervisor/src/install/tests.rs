use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

struct World {
    _folder: tempfile::TempDir,
    source: PathBuf,
    home: Home,
}

fn world() -> World {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let source = folder.path().join("source");
    std::fs::create_dir_all(source.join("lib")).expect("folders");
    let manifest = "[plugin]\nid = \"chat\"\nversion = \"1.0.0\"\ncommand = [\"./run\"]\n";
    std::fs::write(source.join("plugin.toml"), manifest).expect("a manifest");
    std::fs::write(source.join("run"), "#!/bin/sh\n").expect("a program");
    std::fs::set_permissions(source.join("run"), PermissionsExt::from_mode(0o4775)).expect("rights");
    std::fs::write(source.join("lib/data"), "1").expect("a file");
    symlink("../lib/data", source.join("lib/link")).expect("a link");
    let home = Home::at(folder.path().join("home"));
    home.prepare().expect("a home");
    World { _folder: folder, source, home }
}

fn id() -> PluginId {
    "chat".parse().expect("an id")
}

impl World {
    fn installed(&self, name: &str) -> String {
        std::fs::read_to_string(self.home.plugin(&id()).join(name)).expect("an installed file")
    }

    fn problem(&self) -> String {
        inspect(&self.source).expect_err("refused").to_string()
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.home.plugins()).expect("the folder of plugins");
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
        names.sort();
        names
    }
}

#[test]
fn copy_is_the_same_with_safe_rights() {
    let world = world();
    let candidate = inspect(&world.source).expect("installable");
    swap_in(&world.home, &candidate).expect("copied").keep();
    let program = world.home.plugin(&id()).join("run");
    assert_eq!(std::fs::metadata(&program).expect("there").permissions().mode() & 0o7777, 0o755);
    assert_eq!(world.installed("lib/link"), "1");
    assert_eq!(inspect(&world.home.plugin(&id())).expect("the copy").digest, candidate.digest);
    assert_eq!(world.names(), ["chat"]);
}

#[test]
fn links_out_and_special_files_are_refused() {
    for (target, place) in [("/etc/passwd", "out"), ("../../x", "out"), ("nowhere", "out"), ("../..", "lib/up")] {
        let world = world();
        symlink(target, world.source.join(place)).expect("a link");
        assert!(world.problem().contains("symbolic link"), "{target}");
    }
    // Lexically inside: here/.. is the root of the plugin. Really: here is the root, and .. its parent.
    let tricky = world();
    symlink(".", tricky.source.join("here")).expect("a link");
    symlink("../here/..", tricky.source.join("lib/escape")).expect("a link");
    assert!(tricky.problem().contains("symbolic link"));
    let special = world();
    let _socket = std::os::unix::net::UnixListener::bind(special.source.join("s")).expect("a socket");
    assert!(special.problem().contains("neither a file nor a folder"));
}

#[test]
fn too_much_is_refused() {
    let deep = world();
    std::fs::create_dir_all(deep.source.join("d/".repeat(MAX_DEPTH + 1))).expect("folders");
    assert!(deep.problem().contains("folders deep"));
    let large = world();
    let file = std::fs::File::create(large.source.join("large")).expect("a file");
    file.set_len(MAX_BYTES + 1).expect("a hole");
    assert!(large.problem().contains("more than 1024 MiB"));
    let many = world();
    for number in 0..MAX_ENTRIES {
        std::fs::File::create(many.source.join(format!("{number}"))).expect("a file");
    }
    assert!(many.problem().contains("more than 10000"));
}

#[test]
fn program_that_was_not_built_is_named() {
    let world = world();
    std::fs::remove_file(world.source.join("run")).expect("removed");
    let error = inspect(&world.source).expect_err("refused");
    assert!(matches!(error, InstallError::NoProgram { .. }), "{error}");
}

#[test]
fn folder_that_changed_after_it_was_shown_is_refused() {
    let world = world();
    let candidate = inspect(&world.source).expect("installable");
    std::fs::write(world.source.join("lib/data"), "2").expect("changed");
    assert!(matches!(swap_in(&world.home, &candidate), Err(InstallError::Changed { .. })));
    assert!(world.names().is_empty(), "nothing is left over");
}

#[test]
fn crash_between_any_two_steps_leaves_one_whole_version() {
    let world = world();
    let first = inspect(&world.source).expect("installable");
    swap_in(&world.home, &first).expect("copied").keep();
    std::fs::write(world.source.join("lib/data"), "2").expect("changed");
    let second = inspect(&world.source).expect("installable");

    // Files swapped, record not written: the old version comes back.
    let _unfinished = swap_in(&world.home, &second).expect("copied");
    sweep(&world.home, &[(id(), first.digest.clone())]).expect("swept");
    assert_eq!(world.installed("lib/data"), "1");

    // Record written, old version not removed yet: the new version stays.
    let _unfinished = swap_in(&world.home, &second).expect("copied");
    sweep(&world.home, &[(id(), second.digest.clone())]).expect("swept");
    assert_eq!(world.installed("lib/data"), "2");

    // Half a copy, and between the two renames.
    std::fs::create_dir(world.home.plugins().join("chat.new")).expect("half a copy");
    std::fs::rename(world.home.plugin(&id()), world.home.plugins().join("chat.old")).expect("renamed");
    sweep(&world.home, &[(id(), second.digest.clone())]).expect("swept");
    assert_eq!(world.installed("lib/data"), "2");
    assert_eq!(world.names(), ["chat"]);
}

#[test]
fn taking_back_restores_the_version_before() {
    let world = world();
    let first = inspect(&world.source).expect("installable");
    swap_in(&world.home, &first).expect("copied").keep();
    std::fs::write(world.source.join("lib/data"), "2").expect("changed");
    let second = inspect(&world.source).expect("installable");
    swap_in(&world.home, &second).expect("copied").take_back().expect("taken back");
    assert_eq!(world.installed("lib/data"), "1");
}
