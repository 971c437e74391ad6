//! From what is on the disk to a member that looks for a leader.

use std::path::Path;
use std::sync::Arc;

use ::server::TreeTarget;
use protocol::{ServerId, Zxid};
use replica::{Replica, Shared};
use storage::directory::{DataFolders, MissingFolders};
use storage::disk::Disk;
use storage::epoch_files::{EpochError, EpochFiles};
use storage::recovery::{RecoveryOptions, recover};
use storage::retention::Retention;
use storage::txn_log::TxnLog;
use zab::breakage::Breakage;
use zab::{Epochs, Peer};

use super::members::KnownMembers;
use super::mesh::Mesh;
use super::{Mail, Member};
use crate::checkers::{Violation, ensure};
use crate::disk::LyingDisk;
use crate::ensemble::bugs::Bug;
use crate::ensemble::clock::Clock;
use crate::ensemble::scene::Scene;
use crate::ensemble::schedule::Life;
pub use crate::server::StartError;
use crate::server::{DATA_DIR, first_snapshot, tick_interval_ms};

impl Member {
    /// Recovers, lets the oracle compare, and puts the server together.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(
        scene: &mut Scene,
        life: Life,
        disk: &LyingDisk,
        clock: Clock,
    ) -> Result<Member, StartError> {
        let me = ServerId::new(life.host as i64 + 1);
        let data_dir = Path::new(DATA_DIR);
        let shared_disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let folders =
            DataFolders::open(Arc::clone(&shared_disk), data_dir, data_dir, MissingFolders::Create)?;
        let mut target = TreeTarget::empty();
        let recovered = recover(&folders, &RecoveryOptions::default(), &mut target)?;
        scene.note(|| format!("{me} recovered {recovered:?}"));
        let last = recovered.last_zxid.unwrap_or(Zxid::ZERO);
        ensure(target.digest_mismatches() == 0, "digest", || {
            format!("{} digests differ in the replay of server {me} up to {last}", target.digest_mismatches())
        })?;
        let mut tree = target.into_tree();
        let log_view = &mut scene.oracle.servers[life.host].log;
        log_view
            .recovered(last, tree.digest())
            .map_err(|complaint| Violation::new("recovered state", format!("server {me}: {complaint}")))?;
        scene.oracle.on_history_changed(life.host)?;
        scene.oracle.tally.note_if(recovered.replayed > 0, "log replayed at a start");
        if recovered.snapshot_zxid.is_none() && last == Zxid::ZERO {
            first_snapshot(&folders, &mut tree)?;
        }
        let epochs = EpochFiles::new(Arc::clone(&shared_disk), folders.snapshots());
        let (stored, _) = epochs.load(last).map_err(|error| match error {
            EpochError::Disk(error) => StartError::Disk(error.to_string()),
            other => StartError::Refused(other.to_string()),
        })?;
        let log = TxnLog::open(shared_disk, folders.logs(), last, scene.options.log.clone());
        let mut settings = scene.options.replica.clone();
        settings.server = me;
        settings.seed = scene.random.draw();
        let shared = Arc::new(Shared::new(tree, settings.rules.clone(), settings.tick_ms));
        let mut first = scene.options.first_membership(life.host);
        if scene.options.bug == Some(Bug::QuorumOfOne) {
            first.members.retain(|&server, _| server == me);
        }
        let may_change = scene.options.peer.reconfig_enabled;
        let members = KnownMembers::load(Arc::clone(folders.disk()), folders.snapshots(), first, may_change)
            .map_err(|error| StartError::Disk(error.to_string()))?;
        scene.oracle.memberships.stored[life.host] = members.stored();
        let mut peer_settings = scene.options.peer.clone();
        peer_settings.me = me;
        peer_settings.kind = scene.options.kind(life.host);
        let epochs_found = Epochs { accepted: stored.accepted, current: stored.current };
        let (membership, proposed) = (&*members.committed, members.proposed.as_deref());
        let (membership, proposed) = (membership.clone(), proposed.cloned());
        let mut peer = Peer::member(peer_settings, membership, proposed, epochs_found, last)
            .map_err(|error| Violation::new("memberships", error.to_string()))?;
        if scene.options.bug == Some(Bug::OldQuorumOnly) {
            peer.misbehave(Breakage::OldQuorumOnly);
        }
        let entries = scene.oracle.servers[life.host].log.entries();
        let from = entries.len().saturating_sub(scene.options.preloaded);
        peer.preload(entries[from..].iter().cloned());
        let now = clock.now(scene.schedule.now_us());
        let mut replica = Replica::member(Arc::clone(&shared), settings, peer, now);
        replica.set_log_length(recovered.replayed);
        if scene.options.bug == Some(Bug::MovedSessionServed) {
            replica.serve_moved_sessions();
        }
        let others = (0..scene.oracle.servers.len()).filter(|&host| host != life.host);
        Ok(Member {
            life,
            me,
            clock,
            shared,
            replica,
            log,
            folders,
            epochs,
            members,
            led: false,
            mark: recovered.durable_mark,
            retention: Retention::default(),
            mail: Mail::default(),
            intake: Default::default(),
            syncing: false,
            told_early: false,
            unwritten_accepted: None,
            next_tick_ms: now.monotonic_ms + tick_interval_ms(scene.options.replica.tick_ms),
            wake_at_us: u64::MAX,
            mesh: Mesh::new(others),
            links: Default::default(),
            last_link: 0,
            clients: Default::default(),
            file_snapshot: None,
            transfer: None,
            log_transfers: Default::default(),
        })
    }
}
