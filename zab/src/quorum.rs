//! Who has a say, and which sets of them decide (`QuorumMaj`, `QuorumHierarchical`, `SyncedLearnerTracker`).
//!
//! An [`Electorate`] numbers the voters of the memberships in force, so that a set of them is one word and a decision
//! is a mask and a count: that is what every commit costs.

use protocol::ServerId;
use protocol::peer::{MemberRole, Membership};

/// How many voters an electorate can have, those of the committed membership and of a newer one together: as many as
/// a [`VoterSet`] has bits. Ensembles have 3 to 9; more voters make every write slower.
pub const VOTERS_MAX: usize = 64;

/// A set of voters, as bits over the voters of the [`Electorate`] that filled it. It means nothing to another one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct VoterSet(u64);

impl VoterSet {
    /// How many there are.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether there is nobody.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether everybody in here is in `other` too.
    pub fn is_subset_of(self, other: VoterSet) -> bool {
        self.0 & !other.0 == 0
    }
}

/// Why a membership cannot decide anything.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum QuorumError {
    /// More than [`VOTERS_MAX`].
    #[error("{count} servers vote, at most {VOTERS_MAX} can")]
    TooManyVoters {
        /// How many there are in all memberships in force.
        count: usize,
    },
    /// There are groups or weights, but this voter is in none (`Server … is not in a group`).
    #[error("server {server} votes, but is in no group")]
    NotInGroup {
        /// The voter.
        server: ServerId,
    },
    /// A server is named twice by groups (`Server … is in multiple groups`).
    #[error("server {server} is in more than one group")]
    InSeveralGroups {
        /// The server.
        server: ServerId,
    },
    /// The weights of a group do not add up to a number that fits.
    #[error("the weights of group {group} add up to more than 64 bits hold")]
    WeightTooLarge {
        /// The group.
        group: i64,
    },
}

/// The voters of the committed membership and, while a newer one has been seen, of that too, and of the one before while
/// those are to hear that it is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Electorate {
    /// Ascending; the position is the bit.
    voters: Vec<ServerId>,
    committed: Rule,
    /// The newer membership's, while there is one.
    newer: Option<Rule>,
    /// That of the membership before, while it has a say.
    former: Option<Rule>,
}

impl Electorate {
    /// The electorate of the committed membership, joined by `last_seen` if that has a greater version.
    ///
    /// A membership without voters is accepted; nothing is ever decided in it.
    ///
    /// # Errors
    ///
    /// If there are too many voters, or the groups or weights make no sense.
    pub fn new(committed: &Membership, last_seen: Option<&Membership>) -> Result<Electorate, QuorumError> {
        Electorate::with_former(committed, last_seen, None)
    }

    /// The same, joined by the membership before the committed one.
    ///
    /// # Errors
    ///
    /// As [`Electorate::new`].
    pub fn with_former(
        committed: &Membership,
        last_seen: Option<&Membership>,
        former: Option<&Membership>,
    ) -> Result<Electorate, QuorumError> {
        let newer = last_seen.filter(|membership| membership.version > committed.version);
        let others = newer.into_iter().chain(former);
        let mut voters: Vec<ServerId> = voters_of(committed).chain(others.flat_map(voters_of)).collect();
        voters.sort_unstable();
        voters.dedup();
        if voters.len() > VOTERS_MAX {
            return Err(QuorumError::TooManyVoters { count: voters.len() });
        }
        let committed = Rule::new(committed, &voters)?;
        let newer = newer.map(|membership| Rule::new(membership, &voters)).transpose()?;
        let former = former.map(|membership| Rule::new(membership, &voters)).transpose()?;
        Ok(Electorate { voters, committed, newer, former })
    }

    /// Whether the server votes in any of the memberships.
    pub fn is_voter(&self, server: ServerId) -> bool {
        self.bit(server).is_some()
    }

    /// Whether the server votes in the committed membership.
    pub fn is_committed_voter(&self, server: ServerId) -> bool {
        self.bit(server).is_some_and(|bit| self.committed.voters() & bit != 0)
    }

    /// The voters of all the memberships, ascending.
    pub fn voters(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.voters.iter().copied()
    }

    /// What the server's vote weighs in the committed membership, or in the newer one if it votes only there: 1 under
    /// plain majorities, 0 for who is no voter. A server of weight 0 cannot lead.
    pub fn weight(&self, server: ServerId) -> u64 {
        let weight = |bit: u64| {
            let rules = [Some(&self.committed), self.newer.as_ref()];
            rules.into_iter().flatten().find(|rule| rule.voters() & bit != 0).map(|rule| rule.weight(bit))
        };
        self.bit(server).and_then(weight).unwrap_or(0)
    }

