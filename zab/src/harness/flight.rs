//! What is on its way, and the connections it goes over.

use std::hash::{DefaultHasher, Hash, Hasher};

use protocol::Zxid;
use protocol::peer::{FromLeader, FromLearner, Membership, Notification};

use crate::history::Entry;
use crate::link::LinkId;

/// A connection to a quorum port: the learner, how often it had started, and its own name for the connection.
pub(crate) type ConnectionId = (i64, u64, LinkId);

/// A connection to a quorum port. It is forgotten when both ends are closed.
#[derive(Clone, Hash)]
pub(crate) struct Connection {
    pub(crate) learner: i64,
    pub(crate) learner_link: LinkId,
    pub(crate) learner_open: bool,
    /// Whether it goes to the port where followers serve observers.
    pub(crate) as_observer: bool,
    pub(crate) leader: i64,
    pub(crate) leader_link: LinkId,
    /// Not before the leader has accepted it.
    pub(crate) leader_open: bool,
}

impl Connection {
    pub(super) fn other(&self, id: i64) -> i64 {
        if id == self.learner { self.leader } else { self.learner }
    }

    /// Whether the server's own end is open, and the other one.
    pub(super) fn ends_mut(&mut self, id: i64) -> Option<(&mut bool, &mut bool)> {
        match id {
            id if id == self.learner => Some((&mut self.learner_open, &mut self.leader_open)),
            id if id == self.leader => Some((&mut self.leader_open, &mut self.learner_open)),
            _ => None,
        }
    }
}

/// What can be on its way.
#[derive(Clone, Debug)]
pub(crate) enum Cargo {
    Notification(Notification),
    /// A learner dials.
    Dial,
    ToLeader(FromLearner),
    ToLearner(FromLeader),
    /// SNAP and the tree; the leader has yet to fill it in if `None`.
    Snapshot(Option<Vec<Entry>>),
    /// The end of the stream.
    Closed,
    /// A leader's own log is to be looked into: it has the answer when this arrives.
    LogLook {
        link: LinkId,
        last: Zxid,
        up_to: Zxid,
    },
    /// A leader's own log could not be sent to its end.
    LogFailed {
        link: LinkId,
    },
}

impl Cargo {
    pub(crate) fn is_notification(&self) -> bool {
        matches!(self, Cargo::Notification(_))
    }
}

/// One message on its way. Those from one server to another over one connection arrive in their order.
#[derive(Clone)]
pub(crate) struct Flight {
    pub(crate) from: i64,
    pub(crate) to: i64,
    /// `None` between election ports.
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) cargo: Cargo,
    /// For telling states apart.
    pub(crate) digest: u64,
}

impl Flight {
    pub(crate) fn new(from: i64, to: i64, connection: Option<ConnectionId>, cargo: Cargo) -> Flight {
        let mut hasher = DefaultHasher::new();
        format!("{from} {to} {connection:?} {cargo:?}").hash(&mut hasher);
        Flight { from, to, connection, cargo, digest: hasher.finish() }
    }
}

/// A zxid as `epoch:counter`.
pub(crate) fn at(zxid: Zxid) -> String {
    match zxid.counter() {
        large @ 0x1_0000.. => format!("{}:{large:#x}", zxid.epoch()),
        small => format!("{}:{small}", zxid.epoch()),
    }
}

/// The voters and observers of a membership, and its version.
pub(super) fn members(membership: &Membership) -> String {
    let list = |ids: Vec<String>| ids.join(",");
    let voters = list(membership.voters().map(|id| id.to_string()).collect());
    let observers = list(membership.observers().map(|id| id.to_string()).collect());
    let observers = if observers.is_empty() { observers } else { format!("+{observers}") };
    format!("{voters}{observers}@{}", at(Zxid::from_wire(membership.version)))
}

pub(super) fn from_leader(message: &FromLeader) -> String {
    match message {
        FromLeader::LeaderInfo { epoch } => format!("LEADERINFO {epoch}"),
        FromLeader::Diff { zxid } => format!("DIFF {}", at(*zxid)),
        FromLeader::Truncate { zxid } => format!("TRUNC {}", at(*zxid)),
        FromLeader::Proposal { zxid, .. } => format!("PROPOSAL {}", at(*zxid)),
        FromLeader::Commit { zxid } => format!("COMMIT {}", at(*zxid)),
        FromLeader::Inform { zxid, .. } => format!("INFORM {}", at(*zxid)),
        FromLeader::CommitAndActivate { zxid, leader } => {
            format!("COMMITANDACTIVATE {}, {leader} leads", at(*zxid))
        }
        FromLeader::InformAndActivate { zxid, leader, .. } => {
            format!("INFORMANDACTIVATE {}, {leader} leads", at(*zxid))
        }
        FromLeader::NewLeader { epoch, membership } => match membership.as_deref().map(Membership::parse) {
            Some(Ok(membership)) if membership.version != 0 => {
                format!("NEWLEADER {epoch} with {}", members(&membership))
            }
            _ => format!("NEWLEADER {epoch}"),
        },
        FromLeader::UpToDate => "UPTODATE".to_owned(),
        FromLeader::Ping { .. } => "PING".to_owned(),
        FromLeader::Sync => "SYNC".to_owned(),
        other => format!("{other:?}"),
    }
}

pub(super) fn from_learner(message: &FromLearner) -> String {
    match message {
        FromLearner::Info { kind, accepted_epoch, .. } => {
            format!("{}INFO {accepted_epoch}", format!("{kind:?}").to_uppercase())
        }
        FromLearner::AckEpoch { last_zxid, current_epoch } => {
            let current = current_epoch.map_or("-1".to_owned(), |epoch| epoch.to_string());
            format!("ACKEPOCH {current} {}", at(*last_zxid))
        }
        FromLearner::Ack { zxid } => format!("ACK {}", at(*zxid)),
        FromLearner::Ping { .. } => "PING".to_owned(),
        FromLearner::Request { op: 9, .. } => "REQUEST sync".to_owned(),
        other => format!("{other:?}"),
    }
}
