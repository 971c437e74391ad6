//! The one task of a client: it carries out what the core wants, and decides nothing.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::time::{Sleep, sleep_until};
use tracing::{debug, info};

use crate::session::{Link, Output, State};
use crate::shared::{Shared, Token};
use crate::stream::{Stream, Transport};
use crate::watch::Mailbox;

/// What one read takes from the socket.
const READ_BYTES: usize = 64 << 10;
/// Room of an empty buffer above which it is not kept.
const BUFFER_BYTES_KEPT: usize = 256 << 10;
/// How long a server may take to say whether it can write.
const PROBE_PATIENCE: Duration = Duration::from_secs(2);
/// How far ahead the timer is set when nothing is due.
const IDLE: Duration = Duration::from_secs(3_600);

type Wish = Output<Token, Arc<Mailbox>>;
type Attempt<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The task's state. Dropping it, also when the runtime goes away, fails everything that waits.
pub(crate) struct Connection {
    shared: Arc<Shared>,
    transport: Transport,
    link: Link,
    stream: Option<Stream>,
    dialing: Option<Attempt<io::Result<Stream>>>,
    probing: Option<Attempt<(Link, bool)>>,
    /// Being sent, from there.
    sending: Vec<u8>,
    sent: usize,
    /// Written, but perhaps still in the encryption's buffers.
    unflushed: bool,
    /// Writing failed.
    broken: bool,
    received: Box<[u8]>,
    wishes: Vec<Wish>,
    timer: Pin<Box<Sleep>>,
    timer_ms: u64,
    over: bool,
}

/// What was found out without the core's lock, to be told under it.
#[derive(Default)]
struct Findings {
    connected: bool,
    received: usize,
    closed: bool,
    probed: Option<(Link, bool)>,
}

impl Connection {
    pub fn new(shared: Arc<Shared>, transport: Transport) -> Connection {
        Connection {
            timer: Box::pin(sleep_until(shared.instant(0))),
            shared,
            transport,
            link: Link::default(),
            stream: None,
            dialing: None,
            probing: None,
            sending: Vec::new(),
            sent: 0,
            unflushed: false,
            broken: false,
            received: vec![0; READ_BYTES].into(),
            wishes: Vec::new(),
            timer_ms: 0,
            over: false,
        }
    }

