//! What handles, futures and the connection's task share: the core behind a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Waker};

use protocol::client::response::Response;
use tokio::sync::{Notify, broadcast, oneshot, watch};
use tokio::time::Instant;

use crate::error::Error;
use crate::session::{Heard, Limits, Session, State, WatcherId};
use crate::watch::Mailbox;

/// Where a request's result goes.
pub(crate) type Token = oneshot::Sender<Result<Response, Error>>;
/// The core as the shell uses it.
pub(crate) type Core = Session<Token, Arc<Mailbox>>;

#[derive(Debug)]
struct Locked {
    core: Core,
    /// Of the connection's task; taken by the first who has something for it.
    waker: Option<Waker>,
    /// When the task wakes by itself.
    armed_ms: u64,
}

/// See the [module](self).
///
/// The lock is held for encoding one request, or for reading one chunk of answers; nobody waits or wakes anybody
/// while holding it.
#[derive(Debug)]
pub(crate) struct Shared {
    locked: Mutex<Locked>,
    started: Instant,
    watchers: AtomicU64,
    /// Rung when requests may have left the line.
    pub room: Notify,
    pub states: watch::Sender<State>,
    heard: OnceLock<broadcast::Sender<Heard>>,
    pub limits: Limits,
}

impl Shared {
    pub fn new(make: impl FnOnce(u64) -> Core, limits: Limits) -> Shared {
        Shared {
            locked: Mutex::new(Locked { core: make(0), waker: None, armed_ms: 0 }),
            started: Instant::now(),
            watchers: AtomicU64::new(0),
            room: Notify::new(),
            states: watch::Sender::new(State::Connecting),
            heard: OnceLock::new(),
            limits,
        }
    }

    /// The clock of the core.
    pub fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// When a time of the core is.
    pub fn instant(&self, at_ms: u64) -> Instant {
        self.started + std::time::Duration::from_millis(at_ms)
    }

    /// A name for a watcher.
    pub fn next_watcher(&self) -> WatcherId {
        WatcherId(self.watchers.fetch_add(1, Ordering::Relaxed))
    }

    /// Listens to what reaches the watches.
    pub fn listen(&self) -> broadcast::Receiver<Heard> {
        let sender = self.heard.get_or_init(|| {
            self.tell(|core, _| core.tell_heard());
            broadcast::Sender::new(self.limits.stream_events.max(1))
        });
        sender.subscribe()
    }

    /// Tells those who listen.
    pub fn tell_heard(&self, heard: Heard) {
        if let Some(sender) = self.heard.get() {
            // Nobody may be listening any more.
            let _ = sender.send(heard);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Locked> {
        // Whoever panicked has broken the core; the connection's task goes down with it and ends the session.
        self.locked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the core.
    pub fn look<R>(&self, look: impl FnOnce(&Core) -> R) -> R {
        look(&self.lock().core)
    }

    /// Tells the core something on a caller's behalf, and wakes the task if that gave it something to do.
    pub fn tell<R>(&self, tell: impl FnOnce(&mut Core, u64) -> R) -> R {
        let now_ms = self.now_ms();
        let mut locked = self.lock();
        let result = tell(&mut locked.core, now_ms);
        let waker = match locked.waker.is_some()
            && (locked.core.has_work() || locked.core.next_deadline_ms() < locked.armed_ms)
        {
            true => locked.waker.take(),
            false => None,
        };
        drop(locked);
        if let Some(waker) = waker {
            waker.wake();
        }
        result
    }

    /// One turn of the connection's task, which is woken when there is something else to do. Returns when to come
    /// back, too.
    pub fn turn<R>(&self, cx: &Context<'_>, turn: impl FnOnce(&mut Core) -> R) -> (R, u64) {
        let mut locked = self.lock();
        let result = turn(&mut locked.core);
        let deadline_ms = locked.core.next_deadline_ms();
        locked.armed_ms = deadline_ms;
        match &mut locked.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        (result, deadline_ms)
    }
}
