//! Many non-blocking connections, served by one thread.
//!
//! All connections share one read buffer, everything that one read brings is answered with one write, and the clock
//! is read once per read: that is what keeps the client far cheaper than any server it measures.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use protocol::client::connect::{ConnectRequest, ConnectResponse, RequestHeader};
use protocol::jute::FrameStart;
use protocol::{OpCode, SessionId, Xid};

use super::frames::{BadLength, Cutter};

/// One read takes at most this many bytes: more than a full pipeline of small replies.
const READ_BUFFER_BYTES: usize = 256 << 10;
/// Connections that can be reported ready by one system call.
const EVENTS_PER_WAKE: usize = 1024;
/// Handshakes under way at once: below the backlog of 50 that servers have by default.
const HANDSHAKES_MAX: usize = 32;
/// How long a server may take to answer all handshakes under way.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(60);
/// How long a server may take to close the sessions at the end. They expire anyway, so nothing is lost after it.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// What to do with what a connection brings.
pub trait Handler {
    /// A frame came, without its length. Whatever is put into `outgoing` is sent when the whole read is done.
    fn on_frame(&mut self, now_ns: u64, index: usize, frame: &[u8], outgoing: &mut Outgoing);

    /// The connection is gone; it will not be heard of again.
    fn on_closed(&mut self, index: usize, why: &str);
}

/// What is to be sent on a connection.
#[derive(Debug)]
pub struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    next_xid: i32,
}

impl Outgoing {
    /// Appends a request with the connection's next xid. `encode` writes header and body after the length; if it
    /// returns `None`, nothing is sent and no xid is used up.
    pub fn request<T>(&mut self, encode: impl FnOnce(Xid, &mut Vec<u8>) -> Option<T>) -> Option<(Xid, T)> {
        let xid = Xid::new(self.next_xid);
        let frame = FrameStart::open(&mut self.bytes);
        match encode(xid, &mut self.bytes) {
            Some(value) => {
                frame.close(&mut self.bytes);
                // Negative numbers and 0 have meanings of their own.
                self.next_xid = if self.next_xid == i32::MAX { 1 } else { self.next_xid + 1 };
                Some((xid, value))
            }
            None => {
                frame.abandon(&mut self.bytes);
                None
            }
        }
    }

    /// Appends a ping, which has a reserved xid.
    pub fn ping(&mut self) {
        self.frame(|out| RequestHeader { xid: Xid::PING, op: OpCode::Ping.to_wire() }.write(out));
    }

    fn frame(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let frame = FrameStart::open(&mut self.bytes);
        encode(&mut self.bytes);
        frame.close(&mut self.bytes);
    }
}

#[derive(Debug)]
struct Connection {
    socket: Option<TcpStream>,
    cutter: Cutter,
    outgoing: Outgoing,
}

/// The connections, numbered from 0 in the order in which they were made.
#[derive(Debug)]
pub struct Pool {
    poll: Poll,
    events: Events,
    buffer: Box<[u8]>,
    connections: Vec<Connection>,
    epoch: Instant,
}

impl Pool {
    /// A pool without connections.
    pub fn new() -> Result<Pool> {
        Ok(Pool {
            poll: Poll::new().context("create an epoll instance")?,
            events: Events::with_capacity(EVENTS_PER_WAKE),
            buffer: vec![0; READ_BUFFER_BYTES].into_boxed_slice(),
            connections: Vec::new(),
            epoch: Instant::now(),
        })
    }

    /// How many connections were made, closed ones included.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// The pool's clock: ns since it was made.
    pub fn now_ns(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    /// Adds a connection without a handshake.
    pub fn connect(&mut self, server: SocketAddr) -> Result<usize> {
        let socket = std::net::TcpStream::connect(server).with_context(|| format!("connect to {server}"))?;
        socket.set_nodelay(true).context("set TCP_NODELAY")?;
        socket.set_nonblocking(true).context("make a socket non-blocking")?;
        let mut socket = TcpStream::from_std(socket);
        let index = self.connections.len();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut socket, Token(index), interest).context("register a socket")?;
        self.connections.push(Connection {
            socket: Some(socket),
            cutter: Cutter::default(),
            outgoing: Outgoing { bytes: Vec::new(), sent: 0, next_xid: 1 },
        });
        Ok(index)
    }

    /// Adds `count` connections to the servers in turn, each with a new session that lives `timeout_ms` without a
    /// sign of life.
    pub fn open_sessions(&mut self, servers: &[SocketAddr], count: usize, timeout_ms: i32) -> Result<()> {
        let mut opening = Opening::default();
        let mut started = 0;
        let deadline = Instant::now() + HANDSHAKE_LIMIT;
        while opening.opened < count {
            while started < count && started - opening.opened < HANDSHAKES_MAX {
                let index = self.connect(servers[started % servers.len()])?;
                self.connections[index].outgoing.frame(|out| {
                    let request = ConnectRequest {
                        last_zxid_seen: 0,
                        timeout_ms,
                        session: SessionId::NONE,
                        password: &[0; 16],
                        read_only: Some(false),
                    };
                    request.write(out);
                });
                self.flush(index, &mut opening);
                started += 1;
            }
            self.turn(Duration::from_millis(100), &mut opening)?;
            if let Some(problem) = opening.problem {
                bail!("session {} of {count}: {problem}", opening.opened + 1);
            }
            if Instant::now() > deadline {
                bail!("the server opened {} of {count} sessions in {HANDSHAKE_LIMIT:?}", opening.opened);
            }
        }
        Ok(())
    }

