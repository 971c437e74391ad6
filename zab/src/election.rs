//! Fast Leader Election (`FastLeaderElection`): a server that looks for a leader tells everybody whom it would elect,
//! takes over whatever is better, and is done when a quorum says the same.
//!
//! Whoever is elected must still find a quorum that accepts its epoch and its history before it leads. What an election
//! gives is one candidate, soon, with the longest history of a quorum. One thing here is needed for safety: who has heard of
//! a newer membership joins nobody who has no quorum there. A leader may have that reconfiguration in its tree and not know
//! of it (a Java server that crashed between the two), and would go on with those from before beside those of now.
//!
//! `vote` says which vote is better and which are equal, `tally` who stands behind one. The machine never dials, never
//! sends and never looks at a clock: it says what is to be done, and is told what happened. The membership text that
//! notifications carry is none of its business either; whoever drives it compares the versions.

#[cfg(test)]
mod chaos;
#[cfg(test)]
mod scenario;
mod tally;
mod vote;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::peer::{LearnerKind, Notification, ServerState, Vote};
use protocol::{Epoch, ServerId, Zxid};

use crate::quorum::{Electorate, VoterSet};
use tally::Tally;
use vote::{Ballot, Heard, is_better};

/// What does not change while a server runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ElectionSettings {
    /// This server.
    pub me: ServerId,
    /// How long nobody may come with something better before a quorum's choice stands, in milliseconds
    /// (`finalizeWait`, 200).
    pub finalize_wait_ms: u64,
    /// How long to wait for any news before telling everybody again, the first time, in milliseconds
    /// (`zookeeper.fastleader.minNotificationInterval`, 200). It doubles from there.
    pub notification_interval_min_ms: u64,
    /// The longest such wait, in milliseconds (`zookeeper.fastleader.maxNotificationInterval`, 60000).
    pub notification_interval_max_ms: u64,
}

/// What a server brings into an election.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// The last transaction in its log; `None` if its data is not to be trusted (files are missing), so that it may
    /// only join others.
    pub last_zxid: Option<Zxid>,
    /// The epoch of the leader that it last followed to the end of synchronization.
    pub current_epoch: Epoch,
    /// Whether it is a participant and votes in the committed membership.
    pub may_vote: bool,
    /// As what it will join a leader.
    pub kind: LearnerKind,
}

/// What an election wants done, in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ElectionAction {
    /// Send this. Only the newest for a server matters: one that has not left yet may be replaced. It is always for
    /// a server whose connection was announced, or that has just sent something.
    Notify {
        /// To whom.
        to: ServerId,
        /// What.
        notification: Notification,
    },
    /// Dial every voter that is not connected.
    ConnectAll,
    /// The election is over; [`Election::state`] says as what.
    Elected {
        /// Who leads, and why.
        vote: Vote,
        /// The round in which that was decided.
        round: i64,
    },
}

/// The part of a server that takes part in elections, and tells others of its leader between them.
#[derive(Clone, Debug)]
pub struct Election {
    settings: ElectionSettings,
    electorate: Electorate,
    membership_text: Arc<str>,
    /// How many elections there were (`logicalclock`), as far as this server has heard; 0 before the first.
    round: i64,
    /// The voters, apart from this server, to which there is a connection. Never more than the electorate has.
    connected: BTreeSet<ServerId>,
    /// Whether an election has ended before, so that the connections are those that can be had.
    has_settled: bool,
    phase: Phase,
}

#[derive(Clone, Debug)]
enum Phase {
    /// Not started. The last word of each voter waits for the start.
    Idle {
        early: BTreeMap<ServerId, Heard>,
    },
    Looking(Looking),
    Settled {
        state: ServerState,
        vote: Vote,
        round: i64,
    },
}

/// One election.
#[derive(Clone, Debug)]
struct Looking {
    kind: LearnerKind,
    /// Participants whose data is not trusted must not be talked into voting.
    listens: bool,
    /// The vote for oneself; `None` for who cannot lead.
    initial: Option<Vote>,
    proposal: Option<Vote>,
    /// Ballots of this round (`recvset`).
    received: Tally,
    /// Ballots of servers that have settled, of any round (`outofelection`).
    settled: Tally,
    interval_ms: u64,
    /// The end of the finalize wait, or of the wait for news.
    deadline_ms: u64,
    /// A quorum agrees with the proposal; is there anybody who knows better?
    finalizing: bool,
}

