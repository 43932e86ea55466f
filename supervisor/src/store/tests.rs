use super::*;

fn chat() -> Installed {
    Installed {
        id: "chat".parse().expect("an id"),
        manifest: "[plugin]".into(),
        digest: "00".into(),
        enabled: true,
        source: "a folder".into(),
    }
}

#[test]
fn what_was_stored_is_there_after_opening_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("state.db");
    let chat = chat();
    let peer = NodeId([9; 32]);
    {
        let mut store = Store::open(&path).expect("a new store");
        store.install(&chat).expect("installed");
        let limits = [("memory".into(), Some("1GiB".into())), ("pids".into(), Some("9".into()))];
        store.set_limits(&chat.id, &limits).expect("set");
        store.set_limits(&chat.id, &[("pids".into(), None)]).expect("back to the default");
        store.change_peer_list(&chat.id, &[peer], &[]).expect("listed");
        store.set_note("bundled", "done").expect("noted");
    }
    let mut store = Store::open(&path).expect("the same store");
    assert_eq!(store.plugins().expect("read"), std::slice::from_ref(&chat));
    assert_eq!(store.limits(&chat.id).expect("read"), [("memory".into(), "1GiB".into())]);
    assert_eq!(store.peer_list(&chat.id).expect("read"), [peer]);
    assert_eq!(store.note("bundled").expect("read").as_deref(), Some("done"));
    store.install(&Installed { digest: "11".into(), ..chat.clone() }).expect("replaced");
    assert_eq!(store.limits(&chat.id).expect("read").len(), 1, "a new version keeps what the operator set");
    assert!(store.remove(&chat.id).expect("removed") && !store.remove(&chat.id).expect("gone already"));
    assert!(store.limits(&chat.id).expect("read").is_empty());
    assert!(!store.set_enabled(&chat.id, true).expect("nothing to enable"));
}

#[test]
fn damaged_and_foreign_files_are_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("state.db");
    std::fs::write(&path, b"not a database, but long enough to be looked at as one").expect("written");
    let error = Store::open(&path).expect_err("refused");
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(error.hint().contains("restore a backup"));
    assert!(std::fs::read(&path).expect("still there").starts_with(b"not a database"));
}

#[test]
fn page_overwritten_in_the_middle_is_found_at_opening() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("state.db");
    let mut store = Store::open(&path).expect("a new store");
    for number in 0..200 {
        store.set_note(&format!("note {number}"), &"x".repeat(200)).expect("noted");
    }
    drop(store);
    let mut bytes = std::fs::read(&path).expect("read");
    assert!(bytes.len() > 3 * 4096);
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 4096].fill(0xa5);
    std::fs::write(&path, &bytes).expect("damaged");
    assert!(matches!(Store::open(&path), Err(StoreError::Damaged { .. })));
    assert_eq!(std::fs::read(&path).expect("read"), bytes, "the file is as it was");
}

#[test]
fn later_layout_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("state.db");
    drop(Store::open(&path).expect("a new store"));
    let connection = Connection::open(&path).expect("opened");
    connection.pragma_update(None, "user_version", SCHEMA_VERSION + 1).expect("raised");
    drop(connection);
    let refused = Store::open(&path);
    assert!(matches!(refused, Err(StoreError::TooNew { found, .. }) if found == SCHEMA_VERSION + 1), "{refused:?}");
}

#[test]
fn earlier_layout_is_brought_up_to_date_with_all_that_it_holds() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("state.db");
    let connection = Connection::open(&path).expect("created");
    connection.execute_batch(SCHEMA).expect("the first layout");
    connection.pragma_update(None, "application_id", APPLICATION_ID).expect("set");
    connection.pragma_update(None, "user_version", 1).expect("set");
    connection.execute("INSERT INTO notes VALUES ('bundled', 'done')", []).expect("a note");
    drop(connection);
    for _ in 0..2 {
        let store = Store::open(&path).expect("the new layout");
        assert_eq!(store.note("bundled").expect("read").as_deref(), Some("done"));
        assert!(store.petnames().expect("read").is_empty());
    }
}

#[test]
fn change_without_room_fails_whole_and_leaves_the_state() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("state.db");
    let mut store = Store::open(&path).expect("a new store");
    store.install(&chat()).expect("installed");
    let pages: i64 = store.connection.pragma_query_value(None, "page_count", |row| row.get(0)).expect("counted");
    store.connection.pragma_update(None, "max_page_count", pages).expect("limited");
    let error = store.set_note("much", &"x".repeat(100_000)).expect_err("no room");
    assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
    assert_eq!(store.plugins().expect("read"), [chat()]);
    assert_eq!(store.note("much").expect("read"), None);
}

#[test]
fn finished_store_is_whole_in_one_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("state.db");
    let mut store = Store::open(&path).expect("a new store");
    store.install(&chat()).expect("installed");
    store.finish().expect("finished");
    assert_eq!(std::fs::read_dir(folder.path()).expect("read").count(), 1, "no journal beside it");
    let copy = folder.path().join("copy.db");
    std::fs::copy(&path, &copy).expect("copied");
    assert_eq!(Store::open(&copy).expect("the copy").plugins().expect("read"), [chat()]);
}
