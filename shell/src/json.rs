//! Values as JSON.
//!
//! Names are those of ZooKeeper's records. Zxids and session ids are strings of hexadecimal digits, as zkCli prints them:
//! as numbers, most readers of JSON would round them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ferrokeeper_client::{Acl, EventType, Heard, Stat, WatchKind};
use serde_json::{Map, Value, json};

use crate::failure::Failure;

/// A stat (`org.apache.zookeeper.data.Stat`). Times are milliseconds since 1970.
pub fn stat(stat: &Stat) -> Value {
    json!({
        "czxid": hex(stat.czxid.to_wire()),
        "mzxid": hex(stat.mzxid.to_wire()),
        "pzxid": hex(stat.pzxid.to_wire()),
        "ctime": stat.ctime_ms,
        "mtime": stat.mtime_ms,
        "version": stat.version,
        "cversion": stat.cversion,
        "aversion": stat.aversion,
        "ephemeralOwner": hex(stat.ephemeral_owner),
        "dataLength": stat.data_length,
        "numChildren": stat.children,
    })
}

/// A number that JSON's readers would round.
pub fn hex(number: i64) -> String {
    format!("0x{number:x}")
}

/// Puts data into an object: as text if it is some, else in base64, which `encoding` says; null is not empty.
pub fn put_data(object: &mut Map<String, Value>, data: Option<&[u8]>) {
    match data.map(|data| (data, std::str::from_utf8(data))) {
        None => object.insert("data".into(), Value::Null),
        Some((_, Ok(text))) => object.insert("data".into(), json!(text)),
        Some((data, Err(_))) => {
            object.insert("encoding".into(), json!("base64"));
            object.insert("data".into(), json!(STANDARD.encode(data)))
        }
    };
}

/// A node that was read.
pub fn node(path: &str, data: Option<&[u8]>, stat: &Stat) -> Value {
    let mut object = Map::new();
    object.insert("path".into(), json!(path));
    put_data(&mut object, data);
    object.insert("stat".into(), self::stat(stat));
    Value::Object(object)
}

/// An ACL.
pub fn acl(acls: &[Acl]) -> Value {
    let entry =
        |acl: &Acl| json!({ "scheme": acl.id.scheme, "id": acl.id.id, "perms": acl.perms.to_string() });
    acls.iter().map(entry).collect()
}

/// Why a command was not carried out. `code` is there if it is a server's refusal, or would be.
pub fn failure(failure: &Failure) -> Value {
    let mut error = Map::new();
    if let Some(refusal) = &failure.refusal {
        error.insert("code".into(), json!(format!("{:?}", refusal.code)));
        if let Some(path) = &refusal.path {
            error.insert("path".into(), json!(path));
        }
    }
    error.insert("message".into(), json!(failure.message));
    json!({ "error": error })
}

/// What a watch heard. `path` is the node as the client knows it.
pub fn heard(heard: &Heard, path: &str) -> Value {
    match heard {
        Heard::Node(event) => node_event(event.kind, path, event.zxid.map(|zxid| zxid.to_wire())),
        Heard::Removed(kind, _) => {
            let scope = match kind {
                WatchKind::Data | WatchKind::Exist => "data",
                WatchKind::Children => "children",
                WatchKind::Persistent | WatchKind::Recursive => "persistent",
            };
            json!({ "type": "WatchRemoved", "watch": scope, "path": path })
        }
    }
}

/// A change of a node. Servers before 3.9 do not tell the zxid.
pub fn node_event(kind: EventType, path: &str, zxid: Option<i64>) -> Value {
    let mut event = json!({ "type": format!("{kind:?}"), "path": path });
    if let Some(zxid) = zxid {
        event["zxid"] = json!(hex(zxid));
    }
    event
}

#[cfg(test)]
mod tests {
    use ferrokeeper_client::{Error, ErrorCode, Id, NodeEvent, Perms, Zxid};

    use super::*;

    #[test]
    fn a_stat_has_zookeepers_names_and_numbers_that_nobody_rounds() {
        let node = Stat {
            czxid: Zxid::from_wire(0x1_0000_0002),
            ctime_ms: 5,
            ephemeral_owner: 0x1000_0000_0000_0001,
            data_length: 3,
            ..Stat::default()
        };
        assert_eq!(
            stat(&node).to_string(),
            r#"{"aversion":0,"ctime":5,"cversion":0,"czxid":"0x100000002","dataLength":3,"ephemeralOwner":"0x1000000000000001","mtime":0,"mzxid":"0x0","numChildren":0,"pzxid":"0x0","version":0}"#
        );
    }

    #[test]
    fn data_is_text_or_says_that_it_is_not() {
        let put = |data: Option<&[u8]>| {
            let mut object = Map::new();
            put_data(&mut object, data);
            Value::Object(object).to_string()
        };
        assert_eq!(put(Some("ü\n".as_bytes())), r#"{"data":"ü\n"}"#);
        assert_eq!(put(Some(b"\xff\x00")), r#"{"data":"/wA=","encoding":"base64"}"#);
        assert_eq!(put(Some(b"")), r#"{"data":""}"#);
        assert_eq!(put(None), r#"{"data":null}"#);
    }

    #[test]
    fn failures_name_the_code_if_there_is_one() {
        let refused = Failure::of(&Error::Refused(ErrorCode::NoNode), Some("/a"));
        assert_eq!(
            failure(&refused).to_string(),
            r#"{"error":{"code":"NoNode","message":"Node does not exist: /a","path":"/a"}}"#
        );
        assert_eq!(failure(&Failure::new("no")).to_string(), r#"{"error":{"message":"no"}}"#);
    }

    #[test]
    fn acls_and_events_are_objects() {
        let list = [Acl { perms: Perms::READ, id: Id::new("ip", "::1") }];
        assert_eq!(acl(&list).to_string(), r#"[{"id":"::1","perms":"r","scheme":"ip"}]"#);
        let event =
            NodeEvent { kind: EventType::NodeCreated, path: "/x/a".into(), zxid: Some(Zxid::from_wire(16)) };
        assert_eq!(
            heard(&Heard::Node(event), "/a").to_string(),
            r#"{"path":"/a","type":"NodeCreated","zxid":"0x10"}"#
        );
    }
}
