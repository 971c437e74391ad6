//! Values as text, as zkCli prints them.

use std::fmt::Write as _;

use ferrokeeper_client::{Acl, Heard, Stat, State, WatchKind};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A stat, in eleven lines (`StatPrinter`).
pub fn stat(stat: &Stat, zone: &TimeZone) -> String {
    format!(
        "cZxid = 0x{:x}\nctime = {}\nmZxid = 0x{:x}\nmtime = {}\npZxid = 0x{:x}\ncversion = {}\ndataVersion = {}\n\
         aclVersion = {}\nephemeralOwner = 0x{:x}\ndataLength = {}\nnumChildren = {}",
        stat.czxid.to_wire(),
        date(stat.ctime_ms, zone),
        stat.mzxid.to_wire(),
        date(stat.mtime_ms, zone),
        stat.pzxid.to_wire(),
        stat.cversion,
        stat.version,
        stat.aversion,
        stat.ephemeral_owner,
        stat.data_length,
        stat.children,
    )
}

/// A time in milliseconds since 1970 (`java.util.Date.toString`); as a number if it is nowhere near our time.
pub fn date(time_ms: i64, zone: &TimeZone) -> String {
    match Timestamp::from_millisecond(time_ms) {
        Ok(time) => time.to_zoned(zone.clone()).strftime("%a %b %d %H:%M:%S %Z %Y").to_string(),
        Err(_) => time_ms.to_string(),
    }
}

/// Where the times are to be those of.
pub fn local_zone() -> TimeZone {
    let zone = TimeZone::system();
    match zone.is_unknown() {
        true => TimeZone::UTC,
        false => zone,
    }
}

/// A list in brackets.
pub fn list(items: &[String]) -> String {
    format!("[{}]", items.join(", "))
}

/// One line of an ACL: two lines, because that is how Java's `Id` reads as text.
pub fn acl(acl: &Acl) -> String {
    format!("{},{}\n: {}", quoted(&acl.id.scheme), quoted(&acl.id.id), acl.perms)
}

