//! Locks that are held.

use std::future::pending;
use std::time::Duration;

use ferrokeeper_client::{Advice, Client, Error, State, Zxid};

use crate::protected::ProtectedNode;

/// The pause before a server that refuses to set a watch is asked again.
const PAUSE: Duration = Duration::from_millis(200);

/// A lock that is held until [`LockGuard::release`], or until this is dropped: then a task in the background deletes its
/// node (see [`ProtectedNode`]).
///
/// **A lost session frees the lock**, and the holder may be the last one to learn of it. So hold it with both hands:
/// race the work against [`LockGuard::lost`], and let what is protected refuse every [`LockGuard::fencing_token`] that is
/// lower than one it has seen.
#[derive(Debug)]
#[must_use = "dropping it releases the lock"]
pub struct LockGuard {
    node: ProtectedNode,
}

/// How a lock was lost.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Lost {
    /// The session is over, and the lock is free.
    SessionOver,
    /// Nothing was heard of any server for four thirds of the session timeout: the session is most likely over, and the
    /// lock somebody else's. Should it turn out that it is not, this guard holds it still.
    Overdue,
    /// Somebody has deleted the lock's node.
    NodeDeleted,
}

impl LockGuard {
    pub(crate) fn new(node: ProtectedNode) -> LockGuard {
        LockGuard { node }
    }

    pub(crate) fn into_node(self) -> ProtectedNode {
        self.node
    }

    /// A number that is higher than that of everybody who held this lock exclusively before: the transaction that
    /// created the lock's node.
    pub fn fencing_token(&self) -> Zxid {
        self.node.czxid()
    }

    /// The path of the lock's node.
    pub fn path(&self) -> String {
        self.node.path()
    }

    /// Waits until the lock is lost, or can no longer be relied upon. Cancel-safe: called again it says so again, as
    /// long as it is so.
    pub async fn lost(&self) -> Lost {
        self.node.lost().await
    }

    /// Lets others have the lock and waits until that is done. When it fails although the session lives, or the future is
    /// dropped, it goes on in the background.
    pub async fn release(self) -> Result<(), Error> {
        self.node.delete().await
    }
}

/// Waits until a session's node cannot be relied upon any more.
pub(crate) async fn lost(client: &Client, path: &str, czxid: Zxid) -> Lost {
    let mut states = client.states();
    let shaky = |state: State| state.is_final() || state == State::Suspended { overdue: true };
    tokio::select! {
        state = states.until(shaky) => match state {
            Some(State::Suspended { .. }) => Lost::Overdue,
            _ => Lost::SessionOver,
        },
        () = deleted(client, path, czxid) => Lost::NodeDeleted,
    }
}

/// Waits until a node is deleted; for ever if the session ends first.
pub(crate) async fn deleted(client: &Client, path: &str, czxid: Zxid) {
    loop {
        match client.exists_and_watch(path).await {
            Ok((Some(stat), changed)) if stat.czxid == czxid => {
                // Whatever has happened, the next look tells; and when the session is over, too.
                let _ = changed.await;
            }
            Ok(_) => return,
            Err(error) => match error.advice() {
                Advice::GiveUp => pending().await,
                Advice::Retry | Advice::ReRead => tokio::time::sleep(PAUSE).await,
            },
        }
    }
}
