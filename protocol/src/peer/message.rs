//! The packets of the quorum port as what they mean, by direction.
//!
//! Sentinels of the wire end here: zxids and epochs of -1, null data, versions that go unsaid. The bytes are in
//! `from_leader` and `from_learner`; [`PacketReader`](super::PacketReader) reads messages from a connection.

use std::sync::Arc;

use bytes::Bytes;

use crate::{Epoch, Id, ServerId, SessionId, Zxid};

mod error;
mod from_leader;
mod from_learner;

pub use error::{MessageError, MessageProblem};

/// What every server since 3.4 speaks, as LEADERINFO and FOLLOWERINFO say it.
pub const PROTOCOL_VERSION: i32 = 0x10000;

/// Transactions and request bodies of so many bytes are handed on in the buffer that they were received in; shorter
/// ones are copied, because a slice of a few bytes would keep the whole buffer (64 KiB, say) in memory as long as the
/// transaction is remembered. At this length a slice keeps 16 times its size at worst, and a copy costs as much as
/// the bookkeeping of a few slices.
pub const SLICED_BYTES_MIN: usize = 4_096;

/// How a server learns from the leader.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LearnerKind {
    /// Logs proposals and acknowledges them; sends FOLLOWERINFO.
    Follower,
    /// Hears of what is committed; sends OBSERVERINFO.
    Observer,
}

/// What a leader (or an observer master) says to a learner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FromLeader {
    /// LEADERINFO: the epoch that the leader proposes.
    LeaderInfo {
        /// The new epoch.
        epoch: Epoch,
    },
    /// DIFF: the learner's history is a prefix of the leader's; what is missing follows.
    Diff {
        /// The last committed transaction of the leader; only informs.
        zxid: Zxid,
    },
    /// TRUNC: everything after this must go from the learner's log.
    Truncate {
        /// The last transaction that stays.
        zxid: Zxid,
    },
    /// SNAP: the whole tree follows, as raw bytes that are no packet.
    Snapshot {
        /// The last transaction in it.
        zxid: Zxid,
    },
    /// PROPOSAL: log this.
    Proposal {
        /// Which.
        zxid: Zxid,
        /// Transaction header, body and digest, exactly as they go into the log.
        envelope: Bytes,
    },
    /// COMMIT: apply that proposal.
    Commit {
        /// Which.
        zxid: Zxid,
    },
    /// COMMITANDACTIVATE: apply that reconfiguration.
    CommitAndActivate {
        /// Which.
        zxid: Zxid,
        /// Who leads from then on.
        leader: ServerId,
    },
    /// INFORM: a committed transaction, for observers.
    Inform {
        /// Which.
        zxid: Zxid,
        /// As in a proposal.
        envelope: Bytes,
    },
    /// INFORMANDACTIVATE: a committed reconfiguration, for observers.
    InformAndActivate {
        /// Which.
        zxid: Zxid,
        /// Who leads from then on.
        leader: ServerId,
        /// As in a proposal.
        envelope: Bytes,
    },
    /// NEWLEADER: the end of the history; to be acknowledged when it is durable.
    NewLeader {
        /// The epoch that begins.
        epoch: Epoch,
        /// The membership that the leader saw last; `None` from leaders before 3.5.
        membership: Option<String>,
    },
    /// UPTODATE: a quorum has the history; clients may be served.
    UpToDate,
    /// PING: to be answered at once.
    Ping {
        /// The leader's last proposal; echoed.
        zxid: Zxid,
    },
    /// REVALIDATE: whether a session is alive.
    Revalidate {
        /// Which.
        session: SessionId,
        /// The answer.
        valid: bool,
    },
    /// SYNC: everything that was proposed before the oldest sync request under way has been sent.
    Sync,
    /// A packet of a type that this release does not know. Ignored, as in Java.
    Unknown {
        /// Its number.
        packet_type: i32,
    },
}

/// What a learner says to its leader (or observer master).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FromLearner {
    /// FOLLOWERINFO or OBSERVERINFO, the first packet.
    Info {
        /// Which of the two.
        kind: LearnerKind,
        /// The highest epoch that the learner has promised itself to.
        accepted_epoch: Epoch,
        /// Who it is. `None` from a learner that does not say (data null): a follower that is no member.
        server: Option<ServerId>,
        /// What it speaks; 0x10000 is what every server since 3.4 does.
        protocol_version: i32,
        /// The version of the membership it has committed; 0 if it does not say.
        membership_version: i64,
        /// Whether the answer to a sync may come behind commits of later requests. A Java learner waits for ever then;
        /// Ferrokeeper says that it does not in four bytes behind the record, which Java's leaders do not read.
        late_syncs: bool,
        /// Whether the learner goes along when its leader begins another epoch without an election: in the same four bytes.
        turns_epochs: bool,
    },
    /// ACKEPOCH: the epoch is accepted.
    AckEpoch {
        /// The last transaction in the learner's log.
        last_zxid: Zxid,
        /// The epoch of the last leader that it was in sync with; `None` (-1) if it had accepted this epoch before and
        /// must not be counted.
        current_epoch: Option<Epoch>,
    },
    /// ACK: that proposal is durable; with counter 0, NEWLEADER's history is, or UPTODATE was heard.
    Ack {
        /// Which.
        zxid: Zxid,
    },
    /// PING, answered.
    Ping {
        /// Echoed.
        zxid: Zxid,
        /// Sessions heard since the last ping, with their timeouts in milliseconds.
        sessions: Vec<(SessionId, i32)>,
    },
    /// REVALIDATE: is this session alive? If so, it is served here from now on.
    Revalidate {
        /// Which.
        session: SessionId,
        /// Its negotiated timeout.
        timeout_ms: i32,
    },
    /// REQUEST: a client's write, forwarded.
    Request {
        /// Whose.
        session: SessionId,
        /// The client's number for it; 0 for what the server itself asks.
        cxid: i32,
        /// The operation's number; -10 and -11 open and close a session, 9 is a sync.
        op: i32,
        /// The request's record as the client sent it.
        body: Bytes,
        /// Who the client has proved to be; its address comes first.
        ids: Arc<[Id]>,
    },
    /// A packet of a type that this release does not know. Ignored, as in Java.
    Unknown {
        /// Its number.
        packet_type: i32,
    },
}
