//! What a peer wants done.

use std::sync::Arc;

use bytes::Bytes;
use protocol::peer::{FromLeader, FromLearner, LearnerKind, Membership, Notification};
use protocol::{Epoch, ServerId, Zxid};

use crate::link::LinkId;

/// One thing to do.
///
/// Actions are carried out in their order, and a storage action is finished, on stable storage, before the next action
/// begins: so "store the epoch, then send the acknowledgement" can be read off the list. The one exception is
/// [`Action::Append`]: appended transactions become durable together, later, and [`crate::Peer::on_synced`] says so. What
/// depends on that only appears after it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Write the file `acceptedEpoch`.
    StoreAcceptedEpoch(Epoch),
    /// Write the file `currentEpoch`.
    StoreCurrentEpoch(Epoch),
    /// Append to the log. [`crate::Peer::on_synced`] must follow without further ado.
    Append {
        /// Which transaction.
        zxid: Zxid,
        /// What goes into the log.
        envelope: Bytes,
    },
    /// Remove everything after `to` from the log. A sync that is under way must be over before: what it makes durable is
    /// not what stands there afterwards, and must not be reported.
    Truncate {
        /// The last transaction that stays.
        to: Zxid,
        /// Whether the state in memory already holds some of what goes and must be recovered from the disk.
        reload: bool,
    },
    /// Remember this newer membership, which was proposed and is not in force (`zoo.cfg.dynamic.next`): a server that has
    /// heard of it must not forget that it has a say, whatever happens to the proposal.
    StoreProposed(Arc<Membership>),
    /// Forget that there was one: it came to nothing.
    ForgetProposed,
    /// This membership is in force from now on, and is to be found again after a restart. A proposed one of the same
    /// version, or of an earlier one, is to be forgotten.
    Activate(Arc<Membership>),
    /// Everything up to here is committed: apply it.
    Committed {
        /// The last one.
        up_to: Zxid,
    },
    /// Say something on the election port, dialing if need be. A newer notification for the same server replaces one
    /// that is still waiting.
    Notify {
        /// To whom.
        to: ServerId,
        /// What.
        notification: Notification,
    },
    /// Dial every voter that is not connected to the election port.
    ConnectPeers,
    /// Dial the leader's quorum port, or, as an observer, perhaps a follower that serves observers.
    ConnectLeader {
        /// The name of the connection to be.
        link: LinkId,
        /// Whom.
        leader: ServerId,
        /// What this server will say it is.
        kind: LearnerKind,
        /// How long trying may take.
        within_ms: u64,
        /// How many attempts in a row have come to nothing before this one.
        failed_before: u32,
    },
    /// Say something to a learner.
    ToLearner {
        /// Which.
        link: LinkId,
        /// What.
        message: FromLeader,
    },
    /// Say something to the leader.
    ToLeader {
        /// On which connection.
        link: LinkId,
        /// What.
        message: FromLearner,
    },
    /// Send the learner SNAP and the tree as it is now or a little later; what is said to it from now on comes after.
    SendSnapshot {
        /// To whom.
        link: LinkId,
    },
    /// Look into this server's own log, without holding anything else up, and say with [`crate::Peer::on_log_consulted`]
    /// what is there for a learner whose log ends at `last`. The answer may come late, or never.
    ConsultLog {
        /// Who is to be brought in sync.
        link: LinkId,
        /// The last transaction that it has.
        last: Zxid,
        /// What the log must reach to; it is on stable storage.
        up_to: Zxid,
    },
    /// Send the learner everything that stands in the log behind `after`, up to and including `up_to`, as a PROPOSAL and a
    /// COMMIT for each; what is said to it from now on comes after. If that fails on the way, say so with
    /// [`crate::Peer::on_log_failed`].
    SendLog {
        /// To whom.
        link: LinkId,
        /// What it has.
        after: Zxid,
        /// The last one; it is on stable storage.
        up_to: Zxid,
    },
    /// Close a connection on the quorum port.
    Close {
        /// Which.
        link: LinkId,
        /// For the log.
        why: &'static str,
    },
    /// A sync request of this server's own clients is done.
    SyncDone {
        /// The number that [`crate::Peer::sync`] was given.
        token: u64,
    },
    /// Another epoch has begun, and this server leads it as it led the one before.
    EpochBegan {
        /// The epoch; its first transaction has counter 1.
        epoch: Epoch,
    },
    /// The peer's role has changed.
    Became(Role),
}

/// What a peer is, seen from above.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Nobody leads: clients cannot be served.
    Looking {
        /// What ended the role before, for the log.
        why: &'static str,
    },
    /// Elected, a quorum is still to be gathered.
    Preparing,
    /// A leader was found, synchronization is under way.
    Joining {
        /// Who leads.
        leader: ServerId,
    },
    /// Leading: writes can be proposed.
    Leading {
        /// The epoch; its first transaction has counter 1.
        epoch: Epoch,
    },
    /// In sync with a leader: clients can be served.
    Learning {
        /// Who leads.
        leader: ServerId,
        /// Where writes are forwarded to.
        link: LinkId,
        /// The leader's epoch.
        epoch: Epoch,
        /// Follower or observer.
        kind: LearnerKind,
    },
}
