//! What the other servers do to this one: its role, and what comes with it.

use bytes::Bytes;
use protocol::peer::{FromLeader, FromLearner};
use protocol::txn::Transaction;
use protocol::{OpCode, Xid, Zxid};
use tree::Pending;
use zab::{Action, LinkId, Role};

use super::{Known, Replica, Standing};
use crate::input::{Now, PeerInput};
use crate::output::{Delivery, Fact, PeerOutput};
use crate::status::ServerRole;

impl Replica {
    /// Something has happened between servers.
    pub(super) fn on_peer(&mut self, now: Now, event: PeerInput) {
        let (now_ms, actions) = (now.monotonic_ms, &mut self.actions);
        match event {
            PeerInput::Notification { from, notification } => {
                self.peer.on_notification(now_ms, from, notification, actions);
            }
            PeerInput::PeerConnected(peer) => self.peer.on_peer_connected(now_ms, peer, actions),
            PeerInput::PeerDisconnected(peer) => self.peer.on_peer_disconnected(now_ms, peer, actions),
            PeerInput::LearnerConnected(link) => self.peer.on_learner_connected(now_ms, link, actions),
            PeerInput::ObserverConnected(link) => self.peer.on_observer_connected(now_ms, link, actions),
            PeerInput::LeaderConnected(link) => self.peer.on_leader_connected(now_ms, link, actions),
            PeerInput::LinkClosed(link) => {
                self.peer.on_link_closed(now_ms, link, actions);
                self.forget_transfer(link);
                self.proxied.forget(link);
            }
            PeerInput::SnapshotArriving(link) => self.peer.on_snapshot_arriving(link),
            PeerInput::SnapshotRead(membership) => self.peer.on_membership_found(now_ms, membership, actions),
            PeerInput::SnapshotInstalled { link, zxid } => {
                self.state_replaced(zxid);
                self.snapshot.transactions = 0;
                self.peer.on_snapshot_installed(now_ms, link, zxid, &mut self.actions);
            }
            PeerInput::Reloaded => self.state_replaced(self.peer.history().committed()),
            PeerInput::LogConsulted { link, before } => {
                self.peer.on_log_consulted(now_ms, link, before, actions);
            }
            PeerInput::LogFailed(link) => self.peer.on_log_failed(now_ms, link, actions),
            PeerInput::TruncateFailed => self.peer.on_truncate_failed(now_ms, actions),
            PeerInput::FromLearner(link, message) => self.on_learner_message(now, link, message),
            PeerInput::FromLeader(link, message) => self.on_leader_message(now, link, message),
        }
    }

    /// The tree is another one, and holds everything that the log holds.
    fn state_replaced(&mut self, last: Zxid) {
        self.proposals.clear();
        self.progress.committed = last;
        self.durable = last;
        self.shared.status.set_applied(last);
    }

    fn on_learner_message(&mut self, now: Now, link: LinkId, mut message: FromLearner) {
        if let Standing::Learning { link: leader } = self.standing {
            if self.peer.serves(link) {
                match self.on_observer_message(now, (leader, link), message) {
                    Some(rest) => message = rest,
                    None => return,
                }
            }
        } else if self.peer.serves(link) {
            match &message {
                FromLearner::Request { session, cxid, op, body, ids } => {
                    return self.on_forwarded(now, link, (*session, ids), (*cxid, *op), body);
                }
                FromLearner::Revalidate { session, .. } => {
                    return self.on_renewal_asked(now, link, *session);
                }
                FromLearner::Ping { sessions, .. } => {
                    let mut tracker = self.shared.sessions.lock();
                    for &(session, _) in sessions {
                        tracker.touch(session, now.monotonic_ms);
                    }
                }
                _ => {}
            }
        }
        self.peer.on_learner_message(now.monotonic_ms, link, message, &mut self.actions);
    }

