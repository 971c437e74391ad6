//! Standing in line: what locks and elections have in common.

use std::time::Duration;

use ferrokeeper_client::{Client, Error, ErrorCode, child_path};

use crate::error::RecipeError;
use crate::guard::LockGuard;
use crate::protected::ProtectedNode;
use crate::requests::{fired, through_losses};
use crate::turns::{Stems, Turn, turn};

/// A line below a node.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub client: Client,
    pub path: String,
    pub data: Vec<u8>,
    /// What stands between the guid and the number in names of ours.
    pub stem: &'static str,
    pub stems: Stems,
}

impl Line {
    /// Takes a place at the end.
    pub async fn join(&self) -> Result<ProtectedNode, RecipeError> {
        Ok(ProtectedNode::create(&self.client, &self.path, self.stem, &self.data).await?)
    }

    pub async fn lock(&self) -> Result<LockGuard, RecipeError> {
        let node = self.join().await?;
        until_turn(&node, self.stems).await?;
        Ok(LockGuard::new(node))
    }

    pub async fn lock_within(&self, patience: Duration) -> Result<Option<LockGuard>, RecipeError> {
        // The future that is dropped cleans up.
        tokio::time::timeout(patience, self.lock()).await.ok().transpose()
    }

    pub async fn try_lock(&self) -> Result<Option<LockGuard>, RecipeError> {
        let node = self.join().await?;
        let children = through_losses(|| self.client.children(&self.path)).await;
        if whom_to_await(&node, self.stems, children)?.is_none() {
            return Ok(Some(LockGuard::new(node)));
        }
        // If this fails, the node is deleted in the background, or gone with its session; and it is no lock either way.
        let _ = node.delete().await;
        Ok(None)
    }
}

/// Waits until it is this node's turn. Of all the others only one is watched at a time, so that whoever leaves wakes one
/// contender, or those who will share.
pub(crate) async fn until_turn(node: &ProtectedNode, stems: Stems) -> Result<(), RecipeError> {
    let client = node.client();
    loop {
        // The node's creation was answered in this session, so what is read now is not older than that: whoever is in
        // front and has not gone is seen.
        let children = through_losses(|| client.children(node.parent())).await;
        let Some(ahead) = whom_to_await(node, stems, children)? else {
            return Ok(());
        };
        let ahead = child_path(node.parent(), &ahead);
        // A read, which leaves no watch behind when the node has gone meanwhile.
        match through_losses(|| client.get_and_watch(&ahead)).await {
            Ok((_, _, changed)) => fired(changed).await?,
            Err(Error::Refused(ErrorCode::NoNode)) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The contender that the owner of a node waits for; nobody if it is its turn.
fn whom_to_await(
    node: &ProtectedNode,
    stems: Stems,
    children: Result<Vec<String>, Error>,
) -> Result<Option<String>, RecipeError> {
    let children = match children {
        Err(Error::Refused(ErrorCode::NoNode)) => return Err(RecipeError::Evicted),
        children => children?,
    };
    match turn(&children, node.name(), stems) {
        Turn::Now => Ok(None),
        Turn::After(name) => Ok(Some(name.to_owned())),
        Turn::Gone => Err(RecipeError::Evicted),
        Turn::Unnumbered => Err(RecipeError::NumbersUsedUp(node.parent().to_owned())),
    }
}
