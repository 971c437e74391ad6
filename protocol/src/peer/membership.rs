//! Who is in the ensemble: the text on the wire, in `/zookeeper/config` and in dynamic configuration files
//! (`QuorumMaj`, `QuorumHierarchical`, `QuorumPeer.QuorumServer`).
//!
//! [`Membership::parse`] reads the text and [`Membership`] prints itself as Java does; [`Member`] does the same for
//! the value of one `server.N` line. What was read has been checked: see [`Membership::check`].

use std::collections::BTreeMap;

use crate::ServerId;

mod change;
mod check;
mod error;
mod member;
mod properties;
mod text;

pub use change::ChangeError;
pub use error::{MemberError, MembershipError, MembershipProblem};
pub use text::MembershipLine;

/// Whether a member votes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum MemberRole {
    /// Votes and may lead.
    Participant,
    /// Only learns.
    Observer,
}

/// One pair of ports that other servers connect to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PeerAddress {
    /// Name or address as configured, IPv6 without brackets and in full (as Java prints it).
    pub host: String,
    /// Where learners connect.
    pub quorum_port: u16,
    /// Where elections are held.
    pub election_port: u16,
}

/// Where clients connect.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClientEndpoint {
    /// Name or address as configured, IPv6 without brackets and in full; `0.0.0.0` when the text has only a port.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// One server of the ensemble.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// At least one, sorted; more need `multiAddress.enabled`.
    pub addresses: Vec<PeerAddress>,
    /// Whether it votes.
    pub role: MemberRole,
    /// The client port that stands in the server's own line, if any.
    pub client: Option<ClientEndpoint>,
    /// The TLS client port that stands in the server's own line, if any.
    pub secure_client: Option<ClientEndpoint>,
}

/// All servers and how they decide.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Membership {
    /// The zxid of the reconfiguration that made it; 0 for one that was never reconfigured.
    pub version: i64,
    /// By number: 0 to 255, because session ids carry it in one byte. Java accepts any number, and so does the text;
    /// only negative ones are refused.
    pub members: BTreeMap<ServerId, Member>,
    /// `group.G` lines: which participants belong together. Empty for plain majorities.
    pub groups: BTreeMap<i64, Vec<ServerId>>,
    /// `weight.S` lines; 1 for a participant that has none (and written out in what was parsed). Only used with groups.
    pub weights: BTreeMap<ServerId, u64>,
}

impl Membership {
    /// The member with that number.
    pub fn member(&self, server: ServerId) -> Option<&Member> {
        self.members.get(&server)
    }

    /// Whether that server votes; `None` if it is no member.
    pub fn role_of(&self, server: ServerId) -> Option<MemberRole> {
        self.members.get(&server).map(|member| member.role)
    }

    /// The servers that vote, ascending.
    pub fn voters(&self) -> impl Iterator<Item = ServerId> {
        self.with_role(MemberRole::Participant)
    }

    /// The servers that only learn, ascending.
    pub fn observers(&self) -> impl Iterator<Item = ServerId> {
        self.with_role(MemberRole::Observer)
    }

    /// Whether groups decide (`QuorumHierarchical`) rather than a majority of all voters (`QuorumMaj`).
    pub fn is_hierarchical(&self) -> bool {
        !self.groups.is_empty()
    }

    /// What a voter weighs; 0 for a server that has no vote.
    pub fn weight_of(&self, server: ServerId) -> u64 {
        match self.role_of(server) {
            Some(MemberRole::Participant) if self.is_hierarchical() => {
                self.weights.get(&server).copied().unwrap_or(1)
            }
            Some(MemberRole::Participant) => 1,
            _ => 0,
        }
    }

    fn with_role(&self, role: MemberRole) -> impl Iterator<Item = ServerId> {
        self.members.iter().filter(move |(_, member)| member.role == role).map(|(server, _)| *server)
    }
}
