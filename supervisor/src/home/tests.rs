use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::*;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("it exists").mode() & 0o777
}

#[test]
fn new_home_is_private_throughout() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let home = Home::at(folder.path().join("a/b"));
    home.prepare().expect("a new home");
    for path in [home.root().to_path_buf(), home.plugins(), home.logs(), home.run()] {
        assert_eq!(mode(&path), 0o700, "{}", path.display());
    }
    home.prepare().expect("the same home again");
}

#[test]
fn second_daemon_is_refused_by_pid_until_the_first_lets_go() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let home = Home::at(folder.path());
    home.prepare().expect("a home");
    let first = home.lock().expect("the first");
    let error = home.lock().expect_err("the second").to_string();
    assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
    drop(first);
    home.lock().expect("after the first");
}

#[test]
fn foreign_and_writable_folders_are_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("letter.txt"), "dear").expect("a file");
    assert!(matches!(Home::at(folder.path()).prepare(), Err(HomeError::Foreign { .. })));
    let open = folder.path().join("open");
    std::fs::create_dir(&open).expect("a folder");
    std::fs::set_permissions(&open, PermissionsExt::from_mode(0o777)).expect("rights");
    assert!(matches!(Home::at(&open).prepare(), Err(HomeError::Unsafe { .. })));
    let file = folder.path().join("letter.txt");
    assert!(Home::at(&file).prepare().is_err());
}

#[test]
fn sockets_of_a_long_home_move_to_a_short_private_folder() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let home = Home::at(folder.path().join("x".repeat(200)));
    home.prepare().expect("a long home");
    let lock = home.lock().expect("its lock");
    let sockets = home.sockets();
    assert!(sockets.as_os_str().len() + SOCKET_ROOM <= MAX_SOCKET_PATH);
    assert_eq!(mode(&sockets), 0o700);
    home.check_sockets().expect("private");
    drop(lock);
    std::fs::set_permissions(&sockets, PermissionsExt::from_mode(0o755)).expect("rights");
    assert!(matches!(home.lock(), Err(HomeError::Unsafe { .. })), "somebody may have been in it");
    std::fs::remove_dir(&sockets).expect("cleaned up");
}

#[test]
fn lock_whose_file_was_removed_is_taken_again_unless_another_was_quicker() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let home = Home::at(folder.path());
    home.prepare().expect("a home");
    assert_eq!(home.daemon(), None);
    let mut first = home.lock().expect("the first");
    assert_eq!(home.daemon(), Some(Some(std::process::id())));
    std::fs::remove_dir_all(home.run()).expect("removed");
    assert!(!first.is_ours(&home));
    first.renew(&home).expect("nobody else");
    assert!(first.is_ours(&home) && home.lock().is_err());
    std::fs::remove_file(home.run().join("daemon.lock")).expect("removed");
    let second = home.lock().expect("nothing says that there is one");
    assert!(matches!(first.renew(&home), Err(HomeError::Running { .. })));
    drop(second);
}

#[test]
fn commands_name_a_home_that_is_not_the_default_one() {
    let line = |root: &str| Home::at(root).command("run");
    assert_eq!(line("/srv/node"), "polypeer --home /srv/node run");
    assert_eq!(line("/srv/my node's"), r"polypeer --home '/srv/my node'\''s' run");
    let default = system::data_folder().expect("a folder");
    assert_eq!(Home::at(default).command("run"), "polypeer run");
}