    /// Adds a server to a set; `false`, and nothing happens, if it is no voter.
    pub fn insert(&self, set: &mut VoterSet, server: ServerId) -> bool {
        let bit = self.bit(server);
        set.0 |= bit.unwrap_or(0);
        bit.is_some()
    }

    /// Takes a server out of a set.
    pub fn remove(&self, set: &mut VoterSet, server: ServerId) {
        set.0 &= !self.bit(server).unwrap_or(0);
    }

    /// Whether a server is in a set.
    pub fn contains(&self, set: VoterSet, server: ServerId) -> bool {
        self.bit(server).is_some_and(|bit| set.0 & bit != 0)
    }

    /// Whether the set is a quorum of the committed membership and, while there is a newer one, of that too: what an
    /// election, an epoch, a NEWLEADER and a proposal need.
    pub fn decides(&self, set: VoterSet) -> bool {
        self.committed.decides(set) && self.newer.as_ref().is_none_or(|rule| rule.decides(set))
    }

    /// Whether the set is a quorum of the committed membership: what everything needs that was
    /// decided before the newer one was proposed, or by those who do not have it.
    pub fn decides_committed(&self, set: VoterSet) -> bool {
        self.committed.decides(set)
    }

    /// Whether the set is a quorum of the membership before, if that has a say.
    pub fn decides_former(&self, set: VoterSet) -> bool {
        self.former.as_ref().is_none_or(|rule| rule.decides(set))
    }

    /// The same servers as in a set of another electorate, apart from those that have no vote here.
    pub fn carry_over(&self, set: VoterSet, from: &Electorate) -> VoterSet {
        let mut carried = VoterSet::default();
        for server in from.voters().filter(|&server| from.contains(set, server)) {
            self.insert(&mut carried, server);
        }
        carried
    }

    /// Everybody.
    pub fn all(&self) -> VoterSet {
        VoterSet(low_bits(self.voters.len()))
    }

    fn bit(&self, server: ServerId) -> Option<u64> {
        bit_among(&self.voters, server)
    }
}

/// Which sets of one membership's voters decide.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Rule {
    /// More than half of them.
    Majority { voters: u64, needed: u32 },
    /// More than half of the groups, each by more than half of its weight.
    Groups { voters: u64, groups: Vec<Group>, needed: usize },
}

/// The voters of one group, as bits, and what each weighs. Never one of total weight 0: those do not count.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Group {
    weights: Vec<(u64, u64)>,
    /// More than this decides.
    half: u64,
}

impl Rule {
    fn new(membership: &Membership, all: &[ServerId]) -> Result<Rule, QuorumError> {
        let voters = bits(all, voters_of(membership));
        if membership.groups.is_empty() && membership.weights.is_empty() {
            return Ok(Rule::Majority { voters, needed: voters.count_ones() / 2 + 1 });
        }
        check_groups(membership)?;
        let mut groups = Vec::new();
        for (&group, servers) in &membership.groups {
            groups.extend(Group::new(membership, group, servers, all)?);
        }
        let needed = groups.len() / 2 + 1;
        Ok(Rule::Groups { voters, groups, needed })
    }

    fn voters(&self) -> u64 {
        match self {
            Rule::Majority { voters, .. } | Rule::Groups { voters, .. } => *voters,
        }
    }

    fn weight(&self, bit: u64) -> u64 {
        match self {
            Rule::Majority { .. } => 1,
            Rule::Groups { groups, .. } => {
                let mut weights = groups.iter().flat_map(|group| &group.weights);
                weights.find(|(server, _)| *server == bit).map_or(0, |(_, weight)| *weight)
            }
        }
    }

    fn decides(&self, set: VoterSet) -> bool {
        match self {
            Rule::Majority { voters, needed } => (set.0 & voters).count_ones() >= *needed,
            Rule::Groups { groups, needed, .. } => {
                groups.iter().filter(|group| group.decides(set)).count() >= *needed
            }
        }
    }
}

impl Group {
    /// `None` for a group without weight.
    fn new(
        membership: &Membership,
        group: i64,
        servers: &[ServerId],
        all: &[ServerId],
    ) -> Result<Option<Group>, QuorumError> {
        let (mut weights, mut total) = (Vec::new(), 0_u64);
        for &server in servers {
            let votes = votes_in(membership, server);
            // A weight that was given to a server which does not vote counts in the total, as it does in Java: a
            // mixed ensemble must agree on what decides.
            let default = u64::from(votes);
            let weight = membership.weights.get(&server).copied().unwrap_or(default);
            total = total.checked_add(weight).ok_or(QuorumError::WeightTooLarge { group })?;
            if let Some(bit) = bit_among(all, server).filter(|_| votes) {
                weights.push((bit, weight));
            }
        }
        Ok((total > 0).then_some(Group { weights, half: total / 2 }))
    }

