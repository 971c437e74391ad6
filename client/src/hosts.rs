//! Which server next.

use crate::connect_string::Host;
use crate::rng::Rng;

/// The servers in the order in which they are tried: shuffled once, then in a circle.
///
/// Pure: randomness comes in as an argument.
#[derive(Debug)]
pub struct Hosts {
    list: Vec<Host>,
    next: usize,
    current: Option<Host>,
    failures: usize,
}

impl Hosts {
    /// The servers of a connect string, shuffled, so that clients spread over them.
    pub fn new(mut list: Vec<Host>, rng: &mut Rng) -> Hosts {
        rng.shuffle(&mut list);
        Hosts { list, next: 0, current: None, failures: 0 }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// The server that is connected, or was tried last.
    pub fn current(&self) -> Option<&Host> {
        self.current.as_ref()
    }

    /// Moves on to the next server.
    pub fn advance(&mut self) -> Host {
        let host = self.list[self.next].clone();
        self.next = (self.next + 1) % self.list.len();
        self.current = Some(host.clone());
        host
    }

    /// A server other than the connected one, for asking whether it can write. Moves on, so that all are asked in
    /// turn. `None` if there is no other.
    pub fn another(&mut self) -> Option<Host> {
        for _ in 0..self.list.len() {
            let host = self.list[self.next].clone();
            self.next = (self.next + 1) % self.list.len();
            if self.current.as_ref() != Some(&host) {
                return Some(host);
            }
        }
        None
    }

    /// Makes a server the next one to be tried.
    pub fn prefer(&mut self, host: &Host) {
        if let Some(at) = self.list.iter().position(|candidate| candidate == host) {
            self.next = at;
        }
    }

    /// The current server took the client.
    pub fn on_accepted(&mut self) {
        self.failures = 0;
    }

    /// The current server did not.
    pub fn on_failure(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// How long to wait before the next attempt. The first one after a loss is made at once; the rest of the first
    /// round a random moment apart, so that the clients of a server that died do not all knock at the same time;
    /// then the pauses double up to `most_ms`, each a random part between half and the whole.
    pub fn pause_ms(&self, most_ms: u64, rng: &mut Rng) -> u64 {
        if self.failures == 0 {
            return 0;
        }
        let rounds = (self.failures / self.list.len()).min(16) as u32;
        match rounds {
            0 => rng.below(101).min(most_ms),
            _ => {
                let whole = (50u64 << rounds).min(most_ms).max(1);
                whole / 2 + rng.below(whole / 2 + 1)
            }
        }
    }

    /// Takes over a new list, and says whether the client should leave its server so that the load is even again,
    /// as Java's `StaticHostProvider.updateServerList` does: of the clients on servers that stay, as many leave as
    /// the added servers should get, and no more.
    pub fn update(&mut self, list: Vec<Host>, rng: &mut Rng) -> bool {
        let (mut staying, mut added): (Vec<Host>, Vec<Host>) =
            list.into_iter().partition(|host| self.list.contains(host));
        let (stay, add, before) = (staying.len() as u64, added.len() as u64, self.list.len() as u64);
        let mine_stays = self.current.as_ref().is_some_and(|mine| staying.contains(mine));
        let grows = stay + add > before;
        let moves = match (mine_stays, grows) {
            (true, true) => rng.below(stay + add) >= before,
            (mine_stays, _) => !mine_stays,
        };
        // Of those who leave, a part goes to servers that were there before only if these have fewer clients than
        // their share.
        let to_staying = moves
            && !grows
            && add > 0
            && before > stay
            && rng.below((stay + add) * (before - stay)) < stay * (before - (stay + add));
        rng.shuffle(&mut staying);
        rng.shuffle(&mut added);
        let to_staying = to_staying || added.is_empty();
        self.list = match to_staying {
            true => staying.into_iter().chain(added).collect(),
            false => added.into_iter().chain(staying).collect(),
        };
        if !moves && let Some(at) = self.list.iter().position(|host| Some(host) == self.current.as_ref()) {
            // Should it be lost, the others come first.
            let mine = self.list.remove(at);
            self.list.push(mine);
        }
        self.next = 0;
        self.failures = 0;
        moves
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(names: &str) -> Vec<Host> {
        names.chars().map(|name| Host { name: name.into(), port: 1 }).collect()
    }

    /// Plays an update with many clients that are spread evenly, and counts where they are then.
    fn spread(before: &str, after: &str) -> Vec<(char, usize)> {
        let clients = 12_000;
        let mut counts: Vec<(char, usize)> = after.chars().map(|name| (name, 0)).collect();
        for client in 0..clients {
            let mut rng = Rng::new(client as u64);
            let mut list = Hosts::new(hosts(before), &mut rng);
            let name = before.as_bytes()[client % before.len()] as char;
            list.prefer(&hosts(&name.to_string())[0]);
            let mut mine = list.advance();
            if list.update(hosts(after), &mut rng) {
                mine = list.advance();
            }
            let slot = counts.iter_mut().find(|(host, _)| mine.name.starts_with(*host));
            slot.expect("the client is on a server of the new list").1 += 1;
        }
        counts
    }

    #[test]
    fn load_is_even_after_every_change_of_the_list() {
        for (before, after) in
            [("abc", "abcd"), ("abcd", "abc"), ("abc", "abd"), ("abc", "abcdef"), ("ab", "cd")]
        {
            let counts = spread(before, after);
            let fair = 12_000 / after.len();
            for (host, count) in &counts {
                assert!(
                    (fair * 9 / 10..=fair * 11 / 10).contains(count),
                    "{before} to {after}: {host} has {count}, fair is {fair}"
                );
            }
        }
    }

    #[test]
    fn a_list_that_only_shrinks_moves_nobody_whose_server_stays() {
        let mut rng = Rng::new(1);
        let mut list = Hosts::new(hosts("abc"), &mut rng);
        list.prefer(&hosts("a")[0]);
        list.advance();
        assert!(!list.update(hosts("ab"), &mut rng));
        assert_eq!(list.advance(), hosts("b")[0], "the other server comes first when this one is lost");
    }

    #[test]
    fn pauses_grow_from_nothing_to_the_most_and_differ() {
        let mut rng = Rng::new(7);
        let mut list = Hosts::new(hosts("ab"), &mut rng);
        assert_eq!(list.pause_ms(1_000, &mut rng), 0);
        list.on_failure();
        assert!(list.pause_ms(1_000, &mut rng) <= 100);
        for _ in 0..40 {
            list.on_failure();
        }
        let pauses: Vec<u64> = (0..20).map(|_| list.pause_ms(1_000, &mut rng)).collect();
        assert!(pauses.iter().all(|pause| (500..=1_000).contains(pause)));
        assert!(pauses.iter().any(|pause| pause != &pauses[0]));
        list.on_accepted();
        assert_eq!(list.pause_ms(1_000, &mut rng), 0);
    }

    #[test]
    fn every_server_is_tried_before_one_is_tried_again() {
        let mut rng = Rng::new(3);
        let mut list = Hosts::new(hosts("abcd"), &mut rng);
        let mut first: Vec<Host> = (0..4).map(|_| list.advance()).collect();
        first.sort();
        assert_eq!(first, hosts("abcd"));
    }

    #[test]
    fn another_server_is_never_the_connected_one() {
        let mut rng = Rng::new(3);
        let mut list = Hosts::new(hosts("ab"), &mut rng);
        let mine = list.advance();
        for _ in 0..4 {
            assert_ne!(list.another(), Some(mine.clone()));
        }
        let mut alone = Hosts::new(hosts("a"), &mut rng);
        alone.advance();
        assert_eq!(alone.another(), None);
    }
}
