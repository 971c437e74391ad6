//! Which processes offer a service, and where.

mod instance;
mod listing;
mod provider;
mod registration;
mod selection;
mod uri_spec;

use ferrokeeper_client::{Client, Error, child_path};

pub use instance::{Instance, ServiceType};
pub use listing::{InstanceCache, Instances, Malformed};
pub use provider::Provider;
pub use registration::Registration;
pub use selection::{DownPolicy, Strategy};
pub use uri_spec::{UriPart, UriSpec, UriSpecError};

use crate::cache::{Cache, CacheScope};
use crate::discovery::listing::read;
use crate::error::RecipeError;
use crate::requests::{children, data_of_children, delete};

/// A registry of services: who offers one registers an [`Instance`] of it, and who needs one looks there.
///
/// **Guarantees.** A dynamic instance is there as long as its session lives and its [`Registration`] is held, also after
/// somebody has deleted its node. What cannot be read is reported beside the others ([`Malformed`]) and hides none of
/// them.
///
/// **Lost connections** are waited out. **A lost session** takes dynamic instances along; to register them anew is the
/// caller's, with a new client.
///
/// **Others.** Layout and text are those of Curator's x-discovery (`ServiceDiscoveryImpl`, `JsonInstanceSerializer`),
/// which Spring Cloud Zookeeper uses too: `<base>/<service>/<id>`. Processes with any of them find each other.
///
/// ```no_run
/// # async fn example(client: ferrokeeper_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use ferrokeeper_recipes::{Discovery, Instance, Strategy};
///
/// let discovery = Discovery::new(&client, "/services");
/// let here = discovery.register(Instance::new("users").address("10.0.0.7").port(8080)).await?;
///
/// let users = discovery.provider("users", Strategy::RoundRobin).await?;
/// if let Some(instance) = users.pick()
///     && call(&instance.address).await.is_err()
/// {
///     users.report_failure(&instance);
/// }
/// here.unregister().await?;
/// # Ok(())
/// # }
/// # async fn call(_: &Option<String>) -> Result<(), ()> { Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Discovery {
    client: Client,
    base: String,
}

impl Discovery {
    /// The registry of a path. Nothing is sent yet; nodes are created when they are needed, as containers.
    pub fn new(client: &Client, base: &str) -> Discovery {
        Discovery { client: client.clone(), base: base.to_owned() }
    }

    /// Registers an instance, and returns when that is known to the servers. A dynamic one waits until a node of the same
    /// id and another session has gone, where Curator deletes it; the others take the place of what is there.
    ///
    /// Fails with [`RecipeError::InvalidInstance`] if the instance cannot have a node.
    ///
    /// Cancel-safe: dropping the future leaves no dynamic instance behind; one of the others is registered, or not.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn register(&self, instance: Instance) -> Result<Registration, RecipeError> {
        Registration::new(&self.client, &self.base, instance).await
    }

    /// Deletes an instance's node, if there is one, whoever has registered it: for what a [`Registration`] does not
    /// delete any more. A dynamic instance whose registration is held comes back.
    pub async fn unregister(&self, service: &str, id: &str) -> Result<(), Error> {
        delete(&self.client, &child_path(&self.path_of(service), id)).await
    }

    /// The names of all services that have a node, in order; they need not have instances. Cancel-safe.
    pub async fn services(&self) -> Result<Vec<String>, Error> {
        let mut names = children(&self.client, &self.base).await?;
        names.sort_unstable();
        Ok(names)
    }

    /// The instances of a service now, also those that are not enabled. It may be a little old, as all reads:
    /// [`Client::sync`] helps. Cancel-safe.
    pub async fn instances(&self, service: &str) -> Result<Instances, Error> {
        let path = self.path_of(service);
        let mut names = children(&self.client, &path).await?;
        names.sort_unstable();
        let mut found = Instances::default();
        for (name, data) in data_of_children(&self.client, &path, &names).await? {
            found.add(name, data.map_err(|code| code.to_string()).and_then(|data| read(&data)));
        }
        Ok(found)
    }

    /// The instances of a service from now on: a copy that follows them. Returns when all have been read.
    ///
    /// Cancel-safe: dropping the future leaves nothing behind.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn cache(&self, service: &str) -> Result<InstanceCache, RecipeError> {
        let cache = Cache::start(&self.client, &self.path_of(service), CacheScope::Children).await?;
        Ok(InstanceCache::new(cache, service))
    }

    /// Chooses among the instances of a service, and leaves those out for thirty seconds that fail twice within that
    /// time (Curator's defaults); [`Provider::with_down_policy`] changes that.
    ///
    /// Cancel-safe, and panics, as [`Discovery::cache`].
    pub async fn provider(&self, service: &str, strategy: Strategy) -> Result<Provider, RecipeError> {
        Ok(Provider::new(self.cache(service).await?, strategy))
    }

    fn path_of(&self, service: &str) -> String {
        path_of(&self.base, service)
    }
}

/// Where a service's instances are. Spring's names may be paths.
fn path_of(base: &str, service: &str) -> String {
    child_path(base, service.trim_start_matches('/'))
}
