//! A learner (`Learner`, `Follower`, `Observer`): takes over the leader's history, then follows it.

mod next_epoch;
mod reconfiguration;

use std::collections::VecDeque;

use bytes::Bytes;
use protocol::peer::message::PROTOCOL_VERSION;
use protocol::peer::{FromLeader, FromLearner, LearnerKind};
use protocol::{Epoch, ServerId, SessionId, Zxid};

use self::reconfiguration::SWITCHED_OFF;
use crate::action::{Action, Role};
use crate::breakage::Breakage;
use crate::context::{Context, GiveUp};
use crate::link::LinkId;
use crate::serving_observers::ServingObservers;
use crate::settings::PeerSettings;

/// How far the learner has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Stage {
    /// Earlier attempts came to nothing: it is too soon for another.
    Pausing,
    /// The connection is being made.
    Connecting,
    /// The leader is to propose an epoch.
    Discovery,
    /// The leader is to say how it will bring this server in sync.
    Promised,
    /// A whole tree is on its way, and the leader says nothing else.
    Receiving,
    /// What is missing arrives.
    Synchronizing,
    /// All of it has arrived and is on its way to stable storage.
    Persisting,
    /// It is there, and the leader knows; it is to say that a quorum has it.
    Synchronized,
    /// Clients are served.
    Serving,
}

/// One attempt to learn from one leader.
#[derive(Clone, Hash, Debug)]
pub(crate) struct Learning {
    leader: ServerId,
    link: LinkId,
    kind: LearnerKind,
    /// Attempts in a row that have come to nothing before this one.
    failed_before: u32,
    stage: Stage,
    started_ms: u64,
    heard_ms: u64,
    epoch: Epoch,
    /// Everything up to here is committed, as far as the leader has said.
    committed: Zxid,
    /// A snapshot may already hold what is proposed after it: not to be logged again.
    skip_up_to: Zxid,
    /// Where the log ended when NEWLEADER came: what is proposed later does not hold up its acknowledgement.
    history_end: Zxid,
    /// Logged proposals that the leader waits to hear of, oldest first.
    unacknowledged: VecDeque<Zxid>,
    /// Whether only a whole tree will do.
    needs_snapshot: bool,
    /// The version of the membership that came with NEWLEADER.
    leader_membership: i64,
    /// The version of the membership in the leader's tree, if that is newer than what this server goes by.
    tree_membership: i64,
    /// Those that learn from this server, while it serves and is a follower.
    pub observers: ServingObservers,
}

impl Learning {
    /// A leader was elected: go there.
    ///
    /// `pause_ms` is how long to wait before that, after earlier attempts that came to nothing: what failed at once would
    /// do so again, as fast as messages travel.
    pub fn begin(
        context: &mut Context<'_>,
        leader: ServerId,
        link: LinkId,
        kind: LearnerKind,
        (failed_before, pause_ms): (u32, u64),
    ) -> Learning {
        context.out.push(Action::Became(Role::Joining { leader }));
        let mut learning = Learning {
            leader,
            link,
            kind,
            failed_before,
            stage: Stage::Pausing,
            started_ms: context.now_ms + pause_ms,
            heard_ms: context.now_ms,
            epoch: Epoch::default(),
            committed: context.history.committed(),
            skip_up_to: Zxid::ZERO,
            history_end: Zxid::ZERO,
            unacknowledged: VecDeque::new(),
            needs_snapshot: false,
            leader_membership: 0,
            tree_membership: 0,
            observers: ServingObservers::new(),
        };
        learning.dial_if_due(context);
        learning
    }

    /// What is on this server's disk is not to be built upon: the leader is told that there is nothing.
    pub fn without_history(self) -> Learning {
        Learning { needs_snapshot: true, ..self }
    }

