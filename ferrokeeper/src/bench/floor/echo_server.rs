//! A server that does nothing but cut frames.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use protocol::client::connect::ReplyHeader;
use protocol::jute::FrameStart;
use protocol::{Reader, Xid, Zxid};

use crate::bench::frames::Cutter;
use crate::bench::proc_stat::thread_cpu;

/// How soon the thread notices that it should stop.
const WAIT_MAX: Duration = Duration::from_millis(20);
const READ_BUFFER_BYTES: usize = 64 << 10;
const LISTENER: Token = Token(usize::MAX);

/// The server's thread. Stops when it is dropped.
#[derive(Debug)]
pub struct EchoServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// How often somebody asked for the processor time: the first time starts the measurement, the second ends it.
    marks_wanted: AtomicU64,
    /// Processor time of the thread at the first mark, in ns.
    first_mark_ns: AtomicU64,
    /// Processor time of the thread at the last mark, in ns.
    last_mark_ns: AtomicU64,
}

impl EchoServer {
    /// Listens on a free port of the loopback, and answers every frame with its xid and `body_bytes` bytes.
    pub fn start(body_bytes: usize) -> Result<EchoServer> {
        let mut listener =
            TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).context("bind the echo")?;
        let address = listener.local_addr().context("ask for the echo's port")?;
        let poll = Poll::new().context("create an epoll instance")?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE).context("register the echo")?;
        let shared = Arc::new(Shared::default());
        let echo = Echo {
            poll,
            listener,
            connections: Vec::new(),
            buffer: vec![0; READ_BUFFER_BYTES],
            body: vec![0; body_bytes],
            shared: shared.clone(),
        };
        let run = move || echo.run();
        let thread = thread::Builder::new().name("echo".to_owned()).spawn(run).context("start the echo")?;
        Ok(EchoServer { address, shared, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts (the first time) or ends (the second) the measurement of processor time.
    pub fn mark_cpu(&self) {
        self.shared.marks_wanted.fetch_add(1, Ordering::Relaxed);
    }

    /// Stops it, and says how much processor time it used between the first mark and the last.
    pub fn stop(mut self) -> Result<Duration> {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().map_err(|_| anyhow!("the echo server panicked"))??;
        }
        let last = self.shared.last_mark_ns.load(Ordering::Relaxed);
        let first = self.shared.first_mark_ns.load(Ordering::Relaxed);
        Ok(Duration::from_nanos(last.saturating_sub(first)))
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Whatever it was about, the measurement is given up.
            let _ = thread.join();
        }
    }
}

struct Echo {
    poll: Poll,
    listener: TcpListener,
    connections: Vec<Option<Connection>>,
    buffer: Vec<u8>,
    body: Vec<u8>,
    shared: Arc<Shared>,
}

struct Connection {
    socket: TcpStream,
    cutter: Cutter,
    out: Vec<u8>,
    sent: usize,
}

impl Echo {
    fn run(mut self) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut marks = 0;
        while !self.shared.stop.load(Ordering::Relaxed) {
            match self.poll.poll(&mut events, Some(WAIT_MAX)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other.context("wait for sockets")?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    Token(index) => self.serve(index, event.is_read_closed()),
                }
            }
            marks = self.mark(marks);
        }
        self.mark(marks);
        Ok(())
    }

    fn mark(&self, seen: u64) -> u64 {
        let wanted = self.shared.marks_wanted.load(Ordering::Relaxed);
        if wanted != seen {
            let now_ns = thread_cpu().as_nanos() as u64;
            if seen == 0 {
                self.shared.first_mark_ns.store(now_ns, Ordering::Relaxed);
            }
            self.shared.last_mark_ns.store(now_ns, Ordering::Relaxed);
        }
        wanted
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            let (mut socket, _) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("accept"),
            };
            socket.set_nodelay(true).context("set TCP_NODELAY")?;
            let token = Token(self.connections.len());
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut socket, token, interest).context("register a socket")?;
            let connection = Connection { socket, cutter: Cutter::default(), out: Vec::new(), sent: 0 };
            self.connections.push(Some(connection));
        }
    }

    fn serve(&mut self, index: usize, to_the_end: bool) {
        let Some(connection) = &mut self.connections[index] else { return };
        if connection.serve(&mut self.buffer, &self.body, to_the_end).is_none() {
            self.connections[index] = None;
        }
    }
}

impl Connection {
    /// `None` when the connection is over.
    fn serve(&mut self, buffer: &mut [u8], body: &[u8], to_the_end: bool) -> Option<()> {
        loop {
            let count = match self.socket.read(buffer) {
                Ok(0) => return None,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.flush(),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return None,
            };
            let out = &mut self.out;
            self.cutter.feed(&buffer[..count], |frame| answer(frame, body, out)).ok()?;
            self.flush()?;
            if count < buffer.len() && !to_the_end {
                return Some(());
            }
        }
    }

    fn flush(&mut self) -> Option<()> {
        while self.sent < self.out.len() {
            match self.socket.write(&self.out[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        self.out.clear();
        self.sent = 0;
        Some(())
    }
}

fn answer(frame: &[u8], body: &[u8], out: &mut Vec<u8>) {
    let xid = Reader::new(frame).i32().unwrap_or_default();
    let reply = FrameStart::open(out);
    ReplyHeader::ok(Xid::new(xid), Zxid::ZERO).write(out);
    out.extend_from_slice(body);
    reply.close(out);
}
