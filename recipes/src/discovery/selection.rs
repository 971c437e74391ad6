//! Which instance is next: pure, so that time and chance are the caller's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::discovery::instance::Instance;

/// How a [`Provider`](crate::Provider) chooses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Strategy {
    /// One after the other (Curator's `RoundRobinStrategy`).
    RoundRobin,
    /// Any, each as likely as the others (`RandomStrategy`).
    Random,
    /// Any, and then always the same one for as long as it is available (`StickyStrategy`).
    Sticky,
}

/// When an instance counts as down (Curator's `DownInstancePolicy`): after so many failures within a time it is left out
/// until that time, which begins with the first of them, is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DownPolicy {
    /// How many failures; 0 counts as 1.
    pub failures: u32,
    /// The time.
    pub within: Duration,
}

/// Two failures within thirty seconds.
impl Default for DownPolicy {
    fn default() -> DownPolicy {
        DownPolicy { failures: 2, within: Duration::from_secs(30) }
    }
}

/// What tells a registration from others: who registers again starts without failures.
type Identity = (String, i64);

fn identity(instance: &Instance) -> Identity {
    (instance.id.clone(), instance.registration_time_utc)
}

/// What was chosen, and what has failed.
#[derive(Debug)]
pub(super) struct Selection {
    strategy: Strategy,
    policy: DownPolicy,
    turn: usize,
    stuck_to: Option<Identity>,
    /// Since when, and how often. What is older than the policy's time is removed with the next failure.
    failures: BTreeMap<Identity, (Instant, u32)>,
}

impl Selection {
    pub fn new(strategy: Strategy, policy: DownPolicy) -> Selection {
        Selection { strategy, policy, turn: 0, stuck_to: None, failures: BTreeMap::new() }
    }

    /// Those that are enabled and not down.
    pub fn available(&self, all: &[Arc<Instance>], now: Instant) -> Vec<Arc<Instance>> {
        all.iter().filter(|instance| instance.enabled && !self.is_down(instance, now)).cloned().collect()
    }

    /// The next one.
    pub fn pick(&mut self, all: &[Arc<Instance>], now: Instant, chance: u64) -> Option<Arc<Instance>> {
        let available = self.available(all, now);
        let count = available.len();
        if count == 0 {
            return None;
        }
        let by_chance = (chance % count as u64) as usize;
        let index = match self.strategy {
            Strategy::RoundRobin => {
                let turn = self.turn;
                self.turn = turn.wrapping_add(1);
                turn % count
            }
            Strategy::Random => by_chance,
            Strategy::Sticky => {
                let is_stuck_to = |instance: &Arc<Instance>| self.stuck_to == Some(identity(instance));
                available.iter().position(is_stuck_to).unwrap_or(by_chance)
            }
        };
        let chosen = &available[index];
        self.stuck_to = Some(identity(chosen));
        Some(Arc::clone(chosen))
    }

    pub fn on_failure(&mut self, instance: &Instance, now: Instant) {
        let within = self.policy.within;
        self.failures.retain(|_, (since, _)| now.saturating_duration_since(*since) < within);
        let (_, count) = self.failures.entry(identity(instance)).or_insert((now, 0));
        *count = count.saturating_add(1);
    }

    fn is_down(&self, instance: &Instance, now: Instant) -> bool {
        self.failures.get(&identity(instance)).is_some_and(|&(since, count)| {
            count >= self.policy.failures.max(1) && now.saturating_duration_since(since) < self.policy.within
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instances(ids: &[&str]) -> Vec<Arc<Instance>> {
        ids.iter().map(|id| Arc::new(Instance { id: id.to_string(), ..Instance::default() })).collect()
    }

    fn picks(selection: &mut Selection, all: &[Arc<Instance>], now: Instant, chances: &[u64]) -> String {
        let pick =
            |&chance| selection.pick(all, now, chance).map_or("-".into(), |instance| instance.id.clone());
        chances.iter().map(pick).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_strategy_chooses_as_it_says() {
        let (all, now) = (instances(&["a", "b", "c"]), Instant::now());
        let chances = [4, 2, 0, 0];
        let told =
            |strategy| picks(&mut Selection::new(strategy, DownPolicy::default()), &all, now, &chances);
        assert_eq!(told(Strategy::RoundRobin), "a b c a");
        assert_eq!(told(Strategy::Random), "b c a a");
        assert_eq!(told(Strategy::Sticky), "b b b b");
    }

    #[test]
    fn a_sticky_choice_is_made_anew_only_when_it_is_gone() {
        let now = Instant::now();
        let mut selection = Selection::new(Strategy::Sticky, DownPolicy::default());
        assert_eq!(picks(&mut selection, &instances(&["a", "b"]), now, &[1]), "b");
        assert_eq!(picks(&mut selection, &instances(&["0", "a", "b"]), now, &[0]), "b");
        assert_eq!(picks(&mut selection, &instances(&["0", "a"]), now, &[1]), "a");
        assert_eq!(picks(&mut selection, &instances(&["0", "a", "b"]), now, &[0]), "a");
        assert_eq!(picks(&mut selection, &[], now, &[0]), "-");
    }

    #[test]
    fn who_fails_often_enough_is_left_out_until_the_time_is_over() {
        let (all, start) = (instances(&["a", "b"]), Instant::now());
        let policy = DownPolicy { failures: 2, within: Duration::from_secs(10) };
        let mut selection = Selection::new(Strategy::RoundRobin, policy);
        let at = |seconds| start + Duration::from_secs(seconds);
        selection.on_failure(&all[0], at(0));
        assert_eq!(selection.available(&all, at(9)).len(), 2, "once is not enough");
        selection.on_failure(&all[0], at(9));
        assert_eq!(picks(&mut selection, &all, at(9), &[0, 0, 0]), "b b b");
        assert_eq!(selection.available(&all, at(10)).len(), 2, "the time began with the first failure");
        selection.on_failure(&all[0], at(11));
        assert_eq!(
            selection.available(&all, at(11)).len(),
            2,
            "and failures of an earlier time do not count"
        );
        selection.on_failure(&all[0], at(12));
        assert_eq!(selection.available(&all, at(12)).len(), 1, "but those of a later time do");
        selection.on_failure(&all[1], at(30));
        assert_eq!(selection.failures.len(), 1, "what is too old is forgotten");
    }

    #[test]
    fn who_registers_again_is_not_down_any_more() {
        let (mut all, now) = (instances(&["a"]), Instant::now());
        let policy = DownPolicy { failures: 0, ..DownPolicy::default() };
        let mut selection = Selection::new(Strategy::Random, policy);
        selection.on_failure(&all[0], now);
        assert_eq!(picks(&mut selection, &all, now, &[0]), "-");
        all[0] = Arc::new(Instance { registration_time_utc: 1, ..Instance::clone(&all[0]) });
        assert_eq!(picks(&mut selection, &all, now, &[0]), "a");
    }

    #[test]
    fn who_is_not_enabled_is_never_chosen() {
        let mut all = instances(&["a", "b"]);
        all[0] = Arc::new(Instance::clone(&all[0]).enabled(false));
        let mut selection = Selection::new(Strategy::RoundRobin, DownPolicy::default());
        assert_eq!(picks(&mut selection, &all, Instant::now(), &[0, 0]), "b b");
    }
}