    fn dial_if_due(&mut self, context: &mut Context<'_>) {
        if self.stage == Stage::Pausing && context.now_ms >= self.started_ms {
            self.stage = Stage::Connecting;
            let (link, leader, kind) = (self.link, self.leader, self.kind);
            let within_ms = context.settings.init_ms();
            let failed_before = self.failed_before;
            context.out.push(Action::ConnectLeader { link, leader, kind, within_ms, failed_before });
        }
    }

    /// SNAP has come, and the tree is on its way: whoever reads it watches over it.
    pub fn on_snapshot_arriving(&mut self) {
        if self.stage == Stage::Promised {
            self.stage = Stage::Receiving;
        }
    }

    /// The connection that this attempt lives by.
    pub fn link(&self) -> LinkId {
        self.link
    }

    /// The epoch that the leader has named.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether clients are served.
    pub fn is_serving(&self) -> bool {
        self.stage == Stage::Serving
    }

    /// Whether the leader is to say how it will bring this server in sync.
    pub fn awaits_plan(&self) -> bool {
        matches!(self.stage, Stage::Promised | Stage::Receiving)
    }

    /// The connection stands.
    pub fn on_connected(&mut self, context: &mut Context<'_>) {
        self.stage = Stage::Discovery;
        self.heard_ms = context.now_ms;
        let message = FromLearner::Info {
            kind: self.kind,
            accepted_epoch: context.epochs.accepted,
            server: Some(context.settings.me),
            protocol_version: PROTOCOL_VERSION,
            membership_version: context.members.version(),
            late_syncs: true,
            turns_epochs: true,
        };
        context.out.push(Action::ToLeader { link: self.link, message });
    }

    /// The leader has said something.
    pub fn on_message(&mut self, context: &mut Context<'_>, message: FromLeader) -> Result<(), GiveUp> {
        self.heard_ms = context.now_ms;
        match (message, self.stage) {
            (FromLeader::LeaderInfo { epoch }, Stage::Discovery) => self.on_leader_info(context, epoch),
            (FromLeader::LeaderInfo { epoch }, Stage::Serving) => self.promise_next_epoch(context, epoch),
            (FromLeader::NewLeader { epoch, .. }, Stage::Serving) => self.on_next_epoch(context, epoch),
            (FromLeader::Diff { .. } | FromLeader::Truncate { .. }, Stage::Promised)
                if self.needs_snapshot =>
            {
                Err(GiveUp::Look("the leader does not send the whole tree"))
            }
            (FromLeader::Diff { .. }, Stage::Promised) => {
                // The leader's history has all that is in this log, so all of it is committed.
                self.committed = context.history.last();
                self.stage = Stage::Synchronizing;
                Ok(())
            }
            (FromLeader::Truncate { zxid }, Stage::Promised) => {
                if zxid > context.history.last() {
                    return Err(GiveUp::Look("the leader cuts the log behind its end"));
                }
                self.truncate(context, zxid);
                self.stage = Stage::Synchronizing;
                Ok(())
            }
            (FromLeader::Proposal { zxid, envelope }, stage) if stage >= Stage::Synchronizing => {
                self.on_proposal(context, zxid, envelope)
            }
            (FromLeader::Commit { zxid }, stage) if stage >= Stage::Synchronizing => {
                self.on_commit(context, zxid, None)
            }
            (FromLeader::Inform { zxid, envelope }, stage) if stage >= Stage::Synchronizing => {
                self.on_inform(context, zxid, envelope)
            }
            (FromLeader::CommitAndActivate { .. } | FromLeader::InformAndActivate { .. }, _)
                if !context.settings.reconfig_enabled =>
            {
                Err(GiveUp::Look(SWITCHED_OFF))
            }
            (FromLeader::CommitAndActivate { zxid, leader }, stage) if stage >= Stage::Synchronizing => {
                self.activate_committed(context, zxid, leader)
            }
            (FromLeader::InformAndActivate { zxid, leader, envelope }, stage)
                if stage >= Stage::Synchronizing =>
            {
                self.on_proposal(context, zxid, envelope)?;
                self.activate_committed(context, zxid, leader)
            }
            (FromLeader::NewLeader { epoch, membership }, Stage::Synchronizing) => {
                if let Some(text) = membership {
                    self.note_leader_membership(context, &text)?;
                }
                if epoch != self.epoch {
                    return Err(GiveUp::Look("the leader announced another epoch than it had proposed"));
                }
                self.stage = Stage::Persisting;
                self.history_end = context.history.last();
                if context.makes(Breakage::EpochBeforeHistory) {
                    context.store_current(self.epoch);
                }
                self.on_synced(context);
                Ok(())
            }
            (FromLeader::UpToDate, Stage::Synchronized) => {
                self.activate_leader_membership(context)?;
                self.serve(context);
                Ok(())
            }
            // Pings are answered by [`Learning::answer_ping`], and during synchronization by nobody.
            (FromLeader::Ping { .. }, _) => Ok(()),
            // Sessions and sync are the business of those above.
            (FromLeader::Revalidate { .. } | FromLeader::Sync | FromLeader::Unknown { .. }, _) => Ok(()),
            _ => Err(GiveUp::Look("the leader sent a packet that does not belong here")),
        }
    }

