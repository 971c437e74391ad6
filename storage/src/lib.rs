//! Bytes that survive a power loss, in the formats of Java ZooKeeper: the transaction log, snapshots, epoch files,
//! and the recovery of a state from them.
//!
//! Everything here blocks and reaches the disk through [`disk::Disk`] alone. This crate knows no socket and no tree:
//! a state is handed to a [`recovery::RecoveryTarget`] as records, and comes back as encoded chunks.
//!
//! Read next: [`recovery`] for what happens at a start, [`txn_log`] for how a write becomes durable.

pub mod catch_up;
pub mod corruption;
pub mod directory;
pub mod disk;
pub mod durable_mark;
pub mod epoch_files;
mod read_ahead;
pub mod real_disk;
pub mod recovery;
pub mod retention;
pub mod snapshot;
pub mod truncate;
pub mod txn_log;
pub mod warning;

#[cfg(test)]
mod memory_disk;
#[cfg(test)]
mod test_data;

/// The largest buffer, string or record that is read: `jute.maxbuffer` plus its extra size, both at their default
/// of 0xfffff bytes. Never below the largest setting of any server whose files or proposals are to be read.
pub const RECORD_BYTES_MAX: usize = 2 * 0xf_ffff;
