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

fn recorded(candidate: &Candidate) -> Installed {
    Installed {
        id: id(),
        manifest: candidate.text.clone(),
        digest: candidate.digest.clone(),
        enabled: true,
        source: "a folder".into(),
    }
}

impl World {
    /// A link to the source, in place.
    fn linked(&self) -> Candidate {
        let candidate = inspect(&self.source, Way::Link).expect("can be linked");
        swap_in(&self.home, &candidate).expect("linked").keep();
        candidate
    }

    fn installed(&self, name: &str) -> String {
        std::fs::read_to_string(self.home.plugin(&id()).join(name)).expect("an installed file")
    }

    fn problem(&self) -> String {
        inspect(&self.source, Way::Copy).expect_err("refused").to_string()
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
    let candidate = inspect(&world.source, Way::Copy).expect("installable");
    swap_in(&world.home, &candidate).expect("copied").keep();
    let program = world.home.plugin(&id()).join("run");
    assert_eq!(std::fs::metadata(&program).expect("there").permissions().mode() & 0o7777, 0o755);
    assert_eq!(world.installed("lib/link"), "1");
    assert_eq!(inspect(&world.home.plugin(&id()), Way::Copy).expect("the copy").digest, candidate.digest);
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
    let error = inspect(&world.source, Way::Copy).expect_err("refused");
    assert!(matches!(error, InstallError::NoProgram { .. }), "{error}");
}

#[test]
fn folder_that_changed_after_it_was_shown_is_refused() {
    let world = world();
    let candidate = inspect(&world.source, Way::Copy).expect("installable");
    std::fs::write(world.source.join("lib/data"), "2").expect("changed");
    assert!(matches!(swap_in(&world.home, &candidate), Err(InstallError::Changed { .. })));
    assert!(world.names().is_empty(), "nothing is left over");
}

#[test]
fn crash_between_any_two_steps_leaves_one_whole_version() {
    let world = world();
    let first = inspect(&world.source, Way::Copy).expect("installable");
    swap_in(&world.home, &first).expect("copied").keep();
    std::fs::write(world.source.join("lib/data"), "2").expect("changed");
    let second = inspect(&world.source, Way::Copy).expect("installable");

    // Files swapped, record not written: the old version comes back.
    let _unfinished = swap_in(&world.home, &second).expect("copied");
    sweep(&world.home, &[recorded(&first)]).expect("swept");
    assert_eq!(world.installed("lib/data"), "1");

    // Record written, old version not removed yet: the new version stays.
    let _unfinished = swap_in(&world.home, &second).expect("copied");
    sweep(&world.home, &[recorded(&second)]).expect("swept");
    assert_eq!(world.installed("lib/data"), "2");

    // Half a copy, and between the two renames.
    std::fs::create_dir(world.home.plugins().join("chat.new")).expect("half a copy");
    std::fs::rename(world.home.plugin(&id()), world.home.plugins().join("chat.old")).expect("renamed");
    sweep(&world.home, &[recorded(&second)]).expect("swept");
    assert_eq!(world.installed("lib/data"), "2");
    assert_eq!(world.names(), ["chat"]);
}

#[test]
fn taking_back_restores_the_version_before() {
    let world = world();
    let first = inspect(&world.source, Way::Copy).expect("installable");
    swap_in(&world.home, &first).expect("copied").keep();
    std::fs::write(world.source.join("lib/data"), "2").expect("changed");
    let second = inspect(&world.source, Way::Copy).expect("installable");
    swap_in(&world.home, &second).expect("copied").take_back().expect("taken back");
    assert_eq!(world.installed("lib/data"), "1");
}

#[test]
fn edits_of_a_linked_plugin_are_installed_and_stay_when_it_is_removed() {
    let world = world();
    let candidate = world.linked();
    std::fs::write(world.source.join("lib/data"), "2").expect("edited");
    assert_eq!(world.installed("lib/data"), "2");
    assert_eq!(inspect(&world.source, Way::Link).expect("as before").digest, candidate.digest);
    delete(&world.home, &id()).expect("removed");
    assert!(world.names().is_empty() && world.source.join("plugin.toml").exists());
}

#[test]
fn changed_manifest_of_a_linked_plugin_is_told_and_approved_anew() {
    let world = world();
    let candidate = world.linked();
    let place = world.home.plugin(&id());
    assert_eq!(link_warning(&place, &candidate.text), None);
    std::fs::write(world.source.join("plugin.toml"), candidate.text.replace("1.0.0", "1.1.0")).expect("edited");
    assert!(link_warning(&place, &candidate.text).expect("told").contains("was changed since you approved it"));
    assert_ne!(inspect(&world.source, Way::Link).expect("valid").digest, candidate.digest);
    std::fs::remove_dir_all(&world.source).expect("removed");
    assert!(link_warning(&place, &candidate.text).expect("told").contains("cannot be read"));
}

#[test]
fn link_and_copy_replace_each_other() {
    let world = world();
    let copy = inspect(&world.source, Way::Copy).expect("installable");
    swap_in(&world.home, &copy).expect("copied").keep();
    let link = world.linked();
    assert!(world.home.plugin(&id()).is_symlink());

    // Files swapped, record not written: the link comes back, whatever was edited meanwhile.
    std::fs::write(world.source.join("lib/data"), "2").expect("edited");
    let copy = inspect(&world.source, Way::Copy).expect("installable");
    let _unfinished = swap_in(&world.home, &copy).expect("copied");
    sweep(&world.home, &[recorded(&link)]).expect("swept");
    assert!(world.home.plugin(&id()).is_symlink());

    // Record written: the copy stays. A link to a folder that is gone is replaced, too.
    swap_in(&world.home, &copy).expect("copied").keep();
    assert!(!world.home.plugin(&id()).is_symlink());
    let elsewhere = world.source.with_file_name("elsewhere");
    world.linked();
    std::fs::rename(&world.source, &elsewhere).expect("moved");
    swap_in(&world.home, &inspect(&elsewhere, Way::Link).expect("can be linked")).expect("linked").keep();
    assert_eq!(world.names(), ["chat"]);
    assert_eq!(world.installed("lib/data"), "2");
}

#[test]
fn folder_that_others_may_change_is_not_linked() {
    let open = world();
    std::fs::set_permissions(open.source.join("lib/data"), PermissionsExt::from_mode(0o666)).expect("rights");
    let error = inspect(&open.source, Way::Link).expect_err("refused").to_string();
    assert!(error.contains("lib/data is writable by every user"), "{error}");

    for skipped in ["__pycache__", ".git"] {
        let later = world();
        later.linked();
        let place = later.home.plugin(&id());
        check_at_start(&place).expect("as it was");
        std::fs::create_dir(later.source.join(skipped)).expect("a folder");
        let file = later.source.join(skipped).join("main.pyc");
        std::fs::write(&file, "").expect("a file");
        check_at_start(&place).expect("only the user's");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o666)).expect("rights");
        let error = check_at_start(&place).expect_err("refused").to_string();
        assert!(error.contains("main.pyc is writable by every user"), "{error}");
        std::fs::remove_file(&file).expect("removed");
        symlink("/bin/sh", &file).expect("a link");
        let error = check_at_start(&place).expect_err("refused").to_string();
        assert!(error.contains("leaves the folder"), "{error}");
    }

    let inside = world();
    let folder = inside.home.root().join("plugins/source");
    std::fs::rename(&inside.source, &folder).expect("moved");
    let candidate = inspect(&folder, Way::Link).expect("alone it is right");
    let error = swap_in(&inside.home, &candidate).expect_err("refused").to_string();
    assert!(error.contains("lie in each other"), "{error}");
}