/// A string in a record (`org.apache.jute.Utils.toCSVString`).
fn quoted(text: &str) -> String {
    let mut out = String::from("'");
    for character in text.chars() {
        match character {
            '\0' | '\n' | '\r' | ',' | '}' | '%' => {
                let _ = write!(out, "%{:02X}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
    out
}

/// Data in hexadecimal and ASCII (`io.netty.buffer.ByteBufUtil.prettyHexDump`); nothing for nothing.
pub fn hex_dump(data: &[u8]) -> String {
    const RULE: &str = "+--------+-------------------------------------------------+----------------+";
    if data.is_empty() {
        return String::new();
    }
    let mut out = String::from(
        "         +-------------------------------------------------+\n         \
         |  0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f |\n",
    );
    out += RULE;
    for (row, bytes) in data.chunks(16).enumerate() {
        let hex: String = bytes.iter().map(|byte| format!(" {byte:02x}")).collect();
        let text: String = bytes
            .iter()
            .map(|&byte| if matches!(byte, b' '..=b'~') { char::from(byte) } else { '.' })
            .collect();
        let _ = write!(out, "\n|{:08x}|{hex:<48} |{text:<16}|", row * 16);
    }
    out + "\n" + RULE
}

/// What a watch heard, as two paragraphs. `path` is the node as the client knows it.
pub fn heard(heard: &Heard, path: &str) -> String {
    let (kind, zxid) = match heard {
        Heard::Node(event) => {
            (format!("{:?}", event.kind), event.zxid.map_or(-1, ferrokeeper_client::Zxid::to_wire))
        }
        Heard::Removed(kind, _) => {
            let kind = match kind {
                WatchKind::Data | WatchKind::Exist => "DataWatchRemoved",
                WatchKind::Children => "ChildWatchRemoved",
                WatchKind::Persistent | WatchKind::Recursive => "PersistentWatchRemoved",
            };
            (kind.to_owned(), -1)
        }
    };
    event("SyncConnected", &kind, path, zxid)
}

/// A change of the connection, likewise.
pub fn state_changed(state: &str) -> String {
    event(state, "None", "null", -1)
}

fn event(state: &str, kind: &str, path: &str, zxid: i64) -> String {
    format!("\nWATCHER::\n\nWatchedEvent state:{state} type:{kind} path:{path} zxid: {zxid}")
}

/// A state as events name it (`Watcher.Event.KeeperState`); `None` for what is not told.
pub fn state_in_events(state: State) -> Option<&'static str> {
    Some(match state {
        State::Connecting => return None,
        State::Connected => "SyncConnected",
        State::ReadOnly => "ConnectedReadOnly",
        State::Suspended { .. } => "Disconnected",
        State::Expired => "Expired",
        State::AuthFailed => "AuthFailed",
        State::Closed => "Closed",
    })
}

/// A state as the prompt names it (`ZooKeeper.States`).
pub fn state_in_prompt(state: State) -> &'static str {
    match state {
        State::Connecting | State::Suspended { .. } => "CONNECTING",
        State::Connected => "CONNECTED",
        State::ReadOnly => "CONNECTEDREADONLY",
        State::AuthFailed => "AUTH_FAILED",
        State::Expired | State::Closed => "CLOSED",
    }
}

#[cfg(test)]
mod tests {
    use ferrokeeper_client::{EventType, Id, NodeEvent, Perms, Zxid};

    use super::*;

    #[test]
    fn a_stat_has_eleven_lines() {
        let node = Stat {
            czxid: Zxid::from_wire(0x1_0000_0002),
            mzxid: Zxid::from_wire(0x14),
            ctime_ms: 1_795_370_800_123,
            mtime_ms: 0,
            version: 3,
            cversion: 4,
            aversion: -1,
            ephemeral_owner: i64::MIN,
            data_length: 5,
            children: 6,
            pzxid: Zxid::from_wire(-1),
        };
        assert_eq!(
            stat(&node, &TimeZone::UTC),
            "cZxid = 0x100000002\nctime = Sun Nov 22 18:06:40 UTC 2026\nmZxid = 0x14\n\
             mtime = Thu Jan 01 00:00:00 UTC 1970\npZxid = 0xffffffffffffffff\ncversion = 4\ndataVersion = 3\n\
             aclVersion = -1\nephemeralOwner = 0x8000000000000000\ndataLength = 5\nnumChildren = 6"
        );
    }

    #[test]
    fn times_are_those_of_a_zone() {
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        assert_eq!(date(1_795_370_800_123, &berlin), "Sun Nov 22 19:06:40 CET 2026");
        assert_eq!(date(i64::MAX, &TimeZone::UTC), "9223372036854775807");
    }

    #[test]
    fn an_acl_is_a_record_and_its_letters() {
        let line = |scheme, id, perms| acl(&Acl { perms, id: Id::new(scheme, id) });
        assert_eq!(line("world", "anyone", Perms::ALL), "'world,'anyone\n: cdrwa");
        assert_eq!(line("digest", "a,b%", Perms::READ.or(Perms::WRITE)), "'digest,'a%2Cb%25\n: rw");
    }

    #[test]
    fn a_hex_dump_has_sixteen_bytes_a_row() {
        let rule = "+--------+-------------------------------------------------+----------------+";
        let head = "         +-------------------------------------------------+\n         \
                    |  0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f |";
        assert_eq!(
            hex_dump("0123456789abcdefü\n".as_bytes()),
            format!(
                "{head}\n{rule}\n|00000000| 30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66 |0123456789abcdef|\n\
                 |00000010| c3 bc 0a                                        |...             |\n{rule}"
            )
        );
        assert_eq!(hex_dump(b""), "");
    }

    #[test]
    fn events_are_two_paragraphs() {
        let node =
            |zxid| Heard::Node(NodeEvent { kind: EventType::NodeDataChanged, path: "/app/a".into(), zxid });
        let begin = "\nWATCHER::\n\nWatchedEvent state:SyncConnected type:";
        assert_eq!(
            heard(&node(Some(Zxid::from_wire(32))), "/a"),
            format!("{begin}NodeDataChanged path:/a zxid: 32")
        );
        assert_eq!(heard(&node(None), "/a"), format!("{begin}NodeDataChanged path:/a zxid: -1"));
        assert_eq!(
            heard(&Heard::Removed(WatchKind::Recursive, "/a".into()), "/a"),
            format!("{begin}PersistentWatchRemoved path:/a zxid: -1")
        );
        assert_eq!(
            state_changed("Expired"),
            "\nWATCHER::\n\nWatchedEvent state:Expired type:None path:null zxid: -1"
        );
    }
}
