//! Which follower an observer learns from (`QuorumPeer.findLearnerMaster`).

use std::hash::{BuildHasher, RandomState};

use protocol::ServerId;
use protocol::peer::Membership;
use zab::leaders_turn;

/// An observer's choice among those that may serve it.
#[derive(Debug)]
pub struct ObserverMasters {
    port: u16,
    /// Puts the voters into an order that is another for every observer, so that their load is shared.
    order: RandomState,
    /// The last one that was tried.
    last: Option<ServerId>,
}

impl ObserverMasters {
    /// Followers serve observers at this port.
    pub fn new(port: u16) -> ObserverMasters {
        ObserverMasters { port, order: RandomState::new(), last: None }
    }

    /// The next voter to try, and where: each in its turn. `None` for the leader, which serves nobody at that port but
    /// everybody at its own: every second turn is its when the others were tried in vain for long. They may not serve
    /// observers, or not before the leader has a quorum that this server is needed for, as one that is to vote.
    pub fn next(
        &mut self,
        membership: &Membership,
        leader: ServerId,
        failed_before: u32,
    ) -> Option<(ServerId, Vec<(String, u16)>)> {
        if leaders_turn(failed_before) {
            return None;
        }
        let place = |server: ServerId| (self.order.hash_one(server), server);
        let voters = membership.voters().filter(|&server| server != leader);
        let last = self.last.map(place);
        // Those behind the last one come first.
        let chosen = voters.min_by_key(|&voter| (Some(place(voter)) <= last, place(voter)))?;
        self.last = Some(chosen);
        let addresses = membership.member(chosen).map_or(&[][..], |member| &member.addresses);
        Some((chosen, addresses.iter().map(|address| (address.host.clone(), self.port)).collect()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn chosen(masters: &mut ObserverMasters, text: &str, leader: i64, times: usize) -> Vec<i64> {
        let membership = Membership::parse(text).unwrap();
        let leader = ServerId::new(leader);
        (0..times).filter_map(|_| Some(masters.next(&membership, leader, 0)?.0.get())).collect()
    }

    const FIVE: &str = "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\nserver.4=d:1:2\nserver.5=e:1:2\n\
                        server.6=f:1:2:observer";

    #[test]
    fn every_voter_but_the_leader_has_its_turn_and_nobody_else() {
        let mut masters = ObserverMasters::new(2191);
        let tried = chosen(&mut masters, FIVE, 2, 12);
        assert_eq!(tried[..4], tried[4..8], "the order stays");
        assert_eq!(tried[..4], tried[8..]);
        assert_eq!(tried[..4].iter().copied().collect::<BTreeSet<_>>(), [1, 3, 4, 5].into());
        // Whoever has become the leader is left out, and the rest go on.
        let tried = chosen(&mut masters, FIVE, 5, 8);
        assert_eq!(tried[..4].iter().copied().collect::<BTreeSet<_>>(), [1, 2, 3, 4].into());
    }

    #[test]
    fn observers_do_not_all_go_to_the_same_voter() {
        let first = |_| chosen(&mut ObserverMasters::new(2191), FIVE, 2, 1)[0];
        let firsts: BTreeSet<i64> = (0..200).map(first).collect();
        assert_eq!(firsts, [1, 3, 4, 5].into());
    }

    #[test]
    fn a_voter_is_dialed_at_all_its_hosts_and_the_common_port() {
        let membership = Membership::parse("server.1=a:1:2|b:3:4\nserver.2=c:1:2").unwrap();
        let (master, addresses) = ObserverMasters::new(2191).next(&membership, ServerId::new(2), 0).unwrap();
        assert_eq!(master, ServerId::new(1));
        assert_eq!(addresses, [("a".to_owned(), 2191), ("b".to_owned(), 2191)]);
    }

    #[test]
    fn the_leaders_turn_comes_when_all_others_were_tried_in_vain() {
        let membership = Membership::parse(FIVE).unwrap();
        let mut masters = ObserverMasters::new(2191);
        let mut goes_to_the_leader =
            |failed_before| masters.next(&membership, ServerId::new(2), failed_before).is_none();
        assert!((0..16).all(|failed_before| !goes_to_the_leader(failed_before)));
        assert_eq!([16, 17, 18, 19].map(goes_to_the_leader), [true, false, true, false]);
    }

    #[test]
    fn where_the_leader_is_the_only_voter_nobody_else_serves() {
        let alone = "server.1=a:1:2\nserver.2=b:1:2:observer";
        assert_eq!(chosen(&mut ObserverMasters::new(2191), alone, 1, 1), []);
    }
}
