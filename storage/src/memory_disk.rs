//! A disk in memory for tests, with two faces: what the process sees, and what a power loss leaves. Of everything
//! that was not synced, a crash keeps any part.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::disk::{Access, Disk, DiskFile, DiskLock, Entry};

/// What a torn write keeps or loses as a whole. Smaller than on real disks, so that small tests tear much.
const SECTOR_BYTES: usize = 32;

#[derive(Clone, Default)]
pub(crate) struct MemoryDisk(Arc<Mutex<State>>);

#[derive(Clone, Default)]
struct State {
    files: BTreeMap<u64, Content>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    pending_names: Vec<NameChange>,
    next_file: u64,
    locks: Vec<PathBuf>,
    /// Changes tried so far.
    changes: usize,
    /// Reads tried so far.
    reads: usize,
    faults: Vec<Fault>,
}

#[derive(Clone, Default)]
struct Content {
    seen: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Clone)]
enum NameChange {
    Set(PathBuf, u64),
    Gone(PathBuf),
}

/// What goes wrong when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// From this change on, the machine is off.
    Off { from: usize },
    /// This change fails, once.
    Fail { change: usize, kind: io::ErrorKind },
    /// This read fails, once.
    Unread { read: usize },
}

struct MemoryFile {
    disk: MemoryDisk,
    id: u64,
}

struct MemoryLock {
    disk: MemoryDisk,
    path: PathBuf,
}

impl MemoryDisk {
    pub(crate) fn shared(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    /// How many changes (writes, syncs, new names …) were tried.
    pub(crate) fn changes(&self) -> usize {
        self.state().changes
    }

    /// How many reads were tried.
    pub(crate) fn reads(&self) -> usize {
        self.state().reads
    }

    pub(crate) fn add_fault(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// The disk after a power loss; `keep` decides about each sector and each change that was not synced.
    pub(crate) fn crash(&self, keep: &mut dyn FnMut() -> bool) -> MemoryDisk {
        let state = self.state();
        let mut names = state.durable_names.clone();
        // A journal keeps the order of names: what is kept is a prefix.
        for change in &state.pending_names {
            if !keep() {
                break;
            }
            change.apply(&mut names);
        }
        let mut files = BTreeMap::new();
        for (id, content) in &state.files {
            let mut bytes = content.durable.clone();
            for change in &content.pending {
                change.apply_partly(&mut bytes, keep);
            }
            files.insert(*id, Content { seen: bytes.clone(), durable: bytes, pending: Vec::new() });
        }
        let durable_names = names.clone();
        let next_file = state.next_file;
        MemoryDisk(Arc::new(Mutex::new(State { files, names, durable_names, next_file, ..State::default() })))
    }

    /// The disk as it is, without what was pending: as after a clean shutdown of the machine.
    pub(crate) fn copy(&self) -> MemoryDisk {
        self.crash(&mut || true)
    }

    pub(crate) fn read(&self, path: &Path) -> Vec<u8> {
        let state = self.state();
        state.files[&state.names[path]].seen.clone()
    }

    /// Puts a file there, durably, behind everybody's back.
    pub(crate) fn put(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state();
        let id = state.next_file;
        state.next_file += 1;
        let content = Content { seen: bytes.to_vec(), durable: bytes.to_vec(), pending: Vec::new() };
        state.files.insert(id, content);
        state.names.insert(path.to_owned(), id);
        state.durable_names.insert(path.to_owned(), id);
    }

    /// The paths of all files.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.state().names.keys().cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn change(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        let change = state.changes;
        state.changes += 1;
        for fault in &state.faults {
            match fault {
                Fault::Off { from } if change >= *from => return Err(io::Error::other("the machine is off")),
                Fault::Fail { change: at, kind } if change == *at => return Err((*kind).into()),
                _ => {}
            }
        }
        Ok(state)
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            NameChange::Set(path, id) => names.insert(path.clone(), *id),
            NameChange::Gone(path) => names.remove(path),
        };
    }

    fn folder(&self) -> Option<&Path> {
        let (NameChange::Set(path, _) | NameChange::Gone(path)) = self;
        path.parent()
    }
}

