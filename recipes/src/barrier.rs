//! Waiting until somebody says so.

use std::time::Duration;

use ferrokeeper_client::{Client, Error};

use crate::requests::{create_lasting, delete, fired, through_losses};

/// A barrier that everybody waits at for as long as it stands: as long as its node exists.
///
/// It belongs to nobody. Whoever likes sets it and removes it, and it outlives the session of who has set it.
///
/// **Lost connections** are waited out. When the answer to [`Barrier::set`] or [`Barrier::remove`] is lost, it is asked
/// for again; should somebody else have done the opposite in between, that is undone. **A lost session** ends a wait with
/// an error.
///
/// **Others.** The layout is that of Curator's `DistributedBarrier` and of kazoo's `Barrier`, which is the same one: a
/// node, persistent, whatever its data. All of them may share a barrier.
#[derive(Clone, Debug)]
pub struct Barrier {
    client: Client,
    path: String,
}

impl Barrier {
    /// The barrier of a path. Nothing is sent yet.
    pub fn new(client: &Client, path: &str) -> Barrier {
        Barrier { client: client.clone(), path: path.to_owned() }
    }

    /// Sets it up, if it does not stand. Nodes that are missing above it are created as containers.
    ///
    /// Cancel-safe: dropping the future leaves the barrier as it was, or set.
    pub async fn set(&self) -> Result<(), Error> {
        create_lasting(&self.client, &self.path).await
    }

    /// Takes it away, if it stands: everybody who waits goes on.
    ///
    /// Cancel-safe: dropping the future leaves the barrier as it was, or removed.
    pub async fn remove(&self) -> Result<(), Error> {
        delete(&self.client, &self.path).await
    }

    /// Waits until there is no barrier; at once if there is none. One that was set up, as far as anybody was told, before
    /// this was called is seen. Whether it is set up anew by the time that this returns is not known, as always.
    ///
    /// Cancel-safe.
    pub async fn wait(&self) -> Result<(), Error> {
        through_losses(|| self.client.sync(&self.path)).await?;
        loop {
            match through_losses(|| self.client.exists_and_watch(&self.path)).await? {
                (None, _) => return Ok(()),
                (Some(_), changed) => fired(changed).await?,
            }
        }
    }

    /// As [`Barrier::wait`], but no longer than this: then `false`.
    pub async fn wait_within(&self, patience: Duration) -> Result<bool, Error> {
        match tokio::time::timeout(patience, self.wait()).await {
            Ok(result) => result.map(|()| true),
            Err(_) => Ok(false),
        }
    }
}
