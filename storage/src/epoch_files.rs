//! `currentEpoch` and `acceptedEpoch`: what this server promised to leaders.
//!
//! Each holds one decimal number without a line end, as Java writes it, and is replaced atomically and durably. The
//! accepted epoch is written before it is acknowledged, the current one after the new leader's history is durable.
//! At all times: epoch of the last transaction ≤ current ≤ accepted.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::{Epoch, Zxid};

use crate::disk::{About, Disk, DiskError, read_small, replace_small};
use crate::warning::Warning;

/// The highest epoch whose leader this server accepted and synchronized with.
pub const CURRENT_EPOCH_FILE: &str = "currentEpoch";
/// The highest epoch that this server promised to.
pub const ACCEPTED_EPOCH_FILE: &str = "acceptedEpoch";
const TEMPORARY_SUFFIX: &str = ".tmp";
/// A number of 20 digits and some space around it.
const FILE_BYTES_MAX: usize = 64;

/// Why the epochs cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EpochError {
    /// The disk said no.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A file does not hold a number.
    #[error(
        "{} should hold an epoch and holds {content:?}; restore it, or move this server's version-2 folders away to \
         have it synchronized from the leader",
        .path.display()
    )]
    NotANumber {
        /// The file.
        path: PathBuf,
        /// Its first bytes.
        content: String,
    },
    /// The log is ahead of the current epoch: somebody put files of different servers or times together.
    #[error("the current epoch, {current}, is older than the last transaction, {last}; refusing to start")]
    CurrentBehindLog {
        /// What `currentEpoch` says.
        current: Epoch,
        /// The last zxid in the log.
        last: Zxid,
    },
    /// The accepted epoch is behind the current one.
    #[error("the accepted epoch, {accepted}, is less than the current epoch, {current}; refusing to start")]
    AcceptedBehindCurrent {
        /// What `acceptedEpoch` says.
        accepted: Epoch,
        /// What `currentEpoch` says.
        current: Epoch,
    },
}

/// The two epochs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Epochs {
    /// The epoch of the last leader that this server synchronized with.
    pub current: Epoch,
    /// The highest epoch promised.
    pub accepted: Epoch,
}

/// The epoch files of one server.
#[derive(Clone)]
pub struct EpochFiles {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
}

impl EpochFiles {
    /// The files in the folder of the snapshots.
    pub fn new(disk: Arc<dyn Disk>, snapshots: &Path) -> EpochFiles {
        EpochFiles { disk, folder: snapshots.to_owned() }
    }

    /// Makes the current epoch durable.
    pub fn set_current(&self, epoch: Epoch) -> Result<(), DiskError> {
        self.write(CURRENT_EPOCH_FILE, epoch)
    }

    /// Makes the accepted epoch durable.
    pub fn set_accepted(&self, epoch: Epoch) -> Result<(), DiskError> {
        self.write(ACCEPTED_EPOCH_FILE, epoch)
    }

    /// What the files say; `None` for a missing one.
    pub fn read(&self) -> Result<(Option<Epoch>, Option<Epoch>), EpochError> {
        Ok((self.read_file(CURRENT_EPOCH_FILE)?, self.read_file(ACCEPTED_EPOCH_FILE)?))
    }

    /// The epochs at a start, by the rules of `QuorumPeer.loadDataBase`: a missing file counts as the epoch of the
    /// last transaction; a current epoch behind it is taken from the temporary file if a crash left one, or from the last
    /// transaction if this server had promised itself to that epoch (Java refuses to start then). Changes nothing;
    /// [`EpochFiles::save`] does.
    pub fn load(&self, last: Zxid) -> Result<(Epochs, Option<Warning>), EpochError> {
        let (current, accepted) = self.read()?;
        let mut epochs =
            Epochs { current: current.unwrap_or(last.epoch()), accepted: accepted.unwrap_or(last.epoch()) };
        let mut warning = None;
        if epochs.current < last.epoch() {
            let temporary = self.folder.join(format!("{CURRENT_EPOCH_FILE}{TEMPORARY_SUFFIX}"));
            match self.read_path(&temporary) {
                Ok(Some(epoch)) if epoch >= last.epoch() => {
                    epochs.current = epoch;
                    warning = Some(Warning::EpochFromTemporaryFile { path: temporary });
                }
                Err(EpochError::Disk(error)) => return Err(error.into()),
                // Synchronization was interrupted: the leader's transactions are there, its epoch is not yet. A log that
                // ends in an epoch is a part of what that epoch's leader had, and worth as much in an election.
                _ if accepted.is_some_and(|accepted| accepted >= last.epoch()) => {
                    epochs.current = last.epoch()
                }
                _ => return Err(EpochError::CurrentBehindLog { current: epochs.current, last }),
            }
        }
        if epochs.accepted < epochs.current && accepted.is_none() {
            epochs.accepted = epochs.current;
        }
        if epochs.accepted < epochs.current {
            let Epochs { current, accepted } = epochs;
            return Err(EpochError::AcceptedBehindCurrent { accepted, current });
        }
        Ok((epochs, warning))
    }

