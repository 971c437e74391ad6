//! Every command says the same as JSON: one document on standard output, or an error on the other stream.

use ferrokeeper_shell::Invocation;
use serde_json::{Value, json};

use crate::talk::{Running, Talk, runtime, start, talk};

async fn json_talk(running: &Running) -> Talk {
    let server = format!("127.0.0.1:{}", running.port);
    let words = ["--json", "-server", &server, "-timeout", "5000"].map(str::to_owned);
    Talk::begin_with(Invocation::parse(&words).unwrap()).await
}

/// What the lines of one stream are together.
fn stream(printed: &[String], name: &str) -> Vec<Value> {
    let prefix = format!("{name} ");
    let text: String = printed.iter().filter_map(|line| line.strip_prefix(&prefix)).collect();
    serde_json::Deserializer::from_str(&text).into_iter().map(Result::unwrap).collect()
}

impl Talk {
    /// The document that a line leads to.
    pub async fn ask(&mut self, line: &str) -> Value {
        let printed = self.say(line).await;
        let documents = stream(&printed, "out");
        assert_eq!(documents.len(), 1, "{line}: {printed:?}");
        documents.into_iter().next().unwrap()
    }

    /// The error that a line leads to.
    pub async fn fail(&mut self, line: &str) -> Value {
        let printed = self.say(line).await;
        assert_eq!(stream(&printed, "out"), [Value::Null; 0], "{line}: {printed:?}");
        let complaints = stream(&printed, "err");
        complaints.last().unwrap_or_else(|| panic!("{line}: {printed:?}"))["error"].clone()
    }
}

#[test]
fn every_command_prints_one_document() {
    let running = start();
    runtime().block_on(async {
        let mut talk = json_talk(&running).await;
        assert_eq!(talk.ask("create /a \"some text\"").await["path"], "/a");
        let node = talk.ask("get /a").await;
        assert_eq!((&node["data"], &node["stat"]["dataLength"]), (&json!("some text"), &json!(9)));
        assert_eq!(talk.ask("set -b /a /w==").await["stat"]["version"], 1);
        let node = talk.ask("get /a").await;
        assert_eq!((&node["data"], &node["encoding"]), (&json!("/w=="), &json!("base64")));
        talk.ask("create /a/null").await;
        assert_eq!(talk.ask("get /a/null").await["data"], Value::Null);
        assert_eq!(talk.ask("ls /a").await["children"], json!(["null"]));
        assert_eq!(talk.ask("ls -R /a").await, json!({ "nodes": ["/a", "/a/null"] }));
        assert_eq!(talk.ask("stat /a").await["stat"]["numChildren"], 1);
        let acl = json!([{ "scheme": "world", "id": "anyone", "perms": "cdrwa" }]);
        assert_eq!(talk.ask("getAcl /a").await["acl"], acl);
        assert_eq!(talk.ask("setAcl -R /a world:anyone:cdrwa").await, json!({ "path": "/a", "refused": [] }));
        assert_eq!(talk.ask("setAcl /a world:anyone:cdrwa").await["stat"]["aversion"], 2);
        assert_eq!(talk.ask("getAllChildrenNumber /a").await, json!({ "path": "/a", "count": 1 }));
        assert_eq!(talk.ask("getEphemerals").await, json!({ "paths": [] }));
        assert_eq!(talk.ask("setquota -n 5 /a").await, json!({}));
        let quota = talk.ask("listquota /a").await;
        assert_eq!((&quota["quota"]["count"], &quota["stat"]["count"]), (&json!(5), &json!(2)));
        assert_eq!(talk.ask("delquota /a").await, json!({}));
        assert_eq!(talk.ask("sync /a").await, json!({}));
        assert_eq!(talk.ask("whoami").await["identities"][0]["scheme"], "ip");
        assert_eq!(talk.ask("addauth digest ben:x").await, json!({}));
        assert_eq!(talk.ask("version").await, json!({ "version": "test" }));
        assert_eq!(talk.ask("printwatches").await, json!({ "printwatches": true }));
        assert!(talk.ask("config").await["stat"]["version"].is_number());
        assert!(talk.ask("config -c").await["clients"].is_string());
        assert_eq!(talk.ask("delete /a/null").await, json!({}));
        assert_eq!(talk.ask("deleteall /a").await, json!({}));
        let history = talk.ask("history").await;
        assert_eq!(history["lines"].as_array().unwrap().last().unwrap()["line"], "history");
        assert_eq!(talk.ask("close").await, json!({}));
        talk.fail("ls /").await;
        assert_eq!(talk.ask("connect").await, json!({}));
    });
}

#[test]
fn what_goes_wrong_is_an_object_on_the_other_stream() {
    let running = start();
    runtime().block_on(async {
        let mut talk = json_talk(&running).await;
        assert_eq!(
            talk.fail("get /none").await,
            json!({ "code": "NoNode", "path": "/none", "message": "Node does not exist: /none" })
        );
        assert_eq!(talk.fail("ls -R /none").await["code"], "NoNode");
        assert_eq!(talk.fail("get none").await["code"], "BadArguments");
        assert_eq!(talk.fail("nonsense").await["code"], Value::Null);
        assert_eq!(talk.fail("get").await["message"].as_str().unwrap().split(' ').next(), Some("get"));
        assert_eq!(talk.fail("reconfig -remove 1").await["code"], "ReconfigDisabled");
        // Where zkCli complains and goes on, too.
        talk.fail("listquota /").await;
        talk.fail("setquota -n 0 /").await;
        assert_eq!(talk.shell.leave().await, 1);
    });
}

#[test]
fn events_do_not_stand_between_the_documents() {
    let running = start();
    runtime().block_on(async {
        let mut talk = json_talk(&running).await;
        talk.say("create /a").await;
        talk.say("get -w /a").await;
        let printed = talk.say("set /a 1").await;
        assert_eq!(stream(&printed, "out").len(), 1);
        let event = &stream(&printed, "err")[0]["event"];
        assert_eq!((&event["type"], &event["path"]), (&json!("NodeDataChanged"), &json!("/a")));
    });
}

#[test]
fn one_command_alone_can_be_asked_for_json() {
    let running = start();
    runtime().block_on(async {
        let mut talk = talk(&running, "").await;
        assert_eq!(talk.ask("ls / --json").await["children"], json!(["zookeeper"]));
        assert_eq!(talk.say("ls /").await, ["out [zookeeper]"]);
        assert_eq!(talk.ask("redo 0").await["children"], json!(["zookeeper"]));
        assert_eq!(talk.fail("get --json /none").await["code"], "NoNode");
    });
}
