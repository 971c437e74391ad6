//! Creating many nodes, several in one multi.

use ferrokeeper_client::{Acl, Call, Client, Create, Error, Multi, Stat, Version};

use crate::failure::Failure;
use crate::output::nodes;

/// Bytes of a batch: half of what a server takes in a request, whatever else it holds. A node that is larger travels alone.
pub const BATCH_BYTES: usize = 512 << 10;
/// Nodes of a batch.
pub const BATCH_NODES: usize = 500;
/// Bytes of an operation besides what it is about, and those of an entry of an ACL.
const OVERHEAD_BYTES: usize = 64;

/// A node to be.
#[derive(Clone, Debug)]
pub struct Seed {
    /// Its path.
    pub path: String,
    /// Its data; `None` is null.
    pub data: Option<Vec<u8>>,
    /// Its ACL.
    pub acl: Vec<Acl>,
    /// Where it comes from, for complaints.
    pub origin: String,
}

impl Seed {
    /// About how much of a request it takes.
    pub fn bytes(&self) -> usize {
        let acl = self.acl.iter().map(|acl| acl.id.scheme.len() + acl.id.id.len() + OVERHEAD_BYTES);
        self.path.len() + self.data.as_ref().map_or(0, Vec::len) + acl.sum::<usize>() + OVERHEAD_BYTES
    }

    /// The node.
    pub fn create(&self) -> Create {
        let create = match &self.data {
            Some(data) => Create::new(&self.path, data.as_slice()),
            None => Create::null(&self.path),
        };
        create.acl(self.acl.as_slice())
    }
}

/// Creates nodes in the order in which it gets them. Each batch is done or not as a whole; what was done before stays.
pub struct Planter<'c> {
    client: &'c Client,
    overwrites: bool,
    batch: Vec<Seed>,
    bytes: usize,
    /// Nodes that are there now.
    pub planted: u64,
}

impl<'c> Planter<'c> {
    /// Refuses nodes that exist, or overwrites their data and ACLs.
    pub fn new(client: &'c Client, overwrites: bool) -> Planter<'c> {
        Planter { client, overwrites, batch: Vec::new(), bytes: 0, planted: 0 }
    }

    /// Whether nodes that exist are overwritten.
    pub fn overwrites(&self) -> bool {
        self.overwrites
    }

    /// Takes a node; some time, it is created.
    pub async fn plant(&mut self, seed: Seed) -> Result<(), Failure> {
        let bytes = seed.bytes();
        if self.batch.len() == BATCH_NODES || self.bytes + bytes > BATCH_BYTES {
            self.finish().await?;
        }
        self.bytes += bytes;
        self.batch.push(seed);
        Ok(())
    }

    /// Creates what it has taken.
    pub async fn finish(&mut self) -> Result<(), Failure> {
        let batch = std::mem::take(&mut self.batch);
        self.bytes = 0;
        if batch.is_empty() {
            return Ok(());
        }
        let exist = if self.overwrites { self.which_exist(&batch).await? } else { vec![false; batch.len()] };
        let done = match (batch.as_slice(), exist.as_slice()) {
            // As a multi it would be longer, and a server may take just this.
            ([seed], [false]) => self.client.create(seed.create()).await.map(drop),
            _ => self.client.multi(multi(&batch, &exist)).await.map(drop),
        };
        done.map_err(|error| self.failure(&error, &batch))?;
        self.set_acls(&batch, &exist).await?;
        self.planted += batch.len() as u64;
        Ok(())
    }

    async fn which_exist(&self, batch: &[Seed]) -> Result<Vec<bool>, Failure> {
        let asked: Vec<Call<Option<Stat>>> =
            batch.iter().map(|seed| self.client.exists(&seed.path)).collect();
        let mut exist = Vec::new();
        for (seed, call) in batch.iter().zip(asked) {
            let stat = call.await.map_err(|error| self.failure(&error, std::slice::from_ref(seed)))?;
            exist.push(stat.is_some());
        }
        Ok(exist)
    }

    /// Of nodes that were there before: a multi cannot.
    async fn set_acls(&self, batch: &[Seed], exist: &[bool]) -> Result<(), Failure> {
        let old = || batch.iter().zip(exist).filter(|&(_, &exists)| exists).map(|(seed, _)| seed);
        let set: Vec<_> =
            old().map(|seed| self.client.set_acl(&seed.path, &seed.acl, Version::Any)).collect();
        for (seed, call) in old().zip(set) {
            call.await.map_err(|error| self.failure(&error, std::slice::from_ref(seed)))?;
        }
        Ok(())
    }

    /// Names the node that is to blame, and where it comes from.
    fn failure(&self, error: &Error, batch: &[Seed]) -> Failure {
        let at = if let Error::MultiRefused { index, .. } = error { *index } else { 0 };
        let seed = batch.get(at).unwrap_or(&batch[0]);
        let mut failure = Failure::of(error, Some(&seed.path));
        failure.message =
            format!("{}: {}; done before: {}", seed.origin, failure.message, nodes(self.planted));
        if error.may_have_happened() {
            failure.message += &format!(", and maybe {} more", batch.len());
        }
        failure
    }
}

fn multi(batch: &[Seed], exist: &[bool]) -> Multi {
    batch.iter().zip(exist).fold(Multi::new(), |multi, (seed, &exists)| match exists {
        // Null cannot be set.
        true => multi.set(&seed.path, seed.data.clone().unwrap_or_default(), Version::Any),
        false => multi.create(seed.create()),
    })
}
