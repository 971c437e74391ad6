//! Watching a session as a whole: its state, and what its watches hear.

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

use crate::session::{Heard, State};

/// The states of a session, as they change. A reader that is slow sees the latest one and not every one in between;
/// the final one is never missed.
#[derive(Clone, Debug)]
pub struct States(pub(crate) watch::Receiver<State>);

impl States {
    /// The state now.
    pub fn current(&self) -> State {
        *self.0.borrow()
    }

    /// Waits for the next change; `None` after a final state. Cancel-safe: dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<State> {
        let is_over = self.0.borrow().is_final() && !self.0.has_changed().unwrap_or(false);
        if is_over {
            return None;
        }
        self.0.changed().await.ok()?;
        Some(*self.0.borrow_and_update())
    }

    /// Waits until the state is one that `wanted` accepts, which may be the one now; `None` if there can be no such
    /// state any more. Cancel-safe.
    pub async fn until(&mut self, mut wanted: impl FnMut(State) -> bool) -> Option<State> {
        let state = *self.0.wait_for(|&state| wanted(state) || state.is_final()).await.ok()?;
        wanted(state).then_some(state)
    }
}

/// What reaches a session's watches ([`Client::heard`](crate::Client::heard)).
#[derive(Debug)]
pub struct Hearing(pub(crate) broadcast::Receiver<Heard>);

impl Hearing {
    /// The next thing, or how many things a reader was too slow for
    /// ([`Limits::stream_events`](crate::Limits)); `None` when the client is gone. Cancel-safe: dropping the future
    /// loses nothing.
    pub async fn next(&mut self) -> Option<Result<Heard, u64>> {
        match self.0.recv().await {
            Ok(heard) => Some(Ok(heard)),
            Err(RecvError::Lagged(missed)) => Some(Err(missed)),
            Err(RecvError::Closed) => None,
        }
    }

    /// What has come already, without waiting; `None` when there is nothing.
    pub fn try_next(&mut self) -> Option<Result<Heard, u64>> {
        match self.0.try_recv() {
            Ok(heard) => Some(Ok(heard)),
            Err(broadcast::error::TryRecvError::Lagged(missed)) => Some(Err(missed)),
            Err(_) => None,
        }
    }
}
