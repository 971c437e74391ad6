//! A thread that owns connections for life: reads them, answers what it may, sends what there is to be sent.
//!
//! One turn of the loop: look at every connection that can be read, flush what it was answered, then hand all
//! requests for the core over at once. Answers that were given here are therefore on their way before the core
//! hears of anything that was asked behind them.
//!
//! The order of answers and watch events rests on one rule: mail from the core is taken in after the tree's lock
//! is taken and before anything is read from the tree. Whatever a read shows, the events of it stand before it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use replica::pipeline::read::Source;
use replica::{ConnectionId, Delivery};
use tracing::{debug, error, info, warn};

use super::connection::{Connection, Work};
use super::door::Moved;
use super::limits;
use super::link::{Link, LinkCounts, bump};
use crate::context::ServerContext;
use crate::intake::{Batch, Item};
use crate::mailbox::{Mail, Mailbox};
use crate::stats::count;

/// The token of a mailbox's bell.
pub const BELL: Token = Token(usize::MAX);
const LISTENER: Token = Token(usize::MAX - 1);

/// The first of the threads has the listener.
pub const THREAD_THAT_ACCEPTS: usize = 0;

/// Requests that are handed to the core before the end of a turn, so that both threads work: large enough for a sync
/// to be shared by many, small enough for the core not to wait for a whole turn.
const HAND_OVER_REQUESTS: usize = 256;

/// How often silent connections are looked for.
const SWEEP_INTERVAL_MS: u64 = 1_000;

/// Java's width of the sets in which connections expire.
pub const EXPIRY_SET_MS: u64 = 10_000;

/// The loop and what it owns.
pub struct IoThread {
    index: usize,
    threads: usize,
    poll: Poll,
    listener: Option<TcpListener>,
    mailboxes: Vec<Arc<Mailbox>>,
    server: Arc<ServerContext>,
    places: Vec<Place>,
    free: Vec<usize>,
    /// Places to be looked at again in this turn or the next.
    ready: Vec<usize>,
    /// Places with something to send.
    dirty: Vec<usize>,
    outgoing: Batch,
    mail: Mail,
    /// Accepted by another thread and not yet looked at.
    arrivals: Vec<(TcpStream, SocketAddr)>,
    read_buffer: Box<[u8]>,
    spare_buffers: Vec<Vec<u8>>,
    next_thread: usize,
    next_sweep_ms: u64,
    /// The monotonic clock as of the start of this turn: good enough for all that is counted in milliseconds.
    now_ms: u64,
}

#[derive(Default)]
struct Place {
    generation: u32,
    connection: Option<Connection>,
}

impl IoThread {
    /// A thread of several; the one with the listener gives each new connection to the next thread in turn.
    pub fn new(
        index: usize,
        poll: Poll,
        listener: Option<TcpListener>,
        mailboxes: Vec<Arc<Mailbox>>,
        server: Arc<ServerContext>,
    ) -> std::io::Result<IoThread> {
        let server_now_ms = server.clock.monotonic_ms();
        let mut thread = IoThread {
            index,
            threads: mailboxes.len(),
            poll,
            listener,
            mailboxes,
            server,
            places: Vec::new(),
            free: Vec::new(),
            ready: Vec::new(),
            dirty: Vec::new(),
            outgoing: Batch::default(),
            mail: Mail::default(),
            arrivals: Vec::new(),
            read_buffer: vec![0; limits::READ_CHUNK_BYTES].into(),
            spare_buffers: Vec::new(),
            next_thread: 0,
            next_sweep_ms: 0,
            now_ms: server_now_ms,
        };
        if let Some(listener) = &mut thread.listener {
            thread.poll.registry().register(listener, LISTENER, Interest::READABLE)?;
        }
        Ok(thread)
    }

