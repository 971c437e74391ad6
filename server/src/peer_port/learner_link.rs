//! A connection on the quorum port, whichever side dialed it (`LearnerHandler`, `Learner`).
//!
//! [`outbox`] is what waits to be sent, [`receive`] takes in what arrives, and [`run`] is the task that does both for
//! as long as the connection lives.

mod outbox;
mod receive;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use protocol::peer::{FromLeader, FromLearner};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::WriteHalf;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::limits::{UNPROCESSED_PAUSE_BYTES, UNPROCESSED_RESUME_BYTES};
use super::snapshot_transfer::{OutgoingChunk, OutgoingChunks};
use super::{LinkId, PeerSink};
use outbox::{Next, Outbox};

/// The part of a link that other threads may touch.
pub(super) struct Link {
    id: LinkId,
    outbox: Mutex<Outbox>,
    /// Tells the link's task that there is something to send.
    to_send: Notify,
    /// Why the link is to end, once somebody wants that.
    shut: Mutex<Option<String>>,
    shutting: Notify,
    /// Bytes handed to the sink and not given back.
    unprocessed: AtomicUsize,
    /// Whether the task waits for some of them.
    paused: AtomicBool,
    resume: Notify,
    made: Instant,
    /// When the other end was last seen to be alive, milliseconds after `made`.
    alive_ms: AtomicU64,
    /// Whether a packet has arrived.
    spoken: AtomicBool,
}

impl Link {
    /// A link that ends when more than so many bytes of packets wait to be sent.
    pub fn new(id: LinkId, outbox_bytes_max: usize) -> Link {
        Link {
            id,
            outbox: Mutex::new(Outbox::new(outbox_bytes_max)),
            to_send: Notify::new(),
            shut: Mutex::default(),
            shutting: Notify::new(),
            unprocessed: AtomicUsize::new(0),
            paused: AtomicBool::new(false),
            resume: Notify::new(),
            made: Instant::now(),
            alive_ms: AtomicU64::new(0),
            spoken: AtomicBool::new(false),
        }
    }

    pub fn id(&self) -> LinkId {
        self.id
    }

    /// Appends packets. Says whether the task must be told with [`Link::flush`].
    pub fn append(&self, encode: impl FnOnce(&mut Vec<u8>)) -> bool {
        let appended = self.outbox.lock().append(encode);
        appended.unwrap_or_else(|full| {
            self.shut(full.to_string());
            false
        })
    }

    /// Appends a raw stream. Says whether the task must be told with [`Link::flush`].
    pub fn append_stream(&self, chunks: OutgoingChunks) -> bool {
        self.outbox.lock().append_stream(chunks)
    }

    /// Tells the task that there is something to send.
    pub fn flush(&self) {
        self.to_send.notify_one();
    }

    /// Ends the link, for the first reason that is given. Frees what was to be sent, and lets the thread that writes
    /// a snapshot know.
    pub fn shut(&self, why: String) {
        self.shut.lock().get_or_insert(why);
        self.outbox.lock().close();
        self.shutting.notify_one();
    }

    /// Waits until [`Link::shut`] is called and says why it was. Cancel safe.
    pub async fn shut_down(&self) -> String {
        loop {
            if let Some(why) = self.shut.lock().clone() {
                return why;
            }
            self.shutting.notified().await;
        }
    }

    /// Counts bytes of messages as done with.
    pub fn processed(&self, bytes: usize) {
        let subtract = |unprocessed: usize| Some(unprocessed.saturating_sub(bytes));
        let before = self.unprocessed.fetch_update(Ordering::SeqCst, Ordering::SeqCst, subtract);
        let left = before.unwrap_or_default().saturating_sub(bytes);
        if left <= UNPROCESSED_RESUME_BYTES && self.paused.load(Ordering::SeqCst) {
            self.resume.notify_one();
        }
    }

    fn handed_over(&self, bytes: usize) {
        self.unprocessed.fetch_add(bytes, Ordering::SeqCst);
    }