    fn decides(&self, set: VoterSet) -> bool {
        // The sum cannot overflow: the whole group's was checked.
        let present = self.weights.iter().filter(|(bit, _)| set.0 & bit != 0);
        present.map(|(_, weight)| weight).sum::<u64>() > self.half
    }
}

/// Every voter in exactly one group.
fn check_groups(membership: &Membership) -> Result<(), QuorumError> {
    let mut grouped: Vec<ServerId> = membership.groups.values().flatten().copied().collect();
    grouped.sort_unstable();
    if let Some(pair) = grouped.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(QuorumError::InSeveralGroups { server: pair[0] });
    }
    let missing = voters_of(membership).find(|server| grouped.binary_search(server).is_err());
    missing.map_or(Ok(()), |server| Err(QuorumError::NotInGroup { server }))
}

fn voters_of(membership: &Membership) -> impl Iterator<Item = ServerId> + '_ {
    membership.members.iter().filter(|(_, member)| member.role == MemberRole::Participant).map(|(id, _)| *id)
}

fn votes_in(membership: &Membership, server: ServerId) -> bool {
    membership.members.get(&server).is_some_and(|member| member.role == MemberRole::Participant)
}

fn bit_among(all: &[ServerId], server: ServerId) -> Option<u64> {
    all.binary_search(&server).ok().map(|at| 1 << at)
}

fn bits(all: &[ServerId], servers: impl Iterator<Item = ServerId>) -> u64 {
    servers.filter_map(|server| bit_among(all, server)).fold(0, |set, bit| set | bit)
}