    /// Runs until the server stops.
    pub fn run(mut self) -> std::io::Result<()> {
        let mut events = Events::with_capacity(1024);
        while !self.server.stopping.load(Ordering::Relaxed) {
            let patience = if self.ready.is_empty() { Duration::from_millis(500) } else { Duration::ZERO };
            match self.poll.poll(&mut events, Some(patience)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            self.turn(&events);
        }
        Ok(())
    }

    fn turn(&mut self, events: &Events) {
        self.mailboxes[self.index].hush();
        self.now_ms = self.server.clock.monotonic_ms();
        if self.index == THREAD_THAT_ACCEPTS {
            self.move_door();
        }
        for place in std::mem::take(&mut self.ready) {
            self.serve(place);
        }
        for event in events {
            // The core may begin: what was answered here of these connections is sent already.
            if self.outgoing.requests >= HAND_OVER_REQUESTS {
                self.server.intake.hand_over(&mut self.outgoing);
            }
            match event.token() {
                BELL => {}
                LISTENER => self.accept(),
                Token(place) => self.on_event(place, event),
            }
        }
        self.take_mail();
        self.adopt_sockets();
        self.flush_dirty();
        self.server.intake.hand_over(&mut self.outgoing);
        if self.now_ms >= self.next_sweep_ms {
            self.next_sweep_ms = self.now_ms + SWEEP_INTERVAL_MS;
            self.sweep();
        }
        // A connection may have paused after the mail that would have woken it: look once more before sleeping.
        if self.take_mail() {
            self.adopt_sockets();
            self.flush_dirty();
            self.server.intake.hand_over(&mut self.outgoing);
        }
    }

    fn on_event(&mut self, place: usize, event: &Event) {
        let Some(connection) = self.connection(place) else { return };
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            connection.readable = true;
            self.serve(place);
        }
        if event.is_writable() && self.connection(place).is_some_and(|connection| connection.unsent() > 0) {
            self.flush(place);
        }
    }

