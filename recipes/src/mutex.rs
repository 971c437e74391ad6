//! One holder at a time.

use std::time::Duration;

use ferrokeeper_client::Client;

use crate::error::RecipeError;
use crate::guard::LockGuard;
use crate::line::Line;
use crate::turns::{Kind, Stems};

/// Contenders for a mutex: Curator's and ours, and kazoo's.
pub(crate) const STEMS: Stems = &[("lock-", Kind::Exclusive), ("__lock__", Kind::Exclusive)];

/// A lock that one contender holds at a time, in the order in which they came.
///
/// **Guarantees.** No two guards of one path are held at the same time, as far as their sessions live; see [`LockGuard`]
/// for what a lost session means and how to be safe then. Each waiter watches the one in front of it: a release wakes
/// one waiter.
///
/// **Not re-entrant.** Every call contends, also within one task: to call [`Mutex::lock`] while holding a guard of the
/// same path waits for oneself. Who needs that passes the guard along.
///
/// **Others.** The layout is that of Curator's `InterProcessMutex` and `LeaderSelector`: `<path>/_c_<guid>-lock-<number>`;
/// processes with Curator and with this crate may share a lock. kazoo's `Lock` (`<hex>__lock__<number>`) is respected here, and respects
/// this one if it is told to, `Lock(path, extra_lock_patterns=["lock-"])`; kazoo and Curator should not share a path with
/// each other, because Curator does not see the order of kazoo's names. Children with other names do not count.
///
/// ```no_run
/// # async fn example(client: ferrokeeper_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let mutex = ferrokeeper_recipes::Mutex::new(&client, "/locks/payroll");
/// let guard = mutex.lock().await?;
/// tokio::select! {
///     () = pay_everybody(guard.fencing_token()) => guard.release().await?,
///     lost = guard.lost() => eprintln!("somebody else may pay now: {lost:?}"),
/// }
/// # Ok(())
/// # }
/// # async fn pay_everybody(_: ferrokeeper_client::Zxid) {}
/// ```
#[derive(Clone, Debug)]
pub struct Mutex(pub(crate) Line);

impl Mutex {
    /// The lock of a path. Nothing is sent yet; the path is created when it is needed, and goes when nobody has used it
    /// for a while.
    pub fn new(client: &Client, path: &str) -> Mutex {
        Mutex::with_data(client, path, b"")
    }

    /// Likewise, with data for the nodes of this contender: it may say who it is.
    pub fn with_data(client: &Client, path: &str, data: &[u8]) -> Mutex {
        Mutex(Line {
            client: client.clone(),
            path: path.to_owned(),
            data: data.to_vec(),
            stem: "lock-",
            stems: STEMS,
        })
    }

    /// Waits for the lock for as long as it takes; lost connections do not matter. Single requests may take as long as
    /// the client allows one operation; then this fails with [`TimedOut`](ferrokeeper_client::Error::TimedOut).
    ///
    /// Cancel-safe: dropping the future gives the place in the line up.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn lock(&self) -> Result<LockGuard, RecipeError> {
        self.0.lock().await
    }

    /// As [`Mutex::lock`], but no longer than this: then `None`.
    pub async fn lock_within(&self, patience: Duration) -> Result<Option<LockGuard>, RecipeError> {
        self.0.lock_within(patience).await
    }

    /// The lock if it is free; it waits for servers but not for other contenders.
    ///
    /// Cancel-safe, and panics, as [`Mutex::lock`].
    pub async fn try_lock(&self) -> Result<Option<LockGuard>, RecipeError> {
        self.0.try_lock().await
    }
}
