//! Who belongs to the ensemble: the membership in force, and the one that may follow it (`QuorumPeer`'s `quorumVerifier`
//! and `lastSeenQuorumVerifier`).

use std::sync::Arc;

use bytes::Bytes;
use protocol::peer::{LearnerKind, MemberRole, Membership};
use protocol::txn::{Transaction, TxnBody};
use protocol::{OpCode, ServerId, Zxid};

use crate::action::Action;
use crate::quorum::{Electorate, QuorumError};

/// Where the transaction's type stands in its envelope: behind session, cxid, zxid and time.
const TYPE_AT: std::ops::Range<usize> = 28..32;

/// The membership in force, and a newer one if there is one: while both are there, quorums of both decide.
#[derive(Clone, Debug)]
pub(crate) struct Members {
    me: ServerId,
    /// What this server is while the membership was never reconfigured and does not name it.
    outsider: LearnerKind,
    committed: Arc<Membership>,
    committed_text: String,
    /// Always newer than the committed one.
    proposed: Option<Arc<Membership>>,
    /// The one before the committed one, as long as a leader waits for a quorum there to know that it is over.
    former: Option<Arc<Membership>>,
    pub electorate: Electorate,
    /// Something changed since this was last looked at.
    changed: bool,
}

/// What another membership means for this server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Change {
    /// It votes now and did not, or the other way round.
    pub role: bool,
    /// Whoever leads is no voter in it, or is to be found elsewhere.
    pub leader: bool,
}

impl Members {
    pub fn new(
        me: ServerId,
        outsider: LearnerKind,
        committed: Membership,
        proposed: Option<Membership>,
    ) -> Result<Members, QuorumError> {
        let proposed = proposed.filter(|membership| membership.version > committed.version).map(Arc::new);
        let electorate = Electorate::new(&committed, proposed.as_deref())?;
        let committed_text = committed.to_string();
        let committed = Arc::new(committed);
        Ok(Members {
            me,
            outsider,
            committed,
            committed_text,
            proposed,
            former: None,
            electorate,
            changed: false,
        })
    }

    /// The membership in force.
    pub fn committed(&self) -> &Arc<Membership> {
        &self.committed
    }

    /// Its text, as it goes over the wire.
    pub fn committed_text(&self) -> &str {
        &self.committed_text
    }

    /// The zxid of the reconfiguration that made it.
    pub fn version(&self) -> i64 {
        self.committed.version
    }

    /// The newer one.
    pub fn proposed(&self) -> Option<&Arc<Membership>> {
        self.proposed.as_ref()
    }

    /// What this server is to a leader. Who is taken out of the ensemble goes on following without a vote.
    pub fn kind(&self) -> LearnerKind {
        match self.committed.role_of(self.me) {
            Some(MemberRole::Participant) => LearnerKind::Follower,
            Some(MemberRole::Observer) => LearnerKind::Observer,
            None if self.committed.version == 0 => self.outsider,
            None => LearnerKind::Follower,
        }
    }

    /// A newer membership was proposed: from now on it takes both to decide. Nothing happens if it is not newer than the
    /// one in force; another proposed one gives way to it.
    pub fn propose(&mut self, membership: Membership, out: &mut Vec<Action>) -> Result<(), QuorumError> {
        let known = self.proposed.as_deref() == Some(&membership);
        if membership.version <= self.committed.version || known {
            return Ok(());
        }
        self.electorate = self.count(Some(&membership))?;
        let membership = Arc::new(membership);
        self.proposed = Some(Arc::clone(&membership));
        self.changed = true;
        out.push(Action::StoreProposed(membership));
        Ok(())
    }

    /// The proposed membership came to nothing, if there is one.
    pub fn forget_proposed(&mut self, out: &mut Vec<Action>) {
        if self.proposed.take().is_some() {
            self.electorate = self.count(None).expect("it was built before");
            self.changed = true;
            out.push(Action::ForgetProposed);
        }
    }

