//! Numbers that nobody else gets.

use std::ops::Range;
use std::sync::Arc;

use ferrokeeper_client::Client;
use tokio::sync::Mutex;

use crate::counter::{Counter, CounterEncoding};
use crate::error::RecipeError;

/// Numbers that no other generator of the same path ever gives: they are reserved in blocks, each by one write.
///
/// **Guarantees.** Each number is given once, by whatever generator of the path, as long as nobody deletes the node or sets
/// it back; a generator that sees a lower number than before says so ([`RecipeError::SetBack`]). The numbers of one
/// generator and its clones grow. Those of different generators are not in the order of time, and there are gaps: what is
/// left of a block when its generator is dropped is never given.
///
/// **Lost answers** cost a block at most, and no number is given twice: what may have been reserved is not used. **A lost
/// session** does not matter for what is reserved already; the next block needs a new client, and a new generator.
///
/// **Others.** The node is that of a [`Counter`] of [`CounterEncoding::BigEndian64`], and says which number is the next one
/// to be reserved. Whoever adds the length of a block to it, for example with Curator's `DistributedAtomicLong`, owns the
/// numbers in between.
#[derive(Clone, Debug)]
pub struct IdGenerator {
    counter: Counter,
    path: String,
    block: u32,
    reserved: Arc<Mutex<Range<i64>>>,
}

impl IdGenerator {
    /// A generator that reserves so many numbers at a time, one at least, and begins with 0 if nobody else has begun. Long
    /// blocks cost fewer writes and leave longer gaps. Nothing is sent yet; the node is created when it is needed.
    pub fn new(client: &Client, path: &str, block: u32) -> IdGenerator {
        IdGenerator {
            counter: Counter::new(client, path, CounterEncoding::BigEndian64),
            path: path.to_owned(),
            block: block.max(1),
            reserved: Arc::default(),
        }
    }

    /// The next number. It is at hand, unless a block has to be reserved; those who ask meanwhile wait for the same one.
    /// Fails with [`RecipeError::Overflow`] when there are no more numbers.
    ///
    /// Cancel-safe: dropping the future loses a block at most.
    pub async fn next(&self) -> Result<i64, RecipeError> {
        let mut reserved = self.reserved.lock().await;
        loop {
            if let Some(number) = reserved.next() {
                return Ok(number);
            }
            match self.counter.add(self.block.into()).await {
                Ok(end) => *reserved = self.follows(reserved.end, end)?,
                // Reserved or not, it is not used.
                Err(RecipeError::Unknown) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The block up to `end`, if it lies behind all that were reserved here.
    fn follows(&self, last: i64, end: i64) -> Result<Range<i64>, RecipeError> {
        match end.saturating_sub(self.block.into()) {
            start if start >= last => Ok(start..end),
            _ => Err(RecipeError::SetBack(self.path.clone())),
        }
    }
}
