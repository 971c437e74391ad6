//! Watches and their events.

use crate::ids::Xid;
use crate::jute::{DecodeError, FrameStart, JuteWrite, Reader};

use super::connect::ReplyHeader;

/// What happened to the node of a watch event.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(i32)]
pub enum EventType {
    /// The node was created.
    NodeCreated = 1,
    /// The node was deleted.
    NodeDeleted = 2,
    /// The node's data was set.
    NodeDataChanged = 3,
    /// A child of the node was created or deleted.
    NodeChildrenChanged = 4,
}

impl EventType {
    /// The event for a number on the wire; those that only clients make up are unknown here.
    pub fn from_wire(value: i32) -> Option<EventType> {
        Some(match value {
            1 => EventType::NodeCreated,
            2 => EventType::NodeDeleted,
            3 => EventType::NodeDataChanged,
            4 => EventType::NodeChildrenChanged,
            _ => return None,
        })
    }
}

/// The only state that servers send: connected.
const STATE_SYNC_CONNECTED: i32 = 3;

/// Appends a whole frame that tells a client of an event. `zxid` is the transaction's, or -1 when setWatches
/// found out that the event was missed.
pub fn write_event(out: &mut Vec<u8>, zxid: i64, event: EventType, path: &str) {
    let frame = FrameStart::open(out);
    ReplyHeader { xid: Xid::WATCH_EVENT, zxid, error: 0 }.write(out);
    out.put_i32(event as i32);
    out.put_i32(STATE_SYNC_CONNECTED);
    out.put_str(path);
    frame.close(out);
}

/// A watch event as a client reads it, after the reply header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WatcherEvent {
    /// What happened.
    pub event: EventType,
    /// Where.
    pub path: String,
}

impl WatcherEvent {
    /// Reads the body of an event frame.
    pub fn read(reader: &mut Reader<'_>) -> Result<WatcherEvent, DecodeError> {
        let value = reader.i32()?;
        let event = EventType::from_wire(value)
            .ok_or(DecodeError::UnknownValue { what: "event type", value: value.into() })?;
        reader.i32()?;
        Ok(WatcherEvent { event, path: reader.text()?.into_owned() })
    }
}

/// How long a watch added by addWatch lasts, and how deep it looks (`AddWatchMode`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(i32)]
pub enum AddWatchMode {
    /// The node and its list of children, until removed.
    Persistent = 0,
    /// The node and everything below it, until removed.
    PersistentRecursive = 1,
}

impl AddWatchMode {
    /// The mode for a number on the wire.
    pub fn from_wire(value: i32) -> Option<AddWatchMode> {
        Some(match value {
            0 => AddWatchMode::Persistent,
            1 => AddWatchMode::PersistentRecursive,
            _ => return None,
        })
    }
}

/// Which watches checkWatches and removeWatches mean (`Watcher.WatcherType`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(i32)]
pub enum WatcherType {
    /// One-shot watches on the list of children.
    Children = 1,
    /// One-shot watches on data and existence.
    Data = 2,
    /// Any watch.
    Any = 3,
    /// Persistent watches (3.9 and later).
    Persistent = 4,
    /// Persistent recursive watches (3.9 and later).
    PersistentRecursive = 5,
}

impl WatcherType {
    /// The type for a number on the wire.
    pub fn from_wire(value: i32) -> Option<WatcherType> {
        Some(match value {
            1 => WatcherType::Children,
            2 => WatcherType::Data,
            3 => WatcherType::Any,
            4 => WatcherType::Persistent,
            5 => WatcherType::PersistentRecursive,
            _ => return None,
        })
    }
}
