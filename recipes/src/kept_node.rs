//! An ephemeral node that comes back.

use ferrokeeper_client::{Advice, Client, Error, ErrorCode, Version};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::claimed::Claimed;
use crate::error::RecipeError;
use crate::guard::deleted;
use crate::requests::{create_above, fired, through_losses};

/// An ephemeral node that is created again whenever somebody deletes it.
///
/// A task of its own looks after it, until [`KeptNode::leave`], or until this is dropped.
///
/// **Guarantees.** While the session lives and servers answer, the node is there, with the data that were set last, except
/// for the moments between its deletion and its return. A node of the same path that belongs to another session, such as
/// an earlier one of the same process, is left alone and waited for.
///
/// **Lost connections** are waited out. **A lost session** takes the node along, and ends this with [`Keeping::Over`]. To
/// keep it again is the caller's: with a new client.
///
/// **Others.** Curator's `PersistentNode` does this for ephemeral nodes without protection, but also across sessions. A
/// client may keep a path once at a time.
#[derive(Debug)]
#[must_use = "dropping it deletes the node"]
pub struct KeptNode {
    states: watch::Receiver<Keeping>,
    data: watch::Sender<Vec<u8>>,
    /// Told, or dropped, when the node is to go.
    leave: watch::Sender<bool>,
    task: JoinHandle<Result<(), Error>>,
}

/// How a [`KeptNode`] stands, as far as is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Keeping {
    /// It is there.
    There,
    /// Somebody has deleted it, and it is not back yet.
    Absent,
    /// It is not kept any more, and this is why.
    Over(RecipeError),
    /// It was given up.
    Left,
}

impl KeptNode {
    /// Creates the node, waiting for one of another session to go first, and returns when that is known to the servers.
    /// Nodes that are missing above it are created as containers.
    ///
    /// Cancel-safe: dropping the future deletes the node that it may have created.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn keep(client: &Client, path: &str, data: &[u8]) -> Result<KeptNode, RecipeError> {
        let (leave, mut left) = watch::channel(false);
        // Nobody tells it to leave yet.
        let node = occupy(client, path, data, &mut left).await?.ok_or(Error::Closed)?;
        let (states, heard) = watch::channel(Keeping::There);
        let (sender, wanted) = watch::channel(data.to_vec());
        let task = tokio::spawn(stay(node, wanted, states, left));
        Ok(KeptNode { states: heard, data: sender, leave, task })
    }

    /// How it stands now.
    pub fn state(&self) -> Keeping {
        self.states.borrow().clone()
    }

    /// Watches how it stands. A reader that is slow sees the latest state and not every one in between.
    pub fn watch(&self) -> watch::Receiver<Keeping> {
        self.states.clone()
    }

    /// Has the task set other data, soon, and whenever the node comes back. Of several that come fast only the last ones
    /// may be seen.
    pub fn set_data(&self, data: &[u8]) {
        self.data.send_replace(data.to_vec());
    }

    /// Deletes the node and waits until that is done. When it fails although the session lives, or the future is dropped,
    /// it goes on in the background.
    pub async fn leave(self) -> Result<(), Error> {
        // If nobody listens, it has ended.
        let _ = self.leave.send(true);
        self.task.await.unwrap_or(Err(Error::Closed))
    }
}

/// Creates the node as soon as there is none of another session; nothing if told to leave before.
///
/// A creation that is under way is seen to its end all the same: what it creates is there to be deleted.
async fn occupy(
    client: &Client,
    path: &str,
    data: &[u8],
    left: &mut watch::Receiver<bool>,
) -> Result<Option<Claimed>, Error> {
    loop {
        match Claimed::claim_alone(client, path, data).await {
            Ok(Some(node)) => return Ok(Some(node)),
            Ok(None) => {
                if let (Some(_), changed) = through_losses(|| client.exists_and_watch(path)).await? {
                    tokio::select! {
                        fired = fired(changed) => fired?,
                        () = told(left) => return Ok(None),
                    }
                }
            }
            Err(error @ Error::Refused(ErrorCode::NoNode)) => create_above(client, path, error).await?,
            Err(error) => return Err(error),
        }
    }
}

/// Waits until told to leave.
async fn told(left: &mut watch::Receiver<bool>) {
    // Who has dropped the handle wants that, too.
    let _ = left.wait_for(|&left| left).await;
}

/// Looks after the node until told to leave.
async fn stay(
    node: Claimed,
    mut data: watch::Receiver<Vec<u8>>,
    states: watch::Sender<Keeping>,
    mut left: watch::Receiver<bool>,
) -> Result<(), Error> {
    let (client, path) = (node.client().clone(), node.path().to_owned());
    let mut node = Some(node);
    // The data in the node, as far as is known.
    let mut written = data.borrow_and_update().clone();
    loop {
        let wanted = data.borrow_and_update().clone();
        let step = match &node {
            None => {
                let back = occupy(&client, &path, &wanted, &mut left).await;
                back.map(|back| back.map_or(Step::Leave, |node| Step::Back(node, wanted)))
            }
            Some(held) => tokio::select! {
                step = look_after(held, wanted, &written, &mut data) => step,
                () = told(&mut left) => Ok(Step::Leave),
            },
        };
        match step {
            Ok(Step::Gone) => {
                node = None;
                states.send_replace(Keeping::Absent);
            }
            Ok(Step::Back(back, data)) => {
                (node, written) = (Some(back), data);
                states.send_replace(Keeping::There);
            }
            Ok(Step::Written(data)) => written = data,
            Ok(Step::Changed) => {}
            Ok(Step::Leave) => {
                states.send_replace(Keeping::Left);
                return match node {
                    Some(node) => node.delete().await,
                    None => Ok(()),
                };
            }
            Err(error) if error.advice() == Advice::GiveUp => {
                states.send_replace(Keeping::Over(error.into()));
                return Ok(());
            }
            // What may have been created without an answer is deleted in the background.
            Err(error) if node.is_none() && (*left.borrow() || left.has_changed().is_err()) => {
                states.send_replace(Keeping::Left);
                return Err(error);
            }
            // There is no hurry: what servers that do not answer have is not known to be wrong.
            Err(_) => {}
        }
    }
}

/// Waits until there is something to do about a node that is there, and does it.
async fn look_after(
    held: &Claimed,
    wanted: Vec<u8>,
    written: &[u8],
    data: &mut watch::Receiver<Vec<u8>>,
) -> Result<Step, Error> {
    let (client, path) = (held.client(), held.path());
    if wanted != written {
        // If the node has gone, that is seen next.
        return match through_losses(|| client.set(path, &wanted, Version::Any)).await {
            Ok(_) | Err(Error::Refused(ErrorCode::NoNode)) => Ok(Step::Written(wanted)),
            Err(error) => Err(error),
        };
    }
    tokio::select! {
        () = deleted(client, path, held.czxid()) => Ok(Step::Gone),
        // Nobody can set data any more who has dropped the handle; then it leaves.
        Ok(()) = data.changed() => Ok(Step::Changed),
        error = over(client) => Err(error),
    }
}

enum Step {
    Gone,
    Back(Claimed, Vec<u8>),
    Written(Vec<u8>),
    Changed,
    Leave,
}

/// Waits until the session is over.
async fn over(client: &Client) -> Error {
    use ferrokeeper_client::State;
    match client.states().until(State::is_final).await {
        Some(State::Expired) => Error::SessionExpired,
        Some(State::AuthFailed) => Error::AuthFailed,
        _ => Error::Closed,
    }
}
