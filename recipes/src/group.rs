//! Who is there.

use std::collections::BTreeMap;

use ferrokeeper_client::{Client, Error, child_path};

use crate::error::RecipeError;
use crate::kept_node::KeptNode;
use crate::requests::{children, data_of_children};

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
        for (id, data) in data_of_children(&self.client, &self.path, &names).await? {
            members.insert(id.to_owned(), data.map_err(Error::Refused)?);
        }
        Ok(members)
    }
}
