//! Whether the parts of a membership fit together.

use std::collections::BTreeMap;

use crate::ServerId;

use super::error::{MembershipError, MembershipProblem};
use super::{MemberRole, Membership};

impl Membership {
    /// Checks that somebody votes, that every address is whole, and that groups and weights can decide: every
    /// participant in exactly one group, weights for members only, one weight above 0 in a group. [`Membership::parse`]
    /// has checked this already; a membership that was put together otherwise is checked here before it is used.
    ///
    /// # Errors
    /// The first problem found; no line is named.
    pub fn check(&self) -> Result<(), MembershipError> {
        let problem = match self.first_problem() {
            Ok(()) => return Ok(()),
            Err(problem) => problem,
        };
        Err(MembershipError { line: None, problem })
    }

    pub(super) fn first_problem(&self) -> Result<(), MembershipProblem> {
        if self.version < 0 {
            return Err(MembershipProblem::NegativeVersion { version: self.version });
        }
        for (&server, member) in &self.members {
            if server.get() < 0 {
                return Err(MembershipProblem::NegativeServer { server });
            }
            member.check().map_err(|error| MembershipProblem::Member { server, error })?;
        }
        if self.voters().next().is_none() {
            return Err(MembershipProblem::NoVoter);
        }
        self.check_groups()?;
        self.check_weights()
    }

    fn check_groups(&self) -> Result<(), MembershipProblem> {
        let mut group_of: BTreeMap<ServerId, i64> = BTreeMap::new();
        for (&group, servers) in &self.groups {
            for &server in servers {
                match self.role_of(server) {
                    None => return Err(MembershipProblem::StrangerInGroup { group, server }),
                    Some(MemberRole::Observer) => {
                        return Err(MembershipProblem::ObserverInGroup { group, server });
                    }
                    Some(MemberRole::Participant) => {}
                }
                if let Some(other) = group_of.insert(server, group) {
                    return Err(MembershipProblem::InTwoGroups { group, server, other });
                }
            }
        }
        // As in Java, weights alone ask for groups too.
        let grouped = self.is_hierarchical() || !self.weights.is_empty();
        match self.voters().find(|server| grouped && !group_of.contains_key(server)) {
            Some(server) => Err(MembershipProblem::InNoGroup { server }),
            None => Ok(()),
        }
    }

    fn check_weights(&self) -> Result<(), MembershipProblem> {
        if let Some(&server) = self.weights.keys().find(|server| !self.members.contains_key(server)) {
            return Err(MembershipProblem::StrangerWithWeight { server });
        }
        // Java adds up signed numbers, observers' weights are only printed.
        let mut total = 0u64;
        for weight in self.voters().map(|server| self.weight_of(server)) {
            total = total.checked_add(weight).ok_or(MembershipProblem::WeightSum)?;
        }
        let single = self.weights.values().copied().max().unwrap_or(0);
        match total {
            0 => Err(MembershipProblem::NoWeight),
            total if total.max(single) > i64::MAX as u64 => Err(MembershipProblem::WeightSum),
            _ => Ok(()),
        }
    }
}