    fn on_leader_info(&mut self, context: &mut Context<'_>, epoch: Epoch) -> Result<(), GiveUp> {
        let current_epoch = if epoch > context.epochs.accepted {
            context.store_accepted(epoch);
            Some(context.epochs.current)
        } else if epoch == context.epochs.accepted {
            // This server may have voted for the epoch already, and must not be counted twice.
            None
        } else {
            return Err(GiveUp::Look("the leader's epoch is older than one that was accepted"));
        };
        self.epoch = epoch;
        self.stage = Stage::Promised;
        let last_zxid = if self.needs_snapshot { Zxid::ZERO } else { context.history.last() };
        let message = FromLearner::AckEpoch { last_zxid, current_epoch };
        context.out.push(Action::ToLeader { link: self.link, message });
        Ok(())
    }

    fn truncate(&mut self, context: &mut Context<'_>, to: Zxid) {
        let reload = to < context.history.committed();
        context.history.truncate(to);
        self.committed = to;
        self.forget_what_is_cut(context, to);
        context.out.push(Action::Truncate { to, reload });
    }

    /// The tree that followed SNAP is in memory and on stable storage; the log begins anew behind it.
    pub fn on_snapshot(&mut self, context: &mut Context<'_>, zxid: Zxid) -> Result<(), GiveUp> {
        if !self.awaits_plan() {
            return Err(GiveUp::Look("the leader sent a snapshot that does not belong here"));
        }
        self.heard_ms = context.now_ms;
        context.history.reset(zxid);
        self.committed = zxid;
        self.skip_up_to = zxid;
        self.stage = Stage::Synchronizing;
        Ok(())
    }

    fn on_proposal(&mut self, context: &mut Context<'_>, zxid: Zxid, envelope: Bytes) -> Result<(), GiveUp> {
        self.note_reconfiguration(context, zxid, &envelope)?;
        if zxid <= self.skip_up_to {
            return Ok(());
        }
        if zxid.epoch() > self.epoch {
            return Err(GiveUp::Look("the leader proposed something of an epoch that has not begun"));
        }
        if !context.history.continues_with(zxid) {
            return Err(GiveUp::Look("the leader left out a proposal"));
        }
        context.history.append(zxid, envelope.clone());
        context.out.push(Action::Append { zxid, envelope });
        if self.kind == LearnerKind::Follower {
            self.unacknowledged.push_back(zxid);
        }
        Ok(())
    }

