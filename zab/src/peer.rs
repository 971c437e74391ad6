//! One server of an ensemble: looking for a leader, leading, or learning from one (`QuorumPeer`).

mod membership;
mod observers;
mod view;

use std::collections::BTreeSet;

use bytes::Bytes;
use protocol::peer::{
    FromLeader, FromLearner, LearnerKind, Member, MemberRole, Membership, Notification, ServerState, Vote,
};
use protocol::{ServerId, SessionId, Zxid};

use crate::action::{Action, Role};
use crate::breakage::Breakage;
use crate::context::{Context, Epochs, GiveUp, Ground};
use crate::election::{Election, ElectionAction, ElectionSettings, Standing};
use crate::history::History;
use crate::leading::{Leading, Waiting};
use crate::learning::Learning;
use crate::link::LinkId;
use crate::members::Members;
use crate::quorum::QuorumError;
use crate::settings::PeerSettings;

/// Learners that connected before this server knew whether it leads. More are turned away.
const EARLY_LEARNERS_MAX: usize = 1_000;

/// Servers whose connections are remembered.
const CONNECTED_MAX: usize = 1_000;

/// Attempts to join a leader that may fail before a learner pauses, and how often the pause grows.
const JOINS_WITHOUT_PAUSE: u32 = 2;
const JOIN_PAUSE_STEPS_MAX: u64 = 20;

/// Links that this server dials have this bit; links that others dial do not.
const DIALED: u64 = 1 << 63;

/// The state machine of agreement for one server. See the crate's documentation.
///
/// Methods named `on_...` take in events. Every one of them appends what is to be done to `out`; see [`Action`] for how
/// to carry it out.
#[derive(Clone, Debug)]
pub struct Peer {
    ground: Ground,
    /// `None` for a server that is alone.
    election: Option<Election>,
    state: State,
    links_dialed: u64,
    /// Servers with a connection between election ports, voters or not.
    connected: BTreeSet<ServerId>,
    early: Vec<Early>,
    /// Attempts in a row to learn from a leader that ended before this server served anybody.
    failed_joins: u32,
    /// The log could not be cut as a leader wanted: until a leader has sent a whole tree this server has no say.
    needs_snapshot: bool,
}

#[derive(Clone, Hash, Debug)]
enum State {
    Looking,
    Leading(Leading),
    Learning(Learning),
}

/// A learner whose leader this server may become.
#[derive(Clone, Debug)]
struct Early {
    link: LinkId,
    info: Option<FromLearner>,
    since_ms: u64,
}

impl Peer {
    /// A member of an ensemble, as recovery has found it: everything up to `last` is in its log. Nothing happens before
    /// [`Peer::start`].
    ///
    /// # Errors
    /// A membership with more voters than can be counted.
    pub fn member(
        settings: PeerSettings,
        membership: Membership,
        proposed: Option<Membership>,
        epochs: Epochs,
        last: Zxid,
    ) -> Result<Peer, QuorumError> {
        let members = Members::new(settings.me, settings.kind, membership, proposed)?;
        let election_settings = ElectionSettings {
            me: settings.me,
            finalize_wait_ms: settings.finalize_wait_ms,
            notification_interval_min_ms: settings.notification_interval_min_ms,
            notification_interval_max_ms: settings.notification_interval_max_ms,
        };
        let text = members.committed_text().to_owned();
        let election = Election::new(election_settings, members.electorate.clone(), text);
        let ground = Ground {
            history: History::new(last, settings.history_entries_max, settings.history_bytes_max),
            settings,
            breakage: None,
            members,
            epochs,
            durable: last,
        };
        Ok(Peer::new(ground, Some(election), State::Looking))
    }

