//! The tasks of the peer thread. The driver starts them all, and hears of each how it ended.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use protocol::ServerId;
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};

use crate::peer_port::election_mesh::Introduction;
use crate::peer_port::learner_link::Link;
use crate::peer_port::listen::Port;

/// What a task has come to.
pub(in crate::peer_port) enum Ended {
    /// A listener has accepted a connection, or could not.
    Accept { listener: u64, result: io::Result<(TcpStream, SocketAddr)> },
    /// The ports were opened at other addresses, or could not be.
    Rebound { number: u64, result: io::Result<Vec<(Port, TcpListener)>> },
    /// Somebody on the election port has said who it is, or has not.
    Introduction { number: u64, from: SocketAddr, result: Result<(TcpStream, Introduction), String> },
    /// A server was dialed on its election port. `None`: it is to dial back.
    PeerDial { server: ServerId, number: u64, outcome: Result<Option<TcpStream>, String> },
    /// A connection of the mesh has broken.
    PeerConnection { server: ServerId, number: u64, why: String },
    /// A leader was dialed.
    LeaderDial { link: Arc<Link>, result: Result<TcpStream, String> },
    /// A link has ended.
    Link { link: Arc<Link>, why: String },
}

/// All tasks that run. Dropping it ends them.
#[derive(Default)]
pub(in crate::peer_port) struct Tasks(JoinSet<Ended>);

impl Tasks {
    pub fn spawn(&mut self, task: impl Future<Output = Ended> + Send + 'static) -> AbortHandle {
        self.0.spawn(task)
    }

    /// The next task to end; for ever pending if there is none. Cancel safe.
    ///
    /// # Panics
    /// If the task has panicked. Those that touch what others send contain that themselves.
    pub async fn next_ended(&mut self) -> Ended {
        loop {
            match self.0.join_next().await {
                Some(Ok(ended)) => return ended,
                // Whoever aborted it knows.
                Some(Err(error)) if error.is_cancelled() => {}
                Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
                None => std::future::pending().await,
            }
        }
    }

    /// Ends all tasks and waits until they have.
    pub async fn shutdown(mut self) {
        self.0.shutdown().await;
    }
}

/// A task has panicked; the panic itself has been printed.
#[derive(Debug, thiserror::Error)]
#[error("a broken invariant in this server")]
pub(in crate::peer_port) struct Panicked;

/// Lets a panic end the one connection in whose service it happened, not all of them.
pub(in crate::peer_port) async fn contain<T>(task: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut task = pin!(task);
    std::future::poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(result)) => Poll::Ready(Ok(result)),
        Err(_) => Poll::Ready(Err(Panicked)),
    })
    .await
}
