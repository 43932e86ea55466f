use super::*;

pub(super) fn chat() -> Installed {
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
