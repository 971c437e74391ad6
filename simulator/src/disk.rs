//! A disk that keeps exactly what it promised and not a byte more.
//!
//! Every file has two images: what reads see, and what survives a power loss. A sync moves the changes since the
//! last one from the first to the second; a power loss keeps any part of them: sectors of 512 bytes in any
//! combination, names in any order. Beyond that it fails on demand: an error at the n-th operation, a full disk, a
//! write that ends half way, a sync that loses what it should have kept, rot in files at rest.
//!
//! What an adversary may do here is what POSIX allows a file system to do; nothing is assumed that only a
//! particular one promises.

mod faults;
mod guarded;
mod image;
mod state;

pub use faults::{Fault, FaultKind, Rot};
pub use state::DiskStats;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use protocol::Zxid;
use storage::disk::{Access, Disk, DiskFile, DiskLock, Entry};

use crate::random::Random;
use crate::trace::Trace;
use faults::Verdict;
use state::State;

/// The disk; clones are the same disk.
#[derive(Clone)]
pub struct LyingDisk {
    state: Arc<Mutex<State>>,
}

/// What the machine did when the server stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The process ended; the operating system keeps everything that was written.
    Kill,
    /// The power went; only what was synced is sure.
    PowerLoss,
}

impl LyingDisk {
    /// An empty disk.
    pub fn new(random: Random, trace: Trace) -> LyingDisk {
        LyingDisk { state: Arc::new(Mutex::new(State::new(random, trace))) }
    }

    /// Lets something go wrong later on.
    pub fn arm(&self, fault: Fault) {
        self.state.lock().faults.arm(fault);
    }

    /// Nothing armed goes wrong any more, and there is space again.
    pub fn heal(&self) {
        self.state.lock().faults.heal();
    }

    /// Whether the power has gone in the middle of an operation: everything fails until [`LyingDisk::stop`].
    pub fn is_dead(&self) -> bool {
        self.state.lock().faults.dead
    }

    /// The server is gone: its files are closed, its locks are free, and after a power loss the disk holds what it
    /// had promised and some of the rest.
    pub fn stop(&self, stop: Stop) {
        self.state.lock().stop(stop);
    }

    /// Syncing a folder does nothing from now on: a bug to be found, for testing the simulator.
    pub fn ignore_folder_syncs(&self) {
        self.state.lock().folder_syncs_ignored = true;
    }

    /// Damages a file at rest where that must be found out, given the zxid in the durable mark; says what and where,
    /// or `None` if there is no such place.
    pub fn rot(&self, mark: Zxid) -> Option<Rot> {
        self.state.lock().rot(mark)
    }

    /// What went wrong so far, by kind.
    pub fn stats(&self) -> DiskStats {
        self.state.lock().stats.clone()
    }

    /// How many faults have struck so far.
    pub fn faults_struck(&self) -> u64 {
        self.state.lock().stats.faults.values().sum()
    }

    /// The bytes of a file as reads see them.
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        self.state.lock().content(path)
    }

    /// Puts a file there that is durable at once, for tests.
    pub fn put(&self, path: &Path, content: &[u8]) {
        self.state.lock().put(path, content);
    }
}

struct Handle {
    state: Arc<Mutex<State>>,
    file: usize,
    life: u64,
    path: PathBuf,
}

struct Lock {
    state: Arc<Mutex<State>>,
    path: PathBuf,
    life: u64,
}

impl DiskLock for Lock {}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        if state.life == self.life {
            state.locks.remove(&self.path);
        }
    }
}

impl Disk for LyingDisk {
    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        let mut state = self.state.lock();
        state.enter("list", folder)?;
        state.list(folder)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let mut state = self.state.lock();
        state.enter("exists", path)?;
        Ok(state.exists(path))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state.lock();
        let verdict = state.enter(if access == Access::CreateNew { "create" } else { "open" }, path)?;
        let file = state.open(path, access)?;
        state.finish(verdict)?;
        Ok(Box::new(Handle { state: Arc::clone(&self.state), file, life: state.life, path: path.to_owned() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        let verdict = state.enter("rename", to)?;
        state.rename(from, to)?;
        state.finish(verdict)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        let verdict = state.enter("remove", path)?;
        state.remove(path)?;
        state.finish(verdict)
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        match state.enter("sync_dir", folder)? {
            Verdict::Fail(error) => Err(error.into()),
            verdict => {
                state.sync_folder(folder);
                state.finish(verdict)
            }
        }
    }

    fn create_dir(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        let verdict = state.enter("create_dir", folder)?;
        state.create_folder(folder);
        state.finish(verdict)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        let mut state = self.state.lock();
        state.enter("lock", path)?;
        if !state.exists(path) {
            state.open(path, Access::CreateNew)?;
        }
        if !state.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Lock { state: Arc::clone(&self.state), path: path.to_owned(), life: state.life }))
    }
}

impl Handle {
    /// A handle of a server that is gone reaches nothing.
    fn enter(&self, state: &mut State, action: &'static str) -> io::Result<Verdict> {
        self.enter_to_reach(state, action, 0)
    }

    /// Likewise, for an operation that makes the file at least this long.
    fn enter_to_reach(&self, state: &mut State, action: &'static str, length: u64) -> io::Result<Verdict> {
        if state.life != self.life {
            return Err(io::Error::other("the process that opened this file is gone"));
        }
        let grows = length > state.file(self.file).length();
        state.enter_with(action, &self.path, grows)
    }
}

