//! An instance that is registered.

use ferrokeeper_client::{Client, Create, Error, ErrorCode, Multi, Version, child_path};
use tokio::sync::watch;

use crate::discovery::instance::{Instance, ServiceType};
use crate::discovery::path_of;
use crate::error::RecipeError;
use crate::kept_node::{Keeping, KeptNode};
use crate::requests::{create_above, delete, through_losses};

/// An instance that is registered, until [`Registration::unregister`].
///
/// Dropping it ends the registration of a dynamic instance, as [`KeptNode`] says, and leaves the others registered.
#[derive(Debug)]
#[must_use = "dropping it ends the registration of a dynamic instance"]
pub struct Registration {
    client: Client,
    path: String,
    instance: Instance,
    /// Of a dynamic instance.
    node: Option<KeptNode>,
}

impl Registration {
    pub(super) async fn new(
        client: &Client,
        base: &str,
        instance: Instance,
    ) -> Result<Registration, RecipeError> {
        let invalid = |reason| Err(RecipeError::InvalidInstance(reason));
        if instance.name.trim_start_matches('/').is_empty() {
            return invalid("the service has no name");
        }
        if instance.id.is_empty() || instance.id.contains('/') {
            return invalid("the id is no name of a node");
        }
        let path = child_path(&path_of(base, &instance.name), &instance.id);
        let data = instance.to_json();
        let node = match instance.service_type {
            Some(ServiceType::Dynamic) => Some(KeptNode::keep(client, &path, &data).await?),
            Some(ServiceType::Static | ServiceType::Permanent) => {
                replace(client, &path, &data).await?;
                None
            }
            Some(ServiceType::DynamicSequential) | None => return invalid("the type cannot be registered"),
        };
        Ok(Registration { client: client.clone(), path, instance, node })
    }

    /// The instance as it was registered or updated last.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// The path of its node.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// How a dynamic instance's node stands; `None` for the others, which nobody looks after.
    pub fn watch(&self) -> Option<watch::Receiver<Keeping>> {
        self.node.as_ref().map(KeptNode::watch)
    }

    /// Registers something else in its place, under the same name, id and type: another payload, say, or that it is not
    /// enabled. For a dynamic instance it returns at once, and what was said last is there soon, and whenever the node
    /// comes back.
    ///
    /// Fails with [`RecipeError::InvalidInstance`] if name, id or type are others, and changes nothing. Dropping the
    /// future makes the change, or does not.
    pub async fn update(&mut self, instance: Instance) -> Result<(), RecipeError> {
        let identity =
            |instance: &Instance| (instance.name.clone(), instance.id.clone(), instance.service_type);
        if identity(&instance) != identity(&self.instance) {
            return Err(RecipeError::InvalidInstance("an update changes neither name nor id nor type"));
        }
        let data = instance.to_json();
        match &self.node {
            Some(node) => node.set_data(&data),
            None => replace(&self.client, &self.path, &data).await?,
        }
        self.instance = instance;
        Ok(())
    }

    /// Deletes the node and waits until that is done; of a dynamic instance only its own, as [`KeptNode::leave`].
    pub async fn unregister(self) -> Result<(), Error> {
        match self.node {
            Some(node) => node.leave().await,
            None => delete(&self.client, &self.path).await,
        }
    }
}

/// Makes a persistent node, in place of whatever is there. It may happen twice when answers are lost.
async fn replace(client: &Client, path: &str, data: &[u8]) -> Result<(), Error> {
    let create = || Create::new(path, data);
    loop {
        match through_losses(|| client.create(create())).await {
            Err(Error::Refused(ErrorCode::NodeExists)) => {}
            Err(error @ Error::Refused(ErrorCode::NoNode)) => {
                create_above(client, path, error).await?;
                continue;
            }
            result => return result.map(drop),
        }
        // At once, so that nobody sees it missing. Not a change of its data: it may be some session's.
        let both = || Multi::new().delete(path, Version::Any).create(create());
        match through_losses(|| client.multi(both())).await {
            // Somebody has deleted it meanwhile.
            Err(Error::MultiRefused { code: ErrorCode::NoNode, .. }) => {}
            result => return result.map(drop),
        }
    }
}
