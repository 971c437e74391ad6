//! What a driver of a peer does with its actions.

use std::rc::Rc;
use std::sync::Arc;

use protocol::Zxid;
use protocol::peer::{FromLeader, LearnerKind, Membership};

use super::flight::{at, from_leader, from_learner, members};
use super::{Cargo, Connection, Ensemble, Flight};
use super::{
    SAW_COMMIT, SAW_INHERITED_TAIL, SAW_LOG, SAW_REFUSAL, SAW_SECOND_LEADER, SAW_TRUNCATE, SAW_TURN,
};
use crate::action::{Action, Role};
use crate::history::Entry;
use crate::invariants::{Observed, Record, check_word};
use crate::link::LinkId;
use crate::quorum::Electorate;

/// A server dials less often than that before it starts again, so that every connection has its own number.
const DIALS_PER_START: u64 = 1 << 16;

impl Ensemble {
    pub(super) fn carry_out(&mut self, id: i64, actions: Vec<Action>) {
        for action in actions {
            self.carry_out_one(id, action);
        }
    }

    fn carry_out_one(&mut self, id: i64, action: Action) {
        match action {
            Action::StoreAcceptedEpoch(epoch) => {
                self.see(id, None, || format!("stores acceptedEpoch {epoch}"));
                self.server_mut(id).disk.epochs.accepted = epoch;
            }
            Action::StoreCurrentEpoch(epoch) => {
                self.see(id, None, || format!("stores currentEpoch {epoch}"));
                self.server_mut(id).disk.epochs.current = epoch;
                let result = self.record.on_epoch_stored(&self.server(id).observed(id), epoch);
                self.note(result);
            }
            Action::Append { zxid, envelope } => {
                self.see(id, None, || format!("logs {}", at(zxid)));
                self.server_mut(id).disk.log.push(Entry { zxid, envelope });
            }
            Action::StoreProposed(membership) => {
                self.see(id, None, || format!("stores {} as proposed", members(&membership)));
                self.server_mut(id).disk.proposed = Some(membership);
            }
            Action::ForgetProposed => {
                self.see(id, None, || "forgets what was proposed".to_owned());
                self.server_mut(id).disk.proposed = None;
            }
            Action::Activate(membership) => self.activate(id, membership),
            Action::Truncate { to, reload } => self.truncate(id, to, reload),
            Action::Committed { up_to } => self.commit(id, up_to),
            Action::Notify { to, notification } => {
                let (to, reaches) = (to.get(), self.has_mesh && !self.is_cut(id, to.get()));
                let sends = reaches && self.is_running(to);
                if sends {
                    // Only the newest matters.
                    let same = |flight: &Rc<Flight>| (flight.from, flight.to) == (id, to);
                    self.flights.retain(|flight| !(flight.cargo.is_notification() && same(flight)));
                    self.flights.push(Flight::new(id, to, None, Cargo::Notification(notification)).into());
                }
            }
            // The network connects whoever can be connected.
            Action::ConnectPeers => {}
            Action::ConnectLeader { link, leader, kind, .. } => {
                let observes = kind == LearnerKind::Observer;
                let master = self.plan.masters.get(&id).copied().filter(|_| observes);
                self.dial(id, link, (master.unwrap_or(leader.get()), master.is_some()));
            }
            Action::ToLearner { link, message } => {
                // What comes behind a log that cannot be sent to its end never leaves.
                if let Some(connection) = self.connection_of(id, link)
                    && !self.stuck.contains(&connection)
                {
                    let to = self.connections[&connection].learner;
                    self.see(id, Some(to), || from_leader(&message));
                    self.flights
                        .push(Flight::new(id, to, Some(connection), Cargo::ToLearner(message)).into());
                }
            }
            Action::ToLeader { link, message } => {
                self.note(check_word(&self.server(id).observed(id), &message));
                if let Some(connection) = self.connection_of(id, link) {
                    let to = self.connections[&connection].leader;
                    self.see(id, Some(to), || from_learner(&message));
                    self.flights.push(Flight::new(id, to, Some(connection), Cargo::ToLeader(message)).into());
                }
            }
            Action::SendSnapshot { link } => {
                if let Some(connection) = self.connection_of(id, link) {
                    let to = self.connections[&connection].learner;
                    let server = self.server(id);
                    let entries = (!self.late_snapshots).then(|| server.disk.up_to(server.applied));
                    let up_to = server.applied;
                    self.see(id, Some(to), || format!("SNAP {}", at(up_to)));
                    self.flights.push(Flight::new(id, to, Some(connection), Cargo::Snapshot(entries)).into());
                }
            }
            Action::ConsultLog { link, last, up_to } => {
                self.see(id, None, || format!("consults its log behind {}, up to {}", at(last), at(up_to)));
                self.flights.push(Flight::new(id, id, None, Cargo::LogLook { link, last, up_to }).into());
            }
            Action::SendLog { link, after, up_to } => self.send_log(id, link, after, up_to),
            Action::Close { link, why } => {
                if let Some(connection) = self.connection_of(id, link) {
                    let to = self.connections[&connection].other(id);
                    self.see(id, None, || format!("closes {to}: {why}"));
                    self.sights |= if why == "it knows more than the leader" { SAW_REFUSAL } else { 0 };
                    self.close(id, connection);
                }
            }
            Action::SyncDone { token } => self.see(id, None, || format!("sync {token} done")),
            Action::EpochBegan { epoch } => {
                self.see(id, None, || format!("goes on in epoch {epoch}"));
                self.sights |= SAW_TURN;
                let result = self.record_with(id, |record, leader| record.on_epoch_begun(leader, epoch));
                self.note(result);
            }
            Action::Became(role) => self.become_role(id, role),
        }
    }

