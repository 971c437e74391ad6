//! Nodes that are created once, whatever becomes of the answer.

use std::mem;

use ferrokeeper_client::{Call, Client, Create, Created, Error, ErrorCode, Multi, Version, Zxid, child_path};
use tokio::runtime::Handle;

use crate::guard::{Lost, lost};
use crate::requests::{
    CLEANUP_PATIENCE, children, cleaned_up, create_containers, done, guid, last_name, retryable,
    through_losses,
};

/// What Curator's protected names begin with.
const PROTECTION: &str = "_c_";

/// An ephemeral sequential node that this process owns, under a name that nobody else can have chosen
/// (Curator's `CreateBuilder.withProtection`): `_c_<guid>-<stem><number>`.
///
/// When the answer to the creation is lost with its connection, the guid tells whether it has happened: the node is
/// looked for before it is created again, so there are never two, and none is left behind.
///
/// **It goes** with [`ProtectedNode::delete`], or when this is dropped: then a task on the runtime deletes it, which
/// tries a bounded number of times. A creation whose future is dropped is cleaned up in the same way. Meanwhile the
/// task holds the session open. Whatever fails, the node ends with the session.
#[derive(Debug)]
#[must_use = "dropping it deletes the node"]
pub struct ProtectedNode {
    claim: Claim,
    name: String,
    czxid: Zxid,
}

impl ProtectedNode {
    /// Creates a node below `parent`, with some data. Nodes that are missing on the way are created as containers, as
    /// Curator does: the server deletes them some time after they have become empty.
    ///
    /// A lost connection is no failure: this goes on as soon as there is another one. Each request, the wait for a
    /// connection included, takes as long as the client allows one operation at most; then it fails with
    /// [`Error::TimedOut`].
    ///
    /// Cancel-safe: when the future is dropped, the node that it may have created is deleted.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn create(
        client: &Client,
        parent: &str,
        stem: &str,
        data: &[u8],
    ) -> Result<ProtectedNode, Error> {
        let mut claim = Claim {
            client: client.clone(),
            runtime: Handle::current(),
            parent: parent.to_owned(),
            prefix: format!("{PROTECTION}{}-{stem}", guid()),
            held: Held::Nothing,
        };
        let path = child_path(parent, &claim.prefix);
        loop {
            claim.held = Held::Perhaps;
            let error = match client.create(Create::new(&path, data).ephemeral().sequential()).await {
                Ok(Created { path, stat }) => return Ok(claim.settle(last_name(&path), stat.czxid)),
                Err(error) => error,
            };
            if !error.may_have_happened() {
                claim.held = Held::Nothing;
            }
            match error {
                Error::Refused(ErrorCode::NoNode) => create_containers(client, parent).await?,
                Error::ConnectionLost(_) => {
                    if let Some((name, czxid)) = claim.find().await? {
                        return Ok(claim.settle(&name, czxid));
                    }
                }
                // What may exist is deleted when the claim is dropped.
                error => return Err(error),
            }
        }
    }

    /// Its path, in the client's namespace.
    pub fn path(&self) -> String {
        child_path(&self.claim.parent, &self.name)
    }

    /// The last part of its path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path of its parent.
    pub fn parent(&self) -> &str {
        &self.claim.parent
    }

    /// The transaction that created it. It grows from node to node, also when the parent is deleted and created
    /// again, which starts the numbers of the names anew.
    pub fn czxid(&self) -> Zxid {
        self.czxid
    }

    /// Waits until what is held with it is lost.
    pub(crate) async fn lost(&self) -> Lost {
        lost(self.client(), &self.path(), self.czxid()).await
    }

    /// The client whose session owns it.
    pub fn client(&self) -> &Client {
        &self.claim.client
    }

    /// Deletes it and waits until that is done; that somebody else has deleted it is no failure. When it fails
    /// although the session lives, or the future is dropped, it goes on in the background.
    pub async fn delete(mut self) -> Result<(), Error> {
        let path = self.path();
        let version = Version::Any;
        let result = done(through_losses(|| self.claim.client.delete(&path, version)).await);
        let is_over = matches!(result, Err(Error::SessionExpired | Error::AuthFailed | Error::Closed));
        if result.is_ok() || is_over {
            self.claim.held = Held::Nothing;
        }
        result
    }

    /// Likewise, together with another node; alone, if there is no other one.
    pub(crate) async fn delete_with(mut self, other: &str) -> Result<(), Error> {
        let both = Multi::new().delete(self.path(), Version::Any).delete(other, Version::Any);
        match through_losses(|| self.claim.client.multi(both.clone())).await {
            Ok(_) => self.claim.held = Held::Nothing,
            Err(Error::MultiRefused { code: ErrorCode::NoNode, .. }) => return self.delete().await,
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// What this process may have to delete.
#[derive(Debug)]
enum Held {
    Nothing,
    /// A creation is under way, or its answer is lost.
    Perhaps,
    /// A node of this name.
    Node(String),
}

/// Cleans up when it is dropped.
#[derive(Debug)]
struct Claim {
    client: Client,
    /// Drops happen anywhere.
    runtime: Handle,
    parent: String,
    /// The node's name without its number.
    prefix: String,
    held: Held,
}

impl Claim {
    fn settle(mut self, name: &str, czxid: Zxid) -> ProtectedNode {
        self.held = Held::Node(name.to_owned());
        ProtectedNode { claim: self, name: name.to_owned(), czxid }
    }

    /// The node, if the creation has happened.
    async fn find(&self) -> Result<Option<(String, Zxid)>, Error> {
        for name in own_children(&self.client, &self.parent, &self.prefix).await? {
            let path = child_path(&self.parent, &name);
            if let Some(stat) = through_losses(|| self.client.exists(&path)).await? {
                return Ok(Some((name, stat.czxid)));
            }
        }
        Ok(None)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let client = self.client.with_operation_timeout(Some(CLEANUP_PATIENCE));
        let first = match &self.held {
            Held::Nothing => return,
            Held::Perhaps => None,
            // Called here and not in the task: it comes before whatever the caller calls next.
            Held::Node(name) => Some(client.delete(&child_path(&self.parent, name), Version::Any)),
        };
        let (parent, prefix) = (mem::take(&mut self.parent), mem::take(&mut self.prefix));
        self.runtime.spawn(clean_up(client, parent, prefix, first));
    }
}

/// Deletes what begins with a prefix: tries until it is done, it is hopeless, or enough.
async fn clean_up(client: Client, parent: String, prefix: String, first: Option<Call<()>>) {
    if let Some(first) = first
        && !retryable(&done(first.await))
    {
        return;
    }
    if !cleaned_up(|| sweep(&client, &parent, &prefix)).await {
        tracing::warn!(parent, prefix, "an abandoned node stays until its session ends");
    }
}

async fn sweep(client: &Client, parent: &str, prefix: &str) -> Result<(), Error> {
    for name in own_children(client, parent, prefix).await? {
        done(client.delete(&child_path(parent, &name), Version::Any).await)?;
    }
    Ok(())
}

/// The names of the children that begin with a prefix, lowest number first.
///
/// Without the sync, a server that lags behind would hide a node whose creation was carried out by another one. With
/// it the answer is final: a creation that is not to be seen now will not happen any more, because on one connection
/// it came first, and a server that this session has left has its requests refused.
async fn own_children(client: &Client, parent: &str, prefix: &str) -> Result<Vec<String>, Error> {
    through_losses(|| client.sync(parent)).await?;
    let mut names = children(client, parent).await?;
    names.retain(|name| name.starts_with(prefix));
    names.sort_unstable();
    Ok(names)
}