impl DiskFile for Handle {
    fn length(&self) -> io::Result<u64> {
        let mut state = self.state.lock();
        self.enter(&mut state, "length")?;
        Ok(state.file(self.file).length())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.state.lock();
        self.enter(&mut state, "read")?;
        Ok(state.file(self.file).read(buffer, offset))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        let verdict = self.enter_to_reach(&mut state, "write", offset + bytes.len() as u64)?;
        // What does not fail as a whole may still have been cut: the rest of it is not there.
        let written = match &verdict {
            Verdict::Pass => bytes.len(),
            Verdict::Die | Verdict::FailAfterSome(_) => state.random.index(bytes.len() + 1),
            Verdict::Fail(_) => 0,
        };
        state.file(self.file).write(&bytes[..written], offset);
        state.finish(verdict)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        match self.enter_to_reach(&mut state, "allocate", length)? {
            Verdict::Fail(error) | Verdict::FailAfterSome(error) => Err(error.into()),
            verdict => {
                if length > state.file(self.file).length() {
                    state.file(self.file).set_length(length);
                }
                state.finish(verdict)
            }
        }
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        match self.enter(&mut state, "set_length")? {
            Verdict::Fail(error) | Verdict::FailAfterSome(error) => Err(error.into()),
            verdict => {
                state.file(self.file).set_length(length);
                state.finish(verdict)
            }
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        match self.enter(&mut state, "sync")? {
            Verdict::Fail(error) | Verdict::FailAfterSome(error) => {
                state.fail_sync(self.file);
                Err(error.into())
            }
            Verdict::Die => state.finish(Verdict::Die),
            Verdict::Pass => {
                state.file(self.file).sync();
                Ok(())
            }
        }
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(seed: u64) -> LyingDisk {
        let disk = LyingDisk::new(Random::new(seed), Trace::off());
        disk.create_dir(Path::new("/d")).unwrap();
        disk
    }

    fn write(disk: &LyingDisk, name: &str, bytes: &[u8]) -> Box<dyn DiskFile> {
        let file = disk.open(Path::new(name), Access::CreateNew).unwrap();
        file.write_at(bytes, 0).unwrap();
        file
    }

    #[test]
    fn what_was_synced_survives_every_power_loss() {
        for seed in 0..200 {
            let disk = disk(seed);
            let file = write(&disk, "/d/f", &[7; 2000]);
            file.sync_data().unwrap();
            disk.sync_dir(Path::new("/d")).unwrap();
            file.write_at(&[9; 2000], 2000).unwrap();
            disk.stop(Stop::PowerLoss);
            assert_eq!(disk.content(Path::new("/d/f")).unwrap()[..2000], [7; 2000]);
        }
    }

    #[test]
    fn what_was_not_synced_may_be_lost_kept_or_torn() {
        let mut seen = [false; 3];
        for seed in 0..200 {
            let disk = disk(seed);
            let file = write(&disk, "/d/f", &[7; 2048]);
            file.sync_all().unwrap();
            disk.sync_dir(Path::new("/d")).unwrap();
            file.write_at(&[9; 2048], 0).unwrap();
            disk.stop(Stop::PowerLoss);
            let kept = disk.content(Path::new("/d/f")).unwrap();
            let sectors: Vec<bool> = kept.chunks(512).map(|sector| sector == [9; 512]).collect();
            assert!(kept.chunks(512).all(|sector| sector == [9; 512] || sector == [7; 512]));
            seen[0] |= sectors.iter().all(|&kept| !kept);
            seen[1] |= sectors.iter().all(|&kept| kept);
            seen[2] |= sectors.iter().any(|&kept| kept) && sectors.iter().any(|&kept| !kept);
        }
        assert_eq!(seen, [true; 3]);
    }

    #[test]
    fn a_name_may_be_lost_until_its_folder_is_synced() {
        let mut lost = 0;
        for seed in 0..100 {
            let disk = disk(seed);
            write(&disk, "/d/f", b"x").sync_all().unwrap();
            disk.stop(Stop::PowerLoss);
            lost += u32::from(!disk.exists(Path::new("/d/f")).unwrap());
        }
        assert!(0 < lost && lost < 100, "{lost}");
    }

    #[test]
    fn a_killed_process_loses_nothing_but_its_handles_and_locks() {
        let disk = disk(1);
        let file = write(&disk, "/d/f", b"abc");
        let _lock = disk.lock(Path::new("/d/lock")).unwrap();
        assert!(disk.lock(Path::new("/d/lock")).is_err());
        disk.stop(Stop::Kill);
        assert_eq!(disk.content(Path::new("/d/f")).unwrap(), b"abc");
        assert!(file.write_at(b"x", 0).is_err());
        disk.lock(Path::new("/d/lock")).unwrap();
    }

    #[test]
    fn a_failed_sync_does_not_become_good_by_trying_again() {
        let mut lost = 0;
        for seed in 0..50 {
            let disk = disk(seed);
            let file = write(&disk, "/d/f", &[7; 512]);
            file.sync_all().unwrap();
            disk.sync_dir(Path::new("/d")).unwrap();
            file.write_at(&[9; 512], 0).unwrap();
            disk.arm(Fault { after: 0, kind: FaultKind::Sync });
            file.sync_data().unwrap_err();
            file.sync_data().unwrap();
            disk.stop(Stop::PowerLoss);
            lost += u32::from(disk.content(Path::new("/d/f")).unwrap() == [7; 512]);
        }
        assert!(lost > 0);
    }
}