    /// A membership is in force from now on. `None`, and nothing happens, if it is not newer than the one that is.
    pub fn activate(
        &mut self,
        membership: Arc<Membership>,
        leader: Option<ServerId>,
        out: &mut Vec<Action>,
    ) -> Result<Option<Change>, QuorumError> {
        if membership.version <= self.committed.version {
            return Ok(None);
        }
        let proposed = self.proposed.take().filter(|proposed| proposed.version > membership.version);
        self.electorate = Electorate::new(&membership, proposed.as_deref())?;
        (self.proposed, self.former) = (proposed, None);
        let kind_before = self.kind();
        let before = std::mem::replace(&mut self.committed, Arc::clone(&membership));
        self.committed_text = membership.to_string();
        self.changed = true;
        out.push(Action::Activate(Arc::clone(&membership)));
        let role = self.kind() != kind_before;
        let leader = leader.is_some_and(|leader| moves(leader, &before, &membership));
        Ok(Some(Change { role, leader }))
    }

    /// The membership that was in force before goes on having its say, until [`Members::forget_former`]. Not if everybody
    /// who votes now did so before: then no quorum of now is strange to those of before.
    pub fn keep_former(&mut self, before: Arc<Membership>) {
        let votes =
            |membership: &Membership, server| membership.role_of(server) == Some(MemberRole::Participant);
        let newcomers =
            |(&server, _): (&ServerId, _)| votes(&self.committed, server) && !votes(&before, server);
        if !self.committed.members.iter().any(newcomers) {
            return;
        }
        let (committed, proposed) = (&self.committed, self.proposed.as_deref());
        // Too many voters in all, which nobody has: then it is as it is with Java.
        if let Ok(electorate) = Electorate::with_former(committed, proposed, Some(&before)) {
            (self.electorate, self.former, self.changed) = (electorate, Some(before), true);
        }
    }

    /// Whether the membership before has a say.
    pub fn has_former(&self) -> bool {
        self.former.is_some()
    }

    /// Whoever had a say in the membership before has none any more.
    pub fn forget_former(&mut self) {
        if self.former.take().is_some() {
            self.electorate = self.count(self.proposed.as_deref()).expect("more were counted before");
            self.changed = true;
        }
    }

    /// Who decides, if this membership is proposed.
    pub fn count(&self, proposed: Option<&Membership>) -> Result<Electorate, QuorumError> {
        Electorate::with_former(&self.committed, proposed, self.former.as_deref())
    }

    /// Whether something changed since this was last asked.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }
}

/// Whether a leader cannot go on where it is.
pub(crate) fn moves(leader: ServerId, before: &Membership, after: &Membership) -> bool {
    let place = |membership: &Membership| {
        let member = membership.member(leader).filter(|member| member.role == MemberRole::Participant)?;
        let ports = member.addresses.iter().map(|address| (address.host.clone(), address.quorum_port));
        Some(ports.collect::<Vec<_>>())
    };
    let after = place(after);
    after.is_none() || after != place(before)
}

/// The membership that a transaction proposes; `None` for any other transaction.
///
/// # Errors
/// A reconfiguration that cannot be read, or whose version is not its zxid.
pub(crate) fn reconfiguration(zxid: Zxid, envelope: &Bytes) -> Option<Result<Membership, &'static str>> {
    let kind = envelope.get(TYPE_AT)?;
    (kind == OpCode::Reconfig.to_wire().to_be_bytes()).then(|| {
        const UNREADABLE: &str = "a reconfiguration was proposed that cannot be read";
        let txn = Transaction::read(envelope).map_err(|_| UNREADABLE)?;
        let TxnBody::SetData { data, .. } = txn.body else { return Err(UNREADABLE) };
        let text = data.and_then(|data| std::str::from_utf8(data).ok()).ok_or(UNREADABLE)?;
        let membership = Membership::parse(text).map_err(|_| UNREADABLE)?;
        if membership.version != zxid.to_wire() {
            return Err("a reconfiguration was proposed whose version is not its zxid");
        }
        Ok(membership)
    })
}
