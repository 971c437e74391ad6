//! What recovery noticed and could deal with.

use std::fmt;
use std::path::PathBuf;

use protocol::Zxid;

use crate::corruption::Corruption;

/// Something that an operator should read in the log, though the server starts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Warning {
    /// A crash cut the last batch of the log; what follows was never acknowledged and is removed.
    TornTail {
        /// The last log file.
        path: PathBuf,
        /// Where the last good record ends.
        offset: u64,
        /// The last transaction kept.
        last: Zxid,
    },
    /// The last log file holds no transaction and is removed.
    EmptyLog {
        /// The file.
        path: PathBuf,
    },
    /// A log file is damaged, but every transaction it could have lost is held by the snapshot or by the next file.
    HarmlessDamage(Corruption),
    /// A snapshot could not be used, and an older one was.
    SnapshotPassedOver {
        /// The snapshot.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file of no use was left behind by a crash and is removed.
    Leftover {
        /// The file.
        path: PathBuf,
    },
    /// Both copies of the durable mark are unreadable, so a loss at the end of the log could go unnoticed.
    DurableMarkUnreadable {
        /// The file.
        path: PathBuf,
    },
    /// `currentEpoch` was behind the log, and the value of its temporary file was taken.
    EpochFromTemporaryFile {
        /// The temporary file.
        path: PathBuf,
    },
    /// There are logs but no snapshot, and `zookeeper.snapshot.trust.empty` allows that.
    TrustedEmptySnapshot,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::TornTail { path, offset, last } => write!(
                f,
                "a crash cut the end of {}; it is cut off at byte {offset}, behind zxid {last}",
                path.display()
            ),
            Warning::EmptyLog { path } => write!(f, "{} holds no transaction; it is removed", path.display()),
            Warning::HarmlessDamage(corruption) => write!(
                f,
                "{} is damaged at byte {}: {}; nothing is missing, because what follows is complete",
                corruption.path.display(),
                corruption.offset,
                corruption.damage
            ),
            Warning::SnapshotPassedOver { path, reason } => {
                write!(f, "{} is passed over: {reason}", path.display())
            }
            Warning::Leftover { path } => write!(f, "{} was left by a crash; it is removed", path.display()),
            Warning::DurableMarkUnreadable { path } => {
                write!(f, "{} is unreadable; a loss at the end of the log could go unnoticed", path.display())
            }
            Warning::EpochFromTemporaryFile { path } => {
                write!(f, "the current epoch is taken from {}", path.display())
            }
            Warning::TrustedEmptySnapshot => {
                write!(f, "no snapshot was found; the log is replayed over an empty tree as configured")
            }
        }
    }
}