impl Election {
    /// A server that has not looked for a leader yet.
    ///
    /// `membership_text` is the committed membership as notifications carry it.
    pub fn new(
        settings: ElectionSettings,
        electorate: Electorate,
        membership_text: impl Into<Arc<str>>,
    ) -> Election {
        Election {
            settings,
            electorate,
            membership_text: membership_text.into(),
            round: 0,
            connected: BTreeSet::new(),
            has_settled: false,
            phase: Phase::Idle { early: BTreeMap::new() },
        }
    }

    /// LOOKING begins: at start-up, and whenever the role that an election gave has come to its end.
    pub fn start(&mut self, now_ms: u64, standing: &Standing, out: &mut Vec<ElectionAction>) {
        // Java's counter wraps too; it takes a peer's lie to get there.
        self.round = self.round.wrapping_add(1);
        let may_vote = standing.may_vote && self.electorate.is_committed_voter(self.settings.me);
        let initial = standing.last_zxid.filter(|_| may_vote).map(|zxid| Vote {
            leader: self.settings.me,
            zxid,
            peer_epoch: i64::from(standing.current_epoch.get()),
        });
        let looking = Looking {
            kind: standing.kind,
            listens: standing.last_zxid.is_some() || standing.kind == LearnerKind::Observer,
            initial,
            proposal: initial,
            received: Tally::default(),
            settled: Tally::default(),
            interval_ms: self.settings.notification_interval_min_ms,
            deadline_ms: 0,
            finalizing: false,
        };
        let before = std::mem::replace(&mut self.phase, Phase::Looking(looking));
        self.tell_everybody(out);
        self.conclude(now_ms, out);
        if let Phase::Idle { early } = before {
            early.into_values().for_each(|heard| self.on_heard(now_ms, heard, out));
        }
    }

    /// A notification came in. To be called in every state: servers that look for a leader are answered by those that
    /// have one.
    pub fn on_notification(
        &mut self,
        now_ms: u64,
        from: ServerId,
        notification: Notification,
        out: &mut Vec<ElectionAction>,
    ) {
        if from != self.settings.me {
            self.on_heard(now_ms, Heard::new(from, &notification), out);
        }
    }

    /// There is a connection to a server, or a new one in place of the old.
    pub fn on_connected(&mut self, peer: ServerId, out: &mut Vec<ElectionAction>) {
        if peer == self.settings.me || !self.electorate.is_voter(peer) {
            return;
        }
        self.connected.insert(peer);
        // Whatever was said before may be lost with the old connection.
        if matches!(self.phase, Phase::Looking(_)) {
            out.push(ElectionAction::Notify { to: peer, notification: self.notification() });
        }
    }

    /// The connection to a server is gone, and there is no other.
    pub fn on_disconnected(&mut self, peer: ServerId, out: &mut Vec<ElectionAction>) {
        self.connected.remove(&peer);
        let Phase::Looking(looking) = &mut self.phase else { return };
        // A leader that cannot be reached cannot be joined, whatever it said before. If it still leads, it will say
        // so again over the next connection.
        looking.received.forget_settled(peer);
        looking.settled.forget_settled(peer);
        if looking.finalizing && self.nobody_can_differ() {
            self.finish_with_proposal(out);
        }
    }

    /// Time has passed. Does nothing before [`deadline_ms`](Election::deadline_ms).
    pub fn on_tick(&mut self, now_ms: u64, out: &mut Vec<ElectionAction>) {
        let Phase::Looking(looking) = &mut self.phase else { return };
        if now_ms < looking.deadline_ms {
            return;
        }
        if looking.finalizing {
            return self.finish_with_proposal(out);
        }
        looking.interval_ms =
            looking.interval_ms.saturating_mul(2).min(self.settings.notification_interval_max_ms);
        self.tell_everybody(out);
        self.conclude(now_ms, out);
    }

    /// When [`on_tick`](Election::on_tick) should come next; `None` while there is no election.
    pub fn deadline_ms(&self) -> Option<u64> {
        match &self.phase {
            Phase::Looking(looking) => Some(looking.deadline_ms),
            Phase::Idle { .. } | Phase::Settled { .. } => None,
        }
    }

    /// A leader was named without an election (by a reconfiguration): from now on this is what is answered. After an
    /// election it need not be called.
    ///
    /// `state` is not [`ServerState::Looking`]: that is [`start`](Election::start).
    pub fn settle(&mut self, state: ServerState, vote: Vote, round: i64) {
        assert!(state != ServerState::Looking, "who looks for a leader has not settled");
        self.has_settled = true;
        self.phase = Phase::Settled { state, vote, round };
    }

