//! The way from other threads to the peer thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::ServerId;
use protocol::peer::membership::PeerAddress;
use protocol::peer::{Member, Notification};
use tokio::sync::Notify;

use super::LinkId;
use super::learner_link::Link;
use super::limits::OUTBOX_BYTES_MAX;
use super::snapshot_transfer::StreamWriter;

/// Where to find the other servers.
pub(super) type Members = Vec<(ServerId, Vec<PeerAddress>)>;

/// A leader to be dialed.
pub(super) struct LeaderDial {
    pub link: Arc<Link>,
    pub addresses: Vec<(String, u16)>,
    pub limit: Duration,
    /// Whether one attempt is enough: there are others to be dialed.
    pub once: bool,
}

/// What waits for the peer thread. Bounded by the number of servers: of each kind of request only the newest counts,
/// and the core dials one leader at a time.
#[derive(Default)]
pub(super) struct Mail {
    pub members: Option<Members>,
    /// This server's own line, when it is elsewhere from now on.
    pub own: Option<Member>,
    pub notifications: BTreeMap<ServerId, Bytes>,
    pub connect_all: bool,
    pub leader_dials: Vec<LeaderDial>,
}

/// What both sides see.
#[derive(Default)]
pub(super) struct Shared {
    mail: Mutex<Mail>,
    /// Links that have something to send and whose tasks do not know it yet.
    unflushed: Mutex<Vec<Arc<Link>>>,
    links: Mutex<BTreeMap<LinkId, Arc<Link>>>,
    next_link: AtomicU64,
    rung: AtomicBool,
    bell: Notify,
    stopping: AtomicBool,
}

impl Shared {
    /// Wakes the peer thread, once for any number of calls until it looks.
    fn ring(&self) {
        if !self.rung.swap(true, Ordering::SeqCst) {
            self.bell.notify_one();
        }
    }

    /// For the driver: waits for the bell. What was put in before it rang is seen by who looks after this.
    /// Cancel safe.
    pub fn rung(&self) -> impl Future<Output = ()> {
        self.bell.notified()
    }

