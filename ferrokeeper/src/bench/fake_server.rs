//! A server for tests: small, honest, and able to tell one lie.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use protocol::client::connect::{ConnectRequest, ConnectResponse, ReplyHeader, RequestHeader};
use protocol::client::multi::{MultiHeader, MultiOp};
use protocol::client::request::{CreateFlags, Request};
use protocol::client::watch::{EventType, write_event};
use protocol::jute::FrameStart;
use protocol::{ErrorCode, JuteWrite, OpCode, Reader, SessionId, Stat, Xid, Zxid};

/// What the server does wrong, always in replies to the load and never while it is set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lie {
    /// Nothing.
    None,
    /// The xid of a set is one too high.
    Xid,
    /// A get is refused.
    Refusal,
    /// The header of a get has a zxid of long ago.
    OldZxid,
    /// The data of a get has one wrong byte.
    Data,
    /// The data of a get is cut off.
    ShortData,
    /// An exists says that the node was never set.
    OldVersion,
    /// The reply to a sync names another path.
    Path,
    /// A delete has a body.
    LongBody,
    /// A getChildren leaves one out.
    MissingChild,
    /// A watch event comes before the reply to a get.
    Event,
    /// A get ends the connection.
    Close,
    /// Every fifth set is made, but ends the connection instead of being answered. The session survives.
    LostReply,
    /// Every fifth set is answered, and then undone together with the one before it.
    LostWrite,
}

