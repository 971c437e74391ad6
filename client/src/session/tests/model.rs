//! A server that keeps its promises, and nothing else: one tree, several sessions, connections that may be cut at any
//! byte. What it has done is written down, for the tests to compare with what clients were told.

use std::collections::{BTreeMap, BTreeSet};

use protocol::client::connect::{ConnectRequest, ConnectResponse, ReplyHeader, RequestHeader};
use protocol::client::request::{Request, SetWatches};
use protocol::client::watch::{EventType, write_event};
use protocol::jute::{FrameStart, JuteWrite};
use protocol::{ErrorCode, OpCode, Reader, SessionId, Stat, Xid, Zxid};

/// Something that happened to a path.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Happened {
    pub zxid: i64,
    pub path: &'static str,
    pub kind: i32,
}

/// The paths of this world: a parent and its children.
pub const PATHS: [&str; 4] = ["/", "/a", "/b", "/c"];

#[derive(Clone, Copy, Default, Debug)]
pub struct Node {
    pub czxid: i64,
    pub mzxid: i64,
}

/// What all connections share.
#[derive(Default, Debug)]
pub struct World {
    pub zxid: i64,
    pub nodes: BTreeMap<&'static str, Node>,
    pub root_pzxid: i64,
    pub happened: Vec<Happened>,
    /// The tokens of writes that were applied, in order.
    pub applied: Vec<u64>,
    pub live: BTreeSet<i64>,
    pub sessions: i64,
    pub connection: Option<Connection>,
}

/// A server's end of a connection.
#[derive(Default, Debug)]
pub struct Connection {
    session: i64,
    input: Vec<u8>,
    /// On its way to the client.
    pub output: Vec<u8>,
    data: BTreeSet<&'static str>,
    child: BTreeSet<&'static str>,
    persistent: BTreeSet<&'static str>,
    recursive: BTreeSet<&'static str>,
    /// When a persistent watch was set on this connection.
    pub armed: BTreeMap<(&'static str, bool), i64>,
    pub closed: bool,
}

fn known(path: &str) -> &'static str {
    PATHS.into_iter().find(|&known| known == path).expect("tests use these paths only")
}

impl World {
    /// Somebody connects.
    pub fn connect(&mut self) {
        self.connection = Some(Connection::default());
    }

    /// Something happens, by whomever.
    fn happen(&mut self, kind: EventType, path: &'static str) {
        self.happened.push(Happened { zxid: self.zxid, path, kind: kind as i32 });
        let Some(connection) = &mut self.connection else { return };
        let children = kind == EventType::NodeChildrenChanged;
        let one_shot = match kind {
            EventType::NodeChildrenChanged => connection.child.remove(path),
            EventType::NodeDeleted => connection.data.remove(path) | connection.child.remove(path),
            EventType::NodeCreated | EventType::NodeDataChanged => connection.data.remove(path),
        };
        let recursive = connection.recursive.contains(path) || connection.recursive.contains("/");
        if one_shot || connection.persistent.contains(path) || (recursive && !children) {
            write_event(&mut connection.output, self.zxid, kind, path);
        }
    }

    pub fn create(&mut self, path: &'static str) -> Result<(), ErrorCode> {
        self.zxid += 1;
        if path == "/" || self.nodes.contains_key(path) {
            return Err(ErrorCode::NodeExists);
        }
        self.nodes.insert(path, Node { czxid: self.zxid, mzxid: self.zxid });
        self.root_pzxid = self.zxid;
        self.happen(EventType::NodeCreated, path);
        self.happen(EventType::NodeChildrenChanged, "/");
        Ok(())
    }

    pub fn delete(&mut self, path: &'static str) -> Result<(), ErrorCode> {
        self.zxid += 1;
        self.nodes.remove(path).ok_or(ErrorCode::NoNode)?;
        self.root_pzxid = self.zxid;
        self.happen(EventType::NodeDeleted, path);
        self.happen(EventType::NodeChildrenChanged, "/");
        Ok(())
    }

    pub fn set(&mut self, path: &'static str) -> Result<(), ErrorCode> {
        self.zxid += 1;
        let zxid = self.zxid;
        self.nodes.get_mut(path).ok_or(ErrorCode::NoNode)?.mzxid = zxid;
        self.happen(EventType::NodeDataChanged, path);
        Ok(())
    }

    fn stat(&self, path: &str) -> Option<Stat> {
        let node = match path {
            "/" => Node::default(),
            _ => *self.nodes.get(path)?,
        };
        Some(Stat {
            czxid: Zxid::from_wire(node.czxid),
            mzxid: Zxid::from_wire(node.mzxid),
            pzxid: Zxid::from_wire(if path == "/" { self.root_pzxid } else { 0 }),
            ..Stat::default()
        })
    }

