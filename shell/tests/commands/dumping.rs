//! Subtrees that go into files and come back.

use serde_json::json;

use crate::talk::{Talk, runtime, start, talk};

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Files {
        Files(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }
}

/// Paths below a node, their data and ACLs.
async fn picture(talk: &mut Talk, root: &str) -> Vec<String> {
    let mut picture = Vec::new();
    for node in talk.ask(&format!("ls -R --json {root}")).await["nodes"].as_array().unwrap() {
        let path = node.as_str().unwrap();
        let data = talk.ask(&format!("get --json {path}")).await;
        let acl = talk.ask(&format!("getAcl --json {path}")).await;
        let name = path.strip_prefix(root).unwrap();
        picture.push(format!("{name} {} {} {}", data["data"], data["encoding"], acl["acl"]));
    }
    picture
}

async fn grow(talk: &mut Talk) {
    talk.prepare(&["create /app \"\"", "create /app/null", "create /app/text \"ü, two\nlines\""]).await;
    talk.prepare(&["create /app/bytes x", "set -b /app/bytes /wD+", "addauth digest ben:secret"]).await;
    talk.prepare(&["create /app/mine 1 auth::cdrwa", "create /app/mine/below 2 world:anyone:cr"]).await;
    for number in 0..600 {
        talk.say(&format!("create /app/null/{number} {number}")).await;
    }
}

#[test]
fn an_import_is_equal_to_what_was_exported() {
    let running = start();
    let (files, large) = (Files::new(), "x".repeat(300_000));
    runtime().block_on(async {
        let mut talk = talk(&running, "").await;
        grow(&mut talk).await;
        // Two of them are more than a batch.
        for name in ["large-1", "large-2"] {
            talk.say(&format!("create /app/{name} {large}")).await;
        }
        talk.prepare(&["create -e /app/session", "create -s /app/mine/s-", "delete /app/mine/s-0000000001"])
            .await;
        let file = files.path("app.jsonl");
        let exported = talk.ask(&format!("export --json /app {file}")).await;
        assert_eq!((&exported["nodes"], &exported["ephemerals"]), (&json!(608), &json!(1)));
        assert!(
            talk.say(&format!("import -n {file} /copy"))
                .await
                .last()
                .unwrap()
                .contains("This would be 608 nodes")
        );
        assert_eq!(talk.say("stat /copy").await, ["err Node does not exist: /copy"]);
        let printed = talk.say(&format!("import {file} /copy")).await;
        assert!(printed[0].contains("numbers of sequential children begin anew below 1 node"), "{printed:?}");
        assert!(printed[1].starts_with("out 608 nodes with 601708 bytes"), "{printed:?}");
        talk.prepare(&["delete /app/session"]).await;
        assert_eq!(picture(&mut talk, "/copy").await, picture(&mut talk, "/app").await);
    });
}

#[test]
fn nothing_is_overwritten_unless_that_is_wanted() {
    let running = start();
    let files = Files::new();
    runtime().block_on(async {
        let mut talk = talk(&running, "").await;
        talk.prepare(&["create /a 1", "create /a/b 2"]).await;
        let file = files.path("a");
        talk.prepare(&[&format!("export /a {file}")]).await;
        assert_eq!(
            talk.say(&format!("export /a {file}")).await,
            [format!("err {file}: the file exists; -f overwrites it")]
        );
        talk.prepare(&["create /c", "setAcl /a/b world:anyone:cdrw", "set /a/b changed"]).await;
        assert_eq!(talk.say(&format!("export -f /c {file}-c")).await.len(), 1);
        assert_eq!(
            talk.say(&format!("import {file} /a")).await,
            [format!("err {file}:2: /a exists; -f overwrites it")]
        );
        assert_eq!(talk.say("get /a/b").await, ["out changed"]);
        // Its ACL does not let it be set to another.
        assert_eq!(
            talk.say(&format!("import -f {file} /a")).await,
            [format!("err {file}:3: Insufficient permission : /a/b; done before: 0 nodes")]
        );
        talk.prepare(&["delete /a/b", "create /a/b new world:anyone:cdrwa", "create /a/other"]).await;
        assert_eq!(talk.say(&format!("import -f {file} /a")).await, ["out 2 nodes with 2 bytes of data: /a"]);
        assert_eq!(talk.say("get /a/b").await, ["out 2"]);
        assert_eq!(talk.say("ls /a").await, ["out [b, other]"]);
    });
}

#[test]
fn a_broken_file_changes_nothing_and_is_named_with_its_line() {
    let running = start();
    let files = Files::new();
    runtime().block_on(async {
        let mut talk = talk(&running, "").await;
        talk.prepare(&["create /a 1", "create /a/b 2", "create /a/c 3"]).await;
        let file = files.path("a");
        talk.prepare(&[&format!("export /a {file}")]).await;
        let whole = std::fs::read_to_string(&file).unwrap();
        for (broken, line, reason) in [
            (whole.replace("/c", "//c"), 4, "Invalid path string"),
            (whole.replace("\"3\"", "3"), 4, "no text for data"),
            (whole.rsplit_once("{\"end").unwrap().0.to_owned(), 5, "the file ends here"),
        ] {
            std::fs::write(&file, broken).unwrap();
            let printed = talk.say(&format!("import {file} /new")).await;
            let begin = format!("err {file}:{line}: {reason}");
            assert!(printed.len() == 1 && printed[0].starts_with(&begin), "{printed:?}");
            assert_eq!(talk.say("ls /").await, ["out [a, zookeeper]"]);
        }
        assert!(talk.say("import /nonexistent /new").await[0].starts_with("err /nonexistent: "));
    });
}

#[test]
fn a_whole_server_moves_without_what_belongs_to_it() {
    let (old, new) = (start(), start());
    let files = Files::new();
    runtime().block_on(async {
        let mut from = talk(&old, "").await;
        from.prepare(&["create /a 1", "create /b 2"]).await;
        let file = files.path("all");
        assert_eq!(
            from.say(&format!("export / {file}")).await,
            [format!("out 3 nodes with 2 bytes of data: {file}")]
        );
        let mut to = talk(&new, "").await;
        assert_eq!(to.say(&format!("import {file} /")).await.len(), 1);
        assert_eq!(to.say("ls /").await, ["out [a, b, zookeeper]"]);
        assert_eq!(
            to.say(&format!("import {file} /")).await,
            [format!("err {file}:3: /a exists; -f overwrites it")]
        );
    });
}