/// The server; it stops listening when it is dropped.
#[derive(Debug)]
pub struct FakeServer {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FakeServer {
    /// Listens on a free port.
    pub fn start(lie: Lie) -> FakeServer {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let state = Arc::new(Mutex::new(State::default()));
            let sessions = AtomicI64::new(1);
            for socket in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let session = sessions.fetch_add(1, Ordering::Relaxed);
                let (socket, state) = (socket.unwrap(), state.clone());
                // Ends when the client closes its side.
                thread::spawn(move || serve(socket, session, lie, &state));
            }
        });
        FakeServer { address, stop, thread: Some(thread) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[derive(Default)]
struct State {
    zxid: i64,
    nodes: BTreeMap<String, Node>,
    watches: Vec<Watch>,
}

struct Node {
    data: Vec<u8>,
    stat: Stat,
}

struct Watch {
    path: String,
    once: bool,
    session: i64,
    socket: TcpStream,
}

fn read_frame(socket: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    socket.read_exact(&mut length).ok()?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    socket.read_exact(&mut frame).ok()?;
    Some(frame)
}

fn send(socket: &mut TcpStream, write: impl FnOnce(&mut Vec<u8>)) {
    let mut out = Vec::new();
    let frame = FrameStart::open(&mut out);
    write(&mut out);
    frame.close(&mut out);
    let _ = socket.write_all(&out);
}

fn serve(mut socket: TcpStream, session: i64, lie: Lie, state: &Mutex<State>) -> Option<()> {
    let hello = read_frame(&mut socket)?;
    let id = match ConnectRequest::read(&hello).ok()?.session {
        SessionId::NONE => SessionId::new(session),
        taken_up => taken_up,
    };
    let response =
        ConnectResponse { timeout_ms: 30_000, session: id, password: id.password(), read_only: Some(false) };
    send(&mut socket, |out| response.write(out));
    while let Some(frame) = read_frame(&mut socket) {
        let mut reader = Reader::new(&frame);
        let header = RequestHeader::read(&mut reader).ok()?;
        let op = OpCode::from_wire(header.op)?;
        let request = Request::read(op, reader.rest()).ok()?;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        match (lie, op) {
            (Lie::Close, OpCode::GetData) => break,
            (Lie::Event, OpCode::GetData) => {
                let mut event = Vec::new();
                write_event(&mut event, 1, EventType::NodeDeleted, "/x");
                let _ = socket.write_all(&event);
            }
            _ => {}
        }
        let mut body = Vec::new();
        let result = state.answer(&request, session, &socket, &mut body);
        if op == OpCode::SetData && state.zxid % 5 == 0 {
            match lie {
                Lie::LostReply => break,
                Lie::LostWrite => state.nodes.values_mut().for_each(|node| node.stat.version -= 2),
                _ => {}
            }
        }
        state.reply(&mut socket, header.xid, op, lie, result, &mut body);
        if op == OpCode::CloseSession {
            break;
        }
    }
    state.lock().unwrap_or_else(PoisonError::into_inner).end(session);
    None
}

impl State {
    fn reply(
        &self,
        socket: &mut TcpStream,
        xid: Xid,
        op: OpCode,
        lie: Lie,
        result: Result<(), ErrorCode>,
        body: &mut Vec<u8>,
    ) {
        let mut header =
            ReplyHeader { xid, zxid: self.zxid, error: result.err().map_or(0, ErrorCode::to_wire) };
        match (lie, op) {
            (Lie::Xid, OpCode::SetData) => header.xid = Xid::new(xid.get() + 1),
            (Lie::Refusal, OpCode::GetData) => header.error = ErrorCode::NoNode.to_wire(),
            (Lie::OldZxid, OpCode::GetData) => header.zxid = 1,
            (Lie::Data, OpCode::GetData) => body[50] ^= 1,
            (Lie::ShortData, OpCode::GetData) => {
                let length = body.len() - Stat::LENGTH - 4;
                body.remove(4);
                body[..4].copy_from_slice(&(length as u32 - 1).to_be_bytes());
            }
            (Lie::OldVersion, OpCode::Exists) => {
                let mut stat = Stat::read(&mut Reader::new(body)).unwrap();
                stat.version = 0;
                body.clear();
                stat.write(body);
            }
            (Lie::Path, OpCode::Sync) => body[4] = b'!',
            (Lie::LongBody, OpCode::Delete) => body.push(0),
            (Lie::MissingChild, OpCode::GetChildren) => {
                body.truncate(body.len() - 13);
                body[3] -= 1;
            }
            _ => {}
        }
        send(socket, |out| {
            header.write(out);
            if header.error == 0 {
                out.extend_from_slice(body);
            }
        });
    }

    fn answer(
        &mut self,
        request: &Request<'_>,
        session: i64,
        socket: &TcpStream,
        out: &mut Vec<u8>,
    ) -> Result<(), ErrorCode> {
        match request {
            Request::Create(create) => {
                let owner = if create.flags == CreateFlags::Ephemeral as i32 { session } else { 0 };
                self.create(&create.path, create.data.unwrap_or_default(), owner)?;
                out.put_str(&create.path);
            }
            Request::Delete { path, .. } => {
                self.nodes.remove(path.as_ref()).ok_or(ErrorCode::NoNode)?;
                self.zxid += 1;
            }
            Request::Exists { path, .. } => self.node(path)?.stat.write(out),
            Request::GetData { path, watch } => {
                let node = self.node(path)?;
                out.put_buffer(Some(&node.data));
                node.stat.write(out);
                if *watch {
                    self.watch(path, true, session, socket);
                }
            }
            Request::SetData { path, data, .. } => self.set(path, data.unwrap_or_default(), true)?.write(out),
            Request::GetChildren { path, .. } => {
                let prefix = format!("{path}/");
                let names: Vec<_> =
                    self.nodes.keys().filter_map(|other| other.strip_prefix(&prefix)).collect();
                out.put_strings(&names);
            }
            Request::Sync { path } => out.put_opt_str(path.as_deref()),
            Request::Multi(ops) => {
                self.zxid += 1;
                for op in ops {
                    let MultiOp::SetData { path, data, .. } = op else {
                        return Err(ErrorCode::Unimplemented);
                    };
                    let stat = self.set(path, data.unwrap_or_default(), false)?;
                    MultiHeader { kind: OpCode::SetData.to_wire(), done: false, error: 0 }.write(out);
                    stat.write(out);
                }
                MultiHeader::END.write(out);
            }
            Request::AddWatch { path, .. } => self.watch(path, false, session, socket),
            Request::Ping | Request::CloseSession => {}
            _ => return Err(ErrorCode::Unimplemented),
        }
        Ok(())
    }

    fn node(&self, path: &str) -> Result<&Node, ErrorCode> {
        self.nodes.get(path).ok_or(ErrorCode::NoNode)
    }

    fn create(&mut self, path: &str, data: &[u8], owner: i64) -> Result<(), ErrorCode> {
        if self.nodes.contains_key(path) {
            return Err(ErrorCode::NodeExists);
        }
        self.zxid += 1;
        let zxid = Zxid::from_wire(self.zxid);
        let stat = Stat {
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ephemeral_owner: owner,
            data_length: data.len() as i32,
            ..Stat::default()
        };
        self.nodes.insert(path.to_owned(), Node { data: data.to_vec(), stat });
        Ok(())
    }

    fn set(&mut self, path: &str, data: &[u8], alone: bool) -> Result<Stat, ErrorCode> {
        self.zxid += i64::from(alone);
        let zxid = self.zxid;
        let node = self.nodes.get_mut(path).ok_or(ErrorCode::NoNode)?;
        node.data = data.to_vec();
        node.stat.version += 1;
        node.stat.mzxid = Zxid::from_wire(zxid);
        let stat = node.stat;
        let mut event = Vec::new();
        write_event(&mut event, zxid, EventType::NodeDataChanged, path);
        self.watches.retain_mut(|watch| {
            let hit = watch.path == path;
            if hit {
                let _ = watch.socket.write_all(&event);
            }
            !(hit && watch.once)
        });
        Ok(stat)
    }

    fn watch(&mut self, path: &str, once: bool, session: i64, socket: &TcpStream) {
        let socket = socket.try_clone().unwrap();
        self.watches.push(Watch { path: path.to_owned(), once, session, socket });
    }

    fn end(&mut self, session: i64) {
        self.nodes.retain(|_, node| node.stat.ephemeral_owner != session);
        self.watches.retain(|watch| watch.session != session);
    }
}
