//! The commands of the scenarios. `testdata/README.md` explains them to those who write scenarios.

use std::borrow::Cow;

use protocol::client::multi::{MultiHeader, MultiOp, write_op};
use protocol::client::request::{CreateRequest, Request};
use protocol::client::watch::WatcherType;
use protocol::txn::{CreateTxn, Transaction, TxnBody};
use protocol::{AclSlice, ErrorCode, OpCode, Reader, SessionId};

use crate::authorize::AuthRules;
use crate::prepare::Rules;
use crate::watch::WatcherId;

use super::show;
use super::words::{Words, acl_bytes};
use super::world::World;

impl scenario::World for World {
    fn run(&mut self, command: &str, rest: &mut dyn Iterator<Item = &str>) -> Vec<String> {
        let mut words = Words::new(command);
        let command = words.word();
        if command == "multi" {
            words.end();
            let ops: Vec<&str> = rest.take_while(|line| line.trim() != "end").collect();
            return multi(self, &ops);
        }
        one(self, &command, words)
    }
}

fn one(world: &mut World, command: &str, mut words: Words) -> Vec<String> {
    match command {
        "create" | "delete" | "set" | "setacl" | "reconfig" => {
            let (op, body) = write_request(command, words);
            return world.request_bytes(op, &body);
        }
        "stat" | "get" | "getacl" | "ls" | "tree" | "ephemerals" | "sessions" | "txn" => {
            return look(world, command, words);
        }
        "watch" | "unwatch" | "checkwatch" | "disconnect" | "watches" => return watch(world, command, words),
        _ => {}
    }
    let lines = match command {
        "rules" => {
            world.rules = rules(&mut words);
            Vec::new()
        }
        "session" => {
            let id = words.number();
            let timeout_ms = words.key_number("timeout").unwrap_or(4_000) as i32;
            let ip = words.key("ip").unwrap_or_else(|| "127.0.0.1".into());
            match words.maybe().as_deref() {
                None => world.open_session(id, timeout_ms, &ip, Ok(())),
                Some("unknown") => world.open_session(id, timeout_ms, &ip, Err(ErrorCode::UnknownSession)),
                Some("local") => world.open_local_session(id, &ip),
                Some(other) => panic!("a session is not {other:?}"),
            }
        }
        "as" => {
            world.current = words.number();
            Vec::new()
        }
        "auth" => {
            let (scheme, credentials) = (words.word(), words.data().unwrap_or_default());
            let auth = &world.rules.auth;
            let ids = &mut world.sessions.get_mut(&world.current).expect("a session is open").ids;
            let result = auth.authenticate(&scheme, &credentials, ids);
            let ids = ids.iter().map(|id| format!("{}:{}", id.scheme, id.id)).collect::<Vec<_>>().join(" ");
            result.map_or_else(|code| vec![format!("{code:?}")], |()| vec![ids])
        }
        "close" => {
            let session = words.maybe().map_or(world.current, |id| id.parse().unwrap());
            let asker = std::mem::replace(&mut world.current, session);
            let lines = world.close_session(session);
            world.current = asker;
            lines
        }
        "expiring" => {
            world.refuse_session(words.number(), ErrorCode::SessionExpired);
            Vec::new()
        }
        "reap" => world.reap(&words.word()),
        "replay" => replay(world, &mut words),
        "hold" => {
            world.hold = true;
            Vec::new()
        }
        "apply" => {
            let count = words.maybe().map(|count| count.parse().unwrap());
            world.hold &= count.is_some();
            world.apply(count.unwrap_or(usize::MAX))
        }
        other => panic!("there is no command {other:?}"),
    };
    words.end();
    lines
}

fn rules(words: &mut Words) -> Rules {
    let mut rules = Rules { auth: AuthRules::default(), ..Rules::default() };
    rules.auth.super_digest =
        words.key("super").map(|credentials| rules.auth.digest_algorithm.identity(&credentials));
    while let Some(word) = words.maybe() {
        match word.as_str() {
            "default" => {}
            "ttl" => rules.ttl_nodes = true,
            "quota" => rules.enforce_quota = true,
            "reconfig" => rules.reconfig_enabled = true,
            "skip_acl" => rules.auth.skip_acl = true,
            "no_digest_auth" => rules.auth.digest_enabled = false,
            "no_txn_digest" => rules.txn_digest = false,
            "no_close_paths" => rules.close_session_paths = false,
            other => panic!("there is no rule {other:?}"),
        }
    }
    rules
}

