//! Who is there.

use std::collections::BTreeMap;

use ferrokeeper_client::{Client, Error, ErrorCode, child_path};

use crate::error::RecipeError;
use crate::kept_node::KeptNode;
use crate::requests::{children, through_losses};

/// How many members are asked for at a time.
const BATCH: usize = 64;

/// A group of members that are there as long as their sessions live.
///
/// **Others.** The layout is that of Curator's `GroupMember`: `<path>/<id>`, ephemeral, with the member's data. Members
/// with Curator and with this crate may share a group. kazoo's `ShallowParty` sees every member, under what follows the first
/// `-` of its id, and its `Party` those with `__party__` in their ids, under their data; kazoo's members are seen here
/// with their whole names as ids.
#[derive(Clone, Debug)]
pub struct Group {
    client: Client,
    path: String,
}

impl Group {
    /// The group of a path. Nothing is sent yet; the path is created when it is needed, and goes when nobody has been
    /// there for a while.
    pub fn new(client: &Client, path: &str) -> Group {
        Group { client: client.clone(), path: path.to_owned() }
    }

    /// Makes a member, under an id that no other one has, with data that others can read; it waits until a member of the
    /// same id and another session has gone. Everything that [`KeptNode`] says holds for the membership.
    ///
    /// Cancel-safe, and panics, as [`KeptNode::keep`].
    pub async fn join(&self, id: &str, data: &[u8]) -> Result<KeptNode, RecipeError> {
        KeptNode::keep(&self.client, &child_path(&self.path, id), data).await
    }

    /// Who is there, by their ids, with their data. Members who come or go meanwhile may be missing.
    ///
    /// Cancel-safe.
    pub async fn members(&self) -> Result<BTreeMap<String, Vec<u8>>, Error> {
        let mut members = BTreeMap::new();
        let names = children(&self.client, &self.path).await?;
        for names in names.chunks(BATCH) {
            let paths: Vec<String> = names.iter().map(|name| child_path(&self.path, name)).collect();
            // All are under way before the first answer.
            let calls: Vec<_> = paths.iter().map(|path| self.client.get(path)).collect();
            for ((name, path), call) in names.iter().zip(&paths).zip(calls) {
                let answer = match call.await {
                    Err(Error::ConnectionLost(_)) => through_losses(|| self.client.get(path)).await,
                    answer => answer,
                };
                match answer {
                    Ok((data, _)) => drop(members.insert(name.clone(), data)),
                    Err(Error::Refused(ErrorCode::NoNode)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(members)
    }
}
