//! Carrying out what the replica wants of the disk and of other servers, in order.

use std::path::Path;

use protocol::Zxid;
use protocol::peer::FromLeader;
use replica::{Input, PeerInput, PeerOutput};
use storage::recovery::{RecoveryOptions, recover};
use storage::truncate::{TruncateError, truncate};
use storage::txn_log::TxnLog;
use zab::Action;

use ::server::TreeTarget;

use super::{Member, must_stop};
use crate::checkers::Violation;
use crate::ensemble::bugs::Bug;
use crate::ensemble::scene::Scene;
use crate::server::Trouble;

impl Member {
    /// Carries out everything that is wanted.
    pub(super) fn carry_out(&mut self, scene: &mut Scene) -> Result<(), Trouble> {
        loop {
            let mut outputs = Vec::new();
            self.replica.take_peer_outputs(&mut outputs);
            if outputs.is_empty() {
                return Ok(());
            }
            for output in outputs {
                match output {
                    PeerOutput::Do(action) => self.act(scene, action)?,
                    PeerOutput::AwaitSnapshot { link } => self.hold_link(link),
                    PeerOutput::SendSnapshot { link, start } => self.begin_transfer(scene, link, *start)?,
                }
            }
        }
    }

    fn act(&mut self, scene: &mut Scene, action: Action) -> Result<(), Trouble> {
        let bug = scene.options.bug;
        match action {
            Action::StoreAcceptedEpoch(epoch) if bug == Some(Bug::AcceptedEpochLate) => {
                self.unwritten_accepted = Some(epoch);
            }
            Action::StoreAcceptedEpoch(epoch) => {
                scene.note(|| format!("{} accepts epoch {epoch}", self.me));
                self.epochs.set_accepted(epoch).map_err(must_stop)?;
            }
            Action::StoreCurrentEpoch(epoch) => {
                scene.note(|| format!("{} is in epoch {epoch}", self.me));
                if let Some(accepted) = self.unwritten_accepted.take() {
                    self.epochs.set_accepted(accepted).map_err(must_stop)?;
                }
                self.epochs.set_current(epoch).map_err(must_stop)?;
            }
            Action::Append { zxid, envelope } => self.append(scene, zxid, envelope)?,
            Action::StoreProposed(membership) => self.store_proposed(scene, membership)?,
            Action::ForgetProposed => self.forget_proposed(scene)?,
            Action::Activate(membership) => self.activate(scene, membership)?,
            Action::Truncate { to, reload } => self.cut(scene, to, reload)?,
            Action::Notify { to, notification } => self.notify(scene, to, notification),
            Action::ConnectPeers => self.dial_peers(scene),
            Action::ConnectLeader { link, leader, kind, within_ms, failed_before } => {
                self.dial_leader(scene, link, (leader, kind), within_ms, failed_before);
            }
            Action::ToLearner { link, message } => {
                match &message {
                    FromLeader::Diff { .. } => scene.oracle.tally.note("DIFF sent"),
                    FromLeader::Truncate { .. } => scene.oracle.tally.note("TRUNC sent"),
                    FromLeader::NewLeader { epoch, .. } if self.is_elected() => {
                        scene.oracle.on_leading(*epoch, self.me)?;
                    }
                    FromLeader::UpToDate => {
                        let served = self.replica.peer().observers_served().is_some();
                        scene.oracle.tally.note_if(served, "observer in sync with a follower");
                    }
                    _ => {}
                }
                self.send_to_learner(scene, link, message);
            }
            Action::ToLeader { link, message } => self.send_to_leader(scene, link, &message),
            Action::ConsultLog { link, last, up_to } => self.plan_consultation(scene, link, last, up_to),
            Action::SendLog { link, after, up_to } => self.begin_log(scene, link, after, up_to),
            Action::Close { link, why } => {
                scene.note(|| format!("{} closes link {link}: {why}", self.me));
                self.close_link(scene, link);
            }
            Action::Committed { .. }
            | Action::SendSnapshot { .. }
            | Action::SyncDone { .. }
            | Action::EpochBegan { .. }
            | Action::Became(_) => {
                let detail = format!("the replica handed out {action:?}");
                return Err(Violation::new("outputs", detail).into());
            }
        }
        Ok(())
    }

    fn cut(&mut self, scene: &mut Scene, to: Zxid, reload: bool) -> Result<(), Trouble> {
        scene.note(|| format!("{} cuts its log behind {to}, reload {reload}", self.me));
        self.sync(scene)?;
        let host = self.life.host;
        let lost = self.log.last_synced() > to;
        scene.oracle.tally.note_if(lost, "uncommitted end of a log cut");
        let rest = scene.oracle.servers[host].log.up_to(to);
        scene.oracle.servers[host].log.replace(rest);
        if scene.options.bug != Some(Bug::SkipTruncation) {
            let last = truncate(&self.folders, to, storage::RECORD_BYTES_MAX, &mut self.mark);
            match last {
                Ok(last) if last == to => {}
                Ok(last) => {
                    let rest = scene.oracle.servers[host].log.up_to(last);
                    scene.oracle.servers[host].log.replace(rest);
                    self.reopen(scene, last)?;
                    return self.cannot_cut(scene);
                }
                Err(TruncateError::Disk(error)) => return Err(must_stop(error)),
                // What cannot be read now may be read after the next start.
                Err(TruncateError::Log(error)) => return Err(must_stop(error)),
                Err(TruncateError::NoSnapshot { .. } | TruncateError::EndsBefore { .. }) => {
                    scene.oracle.servers[host].log.not_replaced();
                    return self.cannot_cut(scene);
                }
            }
        }
        self.reopen(scene, to)?;
        if reload {
            scene.oracle.tally.note("tree read anew after a cut");
            let mut target = TreeTarget::empty();
            let recovered = recover(&self.folders, &RecoveryOptions::default(), &mut target);
            let recovered = recovered.map_err(must_stop)?;
            self.mark = recovered.durable_mark;
            if scene.options.bug != Some(Bug::KeepTree) {
                self.shared.replace_tree(target.into_tree());
            }
            self.step_only(scene, Input::Peer(PeerInput::Reloaded));
        }
        Ok(())
    }

    /// A whole tree has to take the place of this history.
    fn cannot_cut(&mut self, scene: &mut Scene) -> Result<(), Trouble> {
        scene.oracle.tally.note("log could not be cut");
        self.step_only(scene, Input::Peer(PeerInput::TruncateFailed));
        Ok(())
    }

    /// Opens the log anew behind `last`, after what was in it has changed.
    pub(super) fn reopen(&mut self, scene: &mut Scene, last: Zxid) -> Result<(), Trouble> {
        let folder: &Path = self.folders.logs();
        let options = scene.options.log.clone();
        self.log = TxnLog::open(std::sync::Arc::clone(self.folders.disk()), folder, last, options);
        let host = self.life.host;
        scene.oracle.servers[host].log.replaced();
        Ok(scene.oracle.on_history_changed(host)?)
    }
}
