//! `watch` and `txn`.

use serde_json::{Value, json};

use crate::talk::{Paper, Talk, runtime, start, talk};

/// Waits until something is printed.
async fn wait_for(paper: &Paper, text: &str) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    while !paper.holds(text) {
        assert!(tokio::time::Instant::now() < deadline, "never printed: {text}");
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
}

/// What a watch prints while another shell does something.
async fn watched(watcher: &mut Talk, line: &str, other: &mut Talk, lines: &[&str]) -> Vec<String> {
    let paper = std::sync::Arc::clone(&watcher.paper);
    let act = async {
        wait_for(&paper, "Watching ").await;
        other.prepare(lines).await;
    };
    tokio::join!(watcher.shell.line(line), act);
    // Not the zxids.
    let printed = watcher.printed();
    printed.iter().map(|line| line.split(" 0x").next().unwrap().to_owned()).collect()
}

#[test]
fn events_are_printed_as_they_come_and_once() {
    let running = start();
    runtime().block_on(async {
        let (mut watcher, mut other) = (talk(&running, "").await, talk(&running, "").await);
        other.prepare(&["create /a"]).await;
        let lines = ["create /a/b", "set /a/b 1", "set /a 1", "delete /a/b", "create /unseen"];
        assert_eq!(
            watched(&mut watcher, "watch -n 3 /a", &mut other, &lines).await,
            [
                "err Watching /a",
                "out NodeChildrenChanged /a",
                "out NodeDataChanged /a",
                "out NodeChildrenChanged /a"
            ]
        );
        let lines = ["create /a/b", "set /a/b 1"];
        assert_eq!(
            watched(&mut watcher, "watch -r -n 2 /a", &mut other, &lines).await,
            ["err Watching /a", "out NodeCreated /a/b", "out NodeDataChanged /a/b"]
        );
        // Other watches are told of as always.
        watcher.prepare(&["get -w /unseen"]).await;
        let lines = ["set /unseen 1", "set /a 2"];
        let printed = watched(&mut watcher, "watch -n 1 /a", &mut other, &lines).await;
        assert!(printed.contains(&"event state:SyncConnected type:NodeDataChanged path:/unseen".to_owned()));
        assert!(printed.contains(&"out NodeDataChanged /a".to_owned()), "{printed:?}");
        assert_eq!(printed.len(), 3, "{printed:?}");
        // The watch ended with the command.
        other.prepare(&["set /a 3"]).await;
        assert_eq!(watcher.say("sync /a").await, ["out Sync is OK"]);
    });
}

#[test]
fn a_transaction_happens_at_once_or_not_at_all() {
    let running = start();
    runtime().block_on(async {
        let mut talk = talk(&running, "").await;
        talk.prepare(&["create /a 1"]).await;
        for line in ["txn", "create -s /a/n- 'some data'", "set -v 0 /a 2", "check /a"] {
            assert_eq!(talk.say(line).await, [""; 0], "{line}");
        }
        assert_eq!(talk.shell.prompt(), "[txn 4] ");
        assert_eq!(
            talk.say("commit").await,
            ["out 1 created /a/n-0000000000", "out 2 set /a, version 1", "out 3 checked /a"]
        );
        assert_eq!(
            talk.say("txn 'delete /a/n-0000000000' 'check -v 7 /a'").await,
            ["err operation 2: version No is not valid : /a; nothing is changed"]
        );
        let done = talk.ask("txn --json 'delete /a/n-0000000000'").await;
        assert_eq!(done, json!({ "operations": [{ "done": "delete", "path": "/a/n-0000000000" }] }));
        talk.prepare(&["txn", "delete /a", "abort"]).await;
        assert_eq!(talk.ask("get --json /a").await["data"], "2");
        talk.prepare(&["txn", "delete /a", "nonsense"]).await;
        assert_eq!(talk.say("delete /a").await, ["err operation 2 makes no sense: only abort can follow"]);
        assert_eq!(talk.say("commit").await, ["err operation 2 makes no sense: nothing is changed"]);
        assert_ne!(talk.ask("stat --json /a").await, Value::Null);
        talk.prepare(&["txn", "delete /a"]).await;
        assert_eq!(talk.shell.leave().await, 1, "it was not committed");
    });
}

#[test]
fn the_servers_stand_in_a_table() {
    let running = start();
    runtime().block_on(async {
        let mut talk = talk(&running, "").await;
        talk.prepare(&["create /a"]).await;
        let server = &talk.ask("top --json").await["servers"][0];
        assert_eq!(server["server"], format!("127.0.0.1:{}", running.port));
        assert_eq!((&server["role"], &server["behind"]), (&json!("standalone"), &json!(0)));
        let printed = talk.say("top -n 2 -i 0").await;
        assert_eq!(printed.len(), 2);
        assert!(printed[0].starts_with("out SERVER "), "not a terminal, so nothing is cleared: {printed:?}");
    });
}
