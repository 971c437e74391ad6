//! Damage that may hide acknowledged data: what was found where, and what the operator can do.

use std::fmt;
use std::path::PathBuf;

use protocol::Zxid;

/// What is wrong with the stored history.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Damage {
    /// A log file does not start with ZooKeeper's magic number.
    LogHeader {
        /// What stands there.
        found: String,
    },
    /// A record's checksum is not that of its bytes, and data follows.
    Checksum {
        /// What the record says.
        expected: i64,
        /// What its bytes give.
        found: i64,
    },
    /// A record's length is negative or above the limit, and data follows.
    Length {
        /// The largest length allowed.
        max: usize,
        /// The length as written.
        found: i32,
    },
    /// A record does not end with the byte 0x42, and data follows.
    RecordEnd {
        /// The byte that stands there.
        found: u8,
    },
    /// A record is cut off, and it is not the last thing in the log.
    CutRecord {
        /// What the record needs.
        needed: u64,
        /// What is there.
        found: u64,
    },
    /// Zeros where a record should be, with data behind them.
    Hole {
        /// Where the last byte that is not zero stands.
        data_until: u64,
    },
    /// A record is too short for the header of a transaction.
    Header {
        /// Its length.
        length: usize,
    },
    /// A file's first record is not the one in its name.
    FileName {
        /// The zxid in the name.
        expected: Zxid,
        /// The zxid of the record.
        found: Zxid,
    },
    /// The zxid does not grow.
    Order {
        /// The zxid before it.
        previous: Zxid,
        /// The zxid of the record.
        found: Zxid,
    },
    /// Transactions are missing between two records, two files, or a snapshot and the log.
    Gap {
        /// The zxid before the gap.
        previous: Zxid,
        /// The zxid after it.
        found: Zxid,
    },
    /// The history ends before a transaction that is known to have been durable.
    EndsEarly {
        /// The zxid that must be there.
        expected: Zxid,
        /// The last zxid that is there.
        found: Zxid,
        /// How it is known.
        evidence: Evidence,
    },
}

/// How a transaction is known to have been there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Evidence {
    /// The mark in `durable.zxid`.
    DurableMark,
    /// The name of a snapshot that cannot be read.
    SnapshotName,
    /// The content of the snapshot that was loaded, which goes on beyond its name.
    SnapshotContent,
}

/// Damage at a place. Nothing was changed on disk when this is reported.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Corruption {
    /// The damaged file, or the one where the loss shows.
    pub path: PathBuf,
    /// The offset in that file.
    pub offset: u64,
    /// What is wrong.
    pub damage: Damage,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::LogHeader { found } => write!(f, "expected the header of a log, found {found}"),
            Damage::Checksum { expected, found } => {
                write!(f, "expected a record with checksum {expected:#x}, found {found:#x}")
            }
            Damage::Length { max, found } => {
                write!(f, "expected a record of at most {max} bytes, found the length {found}")
            }
            Damage::RecordEnd { found } => write!(f, "expected 0x42 behind a record, found {found:#04x}"),
            Damage::CutRecord { needed, found } => {
                write!(f, "expected a record of {needed} bytes, found the end of the file after {found}")
            }
            Damage::Hole { data_until } => {
                write!(f, "expected a record, found zeros with data behind them (until byte {data_until})")
            }
            Damage::Header { length } => {
                write!(f, "expected a transaction, found a record of only {length} bytes")
            }
            Damage::FileName { expected, found } => {
                write!(f, "expected zxid {expected} as in the file's name, found {found}")
            }
            Damage::Order { previous, found } => {
                write!(f, "expected a zxid above {previous}, found {found}")
            }
            Damage::Gap { previous, found } => {
                write!(
                    f,
                    "expected the transaction after {previous}, found {found}: those between are missing"
                )
            }
            Damage::EndsEarly { expected, found, evidence } => {
                let how = match evidence {
                    Evidence::DurableMark => {
                        "durable.zxid says so; if the end was cut off on purpose, by another server on this folder \
                         for example, remove that file"
                    }
                    Evidence::SnapshotName => "a snapshot has that name",
                    Evidence::SnapshotContent => "the snapshot holds changes up to there",
                };
                write!(f, "expected history up to {expected} ({how}), found its end at {found}")
            }
        }
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is damaged at byte {}: {}. Acknowledged data may be lost, so nothing was changed and this server \
             does not start from it. In an ensemble with a healthy majority, move this server's version-2 folders \
             away (keep myid) and it is synchronized from the leader; otherwise restore both folders from a backup",
            self.path.display(),
            self.offset,
            self.damage
        )
    }
}

impl std::error::Error for Corruption {}