impl Change {
    fn apply_partly(&self, bytes: &mut Vec<u8>, keep: &mut dyn FnMut() -> bool) {
        match self {
            Change::Length(length) => {
                if keep() {
                    bytes.resize(*length, 0);
                }
            }
            Change::Write { offset, bytes: written } => {
                let mut at = 0;
                while at < written.len() {
                    let start = offset + at;
                    let end = ((start / SECTOR_BYTES + 1) * SECTOR_BYTES).min(offset + written.len());
                    if keep() {
                        if bytes.len() < end {
                            bytes.resize(end, 0);
                        }
                        bytes[start..end].copy_from_slice(&written[at..at + end - start]);
                    }
                    at += end - start;
                }
            }
        }
    }
}

impl State {
    fn id(&self, path: &Path) -> io::Result<u64> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for MemoryDisk {
    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        let state = self.state();
        let in_folder = state.names.iter().filter(|(path, _)| path.parent() == Some(folder));
        let entry = |(path, id): (&PathBuf, &u64)| Entry {
            name: path.file_name().unwrap().to_str().unwrap().to_owned(),
            length: state.files[id].seen.len() as u64,
        };
        Ok(in_folder.map(entry).collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = self.state();
        Ok(state.names.keys().any(|name| name.starts_with(path)))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let id = if access == Access::CreateNew {
            let mut state = self.change()?;
            if state.names.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let id = state.next_file;
            state.next_file += 1;
            state.files.insert(id, Content::default());
            state.names.insert(path.to_owned(), id);
            state.pending_names.push(NameChange::Set(path.to_owned(), id));
            id
        } else {
            self.state().id(path)?
        };
        Ok(Box::new(MemoryFile { disk: self.clone(), id }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.change()?;
        let id = state.id(from)?;
        for change in [NameChange::Gone(from.to_owned()), NameChange::Set(to.to_owned(), id)] {
            change.apply(&mut state.names);
        }
        // Both at once: a rename is atomic. Setting first and removing second never loses the file.
        state.pending_names.push(NameChange::Set(to.to_owned(), id));
        state.pending_names.push(NameChange::Gone(from.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.change()?;
        state.id(path)?;
        state.names.remove(path);
        state.pending_names.push(NameChange::Gone(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.change()?;
        let pending = std::mem::take(&mut state.pending_names);
        for change in pending {
            if change.folder() == Some(folder) {
                change.apply(&mut state.durable_names);
            } else {
                state.pending_names.push(change);
            }
        }
        Ok(())
    }

    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        let mut state = self.state();
        if state.locks.iter().any(|held| held == path) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.locks.push(path.to_owned());
        Ok(Box::new(MemoryLock { disk: self.clone(), path: path.to_owned() }))
    }
}

impl MemoryFile {
    fn change(&self, change: Change) -> io::Result<()> {
        let mut state = self.disk.change()?;
        let content = state.files.get_mut(&self.id).unwrap();
        change.apply_partly(&mut content.seen, &mut || true);
        content.pending.push(change);
        Ok(())
    }
}

impl DiskFile for MemoryFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.state().files[&self.id].seen.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        let read = state.reads;
        state.reads += 1;
        if state.faults.contains(&Fault::Unread { read }) {
            return Err(io::Error::other("the disk does not give these bytes now"));
        }
        let bytes = &state.files[&self.id].seen;
        let start = bytes.len().min(offset as usize);
        let count = buffer.len().min(bytes.len() - start);
        buffer[..count].copy_from_slice(&bytes[start..start + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.change(Change::Write { offset: offset as usize, bytes: bytes.to_vec() })
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        if length <= self.length()? {
            return Ok(());
        }
        self.change(Change::Length(length as usize))
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.change(Change::Length(length as usize))
    }

    fn sync_data(&self) -> io::Result<()> {
        let result = self.disk.change().map(drop);
        let mut state = self.disk.state();
        let content = state.files.get_mut(&self.id).unwrap();
        match &result {
            Ok(()) => {
                content.durable = content.seen.clone();
                content.pending.clear();
            }
            // After a failed sync Linux marks the pages clean: nothing writes them any more. When the machine is
            // off, anything may still be there.
            Err(error) if error.kind() != io::ErrorKind::Other => content.pending.clear(),
            Err(_) => {}
        }
        result
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }
}

impl DiskLock for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.disk.state().locks.retain(|held| *held != self.path);
    }
}

/// Small random numbers from a seed, for choosing what a crash keeps.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 16
    }
}
