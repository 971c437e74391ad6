//! Choosing an instance.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::discovery::instance::Instance;
use crate::discovery::listing::InstanceCache;
use crate::discovery::selection::{DownPolicy, Selection, Strategy};

/// Chooses among the instances of a service, as they change (Curator's `ServiceProvider`).
///
/// An instance is chosen only if it is enabled and does not count as down ([`DownPolicy`]). What is down is remembered in
/// this process, and by nobody else. Ask for an instance each time that one is needed, and do not keep it. Handles are cheap
/// to clone and share what they know; a lost connection or session means what it means to an [`InstanceCache`].
#[derive(Clone, Debug)]
pub struct Provider {
    cache: InstanceCache,
    selection: Arc<Mutex<Selection>>,
    strategy: Strategy,
}

impl Provider {
    pub(super) fn new(cache: InstanceCache, strategy: Strategy) -> Provider {
        let selection = Arc::new(Mutex::new(Selection::new(strategy, DownPolicy::default())));
        Provider { cache, selection, strategy }
    }

    /// Likewise, with another policy, and without what other handles know of failures.
    pub fn with_down_policy(self, policy: DownPolicy) -> Provider {
        Provider { selection: Arc::new(Mutex::new(Selection::new(self.strategy, policy))), ..self }
    }

    /// The next instance; `None` if none is available.
    pub fn pick(&self) -> Option<Arc<Instance>> {
        let chance = match self.strategy {
            Strategy::RoundRobin => 0,
            Strategy::Random | Strategy::Sticky => chance(),
        };
        self.selection().pick(&self.cache.instances().readable, Instant::now(), chance)
    }

    /// All instances that could be chosen.
    pub fn available(&self) -> Vec<Arc<Instance>> {
        self.selection().available(&self.cache.instances().readable, Instant::now())
    }

    /// Says that an instance has failed.
    pub fn report_failure(&self, instance: &Instance) {
        self.selection().on_failure(instance, Instant::now());
    }

    /// What it chooses from.
    pub fn cache(&self) -> &InstanceCache {
        &self.cache
    }

    fn selection(&self) -> MutexGuard<'_, Selection> {
        self.selection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn chance() -> u64 {
    getrandom::u64().expect("the operating system has random numbers")
}
