//! The leader (`Leader`, `LearnerHandler`): gathers a quorum, brings learners in sync, proposes and commits.

mod barrier;
mod broadcast;
mod counts;
mod discovery;
mod former;
mod learner;
mod liveness;
mod next_epoch;
mod reconfiguration;
mod synchronize;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocol::peer::{FromLeader, FromLearner};
use protocol::{Epoch, ServerId, Zxid};

use self::barrier::Barrier;
pub(crate) use self::barrier::Waiting;
use self::broadcast::Proposal;
pub use self::counts::LearnerCounts;
use self::former::Former;
use self::learner::{Learner, Stage};
use self::next_epoch::{NextEpoch, Turn};
use self::reconfiguration::HandOver;
use crate::action::{Action, Role};
use crate::breakage::Breakage;
use crate::context::{Context, GiveUp};
use crate::introduction::objection;
use crate::link::LinkId;
use crate::quorum::VoterSet;

/// Learners that one leader serves; more are turned away. Each may have an outbox of packets, which is where the memory
/// would go.
const LEARNERS_MAX: usize = 1_000;

/// How far the leader has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Phase {
    /// A quorum has to say which epochs it has accepted.
    Discovery,
    /// A quorum has to accept the new epoch.
    Promise,
    /// A quorum has to take over the history.
    Synchronization,
    /// Writes are proposed and committed.
    Broadcast,
}

/// A leader, or a server that was elected and tries to become one.
#[derive(Clone, Hash, Debug)]
pub(crate) struct Leading {
    /// There is no ensemble.
    is_alone: bool,
    phase: Phase,
    started_ms: u64,
    next_ping_ms: u64,
    next_check_ms: u64,
    learners: BTreeMap<LinkId, Learner>,
    /// In discovery the highest accepted epoch heard of, afterwards the new epoch.
    epoch: Epoch,
    /// The end of the history that the epoch begins with.
    inherited: Zxid,
    /// Voters that have said which epoch they accepted.
    contacts: VoterSet,
    /// Voters that have accepted the new epoch.
    promised: VoterSet,
    /// Voters that have taken over the history.
    in_sync: VoterSet,
    /// Proposed and not committed, oldest first, without a hole.
    pending: VecDeque<Proposal>,
    /// The last proposal, or the epoch's beginning.
    last_proposed: Zxid,
    /// The last transaction that this server has acknowledged to itself.
    own_ack: Zxid,
    barrier: Barrier,
    /// Servers for whom reading the log on disk has failed half way: they get a whole tree the next time.
    log_failed: BTreeSet<ServerId>,
    /// A change of the membership that is proposed and not committed.
    reconfiguration: Option<Zxid>,
    /// The membership before, if that is to hear that it is over.
    former: Option<Former>,
    /// Another server leads from now on: nothing more is committed here.
    hand_over: Option<HandOver>,
    /// Learners are promising themselves to the next epoch.
    next_epoch: Option<NextEpoch>,
    turn: Turn,
}

impl Leading {
    /// An elected server takes office. All that it has logged is its history now.
    pub fn begin(context: &mut Context<'_>) -> Result<Leading, GiveUp> {
        let inherited = context.history.last();
        if context.history.committed() < inherited {
            context.history.commit(inherited);
            context.out.push(Action::Committed { up_to: inherited });
        }
        context.out.push(Action::Became(Role::Preparing));
        let mut leading = Leading {
            is_alone: false,
            phase: Phase::Discovery,
            started_ms: context.now_ms,
            next_ping_ms: context.now_ms + context.settings.tick_ms / 2,
            next_check_ms: context.now_ms + context.settings.tick_ms,
            learners: BTreeMap::new(),
            epoch: context.epochs.accepted,
            inherited,
            contacts: VoterSet::default(),
            promised: VoterSet::default(),
            in_sync: VoterSet::default(),
            pending: VecDeque::new(),
            last_proposed: Zxid::ZERO,
            own_ack: inherited,
            barrier: Barrier::default(),
            log_failed: BTreeSet::new(),
            reconfiguration: None,
            former: None,
            hand_over: None,
            next_epoch: None,
            turn: Turn::default(),
        };
        context.members.electorate.insert(&mut leading.contacts, context.settings.me);
        leading.advance(context)?;
        Ok(leading)
    }