    fn send_log(&mut self, id: i64, link: LinkId, after: Zxid, up_to: Zxid) {
        let Some(connection) = self.connection_of(id, link) else { return };
        let to = self.connections[&connection].learner;
        self.see(id, Some(to), || format!("its log behind {} up to {}", at(after), at(up_to)));
        self.sights |= SAW_LOG;
        let mut entries = self.server(id).disk.range(after, up_to).to_vec();
        if self.logs_break {
            entries.truncate(entries.len() / 2);
            self.stuck.insert(connection);
            self.flights.push(Flight::new(id, id, None, Cargo::LogFailed { link }).into());
        }
        for Entry { zxid, envelope } in entries {
            for message in [FromLeader::Proposal { zxid, envelope }, FromLeader::Commit { zxid }] {
                self.flights.push(Flight::new(id, to, Some(connection), Cargo::ToLearner(message)).into());
            }
        }
    }

    fn activate(&mut self, id: i64, membership: Arc<Membership>) {
        self.see(id, None, || format!("goes by {}", members(&membership)));
        if membership.version > self.in_force.0 {
            let electorate = Electorate::new(&membership, None).expect("it was counted before");
            self.in_force = (membership.version, electorate.into());
        }
        let disk = &mut self.server_mut(id).disk;
        disk.proposed.take_if(|proposed| proposed.version <= membership.version);
        disk.membership = Some(membership);
    }

    fn truncate(&mut self, id: i64, to: Zxid, reload: bool) {
        self.see(id, None, || format!("truncates to {}{}", at(to), if reload { ", reloads" } else { "" }));
        let server = self.server_mut(id);
        assert_eq!(reload, server.applied > to, "{id} has applied {}", at(server.applied));
        server.disk.truncate(to);
        server.applied = server.applied.min(to);
        self.sights |= SAW_TRUNCATE;
    }

    fn commit(&mut self, id: i64, up_to: Zxid) {
        self.see(id, None, || format!("commits {}", at(up_to)));
        let server = self.server_mut(id);
        assert!(up_to >= server.applied, "{id} has applied {}", at(server.applied));
        server.applied = up_to;
        if matches!(server.role, Some(Role::Leading { .. })) {
            let result = self.record_with(id, |record, leader| record.on_committed(leader));
            self.note(result);
            self.sights |= SAW_COMMIT;
        }
    }

    fn become_role(&mut self, id: i64, role: Role) {
        self.see(id, None, || match role {
            Role::Looking { why } => format!("looks for a leader: {why}"),
            Role::Preparing => "prepares to lead".to_owned(),
            Role::Joining { leader } => format!("joins {leader}"),
            Role::Leading { epoch } => format!("leads epoch {epoch}"),
            Role::Learning { leader, epoch, kind, .. } => {
                let does = if kind == LearnerKind::Follower { "follows" } else { "observes" };
                format!("{does} {leader} in epoch {epoch}")
            }
        });
        self.server_mut(id).role = Some(role);
        if let Role::Leading { epoch } = role {
            let (known, has) = (self.record.committed().len(), self.server(id).disk.log.len());
            self.sights |= if known < has { SAW_INHERITED_TAIL } else { 0 };
            self.sights |= if epoch.get() > 1 { SAW_SECOND_LEADER } else { 0 };
            let result = self.record_with(id, |record, leader| record.on_established(leader, epoch));
            self.note(result);
        }
    }

    fn record_with<T>(&mut self, id: i64, step: impl FnOnce(&mut Record, &Observed<'_>) -> T) -> T {
        let mut record = std::mem::take(&mut self.record);
        let result = step(Rc::make_mut(&mut record), &self.server(id).observed(id));
        self.record = record;
        result
    }

    fn dial(&mut self, id: i64, learner_link: LinkId, (leader, as_observer): (i64, bool)) {
        let starts = self.server(id).starts;
        let dialed = learner_link.get() & (DIALS_PER_START - 1);
        let leader_link = LinkId::new((id as u64 * DIALS_PER_START + starts) * DIALS_PER_START + dialed);
        let connection = Connection {
            learner: id,
            learner_link,
            learner_open: true,
            as_observer,
            leader,
            leader_link,
            leader_open: false,
        };
        let name = (id, starts, learner_link);
        Rc::make_mut(&mut self.connections).insert(name, connection);
        self.flights.push(Flight::new(id, leader, Some(name), Cargo::Dial).into());
    }
}
