//! Watches as the application holds them.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;

use crate::error::Error;
use crate::namespace::Namespace;
use crate::session::{End, NodeEvent, Note, WatcherId};
use crate::shared::Shared;

/// How deep a persistent watch looks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum WatchDepth {
    /// The node, and the list of its children.
    Node,
    /// The node and everything below it. Instead of a change of a list of children, it tells which child it was.
    Recursive,
}

/// Why a watch tells nothing more.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum WatchEnd {
    /// The reader was too slow for the stream's bound ([`Limits::stream_events`](crate::Limits)); what did not fit is
    /// lost. Watch again, then read the nodes again.
    #[error("more events came than the stream holds")]
    Overflow,
    /// [`Client::remove_watches`](crate::Client::remove_watches) removed it.
    #[error("the watch was removed")]
    Removed,
    /// The session is over.
    #[error("the session has expired")]
    SessionExpired,
    /// The server did not accept the credentials.
    #[error("the credentials were not accepted")]
    AuthFailed,
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
}

impl WatchEnd {
    /// What all calls fail with from now on, if the watch ended with its session; `None` if only the watch is over.
    pub fn session_error(self) -> Option<Error> {
        match self {
            WatchEnd::Overflow | WatchEnd::Removed => None,
            WatchEnd::SessionExpired => Some(Error::SessionExpired),
            WatchEnd::AuthFailed => Some(Error::AuthFailed),
            WatchEnd::Closed => Some(Error::Closed),
        }
    }
}

/// What a persistent watch tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StreamEvent {
    /// Something happened to a node.
    Node(NodeEvent),
    /// The connection was lost and there is another one, on which the watch is set again. What happened in between
    /// is not told by the server: read the nodes again.
    Resumed,
}