    /// A server that is no member of any ensemble: it leads itself, in the epoch that it finds in its log, as Java's
    /// standalone server does.
    pub fn alone(now_ms: u64, me: ServerId, last: Zxid) -> Peer {
        let settings = PeerSettings::alone(me);
        let membership = alone(settings.me);
        let members = Members::new(me, settings.kind, membership, None).expect("one voter can be counted");
        let ground = Ground {
            history: History::new(last, 0, 0),
            settings,
            breakage: None,
            members,
            epochs: Epochs::default(),
            durable: last,
        };
        Peer::new(ground, None, State::Leading(Leading::alone(now_ms, last)))
    }

    fn new(ground: Ground, election: Option<Election>, state: State) -> Peer {
        Peer {
            ground,
            election,
            state,
            links_dialed: 0,
            connected: BTreeSet::new(),
            early: Vec::new(),
            failed_joins: 0,
            needs_snapshot: false,
        }
    }

    /// The end of the log as it was before the server stopped: committed transactions in order, the last one being the
    /// last in the log. Learners that were away for as long as this server can be brought in sync from memory.
    pub fn preload(&mut self, entries: impl IntoIterator<Item = (Zxid, Bytes)>) {
        self.ground.history.preload(entries);
    }

    /// From now on this mistake is made, for proofs that it is noticed.
    #[doc(hidden)]
    pub fn misbehave(&mut self, breakage: Breakage) {
        self.ground.breakage = Some(breakage);
    }

    /// Begins to look for a leader.
    pub fn start(&mut self, now_ms: u64, out: &mut Vec<Action>) {
        if self.election.is_some() {
            self.look(now_ms, "started", out);
        }
    }

    /// A notification has come.
    pub fn on_notification(
        &mut self,
        now_ms: u64,
        from: ServerId,
        notification: Notification,
        out: &mut Vec<Action>,
    ) {
        if self.state() == ServerState::Looking {
            self.heed_membership(now_ms, &notification, out);
        }
        if self.is_outrun(from, &notification) {
            self.lead(now_ms, out, |_, _| Err(GiveUp::Look("voters elect in a later round")));
        }
        self.elect(now_ms, out, |election, actions| {
            election.on_notification(now_ms, from, notification, actions);
        });
    }

    /// Whether this server was elected, nobody has come yet, and a voter elects on in a later round: it may need this
    /// server's vote there. Otherwise two who are both elected in vain can miss each other for ever, as each of them is
    /// only heard of as a leader when the other one looks for one.
    fn is_outrun(&self, from: ServerId, notification: &Notification) -> bool {
        let State::Leading(leading) = &self.state else { return false };
        leading.waits_for_a_quorum()
            && notification.state == ServerState::Looking
            && self.election.as_ref().is_some_and(|election| notification.round > election.round())
            && self.ground.members.electorate.is_committed_voter(from)
    }

    /// A connection between election ports stands.
    pub fn on_peer_connected(&mut self, now_ms: u64, peer: ServerId, out: &mut Vec<Action>) {
        if self.connected.len() < CONNECTED_MAX {
            self.connected.insert(peer);
        }
        self.elect(now_ms, out, |election, actions| election.on_connected(peer, actions));
    }

    /// A connection between election ports is gone.
    pub fn on_peer_disconnected(&mut self, now_ms: u64, peer: ServerId, out: &mut Vec<Action>) {
        self.connected.remove(&peer);
        self.elect(now_ms, out, |election, actions| election.on_disconnected(peer, actions));
    }

    /// Somebody has connected to the quorum port.
    pub fn on_learner_connected(&mut self, now_ms: u64, link: LinkId, out: &mut Vec<Action>) {
        match &self.state {
            State::Leading(_) => self.lead(now_ms, out, |leading, context| {
                leading.on_connected(context, link);
                Ok(())
            }),
            // It may have heard of this server's election before this server itself has.
            State::Looking if self.early.len() < EARLY_LEARNERS_MAX => {
                self.early.push(Early { link, info: None, since_ms: now_ms });
            }
            _ => out.push(Action::Close { link, why: "this server does not lead" }),
        }
    }