    /// `next_leader` says who leads from then on, if this is a reconfiguration.
    fn on_commit(
        &mut self,
        context: &mut Context<'_>,
        zxid: Zxid,
        next_leader: Option<ServerId>,
    ) -> Result<(), GiveUp> {
        if zxid <= self.skip_up_to {
            return Ok(());
        }
        if zxid > context.history.last() {
            return Err(GiveUp::Look("the leader committed what it had not proposed"));
        }
        self.committed = self.committed.max(zxid);
        if self.stage == Stage::Serving {
            self.observers.inform(context, self.committed, next_leader);
            self.apply(context);
        }
        Ok(())
    }

    fn on_inform(&mut self, context: &mut Context<'_>, zxid: Zxid, envelope: Bytes) -> Result<(), GiveUp> {
        self.on_proposal(context, zxid, envelope)?;
        self.on_commit(context, zxid, None)
    }

    /// Everything up to `context.durable` is on this server's stable storage.
    pub fn on_synced(&mut self, context: &mut Context<'_>) {
        if self.stage == Stage::Persisting
            && (context.durable >= self.history_end || context.makes(Breakage::AckBeforeSync))
        {
            // History first, then the epoch, then the word (ZOOKEEPER-3911, 4643, 4646).
            context.store_current(self.epoch);
            self.stage = Stage::Synchronized;
            self.acknowledge(context, Zxid::new(self.epoch, 0));
        }
        self.take_over_next_epoch(context);
        // A proposal's acknowledgement must not overtake that of NEWLEADER (ZOOKEEPER-4685).
        if self.stage >= Stage::Synchronized {
            while let Some(&zxid) = self.unacknowledged.front()
                && zxid <= context.durable
                && zxid.epoch() <= context.epochs.current
            {
                self.unacknowledged.pop_front();
                // Also what is committed already: a Java leader parts with whoever leaves a proposal unanswered.
                self.acknowledge(context, zxid);
            }
        }
    }

    fn acknowledge(&self, context: &mut Context<'_>, zxid: Zxid) {
        context.out.push(Action::ToLeader { link: self.link, message: FromLearner::Ack { zxid } });
    }

    fn serve(&mut self, context: &mut Context<'_>) {
        self.stage = Stage::Serving;
        self.apply(context);
        self.acknowledge(context, Zxid::new(self.epoch, 0));
        let (leader, link, epoch, kind) = (self.leader, self.link, self.epoch, self.kind);
        context.out.push(Action::Became(Role::Learning { leader, link, epoch, kind }));
    }

    fn apply(&mut self, context: &mut Context<'_>) {
        if self.committed > context.history.committed() {
            context.history.commit(self.committed);
            context.out.push(Action::Committed { up_to: self.committed });
        }
    }

    /// Answers a ping with the sessions that were heard since the last one.
    pub fn answer_ping(&self, context: &mut Context<'_>, zxid: Zxid, sessions: Vec<(SessionId, i32)>) {
        if self.stage == Stage::Serving {
            let message = FromLearner::Ping { zxid, sessions };
            context.out.push(Action::ToLeader { link: self.link, message });
        }
    }

    /// Time has passed.
    pub fn on_tick(&mut self, context: &mut Context<'_>) -> Result<(), GiveUp> {
        self.dial_if_due(context);
        self.observers.on_tick(context);
        if context.now_ms >= self.patience_ms(context.settings) {
            return Err(GiveUp::Look("the leader says nothing"));
        }
        Ok(())
    }

    /// When [`Learning::on_tick`] has something to do.
    pub fn deadline_ms(&self, settings: &PeerSettings) -> u64 {
        self.patience_ms(settings).min(self.observers.deadline_ms())
    }

    /// When to connect, or to give the leader up unless it says something.
    fn patience_ms(&self, settings: &PeerSettings) -> u64 {
        match self.stage {
            Stage::Pausing => self.started_ms,
            Stage::Connecting => self.started_ms + settings.init_ms(),
            // Whoever reads the tree watches over it.
            Stage::Receiving => u64::MAX,
            stage if stage < Stage::Synchronized => self.heard_ms + settings.init_ms(),
            _ => self.heard_ms + settings.sync_ms(),
        }
    }
}
