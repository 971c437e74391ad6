//! A follower that serves observers (`ObserverMaster`), so that the leader need not serve many of them.
//!
//! Towards an observer the follower is what a leader would be, except that it decides nothing: the epoch is the one it
//! follows in, the history is what it knows to be committed, and nobody's acknowledgement is waited for. What observers
//! ask for their clients is passed on by those above. All of it ends when the follower loses its leader.

use std::collections::BTreeMap;

use protocol::peer::{FromLeader, FromLearner, LearnerKind};
use protocol::{Epoch, ServerId, Zxid};

use crate::action::Action;
use crate::context::Context;
use crate::introduction::objection;
use crate::link::LinkId;
use crate::synchronization::plan::{Plan, plan};
use crate::synchronization::send::send;

/// Observers that one follower serves; more are turned away. Each may have an outbox of packets, which is where the
/// memory would go.
const OBSERVERS_MAX: usize = 1_000;

/// Attempts to join a follower that come to nothing, about five seconds with the pauses in between, before an observer
/// tries the leader as well: followers that have just started need a moment.
const ATTEMPTS_BEFORE_LEADER: u32 = 16;

/// Whether an observer that goes to followers should go to the leader itself, after so many attempts in a row that came to
/// nothing: every second time when they are many.
pub fn leaders_turn(failed_before: u32) -> bool {
    failed_before >= ATTEMPTS_BEFORE_LEADER && failed_before.is_multiple_of(2)
}

/// How far an observer has come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Stage {
    /// It has not said who it is.
    Connected,
    /// The epoch was named to it.
    Promising,
    /// It was sent what it misses, and hears of every commit from now on.
    Synchronizing,
    /// It has that on stable storage, and serves clients.
    Active,
}

/// One observer.
#[derive(Clone, Hash, Debug)]
struct Observer {
    server: Option<ServerId>,
    stage: Stage,
    /// Whether answers to sync may come behind commits of later requests.
    late_syncs: bool,
    /// Whether it was sent a whole tree.
    takes_tree: bool,
    /// When it last said something.
    heard_ms: u64,
}

/// A follower's observers.
#[derive(Clone, Hash, Debug)]
pub(crate) struct ServingObservers {
    observers: BTreeMap<LinkId, Observer>,
    /// When they are pinged next; no time before the first of them is there.
    next_ping_ms: u64,
}

impl ServingObservers {
    /// Nobody is there.
    pub fn new() -> ServingObservers {
        ServingObservers { observers: BTreeMap::new(), next_ping_ms: u64::MAX }
    }

    /// A server has connected to the port for observers.
    pub fn on_connected(&mut self, context: &mut Context<'_>, link: LinkId) {
        if self.observers.len() >= OBSERVERS_MAX {
            return context.out.push(Action::Close { link, why: "too many observers" });
        }
        if self.observers.is_empty() {
            self.next_ping_ms = context.now_ms + context.settings.tick_ms / 2;
        }
        let observer = Observer {
            server: None,
            stage: Stage::Connected,
            late_syncs: false,
            takes_tree: false,
            heard_ms: context.now_ms,
        };
        self.observers.insert(link, observer);
    }

    /// Closes every connection: what was said on them leads nowhere any more.
    pub fn close_all(&mut self, context: &mut Context<'_>, why: &'static str) {
        for link in std::mem::take(&mut self.observers).into_keys() {
            context.out.push(Action::Close { link, why });
        }
        self.next_ping_ms = u64::MAX;
    }

    /// The connection is gone.
    pub fn on_closed(&mut self, link: LinkId) {
        self.observers.remove(&link);
        if self.observers.is_empty() {
            self.next_ping_ms = u64::MAX;
        }
    }

    /// An observer has said something to this follower of a leader in this epoch.
    pub fn on_message(
        &mut self,
        context: &mut Context<'_>,
        epoch: Epoch,
        link: LinkId,
        message: FromLearner,
    ) {
        let Some(observer) = self.observers.get_mut(&link) else { return };
        observer.heard_ms = context.now_ms;
        if let Err(why) = self.heed(context, epoch, link, message) {
            self.on_closed(link);
            context.out.push(Action::Close { link, why });
        }
    }