    /// A learner has said something, on either port for learners.
    pub fn on_learner_message(
        &mut self,
        now_ms: u64,
        link: LinkId,
        message: FromLearner,
        out: &mut Vec<Action>,
    ) {
        match &self.state {
            State::Leading(_) => {
                self.lead(now_ms, out, |leading, context| leading.on_message(context, link, message));
            }
            State::Looking => {
                let Some(place) = self.early.iter().position(|early| early.link == link) else { return };
                if self.early[place].info.replace(message).is_some() {
                    self.early.swap_remove(place);
                    out.push(Action::Close { link, why: "it does not wait for an answer" });
                }
            }
            State::Learning(_) => self.on_observer_message(now_ms, link, message, out),
        }
    }

    /// The connection that [`Action::ConnectLeader`] asked for stands.
    pub fn on_leader_connected(&mut self, now_ms: u64, link: LinkId, out: &mut Vec<Action>) {
        self.learn(now_ms, link, out, |learning, context| {
            learning.on_connected(context);
            Ok(())
        });
    }

    /// The leader has said something.
    pub fn on_leader_message(
        &mut self,
        now_ms: u64,
        link: LinkId,
        message: FromLeader,
        out: &mut Vec<Action>,
    ) {
        self.learn(now_ms, link, out, |learning, context| learning.on_message(context, message));
    }

    /// SNAP has come on this link, and the tree is being read.
    pub fn on_snapshot_arriving(&mut self, link: LinkId) {
        if let State::Learning(learning) = &mut self.state
            && learning.link() == link
        {
            learning.on_snapshot_arriving();
        }
    }

    /// The tree that followed SNAP on this link is in memory and on stable storage, and nothing else is.
    pub fn on_snapshot_installed(&mut self, now_ms: u64, link: LinkId, zxid: Zxid, out: &mut Vec<Action>) {
        self.ground.durable = zxid;
        self.needs_snapshot = false;
        self.ground.history.reset(zxid);
        self.learn(now_ms, link, out, |learning, context| learning.on_snapshot(context, zxid));
    }

    /// The leader's ping is to be answered, with the sessions that were heard since the last one.
    pub fn answer_ping(
        &mut self,
        now_ms: u64,
        link: LinkId,
        zxid: Zxid,
        sessions: Vec<(SessionId, i32)>,
        out: &mut Vec<Action>,
    ) {
        self.learn(now_ms, link, out, |learning, context| {
            learning.answer_ping(context, zxid, sessions);
            Ok(())
        });
    }

    /// [`Action::Truncate`] cannot be carried out: the place is not in the log, or nothing is left to rebuild the state
    /// from. Whatever is on the disk stays there; it only gives way to a whole tree.
    pub fn on_truncate_failed(&mut self, now_ms: u64, out: &mut Vec<Action>) {
        self.needs_snapshot = true;
        self.look(now_ms, "the log cannot be cut as the leader wants", out);
    }

    /// A connection on the quorum port is gone, or [`Action::ConnectLeader`] failed.
    pub fn on_link_closed(&mut self, now_ms: u64, link: LinkId, out: &mut Vec<Action>) {
        match &mut self.state {
            State::Leading(_) => {
                self.lead(now_ms, out, |leading, context| leading.on_closed(context, link));
            }
            State::Looking => self.early.retain(|early| early.link != link),
            State::Learning(learning) if learning.link() == link => {
                self.look(now_ms, "the connection to the leader is gone", out);
            }
            State::Learning(learning) => learning.observers.on_closed(link),
        }
    }

    /// The log is on stable storage up to here.
    pub fn on_synced(&mut self, now_ms: u64, up_to: Zxid, out: &mut Vec<Action>) {
        self.ground.durable = self.ground.durable.max(up_to);
        match &self.state {
            State::Leading(_) => self.lead(now_ms, out, |leading, context| leading.on_synced(context)),
            State::Learning(learning) => {
                let link = learning.link();
                self.learn(now_ms, link, out, |learning, context| {
                    learning.on_synced(context);
                    Ok(())
                });
            }
            State::Looking => {}
        }
    }

