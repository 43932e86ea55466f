//! The content of the file after a restart, a full disk, a crash or an attack.

use std::fs;
use std::path::Path;

use polypeer_engine::peers::book::{Entry, Known, MAX_NODES};
use polypeer_engine::peers::score::{ScoreEvent, Standing};
use polypeer_engine::source::Source;
use polypeer_ipc_protocol::ids::NodeId;
use rusqlite::Connection;

use super::file::STEPS;
use super::{FILE, Store, StoreError};

fn node(number: u8) -> NodeId {
    NodeId([number; 32])
}

fn entry(seen: u64) -> Entry {
    let address = "192.0.2.1:7470".parse().expect("address");
    let known = Known { address, source: Source::Remembered, worked: Some(seen) };
    Entry { addresses: vec![known], seen: Some(seen), remembered: true, ..Entry::default() }
}

#[tokio::test]
async fn what_was_put_is_there_after_a_restart() {
    let home = tempfile::tempdir().expect("temporary folder");
    let first = Store::open(home.path());
    assert!(first.warnings.is_empty(), "{:?}", first.warnings);
    first.store.put(node(1), entry(10));
    first.store.put_now(node(2), Entry { blocked: true, ..Entry::default() }).await.expect("written");
    first.store.put(node(3), entry(30));
    first.store.remove_now(node(3)).await.expect("removed");
    drop(first);
    let second = Store::open(home.path());
    assert_eq!(second.peers.len(), 2);
    assert!(second.peers[0].1.blocked && !second.peers[0].1.remembered, "what the operator said comes first");
    assert_eq!(second.peers[1], (node(1), entry(10)));
}

#[tokio::test]
async fn a_file_of_the_first_version_is_brought_up_to_date() {
    let home = tempfile::tempdir().expect("temporary folder");
    let old = Connection::open(home.path().join(FILE)).expect("open");
    old.execute_batch(STEPS[0]).expect("the first tables");
    let fill = "PRAGMA user_version = 1;
        INSERT INTO peers (node, blocked, seen) VALUES (randomblob(32), 1, NULL);
        INSERT INTO peers (node, blocked, seen) VALUES (zeroblob(32), 0, 10);
        INSERT INTO addresses VALUES (zeroblob(32), '192.0.2.1:7470', 10);";
    old.execute_batch(fill).expect("filled");
    drop(old);
    for _ in 0..2 {
        let loaded = Store::open(home.path());
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        assert!(loaded.peers[0].1.blocked);
        assert_eq!(loaded.peers[1], (node(0), entry(10)));
    }
}

#[tokio::test]
async fn protection_score_and_ban_are_there_after_a_restart() {
    let home = tempfile::tempdir().expect("temporary folder");
    let first = Store::open(home.path());
    let mut standing = Standing::default();
    while !standing.count(1000, ScoreEvent::Misbehaved) {}
    let known = Entry { protected: true, standing, ..entry(5) };
    first.store.put_now(node(1), known.clone()).await.expect("written");
    drop(first);
    assert_eq!(Store::open(home.path()).peers, [(node(1), known)]);
}

#[test]
fn damaged_file_is_set_aside_each_time_and_never_lost() {
    let home = tempfile::tempdir().expect("temporary folder");
    for number in 1..=2 {
        fs::write(home.path().join(FILE), b"this is not a database, and long enough to be sure of it").expect("write");
        let loaded = Store::open(home.path());
        assert!(loaded.warnings[0].contains("damaged") && loaded.peers.is_empty(), "{:?}", loaded.warnings);
        drop(loaded);
        let aside = home.path().join(format!("{FILE}.damaged-{number}"));
        assert!(fs::read(aside).expect("kept").starts_with(b"this is not"));
    }
}

#[tokio::test]
async fn file_damaged_in_the_middle_is_noticed_at_the_start() {
    let home = tempfile::tempdir().expect("temporary folder");
    let first = Store::open(home.path());
    for number in 0..200 {
        first.store.put_now(node(number), entry(1)).await.expect("written");
    }
    drop(first);
    let path = home.path().join(FILE);
    let mut content = fs::read(&path).expect("read");
    let length = content.len();
    content[4096..length - 4096].fill(0xa5);
    fs::write(&path, content).expect("write");
    let loaded = Store::open(home.path());
    assert!(loaded.warnings.first().is_some_and(|text| text.contains("damaged")), "{:?}", loaded.warnings);
}

#[tokio::test]
async fn folder_that_cannot_be_used_is_a_warning() {
    let loaded = Store::open(Path::new("/proc/nowhere"));
    assert!(loaded.warnings[0].contains("cannot be used"), "{:?}", loaded.warnings);
    loaded.store.put(node(1), entry(1));
    assert_eq!(loaded.store.put_now(node(1), entry(1)).await, Err(StoreError::Unavailable));
}

#[tokio::test]
async fn failing_write_is_a_problem_until_one_succeeds() {
    let home = tempfile::tempdir().expect("temporary folder");
    let loaded = Store::open(home.path());
    let other = Connection::open(home.path().join(FILE)).expect("open");
    other
        .execute_batch("CREATE TRIGGER full BEFORE INSERT ON peers BEGIN SELECT raise(FAIL, 'disk'); END")
        .expect("trigger");
    let failed = loaded.store.put_now(node(1), entry(1)).await;
    assert!(matches!(failed, Err(StoreError::Write { .. })), "{failed:?}");
    assert!(loaded.store.problem().is_some_and(|problem| problem.contains("disk")));
    loaded.store.finish().await;
    assert!(loaded.store.problem().is_some(), "nothing was written since");
    other.execute_batch("DROP TRIGGER full").expect("drop");
    loaded.store.put_now(node(1), entry(1)).await.expect("written");
    assert_eq!(loaded.store.problem(), None);
}