    /// What does not belong to the observer's stage costs it the connection.
    fn heed(
        &mut self,
        context: &mut Context<'_>,
        epoch: Epoch,
        link: LinkId,
        message: FromLearner,
    ) -> Result<(), &'static str> {
        let Some(observer) = self.observers.get_mut(&link) else { return Ok(()) };
        match (observer.stage, message) {
            (
                Stage::Connected,
                FromLearner::Info {
                    kind: LearnerKind::Observer,
                    server,
                    protocol_version,
                    membership_version,
                    late_syncs,
                    ..
                },
            ) => {
                if let Some(why) = objection(context, server, protocol_version, membership_version) {
                    return Err(why);
                }
                (observer.server, observer.late_syncs, observer.stage) =
                    (server, late_syncs, Stage::Promising);
                self.replace_earlier_link(context, link);
                context.out.push(Action::ToLearner { link, message: FromLeader::LeaderInfo { epoch } });
                Ok(())
            }
            (Stage::Connected, _) => Err("only observers are served here, and must say what they are"),
            (Stage::Promising, FromLearner::AckEpoch { last_zxid, current_epoch }) => {
                // What is there of this epoch may be committed already, and this server have to hear of it yet. Other
                // servers know more; sent back by this one, it would forget what it has acknowledged.
                if last_zxid.epoch() == epoch && last_zxid > context.history.committed() {
                    return Err("it knows more than this server");
                }
                // Who has been in sync with somebody and has nothing wants it all.
                let needs_tree = last_zxid == Zxid::ZERO && current_epoch != Some(Epoch::default());
                let plan = if needs_tree { Plan::Snapshot } else { plan(context.history, last_zxid) };
                observer.takes_tree = send(context, link, plan);
                observer.stage = Stage::Synchronizing;
                let membership = Some(context.members.committed_text().to_owned());
                let message = FromLeader::NewLeader { epoch, membership };
                context.out.push(Action::ToLearner { link, message });
                Ok(())
            }
            // The leader that this server follows is established: nobody else is to be waited for.
            (Stage::Synchronizing, FromLearner::Ack { zxid }) if zxid == Zxid::new(epoch, 0) => {
                observer.stage = Stage::Active;
                context.out.push(Action::ToLearner { link, message: FromLeader::UpToDate });
                Ok(())
            }
            // UPTODATE is acknowledged too.
            (Stage::Active, FromLearner::Ack { zxid }) if zxid.counter() == 0 => Ok(()),
            (_, FromLearner::Ack { .. }) => Err("it acknowledges what it was not asked to"),
            (Stage::Promising | Stage::Synchronizing, _)
            | (_, FromLearner::Info { .. } | FromLearner::AckEpoch { .. }) => {
                Err("it sent a packet that does not belong here")
            }
            // What concerns sessions and requests is no business of agreement.
            (
                Stage::Active,
                FromLearner::Ping { .. }
                | FromLearner::Revalidate { .. }
                | FromLearner::Request { .. }
                | FromLearner::Unknown { .. },
            ) => Ok(()),
        }
    }

    /// A server that connects again has given up its earlier connection, whether that is noticed already or not.
    fn replace_earlier_link(&mut self, context: &mut Context<'_>, link: LinkId) {
        let server = self.observers[&link].server;
        let is_earlier =
            |(&other, observer): (&LinkId, &Observer)| other != link && observer.server == server;
        let earlier = self.observers.iter().find(|&entry| server.is_some() && is_earlier(entry));
        if let Some((&earlier, _)) = earlier {
            self.observers.remove(&earlier);
            context.out.push(Action::Close { link: earlier, why: "the server has connected again" });
        }
    }

    /// Everything up to here is about to be committed: `next_leader` says who leads from then on, if the last of it is a
    /// reconfiguration.
    pub fn inform(&self, context: &mut Context<'_>, up_to: Zxid, next_leader: Option<ServerId>) {
        let informed = self
            .observers
            .iter()
            .filter(|(_, observer)| matches!(observer.stage, Stage::Synchronizing | Stage::Active));
        for (&link, _) in informed {
            for entry in context.history.uncommitted().take_while(|entry| entry.zxid <= up_to) {
                let (zxid, envelope) = (entry.zxid, entry.envelope.clone());
                let message = match next_leader.filter(|_| zxid == up_to) {
                    None => FromLeader::Inform { zxid, envelope },
                    Some(leader) => FromLeader::InformAndActivate { zxid, leader, envelope },
                };
                context.out.push(Action::ToLearner { link, message });
            }
        }
    }

    /// Time has passed: pings those in sync, and closes connections that say nothing.
    pub fn on_tick(&mut self, context: &mut Context<'_>) {
        let now_ms = context.now_ms;
        if now_ms < self.next_ping_ms {
            return;
        }
        self.next_ping_ms = now_ms + context.settings.tick_ms / 2;
        let (init_ms, sync_ms) = (context.settings.init_ms(), context.settings.sync_ms());
        let is_silent = |observer: &Observer| match observer.stage {
            // A whole tree takes its time; the port watches whether it moves.
            Stage::Synchronizing if observer.takes_tree => false,
            Stage::Active => now_ms > observer.heard_ms + sync_ms,
            _ => now_ms > observer.heard_ms + init_ms + sync_ms,
        };
        let silent = self.observers.iter().filter(|(_, observer)| is_silent(observer));
        for link in silent.map(|(&link, _)| link).collect::<Vec<_>>() {
            self.on_closed(link);
            context.out.push(Action::Close { link, why: "it says nothing" });
        }
        let zxid = context.history.committed();
        for (&link, _) in self.observers.iter().filter(|(_, observer)| observer.stage == Stage::Active) {
            context.out.push(Action::ToLearner { link, message: FromLeader::Ping { zxid } });
        }
    }

    /// When [`ServingObservers::on_tick`] has something to do next.
    pub fn deadline_ms(&self) -> u64 {
        self.next_ping_ms
    }

    /// Whether requests and session renewals from this link are to be heeded.
    pub fn serves(&self, link: LinkId) -> bool {
        self.observers.get(&link).is_some_and(|observer| observer.stage == Stage::Active)
    }

    /// Whether answers to this observer's syncs may come behind commits of its later requests.
    pub fn takes_late_syncs(&self, link: LinkId) -> bool {
        self.observers.get(&link).is_some_and(|observer| observer.late_syncs)
    }

    /// Observers in sync.
    pub fn active(&self) -> usize {
        self.observers.values().filter(|observer| observer.stage == Stage::Active).count()
    }

    /// Every connection.
    pub fn links(&self) -> impl Iterator<Item = LinkId> + '_ {
        self.observers.keys().copied()
    }
}