    /// Runs until the session is over.
    pub async fn run(mut self) {
        std::future::poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let findings = self.look_around(cx);
            let progress =
                findings.connected || findings.received > 0 || findings.closed || findings.probed.is_some();
            let deadline_ms = self.consult(cx, &findings);
            let progress = progress || !self.wishes.is_empty();
            self.carry_out();
            if self.over {
                return Poll::Ready(());
            }
            let progress = self.send(cx) | self.sleep(cx, deadline_ms) | progress;
            if !progress {
                return Poll::Pending;
            }
        }
    }

    /// Asks sockets and attempts what is new.
    fn look_around(&mut self, cx: &mut Context<'_>) -> Findings {
        let mut findings = Findings::default();
        if let Some(dialing) = &mut self.dialing
            && let Poll::Ready(result) = dialing.as_mut().poll(cx)
        {
            self.dialing = None;
            match result {
                Ok(stream) => {
                    self.stream = Some(stream);
                    findings.connected = true;
                }
                Err(error) => {
                    debug!(%error, "cannot connect");
                    findings.closed = true;
                }
            }
        }
        if let Some(probing) = &mut self.probing
            && let Poll::Ready(result) = probing.as_mut().poll(cx)
        {
            self.probing = None;
            findings.probed = Some(result);
        }
        if let Some(stream) = &mut self.stream {
            match stream.poll_read_into(cx, &mut self.received) {
                Poll::Pending => findings.closed = self.broken,
                Poll::Ready(Ok(bytes)) if bytes > 0 => findings.received = bytes,
                Poll::Ready(end) => {
                    if let Err(error) = end {
                        debug!(%error, "the connection broke");
                    }
                    findings.closed = true;
                }
            }
        }
        findings
    }

    /// Tells the core, and hears what it wants. Returns when it wants to be asked again.
    fn consult(&mut self, cx: &Context<'_>, findings: &Findings) -> u64 {
        let now_ms = self.shared.now_ms();
        let unsent = self.sending.len() - self.sent;
        let ((), deadline_ms) = self.shared.turn(cx, |core| {
            if findings.connected {
                core.on_connected(self.link, now_ms);
            }
            if findings.received > 0 {
                core.on_bytes(self.link, now_ms, &self.received[..findings.received]);
            }
            if findings.closed {
                core.on_closed(self.link, now_ms, unsent);
            }
            if let Some((link, can_write)) = findings.probed {
                core.on_probed(link, now_ms, can_write);
            }
            if now_ms >= core.next_deadline_ms() {
                core.on_tick(now_ms);
            }
            core.take_outputs(&mut self.wishes);
            if self.sending.is_empty() && self.stream.is_some() {
                core.take_bytes(self.link, &mut self.sending);
            }
        });
        if findings.received > 0 || findings.closed {
            self.shared.room.notify_waiters();
        }
        deadline_ms
    }

    fn carry_out(&mut self) {
        let mut wishes = std::mem::take(&mut self.wishes);
        for wish in wishes.drain(..) {
            match wish {
                Output::Dial { link, host, patience_ms } => {
                    debug!(server = %host, "connecting");
                    self.hang_up();
                    self.link = link;
                    let transport = self.transport.clone();
                    let patience = Duration::from_millis(patience_ms);
                    self.dialing = Some(Box::pin(async move { transport.connect(&host, patience).await }));
                }
                Output::Hang => self.hang_up(),
                Output::Probe { link, host } => {
                    let transport = self.transport.clone();
                    self.probing =
                        Some(Box::pin(
                            async move { (link, transport.can_write(&host, PROBE_PATIENCE).await) },
                        ));
                }
                told => self.over |= tell(&self.shared, told),
            }
        }
        self.wishes = wishes;
    }

    fn hang_up(&mut self) {
        self.stream = None;
        self.dialing = None;
        self.probing = None;
        self.sending.clear();
        self.sent = 0;
        self.unflushed = false;
        self.broken = false;
    }

    /// Sends what there is. Returns whether all of it went out and more may follow.
    fn send(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(stream) = self.stream.as_mut().filter(|_| !self.broken) else { return false };
        let had_bytes = !self.sending.is_empty();
        while self.sent < self.sending.len() {
            match Pin::new(&mut *stream).poll_write(cx, &self.sending[self.sent..]) {
                Poll::Pending => return false,
                Poll::Ready(Ok(bytes)) if bytes > 0 => {
                    self.sent += bytes;
                    self.unflushed = true;
                }
                // What has arrived is read before the core is told.
                Poll::Ready(_) => {
                    self.broken = true;
                    return true;
                }
            }
        }
        if had_bytes {
            self.sending.clear();
            self.sent = 0;
            if self.sending.capacity() > BUFFER_BYTES_KEPT {
                self.sending = Vec::new();
            }
        }
        if self.unflushed && Pin::new(stream).poll_flush(cx).is_ready() {
            self.unflushed = false;
        }
        had_bytes
    }

    /// Sets the timer. Returns whether it has rung.
    fn sleep(&mut self, cx: &mut Context<'_>, deadline_ms: u64) -> bool {
        let rang = self.timer.as_mut().poll(cx).is_ready();
        // Deadlines mostly move away: the timer is left as it is until it rings.
        if rang || deadline_ms < self.timer_ms {
            let latest_ms = self.shared.now_ms() + IDLE.as_millis() as u64;
            self.timer_ms = deadline_ms.min(latest_ms);
            self.timer.as_mut().reset(self.shared.instant(self.timer_ms));
            // Unless it is polled, it does not ring.
            return self.timer.as_mut().poll(cx).is_ready();
        }
        false
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.tell(|core, _| {
            core.abandon();
            core.take_outputs(&mut self.wishes);
        });
        for wish in self.wishes.drain(..) {
            tell(&self.shared, wish);
        }
        self.shared.room.notify_waiters();
    }
}

/// Tells somebody something. Returns whether the session is over with it.
fn tell(shared: &Shared, wish: Wish) -> bool {
    match wish {
        // Whoever dropped the future does not want to know.
        Output::Completed { token, result } => drop(token.send(result)),
        Output::Note { sink, note } => sink.deliver(note),
        Output::Heard(heard) => shared.tell_heard(heard),
        Output::State(state) => {
            match state {
                State::Suspended { overdue: true } | State::Expired | State::AuthFailed => {
                    tracing::warn!(?state, "session");
                }
                _ => info!(?state, "session"),
            }
            shared.states.send_replace(state);
            return state.is_final();
        }
        Output::Dial { .. } | Output::Hang | Output::Probe { .. } => {}
    }
    false
}