fn low_bits(count: usize) -> u64 {
    // Shifting by 64 is not shifting by 0.
    u64::MAX.checked_shr(VOTERS_MAX as u32 - count as u32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::peer::Member;

    fn id(number: i64) -> ServerId {
        ServerId::new(number)
    }

    fn membership(version: i64, voters: &[i64], observers: &[i64]) -> Membership {
        let member = |role| Member { addresses: Vec::new(), role, client: None, secure_client: None };
        let voters = voters.iter().map(|&server| (id(server), member(MemberRole::Participant)));
        let observers = observers.iter().map(|&server| (id(server), member(MemberRole::Observer)));
        Membership { version, members: voters.chain(observers).collect(), ..Membership::default() }
    }

    fn grouped(groups: &[(i64, &[i64])], weights: &[(i64, u64)]) -> Membership {
        let voters: Vec<i64> = groups.iter().flat_map(|(_, servers)| servers.iter().copied()).collect();
        let mut membership = membership(0, &voters, &[]);
        for (group, servers) in groups {
            membership.groups.insert(*group, servers.iter().map(|&server| id(server)).collect());
        }
        membership.weights = weights.iter().map(|&(server, weight)| (id(server), weight)).collect();
        membership
    }

    fn set(electorate: &Electorate, servers: &[i64]) -> VoterSet {
        let mut set = VoterSet::default();
        for &server in servers {
            electorate.insert(&mut set, id(server));
        }
        set
    }

    #[track_caller]
    fn check(electorate: &Electorate, decides: bool, servers: &[i64]) {
        assert_eq!(electorate.decides(set(electorate, servers)), decides, "{servers:?}");
    }

    #[test]
    fn majority_is_more_than_half_of_the_voters() {
        for (voters, needed) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (64, 33)] {
            let everybody: Vec<i64> = (1..=voters).collect();
            let electorate = Electorate::new(&membership(0, &everybody, &[99]), None).unwrap();
            check(&electorate, true, &everybody[..needed]);
            check(&electorate, false, &everybody[..needed - 1]);
            assert_eq!(electorate.all(), set(&electorate, &everybody));
        }
    }

    #[test]
    fn nobody_but_voters_gets_into_a_set() {
        let electorate = Electorate::new(&membership(0, &[1, 2, 3], &[4]), None).unwrap();
        let mut some = VoterSet::default();
        assert!(
            !electorate.insert(&mut some, id(4)) && !electorate.insert(&mut some, id(77)) && some.is_empty()
        );
        assert!(electorate.insert(&mut some, id(2)) && electorate.contains(some, id(2)) && some.len() == 1);
        assert!(!electorate.contains(some, id(4)) && !electorate.contains(some, id(1)));
        assert!(some.is_subset_of(electorate.all()) && !electorate.all().is_subset_of(some));
        electorate.remove(&mut some, id(2));
        assert!(some.is_empty());
        assert_eq!((electorate.weight(id(1)), electorate.weight(id(4))), (1, 0));
    }

    #[test]
    fn a_newer_membership_must_agree_too() {
        let old = membership(0x10, &[1, 2, 3], &[]);
        let new = membership(0x20, &[3, 4, 5], &[1]);
        let electorate = Electorate::new(&old, Some(&new)).unwrap();
        assert_eq!(electorate.voters().map(ServerId::get).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        check(&electorate, false, &[1, 2]);
        check(&electorate, false, &[4, 5]);
        check(&electorate, true, &[2, 3, 4]);
        assert!(electorate.decides_committed(set(&electorate, &[1, 2])));
        assert!(electorate.is_voter(id(4)) && !electorate.is_committed_voter(id(4)));
        assert!(electorate.is_committed_voter(id(1)));
    }

    #[test]
    fn a_membership_that_is_not_newer_does_not_count() {
        let (old, same) = (membership(0x10, &[1, 2, 3], &[]), membership(0x10, &[4], &[]));
        let electorate = Electorate::new(&old, Some(&same)).unwrap();
        check(&electorate, true, &[1, 2]);
        assert!(!electorate.is_voter(id(4)));
    }

    #[test]
    fn groups_decide_by_majority_of_groups_each_by_majority_of_weight() {
        let membership = grouped(&[(1, &[1, 2, 3]), (2, &[4, 5, 6]), (3, &[7, 8, 9])], &[]);
        let electorate = Electorate::new(&membership, None).unwrap();
        check(&electorate, true, &[1, 2, 4, 5]);
        check(&electorate, false, &[1, 2, 3, 4, 7]);
        check(&electorate, false, &[1, 2, 3]);
    }

    #[test]
    fn weights_count_within_their_group() {
        let membership = grouped(&[(1, &[1, 2, 3])], &[(1, 3), (2, 1), (3, 1)]);
        let electorate = Electorate::new(&membership, None).unwrap();
        check(&electorate, true, &[1]);
        check(&electorate, false, &[2, 3]);
        assert_eq!((electorate.weight(id(1)), electorate.weight(id(3))), (3, 1));
    }

    #[test]
    fn a_group_of_weight_zero_does_not_count() {
        let membership = grouped(&[(1, &[1, 2, 3]), (2, &[4, 5])], &[(4, 0), (5, 0), (1, 1), (2, 1), (3, 1)]);
        let electorate = Electorate::new(&membership, None).unwrap();
        check(&electorate, true, &[1, 2]);
        check(&electorate, false, &[1, 4, 5]);
        assert_eq!(electorate.weight(id(4)), 0);
        assert!(electorate.is_voter(id(4)));

        let nobody = grouped(&[(1, &[1, 2])], &[(1, 0), (2, 0)]);
        check(&Electorate::new(&nobody, None).unwrap(), false, &[1, 2]);
    }

    #[test]
    fn a_weight_of_an_observer_in_a_group_only_raises_the_bar() {
        let mut membership = grouped(&[(1, &[1, 2, 3])], &[(3, 5)]);
        membership.members.get_mut(&id(3)).unwrap().role = MemberRole::Observer;
        let electorate = Electorate::new(&membership, None).unwrap();
        check(&electorate, false, &[1, 2, 3]);
        membership.weights.clear();
        check(&Electorate::new(&membership, None).unwrap(), true, &[1, 2]);
    }

    #[test]
    fn memberships_that_make_no_sense_are_refused() {
        let many: Vec<i64> = (0..65).collect();
        let refused = |membership: &Membership| Electorate::new(membership, None).unwrap_err();
        assert_eq!(refused(&membership(0, &many, &[])), QuorumError::TooManyVoters { count: 65 });

        let mut twice = grouped(&[(1, &[1, 2]), (2, &[3])], &[]);
        twice.groups.insert(3, vec![id(2)]);
        assert_eq!(refused(&twice), QuorumError::InSeveralGroups { server: id(2) });

        let mut nowhere = grouped(&[(1, &[1, 2])], &[]);
        nowhere.groups.insert(1, vec![id(1)]);
        assert_eq!(refused(&nowhere), QuorumError::NotInGroup { server: id(2) });
        nowhere.groups.clear();
        nowhere.weights.insert(id(1), 1);
        assert_eq!(refused(&nowhere), QuorumError::NotInGroup { server: id(1) });

        let heavy = grouped(&[(7, &[1, 2])], &[(1, u64::MAX), (2, 1)]);
        assert_eq!(refused(&heavy), QuorumError::WeightTooLarge { group: 7 });
    }

    #[test]
    fn a_membership_without_voters_decides_nothing() {
        let electorate = Electorate::new(&membership(0, &[], &[1]), None).unwrap();
        assert!(!electorate.decides(electorate.all()) && electorate.all().is_empty());
    }
}
