//! Ephemeral nodes whose names are given.

use std::mem;

use ferrokeeper_client::{Client, Create, Error, ErrorCode, Multi, Version, Zxid};
use tokio::runtime::Handle;

use crate::requests::{CLEANUP_PATIENCE, cleaned_up, done, through_losses};

/// An ephemeral node that this process owns, under a name that others may want too. When an answer is lost, its data tell
/// whose it is: no other node of the session may have the same name and the same data.
///
/// It goes when this is dropped, as a [`ProtectedNode`](crate::ProtectedNode) does.
#[derive(Debug)]
#[must_use = "dropping it deletes the node"]
pub(crate) struct Claimed {
    client: Client,
    /// Drops happen anywhere.
    runtime: Handle,
    path: String,
    data: Vec<u8>,
    held: Held,
}

#[derive(Clone, Copy, Debug)]
enum Held {
    Nothing,
    /// A creation is under way, or its answer is lost.
    Perhaps,
    Node(Zxid),
}

impl Claimed {
    /// Creates the node, unless there is one of this name. Fails with `NoNode` if there is no parent. Cancel-safe: when
    /// the future is dropped, the node that it may have created is deleted.
    pub async fn claim(client: &Client, path: &str, data: &[u8]) -> Result<Option<Claimed>, Error> {
        let mut claim = Claimed {
            client: client.clone(),
            runtime: Handle::current(),
            path: path.to_owned(),
            data: data.to_vec(),
            held: Held::Nothing,
        };
        loop {
            claim.held = Held::Perhaps;
            let error = match client.create(Create::new(path, data).ephemeral()).await {
                Ok(created) => {
                    claim.held = Held::Node(created.stat.czxid);
                    return Ok(Some(claim));
                }
                Err(error) => error,
            };
            if !error.may_have_happened() {
                claim.held = Held::Nothing;
            }
            match error {
                Error::Refused(ErrorCode::NodeExists) => return Ok(None),
                Error::ConnectionLost(_) => {
                    if let Some(czxid) = find(client, path, data).await? {
                        claim.held = Held::Node(czxid);
                        return Ok(Some(claim));
                    }
                }
                // What may exist is deleted when the claim is dropped.
                error => return Err(error),
            }
        }
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The transaction that created it.
    pub fn czxid(&self) -> Zxid {
        match self.held {
            Held::Node(czxid) => czxid,
            Held::Nothing | Held::Perhaps => Zxid::ZERO,
        }
    }

    /// Deletes it and waits until that is done; that somebody else has deleted it is no failure. When it fails although
    /// the session lives, or the future is dropped, it goes on in the background.
    pub async fn delete(mut self) -> Result<(), Error> {
        sweep(&self.client, &self.path, &self.data).await?;
        self.held = Held::Nothing;
        Ok(())
    }

    /// Deletes it and another node at once. False if that cannot be, because one of them was not there.
    pub async fn delete_with(mut self, other: &str) -> Result<bool, Error> {
        if find(&self.client, &self.path, &self.data).await?.is_none() {
            return Ok(false);
        }
        loop {
            let both = Multi::new().delete(other, Version::Any).delete(&self.path, Version::Any);
            match self.client.multi(both).await {
                Ok(_) => break,
                Err(Error::MultiRefused { code: ErrorCode::NoNode, .. }) => return Ok(false),
                Err(error @ Error::ConnectionLost(_)) => {
                    // As long as the session lives, only this deletes it.
                    if find(&self.client, &self.path, &self.data).await?.is_none() {
                        self.held = Held::Nothing;
                        return Ok(error.may_have_happened());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        self.held = Held::Nothing;
        Ok(true)
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        let client = self.client.with_operation_timeout(Some(CLEANUP_PATIENCE));
        if matches!(self.held, Held::Nothing) {
            return;
        }
        let (path, data) = (mem::take(&mut self.path), mem::take(&mut self.data));
        self.runtime.spawn(async move {
            if !cleaned_up(|| sweep(&client, &path, &data)).await {
                tracing::warn!(path, "an abandoned node stays until its session ends");
            }
        });
    }
}

/// Deletes the node if it is still the one: by now, the name may be somebody else's.
async fn sweep(client: &Client, path: &str, data: &[u8]) -> Result<(), Error> {
    loop {
        if find(client, path, data).await?.is_none() {
            return Ok(());
        }
        match done(client.delete(path, Version::Any).await) {
            Err(Error::ConnectionLost(_)) => {}
            result => return result,
        }
    }
}

/// The node, if it is there and this session's with these data. The sync makes the answer final, as in
/// [`ProtectedNode`](crate::ProtectedNode).
async fn find(client: &Client, path: &str, data: &[u8]) -> Result<Option<Zxid>, Error> {
    through_losses(|| client.sync(path)).await?;
    match through_losses(|| client.get(path)).await {
        Ok((found, stat)) => {
            let is_own = client.session_id().is_some_and(|id| id.get() == stat.ephemeral_owner);
            Ok((is_own && found == data).then_some(stat.czxid))
        }
        Err(Error::Refused(ErrorCode::NoNode)) => Ok(None),
        Err(error) => Err(error),
    }
}
