//! Nodes that are copied and moved.

use serde_json::json;

use crate::talk::{runtime, start, talk};

#[test]
fn nodes_are_copied_with_their_acls_alone_or_with_what_is_below() {
    let running = start();
    runtime().block_on(async {
        let mut talk = talk(&running, "").await;
        talk.prepare(&["create /a 1", "create /a/b 2 world:anyone:cdrw", "create -e /a/e"]).await;
        assert_eq!(talk.say("cp /a/b /c").await, [""; 0]);
        assert_eq!(talk.say("getAcl /c").await, ["out 'world,'anyone\n: cdrw"]);
        assert_eq!(talk.say("cp /a /c").await, ["err /a: Node already exists: /c; done before: 0 nodes"]);
        assert_eq!(talk.say("cp -r /a /copy").await, ["out 2 nodes: /copy; left out: 1 ephemeral"]);
        assert_eq!(talk.say("ls -R /copy").await, ["out /copy", "out /copy/b"]);
        let refused = "Node already exists: /copy";
        assert!(talk.say("cp -r /a /copy").await[0].contains(refused));
        talk.prepare(&["delete /a/b", "create /a/b 2", "deleteall /copy", "cp -r /a /copy", "set /copy 9"])
            .await;
        let copied = json!({ "path": "/copy", "nodes": 2, "ephemerals": 1, "unreadable": 0 });
        assert_eq!(talk.ask("cp -r -f --json /a /copy").await, copied);
        assert_eq!(talk.say("get /copy").await, ["out 1"]);
    });
}

#[test]
fn data_goes_into_files_and_comes_back() {
    let running = start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data").to_str().unwrap().to_owned();
    runtime().block_on(async {
        let mut talk = talk(&running, "").await;
        talk.prepare(&["create /a x", "set -b /a /wA="]).await;
        assert_eq!(talk.say(&format!("cp /a file:{file}")).await, [""; 0]);
        assert_eq!(std::fs::read(&file).unwrap(), b"\xff\x00");
        assert!(talk.say(&format!("cp /a file:{file}")).await[0].starts_with(&format!("err {file}: ")));
        assert_eq!(talk.say(&format!("cp file:{file} /b")).await, [""; 0]);
        assert_eq!(talk.ask("get --json /b").await["data"], "/wA=");
        std::fs::write(&file, "new").unwrap();
        assert_eq!(talk.say(&format!("cp file:{file} /b")).await, ["err Node already exists: /b"]);
        assert_eq!(talk.say(&format!("cp -f file:{file} /b")).await, [""; 0]);
        assert_eq!(talk.say("get /b").await, ["out new"]);
        assert!(talk.say(&format!("cp -r /a file:{file}")).await[0].contains("export and import"));
        assert!(talk.say("cp file:a file:b").await[0].starts_with("err cp [-r] [-f]"));
    });
}

#[test]
fn a_move_happens_at_once_or_not_at_all() {
    let running = start();
    runtime().block_on(async {
        let mut talk = talk(&running, "").await;
        talk.prepare(&["create /a 1", "create /a/b 2 world:anyone:cdrw", "create /a/b/c", "create /taken"])
            .await;
        assert_eq!(talk.say("mv /a /taken").await, ["err Node already exists: /taken; nothing is moved"]);
        assert_eq!(talk.say("mv /a /a/b/d").await, ["err /a/b/d is /a or lies below it"]);
        assert_eq!(talk.say("mv /a /new").await, [""; 0]);
        assert_eq!(talk.say("ls -R /new").await, ["out /new", "out /new/b", "out /new/b/c"]);
        assert_eq!(talk.say("getAcl /new/b").await, ["out 'world,'anyone\n: cdrw"]);
        assert_eq!(talk.say("stat /a").await, ["err Node does not exist: /a"]);
        talk.prepare(&["create -e /new/e"]).await;
        assert!(talk.say("mv /new /old").await[0].starts_with("err /new/e is ephemeral"));
        // Its parent does not let it go.
        talk.prepare(&["delete /new/e", "create /new/x", "create /new/x/y", "setAcl /new/x world:anyone:cr"])
            .await;
        assert_eq!(
            talk.say("mv /new /old").await,
            ["err Insufficient permission : /new/x/y; nothing is moved"]
        );
        assert_eq!(talk.say("stat /old").await, ["err Node does not exist: /old"]);
    });
}

#[test]
fn what_does_not_fit_into_one_transaction_is_not_moved() {
    let running = start();
    let large = "x".repeat(300_000);
    runtime().block_on(async {
        let mut talk = talk(&running, "").await;
        talk.prepare(&["create /a", &format!("create /a/1 {large}"), &format!("create /a/2 {large}")]).await;
        assert!(talk.say("mv /a /b").await[0].starts_with("err /a does not fit into one transaction"));
        assert_eq!(talk.say("ls /").await, ["out [a, zookeeper]"]);
    });
}
