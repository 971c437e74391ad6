//! Why a text is no membership, in words that say what to do.

use crate::ServerId;

/// What is wrong with the value of one `server.N` line.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MemberError {
    /// Not the form of an address.
    #[error(
        "`{part}` is no server address: write host:port:port, host:port:port:participant or host:port:port:observer, \
         several of them separated by |, then ;port or ;host:port if clients have a port there"
    )]
    Address {
        /// The beginning of what is no address.
        part: String,
    },
    /// Not the form of a client address.
    #[error("`{part}` is no client address: write ;port or ;host:port, and ;;port if it is for TLS alone")]
    Client {
        /// The beginning of what is no address.
        part: String,
    },
    /// More than two client addresses.
    #[error("it has more than two client addresses: keep ;host:port and, for TLS, a second ;host:port")]
    TooManyClients,
    /// A host that can be none.
    #[error(
        "`{host}` is no host: write a DNS name in ASCII, an IPv4 address or an IPv6 address in square brackets"
    )]
    Host {
        /// The beginning of what is no host.
        host: String,
    },
    /// A port that can be none.
    #[error("`{port}` is no port: write a number from 0 to 65535")]
    Port {
        /// The beginning of what is no port.
        port: String,
    },
    /// Learners and elections on one port.
    #[error("port {port} is for learners and for elections: choose two ports")]
    SamePort {
        /// The port.
        port: u16,
    },
    /// A role that is none.
    #[error("`{role}` is no role: write participant or observer")]
    Role {
        /// The beginning of what is no role.
        role: String,
    },
    /// Two addresses with two roles.
    #[error("it gives two roles to one server: choose one of them")]
    TwoRoles,
    /// The same place twice.
    #[error("it gives {host}:{port} twice: keep one of them")]
    Repeated {
        /// The host of both.
        host: String,
        /// The port of both.
        port: u16,
    },
    /// No address at all.
    #[error("it has no address: write host:port:port")]
    NoAddress,
}

/// Why a text is no membership.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}{problem}", place(*.line))]
pub struct MembershipError {
    /// The line, from 1. `None` if no single line is to blame.
    pub line: Option<usize>,
    /// What is wrong.
    pub problem: MembershipProblem,
}

/// What is wrong with a membership.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MembershipProblem {
    /// A `\u` that is no character.
    #[error("a \\u without the four hexadecimal digits of a character: write the character itself")]
    Escape,
    /// A key that does not belong there.
    #[error("`{key}` does not describe members: keep only server.N, group.N, weight.N and version")]
    UnknownKey {
        /// The beginning of the key.
        key: String,
    },
    /// A key without its number.
    #[error("`{key}` has no number: write {family}.N, N being a number that is not negative")]
    KeyNumber {
        /// The beginning of the key.
        key: String,
        /// What stands in front of the dot.
        family: &'static str,
    },
    /// A key that stands twice.
    #[error("{key} stands in line {first_line} too: keep one of them")]
    Repeated {
        /// The key, its number in decimal.
        key: String,
        /// Where it stands first.
        first_line: usize,
    },
    /// A server's value is malformed.
    #[error("server.{server}: {error}")]
    Member {
        /// Which server.
        server: ServerId,
        /// What is wrong with it.
        error: MemberError,
    },
    /// A group's value is malformed.
    #[error("group.{group} names `{part}`: write the numbers of its servers separated by colons")]
    Group {
        /// Which group.
        group: i64,
        /// The beginning of what is no number.
        part: String,
    },
    /// A weight is malformed.
    #[error("weight.{server} is `{value}`: write a whole number from 0")]
    Weight {
        /// Whose.
        server: ServerId,
        /// The beginning of what is no weight.
        value: String,
    },
    /// The version is malformed.
    #[error("the version is `{value}`: write up to 16 hexadecimal digits without 0x, the first below 8")]
    Version {
        /// The beginning of what is no version.
        value: String,
    },
    /// A server's number is negative.
    #[error("server.{server} has a negative number: choose one from 0 to 255")]
    NegativeServer {
        /// Which server.
        server: ServerId,
    },
    /// The version is negative.
    #[error("the version {version} is negative: it is the zxid of a reconfiguration, or 0")]
    NegativeVersion {
        /// The version.
        version: i64,
    },
    /// Nobody votes.
    #[error("nobody votes: write server.N=host:port:port:participant for one server at least")]
    NoVoter,
    /// A group names somebody unknown.
    #[error("group.{group} names server {server}, which is no member: add its server line or take it out")]
    StrangerInGroup {
        /// Which group.
        group: i64,
        /// Whom.
        server: ServerId,
    },
    /// A group names somebody without a vote.
    #[error(
        "group.{group} names server {server}, which is an observer: take it out, only participants have groups"
    )]
    ObserverInGroup {
        /// Which group.
        group: i64,
        /// Whom.
        server: ServerId,
    },
    /// A server is in a group twice.
    #[error("group.{group} names server {server}, which is in group.{other} already: keep one of them")]
    InTwoGroups {
        /// Which group.
        group: i64,
        /// Whom.
        server: ServerId,
        /// The group that names it first.
        other: i64,
    },
    /// Groups are used, and a participant is in none.
    #[error("server {server} is in no group: add it to one, or remove all group and weight lines")]
    InNoGroup {
        /// Which server.
        server: ServerId,
    },
    /// A weight for somebody unknown.
    #[error("weight.{server} is for a server that is no member: add its server line or remove the weight")]
    StrangerWithWeight {
        /// Which server.
        server: ServerId,
    },
    /// No set of servers can ever decide.
    #[error("no group has any weight: give one server at least a weight above 0")]
    NoWeight,
    /// The weights do not fit into Java's numbers.
    #[error("the weights are too great to be added up: choose smaller ones")]
    WeightSum,
}

impl MembershipProblem {
    /// The key of the line that is to blame, for problems that show when all lines are read.
    pub(super) fn key(&self) -> Option<String> {
        match self {
            MembershipProblem::Member { server, .. }
            | MembershipProblem::NegativeServer { server }
            | MembershipProblem::InNoGroup { server } => Some(format!("server.{server}")),
            MembershipProblem::Group { group, .. }
            | MembershipProblem::StrangerInGroup { group, .. }
            | MembershipProblem::ObserverInGroup { group, .. }
            | MembershipProblem::InTwoGroups { group, .. } => Some(format!("group.{group}")),
            MembershipProblem::Weight { server, .. } | MembershipProblem::StrangerWithWeight { server } => {
                Some(format!("weight.{server}"))
            }
            _ => None,
        }
    }
}

fn place(line: Option<usize>) -> String {
    line.map(|line| format!("line {line}: ")).unwrap_or_default()
}