    /// The epoch of the leader is established: answers say so from now on (ZOOKEEPER-1732). Does nothing during an
    /// election.
    pub fn set_peer_epoch(&mut self, epoch: Epoch) {
        if let Phase::Settled { vote, .. } = &mut self.phase {
            vote.peer_epoch = i64::from(epoch.get());
        }
    }

    /// The memberships in force have changed. Connections to servers that were no voters must be announced
    /// again, as they were not remembered; an election under way goes on with those ballots that still count, but
    /// is better [started](Election::start) again.
    pub fn set_electorate(&mut self, electorate: Electorate) {
        self.connected.retain(|server| electorate.is_voter(*server));
        match &mut self.phase {
            Phase::Idle { early } => early.retain(|server, _| electorate.is_voter(*server)),
            Phase::Looking(looking) => {
                looking.received.retain_voters(&electorate);
                looking.settled.retain_voters(&electorate);
                // What was a quorum need not be one now: the deadline, which is near, counts again.
                looking.finalizing = false;
            }
            Phase::Settled { .. } => {}
        }
        self.electorate = electorate;
    }

    /// The text of the committed membership, for notifications sent from now on.
    pub fn set_membership_text(&mut self, text: impl Into<Arc<str>>) {
        self.membership_text = text.into();
    }

    /// What this server proposes or has settled on; `None` before the first election and while it has no say.
    pub fn vote(&self) -> Option<Vote> {
        match &self.phase {
            Phase::Idle { .. } => None,
            Phase::Looking(looking) => looking.proposal,
            Phase::Settled { vote, .. } => Some(*vote),
        }
    }

    /// What this server does.
    pub fn state(&self) -> ServerState {
        match &self.phase {
            Phase::Idle { .. } | Phase::Looking(_) => ServerState::Looking,
            Phase::Settled { state, .. } => *state,
        }
    }

    /// The count of elections (`logicalclock`).
    pub fn round(&self) -> i64 {
        self.round
    }

    /// What happens to every notification, in an election or not (`WorkerReceiver`).
    fn on_heard(&mut self, now_ms: u64, heard: Heard, out: &mut Vec<ElectionAction>) {
        if !self.electorate.is_voter(heard.from) {
            return self.answer_non_voter(&heard, out);
        }
        match &mut self.phase {
            Phase::Idle { early } => {
                early.insert(heard.from, heard);
            }
            Phase::Settled { round, .. } => {
                if heard.state == ServerState::Looking {
                    let notification = Notification { round: *round, ..self.notification() };
                    out.push(ElectionAction::Notify { to: heard.from, notification });
                }
            }
            Phase::Looking(_) => {
                // Whoever lags behind must come to this round, but who does not vote cannot call it there: the
                // other's answer to a non-voter would come straight back, and so on.
                let lags = heard.state == ServerState::Looking && heard.round < self.round;
                if lags && self.electorate.is_voter(self.settings.me) {
                    out.push(ElectionAction::Notify { to: heard.from, notification: self.notification() });
                }
                self.weigh(now_ms, &heard, out);
            }
        }
    }

    /// An observer, or a server that is no member, is told and never counted.
    ///
    /// Java answers whatever it hears, with the vote of the last election even while the next one is under way. Two
    /// servers that count each other as non-voters would then answer each other for ever, and an observer could find a
    /// quorum for a leader that is dead. So only those who ask are answered, with the current proposal; and an
    /// electing server keeps silent towards a later round, where its ballot would be ignored.
    fn answer_non_voter(&mut self, heard: &Heard, out: &mut Vec<ElectionAction>) {
        let answers = match self.phase {
            Phase::Idle { .. } => false,
            Phase::Looking(_) => heard.round <= self.round,
            Phase::Settled { .. } => true,
        };
        if answers && heard.state == ServerState::Looking {
            out.push(ElectionAction::Notify { to: heard.from, notification: self.notification() });
        }
    }