    /// Drops a connection, without telling anybody.
    pub fn disconnect(&mut self, index: usize) {
        self.connections[index].socket = None;
    }

    /// Asks the server to close all sessions, and waits for a while until it has.
    pub fn close_sessions(&mut self) -> Result<()> {
        let mut closing = Closing::default();
        for index in 0..self.connections.len() {
            if self.connections[index].socket.is_none() {
                continue;
            }
            closing.open += 1;
            self.connections[index].outgoing.request(|xid, out| {
                RequestHeader { xid, op: OpCode::CloseSession.to_wire() }.write(out);
                Some(())
            });
            self.flush(index, &mut closing);
        }
        let deadline = Instant::now() + CLOSE_LIMIT;
        while closing.open > 0 && Instant::now() < deadline {
            self.turn(Duration::from_millis(100), &mut closing)?;
        }
        Ok(())
    }

    /// What is to be sent on a connection; call [`Pool::flush`] afterwards. `None` if the connection is gone.
    pub fn outgoing(&mut self, index: usize) -> Option<&mut Outgoing> {
        let connection = self.connections.get_mut(index)?;
        connection.socket.as_ref()?;
        Some(&mut connection.outgoing)
    }

    /// Sends what can be sent at once; the rest follows when the socket has room.
    pub fn flush(&mut self, index: usize, handler: &mut impl Handler) {
        let connection = &mut self.connections[index];
        if let Err(why) = connection.flush() {
            connection.close(index, &why, handler);
        }
    }

    /// Waits for at most `timeout` (the resolution is 1 ms, and 0 does not wait) and serves whatever is ready.
    pub fn turn(&mut self, timeout: Duration, handler: &mut impl Handler) -> Result<()> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            other => other.context("wait for sockets")?,
        }
        for event in &self.events {
            let index = event.token().0;
            let connection = &mut self.connections[index];
            // A socket without anything left to send is always writable, so only reads are worth a look.
            let result = if event.is_readable() || event.is_read_closed() || event.is_error() {
                let to_the_end = event.is_read_closed() || event.is_error();
                connection.receive(&mut self.buffer, self.epoch, index, to_the_end, handler)
            } else {
                connection.flush()
            };
            if let Err(why) = result {
                connection.close(index, &why, handler);
            }
        }
        Ok(())
    }
}

impl Connection {
    /// Reads until nothing is left, and answers after every read.
    fn receive(
        &mut self,
        buffer: &mut [u8],
        epoch: Instant,
        index: usize,
        to_the_end: bool,
        handler: &mut impl Handler,
    ) -> Result<(), String> {
        loop {
            let Some(socket) = &mut self.socket else { return Ok(()) };
            let count = match socket.read(buffer) {
                Ok(0) => return Err("closed by the server".to_owned()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.flush(),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.to_string()),
            };
            let now_ns = epoch.elapsed().as_nanos() as u64;
            let outgoing = &mut self.outgoing;
            self.cutter
                .feed(&buffer[..count], |frame| handler.on_frame(now_ns, index, frame, outgoing))
                .map_err(|BadLength(length)| format!("a frame of {length} bytes"))?;
            self.flush()?;
            // A read that does not fill the buffer has emptied the socket: whatever comes later is a new event.
            if count < buffer.len() && !to_the_end {
                return Ok(());
            }
        }
    }

    fn flush(&mut self) -> Result<(), String> {
        let Outgoing { bytes, sent, .. } = &mut self.outgoing;
        let Some(socket) = &mut self.socket else { return Ok(()) };
        while *sent < bytes.len() {
            match socket.write(&bytes[*sent..]) {
                Ok(0) => return Err(io::Error::from(ErrorKind::WriteZero).to_string()),
                Ok(count) => *sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        bytes.clear();
        *sent = 0;
        Ok(())
    }

    fn close(&mut self, index: usize, why: &str, handler: &mut impl Handler) {
        if self.socket.take().is_some() {
            handler.on_closed(index, why);
        }
    }
}

/// Waits for the answers to handshakes.
#[derive(Default)]
struct Opening {
    opened: usize,
    problem: Option<String>,
}

impl Handler for Opening {
    fn on_frame(&mut self, _now_ns: u64, _index: usize, frame: &[u8], _outgoing: &mut Outgoing) {
        match ConnectResponse::read(frame) {
            Ok(response) if response.timeout_ms > 0 && response.session != SessionId::NONE => {
                self.opened += 1
            }
            Ok(_) => self.problem = Some("the server refused a new session".to_owned()),
            Err(error) => self.problem = Some(error.to_string()),
        }
    }

    fn on_closed(&mut self, _index: usize, why: &str) {
        self.problem = Some(why.to_owned());
    }
}

/// Waits for connections to be closed.
#[derive(Default)]
struct Closing {
    open: usize,
}

impl Handler for Closing {
    fn on_frame(&mut self, _now_ns: u64, _index: usize, _frame: &[u8], _outgoing: &mut Outgoing) {}

    fn on_closed(&mut self, _index: usize, _why: &str) {
        self.open -= 1;
    }
}
