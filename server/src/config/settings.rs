//! The typed settings of one server.

use super::ensemble::{EnsembleSettings, Members};
use super::error::{ConfigError, Warning, WarningKind};
use super::read::{ANY, Reader};
use super::source::{ConfigSource, Values};
use super::validate::{self, small};
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use tree::DigestAlgorithm;

/// Everything that can be set, checked; nothing below has to check again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The file the settings came from, as it was named.
    pub config_file: Option<PathBuf>,
    /// The ensemble this server is a member of; `None` for a server alone.
    pub ensemble: Option<EnsembleSettings>,
    /// Where clients connect.
    pub client_port: ClientPortSettings,
    /// Time and session timeouts.
    pub sessions: SessionSettings,
    /// What clients may take at most.
    pub limits: LimitSettings,
    /// Directories, log, snapshots and retention.
    pub storage: StorageSettings,
    /// What the tree of nodes does.
    pub tree: TreeSettings,
    /// The scheme `digest`; `None` when it is switched off
    /// (`DigestAuthenticationProvider.enabled=false`).
    pub digest_auth: Option<DigestAuth>,
    /// The four-letter words that are answered (`4lw.commands.whitelist`).
    pub four_letter_words: FourLetterWords,
    /// Whether a server that is cut off from its ensemble serves reads (`readonlymode.enabled`,
    /// default false). A server alone is never cut off.
    pub read_only_mode: bool,
    /// Threads that serve connections (`ferrokeeper.ioThreads`, default half of the processors, at
    /// least 1).
    pub io_threads: NonZeroUsize,
}

/// Where clients connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientPortSettings {
    /// `clientPortAddress`; all interfaces by default, 127.0.0.1 when there is no file.
    pub address: ClientAddress,
    /// `clientPort`, default 2181; 0 lets the system choose.
    pub port: u16,
    /// Connections that wait to be accepted (`clientPortListenBacklog`, default 50).
    pub listen_backlog: u32,
}

/// What to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAddress {
    /// Every address of the machine, IPv4 and IPv6.
    AllInterfaces,
    /// One address.
    One(IpAddr),
}

/// Time and session timeouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionSettings {
    /// `tickTime`, default 3000.
    pub tick_ms: u32,
    /// `minSessionTimeout`, default 2 ticks. Never more than the longest.
    pub timeout_min_ms: u32,
    /// `maxSessionTimeout`, default 20 ticks.
    pub timeout_max_ms: u32,
}

/// What clients may take at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitSettings {
    /// Connections from one address (`maxClientCnxns`, default 60); `None` for no limit.
    pub connections_per_address_max: Option<u32>,
    /// Connections in all (`maxCnxns`); `None`, the default, for no limit.
    pub connections_max: Option<u32>,
    /// Requests under way beyond which a connection that has one is not read
    /// (`globalOutstandingLimit`, default 1000).
    pub outstanding_requests_max: u32,
    /// Longest frame from a client (`jute.maxbuffer`, default 1048575).
    pub frame_bytes_max: u32,
    /// Longest record in log and snapshots: the frame and `jute.maxbuffer.extrasize` (default as
    /// much again, at least 1024), together at most 2^31 - 1.
    pub record_bytes_max: u32,
    /// The limit on large requests; `None`, the default, for none.
    pub large_requests: Option<LargeRequests>,
    /// Time a connection has to open its session (`nio.sessionlessCnxnTimeout`, default 10000).
    pub handshake_timeout_ms: u32,
    /// TCP keep-alive on client connections (`clientTcpKeepAlive`, default false).
    pub tcp_keep_alive: bool,
}

/// The limit on large requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LargeRequests {
    /// Frames longer than this are large (`largeRequestThreshold`).
    pub threshold_bytes: u32,
    /// Large requests under way, together (`largeRequestMaxBytes`, default 104857600). A
    /// connection that would exceed it is closed.
    pub in_flight_bytes_max: u32,
}