    /// Bytes arrive from the client.
    pub fn receive(&mut self, bytes: &[u8]) {
        let Some(connection) = &mut self.connection else { return };
        connection.input.extend_from_slice(bytes);
        let mut input = std::mem::take(&mut connection.input);
        while let Some((length, rest)) = input.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            let Some(frame) = rest.get(..length) else { break };
            let frame = frame.to_vec();
            input.drain(..4 + length);
            self.on_frame(&frame);
        }
        self.connection.as_mut().unwrap().input = input;
    }

    fn on_frame(&mut self, frame: &[u8]) {
        let connection = self.connection.as_mut().unwrap();
        if connection.closed {
            return;
        }
        if connection.session == 0 {
            return self.on_connect(&ConnectRequest::read(frame).unwrap());
        }
        let mut reader = Reader::new(frame);
        let header = RequestHeader::read(&mut reader).unwrap();
        let op = OpCode::from_wire(header.op).unwrap();
        let mut body = Vec::new();
        let result = match op {
            OpCode::Ping | OpCode::Auth => Ok(()),
            OpCode::CloseSession => {
                let session = connection.session;
                connection.closed = true;
                self.live.remove(&session);
                self.zxid += 1;
                Ok(())
            }
            _ => self.on_request(Request::read(op, reader.rest()).unwrap(), &mut body),
        };
        let xid = if op == OpCode::Ping { Xid::PING } else { header.xid };
        let zxid = if op == OpCode::Auth { 0 } else { self.zxid };
        let error = result.map_or_else(ErrorCode::to_wire, |()| 0);
        let out = &mut self.connection.as_mut().unwrap().output;
        let frame = FrameStart::open(out);
        ReplyHeader { xid, zxid, error }.write(out);
        if error == 0 {
            out.put_bytes(&body);
        }
        frame.close(out);
    }

    fn on_connect(&mut self, request: &ConnectRequest<'_>) {
        assert!(request.last_zxid_seen <= self.zxid, "a client saw what never was");
        let asked = request.session.get();
        let session = match asked {
            0 => {
                self.sessions += 1;
                self.zxid += 1;
                self.live.insert(self.sessions);
                self.sessions
            }
            _ => asked,
        };
        let connection = self.connection.as_mut().unwrap();
        let response = match self.live.contains(&session) {
            true => ConnectResponse {
                timeout_ms: request.timeout_ms,
                session: SessionId::new(session),
                password: [1; 16],
                read_only: Some(false),
            },
            false => ConnectResponse::expired(Some(false)),
        };
        connection.session = session;
        connection.closed = response.timeout_ms == 0;
        let frame = FrameStart::open(&mut connection.output);
        response.write(&mut connection.output);
        frame.close(&mut connection.output);
    }

    fn on_request(&mut self, request: Request<'_>, body: &mut Vec<u8>) -> Result<(), ErrorCode> {
        match request {
            // The tests put the token of a write into its data or its version.
            Request::Create(create) => {
                self.applied.push(token(create.data.unwrap()));
                self.create(known(&create.path))?;
                body.put_str(&create.path);
                self.stat(&create.path).unwrap().write(body);
            }
            Request::SetData { path, data, .. } => {
                self.applied.push(token(data.unwrap()));
                self.set(known(&path))?;
                self.stat(&path).unwrap().write(body);
            }
            Request::Delete { path, version } => {
                self.applied.push(version as u64);
                self.delete(known(&path))?;
            }
            Request::Exists { path, watch } => {
                if watch {
                    self.watches().data.insert(known(&path));
                }
                self.stat(&path).ok_or(ErrorCode::NoNode)?.write(body);
            }
            Request::GetData { path, watch } => {
                let stat = self.stat(&path).ok_or(ErrorCode::NoNode)?;
                if watch {
                    self.watches().data.insert(known(&path));
                }
                body.put_buffer(None);
                stat.write(body);
            }
            Request::GetChildren2 { path, watch } => {
                let stat = self.stat(&path).ok_or(ErrorCode::NoNode)?;
                if watch {
                    self.watches().child.insert(known(&path));
                }
                body.put_strings::<&str>(&[]);
                stat.write(body);
            }
            Request::AddWatch { path, mode } => {
                self.arm(known(&path), mode == 1);
                body.put_i32(0);
            }
            Request::RemoveWatches { path, .. } => {
                let path = known(&path);
                let watches = self.watches();
                let found = watches.data.remove(path)
                    | watches.child.remove(path)
                    | watches.persistent.remove(path)
                    | watches.recursive.remove(path);
                return found.then_some(()).ok_or(ErrorCode::NoWatcher);
            }
            Request::SetWatches(watches) => self.set_watches(&watches),
            other => panic!("the model does not know {other:?}"),
        }
        Ok(())
    }

    fn watches(&mut self) -> &mut Connection {
        self.connection.as_mut().unwrap()
    }

    fn arm(&mut self, path: &'static str, recursive: bool) {
        let zxid = self.zxid;
        let watches = self.watches();
        let newly = match recursive {
            true => watches.recursive.insert(path),
            false => watches.persistent.insert(path),
        };
        if newly {
            watches.armed.insert((path, recursive), zxid);
        }
    }

    fn set_watches(&mut self, asked: &SetWatches<'_>) {
        let since = asked.relative_zxid;
        for path in &asked.data {
            let path = known(path);
            match self.stat(path) {
                None => write_event(&mut self.watches().output, -1, EventType::NodeDeleted, path),
                Some(stat) if stat.mzxid.to_wire() > since => {
                    write_event(&mut self.watches().output, -1, EventType::NodeDataChanged, path);
                }
                Some(_) => drop(self.watches().data.insert(path)),
            }
        }
        for path in &asked.exist {
            let path = known(path);
            match self.stat(path) {
                Some(_) => write_event(&mut self.watches().output, -1, EventType::NodeCreated, path),
                None => drop(self.watches().data.insert(path)),
            }
        }
        for path in &asked.child {
            let path = known(path);
            match self.stat(path) {
                None => write_event(&mut self.watches().output, -1, EventType::NodeDeleted, path),
                Some(stat) if stat.pzxid.to_wire() > since => {
                    write_event(&mut self.watches().output, -1, EventType::NodeChildrenChanged, path);
                }
                Some(_) => drop(self.watches().child.insert(path)),
            }
        }
        for path in &asked.persistent {
            self.arm(known(path), false);
        }
        for path in &asked.persistent_recursive {
            self.arm(known(path), true);
        }
    }
}

fn token(data: &[u8]) -> u64 {
    u64::from_be_bytes(data.try_into().unwrap())
}