/// Where a watch's events wait for their reader.
#[derive(Debug)]
pub(crate) struct Mailbox {
    inside: Mutex<Inside>,
    namespace: Namespace,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Inside {
    events: VecDeque<StreamEvent>,
    end: Option<WatchEnd>,
    /// The end has been told.
    over: bool,
    waker: Option<Waker>,
}

impl Mailbox {
    pub fn new(namespace: Namespace, capacity: usize) -> Mailbox {
        Mailbox { inside: Mutex::default(), namespace, capacity: capacity.max(1) }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts in what the core says. After the end, nothing.
    pub fn deliver(&self, note: Note) {
        let item = match note {
            // A watch only hears of its own nodes, and they lie in its namespace.
            Note::Event(event) => match self.namespace.strip(&event.path) {
                Some(path) => Ok(StreamEvent::Node(NodeEvent { path, ..event })),
                None => return,
            },
            Note::Resumed => Ok(StreamEvent::Resumed),
            Note::Removed => Err(WatchEnd::Removed),
            Note::Ended(End::Expired) => Err(WatchEnd::SessionExpired),
            Note::Ended(End::AuthFailed) => Err(WatchEnd::AuthFailed),
            Note::Ended(End::Closed) => Err(WatchEnd::Closed),
        };
        let mut inside = self.inside();
        if inside.end.is_some() {
            return;
        }
        match item {
            Ok(_) if inside.events.len() >= self.capacity => inside.end = Some(WatchEnd::Overflow),
            Ok(event) => inside.events.push_back(event),
            Err(end) => inside.end = Some(end),
        }
        let waker = inside.waker.take();
        drop(inside);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The next event; the end once; then `None`.
    fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<Result<StreamEvent, WatchEnd>>> {
        let mut inside = self.inside();
        if let Some(event) = inside.events.pop_front() {
            return Poll::Ready(Some(Ok(event)));
        }
        if inside.over {
            return Poll::Ready(None);
        }
        if let Some(end) = inside.end {
            inside.over = true;
            return Poll::Ready(Some(Err(end)));
        }
        inside.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// A watch of which the core knows; dropping it tells the core that nobody wants it any more.
#[derive(Debug)]
pub(crate) struct WatchGuard {
    pub shared: Arc<Shared>,
    pub id: WatcherId,
    /// On the server.
    pub path: String,
    pub mailbox: Arc<Mailbox>,
}

impl Drop for WatchGuard {
    fn drop(&mut self) {
        self.shared.tell(|core, now_ms| core.drop_watcher(now_ms, self.id, &self.path));
    }
}

/// A watch that fires once: the future of its event.
///
/// It survives the loss of its connection: the next one tells what was missed. Dropping it removes the watch, from
/// the server too when nobody else here watches the node. Cancel-safe: polled by reference it loses nothing.
#[derive(Debug)]
#[must_use = "dropping it removes the watch"]
pub struct WatchOnce(pub(crate) WatchGuard);

impl Future for WatchOnce {
    type Output = Result<NodeEvent, WatchEnd>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<NodeEvent, WatchEnd>> {
        loop {
            match self.0.mailbox.poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(StreamEvent::Node(event)))) => return Poll::Ready(Ok(event)),
                Poll::Ready(Some(Err(end))) => return Poll::Ready(Err(end)),
                // Only persistent watches are told so.
                Poll::Ready(Some(Ok(StreamEvent::Resumed))) => {}
                Poll::Ready(None) => panic!("a future is not polled after its end"),
            }
        }
    }
}

/// A watch that lasts: the stream of its events, in the order in which the server sent them.
///
/// It survives the loss of its connection and then says [`StreamEvent::Resumed`]. It holds a bounded number of events;
/// one more ends it with [`WatchEnd::Overflow`], after those it holds. Dropping it removes the watch, from the server
/// too when nobody else here watches the node.
#[derive(Debug)]
#[must_use = "dropping it removes the watch"]
pub struct WatchStream(pub(crate) WatchGuard);

impl WatchStream {
    /// The next event; the reason of the end, once; then `None`. Cancel-safe: dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<StreamEvent, WatchEnd>> {
        std::future::poll_fn(|cx| self.0.mailbox.poll_next(cx)).await
    }
}

impl Stream for WatchStream {
    type Item = Result<StreamEvent, WatchEnd>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<StreamEvent, WatchEnd>>> {
        self.0.mailbox.poll_next(cx)
    }
}

#[cfg(test)]
mod tests {
    use protocol::client::watch::EventType;

    use super::*;

    fn event(path: &str) -> Note {
        Note::Event(NodeEvent { kind: EventType::NodeCreated, path: path.into(), zxid: None })
    }

    fn take(mailbox: &Mailbox) -> Poll<Option<Result<StreamEvent, WatchEnd>>> {
        mailbox.poll_next(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn an_overflow_ends_the_stream_after_what_it_holds() {
        let mailbox = Mailbox::new(Namespace::default(), 2);
        for path in ["/1", "/2", "/3", "/4"] {
            mailbox.deliver(event(path));
        }
        mailbox.deliver(Note::Ended(End::Expired));
        for path in ["/1", "/2"] {
            let expected =
                StreamEvent::Node(NodeEvent { kind: EventType::NodeCreated, path: path.into(), zxid: None });
            assert_eq!(take(&mailbox), Poll::Ready(Some(Ok(expected))));
        }
        assert_eq!(take(&mailbox), Poll::Ready(Some(Err(WatchEnd::Overflow))));
        assert_eq!(take(&mailbox), Poll::Ready(None));
    }

    #[test]
    fn paths_lose_their_namespace() {
        let mailbox = Mailbox::new(Namespace::new(Some("/app")), 2);
        mailbox.deliver(event("/app/x"));
        let Poll::Ready(Some(Ok(StreamEvent::Node(event)))) = take(&mailbox) else {
            panic!("an event waits")
        };
        assert_eq!(event.path, "/x");
        assert_eq!(take(&mailbox), Poll::Pending);
    }
}