/// Directories, log, snapshots and retention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageSettings {
    /// Snapshots (`dataDir`, default `./data` without a file). The files are in `version-2` below.
    pub data_dir: PathBuf,
    /// Log (`dataLogDir`, default the same). The files are in `version-2` below.
    pub data_log_dir: PathBuf,
    /// Create the directories (`datadir.autocreate`, default true).
    pub create_directories: bool,
    /// Begin with an empty tree when there is no data (`db.autocreate`, default true); otherwise
    /// only if `dataDir` has a file `initialize`.
    pub create_database: bool,
    /// Transactions between two snapshots, at most (`snapCount`, default 100000, at least 2).
    pub snapshot_after_transactions: u32,
    /// Whether a snapshot also waits until half as many transactions came as there are nodes: unless `snapCount` is set.
    pub snapshot_waits_for_growth: bool,
    /// Log between two snapshots, at most (`snapSizeLimitInKb`, default 4 GiB); `None` for no such
    /// limit.
    pub snapshot_after_log_bytes: Option<u64>,
    /// Piece by which a log file grows ahead of its contents (`preAllocSize`, default 64 MiB);
    /// `None`: not ahead.
    pub log_preallocation_bytes: Option<u64>,
    /// Size at which a log file is closed (`txnLogSizeLimitInKb`); `None`, the default: only with
    /// a snapshot.
    pub log_file_bytes_max: Option<u64>,
    /// A write is on the disk before it is acknowledged (`forceSync`, default true).
    pub sync_before_ack: bool,
    /// Compression of new snapshots (`snapshot.compression.method`, default none).
    pub compression: SnapshotCompression,
    /// Start from a log without any snapshot (`snapshot.trust.empty`, default false).
    pub trust_missing_snapshot: bool,
    /// Time after which a sync of the log is reported as slow (`fsync.warningthresholdms`, default 1000).
    pub slow_sync_ms: u64,
    /// Deletion of old snapshots and logs; `None` when it is off. On by default, unlike in Java.
    pub retention: Option<Retention>,
}

/// Compression of new snapshots. Existing ones say by their name what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotCompression {
    /// Files without a suffix.
    None,
    /// Files with the suffix `.gz`.
    Gzip,
    /// Files with the suffix `.snappy`.
    Snappy,
}

/// Deletion of old snapshots and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Newest snapshots that stay, with the logs they need (`autopurge.snapRetainCount`, default
    /// and least 3).
    pub snapshots_kept: u32,
    /// Time between two runs (`autopurge.purgeInterval`, default one hour).
    pub interval_ms: u64,
}

/// What the tree of nodes does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeSettings {
    /// Nodes with a time to live (`extendedTypesEnabled`, default true, unlike in Java).
    pub ttl_nodes: bool,
    /// Time between two searches for nodes to delete (`znode.container.checkIntervalMs`, default
    /// 60000).
    pub reaper_interval_ms: u32,
    /// Nodes that are deleted in a minute (`znode.container.maxPerMinute`, default 10000).
    pub reaper_nodes_per_minute_max: u32,
    /// Age at which a container that never had a child is deleted
    /// (`znode.container.maxNeverUsedIntervalMs`); `None`, the default: never.
    pub container_unused_ms_max: Option<u64>,
    /// Keep a digest of the tree (`digest.enabled`, default true).
    pub digest: bool,
    /// List ephemeral nodes in the transaction that closes their session
    /// (`closeSessionTxn.enabled`, default true).
    pub close_session_lists_nodes: bool,
    /// Leave access control lists unchecked (`skipACL=yes`, default false).
    pub skip_acl: bool,
    /// Refuse writes beyond a hard quota (`enforceQuota`, default false).
    pub enforce_quota: bool,
    /// Whether clients may change the members (`reconfigEnabled`, default false). On a server alone there are none, and
    /// the refusal is another one.
    pub reconfig_enabled: bool,
}

/// The scheme `digest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestAuth {
    /// `DigestAuthenticationProvider.digestAlg`, default SHA-1.
    pub algorithm: DigestAlgorithm,
    /// The user who may do everything (`DigestAuthenticationProvider.superDigest`), if any.
    pub super_digest: Option<SuperDigest>,
}

/// The digest of the user who may do everything, `user:base64`. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SuperDigest(String);

impl SuperDigest {
    pub(super) fn new(text: String) -> SuperDigest {
        SuperDigest(text)
    }

    /// The text that the generated identity of a user is compared with.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SuperDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SuperDigest(…)")
    }
}

/// The four-letter words that are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FourLetterWords(BTreeSet<&'static str>);

impl FourLetterWords {
    /// Every word there is.
    pub const KNOWN: [&'static str; 18] = [
        "conf", "cons", "crst", "dirs", "dump", "envi", "gtmk", "hash", "isro", "mntr", "ruok", "srst",
        "srvr", "stat", "stmk", "wchc", "wchp", "wchs",
    ];