/// A request as a client encodes it.
fn write_request(command: &str, mut words: Words) -> (OpCode, Vec<u8>) {
    let mut body = Vec::new();
    let (op, request_body) = match command {
        "create" => {
            let (op, path, data, acl, flags, ttl_ms) = create_words(&mut words);
            let acl = AclSlice::read(&mut Reader::new(&acl)).unwrap();
            let path = Cow::Borrowed(path.as_str());
            CreateRequest { op, path, data: data.as_deref(), acl, flags, ttl_ms }.write(&mut body);
            words.end();
            return (op, body);
        }
        "delete" => (OpCode::Delete, (words.word(), None, words.key_number("version"))),
        "set" => (OpCode::SetData, (words.word(), words.data(), words.key_number("version"))),
        "setacl" => {
            let (path, acl) = (words.word(), acl_bytes(&words.word()));
            let acl = AclSlice::read(&mut Reader::new(&acl)).unwrap();
            let version = words.key_number("version").unwrap_or(-1) as i32;
            words.end();
            Request::SetAcl { path: path.into(), acl, version }.write(&mut body);
            return (OpCode::SetAcl, body);
        }
        _ => {
            words.end();
            let none = || Some(Cow::Borrowed(""));
            Request::Reconfig { joining: none(), leaving: none(), new_members: None, config_version: -1 }
                .write(&mut body);
            return (OpCode::Reconfig, body);
        }
    };
    words.end();
    let (path, data, version) = request_body;
    let (path, version) = (Cow::Owned(path), version.unwrap_or(-1) as i32);
    match op {
        OpCode::Delete => Request::Delete { path, version }.write(&mut body),
        _ => Request::SetData { path, data: data.as_deref(), version }.write(&mut body),
    }
    (op, body)
}

fn create_words(words: &mut Words) -> (OpCode, String, Option<Vec<u8>>, Vec<u8>, i32, i64) {
    let op = match words.key("op").as_deref() {
        None | Some("create") => OpCode::Create,
        Some("create2") => OpCode::Create2,
        Some("container") => OpCode::CreateContainer,
        Some("ttl") => OpCode::CreateTtl,
        Some(other) => panic!("{other:?} creates nothing"),
    };
    let flags = match words.key("flags").as_deref() {
        None => 0,
        Some("e") => 1,
        Some("s") => 2,
        Some("es") => 3,
        Some("container") => 4,
        Some("ttl") => 5,
        Some("sttl") => 6,
        Some(number) => number.parse().unwrap(),
    };
    let ttl_ms = words.key_number("ttl").unwrap_or(-1);
    let acl = acl_bytes(&words.key("acl").unwrap_or_else(|| "open".into()));
    (op, words.word(), words.data(), acl, flags, ttl_ms)
}

fn multi(world: &mut World, ops: &[&str]) -> Vec<String> {
    let mut body = Vec::new();
    for line in ops {
        let mut words = Words::new(line);
        let command = words.word();
        if command == "create" {
            let (op, path, data, acl, flags, ttl_ms) = create_words(&mut words);
            let acl = AclSlice::read(&mut Reader::new(&acl)).unwrap();
            let create = CreateRequest { op, path: path.into(), data: data.as_deref(), acl, flags, ttl_ms };
            write_op(&mut body, &MultiOp::Create(create));
        } else {
            let path = Cow::Owned(words.word());
            let data = if command == "set" { words.data() } else { None };
            let version = words.key_number("version").unwrap_or(-1) as i32;
            let op = match command.as_str() {
                "delete" => MultiOp::Delete { path, version },
                "set" => MultiOp::SetData { path, data: data.as_deref(), version },
                "check" => MultiOp::Check { path, version },
                "get" => MultiOp::GetData { path },
                other => panic!("a multi cannot hold {other:?}"),
            };
            write_op(&mut body, &op);
        }
        words.end();
    }
    MultiHeader::END.write(&mut body);
    world.request_bytes(OpCode::Multi, &body)
}