    /// The only server there is leads from the start, and goes on in the epoch that it finds.
    pub fn alone(now_ms: u64, last: Zxid) -> Leading {
        Leading {
            is_alone: true,
            phase: Phase::Broadcast,
            started_ms: now_ms,
            next_ping_ms: u64::MAX,
            next_check_ms: u64::MAX,
            learners: BTreeMap::new(),
            epoch: last.epoch(),
            inherited: last,
            contacts: VoterSet::default(),
            promised: VoterSet::default(),
            in_sync: VoterSet::default(),
            pending: VecDeque::new(),
            last_proposed: last,
            own_ack: last,
            barrier: Barrier::default(),
            log_failed: BTreeSet::new(),
            reconfiguration: None,
            former: None,
            hand_over: None,
            next_epoch: None,
            turn: Turn::default(),
        }
    }

    /// Alone, a used-up counter needs nobody's consent for a new epoch; all before it must be committed.
    pub fn next_epoch_alone(&mut self) {
        self.epoch = Epoch::new(self.epoch.get() + 1);
        self.last_proposed = Zxid::new(self.epoch, 0);
    }

    /// A server has connected to the quorum port.
    pub fn on_connected(&mut self, context: &mut Context<'_>, link: LinkId) {
        if self.learners.len() >= LEARNERS_MAX {
            return context.out.push(Action::Close { link, why: "too many learners" });
        }
        self.learners.insert(link, Learner::new(context.now_ms));
    }

    /// The connection is gone.
    pub fn on_closed(&mut self, context: &Context<'_>, link: LinkId) -> Result<(), GiveUp> {
        self.learners.remove(&link);
        self.hand_over_if_due(context)
    }

    /// A learner has said something.
    pub fn on_message(
        &mut self,
        context: &mut Context<'_>,
        link: LinkId,
        message: FromLearner,
    ) -> Result<(), GiveUp> {
        let Some(learner) = self.learners.get_mut(&link) else { return Ok(()) };
        learner.heard_ms = context.now_ms;
        match message {
            FromLearner::Info {
                kind,
                accepted_epoch,
                server,
                protocol_version,
                membership_version,
                late_syncs,
                turns_epochs,
            } => {
                if learner.stage != Stage::Connected {
                    return self.turn_away(context, link, "it introduced itself twice");
                }
                if let Some(why) = objection(context, server, protocol_version, membership_version) {
                    return self.turn_away(context, link, why);
                }
                if self.phase < Phase::Broadcast {
                    self.activate_if_in_force(context, membership_version)?;
                } else if let Some(server) = server {
                    self.note_membership_of(context, server, membership_version);
                }
                let Some(learner) = self.learners.get_mut(&link) else { return Ok(()) };
                (learner.kind, learner.server, learner.stage) = (kind, server, Stage::Introduced);
                (learner.late_syncs, learner.turns_epochs) = (late_syncs, turns_epochs);
                self.replace_earlier_link(context, link);
                self.on_info(context, link, accepted_epoch)
            }
            FromLearner::AckEpoch { current_epoch, .. } if learner.stage == Stage::Active => {
                self.on_promise(context, link, current_epoch)
            }
            FromLearner::AckEpoch { last_zxid, current_epoch } => {
                if learner.stage != Stage::Promising {
                    return self.turn_away(context, link, "it accepts an epoch that nobody proposed to it");
                }
                self.on_ack_epoch(context, link, last_zxid, current_epoch)
            }
            FromLearner::Ack { zxid } => self.on_ack(context, link, zxid),
            FromLearner::Ping { .. } => {
                self.on_ping_answered(context, link);
                Ok(())
            }
            // What concerns sessions and requests is no business of agreement.
            FromLearner::Revalidate { .. } | FromLearner::Request { .. } | FromLearner::Unknown { .. } => {
                Ok(())
            }
        }
    }

    /// Everything up to `context.durable` is on this server's stable storage.
    pub fn on_synced(&mut self, context: &mut Context<'_>) -> Result<(), GiveUp> {
        self.acknowledge_own(context);
        self.advance(context)
    }

    /// Whether requests and session renewals from this link are to be heeded.
    pub fn serves(&self, link: LinkId) -> bool {
        self.learners.get(&link).is_some_and(|learner| learner.stage == Stage::Active)
    }

    /// Whether no quorum has come since this server was elected.
    pub fn waits_for_a_quorum(&self) -> bool {
        self.phase == Phase::Discovery
    }

    /// Whether writes can be proposed.
    pub fn is_serving(&self) -> bool {
        self.phase == Phase::Broadcast
    }