    /// Reads a list with commas; `*` stands for all. `srvr` is always answered, `isro` if the
    /// server may be read-only (`FourLetterCommands.isEnabled`). Also returns the words that nobody
    /// knows.
    pub(super) fn parse(text: &str, read_only_mode: bool) -> (FourLetterWords, Vec<String>) {
        let mut words = BTreeSet::from(["srvr"]);
        let mut unknown = Vec::new();
        if read_only_mode {
            words.insert("isro");
        }
        for word in text.split(',').map(super::file::java_trim) {
            match Self::KNOWN.iter().find(|known| **known == word) {
                Some(known) => {
                    words.insert(known);
                }
                None if word == "*" => words.extend(Self::KNOWN),
                None if word.is_empty() => {}
                None => unknown.push(word.to_owned()),
            }
        }
        (FourLetterWords(words), unknown)
    }

    /// Whether `word` is answered.
    pub fn allows(&self, word: &str) -> bool {
        self.0.contains(word)
    }

    /// The words that are answered, in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().copied()
    }
}

impl Settings {
    /// Reads and checks everything that `source` names. The warnings are worth a line in the log
    /// each.
    ///
    /// # Errors
    /// A file that cannot be read, a value that cannot be used, or one that asks for something
    /// whose absence would be unsafe.
    pub fn load(source: &ConfigSource) -> Result<(Settings, Vec<Warning>), ConfigError> {
        let mut reader = Reader::new(Values::gather(source)?);
        let settings = Settings::read(source, &mut reader)?;
        Ok((settings, reader.values.warnings))
    }

    pub(super) fn read(source: &ConfigSource, reader: &mut Reader) -> Result<Settings, ConfigError> {
        let members = Members::read(reader)?;
        let storage = StorageSettings::read(source, reader)?;
        let me = members.find_me(&storage.data_dir)?;
        let own_line = me.as_ref().and_then(|me| members.own_line(me.id));
        let client_port = validate::client_port(reader, source, own_line)?;
        let sessions = validate::sessions(reader)?;
        let ensemble = EnsembleSettings::read(reader, source, &members, me.as_ref(), &sessions)?;
        let tree = TreeSettings::read(reader)?;
        let read_only_mode = reader.flag("readonlymode.enabled")?;
        if let (Some(_), Some(me)) = (&ensemble, &me) {
            EnsembleSettings::check(me, &tree)?;
        }
        Ok(Settings {
            config_file: source.file.clone(),
            ensemble,
            client_port,
            sessions,
            limits: LimitSettings::read(reader)?,
            storage,
            tree,
            digest_auth: DigestAuth::read(reader)?,
            four_letter_words: validate::four_letter_words(reader, read_only_mode),
            read_only_mode,
            io_threads: io_threads(reader)?,
        })
    }
}

/// More threads than this serve nobody better: connections are spread over them once and for all.
const IO_THREADS_MAX: i64 = 1024;

fn io_threads(reader: &mut Reader) -> Result<NonZeroUsize, ConfigError> {
    let threads = match reader.optional_number("ferrokeeper.ioThreads", 1..=IO_THREADS_MAX)? {
        Some(threads) => small(threads) as usize,
        None => std::thread::available_parallelism().map_or(1, |cores| cores.get() / 2),
    };
    Ok(NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN))
}

/// `None` for zero and less, which mean "no limit".
fn limit(number: i64) -> Option<u32> {
    (number > 0).then(|| small(number))
}

/// Bytes of a number of KiB; `None` for zero and less, which mean "no limit" or "not at all".
fn kib(number: i64) -> Option<u64> {
    u64::try_from(number).ok().filter(|kib| *kib > 0).map(|kib| kib.saturating_mul(1024))
}

impl LimitSettings {
    fn read(reader: &mut Reader) -> Result<LimitSettings, ConfigError> {
        /// Shortest frame limit that lets a client say hello.
        const FRAME_BYTES_LEAST: i64 = 64;
        let frame_bytes_max = reader.number("jute.maxbuffer", FRAME_BYTES_LEAST..=i64::MAX)?;
        let extra = match reader.optional_number("jute.maxbuffer.extrasize", ANY)? {
            Some(_) => reader.number_at_least("jute.maxbuffer.extrasize", 1024)?,
            None => frame_bytes_max.max(1024),
        };
        Ok(LimitSettings {
            connections_per_address_max: limit(reader.number("maxClientCnxns", ANY)?),
            connections_max: limit(reader.number_at_least("maxCnxns", 0)?),
            outstanding_requests_max: small(reader.number("globalOutstandingLimit", 0..=i64::MAX)?),
            frame_bytes_max: small(frame_bytes_max),
            record_bytes_max: small((frame_bytes_max + extra).min(i64::from(i32::MAX))),
            large_requests: validate::large_requests(reader)?,
            handshake_timeout_ms: small(reader.number("nio.sessionlessCnxnTimeout", 1..=i64::MAX)?),
            tcp_keep_alive: reader.flag("clientTcpKeepAlive")?,
        })
    }
}