    /// Time has passed.
    pub fn on_tick(&mut self, now_ms: u64, out: &mut Vec<Action>) {
        match &self.state {
            State::Looking => {
                self.part_with_early(now_ms, out);
                self.elect(now_ms, out, |election, actions| election.on_tick(now_ms, actions));
            }
            State::Leading(_) => self.lead(now_ms, out, |leading, context| leading.on_tick(context)),
            State::Learning(learning) => {
                let link = learning.link();
                self.learn(now_ms, link, out, |learning, context| learning.on_tick(context));
            }
        }
    }

    /// When [`Peer::on_tick`] has something to do, if nothing happens before.
    pub fn deadline_ms(&self) -> Option<u64> {
        let election = self.election.as_ref()?;
        match &self.state {
            State::Looking => {
                let first = self.early.iter().map(|early| early.since_ms + self.early_patience_ms()).min();
                election.deadline_ms().into_iter().chain(first).min()
            }
            State::Leading(leading) => Some(leading.deadline_ms()),
            State::Learning(learning) => Some(learning.deadline_ms(&self.ground.settings)),
        }
    }

    /// Who was elected knows it about as early as those who follow. When nothing comes of it, this server has begun another
    /// election meanwhile; a learner that is not told would wait all of initLimit for it.
    fn part_with_early(&mut self, now_ms: u64, out: &mut Vec<Action>) {
        let patience_ms = self.early_patience_ms();
        self.early.retain(|early| {
            let waits = now_ms < early.since_ms + patience_ms;
            if !waits {
                out.push(Action::Close { link: early.link, why: "this server does not lead" });
            }
            waits
        });
    }

    fn early_patience_ms(&self) -> u64 {
        self.ground.settings.tick_ms / 2 + self.ground.settings.finalize_wait_ms
    }

    /// The zxid for the next transaction; `None` if this server does not lead or its epoch is used up.
    pub fn next_zxid(&mut self) -> Option<Zxid> {
        let State::Leading(leading) = &mut self.state else { return None };
        let counter_max = self.ground.settings.counter_max;
        let next = |leading: &Leading| leading.next_zxid().filter(|zxid| zxid.counter() <= counter_max);
        if self.election.is_none() && next(leading).is_none() {
            leading.next_epoch_alone();
        }
        next(leading).filter(|_| leading.is_serving())
    }

    /// Proposes the transaction that got [`Peer::next_zxid`]. The caller appends it to the log.
    pub fn propose(&mut self, now_ms: u64, zxid: Zxid, envelope: Bytes, out: &mut Vec<Action>) {
        self.lead(now_ms, out, |leading, context| {
            leading.propose(context, zxid, envelope);
            Ok(())
        });
    }

    /// The epoch has no zxids left: another election begins, and with it another epoch (ZOOKEEPER-1277).
    pub fn resign(&mut self, now_ms: u64, why: &'static str, out: &mut Vec<Action>) {
        self.look(now_ms, why, out);
    }

    /// A client of this leader wants to see everything committed so far: [`Action::SyncDone`] with `token` follows.
    pub fn sync(&mut self, now_ms: u64, token: u64, out: &mut Vec<Action>) {
        self.lead(now_ms, out, |leading, context| {
            leading.sync(context, Waiting::Here { token });
            Ok(())
        });
    }

    /// The same for a client of a learner.
    pub fn sync_for(&mut self, now_ms: u64, link: LinkId, out: &mut Vec<Action>) {
        self.lead(now_ms, out, |leading, context| {
            leading.sync(context, Waiting::Learner { link });
            Ok(())
        });
    }