/// Creates a node below a parent that gets any cversion, as if a long history had been replayed.
fn replay(world: &mut World, words: &mut Words) -> Vec<String> {
    let path = words.word();
    let parent_cversion = words.key_number("parent_cversion").expect("parent_cversion=") as i32;
    world.replay(TxnBody::Create(CreateTxn {
        op: OpCode::Create,
        path: path.into(),
        data: None,
        acl: AclSlice::OPEN,
        ephemeral: false,
        parent_cversion,
        ttl_ms: -1,
    }))
}

fn look(world: &World, command: &str, mut words: Words) -> Vec<String> {
    let tree = &world.tree;
    let node_of = |words: &mut Words| {
        let path = words.word();
        tree.find(&path).ok_or_else(|| vec![format!("{path} is not there")])
    };
    let lines = match command {
        "stat" => node_of(&mut words).map(|node| vec![show::stat(&node.client_stat(), &node.stat())]),
        "get" => node_of(&mut words).map(|node| vec![show::data(node.data())]),
        "getacl" => node_of(&mut words).map(|node| {
            let session = world.sessions.get(&world.current).expect("a session is open");
            let mut out = Vec::new();
            match world.rules.auth.write_acl_for(node.acl(), &session.ids, &mut out) {
                Ok(()) => vec![show::acl(AclSlice::read(&mut Reader::new(&out)).unwrap())],
                Err(code) => vec![format!("{code:?}")],
            }
        }),
        "ls" => node_of(&mut words).map(|node| {
            let mut names: Vec<&str> = node.children().collect();
            names.sort_unstable();
            vec![names.join(" ")]
        }),
        "tree" => Ok(all_paths(world)),
        "ephemerals" => {
            let mut paths: Vec<String> = tree.ephemerals(SessionId::new(words.number())).collect();
            paths.sort_unstable();
            Ok(vec![paths.join(" ")])
        }
        "sessions" => Ok(tree.sessions().map(|(id, timeout)| format!("{} {timeout} ms", id.get())).collect()),
        _ => Ok(show::transaction(&Transaction::read(&world.last_txn).unwrap())),
    };
    words.end();
    lines.unwrap_or_else(|complaint| complaint)
}

/// Every path outside `/zookeeper`, sorted.
fn all_paths(world: &World) -> Vec<String> {
    let (mut paths, mut to_visit) = (Vec::new(), vec![String::new()]);
    while let Some(path) = to_visit.pop() {
        let node = world.tree.find(&path).expect("children that are listed are there");
        to_visit
            .extend(node.children().map(|name| format!("{path}/{name}")).filter(|path| path != "/zookeeper"));
        paths.push(path);
    }
    paths.retain(|path| !path.is_empty());
    paths.sort_unstable();
    paths
}

fn watch(world: &mut World, command: &str, mut words: Words) -> Vec<String> {
    let table = &mut world.watches;
    if command == "watches" {
        words.end();
        let list =
            |ids: &[WatcherId]| ids.iter().map(|id| id.get().to_string()).collect::<Vec<_>>().join(" ");
        let mut lines: Vec<String> =
            table.by_path().iter().map(|(path, ids)| format!("{path}: {}", list(ids))).collect();
        let (counts, summary) = (table.counts(), table.summary());
        lines.push(format!(
            "data {} child {}; {} connections watch {} paths, {} watches",
            counts.data, counts.child, summary.connections, summary.paths, summary.watches
        ));
        return lines;
    }
    let watcher = WatcherId::new(words.number() as u64);
    if command == "disconnect" {
        words.end();
        table.remove_watcher(watcher);
        return Vec::new();
    }
    let (kind, path) = (words.word(), words.word());
    words.end();
    match (command, kind.as_str()) {
        ("watch", "data") => table.add_data(watcher, &path),
        ("watch", "child") => table.add_child(watcher, &path),
        ("watch", "persistent") => table.add_persistent(watcher, &path),
        ("watch", "recursive") => table.add_recursive(watcher, &path),
        (_, kind) => {
            let kind = match kind {
                "data" => WatcherType::Data,
                "child" => WatcherType::Children,
                "any" => WatcherType::Any,
                "persistent" => WatcherType::Persistent,
                "recursive" => WatcherType::PersistentRecursive,
                other => panic!("there is no watch of type {other:?}"),
            };
            let found = match command {
                "unwatch" => table.remove(watcher, &path, kind),
                _ => table.check(watcher, &path, kind),
            };
            return vec![if found { "found".into() } else { "NoWatcher".into() }];
        }
    }
    Vec::new()
}
