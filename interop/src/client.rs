//! A small synchronous client: enough to fill a server with every kind of node, to read everything back, and to
//! keep a session alive over restarts. It never retries and never reconnects by itself, so that a test sees
//! exactly what happened.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use protocol::client::connect::{ConnectRequest, ConnectResponse, ReplyHeader, RequestHeader};
use protocol::client::request::{AuthPacket, Request};
use protocol::client::response::{self, Response};
use protocol::jute::{FrameStart, JuteWrite};
use protocol::{Acl, DecodeError, ErrorCode, OpCode, Reader, SessionId, Stat, Xid, Zxid};

use crate::endpoint::Endpoint;
use crate::ops::Write;

/// The longest silence before a connection counts as broken.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// The largest frame that is believed, in bytes; the largest real ones (lists of children) are far below.
const FRAME_BYTES_MAX: usize = 64 << 20;

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The connection is broken, or nobody answers.
    #[error("connection lost: {0}")]
    Lost(#[from] std::io::Error),
    /// The server says that the session does not exist (any more).
    #[error("the session has expired")]
    Expired,
    /// The server sent what makes no sense.
    #[error("undecodable reply: {0}")]
    Malformed(#[from] DecodeError),
    /// The server broke the protocol: replies out of order, a frame that is too large, a body of another kind.
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
}

/// A refusal, or a broken connection.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The server refused the operation.
    #[error("refused: {0}")]
    Refused(#[from] ErrorCode),
    /// The connection cannot go on.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// What it takes to come back to a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket {
    /// The session.
    pub session: SessionId,
    /// Its password.
    pub password: [u8; 16],
}

/// How a connection is opened.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// The session timeout that is asked for.
    pub timeout_ms: i32,
    /// The session to be taken up again; `None` for a new one.
    pub ticket: Option<Ticket>,
    /// The highest zxid that the client was ever told: a server that is behind it must not serve the client.
    pub last_zxid_seen: Zxid,
    /// The longest silence before the connection counts as broken.
    pub silence_max: Duration,
}

impl Opening {
    /// A new session, and the patience of a test that expects every answer.
    pub fn new(timeout_ms: i32) -> Opening {
        Opening { timeout_ms, ticket: None, last_zxid_seen: Zxid::ZERO, silence_max: SILENCE_MAX }
    }
}

/// The answer to one request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The server's last applied zxid; for a write, its own.
    pub zxid: Zxid,
    /// The body, or the refusal.
    pub result: Result<Response, ErrorCode>,
}

/// One connection with its session.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    ticket: Ticket,
    timeout_ms: i32,
    next_xid: i32,
    /// Sent, not yet answered, oldest first.
    pending: VecDeque<(Xid, OpCode)>,
    /// What requests are written into, kept for its capacity.
    out: Vec<u8>,
}

impl Client {
    /// Opens a new session with a server.
    pub fn connect(server: impl Into<Endpoint>, timeout_ms: i32) -> Result<Client, ClientError> {
        Client::open(server, &Opening::new(timeout_ms))
    }

    /// Takes a session up again. [`ClientError::Expired`] when the server does not know it any more.
    pub fn reattach(
        server: impl Into<Endpoint>,
        timeout_ms: i32,
        ticket: Ticket,
    ) -> Result<Client, ClientError> {
        Client::open(server, &Opening { ticket: Some(ticket), ..Opening::new(timeout_ms) })
    }