impl StorageSettings {
    fn read(source: &ConfigSource, reader: &mut Reader) -> Result<StorageSettings, ConfigError> {
        let (data_dir, data_log_dir) = validate::directories(reader, source)?;
        let sync_before_ack = reader.flag("forceSync")?;
        if !sync_before_ack {
            let message = "acknowledges writes before they are on the disk: a power failure loses them";
            reader.warn("forceSync", WarningKind::Unsafe, message);
        }
        let trust_missing_snapshot = reader.flag("snapshot.trust.empty")?;
        if trust_missing_snapshot {
            let message = "starts even if snapshots were lost; remove it after the first snapshot";
            reader.warn("snapshot.trust.empty", WarningKind::Unsafe, message);
        }
        Ok(StorageSettings {
            data_dir,
            data_log_dir,
            create_directories: reader.flag("datadir.autocreate")?,
            create_database: reader.flag("db.autocreate")?,
            snapshot_after_transactions: small(reader.number_at_least("snapCount", 2)?),
            snapshot_waits_for_growth: reader.given("snapCount").is_none(),
            snapshot_after_log_bytes: kib(reader.number("snapSizeLimitInKb", ANY)?),
            log_preallocation_bytes: kib(reader.number("preAllocSize", ANY)?),
            log_file_bytes_max: kib(reader.number("txnLogSizeLimitInKb", ANY)?),
            sync_before_ack,
            compression: validate::compression(reader)?,
            trust_missing_snapshot,
            slow_sync_ms: reader.number("fsync.warningthresholdms", 0..=i64::MAX)?.unsigned_abs(),
            retention: Retention::read(reader)?,
        })
    }
}

impl Retention {
    fn read(reader: &mut Reader) -> Result<Option<Retention>, ConfigError> {
        let snapshots_kept = small(reader.number_at_least("autopurge.snapRetainCount", 3)?);
        let interval_ms = reader.interval_ms("autopurge.purgeInterval")?;
        let interval_ms = u64::try_from(interval_ms).ok().filter(|interval_ms| *interval_ms > 0);
        Ok(interval_ms.map(|interval_ms| Retention { snapshots_kept, interval_ms }))
    }
}

impl TreeSettings {
    fn read(reader: &mut Reader) -> Result<TreeSettings, ConfigError> {
        let skip_acl = reader.flag("skipACL")?;
        if skip_acl {
            let message = "leaves access control lists unchecked: every client may do everything";
            reader.warn("skipACL", WarningKind::Unsafe, message);
        }
        let unused_ms = reader.number("znode.container.maxNeverUsedIntervalMs", 0..=i64::MAX)?;
        Ok(TreeSettings {
            ttl_nodes: reader.flag("extendedTypesEnabled")?,
            reaper_interval_ms: small(reader.number("znode.container.checkIntervalMs", 1..=i64::MAX)?),
            reaper_nodes_per_minute_max: small(reader.number("znode.container.maxPerMinute", 1..=i64::MAX)?),
            container_unused_ms_max: u64::try_from(unused_ms).ok().filter(|ms| *ms > 0),
            digest: reader.flag("digest.enabled")?,
            close_session_lists_nodes: reader.flag("closeSessionTxn.enabled")?,
            skip_acl,
            enforce_quota: reader.flag("enforceQuota")?,
            reconfig_enabled: reader.flag("reconfigEnabled")?,
        })
    }
}

impl DigestAuth {
    fn read(reader: &mut Reader) -> Result<Option<DigestAuth>, ConfigError> {
        let enabled = reader.flag("DigestAuthenticationProvider.enabled")?;
        let algorithm = validate::digest_algorithm(reader)?;
        let super_digest = validate::super_digest(reader, algorithm);
        Ok(enabled.then_some(DigestAuth { algorithm, super_digest }))
    }
}