    /// A voter's notification during an election.
    fn weigh(&mut self, now_ms: u64, heard: &Heard, out: &mut Vec<ElectionAction>) {
        let is_called = self.is_called(heard);
        let Phase::Looking(looking) = &mut self.phase else { return };
        if is_called && looking.listens {
            self.round = heard.round;
            looking.received.clear();
            looking.proposal = looking.initial;
            looking.finalizing = false;
            self.tell_everybody(out);
            return self.conclude(now_ms, out);
        }
        let Some(vote) = heard.vote.filter(|vote| self.electorate.is_voter(vote.leader)) else { return };
        let Heard { state, round, versioned, .. } = *heard;
        let ballot = Ballot { vote, round, state, versioned };
        if looking.finalizing && !is_better(&self.electorate, &vote, looking.proposal.as_ref()) {
            // Too late to change anything, unless it is the agreement that was waited for.
            if looking.current_ballot(self.round).is_some_and(|ours| ours.agrees_with(&ballot)) {
                looking.received.insert(heard.from, ballot);
            } else if state == ServerState::Looking {
                self.correct(heard.from, &ballot, out);
            }
            return self.conclude(now_ms, out);
        }
        match state {
            ServerState::Looking => self.weigh_proposal(now_ms, heard.from, ballot, out),
            ServerState::Following | ServerState::Leading => {
                self.weigh_settled(now_ms, heard.from, ballot, out);
            }
            // Who votes only in the membership that is proposed, and has not heard of it, is an observer to its leader, and
            // has no other way to say that it would have that one.
            ServerState::Observing if !self.electorate.is_committed_voter(heard.from) => {
                self.weigh_settled(now_ms, heard.from, ballot, out);
            }
            ServerState::Observing => {}
        }
    }

    /// Whether a server that may not lead yet waits in a later round: it votes only in the membership that is proposed,
    /// and without it there may be no quorum there. It says no more than its round until it hears a vote of that.
    fn is_called(&self, heard: &Heard) -> bool {
        let waits = heard.state == ServerState::Looking && heard.vote.is_none();
        waits && heard.round > self.round && !self.electorate.is_committed_voter(heard.from)
    }

    /// Another electing server's ballot.
    fn weigh_proposal(&mut self, now_ms: u64, from: ServerId, ballot: Ballot, out: &mut Vec<ElectionAction>) {
        let Phase::Looking(looking) = &mut self.phase else { return };
        if !looking.listens {
            return;
        }
        if ballot.round > self.round {
            self.round = ballot.round;
            looking.received.clear();
            let initial = looking.initial;
            let takes_over = is_better(&self.electorate, &ballot.vote, initial.as_ref());
            looking.proposal = if takes_over { Some(ballot.vote) } else { initial };
            self.tell_everybody(out);
        } else if ballot.round == self.round
            && is_better(&self.electorate, &ballot.vote, looking.proposal.as_ref())
        {
            looking.proposal = Some(ballot.vote);
            self.tell_everybody(out);
        } else {
            self.correct(from, &ballot, out);
        }
        if ballot.round == self.round
            && let Phase::Looking(looking) = &mut self.phase
        {
            looking.received.insert(from, ballot);
        }
        self.conclude(now_ms, out);
    }

    /// Tells a voter of the same round about the better proposal that this server has. It may still have had a leader when
    /// that came to it, and have dropped it: otherwise it would learn of it when somebody's wait for news is over. Whoever
    /// is told takes the proposal over, so this ends.
    fn correct(&self, voter: ServerId, ballot: &Ballot, out: &mut Vec<ElectionAction>) {
        let Phase::Looking(looking) = &self.phase else { return };
        if ballot.round == self.round
            && looking.proposal.is_some_and(|ours| is_better(&self.electorate, &ours, Some(&ballot.vote)))
        {
            out.push(ElectionAction::Notify { to: voter, notification: self.notification() });
        }
    }

    /// The ballot of a server that has a leader: joins that leader if a quorum does, and it agrees.
    fn weigh_settled(&mut self, now_ms: u64, from: ServerId, ballot: Ballot, out: &mut Vec<ElectionAction>) {
        let Phase::Looking(looking) = &mut self.phase else { return };
        let in_this_round = ballot.round == self.round;
        if in_this_round {
            // Kept without the form it came in, so that only the leader is compared: all who are settled in one
            // round elected it together, and some may know its epoch already.
            looking.received.insert(from, Ballot { versioned: false, ..ballot });
        }
        looking.settled.insert(from, ballot);
        let may_lead = looking.initial.is_some() && self.electorate.weight(self.settings.me) != 0;
        let joins = |tally: &Tally| {
            let leads = if ballot.vote.leader == self.settings.me {
                // Others follow this very server since before it started again. If the round is the same it may go
                // on; they find out in discovery whether it still can.
                in_this_round && may_lead
            } else {
                tally.says_it_leads(ballot.vote.leader)
            };
            let mut supporters = tally.supporters(&self.electorate, &ballot);
            let in_force = self.electorate.decides_committed(supporters);
            // A membership that was proposed may have come to nothing: this server itself must not be what is missing
            // for a quorum there, or it would stay away for ever. Without any quorum there it must stay away.
            self.electorate.insert(&mut supporters, self.settings.me);
            leads && in_force && self.electorate.decides(supporters)
        };
        if (in_this_round && joins(&looking.received)) || joins(&looking.settled) {
            return self.finish(ballot.vote, ballot.round, out);
        }
        self.conclude(now_ms, out);
    }