    /// Waits, if too much is handed over, until enough of it is processed. Cancel safe.
    async fn wait_for_room(&self) {
        if self.unprocessed.load(Ordering::SeqCst) <= UNPROCESSED_PAUSE_BYTES {
            return;
        }
        self.paused.store(true, Ordering::SeqCst);
        while self.unprocessed.load(Ordering::SeqCst) > UNPROCESSED_RESUME_BYTES {
            self.resume.notified().await;
        }
        self.resumed();
    }

    /// Says that nothing will be read for a while, through no fault of the other end.
    fn pause(&self) {
        self.paused.store(true, Ordering::SeqCst);
    }

    fn resumed(&self) {
        self.alive();
        self.paused.store(false, Ordering::SeqCst);
    }

    /// Notes that the other end has sent something, or taken a piece of a snapshot.
    fn alive(&self) {
        let elapsed_ms = u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.alive_ms.store(elapsed_ms, Ordering::Relaxed);
    }

    /// How long the other end has not been seen alive; nothing while we do not listen. A link on which no packet has
    /// arrived is as silent as it is old, however slowly bytes trickle in.
    pub fn silence(&self) -> Duration {
        if self.paused.load(Ordering::SeqCst) {
            return Duration::ZERO;
        }
        let elapsed = self.made.elapsed();
        if !self.has_spoken() {
            return elapsed;
        }
        elapsed.saturating_sub(Duration::from_millis(self.alive_ms.load(Ordering::Relaxed)))
    }

    /// Whether a packet has arrived.
    pub fn has_spoken(&self) -> bool {
        self.spoken.load(Ordering::Relaxed)
    }
}

/// Which side dialed, and so who speaks to us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum OtherEnd {
    /// A leader that we dialed.
    Leader,
    /// A learner that dialed us.
    Learner,
}

/// Serves a link until it ends; says why it has. Dropping the future closes the socket.
pub(super) async fn run(
    link: Arc<Link>,
    mut socket: TcpStream,
    other_end: OtherEnd,
    sink: Arc<dyn PeerSink>,
    packet_bytes_max: usize,
) -> String {
    let (reader, writer) = socket.split();
    let receive = async {
        let mut receiver = receive::Receiver::new(&link, reader, &*sink, packet_bytes_max);
        match other_end {
            OtherEnd::Leader => receiver.run::<FromLeader>().await,
            OtherEnd::Learner => receiver.run::<FromLearner>().await,
        }
    };
    let why = tokio::select! {
        biased;
        why = link.shut_down() => why,
        why = receive => why.to_string(),
        why = send(&link, writer) => why,
    };
    link.shut(why.clone());
    why
}

/// Sends what there is, all that waits with one call where the system takes it; says why it cannot any more.
async fn send(link: &Link, mut writer: WriteHalf<'_>) -> String {
    loop {
        let next = link.outbox.lock().next();
        match next {
            Next::Nothing => link.to_send.notified().await,
            Next::Packets(bytes) => {
                if let Err(error) = writer.write_all(&bytes).await {
                    return format!("cannot send: {error}");
                }
                link.outbox.lock().sent(bytes);
            }
            Next::Stream(chunks) => {
                if let Err(why) = send_stream(link, &mut writer, chunks).await {
                    return why;
                }
            }
        }
    }
}

async fn send_stream(
    link: &Link,
    writer: &mut WriteHalf<'_>,
    mut chunks: OutgoingChunks,
) -> Result<(), String> {
    loop {
        match chunks.recv().await {
            Some(OutgoingChunk::Bytes(bytes)) => {
                let sent = writer.write_all(&bytes).await;
                sent.map_err(|error| format!("cannot send the snapshot or log: {error}"))?;
                // Somebody who loads a tree, or logs much, says nothing for a long time.
                link.alive();
            }
            Some(OutgoingChunk::End) => return Ok(()),
            None => return Err("the snapshot or log for it was given up half way".into()),
        }
    }
}
