//! Logs, snapshots and retention.

use super::Property::{FileOnly, Prefixed};
use super::Status::Built;
use super::{in_ensembles, keys, not_built};

keys! { Storage:
    "snapCount", Prefixed, Int, "100000", "transactions",
        "Transactions between two snapshots, varied by chance between half of it and all of it; at least 2. When it is not set, a snapshot also waits until half as many transactions came as there are nodes, unlike in Java."
        => Built;
    "snapSizeLimitInKb", Prefixed, Long, "4194304", "KiB",
        "Log between two snapshots, varied likewise; 0 or less: no such limit."
        => Built;
    "preAllocSize", Prefixed, DecimalLong, "65536", "KiB",
        "Piece by which a log file grows ahead of its contents; 0 or less: it grows with them."
        => Built;
    "txnLogSizeLimitInKb", Prefixed, Long, "-1", "KiB",
        "Size at which a log file is closed and the next one begun; 0 or less: no such limit."
        => Built;
    "forceSync", Prefixed, UnlessNo, "yes", "",
        "Whether a write is on the disk before it is acknowledged. With no, a power failure loses acknowledged writes."
        => Built;
    "fsync.warningthresholdms", Prefixed, Long, "1000", "ms",
        "Time after which a sync of the log is reported as slow."
        => Built;
    "snapshot.compression.method", Prefixed, Text, "", "",
        "Compression of new snapshots: gz, snappy, or empty for none. Existing ones are read whatever it says."
        => Built;
    "snapshot.trust.empty", Prefixed, Flag, "false", "",
        "Start from a log without any snapshot, as a server that was upgraded from 3.4 may have to once."
        => Built;
    "serializeLastProcessedZxid.enabled", Prefixed, Flag, "true", "",
        "Write the last transaction id at the end of a snapshot."
        => not_built("every snapshot ends with its last transaction id, which every ZooKeeper from 3.5 on reads or ignores");
    "datadir.autocreate", Prefixed, Flag, "true", "",
        "Create missing data directories; with false, a missing directory stops the start."
        => Built;
    "db.autocreate", Prefixed, Flag, "true", "",
        "Begin with an empty tree when there is no data; with false, only if dataDir holds a file called initialize."
        => Built;
    "autopurge.snapRetainCount", FileOnly, Int, "3", "snapshots",
        "Newest snapshots that retention keeps, with the logs they need; at least 3."
        => Built;
    "autopurge.purgeInterval", FileOnly, Interval, "1", "hours",
        "Time between two runs of retention; 0 or less turns it off. On by default here, off (0) in Java."
        => Built;
    "commitLogCount", Prefixed, DecimalInt, "500", "transactions",
        "Committed transactions kept in memory to bring followers up to date; at least 500."
        => in_ensembles("there are no followers to bring up to date");
    "snapshotSizeFactor", Prefixed, Fraction, "0.33", "",
        "Share of the newest snapshot's size, at most 1, up to which a follower that missed more than is in memory gets that from the log on disk instead of a snapshot. 0: whatever its size; less than 0: never."
        => in_ensembles("there are no followers to bring up to date");
}
