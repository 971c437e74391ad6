//! Ephemeral nodes whose names are given.

use std::mem;

use ferrokeeper_client::{Client, Create, Error, ErrorCode, Multi, Version, Zxid};
use tokio::runtime::Handle;

use crate::requests::{CLEANUP_PATIENCE, cleaned_up, done, through_losses};

/// An ephemeral node that this process owns, under a name that others may want too. When an answer is lost, its session
/// tells whose it is, and its data if the session may want it more than once.
///
/// It goes when this is dropped, as a [`ProtectedNode`](crate::ProtectedNode) does.
#[derive(Debug)]
#[must_use = "dropping it deletes the node"]
pub(crate) struct Claimed {
    claim: Claim,
    czxid: Zxid,
}

/// Cleans up when it is dropped.
#[derive(Debug)]
struct Claim {
    client: Client,
    /// Drops happen anywhere.
    runtime: Handle,
    path: String,
    mark: Mark,
    /// Whether there may be a node to delete.
    may_exist: bool,
}

/// What tells a node of ours from one of somebody else's.
#[derive(Clone, Debug)]
enum Mark {
    /// Its session: nobody else of the session wants the name.
    Session,
    /// And its data: nobody else has these.
    Data(Vec<u8>),
    /// The transaction that created it, as soon as that is known.
    Created(Zxid),
}

impl Claimed {
    /// Creates the node, unless there is one of this name, with data that nobody else has. Fails with `NoNode` if there
    /// is no parent. Cancel-safe: when the future is dropped, the node that it may have created is deleted.
    pub async fn claim(client: &Client, path: &str, data: &[u8]) -> Result<Option<Claimed>, Error> {
        Claimed::create(client, path, data, Mark::Data(data.to_vec())).await
    }

    /// Likewise, with any data, if nobody else of the session wants the name.
    pub async fn claim_alone(client: &Client, path: &str, data: &[u8]) -> Result<Option<Claimed>, Error> {
        Claimed::create(client, path, data, Mark::Session).await
    }

    async fn create(client: &Client, path: &str, data: &[u8], mark: Mark) -> Result<Option<Claimed>, Error> {
        let mut claim = Claim {
            client: client.clone(),
            runtime: Handle::current(),
            path: path.to_owned(),
            mark,
            may_exist: false,
        };
        loop {
            claim.may_exist = true;
            let error = match client.create(Create::new(path, data).ephemeral()).await {
                Ok(created) => {
                    return Ok(Some(claim.settle(created.stat.czxid)));
                }
                Err(error) => error,
            };
            claim.may_exist = error.may_have_happened();
            match error {
                Error::Refused(ErrorCode::NodeExists) => return Ok(None),
                Error::ConnectionLost(_) => {
                    if let Some(czxid) = find(client, path, &claim.mark).await? {
                        return Ok(Some(claim.settle(czxid)));
                    }
                }
                // What may exist is deleted when the claim is dropped.
                error => return Err(error),
            }
        }
    }

    pub fn path(&self) -> &str {
        &self.claim.path
    }

    pub fn client(&self) -> &Client {
        &self.claim.client
    }

    /// The transaction that created it.
    pub fn czxid(&self) -> Zxid {
        self.czxid
    }

    /// Deletes it and waits until that is done; that somebody else has deleted it is no failure. When it fails although
    /// the session lives, or the future is dropped, it goes on in the background.
    pub async fn delete(self) -> Result<(), Error> {
        let mut claim = self.claim;
        sweep(&claim.client, &claim.path, &claim.mark).await?;
        claim.may_exist = false;
        Ok(())
    }

    /// Deletes it and another node at once, whose name comes only once. False if that cannot be, because one of them is not
    /// there.
    pub async fn delete_with(self, other: &str) -> Result<bool, Error> {
        let mut claim = self.claim;
        let mut may_have_happened = false;
        while find(&claim.client, &claim.path, &claim.mark).await?.is_some() {
            let both = Multi::new().delete(other, Version::Any).delete(&claim.path, Version::Any);
            match claim.client.multi(both).await {
                Ok(_) => {
                    claim.may_exist = false;
                    return Ok(true);
                }
                Err(Error::MultiRefused { code: ErrorCode::NoNode, .. }) => return Ok(false),
                Err(error @ Error::ConnectionLost(_)) => may_have_happened |= error.may_have_happened(),
                Err(error) => return Err(error),
            }
        }
        claim.may_exist = false;
        // It went with the other one, unless somebody else has deleted it alone.
        Ok(may_have_happened && through_losses(|| claim.client.exists(other)).await?.is_none())
    }
}

impl Claim {
    fn settle(mut self, czxid: Zxid) -> Claimed {
        self.mark = Mark::Created(czxid);
        Claimed { claim: self, czxid }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let client = self.client.with_operation_timeout(Some(CLEANUP_PATIENCE));
        if !self.may_exist {
            return;
        }
        let (path, mark) = (mem::take(&mut self.path), self.mark.clone());
        self.runtime.spawn(async move {
            if !cleaned_up(|| sweep(&client, &path, &mark)).await {
                tracing::warn!(path, "an abandoned node stays until its session ends");
            }
        });
    }
}

/// Deletes the node if it is still the one: by now, the name may be somebody else's.
async fn sweep(client: &Client, path: &str, mark: &Mark) -> Result<(), Error> {
    loop {
        if find(client, path, mark).await?.is_none() {
            return Ok(());
        }
        match done(client.delete(path, Version::Any).await) {
            Err(Error::ConnectionLost(_)) => {}
            result => return result,
        }
    }
}

/// The node, if it is there and ours. The sync makes the answer final, as in
/// [`ProtectedNode`](crate::ProtectedNode).
async fn find(client: &Client, path: &str, mark: &Mark) -> Result<Option<Zxid>, Error> {
    through_losses(|| client.sync(path)).await?;
    match through_losses(|| client.get(path)).await {
        Ok((found, stat)) => {
            let is_marked = match mark {
                Mark::Session => true,
                Mark::Data(data) => found == *data,
                Mark::Created(czxid) => stat.czxid == *czxid,
            };
            let is_own = client.session_id().is_some_and(|id| id.get() == stat.ephemeral_owner);
            Ok((is_own && is_marked).then_some(stat.czxid))
        }
        Err(Error::Refused(ErrorCode::NoNode)) => Ok(None),
        Err(error) => Err(error),
    }
}