    /// For the driver, after the bell rang: everything there is to do.
    pub fn take(&self) -> (Mail, Vec<Arc<Link>>) {
        // First of all: what is put in from here on rings again.
        self.rung.store(false, Ordering::SeqCst);
        (std::mem::take(&mut self.mail.lock()), std::mem::take(&mut self.unflushed.lock()))
    }

    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.ring();
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    pub fn new_link(&self) -> LinkId {
        LinkId::new(self.next_link.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub fn register(&self, link: &Arc<Link>) {
        self.links.lock().insert(link.id(), Arc::clone(link));
    }

    pub fn forget(&self, link: LinkId) {
        self.links.lock().remove(&link);
    }

    pub fn links(&self) -> Vec<Arc<Link>> {
        self.links.lock().values().cloned().collect()
    }

    fn link(&self, link: LinkId) -> Option<Arc<Link>> {
        self.links.lock().get(&link).cloned()
    }
}

/// Speaks to the peer thread from any other. No call blocks.
///
/// What concerns a link that has ended is ignored: its end has been reported, or is about to be.
#[derive(Clone)]
pub struct PeerHandle {
    shared: Arc<Shared>,
}

impl PeerHandle {
    pub(super) fn new(shared: Arc<Shared>) -> PeerHandle {
        PeerHandle { shared }
    }

    fn mail(&self, put: impl FnOnce(&mut Mail)) {
        put(&mut self.shared.mail.lock());
        self.shared.ring();
    }

    /// Replaces what is known of where servers are; this server may be among them. Connections that stand are kept,
    /// also those of servers that are not named any more.
    pub fn set_members(&self, members: Vec<(ServerId, Vec<PeerAddress>)>) {
        self.mail(|mail| mail.members = Some(members));
    }

    /// Moves the two ports to the addresses of this line, and announces them from now on. Connections that stand are
    /// kept. While an address cannot be bound, it is tried again, once a second and with a word in the log.
    pub fn rebind(&self, own: Member) {
        self.mail(|mail| mail.own = Some(own));
    }

    /// Sends a notification, dialing the server if there is no connection and it has an address. Only the newest
    /// counts: one that waits is replaced. The last is remembered and sent when a new connection comes to be.
    ///
    /// What a server tells itself does not come this way and is dropped.
    pub fn notify(&self, to: ServerId, notification: &Notification) {
        let mut frame = Vec::new();
        notification.encode(&mut frame);
        self.mail(|mail| _ = mail.notifications.insert(to, frame.into()));
    }

    /// Dials every member that there is no connection to.
    pub fn connect_all(&self) {
        self.mail(|mail| mail.connect_all = true);
    }

    /// A name for a link that is to be dialed.
    pub fn new_link(&self) -> LinkId {
        self.shared.new_link()
    }

    /// Dials a leader's quorum port: all addresses at once, the first to answer wins; several times if nobody does,
    /// within `limit_ms`. Ends with [`super::PeerSink::leader_connected`] or
    /// [`super::PeerSink::leader_unreachable`]. What is written meanwhile is sent once the link stands.
    ///
    /// `link` must come from [`PeerHandle::new_link`] and be used once.
    pub fn connect_leader(&self, link: LinkId, addresses: Vec<(String, u16)>, limit_ms: u64) {
        self.dial(link, addresses, limit_ms, false);
    }

    /// The same for a follower that may serve this observer: one attempt, as there are others to go to.
    pub fn connect_observer_master(&self, link: LinkId, addresses: Vec<(String, u16)>, limit_ms: u64) {
        self.dial(link, addresses, limit_ms, true);
    }

    fn dial(&self, link: LinkId, addresses: Vec<(String, u16)>, limit_ms: u64, once: bool) {
        let link = Arc::new(Link::new(link, OUTBOX_BYTES_MAX));
        self.shared.register(&link);
        let limit = Duration::from_millis(limit_ms);
        self.mail(|mail| mail.leader_dials.push(LeaderDial { link, addresses, limit, once }));
    }

    /// Appends packets to what a link is to send. They leave with the next [`PeerHandle::flush`] at the latest.
    ///
    /// `encode` runs under the link's lock: it must only append. A link whose other end does not read is closed
    /// when 256 MiB wait, one of an observer's sooner (`PeerPortSettings::observer_outbox_bytes_max`).
    pub fn write(&self, link: LinkId, encode: impl FnOnce(&mut Vec<u8>)) {
        if let Some(link) = self.shared.link(link)
            && link.append(encode)
        {
            self.shared.unflushed.lock().push(link);
        }
    }

    /// Lets the peer thread send what was written, to however many links. Wakes it once, if there is anything.
    pub fn flush(&self) {
        if !self.shared.unflushed.lock().is_empty() {
            self.shared.ring();
        }
    }

    /// Begins a stream behind what was written to the link so far: SNAP and a raw tree, or packets of a part of the log.
    /// What is written from here on waits until the stream is finished.
    pub fn send_stream(&self, link: LinkId) -> StreamWriter {
        let (writer, chunks) = StreamWriter::new();
        if let Some(link) = self.shared.link(link)
            && link.append_stream(chunks)
        {
            self.shared.unflushed.lock().push(link);
        }
        self.flush();
        writer
    }

    /// Ends a link at once; what it has not sent is dropped. The sink hears `why` when it has ended.
    pub fn close(&self, link: LinkId, why: impl Into<String>) {
        if let Some(link) = self.shared.link(link) {
            link.shut(why.into());
        }
    }

    /// Gives back what the sink was handed with messages, when they are done with. A link is not read while more
    /// than 32 MiB are out.
    pub fn received_processed(&self, link: LinkId, bytes: usize) {
        if let Some(link) = self.shared.link(link) {
            link.processed(bytes);
        }
    }
}