    /// Goes from phase to phase as far as the quorums reach.
    fn advance(&mut self, context: &mut Context<'_>) -> Result<(), GiveUp> {
        if self.phase == Phase::Discovery && self.may_begin(context, self.contacts) {
            self.propose_epoch(context)?;
        }
        // The history must be on stable storage before the epoch is, here as on a learner: it may end with what this
        // server had logged as a follower and not synced, and with the epoch but without that it would win elections.
        if self.phase == Phase::Promise
            && self.may_begin(context, self.promised)
            && (context.durable >= self.inherited || context.makes(Breakage::LeaderEpochBeforeHistory))
        {
            self.phase = Phase::Synchronization;
            // Before this server's own acknowledgement of the history counts.
            context.store_current(self.epoch);
            for link in self.links(|learner| learner.stage == Stage::Promised) {
                self.synchronize(context, link);
            }
        }
        if self.phase == Phase::Synchronization {
            if context.durable >= self.inherited {
                context.members.electorate.insert(&mut self.in_sync, context.settings.me);
            }
            if context.members.electorate.decides(self.in_sync) {
                self.start_serving(context)?;
            }
        }
        Ok(())
    }

    fn on_ack(&mut self, context: &mut Context<'_>, link: LinkId, zxid: Zxid) -> Result<(), GiveUp> {
        let Some(learner) = self.learners.get_mut(&link) else { return Ok(()) };
        let voter = learner.voter();
        if zxid == Zxid::new(self.epoch, 0) && learner.stage == Stage::Synchronizing {
            learner.stage = Stage::Synchronized;
            // An observer counts too if it is to vote in the membership that comes into force with this leader: it takes
            // over the history like anybody, and stays an observer until then.
            if let Some(server) = learner.server {
                context.members.electorate.insert(&mut self.in_sync, server);
            }
            if self.phase == Phase::Broadcast {
                self.let_serve(context, link);
            }
            return self.advance(context);
        }
        // Some Java servers acknowledge a proposal before NEWLEADER (ZOOKEEPER-4685): it counts all the same.
        if learner.stage >= Stage::Synchronizing {
            learner.on_ack(zxid, self.last_proposed, context.now_ms);
            if let Some(server) = voter.filter(|_| zxid.counter() != 0) {
                self.count_ack(context, server, zxid);
                self.commit_decided(context);
            }
        }
        Ok(())
    }

    fn start_serving(&mut self, context: &mut Context<'_>) -> Result<(), GiveUp> {
        self.activate_inherited(context)?;
        self.phase = Phase::Broadcast;
        self.last_proposed = Zxid::new(self.epoch, 0);
        context.out.push(Action::Became(Role::Leading { epoch: self.epoch }));
        for link in self.links(|learner| learner.stage == Stage::Synchronized) {
            self.let_serve(context, link);
        }
        self.take_leave_of_former(context);
        Ok(())
    }

    fn let_serve(&mut self, context: &mut Context<'_>, link: LinkId) {
        if let Some(learner) = self.learners.get_mut(&link) {
            learner.stage = Stage::Active;
            context.out.push(Action::ToLearner { link, message: FromLeader::UpToDate });
            self.ask_whether_it_knows(context, link);
            self.ask_for_promise(context, link);
        }
    }

    fn turn_away(
        &mut self,
        context: &mut Context<'_>,
        link: LinkId,
        why: &'static str,
    ) -> Result<(), GiveUp> {
        self.learners.remove(&link);
        context.out.push(Action::Close { link, why });
        Ok(())
    }

    /// A server that connects again has given up its earlier connection, whether that is noticed already or not.
    fn replace_earlier_link(&mut self, context: &mut Context<'_>, link: LinkId) {
        let server = self.learners[&link].server;
        let earlier = self.links(|learner| server.is_some() && learner.server == server);
        for earlier in earlier.into_iter().filter(|&earlier| earlier != link) {
            self.learners.remove(&earlier);
            context.out.push(Action::Close { link: earlier, why: "the server has connected again" });
        }
    }

    /// Every connection.
    pub fn all_links(&self) -> Vec<LinkId> {
        self.links(|_| true)
    }

    fn links(&self, which: impl Fn(&Learner) -> bool) -> Vec<LinkId> {
        self.learners.iter().filter(|(_, learner)| which(learner)).map(|(&link, _)| link).collect()
    }
}