    /// Opens a connection. [`ClientError::Expired`] when it asks for a session that does not exist any more.
    pub fn open(server: impl Into<Endpoint>, opening: &Opening) -> Result<Client, ClientError> {
        let mut stream = server.into().connect(opening.silence_max)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(opening.silence_max))?;
        stream.set_write_timeout(Some(opening.silence_max))?;
        let timeout_ms = opening.timeout_ms;
        let asked = opening.ticket.unwrap_or(Ticket { session: SessionId::NONE, password: [0; 16] });
        let mut out = Vec::new();
        let frame = FrameStart::open(&mut out);
        ConnectRequest {
            last_zxid_seen: opening.last_zxid_seen.to_wire(),
            timeout_ms,
            session: asked.session,
            password: &asked.password,
            read_only: Some(false),
        }
        .write(&mut out);
        frame.close(&mut out);
        stream.write_all(&out)?;
        let response = ConnectResponse::read(&read_frame(&mut stream)?)?;
        if response.timeout_ms <= 0 {
            return Err(ClientError::Expired);
        }
        Ok(Client {
            stream,
            ticket: Ticket { session: response.session, password: response.password },
            timeout_ms: response.timeout_ms,
            next_xid: 1,
            pending: VecDeque::new(),
            out,
        })
    }

    /// What it takes to come back to this session.
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// The negotiated session timeout.
    pub fn timeout_ms(&self) -> i32 {
        self.timeout_ms
    }

    /// Requests that were sent and not answered yet.
    pub fn outstanding(&self) -> usize {
        self.pending.len()
    }

    /// Sends a request without waiting for the answer.
    pub fn send(&mut self, op: OpCode, request: &Request<'_>) -> Result<(), ClientError> {
        self.send_body(op, |out| request.write(out))
    }

    /// Sends a write without waiting for the answer.
    pub fn send_write(&mut self, write: &Write) -> Result<(), ClientError> {
        self.send_body(write.op(), |out| write.encode(out))
    }

    fn send_body(&mut self, op: OpCode, body: impl FnOnce(&mut Vec<u8>)) -> Result<(), ClientError> {
        let xid = Xid::new(self.next_xid);
        self.next_xid += 1;
        self.send_frame(xid, op, body)?;
        self.pending.push_back((xid, op));
        Ok(())
    }

    fn send_frame(
        &mut self,
        xid: Xid,
        op: OpCode,
        body: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), ClientError> {
        self.out.clear();
        let frame = FrameStart::open(&mut self.out);
        RequestHeader { xid, op: op.to_wire() }.write(&mut self.out);
        body(&mut self.out);
        frame.close(&mut self.out);
        Ok(self.stream.write_all(&self.out)?)
    }

    /// Waits for the answer to the oldest outstanding request; watch events are passed over.
    pub fn receive(&mut self) -> Result<Reply, ClientError> {
        let (xid, op) =
            self.pending.pop_front().ok_or_else(|| ClientError::Protocol("nothing is outstanding".into()))?;
        let (header, frame, body_at) = self.read_reply()?;
        if header.xid != xid {
            return Err(ClientError::Protocol(format!("reply to {} where {xid} was due", header.xid)));
        }
        let result = match response::check(header.error) {
            Ok(()) => Ok(Response::read(op, &mut Reader::new(&frame[body_at..]))?),
            Err(code) => Err(code),
        };
        Ok(Reply { zxid: Zxid::from_wire(header.zxid), result })
    }

    fn read_reply(&mut self) -> Result<(ReplyHeader, Vec<u8>, usize), ClientError> {
        loop {
            let frame = read_frame(&mut self.stream)?;
            let mut reader = Reader::new(&frame);
            let header = ReplyHeader::read(&mut reader)?;
            if header.xid != Xid::WATCH_EVENT {
                let body_at = reader.offset();
                return Ok((header, frame, body_at));
            }
        }
    }

    /// Sends one request and waits for its answer.
    pub fn call(&mut self, op: OpCode, request: &Request<'_>) -> Result<Response, CallError> {
        self.send(op, request)?;
        Ok(self.receive()?.result?)
    }

    /// Sends one write and waits for its answer.
    pub fn write(&mut self, write: &Write) -> Result<Response, CallError> {
        self.send_write(write)?;
        Ok(self.receive()?.result?)
    }

    /// Data and stat of a node.
    pub fn get_data(&mut self, path: &str) -> Result<(Option<Vec<u8>>, Stat), CallError> {
        let request = Request::GetData { path: Cow::Borrowed(path), watch: false };
        match self.call(OpCode::GetData, &request)? {
            Response::Data(data, stat) => Ok((data, stat)),
            other => Err(unexpected(&other).into()),
        }
    }

    /// The access control list of a node, and its stat.
    pub fn get_acl(&mut self, path: &str) -> Result<(Vec<Acl>, Stat), CallError> {
        let request = Request::GetAcl { path: Cow::Borrowed(path) };
        match self.call(OpCode::GetAcl, &request)? {
            Response::Acl(acl, stat) => Ok((acl, stat)),
            other => Err(unexpected(&other).into()),
        }
    }

    /// The names of a node's children, sorted, and its stat.
    pub fn get_children(&mut self, path: &str) -> Result<(Vec<String>, Stat), CallError> {
        let request = Request::GetChildren2 { path: Cow::Borrowed(path), watch: false };
        match self.call(OpCode::GetChildren2, &request)? {
            Response::Children(mut names, stat) => {
                names.sort();
                Ok((names, stat))
            }
            other => Err(unexpected(&other).into()),
        }
    }

    /// Waits until the server has applied everything that the leader has committed.
    pub fn sync(&mut self) -> Result<(), CallError> {
        self.call(OpCode::Sync, &Request::Sync { path: Some(Cow::Borrowed("/")) })?;
        Ok(())
    }

    /// Presents credentials; refused ones end the connection.
    pub fn authenticate(&mut self, scheme: &str, auth: &[u8]) -> Result<(), CallError> {
        let packet = AuthPacket { scheme: Some(scheme.into()), auth: Some(auth) };
        self.send_frame(Xid::AUTH, OpCode::Auth, |out| packet.write(out))?;
        let (header, ..) = self.read_reply()?;
        if header.xid != Xid::AUTH {
            return Err(ClientError::Protocol(format!("reply to {} instead of auth", header.xid)).into());
        }
        Ok(response::check(header.error)?)
    }

    /// Tells the server that the client is alive, and waits for its answer.
    pub fn ping(&mut self) -> Result<(), CallError> {
        self.send_frame(Xid::PING, OpCode::Ping, |_| ())?;
        let (header, ..) = self.read_reply()?;
        if header.xid != Xid::PING {
            return Err(ClientError::Protocol(format!("reply to {} instead of ping", header.xid)).into());
        }
        Ok(response::check(header.error)?)
    }

    /// Ends the session: its ephemeral nodes go.
    pub fn close(mut self) -> Result<(), CallError> {
        self.call(OpCode::CloseSession, &Request::CloseSession)?;
        Ok(())
    }

    /// Sends a whole frame as it is given, for tests of what servers do with strange input.
    pub fn send_raw(&mut self, payload: &[u8]) -> Result<(), ClientError> {
        let mut frame = Vec::with_capacity(payload.len() + 4);
        frame.put_buffer(Some(payload));
        Ok(self.stream.write_all(&frame)?)
    }
}

fn unexpected(response: &Response) -> ClientError {
    ClientError::Protocol(format!("unexpected body {response:?}"))
}

fn read_frame(stream: &mut TcpStream) -> Result<Vec<u8>, ClientError> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > FRAME_BYTES_MAX {
        return Err(ClientError::Protocol(format!("a frame of {length} bytes")));
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame)?;
    Ok(frame)
}

/// Asks a four-letter word of a server, and waits for the end of the answer for `patience`.
pub fn four_letter_word(
    server: impl Into<Endpoint>,
    word: &str,
    patience: Duration,
) -> std::io::Result<String> {
    let mut stream = server.into().connect(patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(word.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Whether a server on 127.0.0.1 serves clients already. Java sometimes never answers a connection that it
/// accepted while it was starting, so this does not wait long.
pub fn is_serving(port: u16) -> bool {
    four_letter_word(port, "srvr", Duration::from_millis(200)).is_ok_and(|answer| answer.contains("Mode: "))
}