#[tokio::test]
async fn block_that_could_not_be_written_is_written_when_there_is_room_again() {
    let home = tempfile::tempdir().expect("temporary folder");
    let full = "CREATE TRIGGER full BEFORE INSERT ON peers WHEN NEW.blocked BEGIN SELECT raise(FAIL, 'disk'); END";
    let blocked = || Entry { blocked: true, ..Entry::default() };
    let loaded = Store::open(home.path());
    let other = Connection::open(home.path().join(FILE)).expect("open");
    other.execute_batch(full).expect("trigger");
    assert!(loaded.store.put_now(node(1), blocked()).await.is_err());
    loaded.store.put_now(node(2), entry(1)).await.expect("what is smaller fits");
    assert!(loaded.store.problem().is_some_and(|problem| problem.contains("blocked peers")));
    other.execute_batch("DROP TRIGGER full").expect("drop");
    loaded.store.retry();
    loaded.store.finish().await;
    assert_eq!(loaded.store.problem(), None);
    other.execute_batch(full).expect("trigger");
    assert!(loaded.store.put_now(node(3), blocked()).await.is_err());
    other.execute_batch("DROP TRIGGER full").expect("drop");
    drop(loaded); // retries for the last time
    let peers = Store::open(home.path()).peers;
    let is_blocked = |number| peers.iter().any(|(peer, entry)| *peer == node(number) && entry.blocked);
    assert!(is_blocked(1) && is_blocked(3), "{peers:?}");
}

#[tokio::test]
async fn peers_in_the_file_are_bounded_and_blocked_ones_stay() {
    let home = tempfile::tempdir().expect("temporary folder");
    let loaded = Store::open(home.path());
    let database = Connection::open(home.path().join(FILE)).expect("open");
    loaded.store.put_now(node(1), Entry { blocked: true, ..Entry::default() }).await.expect("written");
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
                INSERT INTO peers (node, blocked, seen) SELECT CAST(printf('%032d', i) AS BLOB), 0, i FROM n";
    database.execute_batch(fill).expect("fill");
    loaded.store.put_now(node(2), entry(9999)).await.expect("written");
    let count: i64 = database.query_row("SELECT count(*) FROM peers", [], |row| row.get(0)).expect("count");
    assert_eq!(count, MAX_NODES as i64);
    drop(loaded);
    let nodes: Vec<NodeId> = Store::open(home.path()).peers.into_iter().map(|(node, _)| node).collect();
    assert!(nodes.contains(&node(1)) && nodes.contains(&node(2)));
}

#[tokio::test]
async fn peers_and_bans_stay_in_the_file_though_thousands_come_after_them() {
    let home = tempfile::tempdir().expect("temporary folder");
    let loaded = Store::open(home.path());
    let mut standing = Standing::default();
    while !standing.count(5, ScoreEvent::Misbehaved) {}
    loaded.store.put_now(node(1), Entry { dialed: true, ..entry(1) }).await.expect("written");
    loaded.store.put_now(node(2), Entry { standing, ..entry(2) }).await.expect("written");
    loaded.store.put_now(node(3), Entry { connected: true, ..entry(3) }).await.expect("written");
    let database = Connection::open(home.path().join(FILE)).expect("open");
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
                INSERT INTO peers (node, blocked, seen) SELECT CAST(printf('%032d', i) AS BLOB), 0, 100 + i FROM n";
    database.execute_batch(fill).expect("fill");
    loaded.store.put_now(node(4), entry(9999)).await.expect("written");
    drop(loaded);
    let nodes: Vec<NodeId> = Store::open(home.path()).peers.into_iter().map(|(node, _)| node).collect();
    assert_eq!(nodes.len(), MAX_NODES);
    assert!([1, 2, 3].iter().all(|kept| nodes.contains(&node(*kept))));
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_can_read_whom_this_node_knows() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().expect("temporary folder");
    // As an earlier version wrote it, with permissions from the umask.
    std::fs::write(home.path().join(FILE), "").expect("written");
    std::fs::set_permissions(home.path().join(FILE), PermissionsExt::from_mode(0o644)).expect("chmod");
    let loaded = Store::open(home.path());
    loaded.store.put_now(node(1), entry(1)).await.expect("written");
    let files: Vec<_> = std::fs::read_dir(home.path()).expect("read").map(|file| file.expect("an entry")).collect();
    assert!(files.len() > 1, "side files too");
    for file in files {
        let mode = file.metadata().expect("metadata").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", file.path());
    }
}

#[tokio::test]
async fn finished_store_is_one_file_and_can_still_be_written() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let loaded = Store::open(home.path());
    loaded.store.put_now(node(1), entry(1)).await.expect("written");
    loaded.store.finish().await;
    let files = || std::fs::read_dir(home.path()).expect("read").count();
    assert_eq!(files(), 1, "no journal beside it");
    loaded.store.put_now(node(2), entry(2)).await.expect("a late change");
    assert_eq!(files(), 1);
}
