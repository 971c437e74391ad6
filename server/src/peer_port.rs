//! Everything that servers say to each other: the election port and the quorum port.
//!
//! One thread owns all the sockets, in a tokio runtime of its own. It connects, frames and queues; what is said it
//! neither reads nor decides. The core speaks to it through a [`PeerHandle`], which never blocks, and hears of it
//! through a [`PeerSink`], which is called on the thread.
//!
//! - [`election_mesh`]: one connection for each pair of servers, made by the one with the larger number
//!   (`QuorumCnxManager`).
//! - [`learner_link`]: a connection on the quorum port, whichever side dialed it (`LearnerHandler`, `Learner`).
//! - [`snapshot_transfer`]: the two ends of the raw tree that may stand between the packets of a link.
//! - [`driver`]: the task that owns all others.

mod dial;
mod driver;
mod election_mesh;
mod handle;
mod learner_link;
mod limits;
mod link_id;
mod listen;
mod settings;
mod sink;
mod snapshot_transfer;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use protocol::ServerId;
use protocol::peer::membership::PeerAddress;

pub use handle::PeerHandle;
pub use link_id::LinkId;
pub use settings::PeerPortSettings;
pub use sink::PeerSink;
pub use snapshot_transfer::{IncomingSnapshot, StreamWriter};

use handle::Shared;

/// The running thread. Dropping it stops it.
pub struct PeerPort {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl PeerPort {
    /// Binds the server's own addresses, which may take as long as [`PeerPortSettings::election_bind_retries`]
    /// says, and starts the thread. `members` are the servers that may be dialed, and where.
    ///
    /// # Errors
    ///
    /// An address cannot be bound or resolved, there is none, or the system gives no thread.
    pub fn start(
        settings: PeerPortSettings,
        members: Vec<(ServerId, Vec<PeerAddress>)>,
        sink: Arc<dyn PeerSink>,
    ) -> io::Result<(PeerPort, PeerHandle)> {
        let listeners = listen::bind_all(&settings)?;
        let shared = Arc::new(Shared::default());
        let handle = PeerHandle::new(Arc::clone(&shared));
        handle.set_members(members);
        let driver = driver::Driver::new(settings, listeners, Arc::clone(&shared), Arc::clone(&sink))?;
        let thread = std::thread::Builder::new().name("peers".into()).spawn(move || {
            // A panic must not leave a server that is deaf to its ensemble and does not know it.
            if driver.run().is_err() {
                sink.port_failed();
            }
        })?;
        Ok((PeerPort { shared, thread: Some(thread) }, handle))
    }

    /// Closes all sockets and ends the thread; returns when it has ended. The sink hears of none of the closed
    /// connections and is not called after this.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.shared.stop();
        if let Some(thread) = self.thread.take() {
            // A panic was caught and reported in the thread.
            let _ = thread.join();
        }
    }
}

impl Drop for PeerPort {
    fn drop(&mut self) {
        self.end();
    }
}