    fn on_leader_message(&mut self, now: Now, link: LinkId, message: FromLeader) {
        match &message {
            FromLeader::Proposal { zxid, envelope }
            | FromLeader::Inform { zxid, envelope }
            | FromLeader::InformAndActivate { zxid, envelope, .. } => {
                if let Err(why) = check_envelope(*zxid, envelope) {
                    return self.bad_peer(now, link, why);
                }
            }
            FromLeader::Ping { zxid } => {
                let heard = self.take_heard();
                self.last_ping_ms = now.monotonic_ms;
                self.peer.answer_ping(now.monotonic_ms, link, *zxid, heard, &mut self.actions);
            }
            FromLeader::Sync if self.peer.learns_from(link) => {
                self.on_sync_answered(now);
            }
            FromLeader::Revalidate { session, valid } if self.peer.learns_from(link) => {
                self.on_renewed(now, *session, *valid);
            }
            _ => {}
        }
        self.peer.on_leader_message(now.monotonic_ms, link, message, &mut self.actions);
    }

    /// Hands an action to the shell behind all that were decided before it.
    pub(super) fn emit(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// Does what the peer wants done, or passes it on, in order: what comes up meanwhile is done behind it. At the end of
    /// every step, and wherever the role must be known.
    pub(super) fn carry_out(&mut self, now: Now) {
        while !self.actions.is_empty() {
            let mut actions = std::mem::take(&mut self.actions);
            let mut rest = actions.drain(..);
            while let Some(action) = rest.next() {
                if self.must_wait(&action) {
                    let later = std::mem::take(&mut self.actions);
                    self.actions.push(action);
                    self.actions.extend(rest);
                    self.actions.extend(later);
                    return;
                }
                match action {
                    Action::Committed { up_to } => self.progress.committed = up_to,
                    Action::SyncDone { token } => self.progress.syncs = token,
                    Action::SendSnapshot { link } => self.await_transfer(link),
                    Action::EpochBegan { epoch } => self.outputs.facts.push(Fact::EpochBegan(epoch)),
                    Action::Became(role) => self.become_role(now, role),
                    other => self.pass_on(other),
                }
            }
            drop(rest);
            if self.actions.is_empty() {
                // Its room is used again.
                self.actions = actions;
            }
        }
    }

    /// A role in which clients are served begins by applying what is committed. Connections of the role before must have
    /// been told to close by then: they may still be read on, and hear of nothing that is applied then.
    fn must_wait(&self, action: &Action) -> bool {
        let begins = matches!(action, Action::Became(Role::Leading { .. } | Role::Learning { .. }));
        begins && !self.outputs.deliveries.is_empty()
    }

    /// Whether a role waits for what is to be delivered.
    pub(super) fn role_waits(&self) -> bool {
        self.actions.first().is_some_and(|action| self.must_wait(action))
    }

    fn pass_on(&mut self, action: Action) {
        match &action {
            Action::Append { zxid, envelope } => self.proposals.push_back((*zxid, envelope.clone())),
            Action::Truncate { to, reload } => {
                let to = *to;
                if *reload {
                    self.proposals.clear();
                } else {
                    self.proposals.retain(|(zxid, _)| *zxid <= to);
                }
            }
            Action::Close { link, .. } => {
                self.forget_transfer(*link);
                self.proxied.forget(*link);
            }
            _ => {}
        }
        self.peer_outputs.push(PeerOutput::Do(action));
    }

    /// The first look for a leader.
    pub(super) fn start_looking(&mut self, now: Now) {
        self.peer.start(now.monotonic_ms, &mut self.actions);
        self.carry_out(now);
    }

    fn become_role(&mut self, now: Now, role: Role) {
        self.outputs.facts.push(Fact::RoleChanged(role));
        let what = match role {
            Role::Looking { .. } | Role::Preparing | Role::Joining { .. } => ServerRole::Looking,
            Role::Leading { .. } => ServerRole::Leader,
            Role::Learning { kind: protocol::peer::LearnerKind::Follower, .. } => ServerRole::Follower,
            Role::Learning { kind: protocol::peer::LearnerKind::Observer, .. } => ServerRole::Observer,
        };
        self.shared.status.set_role(what, now.monotonic_ms);
        self.note_learners();
        match role {
            Role::Looking { .. } => {
                self.leave_role();
                self.plan_read_only(now);
            }
            Role::Preparing | Role::Joining { .. } => self.stop_serving_reads(),
            Role::Leading { .. } => {
                self.enter_role(now, Standing::Leading { alone: false });
                self.close_stray_sessions(now);
            }
            Role::Learning { link, .. } => self.enter_role(now, Standing::Learning { link }),
        }
    }

    /// For operators.
    pub(super) fn note_learners(&self) {
        if self.standing != (Standing::Leading { alone: true }) {
            self.shared.status.set_learners(self.peer.learner_counts());
            self.shared.status.set_observers_served(self.peer.observers_served().unwrap_or(0));
        }
    }

    /// Nobody can be served: connections are closed, and what was under way is forgotten. Transactions are not: they are
    /// logged, and the next leader decides about them.
    pub(super) fn leave_role(&mut self) {
        self.standing = Standing::Out;
        for connection in std::mem::take(&mut self.connections).into_iter().flatten() {
            // Its watches go with [`crate::Input::Disconnected`]: reads are answered until then, and must find them.
            self.outputs.deliveries.push(Delivery::Close { connection: connection.id });
        }
        let (proposals, outputs) = (&mut self.proposals, &mut self.peer_outputs);
        self.queue.abandon(|zxid, envelope, logged| {
            let envelope = Bytes::copy_from_slice(envelope);
            if !logged {
                outputs.push(PeerOutput::Do(Action::Append { zxid, envelope: envelope.clone() }));
            }
            proposals.push_back((zxid, envelope));
        });
        self.pending = Pending::new();
        self.progress.syncs = self.syncs;
        self.reaper.candidates.clear();
        self.forget_renewals();
        self.proxied.clear();
        self.doubts.clear();
        self.forget_transfers();
    }

    /// A leader was found, or this is one: what is committed is applied, and clients can come.
    fn enter_role(&mut self, now: Now, standing: Standing) {
        let shared = std::sync::Arc::clone(&self.shared);
        while self.can_complete() {
            self.complete_batch(now, &mut shared.lock().write());
        }
        let membership = self.peer.membership();
        let (text, version) = (membership.to_string(), Zxid::from_wire(membership.version));
        shared.lock().write().set_config(text.as_bytes(), version, now.wall_ms);
        shared.restart_sessions(now.monotonic_ms);
        self.last_ping_ms = now.monotonic_ms;
        self.reaper.last_tick_ms = now.monotonic_ms;
        self.standing = standing;
    }

    /// Ephemeral nodes whose session does not exist, as a fuzzy snapshot of Java's can leave them behind: a transaction
    /// removes them everywhere.
    fn close_stray_sessions(&mut self, now: Now) {
        let tree = self.shared.tree();
        let strays: Vec<_> = tree
            .ephemeral_owners()
            .map(|(session, _)| session)
            .filter(|&session| tree.session_timeout_ms(session).is_none())
            .collect();
        drop(tree);
        for session in strays {
            let request = (Xid::new(0), OpCode::CloseSession.to_wire(), now.monotonic_ms);
            self.propose(
                now,
                (None, session, &[], Ok(Known::Everywhere)),
                request,
                |pending, context, out| {
                    pending.prepare_close_session(context, out);
                },
            );
        }
    }
}

/// What is logged must be readable for as long as the log exists: it is looked at before.
fn check_envelope(zxid: Zxid, envelope: &[u8]) -> Result<(), String> {
    let txn = Transaction::read(envelope)
        .map_err(|error| format!("the transaction of proposal {zxid} cannot be read: {error}"))?;
    if txn.header.zxid != zxid {
        return Err(format!("proposal {zxid} holds transaction {}", txn.header.zxid));
    }
    Ok(())
}