    /// Reads one chunk, handles it, and sends the answers.
    fn serve(&mut self, place: usize) {
        let server = Arc::clone(&self.server);
        let Some(connection) = self.connection(place) else { return };
        if connection.must_pause(&server) {
            connection.link.paused.store(true, Ordering::SeqCst);
            return;
        }
        let had_to_wait = connection.has_input() && connection.link.paused.swap(false, Ordering::SeqCst);
        let mut fresh = 0;
        if connection.readable && !had_to_wait {
            let link = Arc::clone(&connection.link);
            match (&link.socket).read(&mut self.read_buffer) {
                Ok(0) => return self.close(place),
                Ok(bytes) => {
                    fresh = bytes;
                    count(&server.stats.bytes_received, bytes as u64);
                    // Edge-triggered: only an empty socket or a short read ends the duty to read on, and behind a
                    // short read there may still be the end of the stream, which comes with an event of its own.
                    if bytes == self.read_buffer.len() {
                        self.ready.push(place);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.unread(place);
                    return;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => return self.ready.push(place),
                Err(_) => return self.close(place),
            }
        } else if had_to_wait {
            self.ready.push(place);
        } else {
            return;
        }
        self.handle(place, fresh, &server);
        self.flush(place);
    }

    fn unread(&mut self, place: usize) {
        if let Some(connection) = self.connection(place) {
            connection.readable = false;
        }
    }

    fn handle(&mut self, place: usize, fresh: usize, server: &ServerContext) {
        let tree = server.shared.tree();
        self.take_mail();
        let Some(mut connection) = self.places[place].connection.take() else { return };
        if connection.outbox.capacity() == 0 {
            connection.outbox = self.spare_buffers.pop().unwrap_or_default();
        }
        let source = Source { tree: &tree, watches: &server.shared.watches, rules: &server.shared.rules };
        let sent_before = connection.link.counts.sent.load(Ordering::Relaxed);
        let received_before = connection.link.counts.received.load(Ordering::Relaxed);
        let mut work = Work { source, server, outgoing: &mut self.outgoing, now_ms: self.now_ms };
        connection.take_input(&self.read_buffer[..fresh], &mut work);
        drop(tree);
        let counts = &connection.link.counts;
        let answered = counts.sent.load(Ordering::Relaxed) - sent_before;
        if answered > 0 {
            count(&server.stats.packets_sent, answered);
            counts.latency.add(answered, 0, 0);
            server.stats.latency.add(answered, 0, 0);
            server.stats.read_latency.add(answered, 0, 0);
        }
        count(&server.stats.packets_received, counts.received.load(Ordering::Relaxed) - received_before);
        if connection.must_pause(server) && !connection.is_closing() {
            connection.link.paused.store(true, Ordering::SeqCst);
        }
        self.places[place].connection = Some(connection);
    }

    /// Takes what the core left. May be called with the tree's lock held: it only moves bytes.
    fn take_mail(&mut self) -> bool {
        let mut mail = std::mem::take(&mut self.mail);
        let any = self.mailboxes[self.index].take(&mut mail);
        if any {
            for delivery in mail.deliveries.drain(..) {
                self.take_delivery(delivery, &mail.bytes);
            }
            self.arrivals.append(&mut mail.sockets);
            mail.clear();
        }
        self.mail = mail;
        any
    }

    fn take_delivery(&mut self, delivery: Delivery, bytes: &[u8]) {
        let id = delivery.connection();
        let place = id.place() as usize / self.threads;
        let server = Arc::clone(&self.server);
        let spare = &mut self.spare_buffers;
        let Some(connection) =
            self.places.get_mut(place).and_then(|place| place.connection.as_mut()).filter(|c| c.id() == id)
        else {
            return;
        };
        match delivery {
            Delivery::Bytes { range, completed, latency_sum_ms, latency_max_ms, .. } => {
                if connection.outbox.capacity() == 0 {
                    connection.outbox = spare.pop().unwrap_or_default();
                }
                if !range.is_empty() {
                    connection.outbox.extend_from_slice(&bytes[range]);
                    connection.absorbed += 1;
                }
                connection.completed(completed);
                let counts = &connection.link.counts;
                bump(&counts.sent, u64::from(completed.max(1)));
                count(&server.stats.packets_sent, u64::from(completed.max(1)));
                if completed > 0 {
                    let completed = u64::from(completed);
                    let applied = server.shared.status.applied();
                    counts.last_zxid.store(applied.to_wire(), Ordering::Relaxed);
                    counts.last_response_ms.store(self.now_ms, Ordering::Relaxed);
                    counts.last_latency_ms.store(latency_max_ms, Ordering::Relaxed);
                    counts.latency.add(completed, latency_sum_ms, latency_max_ms);
                    server.stats.latency.add(completed, latency_sum_ms, latency_max_ms);
                    server.stats.update_latency.add(completed, latency_sum_ms, latency_max_ms);
                }
                if connection.unsent() > limits::OUTBOX_CLOSE_BYTES {
                    count(&server.stats.slow_readers_closed, 1);
                    warn!(
                        peer = %connection.link.peer,
                        unsent_bytes = connection.unsent(),
                        "connection closed: the client does not read what it asked for"
                    );
                    connection.outbox.clear();
                    connection.outbox_sent = 0;
                    connection.close_when_sent();
                }
            }
            Delivery::Opened { session, timeout_ms, heard_ms, .. } => {
                connection.open(session, timeout_ms, heard_ms, server.shared.status.applied());
                server.stats.update_latency.add(1, 0, 0);
            }
            Delivery::Close { .. } => connection.close_when_sent(),
        }
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push(place);
        }
    }

    fn flush_dirty(&mut self) {
        for place in std::mem::take(&mut self.dirty) {
            if let Some(connection) = self.connection(place) {
                connection.dirty = false;
                self.flush(place);
            }
        }
    }

    /// Sends as much as the socket takes, then sees whether the connection may go on or must go.
    fn flush(&mut self, place: usize) {
        let server = Arc::clone(&self.server);
        let Some(connection) = self.places[place].connection.as_mut() else { return };
        let link = Arc::clone(&connection.link);
        while connection.unsent() > 0 {
            match (&link.socket).write(&connection.outbox[connection.outbox_sent..]) {
                Ok(0) => return self.close(place),
                Ok(bytes) => {
                    connection.outbox_sent += bytes;
                    count(&server.stats.bytes_sent, bytes as u64);
                    link.counts.last_activity_ms.store(self.now_ms, Ordering::Relaxed);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return self.close(place),
            }
        }
        let all_sent = connection.unsent() == 0;
        if all_sent {
            connection.outbox_sent = 0;
            let mut buffer = std::mem::take(&mut connection.outbox);
            if self.spare_buffers.len() < limits::BUFFERS_KEPT
                && buffer.capacity() > 0
                && buffer.capacity() <= limits::BUFFER_BYTES_KEPT
            {
                buffer.clear();
                self.spare_buffers.push(buffer);
            }
        }
        link.outbox_empty.store(all_sent, Ordering::SeqCst);
        if all_sent {
            link.undelivered.fetch_sub(std::mem::take(&mut connection.absorbed), Ordering::SeqCst);
        }
        if all_sent && connection.is_closing() {
            return self.close(place);
        }
        if link.paused.load(Ordering::SeqCst) && !connection.must_pause(&server) {
            if !connection.has_input() {
                link.paused.store(false, Ordering::SeqCst);
            }
            self.ready.push(place);
        }
    }

    /// The membership may say that clients connect elsewhere.
    fn move_door(&mut self) {
        if self.server.door.move_if_asked(&mut self.listener) == Moved::Yes
            && let Some(listener) = &mut self.listener
            && let Err(error) = self.poll.registry().register(listener, LISTENER, Interest::READABLE)
        {
            error!(%error, "cannot watch the port for clients; no client can connect until the server is restarted");
        }
    }

    fn accept(&mut self) {
        loop {
            let Some(listener) = &self.listener else { return };
            match listener.accept() {
                Ok((socket, peer)) => self.admit(socket, peer),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    // Out of file descriptors, most likely. The listener reports again when a client retries.
                    warn!(%error, "cannot accept a connection");
                    return;
                }
            }
        }
    }

    fn admit(&mut self, socket: TcpStream, peer: SocketAddr) {
        if let Err(reason) = self.server.registry.admit(peer.ip()) {
            count(&self.server.stats.connections_rejected, 1);
            info!(%peer, %reason, "connection refused");
            return;
        }
        let thread = self.next_thread;
        self.next_thread = (self.next_thread + 1) % self.threads;
        if thread == self.index {
            self.adopt(socket, peer);
        } else {
            self.mailboxes[thread].put(|mail| mail.sockets.push((socket, peer)));
            self.mailboxes[thread].ring();
        }
    }

    fn adopt_sockets(&mut self) {
        for (socket, peer) in std::mem::take(&mut self.arrivals) {
            self.adopt(socket, peer);
        }
    }

    fn adopt(&mut self, mut socket: TcpStream, peer: SocketAddr) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            self.places.len() - 1
        });
        let _ = socket.set_nodelay(true);
        if self.server.settings.limits.tcp_keep_alive
            && let Err(error) = socket2::SockRef::from(&socket).set_keepalive(true)
        {
            debug!(%peer, %error, "cannot switch keep-alive on");
        }
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut socket, Token(place), interest) {
            warn!(%peer, %error, "cannot watch a connection");
            self.free.push(place);
            self.server.registry.known();
            self.server.registry.leave(peer.ip());
            return;
        }
        let generation = self.places[place].generation;
        let now = self.server.clock.now();
        let counts = LinkCounts {
            established_wall_ms: AtomicI64::new(now.wall_ms),
            last_cxid: AtomicI64::new(-1),
            last_zxid: AtomicI64::new(-1),
            ..LinkCounts::default()
        };
        counts.last_activity_ms.store(now.monotonic_ms, Ordering::Relaxed);
        let link = Arc::new(Link {
            id: ConnectionId::new((place * self.threads + self.index) as u32, generation),
            socket,
            peer,
            outbox_empty: AtomicBool::new(true),
            undelivered: AtomicU32::new(0),
            paused: AtomicBool::new(false),
            counts,
        });
        self.server.registry.add(&link);
        self.places[place].connection = Some(Connection::new(link));
    }

    fn close(&mut self, place: usize) {
        let Some(connection) = self.places[place].connection.take() else { return };
        let link = &connection.link;
        if connection.introduced {
            self.outgoing.items.push(Item::Disconnected { connection: link.id });
        } else {
            self.server.registry.known();
        }
        // The socket itself closes when the last holder of the link lets go of it.
        let _ = link.socket.shutdown(Shutdown::Both);
        self.server.registry.remove(link.id);
        self.server.registry.leave(link.peer.ip());
        self.places[place].generation = self.places[place].generation.wrapping_add(1);
        self.free.push(place);
    }

    /// Closes connections that have been silent for longer than their timeout allows.
    fn sweep(&mut self) {
        let now_ms = self.now_ms;
        for place in 0..self.places.len() {
            let Some(connection) = self.connection(place) else { continue };
            let counts = &connection.link.counts;
            let silent_since_ms = counts.last_activity_ms.load(Ordering::Relaxed);
            let unknown = connection.is_unknown();
            let timeout_ms = match counts.timeout_ms.load(Ordering::Relaxed) {
                0 => self.server.limits.sessionless_timeout_ms,
                timeout_ms => timeout_ms as u64,
            };
            if now_ms >= expiry_ms(silent_since_ms, timeout_ms) {
                if unknown {
                    count(&self.server.stats.sessionless_expired, 1);
                }
                self.close(place);
            }
        }
        self.server.intake.hand_over(&mut self.outgoing);
    }

    fn connection(&mut self, place: usize) -> Option<&mut Connection> {
        self.places.get_mut(place)?.connection.as_mut()
    }
}

/// When a connection that was last active then is closed.
pub fn expiry_ms(last_activity_ms: u64, timeout_ms: u64) -> u64 {
    ((last_activity_ms + timeout_ms) / EXPIRY_SET_MS + 1) * EXPIRY_SET_MS
}
