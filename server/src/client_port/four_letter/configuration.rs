//! `conf` and `dirs` (`ZooKeeperServer.dumpConf`, `DirsCommand`).

use std::fmt::{self, Write};
use std::path::{Path, PathBuf, absolute};

use protocol::peer::MemberRole;

use super::text::Text;
use crate::context::{ServerContext, Standing};

/// Where the files are, below the directories of the configuration.
const VERSION_DIRECTORY: &str = "version-2";

pub(super) fn write_conf(out: &mut Text, server: &ServerContext) -> fmt::Result {
    let settings = &server.settings;
    let (data_dir, log_dir) = directories(server);
    writeln!(out, "clientPort={}", server.door.address().port())?;
    writeln!(out, "secureClientPort=-1")?;
    writeln!(out, "dataDir={}", data_dir.display())?;
    writeln!(out, "dataDirSize={}", size_bytes(&data_dir))?;
    writeln!(out, "dataLogDir={}", log_dir.display())?;
    writeln!(out, "dataLogSize={}", size_bytes(&log_dir))?;
    writeln!(out, "tickTime={}", settings.sessions.tick_ms)?;
    writeln!(out, "maxClientCnxns={}", settings.limits.connections_per_address_max.unwrap_or(0))?;
    writeln!(out, "minSessionTimeout={}", settings.sessions.timeout_min_ms)?;
    writeln!(out, "maxSessionTimeout={}", settings.sessions.timeout_max_ms)?;
    writeln!(out, "clientPortListenBacklog={}", settings.client_port.listen_backlog)?;
    let (Some(ensemble), Some(standing)) = (&settings.ensemble, &server.standing) else {
        return writeln!(out, "serverId=0");
    };
    let Standing { membership, own } = standing.read().clone();
    writeln!(out, "serverId={}", ensemble.me)?;
    writeln!(out, "initLimit={}", ensemble.init_limit)?;
    writeln!(out, "syncLimit={}", ensemble.sync_limit)?;
    writeln!(out, "electionAlg=3")?;
    if let Some(address) = own.addresses.first() {
        writeln!(out, "electionPort={}", address.election_port)?;
        writeln!(out, "quorumPort={}", address.quorum_port)?;
    }
    // Who is no member any more counts as a participant, as in Java.
    let observes = membership.role_of(ensemble.me) == Some(MemberRole::Observer);
    writeln!(out, "peerType={}", u8::from(observes))?;
    writeln!(out, "membership: ")?;
    write!(out, "{membership}")
}

pub(super) fn write_dirs(out: &mut Text, server: &ServerContext) -> fmt::Result {
    let (data_dir, log_dir) = directories(server);
    writeln!(out, "datadir_size: {}", size_bytes(&data_dir))?;
    writeln!(out, "logdir_size: {}", size_bytes(&log_dir))
}

/// The directories of the snapshots and of the log.
fn directories(server: &ServerContext) -> (PathBuf, PathBuf) {
    let storage = &server.settings.storage;
    let files_in = |directory: &Path| {
        let directory = directory.join(VERSION_DIRECTORY);
        absolute(&directory).unwrap_or(directory)
    };
    (files_in(&storage.data_dir), files_in(&storage.data_log_dir))
}

/// Bytes of the files in a directory, preallocated ones included (`ZooKeeperServer.getDirSize`). A file that goes
/// meanwhile does not count. There are no directories below.
fn size_bytes(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    let files = entries.filter_map(|entry| entry.ok()?.metadata().ok()).filter(|file| file.is_file());
    files.map(|file| file.len()).sum()
}
