//! A number of holders at a time.

use std::time::Duration;

use ferrokeeper_client::{Client, Error, ErrorCode, child_path};

use crate::error::RecipeError;
use crate::guard::Lost;
use crate::mutex::Mutex;
use crate::protected::ProtectedNode;
use crate::requests::{fired, through_losses};
use crate::turns::{Kind, Place, Stems, place};

const STEM: &str = "lease-";
const STEMS: Stems = &[(STEM, Kind::Shared)];

/// A fixed number of leases, each of which one contender holds at a time.
///
/// **Guarantees.** No more leases of one path are held than there are, as far as the holders' sessions live; see [`Lease`]
/// for what a lost session means. All who share a path have to agree on the number: nothing checks that. Contenders get
/// leases in the order in which they came, except that [`Semaphore::try_acquire`] may get one that somebody is about to
/// take. Those who wait stand in line for the right to watch the leases, so only one is woken when a lease is given back,
/// and then the next one in line.
///
/// **Lost connections** are waited out. **A lost session** ends the wait, and gives its leases to others.
///
/// **Others.** The layout is that of Curator's `InterProcessSemaphoreV2`: the line is a [`Mutex`] at `<path>/locks`, and
/// leases are `<path>/leases/_c_<guid>-lease-<number>`; processes with Curator and with this crate may share a semaphore.
/// kazoo's `Semaphore` keeps its leases elsewhere and cannot.
///
/// ```no_run
/// # async fn example(client: ferrokeeper_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let licences = ferrokeeper_recipes::Semaphore::new(&client, "/licences", 5);
/// let lease = licences.acquire().await?;
/// tokio::select! {
///     () = compile() => lease.release().await?,
///     lost = lease.lost() => eprintln!("somebody else may use this licence now: {lost:?}"),
/// }
/// # Ok(())
/// # }
/// # async fn compile() {}
/// ```
#[derive(Clone, Debug)]
pub struct Semaphore {
    client: Client,
    line: Mutex,
    leases_path: String,
    data: Vec<u8>,
    leases: usize,
}

/// A lease that is held until [`Lease::release`], or until this is dropped: then a task in the background gives it back
/// (see [`ProtectedNode`]).
///
/// **A lost session gives it back, too**, and the holder may be the last one to learn of it: race the work against
/// [`Lease::lost`].
#[derive(Debug)]
#[must_use = "dropping it gives the lease back"]
pub struct Lease {
    node: ProtectedNode,
}

impl Semaphore {
    /// So many leases at a path; with none, everybody waits for ever. Nothing is sent yet; what is needed below the path
    /// is created when it is, and goes when nobody has used it for a while.
    pub fn new(client: &Client, path: &str, leases: u32) -> Semaphore {
        Semaphore::with_data(client, path, leases, b"")
    }

    /// Likewise, with data for the nodes of this contender: it may say who it is.
    pub fn with_data(client: &Client, path: &str, leases: u32, data: &[u8]) -> Semaphore {
        Semaphore {
            client: client.clone(),
            line: Mutex::with_data(client, &child_path(path, "locks"), data),
            leases_path: child_path(path, "leases"),
            data: data.to_vec(),
            leases: usize::try_from(leases).unwrap_or(usize::MAX),
        }
    }

    /// Waits for a lease for as long as it takes; lost connections do not matter. Single requests may take as long as the
    /// client allows one operation; then this fails with [`TimedOut`](ferrokeeper_client::Error::TimedOut).
    ///
    /// Cancel-safe: dropping the future gives the place in the line up.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn acquire(&self) -> Result<Lease, RecipeError> {
        let first_in_line = self.line.lock().await?;
        let node = self.stand().await?;
        self.until_leased(&node).await?;
        // Nobody needs to wait for the answer. Should this place in the line be lost earlier, by somebody who deletes its
        // node, then two contenders watch the leases; who gets one is decided by the leases alone.
        drop(first_in_line);
        Ok(Lease { node })
    }

    /// As [`Semaphore::acquire`], but no longer than this: then `None`.
    pub async fn acquire_within(&self, patience: Duration) -> Result<Option<Lease>, RecipeError> {
        // The future that is dropped cleans up.
        tokio::time::timeout(patience, self.acquire()).await.ok().transpose()
    }

    /// A lease if one is free; it waits for servers but not for other contenders.
    ///
    /// Cancel-safe, and panics, as [`Semaphore::acquire`].
    pub async fn try_acquire(&self) -> Result<Option<Lease>, RecipeError> {
        let node = self.stand().await?;
        if self.is_leased(&node, through_losses(|| self.client.children(&self.leases_path)).await)? {
            return Ok(Some(Lease { node }));
        }
        // If this fails, the node is deleted in the background, or gone with its session; and it is no lease either way.
        let _ = node.delete().await;
        Ok(None)
    }

    /// The path that it was made with.
    pub(crate) fn path(&self) -> &str {
        self.leases_path.strip_suffix("/leases").unwrap_or(&self.leases_path)
    }

    async fn stand(&self) -> Result<ProtectedNode, Error> {
        ProtectedNode::create(&self.client, &self.leases_path, STEM, &self.data).await
    }

    async fn until_leased(&self, node: &ProtectedNode) -> Result<(), RecipeError> {
        // Most often there is a lease, and no need for a watch.
        if self.is_leased(node, through_losses(|| self.client.children(&self.leases_path)).await)? {
            return Ok(());
        }
        loop {
            let (names, changed) =
                match through_losses(|| self.client.children_and_watch(&self.leases_path)).await {
                    Ok((names, _, changed)) => (Ok(names), Some(changed)),
                    Err(error) => (Err(error), None),
                };
            match (self.is_leased(node, names)?, changed) {
                (false, Some(changed)) => fired(changed).await?,
                _ => return Ok(()),
            }
        }
    }

    /// Whether a node is a lease, or still waits to be one.
    ///
    /// Curator compares the number of all nodes with the number of leases, so that those of ours that still wait hold it
    /// back too; here those in front decide. Whoever holds a lease has got fewer in front than there are leases, and that
    /// stays so.
    fn is_leased(
        &self,
        node: &ProtectedNode,
        names: Result<Vec<String>, Error>,
    ) -> Result<bool, RecipeError> {
        let names = match names {
            Err(Error::Refused(ErrorCode::NoNode)) => return Err(RecipeError::Evicted),
            names => names?,
        };
        match place(&names, node.name(), STEMS) {
            Place::Behind(ahead) => Ok(ahead < self.leases),
            Place::Gone => Err(RecipeError::Evicted),
            Place::Unnumbered => Err(RecipeError::NumbersUsedUp(self.leases_path.clone())),
        }
    }
}

impl Lease {
    pub(crate) fn into_node(self) -> ProtectedNode {
        self.node
    }

    /// The path of the lease's node.
    pub fn path(&self) -> String {
        self.node.path()
    }

    /// Waits until the lease is lost, or can no longer be relied upon. Cancel-safe: called again it says so again, as
    /// long as it is so.
    pub async fn lost(&self) -> Lost {
        self.node.lost().await
    }

    /// Gives the lease back and waits until that is done. When it fails although the session lives, or the future is
    /// dropped, it goes on in the background.
    pub async fn release(self) -> Result<(), Error> {
        self.node.delete().await
    }
}
