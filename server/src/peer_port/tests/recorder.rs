//! A sink that remembers what it heard, and lets tests wait for it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use protocol::peer::{FromLeader, FromLearner, Notification};
use protocol::{ServerId, Zxid};

use crate::peer_port::{IncomingSnapshot, LinkId, PeerSink};

/// Long enough for a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);

/// One report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    Notification(ServerId, Notification),
    PeerConnected(ServerId),
    PeerDisconnected(ServerId),
    LearnerConnected(LinkId),
    ObserverConnected(LinkId),
    LeaderConnected(LinkId),
    LeaderUnreachable(LinkId, String),
    FromLearner(LinkId, Vec<FromLearner>, usize),
    FromLeader(LinkId, Vec<FromLeader>, usize),
    SnapshotArriving(LinkId, Zxid),
    LinkClosed(LinkId, String),
    Failed,
}

/// The sink.
#[derive(Default)]
pub struct Recorder {
    events: Mutex<Vec<Event>>,
    streams: Mutex<Vec<IncomingSnapshot>>,
    changed: Condvar,
}

impl Recorder {
    fn record(&self, event: Event) {
        self.events.lock().push(event);
        self.changed.notify_all();
    }

    /// Waits until the events so far answer the question.
    #[track_caller]
    pub fn wait<T>(&self, what: &str, mut find: impl FnMut(&[Event]) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut events = self.events.lock();
        loop {
            if let Some(found) = find(&events) {
                return found;
            }
            let late = self.changed.wait_until(&mut events, deadline).timed_out();
            assert!(!late, "{what} did not happen; heard {}", excerpt(&events));
        }
    }

    #[track_caller]
    pub fn wait_event(&self, event: &Event) {
        self.wait(&format!("{event:?}"), |events| events.contains(event).then_some(()));
    }

    /// The first notification from a server that is not among the first `skip`.
    #[track_caller]
    pub fn wait_notification(&self, from: ServerId, skip: usize) -> Notification {
        self.wait(&format!("notification from {from}"), |events| {
            let mut from = events.iter().filter_map(|event| match event {
                Event::Notification(sender, notification) if *sender == from => Some(notification.clone()),
                _ => None,
            });
            from.nth(skip)
        })
    }

    #[track_caller]
    pub fn wait_learner(&self) -> LinkId {
        self.wait("a learner", |events| {
            events.iter().rev().find_map(|event| match event {
                Event::LearnerConnected(link) => Some(*link),
                _ => None,
            })
        })
    }

    #[track_caller]
    pub fn wait_closed(&self, link: LinkId) -> String {
        self.wait(&format!("the end of link {link}"), |events| {
            events.iter().find_map(|event| match event {
                Event::LinkClosed(closed, why) if *closed == link => Some(why.clone()),
                _ => None,
            })
        })
    }

    /// Waits for so many messages on a link.
    #[track_caller]
    pub fn wait_from_learner(&self, link: LinkId, count: usize) -> Vec<FromLearner> {
        self.wait(&format!("{count} messages from a learner"), |events| {
            let messages: Vec<_> = from_learner(events, link).collect();
            (messages.len() >= count).then(|| messages.into_iter().cloned().collect())
        })
    }

    /// Waits for so many messages on a link.
    #[track_caller]
    pub fn wait_from_leader(&self, link: LinkId, count: usize) -> Vec<FromLeader> {
        self.wait(&format!("{count} messages from a leader"), |events| {
            let messages = events.iter().filter_map(|event| match event {
                Event::FromLeader(sender, messages, _) if *sender == link => Some(messages),
                _ => None,
            });
            let messages: Vec<_> = messages.flatten().collect();
            (messages.len() >= count).then(|| messages.into_iter().cloned().collect())
        })
    }

    #[track_caller]
    pub fn wait_snapshot(&self, link: LinkId, zxid: Zxid) -> IncomingSnapshot {
        self.wait_event(&Event::SnapshotArriving(link, zxid));
        self.take_stream()
    }

    /// The stream of a snapshot that has been reported.
    pub fn take_stream(&self) -> IncomingSnapshot {
        self.streams.lock().pop().expect("a stream comes with the event")
    }

    pub fn count(&self, matches: impl Fn(&Event) -> bool) -> usize {
        self.events.lock().iter().filter(|event| matches(event)).count()
    }
}

/// All messages that came on a link.
pub fn from_learner(events: &[Event], link: LinkId) -> impl Iterator<Item = &FromLearner> {
    let messages = events.iter().filter_map(move |event| match event {
        Event::FromLearner(sender, messages, _) if *sender == link => Some(messages),
        _ => None,
    });
    messages.flatten()
}

/// The last events, without the bulk.
fn excerpt(events: &[Event]) -> String {
    let texts = events.iter().rev().take(20).map(|event| {
        let mut text = format!("{event:?}");
        text.truncate(120);
        text
    });
    texts.collect::<Vec<_>>().join(" | ")
}

impl PeerSink for Recorder {
    fn notification(&self, from: ServerId, notification: Notification) {
        self.record(Event::Notification(from, notification));
    }

    fn peer_connected(&self, peer: ServerId) {
        self.record(Event::PeerConnected(peer));
    }

    fn peer_disconnected(&self, peer: ServerId) {
        self.record(Event::PeerDisconnected(peer));
    }

    fn learner_connected(&self, link: LinkId, _from: SocketAddr) {
        self.record(Event::LearnerConnected(link));
    }

    fn observer_connected(&self, link: LinkId, _from: SocketAddr) {
        self.record(Event::ObserverConnected(link));
    }

    fn leader_connected(&self, link: LinkId) {
        self.record(Event::LeaderConnected(link));
    }

    fn leader_unreachable(&self, link: LinkId, why: String) {
        self.record(Event::LeaderUnreachable(link, why));
    }

    fn from_learner(&self, link: LinkId, messages: Vec<FromLearner>, bytes: usize) {
        self.record(Event::FromLearner(link, messages, bytes));
    }

    fn from_leader(&self, link: LinkId, messages: Vec<FromLeader>, bytes: usize) {
        self.record(Event::FromLeader(link, messages, bytes));
    }

    fn snapshot_arriving(&self, link: LinkId, zxid: Zxid, stream: IncomingSnapshot) {
        self.streams.lock().push(stream);
        self.record(Event::SnapshotArriving(link, zxid));
    }

    fn link_closed(&self, link: LinkId, why: String) {
        self.record(Event::LinkClosed(link, why));
    }

    fn port_failed(&self) {
        self.record(Event::Failed);
    }
}