    /// Writes the files that do not say so yet.
    pub fn save(&self, epochs: Epochs) -> Result<(), EpochError> {
        let (current, accepted) = self.read()?;
        // In this order accepted is never behind current.
        if accepted != Some(epochs.accepted) {
            self.set_accepted(epochs.accepted)?;
        }
        if current != Some(epochs.current) {
            self.set_current(epochs.current)?;
        }
        Ok(())
    }

    fn read_file(&self, name: &str) -> Result<Option<Epoch>, EpochError> {
        self.read_path(&self.folder.join(name))
    }

    fn read_path(&self, path: &Path) -> Result<Option<Epoch>, EpochError> {
        if !self.disk.exists(path).about("look for", path)? {
            return Ok(None);
        }
        let bytes = read_small(&*self.disk, path, FILE_BYTES_MAX).about("read", path)?;
        let line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
        let text = String::from_utf8_lossy(line);
        // Stricter than `parse` alone, which takes a plus sign.
        let digits = text.strip_suffix('\r').unwrap_or(&text);
        let number = if digits.starts_with('+') { None } else { digits.parse().ok() };
        match number {
            Some(number) => Ok(Some(Epoch::new(number))),
            None => Err(EpochError::NotANumber {
                path: path.to_owned(),
                content: String::from_utf8_lossy(&bytes).into_owned(),
            }),
        }
    }

    fn write(&self, name: &str, epoch: Epoch) -> Result<(), DiskError> {
        let temporary = self.folder.join(format!("{name}{TEMPORARY_SUFFIX}"));
        replace_small(&*self.disk, &self.folder.join(name), &temporary, epoch.to_string().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::real_disk::RealDisk;

    fn files(content: &[(&str, &str)]) -> (tempfile::TempDir, EpochFiles) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in content {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let files = EpochFiles::new(Arc::new(RealDisk), folder.path());
        (folder, files)
    }

    fn load(content: &[(&str, &str)], last_epoch: u32) -> Result<(u32, u32), EpochError> {
        let (_folder, files) = files(content);
        let (epochs, _) = files.load(Zxid::new(Epoch::new(last_epoch), 7))?;
        Ok((epochs.current.get(), epochs.accepted.get()))
    }

    #[test]
    fn epochs_are_written_as_java_writes_them() {
        let (folder, files) = files(&[]);
        files.save(Epochs { current: Epoch::new(3), accepted: Epoch::new(4) }).unwrap();
        assert_eq!(std::fs::read(folder.path().join("currentEpoch")).unwrap(), b"3");
        assert_eq!(std::fs::read(folder.path().join("acceptedEpoch")).unwrap(), b"4");
        assert_eq!(files.read().unwrap(), (Some(Epoch::new(3)), Some(Epoch::new(4))));
        assert!(!folder.path().join("currentEpoch.tmp").exists());
    }

    #[test]
    fn missing_files_count_as_the_epoch_of_the_last_transaction() {
        assert_eq!(load(&[], 5).unwrap(), (5, 5));
        assert_eq!(load(&[("acceptedEpoch", "9")], 5).unwrap(), (5, 9));
        assert_eq!(load(&[("currentEpoch", "6\n")], 5).unwrap(), (6, 6));
    }

    #[test]
    fn a_log_ahead_of_the_current_epoch_is_what_an_interrupted_synchronization_leaves() {
        assert_eq!(load(&[("currentEpoch", "4"), ("acceptedEpoch", "5")], 5).unwrap(), (5, 5));
        assert_eq!(load(&[("currentEpoch", "3"), ("acceptedEpoch", "7")], 5).unwrap(), (5, 7));
    }

    #[test]
    fn a_log_ahead_of_both_epochs_is_refused_unless_the_temporary_file_explains_it() {
        let behind = [("currentEpoch", "4"), ("acceptedEpoch", "4")];
        assert!(matches!(load(&behind, 5), Err(EpochError::CurrentBehindLog { .. })));
        assert!(matches!(load(&behind[..1], 5), Err(EpochError::CurrentBehindLog { .. })));
        let with = |temporary| [behind[0], behind[1], ("currentEpoch.tmp", temporary)];
        assert!(matches!(load(&with("5"), 5), Err(EpochError::AcceptedBehindCurrent { .. })));
        assert!(matches!(load(&with("4"), 5), Err(EpochError::CurrentBehindLog { .. })));
        assert!(matches!(load(&with(""), 5), Err(EpochError::CurrentBehindLog { .. })));
    }

    #[test]
    fn an_accepted_epoch_behind_the_current_one_is_refused() {
        let result = load(&[("currentEpoch", "6"), ("acceptedEpoch", "5")], 5);
        assert!(matches!(result, Err(EpochError::AcceptedBehindCurrent { .. })));
    }

    #[test]
    fn anything_but_a_number_is_refused() {
        for text in ["", " 5", "5x", "-1", "+5", "99999999999999999999", "\u{fffd}"] {
            assert!(
                matches!(load(&[("currentEpoch", text)], 0), Err(EpochError::NotANumber { .. })),
                "{text:?}"
            );
        }
    }
}
