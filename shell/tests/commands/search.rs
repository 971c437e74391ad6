//! Commands that walk through a subtree.

use std::sync::{Arc, Mutex};

use ferrokeeper_shell::{Invocation, Screen, Shell};
use serde_json::json;

use crate::talk::{Paper, Talk, runtime, start, talk};

async fn grow(talk: &mut Talk) {
    talk.prepare(&[
        "create /app one",
        "create /app/b \"first word\"",
        "create /app/a x",
        "create /app/a/lock-1 \"a Word\"",
        "create -e /app/a/lock-2 mine",
        "create /app/c",
    ])
    .await;
}

#[test]
fn subtrees_are_drawn_searched_and_added_up() {
    let running = start();
    runtime().block_on(async {
        let mut talk = talk(&running, "").await;
        grow(&mut talk).await;
        assert_eq!(
            talk.say("tree /app").await,
            ["out /app", "out ├── a", "out │   ├── lock-1", "out │   └── lock-2", "out ├── b", "out └── c"]
        );
        assert_eq!(talk.say("tree -d 1 /app").await, ["out /app", "out ├── a", "out ├── b", "out └── c"]);
        assert_eq!(talk.say("find -name lock* /app").await, ["out /app/a/lock-1", "out /app/a/lock-2"]);
        assert_eq!(talk.say("find -ephemeral /").await, ["out /app/a/lock-2"]);
        assert_eq!(talk.say("find -data word -d 1 /app").await, ["out /app/b"]);
        assert_eq!(talk.say("grep word /app").await, ["out /app/b:1:first word"]);
        assert_eq!(
            talk.say("grep -i word /app").await,
            ["out /app/a/lock-1:1:a Word", "out /app/b:1:first word"]
        );
        assert_eq!(
            talk.say("du /app").await,
            ["out nodes bytes\n    6    24 /app\n    3    11 /app/a\n    1    10 /app/b\n    1     0 /app/c"]
        );
        assert_eq!(
            talk.ask("du --json /app/a").await,
            json!({
                "whole": { "path": "/app/a", "nodes": 3, "bytes": 11 },
                "children": [
                    { "path": "/app/a/lock-1", "nodes": 1, "bytes": 6 },
                    { "path": "/app/a/lock-2", "nodes": 1, "bytes": 4 },
                ],
                "unreadable": 0,
            })
        );
        assert_eq!(talk.ask("find --json -name none /app").await, json!({ "nodes": [], "unreadable": 0 }));
        assert_eq!(talk.ask("tree --json /app").await["nodes"][5]["path"], "/app/c");
        assert_eq!(talk.say("tree /none").await, ["err Node does not exist: /none"]);
        assert_eq!(talk.say("tree -d x /app").await, ["err For input string: \"x\""]);
    });
}

#[test]
fn what_may_not_be_read_is_named_and_the_rest_is_found() {
    let running = start();
    runtime().block_on(async {
        let mut talk = talk(&running, "").await;
        grow(&mut talk).await;
        talk.prepare(&["setAcl /app/a world:anyone:cda"]).await;
        assert_eq!(
            talk.say("find -data word /app").await,
            [
                "err /app/a cannot be read (NoAuth)",
                "out /app/b",
                "err 1 node could not be read, nor what is below"
            ]
        );
        assert_eq!(talk.shell.leave().await, 1);
    });
}

#[test]
fn wide_and_deep_trees_are_walked_with_more_nodes_than_are_asked_for_at_once() {
    let running = start();
    runtime().block_on(async {
        let mut talk = talk(&running, "").await;
        let mut path = String::new();
        for level in 0..12 {
            path += &format!("/level-{level}");
            talk.say(&format!("create {path}")).await;
            for number in 0..20 {
                talk.say(&format!("create {path}/{number} x")).await;
            }
        }
        let whole = talk.ask("du --json /level-0").await;
        assert_eq!(whole["whole"], json!({ "path": "/level-0", "nodes": 252, "bytes": 240 }));
        assert_eq!(talk.say("find -data x /level-0").await.len(), 240);
    });
}

/// Does something when a line is printed, and only then lets the shell go on.
struct Saboteur {
    paper: Paper,
    line: &'static str,
    act: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Screen for Saboteur {
    fn out(&self, text: &str) {
        self.paper.out(text);
        let act = self.act.lock().unwrap().take_if(|_| text == self.line);
        if let Some(act) = act {
            std::thread::spawn(act).join().unwrap();
        }
    }

    fn err(&self, text: &str) {
        self.paper.err(text);
    }
}

#[test]
fn nodes_that_vanish_in_front_of_a_walk_are_left_out() {
    let running = start();
    let runtime = runtime();
    let mut other = runtime.block_on(talk(&running, ""));
    runtime.block_on(async {
        other.prepare(&["create /app", "create /app/a", "create /app/a/below"]).await;
        // So many that the last one is listed and not yet asked for.
        for number in 0..100 {
            other.say(&format!("create /app/b-{number:03}")).await;
        }
    });
    let server = format!("127.0.0.1:{}", running.port);
    let act = move || {
        // Of one, the children are listed next; the other was only seen in the list of its siblings.
        self::runtime().block_on(async {
            let mut other = Talk::begin(&server).await;
            other.prepare(&["deleteall /app/a", "delete /app/b-099"]).await;
        });
    };
    let words = ["-server", &format!("127.0.0.1:{}", running.port)].map(str::to_owned);
    let screen =
        Arc::new(Saboteur { paper: Paper::default(), line: "/app/a", act: Mutex::new(Some(Box::new(act))) });
    runtime.block_on(async {
        let invocation = Invocation::parse(&words).unwrap();
        let mut shell =
            Shell::open(invocation, "test", Arc::clone(&screen) as Arc<dyn Screen>).await.unwrap();
        shell.line("find /app").await;
        assert_eq!(shell.leave().await, 0);
    });
    let printed = screen.paper.take();
    let found: Vec<&String> = printed.iter().filter(|line| line.starts_with("out /app")).collect();
    assert_eq!(found.len(), 2 + 99, "{found:?}");
    assert_eq!(found.last().unwrap().as_str(), "out /app/b-098");
}