    /// [`Action::ConsultLog`] was carried out. `before` is the last transaction in the log that does not come behind the
    /// learner's last one; `None` if the log does not have that, or is not whole from there to where it was asked up to, or
    /// is too long to be worth it. An answer that nobody waits for any more is ignored.
    pub fn on_log_consulted(
        &mut self,
        now_ms: u64,
        link: LinkId,
        before: Option<Zxid>,
        out: &mut Vec<Action>,
    ) {
        self.lead(now_ms, out, |leading, context| {
            leading.on_log_consulted(context, link, before);
            Ok(())
        });
    }

    /// [`Action::SendLog`] has come to nothing half way, and nothing more goes to the learner.
    pub fn on_log_failed(&mut self, now_ms: u64, link: LinkId, out: &mut Vec<Action>) {
        self.lead(now_ms, out, |leading, context| leading.on_log_failed(context, link));
    }

    fn kind(&self) -> LearnerKind {
        self.ground.members.kind()
    }

    fn look(&mut self, now_ms: u64, why: &'static str, out: &mut Vec<Action>) {
        self.leave_role(why, out);
        self.adopt_membership(now_ms, out);
        let standing = Standing {
            last_zxid: Some(self.ground.history.last()).filter(|_| !self.needs_snapshot),
            current_epoch: self.ground.epochs.current,
            may_vote: self.ground.members.electorate.is_committed_voter(self.ground.settings.me),
            kind: self.kind(),
        };
        self.elect(now_ms, out, |election, actions| election.start(now_ms, &standing, actions));
    }

    fn leave_role(&mut self, why: &'static str, out: &mut Vec<Action>) {
        match std::mem::replace(&mut self.state, State::Looking) {
            State::Leading(leading) => {
                for link in leading.all_links() {
                    out.push(Action::Close { link, why: "this server no longer leads" });
                }
                self.ground.members.forget_former();
            }
            State::Learning(learning) => {
                let served = learning.is_serving();
                self.failed_joins = if served || self.ground.settings.join_pause_ms == 0 {
                    0
                } else {
                    self.failed_joins.saturating_add(1)
                };
                for link in learning.observers.links().chain([learning.link()]) {
                    out.push(Action::Close { link, why: "this server no longer follows" });
                }
            }
            State::Looking => {}
        }
        out.push(Action::Became(Role::Looking { why }));
    }

    /// A role has come to its end.
    fn end_role(&mut self, now_ms: u64, end: GiveUp, out: &mut Vec<Action>) {
        match end {
            GiveUp::Look(why) => self.look(now_ms, why, out),
            GiveUp::Follow { leader, zxid } => {
                self.leave_role("a reconfiguration says who leads", out);
                self.adopt_membership(now_ms, out);
                self.failed_joins = 0;
                let state = match self.kind() {
                    _ if leader == self.ground.settings.me => ServerState::Leading,
                    LearnerKind::Follower => ServerState::Following,
                    LearnerKind::Observer => ServerState::Observing,
                };
                if let Some(election) = &mut self.election {
                    election.settle(state, Vote { leader, zxid, peer_epoch: -1 }, -1);
                }
                self.take_role(now_ms, leader, out);
            }
        }
    }

    fn elect(
        &mut self,
        now_ms: u64,
        out: &mut Vec<Action>,
        step: impl FnOnce(&mut Election, &mut Vec<ElectionAction>),
    ) {
        let Some(election) = &mut self.election else { return };
        let mut actions = Vec::new();
        step(election, &mut actions);
        for action in actions {
            match action {
                ElectionAction::Notify { to, notification } => out.push(Action::Notify { to, notification }),
                ElectionAction::ConnectAll => out.push(Action::ConnectPeers),
                ElectionAction::Elected { vote, .. } => self.take_role(now_ms, vote.leader, out),
            }
        }
    }