    /// Sends the proposal to every voter that can be reached, this server included, and has the others dialed: waiting
    /// for a silence to do so could take for ever while some server has news all the time.
    fn tell_everybody(&mut self, out: &mut Vec<ElectionAction>) {
        let notification = self.notification();
        for &to in &self.connected {
            out.push(ElectionAction::Notify { to, notification: notification.clone() });
        }
        self.dial(out);
        let (me, round) = (self.settings.me, self.round);
        if let Phase::Looking(looking) = &mut self.phase
            && let Some(ballot) = looking.current_ballot(round)
            && self.electorate.is_voter(me)
        {
            looking.received.insert(me, ballot);
        }
    }

    fn dial(&self, out: &mut Vec<ElectionAction>) {
        let mut others = self.electorate.voters().filter(|server| *server != self.settings.me);
        if others.any(|server| !self.connected.contains(&server)) {
            out.push(ElectionAction::ConnectAll);
        }
    }

    /// Looks whether a quorum agrees with the proposal, and how long to wait now.
    fn conclude(&mut self, now_ms: u64, out: &mut Vec<ElectionAction>) {
        let decided = self.electorate.decides(self.supporters());
        if decided && self.nobody_can_differ() {
            return self.finish_with_proposal(out);
        }
        let Phase::Looking(looking) = &mut self.phase else { return };
        looking.finalizing = decided;
        let wait_ms = if decided { self.settings.finalize_wait_ms } else { looking.interval_ms };
        looking.deadline_ms = now_ms.saturating_add(wait_ms);
    }

    /// Who votes for the proposal in this round.
    fn supporters(&self) -> VoterSet {
        let Phase::Looking(looking) = &self.phase else { return VoterSet::default() };
        let ballot = looking.current_ballot(self.round);
        ballot.map_or_else(VoterSet::default, |ballot| looking.received.supporters(&self.electorate, &ballot))
    }

    /// Whether waiting for something better is in vain, as everybody who could come with it agrees already.
    ///
    /// Java waits 200 ms in any case. That wait spares the trouble of following a server which its own supporters
    /// abandon in the next moment; it is never needed for safety, because a quorum stands behind the proposal
    /// already and would have to accept its epoch, with or without the wait. A voter that has no connection is
    /// not waited for: it will find a leader when it comes. Only in a server's first election it is, as the connections
    /// are still being made then.
    fn nobody_can_differ(&self) -> bool {
        let supporters = self.supporters();
        if !self.has_settled {
            return self.electorate.all().is_subset_of(supporters);
        }
        let mut present = VoterSet::default();
        for server in self.connected.iter().chain([&self.settings.me]) {
            self.electorate.insert(&mut present, *server);
        }
        self.electorate.decides(present) && present.is_subset_of(supporters)
    }

    fn finish_with_proposal(&mut self, out: &mut Vec<ElectionAction>) {
        if let Phase::Looking(Looking { proposal: Some(vote), .. }) = self.phase {
            self.finish(vote, self.round, out);
        }
    }

    fn finish(&mut self, vote: Vote, round: i64, out: &mut Vec<ElectionAction>) {
        let Phase::Looking(looking) = &self.phase else { return };
        let state = match looking.kind {
            _ if vote.leader == self.settings.me => ServerState::Leading,
            LearnerKind::Follower => ServerState::Following,
            LearnerKind::Observer => ServerState::Observing,
        };
        self.round = round;
        self.settle(state, vote, round);
        out.push(ElectionAction::Elected { vote, round });
    }

    /// What this server has to say now.
    fn notification(&self) -> Notification {
        Notification {
            state: self.state(),
            vote: self.vote(),
            round: self.round,
            membership: Some(self.membership_text.to_string()),
        }
    }
}

impl Looking {
    /// The proposal, as this server's own ballot.
    fn current_ballot(&self, round: i64) -> Option<Ballot> {
        let vote = self.proposal?;
        Some(Ballot { vote, round, state: ServerState::Looking, versioned: true })
    }
}