    fn take_role(&mut self, now_ms: u64, leader: ServerId, out: &mut Vec<Action>) {
        if leader == self.ground.settings.me {
            self.become_leader(now_ms, out);
            return;
        }
        for early in self.early.drain(..) {
            out.push(Action::Close { link: early.link, why: "this server does not lead" });
        }
        self.links_dialed += 1;
        let link = LinkId::new(DIALED | self.links_dialed);
        let kind = self.kind();
        let steps = u64::from(self.failed_joins.saturating_sub(JOINS_WITHOUT_PAUSE));
        // A leader gives up when nobody comes within initLimit: all must be there well before.
        let longest_ms = self.ground.settings.init_ms() / 4;
        let pause_ms = (steps.min(JOIN_PAUSE_STEPS_MAX) * self.ground.settings.join_pause_ms).min(longest_ms);
        let attempt = (self.failed_joins, pause_ms);
        let learning = Learning::begin(&mut self.ground.context(now_ms, out), leader, link, kind, attempt);
        let learning = if self.needs_snapshot { learning.without_history() } else { learning };
        self.state = State::Learning(learning);
    }

    fn become_leader(&mut self, now_ms: u64, out: &mut Vec<Action>) {
        match Leading::begin(&mut self.ground.context(now_ms, out)) {
            Ok(leading) => self.state = State::Leading(leading),
            Err(end) => return self.end_role(now_ms, end, out),
        }
        self.note_epoch();
        for Early { link, info, .. } in std::mem::take(&mut self.early) {
            self.on_learner_connected(now_ms, link, out);
            if let Some(info) = info {
                self.on_learner_message(now_ms, link, info, out);
            }
        }
    }

    /// Servers that look for the leader are told of its established epoch (ZOOKEEPER-1732).
    fn note_epoch(&mut self) {
        let serving = match &self.state {
            State::Leading(leading) => leading.is_serving(),
            State::Learning(learning) => learning.is_serving(),
            State::Looking => false,
        };
        if serving && let Some(election) = &mut self.election {
            election.set_peer_epoch(self.ground.epochs.current);
        }
    }

    fn lead(
        &mut self,
        now_ms: u64,
        out: &mut Vec<Action>,
        step: impl FnOnce(&mut Leading, &mut Context<'_>) -> Result<(), GiveUp>,
    ) {
        let State::Leading(leading) = &mut self.state else { return };
        let before = (leading.is_serving(), self.ground.epochs.current);
        let mut context = self.ground.context(now_ms, out);
        let result = step(leading, &mut context);
        let is_news = (leading.is_serving(), self.ground.epochs.current) != before;
        self.adopt_membership(now_ms, out);
        match result {
            Err(end) => self.end_role(now_ms, end, out),
            Ok(()) if is_news => self.note_epoch(),
            Ok(()) => {}
        }
    }

    fn learn(
        &mut self,
        now_ms: u64,
        link: LinkId,
        out: &mut Vec<Action>,
        step: impl FnOnce(&mut Learning, &mut Context<'_>) -> Result<(), GiveUp>,
    ) {
        let State::Learning(learning) = &mut self.state else { return };
        if learning.link() != link {
            return;
        }
        let before = (learning.is_serving(), self.ground.epochs.current);
        let mut context = self.ground.context(now_ms, out);
        let result = step(learning, &mut context);
        let is_news = (learning.is_serving(), self.ground.epochs.current) != before;
        // The log may have become shorter.
        self.ground.durable = self.ground.durable.min(self.ground.history.last());
        self.adopt_membership(now_ms, out);
        match result {
            Err(end) => self.end_role(now_ms, end, out),
            Ok(()) if is_news => self.note_epoch(),
            Ok(()) => {}
        }
    }
}

/// The membership of a server that is no member of anything.
fn alone(me: ServerId) -> Membership {
    let member =
        Member { addresses: Vec::new(), role: MemberRole::Participant, client: None, secure_client: None };
    Membership { members: [(me, member)].into(), ..Membership::default() }
}
